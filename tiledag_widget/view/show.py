"""Which form ``DAG.visualize()`` gives: the widget, a plotly figure, or a static form. It never raises."""

from __future__ import annotations

import logging
import sys
from typing import Any

from ..core.snapshot import GraphSource
from .static_forms import mime_bundle, moment

_log = logging.getLogger("tiledag_widget.view")


class StaticPicture:
    """The graph as it was, for hosts that can show nothing else: HTML in a notebook, text elsewhere.

    Attributes:
        reason: Why it is not a live view, in words.
    """

    def __init__(self, source: GraphSource, reason: str = "") -> None:
        self._bundle = mime_bundle(source)
        self.reason = reason

    def __repr__(self) -> str:
        return self._bundle["text/plain"]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return dict(self._bundle)


def picture(source: GraphSource, known: Any, notebook: bool, auto_update: bool, force_plotly: bool) -> Any:
    """The form asked for, or the nearest that can be had.

    Args:
        source: The graph.
        known: The widget that shows it already, or None.
        notebook: False for a figure that stays as it is.
        auto_update: False for a view that stays still until it is asked.
        force_plotly: A plotly figure instead of the widget.
    """
    if not notebook or force_plotly:
        return _plotly(source, is_live=notebook, auto_update=auto_update)
    try:
        if known is not None and known.auto_update == auto_update and known.comm is not None:
            return known  # unless somebody closed it
        from .widget import GraphWidget

        widget = GraphWidget(source, auto_update=auto_update)
    except ImportError:
        return _plotly(source, is_live=True, auto_update=auto_update)
    except Exception as error:
        _log.warning("no live view: %s", error)
        return StaticPicture(source, str(error))
    _follow_on_terminal(source)
    return widget


def is_graph_widget(picture: Any) -> bool:
    """True for what `picture` may be given as ``known`` next time."""
    module = sys.modules.get(f"{__package__}.widget")
    return module is not None and isinstance(picture, module.GraphWidget)


def _plotly(source: GraphSource, is_live: bool, auto_update: bool) -> Any:
    try:
        from . import figure

        if is_live:
            return figure.live_figure(source, auto_update=auto_update)
        now = moment(source)
        return figure.make_figure(now.structure, now.columns, now.run, title=now.title, errors=now.errors)
    except ImportError as error:
        return StaticPicture(source, str(error))
    except Exception as error:
        _log.exception("no plotly figure")
        return StaticPicture(source, str(error))


def _follow_on_terminal(source: GraphSource) -> None:
    """In a script on a terminal nobody sees a widget: a line of text takes its place."""
    if "ipykernel" in sys.modules or not sys.stderr or not sys.stderr.isatty():
        return
    from .terminal import follow

    follow(source)
