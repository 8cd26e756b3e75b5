"""What batch runs ask of the server that they are in: folders, registered functions, arrays, results, ids; and what a
task had left in its folder when the server died.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .batch_state import CannotPrepare
from .batch_store import TaskEnd
from .store import Store

__all__ = ["Around", "left_behind"]


def left_behind(folder: Path, task: str) -> tuple[bool, TaskEnd | None]:
    """Whether a task had begun when the server died, and its end if it had left its whole reply."""
    if not (folder / "output").exists():
        return False, None
    try:
        reply = json.loads((folder / "reply.json").read_bytes())
        result = folder / "result"
        size = result.stat().st_size if result.exists() else None
    except (OSError, ValueError):
        return True, None
    if not isinstance(reply, dict):
        return True, None
    texts = {key: value if isinstance(value := reply.get(key), str) else None for key in _REPLY_TEXTS}
    status = "COMPLETED" if reply.get("ok") is True else "FAILED"
    if status == "COMPLETED" and (size is None or texts["mime"] is None):
        return True, None
    return True, TaskEnd(
        task, status, texts["message"], texts["mime"], texts["error_type"], texts["traceback"], 0.0, None, size
    )


_REPLY_TEXTS = ("message", "mime", "error_type", "traceback")


class Around:
    """What runs ask of this server; used by its batch thread alone."""

    def __init__(self, store: Store, new_id: Callable[[], str]) -> None:
        self._store = store
        self.new_id = new_id

    def folder_of(self, task: str) -> Path:
        return self._store.folder_of(task)

    def code_of(self, name: str) -> str:
        known, _, moment = name.partition("@")
        namespace, _, rest = known.strip().partition("/")
        if moment.strip():
            row = self._store.row(
                "SELECT body FROM udf_version WHERE namespace = ? AND name = ? AND at <= ? ORDER BY at DESC LIMIT 1",
                (namespace, rest, _utc_text(name, moment)),
            )
        else:
            row = self._store.row("SELECT body FROM udf WHERE namespace = ? AND name = ?", (namespace, rest))
        code = json.loads(row[0]).get("exec") if row is not None else None
        if not isinstance(code, str):
            raise CannotPrepare(f"There is no registered UDF {name!r} on this server.")
        return code

    def array_uris(self) -> Mapping[str, str]:
        return {
            f"{row[0].lower()}/{row[1]}": row[2] for row in self._store.rows("SELECT namespace, name, uri FROM array")
        }

    def stored(self, task: str) -> tuple[str, str]:
        found = self._store.task(task)
        file = self._store.folder_of(task) / "result"
        if found is None or found.status != "COMPLETED" or found.mime is None or not file.exists():
            raise CannotPrepare(f"The result of task {task} is not stored on this server. Send the value itself.")
        return str(file), found.mime

    def items_of(self, task: str) -> list[Any]:
        try:
            found = json.loads((self._store.folder_of(task) / "result").read_bytes())
        except (OSError, ValueError) as error:
            raise CannotPrepare(f"The list that was opened cannot be read: {error}") from None
        if not isinstance(found, list):
            raise CannotPrepare("What was opened is no list.")
        return found


def _utc_text(name: str, moment: str) -> str:
    """The moment in a name with a time, as the records write it."""
    try:
        found = datetime.fromisoformat(moment.strip().replace("t", "T"))
    except ValueError:
        raise CannotPrepare(f"The name {name!r} has no time after its @, as in namespace/name@2024-05-06.") from None
    text = found.replace(tzinfo=timezone.utc).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")
