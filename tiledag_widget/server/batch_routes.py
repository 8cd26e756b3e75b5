"""Batch graphs in the API: created, changed, submitted, stopped, retried, run anew, and followed by their events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from ..wire import batch_models, models
from ..wire.batch_models import BatchGraph
from ..wire.models import from_json
from . import batch_store
from .batch import Batch, RunIsGone
from .batch_run import NothingToRetry
from .batch_store import RunPicture
from .exchange import (
    JSON,
    NO_CONTENT,
    UUID,
    Later,
    Refused,
    Reply,
    Request,
    RouteRow,
    error_reply,
    json_of,
    json_reply,
    number,
    object_of,
    whole_number,
)
from .log_shapes import light_log
from .services import Services
from .store import LogNode, Row, Task
from .task_routes import array_task

__all__ = ["BatchRoutes", "batch_log_nodes"]

LONGEST_WAIT_S: Final = 30.0
EVENTS_AT_ONCE: Final = 1000
STOP_WAIT_S: Final = 5.0
ENDED: Final = ("succeeded", "failed", "cancelled", "abandoned")
GIVEN_BY_THE_SERVER: Final = ("uuid", "namespace", "created_by", "created_at", "task_graph_type")


class BatchRoutes:
    """The routes of sections 2.6 and 2.7 of the contract, and the events of 7.3."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def routes(self) -> list[RouteRow]:
        """Method, path and handler of each."""
        graphs, runs = "/v1/taskgraphs/{namespace}/graphs", "/v1/taskgraphs/{namespace}/executions/{log}"
        return [
            ("POST", graphs, self.post_graph),
            ("GET", graphs, self.get_graphs),
            ("GET", graphs + "/{graph}", self.get_graph),
            ("PATCH", graphs + "/{graph}", self.patch_graph),
            ("POST", graphs + "/{graph}/submit", self.post_submit),
            ("POST", runs + "/retry", self.post_retry),
            ("POST", runs + "/resubmit", self.post_resubmit),
            ("GET", "/tiledag/v1/runs/{log}/events", self.get_events),
            ("GET", "/tiledag/v1/runs/{log}/tasks", self.get_run_tasks),
        ]

    @property
    def _batch(self) -> Batch:
        if self._services.batch is None:
            raise Refused(501, "This server runs no batch graphs.")
        return self._services.batch

    # --- graphs ----------------------------------------------------------------------------------------------

    def _body_of(self, request: Request) -> str:
        body = object_of(request)
        try:
            self._batch.check(from_json(BatchGraph, body))
        except OverflowError as error:
            raise Refused(400, f"The body has a number that cannot be used: {error}") from None
        return json.dumps({key: value for key, value in body.items() if key not in GIVEN_BY_THE_SERVER})

    def _graph(self, graph: str) -> Row:
        row = batch_store.graph_row(self._services.store, graph.lower()) if UUID.fullmatch(graph.lower()) else None
        if row is None:
            raise Refused(404, f"There is no batch graph {graph}.")
        return row

    def post_graph(self, request: Request, namespace: str) -> Reply:
        """Takes up a graph, which can then be submitted."""
        body = self._body_of(request)
        graph, _ = batch_store.add_graph(self._services.store, namespace, self._services.user, body)
        return json_reply(_shown(self._graph(graph)), 201)

    def get_graphs(self, request: Request, namespace: str) -> Reply:
        """The graphs of a namespace, newest first."""
        return json_reply({"graphs": [_shown(row) for row in batch_store.graph_rows(self._services.store, namespace)]})

    def get_graph(self, request: Request, namespace: str, graph: str) -> Reply:
        """A graph as it was sent."""
        return json_reply(_shown(self._graph(graph)))

    def patch_graph(self, request: Request, namespace: str, graph: str) -> Reply:
        """Changes a graph; what is not in the body stays. Runs that were submitted go on with what they had."""
        row = self._graph(graph)
        merged = {**json.loads(row["body"]), **object_of(request)}
        body = self._body_of(replace(request, body=json.dumps(merged).encode()))
        batch_store.update_graph(self._services.store, row["id"], body)
        return NO_CONTENT

    # --- runs ------------------------------------------------------------------------------------------------

    def post_submit(self, request: Request, namespace: str, graph: str) -> Reply:
        """Begins a run of a graph."""
        row = self._graph(graph)
        log = self._batch.submit(row["id"], namespace, row["body"])
        return json_reply(self.log_of(log), 202)

    def post_retry(self, request: Request, namespace: str, log: str) -> Later:
        """Runs again what failed or was cancelled, and what depends on it; the body may name `nodes`."""
        found = self._run_id(log)
        future = self._batch.retry(found, nodes_in(request))
        return Later(
            _outcome_of(future), lambda error: _said(error) or json_reply(self.log_of(found), 202), blocks=True
        )

    def post_resubmit(self, request: Request, namespace: str, log: str) -> Reply:
        """Runs the whole graph again, as a new run."""
        row = batch_store.run_row(self._services.store, self._run_id(log))
        if row is None:
            raise Refused(404, f"There is no batch run {log}.")
        return json_reply(self.log_of(self._batch.submit(row.graph, namespace, row.body)), 202)

    def stop(self, request: Request, log: str) -> Later:
        """Ends a batch run, or the nodes that the body names."""
        nodes = nodes_in(request)
        asked = self._batch.stop(log, nodes)
        future = asked if nodes is not None else self._batch.end_of(log, asked)

        def in_vain() -> Reply:
            if asked.done():
                return NO_CONTENT  # its tasks are still being ended
            raise Refused(503, "The stop is not on record: the server's records cannot be written now. Ask again.")

        return Later(_outcome_of(future), lambda error: _said(error) or NO_CONTENT, STOP_WAIT_S, in_vain)

    def _run_id(self, log: str) -> str:
        if not UUID.fullmatch(log.lower()):
            raise Refused(404, f"There is no batch run {log}.")
        store = self._services.store
        if batch_store.run_row(store, log.lower()) is None and store.log(log.lower()) is not None:
            raise Refused(
                409,
                f"The run {log} belongs to its client, which alone has its functions: call node.retry() or "
                "dag.retry_all() there.",
            )
        return log.lower()

    def log_of(self, log: str) -> models.TaskGraphLog:
        """The log of a batch run, all of one moment."""
        picture = batch_store.picture_of(self._services.store, log)
        row = batch_store.run_row(self._services.store, log)
        nodes, counts = batch_log_nodes(picture)
        graph = row.graph if row is not None else None
        return replace(light_log(picture.log, graph), nodes=nodes, status_count=counts)

    # --- events ----------------------------------------------------------------------------------------------

    def get_events(self, request: Request, log: str) -> Reply | Later:
        """The numbered events of a run after one of them; waits for the next if there is none yet.

        The record of a run that happens at its client has no events, but a number that changes with it: the reply comes
        when it is another one than `after`.
        """
        found = log.lower()
        if not UUID.fullmatch(found):
            raise Refused(404, f"There is no run {log}.")
        after = whole_number("after", request.one("after") or "0")
        wait = min(number("wait", request.one("wait") or "0"), LONGEST_WAIT_S)
        if wait <= 0:
            return self._events(found, after)
        # Asked for before looking: what is written between the look and the wait would be missed.
        future: Future[None] = self._batch.watch(found)
        try:
            reply = self._events(found, after)
        except BaseException:
            self._batch.unwatch(found, future)
            raise
        if reply.headers.get("x-tiledag-events") != "0" or future.done():
            self._batch.unwatch(found, future)
            return reply if reply.headers.get("x-tiledag-events") != "0" else self._events(found, after)

        def in_vain() -> Reply:
            self._batch.unwatch(found, future)
            return self._events(found, after)

        return Later(future, lambda _: self._events(found, after), wait, in_vain, blocks=True)

    def get_run_tasks(self, request: Request, log: str) -> Reply:
        """The attempts of a run that have begun, those at items of stages too, and how much each has printed."""
        found = self._run_id(log)
        store = self._services.store
        if batch_store.run_row(store, found) is None:
            raise Refused(404, f"There is no batch run {log}.")
        tasks = [
            batch_models.RunTask(task, node, attempt, status, item if item >= 0 else None, self._printed(task))
            for task, node, attempt, status, item in batch_store.begun_of(store, found)
        ]
        return json_reply(batch_models.RunTasks(found, tuple(tasks)))

    def _printed(self, task: str) -> int:
        try:
            return (self._services.store.folder_of(task) / "output").stat().st_size
        except OSError:
            return 0

    def _events(self, log: str, after: int) -> Reply:
        if batch_store.run_row(self._services.store, log) is None:
            return self._change(log, after)
        status, rows = batch_store.events_after(self._services.store, log, after, EVENTS_AT_ONCE + 1)
        if status is None:
            raise Refused(404, f"There is no run {log}.")
        more = len(rows) > EVENTS_AT_ONCE
        rows = rows[:EVENTS_AT_ONCE]
        # The records hold each event as JSON already; taking it apart would only cost.
        events = ", ".join(f'{{"number": {one.number}, "time": "{one.time}", {one.body[1:]}' for one in rows)
        last = rows[-1].number if rows else after
        is_done = status in ENDED and not more
        head = json.dumps({"run": log, "status": status, "last": last, "more": more, "done": is_done})
        text = f'{head[:-1]}, "events": [{events}]}}'
        return Reply(200, text.encode(), {"content-type": JSON, "x-tiledag-events": str(len(rows) or int(is_done))})

    def _change(self, log: str, after: int) -> Reply:
        found = self._services.store.log(log)
        if found is None:
            raise Refused(404, f"There is no run {log}.")
        last = self._batch.record_version(log)
        is_done = found.status in ENDED
        reply = json_reply(batch_models.RunEvents(log, found.status, last, done=is_done))
        return replace(reply, headers={**reply.headers, "x-tiledag-events": str(int(is_done or last != after))})


