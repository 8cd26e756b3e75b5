"""The bundle comes in two parts: the second one is asked of the kernel when it is first needed, once in a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook, harness_page

ASKED = "kernel.requests.filter(each => each.kind === 'code').length"

BLOCKED = """
import threading, time
from IPython.display import display
from tiledag_widget import DAG
from tiledag_widget.view import feed

sent, own = [], feed.code_messages

def counted(identity):
    messages = own(identity)
    sent.append(max(len(buffers[0]) for _, buffers in messages))
    return messages

feed.code_messages = counted
gate = threading.Event()
dag, other = DAG(name="first", max_workers=1), DAG(name="second")
for graph in (dag, other):
    for number in range(4):
        graph.submit_local(gate.wait, 60, name=f"waits-{number}")
display(dag.visualize())
display(other.visualize())
dag.compute()
deadline = time.monotonic() + 60
while str(dag.status) != "Cancelled" and time.monotonic() < deadline:
    time.sleep(0.1)
gate.set()
"""


@pytest.mark.slow
def test_it_comes_while_a_cell_blocks_and_serves_every_graph_of_the_page(
    open_notebook: OpenNotebook, kernel: str
) -> None:
    """A kernel that is busy still brings the timeline, and the second graph asks for nothing."""
    nb = open_notebook([BLOCKED, "display(dag.visualize())", "print(len(sent), max(sent) <= 256_000)"], kernel=kernel)
    nb.run(0)
    first, second = (nb.output(0).locator(".tiledag").nth(at) for at in (0, 1))

    first.locator("[role=tab][data-pane=timeline]").click()
    expect(first.locator("[role=tabpanel]:visible canvas").first).to_be_visible(timeout=20_000)
    second.locator("[role=tab][data-pane=list]").click()
    expect(second.locator("[role=treegrid]")).to_be_visible(timeout=10_000)
    assert nb.is_running(0)

    cancel = first.locator(".td-actions [data-action=cancel_graph]")
    cancel.click()
    nb.page.keyboard.press("Enter")
    nb.wait_for_cell(0, seconds=40)
    nb.run_and_wait(1)
    third = nb.output(1).locator(".tiledag")
    third.locator("[role=tab][data-pane=logs]").click()
    expect(third.locator(".td-waiting:visible")).to_have_count(0)
    nb.run_and_wait(2)
    assert nb.text(2).strip() == "1 True"
    nb.assert_no_errors()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return harness_page(tmp_path_factory.mktemp("two-parts"), "--built")


@pytest.fixture
def page(browser: Browser, built: Path) -> Iterator[BrowserPage]:
    """The bundle that users get, on a kernel in the page that holds the second part back until it is told."""
    errors: list[str] = []
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{built.as_uri()}?n=12&state=failed&hold=1")
    expect(page.locator(".td-done")).to_contain_text("/")
    yield page
    page.close()
    assert errors == []


@pytest.mark.slow
def test_what_is_waited_for_is_said_and_done_when_it_comes(page: BrowserPage) -> None:
    """A pane, the inspector, a key and what was typed, all before the second part is there."""
    page.locator(".td-viewport").focus()
    page.keyboard.press("f")
    inspector = page.locator(".td-inspector")
    expect(inspector.locator(".td-waiting p")).to_have_text("Loading this part of the view…")
    expect(inspector.locator(".td-title")).not_to_be_empty()
    page.locator(".td-search").fill("status:failed")
    page.locator("[role=tab][data-pane=list]").click()
    expect(page.locator("[role=tabpanel]:visible .td-waiting p")).to_have_text("Loading this part of the view…")
    page.evaluate("kernel.release()")

    expect(page.locator("[role=treegrid]")).to_be_visible()
    expect(inspector.get_by_role("tab", name="Error")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".td-term").first).to_contain_text("status:failed")
    expect(page.locator(".td-waiting:visible")).to_have_count(0)
    assert page.evaluate(ASKED) == 1

    page.evaluate("again(document.body.appendChild(document.createElement('div')))")
    other = page.locator(".tiledag").nth(1)
    other.locator("[role=tab][data-pane=timeline]").click()
    expect(other.locator("[role=tabpanel]:visible canvas").first).to_be_visible()
    assert page.evaluate(ASKED) == 1


@pytest.mark.slow
def test_a_kernel_that_goes_before_it_comes_is_told_with_a_way_out(page: BrowserPage) -> None:
    """Nothing waits for ever, and when the kernel is back one press is enough."""
    page.evaluate("kernel.isAnswering = false; kernel.release()")
    page.locator("[role=tab][data-pane=timeline]").click()
    page.locator(".td-panetab").first.focus()
    page.evaluate("kernel.emit('comm:close')")

    waiting = page.locator("[role=tabpanel]:visible .td-waiting")
    expect(waiting).to_contain_text("could not be loaded: The kernel is not connected.")
    page.evaluate("kernel.isAnswering = true; kernel.emit('comm_live_update')")
    expect(page.locator(".tiledag")).to_have_attribute("data-state", "live")
    waiting.get_by_role("button", name="Try again").click()

    expect(page.locator("[role=tabpanel]:visible canvas").first).to_be_visible(timeout=10_000)


@pytest.mark.slow
def test_the_key_map_opens_when_it_has_come_unless_somebody_changed_their_mind(page: BrowserPage) -> None:
    """Escape takes back what is waited for."""
    page.locator(".td-viewport").focus()
    page.keyboard.press("?")
    expect(page.locator(".td-waitbox")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".td-waitbox")).to_be_hidden()
    page.evaluate("kernel.release()")
    page.locator("[role=tab][data-pane=list]").click()
    expect(page.locator("[role=treegrid]")).to_be_visible()
    expect(page.get_by_role("dialog", name="Keyboard")).to_have_count(0)
