"""The record of a run that happens at the client, as our client sends it to our server; the contract has none.

``PUT /tiledag/v1/runs/{id}`` takes a `RunRecord`. The first one of a run has ``created_at`` and all nodes; later ones
have what changed. Sending one twice is as good as once.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MOST_NODES_A_CALL", "UNSENT", "RunExecution", "RunNode", "RunOwner", "RunRecord"]

MOST_NODES_A_CALL = 2_000
UNSENT = "unsent"
"""Folder in the data folder for records that wait for a server, a file each: ``<id of the run>.<number>.json``."""


@dataclass(frozen=True, slots=True)
class RunOwner:
    """The process that runs the graph. Once it has gone, what has not ended is abandoned.

    Attributes:
        machine: Its host's name.
        pid: Its number there.
        started: When it was started, in Unix seconds: numbers are given again.
    """

    machine: str
    pid: int
    started: float


@dataclass(frozen=True, slots=True)
class RunExecution:
    """One attempt at a node. Times are RFC 3339."""

    attempt: int
    status: str
    start_time: str | None = None
    finish_time: str | None = None
    status_message: str | None = None
    exception_type: str | None = None
    traceback: str | None = None
    logs: str | None = None


@dataclass(frozen=True, slots=True)
class RunNode:
    """A node: all of it the first time, later its state and the attempts that are new or have changed."""

    client_node_uuid: str
    status: str | None = None
    name: str | None = None
    depends_on: tuple[str, ...] | None = None
    run_location: str | None = None
    executions: tuple[RunExecution, ...] | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run, or what changed in it. ``created_at`` None: the run is on record already."""

    name: str | None = None
    namespace: str | None = None
    created_at: str | None = None
    status: str | None = None
    start_time: str | None = None
    end_time: str | None = None
    owner: RunOwner | None = None
    nodes: tuple[RunNode, ...] | None = None
