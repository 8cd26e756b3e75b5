"""The record of a run that happens at the client, as our client sends it to our server; the contract has none.

``PUT /tiledag/v1/runs/{id}`` takes a `RunRecord`. The first one of a run has ``created_at`` and all nodes; later ones
have what changed. Sending one twice is as good as once.

Which process a run belongs to stands in its first record, and in the header `OWNER_HEADER` of each call of its nodes:
the record may come after the first of them.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import quote, unquote

__all__ = [
    "MOST_NODES_A_CALL",
    "OWNER_HEADER",
    "UNSENT",
    "RunExecution",
    "RunNode",
    "RunOwner",
    "RunRecord",
    "this_process",
]

OWNER_HEADER: Final = "X-Tiledag-Owner"
"""Holds ``RunOwner.to_header()``."""

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

    def to_header(self) -> str:
        """As the value of a header."""
        return f"{self.pid} {self.started!r} {quote(self.machine)}"

    @staticmethod
    def of_header(text: str) -> RunOwner | None:
        """What `to_header` has made; None for anything else."""
        try:
            pid, started, machine = text.split(" ")
            return RunOwner(unquote(machine), int(pid), float(started))
        except ValueError:
            return None


def this_process() -> RunOwner | None:
    """The process that asks; None where it cannot be known."""
    return _process(os.getpid())


@cache
def _process(pid: int) -> RunOwner | None:
    try:
        import psutil

        return RunOwner(socket.gethostname(), pid, psutil.Process(pid).create_time())
    except Exception:  # not installed, or not allowed
        return None


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
