"""The forms that need no page: text, one terminal line, HTML without script, SVG, Mermaid and DOT.

All are pure functions of a `Still`, a graph at one moment. Statuses read ``str(Status)``, other words come from
``words.json``, glyphs and colours from ``palette.json``; the order is the layout's. What a user named is shown as
text whatever it holds: control characters are taken out once, in `shown`, and each form escapes what its format needs.
"""

from __future__ import annotations

import base64
import html
import itertools
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, isnan, log10
from typing import Final, TextIO

from ..core.snapshot import Columns, RunInfo, Structure
from ..core.states import Status
from .fold import Folding, coarser, fold
from .layout import Layout, arrange
from .palette import Look, Theme, accents, bar_order, looks, palette, say, urgency

HTML_BYTES: Final = 60_000
HTML_MARKS: Final = 200
_LEVELS: Final = (
    (HTML_MARKS, False),
    (HTML_MARKS, True),
    (120, True),
    (80, False),
    (60, True),
    (40, False),
    (20, True),
)
"""Marks, and whether details are left out: what a stored picture tries in turn."""
FAILED_ROWS: Final = 10
TEXT_ROWS: Final = 40
NAME_WIDTH: Final = 28
ERROR_WIDTH: Final = 60
HTML_ERROR_WIDTH: Final = 400
BAR_CELLS: Final = 12
_ANSI: Final = {
    Status.NOT_STARTED: 90,
    Status.RUNNING: 34,
    Status.COMPLETED: 32,
    Status.FAILED: 31,
    Status.CANCELLED: 35,
    Status.PARENT_FAILED: 33,
}


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
    """
    if round(seconds, 1) < 10:
        return f"{max(seconds, 0):.1f} s"
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    return clock(seconds)


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
        pairs = Counter(map(_pair, self.folding.node_mark, self.columns.status))
        for pair, count in pairs.items():
            table[pair >> 3][_STATUS[pair & 7]] += count
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
        return shown(self.folding.name[mark])

    def node_name(self, node: int) -> str:
        return shown(self.structure.names[node])

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


def _pair(mark: int, code: int) -> int:
    return mark << 3 | code


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


def _tally(counts: Mapping[Status, int], order: Iterable[Status]) -> list[tuple[Status, str]]:
    """Glyph and count of each status that occurs."""
    return [(status, f"{looks()[status].glyph}{number(counts[status])}") for status in order if counts.get(status)]


# --- text ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TextStyle:
    """What a terminal can show."""

    colour: bool = False
    ascii: bool = False

    def paint(self, text: str, status: Status) -> str:
        return f"\x1b[{_ANSI[status]}m{text}\x1b[0m" if self.colour else text

    def plain(self, text: str) -> str:
        """The text in the characters that can be shown."""
        if not self.ascii:
            return text
        for look in looks().values():
            text = text.replace(look.glyph, look.ascii)
        return text.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")


_TO_ASCII: Final = str.maketrans(
    {"×": "x", "…": "...", "·": "-", "–": "-", "→": "->", "▓": "#", "▒": "+", "░": ".", "\ufffd": "?"}
)


def text_style(stream: TextIO, environment: Mapping[str, str]) -> TextStyle:
    """What ``stream`` can show: colour on a terminal unless ``NO_COLOR`` is set, ASCII where its encoding has no
    glyphs."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        "".join(look.glyph for look in looks().values()).encode(encoding)
        is_ascii = False
    except (UnicodeError, LookupError):
        is_ascii = True
    is_terminal = stream.isatty() and environment.get("TERM") != "dumb"
    return TextStyle(is_terminal and not environment.get("NO_COLOR"), is_ascii)


