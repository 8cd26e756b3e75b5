"""What runs in a dask worker: one task, in a worker process that this one leases, and what ends it.

A task's folder is the server's, by the same path; or one of this machine's own, for which the files came with the task
and go back with its end. Then dask would run the task again by itself if this worker died with them. So a note is left
at the scheduler, which forgets it with the task: a second run ends at once, as one whose worker died.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from .batch_executor import PoolExecutor, Work
from .batch_store import TaskEnd

__all__ = ["TOPIC", "UNSEEN", "end_all_of", "far_key", "kill_there", "run_far", "run_there"]

TOPIC: Final = "tiledag"
UNSEEN: Final = "unseen"
"""What a worker answers that does not see the data folder."""


class _Folders:
    """What a `PoolExecutor` asks of a store, where the folders are named by the orders."""

    def __init__(self) -> None:
        self.of_task: dict[str, Path] = {}
        self.store_of: dict[str, str] = {}
        """The data folder of the server that each task is for."""

    def folder_of(self, task: str) -> Path:
        return self.of_task[task]


_pool_lock = threading.Lock()
_pool: tuple[_Folders, PoolExecutor] | None = None


def _pool_here() -> tuple[_Folders, PoolExecutor]:
    """The worker processes of this dask worker, one for each of its threads at most."""
    global _pool
    with _pool_lock:
        if _pool is None:
            from distributed import get_worker

            folders: Any = _Folders()
            _pool = folders, PoolExecutor(folders, slots=max(1, get_worker().state.nthreads))
        return _pool


def run_there(text: str) -> str | None:
    """Run one task on a dask worker to its end, which is written to its folder. Raises nothing of the task's.

    Returns:
        `UNSEEN` where that folder cannot be seen, and nothing was done.
    """
    order = json.loads(text)
    folder, task = Path(order["folder"]), order["task"]
    if not folder.is_dir():
        return UNSEEN
    if (folder / "end.json").exists():
        return None  # dask runs again what it has lost the (empty) result of
    try:
        os.close(os.open(folder / "begun", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        _write_end(folder, task, _died_there(order))
    else:
        _write_end(folder, task, _run_in(order, folder))
    return None


def _run_in(order: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Run a task in a folder of this dask worker; its end, as the fields of a `TaskEnd`."""
    return asdict(_refusal(order) or _run_here(order, folder))


def _died_there(order: Mapping[str, Any]) -> dict[str, Any]:
    """The end of a task that has begun before, at a worker of which nothing was heard since."""
    text = f"Node {order['name']!r}: its dask worker died."
    return asdict(TaskEnd(order["task"], "FAILED", text, error_type="WorkerDied", is_system=True))


def _refusal(order: Mapping[str, Any]) -> TaskEnd | None:
    """Why this worker cannot run the task; None if it can."""
    here = list(sys.version_info[:2])
    if order["python"] == here:
        return None
    words = "Node {!r}: the server has Python {}.{} and the dask worker {}.{}; functions travel between equal ones."
    text = words.format(order["name"], *order["python"], *here)
    return TaskEnd(order["task"], "FAILED", text, error_type="VersionsDiffer", is_system=True)


def _run_here(order: Mapping[str, Any], folder: Path) -> TaskEnd:
    from distributed import get_worker

    worker = get_worker()
    folders, pool = _pool_here()
    task = order["task"]
    ends: queue.SimpleQueue[TaskEnd] = queue.SimpleQueue()
    folders.of_task[task], folders.store_of[task] = folder, order["store"]
    work = Work(task, order["name"], order["job"], folder, order["timeout"], order["memory_limit"])
    try:
        worker.log_event(TOPIC, {"task": task, "worker": worker.address})
        pool.run(work, lambda _: None, ends.put)
        return ends.get()
    finally:
        folders.of_task.pop(task, None)
        folders.store_of.pop(task, None)


def _write_end(folder: Path, task: str, end: Mapping[str, Any]) -> None:
    part = folder / "end.part"
    part.write_text(json.dumps({**end, "task": task}))
    os.replace(part, folder / "end.json")


def kill_there(task: str) -> None:
    """End a task that runs here."""
    if _pool is not None:
        _pool[1].kill(task)


def end_all_of(store: str) -> None:
    """End what runs here for a server that is no more."""
    if _pool is None:
        return
    for task, its_store in list(_pool[0].store_of.items()):
        if its_store == store:
            _pool[1].kill(task)


def far_key(task: str) -> str:
    """What dask calls a task whose files travel with it."""
    return f"tiledag-far-{task}"


def run_far(text: str, contents: list[bytes]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Run one task with the files that came with it: its end, and the files that it left."""
    from distributed import get_client, get_worker

    order = json.loads(text)
    client: Any = get_client()
    note = [far_key(order["task"])]
    if client.get_metadata(note, default=None) is not None:
        return _died_there(order), {}
    client.set_metadata(note, get_worker().address)
    with TemporaryDirectory(prefix="tiledag-") as scratch:
        place = Path(scratch)
        for number, content in enumerate(contents):
            (place / str(number)).write_bytes(content)
        job = dict(order["job"])
        if "outputs" in job:
            job["outputs"] = {
                name: [str(place / str(number)), *rest] for name, (number, *rest) in job["outputs"].items()
            }
        if "parts" in job:
            job["parts"] = [[str(place / str(number)), *rest] for number, *rest in job["parts"]]
        folder = place / "task"
        folder.mkdir()
        end = _run_in({**order, "job": job}, folder)
        return end, {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}
