"""Trial F8: a node prints a hundred lines and returns, raises, exits or is killed; none is lost or stands elsewhere."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tiledag_widget
from tests.contract.test_executors import dask_executor
from tests.hiding import hiding_our_routes
from tests.server.running import embedded_server, running_server
from tiledag_widget import DAG, Status

pytestmark = [pytest.mark.slow, pytest.mark.leaks("worker processes and the connection last as long as the trial")]

LINES = 100
SECONDS = 60
ENDS = ("returns", "raises", "exits", "is killed")
TIMES = 1000


def prints(mark: str, end: str, from_c: bool) -> str:
    """Prints in every way there is, in turn."""
    import logging
    import os
    import signal
    import sys

    ways: list[Any] = [
        lambda line: print(line),  # noqa: T201
        lambda line: sys.stderr.write(line + "\n"),
        lambda line: logging.getLogger("x").warning(line),
    ]

    def by_c(line: str) -> None:
        sys.stdout.flush()
        os.write(1, f"{line}\n".encode())

    if from_c:
        ways.append(by_c)
    for number in range(100):
        ways[number % len(ways)](f"{mark} {number}")
    if end == "raises":
        raise ValueError(mark)
    if end == "exits":
        sys.exit(3)
    if end == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return mark


prints.__module__ = "__main__"  # goes by value

PLACES: dict[str, tuple[bool, bool]] = {
    "threads": (False, False),
    "processes": (True, True),
    "server": (True, True),
    "process pool": (False, False),
    "dask": (False, False),
}
"""Whether C code's output is caught there, and whether a node can be killed there without its output."""


def one_graph(place: str, end: str, mark: str, executor: Any = None) -> None:
    """Two nodes at once, then one of them again: each attempt has its own hundred lines, in their order."""
    from_c, can_die = PLACES[place]
    if end == "is killed" and not can_die:
        end = "exits"
    dag = DAG(name=mark, executor="processes" if place == "processes" else executor, max_workers=2)
    submit: Any = dag.submit if place == "server" else dag.submit_local
    nodes = [submit(prints, f"{mark}-{name}", end, from_c, name=name) for name in ("a", "b")]
    with contextlib.suppress(Exception, SystemExit):
        dag.compute()
        dag.wait(SECONDS)
    for node in nodes:
        assert_printed(node, 1)
    if end != "returns":
        assert {node.status for node in nodes} == {Status.FAILED}
        with contextlib.suppress(Exception, SystemExit):
            nodes[0].retry()
            dag.wait(SECONDS)
        assert_printed(nodes[0], 2)
        assert_printed(nodes[0], 1)
    assert_printed(nodes[1], 1)


def assert_printed(node: Any, attempt: int) -> None:
    deadline = time.monotonic() + 10
    while (text := node.output(attempt)).count("\n") < LINES and time.monotonic() < deadline:
        time.sleep(0.02)
    mark = f"{node.dag.name}-{node.name}"
    expected = [f"{mark} {number}" for number in range(LINES)]
    found = text.splitlines()
    assert found == expected, f"{mark}, attempt {attempt}: {len(found)} lines, {node.status}, {found[:3]}, {found[-3:]}"


@contextlib.contextmanager
def shown_to_nobody() -> Iterator[None]:
    """What is printed also goes to where it went before, which need not be the terminal of a night."""
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with open(os.devnull, "w") as nowhere:
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
        yield
    finally:
        sys.stdout.flush()
        for number, before in zip((1, 2), kept, strict=True):
            os.dup2(before, number)
            os.close(before)


@contextlib.contextmanager
def printers(folder: Path, *places: str) -> Iterator[Callable[[int], None]]:
    """F8, one graph of two or three attempts a seed, at all places in turn."""
    places = places or tuple(PLACES)
    with contextlib.ExitStack() as stack:
        if "server" in places:
            stack.enter_context(embedded_server(folder, TILEDAG_SERVER="embedded"))
        executors: dict[str, Any] = {}
        if "process pool" in places:
            context = multiprocessing.get_context("spawn")
            executors["process pool"] = stack.enter_context(ProcessPoolExecutor(2, mp_context=context))
        if "dask" in places:
            executors["dask"] = stack.enter_context(dask_executor())

        def one(seed: int) -> None:
            place = places[seed // len(ENDS) % len(places)]
            with shown_to_nobody():
                one_graph(place, ENDS[seed % len(ENDS)], f"n{seed}", executors.get(place))

        yield one
    tiledag_widget.shutdown()


@pytest.mark.parametrize("place", PLACES)
def test_f8_every_line_is_kept_under_its_node_and_attempt_however_the_node_ends(place: str, tmp_path: Path) -> None:
    """The last lines before the end are those that tell why."""
    if place == "server":
        for needed in ("uvicorn", "psutil"):
            pytest.importorskip(needed)
    with printers(tmp_path, place) as one:
        for seed in range(TIMES // 3 // len(PLACES)):  # each three attempts
            one(seed)


def test_what_a_node_printed_is_there_although_its_run_is_not_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record comes after the run, on a busy machine long after; the output would be empty until then."""
    for needed in ("uvicorn", "psutil"):
        pytest.importorskip(needed)
    with (
        running_server(tmp_path / "data", "--workers", "1") as server,
        hiding_our_routes(server, "/tiledag/v1/runs") as (url, _, asked),
    ):
        monkeypatch.setenv("TILEDB_REST_HOST", url)
        monkeypatch.setenv("TILEDB_REST_TOKEN", server.token)
        dag = DAG(name="not on record", max_workers=2)
        good, bad = (
            dag.submit(prints, name, end, True, name=name) for name, end in (("a", "returns"), ("b", "raises"))
        )
        for _ in range(2):
            with contextlib.suppress(Exception):
                (bad.retry if asked else dag.compute)()
                dag.wait(SECONDS)
        found = [good.output(), bad.output(1), bad.output(2), bad.output(3)]

    assert [text.count("\n") for text in found] == [LINES, LINES, LINES, 0]
    assert found[0].splitlines() == [f"a {number}" for number in range(LINES)]
