"""Every route as a function from a request to a reply: no sockets, no framework; `http` has let the request in.

What a client sent and what a function returned is opaque here: base64 and tagged JSON are handed to a worker as they
came, results go out as files. Bodies are validated where they enter, into the dataclasses of `wire.models`.
"""

from __future__ import annotations

import getpass
import json
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote

from ..errors import InvalidBody
from ..wire import codec, models
from ..wire.models import from_json, to_json
from .scheduler import MEMORY_LIMITS, Done, Order, Scheduler
from .store import Log, LogNode, Page, Store, StoreError, Task

__all__ = ["Api", "Later", "Leases", "Reply", "Request", "error_reply"]

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 900
MOST_PER_PAGE = 1000
OUTPUT_PIECE = 1 << 20
OUTPUT_IN_TASK = 1 << 18
LEASE_S = 15.0
LONGEST_WAIT_S = 30.0

TASK_HEADER = "X-TILEDB-CLOUD-TASK-ID"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request, let in but not yet understood."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    id: str = ""

    def one(self, name: str) -> str | None:
        """The last value of a query parameter; None if absent or empty."""
        values = self.query.get(name)
        return values[-1] if values and values[-1] else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a body, or the content of a file."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """A reply that can be made when a future is done, or patience has ended."""

    future: Future[Any]
    then: Callable[[Any], Reply]
    patience: float | None = None
    otherwise: Callable[[], Reply] | None = None
    blocks: bool = False
    """Whether `then` reads or writes records, so that it must not run where sockets are served."""


class _Refused(Exception):
    """Ends a route with an error reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(to_json(value)).encode(), {"content-type": JSON})


def error_reply(
    status: int, message: str, *, kind: str | None = None, traceback: str | None = None, task: str | None = None
) -> Reply:
    """An error body of the contract; `http` adds the id of the request."""
    body = models.ErrorBody(status, message, None, kind, traceback)
    headers = {"content-type": JSON, **({TASK_HEADER: task} if task is not None else {})}
    return Reply(status, json.dumps(to_json(body)).encode(), headers)


NO_CONTENT = Reply(204)


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


