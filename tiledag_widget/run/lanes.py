"""Runs a graph here, on lanes: `LaneDriver` is a `Driver` that carries its machine's commands out itself.

**Guarantees**, besides those of `run.driver`

- Nodes of one graph run on at most ``max_workers`` lanes. A lane is a thread from the shared cache that takes ready
  nodes until there are none; it keeps a child that it made ready for itself, so a chain switches no thread.
- A finished graph holds no thread.
- In slow motion (`run.slow_motion`) a lane waits before each start, without the lock.

**Threads**: lanes ``dag-<name>-nodes_<slot>``, each ends when nothing is ready. They come from and go back to
`run.threads`. While functions return at once a graph keeps to one lane; see `run.pacer` for who opens the others, and
its thread.
"""

from __future__ import annotations

import logging
import time
from heapq import heappop, heappush
from typing import Final

from ..core.states import NOT_STARTED, Aborted, Began, Event, Failed, Finished, Lost
from ..errors import StoppedError, WorkerDied
from .driver import Driver
from .executors import Call, Executor, Skipped
from .gate import NO_GATE, InterruptGate
from .output import close_sink_of_thread
from .pacer import pacer
from .progress import current
from .reports import Observer
from .slow_motion import SlowMotion
from .threads import threads

_log = logging.getLogger("tiledag_widget.run")
QUICK_S: Final = 0.0002
QUICK_IN_A_ROW: Final = 16


class LaneDriver(Driver):
    """Runs one graph. See the module's guarantees."""

    def __init__(self, observer: Observer, executor: Executor, max_workers: int, label: str) -> None:
        super().__init__(observer, executor, max_workers, label)
        self._lanes = 0
        self._quick = QUICK_IN_A_ROW
        """How many functions in a row took less than `QUICK_S`. See `pacer`."""
        self._free_slots: list[int] = []
        self._slots = 0
        self._slow = SlowMotion()

    def _after(self) -> None:
        """Lanes for ready nodes, then callbacks and views."""
        if self._slow.resting:
            self._slow.ring()
        if self._ready and self._lanes < self.max_workers:
            if self._quick >= QUICK_IN_A_ROW and self.executor.is_direct and not self.executor.is_inline:
                if not self._lanes:
                    self.open_lanes(1)
                if self._ready:
                    pacer.watch(self)
            else:
                self.open_lanes(self.max_workers)
        if self.reports.outbox or self._listeners:
            super()._after()

    def statistics(self) -> dict[str, int]:
        with self.lock:
            lanes = self._lanes
        return {**super().statistics(), "lanes": lanes}

    @property
    def pace(self) -> float:
        """Seconds that a lane waits before each start; 0 for none."""
        return self._slow.seconds

    def set_pace(self, seconds: float) -> float:
        self._slow.set(seconds)
        self._quick = 0  # the pacer is for functions that return at once
        if not self.executor.is_inline:
            self._after()
        elif self._listeners:
            super()._after()
        return self._slow.seconds

    # --- opening them -----------------------------------------------------------------------------------

    def pulse(self) -> int | None:
        """See `pacer.Paced`."""
        if not self._ready or self._lanes >= self.max_workers:
            return None
        return len(self.machine.changes)

    def open_lanes_at_once(self) -> None:
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

    # --- what they do -----------------------------------------------------------------------------------

    def _direct_lane(self, slot: int) -> None:
        """A lane that calls the functions itself."""
        gate = InterruptGate() if self.executor.is_inline else NO_GATE
        place = current.place
        outer, outer_sink = place.holder, place.sink  # an inline graph inside a node of another one
        try:
            place.sink = None
            with gate:
                self._run_ready(slot, gate)
        finally:
            place.holder, place.sink = outer, outer_sink

    def _run_ready(self, slot: int, gate: InterruptGate) -> None:
        """The hot path: one lock a node, for its end and for the begin of the next."""
        machine, lock, ready, tasks = self.machine, self.lock, self._ready, self.tasks
        monotonic, zero, place = time.monotonic, self._zero, current.place
        reports, outbox = self.reports, self.reports.outbox
        event: Event | None = None
        began = 0.0
        slow = self._slow
        while True:
            if slow.seconds:
                self._rest(event, gate)
                event = None
            with lock:
                if event is not None:
                    self._take(machine.handle(event))
                node = -1
                while ready and not gate.interrupted:
                    node, attempt = ready.popleft()
                    if machine.live[node] and machine.attempt[node] == attempt:
                        began = monotonic()
                        commands = machine.handle(Began(node, attempt, zero + began, slot))
                        if reports.is_wanted:
                            self._take(commands)
                        break
                    node = -1  # cancelled while it was queued
                if node < 0:
                    self._close_lane(slot)
            if node < 0:
                if not gate.interrupted:
                    self._after()
                return
            if outbox or self._listeners or ready:
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

    def _rest(self, event: Event | None, gate: InterruptGate) -> None:
        """Slow motion: what has just ended is told, then the next node waits its time, still queued. It is put back in
        front, to be taken up at once."""
        machine, ready = self.machine, self._ready
        node = attempt = -1
        with self.lock:
            if event is not None:
                self._take(machine.handle(event))
            while ready and node < 0:
                node, attempt = ready.popleft()
                if not (machine.live[node] and machine.attempt[node] == attempt):
                    node = -1
        self._after()
        if node < 0:
            return

        def is_wanted() -> bool:
            return not gate.interrupted and bool(machine.live[node]) and machine.attempt[node] == attempt

        try:
            self._slow.rest(is_wanted)
        finally:
            with self.lock:
                ready.appendleft((node, attempt))

    def _lane(self, slot: int) -> None:
        """A lane that hands each node to the executor and waits for its outcome."""
        while True:
            if self._slow.seconds:
                self._rest(None, NO_GATE)
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
            self._post_failure(node, attempt, error)
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

    def _post_failure(self, node: int, attempt: int, error: BaseException) -> None:
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
