"""A BATCH graph: uploaded, run by the server as a whole, followed and steered from here.

`BatchDriver` is a `Driver` whose machine is moved by what the server tells (`run.mirror`) instead of by lanes. Waiting,
callbacks, views and requests are the driver's own.

**Guarantees**

- `start` returns when the server has the graph and has been told to run it; nothing of it depends on this process then.
- The server's events are applied in the server's order. Our server is asked by long-poll; one that has no such route is
  asked for the log, often while things change and rarely while they do not.
- What is asked of the server and what it says cross on the way. Each request of ours that it has acknowledged begins a
  round; the first look that was asked for in it and leaves nothing unheard makes us even again. Before that, nothing
  that is said of the run as a whole counts.
- While the server cannot be reached the last known state stays, marked with the moment since when it is stale.
- A cancel that returned has been acknowledged by the server; the end is reported when the server reports it.
- When the interpreter exits the run goes on at the server. `detach_all` stops following; whoever waits follows again.

**Threads**: ``dag-<name>-follow`` from `run.threads`, one for each run that is not over; ends with the run, or at most
`LONG_POLL_S` after `detach_all`.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..core.lines import WARNING
from ..core.snapshot import Patch, RunInfo
from ..core.states import (
    CANCELLED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    PARENT_FAILED,
    RUNNING,
    Abort,
    Cancel,
    Changed,
    Command,
    Ended,
    Retry,
    Run,
    Start,
    Status,
    Stop,
)
from ..errors import ServerError, ServerUnreachable, StoppedError
from ..wire.models import TaskGraphLog, TaskGraphNodeMetadata, status_of_log, status_of_task
from .batch_body import BatchGraph, graph_body
from .driver import Driver, Observer
from .mirror import Mirror, Word
from .remote import RemoteResult
from .remote_output import HeldOutput, Task, indices_of, is_over, tasks_of
from .threads import threads

if TYPE_CHECKING:
    from ..wire.batch_models import RunEvent, RunEvents, RunTask
    from ..wire.client import Client
    from ..wire.models import Decoder

_log = logging.getLogger("tiledag_widget.run")

LONG_POLL_S: Final = 2.0
"""How long our server may keep a question for events. An answer comes at once where there is one; a question that waits
cannot be taken back, so this is also how long an end of the process or of following may take."""
FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 5.0
QUIET_SHARE: Final = 0.25
"""A server without events is asked again after this share of the time for which nothing has changed."""
FIRST_RECONNECT_S: Final = 0.2
LONGEST_RECONNECT_S: Final = 5.0
REFUSALS: Final = 4
"""How often in a row a server may refuse to tell of the run before it counts as lost."""
LOOK_AT_LOGS: Final = 100
LATE_LOOKS: Final = 5
"""How often a log that is over is read again for nodes that it shows unfinished."""
OLD_LOG_S: Final = 15.0
"""For how long after a retry a log that reads just as before it counts as read from where the retry has not come to."""
MOST_ERRORS: Final = 100
"""Exceptions fetched from the server as objects for one run; of the nodes that fail after these its texts are shown."""
_OVER: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Elsewhere:
    """Stands where a driver has its executor: nothing runs here."""

    is_direct = False
    is_inline = False
    can_stop = False

    def run(self, call: Any) -> Any:
        raise AssertionError("nodes of a BATCH graph run on the server")


class Node(Protocol):
    """What is asked of a node here, besides what `run.driver.Task` and `run.batch_body.BatchNode` do."""

    _past_errors: Any

    @property
    def id(self) -> Any: ...

    @property
    def _decoder(self) -> Decoder | None: ...


class Outcome:
    """What the server told of a node's latest attempt."""

    __slots__ = ("error", "message", "task", "traceback", "type_name")

    def __init__(self, task: str | None, message: str = "", type_name: str = "", traceback: str = "") -> None:
        self.task = task
        self.message = message
        self.type_name = type_name
        self.traceback = traceback
        self.error: BaseException | None = None

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


