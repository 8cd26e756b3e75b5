"""`browse_logs`: the runs that the server has on record, to look through and to open."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from .core.states import Status
from .dag import DAG
from .view.runs_table import MOST_PER_PAGE, Found, Query, Row, runs_html, runs_text, unix_time
from .wire.models import TaskGraphLog, status_of_log

if TYPE_CHECKING:
    from .core.snapshot import GraphSource


def browse_logs(
    namespace: str | None = None,
    created_by: str | None = None,
    search: str | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    status: str | None = None,
    per_page: int = 10,
) -> Any:
    """A widget with the runs on record: search, filters and pages; a run opens as the view of its graph.

    The run of a BATCH graph that goes on can be cancelled and retried there, and so can a graph of this kernel; of any
    other run there is the record. Without widgets: a table.

    Args:
        namespace: Whose runs; all that you may see if None.
        created_by: The user who ran them.
        search: Part of their name.
        start_time: Not before.
        end_time: Not after.
        status: ``running``, ``succeeded``, ``failed`` or ``cancelled``.
        per_page: Rows on a page, up to 100.

    Raises:
        ValueError: ``status`` or ``per_page`` is none of these.
        ServerNeeded: There is no server.
    """
    if not 1 <= per_page <= MOST_PER_PAGE:
        raise ValueError(f"per_page must be between 1 and {MOST_PER_PAGE}, got {per_page!r}")
    if status is not None and status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {status!r}")
    from .wire import client

    client.current()  # without a server this says so now, and not in a corner of the widget
    query = Query(namespace, created_by, search, status, 0.0, start_time, end_time, 1, per_page)
    try:
        from .view.log_browser import LogBrowser
    except ImportError:
        return RunsTable(ServerRuns().find(query))
    return LogBrowser(ServerRuns(start_time, end_time), query)


STATUSES = ("running", "succeeded", "failed", "cancelled")


class RunsTable:
    """A page of runs for hosts without widgets."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def __repr__(self) -> str:
        return runs_text(self._found)

    def _repr_html_(self) -> str:
        return runs_html(self._found)


class ServerRuns:
    """The runs that the server has on record. Implements `view.log_browser.Runs`."""

    def __init__(self, start_time: datetime | None = None, end_time: datetime | None = None) -> None:
        self._start_time = start_time
        self._end_time = end_time

    def find(self, query: Query) -> Found:
        """A page of runs, newest first."""
        from .logs import flush_records
        from .wire import client

        is_whole = flush_records()
        page = client.current().logs(
            query.namespace,
            query.created_by,
            query.search,
            query.since() or self._start_time,
            query.end_time or self._end_time,
            query.page,
            query.per_page,
            query.status,
        )
        here = {str(dag.server_graph_uuid) for dag in _graphs_here()}
        rows = [_row(log, here) for log in page.task_graph_logs or ()]
        about = page.pagination_metadata
        total = int(about.total_items) if about is not None and about.total_items is not None else len(rows)
        return Found(rows, query.page, query.per_page, total, is_whole)

    def open(self, uuid: str, namespace: str) -> GraphSource:
        """The graph itself if it lives in this kernel, else its record."""
        for dag in _graphs_here():
            if str(dag.server_graph_uuid) == uuid:
                return dag._as_source()
        return DAG.attach(uuid, namespace or None)._as_source()


def _graphs_here() -> list[DAG]:
    """Graphs of this process that are on record and still held by somebody."""
    from .run.graphs import known_observers

    graphs = [cast("DAG | None", getattr(observer, "dag", None)) for observer in known_observers()]
    return [dag for dag in graphs if dag is not None and dag.server_graph_uuid is not None]


def _row(log: TaskGraphLog, here: set[str]) -> Row:
    status = status_of_log(log.status)
    return Row(
        uuid=str(log.uuid),
        namespace=log.namespace or "",
        name=log.name or "Task graph",
        created_by=log.created_by or "",
        status=status.value,
        word=str(status) if status is not Status.NOT_STARTED else str(log.status or status).capitalize(),
        started=unix_time(log.start_time or log.created_at),
        ended=unix_time(log.end_time),
        kind=log.task_graph_type or "",
        counts={str(name): int(count) for name, count in (log.status_count or {}).items()},
        is_here=str(log.uuid) in here,
    )
