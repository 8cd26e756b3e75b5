"""A shared cache of threads: a job gets an idle one or a new one, and an idle one ends after a second.

Threads started here: any number of daemon threads named after their job; each ends `IDLE_S` after its last job, or at
`ThreadCache.end_idle`.
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
        self._dismissed = False
        self._name = ""
        # A daemon: the exit hook of the driver ends graphs in order; a thread that waits for work must not hold
        # the interpreter open.
        self._thread = threading.Thread(target=self._main, name="tiledag-idle", daemon=True)

    def start(self, job: Callable[[], None], name: str) -> None:
        self._job, self._name = job, name
        self._handed_over.release()
        if not self._thread.ident:
            self._thread.start()

    def dismiss(self) -> None:
        """End the thread, which was idle and has been removed from the idle ones, and wait for its end."""
        self._dismissed = True
        self._handed_over.release()
        self._thread.join()

    def _main(self) -> None:
        while True:
            if not self._handed_over.acquire(timeout=IDLE_S):
                # 1. the time is over; 2. somebody takes this thread from the idle ones; 3. it hands a job over.
                # Removing ourselves settles it: if we cannot, a job is on its way and we wait for it.
                if self._cache.remove(self):
                    return
                continue
            if self._dismissed:
                return
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
        self._busy = 0

    def start(self, job: Callable[[], None], name: str) -> None:
        """Run ``job`` on a thread of that name. Raises RuntimeError when the system gives no more threads."""
        with self._lock:
            thread = self._idle.popitem()[0] if self._idle else _CachedThread(self)
            self._busy += 1
        try:
            thread.start(job, name)
        except BaseException:
            with self._lock:
                self._busy -= 1
            raise

    def give_back(self, thread: _CachedThread) -> None:
        with self._lock:
            self._idle[thread] = None
            self._busy -= 1

    def end_idle(self) -> None:
        """End idle threads now instead of `IDLE_S` after their last job. Those that work stay."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for thread in idle:
            thread.dismiss()

    def remove(self, thread: _CachedThread) -> bool:
        with self._lock:
            return self._idle.pop(thread, self) is None

    def forget(self) -> None:
        """After a fork: the threads are not there in the child."""
        self._lock = threading.Lock()
        self._idle = {}
        self._busy = 0

    def statistics(self) -> dict[str, int]:
        with self._lock:
            return {"idle": len(self._idle), "busy": self._busy}


threads: Final = ThreadCache()
"""The cache that all graphs share."""
