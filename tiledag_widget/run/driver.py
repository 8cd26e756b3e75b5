"""Runs one graph: takes events in, asks the machine, carries its commands out.

**Guarantees**

- Every method is safe from any thread, and from inside callbacks. No lock is held while a node, a callback, an
  executor or a view is called.
- Nodes of one graph run on at most ``max_workers`` lanes. A lane is a thread from the shared cache that takes ready
  nodes until there are none; it keeps a child that it made ready for itself, so a chain switches no thread.
- Callbacks are called one at a time, in the order in which the machine changed statuses, on a thread that occupies no
  lane: a callback that takes long or waits for the graph delays other callbacks only.
- `wait_until_ended` and `wait_until_done` return after the callbacks of what they report were called, unless the
  caller is itself inside one.
- A finished graph holds no thread.
- When the interpreter exits, graphs that run are cancelled; running functions finish.

**Threads**: lanes ``dag-<name>-nodes_<slot>``, each ends when nothing is ready; ``dag-<name>-callbacks``, ends when
every callback was called. Both come from and go back to `run.threads`. While functions return at once a graph keeps to
one lane; see `run.pacer` for who opens the others, and its thread.
"""

from __future__ import annotations

import atexit
import contextlib
import contextvars
import logging
import os
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from types import FrameType
from typing import Any, Final, Protocol

from ..core.machine import GraphMachine
from ..core.snapshot import Columns, Patch, RunInfo, columns, pack, run_info, window
from ..core.states import (
    NOT_STARTED,
    RUNNING,
    TERMINAL,
    Abort,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Changed,
    Command,
    Ended,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Run,
    Start,
    Status,
    Stop,
)
from ..errors import ForkedError, IllegalTransition, StoppedError, WorkerDied
from .executors import Call, Executor, Skipped
from .output import Output, Sink, close_sink_of_thread, watch_streams
from .pacer import pacer
from .progress import current
from .threads import threads

_log = logging.getLogger("tiledag_widget.run")
QUICK_S: Final = 0.0002
QUICK_IN_A_ROW: Final = 16
LAST_WORDS_S: Final = 5.0
"""How long an interpreter that exits waits for callbacks of graphs that have ended."""
GRAPH: Final = -1
"""Stands for the whole graph where a node's index could."""


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


class Observer(Protocol):
    """The graph as its callbacks know it. Called on the callback thread; must not raise."""

    def node_changed(self, node: int, serial: int) -> None:
        """A node began or ended."""

    def graph_ended(self, serial: int) -> None: ...

    def node_ended(self, node: int, serial: int) -> None: ...


