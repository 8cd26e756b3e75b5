"""Calls: a function or a query comes in, a task runs, its result goes out. What is in them stays opaque here."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..wire import codec, models
from ..wire.models import from_json, to_json
from ..wire.records import OWNER_HEADER, RunOwner
from .exchange import (
    TASK_HEADER,
    UUID,
    Later,
    Refused,
    Reply,
    Request,
    RouteRow,
    body_as,
    error_reply,
    json_of,
    moment_of,
)
from .registry_routes import registered_udf
from .scheduler import Done, Order
from .services import Services

__all__ = ["CallRoutes"]

DEFAULT_TIMEOUT_S = 900

_UDF_NAME = re.compile(
    r"(?P<namespace>[^/@]+)/(?P<name>[^/@]+?)\s*"
    r"(@\s*(?P<day>\d{4}-\d\d-\d\d)([ Tt](?P<time>\d\d:\d\d(:\d\d(\.\d{1,6})?)?))?\s*)?"
)


class CallRoutes:
    """The routes of sections 2.1 to 2.3 of the contract."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("POST", "/v1/udfs/generic/{namespace}", self.post_generic_udf),
            ("POST", "/v1/udfs/arrays/{namespace}", self.post_array_udf),
            ("POST", "/v1/arrays/{namespace}/{array}/udf/submit", self.post_udf_on_array),
            ("POST", "/v1/sql/{namespace}", self.post_sql),
        ]

    def post_generic_udf(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a function; replies with its result."""
        return self._submit_udf(request, namespace, body_as(models.UdfCall, request), "GENERIC_UDF")

    def post_array_udf(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a function on the data of arrays; replies with its result."""
        return self._submit_udf(request, namespace, body_as(models.UdfCall, request), "UDF")

    def post_udf_on_array(self, request: Request, namespace: str, array: str) -> Reply | Later:
        """The older address for one array, which is named in the path."""
        raw = json_of(request)
        if isinstance(raw, dict) and not raw.get("arrays"):
            uri = f"tiledb://{namespace}/{array}"
            raw["arrays"] = [{"uri": uri, "ranges": raw.get("ranges"), "buffers": raw.get("buffers")}]
        payer = request.headers.get("x-payer") or namespace
        return self._submit_udf(request, payer, from_json(models.UdfCall, raw), "UDF")

    def _submit_udf(self, request: Request, namespace: str, call: models.UdfCall, kind: str) -> Reply | Later:
        code, language, version = self._code_of(call)
        if (language or "python") != "python":
            raise Refused(400, f"language is {language!r}; this server runs Python only.")
        _check_version(version)
        if call.arguments_json is not None:
            codec.check_arguments(call.arguments_json)
        if call.result_format is models.ResultFormat.R_SERIALIZATION:
            raise Refused(400, "result_format 'r_serialization' is for R only.")
        arrays = [to_json(details) for details in call.arrays or ()] if kind == "UDF" else []
        job = {
            "kind": "udf",
            "exec": code,
            "arguments_json": call.arguments_json,
            "argument": call.argument,
            "arrays": arrays,
            "array_uris": self._services.array_uris() if kind == "UDF" else {},
            "stored": self._stored(call),
            "result_format": str(call.result_format),
        }
        details = {
            "udf_code": call.exec_raw,
            "udf_language": language or "python",
            "result_format": str(call.result_format),
            "array": [item["uri"] for item in arrays],
        }
        return self._submit(request, call, namespace, call.task_name, kind, job, details)

    def _code_of(self, call: models.UdfCall) -> tuple[str, str | None, str | None]:
        if (call.exec is None) == (call.udf_info_name is None):
            raise Refused(400, "Exactly one of exec and udf_info_name must be given.")
        if call.exec is not None:
            return call.exec, call.language, call.version
        name = _UDF_NAME.fullmatch(call.udf_info_name or "")
        if name is None:
            raise Refused(400, f"udf_info_name is {call.udf_info_name!r}; expected namespace/name.")
        found = registered_udf(self._services, name["namespace"], name["name"], _moment_in(name))
        if found.exec is None:
            raise Refused(400, f"The registered UDF {call.udf_info_name!r} has no code.")
        return found.exec, found.language, found.version

    def _stored(self, call: models.UdfCall) -> dict[str, tuple[str, str]]:
        """File and type of each stored parameter that the call names."""
        named = set(call.stored_param_uuids or ())
        named |= {task for kind, task in codec.references_in(list(call.arguments_json or ())) if kind == "stored_param"}
        files: dict[str, tuple[str, str]] = {}
        for task in sorted(named):
            record = self._services.store.task(task.lower()) if UUID.fullmatch(task.lower()) else None
            file = self._services.store.folder_of(record.id if record is not None else "none") / "result"
            if record is None or record.status != "COMPLETED" or record.mime is None or not file.exists():
                raise Refused(
                    422, f"RETRY_WITH_PARAMS: the result of task {task} is not stored here. Send the value itself."
                )
            files[record.id] = (str(file), record.mime)
        return files

    def post_sql(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a query; replies with its rows."""
        call = body_as(models.SqlCall, request)
        uris = self._services.array_uris()
        made = self._new_array(call.output_uri, uris)
        job = {
            "kind": "sql",
            "query": call.query,
            "init_commands": call.init_commands or (),
            "parameters": call.parameters or (),
            "output_uri": call.output_uri,
            "array_uris": uris,
            "result_format": str(call.result_format),
        }
        details = {
            "sql_query": call.query,
            "sql_init_commands": call.init_commands,
            "sql_parameters": call.parameters,
            "result_format": str(call.result_format),
        }
        later = self._submit(request, call, namespace, call.name, "SQL", job, details)
        if made is None:
            return later

        def then(done: Done) -> Reply:
            if done.status == "COMPLETED":
                self._services.add_array(*made)
            return later.then(done)

        return replace(later, then=then, blocks=True)

    def _new_array(self, uri: str | None, uris: dict[str, str]) -> tuple[str, str, str] | None:
        """Namespace, name and place of an array that a query makes under a name not registered yet."""
        if uri is None or not uri.startswith("tiledb://"):
            return None
        namespace, _, name = uri.removeprefix("tiledb://").partition("/")
        key = f"{namespace.lower()}/{name}"
        if not namespace or not name or "/" in name or key in uris:
            return None
        uris[key] = str(self._services.store.folder / "arrays" / uuid.uuid4().hex)
        return namespace, name, uris[key]

    def _submit(
        self,
        request: Request,
        call: models.UdfCall | models.SqlCall,
        namespace: str,
        name: str | None,
        kind: str,
        job: Mapping[str, Any],
        details: Mapping[str, Any],
    ) -> Later:
        graph = models.uuid_or_none(call.task_graph_uuid)  # `taskgraphs` sends the text None
        node = models.uuid_or_none(call.client_node_uuid)
        order = Order(
            namespace=namespace,
            username=self._services.user,
            name=name,
            type=kind,
            job=job,
            details=details,
            timeout=_timeout_of(call.timeout),
            memory_limit=self._memory_limit_of(call.resource_class),
            stored=bool(call.store_results),
            graph=str(graph) if graph is not None else None,
            node=str(node) if node is not None and graph is not None else None,
            request=request.headers.get("x-tiledag-request-id"),
        )
        wants_body = not call.dont_download_results
        # Where a repeat of this request could be told from a new one, the result waits for it a while.
        is_last = not order.stored and order.key is None
        owners, owner = self._services.owners, RunOwner.of_header(request.headers.get(OWNER_HEADER.lower(), ""))
        owner = owners.seen(order.graph, owner) if order.graph is not None else None
        running = self._services.scheduler.submit(order)
        if order.graph is not None:
            owners.note(order.graph, owner)
        return Later(running, lambda done: _reply_with(done, wants_body, is_last))

    def _memory_limit_of(self, resource_class: str | None) -> int:
        name, limits = resource_class or "standard", self._services.memory_limits
        if name not in limits:
            raise Refused(400, f"resource_class is {name!r}, expected one of: {', '.join(limits)}")
        return limits[name]


def _moment_in(name: re.Match[str]) -> str | None:
    """The time behind a name, which is UTC; a day means its begin."""
    if name["day"] is None:
        return None
    return moment_of("the time in udf_info_name", f"{name['day']}T{_whole_time(name['time'] or '00:00')}")


def _whole_time(text: str) -> str:
    """With seconds and all six digits of their fraction: Python 3.10 reads nothing shorter."""
    minutes, _, fraction = text.partition(".")
    return (minutes if minutes.count(":") == 2 else f"{minutes}:00") + f".{fraction:0<6}"


def python_version() -> str:
    """Of this server and its workers."""
    return ".".join(map(str, sys.version_info[:3]))


def _check_version(version: str | None) -> None:
    """Bytecode works for the same minor version only; without this check the worker may crash."""
    if version is None:
        return
    asked = version.split(".")[:2]
    here = [str(number) for number in sys.version_info[:2]]
    if asked != here:
        raise Refused(
            422,
            f"This function was pickled by Python {'.'.join(asked)}, and the server runs Python {'.'.join(here)}: "
            "code goes between equal minor versions only. Start the server with the same Python.",
        )


def _timeout_of(timeout: float | None) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT_S
    if not 0 < timeout < 1e9:
        raise Refused(400, f"timeout is {timeout}; expected a number of seconds above 0.")
    return timeout


def _reply_with(done: Done, wants_body: bool, is_last: bool) -> Reply:
    if done.status == "COMPLETED":
        headers = {TASK_HEADER: done.task, "content-type": done.mime or "application/octet-stream"}
        if is_last and not wants_body:
            done.result.unlink(missing_ok=True)
        return Reply(200, headers=headers, file=done.result if wants_body else None, is_last=is_last)
    status = 409 if done.status == "CANCELLED" else 422
    text = done.message or done.status
    return error_reply(status, text, kind=done.error_type, traceback=done.traceback, task=done.task)
