"""Functions on a real server: results, failures, ends by force, repeats, and what is on record of them."""

from __future__ import annotations

import base64
import math
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from tests.server.running import Answer, Server, running_server, wait_until
from tiledag_widget.wire import codec, models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "4") as running:
        yield running


class Calls:
    """Calls that are made in threads of their own."""

    def __init__(self, count: int, make: Any) -> None:
        self.answers: list[Answer] = []
        self.threads = [threading.Thread(target=lambda: self.answers.append(make())) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def join(self) -> list[Answer]:
        for thread in self.threads:
            thread.join(60)
        return self.answers


def running_task(server: Server, name: str) -> str:
    """The id of the task with this name, once it runs."""
    found: list[str] = []

    def is_there() -> bool:
        tasks = server.ask("GET", f"/v1/tasks?search={name}&status=RUNNING").json().get("array_tasks", [])
        found[:] = [task["id"] for task in tasks]
        return bool(found)

    wait_until(is_there)
    return found[0]


def until_there(path: str) -> str:
    """Waits in a worker for a file; its text."""
    import pathlib
    import time

    deadline = time.monotonic() + 50
    while not pathlib.Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return pathlib.Path(path).read_text()


until_there.__module__ = "__main__"  # goes by value: the worker cannot import the tests


VALUES = [
    None,
    [1, 2.5, "ü", None, True],
    {"a": {"b": [1]}, "__tdbudf__": "mine"},
    {1: "a key that is a number"},
    {"s": {1, 2}, "b": b"\x00\xff"},
    (1, (2, [3])),
    math.inf,
]


@pytest.mark.parametrize("result_format", ["native", "tiledb_json"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_goes_there_and_back(server: Server, value: Any, result_format: str) -> None:
    """What a node gets and gives must be what was meant."""
    answer = server.call(lambda x: x, value, result_format=result_format)

    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == codec.MIME_OF[result_format]
    assert _lists(answer.value()) == _lists(value)


def _lists(value: Any) -> Any:
    """Tuples arrive as lists: the format of arguments knows no other."""
    if isinstance(value, (list, tuple)):
        return [_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return value


def test_names_arguments_and_the_record_of_a_task(server: Server) -> None:
    """The log browser shows these."""
    answer = server.call(lambda a, *, b: a - b, 5, kwargs={"b": 3}, task_name="minus", exec_raw="lambda ...")
    task = server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}").json()

    assert answer.value() == 2
    assert (task["name"], task["status"], task["type"]) == ("minus", "COMPLETED", "GENERIC_UDF")
    assert task["udf_code"] == "lambda ..."
    assert task["duration"] > 0
    assert task["start_time"] <= task["finish_time"]


def test_a_failure_says_what_and_where(server: Server) -> None:
    """The user needs the traceback of the worker, not that of the client."""

    def fails() -> None:
        dict[str, int]()["nothing here"]

    answer = server.call(fails)
    body = answer.json()

    assert answer.status == 422  # neither 400 nor 500 to 503: those are tried again
    assert "nothing here" in body["message"]
    assert body["exception_type"] == "KeyError"
    assert "in fails" in body["traceback"]
    stored = server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}/result")
    assert stored.status == 200
    assert isinstance(stored.value(), KeyError)


ENDS: dict[str, Any] = {
    "exit": lambda: sys.exit(3),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "crash": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "cannot be pickled": lambda: __import__("threading").Lock(),
    "cannot be JSON": lambda: object(),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_function_that_ends_badly_fails_alone(server: Server, how: str) -> None:
    """A worker that dies must not take the server or another task along."""
    others = Calls(3, lambda: server.call(lambda: sum(range(1000))))

    answer = server.call(ENDS[how], result_format="json" if "JSON" in how else "native")

    assert answer.status == 422, answer.body
    assert answer.json()["message"]
    assert [other.value() for other in others.join()] == [499500] * 3


def test_the_time_limit_ends_a_function(server: Server) -> None:
    """A node that hangs must not hang for ever."""
    answer = server.call(until_there, "/nowhere", timeout=1)

    assert answer.status == 422
    assert answer.json()["exception_type"] == "TimeoutError"


def test_another_python_is_refused_clearly(server: Server) -> None:
    """Its bytecode would crash the worker."""
    answer = server.call(lambda: 1, version="3.5.0")

    assert answer.status == 422
    assert "Python 3.5" in answer.json()["message"]


def test_what_is_printed_is_kept_in_order_also_by_c_code_and_children(server: Server) -> None:
    """The output of a node is the first thing to look at when it fails."""

    def prints() -> None:
        import logging
        import os
        import sys

        for number in range(50):
            print(f"line {number}")  # noqa: T201
            sys.stderr.write(f"error {number}\n")
        logging.getLogger("x").warning("a warning")
        os.write(1, b"from below\n")
        os.system("echo from a child")
        raise ValueError

    answer = server.call(prints)
    task = answer.headers["x-tiledb-cloud-task-id"]
    text = server.ask("GET", f"/tiledag/v1/tasks/{task}/output").json()["text"]

    expected = [word for number in range(50) for word in (f"line {number}", f"error {number}")]
    assert text.splitlines() == [*expected, "a warning", "from below", "from a child"]
    assert server.ask("GET", f"/v1/task/{task}").json()["logs"] == text


@pytest.mark.parametrize("how", ["return", "raise", "exit", "vanish", "kill"])
def test_a_hundred_lines_of_every_kind_are_there_however_the_function_ends(server: Server, how: str) -> None:
    """The last line before a death is the one that says why."""

    def talk(how: str) -> None:
        import ctypes
        import logging
        import os
        import sys

        for number in range(100):
            way = number % 5
            if way == 0:
                print("line", number)  # noqa: T201
            elif way == 1:
                print("line", number, file=sys.stderr)  # noqa: T201
            elif way == 2:
                logging.getLogger("shop").warning("line %d", number)
            elif way == 3:
                os.write(1, b"line %d\n" % number)
            else:
                ctypes.CDLL(None).puts(b"line %d" % number)
        if how == "raise":
            raise ValueError("after a hundred lines")
        if how == "exit":
            sys.exit(3)
        if how == "vanish":
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), 9)
        ctypes.CDLL(None).printf(b"no end")

    answer = server.call(talk, how)
    task = answer.headers["x-tiledb-cloud-task-id"]
    text = server.ask("GET", f"/tiledag/v1/tasks/{task}/output").json()["text"]

    expected = [f"line {number}" for number in range(100)]
    assert text.splitlines() == expected + (["no end"] if how == "return" else [])


def test_a_function_that_spoils_its_process_spoils_it_for_no_other(server: Server) -> None:
    """Workers are used again; what one function closes or breaks must not fail the next ones."""

    def closes() -> int:
        import os
        import sys

        sys.stdout.close()
        os.close(1)
        sys.stderr = None
        return 1

    def breaks() -> int:
        from tiledag_widget.server import worker

        vars(worker)["json"] = None
        return 1

    assert server.call(closes).value() == 1
    assert server.call(breaks).status == 422
    after = Calls(8, lambda: server.call(lambda: print("x")))  # noqa: T201
    assert [answer.status for answer in after.join()] == [200] * 8


def test_output_can_be_read_while_the_function_runs_and_it_can_be_stopped(server: Server, tmp_path: Path) -> None:
    """A user looks at a long node and ends it."""

    def prints(path: str, wait: Any) -> str:
        print("I have begun")  # noqa: T201
        return str(wait(path))

    call = Calls(1, lambda: server.call(prints, str(tmp_path / "go"), until_there, task_name="printing"))
    task = running_task(server, "printing")
    output: dict[str, Any] = {}

    def has_printed() -> bool:
        output.update(server.ask("GET", f"/tiledag/v1/tasks/{task}/output?after=0").json())
        return bool(output["text"])

    wait_until(has_printed)
    pending = server.ask("GET", f"/v1/task/{task}/result")
    stopped = server.ask("POST", f"/tiledag/v1/tasks/{task}/stop")
    (answer,) = call.join()

    assert output["text"] == "I have begun\n"
    assert output["status"] == "RUNNING"
    assert pending.status == 202
    assert stopped.status == 204
    assert (answer.status, answer.json()["exception_type"]) == (409, "StoppedError")
    assert server.ask("GET", f"/v1/task/{task}").json()["status"] == "CANCELLED"
    assert server.ask("POST", f"/tiledag/v1/tasks/{task}/stop").status == 409


def test_a_result_stays_there_until_it_is_asked_for(server: Server) -> None:
    """A million rows between two server nodes must not cross the wire."""
    first = server.call(lambda: list(range(100_000)), dont_download_results=True)
    task = first.headers["x-tiledb-cloud-task-id"]
    param = models.StoredParam(uuid.UUID(task))
    second = server.call(
        lambda xs, same: (len(xs), xs is same["x"][0]), param, {"x": [param]}, stored_param_uuids=[task]
    )

    assert first.body == b""
    assert second.value() == (100_000, True)
    assert len(server.ask("GET", f"/v1/task/{task}/result").value()) == 100_000


def test_a_parameter_that_is_not_there_asks_for_the_value(server: Server) -> None:
    """The client then sends the call again with the value."""
    for task in (str(uuid.uuid4()), server.call(lambda: 1 / 0).headers["x-tiledb-cloud-task-id"]):
        answer = server.call(lambda x: x, models.StoredParam(uuid.UUID(task)), stored_param_uuids=[task])
        assert answer.status == 422
        assert models.is_retry_with_params(answer.json()["message"])


def test_the_old_form_of_arguments(server: Server) -> None:
    """Older clients pickle all of them at once."""
    from tiledag_widget.wire import pickles

    argument = base64.b64encode(pickles.dumps_wire(((1, 2), {"c": 3}))).decode()
    answer = server.call(lambda a, b, c: [a, b, c], arguments_json=None, argument=argument)

    assert answer.value() == [1, 2, 3]


def test_a_repeated_call_joins_and_then_gets_the_same_reply(server: Server, tmp_path: Path) -> None:
    """A lost connection makes clients send again; the function must not run twice."""
    node, log = str(uuid.uuid4()), server.new_log()
    where = {"task_graph_uuid": log, "client_node_uuid": node, "task_name": "joined"}
    counted = tmp_path / "count"

    def counts(path: str, go: str, wait: Any) -> str:
        with open(path, "a") as file:
            file.write("x")
        return str(wait(go))

    def call() -> Answer:
        return server.call(counts, str(counted), str(tmp_path / "go"), until_there, **where)

    calls = Calls(5, call)
    running_task(server, "joined")
    (tmp_path / "go.part").write_text("gone")
    os.replace(tmp_path / "go.part", tmp_path / "go")
    answers = [*calls.join(), call()]

    assert [answer.value() for answer in answers] == ["gone"] * 6
    assert len({answer.headers["x-tiledb-cloud-task-id"] for answer in answers}) == 1
    assert counted.read_text() == "x"


def test_a_failed_node_that_is_sent_again_is_a_new_attempt(server: Server) -> None:
    """A retry must run."""
    node = str(uuid.uuid4())
    log = server.new_log((node, "server"))
    where = {"task_graph_uuid": log, "client_node_uuid": node}

    first, second = server.call(lambda: 1 / 0, **where), server.call(lambda: 7, **where)
    (shown,) = server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").json()["nodes"]

    assert (first.status, second.value()) == (422, 7)
    assert [execution["status"] for execution in shown["executions"]] == ["FAILED", "COMPLETED"]
    assert shown["status"] == "COMPLETED"


def test_outside_a_graph_the_id_of_a_request_is_what_repeats(server: Server) -> None:
    """Two equal calls without one are two."""
    body = {"exec": codec.encode_function(lambda: __import__("uuid").uuid4().hex), "arguments_json": []}

    def post(headers: dict[str, str]) -> Any:
        return server.ask("POST", "/v1/udfs/generic/me", body, headers=headers).value()

    with_id = {"X-Tiledag-Request-Id": str(uuid.uuid4())}
    assert post(with_id) == post(with_id)
    assert post({}) != post({})


def test_the_server_itself_opens_no_pickle(server: Server, tmp_path: Path) -> None:
    """Code in a pickle must run where it can be killed, in no case in the process that holds the token."""
    mark = tmp_path / "who"

    class Canary:
        def __reduce__(self) -> Any:
            return eval, (f"open({str(mark)!r}, 'a').write(str(__import__('os').getpid()) + ' ')",)

    from tiledag_widget.wire import pickles

    bait = base64.b64encode(pickles.dumps_wire(Canary())).decode()
    immediate = {"__tdbudf__": "immediate", "format": "python_pickle", "base64_data": bait}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/v1/udfs/generic/me", {"exec": bait, "arguments_json": [{"value": immediate}]}),
        ("/v1/udfs/generic/me", {"exec": bait, "argument": bait}),
        ("/v1/udfs/arrays/me", {"exec": bait, "argument": bait, "arrays": [{"uri": bait}]}),
        ("/v1/sql/me", {"query": bait, "parameters": [immediate]}),
        ("/v1/taskgraphs/me/log", {"name": bait, "nodes": [{"client_node_uuid": bait, "name": bait}]}),
        ("/v1/udf/me/canary", {"name": "canary", "exec": bait, "type": "generic"}),
        ("/v1/taskgraphs/me/registered/canary", {"name": "canary", "nodes": [{"udf_node": {"executable_code": bait}}]}),
    ]
    for path, body in bodies:
        server.ask("POST", path, body)
    answer = server.call(lambda: Canary())  # and one that comes back as a result
    server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}/result")

    workers = mark.read_text().split()
    assert workers
    assert str(server.pid) not in workers


