"""What pages see of a graph's output: ranges of lines, what a filter leaves, what a search finds, what is new.

**Guarantees.** `LogDesk`'s methods are safe from any thread. Nothing is formatted or searched on a thread that runs
nodes: a new line sets a flag there. A regular expression runs in a process of its own, which is ended after
`REGEX_SECONDS`: inside this one nothing could stop it, and it would hold the interpreter's lock.

A **row** is the place of a line within what a filter leaves, counted from 0 and kept for ever: what was given up to
stay within the limits leaves the rows behind it where they are.
"""

from __future__ import annotations

import json
import logging
import re
import struct
import subprocess
import sys
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from ..core.lines import ERROR, LEAST_LEVEL, STDERR, STDOUT, Block, Line, LineSource
from ..core.snapshot import GraphSource
from .filter import line_fits, line_terms
from .messages import LOG_CUT, LogFound, LogLines, LogPush
from .worker import PATIENCE_S, Worker

_log = logging.getLogger("tiledag_widget.view")

MOST_ROWS: Final = 2_000
MOST_BYTES: Final = 160_000
"""Of one answer: with the escapes of JSON it stays below 256 kB."""
PUSH_S: Final = 0.25
PUSH_ROWS: Final = 400
PUSH_BYTES: Final = 60_000
GUTTER: Final = 240
REGEX_SECONDS: Final = 3
"""Of the processor's time; on a clock ten times as long, for a machine may be busy."""
LONGEST_TEXT: Final = 200_000
MOST_KEPT: Final = 6
MOST_FOLLOWERS: Final = 20
LOOKS_BAD: Final = re.compile(r"(?<![A-Za-z])(?:[A-Za-z_.]*(?:Error|Exception)\b|Traceback \(|FATAL|CRITICAL|ERROR\b)")
WORDS_OF_LEVEL: Final = {STDOUT: "stdout", STDERR: "stderr"}


class Scope:
    """Which lines somebody wants to see: by node, attempt, level and stream, and by the terms of a filter."""

    def __init__(self, asked: object) -> None:
        known = asked if isinstance(asked, dict) else {}
        spans = known.get("nodes")
        self.attempt = _whole(known.get("attempt"))
        self.least = _whole(known.get("least"))
        self.stream = _whole(known.get("stream"))
        self.nodes: frozenset[int] | None = None
        if isinstance(spans, list):
            pairs = [_whole(each) for each in spans]
            self.nodes = frozenset(
                node for start, stop in zip(pairs[::2], pairs[1::2], strict=False) for node in range(start, stop)
            )
        text = str(known.get("filter") or "")[:2000]
        self._terms = line_terms(text)
        self.key = json.dumps([spans, self.attempt, self.least, self.stream, text])

    @property
    def is_all(self) -> bool:
        return self.nodes is None and not (self.attempt or self.least or self.stream or self._terms)

    def places(self, block: Block, skip: int) -> list[int]:
        """Places in a block, from ``skip`` on, of the lines that are wanted."""
        columns = zip(block.nodes[skip:], block.attempts[skip:], block.levels[skip:], strict=True)
        has = self.has
        found = [at for at, kind in enumerate(columns, skip) if has(*kind)]
        if not self._terms or not found:
            return found
        texts, attempts, levels = block.texts(), block.attempts, block.levels
        for term in self._terms:
            found = [at for at in found if line_fits(term, attempts[at], levels[at], texts[at])]
        return found

    def has(self, node: int, attempt: int, level: int) -> bool:
        """Is a line of this kind wanted?"""
        if self.nodes is not None and node not in self.nodes:
            return False
        if self.attempt and attempt != self.attempt:
            return False
        if self.least and level < self.least and not (level == STDERR and self.least <= 30):
            return False
        return not self.stream or level == self.stream or (self.stream >= LEAST_LEVEL and level >= LEAST_LEVEL)


