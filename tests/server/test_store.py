"""What the server remembers."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiledag_widget.server.retention import Retention
from tiledag_widget.server.store import LogNode, Store, StoreError, TaskEnd


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "data")
    yield opened
    opened.close()


def add_task(store: Store, *, graph: str | None = None, node: str | None = None) -> str:
    task = str(uuid.uuid4())
    store.add_task(
        id=task,
        namespace="me",
        username="me",
        name="n",
        type="GENERIC_UDF",
        graph=graph,
        node=node,
        request=None,
        stored=True,
        details={"udf_language": "python"},
    ).result()
    return task


def end_task(store: Store, task: str, status: str = "COMPLETED") -> None:
    store.task_ended(TaskEnd(task, status, mime="x/y", seconds=1e-9, size=1)).result()


def test_writes_of_many_threads_are_all_there(store: Store) -> None:
    """Kernels that end at the same moment lose no node."""
    tasks: list[str] = []

    def write() -> None:
        tasks.extend(add_task(store) for _ in range(50))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(tasks) == 400
    assert all(store.task(task) is not None for task in tasks)


def test_what_was_acknowledged_is_there_after_opening_again(tmp_path: Path) -> None:
    """A restart forgets nothing."""
    first = Store(tmp_path)
    task = add_task(first)
    end_task(first, task)
    first.close()

    second = Store(tmp_path)
    found = second.task(task)
    second.close()

    assert found is not None
    assert found.status == "COMPLETED"


def test_what_ran_when_the_server_ended_has_failed(tmp_path: Path) -> None:
    """Else its node would read Running for ever."""
    first = Store(tmp_path)
    log = first.add_log("me", "me", "run", [])
    task = add_task(first, graph=log.id, node="n")
    first.task_started(task, log.id).result()
    first.close()

    second = Store(tmp_path)
    found, run = second.task(task), second.log(log.id)
    second.task_started(task, log.id).result()  # what was asked for before the end changes nothing
    still = second.log(log.id)
    second.task_started(add_task(second, graph=log.id, node="n"), log.id).result()
    again = second.log(log.id)
    second.close()

    assert found is not None
    assert (found.status, found.status_message) == ("FAILED", "The server ended while this task ran.")
    assert [one.status for one in (run, still, again) if one is not None] == ["abandoned", "abandoned", "running"]


def test_a_write_that_fails_takes_no_other_with_it(store: Store) -> None:
    """One bad record must not lose those written in the same moment."""

    def bad(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO array VALUES ('a', 'b', 'c')")
        connection.execute("INSERT INTO nowhere VALUES (1)")

    futures = [store.write_later(bad)]
    task = add_task(store)

    with pytest.raises(StoreError):
        futures[0].result()
    assert store.task(task) is not None
    assert store.rows("SELECT * FROM array") == []


def test_records_of_a_newer_version_are_refused_and_left_alone(tmp_path: Path) -> None:
    """An old server would write what the new one cannot read."""
    Store(tmp_path).close()
    path = tmp_path / "records.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="newer"):
        Store(tmp_path)

    assert path.read_bytes() == before


def test_a_damaged_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """The user learns which file to move."""
    (tmp_path / "records.sqlite").write_bytes(b"this is no database" * 100)

    with pytest.raises(StoreError, match="Move it away"):
        Store(tmp_path)


def test_only_the_owner_can_read_the_records(store: Store) -> None:
    """Results are nobody else's business."""
    add_task(store)
    files = sorted(store.folder.glob("records.sqlite*"))

    assert [file.name for file in files] == ["records.sqlite", "records.sqlite-shm", "records.sqlite-wal"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    assert stat.S_IMODE(os.stat(store.folder).st_mode) == 0o700


def test_close_may_be_called_twice_and_refuses_what_comes_later(tmp_path: Path) -> None:
    """A late report of a worker gets an error, not a hang."""
    store = Store(tmp_path)
    store.close()
    store.close()

    with pytest.raises(StoreError):
        store.execute(("DELETE FROM task", ()))
    with pytest.raises(StoreError):
        store.rows("SELECT 1")


def test_the_latest_attempt_at_a_node_is_found(store: Store) -> None:
    """A retry is a new attempt, and its result counts."""
    log = store.add_log("me", "me", "run", [LogNode("a", "a", (), "server")])
    first = add_task(store, graph=log.id, node="a")
    end_task(store, first, "FAILED")
    second = add_task(store, graph=log.id, node="a")

    latest = store.latest_of_node(log.id, "a")

    assert latest is not None
    assert latest.id == second
    assert [task.id for task in store.tasks_of_graph(log.id)] == [first, second]


def test_pages_are_newest_first_and_do_not_overlap(store: Store) -> None:
    """The log browser turns pages."""
    ids = [store.add_log("me", "me", f"run {index}", []).id for index in range(7)]

    pages = [store.log_page({"namespace = ?": "me"}, number, 3) for number in (1, 2, 3, 4)]

    assert [log.id for logs, _ in pages for log in logs] == ids[::-1]
    assert [page.total for _, page in pages] == [7, 7, 7, 7]


def test_pruning_forgets_old_runs_with_their_files_and_keeps_what_runs(store: Store) -> None:
    """A disk must not fill up by itself."""
    old, running = add_task(store), add_task(store)
    end_task(store, old)
    for task in (old, running):
        store.folder_of(task).mkdir(parents=True)

    assert Retention(store).prune(0).tasks == 1

    assert store.task(old) is None
    assert not store.folder_of(old).exists()
    assert store.folder_of(running).exists()
