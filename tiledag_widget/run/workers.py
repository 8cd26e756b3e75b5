"""Worker processes: a shared set of them, each running one call at a time.

**Guarantees**

- `lease`, `release`, `shutdown`, `statistics` and `Worker.kill` may be called from any thread; a `Worker` belongs
  to the thread that leased it until it is released.
- A worker runs one call at a time; none is queued inside it. When it dies, its own call ends with the reason
  and no other call notices.
- Whatever the function raises is an outcome (SystemExit and KeyboardInterrupt too); only the end of the
  process is a death.
- Workers are fresh interpreters (never a fork) in sessions of their own: they need no main guard, see no Ctrl+C,
  inherit no descriptor but their own two, and take over the parent's module path, working directory and
  environment before each call if these have changed.
- They end, and with them what they started in their session: at `kill()`, `IDLE_SECONDS` after their last use, at
  `shutdown()`, at interpreter exit, and within a second of the parent's death, however it dies.
- In a forked child the parent's workers are unknown; a leased one refuses with `ForkedError`.

**Threads**: `tiledag-idle-workers`, a daemon, exists only while there are idle workers; it ends the ones that were
idle for long, and itself with the last. There is no thread per worker.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ..core.lines import STDERR
from ..errors import ForkedError, StoppedError, WorkerDied
from ..wire import pickles
from .output import Collector, Sink
from .worker_main import CALL, READY, VALUE, receive, send

__all__ = ["End", "Outcome", "ProcessWorkers", "Worker", "shared_workers"]

IDLE_SECONDS = 10.0


class End(Enum):
    """How a call ended."""

    VALUE = "value"
    ERROR = "error"
    DIED = "died"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call; unpack it with `result()`, where user code may run."""

    end: End
    node_name: str
    parcel: pickles.Parcel = ()
    exitcode: int | None = None
    was_ready: bool = True

    def result(self) -> Any:
        """The value of the call.

        Raises:
            BaseException: what the function raised, with the worker's traceback as its cause.
            NotPicklable: the call or its result could not cross.
            WorkerDied: the process ended before the function did.
            StoppedError: `Worker.kill` was called.
        """
        if self.end is End.VALUE:
            return pickles.loads_result(self.node_name, self.parcel)
        raise self.exception()

    def exception(self) -> BaseException:
        """The exception that stands for an end that is not a value."""
        if self.end is End.ERROR:
            return pickles.restore_exception(self.parcel[0])[0]
        if self.end is End.KILLED:
            return StoppedError(f"Node {self.node_name!r} was stopped while it ran; its work is lost.")
        return WorkerDied(_words_for_death(self.node_name, self.exitcode, self.was_ready), self.exitcode)


def _words_for_death(node_name: str, exitcode: int | None, was_ready: bool) -> str:
    if exitcode is None:
        how = "its exit code is not known"
    elif exitcode < 0:
        try:
            how = f"signal {-exitcode} ({signal.Signals(-exitcode).name})"
        except ValueError:
            how = f"signal {-exitcode}"
    else:
        how = f"exit code {exitcode}"
    when = "" if was_ready else " before it was ready (its standard error says why)"
    return f"Node {node_name!r}: worker died{when}: {how}"


