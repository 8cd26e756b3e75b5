"""One batch run: what happens is told to it, and it says what to write, what to run and what to end.

A `GraphMachine` decides what becomes of the nodes. A stage, which is run over a list, has a machine of its own for its
items; when that has ended, the stage has. A retry by a strategy is `Failed` and `Retry` in one step, of which nobody
hears but by an ``attempt`` event, so a node that will be tried again is never seen Failed.

**Guarantees**

- Nothing runs before its task is on record: a task becomes ready only when `written` has confirmed it.
- What is told (`Changes.events`) is in the same transaction as all that it speaks of.
- Time, ids and outcomes come in from outside; equal inputs give equal changes. No threads, no locks: whoever owns the
  run brings the order. Cost: O(1) an event and edge; nodes are gone through only to stop, to retry and at a deadline.

Longer than most files here, since each part of it needs the same handful of columns.
"""

from __future__ import annotations

import functools
import heapq
import json
import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, Protocol

from ..core.history import from_line, to_line
from ..core.machine import GraphMachine
from ..core.states import (
    BAD,
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    Abort,
    Aborted,
    AddNode,
    Began,
    Cancel,
    Changed,
    Command,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Start,
    Status,
    Stop,
)
from ..core.states import Run as RunCommand
from ..errors import TiledagError
from .batch_executor import Work
from .batch_plan import Node, Plan
from .batch_retry import ERROR, Attempted, Rule
from .batch_retry import FAILED as FAILED_END
from .batch_store import Changes, EventRow, NewTask, RunRow, TaskEnd, TaskRow

__all__ = ["SERVER_ENDED", "CannotPrepare", "NothingToRetry", "Run", "Surroundings"]

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
class _Fate:
    """Why attempts are ended by us, and as what."""

    status: str
    error_type: str
    message: str


_STOPPED: Final = _Fate("CANCELLED", "StoppedError", "It was stopped.")
SERVER_ENDED: Final = "ServerEnded"
"""Error type of an attempt that was at work when the server died."""


@dataclass(slots=True)
class _Attempt:
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
    fate: _Fate | None = None

    @property
    def unit(self) -> Unit:
        return self.place, self.item


@dataclass(slots=True)
class _Stage:
    """A node that is run over a list."""

    source: str
    items: list[Any]
    machine: GraphMachine = field(default_factory=GraphMachine)
    failure: TaskEnd | None = None
    fate: _Fate | None = None
    told_at: float = 0.0


@dataclass(slots=True)
class _Tries:
    """Attempts of one kind at one unit since somebody last asked for a run."""

    count: int = 0
    first: float | None = None


