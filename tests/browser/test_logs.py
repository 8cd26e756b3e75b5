"""The Logs view in a real JupyterLab: output while nodes run, find, following, a million lines.

What the list draws from is tested in `tests/view/test_log_lines.py`; here is what only a page shows.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook, OpenPage
from tests.browser.test_screens import settle
from tools.lab import Page

SECONDS_10 = 10_000
SECONDS_20 = 20_000

TALK = """
import logging, sys, threading
from tiledag_widget import DAG

gate, more = threading.Event(), threading.Event()

def talk(number):
    for line in range(40):
        print(f"row {line} of part {number}")
    print("\\x1b[31mred words\\x1b[0m and https://example.com/a?b=1.")
    print("a warning on stderr", file=sys.stderr)
    logging.getLogger("shop").error("order %d is missing", number)
    return number

def wait_for_gate(*parts):
    print("waiting at the gate")
    more.wait(60)
    for line in range(50):
        print("after more", line)
    gate.wait(60)
    print("through the gate")

dag = DAG(name="orders", max_workers=2)
parts = [dag.submit_local(talk, n, name=f"talk-{n}") for n in range(3)]
slow = dag.submit_local(wait_for_gate, *parts, name="slow")
"""

FLOOD = """
from tiledag_widget import DAG

def flood():
    for n in range(1_000_000):
        dag._driver.output.add(0, 1, 1, f"line {n} of a million")

dag = DAG(name="flood")
nodes = [dag.submit_local(flood), *(dag.submit_local(int) for _ in range(3))]
dag.compute()
dag.wait()
dag.visualize()
"""


def logs_of(nb: Page, cell: int = 0) -> Locator:
    """The view with its Logs shown."""
    view = nb.output(cell).locator(".tiledag").first
    expect(view.locator(".td-done")).to_contain_text("/", timeout=SECONDS_20)
    view.scroll_into_view_if_needed()
    view.locator("[data-pane=logs]").click()
    return view


def lines(view: Locator) -> Locator:
    return view.locator(".td-logline:not(.is-waiting)")


@pytest.mark.slow
def test_lines_come_while_the_node_runs_and_the_view_follows_until_somebody_scrolls(
    open_notebook: OpenNotebook,
) -> None:
    """A log that can be read only at the end is no help while something hangs."""
    nb = open_notebook([TALK + "dag.visualize()", "dag.compute()", "more.set()", "gate.set()\ndag.wait()"])
    nb.run_and_wait(0)
    view = logs_of(nb)
    expect(view.locator(".td-logempty")).to_contain_text("No output yet.")

    nb.run_and_wait(1)
    view.scroll_into_view_if_needed()
    expect(lines(view).last).to_contain_text("waiting at the gate", timeout=SECONDS_10)
    body = view.locator(".td-logbody")
    body.focus()
    nb.page.keyboard.press("Home")
    expect(lines(view).first).to_contain_text("row 0 of part")
    nb.run_and_wait(2)
    body.scroll_into_view_if_needed()

    news = view.locator(".td-lognew")
    expect(news).to_contain_text("50 new lines", timeout=SECONDS_10)
    nb.screenshot("logs-new-lines", view)
    news.click()
    expect(lines(view).last).to_contain_text("after more 49")
    expect(news).to_be_hidden()
    nb.run_and_wait(3)
    body.scroll_into_view_if_needed()
    expect(lines(view).last).to_contain_text("through the gate", timeout=SECONDS_10)
    nb.assert_no_errors()


@pytest.mark.slow
def test_find_counts_all_lines_and_steps_through_them(open_notebook: OpenNotebook) -> None:
    """A find that looks only at the lines on screen says 1 of 3 where there are 41."""
    nb = open_notebook([TALK + "more.set(); gate.set(); dag.compute(); dag.wait(); dag.visualize()"])
    nb.run_and_wait(0)
    view = logs_of(nb)
    expect(lines(view).last).to_contain_text("through the gate", timeout=SECONDS_10)
    body = view.locator(".td-logbody")
    body.focus()
    nb.page.keyboard.press("Home")
    nb.page.keyboard.press("Control+f")
    field = view.locator(".td-logfind .td-input")
    expect(field).to_be_focused()

    field.fill("ROW 7 OF")
    counter = view.locator(".td-logcount")
    expect(counter).to_have_text("1/3", timeout=SECONDS_10)
    field.press("Enter")
    expect(counter).to_have_text("2/3")
    field.press("Shift+Enter")
    field.press("Shift+Enter")
    expect(counter).to_have_text("3/3")
    expect(view.locator("[data-found] mark")).to_have_text("row 7 of")
    expect(view.locator(".td-gutter i")).to_have_count(3)
    nb.screenshot("logs-find", view)
    view.get_by_role("button", name="Regular expression").click()
    field.fill("row [1-4] of part 2$")
    expect(counter).to_have_text(re.compile("/4$"), timeout=SECONDS_10)
    field.fill("(r+)+$x")
    field.fill("row (")
    expect(counter).to_contain_text("Not a regular expression", timeout=SECONDS_10)
    field.press("Escape")
    expect(body).to_be_focused()

    nb.page.keyboard.press("Home")
    nb.page.keyboard.press("e")
    expect(view.locator(".td-logline.is-error").first).to_be_visible(timeout=SECONDS_10)
    expect(view.locator(".td-logtext .is-red").first).to_have_text("red words")
    expect(view.locator("[data-url]").first).to_have_attribute("data-url", "https://example.com/a?b=1")
    nb.set_theme(dark=True)
    nb.screenshot("logs-error-dark", view)
    nb.assert_no_errors()


@pytest.mark.slow
def test_a_million_lines_have_a_beginning_and_an_end_one_key_away(open_notebook: OpenNotebook) -> None:
    """A long run's log would freeze the page, or end where a browser's tallest element ends."""
    nb = open_notebook([FLOOD])
    nb.run_and_wait(0)
    view = logs_of(nb)

    expect(lines(view).last).to_contain_text("line 999999 of", timeout=SECONDS_20)
    view.locator(".td-logbody").focus()
    nb.page.keyboard.press("Home")
    expect(lines(view).first).to_contain_text("line 0 of", timeout=SECONDS_10)
    nb.page.keyboard.press("PageDown")
    expect(lines(view).first).to_contain_text(re.compile(r"line [1-9]\d of"))
    nb.page.keyboard.press("End")
    expect(lines(view).last).to_contain_text("line 999999 of", timeout=SECONDS_10)
    nb.page.keyboard.press("Control+f")
    view.locator(".td-logfind .td-input").fill("99999 of")
    expect(view.locator(".td-logcount")).to_have_text(re.compile(r"\d+/10$"), timeout=SECONDS_10)
    nb.screenshot("logs-million", view)
    nb.assert_no_errors()


@pytest.mark.slow
def test_a_closed_view_says_why_it_has_no_lines(show: OpenPage) -> None:
    """ "No output yet." was said of a run that had printed a thousand lines."""
    page = show("n=60&state=failed", width=700)
    page.evaluate("kernel.emit('comm:close')")

    page.locator("[role=tab][data-pane=logs]").click()

    words = page.locator(".td-logempty")
    expect(words).to_have_text("The kernel is not connected.", timeout=SECONDS_10)
    expect(words.get_by_role("button")).to_have_count(0)


SPACED = """
import time
from tiledag_widget import DAG

