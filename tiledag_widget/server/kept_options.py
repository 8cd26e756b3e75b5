"""The options of the last `tiledag serve`, kept in the data folder until that server is ended in order.

If it dies, who needs a server next starts one with the same options: the same cluster, workers and limits. Where it
listened is not kept: what starts by itself is on loopback, for this user.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

__all__ = ["forget", "keep", "kept"]

_FILE: Final = "serve.json"
_KNOWN: Final = frozenset(
    {"--workers", "--memory-limit", "--keep-days", "--keep-gib", "--engine", "--scheduler", "--wait-for-workers"}
)


def keep(folder: Path, options: Iterable[tuple[str, object]]) -> None:
    """Keeps options with their values in place of those before; None is one that was not given."""
    words = [text for name, value in options if value is not None for text in (name, str(value))]
    forget(folder)
    if not words:
        return
    part = folder / f"{_FILE}.part"
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(words, file)
    os.replace(part, folder / _FILE)


def forget(folder: Path) -> None:
    """From now on the next server is a plain one."""
    (folder / _FILE).unlink(missing_ok=True)


def kept(folder: Path) -> Sequence[str]:
    """What is kept, as words of a command line; nothing where there is none, or it cannot be read."""
    try:
        words = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    is_whole = isinstance(words, list) and len(words) % 2 == 0 and all(isinstance(word, str) for word in words)
    return tuple(words) if is_whole and _KNOWN.issuperset(words[::2]) else ()
