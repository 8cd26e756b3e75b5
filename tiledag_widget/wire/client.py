"""The routes of a server that speaks TileDB Cloud's REST v1, and the one `Client` of this process.

How a call is made, and what is tried again, is in `wire.caller`.

**Threads.** All methods are safe from any thread. No thread is started here.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from .. import settings as configuration
from ..errors import InvalidBody, ServerError, ServerNeeded
from ..settings import WAYS_OUT, Settings
from .batch_models import BatchGraph, RunEvents, RunTasks
from .caller import LOST_TRIES, Caller, task_id_of, wait_asked_for
from .models import (
    ArrayTask,
    ArrayTaskData,
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
)
from .records import OWNER_HEADER, RunRecord, this_process

_log = logging.getLogger("tiledag_widget.wire")

REQUEST_HEADER: Final = "X-Tiledag-Request-Id"
REPORT_SECONDS: Final = 10.0
AWAY_SECONDS: Final = 12.0
"""For how long a function's call, or its result, waits for a server that is away: a network that changes, a restart."""


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


class Client(Caller):
    """The routes of one server.

    Args:
        settings: Where, and as whom.
        is_embedded: It is the embedded server of this user.
    """

    def __init__(self, settings: Settings, is_embedded: bool = False) -> None:
        super().__init__(settings, is_embedded)
        self._lock = threading.Lock()
        self._user: User | None = None
        self._is_ours: bool | None = True if is_embedded else None

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
        owner = this_process() if in_graph and self._is_ours else None
        if owner is not None:
            headers[OWNER_HEADER] = owner.to_header()
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
        return Reply(task_id_of(reply), reply.header("Content-Type"), reply.content)

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
            if reply.status != 202:
                return Reply(uuid.UUID(str(task_id)), reply.header("Content-Type"), reply.content)
            looks += 1
            self.sleep(wait_asked_for(reply.header("Retry-After"), looks, longest=2.0))

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
        return uuid.UUID(_id_in(found, "log"))

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
        return _id_in(found, "graph")  # the rest is what was sent

    def submit_batch_graph(self, namespace: str, graph_id: str) -> str:
        """Run an uploaded graph; returns the id of its log."""
        path = f"/v1/taskgraphs/{_q(namespace)}/graphs/{_q(graph_id)}/submit"
        found = self._json("POST", path)
        return _id_in(found, "log")

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


def _id_in(found: Any, of: str) -> str:
    """The id in a reply of which nothing else is read: it may describe thousands of nodes."""
    try:
        return str(uuid.UUID(found["uuid"]))
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise InvalidBody(f"the server gave the {of} no id: {error}") from error


def _q(segment: object) -> str:
    return quote(str(segment), safe="")


def _udf(namespace: str, name: str) -> str:
    return f"/v1/udf/{_q(namespace)}/{_q(name)}"


def _graph(namespace: str, name: str) -> str:
    return f"/v1/taskgraphs/{_q(namespace)}/registered/{_q(name)}"


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
