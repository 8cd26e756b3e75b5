"""The batch scheduler of a server: owns all runs that have not ended, and drives each by a `batch_run.Run`.

**Guarantees**

- `submit`, `stop`, `retry`, `watch` and `close` may be called from any thread. A run that was submitted goes on
  whatever happens to its client, and after every end of the server with the next start.
- The records are the truth: nothing is run, told or answered before what it rests on is on disk. If the records cannot
  be written, everything waits, and is tried again every half second.
- One run cannot hold up another: those with work take turns, and one that breaks is ended with the reason.
- At the start, what had not begun is run; what had left its whole reply counts; what was at work when the server died
  failed as the server's fault, and is run again if its rule allows or if it has none.

**Threads**: `tiledag-batch`, from `start()` to `close()`. It alone touches the runs. Executors, the store and requests
post messages to it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from ..errors import InvalidBody, TiledagError
from ..wire.batch_models import BatchGraph
from ..wire.models import from_json
from . import batch_store
from .batch_around import Around, left_behind
from .batch_executor import Executor
from .batch_plan import Plan, plan_of
from .batch_run import SERVER_ENDED, CannotPrepare, Run
from .batch_store import Changes, TaskEnd
from .store import LogNode, Store, StoreError

__all__ = ["Batch", "RunIsGone"]

_log = logging.getLogger(__name__)

WRITE_AGAIN_S = 0.5
MESSAGES_AT_ONCE = 1000
MOST_VERSIONS = 10_000
SERVER_ENDED_WORDS = "The server ended while this task ran."


class RunIsGone(TiledagError):
    """There is no such batch run."""


class Batch:
    """All batch runs of one server."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        *,
        user: str,
        memory_limits: Mapping[str, int],
        clock: Callable[[], float] | None = None,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._store = store
        self._executor = executor
        self._user = user
        self._memory_limits = memory_limits
        self._clock = clock or _steady_clock()
        self._around = Around(store, new_id or _random_id)
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._runs: dict[str, Run] = {}
        self._turns: deque[str] = deque()
        self._at_work: set[str] = set()
        self._touched: dict[str, None] = {}
        self._pending: dict[str, Changes] = {}
        self._after_write: list[Future[None]] = []
        self._is_writing = False
        self._write_again_at: float | None = None
        self._said_unwritten = False
        self._lock = threading.Lock()
        self._watchers: dict[str, list[Future[None]]] = {}
        self._enders: dict[str, list[Future[None]]] = {}
        self._versions: dict[str, int] = {}
        self._closed = False
        self._unstarted = 0
        self._thread = threading.Thread(target=self._serve, name="tiledag-batch", daemon=True)

    # --- from any thread -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Goes on with every run that has not ended."""
        self._unstarted += 1
        self._inbox.put(self._restore_all)
        self._thread.start()

    def check(self, graph: BatchGraph) -> Plan:
        """The plan of a graph.

        Raises:
            InvalidBody: Something in it does not fit.
        """
        return plan_of(graph, self._memory_limits)

    def submit(self, graph: str, namespace: str, body: str) -> str:
        """Begins a run of a graph that is on record; the id of its log.

        Raises:
            InvalidBody: The body does not fit.
            StoreError: It cannot be recorded.
        """
        plan = self.check(from_json(BatchGraph, json.loads(body)))
        deadline = self._clock() + plan.deadline
        nodes = [
            LogNode(one.id, one.name, tuple(plan.nodes[parent].id for parent in one.parents), "server")
            for one in plan.nodes
        ]
        with self._lock:
            self._unstarted += 1
        try:
            log = batch_store.add_run(
                self._store,
                graph=graph,
                body=body,
                namespace=namespace,
                created_by=self._user,
                name=plan.name,
                nodes=nodes,
                deadline=deadline,
            )
        except BaseException:
            with self._lock:
                self._unstarted -= 1
            raise
        self._inbox.put(partial(self._begin, log, plan, deadline))
        return log

    def stop(self, log: str, nodes: Sequence[str] | None = None) -> Future[None]:
        """Ends a run, or some of its nodes; the future is done when that is on record."""
        return self._ask(partial(self._stop, log, nodes))

    def end_of(self, log: str, asked: Future[None]) -> Future[None]:
        """Done when a run has ended of which something was asked; raises what `asked` raises."""
        ended: Future[None] = Future()
        with self._lock:
            self._enders.setdefault(log, []).append(ended)

        def done(future: Future[None]) -> None:
            error = future.exception()
            with self._lock:
                over = error is not None or log not in self._runs
                if over and ended in self._enders.get(log, ()):
                    self._enders[log].remove(ended)
            if error is not None:
                ended.set_exception(error)
            elif over:
                _resolve(ended)

        asked.add_done_callback(done)
        return ended

    def retry(self, log: str, nodes: Sequence[str] | None = None) -> Future[None]:
        """Runs again what failed or was cancelled; the future is done when that is on record.

        It raises `NothingToRetry`, `RunIsGone`, or InvalidBody for a node that is none.
        """
        return self._ask(partial(self._retry, log, nodes))

    def watch(self, log: str) -> Future[None]:
        """A future that is done when something of the run was written after this call."""
        future: Future[None] = Future()
        with self._lock:
            if self._closed:
                future.set_result(None)
            else:
                self._watchers.setdefault(log, []).append(future)
        return future

    def unwatch(self, log: str, future: Future[None]) -> None:
        """Nobody waits for this future any more."""
        with self._lock:
            waiting = self._watchers.get(log, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._watchers.pop(log, None)

    def record_changed(self, log: str) -> None:
        """The record of a run that happens at its client has changed: whoever watches it is told."""
        with self._lock:
            self._versions[log] = self._versions.get(log, 0) + 1
            if len(self._versions) > MOST_VERSIONS:  # whoever watches the others looks once more
                self._versions = {log: self._versions[log]}
        self._wake(log, is_over=False)

    def record_version(self, log: str) -> int:
        """A number that is another one after each change of such a record; 0 after a start of the server."""
        with self._lock:
            return self._versions.get(log, 0)

    def has(self, log: str) -> bool:
        """Whether this is a batch run that has not ended."""
        with self._lock:
            return log in self._runs

    def is_idle(self) -> bool:
        """Whether every run has ended."""
        with self._lock:
            return not self._runs and not self._unstarted

    def close(self) -> None:
        """Ends what runs, without a word in the records: the next start goes on. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            lists = [*self._watchers.values(), *self._enders.values()]
            waiting = [future for futures in lists for future in futures]
        self._inbox.put(None)
        if self._thread.ident is not None:
            self._thread.join(5)
        self._executor.close()
        for future in waiting:
            _resolve(future)

    def _ask(self, action: Callable[[], None]) -> Future[None]:
        future: Future[None] = Future()

        def carried_out() -> None:
            try:
                action()
            except Exception as error:  # an answer for whoever asked
                future.set_exception(error)
            else:
                self._after_write.append(future)

        with self._lock:
            if self._closed:
                raise StoreError("The server is ending.")
        self._inbox.put(carried_out)
        return future

    # --- the thread ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            messages = [self._next_message()]
            while not self._inbox.empty() and len(messages) < MESSAGES_AT_ONCE:
                messages.append(self._inbox.get())
            if None in messages:
                return
            self.turn([message for message in messages if message is not None])

    def turn(self, messages: Sequence[Callable[[], None]]) -> None:
        """One turn of the thread: takes in messages, does what it is time for, writes, hands out work."""
        for message in messages:
            try:
                message()
            except Exception:
                _log.exception("a message to the batch scheduler failed")
        self._tick()
        self._collect()
        self._write()
        self._hand_out()

    def _next_message(self) -> Callable[[], None] | None:
        moments = [timer for run in self._runs.values() if (timer := run.next_timer()) is not None]
        if self._write_again_at is not None:
            moments.append(self._write_again_at)
        wait = max(0.0, min(moments) - self._clock()) if moments else None
        try:
            return self._inbox.get(timeout=min(wait, 3600.0) if wait is not None else None)
        except queue.Empty:
            return _nothing

    def _tick(self) -> None:
        now = self._clock()
        for log, run in list(self._runs.items()):
            timer = run.next_timer()
            if timer is not None and timer <= now:
                self._do(log, lambda run=run: run.tick(now))  # type: ignore[misc]

    def _do(self, log: str, step: Callable[[], None]) -> None:
        """One step of a run; if it breaks, that run ends with the reason, and no other notices."""
        self._touched[log] = None
        try:
            step()
        except TiledagError as error:
            if isinstance(error, (RunIsGone, InvalidBody)) or type(error).__name__ == "NothingToRetry":
                raise
            self._broken(log, error)
        except Exception as error:
            self._broken(log, error)

    def _broken(self, log: str, error: Exception) -> None:
        _log.error("the batch run %s cannot go on", log, exc_info=error)
        run = self._runs.pop(log, None)
        self._touched.pop(log, None)
        self._pending.pop(log, None)
        if run is None:
            return
        for task in run.open_tasks():
            self._executor.kill(task)
        words = f"The server has a bug: {type(error).__name__}: {error}"
        try:
            self._store.write_later(lambda connection: batch_store.write_broken(connection, log, words))
        except StoreError:
            return
        self._wake(log, is_over=True)

    # --- what was asked --------------------------------------------------------------------------------------

    def _begin(self, log: str, plan: Plan, deadline: float) -> None:
        run = Run(plan, log, self._around, deadline=deadline)
        with self._lock:
            self._runs[log] = run
            self._unstarted -= 1
        self._turns.append(log)
        self._do(log, lambda: run.start(self._clock()))

    def _stop(self, log: str, nodes: Sequence[str] | None) -> None:
        run = self._runs.get(log)
        if run is None:
            if batch_store.run_row(self._store, log) is None:
                raise RunIsGone(f"There is no batch run {log}.")
            return
        places = None if nodes is None else _places(run.plan, nodes)
        self._do(log, lambda: run.stop(places, self._clock()))

    def _retry(self, log: str, nodes: Sequence[str] | None) -> None:
        run = self._runs.get(log) or self._restored(log)
        places = None if nodes is None else _places(run.plan, nodes)
        run.retry(places, self._clock())
        self._touched[log] = None
        if log not in self._runs:
            with self._lock:
                self._runs[log] = run
            self._turns.append(log)

    # --- coming back -----------------------------------------------------------------------------------------

    def _restore_all(self) -> None:
        try:
            for log in batch_store.active_runs(self._store):
                try:
                    self._restore(log)
                except Exception as error:
                    self._broken(log, error)
                    words = f"The run could not be taken up again: {type(error).__name__}: {error}"
                    self._store.write(partial(_write_broken, log=log, words=words))
        finally:
            with self._lock:
                self._unstarted -= 1

    def _restored(self, log: str) -> Run:
        row = batch_store.run_row(self._store, log)
        if row is None:
            raise RunIsGone(f"There is no batch run {log}.")
        plan = self.check(from_json(BatchGraph, json.loads(row.body)))
        history = batch_store.history_of(self._store, log)
        tasks = batch_store.tasks_of(self._store, log)
        return Run.restored(plan, row, history, tasks, batch_store.last_event(self._store, log), self._around)

    def _restore(self, log: str) -> None:
        run = self._restored(log)
        with self._lock:
            self._runs[log] = run
        self._turns.append(log)
        now = self._clock()
        if not run.machine.is_started and not run.machine.cancel_asked:
            self._do(log, lambda: run.start(now))
            return
        for task in run.open_tasks():
            self._do(log, partial(self._take_up, run, task, now))

    def _take_up(self, run: Run, task: str, now: float) -> None:
        begun, end = left_behind(self._store.folder_of(task), task)
        if not begun and not run.has_begun(task):
            run.resume(task, now)
            return
        run.began(task, now)
        lost = TaskEnd(task, "FAILED", SERVER_ENDED_WORDS, error_type=SERVER_ENDED, is_system=True)
        run.ended(end or lost, now)

    # --- writing ---------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        for log in self._touched:
            run = self._runs.get(log)
            if run is None:
                continue
            for task in run.kills:
                self._executor.kill(task)
            run.kills.clear()
            if run.changes:
                if log in self._pending:
                    self._pending[log].add(run.changes)
                else:
                    self._pending[log] = run.changes
                run.changes = Changes(log)
        self._touched.clear()

    def _write(self) -> None:
        if self._is_writing or (self._write_again_at is not None and self._write_again_at > self._clock()):
            return
        self._write_again_at = None
        if not self._pending:
            answers, self._after_write = self._after_write, []
            for future in answers:
                _resolve(future)
            return
        batch, self._pending = self._pending, {}
        answers, self._after_write = self._after_write, []

        def work(connection: sqlite3.Connection) -> None:
            for changes in batch.values():
                batch_store.write(connection, changes)

        try:
            written = self._store.write_later(work)
        except StoreError:  # it is closed; the next start goes on from what was written
            return
        self._is_writing = True
        written.add_done_callback(lambda future: self._inbox.put(partial(self._written, batch, answers, future)))

    def _written(self, batch: dict[str, Changes], answers: list[Future[None]], future: Future[None]) -> None:
        self._is_writing = False
        error = future.exception()
        if error is not None:
            self._keep_for_later(batch, answers, error)
            return
        self._said_unwritten = False
        for log, changes in batch.items():
            run = self._runs.get(log)
            if run is not None:
                run.written(changes)
            is_over = run is not None and run.is_over and not run.changes and log not in self._pending
            if is_over:
                with self._lock:
                    del self._runs[log]
            self._wake(log, is_over=is_over)
        for answer in answers:
            _resolve(answer)

    def _keep_for_later(self, batch: dict[str, Changes], answers: list[Future[None]], error: BaseException) -> None:
        if not self._said_unwritten:
            self._said_unwritten = True
            _log.error("batch runs wait until the server's records can be written: %s", error)
        for log, changes in self._pending.items():
            if log in batch:
                batch[log].add(changes)
            else:
                batch[log] = changes
        self._pending = batch
        self._after_write = answers + self._after_write
        self._write_again_at = self._clock() + WRITE_AGAIN_S

    def _wake(self, log: str, *, is_over: bool) -> None:
        with self._lock:
            waiting = self._watchers.pop(log, [])
            if is_over:
                waiting += self._enders.pop(log, [])
        for future in waiting:
            _resolve(future)

    # --- work ------------------------------------------------------------------------------------------------

    def _hand_out(self) -> None:
        """Gives executors what they can take, and a little more so that they never wait for the records."""
        most = 2 * self._executor.slots + 1
        idle = 0
        while self._turns and len(self._at_work) < most and idle < len(self._turns):
            log = self._turns.popleft()
            run = self._runs.get(log)
            if run is None:
                continue
            self._turns.append(log)
            task = run.next_task()
            if task is None:
                idle += 1
                continue
            idle = 0
            self._hand_over(log, run, task)

    def _hand_over(self, log: str, run: Run, task: str) -> None:
        self._at_work.add(task)
        began = partial(self._post, log, Run.began)
        ended = partial(self._post, log, Run.ended)
        try:
            work = run.work_of(task)
        except CannotPrepare as error:
            ended(TaskEnd(task, "FAILED", str(error), error_type="CannotPrepare"))
        except Exception as error:
            ended(TaskEnd(task, "FAILED", f"{type(error).__name__}: {error}", is_system=True))
        else:
            self._executor.run(work, began, ended)

    def _post(self, log: str, what: Callable[[Run, Any, float], None], told: Any) -> None:
        now = self._clock()

        def message() -> None:
            if isinstance(told, TaskEnd):
                self._at_work.discard(told.task)
            run = self._runs.get(log)
            if run is not None:
                self._do(log, lambda: what(run, told, now))

        self._inbox.put(message)


def _nothing() -> None:
    pass


def _resolve(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _write_broken(connection: sqlite3.Connection, *, log: str, words: str) -> None:
    batch_store.write_broken(connection, log, words)


def _places(plan: Plan, nodes: Sequence[str]) -> list[int]:
    unknown = [node for node in nodes if node.lower() not in plan.places]
    if unknown:
        raise InvalidBody(f"nodes names {unknown[0][:60]!r}, which is no node of this run", "nodes")
    return [plan.places[node.lower()] for node in nodes]


def _steady_clock() -> Callable[[], float]:
    """Seconds since 1970 that never jump, whatever happens to the clock on the wall."""
    offset = time.time() - time.monotonic()
    return lambda: time.monotonic() + offset


def _random_id() -> str:
    return str(uuid.UUID(bytes=os.urandom(16), version=4))