def test_a_run_is_on_record_with_its_nodes(server: Server) -> None:
    """What the log browser opens."""
    here, there, never = (str(uuid.uuid4()) for _ in range(3))
    log = server.new_log((here, "client"), (there, "server"), (never, "server"))
    path = f"/v1/taskgraphs/me/logs/{log}"

    before = server.ask("GET", path).json()
    server.call(lambda: 1, task_graph_uuid=log, client_node_uuid=there)
    during = server.ask("GET", path).json()
    report = server.ask("POST", f"{path}/report_client_node", {"client_node_uuid": here, "status": "COMPLETED"})
    end = server.ask("PATCH", path, {"status": "succeeded"})
    after = server.ask("GET", path).json()

    assert [node["status"] for node in before["nodes"]] == ["UNKNOWN", "QUEUED", "QUEUED"]
    assert (before["status"], during["status"], after["status"]) == ("submitted", "running", "succeeded")
    assert (report.status, end.status) == (204, 204)
    assert [node["status"] for node in after["nodes"]] == ["COMPLETED", "COMPLETED", "QUEUED"]
    assert after["status_count"] == {"COMPLETED": 2, "QUEUED": 1}
    assert after["start_time"] <= after["end_time"]
    listed = server.ask("GET", "/v1/taskgraphs/logs?search=a%20r&per_page=1&status=succeeded").json()
    assert listed["task_graph_logs"][0]["uuid"] == log
    assert "nodes" not in listed["task_graph_logs"][0]
    assert server.ask("PATCH", path, {"status": "running"}).status == 400
    assert server.ask("GET", f"/v1/taskgraphs/me/logs/{uuid.uuid4()}").status == 404


