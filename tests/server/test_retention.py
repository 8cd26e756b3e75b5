"""What is forgotten, when, and what never is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget.server.retention import Retention
from tiledag_widget.server.store import Store, TaskEnd

DAY = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path)
    yield opened
    opened.close()


def ended_task(store: Store, *, size: int = 10, graph: str | None = None, stored: bool = True, **more: Any) -> str:
    task = str(uuid.uuid4())
    fields: dict[str, Any] = {
        "namespace": "me",
        "username": "me",
        "name": "t",
        "type": "GENERIC_UDF",
        "node": None,
        "request": None,
    }
    store.add_task(id=task, graph=graph, stored=stored, details={}, **fields).result()
    store.folder_of(task).mkdir(parents=True)
    (store.folder_of(task) / "result").write_bytes(b"r" * size)
    end = TaskEnd(task, "COMPLETED", mime="text/plain", seconds=1e-9, size=size)
    store.task_ended(replace(end, **more)).result()
    return task


def ended_log(store: Store) -> str:
    log = store.add_log("me", "me", "run", [])
    store.end_log(log.id, "succeeded")
    return log.id


def test_what_is_old_is_forgotten_with_its_files(store: Store) -> None:
    """A data folder that only grows fills the disk one day."""
    log = ended_log(store)
    task = ended_task(store, graph=log)
    later = Retention(store, wall=lambda: time.time() + 31 * DAY)

    assert Retention(store).prune().tasks == 0
    found = later.prune()

    assert (found.tasks, found.logs) == (1, 1)
    assert store.task(task) is None
    assert store.log(log) is None
    assert not store.folder_of(task).exists()


def test_beyond_the_limit_the_oldest_go_first(store: Store) -> None:
    """The newest results are those that somebody still looks at."""
    tasks = [ended_task(store, size=100) for _ in range(5)]

    found = Retention(store, most_bytes=250).prune()

    assert found.tasks == 3
    assert [store.task(task) is not None for task in tasks] == [False, False, False, True, True]


def test_the_newest_is_kept_even_if_it_alone_is_too_large(store: Store) -> None:
    """Else a result would vanish before it was fetched."""
    old, new = ended_task(store), ended_task(store, size=1000)

    Retention(store, most_bytes=100).prune()

    assert store.task(old) is None
    assert store.task(new) is not None


def test_results_live_as_long_as_their_log(store: Store) -> None:
    """A child that names a stored parameter may run days after its parent."""
    log = store.add_log("me", "me", "run", [])
    store.task_started("nobody", log.id).result()
    task = ended_task(store, graph=log.id)
    later = Retention(store, wall=lambda: time.time() + 31 * DAY)

    while_it_runs = later.prune().tasks
    store.end_log(log.id, "succeeded")
    afterwards = later.prune().tasks

    assert (while_it_runs, afterwards) == (0, 1)
    assert store.task(task) is None


def test_results_that_nobody_wanted_stored_go_after_a_while(store: Store) -> None:
    """They are kept only for a client whose reply was lost."""
    wanted, unwanted = ended_task(store), ended_task(store, stored=False)
    failed = ended_task(store, stored=False, status="FAILED")
    retention = Retention(store)

    assert retention.drop_unstored() == 0
    assert retention.drop_unstored(grace=-1) == 1

    there = [(store.folder_of(task) / "result").exists() for task in (wanted, unwanted, failed)]
    assert there == [True, False, True]


def test_a_sweep_looks_only_now_and_then(store: Store) -> None:
    """It is called every few seconds."""
    moment = [0.0]
    retention = Retention(store, days=0, wall=lambda: time.time() + 1, clock=lambda: moment[0])
    retention.sweep()
    first = ended_task(store)

    retention.sweep()
    kept = store.task(first) is not None
    moment[0] += 601
    retention.sweep()

    assert kept
    assert store.task(first) is None
