"""Batch graphs: a real server runs whole graphs by itself."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.batching import ITEM, BatchBody, refusal, submit
from tests.server.running import Server, running_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("batch") / "data", "--workers", "2", "--samples") as found:
        yield found


def test_a_graph_runs_to_its_end_without_its_client(server: Server) -> None:
    """The notebook may close; nodes get the outputs of their parents, wherever these stand in the arguments."""
    body = BatchBody("simple")
    one = body.udf(lambda: 1, name="one")
    two = body.udf(lambda x, y: [x + y, "two"], one, kwargs={"y": 10}, name="two")
    last = body.udf(lambda pair, more: {"pair": pair, "more": more}, two, {"deep": [1, (2,)]}, name="last")

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "succeeded"
    assert log["name"] == "simple"
    assert log["task_graph_id"] == run.graph
    assert [node["name"] for node in log["nodes"]] == ["one", "two", "last"]
    assert log["status_count"] == {"COMPLETED": 3}
    assert run.result(last) == {"pair": [11, "two"], "more": {"deep": [1, [2]]}}
    assert all(node["executions"][0]["type"] == "BATCH_UDF" for node in log["nodes"])


def test_an_empty_graph_is_complete_at_once(server: Server) -> None:
    """Nothing to do is done, and does not stay Running for ever."""
    run = submit(server, BatchBody("empty"))

    assert run.wait()["status"] == "succeeded"


def test_a_failure_stops_what_depends_on_it_and_nothing_else(server: Server) -> None:
    """Other branches go on; below the failed node nothing runs, and the client reads why."""
    body = BatchBody("failing")
    bad = body.udf(lambda: 1 / 0, name="bad")
    body.udf(lambda x: x, bad, name="below")
    fine = body.udf(lambda: "fine", name="fine")

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "failed"
    assert run.statuses(log) == {"bad": "FAILED", "below": "QUEUED", "fine": "COMPLETED"}
    assert isinstance(run.result(bad), ZeroDivisionError)
    assert run.result(fine) == "fine"
    told = {(one.get("node"), one.get("status")): one for one in run.events() if one["kind"] == "node"}
    assert told[body.nodes[1].id, "PARENT_FAILED"]["cause"] == bad.id
    assert told[bad.id, "FAILED"]["error_type"] == "ZeroDivisionError"
    assert "1 / 0" in told[bad.id, "FAILED"]["traceback"]


def test_stages_run_once_for_each_item_in_order(server: Server) -> None:
    """Two stages in a row, items of any kind, and another node's whole output beside the item."""
    body = BatchBody("stages")
    offset = body.udf(lambda: 100, name="offset")
    items = body.udf(lambda: [3, [1, 2], "text", {"k": None}], name="items", result_format="tiledb_json")
    first = body.udf(lambda item, off: [item, off], ITEM, offset, over=items, name="first")
    second = body.udf(lambda pair: f"{pair[0]}/{pair[1]}", ITEM, over=first, name="second")
    total = body.udf(lambda texts: " ".join(texts), second, name="total")

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "succeeded", run.statuses(log)
    assert run.result(first) == [[3, 100], [[1, 2], 100], ["text", 100], [{"k": None}, 100]]
    assert run.result(total) == "3/100 [1, 2]/100 text/100 {'k': None}/100"
    assert all(len(node["executions"]) == 1 for node in log["nodes"])


def test_the_item_stands_in_texts_and_deep_in_arguments(server: Server) -> None:
    """Names of files are made of the item, and arguments may hold it anywhere."""
    body = BatchBody("texts")
    items = body.udf(lambda: ["a", 2], name="items")
    named = body.udf(
        lambda text, deep: [text, deep], f"part-{ITEM}.csv", {"in": [ITEM, {"__tdbudf__": 1}]}, over=items, name="named"
    )

    run = submit(server, body)
    run.wait()

    assert run.result(named) == [
        ["part-a.csv", {"in": ["a", {"__tdbudf__": 1}]}],
        ["part-2.csv", {"in": [2, {"__tdbudf__": 1}]}],
    ]


def test_a_stage_over_nothing_gives_nothing(server: Server) -> None:
    """An empty list is a list."""
    body = BatchBody("nothing")
    items = body.udf(list, name="items")
    stage = body.udf(lambda item: 1 / 0, ITEM, over=items, name="stage")
    count = body.udf(len, stage, name="count")

    run = submit(server, body)

    assert run.wait()["status"] == "succeeded"
    assert run.result(count) == 0