def to_text(still: Still, style: TextStyle = TextStyle()) -> str:
    """The run as text: a line about all, then one for each mark in the order of the flow.

    Of more than `TEXT_ROWS` marks the most urgent are kept and the others counted.
    """
    lines = [summary_line(still, style)]
    marks = still.flow
    if len(marks) > TEXT_ROWS:
        rank_of = {status: place for place, status in enumerate(urgency())}
        kept = sorted(marks, key=lambda mark: rank_of[still.status(mark)])[:TEXT_ROWS]
        marks = [mark for mark in marks if mark in set(kept)]
    names = [middle_cut(still.name(mark), NAME_WIDTH) for mark in marks]
    width = max(map(len, names), default=0)
    widest = max((len(number(size)) for size in still.folding.size if size > 1), default=0)
    for mark, name in zip(marks, names, strict=False):
        status = still.status(mark)
        parts = [f"{name:{width}}"]
        if still.folding.kind[mark] != "card":
            parts.append(f"×{number(still.folding.size[mark]):{widest}}")
            parts.append(" ".join(text for _, text in _tally(still.marks[mark], bar_order())))
        parts.append(detail(still, mark))
        glyph = style.paint(style.plain(looks()[status].glyph), status)
        lines.append(f" {glyph} {style.plain('  '.join(part for part in parts if part).rstrip())}")
    if len(still.folding) > len(marks):
        lines.append(style.plain(" " + say("more_marks", count=number(len(still.folding) - len(marks)))))
    return "\n".join(lines)


def summary_line(still: Still, style: TextStyle = TextStyle()) -> str:
    """Name, the run's word, how far, how long, and the counts."""
    total = len(still.structure)
    title = _heading(still)
    if not total:
        return style.plain(f"{title}  {say('no_nodes')}")
    if is_untouched(still):
        ready = say("ready", nodes=counted(total, "node_one", "node_many"))
        return style.plain(f"{title}  {ready}")
    far = f"{number(still.counts[Status.COMPLETED])}/{number(total)}"
    if not isnan(still.elapsed):
        far += " " + say("in_time", time=clock(still.elapsed))
    tally = " ".join(style.paint(style.plain(text), status) for status, text in _tally(still.counts, urgency()))
    head = style.plain(f"{title}  {still.word}  {far}")
    return f"{head}   {tally}"


def _heading(still: Still) -> str:
    return f"{say('graph_word')} {middle_cut(still.title, 2 * NAME_WIDTH)}".rstrip()


def progress_line(still: Still, style: TextStyle = TextStyle(), time_left: str = "") -> str:
    """The run on one line, to be redrawn on a terminal; ``time_left`` such as "about 1–2 min left"."""
    counts, total = still.counts, max(1, len(still.structure))
    done = counts[Status.COMPLETED] * BAR_CELLS // total
    finished = total - counts[Status.NOT_STARTED] - counts[Status.RUNNING]
    in_between = finished - counts[Status.COMPLETED] + counts[Status.RUNNING]
    busy = min(BAR_CELLS - done, ceil(in_between * BAR_CELLS / total))
    bar = style.paint(style.plain("▓" * done), Status.COMPLETED) if done else ""
    bar += style.paint(style.plain("▒" * busy), Status.RUNNING) if busy else ""
    bar += style.plain("░" * (BAR_CELLS - done - busy))
    title = style.plain(middle_cut(still.title or say("graph_word"), NAME_WIDTH))
    parts = [f"{title} {number(counts[Status.COMPLETED])}/{number(total)} {bar}"]
    if counts[Status.FAILED]:
        failed = f"{looks()[Status.FAILED].glyph}{number(counts[Status.FAILED])}"
        parts.append(style.paint(style.plain(failed), Status.FAILED))
    if not isnan(still.elapsed):
        left = f", {time_left}" if time_left else ""
        parts.append(style.plain(clock(still.elapsed) + left))
    return "  ".join(parts)


# --- SVG ----------------------------------------------------------------------------------------------------

CARD: Final = (168, 44)
STACK: Final = (176, 58)
SLIP: Final = 3
COLUMN_GAP: Final = 56
ROW_GAP: Final = 24
MARGIN: Final = 20
CHAR_WIDTH: Final = 7.9
_SPREAD: Final = 960
"""Width of a page, for the choice of direction."""


