"""`core.machine`: against a naive engine, over all small graphs, on large ones, and on its own promises."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations, permutations, product
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.oracle import Compared, check_log, copy_of, how_to_replay, state_of
from tests.strategies import graphs, histories, live_answers, requests, some_nodes, wild_answers
from tests.vectors import columns_of, load, saved
from tiledag_widget.core.machine import NO_SLOT, GraphMachine, replay
from tiledag_widget.core.snapshot import records_since
from tiledag_widget.core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
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

SEED: Final = int(os.environ.get("SEED", "0"))


def chain(length: int) -> list[Event]:
    return [AddNode((node - 1,) if node else ()) for node in range(length)]


def started(*nodes: AddNode | AddEdge) -> GraphMachine:
    return replay([*nodes, Start(1.0)])


def run_node(machine: GraphMachine, node: int, at: float = 2.0) -> list[Command]:
    """Begin and finish the live attempt of a node."""
    attempt = machine.attempt[node]
    return machine.handle(Began(node, attempt, at, 0)) + machine.handle(Finished(node, attempt, at))


def fail_node(machine: GraphMachine, node: int, at: float = 2.0) -> list[Command]:
    attempt = machine.attempt[node]
    return machine.handle(Began(node, attempt, at, 0)) + machine.handle(Failed(node, attempt, at))


def drain(machine: GraphMachine, commands: Sequence[Command]) -> int:
    """Do what the commands and all that follow ask for; how many nodes ran."""
    todo, ran = list(commands), 0
    while todo:
        command = todo.pop()
        if isinstance(command, Run):
            ran += 1
            machine.handle(Began(command.node, command.attempt, 3.0, 0))
            todo += machine.handle(Finished(command.node, command.attempt, 4.0))
    return ran


# --- A2: random graphs, all events, beside the oracle ----------------------------------------------------------


class Rules(RuleBasedStateMachine):
    """One graph, and whatever may befall it; every step is compared with the oracle."""

    def __init__(self) -> None:
        super().__init__()
        self.compared = Compared()
        self.log: list[Event] = []
        self.at = 1.7e9

    @property
    def graph(self) -> GraphMachine:
        return self.compared.machine

    def step(self, event: Event) -> None:
        self.log.append(event)
        self.at += 0.25
        try:
            taken = self.compared.step(event) is not None
        except BaseException as error:
            raise AssertionError(f"{event}: {error!r}\n{how_to_replay(self.log, f'SEED={SEED}')}") from error
        if not taken:
            self.log.pop()  # refused events are no part of a history

    @initialize(events=graphs(), begins=st.booleans())
    def build(self, events: list[AddNode | AddEdge], begins: bool) -> None:
        for event in events:
            self.step(event)
        if begins:
            self.step(Start(self.at))

    @rule()
    def start(self) -> None:
        self.step(Start(self.at))

    def _has_live(self) -> bool:
        return any(self.graph.live)

    @precondition(_has_live)
    @rule(data=st.data())
    def live_answer(self, data: st.DataObject) -> None:
        answers = live_answers(self.graph, self.at)
        assert answers is not None
        for _ in range(data.draw(st.integers(1, 4))):
            if answers is not None:
                self.step(data.draw(answers))
                answers = live_answers(self.graph, self.at)

    @rule(data=st.data())
    def wild_answer(self, data: st.DataObject) -> None:
        self.step(data.draw(wild_answers(self.graph, self.at)))

    @precondition(lambda self: len(self.log) > 0)
    @rule(back=st.integers(1, 6))
    def same_event_again(self, back: int) -> None:
        self.step(self.log[-min(back, len(self.log))])

    @precondition(lambda self: len(self.graph) > 0)
    @rule(data=st.data())
    def request(self, data: st.DataObject) -> None:
        self.step(data.draw(requests(self.graph, self.at)))

    @precondition(lambda self: FAILED in self.graph.status or CANCELLED in self.graph.status)
    @rule(data=st.data(), descendants=st.booleans(), everything=st.booleans())
    def retry_what_went_wrong(self, data: st.DataObject, descendants: bool, everything: bool) -> None:
        wrong = [node for node, code in enumerate(self.graph.status) if code in (FAILED, CANCELLED)]
        nodes = tuple(wrong) if everything else (data.draw(st.sampled_from(wrong)),)
        self.step(Retry(nodes, descendants, self.at))

    @precondition(lambda self: RUNNING in self.graph.status)
    @rule()
    def stop_what_runs(self) -> None:
        self.step(Stop(tuple(node for node, code in enumerate(self.graph.status) if code == RUNNING), self.at))

    @precondition(lambda self: self.graph.is_started)
    @rule(sure=st.integers(0, 3))
    def cancel_the_graph(self, sure: int) -> None:
        if not sure:
            self.step(Cancel(None, self.at))

    @precondition(lambda self: not self.graph.is_started)
    @rule(data=st.data())
    def build_on(self, data: st.DataObject) -> None:
        self.step(AddNode(data.draw(some_nodes(self.graph)), data.draw(st.sampled_from([NOT_STARTED, CANCELLED]))))
        last = len(self.graph)
        self.step(AddEdge(data.draw(st.integers(0, last)), data.draw(st.integers(0, last))))

    def teardown(self) -> None:
        """Promise 1: once every live attempt was answered, the graph has ended."""
        self.step(Start(self.at))
        live = [node for node in range(len(self.graph)) if self.graph.live[node]]
        while live:
            for node in live:
                attempt = self.graph.attempt[node]
                if self.graph.status[node] == NOT_STARTED:
                    self.step(Began(node, attempt, self.at, 0))
                self.step(Finished(node, attempt, self.at))
            live = [node for node in range(len(self.graph)) if self.graph.live[node]]
        assert self.graph.is_ended, how_to_replay(self.log)


def run_rules(number: int, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        seed(number)(Rules),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@contextlib.contextmanager
def random_runs(_: Path) -> Iterator[Callable[[int], None]]:
    """Trial A2 for ``make night``; a thousand seeds are its night size, 20,000 x 100."""
    yield lambda number: run_rules(number, 20, 100)


@pytest.mark.slow
def test_random_runs_are_as_the_naive_engine_says() -> None:
    """A graph could end with a wrong status, or never, after some order of events that nobody thought of.

    ``SEED=n`` picks other runs; ``make night TRIAL=A2`` makes longer ones.
    """
    run_rules(SEED, 200, 50)


# --- A4: all small graphs, all outcomes, all orders ------------------------------------------------------------


def all_graphs(size: int) -> Iterator[list[AddNode | AddEdge]]:
    """The events that build each labelled graph without a cycle: 1, 3, 25, 543 for 1 to 4 nodes."""
    pairs = list(combinations(range(size), 2))
    for ways in product((0, 1, 2), repeat=len(pairs)):
        edges = [pair if way == 1 else pair[::-1] for pair, way in zip(pairs, ways, strict=True) if way]
        machine = GraphMachine()
        events: list[AddNode | AddEdge] = [AddNode(()) for _ in range(size)]
        events += [AddEdge(*edge) for edge in edges]
        try:
            for event in events:
                machine.handle(event)
        except IllegalTransition:
            continue
        yield events


def relatives(machine: GraphMachine) -> tuple[list[int], list[int]]:
    """Bit masks of each node's parents, and of all that lies below it."""
    nodes = range(len(machine))
    parents = [sum(1 << parent for parent in set(machine.graph.parents[node])) for node in nodes]
    below = [sum(1 << each for each in machine.graph.descendants([node]) if each != node) for node in nodes]
    return parents, below


