"""VS Code, as far as it can be had: its widget manager, in Chromium, on a real kernel, in its colours.

`tools/vscode.py` says what that is and what is left out; ``make hosts`` gets it. What VS Code does with an output whose
widget is not there is not known here: the test shows that the HTML beside it needs none.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Frame, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import cannot_run
from tests.browser.test_live_view import GRAPH, WAIT
from tests.browser.test_screens import AXE
from tools import vscode
from tools.lab import SCREENS

SECONDS_10 = 10_000
SECONDS_20 = 20_000
VIOLATIONS = "async () => (await axe.run('.tiledag')).violations.map(each => `${each.id}: ${each.nodes[0].html}`)"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[vscode.VSCode]:
    if not vscode.is_installed():
        cannot_run(vscode.MISSING)
    running = vscode.VSCode(browser, tmp_path_factory.mktemp("vscode"))
    yield running
    running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[BrowserPage]:
    errors: list[str] = []
    page = browser.new_page(viewport={"width": 1200, "height": 700}, reduced_motion="reduce")
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


def run(frame: Frame, code: str) -> None:
    """Asks for a cell to be run and comes back at once."""
    frame.evaluate("code => { host.run(code); }", code)


def picture(page: BrowserPage, name: str) -> None:
    SCREENS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENS / f"hosts-vscode-{name}.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_graph_lives_and_acts_on_the_widget_manager_of_vs_code(
    host: vscode.VSCode, page: BrowserPage, theme: str
) -> None:
    """Half of all notebooks are open there: drawn in its colours, live, and steered while the cell waits."""
    frame = host.open(page, host.new_kernel(), theme)
    run(frame, GRAPH)
    view = frame.locator(".tiledag").first
    expect(view.locator(".td-graph[data-drawn]")).to_be_visible(timeout=SECONDS_20)

    run(frame, WAIT)
    expect(view.locator(".td-done")).to_have_text("9/12", timeout=SECONDS_20)
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector")).to_contain_text("row 3 is not a number", timeout=SECONDS_20)
    picture(page, theme)
    surface = view.evaluate("root => getComputedStyle(root).backgroundColor")
    view.get_by_role("button", name="Retry failed (1)").click()

    # The cell still waits for the sibling, which goes on once the retried node and its child have completed.
    expect(view.locator(".td-done")).to_have_text("12/12", timeout=SECONDS_20)
    expect(view.locator(".td-status").first).to_contain_text("Completed")
    page.wait_for_timeout(200)
    assert "ended Completed Completed" in frame.evaluate("host.printed")
    assert surface == ("rgb(248, 248, 248)" if theme == "light" else "rgb(49, 49, 49)"), "the colours of the host"
    font = view.evaluate("root => getComputedStyle(root).fontFamily")
    assert "monospace" not in font, "the editor's letters"
    for pane in ("timeline", "list", "logs", "graph"):
        view.locator(f"[role=tab][data-pane={pane}]").click()
        expect(view.locator(".td-waiting:visible")).to_have_count(0, timeout=SECONDS_10)
        if pane in ("timeline", "list"):
            picture(page, f"{theme}-{pane}")
    frame.evaluate(AXE.read_text())
    assert frame.evaluate(VIOLATIONS) == []
    assert frame.evaluate("host.problems") == []


def test_a_frame_that_may_not_fill_the_screen_has_no_button_for_it(host: vscode.VSCode, page: BrowserPage) -> None:
    """VS Code's notebooks are frames without that permission: a button that does nothing."""
    frame = host.open(page, host.new_kernel(), "dark")
    run(frame, GRAPH)
    expect(frame.locator(".tiledag .td-graph[data-drawn]").first).to_be_visible(timeout=SECONDS_20)

    assert frame.evaluate("document.fullscreenEnabled") is False
    expect(frame.get_by_role("button", name="Full screen")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_reloaded_window_shows_the_static_form(host: vscode.VSCode, page: BrowserPage, theme: str) -> None:
    """The widget manager brings no model back: what the notebook holds tells the run without one."""
    kernel = host.new_kernel()
    frame = host.open(page, kernel, theme)
    run(frame, GRAPH)
    expect(frame.locator(".tiledag .td-graph[data-drawn]").first).to_be_visible(timeout=SECONDS_20)
    run(frame, f"gate.set()\n{WAIT}\nview")
    expect(frame.locator(".tiledag")).to_have_count(2, timeout=SECONDS_20)
    stored = frame.evaluate("host.stored.at(-1)")

    page.goto("about:blank")
    frame = host.open(page, kernel, theme)
    shown = frame.evaluate("data => host.show(data)", stored)

    assert shown == "html"
    expect(frame.get_by_text("row 3 is not a number")).to_be_visible()
    assert frame.locator("img").first.evaluate("img => img.decode().then(() => img.naturalWidth)") > 100
    picture(page, f"{theme}-reloaded")
    assert frame.evaluate("host.problems") == []