@dataclass(frozen=True, slots=True)
class _Box:
    x: float
    y: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Places in pixels."""

    boxes: list[_Box]
    width: int
    height: int
    is_down: bool
    across: float
    """Pixels for a slot."""
    top: float
    """Where slot 0 is."""


def to_svg(still: Still, theme: Theme = "light", *, is_small: bool = False) -> str:
    """The whole picture, with its own background. ``is_small`` leaves out what only a close look shows."""
    if not len(still.folding):
        return _empty_svg(theme)
    plan = _plan(still)
    parts = [_svg_head(still, plan, theme)]
    parts.extend(_svg_edges(still, plan))
    for mark, box in enumerate(plan.boxes):
        parts.append(_svg_mark(still, mark, box, is_small))
    parts.append("</svg>")
    return "".join(parts)


def _empty_svg(theme: Theme) -> str:
    colours = accents(theme)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="420" height="80" viewBox="0 0 420 80">'
        f'<rect width="420" height="80" rx="6" fill="{colours["canvas"]}"/>'
        f'<text x="20" y="45" font-family="system-ui,sans-serif" font-size="13" fill="{colours["secondary"]}">'
        f"{html.escape(say('no_nodes'))}</text></svg>"
    )


def _plan(still: Still) -> _Plan:
    """Left to right, unless that would have to be shrunk much more than top to bottom."""
    sideways, down = _plan_in(still, False), _plan_in(still, True)
    fits_sideways = min(1.0, _SPREAD / sideways.width)
    fits_down = min(1.0, _SPREAD / down.width, 1.5 * _SPREAD / down.height)
    return down if fits_down > 1.3 * fits_sideways else sideways


def _plan_in(still: Still, is_down: bool) -> _Plan:
    folding, layout = still.folding, still.layout
    has_stacks = any(kind != "card" for kind in folding.kind)
    wide, high = STACK if has_stacks else CARD
    slips = 2 * SLIP if has_stacks else 0
    if is_down:
        along, across = high + slips + COLUMN_GAP - 8, wide + slips + ROW_GAP
    else:
        along, across = wide + slips + COLUMN_GAP, high + slips + ROW_GAP - (8 if has_stacks else 0)
    lowest = min([*layout.slot, *(slot for bends in layout.bends for slot in bends)], default=0.0)
    highest = max([*layout.slot, *(slot for bends in layout.bends for slot in bends)], default=0.0)
    half = (wide if is_down else high) / 2
    top = MARGIN + half - lowest * across
    boxes = []
    for kind, rank, slot in zip(folding.kind, layout.rank, layout.slot, strict=False):
        size = CARD if kind == "card" else STACK
        middle = top + slot * across
        start = MARGIN + rank * along + ((high if is_down else wide) - size[1 if is_down else 0]) / 2
        box = (middle - size[0] / 2, start) if is_down else (start, middle - size[1] / 2)
        boxes.append(_Box(round(box[0], 1), round(box[1], 1), *size))
    spread = ceil((highest - lowest) * across + 2 * half + slips + 2 * MARGIN)
    deep = ceil(max(layout.rank) * along + (high if is_down else wide) + slips + 2 * MARGIN)
    return _Plan(boxes, *((spread, deep) if is_down else (deep, spread)), is_down, across, top)


def _svg_head(still: Still, plan: _Plan, theme: Theme) -> str:
    """Size, styles, and what is drawn often once for all: a stored picture counts its bytes."""
    colours = accents(theme)
    rules = [
        "text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif}",
        f".n{{fill:{colours['text']};font-weight:600}}.d{{font-size:11px;fill:{colours['secondary']}}}",
        f".e{{fill:none;stroke:{colours['edge']};stroke-width:1.5}}.e path{{marker-end:url(#a)}}",
        *(f".w{width}{{stroke-width:{width}}}" for width in (2, 3, 4)),
        f".loop{{stroke:{looks()[Status.FAILED].mark[theme]};stroke-dasharray:5 4}}",
        *(f".m{status.value}{{fill:{looks()[status].mark[theme]}}}" for status in Status),
    ]
    size = 'markerWidth="6" markerHeight="6" refX="5.5" refY="3" orient="auto" markerUnits="userSpaceOnUse"'
    drawn = [f'<marker id="a" {size}><path fill="{colours["edge"]}" d="M0 0L6 3L0 6Z"/></marker>']
    for status in dict.fromkeys(still.status(mark) for mark in range(len(still.folding))):
        look = looks()[status]
        drawn.extend(_grounds(look, theme))
        drawn.append(_glyph_symbol(f"g{status.value}", look, look.word[theme]))
        if look.filled:
            rules.append(
                f".f text{{fill:{look.ink[theme]}}}.t{status.value}{{fill:{look.word[theme]};font-weight:600}}"
            )
            drawn.append(_glyph_symbol(f"f{status.value}", look, look.ink[theme]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{plan.width}" height="{plan.height}" '
        f'viewBox="0 0 {plan.width} {plan.height}" role="img"><title>{html.escape(alt_text(still))}</title>'
        f"<style>{''.join(rules)}</style><defs>{''.join(drawn)}</defs>"
        f'<rect width="{plan.width}" height="{plan.height}" rx="6" fill="{colours["canvas"]}"/>'
    )


def _grounds(look: Look, theme: Theme) -> Iterable[str]:
    """What lies below the text of a card and of a stack of this status.

    A card of a status that is filled is; a stack never: one failure of a thousand leaves it its own ground, since red
    on red would hide which part failed.
    """
    colours, key, mark = accents(theme), look.status.value, look.mark[theme]
    dash = {"dashed": ' stroke-dasharray="5 3"', "dotted": ' stroke-dasharray="1.5 3" stroke-linecap="round"'}
    plain = "none" if look.status is Status.NOT_STARTED else colours["card"]
    if look.hatch:
        yield (
            f'<pattern id="p{key}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            f'<path d="M0 0V6" stroke="{mark}" stroke-width="1.5" opacity=".35"/></pattern>'
        )
    for name, (width, height), fill in (("c", CARD, mark if look.filled else plain), ("s", STACK, plain)):
        box = f'width="{width}" height="{height}" rx="6"'
        parts = []
        if name == "s":
            slip = f'{box} fill="{colours["card"]}" stroke="{colours["card_border"]}"'
            parts = [f'<rect x="{at}" y="{at}" {slip}/>' for at in (2 * SLIP, SLIP, 0)]
        line = f'stroke="{mark}" stroke-width="{look.width:g}"{dash.get(look.line, "")}'
        parts.append(f'<rect {box} fill="{fill}" {line}/>')
        if look.hatch:
            parts.append(f'<rect {box} fill="url(#p{key})"/>')
        if look.band:
            parts.append(f'<path fill="{mark}" d="M4 .5V{height}A6 6 0 0 1 0 {height - 6}V6A6 6 0 0 1 4 .5Z"/>')
        yield f'<g id="{name}{key}">{"".join(parts)}</g>'


def _glyph_symbol(key: str, look: Look, colour: str) -> str:
    grid, width = palette()["glyph_grid"], palette()["glyph_stroke_width"]
    drawn = f'<path fill="{colour}" d="{look.fill}"/>' if look.fill else ""
    if look.stroke:
        line = f'stroke="{colour}" stroke-width="{width}" stroke-linecap="round" stroke-linejoin="round"'
        drawn += f'<path fill="none" {line} d="{look.stroke}"/>'
    return f'<symbol id="{key}" viewBox="0 0 {grid} {grid}">{drawn}</symbol>'


def _svg_edges(still: Still, plan: _Plan) -> Iterable[str]:
    folding, layout = still.folding, still.layout
    yield '<g class="e">'
    for parent, child, count, bends in zip(folding.source, folding.target, folding.count, layout.bends, strict=True):
        if layout.rank[child] <= layout.rank[parent]:
            yield f'<path class="loop" d="{_loop(plan, parent, child)}"/>'
            continue
        width = min(4, round(1.5 + 0.6 * log10(count)))
        wide = f' class="w{width}"' if count > 1 else ""
        yield f'<path{wide} d="{_curve(plan, layout, parent, child, bends)}"/>'
    yield "</g>"


def _ports(plan: _Plan, parent: int, child: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Where an edge leaves and arrives, as (along the flow, across)."""
    start, end = plan.boxes[parent], plan.boxes[child]
    if plan.is_down:
        return (start.y + start.height, start.x + start.width / 2), (end.y - 1, end.x + end.width / 2)
    return (start.x + start.width, start.y + start.height / 2), (end.x - 1, end.y + end.height / 2)


