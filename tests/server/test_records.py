"""Records of runs that happen at their clients, on a real server: kept, taken in from files, abandoned."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import Server, environment, running_server, wait_until
from tiledag_widget.server.store import now
from tiledag_widget.wire.records import RunOwner

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("records") / "data") as one:
        yield one


def client_environment(server: Server) -> dict[str, str]:
    """Of a process that finds this server as its embedded one."""
    return {**environment(), "TILEDAG_DATA_DIR": str(server.folder), "HOME": str(server.folder.parent)}


def logs_named(server: Server, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.ask("GET", f"/v1/taskgraphs/logs?search={name}").json()["task_graph_logs"]
    return [log for log in found if log["name"] == name]


def all_logs(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.ask("GET", "/v1/taskgraphs/logs").json()["task_graph_logs"]
    return found


def whole(server: Server, log: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("GET", f"/v1/taskgraphs/me/logs/{log['uuid']}").json()
    return found


LOCAL = """
import sys, time
from tiledag_widget import DAG, Mode
def fails_once(seen=[]):
    seen.append(1)
    print("attempt", len(seen))
    if len(seen) == 1:
        raise ValueError("not yet")
    return len(seen)
dag = DAG(name=sys.argv[1], mode=Mode.LOCAL)
node = dag.submit(fails_once, name="one")
dag.submit(lambda x: x, node, name="two")
dag.compute()
try:
    dag.wait()
except ValueError:
    node.retry()
dag.wait()
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize(("name", "stays"), [("notebook", 4), ("script", 0)])
def test_a_graph_of_local_nodes_is_on_record_with_attempts_times_errors_and_output(
    server: Server, name: str, stays: float
) -> None:
    """While its kernel lives on, and just as well when the process ended with the graph."""
    command = [sys.executable, "-c", LOCAL, name, str(stays)]
    process = subprocess.Popen(command, env=client_environment(server), stdout=subprocess.DEVNULL)
    if stays:
        wait_until(lambda: [log["status"] for log in logs_named(server, name)] == ["succeeded"], 30)
    assert process.wait(60) == 0

    wait_until(lambda: [log["status"] for log in logs_named(server, name)] == ["succeeded"], 30)

    (log,) = logs_named(server, name)
    one, two = whole(server, log)["nodes"]
    assert log["start_time"] <= log["end_time"]
    assert (one["name"], one["status"], one["run_location"]) == ("one", "COMPLETED", "client")
    assert two["depends_on"] == [one["client_node_uuid"]]
    first, second = one["executions"]
    assert (first["status"], second["status"]) == ("FAILED", "COMPLETED")
    assert first["status_message"] == "ValueError: not yet"
    assert first["start_time"] <= first["finish_time"] <= second["start_time"] <= second["finish_time"]
    assert {first["type"], second["type"]} == {"CLIENT_COMPUTATION"}
    outputs = [server.ask("GET", f"/tiledag/v1/tasks/{task['id']}/output").json()["text"] for task in (first, second)]
    assert outputs == ["attempt 1\n", "attempt 2\n"]


def test_a_script_that_ends_before_there_is_a_server_starts_none_and_leaves_its_record_for_the_next(
    tmp_path: Path,
) -> None:
    """The run must not be lost, and a script must not wait at its end, nor leave a process behind."""
    folder = tmp_path / "data"
    env = {**environment(), "TILEDAG_DATA_DIR": str(folder), "HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", LOCAL, "alone", "0"], env=env, capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b""
    left = sorted((folder / "unsent").iterdir())
    assert left
    assert {path.stat().st_mode & 0o777 for path in left} == {0o600}
    assert not (folder / "connection.json").exists()

    with running_server(folder) as server:
        wait_until(lambda: [log["status"] for log in logs_named(server, "alone")] == ["succeeded"], 30)
        wait_until(lambda: not list((folder / "unsent").iterdir()), 10)


MIXED = """
import sys, time
from tiledag_widget import DAG
dag = DAG(name="orphan")
dag.submit(time.sleep, 600, name="there")
dag.submit_local(time.sleep, 600, name="here")
dag.compute()
dag.wait()
"""