def test_a_stage_over_something_else_says_what_it_got(server: Server) -> None:
    """The user reads which node gave what."""
    body = BatchBody("no list")
    number = body.udf(lambda: 7, name="number")
    stage = body.udf(lambda item: item, ITEM, over=number, name="stage")

    run = submit(server, body)

    assert run.wait()["status"] == "failed"
    assert "the output of node 'number', which must be a list; it is int" in str(run.result(stage))


def test_a_failing_item_fails_its_stage_and_a_retry_runs_it_alone(server: Server, tmp_path: Path) -> None:
    """Of a hundred months, the one that failed is run again, not the others."""
    flag, calls = str(tmp_path / "flag"), str(tmp_path / "calls")

    def work(item: int) -> int:
        import os

        with open(calls, "a") as file:
            file.write(f"{item}\n")
        if item == 2 and not os.path.exists(flag):
            raise ValueError("not yet")
        return item * 10

    body = BatchBody("retried stage")
    items = body.udf(lambda: [1, 2, 3], name="items")
    stage = body.udf(work, ITEM, over=items, name="stage")
    after = body.udf(sum, stage, name="after")
    run = submit(server, body)
    log = run.wait()
    assert run.statuses(log) == {"items": "COMPLETED", "stage": "FAILED", "after": "QUEUED"}
    assert str(run.result(stage)) == "not yet"

    Path(flag).touch()
    answer = run.control("retry")
    log = run.wait()

    assert answer.status == 202
    assert answer.json()["uuid"] == run.log
    assert log["status"] == "succeeded"
    assert run.result(after) == 60
    assert sorted(Path(calls).read_text().split()) == ["1", "2", "2", "3"]


@pytest.mark.slow
def test_other_kinds_of_nodes_run_as_what_they_are(server: Server) -> None:
    """Queries, arrays and inputs, each handed on to functions as in a realtime graph."""
    body = BatchBody("kinds")
    start = body.add({"input_node": {"default_value": 4, "datatype": "int"}}, "start")
    rows = body.sql("select ? * 2 as doubled", start, name="rows")
    uri = "tiledb://TileDB-Inc/quickstart_dense"
    cells = body.add({"array_node": {"uri": uri, "ranges": {"ranges": [[1, 2], []]}, "buffers": ["a"]}}, "cells")
    last = body.udf(lambda frame, data: [int(frame["doubled"][0]), int(data["a"].sum())], rows, cells, name="last")

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "succeeded", log
    assert run.result(last) == [8, 36]


@pytest.mark.slow
def test_parallelism_bounds_what_runs_at_once(tmp_path: Path) -> None:
    """A graph that must not load a database too much says so."""
    folder = str(tmp_path / "marks")
    Path(folder).mkdir()

    def crowd(number: int) -> int:
        import os
        import time as clock

        mark = os.path.join(folder, str(number))
        open(mark, "w").close()
        clock.sleep(0.02)
        seen = len(os.listdir(folder))
        os.unlink(mark)
        return seen

    body = BatchBody("narrow", options={"parallelism": 2})
    nodes = [body.udf(crowd, number) for number in range(8)]
    with running_server(tmp_path / "data", "--workers", "4") as server:
        run = submit(server, body)
        run.wait()

        assert max(run.result(node) for node in nodes) <= 2


def test_stop_ends_what_runs_and_cancels_the_rest(server: Server) -> None:
    """Nothing that waits will start, and the run is over soon."""
    body = BatchBody("stopped", options={"parallelism": 1})
    slow = body.udf(lambda: time.sleep(60), name="slow")
    body.udf(lambda x: x, slow, name="below")
    body.udf(lambda: 1, name="waiting")
    run = submit(server, body)
    run.wait_for(lambda log: run.statuses(log)["slow"] == "RUNNING")

    answer = run.control("stop")
    log = run.look()

    assert answer.status == 204
    assert log["status"] == "cancelled"
    assert run.statuses(log)["slow"] == "CANCELLED"
    assert run.statuses(log)["waiting"] == "CANCELLED"
    assert run.control("stop").status == 204


