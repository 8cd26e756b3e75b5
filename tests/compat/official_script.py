"""Run by `test_official_client` with TileDB's own client, unmodified: one JSON line of what it saw."""

from __future__ import annotations

import datetime
import json
import time
import warnings
from typing import Any

import numpy as np
import tiledb.cloud
from tiledb.cloud import array, dag, sql, tasks, udf
from tiledb.cloud._common import testonly, utils
from tiledb.cloud.rest_api import models
from tiledb.cloud.taskgraphs import builder, client_executor, registration

DENSE = "tiledb://TileDB-Inc/quickstart_dense"
SPARSE = "tiledb://TileDB-Inc/quickstart_sparse"
seen: dict[str, Any] = {}


def outcome(function: Any) -> Any:
    try:
        return function()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def show(*args: Any, **kwargs: Any) -> str:
    return f"called with {args!r} {kwargs!r}"


def udfs() -> None:
    seen["by value"] = udf.exec(lambda x: int(np.sum(x)), [1, 4, 10, 40])
    seen["kwargs"] = udf.exec(lambda a, b=None: [a, b], 1, b={"t": [1]}, task_name="named")
    seen["last task"] = tiledb.cloud.last_udf_task().name
    with testonly.register_udf(show) as name:
        seen["by name"] = udf.exec(name, 1, easy_as="abc")
        first = udf.exec_base(name, 1, store_results=True)
        second = udf.exec_base(name, param="two", result_format=models.ResultFormat.JSON, store_results=True)
        seen["by reference"] = udf.exec(name, first.to_stored_param(), named=second.to_stored_param())
        by_hand = models.GenericUDF(
            language=models.UDFLanguage.PYTHON,
            result_format=models.ResultFormat.JSON,
            version=utils.PYTHON_VERSION,
            image_name="default",
            udf_info_name=name,
            argument=utils.b64_pickle(((first.to_stored_param(),), {"named": second.to_stored_param()})),
            stored_param_uuids=[str(one.task_id) for one in (first, second)],
        )
        user = tiledb.cloud.user_profile().username
        api = tiledb.cloud.client.build(tiledb.cloud.rest_api.UdfApi)
        reply = api.submit_generic_udf(udf=by_hand, namespace=user, _preload_content=False)
        seen["by hand"] = json.loads(reply.data)
        utils.release_connection(reply)
    seen["failure"] = outcome(lambda: udf.exec(lambda: [] + 1))  # type: ignore[operator]
    seen["timeout"] = outcome(lambda: udf.exec(lambda: time.sleep(50), timeout=1))
    seen["formats"] = [
        udf.exec(lambda: {"a": 1}, result_format=one).__class__.__name__ for one in ("native", "json", "tiledb_json")
    ]


def arrays_and_sql() -> None:
    seen["dense"] = array.apply(DENSE, lambda x: x["a"].tolist(), [(1, 2), [1, slice(3, 4)]], attrs=["a"])
    seen["sparse"] = array.apply(SPARSE, lambda x, p: [int(x["a"].sum()), p], [(1, 4), None], p="kw")
    listed = array.ArrayList()
    listed.add(DENSE, [(1, 1), (1, 2)], buffers=["a"])
    listed.add(SPARSE, [(1, 4), (1, 4)], buffers=["a"])
    seen["multi"] = array.exec_multi_array_udf(lambda xs, y: [v["a"].tolist() for v in xs] + [y], listed, y=3)
    seen["sql"] = int(sql.exec(f"select sum(a) as s from `{SPARSE}` where `rows` > 1")["s"].iloc[0])
    seen["sql init"] = int(sql.exec("select @A a", init_commands=["SET @A=1"])["a"].iloc[0])
    seen["sql json"] = sql.exec(f"select max(a) * 100 as m, ? as p from `{DENSE}`", parameters=["x"], raw_results=True,
                                result_format="json")  # fmt: skip
    seen["sql bad"] = outcome(lambda: sql.exec("select from"))


def graphs() -> None:
    graph = dag.DAG(name="mixed")
    one = graph.submit(lambda: np.arange(5), name="one")
    cells = graph.submit_array_udf(DENSE, lambda x: int(np.sum(x["a"])), ranges=[[1, slice(2, 4)], None], name="cells")
    rows = graph.submit_sql("select 2 * ? as doubled", parameters=(cells,), name="rows")
    here = graph.submit_local(lambda x, y: (x.tolist(), y), one, cells, name="here")
    last = graph.submit(lambda x, frame: [x, int(frame["doubled"].iloc[0])], here, rows, name="last")
    graph.compute()
    graph.wait(60)
    seen["graph"] = last.result()
    ends = {"succeeded", "failed"}
    deadline = time.monotonic() + 30
    while dag.server_logs(graph).status not in ends and time.monotonic() < deadline:
        time.sleep(0.05)  # its reports come after wait()
    log = dag.server_logs(graph)
    seen["log"] = [log.status, sorted([node.name, node.status] for node in log.nodes)]
    seen["listed"] = dag.list_logs(search="mix").task_graph_logs[0].name

    flags: list[int] = []
    deadline = time.monotonic() + 60

    def flaky(fail: bool) -> str:
        if fail:
            raise ValueError("not yet")
        return "in the end"

    failing = dag.DAG(name="failing")
    chance = failing.submit_local(lambda: len(flags))
    bad = failing.submit(lambda count, f=flaky: f(count == 0), chance)
    after = failing.submit(lambda x: x.upper(), bad)
    failing.compute()
    seen["wait"] = outcome(lambda: failing.wait(60))[:40]
    while after.status == dag.Status.NOT_STARTED and time.monotonic() < deadline:
        time.sleep(0.01)  # wait() of this client returns before the children know
    seen["statuses"] = [str(node.status) for node in (chance, bad, after)]
    flags.append(1)
    other = dag.DAG(name="other")
    again = other.submit(lambda x: x + 1, one.result().tolist()[4])
    other.compute()
    other.wait(60)
    seen["second graph"] = again.result()
    seen["tasks"] = len(
        tasks.fetch_tasks(end=datetime.datetime.now() + datetime.timedelta(days=1), per_page=5).array_tasks  # noqa: DTZ005
    )


def taskgraphs() -> None:
    grf = builder.TaskGraphBuilder("built")
    start = grf.input("start", default_value=3)
    twice = grf.udf(lambda x: x * 2, builder.types.args(start), name="twice", local=False)
    table = grf.sql("select ? as x", parameters=[5], result_format="json", name="table")
    both = grf.udf(lambda a, b: [a, b], builder.types.args(twice, table), name="both")
    executor = client_executor.LocalExecutor(grf)
    executor.execute(start=4)
    executor.wait(60)
    seen["built"] = executor.node(both).result()
    seen["registered"] = outcome(lambda: _registered(grf))


def _registered(grf: Any) -> list[Any]:
    registration.register(grf, "kept")
    found = registration.load("kept")
    registration.update(grf, old_name="kept")
    registration.delete(grf.name)  # the update has renamed it
    return [type(found).__name__, outcome(lambda: registration.load("kept"))[:12]]


warnings.simplefilter("ignore")
for part in (udfs, arrays_and_sql, graphs, taskgraphs):
    try:
        part()
    except Exception as error:
        import traceback

        seen[part.__name__] = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
print(json.dumps(seen, default=repr))  # noqa: T201
