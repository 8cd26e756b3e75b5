"""The server's heart on a real socket, quick enough for every change; the other files look closer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.running import Server, running_server
from tiledag_widget.wire import codec
from tiledag_widget.wire.models import ArrayDetails, ArrayRanges

for needed in ("uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

DENSE = "tiledb://TileDB-Inc/quickstart_dense"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--samples", "--workers", "2") as running:
        yield running


def test_who_has_no_token_gets_nothing(server: Server) -> None:
    """Every user of the machine reaches the port."""
    assert server.ask("GET", "/v1/user", token="").status == 401
    assert server.ask("GET", "/v1/user", headers={"Host": "evil.test"}).status == 403
    assert server.ask("GET", "/v1/user").status == 200


def test_a_function_runs_and_its_record_tells_of_it(server: Server) -> None:
    """Nothing would work."""
    answer = server.call(lambda a, *, b: [a, b], {1, 2}, kwargs={"b": (3,)}, task_name="first")
    task = server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}").json()

    assert answer.value() == [{1, 2}, [3]]
    assert (task["name"], task["status"], task["type"]) == ("first", "COMPLETED", "GENERIC_UDF")


def test_a_failure_comes_with_its_type_its_place_and_what_was_printed(server: Server) -> None:
    """Else the user has a number and no reason."""

    def fails() -> None:
        print("before the end")  # noqa: T201  # that is what the test is about
        dict[str, int]()["nothing here"]

    answer = server.call(fails)
    task = server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}").json()

    assert answer.status == 422
    assert answer.json()["exception_type"] == "KeyError"
    assert "in fails" in answer.json()["traceback"]
    assert task["logs"] == "before the end\n"


def test_a_result_goes_from_one_task_to_the_next_by_its_id(server: Server) -> None:
    """A million rows would travel twice for nothing."""
    first = server.call(lambda: list(range(1000)), dont_download_results=True)
    task = first.headers["x-tiledb-cloud-task-id"]
    stored = [{"value": {"__tdbudf__": "stored_param", "task_id": task}}]

    assert first.body == b""
    assert server.call(sum, arguments_json=stored, stored_param_uuids=[task]).value() == 499500


def test_a_run_is_on_record_with_its_nodes_and_attempts(server: Server) -> None:
    """The log browser shows it."""
    node = "5c1a6f1e-0000-4000-8000-000000000001"
    log = server.new_log((node, "server"))
    ids = {"task_graph_uuid": log, "client_node_uuid": node}
    server.call(lambda: 1 / 0, **ids)
    answer = server.call(lambda: 5, **ids)
    server.ask("PATCH", f"/v1/taskgraphs/me/logs/{log}", {"status": "succeeded"})
    found = server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").json()

    assert answer.value() == 5
    assert server.call(lambda: 6, **ids).value() == 5  # it has completed: a repeat gets the stored reply
    assert (found["status"], found["nodes"][0]["status"]) == ("succeeded", "COMPLETED")
    assert [one["status"] for one in found["nodes"][0]["executions"]] == ["FAILED", "COMPLETED"]


def test_a_function_gets_the_cells_of_an_array_and_a_query_its_rows(server: Server) -> None:
    """The other two kinds of nodes."""
    details = ArrayDetails(DENSE, ArrayRanges(((1, 2), (2, 3)), None), ("a",))
    body = codec.to_tagged(details, "n", "args[0]")["udf_array_details"]
    cells = server.call(lambda data: data["a"].tolist(), details, arrays=[body])
    rows = server.sql(f"select sum(a) as s, @x as x from `{DENSE}` where `rows` = ?", parameters=[1],
                      init_commands=["set @x = 2"])  # fmt: skip

    assert cells.value() == [[2, 3], [6, 7]]
    assert rows.json() == [{"s": 10, "x": 2}]


def test_a_realtime_run_is_retried_by_its_client_and_the_server_says_so(server: Server) -> None:
    """The server never had the functions of the nodes that did not start."""
    log = server.new_log(("5c1a6f1e-0000-4000-8000-000000000002", "server"))

    answers = [server.ask("POST", f"/v1/taskgraphs/me/executions/{log}/{verb}") for verb in ("retry", "resubmit")]
    stop = server.ask("POST", f"/v1/taskgraphs/me/executions/{log}/stop")

    assert [answer.status for answer in answers] == [409, 409]
    assert "node.retry()" in answers[0].json()["message"]
    assert stop.status == 204
    assert server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").json()["status"] == "cancelled"
