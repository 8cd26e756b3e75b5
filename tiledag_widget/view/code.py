"""The front end's code: what comes with a widget, and what its page asks for later.

The first part (``widget.js`` and ``widget.css``) is the widget's own ``_esm`` and ``_css``. The second part
(``more.js``, which has its styles in it) is sent as messages when a page first asks for it; the page keeps it under its
name for all views, so that a second graph asks for nothing.
"""

from __future__ import annotations

import zlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from .messages import CHUNK_BYTES, CodePart

STATIC: Final = Path(__file__).resolve().parent.parent / "static"


@cache
def front_end(name: str) -> str:
    """Text of a built file of the front end."""
    path = STATIC / name
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The front end has not been built: {path} is missing. In a clone run `make js`; an installed package "
            "brings it, so install it anew."
        ) from error


def first_part() -> dict[str, str]:
    """What a widget is made with. The second part is read now, too: a package that is replaced while a kernel runs
    must not send what fits another first part."""
    _deflated("more.js")
    return {"_esm": front_end("widget.js"), "_css": front_end("widget.css")}


def code_messages(identity: str) -> list[tuple[dict[str, Any], list[bytes]]]:
    """The second part, deflated, in messages of at most `CHUNK_BYTES`: the answer to the request ``identity``."""
    data = _deflated("more.js")
    parts = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    messages: list[tuple[dict[str, Any], list[bytes]]] = []
    for number, part in enumerate(parts):
        content: CodePart = {"type": "code", "id": identity, "part": number, "of": len(parts)}
        messages.append((dict(content), [part]))
    return messages


@cache
def _deflated(name: str) -> bytes:
    return zlib.compress(front_end(name).encode(), 9)


def forget_front_end() -> None:
    """Read the files anew when they are next needed."""
    front_end.cache_clear()
    _deflated.cache_clear()
