"""Runs the tasks of batch graphs on a dask.distributed cluster: one that is given, or one of our own on this machine.

What travels through the cluster is the order of a task, a few hundred bytes, and nothing comes back through it. Inputs
and results are files in the server's data folder, which every worker reads and writes by the same path (a shared folder
where the workers are other machines). So results go from worker to worker and never through the server. Workers that do
not see that folder are served too, the slow way: `dask_far`.

A dask worker does not call functions itself: it leases a worker process, as the server does on its own machine. That
keeps a crash, a leak or an endless loop of a function away from the cluster, and lets a task be stopped and limited.

**Guarantees**

- Those of `batch_executor`. A task whose dask worker died has failed by the system's fault; dask would run it again by
  itself, and is kept from that by a mark that each attempt leaves when it begins.
- A cluster that cannot be reached, has no workers, or has died ends each task that waits for it, with the reason, after
  at most `PATIENCE_S`; the next task tries to reach it again.

**Threads**: ``tiledag-dask``, from the first task to `close`; those of the dask client.

dask's own protocol trusts everybody in the cluster: whoever can reach its scheduler can run code. Therefore one that is
not on this machine is used over ``tls://`` only, and a cluster that is started here listens on loopback.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import TiledagError
from ..wire.transport import is_loopback
from . import dask_far
from .batch_executor import Ended, Work
from .batch_store import TaskEnd
from .dask_worker import TOPIC, UNSEEN, end_all_of, far_key, kill_there, run_far, run_there
from .store import Store

__all__ = ["CannotUseDask", "DaskExecutor"]

_log = logging.getLogger(__name__)

PATIENCE_S: Final = 20.0
CONNECT_S: Final = 5.0
FAR_S: Final = 300.0
"""How long the files of a task may be on their way from a worker that does not see the data folder."""
LOOK_EVERY_S: Final = 0.5


class CannotUseDask(TiledagError):
    """The cluster that was asked for cannot be used; the text says why and what to do."""


@dataclass(slots=True)
class _Open:
    """A task that the cluster has."""

    work: Work
    began: Callable[[str], None]
    ended: Ended
    at: float
    future: Any = None
    worker: str | None = None
    is_killed: bool = False
    is_far: bool = False
    """Its files travel with it."""


class DaskExecutor:
    """Implements `batch_executor.Executor`. All methods are safe from any thread."""

    def __init__(self, store: Store, *, scheduler: str | None = None, workers: int = 2, patience: float = PATIENCE_S):
        try:
            import cryptography  # noqa: F401  # for the certificates of a cluster of our own
            import distributed  # noqa: F401
        except ImportError as error:
            raise CannotUseDask(f"dask is not installed ({error}): pip install 'tiledag-widget[dask]'") from error
        if scheduler is not None:
            _check_address(scheduler)
        self._folder = store.folder
        self._scheduler = scheduler
        self._workers = workers
        self._patience = patience
        self._slots = workers
        self._lock = threading.Lock()
        self._open: dict[str, _Open] = {}
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._client: Any = None
        self._cluster: Any = None
        self._alone_since: float | None = None
        self._refused_until = 0.0
        self._refused_why = ""
        self._is_far = False
        """A worker of this cluster does not see the data folder."""
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def slots(self) -> int:
        """How many tasks the cluster runs at once, as last seen."""
        return self._slots

    def run(self, work: Work, began: Callable[[str], None], ended: Ended) -> None:
        """Takes up a task; see the contract."""
        one = _Open(work, began, ended, time.monotonic())
        with self._lock:
            if self._closed:
                return
            self._open[work.task] = one
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="tiledag-dask", daemon=True)
                self._thread.start()
        self._inbox.put(lambda: self._submit(one))

    def kill(self, task: str) -> None:
        """Ends a task, waiting or running."""
        with self._lock:
            one = self._open.get(task)
            if one is None or one.is_killed:
                return
            one.is_killed = True
        self._inbox.put(lambda: self._kill(one))

    def close(self) -> None:
        """Ends everything. May be called twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            left = list(self._open.values())
            self._open.clear()
            thread = self._thread
        for one in left:
            self._inbox.put(lambda one=one: self._kill(one))  # type: ignore[misc]
        self._inbox.put(None)
        if thread is not None:
            thread.join(CONNECT_S * 2)

    # --- on our thread --------------------------------------------------------------------------------------

    def _serve(self) -> None:
        look_at = 0.0
        while True:
            try:
                message = self._inbox.get(timeout=LOOK_EVERY_S)
                if message is None:
                    break
                message()
            except queue.Empty:
                pass
            except Exception:  # ours, or dask's: the tasks it was about are ended by the look below
                _log.exception("a step of the dask engine failed")
            if time.monotonic() >= look_at:
                try:
                    self._look()
                except Exception:  # the next look is soon; without this thread every run would wait for ever
                    _log.exception("a look at the dask cluster failed")
                look_at = time.monotonic() + LOOK_EVERY_S
        self._disconnect()

    def _connected(self) -> Any:
        if self._client is not None and self._client.status in ("closing", "closed"):
            self._client = None  # its scheduler died, and it has given up looking for it
        if self._client is not None:
            return self._client
        import dask
        import distributed

        if time.monotonic() < self._refused_until:
            raise CannotUseDask(self._refused_why)
        # Our own retries decide what runs again; stealing could run a task at two places.
        dask.config.set(
            {
                "distributed.scheduler.work-stealing": False,
                "distributed.scheduler.allowed-failures": 0,
                "distributed.comm.timeouts.connect": f"{CONNECT_S:g}s",
            }
        )
        if self._scheduler is None and self._cluster is None:
            self._cluster = _cluster_here(self._workers)
        target = self._cluster if self._scheduler is None else self._scheduler
        make: Any = distributed.Client
        try:
            client = make(target, timeout=CONNECT_S, set_as_default=False, name="tiledag-server")
        except (OSError, TimeoutError) as error:
            self._refused_until = time.monotonic() + CONNECT_S
            self._refused_why = f"the dask scheduler at {self._where()} cannot be reached ({str(error) or 'no answer'})"
            raise CannotUseDask(self._refused_why) from error
        self._client = client
        self._is_far = False
        client.subscribe_topic(TOPIC, self._hear)
        client.run(end_all_of, str(self._folder), on_error="ignore")  # of a server that was killed
        self._alone_since = None
        return self._client

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        cluster, self._cluster = self._cluster, None
        for one in (client, cluster):
            if one is not None:
                try:
                    one.close(timeout=CONNECT_S)
                except Exception as error:
                    _log.debug("dask did not close: %s", error)

    def _submit(self, one: _Open) -> None:
        if not self._is_open(one):
            return
        if one.is_killed:
            self._finish(one, TaskEnd(one.work.task, "CANCELLED", "It was stopped.", error_type="StoppedError"))
            return
        order = {
            "task": one.work.task,
            "name": one.work.name,
            "job": dict(one.work.job),
            "folder": str(one.work.folder),
            "store": str(self._folder),
            "timeout": one.work.timeout,
            "memory_limit": one.work.memory_limit,
            "python": list(sys.version_info[:2]),
        }
        try:
            one.work.folder.mkdir(parents=True, exist_ok=True)
            client = self._connected()
            one.future = self._sent(client, one, order)
        except CannotUseDask as error:
            self._lost_cluster(str(error))
            return
        except Exception as error:
            self._finish(one, _died(one, f"dask does not take it: {type(error).__name__}: {error}"))
            return
        future = one.future
        future.add_done_callback(lambda _: self._inbox.put(lambda: self._done(one, future)))

    def _sent(self, client: Any, one: _Open, order: dict[str, Any]) -> Any:
        one.is_far = self._is_far
        if not one.is_far:
            return client.submit(run_there, json.dumps(order), key=f"tiledag-{one.work.task}", pure=False, retries=0)
        order, contents = dask_far.pack(order)
        inputs = client.scatter(contents, hash=False) if contents else []
        return client.submit(run_far, json.dumps(order), inputs, key=far_key(one.work.task), pure=False, retries=0)

    def _is_open(self, one: _Open) -> bool:
        with self._lock:
            return self._open.get(one.work.task) is one

    def _kill(self, one: _Open) -> None:
        if one.future is None:
            return
        if one.worker is None:
            one.future.cancel()
        elif self._client is not None:
            self._client.run(kill_there, one.work.task, workers=[one.worker], on_error="ignore")

    def _hear(self, event: Any) -> None:
        """A worker says that it has begun a task. On dask's thread."""
        told = event[1] if isinstance(event, tuple) else event
        if isinstance(told, Mapping):
            task, worker = str(told.get("task")), str(told.get("worker"))
            self._inbox.put(lambda: self._begun(task, worker))

    def _begun(self, task: str, worker: str) -> None:
        with self._lock:
            one = self._open.get(task)
        if one is None or one.worker is not None:
            return
        one.worker = worker
        one.began(task)
        if one.is_killed:
            self._kill(one)

    def _done(self, one: _Open, future: Any) -> None:
        """The future has ended; what came of the task is in its folder, or comes with it."""
        if not self._is_open(one) or one.future is not future:
            return
        status = future.status
        found = _end_in(one.work.folder)
        if found is None and status == "finished":
            try:
                came = future.result(timeout=FAR_S if one.is_far else CONNECT_S)
            except Exception as error:
                self._finish(one, _died(one, f"what it left cannot be had: {type(error).__name__}: {error}"))
                return
            if came == UNSEEN:
                self._go_far(one)
                return
            if one.is_far:
                found, files = came
                dask_far.unpack(files, one.work.folder)
        if found is not None and status == "finished":
            end = TaskEnd(**{**found, "task": one.work.task})
        elif one.is_killed and status == "cancelled":
            end = TaskEnd(one.work.task, "CANCELLED", "It was stopped.", error_type="StoppedError")
        elif status == "cancelled" or status == "lost":
            end = _died(one, f"the dask scheduler at {self._where()} lost the task")
        else:
            end = _died(one, _words_of(one.future))
        self._finish(one, end)

    def _go_far(self, one: _Open) -> None:
        if not self._is_far:
            _log.warning(
                "a dask worker does not see %s: files of tasks go through the server and back, which is slow for large "
                "results. Give the server a --data-dir that all workers share under the same path (docs/scale.md).",
                self._folder,
            )
        self._is_far = True
        one.future = None
        self._submit(one)

    def _finish(self, one: _Open, end: TaskEnd) -> None:
        with self._lock:
            if self._open.get(one.work.task) is not one:
                return
            del self._open[one.work.task]
        if one.worker is None and end.status == "COMPLETED":
            one.began(one.work.task)
        one.future = None  # dask forgets the task
        one.ended(end)

    # --- a cluster in trouble -------------------------------------------------------------------------------

    def _look(self) -> None:
        client = self._client
        if client is None:
            return
        is_there = client.status == "running"
        workers = client.scheduler_info(n_workers=-1).get("workers", {}) if is_there else {}
        if workers:
            self._slots = max(1, sum(int(one["nthreads"]) for one in workers.values()))
            self._alone_since = None
            return
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        with self._lock:
            waiting = list(self._open.values())
        since = max(self._alone_since, max((one.at for one in waiting), default=now) if is_there else 0.0)
        if waiting and now - since > self._patience:
            why = "has no workers" if is_there else "does not answer"
            self._lost_cluster(f"the dask scheduler at {self._where()} {why}")

    def _where(self) -> str:
        return self._scheduler or "this machine"

    def _lost_cluster(self, why: str) -> None:
        """End what waits for the cluster, and look for it anew when there is more."""
        _log.warning("dask: %s", why)
        with self._lock:
            lost = list(self._open.values())
        client, self._client = self._client, None
        if client is not None and client.status != "running":
            try:
                client.close(timeout=1)
            except Exception as error:
                _log.debug("dask did not close: %s", error)
        else:
            self._client = client
        for one in lost:
            if one.future is not None and self._client is not None:  # a client that was closed has cancelled its own
                try:
                    one.future.cancel()
                except Exception as error:
                    _log.debug("dask did not cancel %s: %s", one.work.task, error)
            self._finish(one, _died(one, f"{why}. Start it, or give its workers more time (docs/scale.md)"))


