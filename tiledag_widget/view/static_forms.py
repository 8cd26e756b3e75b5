"""The static forms of a graph at this moment, by mime type: what a host without widgets shows."""

from __future__ import annotations

from typing import Any

from ..core.snapshot import GraphSource
from ..core.states import FAILED
from .picture import to_html
from .stills import Still, end_cut, still
from .text_form import to_text

MOST_ERRORS = 300
"""Failed nodes whose error is told; the forms show fewer, but group them."""
ERROR_CHARACTERS = 300


def moment(source: GraphSource, arranged: Any = None) -> Still:
    """The graph as it is now. ``arranged`` saves folding and layout where a view has done them."""
    structure = source.structure()
    columns = source.columns()
    return still(
        source.title,
        structure,
        columns,
        source.run(),
        _errors(source, columns.status),
        folding=getattr(arranged, "folding", None),
        layout=getattr(arranged, "layout", None),
    )


def mime_bundle(source: GraphSource, arranged: Any = None) -> dict[str, str]:
    """``text/html`` and ``text/plain``."""
    now = moment(source, arranged)
    return {"text/html": to_html(now), "text/plain": to_text(now)}


def _errors(source: GraphSource, status: bytes) -> dict[int, str]:
    texts: dict[int, str] = {}
    node = status.find(FAILED)
    while node >= 0 and len(texts) < MOST_ERRORS:
        error = source.node(node).error
        if error is not None:
            texts[node] = _one_line(error)
        node = status.find(FAILED, node + 1)
    return texts


def _one_line(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:  # a user's own __str__
        text = ""
    name = type(error).__name__
    return end_cut(" ".join(f"{name}: {text}".split()) if text else name, ERROR_CHARACTERS)
