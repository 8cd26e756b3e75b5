"""What nodes print, line by line: a store that is added to, stays small, and gives up its oldest lines when it is full.

Columns instead of objects: a million lines of 60 characters take about 80 MB (as tuples they took four times that), and
a search runs over joined text. Not safe from several threads; see `run.output` for who holds the lock.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

STDOUT: Final = 1
STDERR: Final = 2
LEAST_LEVEL: Final = 3
"""Level numbers of `logging` begin here; the two below stand for streams."""
WARNING: Final = 30
ERROR: Final = 40
BLOCK: Final = 4096
MOST_LINES: Final = 2_000_000
MOST_CHARACTERS: Final = 256_000_000
MOST_IN_LINE: Final = 1_000_000
"""A longer line is broken here: something prints without ever ending a line."""


class Line(NamedTuple):
    """``level`` is `STDOUT`, `STDERR` or a level of `logging`; ``time`` is Unix time."""

    time: float
    node: int
    attempt: int
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """Lines ``first`` to ``first + len(block)``, as columns over them; ``text`` holds one line after the other."""

    first: int
    times: array[float]
    nodes: array[int]
    attempts: array[int]
    levels: bytes
    text: str

    def __len__(self) -> int:
        return len(self.levels)

    def texts(self) -> Sequence[str]:
        """The lines, split. O(block), so look at neighbours together."""
        return self.text.split("\n")

    def lines(self, start: int, stop: int) -> list[Line]:
        """Some of the lines, by their numbers."""
        texts = self.texts()
        return [
            Line(self.times[at], self.nodes[at], self.attempts[at], self.levels[at], texts[at])
            for at in range(max(start - self.first, 0), min(stop - self.first, len(self)))
        ]


class LineSource(Protocol):
    """What a view knows of a graph's output. Safe from any thread."""

    def span(self) -> tuple[int, int]:
        """Number of the first line that is kept, and the number that the next one will have. A line keeps its number;
        what is below the first was given up to stay within the limits."""

    def blocks(self, start: int, stop: int) -> list[Block]:
        """The blocks that hold any of these lines, in order."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called after lines came, on any thread; it must return at once and must not raise.

        Returns what ends the subscription. While there is one, output that is held elsewhere is fetched as it comes.
        """


class Lines:
    """The store. Lines are numbered from 0 and keep their numbers."""

    def __init__(self, *, most_lines: int = MOST_LINES, most_characters: int = MOST_CHARACTERS) -> None:
        self._most_lines = most_lines
        self._most_characters = most_characters
        self._sealed: list[Block] = []
        self._characters = 0
        self._shown: Block | None = None
        self._open_first = 0
        self._begin()

    def _begin(self) -> None:
        """An empty open block."""
        self._times = array("d")
        self._nodes = array("I")
        self._attempts = array("I")
        self._levels = bytearray()
        self._texts: list[str] = []
        self._open_characters = 0

    @property
    def first(self) -> int:
        """Number of the oldest line that is kept."""
        return self._sealed[0].first if self._sealed else self._open_first

    @property
    def end(self) -> int:
        """Number that the next line will have."""
        return self._open_first + len(self._levels)

    def append(self, line: Line) -> None:
        """Add a line; its text holds no line break."""
        self.extend([line])

    def extend(self, entries: Sequence[tuple[float, int, int, int, str]]) -> None:
        """Add lines that come together. As `Line`, but a text with breaks is several lines."""
        if not entries:
            return
        times, nodes, attempts, levels, texts = zip(*entries, strict=True)
        text = "\n".join(texts)
        if text.count("\n") < len(texts):
            self._times.extend(times)
            self._nodes.extend(nodes)
            self._attempts.extend(attempts)
            self._levels.extend(levels)
            self._add_text(text)
            return
        for entry in entries:
            lines = entry[4].split("\n")
            for start in range(0, len(lines), BLOCK):
                some = lines[start : start + BLOCK]
                self._times.extend([entry[0]] * len(some))
                self._nodes.extend([entry[1]] * len(some))
                self._attempts.extend([entry[2]] * len(some))
                self._levels.extend(bytes([entry[3]]) * len(some))
                self._add_text("\n".join(some))

    def _add_text(self, text: str) -> None:
        self._texts.append(text)
        self._open_characters += len(text)
        if len(self._levels) >= BLOCK or self._open_characters > MOST_IN_LINE:
            self._seal()

    def _seal(self) -> None:
        block = self._block()
        self._sealed.append(block)
        self._open_first = block.first + len(block)
        self._characters += len(block.text)
        self._shown = None
        self._begin()
        while len(self._sealed) > 1 and (
            self.end - self.first > self._most_lines or self._characters > self._most_characters
        ):
            self._characters -= len(self._sealed.pop(0).text)

    def _block(self) -> Block:
        """What is open, as it is now."""
        text = "\n".join(self._texts)
        return Block(self._open_first, self._times[:], self._nodes[:], self._attempts[:], bytes(self._levels), text)

    def blocks(self, start: int, stop: int) -> list[Block]:
        """The blocks that hold any of the lines ``start`` to ``stop``, in order. O(blocks after ``start``)."""
        if stop <= start:
            return []
        at = len(self._sealed)
        while at and self._sealed[at - 1].first + len(self._sealed[at - 1]) > start:
            at -= 1
        found: list[Block] = []
        for block in self._sealed[at:]:
            if block.first >= stop:
                return found
            found.append(block)
        if self._levels and stop > self._open_first and start < self.end:
            if self._shown is None or len(self._shown) != len(self._levels):
                self._shown = self._block()
            found.append(self._shown)
        return found
