"""Starting, finding and stopping the embedded server."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.server.running import ROOT, environment, running_server, wait_until
from tiledag_widget import cli
from tiledag_widget.errors import ServerNeeded, ServerUnreachable
from tiledag_widget.server import kept_options, launch
from tiledag_widget.server.api import Leases
from tiledag_widget.settings import BadSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder whose server is ended afterwards."""
    place = tmp_path / "data"
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(place))
    yield place
    launch.let_go()
    launch.stop(place)
    for process in list(launch._started):
        process.wait(30)
        launch._started.remove(process)


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def are_gone(family: list[psutil.Process]) -> bool:
    return not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)


def is_at_work(folder: Path) -> bool:
    """Whether a worker has a task: then the task's output is kept."""
    return any(folder.rglob("output"))


def test_it_is_started_once_and_then_found(folder: Path) -> None:
    """All kernels of a user share one server."""
    assert launch.find() is None

    first = launch.ensure()
    second = launch.ensure()

    assert first == second
    assert launch.ask(first, "GET", "/tiledag/v1/info")[1]["clients"] == 1
    assert first.token not in repr(first)


def test_many_processes_at_once_get_one_server(folder: Path) -> None:
    """A notebook that runs all its kernels at once must not start a server for each."""
    code = (
        "from tiledag_widget.server import launch; c = launch.ensure();"
        "print(c.url, c.pid, launch.ask(c, 'GET', '/v1/user')[0])"
    )
    env = {**environment(), "TILEDAG_DATA_DIR": str(folder)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env, cwd=ROOT) for _ in range(6)
    ]
    said = {process.communicate(timeout=120)[0] for process in processes}

    assert len(said) == 1
    assert said.pop().split()[-1] == b"200"
    assert [process.returncode for process in processes] == [0] * 6


KERNELS_AT_ONCE = 100


@pytest.mark.timeout(600)
def test_a_hundred_kernels_get_one_server_and_each_can_use_it(folder: Path) -> None:
    """Trial G6: a cluster of notebooks that opens in the morning. One server, one port, one token file."""
    start_at_once(folder, KERNELS_AT_ONCE)


def start_at_once(folder: Path, count: int) -> None:
    code = (
        "import sys; sys.stdin.read(1)\n"
        "from tiledag_widget.server import launch; c = launch.ensure();"
        "print(c.url, c.pid, launch.ask(c, 'GET', '/v1/user')[0])"
    )
    env = {**environment(), "TILEDAG_DATA_DIR": str(folder)}
    kernels = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT)
        for _ in range(count)
    ]
    for kernel in kernels:  # all at once
        assert kernel.stdin is not None
        kernel.stdin.write(b"x")
        kernel.stdin.flush()

    said = [kernel.communicate(timeout=500)[0] for kernel in kernels]

    assert [kernel.returncode for kernel in kernels] == [0] * count
    assert len(set(said)) == 1
    assert said[0].split()[-1] == b"200"
    assert (folder / "token").stat().st_mode & 0o777 == 0o600


@contextlib.contextmanager
def mornings(folder: Path) -> Iterator[Callable[[int], None]]:
    """G6, a hundred kernels a seed."""

    def one(seed: int) -> None:
        place = folder / str(seed)
        try:
            start_at_once(place, KERNELS_AT_ONCE)
        finally:
            launch.stop(place)

    yield one


def test_two_users_get_two_servers_and_neither_is_let_in_by_the_other(tmp_path: Path) -> None:
    """Each has a data folder, which nobody else can read."""
    with running_server(tmp_path / "anna") as anna, running_server(tmp_path / "ben") as ben:
        assert anna.port != ben.port
        assert anna.ask("GET", "/v1/user").status == 200
        assert anna.ask("GET", "/v1/user", token=ben.token).status == 401


