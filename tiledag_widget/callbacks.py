"""Callbacks that users registered: called in order, and never able to harm the run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dag import DAG

_log = logging.getLogger("tiledag_widget.run")


class Callbacks:
    """Calls what users registered. Everything happens on the driver's callback thread, in order.

    Each callback carries the serial number of the last report that came before it: it was registered after that.
    """

    def __init__(
        self,
        dag: DAG,
        done: Callable[[DAG], object] | None,
        update: Callable[[DAG], object] | None,
    ) -> None:
        self.dag = dag
        self.done: tuple[tuple[Callable[[DAG], object], int], ...] = ((done, 0),) if callable(done) else ()
        self.update: tuple[tuple[Callable[[DAG], object], int], ...] = ((update, 0),) if callable(update) else ()

    def node_changed(self, node: int, serial: int) -> None:
        for callback, since in self.update:
            if serial > since:
                call_callback(callback, self.dag, "update callback")

    def graph_ended(self, serial: int) -> None:
        for callback, since in self.done:
            if serial > since:
                call_callback(callback, self.dag, "done callback of a graph")
        if self.dag._remote is not None:
            self.dag._remote.graph_ended()

    def node_ended(self, node: int, serial: int) -> None:
        if self.dag._remote is not None:
            self.dag._remote.node_ended(node)
        subject = self.dag._nodes[node]
        for callback, since in subject._callbacks:
            if serial > since:
                call_callback(callback, subject, "done callback of a node")


def call_callback(fn: Callable[[Any], object], argument: Any, kind: str) -> None:
    """Call user code that must not harm the run: what it raises is logged and warned of."""
    try:
        fn(argument)
    except BaseException as error:
        try:
            _report(fn, error, kind)
        except BaseException:  # a handler, a filter or `showwarning` of the user's raised in turn, or warnings are
            pass  # errors here. Whoever called us delivers for the whole graph and must not end.


def _report(fn: object, error: BaseException, kind: str) -> None:
    name = _text_of(lambda: str(getattr(fn, "__qualname__", None) or repr(fn)), type(fn).__name__)
    told = f"{type(error).__name__}: {_text_of(lambda: str(error), '<its text cannot be had>')}"
    try:
        _log.error("%s %s raised %s", kind, name, told, exc_info=error)
    finally:
        warnings.warn(f"{kind} {name} raised {told}", UserWarning, stacklevel=4)


def _text_of(make: Callable[[], str], otherwise: str) -> str:
    try:
        return make()
    except BaseException:
        return otherwise
