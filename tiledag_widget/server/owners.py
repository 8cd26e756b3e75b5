"""Which process a run belongs to, for its server to see when that process has gone."""

from __future__ import annotations

import os
import socket
import threading

from ..wire.records import RunOwner

__all__ = ["Owners"]


class Owners:
    """The processes of runs that have not ended, by log. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, RunOwner] = {}

    def seen(self, log: str, owner: RunOwner | None) -> RunOwner | None:
        """The process, if it is one of this machine's, and there."""
        if owner is None or self._of.get(log) == owner or is_alive(owner):
            return owner
        return None

    def note(self, log: str, owner: RunOwner | None) -> None:
        """Notes that a run belongs to a process that was `seen`.

        To be called after what there may be to abandon is on record, and `seen` before: whoever is killed in between is
        found gone later.
        """
        if owner is not None:
            with self._lock:
                self._of[log] = owner

    def has(self, log: str) -> bool:
        """Whether it is noted whose run this is."""
        with self._lock:
            return log in self._of

    def forget(self, log: str) -> None:
        """Notes that a run has ended."""
        with self._lock:
            self._of.pop(log, None)

    def left(self) -> dict[str, RunOwner]:
        """The runs whose process has gone without a word."""
        with self._lock:
            owners = dict(self._of)
        dead = {owner for owner in set(owners.values()) if not is_alive(owner)}
        return {log: owner for log, owner in owners.items() if owner in dead}


def is_alive(owner: RunOwner) -> bool:
    """False if that process of this machine has gone, and for one that cannot be looked at from here."""
    import psutil

    if owner.machine != socket.gethostname() or owner.pid <= 0 or owner.pid == os.getpid():
        return False
    try:
        process = psutil.Process(owner.pid)
        # The start time is looked at too: the number may belong to another process by now.
        return abs(process.create_time() - owner.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
