"""The switches for teaching: worker lanes, why nodes wait, predict mode, slow motion."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook, OpenPage
from tests.browser.test_screens import violations
from tests.view.test_export import ran
from tiledag_widget.view.export import made
from tools.lab import SCREENS

SECONDS_10 = 10_000


def switch(page: Any, name: str) -> None:
    """One of the menu's switches, by keys alone."""
    page.locator("[aria-haspopup=menu]").first.press("Enter")
    menu = page.locator(".td-menu").first
    expect(menu).to_be_visible()
    expect(menu.locator(".td-menuhead")).to_have_text("Teaching")
    entry = menu.get_by_role("menuitemcheckbox", name=name)
    for _ in range(30):
        if entry.evaluate("entry => entry === document.activeElement"):
            break
        menu.locator("button:focus").press("ArrowDown")
    entry.press("Enter")


def finish(page: BrowserPage, status: int = 3) -> int:
    """The kernel says that a running node has ended; returns it."""
    node = page.evaluate("() => kernel.states.findIndex(each => each.status === 2)")
    page.evaluate("([index, status]) => kernel.patch([{ index, status, ended: 42 }])", [node, status])
    return int(node)


def test_lanes_show_what_each_worker_does_and_point_at_it(show: OpenPage) -> None:
    """Who learns what workers are for sees only nodes that turn blue."""
    page = show("n=12&state=running")
    lanes = page.locator(".td-lanes")
    expect(lanes).to_be_hidden()

    switch(page, "Worker lanes")

    expect(lanes.locator(".td-lane")).to_have_count(8)
    running = lanes.locator(".td-lanechip.is-running")
    before = running.count()
    assert before == page.evaluate("() => kernel.states.filter(each => each.status === 2).length") > 0
    node = finish(page)
    expect(running).to_have_count(before - 1)
    name = page.evaluate("node => kernel.nodes[node].name", node)
    chip = lanes.locator(f"[data-node='{node}']")
    expect(chip).to_have_attribute("title", re.compile(f"^{name}, Completed after "))
    chip.focus()
    chip.press("Enter")
    expect(page.locator(".td-inspector .td-title")).to_have_text(name)
    expect(chip).to_have_attribute("data-chosen", "")

    switch(page, "Worker lanes")
    expect(lanes).to_be_hidden()


def test_why_a_node_waits_is_said(show: OpenPage) -> None:
    """ "Not Started" is what one sees; why is what one wants to know."""
    page = show("n=12&state=running")
    waiting = page.evaluate("() => kernel.states.findIndex(each => each.status === 1)")
    reveal = page.locator(".td-viewport")
    reveal.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    said = page.locator(".td-sentence")
    usual = said.inner_text()

    switch(page, "Why nodes wait")

    expect(said).not_to_have_text(usual, timeout=SECONDS_10)
    expect(said).to_have_text(re.compile(r"^Not Started, waits for \S+( and \d+ more)?$"))
    assert waiting >= 0


def test_predict_mode_hides_a_change_everywhere_until_it_was_said(show: OpenPage) -> None:
    """The answer must not stand in the next tab, in the counts or in the inspector."""
    page = show("n=12&state=running")
    done = page.locator(".td-done")
    before = done.inner_text()
    switch(page, "Predict")
    bar = page.get_by_role("toolbar", name="Predict")
    expect(bar).to_contain_text("Nothing is hidden.")

    node = finish(page, status=4)
    name = page.evaluate("node => kernel.nodes[node].name", node)

    expect(bar).to_contain_text("1 node has changed.")
    expect(page.locator(".td-failed")).to_be_hidden()
    assert done.inner_text() == before
    page.locator("[role=tab][data-pane=list]").click()
    row = page.locator(f".td-listrow[data-row='{node}']")
    expect(row).to_contain_text("Running", timeout=SECONDS_10)
    page.locator("[role=tab][data-pane=logs]").click()
    expect(page.locator(".td-logbody")).not_to_contain_text("could not convert")
    page.locator("[role=tab][data-pane=graph]").click()
    expect(page.locator(".td-ask")).to_have_text("?")

    page.locator(".td-viewport").focus()
    page.keyboard.press("n")
    expect(bar).to_contain_text(f"{name} was Running. What is it now?")
    expect(page.locator("[data-tab=error]")).to_have_count(0)
    expect(bar.locator(":focus")).to_have_text("Not Started")
    bar.get_by_role("button", name="Completed").press("Enter")

    expect(bar).to_contain_text(f"No: {name} is Failed")
    expect(bar).to_contain_text("0 of 1 right")
    expect(page.locator(".td-failed")).to_have_text("1 failed")
    expect(page.locator(".td-ask")).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('.td-predict') !== null"), "the keyboard is lost"