def nodes_in(request: Request) -> list[str] | None:
    """The nodes that a body names; None for all of them."""
    body = json_of(request) if request.body.strip() else None
    nodes = body.get("nodes") if isinstance(body, dict) else None
    if nodes is None:
        return None
    if not isinstance(nodes, list) or not all(isinstance(one, str) for one in nodes):
        raise Refused(400, "nodes must be an array of the ids of nodes.")
    return nodes


def _shown(row: Row) -> dict[str, Any]:
    own = {
        "uuid": row["id"],
        "namespace": row["namespace"],
        "created_by": row["created_by"],
        "created_at": row["created"],
        "task_graph_type": "batch",
    }
    return {**json.loads(row["body"]), **own}


def batch_log_nodes(picture: RunPicture) -> tuple[tuple[models.TaskGraphNodeMetadata, ...], dict[str, float]]:
    """The nodes of a batch run as the API shows them, and how many have each status."""
    counts: dict[str, float] = {}
    nodes = []
    for node in picture.nodes:
        shown = _node(node, picture.executions.get(node.id, ()))
        counts[shown.status or "QUEUED"] = counts.get(shown.status or "QUEUED", 0) + 1
        nodes.append(shown)
    return tuple(nodes), counts


def _node(node: LogNode, tasks: Sequence[Task]) -> models.TaskGraphNodeMetadata:
    # One that will not run because of another reads QUEUED: the API has no word for it, and UNKNOWN is a failure.
    status = "QUEUED" if node.status in (None, "PARENT_FAILED") else node.status
    message = tasks[-1].status_message if tasks and status in ("FAILED", "CANCELLED") else None
    executions = tuple(map(array_task, tasks))
    return models.TaskGraphNodeMetadata(
        node.id, node.name, node.depends_on, node.run_location, status, message, executions
    )


def _outcome_of(future: Future[None]) -> Future[BaseException | None]:
    """What a future ended with, as a value."""
    outcome: Future[BaseException | None] = Future()
    future.add_done_callback(lambda done: outcome.set_result(done.exception()))
    return outcome


def _said(error: BaseException | None) -> Reply | None:
    """The reply to a request that cannot be carried out; None if it was."""
    if isinstance(error, NothingToRetry):
        return error_reply(409, str(error))
    if isinstance(error, RunIsGone):
        return error_reply(404, str(error))
    if error is not None:
        raise error
    return None
