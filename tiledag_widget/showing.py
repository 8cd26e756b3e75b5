"""`Showing`: a graph as others see it. Pictures, files, what a filter finds, and the forms of other libraries."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .node import Node

if TYPE_CHECKING:
    import networkx

    from .core.snapshot import GraphSource
    from .dag import DAG
    from .run.driver import Driver


class Showing:
    """What `DAG` does to be seen."""

    visualization: dict[str, Any] | None
    _driver: Driver
    _nodes: list[Node[Any]]
    _source: GraphSource | None
    _widgets: dict[bool, Any]

    def networkx_graph(self) -> networkx.DiGraph[str]:
        """The graph for networkx: nodes are id texts with a ``label``, edges go from parent to child."""
        import networkx

        picture: networkx.DiGraph[str] = networkx.DiGraph()
        nodes = list(self._nodes)
        for node in nodes:
            picture.add_node(str(node.id), label=node.name)
        for parent, children in enumerate(self._driver.machine.graph.children[: len(nodes)]):
            for child in children:
                picture.add_edge(str(nodes[parent].id), str(nodes[child].id))
        return picture

    def get_tiledb_plot_node_details(self) -> dict[str, dict[str, str]]:
        """Id text -> ``{"name": ..., "status": str(Status)}`` of every node."""
        return {str(node.id): {"name": node.name, "status": str(node.status)} for node in list(self._nodes)}

    def find(self, text: str) -> list[Node[Any]]:
        """Nodes that a filter means, in the order in which they were added.

        It is the language of the view's search field: ``status:failed node:resize* duration>1.5s attempt:2``,
        ``slowest:5``, ``+merge`` (with its ancestors), ``merge+`` (with its descendants), ``-status:completed``. All
        terms must hold; a plain word is a part of a name. Safe from any thread.

        Raises:
            ValueError: The filter cannot be understood; the message says where and why.

        >>> from tiledag_widget import DAG
        >>> dag = DAG()
        >>> _ = [dag.submit_local(abs, -number, name=f"abs-{number}") for number in range(12)]
        >>> [node.name for node in dag.find("abs-1*")]
        ['abs-1', 'abs-10', 'abs-11']
        """
        from .view.details import error_text
        from .view.filter import Facts, match

        source = self._as_source()
        columns, run, nodes = source.columns(), source.run(), self._nodes

        def error(index: int) -> str:
            failure = nodes[index]._error
            return "" if failure is None else error_text(failure)

        def before(index: int) -> float:
            if columns.attempt[index] < 2:
                return math.nan
            past = [each.ended for each in source.node(index).attempts if each.number == columns.attempt[index] - 1]
            return past[0] if past else math.nan

        zero = run.started if run.started == run.started else 0.0
        facts = Facts(source.structure(), columns, zero, time.time(), error, before)
        return [nodes[index] for index in match(text, facts)]

    def visualize(self, notebook: bool = True, auto_update: bool = True, force_plotly: bool = False) -> Any:
        """The graph as a live picture.

        Args:
            notebook: False gives a plotly ``Figure`` that stays as it is.
            auto_update: False leaves the picture still until it is asked to refresh.
            force_plotly: A plotly ``FigureWidget`` instead of the widget.

        Returns:
            The widget (the same one each time), a plotly figure, or where neither can be had a static form. Never
            raises.
        """
        from .view import show

        picture = show.picture(
            self._as_source(), self._widgets.get(bool(auto_update)), notebook, bool(auto_update), force_plotly
        )
        if show.is_graph_widget(picture):
            self._widgets[bool(auto_update)] = picture
        self.visualization = {"fig": picture}
        return picture

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Writes the graph as it is now to a file, in the form that the suffix of ``path`` says; returns the path.

        ``.html`` is a page of its own that needs no server, no network and no Python: the view with its inspector,
        timeline, list and a replay of the run. It holds names, arguments and errors as the view shows them, no
        results. ``.svg`` is the picture, ``.mmd`` Mermaid, ``.dot`` Graphviz, ``.txt`` text.

        Raises:
            ValueError: No form has this suffix.
            OSError: The file cannot be written.
        """
        from .view.export import export

        return export(self._as_source(), path)

    def _as_source(self) -> GraphSource:
        if self._source is None:
            from .source import DagSource

            self._source = DagSource(cast("DAG", self))
        return self._source

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        from .view.static_forms import mime_bundle

        return mime_bundle(self._as_source())
