"""The records of runs in the API: begun and ended by their clients, listed, shown, stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..wire import models
from .batch_routes import BatchRoutes
from .batch_store import graphs_of_runs
from .exchange import (
    NO_CONTENT,
    Later,
    Refused,
    Reply,
    Request,
    RouteRow,
    body_as,
    found_by_id,
    json_reply,
    like,
    moment_of,
    page_of,
    pagination,
)
from .log_shapes import light_log
from .services import Services
from .store import Log, LogNode
from .task_routes import array_task

__all__ = ["LogRoutes"]


class LogRoutes:
    """The routes of sections 2.5 and 2.6 of the contract."""

    def __init__(self, services: Services, batch: BatchRoutes) -> None:
        self._services = services
        self._batch = batch

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        return [
            ("POST", "/v1/taskgraphs/{namespace}/log", self.post_log),
            ("GET", "/v1/taskgraphs/logs", self.get_logs),
            ("GET", "/v1/taskgraphs/{namespace}/logs/{log}", self.get_log),
            ("PATCH", "/v1/taskgraphs/{namespace}/logs/{log}", self.patch_log),
            ("POST", "/v1/taskgraphs/{namespace}/logs/{log}/report_client_node", self.post_report),
            ("POST", "/v1/taskgraphs/{namespace}/executions/{log}/stop", self.post_stop_run),
        ]

    def _is_batch(self, log: str) -> bool:
        return bool(graphs_of_runs(self._services.store, [log]))

    def _log(self, log: str) -> Log:
        return found_by_id("log", log, self._services.store.log)

    def post_log(self, request: Request, namespace: str) -> Reply:
        """Begins the record of a run."""
        body = body_as(models.TaskGraphLog, request)
        nodes = [
            LogNode(one.client_node_uuid.lower(), one.name, tuple(one.depends_on or ()), one.run_location or "server")
            for one in body.nodes or ()
        ]
        known: set[str] = set()
        for index, node in enumerate(nodes):
            if node.id in known:
                raise Refused(400, f"nodes[{index}]: a second node with the id {node.id}.")
            known.add(node.id)
        if body.name is not None and len(body.name) > 255:
            raise Refused(400, "name is longer than 255 characters.")
        log = self._services.store.add_log(namespace, self._services.user, body.name, nodes)
        return json_reply(self._whole_log(log), 201)

    def get_logs(self, request: Request) -> Reply:
        """A page of runs without their nodes, newest first."""
        where: dict[str, Any] = {}
        conditions = {
            "namespace": "namespace = ? COLLATE NOCASE",
            "created_by": "created_by = ?",
            "status": "status = ?",
        }
        for name, condition in conditions.items():
            if (value := request.one(name)) is not None:
                where[condition] = value
        if (value := request.one("search")) is not None:
            where["name LIKE ? ESCAPE '\\'"] = like(value)
        for name, condition in (("start_time", "created >= ?"), ("end_time", "created <= ?")):
            if (value := request.one(name)) is not None:
                where[condition] = moment_of(name, value)
        number, size = page_of(request)
        logs, page = self._services.store.log_page(where, number, size)
        graphs = graphs_of_runs(self._services.store, [log.id for log in logs])
        shown = tuple(light_log(log, graphs.get(log.id)) for log in logs)
        return json_reply(models.TaskGraphLogsData(shown, pagination(page)))

    def get_log(self, request: Request, namespace: str, log: str) -> Reply:
        """A run with its nodes and their executions."""
        if self._is_batch(log.lower()):
            return json_reply(self._batch.log_of(log.lower()))
        return json_reply(self._whole_log(self._log(log)))

    def _whole_log(self, log: Log) -> models.TaskGraphLog:
        executions: dict[str, list[models.ArrayTask]] = {}
        for task in self._services.store.tasks_of_graph(log.id):
            if task.node is not None:
                executions.setdefault(task.node, []).append(array_task(task))
        nodes = tuple(
            _node_metadata(node, executions.get(node.id, [])) for node in self._services.store.log_nodes(log.id)
        )
        counts: dict[str, float] = {}
        for node in nodes:
            counts[node.status or "UNKNOWN"] = counts.get(node.status or "UNKNOWN", 0) + 1
        return replace(light_log(log), nodes=nodes, status_count=counts)

    def patch_log(self, request: Request, namespace: str, log: str) -> Reply:
        """Records how a run ended."""
        found = self._log(log)
        update = body_as(models.LogUpdate, request)
        if str(update.status) not in ("succeeded", "failed", "cancelled"):
            raise Refused(400, f"status is {str(update.status)!r}, expected one of: succeeded, failed, cancelled")
        if self._is_batch(found.id):
            raise Refused(409, "A batch run ends by itself; stop it to end it now.")
        self._services.store.end_log(found.id, str(update.status))
        self._changed(found.id)
        return NO_CONTENT

    def post_report(self, request: Request, namespace: str, log: str) -> Reply:
        """Records how a node that runs at the client ended."""
        found = self._log(log)
        report = body_as(models.ClientNodeReport, request)
        if not self._services.store.report_node(found.id, report.client_node_uuid.lower(), str(report.status)):
            raise Refused(404, f"Log {found.id} has no node {report.client_node_uuid}.")
        self._changed(found.id)
        return NO_CONTENT

    def _changed(self, log: str) -> None:
        if self._services.batch is not None:
            self._services.batch.record_changed(log)

    def post_stop_run(self, request: Request, namespace: str, log: str) -> Reply | Later:
        """Ends what runs of a graph."""
        found = self._log(log)
        if self._is_batch(found.id):
            return self._batch.stop(request, found.id)
        self._services.scheduler.stop_of(found.id)
        self._services.store.end_log(found.id, "cancelled")
        return NO_CONTENT


def _node_metadata(node: LogNode, executions: Sequence[models.ArrayTask]) -> models.TaskGraphNodeMetadata:
    latest = executions[-1] if executions else None
    if latest is not None:
        status, message = latest.status, latest.status_message
    else:
        status, message = node.status or ("UNKNOWN" if node.run_location == "client" else "QUEUED"), None
    if node.status == "CANCELLED" and status != "COMPLETED":
        status = "CANCELLED"
    return models.TaskGraphNodeMetadata(
        node.id, node.name, node.depends_on, node.run_location, status, message, tuple(executions)
    )
