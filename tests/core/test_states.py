"""`core.states`: the table over the whole product of states and events, and what is made from it."""

from __future__ import annotations

import typing
from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Final

import pytest

from tests.docs_tables import PAGE, node_of, section, with_section
from tests.oracle import Oracle, Refused, copy_of, state_of
from tiledag_widget.core import states
from tiledag_widget.core.machine import GraphMachine, replay
from tiledag_widget.core.states import (
    BAD,
    CANCELLED,
    COMPLETED,
    EVENTS,
    FAILED,
    IGNORED,
    NOT_STARTED,
    PARENT_FAILED,
    PARENT_TURNED_BAD,
    PARENTS_FINE_AGAIN,
    RETRY_COMPLETED,
    RUNNING,
    TABLE,
    TERMINAL,
    Abort,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Ended,
    Event,
    Failed,
    Finished,
    Lost,
    Mode,
    Retry,
    Start,
    Status,
    Stop,
)
from tiledag_widget.errors import IllegalTransition

ANSWERS: Final = (Began, Finished, Failed, Lost, Aborted)
REQUESTS: Final = (Cancel, Stop, Retry)


# --- words ----------------------------------------------------------------------------------------------------


def test_statuses_and_modes_read_as_in_the_reference() -> None:
    """Scripts compare these texts and numbers; other ones would break them without an error."""
    assert [(status.name, status.value, str(status)) for status in Status] == [
        ("NOT_STARTED", 1, "Not Started"),
        ("RUNNING", 2, "Running"),
        ("COMPLETED", 3, "Completed"),
        ("FAILED", 4, "Failed"),
        ("CANCELLED", 5, "Cancelled"),
        ("PARENT_FAILED", 6, "Parent Failed"),
    ]
    assert [str(mode) for mode in Mode] == ["Local", "Realtime", "Batch"]


# --- the table ------------------------------------------------------------------------------------------------


def test_every_event_is_listed_once_and_every_node_event_is_in_the_table() -> None:
    """An event that the table forgot would always be illegal, and a graph would stop in the middle."""
    assert typing.get_args(Event) == EVENTS
    assert len(set(EVENTS)) == len(EVENTS)
    of_nodes = {kind.__name__ for kind in (*ANSWERS, *REQUESTS)}
    assert {event for event, _ in TABLE} == of_nodes | {PARENT_TURNED_BAD, PARENTS_FINE_AGAIN}


def test_a_person_may_ask_anything_at_any_time() -> None:
    """A button pressed a moment too late would raise instead of doing nothing."""
    for kind, status in product(REQUESTS, Status):
        assert (kind.__name__, status.value) in TABLE


def test_only_a_retry_leads_out_of_a_terminal_status() -> None:
    """A result that was read could turn into another one by itself."""
    for (event, status), after in TABLE.items():
        if status in TERMINAL and after not in (IGNORED, status):
            assert event in ("Retry", PARENTS_FINE_AGAIN)
    assert RETRY_COMPLETED == NOT_STARTED
    assert BAD < TERMINAL


def test_every_status_can_be_reached_and_left_for_a_terminal_one() -> None:
    """A status without a way out is a node that stays Running for ever."""
    ways = {(status, after) for (_, status), after in TABLE.items() if after != IGNORED}
    reached = {NOT_STARTED}
    for _ in Status:
        reached |= {after for status, after in ways if status in reached}
    assert reached == {status.value for status in Status}
    assert {status for status, after in ways if after in TERMINAL} >= {NOT_STARTED, RUNNING}


# --- A1: every event in every state ---------------------------------------------------------------------------

PAIR: Final[tuple[Event, ...]] = (AddNode(()), AddNode((0,)))
MOST_ATTEMPTS: Final = 2


def all_events() -> Iterator[Event]:
    """Every kind of event with every node and attempt of a graph of two, and some that do not exist."""
    for node, attempt in product((-1, 0, 1, 2), range(MOST_ATTEMPTS + 2)):
        yield Began(node, attempt, 5.0, 0)
        yield from (Finished(node, attempt, 5.0), Failed(node, attempt, 5.0))
        yield from (Lost(node, attempt, 5.0), Aborted(node, attempt, 5.0))
    for nodes in ((), (0,), (1,), (0, 1), (1, 0), (1, 1), (2,), (0, -1)):
        yield from (Cancel(nodes, 5.0), Stop(nodes, 5.0), Retry(nodes, False, 5.0), Retry(nodes, True, 5.0))
    yield Cancel(None, 5.0)
    yield Start(5.0)
    yield from (AddNode(()), AddNode((1, 0)), AddNode((2,)), AddNode((-1,)), AddNode((), CANCELLED), AddNode((), 3))
    yield from (AddEdge(0, 1), AddEdge(1, 0), AddEdge(0, 0), AddEdge(0, 2), AddEdge(2, 0), AddEdge(-1, 0))


