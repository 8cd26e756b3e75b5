"""What the kernel of `benchmarks.view` runs: one graph, one event log, one player for each kind of view.

A log is a list of ``(seconds, node, status)``. A player shows the graph and applies the log in time: whatever is due
is applied at once, and where a view cannot take single changes as fast as they come, what is due goes out as one
(which those views' own callers do not do for them).
"""

from __future__ import annotations

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from IPython.display import display

from tiledag_widget.core.states import AddNode, Began, Finished, Retry, Start
from tiledag_widget.view.widget import GraphWidget

NOT_STARTED, RUNNING, COMPLETED = 1, 2, 3
WORDS = {NOT_STARTED: "not-started", RUNNING: "running", COMPLETED: "completed"}
COLOURS = {NOT_STARTED: "black", RUNNING: "blue", COMPLETED: "green"}
EVERY = -1
"""Instead of a node: all of them."""
Log = list[tuple[float, int, int]]


def layered(total: int, width: int = 50, seed: int = 7) -> list[tuple[int, ...]]:
    """Parents of each node: rows of ``width``, three parents from the row above."""
    draw = random.Random(seed)
    return [
        tuple(draw.sample(range(node // width * width - width, node // width * width), 3)) if node >= width else ()
        for node in range(total)
    ]


def log_of(total: int, rate: float, most: int) -> Log:
    """Nodes run one after the other, ``rate`` changes a second, ``most`` changes at most."""
    changes = min(2 * total, most)
    return [(number / rate, number // 2, COMPLETED if number % 2 else RUNNING) for number in range(changes)]


def rounds_of(total: int, rate: float, seconds: float, done: int) -> Log:
    """The nodes from ``done`` on, then over and over: all are not started again (``total`` changes at once) and run."""
    changes = [(node, status) for node in range(done, total) for status in (RUNNING, COMPLETED)]
    log: Log = [(number / rate, node, status) for number, (node, status) in enumerate(changes)]
    at = len(changes) / rate
    while at < seconds:
        log.append((at, EVERY, NOT_STARTED))
        at += total / rate
        log.extend((at + when, node, status) for when, node, status in log_of(total, rate, 2 * total))
        at += 2 * total / rate
    return [change for change in log if change[0] < seconds]


class Player(ABC):
    """A graph in one kind of view."""

    least_gap = 0.0
    """Seconds between two sends; 0 sends each change by itself."""

    def __init__(self, total: int) -> None:
        self.parents = layered(total)
        self.status = [NOT_STARTED] * total
        self.thread: threading.Thread | None = None
        self.places = [(float(node // 50) * 120, float(node % 50) * 50) for node in range(total)]

    @abstractmethod
    def show(self) -> None:
        """Display it."""

    @abstractmethod
    def send(self, changes: Log) -> None:
        """Bring the view up to date."""

    def edges(self) -> Iterator[tuple[int, int]]:
        return ((parent, child) for child, parents in enumerate(self.parents) for parent in parents)

    def play(self, log: Log, seconds: float) -> None:
        """Apply the log in the background and print when its zero was; ends after ``seconds`` however far it came."""
        if self.thread is not None:
            self.thread.join()
        self.zero = time.time() + 0.2
        print(json.dumps({"zero": self.zero}))
        self.thread = threading.Thread(target=self._run, args=(log, seconds), daemon=True)
        self.thread.start()

    def _run(self, log: Log, seconds: float) -> None:
        at = 0
        while at < len(log) and time.time() < self.zero + seconds:
            time.sleep(max(self.least_gap, self.zero + log[at][0] - time.time(), 0))
            first, due = at, time.time() - self.zero
            while at < len(log) and log[at][0] <= due:
                at += 1
            for _, node, status in log[first:at]:
                if node == EVERY:
                    self.status[:] = [status] * len(self.status)
                else:
                    self.status[node] = status
            if at > first:
                self.send(log[first:at])
        self.reached = at


class Ours(Player):
    """The live view over a state machine, told of each change as the engine does."""

    def __init__(self, total: int) -> None:
        from tests.view.fake_source import FakeSource

        super().__init__(total)
        self.source = FakeSource(f"bench-{total}", names=[f"task-{node}" for node in range(total)])
        for parents in self.parents:
            self.source.machine.handle(AddNode(parents))
        self.source.version += total
        self.roots = tuple(node for node, parents in enumerate(self.parents) if not parents)

    def show(self) -> None:
        self.widget = GraphWidget(self.source)
        display(self.widget)

    def send(self, changes: Log) -> None:
        if not self.source.machine.is_started:
            self.source.handle(Start(self.zero))
        attempt = self.source.machine.attempt
        for seconds, node, status in changes:
            at = self.zero + seconds
            if node == EVERY:
                self.source.handle(Retry(self.roots, True, at))
            elif status == RUNNING:
                self.source.handle(Began(node, attempt[node], at, 0))
            else:
                self.source.handle(Finished(node, attempt[node], at))


class PlotWidget(Player):
    """TileDB's plot widget, fed as `tiledb.cloud.dag` feeds it: the whole graph as JSON."""

    def _data(self) -> str:
        names = [str(node) for node in range(len(self.status))]
        return json.dumps(
            {
                "nodes": names,
                "edges": [(names[parent], names[child]) for parent, child in self.edges()],
                "node_details": {
                    name: {"name": f"task-{name}", "status": WORDS[self.status[int(name)]].replace("-", " ").title()}
                    for name in names
                },
                "positions": {name: list(place) for name, place in zip(names, self.places, strict=True)},
            }
        )

    def show(self) -> None:
        from tiledb.plot.widget import Visualize

        self.widget = Visualize(data=self._data())
        display(self.widget)

    def send(self, changes: Log) -> None:
        self.widget.setData(self._data())


class Cytoscape(Player):
    """ipycytoscape with given places: a class a status."""

    def show(self) -> None:
        import ipycytoscape

        self.widget = ipycytoscape.CytoscapeWidget()
        self.widget.graph.add_graph_from_json(
            {
                "nodes": [
                    {"data": {"id": str(node)}, "position": {"x": x, "y": y}, "classes": "not-started"}
                    for node, (x, y) in enumerate(self.places)
                ],
                "edges": [{"data": {"source": str(a), "target": str(b)}} for a, b in self.edges()],
            },
            directed=True,
        )
        self.widget.set_layout(name="preset")
        self.widget.set_style(
            [{"selector": f".{word}", "style": {"background-color": COLOURS[code]}} for code, word in WORDS.items()]
        )
        display(self.widget)

    def send(self, changes: Log) -> None:
        nodes = self.widget.graph.nodes
        for _, node, status in changes:
            for each in nodes if node == EVERY else [nodes[node]]:
                each.classes = WORDS[status]


class Figure(Player):
    """Plotly's FigureWidget as `tiledb.cloud.dag` makes it: a trace of edges, one of markers."""

    least_gap = 0.1

    def show(self) -> None:
        import plotly.graph_objects as go

        lines: tuple[list[float | None], list[float | None]] = ([], [])
        for parent, child in self.edges():
            for axis in (0, 1):
                lines[axis].extend((self.places[parent][axis], self.places[child][axis], None))
        self.widget = go.FigureWidget(
            [
                go.Scatter(x=lines[0], y=lines[1], mode="lines", hoverinfo="none"),
                go.Scatter(
                    x=[x for x, _ in self.places],
                    y=[y for _, y in self.places],
                    mode="markers",
                    marker={"color": self._colours(), "size": 15},
                ),
            ],
            {"width": 1300, "height": 480, "showlegend": False},
        )
        display(self.widget)

    def _colours(self) -> list[str]:
        return [COLOURS[status] for status in self.status]

    def send(self, changes: Log) -> None:
        self.widget.update_traces(marker={"color": self._colours()}, selector={"mode": "markers"})


PLAYERS: dict[str, Any] = {
    "tiledag_widget": Ours,
    "tiledb-plot-widget": PlotWidget,
    "ipycytoscape": Cytoscape,
    "plotly FigureWidget": Figure,
}