def _curve(plan: _Plan, layout: Layout, parent: int, child: int, bends: Sequence[float]) -> str:
    """Cubic from rank to rank; straight across the columns that the edge passes."""
    (begin, at), (end, to) = _ports(plan, parent, child)
    steps = layout.rank[child] - layout.rank[parent]
    size = plan.boxes[parent].height if plan.is_down else plan.boxes[parent].width
    pitch = ((end + 1) - (begin - size)) / steps if steps else 0.0
    points = [(begin, at)]
    for number, slot in enumerate(bends, 1):
        across = plan.top + slot * plan.across
        left = begin - size + number * pitch
        points.extend([(left, across), (left + size, across)])
    points.append((end, to))
    path = [f"M{_xy(plan, *points[0])}"]
    for number, ((x, y), (u, v)) in enumerate(itertools.pairwise(points)):
        middle = (x + u) / 2
        if number % 2 or y == v:
            path.append(f"L{_xy(plan, u, v)}")
        else:
            path.append(f"C{_xy(plan, middle, y)} {_xy(plan, middle, v)} {_xy(plan, u, v)}")
    return "".join(path)


def _loop(plan: _Plan, parent: int, child: int) -> str:
    """Back round the far side of both."""
    (begin, at), (end, to) = _ports(plan, parent, child)
    side = max(at, to) + plan.across * 0.45
    return (
        f"M{_xy(plan, begin, at)}C{_xy(plan, begin + 40, at)} {_xy(plan, begin + 40, side)} {_xy(plan, begin, side)}"
        f"L{_xy(plan, end, side)}C{_xy(plan, end - 40, side)} {_xy(plan, end - 40, to)} {_xy(plan, end, to)}"
    )


