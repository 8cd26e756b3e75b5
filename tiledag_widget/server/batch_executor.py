"""Where the tasks of batch graphs run: the seam behind which another set of workers can stand.

An executor takes a `Work`, runs it once and answers. It decides nothing, retries nothing and writes no records. Values
never pass through it: a job names files of the store by path (or what else its executor can read), and leaves its own
result in the folder of its task.

**Contract**, kept by every executor:

- `run` returns at once. `began` is called at most once, then `ended` exactly once, whatever happens, from any thread.
- After `kill`, the task ends soon: with status CANCELLED if it was still at work, else as it had ended already.
- A worker that dies is an end with ``is_system``. Nothing is run twice.
- `ended` COMPLETED means: ``folder/result`` holds the value, of type ``mime``. FAILED with a ``mime``: the exception.
- `close` ends everything; each task that was at work is answered or never will be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from ..run.workers import ProcessWorkers
from .scheduler import Done, Order, Scheduler
from .store import Store, TaskEnd

__all__ = ["Ended", "Executor", "PoolExecutor", "Work"]

Ended = Callable[[TaskEnd], None]

SYSTEM_FAILURES = frozenset({"WorkerDied"})


@dataclass(frozen=True, slots=True)
class Work:
    """One task to run.

    Attributes:
        task: Its id, recorded already.
        job: What `worker.run_job` is told, without the folder.
        folder: Where its result, output and reply go.
        timeout: Seconds it may take.
        memory_limit: Bytes it may use.
    """

    task: str
    name: str
    job: Mapping[str, Any]
    folder: Path
    timeout: float
    memory_limit: int


class Executor(Protocol):
    """Runs tasks somewhere."""

    @property
    def slots(self) -> int:
        """How many run at once."""

    def run(self, work: Work, began: Callable[[str], None], ended: Ended) -> None:
        """Takes up a task; see the contract."""

    def kill(self, task: str) -> None:
        """Ends a task, waiting or running. Nothing happens if it has ended."""

    def close(self) -> None:
        """Ends everything. May be called twice."""


class PoolExecutor:
    """Runs tasks in worker processes of this machine, by a `Scheduler` that reports here what it would record."""

    def __init__(self, store: Store, *, slots: int, workers: ProcessWorkers | None = None) -> None:
        self.slots = slots
        self._reports = _Reports(store)
        self._scheduler = Scheduler(cast("Store", self._reports), slots=slots, workers=workers)

    def run(self, work: Work, began: Callable[[str], None], ended: Ended) -> None:
        """Takes up a task; see the contract."""
        order = Order(
            namespace="",
            username="",
            name=work.name,
            type="BATCH_UDF",
            job=work.job,
            details={},
            timeout=work.timeout,
            memory_limit=work.memory_limit,
            stored=True,
            id=work.task,
        )
        self._reports.listeners[work.task] = began, ended

        def broken(future: Future[Done]) -> None:
            error = future.exception()
            if error is not None:
                self._reports.end(TaskEnd(work.task, "FAILED", f"{type(error).__name__}: {error}", is_system=True))

        try:
            self._scheduler.submit(order).add_done_callback(broken)
        except RuntimeError:  # it is closed: nobody waits for an answer
            self._reports.listeners.pop(work.task, None)

    def kill(self, task: str) -> None:
        """Ends a task, waiting or running."""
        self._scheduler.stop(task)

    def close(self) -> None:
        """Ends everything. May be called twice."""
        self._reports.listeners.clear()
        self._scheduler.close()


class _Reports:
    """Stands where a `Scheduler` has its records: what it would write is told to whoever gave the task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.listeners: dict[str, tuple[Callable[[str], None], Ended]] = {}
        self._written: Future[int] = Future()
        self._written.set_result(1)

    def folder_of(self, task: str) -> Path:
        return self._store.folder_of(task)

    def add_task(self, **_: Any) -> None:
        pass

    def task_started(self, task: str, graph: str | None) -> None:
        listener = self.listeners.get(task)
        if listener is not None:
            listener[0](task)

    def task_ended(self, end: TaskEnd) -> Future[int]:
        is_ours = end.status == "FAILED" and end.mime is None
        self.end(
            replace(
                end,
                is_system=is_ours and end.error_type in SYSTEM_FAILURES,
                by_limit=is_ours and end.error_type in ("TimeoutError", "MemoryError"),
            )
        )
        return self._written

    def end(self, end: TaskEnd) -> None:
        listener = self.listeners.pop(end.task, None)
        if listener is not None:
            listener[1](end)
