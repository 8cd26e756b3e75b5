"""The server is killed in the middle of batch runs: the next one goes on with each of them."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.server.batching import LOG_ENDED, TERMINAL, BatchBody, BatchNode, BatchRun, LogRules, submit
from tests.server.running import Server, running_server

ALWAYS = {"retryPolicy": "Always"}


def layered(size: int, width: int, seconds: float, marks: Path) -> tuple[BatchBody, dict[str, int]]:
    """Nodes that each add two results of the layer above; the sums they must come to. Each run of one leaves a mark."""

    def work(node: int, *above: int) -> int:
        import os
        import time as clock
        import uuid

        with open(os.path.join(folder, f"{node}-{uuid.uuid4().hex}"), "w"):
            pass
        clock.sleep(seconds)
        return node + sum(above) % 1000

    folder = str(marks)
    draw = random.Random(size)
    body = BatchBody("layered", options={"retry_strategy": ALWAYS})
    sums: list[int] = []
    for node in range(size):
        layer = node // width
        above = draw.sample(range((layer - 1) * width, layer * width), 2) if layer else []
        body.udf(work, node, *(body.nodes[one] for one in above), name=str(node))
        sums.append(node + sum(sums[one] for one in above) % 1000)
    return body, {str(node): value for node, value in enumerate(sums)}


def kill(server: Server) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()


def on(server: Server, run: BatchRun, rules: LogRules) -> BatchRun:
    rules._server = server
    return BatchRun(server, run.graph, run.log, rules)


def survives(tmp_path: Path, size: int, kills: int, seconds: float, seed: int) -> None:
    """Kills the server so many times in one run and looks at what came of it."""
    draw = random.Random(seed)
    marks = tmp_path / "marks"
    marks.mkdir()
    body, sums = layered(size, 20, seconds, marks)
    run: BatchRun | None = None
    acknowledged: dict[str, str] = {}
    events = 0
    done = 0
    while True:
        with running_server(tmp_path / "data", "--workers", "2") as server:
            run = submit(server, body) if run is None else on(server, run, run.rules)
            begun = time.monotonic()
            moment = begun + draw.uniform(0.0, 1.0) if done < kills else begun + 60
            while True:
                log = run.look()
                now = {one["name"]: one["executions"][-1]["id"] for one in log["nodes"] if one["status"] == "COMPLETED"}
                lost = {name: task for name, task in acknowledged.items() if now.get(name) != task}
                assert not lost, f"seed {seed}: results that were acknowledged are lost: {lost}"
                acknowledged = now
                events = len(run.events())
                if log["status"] in LOG_ENDED or time.monotonic() > moment:
                    break
                time.sleep(0.02)
            if log["status"] in LOG_ENDED:
                break
            done += 1
            kill(server)
    with running_server(tmp_path / "data", "--workers", "2") as server:
        run = on(server, run, run.rules)
        log = run.look()
        assert log["status"] == "succeeded", f"seed {seed}: {run.statuses(log)}"
        assert {node.body["name"]: run.result(node) for node in body.nodes} == sums, f"seed {seed}"
        assert len(run.events()) == events
        tried = {one["name"]: len(one["executions"]) for one in log["nodes"]}
        ran = Counter(name.partition("-")[0] for name in os.listdir(marks))
        more = {name: (ran[name], tried[name]) for name in tried if ran[name] > tried[name]}
        assert not more, f"seed {seed}: runs without a record (ran, on record): {more}"
        again = [one["status"] for one in log["nodes"] for one in one["executions"]]
        assert set(again) <= {"COMPLETED", "FAILED"}


@pytest.mark.slow
def test_a_run_goes_on_after_kill_9(tmp_path: Path) -> None:
    """The server dies twice, the graph comes to its end, nothing that was told is taken back."""
    survives(tmp_path, size=60, kills=2, seconds=0.02, seed=1)


@pytest.mark.slow
def test_twenty_kills_of_a_run_of_two_hundred_nodes(tmp_path: Path) -> None:
    """At random moments, with the same end each time: every node Completed, right, each attempt on record."""
    survives(tmp_path, size=200, kills=20, seconds=0.1, seed=int(time.time()))


def slow_once(folder: Path) -> object:
    """A function that hangs the first time, and leaves a mark each time."""
    place = str(folder)

    def function() -> int:
        import os
        import time as clock

        count = len(os.listdir(place))
        with open(os.path.join(place, str(count)), "w"):
            pass
        if not count:
            clock.sleep(600)
        return count

    return function


def interrupted(tmp_path: Path, **options: object) -> tuple[dict[str, str], list[str], list[str]]:
    """One node at work when the server is killed: statuses, its attempts and what they say at the end."""
    (tmp_path / "marks").mkdir()
    body = BatchBody("interrupted")
    node: BatchNode = body.udf(slow_once(tmp_path / "marks"), name="node", **options)  # type: ignore[arg-type]
    with running_server(tmp_path / "data", "--workers", "2") as server:
        run = submit(server, body)
        run.wait_for(lambda log: run.statuses(log)["node"] == "RUNNING" and bool(os.listdir(tmp_path / "marks")))
        kill(server)
    with running_server(tmp_path / "data", "--workers", "2") as server:
        begun = time.monotonic()
        run = on(server, run, run.rules)
        log = run.wait(20)
        assert time.monotonic() - begun < 15
        found = log["nodes"][0]
        said = [one.get("status_message") or "" for one in found["executions"]]
        return run.statuses(log), run.attempts(log, node), said


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [None, {"retryPolicy": "OnError", "limit": 1}])
def test_what_was_at_work_is_run_again_if_its_policy_allows(tmp_path: Path, strategy: object) -> None:
    """The server's death is no fault of the node's: without a strategy it runs again, and so by OnError."""
    options = {} if strategy is None else {"retry_strategy": strategy}

    assert interrupted(tmp_path, **options) == (
        {"node": "COMPLETED"},
        ["FAILED", "COMPLETED"],
        ["The server ended while this task ran.", ""],
    )


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [{"limit": 0}, {"retryPolicy": "OnFailure", "limit": 3}])
def test_what_may_not_run_twice_fails_with_the_reason(tmp_path: Path, strategy: object) -> None:
    """A payment is not made again because the server died."""
    statuses, attempts, said = interrupted(tmp_path, retry_strategy=strategy)

    assert statuses == {"node": "FAILED"}
    assert attempts == ["FAILED"]
    assert said == ["The server ended while this task ran."]
    assert all(status in TERMINAL for status in statuses.values())


@pytest.mark.slow
def test_a_wait_for_the_next_attempt_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A back-off is kept, not begun anew and not forgotten."""
    flag = str(tmp_path / "flag")

    def chance() -> str:
        import os

        if not os.path.exists(flag):
            open(flag, "w").close()
            raise ValueError("once")
        return "fine"

    body = BatchBody("waiting")
    node = body.udf(chance, name="node", retry_strategy={"limit": 1, "backoff": {"duration": "3"}})
    with running_server(tmp_path / "data", "--workers", "2") as server:
        run = submit(server, body)
        run.wait_for(lambda log: len(run.attempts(log, node)) == 2)
        kill(server)
    with running_server(tmp_path / "data", "--workers", "2") as server:
        run = on(server, run, run.rules)
        log = run.wait(20)
        assert run.attempts(log, node) == ["FAILED", "COMPLETED"]
        told = [one for one in run.events() if one.get("node") == node.id]
        again = next(one for one in told if one["status"] == "RUNNING" and one["attempt"] == 2)
        waited = next(one for one in told if one["status"] == "QUEUED" and one["attempt"] == 2)
        assert again["time"] >= waited["not_before"]
