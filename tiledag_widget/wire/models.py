"""What crosses the wire, as values: bodies, enums and what they mean here.

Every body is a frozen dataclass. `from_json` makes one from parsed JSON and refuses what does not fit with the path of
the culprit; unknown keys are ignored and missing ones take their default, as the official client reads. `to_json` is
the way back; it leaves out what is None.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar, Union

from ..core.states import Status
from ..errors import InvalidBody

T = TypeVar("T")

# --- enums --------------------------------------------------------------------------------------------------


class _Text(str, Enum):
    """Members are their texts."""

    def __str__(self) -> str:
        return str(self.value)

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise ValueError(f"{cls.__name__} must be one of {', '.join(map(str, cls))}; got {value!r}")


class ResultFormat(_Text):
    """How a result is written."""

    NATIVE = "native"
    PYTHON_PICKLE = "python_pickle"
    R_SERIALIZATION = "r_serialization"
    JSON = "json"
    ARROW = "arrow"
    BYTES = "bytes"
    TILEDB_JSON = "tiledb_json"


class TaskStatus(_Text):
    """The API's ArrayTaskStatus: state of one task, or of a node in a log."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    RESOURCES_UNAVAILABLE = "RESOURCES_UNAVAILABLE"
    DENIED = "DENIED"


class LogStatus(_Text):
    """The API's TaskGraphLogStatus: state of one execution of a graph."""

    SUBMITTED = "submitted"
    RUNNING = "running"
    IDLE = "idle"
    ABANDONED = "abandoned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNFINISHED = "unfinished"


class TaskType(_Text):
    """The API's ArrayTaskType."""

    SQL = "SQL"
    UDF = "UDF"
    QUERY = "QUERY"
    GENERIC_UDF = "GENERIC_UDF"
    BATCH_UDF = "BATCH_UDF"
    CLIENT_COMPUTATION = "CLIENT_COMPUTATION"


class RunLocation(_Text):
    """Where a node runs."""

    SERVER = "server"
    CLIENT = "client"
    VIRTUAL = "virtual"


class Layout(_Text):
    """Order of the cells of an array."""

    ROW_MAJOR = "row-major"
    COL_MAJOR = "col-major"
    GLOBAL_ORDER = "global-order"
    UNORDERED = "unordered"


class RetryPolicy(_Text):
    """Which ends of an attempt are tried again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    ON_ERROR = "OnError"
    ON_TRANSIENT_ERROR = "OnTransientError"


_TASK_TO_STATUS: Final = {
    "QUEUED": Status.NOT_STARTED,
    "RUNNING": Status.RUNNING,
    "COMPLETED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    "RESOURCES_UNAVAILABLE": Status.FAILED,
    "DENIED": Status.FAILED,
    "UNKNOWN": Status.FAILED,
    "CANCELLED": Status.CANCELLED,
}
_LOG_TO_STATUS: Final = {
    "submitted": Status.NOT_STARTED,
    "running": Status.RUNNING,
    "idle": Status.NOT_STARTED,
    "abandoned": Status.CANCELLED,
    "succeeded": Status.COMPLETED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "unfinished": Status.RUNNING,
}
LOG_STATUS_OF: Final = {
    Status.COMPLETED: LogStatus.SUCCEEDED,
    Status.FAILED: LogStatus.FAILED,
    Status.CANCELLED: LogStatus.CANCELLED,
}
"""How the end of a graph is reported."""


def status_of_task(text: str | None) -> Status:
    """What a task's status means for its node here."""
    return _TASK_TO_STATUS.get(str(text), Status.NOT_STARTED)


def status_of_log(text: str | None) -> Status:
    """What a log's status means for its graph here."""
    return _LOG_TO_STATUS.get(str(text), Status.NOT_STARTED)


# --- what stands for a value --------------------------------------------------------------------------------
# No slots: pickles of the official client restore these by writing to `__dict__`.


@dataclass(frozen=True)
class Decoder:
    """Turns stored bytes of one format into the value."""

    format: str


@dataclass(frozen=True)
class PandasDecoder(Decoder):
    """Turns stored bytes of one format into a DataFrame."""


@dataclass(frozen=True)
class StoredParam:
    """Stands for the stored result of a task.

    Attributes:
        task_id: Of the task on the server.
        decoder: Turns the stored bytes into the value.
    """

    task_id: uuid.UUID
    decoder: Any = None


