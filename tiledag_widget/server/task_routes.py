"""Tasks: their records, results and output, and how one is stopped."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..wire import models
from . import output
from .exchange import (
    NO_CONTENT,
    TASK_HEADER,
    Later,
    Refused,
    Reply,
    Request,
    RouteRow,
    found_by_id,
    json_reply,
    like,
    number,
    page_of,
    pagination,
    utc_text,
    whole_number,
)
from .services import Services
from .store import Task

__all__ = ["TaskRoutes", "array_task"]

OUTPUT_PIECE = 1 << 20
OUTPUT_IN_TASK = 1 << 18


class TaskRoutes:
    """The routes of section 2.4 of the contract, and ours on tasks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("GET", "/v1/task/{task}", self.get_task),
            ("GET", "/v1/task/{task}/result", self.get_result),
            ("GET", "/v1/tasks", self.get_tasks),
            ("GET", "/v1/tasks/sidebar", self.get_sidebar),
            ("GET", "/tiledag/v1/tasks/{task}/output", self.get_output),
            ("POST", "/tiledag/v1/tasks/{task}/stop", self.post_stop_task),
        ]

    def _task(self, task: str) -> Task:
        return found_by_id("task", task, self._services.store.task)

    def get_task(self, request: Request, task: str) -> Reply:
        """The record of a task, with what it printed."""
        found = self._task(task)
        text, _ = output.read(self._output(found.id), 0, OUTPUT_IN_TASK)
        return json_reply(array_task(found, text))

    def get_result(self, request: Request, task: str) -> Reply:
        """The stored result; of a failed task its exception, pickled. 202 while it runs."""
        found = self._task(task)
        if found.status in ("QUEUED", "RUNNING"):
            return Reply(202, headers={TASK_HEADER: found.id})
        file = self._services.store.folder_of(found.id) / "result"
        if found.mime is None or not file.exists() or (found.status == "COMPLETED" and not found.stored):
            raise Refused(404, f"The result of task {found.id} is not stored.")
        return Reply(200, headers={"content-type": found.mime, TASK_HEADER: found.id}, file=file)

    def get_tasks(self, request: Request) -> Reply:
        """A page of tasks."""
        where: dict[str, Any] = {}
        if (value := request.one("created_by")) is not None:
            where["username = ?"] = value
        # TileDB's client sends the namespace of the array beside the array; who ran the task may be another.
        if (value := request.one("namespace")) is not None and request.one("array") is None:
            where["namespace = ? COLLATE NOCASE"] = value
        for name, condition in (("type", "type = ?"), ("status", "status = ? COLLATE NOCASE")):
            if (value := request.one(name)) is not None:
                where[condition] = value
        if (value := request.one("search")) is not None:
            where["name LIKE ? ESCAPE '\\'"] = like(value)
        if (value := request.one("array")) is not None:
            where["details LIKE ? ESCAPE '\\'"] = like(value)
        for name, condition in (("start", "created >= ?"), ("end", "created <= ?")):
            if (value := request.one(name)) is not None:
                where[condition] = utc_text(datetime.fromtimestamp(number(name, value), timezone.utc))
        excluded = [kind for value in request.query.get("exclude_type", ()) for kind in value.split(",") if kind]
        for place, kind in enumerate(excluded):
            where[f"type != ? AND {place} = {place}"] = kind
        orders = {None: "seq DESC", "start_time": "started DESC, seq DESC", "name": "name, seq DESC"}
        order = orders.get(request.one("orderby"), "seq DESC")
        tasks, page = self._services.store.task_page(where, order, *page_of(request))
        return json_reply(models.ArrayTaskData(tuple(map(array_task, tasks)), pagination(page)))

    def get_sidebar(self, request: Request) -> Reply:
        """Counts of tasks by namespace."""
        rows = self._services.store.rows("SELECT namespace, count(*) FROM task GROUP BY namespace")
        counts = {row[0]: row[1] for row in rows}
        body = {
            "organizations": sorted(counts),
            "result_count_for_all": sum(counts.values()),
            "result_count_by_namespace": counts,
        }
        return json_reply(body)

    def _output(self, task: str) -> Path:
        return self._services.store.folder_of(task) / "output"

    def get_output(self, request: Request, task: str) -> Reply:
        """What a task has printed from a byte position on, live while it runs; with `levels`, in pieces."""
        found = self._task(task)
        start = whole_number("after", request.one("after") or "0")
        path = self._output(found.id)
        if request.one("levels"):
            pieces, position = output.read_lines(path, start, OUTPUT_PIECE)
            return json_reply({"pieces": pieces, "position": position, "status": found.status})
        text, position = output.read(path, start, OUTPUT_PIECE)
        return json_reply({"text": text, "position": position, "status": found.status})

    def post_stop_task(self, request: Request, task: str) -> Reply | Later:
        """Ends a task that waits or runs."""
        found = self._task(task)
        batch = self._services.batch
        if batch is not None and found.graph is not None and found.node is not None and batch.has(found.graph):
            return Later(batch.stop(found.graph, [found.node]), lambda _: NO_CONTENT)
        if not self._services.scheduler.stop(found.id):
            raise Refused(409, f"Task {found.id} has ended already ({found.status}).")
        return NO_CONTENT


def array_task(task: Task, printed: str | None = None) -> models.ArrayTask:
    """A task as the contract shows it."""
    details = json.loads(task.details)
    return models.ArrayTask(
        id=task.id,
        name=task.name,
        username=task.username,
        namespace=task.namespace,
        status=task.status,
        status_message=task.status_message,
        start_time=task.started or task.created,
        finish_time=task.ended,
        duration=task.duration,
        memory=task.memory,
        cost=0,
        type=task.type,
        udf_code=details.get("udf_code"),
        udf_language=details.get("udf_language"),
        sql_query=details.get("sql_query"),
        sql_init_commands=_tuple(details.get("sql_init_commands")),
        sql_parameters=_tuple(details.get("sql_parameters")),
        logs=printed,
        result_format=details.get("result_format"),
        task_graph_uuid=task.graph,
        client_node_uuid=task.node,
    )


def _tuple(items: list[Any] | None) -> tuple[Any, ...] | None:
    return tuple(items) if items is not None else None