@pytest.mark.slow
def test_another_view_hides_nothing_and_switching_off_shows_all(show: OpenPage) -> None:
    """Two who look at one run: the one who guesses must not take the news from the other."""
    page = show("n=12&state=running")
    page.evaluate("again(document.body.appendChild(document.createElement('div')))")
    other = page.locator(".tiledag").nth(1)
    expect(other.locator(".td-done")).to_contain_text("/12", timeout=SECONDS_10)
    first = page.locator(".tiledag").first
    switch(first, "Predict")
    before = first.locator(".td-done").inner_text()

    finish(page)

    expect(other.locator(".td-done")).not_to_have_text(before)
    assert first.locator(".td-done").inner_text() == before
    first.get_by_role("toolbar", name="Predict").get_by_role("button", name="Switch off").press("Enter")
    expect(first.locator(".td-done")).to_have_text(other.locator(".td-done").inner_text())
    expect(first.locator(".td-predict")).to_be_hidden()


def play_and_predict(page: BrowserPage, open_replay: Callable[[], None]) -> Locator:
    """A replay that plays waits at each change until somebody has said something."""
    switch(page, "Predict")
    open_replay()
    bar = page.get_by_role("toolbar", name="Predict")
    page.get_by_role("button", name="Play", exact=True).press("Enter")
    expect(bar).to_contain_text("has changed.", timeout=SECONDS_10)
    return bar


@pytest.mark.slow
def test_a_replay_waits_for_the_answer_and_plays_on(show: OpenPage) -> None:
    """Otherwise the run is over before the first question is read."""
    page = show("n=12&state=failed")
    bar = play_and_predict(page, lambda: menu_entry(page, "Replay"))
    time = page.locator(".td-replaytime").inner_text()
    page.wait_for_timeout(300)
    assert page.locator(".td-replaytime").inner_text() == time

    page.locator(".td-ask").click()
    expect(bar).to_contain_text("load_flights was Not Started. What is it now?")
    bar.get_by_role("button", name="Running").click()

    expect(bar).to_contain_text("1 of 1 right")
    expect(bar).to_contain_text("has changed.", timeout=SECONDS_10)
    expect(page.locator(".td-replaytime")).not_to_have_text(time)


def menu_entry(page: BrowserPage, name: str) -> None:
    page.locator("[aria-haspopup=menu]").first.click()
    page.locator(".td-menu").get_by_text(name, exact=True).click()


@pytest.mark.slow
def test_an_exported_run_can_be_predicted(browser: Browser, tmp_path: Path) -> None:
    """The page that is handed to a class has no kernel."""
    target = tmp_path / "run.html"
    target.write_text(made(ran(["load", "resize", "merge"]), "html"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 640})
    page.goto(target.as_uri())
    expect(page.locator(".td-done")).to_have_text("3/3")

    bar = play_and_predict(page, lambda: menu_entry(page, "Replay"))
    bar.get_by_role("button", name="Ask me about the next").click()
    expect(bar).to_contain_text("was Not Started. What is it now?")
    bar.get_by_role("button", name="Just show it").click()

    expect(bar).to_contain_text(re.compile("is Running|is Parent Failed"))
    page.locator("[aria-haspopup=menu]").first.click()
    slow = page.locator(".td-item", has_text="Slow motion")
    expect(slow).to_have_attribute("aria-disabled", "true")
    expect(slow).to_have_attribute("title", "The kernel is not connected.")
    page.close()