@cache
def reachable() -> dict[str, tuple[Event, ...]]:
    """Every state that a graph of two can be in, with at most two attempts a node, by one way that leads there.

    Found with the oracle alone, breadth first, so the ways are the shortest.
    """
    start = Oracle()
    for event in PAIR:
        start.apply(event)
    found = {repr(start): PAIR}
    queue = deque([(start, PAIR)])
    moves = [event for event in all_events() if not isinstance(event, (AddNode, AddEdge))]
    while queue:
        state, way = queue.popleft()
        for event in moves:
            after = state.copy()
            try:
                after.apply(event)
            except Refused:
                continue
            after.end_count = 0
            if max(own.attempt for own in after.nodes) > MOST_ATTEMPTS or repr(after) in found:
                continue
            found[repr(after)] = (*way, event)
            queue.append((after, (*way, event)))
    return found


def assert_unchanged(before: dict[str, object], machine: GraphMachine, but: set[str]) -> None:
    after = state_of(machine)
    assert {name for name in after if after[name] != before[name]} <= but


def phase_of(machine: GraphMachine) -> str:
    if machine.is_ended:
        return "ended" if machine.is_started else "cancelled before the start"
    if machine.cancel_asked:
        return "being cancelled"
    return "running" if machine.is_started else "being built"


PHASES: Final = ("being built", "cancelled before the start", "running", "being cancelled", "ended")
GRAPH_TABLE: Final[dict[tuple[str, str], str]] = {
    ("AddNode", "being built"): "applied",
    ("AddEdge", "being built"): "applied",
    ("Start", "being built"): "applied",
    ("Start", "cancelled before the start"): "ignored",
    ("Start", "running"): "ignored",
    ("Start", "being cancelled"): "ignored",
    ("Start", "ended"): "ignored",
    ("Cancel", "being built"): "applied",
    ("Cancel", "cancelled before the start"): "ignored",
    ("Cancel", "running"): "applied",
    ("Cancel", "being cancelled"): "ignored",
    ("Cancel", "ended"): "ignored",
}
"""What the events that name the whole graph do in each of its phases; illegal where it is missing."""


@pytest.mark.slow
def test_every_answer_in_every_state_does_what_the_table_says() -> None:
    """A late, doubled or lost answer could change a result, or leave a node Running for ever."""
    answers = [event for event in all_events() if isinstance(event, ANSWERS)]
    seen = set()
    for way in reachable().values():
        machine = replay(way)
        before = state_of(machine)
        for event in answers:
            known = event.node in (0, 1) and 1 <= event.attempt <= machine.attempt[event.node]
            if known and (event.attempt < machine.attempt[event.node] or not machine.live[event.node]):
                copy = copy_of(machine)
                assert copy.handle(event) == []
                assert_unchanged(before, copy, {"history"})
                continue
            status = machine.status[event.node] if known else 0
            after = TABLE.get((type(event).__name__, status))
            if isinstance(event, Aborted) and event.node not in machine.stopping:
                after = None
            seen.add((type(event).__name__, status, after))
            if after is None:
                with pytest.raises(IllegalTransition):
                    machine.handle(event)
                assert_unchanged(before, machine, set())
            else:
                copy = copy_of(machine)
                copy.handle(event)
                assert copy.status[event.node] == after
    live = (NOT_STARTED, RUNNING)
    assert {(name, status) for name, status, _ in seen} >= {(kind.__name__, s) for kind in ANSWERS for s in live}


@pytest.mark.slow
def test_every_request_in_every_state_does_what_the_table_says() -> None:
    """A button could do more than it says, or less."""
    requests = [event for event in all_events() if isinstance(event, REQUESTS) and event.nodes in ((0,), (1,))]
    seen = set()
    for way in reachable().values():
        machine = replay(way)
        before = state_of(machine)
        for event in requests:
            assert event.nodes
            (node,), copy = event.nodes, copy_of(machine)
            status, after = machine.status[node], TABLE[type(event).__name__, machine.status[node]]
            if isinstance(event, Retry) and event.descendants:
                if any(machine.live[each] for each in range(node, 2)):
                    with pytest.raises(IllegalTransition):
                        copy.handle(event)
                    assert_unchanged(before, copy, set())
                    continue
                if COMPLETED in machine.status[node:]:
                    continue  # more than the one node changes; the random runs compare it with the oracle
            commands = copy.handle(event)
            seen.add((type(event).__name__, status))
            if after == IGNORED and not (isinstance(event, Retry) and event.descendants):
                assert commands == []
                assert_unchanged(before, copy, {"history"})
            elif isinstance(event, Stop) and after:
                again = [] if node in machine.stopping else [Abort(node, machine.attempt[node])]
                assert commands == again
                assert_unchanged(before, copy, {"history", "stopping"})
            elif after:
                assert copy.status[node] == after or (copy.status[node], copy.status[0] in BAD) == (PARENT_FAILED, True)
    assert seen == {(kind.__name__, status.value) for kind in REQUESTS for status in Status}


