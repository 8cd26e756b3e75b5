"""The graph as text: a heading and a line for each mark, and the one line of a terminal that is redrawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isnan
from typing import Final, TextIO

from ..core.states import Status
from .palette import bar_order, looks, say, urgency
from .stills import NAME_WIDTH, Still, clock, counted, detail, is_untouched, middle_cut, number, tally

TEXT_ROWS: Final = 40
BAR_CELLS: Final = 12
_ANSI: Final = {
    Status.NOT_STARTED: 90,
    Status.RUNNING: 34,
    Status.COMPLETED: 32,
    Status.FAILED: 31,
    Status.CANCELLED: 35,
    Status.PARENT_FAILED: 33,
}


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
    {"×": "x", "…": "...", "·": "-", "–": "-", "→": "->", "▓": "#", "▒": "+", "░": ".", "␣": "_", "\ufffd": "?"}
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
            parts.append(" ".join(text for _, text in tally(still.marks[mark], bar_order())))
        parts.append(detail(still, mark))
        glyph = style.paint(style.plain(looks()[status].glyph), status)
        lines.append(f" {glyph} {style.plain('  '.join(part for part in parts if part).rstrip())}")
    if len(still.folding) > len(marks):
        lines.append(style.plain(" " + say("more_marks", count=number(len(still.folding) - len(marks)))))
    return "\n".join(lines)


def summary_line(still: Still, style: TextStyle = TextStyle()) -> str:
    """Name, the run's word, how far, how long, and the counts."""
    total = len(still.structure)
    title = heading(still)
    if not total:
        return style.plain(f"{title}  {say('no_nodes')}")
    if is_untouched(still):
        ready = say("ready", nodes=counted(total, "node_one", "node_many"))
        return style.plain(f"{title}  {ready}")
    far = f"{number(still.counts[Status.COMPLETED])}/{number(total)}"
    if not isnan(still.elapsed):
        far += " " + say("in_time", time=clock(still.elapsed))
    counts = " ".join(style.paint(style.plain(text), status) for status, text in tally(still.counts, urgency()))
    head = style.plain(f"{title}  {still.word}  {far}")
    return f"{head}   {counts}"


def heading(still: Still) -> str:
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