def talk(number, before=None):
    print("begin", number)
    time.sleep(0.3)
    print("end", number)
    return number

dag = DAG(name="spaced")
node = None
for number in range(3):
    node = dag.submit_local(talk, number, node, name=f"talk-{number}")
dag.compute()
dag.wait(30)
dag.visualize()
"""


@pytest.mark.slow
def test_the_log_of_a_run_is_replayed_with_it(open_notebook: OpenNotebook) -> None:
    """What was printed until a moment, by the clocks of a kernel."""
    nb = open_notebook([SPACED], width=1300)
    nb.run_and_wait(0)
    view = logs_of(nb)
    expect(lines(view)).to_have_count(6, timeout=SECONDS_10)
    view.locator("[aria-haspopup=menu]").click()
    view.get_by_role("menuitemcheckbox", name="Replay").click()
    expect(view.locator(".td-replaytime")).to_contain_text("0 s of", timeout=SECONDS_10)
    done, place = view.locator(".td-done"), view.locator(".td-replaycount")
    current = view.locator(".td-logline[aria-current=time]")

    for number in range(3):
        while done.inner_text() != f"{number + 1}/3":
            before = place.inner_text()
            view.get_by_role("button", name="Next event").press("Enter")
            expect(place).not_to_have_text(before)
            settle(nb.page)
        expect(current).to_contain_text(f"end {number}")
        expect(view.locator(".td-logline[data-later]")).to_have_count(4 - 2 * number)
        nb.screenshot(f"logs-replay-{number}", view)
    nb.assert_no_errors()
