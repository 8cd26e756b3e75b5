"""What the view says in the less usual moments: out of sight, without a kernel, in nobody's notebook, on wish only.

Each test reads the view's words; what is drawn on the canvas is tested in TypeScript.
"""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook
from tools.lab import Page

SECONDS_10 = 10_000
SECONDS_20 = 20_000

BUILD = """
import threading, time
from tiledag_widget import DAG

gate, tries = threading.Event(), []

def load(number):
    return number

def parse(number):
    if number == 1 and not tries:
        tries.append(number)
        raise ValueError("row 1 is not a number")
    return number

def wait_for_gate(*parts):
    gate.wait(60)
    return parts

dag = DAG(name="orders", max_workers=2)
parsed = [dag.submit_local(parse, dag.submit_local(load, n, name=f"load-{n}"), name=f"parse-{n}") for n in range(3)]
total = dag.submit_local(lambda *parts: parts, *parsed, name="total")
"""
SHOW = BUILD + "slow = dag.submit_local(wait_for_gate, name='slow')\ndag.visualize()"
ENDED = "gate.set()\ndag.compute()\ntry:\n    dag.wait()\nexcept ValueError:\n    pass"


def show(nb: Page, cell: int = 0) -> Locator:
    nb.run_and_wait(cell)
    view = nb.output(cell).locator(".tiledag").first
    expect(view.locator(".td-done")).to_contain_text("/", timeout=SECONDS_20)
    return view


def status_of(view: Locator) -> Locator:
    return view.locator(".td-status")


def cancel_button(view: Locator) -> Locator:
    return view.locator("[data-action=cancel_graph]")


