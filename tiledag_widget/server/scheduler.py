"""Runs tasks in worker processes, one at a time in each; knows nothing of HTTP and nothing of SQL.

**Guarantees**

- `submit`, `stop` and `close` may be called from any thread; `submit` never waits for a task.
- A task asked for again (same graph and node, or same request id) is joined while it runs, answered from the records
  when it has completed, and run as a new attempt when it has failed.
- A future is done only after the end of its task is on disk.
- A task that runs longer than its time, or uses more memory than its limit, is killed, and only that one.
- Nothing that a worker sends or writes is ever unpickled here: its reply is JSON in a file, its result a file.

**Threads**: `tiledag-task-N`, up to `slots`, started as needed, ended by `close()`; `tiledag-aside`, one for each order
beside the slots, of which as many run at once as there are slots, ended with it; `tiledag-limits`, while there are
running tasks, ended by `close()`.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from ..errors import WorkerDied
from ..run.workers import End, Outcome, ProcessWorkers, Worker
from ..wire import pickles
from . import output
from . import worker as worker_side
from .store import Store, Task, TaskEnd

__all__ = ["MEMORY_LIMITS", "Done", "Order", "Scheduler"]

MEMORY_LIMITS = {"standard": 2 << 30, "large": 8 << 30}
"""Bytes of resident memory that a worker and its children may use, by resource class."""

LOOK_EVERY_S = 0.5
IDLE_WORKER_S = 60.0

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, and what is recorded of it."""

    namespace: str
    username: str
    name: str | None
    type: str
    job: Mapping[str, Any]
    details: Mapping[str, Any]
    timeout: float | None
    memory_limit: int
    stored: bool
    graph: str | None = None
    node: str | None = None
    request: str | None = None
    id: str | None = None
    """Of the task, where whoever orders it has recorded it already."""
    aside: Path | None = None
    """For what is nobody's task, the folder for its files: it is not on record, and does not wait for a slot."""

    @property
    def key(self) -> Key | None:
        """What makes a second request the same as a first one."""
        if self.graph is not None and self.node is not None:
            return "node", self.graph, self.node
        return ("request", self.request) if self.request is not None else None


@dataclass(frozen=True, slots=True)
class Done:
    """How a task ended. `result` is the file of its value, of its exception if it failed."""

    task: str
    status: str
    message: str | None
    mime: str | None
    error_type: str | None
    traceback: str | None
    result: Path


@dataclass(frozen=True, slots=True)
class _Early:
    """Why a task was ended by us."""

    status: str
    kind: str
    message: str


@dataclass(slots=True)
class _Running:
    """A task from its request to its end; what changes in it is guarded by the scheduler's lock."""

    id: str
    order: Order
    future: Future[Done]
    folder: Path
    early: _Early | None = None
    worker: Worker | None = None
    began: float = 0.0
    most_memory: int = 0
    ended: bool = False

    def is_run_by(self, worker: Worker) -> bool:
        return self.worker is worker


_STOPPED = _Early("CANCELLED", "StoppedError", "It was stopped.")


