"""The forms that need no page: text, one terminal line, HTML without script, SVG, Mermaid and DOT.

All are pure functions of a `Still`, a graph at one moment. Statuses read ``str(Status)``, other words come from
``words.json``, glyphs and colours from ``palette.json``; the order is the layout's. What a user named is shown as
text whatever it holds: control characters are taken out once, in `shown`, and each form escapes what its format needs.
"""

from __future__ import annotations

import base64
import html
import re
from math import isnan
from typing import Final

from ..core.states import Status
from .fold import coarser
from .layout import arrange
from .palette import Theme, looks, say, urgency
from .stills import NAME_WIDTH, Still, clock, duration, end_cut, middle_cut, number, run_word, shown, still
from .svg_form import alt_text, segments, to_svg
from .text_form import TextStyle, heading, progress_line, summary_line, text_style, to_text

__all__ = [
    "HTML_BYTES",
    "HTML_MARKS",
    "Still",
    "TextStyle",
    "clock",
    "duration",
    "middle_cut",
    "number",
    "progress_line",
    "run_word",
    "segments",
    "shown",
    "still",
    "text_style",
    "to_dot",
    "to_html",
    "to_mermaid",
    "to_svg",
    "to_text",
    "within",
]

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
LARGE_NODES: Final = 2_000
LARGE_MARKS: Final = 80
"""Of a graph with more nodes than that. Its cell waits for the stored picture before the live one is shown, and 200
bands and stacks are a picture that is scrolled past."""
FAILED_ROWS: Final = 10
HTML_ERROR_WIDTH: Final = 400


# --- HTML ---------------------------------------------------------------------------------------------------


def to_html(still: Still, theme: Theme = "light") -> str:
    """The run for hosts that show HTML but run no script: at most `HTML_BYTES`.

    The summary, the counts and the failed nodes are text; the picture is an addition. Where it would be too much, it is
    drawn with less detail, then in fewer groups, and at last left out.
    """
    before, after = _html_top(still), _html_tables(still)
    room = HTML_BYTES - len((before + after).encode()) - 200
    picture = ""
    most = HTML_MARKS if len(still.structure) <= LARGE_NODES else LARGE_MARKS
    for limit, is_small in [level for level in _LEVELS if level[0] <= most]:
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
    head = heading(still)
    rest = summary_line(still).removeprefix(head)
    return f"<p><strong>{html.escape(head)}</strong>{html.escape(rest).replace('  ', ' &nbsp;')}</p>"


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