class Driver:
    """Runs one graph. See the module's guarantees."""

    runs_here = True
    """False where nodes run elsewhere, and go on when this process ends."""

    def __init__(self, observer: Observer, executor: Executor, max_workers: int, label: str) -> None:
        self.machine = GraphMachine()
        self.tasks: list[Task] = []
        self.executor = executor
        self.max_workers = max_workers
        self.label = label
        self.lock = threading.Lock()
        self._waiters: dict[int, list[threading.Lock]] = {}
        """By node, or `GRAPH`: who sleeps until it ends, each on a lock of its own."""
        self._garbage: list[Any] = []
        """Results that a retry dropped: their destructors are user code and run when the lock is free."""
        self._observer = observer
        self._has_callbacks = False
        self._outbox: deque[tuple[int, Command]] = deque()
        self._posted = 0
        self._delivered = 0
        self._serials: dict[int, int] = {}
        """Serial number of the latest report on a node; under `GRAPH` that of the graph's end."""
        self._deliverer = 0
        self._is_delivering = False
        self._ready: deque[tuple[int, int]] = deque()
        self._lanes = 0
        self._quick = QUICK_IN_A_ROW
        """How many functions in a row took less than `QUICK_S`. See `pacer`."""
        self._free_slots: list[int] = []
        self._slots = 0
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
        _all.add(self)

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
            if commands and self._has_callbacks:
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
            with _uninterrupted():
                self._take(machine.handle(AddEdge(parent, child)))
        self._after()
        return None

    # --- requests ---------------------------------------------------------------------------------------

    def start(self) -> None:
        # Exit hooks run last in, first out: ours must come before that of worker processes started meanwhile.
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)
        _cancel_before_pools_close()
        self._is_start_asked = True
        watch_streams()
        self.follow_caller()
        self._request(lambda at: Start(at))

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
            with _uninterrupted():
                with self.lock:
                    event = make(self.now())
                    commands = self.machine.handle(event)
                    if type(event) is Retry:
                        # Somebody waits for these: they go before what was ready already.
                        urgent = [command for command in commands if type(command) is Run]
                        self._ready.extendleft(reversed(urgent))
                        commands = [command for command in commands if type(command) is not Run]
                    if self.machine.is_started and not self.machine.is_ended:
                        _running[id(self)] = self
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
        for command in commands:
            kind = type(command)
            if kind is Run:
                self._ready.append(command)  # type: ignore[arg-type]
            elif kind is Changed:
                status = command.status  # type: ignore[union-attr]
                if status == NOT_STARTED:
                    self._garbage.append(self.tasks[command.node]._clear())  # type: ignore[union-attr]
                    continue
                if self._has_callbacks:
                    self._post(command.node, command)  # type: ignore[union-attr]
                if self._waiters and status in TERMINAL:
                    self._wake(command.node)  # type: ignore[union-attr]
            elif kind is Ended:
                _running.pop(id(self), None)
                if self.on_end is not None:
                    self.on_end()
                if self._has_callbacks:
                    self._post(GRAPH, command)
                self._wake(GRAPH)

    def _post(self, subject: int, command: Command) -> None:
        self._posted += 1
        self._serials[subject] = self._posted
        self._outbox.append((self._posted, command))

    def _wake(self, subject: int) -> None:
        """The lock is held. Whoever wakes looks again, and sleeps on if its callbacks are still to be called."""
        for sleeper in self._waiters.pop(subject, ()):
            sleeper.release()

    def _after(self) -> None:
        """What follows a step, with no lock held: lanes for ready nodes, callbacks, views."""
        if self._ready and self._lanes < self.max_workers:
            if self._quick >= QUICK_IN_A_ROW and self.executor.is_direct and not self.executor.is_inline:
                if not self._lanes:
                    self.open_lanes(1)
                if self._ready:
                    pacer.watch(self)
            else:
                self.open_lanes(self.max_workers)
        if self._outbox and not self._is_delivering:
            self._start_delivery()
        for listener in self._listeners:
            listener()

    # --- lanes ------------------------------------------------------------------------------------------

    def pulse(self) -> int | None:
        """See `pacer.Paced`."""
        if not self._ready or self._lanes >= self.max_workers:
            return None
        return len(self.machine.changes)

    def open_lanes_at_once(self) -> None:
        """Functions of this graph are known to take long: no need to find that out on one lane."""
        self._quick = 0

    def open_lanes(self, count: int) -> None:
        """Open up to so many lanes more, as long as nodes are ready."""
        while count > 0 and self._ready and self._lanes < self.max_workers:
            count -= 1
            with self.lock:
                if not self._ready or self._lanes >= self.max_workers:
                    break
                self._lanes += 1
                if self._free_slots:
                    slot = heappop(self._free_slots)
                else:
                    slot, self._slots = self._slots, self._slots + 1
            if not self._open_lane(slot):
                break

    def _open_lane(self, slot: int) -> bool:
        """False where the system gives no thread for it."""
        lane = self._direct_lane if self.executor.is_direct else self._lane
        if self.executor.is_inline:
            lane(slot)
            return True
        context = self._context.copy()  # one cannot be entered twice
        try:
            threads.start(lambda: context.run(lane, slot), f"dag-{self.label}-nodes_{slot}")
        except RuntimeError as error:
            self._no_thread(slot, error)
            return False
        return True

    def _no_thread(self, slot: int, error: RuntimeError) -> None:
        """The system gives no thread. With another lane at work the nodes wait for it, else they fail."""
        with self.lock:
            self._close_lane(slot)
            if self._lanes:
                return
            lost = list(self._ready)
            self._ready.clear()
        _log.error("no thread for the nodes of %s: %s", self.label, error)
        for node, attempt in lost:
            self._post_failure(node, attempt, error)
        self._after()

    def _close_lane(self, slot: int) -> None:
        """The lock is held."""
        self._lanes -= 1
        heappush(self._free_slots, slot)

    def _direct_lane(self, slot: int) -> None:
        """A lane that calls the functions itself."""
        gate = _InterruptGate() if self.executor.is_inline else _NO_GATE
        place = current.place
        outer, outer_sink = place.holder, place.sink  # an inline graph inside a node of another one
        try:
            place.sink = None
            with gate:
                self._run_ready(slot, gate)
        finally:
            place.holder, place.sink = outer, outer_sink

    def _run_ready(self, slot: int, gate: _InterruptGate) -> None:
        """The hot path: one lock a node, for its end and for the begin of the next."""
        machine, lock, ready, tasks = self.machine, self.lock, self._ready, self.tasks
        monotonic, zero, place = time.monotonic, self._zero, current.place
        event: Event | None = None
        began = 0.0
        while True:
            with lock:
                if event is not None:
                    self._take(machine.handle(event))
                node = -1
                while ready and not gate.interrupted:
                    node, attempt = ready.popleft()
                    if machine.live[node] and machine.attempt[node] == attempt:
                        began = monotonic()
                        commands = machine.handle(Began(node, attempt, zero + began, slot))
                        if self._has_callbacks:
                            self._take(commands)
                        break
                    node = -1  # cancelled while it was queued
                if node < 0:
                    self._close_lane(slot)
            if node < 0:
                if not gate.interrupted:
                    self._after()
                return
            if self._outbox or self._listeners or ready:
                self._after()
            event = None
            task = tasks[node]
            try:
                gate.inside = True
                if gate.interrupted:
                    raise KeyboardInterrupt
                place.holder = task
                function, args, kwargs = task._prepare()
                value = function(*args, **kwargs)
                gate.inside = False
                place.holder = None  # what finalizers of its values print is no node's
                if place.sink is not None:  # it has printed
                    close_sink_of_thread()
                task._accept(value)
                ended = monotonic()
                if ended - began > QUICK_S:
                    self._quick = 0
                elif self._quick < QUICK_IN_A_ROW:
                    self._quick += 1
                event = Finished(node, attempt, zero + ended)
                # Nothing of the node may live on in this frame while the lane waits for work.
                del function, args, kwargs, value
            except BaseException as error:
                gate.inside = False
                place.holder = None
                if place.sink is not None:
                    close_sink_of_thread()
                task._reject(error)
                if node in machine.stopping and isinstance(error, StoppedError):
                    event = Aborted(node, attempt, zero + monotonic())
                else:
                    event = Failed(node, attempt, zero + monotonic())

    def _lane(self, slot: int) -> None:
        """A lane that hands each node to the executor and waits for its outcome."""
        while True:
            with self.lock:
                node = -1
                while self._ready:
                    node, attempt = self._ready.popleft()
                    if self.machine.live[node] and self.machine.attempt[node] == attempt:
                        break
                    node = -1
                if node < 0:
                    self._close_lane(slot)
            if node < 0:
                self._after()
                return
            self._carry_out(node, attempt, slot)

    def _carry_out(self, node: int, attempt: int, slot: int) -> None:
        task = self.tasks[node]
        call = Call(task.name, node, attempt, lambda: self._begin(node, attempt, slot))
        self._calls[node] = call
        call.holder = task
        sink = call.sink = self.output.sink(node, attempt)
        try:
            call.function, call.args, call.kwargs = task._prepare()
            value = call.run_here() if task._is_remote else self.executor.run(call)
        except Skipped:
            return
        except BaseException as error:
            sink.close()
            self._post_failure(node, attempt, error, call)
        else:
            sink.close()
            task._accept(value)
            with self.lock:
                self._take(self.machine.handle(Finished(node, attempt, self.now())))
        finally:
            if self._calls.get(node) is call:
                del self._calls[node]
            self._after()

    def _begin(self, node: int, attempt: int, slot: int) -> bool:
        """The executor takes the attempt up. False if it was cancelled meanwhile."""
        with self.lock:
            machine = self.machine
            if not (machine.live[node] and machine.attempt[node] == attempt):
                return False
            if machine.status[node] == NOT_STARTED:
                self._take(machine.handle(Began(node, attempt, self.now(), slot)))
        self._after()
        return True

    def _post_failure(self, node: int, attempt: int, error: BaseException, call: Call | None = None) -> None:
        with self.lock:
            machine = self.machine
            if not machine.live[node] or machine.attempt[node] != attempt:
                return
            at = self.now()
            event: Event = Failed(node, attempt, at)
            if node in machine.stopping and isinstance(error, StoppedError):
                event = Aborted(node, attempt, at)
            elif isinstance(error, WorkerDied):
                event = Lost(node, attempt, at)
            self.tasks[node]._reject(error)
            self._take(machine.handle(event))

    # --- callbacks --------------------------------------------------------------------------------------

    def expect_callbacks(self) -> int:
        """From now on status changes go to the observer. Returns the serial number of the latest one.

        The lock must be held.
        """
        self._has_callbacks = True
        return self._posted

    def _start_delivery(self) -> None:
        with self.lock:
            if self._is_delivering or not self._outbox:
                return
            self._is_delivering = True
        context = self._context.copy()
        try:
            threads.start(lambda: context.run(self._deliver), f"dag-{self.label}-callbacks")
        except RuntimeError:
            self._deliver()

    def _deliver(self) -> None:
        observer, outbox = self._observer, self._outbox
        self._deliverer = threading.get_ident()
        while True:
            with self.lock:
                if not outbox:
                    # 1. a step adds to the outbox; 2. it sees a delivery at work and leaves; 3. we end. The flag is
                    # taken back under the lock that adding needs, so 1 comes before this look or sees the flag down.
                    self._is_delivering = False
                    self._deliverer = 0
                    return
                serial, command = outbox.popleft()
                ended = outbox.popleft()[0] if outbox and type(outbox[0][1]) is Ended else 0
            last = ended or serial
            if type(command) is Changed:
                observer.node_changed(command.node, serial)
                if ended:
                    observer.graph_ended(ended)
                if command.status != RUNNING:
                    observer.node_ended(command.node, serial)
            else:
                observer.graph_ended(serial)
            with self.lock:
                self._delivered = last
                if self._waiters:
                    if type(command) is Changed:
                        self._wake(command.node)
                    if ended or type(command) is Ended:
                        self._wake(GRAPH)

    # --- waiting ----------------------------------------------------------------------------------------

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
        end = time.monotonic() + timeout
        while True:
            with self.lock:  # inside a step what has just ended is not in the outbox yet
                if not self._outbox and not self._is_delivering:
                    return True
            if time.monotonic() >= end or threading.get_ident() == self._deliverer:
                return False
            time.sleep(0.002)

    def _wait(self, subject: int, is_over: Callable[[], bool], timeout: float | None) -> bool:
        self._refuse_in_fork()
        inside_callback = threading.get_ident() == self._deliverer

        def is_reported() -> bool:
            return is_over() and (inside_callback or self._delivered >= self._serials.get(subject, 0))

        end = None if timeout is None else time.monotonic() + float(timeout)
        while True:
            # Each sleeper has a lock of its own. With a condition over the common lock, an interrupt that comes while
            # the lock is taken back would leave it released twice, and two lanes inside.
            sleeper = threading.Lock()
            sleeper.acquire()
            with self.lock:
                if is_reported():
                    return True
                self._waiters.setdefault(subject, []).append(sleeper)
            try:
                left = -1 if end is None else end - time.monotonic()
                if end is None or left > 0:
                    sleeper.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            finally:
                with self.lock:
                    others = self._waiters.get(subject)
                    if others is not None and sleeper in others:
                        others.remove(sleeper)
            if end is not None and time.monotonic() >= end:
                return is_reported()

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
            return run_info(self.machine, self.max_workers, self.executor.can_stop)

    def patch(self, since: int) -> Patch:
        with self.lock:  # for gathering only: packing takes longer, and nodes wait for the lock
            machine = self.machine
            info = run_info(machine, self.max_workers, self.executor.can_stop)
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
                "lanes": self._lanes,
                "ready": len(self._ready),
                "outbox": len(self._outbox),
                "waiters": sum(map(len, self._waiters.values())),
                "revision": self.machine.revision,
            }

    def _refuse_in_fork(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedError(
                f"graph {self.label} was made before os.fork() and cannot be used in the child. "
                "Make a new one there, or start the child by spawn."
            )


_all: weakref.WeakSet[Driver] = weakref.WeakSet()
_running: dict[int, Driver] = {}
"""Graphs that have started and not ended. Entries come and go under the lock of their driver."""


def running_drivers() -> list[Driver]:
    """Drivers of graphs that run now, in no particular order."""
    return [driver for driver in list(_running.values()) if not driver.machine.is_ended]


def known_observers() -> list[Observer]:
    """Whom the graphs of this process report to, as far as somebody holds them."""
    return [driver._observer for driver in list(_all)]


class _InterruptGate:
    """Holds interrupts back on the main thread but where ``inside`` is set, and hands them on at the end.

    Half a step of the machine would leave counters that do not fit, and with them a graph that never ends.
    """

    def __init__(self) -> None:
        self.inside = False
        self.interrupted = False
        self._old: Any = None
        self._active = False

    def __enter__(self) -> _InterruptGate:
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):  # not the main thread of the main interpreter
                self._old = signal.signal(signal.SIGINT, self._note)
                self._active = True
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if self.inside:
            self.inside = False
            raise KeyboardInterrupt

    def __exit__(self, *exc_info: object) -> None:
        if not self._active:
            return
        signal.signal(signal.SIGINT, self._old if self._old is not None else signal.SIG_DFL)
        if self.interrupted and callable(self._old):
            self._old(signal.SIGINT, None)


