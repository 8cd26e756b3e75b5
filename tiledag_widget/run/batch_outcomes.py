"""What a server told of the attempts at a BATCH graph's nodes: how each ended, and its result or its exception.

No threads. Where a method says nothing else, the lock of the graph's driver is held.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any, Final

from ..core.machine import GraphMachine
from ..core.states import CANCELLED, COMPLETED, FAILED
from ..errors import ItemError, ServerError, ServerUnreachable, StoppedError
from .remote_result import RemoteResult

if TYPE_CHECKING:
    from ..wire.batch_models import RunEvent
    from ..wire.client import Client
    from ..wire.models import TaskGraphNodeMetadata

_log = logging.getLogger("tiledag_widget.run")

MOST_ERRORS: Final = 100
"""Exceptions fetched from the server as objects for one run; of the nodes that fail after these its texts are shown."""


class Outcome:
    """What the server told of a node's latest attempt."""

    __slots__ = ("argument", "error", "item", "message", "task", "traceback", "type_name")

    def __init__(self, task: str | None, message: str = "", type_name: str = "", traceback: str = "") -> None:
        self.task = task
        self.message = message
        self.type_name = type_name
        self.traceback = traceback
        self.error: BaseException | None = None
        self.item: int | None = None
        """Of a stage: at which of its items it failed."""
        self.argument = ""

    @classmethod
    def of_event(cls, event: RunEvent) -> Outcome:
        """What an event tells."""
        found = cls(event.task, event.message or "", event.error_type or "", event.traceback or "")
        found.item, found.argument = event.item, event.argument or ""
        return found

    @classmethod
    def of_log(cls, node: TaskGraphNodeMetadata) -> Outcome:
        """What a log tells."""
        last = node.executions[-1] if node.executions else None
        message = (last.status_message if last is not None else None) or node.status_message or ""
        return cls(None if last is None else last.id, message)

    def as_error(self, name: str) -> ServerError:
        """The failure in the server's words."""
        text = self.message or f"node {name!r} failed on the server, which keeps no word of why"
        short = self.type_name.rpartition(".")[2]
        if short and short not in text:
            text = f"{short}: {text}"
        error = ServerError(text, 0, "", self.type_name, self.traceback, self.task)
        if self.traceback:
            from ..wire import codec

            error.__cause__ = codec.remote_traceback(self.traceback)
        return error


class Outcomes:
    """Those of all nodes of one graph, by the index of the node."""

    def __init__(self, tasks: Sequence[Any], machine: GraphMachine, client: Callable[[], Client | None]) -> None:
        self._tasks = tasks
        self._machine = machine
        self._client = client
        self._latest: dict[int, Outcome] = {}
        self._past_tasks: dict[tuple[int, int], str] = {}
        """Executions of attempts that others followed, by node and attempt."""
        self._errors: dict[str, BaseException] = {}
        """What attempts raised, by their tasks."""

    # --- what is told ---------------------------------------------------------------------------------------

    def hear_event(self, node: int, event: RunEvent) -> None:
        """An event that is about the end of an attempt, or names its task."""
        outcome = self._latest[node] = Outcome.of_event(event)
        outcome.error = self._errors.get(event.task or "")

    def hear_log(self, node: int, told: TaskGraphNodeMetadata) -> None:
        """A node of a log that has been tried."""
        outcome = Outcome.of_log(told)
        known = self._latest.get(node)
        if known is None or known.task != outcome.task:
            self._latest[node] = outcome

    def hear_failure(self, node: int, told: TaskGraphNodeMetadata) -> None:
        """A node of a log that has failed, with its exception from the server; the lock is not held."""
        outcome = Outcome.of_log(told)
        known = self._latest.get(node)
        if outcome.task is not None and known is not None and known.task == outcome.task and known.error is not None:
            return
        outcome.error = self.fetch(node, outcome)
        self._latest[node] = outcome

    def lose(self, node: int, error: BaseException | None, words: str) -> None:
        """Nobody will tell of this node any more."""
        outcome = self._latest.setdefault(node, Outcome(None))
        if error is not None:
            outcome.error = error
        else:
            outcome.message = outcome.message or words

    def remember(self, node: int, outcome: Outcome) -> None:
        """Of an attempt that another follows: for the story of the node, never for its outcome."""
        task = self._tasks[node]
        attempt = self._machine.attempt[node]
        task._past_errors = {**task._past_errors, attempt: outcome.as_error(task.name)}
        if outcome.task is not None:
            self._past_tasks[node, attempt] = outcome.task

    def put_away(self, node: int) -> None:
        """The node will run again: its execution is one of the past."""
        outcome = self._latest.get(node)
        kept = self._machine.past.get(node)
        if outcome is not None and outcome.task is not None and kept:
            self._past_tasks.setdefault((node, kept[-1][1]), outcome.task)

    # --- what nodes are given -------------------------------------------------------------------------------

    def settle(self, node: int, status: int) -> None:
        """Give a node that has this status now its result or its error."""
        task = self._tasks[node]
        outcome = self._latest.get(node)
        if status == COMPLETED:
            task._accept(self._result_of(task, outcome))
        elif status == FAILED:
            outcome = outcome or Outcome(None)
            error = outcome.error or outcome.as_error(task.name)
            if outcome.item is not None and not isinstance(error, ServerUnreachable):
                error = ItemError.at(task.name, outcome.item, outcome.argument, error, outcome.task)
            task._reject(error)
        elif status == CANCELLED and not isnan(self._machine.started[node]):
            task._reject(StoppedError(f"node {task.name!r} was stopped while it ran"))

    def _result_of(self, task: Any, outcome: Outcome | None) -> RemoteResult:
        client = self._client()
        assert client is not None
        task_id = None if outcome is None or outcome.task is None else uuid.UUID(outcome.task)
        return RemoteResult(client, task_id, task._decoder, task_id is not None)

    def task_of(self, node: int, attempt: int | None = None) -> str | None:
        """Id of the execution on the server of an attempt, or of the latest one that is known. From any thread."""
        if attempt is not None and attempt != self._machine.attempt[node]:
            return self._past_tasks.get((node, attempt))
        outcome = self._latest.get(node)
        return None if outcome is None else outcome.task

    def fetch(self, node: int, outcome: Outcome) -> BaseException:
        """What the node raised, from the server; in the server's words where it does not have it. No lock is held that
        a view needs."""
        name = self._tasks[node].name
        if outcome.task is None:
            return outcome.as_error(name)
        found = self._errors.get(outcome.task)
        if found is None:
            few = len(self._errors) < MOST_ERRORS
            found = self._errors[outcome.task] = self._fetched(name, outcome) if few else outcome.as_error(name)
        return found

    def _fetched(self, name: str, outcome: Outcome) -> BaseException:
        from ..wire import codec

        client = self._client()
        assert outcome.task is not None
        assert client is not None
        try:
            reply = client.task_result(outcome.task)
            found = codec.decode_stored(reply.data, reply.content_type)
        except ServerUnreachable:
            raise
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)) and not outcome.type_name:
                raise
            _log.debug("the exception of %r cannot be had from the server: %s", name, error)
            plain = outcome.as_error(name)
            if not outcome.message and isinstance(error, ServerError):
                plain = ServerError(f"node {name!r} failed on the server: {error}", error.http_status, error.body)
            return plain
        if not isinstance(found, BaseException):
            return outcome.as_error(name)
        if outcome.traceback and found.__cause__ is None:
            found.__cause__ = codec.remote_traceback(outcome.traceback)
        return found


__all__ = ["MOST_ERRORS", "Outcome", "Outcomes"]
