"""How the record of a run looks in the API, of both kinds."""

from __future__ import annotations

from datetime import datetime

from ..wire import models
from .store import Log

__all__ = ["light_log"]


def light_log(log: Log, batch_graph: str | None = None) -> models.TaskGraphLog:
    """A log without its nodes; `batch_graph` is the graph of a batch run."""
    return models.TaskGraphLog(
        uuid=log.id,
        namespace=log.namespace,
        created_by=log.created_by,
        name=log.name,
        created_at=log.created,
        start_time=log.started,
        end_time=log.ended,
        status=log.status,
        total_cost=0,
        execution_time=_duration(log),
        task_graph_type="realtime" if batch_graph is None else "batch",
        task_graph_id=batch_graph,
    )


def _duration(log: Log) -> str | None:
    if log.started is None or log.ended is None:
        return None
    start, end = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (log.started, log.ended))
    seconds = max(0.0, (end - start).total_seconds())
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"PT{hours:.0f}H{minutes:.0f}M{seconds:.2f}S"
