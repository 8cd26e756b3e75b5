"""What a server says of a run, as events for the machine of the same graph here.

The server tells where each node is: one thing after another (its events), or everything at once (its log). Either way
a `Word` about a node is turned into the events that lead the machine there, however much was missed between two words.
No threads, no clock, no IO: `Mirror` changes the machine and gives its commands back.

A word that says nothing new changes nothing. A word that the machine cannot take yet, since it knows the node's parents
to be unfinished, is kept until they are (a log may be read while it is written).

The machine may be ahead of the server's words: a cancel that was acknowledged holds here at once, and what was said
before it is heard later. Until the words have caught up, those about what is cancelled here are kept, the last one of
each node; then they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Final

from ..core.machine import GraphMachine
from ..core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    TERMINAL,
    Aborted,
    Began,
    Cancel,
    Changed,
    Command,
    Ended,
    Failed,
    Finished,
    Retry,
    Stop,
)

_NOT_ASKED: Final = 0
_ASKED: Final = 1
_STOPPED: Final = 2


@dataclass(frozen=True, slots=True)
class Word:
    """Where a node is, as the server says.

    Attributes:
        node: Its index here.
        status: A number of `core.states`.
        attempt: The server's number of the latest attempt, from 1; 0 where it does not say.
        at: When, as Unix time.
        began: When the attempt began; None if that was told before, or is not known.
        is_change: It has just become so, in the order of the server; a log only tells how things are.
    """

    node: int
    status: int
    attempt: int
    at: float
    began: float | None = None
    is_change: bool = False


class Mirror:
    """Leads one machine after a server. The caller brings the order."""

    def __init__(self, machine: GraphMachine) -> None:
        self._machine = machine
        self._theirs: dict[int, int] = {}
        """Server's number of the attempt that the machine's latest one stands for."""
        self._over: dict[int, int] = {}
        """Server's number of the last attempt that a retry left behind: late words about it are ignored."""
        self._stop = _NOT_ASKED
        self._waiting: dict[int, Word] = {}
        self._kept: dict[int, Word] = {}
        """The last word about each node that was said while the machine was ahead, and that it is not where it says."""
        self._free: list[int] = []
        self._slots = 0

    @property
    def is_waiting(self) -> bool:
        """True while a word was said that cannot be taken yet."""
        return bool(self._waiting)

    def hear(self, word: Word) -> list[Command]:
        """Take a word. The commands of what changed, in order; a node that went through several statuses in one go
        reports the last one."""
        if self._waiting:
            self._waiting.pop(word.node, None)
        if self._kept:
            self._kept.pop(word.node, None)
        commands = self._lead(word)
        if commands and self._waiting:
            self._hear_again(commands)
        return commands

    def hear_run(self, is_over: bool, is_cancelled: bool, at: float) -> list[Command]:
        """Take what the server says of the whole run."""
        commands: list[Command] = []
        if self._stop == _ASKED and not is_over:
            return commands  # it was said before the server heard of the stop
        if self._stop == _ASKED:
            commands += self.caught_up()
        if is_cancelled:
            self._stop = _STOPPED
            commands += self._machine.handle(Cancel(None, at))
        elif not is_over:
            self._stop = _NOT_ASKED
        return commands

    def cancelled_here(self) -> None:
        """The server was asked to stop the run, and the machine knows: what was said before changes nothing now.

        Not to be called where everything that was said before has been heard.
        """
        self._stop = _ASKED

    def caught_up(self) -> list[Command]:
        """Everything has been heard that the server said before it heard of a stop: what was kept holds.

        Of a log that is what has happened; a node that it shows waiting, of a run that is over, was cancelled.
        """
        if self._stop == _ASKED:
            self._stop = _NOT_ASKED
        kept, self._kept = self._kept, {}
        commands: list[Command] = []
        for word in kept.values():
            if word.is_change or word.status in (COMPLETED, FAILED):
                commands += self.hear(word)
        return commands

    def retried_here(self, commands: list[Command]) -> None:
        """The server was asked to run nodes again, and the machine has put them back, as its commands tell."""
        self._stop = _NOT_ASKED
        self._kept.clear()
        for command in commands:
            if type(command) is Changed and command.status == NOT_STARTED:
                self._leave_behind(command.node)

    def would_end(self, word: Word) -> bool:
        """True if the machine would hold the graph for ended after this word: nothing live is left."""
        machine = self._machine
        live = machine.queued + machine.counts[RUNNING]
        if live != 1 or not machine.live[word.node] or word.status not in TERMINAL:
            return False
        if word.status != COMPLETED:
            return True
        unmet, status = machine.unmet, machine.status
        return not any(
            unmet[child] == 1 and status[child] == NOT_STARTED for child in machine.graph.children[word.node]
        )

    def again(self, node: int, attempt: int, at: float) -> list[Command]:
        """The attempt failed, and the server will make another: the node waits, and nothing below it is blocked."""
        machine = self._machine
        if attempt <= self._over.get(node, 0) or not machine.live[node]:
            return []  # told before
        if machine.status[node] == NOT_STARTED:
            machine.handle(Began(node, machine.attempt[node], at, self._take_slot()))
        self._theirs[node] = attempt
        self._leave_behind(node)
        return self._back_to_waiting(node, at)

    def give_up(self, at: float, cancelled: bool, lost: bool = False) -> list[tuple[int, list[Command]]]:
        """The run is over and the server says nothing more: end what is left, each node with its commands.

        What ran has failed, unless the run was cancelled. What waited is cancelled; of a run that is ``lost`` it has
        failed too, since nobody knows of an end without a reason.
        """
        machine = self._machine
        self._waiting.clear()
        ended: list[tuple[int, list[Command]]] = []
        while not machine.is_ended:
            live = [node for node in range(len(machine)) if machine.live[node]]
            if not live:
                commands: list[Command] = []
                self._step(Cancel(None, at), commands)
                ended.append((-1, commands))
                break
            for node in live:
                if machine.live[node]:
                    commands = []
                    if machine.status[node] == RUNNING and not cancelled:
                        self._step(Failed(node, machine.attempt[node], at), commands)
                    elif machine.status[node] == RUNNING:
                        self._abort(node, at, commands)
                    elif lost and machine.unmet[node] == 0:
                        machine.handle(Began(node, machine.attempt[node], at, self._take_slot()))
                        self._step(Failed(node, machine.attempt[node], at), commands)
                    elif lost:  # its parents come first, and block it
                        continue
                    else:
                        self._step(Cancel((node,), at), commands)
                    ended.append((node, commands))
        return ended

    # --- leading --------------------------------------------------------------------------------------------

    def _lead(self, word: Word) -> list[Command]:
        commands: list[Command] = []
        if word.status != NOT_STARTED and 0 < word.attempt <= self._over.get(word.node, 0):
            return commands
        is_behind = self._is_behind(word)
        if self._stop == _ASKED and (is_behind or self._is_blocked_only_here(word)):
            self._kept[word.node] = word
            return commands
        if is_behind:
            if self._stop == _STOPPED and word.is_change:
                self._stop = _NOT_ASKED  # somebody goes on with a run that was stopped
            if self._stop != _NOT_ASKED or not self._next_attempt(word, commands):
                return commands
        self._arrive(word, commands)
        return commands

    def _is_behind(self, word: Word) -> bool:
        """True if the word is about an attempt that the machine has not come to."""
        machine, node = self._machine, word.node
        code = machine.status[node]
        if word.status == PARENT_FAILED:  # of a retry of a cancelled node below a bad one
            return code == CANCELLED and word.is_change and machine.bad[node] > 0
        if code == PARENT_FAILED:
            return False
        if word.status == NOT_STARTED:
            return code in (RUNNING, FAILED, CANCELLED, COMPLETED)
        theirs = self._theirs.get(node, 0)
        if word.attempt and theirs and word.attempt > theirs:
            return code != NOT_STARTED
        return code in TERMINAL and code != word.status

    def _is_blocked_only_here(self, word: Word) -> bool:
        return self._machine.status[word.node] == PARENT_FAILED and word.status in (RUNNING, COMPLETED, FAILED)

    def _next_attempt(self, word: Word, commands: list[Command]) -> bool:
        """Put the node back to Not Started. False where that cannot be."""
        machine, node = self._machine, word.node
        code = machine.status[node]
        if code == RUNNING:
            self._theirs.pop(node, None)
            commands += self._back_to_waiting(node, word.at)
            return True
        below = code == COMPLETED
        if below and any(machine.live[one] for one in machine.graph.descendants((node,))):
            self._waiting[node] = word
            return False
        found = machine.handle(Retry((node,), below, word.at))
        for command in found:
            if type(command) is Changed and command.status == NOT_STARTED:
                self._theirs.pop(command.node, None)
        commands += found
        return machine.status[node] == NOT_STARTED

    def _arrive(self, word: Word, commands: list[Command]) -> None:
        machine, node, status = self._machine, word.node, word.status
        code = machine.status[node]
        if code == status or code == PARENT_FAILED or status in (NOT_STARTED, PARENT_FAILED):
            return
        if code == NOT_STARTED and not machine.live[node]:
            if status == CANCELLED:
                self._step(Cancel((node,), word.at), commands)
            else:
                self._waiting[node] = word
            return
        if status == CANCELLED and code == NOT_STARTED and word.began is None:
            self._step(Cancel((node,), word.at), commands)
            return
        self._theirs[node] = word.attempt or self._theirs.get(node, 0)
        if code == NOT_STARTED:
            began = word.began if word.began is not None else word.at
            self._step(Began(node, machine.attempt[node], began, self._take_slot()), commands)
        if status == RUNNING:
            return
        attempt = machine.attempt[node]
        if status == COMPLETED:
            self._step(Finished(node, attempt, word.at), commands)
        elif status == FAILED:
            self._step(Failed(node, attempt, word.at), commands)
        else:
            self._abort(node, word.at, commands)

    def _abort(self, node: int, at: float, commands: list[Command]) -> None:
        if node not in self._machine.stopping:
            self._machine.handle(Stop((node,), at))  # its Abort is for whoever runs the node, and that is the server
        self._step(Aborted(node, self._machine.attempt[node], at), commands)

    def _back_to_waiting(self, node: int, at: float) -> list[Command]:
        """Failed and tried again in one step: nobody is told of the moment between, in which all below is blocked."""
        machine = self._machine
        self._give_slot(node)
        machine.handle(Failed(node, machine.attempt[node], at))
        return machine.handle(Retry((node,), False, at))

    def _leave_behind(self, node: int) -> None:
        theirs = self._theirs.pop(node, 0)
        if theirs:
            self._over[node] = max(theirs, self._over.get(node, 0))

    def _step(self, event: Began | Finished | Failed | Aborted | Cancel, commands: list[Command]) -> None:
        if isinstance(event, (Finished, Failed, Aborted)):
            self._give_slot(event.node)
        commands += self._machine.handle(event)

    def _hear_again(self, commands: list[Command]) -> None:
        moved = True
        while moved and self._waiting:
            moved = False
            for word in sorted(self._waiting.values(), key=lambda one: one.node):
                del self._waiting[word.node]
                found = self._lead(word)
                commands += found
                moved = moved or bool(found)

    # --- slots ----------------------------------------------------------------------------------------------

    def _take_slot(self) -> int:
        """The lowest number that no running node has: its row in a time line. The server says nothing of rows."""
        if self._free:
            return heappop(self._free)
        self._slots += 1
        return self._slots - 1

    def _give_slot(self, node: int) -> None:
        machine = self._machine
        if machine.status[node] == RUNNING:
            heappush(self._free, machine.slot[node])


def settled(commands: list[Command], is_ended: bool) -> list[Command]:
    """The commands of several steps made at once, without an end that was none."""
    if is_ended:
        last = max((place for place, one in enumerate(commands) if type(one) is Ended), default=-1)
        return [one for place, one in enumerate(commands) if type(one) is not Ended or place == last]
    return [one for one in commands if type(one) is not Ended]


__all__ = ["Mirror", "Word", "settled"]