def test_a_port_that_is_taken_is_named_at_once(tmp_path: Path) -> None:
    """Whoever asked for it wants to know which one it was, not to wait for another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "tiledag_widget.server", "--data-dir", str(tmp_path / "data"), "--port"]

        done = subprocess.run(
            [*command, str(port)], env=environment(), capture_output=True, text=True, timeout=60, check=False
        )

    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data" / "connection.json").exists()


def test_a_second_start_says_where_the_first_server_is(tmp_path: Path) -> None:
    """Two servers over one file of records would spoil it."""
    with running_server(tmp_path / "data") as first:
        command = [sys.executable, "-m", "tiledag_widget.server", "--data-dir", str(tmp_path / "data")]
        asked = [*command, "--engine", "dask"]
        done = subprocess.run(asked, env=environment(), capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0
    assert json.loads(done.stdout)["url"] == first.url
    assert "already, and goes on with the options that it was started with" in done.stderr
    assert str(json.loads(done.stdout)["pid"]) in done.stderr


HOLDERS, STOP_S = 100, 2.0


def test_stop_does_not_wait_for_a_hundred_clients_that_hold_a_connection(folder: Path) -> None:
    """Trial G7: at most 2 s, and the port is free."""
    half = b"GET /v1/user HTTP/1.1\r\n"  # and never the rest of it
    stop_under_load(folder, lambda found, log: half)


def test_stop_does_not_wait_for_a_hundred_clients_that_follow_a_run(folder: Path) -> None:
    """Trial G7: each waits for the next event, as a notebook does for as long as its run goes on."""
    stop_under_load(folder, following)


def following(found: launch.Connection, log: str) -> bytes:
    last = launch.ask(found, "GET", f"/tiledag/v1/runs/{log}/events")[1]["last"]
    where = f"/tiledag/v1/runs/{log}/events?after={last}&wait=60"
    lines = [f"GET {where} HTTP/1.1", f"Host: {found.url.partition('//')[2]}"]
    return "\r\n".join([*lines, f"X-TILEDB-REST-API-KEY: {found.token}", "", ""]).encode()


def stop_under_load(folder: Path, request_of: Callable[[launch.Connection, str], bytes]) -> None:
    """A machine that is busy with other things may need longer, but not each time."""
    took = [one_stop(folder, request_of)]
    while took[-1] >= STOP_S:
        took.append(one_stop(folder, request_of))
        assert len(took) <= 3, took


def one_stop(folder: Path, request_of: Callable[[launch.Connection, str], bytes]) -> float:
    """Seconds that a stop took while many hold a connection; the port is free after it."""
    found = launch.ensure(hold=False)
    port = int(found.url.rpartition(":")[2])
    node = {"client_node_uuid": "11111111-1111-4111-8111-111111111111", "name": "n", "depends_on": []}
    status, log = launch.ask(found, "POST", "/v1/taskgraphs/me/log", {"name": "run", "nodes": [node]})
    assert status == 201
    with contextlib.ExitStack() as stack:
        for _ in range(HOLDERS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            one.sendall(request_of(found, log["uuid"]))
        assert launch.ask(found, "GET", "/v1/user")[0] == 200  # others are served meanwhile

        began = time.monotonic()
        assert launch.stop(folder)
        took = time.monotonic() - began

    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))
    return took


@contextlib.contextmanager
def stops(folder: Path) -> Iterator[Callable[[int], None]]:
    """G7, a stop a seed."""

    def one(seed: int) -> None:
        place = folder / str(seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TILEDAG_DATA_DIR", str(place))
            stop_under_load(place, following)
        for process in list(launch._started):
            process.wait(30)
            launch._started.remove(process)

    yield one


def test_threads_of_one_process_get_one_server(folder: Path) -> None:
    """Two graphs that start at the same moment."""
    found: list[launch.Connection] = []
    threads = [threading.Thread(target=lambda: found.append(launch.ensure())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(found) == 5


def test_after_its_death_another_one_is_started(folder: Path) -> None:
    """The next compute() must work."""
    first = launch.ensure()
    os.kill(first.pid, signal.SIGKILL)
    launch._started[-1].wait(30)

    second = launch.ensure()

    assert second != first
    assert launch.ask(second, "GET", "/v1/user")[0] == 200


def test_stop_ends_it_and_leaves_no_process_and_no_token(folder: Path) -> None:
    """`tiledag stop` is what a user types before a backup."""
    found = launch.ensure(hold=False)
    assert launch.ask(found, "POST", "/v1/sql/me", {"query": "select 1", "result_format": "json"})[0] == 200  # a worker
    family = family_of(found.pid)

    stopped, left = launch.stop(), not are_gone(family)

    assert (stopped, left, len(family) > 1) == (True, False, True)
    assert not launch.stop()
    assert launch.find() is None
    assert sorted(path.name for path in folder.iterdir() if path.suffix in (".json", "") and path.is_file()) == []


def test_whom_stop_leaves_without_a_result_it_tells_so(folder: Path) -> None:
    """A call that runs longer than a stop may wait had a bare word without a body, which no client can show."""
    found = launch.ensure(hold=False)
    answers: list[tuple[int, Any]] = []
    query = {"query": "select sleep(20)", "result_format": "json"}
    waiting = threading.Thread(
        target=lambda: answers.append(launch.ask(found, "POST", "/v1/sql/me", query, patience=25))
    )
    waiting.start()
    wait_until(lambda: is_at_work(folder))

    assert launch.stop()
    waiting.join(10)

    ((status, told),) = answers
    assert (status, told["message"]) == (503, "The server is ending.")


def test_one_that_hangs_is_named_and_can_be_ended_by_force(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It holds the records, so that nothing works until it is gone: "no server runs" would leave no way out."""
    found = launch.ensure(hold=False)
    assert launch.ask(found, "POST", "/v1/sql/me", {"query": "select 1", "result_format": "json"})[0] == 200  # a worker
    family = family_of(found.pid)
    os.kill(found.pid, signal.SIGSTOP)

    with monkeypatch.context() as patch:
        patch.setattr(launch, "ASK_S", 0.5)
        for look in (launch.find, launch.ensure, lambda: launch.stop(patience=0.5)):
            with pytest.raises(
                ServerUnreachable, match=rf"process {found.pid}\) hangs.*tiledag stop --force --data-dir"
            ):
                look()
        assert cli.main(["status"]) == 1
    shown = capsys.readouterr().err
    assert launch.stop(patience=0.5, force=True)

    assert f"process {found.pid}" in shown
    assert len(family) > 1
    assert are_gone(family)
    assert [name for name in ("token", "connection.json") if (folder / name).exists()] == []
    assert launch.find() is None
    assert launch.ask(launch.ensure(hold=False), "GET", "/v1/user")[0] == 200


