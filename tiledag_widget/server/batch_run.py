"""One batch run: what happens is told to it, and it says what to write, what to run and what to end.

A `GraphMachine` decides what becomes of the nodes. A stage, which is run over a list, has a machine of its own for its
items; when that has ended, the stage has. A retry by a strategy is `Failed` and `Retry` in one step, of which nobody
hears but by an ``attempt`` event, so a node that will be tried again is never seen Failed.

**Guarantees**

- Nothing runs before its task is on record: a task becomes ready only when `written` has confirmed it.
- What is told (`Changes.events`) is in the same transaction as all that it speaks of.
- Time, ids and outcomes come in from outside; equal inputs give equal changes. No threads, no locks: whoever owns the
  run brings the order. Cost: O(1) an event and edge; nodes are gone through only to stop, to retry and at a deadline.

What a run knows, and how it comes back from the records, is in `batch_state`.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Sequence
from dataclasses import replace

from ..core.states import (
    BAD,
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
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
from .batch_plan import Node
from .batch_retry import ERROR, Attempted, Rule
from .batch_retry import FAILED as FAILED_END
from .batch_state import (
    GRAPH,
    ITEMS_TOLD_EVERY_S,
    LOG_WORDS,
    SERVER_ENDED,
    STOPPED,
    WHOLE,
    Attempt,
    CannotPrepare,
    Fate,
    NothingToRetry,
    RunState,
    Stage,
    Unit,
    text_of,
)
from .batch_store import TaskEnd

__all__ = ["SERVER_ENDED", "CannotPrepare", "NothingToRetry", "Run"]


class Run(RunState):
    """A run in memory. Read `changes` and `kills` after each call, and empty them."""

    # --- beginning and coming back ---------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begins a run that was just submitted."""
        self._say("run", now, status="submitted")
        self._set_timer(self.deadline, "deadline", self._round)
        self._step(Start(now), now)

    # --- what executors tell ---------------------------------------------------------------------------------

    def began(self, task: str, now: float) -> None:
        """A task was taken up by a worker."""
        attempt = self._open.get(task)
        if attempt is None or attempt.began is not None:
            return
        attempt.began = now
        self.changes.begun.append((text_of(now), task))
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

    def _close_attempt(self, attempt: Attempt, end: TaskEnd, now: float) -> None:
        del self._open[attempt.task]
        if self._units.get(attempt.unit) is attempt:
            del self._units[attempt.unit]
        if attempt.is_at_work:
            self.at_work -= 1
        if not end.seconds and attempt.began is not None:
            end = replace(end, seconds=max(0.0, now - attempt.began))
        self.changes.ended.append((end, text_of(now)))

    def _completed(self, attempt: Attempt, end: TaskEnd, now: float) -> None:
        if attempt.kind == "open":
            self._opened(attempt, now)
            return
        self._done[attempt.unit] = end.task, end.mime or "application/octet-stream"
        if attempt.kind == "item":
            self._item_step(attempt.place, Finished(attempt.item, attempt.number, now), now)
        else:
            self._step(Finished(attempt.place, attempt.number, now), now)

    def _aborted(self, attempt: Attempt, now: float) -> None:
        if attempt.kind == "item":
            self._item_step(attempt.place, Aborted(attempt.item, attempt.number, now), now)
        else:
            self._step(Aborted(attempt.place, attempt.number, now), now)

    def _failed(self, attempt: Attempt, end: TaskEnd, now: float) -> None:
        wait = self._wait_after(attempt, end, now)
        kind: type[Lost | Failed] = Lost if end.is_system else Failed
        if attempt.kind == "item":
            stage = self._stages[attempt.place]
            if wait is None and stage.failure is None:
                stage.failure, stage.failed = end, attempt.item
            self._fail(attempt.place, kind(attempt.item, attempt.number, now), attempt, end, wait, now)
            return
        if wait is None:
            self._note_failure(attempt.place, end, is_shown=attempt.kind != "open")
        self._fail(GRAPH, kind(attempt.place, attempt.number, now), attempt, end, wait, now)

    def _fail(self, which: int, event: Event, attempt: Attempt, end: TaskEnd, wait: float | None, now: float) -> None:
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

    def _wait_after(self, attempt: Attempt, end: TaskEnd, now: float) -> float | None:
        stage = self._stages.get(attempt.place) if attempt.kind == "item" else None
        if self.machine.cancel_asked or self._closing or attempt.fate or (stage is not None and stage.fate):
            return None
        rule = self.plan.nodes[attempt.place].rule
        if rule is None:  # the server's own death is no fault of the node's, and nobody said that it may not run again
            return 0.0 if end.error_type == SERVER_ENDED else None
        tries = self._tries_of(attempt)
        return rule.wait_after(_attempted(end, tries.count - 1, now - (tries.first or now)))

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

    def _opened(self, attempt: Attempt, now: float) -> None:
        node = self.plan.nodes[attempt.place]
        assert node.expands is not None
        try:
            items = self._around.items_of(attempt.task)
        except CannotPrepare as error:
            self._failed(attempt, self._stand_in(attempt.place, Fate("FAILED", "OSError", str(error))), now)
            return
        source = self._done[node.expands, WHOLE][0]
        self._forget_items(attempt.place)
        stage = self._stages[attempt.place] = Stage(source, items)
        self._remember(attempt.place, json.dumps(["Items", len(items), source]))
        for _ in items:
            stage.machine.handle(AddNode(()))
        self._tell_items(attempt.place, now)
        if not items:
            self._plan(attempt.place, WHOLE, "close", self.machine.attempt[attempt.place])
        else:
            self._item_step(attempt.place, Start(now), now)

    def _item_step(self, place: int, event: Event, now: float) -> None:
        self._carry_out_items(place, self._handle(place, event), now)

    def _carry_out_items(self, place: int, commands: Sequence[Command], now: float) -> None:
        stage = self._stages[place]
        for command in commands:
            if type(command) is RunCommand:
                self._plan(place, command.node, "item", command.attempt)
            elif type(command) is Abort:
                self._end_early(self._units[place, command.node], stage.fate or STOPPED)
            elif type(command) is Changed and command.status == CANCELLED:
                self._drop((place, command.node), now)
        if stage.machine.is_ended:
            self._items_ended(place, stage, now)
        elif now - stage.told_at >= ITEMS_TOLD_EVERY_S:
            self._tell_items(place, now)
        self._settle(now)

    def _items_ended(self, place: int, stage: Stage, now: float) -> None:
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
            failure = stage.failure or self._stand_in(place, Fate("FAILED", "RuntimeError", "An item failed."))
            self._note_failure(place, failure, is_shown=stage.failure is None)
            self._step(Failed(place, number, now), now)

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
                self._end_node(node.place, Fate("FAILED", "TimeoutError", words), now)
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
        self._closing = fate = Fate("FAILED", "TimeoutError", words)
        if self._retry_at is not None:
            self._retry_at = None
            self._finish("failed", now)
            return
        for place in range(len(self.machine)):
            if self.machine.live[place]:
                self._end_node(place, fate, now)

    def _end_node(self, place: int, fate: Fate, now: float) -> None:
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

    def _end_items(self, place: int, stage: Stage, fate: Fate, now: float) -> None:
        stage.fate = fate
        machine = stage.machine
        running = tuple(item for item in range(len(machine)) if machine.status[item] == RUNNING)
        self._item_step(place, Cancel(None, now), now)
        if running:
            self._item_step(place, Stop(running, now), now)

    # --- the machine -----------------------------------------------------------------------------------------

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
                        self._end_items(command.node, stage, STOPPED, now)
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
            self._end_early(attempt, STOPPED)
            if not attempt.is_at_work:  # the close of a stage that nobody has taken up
                self.ended(TaskEnd(attempt.task, "CANCELLED", STOPPED.message), now)
        elif stage is not None:
            self._end_items(place, stage, STOPPED, now)

    def _end_early(self, attempt: Attempt, fate: Fate) -> None:
        if attempt.fate is None:
            attempt.fate = fate
        if attempt.is_at_work:
            self.kills.append(attempt.task)

    def _drop(self, unit: Unit, now: float) -> None:
        """Forgets an attempt that the machine has cancelled before it began."""
        attempt = self._units.get(unit)
        if attempt is None:
            return
        self._close_attempt(attempt, TaskEnd(attempt.task, "CANCELLED", STOPPED.message), now)
        if attempt.is_at_work:
            self.at_work += 1  # until its executor has answered
            self._gone.add(attempt.task)
            self.kills.append(attempt.task)

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
        self.changes.status["ended"] = text_of(now)
        self._set_status(status, now)

    # --- work ------------------------------------------------------------------------------------------------


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