def test_a_log_that_could_not_be_made_does_not_keep_a_node_from_running(server: Server) -> None:
    """`taskgraphs` then sends the text None."""
    assert server.call(lambda: 1, task_graph_uuid="None", client_node_uuid=str(uuid.uuid4())).value() == 1


def test_a_registered_function_runs_by_its_name(server: Server) -> None:
    """And can be changed and forgotten."""
    body = {"name": "twice", "language": "python", "exec": codec.encode_function(lambda x: 2 * x), "readme": "r"}

    assert server.ask("POST", "/v1/udf/me/twice", body).status == 204
    assert server.ask("POST", "/v1/udf/me/twice", body).status == 409
    assert server.call("me/twice", 21).value() == 42
    assert server.call("ME/twice@2030-01-01 10:00", 21).value() == 42
    info = server.ask("GET", "/v1/udf/me/twice").json()
    assert info["readme"] == "r"
    assert "exec" not in info
    assert server.ask("PATCH", "/v1/udf/me/twice", {"name": "double", "readme": "s"}).status == 204
    assert server.call("me/double", 1).value() == 2
    assert server.ask("DELETE", "/v1/udf/me/double").status == 204
    assert server.call("me/double", 1).status == 404


@pytest.mark.parametrize("name", ["a/b", "a@b", " a", "a "])
def test_a_name_that_no_call_could_write_is_refused_at_once(server: Server, name: str) -> None:
    """Not only when it is called."""
    body = {"name": name, "language": "python", "exec": codec.encode_function(lambda: 1)}
    path = f"/v1/udf/me/{quote(name, safe='')}"

    refused = server.ask("POST", path, body)
    server.ask("POST", "/v1/udf/me/plain", {**body, "name": "plain"})
    renamed = server.ask("PATCH", "/v1/udf/me/plain", {"name": name})

    assert (refused.status, renamed.status) == (400, 400)
    assert repr(name) in refused.json()["message"]
    assert server.call("me/plain").value() == 1


