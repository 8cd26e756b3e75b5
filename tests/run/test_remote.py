"""Server nodes of a graph: what is sent, what is not, and what comes back."""

from __future__ import annotations

import datetime
import logging
import threading
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget import DAG, Mode, NotPicklable, ParentFailedError, Status, server_logs
from tiledag_widget.errors import ServerError, ServerNeeded, ServerUnreachable
from tiledag_widget.run.remote import parents_first
from tiledag_widget.run.remote_calls import parse_ranges
from tiledag_widget.run.remote_reports import reports
from tiledag_widget.run.threads import threads

from ..loopback import Answer, LoopbackServer, Request, error, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    with serving(monkeypatch, tmp_path) as one:
        yield one


def posted(server: LoopbackServer) -> list[dict[str, Any]]:
    """Bodies of the function calls, in the order of arrival."""
    return [one.body for one in server.named("POST /v1/udfs/")]


def test_functions_run_on_the_server_and_results_go_between_them_by_reference(server: LoopbackServer) -> None:
    """Without references each result would travel twice."""
    dag = DAG(name="pair")
    one = dag.submit(lambda: list(range(1000)), name="one")
    two = dag.submit(lambda xs: sum(xs), one, name="two")

    dag.compute()
    dag.wait(20)

    first, second = posted(server)
    assert first["dont_download_results"] is True
    assert second["dont_download_results"] is False
    assert second["stored_param_uuids"] == [str(one.task_id())]
    assert second["arguments_json"] == [{"value": {"__tdbudf__": "stored_param", "task_id": str(one.task_id())}}]
    assert two.result() == 499500
    assert not server.named("GET /v1/task/")


def test_a_result_that_stayed_on_the_server_is_fetched_once_when_asked(server: LoopbackServer) -> None:
    """A million rows would come down again with every look."""
    dag = DAG()
    one = dag.submit(lambda: (1, {2}))
    dag.submit(lambda x: None, one)
    dag.compute()
    dag.wait(20)

    values = [one.result(), one.result()]

    assert values[0] == [1, {2}]
    assert values[0] is values[1]
    assert len(server.named("GET /v1/task/")) == 1


def test_nodes_here_get_values_of_nodes_there_and_the_other_way_round(server: LoopbackServer) -> None:
    """Mixed graphs are the rule."""
    dag = DAG()
    start = dag.submit_local(lambda: {"a": 1})
    there = dag.submit(lambda x: {**x, "b": {2}}, start)
    nested = dag.submit_local(lambda xs: xs[0]["value"], [{"value": there}])
    plain = dag.submit_local(lambda x: x, there)

    dag.compute()
    dag.wait(20)

    assert nested.result() == plain.result() == {"a": 1, "b": {2}}
    (body,) = posted(server)
    assert body["dont_download_results"] is False
    assert there.task_id() is not None
    assert (start.task_id(), plain.task_id()) == (None, None)


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_server_nodes_mix_with_every_way_to_run_local_ones(server: LoopbackServer, executor: str) -> None:
    """The choice for local functions is none for server nodes."""
    dag = DAG(executor=executor)
    last = dag.submit_local(lambda x: x + 1, dag.submit(lambda: 1))

    dag.compute()

    assert last.result(20) == 2


def test_the_graph_goes_on_record_once_with_its_structure_and_its_end(server: LoopbackServer) -> None:
    """The log on the server is what a colleague sees."""
    dag = DAG(name="recorded")
    here = dag.submit_local(lambda: 1, name="here")
    there = dag.submit(lambda x: x, here, name="there")

    assert dag.server_graph_uuid is None
    assert not server.requests
    dag.compute()
    dag.wait(20)
    assert reports.flush(20)

    (log,) = (one for one in server.requests if one.path == "/v1/taskgraphs/mine/log")
    assert log.body["name"] == "recorded"
    assert log.body["nodes"] == [
        {"client_node_uuid": str(here.id), "name": "here", "depends_on": [], "run_location": "client"},
        {
            "client_node_uuid": str(there.id),
            "name": "there",
            "depends_on": [str(here.id)],
            "run_location": "server",
        },
    ]
    assert dag.server_graph_uuid == dag.initial_setup() == server.log_id
    assert dag.namespace == "mine"
    (body,) = posted(server)
    assert (body["task_graph_uuid"], body["client_node_uuid"]) == (str(server.log_id), str(there.id))
    (report,) = server.named("POST /v1/taskgraphs/mine/logs")
    assert report.body == {"client_node_uuid": str(here.id), "status": "COMPLETED"}
    assert [one.body for one in server.named("PATCH")] == [{"status": "succeeded"}]