def _xy(plan: _Plan, along: float, across: float) -> str:
    x, y = (across, along) if plan.is_down else (along, across)
    return f"{x:.0f} {y:.0f}"


def _svg_mark(still: Still, mark: int, box: _Box, is_small: bool) -> str:
    status = still.status(mark)
    is_card = still.folding.kind[mark] == "card"
    filled = ' class="f"' if looks()[status].filled and is_card else ""
    inside = _svg_card(still, mark, is_small) if is_card else _svg_stack(still, mark, box, is_small)
    ground = f'<use href="#{"c" if is_card else "s"}{status.value}"/>'
    return f'<g{filled} transform="translate({box.x:g} {box.y:g})">{ground}{inside}</g>'


def _svg_card(still: Still, mark: int, is_small: bool) -> str:
    status = still.status(mark)
    line = "" if is_small else detail(still, mark)
    name = _fitted(still.name(mark), CARD[0] - 42, CHAR_WIDTH)
    strike = ' text-decoration="line-through"' if looks()[status].strike else ""
    y = 19 if line else 27
    glyph = "f" if looks()[status].filled else "g"
    parts = [
        (
            f'<use href="#{glyph}{status.value}" x="11" y="{y - 11}" width="13" height="13"/>'
            f'<text class="n" x="30" y="{y}"{strike}>{html.escape(name)}</text>'
        )
    ]
    if line:
        line = _fitted(line, CARD[0] - 38, 5.7, at_end=True)
        parts.append(f'<text class="d" x="30" y="35">{html.escape(line)}</text>')
    return "".join(parts)


