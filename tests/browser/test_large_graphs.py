"""A hundred thousand nodes on one screen: the one that failed is seen, and one key away. Ten thousand end at once."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tools.lab import SCREENS

SECONDS_60 = 60_000

RUN = """
from tiledag_widget import DAG

def work(table, number):
    if number == 61_803:
        raise ValueError("part 61803 is empty")
    return number

dag = DAG(name="large", max_workers=2)
table = dag.submit_local(lambda: "table", name="table")
for number in range(99_999):
    dag.submit_local(work, table, number, name=f"work-{number}")
dag.compute()
try:
    dag.wait(300)
except ValueError as error:
    print(error)
"""
SHOW = "dag.visualize()"
COLOURED = """(canvas, variable) => {
    const [red, green, blue] = getComputedStyle(canvas.closest('.tiledag')).getPropertyValue(variable)
        .trim().match(/[0-9a-f]{2}/gi).map(pair => parseInt(pair, 16));
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        const far = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
        if (data[at + 3] > 200 && far < 12) found++;
    }
    return found;
}"""


@pytest.mark.slow
def test_one_failure_among_a_hundred_thousand_is_seen_at_once_and_one_key_away(open_notebook: OpenNotebook) -> None:
    """Who has to search for the failure was not told of it."""
    nb = open_notebook([RUN, SHOW])
    nb.run_and_wait(0, seconds=300)
    nb.run_and_wait(1)
    view = nb.output(1).locator(".tiledag").first
    graph = view.locator(".td-graph[data-drawn]")
    expect(graph).to_be_visible(timeout=SECONDS_60)

    expect(view.locator(".td-failed")).to_contain_text("1 failed", timeout=SECONDS_60)
    expect(view.locator(".td-chip").first).to_contain_text("99,999")
    canvas = view.locator("canvas.td-layer").nth(1)
    assert canvas.evaluate(COLOURED, "--tiledag-failed") > 100, "the failure is drawn"

    graph.locator(".td-viewport").focus()
    graph.locator(".td-viewport").press("f")

    expect(view.locator(".td-inspector")).to_contain_text("work-61803", timeout=SECONDS_60)
    expect(view.locator(".td-inspector")).to_contain_text("part 61803 is empty", timeout=SECONDS_60)
    nb.screenshot("large-failure")
    nb.assert_no_errors()


ROUNDS = 5
SECONDS_SHOWN = 0.25
QUICK = """
import json, time
from IPython.display import display
from tiledag_widget import DAG

def work(number):
    return number

dag = DAG(name="quick", max_workers=2, record=False)
for number in range(10_000):
    dag.submit_local(work, number)
display(dag.visualize())
"""
COMPUTE = """
began = time.time()
dag.compute()
dag.wait(60)
print(json.dumps([began, time.time()]))
"""
# When the first frame was on the screen that shows all nodes done and the run ended.
SHOWN = """() => {
    window.shown = 0;
    const look = () => {
        const view = [...document.querySelectorAll('.tiledag[data-graph]')].at(-1);
        const isThere = view?.querySelector('.td-done')?.textContent === '10,000/10,000'
            && view.querySelector('.td-status')?.textContent.includes('Completed');
        if (!isThere) requestAnimationFrame(look);
        else requestAnimationFrame(() => { window.shown = Date.now() / 1000; });
    };
    requestAnimationFrame(look);
}"""


@pytest.mark.slow
def test_the_end_of_ten_thousand_nodes_is_on_the_screen_within_a_quarter_of_a_second(
    open_notebook: OpenNotebook,
) -> None:
    """I2, all the way: from the return of ``dag.wait()`` in the kernel to a frame that shows it.

    The middle one of five rounds counts: what else the machine does in one of them is not the view's.
    """
    nb = open_notebook([QUICK, COMPUTE])
    SCREENS.mkdir(parents=True, exist_ok=True)
    late, took = [], []
    for _ in range(ROUNDS):
        nb.run_and_wait(0, seconds=60)
        view = nb.output(0).locator(".tiledag").first
        expect(view.locator(".td-done")).to_have_text("0/10,000", timeout=SECONDS_60)
        nb.page.evaluate(SHOWN)
        nb.run_and_wait(1, seconds=60)
        nb.page.wait_for_function("window.shown > 0", timeout=SECONDS_60)
        began, ended = json.loads(nb.text(1))
        late.append(nb.page.evaluate("window.shown") - ended)
        took.append(ended - began)

    (SCREENS / "shown-after.json").write_text(json.dumps({"seconds of the run": took, "shown after": late}))
    assert sorted(late)[ROUNDS // 2] <= SECONDS_SHOWN, late
    nb.assert_no_errors()
