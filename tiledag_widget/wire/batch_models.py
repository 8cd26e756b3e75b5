"""Bodies of batch graphs, and the numbered events by which a run is followed.

**Following a run.** ``GET /tiledag/v1/runs/{log}/events?after=N&wait=S`` (ours, contract 7.3) gives a `RunEvents`: the
events with numbers above ``after`` (0: from the beginning), at once if there are any, else as soon as one comes, else
after ``wait`` seconds (at most 30, default 0) an empty list. ``{log}`` is the uuid that *submit* replied with. They
are numbered 1, 2, 3 ... without gaps, for ever: ask again with ``after=last`` until ``done`` is true and ``more``
is false. After a *retry* or a restart of the server the numbers go on. An unknown run is a 404.

An event is in the records, with all that it speaks of, before anybody hears of it: a node that was seen COMPLETED has
its result at ``GET /v1/task/{task}/result``, whatever happens to the server.

======== =====================================================================================================
kind     means
======== =====================================================================================================
run      The whole run has this ``status`` now: a word of the API's TaskGraphLogStatus (``submitted``, ``running``,
         ``succeeded``, ``failed``, ``cancelled``). The last event of a run that ended is of this kind.
node     Node ``node`` has this ``status`` now: QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED, or PARENT_FAILED
         (ours; the API's log shows QUEUED there). ``attempt`` counts from 1; ``task`` is the execution that holds its
         result, or, when FAILED, its pickled exception. FAILED has ``message``, ``error_type``, ``traceback`` if
         known; of a stage also ``item``, the number of the item that failed first, and ``argument``, that item as
         text, cut. PARENT_FAILED has ``cause``, the node that failed or was cancelled above it. QUEUED after a failed
         attempt has ``not_before``, the moment from which it may be tried again.
attempt  An attempt failed and another will be made: ``attempt``, ``task``, ``message``, ``error_type`` tell of it, and
         ``item`` of which item of a stage.
items    A stage was opened over a list: ``total`` items, of which ``finished`` are completed (told now and then).
======== =====================================================================================================

A run of the realtime kind has no events: its client drives it, and its log tells of it. The list stays empty there.

**What the API's log says of a batch run** (``GET /v1/taskgraphs/{namespace}/logs/{log}``): a `models.TaskGraphLog` with
``task_graph_type`` "batch" and ``task_graph_id``; ``nodes`` are the client's own, parents first, each with ``status``
(QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED; a node below a failed one stays QUEUED), ``status_message`` and
``executions``, one for each attempt, oldest first. The items of a stage are no executions of their own there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .models import ResultFormat, RetryStrategy

__all__ = [
    "ArrayNode",
    "BatchGraph",
    "BatchNode",
    "Environment",
    "InputNode",
    "PLACEHOLDER",
    "RunEvent",
    "RunEvents",
    "SqlNode",
    "UdfNode",
]

PLACEHOLDER = "{{inputs.parameters.partId}}"
"""Stands for the item in the arguments of a stage."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Where and how a node runs. ``resources`` are quantities as Kubernetes writes them (``500m``, ``8Gi``)."""

    language: str | None = None
    language_version: str | None = None
    run_client_side: bool | None = None
    namespace: str | None = None
    image_name: str | None = None
    timeout: float | None = None
    access_credentials_name: str | None = None
    resource_class: str | None = None
    resources: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class UdfNode:
    """Calls a function. ``arguments`` are tagged JSON (`wire.codec`), with ``node_output`` for other nodes."""

    executable_code: str | None = None
    registered_udf_name: str | None = None
    source_text: str | None = None
    arguments: tuple[Any, ...] | None = None
    result_format: ResultFormat = ResultFormat.NATIVE
    environment: Environment | None = None
    download_results: bool | None = None


@dataclass(frozen=True, slots=True)
class SqlNode:
    """Runs a query. ``parameters`` are tagged JSON values, bound to ``?``."""

    query: str | None = None
    init_commands: tuple[str, ...] | None = None
    parameters: tuple[Any, ...] | None = None
    result_format: ResultFormat = ResultFormat.ARROW
    namespace: str | None = None
    output_uri: str | None = None
    resource_class: str | None = None
    download_results: bool | None = None


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """Data of an array: what a UDF that names this node gets. Each field may hold references to other nodes."""

    uri: Any = None
    ranges: Any = None
    buffers: Any = None
    parameter_id: str | None = None


@dataclass(frozen=True, slots=True)
class InputNode:
    """A value that is given when a registered graph runs; here its default."""

    default_value: Any = None
    datatype: str | None = None


@dataclass(frozen=True, slots=True)
class BatchNode:
    """The API's TaskGraphNode: one of the four kinds."""

    client_node_id: str
    name: str | None = None
    depends_on: tuple[str, ...] | None = None
    expand_node_output: str | None = None
    retry_strategy: RetryStrategy | None = None
    deadline: float | None = None
    udf_node: UdfNode | None = None
    sql_node: SqlNode | None = None
    array_node: ArrayNode | None = None
    input_node: InputNode | None = None


@dataclass(frozen=True, slots=True)
class BatchGraph:
    """The API's TaskGraph: body of create and update. The server adds the last five when it replies."""

    nodes: tuple[BatchNode, ...] | None = None
    name: str | None = None
    parallelism: int | None = None
    retry_strategy: RetryStrategy | None = None
    workflow_retry_strategy: RetryStrategy | None = None
    deadline: float | None = None
    uuid: str | None = None
    namespace: str | None = None
    created_by: str | None = None
    created_at: str | None = None
    task_graph_type: str | None = None


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One thing that happened in a run; the table above tells which fields its ``kind`` has."""

    number: int
    time: str
    kind: str
    status: str | None = None
    node: str | None = None
    attempt: int | None = None
    task: str | None = None
    message: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    cause: str | None = None
    item: int | None = None
    argument: str | None = None
    not_before: str | None = None
    total: int | None = None
    finished: int | None = None


@dataclass(frozen=True, slots=True)
class RunTask:
    """An attempt that has begun: at a node, or at one item of a stage, which then counts its own attempts.

    Attributes:
        printed: Bytes of output up to now.
    """

    task: str
    node: str
    attempt: int
    status: str
    item: int | None = None
    printed: int = 0


@dataclass(frozen=True, slots=True)
class RunTasks:
    """The attempts of a run that have begun, oldest first."""

    run: str
    tasks: tuple[RunTask, ...] = ()


@dataclass(frozen=True, slots=True)
class RunEvents:
    """Reply to a look at the events of a run.

    Attributes:
        run: Uuid of its log.
        status: Of the run now, as in its log; may be newer than the last event here.
        last: Number of the last event here; what was asked with, where there is none.
        events: At most 1,000, in order.
        more: Whether there are more already: ask again without waiting.
        done: Whether the run has ended; only a retry adds events then.
    """

    run: str
    status: str
    last: int
    events: tuple[RunEvent, ...] = ()
    more: bool = False
    done: bool = False
