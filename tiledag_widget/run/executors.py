"""Where a node's function runs: here, in a worker process, or in any ``concurrent.futures.Executor``.

One contract, `Executor`; the suite in ``tests/contract/`` holds for each of them.
"""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import WorkerDied
from .output import Collector, Sink, close_sink_of_thread, watch_streams
from .progress import current


class Skipped(Exception):
    """The attempt was cancelled before the executor took it up."""


class Call:
    """One attempt at one node, on its way through an executor.

    ``begin()`` must be called by the executor right before the function runs; if it returns False the attempt was
    cancelled and `Skipped` has to be raised instead.
    """

    __slots__ = (
        "_kill",
        "_lock",
        "args",
        "attempt",
        "begin",
        "function",
        "holder",
        "kwargs",
        "name",
        "node",
        "sink",
        "stop_asked",
    )

    def __init__(self, name: str, node: int, attempt: int, begin: Callable[[], bool]) -> None:
        self.name = name
        self.node = node
        self.attempt = attempt
        self.begin = begin
        self.function: Callable[..., Any] | None = None
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.holder: Any = None
        """What `progress` calls inside the function are about, where it runs in this process."""
        self.sink: Sink | None = None
        """Where what the function prints goes, where it does not run on a thread of this process."""
        self.stop_asked = False
        self._kill: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def run_here(self) -> Any:
        """Call the function on this thread: what every executor's ``run`` comes to in the end."""
        if not self.begin():
            raise Skipped
        assert self.function is not None
        return self.function(*self.args, **self.kwargs)

    def stop(self) -> None:
        """End the attempt: now, or as soon as the executor has said how."""
        with self._lock:  # held over the kill: a worker that was given back meanwhile runs somebody else's call
            self.stop_asked = True
            if self._kill is not None:
                self._kill()

    def stop_by(self, kill: Callable[[], None] | None) -> None:
        """From now on ``kill`` ends the attempt; None: it is over."""
        with self._lock:
            self._kill = kill
            if kill is not None and self.stop_asked:
                kill()


class Executor(Protocol):
    """Runs one call at a time per lane.

    Attributes:
        is_direct: Lanes call functions themselves and never ask `run`.
        is_inline: The lane is the thread that asked, not one of its own.
        can_stop: A running call can be ended.
    """

    is_direct: bool
    is_inline: bool
    can_stop: bool

    def run(self, call: Call) -> Any:
        """Return the function's value or raise what it raised.

        Raises:
            Skipped: ``call.begin()`` said that the attempt was cancelled.
            NotPicklable: Something cannot go where the function runs; raised before ``begin``.
            WorkerDied: The process ended before the function.
            StoppedError: ``call.stop()`` ended it.
        """


class Threads:
    """Functions run on the lanes."""

    is_direct = True
    is_inline = False
    can_stop = False

    def run(self, call: Call) -> Any:
        return call.run_here()


class Inline(Threads):
    """Functions run on the thread that starts them: ``compute()`` returns at the end. For debugging and teaching."""

    is_inline = True


class Processes:
    """Functions run in worker processes that all graphs share, one at a time in each."""

    is_direct = False
    is_inline = False
    can_stop = True

    def __init__(self) -> None:
        # Its exit hook must stand before those of graphs, which run first then and wait for what runs in workers.
        from . import workers  # noqa: F401

    def run(self, call: Call) -> Any:
        from ..wire import pickles
        from .workers import shared_workers

        assert call.function is not None
        parcel = pickles.dumps_call(call.name, call.function, call.args, call.kwargs)
        workers = shared_workers()
        worker = workers.lease()
        try:
            if not call.begin():
                raise Skipped
            call.stop_by(worker.kill)
            try:
                outcome = worker.call(call.name, parcel, call.sink)
            finally:
                call.stop_by(None)
        finally:
            workers.release(worker)
        return outcome.result()


class Futures:
    """Functions run in a ``concurrent.futures.Executor`` of the caller's, which is never shut down here."""

    is_direct = False
    is_inline = False
    can_stop = False

    def __init__(self, executor: concurrent.futures.Executor) -> None:
        self._executor = executor

    def run(self, call: Call) -> Any:
        carried = _Carried(call)
        parcel = self._parcel_of(carried)
        try:
            future = self._executor.submit(parcel)
        except RuntimeError as error:
            raise RuntimeError(
                f"Node '{call.name}': {type(self._executor).__name__} takes no more work: {error}. "
                "Make the graph anew with `executor=` an open one."
            ) from error
        try:
            outcome = future.result()
            if isinstance(outcome, _PackedOutcome):
                outcome.hand_over(call.sink)
        except BaseException as error:
            explained = carried.explain(error)
            if explained is error:
                raise
            raise explained from error
        return outcome.value()

    def _parcel_of(self, carried: _Carried) -> Callable[[], Any]:
        """What the executor is given."""
        return carried


class Dask(Futures):
    """Functions run on a dask cluster, by ``Client.get_executor()``."""

    def _parcel_of(self, carried: _Carried) -> Callable[[], Any]:
        # Packed here and once: dask packs late, sometimes twice, and hides what went wrong. And never equal to another
        # one: dask takes equal calls for one, whose result it has already.
        make, arguments = carried.__reduce__()
        parcel: _Packed = make(*arguments)
        parcel.nonce = uuid.uuid4().hex
        return parcel


