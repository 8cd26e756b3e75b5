"""Trial A3: the batch scheduler as a whole, in virtual time, with everything that can go wrong; one seed drives it all.

Real are the scheduler (`Batch`, `Run`, the machines), the SQL and the files; time, ids, workers and the moment at which
a write is done come from the seed. Messages are late, doubled and out of order, workers and whole executors die, the
records are busy, the server is killed and comes back.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.server.batching import ITEM, BatchBody, LogRules
from tiledag_widget.core.machine import GraphMachine
from tiledag_widget.server import batch_store, store
from tiledag_widget.server.batch import Batch
from tiledag_widget.server.batch_executor import Ended, Work
from tiledag_widget.server.batch_routes import batch_log_nodes
from tiledag_widget.server.batch_run import NothingToRetry
from tiledag_widget.server.batch_store import TaskEnd
from tiledag_widget.server.store import Store, StoreError
from tiledag_widget.wire import models

SEEDS = 500
BOTH_WAYS = 40
RARE = 0.25
LIMITS = {"standard": 1 << 30}


class World:
    """Everything outside of the scheduler, driven by one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.seed = seed
        self.now = 1_700_000_000.0
        self.folder = folder
        self.life = 0
        """Counts the lives of the server: what was posted in an earlier one is never delivered."""
        self._due: list[tuple[float, int, int, Callable[[], None]]] = []
        self._count = 0
        self.ids = 0
        self.wild = self.draw.random() < 0.8
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        for script in store._MIGRATIONS:
            self.connection.executescript(script)

    def later(self, most: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self.now + self.draw.random() * most, self._count, self.life, what))

    def chance(self, probability: float = RARE) -> bool:
        return self.wild and self.draw.random() < probability

    def new_id(self) -> str:
        self.ids += 1
        return str(uuid.UUID(int=self.ids, version=4))

    def step(self, timer: float | None) -> bool:
        """Lets the next thing happen; False if nothing ever will."""
        while self._due and self._due[0][2] != self.life:
            heapq.heappop(self._due)
        if not self._due and timer is None:
            return False
        if not self._due or (timer is not None and timer < self._due[0][0]):
            self.now = max(self.now, cast("float", timer))
            return True
        moment, _, _, what = heapq.heappop(self._due)
        self.now = max(self.now, moment)
        what()
        return True


