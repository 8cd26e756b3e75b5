"""Every change of a run in order, as columns: what a replay is made of. From the event log, by the machine itself.

What the present columns and the past attempts cannot tell is in the log alone: when a retry put nodes back, which
nodes were blocked meanwhile, and what came first within a second. So a tape is made by handing the log to a machine of
its own and noting what each event changed; no rule is written twice.

A change is a node, its new status, its attempt, its slot and the moment. All else follows: a node that turns Running
began at that moment; one that turns Completed, Failed or Cancelled ended at it; Not Started and Parent Failed clear
both. Applied in order, the last one of a node winning, the changes give the machine's columns.

**Thinned** means: changes were left out so that the tape stays within its limit, those of earlier attempts first, then
Running ones; never a node's last one.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Final

from .machine import NO_SLOT, GraphMachine
from .states import NOT_STARTED, PARENT_FAILED, RUNNING, AddEdge, AddNode, Event

HEADER: Final = struct.Struct("<II")
"""Number of changes, and 1 if it was thinned. The columns follow, each whole: at f32, node u32, slot u16, status u8,
attempt u8 (255 for more)."""
CHANGE_BYTES: Final = 12
MOST_CHANGES: Final = 400_000
"""Measured: a tape of this length, of random durations in eight slots, is 2 MB when deflated."""


@dataclass(frozen=True, slots=True)
class Tape:
    """Columns of equal length; ``at`` is seconds since the start of the run and never falls. It is NaN for nodes that
    joined the graph as Cancelled, which comes before all else and at no time, and 0 for what came before the start."""

    at: array[float]
    node: array[int]
    slot: array[int]
    status: bytearray
    attempt: bytearray
    is_thinned: bool = False

    def __len__(self) -> int:
        return len(self.node)

    def to_bytes(self) -> bytes:
        """As a page reads it."""
        parts: list[bytes | bytearray] = [HEADER.pack(len(self), self.is_thinned)]
        columns = (self.at, self.node, self.slot)
        parts += [struct.pack(f"<{len(column)}{column.typecode}", *column) for column in columns]
        return b"".join([*parts, self.status, self.attempt])


def record(events: Iterable[Event], most: int = MOST_CHANGES) -> Tape:
    """The tape of a log. O(events), about 5 µs each.

    Raises:
        IllegalTransition: The events are not a possible history.
    """
    machine = GraphMachine()
    moments, nodes, slots = array("d"), array("I"), array("H")
    statuses, attempts = bytearray(), bytearray()
    moment, known = nan, 0
    changes = machine.changes
    for event in events:
        machine.handle(event)
        if len(changes) == known:
            continue
        if not isinstance(event, (AddNode, AddEdge)):
            moment = event.at if isnan(moment) else max(moment, event.at)
        # A node that changed twice in one event is told twice with what it ended as, which harms nothing.
        for node in changes[known:]:
            moments.append(moment)
            nodes.append(node)
            slots.append(machine.slot[node])
            statuses.append(machine.status[node])
            attempts.append(min(machine.attempt[node], 255))
        known = len(changes)
    zero = inf if isnan(machine.started_at) else machine.started_at
    at = array("f", [max(each - zero, 0.0) for each in moments])
    tape = Tape(at, nodes, slots, statuses, attempts)
    return tape if len(tape) <= most else _thinned(tape, most)


def _thinned(tape: Tape, most: int) -> Tape:
    """At most ``most`` changes, or one for each node where these are more."""
    last_attempt: dict[int, int] = {}
    last_place: dict[int, int] = {}
    for place, node in enumerate(tape.node):
        last_attempt[node] = tape.attempt[place]
        last_place[node] = place
    kept = bytearray(b"\x01" * len(tape))
    spare = len(tape) - most
    steps: tuple[Callable[[int, int], bool], ...] = (
        lambda place, node: tape.attempt[place] < last_attempt[node],
        lambda place, node: tape.status[place] == RUNNING,
        lambda place, node: True,
    )
    for is_dispensable in steps:
        for place, node in enumerate(tape.node):
            if spare <= 0:
                break
            if kept[place] and last_place[node] != place and is_dispensable(place, node):
                kept[place] = 0
                spare -= 1
    places = [place for place in range(len(tape)) if kept[place]]
    return Tape(
        array("f", [tape.at[place] for place in places]),
        array("I", [tape.node[place] for place in places]),
        array("H", [tape.slot[place] for place in places]),
        bytearray(tape.status[place] for place in places),
        bytearray(tape.attempt[place] for place in places),
        is_thinned=True,
    )


@dataclass(frozen=True, slots=True)
class Shown:
    """The columns of one moment; times in seconds since the start, NaN for not yet."""

    status: bytearray
    attempt: bytearray
    slot: array[int]
    started: array[float]
    ended: array[float]


def play(tape: Tape, total: int, upto: int | None = None) -> Shown:
    """The columns of ``total`` nodes after the first ``upto`` changes, all by default. The page does the same."""
    shown = Shown(
        bytearray(b"\x01" * total),
        bytearray(total),
        array("H", [NO_SLOT]) * total,
        array("f", [nan]) * total,
        array("f", [nan]) * total,
    )
    for place in range(len(tape) if upto is None else upto):
        node, status = tape.node[place], tape.status[place]
        was, shown.status[node] = shown.status[node], status
        shown.attempt[node] = tape.attempt[place]
        shown.slot[node] = tape.slot[place]
        if status == RUNNING:
            shown.started[node], shown.ended[node] = tape.at[place], nan
        elif status in _CLEARED:
            shown.started[node] = shown.ended[node] = nan
        else:
            shown.ended[node] = tape.at[place]
            if was != RUNNING:
                shown.started[node] = nan
    return shown


_CLEARED: Final = frozenset((NOT_STARTED, PARENT_FAILED))
