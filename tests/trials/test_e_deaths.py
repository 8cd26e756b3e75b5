"""Trials E1 and E2 of ``trials.md``: a graph on a dask cluster whose workers die all the time, or never.

Each node adds up what the nodes above it gave, holds a lock of its own while it runs, and leaves a mark each time. In
E1 nodes end their own process (by exit, by a signal, by a bad address) and dask workers are killed and replaced. In E2
nobody dies.

Of every run: it ends, Completed or Failed with a reason; what is Completed has the right result; a node never runs at
two places at once, and not more often than its record says. Where nobody died, each ran exactly once.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.batching import BatchBody, BatchNode, submit
from tests.server.dask_cluster import Cluster, cluster
from tests.server.running import Server, running_server
from tiledag_widget.testing import random_graphs

pytestmark = pytest.mark.slow

NODES = 1000
ENDS_S = 120.0
MEAN_LIFE_S = 4.0
WORKERS = 4
RETRIES = 3
STEALING = {"DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING": "True"}


def work_of(folder: str, deadly: float) -> Callable[..., int]:
    """What nodes do. By value: a worker needs no module of ours."""

    def work(number: int, *above: int) -> int:
        import ctypes
        import fcntl
        import os
        import random
        import signal
        import time
        import uuid

        with open(os.path.join(folder, f"lock-{number}"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with open(os.path.join(folder, f"twice-{number}-{uuid.uuid4().hex}"), "w"):
                    pass
            with open(os.path.join(folder, f"ran-{number}-{uuid.uuid4().hex}"), "w"):
                pass
            time.sleep(random.random() * 0.01)
            way = random.choice(["exit", "kill", "segfault"]) if random.random() < deadly else ""
            if way == "exit":
                os._exit(3)
            elif way == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif way == "segfault":
                ctypes.string_at(0)
            return number + sum(above) % 1000

    return work


def graph(seed: int, size: int, folder: Path, deadly: float) -> tuple[BatchBody, list[int]]:
    """A random graph as a body, and what its nodes come to."""
    parents: list[list[int]] = []
    draw = random.Random(seed)
    while len(parents) < size:  # random graphs side by side, the first nodes of each hung below earlier ones
        (plan,) = random_graphs([draw.randrange(1 << 30)], most_nodes=40)
        first = len(parents)
        parents += [[first + one for one in own] for own in plan.parents]
        if first and not parents[first]:
            parents[first] = [draw.randrange(first)]
    del parents[size:]
    options = {"retry_strategy": {"limit": RETRIES, "retryPolicy": "Always"}} if deadly else {}
    body = BatchBody(f"deaths {seed}", options=options)
    work = work_of(str(folder), deadly)
    sums: list[int] = []
    for number, own in enumerate(parents):
        body.udf(work, number, *(body.nodes[one] for one in own), name=str(number))
        sums.append(number + sum(sums[one] for one in own) % 1000)
    return body, sums


@contextlib.contextmanager
def dying(dask: Cluster, mean_life: float, seed: int) -> Iterator[list[int]]:
    """Kills workers of a cluster and puts new ones in their places; gives the ids of the dead."""
    draw = random.Random(seed)
    dead: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not over.wait(draw.expovariate(WORKERS / mean_life)):
            alive = [one for one in dask.workers if one.poll() is None]
            if alive:
                one = draw.choice(alive)
                one.send_signal(signal.SIGKILL)
                one.wait()
                dead.append(one.pid)
                dask.workers.remove(one)
                dask.start_worker()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield dead
    finally:
        over.set()
        killer.join()


def run_of(server: Server, body: BatchBody, sums: list[int], marks: Path, *, is_deadly: bool) -> Counter[str]:
    """One run, to its end, and what must be so of it; how its nodes ended."""
    run = submit(server, body)
    began = time.monotonic()
    events = 0
    while True:  # not the log: it is long, and there are many looks
        page = server.ask("GET", f"/tiledag/v1/runs/{run.log}/events?after={events}&wait=5").json()
        events = page["last"]
        if page["done"]:
            break
        if time.monotonic() - began > ENDS_S:
            left = Counter(one["status"] for one in run.look()["nodes"])
            raise AssertionError(f"it has not ended after {ENDS_S:g} s: {page['status']}, {left}")
    log = run.look()
    names = os.listdir(marks)
    ran = Counter(name.split("-")[1] for name in names if name.startswith("ran-"))
    twice = [name for name in names if name.startswith("twice-")]
    assert not twice, f"nodes that ran at two places at once: {twice}"
    ends = Counter(one["status"] for one in log["nodes"])
    by_id = {node.id: node for node in body.nodes}
    for one in log["nodes"]:
        name, tried = one["name"], len(one["executions"])
        assert ran[name] <= tried, f"node {name} ran {ran[name]} times, and {tried} are on record"
        if one["status"] == "FAILED":
            assert said(server, one["executions"][-1]["id"]), f"node {name} has failed, and nobody says why"
        if not is_deadly:
            assert (ran[name], tried) == (1, 1), f"node {name} ran {ran[name]} times, and {tried} are on record"
        if one["status"] == "COMPLETED":
            assert ran[name], f"node {name} is Completed and never ran"
            check_result(server, one, by_id[one["client_node_uuid"]], sums)
    assert log["status"] in (("succeeded", "failed") if is_deadly else ("succeeded",)), (log["status"], ends)
    assert (log["status"] == "succeeded") == (set(ends) == {"COMPLETED"})
    return ends


def check_result(server: Server, told: dict[str, Any], node: BatchNode, sums: list[int]) -> None:
    answer = server.ask("GET", f"/v1/task/{told['executions'][-1]['id']}/result")
    assert answer.status == 200, (told["name"], answer.status, answer.body)
    assert answer.value() == sums[int(node.body["name"])], f"a wrong result of node {node.body['name']}"


def said(server: Server, task: str) -> str:
    return str(server.ask("GET", f"/v1/task/{task}").json().get("status_message") or "")


@contextlib.contextmanager
def cluster_of(folder: Path, workers: int) -> Iterator[tuple[Cluster, Server]]:
    for needed in ("distributed", "cryptography", "uvicorn", "duckdb", "psutil"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install 'tiledag-widget[server,dask]'")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in STEALING.items():
            patch.setenv(name, value)
        with (
            cluster(folder / "dask", workers) as dask,
            running_server(folder / "data", "--scheduler", dask.address, "--wait-for-workers", "60") as server,
        ):
            yield dask, server


def with_deaths(folder: Path, seed: int, size: int, mean_life: float) -> None:
    """E1, one graph; most of it must get through, or the trial proves little."""
    with cluster_of(folder, WORKERS) as (dask, server):
        marks = folder / "marks"
        marks.mkdir()
        body, sums = graph(seed, size, marks, deadly=0.01)
        with dying(dask, mean_life, seed) as dead:
            ends = run_of(server, body, sums, marks, is_deadly=True)
        assert ends["COMPLETED"], (ends, dead)
        again = BatchBody("after")
        node = again.udf(sum, [1, 2])
        run = submit(server, again)
        assert (run.wait(60)["status"], run.result(node)) == ("succeeded", 3)


@contextlib.contextmanager
def deaths(folder: Path) -> Iterator[Callable[[int], None]]:
    """E1 for ``make night``."""
    yield lambda seed: with_deaths(folder / str(seed), seed, NODES, MEAN_LIFE_S)


@contextlib.contextmanager
def lives(folder: Path) -> Iterator[Callable[[int], None]]:
    """E2 for ``make night``: one cluster for all seeds."""
    with cluster_of(folder, 2) as (_, server):

        def one(seed: int) -> None:
            marks = folder / f"marks {seed}"
            marks.mkdir()
            body, sums = graph(seed, NODES, marks, deadly=0)
            run_of(server, body, sums, marks, is_deadly=False)

        yield one


@pytest.mark.timeout(240)
def test_e1_a_graph_on_workers_that_die_ends_with_the_right_results(tmp_path: Path) -> None:
    """Preempted machines are the rule on a cluster: work would be lost, done twice at once, or waited for for ever."""
    with_deaths(tmp_path, 1, 150, 30.0)  # a dask worker that is replaced costs seconds on two cores


@pytest.mark.timeout(240)
def test_e2_where_nobody_dies_every_node_runs_exactly_once(tmp_path: Path) -> None:
    """Work stealing and lost replies would send a mail twice."""
    with cluster_of(tmp_path, 2) as (_, server):
        marks = tmp_path / "marks"
        marks.mkdir()
        body, sums = graph(2, 300, marks, deadly=0)
        run_of(server, body, sums, marks, is_deadly=False)
