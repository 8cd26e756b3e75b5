"""The live view where people use it: JupyterLab in Chromium, on every ipykernel that is promised.

The canvas shows nothing that a test could read as text; what is read here are the summary, the buttons, the inspector
and, for the last word, the graph in the kernel.
"""

from __future__ import annotations

import re
import time

from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook
from tools.lab import Page

GRAPH = """
import threading, time
from tiledag_widget import DAG

gate, tries, begun = threading.Event(), [], []

def load(number):
    time.sleep(0.05)
    return number

def parse(number):
    begun.append(number)
    if number == 3 and not tries:
        tries.append(number)
        raise ValueError(f"row {number} is not a number")
    return number

def slow():
    gate.wait(50)
    return "slow"

def total(*parts):
    return sum(parts)

dag = DAG(name="orders", max_workers=4)
parts = [dag.submit_local(parse, dag.submit_local(load, n, name=f"load-{n}"), name=f"parse-{n}") for n in range(5)]
end = dag.submit_local(total, *parts, name="total")
sibling = dag.submit_local(slow, name="slow sibling")
end.add_done_callback(lambda node: gate.set() if str(node.status) == "Completed" else None)
view = dag.visualize()
view
"""
WAIT = """
dag.compute()
opens = threading.Timer(40, gate.set)
opens.daemon = True
opens.start()
try:
    dag.wait()
except ValueError as error:
    print("raised", error)
print("ended", dag.status, end.status)
"""
SLEEP = """
dag.compute()
deadline = time.monotonic() + 40
while not gate.is_set() and time.monotonic() < deadline:
    time.sleep(0.5)
dag.wait(10)
print("ended", dag.status, end.status)
"""


def view_of(nb: Page, cell: int = 0) -> Locator:
    return nb.output(cell).locator(".tiledag").first


def show(nb: Page) -> Locator:
    """Run the first cell and wait for the picture."""
    nb.run_and_wait(0)
    view = view_of(nb)
    expect(view).to_contain_text("Not Started", timeout=15_000)
    return view


def test_statuses_change_while_the_cell_runs(open_notebook: OpenNotebook) -> None:
    """The main promise: somebody in a blocked cell sees the run move."""
    nb = open_notebook([GRAPH, WAIT], width=1300, height=900)
    view = show(nb)
    nb.screenshot("live-ready", view)

    nb.run(1)

    expect(view).to_contain_text("Running", timeout=5_000)
    expect(view).to_contain_text("9/12", timeout=5_000)
    expect(view.get_by_role("button", name=re.compile(r"^\s*1 failed"))).to_be_visible()
    assert nb.is_running(1)
    nb.screenshot("live-light", view)
    nb.set_theme(dark=True)
    nb.screenshot("live-dark", view)
    nb.assert_no_errors()


def test_retry_completes_a_failed_node_while_a_sibling_keeps_the_cell_in_wait(
    open_notebook: OpenNotebook, kernel: str
) -> None:
    """A failure is repaired at once instead of when the slowest node is done."""
    nb = open_notebook([GRAPH, WAIT], kernel=kernel)
    view = show(nb)
    nb.run(1)
    retry = view.get_by_role("button", name="Retry failed (1)")
    expect(retry).to_be_enabled(timeout=15_000)
    assert nb.is_running(1)

    pressed = time.monotonic()
    retry.click()
    expect(view).to_contain_text("12/12", timeout=10_000)
    took = time.monotonic() - pressed
    nb.wait_for_cell(1, seconds=20)

    assert "ended Completed Completed" in nb.text(1)
    assert took < 8, f"acted on after {took:.1f} s"
    nb.assert_no_errors()


def test_retry_acts_while_the_cell_sleeps(open_notebook: OpenNotebook, kernel: str) -> None:
    """The kernel's main thread need not be in a call of ours."""
    nb = open_notebook([GRAPH, SLEEP], kernel=kernel)
    view = show(nb)
    nb.run(1)
    retry = view.get_by_role("button", name="Retry failed (1)")
    expect(retry).to_be_enabled(timeout=15_000)

    retry.click()
    nb.wait_for_cell(1, seconds=25)

    assert "ended Completed Completed" in nb.text(1)
    expect(view).to_contain_text("12/12")
    nb.assert_no_errors()


MANY = """
import threading, time
from tiledag_widget import DAG

begun = []
gate = threading.Event()

def step(number):
    begun.append(number)
    gate.wait(20)

dag = DAG(name="many", max_workers=2)
nodes = [dag.submit_local(step, n, name=f"step-{n}") for n in range(20)]
dag.visualize()
"""
WAIT_FOR_CANCEL = """
dag.compute()
while str(dag.status) != "Cancelled":
    time.sleep(0.1)
gate.set()
dag.wait()
print("ended", dag.status, "begun", len(begun), "cancelled", len(dag.cancelled_nodes))
"""


def test_cancel_graph_stops_what_has_not_started(open_notebook: OpenNotebook, kernel: str) -> None:
    """Cancel asks in its own place, and then means it."""
    nb = open_notebook([MANY, WAIT_FOR_CANCEL], kernel=kernel)
    view = show(nb)
    nb.run(1)
    expect(view).to_contain_text("Running", timeout=15_000)

    view.get_by_role("button", name="Cancel graph").click()
    view.get_by_role("button", name=re.compile(r"^Cancel \d+ nodes")).click()
    nb.wait_for_cell(1, seconds=25)

    assert "ended Cancelled begun 2 cancelled 18" in nb.text(1)
    expect(view).to_contain_text("Cancelled")
    nb.assert_no_errors()


def test_a_saved_notebook_shows_the_run_again_after_a_reload(open_notebook: OpenNotebook) -> None:
    """Who closes the browser over lunch finds the run where it was."""
    nb = open_notebook([GRAPH, "gate.set()\n" + WAIT])
    show(nb)
    nb.run_and_wait(1)
    expect(view_of(nb)).to_contain_text("Failed")
    nb.save()

    nb.reload()
    expect(view_of(nb)).to_contain_text("10/12", timeout=2_000)

    view_of(nb).get_by_role("button", name="Retry failed (1)").click()
    expect(view_of(nb)).to_contain_text("12/12", timeout=5_000)
    nb.screenshot("live-reloaded", view_of(nb))
    nb.assert_no_errors()


def test_two_views_of_one_graph_show_the_same_and_are_two_places(open_notebook: OpenNotebook) -> None:
    """One model, shown twice: beside the code and at the end of the notebook."""
    nb = open_notebook([GRAPH, "print(dag.visualize() is view)\nview", "gate.set()\n" + WAIT])
    first = show(nb)
    nb.run_and_wait(1)
    second = view_of(nb, 1)
    expect(second).to_contain_text("Not Started", timeout=10_000)
    assert "True" in nb.text(1)

    nb.run_and_wait(2)

    for view in (first, second):
        expect(view).to_contain_text("10/12")
    second.get_by_role("button", name="Retry failed (1)").click()
    for view in (first, second):
        expect(view).to_contain_text("12/12", timeout=5_000)
    nb.assert_no_errors()
