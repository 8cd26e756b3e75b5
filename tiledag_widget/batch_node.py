"""`BatchNode`: a node of a BATCH graph, or of a run on record. It runs at the server, or ran somewhere else."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .core.states import COMPLETED, RUNNING, TERMINAL, Mode
from .errors import ServerError
from .node import Node, refuse_unless_attempt
from .run.batch_body import check_options
from .run.remote_calls import Work
from .run.remote_output import label_of
from .run.remote_result import RemoteResult
from .server_node import ServerNode
from .wire.models import Decoder, PandasDecoder, TaskGraphLog, TaskGraphNodeMetadata

if TYPE_CHECKING:
    from .dag import DAG
    from .run.batch import BatchDriver
    from .wire.batch_models import BatchNode as SentNode
    from .wire.client import Client

T = TypeVar("T")


class BatchNode(ServerNode[T]):
    """Made by the ``submit`` methods of a BATCH graph and by `DAG.attach`; see `Node` for what it does."""

    def __init__(
        self,
        work: Work,
        *args: Any,
        dag: DAG,
        name: str | None = None,
        expand_node_output: Node[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(work, *args, dag=dag, name=name, expand_node_output=expand_node_output, **kwargs)
        check_options(self.name, work.options, self._resources)
        if expand_node_output is not None:
            if getattr(expand_node_output, "dag", None) is not dag:
                raise ValueError(
                    f"Node {self.name!r}: expand_node_output must be a node of this graph, got {expand_node_output!r}"
                )
            if all(expand_node_output is not parent for parent in self._parents):
                self._parents = (*self._parents, expand_node_output)

    @property
    def _batch(self) -> BatchDriver:
        return cast("BatchDriver", self._graph._driver)

    @property
    def _decoder(self) -> Decoder | None:
        """By which the bytes of the result are read; None: by their content type."""
        if self.work.kind != "sql" or self.kwargs.get("raw_results"):
            return None
        return PandasDecoder(str(self.work.options.get("result_format") or "arrow"))

    def _prepare(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        raise AssertionError("nodes of a BATCH graph run on the server")

    def result(self, timeout: float | None = None) -> T:
        """The value that the function returned. Waits for it, and downloads it when it is first asked for.

        Raises:
            TimeoutError: After ``timeout`` seconds.
            CancelledError: The node was cancelled; `ParentFailedError` if a node above it did not complete.
            ServerError: The server has no result of it: it ran in another process, or the record was cleared.
            BaseException: Whatever the function raised.
        """
        try:
            return super().result(timeout)
        except ServerError as error:
            if self.mode is not Mode.LOCAL or error.http_status != 404 or self._code != COMPLETED:
                raise
            raise ServerError(
                f"node {self.name!r} ran in the process that started the graph, which keeps its result; "
                "the server has a record of it only",
                404,
            ) from error

    def task_id(self) -> uuid.UUID | None:
        """Id of the task on the server; None for a node that has not finished, or that the server knows nothing of."""
        if self._index < 0 or self._code not in TERMINAL:
            return None
        value = self._value
        if isinstance(value, RemoteResult) and self._code == COMPLETED:
            return value.task_id
        task = self._batch.task_of(self._index)
        return None if task is None else uuid.UUID(task)

    def stop(self) -> bool:
        """End the running function; the node becomes Cancelled. False where nothing runs, or the server cannot."""
        if self._index < 0 or self._code != RUNNING:
            return False
        try:
            return bool(self._batch.stop([self._index]))
        except ServerError as error:
            if error.http_status in (404, 409):  # it has ended meanwhile
                return False
            raise

    def output(self, attempt: int | None = None) -> str:
        """What the function printed on our own server, also while it runs; empty on other servers.

        Args:
            attempt: Which attempt, from 1; the latest if None. Of a stage, whose items have attempts of their own, the
                latest of each item is shown either way, every line after the number of its item.

        Raises:
            ServerUnreachable: The server does not answer.
            TypeError: ``attempt`` is no whole number.
            ValueError: It is below 1.
        """
        refuse_unless_attempt(attempt)
        driver = self._batch
        client = driver.client
        if self._index < 0 or client is None or not client.is_ours():
            return ""
        if self._expand_node_output is not None and driver.is_batch:
            return "".join(
                f"{label_of(item)}{line}\n"
                for item, task in driver.items_of(self._index)
                for line in _printed(client, task).splitlines()
            )
        task_id = driver.task_of(self._index, attempt)
        return "" if task_id is None else _printed(client, task_id)


def _printed(client: Client, task: str) -> str:
    pieces: list[str] = []
    position = 0
    while True:
        text, after = client.output(task, position)
        if after <= position:
            return "".join(pieces)
        pieces.append(text)
        position = after


# --- runs that are on record --------------------------------------------------------------------------------


def attach(dag: DAG, client: Client, namespace: str, log: TaskGraphLog) -> None:
    """Make an empty graph that of a run on record, and follow it.

    Raises:
        ServerError, ServerUnreachable: The server does not tell of it.
    """
    is_batch = log.task_graph_type == "batch"
    sent: Mapping[str, SentNode] = {}
    if is_batch and log.task_graph_id and client.is_ours():
        graph = client.batch_graph(namespace, log.task_graph_id)
        sent = {one.client_node_id: one for one in graph.nodes or ()}
        dag.retry_strategy = graph.retry_strategy
        dag.deadline = None if graph.deadline is None else int(graph.deadline)
        dag.workflow_retry_strategy = graph.workflow_retry_strategy
        if graph.parallelism:
            dag._max_workers = dag._driver.max_workers = graph.parallelism
    listed = [one for one in log.nodes or () if not _is_only_data(one, sent)]
    known = {one.client_node_uuid for one in listed}
    parents = {one.client_node_uuid: [each for each in one.depends_on or () if each in known] for one in listed}
    ordered, cyclic = _parents_first(parents)
    by_id = {one.client_node_uuid: one for one in listed}
    made: dict[str, Node[Any]] = {}
    for one in [by_id[each] for each in ordered]:
        expanded = sent[one.client_node_uuid].expand_node_output if one.client_node_uuid in sent else None
        node: BatchNode[Any] = BatchNode(
            _work_of(one, sent.get(one.client_node_uuid)),
            dag=dag,
            name=one.name,
            expand_node_output=made.get(expanded or ""),
        )
        node.__dict__["_id"] = uuid.UUID(one.client_node_uuid)
        node.mode = _mode_of(one, is_batch)
        node._parents = tuple([made[each] for each in dict.fromkeys(parents[one.client_node_uuid]) if each in made])
        made[one.client_node_uuid] = dag._join(node, one.name)
    if not is_batch:
        dag.mode = Mode.LOCAL if all(one.run_location == "client" for one in listed) else Mode.REALTIME
    driver = cast("BatchDriver", dag._driver)
    driver.is_batch = is_batch
    dag._cyclic = tuple([(made[parent]._index, made[child]._index) for parent, child in cyclic])
    driver.attach(client, namespace, log)


def _parents_first(parents: Mapping[str, Sequence[str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """The nodes in the order of the record, but none before a parent, and the edges that are parts of cycles.

    A record that another client made may list nodes in any order. Of a cycle, edges that lead on in the record count.
    """
    earlier: set[str] = set()
    for child, own in parents.items():
        if not earlier.issuperset(own):
            break
        earlier.add(child)
    else:
        return list(parents), []
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    graph.add_nodes_from(parents)
    graph.add_edges_from((parent, child) for child, own in parents.items() for parent in own)
    pieces = {node: at for at, piece in enumerate(networkx.strongly_connected_components(graph)) for node in piece}
    cyclic = [(parent, child) for parent, child in graph.edges if pieces[parent] == pieces[child]]
    places = {node: at for at, node in enumerate(parents)}
    graph.remove_edges_from([(parent, child) for parent, child in cyclic if places[parent] >= places[child]])
    return list(networkx.lexicographical_topological_sort(graph, key=places.__getitem__)), cyclic


def _is_only_data(one: TaskGraphNodeMetadata, sent: Mapping[str, SentNode]) -> bool:
    """True of what our client puts beside an array node for the array itself."""
    if one.run_location == "virtual":
        return True
    found = sent.get(one.client_node_uuid)
    return found is not None and found.array_node is not None


def _mode_of(one: TaskGraphNodeMetadata, is_batch: bool) -> Mode:
    if is_batch:
        return Mode.BATCH
    return Mode.LOCAL if one.run_location == "client" else Mode.REALTIME


def _work_of(one: TaskGraphNodeMetadata, sent: SentNode | None) -> Work:
    """What views say of a node whose function is not here."""
    label = one.name or one.client_node_uuid
    if sent is not None and sent.sql_node is not None:
        return Work("sql", "SQL query", None, {"result_format": str(sent.sql_node.result_format)})
    if sent is not None and sent.udf_node is not None and sent.udf_node.registered_udf_name:
        return Work("udf", f"registered UDF {sent.udf_node.registered_udf_name!r}", sent.udf_node.registered_udf_name)
    return Work("udf", label)


__all__ = ["BatchNode", "attach"]
