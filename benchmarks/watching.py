"""What it costs a run to be watched: the same graph with and without a live view, in a real kernel.

    python -m benchmarks.watching [--nodes 10000] [--rounds 5]

The page is stood in for by a Jupyter client that opens the view as a page does and counts what comes to it: messages
and bytes, content and buffers. Runs with and without a view take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

SETUP = """
import random, sys, time
sys.path[:0] = [{root!r}]
from tiledag_widget import DAG
from tiledag_widget.view.show import picture

def nothing(*_):
    return None

def build(count):
    global dag
    dag, draw, nodes = DAG(name="watched"), random.Random(7), []
    for index in range(count):
        row = index // 50 * 50
        above = draw.sample(range(row - 50, row), 3) if row else []
        nodes.append(dag.submit_local(nothing, *[nodes[i] for i in above]))

def watch():
    global view
    begun = time.perf_counter()
    view = dag.visualize()
    print(view.model_id, time.perf_counter() - begun)

def run():
    begun = time.perf_counter()
    dag.compute()
    dag.wait()
    print(time.monotonic(), time.perf_counter() - begun)
"""


@dataclass
class Traffic:
    """Messages to the page since the last look."""

    times: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def last(self, kind: str) -> float:
        return max(time for time, own in zip(self.times, self.kinds, strict=True) if own == kind)

    def busiest_second(self) -> int:
        return max((sum(start <= other < start + 1 for other in self.times) for start in self.times), default=0)


class Client:
    """A kernel and what a page would see of it."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.traffic = Traffic()

    def execute(self, code: str) -> str:
        """Run code to its end and return what it printed, counting what comes to the page meanwhile."""
        identity = self._client.execute(code)
        printed: list[str] = []
        while True:
            message = self._client.get_iopub_msg(timeout=120)
            self._count(message)
            if message["parent_header"].get("msg_id") != identity:
                continue
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                raise RuntimeError("\n".join(message["content"]["traceback"]))
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return "".join(printed)

    def listen(self, seconds: float, until: str = "") -> None:
        """Count until nothing has come for that long, and a message of that kind has."""
        import queue

        deadline = time.monotonic() + 60
        while True:
            try:
                self._count(self._client.get_iopub_msg(timeout=seconds))
            except queue.Empty:
                if not until or until in self.traffic.kinds or time.monotonic() > deadline:
                    return

    def ask(self, model: str, kind: str) -> None:
        request = {"id": f"{kind}{time.time()}", "kind": kind}
        content = {"comm_id": model, "data": {"method": "custom", "content": request}}
        self._client.shell_channel.send(self._client.session.msg("comm_msg", content))

    def _count(self, message: dict[str, Any]) -> None:
        if message["msg_type"] != "comm_msg":
            return
        data = message["content"]["data"]
        if data.get("method") != "custom":
            return
        size = len(json.dumps(message["content"])) + sum(memoryview(part).nbytes for part in message["buffers"])
        self.traffic.times.append(time.monotonic())
        self.traffic.sizes.append(size)
        self.traffic.kinds.append(data["content"]["type"])

    def take(self) -> Traffic:
        seen, self.traffic = self.traffic, Traffic()
        return seen


@contextmanager
def kernel() -> Iterator[Client]:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield Client(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def first_picture(page: Client, nodes: int) -> tuple[float, float, int, int]:
    """(seconds for visualize(), seconds to the picture, bytes of the picture, bytes of all that follows)."""
    page.execute(f"build({nodes})")
    model, took = page.execute("watch()").split()[-2:]
    page.take()
    begun = time.monotonic()
    page.ask(model, "open")
    page.listen(0.5, until="picture")
    seen = page.take()
    first = seen.kinds.index("picture")
    return float(took), seen.times[first] - begun, seen.sizes[first], sum(seen.sizes) - seen.sizes[first]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    with kernel() as page:
        page.execute(SETUP.format(root=str(ROOT)))
        page.execute("build(200); run()")
        for count in (1_000, chosen.nodes):
            shown, opened, picture, rest = first_picture(page, count)
            print(
                f"{count:>7,} nodes: visualize() {shown:.3f} s, picture after {opened:.3f} s: {picture / 1e3:.1f} kB, "
                f"then {rest / 1e3:.1f} kB of names, edges and states"
            )
        alone, watched, seconds = [], [], []
        traffic = Traffic()
        for _ in range(chosen.rounds):
            page.execute(f"build({chosen.nodes})")
            alone.append(float(page.execute("run()").split()[-1]))
            first_picture(page, chosen.nodes)
            begun = time.monotonic()
            end, took = map(float, page.execute("run()").split()[-2:])
            watched.append(took)
            page.listen(0.5)
            seconds.append(time.monotonic() - begun)
            traffic = page.take()
            print(
                f"  alone {alone[-1]:.3f} s, watched {watched[-1]:.3f} s: {len(traffic.sizes)} messages "
                f"({traffic.busiest_second()} in the busiest second), {sum(traffic.sizes) / 1e3:.1f} kB, "
                f"largest {max(traffic.sizes, default=0) / 1e3:.1f} kB, "
                f"last state {1000 * (traffic.last('patch') - end):.0f} ms after wait() returned",
                flush=True,
            )
        ratio = statistics.median(watched) / statistics.median(alone)
        print(f"\nwatched / alone: {ratio:.3f} (medians of {chosen.rounds}), best {min(watched) / min(alone):.3f}")


if __name__ == "__main__":
    main()
