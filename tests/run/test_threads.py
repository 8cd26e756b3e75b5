"""`run.threads`: idle threads are used again, end by themselves, and no job is lost between the two."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tiledag_widget import DAG
from tiledag_widget.run import lanes
from tiledag_widget.run import threads as threads_module
from tiledag_widget.run.threads import ThreadCache

from ..helpers import Gate, wait_until
from ..helpers import no_idle_threads as no_idle_threads


@pytest.fixture
def cache() -> Any:
    cache = ThreadCache()
    yield cache
    wait_until(lambda: not cache.statistics()["busy"])
    cache.end_idle()


def test_a_job_runs_on_a_thread_of_its_name_and_the_next_one_on_the_same(cache: ThreadCache) -> None:
    """Each node would cost the start of a thread; and a stack dump would not say whose thread it is."""
    seen: list[tuple[int, str]] = []

    for name in ("one", "two"):
        cache.start(lambda: seen.append((threading.get_ident(), threading.current_thread().name)), name)
        wait_until(lambda: cache.statistics() == {"idle": 1, "busy": 0})

    assert [name for _, name in seen] == ["one", "two"]
    assert seen[0][0] == seen[1][0]


def test_idle_threads_end_by_themselves(cache: ThreadCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that ran a wide graph once would keep its threads for ever."""
    monkeypatch.setattr(threads_module, "IDLE_S", 0.01)
    done: list[threading.Thread] = []

    cache.start(lambda: done.append(threading.current_thread()), "one")
    wait_until(lambda: bool(done))
    done[0].join(5)

    assert not done[0].is_alive()
    assert cache.statistics() == {"idle": 0, "busy": 0}


def test_ending_idle_threads_leaves_those_that_work(cache: ThreadCache) -> None:
    """`shutdown()` would wait for, or break, a node that runs."""
    gate = Gate()
    names: list[str] = []
    cache.start(lambda: names.append(gate.pass_through()), "busy")
    gate.wait_until_inside()
    cache.start(lambda: names.append("idle"), "idle")
    wait_until(lambda: cache.statistics()["idle"] == 1)

    cache.end_idle()
    cache.end_idle()

    assert cache.statistics() == {"idle": 0, "busy": 1}
    gate.open()


def test_a_job_given_to_a_thread_whose_time_is_over_runs_all_the_same(
    cache: ThreadCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane would never open, and its graph hang.

    1. the idle time is over; 2. somebody takes the thread from the idle ones; 3. it hands over a job; 4. only now the
    thread tries to take itself from the idle ones, and cannot.
    """
    ran = threading.Event()
    tries: list[bool] = []
    remove = ThreadCache.remove

    def late_remove(self: ThreadCache, thread: Any) -> bool:
        if not tries:
            tries.append(True)
            self.start(ran.set, "late")  # steps 2 and 3, before step 4
        return remove(self, thread)

    monkeypatch.setattr(ThreadCache, "remove", late_remove)
    monkeypatch.setattr(threads_module, "IDLE_S", 0.01)

    cache.start(lambda: None, "first")

    assert ran.wait(5)
    assert tries


def test_a_job_that_raises_is_logged_and_its_thread_goes_on(
    cache: ThreadCache, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug of ours would vanish."""

    def broken() -> None:
        raise SystemExit("our bug")

    cache.start(broken, "broken")
    wait_until(lambda: cache.statistics() == {"idle": 1, "busy": 0})

    assert "a thread of tiledag_widget failed" in caplog.text


class Miser:
    """A cache that gives so many threads and no more."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked = 0
        self.cache = ThreadCache()

    def start(self, job: Any, name: str) -> None:
        self.asked += 1
        if self.limit <= 0:
            raise RuntimeError("can't start new thread")
        self.limit -= 1
        self.cache.start(job, name)


@pytest.fixture
def miser(monkeypatch: pytest.MonkeyPatch) -> Any:
    miser = Miser(1)
    monkeypatch.setattr(lanes, "threads", miser)
    yield miser
    wait_until(lambda: not miser.cache.statistics()["busy"])
    miser.cache.end_idle()


def test_where_the_system_gives_one_thread_the_graph_still_ends(miser: Miser) -> None:
    """On a small machine, or under a limit, the graph would hang or try in a loop."""
    gate = Gate()
    dag = DAG(max_workers=8)
    first = dag.submit_local(gate.pass_through)
    nodes = [dag.submit_local(int, number) for number in range(20)]
    dag.compute()
    gate.wait_until_inside()

    asked = miser.asked
    gate.open()
    dag.wait(10)

    assert asked < 10
    assert first.result() == "passed"
    assert [node.result() for node in nodes] == list(range(20))


def test_where_the_system_gives_no_thread_the_nodes_fail_and_the_graph_ends(
    miser: Miser, caplog: pytest.LogCaptureFixture
) -> None:
    """The graph would hang without a word."""
    miser.limit = 0
    dag = DAG()
    node = dag.submit_local(int, 1)
    child = dag.submit_local(int, node)
    told: list[DAG] = []
    dag.add_done_callback(told.append)

    dag.compute()

    with pytest.raises(RuntimeError, match="can't start new thread"):
        dag.wait(10)
    assert child.done()
    assert told == [dag]
    assert "no thread for the nodes" in caplog.text
