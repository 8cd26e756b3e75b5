"""Steers one graph: takes events in, asks the machine, says what it commands.

`Driver` is what all kinds of graphs share: requests, waiting, callbacks and views. Where nodes run is added by
`run.lanes` (here) and `run.batch` (at a server, which runs the graph as a whole).

**Guarantees**

- Every method is safe from any thread, and from inside callbacks. No lock is held while a node, a callback, an
  executor or a view is called.
- Callbacks are called one at a time, in the order in which the machine changed statuses, on a thread that occupies no
  lane: a callback that takes long or waits for the graph delays other callbacks only.
- `wait_until_ended` and `wait_until_done` return after the callbacks of what they report were called, unless the
  caller is itself inside one.
- When the interpreter exits, graphs that run are cancelled; running functions finish.

**Threads**: that of `run.reports`.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from math import nan
from typing import Any, Protocol

from ..core.machine import GraphMachine
from ..core.snapshot import Columns, Patch, RunInfo, columns, pack, run_info, window
from ..core.states import (
    NOT_STARTED,
    TERMINAL,
    Abort,
    AddEdge,
    AddNode,
    Cancel,
    Changed,
    Command,
    Ended,
    Event,
    Retry,
    Run,
    Start,
    Status,
    Stop,
)
from ..errors import ForkedError, IllegalTransition
from . import graphs
from .executors import Call, Executor
from .gate import InterruptGate
from .output import Output, Sink, watch_streams
from .reports import GRAPH, Observer, Reports

_log = logging.getLogger("tiledag_widget.run")


class Task(Protocol):
    """What the driver knows of a node: how to call it, and where its outcome goes."""

    name: str
    _progress: tuple[float, float] | None
    _is_remote: bool
    """Its function waits for a server: it is called on the lane, whatever the executor."""

    def _prepare(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and its arguments, with nodes replaced by their values. May raise anything."""

    def _sink(self) -> Sink:
        """What the attempt that runs prints into."""

    def _accept(self, value: Any) -> None: ...

    def _reject(self, error: BaseException) -> None: ...

    def _clear(self) -> object:
        """Forget the outcome: the node runs again. Returns it, to be dropped when no lock is held."""


