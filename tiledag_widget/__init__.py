"""Task graphs for Jupyter: build them with the API of TileDB Cloud's ``dag`` module, and watch them run.

>>> from tiledag_widget import DAG
>>> dag = DAG()
>>> one = dag.submit_local(lambda: 1)
>>> two = dag.submit_local(lambda x: x + 1, one)
>>> dag.compute()
>>> two.result()
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import dag as dag
    from .account import login
    from .browse import browse_logs
    from .core.states import Mode, Status
    from .dag import DAG, MIN_BATCH_RESOURCES, Node, running
    from .errors import (
        CycleError,
        ItemError,
        NodeExited,
        NotPicklable,
        ParentFailedError,
        RemoteError,
        ServerError,
        ServerNeeded,
        ServerUnreachable,
        StoppedError,
        TiledagError,
        WorkerDied,
    )
    from .logs import list_logs, server_logs
    from .run.arguments import replace_stored_params
    from .run.executors import shutdown
    from .run.progress import progress

__version__ = "0.1.0"

_HOMES = {
    "DAG": "dag",
    "MIN_BATCH_RESOURCES": "dag",
    "Node": "dag",
    "running": "dag",
    "Mode": "core.states",
    "Status": "core.states",
    "CycleError": "errors",
    "ItemError": "errors",
    "NodeExited": "errors",
    "NotPicklable": "errors",
    "ParentFailedError": "errors",
    "RemoteError": "errors",
    "ServerError": "errors",
    "ServerNeeded": "errors",
    "ServerUnreachable": "errors",
    "StoppedError": "errors",
    "TiledagError": "errors",
    "WorkerDied": "errors",
    "login": "account",
    "browse_logs": "browse",
    "list_logs": "logs",
    "server_logs": "logs",
    "progress": "run.progress",
    "replace_stored_params": "run.arguments",
    "shutdown": "run.executors",
}

__all__ = [
    "DAG",
    "MIN_BATCH_RESOURCES",
    "CycleError",
    "ItemError",
    "Mode",
    "Node",
    "NodeExited",
    "NotPicklable",
    "ParentFailedError",
    "RemoteError",
    "ServerError",
    "ServerNeeded",
    "ServerUnreachable",
    "Status",
    "StoppedError",
    "TiledagError",
    "WorkerDied",
    "browse_logs",
    "dag",
    "list_logs",
    "login",
    "progress",
    "replace_stored_params",
    "running",
    "server_logs",
    "shutdown",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "dag":
        return import_module(f"{__name__}.dag")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
