"""The body of an upload: what the server is sent of a BATCH graph."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.loopback import Answer, LoopbackServer, Request, as_json, error, serving
from tiledag_widget import DAG, Mode, NotPicklable
from tiledag_widget.models import RetryBackoff, RetryPolicy, RetryStrategy
from tiledag_widget.run import batch_body
from tiledag_widget.wire import codec
from tiledag_widget.wire.batch_models import PLACEHOLDER, BatchGraph
from tiledag_widget.wire.models import NodeOutput, from_json


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[LoopbackServer]:
    """Takes an upload, and refuses to run it: the body is all that is looked at."""

    def rule(request: Request) -> Answer | None:
        if request.method == "POST" and request.path.endswith("/graphs"):
            return as_json({"uuid": "5f0e0bcd-58a5-4a21-9a0c-3f4bd1f8a3f1"}, 201)
        return error(409, "enough seen") if request.path.endswith("/submit") else None

    with serving(monkeypatch, tmp_path) as one:
        one.rules.append(rule)
        yield one


def body_of(server: LoopbackServer, dag: DAG) -> dict[str, Any]:
    with pytest.raises(Exception, match="enough seen"):
        dag.compute()
    sent: dict[str, Any] = next(one.body for one in server.requests if one.path == "/v1/taskgraphs/ns/graphs")
    from_json(BatchGraph, sent)  # it is what a server reads
    return sent


def batch(**options: Any) -> DAG:
    return DAG(mode=Mode.BATCH, namespace="ns", **options)


def double(x: int) -> int:
    return 2 * x


def test_a_graph_goes_as_the_contract_has_it(server: LoopbackServer) -> None:
    """Another server than ours would not understand it."""
    dag = batch(name="g", max_workers=3)
    one = dag.submit(double, 1, name="one")
    two = dag.submit(double, x=one, name="two", image_name="geo", timeout=5, result_format="json", deadline=9)

    sent = body_of(server, dag)

    assert {**sent, "nodes": None} == {
        "name": "g",
        "parallelism": 3,
        "retry_strategy": None,
        "workflow_retry_strategy": None,
        "deadline": None,
        "nodes": None,
    }
    first, second = sent["nodes"]
    code = codec.decode_function(first["udf_node"].pop("executable_code"))
    assert code(21) == 42
    assert "return 2 * x" in first["udf_node"].pop("source_text")
    environment = first["udf_node"].pop("environment")
    assert environment.pop("language_version").count(".") == 2
    assert environment == {
        "language": "python",
        "run_client_side": False,
        "namespace": "ns",
        "resource_class": "standard",
    }
    assert first == {
        "client_node_id": str(one.id),
        "name": "one",
        "depends_on": [],
        "expand_node_output": "",
        "udf_node": {"arguments": [{"value": 1}], "result_format": "native"},
    }
    assert (second["depends_on"], second["deadline"]) == ([str(one.id)], 9)
    assert second["udf_node"]["environment"]["image_name"] == "geo"
    assert second["udf_node"]["environment"]["timeout"] == 5
    assert second["udf_node"]["result_format"] == "json"
    assert codec.load_arguments(second["udf_node"]["arguments"]) == ([], {"x": NodeOutput(str(one.id))})
    assert two.name == "two"


def test_a_stage_gets_items_of_the_expanded_node_and_results_of_others(server: LoopbackServer) -> None:
    """Upstream sends the item in every place, so a stage cannot take anything else."""
    dag = batch()
    months = dag.submit(lambda: [1, 2])
    rate = dag.submit(lambda: 7)
    stage = dag.submit_udf_stage(
        lambda both, rate: both, {"month": months, "k": [1]}, rate, expand_node_output=months, name="stage"
    )

    sent = body_of(server, dag)

    entry = next(one for one in sent["nodes"] if one["client_node_id"] == str(stage.id))
    assert entry["expand_node_output"] == str(months.id)
    assert entry["udf_node"]["arguments"][0]["value"] == {"month": PLACEHOLDER, "k": [1]}
    assert entry["udf_node"]["arguments"][1]["value"] == {
        "__tdbudf__": "node_output",
        "client_node_id": str(rate.id),
    }
    assert sorted(entry["depends_on"]) == sorted([str(months.id), str(rate.id)])


def test_a_stage_waits_for_what_it_expands_though_no_argument_names_it(server: LoopbackServer) -> None:
    """It would begin before there is a list."""
    dag = batch()
    months = dag.submit(lambda: [1, 2])
    stage = dag.submit_udf_stage(lambda: 1, expand_node_output=months)

    assert list(stage.parents.values()) == [months]
    with pytest.raises(ValueError, match="must be a node of this graph"):
        dag.submit_udf_stage(double, 1, expand_node_output=batch().submit(double, 1))


def test_queries_and_arrays_go_as_what_they_are(server: LoopbackServer, tmp_path: Any) -> None:
    """Upstream makes them registered functions named after the query and the address."""
    dag = batch()
    total = dag.submit(lambda: 5, name="total")
    rows = dag.submit_sql("select ? as x", parameters=(total, 2), init_commands=["set @a=1"], name="rows")
    cells = dag.submit_array_udf(
        str(tmp_path / "a"), lambda data, p: p, [(1, 2), None], attrs=["a"], layout="R", p=rows, name="cells"
    )

    by_name = {one["name"]: one for one in body_of(server, dag)["nodes"]}

    assert by_name["rows"]["sql_node"] == {
        "query": "select ? as x",
        "init_commands": ["set @a=1"],
        "parameters": [{"__tdbudf__": "node_output", "client_node_id": str(total.id)}, 2],
        "result_format": "arrow",
        "namespace": "ns",
    }
    array = by_name["cells (array)"]
    assert array["array_node"] == {
        "uri": str(tmp_path / "a"),
        "ranges": {"ranges": [[1, 2], []], "layout": "row-major"},
        "buffers": ["a"],
    }
    udf = by_name["cells"]
    assert udf["client_node_id"] == str(cells.id)
    assert udf["depends_on"] == [str(rows.id), array["client_node_id"]]
    args, kwargs = codec.load_arguments(udf["udf_node"]["arguments"])
    assert (args, kwargs) == ([NodeOutput(array["client_node_id"])], {"p": NodeOutput(str(rows.id))})
    names = [one["name"] for one in body_of(server, dag)["nodes"]]
    assert names.index("cells (array)") < names.index("cells")


def test_a_place_to_write_to_is_refused_where_the_server_knows_none(server: LoopbackServer) -> None:
    """The rows would go nowhere."""
    dag = batch()
    dag.submit_sql("select 1", "tiledb://ns/out", name="rows")

    with pytest.raises(ValueError, match=r"Node 'rows': .* knows no output_uri"):
        dag.compute()


def test_options_for_the_server_do_not_reach_the_function(server: LoopbackServer) -> None:
    """Upstream passes those that it does not know to the function, which fails on the server."""
    dag = batch()
    dag.submit(double, 1, namespace="other", task_name="t", store_results=True, access_credentials_name="acn")

    (entry,) = body_of(server, dag)["nodes"]

    assert entry["udf_node"]["arguments"] == [{"value": 1}]
    assert entry["udf_node"]["environment"]["namespace"] == "ns"
    assert entry["udf_node"]["environment"]["access_credentials_name"] == "acn"


def test_values_of_another_graph_and_registered_functions(server: LoopbackServer) -> None:
    """A finished graph's results are inputs of the next one."""
    with DAG(mode=Mode.LOCAL) as before:
        ten = before.submit(double, 5)
    dag = batch()
    dag.submit("ns/registered", ten, [ten, {"deep": ten}], name="named")

    (entry,) = body_of(server, dag)["nodes"]

    assert entry["udf_node"]["registered_udf_name"] == "ns/registered"
    assert "executable_code" not in entry["udf_node"]
    assert codec.load_arguments(entry["udf_node"]["arguments"]) == ([10, [10, {"deep": 10}]], {})


