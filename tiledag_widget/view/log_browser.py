"""`LogBrowser`: the runs that a server has on record, as a list; one that is opened is the same view as any graph's.

The list and the opened run share one model, so the front end is in the page once, and opening a run sends no code.
Where runs come from is not known here: `Runs` is the whole interface. Import this module late: it brings ipywidgets.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

try:
    import traitlets

    from .widget import LAYOUT_WORKER, PageModel, package_version
except ImportError as error:
    raise ImportError(
        "The log browser needs anywidget and ipywidgets: pip install anywidget. "
        "Without them tiledag_widget.browse_logs() gives a table."
    ) from error

from ..core.snapshot import GraphSource
from .code import code_messages
from .control import Desk
from .feed import Feed
from .opening import Openings
from .publisher import PUBLISHER
from .runs_table import Found, Query, runs_html, runs_text
from .worker import PATIENCE_S, Worker

_log = logging.getLogger("tiledag_widget.view")


class Runs(Protocol):
    """Who knows of runs. Calls are made on the browser's own thread and may take their time."""

    def find(self, query: Query) -> Found:
        """A page of runs, newest first. Raises what is said to the person."""

    def open(self, uuid: str, namespace: str) -> GraphSource:
        """One of them as a graph. Raises what is said to the person."""


@dataclass(slots=True)
class _Opened:
    source: GraphSource
    feed: Feed
    desk: Desk


class LogBrowser(PageModel):
    """Runs on record. Methods are safe from any thread.

    Args:
        runs: Where they are.
        query: What the list shows first.

    Raises:
        FileNotFoundError: The front end has not been built.
    """

    kind = traitlets.Unicode("runs", read_only=True).tag(sync=True)

    def __init__(self, runs: Runs, query: Query) -> None:
        self._runs = runs
        self._query = query
        self._worker = Worker("tiledag-runs", patience=PATIENCE_S)
        self._opened: _Opened | None = None
        super().__init__()

    def _handle_custom_msg(self, content: object, buffers: object) -> None:
        """A page's request, on whatever thread the kernel chose."""
        kind = str(content.get("kind", "")) if isinstance(content, dict) else ""
        if isinstance(content, dict) and kind.startswith("runs_"):
            asked = dict(content)
            self._worker.submit(lambda: self._answer(asked))
        elif isinstance(content, dict) and kind == "code" and self._opened is None:
            for message, buffers in code_messages(str(content.get("id"))):
                self.send(message, buffers)
        elif self._opened is not None:
            self._opened.desk.take(content)

    def _answer(self, asked: Mapping[str, Any]) -> None:
        reply: dict[str, Any] = {"type": "runs", "id": asked.get("id"), "error": "", "found": None, "graph_id": ""}
        try:
            kind = asked.get("kind")
            if kind == "runs_list":
                self._query = Query.of(asked, self._query)
                found = self._runs.find(self._query).to_message()
                reply["found"] = {**found, "query": self._query.to_message()}
            elif kind == "runs_open":
                reply["graph_id"] = self._open(str(asked.get("uuid")), str(asked.get("namespace")))
            elif kind == "runs_close":
                self._shut()
        except Exception as error:
            _log.debug("the log browser was refused", exc_info=True)
            reply["error"] = f"{error}" or type(error).__name__
        self.send(reply)

    def _open(self, uuid: str, namespace: str) -> str:
        source = self._runs.open(uuid, namespace)
        self._shut()
        feed = Feed(
            source,
            Openings(source),
            self.send,
            wake=PUBLISHER.wake,
            build=LAYOUT_WORKER.submit,
            version=package_version(),
        )
        self._opened = _Opened(source, feed, Desk(source, feed, log=feed.log))
        self.set_trait("title", source.title)
        self.set_trait("graph_id", source.graph_id)
        return source.graph_id

    def _shut(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.feed.close()
            self.set_trait("graph_id", "")

    def close(self) -> None:
        """End the view for good."""
        self._shut()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        forms = static_forms(lambda: self._runs.find(self._query))
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, **forms}, metadata

    def __repr__(self) -> str:
        return "<LogBrowser>"


def static_forms(find: Callable[[], Found]) -> dict[str, str]:
    """The list as it is now, for hosts without widgets; why there is none, in words, rather than an exception."""
    try:
        found = find()
    except Exception as error:
        words = f"The runs could not be listed: {error}"
        return {"text/plain": words, "text/html": f"<p>{html.escape(words)}</p>"}
    return {"text/plain": runs_text(found), "text/html": runs_html(found)}
