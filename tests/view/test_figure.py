"""The plotly figure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.view.graphs import NodeRow, chain, columns, diamond, fan, run_of, structure
from tiledag_widget.core.states import Status
from tiledag_widget.view.fold import fold
from tiledag_widget.view.layout import arrange
from tiledag_widget.view.palette import looks

pytest.importorskip("plotly")

from tiledag_widget.view.figure import live_figure, make_figure, make_live_figure, update_figure

SHAPES: dict[str, list[NodeRow]] = {
    "one": [("a", "a", ())],
    "chain": chain(5),
    "diamond": diamond(),
    "forest": [("a", "a", ()), ("b", "b", (0,)), ("c", "c", ()), ("d", "d", (2,))],
    "roots joining": [("a", "a", ()), ("b", "b", ()), ("c", "c", (0, 1))],
}


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def points(trace: Any) -> int:
    return len(trace.x or ())


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_drawn(shape: str) -> None:
    """The reference fails on one node, a chain, two roots that join, a diamond and a forest."""
    made = SHAPES[shape]

    drawn = traces(make_figure(structure(made), columns([3] * len(made)), run_of([3] * len(made), is_ended=True)))

    assert sorted(drawn["Completed"].text) == sorted(name for name, _, _ in made)
    places = set(zip(drawn["Completed"].x, drawn["Completed"].y, strict=True))
    assert len(places) == len(made)
    assert list(drawn["edges"].x or ()).count(None) == sum(len(above) for _, _, above in made)


def test_no_nodes_is_a_figure_too() -> None:
    """The reference fails here as well."""
    figure = make_figure(structure([]), columns([]), run_of([], is_started=False))

    assert "No nodes yet" in figure.layout.annotations[0].text


def test_every_status_has_its_colour_and_its_nodes() -> None:
    """The reference has no colour for Parent Failed, and shifts all that follow."""
    made: list[NodeRow] = [(f"node {status}", f"f{status}", ()) for status in Status]
    codes = [status.value for status in Status]

    drawn = traces(make_figure(structure(made), columns(codes), run_of(codes)))

    for status in Status:
        trace = drawn[str(status)]
        assert list(trace.text) == [f"node {status}"]
        assert trace.marker.color == looks()[status].mark["light"]
        assert trace.showlegend
    assert len({trace.marker.symbol for name, trace in drawn.items() if name != "edges"}) == 6


def test_a_name_is_text() -> None:
    """plotly reads tags, entities and formulas in every text it shows."""
    made: list[NodeRow] = [("<b>x</b> & $y^2$", "f", ())]

    drawn = traces(make_figure(structure(made), columns([3]), run_of([3], is_ended=True), title="<i>t</i>"))

    assert drawn["Completed"].text[0] == "&lt;b&gt;x&lt;/b&gt; &amp; &#36;y^2&#36;"
    assert "&lt;b&gt;x" in drawn["Completed"].hovertext[0]
    assert "<i>" not in make_figure(structure(made), columns([3]), run_of([3]), title="<i>t</i>").layout.title.text


def test_many_nodes_are_drawn_as_stacks() -> None:
    """A thousand markers would say nothing."""
    codes = [3] * 1002

    drawn = traces(make_figure(structure(fan(1000)), columns(codes), run_of(codes, is_ended=True)))

    assert list(drawn["Completed"].text) == ["list", "resize ×1,000", "merge"]


def test_an_update_changes_what_changed_and_nothing_else() -> None:
    """A figure that sends itself whole at every change chokes the page."""
    graph = structure(diamond())
    folding = fold(graph)
    layout = arrange(folding)
    figure = make_live_figure(graph, columns([1] * 4), run_of([1] * 4), folding=folding, layout=layout)
    edges = traces(figure)["edges"].x

    def update(codes: list[int]) -> int:
        return update_figure(figure, graph, columns(codes), run_of(codes), folding=folding, layout=layout)

    assert update([1] * 4) == 0
    assert update([3, 1, 1, 1]) == 2
    assert list(traces(figure)["Completed"].text) == ["a"]
    assert points(traces(figure)["Not Started"]) == 3
    assert update([3, 4, 3, 6]) == 4
    assert not traces(figure)["Not Started"].showlegend
    assert traces(figure)["edges"].x == edges
    assert update([3, 4, 3, 6]) == 0


class Source:
    """A graph whose nodes change when the test says so."""

    graph_id = "g"
    reference = "dag"
    title = "graph"
    version = 1

    def __init__(self) -> None:
        self.codes = [1] * 4
        self.listeners: list[Callable[[], None]] = []

    def structure(self) -> Any:
        return structure(diamond())

    def columns(self) -> Any:
        return columns(self.codes)

    def run(self) -> Any:
        return run_of(self.codes)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def become(self, codes: list[int]) -> None:
        self.codes = codes
        for listener in list(self.listeners):
            listener()


@pytest.mark.slow
def test_a_live_figure_follows_to_the_last_state_and_its_thread_ends() -> None:
    """The last change is the one that matters, and a graph at rest holds no thread."""
    source = Source()
    figure = live_figure(source)  # type: ignore[arg-type]

    for codes in ([2, 1, 1, 1], [3, 2, 2, 1], [3, 3, 3, 2], [3, 3, 3, 3]):
        source.become(codes)

    for thread in threading.enumerate():
        if thread.name == "tiledag-figure":
            thread.join(10)
    assert points(traces(figure)["Completed"]) == 4
    assert not any(thread.name == "tiledag-figure" for thread in threading.enumerate())


def test_a_still_figure_does_not_listen() -> None:
    """``auto_update=False`` means what it says."""
    source = Source()

    live_figure(source, auto_update=False)  # type: ignore[arg-type]

    assert source.listeners == []
