"""Hypothesis strategies: random graphs, the events that may befall them, names and payloads meant to hurt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from hypothesis import strategies as st

from tiledag_widget.core.machine import GraphMachine
from tiledag_widget.core.states import (
    CANCELLED,
    NOT_STARTED,
    RUNNING,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Start,
    Stop,
)
from tiledag_widget.errors import IllegalTransition

MOST_NODES: Final = 30

# --- graphs ---------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn, max_nodes: int = MOST_NODES, cancelled: bool = True) -> list[AddNode | AddEdge]:
    """The events that build a graph: nodes below earlier ones, then edges in any direction that closes no cycle.

    ``cancelled``: now and then a node joins that was cancelled before.
    """
    count = draw(st.integers(0, max_nodes))
    events: list[AddNode | AddEdge] = []
    machine = GraphMachine()
    statuses = st.sampled_from([NOT_STARTED] * 9 + [CANCELLED if cancelled else NOT_STARTED])
    for node in range(count):
        parents = draw(st.sets(st.integers(0, node - 1), max_size=3)) if node else set()
        event = AddNode(tuple(sorted(parents)), draw(statuses))
        machine.handle(event)
        events.append(event)
    for _ in range(draw(st.integers(0, 3)) if count > 1 else 0):
        edge = AddEdge(draw(st.integers(0, count - 1)), draw(st.integers(0, count - 1)))
        if edge.parent != edge.child and machine.graph.path(edge.child, edge.parent) is None:
            machine.handle(edge)
            events.append(edge)
    return events


# --- events ---------------------------------------------------------------------------------------------------

SLOTS: Final = st.sampled_from([0, 1, 2, 0xFFFE, 0xFFFF, 0x10000])


def some_nodes(machine: GraphMachine, most: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Existing nodes, in any order, some named twice; none if there are none."""
    if not len(machine):
        return st.just(())
    return st.lists(st.integers(0, len(machine) - 1), max_size=most).map(tuple)


def live_answers(machine: GraphMachine, at: float) -> st.SearchStrategy[Event] | None:
    """What a worker may say about a live attempt, or None where there is none."""
    choices: list[Event] = []
    for node in range(len(machine)):
        if not machine.live[node]:
            continue
        attempt = machine.attempt[node]
        if machine.status[node] == NOT_STARTED:
            choices += [Began(node, attempt, at, node % 3)] * 6
            choices += [Failed(node, attempt, at), Lost(node, attempt, at)]
        else:
            choices += [Finished(node, attempt, at)] * 4
            choices += [Failed(node, attempt, at), Failed(node, attempt, at), Lost(node, attempt, at)]
            choices += [Aborted(node, attempt, at)] * (8 if node in machine.stopping else 0)
    return st.sampled_from(choices) if choices else None


def wild_answers(machine: GraphMachine, at: float) -> st.SearchStrategy[Event]:
    """Answers that may be late, doubled, out of order, about attempts or nodes that never were."""
    nodes, attempts = st.integers(-1, len(machine)), st.integers(0, 4)
    plain: list[type[Finished | Failed | Lost | Aborted]] = [Finished, Failed, Lost, Aborted]
    return st.one_of(
        st.builds(Began, nodes, attempts, st.just(at), SLOTS),
        *(st.builds(kind, nodes, attempts, st.just(at)) for kind in plain),
    )


def requests(machine: GraphMachine, at: float) -> st.SearchStrategy[Event]:
    """What a person may ask."""
    nodes, now = some_nodes(machine), st.just(at)
    return st.one_of(
        st.builds(Retry, nodes, st.just(False), now),
        st.builds(Retry, nodes, st.just(True), now),
        st.builds(Stop, nodes, now),
        st.builds(Cancel, nodes, now),
    )


@st.composite
def histories(draw: st.DrawFn, max_nodes: int = MOST_NODES, max_events: int = 60) -> list[Event]:
    """A legal event log: a graph, a start, mostly answers of workers, requests of people and late answers."""
    machine = GraphMachine()
    for event in draw(graphs(max_nodes)):
        machine.handle(event)
    before = draw(st.sampled_from([(), (), (), ("nodes",), ("all",), ("all", "retry")]))
    base = 1.7e9
    for word in before:
        if word == "retry":
            machine.handle(Retry(tuple(range(len(machine))), False, base))
        else:
            machine.handle(Cancel(draw(some_nodes(machine)) if word == "nodes" else None, base))
    machine.handle(Start(base + 1))
    for step in range(draw(st.integers(0, max_events))):
        at = base + 2 + step / 4
        answers = live_answers(machine, at)
        kind = draw(st.integers(0, 9))
        if kind < 7 and answers is not None:
            choice = answers
        elif kind == 7:
            choice = wild_answers(machine, at)
        else:
            choice = requests(machine, at) if kind == 8 or not len(machine) else _sweeping_requests(machine, at)
        _handle_if_legal(machine, draw(choice))
    return list(machine.history)


def _sweeping_requests(machine: GraphMachine, at: float) -> st.SearchStrategy[Event]:
    every = tuple(range(len(machine)))
    running = tuple(node for node in every if machine.status[node] == RUNNING)
    again, below = Retry(every, False, at), Retry((0,), True, at)
    return st.sampled_from([again, again, again, below, below, Cancel(None, at), Stop(running, at)])


def _handle_if_legal(machine: GraphMachine, event: Event) -> None:
    try:
        machine.handle(event)
    except IllegalTransition:
        pass  # refused events are no part of a history


@st.composite
def cuts(draw: st.DrawFn, length: int) -> list[slice]:
    """A way to cut ``length`` things into windows, some of them empty."""
    edges = [0, *sorted(draw(st.lists(st.integers(0, length), max_size=8))), length]
    return [slice(start, end) for start, end in pairwise(edges)]


# --- names and payloads -----------------------------------------------------------------------------------------

HOSTILE_NAMES: Final[Sequence[str]] = (
    "",
    " ",
    "a" * 10_000,
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "'\"><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "&lt;b&gt; &amp;",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)} `alert(1)`",
    "]]></script><!--",
    "%s %d %n {0} {name}",
    "a\nb\r\nc\td",
    "\x00\x01\x1b[31mred\x1b[0m\x7f",
    "\u202eright to left\u202c",
    "\u2028\u2029\u200b\ufeff",
    "e\u0301 \u00e9 \u1e9e \u0130",
    "👩‍👩‍👧‍👦 🏳️‍🌈 ✓",
    "名前 اسم שם",
    "\ud800 alone",
    "../../etc/passwd",
    "C:\\Windows\\System32",
    "; rm -rf / #",
    "'; DROP TABLE nodes; --",
    "__proto__",
    "constructor",
    "NaN",
    "[click](javascript:alert(1))",
    'end["x"] --> click A "javascript:alert(1)"',
    "<br><sub>plotly</sub>",
    "</text><script>alert(1)</script>",
)
"""Names that were somebody's security hole, broken layout or crash."""

names: Final = st.one_of(st.sampled_from(HOSTILE_NAMES), st.text(max_size=40))


def payloads(leaves: st.SearchStrategy[Any] | None = None, max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Argument trees of lists, tuples and dicts over plain values, and over ``leaves`` where given."""
    plain: list[st.SearchStrategy[Any]] = [
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        names,
        st.binary(max_size=20),
    ]
    base = st.one_of(*plain, *([leaves] if leaves is not None else []))
    keys = st.one_of(names, st.integers())
    return st.recursive(
        base,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=4),
        ),
        max_leaves=max_leaves,
    )
