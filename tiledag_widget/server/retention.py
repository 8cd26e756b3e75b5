"""Keeps the server's folder small: what is old, what is beyond the limit in bytes, what was never to be stored."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from .store import Store

__all__ = ["Retention"]

_log = logging.getLogger(__name__)

DAYS: Final = 30.0
BYTES: Final = 5 << 30
EVERY_S: Final = 600.0
GRACE_S: Final = 300.0
"""How long a result that is not to be stored is kept for a client whose reply was lost and who asks again."""

_FREE: Final = "task.status NOT IN ('QUEUED', 'RUNNING') AND coalesce(log.status, '') NOT IN ('submitted', 'running')"
_BORN: Final = "coalesce(log.created, task.created)"
"""Results and output live as long as their log."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was forgotten."""

    tasks: int
    logs: int


class Retention:
    """Forgets by age and by size; `sweep` is for a thread of the server's, `prune` may be called from any."""

    def __init__(
        self,
        store: Store,
        *,
        days: float = DAYS,
        most_bytes: int = BYTES,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._days = days
        self._most_bytes = most_bytes
        self._wall = wall
        self._clock = clock
        self._next = -float("inf")

    def set_limits(self, days: float | None, most_bytes: int | None) -> None:
        """Changes what is kept from now on; None: as it is."""
        self._days = self._days if days is None else days
        self._most_bytes = self._most_bytes if most_bytes is None else most_bytes

    def sweep(self) -> None:
        """Prunes now and then; returns at once when it is not time yet. Raises StoreError."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        self.drop_unstored()
        found = self.prune()
        if found.tasks or found.logs:
            _log.info("forgot %d tasks and %d runs that were old or beyond the limit", found.tasks, found.logs)

    def prune(self, days: float | None = None) -> Pruned:
        """Forgets what was begun before so many days, and the oldest beyond the limit in bytes."""
        age = self._days if days is None else days
        cutoff = self._ago(age * 86400)
        by_size = self._begin_of_what_fits()
        return self._forget_before(max(cutoff, by_size) if by_size is not None else cutoff)

    def bytes_used(self) -> int:
        """Of results and output, as recorded."""
        return int(self._store.rows("SELECT coalesce(sum(size), 0) FROM task")[0][0])

    def drop_unstored(self, grace: float = GRACE_S) -> int:
        """Deletes the results that nobody wanted stored and nobody can still be waiting for; how many."""
        rows = self._store.rows(
            "SELECT id FROM task WHERE NOT stored AND mime IS NOT NULL AND status = 'COMPLETED' AND ended < ?",
            (self._ago(grace),),
        )
        for row in rows:
            with contextlib.suppress(OSError):
                (self._store.folder_of(row[0]) / "result").unlink()
        if rows:
            marks = [(row[0],) for row in rows]
            self._store.write(lambda c: c.executemany("UPDATE task SET mime = NULL, size = NULL WHERE id = ?", marks))
        return len(rows)

    def _ago(self, seconds: float) -> str:
        moment = datetime.fromtimestamp(max(0.0, self._wall() - seconds), timezone.utc)
        return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")

    def _begin_of_what_fits(self) -> str | None:
        """What was begun before this moment goes, so that the rest is below the limit; None if all of it is."""
        if self.bytes_used() <= self._most_bytes:
            return None
        rows = self._store.rows(
            f"SELECT {_BORN}, sum(coalesce(task.size, 0)) FROM task LEFT JOIN log ON log.id = task.graph "
            "GROUP BY 1 ORDER BY 1 DESC"
        )
        total, kept = 0, None
        for born, size in rows:
            total += size
            if total > self._most_bytes:
                # Nothing of this age stays, but the newest always does: its user is still looking at it.
                return str(kept if kept is not None else born)
            kept = born
        return None

    def _forget_before(self, cutoff: str) -> Pruned:
        def work(connection: sqlite3.Connection) -> tuple[list[str], int]:
            ids = [
                row[0]
                for row in connection.execute(
                    f"SELECT task.id FROM task LEFT JOIN log ON log.id = task.graph WHERE {_BORN} < ? AND {_FREE}",
                    (cutoff,),
                )
            ]
            connection.executemany("DELETE FROM task WHERE id = ?", [(one,) for one in ids])
            logs = connection.execute(
                "DELETE FROM log WHERE created < ? AND status NOT IN ('submitted', 'running') "
                "AND id NOT IN (SELECT graph FROM task WHERE graph IS NOT NULL) "
                "AND id NOT IN (SELECT log FROM batch_run WHERE active)",
                (cutoff,),
            ).rowcount
            unused = "id NOT IN (SELECT graph FROM batch_run)"
            connection.execute(f"DELETE FROM batch_graph WHERE created < ? AND {unused}", (cutoff,))
            return ids, logs

        ids, logs = self._store.write(work)
        for task in ids:
            shutil.rmtree(self._store.folder_of(task), ignore_errors=True)
        return Pruned(len(ids), logs)
