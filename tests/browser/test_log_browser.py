"""The log browser: list, filters, pages, an opened run, on a kernel in the page; and all of it in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import IN_LONDON, OpenNotebook, assert_looks, at_noon, slowed
from tests.browser.test_screens import LUMINANCE, violations
from tools.lab import SCREENS

SECONDS_10 = 10_000
SECONDS_30 = 30_000

Show = Callable[..., BrowserPage]


@pytest.fixture
def show(browser: Browser, source_page: Path) -> Iterator[Show]:
    """``show("runs=57", "dark", 352)``: the list, once it has rows; the test fails on any error of the page."""
    pages: list[BrowserPage] = []
    errors: list[str] = []

    def open_page(query: str, mode: str = "light", width: int = 1300) -> BrowserPage:
        forced: Any = "active" if mode == "forced" else "none"
        page = browser.new_page(viewport={"width": width, "height": 900}, forced_colors=forced, **IN_LONDON)
        pages.append(slowed(at_noon(page)))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{source_page.as_uri()}?{query}&theme={'dark' if mode == 'dark' else 'light'}")
        expect(page.locator(".td-runs tbody tr").first).to_be_visible(timeout=SECONDS_10)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


def rows(page: BrowserPage) -> Locator:
    return page.locator(".td-runs tbody tr")


@pytest.mark.slow
def test_runs_are_paged_filtered_and_searched(show: Show) -> None:
    """Ten of fifty-seven: the others would be out of reach, and a filter of page six would show nothing."""
    page = show("runs=57")
    expect(rows(page)).to_have_count(10)
    foot = page.locator(".td-runs .td-actions [role=status]")
    expect(foot).to_have_text("1–10 of 57")
    expect(page.get_by_role("button", name="Newer runs")).to_have_attribute("aria-disabled", "true")

    older = page.get_by_role("button", name="Older runs")
    for first in (11, 21, 31, 41):
        older.press("Enter")
        expect(foot).to_have_text(f"{first}–{first + 9} of 57")
    older.press("Enter")
    expect(foot).to_have_text("51–57 of 57")
    expect(older).to_have_attribute("aria-disabled", "true")

    page.locator(".td-runs .td-search").fill("flights")
    expect(foot).to_have_text("1–10 of 19", timeout=SECONDS_10)
    page.get_by_role("combobox", name="Status of the runs listed").press("F")
    expect(page.get_by_role("combobox", name="Status of the runs listed")).to_have_value("failed")
    expect(rows(page).locator(".td-runstatus", has_text="Completed")).to_have_count(0)
    expect(rows(page).locator(".td-runstatus").first).to_contain_text("Failed")
    page.locator(".td-runs .td-search").fill("nothing like it")
    expect(foot).to_have_text("No run on record fits.", timeout=SECONDS_10)


@pytest.mark.slow
def test_what_was_asked_for_in_python_stands_in_the_fields(show: Show) -> None:
    """`browse_logs(search="weather")` would show all runs, because the page knew nothing of it."""
    page = show("runs=57&search=weather")

    expect(page.locator(".td-runs .td-search")).to_have_value("weather")
    assert all("weather" in each for each in rows(page).locator(".td-runname").all_inner_texts())
    page.get_by_role("button", name="Refresh").click()
    page.wait_for_function("() => kernel.asked.length >= 2")
    assert page.evaluate("kernel.asked.at(-1).search") == "weather"


def test_a_run_is_opened_looked_into_and_left_without_a_mouse(show: Show) -> None:
    """List, graph, logs, inspector, back to the same page of the list."""
    page = show("runs=57&n=12&state=failed")
    page.get_by_role("button", name="Older runs").press("Enter")
    expect(rows(page).first).to_contain_text("flights-10")
    page.get_by_role("button", name="flights-10").press("Enter")

    view = page.locator(".tiledag[data-graph]")
    expect(view.locator(".td-done")).to_have_text("6/12", timeout=SECONDS_10)
    expect(page.get_by_role("button", name="All runs")).to_be_focused()
    view.locator(".td-viewport").focus()
    page.keyboard.press("o")
    expect(view.locator("[role=log]")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("e")
    expect(view.locator(".td-logline.is-error")).to_be_visible()
    expect(view.locator(".td-logline[data-found]")).to_contain_text("could not convert")
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(view.locator(".td-inspector .td-errormessage")).to_contain_text("could not convert")

    page.get_by_role("button", name="All runs").press("Enter")
    expect(view).to_have_count(0)
    expect(rows(page).first).to_contain_text("flights-10")
    expect(page.locator(".td-runs .td-search")).to_be_focused()


@pytest.mark.slow
def test_the_lines_of_a_run_are_copied_saved_and_wrapped(show: Show) -> None:
    """A log that cannot be taken along is half a log."""
    page = show("runs=3&n=12&state=failed")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    rows(page).first.get_by_role("button").click()
    view = page.locator(".tiledag[data-graph]")
    view.locator("[data-pane=logs]").click()
    expect(view.locator(".td-logline").first).to_be_visible(timeout=SECONDS_10)

    view.locator("[role=log]").focus()
    page.keyboard.press("w")
    expect(view.get_by_role("button", name="Wrap")).to_have_attribute("aria-pressed", "true")
    view.locator(".td-logtools").get_by_role("button", name="Copy").press("Enter")
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('27,004 rows')")
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert len(copied) == 21
    assert "\x1b" not in "".join(copied)
    with page.expect_download() as saved:
        view.locator(".td-logtools").get_by_role("button", name="Download").press("Enter")
    text = Path(saved.value.path()).read_text(encoding="utf-8")
    assert text.count("27,004 rows") == 7


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark", "forced"])
@pytest.mark.parametrize("width", [1300, 352])
def test_the_list_of_runs_keeps_nobody_out(show: Show, mode: str, width: int) -> None:
    """Every run, at 320 px too."""
    page = show("runs=57", mode, width)
    runs = page.locator(".td-runs")
    SCREENS.mkdir(parents=True, exist_ok=True)
    picture = runs.screenshot(path=SCREENS / f"view-runs-{width}-{mode}.png")

    if mode != "forced":
        assert_looks(page, picture, f"runs-{width}-{mode}")
    assert violations(page) == []
    assert runs.evaluate("root => root.scrollWidth <= root.clientWidth + 1"), "it is wider than its room"
    overlaps = runs.locator(".td-tools").evaluate(
        """tools => {
            const boxes = [...tools.children].map(each => each.getBoundingClientRect()).filter(box => box.width > 0);
            const isOne = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1
                && b.top < a.bottom - 1;
            return boxes.flatMap((a, at) => boxes.slice(at + 1).filter(b => isOne(a, b))).length;
        }"""
    )
    assert overlaps == 0, "one of the tools stands on another"
    if mode != "forced":
        luminance = runs.evaluate(LUMINANCE)
        assert luminance > 0.9 if mode == "light" else luminance < 0.2


RUN = """
import os, tempfile
os.environ["TILEDAG_DATA_DIR"] = tempfile.mkdtemp()
os.environ["TILEDAG_SERVER"] = "embedded"
import tiledag_widget
from tiledag_widget import DAG

