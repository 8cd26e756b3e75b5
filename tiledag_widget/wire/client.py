"""One `Client` for a server that speaks TileDB Cloud's REST v1: routes, retries, errors as exceptions.

**What is tried again.** A reply 503 (and 429 with ``Retry-After``) says that nothing was done: every call waits and
asks again. A call that could not be sent is sent again. What broke off after it was sent is asked again only where that
runs nothing twice: reads, and calls that our own server knows by their graph and node or by a request id. Everything
else raises `ServerUnreachable` and is for the caller to repeat.

**Threads.** All methods are safe from any thread. No thread is started here.
"""

from __future__ import annotations

import base64
import importlib
import ipaddress
import json
import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from .. import settings as configuration
from ..errors import InvalidBody, ServerError, ServerNeeded, ServerUnreachable
from ..settings import WAYS_OUT, Settings
from . import codec
from .batch_models import BatchGraph, RunEvents, RunTasks
from .models import (
    ArrayTask,
    ArrayTaskData,
    ErrorBody,
    LogStatus,
    RegisteredTaskGraph,
    SqlCall,
    TaskGraphLog,
    TaskGraphLogsData,
    TaskStatus,
    Token,
    UdfCall,
    UdfInfo,
    UdfInfoUpdate,
    User,
    from_json,
    namespace_to_charge,
    to_json,
)
from .records import RunRecord

T = TypeVar("T")
_log = logging.getLogger("tiledag_widget.wire")

