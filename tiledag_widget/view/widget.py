"""`GraphWidget`: the live view of one graph, as an anywidget.

One model per graph, however often it is shown. Its traits are a few words; everything else goes by messages, since
traits are saved into notebooks and sent again on every reload. One thing more is written into the model, once: the
first picture, so that it need not be asked for before it is drawn. It goes along when the model is made, or, where the
graph is so large that this would take its time, ahead of the output that shows it: the page loads our code meanwhile.
Import this module late: it brings ipywidgets.

**The stored output** carries the widget, and for hosts without widgets the static forms of the moment when it was
shown. They are not replaced when the run ends: tried in JupyterLab 4.6.6 with ipykernel 7.4.0, 7.3.0 and 6.31.0,
``update_display`` with the same model makes a second view in the place of the first, without ending that one, and
what was typed, focused or scrolled in it is gone. Displaying again stores the forms of that moment.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any, Final

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError(
        "The live view needs anywidget and ipywidgets: pip install anywidget. "
        "Without them a graph shows its static form."
    ) from error

from ..core.snapshot import GraphSource
from .code import first_part
from .control import Desk, keep_asked_route, register_control
from .feed import Feed
from .messages import ARRANGING_S, PROTOCOL
from .opening import SMALL_NODES, Arrange, Arranged, Opening, Openings, fold_and_layout, picture_message
from .publisher import PUBLISHER, Publisher
from .static_forms import mime_bundle
from .worker import Worker

_log = logging.getLogger("tiledag_widget.view")

LAYOUT_WORKER: Final = Worker("tiledag-layout")
PACK_WORKER: Final = Worker("tiledag-columns")

Forms = Callable[[GraphSource, Arranged], Mapping[str, str]]
"""Static forms by mime type."""


class PageModel(anywidget.AnyWidget):
    """A model that the page has of us: it brings the front end along, and takes all it opened with it when it ends.

    Raises:
        FileNotFoundError: The front end has not been built.
    """

    _esm = traitlets.Unicode("").tag(sync=True)
    _css = traitlets.Unicode("").tag(sync=True)
    protocol = traitlets.Int(PROTOCOL, read_only=True).tag(sync=True)
    graph_id = traitlets.Unicode("", read_only=True).tag(sync=True)
    title = traitlets.Unicode("", read_only=True).tag(sync=True)
    auto_update = traitlets.Bool(True, read_only=True).tag(sync=True)

    def __init__(self) -> None:
        super().__init__(**first_part())
        keep_asked_route(self.comm)
        register_control(kernel_now())

    def close(self) -> None:
        """End it for good: its pages say that they are detached."""
        layout = self.layout
        super().close()
        if layout is not None:
            layout.close()  # a model of its own, which ipywidgets forgets: one comm more for each view ever shown


class GraphWidget(PageModel):
    """The live view of one graph. Methods are safe from any thread.

    Args:
        source: The graph.
        auto_update: False for a view that shows the graph as it is when it opens, and again on `refresh` or the
            page's own button.
        forms: Makes the static forms, ``text/html`` and ``text/plain``.

    Raises:
        FileNotFoundError: The front end has not been built.
    """

    _text = ""

    def __init__(
        self,
        source: GraphSource,
        *,
        auto_update: bool = True,
        arrange: Arrange = fold_and_layout,
        forms: Forms | None = None,
        publisher: Publisher = PUBLISHER,
        layout_worker: Worker = LAYOUT_WORKER,
    ) -> None:
        self._source = source
        self._forms = forms or mime_bundle
        self._openings = Openings(source, arrange)
        self._build = layout_worker.submit
        self._feed = Feed(
            source,
            self._openings,
            self.send,
            wake=publisher.wake,
            build=self._build,
            pack=PACK_WORKER.submit,
            version=package_version(),
            is_still=not auto_update,
        )
        self._desk = Desk(source, self._feed, log=self._feed.log)
        for name, value in (("graph_id", source.graph_id), ("title", source.title), ("auto_update", auto_update)):
            self.set_trait(name, value)
        total = sum(source.run().counts)
        self._is_first_due = total > SMALL_NODES
        self._first = self._first_picture() if 0 < total <= SMALL_NODES else None
        super().__init__()

    def _bring_first(self) -> None:
        """Write the first picture of a large graph into the model, when it is first shown; not where a page, which has
        found the model by another way, has asked for it."""
        if not self._is_first_due or self._feed.is_opened:
            return
        self._is_first_due = False
        self._first = self._first_picture()
        if self._first is not None:
            self.send_state("first")
            self._feed.spend()

    def _opening(self) -> Opening:
        """The graph arranged; where that takes longer than `ARRANGING_S`, what stands in its place, for a cell must
        not wait for it."""
        kept = self._openings.kept()
        if kept is not None and kept.version == self._source.version:
            return kept
        made: Future[Opening] = Future()

        def make() -> None:
            try:
                made.set_result(self._openings.now())
            except BaseException as error:
                made.set_exception(error)

        self._build(make)
        try:
            return made.result(ARRANGING_S)
        except TookTooLong:
            return self._openings.stand_in()

    def _first_picture(self) -> dict[str, Any] | None:
        """What `Feed` will send when the page asks, of an epoch before all of its own."""
        try:
            (content, buffers), *_ = picture_message(
                self._opening(), self._source, epoch=0, version=package_version(), now=time.time()
            )
        except Exception:
            _log.exception("the first picture could not be made")
            return None
        return {"content": content, "buffers": buffers}

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The traits; and once, when the model is made or when it is asked for, the first picture."""
        is_asked = key == "first"
        state: dict[str, Any] = {} if is_asked else super().get_state(key, drop_defaults)
        if key is not None and not is_asked:
            return state
        first, self._first = self._first, None
        return state if first is None else {**state, "first": first}

    def _handle_custom_msg(self, content: object, buffers: object) -> None:
        """A page's request, on whatever thread the kernel chose."""
        self._desk.take(content)

    def refresh(self) -> None:
        """Bring a still view up to date."""
        self._feed.refresh()

    def close(self) -> None:
        """End the view for good: its pages say that they are detached."""
        self._feed.close()
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        self._bring_first()
        forms = self.forms()
        self._text = forms.get("text/plain", "")  # anywidget asks for the repr, which need not be made twice
        try:
            bundle = super()._repr_mimebundle_(**kwargs)
        finally:
            self._text = ""
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, **forms}, metadata

    def __repr__(self) -> str:
        return self._text or self.forms().get("text/plain") or object.__repr__(self)

    def forms(self) -> Mapping[str, str]:
        """The static forms of this moment; none rather than an exception."""
        try:
            return self._forms(self._source, self._opening().arranged)
        except Exception:
            _log.exception("the static forms could not be made")
            return {}


@cache
def package_version() -> str:
    try:
        return version_of("tiledag-widget")
    except PackageNotFoundError:
        return "0"


def kernel_now() -> Any:
    """The ipykernel that this code runs in, or None."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return getattr(get_ipython(), "kernel", None)
