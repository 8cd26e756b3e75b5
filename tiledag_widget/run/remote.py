"""Server nodes: a graph's dealings with the task-graph server.

**Guarantees**

- A server node's call is made on the lane that runs the node, and holds it until the server answers.
- Nothing is sent before the first server node begins: then the graph goes on record (its log), once. Without a log
  the graph runs all the same; that is warned of.
- Reports (what became of nodes that ran here, how the graph ended) are sent in the background, in the order of the
  machine, and never slow or fail a run.
- Between server nodes results go by reference; a result is downloaded at most once, when asked for or when a node that
  runs here needs it.
"""

from __future__ import annotations

import threading
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..core.states import CANCELLED, COMPLETED, FAILED, RUNNING, TERMINAL, Mode
from ..errors import InvalidBody, ServerError, ServerNeeded, ServerUnreachable, StoppedError
from ..wire.models import (
    LOG_STATUS_OF,
    NAME_LIMIT,
    LogStatus,
    SqlCall,
    TaskGraphLog,
    TaskGraphNodeMetadata,
    TaskStatus,
    UdfCall,
    is_retry_with_params,
)
from . import arguments
from .remote_calls import (
    TOLD_OF_ARRAYS,
    RemoteGraph,
    RemoteNode,
    array_call,
    check_parameters,
    decoder_of,
    sql_call,
    too_large,
    udf_call,
)
from .remote_output import HeldOutput, Task, indices_of, tasks_of
from .remote_reports import reports
from .remote_result import RemoteResult

if TYPE_CHECKING:
    from ..wire.client import Client, Reply

__all__ = ["RemoteRun", "default_namespace", "parents_first"]

FAILURE_LASTS: Final = 5.0
"""Seconds for which the nodes of a graph do not try again to find a server that could not be had."""
STOP_LOOKS: Final = 40
STOP_WAIT: Final = 0.25


@dataclass(frozen=True, slots=True)
class Begun:
    """A graph that has found its server.

    Attributes:
        client: Of that server.
        namespace: Whom the log is under; None until somebody needs one.
        log_id: Of the log; None if there is none.
        is_followed: It is a server of ours, which takes the record as it comes; else the contract's reports are made.
    """

    client: Client
    namespace: str
    log_id: uuid.UUID | None
    is_followed: bool = False


