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
from tiledb.cloud.compute import Delayed, DelayedArrayUDF, DelayedSQL
from tiledb.cloud.rest_api import models
from tiledb.cloud.sql.tiledb_connection import TileDBConnection
from tiledb.cloud.taskgraphs import builder, client_executor, registration
from tiledb.cloud.taskgraphs import delayed as newer

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
    seen["sql forms"] = [
        [type(one).__name__, int(one["s"].iloc[0])]
        for form in ("json", "native", "python_pickle", "tiledb_json")
        for one in [sql.exec("select 7 as s", result_format=form)]
    ]
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


def queries() -> None:
    user = tiledb.cloud.client.default_user().username

    def rows(query: str, **more: Any) -> Any:
        return sql.exec(query, raw_results=True, result_format="json", **more)

    table = ["create temporary table t (n int4, x double, u int8 unsigned, s text)",
             'insert into t values (1000000, 400, 77, "one"), (-999, 501, 199, null)']  # fmt: skip
    seen["sql types"] = rows("select * from t where ? < n", init_commands=table, parameters=[0])
    seen["sql case"] = rows("select s = 'ONE' as same from t where s like 'O%'", init_commands=table)
    seen["sql set in a select"] = rows("select @a + 1 as b", init_commands=[f"select @a := max(a) from `{DENSE}`"])
    seen["sql pairs"] = rows(f"select sum(a) as s from `{SPARSE}` where (`rows`, `cols`) in ((1, 1), (2, 4))")
    seen["sql arrow"] = sql.exec(f"select * from `{DENSE}` where a > ?", raw_results=True, parameters=[15]).to_pydict()
    seen["sql no rows"] = [sql.exec("set @a = 1", raw_results=True).num_rows, rows("set @a = 1")]
    sql.exec(f"select sum(a) as s from `{SPARSE}`", store_results=True, task_name="kept query")
    last = tiledb.cloud.last_sql_task()
    seen["sql stored"] = [last.name, last.type, tasks.fetch_results(last.id).to_pydict()]
    sql.exec(f"select a, a * 2 as b from `{DENSE}`", output_uri=f"tiledb://{user}/made")
    seen["sql output"] = rows(f"select sum(b) as s from `tiledb://{user}/made`")
    cursor = TileDBConnection().cursor()
    cursor.execute(f"select * from `{DENSE}` where `rows` > ?", (3,))
    seen["sql cursor"] = [cursor.rowcount, cursor.fetchone(), [one[0] for one in cursor.description]]


def registry() -> None:
    user = tiledb.cloud.user_profile().username
    udfs_api = tiledb.cloud.client.build(tiledb.cloud.rest_api.UdfApi)
    with testonly.register_udf(lambda: "first", "versioned") as full:
        name = full.split("/")[1]
        before = datetime.datetime.now(datetime.timezone.utc)
        udf.update_udf(lambda: "second", name, namespace=user, readme="words")
        at = before.strftime("%Y-%m-%d %H:%M:%S.%f")
        seen["versions"] = [udf.exec(full), udf.exec(f"{full}@{at}"), udf.exec(f"{full}@2099-01-01"),
                            outcome(lambda: udf.exec(f"{full}@2001-01-01"))[:17]]  # fmt: skip
        seen["info"] = [udf.info(user, name).name == name, udf.info(user, name).readme, udf.info(user, name).language]
        udf.share(full, "you")
        seen["shared"] = [one.namespace for one in udfs_api.get_udf_info_sharing_policies(user, name)]
        udf.unshare(full, "you")
        seen["unshared"] = udfs_api.get_udf_info_sharing_policies(user, name)
        copy = models.UDFCopy(output_uri=f"tiledb://{user}/copied", namespace=user, name="copied")
        udfs_api.handle_copy_udf(user, name, copy)
    seen["copy"] = udf.exec(f"{user}/copied")
    udf.delete(f"tiledb://{user}/copied")
    seen["deleted"] = outcome(lambda: udf.exec(f"{user}/copied"))[:17]
    graphs_api = tiledb.cloud.client.build(tiledb.cloud.rest_api.RegisteredTaskGraphsApi)
    grf = builder.TaskGraphBuilder("to share")
    read = grf.array_read(DENSE, raw_ranges=[[1, 2], []], layout="c")
    grf.udf(repr, builder.types.args(read), name="odd", result_format="booga", image_name="monkey")
    registration.register(grf, "to share")
    policy = models.TaskGraphSharing(namespace="you", actions=["fetch_task_graph"])
    graphs_api.share_registered_task_graph(user, "to share", policy)
    found = graphs_api.get_registered_task_graph_sharing_policies(user, "to share")
    nodes = registration.load("to share")["nodes"]
    identity = nodes[0]["array_node"].pop("array_uuid", "missing")
    seen["registered graph"] = [nodes == grf._tdb_to_json()["nodes"], identity, found[0].namespace]
    registration.delete("to share")