@pytest.mark.slow
def test_a_stopped_run_goes_on_after_a_retry(server: Server, tmp_path: Path) -> None:
    """What was cancelled runs, what was done is kept."""
    flag = str(tmp_path / "flag")

    def wait(before: int) -> int:
        import os
        import time as clock

        while not os.path.exists(flag):
            clock.sleep(0.01)
        return before + 1

    body = BatchBody("taken up")
    first = body.udf(lambda: 1, name="first")
    second = body.udf(wait, first, name="second")
    third = body.udf(lambda x: x + 1, second, name="third")
    run = submit(server, body)
    run.wait_for(lambda log: run.statuses(log)["second"] == "RUNNING")
    run.control("stop")

    Path(flag).touch()
    assert run.control("retry").status == 202
    log = run.wait()

    assert log["status"] == "succeeded"
    assert run.result(third) == 3
    assert run.attempts(log, first) == ["COMPLETED"]
    assert run.attempts(log, second) == ["CANCELLED", "COMPLETED"]
    assert run.control("retry").status == 409


@pytest.mark.slow
def test_a_manual_retry_runs_what_failed_and_what_depends_on_it(server: Server, tmp_path: Path) -> None:
    """Attempts are all on record, the last one counts, and the outcome of others is kept."""
    flag = str(tmp_path / "flag")

    def flaky() -> str:
        import os

        if not os.path.exists(flag):
            raise ValueError("not yet")
        return "in the end"

    body = BatchBody("by hand")
    chance = body.udf(flaky, name="chance")
    other = body.udf(lambda: 5, name="other")
    after = body.udf(str.upper, chance, name="after")
    run = submit(server, body)
    run.wait()
    assert run.control("retry", [other]).status == 409

    Path(flag).touch()
    answer = run.control("retry", [chance])
    told = {node["name"]: node["status"] for node in answer.json()["nodes"]}
    log = run.wait()

    assert answer.json()["status"] == "running"
    assert told["chance"] not in ("FAILED", "CANCELLED")
    assert run.attempts(log, chance) == ["FAILED", "COMPLETED"]
    assert run.attempts(log, other) == ["COMPLETED"]
    assert run.result(after) == "IN THE END"


def test_resubmit_is_a_new_run_of_the_same_graph(server: Server) -> None:
    """The old run stays as it was."""
    body = BatchBody("anew")
    node = body.udf(lambda: 3, name="three")
    run = submit(server, body)
    run.wait()

    answer = run.control("resubmit")
    again = type(run)(server, run.graph, answer.json()["uuid"], type(run.rules)(server, {node.id}))

    assert answer.status == 202
    assert again.log != run.log
    assert again.wait()["status"] == "succeeded"
    assert run.look()["status"] == "succeeded"


def test_single_nodes_can_be_stopped(server: Server) -> None:
    """One branch is given up, the other goes on."""
    body = BatchBody("one branch")
    slow = body.udf(lambda: time.sleep(60), name="slow")
    fine = body.udf(lambda: 1, name="fine")
    run = submit(server, body)
    run.wait_for(lambda log: run.statuses(log)["slow"] == "RUNNING")

    assert run.control("stop", [slow]).status == 204
    log = run.wait()

    assert log["status"] == "cancelled"
    assert run.statuses(log) == {"slow": "CANCELLED", "fine": "COMPLETED"}
    assert run.result(fine) == 1


def test_events_come_at_once_and_tell_the_story(server: Server) -> None:
    """A client that waits hears of each change when it happens, and can read all of it again later."""
    body = BatchBody("followed")
    node = body.udf(lambda: 1, name="one")
    run = submit(server, body)

    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["kind"] != "run" or heard[-1]["status"] not in ("succeeded", "failed"):
        heard += run.events(after=heard[-1]["number"] if heard else 0, wait=10)

    assert heard == run.events()
    assert [one["status"] for one in heard if one["kind"] == "node"] == ["RUNNING", "COMPLETED"]
    assert [one["status"] for one in heard if one["kind"] == "run"] == ["submitted", "running", "succeeded"]
    assert {one["node"] for one in heard if one["kind"] == "node"} == {node.id}
    begun = time.monotonic()
    assert run.events(after=heard[-1]["number"], wait=5) == []
    assert time.monotonic() - begun < 2, "an ended run has nothing to wait for"
    assert server.ask("GET", f"/tiledag/v1/runs/{uuid.uuid4()}/events").status == 404


