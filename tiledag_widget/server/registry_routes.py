"""Functions and graphs that are registered under a name, and what of them is given back."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..wire import models
from ..wire.models import from_json, to_json
from .exchange import NO_CONTENT, Refused, Reply, Request, RouteRow, body_as, json_reply, object_of
from .services import Services
from .store import Store, now

__all__ = ["RegistryRoutes", "registered_udf"]

_SHARE_ACTIONS = {
    "udf": ("fetch_udf", "share_udf"),
    "registered_graph": ("fetch_task_graph", "share_task_graph"),
}


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
            ("PATCH", "/v1/taskgraphs/{namespace}/registered/{name}/share", self.patch_registered_graph_share),
            ("GET", "/v1/udf/{namespace}/{name}", self.get_udf),
            ("POST", "/v1/udf/{namespace}/{name}", self.post_udf),
            ("PATCH", "/v1/udf/{namespace}/{name}", self.patch_udf),
            ("DELETE", "/v1/udf/{namespace}/{name}", self.delete_udf),
            ("GET", "/v1/udf/{namespace}/{name}/share", self.get_udf_shares),
            ("PATCH", "/v1/udf/{namespace}/{name}/share", self.patch_udf_share),
            ("POST", "/v1/udf/{namespace}/{name}/copy", self.post_udf_copy),
        ]

    def _register(self, table: str, namespace: str, name: str, body: Mapping[str, Any]) -> None:
        text = json.dumps(body)

        def work(connection: sqlite3.Connection) -> int:
            columns = "(namespace, name, id, body) VALUES (?, ?, ?, ?)"
            values = (namespace, name, str(uuid.uuid4()), text)
            count = connection.execute(f"INSERT OR IGNORE INTO {table} {columns}", values).rowcount
            if count and table == "udf":
                _keep_version(connection, namespace, name, text)
            return count

        if not self._services.store.write(work):
            raise Refused(409, f"{namespace}/{name} is registered already; update it, or delete it first.")

    def _update(self, table: str, namespace: str, name: str, changes: Mapping[str, Any]) -> Reply:
        _, body = _registered(self._services.store, table, namespace, name)
        new_name = changes.get("name") or name
        if not isinstance(new_name, str):
            raise Refused(400, "name must be a text.")
        text = json.dumps({**body, **changes})

        def work(connection: sqlite3.Connection) -> None:
            where = "WHERE namespace = ? AND name = ?"
            if new_name != name:
                if connection.execute(f"SELECT 1 FROM {table} {where}", (namespace, new_name)).fetchone():
                    raise Refused(409, f"{namespace}/{new_name} is registered already.")
                moved = (new_name, table, namespace, name)
                connection.execute("UPDATE share SET name = ? WHERE kind = ? AND namespace = ? AND name = ?", moved)
                if table == "udf":
                    connection.execute(f"UPDATE udf_version SET name = ? {where}", (new_name, namespace, name))
            changed = (new_name, text, namespace, name)
            connection.execute(f"UPDATE {table} SET name = ?, body = ? {where}", changed)
            if table == "udf":
                _keep_version(connection, namespace, new_name, text)

        self._services.store.write(work)
        return NO_CONTENT

    def _delete(self, table: str, namespace: str, name: str) -> Reply:
        _registered(self._services.store, table, namespace, name)
        where, values = "WHERE namespace = ? AND name = ?", (namespace, name)
        self._services.store.execute(
            (f"DELETE FROM {table} {where}", values),
            (f"DELETE FROM share {where} AND kind = ?", (*values, table)),
            *([(f"DELETE FROM udf_version {where}", values)] if table == "udf" else []),
        )
        return NO_CONTENT

    def _shares(self, table: str, namespace: str, name: str) -> Reply:
        _registered(self._services.store, table, namespace, name)
        rows = self._services.store.rows(
            "SELECT with_namespace, namespace_type, actions FROM share WHERE kind = ? AND namespace = ? AND name = ? "
            "ORDER BY with_namespace",
            (table, namespace, name),
        )
        return json_reply(
            [{"namespace": row[0], "namespace_type": row[1], "actions": json.loads(row[2])} for row in rows]
        )

    def _share(self, request: Request, table: str, namespace: str, name: str) -> Reply:
        """Notes with whom it is shared. This server has one user, so that nobody is let in or kept out by it."""
        _registered(self._services.store, table, namespace, name)
        body = object_of(request)
        other, actions, kind = body.get("namespace"), body.get("actions") or [], body.get("namespace_type")
        if not isinstance(other, str) or not other:
            raise Refused(400, "namespace must be a text: with whom to share.")
        if kind is not None and not isinstance(kind, str):
            raise Refused(400, "namespace_type must be a text.")
        allowed = _SHARE_ACTIONS[table]
        if not isinstance(actions, list) or any(action not in allowed for action in actions):
            raise Refused(400, f"actions must be a list of: {', '.join(allowed)}")
        key = (table, namespace, name, other)
        if actions:
            statement = "INSERT OR REPLACE INTO share VALUES (?, ?, ?, ?, ?, ?)"
            self._services.store.execute((statement, (*key, kind, json.dumps(actions))))
        else:
            where = "kind = ? AND namespace = ? AND name = ? AND with_namespace = ?"
            self._services.store.execute((f"DELETE FROM share WHERE {where}", key))
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
        _check_udf_name(namespace, name)
        self._register("udf", namespace, name, to_json(body_as(models.UdfInfoUpdate, request)))
        return NO_CONTENT

    def patch_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered UDF; another name in the body renames it."""
        changes = body_as(models.UdfInfoUpdate, request)
        _check_udf_name(namespace, changes.name or name)
        return self._update("udf", namespace, name, to_json(changes))

    def delete_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered UDF."""
        return self._delete("udf", namespace, name)

    def get_udf_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared."""
        return self._shares("udf", namespace, name)

    def patch_udf_share(self, request: Request, namespace: str, name: str) -> Reply:
        """Shares it with a namespace; without actions, no longer."""
        return self._share(request, "udf", namespace, name)

    def post_udf_copy(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a copy under another name."""
        _, body = _registered(self._services.store, "udf", namespace, name)
        wanted = object_of(request)
        to, as_name = wanted.get("namespace") or namespace, wanted.get("name") or name
        if not isinstance(to, str) or not isinstance(as_name, str):
            raise Refused(400, "namespace and name must be texts.")
        _check_udf_name(to, as_name)
        self._register("udf", to, as_name, {**body, "name": as_name})
        return replace(self.get_udf(request, to, as_name), status=201)

    def get_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """A registered graph; its nodes as they were sent, array nodes with the id that TileDB Cloud tells beside."""
        identity, body = _registered(self._services.store, "registered_graph", namespace, name)
        nodes = body.get("nodes")
        shown = {"nodes": [_with_array_id(node) for node in nodes]} if isinstance(nodes, list) else {}
        return json_reply({**body, **shown, "uuid": identity, "namespace": namespace, "name": name})

    def post_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a graph."""
        self._register("registered_graph", namespace, name, object_of(request))
        return NO_CONTENT

    def patch_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered graph; another name in the body renames it."""
        return self._update("registered_graph", namespace, name, object_of(request))

    def delete_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered graph."""
        return self._delete("registered_graph", namespace, name)

    def get_registered_graph_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared."""
        return self._shares("registered_graph", namespace, name)

    def patch_registered_graph_share(self, request: Request, namespace: str, name: str) -> Reply:
        """Shares it with a namespace; without actions, no longer."""
        return self._share(request, "registered_graph", namespace, name)


def _check_udf_name(namespace: str, name: str) -> None:
    """Refuses what no call could name: it says `namespace/name`, and perhaps `@` and a time."""
    for text in (namespace, name):
        if not text or text != text.strip() or "/" in text or "@" in text:
            raise Refused(
                400,
                f"{text!r} cannot be the name or the namespace of a UDF: calls write namespace/name@time. Leave "
                "out / and @, and blanks around it.",
            )


def _with_array_id(node: Any) -> Any:
    """Arrays have names here and no ids, so that it is null."""
    if not isinstance(node, dict) or not isinstance(node.get("array_node"), dict):
        return node
    return {**node, "array_node": {"array_uuid": None, **node["array_node"]}}


def registered_udf(services: Services, namespace: str, name: str, at: str | None = None) -> models.UdfInfoUpdate:
    """A registered UDF with its code; of a moment, as it was then.

    Raises:
        Refused: there is none, or there was none then.
    """
    _, body = _registered(services.store, "udf", namespace, name)
    if at is not None:
        row = services.store.row(
            "SELECT body FROM udf_version WHERE namespace = ? AND name = ? AND at <= ? ORDER BY at DESC LIMIT 1",
            (namespace, name, at),
        )
        if row is None:
            raise Refused(404, f"The UDF {namespace}/{name} was registered after {at}.")
        body = json.loads(row[0])
    return from_json(models.UdfInfoUpdate, body)


def _keep_version(connection: sqlite3.Connection, namespace: str, name: str, text: str) -> None:
    connection.execute("INSERT OR REPLACE INTO udf_version VALUES (?, ?, ?, ?)", (namespace, name, now(), text))


def _registered(store: Store, table: str, namespace: str, name: str) -> tuple[str, dict[str, Any]]:
    row = store.row(f"SELECT id, body FROM {table} WHERE namespace = ? AND name = ?", (namespace, name))
    if row is None:
        what = "UDF" if table == "udf" else "task graph"
        raise Refused(404, f"There is no registered {what} {namespace}/{name}.")
    return row[0], json.loads(row[1])