class _Process:
    """One worker process with the parent's ends of its two connections."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # over the process id: no signal is sent after it was reaped
        self.holder: Worker | None = None
        self.ready = False
        self.told: _Surroundings | None = None
        self.idle_since = 0.0
        self.exitcode: int | None = None
        self.connection, theirs = socket.socketpair()
        self.lifeline, their_lifeline = socket.socketpair()
        self.output, their_output = os.pipe()
        os.set_blocking(self.output, False)
        with theirs, their_lifeline:
            try:
                self.process = _start(theirs, their_lifeline, their_output)
            except BaseException:
                self.connection.close()
                self.lifeline.close()
                os.close(self.output)
                raise
            finally:
                os.close(their_output)
        self.watch = _Watch(self.connection, self.process.pid, self.output)

    def kill(self, holder: Worker | None) -> None:
        """Ends the process at once if `holder` holds it."""
        with self.lock:
            if self.holder is holder:
                if holder is not None:
                    holder._killed = True
                if self.process.returncode is None:
                    _kill_session(self.process)

    def is_alive(self) -> bool:
        with self.lock:
            return self.process.poll() is None

    def reap(self, patience: float) -> int | None:
        """The exit code; of one that has not ended after `patience` seconds, that of its killing."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        with self.lock:
            if self.process.returncode is None:
                _kill_session(self.process)
            return self.process.wait()

    def hang_up(self) -> None:
        """An idle worker reads the end of its input and leaves."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has gone

    def close(self, patience: float = 1.0) -> None:
        """Lets the process end by itself, and sees to it that it does."""
        self.hang_up()
        self.reap(patience)
        self.connection.close()
        self.lifeline.close()
        self.watch.close()
        self.close_output()

    def close_output(self) -> None:
        """What came after the last call is shown, and in no log."""
        output, self.output = self.output, -1
        if output >= 0:
            self.watch.output = -1
            _drain(output, _unasked)
            os.close(output)

    def abandon(self) -> None:
        """In a forked child: forgets the process without touching it."""
        self.connection.close()
        self.lifeline.close()
        self.watch.close()
        if self.output >= 0:
            os.close(self.output)
            self.output = -1
        self.process.returncode = 0  # silences the warning about a process still running


def _start(connection: socket.socket, lifeline: socket.socket, output: int) -> subprocess.Popen[bytes]:
    if sys.platform == "win32":
        raise WorkerDied("worker processes are not available on Windows; run this graph in threads")
    from multiprocessing.spawn import get_executable

    ends = connection.fileno(), lifeline.fileno()
    code = (
        f"import sys; sys.path[:] = {[str(_PACKAGE_FOLDER), *filter(_is_text, sys.path)]!r}; "
        f"from tiledag_widget.run.worker_main import start; del sys.path[0]; start{ends}"
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing does
    command = [os.fsdecode(get_executable()), *flags, "-c", code]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=ends, start_new_session=True
    )


Reader = Callable[[bytes], object]
"""Takes what a worker printed."""
_MOST_AT_ONCE = 1 << 16
_MOST_READS = 256
"""At the end of a call: something that the function started may go on printing for ever."""


def _drain(output: int, read: Reader) -> None:
    """Hands over all that has been printed, without waiting for more."""
    for _ in range(_MOST_READS):
        try:
            data = os.read(output, _MOST_AT_ONCE)
        except (BlockingIOError, OSError):
            return
        if not data:
            return
        read(data)


def _unasked(data: bytes) -> None:
    """Printed between calls: shown where it went before, like all that workers print, and of no node."""
    Sink(Collector()).feed(data)


_PACKAGE_FOLDER = Path(__file__).resolve().parent.parent.parent


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """With the worker ends what its node has started, which would otherwise hold our pipes and files."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()