@dataclass(frozen=True)
class NodeOutput:
    """Stands for the output of another node of the same graph, in batch and registered graphs."""

    client_node_id: str


@dataclass(frozen=True, slots=True)
class ArrayRanges:
    """Which cells of an array: per dimension flat pairs ``[lo, hi, lo, hi, ...]``, inclusive; empty is all."""

    ranges: tuple[tuple[Any, ...], ...] = ()
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class ArrayDetails:
    """The API's UDFArrayDetails: stands for the data of an array."""

    uri: str
    ranges: ArrayRanges | None = None
    buffers: tuple[str, ...] | None = None
    parameter_id: str | None = None


# --- calls --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UdfCall:
    """Body of ``POST /v1/udfs/generic/{namespace}`` and ``/v1/udfs/arrays/{namespace}``.

    Attributes:
        exec: Base64 of the pickled function; or `udf_info_name`.
        argument: Old style: base64 of a pickled sequence. Counts only where `arguments_json` is None.
        arguments_json: Tagged JSON, one object ``{value}`` or ``{name, value}`` each; see `wire.codec`.
        arrays: What array calls are about; None for generic calls.
    """

    exec: str | None = None
    udf_info_name: str | None = None
    exec_raw: str | None = None
    language: str | None = None
    version: str | None = None
    image_name: str | None = None
    access_credentials_name: str | None = None
    resource_class: str | None = None
    result_format: ResultFormat = ResultFormat.NATIVE
    task_name: str | None = None
    argument: str | None = None
    arguments_json: tuple[Any, ...] | None = None
    arrays: tuple[ArrayDetails, ...] | None = None
    stored_param_uuids: tuple[str, ...] | None = None
    store_results: bool | None = None
    dont_download_results: bool | None = None
    timeout: float | None = None
    task_graph_uuid: str | None = None
    client_node_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class SqlCall:
    """Body of ``POST /v1/sql/{namespace}``."""

    query: str
    name: str | None = None
    init_commands: tuple[str, ...] | None = None
    parameters: tuple[Any, ...] | None = None
    output_uri: str | None = None
    result_format: ResultFormat = ResultFormat.ARROW
    store_results: bool | None = None
    dont_download_results: bool | None = None
    resource_class: str | None = None
    timeout: float | None = None
    task_graph_uuid: str | None = None
    client_node_uuid: str | None = None


# --- tasks and logs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ArrayTask:
    """One task: an execution of a node, or of a single call. ``duration`` is in nanoseconds."""

    id: str | None = None
    name: str | None = None
    username: str | None = None
    namespace: str | None = None
    description: str | None = None
    status: str | None = None
    status_message: str | None = None
    start_time: str | None = None
    finish_time: str | None = None
    duration: float | None = None
    cost: float | None = None
    egress_cost: float | None = None
    access_cost: float | None = None
    memory: float | None = None
    cpu: float | None = None
    type: str | None = None
    udf_code: str | None = None
    udf_language: str | None = None
    sql_query: str | None = None
    sql_init_commands: tuple[str, ...] | None = None
    sql_parameters: tuple[Any, ...] | None = None
    logs: str | None = None
    result_format: str | None = None
    array_metadata: Any = None
    subarray: Any = None
    activity: Any = None
    query_type: str | None = None
    task_graph_uuid: str | None = None
    client_node_uuid: str | None = None
    cloud_provider: str | None = None
    cloud_region: str | None = None


@dataclass(frozen=True, slots=True)
class PaginationMetadata:
    """Pages count from 1."""

    page: float = 1
    per_page: float = 10
    total_pages: float = 0
    total_items: float = 0


@dataclass(frozen=True, slots=True)
class ArrayTaskData:
    """A page of tasks."""

    array_tasks: tuple[ArrayTask, ...] | None = None
    pagination_metadata: PaginationMetadata | None = None


@dataclass(frozen=True, slots=True)
class TaskGraphNodeMetadata:
    """A node in a log. ``executions`` are oldest first; the last is the latest attempt."""

    client_node_uuid: str
    name: str | None = None
    depends_on: tuple[str, ...] | None = None
    run_location: str | None = None
    status: str | None = None
    status_message: str | None = None
    executions: tuple[ArrayTask, ...] | None = None


