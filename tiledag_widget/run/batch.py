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

**Threads**: that of its `run.batch_follow.Follower`.

It is longer than most modules: what is asked, heard and told shares two locks, and their order can be seen here.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from math import isnan, nan
from typing import TYPE_CHECKING, Any, Final

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
from ..errors import ServerError, ServerUnreachable
from ..wire.models import TaskGraphLog, TaskGraphNodeMetadata, status_of_log, status_of_task
from .batch_body import BatchGraph, by_name, graph_body, readers_in
from .batch_follow import LONG_POLL_S, Follower, detach_all
from .batch_log import LogReader, time_of, word_of
from .batch_outcomes import Outcome, Outcomes
from .driver import Driver
from .mirror import Mirror, Word
from .remote_output import HeldOutput, Task, indices_of, is_over, tasks_of
from .reports import Observer

if TYPE_CHECKING:
    from ..wire.batch_models import RunEvent, RunEvents, RunTask
    from ..wire.client import Client

_log = logging.getLogger("tiledag_widget.run")

FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 5.0
QUIET_SHARE: Final = 0.25
"""A server without events is asked again after this share of the time for which nothing has changed."""
LOOK_AT_LOGS: Final = 100
LATE_LOOKS: Final = 5
"""How often a log that is over is read again for nodes that it shows unfinished."""
_OVER: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Elsewhere:
    """Stands where a driver has its executor: nothing runs here."""

    is_direct = False
    is_inline = False
    can_stop = False

    def run(self, call: Any) -> Any:
        raise AssertionError("nodes of a BATCH graph run on the server")


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
        self._outcomes = Outcomes(self.tasks, self.machine, lambda: self.client)
        self._follower = Follower(self)
        self._indices: dict[str, int] = {}
        self._readers: dict[str, int] = {}
        """The server's nodes that read an array for one of ours. Where one fails, ours has."""
        self._said: list[tuple[int, int, str, float]] = []
        """Lines for the output of nodes: added when no lock is held, since views listen."""
        self._heard = time.time()
        self._changed_at = time.monotonic()
        self._late = 0
        self._round = 0
        """How many requests to stop or to retry the run the server has acknowledged."""
        self._even = 0
        """The latest round in which everything was heard that the server had said when it began."""
        self._logs = LogReader()

    # --- starting -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Upload the graph and have it run. Once: later calls do nothing. One that was cancelled before runs when a
        retry has taken the cancel back.

        Raises:
            ServerNeeded: There is no server.
            NotPicklable, TypeError, ValueError: A node cannot be sent; it is named, and nothing was.
            ServerError, ServerUnreachable: The server does not take the graph.
        """
        self._is_start_asked = True
        with self._sending:
            if self.machine.is_started or self.machine.cancel_asked:
                return
            if not self.tasks:
                self._request(lambda at: Start(at))
                return
            self._upload()
            self._request(lambda at: Start(at))
        self._follower.start()

    def _upload(self) -> None:
        from ..wire import client as wire_client

        graph = self._graph
        client = wire_client.current()
        is_ours = client.is_ours()
        namespace = graph._namespace = graph._namespace or client.namespace("run_job")
        body = graph_body(graph, self.machine, self.tasks, self._node_type, client, namespace)  # type: ignore[arg-type]
        for task in self.tasks:
            task.tell_wishes(client)  # type: ignore[attr-defined]
        try:
            graph_id = client.create_batch_graph(namespace, body)
        except ServerError as error:
            raise by_name(error, body) from None
        try:
            log_id = client.submit_batch_graph(namespace, graph_id)
        except ServerUnreachable:
            # Whether it runs is not known, and asking again could run it twice: the graph's id is ours alone.
            log_id = _run_of(client, namespace, graph_id)
        self._opened(client, namespace, log_id, is_ours)
        self._readers = {reader: self._indices[node] for reader, node in readers_in(body).items()}

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
        began = time_of(log.start_time) or time_of(log.created_at) or self.now()
        self._request(lambda at: Start(min(at, began)))
        self._look_until_even()
        self._follower.start()

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
        self._follower.start()
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
            is_taken = self._retry_there(client, self._ids(wanted, with_readers=True) if is_partial else None)
            if is_taken:
                self._begin_round(is_retry=True)
            self._look_quietly()
            with self._hearing:
                if is_taken and not self._is_even(client):
                    self._put_back(wanted, revision)
            after = self._counts()
        self._follower.start()
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
                self._logs.retry_begins()

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

    def _ids(self, nodes: Sequence[int], *, with_readers: bool = False) -> list[str]:
        wanted = set(nodes) if with_readers else set()
        found = [str(self.tasks[node].id) for node in nodes]  # type: ignore[attr-defined]
        return found + [reader for reader, node in self._readers.items() if node in wanted]

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

    def is_to_follow(self) -> bool:
        """Whether there may be more to hear. The lock is held."""
        return self.log_id is not None and not (self._is_over and self.machine.is_ended)

    def hear_nothing(self) -> None:
        """The server has not answered."""
        self._set_stale(self._heard if isnan(self.stale_since) else self.stale_since)
        self._reconnect()

    def leave_to_parent(self) -> None:
        """This is a forked child, which has none of the threads."""
        self._sending, self._hearing = threading.Lock(), threading.Lock()

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

    def look(self, wait: float) -> float:
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
            if self._follower.sleep(FIRST_POLL_S):  # the record of a run at its client: read again when it has changed
                self._after_number = client.run_events(log_id, self._after_number, wait).last
            return 0.0
        quiet = time.monotonic() - self._changed_at
        return min(max(FIRST_POLL_S, quiet * QUIET_SHARE), LONGEST_POLL_S)

    def _look_until_even(self) -> None:
        client = self.client
        assert client is not None
        assert self.log_id is not None
        if not self._has_events(client):
            self.look(0)
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
        at = time_of(event.time) or self.now()
        if event.kind == "run":
            if is_even:
                self._take(self._mirror.hear_run(self._is_over, status is Status.CANCELLED, at))
            return
        index = self._indices.get(event.node or "")
        if index is None:
            index = self._readers.get(event.node or "")
            if index is None or event.kind != "node" or event.status != "FAILED":
                return
            event = dataclasses.replace(event, attempt=0)  # ours has not been tried
        if event.kind == "attempt" and event.item is not None:
            self._item_failed(index, event, at)
        elif event.kind == "items" and event.total:
            task: Any = self.tasks[index]
            task._progress = (event.finished or 0, event.total)
        elif event.kind == "attempt":
            self._outcomes.remember(index, Outcome.of_event(event))
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
            self._outcomes.hear_event(index, event)
        return Word(index, status, event.attempt or 0, at, None, True)

    def _fetch_errors(self, events: Sequence[RunEvent]) -> None:
        """Exceptions as objects, before anybody hears of the failure; with no lock held that a view needs."""
        for event in events:
            if event.kind == "node" and event.status == "FAILED" and event.task:
                index = self._indices.get(event.node or "", self._readers.get(event.node or ""))
                if index is not None:
                    self._outcomes.fetch(index, Outcome.of_event(event))

    # --- what any server says -------------------------------------------------------------------------------

    def _hear_log(self, log: TaskGraphLog, asked_in: int) -> None:
        status = status_of_log(log.status)
        is_over = status in _OVER
        nodes = [(self._indices[one.client_node_uuid], one) for one in log.nodes or () if self._is_known(one)]
        unread = {self._readers[one.client_node_uuid]: one for one in log.nodes or () if self._is_unread(one)}
        nodes = [(index, unread.get(index, one)) for index, one in nodes]
        before = self.machine.revision
        with self._hearing:
            if asked_in != self._round or not self._logs.is_news(log):
                return  # read before a request of ours: the next one tells how things are
            for index, one in nodes:
                if status_of_task(one.status) is Status.FAILED and self.machine.status[index] != FAILED:
                    self._outcomes.hear_failure(index, one)
            with self.lock:
                self._is_over = is_over
                order = {node: place for place, node in enumerate(self.machine.graph.topological_order())}
                words = sorted((self._word_in(index, one) for index, one in nodes), key=lambda one: order[one.node])
                at = time_of(log.end_time) or self.now()
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

    def _is_known(self, one: TaskGraphNodeMetadata) -> bool:
        return one.client_node_uuid in self._indices

    def _is_unread(self, one: TaskGraphNodeMetadata) -> bool:
        return one.client_node_uuid in self._readers and status_of_task(one.status) is Status.FAILED

    def _word_in(self, index: int, one: TaskGraphNodeMetadata) -> Word:
        if one.executions:
            self._outcomes.hear_log(index, one)
        word = word_of(index, one, self.now)
        return dataclasses.replace(word, attempt=0) if one.client_node_uuid in self._readers else word

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
                    self._outcomes.put_away(command.node)
                else:
                    self._outcomes.settle(command.node, command.status)
            super()._take([command])

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
        return self._outcomes.task_of(node, attempt)

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
                if node >= 0:
                    words = f"the run ended as {status} on the server before this node did"
                    self._outcomes.lose(node, error, words)
                self._take(commands)
            self._tell_end()
            garbage, self._garbage = self._garbage, []
        del garbage
        self._after()

    def give_up(self, error: Exception) -> None:
        """The server does not tell of the run any more."""
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
        self._follower.start()
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


__all__ = ["LONG_POLL_S", "BatchDriver", "detach_all"]
