"""The records of runs that happen at their clients: kept here as the clients tell, abandoned when their clients die.

Records come by `PUT /tiledag/v1/runs/{log}`, or as files in the folder `unsent`, left there by processes that ended
before they found a server. Both hold a `RunRecord`; both may come twice.

A run whose client has said which process it is, and which then goes without having said how the run ended, becomes
`abandoned`: what it has running here is stopped, for nobody will ever ask for it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import InvalidBody
from ..wire.models import NAME_LIMIT, from_json
from ..wire.records import UNSENT, RunExecution, RunNode, RunRecord
from .exchange import NO_CONTENT, UUID, Refused, Reply, Request, RouteRow, body_as, moment_of
from .services import Services
from .store import Statement, StoreError, Task, now

__all__ = ["RecordRoutes"]

_log = logging.getLogger(__name__)

ENDED = ("succeeded", "failed", "cancelled")
RUN_STATUSES = ("running", *ENDED)
STATUSES = ("QUEUED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
TEXT_LIMIT = 64 * 1024
OUTPUT_LIMIT = 1 << 20
OWNER_GONE = "The process that ran this graph ended."


class RecordRoutes:
    """The route by which clients keep records of their own runs. `sweep` is for a thread of the server's."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [("PUT", "/tiledag/v1/runs/{log}", self.put_run)]

    def put_run(self, request: Request, log: str) -> Reply:
        """Keeps the record of a run that happens at its client, or what changed in it."""
        if not UUID.fullmatch(log.lower()):
            raise Refused(400, f"The id of a run must be a UUID, got {log[:60]!r}.")
        self._keep(log.lower(), body_as(RunRecord, request))
        return NO_CONTENT

    def _keep(self, log: str, record: RunRecord) -> None:
        store = self._services.store
        if record.created_at is None and store.log(log) is None:
            raise Refused(404, f"There is no log {log}.")
        owners = self._services.owners
        owner = owners.seen(log, record.owner)
        statements, outputs = _statements(log, record, self._services.user)
        for task, text in outputs:
            folder = store.folder_of(task)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "output").write_bytes(text.encode("utf-8", "replace")[-OUTPUT_LIMIT:])
        if statements:
            store.execute(*statements)
            self._changed(log)
        if record.status not in ENDED:
            owners.note(log, owner)
        elif not self._services.scheduler.has_any_of(log):  # else it is being retried, and this tells of the end before
            owners.forget(log)

    def _changed(self, log: str) -> None:
        if self._services.batch is not None:
            self._services.batch.record_changed(log)

    # --- what is left behind ---------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Takes in what processes left as files, and abandons the runs whose process has gone."""
        owners = self._services.owners
        left = owners.left()
        self._take_unsent()  # after the look: what a process leaves before it goes is taken in before it is missed
        for log, owner in left.items():
            if not owners.has(log):
                continue
            owners.forget(log)  # first: a call of that process may still be on its way, and notes it again
            try:
                self._abandon(log)
            except BaseException:
                owners.note(log, owner)
                raise

    def _abandon(self, log: str) -> None:
        store = self._services.store
        self._services.scheduler.stop_of(log)
        asked_for = [task for task in store.tasks_of_graph(log) if task.type != "CLIENT_COMPUTATION"]
        if asked_for:  # its record, or the rest of it, may never have come
            store.execute(*_statements(log, _record_of(asked_for), self._services.user)[0])
        at = now()
        of_client = "graph = ? AND type = 'CLIENT_COMPUTATION' AND status IN ('QUEUED', 'RUNNING')"
        tasks = f"UPDATE task SET status = 'CANCELLED', status_message = ?, ended = ? WHERE {of_client}"
        run = "UPDATE log SET status = 'abandoned', ended = ? WHERE id = ? AND status IN ('submitted', 'running')"
        store.execute((tasks, (OWNER_GONE, at, log)), (run, (at, log)))
        self._changed(log)

    def _take_unsent(self) -> None:
        folder = self._services.store.folder / UNSENT
        try:
            files = sorted(folder.glob("*.json"))
        except OSError:
            return
        for file in files:
            try:
                self._take(file)
            except (Refused, InvalidBody, ValueError, OverflowError, RecursionError) as error:
                _log.warning("a record that a client left cannot be read: %s: %s", file.name, error)
            except (OSError, StoreError) as error:
                _log.warning("a record that a client left cannot be kept yet: %s", error)
                return
            with contextlib.suppress(OSError):
                file.unlink()

    def _take(self, file: Path) -> None:
        log = file.stem.partition(".")[0]
        if not UUID.fullmatch(log):
            raise ValueError("its name is no UUID")
        self._keep(log, from_json(RunRecord, json.loads(file.read_bytes())))


