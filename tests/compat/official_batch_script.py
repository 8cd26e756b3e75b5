"""Run by `test_official_batch` with TileDB's own client, unmodified: one JSON line of what it saw of batch graphs."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from tiledb.cloud import dag
from tiledb.cloud.rest_api import models

FOLDER = Path(sys.argv[1])
seen: dict[str, Any] = {}


def outcome(function: Any) -> Any:
    try:
        return function()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def batch(name: str, **options: Any) -> dag.DAG:
    return dag.DAG(name=name, mode=dag.Mode.BATCH, **options)


def statuses(graph: dag.DAG) -> dict[str, str]:
    return {node.name: str(node.status) for node in graph.nodes.values()}


def flaky(flag: str, failures: int) -> Any:
    def function() -> str:
        with open(flag, "a") as out:
            out.write("x")
        with open(flag) as found:
            if len(found.read()) <= failures:
                raise ValueError("not yet")
        return "in the end"

    return function


def simple() -> None:
    graph = batch("simple")
    one = graph.submit(lambda: 1, name="one")
    two = graph.submit(lambda x, more=None: [x + x, more], one, more={"deep": [one]}, name="two")
    graph.compute()
    graph.wait(60)
    seen["simple"] = [str(graph.status), one.result(), two.result()]
    log = dag.server_logs(graph)
    seen["simple log"] = [log.status, log.task_graph_type, [[node.name, node.status] for node in log.nodes]]
    seen["listed"] = [[one.name, one.task_graph_type] for one in dag.list_logs(search="simple").task_graph_logs]


def failing() -> None:
    graph = batch("failing")
    bad = graph.submit(lambda: 1 / 0, name="bad")
    below = graph.submit(lambda x: x, bad, name="below")
    fine = graph.submit(lambda: "fine", name="fine")
    graph.compute()
    seen["failing"] = [outcome(lambda: graph.wait(60)), outcome(bad.result), fine.result(), str(graph.status)]
    seen["failing below"] = str(below.status)


def unsendable() -> None:
    graph = batch("unsendable")
    node = graph.submit(lambda: __import__("threading").Lock(), name="locked")
    graph.compute()
    outcome(lambda: graph.wait(60))
    seen["unsendable"] = outcome(node.result)


def dynamic() -> None:
    graph = batch("dynamic", max_workers=4)
    items = graph.submit(lambda: [1, 2, [3, 4]], name="items", result_format=models.ResultFormat.JSON)
    first = graph.submit_udf_stage(lambda x: [x, "seen"], items, expand_node_output=items, name="first",
                                   result_format=models.ResultFormat.JSON)  # fmt: skip
    second = graph.submit_udf_stage(lambda x: x[0], first, expand_node_output=first, name="second")
    last = graph.submit(lambda xs: xs, second, name="last")
    nothing = graph.submit(list, name="nothing", result_format=models.ResultFormat.JSON)
    empty = graph.submit_udf_stage(lambda x: x, nothing, expand_node_output=nothing, name="empty")
    graph.compute()
    graph.wait(60)
    seen["dynamic"] = [first.result(), second.result(), last.result(), empty.result()]


def retried() -> None:
    strategy = models.RetryStrategy(
        limit=3, retry_policy="Always", backoff=models.Backoff(duration="0.1", factor=2, max_duration="1m")
    )
    graph = batch("retried", retry_strategy=strategy)
    node = graph.submit(flaky(str(FOLDER / "retried"), 2), name="chance")
    graph.compute()
    graph.wait(60)
    log = dag.server_logs(graph)
    seen["retried"] = [node.result(), [one.status for one in log.nodes[0].executions]]


def deadline() -> None:
    graph = batch("deadline", deadline=1)
    node = graph.submit(lambda: time.sleep(60), name="slow")
    graph.compute()
    seen["deadline"] = [outcome(lambda: graph.wait(60))[:21], str(node.status)]
    graph = batch("node deadline")
    node = graph.submit(lambda: time.sleep(60), name="slow", deadline=1)
    graph.compute()
    seen["node deadline"] = [outcome(lambda: graph.wait(60))[:21], str(node.status)]


def by_hand() -> None:
    graph = batch("by hand")
    first = graph.submit(lambda: 5, name="first")
    chance = graph.submit(flaky(str(FOLDER / "by hand"), 1), name="chance")
    after = graph.submit(str.upper, chance, name="after")
    graph.compute()
    seen["by hand failed"] = outcome(lambda: graph.wait(60))
    graph.retry_all()
    deadline = time.monotonic() + 60
    while after.status != dag.Status.COMPLETED and time.monotonic() < deadline:
        time.sleep(0.1)
    seen["by hand"] = [after.result(), first.result(), statuses(graph)]


def cancelled() -> None:
    graph = batch("cancelled")
    slow = graph.submit(lambda: time.sleep(60), name="slow")
    graph.submit(lambda x: x, slow, name="below")
    graph.compute()
    time.sleep(1)
    graph.cancel()
    seen["cancelled"] = [outcome(lambda: graph.wait(60)), str(graph.status), dag.server_logs(graph).status]


def taskgraphs() -> None:
    from tiledb.cloud.taskgraphs.server_executor import impl

    graph = batch("connected")
    one = graph.submit(lambda: 1, name="one")
    graph.submit(lambda x: x + x, one, name="two")
    graph.compute()
    graph.wait(60)
    connected = impl.connect(graph.server_graph_uuid)
    seen["connected"] = [connected.node("one").result(30), connected.node("two").result(30)]


for part in (simple, failing, unsendable, dynamic, retried, deadline, by_hand, cancelled, taskgraphs):
    error = outcome(part)
    if error is not None:
        seen[f"{part.__name__} broke"] = error
sys.stdout.write(json.dumps(seen) + "\n")
