"""The registry of array names in the contract's words: what there is, where it lies. Data goes by array UDFs."""

from __future__ import annotations

from typing import Any

from ..wire.models import to_json
from .exchange import NO_CONTENT, Refused, Reply, Request, RouteRow, json_reply, object_of, page_of, pagination
from .services import Services, check_place
from .store import Page

__all__ = ["ArrayRoutes"]


class ArrayRoutes:
    """Names of arrays as TileDB's client lists, looks up, adds and removes them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", "/v1/arrays/browser/owned", self.get_owned),
            ("GET", "/v1/arrays/browser/public", self.get_public),
            ("GET", "/v1/arrays/browser/shared", self.get_shared),
            ("GET", "/v1/arrays/{namespace}/{array}/metadata", self.get_info),
            ("POST", "/v1/arrays/{namespace}/{array}/register", self.post_register),
            ("DELETE", "/v1/arrays/{namespace}/{array}/deregister", self.delete_registration),
        ]

    def get_owned(self, request: Request) -> Reply:
        """A page of the user's own arrays."""
        return self._page(request, is_own=True)

    def get_public(self, request: Request) -> Reply:
        """A page of the arrays in other namespaces, as the samples are."""
        return self._page(request, is_own=False)

    def get_shared(self, request: Request) -> Reply:
        """Arrays that others have shared: this server has one user, so none."""
        number, size = page_of(request)
        return json_reply({"pagination_metadata": to_json(pagination(Page((), number, size, 0)))})

    def _page(self, request: Request, *, is_own: bool) -> Reply:
        found = [
            _info(namespace, name, uri)
            for namespace, name, uri in self._services.store.rows(
                "SELECT namespace, name, uri FROM array ORDER BY namespace, name"
            )
            if (namespace.lower() == self._services.user.lower()) is is_own
        ]
        if (wanted := request.one("namespace")) is not None:
            found = [one for one in found if one["namespace"].lower() == wanted.lower()]
        if (text := request.one("search")) is not None:
            found = [one for one in found if text.lower() in one["name"].lower()]
        number, size = page_of(request)
        shown = found[(number - 1) * size : number * size]
        return json_reply(
            {"arrays": shown, "pagination_metadata": to_json(pagination(Page((), number, size, len(found))))}
        )

    def get_info(self, request: Request, namespace: str, array: str) -> Reply:
        """Where an array is."""
        row = self._services.store.row(
            "SELECT namespace, name, uri FROM array WHERE namespace = ? AND name = ?", (namespace, array)
        )
        if row is None:
            raise Refused(404, f"There is no array {namespace}/{array}; `tiledag arrays list` shows those there are.")
        return json_reply(_info(*row))

    def post_register(self, request: Request, namespace: str, array: str) -> Reply:
        """Gives the array at a place a name."""
        body = object_of(request)
        uri, name = body.get("uri"), body.get("name") or array
        if not isinstance(uri, str) or not uri:
            raise Refused(400, "uri must be a text: where the array is.")
        if not isinstance(name, str) or "/" in name or "/" in namespace:
            raise Refused(400, "A namespace and a name are texts without a slash.")
        try:
            check_place(uri)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        self._services.add_array(namespace, name, uri)
        return json_reply(_info(namespace, name, uri))

    def delete_registration(self, request: Request, namespace: str, array: str) -> Reply:
        """Takes the name of an array back; the array stays."""
        statement = "DELETE FROM array WHERE namespace = ? AND name = ?"
        if not self._services.store.execute((statement, (namespace, array))):
            raise Refused(404, f"There is no array {namespace}/{array}.")
        return NO_CONTENT


def _info(namespace: str, name: str, uri: str) -> dict[str, Any]:
    identity = f"tiledb://{namespace}/{name}"
    return {
        "id": identity,
        "namespace": namespace,
        "name": name,
        "uri": uri,
        "tiledb_uri": identity,
        "allowed_actions": ["read", "read_array_schema", "read_array_info"],
    }
