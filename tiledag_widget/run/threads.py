"""A shared cache of threads: a job gets an idle one or a new one, and an idle one ends after a second.

Threads started here: any number of daemon threads named after their job; each ends `IDLE_S` after its last job.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

IDLE_S: Final = 1.0
_log = logging.getLogger("tiledag_widget.run")


class _CachedThread:
    """One thread and the hand-over to it: whoever removes it from the idle ones owns it and gives it a job."""

    def __init__(self, cache: ThreadCache) -> None:
        self._cache = cache
        self._handed_over = threading.Lock()
        self._handed_over.acquire()
        self._job: Callable[[], None] | None = None
        self._name = ""
        # A daemon: the exit hook of the driver ends graphs in order; a thread that waits for work must not hold
        # the interpreter open.
        self._thread = threading.Thread(target=self._main, name="tiledag-idle", daemon=True)

    def start(self, job: Callable[[], None], name: str) -> None:
        self._job, self._name = job, name
        self._handed_over.release()
        if not self._thread.ident:
            self._thread.start()

    def _main(self) -> None:
        while True:
            if not self._handed_over.acquire(timeout=IDLE_S):
                # 1. the time is over; 2. somebody takes this thread from the idle ones; 3. it hands a job over.
                # Removing ourselves settles it: if we cannot, a job is on its way and we wait for it.
                if self._cache.remove(self):
                    return
                continue
            job, self._job = self._job, None
            self._thread.name = self._name
            try:
                if job is not None:
                    job()
            except BaseException:  # a job reports for itself; what gets here is our bug, and must not be lost
                _log.exception("a thread of tiledag_widget failed")
            del job
            self._thread.name = "tiledag-idle"
            self._cache.give_back(self)


class ThreadCache:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[_CachedThread, None] = {}

    def start(self, job: Callable[[], None], name: str) -> None:
        """Run ``job`` on a thread of that name. Raises RuntimeError when the system gives no more threads."""
        with self._lock:
            thread = self._idle.popitem()[0] if self._idle else _CachedThread(self)
        thread.start(job, name)

    def give_back(self, thread: _CachedThread) -> None:
        with self._lock:
            self._idle[thread] = None

    def remove(self, thread: _CachedThread) -> bool:
        with self._lock:
            return self._idle.pop(thread, self) is None

    def forget(self) -> None:
        """After a fork: the threads are not there in the child."""
        self._lock = threading.Lock()
        self._idle = {}

    def statistics(self) -> dict[str, int]:
        with self._lock:
            return {"idle": len(self._idle)}


threads: Final = ThreadCache()
"""The cache that all graphs share."""
