"""The body of a batch graph, checked once: what runs after what, under which rules, and what a worker is told of it.

Everything that can be known before the first node runs is refused here, named by its path in the body. What a client
sent stays opaque: references in tagged JSON are looked for, nothing is decoded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..core.graph import Graph
from ..errors import InvalidBody
from ..wire import codec
from ..wire.batch_models import BatchGraph, BatchNode, UdfNode
from ..wire.models import NAME_LIMIT, to_json
from .batch_retry import LONGEST_S, Rule, rule_of

__all__ = ["Node", "Plan", "plan_of"]

DEFAULT_DEADLINE_S: Final = 86_400.0
DEFAULT_TIMEOUT_S: Final = 900.0
MIN_MEMORY: Final = 2 << 30
KINDS: Final = ("udf_node", "sql_node", "array_node", "input_node")

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_SUFFIXES: Final = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the plan; `place` is its number there, and in the machine."""

    place: int
    id: str
    name: str
    kind: str
    parents: tuple[int, ...]
    expands: int | None
    """The node whose output this stage is run over."""
    body: BatchNode
    rule: Rule | None
    deadline: float | None
    timeout: float
    memory_limit: int
    result_format: str
    stored: tuple[str, ...]
    """Tasks outside of the graph whose results are arguments."""
    needs_arrays: bool
    """Whether it may read arrays by their registered names."""

    @property
    def type(self) -> str:
        """Of its tasks, in the API's words."""
        return "SQL" if self.kind == "sql_node" else "BATCH_UDF"

    @property
    def registered(self) -> str | None:
        """The name of the registered function that it calls."""
        return self.body.udf_node.registered_udf_name if self.body.udf_node is not None else None

    def details(self) -> dict[str, Any]:
        """What the record of each of its tasks says."""
        udf, sql = self.body.udf_node, self.body.sql_node
        if udf is not None:
            return {"udf_code": udf.source_text, "udf_language": "python", "result_format": self.result_format}
        if sql is not None:
            return {
                "sql_query": sql.query,
                "sql_init_commands": sql.init_commands,
                "sql_parameters": sql.parameters,
                "result_format": self.result_format,
            }
        return {"result_format": self.result_format}

    def job(self, code: str | None) -> dict[str, Any]:
        """What a worker is told, but for files and items."""
        body = self.body
        common = {"result_format": self.result_format}
        if body.udf_node is not None:
            arguments = list(body.udf_node.arguments or ())
            return {**common, "kind": "batch_udf", "exec": code, "arguments": arguments}
        if body.sql_node is not None:
            sql = body.sql_node
            return {
                **common,
                "kind": "batch_sql",
                "query": sql.query,
                "init_commands": list(sql.init_commands or ()),
                "parameters": list(sql.parameters or ()),
                "output_uri": sql.output_uri,
            }
        if body.array_node is not None:
            return {**common, "kind": "batch_array", "array": to_json(body.array_node)}
        assert body.input_node is not None
        return {**common, "kind": "batch_input", "value": body.input_node.default_value}


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole graph, parents first."""

    nodes: tuple[Node, ...]
    places: Mapping[str, int]
    name: str | None
    parallelism: int | None
    workflow_rule: Rule | None
    deadline: float


def plan_of(graph: BatchGraph, memory_limits: Mapping[str, int]) -> Plan:
    """The plan of a body.

    Raises:
        InvalidBody: Something in it does not fit; the message begins with its path.
    """
    bodies = graph.nodes or ()
    _check_name(graph.name, "name")
    if graph.parallelism is not None and graph.parallelism < 1:
        raise InvalidBody(f"parallelism is {graph.parallelism}; expected at least 1", "parallelism")
    rule = rule_of(graph.retry_strategy, "retry_strategy")
    ids = _ids_of(bodies)
    order, parents = _ordered(bodies, ids)
    place_of = {index: place for place, index in enumerate(order)}
    nodes = []
    for place, index in enumerate(order):
        body = bodies[index]
        above = tuple(place_of[parent] for parent in parents[index])
        expands = ids[body.expand_node_output.lower()] if body.expand_node_output else None
        expanded = place_of[expands] if expands is not None else None
        nodes.append(_node(place, body, above, expanded, rule, memory_limits, f"nodes[{index}]"))
    return Plan(
        tuple(nodes),
        {node.id: node.place for node in nodes},
        graph.name,
        graph.parallelism,
        rule_of(graph.workflow_retry_strategy, "workflow_retry_strategy"),
        _seconds(graph.deadline, "deadline") or DEFAULT_DEADLINE_S,
    )


def _ids_of(bodies: Sequence[BatchNode]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for index, body in enumerate(bodies):
        where = f"nodes[{index}].client_node_id"
        identity = body.client_node_id.lower()
        if not _UUID.fullmatch(identity):
            raise InvalidBody(f"{where} must be a UUID, got {body.client_node_id[:60]!r}", where)
        if identity in ids:
            raise InvalidBody(f"{where}: a second node with the id {identity}", where)
        ids[identity] = index
    return ids


def _ordered(bodies: Sequence[BatchNode], ids: Mapping[str, int]) -> tuple[list[int], list[list[int]]]:
    """Indices of the bodies, parents first, and the parents of each; what is named anywhere in a node is a parent."""
    graph = Graph()
    found: list[list[int]] = []
    for _ in bodies:
        graph.add_node(())
    for index, body in enumerate(bodies):
        named: dict[int, None] = {}
        where = f"nodes[{index}]"
        for other in body.depends_on or ():
            named[_known(other, ids, f"{where}.depends_on")] = None
        if body.expand_node_output:
            named[_known(body.expand_node_output, ids, f"{where}.expand_node_output")] = None
        for kind, other in codec.references_in(_references_of(body)):
            if kind == "node_output":
                named[_known(other, ids, f"{where}: an argument")] = None
        if index in named:
            raise InvalidBody(f"{where} depends on itself", where)
        for parent in named:
            graph.add_edge(parent, index)
        found.append(list(named))
    try:
        return graph.topological_order(), found
    except ValueError:
        raise InvalidBody("nodes: they depend on each other in a ring", "nodes") from None


def _known(identity: str, ids: Mapping[str, int], where: str) -> int:
    found = ids.get(identity.lower())
    if found is None:
        raise InvalidBody(f"{where} names {identity[:60]!r}, which is no node of this graph", where)
    return found


def _references_of(body: BatchNode) -> Any:
    if body.udf_node is not None:
        return list(body.udf_node.arguments or ())
    if body.sql_node is not None:
        return list(body.sql_node.parameters or ())
    if body.array_node is not None:
        return to_json(body.array_node)
    return body.input_node.default_value if body.input_node is not None else None


def _node(
    place: int,
    body: BatchNode,
    parents: tuple[int, ...],
    expands: int | None,
    rule: Rule | None,
    memory_limits: Mapping[str, int],
    where: str,
) -> Node:
    kinds = [kind for kind in KINDS if getattr(body, kind) is not None]
    if len(kinds) != 1:
        raise InvalidBody(f"{where} must have exactly one of {', '.join(KINDS)}, got {kinds or 'none'}", where)
    name = body.name or body.client_node_id
    _check_name(name, f"{where}.name")
    timeout, memory = DEFAULT_TIMEOUT_S, memory_limits["standard"]
    form = "python_pickle"
    if body.udf_node is not None:
        timeout, memory = _check_udf(body.udf_node, memory_limits, f"{where}.udf_node")
        form = str(body.udf_node.result_format)
    elif body.sql_node is not None:
        if not body.sql_node.query:
            raise InvalidBody(f"{where}.sql_node.query is missing", f"{where}.sql_node.query")
        memory = _class_limit(body.sql_node.resource_class, memory_limits, f"{where}.sql_node")
        form = str(body.sql_node.result_format)
    elif body.array_node is not None and expands is not None:
        raise InvalidBody(f"{where}: an array node cannot be run once for each item", where)
    if form == "r_serialization":
        raise InvalidBody(f"{where}: result_format 'r_serialization' is for R only", where)
    own = rule_of(body.retry_strategy, f"{where}.retry_strategy")
    stored = tuple(
        sorted({other.lower() for kind, other in codec.references_in(_references_of(body)) if kind == "stored_param"})
    )
    deadline = _seconds(body.deadline, f"{where}.deadline")
    return Node(
        place,
        body.client_node_id.lower(),
        name,
        kinds[0],
        parents,
        expands,
        body,
        own if own is not None else rule,
        deadline,
        timeout,
        memory,
        form,
        stored,
        kinds[0] != "udf_node" or "udf_array_details" in json.dumps(_references_of(body)),
    )


def _check_name(name: str | None, where: str) -> None:
    if name is not None and len(name) > NAME_LIMIT:
        raise InvalidBody(f"{where} is longer than {NAME_LIMIT} characters", where)
    try:
        (name or "").encode()
    except UnicodeEncodeError:
        raise InvalidBody(f"{where} holds half of a character", where) from None


def _check_udf(udf: UdfNode, memory_limits: Mapping[str, int], where: str) -> tuple[float, int]:
    """Time and memory that one call may take."""
    if (udf.executable_code is None) == (udf.registered_udf_name is None):
        raise InvalidBody(f"{where} must have exactly one of executable_code and registered_udf_name", where)
    try:
        codec.check_arguments(udf.arguments or ())
    except InvalidBody as error:
        raise InvalidBody(f"{where}.{error}", where) from None
    environment = udf.environment
    if environment is None:
        return DEFAULT_TIMEOUT_S, memory_limits["standard"]
    where = f"{where}.environment"
    if (environment.language or "python") != "python":
        raise InvalidBody(f"{where}.language is {environment.language!r}; this server runs Python only", where)
    if environment.run_client_side:
        raise InvalidBody(f"{where}.run_client_side: a batch graph runs on the server alone", where)
    if udf.executable_code is not None:
        check_version(environment.language_version, f"{where}.language_version")
    timeout = _seconds(environment.timeout, f"{where}.timeout")
    if environment.resources is not None:
        if environment.resource_class is not None:
            raise InvalidBody(f"{where} has both resources and resource_class", where)
        return timeout or DEFAULT_TIMEOUT_S, _memory_of(environment.resources, f"{where}.resources")
    return timeout or DEFAULT_TIMEOUT_S, _class_limit(environment.resource_class, memory_limits, where)


def check_version(version: str | None, where: str) -> None:
    """Refuses bytecode of another minor version of Python; a worker might crash on it."""
    if version is None:
        return
    asked, here = version.split(".")[:2], [str(number) for number in sys.version_info[:2]]
    if asked != here:
        raise InvalidBody(
            f"{where}: this function was pickled by Python {'.'.join(asked)}, and the server runs Python "
            f"{'.'.join(here)}: code goes between equal minor versions only. Start the server with the same Python.",
            where,
        )


def _class_limit(name: str | None, memory_limits: Mapping[str, int], where: str) -> int:
    if (name or "standard") not in memory_limits:
        known = ", ".join(memory_limits)
        raise InvalidBody(f"{where}.resource_class is {name!r}, expected one of: {known}", f"{where}.resource_class")
    return memory_limits[name or "standard"]


def _memory_of(resources: Mapping[str, Any], where: str) -> int:
    """Bytes that ``resources`` allow. The other quantities are checked; cores are not set apart on one machine."""
    for key, value in resources.items():
        if key == "gpu" and isinstance(value, (int, float)) and value:
            raise InvalidBody(f"{where}.gpu is {value}; this server has none to give", f"{where}.gpu")
        if key in ("cpu", "memory") and value is not None:
            quantity(value, f"{where}.{key}")
    memory = resources.get("memory")
    return MIN_MEMORY if memory is None else max(1, int(quantity(memory, f"{where}.memory")))


def quantity(value: Any, where: str) -> float:
    """A quantity as Kubernetes writes it (``500m``, ``2``, ``8Gi``) as a number."""
    found = _QUANTITY.fullmatch(str(value).strip()) if isinstance(value, (str, int, float)) else None
    if found is None or isinstance(value, bool):
        raise InvalidBody(f"{where} is {value!r}; expected a quantity such as '2', '500m' or '8Gi'", where)
    return float(found[1]) * _SUFFIXES[found[2] or ""]


def _seconds(value: float | None, where: str) -> float | None:
    if value is None:
        return None
    if not 0 < value < LONGEST_S:
        raise InvalidBody(f"{where} is {value}; expected a number of seconds above 0", where)
    return float(value)
