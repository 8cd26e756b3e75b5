"""Reports to the server: calls that nothing waits for, made in the background, in order.

**Threads**: ``tiledag-reports`` from `run.threads`, while there is something to report.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from .threads import threads

__all__ = ["reports"]

_log = logging.getLogger("tiledag_widget.run")
MOST_REPORTS: Final = 100_000
FLUSH_AT_EXIT: Final = 5.0


class _Reports:
    """Calls made in the background, one after another. What goes wrong is logged once."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._waiting: deque[Callable[[], object]] = deque()
        self._is_working = False
        self._told = False

    def post(self, report: Callable[[], object]) -> None:
        with self._lock:
            if len(self._waiting) >= MOST_REPORTS:
                return
            self._waiting.append(report)
        self._start()

    def _start(self) -> None:
        with self._lock:
            if self._is_working or not self._waiting:
                return
            self._is_working = True
        try:
            threads.start(self._work, "tiledag-reports")
        except RuntimeError:  # the system gives no thread: the next report, or who waits for them, tries again
            with self._lock:
                self._is_working = False

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_working = False
                    self._lock.notify_all()
                    return
                report = self._waiting.popleft()
            try:
                report()
            except Exception as error:
                level = logging.DEBUG if self._told else logging.WARNING
                self._told = True
                _log.log(level, "a report to the task-graph server failed, and the run goes on: %s", error)
            del report

    def flush(self, timeout: float) -> bool:
        """Wait until everything was sent. False when the time is over, or there is no thread to send it."""
        self._start()
        with self._lock:
            self._lock.wait_for(lambda: not self._is_working, timeout)
            return not self._is_working and not self._waiting

    def forget(self) -> None:
        """After a fork: the thread is not there in the child."""
        self.__init__()  # type: ignore[misc]


reports: Final = _Reports()


def _at_exit() -> None:
    reports.flush(FLUSH_AT_EXIT)


# Made when the first server node is: after that the driver registers its own hook anew, so its graphs end before this.
atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=reports.forget)
