"""The log of a run, of a server that has no events: what it says of each node, and whether it is an old one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

from ..core.states import Status
from ..wire.models import TaskGraphLog, TaskGraphNodeMetadata, status_of_task
from .mirror import Word

OLD_LOG_S: Final = 15.0
"""For how long after a retry a log that reads just as before it counts as read from where the retry has not come to."""


class LogReader:
    """Knows the last log of one run, and which one a retry has made an old one."""

    def __init__(self) -> None:
        self._last: TaskGraphLog | None = None
        self._old: tuple[Any, ...] | None = None
        self._until = 0.0

    def is_news(self, log: TaskGraphLog) -> bool:
        """False if the log is from before our retry, read from where that has not come to yet."""
        if self._old is not None and time.monotonic() >= self._until:
            self._old = None  # whoever acknowledged the retry has not done it
        if self._old is not None and _facts_of(log) == self._old:
            return False
        self._last = log
        return True

    def retry_begins(self) -> None:
        """The server has acknowledged a retry: a log that reads like the last one is from before it."""
        if self._last is not None:
            self._old, self._until = _facts_of(self._last), time.monotonic() + OLD_LOG_S


def _facts_of(log: TaskGraphLog) -> tuple[Any, ...]:
    """What cannot be the same in a log once the run has gone on."""
    nodes = log.nodes or ()
    return log.status, log.end_time, tuple((one.status, len(one.executions or ())) for one in nodes)


def word_of(node: int, told: TaskGraphNodeMetadata, now: Callable[[], float]) -> Word:
    """What a log says of a node."""
    executions = told.executions or ()
    last = executions[-1] if executions else None
    status = status_of_task(told.status)
    if told.status == "UNKNOWN" and told.run_location == "client":
        status = Status.NOT_STARTED  # its process has said nothing of it
    began = time_of(last.start_time) if last is not None else None
    ended = time_of(last.finish_time) if last is not None else None
    at = ended if ended is not None and status is not Status.RUNNING else began
    return Word(node, status.value, len(executions), at if at is not None else now(), began)


def time_of(text: str | None) -> float | None:
    """Unix time of an ISO 8601 text; UTC where it names no zone."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()


__all__ = ["LogReader", "time_of", "word_of"]
