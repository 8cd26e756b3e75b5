"""Trials of the records: a stranger's lock (F2), what cannot be read or written (F4), a fork (F5),
files of earlier releases (F6), clocks that step (F9)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import ROOT, environment, running_server
from tiledag_widget.server import store as store_module
from tiledag_widget.server.log_shapes import light_log
from tiledag_widget.server.store import LogNode, Store, StoreError

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
    rest = {"message": None, "duration": 1, "memory": None, "mime": None, "size": 1, "error_type": None}
    store.task_ended(task, status="COMPLETED", traceback=None, **rest).result()  # type: ignore[arg-type]


HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("ROLLBACK")
"""


@pytest.mark.slow
def test_f2_a_stranger_that_holds_the_lock_delays_and_loses_nothing(tmp_path: Path) -> None:
    """A backup program does that."""
    store = Store(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "records.sqlite"), "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        begin = time.monotonic()
        waiting = [task_in(store, str(number))[1] for number in range(20)]
        assert store.row("SELECT count(*) FROM task") is not None  # reading goes on
        for one in waiting:
            one.result(30)
        took = time.monotonic() - begin
    count = store.rows("SELECT count(*) FROM task")[0][0]
    store.close()

    assert count == 20
    assert took < 20


@pytest.mark.slow
@pytest.mark.parametrize("patience", [60.0, 0.5])
def test_f2_a_lock_that_is_held_for_long_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    """By a clock that runs ten times as fast. Who never lets go is not waited for without end."""
    monkeypatch.setattr(store_module, "SAID_AFTER_S", 0.2)
    monkeypatch.setattr(store_module, "LOCKED_S", patience)
    store = Store(tmp_path)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "records.sqlite"), "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
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


def test_f5_a_forked_child_is_refused(tmp_path: Path) -> None:
    """Two processes on one connection corrupt the file."""
    store = Store(tmp_path)
    pid, store._pid = store._pid, -1  # as a child sees it
    try:
        with pytest.raises(StoreError, match="forked"):
            store.rows("SELECT 1")
        with pytest.raises(StoreError, match="forked"):
            store.write_later(lambda connection: None)
    finally:
        store._pid = pid
        store.close()


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