def _record_of(tasks: Sequence[Task]) -> RunRecord:
    """Of a run whose process may have gone before it had told of all of it: what was asked for here."""
    nodes = {task.node: RunNode(task.node, None, task.name, (), "server") for task in tasks if task.node is not None}
    first = tasks[0]
    return RunRecord(None, first.namespace, first.created, None, first.created, nodes=tuple(nodes.values()))


# --- what is written ----------------------------------------------------------------------------------------


def _statements(log: str, record: RunRecord, user: str) -> tuple[list[Statement], list[tuple[str, str]]]:
    """What to write, and the output of tasks. Everything is checked before anything is written."""
    namespace = record.namespace or user
    statements: list[Statement] = []
    outputs: list[tuple[str, str]] = []
    if record.status is not None and record.status not in RUN_STATUSES:
        raise Refused(400, f"status is {record.status!r}, expected one of: {', '.join(RUN_STATUSES)}")
    started, ended = _moment("start_time", record.start_time), _moment("end_time", record.end_time)
    if record.created_at is not None:
        created = moment_of("created_at", record.created_at)
        name = record.name[:NAME_LIMIT] if record.name is not None else None
        columns = "id, namespace, created_by, name, created, started, status"
        values = (log, namespace, user, name, created, started, record.status or "submitted")
        statements.append((f"INSERT OR IGNORE INTO log ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values))
    if record.status is not None:
        end = (ended or now()) if record.status in ENDED else None
        text = "UPDATE log SET status = ?, started = coalesce(?, started), ended = ? WHERE id = ?"
        statements.append((text, (record.status, started, end, log)))
    for index, node in enumerate(record.nodes or ()):
        where = f"nodes[{index}]"
        statements += _node_statements(log, node, where)
        for number, execution in enumerate(node.executions or ()):
            place = f"{where}.executions[{number}]"
            task, statement = _execution_statement(log, node, execution, namespace, user, place)
            statements.append(statement)
            if execution.logs:
                outputs.append((task, execution.logs))
    return statements, outputs


def _node_statements(log: str, node: RunNode, where: str) -> list[Statement]:
    identity = node.client_node_uuid.lower()
    if not UUID.fullmatch(identity):
        raise Refused(400, f"{where}.client_node_uuid must be a UUID.")
    if node.status is not None and node.status not in STATUSES:
        raise Refused(400, f"{where}.status is {node.status!r}, expected one of: {', '.join(STATUSES)}")
    statements: list[Statement] = []
    if node.depends_on is not None:
        values = (log, log, identity, (node.name or "")[:NAME_LIMIT], json.dumps(node.depends_on), node.run_location)
        text = (
            "INSERT INTO log_node (log, place, id, name, depends_on, run_location) "
            "SELECT ?, (SELECT coalesce(max(place) + 1, 0) FROM log_node WHERE log = ?), ?, ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM log_node WHERE log = ? AND id = ?)"
        )
        statements.append((text, (*values, log, identity)))
    if node.status is not None:
        text = "UPDATE log_node SET status = ? WHERE log = ? AND id = ?"
        statements.append((text, (node.status, log, identity)))
    return statements


def _execution_statement(
    log: str, node: RunNode, one: RunExecution, namespace: str, user: str, where: str
) -> tuple[str, Statement]:
    if one.status not in STATUSES:
        raise Refused(400, f"{where}.status is {one.status!r}, expected one of: {', '.join(STATUSES)}")
    if one.attempt < 1:
        raise Refused(400, f"{where}.attempt counts from 1.")
    identity = node.client_node_uuid.lower()
    task = str(uuid.uuid5(uuid.UUID(log), f"{identity}/{one.attempt}"))
    started, ended = _moment(f"{where}.start_time", one.start_time), _moment(f"{where}.finish_time", one.finish_time)
    given: dict[str, Any] = {
        "id": task,
        "namespace": namespace,
        "username": user,
        "name": node.name[:NAME_LIMIT] if node.name else None,
        "type": "CLIENT_COMPUTATION",
        "status": one.status,
        "status_message": _cut(one.status_message),
        "graph": log,
        "node": identity,
        "created": started or ended or now(),
        "started": started,
        "ended": ended,
        "duration": _nanoseconds(started, ended),
        "stored": False,
        "details": "{}",
        "error_type": one.exception_type[:NAME_LIMIT] if one.exception_type else None,
        "traceback": _cut(one.traceback),
    }
    changing = ("status", "status_message", "started", "ended", "duration", "error_type", "traceback")
    text = (
        f"INSERT INTO task ({', '.join(given)}) VALUES ({', '.join('?' * len(given))}) "
        f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in changing)}"
    )
    return task, (text, list(given.values()))


def _moment(name: str, text: str | None) -> str | None:
    return None if text is None else moment_of(name, text)


def _nanoseconds(started: str | None, ended: str | None) -> int | None:
    if started is None or ended is None:
        return None
    begin, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (started, ended))
    return max(0, round((end - begin).total_seconds() * 1e9))


def _cut(text: str | None) -> str | None:
    if text is None or len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"