class AllOrders:
    """Every order in which the nodes of one graph can complete, fail or be cancelled, depth first.

    Runs with the same beginning share it: the machine is copied where they part. What the end must be is kept beside
    it as bit masks: a node that goes wrong blocks all that has not come to its turn below it, and nothing else.
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self.start = replay([*events, Start(1.0)])
        self.everything = (1 << len(self.start)) - 1
        self.parents, self.below = relatives(self.start)
        self.orders: list[tuple[tuple[int, str], ...]] = []
        self.runs = 0

    def explore(self, keep: bool = False) -> None:
        self.keep = keep
        self._go_on(self.start, 0, 0, 0, 0, ())

    def _go_on(
        self, machine: GraphMachine, ok: int, failed: int, cancelled: int, blocked: int, order: tuple[Any, ...]
    ) -> None:
        left = self.everything & ~(ok | failed | cancelled | blocked)
        if not left:
            self.runs += 1
            if self.keep:
                self.orders.append(order)
            self._check_end(machine, ok, failed, cancelled, blocked)
            return
        for node in range(len(machine)):
            bit = 1 << node
            if not left & bit:
                continue
            caught = blocked | (self.below[node] & left)
            if not self.parents[node] & ~ok:
                good = self._act(machine, Finished(node, 1, 3.0))
                self._go_on(good, ok | bit, failed, cancelled, blocked, self._then(order, node, "ok"))
                wrong = self._act(machine, Failed(node, 1, 3.0))
                self._go_on(wrong, ok, failed | bit, cancelled, caught, self._then(order, node, "fail"))
            late = self._act(machine, Cancel((node,), 3.0))
            self._go_on(late, ok, failed, cancelled | bit, caught, self._then(order, node, "cancel"))

    def _act(self, machine: GraphMachine, event: Finished | Failed | Cancel) -> GraphMachine:
        """A copy to which this happened: what is taken up ends at once."""
        copy = copy_of(machine)
        if not isinstance(event, Cancel):
            copy.handle(Began(event.node, 1, 2.0, 0))
        copy.handle(event)
        return copy

    def _then(self, order: tuple[Any, ...], node: int, outcome: str) -> tuple[Any, ...]:
        return (*order, (node, outcome)) if self.keep else order

    def _check_end(self, machine: GraphMachine, ok: int, failed: int, cancelled: int, blocked: int) -> None:
        for node, code in enumerate(machine.status):
            bit = 1 << node
            assert (
                code == COMPLETED
                if ok & bit
                else code == FAILED
                if failed & bit
                else code == CANCELLED
                if cancelled & bit
                else code == PARENT_FAILED and blocked & bit
            ), how_to_replay(machine.history)
        assert machine.is_ended, how_to_replay(machine.history)
        code = FAILED if failed else CANCELLED if cancelled else COMPLETED
        assert machine.graph_status.value == code, how_to_replay(machine.history)


class AllOrdersSideBySide(AllOrders):
    """The same, where every node runs as soon as it may, so that the others turn bad beside it; a cancel stops it."""

    def __init__(self, events: Sequence[Event]) -> None:
        super().__init__(events)
        for node in range(len(self.start)):
            if self.start.live[node]:
                self.start.handle(Began(node, 1, 2.0, 0))

    def _act(self, machine: GraphMachine, event: Finished | Failed | Cancel) -> GraphMachine:
        copy = copy_of(machine)
        if isinstance(event, Cancel):
            assert event.nodes
            (node,) = event.nodes
            if copy.status[node] == RUNNING:
                assert copy.handle(Stop((node,), 3.0)) == [Abort(node, 1)]
                copy.handle(Aborted(node, 1, 3.0))
                return copy
        for command in copy.handle(event):
            if isinstance(command, Run):
                copy.handle(Began(command.node, command.attempt, 2.0, 0))
        return copy


OUTCOMES: Final = ("ok", "fail", "cancel")


def by_priority(events: Sequence[Event], outcomes: Sequence[str], ranks: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """One run: at each step the first node by rank that can come to its outcome does; compared at each step."""
    compared = Compared()
    for event in (*events, Start(1.0)):
        compared.step(event)
    machine, order, left = compared.machine, [], list(ranks)
    while left:
        for node in left:
            code, live = machine.status[node], machine.live[node]
            if code == NOT_STARTED and (live or outcomes[node] == "cancel"):
                break
        else:
            break
        left.remove(node)
        order.append((node, outcomes[node]))
        if outcomes[node] == "cancel":
            compared.step(Cancel((node,), 3.0))
            continue
        compared.step(Began(node, 1, 2.0, 0))
        compared.step(Finished(node, 1, 3.0) if outcomes[node] == "ok" else Failed(node, 1, 3.0))
    assert machine.is_ended, how_to_replay(machine.history)
    return tuple(order)


@pytest.mark.slow
def test_all_graphs_of_three_nodes_in_all_orders_at_each_step() -> None:
    """What breaks a large graph mostly breaks a small one; here nothing small is left untried."""
    tried = 0
    for size in (1, 2, 3):
        for events in all_graphs(size):
            seen = set()
            for outcomes, ranks in product(product(OUTCOMES, repeat=size), permutations(range(size))):
                seen.add(by_priority(events, outcomes, ranks))
                tried += 1
            search = AllOrders(events)
            search.explore(keep=True)
            assert len(search.orders) == len(set(search.orders))
            assert set(search.orders) == seen, "the search below must find the same runs, each once"
    assert tried == 3 + 3 * 9 * 2 + 25 * 27 * 6


@pytest.mark.slow
def test_all_graphs_of_four_nodes_in_all_orders() -> None:
    """As above: 543 graphs x 81 outcomes x 24 orders, those that run alike once, checked at the end."""
    graphs_of_four = list(all_graphs(4))
    for kind in (AllOrders, AllOrdersSideBySide):
        searches = [kind(events) for events in graphs_of_four]
        for search in searches:
            search.explore()

        assert len(searches) == 543
        assert sum(search.runs for search in searches) == 82_760


# --- A6: saved histories ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", saved())
def test_saved_histories_end_as_they_did(name: str) -> None:
    """A run recorded by an earlier release, or a bug that was fixed, would come out differently."""
    events, vector = load(name)

    machine = check_log(events)

    assert columns_of(machine) == vector["expected"]
    assert list(machine.counts) == vector["counts"]
    assert (machine.graph_status.value, machine.is_ended) == (vector["graph_status"], vector["is_ended"])


def test_enough_histories_are_saved() -> None:
    """The test above would pass over an empty folder."""
    assert {"fail_then_retry", "cancel_midway", "retry_with_descendants", "lost_worker"} <= set(saved())


# --- the same, always -------------------------------------------------------------------------------------------


@given(events=histories())
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@seed(SEED)
def test_the_same_events_give_the_same_commands(events: list[Event]) -> None:
    """A replay of a stuck run would not get stuck, and nobody could find out why it did."""
    one, two = GraphMachine(), GraphMachine()

    first, second = repr([one.handle(event) for event in events]), repr([two.handle(event) for event in events])

    assert first.encode() == second.encode()
    assert state_of(one) == state_of(two)
    assert records_since(one, 0) == records_since(two, 0)


# --- large graphs -----------------------------------------------------------------------------------------------


@pytest.fixture
def hardly_any_stack() -> Iterator[None]:
    """A recursion over the nodes of a large graph fails here, however long the stack usually is."""
    limit, depth, frame = sys.getrecursionlimit(), 0, sys._getframe()
    while frame.f_back:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 60)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("hardly_any_stack")
def test_a_chain_of_20000_fails_at_the_root_is_retried_and_completes() -> None:
    """Long chains end in a RecursionError elsewhere (distributed #7188)."""
    length = 20_000
    machine = replay(chain(length))

    (first,) = machine.handle(Start(1.0))
    fail_node(machine, 0)
    failed = list(machine.counts)
    commands = machine.handle(Retry((0,), False, 5.0))
    ran = drain(machine, commands)

    assert first == Run(0, 1)
    assert (failed[FAILED], failed[PARENT_FAILED]) == (1, length - 1)
    assert machine.blocker == {}
    assert ran == length
    assert machine.graph_status is Status.COMPLETED


@pytest.mark.usefixtures("hardly_any_stack")
def test_a_chain_of_20000_against_index_order_is_cancelled_and_retried() -> None:
    """As above, where index order is no valid order."""
    length = 20_000
    edges = [AddEdge(node + 1, node) for node in range(length - 1)]
    machine = replay([*[AddNode(())] * length, *edges, Start(1.0)])

    machine.handle(Cancel(None, 2.0))
    cancelled = list(machine.counts)
    drain(machine, machine.handle(Retry((length - 1,), True, 3.0)))

    assert (cancelled[CANCELLED], cancelled[PARENT_FAILED]) == (1, length - 1)
    assert machine.graph_status is Status.COMPLETED
    assert machine.graph.path(length - 1, 0) == list(range(length - 1, -1, -1))
    assert machine.graph.leaves_first_order() == list(range(length - 1, -1, -1))


@pytest.mark.usefixtures("hardly_any_stack")
def test_a_fan_of_10000_in_and_out_runs_fails_and_is_retried() -> None:
    """Wide graphs end in quadratic time elsewhere (baseline M15)."""
    wide = 10_000
    adds = [AddNode(()), *[AddNode((0,))] * wide, AddNode(tuple(range(1, wide + 1)))]
    machine = replay(adds)

    machine.handle(Start(1.0))
    runs = run_node(machine, 0)
    for command in runs:
        if isinstance(command, Run):
            fail_node(machine, command.node)
    failed = list(machine.counts)
    again = machine.handle(Retry(tuple(range(1, wide + 1)), False, 5.0))
    ran = drain(machine, again)

    assert (failed[FAILED], failed[PARENT_FAILED]) == (wide, 1)
    assert ran == wide + 1
    assert machine.graph_status is Status.COMPLETED


def lines_run(action: Callable[[], object]) -> int:
    """How many lines of the core an action runs: a cost that no busy machine changes."""
    total = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal total
        if "/tiledag_widget/core/" not in frame.f_code.co_filename:
            return None
        total += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return total


def test_a_step_costs_the_same_in_a_large_graph_as_in_a_small_one() -> None:
    """A scan of all nodes at each step makes a run quadratic."""

    def costs(size: int) -> list[int]:
        adds = [AddNode(()), AddNode((0,)), AddNode((1,)), *[AddNode(())] * size]
        machine = started(*adds)
        begin, end = Began(0, 1, 2.0, 0), Finished(0, 1, 3.0)
        fail: list[Event] = [Began(1, 1, 2.0, 0), Failed(1, 1, 3.0)]
        again = Retry((1,), False, 4.0)
        later: list[Event] = [Finished(0, 1, 3.0), Stop((3,), 5.0), Cancel((3,), 5.0), Retry((3,), True, 6.0)]
        return [lines_run(partial(machine.handle, each)) for each in (begin, end, *fail, again, *later)]

    assert costs(10) == costs(3_000)


@pytest.mark.parametrize("size", [20, 200])
def test_a_step_costs_so_much_an_edge(size: int) -> None:
    """A fan-in of 10,000 would take minutes."""
    machine = started(AddNode(()), *[AddNode((0,))] * size)
    machine.handle(Began(0, 1, 2.0, 0))

    block = lines_run(lambda: machine.handle(Failed(0, 1, 3.0)))
    free = lines_run(lambda: machine.handle(Retry((0,), False, 4.0)))
    machine.handle(Began(0, 2, 5.0, 0))
    ready = lines_run(lambda: machine.handle(Finished(0, 2, 6.0)))

    assert block <= 60 + 16 * size
    assert free <= 80 + 18 * size
    assert ready <= 40 + 10 * size


@pytest.mark.parametrize("size", [20, 200])
def test_a_chain_built_from_either_end_costs_so_much_an_edge(size: int) -> None:
    """Building a graph from its end would search all of it for a cycle at every edge."""
    forth, back = replay([AddNode(())] * size), replay([AddNode(())] * size)

    costs = [lines_run(partial(forth.handle, AddEdge(node, node + 1))) for node in range(size - 1)]
    costs += [lines_run(partial(back.handle, AddEdge(node + 1, node))) for node in range(size - 1)]

    assert max(costs) <= 40


def test_blame_goes_once_along_each_edge() -> None:
    """A retry above forty diamonds in a row would take until the end of the world."""

    def cost(diamonds: int) -> int:
        nodes = [AddNode(()), AddNode(()), AddNode((0, 1))]
        for _ in range(diamonds):
            top = len(nodes) - 1
            nodes += [AddNode((top,)), AddNode((top,)), AddNode((top + 1, top + 2))]
        machine = started(*nodes)
        fail_node(machine, 0)
        fail_node(machine, 1)
        lines = lines_run(lambda: machine.handle(Retry((0,), False, 3.0)))
        assert set(machine.blocker.values()) == {1}
        return lines

    assert cost(40) - cost(20) == cost(20) - cost(0)


def test_a_machine_is_freed_without_the_garbage_collector() -> None:
    """Finished graphs of a long session would pile up in memory until the collector comes by."""
    gc.collect()
    gc.disable()
    try:
        others = {id(each) for each in gc.get_objects() if isinstance(each, GraphMachine)}
        machine = replay([*chain(3), Start(1.0)])
        drain(machine, [Run(0, 1)])
        del machine
        assert not [each for each in gc.get_objects() if isinstance(each, GraphMachine) and id(each) not in others]
    finally:
        gc.enable()


# --- rules, one by one ------------------------------------------------------------------------------------------


def test_an_empty_graph_completes_at_once() -> None:
    """wait() on it would never return (baseline M9)."""
    machine = GraphMachine()

    assert machine.graph_status is Status.NOT_STARTED
    assert machine.handle(Start(1.0)) == [Ended(COMPLETED)]
    assert (machine.started_at, machine.ended_at) == (1.0, 1.0)


def test_a_second_start_is_no_mistake() -> None:
    """compute() called twice would run everything twice."""
    machine = started(AddNode(()))

    assert machine.handle(Start(2.0)) == []
    assert machine.started_at == 1.0


def test_the_graph_reads_failed_from_the_first_failure_and_ends_when_all_is_done() -> None:
    """wait() would return while nodes still run, or hide a failure until the end."""
    machine = started(AddNode(()), AddNode(()), AddNode((0,)))

    commands = fail_node(machine, 0)
    during = machine.graph_status, machine.is_ended
    end = run_node(machine, 1)

    assert commands == [Changed(0, RUNNING), Changed(0, FAILED), Changed(2, PARENT_FAILED)]
    assert during == (Status.FAILED, False)
    assert end[-1] == Ended(FAILED)


def test_a_cancelled_graph_reads_cancelled_at_once_and_ends_with_the_last_function() -> None:
    """What cancel() returned for would still start, or wait() would return while functions run."""
    machine = started(AddNode(()), AddNode(()), AddNode((0,)), AddNode((2,)))
    machine.handle(Began(0, 1, 2.0, 0))

    commands = machine.handle(Cancel(None, 3.0))
    during = machine.graph_status, machine.is_ended
    late = machine.handle(Began(1, 1, 4.0, 1))
    end = machine.handle(Finished(0, 1, 5.0))

    assert commands == [Changed(1, CANCELLED), Changed(2, CANCELLED), Changed(3, PARENT_FAILED)]
    assert during == (Status.CANCELLED, False)
    assert late == []
    assert end == [Changed(0, COMPLETED), Ended(CANCELLED)]


def test_a_cancel_that_nothing_was_left_for_still_ends_the_graph_cancelled() -> None:
    """cancel() would have been obeyed and the graph read Completed all the same."""
    machine = started(AddNode(()))
    machine.handle(Began(0, 1, 2.0, 0))
    machine.handle(Cancel(None, 3.0))

    assert machine.handle(Finished(0, 1, 4.0)) == [Changed(0, COMPLETED), Ended(CANCELLED)]


def test_a_late_answer_is_on_record_and_changes_nothing() -> None:
    """A retried node would take the result of the attempt that was given up (distributed #6689)."""
    machine = started(AddNode(()))
    fail_node(machine, 0)
    machine.handle(Retry((0,), False, 3.0))
    machine.handle(Began(0, 2, 4.0, 0))

    commands = machine.handle(Finished(0, 1, 5.0))

    assert commands == []
    assert machine.status[0] == RUNNING
    assert Finished(0, 1, 5.0) in machine.story(0)


def test_what_cannot_be_stopped_is_left_alone_and_nothing_is_stopped_twice() -> None:
    """A worker would be killed under a node that nobody named."""
    machine = started(AddNode(()), AddNode(()))
    machine.handle(Began(0, 1, 2.0, 0))

    assert machine.handle(Stop((0, 1, 0), 3.0)) == [Abort(0, 1)]
    assert machine.handle(Stop((0,), 3.0)) == []
    assert machine.handle(Finished(0, 1, 4.0)) == [Changed(0, COMPLETED)]
    assert not machine.stopping


def test_an_equal_parent_twice_is_waited_for_once() -> None:
    """A node that is used in two arguments would never become ready, or run twice."""
    machine = started(AddNode(()), AddNode((0, 0)))

    assert run_node(machine, 0)[-1] == Run(1, 1)
    machine.validate()


def test_an_edge_to_a_bad_parent_blocks_at_once_and_an_edge_twice_is_one() -> None:
    """A node would wait for one that can never complete."""
    machine = replay([AddNode(()), AddNode(()), AddNode((1,)), AddNode((), CANCELLED), Cancel((0,), 1.0)])

    commands = machine.handle(AddEdge(0, 1))
    again = machine.handle(AddEdge(0, 1))
    cancelled_child = machine.handle(AddEdge(0, 3))

    assert commands == [Changed(1, PARENT_FAILED), Changed(2, PARENT_FAILED)]
    assert again == cancelled_child == []
    assert machine.blocker == {1: 0, 2: 0}
    machine.validate()


def test_a_node_below_a_bad_one_is_blocked_when_it_joins() -> None:
    """As above."""
    machine = replay([AddNode((), CANCELLED), AddNode(())])

    assert machine.handle(AddNode((1, 0))) == [Changed(2, PARENT_FAILED)]
    assert machine.blocker == {2: 0}


def test_who_is_to_blame_is_the_first_that_failed_and_then_the_next() -> None:
    """ParentFailedError would name a node that is fine, or one that was blocked itself."""
    machine = started(AddNode(()), AddNode(()), AddNode((0, 1)), AddNode((2,)))
    fail_node(machine, 1)
    fail_node(machine, 0)

    first = dict(machine.blocker)
    machine.handle(Retry((1,), False, 3.0))
    second = dict(machine.blocker)

    assert first == {2: 1, 3: 1}
    assert second == {2: 0, 3: 0}
    machine.validate()


def test_a_slot_too_high_to_tell_is_told_as_none() -> None:
    """A driver with many slots would get an OverflowError in the middle of a step."""
    machine = started(*[AddNode(())] * 3)
    for node, slot in enumerate((0xFFFE, 0xFFFF, 0x10000)):
        machine.handle(Began(node, 1, 2.0, slot))

    assert list(machine.slot) == [0xFFFE, NO_SLOT, NO_SLOT]


def test_an_attempt_that_was_replaced_is_kept_with_its_times() -> None:
    """The history of a node's attempts would have holes."""
    machine = started(AddNode(()))
    machine.handle(Began(0, 1, 2.0, 3))
    machine.handle(Lost(0, 1, 4.0))
    machine.handle(Retry((0,), False, 5.0))

    assert [tuple(kept) for kept in machine.past[0]] == [(2, 1, FAILED, 3, 2.0, 4.0)]
    assert machine.revision == 3


def interrupt_at(line: int, action: Callable[[], object]) -> bool:
    """Whether an interrupt came before a line of the core was run, so many lines in."""
    left = line

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal left
        if "/tiledag_widget/core/" not in frame.f_code.co_filename:
            return None
        left -= event == "line"
        if not left and event == "line":
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("status", [NOT_STARTED, CANCELLED])
@pytest.mark.parametrize("parents", [(), (0,), (1, 0)])
def test_a_node_that_was_interrupted_as_it_joined_can_be_forgotten(parents: tuple[int, ...], status: int) -> None:
    """Ctrl-C while a graph is built would leave half a node in it."""
    log: list[Event] = [AddNode(()), AddNode((), CANCELLED), AddNode((1,)), AddEdge(0, 2)]
    joins = AddNode(parents, status)
    before, after = state_of(replay(log)), state_of(replay([*log, joins]))

    lines = 1
    machine = replay(log)
    while interrupt_at(lines, partial(machine.handle, joins)):
        machine.forget_from(3)
        assert state_of(machine) == before, f"interrupted at line {lines}"
        lines += 1

    assert state_of(machine) == after
    machine.forget_from(3)
    assert state_of(machine) == before
    assert lines > 10


# --- errors and stories ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (Finished(0, 1, 2.0), "node 0 is Not Started, attempt 1, live"),
        (Began(0, 2, 2.0, 0), "attempt 1"),
        (Aborted(0, 1, 2.0), "Not Started"),
        (Began(2, 1, 2.0, 0), "node 2 is Running, attempt 1, live"),
        (Began(7, 1, 2.0, 0), "there is no node 7; the graph has 3"),
        (Cancel((-1,), 2.0), "there is no node -1"),
        (Retry((0,), True, 2.0), "a node below is queued or runs"),
        (AddNode(()), "the graph has started"),
        (AddEdge(0, 1), "the graph has started"),
        (AddEdge(0, 9), "no edge 0 -> 9 among 3 nodes"),
    ],
)
def test_an_illegal_event_says_what_was_found_and_tells_the_story(event: Event, words: str) -> None:
    """A bug report would hold a number and no way to find out how it came to it."""
    machine = started(AddNode(()), AddNode((0,)), AddNode(()))
    machine.handle(Began(2, 1, 1.5, 0))
    before = state_of(machine)

    with pytest.raises(IllegalTransition) as raised:
        machine.handle(event)

    assert words in str(raised.value)
    if isinstance(event, (Finished, Retry)):
        assert "AddNode(parents=()" in str(raised.value)
        assert "Start(at=1.0)" in str(raised.value)
    assert state_of(machine) == before


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (AddNode((0, 5)), "parent 5 of node 2 does not exist"),
        (AddNode((), RUNNING), "cannot join with status 2"),
        (AddEdge(1, 0), "closes a cycle"),
        (AddEdge(1, 1), "closes a cycle"),
    ],
)
def test_a_graph_that_cannot_be_is_refused_as_it_is_built(event: Event, words: str) -> None:
    """A cycle behind a root hangs for ever (baseline M7)."""
    machine = replay([AddNode(()), AddNode((0,))])

    with pytest.raises(IllegalTransition, match=words):
        machine.handle(event)

    machine.validate()


