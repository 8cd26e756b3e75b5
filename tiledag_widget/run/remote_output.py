"""Output that a server holds, fetched into a graph's own log while somebody looks at it.

**Thread**: ``tiledag-output`` from `run.threads`, one for each graph with server nodes that is looked at; it ends when
nobody looks any more, or when every attempt that has ended was fetched to its end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ..core.lines import STDOUT
from ..errors import ServerError, ServerUnreachable
from .output import Output, Sink
from .threads import threads

if TYPE_CHECKING:
    from ..wire.client import Client
    from ..wire.models import TaskGraphLog

_log = logging.getLogger("tiledag_widget.run")

LOOK_S: Final = 0.5
PATIENCE_S: Final = 10.0
"""How long a graph that runs, and of which nothing is new, is looked at as often; then four times less."""
_OVER: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED", "ABANDONED", "TIMED_OUT", "OOM"})


class Task(NamedTuple):
    """An attempt that a server has on record.

    Attributes:
        is_over: Nothing more will be printed.
        item: Of a stage, which prints one item's lines among those of the others; None: the node as a whole.
        is_silent: Nothing was printed up to now.
    """

    node: int
    attempt: int
    id: str
    is_over: bool
    item: int | None = None
    is_silent: bool = False


class _OfItem:
    """Stands where a sink has its output: whose line it is stands before it."""

    def __init__(self, output: Output, item: int) -> None:
        self._output = output
        self._mark = label_of(item)

    def add(self, node: int, attempt: int, level: int, text: str, at: float | None = None) -> None:
        self._output.add(node, attempt, level, self._mark + text.replace("\n", f"\n{self._mark}"), at)


def label_of(item: int) -> str:
    """What stands before each line that an item of a stage prints."""
    return f"[{item}] "


class HeldOutput:
    """Fetches the output of one graph's tasks. Safe from any thread."""

    def __init__(
        self,
        output: Output,
        client: Callable[[], Client | None],
        tasks: Callable[[], Sequence[Task]],
        is_active: Callable[[], bool],
    ) -> None:
        self._output = output
        self._client = client
        self._tasks = tasks
        self._is_active = is_active
        self._lock = threading.Lock()
        self._is_running = False
        self._sinks: dict[str, tuple[Sink, int]] = {}
        self._done: set[str] = set()

    def follow(self) -> None:
        """Begin to fetch, if somebody looks. Returns at once."""
        if not self._output.is_watched:
            return
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        try:
            threads.start(self._follow, "tiledag-output")
        except RuntimeError:  # the system gives no thread
            self._is_running = False

    def _follow(self) -> None:
        try:
            said = False
            since = time.monotonic()
            while True:
                was_active = self._is_active()
                try:
                    found = self._fetch()
                    is_over = found is not None and not was_active
                    since = time.monotonic() if found else since
                except (ServerError, ServerUnreachable) as error:
                    _log.log(logging.DEBUG if said else logging.INFO, "output could not be fetched: %s", error)
                    said = True
                    is_over = not was_active and time.monotonic() - since > PATIENCE_S
                with self._lock:
                    # 1. nobody looks; 2. somebody begins to, and sees that we run; 3. we end. So both look under lock.
                    if is_over or not self._output.is_watched:
                        self._is_running = False
                        return
                time.sleep(LOOK_S if time.monotonic() - since < PATIENCE_S else 4 * LOOK_S)
        except BaseException:
            self._is_running = False
            raise

    def _fetch(self) -> bool | None:
        """True if something came; None if it is not all, since nobody looked any more."""
        client = self._client()
        if client is None or not client.is_ours():
            return False
        is_new = False
        for one in self._tasks():
            task = one.id
            if task in self._done or (one.is_silent and not one.is_over):
                continue
            sink, position = self._sinks.get(task) or (self._sink_of(one), 0)
            while not one.is_silent:
                if not self._output.is_watched:
                    return None
                text, after = client.output(task, position)
                if after <= position:
                    break
                sink.write(STDOUT, text)
                position, is_new = after, True
                self._sinks[task] = sink, position
            if one.is_over:
                sink.close()
                self._done.add(task)
                self._sinks.pop(task, None)
        return is_new

    def _sink_of(self, one: Task) -> Sink:
        if one.item is None:
            return self._output.sink(one.node, one.attempt)
        return Sink(cast("Output", _OfItem(self._output, one.item)), one.node, one.attempt)


def is_over(status: object) -> bool:
    """Whether a task with this status of the API's has ended."""
    return str(status) in _OVER


def tasks_of(log: TaskGraphLog, index_of: Callable[[str], int | None]) -> list[Task]:
    """The attempts that a log knows of, oldest first within each node."""
    found: list[Task] = []
    for node in log.nodes or ():
        index = index_of(str(node.client_node_uuid))
        if index is None:
            continue
        for attempt, execution in enumerate(node.executions or (), 1):
            if execution.id is not None:
                found.append(Task(index, attempt, str(execution.id), is_over(execution.status)))
    return found


def indices_of(nodes: Sequence[Any]) -> Callable[[str], int | None]:
    """Index of a node by its id as text."""
    known = {str(node.id): index for index, node in enumerate(nodes)}
    return known.get
