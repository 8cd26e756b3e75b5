"""The words of the machine: statuses, modes, events in, commands out, and the transition table.

Events and commands are named tuples rather than dataclasses: as immutable, and a third of the cost to make,
which is what a node of a large graph spends most of its time on here.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Status(enum.Enum):
    """State of a node or of a whole graph. ``str()`` gives the words people read."""

    NOT_STARTED = 1
    RUNNING = 2
    COMPLETED = 3
    FAILED = 4
    CANCELLED = 5
    PARENT_FAILED = 6

    def __str__(self) -> str:
        return self.name.replace("_", " ").title()


class Mode(enum.Enum):
    """Where the nodes of a graph run by default."""

    LOCAL = 1
    REALTIME = 2
    BATCH = 3

    def __str__(self) -> str:
        return self.name.title()


# The machine keeps statuses as bytes in a column; these are their numbers.
NOT_STARTED: Final = Status.NOT_STARTED.value
RUNNING: Final = Status.RUNNING.value
COMPLETED: Final = Status.COMPLETED.value
FAILED: Final = Status.FAILED.value
CANCELLED: Final = Status.CANCELLED.value
PARENT_FAILED: Final = Status.PARENT_FAILED.value

TERMINAL: Final = frozenset({COMPLETED, FAILED, CANCELLED, PARENT_FAILED})
"""Statuses that only a retry changes."""
BAD: Final = frozenset({FAILED, CANCELLED, PARENT_FAILED})
"""Statuses that keep the children of a node from running."""


# --- events: past tense for what happened, a request otherwise ---------------------------------------------


class AddNode(NamedTuple):
    """A node with these parents joins the graph; its index is the number of nodes before it."""

    parents: tuple[int, ...]
    status: int = NOT_STARTED
    """NOT_STARTED, or CANCELLED for a node that was cancelled before it joined."""


class AddEdge(NamedTuple):
    """``child`` waits for ``parent`` too."""

    parent: int
    child: int


class Start(NamedTuple):
    """The graph was asked to run."""

    at: float


class Began(NamedTuple):
    """An attempt was taken up by a worker."""

    node: int
    attempt: int
    at: float
    slot: int


class Finished(NamedTuple):
    """An attempt returned."""

    node: int
    attempt: int
    at: float


class Failed(NamedTuple):
    """An attempt raised, or could not be begun."""

    node: int
    attempt: int
    at: float


class Lost(NamedTuple):
    """The worker of an attempt is gone."""

    node: int
    attempt: int
    at: float


class Aborted(NamedTuple):
    """An attempt was ended because a `Stop` asked for it."""

    node: int
    attempt: int
    at: float


class Cancel(NamedTuple):
    """Nodes that have not started shall not start; ``nodes=None`` is the whole graph."""

    nodes: tuple[int, ...] | None
    at: float


class Stop(NamedTuple):
    """The running attempts of these nodes shall be ended."""

    nodes: tuple[int, ...]
    at: float


class Retry(NamedTuple):
    """These nodes shall run again, with ``descendants`` everything below them too, completed or not."""

    nodes: tuple[int, ...]
    descendants: bool
    at: float


Event = AddNode | AddEdge | Start | Began | Finished | Failed | Lost | Aborted | Cancel | Stop | Retry
EVENTS: Final[tuple[type, ...]] = (
    AddNode,
    AddEdge,
    Start,
    Began,
    Finished,
    Failed,
    Lost,
    Aborted,
    Cancel,
    Stop,
    Retry,
)


# --- commands -----------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """Take this attempt up as soon as a worker is free."""

    node: int
    attempt: int


class Abort(NamedTuple):
    """End this running attempt and answer with `Aborted` (or whatever came first)."""

    node: int
    attempt: int


class Changed(NamedTuple):
    """The node has this status now."""

    node: int
    status: int


class Ended(NamedTuple):
    """Nothing runs and nothing can start: the graph ended with this status."""

    status: int


Command = Run | Abort | Changed | Ended


# --- the table ----------------------------------------------------------------------------------------------

PARENT_TURNED_BAD: Final = "ParentTurnedBad"
PARENTS_FINE_AGAIN: Final = "ParentsFineAgain"
"""The two inner causes: what a node's own transition means for its children, in the same step."""

IGNORED: Final = 0
"""Table entry: a legal request that has nothing to do here."""

TABLE: Final[dict[tuple[str, int], int]] = {
    # what a worker answers about the live attempt (an answer about any other one is recorded and ignored)
    ("Began", NOT_STARTED): RUNNING,
    ("Finished", RUNNING): COMPLETED,
    ("Failed", NOT_STARTED): FAILED,
    ("Failed", RUNNING): FAILED,
    ("Lost", NOT_STARTED): FAILED,
    ("Lost", RUNNING): FAILED,
    ("Aborted", RUNNING): CANCELLED,
    # what a person asks
    ("Cancel", NOT_STARTED): CANCELLED,
    ("Cancel", RUNNING): IGNORED,
    ("Cancel", COMPLETED): IGNORED,
    ("Cancel", FAILED): IGNORED,
    ("Cancel", CANCELLED): IGNORED,
    ("Cancel", PARENT_FAILED): IGNORED,
    ("Stop", NOT_STARTED): IGNORED,
    ("Stop", RUNNING): RUNNING,
    ("Stop", COMPLETED): IGNORED,
    ("Stop", FAILED): IGNORED,
    ("Stop", CANCELLED): IGNORED,
    ("Stop", PARENT_FAILED): IGNORED,
    ("Retry", NOT_STARTED): IGNORED,
    ("Retry", RUNNING): IGNORED,
    ("Retry", COMPLETED): IGNORED,  # with descendants: NOT_STARTED, see RETRY_COMPLETED
    ("Retry", FAILED): NOT_STARTED,
    ("Retry", CANCELLED): NOT_STARTED,
    ("Retry", PARENT_FAILED): IGNORED,  # its blocker is what has to run again
    # what follows for children
    (PARENT_TURNED_BAD, NOT_STARTED): PARENT_FAILED,
    (PARENT_TURNED_BAD, CANCELLED): IGNORED,
    (PARENT_TURNED_BAD, PARENT_FAILED): IGNORED,
    (PARENTS_FINE_AGAIN, CANCELLED): IGNORED,
    (PARENTS_FINE_AGAIN, PARENT_FAILED): NOT_STARTED,
}
"""(event, status of the node) -> its next status. What is not in here is illegal."""

RETRY_COMPLETED: Final = NOT_STARTED
"""Where a Completed node goes when `Retry` asks for descendants too."""
