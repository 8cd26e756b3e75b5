"""The naive engine that `GraphMachine` is compared with, and the checks that every core test shares.

Written from the rules (house.md sections 3 and 9) and `states.TABLE`, not from the machine: it keeps only what each
node did itself and derives all else anew after every event, by looking at everything. Clarity first: O(n^2) is fine.

A log that once broke the machine is checked step by step with::

    python -m tests.oracle FILE        (or - for standard input)
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from tiledag_widget.core import history
from tiledag_widget.core.machine import GraphMachine
from tiledag_widget.core.states import (
    TABLE,
    Abort,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Changed,
    Command,
    Ended,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Run,
    Start,
    Status,
    Stop,
)
from tiledag_widget.errors import IllegalTransition

STOPPED_BADLY: Final = frozenset({Status.FAILED, Status.CANCELLED})
BAD: Final = STOPPED_BADLY | {Status.PARENT_FAILED}


LEGAL_CHANGES: Final = {(status, after) for (_, status), after in TABLE.items() if after not in (0, status)} | {
    (Status.COMPLETED.value, Status.NOT_STARTED.value),  # a retry with descendants
    (Status.CANCELLED.value, Status.PARENT_FAILED.value),  # a retry below a bad parent
}
"""From the table, and the two changes that depend on more than an event and the node's own status."""


class Refused(Exception):
    """The rules know no such event here."""


@dataclass
class Own:
    """What a node did itself; whether others block it is derived."""

    parents: list[int]
    status: Status = Status.NOT_STARTED
    """Never Parent Failed."""
    attempt: int = 0
    is_live: bool = False
    is_stopping: bool = False


