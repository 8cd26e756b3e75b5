"""Batch graphs that do nothing, from submit to Completed, beside dask.distributed; and how late a client hears.

    python -m benchmarks.batch [--nodes 1000] [--width 50] [--repeat 3]

The same layered graph (each node has three parents in the layer above) goes to a real server of ours with two workers,
and to a `LocalCluster` of two processes. A round starts both anew and lets each run a small graph to warm up; the table
shows the best round. Ours writes every attempt and every result to disk before anybody hears of it; dask keeps both
in memory.

*Lag* is the time from the moment at which the server wrote down that a node had ended to the moment at which a client
that waits by long-poll has the event in its hands.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import threading
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.server.running import Server, running_server  # noqa: E402
from tiledag_widget.wire import codec  # noqa: E402

MOST_TIMES = 3.0
MOST_LAG_S = 0.25


def parents_of(nodes: int, width: int) -> list[list[int]]:
    """Parents of each node, parents first."""
    draw = random.Random(7)
    return [
        [] if node < width else draw.sample(range((node // width - 1) * width, node // width * width), 3)
        for node in range(nodes)
    ]


def nothing(*_: object) -> None:
    return None


# --- ours ---------------------------------------------------------------------------------------------------


def body_of(parents: list[list[int]]) -> dict[str, Any]:
    code = codec.encode_function(nothing)
    ids = [str(uuid.uuid4()) for _ in parents]
    nodes = [
        {
            "client_node_id": ids[node],
            "name": str(node),
            "depends_on": [ids[parent] for parent in above],
            "udf_node": {
                "executable_code": code,
                "arguments": [
                    {"value": {"__tdbudf__": "node_output", "client_node_id": ids[parent]}} for parent in above
                ],
                "result_format": "native",
                "environment": {"language": "python"},
            },
        }
        for node, above in enumerate(parents)
    ]
    return {"name": "layered", "nodes": nodes}


def run_ours(server: Server, body: dict[str, Any]) -> tuple[float, list[float]]:
    """Seconds from the upload to Completed, and the lag of each node's end."""
    begun = time.perf_counter()
    graph = server.ask("POST", "/v1/taskgraphs/me/graphs", body).json()["uuid"]
    log = server.ask("POST", f"/v1/taskgraphs/me/graphs/{graph}/submit").json()["uuid"]
    after = 0
    lags: list[float] = []
    while True:
        page = server.ask("GET", f"/tiledag/v1/runs/{log}/events?after={after}&wait=30").json()
        now = time.time()
        ends = [one for one in page["events"] if one["kind"] == "node" and one["status"] == "COMPLETED"]
        lags += [now - datetime.fromisoformat(one["time"].replace("Z", "+00:00")).timestamp() for one in ends]
        after = page["last"]
        if page["done"]:
            break
    took = time.perf_counter() - begun
    assert page["status"] == "succeeded", page
    assert len(lags) == len(body["nodes"])
    return took, lags


def ours(parents: list[list[int]]) -> tuple[float, list[float]]:
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder) / "data", "--workers", "2") as server:
        run_ours(server, body_of(parents_of(200, 50)))
        return run_ours(server, body_of(parents))


# --- dask ---------------------------------------------------------------------------------------------------


def dask(parents: list[list[int]]) -> float:
    from distributed import Client, LocalCluster, wait

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]

        def once(graph: list[list[int]]) -> float:
            begun = time.perf_counter()
            futures: list[Any] = []
            for above in graph:
                futures.append(client.submit(nothing, *(futures[parent] for parent in above), pure=False))
            wait(futures)  # type: ignore[no-untyped-call]
            return time.perf_counter() - begun

        once(parents_of(200, 50))
        return once(parents)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--nodes", type=int, default=1000)
    arguments.add_argument("--width", type=int, default=50)
    arguments.add_argument("--repeat", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    threading.excepthook = lambda _: None  # dask's threads complain when their loop is closed
    parents = parents_of(options.nodes, options.width)
    rounds = [(ours(parents), dask(parents)) for _ in range(options.repeat)]
    mine = min(one[0][0] for one in rounds)
    theirs = min(one[1] for one in rounds)
    lags = sorted(lag for one in rounds for lag in one[0][1])
    lag = lags[int(len(lags) * 0.95)]
    found = {"tiledag_s": mine, "dask_s": theirs, "times": mine / theirs, "lag_p95_s": lag, "lag_most_s": lags[-1]}
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return 0
    out = sys.stdout.write
    out(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores\n")
    out(f"{options.nodes} nodes in layers of {options.width}, no-op, best of {options.repeat} rounds\n\n")
    out(f"tiledag server, 2 workers, on disk    {mine:8.3f} s   {mine / options.nodes * 1e3:6.2f} ms a node\n")
    out(f"dask LocalCluster, 2 processes        {theirs:8.3f} s   {theirs / options.nodes * 1e3:6.2f} ms a node\n")
    out(f"ratio                                 {mine / theirs:8.2f}     (at most {MOST_TIMES:g})\n")
    out(f"lag of a node's end, p95              {lag * 1e3:8.1f} ms  (at most {MOST_LAG_S * 1e3:g})\n")
    out(f"lag, the longest                      {lags[-1] * 1e3:8.1f} ms\n")
    return int(mine / theirs > MOST_TIMES or lag > MOST_LAG_S)


if __name__ == "__main__":
    sys.exit(main())
