"""Trials D1, D2 and D4: harm done while a call or its result is packed and unpacked; exceptions that do not unpickle;
workers that are started while other threads hold locks."""

from __future__ import annotations

import contextlib
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tiledag_widget
from tests.contract import test_executors as local
from tests.contract import test_server_workers as remote
from tests.run import test_workers as workers
from tests.server.running import ROOT, embedded_server, environment
from tiledag_widget import DAG, Status
from tiledag_widget.run.workers import ProcessWorkers
from tiledag_widget.wire.pickles import traceback_text_of

pytestmark = [pytest.mark.slow, pytest.mark.leaks("worker processes last as long as the module")]

TIMES = 5
SECONDS = 60
PROMPT_S = 2.0
PLACES = ["processes", "process pool", "dask"]


@contextlib.contextmanager
def place(name: str) -> Iterator[Any]:
    """An executor by name."""
    with contextlib.ExitStack() as stack:
        if name == "dask":
            yield stack.enter_context(local.dask_executor())
        elif name == "process pool":
            context = multiprocessing.get_context("spawn")
            yield stack.enter_context(ProcessPoolExecutor(2, mp_context=context))
        else:
            yield name
    tiledag_widget.shutdown()


# --- D2 -----------------------------------------------------------------------------------------------------

ODD = remote.odd_errors()


def arrives(executor: Any, what: str) -> float:
    """Type, text and place of an error are known here, whatever it is; returns the seconds that took."""
    kind, _, text = what.partition(":")
    dag = DAG(executor=executor, max_workers=2)
    node = dag.submit_local(ODD[what])
    sibling = dag.submit_local(int, 7)
    began = time.perf_counter()
    dag.compute()
    node.wait(SECONDS)
    took = time.perf_counter() - began
    error = node.error
    assert node.status is Status.FAILED
    assert kind in type(error).__name__ or kind in str(error), error
    assert text in said(error), error
    assert "line" in traceback_text_of(error)  # type: ignore[arg-type]
    assert sibling.result(SECONDS) == 7
    return took


def said(error: BaseException | None) -> str:
    try:
        return str(error)
    except Exception:  # one of them does that
        return ""


@pytest.mark.parametrize("name", PLACES)
def test_d2_type_text_and_place_of_an_error_arrive_whatever_it_is(name: str) -> None:
    """An exception that does not unpickle hides the one that was raised."""
    with place(name) as executor:
        arrives(executor, next(iter(ODD)))  # the first starts the processes
        took = {(what, time): arrives(executor, what) for what in ODD for time in range(TIMES)}

    late = [seconds for seconds in took.values() if seconds > PROMPT_S]
    assert len(late) <= len(took) // 10, took  # a busy machine gives a process no time at times


@contextlib.contextmanager
def errors(folder: Path) -> Iterator[Callable[[int], None]]:
    """D2, an error a seed, at each place and on the server in turn."""
    kinds = list(ODD)
    with (
        embedded_server(folder, TILEDAG_SERVER="embedded"),
        contextlib.ExitStack() as stack,
    ):
        places = [stack.enter_context(place(name)) for name in PLACES]

        def one(seed: int) -> None:
            what, where = kinds[seed % len(kinds)], seed // len(kinds) % (len(places) + 1)
            if where < len(places):
                arrives(places[where], what)
            else:
                remote.error_arrives(what)

        yield one


# --- D1 -----------------------------------------------------------------------------------------------------


def harm_locally(folder: Path, stage: str) -> None:
    processes = ProcessWorkers()
    try:
        workers.harm_at(workers.Bench(processes), folder, stage)
    finally:
        processes.shutdown(deadline=0)


STAGES = ("unpickle the task", "run", "pickle the result")
HARMS = ("raise", "exit", "crash")


@contextlib.contextmanager
def harms(folder: Path) -> Iterator[Callable[[int], None]]:
    """D1, a stage a seed, in worker processes and on the server in turn."""
    here = list(workers.STAGES)
    there = [(stage, how) for stage in STAGES for how in HARMS]
    with embedded_server(folder, TILEDAG_SERVER="embedded"):

        def one(seed: int) -> None:
            place = folder / str(seed)
            place.mkdir()
            if seed % 2:
                harm_locally(place, here[seed // 2 % len(here)])
            else:
                remote.breaks_at(*there[seed // 2 % len(there)])

        yield one


@pytest.mark.parametrize("stage", workers.STAGES)
def test_d1_harm_at_any_stage_twice(tmp_path: Path, stage: str) -> None:
    """The second time meets workers that were started after the first."""
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        harm_locally(tmp_path / str(number), stage)


# --- D4 -----------------------------------------------------------------------------------------------------

HELD = """
import faulthandler, io, logging, os, sys, threading
faulthandler.dump_traceback_later(50, exit=True)
os.fork = None  # whoever needs it fails
from tiledag_widget import DAG
locks = [threading.Lock() for _ in range(20)]
goes_on = threading.Event()
log = logging.getLogger("held")
log.addHandler(logging.StreamHandler(io.StringIO()))
def hold(lock):
    while not goes_on.wait(0.0005):
        with lock, log.handlers[0].lock:
            log.warning("%s", [0] * 100)
            import decimal
threads = [threading.Thread(target=hold, args=(lock,)) for lock in locks]
for thread in threads: thread.start()
with DAG(use_processes=True, max_workers=2) as dag:
    nodes = [dag.submit_local(pow, number, 2) for number in range(10)]
goes_on.set()
for thread in threads: thread.join()
print(sum(node.result() for node in nodes))
"""


def start_among_threads() -> None:
    command = [sys.executable, "-W", "error", "-c", HELD]
    done = subprocess.run(command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "285\n"), done.stderr


@contextlib.contextmanager
def among_threads(_: Path) -> Iterator[Callable[[int], None]]:
    """D4, a pool a seed."""
    yield lambda seed: start_among_threads()


@pytest.mark.parametrize("part", range(4))
def test_d4_workers_start_while_twenty_threads_hold_locks(part: int) -> None:
    """A lock that was held at a fork is held in the child for ever."""
    start_among_threads()
