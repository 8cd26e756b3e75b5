"""What nodes print and log: caught where it happens, kept by line under its node and attempt.

**Guarantees.** Everything is safe from any thread. A node that prints nothing pays one look at a thread-local. What a
function prints goes where it went before, too: to the cell, the terminal, the file. Nothing here raises into a
function that prints.

**How.** On a thread that runs a node, ``write`` of ``sys.stdout`` and ``sys.stderr`` is led past here, and a factory of
log records sees the records. The stream itself stays in its place: whoever holds it (a handler of `logging`,
``contextlib.redirect_stdout``) sees no change. Both ask `run.progress.current` which node the thread is at, and do
nothing for any other thread. A worker process sends all of it through one pipe (`run.worker_main`), where `Sink.feed`
reads it; one pipe, since of two the order between them would be lost.

What a function prints from threads of its own goes where it went before, and into no log: a thread does not know who
started it, and a pool that one node makes serves the next ones too, whose lines would stand under the first.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from ..core.lines import LEAST_LEVEL, MOST_IN_LINE, STDERR, STDOUT, Block, Lines
from .progress import current

_log = logging.getLogger("tiledag_widget.run")

MARK: Final = b"\x00tiledag:"
"""In a worker's pipe: ``MARK`` code ``\\0`` says what follows until the next one. A code is a level number (``1``
stdout, ``2`` stderr, else a log record, which is not echoed) or ``e``: shown by a log handler, after its record."""
ECHO_ONLY: Final = 0
TOGETHER: Final = 512
"""So many lines are put in their place at once."""
LARGE: Final = 10_000
"""Of a text this long only one waits."""


class Output:
    """The lines of one graph. Implements `core.lines.LineSource`."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lines = Lines()
        self._incoming: deque[tuple[float, int, int, int, str]] = deque()
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[], None], ...] = ()
        self.watched: Callable[[], object] | None = None
        """Called after somebody subscribed: what is held elsewhere can begin to be fetched."""

    def sink(self, node: int, attempt: int) -> Sink:
        """What one attempt at a node prints into."""
        return Sink(self, node, attempt)

    def add(self, node: int, attempt: int, level: int, text: str, at: float | None = None) -> None:
        """Add a line, or several with breaks between them. Waits for nobody.

        No lock is taken for a line: adding to a deque needs none, and a function that prints may be at it already when
        a signal handler or a finalizer prints on the same thread. Whoever finds many waiting puts them in their place,
        unless another is at that.
        """
        incoming = self._incoming
        incoming.append((self._now() if at is None else at, node, attempt, level, text))
        if (len(incoming) >= TOGETHER or len(text) > LARGE) and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()
        for listener in self._listeners:
            listener()

    def _settle(self) -> None:
        """Put in their place what has come. The lock is held."""
        take = self._incoming.popleft
        self._lines.extend([take() for _ in range(len(self._incoming))])

    def span(self) -> tuple[int, int]:
        with self._lock:
            self._settle()
            return self._lines.first, self._lines.end

    def blocks(self, start: int, stop: int) -> list[Block]:
        with self._lock:
            self._settle()
            return self._lines.blocks(start, stop)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            self._listeners = (*self._listeners, listener)
        if self.watched is not None:
            self.watched()

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(other for other in self._listeners if other is not listener)

        return unsubscribe

    @property
    def is_watched(self) -> bool:
        """True while somebody wants lines as they come."""
        return bool(self._listeners)

    def text(self, node: int, attempt: int) -> str:
        """All that is kept of one attempt, each line with its end. O(lines of the graph)."""
        found: list[str] = []
        for block in self.blocks(*self.span()):
            if node not in block.nodes:
                continue
            for text, own, number in zip(block.texts(), block.nodes, block.attempts, strict=True):
                if own == node and number == attempt:
                    found.append(f"{text}\n")
        return "".join(found)

    def forget_lock(self) -> None:
        """After a fork."""
        self._lock = threading.Lock()