def work(number):
    print("working on", number)
    if number == 3:
        raise ValueError("no row 3")
    return number

for name in ("orders", "flights", "weather"):
    dag = DAG(name=name)
    parts = [dag.submit(work, n, name=f"work-{n}") for n in range(4 if name == "flights" else 2)]
    dag.compute()
    try:
        dag.wait(60)
    except Exception:
        if name != "flights":
            raise
    del dag, parts
browser = tiledag_widget.browse_logs(search="e")
browser
"""


@pytest.mark.slow
def test_a_run_on_record_is_found_opened_and_left_again(open_notebook: OpenNotebook) -> None:
    """A run of yesterday could be read by its id only."""
    nb = open_notebook([RUN, "browser.close(); tiledag_widget.shutdown()"])
    nb.run_and_wait(0)
    runs = nb.output(0).locator(".td-runs")
    # Of orders, flights and weather.
    expect(runs.locator("tbody tr")).to_have_count(2, timeout=SECONDS_30)
    runs.scroll_into_view_if_needed()
    field = runs.locator(".td-search")
    expect(field).to_have_value("e")
    field.fill("")
    expect(runs.locator("tbody tr")).to_have_count(3, timeout=SECONDS_30)
    nb.screenshot("runs-list", runs)
    nb.set_theme(dark=True)
    nb.screenshot("runs-list-dark", runs)

    field.fill("fligh")
    expect(runs.locator("tbody tr")).to_have_count(1, timeout=SECONDS_10)
    expect(runs.locator("tbody tr")).to_contain_text("Failed")
    runs.get_by_role("button", name="flights").click()
    view = nb.output(0).locator(".tiledag[data-graph]")
    expect(view.locator(".td-status")).to_contain_text("Failed", timeout=SECONDS_30)
    expect(view.locator(".td-done")).to_contain_text("3/4")
    view.locator("[data-pane=logs]").click()
    expect(view.locator(".td-logline").first).to_contain_text("working on", timeout=SECONDS_10)
    nb.screenshot("runs-opened-dark", view)
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector")).to_contain_text("no row 3", timeout=SECONDS_10)
    view.locator(".td-inspector").get_by_role("tab", name="Logs").click()
    expect(view.locator(".td-inspector .td-logline").first).to_contain_text("working on 3", timeout=SECONDS_10)

    nb.output(0).get_by_role("button", name="All runs").click()
    expect(runs.locator("tbody tr")).to_have_count(1, timeout=SECONDS_10)

    # Two nodes: at this height there is no line for the tools, yet the logs are one press away.
    field.fill("orders")
    runs.get_by_role("button", name="orders").click()
    expect(view.locator(".td-done")).to_contain_text("2/2", timeout=SECONDS_30)
    view.locator("[data-pane=logs]").click()
    expect(view.locator(".td-logline").first).to_contain_text("working on", timeout=SECONDS_10)
    nb.assert_no_errors()
    nb.run_and_wait(1)