def test_what_cannot_be_sent_is_named_and_nothing_is_sent(server: LoopbackServer) -> None:
    """A graph of a thousand nodes would be looked through by hand."""
    import threading

    dag = batch()
    dag.submit(double, 1)
    dag.submit(double, [{"lock": threading.Lock()}], name="bad")

    with pytest.raises(NotPicklable, match=r"Node 'bad': args\[0\]\[0\]\['lock'\]"):
        dag.compute()

    assert not [one for one in server.requests if one.method == "POST"]
    assert not dag.done()


# --- strategies and limits ----------------------------------------------------------------------------------


def test_strategies_go_with_the_graph_and_the_node(server: LoopbackServer) -> None:
    """What was asked for would not happen."""
    strategy = RetryStrategy(3, RetryPolicy.ALWAYS, RetryBackoff("2s", 2.0, "1m"), "lastRetry.exitCode != '7'")
    dag = batch(retry_strategy=strategy, workflow_retry_strategy={"limit": 1}, deadline=datetime.timedelta(minutes=2))
    dag.submit(double, 1, retry_strategy={"limit": 0, "retry_policy": "OnError"})

    sent = body_of(server, dag)

    assert sent["retry_strategy"] == {
        "limit": 3,
        "retryPolicy": "Always",
        "backoff": {"duration": "2s", "factor": 2.0, "maxDuration": "1m"},
        "expression": "lastRetry.exitCode != '7'",
    }
    assert (sent["workflow_retry_strategy"], sent["deadline"]) == ({"limit": 1}, 120)
    assert sent["nodes"][0]["retry_strategy"] == {"limit": 0, "retryPolicy": "OnError"}