def _svg_stack(still: Still, mark: int, box: _Box, is_small: bool) -> str:
    status, counts = still.status(mark), still.marks[mark]
    times = f"×{number(still.folding.size[mark])}"
    room = box.width - 46 - len(times) * 6.6
    parts = [
        (
            f'<use href="#g{status.value}" x="11" y="8" width="13" height="13"/>'
            f'<text class="n" x="30" y="19">{html.escape(_fitted(still.name(mark), room, CHAR_WIDTH))}</text>'
            f'<text class="d" x="{box.width - 10}" y="19" text-anchor="end">{times}</text>'
        )
    ]
    if not is_small:
        tally = "  ".join(
            f'<tspan class="t{one.value}">{text}</tspan>' if looks()[one].filled else text
            for one, text in _tally(counts, urgency())
        )
        parts.append(f'<text class="d" x="30" y="36">{tally}</text>')
    for status, x, width in segments(counts, box.width - 20):
        parts.append(f'<rect class="m{status.value}" x="{10 + x:g}" y="44" width="{width:g}" height="6"/>')
    return "".join(parts)


def segments(counts: Mapping[Status, int], width: float, least: float = 4.0) -> list[tuple[Status, float, float]]:
    """The segments of a bar: status, start and width. None is narrower than ``least``, so that no failure is lost."""
    there = [status for status in bar_order() if counts.get(status)]
    total = sum(counts[status] for status in there)
    if not total:
        return []
    widths = {status: max(least, counts[status] * width / total) for status in there}
    widest = max(there, key=lambda status: widths[status])
    widths[widest] -= sum(widths.values()) - width
    placed, at = [], 0.0
    for status in there:
        placed.append((status, round(at, 1), round(widths[status], 1)))
        at += widths[status]
    return placed


