"""Functions and graphs that are registered under a name, and what of them is given back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from ..wire import models
from ..wire.models import from_json, to_json
from .exchange import NO_CONTENT, Refused, Reply, Request, RouteRow, body_as, json_reply, object_of
from .services import Services
from .store import Store

__all__ = ["RegistryRoutes", "registered_udf"]


class RegistryRoutes:
    """The routes of sections 2.8 and 2.9 of the contract."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", "/v1/taskgraphs/{namespace}/registered/{name}", self.get_registered_graph),
            ("POST", "/v1/taskgraphs/{namespace}/registered/{name}", self.post_registered_graph),
            ("PATCH", "/v1/taskgraphs/{namespace}/registered/{name}", self.patch_registered_graph),
            ("DELETE", "/v1/taskgraphs/{namespace}/registered/{name}", self.delete_registered_graph),
            ("GET", "/v1/taskgraphs/{namespace}/registered/{name}/share", self.get_registered_graph_shares),
            ("GET", "/v1/udf/{namespace}/{name}", self.get_udf),
            ("POST", "/v1/udf/{namespace}/{name}", self.post_udf),
            ("PATCH", "/v1/udf/{namespace}/{name}", self.patch_udf),
            ("DELETE", "/v1/udf/{namespace}/{name}", self.delete_udf),
            ("GET", "/v1/udf/{namespace}/{name}/share", self.get_udf_shares),
        ]

    def _register(self, table: str, namespace: str, name: str, body: Mapping[str, Any]) -> Reply:
        values = (namespace, name, str(uuid.uuid4()), json.dumps(body))
        count = self._services.store.execute(
            (f"INSERT OR IGNORE INTO {table} (namespace, name, id, body) VALUES (?, ?, ?, ?)", values)
        )
        if not count:
            raise Refused(409, f"{namespace}/{name} is registered already; update it, or delete it first.")
        return NO_CONTENT

    def _update(self, table: str, namespace: str, name: str, changes: Mapping[str, Any]) -> Reply:
        _, body = _registered(self._services.store, table, namespace, name)
        new_name = changes.get("name") or name
        if not isinstance(new_name, str):
            raise Refused(400, "name must be a text.")
        if new_name != name and self._services.store.row(
            f"SELECT 1 FROM {table} WHERE namespace = ? AND name = ?", (namespace, new_name)
        ):
            raise Refused(409, f"{namespace}/{new_name} is registered already.")
        text = json.dumps({**body, **changes})
        statement = f"UPDATE {table} SET name = ?, body = ? WHERE namespace = ? AND name = ?"
        self._services.store.execute((statement, (new_name, text, namespace, name)))
        return NO_CONTENT

    def _delete(self, table: str, namespace: str, name: str) -> Reply:
        _registered(self._services.store, table, namespace, name)
        self._services.store.execute((f"DELETE FROM {table} WHERE namespace = ? AND name = ?", (namespace, name)))
        return NO_CONTENT

    def get_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """A registered UDF, without its code."""
        identity, body = _registered(self._services.store, "udf", namespace, name)
        found = from_json(models.UdfInfoUpdate, body)
        tags = found.tags
        text = (found.readme, found.license_id, found.license_text)
        return json_reply(models.UdfInfo(identity, name, found.language, found.type, *text, tags))

    def post_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a UDF."""
        body = body_as(models.UdfInfoUpdate, request)
        return self._register("udf", namespace, name, to_json(body))

    def patch_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered UDF."""
        return self._update("udf", namespace, name, to_json(body_as(models.UdfInfoUpdate, request)))

    def delete_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered UDF."""
        return self._delete("udf", namespace, name)

    def get_udf_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared: this server has one user."""
        _registered(self._services.store, "udf", namespace, name)
        return json_reply(())

    def get_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """A registered graph; its nodes exactly as they were sent."""
        identity, body = _registered(self._services.store, "registered_graph", namespace, name)
        return json_reply({**body, "uuid": identity, "namespace": namespace, "name": name})

    def post_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a graph."""
        return self._register("registered_graph", namespace, name, object_of(request))

    def patch_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered graph; another name in the body renames it."""
        return self._update("registered_graph", namespace, name, object_of(request))

    def delete_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered graph."""
        return self._delete("registered_graph", namespace, name)

    def get_registered_graph_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared: this server has one user."""
        _registered(self._services.store, "registered_graph", namespace, name)
        return json_reply(())


def registered_udf(services: Services, namespace: str, name: str) -> models.UdfInfoUpdate:
    """A registered UDF with its code.

    Raises:
        Refused: there is none.
    """
    _, body = _registered(services.store, "udf", namespace, name)
    return from_json(models.UdfInfoUpdate, body)


def _registered(store: Store, table: str, namespace: str, name: str) -> tuple[str, dict[str, Any]]:
    row = store.row(f"SELECT id, body FROM {table} WHERE namespace = ? AND name = ?", (namespace, name))
    if row is None:
        what = "UDF" if table == "udf" else "task graph"
        raise Refused(404, f"There is no registered {what} {namespace}/{name}.")
    return row[0], json.loads(row[1])
