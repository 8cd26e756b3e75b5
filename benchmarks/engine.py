"""Engines side by side on graphs that do nothing: what is left is the cost of a node.

    python -m benchmarks.engine [--repeat 5] [--shapes fan chain layered] [--scale 1.0]
    python -m benchmarks.engine --costs [--pairs 60]

Each engine runs each shape in a process of its own, the engines in turn within a round; the table shows the best of
all rounds, and the ratio to the floor: an in-degree counter written by hand over a ``ThreadPoolExecutor``.
``tiledb-cloud`` takes part if ``.venvs/bench`` (``make bench`` makes it) or this environment has it.

``--costs`` tells what catching the output of nodes, and putting runs on record, add to a node that does nothing: the
same graph with and without, in turn, within one process, by the process's CPU time, which other programs do not
stretch; the median of the pairs' ratios and its standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib.util
import inspect
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
Parents = list[list[int]]
ENGINES = ("floor", "tiledag", "dask.threaded", "tiledb-cloud")
SIZES = {"fan": 8_000, "fan-small": 1_000, "chain": 5_000, "layered": 10_000}


def graph(shape: str, size: int) -> Parents:
    """Parents of each node, parents first."""
    if shape.startswith("fan"):
        return [[] for _ in range(size)] + [list(range(size))]
    if shape == "chain":
        return [[i - 1] if i else [] for i in range(size)]
    draw = random.Random(7)
    width = 50
    return [
        [] if node < width else draw.sample(range(node // width * width - width, node // width * width), 3)
        for node in range(size)
    ]


def nothing(*_: object) -> None:
    return None


# --- engines: each returns (seconds to build, seconds to run) ---------------------------------------------------


def floor(parents: Parents) -> tuple[float, float]:
    """No status, no error, no result, no cancel: the least that anybody could do with a thread pool."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    begun = time.perf_counter()
    children: Parents = [[] for _ in parents]
    for node, above in enumerate(parents):
        for parent in above:
            children[parent].append(node)
    waiting = [len(above) for above in parents]
    built = time.perf_counter()
    lock, done, left = threading.Lock(), threading.Event(), [len(parents)]
    with ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4)) as pool:

        def run(node: int) -> None:
            nothing()
            ready = []
            with lock:
                for child in children[node]:
                    waiting[child] -= 1
                    if not waiting[child]:
                        ready.append(child)
                left[0] -= 1
                if not left[0]:
                    done.set()
            for child in ready:
                pool.submit(run, child)

        for node, above in enumerate(parents):
            if not above:
                pool.submit(run, node)
        done.wait()
        ended = time.perf_counter()
    return built - begun, ended - built


def _with_dag(add: Callable[..., object], dag: object, parents: Parents) -> tuple[float, float]:
    begun = time.perf_counter()
    nodes: list[object] = []
    for above in parents:
        if len(above) > 100:
            nodes.append(add(nothing, [nodes[parent] for parent in above]))
        else:
            nodes.append(add(nothing, *[nodes[parent] for parent in above]))
    built = time.perf_counter()
    dag.compute()  # type: ignore[attr-defined]
    dag.wait()  # type: ignore[attr-defined]
    return built - begun, time.perf_counter() - built


def tiledag(parents: Parents) -> tuple[float, float]:
    from tiledag_widget import DAG

    dag = DAG()
    return _with_dag(dag.submit_local, dag, parents)


def tiledb_cloud(parents: Parents) -> tuple[float, float]:
    from tiledb.cloud.dag import DAG

    dag = DAG(namespace="nobody")
    return _with_dag(dag.submit_local, dag, parents)


def dask_threaded(parents: Parents) -> tuple[float, float]:
    import dask.threaded

    begun = time.perf_counter()
    tasks = {f"n{node}": (nothing, [f"n{parent}" for parent in above]) for node, above in enumerate(parents)}
    with_children = {parent for above in parents for parent in above}
    ends = [f"n{node}" for node in range(len(parents)) if node not in with_children]
    built = time.perf_counter()
    dask.threaded.get(tasks, ends, num_workers=min(32, (os.cpu_count() or 1) + 4))
    return built - begun, time.perf_counter() - built


