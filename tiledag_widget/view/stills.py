"""A graph at one moment, for the forms that need no page: what is known of each mark, in words that all of them use.

Numbers, times and names are written here, and nowhere else in Python. Pure.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan
from typing import Final

from ..core.snapshot import Columns, RunInfo, Structure
from ..core.states import Status
from .fold import Folding, fold
from .layout import Layout, arrange
from .palette import looks, say, urgency
from .ranks import CHUNK, breathe_now

NAME_WIDTH: Final = 28
ERROR_WIDTH: Final = 60


# --- numbers and names --------------------------------------------------------------------------------------


def number(value: int) -> str:
    """A count as people read it.

    >>> number(1024)
    '1,024'
    """
    return f"{value:,}"


def duration(seconds: float) -> str:
    """How long something took.

    >>> duration(0.84), duration(12.2), duration(102), duration(7390)
    ('0.8 s', '12 s', '1:42', '2:03:10')
    >>> duration(0.0004), duration(0.034)
    ('< 0.001 s', '0.03 s')
    """
    if seconds < 0.0995:
        return _instant(seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{round(seconds)} s"
    return clock(seconds)


def _instant(seconds: float) -> str:
    rounded = float(f"{max(seconds, 0):.1g}")
    return "< 0.001 s" if rounded < 0.001 else f"{rounded:g} s"


def clock(seconds: float) -> str:
    """A time that goes on, in minutes and seconds.

    >>> clock(42), clock(7390)
    ('0:42', '2:03:10')
    """
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def shown(text: str) -> str:
    """A text on one line without anything that acts rather than shows: no control, no direction override."""
    if text.isprintable():
        return text
    kept = []
    for char in text:
        if char.isprintable():
            kept.append(char)
        elif char.isspace():
            kept.append(" ")
        elif unicodedata.category(char) != "Cf":
            kept.append("\ufffd")
    return "".join(kept)


def shown_name(name: str) -> str:
    """As `shown`; a name of nothing but spaces, that nobody would see, has a sign for each.

    >>> shown_name("  "), shown_name("load\\tall")
    ('␣␣', 'load all')
    """
    return shown(name) if name.strip() else "␣" * len(name)


def middle_cut(text: str, width: int) -> str:
    """At most ``width`` characters, start and end kept.

    >>> middle_cut("resize_the_picture_017", 12)
    'resize_…_017'
    """
    if len(text) <= width:
        return text
    tail = max(1, min(width // 3, width - 2))
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def end_cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def counted(count: int, one: str, many: str) -> str:
    """The text for one, or that for many with the count in its place."""
    return say(one) if count == 1 else say(many, count=number(count))


# --- a graph at one moment ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Still:
    """A graph at one moment: what every form here is made of.

    Attributes:
        title: The graph's name.
        errors: Node -> exception type and message, on one line, of Failed nodes; may lack some.
        now: Unix time of the moment, for what still runs.
    """

    title: str
    structure: Structure
    columns: Columns
    run: RunInfo
    folding: Folding
    layout: Layout
    errors: Mapping[int, str]
    now: float

    @cached_property
    def marks(self) -> list[Counter[Status]]:
        """Per mark, its members by status. O(nodes)."""
        table: list[Counter[Status]] = [Counter() for _ in self.folding.kind]
        pairs: Counter[tuple[int, int]] = Counter()
        nodes, status = self.folding.node_mark, self.columns.status
        for base in range(0, len(nodes), CHUNK):
            breathe_now()
            pairs.update(zip(nodes[base : base + CHUNK], status[base : base + CHUNK], strict=False))
        for (mark, code), count in pairs.items():
            table[mark][_STATUS[code]] += count
        return table

    @cached_property
    def counts(self) -> Counter[Status]:
        """All nodes by status."""
        codes = Counter(self.columns.status)
        return Counter({_STATUS[code]: count for code, count in codes.items()})

    @cached_property
    def flow(self) -> list[int]:
        """Marks as they are read: by rank, then order."""
        return sorted(range(len(self.folding)), key=lambda mark: (self.layout.rank[mark], self.layout.order[mark]))

    @cached_property
    def bad_members(self) -> dict[int, list[int]]:
        """Failed and Parent Failed nodes by mark, in index order."""
        found: dict[int, list[int]] = {}
        for match in _BAD.finditer(self.columns.status, 0, len(self.folding.node_mark)):
            found.setdefault(self.folding.node_mark[match.start()], []).append(match.start())
        return found

    @property
    def elapsed(self) -> float:
        """Seconds since the start, or NaN."""
        return (self.now if isnan(self.run.ended) else self.run.ended) - self.run.started

    @property
    def word(self) -> str:
        """The run's word, worked out from its nodes."""
        return run_word(self.run, self.counts)

    def name(self, mark: int) -> str:
        return shown_name(self.folding.name[mark])

    def node_name(self, node: int) -> str:
        return shown_name(self.structure.names[node])

    def status(self, mark: int) -> Status:
        """The worst of a mark's statuses."""
        return worst(self.marks[mark])

    def error(self, node: int) -> str:
        return shown(self.errors.get(node, "")).strip()

    def time_of(self, node: int) -> float:
        """Seconds that the latest attempt of a node took so far, or NaN."""
        started, ended = self.columns.started[node], self.columns.ended[node]
        return (self.now if isnan(ended) else ended) - started


