"""The bundle comes in two parts: the second one is asked of the kernel when it is first needed, once in a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook, harness_page, slowed

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
    # Another test may have brought the code into a page that is kept.
    cells = [BLOCKED, "display(dag.visualize())", "print(len(sent), max(sent) <= 256_000)"]
    nb = open_notebook(cells, kernel=kernel, fresh=True)
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


Show = Callable[[str], BrowserPage]


@pytest.fixture
def show(browser: Browser, built: Path) -> Iterator[Show]:
    """The bundle that users get, on a kernel in the page that holds the second part back until it is told."""
    pages: list[BrowserPage] = []
    errors: list[str] = []

    def open_page(query: str) -> BrowserPage:
        page = slowed(browser.new_page(viewport={"width": 1300, "height": 900}))
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{built.as_uri()}?{query}&hold=1")
        expect(page.locator(".td-done")).to_contain_text("/", timeout=10_000)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def page(show: Show) -> BrowserPage:
    return show("n=12&state=failed")


def asked(page: BrowserPage) -> list[list[object]]:
    """Actions that reached the kernel: kind and nodes, each once."""
    found: list[list[object]] = page.evaluate(
        """() => {
            const kinds = ['retry', 'retry_failed', 'retry_from', 'cancel', 'cancel_graph', 'stop'];
            const sent = kernel.requests.filter(each => kinds.includes(each.kind));
            return [...new Map(sent.map(each => [each.id, each])).values()].map(each => [each.kind, each.nodes ?? []]);
        }"""
    )
    return found


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
    expect(waiting.get_by_role("button", name="Try again")).to_be_visible()
    # What was pressed in vain is not done at some later time.
    page.locator("[role=tab][data-pane=graph]").click()
    page.locator(".td-failed").click()
    page.locator(".td-viewport").press("r")
    page.locator("[role=tab][data-pane=timeline]").click()
    page.evaluate("kernel.isAnswering = true; kernel.emit('comm_live_update')")
    expect(page.locator(".tiledag")).to_have_attribute("data-state", "live")

    expect(page.locator("[role=tabpanel]:visible canvas").first).to_be_visible(timeout=10_000)
    expect(page.locator(".td-inspector").get_by_role("tab", name="Error")).to_be_visible()
    assert asked(page) == []


@pytest.mark.slow
def test_what_another_graph_of_the_page_was_brought_serves_a_view_whose_kernel_is_gone(page: BrowserPage) -> None:
    """A kernel restarted at once: the old view could never show what it holds, though its code is in the page."""
    page.evaluate("kernel.emit('comm:close')")
    page.locator(".td-failed").click()
    inspector = page.locator(".td-inspector")
    expect(inspector).to_contain_text("could not be loaded: The kernel is not connected.")
    expect(inspector).to_contain_text("Failed")

    page.evaluate("kernel.release(); another(document.body.appendChild(document.createElement('div')))")
    other = page.locator(".tiledag").nth(1)
    expect(other.locator(".td-done")).to_contain_text("/")
    other.locator("[role=tab][data-pane=list]").click()

    expect(other.locator("[role=treegrid]")).to_be_visible(timeout=10_000)
    expect(inspector.get_by_role("tab", name="Overview")).to_be_visible(timeout=10_000)


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


def test_enter_in_the_search_is_done_when_its_reader_has_come(show: Show) -> None:
    """Quick fingers typed a name and pressed Enter, and nothing happened: it was too early."""
    page = show("n=12&state=failed&late=1")
    page.locator(".td-viewport").focus()
    page.keyboard.press("/")
    page.keyboard.type("node:report")
    page.keyboard.press("Enter")
    expect(page.locator(".td-chips .td-waiting")).to_be_visible()

    # The reader comes, but not yet the names that it needs.
    page.evaluate("kernel.release()")
    expect(page.locator(".td-term").first).to_have_text("node:report")
    expect(page.locator(".td-inspector")).to_be_hidden()
    page.evaluate("kernel.tell()")

    expect(page.locator(".td-inspector .td-title")).to_have_text("report")
    expect(page.locator(".td-searchcount")).to_have_text("1/1")


def test_keys_pressed_before_the_second_part_came_are_done_in_their_order(show: Show) -> None:
    """The list, its third row, the inspector; and in another view the retry of a failure, then the map of the keys."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()
    for key in ("l", "Home", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.evaluate("kernel.release()")

    rows = page.locator("[role=row][aria-selected=true]")
    expect(rows).to_have_count(1)
    expect(rows).to_have_attribute("aria-rowindex", "4")
    name = rows.locator(".td-listname").inner_text()
    expect(page.locator(".td-inspector .td-title")).to_have_text(name)
    assert page.locator(".td-inspector").evaluate("inspector => inspector.contains(document.activeElement)")


@pytest.mark.slow
def test_a_retry_and_a_cancel_that_were_pressed_too_early_reach_the_kernel(show: Show) -> None:
    """f and r, then all failed ones, in this order; c asks, and Enter, pressed as early, is the answer."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()
    for key in ("f", "r", "Shift+R"):
        page.keyboard.press(key)
    assert asked(page) == []
    page.evaluate("kernel.release()")

    page.wait_for_function("() => kernel.requests.some(each => each.kind === 'retry_failed')")
    failed = page.evaluate("() => kernel.states.flatMap((each, node) => each.status === 4 ? [node] : [])")
    assert asked(page) == [["retry", failed[:1]], ["retry_failed", []]]

    page = show("n=12&state=running")
    page.locator(".td-viewport").focus()
    for key in ("End", " ", "c", "Enter"):
        page.keyboard.press(key)
    page.evaluate("kernel.release()")
    page.wait_for_function("() => kernel.requests.some(each => each.kind === 'cancel')")
    assert [kind for kind, _ in asked(page)] == ["cancel"]


@pytest.mark.slow
def test_every_part_of_the_second_part_opens_for_who_was_too_early(show: Show) -> None:
    """Timeline, logs, replay, export and the map of the keys: each pressed before it was there."""
    page = show("n=12&state=done")
    viewport = page.locator(".td-viewport")
    viewport.focus()
    page.keyboard.press("?")
    expect(page.locator(".td-waitbox")).to_be_visible()
    page.evaluate("kernel.release()")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    expect(page.locator(".td-waitbox")).to_be_hidden()

    for entry, opened in (("Replay", ".td-replay"), ("Export…", "[role=dialog][aria-label=Export]")):
        page = show("n=12&state=done")
        page.locator("[aria-haspopup=menu]").click()
        page.locator(".td-menu").get_by_text(entry, exact=True).press("Enter")
        expect(page.locator(".td-waitbox")).to_be_visible()
        page.evaluate("kernel.release()")
        expect(page.locator(opened)).to_be_visible()

    for key, body in (("t", ".td-tl-body"), ("o", "[role=log]")):
        page = show("n=12&state=done")
        page.locator(".td-viewport").focus()
        page.keyboard.press(key)
        page.keyboard.press("End")
        page.keyboard.press("/")
        page.keyboard.type("clean")
        page.evaluate("kernel.release()")
        expect(page.locator(f"{body} >> visible=true")).to_be_visible()
        expect(page.locator(".td-searchcount")).to_have_text("5 of 12")
        expect(page.locator(".td-search")).to_be_focused()


@pytest.mark.slow
def test_escape_takes_back_what_waits_and_another_pane_is_one_key_away(page: BrowserPage) -> None:
    """Nobody is held in a pane that has not come, and what was taken back stays undone."""
    page.locator(".td-viewport").focus()
    page.keyboard.press("l")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    expect(page.locator(".td-viewport")).to_be_focused()
    page.keyboard.press("f")
    page.keyboard.press("r")
    page.keyboard.press("Escape")
    page.evaluate("kernel.release()")

    expect(page.locator(".td-inspector").get_by_role("tab", name="Error")).to_be_visible()
    assert asked(page) == []
    expect(page.locator("[role=row][aria-selected=true]")).to_have_count(0)
