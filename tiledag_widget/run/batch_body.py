"""A BATCH graph as the body of its upload: nodes, what they run, and the rules by which they are tried again.

Nodes among arguments become references; in a stage the node that is expanded becomes the text that the server replaces
by one item at a time. Everything is checked here, before anything is sent, and named by its node.
"""

from __future__ import annotations

import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import InvalidBody, ServerError
from ..wire.batch_models import PLACEHOLDER
from ..wire.models import (
    NAME_LIMIT,
    NodeOutput,
    ResultFormat,
    RetryBackoff,
    RetryPolicy,
    RetryStrategy,
    from_json,
    to_json,
)
from . import arguments
from .remote_calls import (
    absolute,
    array_arguments,
    layout_of,
    parse_ranges,
    several_arrays,
    source_of,
    sql_call,
)
from .remote_result import RemoteResult

if TYPE_CHECKING:
    from ..core.machine import GraphMachine
    from ..wire.client import Client
    from .remote_calls import Work

_BACKOFF_TIME: Final = re.compile(r"\d+(\.\d+)?|(\d+(\.\d+)?(ms|s|m|h|d))+")
_QUANTITY: Final = re.compile(r"\d+(\.\d+)?(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_RAW: Final = "raw_json"
_PLACE: Final = re.compile(r"nodes\[(\d+)\]")


class BatchNode(Protocol):
    """What is asked of a node here."""

    work: Work
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    _foreign: Mapping[int, Any] | None
    _resource_class: str | None
    _resources: Mapping[str, Any] | None

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> uuid.UUID: ...

    @property
    def _expand_node_output(self) -> Any: ...


class BatchGraph(Protocol):
    """What is asked of a graph here."""

    name: str | None
    retry_strategy: Any
    workflow_retry_strategy: Any
    deadline: Any

    @property
    def max_workers(self) -> int: ...


# --- the body -----------------------------------------------------------------------------------------------


def graph_body(
    graph: BatchGraph,
    machine: GraphMachine,
    nodes: Sequence[BatchNode],
    node_type: type[Any],
    client: Client,
    namespace: str,
) -> dict[str, Any]:
    """What ``POST /v1/taskgraphs/{namespace}/graphs`` takes. What is not set on the graph goes as null.

    Raises:
        NotPicklable: A function or an argument cannot be sent; its node and path are named.
        TypeError, ValueError: An option does not fit; its node is named.
    """
    write = _Writer(node_type, client, namespace)
    entries: list[dict[str, Any]] = []
    for index in machine.graph.leaves_first_order():
        parents = [str(nodes[parent].id) for parent in machine.graph.parents[index]]
        entries += write.entries(nodes[index], parents)
    return {
        "name": graph.name,
        "parallelism": graph.max_workers,
        "retry_strategy": to_json(retry_strategy(graph.retry_strategy, "retry_strategy")),
        "workflow_retry_strategy": to_json(retry_strategy(graph.workflow_retry_strategy, "workflow_retry_strategy")),
        "deadline": whole_seconds(graph.deadline, "deadline"),
        "nodes": entries,
    }


def readers_in(body: Mapping[str, Any]) -> dict[str, str]:
    """The nodes of a body that only read an array for another one, each with that one."""
    nodes = body["nodes"]
    reading = {one["client_node_id"] for one in nodes if "array_node" in one}
    return {
        parent: one["client_node_id"]
        for one in nodes
        if one["client_node_id"] not in reading
        for parent in one["depends_on"]
        if parent in reading
    }


def by_name(error: ServerError, body: Mapping[str, Any]) -> ServerError:
    """What a server says against a body, with the name of the node that it means."""
    found = _PLACE.match(str(error))
    if found is None or int(found[1]) >= len(body["nodes"]):
        return error
    name = body["nodes"][int(found[1])]["name"]
    return ServerError(f"Node {name!r}: {error}", error.http_status, error.body)


class _Writer:
    """Writes nodes, one after another."""

    def __init__(self, node_type: type[Any], client: Client, namespace: str) -> None:
        self._node_type = node_type
        self._client = client
        self._namespace = namespace

    def entries(self, node: BatchNode, parents: list[str]) -> list[dict[str, Any]]:
        """The node, after what it reads if that is an array."""
        options = node.work.options
        expanded = node._expand_node_output
        entry: dict[str, Any] = {
            "client_node_id": str(node.id),
            "name": node.name[:NAME_LIMIT],
            "depends_on": parents,
            "expand_node_output": "" if expanded is None else str(expanded.id),
        }
        strategy = retry_strategy(options.get("retry_strategy"), f"Node {node.name!r}: retry_strategy")
        if strategy is not None:
            entry["retry_strategy"] = to_json(strategy)
        deadline = whole_seconds(options.get("deadline"), f"Node {node.name!r}: deadline")
        if deadline is not None:
            entry["deadline"] = deadline
        args, kwargs = self._with_references(node)
        if node.work.kind == "sql":
            return [{**entry, "sql_node": self._sql(node, args, kwargs)}]
        if node.work.kind == "array":
            return self._array(node, entry, args, kwargs)
        return [{**entry, "udf_node": self._udf(node, node.work.function, args, kwargs)}]

    def _with_references(self, node: BatchNode) -> tuple[tuple[Any, ...], dict[str, Any]]:
        expanded, foreign = node._expand_node_output, node._foreign or {}

        def stand_in(parent: Any) -> Any:
            if parent is expanded:
                return PLACEHOLDER
            if id(parent) in foreign:
                value = foreign[id(parent)]
                return value.value() if isinstance(value, RemoteResult) else value
            return NodeOutput(str(parent.id))

        return arguments.replace((node.args, node.kwargs), self._node_type, stand_in)

    def _udf(self, node: BatchNode, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        from ..wire import codec

        options = node.work.options
        data: dict[str, Any] = {}
        if isinstance(function, str):
            data["registered_udf_name"] = function
        elif callable(function):
            data["executable_code"] = codec.encode_function(function, node.name)
            text = source_of(function) if options.get("include_source_lines", True) else None
            if text is not None:
                data["source_text"] = text
        else:
            raise TypeError(
                f"Node {node.name!r}: a function or the name of a registered one is needed, got {function!r}"
            )
        dumped = codec.dump_arguments(node.name, args, kwargs)
        if node._expand_node_output is not None:
            dumped = [_without_raw(entry) for entry in dumped]
        data["arguments"] = dumped
        data["environment"] = self._environment(node)
        data["result_format"] = str(ResultFormat(str(options.get("result_format") or "native")))
        return data

    def _environment(self, node: BatchNode) -> dict[str, Any]:
        options = node.work.options
        found: dict[str, Any] = {
            "language": "python",
            "language_version": platform.python_version(),
            "run_client_side": False,
            "namespace": self._namespace,
        }
        for name in ("image_name", "access_credentials_name"):
            if options.get(name) is not None:
                found[name] = options[name]
        timeout = seconds(options.get("timeout"), f"Node {node.name!r}: timeout")
        if timeout is not None:
            found["timeout"] = timeout
        if node._resources is not None:
            found["resources"] = resources(node._resources, f"Node {node.name!r}: resources")
        else:
            found["resource_class"] = node._resource_class or "standard"
        return found

    def _sql(self, node: BatchNode, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        from ..wire import codec

        call = sql_call(args, kwargs, node.work.options, self._client)
        if call["output_uri"] is not None and not self._client.is_ours():
            raise ValueError(
                f"Node {node.name!r}: {self._client.url} knows no output_uri in an SQL node of a BATCH graph. "
                "Write the result in a function of the graph, or use a REALTIME graph."
            )
        parameters = call["parameters"]
        data = {
            "init_commands": None if call["init_commands"] is None else list(call["init_commands"]),
            "query": call["query"],
            "parameters": None
            if parameters is None
            else [codec.to_tagged(one, node.name, f"parameters[{place}]") for place, one in enumerate(parameters)],
            "result_format": str(call["result_format"]),
            "output_uri": call["output_uri"],
            "namespace": self._namespace,
        }
        return {key: value for key, value in data.items() if value is not None}

    def _array(
        self, node: BatchNode, entry: dict[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What is read, an array each, and the function that gets its data: of one, or of several as a list."""
        uri, function, ranges, attrs, layout, rest = array_arguments(*args, **kwargs)
        is_one = isinstance(uri, (str, NodeOutput))
        if is_one:
            arrays = [self._read(node, uri, ranges, attrs, layout)]
        else:
            arrays = self._read_several(node, uri, is_plain=not (ranges or attrs or layout))
        parents, reads, data = entry["depends_on"], [], []
        for place, array in enumerate(arrays):
            what = "array" if is_one else f"array {place}"
            array_id = str(uuid.uuid5(node.id, what))
            name = f"{node.name[: NAME_LIMIT - len(what) - 3]} ({what})"
            reads.append(
                {
                    "client_node_id": array_id,
                    "name": name,
                    "depends_on": parents,
                    "expand_node_output": "",
                    "array_node": array,
                }
            )
            data.append(NodeOutput(array_id))
        entry["depends_on"] = [*parents, *(one.client_node_id for one in data)]
        udf = self._udf(node, function, (data[0] if is_one else data,), rest)
        return [*reads, {**entry, "udf_node": udf}]

    def _read_several(self, node: BatchNode, arrays: Any, *, is_plain: bool) -> list[dict[str, Any]]:
        if not is_plain:
            raise TypeError(f"Node {node.name!r}: several arrays have ranges, attributes and layout each of their own")
        found: list[dict[str, Any]] = []
        for one in several_arrays(node.name, arrays, self._client):
            shape = one.ranges
            ends = [list(pairs) for pairs in shape.ranges or ()] if shape is not None else []
            how = shape.layout if shape is not None else None
            found.append(self._read_of(node, one.uri, ends, one.buffers or (), how))
        return found

    def _read(self, node: BatchNode, uri: Any, ranges: Any, attrs: Any, layout: str | None) -> dict[str, Any]:
        if isinstance(uri, str):
            uri = absolute(uri, self._client)
        ends = ranges if isinstance(ranges, NodeOutput) else [list(one) for one in parse_ranges(ranges)]
        return self._read_of(node, uri, ends, attrs, layout_of(layout))

    def _read_of(self, node: BatchNode, uri: Any, ends: Any, attrs: Any, how: str | None) -> dict[str, Any]:
        from ..wire import codec

        asked: dict[str, Any] = {"ranges": codec.to_tagged(ends, node.name, "ranges")}
        if how is not None:
            asked["layout"] = how
        array: dict[str, Any] = {"uri": codec.to_tagged(uri, node.name, "uri"), "ranges": asked}
        if attrs:
            names = attrs if isinstance(attrs, NodeOutput) else list(attrs)
            array["buffers"] = codec.to_tagged(names, node.name, "attrs")
        return array


def _without_raw(entry: dict[str, Any]) -> dict[str, Any]:
    """An argument whose text the server may look into: not marked as one in which there is nothing to find."""
    from ..wire.codec import TAG

    value = entry["value"]
    if isinstance(value, dict) and value.get(TAG) == _RAW:
        return {**entry, "value": value[_RAW]}
    return entry


# --- options ------------------------------------------------------------------------------------------------


def check_graph(graph: BatchGraph) -> None:
    """Refuse what the upload would, when the graph is made.

    Raises:
        TypeError, ValueError: An option of the graph does not fit.
    """
    retry_strategy(graph.retry_strategy, "retry_strategy")
    retry_strategy(graph.workflow_retry_strategy, "workflow_retry_strategy")
    whole_seconds(graph.deadline, "deadline")


def check_options(name: str, options: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> None:
    """Refuse what the upload would, when the node is made.

    Raises:
        TypeError, ValueError: An option does not fit; the node is named.
    """
    retry_strategy(options.get("retry_strategy"), f"Node {name!r}: retry_strategy")
    whole_seconds(options.get("deadline"), f"Node {name!r}: deadline")
    seconds(options.get("timeout"), f"Node {name!r}: timeout")
    if wanted is not None:
        resources(wanted, f"Node {name!r}: resources")
    result_format = options.get("result_format")
    if result_format is not None:
        try:
            ResultFormat(str(result_format))
        except ValueError:
            known = ", ".join(map(str, ResultFormat))
            raise ValueError(f"Node {name!r}: result_format is {result_format!r}, expected one of: {known}") from None


def retry_strategy(given: Any, where: str) -> RetryStrategy | None:
    """A retry strategy however it was given: ours, TileDB's model, or a mapping by JSON's or Python's names.

    Raises:
        TypeError, ValueError: It does not fit; ``where`` and the culprit are named.
    """
    if given is None:
        return None
    if isinstance(given, RetryStrategy):
        found = given
    else:
        found = _read_strategy(given, where)
    limit: Any = found.limit
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise ValueError(f"{where}.limit must be a whole number from 0 on, got {limit!r}")
    if found.backoff is not None:
        _check_backoff(found.backoff, where)
    policy: Any = found.retry_policy
    if policy is not None and str(policy) not in list(map(str, RetryPolicy)):
        raise ValueError(f"{where}.retry_policy is {policy!r}, expected one of: {', '.join(map(str, RetryPolicy))}")
    expression: Any = found.expression
    if expression is not None and not isinstance(expression, str):
        raise TypeError(f"{where}.expression must be a text, got {type(expression).__name__}")
    return found


def _read_strategy(given: Any, where: str) -> RetryStrategy:
    names = ("limit", "retry_policy", "backoff", "expression")
    if not isinstance(given, Mapping):
        if not all(hasattr(given, name) for name in names):
            raise TypeError(
                f"{where} must be a tiledag_widget.models.RetryStrategy or a mapping, got {type(given).__name__}"
            )
        given = {name: getattr(given, name) for name in names}
    data = {_JSON_NAMES.get(key, key): value for key, value in given.items()}
    unknown = sorted(set(data) - {"limit", "retryPolicy", "backoff", "expression"})
    if unknown:
        raise ValueError(f"{where} has no {', '.join(map(repr, unknown))}; it knows {', '.join(names)}")
    backoff = data.get("backoff")
    if backoff is not None:
        if not isinstance(backoff, Mapping):
            backoff = {name: getattr(backoff, name, None) for name in ("duration", "factor", "max_duration")}
        backoff = {_JSON_NAMES.get(key, key): value for key, value in backoff.items()}
        unknown = sorted(set(backoff) - {"duration", "factor", "maxDuration"})
        if unknown:
            words = ", ".join(map(repr, unknown))
            raise ValueError(f"{where}.backoff has no {words}; it knows duration, factor, max_duration")
        for key in ("duration", "maxDuration"):
            if isinstance(backoff.get(key), (int, float)) and not isinstance(backoff[key], bool):
                backoff[key] = f"{backoff[key]:g}"
        data["backoff"] = backoff
    policy = data.get("retryPolicy")
    if policy is not None:
        data["retryPolicy"] = str(policy)
    try:
        return from_json(RetryStrategy, data, where)
    except InvalidBody as error:
        raise ValueError(str(error)) from None


_JSON_NAMES: Final = {"retry_policy": "retryPolicy", "max_duration": "maxDuration"}


def _check_backoff(backoff: RetryBackoff, where: str) -> None:
    for name in ("duration", "max_duration"):
        text: Any = getattr(backoff, name)
        if text is not None and not _BACKOFF_TIME.fullmatch(str(text).strip()):
            raise ValueError(
                f"{where}.backoff.{name} must be seconds or a number with ms, s, m, h or d behind it, got {text!r}"
            )
    factor: Any = backoff.factor
    if factor is not None and (isinstance(factor, bool) or not isinstance(factor, (int, float)) or factor <= 0):
        raise ValueError(f"{where}.backoff.factor must be a number above 0, got {factor!r}")


def whole_seconds(given: Any, where: str) -> int | None:
    """A deadline.

    Raises:
        ValueError: It is no number of seconds above 0.
    """
    found = seconds(given, where)
    if found is None:
        return None
    if found != int(found):
        raise ValueError(f"{where} must be whole seconds, got {given!r}")
    return int(found)


def seconds(given: Any, where: str) -> float | None:
    """A limit of time.

    Raises:
        ValueError: It is no number of seconds above 0.
    """
    if given is None:
        return None
    total = getattr(given, "total_seconds", None)
    value = total() if callable(total) else given
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0:
        raise ValueError(f"{where} must be a number of seconds above 0, got {given!r}")
    return int(value) if isinstance(value, Integral) else float(value)  # numpy's have no form in JSON


def resources(given: Any, where: str) -> dict[str, Any]:
    """``resources`` as the API has them: ``cpu`` and ``memory`` as quantities, ``gpu`` as a number.

    Raises:
        TypeError, ValueError: They do not fit.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{where} must be a mapping such as {{'cpu': '1', 'memory': '2Gi'}}, got {given!r}")
    unknown = sorted(map(str, set(given) - {"cpu", "memory", "gpu"}))
    if unknown:
        raise ValueError(f"{where} knows cpu, memory and gpu, not {', '.join(map(repr, unknown))}")
    found: dict[str, Any] = {}
    for name in ("cpu", "memory"):
        value = given.get(name)
        if value is None:
            continue
        text = f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not _QUANTITY.fullmatch(text) or not re.search("[1-9]", text):
            example = "'2', 1.5 or '500m'" if name == "cpu" else "'512Mi' or '2Gi'"
            raise ValueError(f"{where}[{name!r}] is {value!r}; write {example}")
        found[name] = text
    gpu = given.get("gpu")
    if gpu is not None:
        if isinstance(gpu, bool) or not isinstance(gpu, int) or gpu < 0:
            raise ValueError(f"{where}['gpu'] must be a whole number from 0 on, got {gpu!r}")
        found["gpu"] = gpu
    return found


__all__ = [
    "by_name",
    "check_graph",
    "check_options",
    "graph_body",
    "readers_in",
    "resources",
    "retry_strategy",
    "seconds",
    "whole_seconds",
]