@pytest.mark.slow
def test_slow_motion_is_asked_of_the_kernel_and_absent_where_nobody_can(show: OpenPage) -> None:
    """A switch that only draws slowly would lie about the run."""
    page = show("n=12&state=running")
    switch(page, "Slow motion")
    bar = page.get_by_role("toolbar", name="Slow motion")
    expect(bar.get_by_role("radio", name="1 s", exact=True)).to_have_attribute("aria-checked", "true")
    bar.get_by_role("radio", name="3 s", exact=True).press("Enter")
    expect(bar.get_by_role("radio", name="3 s", exact=True)).to_have_attribute("aria-checked", "true")
    asked = "kernel.requests.map(each => each.kind).filter(each => each.startsWith('pace_'))"
    assert list(dict.fromkeys(page.evaluate(asked))) == ["pace_1000", "pace_3000"]
    bar.get_by_role("button", name="Switch off").press("Enter")
    expect(bar).to_be_hidden()

    page.evaluate("kernel.pace = null; kernel.patch([])")
    page.locator("[aria-haspopup=menu]").first.click()
    slow = page.locator(".td-item", has_text="Slow motion")
    expect(slow).to_have_attribute("aria-disabled", "true")
    expect(slow).to_have_attribute("title", re.compile("The server runs this graph"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark", "forced"])
@pytest.mark.parametrize(("count", "width"), [(12, 1300), (1000, 1300), (12, 352)])
def test_nobody_is_kept_out_of_the_switches(show: OpenPage, mode: str, count: int, width: int) -> None:
    """All of them at once, with a question open: axe-core finds nothing, and nothing is wider than the view."""
    page = show(f"n={count}&state=running", mode, width)
    for name in ("Worker lanes", "Why nodes wait", "Predict", "Slow motion"):
        switch(page, name)
    page.locator("[role=tab][data-pane=graph]").click()
    finish(page)
    page.get_by_role("button", name="Ask me about the next").press("Enter")
    expect(page.get_by_role("toolbar", name="Predict")).to_contain_text("What is it now?")
    root = page.locator(".tiledag")
    SCREENS.mkdir(parents=True, exist_ok=True)
    root.screenshot(path=SCREENS / f"teaching-{count}-{width}-{mode}.png")

    assert violations(page) == []
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1"), "it is wider than its room"
    small = page.locator(".td-teaching button >> visible=true").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect()).filter(box => box.width < 24 || box.height < 24).length"
    )
    assert small == 0


CELL = """
import threading
from tiledag_widget import DAG
dag = DAG(name="class", max_workers=2, record=False)
nodes = [dag.submit_local(int, name=f"node-{n}") for n in range(30)]
dag.visualize()
"""


@pytest.mark.slow
def test_in_lab_slow_motion_slows_a_run_while_its_cell_waits(open_notebook: OpenNotebook) -> None:
    """From the press to the engine and back: the run itself goes slowly, and is set free again, while a cell blocks."""
    nb = open_notebook([CELL, "dag.compute(); dag.wait(); print('over', dag.slow_motion)", "dag.slow_motion = 20"])
    nb.run_and_wait(0)
    view = nb.output(0).locator(".tiledag")
    expect(view.locator(".td-done")).to_have_text("0/30", timeout=SECONDS_10)
    nb.run_and_wait(2)
    bar = view.get_by_role("toolbar", name="Slow motion")
    expect(bar).to_contain_text("20 s between ready and start", timeout=SECONDS_10)
    switch(view, "Worker lanes")
    switch(view, "Why nodes wait")

    nb.run(1)
    expect(view.locator(".td-status")).to_contain_text("Running", timeout=SECONDS_10)
    bar.get_by_role("radio", name="0.25 s", exact=True).click()
    expect(view.locator(".td-lane").first.locator(".td-lanechip").first).to_be_visible(timeout=SECONDS_10)
    assert nb.is_running(1)
    nb.screenshot("teaching", nb.output(0))
    bar.get_by_role("radio", name="Off", exact=True).click()

    nb.wait_for_cell(1, seconds=20)
    assert "over 0.0" in nb.text(1)
    expect(view.locator(".td-done")).to_have_text("30/30", timeout=SECONDS_10)
    assert view.locator(".td-lane").count() == 2
