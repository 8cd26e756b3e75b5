"""`GraphMachine`: what becomes of a graph when something happens. Events in, commands out, nothing else.

The state of a graph changes in `GraphMachine.handle` and nowhere else. Time and attempt outcomes arrive inside
events, so the same events give the same commands, byte for byte.

Who may be in which state is written in `states.TABLE`; this module keeps the counters that make a step cost
O(1) an edge: for each node how many parents are not Completed (``unmet``) and how many are bad (``bad``).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from math import isnan, nan
from typing import Any, Final

from ..errors import IllegalTransition
from .graph import Graph
from .states import (
    BAD,
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RETRY_COMPLETED,
    RUNNING,
    TERMINAL,
    Abort,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Changed,
    Command,
    Ended,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Run,
    Start,
    Status,
    Stop,
)

NO_SLOT: Final = 0xFFFF
"""Slot of a node that no worker has taken up, or whose slot has a number too high to tell."""
_new: Final = tuple.__new__
"""Makes a named tuple in half the time that its class takes: two or three commands a node add up."""


class PastAttempt(tuple[int, int, int, int, float, float]):
    """``(revision, attempt, status, slot, started, ended)`` of an attempt that a retry replaced."""

    __slots__ = ()


class GraphMachine:
    """One graph's state. Not thread-safe: whoever drives it brings the order.

    Columns, by node index: ``status``, ``attempt`` (number of the latest one, 0 for none), ``slot``, ``started``,
    ``ended`` (seconds, NaN for not yet). ``changes`` is the list of nodes in the order in which they changed; its
    length is the revision.
    """

    __slots__ = (
        "attempt",
        "bad",
        "blocker",
        "cancel_asked",
        "changes",
        "counts",
        "ended",
        "ended_at",
        "graph",
        "history",
        "is_ended",
        "is_started",
        "live",
        "past",
        "queued",
        "slot",
        "started",
        "started_at",
        "status",
        "stopping",
        "unmet",
    )

    def __init__(self) -> None:
        self.graph = Graph()
        self.status = bytearray()
        self.attempt = array("I")
        self.slot = array("H")
        self.started = array("d")
        self.ended = array("d")
        self.unmet = array("I")
        self.bad = array("I")
        self.live = bytearray()
        """1 while the latest attempt is queued or running, and its worker's answer counts."""
        self.stopping: set[int] = set()
        self.blocker: dict[int, int] = {}
        """Parent Failed node -> the node that failed or was cancelled first above it."""
        self.past: dict[int, list[PastAttempt]] = {}
        self.counts = [0] * 7
        """How many nodes have each status, by its number."""
        self.queued = 0
        self.is_started = False
        self.is_ended = False
        self.cancel_asked = False
        self.started_at = nan
        self.ended_at = nan
        self.changes = array("I")
        self.history: list[Event] = []

    def __len__(self) -> int:
        return len(self.status)

    @property
    def revision(self) -> int:
        """Number of status changes so far."""
        return len(self.changes)

    @property
    def graph_status(self) -> Status:
        """Status of the whole graph.

        While it runs: Cancelled once a cancel was asked, Failed from the first failure on. At its end: Failed with
        any node Failed, else Cancelled with any node Cancelled or a cancel asked, else Completed.
        """
        if self.is_ended:
            if self.counts[FAILED]:
                return Status.FAILED
            if self.counts[CANCELLED] or self.cancel_asked:
                return Status.CANCELLED
            return Status.COMPLETED
        if self.cancel_asked:
            return Status.CANCELLED
        if not self.is_started:
            return Status.NOT_STARTED
        return Status.FAILED if self.counts[FAILED] else Status.RUNNING

    # --- the only door ----------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Command]:
        """Apply one event and return what has to be done about it, in order.

        Raises:
            IllegalTransition: The table does not know the event in this state; nothing was changed.
        """
        commands: list[Command] = []
        _HANDLERS[type(event)](self, event, commands)
        self.history.append(event)
        return commands

    # --- building ---------------------------------------------------------------------------------------

    def _add_node(self, event: AddNode, commands: list[Command]) -> None:
        parents = event.parents
        count = len(self.status)
        if self.is_started or self.cancel_asked:
            raise IllegalTransition("AddNode: the graph has started")
        if event.status != NOT_STARTED and event.status != CANCELLED:
            raise IllegalTransition(f"AddNode: a node cannot join with status {event.status}")
        status = self.status
        unmet = bad = 0
        for parent in parents:
            if not 0 <= parent < count:
                raise IllegalTransition(f"AddNode: parent {parent} of node {count} does not exist")
            if status[parent] in BAD:
                bad += 1
            unmet += 1  # before the start no parent can be Completed
        self.graph.add_node(parents)
        status.append(event.status)
        self.counts[event.status] += 1
        self.attempt.append(0)
        self.slot.append(NO_SLOT)
        self.started.append(nan)
        self.ended.append(nan)
        self.unmet.append(unmet)
        self.bad.append(bad)
        self.live.append(0)
        if event.status == CANCELLED:
            self.changes.append(count)
        elif bad:
            self._block(count, commands)

    def forget_from(self, count: int) -> None:
        """Back to the first ``count`` nodes, after an interrupt came in the middle of an `AddNode`. O(n)."""
        self.graph.forget_from(count)
        for column in (self.status, self.attempt, self.slot, self.started, self.ended, self.unmet, self.bad, self.live):
            del column[count:]
        self.counts = [self.status.count(code) for code in range(len(self.counts))]
        self.changes = array("I", [node for node in self.changes if node < count])
        self.blocker = {node: culprit for node, culprit in self.blocker.items() if node < count}
        joined = [place for place, event in enumerate(self.history) if type(event) is AddNode]
        del self.history[joined[count] if len(joined) > count else len(self.history) :]

    def _add_edge(self, event: AddEdge, commands: list[Command]) -> None:
        parent, child = event
        count = len(self.status)
        if not (0 <= parent < count and 0 <= child < count):
            raise IllegalTransition(f"AddEdge: no edge {parent} -> {child} among {count} nodes")
        if self.is_started or self.cancel_asked:
            raise IllegalTransition("AddEdge: the graph has started")
        if self.graph.has_edge(parent, child):
            return
        if self.graph.closes_cycle(parent, child):
            raise IllegalTransition(f"AddEdge: {parent} -> {child} closes a cycle")
        self.graph.add_edge(parent, child)
        self.unmet[child] += 1
        if self.status[parent] in BAD:
            self.bad[child] += 1
            if self.status[child] == NOT_STARTED:
                self._block(child, commands)
                self._spread_bad(child, commands)

    def _start(self, event: Start, commands: list[Command]) -> None:
        if self.is_started or self.cancel_asked:
            return  # a second compute() is no mistake
        self.is_started = True
        self.started_at = event.at
        unmet, status = self.unmet, self.status
        for node in range(len(status)):
            if not unmet[node] and status[node] == NOT_STARTED:
                self._make_ready(node, commands)
        self._end_if_idle(event.at, commands)

    # --- answers of workers -----------------------------------------------------------------------------

    def _began(self, event: Began, commands: list[Command]) -> None:
        node, attempt, at, slot = event
        if not self._is_live(event, node, attempt):
            return
        if self.status[node] != NOT_STARTED:
            raise self._illegal(event, node)
        self.slot[node] = slot if 0 <= slot < NO_SLOT else NO_SLOT
        self.started[node] = at
        self.queued -= 1
        self._set(node, RUNNING, commands)

    def _finished(self, event: Finished, commands: list[Command]) -> None:
        node, attempt, at = event
        if not self._is_live(event, node, attempt):
            return
        if self.status[node] != RUNNING:
            raise self._illegal(event, node)
        self.live[node] = 0
        self.ended[node] = at
        if self.stopping:
            self.stopping.discard(node)
        self._set(node, COMPLETED, commands)
        unmet, status = self.unmet, self.status
        for child in self.graph.children[node]:
            left = unmet[child] - 1
            unmet[child] = left
            if not left and status[child] == NOT_STARTED:
                self._make_ready(child, commands)
        if not self.queued:
            self._end_if_idle(at, commands)

    def _went_wrong(self, event: Failed | Lost, commands: list[Command]) -> None:
        node, attempt, at = event
        if not self._is_live(event, node, attempt):
            return
        self._close_attempt(node, at)  # a live attempt is queued or runs, and may fail in both
        self._set(node, FAILED, commands)
        self._spread_bad(node, commands)
        self._end_if_idle(at, commands)

    def _aborted(self, event: Aborted, commands: list[Command]) -> None:
        node, attempt, at = event
        if not self._is_live(event, node, attempt):
            return
        if node not in self.stopping:  # only what runs ever is
            raise self._illegal(event, node)
        self._close_attempt(node, at)
        self._set(node, CANCELLED, commands)
        self._spread_bad(node, commands)
        self._end_if_idle(at, commands)

    def _is_live(self, event: Event, node: int, attempt: int) -> bool:
        """False for the answer of a superseded attempt, which is recorded and changes nothing."""
        if 0 <= node < len(self.status) and 1 <= attempt <= self.attempt[node]:
            return attempt == self.attempt[node] and self.live[node] == 1
        raise self._illegal(event, node)

    def _close_attempt(self, node: int, at: float) -> None:
        self.live[node] = 0
        self.stopping.discard(node)
        if self.status[node] == NOT_STARTED:
            self.queued -= 1
        self.ended[node] = at

    # --- requests of people -----------------------------------------------------------------------------

    def _cancel(self, event: Cancel, commands: list[Command]) -> None:
        self._check_indices(event, event.nodes or ())
        if event.nodes is None:
            if self.is_ended or self.cancel_asked:
                return
            self.cancel_asked = True
            targets: Iterable[int] = self.graph.topological_order()
        else:
            targets = event.nodes
        for node in targets:
            if self.status[node] != NOT_STARTED:
                continue
            if self.live[node]:  # queued: whoever takes it up later is told that it is too late
                self.live[node] = 0
                self.queued -= 1
            self.ended[node] = event.at
            self._set(node, CANCELLED, commands)
            self._spread_bad(node, commands)
        self._end_if_idle(event.at, commands)

    def _stop(self, event: Stop, commands: list[Command]) -> None:
        self._check_indices(event, event.nodes)
        for node in event.nodes:
            if self.status[node] == RUNNING and node not in self.stopping:
                self.stopping.add(node)
                commands.append(Abort(node, self.attempt[node]))

    def _retry(self, event: Retry, commands: list[Command]) -> None:
        self._check_indices(event, event.nodes)
        nodes: Iterable[int] = event.nodes
        if event.descendants:
            nodes = self.graph.descendants(nodes)
            for node in nodes:
                if self.live[node]:
                    raise self._illegal(event, node, "a node below is queued or runs: wait for the end of the run")
        touched = self._reset(nodes, event.descendants, commands)
        if not touched:
            return
        self.cancel_asked = False
        self.is_ended = False
        self.ended_at = nan
        if not self.is_started:
            return
        for node in touched:
            if not self.unmet[node]:
                self._make_ready(node, commands)
        self._end_if_idle(event.at, commands)

    def _reset(self, nodes: Iterable[int], completed_too: bool, commands: list[Command]) -> list[int]:
        """Put Failed and Cancelled nodes, and what only they blocked, back to Not Started; return the former."""
        touched: list[int] = []
        freed: list[int] = []
        status, unmet = self.status, self.unmet
        for node in nodes:
            was = status[node]
            if was == FAILED or was == CANCELLED:
                self._archive(node)
                if self.bad[node]:  # cancelled below a bad parent: stays bad, so the counters below it stay right
                    self._block(node, commands)
                    freed.append(node)
                else:
                    self._set(node, NOT_STARTED, commands)
                    freed += self._spread_fine(node, commands)
            elif was == COMPLETED and completed_too:
                self._archive(node)
                for child in self.graph.children[node]:
                    unmet[child] += 1
                self._set(node, RETRY_COMPLETED, commands)
            else:
                continue
            touched.append(node)
        self._blame_others(set(touched), freed)
        return touched

    def _archive(self, node: int) -> None:
        """Keep the attempt that a retry replaces, where there was one that is not kept yet.

        It is already kept where a retry put the node back behind a parent and it was cancelled while it waited there.
        """
        kept = self.past.get(node)
        if self.attempt[node] and not (kept and kept[-1][1] == self.attempt[node]):
            self.past.setdefault(node, []).append(
                PastAttempt(
                    (
                        len(self.changes),
                        self.attempt[node],
                        self.status[node],
                        self.slot[node],
                        self.started[node],
                        self.ended[node],
                    )
                )
            )
        self.slot[node] = NO_SLOT
        self.started[node] = nan
        self.ended[node] = nan

    # --- consequences -----------------------------------------------------------------------------------

    def _set(self, node: int, status: int, commands: list[Command]) -> None:
        counts = self.counts
        counts[self.status[node]] -= 1
        counts[status] += 1
        self.status[node] = status
        self.changes.append(node)
        commands.append(_new(Changed, (node, status)))

    def _make_ready(self, node: int, commands: list[Command]) -> None:
        attempt = self.attempt[node] + 1
        self.attempt[node] = attempt
        self.live[node] = 1
        self.queued += 1
        commands.append(_new(Run, (node, attempt)))

    def _block(self, node: int, commands: list[Command]) -> None:
        """Make a node with a bad parent Parent Failed, and name who is to blame."""
        self._find_blocker(node)
        self._set(node, PARENT_FAILED, commands)

    def _find_blocker(self, node: int) -> None:
        culprit = next(parent for parent in self.graph.parents[node] if self.status[parent] in BAD)
        self.blocker[node] = self.blocker.get(culprit, culprit)

    def _spread_bad(self, node: int, commands: list[Command]) -> None:
        """``node`` has just turned bad: block what waits below it. A queue, so no depth is too deep."""
        status, bad, blocker, children = self.status, self.bad, self.blocker, self.graph.children
        queue = deque([node])
        while queue:
            source = queue.popleft()
            culprit = blocker[source] if status[source] == PARENT_FAILED else source
            for child in children[source]:
                bad[child] += 1
                if status[child] == NOT_STARTED:
                    blocker[child] = culprit
                    self._set(child, PARENT_FAILED, commands)
                    queue.append(child)

    def _spread_fine(self, node: int, commands: list[Command]) -> list[int]:
        """``node`` has just stopped being bad: free what nothing else blocks. The nodes that are fine now."""
        status, bad, children = self.status, self.bad, self.graph.children
        fine = [node]
        for source in fine:  # grows while it is walked
            for child in children[source]:
                bad[child] -= 1
                if not bad[child] and status[child] == PARENT_FAILED:
                    del self.blocker[child]
                    self._set(child, NOT_STARTED, commands)
                    fine.append(child)
        return fine

    def _blame_others(self, gone: set[int], freed: Iterable[int]) -> None:
        """Nodes still blocked that blame one of ``gone`` blame the next one.

        Whoever blames a node has it for a parent, or a blocked parent that blames it too: so all of them are found by
        going down from the ``freed`` nodes (those of ``gone`` and those they alone blocked) through blamers only.
        """
        blamers: dict[int, None] = {}
        queue = deque(freed)
        while queue:
            for child in self.graph.children[queue.popleft()]:
                if child not in blamers and self.blocker.get(child) in gone:
                    blamers[child] = None
                    queue.append(child)
        for node in self.graph.parents_first(blamers):
            self._find_blocker(node)

    def _end_if_idle(self, at: float, commands: list[Command]) -> None:
        if self.queued or self.counts[RUNNING] or self.is_ended:
            return
        if self.is_started or self.cancel_asked:
            self.is_ended = True
            self.ended_at = at
            commands.append(Ended(self.graph_status.value))

    # --- errors, proofs, stories ------------------------------------------------------------------------

    def _check_indices(self, event: Event, nodes: Iterable[int]) -> None:
        for node in nodes:
            if not 0 <= node < len(self.status):
                raise self._illegal(event, node)

    def _illegal(self, event: Event, node: int, why: str = "") -> IllegalTransition:
        if not 0 <= node < len(self.status):
            return IllegalTransition(f"{event}: there is no node {node}; the graph has {len(self.status)}")
        story = "\n  ".join(map(str, self.story(node))) or "nothing happened to it yet"
        return IllegalTransition(
            f"{event}: node {node} is {Status(self.status[node])}, attempt {self.attempt[node]}, "
            f"{'live' if self.live[node] else 'not live'}{why and '; '}{why}. Its story:\n  {story}"
        )

    def story(self, node: int) -> list[Event]:
        """What happened to a node, in order: every event that names it, and those that name the whole graph."""
        told: list[Event] = []
        joined = -1
        for event in self.history:
            if isinstance(event, AddNode):
                joined += 1
                if joined == node:
                    told.append(event)
            elif isinstance(event, AddEdge):
                if node in event:
                    told.append(event)
            elif isinstance(event, (Cancel, Stop, Retry)):
                if event.nodes is None or node in event.nodes:
                    told.append(event)
            elif isinstance(event, Start) or event.node == node:
                told.append(event)
        return told

    def validate(self) -> None:
        """Assert every invariant, in words. O(nodes + edges): for tests."""
        parents, status = self.graph.parents, self.status
        for node in range(len(status)):
            code = status[node]
            unmet = sum(status[parent] != COMPLETED for parent in parents[node])
            bad = sum(status[parent] in BAD for parent in parents[node])
            assert self.unmet[node] == unmet, f"node {node}: unmet is {self.unmet[node]}, should be {unmet}"
            assert self.bad[node] == bad, f"node {node}: bad is {self.bad[node]}, should be {bad}"
            if code == NOT_STARTED:
                assert not bad, f"node {node} waits although a parent is bad"
                ready = self.is_started and not unmet
                assert bool(self.live[node]) == ready, f"node {node}: ready {ready}, live {self.live[node]}"
            elif code == RUNNING:
                assert self.live[node], f"node {node} runs without a live attempt"
            else:
                assert not self.live[node], f"node {node} is terminal with a live attempt"
            if code in (RUNNING, COMPLETED):
                assert not unmet, f"node {node} is {Status(code)} before its parents were Completed"
                assert not isnan(self.started[node]), f"node {node} is {Status(code)} and never began"
            assert (code == PARENT_FAILED) == (node in self.blocker), f"node {node}: blocker out of step"
            if code == PARENT_FAILED:
                assert bad, f"node {node} is Parent Failed and no parent is bad"
                culprit = status[self.blocker[node]]
                assert culprit in (FAILED, CANCELLED), f"node {node} blames a node that is {Status(culprit)}"
                heard = any(self.blocker[node] in (parent, self.blocker.get(parent)) for parent in parents[node])
                assert heard, f"node {node} blames node {self.blocker[node]}, which none of its parents does"
            if code in (NOT_STARTED, PARENT_FAILED):
                untouched = self.slot[node] == NO_SLOT and isnan(self.started[node]) and isnan(self.ended[node])
                assert untouched, f"node {node} is {Status(code)} and carries the times of an attempt"
            kept = [attempt[1] for attempt in self.past.get(node, ())]
            assert kept == sorted(set(kept)), f"node {node}: past attempts are not each kept once, in order: {kept}"
        for each in Status:
            seen = status.count(each.value)
            assert self.counts[each.value] == seen, f"{each}: counted {self.counts[each.value]}, are {seen}"
        queued = sum(bool(live) for live in self.live) - self.counts[RUNNING]
        assert self.queued == queued, f"queued is {self.queued}, should be {queued}"
        assert self.stopping <= {node for node in range(len(status)) if status[node] == RUNNING}
        over = (self.is_started or self.cancel_asked) and not queued and not self.counts[RUNNING]
        assert self.is_ended == over, f"ended is {self.is_ended}, should be {over}"
        assert self.is_ended != isnan(self.ended_at), f"ended is {self.is_ended}, ended at {self.ended_at}"
        if self.is_ended and self.is_started:
            assert all(code in TERMINAL for code in status), "the graph ended with work left"


# A table of plain functions: bound methods kept by the machine would make it a reference cycle, and a finished graph
# of 10,000 nodes would stay in memory until the garbage collector comes by.
_HANDLERS: Final[dict[type, Callable[[GraphMachine, Any, list[Command]], None]]] = {
    AddNode: GraphMachine._add_node,
    AddEdge: GraphMachine._add_edge,
    Start: GraphMachine._start,
    Began: GraphMachine._began,
    Finished: GraphMachine._finished,
    Failed: GraphMachine._went_wrong,
    Lost: GraphMachine._went_wrong,
    Aborted: GraphMachine._aborted,
    Cancel: GraphMachine._cancel,
    Stop: GraphMachine._stop,
    Retry: GraphMachine._retry,
}


def replay(events: Iterable[Event]) -> GraphMachine:
    """The machine that these events lead to.

    Raises:
        IllegalTransition: The events are not a possible history.
    """
    machine = GraphMachine()
    for event in events:
        machine.handle(event)
    return machine