@dataclass
class Oracle:
    """A graph after some events."""

    nodes: list[Own] = field(default_factory=list)
    is_started: bool = False
    cancel_asked: bool = False
    is_ended: bool = False
    end_count: int = 0
    """How often the graph ended; a retry makes it end again."""

    def copy(self) -> Oracle:
        nodes = [Own([*own.parents], own.status, own.attempt, own.is_live, own.is_stopping) for own in self.nodes]
        return replace(self, nodes=nodes)

    # --- what is derived ----------------------------------------------------------------------------------

    def order(self) -> list[int]:
        """Parents first, by looking for a node whose parents are all placed, again and again."""
        placed: dict[int, None] = {}
        left = list(range(len(self.nodes)))
        while left:
            node = next(node for node in left if all(parent in placed for parent in self.nodes[node].parents))
            left.remove(node)
            placed[node] = None
        return list(placed)

    def statuses(self) -> list[Status]:
        """A node that waits and has a bad parent is Parent Failed; else it is what it did itself."""
        found: dict[int, Status] = {}
        for node in self.order():
            own = self.nodes[node]
            has_bad_parent = any(found[parent] in BAD for parent in own.parents)
            blocked = own.status is Status.NOT_STARTED and has_bad_parent
            found[node] = Status.PARENT_FAILED if blocked else own.status
        return [found[node] for node in range(len(self.nodes))]

    def may_blame(self) -> dict[int, set[int]]:
        """Parent Failed node -> the failed and cancelled nodes that it may name: any from which only blocked nodes
        lie between."""
        statuses = self.statuses()
        allowed: dict[int, set[int]] = {}
        for node in self.order():
            if statuses[node] is Status.PARENT_FAILED:
                parents = self.nodes[node].parents
                allowed[node] = {parent for parent in parents if statuses[parent] in STOPPED_BADLY}
                allowed[node].update(*(allowed.get(parent, set()) for parent in parents))
        return allowed

    def graph_status(self) -> Status:
        statuses = self.statuses()
        if self.is_ended:
            if Status.FAILED in statuses:
                return Status.FAILED
            return Status.CANCELLED if Status.CANCELLED in statuses or self.cancel_asked else Status.COMPLETED
        if self.cancel_asked:
            return Status.CANCELLED
        if not self.is_started:
            return Status.NOT_STARTED
        return Status.FAILED if Status.FAILED in statuses else Status.RUNNING

    # --- events -------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Raises `Refused`, and changed nothing, where the rules know no such event."""
        rules: dict[type, Callable[[], None]] = {
            AddNode: lambda: self._add_node(event),  # type: ignore[arg-type]  # the key says which it is
            AddEdge: lambda: self._add_edge(event),  # type: ignore[arg-type]
            Start: self._start,
            Cancel: lambda: self._cancel(event),  # type: ignore[arg-type]
            Stop: lambda: self._stop(event),  # type: ignore[arg-type]
            Retry: lambda: self._retry(event),  # type: ignore[arg-type]
        }
        rules.get(type(event), lambda: self._answer(event))()  # type: ignore[arg-type]
        self._queue_what_is_ready()
        self._end_if_nothing_can_happen()

    def _add_node(self, event: AddNode) -> None:
        if self.is_started or self.cancel_asked:
            raise Refused("nodes join before the start")
        if event.status not in (Status.NOT_STARTED.value, Status.CANCELLED.value):
            raise Refused("a node joins fresh or cancelled")
        if not all(0 <= parent < len(self.nodes) for parent in event.parents):
            raise Refused("parents come first")
        self.nodes.append(Own(list(event.parents), Status(event.status)))

    def _add_edge(self, event: AddEdge) -> None:
        self._check_exist([event.parent, event.child])
        if self.is_started or self.cancel_asked:
            raise Refused("edges are made before the start")
        if event.parent in self._with_descendants([event.child]):
            raise Refused("no cycles")
        if event.parent not in self.nodes[event.child].parents:
            self.nodes[event.child].parents.append(event.parent)

    def _start(self) -> None:
        self.is_started = self.is_started or not self.cancel_asked

    def _answer(self, event: Began | Finished | Failed | Lost | Aborted) -> None:
        self._check_exist([event.node])
        own = self.nodes[event.node]
        if not 1 <= event.attempt <= own.attempt:
            raise Refused("nobody was asked for that attempt")
        if event.attempt < own.attempt or not own.is_live:
            return  # late: recorded and ignored
        if (type(event).__name__, own.status.value) not in TABLE:
            raise Refused("not in the table")
        if isinstance(event, Aborted) and not own.is_stopping:
            raise Refused("nobody asked to stop it")
        own.status = Status(TABLE[type(event).__name__, own.status.value])
        own.is_live = own.status is Status.RUNNING
        own.is_stopping = False

    def _cancel(self, event: Cancel) -> None:
        self._check_exist(event.nodes or ())
        if event.nodes is None:
            if self.is_ended or self.cancel_asked:
                return
            self.cancel_asked = True
        for node in self.order() if event.nodes is None else event.nodes:
            if self.statuses()[node] is Status.NOT_STARTED:
                self.nodes[node].status = Status.CANCELLED
                self.nodes[node].is_live = False

    def _stop(self, event: Stop) -> None:
        self._check_exist(event.nodes)
        for node in event.nodes:
            self.nodes[node].is_stopping = self.nodes[node].status is Status.RUNNING

    def _retry(self, event: Retry) -> None:
        self._check_exist(event.nodes)
        again = set(STOPPED_BADLY)
        members: Iterable[int] = event.nodes
        if event.descendants:
            again.add(Status.COMPLETED)
            members = self._with_descendants(event.nodes)
            if any(self.nodes[node].is_live for node in members):
                raise Refused("something below is queued or runs")
        touched = [node for node in members if self.nodes[node].status in again]
        for node in touched:
            self.nodes[node].status = Status.NOT_STARTED
        if touched:
            self.cancel_asked = self.is_ended = False

    # --- what follows -------------------------------------------------------------------------------------

    def _queue_what_is_ready(self) -> None:
        statuses = self.statuses()
        for node, own in enumerate(self.nodes):
            parents_done = all(statuses[parent] is Status.COMPLETED for parent in own.parents)
            if self.is_started and statuses[node] is Status.NOT_STARTED and parents_done and not own.is_live:
                own.attempt += 1
                own.is_live = True

    def _end_if_nothing_can_happen(self) -> None:
        was_ended = self.is_ended
        self.is_ended = (self.is_started or self.cancel_asked) and not any(own.is_live for own in self.nodes)
        self.end_count += self.is_ended and not was_ended

    def _with_descendants(self, nodes: Iterable[int]) -> set[int]:
        found: set[int] = set(nodes)
        size = -1
        while size != len(found):
            size = len(found)
            found |= {node for node, own in enumerate(self.nodes) if found & set(own.parents)}
        return found

    def _check_exist(self, nodes: Iterable[int]) -> None:
        if not all(0 <= node < len(self.nodes) for node in nodes):
            raise Refused("no such node")


def expected(events: Iterable[Event]) -> Oracle:
    """The state after a legal list of events."""
    oracle = Oracle()
    for event in events:
        oracle.apply(event)
    return oracle


# --- comparing ------------------------------------------------------------------------------------------------


def state_of(machine: GraphMachine) -> dict[str, object]:
    """Everything that a machine holds, deep, as values that compare (arrays as bytes, since NaN is not itself)."""
    state: dict[str, object] = {}
    for name in GraphMachine.__slots__:
        value = getattr(machine, name)
        if name == "graph":
            edges = [list(own) for own in value.parents], [list(own) for own in value.children]
            state[name] = (*edges, value.edge_count, value.sorted)
        elif hasattr(value, "tobytes"):
            state[name] = value.tobytes()
        elif name == "past":
            state[name] = {node: repr(attempts) for node, attempts in value.items()}
        elif isinstance(value, float):
            state[name] = repr(value)
        else:
            state[name] = value.copy() if hasattr(value, "copy") else value
    return state


