"""All routes of a server behind one door: `http` has let the request in, a route gives the reply.

What a client sent and what a function returned is opaque here: base64 and tagged JSON are handed to a worker as they
came, results go out as files. Bodies are validated where they enter, into the dataclasses of `wire.models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from .account_routes import AccountRoutes
from .array_routes import ArrayRoutes
from .batch import Batch
from .batch_routes import BatchRoutes
from .call_routes import CallRoutes
from .exchange import NO_CONTENT, Later, Refused, Reply, Request, Route, RouteRow, error_reply, refusals
from .log_routes import LogRoutes
from .native_routes import NativeRoutes
from .own_routes import OwnRoutes
from .record_routes import RecordRoutes
from .registry_routes import RegistryRoutes
from .scheduler import MEMORY_LIMITS, Scheduler
from .services import Leases, Services, user_name
from .store import Store
from .task_routes import TaskRoutes

__all__ = ["Api", "Later", "Leases", "Reply", "Request", "error_reply"]


QUICK_BYTES = 8 << 10
"""Room for some dozens of stored parameters, each of which is a look at the records."""
_CALLS = ("/v1/udfs/", "/v1/sql/")


class Api:
    """All routes of one server. `handle` and `finish` may be called from any thread."""

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        *,
        token: str,
        leases: Leases | None = None,
        stop: Callable[[], None] | None = None,
        version: str = "",
        user: str | None = None,
        memory_limits: Mapping[str, int] = MEMORY_LIMITS,
        batch: Batch | None = None,
        engine: str = "processes",
    ) -> None:
        services = Services(
            store,
            scheduler,
            token,
            leases or Leases(),
            stop=stop,
            version=version,
            user=user or user_name(),
            memory_limits=memory_limits,
            batch=batch,
            engine=engine,
        )
        self._services = services
        self.records = RecordRoutes(services)
        batch_routes = BatchRoutes(services)
        groups = (
            AccountRoutes(services),
            ArrayRoutes(services),
            NativeRoutes(services),
            CallRoutes(services),
            TaskRoutes(services),
            LogRoutes(services, batch_routes),
            batch_routes,
            self.records,
            RegistryRoutes(services),
            OwnRoutes(services, lambda: self.routes),
        )
        self.routes: Sequence[Route] = _split(row for group in groups for row in group.routes())

    def keep(self, *, days: float | None = None, gib: float | None = None) -> None:
        """Sets how long and how much is kept; None: as it is."""
        self._services.retention.set_limits(days, None if gib is None else int(gib * 2**30))

    def sweep(self) -> None:
        """Forgets what is old or too much; for a thread of the server's, now and then."""
        self._services.retention.sweep()

    def is_token(self, token: bytes) -> bool:
        """Whether a token that is not the server's own opens it."""
        return self._services.tokens.is_known(token)

    def add_array(self, namespace: str, name: str, uri: str) -> None:
        """Gives an array a name."""
        self._services.add_array(namespace, name, uri)

    def is_quick(self, request: Request) -> bool:
        """Whether the reply, or how to make it, takes less than handing the request to a thread and back.

        True of small calls: what they read of the records is a few rows, which nobody who writes can keep from them.
        """
        return (
            request.method == "POST"
            and len(request.body) <= QUICK_BYTES
            and request.path.startswith(_CALLS)
            and self._services.store.reads_never_wait
        )

    def handle(self, request: Request) -> Reply | Later:
        """The reply, or how to make it later. Never raises."""
        self._services.leases.touch()
        return refusals(lambda: self._route(request))

    def finish(self, later: Later, done: Future[Any] | None) -> Reply:
        """The reply to a request whose future is done; `done` is None when patience ended first. Never raises."""

        def made() -> Reply:
            if done is None:
                return later.otherwise() if later.otherwise is not None else NO_CONTENT
            return later.then(done.result())

        reply = refusals(made)
        assert isinstance(reply, Reply)
        return reply

    def _route(self, request: Request) -> Reply | Later:
        # Split first, decode afterwards: a slash inside a name is written %2F.
        parts = [unquote(part, errors="strict") for part in request.path.split("/") if part]
        allowed: list[str] = []
        for method, pattern, handler in self.routes:
            values = _matched(pattern, parts)
            if values is None:
                continue
            if method == request.method or (method == "GET" and request.method == "HEAD"):
                return handler(request, **values)
            allowed.append(method)
        if allowed:
            reply = error_reply(405, f"{request.method} is not possible here; {', '.join(allowed)} is.")
            return replace(reply, headers={**reply.headers, "allow": ", ".join(allowed)})
        raise Refused(404, "There is nothing here.")


def _split(rows: Iterable[RouteRow]) -> list[Route]:
    return [(method, tuple(path.strip("/").split("/")), handler) for method, path, handler in rows]


def _matched(pattern: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    if len(pattern) != len(parts):
        return None
    values: dict[str, str] = {}
    for wanted, part in zip(pattern, parts, strict=True):
        if wanted.startswith("{"):
            values[wanted[1:-1]] = part
        elif wanted != part:
            return None
    return values
