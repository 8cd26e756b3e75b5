"""What a view is told: the structure as columns, once, and changes as 16-byte records with a revision."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, islice
from math import inf, isnan, nan
from typing import Any, Final, Protocol

from .lines import LineSource
from .machine import GraphMachine, PastAttempt
from .states import Status
from .tape import Tape

RECORD: Final = struct.Struct("<IBBHff")
"""A change: index u32, status u8, attempt u8 (255 for more), slot u16 (65535 for none), started f32 and ended f32
in seconds since the run's zero (NaN for not yet, 0 for before the zero).

The attempt is the latest at the last change of status: a node is told a new one when it is put to Not Started or
begins, not when it is queued."""
RECORD_SIZE: Final = RECORD.size
_PIECE: Final = 4096


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
        cyclic: Parent and child of each edge that is part of a cycle, which only a record from elsewhere has. Those
            that close one are not among ``parents``.
    """

    names: Sequence[str]
    groups: array[int]
    group_names: Sequence[str]
    parent_start: array[int]
    parents: array[int]
    stages: frozenset[int] = frozenset()
    cyclic: tuple[tuple[int, int], ...] = ()

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
        stale_since: Unix time of the last word of the server that runs the graph, while it does not answer; else NaN.
        is_record: True where only the record of a run is here: it can be read, not steered.
        pace: Slow motion in seconds, 0 for none; NaN where nobody here can slow the run down.
    """

    status: Status
    counts: tuple[int, ...]
    is_ended: bool
    started: float
    ended: float
    slots: int = 0
    can_stop: bool = False
    stale_since: float = nan
    is_record: bool = False
    pace: float = nan


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
    start, parents, lists = array("I", [0]), array("I"), machine.graph.parents
    for base in range(0, len(lists), _PIECE):  # in pieces, so that other threads need not wait for the whole
        some = lists[base : base + _PIECE]
        parents.extend(chain.from_iterable(some))
        start.extend(islice(accumulate(map(len, some), initial=start[-1]), 1, None))
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


def run_info(machine: GraphMachine, slots: int = 0, can_stop: bool = False, pace: float = nan) -> RunInfo:
    """The run as it stands now."""
    return RunInfo(
        machine.graph_status,
        tuple(machine.counts),
        machine.is_ended,
        machine.started_at,
        machine.ended_at,
        slots,
        can_stop,
        pace=pace,
    )


@dataclass(frozen=True, slots=True)
class Window:
    """What changed after a revision, gathered quickly so that it can be packed when the machine has moved on.

    Columns over ``nodes``, which are in the order of their first change; ``earlier`` are the attempts of a node that
    ended meanwhile, oldest first.
    """

    nodes: Sequence[int]
    status: Sequence[int]
    attempt: Sequence[int]
    slot: Sequence[int]
    started: Sequence[float]
    ended: Sequence[float]
    earlier: Mapping[int, Sequence[PastAttempt]]
    zero: float


def window(machine: GraphMachine, since: int) -> Window:
    """What changed after revision ``since``. O(changes since then), not O(nodes)."""
    nodes = list(dict.fromkeys(machine.changes[since:]))
    past = machine.past
    earlier: dict[int, Sequence[PastAttempt]] = {}
    if past:
        for node in nodes:
            ended = [attempt for attempt in past.get(node, ()) if attempt[0] >= since]
            if ended:
                earlier[node] = ended
    # What happened before the start has no zero to count from: told as 0, whether it is told before or after.
    zero = inf if isnan(machine.started_at) else machine.started_at
    return Window(
        nodes,
        _take(machine.status, nodes),
        _take(machine.attempt, nodes),
        _take(machine.slot, nodes),
        _take(machine.started, nodes),
        _take(machine.ended, nodes),
        earlier,
        zero,
    )


def _take(column: Sequence[Any], nodes: Sequence[int]) -> Sequence[Any]:
    return list(map(column.__getitem__, nodes))


def pack(window: Window) -> bytes:
    """The window as ``RECORD``s."""
    packed = bytearray()
    record, earlier, zero = RECORD.pack, window.earlier, window.zero
    columns = (window.nodes, window.status, window.attempt, window.slot, window.started, window.ended)
    for node, status, attempt, slot, started, ended in zip(*columns, strict=True):
        if earlier and node in earlier:
            for _, number, code, place, began, over in earlier[node]:
                packed += record(node, code, min(number, 255), place, max(began - zero, 0.0), max(over - zero, 0.0))
        # The clock may step back; max() lets NaN through.
        packed += record(node, status, min(attempt, 255), slot, max(started - zero, 0.0), max(ended - zero, 0.0))
    return bytes(packed)


def records_since(machine: GraphMachine, since: int) -> bytes:
    """Records of every node that changed after revision ``since``, each node once per attempt that ended meanwhile.

    O(changes since then), not O(nodes). A receiver that applies them in order, the last one of a node winning, has the
    machine's columns, however the revisions were cut into windows; from 0 on they are all that it needs.
    """
    return pack(window(machine, since))


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

    def tape(self) -> Tape:
        """Every change so far, in order. O(events), about 5 µs each: not for the thread that runs nodes."""

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Have ``listener`` called, on any thread, after something changed; it must return at once and must not raise.

        Returns what ends the subscription.
        """

    def node(self, index: int) -> NodeFacts: ...

    def error(self, index: int) -> BaseException | None:
        """The exception of the latest attempt of a Failed or Cancelled node, as in `NodeFacts`. O(1)."""

    def progress(self) -> Mapping[int, float]:
        """Share from 0 to 1 by running node, of those that told how far they are. O(nodes), quick."""

    @property
    def lines(self) -> LineSource:
        """What the nodes print."""

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

    def set_pace(self, seconds: float) -> float:
        """Slow motion: have each node wait before it starts. Returns what holds now; raises RuntimeError in words where
        nodes run elsewhere."""