@dataclass(frozen=True, slots=True)
class TaskGraphLog:
    """The record of one execution of a graph."""

    uuid: str | None = None
    namespace: str | None = None
    created_by: str | None = None
    name: str | None = None
    created_at: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    status: str | None = None
    total_cost: float | None = None
    access_cost: float | None = None
    egress_cost: float | None = None
    execution_time: str | None = None
    status_count: Mapping[str, float] | None = None
    nodes: tuple[TaskGraphNodeMetadata, ...] | None = None
    task_graph_type: str | None = None
    task_graph_id: str | None = None
    cloud_provider: str | None = None
    cloud_region: str | None = None


@dataclass(frozen=True, slots=True)
class TaskGraphLogsData:
    """A page of logs, without their nodes, newest first."""

    task_graph_logs: tuple[TaskGraphLog, ...] | None = None
    pagination_metadata: PaginationMetadata | None = None


@dataclass(frozen=True, slots=True)
class LogUpdate:
    """Body of ``PATCH .../logs/{id}``."""

    status: LogStatus


@dataclass(frozen=True, slots=True)
class ClientNodeReport:
    """Body of ``POST .../logs/{id}/report_client_node``."""

    client_node_uuid: str
    status: TaskStatus


# --- registered things --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UdfInfoUpdate:
    """Body that registers or changes a UDF."""

    name: str | None = None
    language: str | None = None
    version: str | None = None
    image_name: str | None = None
    type: str | None = None
    exec: str | None = None
    exec_raw: str | None = None
    readme: str | None = None
    license_id: str | None = None
    license_text: str | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UdfInfo:
    """A registered UDF, without its code."""

    id: str | None = None
    name: str | None = None
    language: str | None = None
    type: str | None = None
    readme: str | None = None
    license_id: str | None = None
    license_text: str | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RegisteredTaskGraph:
    """A task graph under a name. ``nodes`` go back exactly as they came."""

    uuid: str | None = None
    namespace: str | None = None
    name: str | None = None
    readme: str | None = None
    license_id: str | None = None
    license_text: str | None = None
    tags: tuple[str, ...] | None = None
    nodes: Any = None