TASK_HEADER: Final = "X-TILEDB-CLOUD-TASK-ID"
REQUEST_HEADER: Final = "X-Tiledag-Request-Id"
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 60.0
REPORT_SECONDS: Final = 10.0
BUSY_TRIES: Final = 100
"""How often a server that says "come back later" is asked."""
LOST_TRIES: Final = 4
"""How often a connection that cannot be made, or broke off, is made again."""
AWAY_SECONDS: Final = 12.0
"""For how long a function's call, or its result, waits for a server that is away: a network that changes, a restart."""
AWAY_LOOK: Final = 2.0
LONGEST_WAIT: Final = 30.0
HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a task: its bytes as sent.

    Attributes:
        task_id: Of the task; None if the server did not say.
        content_type: Of the bytes.
        data: Empty where the result was not to be downloaded.
    """

    task_id: uuid.UUID | None
    content_type: str
    data: bytes


class Client:
    """The routes of one server. See the module for what is tried again.

    Args:
        settings: Where, and as whom.
        is_embedded: It is the embedded server of this user.
    """

    def __init__(self, settings: Settings, is_embedded: bool = False) -> None:
        if settings.host is None:
            raise ValueError("a client needs a host")
        self.settings = settings
        self.url = settings.host.rstrip("/")
        self.is_embedded = is_embedded
        self.sleep: Callable[[float], None] = time.sleep
        self._lock = threading.Lock()
        self._user: User | None = None
        self._is_ours: bool | None = True if is_embedded else None
        self._moved: dict[str, str] = {}
        """Base address by path: where the service sent us for it."""
        self._session = self._new_session()

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def close(self) -> None:
        """Close the connections. Idempotent; a later call opens new ones."""
        self._session.close()

    def _new_session(self) -> requests.Session:
        session = requests.Session()
        adapter = _Adapter(pool_connections=8, pool_maxsize=128)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        # A proxy of the environment does not lead to this machine; and nobody's ~/.netrc is asked for passwords.
        session.trust_env = not is_loopback(self.url)
        session.auth = self._authorize
        session.verify = self.settings.ca_file or True if self.settings.verify_ssl else False
        session.headers.update(
            {
                "User-Agent": "tiledag-widget",
                "Content-Type": "application/json",
                "Accept-Encoding": "gzip, deflate" if session.trust_env else "identity",
            }
        )
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        one = self.settings
        if one.token:
            request.headers[configuration.KEY_HEADER] = one.token
        if one.username and one.password:
            pair = base64.b64encode(f"{one.username}:{one.password}".encode()).decode("ascii")
            request.headers["Authorization"] = f"Basic {pair}"
        return request

    # --- one call -----------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = READ_SECONDS,
        repeatable: bool | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = LOST_TRIES,
        busy_tries: int = BUSY_TRIES,
        patience: float = math.inf,
        away: float = 0.0,
    ) -> requests.Response:
        """One request with its retries and redirects; the reply is 2xx.

        Args:
            method: Of HTTP.
            path: After the host, quoted.
            query: Entries that are None are left out.
            body: Sent as JSON; models leave out what is None.
            timeout: Seconds without a byte of the reply; None waits as long as the connection lives.
            repeatable: Doing it twice is as good as once. By default true of GET, PUT and DELETE.
            headers: Besides those of every call.
            tries: How often a lost connection is made.
            busy_tries: How often a server that says "come back later" is asked.
            patience: Seconds to wait for such a server in all.
            away: Seconds in all for which a lost connection is made again, more often than ``tries`` if need be.

        Raises:
            ServerError: The reply is not 2xx.
            ServerUnreachable: No connection, or it broke off.
        """
        data = None if body is None else json.dumps(to_json(body)).encode()
        params = {key: _query_text(value) for key, value in (query or {}).items() if value is not None}
        may_repeat = method in ("GET", "PUT", "DELETE") if repeatable is None else repeatable
        busy = lost = 0
        while True:
            try:
                reply = self._once(method, path, params, data, headers, timeout)
            except requests.RequestException as error:
                lost += 1
                pause = min(_back_off(lost), AWAY_LOOK) if away > 0 else _back_off(lost)
                away -= pause
                if (lost >= tries and away < 0) or not (may_repeat or _was_not_sent(error)):
                    raise self._unreachable(method, path, error) from error
                self.sleep(pause)
                continue
            if 200 <= reply.status_code < 300:
                return reply
            is_busy = reply.status_code == 503 or (reply.status_code in (413, 429) and "Retry-After" in reply.headers)
            busy += 1
            pause = _asked_to_wait(reply.headers.get("Retry-After"), busy)
            patience -= pause
            if not is_busy or busy >= busy_tries or patience < 0:
                raise error_of(reply)
            self.sleep(pause)

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        data: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> requests.Response:
        """One request, followed where it is sent on to. The method and who asks stay as they are."""
        address = self._moved.get(path, self.url) + path
        given: Mapping[str, Any] = params
        for _ in range(HOPS):
            reply = self._session.request(
                method,
                address,
                params=dict(given),
                data=data if data is not None or method == "GET" else b"",
                headers=dict(headers or {}),
                timeout=(CONNECT_SECONDS, timeout),
                allow_redirects=False,
            )
            target = reply.headers.get("Location")
            if reply.status_code not in _REDIRECTS or not target:
                return reply
            target = urljoin(address, target)
            if urlsplit(address).scheme == "https" and urlsplit(target).scheme != "https":
                raise ServerError(f"{self.url} sends {path} on to {target}, which is not encrypted", reply.status_code)
            if reply.status_code == 303:
                method, data = "GET", None
            parts = urlsplit(target)
            if parts.path == path:
                self._moved[path] = f"{parts.scheme}://{parts.netloc}"
            address, given = target, {} if parts.query else params
        raise ServerError(f"{self.url} sends {path} round in circles", 310)

    def _unreachable(self, method: str, path: str, error: Exception) -> ServerUnreachable:
        kind = "the embedded task-graph server" if self.is_embedded else "the task-graph server"
        sent = "cannot be reached" if _was_not_sent(error) else "broke off"
        hint = (
            "It has ended or was killed; the next compute() starts a new one."
            if self.is_embedded
            else "Check TILEDB_REST_HOST and the network."
        )
        return ServerUnreachable(f"{kind} at {self.url} {sent} ({method} {path}): {_short(error)}. {hint}")

    def _json(self, method: str, path: str, **options: Any) -> Any:
        reply = self.call(method, path, **options)
        if not reply.content:
            return None
        try:
            return json.loads(reply.content)
        except ValueError as error:
            raise InvalidBody(f"{self.url} answered {method} {path} with what is not JSON: {error}") from error

    # --- who ----------------------------------------------------------------------------------------------

    def user(self) -> User:
        """Who asks. The server is asked once."""
        with self._lock:
            known = self._user
        if known is None:
            known = from_json(User, self._json("GET", "/v1/user"), "user")
            with self._lock:
                self._user = known
        return known

    def namespace(self, action: str | None = "run_job") -> str:
        """Whom calls are charged to where the caller does not say.

        Raises:
            ServerError: The user may do this in no namespace.
        """
        found = namespace_to_charge(self.user(), action)
        if found is None:
            raise ServerError(f"{self.user().username} may not {action} in any namespace: give namespace=...", 403)
        return found

    def session_token(self) -> str:
        """A token for the username and password of the settings, good for 30 days."""
        return from_json(Token, self._json("GET", "/v1/session", query={"remember_me": True}), "session").token

    def is_ours(self) -> bool:
        """True if the server is tiledag's own, which knows calls by their ids and has routes of its own."""
        if self._is_ours is None:
            try:
                self._is_ours = isinstance(self._json("GET", "/tiledag/v1/info"), dict)
            except (ServerError, InvalidBody):
                self._is_ours = False
        return self._is_ours

    # --- functions and queries ----------------------------------------------------------------------------

    def submit_udf(self, namespace: str, udf: UdfCall) -> Reply:
        """Run a function on the server; returns when it has returned.

        Raises:
            ServerError: It raised, or the call was refused.
            ServerUnreachable: Whether it ran is not known.
        """
        kind = "generic" if udf.arrays is None else "arrays"
        return self._submit(f"/v1/udfs/{kind}/{_q(namespace)}", udf)

    def submit_sql(self, namespace: str, sql: SqlCall) -> Reply:
        """Run a query on the server. Raises as `submit_udf`."""
        return self._submit(f"/v1/sql/{_q(namespace)}", sql)

    def _submit(self, path: str, body: UdfCall | SqlCall) -> Reply:
        in_graph = body.task_graph_uuid is not None and body.client_node_uuid is not None
        headers = {} if in_graph else {REQUEST_HEADER: str(uuid.uuid4())}
        reply = self.call(
            "POST",
            path,
            body=body,
            timeout=None,
            headers=headers,
            repeatable=bool(self._is_ours),  # it joins the call that runs, or gives what came of it
            tries=2 if self._is_ours else LOST_TRIES,
            away=self._away(),
        )
        return Reply(task_id_of(reply), reply.headers.get("Content-Type", ""), reply.content)

    def _away(self) -> float:
        """An embedded server that cannot be reached has ended; another one may come back."""
        return 0.0 if self.is_embedded else AWAY_SECONDS

    # --- tasks --------------------------------------------------------------------------------------------

    def task(self, task_id: uuid.UUID | str) -> ArrayTask:
        """The record of one task."""
        return from_json(ArrayTask, self._json("GET", f"/v1/task/{_q(task_id)}"), "task")

    def task_result(self, task_id: uuid.UUID | str) -> Reply:
        """The stored result of a task; waits while it runs."""
        looks = 0
        while True:
            reply = self.call("GET", f"/v1/task/{_q(task_id)}/result", timeout=None, away=self._away())
            if reply.status_code != 202:
                return Reply(uuid.UUID(str(task_id)), reply.headers.get("Content-Type", ""), reply.content)
            looks += 1
            self.sleep(_asked_to_wait(reply.headers.get("Retry-After"), looks, longest=2.0))

    def tasks(self, **query: Any) -> ArrayTaskData:
        """A page of tasks; for the query see the contract, 2.4."""
        return from_json(ArrayTaskData, self._json("GET", "/v1/tasks", query=query), "tasks")

    def output(self, task_id: uuid.UUID | str, after: int = 0) -> tuple[str, int]:
        """What a task printed from a byte position on, and the position after it. Our own server only."""
        found = self._json("GET", f"/tiledag/v1/tasks/{_q(task_id)}/output", query={"after": after})
        if not isinstance(found, dict):
            raise InvalidBody(f"{self.url} answered a question for output with {type(found).__name__}")
        return str(found.get("text", "")), int(found.get("position", after))

    def stop_task(self, task_id: uuid.UUID | str) -> None:
        """End a running task. Our own server only."""
        self.call("POST", f"/tiledag/v1/tasks/{_q(task_id)}/stop", repeatable=True)

    # --- logs ---------------------------------------------------------------------------------------------

    def create_log(self, namespace: str, log: TaskGraphLog) -> uuid.UUID:
        """Put a graph on record before it runs; returns the record's id."""
        path = f"/v1/taskgraphs/{_q(namespace)}/log"
        # The nodes wait for it, and can run without.
        found = self._json("POST", path, body=log, timeout=REPORT_SECONDS, patience=REPORT_SECONDS)
        try:
            return uuid.UUID(from_json(TaskGraphLog, found, "log").uuid or "")
        except ValueError as error:
            raise InvalidBody(f"the server gave the log no id: {error}") from error

    def update_log(self, namespace: str, log_id: uuid.UUID, status: LogStatus) -> None:
        """Say how the graph ended."""
        path = f"/v1/taskgraphs/{_q(namespace)}/logs/{log_id}"
        self.call("PATCH", path, body={"status": status.value}, timeout=REPORT_SECONDS, repeatable=True)

    def report_node(self, namespace: str, log_id: uuid.UUID, node: uuid.UUID, status: TaskStatus) -> None:
        """Say what became of a node that ran here, or was cancelled."""
        path = f"/v1/taskgraphs/{_q(namespace)}/logs/{log_id}/report_client_node"
        body = {"client_node_uuid": str(node), "status": status.value}
        self.call("POST", path, body=body, timeout=REPORT_SECONDS, repeatable=True)

    def put_run(self, log_id: uuid.UUID, record: RunRecord) -> None:
        """Keep the record of a run of this process, or what changed in it. Our own server only."""
        # Who calls has a back-off of its own, and other things to look after.
        self.call("PUT", f"/tiledag/v1/runs/{log_id}", body=record, timeout=REPORT_SECONDS, tries=1, busy_tries=1)

    def logs(
        self,
        namespace: str | None = None,
        created_by: str | None = None,
        search: str | None = None,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        page: int = 1,
        per_page: int = 10,
        status: str | None = None,
    ) -> TaskGraphLogsData:
        """A page of logs without their nodes, newest first."""
        query = {
            "namespace": namespace,
            "created_by": created_by,
            "status": status,
            "search": search,
            "start_time": start_time,
            "end_time": end_time,
            "page": page,
            "per_page": per_page,
        }
        return from_json(TaskGraphLogsData, self._json("GET", "/v1/taskgraphs/logs", query=query), "logs")

    def log(self, namespace: str, log_id: uuid.UUID | str) -> TaskGraphLog:
        """One log with its nodes."""
        return from_json(TaskGraphLog, self._json("GET", f"/v1/taskgraphs/{_q(namespace)}/logs/{_q(log_id)}"), "log")

    def control(
        self, namespace: str, log_id: uuid.UUID | str, what: str, nodes: Sequence[str] | None = None
    ) -> TaskGraphLog | None:
        """``stop``, ``retry`` or ``resubmit`` an execution; our own server also only some of its nodes."""
        body = None if nodes is None else {"nodes": list(nodes)}
        path = f"/v1/taskgraphs/{_q(namespace)}/executions/{_q(log_id)}/{what}"
        found = self._json("POST", path, body=body, repeatable=what == "stop")
        return None if found is None else from_json(TaskGraphLog, found, "log")

    # --- batch graphs -------------------------------------------------------------------------------------

    def create_batch_graph(self, namespace: str, body: Mapping[str, Any]) -> str:
        """Upload a graph that the server shall run as a whole; returns its id. The body goes as it is, nulls too."""
        path = f"/v1/taskgraphs/{_q(namespace)}/graphs"
        # A graph that was uploaded twice is a row nobody uses; one that was submitted twice would run twice.
        found = self._json("POST", path, body=dict(body), repeatable=True)
        return _id_in(from_json(BatchGraph, found, "graph").uuid, "graph")

    def submit_batch_graph(self, namespace: str, graph_id: str) -> str:
        """Run an uploaded graph; returns the id of its log."""
        path = f"/v1/taskgraphs/{_q(namespace)}/graphs/{_q(graph_id)}/submit"
        found = self._json("POST", path)
        return _id_in(from_json(TaskGraphLog, found, "log").uuid, "log")

    def batch_graph(self, namespace: str, graph_id: str) -> BatchGraph:
        """An uploaded graph."""
        path = f"/v1/taskgraphs/{_q(namespace)}/graphs/{_q(graph_id)}"
        return from_json(BatchGraph, self._json("GET", path), "graph")

    def run_events(self, log_id: uuid.UUID | str, after: int = 0, wait: float = 0) -> RunEvents:
        """What happened in a run after an event; waits up to so many seconds for one. Our own server only."""
        path = f"/tiledag/v1/runs/{_q(log_id)}/events"
        found = self._json("GET", path, query={"after": after, "wait": f"{wait:g}"}, tries=1)
        return from_json(RunEvents, found, "events")

    def run_tasks(self, log_id: uuid.UUID | str) -> RunTasks:
        """The attempts of a batch run that have begun, those at items of stages too. Our own server only."""
        return from_json(RunTasks, self._json("GET", f"/tiledag/v1/runs/{_q(log_id)}/tasks"), "tasks")

    # --- registered functions and graphs ------------------------------------------------------------------

    def udf_info(self, namespace: str, name: str) -> UdfInfo:
        """A registered function, without its code."""
        return from_json(UdfInfo, self._json("GET", _udf(namespace, name)), "udf")

    def register_udf(self, namespace: str, udf: UdfInfoUpdate) -> None:
        """Keep a function under a name."""
        self.call("POST", _udf(namespace, udf.name or ""), body=udf)

    def update_udf(self, namespace: str, name: str, udf: UdfInfoUpdate) -> None:
        """Change what is kept under a name."""
        self.call("PATCH", _udf(namespace, name), body=udf, repeatable=udf.name in (None, name))

    def delete_udf(self, namespace: str, name: str) -> None:
        """Forget a registered function."""
        self.call("DELETE", _udf(namespace, name), repeatable=False)

    def registered_graph(self, namespace: str, name: str) -> RegisteredTaskGraph:
        """A registered task graph, its nodes as they were sent."""
        return from_json(RegisteredTaskGraph, self._json("GET", _graph(namespace, name)), "graph")

    def register_graph(self, namespace: str, graph: RegisteredTaskGraph) -> None:
        """Keep a task graph under a name."""
        self.call("POST", _graph(namespace, graph.name or ""), body=graph)

    def update_graph(self, namespace: str, name: str, graph: RegisteredTaskGraph) -> None:
        """Change what is kept under a name; another name in it renames."""
        self.call("PATCH", _graph(namespace, name), body=graph)

    def delete_graph(self, namespace: str, name: str) -> None:
        """Forget a registered task graph."""
        self.call("DELETE", _graph(namespace, name), repeatable=False)