class Sink:
    """Takes the output of one attempt in pieces and adds whole lines. For one thread at a time."""

    __slots__ = ("_carry", "_code", "_output", "_parts", "_raw", "attempt", "is_writing", "node")

    def __init__(self, output: Output | Collector, node: int = 0, attempt: int = 0) -> None:
        self._output = output
        self.node = node
        self.attempt = attempt
        self.is_writing = False
        """A piece is on its way to where it went before."""
        self._parts: dict[int, list[str]] = {}
        self._raw: dict[int, bytes] = {}
        self._carry = b""
        self._code = STDOUT

    def write(self, level: int, text: str) -> None:
        """Some text of a stream, with or without line ends."""
        # What stands without its end is taken out before it is joined: a signal handler that prints meanwhile finds a
        # new list, and nothing is lost.
        end = text.rfind("\n")
        if end < 0:
            parts = self._parts.setdefault(level, [])
            parts.append(text)
            if len(parts) > 1000 or len(text) > MOST_IN_LINE:
                whole = "".join(self._parts.pop(level))
                keep = len(whole) % MOST_IN_LINE
                self._parts[level] = [whole[len(whole) - keep :]]
                if keep < len(whole):
                    self._add(level, whole[: len(whole) - keep])
            return
        before = self._parts.pop(level, None)
        if end + 1 < len(text):
            self._parts[level] = [text[end + 1 :]]
        whole = text[:end]
        if before is not None:
            before.append(whole)
            whole = "".join(before)
        self._add(level, whole)

    def _add(self, level: int, text: str) -> None:
        """Whole lines, without the end of the last."""
        if "\r" in text:  # as a terminal shows it: what a progress bar overwrote is gone
            text = "\n".join([_shown(line) for line in text.split("\n")])
        if len(text) > MOST_IN_LINE:
            text = "\n".join(
                [
                    line[start : start + MOST_IN_LINE]
                    for line in text.split("\n")
                    for start in range(0, len(line) or 1, MOST_IN_LINE)
                ]
            )
        self._output.add(self.node, self.attempt, level, text)

    def add(self, level: int, line: str, at: float) -> None:
        """A whole line that came at another time than now."""
        assert isinstance(self._output, Output)
        self._output.add(self.node, self.attempt, level, line, at)

    def record(self, level: int, text: str) -> None:
        """A log record: its lines are whole."""
        self._add(min(max(level, LEAST_LEVEL), 255), text)

    def close(self) -> None:
        """The attempt is over: what stands without a line end is a line, too."""
        rests, self._parts = self._parts, {}
        raw, self._raw, self._carry = self._raw, {}, b""
        for level, rest in rests.items():
            line = "".join(rest)
            if line:
                self._add(level, line)
        for level, data in raw.items():
            self._add(level, data.decode("utf-8", "replace"))

    # --- a worker's pipe --------------------------------------------------------------------------------

    def feed(self, data: bytes, stream: int = STDOUT) -> None:
        """Bytes from a worker's pipe. ``stream`` is what bytes count as that come before any mark."""
        if stream != STDOUT and self._code == STDOUT:
            self._code = stream
        data = self._carry + data
        start = 0
        while True:
            at = data.find(b"\x00", start)
            if at < 0:
                break
            if not data.startswith(MARK, at):
                if MARK.startswith(data[at : at + len(MARK)]):
                    break  # it may be the beginning of one
                self._take(data[start : at + 1])
                start = at + 1
                continue
            end = data.find(b"\x00", at + len(MARK), at + len(MARK) + 5)
            if end < 0 and len(data) < at + len(MARK) + 5:
                break
            self._take(data[start:at])
            code = data[at + len(MARK) : end]
            self._code = int(code) if code.isdigit() else ECHO_ONLY
            start = end + 1
        if at < 0:
            self._take(data[start:])
            self._carry = b""
        else:
            self._take(data[start:at])
            self._carry = data[at:]

    def _take(self, data: bytes) -> None:
        if not data:
            return
        level = self._code
        if level <= STDERR:
            echo(data, level == STDOUT)
        if level == ECHO_ONLY:
            return
        data = self._raw.pop(level, b"") + data
        end = data.rfind(b"\n")
        if end + 1 < len(data):
            self._raw[level] = data[end + 1 :]
        if end >= 0:
            self._add(level, data[:end].decode("utf-8", "replace"))
        elif len(data) > MOST_IN_LINE:
            del self._raw[level]
            self._add(level, data.decode("utf-8", "replace"))


def _shown(line: str) -> str:
    line = line.removesuffix("\r")
    return line[line.rfind("\r") + 1 :]


def echo(data: bytes, is_stdout: bool) -> None:
    """Where a worker's output went when it inherited our streams: it still goes there."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(1 if is_stdout else 2, view) :]
    except OSError:
        pass  # closed, or nobody reads: a worker could not have written either


class Collector:
    """Stands for a node, and for its output, in a process of somebody else's: keeps lines until they are sent back."""

    MOST: Final = 100_000

    def __init__(self) -> None:
        self._progress: tuple[float, float] | None = None
        self.lines: list[tuple[float, int, str]] = []

    def _sink(self) -> Sink:
        return Sink(self)

    def add(self, node: int, attempt: int, level: int, text: str) -> None:
        now = time.time()
        self.lines.extend([(now, level, line) for line in text.split("\n")[: max(self.MOST - len(self.lines), 0)]])
        if len(self.lines) == self.MOST:
            said = f"(more than {self.MOST:,} lines: the rest was not sent back from the executor's process)"
            self.lines.append((time.time(), STDERR, said))


