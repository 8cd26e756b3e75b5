"""The addresses at which TileDB's library opens and reads registered arrays: `tiledb.open("tiledb://...")`.

What is sent stays opaque here: a worker hands it to libtiledb (`native`). Such a read is no task of anybody's: it is
not on record, and it does not wait for a slot, because a function that runs in one may be waiting for it.
"""

from __future__ import annotations

import base64
import os
import shutil

from .exchange import Later, Refused, Reply, Request, RouteRow, error_reply
from .scheduler import Done, Order
from .services import Services

__all__ = ["NativeRoutes"]

MIME = "application/capnp"
TIMEOUT_S = 900
LAST_MOMENT = 2**64 - 1

_PLACE = "/arrays/{namespace}/{array}"
_NO_WRITES = (
    "This server reads arrays by their tiledb:// addresses and does not write them. Write to the place where the array "
    "is (`tiledag arrays list` shows it), or let a query make a new one by output_uri."
)


class NativeRoutes:
    """Open, schema, domain, metadata and reading queries."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._folder = services.store.folder / "reads"
        shutil.rmtree(self._folder, ignore_errors=True)  # what a server that was killed has left

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", f"/v1{_PLACE}", self.get_array_schema),
            ("POST", f"/v1{_PLACE}", self.post_array_schema),
            ("POST", f"/v1{_PLACE}/schema", self.post_schemas),
            ("POST", f"/v2{_PLACE}", self.post_open),
            ("GET", f"/v2{_PLACE}/non_empty_domain", self.get_non_empty_domain),
            ("GET", f"/v1{_PLACE}/array_metadata", self.get_array_metadata),
            ("POST", f"/v1{_PLACE}/array_metadata", self.post_array_metadata),
            ("POST", f"/v1{_PLACE}/enumerations", self.post_enumerations),
            ("POST", f"/v1{_PLACE}/query/est_result_sizes", self.post_result_sizes),
            *(("POST", f"/v{version}{_PLACE}/query/plan", self.post_query_plan) for version in (2, 3)),
            *(("POST", f"/v{version}{_PLACE}/query/submit", self.post_query) for version in (2, 3)),
        ]

    def get_array_schema(self, request: Request, namespace: str, array: str) -> Later:
        """The schema of an array, in TileDB's binary form."""
        return self._read(request, namespace, array, "schema")

    def post_array_schema(self, request: Request, namespace: str, array: str) -> Reply:
        """Refused: arrays are not made by this address."""
        raise Refused(422, _NO_WRITES)

    def post_schemas(self, request: Request, namespace: str, array: str) -> Later:
        """All schemas that an array has had."""
        return self._read(request, namespace, array, "schemas")

    def post_open(self, request: Request, namespace: str, array: str) -> Later:
        """Opens an array: its schemas, fragments, domain and metadata."""
        return self._read(request, namespace, array, "open")

    def get_non_empty_domain(self, request: Request, namespace: str, array: str) -> Later:
        """The ranges in which an array has cells."""
        return self._read(request, namespace, array, "non_empty_domain")

    def get_array_metadata(self, request: Request, namespace: str, array: str) -> Later:
        """The metadata of an array."""
        return self._read(request, namespace, array, "metadata")

    def post_array_metadata(self, request: Request, namespace: str, array: str) -> Reply:
        """Refused: metadata is not written by this address."""
        raise Refused(422, _NO_WRITES)

    def post_enumerations(self, request: Request, namespace: str, array: str) -> Later:
        """Enumerations of an array."""
        return self._read(request, namespace, array, "enumerations")

    def post_result_sizes(self, request: Request, namespace: str, array: str) -> Later:
        """How large the result of a query will be."""
        return self._read(request, namespace, array, "sizes")

    def post_query_plan(self, request: Request, namespace: str, array: str) -> Later:
        """How a query would be carried out."""
        return self._read(request, namespace, array, "plan")

    def post_query(self, request: Request, namespace: str, array: str) -> Later:
        """The cells that a query asks for."""
        return self._read(request, namespace, array, "submit")

    def _read(self, request: Request, namespace: str, array: str, what: str) -> Later:
        uris = self._services.array_uris()
        if "://" not in array and f"{namespace.lower()}/{array}" not in uris:
            raise Refused(404, f"There is no array {namespace}/{array}; `tiledag arrays list` shows those there are.")
        if request.headers.get("content-type") not in (MIME, "application/octet-stream"):
            raise Refused(415, f"Arrays are sent as {MIME} here, which TileDB's library asks for. {_OTHERWISE}")
        if (request.one("type") or "READ") != "READ":
            raise Refused(422, _NO_WRITES)
        job = {
            "kind": "native",
            "what": what,
            "uri": f"tiledb://{namespace}/{array}",
            "array_uris": uris,
            "between": (_moment(request, "start_timestamp", 0), _moment(request, "end_timestamp", LAST_MOMENT)),
            "body": base64.b64encode(request.body).decode(),
            "no_writes": _NO_WRITES,
            "result_format": "bytes",
        }
        order = Order(
            namespace=namespace,
            username=self._services.user,
            name=f"reading {namespace}/{array}",
            type="READ",
            job=job,
            details={},
            timeout=TIMEOUT_S,
            memory_limit=self._services.memory_limits["standard"],
            stored=False,
            aside=self._folder,
        )
        return Later(self._services.scheduler.submit(order), self._reply_with, blocks=True)

    def _reply_with(self, done: Done) -> Reply:
        try:
            if done.status != "COMPLETED":
                return error_reply(422, done.message or done.status, kind=done.error_type)
            # The file goes when it is opened to be sent; its folder goes now.
            file = self._folder / f"{done.task}.result"
            os.replace(done.result, file)
            return Reply(200, headers={"content-type": MIME}, file=file, is_last=True)
        finally:
            shutil.rmtree(done.result.parent, ignore_errors=True)


_OTHERWISE = "Functions get cells by POST /v1/udfs/arrays/{namespace}, queries by POST /v1/sql/{namespace}."


def _moment(request: Request, name: str, otherwise: int) -> int:
    """Milliseconds; the whole range of 64 bits is used."""
    text = request.one(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= LAST_MOMENT):
        raise Refused(400, f"{name} must be a whole number of milliseconds, got {text[:60]!r}.")
    return int(text)