def test_a_view_out_of_sight_is_right_when_it_comes_back(open_notebook: OpenNotebook) -> None:
    """Somebody scrolls away, the run ends, somebody scrolls back: buttons, inspector and all are of now."""
    filler = ["print('\\n'.join(str(n) for n in range(120)))"] * 2
    nb = open_notebook([SHOW, "dag.compute()", *filler, ENDED], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector")).to_contain_text("row 1 is not a number", timeout=SECONDS_10)
    expect(status_of(view)).to_have_attribute("data-status", "2")
    for cell in (2, 3):
        nb.run_and_wait(cell)
    nb.cell(4).scroll_into_view_if_needed()
    expect(view).not_to_be_in_viewport()

    nb.run_and_wait(4)

    # Out of sight the word follows, once a second.
    expect(status_of(view)).to_have_attribute("data-status", "4", timeout=SECONDS_10)
    view.scroll_into_view_if_needed()
    expect(cancel_button(view)).to_have_attribute("aria-disabled", "true", timeout=5_000)
    expect(view.locator(".td-connection")).to_contain_text("run ended", timeout=5_000)
    view.get_by_role("button", name="Retry node", exact=True).click()
    expect(status_of(view)).to_have_attribute("data-status", "3", timeout=SECONDS_10)
    expect(view.locator(".td-sentence")).to_contain_text("Completed in", timeout=SECONDS_10)
    nb.screenshot("states-back", view)
    nb.assert_no_errors()


WORKERS = """
import threading
from tiledag_widget import DAG
gate, tries = threading.Event(), []
def fails_once():
    if not tries:
        tries.append(1)
        raise ValueError("once")
dag = DAG(name="queue", max_workers=1)
first = dag.submit_local(fails_once, name="first")
busy = dag.submit_local(gate.wait, 60, name="busy")
dag.visualize()
"""


def test_a_retried_node_says_that_it_waits_for_a_worker(open_notebook: OpenNotebook) -> None:
    """Pressed, and nothing runs: the reason is in the inspector. Its waiting counts from the attempt before."""
    nb = open_notebook([WORKERS, "dag.compute()", "gate.set(); dag.wait(20)"], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    view.locator(".td-failed").click()
    view.get_by_role("button", name="Retry node", exact=True).click()

    sentence = view.locator(".td-sentence")
    expect(sentence).to_have_text("Not Started, waits for a worker", timeout=SECONDS_10)
    nb.screenshot("states-waits", view)
    # Nodes in threads cannot be ended: the button is absent, and the other one says why.
    assert not view.locator(".td-actions [data-action=stop]").is_visible()
    cancel_button(view).hover()
    expect(cancel_button(view)).to_have_attribute("title", re.compile("threads cannot be ended"))
    nb.page.wait_for_timeout(1500)
    nb.run_and_wait(2)
    expect(sentence).to_contain_text("attempt 2", timeout=SECONDS_10)
    waited = view.locator("dt:text-is('Waited') + dd")
    expect(waited).to_have_text(re.compile(r"^\d"))
    seconds = float(re.sub(r"[^\d.]", "", waited.inner_text()))
    assert seconds >= 1.4, f"waited {waited.inner_text()}"
    nb.assert_no_errors()


def test_a_restarted_kernel_is_said_and_stops_the_buttons(open_notebook: OpenNotebook) -> None:
    """What is shown then is the past, and every button says why it does nothing."""
    nb = open_notebook([SHOW, ENDED], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    expect(status_of(view)).to_have_attribute("data-status", "4", timeout=SECONDS_10)

    # What shows a node has come while there was a kernel to send it.
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector [data-action=retry]")).to_be_visible(timeout=SECONDS_10)

    nb.restart()

    stripe = view.locator(".td-stripe")
    expect(stripe).to_have_text(
        re.compile(r"^Kernel restarted\. This is the state at \d\d:\d\d:\d\d\.$"), timeout=SECONDS_20
    )
    retry = view.locator("[data-action=retry_failed]")
    expect(retry).to_have_attribute("aria-disabled", "true")
    expect(retry).to_have_attribute("title", "The kernel is not connected.")
    expect(view.locator(".td-inspector [data-action=retry]")).to_have_attribute("aria-disabled", "true")
    nb.screenshot("states-restarted", view)
    nb.set_theme(dark=True)
    nb.screenshot("states-restarted-dark", view)
    nb.assert_no_errors()


def test_a_notebook_without_its_kernel(open_notebook: OpenNotebook) -> None:
    """Reopened tomorrow: nothing of ours raises, and the run is in the file for every host that reads it.

    JupyterLab's own widget manager puts "model not found" in the place of every widget and logs that; the widget's
    script never comes to the page, so nothing but a Lab extension can do better there.
    """
    nb = open_notebook([SHOW, ENDED, "dag.visualize()"])
    show(nb)
    nb.run_and_wait(1)
    nb.run_and_wait(2)
    saved = nb.save()
    for session in nb.lab.api("GET", "sessions"):
        if session["path"] == nb.name:
            nb.lab.api("DELETE", f"sessions/{session['id']}")

    nb.reload()
    expect(nb.output(2)).to_contain_text("model not found", timeout=SECONDS_20)

    assert [line for line in nb.errors if "widget model not found" not in line] == []
    data = saved["cells"][2]["outputs"][0]["data"]
    for form in ("text/html", "text/plain"):
        assert "row 1 is not a number" in "".join(data[form])
    assert "widgets" not in saved["metadata"]

    # Lab trusts no output that it has not made: of somebody else's it takes the HTML, and cleans it.
    saved["cells"][2]["outputs"][0]["data"]["text/plain"] = "changed by the test"  # the signature no longer fits
    path = nb.lab.home / "theirs.ipynb"
    path.write_text(json.dumps(saved))
    theirs = open_notebook(path)
    output = theirs.output(2)
    expect(output).to_contain_text("row 1 is not a number", timeout=SECONDS_20)
    expect(output.locator("img")).to_be_visible()
    assert output.locator(".tiledag").count() == 0
    theirs.screenshot("states-untrusted", output)
    theirs.assert_no_errors()


STOP = """
import time
from tiledag_widget import DAG

def sleep(seconds):
    time.sleep(seconds)

dag = DAG(name="processes", use_processes=True, max_workers=2)
nodes = [dag.submit_local(sleep, 90, name=f"sleep-{n}") for n in range(2)]
after = dag.submit_local(lambda *parts: parts, *nodes, name="after")
dag.visualize()
"""
WAIT_TO_END = """
dag.compute()
deadline = time.monotonic() + 60
while not dag.done() and time.monotonic() < deadline:
    time.sleep(0.1)
print("ended", *[node.status for node in nodes])
"""


def test_stop_now_ends_running_nodes_where_that_can_be_done(open_notebook: OpenNotebook) -> None:
    """Cancel means what has not begun. Stop now is another word because it is another act, and asks."""
    nb = open_notebook([STOP, WAIT_TO_END], width=1300)
    view = show(nb)
    nb.run(1)
    stop = view.locator(".td-actions [data-action=stop]")
    expect(stop).to_be_enabled(timeout=SECONDS_20)
    expect(status_of(view)).to_have_attribute("data-status", "2", timeout=SECONDS_20)
    expect(stop).not_to_have_attribute("aria-disabled", "true", timeout=SECONDS_20)

    stop.click()
    nb.screenshot("states-stop-asks", view)
    view.get_by_role("button", name=re.compile(r"^End \d running node")).click()
    nb.wait_for_cell(1, seconds=60)

    assert "ended Cancelled Cancelled" in nb.text(1)
    expect(status_of(view)).to_have_attribute("data-status", "5", timeout=SECONDS_10)
    nb.screenshot("states-stopped", view)
    nb.assert_no_errors()


def test_a_view_that_does_not_follow_stays_still_until_it_is_asked(open_notebook: OpenNotebook) -> None:
    """`auto_update=False` is the reference's; here it says what it is, with a button."""
    still = BUILD + "dag.visualize(auto_update=False)"
    nb = open_notebook([still, "gate.set()\ndag.compute()\ndag.nodes_by_name['load-0'].wait(20); time.sleep(1.5)"])
    view = show(nb)
    expect(view.locator(".td-connection")).to_contain_text("Not following", timeout=SECONDS_10)

    nb.run_and_wait(1)
    expect(view.locator(".td-done")).to_have_text("0/7")
    expect(status_of(view)).to_have_attribute("data-status", "1")
    view.get_by_role("button", name="Update now").click()

    expect(view.locator(".td-done")).to_have_text("5/7", timeout=SECONDS_10)
    expect(status_of(view)).to_have_attribute("data-status", "4")
    nb.screenshot("states-still", view)
    nb.assert_no_errors()


@pytest.mark.slow
def test_the_plotly_figure_changes_while_the_cell_runs(open_notebook: OpenNotebook) -> None:
    """`force_plotly=True` is a FigureWidget that lives: 5 MB of script, hence slow."""
    figure = BUILD + "slow = dag.submit_local(wait_for_gate, name='slow')\ndag.visualize(force_plotly=True)"
    wait = (
        "dag.compute()\nopens = threading.Timer(40, gate.set)\nopens.daemon = True\nopens.start()\n"
        + ENDED.split("\n", 2)[2]
    )
    nb = open_notebook([figure, wait], width=1300)
    nb.run_and_wait(0, seconds=90)
    plot = nb.output(0).locator(".js-plotly-plot")
    expect(plot).to_be_visible(timeout=60_000)
    fill = """element => [...new Set([...element.querySelectorAll('.points path')]
        .map(path => path.style.fill))].sort().join(' ')"""
    expect(plot.locator(".points path").first).to_be_attached(timeout=SECONDS_20)
    before = plot.evaluate(fill)

    nb.run(1)
    changed = "([before, fill]) => eval(fill)(document.querySelector('.js-plotly-plot')) !== before"
    nb.page.wait_for_function(changed, arg=[before, fill], timeout=30_000)

    assert nb.is_running(1)
    assert len(plot.evaluate(fill).split("rgb")) > 2, plot.evaluate(fill)
    nb.screenshot("states-plotly", plot)
    nb.assert_no_errors()


ARRANGED_BY_NOBODY = """
import threading
from tiledag_widget import DAG
from tiledag_widget.view.opening import Openings
gate, make = threading.Event(), Openings._make
Openings._make = lambda openings, version: gate.wait(60) and make(openings, version)
dag = DAG(name="wide")
for at in range(300):
    dag.submit_local(abs, at, name=f"{'abcde'[at % 5]}-{at}")
dag.visualize()
"""


def test_a_graph_that_takes_long_to_arrange_is_announced_and_shown_without_that_on_wish(
    open_notebook: OpenNotebook,
) -> None:
    """The cell ends at once, the view says what it waits for, and after Stop the run can be watched all the same."""
    nb = open_notebook([ARRANGED_BY_NOBODY, "dag.compute(); dag.wait(20)", "gate.set()"], width=1300)
    nb.run_and_wait(0)
    view = nb.output(0).locator(".tiledag").first
    note = view.locator(".td-empty")
    expect(note.get_by_role("status")).to_have_text("Arranging 300 nodes…", timeout=SECONDS_10)
    nb.screenshot("states-arranging", view)
    expect(view.locator(".td-done")).to_have_text("0/300", timeout=SECONDS_10)

    note.get_by_role("button", name="Stop").click()

    expect(note).not_to_contain_text("Arranging", timeout=SECONDS_10)
    expect(view).to_contain_text("Not arranged: it was stopped.")
    nb.run_and_wait(1)
    expect(view.locator(".td-done")).to_have_text("300/300", timeout=SECONDS_10)
    nb.screenshot("states-not-arranged", view)
    nb.run_and_wait(2)
    nb.assert_no_errors()