def test_who_ends_waits_for_no_server_that_hangs(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A kernel that is shut down would stand still, and be killed with what it had to save."""
    found = launch.ensure()
    os.kill(found.pid, signal.SIGSTOP)
    began = time.monotonic()

    launch.let_go()
    took = time.monotonic() - began

    os.kill(found.pid, signal.SIGCONT)
    assert took < 3
    assert f"process {found.pid}) gives no answer" in caplog.text
    assert launch.ask(found, "GET", "/v1/user")[0] == 200


def test_force_ends_nobody_but_who_holds_the_folder(tmp_path: Path) -> None:
    """The number of a process that has gone is given to another one sooner or later."""
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock = tmp_path / "server.lock"
    lock.write_text(f"{stranger.pid}\n")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        with pytest.raises(ServerUnreachable, match=r"server\.lock cannot be ended from here.*another machine"):
            launch.stop(tmp_path, patience=0.1, force=True)

    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_who_only_looks_keeps_no_server_from_starting(tmp_path: Path) -> None:
    """A look at whether there is a server takes the lock for a moment."""
    folder = tmp_path / "data"
    folder.mkdir()
    with (folder / "server.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        release = threading.Timer(1, fcntl.flock, (file, fcntl.LOCK_UN))
        release.start()

        with running_server(folder) as server:
            assert server.ask("GET", "/v1/user").status == 200
        release.join()


def test_it_ends_by_itself_when_nobody_uses_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop should not carry a server for ever."""
    monkeypatch.setenv("TILEDAG_IDLE_S", "0.5")
    launch.ensure(hold=False)

    assert launch._started[-1].wait(60) == 0
    assert launch.find() is None


@pytest.mark.parametrize("how", ["deleted", "moved", "made anew"])
def test_it_ends_when_its_folder_is_gone_and_leaves_that_of_the_next_one(tmp_path: Path, how: str) -> None:
    """Nobody would find it to end it, and its workers would compute on beside those of the next server."""
    folder = tmp_path / "data"
    call = {"query": "select sleep(60)", "result_format": "json"}
    answers: list[tuple[int, Any]] = []
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running_server(folder, "--workers", "2"))
        found = launch.Connection(server.url, server.token, server.pid)
        waiting = threading.Thread(
            target=lambda: answers.append(launch.ask(found, "POST", "/v1/sql/me", call, patience=60))
        )
        waiting.start()
        wait_until(lambda: is_at_work(folder))
        family = family_of(server.pid)

        if how == "moved":
            folder.rename(tmp_path / "other")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        following = stack.enter_context(running_server(folder, "--workers", "3")) if how == "made anew" else None
        assert server.process is not None
        code = server.process.wait(30)
        waiting.join(30)

        assert code == 0
        assert are_gone(family)
        assert answers[0][0] == 503
        if following is None:
            assert f"{folder} was deleted or moved away: this server ends" in (tmp_path / "data.err").read_text()
            assert not folder.exists()
        else:
            assert following.ask("GET", "/v1/user").status == 200
            assert json.loads((folder / "connection.json").read_text())["pid"] == following.pid
            assert kept_options.kept(folder) == ("--workers", "3")


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_to_stay_that_cannot_be_meant_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A server that ends as it starts says nothing of why."""
    monkeypatch.setenv("TILEDAG_IDLE_S", text)

    with pytest.raises(BadSettings, match=f"TILEDAG_IDLE_S is '{text}'"):
        launch.ensure()

    assert launch.find() is None


def test_a_lease_keeps_it_until_it_is_given_back() -> None:
    """A kernel that waits for its user still needs the server; one that has died does not."""
    clock = [0.0]
    leases = Leases(lambda: clock[0])

    leases.renew("kernel")
    clock[0] = 14
    held = [leases.clients(), leases.idle_seconds()]
    clock[0] = 16
    lost = [leases.clients(), leases.idle_seconds()]
    leases.renew("kernel")
    leases.end("kernel")

    assert held == [1, 0]
    assert lost == [0, 16]
    assert leases.clients() == 0


def test_what_the_server_needs_is_named_if_it_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways out: install the extra, or name a host."""
    monkeypatch.setattr(launch, "NEEDED", ("uvicorn", "no_such_package"))

    with pytest.raises(ServerNeeded, match=r"no_such_package.*tiledag-widget\[server\].*TILEDB_REST_HOST"):
        launch.ensure()


