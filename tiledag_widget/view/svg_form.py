"""The graph as SVG: cards, stacks and edges as the page draws them, without a script, legible light and dark."""

from __future__ import annotations

import html
import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Final

from ..core.states import Status
from .layout import Layout
from .palette import Look, Theme, accents, bar_order, looks, palette, say, urgency
from .stills import Still, counted, detail, end_cut, middle_cut, number, tally

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
    for step, slot in enumerate(bends, 1):
        across = plan.top + slot * plan.across
        left = begin - size + step * pitch
        points.extend([(left, across), (left + size, across)])
    points.append((end, to))
    path = [f"M{_xy(plan, *points[0])}"]
    for piece, ((x, y), (u, v)) in enumerate(itertools.pairwise(points)):
        middle = (x + u) / 2
        if piece % 2 or y == v:
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
        words = "  ".join(
            f'<tspan class="t{one.value}">{text}</tspan>' if looks()[one].filled else text
            for one, text in tally(counts, urgency())
        )
        parts.append(f'<text class="d" x="30" y="36">{words}</text>')
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
