"""Trials of the records: a stranger's lock (F2), what cannot be read or written (F4), a fork and file systems without
shared memory (F5), files of earlier releases (F6), clocks that step (F9)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import ROOT, environment, running_server
from tiledag_widget.server import store as store_module
from tiledag_widget.server.log_shapes import light_log
from tiledag_widget.server.store import LogNode, Store, StoreError, TaskEnd

DATABASES = Path(__file__).with_name("databases")
FIELDS: dict[str, Any] = {
    "namespace": "me",
    "username": "me",
    "type": "GENERIC_UDF",
    "node": None,
    "request": None,
    "details": {},
}


def task_in(store: Store, name: str, graph: str | None = None) -> tuple[str, Future[None]]:
    task = str(uuid.uuid4())
    return task, store.add_task(id=task, name=name, graph=graph, stored=True, **FIELDS)


def end(store: Store, task: str) -> None:
    store.task_ended(TaskEnd(task, "COMPLETED", seconds=1e-9, size=1)).result()


HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@contextlib.contextmanager
def held(database: Path, seconds: float) -> Iterator[None]:
    """A stranger holds the lock of the records, as a program that makes a backup."""
    command = [sys.executable, "-c", HOLDER, str(database), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield


@contextlib.contextmanager
def strangers(folder: Path) -> Iterator[Callable[[int], None]]:
    """F2, a lock of 2 s a seed."""
    store = Store(folder / "records")
    expected = 0

    def one(seed: int) -> None:
        nonlocal expected
        with held(folder / "records" / "records.sqlite", 2):
            begin = time.monotonic()
            waiting = [task_in(store, f"{seed}-{number}")[1] for number in range(20)]
            assert store.row("SELECT count(*) FROM task") is not None  # reading goes on
            for written in waiting:
                written.result(30)
            assert time.monotonic() - begin < 20
        expected += 20
        assert store.rows("SELECT count(*) FROM task")[0][0] == expected

    yield one
    store.close()


@pytest.mark.slow
def test_f2_a_stranger_that_holds_the_lock_delays_and_loses_nothing(tmp_path: Path) -> None:
    """A backup program does that."""
    with strangers(tmp_path) as one:
        one(0)


@pytest.mark.slow
@pytest.mark.long
def test_f2_a_lock_of_a_minute_delays_a_run_and_loses_nothing_of_it(tmp_path: Path) -> None:
    """The records wait for whoever holds them; the nodes complete, and one warning says why that took so long."""
    with running_server(tmp_path / "data") as server:
        log = server.new_log(("11111111-1111-4111-8111-111111111111", "server"))
        answers: list[Any] = []
        fields = {"task_graph_uuid": log, "client_node_uuid": "11111111-1111-4111-8111-111111111111"}
        calling = threading.Thread(target=lambda: answers.append(server.call(lambda: 7, task_name="held", **fields)))
        with held(tmp_path / "data" / "records.sqlite", 60):
            calling.start()
            assert server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").status == 200  # reading goes on
            assert server.ask("GET", "/v1/user").status == 200
        calling.join(60)
        node = server.ask("GET", f"/v1/taskgraphs/me/logs/{log}").json()["nodes"][0]
    told = (tmp_path / "data.err").read_text()

    assert [(answer.status, answer.value()) for answer in answers] == [(200, 7)]
    assert node["status"] == "COMPLETED"
    assert told.count("holds the lock of") == 1


@pytest.mark.slow
@pytest.mark.parametrize("patience", [60.0, 0.5])
def test_f2_a_lock_that_is_held_for_long_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    """By a clock that runs ten times as fast. Who never lets go is not waited for without end."""
    monkeypatch.setattr(store_module, "SAID_AFTER_S", 0.2)
    monkeypatch.setattr(store_module, "LOCKED_S", patience)
    store = Store(tmp_path)
    with held(tmp_path / "records.sqlite", 3):
        waiting = [task_in(store, str(number))[1] for number in range(5)]
        outcomes = [one.exception(30) for one in waiting]
    task_in(store, "after")[1].result(30)
    count = store.rows("SELECT count(*) FROM task")[0][0]
    store.close()

    told = [one for one in caplog.records if one.levelname == "WARNING"]
    if patience > 3:
        assert (outcomes, count, len(told)) == ([None] * 5, 6, 1)
    else:
        assert all(isinstance(one, StoreError) and "locked" in str(one) for one in outcomes)
        assert count == 1
    assert str(tmp_path / "records.sqlite") in told[0].getMessage()


def test_f4_a_file_that_is_no_database_is_named_and_left_as_it_is(tmp_path: Path) -> None:
    """It may be all that is left of somebody's work."""
    for content in (b"SQLite format 3\0" + b"\xff" * 5000, b"x" * 5000):
        path = tmp_path / "records.sqlite"
        path.write_bytes(content)

        with pytest.raises(StoreError, match=r"records.sqlite .*Move it away"):
            Store(tmp_path)

        assert path.read_bytes() == content


