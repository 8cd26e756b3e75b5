"""Trials E4 and E6 of ``trials.md``: a cluster in trouble, a node that holds the interpreter, a worker killed at birth.

E4: the dask scheduler dies in the middle of a run, was never there, has no workers, has workers of another Python. The
run ends with the reason in at most 30 s, the server stays up, and the next run works once there is a cluster again.

E6: a node that holds the interpreter's lock for long gives no sign of life, and must not be taken for dead; a worker
process that is killed before its first sign of life must not be waited for.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.batching import BatchBody, BatchNode, BatchRun, submit
from tests.server.dask_cluster import Cluster, cluster, free_port
from tests.server.running import Server, running_server, wait_until

pytestmark = pytest.mark.slow

REASON_S = 30.0
NOTICED_S = 15.0
AGAIN_S = 6.0
"""A scheduler that could not be reached is not asked again at once."""
WORKS_S = 90.0
KINDS = ["never there", "no worker", "another python", "dies"]
ANOTHER_PYTHON = """
import types
from tiledag_widget.server import dask_worker
dask_worker.sys = types.SimpleNamespace(version_info=(3, 1))
"""


def need_dask() -> None:
    for needed in ("distributed", "cryptography"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install 'tiledag-widget[dask]'")


# --- E4 -----------------------------------------------------------------------------------------------------


def trouble(kind: str, seed: int, folder: Path) -> None:
    """One kind of trouble, its reason, and a run that works after it."""
    draw = random.Random(seed)
    folder.mkdir()
    port = free_port()
    with running_server(folder / "data", "--scheduler", f"tcp://127.0.0.1:{port}") as server:
        with contextlib.ExitStack() as stack:
            if kind != "never there":
                one = stack.enter_context(cluster(folder / "dask", 0, port=port))
                if kind == "dies":
                    for _ in range(draw.randint(1, 2)):
                        one.start_worker()
                    works(server, draw)
                elif kind == "another python":
                    (folder / "another.py").write_text(ANOTHER_PYTHON)
                    one.start_worker("--preload", str(folder / "another.py"))
            body = BatchBody(kind)
            first = body.udf(sleeps, 60 if kind == "dies" else 0, name="first")
            others = [body.udf(sleeps, 60, name=f"other {number}") for number in range(draw.randint(0, 3))]
            body.udf(sum, [], after=(first, *others), name="below")
            run = submit(server, body)
            moment = time.monotonic()
            if kind == "dies":
                run.wait_for(lambda log: "RUNNING" in run.statuses(log).values(), WORKS_S)
                time.sleep(draw.random())
                assert one.scheduler is not None
                one.scheduler.kill()
                moment = time.monotonic()
            log = run.wait(moment + REASON_S - time.monotonic())
            assert log["status"] == "failed"
            statuses = run.statuses(log)
            assert statuses["first"] == "FAILED", statuses
            assert statuses["below"] == "QUEUED", statuses  # the wire has no word for one whose parent failed
            assert any(words in reason(run, first) for words in WORDS[kind]), reason(run, first)
        assert server.process is not None
        assert server.process.poll() is None
        time.sleep(AGAIN_S)
        with cluster(folder / "dask", 1, port=port):
            works(server, draw)


WORDS = {
    "never there": ["cannot be reached"],
    "no worker": ["has no workers"],
    "another python": ["functions travel between equal ones"],
    "dies": ["dask scheduler", "dask worker"],
}


def sleeps(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


def adds(left: int, right: int) -> int:
    return left + right


def works(server: Server, draw: random.Random) -> None:
    """A small graph, to its right end."""
    left, right = draw.randrange(1000), draw.randrange(1000)
    body = BatchBody("works")
    one = body.udf(adds, left, 0)
    both = body.udf(adds, one, right)
    run = submit(server, body)
    log = run.wait(WORKS_S)
    assert log["status"] == "succeeded", [reason(run, each) for each in body.nodes]
    assert run.result(both) == left + right


def reason(run: BatchRun, node: BatchNode) -> str:
    """What the record of a node's last attempt says of its end."""
    found = next(each for each in run.look()["nodes"] if each["client_node_uuid"] == node.id)
    if not found["executions"]:
        return f"{node.body['name']} is {found['status']}"
    answer = run.server.ask("GET", f"/v1/task/{found['executions'][-1]['id']}")
    assert answer.status == 200, answer.body
    return str(answer.json().get("status_message"))


@contextlib.contextmanager
def troubles(folder: Path) -> Iterator[Callable[[int], None]]:
    """E4 for ``make night``: the kinds in turn."""
    need_dask()
    yield lambda seed: trouble(KINDS[seed % len(KINDS)], seed, folder / str(seed))


@pytest.mark.parametrize("seed", range(len(KINDS)), ids=KINDS)
def test_e4_a_cluster_in_trouble_ends_the_run_with_the_reason_and_the_next_one_works(seed: int, tmp_path: Path) -> None:
    """A run would wait for ever, or the server would have to be started anew."""
    with troubles(tmp_path) as one:
        one(seed)


