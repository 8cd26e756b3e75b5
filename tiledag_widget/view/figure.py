"""The graph as a plotly figure, still or live, from the same marks and places as every other form.

plotly is imported inside functions only. It reads tags and formulas in every text it shows, so each text goes through
`_literal`.

**Threads**: ``tiledag-figure``, one per live figure while its graph changes; ends `IDLE_S` after the last change.
"""

from __future__ import annotations

import html
import logging
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..core.snapshot import Columns, GraphSource, RunInfo, Structure
from ..core.states import Status
from .fold import Folding, fold
from .layout import Layout, arrange
from .palette import accents, looks, say, urgency
from .static_forms import moment
from .stills import NAME_WIDTH, Still, detail, middle_cut, number, still
from .svg_form import alt_text
from .text_form import summary_line

if TYPE_CHECKING:
    import plotly.graph_objects as go

_log = logging.getLogger("tiledag_widget.view")

REDRAW_S: Final = 0.2
IDLE_S: Final = 1.0
_SYMBOLS: Final = {
    Status.NOT_STARTED: "circle-open",
    Status.RUNNING: "triangle-right",
    Status.COMPLETED: "circle",
    Status.FAILED: "x",
    Status.CANCELLED: "circle-x-open",
    Status.PARENT_FAILED: "triangle-down",
}
LABELS: Final = 80
"""Marks that have their name beside them; with more, names are shown by pointing."""
_EDGES: Final = "edges"


def make_figure(
    structure: Structure,
    columns: Columns,
    run: RunInfo,
    *,
    title: str = "",
    errors: Mapping[int, str] | None = None,
    folding: Folding | None = None,
    layout: Layout | None = None,
) -> go.Figure:
    """A figure of the graph as these columns have it: one trace of edges, and one for each status.

    Many nodes are drawn as stacks, as everywhere. Raises ImportError where plotly is not there.
    """
    return _drawn(still(title, structure, columns, run, errors, folding=folding, layout=layout))


def _drawn(now: Still) -> go.Figure:
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_trace(_edge_trace(now))
    for status, dots in _dots(now).items():
        figure.add_trace(_status_trace(status, dots, len(now.folding) <= LABELS))
    figure.update_layout(_page(now))
    return figure


def make_live_figure(
    structure: Structure,
    columns: Columns,
    run: RunInfo,
    *,
    title: str = "",
    errors: Mapping[int, str] | None = None,
    folding: Folding | None = None,
    layout: Layout | None = None,
) -> go.Figure:
    """The same as a ``FigureWidget``, which `update_figure` can change while it is shown; a plain figure where
    plotly has no widgets (anywidget is missing)."""
    return _live(make_figure(structure, columns, run, title=title, errors=errors, folding=folding, layout=layout))


def _live(figure: go.Figure) -> go.Figure:
    import plotly.graph_objects as go

    try:
        return go.FigureWidget(figure)
    except ImportError:
        return figure


def update_figure(
    figure: go.Figure,
    structure: Structure,
    columns: Columns,
    run: RunInfo,
    *,
    title: str = "",
    errors: Mapping[int, str] | None = None,
    folding: Folding | None = None,
    layout: Layout | None = None,
) -> int:
    """Bring a figure made here up to date in one message, and return how many traces changed.

    What did not change is not sent. Give the ``folding`` and ``layout`` of the figure, or they are made anew.
    """
    return _redrawn(figure, still(title, structure, columns, run, errors, folding=folding, layout=layout))


def _redrawn(figure: go.Figure, now: Still) -> int:
    is_named = len(now.folding) <= LABELS
    changed = 0
    with figure.batch_update():
        traces = {trace.name: trace for trace in figure.data}
        edges = _edge_lines(now)
        if list(traces[_EDGES].x or ()) != edges[0] or list(traces[_EDGES].y or ()) != edges[1]:
            traces[_EDGES].update(_edge_parts(*edges))
            changed += 1
        for status, dots in _dots(now).items():
            trace = traces[str(status)]
            parts = _status_parts(dots, is_named)
            stale = {key: value for key, value in parts.items() if list(getattr(trace, key) or ()) != value}
            sizes = [dot.size for dot in dots]
            if stale or list(trace.marker.size or ()) != sizes:
                trace.update({**stale, "marker": {"size": sizes}, "showlegend": bool(dots)})
                changed += 1
        heading = _heading(now)
        if figure.layout.title.text != heading:
            figure.layout.title.text = heading
    return changed


