"""Lanes are held back while functions return at once, and opened as soon as one does not."""

from __future__ import annotations

import threading

import pytest

from tiledag_widget import DAG
from tiledag_widget.run.pacer import Pacer

from ..helpers import no_idle_threads as no_idle_threads


def test_functions_that_return_at_once_share_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand small nodes cost what one thread needs for them, not what several need to hand locks around."""
    monkeypatch.setattr("tiledag_widget.run.lanes.QUICK_S", 60.0)
    monkeypatch.setattr("tiledag_widget.run.lanes.pacer.watch", lambda driver: None)
    seen: set[int] = set()
    dag = DAG(max_workers=8)
    for _ in range(300):
        dag.submit_local(lambda: seen.add(threading.get_ident()))

    dag.compute()
    dag.wait()

    assert len(seen) == 1


def test_functions_that_wait_for_each_other_all_run_at_once() -> None:
    """A graph whose nodes need each other at the same time must not hang on a lane that was held back."""
    barrier = threading.Barrier(8)
    dag = DAG(max_workers=8)
    nodes = [dag.submit_local(barrier.wait, 20) for _ in range(8)]

    dag.compute()
    dag.wait(25)

    assert sorted(node.result() for node in nodes) == list(range(8))


def test_a_function_that_was_quick_so_far_may_wait_too() -> None:
    """What was learnt from a hundred quick calls is dropped by the first slow one."""
    barrier = threading.Barrier(4)
    dag = DAG(max_workers=4)
    quick = [dag.submit_local(lambda: None) for _ in range(100)]
    late = [dag.submit_local(lambda *_: barrier.wait(20), *quick[-3:]) for _ in range(4)]

    dag.compute()
    dag.wait(25)

    assert sorted(node.result() for node in late) == list(range(4))


def test_without_a_thread_for_the_pacer_a_lane_is_opened_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives no more threads slows a graph down and does not stop it."""
    opened: list[int] = []

    class Driver:
        def pulse(self) -> int | None:
            return 1

        def open_lanes(self, count: int) -> None:
            opened.append(count)

    def refuse(job: object, name: str) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("tiledag_widget.run.pacer.threads.start", refuse)

    Pacer().watch(Driver())

    assert opened == [1]