def test_e4_a_scheduler_that_has_no_workers_and_then_dies_ends_each_run_with_the_reason(tmp_path: Path) -> None:
    """The client of dask is closed under tasks that it has; the runs after that would wait for ever."""
    need_dask()
    port = free_port()
    with running_server(tmp_path / "data", "--scheduler", f"tcp://127.0.0.1:{port}") as server:
        with cluster(tmp_path / "dask", 0, port=port) as alone:
            assert fails(server) == "has no workers"
            assert alone.scheduler is not None
            alone.scheduler.kill()
            assert fails(server) in ENDS[1:]
        assert fails(server) in ENDS[1:]
        time.sleep(AGAIN_S)
        with cluster(tmp_path / "dask", 1, port=port):
            works(server, random.Random(0))


ENDS = ("has no workers", "does not answer", "lost the task", "cannot be reached")


def fails(server: Server) -> str:
    """What a run of one node says of its end, which must come."""
    body = BatchBody("fails")
    node = body.udf(sleeps, 0)
    run = submit(server, body)
    assert run.wait(REASON_S)["status"] == "failed"
    told = reason(run, node)
    return next((words for words in ENDS if words in told), told)


# --- E6 -----------------------------------------------------------------------------------------------------


def holds(seconds: float) -> float:
    """Sleeps in C with the interpreter's lock held: no other thread of the process runs; the seconds it took."""
    import ctypes
    import time

    began = time.monotonic()
    ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return time.monotonic() - began


@contextlib.contextmanager
def engine(kind: str, folder: Path) -> Iterator[tuple[Server, Callable[[], list[int]]]]:
    """A server with its workers here or on dask; and the ids of the worker processes."""
    import psutil

    folder.mkdir()
    with contextlib.ExitStack() as stack:
        options: tuple[str, ...] = ("--workers", "2")
        dask: Cluster | None = None
        if kind == "dask":
            need_dask()
            dask = stack.enter_context(cluster(folder / "dask", 1))
            options += ("--scheduler", dask.address)
        server = stack.enter_context(running_server(folder / "data", *options))
        parent = psutil.Process(dask.workers[0].pid if dask else server.pid)

        def workers() -> list[int]:
            return [child.pid for child in parent.children() if not is_gone(child)]

        yield server, workers


def is_gone(process: Any) -> bool:
    import psutil

    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def silence(kind: str, seconds: float, folder: Path) -> None:
    """A node holds the lock for so long, another one works beside and below it: all Completed at the first attempt."""
    with engine(kind, folder) as (server, _):
        body = BatchBody("silent", options={"retry_strategy": {"limit": 3, "retryPolicy": "Always"}})
        silent = body.udf(holds, seconds, name="silent")
        body.udf(adds, 1, 2, name="beside")
        body.udf(max, silent, 0.0, name="below")
        run = submit(server, body)
        log = run.wait(seconds + WORKS_S)
        assert log["status"] == "succeeded", {each.body["name"]: reason(run, each) for each in body.nodes}
        assert run.result(silent) >= seconds
        assert [run.attempts(log, node) for node in body.nodes] == [["COMPLETED"]] * 3


def births(server: Server, workers: Callable[[], list[int]], seed: int) -> None:
    """The worker process that a node needs is killed when it has hardly been born."""
    draw = random.Random(seed)
    works(server, draw)  # it has begun altogether

    def none_is_left() -> bool:
        left = workers()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(none_is_left, 20)  # so that the node needs a new one
    is_retried = draw.random() < 0.5
    body = BatchBody("born to die")
    options: dict[str, Any] = {"retry_strategy": {"limit": 1, "retryPolicy": "Always"}} if is_retried else {}
    node = body.udf(adds, 40, seed, name="node", **options)
    killed: list[float] = []

    def kill() -> None:
        deadline = time.monotonic() + 20
        while not (born := workers()) and time.monotonic() < deadline:
            time.sleep(0.0005)
        time.sleep(draw.random() * 0.01)
        for pid in born[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        run = submit(server, body)
    finally:
        killer.join()
    assert killed, "no worker process was started for the node"
    log = run.wait(killed[0] + NOTICED_S - time.monotonic())
    attempts = run.attempts(log, node)
    if is_retried:
        assert attempts == ["FAILED", "COMPLETED"]
        assert run.result(node) == 40 + seed
    else:
        assert attempts == ["FAILED"]
        assert "died before it was ready" in reason(run, node)
    works(server, draw)


@contextlib.contextmanager
def no_signs(folder: Path) -> Iterator[Callable[[int], None]]:
    """E6 for ``make night``: every tenth seed a silence of a minute, the others a death at birth."""
    with engine("processes", folder / "engine") as (server, workers):

        def one(seed: int) -> None:
            if seed % 10 == 9:
                silence("processes", 60, folder / str(seed))
            else:
                births(server, workers, seed)

        yield one


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_e6_a_node_that_holds_the_interpreter_is_not_taken_for_dead(kind: str, tmp_path: Path) -> None:
    """Long numerical work would be killed and done again, for ever."""
    silence(kind, 10, tmp_path / "engine")


@pytest.mark.parametrize("kind", ["processes", "dask"])
def test_e6_a_worker_killed_at_birth_is_noticed(kind: str, tmp_path: Path) -> None:
    """A node would be Running for ever in a process that is no more."""
    with engine(kind, tmp_path / "engine") as (server, workers):
        for seed in range(3):
            births(server, workers, seed)
