"""Logs of task graphs, kept by the server."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from .errors import ServerNeeded

_WAY_OUT = (
    "needs a task-graph server, and this version of tiledag-widget has none yet. Versions with a server will start "
    "one by themselves, or use the account named by TILEDB_REST_HOST and TILEDB_REST_TOKEN."
)


def list_logs(
    namespace: str | None = None,
    created_by: str | None = None,
    search: str | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    page: int = 1,
    per_page: int = 10,
) -> Any:
    """A page of the runs that the server has on record, newest first.

    Raises:
        ServerNeeded: There is no server.
    """
    raise ServerNeeded(f"list_logs {_WAY_OUT}")


def server_logs(dag_or_id: Any, namespace: str | None = None) -> Any:
    """The record of one run, or None for a graph that has none.

    Args:
        dag_or_id: A graph, a log, or the id of one.
        namespace: Whose record it is.

    Raises:
        ServerNeeded: There is no server.
    """
    identity = getattr(dag_or_id, "server_graph_uuid", dag_or_id)
    if identity is None:
        return None
    if not isinstance(identity, (str, uuid.UUID)) and not hasattr(identity, "uuid"):
        raise TypeError(f"server_logs takes a DAG, a log or an id, got {type(dag_or_id).__name__}")
    raise ServerNeeded(f"server_logs {_WAY_OUT}")