def copy_of(machine: GraphMachine) -> GraphMachine:
    """A machine that goes its own way from here; the graph, which a run never changes, is shared."""
    copy = GraphMachine.__new__(GraphMachine)
    for name in GraphMachine.__slots__:
        value = getattr(machine, name)
        setattr(copy, name, value[:] if isinstance(value, (array, bytearray, list)) else value)
    copy.stopping, copy.blocker = set(machine.stopping), dict(machine.blocker)
    copy.past = {node: list(attempts) for node, attempts in machine.past.items()}
    return copy


def check_same(machine: GraphMachine, oracle: Oracle) -> None:
    """Assert that both say the same of every node and of the graph."""
    statuses = oracle.statuses()
    assert [Status(code) for code in machine.status] == statuses
    assert list(machine.attempt) == [own.attempt for own in oracle.nodes], "attempts differ"
    assert [bool(live) for live in machine.live] == [own.is_live for own in oracle.nodes], "live attempts differ"
    assert machine.stopping == {node for node, own in enumerate(oracle.nodes) if own.is_stopping}
    assert machine.is_started == oracle.is_started
    assert machine.is_ended == oracle.is_ended, f"machine ended: {machine.is_ended}, oracle: {oracle.is_ended}"
    assert machine.graph_status is oracle.graph_status()
    allowed = oracle.may_blame()
    assert machine.blocker.keys() == allowed.keys(), "other nodes are blocked"
    for node, culprit in machine.blocker.items():
        assert culprit in allowed[node], f"node {node} blames {culprit}, may blame {allowed[node]}"


def check_commands(commands: Sequence[Command], before: Oracle, after: Oracle) -> None:
    """Assert that what the machine said is what changed between two states."""
    told = dict.fromkeys(range(len(after.nodes)), Status.NOT_STARTED) | dict(enumerate(before.statuses()))
    for command in commands:
        if isinstance(command, Changed):
            assert (told[command.node].value, command.status) in LEGAL_CHANGES, f"{command} from {told[command.node]}"
            told[command.node] = Status(command.status)
    statuses = after.statuses()
    joined = {node for node in range(len(before.nodes), len(statuses)) if statuses[node] is Status.CANCELLED}
    assert {node for node in told if told[node] is not statuses[node]} <= joined, "a change was not told"
    asked = [(own.attempt if own.is_live and own.status is Status.NOT_STARTED else 0) for own in before.nodes]
    runs = {
        (node, own.attempt)
        for node, own in enumerate(after.nodes)
        if own.is_live and own.status is Status.NOT_STARTED and own.attempt not in asked[node : node + 1]
    }
    assert sorted(command for command in commands if isinstance(command, Run)) == sorted(runs), "other Run commands"
    aborts = {
        (node, own.attempt)
        for node, own in enumerate(after.nodes)
        if own.is_stopping and not before.nodes[node].is_stopping
    }
    assert sorted(command for command in commands if isinstance(command, Abort)) == sorted(aborts), "other Aborts"
    ends = [command.status for command in commands if isinstance(command, Ended)]
    assert len(ends) == after.end_count - before.end_count, f"told {len(ends)} ends"
    assert ends in ([], [after.graph_status().value])
    assert not ends or isinstance(commands[-1], Ended), "the end is told last"


class Compared:
    """A machine and an oracle side by side: `step` gives both one event and compares all that can be compared."""

    def __init__(self) -> None:
        self.machine = GraphMachine()
        self.oracle = Oracle()

    def step(self, event: Event) -> list[Command] | None:
        """The commands, or None where both refused and neither changed."""
        machine_before, oracle_before = state_of(self.machine), self.oracle.copy()
        refused = self._refusal(event)
        if refused is not None:
            with pytest.raises(IllegalTransition):
                self.machine.handle(event)
            assert state_of(self.machine) == machine_before, f"{event} was refused and changed the machine"
            return None
        commands = self.machine.handle(event)
        self.machine.validate()
        check_same(self.machine, self.oracle)
        check_commands(commands, oracle_before, self.oracle)
        return commands

    def _refusal(self, event: Event) -> Refused | None:
        try:
            self.oracle.apply(event)
        except Refused as error:
            return error
        return None


def check_log(events: Iterable[Event]) -> GraphMachine:
    """The machine after the events, compared at each step; an AssertionError carries what replays it."""
    compared = Compared()
    told: list[Event] = []
    for event in events:
        told.append(event)
        try:
            compared.step(event)
        except (Exception, pytest.fail.Exception) as error:
            raise AssertionError(f"step {len(told)}, {event}: {error!r}\n{how_to_replay(told)}") from error
    return compared.machine


def how_to_replay(events: Iterable[Event], note: str = "") -> str:
    """Text below a failed random test: the event log, and one command that replays it."""
    return f"{note}\nReplay it with:\npython -m tests.oracle - <<'LOG'\n{history.write(events)}LOG\n"


def main(arguments: Sequence[str]) -> int:
    """Check the log in a file, or on standard input."""
    text = sys.stdin.read() if list(arguments) == ["-"] else Path(arguments[0]).read_text()
    machine = check_log(history.read(text))
    sys.stdout.write(f"{len(machine)} nodes, {len(machine.history)} events: {machine.graph_status}, all as expected\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