def test_graphs_are_kept_shown_and_changed(server: Server) -> None:
    """What was sent comes back; a run that was submitted keeps the graph that it had."""
    body = BatchBody("kept")
    body.udf(lambda: 1, name="one")
    run = submit(server, body)
    path = f"/v1/taskgraphs/me/graphs/{run.graph}"

    shown = server.ask("GET", path).json()
    assert shown["nodes"] == body.json()["nodes"]
    assert shown["uuid"] == run.graph
    assert server.ask("PATCH", path, {"name": "renamed"}).status == 204
    assert server.ask("GET", path).json()["name"] == "renamed"
    assert run.graph in [one["uuid"] for one in server.ask("GET", "/v1/taskgraphs/ME/graphs").json()["graphs"]]
    assert run.wait()["name"] == "kept"
    listed = server.ask("GET", "/v1/taskgraphs/logs?search=kept").json()["task_graph_logs"]
    assert [(one["uuid"], one["task_graph_type"]) for one in listed] == [(run.log, "batch")]
    assert server.ask("GET", "/v1/taskgraphs/me/graphs/" + str(uuid.uuid4())).status == 404


def test_what_cannot_run_is_refused_before_anything_runs(server: Server) -> None:
    """Each refusal names the place in the graph."""

    def body(**options: Any) -> BatchBody:
        return BatchBody(options=options)

    ring = body()
    first = ring.udf(lambda: 1)
    second = ring.udf(lambda x: x, first)
    first.body["depends_on"] = [second.id]
    assert "in a ring" in refusal(server, ring)

    unknown = body()
    unknown.udf(lambda: 1).body["depends_on"] = [str(uuid.uuid4())]
    assert "nodes[0].depends_on names" in refusal(server, unknown)

    bare = body()
    bare.add({}, "bare")
    assert "must have exactly one of udf_node" in refusal(server, bare)

    old = body()
    old.udf(lambda: 1, environment={"language_version": "3.6.1"})
    assert "pickled by Python 3.6" in refusal(server, old)

    odd = body()
    odd.udf(lambda: 1, environment={"resources": {"memory": "lots"}})
    assert "nodes[0].udf_node.environment.resources.memory is 'lots'" in refusal(server, odd)

    condition = body(retry_strategy={"expression": "lastRetry.exitCode > 1"})
    assert "retry_strategy.expression, character 20: a text cannot be compared by > with a number" in refusal(
        server, condition
    )
    assert "deadline is -1" in refusal(server, body(deadline=-1))
    assert "parallelism is 0" in refusal(server, body(parallelism=0))


def test_registered_functions_and_results_of_other_runs_are_arguments(server: Server) -> None:
    """A batch graph builds on what is there."""
    from tiledag_widget.wire import codec

    code = codec.encode_function(lambda x: x * 2)
    answer = server.ask("POST", "/v1/udf/me/twice", {"name": "twice", "language": "python", "exec": code})
    assert answer.status == 204
    before = server.call(lambda: 21).headers["x-tiledb-cloud-task-id"]
    body = BatchBody("built on")
    node = body.udf("me/twice", name="twice")
    node.body["udf_node"]["arguments"] = [{"value": {"__tdbudf__": "stored_param", "task_id": before}}]
    missing = body.udf("me/nothing", name="missing")
    dated = body.udf("me/twice@2999-01-01 10:00", 4, name="dated")
    early = body.udf("me/twice@1999-01-01", 4, name="early")

    run = submit(server, body)
    log = run.wait()

    assert run.result(node) == 42
    assert run.result(dated) == 8
    assert run.attempts(log, early) == ["FAILED"]
    assert run.statuses(log)["missing"] == "FAILED"
    found = next(one for one in log["nodes"] if one["client_node_uuid"] == missing.id)
    assert found["status_message"] == "There is no registered UDF 'me/nothing' on this server."


@pytest.mark.slow
def test_a_server_that_nobody_uses_stays_until_its_runs_have_ended(tmp_path: Path) -> None:
    """The notebook was closed on the strength of it."""
    mark = tmp_path / "mark"
    place = str(mark)

    def work() -> None:
        import time as clock

        clock.sleep(3)
        open(place, "w").close()

    body = BatchBody("left alone")
    body.udf(work)
    with running_server(tmp_path / "data", "--workers", "2", "--idle", "0.5") as server:
        submit(server, body)
        assert server.process is not None

        server.process.wait(30)

        assert mark.exists(), "the server ended before its run"


def test_a_task_of_a_run_is_stopped_by_its_id(server: Server) -> None:
    """The page's button stops what it shows, of whatever kind the run is."""
    body = BatchBody("by task")
    slow = body.udf(lambda: time.sleep(60), name="slow")
    run = submit(server, body)
    log = run.wait_for(lambda log: run.statuses(log)["slow"] == "RUNNING")
    task = log["nodes"][0]["executions"][-1]["id"]

    assert server.ask("POST", f"/tiledag/v1/tasks/{task}/stop").status == 204

    assert run.attempts(run.wait(), slow) == ["CANCELLED"]
