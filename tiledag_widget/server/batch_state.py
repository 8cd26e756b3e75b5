"""What is known of one batch run: its machines, tasks and results in memory, as the records have them and will.

`batch_run.Run` decides what becomes of these; here they are filled from the records, what changed is noted for the
records and for whoever listens, and tasks are made into work.
"""

from __future__ import annotations

import functools
import heapq
import json
import os
import reprlib
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..core.history import from_line, to_line
from ..core.machine import GraphMachine
from ..core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    AddNode,
    Command,
    Event,
    Status,
)
from ..errors import TiledagError
from ..wire.codec import TAG
from .batch_executor import Work
from .batch_plan import Node, Plan
from .batch_store import Changes, EventRow, NewTask, RunRow, TaskEnd, TaskRow

if TYPE_CHECKING:
    from typing_extensions import Self

GRAPH: Final = -1
"""Number of the graph's own machine; the others have the places of their stages."""
WHOLE: Final = -1
"""Item of a task that is about its node as a whole."""
ITEMS_TOLD_EVERY_S: Final = 0.5
WORDS: Final = {
    NOT_STARTED: "QUEUED",
    RUNNING: "RUNNING",
    COMPLETED: "COMPLETED",
    FAILED: "FAILED",
    CANCELLED: "CANCELLED",
    PARENT_FAILED: "PARENT_FAILED",
}
LOG_WORDS: Final = {Status.COMPLETED: "succeeded", Status.FAILED: "failed", Status.CANCELLED: "cancelled"}

Unit = tuple[int, int]


class NothingToRetry(TiledagError):
    """There is no node that failed or was cancelled."""


class CannotPrepare(TiledagError):
    """A task cannot be run, for a reason that its user should read."""


class Surroundings(Protocol):
    """What a run asks of the server that it is in."""

    def folder_of(self, task: str) -> Path:
        """Where the files of a task are."""

    def code_of(self, name: str) -> str:
        """The code of a registered function. Raises CannotPrepare if there is none."""

    def array_uris(self) -> Mapping[str, str]:
        """Where registered arrays are."""

    def stored(self, task: str) -> tuple[str, str]:
        """File and type of a result outside of the graph. Raises CannotPrepare if there is none."""

    def items_of(self, task: str) -> list[Any]:
        """The list that a task has opened. Raises CannotPrepare if it cannot be read."""

    def new_id(self) -> str:
        """The id of a new task."""


@dataclass(frozen=True, slots=True)
class Fate:
    """Why attempts are ended by us, and as what."""

    status: str
    error_type: str
    message: str


STOPPED: Final = Fate("CANCELLED", "StoppedError", "It was stopped.")
SERVER_ENDED: Final = "ServerEnded"
"""Error type of an attempt that was at work when the server died."""


@dataclass(slots=True)
class Attempt:
    """A task that waits or is at work."""

    task: str
    place: int
    item: int
    kind: str
    number: int
    not_before: float | None = None
    is_written: bool = False
    is_due: bool = True
    is_at_work: bool = False
    began: float | None = None
    fate: Fate | None = None

    @property
    def unit(self) -> Unit:
        return self.place, self.item


@dataclass(slots=True)
class Stage:
    """A node that is run over a list."""

    source: str
    items: list[Any]
    machine: GraphMachine = field(default_factory=GraphMachine)
    failure: TaskEnd | None = None
    failed: int = WHOLE
    """The item that `failure` is about."""
    fate: Fate | None = None
    told_at: float = 0.0


@dataclass(slots=True)
class Tries:
    """Attempts of one kind at one unit since somebody last asked for a run."""

    count: int = 0
    first: float | None = None


