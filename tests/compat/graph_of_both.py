"""One graph, built and run by whichever client the argument names: prints one JSON line of what it came to."""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

module = importlib.import_module(sys.argv[1])
DENSE = "tiledb://TileDB-Inc/quickstart_dense"
SPARSE = "tiledb://TileDB-Inc/quickstart_sparse"


def told(node: Any) -> Any:
    """Status and result, or what kind of error and that its text names the cause."""
    error = node.error
    if error is None:
        value = node.result(60)
        return [str(node.status), value.to_dict("list") if hasattr(value, "to_dict") else value]
    return [str(node.status), type(error).__name__ == "ParentFailedError", "division by zero" in str(error)]


def build() -> Any:
    dag = module.DAG(name="of both", namespace="me")
    here = dag.submit_local(lambda: [3, 4], name="here")
    total = dag.submit(sum, here)
    again = dag.submit(sum, [total, 1])
    shapes = dag.submit(lambda a, b=None: [a, b], (1, 2), b={"s": [total], "none": None}, name="shapes")
    dense = dag.submit_array_udf(DENSE, lambda data: int(data["a"].sum()), [(1, 2), (1, 4)], attrs=["a"])
    sparse = dag.submit_array_udf(
        SPARSE, lambda data, more: int(data["a"].sum()) + more, [None, None], attrs=["a"], more=total, name="sparse"
    )
    rows = dag.submit_sql(f"select `rows`, sum(a) as s from `{DENSE}` group by `rows` order by `rows`")
    plain = dag.submit_sql("select ? + 1 as x", parameters=[total], result_format="json", raw_results=True)
    joined = dag.submit(lambda frame, n: [list(frame.columns), int(frame.s.sum()) + n], rows, dense, name="joined")
    bad = dag.submit(lambda x: x / 0, total, name="bad")
    below = dag.submit(lambda x: x, bad, name="below")
    local_below = dag.submit_local(lambda x: x, below, name="local below")
    return dag, [here, total, again, shapes, dense, sparse, rows, plain, joined, bad, below, local_below]


def settled(dag: Any, nodes: Any) -> bool:
    return all(str(node.status) not in ("Not Started", "Running") for node in nodes)


def main() -> None:
    dag, nodes = build()
    dag.compute()
    deadline = time.monotonic() + 120
    while not settled(dag, nodes):
        assert time.monotonic() < deadline, [(node.name, str(node.status)) for node in nodes]
        time.sleep(0.05)
    time.sleep(2)  # reports go out in the background
    log = module.server_logs(dag, "me")
    found = {
        "status": str(dag.status),
        "names": [node.name for node in nodes],
        "nodes": {node.name: told(node) for node in nodes},
        "stats": dag.stats(),
        "ends": sorted(node.name for node in dag.find_end_nodes()),
        "log": [log.name, str(log.status)],
        "recorded": {
            one.name: [str(one.run_location), str(one.status) if str(one.run_location) == "server" else ""]
            for one in log.nodes
        },
        "edges": sorted(
            [one.name, other.name]
            for one in log.nodes
            for other in log.nodes
            if one.client_node_uuid in (other.depends_on or ())
        ),
    }
    print(json.dumps(found, default=str))  # noqa: T201  # what the test reads


main()