RUN = {"floor": floor, "tiledag": tiledag, "dask.threaded": dask_threaded, "tiledb-cloud": tiledb_cloud}


def measure(engine: str, shape: str, size: int) -> tuple[float, float]:
    """One run in a fresh process: (seconds to build, seconds to run)."""
    python = sys.executable
    own = ROOT / ".venvs" / "bench" / "bin" / "python"
    if engine == "tiledb-cloud" and own.exists():
        python = str(own)
    command = [python, str(Path(__file__).resolve()), "--one", engine, shape, str(size)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    if answer.returncode:
        raise RuntimeError(answer.stderr.strip().splitlines()[-1] if answer.stderr else f"exit {answer.returncode}")
    built, ran = json.loads(answer.stdout.splitlines()[-1])
    return built, ran


def available(engine: str) -> bool:
    if engine == "tiledb-cloud":
        if (ROOT / ".venvs" / "bench" / "bin" / "python").exists():
            return True
        try:
            return importlib.util.find_spec("tiledb.cloud") is not None
        except ModuleNotFoundError:
            return False
    return importlib.util.find_spec(engine.split(".")[0].replace("tiledag", "tiledag_widget")) is not None or (
        engine == "floor"
    )


# --- what catching output and recording cost ---------------------------------------------------------------------

CAUGHT = """\
                if place.sink is not None:  # it has printed
                    close_sink_of_thread()
"""
"""What the hot path does for the output of a node."""


def without_capture() -> Callable[[], None]:
    """Swaps the driver's hot path between the one that catches output and one that does not; the latter first."""
    from tiledag_widget.run import driver, lanes

    source = inspect.getsource(lanes.LaneDriver._run_ready)
    if CAUGHT not in source:
        raise SystemExit("the hot path of run/lanes.py has changed: adapt CAUGHT")
    names: dict[str, Callable[..., None]] = {}
    exec(compile(textwrap.dedent(source.replace(CAUGHT, "")), lanes.__file__, "exec"), vars(lanes), names)
    kept: list[tuple[object, object]] = [
        (lanes.LaneDriver._run_ready, vars(driver)["watch_streams"]),
        (names["_run_ready"], lambda: None),
    ]

    def swap() -> None:
        kept.reverse()
        setattr(lanes.LaneDriver, "_run_ready", kept[0][0])  # noqa: B010  # mypy knows better than to let methods change
        vars(driver)["watch_streams"] = kept[0][1]

    return swap


def pairs_of(with_it: Callable[[], float], without: Callable[[], float], count: int) -> str:
    """Median with and without, and of the ratios of runs that stood side by side, as columns of the table."""
    found: list[tuple[float, float]] = []
    for number in range(count + 5):
        first, second = (with_it, without) if number % 2 else (without, with_it)
        times = {one: one() for one in (first, second)}
        if number >= 5:
            found.append((times[with_it], times[without]))
    ratios = [a / b for a, b in found]
    low, middle, high = statistics.quantiles(ratios, n=4)
    error = 0.93 * (high - low) / len(ratios) ** 0.5
    more, less = (statistics.median(pair[side] for pair in found) for side in (0, 1))
    return f"{more * 1e6:>9.3f} {less * 1e6:>9.3f} {(middle - 1) * 100:>6.1f} % ± {error * 100:.1f}"


def seconds_of(parents: Parents, **options: object) -> float:
    """CPU seconds of this process for each node."""
    from tiledag_widget import DAG

    gc.collect()
    dag = DAG(**options)  # type: ignore[arg-type]
    nodes: list[object] = []
    for above in parents:
        nodes.append(dag.submit_local(nothing, *[nodes[parent] for parent in above[:100]]))
    begun = time.process_time()
    dag.compute()
    dag.wait()
    return (time.process_time() - begun) / len(parents)


def capture_cost(parents: Parents, count: int) -> str:
    swap = without_capture()

    def plain() -> float:
        swap()
        try:
            return seconds_of(parents, record=False)
        finally:
            swap()

    return pairs_of(lambda: seconds_of(parents, record=False), plain, count)


def record_cost(parents: Parents, count: int) -> str:
    """Of the run itself: what is recorded goes out after its end."""
    from tiledag_widget.run.record import recorder

    def after_flush(record: bool) -> float:
        if not recorder.flush(60):
            raise SystemExit("the record was not taken within a minute")
        return seconds_of(parents, record=record)

    return pairs_of(lambda: after_flush(True), lambda: after_flush(False), count)


def cost_in_the_background(parents: Parents) -> float:
    """Seconds of this process's CPU that the record of one graph takes after its end."""
    from tiledag_widget.run.record import recorder

    seconds_of(parents, record=True)
    begun = time.process_time()
    if not recorder.flush(60):
        raise SystemExit("the record was not taken within a minute")
    return (time.process_time() - begun) / len(parents)


def costs(count: int) -> None:
    from tiledag_widget.run.record import recorder
    from tiledag_widget.server import launch

    print(f"{'cost of':<10} {'shape':<8} {'nodes':>6} {'with us':>9} {'without':>9} {'adds':>7}   (us of CPU a node)")
    for shape in ("fan", "chain"):
        print(f"{'capture':<10} {shape:<8} {1000:>6} {capture_cost(graph(shape, 1000), count)}", flush=True)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        os.environ |= {"TILEDAG_DATA_DIR": folder, "TILEDAG_SERVER": "embedded"}
        os.environ.pop("TILEDAG_RECORD", None)
        launch.ensure()
        stack.callback(launch.stop)
        stack.callback(launch.let_go)
        stack.callback(recorder.flush, 60)
        spent = cost_in_the_background(graph("chain", 5000))
        for shape in ("fan", "chain"):
            print(f"{'record':<10} {shape:<8} {1000:>6} {record_cost(graph(shape, 1000), count // 4)}", flush=True)
        print(f"the record of 5,000 nodes takes {spent * 1e6:.1f} us of CPU a node, after the run, in a thread")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--shapes", nargs="+", default=list(SIZES), choices=list(SIZES))
    options.add_argument("--scale", type=float, default=1.0)
    options.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    options.add_argument("--costs", action="store_true", help="what catching output and recording add")
    options.add_argument("--pairs", type=int, default=60)
    options.add_argument("--one", nargs=3, metavar=("ENGINE", "SHAPE", "SIZE"))
    chosen = options.parse_args()
    if chosen.one:
        engine, shape, size = chosen.one
        parents = graph(shape, int(size))
        RUN[engine](graph(shape, min(int(size), 200)))  # imports and first use are not what is measured
        print(json.dumps(RUN[engine](parents)))
        return
    if chosen.costs:
        costs(chosen.pairs)
        return
    engines = [engine for engine in chosen.engines if available(engine)]
    for missing in sorted(set(chosen.engines) - set(engines)):
        print(f"{missing}: not installed, left out")
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, best of {chosen.repeat}\n")
    print(f"{'shape':<10} {'nodes':>6}  {'engine':<14} {'build us':>9} {'run us':>9} {'x floor':>8}   (us a node)")
    results: dict[tuple[str, str], tuple[float, float]] = {}
    for shape in chosen.shapes:
        size = max(60, int(SIZES[shape] * chosen.scale) // 50 * 50)
        rounds: dict[str, list[tuple[float, float]]] = {engine: [] for engine in engines}
        for number in range(chosen.repeat):
            for engine in engines:
                slow = engine == "tiledb-cloud" and shape == "fan"  # quadratic: minutes a round
                if not (slow and number):
                    rounds[engine].append(measure(engine, shape, size))
        for engine in engines:
            built, ran = min(pair[0] for pair in rounds[engine]), min(pair[1] for pair in rounds[engine])
            results[shape, engine] = (built / size, ran / size)
            ratio = ran / min(pair[1] for pair in rounds["floor"]) if "floor" in rounds else float("nan")
            per_node = f"{built / size * 1e6:>9.2f} {ran / size * 1e6:>9.2f}"
            print(f"{shape:<10} {size:>6}  {engine:<14} {per_node} {ratio:>8.2f}", flush=True)
        print()
    if ("fan", "tiledag") in results and ("fan-small", "tiledag") in results:
        big, small = (results[shape, "tiledag"][1] * SIZES[shape] for shape in ("fan", "fan-small"))
        print(f"fan-in of {SIZES['fan']:,} costs {big / small:.1f} times that of {SIZES['fan-small']:,}")


if __name__ == "__main__":
    main()
