"""Trial J1 of ``trials.md``: graphs of all kinds side by side, with faults, for a long time.

Each seed runs four graphs at once: in threads, in processes, on the server as it goes, and as a whole on the server
(batch). Their nodes fail the first times; worker processes here and at the server are killed; a graph is cancelled, and
retried. Of every graph: it ends; what was seen Completed stays so, with the right result (nothing lost); what is
Completed has run, and without faults exactly as often as it should (nothing unexpected). Over all of them: memory, open
files and threads of this process and of the server's do not grow.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import re
import shutil
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import Server, running_server
from tiledag_widget import DAG, Mode, Node, Status
from tiledag_widget.testing import GraphPlan, random_graphs

for needed in ("uvicorn", "duckdb", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow

SECONDS = 60.0
STUCK_S = 60.0
KINDS = ("threads", "processes", "server", "batch")
DONE = {Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.PARENT_FAILED}

WARM_S = 300.0
LONG_S = 1500.0
"""From here on (after the warm-up) the slope an hour can be told from noise; a shorter run is held to its graphs."""
MB_AN_HOUR = 1.0
KB_A_GRAPH = 50.0
MORE_FILES = 12
"""A worker process is worth four; a file a graph would be dozens."""
MORE_THREADS = 4


def work_of(folder: str, bad: dict[int, int]) -> Callable[..., int]:
    """What nodes do: leave a mark, fail so many times, then add up. By value: a worker needs no module of ours."""

    def work(number: int, *above: Any) -> int:
        import os
        import time
        import uuid

        before = sum(name.startswith(f"{number}-") for name in os.listdir(folder))
        with open(os.path.join(folder, f"{number}-{uuid.uuid4().hex}"), "w"):
            pass
        time.sleep(0.005 * (number % 4))
        if before < bad.get(number, 0):
            raise ValueError(f"planned: try {before}")
        return number + int(sum(above)) % 1000

    return work


@dataclass
class Ran:
    """One graph of a seed."""

    kind: str
    plan: GraphPlan
    folder: Path
    bad: dict[int, int]
    dag: DAG = field(init=False)
    nodes: list[Node[Any]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    """Nodes that were acknowledged as Completed."""
    is_disturbed: bool = False

    def begin(self) -> None:
        self.folder.mkdir(parents=True)
        options: dict[str, dict[str, Any]] = {
            "threads": {"mode": Mode.LOCAL, "executor": "threads", "max_workers": 3},
            "processes": {"mode": Mode.LOCAL, "executor": "processes", "max_workers": 2},
            "server": {"mode": Mode.REALTIME},
            "batch": {"mode": Mode.BATCH},
        }
        self.dag = DAG(name=f"{self.kind} {self.plan.seed}", **options[self.kind])
        work = work_of(str(self.folder), self.bad)
        for number, parents in enumerate(self.plan.parents):
            above = [self.nodes[parent] for parent in parents]
            self.nodes.append(self.dag.submit(work, number, *above, name=str(number)))
        self.dag.compute()

    def right(self) -> list[int]:
        results: list[int] = []
        for number, parents in enumerate(self.plan.parents):
            results.append(number + sum(results[parent] for parent in parents) % 1000)
        return results

    def look(self) -> None:
        """Notes what is Completed, and that nothing that was is not any more."""
        now = {number for number, node in enumerate(self.nodes) if node.status is Status.COMPLETED}
        assert self.seen <= now, f"{self.kind}: nodes {sorted(self.seen - now)} were Completed and are lost"
        self.seen = now

    def end(self) -> None:
        try:
            self.dag.wait(STUCK_S)
        except Exception as error:  # of a node, unless it has not ended
            assert self.dag.done(), f"{self.kind}: stuck: {self.told()}: {error!r}"
        self.look()

    def told(self) -> str:
        return str(Counter(str(node.status) for node in self.nodes))

    def check(self) -> None:
        """Nothing is lost, nothing came from nowhere."""
        assert {node.status for node in self.nodes} <= DONE, self.told()
        marks = Counter(int(name.partition("-")[0]) for name in os.listdir(self.folder))
        right = self.right()
        for number, node in enumerate(self.nodes):
            if node.status is Status.COMPLETED:
                assert node.result(STUCK_S) == right[number], f"{self.kind}: a wrong result of node {number}"
                tries = 1 + self.bad.get(number, 0)
                assert marks[number] >= tries, f"{self.kind}: node {number} is Completed and ran {marks[number]} times"
                if not self.is_disturbed:
                    assert marks[number] == tries, f"{self.kind}: node {number} ran {marks[number]} times, not {tries}"


@dataclass(frozen=True)
class Held:
    """What a process holds at one moment."""

    at: float
    memory: float
    files: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Held:
        import psutil

        process = psutil.Process(pid)
        return cls(time.monotonic(), process.memory_info().rss, process.num_fds(), process.num_threads())


class Endurance:
    """Seed after seed beside one server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._samples: dict[str, list[Held]] = {"this process": [], "the server": []}

    def one(self, seed: int) -> None:
        """Four graphs side by side, with faults."""
        draw = random.Random(seed)
        graphs = []
        for kind in KINDS:
            (plan,) = random_graphs([draw.randrange(1 << 30)], most_nodes=10 if kind != "threads" else 40)
            bad = {number: draw.randint(1, 2) for number in sorted(plan.fails)}
            graphs.append(Ran(kind, plan, self._folder / f"{seed}" / kind, bad))
        for graph in graphs:
            graph.begin()
        for _ in range(draw.randint(0, 3)):
            time.sleep(draw.random() * 0.1)
            self._disturb(draw, graphs)
            for graph in graphs:
                graph.look()
        for graph in graphs:
            self._bring_to_its_end(graph, leaves=draw.random() < 0.2)
            graph.check()
        shutil.rmtree(self._folder / f"{seed}")
        del graph, graphs
        gc.collect()
        self._samples["this process"].append(Held.by(os.getpid()))
        self._samples["the server"].append(Held.by(self._server.pid))

    def _disturb(self, draw: random.Random, graphs: list[Ran]) -> None:
        what = draw.choice(["kill here", "kill there", "cancel"])
        if what == "cancel":
            graph = draw.choice(graphs)
            graph.is_disturbed = True
            graph.dag.cancel()
            return
        here = what == "kill here"
        for graph in graphs:
            graph.is_disturbed |= graph.kind == "processes" if here else graph.kind in ("server", "batch")
        workers = workers_of(os.getpid() if here else self._server.pid)
        if workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)

    def _bring_to_its_end(self, graph: Ran, *, leaves: bool) -> None:
        """Retries it until all is Completed, or leaves it as it has ended."""
        graph.end()
        deadline = time.monotonic() + STUCK_S
        retries = 0
        # Not the status of the graph: it stays Cancelled if its last nodes completed after the cancel.
        while not leaves and any(node.status is not Status.COMPLETED for node in graph.nodes):
            assert time.monotonic() < deadline, f"{graph.kind}: {graph.told()} after {retries} retries"
            if retries:
                time.sleep(0.05)
            graph.dag.retry_all()
            graph.end()
            retries += 1

    def check(self) -> None:
        """What can be said of all together: nothing has grown."""
        for who, samples in self._samples.items():
            assert len(samples) >= 9, f"only {len(samples)} seeds have passed: too few to tell a slope"
            begun = samples[0].at + min(WARM_S, (samples[-1].at - samples[0].at) / 3)
            samples = [one for one in samples if one.at >= begun]
            third = max(1, len(samples) // 3)
            first, last = samples[:third], samples[-third:]

            def grown(what: str, first: list[Held] = first, last: list[Held] = last) -> float:
                # What leaks is never given back: the least that was held grows. Memory is held in blocks of any size.
                least = statistics.median if what == "memory" else min
                before, after = ([float(getattr(one, what)) for one in part] for part in (first, last))
                return least(after) - least(before)

            took = last[third // 2].at - first[third // 2].at
            told = f"{who}: {grown('memory') / 1e3:+.0f} kB, {grown('files'):+g} files, {grown('threads'):+g} threads"
            told += f" in {took:.0f} s and {len(samples)} seeds, {samples[-1].memory / 1e6:.0f} MB at the end"
            print(told)  # noqa: T201  # the figures of a night
            if samples[-1].at - samples[0].at >= LONG_S:
                assert grown("memory") / took * 3600 < MB_AN_HOUR * 1e6, told
            else:
                between = len(samples) - third  # seeds between the middles of the two
                assert grown("memory") < KB_A_GRAPH * 1e3 * between * len(KINDS), told
            assert grown("files") <= MORE_FILES, told
            here = Counter(re.sub(r"\d+", "#", each.name) for each in threading.enumerate())
            assert grown("threads") <= MORE_THREADS, f"{told}; here are now {dict(here)}"


def workers_of(pid: int) -> list[int]:
    """The worker processes of a process."""
    import psutil

    found = []
    for child in psutil.Process(pid).children():
        with contextlib.suppress(psutil.Error):
            if "worker_main" in " ".join(child.cmdline()):
                found.append(child.pid)
    return sorted(found)


@contextlib.contextmanager
def endurance(folder: Path) -> Iterator[Callable[[int], None]]:
    """J1 for ``make night``."""
    with running_server(folder / "data", "--workers", "2") as server, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("TILEDB_REST_") or name == "TILEDAG_SERVER":
                patch.delenv(name)
        patch.setenv("HOME", str(folder))
        patch.setenv("TILEDB_REST_HOST", server.url)
        patch.setenv("TILEDB_REST_TOKEN", server.token)
        all_of_them = Endurance(server, folder / "graphs")
        yield all_of_them.one
        all_of_them.check()


@pytest.mark.timeout(600)
def test_j1_graphs_of_all_kinds_with_faults_for_a_while(tmp_path: Path) -> None:
    """A server or a notebook that stays open for a week would run full, or lose a result once a day."""
    with endurance(tmp_path) as one:
        end = time.monotonic() + SECONDS
        seed = 0
        while time.monotonic() < end or seed < 12:
            try:
                one(seed)
            except BaseException as error:
                error.args = (f"seed {seed}; again: python -m tools.night J1 --seed {seed}: {error}", *error.args[1:])
                raise
            seed += 1