class Scheduler:
    """Runs the tasks of one server."""

    def __init__(self, store: Store, *, slots: int, workers: ProcessWorkers | None = None) -> None:
        self._store = store
        self.slots = self._slots = slots
        self.workers = self._workers = workers or ProcessWorkers(idle_seconds=IDLE_WORKER_S)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._queue: queue.SimpleQueue[_Running | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._free = 0
        self._waiting = 0
        self._aside: set[threading.Thread] = set()
        self._aside_slots = threading.Semaphore(slots)
        self._by_key: dict[Key, _Running] = {}
        self._by_id: dict[str, _Running] = {}
        self._limits: threading.Thread | None = None
        self._next_look = math.inf
        self._closed = False

    # --- asking ----------------------------------------------------------------------------------------------

    def submit(self, order: Order) -> Future[Done]:
        """The end of the task, which may be one that was asked for before.

        Raises:
            StoreError: nothing can be recorded.
        """
        task = order.id or str(uuid.uuid4())
        future: Future[Done] = Future()
        future.set_running_or_notify_cancel()  # nobody who waits may cancel it for the others
        running = _Running(task, order, future, self._store.folder_of(task) if not order.aside else order.aside / task)
        key = order.key
        with self._lock:
            if self._closed:
                raise RuntimeError("The server is ending.")
            if key is not None:
                if key in self._by_key:
                    return self._by_key[key].future
                self._by_key[key] = running
        # Only now may the records be looked at: two requests that both found nothing would both run it.
        try:
            before = self._completed_before(order)
            if before is None:
                self._enqueue(running) if order.aside is None else self._start_aside(running)
        except BaseException:
            with self._lock:
                self._forget(running)
            raise
        if before is not None:
            with self._lock:
                self._forget(running)
            future.set_result(self.done(before))
        return future

    def _completed_before(self, order: Order) -> Task | None:
        if order.graph is not None and order.node is not None:
            found = self._store.latest_of_node(order.graph, order.node)
        elif order.request is not None:
            found = self._store.latest_of_request(order.request)
        else:
            return None
        return found if found is not None and found.status == "COMPLETED" else None

    def _enqueue(self, running: _Running) -> None:
        order = running.order
        self._store.add_task(
            id=running.id,
            namespace=order.namespace,
            username=order.username,
            name=order.name,
            type=order.type,
            graph=order.graph,
            node=order.node,
            request=order.request,
            stored=order.stored,
            details=order.details,
        )
        with self._lock:
            self._by_id[running.id] = running
            self._waiting += 1
            if self._waiting > self._free and len(self._threads) < self._slots:
                name = f"tiledag-task-{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                self._threads.append(thread)
                self._free += 1
                thread.start()
            self._queue.put(running)

    def _start_aside(self, running: _Running) -> None:
        thread = threading.Thread(target=self._serve_aside, args=(running,), name="tiledag-aside", daemon=True)
        with self._lock:
            self._by_id[running.id] = running
            self._aside.add(thread)
        thread.start()

    def _serve_aside(self, running: _Running) -> None:
        with self._aside_slots:
            self._run(running)
        with self._lock:
            self._aside.discard(threading.current_thread())

    def done(self, task: Task) -> Done:
        """The end of a task in the records."""
        folder = self._store.folder_of(task.id)
        return Done(
            task.id, task.status, task.status_message, task.mime, task.error_type, task.traceback, folder / "result"
        )

    def stop(self, task: str) -> bool:
        """Ends a task, waiting or running; False when there is no such task now."""
        with self._lock:
            running = self._by_id.get(task)
            if running is None or running.ended:
                return False
            self._end_early(running, _STOPPED)
            return True

    def stop_of(self, graph: str) -> None:
        """Ends all tasks of a run, waiting or running."""
        with self._lock:
            for running in list(self._by_id.values()):
                if running.order.graph == graph and not running.ended:
                    self._end_early(running, _STOPPED)

    def has_any_of(self, graph: str) -> bool:
        """Whether a task of this run waits or runs."""
        with self._lock:
            return any(running.order.graph == graph for running in self._by_id.values())

    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        with self._lock:
            return not self._by_id

    def prepare(self, function: Callable[..., None] = worker_side.warm_up, *args: Any) -> bool:
        """Runs one of our own functions in a worker and waits for it; what it returns is not looked at.

        With no arguments it leaves a worker ready, so that the first task need not wait for one.
        """
        try:
            worker = self._workers.lease()
        except WorkerDied:
            return False
        name = function.__name__
        outcome = worker.call(name, pickles.dumps_call(name, function, args, {}))
        self._workers.release(worker)
        return outcome.end is End.VALUE

    # --- running ---------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            running = self._queue.get()
            if running is None:
                return
            with self._lock:
                self._waiting -= 1
                self._free -= 1
            try:
                self._run(running)
            finally:
                with self._lock:
                    self._free += 1

    def _run(self, running: _Running) -> None:
        try:
            done, memory = self._carried_out(running)
            if running.order.aside is None:
                # The worker's next task does not wait for the disk; who asked for this one does.
                written = self._record_end(running, done, memory)
                written.add_done_callback(lambda _: self._acknowledge(running, done, written.exception()))
                return
        except BaseException as error:  # ours, or the store's: whoever waits must hear of it
            self._acknowledge(running, None, error)
            return
        self._acknowledge(running, done, None)

    def _acknowledge(self, running: _Running, done: Done | None, error: BaseException | None) -> None:
        """Tells whoever waits; called in the thread that has written the end, and must not wait there."""
        with self._lock:
            self._forget(running)
        if done is not None and error is None:
            running.future.set_result(done)
        else:
            running.future.set_exception(error or RuntimeError("a task ended without a word"))

    def _record_end(self, running: _Running, done: Done, memory: int | None) -> Future[int]:
        end = TaskEnd(
            running.id,
            done.status,
            done.message,
            done.mime,
            done.error_type,
            done.traceback,
            time.monotonic() - running.began if running.began else 0.0,
            memory,
            _size_in(running.folder),
        )
        return self._store.task_ended(end)

    def _forget(self, running: _Running) -> None:
        running.ended = True
        self._by_id.pop(running.id, None)
        key = running.order.key
        if key is not None and self._by_key.get(key) is running:
            del self._by_key[key]

    def _carried_out(self, running: _Running) -> tuple[Done, int | None]:
        before = running.early
        if before is not None:
            return self._failed(running, before), None
        try:
            running.folder.mkdir(parents=True, exist_ok=True)
            worker = self._workers.lease()
        except OSError as error:
            words = f"The server's folder cannot be used: {error}"
            return self._failed(running, _Early("FAILED", "OSError", words)), None
        except WorkerDied as error:
            return self._failed(running, _Early("FAILED", "WorkerDied", str(error))), None
        if running.order.aside is None:
            self._store.task_started(running.id, running.order.graph)
        name = running.order.name or running.id
        try:
            job = json.dumps({**running.order.job, "folder": str(running.folder), "name": name})
            parcel = pickles.dumps_call(name, worker_side.run_job, (job,), {})
            with self._lock:
                running.worker = worker
                running.began = time.monotonic()
                if running.early is not before:  # between the look above and here
                    worker.kill()
                self._watch_limits(running)
            outcome = worker.call(name, parcel)
            reply = _reply_in(running.folder) if outcome.end is End.VALUE else None
            if reply is None:
                worker.kill()  # who knows what the function has done to the process: no other task may get it
        finally:
            with self._lock:
                running.worker = None
            self._workers.release(worker)
        return self._done_by(running, outcome, reply), running.most_memory or None

    def _done_by(self, running: _Running, outcome: Outcome, reply: Mapping[str, Any] | None) -> Done:
        if outcome.end is End.KILLED:
            return self._failed(running, running.early or _STOPPED)
        if outcome.end is End.DIED:
            return self._failed(running, _Early("FAILED", "WorkerDied", str(outcome.exception())))
        if reply is None:
            text = f"Task {running.order.name or running.id!r}: the worker left no reply; its disk may be full."
            return self._failed(running, _Early("FAILED", "WorkerDied", text))
        status = "COMPLETED" if reply.get("ok") is True else "FAILED"
        message, mime = _text_in(reply, "message"), _text_in(reply, "mime")
        kind, trace = _text_in(reply, "error_type"), _text_in(reply, "traceback")
        return Done(running.id, status, message, mime, kind, trace, running.folder / "result")

    def _failed(self, running: _Running, why: _Early) -> Done:
        return Done(running.id, why.status, why.message, None, why.kind, None, running.folder / "result")

    # --- limits ----------------------------------------------------------------------------------------------

    def _watch_limits(self, running: _Running) -> None:
        """Sees to it that somebody looks at a task that begins now; called with the lock held."""
        if self._limits is None:
            self._limits = threading.Thread(target=self._keep_limits, name="tiledag-limits", daemon=True)
            self._limits.start()
        # Waking the thread for each of many short tasks would cost more than they do.
        timeout = running.order.timeout
        first = min(LOOK_EVERY_S, timeout if timeout is not None else LOOK_EVERY_S)
        if running.began + first < self._next_look:
            self._changed.notify()

    def _keep_limits(self) -> None:
        with self._lock:
            while not self._closed:
                moment = time.monotonic()
                running = [task for task in self._by_id.values() if task.worker is not None]
                for task in running:
                    timeout = task.order.timeout
                    if timeout is not None and moment - task.began > timeout:
                        words = f"It took longer than its timeout of {timeout:g} s and was ended."
                        self._end_early(task, _Early("FAILED", "TimeoutError", words))
                # A task that has just begun is looked at next time.
                old = [task for task in running if moment - task.began > LOOK_EVERY_S / 2]
                looked_at = [(task, task.worker, task.worker.pid) for task in old if task.worker is not None]
                self._lock.release()
                try:
                    used = [(task, worker, _resident_bytes(pid)) for task, worker, pid in looked_at]
                    for task, _, _ in looked_at:
                        output.keep_below(task.folder / "output")
                finally:
                    self._lock.acquire()
                for task, worker, size in used:
                    if task.is_run_by(worker):
                        self._check_memory(task, size)
                # Others may have begun while the lock was free.
                running = [task for task in self._by_id.values() if task.worker is not None]
                wait = min([LOOK_EVERY_S, *(_time_left(task, moment) for task in running)]) if running else None
                self._next_look = math.inf if wait is None else time.monotonic() + wait
                self._changed.wait(wait)

    def _check_memory(self, task: _Running, used: int) -> None:
        task.most_memory = max(task.most_memory, used)
        limit = task.order.memory_limit
        if used > limit:
            words = (
                f"It used {used / 2**30:.1f} GiB of memory, more than the {limit / 2**30:.1f} GiB of its "
                "resource class, and was ended."
            )
            self._end_early(task, _Early("FAILED", "MemoryError", words))

    def _end_early(self, running: _Running, why: _Early) -> None:
        if running.early is None:
            running.early = why
        if running.worker is not None:
            running.worker.kill()

    def close(self) -> None:
        """Ends everything that runs. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for running in self._by_id.values():
                self._end_early(running, _Early("CANCELLED", "StoppedError", "The server ended."))
            self._changed.notify_all()
            threads = list(self._threads)
            aside = list(self._aside)
            limits = self._limits
        for _ in threads:
            self._queue.put(None)
        for thread in (*threads, *aside):
            thread.join(5)
        if limits is not None:
            limits.join(5)
        self._workers.shutdown(deadline=1)


def _time_left(task: _Running, moment: float) -> float:
    timeout = task.order.timeout
    return LOOK_EVERY_S if timeout is None else max(0.05, task.began + timeout - moment)


def _resident_bytes(pid: int) -> int:
    """Of a process and its descendants; 0 when it has gone."""
    if not os.path.exists(f"/proc/{os.getpid()}/task/{os.getpid()}/children"):
        return _resident_bytes_by_psutil(pid)
    total, pending = 0, [pid]
    while pending:
        process = pending.pop()
        try:
            with open(f"/proc/{process}/statm", "rb") as file:
                total += int(file.read().split()[1]) * _PAGE
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/children", "rb") as file:
                    pending += map(int, file.read().split())
        except (OSError, IndexError):
            continue  # it has gone meanwhile
    return total


_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def _resident_bytes_by_psutil(pid: int) -> int:
    """Slower: it looks at all processes of the machine to find the children."""
    import psutil

    total = 0
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def _size_in(folder: Path) -> int:
    """Bytes of the result and the output, which is cut first."""
    output.keep_below(folder / "output")
    total = 0
    for name in ("result", "output"):
        try:
            total += os.stat(folder / name).st_size
        except OSError:
            continue
    return total


def _reply_in(folder: Path) -> dict[str, Any] | None:
    """What the worker says of its task; user code ran in that process, so nothing in it is relied on."""
    try:
        with open(folder / "reply.json", "rb") as file:
            reply = json.loads(file.read(1 << 20))
        os.unlink(folder / "reply.json")
    except (OSError, ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _text_in(reply: Mapping[str, Any], key: str) -> str | None:
    value = reply.get(key)
    return value if isinstance(value, str) else None