def test_a_data_folder_that_is_a_file_is_named_in_a_notebook(folder: Path) -> None:
    """`File exists` sounds as if there were too much of it."""
    folder.touch()

    with pytest.raises(ServerUnreachable, match=f"{folder}: it is a file, not a folder.*TILEDAG_DATA_DIR"):
        launch.ensure()

    folder.unlink()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    """Its log is not where a user looks first."""
    folder.mkdir()
    (folder / "records.sqlite").write_bytes(b"this is no database" * 100)

    with pytest.raises(ServerUnreachable, match="Move it away"):
        launch.ensure()


ALL_COMMANDS = (
    "serve",
    "stop",
    "status",
    "logs",
    "arrays list",
    "arrays remove us/flights",
    "arrays add --samples",
    "arrays add us/flights /",
)


@pytest.mark.parametrize("command", ALL_COMMANDS)
@pytest.mark.parametrize("below", ["", "/sub/folder"])
def test_a_data_folder_that_is_a_file_is_named_by_all_commands(
    command: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One said a bare Errno, another that no server runs, and none which setting is wrong."""
    file = tmp_path / "file"
    file.touch()
    words = command.split()

    monkeypatch.setenv("TILEDAG_DATA_DIR", f"{file}{below}")
    by_variable = cli.main(words), capsys.readouterr().err
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(tmp_path / "other"))
    by_option = cli.main([*words, "--data-dir", f"{file}{below}"]), capsys.readouterr().err

    what = f"{file} is a file" if below else "it is a file"
    told = f"Records cannot be kept in {file}{below}: {what}, not a folder. Give another folder by --data-dir or "
    assert by_option == by_variable == (2, f"tiledag: {told}TILEDAG_DATA_DIR.\n")
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("command", ["serve", "stop", "status", "logs"])
def test_a_data_folder_of_somebody_else_is_named(command: str, tmp_path: Path) -> None:
    """`no server runs` of a folder that this user may not look into is a guess."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o500)
    code = (  # the administrator may write everywhere, and who is not may not be able to import here
        "import os, sys; from tiledag_widget import cli; cli.main(['status', '--data-dir', sys.argv[1]]);"
        "os.geteuid() or os.setuid(65534); sys.exit(cli.main(sys.argv[2:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "none"), command, "--data-dir", str(folder)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 2
    assert f"tiledag: Records cannot be kept in {folder}: " in done.stderr
    assert "may not be read and written by this user. Give another folder by --data-dir" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_command_serves_says_and_stops(folder: Path) -> None:
    """`tiledag` on the command line."""

    def tiledag(*words: str) -> tuple[int, str]:
        env = {**environment(), "TILEDAG_DATA_DIR": str(folder)}
        command = [sys.executable, "-m", "tiledag_widget.cli", *words]
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    assert tiledag("status") == (3, "no server runs\n")
    code, text = tiledag("serve", "--workers", "0")
    assert (code, "'0' is no whole number from 1" in text) == (2, True)
    with running_server(folder) as server:
        code, text = tiledag("status")
        assert (code, json.loads(text)["url"]) == (0, server.url)
        code, text = tiledag("serve", "--samples")  # one runs: it learns the samples, and stays
        assert (code, server.url in text) == (0, True)
        made = folder / "samples" / "quickstart_dense"
        assert tiledag("arrays", "add", "us/flights", str(made))[0] == 0
        assert f"tiledb://us/flights  {made}\n" in tiledag("arrays", "list")[1]
        code, text = tiledag("arrays", "add", "us/flights", str(folder))
        assert (code, f"no array at {folder}: it is a folder without one" in text) == (1, True)
        assert tiledag("arrays", "add", "us/more", f"file://{folder}/none")[0] == 1
        for place in ("https://example.org/flights", "tiledb://us/flights"):
            code, text = tiledag("arrays", "add", "us/more", place)
            assert (code, f"No array can be at '{place}'" in text, "s3://" in text) == (1, True, True)
        in_child = "import sys, tiledb; tiledb.Group.create(sys.argv[1])"
        subprocess.run([sys.executable, "-c", in_child, str(folder / "group")], check=True, timeout=60)
        code, text = tiledag("arrays", "add", "us/more", str(folder / "group"))
        assert (code, "it is a group" in text) == (1, True)
        assert "us/more" not in tiledag("arrays", "list")[1]
        code, text = tiledag("arrays", "add", "us/flights", "/nowhere/flights")
        assert (code, "no array at /nowhere/flights" in text) == (1, True)
        code, text = tiledag("arrays", "add", "us/flights")
        assert (code, "Say which array" in text) == (1, True)
        assert "tiledb://TileDB-Inc/quickstart_dense" in tiledag("arrays", "list")[1]
        assert tiledag("arrays", "remove", "us/flights")[0] == 0
        code, text = tiledag("arrays", "remove", "us/flights")
        assert (code, "no array us/flights" in text) == (1, True)
        log = server.new_log()
        assert log in tiledag("logs")[1]
        assert tiledag("stop") == (0, "stopped\n")
        assert server.process is not None
        assert server.process.wait(30) == 0
    assert tiledag("stop") == (0, "no server runs\n")


def test_a_server_started_by_hand_that_dies_is_followed_by_one_with_its_options(
    folder: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The next run would be on other machines, with other limits, and nobody would say so."""
    scheduler = "tcp://127.0.0.1:9"  # nobody is there; a server asks when it has a task
    options = ("--scheduler", scheduler, "--workers", "3", "--memory-limit", "large=16")

    def status() -> str:
        cli.main(["status"])
        return capsys.readouterr().out

    with running_server(folder, *options) as server:
        assert server.process is not None
        assert json.loads(status())["engine"] == f"dask at {scheduler}"
        server.process.kill()
        server.process.wait(30)
        while_dead = status()
        following = launch.ensure(hold=False)
        command = psutil.Process(following.pid).cmdline()
        engine = json.loads(status())["engine"]
        launch.stop(folder)
        after_stop = status()

    kept = f"--workers 3 --memory-limit large=16 --engine dask --scheduler {scheduler}"
    assert f"no server runs; the next one is started with {kept} (" in while_dead
    assert command[-8:] == kept.split()
    assert engine == f"dask at {scheduler}"
    assert f"--scheduler {scheduler}" in caplog.text
    assert after_stop == "no server runs\n"


def test_a_server_that_ends_in_order_leaves_no_options(folder: Path) -> None:
    """A trial of yesterday would decide where today's graphs run."""
    with running_server(folder, "--workers", "3") as server:
        assert kept_options.kept(folder) == ("--workers", "3")
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        server.process.wait(30)

    assert kept_options.kept(folder) == ()


@pytest.mark.parametrize("text", ["", "[", '["--host", "0.0.0.0"]', '["--workers"]', '{"--workers": 3}', "[1, 2]"])
def test_options_that_cannot_be_meant_are_none(tmp_path: Path, text: str) -> None:
    """A torn file would keep every server from starting; another address would let others in."""
    (tmp_path / "serve.json").write_text(text)

    assert kept_options.kept(tmp_path) == ()
