"""The view without a mouse, and with names that somebody chose to do harm."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import OpenNotebook, OpenPage
from tools.lab import Page

SECONDS_10 = 10_000
SECONDS_20 = 20_000

GRAPH = """
import threading
from tiledag_widget import DAG

gate, tries = threading.Event(), []

def load(number):
    return number

def parse(number):
    if number in (1, 2) and number not in tries:
        tries.append(number)
        raise ValueError(f"row {number} is not a number")
    return number

dag = DAG(name="orders", max_workers=2)
loads = [dag.submit_local(load, n, name=f"load-{n}") for n in range(3)]
parsed = [dag.submit_local(parse, each, name=f"parse-{n}") for n, each in enumerate(loads)]
total = dag.submit_local(lambda *parts: sum(parts), *parsed, name="total")
other = dag.submit_local(load, 9, name="other")
dag.visualize()
"""
RUN = "dag.compute()\ntry:\n    dag.wait()\nexcept ValueError:\n    pass"
FOCUSED = """() => {
    const focused = document.activeElement;
    const view = focused?.closest('.tiledag');
    if (!view) return null;
    const at = name => focused.closest(name) ? name : '';
    return at('.td-summary') || at('.td-tools') || at('.td-corner') || at('.td-viewport') || at('.td-inspector')
        || at('.td-actions') || at('.td-handle') || focused.className || focused.tagName;
}"""


def show(nb: Page) -> Locator:
    nb.run_and_wait(0)
    view = nb.output(0).locator(".tiledag").first
    expect(view.locator(".td-done")).to_contain_text("/", timeout=SECONDS_20)
    return view


def focused(nb: Page) -> str | None:
    found: str | None = nb.page.evaluate(FOCUSED)
    return found


def tab_to(nb: Page, place: str, key: str = "Tab", most: int = 80) -> None:
    """Presses Tab until the focus is there."""
    for _ in range(most):
        if focused(nb) == place:
            return
        nb.page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {place}; the focus is at {focused(nb)}")


def test_a_failure_is_found_and_retried_without_a_mouse(open_notebook: OpenNotebook) -> None:
    """Tab into the graph, f for the failure, r to retry: and no key of it reaches the notebook."""
    nb = open_notebook([GRAPH, RUN, "1"], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    expect(view.locator(".td-failed")).to_contain_text("2 failed", timeout=SECONDS_10)
    cells = nb.page.locator(".jp-Notebook .jp-Cell").count()
    keyboard = nb.page.keyboard
    nb.page.evaluate(
        "() => { const n = window.jupyterapp.shell.currentWidget.content;"
        " n.activeCellIndex = 0; n.mode = 'command'; n.activeCell.node.focus(); n.node.focus(); }"
    )
    tab_to(nb, ".td-viewport")

    keyboard.press("f")
    title = view.locator(".td-inspector .td-title")
    expect(title).to_have_text("parse-1", timeout=SECONDS_10)
    expect(view.locator(".td-viewport")).to_have_attribute("aria-activedescendant", re.compile(r"-mark-\d+$"))
    label = view.locator(".td-mirror [role=img]", has_text="parse-1, Failed")
    expect(label.first).to_be_attached()
    keyboard.press("f")
    expect(title).to_have_text("parse-2")
    keyboard.press("Shift+F")
    expect(title).to_have_text("parse-1")
    nb.screenshot("keys-failure", view)
    keyboard.press("r")
    expect(view.locator(".td-sentence")).to_contain_text("Completed in", timeout=SECONDS_10)
    keyboard.press("Shift+R")
    expect(view.locator(".td-status")).to_have_attribute("data-status", "3", timeout=SECONDS_10)
    expect(view.locator(".td-done")).to_have_text("8/8")

    # What would delete a cell, cut it or put one beside it in Lab.
    for key in ("d", "d", "x", "a", "b", "m", "0", "0"):
        keyboard.press(key)
    assert focused(nb) == ".td-viewport"
    assert nb.page.locator(".jp-Notebook .jp-Cell").count() == cells
    assert nb.page.locator(".jp-Dialog").count() == 0
    nb.assert_no_errors()


def test_tab_makes_five_stops_and_arrows_reach_every_button(open_notebook: OpenNotebook) -> None:
    """Ten Tabs to get past a view are ten too many in a notebook with five of them."""
    nb = open_notebook([GRAPH, RUN], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    view.locator(".td-failed").click()
    expect(view.locator(".td-inspector")).to_contain_text("row 1 is not a number", timeout=SECONDS_10)
    view.locator(".td-toggle").focus()
    keyboard = nb.page.keyboard

    stops = []
    for _ in range(12):
        stop = focused(nb)
        if stop is None:
            break
        stops.append(stop)
        keyboard.press("Tab")
    assert stops == [".td-summary", ".td-tools", ".td-viewport", ".td-inspector", ".td-actions"]

    for part, parts in {
        ".td-summary": ".td-summary",
        ".td-tools": ".td-tools, .td-corner",
        ".td-inspector": ".td-inspector",
        ".td-actions": ".td-actions",
    }.items():
        own = view.locator(part).locator("button:visible").first
        own.focus()
        reached = set()
        wanted = sum(view.locator(each).locator("button:visible").count() for each in parts.split(", "))
        for _ in range(60):
            reached.add(nb.page.evaluate("() => document.activeElement.outerHTML"))
            keyboard.press("ArrowDown" if part in (".td-inspector", ".td-tools") else "ArrowRight")
            if nb.page.evaluate("() => document.activeElement.matches('.td-panel, pre')"):
                keyboard.press("ArrowRight")
        buttons = {each for each in reached if each.startswith("<button")}
        assert len(buttons) >= wanted, f"{part}: {len(buttons)} of {wanted} reached"
    nb.assert_no_errors()


def test_escape_closes_clears_and_leaves(open_notebook: OpenNotebook) -> None:
    """Each press undoes one thing; the last gives the keyboard back to the notebook."""
    nb = open_notebook([GRAPH, RUN], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    expect(view.locator(".td-failed")).to_be_visible(timeout=20_000)  # before that there is none to go to
    view.locator(".td-viewport").focus()
    keyboard = nb.page.keyboard

    keyboard.press("f")
    expect(view.locator(".td-inspector")).to_be_visible()
    keyboard.press("?")
    keys = view.locator(".td-keys[aria-label=Keyboard]")
    expect(keys).to_be_visible()
    nb.screenshot("keys-map", view)
    keyboard.press("Escape")
    expect(keys).to_be_hidden()
    keyboard.press("Escape")
    expect(view.locator(".td-inspector")).to_be_hidden()
    assert focused(nb) == ".td-viewport"
    keyboard.press("Escape")
    assert focused(nb) is None
    nb.assert_no_errors()


def test_a_double_click_isolates_a_node_and_escape_brings_all_back(open_notebook: OpenNotebook) -> None:
    """What a node stands on and what hangs on it, alone; found by clicking where the keyboard says it is."""
    nb = open_notebook([GRAPH, RUN], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    graph = view.locator(".td-graph")
    expect(graph).to_have_attribute("data-drawn", "8", timeout=SECONDS_10)
    box = view.locator(".td-viewport").bounding_box()
    assert box

    # The cards stand left to right, one rank beside the other: the first that is hit will do.
    for share in (0.3, 0.2, 0.4, 0.5):
        at = (box["x"] + 0.5 * box["width"], box["y"] + share * box["height"])
        nb.page.mouse.move(*at)
        if view.locator(".td-viewport[data-over]").count():
            break
    nb.page.mouse.dblclick(*at)

    chip = view.locator(".td-chip:not(.td-critical)")
    expect(chip).to_contain_text(re.compile(r"^Only parse-\d and what it is tied to: 3 of 8"), timeout=SECONDS_10)
    expect(graph).to_have_attribute("data-drawn", "3")
    nb.screenshot("keys-isolated", view)
    view.locator(".td-viewport").focus()
    nb.page.keyboard.press("Escape")
    expect(graph).to_have_attribute("data-drawn", "3")
    nb.page.keyboard.press("Escape")
    expect(graph).to_have_attribute("data-drawn", "8", timeout=SECONDS_10)
    nb.assert_no_errors()


# What a name may hold. Each tries to run something, to end what it stands in, or to turn the text round it.
HOSTILE = [
    "<img src=x onerror='window.__bad=1'>",
    "</script><script>window.__bad=1</script>",
    '"><svg onload=window.__bad=1> \' " ` ${window.__bad=1}',
    "harmless\u202egnp.exe",
    "two\nlines\r\nand\u2028a third\t\x00",
    "🙂 👩‍👩‍👧 שלום عليكم",
    "x" * 10_000,
    "twin",
    "twin",
]
NAMES = f"""
from tiledag_widget import DAG