class BatchDriver(Driver):
    """Follows one graph that a server runs. See the module's guarantees."""

    runs_here = False

    def __init__(self, graph: BatchGraph, node_type: type[Any], observer: Observer, max_workers: int, label: str):
        super().__init__(observer, Elsewhere(), max_workers, label)
        self._graph: Any = graph
        self._node_type = node_type
        self._mirror = Mirror(self.machine)
        held = HeldOutput(self.output, lambda: self.client, self._tasks_on_record, lambda: not self.machine.is_ended)
        self.output.watched = held.follow
        self.client: Client | None = None
        self.namespace = ""
        self.log_id: str | None = None
        self.is_batch = True
        """False for the record of a run that happens at its client: it can be watched, not steered."""
        self.stale_since = nan
        """Unix time of the last word of the server, while it does not answer; else NaN."""
        self._sending = threading.Lock()
        """Held while the graph is sent or the run is steered: one request of a person after another."""
        self._hearing = threading.Lock()
        """Held while words of the server are applied. Taken before the driver's lock, never after it."""
        self._after_number = 0
        self._is_over = False
        """The server has said that the run has ended."""
        self._is_end_told = False
        self._held: Word | None = None
        """A word that would end the graph before the server has said that the run is over: it may try again."""
        self._outcomes: dict[int, Outcome] = {}
        self._past_tasks: dict[tuple[int, int], str] = {}
        """Executions of attempts that others followed, by node and attempt."""
        self._indices: dict[str, int] = {}
        self._said: list[tuple[int, int, str, float]] = []
        """Lines for the output of nodes: added when no lock is held, since views listen."""
        self._errors: dict[str, BaseException] = {}
        """What attempts raised, by their tasks."""
        self._following = False
        self._is_detached = False
        self._nudge = threading.Event()
        self._heard = time.time()
        self._changed_at = time.monotonic()
        self._late = 0
        self._round = 0
        """How many requests to stop or to retry the run the server has acknowledged."""
        self._even = 0
        """The latest round in which everything was heard that the server had said when it began."""
        self._log: TaskGraphLog | None = None
        """The last log that was heard, of a server that has no events."""
        self._old_log: tuple[LogFacts, float] | None = None
        """What a log from before the latest retry says, and until when one like it is ignored."""

    # --- starting -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Upload the graph and have it run. Once: later calls do nothing.

        Raises:
            ServerNeeded: There is no server.
            NotPicklable, TypeError, ValueError: A node cannot be sent; it is named, and nothing was.
            ServerError, ServerUnreachable: The server does not take the graph.
        """
        with self._sending:
            if self.machine.is_started or self.machine.cancel_asked:
                return
            if not self.tasks:
                self._request(lambda at: Start(at))
                return
            self._upload()
            self._request(lambda at: Start(at))
        self._follow_on()

    def _upload(self) -> None:
        from ..wire import client as wire_client

        graph = self._graph
        client = wire_client.current()
        is_ours = client.is_ours()
        namespace = graph._namespace = graph._namespace or client.namespace("run_job")
        body = graph_body(graph, self.machine, self.tasks, self._node_type, client, namespace)  # type: ignore[arg-type]
        graph_id = client.create_batch_graph(namespace, body)
        try:
            log_id = client.submit_batch_graph(namespace, graph_id)
        except ServerUnreachable:
            # Whether it runs is not known, and asking again could run it twice: the graph's id is ours alone.
            log_id = _run_of(client, namespace, graph_id)
        self._opened(client, namespace, log_id, is_ours)

    def _opened(self, client: Client, namespace: str, log_id: str, is_ours: bool) -> None:
        import uuid

        self.client, self.namespace, self.log_id = client, namespace, log_id
        self.executor.can_stop = is_ours and self.is_batch
        self._indices = {str(task.id): index for index, task in enumerate(self.tasks)}  # type: ignore[attr-defined]
        self._graph.server_graph_uuid = uuid.UUID(log_id)

    def attach(self, client: Client, namespace: str, log: TaskGraphLog) -> None:
        """Follow a run that is on record; returns when everything that the server knows of it is known here.

        Raises:
            ServerError, ServerUnreachable: The server does not tell.
        """
        assert log.uuid is not None
        self._opened(client, namespace, log.uuid, client.is_ours())
        began = _time_of(log.start_time) or _time_of(log.created_at) or self.now()
        self._request(lambda at: Start(min(at, began)))
        self._look_until_even()
        self._follow_on()

    # --- requests -------------------------------------------------------------------------------------------

    def cancel(self, nodes: Sequence[int] | None) -> int:
        """As `Driver.cancel`, once the server has acknowledged it.

        Raises:
            RuntimeError: The run belongs to another process, or the server cannot cancel single nodes.
            ServerError, ServerUnreachable: The server does not take it; nothing was changed.
        """
        if self.log_id is None:
            return super().cancel(nodes)
        with self._sending:
            if self.machine.is_ended and self._is_over:
                return 0
            client = self._steered("cancel")
            before = self._counts()
            if nodes is None:
                client.control(self.namespace, self.log_id, "stop")
                self._begin_round()
                self._look_quietly()
                with self._hearing:
                    if not self._is_even(client):
                        self._mirror.cancelled_here()
                    self._request(lambda at: Cancel(None, at))
            else:
                waiting = [node for node in nodes if self.machine.status[node] == NOT_STARTED]
                if not waiting:
                    return 0
                if not client.is_ours():
                    raise RuntimeError(f"{client.url} cannot cancel single nodes; `dag.cancel()` stops the run.")
                client.control(self.namespace, self.log_id, "stop", self._ids(waiting))
                self._look_quietly()
            after = self._counts()
        self._follow_on()
        return before[NOT_STARTED] - after[NOT_STARTED]

    def stop(self, nodes: Sequence[int]) -> int:
        """As `Driver.stop`, on our own server.

        Raises:
            ServerError, ServerUnreachable: The server does not take it.
        """
        if self.log_id is None or not self.executor.can_stop:
            return 0
        client = self._steered("stop")
        running = [node for node in nodes if self.machine.status[node] == RUNNING]
        if not running:
            return 0
        client.control(self.namespace, self.log_id, "stop", self._ids(running))
        return sum(type(one) is Abort for one in self._request(lambda at: Stop(tuple(running), at)))

    def retry(self, nodes: Sequence[int], descendants: bool = False) -> int:
        """As `Driver.retry`, by the server. One that is not ours knows only to retry everything that failed.

        Raises:
            RuntimeError: The run belongs to another process, or with ``descendants`` something below runs.
            ServerError, ServerUnreachable: The server does not take it; nothing was changed.
        """
        if self.log_id is None:
            return super().retry(nodes, descendants)
        with self._sending:
            client = self._steered("retry")
            bad = self._with_status(FAILED, CANCELLED)
            if descendants:
                self._refuse_completed(nodes)
            wanted = [node for node in nodes if node in set(bad)]
            if not wanted:
                return 0
            before, revision = self._counts(), self.machine.revision
            is_partial = set(wanted) != set(bad) and client.is_ours()
            if not is_partial:
                wanted = bad
            if not self._has_events(client):
                self._look_quietly()
            is_taken = self._retry_there(client, self._ids(wanted) if is_partial else None)
            if is_taken:
                self._begin_round(is_retry=True)
            self._look_quietly()
            with self._hearing:
                if is_taken and not self._is_even(client):
                    self._put_back(wanted, revision)
            after = self._counts()
        self._follow_on()
        return max(0, after[NOT_STARTED] + after[RUNNING] - before[NOT_STARTED] - before[RUNNING])

    def _retry_there(self, client: Client, ids: list[str] | None) -> bool:
        """False if there is nothing to retry at the server, which is yet to be heard of here."""
        assert self.log_id is not None
        try:
            client.control(self.namespace, self.log_id, "retry", ids)
        except ServerError as error:
            if error.http_status != 409:
                raise
            _log.debug("somebody else was faster: %s", error)
            return False
        return True

    def _begin_round(self, *, is_retry: bool = False) -> None:
        with self._hearing:
            self._round += 1
            if is_retry:
                self._is_over = False
                self._late = 0
                self._changed_at = time.monotonic()
                self._old_log = (facts_of(self._log), self._changed_at + OLD_LOG_S) if self._log is not None else None

    def _is_even(self, client: Client) -> bool:
        """Whether all is known here that the server had said when it acknowledged our last request. Logs never tell."""
        return self._even == self._round and self._has_events(client)

    def _refuse_completed(self, nodes: Sequence[int]) -> None:
        with self.lock:
            machine = self.machine
            done = [node for node in machine.graph.descendants(nodes) if machine.status[node] in (COMPLETED, RUNNING)]
        if done:
            raise RuntimeError(
                f"cannot run node {self.tasks[done[0]].name!r} again: a server keeps what is Completed, and waits for "
                "what runs. Retry what failed, or run the graph anew."
            )

    def _put_back(self, nodes: list[int], revision: int) -> None:
        """What the server was asked to run again and has said nothing of since goes back to Not Started.

        What it has told of may have run and failed again already.
        """
        told = set(self.machine.changes[revision:])
        left = [node for node in nodes if node not in told and self.machine.status[node] in (FAILED, CANCELLED)]
        if left:
            self._mirror.retried_here(self._request(lambda at: Retry(tuple(left), False, at)))

    def _ids(self, nodes: Sequence[int]) -> list[str]:
        return [str(self.tasks[node].id) for node in nodes]  # type: ignore[attr-defined]

    def _steered(self, what: str) -> Client:
        if not self.is_batch:
            raise RuntimeError(
                f"{self.label}: this is the record of a run that happens in the process that started it; {what} it "
                "there. Runs of BATCH graphs can be steered from everywhere."
            )
        assert self.client is not None
        if self.client.is_embedded and not isnan(self.stale_since):
            self._reconnect()
        return self.client

    def _counts(self) -> list[int]:
        with self.lock:
            return list(self.machine.counts)

    def _with_status(self, *codes: int) -> list[int]:
        with self.lock:
            return [index for index, code in enumerate(self.machine.status) if code in codes]

    # --- following ------------------------------------------------------------------------------------------

    def _follow_on(self) -> None:
        """See to it that somebody follows, while there is something to follow."""
        with self.lock:
            if self._following or self.log_id is None or (self._is_over and self.machine.is_ended):
                return
            self._following = True
            self._is_detached = False
        self._nudge.clear()
        _followed.add(self)
        try:
            threads.start(self._follow, f"dag-{self.label}-follow")
        except RuntimeError:
            with self.lock:
                self._following = False
            raise

    def detach(self) -> None:
        """Stop following; the run goes on. Whoever waits for the graph follows it again."""
        self._is_detached = True
        self._nudge.set()

    def _follow(self) -> None:
        lost = refused = 0
        while True:
            with self.lock:
                # 1. a retry makes the run go on; 2. it sees somebody follow and leaves; 3. we end. Both look under
                # the lock, so 1 comes before this look or finds nobody following.
                if self._is_detached or (self._is_over and self.machine.is_ended):
                    self._following = False
                    return
            try:
                pause = self._look(LONG_POLL_S)
                lost = refused = 0
            except Exception as error:  # whatever it is, who waits for the graph must hear of it in the end
                is_refusal = not isinstance(error, ServerUnreachable) and not _is_passing(error)
                lost, refused = lost + 1, refused + is_refusal
                self._set_stale(self._heard if isnan(self.stale_since) else self.stale_since)
                if refused >= REFUSALS:
                    _log.warning("the run of %s cannot be followed any more: %s", self.label, error)
                    self._give_up(error)
                    continue
                level = logging.WARNING if lost == 1 else logging.DEBUG
                _log.log(level, "no word of the run of %s, which goes on; asking again: %s", self.label, error)
                self._reconnect()
                pause = min(FIRST_RECONNECT_S * 1.6 ** min(lost - 1, 16), LONGEST_RECONNECT_S)
            if pause:
                self._nudge.wait(pause)

    def _reconnect(self) -> None:
        """The embedded server may have ended and be another one now, over the same records."""
        from ..wire import client as wire_client

        client = self.client
        if client is None or not client.is_embedded:
            return
        try:
            self.client = wire_client.current()
        except Exception as error:
            _log.debug("the embedded server cannot be had: %s", error)

    def _look(self, wait: float) -> float:
        """Ask the server once, and apply what it says. Returns for how long there is nothing to ask."""
        client, log_id = self.client, self.log_id
        assert client is not None
        assert log_id is not None
        asked_in = self._round
        if self._has_events(client):
            page = client.run_events(log_id, self._after_number, wait)
            self._hear_events(page, asked_in)
            return 0.0
        self._hear_log(client.log(self.namespace, log_id), asked_in)
        if wait and not self._is_over and not self.is_batch and client.is_ours():
            self._nudge.wait(FIRST_POLL_S)
            if not self._is_detached:  # the record of a run at its client: when it has changed it is read again
                self._after_number = client.run_events(log_id, self._after_number, wait).last
            return 0.0
        quiet = time.monotonic() - self._changed_at
        return min(max(FIRST_POLL_S, quiet * QUIET_SHARE), LONGEST_POLL_S)

    def _look_until_even(self) -> None:
        client = self.client
        assert client is not None
        assert self.log_id is not None
        if not self._has_events(client):
            self._look(0)
            return
        while True:
            asked_in = self._round
            page = client.run_events(self.log_id, self._after_number)
            self._hear_events(page, asked_in)
            if not page.more:
                return

    def _has_events(self, client: Client) -> bool:
        return self.is_batch and client.is_ours()

    def _look_quietly(self) -> None:
        """After a request: its effect is known here when the call returns. If that fails the follower comes later."""
        try:
            self._look_until_even()
        except Exception as error:
            _log.debug("no look after a request: %s", error)

    def _set_stale(self, since: float) -> None:
        was, self.stale_since = self.stale_since, since
        if isnan(was) != isnan(since):
            self._after()

    # --- what our own server says ---------------------------------------------------------------------------

    def _hear_events(self, page: RunEvents, asked_in: int) -> None:
        with self._hearing:
            # 1. a page says that the run is over; 2. somebody has it retried; 3. the page is looked at: it is old.
            is_all = not page.more and page.last >= self._after_number and asked_in == self._round
            is_done = page.done and is_all
            fresh = [event for event in page.events if event.number > self._after_number]
            self._fetch_errors(fresh)
            with self.lock:
                for event in fresh:
                    self._hear_event(event)
                if is_all and self._even != self._round:
                    self._even = self._round
                    self._take(self._mirror.caught_up())
                    is_cancelled = is_done and status_of_log(page.status) is Status.CANCELLED
                    self._take(self._mirror.hear_run(is_done, is_cancelled, self.now()))
                if is_done:
                    self._is_over = True
                    self._hear_held()
                self._tell_end()
                garbage, self._garbage = self._garbage, []
                said, self._said = self._said, []
            del garbage
            for node, attempt, line, at in said:
                self.output.add(node, attempt, WARNING, line, at)
            if is_done and not self.machine.is_ended:
                self._end_what_is_left(page.status, None)
        self._heard_something(bool(fresh))

    def _hear_event(self, event: RunEvent) -> None:
        """The locks are held."""
        self._after_number = event.number
        status = status_of_log(event.status)
        is_even = self._even == self._round
        if event.kind == "run" and is_even:
            self._is_over = status in _OVER
        self._hear_held()
        at = _time_of(event.time) or self.now()
        if event.kind == "run":
            if is_even:
                self._take(self._mirror.hear_run(self._is_over, status is Status.CANCELLED, at))
            return
        index = self._indices.get(event.node or "")
        if index is None:
            return
        if event.kind == "attempt" and event.item is not None:
            self._item_failed(index, event, at)
        elif event.kind == "items" and event.total:
            task: Any = self.tasks[index]
            task._progress = (event.finished or 0, event.total)
        elif event.kind == "attempt":
            outcome = _outcome_in(event)
            self._remember(index, outcome)
            self._take(self._mirror.again(index, event.attempt or 0, at))
        elif event.kind == "node":
            word = self._word_of(event, index, at)
            if not self._is_over and self._mirror.would_end(word):
                self._held = word
            else:
                self._take(self._mirror.hear(word))

    def _item_failed(self, index: int, event: RunEvent, at: float) -> None:
        """An item of a stage will be tried again. It has attempts of its own: the stage runs on in the one it has."""
        said = (event.message or event.error_type or "it failed").split("\n")
        said[0] = f"[{event.item}] attempt {event.attempt} is followed by another one: {said[0]}"
        self._said += [(index, self.machine.attempt[index], line, at) for line in said]

    def _hear_held(self) -> None:
        """The word that would have ended the graph, now that another one has come. The locks are held."""
        if self._held is not None:
            held, self._held = self._held, None
            self._take(self._mirror.hear(held))

    def _word_of(self, event: RunEvent, index: int, at: float) -> Word:
        status = PARENT_FAILED if event.status == "PARENT_FAILED" else status_of_task(event.status).value
        if event.task is not None or status in (FAILED, CANCELLED, COMPLETED):
            outcome = self._outcomes[index] = _outcome_in(event)
            outcome.error = self._errors.get(event.task or "")
        return Word(index, status, event.attempt or 0, at, None, True)

    def _fetch_errors(self, events: Sequence[RunEvent]) -> None:
        """Exceptions as objects, before anybody hears of the failure; with no lock held that a view needs."""
        for event in events:
            if event.kind == "node" and event.status == "FAILED" and event.node in self._indices and event.task:
                self._exception(self._indices[event.node], _outcome_in(event))

    # --- what any server says -------------------------------------------------------------------------------

    def _hear_log(self, log: TaskGraphLog, asked_in: int) -> None:
        status = status_of_log(log.status)
        is_over = status in _OVER
        nodes = [(self._indices[one.client_node_uuid], one) for one in log.nodes or () if self._is_known(one)]
        before = self.machine.revision
        with self._hearing:
            if asked_in != self._round or self._is_old(log):
                return  # read before a request of ours: the next one tells how things are
            self._log = log
            for index, one in nodes:
                if status_of_task(one.status) is Status.FAILED and self.machine.status[index] != FAILED:
                    self._fetch_error_of(index, one)
            with self.lock:
                self._is_over = is_over
                order = {node: place for place, node in enumerate(self.machine.graph.topological_order())}
                words = sorted((self._word_in(index, one) for index, one in nodes), key=lambda one: order[one.node])
                at = _time_of(log.end_time) or self.now()
                for word in words:
                    self._take(self._mirror.hear(word))
                self._take(self._mirror.hear_run(is_over, status is Status.CANCELLED, at))
                self._tell_end()
                garbage, self._garbage = self._garbage, []
            del garbage
            if is_over and not self.machine.is_ended:
                # A log may be read between two of its rows; what is still open after some looks stays so.
                self._late += 1
                if self._late >= LATE_LOOKS or status is Status.CANCELLED:
                    self._end_what_is_left(str(log.status), None)
        self._heard_something(self.machine.revision != before)

    def _is_old(self, log: TaskGraphLog) -> bool:
        """True if it is the log from before our retry, read from where that has not come to yet."""
        if self._old_log is None:
            return False
        facts, until = self._old_log
        if time.monotonic() >= until:
            self._old_log = None  # whoever acknowledged the retry has not done it
            return False
        return facts_of(log) == facts

    def _is_known(self, one: TaskGraphNodeMetadata) -> bool:
        return one.client_node_uuid in self._indices

    def _word_in(self, index: int, one: TaskGraphNodeMetadata) -> Word:
        executions = one.executions or ()
        last = executions[-1] if executions else None
        status = status_of_task(one.status)
        if one.status == "UNKNOWN" and one.run_location == "client":
            status = Status.NOT_STARTED  # its process has said nothing of it
        began = _time_of(last.start_time) if last is not None else None
        ended = _time_of(last.finish_time) if last is not None else None
        if last is not None:
            known = self._outcomes.get(index)
            if known is None or known.task != last.id:
                self._outcomes[index] = Outcome(last.id, last.status_message or one.status_message or "")
        at = ended if ended is not None and status is not Status.RUNNING else began
        return Word(index, status.value, len(executions), at if at is not None else self.now(), began)

    def _fetch_error_of(self, index: int, one: TaskGraphNodeMetadata) -> None:
        last = one.executions[-1] if one.executions else None
        known = self._outcomes.get(index)
        if last is not None and known is not None and known.task == last.id and known.error is not None:
            return
        message = (last.status_message if last is not None else None) or one.status_message or ""
        outcome = Outcome(None if last is None else last.id, message)
        outcome.error = self._exception(index, outcome)
        self._outcomes[index] = outcome

    # --- outcomes -------------------------------------------------------------------------------------------

    def _exception(self, index: int, outcome: Outcome) -> BaseException:
        """What the node raised, from the server; in the server's words where it does not have it."""
        name = self.tasks[index].name
        if outcome.task is None:
            return outcome.as_error(name)
        found = self._errors.get(outcome.task)
        if found is None:
            few = len(self._errors) < MOST_ERRORS
            found = self._errors[outcome.task] = self._fetched(name, outcome) if few else outcome.as_error(name)
        return found

    def _fetched(self, name: str, outcome: Outcome) -> BaseException:
        from ..wire import codec

        assert outcome.task is not None
        client = self.client
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

    def _take(self, commands: list[Command]) -> None:
        """Put commands where they belong, outcomes first. The lock is held."""
        for command in commands:
            if type(command) is Run:
                continue
            if type(command) is Ended:
                if self.log_id is not None and not self._is_over:
                    continue
                self._is_end_told = True
            elif type(command) is Changed:
                if command.status == NOT_STARTED:
                    self._is_end_told = False
                    self._put_away(command.node)
                else:
                    self._settle(command.node, command.status)
            super()._take([command])

    def _put_away(self, node: int) -> None:
        """The node will run again: its execution is one of the past."""
        outcome = self._outcomes.get(node)
        kept = self.machine.past.get(node)
        if outcome is not None and outcome.task is not None and kept:
            self._past_tasks.setdefault((node, kept[-1][1]), outcome.task)

    def _settle(self, node: int, status: int) -> None:
        task: Any = self.tasks[node]
        outcome = self._outcomes.get(node)
        if status == COMPLETED:
            task._accept(self._result_of(task, outcome))
        elif status == FAILED:
            error = outcome.error if outcome is not None else None
            task._reject(error or (outcome or Outcome(None)).as_error(task.name))
        elif status == CANCELLED and not isnan(self.machine.started[node]):
            task._reject(StoppedError(f"node {task.name!r} was stopped while it ran"))

    def _result_of(self, task: Any, outcome: Outcome | None) -> RemoteResult:
        import uuid

        assert self.client is not None
        task_id = None if outcome is None or outcome.task is None else uuid.UUID(outcome.task)
        return RemoteResult(self.client, task_id, task._decoder, task_id is not None)

    def _remember(self, node: int, outcome: Outcome) -> None:
        """Of an attempt that another follows: for the story of the node, never for its outcome."""
        task: Any = self.tasks[node]
        attempt = self.machine.attempt[node]
        task._past_errors = {**task._past_errors, attempt: outcome.as_error(task.name)}
        if outcome.task is not None:
            self._past_tasks[node, attempt] = outcome.task

    def _tasks_on_record(self) -> list[Task]:
        """The attempts that the server knows of."""
        client, log_id = self.client, self.log_id
        if client is None or log_id is None:
            return []
        if not self._has_events(client):
            return tasks_of(client.log(self.namespace, log_id), indices_of(self.tasks))
        return [self._attempt_of(one) for one in client.run_tasks(log_id).tasks if one.node in self._indices]

    def _attempt_of(self, one: RunTask) -> Task:
        node = self._indices[one.node]
        # An item counts its own attempts; what it prints belongs to the attempt that its stage is at.
        attempt = one.attempt if one.item is None else self.machine.attempt[node]
        return Task(node, attempt, one.task, is_over(one.status), one.item, not one.printed)

    def items_of(self, node: int) -> list[tuple[int, str]]:
        """The latest attempt at each item of a stage that has begun, by item. Asks the server, which is ours."""
        assert self.client is not None
        assert self.log_id is not None
        wanted = str(self.tasks[node].id)  # type: ignore[attr-defined]
        tasks = self.client.run_tasks(self.log_id).tasks
        return sorted({one.item: one.task for one in tasks if one.node == wanted and one.item is not None}.items())

    def task_of(self, node: int, attempt: int | None = None) -> str | None:
        """Id of the execution on the server of an attempt, or of the latest one that is known."""
        if attempt is not None and attempt != self.machine.attempt[node]:
            return self._past_tasks.get((node, attempt))
        outcome = self._outcomes.get(node)
        return None if outcome is None else outcome.task

    # --- the end --------------------------------------------------------------------------------------------

    def _tell_end(self) -> None:
        """The lock is held."""
        if self._is_over and self.machine.is_ended and not self._is_end_told:
            self._take([Ended(self.machine.graph_status.value)])

    def _end_what_is_left(self, status: str, error: BaseException | None) -> None:
        """The run is over at the server, or out of reach for good, and nodes are open here."""
        cancelled = status_of_log(status) is Status.CANCELLED
        with self.lock:
            self._is_over = True
            for node, commands in self._mirror.give_up(self.now(), cancelled, error is not None):
                if node >= 0 and error is not None:
                    self._outcomes.setdefault(node, Outcome(None)).error = error
                elif node >= 0:
                    outcome = self._outcomes.setdefault(node, Outcome(None))
                    outcome.message = outcome.message or f"the run ended as {status} on the server before this node did"
                self._take(commands)
            self._tell_end()
            garbage, self._garbage = self._garbage, []
        del garbage
        self._after()

    def _give_up(self, error: Exception) -> None:
        with self._hearing:
            self._end_what_is_left("failed", error)

    def _heard_something(self, is_new: bool) -> None:
        self._heard = time.time()
        self._set_stale(nan)
        if is_new:
            self._changed_at = time.monotonic()
            self._after()

    # --- what the driver's own machinery needs --------------------------------------------------------------

    def _after(self) -> None:
        self._ready.clear()  # nothing is ready here: it is the server that runs nodes
        super()._after()

    def _wait(self, subject: int, is_over: Callable[[], bool], timeout: float | None) -> bool:
        self._refuse_in_fork()
        self._follow_on()
        return super()._wait(subject, is_over, timeout)

    def run(self) -> RunInfo:
        return self._told(super().run())

    def patch(self, since: int) -> Patch:
        patch = super().patch(since)
        return dataclasses.replace(patch, run=self._told(patch.run))

    def _told(self, run: RunInfo) -> RunInfo:
        return dataclasses.replace(run, stale_since=self.stale_since, is_record=not self.is_batch)