class _Watch:
    """Waits until the worker has written or has ended.

    The end of the connection alone would not do: a process that a node forked may hold it open.
    """

    def __init__(self, connection: socket.socket, pid: int, output: int) -> None:
        import select

        self._connection = connection.fileno()
        self.output = output
        self._process: int | None = None
        self._close: Callable[[], None] = _nothing
        try:
            if sys.platform == "linux" and hasattr(os, "pidfd_open"):
                self._process = os.pidfd_open(pid)
                self._close = functools.partial(os.close, self._process)
            elif sys.platform == "darwin":
                queue = select.kqueue()
                flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
                queue.control([select.kevent(pid, select.KQ_FILTER_PROC, flags, select.KQ_NOTE_EXIT)], 0)
                self._process = queue.fileno()
                self._close = queue.close
        except OSError:
            pass  # an old kernel, or the process has ended already: the connection says so
        self._poll = select.poll()
        self._poll.register(self._connection, select.POLLIN)
        if self._process is not None:
            self._poll.register(self._process, select.POLLIN)
        self._poll.register(output, select.POLLIN)

    def until_written(self, read: Reader) -> bool:
        """True when there is an answer to read, False when the process has ended without. What it prints meanwhile
        goes to ``read``."""
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll()]
            if self.output in ready:
                self._read(read)
            if self._connection in ready:
                return True
            if self._process in ready:
                return False

    def _read(self, read: Reader) -> None:
        try:
            data = os.read(self.output, _MOST_AT_ONCE)
        except BlockingIOError:
            return
        if data:
            read(data)
        else:  # the function closed both of its streams, or the process is about to end
            self._poll.unregister(self.output)

    def close(self) -> None:
        self._close()
        self._close = _nothing


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a function sees of the process it runs in besides its arguments."""

    path: tuple[object, ...]
    argv: tuple[str, ...]
    directory: str
    environment: dict[Any, Any]

    @staticmethod
    def now() -> _Surroundings:
        try:
            directory = os.getcwd()
        except OSError:
            directory = os.curdir
        # The mapping below `os.environ` is copied in 1 us; through the decoding front it takes 40, for each call.
        environment = getattr(os.environ, "_data", os.environ)
        return _Surroundings(tuple(sys.path), tuple(sys.argv), directory, dict(environment))

    def news_since(self, told: _Surroundings | None) -> bytes:
        """What a worker that was told `told` must hear; nothing if all is the same."""
        if told == self:
            return b""
        before = told.environment if told is not None else {}
        changed = {_text(k): _text(v) for k, v in self.environment.items() if before.get(k) != v}
        gone = {_text(k): None for k in before if k not in self.environment}
        path = list(filter(_is_text, self.path))
        news = {"path": path, "argv": self.argv, "directory": self.directory, "environment": {**changed, **gone}}
        return json.dumps(news).encode()


def _text(value: bytes | str) -> str:
    return os.fsdecode(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


class Worker:
    """One lease of a worker process: good for calls until it is released."""

    def __init__(self, process: _Process) -> None:
        self._process = process
        self._killed = False
        self._in_call = False
        self._pid_of_owner = os.getpid()

    @property
    def pid(self) -> int:
        """Of the worker process."""
        return self._process.process.pid

    def call(self, node_name: str, parcel: pickles.Parcel, sink: Sink | None = None) -> Outcome:
        """Runs a call made by `pickles.dumps_call`; blocks until its reply or the worker's death. What it prints
        goes into ``sink`` as it comes."""
        if os.getpid() != self._pid_of_owner:
            raise ForkedError("A worker process was leased before os.fork() and is used in the child.")
        process = self._process
        surroundings = _Surroundings.now()
        news = surroundings.news_since(process.told)
        name = node_name.encode("utf-8", "surrogatepass")
        self._in_call = True
        sink = sink or Sink(Collector())
        _drain(process.output, _unasked)
        try:
            return self._call(process, sink, news, name, parcel, surroundings, node_name)
        finally:
            _drain(process.output, sink.feed)

    def _call(
        self,
        process: _Process,
        sink: Sink,
        news: bytes,
        name: bytes,
        parcel: pickles.Parcel,
        surroundings: _Surroundings,
        node_name: str,
    ) -> Outcome:
        try:
            send(process.connection, CALL, [news, name, *parcel])
            process.told = surroundings
            kind, buffers = self._reply(sink)
        except (EOFError, OSError):
            exitcode = process.reap(patience=2.0)
            end = End.KILLED if self._killed else End.DIED
            return Outcome(end, node_name, exitcode=exitcode, was_ready=process.ready)
        self._in_call = False
        return Outcome(End.VALUE if kind == VALUE else End.ERROR, node_name, buffers)

    def _reply(self, sink: Sink) -> tuple[int, list[bytes | bytearray]]:
        process = self._process
        if not process.ready:
            self._wait_for_bytes(lambda data: sink.feed(data, STDERR))  # the interpreter cannot start, and says why
            process.ready = process.connection.recv(len(READY)) == READY
        self._wait_for_bytes(sink.feed)
        return receive(process.connection)

    def _wait_for_bytes(self, read: Reader) -> None:
        if not self._process.watch.until_written(read):
            raise EOFError("the process has ended")

    def kill(self) -> None:
        """Ends the process at once, with what it started; a call that runs in it returns `End.KILLED`.

        Safe from any thread; nothing happens after the release.
        """
        self._process.kill(self)


class ProcessWorkers:
    """A set of worker processes that grows when none is idle and shrinks when they stay idle."""

    def __init__(self, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._forget()
        _all_sets.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)  # the janitor waits for it, so that no release wakes it
        self._returned = threading.Condition(self._lock)  # `shutdown` waits for it
        self._idle: list[_Process] = []  # the longest idle first
        self._leased: set[_Process] = set()
        self._janitor: threading.Thread | None = None
        self._started = 0
        self._died = 0

    def lease(self) -> Worker:
        """An idle worker, or a new one.

        Raises:
            WorkerDied: no process could be started.
        """
        while True:
            with self._lock:
                process = self._idle.pop() if self._idle else None
                if process is not None:
                    self._leased.add(process)
            if process is None:
                process = self._grow()
                break
            if process.is_alive():
                break
            self._discard(process)
        worker = Worker(process)
        process.holder = worker
        return worker

    def _grow(self) -> _Process:
        try:
            process = _Process()
        except OSError as error:
            raise WorkerDied(f"no worker process could be started: {error}") from error
        with self._lock:
            self._leased.add(process)
            self._started += 1
        return process

    def release(self, worker: Worker) -> None:
        """Gives the worker back; one that died, was killed or has not ended its call is thrown away."""
        process = worker._process
        with process.lock:  # a kill that has begun ends first; a later one finds another holder
            if process.holder is not worker:
                return
            process.holder = None
        if worker._killed or worker._in_call:
            process.kill(None)
            self._discard(process)
            return
        with self._lock:
            self._leased.discard(process)
            process.idle_since = time.monotonic()
            self._idle.append(process)
            self._returned.notify_all()
            if self._janitor is None:
                self._hire_janitor()

    def _hire_janitor(self) -> None:
        janitor = threading.Thread(target=self._tidy, name="tiledag-idle-workers", daemon=True)
        try:
            janitor.start()
        except RuntimeError:  # no more threads, or the interpreter is ending: idle workers then end with it
            return
        self._janitor = janitor

    def _discard(self, process: _Process) -> None:
        process.close()
        with self._lock:
            self._leased.discard(process)
            self._died += 1
            self._returned.notify_all()

    def _tidy(self) -> None:
        while True:
            with self._lock:
                while self._idle and (left := self._idle[0].idle_since + self._idle_seconds - time.monotonic()) > 0:
                    self._emptied.wait(left)
                if not self._idle:
                    self._janitor = None
                    return
                process = self._idle.pop(0)
            process.close()

    def shutdown(self, *, deadline: float = 5.0) -> None:
        """Ends idle workers now, leased ones when they are released or, after `deadline` seconds, at once.

        The set can be used again afterwards.
        """
        end = time.monotonic() + deadline
        while True:
            self._end_idle()
            with self._lock:
                if not self._leased:
                    break
                left = end - time.monotonic()
                if left > 0:
                    self._returned.wait(left)
                    continue
                leased = list(self._leased)
            for process in leased:
                process.kill(process.holder)
            with self._lock:  # whoever called takes leave of it in `release`
                self._returned.wait_for(lambda: not self._leased, timeout=1)
            self._end_idle()
            break
        with self._lock:
            janitor = self._janitor
        if janitor is not None and janitor is not threading.current_thread():
            janitor.join(1)

    def _end_idle(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
            self._emptied.notify_all()
        for process in idle:
            process.hang_up()
        end = time.monotonic() + 1
        for process in idle:
            process.close(patience=max(0.0, end - time.monotonic()))

    def statistics(self) -> dict[str, int]:
        """Counts of processes: now (`processes`, `leased`, `idle`) and since the beginning (`started`, `died`)."""
        with self._lock:
            leased, idle = len(self._leased), len(self._idle)
            return {
                "processes": leased + idle,
                "leased": leased,
                "idle": idle,
                "started": self._started,
                "died": self._died,
            }


_all_sets: weakref.WeakSet[ProcessWorkers] = weakref.WeakSet()
_shared: ProcessWorkers | None = None
_shared_lock = threading.Lock()


def shared_workers() -> ProcessWorkers:
    """The set that all graphs of this process share."""
    global _shared
    with _shared_lock:
        if _shared is None:
            _shared = ProcessWorkers()
        return _shared


def _at_exit() -> None:
    for workers in list(_all_sets):
        workers.shutdown(deadline=0)


def _in_a_forked_child() -> None:
    global _shared_lock
    _shared_lock = threading.Lock()
    for workers in list(_all_sets):
        for process in [*workers._idle, *workers._leased]:
            process.abandon()
        workers._forget()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_a_forked_child)
