"""What the records keep of batch graphs and their runs: what changed is written together, in one transaction, or not.

A run in the records is: its log with its nodes, the body of the graph as it was submitted, the history of the machines
that drive it, its tasks with what they were for, and the events that were told. From these alone it goes on.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from .store import Log, LogNode, Row, Store, Task, TaskEnd, now

__all__ = ["Changes", "EventRow", "NewTask", "RunRow", "TaskEnd", "TaskRow"]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task that will run, or never will: then it has a status and a message already."""

    id: str
    place: int
    item: int
    kind: str
    attempt: int
    round: int
    not_before: float | None
    shown: bool
    name: str
    type: str
    node: str
    details: str
    status: str = "QUEUED"
    message: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """A numbered event, as JSON without its number and time."""

    number: int
    time: str
    body: str


@dataclass(slots=True)
class Changes:
    """What changed in one run since the last time it was written."""

    log: str
    tasks: list[NewTask] = field(default_factory=list)
    begun: list[tuple[str, str]] = field(default_factory=list)
    ended: list[tuple[TaskEnd, str]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    nodes: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    history: list[tuple[int, int, str]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    """Columns of `batch_run`, and of `log`, with their new values."""

    def __bool__(self) -> bool:
        return bool(self.tasks or self.begun or self.ended or self.shown or self.nodes or self.history
                    or self.events or self.run or self.status)  # fmt: skip

    def add(self, later: Changes) -> None:
        """Takes in what changed afterwards."""
        self.tasks += later.tasks
        self.begun += later.begun
        self.ended += later.ended
        self.shown += later.shown
        self.nodes.update(later.nodes)
        self.history += later.history
        self.events += later.events
        self.run.update(later.run)
        self.status.update(later.status)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in the records."""

    log: str
    graph: str
    body: str
    active: bool
    deadline: float
    round: int
    workflow_retries: int
    retry_at: float | None
    events: int
    namespace: str
    created_by: str
    status: str
    started: str | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task of a run with what it was for."""

    id: str
    place: int
    item: int
    kind: str
    attempt: int
    round: int
    not_before: float | None
    status: str
    message: str | None
    mime: str | None
    error_type: str | None
    started: str | None
    ended: str | None


# --- graphs -------------------------------------------------------------------------------------------------


def add_graph(store: Store, namespace: str, created_by: str, body: str) -> tuple[str, str]:
    """Records a graph; its id and when."""
    identity, created = str(uuid.uuid4()), now()
    columns = "id, namespace, created_by, created, body"
    values = (identity, namespace, created_by, created, body)
    store.execute((f"INSERT INTO batch_graph ({columns}) VALUES (?, ?, ?, ?, ?)", values))
    return identity, created


def update_graph(store: Store, graph: str, body: str) -> bool:
    """Replaces the body of a graph; runs that were submitted keep the old one."""
    return bool(store.execute(("UPDATE batch_graph SET body = ? WHERE id = ?", (body, graph))))


def graph_row(store: Store, graph: str) -> Row | None:
    """Columns ``id, namespace, created_by, created, body``."""
    return store.row("SELECT id, namespace, created_by, created, body FROM batch_graph WHERE id = ?", (graph,))


def graph_rows(store: Store, namespace: str) -> list[Row]:
    """The graphs of a namespace, newest first."""
    text = "SELECT id, namespace, created_by, created, body FROM batch_graph WHERE namespace = ? ORDER BY created DESC"
    return store.rows(text, (namespace,))


# --- runs ---------------------------------------------------------------------------------------------------


def add_run(
    store: Store,
    *,
    graph: str,
    body: str,
    namespace: str,
    created_by: str,
    name: str | None,
    nodes: Sequence[LogNode],
    deadline: float,
) -> str:
    """Records a run that was submitted; the id of its log."""
    log = str(uuid.uuid4())
    rows = [(log, place, one.id, one.name, json.dumps(one.depends_on)) for place, one in enumerate(nodes)]

    def work(connection: sqlite3.Connection) -> None:
        columns = "id, namespace, created_by, name, created, status"
        values = (log, namespace, created_by, name, now())
        connection.execute(f"INSERT INTO log ({columns}) VALUES (?, ?, ?, ?, ?, 'submitted')", values)
        connection.executemany(
            "INSERT INTO log_node (log, place, id, name, depends_on, run_location, status) "
            "VALUES (?, ?, ?, ?, ?, 'server', 'QUEUED')",
            rows,
        )
        connection.execute(
            "INSERT INTO batch_run (log, graph, body, active, deadline, round, workflow_retries, retry_at, events) "
            "VALUES (?, ?, ?, 1, ?, 0, 0, NULL, 0)",
            (log, graph, body, deadline),
        )

    store.write(work)
    return log


def write(connection: sqlite3.Connection, changes: Changes) -> None:
    """Writes all of it, in the writer's transaction."""
    log = changes.log
    if changes.tasks:
        _write_tasks(connection, log, changes.tasks)
    if changes.begun:
        connection.executemany("UPDATE task SET status = 'RUNNING', started = ? WHERE id = ?", changes.begun)
    if changes.ended:
        connection.executemany(_END_TASK, (_end_values(end, at) for end, at in changes.ended))
    if changes.shown:
        connection.executemany("UPDATE batch_task SET shown = 1 WHERE task = ?", ((one,) for one in changes.shown))
    if changes.nodes:
        values = ((status, log, place) for place, (status, _) in changes.nodes.items())
        connection.executemany("UPDATE log_node SET status = ? WHERE log = ? AND place = ?", values)
    if changes.history:
        connection.executemany(
            "INSERT INTO batch_history (log, number, machine, line) VALUES (?, ?, ?, ?)",
            ((log, *one) for one in changes.history),
        )
    if changes.events:
        connection.executemany(
            "INSERT INTO event (log, number, time, body) VALUES (?, ?, ?, ?)",
            ((log, one.number, one.time, one.body) for one in changes.events),
        )
    for table, key, columns in (("batch_run", "log", changes.run), ("log", "id", changes.status)):
        if columns:
            assignments = ", ".join(f"{name} = ?" for name in columns)
            connection.execute(f"UPDATE {table} SET {assignments} WHERE {key} = ?", (*columns.values(), log))


_END_TASK: Final = (
    "UPDATE task SET status = ?, status_message = ?, ended = ?, duration = ?, memory = ?, mime = ?, size = ?, "
    "error_type = ?, traceback = ? WHERE id = ?"
)


def _end_values(end: TaskEnd, at: str) -> tuple[Any, ...]:
    duration = int(end.seconds * 1e9)
    return (
        end.status, end.message, at, duration, end.memory, end.mime, end.size, end.error_type, end.traceback, end.task,
    )  # fmt: skip


def _write_tasks(connection: sqlite3.Connection, log: str, tasks: Iterable[NewTask]) -> None:
    found = connection.execute("SELECT namespace, created_by FROM log WHERE id = ?", (log,)).fetchone()
    created = now()
    connection.executemany(
        "INSERT INTO task (id, namespace, username, name, type, status, status_message, graph, node, created, ended, "
        "stored, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
        (
            (one.id, *found, one.name, one.type, one.status, one.message, log, one.node, created,
             None if one.status == "QUEUED" else created, one.details)
            for one in tasks
        ),
    )  # fmt: skip
    connection.executemany(
        "INSERT INTO batch_task (task, log, place, item, kind, attempt, round, not_before, shown) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (one.id, log, one.place, one.item, one.kind, one.attempt, one.round, one.not_before, one.shown)
            for one in tasks
        ),
    )


_RUN: Final = (
    "SELECT r.log, r.graph, r.body, r.active, r.deadline, r.round, r.workflow_retries, r.retry_at, r.events, "
    "l.namespace, l.created_by, l.status, l.started FROM batch_run r JOIN log l ON l.id = r.log"
)


def run_row(store: Store, log: str) -> RunRow | None:
    """The record of a batch run."""
    row = store.row(f"{_RUN} WHERE r.log = ?", (log,))
    return RunRow(*row) if row is not None else None


def active_runs(store: Store) -> list[str]:
    """Logs of the runs that have not ended, the oldest first."""
    return [row[0] for row in store.rows("SELECT log FROM batch_run WHERE active ORDER BY rowid")]


def history_of(store: Store, log: str) -> list[tuple[int, str]]:
    """Machine and line of each thing that happened."""
    rows = store.rows("SELECT machine, line FROM batch_history WHERE log = ? ORDER BY number", (log,))
    return [(row[0], row[1]) for row in rows]


def tasks_of(store: Store, log: str) -> list[TaskRow]:
    """The tasks of a run in the order in which they were planned."""
    rows = store.rows(
        "SELECT t.id, b.place, b.item, b.kind, b.attempt, b.round, b.not_before, t.status, t.status_message, t.mime, "
        "t.error_type, t.started, t.ended FROM batch_task b JOIN task t ON t.id = b.task WHERE b.log = ? "
        "ORDER BY t.seq",
        (log,),
    )
    return [TaskRow(*row) for row in rows]


def begun_of(store: Store, log: str) -> list[Row]:
    """Task, node, attempt, status and item (-1: the node as a whole) of each attempt that has begun, oldest first."""
    return store.rows(
        "SELECT t.id, t.node, b.attempt, t.status, b.item FROM batch_task b JOIN task t ON t.id = b.task "
        "WHERE b.log = ? AND b.kind IN ('node', 'item') AND t.started IS NOT NULL ORDER BY t.seq",
        (log,),
    )


def graphs_of_runs(store: Store, logs: Sequence[str]) -> dict[str, str]:
    """Graph of each of these logs that is a batch run's."""
    marks = ", ".join("?" * len(logs))
    rows = store.rows(f"SELECT log, graph FROM batch_run WHERE log IN ({marks})", list(logs)) if logs else []
    return {row[0]: row[1] for row in rows}


@dataclass(frozen=True, slots=True)
class RunPicture:
    """A run at one moment: what a reply about it is made from."""

    log: Log
    nodes: Sequence[LogNode]
    executions: Mapping[str, Sequence[Task]]


def picture_of(store: Store, log: str) -> RunPicture:
    """The log, its nodes and the executions of each, all of one moment.

    Read apart from each other, a retry in between would show a failed run without a failed node.
    """
    with store.moment() as connection:
        own = ", ".join(one.name for one in fields(Log))
        row = connection.execute(f"SELECT {own} FROM log WHERE id = ?", (log,)).fetchone()
        nodes = connection.execute(
            "SELECT id, name, depends_on, run_location, status FROM log_node WHERE log = ? ORDER BY place", (log,)
        ).fetchall()
        columns = ", ".join(f"t.{one.name}" for one in fields(Task))
        tasks = connection.execute(
            f"SELECT {columns} FROM batch_task b JOIN task t ON t.id = b.task WHERE b.log = ? AND b.shown "
            "ORDER BY t.seq",
            (log,),
        ).fetchall()
    executions: dict[str, list[Task]] = {}
    for one in map(Task.of, tasks):
        executions.setdefault(one.node or "", []).append(one)
    listed = [LogNode(one[0], one[1], tuple(json.loads(one[2])), one[3], one[4]) for one in nodes]
    return RunPicture(Log.of(row), listed, executions)


def events_after(store: Store, log: str, after: int, most: int) -> tuple[str | None, list[EventRow]]:
    """The status of a run, None if there is no such run, and up to `most` of its events."""
    with store.moment() as connection:
        rows = connection.execute(
            "SELECT number, time, body FROM event WHERE log = ? AND number > ? ORDER BY number LIMIT ?",
            (log, after, most),
        ).fetchall()
        row = connection.execute("SELECT status FROM log WHERE id = ?", (log,)).fetchone()
    return (row[0] if row is not None else None), [EventRow(*one) for one in rows]


def last_event(store: Store, log: str) -> int:
    """Number of the last event of a run; 0 if there is none."""
    row = store.row("SELECT coalesce(max(number), 0) FROM event WHERE log = ?", (log,))
    return int(row[0]) if row is not None else 0


def write_broken(connection: sqlite3.Connection, log: str, words: str) -> None:
    """Ends a run that cannot go on: its first node that has not ended fails with the reason, the log with it."""
    at = now()
    found = connection.execute(
        "SELECT place, id, name FROM log_node WHERE log = ? AND status IN ('QUEUED', 'RUNNING') ORDER BY place LIMIT 1",
        (log,),
    ).fetchone()
    connection.execute(
        "UPDATE task SET status = 'FAILED', status_message = ?, ended = ? WHERE status IN ('QUEUED', 'RUNNING') AND id "
        "IN (SELECT task FROM batch_task WHERE log = ?)",
        (words, at, log),
    )
    (number,) = connection.execute("SELECT coalesce(max(number), 0) FROM event WHERE log = ?", (log,)).fetchone()
    events = []
    if found is not None:
        place, node, name = found
        task = str(uuid.uuid4())
        one = NewTask(task, place, -1, "node", 1, 0, None, True, name, "BATCH_UDF", node, "{}", "FAILED", words)
        _write_tasks(connection, log, [one])
        connection.execute("UPDATE log_node SET status = 'FAILED' WHERE log = ? AND place = ?", (log, place))
        events.append({"kind": "node", "status": "FAILED", "node": node, "task": task, "message": words})
    events.append({"kind": "run", "status": "failed"})
    for offset, body in enumerate(events, 1):
        values = (log, number + offset, at, json.dumps(body))
        connection.execute("INSERT INTO event (log, number, time, body) VALUES (?, ?, ?, ?)", values)
    connection.execute("UPDATE batch_run SET active = 0 WHERE log = ?", (log,))
    connection.execute("UPDATE log SET status = 'failed', ended = ? WHERE id = ?", (at, log))
