"""Our own routes beside the contract: what this server is, who uses it, the names of arrays, its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .call_routes import python_version
from .exchange import NO_CONTENT, Refused, Reply, Request, Route, RouteRow, json_of, json_reply
from .openapi import document
from .services import LEASE_S, Services, check_place

__all__ = ["OwnRoutes"]


class OwnRoutes:
    """The routes below /tiledag/v1 that are about the server itself."""

    def __init__(self, services: Services, all_routes: Callable[[], Sequence[Route]]) -> None:
        self._services = services
        self._all_routes = all_routes

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", "/tiledag/v1/info", self.get_info),
            ("GET", "/tiledag/v1/openapi.json", self.get_openapi),
            ("POST", "/tiledag/v1/leases", self.post_lease),
            ("DELETE", "/tiledag/v1/leases/{client}", self.delete_lease),
            ("GET", "/tiledag/v1/arrays", self.get_arrays),
            ("POST", "/tiledag/v1/arrays", self.post_array),
            ("DELETE", "/tiledag/v1/arrays/{namespace}/{name}", self.delete_array),
            ("POST", "/tiledag/v1/prune", self.post_prune),
            ("POST", "/tiledag/v1/stop", self.post_stop),
        ]

    def get_info(self, request: Request) -> Reply:
        """What this server is; other servers do not have this address."""
        body = {
            "server": "tiledag",
            "version": self._services.version,
            "python": python_version(),
            "user": self._services.user,
            "instance": self._services.instance,
            "clients": self._services.leases.clients(),
            "idle": self._services.is_idle(),
            "engine": self._services.engine,
        }
        return json_reply(body)

    def get_openapi(self, request: Request) -> Reply:
        """This server's routes and bodies as an OpenAPI document."""
        return json_reply(document(self._all_routes(), self._services.version))

    def post_lease(self, request: Request) -> Reply:
        """Keeps the server for a client for 15 s."""
        body = json_of(request)
        client = body.get("client") if isinstance(body, dict) else None
        if not isinstance(client, str) or not 0 < len(client) <= 200:
            raise Refused(400, "client must be a text of 1 to 200 characters.")
        self._services.leases.renew(client)
        return json_reply({"client": client, "seconds": LEASE_S, "instance": self._services.instance})

    def delete_lease(self, request: Request, client: str) -> Reply:
        """A client leaves."""
        self._services.leases.end(client)
        return NO_CONTENT

    def get_arrays(self, request: Request) -> Reply:
        """The registered arrays."""
        rows = self._services.store.rows("SELECT namespace, name, uri FROM array ORDER BY namespace, name")
        return json_reply({"arrays": [{"namespace": row[0], "name": row[1], "uri": row[2]} for row in rows]})

    def post_array(self, request: Request) -> Reply:
        """Gives an array a name; a name that is taken moves to the new place."""
        body = json_of(request)
        found = [body.get(key) if isinstance(body, dict) else None for key in ("namespace", "name", "uri")]
        namespace, name, uri = found[0] or self._services.user, found[1], found[2]
        if not all(isinstance(text, str) and text for text in (namespace, name, uri)):
            raise Refused(400, "name and uri must be texts.")
        if "/" in namespace or "/" in str(name):
            raise Refused(400, "A namespace and a name have no slash.")
        try:
            check_place(str(uri))
        except ValueError as error:
            raise Refused(400, str(error)) from None
        self._services.add_array(namespace, str(name), str(uri))
        return json_reply({"namespace": namespace, "name": name, "uri": uri}, 201)

    def delete_array(self, request: Request, namespace: str, name: str) -> Reply:
        """Takes the name of an array back; the array stays."""
        values = (namespace, name)
        if not self._services.store.execute(("DELETE FROM array WHERE namespace = ? AND name = ?", values)):
            raise Refused(404, f"There is no array {namespace}/{name}.")
        return NO_CONTENT

    def post_prune(self, request: Request) -> Reply:
        """Forgets what is older than some days, and the oldest beyond the limit in bytes, with its files."""
        body = json_of(request)
        days = body.get("days", 30) if isinstance(body, dict) else None
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 <= days < 36500:
            raise Refused(400, "days must be a number from 0.")
        self._services.retention.drop_unstored()
        found = self._services.retention.prune(days)
        return json_reply({"tasks": found.tasks, "logs": found.logs})

    def post_stop(self, request: Request) -> Reply:
        """Ends the server."""
        if self._services.stop is None:
            raise Refused(409, "This server cannot be stopped by a request.")
        self._services.stop()
        return NO_CONTENT