class _Outcome:
    """What a function did, as a value: no exception is on its way while the executor handles it."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self._value, self._error = value, error

    def value(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value


class _Carried:
    """The callable handed to a foreign executor.

    Whether the executor stays in this process is not ours to know. Called here, it runs the function as it is. Pickled,
    it goes as cloudpickled bytes, so that lambdas and closures work where the executor knows plain pickle only; the
    attempt then begins when it is packed.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._failure: BaseException | None = None

    def __call__(self) -> _Outcome:
        call = self._call
        if not call.begin():
            return _Outcome(None, Skipped())
        assert call.function is not None
        place = current.place
        outer, outer_sink = place.holder, place.sink
        try:
            place.holder, place.sink = call.holder, None
            return _Outcome(call.function(*call.args, **call.kwargs), None)
        except BaseException as error:
            return _Outcome(None, error)
        finally:
            close_sink_of_thread()
            place.holder, place.sink = outer, outer_sink

    def __reduce__(self) -> tuple[Any, ...]:
        from ..wire import pickles

        call = self._call
        assert call.function is not None
        try:
            parcel = pickles.dumps_call(call.name, call.function, call.args, call.kwargs)
            if not call.begin():
                raise Skipped
        except BaseException as error:
            self._failure = error
            raise
        return _Packed, (call.name, [bytes(buffer) for buffer in parcel])

    def explain(self, error: BaseException) -> BaseException:
        """The exception that tells the user what went wrong between us and the executor."""
        if self._failure is not None:
            return self._failure
        if isinstance(error, concurrent.futures.BrokenExecutor):
            return WorkerDied(f"Node '{self._call.name}': the executor broke: {error}")
        if type(error).__name__ == "KilledWorker":  # dask's; by name, for dask is not always there
            return WorkerDied(f"Node '{self._call.name}': its dask worker died: {error}")
        if isinstance(error, concurrent.futures.CancelledError):
            return RuntimeError(f"Node '{self._call.name}': its future was cancelled by somebody else")
        return error


class _Packed:
    """The callable as the other process sees it."""

    nonce = ""

    def __init__(self, name: str, parcel: list[bytes]) -> None:
        self._name, self._parcel = name, parcel

    def __call__(self) -> _PackedOutcome:
        from . import worker_main

        watch_streams()
        place = current.place
        outer, outer_sink = place.holder, place.sink
        collector = Collector()
        try:
            place.holder, place.sink = collector, None
            kind, reply = worker_main.run_call(self._name, self._parcel)
        finally:
            close_sink_of_thread()
            place.holder, place.sink = outer, outer_sink
        is_value = kind == worker_main.VALUE
        return _PackedOutcome(self._name, is_value, [bytes(buffer) for buffer in reply], collector.lines)


class _PackedOutcome:
    """What a function did in another process, as bytes."""

    def __init__(self, name: str, is_value: bool, parcel: list[bytes], lines: list[tuple[float, int, str]]) -> None:
        self._name, self._is_value, self._parcel, self._lines = name, is_value, parcel, lines

    def hand_over(self, sink: Sink | None) -> None:
        """Put what the function printed into the node's log."""
        if sink is not None:
            for at, level, text in self._lines:
                sink.add(level, text, at)

    def value(self) -> Any:
        from ..wire import pickles

        if self._is_value:
            return pickles.loads_result(self._name, self._parcel)
        raise pickles.restore_exception(self._parcel[0])[0]


def choose(executor: Any, use_processes: bool) -> Executor:
    """The executor for ``DAG(executor=..., use_processes=...)``.

    Raises:
        TypeError: ``executor`` is nothing that runs functions.
        ValueError: It is an unknown name, or both were given.
    """
    if executor is None:
        return Processes() if use_processes else Threads()
    if use_processes:
        raise ValueError("give either use_processes=True or executor=..., not both")
    if isinstance(executor, str):
        kinds: dict[str, type[Any]] = {"threads": Threads, "processes": Processes, "inline": Inline}
        if executor not in kinds:
            raise ValueError(
                f"executor={executor!r} is unknown. Use one of {', '.join(map(repr, kinds))}, "
                "or a concurrent.futures.Executor."
            )
        return kinds[executor]()  # type: ignore[no-any-return]
    if isinstance(executor, concurrent.futures.Executor):
        return (Dask if type(executor).__module__.startswith("distributed.") else Futures)(executor)
    raise TypeError(
        f"executor must be a concurrent.futures.Executor or one of 'threads', 'processes', 'inline'; "
        f"got {type(executor).__name__}"
    )


def shutdown() -> None:
    """End the worker processes, connections and idle threads that graphs share, instead of some time after their use.

    A node that runs in a worker process fails; later graphs start new ones.
    """
    import sys

    from .threads import threads

    workers = sys.modules.get(f"{__package__}.workers")
    if workers is not None:
        workers.shared_workers().shutdown()
    recorder = getattr(sys.modules.get(f"{__package__}.record"), "recorder", None)  # none while it is being imported
    if recorder is not None:
        recorder.close()
    batch = sys.modules.get(f"{__package__}.batch")
    if batch is not None:
        batch.detach_all()
    client = sys.modules.get("tiledag_widget.wire.client")
    if client is not None:
        client.close()
    launch = sys.modules.get("tiledag_widget.server.launch")
    if launch is not None:
        launch.let_go()
    threads.end_idle()


__all__ = [
    "Call",
    "Executor",
    "Futures",
    "Inline",
    "Processes",
    "Skipped",
    "Threads",
    "choose",
    "shutdown",
]