_STATUS: Final = [Status.NOT_STARTED, *Status]
_BAD: Final = re.compile(b"[%c%c]" % (Status.FAILED.value, Status.PARENT_FAILED.value))


def still(
    title: str,
    structure: Structure,
    columns: Columns,
    run: RunInfo,
    errors: Mapping[int, str] | None = None,
    *,
    folding: Folding | None = None,
    layout: Layout | None = None,
    now: float | None = None,
) -> Still:
    """The graph as these columns have it; folded and laid out here unless that was done before.

    ``columns`` are to be read after ``structure``: they may know more nodes, which are left out of the picture.
    """
    if folding is None or layout is None or len(folding.node_mark) > len(columns.status):
        folding = fold(structure)
        layout = arrange(folding)
    return Still(
        shown(title).strip(),
        structure,
        columns,
        run,
        folding,
        layout,
        errors or {},
        time.time() if now is None else now,
    )


def worst(counts: Mapping[Status, int]) -> Status:
    """The status of several nodes drawn as one."""
    return next((status for status in urgency() if counts.get(status)), Status.NOT_STARTED)


def run_word(run: RunInfo, counts: Mapping[Status, int]) -> str:
    """The run in a word or two: Running with failures is still Running."""
    if run.is_ended:
        for status in (Status.FAILED, Status.CANCELLED):
            if counts.get(status):
                return str(status)
        return str(Status.COMPLETED)
    if isnan(run.started):
        return str(Status.NOT_STARTED)
    failed = counts.get(Status.FAILED, 0)
    if failed:
        return say("status_failed", status=Status.RUNNING, count=number(failed))
    return str(Status.CANCELLED if run.status is Status.CANCELLED else Status.RUNNING)


def is_untouched(still: Still) -> bool:
    return isnan(still.run.started) and not still.run.is_ended


# --- what a mark says ---------------------------------------------------------------------------------------


def detail(still: Still, mark: int, error_width: int = ERROR_WIDTH) -> str:
    """The line beside or below a mark's name: its time, its error or what blocks it."""
    status = still.status(mark)
    node = still.folding.first[mark]
    is_card = still.folding.kind[mark] == "card"
    if status is Status.FAILED:
        first = next(bad for bad in still.bad_members[mark] if still.columns.status[bad] == Status.FAILED.value)
        return end_cut(still.error(first) or (str(status) if is_card else ""), error_width)
    if status is Status.PARENT_FAILED:
        return say("blocked_by", names=_names(still, blockers(still, mark)))
    if not is_card:
        return ""
    if status is Status.COMPLETED and not isnan(still.time_of(node)):
        return duration(still.time_of(node))
    if status is Status.RUNNING and not isnan(still.time_of(node)):
        return say("running_for", time=duration(still.time_of(node)))
    if status is Status.NOT_STARTED and not is_untouched(still):
        done = Status.COMPLETED.value
        waits = [parent for parent in still.structure.parents_of(node) if still.columns.status[parent] != done]
        return say("waits_for", names=_names(still, waits)) if waits else ""
    return ""


def blockers(still: Still, mark: int) -> list[int]:
    """Failed or cancelled nodes that keep a mark's members from running: failed parents, else the first above."""
    stops = (Status.FAILED.value, Status.CANCELLED.value)
    status = still.columns.status
    found: dict[int, None] = {}
    for node in still.bad_members.get(mark, ())[:1000]:
        if status[node] != Status.PARENT_FAILED.value:
            continue
        own = [parent for parent in still.structure.parents_of(node) if status[parent] in stops]
        if not own and node in still.columns.blocker:
            own = [still.columns.blocker[node]]
        found.update(dict.fromkeys(own))
    return sorted(found)


def _names(still: Still, nodes: Sequence[int], most: int = 3) -> str:
    text = ", ".join(middle_cut(still.node_name(node), NAME_WIDTH) for node in nodes[:most])
    if len(nodes) > most:
        return say("and_more", names=text, count=number(len(nodes) - most))
    return text


def tally(counts: Mapping[Status, int], order: Iterable[Status]) -> list[tuple[Status, str]]:
    """Glyph and count of each status that occurs."""
    return [(status, f"{looks()[status].glyph}{number(counts[status])}") for status in order if counts.get(status)]
