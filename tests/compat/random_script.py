"""Random graphs, built and run by whichever client the argument names: prints one JSON line of what each came to.

Run by `test_random_graphs`. Arguments: the module, REALTIME or BATCH, the first seed, how many.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

module = importlib.import_module(sys.argv[1])
MODE = module.Mode[sys.argv[2]]
IS_THEIRS = sys.argv[1].startswith("tiledb")
SETTLED = ("Completed", "Failed", "Cancelled", "Parent Failed")
PATIENCE_S = 40
DEEDS = ("nothing", "nothing", "cancel", "retry")


def work(number: int, fails: bool, inputs: list[int]) -> int:
    import time

    time.sleep(0.01)
    if fails:
        raise ValueError(f"planned at {number}")
    return number + sum(inputs)


work.__module__ = "__main__"


def plan_of(seed: int) -> tuple[list[tuple[list[int], bool, bool]], str, float]:
    """Parents, whether it fails and whether it runs here, of each node; what is done to the run, and when."""
    draw = random.Random(seed)
    nodes = [
        (
            sorted(draw.sample(range(number), min(number, draw.randint(0, 3)))),
            draw.random() < 0.2,
            MODE is module.Mode.REALTIME and draw.random() < 0.3,
        )
        for number in range(draw.randint(1, 10))
    ]
    return nodes, draw.choice(DEEDS), draw.uniform(0.0, 0.3)


def settled(dag: Any, nodes: list[Any], deadline: float) -> bool:
    """Waits for the end. TileDB's client leaves nodes below a failed one Not Started in a batch run that has ended.

    It calls the run failed as soon as it has read the first failed node of a reply, and takes the nodes after that one
    in, and whether the run goes on, later. Only when its thread that asks is gone has it read all.
    """
    if IS_THEIRS and MODE is module.Mode.BATCH:
        asking = dag._update_batch_status_thread
        asking.join(max(0.0, deadline - time.monotonic()))
        return not asking.is_alive()
    while not all(str(node.status) in SETTLED for node in nodes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def outcome(seed: int) -> dict[str, Any]:
    plan, deed, moment = plan_of(seed)
    dag = module.DAG(name=f"{deed} {seed}", namespace="me", mode=MODE)
    nodes: list[Any] = []
    for number, (parents, fails, is_here) in enumerate(plan):
        submit = dag.submit_local if is_here else dag.submit
        nodes.append(submit(work, number, fails, [nodes[parent] for parent in parents], name=str(number)))
    deadline = time.monotonic() + PATIENCE_S
    dag.compute()
    if deed == "cancel":
        time.sleep(moment)
        dag.cancel()
    has_ended = settled(dag, nodes, deadline)
    if deed == "retry" and has_ended:
        dag.retry_all()
        time.sleep(moment)
        has_ended = settled(dag, nodes, deadline)
    return {
        "seed": seed,
        "deed": deed,
        "ended": has_ended,
        "statuses": [str(node.status) for node in nodes],
        "results": [node.result(10) if str(node.status) == "Completed" else None for node in nodes],
    }


# TileDB's client looks at a batch run every few seconds.
with ThreadPoolExecutor(10 if MODE is module.Mode.BATCH else 2) as pool:
    found = list(pool.map(outcome, range(int(sys.argv[3]), int(sys.argv[3]) + int(sys.argv[4]))))
print(json.dumps(found))  # noqa: T201  # what the test reads
sys.stdout.flush()
os._exit(0)  # a graph of TileDB's client that is stuck holds threads for ever