class _Adapter(HTTPAdapter):
    """Connections that notice when the other side is gone while a call waits for its function to return."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        super().init_poolmanager(*args, socket_options=options, **kwargs)

    def close(self) -> None:
        """Close connections now. urllib3 leaves that to the end of a pool, which an error that somebody keeps (a log
        record, a node) can put off for long: its traceback holds the reply, and that the pool."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()


# --- replies ------------------------------------------------------------------------------------------------


def error_of(reply: requests.Response) -> ServerError:
    """The exception for a reply that is not 2xx. The remote traceback is its cause, where there is one."""
    text = reply.text
    found = ErrorBody()
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            found = from_json(ErrorBody, {key: value for key, value in parsed.items() if key != "code"})
    except (ValueError, InvalidBody):
        pass
    message = found.message
    if not message:
        if reply.status_code == 404:
            message = f"HTTP 404: resource not found ({urlsplit(reply.url).path})"
        else:
            message = f"HTTP {reply.status_code} without a message; the reply begins: {text[:300]!r}"
    if reply.status_code == 401:
        message = message.rstrip(".") + ". Check the token: TILEDB_REST_TOKEN, or tiledag_widget.login(...)"
    short_name = (found.exception_type or "").rpartition(".")[2]
    if short_name and short_name not in message:
        message = f"{short_name}: {message}"
    task_id = task_id_of(reply)
    error = ServerError(
        message,
        reply.status_code,
        text[:65536],
        found.exception_type or "",
        found.traceback or "",
        None if task_id is None else str(task_id),
    )
    if found.traceback:
        error.__cause__ = codec.remote_traceback(found.traceback)
    return error


