"""I5: a cell that is run again and again, in a real kernel: comms closed, objects collected, no thread left.

What the page keeps is tested in ``tests/browser/test_leaks.py``.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernels import running_kernel
from tools.kernels import NEWEST

pytestmark = [pytest.mark.slow, pytest.mark.leaks("libzmq keeps its own threads and sockets for the process")]

TIMES = 200
VIEW = "application/vnd.jupyter.widget-view+json"
SETUP = """
import gc, json, threading, weakref
from comm import get_comm_manager
from IPython.display import display
from tiledag_widget import DAG

def work(number):
    return number

def graph(number):
    dag = DAG(name=f"graph {number}", max_workers=2, record=False)
    parts = [dag.submit_local(work, n) for n in range(12)]
    dag.submit_local(lambda *parts: len(parts), *parts, name="total")
    dag.compute()
    dag.wait(20)
    return dag

def held():
    from tiledag_widget.run.threads import threads
    threads.end_idle()
    for _ in range(3):
        gc.collect()
    print(json.dumps({
        "comms": len(get_comm_manager().comms),
        "threads": sorted(each.name.rstrip("0123456789-") for each in threading.enumerate()),
        "graphs": sum(isinstance(each, DAG) for each in gc.get_objects()),
    }))
"""
Run = Callable[[str], "Answer"]


class Answer:
    """What a cell printed, and what went to the page by messages."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages

    @property
    def text(self) -> str:
        return "".join(each["content"]["text"] for each in self.messages if each["msg_type"] == "stream")

    @property
    def held(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text)
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.messages if each["msg_type"] == kind]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs a cell in a kernel of its own."""
    with running_kernel(NEWEST, tmp_path) as kernel:
        yield functools.partial(cell, kernel.client)


def cell(client: Any, source: str) -> Answer:
    """Everything that a cell sent, until its end."""
    sent = client.execute(source)
    messages: list[dict[str, Any]] = []
    while True:
        message = client.get_iopub_msg(timeout=120)
        messages.append(message)
        if message["parent_header"].get("msg_id") != sent:
            continue
        if message["msg_type"] == "error":
            raise AssertionError("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return Answer(messages)


def test_a_graph_that_is_shown_two_hundred_times_has_one_model_and_sends_its_code_once(run: Run) -> None:
    """The cell that shows a graph is run again: each time 140 kB, and a model that nobody closes."""
    run(SETUP)
    run("dag = graph(0)")
    first = run("dag.visualize()")
    before = run("held()").held

    again = [run("dag.visualize()") for _ in range(TIMES)]

    after = run("held()").held
    assert len(first.of("comm_open")) >= 1
    assert sum(len(each.of("comm_open")) for each in again) == 0
    assert max(len(str(each.of("comm_msg"))) for each in again) < 10_000
    models = {each.of("execute_result")[0]["content"]["data"][VIEW]["model_id"] for each in [first, *again]}
    assert len(models) == 1
    assert after == before


def test_two_hundred_graphs_that_are_closed_are_gone(run: Run) -> None:
    """A notebook that is used for days would hold every graph that was ever in it."""
    run(SETUP)
    run("dag = graph(0); view = dag.visualize(); display(view); view.close(); del dag, view")
    before = run("held()").held

    for _ in range(TIMES // 10):
        run("for n in range(10):\n    dag = graph(n); view = dag.visualize(); display(view); view.close()")
    run("del dag, view")

    after = run("held()").held
    assert after == before
    assert after["graphs"] == 0


def test_two_hundred_graphs_that_are_shown_and_forgotten_hold_no_thread(run: Run) -> None:
    """The usual way: the cell that makes the graph is run again. Its model stays, as every widget's does; no more."""
    run(SETUP)
    run("dag = graph(0); display(dag.visualize())")
    before = run("held()").held

    for _ in range(TIMES // 10):
        run("for n in range(10):\n    dag = graph(n); display(dag.visualize())")

    after = run("held()").held
    assert after["threads"] == before["threads"]
    assert after["graphs"] <= before["graphs"] + TIMES
    per_graph = (after["comms"] - before["comms"]) / TIMES
    assert per_graph <= 2, f"{per_graph} comms for each graph: its model and its layout"
    run("import ipywidgets\nipywidgets.Widget.close_all()\ndel dag")
    assert run("held()").held["comms"] == 0
    assert run("held()").held["graphs"] <= 1


def test_a_graph_whose_view_was_closed_is_shown_anew(run: Run) -> None:
    """Who tidied up would see nothing but a dead view of that graph until the kernel is restarted."""
    run(SETUP)
    run("dag = graph(0); view = dag.visualize(); view.close()")

    run("again = dag.visualize(); assert again is not view and again.comm is not None; again")

    assert run("held()").held["comms"] == 2