class RunState:
    """The columns of a run. Read `changes` and `kills` after each call, and empty them."""

    def __init__(self, plan: Plan, log: str, around: Surroundings, *, deadline: float) -> None:
        self.plan = plan
        self.log = log
        self.deadline = deadline
        self.machine = GraphMachine()
        self.changes = Changes(log)
        self.kills: list[str] = []
        self.at_work = 0
        self.is_over = False
        self.status = "submitted"
        self._around = around
        self._stages: dict[int, Stage] = {}
        self._open: dict[str, Attempt] = {}
        self._units: dict[Unit, Attempt] = {}
        self._gone: set[str] = set()
        """Tasks at work whose end does not matter any more."""
        self._done: dict[Unit, tuple[str, str]] = {}
        self._files: dict[str, str] = {}
        self._tries: dict[tuple[int, int, str], Tries] = {}
        self._ready: deque[Attempt] = deque()
        self._timers: list[tuple[float, int, str, Any]] = []
        self._timer_count = 0
        self._waits: dict[Unit, float] = {}
        self._told = bytearray([NOT_STARTED]) * len(plan.nodes)
        self._has_execution = bytearray(len(plan.nodes))
        self._failures: dict[int, TaskEnd] = {}
        self._first_failure: TaskEnd | None = None
        self._dirty: dict[int, None] = {}
        self._closing: Fate | None = None
        self._round = 0
        self._workflow_retries = 0
        self._retry_at: float | None = None
        self._events = 0
        self._history = 0
        self._began_at: float | None = None
        for node in plan.nodes:
            self.machine.handle(AddNode(node.parents))

    # --- coming back -----------------------------------------------------------------------------------------------

    @classmethod
    def restored(
        cls,
        plan: Plan,
        row: RunRow,
        history: Iterable[tuple[int, str]],
        tasks: Sequence[TaskRow],
        events: int,
        around: Surroundings,
    ) -> Self:
        """The run as it was when its last change was written. Its open tasks are in `open_tasks`."""
        run = cls(plan, row.log, around, deadline=row.deadline)
        run.status, run._round, run._workflow_retries = row.status, row.round, row.workflow_retries
        run._events, run._began_at = events, seconds_of(row.started)
        run.is_over = not row.active
        for machine, line in history:
            run._history += 1
            run._replay(machine, line)
        run._told = bytearray(run.machine.status)
        for task in tasks:
            run._take_in(task)
        run._set_fates()
        run._set_failures(tasks)
        run._set_timer(run.deadline, "deadline", run._round)
        if row.retry_at is not None:
            run._retry_at = row.retry_at
            run._set_timer(row.retry_at, "workflow", run._round)
        for place, _, kind in list(run._tries):
            if kind in ("node", "open"):
                run._watch_node(place)
        return run

    def _replay(self, machine: int, line: str) -> None:
        if machine == GRAPH:
            self.machine.handle(from_line(line))
            return
        found = json.loads(line)
        if found[0] != "Items":
            self._stages[machine].machine.handle(from_line(line))
            return
        _, count, source = found
        stage = self._stages[machine] = Stage(source, [None] * count)
        for _ in range(count):
            stage.machine.handle(AddNode(()))

    def _take_in(self, task: TaskRow) -> None:
        unit = task.place, task.item
        if task.kind in ("node", "close"):
            self._has_execution[task.place] = 1
        if task.round == self._round:
            tries = self._tries.setdefault((*unit, task.kind), Tries())
            tries.count += 1
            if tries.first is None:
                tries.first = seconds_of(task.started)
        if task.status == "COMPLETED":
            if task.kind == "open":
                self._forget_items(task.place)
                if task.place in self._stages:
                    self._stages[task.place].items = self._around.items_of(task.id)
            else:
                self._done[unit] = task.id, task.mime or "application/octet-stream"
        elif task.status in ("QUEUED", "RUNNING"):
            attempt = Attempt(task.id, task.place, task.item, task.kind, task.attempt, task.not_before, True)
            attempt.began = seconds_of(task.started)
            self._open[task.id] = self._units[unit] = attempt

    def _set_fates(self) -> None:
        for place in self.machine.stopping:
            stage = self._stages.get(place)
            if stage is not None:
                stage.fate = STOPPED
        for attempt in self._open.values():
            if attempt.place in self.machine.stopping:
                attempt.fate = STOPPED

    def _set_failures(self, tasks: Sequence[TaskRow]) -> None:
        for task in tasks:
            if task.status != "FAILED":
                continue
            end = TaskEnd(task.id, task.status, task.message, task.mime, task.error_type)
            stage = self._stages.get(task.place)
            if task.kind == "item" and stage is not None and task.item < len(stage.machine):
                if stage.machine.status[task.item] == FAILED:
                    stage.failure, stage.failed = end, task.item
            if self.machine.status[task.place] == FAILED:
                self._first_failure = self._first_failure or end

    def open_tasks(self) -> list[str]:
        """Tasks that waited or were at work, of a run that was restored."""
        return list(self._open)

    def has_begun(self, task: str) -> bool:
        """Whether a restored task is on record as begun."""
        attempt = self._open.get(task)
        return attempt is not None and attempt.began is not None

    def resume(self, task: str, now: float) -> None:
        """A restored task that had not begun: it is run now, or when its time has come."""
        attempt = self._open.get(task)
        if attempt is None:  # what was told of another has ended it
            return
        if attempt.not_before is not None and attempt.not_before > now:
            attempt.is_due = False
            self._set_timer(attempt.not_before, "due", task)
        else:
            self._ready.append(attempt)

    def _forget_items(self, place: int) -> None:
        for unit in [unit for unit in self._done if unit[0] == place and unit[1] != WHOLE]:
            del self._done[unit]

    # --- the records -----------------------------------------------------------------------------------------------

    def _handle(self, which: int, event: Event) -> list[Command]:
        machine = self.machine if which == GRAPH else self._stages[which].machine
        commands = machine.handle(event)
        self._remember(which, to_line(event))
        return commands

    def _remember(self, which: int, line: str) -> None:
        self._history += 1
        self.changes.history.append((self._history, which, line))

    def _plan(self, place: int, item: int, kind: str, number: int) -> None:
        """Records a task that shall run, now or when its time has come."""
        node = self.plan.nodes[place]
        unit = place, item
        not_before = self._waits.pop(unit, None)
        attempt = Attempt(self._around.new_id(), place, item, kind, number, not_before)
        self._open[attempt.task] = self._units[unit] = attempt
        self._tries.setdefault((*unit, kind), Tries()).count += 1
        if kind in ("node", "close"):
            self._has_execution[place] = 1
        if not_before is not None:
            attempt.is_due = False
            self._set_timer(not_before, "due", attempt.task)
        name = node.name if item == WHOLE else f"{node.name}[{item}]"
        self.changes.tasks.append(
            NewTask(
                attempt.task, place, item, kind, number, self._round, not_before, kind in ("node", "close"), name,
                node.type, node.id, json.dumps(node.details()),
            )
        )  # fmt: skip

    def _stand_in(self, place: int, fate: Fate) -> TaskEnd:
        """Records an execution that never ran, for a node whose end must be seen somewhere."""
        node = self.plan.nodes[place]
        task = self._around.new_id()
        self.changes.tasks.append(
            NewTask(
                task, place, WHOLE, "close", self.machine.attempt[place], self._round, None, True, node.name, node.type,
                node.id, "{}", fate.status, fate.message,
            )
        )  # fmt: skip
        return TaskEnd(task, fate.status, fate.message, error_type=fate.error_type)

    def _tries_of(self, attempt: Attempt) -> Tries:
        """Also of an attempt that was at work when somebody asked for a retry of others."""
        return self._tries.setdefault((*attempt.unit, attempt.kind), Tries(1, attempt.began))

    def _watch_node(self, place: int) -> None:
        deadline = self.plan.nodes[place].deadline
        if deadline is None:
            return
        firsts = [self._tries[key].first for kind in ("node", "open") if (key := (place, WHOLE, kind)) in self._tries]
        known = [first for first in firsts if first is not None]
        if known:
            self._set_timer(min(known) + deadline, "node", (place, self._round))

    def _set_timer(self, when: float, kind: str, key: Any) -> None:
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, kind, key))

    def next_timer(self) -> float | None:
        """When `tick` is next needed."""
        return self._timers[0][0] if self._timers and not self.is_over else None

    # --- telling ---------------------------------------------------------------------------------------------------

    def _tell(self, now: float) -> None:
        """Tells which nodes have another status than was told last."""
        for place in self._dirty:
            status = self.machine.status[place]
            if self._told[place] != status:
                self._told[place] = status
                self.changes.nodes[place] = WORDS[status], None
                self._say("node", now, status=WORDS[status], node=self.plan.nodes[place].id, **self._facts(place))
        self._dirty.clear()

    def _facts(self, place: int) -> dict[str, Any]:
        status = self.machine.status[place]
        facts: dict[str, Any] = {"attempt": self.machine.attempt[place] or None}
        if status == NOT_STARTED:
            attempt = self._units.get((place, WHOLE))
            if attempt is not None and attempt.not_before is not None:
                facts["not_before"] = text_of(attempt.not_before)
        elif status == RUNNING:
            attempt = self._units.get((place, WHOLE))
            facts["task"] = attempt.task if attempt is not None and attempt.kind == "node" else None
        elif status == COMPLETED:
            facts["task"] = self._done[place, WHOLE][0]
        elif status == FAILED:
            end = self._failures[place]
            facts.update(task=end.task, message=end.message, error_type=end.error_type, traceback=end.traceback)
            stage = self._stages.get(place)
            if stage is not None and stage.failure is end:
                facts.update(item=stage.failed, argument=_brief(stage.items[stage.failed]))
        elif status == PARENT_FAILED:
            facts["cause"] = self.plan.nodes[self.machine.blocker[place]].id
        elif not self._has_execution[place]:
            self._has_execution[place] = 1
            facts["task"] = self._stand_in(place, STOPPED).task
        return facts

    def _say(self, kind: str, now: float, **fields: Any) -> None:
        self._events += 1
        body = {"kind": kind, **{name: value for name, value in fields.items() if value is not None}}
        self.changes.events.append(EventRow(self._events, text_of(now), json.dumps(body)))

    def _set_status(self, status: str, now: float) -> None:
        self.status = status
        self.changes.status["status"] = status
        if status == "running":
            if self._began_at is None:
                self._began_at = now
                self.changes.status["started"] = text_of(now)
            self.changes.status["ended"] = None
        self._say("run", now, status=status)

    # --- work ------------------------------------------------------------------------------------------------------

    def written(self, changes: Changes) -> None:
        """What `changes` held is on record."""
        for task in changes.tasks:
            attempt = self._open.get(task.id)
            if attempt is not None:
                attempt.is_written = True
                self._make_ready(attempt)

    def _make_ready(self, attempt: Attempt) -> None:
        if attempt.is_written and attempt.is_due:
            self._ready.append(attempt)

    def next_task(self) -> str | None:
        """A task to be run now, which then counts as at work; None if there is none."""
        if self.plan.parallelism is not None and self.at_work >= self.plan.parallelism:
            return None
        while self._ready:
            attempt = self._ready.popleft()
            if attempt.task in self._open and not attempt.is_at_work:
                attempt.is_at_work = True
                self.at_work += 1
                return attempt.task
        return None

    def work_of(self, task: str) -> Work:
        """What an executor is told of a task.

        Raises:
            CannotPrepare: It cannot run.
        """
        attempt = self._open[task]
        node = self.plan.nodes[attempt.place]
        name = node.name if attempt.item == WHOLE else f"{node.name}[{attempt.item}]"
        folder = self._around.folder_of(task)
        return Work(task, name, self._job(attempt, node), folder, node.timeout, node.memory_limit)

    def _job(self, attempt: Attempt, node: Node) -> dict[str, Any]:
        if attempt.kind == "open":
            assert node.expands is not None
            expanded = self.plan.nodes[node.expands]
            outputs = {expanded.id: self._output_of(node.expands)}
            return {
                "kind": "batch_open", "outputs": outputs, "name": node.name, "expanded": expanded.name,
                "result_format": "json",
            }  # fmt: skip
        if attempt.kind == "close":
            count = len(self._stages[node.place].items)
            parts = [self._file_of((node.place, item)) for item in range(count)]
            form = node.result_format if node.result_format not in ("arrow", "bytes") else "native"
            return {"kind": "batch_close", "parts": parts, "result_format": form}
        registered = node.registered
        code = self._around.code_of(registered) if registered is not None else None
        if code is None and node.body.udf_node is not None:
            code = node.body.udf_node.executable_code
        job = node.job(code)
        job["outputs"] = {self.plan.nodes[parent].id: self._output_of(parent) for parent in node.parents}
        for outside in node.stored:
            job["outputs"][outside] = (*self._around.stored(outside), False)
        job["array_uris"] = self._around.array_uris() if node.needs_arrays else {}
        if attempt.item != WHOLE:
            job["item"] = self._stages[node.place].items[attempt.item]
        return job

    def _output_of(self, place: int) -> tuple[str, str, bool]:
        node = self.plan.nodes[place]
        return (*self._file_of((place, WHOLE)), node.kind == "sql_node" and node.expands is None)

    def _file_of(self, unit: Unit) -> tuple[str, str]:
        task, mime = self._done[unit]
        file = self._files.get(task)
        if file is None:  # made once: each child asks for it, and paths are slow to make
            file = self._files[task] = f"{self._around.folder_of(task)}{os.sep}result"
        return file, mime


_brief_form = reprlib.Repr()
_brief_form.maxstring = _brief_form.maxother = 60


def _brief(item: Any) -> str | None:
    """An item of a stage for a message; None of one that only a worker can read."""
    return None if isinstance(item, dict) and TAG in item else _brief_form.repr(item)


@functools.lru_cache(maxsize=16)
def text_of(moment: float) -> str:
    text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def seconds_of(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