def task_id_of(reply: requests.Response) -> uuid.UUID | None:
    """The task that a reply is about."""
    try:
        return uuid.UUID(reply.headers.get(TASK_HEADER, ""))
    except ValueError:
        return None


def _was_not_sent(error: Exception) -> bool:
    """True if the connection could not be made: the server knows nothing of the call."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    inner: Any = error.args[0] if error.args else None
    # By name: urllib3 comes with requests, and is none of our dependencies.
    return type(getattr(inner, "reason", inner)).__name__ in ("NewConnectionError", "NameResolutionError")


def _back_off(tries: int) -> float:
    return min(0.25 * 2.0 ** min(tries - 1, 16), LONGEST_WAIT)


def _asked_to_wait(header: str | None, tries: int, longest: float = LONGEST_WAIT) -> float:
    if header:
        try:
            return min(max(0.0, float(header)), 300.0)
        except ValueError:  # a date: rare, and the back-off is as good
            pass
    return min(_back_off(tries), longest)


def _id_in(text: str | None, of: str) -> str:
    try:
        return str(uuid.UUID(text or ""))
    except ValueError as error:
        raise InvalidBody(f"the server gave the {of} no id: {error}") from error


def _query_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _q(segment: object) -> str:
    return quote(str(segment), safe="")


def _udf(namespace: str, name: str) -> str:
    return f"/v1/udf/{_q(namespace)}/{_q(name)}"


def _graph(namespace: str, name: str) -> str:
    return f"/v1/taskgraphs/{_q(namespace)}/registered/{_q(name)}"


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else text[:199] + "…"


def is_loopback(url: str) -> bool:
    """True if an address is this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- the client of this process -----------------------------------------------------------------------------

