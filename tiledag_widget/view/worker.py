"""Threads that do one thing after the other and end when there is nothing to do.

**Guarantees.** `Worker.submit` is safe from any thread, returns at once and never raises. Jobs run one at a time, in
order, on a daemon thread that starts with the first job and ends `IDLE_S` after the last. What a job raises is logged.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_log = logging.getLogger("tiledag_widget.view")

IDLE_S: Final = 1.0
PATIENCE_S: Final = 2.0
MOST_STUCK: Final = 4


class Worker:
    """One thread for jobs that must not run where they come from.

    Args:
        name: Of the thread.
        patience: A job that takes longer than this many seconds while another one waits is left to itself: a new
            thread does the rest, up to `MOST_STUCK` times at once. A ``repr`` that never returns thus costs a
            thread, not every later answer. None waits for ever.
    """

    def __init__(self, name: str, *, idle: float = IDLE_S, patience: float | None = None) -> None:
        self._name = name
        self._idle = idle
        self._patience = patience
        self._condition = threading.Condition()
        self._jobs: deque[Callable[[], object]] = deque()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._stuck = 0
        self._timer: threading.Timer | None = None

    def submit(self, job: Callable[[], object]) -> None:
        """Have ``job`` run on the worker's thread."""
        with self._condition:
            self._jobs.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._start()
            elif self._patience is not None and self._timer is None and (self._busy or len(self._jobs) > 1):
                self._watch(self._thread, self._patience)
            self._condition.notify_all()

    def _start(self) -> None:
        """Called with the condition held."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is shutting down
            self._thread = None
            self._jobs.clear()

    def _watch(self, slow: threading.Thread, patience: float) -> None:
        self._timer = threading.Timer(patience, self._replace, (slow,))
        self._timer.name, self._timer.daemon = f"{self._name}-patience", True
        self._timer.start()

    def _replace(self, slow: threading.Thread) -> None:
        with self._condition:
            self._timer = None
            if self._thread is slow and self._busy and self._jobs and self._stuck < MOST_STUCK:
                self._stuck += 1
                self._busy = False
                self._start()

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._condition:
                if not self._condition.wait_for(lambda: self._jobs, self._idle):
                    # Under the lock: a job that is submitted from here on finds no thread and starts one.
                    if self._thread is me:
                        self._thread = None
                    return
                job = self._jobs.popleft()
                self._busy = True
            try:
                job()
            except BaseException:
                _log.exception("%s: a job failed", self._name)
            del job  # an idle thread keeps nothing alive
            with self._condition:
                if self._thread is not me:  # it took too long and another thread took over
                    self._stuck -= 1
                    return
                self._busy = False