class _NoGate(_InterruptGate):
    """For threads that get no interrupts."""

    def __enter__(self) -> _InterruptGate:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None


_NO_GATE: Final = _NoGate()
_uninterrupted = _InterruptGate


def _at_exit() -> None:
    """Nothing not yet started starts; running functions finish. Then the interpreter may go."""
    for driver in _running_here():
        try:
            driver.cancel(None)
        except Exception:
            _log.exception("could not cancel a graph at exit")
    for driver in _running_here():
        driver.wait_until_ended()
    wait_until_all_reported(LAST_WORDS_S)


def wait_until_all_reported(timeout: float) -> None:
    """Wait until the callbacks of everything so far were called, of each graph for so many seconds at most. A node's
    result can be had before."""
    for driver in list(_all):
        driver.wait_until_reported(timeout)


def _running_here() -> list[Driver]:
    return [driver for driver in running_drivers() if driver.runs_here]


def _cancel_not_started() -> None:
    for driver in _running_here():
        driver.cancel(None)


_is_before_pools = False


def _cancel_before_pools_close() -> None:
    """The pools of ``concurrent.futures`` close before any exit hook, and nodes that wait for one would fail.

    Python has a hook before that, of no public name; without it such nodes are Failed instead of Cancelled.
    """
    global _is_before_pools
    register = getattr(threading, "_register_atexit", None)
    if _is_before_pools or register is None:
        return
    _is_before_pools = True
    with contextlib.suppress(RuntimeError):  # the interpreter is about to go
        register(_cancel_not_started)


def _after_fork() -> None:
    """No thread of ours is in the child, and a lock may be held by one of them for ever. What can be read stays so."""
    threads.forget()
    pacer.forget()
    _running.clear()
    for driver in _all:
        driver.lock = threading.Lock()
        driver.output.forget_lock()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