def test_a_look_at_the_record_waits_for_the_end_to_be_told(server: LoopbackServer) -> None:
    """The last result is there before the callbacks of its graph were called, and the end is told after them."""
    called = threading.Event()
    dag = DAG(executor="inline", done_callback=lambda dag: called.wait(0.1))
    dag.submit_local(lambda x: x, dag.submit(lambda: 1))
    dag.compute()
    assert dag.done()

    assert server_logs(dag) is not None

    assert [one.body for one in server.named("PATCH")] == [{"status": "succeeded"}]


def test_a_graph_without_server_nodes_makes_no_request(server: LoopbackServer) -> None:
    """Local work is nobody else's."""
    with DAG() as dag:
        dag.submit_local(lambda: 1)

    assert dag.initial_setup() is None
    assert not server.requests


def test_without_a_log_the_graph_runs_on(server: LoopbackServer) -> None:
    """Records are for later; the result is for now."""
    server.rules.append(lambda one: error(500, "no logs today") if one.path.endswith("/log") else None)
    dag = DAG()
    node = dag.submit(lambda: 1)

    with pytest.warns(UserWarning, match="without a log on the server: no logs today"):
        dag.initial_setup()
    dag.compute()
    dag.wait(20)

    assert node.result() == 1
    assert dag.server_graph_uuid is None
    assert "task_graph_uuid" not in posted(server)[0]


def test_a_log_that_is_to_come_later_holds_the_nodes_up_for_seconds_only(server: LoopbackServer) -> None:
    """A service that says "come back in a minute" to the log, and takes functions, must not stop the graph."""
    server.rules.append(lambda one: Answer(503, headers={"Retry-After": "60"}) if one.path.endswith("/log") else None)
    dag = DAG()
    node = dag.submit(lambda: 1)

    with pytest.warns(UserWarning, match="without a log on the server"):
        dag.initial_setup()
    dag.compute()

    assert node.result(20) == 1


def test_the_first_server_node_of_a_process_logs_which_server_it_uses(
    server: LoopbackServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever wonders where a function ran finds it there; and only once."""
    caplog.set_level(logging.INFO, logger="tiledag_widget.wire")
    for _ in range(2):
        with DAG() as dag:
            dag.submit(lambda: 1)

    said = [record.getMessage() for record in caplog.records if "server nodes run on" in record.getMessage()]
    assert said == [f"server nodes run on the task-graph server at {server.url} (the environment)"]


def test_a_function_that_raises_there_fails_its_node_with_type_and_traceback(server: LoopbackServer) -> None:
    """Without them a person could only guess."""
    dag = DAG()
    node = dag.submit(lambda: 1 / 0, name="bad")
    child = dag.submit(lambda x: x, node)
    other = dag.submit(lambda: "fine")

    dag.compute()
    with pytest.raises(ServerError, match="ZeroDivisionError: division by zero") as caught:
        dag.wait(20)
    reports.flush(20)

    assert caught.value.type_name == "builtins.ZeroDivisionError"
    assert caught.value.traceback_text == "Trace\n  here"
    shown = [Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "client.py" not in shown  # the way of the reply through this package is nothing to look at
    assert "Trace" in str(caught.value.__cause__)
    assert other.result() == "fine"
    assert isinstance(child.error, ParentFailedError)
    assert [one.body for one in server.named("PATCH")] == [{"status": "failed"}]
    assert len(posted(server)) == 2


def test_a_report_for_which_there_was_no_thread_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process at its limit of threads must not leave a run on record as running."""
    sent: list[str] = []

    def refuse(job: object, name: str) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threads, "start", refuse)
        reports.post(lambda: sent.append("first"))
        was_sent = reports.flush(0.1)

    assert (was_sent, sent) == (False, [])
    assert reports.flush(20)
    assert sent == ["first"]


