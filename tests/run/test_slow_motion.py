"""Slow motion: nodes wait before they start, and nothing else changes."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from tiledag_widget import DAG, Mode, Status

LONG = 30.0


def fan(count: int, **options: Any) -> DAG:
    dag = DAG(record=False, max_workers=4, **options)
    for _ in range(count):
        dag.submit_local(int)
    return dag


def waits(dag: DAG) -> list[float]:
    """Between being ready and the start, of each node."""
    machine = dag._driver.machine
    ready = [max((machine.ended[up] for up in ups), default=machine.started_at) for ups in machine.graph.parents]
    return [began - since for began, since in zip(machine.started, ready, strict=True)]


@pytest.mark.parametrize("executor", [None, "inline"])
def test_each_node_of_a_chain_waits_its_time(executor: str | None) -> None:
    """A scheduler that is too quick to be watched explains nothing."""
    dag = DAG(record=False, max_workers=3, executor=executor)
    node = dag.submit_local(int)
    for _ in range(2):
        node = dag.submit_local(int, node)
    dag.slow_motion = 0.03

    dag.compute()
    dag.wait(10)

    assert min(waits(dag)) >= 0.03


def test_all_workers_are_used() -> None:
    """A fan of eight on four workers takes two turns; one worker after the other would hide what workers are for."""
    dag = fan(8)
    dag.slow_motion = 0.05

    dag.compute()
    dag.wait(10)

    slots = list(dag._driver.machine.slot)
    assert {slot: slots.count(slot) for slot in set(slots)} == {0: 2, 1: 2, 2: 2, 3: 2}


def test_a_cancel_ends_it_at_once_and_leaves_no_thread() -> None:
    """Whoever cancels would wait for a delay that nobody needs any more."""
    dag = fan(8)
    dag.slow_motion = LONG
    dag.compute()

    began = time.monotonic()
    dag.cancel()
    dag.wait(5)

    assert dag.status is Status.CANCELLED
    end = time.monotonic() + 3
    while dag._driver.statistics()["lanes"] and time.monotonic() < end:
        time.sleep(0.005)
    assert dag._driver.statistics()["lanes"] == 0
    assert time.monotonic() - began < LONG / 2


def test_it_can_be_changed_while_nodes_wait() -> None:
    """The switch would act on the next node only, and that after half a minute."""
    dag = fan(6)
    dag.slow_motion = LONG
    dag.compute()
    assert dag.slow_motion == LONG

    dag.slow_motion = 0
    dag.wait(5)

    assert dag.status is Status.COMPLETED


def test_a_node_that_waits_can_be_cancelled_alone() -> None:
    """The others go on, and their turn comes."""
    dag = fan(1)
    other = dag.submit_local(int)
    dag.slow_motion = LONG
    dag.compute()

    other.cancel()
    dag.slow_motion = 0.01
    dag.wait(5)

    assert other.status is Status.CANCELLED
    assert [node.status for node in dag.nodes.values()].count(Status.COMPLETED) == 1


def test_a_pool_of_ones_own_is_slowed_too() -> None:
    """Lanes that hand over nodes would start them all at once."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        dag = DAG(record=False, executor=pool)
        dag.submit_local(int, dag.submit_local(int))
        dag.slow_motion = 0.02
        dag.compute()
        dag.wait(10)

    assert min(waits(dag)) >= 0.02


def test_an_interrupt_ends_the_wait_of_an_inline_graph_and_it_goes_on_later() -> None:
    """Ctrl-C in a cell would hang for the rest of the delay, or lose the node that waited."""
    dag = fan(2, executor="inline")
    dag.slow_motion = LONG
    timer = threading.Timer(0.05, _interrupt)
    timer.start()

    with pytest.raises(KeyboardInterrupt):
        dag.compute()
    timer.join()
    dag.slow_motion = 0
    dag.wait(5)

    assert dag.status is Status.COMPLETED


def _interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_views_are_told_when_it_changes() -> None:
    """The switch in one view would say *Off* while another one has slowed the graph down."""
    dag = fan(1)
    told: list[float] = []
    end = dag._driver.subscribe(lambda: told.append(dag._driver.run().pace))

    dag.slow_motion = 0.5
    dag.slow_motion = 0

    end()
    assert told == [0.5, 0.0]


@pytest.mark.parametrize(("value", "error"), [("1", TypeError), (True, TypeError), (-1, ValueError), (61, ValueError)])
def test_what_is_no_time_is_refused_in_words(value: Any, error: type[Exception]) -> None:
    """A graph that stands still for an hour because of a typing error."""
    dag = DAG(record=False)

    with pytest.raises(error, match="slow_motion"):
        dag.slow_motion = value
    assert dag.slow_motion == 0


def test_a_graph_that_the_server_runs_says_that_it_cannot() -> None:
    """A switch that does nothing."""
    dag = DAG(mode=Mode.BATCH)

    with pytest.raises(RuntimeError, match="slow motion is for graphs that run here"):
        dag.slow_motion = 1
    assert dag.slow_motion != dag.slow_motion  # NaN