NAMES = {HOSTILE!r}

def fails(text):
    raise ValueError(text)

def fails_too(text):
    raise ValueError(text)

# Two functions, so that they stay cards: eight of one would be a stack.
dag = DAG(name=NAMES[0] + NAMES[3], max_workers=2)
nodes = [dag.submit_local((fails, fails_too)[n % 2], name, name=name) for n, name in enumerate(NAMES)]
dag.visualize()
"""
STATIC = """
from IPython.display import HTML, display
try:
    dag.wait()
except Exception:
    pass
display(HTML(dag.visualize()._repr_mimebundle_()[0]["text/html"]))
"""


def assert_harmless(nb: Page) -> None:
    assert nb.page.evaluate("() => window.__bad") is None
    strange: Any = nb.page.evaluate(
        """() => [...document.querySelectorAll('.tiledag img, .tiledag script, .tiledag iframe, .jp-OutputArea script,'
            + ' .jp-OutputArea [onerror], .jp-OutputArea [onload], .jp-OutputArea img:not([src^="data:"])')]
            .map(element => element.outerHTML.slice(0, 200))"""
    )
    assert strange == []


def test_names_and_errors_are_text_wherever_they_stand(open_notebook: OpenNotebook) -> None:
    """View, tooltip, inspector, traceback, static form: what a name holds is shown and never done."""
    nb = open_notebook([NAMES, "dag.compute()", STATIC], width=1300)
    view = show(nb)
    nb.run_and_wait(1)
    count = len(HOSTILE)
    expect(view.locator(".td-failed")).to_contain_text(f"{count} failed", timeout=SECONDS_10)
    expect(view.locator(".td-name")).to_contain_text("<img src=x onerror='window.__bad=1'>harmless·gnp.exe")
    view.locator(".td-viewport").focus()

    titles, errors = [], []
    for _ in range(count):
        nb.page.keyboard.press("f")
        title = view.locator(".td-inspector .td-title")
        expect(view.locator(".td-errormessage")).to_be_visible(timeout=SECONDS_10)
        titles.append(title.inner_text())
        errors.append(view.locator(".td-errormessage").inner_text())
        if len(titles) == 2:
            nb.screenshot("names-inspector", view)
    assert_harmless(nb)
    assert min(titles).startswith('"><svg onload')
    for shown in (
        "<img src=x onerror='window.__bad=1'>",
        "harmless·gnp.exe",
        "</script><script>window.__bad=1</script>",
    ):
        assert shown in titles
    assert any(title.startswith("two⏎lines") and "\n" not in title for title in titles)
    assert any("<img src=x" in error for error in errors)

    nb.page.keyboard.press("Escape")
    expect(view.locator(".td-inspector")).to_be_hidden()
    nb.page.keyboard.press("0")
    nb.wait_for_frames()
    box = view.locator(".td-viewport").bounding_box()
    assert box
    tooltips = []
    for share in [n / 32 for n in range(1, 32)]:
        nb.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + share * box["height"])
        if not view.locator(".td-viewport[data-over]").count():
            continue
        expect(view.locator(".td-tooltip")).to_be_visible(timeout=5_000)
        tooltips.append(view.locator(".td-tooltip").inner_text())
    assert_harmless(nb)
    assert any(text.startswith("<img src=x onerror='window.__bad=1'>") for text in tooltips), tooltips
    assert max(map(len, tooltips)) < 1_500

    view.locator(".td-search").fill("<img")
    expect(view.locator(".td-searchcount")).to_have_text("1 of 9")
    nb.run_and_wait(2)
    static = nb.output(2)
    expect(static.locator("img[src^='data:']")).to_be_visible(timeout=SECONDS_10)
    expect(static).to_contain_text("<img src=x onerror='window.__bad=1'>")
    nb.screenshot("names-static", static)
    nb.screenshot("names-view", view)
    assert_harmless(nb)
    nb.assert_no_errors()


@pytest.mark.parametrize("part", ["[data-tab=code]", ".td-panel .td-nodelink"])
def test_what_is_pressed_in_the_inspector_is_what_is_clicked_on_although_the_run_goes_on(
    show: OpenPage, part: str
) -> None:
    """While neighbours change, a hand that takes its time would press in vain."""
    page = show("n=12&state=failed")
    page.locator(".td-failed").click()
    page.get_by_role("tab", name="Overview").click()
    title = page.locator(".td-inspector .td-title")
    before = title.inner_text()
    done = page.locator(".td-done").inner_text()
    target = page.locator(f".td-inspector {part}").first
    target.hover()
    page.mouse.down()
    page.evaluate("() => kernel.patch([{ index: 0, status: 2, attempt: 2, started: 50 }])")
    expect(page.locator(".td-done")).not_to_have_text(done)
    page.mouse.up()

    if "tab" in part:
        expect(page.locator(".td-panel")).to_have_attribute("data-tab", "code")
    else:
        expect(title).not_to_have_text(before)