_guard = threading.Lock()
_clients: dict[Settings, Client] = {}
_told: set[str] = set()


def current(*, hold: bool = True) -> Client:
    """The client for what is configured now; starts the embedded server if that is nothing.

    Args:
        hold: Keep the embedded server alive as long as this process lives.

    Raises:
        ServerNeeded: Nothing is configured, and the embedded server cannot be had.
    """
    wanted = configuration.server_settings()
    is_embedded = wanted.host is None
    if is_embedded:
        connection = _embedded_server(hold)
        wanted = Settings(str(connection.url).rstrip("/"), str(connection.token), source=wanted.source)
    with _guard:
        client = _clients.get(wanted)
        if client is None:
            if is_embedded:  # those of embedded servers that are no more
                for old in [one for one, other in _clients.items() if other.is_embedded]:
                    _clients.pop(old).close()
            client = _clients[wanted] = Client(wanted, is_embedded)
        is_first = client.url not in _told
        _told.add(client.url)
    if is_first:
        kind = "the embedded task-graph server" if is_embedded else "the task-graph server"
        _log.info("server nodes run on %s at %s (%s)", kind, client.url, wanted.source)
    return client


def _embedded_server(hold: bool) -> Any:
    # By name: the client stands before the server in the order of layers, and needs nothing of it but this door.
    try:
        return importlib.import_module("tiledag_widget.server.launch").ensure(hold=hold)
    except ImportError as error:
        raise ServerNeeded(f"there is no task-graph server ({error}). {WAYS_OUT}") from error


def close() -> None:
    """Close all connections; later calls open new ones."""
    with _guard:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


def _after_fork() -> None:
    """Connections belong to the parent."""
    global _guard
    _guard = threading.Lock()
    _clients.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