class RemoteRun:
    """One graph's side of the conversation with the server. Safe from any thread."""

    def __init__(
        self, graph: RemoteGraph, node_type: type[Any], on_record: Callable[[Client, uuid.UUID], object] | None = None
    ) -> None:
        self._graph = graph
        self._on_record = on_record
        """Called when the graph has begun on a server of ours: who keeps its record from then on."""
        self._node_type = node_type
        self._lock = threading.Lock()
        self._begun: Begun | None = None
        self._failure: tuple[float, BaseException] | None = None
        self._log_tried = False
        self._reported: dict[int, int] = {}
        """Attempt and status by node, as last reported."""
        self._reports_lock = threading.Lock()
        self._ended: dict[tuple[int, int], str] = {}
        """Ids of the tasks that have ended, by node and attempt."""
        driver = graph._driver
        self._held = HeldOutput(driver.output, self._client_of_log, self._tasks, lambda: not driver.machine.is_ended)
        driver.output.watched = self._held.follow

    def begin(self) -> Begun:
        """Find the server and put the graph on record, once.

        Raises:
            ServerNeeded: There is no server.
            ServerError, ServerUnreachable: It does not take us.
        """
        begun = self._begun
        if begun is not None:
            return begun
        with self._lock:
            if self._begun is not None:
                return self._begun
            if self._failure is not None and time.monotonic() - self._failure[0] < FAILURE_LASTS:
                raise self._failure[1]
            try:
                begun = self._begin()
            except Exception as error:
                self._failure = (time.monotonic(), error)
                raise
            self._begun, self._failure = begun, None
        if begun.is_followed and self._on_record is not None and begun.log_id is not None:
            self._on_record(begun.client, begun.log_id)
        else:
            self._catch_up()
        return begun

    def _begin(self) -> Begun:
        from ..wire import client as wire_client

        graph = self._graph
        client = wire_client.current()
        namespace = graph._namespace = graph._namespace or client.namespace("run_job")
        if client.is_ours() and self._on_record is not None:
            # The id is ours to choose, and nothing waits for the record: a server that is slow with it slows no node.
            graph.server_graph_uuid = graph.server_graph_uuid or uuid.uuid4()
            return Begun(client, namespace, graph.server_graph_uuid, True)
        if not self._log_tried:
            self._log_tried = True
            try:
                graph.server_graph_uuid = client.create_log(namespace, self._description(namespace))
            except (ServerError, ServerUnreachable, InvalidBody) as error:
                warnings.warn(f"the graph runs without a log on the server: {error}", UserWarning, stacklevel=2)
        return Begun(client, namespace, graph.server_graph_uuid)

    def _lost(self, begun: Begun) -> None:
        """The server does not answer: whoever comes next looks for it again."""
        with self._lock:
            if self._begun is begun and begun.client.is_embedded:
                self._begun = None

    def _description(self, namespace: str) -> TaskGraphLog:
        """The graph as its log has it, parents before children."""
        graph = self._graph
        with graph._driver.lock:
            nodes = list(graph._nodes)
            structure = graph._driver.machine.graph
            parents = [tuple(structure.parents[index]) for index in range(len(nodes))]
        described = []
        for index in parents_first(parents):
            node = nodes[index]
            described.append(
                TaskGraphNodeMetadata(
                    client_node_uuid=str(node.id),
                    name=node.name[:NAME_LIMIT],
                    depends_on=tuple([str(nodes[parent].id) for parent in parents[index]]),
                    run_location="client" if node.mode is Mode.LOCAL else "server",
                )
            )
        return TaskGraphLog(name=graph.name, namespace=namespace, nodes=tuple(described))

    # --- one node -----------------------------------------------------------------------------------------

    def run(self, node: RemoteNode) -> RemoteResult:
        """Run a node on the server; returns when it has ended there. What a lane calls as the node's function."""
        begun = self.begin()
        self._held.follow()
        is_stored = bool(node.work.options.get("store_results", True))
        is_wanted = self._is_wanted_here(node)
        if not is_wanted and not is_stored:
            raise ValueError(
                f"Node {node.name!r}: its result is neither stored nor downloaded, so nobody could have it. "
                "Leave store_results=True, or ask for it with _download_results=True."
            )
        try:
            reply = self._submit(begun, node, is_stored, is_wanted)
        except ServerUnreachable:
            self._lost(begun)
            raise
        except ServerError as error:
            if error.task_id:
                self._has_ended(node, error.task_id)
            if node._index in self._graph._driver.machine.stopping:
                raise StoppedError(f"node {node.name!r} was stopped") from error
            if error.http_status == 413:
                raise too_large(node, error) from None
            if error.traceback_text:  # the function's own, which is what is looked for; ours says nothing
                raise error.with_traceback(None) from error.__cause__
            raise
        if is_stored and reply.task_id is None:
            raise ServerError(f"Node {node.name!r}: {begun.client.url} did not say under which id the result is stored")
        if reply.task_id is not None:
            self._has_ended(node, str(reply.task_id))
        result = RemoteResult(begun.client, reply.task_id, decoder_of(node), is_stored)
        if is_wanted:
            result.take(reply)
        return result

    def _has_ended(self, node: RemoteNode, task: str) -> None:
        self._ended[node._index, self._graph._driver.machine.attempt[node._index]] = task

    def _is_wanted_here(self, node: RemoteNode) -> bool:
        """The download rule: the caller's word, else nobody's input or the input of something that runs here."""
        if node._download_results is not None:
            return node._download_results
        nodes = self._graph._nodes
        children = self._graph._driver.machine.graph.children[node._index]
        return not children or any(nodes[child].mode is Mode.LOCAL for child in children)

    def _submit(self, begun: Begun, node: RemoteNode, is_stored: bool, is_wanted: bool) -> Reply:
        by_reference = node.work.kind != "sql"
        try:
            return self._submit_once(begun, node, is_stored, is_wanted, by_reference)
        except ServerError as error:
            if not (by_reference and is_retry_with_params(str(error))):
                raise
        # The function has not run: its stored parameters could not be loaded.
        return self._submit_once(begun, node, is_stored, is_wanted, False)

    def _submit_once(
        self, begun: Begun, node: RemoteNode, is_stored: bool, is_wanted: bool, by_reference: bool
    ) -> Reply:
        stored: dict[str, None] = {}

        def held(parent: Any) -> Any:
            foreign = getattr(node, "_foreign", None) or {}
            return foreign.get(id(parent), parent._value)

        def value_of(parent: Any) -> Any:
            value = held(parent)
            return value.value() if isinstance(value, RemoteResult) else value

        def stand_in(parent: Any) -> Any:
            value = held(parent)
            reference = value.reference_for(begun.client) if isinstance(value, RemoteResult) else None
            if reference is None:
                return value_of(parent)
            stored[str(reference.task_id)] = None
            return reference

        args, kwargs = node.args, node.kwargs
        if node.work.kind == "array":  # which array and which cells has to stand in the call itself
            told = {name: kwargs[name] for name in TOLD_OF_ARRAYS & kwargs.keys()}
            args, told = arguments.replace((args, told), self._node_type, value_of)
            kwargs = {**kwargs, **told}
        args, kwargs = arguments.replace((args, kwargs), self._node_type, stand_in if by_reference else value_of)
        options = node.work.options
        common: dict[str, Any] = {
            "store_results": is_stored,
            "dont_download_results": not is_wanted,
            "resource_class": node._resource_class,
            "timeout": options.get("timeout"),
            "task_graph_uuid": None if begun.log_id is None else str(begun.log_id),
            "client_node_uuid": str(node.id),
        }
        namespace = options.get("namespace") or begun.namespace
        name = options.get("task_name") or node._name
        if node.work.kind == "sql":
            sql = sql_call(args, kwargs, options, begun.client)
            check_parameters(node.name, sql["parameters"])
            return begun.client.submit_sql(namespace, SqlCall(**sql, name=name, **common))
        common["task_name"] = name
        make = array_call if node.work.kind == "array" else udf_call
        udf = make(node, begun.client, args, kwargs)
        common["stored_param_uuids"] = tuple(stored)
        return begun.client.submit_udf(namespace, UdfCall(**udf, **common))

    def can_stop(self) -> bool:
        """True if the server ends running functions when asked."""
        begun = self._begun
        return begun is not None and begun.log_id is not None and begun.client.is_ours()

    def stop(self, node: RemoteNode) -> None:
        """Have the server end the running call of a node; asked in the background."""
        begun = self._begun
        if begun is None or begun.log_id is None:
            return
        client, namespace, log_id, driver = begun.client, begun.namespace, begun.log_id, self._graph._driver

        def stop() -> None:
            for _ in range(STOP_LOOKS):  # the call may be on its way: then the server knows no task of it yet
                if driver.machine.status[node._index] != RUNNING:
                    return
                for one in _nodes_of(client, namespace, log_id):
                    last = one.executions[-1] if one.executions else None
                    if one.client_node_uuid == str(node.id) and last is not None and last.status == "RUNNING":
                        client.stop_task(str(last.id))
                        return
                client.sleep(STOP_WAIT)

        reports.post(stop)

    def output(self, node: RemoteNode, attempt: int | None = None) -> str:
        """What an attempt at a node, the latest if None, has printed so far; empty where the server does not tell."""
        begun = self._begun
        if begun is None or begun.log_id is None or not begun.client.is_ours():
            return ""
        nodes = _nodes_of(begun.client, begun.namespace, begun.log_id)
        at = slice(-1, None) if attempt is None else slice(attempt - 1, attempt)
        own = [one for one in nodes if one.client_node_uuid == str(node.id)]
        tasks = [execution.id for one in own for execution in (one.executions or ())[at]]
        # The record comes after the run, on a busy machine long after: what has ended is asked for by its own id.
        task = tasks[0] if tasks and tasks[0] is not None else self._known_task(node, attempt)
        if task is None:
            return ""
        pieces: list[str] = []
        position = 0
        while True:
            text, after = begun.client.output(task, position)
            if after <= position:
                return "".join(pieces)
            pieces.append(text)
            position = after

    def _known_task(self, node: RemoteNode, attempt: int | None) -> str | None:
        latest = self._graph._driver.machine.attempt[node._index]
        return self._ended.get((node._index, latest if attempt is None else attempt))

    def _client_of_log(self) -> Client | None:
        begun = self._begun
        return None if begun is None or begun.log_id is None else begun.client

    def _tasks(self) -> list[Task]:
        """The attempts that the server knows of."""
        begun = self._begun
        if begun is None or begun.log_id is None:
            return []
        try:
            log = begun.client.log(begun.namespace, begun.log_id)
            found = tasks_of(log, indices_of(self._graph._nodes))
        except ServerError as error:
            if error.http_status != 404:
                raise
            found = []
        # The record may come after the end of the run: what has ended is known here.
        over = {task: Task(*place, task, is_over=True) for place, task in sorted(self._ended.copy().items())}
        on_record = {one.id: one._replace(is_over=one.is_over or one.id in over) for one in found}
        return list((over | on_record).values())

    # --- reports ------------------------------------------------------------------------------------------

    def node_ended(self, index: int) -> None:
        """Called for each node that ends, in the machine's order."""
        begun = self._begun
        if begun is not None and begun.log_id is not None and not begun.is_followed:
            self._report(begun, begun.log_id, index)

    def graph_ended(self) -> None:
        """Called when the graph ends."""
        begun = self._begun
        if begun is None or begun.log_id is None or begun.is_followed:
            return
        status: LogStatus | None = LOG_STATUS_OF.get(self._graph._driver.status)
        if status is not None:
            client, namespace, log_id, outcome = begun.client, begun.namespace, begun.log_id, status
            reports.post(lambda: client.update_log(namespace, log_id, outcome))

    def _catch_up(self) -> None:
        """What ended before the log was there."""
        begun = self._begun
        if begun is None or begun.log_id is None:
            return
        driver = self._graph._driver
        with driver.lock:
            ended = [index for index, code in enumerate(driver.machine.status) if code in TERMINAL]
        for index in ended:
            self._report(begun, begun.log_id, index)

    def _report(self, begun: Begun, log_id: uuid.UUID, index: int) -> None:
        driver, node = self._graph._driver, self._graph._nodes[index]
        with driver.lock:
            code, attempt = driver.machine.status[index], driver.machine.attempt[index]
        status = _REPORT_OF.get(code)
        if status is None or (node.mode is not Mode.LOCAL and status is not TaskStatus.CANCELLED):
            return
        with self._reports_lock:
            mark = attempt * 16 + code
            if self._reported.get(index) == mark:
                return
            self._reported[index] = mark
        client, namespace, node_id = begun.client, begun.namespace, node.id
        reports.post(lambda: client.report_node(namespace, log_id, node_id, status))