def test_a_retry_calls_the_server_again(server: LoopbackServer) -> None:
    """What failed there may go well the next time."""
    refused = [error(422, "not yet")]
    server.rules.append(lambda one: refused.pop() if refused and one.path.startswith("/v1/udfs") else None)
    dag = DAG()
    node = dag.submit(lambda: 1)
    child = dag.submit(lambda x: x + 1, node)
    dag.compute()
    with pytest.raises(ServerError, match="not yet"):
        dag.wait(20)

    dag.retry_all()
    dag.wait(20)

    assert child.result() == 2
    reports.flush(20)
    assert [one.body["status"] for one in server.named("PATCH")] == ["failed", "succeeded"]


def test_parameters_that_the_server_lost_are_sent_by_value(server: LoopbackServer) -> None:
    """The contract's RETRY_WITH_PARAMS, which TileDB's own graphs never follow."""
    seen = []

    def refuse_references(request: Request) -> Answer | None:
        if request.path.startswith("/v1/udfs") and request.body["stored_param_uuids"]:
            seen.append(request)
            return error(400, "RETRY_WITH_PARAMS: gone")
        return None

    server.rules.append(refuse_references)
    dag = DAG()
    node = dag.submit(lambda x: x * 2, dag.submit(lambda: 21))

    dag.compute()

    assert node.result(20) == 42
    assert len(seen) == 1
    last = posted(server)[-1]
    assert last["arguments_json"] == [{"value": 21}]
    assert last["stored_param_uuids"] == []


def test_a_call_that_broke_off_is_not_sent_again_to_a_foreign_server(server: LoopbackServer) -> None:
    """The function may have run; twice is worse than an error."""
    server.rules.append(lambda one: Answer(drop=True) if one.path.startswith("/v1/udfs") else None)
    dag = DAG()
    node = dag.submit(lambda: 1)

    dag.compute()

    with pytest.raises(ServerUnreachable, match="broke off"):
        node.result(20)
    assert len(posted(server)) == 1


def test_a_call_that_broke_off_joins_its_run_on_our_own_server(server: LoopbackServer) -> None:
    """It knows calls by their graph and node, and gives the same answer."""
    server.is_ours = True
    drops = [Answer(drop=True)]
    server.rules.append(lambda one: drops.pop() if drops and one.path.startswith("/v1/udfs") else None)
    dag = DAG()
    node = dag.submit(lambda: 1)

    dag.compute()

    assert node.result(20) == 1
    first, second = posted(server)
    assert first == second


def test_what_cannot_be_sent_names_node_and_place(server: LoopbackServer) -> None:
    """A person would look through all the arguments."""
    dag = DAG()
    node = dag.submit(len, {"lock": [threading.Lock()]}, name="count")

    dag.compute()

    with pytest.raises(NotPicklable, match=r"Node 'count': args\[0\]\['lock'\]\[0\] cannot be sent to the server"):
        node.result(20)
    assert not posted(server)


def test_cancelled_nodes_are_reported_wherever_they_would_have_run(server: LoopbackServer) -> None:
    """The log would show them waiting for ever."""
    dag = DAG()
    node = dag.submit(lambda: 1)
    lost = dag.submit(lambda: 2)
    assert lost.cancel()

    dag.compute()
    dag.wait(20)
    node.result(20)
    reports.flush(20)

    found = [one.body for one in server.named("POST /v1/taskgraphs/mine/logs")]
    assert found == [{"client_node_uuid": str(lost.id), "status": "CANCELLED"}]
    assert [one.body for one in server.named("PATCH")] == [{"status": "cancelled"}]


def test_options_go_to_the_server_and_the_rest_to_the_function(server: LoopbackServer) -> None:
    """A timeout given to the function would be an unknown argument of it."""
    dag = DAG(namespace="theirs")
    node = dag.submit(
        lambda **kwargs: kwargs,
        timeout=30,
        result_format="native",
        image_name="3.9",
        namespace="other",
        resource_class="large",
        include_source_lines=False,
        task_name="called",
        mine=(1,),
    )

    dag.compute()

    assert node.result(20) == {"mine": [1]}
    (request,) = server.named("POST /v1/udfs/")
    assert request.path == "/v1/udfs/generic/other"
    body = request.body
    assert (body["timeout"], body["image_name"], body["resource_class"]) == (30, "3.9", "large")
    assert (body["result_format"], body["task_name"]) == ("native", "called")
    assert "exec_raw" not in body
    assert not server.named("GET /v1/user")