class SlowStore:
    """The records in memory, by the real SQL; a write is done some time later, or refused, or lost with the server."""

    def __init__(self, world: World) -> None:
        self._world = world

    def folder_of(self, task: str) -> Path:
        return self._world.folder / task

    def rows(self, text: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        return self._world.connection.execute(text, values).fetchall()

    def row(self, text: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self._world.connection.execute(text, values).fetchone()
        return found

    @contextmanager
    def moment(self) -> Iterator[sqlite3.Connection]:
        yield self._world.connection

    def write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        connection = self._world.connection
        connection.execute("BEGIN")
        result = work(connection)
        connection.execute("COMMIT")
        return result

    def write_later(self, work: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        future: Future[Any] = Future()

        def done() -> None:
            if self._world.chance(0.1):
                future.set_exception(StoreError("busy"))
                return
            future.set_result(self.write(work))

        self._world.later(0.02, done)
        return future


class Workers:
    """An executor whose workers fail, die, answer late, twice, out of order; it leaves the files that real ones do."""

    slots = 3

    def __init__(self, world: World, records: SlowStore) -> None:
        self._world = world
        self._records = records
        self._alive: dict[str, Ended] = {}
        self._units: dict[tuple[Any, ...], str] = {}
        self.ran: list[str] = []

    def run(self, work: Work, began: Callable[[str], None], ended: Ended) -> None:
        row = self._records.row("SELECT place, item, kind FROM batch_task WHERE task = ?", (work.task,))
        assert row is not None, f"task {work.task} runs without a record"
        unit = tuple(row)
        assert self._units.get(unit) not in self._alive, f"two live attempts of {unit}"
        self._units[unit] = work.task
        self._alive[work.task] = ended
        self._world.later(0.5, lambda: self._begin(work, began))

    def _begin(self, work: Work, began: Callable[[str], None]) -> None:
        if work.task not in self._alive:
            return
        self.ran.append(work.task)
        work.folder.mkdir(exist_ok=True)
        (work.folder / "output").touch()
        for _ in range(2 if self._world.chance() else 1):
            self._world.later(1.0, lambda: began(work.task))
        self._world.later(30.0 if self._world.chance(0.1) else 2.0, lambda: self._end(work))

    def _end(self, work: Work) -> None:
        ended = self._alive.pop(work.task, None)
        if ended is None:
            return
        draw = self._world.draw.random() if self._world.wild else 1.0
        if draw < 0.1:
            self._answer(ended, TaskEnd(work.task, "FAILED", "worker died", error_type="WorkerDied", is_system=True))
            return
        is_open = work.job["kind"] == "batch_open"
        if draw < 0.25 and not is_open:
            reply = {"ok": False, "mime": "x/pickle", "message": "ValueError: no", "error_type": "ValueError"}
            end = TaskEnd(work.task, "FAILED", "ValueError: no", "x/pickle", "ValueError")
        else:
            value = list(range(self._world.draw.randrange(4))) if is_open else 0
            (work.folder / "result").write_text(json.dumps(value))
            reply = {"ok": True, "mime": "application/json"}
            end = TaskEnd(work.task, "COMPLETED", mime="application/json", size=1)
        (work.folder / "reply.json").write_text(json.dumps(reply))
        self._answer(ended, end)

    def _answer(self, ended: Ended, end: TaskEnd) -> None:
        for _ in range(2 if self._world.chance() else 1):
            self._world.later(0.5, lambda: ended(end))

    def kill(self, task: str) -> None:
        ended = self._alive.pop(task, None)
        if ended is not None:
            self._answer(ended, TaskEnd(task, "CANCELLED", "killed"))

    def die(self) -> None:
        """All of them at once."""
        for task, ended in list(self._alive.items()):
            del self._alive[task]
            self._answer(ended, TaskEnd(task, "FAILED", "lost", error_type="WorkerDied", is_system=True))

    def close(self) -> None:
        self._alive.clear()


class Rules(LogRules):
    """The rules of 4.2 without a server to fetch results from."""

    def __init__(self, ids: set[str]) -> None:
        super().__init__(cast("Any", None), ids)

    def _check_failure(self, node: Any) -> None:
        assert node["executions"][-1]["status"] == "FAILED"


def a_graph(world: World) -> BatchBody:
    """A random graph with stages, strategies and deadlines."""
    draw = world.draw
    body = BatchBody(f"seed {world.seed}")
    if world.chance(0.5):
        body.options["retry_strategy"] = _strategy(draw)
    if world.chance():
        body.options["workflow_retry_strategy"] = {"limit": draw.randrange(3), "retryPolicy": "Always"}
    if world.chance():
        body.options["parallelism"] = draw.randint(1, 3)
    if world.chance(0.1):
        body.options["deadline"] = draw.uniform(1, 30)
    for _ in range(draw.randint(1, 12)):
        above = draw.sample(body.nodes, min(len(body.nodes), draw.randrange(3)))
        options: dict[str, Any] = {"retry_strategy": _strategy(draw)} if world.chance(0.4) else {}
        if world.chance(0.1):
            options["deadline"] = draw.uniform(0.5, 10)
        work = {"udf_node": {"executable_code": "eA==", "arguments": [{"value": ITEM}], "environment": {}}}
        over = above[0] if above and draw.random() < 0.3 else None
        body.add(work, None, [one.id for one in above], over, **options)
    names = {node.id: world.new_id() for node in body.nodes}
    text = json.dumps([node.body for node in body.nodes])
    for old, new in names.items():
        text = text.replace(old, new)
    for node, changed in zip(body.nodes, json.loads(text), strict=True):
        node.id, node.body = changed["client_node_id"], changed
    return body


def _strategy(draw: random.Random) -> dict[str, Any]:
    strategy: dict[str, Any] = {
        "limit": draw.randrange(4),
        "retryPolicy": draw.choice(["Always", "OnFailure", "OnError", "OnTransientError"]),
    }
    if draw.random() < 0.5:
        strategy["backoff"] = {"duration": f"{draw.randrange(1, 20)}", "factor": draw.choice([1, 2])}
    return strategy


class Story:
    """One run of the whole, from the submit to its end."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.world = World(seed, folder)
        self.records = SlowStore(self.world)
        self.body = a_graph(self.world)
        self.rules = Rules({one.id for one in self.body.nodes})
        self.acknowledged: dict[str, str] = {}
        self.heard = 0
        self.retrying = False
        """Whether a retry was asked for that may be on record before its answer comes."""
        self.is_over = False
        self.log = ""
        self.ran: list[str] = []
        self.batch = self._server()

    def _server(self) -> Batch:
        self.workers = Workers(self.world, self.records)
        batch = Batch(
            cast("Store", self.records),
            self.workers,
            user="me",
            memory_limits=LIMITS,
            clock=lambda: self.world.now,
            new_id=self.world.new_id,
        )
        batch._unstarted += 1
        batch._inbox.put(batch._restore_all)
        return batch

    def tell(self) -> str:
        """Runs it; the events and the history, for comparison."""
        self._submit()
        turns = 0
        while not (self.is_over and self.batch.is_idle()):
            turns += 1
            assert turns < 20_000, "it does not end"
            self._turn()
            self._disturb()
            if not self.world.step(self._timer()) and self.batch._inbox.empty():
                assert self.batch.is_idle(), "nothing will ever happen, and the run has not ended"
            self._look()
        self._check_the_end()
        lines = [json.dumps(tuple(row)) for row in self.records.rows("SELECT number, time, body FROM event ORDER BY 1")]
        lines += [line for _, line in batch_store.history_of(cast("Store", self.records), self.log)]
        return "\n".join(lines)

    def _submit(self) -> None:
        plan = self.batch.check(models.from_json(batch_graph(), self.body.json()))
        self.log = self.world.new_id()
        fixed = iter([uuid.UUID(self.log)])
        original, batch_store.uuid.uuid4 = batch_store.uuid.uuid4, lambda: next(fixed)  # type: ignore[attr-defined]
        try:
            self.batch.submit("graph", "me", json.dumps(self.body.json()))
        finally:
            batch_store.uuid.uuid4 = original  # type: ignore[attr-defined]
        assert len(plan.nodes) == len(self.body.nodes)

    def _turn(self) -> None:
        messages: list[Callable[[], None]] = []
        while not self.batch._inbox.empty():
            message = self.batch._inbox.get()
            if message is not None:
                messages.append(message)
        self.batch.turn(messages)
        for run in self.batch._runs.values():
            for machine in _machines(run):
                machine.validate()

    def _timer(self) -> float | None:
        timers = [timer for run in self.batch._runs.values() if (timer := run.next_timer()) is not None]
        if self.batch._write_again_at is not None:
            timers.append(self.batch._write_again_at)
        return min(timers, default=None)

    def _disturb(self) -> None:
        world = self.world
        if world.chance(0.01):
            self.workers.die()
        if world.chance(0.01):  # kill -9, and the next start
            world.life += 1
            self.ran += self.workers.ran
            self.batch = self._server()
            if self.retrying:
                self.retrying = self.is_over = False
                self.rules.forget()
        if world.chance(0.004):
            for _ in range(2 if world.chance() else 1):
                self.batch.stop(self.log)
        if world.chance(0.01):
            self._retry()

    def _retry(self) -> None:
        future = self.batch.retry(self.log)
        self.retrying = True

        def done(future: Future[None]) -> None:
            self.retrying = False
            error = future.exception()
            assert error is None or isinstance(error, NothingToRetry), error
            if error is None:
                self.rules.forget()
                self.is_over = False

        future.add_done_callback(done)

    def _look(self) -> None:
        """A client polls the log and reads on in the events."""
        if self.world.draw.random() < 0.5:
            return
        records = cast("Store", self.records)
        picture = batch_store.picture_of(records, self.log)
        nodes, counts = batch_log_nodes(picture)
        status = picture.log.status
        if "workflow_retry_strategy" in self.body.options:  # tries again what was seen failed
            self.rules.forget()
            self.rules._had_failure = status == "failed" and "FAILED" in counts
        if self.retrying:
            self.rules.forget()
            self.rules._had_failure = status == "failed" and "FAILED" in counts
        self.rules.check({"task_graph_type": "batch", "status": status, "nodes": models.to_json(nodes)})
        told, events = batch_store.events_after(records, self.log, self.heard, 1000)
        assert [one.number for one in events] == [self.heard + 1 + k for k in range(len(events))]
        for one in events:
            body = json.loads(one.body)
            if body["kind"] == "node" and body["status"] == "COMPLETED":
                assert body["node"] not in self.acknowledged, "completed twice"
                self.acknowledged[body["node"]] = body["task"]
        self.heard += len(events)
        self.is_over = told in ("succeeded", "failed", "cancelled")

    def _check_the_end(self) -> None:
        records = cast("Store", self.records)
        picture = batch_store.picture_of(records, self.log)
        completed = {
            node.id: picture.executions[node.id][-1].id for node in picture.nodes if node.status == "COMPLETED"
        }
        lost = {node: task for node, task in self.acknowledged.items() if completed.get(node) != task}
        assert not lost, f"acknowledged and lost: {lost}"
        tasks = batch_store.tasks_of(records, self.log)
        unended = [task.id for task in tasks if task.status in ("QUEUED", "RUNNING")]
        assert not unended, f"tasks that never ended: {unended}"
        ran = [*self.ran, *self.workers.ran]
        assert len(ran) == len(set(ran)), "a task was run twice"
        assert set(ran) <= {task.id for task in tasks}, "ran without a record"
        if not self.world.wild:
            assert picture.log.status == "succeeded"
            assert len(ran) == len(tasks), "without failures each runs exactly once"


def batch_graph() -> Any:
    from tiledag_widget.wire.batch_models import BatchGraph

    return BatchGraph


def _machines(run: Any) -> list[GraphMachine]:
    return [run.machine, *(stage.machine for stage in run._stages.values())]


def told(seed: int, folder: Path) -> str:
    folder.mkdir()
    try:
        story = Story(seed, folder)
        with contextlib.closing(story.world.connection):
            return story.tell()
    except BaseException as error:
        call = f"told({seed}, Path(tempfile.mkdtemp()) / 'files')"
        command = f'python -c "import tempfile; from tests.trials.test_a_batch import *; {call}"'
        error.args = (f"seed {seed}: {error}\nreplay: {command}", *error.args[1:])
        raise
    finally:
        shutil.rmtree(folder)


@contextmanager
def stories(folder: Path) -> Iterator[Callable[[int], None]]:
    """Trial A3 for ``make night``."""

    def one(seed: int) -> None:
        told(seed, folder / str(seed))

    yield one


@pytest.mark.slow
def test_every_run_ends_whatever_happens(tmp_path: Path) -> None:
    """Nothing is stuck, nothing acknowledged is lost, nothing runs unrecorded or twice at once."""
    for seed in range(SEEDS):
        told(seed, tmp_path / str(seed))


@pytest.mark.parametrize("seed", range(8))
def test_a_run_ends_whatever_happens(seed: int, tmp_path: Path) -> None:
    """A few of them, each time."""
    told(seed, tmp_path / "files")


@pytest.mark.slow
def test_the_same_seed_tells_the_same_story(tmp_path: Path) -> None:
    """Otherwise no failure of it could be looked into."""
    for seed in range(BOTH_WAYS):
        assert told(seed, tmp_path / "a") == told(seed, tmp_path / "b"), f"seed {seed}"
