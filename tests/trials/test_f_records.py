"""Trial F7: records of very many runs are listed and opened as fast as those of few, and what is forgotten leaves
room."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

for needed in ("uvicorn", "psutil"):
    pytest.importorskip(needed)

from tests.server.running import Server, running_server  # noqa: E402
from tiledag_widget.server.retention import Retention  # noqa: E402
from tiledag_widget.server.store import LogNode, Store, TaskEnd  # noqa: E402

pytestmark = pytest.mark.slow

NODES = 50
LIST_S, OPEN_S = 0.05, 0.1
ASKED = 60
SIZE = 1000
"""Bytes of a task's result, as recorded."""


APART_S = 20
"""All are younger than what a server forgets by itself."""


def fill(store: Store, runs: int) -> None:
    """One run as any is recorded, then copies of it, some seconds apart, the oldest first."""
    nodes = [LogNode(str(uuid.uuid4()), f"node {number}", (), "server", None) for number in range(NODES)]
    nodes[1:] = [LogNode(one.id, one.name, (nodes[0].id,), one.run_location, None) for one in nodes[1:]]
    log = store.add_log("me", "me", "import of day 0", nodes)
    for one in nodes:
        task = str(uuid.uuid4())
        fields: dict[str, Any] = {"namespace": "me", "username": "me", "type": "GENERIC_UDF", "request": None}
        store.add_task(id=task, name=one.name, graph=log.id, node=one.id, stored=True, details={}, **fields).result()
        store.task_ended(TaskEnd(task, "COMPLETED", mime="text/plain", seconds=0.5, size=SIZE)).result()
    store.end_log(log.id, "succeeded")
    newest = datetime.now(timezone.utc)
    copies = [
        (number, str(uuid.uuid4()), (newest - timedelta(seconds=(runs - number) * APART_S)).strftime(MOMENT))
        for number in range(1, runs)
    ]

    def copy(connection: Any) -> None:
        connection.execute("CREATE TEMPORARY TABLE copy (n INTEGER PRIMARY KEY, new TEXT, born TEXT)")
        connection.executemany("INSERT INTO copy VALUES (?, ?, ?)", copies)
        for statement in COPIES:
            connection.execute(statement, (log.id,))
        first = (newest - timedelta(seconds=runs * APART_S)).strftime(MOMENT)
        connection.execute("UPDATE log SET created = ? WHERE id = ?", (first, log.id))
        connection.execute("DROP TABLE copy")

    store.write(copy)


MOMENT = "%Y-%m-%dT%H:%M:%S.%fZ"
COPIES = (
    """INSERT INTO log (id, namespace, created_by, name, created, started, ended, status)
       SELECT new, namespace, created_by, 'import of day ' || n, born, born, born, status
       FROM copy, log WHERE log.id = ? ORDER BY n""",
    """INSERT INTO log_node (log, place, id, name, depends_on, run_location, status)
       SELECT new, place, id, name, depends_on, run_location, status
       FROM copy, log_node WHERE log = ? ORDER BY new, place""",
    """INSERT INTO task (id, namespace, username, name, type, status, graph, node, created, started, ended, duration,
                         mime, size, stored, details)
       SELECT new || id, namespace, username, name, type, status, new, node, born, born, born, duration,
              mime, size, stored, details
       FROM copy, task WHERE graph = ? ORDER BY n""",
)


def p95(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.95)]


def asked(server: Server, paths: list[str]) -> float:
    """The 95th of a hundred times that an answer takes, in seconds."""
    took = []
    for path in paths:
        began = time.perf_counter()
        answer = server.ask("GET", path)
        took.append(time.perf_counter() - began)
        assert answer.status == 200, answer.body
    return p95(took)


def counted(file: Path, patterns: list[str]) -> float:
    """The 95th percentile of what SQLite by itself takes to look at every name, in seconds."""
    took = []
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for pattern in patterns:
            began = time.perf_counter()
            connection.execute("SELECT count(*) FROM log WHERE name LIKE ?", (pattern,)).fetchone()
            took.append(time.perf_counter() - began)
    return p95(took)


@pytest.mark.parametrize("runs", [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_f7_many_runs_are_listed_and_opened_at_once_and_forgetting_makes_room(runs: int, tmp_path: Path) -> None:
    """A list that takes seconds is not looked at."""
    folder = tmp_path / "data"
    store = Store(folder)
    fill(store, runs)
    store.close()
    file = folder / "records.sqlite"
    before = file.stat().st_size

    with running_server(folder, "--workers", "1") as server:
        first = server.ask("GET", "/v1/taskgraphs/logs?page=1&per_page=10").json()
        pages = [f"page={1 + number * 7 % (runs // 10)}&per_page=10" for number in range(ASKED)]
        lists = asked(server, [f"/v1/taskgraphs/logs?{page}" for page in pages])
        searches = asked(server, [f"/v1/taskgraphs/logs?search=day%20{number}&per_page=10" for number in range(ASKED)])
        floor = counted(file, [f"%day {number}%" for number in range(ASKED)])
        ids = [log["uuid"] for log in first["task_graph_logs"]]
        opens = asked(server, [f"/v1/taskgraphs/me/logs/{ids[number % 10]}" for number in range(ASKED)])
        opened = server.ask("GET", f"/v1/taskgraphs/me/logs/{ids[0]}").json()

    assert first["pagination_metadata"]["total_items"] == runs
    assert first["task_graph_logs"][0]["name"] == f"import of day {runs - 1}"
    assert len(opened["nodes"]) == NODES
    assert opened["nodes"][0]["executions"][0]["status"] == "COMPLETED"
    assert (lists <= LIST_S, opens <= OPEN_S) == (True, True), (lists, searches, opens)
    assert searches <= LIST_S + 4 * floor  # every name is looked at

    store = Store(folder)
    limit = runs * NODES * SIZE // 4
    retention = Retention(store, days=1e6, most_bytes=limit)
    forgotten = retention.prune()
    assert retention.bytes_used() <= limit
    assert forgotten.logs >= runs * 3 // 4
    fill(store, runs // 2)
    store.close()
    assert file.stat().st_size <= 1.05 * before  # in the room of what was forgotten
