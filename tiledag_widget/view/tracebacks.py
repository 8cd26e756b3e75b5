"""Tracebacks as frames: which are the user's, which a library's, and which notebook cell they are in.

Two sources: an exception of this process, and the text of a traceback that came from another one. The text of an
exception is the user's code, so nothing here trusts it.
"""

from __future__ import annotations

import linecache
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import Any, Final

from .brief import cut
from .messages import Frame

MESSAGE: Final = 4_000
TRACEBACK: Final = 20_000
FIRST_FRAMES, LAST_FRAMES = 20, 40

_OWN: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FRAME_LINE: Final = re.compile(r'^  File "(?P<file>[^"]*)", line (?P<line>\d+)(?:, in (?P<function>.*))?$')
_CELL_NAME: Final = re.compile(r"In\s*\[(\d+)\]")


def error_type(error: BaseException | None) -> str:
    """Name of the exception's class; of the original one where it came from another process."""
    name = str(getattr(error, "type_name", "") or type(error).__name__)
    return name.rpartition(".")[2] or name  # a class can be named anything, also what ends with a dot


def error_message(error: BaseException | None) -> str:
    """``str(error)``, cut, whatever it does."""
    try:
        return cut(str(error), MESSAGE)
    except BaseException as other:
        return f"(its text could not be made: {type(other).__name__})"


def traceback_of(error: BaseException, text: str = "") -> str:
    """The whole traceback with causes, cut in the middle; ``text`` is the one that came from another process."""
    if not text:
        try:
            text = "".join(traceback.TracebackException.from_exception(error, compact=True).format())
        except BaseException:
            text = f"{error_type(error)}: {error_message(error)}"
    if len(text) <= TRACEBACK:
        return text
    half = TRACEBACK // 2
    return f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"


def frames_of(error: BaseException) -> list[Frame]:
    """Frames of an exception, outermost first, without those of this package that lead to the function."""
    try:
        places = list(_walk(error.__traceback__))
    except Exception:
        return []
    return _frames(places)


def frames_of_text(text: str) -> list[Frame]:
    """The same out of a formatted traceback; the last one in it, where exceptions are chained."""
    places: list[tuple[str, int, str]] = []
    for line in text.splitlines():
        if line.startswith("Traceback (most recent call last)"):
            places = []
        found = _FRAME_LINE.match(line)
        if found:
            places.append((found["file"], int(found["line"]), found["function"] or ""))
    return _frames(places)


def _walk(step: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    while step is not None:
        code = step.tb_frame.f_code
        yield code.co_filename, step.tb_lineno, getattr(code, "co_qualname", code.co_name)
        step = step.tb_next


def _frames(places: list[tuple[str, int, str]]) -> list[Frame]:
    while places and places[0][0].startswith(_OWN + os.sep):
        del places[0]
    if len(places) > FIRST_FRAMES + LAST_FRAMES:  # a recursion without end
        places = places[:FIRST_FRAMES] + places[-LAST_FRAMES:]
    return [_frame(*place) for place in places]


def _frame(file: str, line: int, function: str) -> Frame:
    cell = cell_of(file)
    return {
        "file": file,
        "line": line,
        "function": cut(function, 200),
        "code": cut(linecache.getline(file, line).strip(), 200),
        "mine": cell is not None or is_mine(file),
        "cell": cell,
    }


def cell_of(file: str) -> int | None:
    """Number of the notebook cell that a file name stands for, or None.

    IPython keeps the numbers under the names that it compiled the cells with; a cell that was run again has its
    latest number.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    compiler: Any = getattr(shell, "compile", None)
    try:
        number = getattr(compiler, "_filename_map", {}).get(file)
        if isinstance(number, int):
            return number
        label = compiler.format_code_name(file) if hasattr(compiler, "format_code_name") else None
        found = _CELL_NAME.search(" ".join(label)) if label else None
    except Exception:
        return None
    return int(found[1]) if found else None


@cache
def _library_folders() -> tuple[str, ...]:
    folders = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(_OWN)
    try:
        folders.update(site.getsitepackages())
        folders.add(site.getusersitepackages())
    except Exception:  # some virtual environments have a `site` without these
        pass
    return tuple(os.path.realpath(folder) + os.sep for folder in folders if folder)


def is_mine(file: str) -> bool:
    """True for a file that is not a library's: neither the standard library's, nor installed, nor of this package."""
    if file.startswith("<"):
        return file.startswith(("<ipython-input", "<stdin"))
    if not os.path.isabs(file):
        return True
    path = os.path.realpath(file)
    if f"{os.sep}site-packages{os.sep}" in path or f"{os.sep}dist-packages{os.sep}" in path:
        return False
    return not path.startswith(_library_folders())
