"""`core.snapshot`: whoever applies the records has the machine's columns."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.test_machine import fail_node, lines_run, run_node, started
from tests.strategies import cuts, histories
from tests.vectors import Columns, apply, blank, columns_of, load, make, saved, windows
from tiledag_widget.core import snapshot
from tiledag_widget.core.machine import NO_SLOT, GraphMachine, replay
from tiledag_widget.core.snapshot import RECORD, RECORD_SIZE, Patch, RunInfo, Structure
from tiledag_widget.core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    RUNNING,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Event,
    Failed,
    Finished,
    Retry,
    Start,
    Status,
)


def without_queued_attempts(columns: Columns, machine: GraphMachine) -> Columns:
    """A node is told its new attempt when its status changes, not while it sits in a queue."""
    queued = [machine.live[node] and code == NOT_STARTED for node, code in enumerate(machine.status)]
    attempts = [0 if queued[node] else attempt for node, attempt in enumerate(columns["attempt"])]
    return {**columns, "attempt": attempts}


def applied(events: list[Event], ends: list[int]) -> Columns:
    received = blank(len(replay(events)))
    for window in windows(events, ends):
        apply(received, bytes.fromhex(window["records"]))
    return received


@given(events=histories(), data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_records_in_any_windows_give_the_columns_of_the_machine(events: list[Event], data: st.DataObject) -> None:
    """A view would show a node Running that has failed, until the page is reloaded."""
    ends = [window.stop for window in data.draw(cuts(len(events)))]
    machine = replay(events)

    received = applied(events, ends)

    expected = columns_of(machine)
    assert without_queued_attempts(received, machine) == without_queued_attempts(expected, machine)


@pytest.mark.parametrize("name", saved())
def test_the_shared_vectors_hold(name: str) -> None:
    """Python and the page would end with different pictures of one run."""
    events, vector = load(name)

    for cut in vector["windows"]:
        received = blank(vector["nodes"])
        revision = 0
        for window in cut:
            assert window["since"] == revision
            apply(received, bytes.fromhex(window["records"]))
            revision = window["revision"]
        assert received == vector["expected"]
    assert make(events, vector["about"]) == vector


def test_what_happened_before_the_start_reads_the_same_before_and_after_it() -> None:
    """A node cancelled before the start would be drawn fifty years to the right, or differently after a reload."""
    events: list[Event] = [AddNode((), CANCELLED), AddNode(()), AddNode(()), Cancel((1,), 1.7e9), Start(1.7e9 + 5)]

    early, late = applied(events, [4, 5]), applied(events, [5])

    assert early == late
    assert late["status"] == [CANCELLED, CANCELLED, NOT_STARTED]
    assert late["ended"] == [None, 0.0, None]


def test_a_clock_that_steps_back_gives_no_negative_time() -> None:
    """A bar of the timeline would begin before the run."""
    events: list[Event] = [AddNode(()), Start(1000.0), Began(0, 1, 990.0, 0), Finished(0, 1, 1001.5)]

    assert applied(events, [4])["started"] == [0.0]
    assert applied(events, [4])["ended"] == [1.5]


def test_attempts_that_ended_in_one_window_are_each_told_in_order() -> None:
    """The timeline of a node that was retried quickly would miss its failures."""
    machine = started(AddNode(()))
    for attempt in (1, 2):
        machine.handle(Began(0, attempt, 1.0 + attempt, attempt))
        machine.handle(Failed(0, attempt, 1.5 + attempt))
        machine.handle(Retry((0,), False, 1.75 + attempt))
    machine.handle(Began(0, 3, 5.0, 0))

    records = list(RECORD.iter_unpack(snapshot.records_since(machine, 0)))

    assert records[:2] == [(0, FAILED, 1, 1, 1.0, 1.5), (0, FAILED, 2, 2, 2.0, 2.5)]
    assert records[2][:5] == (0, RUNNING, 3, 0, 4.0)
    assert isnan(records[2][5])
    assert len(records) == 3
    assert len(snapshot.records_since(machine, machine.revision - 1)) == RECORD_SIZE
    assert snapshot.records_since(machine, machine.revision) == b""


def test_the_attempt_number_stops_at_255() -> None:
    """A node retried for a whole night would break every patch."""
    machine = started(AddNode(()))
    for _ in range(300):
        fail_node(machine, 0)
        machine.handle(Retry((0,), False, 3.0))
    run_node(machine, 0)

    attempts = [record[2] for record in RECORD.iter_unpack(snapshot.records_since(machine, 0))]

    assert attempts == [*range(1, 256), *[255] * 46]
    assert machine.attempt[0] == 301


def test_a_patch_costs_what_changed_and_not_what_there_is() -> None:
    """Watching a large graph would slow it down."""

    def cost(size: int) -> int:
        machine = started(*[AddNode(())] * size)
        since = machine.revision
        run_node(machine, 0)
        return lines_run(lambda: snapshot.records_since(machine, since))

    assert cost(10) == cost(2_000)


def test_a_record_is_sixteen_bytes_as_the_page_reads_them() -> None:
    """The page would read noise."""
    machine = started(AddNode(()), AddNode(()))
    machine.handle(Began(1, 1, 1.5, 0x0203))

    assert RECORD_SIZE == 16
    assert snapshot.records_since(machine, 0).hex() == "01000000020103020000003f0000c07f"


def test_the_structure_is_told_as_columns() -> None:
    """Edges would be drawn between the wrong nodes."""
    machine = replay([AddNode(()), AddNode((0,)), AddNode((0, 1)), AddNode(()), AddEdge(3, 2)])

    start, parents = snapshot.structure_columns(machine)
    structure = Structure(["a", "b", "c", "d"], start, ["g"], start, parents)

    assert list(start) == [0, 0, 1, 4, 4]
    assert [list(structure.parents_of(node)) for node in range(4)] == machine.graph.parents
    assert len(structure) == 4


def test_a_snapshot_stays_as_it_was_taken() -> None:
    """A picture made on another thread would change while it is drawn."""
    machine = started(AddNode(()), AddNode((0,)))
    machine.handle(Began(0, 1, 2.0, 4))
    before = snapshot.columns(machine)

    machine.handle(Failed(0, 1, 3.0))
    after = snapshot.columns(machine)

    assert (list(before.status), list(after.status)) == ([RUNNING, NOT_STARTED], [FAILED, 6])
    assert (list(before.slot), list(before.attempt)) == ([4, NO_SLOT], [1, 0])
    assert (before.started[0], after.ended[0]) == (2.0, 3.0)
    assert isnan(before.ended[0])
    assert (before.blocker, after.blocker) == ({}, {1: 0})


def test_the_run_is_told_whole() -> None:
    """The summary bar would say something else than ``DAG.status``."""
    machine = started(AddNode(()))
    run_node(machine, 0, at=4.0)

    run = snapshot.run_info(machine, slots=3, can_stop=True)

    expected = RunInfo(Status.COMPLETED, (0, 0, 0, 1, 0, 0, 0), True, 1.0, 4.0, 3, True)
    # As text: from Python 3.13 on no two that hold NaN are equal.
    assert repr(run) == repr(expected)
    assert run.counts[COMPLETED] == 1
    assert len(Patch(0, 2, bytes(2 * RECORD_SIZE), run)) == 2
