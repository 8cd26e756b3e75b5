"""What the routes of one server share, and who uses it."""

from __future__ import annotations

import getpass
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .batch import Batch
from .owners import Owners
from .retention import Retention
from .scheduler import MEMORY_LIMITS, Scheduler
from .store import Store
from .tokens import Tokens

__all__ = ["Leases", "Services", "check_place", "user_name"]

LEASE_S = 15.0


class Leases:
    """Who uses the server now, and since when nobody has. Safe from any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._last_used = clock()

    def touch(self) -> None:
        """Notes a request."""
        with self._lock:
            self._last_used = self._clock()

    def renew(self, client: str) -> None:
        """Notes that a client is there for the next 15 s."""
        with self._lock:
            self._last_used = self._clock()
            self._ends[client] = self._last_used + LEASE_S

    def end(self, client: str) -> None:
        """Notes that a client has left."""
        with self._lock:
            self._ends.pop(client, None)

    def clients(self) -> int:
        """How many hold a lease."""
        with self._lock:
            moment = self._clock()
            self._ends = {client: end for client, end in self._ends.items() if end > moment}
            return len(self._ends)

    def idle_seconds(self) -> float:
        """Since when nobody has used the server."""
        count = self.clients()
        with self._lock:
            return 0.0 if count else self._clock() - self._last_used


def user_name() -> str:
    """The user of this machine as a name that the API allows."""
    try:
        found = getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        found = ""
    return re.sub(r"[^\w.-]", "-", found)[:63] or "me"


PLACES = ("file", "s3", "azure", "gcs", "gs")
"""How the address of an array may begin: what TileDB reads. It reads nothing over HTTP."""


def check_place(uri: str) -> None:
    """Raises `ValueError` if no array can be there."""
    scheme, is_url, _ = uri.partition("://")
    if (scheme.lower() not in PLACES) if is_url else not uri.startswith("/"):
        raise ValueError(
            f"No array can be at {uri[:200]!r}: a place is the full path of a folder, or an address that begins with "
            f"{', '.join(f'{one}://' for one in PLACES)}."
        )


@dataclass(slots=True)
class Services:
    """The parts of one server that its routes need."""

    store: Store
    scheduler: Scheduler
    token: str
    leases: Leases = field(default_factory=Leases)
    owners: Owners = field(default_factory=Owners)
    stop: Callable[[], None] | None = None
    version: str = ""
    user: str = field(default_factory=user_name)
    memory_limits: Mapping[str, int] = field(default_factory=lambda: MEMORY_LIMITS)
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    batch: Batch | None = None
    engine: str = "processes"
    """Where batch graphs run, for people."""
    tokens: Tokens = field(init=False)
    retention: Retention = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.store)
        self.retention = Retention(self.store)

    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return self.scheduler.is_idle() and (self.batch is None or self.batch.is_idle())

    def array_uris(self) -> dict[str, str]:
        """Where the registered arrays are, by `namespace/name`, the namespace in lower case."""
        return {f"{row[0].lower()}/{row[1]}": row[2] for row in self.store.rows("SELECT * FROM array")}

    def add_array(self, namespace: str, name: str, uri: str) -> None:
        """Gives an array a name."""
        statement = "INSERT OR REPLACE INTO array (namespace, name, uri) VALUES (?, ?, ?)"
        self.store.execute((statement, (namespace, name, uri)))