# --- on threads that run nodes ------------------------------------------------------------------------------


def watch_streams() -> None:
    """See to it that what nodes print on this process's threads is seen. Does it once for each stream; costs nothing
    the next time. Called when a graph starts, since ``sys.stdout`` may be another one by then."""
    for name, level in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = getattr(sys, name, None)
        if stream is not None and not hasattr(getattr(stream, "write", None), "_tiledag"):
            _lead_past(stream, level)
    factory = logging.getLogRecordFactory()
    if not hasattr(factory, "_tiledag"):
        logging.setLogRecordFactory(_watched_factory(factory))


_EMIT: Final = logging.StreamHandler.emit.__code__


class _Led:
    """``write`` of one stream that takes no other class, past the log of the node that the thread is at."""

    __slots__ = ("_write",)
    _tiledag = True

    def __init__(self, level: int, inner: Callable[[str], Any]) -> None:
        self._write = _led_past(level, lambda self, text: inner(text))

    def __call__(self, text: str) -> Any:
        return self._write(self, text)


def _led_past(level: int, inner: Callable[[Any, str], Any]) -> Callable[[Any, str], Any]:
    """``write`` as a method. The hot path of every piece that anything prints: `print` writes each argument, each space
    and the end of the line one by one."""
    frame, here, is_handler = sys._getframe, current, _EMIT

    def write(self: Any, text: str) -> Any:
        place = here.place
        sink = place.sink
        if sink is None:
            if place.holder is None:
                return inner(self, text)
            try:
                sink = sink_of_thread()
            except Exception:
                return inner(self, text)
        if sink.is_writing:  # who has put himself in front of `write` calls the one before him: it is us again
            return inner(self, text)
        caller = frame(1)
        if type(self) is _Led:
            caller = caller.f_back or caller
        if caller.f_code is not is_handler:  # a handler of `logging` writes what is there
            try:
                sink.write(level, text)
            except Exception:
                _log.debug("a line was lost", exc_info=True)
        sink.is_writing = True
        try:
            return inner(self, text)
        finally:
            sink.is_writing = False

    write._tiledag = True  # type: ignore[attr-defined]
    return write


def _lead_past(stream: Any, level: int) -> None:
    """Lead ``write`` of a stream past here, for good.

    The stream gets a class of its own in which ``write`` is a property. A function put into the instance would not
    last: IPython puts its own there for the time of a cell, and then what it found, so that ours, put there by a cell
    that starts a graph, would be gone with that cell while the graph runs on. Streams written in C take no other
    class; for them the function has to do.
    """
    kind: Any = type(stream)
    plain = kind.write
    led = _led_past(level, plain)

    # Who takes `write` and then puts his own before it calls what he took: that is never what he put there.
    def get(self: Any) -> Callable[[str], Any]:
        return self.__dict__.get("_tiledag_write") or MethodType(led, self)

    def put(self: Any, write: Any) -> None:
        if isinstance(write, _Led):
            self.__dict__["_tiledag_write"] = write
        elif write in (MethodType(led, self), plain.__get__(self, kind)):
            drop(self)
        else:
            self.__dict__["_tiledag_write"] = _Led(level, write)

    def drop(self: Any) -> None:
        self.__dict__.pop("_tiledag_write", None)

    members = {"write": property(get, put, drop), "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    own_kind = type(kind.__name__, (kind,), members)
    try:
        own = vars(stream).pop("write", None)
    except TypeError:
        own = None
    try:
        stream.__class__ = own_kind
        if own is not None:
            stream.write = own
        return
    except TypeError:
        pass
    try:
        reference = weakref.ref(stream)  # the stream holds the function: a strong one would be a circle
        stream.write = _Led(level, own or (lambda text: plain(reference(), text)))
    except (TypeError, AttributeError):
        _log.debug("%r takes no other write(): what nodes print there is not in their logs", stream)


def sink_of_thread() -> Sink:
    """The sink of the node that this thread is at."""
    place = current.place
    sink: Sink | None = place.sink
    if sink is None:
        holder: Any = place.holder
        sink = place.sink = holder._sink()
    return sink


def close_sink_of_thread() -> None:
    """The function has returned or raised."""
    place = current.place
    sink, place.sink = place.sink, None
    if sink is not None:
        sink.close()


def _watched_factory(before: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if current.place.holder is not None:
            try:
                sink_of_thread().record(record.levelno, text_of_record(record))
            except Exception:
                pass  # never into the function that logs; and logging it would come back here
        return record

    make._tiledag = True  # type: ignore[attr-defined]
    return make


def text_of_record(record: logging.LogRecord) -> str:
    """Message and traceback of a record."""
    try:
        text = record.getMessage()
    except Exception:  # arguments that do not fit: `logging` says so on stderr
        text = str(record.msg)
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
    return text
