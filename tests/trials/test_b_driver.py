"""Trials B1-B3 and B9 of ``trials.md``: random graphs that fail, are retried and are cancelled; nothing gets stuck."""

from __future__ import annotations

import contextlib
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tiledag_widget import DAG, Node, Status
from tiledag_widget.core.states import Began, Cancel, Failed, Finished
from tiledag_widget.run import driver, reports
from tiledag_widget.testing import GraphPlan, LyingLock, random_graphs

from ..helpers import hostile_scheduling, replayable, seeds
from ..helpers import no_idle_threads as no_idle_threads

STUCK_S = 10.0
DONE = {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PARENT_FAILED}


class Planned(Exception):
    """A failure that the plan asks for."""


def finish(dag: DAG) -> None:
    """Wait for the end, which must come in time."""
    try:
        dag.wait(STUCK_S)
    except Planned:
        pass


def failing(plan: GraphPlan) -> Callable[[int, list[Any]], int]:
    def function(number: int, inputs: list[Any]) -> int:
        if number in plan.fails:
            raise Planned(number)
        return number + len(inputs)

    return function


def run_failing(plan: GraphPlan, **options: Any) -> float:
    """Run a plan and compare with what must come out; returns the seconds it took."""
    dag = DAG(**options)
    nodes = plan.build(dag, failing(plan))
    with replayable(plan.seed, dag):
        start = time.perf_counter()
        dag.compute()
        finish(dag)
        took = time.perf_counter() - start
        assert [node.status for node in nodes] == plan.expected()
        dag._driver.machine.validate()
    return took


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_b1_of_a_thousand_graphs_with_failures_none_is_stuck(executor: str, part: int) -> None:
    """A node that stays Running for ever: in the reference one graph in fifty."""
    count = 250 if executor == "threads" else 75
    took = [run_failing(plan, executor=executor, max_workers=4) for plan in random_graphs(seeds(count, part))]

    assert statistics.median(took) <= 0.05


@pytest.mark.slow
def test_b1_in_processes_none_is_stuck() -> None:
    """A failure that is lost between two processes would leave its node running."""
    took = [run_failing(plan, executor="processes", max_workers=2) for plan in random_graphs(seeds(200), most_nodes=12)]

    assert statistics.median(took) <= 0.5


def run_retries(plan: GraphPlan, *, patient: bool, **options: Any) -> None:
    """Failing nodes succeed at the second or third try; retry until all is done."""
    source = random.Random(plan.seed)
    left = {number: source.randint(1, 2) for number in plan.fails}
    runs = [0] * len(plan)

    def function(number: int, inputs: list[Any]) -> int:
        runs[number] += 1
        if left.get(number, 0) > 0:
            left[number] -= 1
            raise Planned(number)
        return number

    dag = DAG(**options)
    nodes = plan.build(dag, function)
    with replayable(plan.seed, dag):
        dag.compute()
        end = time.monotonic() + STUCK_S
        while dag.status is not Status.COMPLETED:
            assert time.monotonic() < end, "retries did not lead to an end"
            if patient:
                finish(dag)
            if source.random() < 0.5:
                dag.retry_all()
            else:
                for node in dag.failed_nodes.values():
                    node.retry()
            if not patient:
                time.sleep(0.0001)
        finish(dag)
        assert {node.status for node in nodes} == {Status.COMPLETED}
        tries = random.Random(plan.seed)
        wanted = {number: 1 + tries.randint(1, 2) for number in plan.fails}
        assert runs == [wanted.get(number, 1) for number in range(len(plan))], "a function ran too often"
        dag._driver.machine.validate()


@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize("patience", ["hasty", "patient"])
def test_b2_of_five_hundred_retry_loops_each_ends_completed(patience: str, part: int) -> None:
    """A retry that gets lost: in the reference one loop in nine never completes."""
    for plan in random_graphs(seeds(125, part), failing=0.3):
        run_retries(plan, patient=patience == "patient", max_workers=4)