def _cluster_here(workers: int) -> Any:
    """A scheduler in this process and worker processes under nannies, on loopback, over TLS of its own."""
    import distributed

    make: Any = distributed.LocalCluster
    temporary: Any = distributed.Security.temporary
    return make(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        security=temporary(),
        silence_logs=logging.ERROR,
        memory_limit=0,  # tasks are limited one by one
    )


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or parts.port is None:
        raise CannotUseDask(f"{address!r} is no address of a dask scheduler: write tcp://HOST:PORT or tls://HOST:PORT.")
    if parts.scheme == "tcp" and not is_loopback(f"http://{parts.netloc}"):
        raise CannotUseDask(
            f"{address} is another machine: anybody on the way could run code on it. Use tls://, with the certificates "
            "in dask's configuration (distributed.comm.tls)."
        )


def _died(one: _Open, why: str) -> TaskEnd:
    words = f"Node {one.work.name!r}: {why}."
    return TaskEnd(one.work.task, "FAILED", words, error_type="WorkerDied", is_system=True)


def _words_of(future: Any) -> str:
    """Why dask could not run a task, in words for a person."""
    try:
        error = future.exception(timeout=1)
    except Exception as odd:
        error = odd
    if isinstance(error, ModuleNotFoundError):
        return f"dask workers lack a module: {error}. Install 'tiledag-widget[server,dask]' there too"
    kind = type(error).__name__
    return "its dask worker died" if kind == "KilledWorker" else f"dask could not run it: {kind}: {error}"


def _end_in(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / "end.json").read_text())
        (folder / "end.json").unlink()
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