@pytest.mark.slow
def test_every_event_in_every_state_changes_other_nodes_by_the_table_only() -> None:
    """A node could be blocked or freed that has nothing to do with what happened."""
    inner = {
        (status, after) for (event, status), after in TABLE.items() if event in (PARENT_TURNED_BAD, PARENTS_FINE_AGAIN)
    }
    for way in reachable().values():
        machine = replay(way)
        for event in all_events():
            if isinstance(event, ANSWERS):
                named: tuple[int, ...] = (event.node,)
            elif isinstance(event, REQUESTS) and event.nodes is not None and not getattr(event, "descendants", False):
                named = event.nodes
            else:
                continue
            copy = copy_of(machine)
            try:
                copy.handle(event)
            except IllegalTransition:
                continue
            for node in {0, 1} - set(named):
                assert copy.status[node] == machine.status[node] or (machine.status[node], copy.status[node]) in inner


@pytest.mark.slow
def test_every_event_of_the_whole_graph_in_every_phase_does_what_is_written() -> None:
    """A second compute() could start a graph twice; a node added late would never run."""
    events = [
        event for event in all_events() if isinstance(event, (AddNode, AddEdge, Start)) or event == Cancel(None, 5.0)
    ]
    seen = set()
    for way in reachable().values():
        machine = replay(way)
        before, phase = state_of(machine), phase_of(machine)
        for event in events:
            seen.add(phase)
            copy = copy_of(machine)
            told = GRAPH_TABLE.get((type(event).__name__, phase), "illegal")
            if isinstance(event, (AddNode, AddEdge)):
                exist = event in (AddNode(()), AddNode((1, 0)), AddNode((), CANCELLED), AddEdge(0, 1))
                if told == "illegal" or not exist:
                    with pytest.raises(IllegalTransition):
                        copy.handle(event)
                    assert_unchanged(before, copy, set())
                continue  # where legal, the graph that copies share would change: see below
            commands = copy.handle(event)
            if told == "ignored":
                assert commands == []
                assert_unchanged(before, copy, {"history"})
            elif isinstance(event, Start):
                assert copy.is_started
                assert copy.started_at == 5.0
            else:
                assert copy.cancel_asked
                assert NOT_STARTED not in copy.status
                assert bool(copy.counts[RUNNING]) != any(isinstance(command, Ended) for command in commands)
    assert seen == set(PHASES)


def test_nodes_and_edges_join_until_the_start_and_again_after_a_cancel_was_taken_back() -> None:
    """A graph that cannot be built further, or one that changes under its own run."""
    machine = replay([*PAIR, Cancel(None, 1.0)])
    with pytest.raises(IllegalTransition, match="has started"):
        machine.handle(AddNode((1, 0)))

    machine.handle(Retry((0, 1), False, 2.0))
    machine.handle(AddNode((1, 0)))
    machine.handle(AddEdge(0, 1))
    machine.handle(AddEdge(0, 2))

    machine.validate()
    assert machine.graph.parents == [[], [0], [1, 0]]
    assert machine.graph_status is Status.NOT_STARTED


def test_the_states_that_are_tried_are_all_there_are() -> None:
    """The product above would say nothing about a state that it does not meet."""
    met = {
        (code, bool(machine.live[node]), node in machine.stopping)
        for machine in map(replay, reachable().values())
        for node, code in enumerate(machine.status)
    }
    assert met == {
        (NOT_STARTED, False, False),
        (NOT_STARTED, True, False),
        (RUNNING, True, False),
        (RUNNING, True, True),
        (COMPLETED, False, False),
        (FAILED, False, False),
        (CANCELLED, False, False),
        (PARENT_FAILED, False, False),
    }


# --- documents made from the table ----------------------------------------------------------------------------


def test_the_diagram_in_the_documents_is_made_from_the_table() -> None:
    """A diagram that lies. Make it anew with ``python -m tests.docs_tables``."""
    assert PAGE.read_text() == with_section(PAGE.read_text())


def test_every_legal_change_is_in_the_diagram() -> None:
    """As above."""
    text = section()
    for (_, status), after in TABLE.items():
        if after not in (IGNORED, status):
            assert f"{node_of(status)} --> {node_of(after)}" in text
    assert states.__doc__