def test_a_client_that_is_killed_leaves_an_abandoned_run_and_nothing_running(server: Server) -> None:
    """Trial C4: a record that says Running for ever is worse than none."""
    process = subprocess.Popen([sys.executable, "-c", MIXED], env=client_environment(server))
    try:
        wait_until(lambda: [log["status"] for log in logs_named(server, "orphan")] == ["running"], 30)
        (log,) = logs_named(server, "orphan")
        wait_until(lambda: all(node["status"] == "RUNNING" for node in whole(server, log)["nodes"]), 30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.monotonic()

    wait_until(lambda: [log["status"] for log in logs_named(server, "orphan")] == ["abandoned"], 15)
    wait_until(lambda: all(node["status"] == "CANCELLED" for node in whole(server, log)["nodes"]), 15)

    assert time.monotonic() - killed < 15
    wait_until(lambda: bool(server.ask("GET", "/tiledag/v1/info").json()["idle"]), 10)


EARLY = """
import sys, time
from tiledag_widget import DAG
from tiledag_widget.run import record
record.FIRST_AFTER_S = 600
def begin(place):
    open(place, "x").close()
    time.sleep(600)
dag = DAG(name="early")
dag.submit(begin, sys.argv[1], name="there")
dag.compute()
dag.wait()
"""


def test_a_client_that_is_killed_before_its_run_is_on_record_leaves_nothing_running(
    server: Server, tmp_path: Path
) -> None:
    """The record follows the first calls; a kernel killed in between left its functions at work until their limit."""
    begun = tmp_path / "begun"
    before = {log["uuid"] for log in all_logs(server)}
    process = subprocess.Popen([sys.executable, "-c", EARLY, str(begun)], env=client_environment(server))
    try:
        wait_until(begun.exists, 60)
        assert {log["uuid"] for log in all_logs(server)} == before
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    wait_until(lambda: bool(server.ask("GET", "/tiledag/v1/info").json()["idle"]), 15)
    (log,) = (log for log in all_logs(server) if log["uuid"] not in before)
    wait_until(lambda: whole(server, log)["status"] == "abandoned", 15)
    (node,) = whole(server, log)["nodes"]
    assert (node["name"], node["status"], node["run_location"]) == ("there", "CANCELLED", "server")


SHORT = """
from tiledag_widget import DAG, Mode
mixed = DAG(name="short")
half = mixed.submit(abs, -20, name="there")
mixed.submit_local(lambda x: x + 1, half, name="here")
here = DAG(name="local", mode=Mode.LOCAL, record=True)
here.submit(abs, -1, name="one")
for dag in (mixed, here):
    dag.compute()
for dag in (mixed, here):
    dag.wait(60)
"""


def test_a_script_that_ends_with_its_run_leaves_it_on_a_configured_server(server: Server, tmp_path: Path) -> None:
    """That server looks into no folder of the client's: what had not been sent was lost."""
    own = {"TILEDB_REST_HOST": server.url, "TILEDB_REST_TOKEN": (server.folder / "token").read_text().strip()}
    env = {**environment(), **own, "TILEDAG_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}

    done = subprocess.run([sys.executable, "-c", SHORT], env=env, capture_output=True, timeout=60, check=True)

    assert done.stderr == b""
    for name, nodes in (("short", ["there", "here"]), ("local", ["one"])):
        (log,) = logs_named(server, name)
        assert log["status"] == "succeeded"
        assert [(node["name"], node["status"]) for node in whole(server, log)["nodes"]] == [
            (each, "COMPLETED") for each in nodes
        ]


UNHEARD = """
from tiledag_widget import DAG, Mode
for number in range(3):
    dag = DAG(name="unheard", mode=Mode.LOCAL, record=True)
    dag.submit(abs, -1)
    dag.compute()
    dag.wait(60)
"""


@pytest.mark.parametrize("is_there", [True, False])
def test_a_script_ends_though_its_configured_server_says_nothing(tmp_path: Path, is_there: bool) -> None:
    """It hung for minutes where the server took the connection, and longer with each run where it did not."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if not is_there:
            silent.close()
        own = {"TILEDB_REST_HOST": url, "TILEDB_REST_TOKEN": "x", "TILEDAG_DATA_DIR": str(tmp_path)}
        env = {**environment(), **own, "HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", UNHEARD], env=env, capture_output=True, timeout=20, check=True)

    assert b"runs may be missing on the record" in done.stderr
    assert b"Traceback" not in done.stderr


AGAIN = """
import os, sys, time
from pathlib import Path
from tiledag_widget import DAG
def work(place):
    if Path(place).exists():
        Path(place + " again").touch()
        time.sleep(600)
    Path(place).touch()
    raise ValueError("not yet")
dag = DAG(name="again")
dag.submit(work, sys.argv[1], name="there")
dag.compute()
try:
    dag.wait(60)
except Exception:
    pass
dag.retry_all()
dag.wait(600)
"""


def test_a_client_that_is_killed_in_a_retry_leaves_nothing_running(server: Server, tmp_path: Path) -> None:
    """The end of the run before is put on record while the retry runs, and the run was nobody's from then on."""
    place = tmp_path / "begun"
    process = subprocess.Popen([sys.executable, "-c", AGAIN, str(place)], env=client_environment(server))
    try:
        wait_until(Path(f"{place} again").exists, 60)
        wait_until(lambda: bool(logs_named(server, "again")), 30)
        wait_until(lambda: len(whole(server, logs_named(server, "again")[0])["nodes"]) == 1, 30)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    wait_until(lambda: bool(server.ask("GET", "/tiledag/v1/info").json()["idle"]), 15)
    (node,) = whole(server, logs_named(server, "again")[0])["nodes"]
    assert [one["status"] for one in node["executions"]] == ["FAILED", "CANCELLED"]


def test_the_owner_of_a_run_goes_through_a_header() -> None:
    """A name with a space in it would be read as more than one thing, and the run as nobody's."""
    for machine in ("lab", "Lab of Ünsal", ""):
        owner = RunOwner(machine, 12, 1_700_000_000.123456)
        assert RunOwner.of_header(owner.to_header()) == owner
    for text in ("", "1 2", "one 2.0 lab", "1 2.0 lab more"):
        assert RunOwner.of_header(text) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"created_at": "yesterday"}, "created_at must be a time"),
        ({"created_at": "2026-01-01T00:00:00Z", "status": "done"}, "expected one of: running"),
        ({"created_at": "2026-01-01T00:00:00Z", "nodes": [{"client_node_uuid": "x"}]}, "must be a UUID"),
        ({"created_at": "2026-01-01T00:00:00Z", "nodes": "x"}, "nodes must be an array"),
        (
            {
                "created_at": "2026-01-01T00:00:00Z",
                "nodes": [{"client_node_uuid": str(uuid.uuid4()), "executions": [{"attempt": 0, "status": "FAILED"}]}],
            },
            "attempt counts from 1",
        ),
    ],
)
def test_a_record_that_makes_no_sense_is_refused_and_nothing_of_it_kept(
    server: Server, body: dict[str, Any], words: str
) -> None:
    """Half a record would be shown as a whole one."""
    log = str(uuid.uuid4())

    answer = server.ask("PUT", f"/tiledag/v1/runs/{log}", body)

    assert answer.status == 400
    assert words in answer.json()["message"]
    assert server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").status == 404


