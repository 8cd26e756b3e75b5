"""What waits to be written to the records, in the order in which it came, and what of it is written together.

Each transaction costs as much as several writes in it. So a write that somebody waits for goes at once, with all that
came before it; one for which nobody waits, as that a task has begun, may wait a moment for such company.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

__all__ = ["Waiting", "Write"]

Write: TypeAlias = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]
"""What to do in the transaction, and who is told when it is on disk."""
MOST_TOGETHER = 200
COMPANY_S = 0.02
"""For so long what nobody waits for is kept for the next transaction: each costs as much as the writes in it."""


class Waiting:
    """The writes that wait. `put` and `end` may be called from any thread, `take` from one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._writes: deque[tuple[Write, bool]] = deque()
        self._urgent = 0
        self._is_ending = False

    def put(self, write: Write, may_wait: bool) -> None:
        """Adds a write; one that may wait is kept for others up to `COMPANY_S`."""
        with self._changed:
            self._writes.append((write, may_wait))
            self._urgent += not may_wait
            if not may_wait or len(self._writes) == 1:
                self._changed.notify()

    def end(self) -> None:
        """Nothing comes after what is here."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def take(self) -> list[Write]:
        """Waits for what is to be written together; empty when nothing will come any more."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._writes) or self._is_ending)
            self._changed.wait_for(lambda: self._urgent > 0 or self._is_ending, COMPANY_S)
            found = [self._writes.popleft() for _ in range(min(len(self._writes), MOST_TOGETHER))]
            self._urgent -= sum(not may_wait for _, may_wait in found)
            return [write for write, _ in found]