def test_a_registered_function_goes_by_its_name(server: LoopbackServer) -> None:
    """Its code is on the server."""
    server.rules.append(
        lambda one: server.finish(one, "done", "tiledb_json") if one.path.startswith("/v1/udfs") else None
    )
    dag = DAG()
    node = dag.submit("team/resize", 3)

    dag.compute()

    assert node.result(20) == "done"
    (body,) = posted(server)
    assert body["udf_info_name"] == "team/resize"
    assert "exec" not in body
    assert node.name == "registered UDF 'team/resize'"


def test_array_functions_get_array_and_arguments_as_the_contract_has_them(server: LoopbackServer) -> None:
    """Address, ranges and attributes travel beside the arguments, and among them."""
    server.arrays["tiledb://TileDB-Inc/quickstart_dense"] = {"a": [1, 2, 3]}
    dag = DAG()
    node = dag.submit_array_udf(
        "tiledb://TileDB-Inc/quickstart_dense",
        lambda data, factor: sum(data["a"]) * factor,
        [(1, 2), [slice(1, 2), 4], None],
        attrs=["a"],
        layout="C",
        factor=dag.submit(lambda: 2),
    )

    dag.compute()

    assert node.result(20) == 12
    body = posted(server)[-1]
    (details,) = body["arrays"]
    assert details["uri"] == "tiledb://TileDB-Inc/quickstart_dense"
    assert details["ranges"] == {"ranges": [[1, 2], [1, 2, 4, 4], []], "layout": "col-major"}
    assert details["buffers"] == ["a"]
    first, second = body["arguments_json"]
    assert first == {"value": {"__tdbudf__": "udf_array_details", "udf_array_details": details}}
    assert second["name"] == "factor"
    assert body["result_format"] == "native"
    assert "argument" in body


def test_a_query_gets_values_and_gives_a_frame(server: LoopbackServer) -> None:
    """SQL knows no references."""
    dag = DAG()
    number = dag.submit(lambda: 7)
    node = dag.submit_sql(
        "select ?", parameters=[number], init_commands=["set @x = 1"], result_format="json", raw_results=True
    )
    frame = dag.submit_sql("select 1", result_format="json")

    dag.compute()

    assert node.result(20) == [{"query": "select ?", "parameters": [7]}]
    assert list(frame.result(20).columns) == ["query", "parameters"]
    body = next(one.body for one in server.named("POST /v1/sql/mine") if one.body["query"] == "select ?")
    assert (body["init_commands"], body["name"]) == (["set @x = 1"], "SQL query")
    assert "task_name" not in body