def run_cancels(plan: GraphPlan, **options: Any) -> None:
    """Cancel at a random moment, retry at another, cancel again: nothing not yet started may start.

    A function's own record of its start may be later than `cancel`'s return although its node was Running before: the
    thread was paused between the two. So what counts is: whoever starts after `cancel` returned was Running by then.
    """
    source = random.Random(plan.seed)
    pauses = [source.choice((0.0, 0.0, 0.0002, 0.001)) for _ in range(len(plan))]
    started: list[tuple[int, float]] = []

    def function(number: int, inputs: list[Any]) -> int:
        started.append((number, time.perf_counter()))
        time.sleep(pauses[number])
        if number in plan.fails:
            raise Planned(number)
        return number

    dag = DAG(**options)
    nodes = plan.build(dag, function)
    with replayable(plan.seed, dag):
        dag.compute()
        for _ in range(source.randint(1, 3)):
            time.sleep(source.choice((0.0, 0.0003, 0.001, 0.002)))
            dag.cancel()
            returned = time.perf_counter()
            running = running_at_last_cancel(dag)
            assert not [node for node in nodes if node.status is Status.NOT_STARTED]
            if source.random() < 0.5:
                finish(dag)
            else:
                time.sleep(source.choice((0.0, 0.0005)))
            late = {number for number, at in started if at > returned}
            assert late <= running, f"nodes {late - running} started after cancel() had returned"
            retry = source.random()
            if retry < 0.4:
                dag.retry_all()
            elif retry < 0.8:
                for node in source.sample(nodes, len(nodes) // 2):
                    node.retry()
        dag.cancel()
        finish(dag)
        assert {node.status for node in nodes} <= DONE
        assert not dag.running_nodes
        dag._driver.machine.validate()


def running_at_last_cancel(dag: DAG) -> set[int]:
    """Which nodes were Running when the graph was last cancelled, as its history tells."""
    with dag._driver.lock:
        events = list(dag._driver.machine.history)
    running: set[int] = set()
    then: set[int] = set()
    for event in events:
        if isinstance(event, Began):
            running.add(event.node)
        elif isinstance(event, (Finished, Failed)):
            running.discard(event.node)
        elif isinstance(event, Cancel) and event.nodes is None:
            then = set(running)
    return then


@pytest.mark.parametrize("part", range(4))
def test_b3_of_a_thousand_cancels_none_hangs_and_nothing_starts_afterwards(part: int) -> None:
    """Queued work goes on after a cancel: in the reference all of it does."""
    for plan in random_graphs(seeds(250, part)):
        run_cancels(plan, max_workers=3)


@pytest.mark.slow
def test_b3_in_processes() -> None:
    """A function handed to a worker process after the cancel would run for nothing."""
    for plan in random_graphs(seeds(60), most_nodes=12):
        run_cancels_in_processes(plan)


def run_cancels_in_processes(plan: GraphPlan) -> None:
    source = random.Random(plan.seed)
    dag = DAG(use_processes=True, max_workers=2)
    nodes = plan.build(dag, _in_process)
    with replayable(plan.seed, dag):
        dag.compute()
        for _ in range(2):
            time.sleep(source.choice((0.0, 0.002, 0.01)))
            dag.cancel()
            running = running_at_last_cancel(dag)
            before = [node.status for node in nodes]
            finish(dag)
            changed = {number for number, node in enumerate(nodes) if node.status is not before[number]}
            assert changed <= running, f"nodes {changed - running} went on after cancel() had returned"
            dag.retry_all()
        dag.cancel()
        finish(dag)
        assert {node.status for node in nodes} <= DONE


def _in_process(number: int, inputs: list[Any]) -> int:
    time.sleep(0.001)
    return number


# --- for `make night`: one graph a seed ------------------------------------------------------------------------


@contextlib.contextmanager
def failures(_: Path) -> Iterator[Callable[[int], None]]:
    """B1."""

    def one(seed: int) -> None:
        for plan in random_graphs([seed]):
            run_failing(plan, executor="threads", max_workers=4)
            run_failing(plan, executor="inline")

    yield one


@contextlib.contextmanager
def retries(_: Path) -> Iterator[Callable[[int], None]]:
    """B2."""

    def one(seed: int) -> None:
        for plan in random_graphs([seed], failing=0.3):
            run_retries(plan, patient=False, max_workers=4)
            run_retries(plan, patient=True, max_workers=4)

    yield one


@contextlib.contextmanager
def cancels(_: Path) -> Iterator[Callable[[int], None]]:
    """B3."""

    def one(seed: int) -> None:
        for plan in random_graphs([seed]):
            run_cancels(plan, max_workers=3)

    yield one


# --- B9: the same under hostile scheduling --------------------------------------------------------------------


@pytest.fixture
def lying_locks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every lock of a driver lets others in before it is taken and after it is released."""
    made = iter(range(10**9))
    shim = SimpleNamespace(**vars(threading))
    shim.Lock = lambda: LyingLock(seed=next(made))
    for module in (driver, reports):
        monkeypatch.setattr(module, "threading", shim)
    with hostile_scheduling():
        yield


@pytest.mark.parametrize("kind", ["failures", "retries", "cancels"])
def test_b9_the_same_holds_when_threads_change_at_every_turn(kind: str, lying_locks: None) -> None:
    """Races that a quiet machine shows once in a million runs."""
    for plan in random_graphs(seeds(25), failing=0.25):
        if kind == "failures":
            run_failing(plan, max_workers=4)
        elif kind == "retries":
            run_retries(plan, patient=plan.seed % 2 == 0, max_workers=4)
        else:
            run_cancels(plan, max_workers=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["failures", "retries", "cancels"])
def test_b9_long(kind: str, lying_locks: None) -> None:
    """The same, longer."""
    for plan in random_graphs(seeds(300), failing=0.25):
        if kind == "failures":
            run_failing(plan, max_workers=4)
        elif kind == "retries":
            run_retries(plan, patient=plan.seed % 2 == 0, max_workers=4)
        else:
            run_cancels(plan, max_workers=4)


def test_many_threads_cancel_retry_and_wait_at_once_and_the_graph_ends() -> None:
    """Two people with two views of one graph would freeze it."""
    for plan in random_graphs(seeds(20), failing=0.3):
        dag = DAG(max_workers=3)
        nodes: list[Node[Any]] = plan.build(dag, failing(plan))
        stop = threading.Event()

        def meddle(salt: int, plan: GraphPlan = plan, dag: DAG = dag, nodes: Any = nodes, stop: Any = stop) -> None:
            source = random.Random(f"{plan.seed} {salt}")
            while not stop.is_set():
                what = source.randrange(5)
                node = source.choice(nodes)
                if what == 0:
                    node.retry()
                elif what == 1:
                    node.cancel()
                elif what == 2:
                    dag.retry_all()
                elif what == 3:
                    try:
                        dag.wait(0.001)
                    except (Planned, TimeoutError):
                        pass
                else:
                    try:
                        node.retry(descendants=True)
                    except RuntimeError:
                        pass  # something below runs

        with replayable(plan.seed, dag):
            threads = [threading.Thread(target=meddle, args=(salt,)) for salt in range(3)]
            dag.compute()
            for thread in threads:
                thread.start()
            time.sleep(0.01)
            stop.set()
            for thread in threads:
                thread.join(STUCK_S)
                assert not thread.is_alive()
            finish(dag)
            assert {node.status for node in nodes} <= DONE
            dag._driver.machine.validate()