Handler: TypeAlias = Callable[..., "Reply | Later"]
Route: TypeAlias = tuple[str, tuple[str, ...], Handler]

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_UDF_NAME = re.compile(
    r"(?P<namespace>[^/@]+)/(?P<name>[^/@]+?)\s*(@\s*\d{4}-\d\d-\d\d([ Tt]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?\s*)?"
)


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
    ) -> None:
        self._store = store
        self._scheduler = scheduler
        self._token = token
        self._leases = leases or Leases()
        self._stop = stop
        self._version = version
        self._memory_limits = memory_limits
        self._user = user or user_name()
        self._instance = uuid.uuid4().hex
        self.routes: Sequence[Route] = self._all_routes()

    def _all_routes(self) -> list[Route]:
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/v1/user", self.get_user),
            ("GET", "/v1/users/{username}", self.get_user_named),
            ("GET", "/v1/session", self.get_session),
            ("POST", "/v1/token", self.get_session),
            ("GET", "/v1/tokens", self.get_tokens),
            ("GET", "/v1/tokens/session", self.get_tokens),
            ("GET", "/v1/tokens/scopes", self.get_scopes),
            ("GET", "/v1/organizations", self.get_organizations),
            ("POST", "/v1/udfs/generic/{namespace}", self.post_generic_udf),
            ("POST", "/v1/udfs/arrays/{namespace}", self.post_array_udf),
            ("POST", "/v1/arrays/{namespace}/{array}/udf/submit", self.post_udf_on_array),
            ("POST", "/v1/sql/{namespace}", self.post_sql),
            ("GET", "/v1/task/{task}", self.get_task),
            ("GET", "/v1/task/{task}/result", self.get_result),
            ("GET", "/v1/tasks", self.get_tasks),
            ("GET", "/v1/tasks/sidebar", self.get_sidebar),
            ("POST", "/v1/taskgraphs/{namespace}/log", self.post_log),
            ("GET", "/v1/taskgraphs/logs", self.get_logs),
            ("GET", "/v1/taskgraphs/{namespace}/logs/{log}", self.get_log),
            ("PATCH", "/v1/taskgraphs/{namespace}/logs/{log}", self.patch_log),
            ("POST", "/v1/taskgraphs/{namespace}/logs/{log}/report_client_node", self.post_report),
            ("POST", "/v1/taskgraphs/{namespace}/executions/{log}/stop", self.post_stop_run),
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
            ("GET", "/tiledag/v1/info", self.get_info),
            ("GET", "/tiledag/v1/openapi.json", self.get_openapi),
            ("POST", "/tiledag/v1/leases", self.post_lease),
            ("DELETE", "/tiledag/v1/leases/{client}", self.delete_lease),
            ("GET", "/tiledag/v1/tasks/{task}/output", self.get_output),
            ("POST", "/tiledag/v1/tasks/{task}/stop", self.post_stop_task),
            ("GET", "/tiledag/v1/arrays", self.get_arrays),
            ("POST", "/tiledag/v1/arrays", self.post_array),
            ("DELETE", "/tiledag/v1/arrays/{namespace}/{name}", self.delete_array),
            ("POST", "/tiledag/v1/prune", self.post_prune),
            ("POST", "/tiledag/v1/stop", self.post_stop),
        ]
        return [(method, tuple(path.strip("/").split("/")), handler) for method, path, handler in table]

    # --- the way in ------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Reply | Later:
        """The reply, or how to make it later. Never raises."""
        self._leases.touch()
        return _guarded(lambda: self._route(request))

    def finish(self, later: Later, done: Future[Any] | None) -> Reply:
        """The reply to a request whose future is done; `done` is None when patience ended first. Never raises."""

        def made() -> Reply:
            if done is None:
                return later.otherwise() if later.otherwise is not None else NO_CONTENT
            return later.then(done.result())

        reply = _guarded(made)
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
        if "/".join(parts[:1]) == "v1" and parts[-1:] and parts[-1] in ("retry", "resubmit", "graphs", "submit"):
            raise _Refused(404, "Batch graphs are not served by this version of tiledag-widget.")
        raise _Refused(404, "There is nothing here.")

    # --- who is who ------------------------------------------------------------------------------------------

    def get_user(self, request: Request) -> Reply:
        """Who asks: always the one user of this server."""
        actions = ("read", "write", "create", "delete", "edit", "read_array_logs", "read_job_logs", "run_job")
        return _json_reply(models.User(self._user, (), actions, self._user, self._user, self._user))

    def get_user_named(self, request: Request, username: str) -> Reply:
        """That user by name."""
        if username != self._user:
            raise _Refused(404, f"This server knows only the user {self._user!r}.")
        return self.get_user(request)

    def get_session(self, request: Request) -> Reply:
        """The token of this server, for who has shown it already as a password."""
        issued = datetime.now(timezone.utc).isoformat()
        return _json_reply(models.Token(self._token, "session", issued, None, "*"))

    def get_tokens(self, request: Request) -> Reply:
        """Tokens besides the server's own: none."""
        return _json_reply(())

    def get_scopes(self, request: Request) -> Reply:
        """What a token may allow."""
        return _json_reply(("*",))

    def get_organizations(self, request: Request) -> Reply:
        """Organizations: none."""
        return _json_reply(())

    # --- calls -----------------------------------------------------------------------------------------------

    def post_generic_udf(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a function; replies with its result."""
        return self._submit_udf(request, namespace, _body_as(models.UdfCall, request), "GENERIC_UDF")

    def post_array_udf(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a function on the data of arrays; replies with its result."""
        return self._submit_udf(request, namespace, _body_as(models.UdfCall, request), "UDF")

    def post_udf_on_array(self, request: Request, namespace: str, array: str) -> Reply | Later:
        """The older address for one array, which is named in the path."""
        raw = _json_of(request)
        if isinstance(raw, dict) and not raw.get("arrays"):
            uri = f"tiledb://{namespace}/{array}"
            raw["arrays"] = [{"uri": uri, "ranges": raw.get("ranges"), "buffers": raw.get("buffers")}]
        payer = request.headers.get("x-payer") or namespace
        return self._submit_udf(request, payer, from_json(models.UdfCall, raw), "UDF")

    def _submit_udf(self, request: Request, namespace: str, call: models.UdfCall, kind: str) -> Reply | Later:
        code, language, version = self._code_of(call)
        if (language or "python") != "python":
            raise _Refused(400, f"language is {language!r}; this server runs Python only.")
        _check_version(version)
        if call.arguments_json is not None:
            codec.check_arguments(call.arguments_json)
        if call.result_format is models.ResultFormat.R_SERIALIZATION:
            raise _Refused(400, "result_format 'r_serialization' is for R only.")
        arrays = [to_json(details) for details in call.arrays or ()] if kind == "UDF" else []
        job = {
            "kind": "udf",
            "exec": code,
            "arguments_json": call.arguments_json,
            "argument": call.argument,
            "arrays": arrays,
            "array_uris": self._array_uris() if kind == "UDF" else {},
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
            raise _Refused(400, "Exactly one of exec and udf_info_name must be given.")
        if call.exec is not None:
            return call.exec, call.language, call.version
        name = _UDF_NAME.fullmatch(call.udf_info_name or "")
        if name is None:
            raise _Refused(400, f"udf_info_name is {call.udf_info_name!r}; expected namespace/name.")
        found = self._udf(name["namespace"], name["name"])
        if found.exec is None:
            raise _Refused(400, f"The registered UDF {call.udf_info_name!r} has no code.")
        return found.exec, found.language, found.version

    def _stored(self, call: models.UdfCall) -> dict[str, tuple[str, str]]:
        """File and type of each stored parameter that the call names."""
        named = set(call.stored_param_uuids or ())
        named |= {task for kind, task in codec.references_in(list(call.arguments_json or ())) if kind == "stored_param"}
        files: dict[str, tuple[str, str]] = {}
        for task in sorted(named):
            record = self._store.task(task.lower()) if _UUID.fullmatch(task.lower()) else None
            file = self._store.folder_of(record.id if record is not None else "none") / "result"
            if record is None or record.status != "COMPLETED" or record.mime is None or not file.exists():
                raise _Refused(
                    422, f"RETRY_WITH_PARAMS: the result of task {task} is not stored here. Send the value itself."
                )
            files[record.id] = (str(file), record.mime)
        return files

    def post_sql(self, request: Request, namespace: str) -> Reply | Later:
        """Runs a query; replies with its rows."""
        call = _body_as(models.SqlCall, request)
        uris = self._array_uris()
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
                self.add_array(*made)
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
        uris[key] = str(self._store.folder / "arrays" / uuid.uuid4().hex)
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
            username=self._user,
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
        return Later(self._scheduler.submit(order), lambda done: _reply_with(done, wants_body))

    def _memory_limit_of(self, resource_class: str | None) -> int:
        name = resource_class or "standard"
        if name not in self._memory_limits:
            raise _Refused(400, f"resource_class is {name!r}, expected one of: {', '.join(self._memory_limits)}")
        return self._memory_limits[name]

    # --- tasks -----------------------------------------------------------------------------------------------

    def _task(self, task: str) -> Task:
        found = self._store.task(task.lower()) if _UUID.fullmatch(task.lower()) else None
        if found is None:
            raise _Refused(404, f"There is no task {task}.")
        return found

    def get_task(self, request: Request, task: str) -> Reply:
        """The record of a task, with what it printed."""
        found = self._task(task)
        output, _ = self._output_of(found.id, 0, OUTPUT_IN_TASK)
        return _json_reply(_array_task(found, output))

    def get_result(self, request: Request, task: str) -> Reply:
        """The stored result; of a failed task its exception, pickled. 202 while it runs."""
        found = self._task(task)
        if found.status in ("QUEUED", "RUNNING"):
            return Reply(202, headers={TASK_HEADER: found.id})
        file = self._store.folder_of(found.id) / "result"
        if found.mime is None or not file.exists() or (found.status == "COMPLETED" and not found.stored):
            raise _Refused(404, f"The result of task {found.id} is not stored.")
        return Reply(200, headers={"content-type": found.mime, TASK_HEADER: found.id}, file=file)

    def get_tasks(self, request: Request) -> Reply:
        """A page of tasks."""
        where: dict[str, Any] = {}
        for name, condition in (("namespace", "namespace = ? COLLATE NOCASE"), ("created_by", "username = ?")):
            if (value := request.one(name)) is not None:
                where[condition] = value
        for name, condition in (("type", "type = ?"), ("status", "status = ? COLLATE NOCASE")):
            if (value := request.one(name)) is not None:
                where[condition] = value
        if (value := request.one("search")) is not None:
            where["name LIKE ? ESCAPE '\\'"] = _like(value)
        if (value := request.one("array")) is not None:
            where["details LIKE ? ESCAPE '\\'"] = _like(value)
        for name, condition in (("start", "created >= ?"), ("end", "created <= ?")):
            if (value := request.one(name)) is not None:
                where[condition] = _utc_text(datetime.fromtimestamp(_number(name, value), timezone.utc))
        excluded = [kind for value in request.query.get("exclude_type", ()) for kind in value.split(",") if kind]
        for number, kind in enumerate(excluded):
            where[f"type != ? AND {number} = {number}"] = kind
        orders = {None: "seq DESC", "start_time": "started DESC, seq DESC", "name": "name, seq DESC"}
        order = orders.get(request.one("orderby"), "seq DESC")
        number, size = _page_of(request)
        tasks, page = self._store.task_page(where, order, number, size)
        return _json_reply(models.ArrayTaskData(tuple(map(_array_task, tasks)), _pagination(page)))

    def get_sidebar(self, request: Request) -> Reply:
        """Counts of tasks by namespace."""
        rows = self._store.rows("SELECT namespace, count(*) FROM task GROUP BY namespace")
        counts = {row[0]: row[1] for row in rows}
        body = {
            "organizations": sorted(counts),
            "result_count_for_all": sum(counts.values()),
            "result_count_by_namespace": counts,
        }
        return _json_reply(body)

    def _output_of(self, task: str, start: int, most: int) -> tuple[str, int]:
        try:
            with open(self._store.folder_of(task) / "output", "rb") as file:
                file.seek(start)
                data = file.read(most)
        except OSError:
            return "", start
        return data.decode("utf-8", "replace"), start + len(data)

    def get_output(self, request: Request, task: str) -> Reply:
        """What a task has printed from a byte position on, live while it runs."""
        found = self._task(task)
        start = _whole_number("after", request.one("after") or "0")
        text, position = self._output_of(found.id, start, OUTPUT_PIECE)
        return _json_reply({"text": text, "position": position, "status": found.status})

    def post_stop_task(self, request: Request, task: str) -> Reply:
        """Ends a task that waits or runs."""
        found = self._task(task)
        if not self._scheduler.stop(found.id):
            raise _Refused(409, f"Task {found.id} has ended already ({found.status}).")
        return NO_CONTENT

    # --- logs ------------------------------------------------------------------------------------------------

    def _log(self, log: str) -> Log:
        found = self._store.log(log.lower()) if _UUID.fullmatch(log.lower()) else None
        if found is None:
            raise _Refused(404, f"There is no log {log}.")
        return found

    def post_log(self, request: Request, namespace: str) -> Reply:
        """Begins the record of a run."""
        body = _body_as(models.TaskGraphLog, request)
        nodes = [
            LogNode(one.client_node_uuid.lower(), one.name, tuple(one.depends_on or ()), one.run_location or "server")
            for one in body.nodes or ()
        ]
        known: set[str] = set()
        for index, node in enumerate(nodes):
            if node.id in known:
                raise _Refused(400, f"nodes[{index}]: a second node with the id {node.id}.")
            known.add(node.id)
        if body.name is not None and len(body.name) > 255:
            raise _Refused(400, "name is longer than 255 characters.")
        log = self._store.add_log(namespace, self._user, body.name, nodes)
        return _json_reply(self._whole_log(log), 201)

    def get_logs(self, request: Request) -> Reply:
        """A page of runs without their nodes, newest first."""
        where: dict[str, Any] = {}
        conditions = {
            "namespace": "namespace = ? COLLATE NOCASE",
            "created_by": "created_by = ?",
            "status": "status = ?",
        }
        for name, condition in conditions.items():
            if (value := request.one(name)) is not None:
                where[condition] = value
        if (value := request.one("search")) is not None:
            where["name LIKE ? ESCAPE '\\'"] = _like(value)
        for name, condition in (("start_time", "created >= ?"), ("end_time", "created <= ?")):
            if (value := request.one(name)) is not None:
                where[condition] = _moment(name, value)
        number, size = _page_of(request)
        logs, page = self._store.log_page(where, number, size)
        return _json_reply(models.TaskGraphLogsData(tuple(map(_light_log, logs)), _pagination(page)))

    def get_log(self, request: Request, namespace: str, log: str) -> Reply:
        """A run with its nodes and their executions."""
        return _json_reply(self._whole_log(self._log(log)))

    def _whole_log(self, log: Log) -> models.TaskGraphLog:
        executions: dict[str, list[models.ArrayTask]] = {}
        for task in self._store.tasks_of_graph(log.id):
            if task.node is not None:
                executions.setdefault(task.node, []).append(_array_task(task))
        nodes = tuple(_node_metadata(node, executions.get(node.id, [])) for node in self._store.log_nodes(log.id))
        counts: dict[str, float] = {}
        for node in nodes:
            counts[node.status or "UNKNOWN"] = counts.get(node.status or "UNKNOWN", 0) + 1
        return replace(_light_log(log), nodes=nodes, status_count=counts)

    def patch_log(self, request: Request, namespace: str, log: str) -> Reply:
        """Records how a run ended."""
        found = self._log(log)
        update = _body_as(models.LogUpdate, request)
        if str(update.status) not in ("succeeded", "failed", "cancelled"):
            raise _Refused(400, f"status is {str(update.status)!r}, expected one of: succeeded, failed, cancelled")
        self._store.end_log(found.id, str(update.status))
        return NO_CONTENT

    def post_report(self, request: Request, namespace: str, log: str) -> Reply:
        """Records how a node that runs at the client ended."""
        found = self._log(log)
        report = _body_as(models.ClientNodeReport, request)
        if not self._store.report_node(found.id, report.client_node_uuid.lower(), str(report.status)):
            raise _Refused(404, f"Log {found.id} has no node {report.client_node_uuid}.")
        return NO_CONTENT

    def post_stop_run(self, request: Request, namespace: str, log: str) -> Reply:
        """Ends what runs of a graph."""
        found = self._log(log)
        for task in self._store.tasks_of_graph(found.id):
            if task.status in ("QUEUED", "RUNNING"):
                self._scheduler.stop(task.id)
        self._store.end_log(found.id, "cancelled")
        return NO_CONTENT

    # --- registered functions and graphs ---------------------------------------------------------------------

    def _registered(self, table: str, namespace: str, name: str) -> tuple[str, dict[str, Any]]:
        row = self._store.row(f"SELECT id, body FROM {table} WHERE namespace = ? AND name = ?", (namespace, name))
        if row is None:
            what = "UDF" if table == "udf" else "task graph"
            raise _Refused(404, f"There is no registered {what} {namespace}/{name}.")
        return row[0], json.loads(row[1])

    def _register(self, table: str, namespace: str, name: str, body: Mapping[str, Any]) -> Reply:
        values = (namespace, name, str(uuid.uuid4()), json.dumps(body))
        count = self._store.execute(
            (f"INSERT OR IGNORE INTO {table} (namespace, name, id, body) VALUES (?, ?, ?, ?)", values)
        )
        if not count:
            raise _Refused(409, f"{namespace}/{name} is registered already; update it, or delete it first.")
        return NO_CONTENT

    def _update(self, table: str, namespace: str, name: str, changes: Mapping[str, Any]) -> Reply:
        _, body = self._registered(table, namespace, name)
        new_name = changes.get("name") or name
        if not isinstance(new_name, str):
            raise _Refused(400, "name must be a text.")
        if new_name != name and self._store.row(
            f"SELECT 1 FROM {table} WHERE namespace = ? AND name = ?", (namespace, new_name)
        ):
            raise _Refused(409, f"{namespace}/{new_name} is registered already.")
        text = json.dumps({**body, **changes})
        statement = f"UPDATE {table} SET name = ?, body = ? WHERE namespace = ? AND name = ?"
        self._store.execute((statement, (new_name, text, namespace, name)))
        return NO_CONTENT

    def _delete(self, table: str, namespace: str, name: str) -> Reply:
        self._registered(table, namespace, name)
        self._store.execute((f"DELETE FROM {table} WHERE namespace = ? AND name = ?", (namespace, name)))
        return NO_CONTENT

    def _udf(self, namespace: str, name: str) -> models.UdfInfoUpdate:
        _, body = self._registered("udf", namespace, name)
        return from_json(models.UdfInfoUpdate, body)

    def get_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """A registered UDF, without its code."""
        identity, body = self._registered("udf", namespace, name)
        found = from_json(models.UdfInfoUpdate, body)
        tags = found.tags
        text = (found.readme, found.license_id, found.license_text)
        return _json_reply(models.UdfInfo(identity, name, found.language, found.type, *text, tags))

    def post_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a UDF."""
        body = _body_as(models.UdfInfoUpdate, request)
        return self._register("udf", namespace, name, to_json(body))

    def patch_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered UDF."""
        return self._update("udf", namespace, name, to_json(_body_as(models.UdfInfoUpdate, request)))

    def delete_udf(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered UDF."""
        return self._delete("udf", namespace, name)

    def get_udf_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared: this server has one user."""
        self._registered("udf", namespace, name)
        return _json_reply(())

    def get_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """A registered graph; its nodes exactly as they were sent."""
        identity, body = self._registered("registered_graph", namespace, name)
        return _json_reply({**body, "uuid": identity, "namespace": namespace, "name": name})

    def post_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Registers a graph."""
        return self._register("registered_graph", namespace, name, _graph_body(request))

    def patch_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Changes a registered graph; another name in the body renames it."""
        return self._update("registered_graph", namespace, name, _graph_body(request))

    def delete_registered_graph(self, request: Request, namespace: str, name: str) -> Reply:
        """Forgets a registered graph."""
        return self._delete("registered_graph", namespace, name)

    def get_registered_graph_shares(self, request: Request, namespace: str, name: str) -> Reply:
        """With whom it is shared: this server has one user."""
        self._registered("registered_graph", namespace, name)
        return _json_reply(())

    # --- our own routes --------------------------------------------------------------------------------------

    def get_info(self, request: Request) -> Reply:
        """What this server is; other servers do not have this address."""
        body = {
            "server": "tiledag",
            "version": self._version,
            "python": _python_version(),
            "user": self._user,
            "instance": self._instance,
            "clients": self._leases.clients(),
            "idle": self._scheduler.is_idle(),
        }
        return _json_reply(body)

    def get_openapi(self, request: Request) -> Reply:
        """This server's routes and bodies as an OpenAPI document."""
        from .openapi import document

        return _json_reply(document(self.routes, self._version))

    def post_lease(self, request: Request) -> Reply:
        """Keeps the server for a client for 15 s."""
        body = _json_of(request)
        client = body.get("client") if isinstance(body, dict) else None
        if not isinstance(client, str) or not 0 < len(client) <= 200:
            raise _Refused(400, "client must be a text of 1 to 200 characters.")
        self._leases.renew(client)
        return _json_reply({"client": client, "seconds": LEASE_S, "instance": self._instance})

    def delete_lease(self, request: Request, client: str) -> Reply:
        """A client leaves."""
        self._leases.end(client)
        return NO_CONTENT

    def _array_uris(self) -> dict[str, str]:
        """Where the registered arrays are, by `namespace/name`, the namespace in lower case."""
        return {f"{row[0].lower()}/{row[1]}": row[2] for row in self._store.rows("SELECT * FROM array")}

    def get_arrays(self, request: Request) -> Reply:
        """The registered arrays."""
        rows = self._store.rows("SELECT namespace, name, uri FROM array ORDER BY namespace, name")
        return _json_reply({"arrays": [{"namespace": row[0], "name": row[1], "uri": row[2]} for row in rows]})

    def post_array(self, request: Request) -> Reply:
        """Gives an array a name; a name that is taken moves to the new place."""
        body = _json_of(request)
        found = [body.get(key) if isinstance(body, dict) else None for key in ("namespace", "name", "uri")]
        namespace, name, uri = found[0] or self._user, found[1], found[2]
        if not all(isinstance(text, str) and text for text in (namespace, name, uri)):
            raise _Refused(400, "name and uri must be texts.")
        if "/" in namespace or "/" in str(name):
            raise _Refused(400, "A namespace and a name have no slash.")
        self.add_array(namespace, str(name), str(uri))
        return _json_reply({"namespace": namespace, "name": name, "uri": uri}, 201)

    def add_array(self, namespace: str, name: str, uri: str) -> None:
        """Gives an array a name."""
        statement = "INSERT OR REPLACE INTO array (namespace, name, uri) VALUES (?, ?, ?)"
        self._store.execute((statement, (namespace, name, uri)))

    def delete_array(self, request: Request, namespace: str, name: str) -> Reply:
        """Takes the name of an array back; the array stays."""
        values = (namespace, name)
        if not self._store.execute(("DELETE FROM array WHERE namespace = ? AND name = ?", values)):
            raise _Refused(404, f"There is no array {namespace}/{name}.")
        return NO_CONTENT

    def post_prune(self, request: Request) -> Reply:
        """Forgets what is older than some days, with its files."""
        body = _json_of(request)
        days = body.get("days", 30) if isinstance(body, dict) else None
        if isinstance(days, bool) or not isinstance(days, (int, float)) or not 0 <= days < 36500:
            raise _Refused(400, "days must be a number from 0.")
        moment = datetime.fromtimestamp(time.time() - days * 86400, timezone.utc)
        return _json_reply({"tasks": self._store.prune(_utc_text(moment))})

    def post_stop(self, request: Request) -> Reply:
        """Ends the server."""
        if self._stop is None:
            raise _Refused(409, "This server cannot be stopped by a request.")
        self._stop()
        return NO_CONTENT


# --- requests -----------------------------------------------------------------------------------------------


def _guarded(made: Callable[[], Reply | Later]) -> Reply | Later:
    try:
        return made()
    except _Refused as refused:
        return error_reply(refused.status, str(refused))
    except (InvalidBody, UnicodeDecodeError, RecursionError) as error:
        return error_reply(400, str(error) or "The request cannot be read.")
    except StoreError as error:
        return error_reply(507, str(error))
    except OSError as error:
        return error_reply(507, f"The server's folder cannot be used: {error}")
    except Exception as error:
        import logging

        logging.getLogger(__name__).exception("a route failed")
        return error_reply(501, f"The server has a bug: {type(error).__name__}.")


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


def _json_of(request: Request) -> Any:
    try:
        return json.loads(request.body or b"null")
    except (ValueError, RecursionError) as error:
        raise _Refused(400, f"The body is not JSON: {error}") from None


def _body_as(cls: type[T], request: Request) -> T:
    try:
        return from_json(cls, _json_of(request))
    except (OverflowError, ValueError) as error:
        if isinstance(error, InvalidBody):
            raise
        raise _Refused(400, f"The body has a number that cannot be used: {error}") from None


def _graph_body(request: Request) -> dict[str, Any]:
    body = _json_of(request)
    if not isinstance(body, dict):
        raise _Refused(400, "The body must be an object.")
    return body


def _python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _check_version(version: str | None) -> None:
    """Bytecode works for the same minor version only; without this check the worker may crash."""
    if version is None:
        return
    asked = version.split(".")[:2]
    here = [str(number) for number in sys.version_info[:2]]
    if asked != here:
        raise _Refused(
            422,
            f"This function was pickled by Python {'.'.join(asked)}, and the server runs Python {'.'.join(here)}: "
            "code goes between equal minor versions only. Start the server with the same Python.",
        )


def _timeout_of(timeout: float | None) -> float:
    if timeout is None:
        return DEFAULT_TIMEOUT_S
    if not 0 < timeout < 1e9:
        raise _Refused(400, f"timeout is {timeout}; expected a number of seconds above 0.")
    return timeout


def _page_of(request: Request) -> tuple[int, int]:
    number = _whole_number("page", request.one("page") or "1")
    size = _whole_number("per_page", request.one("per_page") or "10")
    if number < 1 or not 1 <= size <= MOST_PER_PAGE:
        raise _Refused(400, f"page counts from 1, and per_page is 1 to {MOST_PER_PAGE}.")
    return number, size


def _whole_number(name: str, text: str) -> int:
    value = _number(name, text)
    if value != int(value) or not 0 <= value < 2**53:
        raise _Refused(400, f"{name} must be a whole number from 0, got {text!r}.")
    return int(value)


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _Refused(400, f"{name} must be a number, got {text[:60]!r}.") from None
    if not abs(value) < 1e11:
        raise _Refused(400, f"{name} is out of range.")
    return value


def _moment(name: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise _Refused(400, f"{name} must be a time as in ISO 8601, got {text[:60]!r}.") from None
    return _utc_text(moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc))


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


# --- replies ------------------------------------------------------------------------------------------------


def _reply_with(done: Done, wants_body: bool) -> Reply:
    if done.status == "COMPLETED":
        headers = {TASK_HEADER: done.task, "content-type": done.mime or "application/octet-stream"}
        return Reply(200, headers=headers, file=done.result if wants_body else None)
    status = 409 if done.status == "CANCELLED" else 422
    text = done.message or done.status
    return error_reply(status, text, kind=done.error_type, traceback=done.traceback, task=done.task)


def _array_task(task: Task, output: str | None = None) -> models.ArrayTask:
    details = json.loads(task.details)
    return models.ArrayTask(
        id=task.id,
        name=task.name,
        username=task.username,
        namespace=task.namespace,
        status=task.status,
        status_message=task.status_message,
        start_time=task.started or task.created,
        finish_time=task.ended,
        duration=task.duration,
        memory=task.memory,
        cost=0,
        type=task.type,
        udf_code=details.get("udf_code"),
        udf_language=details.get("udf_language"),
        sql_query=details.get("sql_query"),
        sql_init_commands=_tuple(details.get("sql_init_commands")),
        sql_parameters=_tuple(details.get("sql_parameters")),
        logs=output,
        result_format=details.get("result_format"),
        task_graph_uuid=task.graph,
        client_node_uuid=task.node,
    )


def _tuple(items: list[Any] | None) -> tuple[Any, ...] | None:
    return tuple(items) if items is not None else None


def _node_metadata(node: LogNode, executions: Sequence[models.ArrayTask]) -> models.TaskGraphNodeMetadata:
    latest = executions[-1] if executions else None
    if latest is not None:
        status, message = latest.status, latest.status_message
    else:
        status, message = node.status or ("UNKNOWN" if node.run_location == "client" else "QUEUED"), None
    if node.status == "CANCELLED" and status != "COMPLETED":
        status = "CANCELLED"
    return models.TaskGraphNodeMetadata(
        node.id, node.name, node.depends_on, node.run_location, status, message, tuple(executions)
    )


def _light_log(log: Log) -> models.TaskGraphLog:
    return models.TaskGraphLog(
        uuid=log.id,
        namespace=log.namespace,
        created_by=log.created_by,
        name=log.name,
        created_at=log.created,
        start_time=log.started,
        end_time=log.ended,
        status=log.status,
        total_cost=0,
        execution_time=_duration(log),
        task_graph_type="realtime",
    )


def _duration(log: Log) -> str | None:
    if log.started is None or log.ended is None:
        return None
    start, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (log.started, log.ended))
    seconds = max(0.0, (end - start).total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"PT{hours:.0f}H{minutes:.0f}M{seconds:.2f}S"


def _pagination(page: Page) -> models.PaginationMetadata:
    return models.PaginationMetadata(page.number, page.size, -(-page.total // page.size), page.total)


def user_name() -> str:
    """The user of this machine as a name that the API allows."""
    try:
        found = getpass.getuser()
    except (KeyError, OSError):  # a container may know no name for its user
        found = ""
    return re.sub(r"[^\w.-]", "-", found)[:63] or "me"