def test_relative_paths_of_arrays_in_a_query_are_sent_as_whole_ones(
    server: LoopbackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has another folder; and a text, a comment or a column is none of its paths."""
    (tmp_path / "km" / "h").mkdir(parents=True)
    (tmp_path / "data" / "it's" / "__schema").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    end = "where a = '`data/it''s`\\'`./b`'"
    cases = {
        f"select * from `data/it's` {end}": f"select * from `{tmp_path}/data/it's` {end}",
        "select `km/h` /* `./a` */ from `./a` -- `./a`\n": f"select `km/h` /* `./a` */ from `{tmp_path}/a` -- `./a`\n",
        'select "`./a`", 5--`./a` # `./a`': f'select "`./a`", 5--`{tmp_path}/a` # `./a`',
        "select * from `s3://b/./a`, `/data`, `tiledb://n/a`": "select * from `s3://b/./a`, `/data`, `tiledb://n/a`",
    }
    dag = DAG()
    for query in cases:
        dag.submit_sql(query, init_commands=[query], result_format="json")

    dag.compute()
    dag.wait(20)

    sent = {(one.body["query"], *one.body["init_commands"]) for one in server.named("POST /v1/sql/mine")}
    assert sent == {(query, query) for query in cases.values()}


def test_nodes_of_an_earlier_graph_go_by_reference_too(server: LoopbackServer) -> None:
    """Their results are on the server already."""
    with DAG() as before:
        node = before.submit(lambda: 5)
    with DAG() as after:
        there = after.submit(lambda x: x + 1, node)
        here = after.submit_local(lambda x: x + 2, node)

    assert (there.result(), here.result()) == (6, 7)
    assert posted(server)[-1]["stored_param_uuids"] == [str(node.task_id())]


def test_a_result_that_nobody_could_have_is_refused(server: LoopbackServer) -> None:
    """Neither stored nor downloaded: the work would be for nothing."""
    dag = DAG()
    node = dag.submit(lambda: 1, store_results=False, _download_results=False)

    dag.compute()

    with pytest.raises(ValueError, match="neither stored nor downloaded"):
        node.result(20)


def test_without_any_server_a_node_fails_and_names_both_ways_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A person would not know what to install or to set."""

    def missing(name: str) -> Any:
        raise ImportError("No module named 'starlette'")

    monkeypatch.setenv("TILEDAG_SERVER", "embedded")
    monkeypatch.setattr("importlib.import_module", missing)
    dag = DAG()
    node = dag.submit(lambda: 1)
    fine = dag.submit_local(lambda: 1)

    dag.compute()

    with pytest.raises(ServerNeeded, match=r"tiledag-widget\[server\].*TILEDB_REST_HOST"):
        node.result(20)
    assert fine.result(20) == 1
    dag.cancel()


def test_a_view_shows_server_nodes_like_others(server: LoopbackServer) -> None:
    """Name, kind and result of a server node are to be looked at too."""
    dag = DAG()
    node = dag.submit(lambda: 3, name="there")
    query = dag.submit_sql("select 1", result_format="json", raw_results=True)
    dag.compute()
    dag.wait(20)

    source = dag._as_source()

    assert source.node(node._index).mode == "Realtime"
    assert source.node(query._index).function == "SQL query"
    assert source.result(node._index) == 3
    assert source.structure().names == ["there", "SQL query"]


def test_local_graphs_stay_local(server: LoopbackServer) -> None:
    """``DAG(mode=LOCAL)`` is a trial run without a server."""
    with DAG(mode=Mode.LOCAL) as dag:
        node = dag.submit(lambda: 1, timeout=3)

    assert node.result() == 1
    assert dag.namespace is None
    assert not server.requests


def test_a_server_node_cannot_be_stopped_by_a_foreign_server(server: LoopbackServer) -> None:
    """It has no route for that."""
    dag = DAG()
    node = dag.submit(lambda: 1)
    dag.compute()
    dag.wait(20)

    assert node.stop() is False
    assert node.status is Status.COMPLETED


def test_parents_come_first_in_a_log() -> None:
    """The service refuses other orders."""
    parents = [[1, 3], [2], [], [2], []]

    order = parents_first(parents)

    assert sorted(order) == list(range(5))
    assert all(order.index(parent) < order.index(child) for child, own in enumerate(parents) for parent in own)
    assert parents_first([[], [], []]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("given", "flat"),
    [
        ([3], ((3, 3),)),
        ([(1, 2)], ((1, 2),)),
        ([slice(1, 4)], ((1, 4),)),
        ([[1, (3, 4)]], ((1, 1, 3, 4),)),
        ([None, []], ((), ())),
        ((), ()),
    ],
)
def test_ranges_are_written_as_flat_pairs(given: Any, flat: Any) -> None:
    """The grammar of TileDB's client."""
    assert parse_ranges(given) == flat


@pytest.mark.parametrize(
    "given",
    [
        ["x"],
        [slice(1, 9, 2)],
        [(1, 2, 3)],
        [datetime.date(2020, 1, 1)],
        [(datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), None)],
    ],
)
def test_ranges_that_cannot_be_understood_are_named(given: Any) -> None:
    """A wrong range would read the wrong cells."""
    with pytest.raises(ValueError, match=r"ranges\[0\]"):
        parse_ranges(given)


def test_numpy_ranges_become_plain_numbers() -> None:
    """JSON knows no numpy."""
    numpy = pytest.importorskip("numpy")

    assert parse_ranges([numpy.int64(3), numpy.array([1, 2]), numpy.datetime64("1970-01-03")]) == (
        (3, 3),
        (1, 2),
        (2, 2),
    )


def test_an_id_of_a_log_is_a_uuid(server: LoopbackServer) -> None:
    """The reference gives a UUID in realtime graphs."""
    dag = DAG()
    dag.submit(lambda: 1)

    assert isinstance(dag.initial_setup(), uuid.UUID)
    assert dag.initial_setup() == dag.server_graph_uuid
