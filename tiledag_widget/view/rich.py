"""A result as its class would have a notebook show it: HTML, or a picture. Made when somebody asks for it.

**Guarantees.** `has_rich` calls no code of the user's. `rich` does, and is for the preview thread of a view only: what
it raises is told in words, and what takes for ever costs that thread's patience, as a ``repr`` does. Nothing here
trusts what comes back: the page shows it in a frame that may run nothing and ask for nothing
(``js/src/views/rich.ts``).
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from .brief import byte_words, describe, type_name
from .messages import RichPreview

MOST_BYTES: Final = 500_000
METHODS: Final[dict[str, str]] = {
    "_repr_html_": "text/html",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
}
"""In the order in which they are tried. What is not here is not shown: no scripts, no LaTeX, no JSON."""
_STARTS: Final[dict[str, bytes]] = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8"}


def has_rich(value: object) -> bool:
    """True if the class has one of `METHODS`. Looks, calls nothing."""
    return any(name in vars(cls) for cls in type(value).__mro__ for name in METHODS)


def rich(value: object) -> tuple[RichPreview, bytes]:
    """The head of the answer to ``rich``, and the bytes that it is about. Calls the user's code.

    Raises:
        BaseException: Nothing; what the user's code raises is the note.
    """
    note = ""
    for method, kind in METHODS.items():
        if not any(method in vars(cls) for cls in type(value).__mro__):
            continue
        try:
            data = _bytes_of(getattr(value, method)(), kind)
        except BaseException as error:
            note = f"{type_name(value)}.{method} raised {type(error).__name__}"
            continue
        if data is None:  # as much as to say: not now
            continue
        if not data:
            note = note or f"{type_name(value)}.{method} gave nothing that can be shown"
            continue
        if len(data) > MOST_BYTES:
            note = f"The rich preview has {byte_words(len(data))}, and at most {byte_words(MOST_BYTES)} are shown."
            continue
        return _head(value, kind, ""), data
    return _head(value, "", note or f"{type_name(value)} has no rich form"), b""


def _head(value: object, kind: str, note: str) -> RichPreview:
    return {"type": type_name(value), "size": describe(value), "kind": kind, "note": note, "number": 0}


def _bytes_of(made: Any, kind: str) -> bytes | None:
    """What a method gave, as bytes of that kind: None for nothing, empty for what is no such thing."""
    if type(made) is tuple and len(made) == 2:  # with metadata, as IPython allows
        made = made[0]
    if made is None:
        return None
    if kind in ("text/html", "image/svg+xml"):
        return str.encode(made, "utf-8", "replace") if isinstance(made, str) else b""
    if isinstance(made, str):
        try:
            made = base64.b64decode(made, validate=False)
        except (ValueError, binascii.Error):
            return b""
    if not isinstance(made, (bytes, bytearray, memoryview)):
        return b""
    data = bytes(made)
    return data if data.startswith(_STARTS[kind]) else b""
