"""The bundle that users get, on a kernel in the page: panes, filter and every action, without a mouse.

The build gives properties short names (``js/shrink.mjs``); a name that the platform or the kernel knows must not be
among them, and this is where it would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import harness_page, slowed

SECONDS_10 = 10_000

Open = Callable[..., BrowserPage]


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One page with the built bundle and ``js/test/fake.ts``."""
    return harness_page(tmp_path_factory.mktemp("built"), "--built")


@pytest.fixture
def show(browser: Browser, page_file: Path) -> Iterator[Open]:
    """``show("n=12&state=failed", width=1300)``; the test fails on any error of the page."""
    pages: list[BrowserPage] = []
    errors: list[str] = []

    def open_page(query: str, width: int = 1300, **options: Any) -> BrowserPage:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(slowed(page))
        page.goto(f"{page_file.as_uri()}?{query}")
        expect(page.locator(".td-done")).to_contain_text("/", timeout=SECONDS_10)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


ACTIONS = ["retry", "retry_failed", "retry_from", "cancel", "cancel_graph", "stop"]


def asked(page: BrowserPage) -> list[dict[str, Any]]:
    """Actions that reached the kernel: kind and nodes."""
    found: list[dict[str, Any]] = page.evaluate(
        """kinds => {
            const seen = new Set();
            return kernel.requests
                .filter(each => kinds.includes(each.kind) && !seen.has(each.id) && seen.add(each.id))
                .map(each => ({ kind: each.kind, nodes: each.nodes ?? [] }));
        }""",
        ACTIONS,
    )
    return found


def in_list(page: BrowserPage, name: str) -> Locator:
    """Goes to a node's row by keys alone and opens the inspector."""
    page.locator(".td-viewport").focus()
    page.keyboard.press("/")
    page.keyboard.type(f"node:{name}")
    page.keyboard.press("Enter")
    title = page.locator(".td-inspector .td-title")
    expect(title).to_have_text(name, timeout=SECONDS_10)
    return title


def to_body(page: BrowserPage, key: str) -> None:
    """From a pane's body to another pane, by its key."""
    page.locator(".td-viewport").focus()
    page.keyboard.press(key)


@pytest.mark.slow
def test_each_pane_has_a_key_and_a_tab(show: Open) -> None:
    """g, t, l and o, and the tabs say which one is shown."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()

    for key, name in (("t", "timeline"), ("l", "list"), ("o", "logs"), ("g", "graph")):
        page.keyboard.press(key)
        expect(page.locator(f"[data-pane={name}][role=tab]")).to_have_attribute("aria-selected", "true")
        expect(page.locator("[role=tabpanel]:visible").first).to_be_visible()
        assert page.locator(".tiledag").get_attribute("data-pane") == name


def test_the_list_is_walked_by_keys(show: Open) -> None:
    """Rows, groups that open, selection and the inspector, as in the pattern for tree grids."""
    page = show("n=1000&state=mixed")
    to_body(page, "l")
    grid = page.locator("[role=treegrid]")
    expect(grid).to_be_focused()
    group = page.locator("[role=row][aria-expanded]").first

    page.keyboard.press("ArrowDown")
    expect(grid).to_have_attribute("aria-activedescendant", group.get_attribute("id") or "", timeout=SECONDS_10)
    before = int(grid.get_attribute("aria-rowcount") or 0)
    page.keyboard.press("ArrowRight")
    expect(group).to_have_attribute("aria-expanded", "true")
    assert int(grid.get_attribute("aria-rowcount") or 0) > before + 100
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("[role=row][aria-selected=true][aria-level='2']")).to_have_count(1)
    expect(page.locator(".td-inspector")).to_be_visible()
    assert page.locator(".td-inspector").evaluate("inspector => inspector.contains(document.activeElement)")

    grid.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(group).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("End")
    page.keyboard.press(" ")
    expect(grid).to_have_attribute("aria-rowcount", str(before))


@pytest.mark.slow
def test_the_list_is_sorted_by_its_headers(show: Open) -> None:
    """Slowest first, by keyboard: the header is a button that says its state."""
    page = show("n=12&state=done")
    to_body(page, "l")

    page.get_by_role("columnheader", name="Duration").get_by_role("button").press("Enter")
    page.get_by_role("columnheader", name="Duration").get_by_role("button").press("Enter")

    expect(page.get_by_role("columnheader", name="Duration")).to_have_attribute("aria-sort", "descending")
    times = page.locator(".td-listrow .is-duration").all_inner_texts()
    seconds = [float(each.split()[0]) for each in times if each]
    assert len(seconds) == 12
    assert seconds == sorted(seconds, reverse=True)


def test_a_filter_is_mirrored_by_chips_and_met_by_the_list(show: Open) -> None:
    """What is typed, what the chips say and what is shown are one thing."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()

    page.keyboard.press("/")
    page.keyboard.type("status:failed,parent-failed -report")
    to_body(page, "l")
    expect(page.locator(".td-chips .td-term", has_text="status:failed")).to_be_visible()
    statuses = page.locator(".td-listrow .is-status")
    expect(statuses.first).to_contain_text("Failed", timeout=SECONDS_10)
    assert all("Failed" in each for each in statuses.all_inner_texts())
    assert "report" not in "".join(page.locator(".td-listname").all_inner_texts())
    shown = statuses.count()
    expect(page.locator(".td-searchcount")).to_have_text(f"{shown} of 12")

    page.get_by_role("button", name="-report").click()
    expect(page.locator(".td-search")).to_have_value("status:failed,parent-failed")
    expect(page.locator(".td-searchcount")).to_have_text(f"{shown + 1} of 12")
    page.get_by_role("button", name="Clear filter").click()
    expect(page.locator(".td-listrow")).to_have_count(12)