class Run:
    """A run in memory. Read `changes` and `kills` after each call, and empty them."""

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
        self._stages: dict[int, _Stage] = {}
        self._open: dict[str, _Attempt] = {}
        self._units: dict[Unit, _Attempt] = {}
        self._gone: set[str] = set()
        """Tasks at work whose end does not matter any more."""
        self._done: dict[Unit, tuple[str, str]] = {}
        self._files: dict[str, str] = {}
        self._tries: dict[tuple[int, int, str], _Tries] = {}
        self._ready: deque[_Attempt] = deque()
        self._timers: list[tuple[float, int, str, Any]] = []
        self._timer_count = 0
        self._waits: dict[Unit, float] = {}
        self._told = bytearray([NOT_STARTED]) * len(plan.nodes)
        self._has_execution = bytearray(len(plan.nodes))
        self._failures: dict[int, TaskEnd] = {}
        self._first_failure: TaskEnd | None = None
        self._dirty: dict[int, None] = {}
        self._closing: _Fate | None = None
        self._round = 0
        self._workflow_retries = 0
        self._retry_at: float | None = None
        self._events = 0
        self._history = 0
        self._began_at: float | None = None
        for node in plan.nodes:
            self.machine.handle(AddNode(node.parents))

    # --- beginning and coming back ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begins a run that was just submitted."""
        self._say("run", now, status="submitted")
        self._set_timer(self.deadline, "deadline", self._round)
        self._step(Start(now), now)

    @classmethod
    def restored(
        cls,
        plan: Plan,
        row: RunRow,
        history: Iterable[tuple[int, str]],
        tasks: Sequence[TaskRow],
        events: int,
        around: Surroundings,
    ) -> Run:
        """The run as it was when its last change was written. Its open tasks are in `open_tasks`."""
        run = cls(plan, row.log, around, deadline=row.deadline)
        run.status, run._round, run._workflow_retries = row.status, row.round, row.workflow_retries
        run._events, run._began_at = events, _seconds_of(row.started)
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
        stage = self._stages[machine] = _Stage(source, [None] * count)
        for _ in range(count):
            stage.machine.handle(AddNode(()))

    def _take_in(self, task: TaskRow) -> None:
        unit = task.place, task.item
        if task.kind in ("node", "close"):
            self._has_execution[task.place] = 1
        if task.round == self._round:
            tries = self._tries.setdefault((*unit, task.kind), _Tries())
            tries.count += 1
            if tries.first is None:
                tries.first = _seconds_of(task.started)
        if task.status == "COMPLETED":
            if task.kind == "open":
                self._forget_items(task.place)
                if task.place in self._stages:
                    self._stages[task.place].items = self._around.items_of(task.id)
            else:
                self._done[unit] = task.id, task.mime or "application/octet-stream"
        elif task.status in ("QUEUED", "RUNNING"):
            attempt = _Attempt(task.id, task.place, task.item, task.kind, task.attempt, task.not_before, True)
            attempt.began = _seconds_of(task.started)
            self._open[task.id] = self._units[unit] = attempt

    def _set_fates(self) -> None:
        for place in self.machine.stopping:
            stage = self._stages.get(place)
            if stage is not None:
                stage.fate = _STOPPED
        for attempt in self._open.values():
            if attempt.place in self.machine.stopping:
                attempt.fate = _STOPPED

    def _set_failures(self, tasks: Sequence[TaskRow]) -> None:
        for task in tasks:
            if task.status != "FAILED":
                continue
            end = TaskEnd(task.id, task.status, task.message, task.mime, task.error_type)
            stage = self._stages.get(task.place)
            if task.kind == "item" and stage is not None and task.item < len(stage.machine):
                if stage.machine.status[task.item] == FAILED:
                    stage.failure = end
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

    # --- what executors tell ---------------------------------------------------------------------------------

    def began(self, task: str, now: float) -> None:
        """A task was taken up by a worker."""
        attempt = self._open.get(task)
        if attempt is None or attempt.began is not None:
            return
        attempt.began = now
        self.changes.begun.append((_text(now), task))
        tries = self._tries_of(attempt)
        if tries.first is None:
            tries.first = now
        if self.status != "running":
            self._set_status("running", now)
        if self.machine.status[attempt.place] == NOT_STARTED:
            self._step(Began(attempt.place, self.machine.attempt[attempt.place], now, 0), now)
            self._watch_node(attempt.place)
        if attempt.item != WHOLE:
            self._item_step(attempt.place, Began(attempt.item, attempt.number, now, 0), now)

    def ended(self, end: TaskEnd, now: float) -> None:
        """A task has ended."""
        attempt = self._open.get(end.task)
        if attempt is None:
            if end.task in self._gone:
                self._gone.discard(end.task)
                self.at_work -= 1
            return
        if end.status == "COMPLETED" and attempt.began is None:
            self.began(end.task, now)
        fate = attempt.fate
        if end.status != "COMPLETED" and fate is not None:
            end = replace(end, status=fate.status, message=fate.message, error_type=fate.error_type, mime=None)
        elif end.status == "CANCELLED":  # nobody here has asked for that
            end = replace(end, status="FAILED", is_system=True)
        self._close_attempt(attempt, end, now)
        if end.status == "COMPLETED":
            self._completed(attempt, end, now)
        elif end.status == "CANCELLED":
            self._aborted(attempt, now)
        else:
            self._failed(attempt, end, now)

    def _close_attempt(self, attempt: _Attempt, end: TaskEnd, now: float) -> None:
        del self._open[attempt.task]
        if self._units.get(attempt.unit) is attempt:
            del self._units[attempt.unit]
        if attempt.is_at_work:
            self.at_work -= 1
        if not end.seconds and attempt.began is not None:
            end = replace(end, seconds=max(0.0, now - attempt.began))
        self.changes.ended.append((end, _text(now)))

    def _completed(self, attempt: _Attempt, end: TaskEnd, now: float) -> None:
        if attempt.kind == "open":
            self._opened(attempt, now)
            return
        self._done[attempt.unit] = end.task, end.mime or "application/octet-stream"
        if attempt.kind == "item":
            self._item_step(attempt.place, Finished(attempt.item, attempt.number, now), now)
        else:
            self._step(Finished(attempt.place, attempt.number, now), now)

    def _aborted(self, attempt: _Attempt, now: float) -> None:
        if attempt.kind == "item":
            self._item_step(attempt.place, Aborted(attempt.item, attempt.number, now), now)
        else:
            self._step(Aborted(attempt.place, attempt.number, now), now)

    def _failed(self, attempt: _Attempt, end: TaskEnd, now: float) -> None:
        wait = self._wait_after(attempt, end, now)
        kind: type[Lost | Failed] = Lost if end.is_system else Failed
        if attempt.kind == "item":
            stage = self._stages[attempt.place]
            if wait is None and stage.failure is None:
                stage.failure = end
            self._fail(attempt.place, kind(attempt.item, attempt.number, now), attempt, end, wait, now)
            return
        if wait is None:
            self._note_failure(attempt.place, end, is_shown=attempt.kind != "open")
        self._fail(GRAPH, kind(attempt.place, attempt.number, now), attempt, end, wait, now)

    def _fail(self, which: int, event: Event, attempt: _Attempt, end: TaskEnd, wait: float | None, now: float) -> None:
        """Tells the machine that it failed and, where it shall be tried again, that in the same step."""
        commands = self._handle(which, event)
        if wait is not None:
            self._say(
                "attempt",
                now,
                status="FAILED",
                node=self.plan.nodes[attempt.place].id,
                attempt=attempt.number,
                task=end.task,
                message=end.message,
                error_type=end.error_type,
                item=attempt.item if attempt.item != WHOLE else None,
            )
            if wait:
                self._waits[attempt.unit] = now + wait
            node = attempt.place if which == GRAPH else attempt.item
            commands += self._handle(which, Retry((node,), False, now))
        if which == GRAPH:
            self._carry_out(commands, now)
        else:
            self._carry_out_items(which, commands, now)

    def _note_failure(self, place: int, end: TaskEnd, *, is_shown: bool) -> None:
        self._failures[place] = end
        if self._first_failure is None:
            self._first_failure = end
        self._has_execution[place] = 1
        if not is_shown:
            self.changes.shown.append(end.task)

    def _wait_after(self, attempt: _Attempt, end: TaskEnd, now: float) -> float | None:
        stage = self._stages.get(attempt.place) if attempt.kind == "item" else None
        if self.machine.cancel_asked or self._closing or attempt.fate or (stage is not None and stage.fate):
            return None
        rule = self.plan.nodes[attempt.place].rule
        if rule is None:  # the server's own death is no fault of the node's, and nobody said that it may not run again
            return 0.0 if end.error_type == SERVER_ENDED else None
        tries = self._tries_of(attempt)
        return rule.wait_after(_attempted(end, tries.count - 1, now - (tries.first or now)))

    def _tries_of(self, attempt: _Attempt) -> _Tries:
        """Also of an attempt that was at work when somebody asked for a retry of others."""
        return self._tries.setdefault((*attempt.unit, attempt.kind), _Tries(1, attempt.began))

    # --- stages ----------------------------------------------------------------------------------------------

    def _begin_stage(self, node: Node, number: int, now: float) -> None:
        assert node.expands is not None
        source = self._done[node.expands, WHOLE][0]
        stage = self._stages.get(node.place)
        if stage is None or stage.source != source:
            self._plan(node.place, WHOLE, "open", number)
            return
        stage.failure, stage.fate = None, None
        again = tuple(item for item, status in enumerate(stage.machine.status) if status in BAD)
        if again:
            self._item_step(node.place, Retry(again, False, now), now)
        else:
            self._plan(node.place, WHOLE, "close", number)

    def _opened(self, attempt: _Attempt, now: float) -> None:
        node = self.plan.nodes[attempt.place]
        assert node.expands is not None
        try:
            items = self._around.items_of(attempt.task)
        except CannotPrepare as error:
            self._failed(attempt, self._stand_in(attempt.place, _Fate("FAILED", "OSError", str(error))), now)
            return
        source = self._done[node.expands, WHOLE][0]
        self._forget_items(attempt.place)
        stage = self._stages[attempt.place] = _Stage(source, items)
        self._remember(attempt.place, json.dumps(["Items", len(items), source]))
        for _ in items:
            stage.machine.handle(AddNode(()))
        self._tell_items(attempt.place, now)
        if not items:
            self._plan(attempt.place, WHOLE, "close", self.machine.attempt[attempt.place])
        else:
            self._item_step(attempt.place, Start(now), now)

    def _forget_items(self, place: int) -> None:
        for unit in [unit for unit in self._done if unit[0] == place and unit[1] != WHOLE]:
            del self._done[unit]

    def _item_step(self, place: int, event: Event, now: float) -> None:
        self._carry_out_items(place, self._handle(place, event), now)

    def _carry_out_items(self, place: int, commands: Sequence[Command], now: float) -> None:
        stage = self._stages[place]
        for command in commands:
            if type(command) is RunCommand:
                self._plan(place, command.node, "item", command.attempt)
            elif type(command) is Abort:
                self._end_early(self._units[place, command.node], stage.fate or _STOPPED)
            elif type(command) is Changed and command.status == CANCELLED:
                self._drop((place, command.node), now)
        if stage.machine.is_ended:
            self._items_ended(place, stage, now)
        elif now - stage.told_at >= ITEMS_TOLD_EVERY_S:
            self._tell_items(place, now)
        self._settle(now)

    def _items_ended(self, place: int, stage: _Stage, now: float) -> None:
        self._tell_items(place, now)
        if not self.machine.live[place]:  # the stage was cancelled before its first item began
            return
        number = self.machine.attempt[place]
        if stage.fate is not None and stage.fate.status == "FAILED":
            self._note_failure(place, self._stand_in(place, stage.fate), is_shown=True)
            self._step(Failed(place, number, now), now)
        elif stage.fate is not None:
            self._step(Aborted(place, number, now), now)
        elif stage.machine.graph_status is Status.COMPLETED:
            self._plan(place, WHOLE, "close", number)
        else:
            failure = stage.failure or self._stand_in(place, _Fate("FAILED", "RuntimeError", "An item failed."))
            self._note_failure(place, failure, is_shown=stage.failure is None)
            self._step(Failed(place, number, now), now)

    def _stand_in(self, place: int, fate: _Fate) -> TaskEnd:
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

    def _tell_items(self, place: int, now: float) -> None:
        stage = self._stages[place]
        stage.told_at = now
        finished = stage.machine.counts[COMPLETED]
        self._say("items", now, node=self.plan.nodes[place].id, total=len(stage.items), finished=finished)

    # --- what people ask -------------------------------------------------------------------------------------

    def stop(self, places: Sequence[int] | None, now: float) -> None:
        """Ends the whole run, or these nodes: what runs is ended, what waits is cancelled."""
        if self.is_over:
            return
        if self._retry_at is not None:  # all nodes have ended, and the whole was to be tried again
            self._retry_at = None
            self._finish("cancelled" if places is None else "failed", now)
            return
        status = self.machine.status
        wanted = range(len(status)) if places is None else places
        running = tuple(place for place in wanted if status[place] == RUNNING)
        self._step(Cancel(None if places is None else tuple(places), now), now)
        if running:
            self._step(Stop(running, now), now)

    def retry(self, places: Sequence[int] | None, now: float) -> None:
        """Runs again what failed or was cancelled, and what depends on it.

        Raises:
            NothingToRetry: There is nothing of that kind.
        """
        status = self.machine.status
        wanted = range(len(status)) if places is None else places
        again = tuple(place for place in wanted if status[place] in (FAILED, CANCELLED))
        if not again:
            raise NothingToRetry("No node of this run has failed or was cancelled.")
        self._round += 1
        self._workflow_retries = 0
        self.deadline = now + self.plan.deadline
        self._set_timer(self.deadline, "deadline", self._round)
        self.changes.run.update(deadline=self.deadline, workflow_retries=0)
        self._again(again, now)

    def _again(self, places: tuple[int, ...], now: float) -> None:
        self._tries.clear()
        self._closing = self._retry_at = self._first_failure = None
        self.is_over = False
        self.changes.run.update(round=self._round, active=1, retry_at=None)
        for place in places:
            self._failures.pop(place, None)
        self._set_status("running", now)
        self._step(Retry(places, False, now), now)

    # --- time ------------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        """When `tick` is next needed."""
        return self._timers[0][0] if self._timers and not self.is_over else None

    def tick(self, now: float) -> None:
        """Does what the time has come for."""
        while self._timers and self._timers[0][0] <= now and not self.is_over:
            _, _, kind, key = heapq.heappop(self._timers)
            if kind == "due":
                attempt = self._open.get(key)
                if attempt is not None and not attempt.is_due:
                    attempt.is_due = True
                    self._make_ready(attempt)
            elif kind == "deadline" and key == self._round:
                self._deadline_of_graph(now)
            elif kind == "node" and key[1] == self._round:
                node = self.plan.nodes[key[0]]
                words = f"It was not done within its deadline of {node.deadline:g} s."
                self._end_node(node.place, _Fate("FAILED", "TimeoutError", words), now)
            elif kind == "workflow" and key == self._round and self._retry_at is not None:
                self._workflow_retries += 1
                self.changes.run["workflow_retries"] = self._workflow_retries
                status = self.machine.status
                again = tuple(place for place in range(len(status)) if status[place] in (FAILED, CANCELLED))
                self._round += 1
                self._set_timer(self.deadline, "deadline", self._round)
                self._again(again, now)

    def _deadline_of_graph(self, now: float) -> None:
        words = f"The graph was not done within its deadline of {self.plan.deadline:g} s."
        self._closing = fate = _Fate("FAILED", "TimeoutError", words)
        if self._retry_at is not None:
            self._retry_at = None
            self._finish("failed", now)
            return
        for place in range(len(self.machine)):
            if self.machine.live[place]:
                self._end_node(place, fate, now)

    def _end_node(self, place: int, fate: _Fate, now: float) -> None:
        """Ends a node whose time is over, running or waiting for its next attempt."""
        if not self.machine.live[place]:
            return
        attempt, stage = self._units.get((place, WHOLE)), self._stages.get(place)
        if attempt is not None and attempt.is_at_work:
            self._end_early(attempt, fate)
        elif attempt is not None:
            end = TaskEnd(attempt.task, fate.status, fate.message, error_type=fate.error_type, by_limit=True)
            attempt.fate = fate
            self._close_attempt(attempt, end, now)
            self._failed(attempt, end, now)
        elif stage is not None:
            self._end_items(place, stage, fate, now)

    def _end_items(self, place: int, stage: _Stage, fate: _Fate, now: float) -> None:
        stage.fate = fate
        machine = stage.machine
        running = tuple(item for item in range(len(machine)) if machine.status[item] == RUNNING)
        self._item_step(place, Cancel(None, now), now)
        if running:
            self._item_step(place, Stop(running, now), now)

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

    # --- the machine -----------------------------------------------------------------------------------------

    def _handle(self, which: int, event: Event) -> list[Command]:
        machine = self.machine if which == GRAPH else self._stages[which].machine
        commands = machine.handle(event)
        self._remember(which, to_line(event))
        return commands

    def _remember(self, which: int, line: str) -> None:
        self._history += 1
        self.changes.history.append((self._history, which, line))

    def _step(self, event: Event, now: float) -> None:
        self._carry_out(self._handle(GRAPH, event), now)

    def _carry_out(self, commands: Sequence[Command], now: float) -> None:
        for command in commands:
            if type(command) is Changed:
                self._dirty[command.node] = None
                if command.status == CANCELLED:
                    self._drop((command.node, WHOLE), now)
                    stage = self._stages.get(command.node)
                    if stage is not None and not stage.machine.is_ended:
                        self._end_items(command.node, stage, _STOPPED, now)
        # All statuses first: a stage that begins may end at once, and what it tells must come after.
        for command in commands:
            if type(command) is RunCommand:
                self._begin(self.plan.nodes[command.node], command.attempt, now)
            elif type(command) is Abort:
                self._abort(command.node, now)
        self._tell(now)
        self._settle(now)

    def _begin(self, node: Node, number: int, now: float) -> None:
        if node.expands is not None:
            self._begin_stage(node, number, now)
        else:
            self._plan(node.place, WHOLE, "node", number)

    def _abort(self, place: int, now: float) -> None:
        attempt, stage = self._units.get((place, WHOLE)), self._stages.get(place)
        if attempt is not None:
            self._end_early(attempt, _STOPPED)
            if not attempt.is_at_work:  # the close of a stage that nobody has taken up
                self.ended(TaskEnd(attempt.task, "CANCELLED", _STOPPED.message), now)
        elif stage is not None:
            self._end_items(place, stage, _STOPPED, now)

    def _end_early(self, attempt: _Attempt, fate: _Fate) -> None:
        if attempt.fate is None:
            attempt.fate = fate
        if attempt.is_at_work:
            self.kills.append(attempt.task)

    def _drop(self, unit: Unit, now: float) -> None:
        """Forgets an attempt that the machine has cancelled before it began."""
        attempt = self._units.get(unit)
        if attempt is None:
            return
        self._close_attempt(attempt, TaskEnd(attempt.task, "CANCELLED", _STOPPED.message), now)
        if attempt.is_at_work:
            self.at_work += 1  # until its executor has answered
            self._gone.add(attempt.task)
            self.kills.append(attempt.task)

    def _plan(self, place: int, item: int, kind: str, number: int) -> None:
        """Records a task that shall run, now or when its time has come."""
        node = self.plan.nodes[place]
        unit = place, item
        not_before = self._waits.pop(unit, None)
        attempt = _Attempt(self._around.new_id(), place, item, kind, number, not_before)
        self._open[attempt.task] = self._units[unit] = attempt
        self._tries.setdefault((*unit, kind), _Tries()).count += 1
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

    # --- telling ---------------------------------------------------------------------------------------------

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
                facts["not_before"] = _text(attempt.not_before)
        elif status == RUNNING:
            attempt = self._units.get((place, WHOLE))
            facts["task"] = attempt.task if attempt is not None and attempt.kind == "node" else None
        elif status == COMPLETED:
            facts["task"] = self._done[place, WHOLE][0]
        elif status == FAILED:
            end = self._failures[place]
            facts.update(task=end.task, message=end.message, error_type=end.error_type, traceback=end.traceback)
        elif status == PARENT_FAILED:
            facts["cause"] = self.plan.nodes[self.machine.blocker[place]].id
        elif not self._has_execution[place]:
            self._has_execution[place] = 1
            facts["task"] = self._stand_in(place, _STOPPED).task
        return facts

    def _say(self, kind: str, now: float, **fields: Any) -> None:
        self._events += 1
        body = {"kind": kind, **{name: value for name, value in fields.items() if value is not None}}
        self.changes.events.append(EventRow(self._events, _text(now), json.dumps(body)))

    def _set_status(self, status: str, now: float) -> None:
        self.status = status
        self.changes.status["status"] = status
        if status == "running":
            if self._began_at is None:
                self._began_at = now
                self.changes.status["started"] = _text(now)
            self.changes.status["ended"] = None
        self._say("run", now, status=status)

    # --- the end ---------------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        """Sees whether the run is over, or is to be tried again as a whole."""
        if not self.machine.is_ended or self.is_over or self._retry_at is not None:
            return
        status = self.machine.graph_status
        if self.machine.cancel_asked:
            self._finish("cancelled", now)
            return
        rule, failure = self.plan.workflow_rule, self._first_failure
        if status is Status.FAILED and rule is not None and failure is not None and not self._closing:
            wait = self._wait_of_workflow(rule, failure, now)
            if wait is not None:
                self._retry_at = now + wait
                self.changes.run["retry_at"] = self._retry_at
                self._set_timer(self._retry_at, "workflow", self._round)
                return
        self._finish(LOG_WORDS[status], now)

    def _wait_of_workflow(self, rule: Rule, failure: TaskEnd, now: float) -> float | None:
        lasted = now - (self._began_at or now)
        return rule.wait_after(replace(_attempted(failure, self._workflow_retries, lasted), duration=lasted))

    def _finish(self, status: str, now: float) -> None:
        self.is_over = True
        self.changes.run.update(active=0, retry_at=None)
        self.changes.status["ended"] = _text(now)
        self._set_status(status, now)

    # --- work ------------------------------------------------------------------------------------------------

    def written(self, changes: Changes) -> None:
        """What `changes` held is on record."""
        for task in changes.tasks:
            attempt = self._open.get(task.id)
            if attempt is not None:
                attempt.is_written = True
                self._make_ready(attempt)

    def _make_ready(self, attempt: _Attempt) -> None:
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

    def _job(self, attempt: _Attempt, node: Node) -> dict[str, Any]:
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


def _attempted(end: TaskEnd, retries: int, since_first: float) -> Attempted:
    return Attempted(
        ERROR if end.is_system else FAILED_END,
        end.message or "",
        end.error_type,
        end.by_limit,
        end.exit_code if end.exit_code is not None else (None if end.is_system else 1),
        end.seconds,
        retries,
        since_first,
    )


@functools.lru_cache(maxsize=16)
def _text(moment: float) -> str:
    text = datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _seconds_of(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
