"""What a task prints, as a file that grows while it runs: read in pieces as plain text, and kept below a limit.

A worker writes into it what `run.worker_streams` makes: bytes, and marks that say from which stream or at which level
of `logging` what follows came.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..run.output import MARK

__all__ = ["LIMIT", "keep_below", "read", "read_lines"]

LIMIT: Final = 16 << 20
"""Bytes of output that are kept of one task: its begin, then a line that says so."""

LOOK_BACK: Final = 64 << 10
"""Bytes before a piece in which the mark is looked for that it stands behind."""

_CODE: Final = re.compile(re.escape(MARK) + rb"([0-9e]{1,3})\x00")
_LONGEST_MARK: Final = len(MARK) + 4
_ECHO: Final = b"e"
_LEFT_OUT: Final = b"\n... what this task printed after the first %d MiB was left out ...\n"
_STDOUT: Final = 1


def read(path: Path, start: int, most: int) -> tuple[str, int]:
    """Plain text from a byte of the file on, and the byte where to read on; nothing if there is no such file.

    What a log handler prints is left out: its record stands there already.
    """
    data = _whole_marks(_bytes_of(path, start, most))
    text = b"".join(piece for code, piece in _pieces(data, _code_at(path, start)) if code != _ECHO)
    return text.decode("utf-8", "replace"), start + len(data)


def read_lines(path: Path, start: int, most: int) -> tuple[list[tuple[int, str]], int]:
    """As `read`, in pieces with their level: 1 standard output, 2 standard error, else one of `logging`."""
    data = _whole_marks(_bytes_of(path, start, most))
    found = [
        (int(code) if code else _STDOUT, piece.decode("utf-8", "replace"))
        for code, piece in _pieces(data, _code_at(path, start))
        if code != _ECHO and piece
    ]
    return found, start + len(data)


def _bytes_of(path: Path, start: int, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            return file.read(most)
    except OSError:
        return b""


def _whole_marks(data: bytes) -> bytes:
    """Without a mark, or a character, that is cut at the end."""
    tail = max(0, len(data) - _LONGEST_MARK)
    at = data.rfind(b"\x00", tail)
    is_end = any(mark.end() == at + 1 for mark in _CODE.finditer(data, max(0, tail - _LONGEST_MARK)))
    if at >= 0 and not is_end and (MARK.startswith(data[at:]) or data.startswith(MARK, at)):
        return data[:at]
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] < 0x80:
            break
        if data[-back] >= 0xC0:
            wanted = 2 if data[-back] < 0xE0 else 3 if data[-back] < 0xF0 else 4
            return data[:-back] if back < wanted and back < len(data) else data
    return data


def _code_at(path: Path, start: int) -> bytes:
    """What the bytes from there on are: a task that runs is read up to wherever it has come, also behind a mark."""
    begin = max(0, start - LOOK_BACK)
    code = b""
    for mark in _CODE.finditer(_bytes_of(path, begin, start - begin)) if start > 0 else ():
        code = mark.group(1)
    return code


def _pieces(data: bytes, code: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = 0
    for mark in _CODE.finditer(data):
        yield code, data[start : mark.start()]
        code, start = mark.group(1), mark.end()
    yield code, data[start:]


def keep_below(path: Path, limit: int = LIMIT) -> None:
    """Cuts what is there beyond the limit. The file may grow meanwhile: it is only ever appended to."""
    note = _LEFT_OUT % (limit >> 20)
    try:
        if path.stat().st_size <= limit + len(note):
            return
        with open(path, "r+b") as file:
            file.truncate(limit)
        with open(os.open(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(note)
    except OSError:
        pass  # it has gone, or the disk is worse than a long file