@pytest.mark.parametrize(
    "given",
    [
        {"limit": 2, "retryPolicy": "OnFailure", "backoff": {"duration": 2, "maxDuration": "3"}},
        SimpleNamespace(
            limit=2,
            retry_policy="OnFailure",
            expression=None,
            backoff=SimpleNamespace(duration="2", factor=None, max_duration="3"),
        ),
    ],
    ids=["JSON's names", "TileDB's model"],
)
def test_a_strategy_may_be_written_in_several_ways(given: Any) -> None:
    """Scripts for TileDB Cloud use its own models."""
    found = batch_body.retry_strategy(given, "here")

    assert found == RetryStrategy(2, RetryPolicy.ON_FAILURE, RetryBackoff("2", None, "3"))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"retry_strategy": "three times"}, TypeError, "retry_strategy must be .*RetryStrategy or a mapping, got str"),
        (
            {"workflow_retry_strategy": {"limit": "x"}},
            ValueError,
            "workflow_retry_strategy.limit must be a whole number",
        ),
        ({"retry_strategy": {"backoff": {"wait": 1}}}, ValueError, "backoff has no 'wait'; it knows duration, factor"),
        ({"deadline": -1}, ValueError, "deadline must be a number of seconds above 0, got -1"),
    ],
)
def test_an_option_of_a_graph_is_refused_when_it_is_made(options: Any, error: type[Exception], words: str) -> None:
    """It would be found when all nodes are there, or, a name that is none, by nobody."""
    with pytest.raises(error, match=words):
        batch(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retry_strategy": {"limit": -1}}, r"retry_strategy\.limit must be a whole number from 0 on, got -1"),
        ({"retry_strategy": {"limits": 1}}, r"retry_strategy has no 'limits'"),
        ({"retry_strategy": {"retry_policy": "Often"}}, r"retryPolicy is 'Often', expected one of: Always"),
        ({"retry_strategy": {"backoff": {"duration": "soon"}}}, r"backoff\.duration must be seconds or .* got 'soon'"),
        ({"retry_strategy": {"backoff": {"factor": 0}}}, r"backoff\.factor must be a number above 0"),
        ({"retry_strategy": RetryStrategy(limit=True)}, r"limit must be a whole number"),
        ({"deadline": 0}, r"deadline must be a number of seconds above 0, got 0"),
        ({"deadline": 1.5}, r"deadline must be whole seconds"),
        ({"timeout": "5"}, r"timeout must be a number of seconds above 0, got '5'"),
        ({"result_format": "xml"}, r"result_format is 'xml', expected one of"),
        ({"resources": {"memory": "123456789"}}, r"`memory` key in `resources` is '123456789': a unit is missing"),
        ({"resources": {"memory": 2}}, r"`memory` key in `resources` is 2: a unit is missing"),
        ({"resources": {"memory": "2 GB"}}, r"resources\['memory'\] is '2 GB'; write '512Mi' or '2Gi'"),
        ({"resources": {"cpus": "1"}}, r"resources knows cpu, memory and gpu, not 'cpus'"),
        ({"resources": {"cpu": "lots"}}, r"resources\['cpu'\] is 'lots'"),
        ({"resources": {"gpu": -1}}, r"resources\['gpu'\] must be a whole number"),
        ({"resources": {"cpu": "1"}, "resource_class": "large"}, r"Only one of `resources` and `resource_class`"),
    ],
)
def test_options_that_do_not_fit_are_refused_when_the_node_is_made(options: dict[str, Any], words: str) -> None:
    """The server would refuse the whole graph, and not say which line made the node."""
    dag = batch()

    with pytest.raises(ValueError, match=words):
        dag.submit(double, 1, name="n", **options)

    assert not dag.nodes


@pytest.mark.parametrize("given", ["large", 2, ["cpu"]])
def test_resources_that_are_no_mapping_are_refused(given: Any) -> None:
    """`resources="large"` is what somebody writes who means `resource_class`."""
    dag = batch()

    with pytest.raises(TypeError, match=r"`resources` must be a mapping such as .* got "):
        dag.submit(double, 1, name="n", resources=given)

    assert not dag.nodes


@pytest.mark.parametrize("given", [5, "twice", SimpleNamespace(limit=1)])
def test_what_is_no_strategy_is_refused(given: Any) -> None:
    """It would be sent as null."""
    with pytest.raises(TypeError, match=r"must be a tiledag_widget\.models\.RetryStrategy or a mapping"):
        batch().submit(double, 1, retry_strategy=given)


def test_resources_are_quantities(server: LoopbackServer) -> None:
    """A number without a unit is what everybody writes for CPUs."""
    dag = batch()
    dag.submit(double, 1, resources={"cpu": 1.5, "memory": "512Mi", "gpu": 1})
    dag.submit(double, 1, resource_class="large")

    first, second = (one["udf_node"]["environment"] for one in body_of(server, dag)["nodes"])

    assert (first["resources"], "resource_class" in first) == ({"cpu": "1.5", "memory": "512Mi", "gpu": 1}, False)
    assert second["resource_class"] == "large"