def test_a_task_begins_where_others_began(tmp_path: Path) -> None:
    """Whatever folder the task before went to: it may be gone."""

    def goes_away(path: str) -> int:
        os.mkdir(path)
        os.chdir(path)
        os.rmdir(path)
        return os.getpid()

    def place() -> tuple[int, str]:
        return os.getpid(), os.path.realpath(".")

    with running_server(tmp_path / "data", "--workers", "1") as server:
        _, start = server.call(place).value()
        worker = server.call(goes_away, str(tmp_path / "elsewhere")).value()
        seen: dict[int, str] = {}

        def is_seen() -> bool:  # one worker is kept in reserve
            seen.update([server.call(place).value()])
            return worker in seen

        wait_until(is_seen)

    assert set(seen.values()) == {start}


def test_a_registered_graph_comes_back_as_it_was_sent(server: Server) -> None:
    """The official client compares the nodes."""
    nodes = [{"b": None, "a": [1, {"x": "y"}], "udf_node": {"result_format": "unheard_of"}}]

    assert server.ask("POST", "/v1/taskgraphs/me/registered/g", {"name": "g", "nodes": nodes}).status == 204
    found = server.ask("GET", "/v1/taskgraphs/me/registered/g").json()

    assert found["nodes"] == nodes
    assert list(found["nodes"][0]) == ["b", "a", "udf_node"]
    assert server.ask("PATCH", "/v1/taskgraphs/me/registered/g", {"name": "h"}).status == 204
    assert server.ask("GET", "/v1/taskgraphs/me/registered/g").status == 404
    assert server.ask("DELETE", "/v1/taskgraphs/me/registered/h").status == 204