@pytest.mark.slow
def test_a_filter_that_fails_says_why(show: Open) -> None:
    """The place of what cannot be understood, or how many are hidden by what meets nothing; and the way back."""
    page = show("n=12&state=failed")
    field = page.locator(".td-search")

    field.fill("status:failed colour:red")
    expect(page.locator("[data-problem=unknown]")).to_contain_text("“colour” at 15 is not one of status, node")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("status:running")
    expect(page.locator(".td-problem")).to_have_text("No node of 12 matches status:running.")
    field.press("Escape")
    expect(field).to_have_value("")
    expect(page.locator(".td-chips")).to_be_hidden()


def test_retries_are_asked_for_by_keys(show: Open) -> None:
    """r for the selected node, Shift-R for all, b and r for what blocks one; each names the nodes that it means."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()

    page.keyboard.press("f")
    expect(page.locator(".td-inspector [data-action=retry]")).to_be_visible()
    page.locator(".td-viewport").focus()
    page.keyboard.press("r")
    failed = page.evaluate("() => kernel.states.flatMap((each, node) => each.status === 4 ? [node] : [])")
    assert asked(page) == [{"kind": "retry", "nodes": failed[:1]}]

    page.keyboard.press("Shift+R")
    assert asked(page)[1:] == [{"kind": "retry_failed", "nodes": []}]

    in_list(page, "report")
    page.locator(".td-viewport").focus()
    expect(page.locator("[data-action=blocker]")).to_have_text("Retry the blocker")
    page.keyboard.press("r")
    assert asked(page)[2:] == [{"kind": "retry", "nodes": failed[:1]}]


def test_a_press_goes_by_the_control_channel_too(show: Open) -> None:
    """On older kernels it is the only way past a cell that blocks; the host's names must not be shortened.

    Questions go there, too, and the view asks about failed nodes when it comes to it: only the action counts here.
    """
    page = show("n=12&state=failed")
    page.evaluate(
        """() => {
            window.control = [];
            const sendControlMessage = message => { control.push(message); return { done: Promise.resolve() }; };
            kernel.widget_manager = { kernel: { clientId: 'page', status: 'busy', sendControlMessage } };
        }"""
    )

    page.locator("[data-action=retry_failed]").press("Enter")

    sent = page.evaluate(
        """kinds => control.filter(each => kinds.includes(each.content.kind))
            .map(each => [each.channel, each.header.msg_type, each.content.kind])""",
        ACTIONS,
    )
    assert sent == [["control", "tiledag_command", "retry_failed"]]


@pytest.mark.slow
def test_retry_from_here_is_pressed_by_tab_and_enter(show: Open) -> None:
    """In a run that ended, for a Completed node; the tooltip counts the descendants."""
    page = show("n=12&state=done")
    page.locator(".td-viewport").focus()
    in_list(page, "fit_model")

    button = page.locator("[data-action=retry_from]")
    button.focus()
    expect(button).to_have_attribute("title", "Runs fit_model and 1 descendant again, including 2 Completed.")
    page.keyboard.press("Enter")
    assert [each["kind"] for each in asked(page)] == ["retry_from"]


def test_cancelling_asks_in_its_place(show: Open) -> None:
    """c asks for the node or the graph; Escape and five seconds are a no, Enter is a yes."""
    page = show("n=12&state=running&stop=1")
    viewport = page.locator(".td-viewport")
    viewport.focus()

    page.keyboard.press("c")
    confirm = page.locator(".td-confirm")
    expect(confirm.get_by_role("button", name="Keep running")).to_be_visible()
    page.keyboard.press("Escape")
    expect(confirm).to_be_hidden()
    assert asked(page) == []

    viewport.focus()
    page.keyboard.press("c")
    page.keyboard.press("Enter")
    assert [each["kind"] for each in asked(page)] == ["cancel_graph"]

    in_list(page, "report")
    viewport.focus()
    page.keyboard.press("c")
    expect(confirm).to_contain_text("Cancel 1 node")
    page.keyboard.press("Enter")
    assert [each["kind"] for each in asked(page)] == ["cancel_graph", "cancel"]

    stop = page.locator(".td-actions [data-action=stop]")
    stop.focus()
    page.keyboard.press("Enter")
    expect(confirm).to_contain_text("running")
    page.keyboard.press("Enter")
    assert [each["kind"] for each in asked(page)] == ["cancel_graph", "cancel", "stop"]


@pytest.mark.slow
def test_a_button_that_cannot_be_pressed_says_why(show: Open) -> None:
    """It keeps the focus and its reason is read out."""
    page = show("n=12&state=done")
    button = page.locator("[data-action=retry_failed]")

    button.focus()

    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-description", "Nothing has failed.")
    page.keyboard.press("Enter")
    assert asked(page) == []


def test_without_room_the_list_comes_by_itself(show: Open) -> None:
    """At 320 px: the list, the field in a line of its own, and nothing that has to be scrolled sideways."""
    page = show("n=12&state=failed", width=352)

    expect(page.locator("[role=treegrid]")).to_be_visible()
    root = page.locator(".tiledag")
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
    assert page.locator(".td-search").evaluate("field => field.clientWidth") > 200
    small = page.evaluate(
        """() => [...document.querySelectorAll('.tiledag :is(button, input)')].filter(each => each.checkVisibility())
            .filter(each => { const box = each.getBoundingClientRect(); return box.width < 24 || box.height < 24; })
            .map(each => each.outerHTML)"""
    )
    assert small == []
    page.locator("[data-pane=graph]").click()
    expect(page.locator(".td-viewport")).to_be_visible()


@pytest.mark.slow
def test_the_inspector_opens_on_the_tab_that_matters(show: Open) -> None:
    """Failed: the error; running: its lines; blocked: what blocks it."""
    page = show("n=12&state=failed")
    page.locator(".td-viewport").focus()
    tab = page.locator(".td-tab[aria-selected=true]")

    page.keyboard.press("f")
    expect(tab).to_have_text("Error")
    in_list(page, "report")
    expect(tab).to_have_text("Overview")
    expect(page.locator(".td-blocked")).to_contain_text("Blocked by")
    tab.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(tab).to_have_text("Code")
    expect(page.locator(".td-panel pre")).to_contain_text("def clean(month):")
