"""Exceptions as text: their type, their message, their traceback. Whatever user code raises meanwhile is caught; only a
KeyboardInterrupt that a real signal may have caused is let through.
"""

from __future__ import annotations

import linecache
import re
import signal
import threading
import traceback

__all__ = ["cut", "formatted", "may_be_a_real_interrupt", "short", "text_of", "type_name", "with_source_lines"]

TEXT_LIMIT = 64 * 1024
"""Messages and traceback texts are cut in the middle to this many characters."""


def may_be_a_real_interrupt(error: BaseException) -> bool:
    """Signals reach the main thread alone, and workers ignore SIGINT: elsewhere user code has raised it."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )


def type_name(cls: type) -> str:
    module = getattr(cls, "__module__", "builtins")
    return cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"


def formatted(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("tiledag_widget."):
        trace = trace.tb_next  # ours; the user's frames are what is asked for
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as problem:
        if may_be_a_real_interrupt(problem):
            raise
        return f"{type_name(type(error))} (its traceback could not be formatted)\n"


_FRAME = re.compile(r'^  File "([^"]+)", line (\d+), in .*$')


def with_source_lines(trace: str) -> str:
    """Adds the lines of notebook cells, which only the kernel knows."""
    lines = trace.split("\n")
    result: list[str] = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        result.append(line)
        frame = _FRAME.match(line)
        if frame and not after.startswith("    "):
            source = linecache.getline(frame[1], int(frame[2])).strip()
            if source:
                result.append(f"    {source}")
    return "\n".join(result)


def text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:
        if may_be_a_real_interrupt(problem):
            raise
        return f"<its text could not be had: {type(problem).__name__}>"


def short(error: BaseException) -> str:
    text = cut(text_of(error), 500)
    return f"{type_name(type(error))}: {text}" if text else type_name(type(error))


def cut(text: str, limit: int = TEXT_LIMIT) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"
