"""Fakes for tests of graphs: an executor that runs what you say when you say it, a lock that lies, random graphs.

>>> from tiledag_widget import DAG
>>> from tiledag_widget.testing import ManualExecutor
>>> with ManualExecutor() as executor:
...     dag = DAG(executor=executor)
...     one = dag.submit_local(lambda: 1, name="one")
...     dag.compute()
...     executor.run("one")
...     one.result()
1
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar

from .core import history
from .core.states import Status
from .dag import DAG, Node

__all__ = ["GraphPlan", "LyingLock", "ManualExecutor", "event_log", "random_graphs"]

T = TypeVar("T")
_PATIENCE_S: Final = 10.0


class ManualExecutor(Executor):
    """An executor that keeps every call until a test runs it, finishes it or fails it. Pass it as ``executor=``.

    Safe from any thread. Calls are named after their nodes.

    Args:
        max_workers: How many calls a graph hands over at once.
    """

    def __init__(self, max_workers: int = 1000) -> None:
        self._max_workers = max_workers
        self._changed = threading.Condition()
        self._waiting: list[tuple[str, Future[Any], Callable[[], Any]]] = []
        self._closed = False
        self.order: list[str] = []
        """Names of the calls that were run, in the order in which they began."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Keep the call. Raises RuntimeError after `shutdown`, as other executors do."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            name = str(getattr(getattr(fn, "_call", None), "name", None) or getattr(fn, "__name__", repr(fn)))
            self._waiting.append((name, future, lambda: fn(*args, **kwargs)))
            self._changed.notify_all()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``cancel_futures`` drop those that wait."""
        with self._changed:
            self._closed = True
            dropped = self._waiting if cancel_futures else []
            if cancel_futures:
                self._waiting = []
        for _, future, _ in dropped:
            future.cancel()
            future.set_running_or_notify_cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=True)

    @property
    def waiting(self) -> list[str]:
        """Names of the calls that wait, the oldest first."""
        with self._changed:
            return [name for name, _, _ in self._waiting]

    def wait_for(self, *names: str) -> None:
        """Wait until calls of these names are there.

        Raises:
            TimeoutError: They have not come within 10 s; the text says what has.
        """
        with self._changed:
            there = self._changed.wait_for(
                lambda: set(names) <= {name for name, _, _ in self._waiting}, timeout=_PATIENCE_S
            )
        if not there:
            raise TimeoutError(f"waited for {names}; here are {self.waiting}")

    def run(self, name: str | None = None) -> None:
        """Run a call on this thread, the oldest if no name is given, once it has come. Returns when it is over."""
        _, future, call = self._take(name)
        if not future.set_running_or_notify_cancel():
            return
        try:
            value = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def run_all(self) -> int:
        """Run calls until none waits; returns how many. What they make ready may come later: see `wait_for`."""
        count = 0
        while self.waiting:
            self.run()
            count += 1
        return count

    def break_call(self, error: BaseException, name: str | None = None) -> None:
        """End a call with an error of the executor's own, as a pool does whose worker died."""
        _, future, _ = self._take(name)
        if future.set_running_or_notify_cancel():
            future.set_exception(error)

    def cancel_call(self, name: str | None = None) -> None:
        """Cancel a call's future, as a user may who got hold of the executor's queue."""
        _, future, _ = self._take(name)
        future.cancel()
        future.set_running_or_notify_cancel()

    def _take(self, name: str | None) -> tuple[str, Future[Any], Callable[[], Any]]:
        if name is not None:
            self.wait_for(name)
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._waiting), timeout=_PATIENCE_S):
                raise TimeoutError("no call came")
            index = next(i for i, entry in enumerate(self._waiting) if name is None or entry[0] == name)
            taken = self._waiting.pop(index)
            self.order.append(taken[0])
            return taken


class LyingLock:
    """A lock that lets other threads in before it is taken and after it is released, where a plain one would not.

    Put in the place of ``threading.Lock`` of a module, it makes each window between two critical sections wide.

    Args:
        chance: Of a pause at each taking and each release.
        seed: Of the pauses.
    """

    def __init__(self, chance: float = 0.3, seed: int = 0) -> None:
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._chance = chance

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if blocking:
            self._pause()
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        self._lock.release()
        self._pause()

    def locked(self) -> bool:
        return self._lock.locked()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def _pause(self) -> None:
        if self._random.random() < self._chance:
            time.sleep(self._random.choice((0.0, 0.0, 0.00005)))


@dataclass(frozen=True, slots=True)
class GraphPlan:
    """A graph to be built: the parents of each node, all of lower number, and what befalls it.

    Attributes:
        seed: What it was drawn from.
        parents: Of each node.
        fails: Nodes whose functions raise.
    """

    seed: int
    parents: tuple[tuple[int, ...], ...]
    fails: frozenset[int]

    def __len__(self) -> int:
        return len(self.parents)

    def build(self, dag: DAG, function: Callable[..., Any]) -> list[Node[Any]]:
        """Add the nodes to ``dag``: node ``i`` is named ``str(i)`` and calls ``function(i, results of parents)``."""
        nodes: list[Node[Any]] = []
        for number, parents in enumerate(self.parents):
            nodes.append(dag.submit_local(function, number, [nodes[parent] for parent in parents], name=str(number)))
        return nodes

    def expected(self) -> list[Status]:
        """How each node ends when nobody interferes."""
        ends: list[Status] = []
        for number, parents in enumerate(self.parents):
            if any(ends[parent] is not Status.COMPLETED for parent in parents):
                ends.append(Status.PARENT_FAILED)
            else:
                ends.append(Status.FAILED if number in self.fails else Status.COMPLETED)
        return ends


def random_graphs(
    seeds: Iterable[int], *, most_nodes: int = 30, most_parents: int = 3, failing: float = 0.15
) -> Iterator[GraphPlan]:
    """One plan a seed; the same seed gives the same plan."""
    for seed in seeds:
        source = random.Random(seed)
        count = source.randint(1, most_nodes)
        yield GraphPlan(
            seed,
            tuple(
                tuple(sorted(source.sample(range(number), min(number, source.randint(0, most_parents)))))
                for number in range(count)
            ),
            frozenset(number for number in range(count) if source.random() < failing),
        )


def event_log(dag: DAG) -> str:
    """Everything that happened to a graph, as text that `tiledag_widget.core.history.read` takes back."""
    with dag._driver.lock:
        events = list(dag._driver.machine.history)
    return history.write(events)
