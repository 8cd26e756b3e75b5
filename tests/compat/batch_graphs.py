"""Run by `test_batch_both` with our client and with TileDB's own: the same graphs, one JSON line of what was seen."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[2])
if sys.argv[1] == "official":
    from tiledb.cloud import dag as module
    from tiledb.cloud.rest_api.models import RetryStrategy
else:
    from tiledag_widget import dag as module
    from tiledag_widget.models import RetryStrategy

SECONDS = 60
seen: dict[str, Any] = {}


def batch(name: str, **options: Any) -> Any:
    return module.DAG(mode=module.Mode.BATCH, name=name, **options)


def outcome(function: Any) -> Any:
    try:
        return function()
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def statuses(dag: Any) -> dict[str, str]:
    return {node.name: str(node.status) for node in dag.nodes.values()}


def simple() -> None:
    dag = batch("simple")
    numbers = dag.submit(lambda n: list(range(n)), 5, name="numbers")
    total = dag.submit(sum, numbers, name="total")
    both = dag.submit(lambda *args, **kwargs: [list(args), kwargs], numbers, total, k=total, name="both")
    unnamed = dag.submit(len, numbers)
    dag.compute()
    dag.wait(SECONDS)
    seen["simple"] = [statuses(dag), total.result(), both.result(), unnamed.name, unnamed.result(), str(dag.status)]
    seen["ends"] = dag.end_results_by_name()
    seen["stats"] = {key: float(value) for key, value in dag.stats().items()}


def replacing() -> None:
    dag = batch("replacing")
    one = dag.submit(lambda: {"k": [1, 2]}, name="one")
    two = dag.submit(lambda: (3, "x"), name="two")
    seen_by = dag.submit(
        lambda plain, nested, named=None: [plain, nested, named],
        [1, {"a": None}],
        [one, {"deep": [two, 4]}],
        named={"n": two, "__tdbudf__": "mine"},
        name="seen by",
    )
    dag.compute()
    dag.wait(SECONDS)
    seen["replacing"] = json.loads(json.dumps(seen_by.result()))


def dynamic() -> None:
    dag = batch("dynamic")
    months = dag.submit(lambda: ["jan", "feb", "mar"], name="months", result_format="json")
    lengths = dag.submit_udf_stage(
        lambda month: [month, len(month)], months, expand_node_output=months, name="lengths", result_format="json"
    )
    texts = dag.submit_udf_stage(
        lambda pair: f"{pair[0]}{pair[1]}", lengths, expand_node_output=lengths, name="texts", result_format="json"
    )
    joined = dag.submit(lambda parts: "-".join(parts), texts, name="joined")
    nothing = dag.submit(list, name="nothing", result_format="json")
    never = dag.submit_udf_stage(lambda x: 1 / 0, nothing, expand_node_output=nothing, name="never")
    dag.compute()
    dag.wait(SECONDS)
    seen["dynamic"] = [lengths.result(), texts.result(), joined.result(), never.result(), statuses(dag)]


def failing() -> None:
    dag = batch("failing")

    def fails(x: int) -> int:
        raise LookupError(f"no {x} here")

    fine = dag.submit(lambda: 1, name="fine")
    bad = dag.submit(fails, fine, name="bad")
    dag.submit(lambda x: x, bad, name="below")
    dag.compute()
    seen["failing wait"] = outcome(lambda: dag.wait(SECONDS))
    seen["failing"] = [statuses(dag), str(dag.status), outcome(bad.result), fine.result()]


def flaky(path: str, times: int) -> int:
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        count = len(file.read())
    if count <= times:
        raise ValueError(f"try {count}")
    return count


def retried() -> None:
    dag = batch("retried", retry_strategy=RetryStrategy(limit=2))
    node = dag.submit(flaky, str(FOLDER / "graph"), 2, name="by the graph's")
    own = dag.submit(flaky, str(FOLDER / "own"), 1, name="by its own", retry_strategy=RetryStrategy(limit=1))
    never = dag.submit(flaky, str(FOLDER / "never"), 1, name="by none", retry_strategy=RetryStrategy(limit=0))
    dag.compute()
    seen["retried wait"] = outcome(lambda: dag.wait(SECONDS))
    seen["retried"] = [statuses(dag), node.result(), own.result(), outcome(never.result)]


def by_hand() -> None:
    dag = batch("by hand")
    kept = dag.submit(flaky, str(FOLDER / "kept"), 0, name="kept")
    bad = dag.submit(flaky, str(FOLDER / "bad"), 1, name="bad")
    below = dag.submit(lambda x, y: x + y, kept, bad, name="below")
    dag.compute()
    seen["by hand before"] = outcome(lambda: dag.wait(SECONDS))
    dag.retry_all()
    dag.wait(SECONDS)
    seen["by hand"] = [statuses(dag), str(dag.status), kept.result(), below.result()]


def late() -> None:
    dag = batch("late", deadline=2)
    slow = dag.submit(lambda: __import__("time").sleep(50), name="slow")
    dag.compute()
    began = time.monotonic()
    seen["late wait"] = outcome(lambda: dag.wait(SECONDS)) is not None
    seen["late"] = [str(slow.status), str(dag.status), time.monotonic() - began < 20]


def cancelled() -> None:
    dag = batch("cancelled")
    mark = str(FOLDER / "mark")
    slow = dag.submit(
        lambda path: (__import__("pathlib").Path(path).write_text(""), __import__("time").sleep(50)), mark, name="slow"
    )
    dag.submit(lambda x: x, slow, name="never")
    dag.compute()
    deadline = time.monotonic() + SECONDS
    while not Path(mark).exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    dag.cancel()
    seen["cancelled wait"] = outcome(lambda: dag.wait(SECONDS))
    seen["cancelled"] = str(dag.status)
    log = module.server_logs(dag)
    while log.status not in ("cancelled", "failed") and time.monotonic() < deadline:
        time.sleep(0.05)
        log = module.server_logs(dag)
    seen["cancelled there"] = [str(getattr(log.status, "value", log.status)), [node.name for node in log.nodes]]


warnings.simplefilter("ignore")
for part in (simple, replacing, dynamic, failing, retried, by_hand, late, cancelled):
    try:
        part()
    except BaseException as error:
        import traceback

        seen[part.__name__] = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
print(json.dumps(seen, default=repr))  # noqa: T201