def test_f4_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    """Writing to it would spoil it for the newer one."""
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "records.sqlite") as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()

    with pytest.raises(StoreError, match="newer tiledag-widget; update"):
        Store(tmp_path)


def test_f4_a_write_that_fails_fails_alone_and_says_why(tmp_path: Path) -> None:
    """A full disk must not take down what is already on it."""
    store = Store(tmp_path)
    task, written = task_in(store, "before")
    written.result()

    def full(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE task SET name = 'half'")
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(StoreError, match="disk is full"):
        store.write(full)
    found = store.task(task)
    _, written = task_in(store, "after")
    written.result()
    store.close()

    assert found is not None
    assert found.name == "before"


def test_f4_a_file_that_was_removed_while_the_server_runs_is_missed(tmp_path: Path) -> None:
    """What is written to it is nowhere, and SQLite would not say so."""
    store = Store(tmp_path)
    task_in(store, "before")[1].result()
    for path in tmp_path.glob("records.sqlite*"):
        path.unlink()

    with pytest.raises(StoreError, match="was removed or replaced while the server ran"):
        task_in(store, "after")[1].result(10)
    store.close()

    assert list(tmp_path.iterdir()) == []  # nothing was put in its place
    again = Store(tmp_path)
    task_in(again, "new")[1].result()
    again.close()


LIMITED = """
import json, os, resource, signal, sys, uuid
from pathlib import Path
from tiledag_widget.server.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, first, last, step = Path(sys.argv[1]), *map(int, sys.argv[2:5])
rest = dict(graph=None, stored=True, namespace="me", username="me", type="x", node=None, request=None, details={})
told = {}
for limit in range(first, last, step):
    place, acknowledged, errors = folder / str(limit), [], set()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        store = Store(place)
        for number in range(30):
            try:
                store.add_task(id=str(uuid.uuid4()), name=str(number), **rest).result(20)
                acknowledged.append(str(number))
            except Exception as error:
                errors.add(f"{type(error).__name__}: {error}")
        store.close()
    except Exception as error:
        errors.add(f"{type(error).__name__}: {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    store = Store(place)
    names = [row[0] for row in store.rows("SELECT name FROM task ORDER BY seq")]
    verdict = store.row("PRAGMA integrity_check")[0]
    store.close()
    told[limit] = [acknowledged, names, verdict, sorted(errors)]
print(json.dumps(told))
"""


def limited(folder: Path, first: int, last: int, step: int) -> dict[str, Any]:
    """What became of thirty writes when no file could grow beyond so many bytes, for each of these limits."""
    command = [sys.executable, "-W", "ignore", "-c", LIMITED, str(folder), *map(str, (first, last, step))]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def assert_nothing_is_worse(found: dict[str, Any], folder: Path) -> None:
    for limit, (acknowledged, names, verdict, errors) in found.items():
        assert verdict == "ok", limit
        assert names == acknowledged, f"limit {limit}: lost, or there though it was refused"
        assert len(acknowledged) == 30 or errors, limit
        assert all(error.startswith("StoreError: ") for error in errors), (limit, errors)
        if not acknowledged:
            assert any(str(folder / limit) in error or "could not be used" in error for error in errors), errors


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits as on Linux and macOS")
@pytest.mark.parametrize("part", range(3))
def test_f4_a_write_that_fails_at_any_page_loses_nothing_acknowledged(tmp_path: Path, part: int) -> None:
    """A disk fills at any moment: while the file is made, while the log is written, while it goes into the file."""
    found = limited(tmp_path, part * 160_000, (part + 1) * 160_000, 4096)

    assert_nothing_is_worse(found, tmp_path)
    assert part < 2 or any(acknowledged for acknowledged, *_ in found.values())


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/types.h>
#include <stddef.h>
static long left = 0; static int error = 0, lasts = 0; static long seen = 0;
void shim_set(long nth, int code, int for_ever) { left = nth; error = code; lasts = for_ever; seen = 0; }
long shim_seen(void) { return seen; }
static int fails(void) {
    seen++;
    if (!error) return 0;
    if (left > 0 && --left > 0) return 0;
    errno = error;
    if (!lasts) error = 0;
    return 1;
}
#define CALL(type, name, params, args) \\
    type name params { \\
        static type (*real) params; if (!real) real = dlsym(RTLD_NEXT, #name); \\
        return fails() ? -1 : real args; }
CALL(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
CALL(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size))
CALL(int, ftruncate, (int fd, off_t size), (fd, size))
CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
"""

FAILING = """
import ctypes, json, shutil, sys, uuid
from pathlib import Path
from tiledag_widget.server.store import Store, StoreError
shim, folder = ctypes.CDLL(sys.argv[1]), Path(sys.argv[2])
rest = dict(graph=None, stored=True, namespace="me", username="me", type="x", node=None, request=None, details={})
def work(place):
    acknowledged, errors = [], set()
    try:
        store = Store(place)
        for number in range(8):
            try:
                store.add_task(id=str(uuid.uuid4()), name=str(number), **rest).result(20)
                acknowledged.append(str(number))
            except StoreError as error:
                errors.add(str(error))
        store.close()
    except StoreError as error:
        errors.add(str(error))
    return acknowledged, sorted(errors)
shim.shim_set(0, 0, 0)
work(folder / "whole")
calls = shim.shim_seen()
wrong, told = [], 0
for nth in range(1, calls + 1):
    for code in (5, 28):
        for for_ever in (0, 1):
            place = folder / f"{nth}-{code}-{for_ever}"
            shim.shim_set(nth, code, for_ever)
            acknowledged, errors = work(place)
            shim.shim_set(0, 0, 0)
            store = Store(place)
            names = [row[0] for row in store.rows("SELECT name FROM task ORDER BY seq")]
            verdict = store.row("PRAGMA integrity_check")[0]
            store.close()
            shutil.rmtree(place)
            told += bool(errors)
            lost = set(acknowledged) - set(names)
            if verdict != "ok" or lost or len(set(names)) != len(names) or (len(acknowledged) < 8 and not errors):
                wrong.append([nth, code, for_ever, acknowledged, names, verdict, errors])
print(json.dumps([calls, told, wrong]))
"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler")
def test_f4_whichever_call_of_the_system_fails_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Each write and sync in turn, by an error of the disk or because it is full, once or from then on."""
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(tmp_path / "shim.c"), "-ldl"], check=True)
    env = {**environment(), "LD_PRELOAD": str(shim)}
    command = [sys.executable, "-W", "ignore", "-c", FAILING, str(shim), str(tmp_path / "records")]

    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)

    assert done.returncode == 0, done.stderr
    calls, told, wrong = json.loads(done.stdout)
    assert wrong == []
    assert calls > 20
    assert told > calls


@contextlib.contextmanager
def full_files(folder: Path) -> Iterator[Callable[[int], None]]:
    """F4, a limit a seed."""

    def one(seed: int) -> None:
        limit = seed * 509 % 600_000
        assert_nothing_is_worse(limited(folder, limit, limit + 1, 1), folder)
        shutil.rmtree(folder / str(limit))

    yield one


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can make a file system for a test")
def test_f4_on_a_disk_that_was_made_read_only_the_reason_is_told_and_the_file_is_whole(tmp_path: Path) -> None:
    """Linux does that to a disk with errors."""
    disk = tmp_path / "disk"
    disk.mkdir()
    make = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(make, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    again = ["mount", "-o", "remount,{}", str(disk)]
    try:
        store = Store(disk / "data")
        task_in(store, "before")[1].result()
        store.close()
        subprocess.run([word.format("ro") for word in again], check=True)
        with pytest.raises(StoreError, match=r"records.sqlite cannot be opened: .*TILEDAG_DATA_DIR"):
            Store(disk / "data")
        with pytest.raises(StoreError, match=r"cannot be written: Read-only file system. TILEDAG_DATA_DIR"):
            Store(disk / "other")
        subprocess.run([word.format("rw") for word in again], check=True)
        store = Store(disk / "data")
        names = [row[0] for row in store.rows("SELECT name FROM task")]
        store.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)

    assert names == ["before"]


def test_f5_where_there_is_no_shared_memory_records_are_kept_more_slowly_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Home folders on a network have none. A folder in the place of its file is the same to SQLite."""
    Store(tmp_path).close()
    (tmp_path / "records.sqlite-shm").mkdir()  # the file itself has a write-ahead log by now

    store = Store(tmp_path)
    stopped = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        try:
            while not stopped.is_set():
                with store.moment() as moment:
                    moment.execute("SELECT count(*) FROM task").fetchone()
        except BaseException as error:
            failures.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    for number in range(50):
        task_in(store, str(number))[1].result(10)
    stopped.set()
    reading.join()
    count = store.rows("SELECT count(*) FROM task")[0][0]
    store.close()

    assert (count, failures) == (50, [])
    assert "can keep no write-ahead log" in caplog.text
    assert not (tmp_path / "records.sqlite-wal").exists()


FORKS = """
import os, sys
from pathlib import Path
from tiledag_widget.server.store import Store, StoreError
store = Store(Path(sys.argv[1]))
store.execute(("CREATE TABLE own (x)", ()))
if os.fork() == 0:
    refused = 0
    for call in (lambda: store.rows("SELECT 1"), lambda: store.execute(("INSERT INTO own VALUES (1)", ()))):
        try:
            call()
        except StoreError as error:
            refused += "forked" in str(error)
    os._exit(10 + refused)
_, status = os.wait()
store.execute(("INSERT INTO own VALUES (2)", ()))
print(os.waitstatus_to_exitcode(status), [row[0] for row in store.rows("SELECT x FROM own")])
store.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_f5_a_forked_child_is_refused(tmp_path: Path) -> None:
    """Two processes on one connection corrupt the file."""
    command = [sys.executable, "-W", "ignore", "-c", FORKS, str(tmp_path)]
    said = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    assert said.stdout == "12 [2]\n"
    assert said.stderr == ""


@pytest.mark.parametrize("path", sorted(DATABASES.glob("*.sqlite")), ids=lambda path: path.stem)
def test_f6_a_file_of_every_release_opens_with_all_its_rows(path: Path, tmp_path: Path) -> None:
    """An update must not cost anybody his records."""
    shutil.copy(path, tmp_path / "records.sqlite")
    with sqlite3.connect(path) as old:
        tables = [row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        before = {table: _rows(old, table) for table in tables}
    old.close()

    store = Store(tmp_path)
    after = {table: _rows(store._writer, table, columns=before[table][0]) for table in tables}
    log = store.log_page({}, 1, 10)[0][0]
    nodes = store.log_nodes(log.id)
    store.close()

    assert after == before
    assert (log.name, log.status) == ("saved", "succeeded")
    assert [(node.name, node.depends_on) for node in nodes] == [("a", ()), ("b", ("n-a",))]


def _rows(connection: sqlite3.Connection, table: str, columns: Any = None) -> tuple[list[str], list[tuple[Any, ...]]]:
    if columns is None:
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    rows = connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall()
    return columns, sorted((tuple(row) for row in rows), key=repr)


def test_f9_a_clock_that_steps_back_makes_no_negative_time_and_no_other_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laptops sleep, servers are set right, summers end."""
    store = Store(tmp_path)
    log = store.add_log("me", "me", "run", [LogNode("n", "n", (), "server")])
    first, written = task_in(store, "first", log.id)
    written.result()
    store.task_started(first, log.id).result()
    earlier = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat(timespec="microseconds")
    monkeypatch.setattr(store_module, "now", lambda: earlier.replace("+00:00", "Z"))

    end(store, first)
    _, written = task_in(store, "second", log.id)
    written.result()
    store.end_log(log.id, "succeeded")
    tasks = store.tasks_of_graph(log.id)
    ended = store.log(log.id)
    store.close()

    assert [task.name for task in tasks] == ["first", "second"]
    assert tasks[0].duration is not None
    assert tasks[0].duration > 0  # by the clock that never steps
    assert ended is not None
    assert light_log(ended).execution_time == "PT0H0M0.00S"


@pytest.mark.slow
def test_times_are_utc_whatever_the_zone_of_the_machine(tmp_path: Path) -> None:
    """A log that was written in summer is read in winter, elsewhere."""
    code = "from tiledag_widget.server.store import now; print(now())"
    zoned = {**environment(), "TZ": "Asia/Kathmandu"}
    said = subprocess.run([sys.executable, "-c", code], env=zoned, cwd=ROOT, capture_output=True, text=True, check=True)

    moment = datetime.fromisoformat(said.stdout.strip().replace("Z", "+00:00"))
    assert abs((datetime.now(timezone.utc) - moment).total_seconds()) < 60


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can make a file system for a test")
def test_f4_on_a_full_disk_a_node_fails_and_the_server_goes_on(tmp_path: Path) -> None:
    """The graph must end, its reason must be readable, and there must be a way on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        with running_server(disk / "data") as server:
            assert server.call(lambda: 1).value() == 1
            too_large = server.call(lambda: b"x" * (16 << 20), result_format="bytes")
            filler = disk / "filler"
            try:
                filler.write_bytes(b"x" * (16 << 20))
            except OSError:
                pass
            while_full = server.call(lambda: 1)
            filler.unlink()
            after = server.call(lambda: 2)
            still = server.ask("GET", "/v1/tasks?per_page=100").json()["array_tasks"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)

    assert too_large.status == 422
    assert "No space left" in too_large.json()["message"]
    assert 400 <= while_full.status < 600
    assert "full" in while_full.json()["message"] or "space" in while_full.json()["message"]
    assert after.value() == 2
    assert len(still) >= 3