def test_too_much_memory_ends_a_function(tmp_path: Path) -> None:
    """One node must not bring the machine down. The limit is made small here by the environment of the server."""
    with running_server(tmp_path / "data", "--memory-limit", "0.2") as small:

        def eats() -> int:
            import time

            held = [bytearray(1 << 20) for _ in range(400)]
            time.sleep(50)
            return len(held)

        answer = small.call(eats, timeout=60)

        assert answer.json()["exception_type"] == "MemoryError"
        assert "0.2 GiB" in answer.json()["message"]
        assert small.call(lambda: 1).value() == 1


def test_what_was_acknowledged_survives_the_death_of_the_server(tmp_path: Path) -> None:
    """Kill -9, and the workers go with it."""
    with running_server(tmp_path / "data") as first:
        log = first.new_log()
        answer = first.call(lambda: "kept", task_graph_uuid=log, client_node_uuid=str(uuid.uuid4()))
        workers = psutil.Process(first.pid).children(recursive=True)
        os.kill(first.pid, signal.SIGKILL)
        assert first.process is not None
        first.process.wait()
        wait_until(lambda: not any(worker.is_running() and worker.status() != "zombie" for worker in workers))
    assert workers

    with running_server(tmp_path / "data") as second:
        task = answer.headers["x-tiledb-cloud-task-id"]
        assert second.ask("GET", f"/v1/task/{task}/result").value() == "kept"
        assert second.ask("GET", f"/v1/taskgraphs/me/logs/{log}").status == 200
        assert second.token != first.token


