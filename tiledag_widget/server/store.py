"""What the server remembers: records in SQLite, and one folder of files for each task.

**Guarantees**

- Everything may be called from any thread until `close()`. A write is on disk, in the order in which writes were
  asked for, when the call returns (`write`) or its future is done (`write_later`).
- One thread writes, in batches of what has come together; each write of a batch succeeds or fails alone.
- Reads see every write that was acknowledged before them.
- A database of a newer version, or one that is damaged, is refused and left as it is.

**Threads**: `tiledag-store`, started on opening, ended by `close()` after the last write.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from .store_file import StoreError, connect, identity, opened, told
from .store_queue import Waiting, Write

__all__ = ["Log", "LogNode", "Page", "Store", "StoreError", "Task", "TaskEnd", "now"]

T = TypeVar("T")
Row: TypeAlias = sqlite3.Row
Statement: TypeAlias = tuple[str, Sequence[Any]]

_MIGRATIONS = (
    """
    CREATE TABLE task (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, username TEXT NOT NULL,
        name TEXT, type TEXT NOT NULL, status TEXT NOT NULL, status_message TEXT, graph TEXT, node TEXT,
        request TEXT, created TEXT NOT NULL, started TEXT, ended TEXT, duration INTEGER, memory INTEGER,
        mime TEXT, size INTEGER, stored INTEGER NOT NULL, details TEXT NOT NULL, error_type TEXT, traceback TEXT
    );
    CREATE INDEX task_of_node ON task (graph, node, seq) WHERE graph IS NOT NULL;
    CREATE INDEX task_of_request ON task (request) WHERE request IS NOT NULL;
    CREATE INDEX task_by_time ON task (created);
    CREATE TABLE log (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace TEXT NOT NULL, created_by TEXT NOT NULL,
        name TEXT, created TEXT NOT NULL, started TEXT, ended TEXT, status TEXT NOT NULL
    );
    CREATE INDEX log_by_time ON log (created);
    CREATE TABLE log_node (
        log TEXT NOT NULL REFERENCES log (id) ON DELETE CASCADE, place INTEGER NOT NULL, id TEXT NOT NULL, name TEXT,
        depends_on TEXT NOT NULL, run_location TEXT, status TEXT, PRIMARY KEY (log, place)
    ) WITHOUT ROWID;
    CREATE INDEX log_node_by_id ON log_node (log, id);
    CREATE TABLE event (
        log TEXT NOT NULL REFERENCES log (id) ON DELETE CASCADE, number INTEGER NOT NULL, time TEXT NOT NULL,
        body TEXT NOT NULL, PRIMARY KEY (log, number)
    ) WITHOUT ROWID;
    CREATE TABLE udf (
        namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (namespace, name)
    );
    CREATE TABLE registered_graph (
        namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (namespace, name)
    );
    CREATE TABLE array (
        namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL, uri TEXT NOT NULL, PRIMARY KEY (namespace, name)
    );
    """,
    """
    CREATE TABLE batch_graph (
        id TEXT PRIMARY KEY, namespace TEXT NOT NULL COLLATE NOCASE, created_by TEXT NOT NULL, created TEXT NOT NULL,
        body TEXT NOT NULL
    );
    CREATE TABLE batch_run (
        log TEXT PRIMARY KEY REFERENCES log (id) ON DELETE CASCADE, graph TEXT NOT NULL, body TEXT NOT NULL,
        active INTEGER NOT NULL, deadline REAL NOT NULL, round INTEGER NOT NULL, workflow_retries INTEGER NOT NULL,
        retry_at REAL, events INTEGER NOT NULL
    );
    CREATE INDEX batch_run_active ON batch_run (active) WHERE active;
    CREATE INDEX batch_run_of_graph ON batch_run (graph);
    CREATE TABLE batch_task (
        task TEXT PRIMARY KEY, log TEXT NOT NULL REFERENCES log (id) ON DELETE CASCADE, place INTEGER NOT NULL,
        item INTEGER NOT NULL, kind TEXT NOT NULL, attempt INTEGER NOT NULL, round INTEGER NOT NULL, not_before REAL,
        shown INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX batch_task_of_log ON batch_task (log);
    CREATE TABLE batch_history (
        log TEXT NOT NULL REFERENCES log (id) ON DELETE CASCADE, number INTEGER NOT NULL, machine INTEGER NOT NULL,
        line TEXT NOT NULL, PRIMARY KEY (log, number)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE udf_version (
        namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (namespace, name, at)
    ) WITHOUT ROWID;
    INSERT INTO udf_version SELECT namespace, name, '1970-01-01T00:00:00.000000Z', body FROM udf;
    CREATE TABLE share (
        kind TEXT NOT NULL, namespace TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL,
        with_namespace TEXT NOT NULL COLLATE NOCASE, namespace_type TEXT, actions TEXT NOT NULL,
        PRIMARY KEY (kind, namespace, name, with_namespace)
    ) WITHOUT ROWID;
    CREATE TABLE token (
        name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, issued TEXT NOT NULL, expires TEXT
    ) WITHOUT ROWID;
    CREATE INDEX task_of_namespace ON task (namespace, created);
    """,
)

_log = logging.getLogger(__name__)

SAID_AFTER_S = 5.0
"""A lock that somebody else holds for so long is told of, once."""
LOCKED_S = 300.0
"""Then what waits to be written fails: whoever holds the lock will not let go of it."""
LOCKED_AT_END_S = 10.0
SERVER_ENDED = "The server ended while this task ran."


def now() -> str:
    """This moment as the server writes it: UTC, RFC 3339, in an order that text has too."""
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Task:
    """One execution of a UDF or a query."""

    seq: int
    id: str
    namespace: str
    username: str
    name: str | None
    type: str
    status: str
    status_message: str | None
    graph: str | None
    node: str | None
    request: str | None
    created: str
    started: str | None
    ended: str | None
    duration: int | None
    memory: int | None
    mime: str | None
    size: int | None
    stored: bool
    details: str
    error_type: str | None
    traceback: str | None

    @staticmethod
    def of(row: Row) -> Task:
        values = dict(zip(row.keys(), row, strict=True))
        return Task(**{**values, "stored": bool(values["stored"])})


@dataclass(frozen=True, slots=True)
class LogNode:
    """A node in the record of a run; `status` is what its client has reported."""

    id: str
    name: str | None
    depends_on: tuple[str, ...]
    run_location: str | None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended."""

    task: str
    status: str
    message: str | None = None
    mime: str | None = None
    error_type: str | None = None
    traceback: str | None = None
    seconds: float = 0.0
    memory: int | None = None
    size: int | None = None
    exit_code: int | None = None
    is_system: bool = False
    """Whether the system failed, and not the function."""
    by_limit: bool = False
    """Whether it was ended because it took too long or too much."""


@dataclass(frozen=True, slots=True)
class Log:
    """The record of one run, without its nodes."""

    seq: int
    id: str
    namespace: str
    created_by: str
    name: str | None
    created: str
    started: str | None
    ended: str | None
    status: str

    @staticmethod
    def of(row: Row) -> Log:
        return Log(*row)


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of many. Pages count from 1."""

    rows: Sequence[Row]
    number: int
    size: int
    total: int


_TASK_COLUMNS = ", ".join(field.name for field in fields(Task))
_LOG_COLUMNS = ", ".join(field.name for field in fields(Log))


class Store:
    """Records and files below one folder, owned by one server process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "records.sqlite"
        self._pid = os.getpid()
        self._requests = Waiting()
        self._lock = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False
        self._writer = opened(self._path, _MIGRATIONS, self._end_what_was_running)
        self._identity = identity(self._path)
        (journal,) = self._writer.execute("PRAGMA journal_mode").fetchone()
        self.reads_never_wait = journal == "wal"
        """With a write-ahead log; without one they wait for the end of a transaction, whoever has it."""
        self._thread = threading.Thread(target=self._write_requests, name="tiledag-store", daemon=True)
        self._thread.start()

    # --- opening and closing ---------------------------------------------------------------------------------

    def _end_what_was_running(self, connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE task SET status = 'FAILED', status_message = ?, ended = ? "
            "WHERE status IN ('QUEUED', 'RUNNING') AND id NOT IN (SELECT task FROM batch_task)",
            (SERVER_ENDED, now()),
        )
        # A client that is still there makes it running again with its next task, or says how it ended.
        connection.execute(
            "UPDATE log SET status = 'abandoned', ended = ? "
            "WHERE status IN ('submitted', 'running') AND id NOT IN (SELECT log FROM batch_run)",
            (now(),),
        )

    def close(self) -> None:
        """Writes what was asked for, then closes the file. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._requests.end()
        self._thread.join()
        with self._lock:
            for reader in self._readers:
                reader.close()
            self._readers.clear()
        self._writer.close()

    # --- writing ---------------------------------------------------------------------------------------------

    def write_later(self, work: Callable[[sqlite3.Connection], T], *, may_wait: bool = False) -> Future[T]:
        """Runs `work` in the writer's transaction; the future is done when that is on disk.

        Args:
            work: What to write.
            may_wait: Nobody waits for it: it may go with what comes next, if that comes soon.
        """
        self._refuse_fork()
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise StoreError("The server is ending.")
            self._requests.put((work, future), may_wait)
        return future

    def _refuse_fork(self) -> None:
        """Two processes on one connection corrupt the file, and the writer thread is not here."""
        if os.getpid() != self._pid:
            raise StoreError("These records belong to the process that opened them; this one was forked from it.")

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like `write_later`, and waits for it.

        Raises:
            StoreError: it could not be written; nothing of it was.
        """
        return self.write_later(work).result()

    def execute(self, *statements: Statement) -> int:
        """Writes the statements together; the number of rows that the last one changed."""

        def work(connection: sqlite3.Connection) -> int:
            count = 0
            for text, values in statements:
                count = connection.execute(text, values).rowcount
            return count

        return self.write(work)

    def _write_requests(self) -> None:
        while batch := self._requests.take():
            self._write_batch(batch)

    def _write_batch(self, batch: Sequence[Write]) -> None:
        connection = self._writer
        done: list[tuple[Future[Any], Any]] = []
        try:
            self._refuse_other_file()
            self._patiently(connection, "BEGIN IMMEDIATE")
            for work, future in batch:
                connection.execute("SAVEPOINT one")
                try:
                    result = work(connection)
                except Exception as error:
                    connection.execute("ROLLBACK TO one")
                    future.set_exception(told(error))
                else:
                    done.append((future, result))
                connection.execute("RELEASE one")
            self._patiently(connection, "COMMIT")  # without a write-ahead log it waits for who reads
        except Exception as error:
            if connection.in_transaction:
                try:
                    connection.execute("ROLLBACK")
                except sqlite3.Error:
                    pass  # the next BEGIN will tell
            for _, future in batch:
                if not future.done():
                    future.set_exception(told(error))
            return
        for future, result in done:
            future.set_result(result)

    def _refuse_other_file(self) -> None:
        """What is written to a file that was removed is nowhere; SQLite would not say so."""
        if identity(self._path) != self._identity:
            raise StoreError(
                f"{self._path} was removed or replaced while the server ran, and nothing can be recorded. "
                "`tiledag stop` ends the server; the next one begins with what is there."
            )

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        """Waits while another program, as one that makes a backup, holds the lock."""
        began = time.monotonic()
        is_told = False
        connection.execute(f"PRAGMA busy_timeout = {int(SAID_AFTER_S * 1000)}")
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                if time.monotonic() - began > (LOCKED_AT_END_S if self._closed else LOCKED_S):
                    raise
            if not is_told:
                is_told = True
                _log.warning("another program holds the lock of %s; what is to be recorded waits for it", self._path)

    # --- reading ---------------------------------------------------------------------------------------------

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        self._refuse_fork()
        with self._lock:
            if self._closed:
                raise StoreError("The server is ending.")
            known = self._readers.pop() if self._readers else None
        connection = known if known is not None else self._new_reader()
        try:
            yield connection
        except sqlite3.Error as error:
            raise told(error) from error
        finally:
            with self._lock:
                is_kept = self._keeps_readers() and len(self._readers) < 8
                if is_kept:
                    self._readers.append(connection)
            if not is_kept:
                connection.close()

    def _new_reader(self) -> sqlite3.Connection:
        self._refuse_other_file()
        try:
            return connect(self._path)
        except sqlite3.Error as error:
            raise told(error) from error

    @contextmanager
    def moment(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading, to which the records stay as they are now whatever is written meanwhile."""
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    def _keeps_readers(self) -> bool:
        return not self._closed

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query."""
        with self._reader() as connection:
            return connection.execute(text, values).fetchall()

    def row(self, text: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query."""
        found = self.rows(text, values)
        return found[0] if found else None

    def page(self, table: str, columns: str, where: Mapping[str, Any], order: str, number: int, size: int) -> Page:
        """One page of the rows that fulfil all of `where`: conditions and the value of their one `?`."""
        condition = " AND ".join(where) or "1"
        values = list(where.values())
        with self._reader() as connection:
            (total,) = connection.execute(f"SELECT count(*) FROM {table} WHERE {condition}", values).fetchone()
            rows = connection.execute(
                f"SELECT {columns} FROM {table} WHERE {condition} ORDER BY {order} LIMIT ? OFFSET ?",
                [*values, size, (number - 1) * size],
            ).fetchall()
        return Page(rows, number, size, total)

    # --- tasks -----------------------------------------------------------------------------------------------

    def folder_of(self, task: str) -> Path:
        """Where the files of a task are: `result`, `output`, `error`."""
        return self.folder / "tasks" / task[:2] / task

    def add_task(
        self,
        *,
        id: str,  # noqa: A002  # the column's name
        namespace: str,
        username: str,
        name: str | None,
        type: str,  # noqa: A002
        graph: str | None,
        node: str | None,
        request: str | None,
        stored: bool,
        details: Mapping[str, Any],
    ) -> Future[None]:
        """Records a task that waits for a worker."""
        values = (id, namespace, username, name, type, "QUEUED", graph, node, request, now(), stored)
        columns = "id, namespace, username, name, type, status, graph, node, request, created, stored, details"
        text = json.dumps(details)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"INSERT INTO task ({columns}) VALUES ({', '.join('?' * 12)})", (*values, text))

        return self.write_later(work, may_wait=True)

    def task_started(self, task: str, graph: str | None) -> Future[None]:
        """Records that a task runs, and that its graph does."""
        at = now()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE task SET status = 'RUNNING', started = ? WHERE id = ?", (at, task))
            if graph is not None:
                # A client that cancels says so while tasks still wait here: what was asked for before the end of a run
                # does not make it run again, what is asked for after it does.
                connection.execute(
                    "UPDATE log SET status = 'running', started = coalesce(started, ?), ended = NULL WHERE id = ? "
                    "AND (ended IS NULL OR ended <= (SELECT created FROM task WHERE task.id = ?))",
                    (at, graph, task),
                )

        return self.write_later(work, may_wait=True)

    def task_ended(self, end: TaskEnd) -> Future[int]:
        """Records the end of a task."""
        how = (end.status, end.message, end.error_type, end.traceback)
        what = (end.mime, end.size, end.memory)
        values = (*how, *what, now(), int(end.seconds * 1e9), end.task)
        text = (
            "UPDATE task SET status = ?, status_message = ?, error_type = ?, traceback = ?, mime = ?, size = ?, "
            "memory = ?, ended = ?, duration = ? WHERE id = ?"
        )
        return self.write_later(lambda connection: connection.execute(text, values).rowcount)

    def task(self, task: str) -> Task | None:
        """The record of a task."""
        row = self.row(f"SELECT {_TASK_COLUMNS} FROM task WHERE id = ?", (task,))
        return Task.of(row) if row is not None else None

    def latest_of_node(self, graph: str, node: str) -> Task | None:
        """The last attempt at a node."""
        row = self.row(
            f"SELECT {_TASK_COLUMNS} FROM task WHERE graph = ? AND node = ? ORDER BY seq DESC LIMIT 1", (graph, node)
        )
        return Task.of(row) if row is not None else None

    def latest_of_request(self, request: str) -> Task | None:
        """The last task that was asked for under this id."""
        row = self.row(f"SELECT {_TASK_COLUMNS} FROM task WHERE request = ? ORDER BY seq DESC LIMIT 1", (request,))
        return Task.of(row) if row is not None else None

    def tasks_of_graph(self, graph: str) -> list[Task]:
        """All tasks of a run in the order in which they were asked for."""
        rows = self.rows(f"SELECT {_TASK_COLUMNS} FROM task WHERE graph = ? ORDER BY seq", (graph,))
        return [Task.of(row) for row in rows]

    def task_page(self, where: Mapping[str, Any], order: str, number: int, size: int) -> tuple[list[Task], Page]:
        """A page of tasks."""
        page = self.page("task", _TASK_COLUMNS, where, order, number, size)
        return [Task.of(row) for row in page.rows], page

    # --- logs ------------------------------------------------------------------------------------------------

    def add_log(self, namespace: str, created_by: str, name: str | None, nodes: Sequence[LogNode]) -> Log:
        """Records a run that begins."""
        log = str(uuid.uuid4())
        created = now()
        rows = [
            (log, place, node.id, node.name, json.dumps(node.depends_on), node.run_location)
            for place, node in enumerate(nodes)
        ]

        def work(connection: sqlite3.Connection) -> int:
            columns = "id, namespace, created_by, name, created, status"
            values = (log, namespace, created_by, name, created)
            cursor = connection.execute(f"INSERT INTO log ({columns}) VALUES (?, ?, ?, ?, ?, 'submitted')", values)
            connection.executemany(
                "INSERT INTO log_node (log, place, id, name, depends_on, run_location) VALUES (?, ?, ?, ?, ?, ?)", rows
            )
            return cursor.lastrowid or 0

        return Log(self.write(work), log, namespace, created_by, name, created, None, None, "submitted")

    def log(self, log: str) -> Log | None:
        """The record of a run."""
        row = self.row(f"SELECT {_LOG_COLUMNS} FROM log WHERE id = ?", (log,))
        return Log.of(row) if row is not None else None

    def log_nodes(self, log: str) -> list[LogNode]:
        """Its nodes, parents first."""
        rows = self.rows(
            "SELECT id, name, depends_on, run_location, status FROM log_node WHERE log = ? ORDER BY place", (log,)
        )
        return [LogNode(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4]) for row in rows]

    def log_page(self, where: Mapping[str, Any], number: int, size: int) -> tuple[list[Log], Page]:
        """A page of logs, newest first."""
        page = self.page("log", _LOG_COLUMNS, where, "seq DESC", number, size)
        return [Log.of(row) for row in page.rows], page

    def end_log(self, log: str, status: str) -> bool:
        """Records how a run ended; False if there is no such run."""
        return bool(self.execute(("UPDATE log SET status = ?, ended = ? WHERE id = ?", (status, now(), log))))

    def report_node(self, log: str, node: str, status: str) -> bool:
        """Records what the client says of a node; False if there is no such node."""
        return bool(self.execute(("UPDATE log_node SET status = ? WHERE log = ? AND id = ?", (status, log, node))))