# --- live ---------------------------------------------------------------------------------------------------


def live_figure(source: GraphSource, *, auto_update: bool = True) -> go.Figure:
    """A figure that follows a graph for as long as somebody holds it; one that stays still without ``auto_update``."""
    if not auto_update:
        return _live(_drawn(moment(source)))
    follower = _Follower(source)
    follower.show()
    return follower.figure()


class _Follower:
    """Keeps one figure up to date from a thread that lives only while something changes.

    Whatever comes after a redraw began sets ``_changed`` again, so the last state is always drawn. The thread lets go
    of itself under the lock and only while nothing is waiting, so that no `_wake` falls between.
    """

    def __init__(self, source: GraphSource) -> None:
        self._source = source
        self._version = -1
        self.folding: Folding | None = None
        self.layout: Layout | None = None
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._first: go.Figure | None = _live(_drawn(self._now()))
        self._held = weakref.ref(self._first)
        self._end = source.subscribe(self._wake)

    def show(self) -> None:
        """Draw what happened between the first picture and the subscription."""
        self._wake()

    def figure(self) -> go.Figure:
        """The figure, once: from then on the caller alone keeps it alive."""
        figure, self._first = self._first, None
        return figure

    def _now(self) -> Still:
        version = self._source.version
        if version != self._version:
            structure = self._source.structure()
            folding = fold(structure, self.folding)
            self.layout = arrange(folding, self.layout)
            self.folding, self._version = folding, version
        return moment(self._source, self)

    def _wake(self) -> None:
        self._changed.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="tiledag-figure", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # the interpreter is shutting down
                    self._thread = None

    def _follow(self) -> None:
        while True:
            self._changed.wait(IDLE_S)
            with self._lock:
                if not self._changed.is_set() or self._held() is None:
                    self._thread = None
                    break
                self._changed.clear()
            try:
                self._redraw()
            except Exception:
                _log.exception("the plotly figure could not be updated")
            time.sleep(REDRAW_S)
        if self._held() is None:
            self._end()

    def _redraw(self) -> None:
        figure = self._held()
        if figure is not None:
            _redrawn(figure, self._now())


# --- marks --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Dot:
    x: float
    y: float
    size: float
    label: str
    hover: str


def _dots(now: Still) -> dict[Status, list[_Dot]]:
    """The marks of each status, in the order of the flow."""
    dots: dict[Status, list[_Dot]] = {status: [] for status in urgency()}
    for mark in now.flow:
        status = now.status(mark)
        dots[status].append(_dot(now, mark, status))
    return dots


def _dot(now: Still, mark: int, status: Status) -> _Dot:
    size = now.folding.size[mark]
    times = "" if now.folding.kind[mark] == "card" else f" ×{number(size)}"
    lines = [f"<b>{_literal(middle_cut(now.name(mark), 4 * NAME_WIDTH))}{times}</b>"]
    if times:
        lines.extend(f"{number(now.marks[mark][one])} {one}" for one in urgency() if now.marks[mark][one])
    else:
        lines.append(str(status))
    lines.append(_literal(detail(now, mark, 120)))
    return _Dot(
        float(now.layout.rank[mark]),
        -now.layout.slot[mark],
        26.0 if times else 17.0,
        _literal(middle_cut(now.name(mark), NAME_WIDTH)) + times,
        "<br>".join(line for line in lines if line),
    )


def _status_parts(dots: list[_Dot], is_named: bool) -> dict[str, list[Any]]:
    return {
        "x": [dot.x for dot in dots],
        "y": [dot.y for dot in dots],
        "text": [dot.label for dot in dots] if is_named else [],
        "hovertext": [dot.hover for dot in dots],
    }