def account() -> None:
    users = tiledb.cloud.client.build(tiledb.cloud.rest_api.UserApi)
    made = users.request_token(token_request=models.TokenRequest(name="mine", scope=["*"]))
    config = tiledb.cloud.rest_api.Configuration(tiledb.cloud.client.config.config.host)
    config.api_key["X-TILEDB-REST-API-KEY"] = made.token

    def use() -> Any:
        with tiledb.cloud.rest_api.ApiClient(config) as client:
            return tiledb.cloud.rest_api.UserApi(client).get_user().username

    seen["token"] = [use() == tiledb.cloud.client.default_user().username, [one.name for one in users.tokens_get()]]
    users.revoke_token("mine")
    seen["revoked"] = [outcome(use)[:12], users.tokens_get(), users.get_token_scopes()]
    seen["organizations"] = [tiledb.cloud.organizations(), outcome(lambda: tiledb.cloud.organization("x"))[:17]]
    user = tiledb.cloud.client.default_user().username
    place = array.info(SPARSE).uri
    array.register_array(place, namespace=user, array_name="mine")
    cells = array.apply(f"tiledb://{user}/mine", lambda x: int(x["a"].sum()), [[], []])
    now = datetime.datetime.now(datetime.timezone.utc)
    used = tasks.fetch_tasks(array=f"tiledb://{user}/mine", end=now + datetime.timedelta(hours=1)).array_tasks
    listed = [tiledb.cloud.list_arrays().arrays, tiledb.cloud.list_public_arrays().arrays]
    seen["arrays"] = [cells, len(used), *([one.name for one in some] for some in listed)]
    with tiledb.open(f"tiledb://{user}/mine", ctx=tiledb.cloud.Ctx()) as opened:
        seen["opened array"] = [opened.schema.sparse, opened[:]["a"].tolist(), opened.df[2:2, :]["a"].tolist()]
    seen["shared arrays"] = tiledb.cloud.list_shared_arrays().arrays
    array.deregister_array(f"tiledb://{user}/mine")
    failed = tasks.fetch_tasks(status="FAILED", end=now + datetime.timedelta(hours=1)).array_tasks
    seen["failed tasks"] = sorted({one.status for one in failed})
    seen["bogus"] = outcome(lambda: tasks.fetch_results(user))[:16]


def executors() -> None:
    user = tiledb.cloud.client.default_user().username
    grf = builder.TaskGraphBuilder("arrays and inputs")
    least, most = grf.input("least"), grf.input("most", 3)
    uri = grf.udf("tiledb://TileDB-Inc/quickstart_{}".format, builder.types.args("dense"))
    both = [grf.array_read(uri, raw_ranges=[[], [least, most]], buffers=["a"]),
            {"a": np.arange(3)},
            grf.array_read(SPARSE, raw_ranges=[[], []])]  # fmt: skip
    sums = grf.udf(lambda many: [int(np.sum(one["a"])) for one in many], builder.types.args(both), name="sums")
    turned = grf.array_read(DENSE, raw_ranges=[[1, 1], [1, 4]], layout="col-major")
    shape = grf.udf(lambda x: list(x["a"].shape), builder.types.args(turned), name="shape")
    query = grf.sql(f"select sum(a + ?) as s from `{SPARSE}`", parameters=[least], name="query")
    executor = client_executor.LocalExecutor(grf)
    executor.execute(least=2)
    seen["executor"] = [executor.node(one).result(60) for one in (sums, shape)]
    seen["executor query"] = executor.node(query).result(60).to_pydict()
    name = testonly.random_name("later")
    retried = builder.TaskGraphBuilder("retried")
    missing = retried.udf(f"{user}/{name}")
    after = retried.udf("got {!r}".format, builder.types.args(missing))
    executor = client_executor.LocalExecutor(retried)
    executor.execute()
    first = outcome(lambda: executor.node(after).result(30))
    with testonly.register_udf(lambda: 100, name):
        executor.node(missing).retry()
        seen["executor retry"] = [first[:17], executor.node(after).result(30), executor.node(missing).status.name]
    short = builder.TaskGraphBuilder("short")
    slow = short.udf(time.sleep, builder.types.args(60), timeout=datetime.timedelta(seconds=1))
    executor = client_executor.LocalExecutor(short)
    executor.execute()
    seen["executor timeout"] = ["timeout of 1 s" in outcome(lambda: executor.node(slow).result(30)),
                                executor.node(slow).status.name]  # fmt: skip


def delayed() -> None:
    cells = DelayedArrayUDF(SPARSE, lambda x: int(np.sum(x["a"])), name="cells")([(1, 4), (1, 4)])
    frame = DelayedSQL(f"select sum(`a`) as a from `{DENSE}`", name="frame")
    here = Delayed(lambda x: x * 2, local=True)(100)
    total = Delayed(lambda many: [many[0], many[1], int(many[2]["a"][0])], name="total")([here, cells, frame])
    seen["delayed"] = total.compute() or total.result()
    nothing = newer.udf(lambda *x: x, name="nothing")()
    shown = newer.udf(repr, name="shown")(newer.udf(lambda *x: x)("a", nothing))
    seen["newer delayed"] = shown.compute(60)
    bad = newer.udf(lambda x: x * 2)(np.median)
    after = newer.udf(lambda x: x)(1)
    after.depends_on(bad)
    outcome(lambda: after.compute(60))
    seen["newer delayed failed"] = [bad.status.name, after.status.name]
    nested = dag.DAG(name="nested")
    one = nested.submit(lambda: {1, 2})
    deep = nested.submit(repr, {"k": [one, (one, 1)], 2: one})
    loaded = nested.submit(lambda x: x, one, result_format="python_pickle")
    nested.compute()
    nested.wait(60)
    seen["nested"] = [deep.result(), sorted(loaded.result())]
    stopped = dag.DAG(name="stopped")
    stopped.submit(lambda: __import__("time").sleep(1))
    stopped.compute()
    stopped.cancel()
    time.sleep(1.5)  # its report comes on a thread of its own, and the function ends meanwhile
    seen["cancelled"] = [str(stopped.status), dag.server_logs(stopped).status]


warnings.simplefilter("ignore")
for part in (udfs, arrays_and_sql, graphs, taskgraphs, queries, registry, account, executors, delayed):
    try:
        part()
    except Exception as error:
        import traceback

        seen[part.__name__] = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
print(json.dumps(seen, default=repr))  # noqa: T201
