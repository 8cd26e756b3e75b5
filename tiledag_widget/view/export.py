"""A graph as a file: HTML that needs nothing else, SVG, Mermaid, DOT or text.

**The HTML file** holds the view, the graph as it was, the tape of its run and what was known of its nodes. It makes no
request and runs offline: its content policy forbids everything but the script and the style that are in it, named by
their hashes. What a user named stands in it as JSON whose ``<`` are escaped, and reaches the page as text only.
Arguments and errors of nodes are in it as the inspector shows them; results are not.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from ..core.snapshot import GraphSource
from ..core.states import FAILED
from .details import errors_of, node_detail
from .opening import Opening, Openings, picture_message
from .picture import to_dot, to_html, to_mermaid
from .static_forms import moment
from .stills import shown
from .svg_form import to_svg
from .text_form import to_text

_log = logging.getLogger("tiledag_widget.view")

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
SUFFIXES: Final = {
    "html": (".html", ".htm"),
    "svg": (".svg",),
    "mermaid": (".mmd", ".mermaid"),
    "dot": (".dot", ".gv"),
    "text": (".txt",),
}
MOST_DETAILS: Final = 20_000
"""Nodes of which an HTML file keeps what the inspector shows; of a larger graph the failed ones come first."""
BLOCK: Final = 200
"""Nodes whose details are deflated together: the page opens a block when somebody looks at one of them."""

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{title}</title><style>{style}</style></head>
<body><main id="tiledag"></main><noscript>{static}</noscript>
<script type="application/json" id="tiledag-data">{data}</script>
<script>{script}</script></body></html>
"""
_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; "
    "script-src {script}; style-src {style}"
)


def export(source: GraphSource, path: str | os.PathLike[str]) -> Path:
    """Write the graph as it is now to ``path``, in the form that its suffix says.

    Raises:
        ValueError: No form has this suffix.
        OSError: The file cannot be written.
    """
    target = Path(path)
    form = form_of(target)
    target.write_text(made(source, form), encoding="utf-8")
    return target


def form_of(path: Path) -> str:
    """The name of the form that a suffix says."""
    suffix = path.suffix.lower()
    for form, suffixes in SUFFIXES.items():
        if suffix in suffixes:
            return form
    known = ", ".join(each for suffixes in SUFFIXES.values() for each in suffixes)
    hint = " PNG is drawn by the page: use Export in the menu of the view." if suffix == ".png" else ""
    raise ValueError(f"{str(path)!r} cannot be exported: no form has the suffix {suffix!r}; there are {known}.{hint}")


def file_name(title: str, form: str) -> str:
    """A name for a download that every file system takes.

    >>> file_name("runs/2024: <all>", "html")
    'runs-2024-all.html'
    """
    stem = re.sub(r"[^\w.-]+", "-", shown(title)).strip("-.")[:60] or "graph"
    return stem + SUFFIXES[form][0]


def made(source: GraphSource, form: str) -> str:
    """The text of an export."""
    if form == "html":
        return to_page(source)
    now = moment(source)
    if form == "text":
        return to_text(now) + "\n"
    return {"svg": to_svg, "mermaid": to_mermaid, "dot": to_dot}[form](now)


# --- the page -----------------------------------------------------------------------------------------------


def to_page(source: GraphSource) -> str:
    """The HTML file.

    Raises:
        FileNotFoundError: The front end has not been built.
    """
    opening = Openings(source).now()
    script, style = _static("page.js"), _static("page.css")
    policy = _POLICY.format(script=_hash(script), style=_hash(style))
    return _PAGE.format(
        policy=html.escape(policy, quote=True),
        title=html.escape(shown(source.title)),
        style=style,
        static=to_html(moment(source, opening.arranged)),
        data=_escaped(json.dumps(page_data(source, opening), allow_nan=False, separators=(",", ":"))),
        script=script,
    )


def page_data(source: GraphSource, opening: Opening) -> dict[str, Any]:
    """All that the page shows, as JSON; binary parts deflated, in base64."""
    now = time.time()
    (picture, buffers), records, _, _ = picture_message(opening, source, epoch=1, version="", now=now)
    return {
        "saved": now,
        "picture": picture,
        "buffers": [_text(part) for part in buffers],
        "columns": {
            "records": _text(zlib.compress(records)),
            "names": _text(opening.rest.names),
            "edges": _text(opening.rest.edges),
            "groups": _text(opening.rest.groups),
            "tape": _text(zlib.compress(source.tape().to_bytes())),
        },
        "errors": _text(zlib.compress(json.dumps(errors_of(source)).encode())),
        "block": BLOCK,
        "details": _details(source, len(opening.structure)),
    }


def _details(source: GraphSource, total: int) -> dict[str, str]:
    """Blocks of details by the number of the block: node -> `NodeDetail`, as JSON."""
    kept: Sequence[int] = range(total)
    if total > MOST_DETAILS:
        status = source.columns().status[:total]
        failed = [match.start() for match in re.finditer(b"%c" % FAILED, status)][:MOST_DETAILS]
        kept = sorted({*failed, *range(MOST_DETAILS - len(failed))})
    blocks: dict[int, dict[int, Any]] = {}
    for node, detail in _each_detail(source, kept):
        blocks.setdefault(node // BLOCK, {})[node] = detail
    return {str(number): _text(zlib.compress(json.dumps(block).encode())) for number, block in blocks.items()}


def _each_detail(source: GraphSource, nodes: Sequence[int]) -> Iterator[tuple[int, Any]]:
    for node in nodes:
        try:
            yield node, node_detail(source.node(node), source)
        except Exception:  # a user's own __repr__ may be behind it
            _log.debug("no details of node %d", node, exc_info=True)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _escaped(text: str) -> str:
    """JSON that ends no script and begins no comment, whatever a name holds."""
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


def _static(name: str) -> str:
    path = STATIC / name
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The front end has not been built: {path} is missing. In a clone run `make js`; an installed package "
            "brings it, so install it anew."
        ) from error