def test_a_story_holds_what_names_the_node_or_the_whole_graph() -> None:
    """A bug report about one node would be the log of 10,000."""
    log: list[Event] = [
        AddNode(()),
        AddNode(()),
        AddNode((0,)),
        AddEdge(1, 2),
        Start(1.0),
        Began(0, 1, 2.0, 0),
        Began(1, 1, 2.0, 1),
        Stop((0, 1), 2.5),
        Aborted(1, 1, 3.0),
        Failed(0, 1, 3.0),
        Retry((1,), False, 4.0),
        Cancel(None, 5.0),
        Cancel((2,), 6.0),
    ]
    machine = replay(log)

    assert machine.story(1) == [log[place] for place in (1, 3, 4, 6, 7, 8, 10, 11)]
    assert machine.story(2) == [log[place] for place in (2, 3, 4, 11, 12)]
    assert replay([]).history == []


def test_a_broken_machine_does_not_validate() -> None:
    """The check that all these tests rest on could be one that never fails."""
    machine = started(AddNode(()), AddNode((0,)))
    machine.status[1] = COMPLETED

    with pytest.raises(AssertionError, match="node 1 is Completed before its parents"):
        machine.validate()


def test_a_failing_random_run_says_how_to_replay_it() -> None:
    """A red test that nobody can repeat."""
    log: list[Event] = [AddNode(()), Start(1.0)]

    assert check_log(log)
    text = how_to_replay(log, "SEED=7")
    assert text.startswith("SEED=7\n")
    assert "python -m tests.oracle - <<'LOG'" in text
    assert '["Start",1.0]' in text