def _whole(value: object) -> int:
    return value if type(value) is int and 0 <= value < 1 << 32 else 0


class Selection:
    """The lines of one scope. Looks at each line once."""

    def __init__(self, source: LineSource, scope: Scope) -> None:
        self._source = source
        self._scope = scope
        self._lines = array("I")
        self._seen = 0

    def span(self) -> tuple[int, int]:
        """First row that is kept, and the row that the next line will have. Looks at what is new."""
        first, end = self._source.span()
        if self._scope.is_all:
            return first, end
        for block in self._source.blocks(max(self._seen, first), end):
            skip = max(self._seen - block.first, 0)
            self._lines.extend([block.first + at for at in self._scope.places(block, skip)])
            self._seen = block.first + len(block)
        return bisect_left(self._lines, first), len(self._lines)

    def read(self, start: int, stop: int) -> Iterator[tuple[int, Line]]:
        """Some rows with their lines, as far as they are kept."""
        if self._scope.is_all:
            for block in self._source.blocks(start, stop):
                begin = max(start, block.first)
                yield from enumerate(block.lines(begin, stop), begin)
            return
        row = start
        while row < stop:
            blocks = self._source.blocks(self._lines[row], self._lines[row] + 1)
            if not blocks or blocks[0].first > self._lines[row]:
                row += 1  # given up meanwhile
                continue
            block = blocks[0]
            texts = block.texts()
            after = block.first + len(block)
            while row < stop and self._lines[row] < after:
                at = self._lines[row] - block.first
                yield row, Line(block.times[at], block.nodes[at], block.attempts[at], block.levels[at], texts[at])
                row += 1

    def texts(self, start: int, stop: int) -> Iterator[tuple[int, Sequence[str], Sequence[int]]]:
        """Texts and levels of rows in pieces, each with its first row: quicker than `read`."""
        if self._scope.is_all:
            for block in self._source.blocks(start, stop):
                skip, over = max(start - block.first, 0), min(stop - block.first, len(block))
                yield block.first + skip, block.texts()[skip:over], block.levels[skip:over]
            return
        rows: list[int] = []
        texts: list[str] = []
        levels: list[int] = []
        for row, line in self.read(start, stop):
            if rows and (row != rows[-1] + 1 or len(rows) >= 4096):
                yield rows[0], texts, levels
                rows, texts, levels = [], [], []
            rows.append(row)
            texts.append(line.text)
            levels.append(line.level)
        if rows:
            yield rows[0], texts, levels


Test = Callable[[Sequence[str], Sequence[int]], Sequence[int]]
"""Places of the lines that match, among some lines and their levels."""


class Search:
    """Rows that match. Looks at each row once."""

    def __init__(self, selection: Selection, test: Test) -> None:
        self._selection = selection
        self._test = test
        self._rows = array("I")
        self._seen = 0

    def rows(self) -> array[int]:
        """All rows that match now, in order."""
        first, end = self._selection.span()
        for row, texts, levels in self._selection.texts(max(first, self._seen), end):
            found = self._test(texts, levels)
            self._rows.extend([row + at for at in found])
            self._seen = row + len(texts)
        if self._rows and self._rows[0] < first:
            self._rows = self._rows[bisect_left(self._rows, first) :]
        return self._rows


def plain_test(text: str, is_case: bool) -> Test:
    """A text as it is, in one case or in both."""
    if is_case:
        return lambda texts, levels: [at for at, line in enumerate(texts) if text in line]
    low = text.lower()
    return lambda texts, levels: [at for at, line in enumerate(texts) if low in line.lower()]


def error_test(texts: Sequence[str], levels: Sequence[int]) -> Sequence[int]:
    """Log records from ERROR on, and what looks like an exception on a stream."""
    return [
        at
        for at, (line, level) in enumerate(zip(texts, levels, strict=True))
        if level >= ERROR or (level <= STDERR and LOOKS_BAD.search(line[:LOG_CUT]))
    ]


