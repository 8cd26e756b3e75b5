"""What a view is told: the structure as columns, once, and changes as 16-byte records with a revision."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Any, Final, Protocol

from .machine import GraphMachine
from .states import Status

RECORD: Final = struct.Struct("<IBBHff")
"""A change: index u32, status u8, attempt u8 (255 for more), slot u16 (65535 for none), started f32 and ended f32
in seconds since the run's zero (NaN for not yet, 0 for before the zero).

The attempt is the latest at the last change of status: a node is told a new one when it is put to Not Started or
begins, not when it is queued."""
RECORD_SIZE: Final = RECORD.size


@dataclass(frozen=True, slots=True)
class Structure:
    """The part of a graph that a run never changes.

    Attributes:
        names: Per node, as shown.
        groups: Per node, the number of its group (nodes of one function or stage) in ``group_names``.
        group_names: Of each group.
        parent_start: ``parents[parent_start[i]:parent_start[i + 1]]`` are the parents of node ``i``; one longer
            than ``names``.
        parents: Indices.
        stages: Numbers of the groups that are stages somebody named, which fold from 2 members on.
    """

    names: Sequence[str]
    groups: array[int]
    group_names: Sequence[str]
    parent_start: array[int]
    parents: array[int]
    stages: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.names)

    def parents_of(self, node: int) -> array[int]:
        return self.parents[self.parent_start[node] : self.parent_start[node + 1]]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run as a whole, small enough to go with every patch.

    Attributes:
        status: ``DAG.status``: what the API says, Failed from the first failure on.
        counts: Nodes by status number; the first entry is unused.
        is_ended: True when nothing runs and nothing can start.
        started: Unix time of ``compute()``, the zero of all records, or NaN.
        ended: Unix time of the end, or NaN.
        slots: The most nodes that run at once.
        can_stop: True if the executor can end a running node.
    """

    status: Status
    counts: tuple[int, ...]
    is_ended: bool
    started: float
    ended: float
    slots: int = 0
    can_stop: bool = False


@dataclass(frozen=True, slots=True)
class Patch:
    """Every change after one revision, up to another.

    Attributes:
        since: Revision that the receiver had.
        revision: Revision that the receiver has when it applied this.
        records: ``RECORD``s; earlier attempts of a node before its present one.
        run: The run at ``revision``.
    """

    since: int
    revision: int
    records: bytes
    run: RunInfo

    def __len__(self) -> int:
        return len(self.records) // RECORD_SIZE


@dataclass(frozen=True, slots=True)
class Columns:
    """The present state of all nodes, for forms that draw a whole graph at once."""

    status: bytes
    attempt: array[int]
    slot: array[int]
    started: array[float]
    ended: array[float]
    blocker: dict[int, int] = field(default_factory=dict)


def structure_columns(machine: GraphMachine) -> tuple[array[int], array[int]]:
    """``parent_start`` and ``parents`` of a `Structure`. O(nodes + edges)."""
    start, parents = array("I", [0]), array("I")
    for own in machine.graph.parents:
        parents.extend(own)
        start.append(len(parents))
    return start, parents


def columns(machine: GraphMachine) -> Columns:
    """A copy of the state columns; times are Unix seconds, NaN for not yet."""
    return Columns(
        bytes(machine.status),
        machine.attempt[:],
        machine.slot[:],
        machine.started[:],
        machine.ended[:],
        dict(machine.blocker),
    )


def run_info(machine: GraphMachine, slots: int = 0, can_stop: bool = False) -> RunInfo:
    """The run as it stands now."""
    return RunInfo(
        machine.graph_status,
        tuple(machine.counts),
        machine.is_ended,
        machine.started_at,
        machine.ended_at,
        slots,
        can_stop,
    )


def records_since(machine: GraphMachine, since: int) -> bytes:
    """Records of every node that changed after revision ``since``, each node once per attempt that ended meanwhile.

    O(changes since then), not O(nodes). A receiver that applies them in order, the last one of a node winning, has the
    machine's columns, however the revisions were cut into windows.
    """
    # What happened before the start has no zero to count from, and the clock may step back: both are told as 0, so
    # that a record says the same whether it is made before or after the start. max() lets NaN through.
    changed = dict.fromkeys(machine.changes[since:])
    zero = inf if isnan(machine.started_at) else machine.started_at
    packed = bytearray()
    pack = RECORD.pack
    status, attempts, slots = machine.status, machine.attempt, machine.slot
    started, ended, past = machine.started, machine.ended, machine.past
    for node in changed:
        for revision, attempt, code, slot, began, over in past.get(node, ()):
            if revision >= since:
                packed += pack(node, code, min(attempt, 255), slot, max(began - zero, 0.0), max(over - zero, 0.0))
        packed += pack(
            node,
            status[node],
            min(attempts[node], 255),
            slots[node],
            max(started[node] - zero, 0.0),
            max(ended[node] - zero, 0.0),
        )
    return bytes(packed)


def all_records(machine: GraphMachine) -> bytes:
    """Records of every node that ever changed: what a receiver needs to start from nothing."""
    return records_since(machine, 0)


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """One attempt of a node; times are Unix seconds, NaN for not yet."""

    number: int
    status: Status
    slot: int
    started: float
    ended: float
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is known about one node, as objects: forms for people are made of it elsewhere.

    Attributes:
        function: ``module.qualname``, a query, or the name of a registered function.
        error: The exception of the latest attempt, or None.
        traceback_text: The formatted traceback where the exception came from another process, else empty.
        blocker: The first failed or cancelled node above a Parent Failed one, else None.
        reference: Python expression for the node.
        source: Source code of the function, or empty.
    """

    index: int
    name: str
    function: str
    mode: str
    resource_class: str
    status: Status
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    parents: tuple[int, ...]
    children: tuple[int, ...]
    attempts: tuple[AttemptFacts, ...]
    error: BaseException | None
    traceback_text: str
    blocker: int | None
    reference: str
    source: str = ""


class GraphSource(Protocol):
    """What a view knows of a graph: the whole interface between the two. Safe from any thread."""

    graph_id: str
    reference: str
    """Python expression for the graph, such as ``dag``."""

    @property
    def title(self) -> str: ...

    @property
    def version(self) -> int:
        """Changes when the structure does: nodes or edges were added."""

    def structure(self) -> Structure: ...

    def columns(self) -> Columns: ...

    def run(self) -> RunInfo: ...

    def patch(self, since: int) -> Patch: ...

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called, on any thread, after something changed; it must return at once and must not raise.

        Returns what ends the subscription.
        """

    def node(self, index: int) -> NodeFacts: ...

    def index_of(self, value: Any) -> int | None:
        """Index of a node of this graph that was met among arguments, or None for any other value."""

    def result(self, index: int) -> Any:
        """Result of a Completed node; raises LookupError for any other."""

    def retry(self, nodes: Sequence[int], descendants: bool = False) -> int:
        """Returns how many nodes will run again (blocked ones that follow included). Raises RuntimeError in words."""

    def retry_failed(self) -> int: ...

    def cancel(self, nodes: Sequence[int]) -> int:
        """Returns how many nodes will not start."""

    def cancel_graph(self) -> int: ...

    def stop(self, nodes: Sequence[int]) -> int:
        """Returns how many running nodes are being ended; raises RuntimeError where the executor cannot."""
