"""What a worker process prints and logs, sent through its one pipe so that its order stays; see `run.output`.

Python's streams write whole lines as soon as they end, C's too where the C library can be told: of a process that is
killed, all lines are there.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, TextIO

from ..core.lines import LEAST_LEVEL, STDERR, STDOUT
from .output import MARK, text_of_record

_EMIT: Final = logging.StreamHandler.emit.__code__
_BACK: Final = MARK + b"1\x00"
_is_busy: Callable[[], bool] = bool


def install(is_busy: Callable[[], bool]) -> None:
    """Put our streams in the place of this process's. ``is_busy`` says whether a node's function runs."""
    global _is_busy
    _is_busy = is_busy
    for name, stream in (("stdout", _Stream(1, STDOUT)), ("stderr", _Stream(2, STDERR))):
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    _tell_c_to_write_lines()
    logging.setLogRecordFactory(_watched(logging.getLogRecordFactory()))


def new_streams() -> tuple[TextIO, TextIO]:
    """Another pair of ours, for who leads this process's output somewhere else for a while."""
    return _Stream(1, STDOUT), _Stream(2, STDERR)


class _Stream(io.TextIOWrapper):
    """A text stream that sends whole lines, each piece marked with where it comes from."""

    def __init__(self, descriptor: int, level: int) -> None:
        raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115  (it lives as long as the process)
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._descriptor = descriptor
        self._level = level
        self._waiting: dict[bool, list[str]] = {False: [], True: []}
        self._guard = threading.RLock()  # a signal handler of the function's may print in the middle of a print

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        is_of_handler = sys._getframe(1).f_code is _EMIT
        with self._guard:
            waiting = self._waiting[is_of_handler]
            waiting.append(text)
            if "\n" in text or len(waiting) > 1000:
                self._send(is_of_handler)
        return len(text)

    def _send(self, is_of_handler: bool) -> None:
        text, self._waiting[is_of_handler] = "".join(self._waiting[is_of_handler]), []
        if not text:
            return
        data = text.encode("utf-8", "backslashreplace")
        if is_of_handler:
            data = MARK + b"e\x00" + data + _BACK
        elif self._level != STDOUT:
            data = MARK + b"%d\x00" % self._level + data + _BACK
        write_all(self._descriptor, data)

    def flush(self) -> None:
        with self._guard:
            self._send(False)
            self._send(True)
        super().flush()


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        pass  # nobody listens any more: no reason for the function to fail


def _watched(before: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if _is_busy():
            try:
                level = min(max(record.levelno, LEAST_LEVEL), 255)
                text = text_of_record(record).encode("utf-8", "backslashreplace")
                write_all(1, MARK + b"%d\x00" % level + text + b"\n" + _BACK)
            except Exception:
                pass  # never into the function that logs
        return record

    return make


_c_library: Any = None
_LINE_WISE: Final = 1  # _IOLBF of <stdio.h>, on Linux and macOS alike


def _tell_c_to_write_lines() -> None:
    """C's own buffers, for `printf` in libraries: by line, though this is no terminal."""
    global _c_library
    try:
        import ctypes

        _c_library = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        _c_library.setvbuf(ctypes.c_void_p.in_dll(_c_library, name), None, _LINE_WISE, 0)
    except Exception:  # no such library or symbol here: C's output comes when its buffers are full, and at the end
        _c_library = None


def flush() -> None:
    """Everything that was written goes out now."""
    streams: tuple[TextIO, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        try:
            stream.flush()
        except BaseException:  # closed, or replaced by the node with something of its own
            pass
    if _c_library is not None:
        try:
            _c_library.fflush(None)
        except Exception:
            pass