def _fitted(text: str, room: float, each: float, at_end: bool = False) -> str:
    """The text cut to ``room`` pixels by estimate; wide characters count twice."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text[:200])
    fits = max(2, int(room / each) - wide)
    return end_cut(text, fits) if at_end else middle_cut(text, fits)


def alt_text(still: Still) -> str:
    """The picture in a sentence."""
    if not len(still.structure):
        return say("no_graph_alt")
    counts = ", ".join(
        say("count_status", count=number(still.counts[status]), status=status)
        for status in urgency()
        if still.counts.get(status)
    )
    edges = len(still.structure.parents)
    return say(
        "picture_alt",
        nodes=counted(len(still.structure), "node_one", "node_many"),
        edges=counted(edges, "edge_one", "edge_many"),
        counts=counts,
    )


# --- HTML ---------------------------------------------------------------------------------------------------


def to_html(still: Still, theme: Theme = "light") -> str:
    """The run for hosts that show HTML but run no script: at most `HTML_BYTES`.

    The summary, the counts and the failed nodes are text; the picture is an addition. Where it would be too much, it is
    drawn with less detail, then in fewer groups, and at last left out.
    """
    before, after = _html_top(still), _html_tables(still)
    room = HTML_BYTES - len((before + after).encode()) - 200
    picture = ""
    for limit, is_small in _LEVELS:
        drawn = within(still, limit)
        svg = to_svg(drawn, theme, is_small=is_small)
        encoded = base64.b64encode(svg.encode("utf-8")).decode("ascii")
        alt = html.escape(alt_text(still), quote=True)
        if len(encoded) + len(alt) < room:
            width = re.search(r'width="(\d+)"', svg)
            picture = (
                f'<img alt="{alt}" width="{width[1] if width else ""}" '
                f'style="max-width:100%;height:auto" src="data:image/svg+xml;base64,{encoded}">'
            )
            note = html.escape(drawn.folding.folded)
            picture += f"<div><small>{note}</small></div>" if note else ""
            break
    return f"<div>{before}{picture}{after}</div>"


def within(still: Still, limit: int) -> Still:
    """The same moment in at most ``limit`` marks."""
    if len(still.folding) <= limit:
        return still
    folding = coarser(still.folding, still.layout.rank, limit)
    return Still(
        still.title, still.structure, still.columns, still.run, folding, arrange(folding), still.errors, still.now
    )


def _html_top(still: Still) -> str:
    heading = _heading(still)
    rest = summary_line(still).removeprefix(heading)
    return f"<p><strong>{html.escape(heading)}</strong>{html.escape(rest).replace('  ', ' &nbsp;')}</p>"


def _html_tables(still: Still) -> str:
    total = len(still.structure)
    if not total:
        return ""
    rows = "".join(
        f"<tr>{_cell(f'{looks()[status].glyph} {status}')}<td>{number(still.counts[status])}</td></tr>"
        for status in urgency()
        if still.counts.get(status)
    )
    parts = [
        (
            f"<table><thead><tr>{_cell(say('column_status'), 'th')}<th>{say('column_nodes')}</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
    ]
    failed = [match.start() for match in re.finditer(b"%c" % Status.FAILED.value, still.columns.status)]
    if failed:
        parts.append(_html_failed(still, failed))
    return "".join(parts)


def _html_failed(still: Still, failed: list[int]) -> str:
    listed = failed[:FAILED_ROWS]
    heading = say("failed_table")
    if len(failed) > len(listed):
        heading = say("failed_first", shown=number(len(listed)), total=number(len(failed)))
    rows = []
    for node in listed:
        took = still.time_of(node)
        cells = [
            _cell(f"{looks()[Status.FAILED].glyph} {middle_cut(still.node_name(node), 3 * NAME_WIDTH)}"),
            f"<td>{'' if isnan(took) else duration(took)}</td>",
            _cell(end_cut(still.error(node), HTML_ERROR_WIDTH) or say("no_message")),
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = _cell(say("column_node"), "th") + f"<th>{say('column_time')}</th>" + _cell(say("column_error"), "th")
    return f"<p>{heading}</p><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(text: str, tag: str = "td") -> str:
    """Words begin at the left, also where the host puts every cell to the right, as Jupyter does for numbers."""
    return f'<{tag} style="text-align:left">{html.escape(text)}</{tag}>'


# --- Mermaid and DOT ----------------------------------------------------------------------------------------


def to_mermaid(still: Still, theme: Theme = "light") -> str:
    """The marks as a Mermaid flowchart, coloured by status."""
    lines = ["flowchart LR"]
    lines.extend(
        f'  m{mark}["{_mermaid_text(_label(still, mark))}"]:::{still.status(mark).name.lower()}' for mark in still.flow
    )
    lines.extend(
        f"  m{parent} --> m{child}" for parent, child in zip(still.folding.source, still.folding.target, strict=False)
    )
    for status in dict.fromkeys(still.status(mark) for mark in still.flow):
        look = looks()[status]
        dash = "" if look.line == "solid" else ",stroke-dasharray:4 3"
        lines.append(
            f"  classDef {status.name.lower()} fill:{look.mark[theme]},color:{look.ink[theme]},"
            f"stroke:{look.mark[theme]}{dash}"
        )
    return "\n".join(lines) + "\n"


def _mermaid_text(text: str) -> str:
    """Everything but letters, digits and a few harmless signs as a character number."""
    return "".join(char if char.isalnum() or char in " _-.,×✓✕▶○⊘⤓" else f"#{ord(char)};" for char in text)


def to_dot(still: Still, theme: Theme = "light") -> str:
    """The marks as a Graphviz graph, coloured by status."""
    lines = [f"digraph {_dot_text(still.title)} {{", '  rankdir=LR; node [shape=box, style="rounded,filled"];']
    for mark in still.flow:
        look = looks()[still.status(mark)]
        lines.append(
            f'  m{mark} [label={_dot_text(_label(still, mark))}, fillcolor="{look.mark[theme]}", '
            f'fontcolor="{look.ink[theme]}", color="{look.mark[theme]}"];'
        )
    lines.extend(
        f"  m{parent} -> m{child};" for parent, child in zip(still.folding.source, still.folding.target, strict=False)
    )
    return "\n".join([*lines, "}"]) + "\n"


def _dot_text(text: str) -> str:
    # A backslash begins an escape sequence in labels, and HTML entities are read in them: both are made literal.
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace('"', '\\"')
    return f'"{escaped}"'


def _label(still: Still, mark: int) -> str:
    """Glyph, name and count: the words of a mark where only text goes."""
    label = f"{looks()[still.status(mark)].glyph} {middle_cut(still.name(mark), 3 * NAME_WIDTH)}"
    if still.folding.kind[mark] != "card":
        label += f" ×{number(still.folding.size[mark])}"
    return label