def _status_trace(status: Status, dots: list[_Dot], is_named: bool) -> go.Scatter:
    import plotly.graph_objects as go

    look = looks()[status]
    colour = look.mark["light"]
    return go.Scatter(
        **_status_parts(dots, is_named),
        name=str(status),
        mode="markers+text" if is_named else "markers",
        textposition="bottom center",
        textfont={"size": 11, "color": accents("light")["text"]},
        hoverinfo="text",
        showlegend=bool(dots),
        marker={
            "symbol": _SYMBOLS[status],
            "color": colour,
            "size": [dot.size for dot in dots],
            "opacity": 1,
            "line": {"width": 2, "color": colour},
        },
    )


# --- edges --------------------------------------------------------------------------------------------------


def _edge_lines(now: Still) -> tuple[list[float | None], list[float | None]]:
    """Points of all edges, with a gap after each."""
    across: list[float | None] = []
    down: list[float | None] = []
    for x, y in _edge_points(now):
        across.append(x)
        down.append(y)
    return across, down


def _edge_points(now: Still) -> Iterator[tuple[float | None, float | None]]:
    rank, slot = now.layout.rank, now.layout.slot
    for parent, child, bends in zip(now.folding.source, now.folding.target, now.layout.bends, strict=True):
        yield float(rank[parent]), -slot[parent]
        for step, bend in enumerate(bends, 1):
            yield float(rank[parent] + step), -bend
        yield float(rank[child]), -slot[child]
        yield None, None


def _edge_parts(across: list[float | None], down: list[float | None]) -> dict[str, Any]:
    """An arrow at the last point of each edge, which is the one before a gap."""
    sizes = [9 if following is None else 0 for following in across[1:]]
    arrows = [*sizes, 0]
    # The distance to the mark is taken from the line too, so that it is zero at bends.
    return {"x": across, "y": down, "marker": {"size": arrows, "standoff": [12 if size else 0 for size in arrows]}}


def _edge_trace(now: Still) -> go.Scatter:
    import plotly.graph_objects as go

    parts = _edge_parts(*_edge_lines(now))
    colour = accents("light")["edge"]
    parts["marker"] |= {"symbol": "arrow", "angleref": "previous", "color": colour, "opacity": 1}
    return go.Scatter(
        **parts,
        name=_EDGES,
        mode="lines+markers",
        line={"width": 1.3, "color": colour},
        hoverinfo="skip",
        showlegend=False,
    )


# --- the page round it --------------------------------------------------------------------------------------


def _page(now: Still) -> dict[str, Any]:
    colours = accents("light")
    rows = 1 + max(now.layout.slot, default=0) - min(now.layout.slot, default=0)
    axis = {"visible": False, "fixedrange": False}
    page: dict[str, Any] = {
        "title": {"text": _heading(now), "font": {"size": 13}, "x": 0.01, "xanchor": "left"},
        "template": "plotly_white",
        "paper_bgcolor": colours["canvas"],
        "plot_bgcolor": colours["canvas"],
        "font": {"color": colours["text"], "family": "system-ui, sans-serif"},
        "margin": {"l": 20, "r": 20, "t": 44, "b": 20},
        "height": int(min(900, max(220, 110 + 62 * rows))),
        "dragmode": "pan",
        "hovermode": "closest",
        "legend": {"orientation": "h", "y": 0, "yanchor": "top", "x": 0},
        "xaxis": {**axis, "range": [-0.5, max(now.layout.rank, default=0) + 0.5]},
        "yaxis": {**axis, "range": [-max(now.layout.slot, default=0) - 0.8, -min(now.layout.slot, default=0) + 0.5]},
        "meta": alt_text(now),
    }
    if not len(now.structure):
        page["annotations"] = [
            {
                "text": _literal(say("no_nodes")),
                "showarrow": False,
                "xref": "paper",
                "yref": "paper",
                "x": 0.5,
                "y": 0.5,
            }
        ]
    return page


def _heading(now: Still) -> str:
    return _literal(summary_line(now)) if len(now.structure) else ""


def _literal(text: str) -> str:
    """The text so that plotly shows it as it is: no tags, no formulas between dollar signs."""
    return html.escape(text, quote=False).replace("$", "&#36;")
