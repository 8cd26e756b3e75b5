"""`core.tape`: a replay goes through the states that the machine went through, and ends in the one it is in."""

from __future__ import annotations

import random
import struct
import zlib
from math import isnan
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.strategies import histories
from tests.vectors import load, saved
from tiledag_widget.core import tape
from tiledag_widget.core.machine import GraphMachine, replay
from tiledag_widget.core.states import (
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    AddNode,
    Began,
    Event,
    Failed,
    Finished,
    Retry,
    Start,
)

TAPES = Path(__file__).resolve().parents[1] / "tapes"


def retried(nodes: int = 1) -> list[Event]:
    """Each node fails at 2 s, blocks its child, is retried at 10 s, and both complete."""
    events: list[Event] = []
    for node in range(nodes):
        events += [AddNode((), NOT_STARTED), AddNode((2 * node,), NOT_STARTED)]
    events.append(Start(100.0))
    parents = [2 * node for node in range(nodes)]
    events += [Began(node, 1, 101.0, 0) for node in parents]
    events += [Failed(node, 1, 102.0) for node in parents]
    events.append(Retry(tuple(parents), False, 110.0))
    events += [Began(node, 2, 111.0, 1) for node in parents]
    events += [Finished(node, 2, 113.0) for node in parents]
    events += [Began(node + 1, 1, 114.0, 1) for node in parents]
    events += [Finished(node + 1, 1, 115.0) for node in parents]
    return events


@given(events=histories())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_a_tape_ends_where_the_machine_is(events: list[Event]) -> None:
    """The last moment of a replay would show another picture than the live view."""
    machine = replay(events)

    shown = tape.play(tape.record(events), len(machine))

    assert shown.status == machine.status
    assert shown.slot == machine.slot


@given(events=histories())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_every_moment_of_a_tape_was_a_state_of_the_machine(events: list[Event]) -> None:
    """A replay would show a node Running whose parent has not ended."""
    made = tape.record(events)
    machine = GraphMachine()

    for event in events:
        machine.handle(event)
        shown = tape.play(made, len(machine), machine.revision)
        assert shown.status == machine.status


@pytest.mark.parametrize("name", saved())
def test_the_saved_histories_end_alike_in_times_too(name: str) -> None:
    """Bars of a replay would be longer or shorter than those of the live view."""
    events, vector = load(name)

    shown = tape.play(tape.record(events), vector["nodes"])

    assert [None if isnan(at) else at for at in shown.started] == vector["expected"]["started"]
    assert [None if isnan(at) else at for at in shown.ended] == vector["expected"]["ended"]


@pytest.mark.parametrize("name", saved())
def test_the_tapes_that_the_page_is_tested_with_are_those_of_the_histories(name: str) -> None:
    """The page would be tested with tapes that no kernel sends."""
    events, _ = load(name)

    assert tape.record(events).to_bytes().hex() == (TAPES / f"{name}.hex").read_text().strip()


def test_a_retry_is_seen_when_it_was_made() -> None:
    """The seconds in which a node was blocked, which no attempt tells of, would be missing."""
    made = tape.record(retried())

    story = [(made.node[place], made.status[place], made.at[place]) for place in range(len(made))]

    assert story == [
        (0, RUNNING, 1.0),
        (0, FAILED, 2.0),
        (1, PARENT_FAILED, 2.0),
        (0, NOT_STARTED, 10.0),
        (1, NOT_STARTED, 10.0),
        (0, RUNNING, 11.0),
        (0, COMPLETED, 13.0),
        (1, RUNNING, 14.0),
        (1, COMPLETED, 15.0),
    ]
    assert not made.is_thinned


def test_a_tape_that_is_too_long_loses_its_oldest_attempts_first_and_no_last_change() -> None:
    """A long run would have no replay at all, or one that ends in a wrong state."""
    events = retried(20)
    whole = tape.record(events)

    for most in (len(whole) - 10, len(whole) // 2, 1):
        made = tape.record(events, most)

        assert made.is_thinned
        assert len(made) <= max(most, 40)
        assert tape.play(made, 40).status == tape.play(whole, 40).status
    assert RUNNING in tape.record(events, len(whole) - 30).status


def test_the_bytes_are_the_columns() -> None:
    """The page would read another story."""
    made = tape.record(retried())

    data = made.to_bytes()

    count, thinned = tape.HEADER.unpack_from(data)
    assert (count, thinned) == (9, 0)
    assert len(data) == tape.HEADER.size + tape.CHANGE_BYTES * count
    assert list(struct.unpack_from(f"<{count}f", data, 8)) == list(made.at)
    assert list(struct.unpack_from(f"<{count}I", data, 8 + 4 * count)) == list(made.node)
    assert data[8 + 10 * count : 8 + 11 * count] == bytes(made.status)


@pytest.mark.slow
def test_the_longest_tape_is_two_megabytes_deflated() -> None:
    """A replay would hold up the view for seconds, and notebooks would be sent what nobody can look at."""
    chance = random.Random(5)
    events: list[Event] = [AddNode((), NOT_STARTED) for _ in range(200_000)]
    events.append(Start(0.0))
    free = [0.0] * 8
    moments: list[tuple[float, Event]] = []
    for node in range(200_000):
        slot = min(range(8), key=lambda each: free[each])
        began = free[slot]
        free[slot] = began + chance.lognormvariate(0, 1)
        moments += [(began, Began(node, 1, began, slot)), (free[slot], Finished(node, 1, free[slot]))]
    events += [event for _, event in sorted(moments, key=lambda each: each[0])]

    made = tape.record(events)

    assert len(made) == tape.MOST_CHANGES
    assert len(zlib.compress(made.to_bytes())) <= 2_000_000