def _nodes_of(client: Client, namespace: str, log_id: uuid.UUID) -> Sequence[TaskGraphNodeMetadata]:
    """The nodes of a log; none as long as the server has not heard of it."""
    try:
        return client.log(namespace, log_id).nodes or ()
    except ServerError as error:
        if error.http_status == 404:
            return ()
        raise


_REPORT_OF: Final = {COMPLETED: TaskStatus.COMPLETED, FAILED: TaskStatus.FAILED, CANCELLED: TaskStatus.CANCELLED}


def parents_first(parents: Sequence[Sequence[int]]) -> list[int]:
    """Indices sorted so that each comes after its parents; from the leaves, as the reference does."""
    left = [0] * len(parents)
    for own in parents:
        for parent in own:
            left[parent] += 1
    order = [index for index in reversed(range(len(parents))) if not left[index]]
    for index in order:  # grows while it is walked
        for parent in parents[index]:
            left[parent] -= 1
            if not left[parent]:
                order.append(parent)
    order.reverse()
    return order


def default_namespace() -> str | None:
    """Whom calls are charged to where nobody said; None where there is no server to tell."""
    from ..wire import client as wire_client

    try:
        return wire_client.current().namespace("run_job")
    except (ServerError, ServerNeeded, ServerUnreachable):
        return None
