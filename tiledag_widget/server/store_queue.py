"""What waits to be written to the records, in the order in which it came, and what of it is written together.

Each transaction costs as much as several writes in it. So a write that somebody waits for goes at once, with all that
came before it; one for which nobody waits, as that a task has begun, may wait a moment for such company.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
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
        self._lock = threading.Lock()
        self._writes: deque[Write] = deque()
        # A bell, as a condition would cost more than the write: it is rung by each write that somebody waits for, and
        # by the first of the others.
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._is_rung = False
        self._is_ending = False

    def put(self, write: Write, may_wait: bool) -> None:
        """Adds a write; one that may wait is kept for others up to `COMPANY_S`."""
        with self._lock:
            self._writes.append(write)
            if may_wait and self._is_rung:
                return
            self._is_rung = True
        self._bell.put(may_wait)

    def end(self) -> None:
        """Nothing comes after what is here."""
        self._is_ending = True
        self._bell.put(False)

    def take(self) -> list[Write]:
        """Waits for what is to be written together; empty when nothing will come any more."""
        while True:
            if self._bell.get() and not self._is_ending:
                self._wait_for_company()
            while not self._bell.empty():
                self._bell.get()
            with self._lock:
                # 1. a write is added and has not rung yet; 2. it is taken here; 3. it rings, for nothing. The other way
                # round, ringing first, it could be left behind.
                found = [self._writes.popleft() for _ in range(min(len(self._writes), MOST_TOGETHER))]
                self._is_rung = bool(self._writes)
            if self._is_rung or self._is_ending:
                self._bell.put(False)
            if found or self._is_ending:
                return found

    def _wait_for_company(self) -> None:
        with suppress(queue.Empty):
            self._bell.get(timeout=COMPANY_S)