def test_a_change_to_a_run_that_is_not_on_record_is_refused(server: Server) -> None:
    """Its structure would be missing."""
    answer = server.ask("PUT", f"/tiledag/v1/runs/{uuid.uuid4()}", {"status": "running"})

    assert answer.status == 404


def test_who_follows_a_run_at_its_client_is_told_when_its_record_changes(server: Server) -> None:
    """A notebook that attaches would look at the whole record every other second, or see changes late."""
    log = uuid.uuid4()
    events = f"/tiledag/v1/runs/{log}/events"
    assert server.ask("GET", events).status == 404
    server.ask("PUT", f"/tiledag/v1/runs/{log}", {"created_at": now(), "status": "running"})
    known = server.ask("GET", f"{events}?wait=20").json()
    assert (known["status"], known["events"], known["done"]) == ("running", [], False)

    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(server.ask, "GET", f"{events}?after={known['last']}&wait=20")
        server.ask("PUT", f"/tiledag/v1/runs/{log}", {"name": "more"})
        server.ask("PUT", f"/tiledag/v1/runs/{log}", {"status": "succeeded"})
        told = waits.result(10).json()

    assert told["last"] != known["last"]
    again = server.ask("GET", f"{events}?after={told['last']}&wait=20").json()
    assert (again["status"], again["done"]) == ("succeeded", True)


def test_a_file_that_is_no_record_is_left_out_and_the_others_are_taken_in(server: Server) -> None:
    """A disk that was full leaves such files."""
    folder = server.folder / "unsent"
    folder.mkdir(exist_ok=True)
    good = uuid.uuid4()
    (folder / "broken.json").write_text("{")
    (folder / f"{uuid.uuid4()}.000000.json").write_text("[1]")
    part = folder / f"{good}.part"
    # Of now: one that is over and old enough is forgotten by the next sweep.
    part.write_text(json.dumps({"name": "from a file", "created_at": now(), "status": "succeeded"}))
    os.replace(part, folder / f"{good}.000000.json")

    wait_until(lambda: not list(folder.glob("*.json")), 10)

    assert server.ask("GET", f"/v1/taskgraphs/me/logs/{good}").json()["name"] == "from a file"
