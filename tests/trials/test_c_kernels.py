"""Trials C3 and C4: a kernel that is interrupted while a cell waits, or is killed or restarted in a run."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jupyter_client")
for needed in ("uvicorn", "psutil"):
    pytest.importorskip(needed)

import psutil  # noqa: E402

from tests.kernels import KERNELS, Kernel, running_kernel  # noqa: E402
from tests.server.running import Server, running_server, wait_until  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.leaks("libzmq keeps its own threads and sockets for the process")]

PROMPT_S = 0.5
ORPHANS_S, ABANDONED_S = 10, 15

# --- C3 -----------------------------------------------------------------------------------------------------

WAITS = """
import threading, time
from tiledag_widget import DAG
gate = threading.Event()
dag = DAG(name="waits")
node = dag.submit_local(gate.wait)
after = dag.submit_local(lambda _: "after", node)
dag.compute()
"""


def interrupt_once(kernel: Kernel) -> float:
    """Seconds until a cell that waits has ended with KeyboardInterrupt; the graph then goes on to its end."""
    kernel.cell(WAITS)
    cell = kernel.begin("print('waiting', flush=True); dag.wait()")
    kernel.wait_for("waiting", cell)
    time.sleep(0.1)
    began = time.perf_counter()
    kernel.manager.interrupt_kernel()
    kernel.end(cell)
    took = time.perf_counter() - began
    assert kernel.errors[cell] == "KeyboardInterrupt"
    assert "graph still running; `dag.cancel()` stops it" in kernel.printed[cell]
    done = kernel.cell("gate.set(); dag.wait(10); print(dag.status, after.result())")
    kernel.wait_for("Completed after", done)
    return took


@contextlib.contextmanager
def interrupts(folder: Path) -> Iterator[Callable[[int], None]]:
    """C3, an interrupt a seed: by signal and by message in turn."""
    with (
        running_kernel(KERNELS[0], folder / "signal") as by_signal,
        running_kernel(KERNELS[0], folder / "message", by_message=True) as by_message,
    ):
        took: list[float] = []
        yield lambda seed: took.append(interrupt_once((by_signal, by_message)[seed % 2]))
    late = [seconds for seconds in took if seconds > PROMPT_S]
    assert len(late) <= max(1, len(took) // 50), late  # a busy machine gives a process no time at times


@pytest.mark.parametrize("by_message", [False, True], ids=["signal", "message"])
@pytest.mark.parametrize("name", KERNELS)
def test_c3_the_stop_button_ends_the_wait_and_says_what_still_runs(tmp_path: Path, name: str, by_message: bool) -> None:
    """A button that does nothing, or takes the run with it."""
    with running_kernel(name, tmp_path, by_message=by_message) as kernel:
        took = [interrupt_once(kernel) for _ in range(3)]

    assert min(took) <= PROMPT_S, took
    assert max(took) <= 4 * PROMPT_S, took  # a busy machine gives a process no time at times


# --- C4 -----------------------------------------------------------------------------------------------------

RUNS = """
import os, time
from tiledag_widget import DAG
def stays(folder, name):
    with open(f"{folder}/{name}.part", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{folder}/{name}.part", f"{folder}/{name}")
    time.sleep(600)
dag = DAG(name="DAG_NAME", executor="processes")
dag.submit(stays, "FOLDER", "there")
dag.submit_local(stays, "FOLDER", "here")
dag.compute()
"""


def end_kernel(kernel: Kernel, server: Server, folder: Path, how: str) -> None:
    """The kernel goes in the middle of a run: no process of the run is left, and the record says what happened."""
    folder.mkdir()
    name = folder.name
    kernel.cell(RUNS.replace("DAG_NAME", name).replace("FOLDER", str(folder)))
    wait_until(lambda: all((folder / where).exists() for where in ("here", "there")))
    pids = [int((folder / where).read_text()) for where in ("here", "there")]
    wait_until(lambda: status_of(server, name) is not None)
    began = time.monotonic()

    if how == "killed":
        psutil.Process(kernel.pid).kill()
    else:
        kernel.manager.restart_kernel(now=how == "restarted at once")

    wait_until(lambda: not any(is_alive(pid) for pid in pids), ABANDONED_S)
    orphans = time.monotonic() - began
    wait_until(lambda: status_of(server, name) in ("abandoned", "cancelled"), ABANDONED_S)
    assert orphans <= ORPHANS_S
    assert time.monotonic() - began <= ABANDONED_S


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def status_of(server: Server, name: str) -> str | None:
    logs: list[Any] = json.loads(server.ask("GET", f"/v1/taskgraphs/logs?search={name}").body)["task_graph_logs"] or []
    return next((str(log["status"]) for log in logs if log["name"] == name), None)


WAYS = ("killed", "restarted", "restarted at once")


@contextlib.contextmanager
def ends(folder: Path) -> Iterator[Callable[[int], None]]:
    """C4, a kernel a seed."""
    with running_server(folder / "data", "--workers", "2") as server:

        def one(seed: int) -> None:
            place = folder / f"kernel-{seed}"
            with running_kernel(KERNELS[0], place, settings=settings_of(server, place)) as kernel:
                end_kernel(kernel, server, place / f"run-{seed}", WAYS[seed % len(WAYS)])

        yield one


def settings_of(server: Server, home: Path) -> dict[str, str]:
    return {"HOME": str(home), "TILEDB_REST_HOST": server.url, "TILEDB_REST_TOKEN": server.token}


@pytest.mark.parametrize("how", WAYS)
def test_c4_a_kernel_that_goes_leaves_no_process_and_a_record_that_says_so(tmp_path: Path, how: str) -> None:
    """A record that says Running for ever is worse than none."""
    with ends(tmp_path) as one:
        one(WAYS.index(how))