def test_sigterm_ends_it_while_functions_run_and_leaves_nothing(tmp_path: Path) -> None:
    """A logout must not leave processes behind."""
    with running_server(tmp_path / "data") as server:
        call = Calls(1, lambda: _or_none(lambda: server.call(until_there, "/nowhere", task_name="endless")))
        running_task(server, "endless")
        family = psutil.Process(server.pid).children(recursive=True)
        start = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert server.process is not None
        assert server.process.wait(30) == 0
        assert time.monotonic() - start < 25
        call.join()
        wait_until(lambda: not any(member.is_running() and member.status() != "zombie" for member in family))
    assert not (tmp_path / "data" / "connection.json").exists()
    assert not (tmp_path / "data" / "token").exists()


def _or_none(function: Any) -> Any:
    try:
        return function()
    except OSError:
        return None


def test_a_result_that_is_not_to_be_stored_leaves_the_disk_with_the_reply(server: Server) -> None:
    """A thousand calls must not leave a thousand files."""
    answer = server.call(lambda: "x" * 1000, store_results=False)
    task = answer.headers["x-tiledb-cloud-task-id"]
    unread = server.call(lambda: "y" * 1000, store_results=False, dont_download_results=True)
    other = unread.headers["x-tiledb-cloud-task-id"]

    assert answer.value() == "x" * 1000
    for one in (task, other):
        assert not (server.folder / "tasks" / one[:2] / one / "result").exists()
        assert server.ask("GET", f"/v1/task/{one}/result").status == 404


def test_a_function_that_prints_without_end_is_cut(server: Server) -> None:
    """Its output would fill the disk of everybody."""

    def prints() -> None:
        import sys

        for _ in range(24):
            sys.stdout.write(("x" * 1023 + "\n") * 1024)

    answer = server.call(prints)
    task = answer.headers["x-tiledb-cloud-task-id"]

    assert answer.status == 200, answer.body
    size = (server.folder / "tasks" / task[:2] / task / "output").stat().st_size
    assert 16 << 20 < size < 17 << 20


def test_memory_of_every_resource_class_is_a_setting(tmp_path: Path) -> None:
    """The classes of an account have other sizes than ours."""
    options = ("--memory-limit", "large=0.2", "--memory-limit", "huge=4")
    with running_server(tmp_path / "data", *options) as small:
        killed = small.call(lambda: [b"x" * (400 << 20), __import__("time").sleep(20)][1], resource_class="large")
        fine = small.call(lambda: len(b"x" * (400 << 20)), resource_class="huge")
        unknown = small.call(lambda: 1, resource_class="giant")

    assert killed.json()["exception_type"] == "MemoryError"
    assert "0.2 GiB" in killed.json()["message"]
    assert fine.value() == 400 << 20
    assert "standard, large, huge" in unknown.json()["message"]