_TOO_LONG: Final = "The expression takes too long. Make it simpler."
_CHILD: Final = """
import re, struct, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]),) * 2)
except (ImportError, ValueError, OSError):
    pass
data = sys.stdin.buffer
size, = struct.unpack("<I", data.read(4))
expression = data.read(size).decode("utf-8", "surrogatepass")
search = re.compile(expression, int(sys.argv[1])).search
rest = data.read().decode("utf-8", "surrogatepass")
found = [at for at, line in enumerate(rest.split("\\n")) if search(line)] if rest else []
sys.stdout.buffer.write(struct.pack("<%dI" % len(found), *found))
"""


def regex_test(expression: str, is_case: bool) -> Test:
    """A regular expression, run where it can be ended.

    Raises:
        ValueError: It is none; the message says where.
    """
    flags = re.RegexFlag(0) if is_case else re.IGNORECASE
    try:
        re.compile(expression, flags)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"Not a regular expression: {error}") from None

    def test(texts: Sequence[str], levels: Sequence[int]) -> Sequence[int]:
        pattern = expression.encode("utf-8", "surrogatepass")
        text = "\n".join(texts).encode("utf-8", "surrogatepass")
        child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _CHILD, str(int(flags)), str(REGEX_SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            out, _ = child.communicate(struct.pack("<I", len(pattern)) + pattern + text, timeout=10 * REGEX_SECONDS)
        except subprocess.TimeoutExpired:
            raise ValueError(_TOO_LONG) from None
        finally:
            child.kill()
            child.communicate()
        if child.returncode < 0:
            raise ValueError(_TOO_LONG)
        if child.returncode:
            raise ValueError("The expression could not be searched for.")
        return struct.unpack(f"<{len(out) // 4}I", out)

    return test


class RegexSearch(Search):
    """A search that asks a process: in few, large pieces, with one time limit for all of them."""

    def rows(self) -> array[int]:
        first, end = self._selection.span()
        start = max(first, self._seen)
        pieces = list(self._selection.texts(start, end))
        if pieces:
            found = self._test([line for _, texts, _ in pieces for line in texts], [])
            numbers = [row + at for row, texts, _ in pieces for at in range(len(texts))]
            self._rows.extend([numbers[at] for at in found])
            self._seen = end
        if self._rows and self._rows[0] < first:
            self._rows = self._rows[bisect_left(self._rows, first) :]
        return self._rows


class NoLines:
    """The output of a graph that has none to give."""

    def span(self) -> tuple[int, int]:
        return 0, 0

    def blocks(self, start: int, stop: int) -> list[Block]:
        return []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def lines_of(source: GraphSource) -> LineSource:
    """The output of a graph; none where its source is of an older kind."""
    lines: LineSource = getattr(source, "lines", None) or NoLines()
    return lines


class LogDesk:
    """Answers the questions of pages about one graph's output, and tells them of new lines.

    Args:
        source: The lines.
        names: Of the nodes, for the file.
        wake: Has `Feed.tick` called soon, which asks `due`.
        is_still: True for views that show what is there when they ask, and again on `refresh`.
    """

    def __init__(
        self,
        source: LineSource,
        names: Callable[[], Sequence[str]],
        wake: Callable[[], object],
        *,
        is_still: bool = False,
    ) -> None:
        self._is_still = is_still
        self._source = source
        self._names = names
        self._wake = wake
        self.worker = Worker("tiledag-log", patience=PATIENCE_S)
        self._lock = threading.RLock()
        self._selections: OrderedDict[str, Selection] = OrderedDict()
        self._searches: OrderedDict[str, Search] = OrderedDict()
        self._followers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._unsubscribe: Callable[[], None] | None = None
        self._is_dirty = False
        self._is_making = False
        self._made: LogPush | None = None
        self._pushed_at = 0.0

    # --- questions --------------------------------------------------------------------------------------

    def answer(self, kind: str, asked: object) -> dict[str, Any]:
        """Body of the reply to a question.

        Raises:
            ValueError: It cannot be answered; the message says why, in words.
        """
        known = asked if isinstance(asked, dict) else {}
        with self._lock:
            if kind == "log_find":
                return dict(self._found(known))
            selection = self._selection(Scope(known.get("scope")))
            if kind == "log_line":
                row = _whole(known.get("start"))
                for _, line in selection.read(row, min(row + 1, selection.span()[1])):
                    return {"text": line.text[:LONGEST_TEXT], "length": len(line.text)}
                raise ValueError("This line is not kept any more.")
            return dict(self._lines(selection, _whole(known.get("start")), _whole(known.get("stop"))))

    def _selection(self, scope: Scope) -> Selection:
        found: Selection = _kept(self._selections, scope.key, lambda: Selection(self._source, scope))
        return found

    def _lines(self, selection: Selection, start: int, stop: int, most: int = MOST_BYTES) -> LogLines:
        first, end = selection.span()
        start = max(start, first)
        stop = min(stop, end, start + MOST_ROWS)
        rows: list[list[Any]] = []
        size = 0
        for row, line in selection.read(start, stop):
            size += 48 + min(len(line.text), LOG_CUT) * (1 if line.text.isascii() else 6)
            if size > most and rows:
                break
            rows.append([row, round(line.time, 3), line.node, line.attempt, line.level, line.text[:LOG_CUT]])
            if len(line.text) > LOG_CUT:
                rows[-1].append(len(line.text))
        return {"first": first, "end": end, "start": start, "lines": rows}

    def _found(self, asked: dict[str, Any]) -> LogFound:
        text, is_case = str(asked.get("text", ""))[:2000], bool(asked.get("is_case"))
        is_regex, is_error = bool(asked.get("is_regex")), bool(asked.get("is_error"))
        scope = Scope(asked.get("scope"))
        selection = self._selection(scope)
        key = json.dumps([scope.key, text, is_case, is_regex, is_error])
        rows = _kept(self._searches, key, lambda: _search(selection, text, is_case, is_regex, is_error)).rows()
        first, end = selection.span()
        origin, step = _whole(asked.get("start")), asked.get("step")
        if step == -1:
            at = bisect_left(rows, origin) - 1
        else:
            at = bisect_right(rows, origin) if step == 1 else bisect_left(rows, origin)
        at = (at + len(rows)) % len(rows) if rows else -1
        total = max(end - first, 1)
        marks = sorted({(row - first) * GUTTER // total for row in _thin(rows)})
        return {
            "count": len(rows),
            "at": at + 1,
            "row": rows[at] if rows else -1,
            "marks": marks,
            "first": first,
            "end": end,
        }

    def file(self, asked: object) -> str:
        """What a scope leaves, as a text with one line per line."""
        with self._lock:
            selection = self._selection(Scope(asked.get("scope") if isinstance(asked, dict) else None))
            first, end = selection.span()
            rows = list(selection.read(first, end))
        names = self._names()
        lines = [f"# {first:,} older lines were not kept\n"] if first else []
        for _, line in rows:
            at = datetime.fromtimestamp(line.time, timezone.utc).astimezone().isoformat(" ", "milliseconds")
            name = names[line.node] if line.node < len(names) else str(line.node)
            attempt = f" #{line.attempt}" if line.attempt > 1 else ""
            lines.append(f"{at}\t{name}{attempt}\t{level_word(line.level)}\t{line.text}\n")
        return "".join(lines)

    # --- new lines --------------------------------------------------------------------------------------

    def follow(self, view: str, asked: object) -> None:
        """Tell this view of new lines from now on; None ends it. ``asked`` has a ``scope``, the row that the view has
        come to as ``start``, and ``follow``: whether it wants the lines, or only to hear that there are some."""
        with self._lock:
            if not isinstance(asked, dict):
                self._followers.pop(view, None)
            else:
                self._followers.pop(view, None)
                self._followers[view] = dict(asked)
                if len(self._followers) > MOST_FOLLOWERS:  # pages that were reloaded leave theirs behind
                    self._followers.popitem(last=False)
            wanted = bool(self._followers)
            unsubscribe = None
            if wanted and self._unsubscribe is None and not self._is_still:
                self._unsubscribe = self._source.subscribe(self._came)
            elif not wanted:
                unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        if wanted:
            self._came()

    def refresh(self) -> None:
        """Tell the followers once what is new by now, also in still views."""
        if self._followers:
            self._came()

    @property
    def is_busy(self) -> bool:
        """Is there anything to be told, or being made?"""
        return self._is_dirty or self._is_making or self._made is not None

    def close(self) -> None:
        """Tell nobody any more."""
        with self._lock:
            views = list(self._followers)
        for view in views:
            self.follow(view, None)

    def _came(self) -> None:
        """On the thread that runs a node."""
        if not self._is_dirty:
            self._is_dirty = True
            self._wake()

    def due(self, now: float) -> tuple[LogPush | None, float | None]:
        """A message that is ready, or when to look again. On the publisher's thread."""
        if self._made is not None:
            made, self._made = self._made, None
            self._pushed_at = now
            # What came while it was made wakes nobody again: `_came` takes it for told.
            return made, now + PUSH_S if self._is_dirty else None
        if not self._is_dirty or self._is_making:
            return None, None
        if now < self._pushed_at + PUSH_S:
            return None, self._pushed_at + PUSH_S
        self._is_making, self._is_dirty = True, False
        self.worker.submit(self._make)
        return None, None

    def _make(self) -> None:
        try:
            with self._lock:
                views: dict[str, LogLines] = {}
                share = PUSH_BYTES // max(len(self._followers), 1)
                for view, asked in self._followers.items():
                    told = self._news(asked, share)
                    if told is not None:
                        views[view] = told
            if views:
                self._made = {"type": "log", "views": views}
        except Exception:
            _log.exception("new lines could not be told")
        finally:
            self._is_making = False
            self._wake()

    def _news(self, asked: dict[str, Any], share: int) -> LogLines | None:
        selection = self._selection(Scope(asked.get("scope")))
        first, end = selection.span()
        known = asked.get("told", -1)
        if known == end:
            return None
        asked["told"] = end
        if not asked.get("follow"):
            return {"first": first, "end": end, "start": end, "lines": []}
        start = max(known if known >= 0 else _whole(asked.get("start")), end - PUSH_ROWS, first)
        told = self._lines(selection, start, end, share)
        if len(told["lines"]) < end - start:  # the last ones matter: whoever follows is at the end
            fitting = max(len(told["lines"]) // 2, 1)
            told = self._lines(selection, end - fitting, end, share)
        return told


def _search(selection: Selection, text: str, is_case: bool, is_regex: bool, is_error: bool) -> Search:
    if is_error:
        return Search(selection, error_test)
    if not text:
        raise ValueError("There is nothing to look for.")
    if is_regex:
        return RegexSearch(selection, regex_test(text, is_case))
    return Search(selection, plain_test(text, is_case))


def _kept(cache: OrderedDict[str, Any], key: str, make: Callable[[], Any]) -> Any:
    if key not in cache:
        cache[key] = make()
        if len(cache) > MOST_KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _thin(rows: array[int]) -> Sequence[int]:
    """Enough of the rows to mark a gutter by."""
    return rows if len(rows) <= 50_000 else rows[:: len(rows) // 50_000 + 1]


def level_word(level: int) -> str:
    """``stdout``, ``stderr``, or the name of the level of `logging`."""
    return WORDS_OF_LEVEL.get(level) or logging.getLevelName(level).lower()