# --- who is who ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrganizationUser:
    """Membership of a user in an organization."""

    organization_name: str | None = None
    allowed_actions: tuple[str, ...] | None = None
    user_id: str | None = None
    organization_id: str | None = None
    username: str | None = None
    role: str | None = None


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    username: str
    organizations: tuple[OrganizationUser, ...] = ()
    allowed_actions: tuple[str, ...] = ()
    default_namespace_charged: str | None = None
    id: str | None = None
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A session or API token."""

    token: str = field(repr=False)
    name: str | None = None
    issued_at: str | None = None
    expires_at: str | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """Body of every reply that is not 2xx. The last two are sent by our server alone."""

    code: int | None = None
    message: str | None = None
    request_id: str | None = None
    exception_type: str | None = None
    traceback: str | None = None


# --- retries ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RetryBackoff:
    """How long to wait before the next attempt: a number of seconds, or a text such as ``"30s"`` or ``"2m"``."""

    duration: str | None = None
    factor: float | None = None
    max_duration: str | None = field(default=None, metadata={"key": "maxDuration"})


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """When the server tries a node, or a whole batch graph, again.

    Attributes:
        limit: Retries after the first attempt.
        retry_policy: Which ends count.
        backoff: The wait before each retry.
        expression: A condition over ``lastRetry``.
    """

    limit: int | None = None
    retry_policy: RetryPolicy | None = field(default=None, metadata={"key": "retryPolicy"})
    backoff: RetryBackoff | None = None
    expression: str | None = None


# --- reading and writing ------------------------------------------------------------------------------------


def from_json(cls: type[T], data: Any, where: str = "") -> T:
    """A body from parsed JSON.

    Args:
        cls: One of the dataclasses here.
        data: As ``json.loads`` gives it.
        where: Path of ``data`` for messages.

    Raises:
        InvalidBody: Something does not fit; the text names it by its path.
    """
    if not isinstance(data, Mapping):
        raise InvalidBody(f"{where or 'the body'} must be an object, got {_kind(data)}", where)
    found: dict[str, Any] = {}
    for one in _fields(typing.cast("typing.Hashable", cls)):
        value = data.get(one.key)
        if value is None:  # null and absent are one and the same
            if one.required:
                raise InvalidBody(f"{_join(where, one.key)} is missing", _join(where, one.key))
            continue
        if type(value) is one.plain:  # most of them: nothing is to be looked at, and no path to be made
            found[one.name] = value
        else:
            found[one.name] = _read(one.type, value, _join(where, one.key))
    return cls(**found)


NAME_LIMIT: Final = 255
"""Characters of the name of a node or a run, by the contract."""
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def to_json(value: Any) -> Any:
    """The JSON form of a body: fields that are None are left out."""
    kind = type(value)
    if kind in _PLAIN:  # most of what a record of thousands of nodes is made of
        return value
    if dataclasses.is_dataclass(kind):
        made: dict[str, Any] = {}
        for one in _fields(kind):
            item = getattr(value, one.name)
            if item is not None:
                made[one.key] = item if type(item) in _PLAIN else to_json(item)
        return made
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str
    type: Any
    required: bool
    plain: type | None
    """Where it is a text, a number or true or false: as what JSON gives it."""


@functools.cache
def _fields(cls: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(
        _Field(
            one.name,
            one.metadata.get("key", one.name),
            hints[one.name],
            one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING,
            _plain_of(hints[one.name]),
        )
        for one in dataclasses.fields(cls)
    )


def _plain_of(wanted: Any) -> type | None:
    if typing.get_origin(wanted) in (Union, types.UnionType):
        (wanted,) = [one for one in typing.get_args(wanted) if one is not type(None)]
    return wanted if wanted in _WORDS else None


def _read(wanted: Any, value: Any, where: str) -> Any:
    """``value`` as the type asks for it."""
    if wanted is Any:
        return value
    origin = typing.get_origin(wanted)
    if origin in (Union, types.UnionType):
        (inner,) = [one for one in typing.get_args(wanted) if one is not type(None)]
        return None if value is None else _read(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise InvalidBody(f"{where} must be an array, got {_kind(value)}", where)
        inner = typing.get_args(wanted)[0]
        if inner is Any or (inner in _WORDS and all(type(item) is inner for item in value)):
            return tuple(value)
        return tuple([_read(inner, item, f"{where}[{index}]") for index, item in enumerate(value)])
    if origin is not None:
        if not isinstance(value, Mapping):
            raise InvalidBody(f"{where} must be an object, got {_kind(value)}", where)
        inner = typing.get_args(wanted)[1]
        return {str(key): _read(inner, item, _join(where, str(key))) for key, item in value.items()}
    if dataclasses.is_dataclass(wanted):
        return from_json(typing.cast("type[Any]", wanted), value, where)
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        try:
            return wanted(value)
        except ValueError:
            known = ", ".join(str(one.value) for one in wanted)
            raise InvalidBody(f"{where} is {value!r}, expected one of: {known}", where) from None
    return _read_scalar(wanted, value, where)


def _read_scalar(wanted: type[Any], value: Any, where: str) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is bool and isinstance(value, bool):
        return value
    if wanted is str and isinstance(value, str):
        return value
    if wanted is float and is_number:
        return value
    if wanted is int and is_number and value == int(value):
        return int(value)
    raise InvalidBody(f"{where} must be {_WORDS[wanted]}, got {_kind(value)}", where)


_WORDS: Final[dict[Any, str]] = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def _join(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "an array"
    if isinstance(value, Mapping):
        return "an object"
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"


# --- small rules --------------------------------------------------------------------------------------------


def is_retry_with_params(message: str) -> bool:
    """True if the server could not load stored parameters and asks for the call with values."""
    return "RETRY_WITH_PARAMS" in message


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def uuid_or_none(text: str | None) -> uuid.UUID | None:
    """The id in a text; None where it is no id (``taskgraphs`` sends the text ``None``)."""
    return uuid.UUID(text) if text is not None and _UUID.fullmatch(text) else None


def namespace_to_charge(user: User, action: str | None = None) -> str | None:
    """Whom a call is charged to where the caller did not say; None if nobody may do it."""
    if user.default_namespace_charged:
        return user.default_namespace_charged
    for membership in user.organizations:
        if membership.organization_name in (None, "", "public"):
            continue
        if action is None or action in (membership.allowed_actions or ()):
            return membership.organization_name
    return user.username if action is None or action in user.allowed_actions else None