def _run_of(client: Client, namespace: str, graph_id: str) -> str:
    """The run of a graph that was submitted, or not, when the connection broke; submits it if it was not."""
    page = client.logs(namespace, per_page=LOOK_AT_LOGS)
    for log in page.task_graph_logs or ():
        if log.task_graph_id == graph_id and log.uuid is not None:
            return log.uuid
    return client.submit_batch_graph(namespace, graph_id)


def _outcome_in(event: RunEvent) -> Outcome:
    return Outcome(event.task, event.message or "", event.error_type or "", event.traceback or "")


def _is_passing(error: BaseException) -> bool:
    """True of a refusal that another try may not meet."""
    return isinstance(error, ServerError) and (error.http_status >= 500 or error.http_status in (408, 413, 429))


LogFacts = tuple[Any, ...]


def facts_of(log: TaskGraphLog) -> LogFacts:
    """What cannot be the same in a log once the run has gone on."""
    nodes = log.nodes or ()
    return log.status, log.end_time, tuple((one.status, len(one.executions or ())) for one in nodes)


def _time_of(text: str | None) -> float | None:
    """Unix time of an ISO 8601 text; UTC where it names no zone."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError:
        return None
    return (found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)).timestamp()


_followed: weakref.WeakSet[BatchDriver] = weakref.WeakSet()


def detach_all() -> None:
    """Stop following all runs; they go on at their servers."""
    for driver in list(_followed):
        driver.detach()


def _after_fork() -> None:
    for driver in list(_followed):
        driver._following = False
        driver._sending, driver._hearing = threading.Lock(), threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["LONG_POLL_S", "BatchDriver", "detach_all"]