class Driver:
    """Steers one graph. See the module's guarantees."""

    runs_here = True
    """False where nodes run elsewhere, and go on when this process ends."""

    def __init__(self, observer: Observer, executor: Executor, max_workers: int, label: str) -> None:
        self.machine = GraphMachine()
        self.tasks: list[Task] = []
        self.executor = executor
        self.max_workers = max_workers
        self.label = label
        self.lock = threading.Lock()
        self.reports = Reports(observer, self.lock, label)
        self._garbage: list[Any] = []
        """Results that a retry dropped: their destructors are user code and run when the lock is free."""
        self._ready: deque[tuple[int, int]] = deque()
        """Nodes that can run now, with their attempts."""
        self._calls: dict[int, Call] = {}
        self._listeners: tuple[Callable[[], None], ...] = ()
        self._pid = os.getpid()
        self._is_start_asked = False
        self._context = contextvars.copy_context()
        """In copies of this nodes and callbacks run. See `follow_caller`."""
        self.on_end: Callable[[], object] | None = None
        """Called each time the graph ends, inside the step that ends it: must not wait for anything."""
        # Times are UTC, counted on by the monotonic clock: a step of the wall clock moves nothing.
        self._zero = time.time() - time.monotonic()
        self.output = Output(self.now)
        """What the nodes print."""
        graphs.made(self)

    # --- building ---------------------------------------------------------------------------------------

    def add(self, task: Task, parents: tuple[int, ...], status: int = NOT_STARTED) -> int:
        """Add a node; returns its index. Raises RuntimeError once the graph has started."""
        with self.lock:
            machine = self.machine
            if machine.is_started or machine.cancel_asked:
                raise RuntimeError("Cannot add nodes to a running graph")
            index = len(self.tasks)
            try:
                commands = machine.handle(AddNode(parents, status))
                self.tasks.append(task)
            except BaseException:  # an interrupt in the middle: the node has not joined, as far as anybody can see
                machine.forget_from(index)
                del self.tasks[index:]
                raise
            if commands and self.reports.is_wanted:
                self._take(commands)
            return index

    def add_edge(self, parent: int, child: int) -> list[int] | None:
        """Add an edge. Returns the nodes of the cycle that it would close, if it would, and then changed nothing."""
        with self.lock:
            machine = self.machine
            if machine.is_started or machine.cancel_asked or machine.status[child] != NOT_STARTED:
                raise RuntimeError("Cannot add dependency to an already-started node.")
            if machine.graph.has_edge(parent, child):
                return None
            if parent == child:
                return [child]
            if machine.graph.closes_cycle(parent, child):
                return machine.graph.path(child, parent)
            with InterruptGate():
                self._take(machine.handle(AddEdge(parent, child)))
        self._after()
        return None

    # --- requests ---------------------------------------------------------------------------------------

    def start(self) -> None:
        graphs.set_exit_hooks()
        self._is_start_asked = True
        watch_streams()
        self.follow_caller()
        self._request(lambda at: Start(at))

    @property
    def pace(self) -> float:
        """Slow motion in seconds, 0 for none; NaN where nobody here can slow nodes down."""
        return nan

    def set_pace(self, seconds: float) -> float:
        """Slow motion: have each node wait so many seconds before it starts. Holds at once. Returns what holds now.

        Raises:
            RuntimeError: Nodes run elsewhere.
        """
        raise RuntimeError(
            "slow motion is for graphs that run here: the server starts the nodes of this one as soon as it can"
        )

    def open_lanes_at_once(self) -> None:
        """Functions of this graph are known to take long: no need to find that out on one lane, where there are any."""

    def follow_caller(self) -> None:
        """What nodes see of context variables from now on is what the caller sees.

        ipykernel keeps in one which cell printed text belongs to. Without it, text would go to whichever cell had the
        thread made (ipykernel 6) or to the latest (7), and a button of the view, whose context is no cell's, would
        lose it.
        """
        self._context = contextvars.copy_context()

    def cancel(self, nodes: Sequence[int] | None) -> int:
        """Returns how many nodes will not start because of it: those cancelled, and what they block."""
        commands = self._request(lambda at: Cancel(None if nodes is None else tuple(nodes), at))
        return sum(type(command) is Changed for command in commands)

    def stop(self, nodes: Sequence[int]) -> int:
        """Ask that running nodes be ended; returns how many were running."""
        return sum(type(command) is Abort for command in self._request(lambda at: Stop(tuple(nodes), at)))

    def retry(self, nodes: Sequence[int], descendants: bool = False) -> int:
        """Run nodes again. Returns how many went back to Not Started, what they blocked included.

        Raises:
            RuntimeError: With ``descendants``, while some of them are running.
        """
        try:
            commands = self._request(lambda at: Retry(tuple(nodes), descendants, at))
        except IllegalTransition as error:
            _log.debug("%s", error)
            raise RuntimeError(self._words_for_busy(nodes)) from None
        if self._is_start_asked and not self.machine.is_started and not self.machine.cancel_asked:
            self.start()  # it was cancelled before it could
        return sum(type(command) is Changed and command.status == NOT_STARTED for command in commands)

    def _words_for_busy(self, nodes: Sequence[int]) -> str:
        with self.lock:
            machine = self.machine
            busy = [self.tasks[node].name for node in machine.graph.descendants(nodes) if machine.live[node]]
        names = ", ".join(map(repr, busy[:5])) + (f" and {len(busy) - 5:,} more" if len(busy) > 5 else "")
        return (
            f"cannot run a node again with everything below it while {names or 'one of these'} is queued or runs. "
            "Wait for the end of the run."
        )

    def _request(self, make: Callable[[float], Event]) -> list[Command]:
        self._refuse_in_fork()
        try:
            with InterruptGate():
                with self.lock:
                    event = make(self.now())
                    commands = self.machine.handle(event)
                    if type(event) is Retry:
                        # Somebody waits for these: they go before what was ready already.
                        urgent = [command for command in commands if type(command) is Run]
                        self._ready.extendleft(reversed(urgent))
                        commands = [command for command in commands if type(command) is not Run]
                    if self.machine.is_started and not self.machine.is_ended:
                        graphs.runs(self)
                    self._take(commands)
                    garbage, self._garbage = self._garbage, []
                del garbage
                if not self.executor.is_inline:
                    self._after()
        finally:
            if self.executor.is_inline:
                self._after()
        for command in commands:
            if type(command) is Abort:
                call = self._calls.get(command.node)
                if call is not None and call.attempt == command.attempt:
                    call.stop()
        return commands

    def now(self) -> float:
        """Unix time by the monotonic clock."""
        return self._zero + time.monotonic()

    # --- commands ---------------------------------------------------------------------------------------

    def _take(self, commands: list[Command]) -> None:
        """Put commands where they belong. The lock is held."""
        reports = self.reports
        for command in commands:
            kind = type(command)
            if kind is Run:
                self._ready.append(command)  # type: ignore[arg-type]
            elif kind is Changed:
                status = command.status  # type: ignore[union-attr]
                if status == NOT_STARTED:
                    self._garbage.append(self.tasks[command.node]._clear())  # type: ignore[union-attr]
                    continue
                if reports.is_wanted:
                    reports.post(command.node, command)  # type: ignore[union-attr]
                if reports.waiters and status in TERMINAL:
                    reports.wake(command.node)  # type: ignore[union-attr]
            elif kind is Ended:
                graphs.has_ended(self)
                if self.on_end is not None:
                    self.on_end()
                if reports.is_wanted:
                    reports.post(GRAPH, command)
                reports.wake(GRAPH)

    def _after(self) -> None:
        """What follows a step, with no lock held: callbacks, views."""
        if self.reports.outbox and not self.reports.is_delivering:
            self.reports.deliver_soon(self._context)
        for listener in self._listeners:
            listener()

    # --- waiting ----------------------------------------------------------------------------------------

    def expect_callbacks(self) -> int:
        """From now on status changes go to the observer. Returns the serial number of the latest one.

        The lock must be held.
        """
        return self.reports.expect()

    def wait_until_ended(self, timeout: float | None = None) -> bool:
        """Wait for the end of the graph. Returns False when the time is over. An interrupt changes nothing."""
        if self.executor.is_inline:
            self._after()  # an interrupted run goes on here
        return self._wait(GRAPH, lambda: self.machine.is_ended, timeout)

    def wait_until_done(self, node: int, timeout: float | None = None) -> bool:
        """Wait until a node is in a terminal status. Returns False when the time is over."""
        if self.executor.is_inline:
            self._after()
        return self._wait(node, lambda: self.machine.status[node] in TERMINAL, timeout)

    def wait_until_reported(self, timeout: float) -> bool:
        """Wait until the callbacks of everything so far were called."""
        return self.reports.wait_until_all_called(timeout)

    def _wait(self, subject: int, is_over: Callable[[], bool], timeout: float | None) -> bool:
        self._refuse_in_fork()
        return self.reports.wait(subject, is_over, timeout)

    # --- views ------------------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        with self.lock:
            self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            with self.lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    def run(self) -> RunInfo:
        with self.lock:
            return run_info(self.machine, self.max_workers, self.executor.can_stop, self.pace)

    def patch(self, since: int) -> Patch:
        with self.lock:  # for gathering only: packing takes longer, and nodes wait for the lock
            machine = self.machine
            info = run_info(machine, self.max_workers, self.executor.can_stop, self.pace)
            revision, changed = machine.revision, window(machine, since)
        return Patch(since, revision, pack(changed), info)

    def columns(self) -> Columns:
        with self.lock:
            return columns(self.machine)

    @property
    def status(self) -> Status:
        with self.lock:
            return self.machine.graph_status

    def statistics(self) -> dict[str, int]:
        """Numbers for tests and bug reports."""
        with self.lock:
            return {
                "nodes": len(self.tasks),
                "ready": len(self._ready),
                "outbox": len(self.reports.outbox),
                "waiters": sum(map(len, self.reports.waiters.values())),
                "revision": self.machine.revision,
            }

    def _refuse_in_fork(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(
                f"graph {self.label} was made before os.fork() and cannot be used in the child. "
                "Make a new one there, or start the child by spawn."
            )

    def forget_locks(self) -> None:
        """After a fork: whoever holds one is not there in the child."""
        self.lock = self.reports.lock = threading.Lock()
        self.output.forget_lock()
