"""A machine that is led by what a server says ends where the server's machine is."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tiledag_widget.core.machine import GraphMachine
from tiledag_widget.core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    Aborted,
    AddNode,
    Began,
    Cancel,
    Changed,
    Command,
    Ended,
    Failed,
    Finished,
    Retry,
    Start,
    Stop,
)
from tiledag_widget.run.mirror import Mirror, Word


def machine_of(parents: list[tuple[int, ...]]) -> GraphMachine:
    machine = GraphMachine()
    for own in parents:
        machine.handle(AddNode(own))
    machine.handle(Start(0.0))
    return machine


def graph(seed: random.Random) -> list[tuple[int, ...]]:
    count = seed.randint(1, 12)
    return [tuple(sorted(seed.sample(range(node), seed.randint(0, min(node, 3))))) for node in range(count)]


class Elsewhere:
    """A server that runs a graph as chance has it, and says what happened."""

    def __init__(self, parents: list[tuple[int, ...]], seed: random.Random) -> None:
        self.machine = machine_of(parents)
        self.seed = seed
        self.clock = 1.0
        self.said: list[tuple[str, Any]] = []

    def step(self) -> bool:
        """One thing happens; False when nothing can."""
        machine, seed = self.machine, self.seed
        self.clock += 1
        waiting = [n for n in range(len(machine)) if machine.live[n] and machine.status[n] == NOT_STARTED]
        running = [n for n in range(len(machine)) if machine.status[n] == RUNNING]
        bad = [n for n in range(len(machine)) if machine.status[n] in (FAILED, CANCELLED)]
        chance = seed.random()
        if chance < 0.03 and not machine.is_ended:
            self._cancel()
        elif chance < 0.13 and bad and (machine.is_ended or not machine.cancel_asked):
            self._tell(machine.handle(Retry((seed.choice(bad),), False, self.clock)))
            self.said.append(("run", (False, False)))
        elif waiting and (seed.random() < 0.5 or not running):
            node = seed.choice(waiting)
            self._tell(machine.handle(Began(node, machine.attempt[node], self.clock, 0)))
        elif running:
            self._end(seed.choice(running))
        else:
            return False
        return True

    def _end(self, node: int) -> None:
        machine, chance = self.machine, self.seed.random()
        attempt = machine.attempt[node]
        if chance < 0.6:
            self._tell(machine.handle(Finished(node, attempt, self.clock)))
        elif chance < 0.8:
            machine.handle(Failed(node, attempt, self.clock))
            machine.handle(Retry((node,), False, self.clock))
            self.said.append(("attempt", (node, attempt, self.clock)))
        elif chance < 0.9:
            self._tell(machine.handle(Failed(node, attempt, self.clock)))
        else:
            machine.handle(Stop((node,), self.clock))
            self._tell(machine.handle(Aborted(node, attempt, self.clock)))

    def _cancel(self) -> None:
        self._tell(self.machine.handle(Cancel(None, self.clock)))
        self.said.append(("run", (True, True)))

    def _tell(self, commands: list[Command]) -> None:
        for command in commands:
            if type(command) is Changed:
                attempt = self.machine.attempt[command.node]
                self.said.append(("node", Word(command.node, command.status, attempt, self.clock, None, True)))

    def snapshot(self) -> list[Word]:
        """What a log shows: blocked nodes look like waiting ones."""
        machine = self.machine
        return [
            Word(
                node,
                NOT_STARTED if machine.status[node] == PARENT_FAILED else machine.status[node],
                machine.attempt[node],
                self.clock,
                None if machine.started[node] != machine.started[node] else machine.started[node],
            )
            for node in range(len(machine))
        ]


def heard(mirror: Mirror, said: tuple[str, Any], clock: float) -> list[Command]:
    kind, what = said
    if kind == "node":
        return mirror.hear(what)
    if kind == "attempt":
        return mirror.again(*what)
    return mirror.hear_run(what[0], what[1], clock)


@pytest.mark.parametrize("seed", range(0, 400, 20))
def test_every_event_leads_to_the_server_s_state(seed: int) -> None:
    """A view would show what is not so, or wait for what has happened."""
    for number in range(seed, seed + 20):
        chance = random.Random(number)
        parents = graph(chance)
        there = Elsewhere(parents, chance)
        here = machine_of(parents)
        mirror = Mirror(here)
        told = 0
        for _ in range(80):
            if not there.step():
                break
            for one in there.said[told:]:
                heard(mirror, one, there.clock)
                here.validate()
            told = len(there.said)
            assert bytes(here.status) == bytes(there.machine.status), f"seed {number}: {there.said}"
            assert here.is_ended == there.machine.is_ended, f"seed {number}: {there.said}"
        assert not mirror.is_waiting


@pytest.mark.parametrize("seed", range(0, 400, 20))
def test_looks_now_and_then_lead_to_the_server_s_state(seed: int) -> None:
    """A server without events is looked at every few seconds, and much happens between two looks."""
    for number in range(seed, seed + 20):
        chance = random.Random(number)
        parents = graph(chance)
        there = Elsewhere(parents, chance)
        here = machine_of(parents)
        mirror = Mirror(here)
        for _ in range(12):
            for _ in range(chance.randint(1, 12)):
                there.step()
            if there.machine.cancel_asked:
                break  # what a log says after that is another matter
            for word in there.snapshot():
                mirror.hear(word)
                here.validate()
            assert blocked_alike(here) == blocked_alike(there.machine), f"seed {number}"


def blocked_alike(machine: GraphMachine) -> bytes:
    """A node that was cancelled before something above it turned bad is told as cancelled, and is blocked here."""
    return bytes(
        PARENT_FAILED if code == CANCELLED and machine.bad[node] else code for node, code in enumerate(machine.status)
    )


@pytest.mark.parametrize("seed", range(0, 100, 20))
def test_what_is_told_twice_changes_nothing(seed: int) -> None:
    """After a broken connection the same events come again."""
    for number in range(seed, seed + 20):
        chance = random.Random(number)
        parents = graph(chance)
        there = Elsewhere(parents, chance)
        here = machine_of(parents)
        mirror = Mirror(here)
        for _ in range(80):
            if there.machine.cancel_asked or not there.step():
                break
        last: dict[int, tuple[str, Any]] = {}
        for one in there.said:
            heard(mirror, one, there.clock)
            if one[0] == "node":
                last[one[1].node] = one
        before = here.revision
        for one in last.values():
            heard(mirror, one, there.clock)

        assert here.revision == before
        assert bytes(here.status) == bytes(there.machine.status)


def test_a_failed_attempt_that_is_followed_by_another_blocks_nothing() -> None:
    """Callbacks would hear of a failure that is none, and the graph of an end that is none."""
    machine = machine_of([(), (0,)])
    mirror = Mirror(machine)
    mirror.hear(Word(0, RUNNING, 1, 1.0))

    commands = mirror.again(0, 1, 2.0)

    assert [one.status for one in commands if type(one) is Changed] == [NOT_STARTED, NOT_STARTED]
    assert not [one for one in commands if type(one) is Ended]
    assert (machine.status[0], machine.status[1], machine.is_ended) == (NOT_STARTED, NOT_STARTED, False)
    assert [attempt[1:3] for attempt in machine.past[0]] == [(1, FAILED)]
    assert mirror.again(0, 1, 2.0) == []


def test_what_was_said_before_a_stop_was_heard_revives_nothing() -> None:
    """`cancel` that returned means that nothing starts; a late word would undo it."""
    machine = machine_of([(), ()])
    mirror = Mirror(machine)
    mirror.hear(Word(0, RUNNING, 1, 1.0))
    machine.handle(Cancel(None, 2.0))
    mirror.cancelled_here()

    mirror.hear(Word(1, RUNNING, 1, 1.5))
    mirror.hear_run(False, False, 1.5)
    assert machine.status[1] == CANCELLED
    mirror.hear(Word(0, CANCELLED, 1, 3.0))
    mirror.hear_run(True, True, 3.0)

    assert bytes(machine.status) == bytes([CANCELLED, CANCELLED])
    assert machine.is_ended


@pytest.mark.parametrize("by_events", [True, False])
def test_what_ended_before_the_server_heard_of_a_stop_is_not_lost(by_events: bool) -> None:
    """A result that is there would be shown as cancelled for ever, and a retry could not bring it back."""
    machine = machine_of([(), (0,), ()])
    mirror = Mirror(machine)
    machine.handle(Cancel(None, 2.0))
    mirror.cancelled_here()

    for word in (Word(0, RUNNING, 1, 1.0), Word(0, COMPLETED, 1, 1.5), Word(1, RUNNING, 1, 1.6)):
        mirror.hear(replace(word, is_change=by_events))
    mirror.hear(Word(1, COMPLETED, 1, 1.7, 1.6, by_events))
    mirror.hear(Word(2, CANCELLED if by_events else NOT_STARTED, 0, 2.0, None, by_events))
    assert bytes(machine.status) == bytes([CANCELLED, PARENT_FAILED, CANCELLED])
    if by_events:
        mirror.caught_up()
    mirror.hear_run(True, True, 3.0)

    assert bytes(machine.status) == bytes([COMPLETED, COMPLETED, CANCELLED])
    assert machine.is_ended


def test_a_retry_from_elsewhere_goes_on_after_a_stop() -> None:
    """Another notebook may go on with a run that this one has stopped."""
    machine = machine_of([()])
    mirror = Mirror(machine)
    mirror.hear(Word(0, CANCELLED, 0, 2.0))
    mirror.hear_run(True, True, 2.0)

    mirror.hear(Word(0, NOT_STARTED, 0, 3.0, None, True))
    mirror.hear_run(False, False, 3.0)
    mirror.hear(Word(0, COMPLETED, 1, 4.0, None, True))

    assert machine.status[0] == COMPLETED
    assert machine.is_ended


def test_a_late_look_after_a_retry_here_fails_nothing() -> None:
    """The log may be read before the server has written what was asked of it."""
    machine = machine_of([()])
    mirror = Mirror(machine)
    failed = Word(0, FAILED, 1, 1.0, 0.5)
    mirror.hear(failed)
    mirror.retried_here(machine.handle(Retry((0,), False, 2.0)))

    mirror.hear(failed)
    assert machine.status[0] == NOT_STARTED
    mirror.hear(Word(0, COMPLETED, 2, 4.0, 3.0))

    assert machine.status[0] == COMPLETED


def test_a_word_about_a_child_waits_for_its_parent() -> None:
    """A log that is read while it is written may show the child first."""
    machine = machine_of([(), (0,)])
    mirror = Mirror(machine)

    mirror.hear(Word(1, COMPLETED, 1, 2.0, 1.5))
    assert mirror.is_waiting
    mirror.hear(Word(0, COMPLETED, 1, 1.0, 0.5))

    assert bytes(machine.status) == bytes([COMPLETED, COMPLETED])
    assert not mirror.is_waiting


@pytest.mark.parametrize("cancelled", [False, True])
def test_giving_up_ends_every_node(cancelled: bool) -> None:
    """A wait would never return."""
    machine = machine_of([(), (), (0,), ()])
    mirror = Mirror(machine)
    mirror.hear(Word(0, RUNNING, 1, 1.0))
    mirror.hear(Word(1, COMPLETED, 1, 1.0))

    mirror.give_up(5.0, cancelled)

    machine.validate()
    assert machine.is_ended
    assert machine.status[0] == (CANCELLED if cancelled else FAILED)
    assert bytes(machine.status[1:]) == bytes([COMPLETED, PARENT_FAILED, CANCELLED])


def test_what_waited_in_a_run_that_is_lost_has_failed() -> None:
    """`wait()` would return as if somebody had cancelled the graph, and say nothing."""
    machine = machine_of([(), (0,), (), (2,)])
    mirror = Mirror(machine)
    mirror.hear(Word(2, COMPLETED, 1, 1.0))

    mirror.give_up(5.0, False, lost=True)

    machine.validate()
    assert machine.is_ended
    assert bytes(machine.status) == bytes([FAILED, PARENT_FAILED, COMPLETED, FAILED])


def test_rows_of_a_time_line_are_used_again() -> None:
    """A run of a thousand nodes on four workers would have a thousand rows."""
    machine = machine_of([(), (), ()])
    mirror = Mirror(machine)
    mirror.hear(Word(0, RUNNING, 1, 1.0))
    mirror.hear(Word(1, RUNNING, 1, 1.0))
    mirror.hear(Word(0, COMPLETED, 1, 2.0))
    mirror.hear(Word(2, RUNNING, 1, 3.0))

    assert list(machine.slot) == [0, 1, 0]
