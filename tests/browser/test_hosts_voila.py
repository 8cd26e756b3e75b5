"""Voila: a notebook as a page without cells, for colleagues who only look. ``make hosts`` makes its environment."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import cannot_run
from tests.browser.test_hosts import Requests
from tests.browser.test_live_view import GRAPH
from tools import voila
from tools.lab import SCREENS

SECONDS_20 = 20_000
SECONDS_60 = 60_000
# The cells end while the sibling waits, so the page comes while the graph runs.
STARTED = """
dag.compute()
deadline = time.monotonic() + 20
while str(dag.nodes_by_name["parse-3"].status) != "Failed" and time.monotonic() < deadline:
    time.sleep(0.05)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[voila.Voila]:
    if not voila.is_installed():
        cannot_run(voila.MISSING)
    running = voila.Voila()
    yield running
    running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[BrowserPage]:
    page = browser.new_page(viewport={"width": 1200, "height": 800}, reduced_motion="reduce")
    yield page
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_graph_lives_and_acts_in_voila(server: voila.Voila, page: BrowserPage, theme: str) -> None:
    """A dashboard: the graph moves while it is looked at, and a failure is read and retried with two clicks."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    requests = Requests(page)

    page.goto(f"{server.write([GRAPH, STARTED], f'{theme}.ipynb')}&theme={theme}")
    view = page.locator(".tiledag").first
    expect(view.locator(".td-done")).to_have_text("9/12", timeout=SECONDS_60)
    expect(view.locator(".td-status").first).to_contain_text("Running")
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector")).to_contain_text("row 3 is not a number", timeout=SECONDS_20)
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"hosts-voila-{theme}.png")
    view.get_by_role("button", name="Retry failed (1)").click()

    # The retried node completes, its child runs, and that lets the sibling go: three changes from the kernel's thread.
    expect(view.locator(".td-done")).to_have_text("12/12", timeout=SECONDS_20)
    expect(view.locator(".td-inspector")).to_contain_text("Completed")
    view.get_by_role("button", name="Full screen").click()
    page.wait_for_function("() => document.fullscreenElement?.classList.contains('tiledag')")
    page.screenshot(path=SCREENS / f"hosts-voila-{theme}-full.png")
    dark = page.evaluate("() => getComputedStyle(document.fullscreenElement).backgroundColor.match(/\\d+/g)[0] < 80")
    assert dark == (theme == "dark")
    assert requests.ours == []
    assert errors == []


def test_a_reload_of_voila_runs_the_notebook_anew(server: voila.Voila, page: BrowserPage) -> None:
    """Each visit has a kernel of its own, as Voila promises: the graph of a reloaded page is a new one, and whole."""
    page.goto(server.write([GRAPH, STARTED], "reload.ipynb"))
    expect(page.locator(".tiledag .td-done").first).to_have_text("9/12", timeout=SECONDS_60)
    first = page.locator(".tiledag[data-graph]").first.get_attribute("data-graph")

    page.reload()

    expect(page.locator(".tiledag .td-done").first).to_have_text("9/12", timeout=SECONDS_60)
    assert page.locator(".tiledag[data-graph]").first.get_attribute("data-graph") != first
