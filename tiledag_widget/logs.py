"""Logs of task graphs, kept by the server."""

from __future__ import annotations

import sys
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .wire.models import TaskGraphLog, TaskGraphLogsData

FLUSH_SECONDS = 10.0
"""How long a look at the record of a graph of this process waits for its last reports to be sent."""
_TAKEN: Final = "a DAG, a log or an id (the UUID of a log, as `list_logs().task_graph_logs[0].uuid`)"


def list_logs(
    namespace: str | None = None,
    created_by: str | None = None,
    search: str | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    page: int = 1,
    per_page: int = 10,
) -> TaskGraphLogsData:
    """A page of the runs that the server has on record, newest first, without their nodes.

    Args:
        namespace: Whose runs; all that you may see if None.
        created_by: The user who ran them.
        search: Part of their name.
        start_time: Not before.
        end_time: Not after.
        page: From 1.
        per_page: How many.

    Raises:
        ServerNeeded: There is no server.
        ServerError: It refuses.
        ServerUnreachable: It does not answer.
    """
    from .wire import client

    flush_records()
    return client.current().logs(namespace, created_by, search, start_time, end_time, page, per_page)


def server_logs(dag_or_id: Any, namespace: str | None = None) -> TaskGraphLog | None:
    """The record of one run with its nodes and their executions, or None for a graph that has none.

    Args:
        dag_or_id: A graph, a log, or the id of one.
        namespace: Whose record it is; that of the graph, or where calls of yours are charged, if None.

    Raises:
        TypeError, ValueError: It is none of these.
        ServerNeeded: There is no server.
        ServerError: It has no such record, or refuses.
        ServerUnreachable: It does not answer.
    """
    of_graph = hasattr(dag_or_id, "server_graph_uuid")
    if of_graph:
        if dag_or_id.done():  # the last node's result can be had before the end of the graph is told
            dag_or_id._driver.wait_until_reported(FLUSH_SECONDS)
        flush_records()
    identity = dag_or_id.server_graph_uuid if of_graph else getattr(dag_or_id, "uuid", dag_or_id)
    if identity is None:
        return None
    if not isinstance(identity, (str, uuid.UUID)):
        raise TypeError(f"server_logs takes {_TAKEN}, got {type(dag_or_id).__name__}")
    if isinstance(identity, str):
        try:
            identity = uuid.UUID(identity)
        except ValueError:
            what = repr(identity) if len(identity) <= 60 else repr(identity[:59]) + "…"
            raise ValueError(f"server_logs takes {_TAKEN}; {what} is no id") from None
    from .run.remote_reports import reports
    from .wire import client

    if of_graph:
        reports.flush(FLUSH_SECONDS)
    server = client.current()
    whose = namespace or getattr(dag_or_id, "namespace", None) or server.namespace("run_job")
    return server.log(whose, identity)


def flush_records() -> bool:
    """Have graphs of this process that have ended put on record first: somebody looks for them. False if some are not
    there yet: the server is slow, or does not answer."""
    # None as well while another thread is at its import: then it has no graph yet.
    recorder = getattr(sys.modules.get(f"{__package__}.run.record"), "recorder", None)
    return recorder is None or bool(recorder.flush(FLUSH_SECONDS))
