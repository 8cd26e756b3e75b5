"""What the view does for who has no mouse, no large screen, or no screen at all: on a kernel in the page."""

from __future__ import annotations

from itertools import pairwise

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

SECONDS_10 = 10_000
SMALL = """() => [...document.querySelectorAll('.tiledag :is(button, input, select, summary, [role=tab])')]
    .filter(each => each.checkVisibility() && !each.matches('[type=radio], [type=checkbox]'))
    .filter(each => { const box = each.getBoundingClientRect(); return box.width < 24 || box.height < 24; })
    .map(each => each.outerHTML)"""
OUTSIDE = """() => {
    const root = document.querySelector('.tiledag').getBoundingClientRect();
    return [...document.querySelectorAll('.tiledag button')].filter(each => each.checkVisibility())
        .filter(each => !each.closest('.td-board, .td-menu, .td-keys, .td-inspector'))
        .filter(each => {
            each.focus();
            const box = each.getBoundingClientRect();
            return box.left < root.left - 1 || box.right > root.right + 1;
        }).map(each => each.outerHTML);
}"""


def drawn(page: BrowserPage) -> int:
    return int(page.locator(".td-graph").get_attribute("data-drawn") or 0)


def test_the_list_is_offered_first(show: OpenPage) -> None:
    """The first control of all is the way to the accessible equal; it is seen while it has the focus."""
    page = show("n=12&state=failed")

    page.keyboard.press("Tab")
    offer = page.get_by_role("button", name="Show as a list")
    expect(offer).to_be_focused()
    box = offer.bounding_box()
    assert box
    assert min(box["width"], box["height"]) >= 24
    page.keyboard.press("Enter")

    expect(page.locator("[role=treegrid]")).to_be_focused(timeout=SECONDS_10)
    expect(offer).to_be_hidden()


@pytest.mark.slow
def test_a_screen_reader_hears_one_sentence_in_five_seconds_and_always_the_last(show: OpenPage) -> None:
    """Four searches in a second are one sentence at once and one when the time is up."""
    page = show("n=12&state=failed")
    page.evaluate(
        """() => {
            window.said = [];
            const live = document.querySelector('.td-announcer[aria-live]');
            new MutationObserver(() => said.push([performance.now(), live.textContent])).observe(live,
                { childList: true, characterData: true, subtree: true });
        }"""
    )
    page.wait_for_timeout(5_500)
    for text in ("clean", "clean_", "clean_m", "clean_mar"):
        page.locator(".td-search").fill(text)
        expect(page.locator(".td-searchcount")).to_contain_text(" of 12", timeout=SECONDS_10)
    page.wait_for_timeout(6_000)

    said = page.evaluate("() => said")
    assert said[-1][1] == "The filter means 1 of 12 nodes."
    assert 1 <= len(said) <= 3
    assert all(later - sooner >= 4_900 for (sooner, _), (later, _) in pairwise(said))


def test_a_filter_pales_the_others_or_hides_them(show: OpenPage) -> None:
    """Hide others leaves what is meant; what is asked for by a key comes back with the rest."""
    page = show("n=12&state=failed")
    page.locator(".td-search").fill("node:load_*")
    hide = page.get_by_role("button", name="Hide others")
    expect(hide).to_have_attribute("aria-pressed", "false", timeout=SECONDS_10)
    assert drawn(page) == 12

    hide.press("Enter")
    expect(hide).to_have_attribute("aria-pressed", "true")
    expect(hide).to_be_focused()
    expect(page.locator(".td-graph")).to_have_attribute("data-drawn", "2")

    page.locator(".td-viewport").press("f")
    expect(page.locator(".td-inspector .td-title")).to_have_text("clean_mar", timeout=SECONDS_10)
    expect(hide).to_have_attribute("aria-pressed", "false")


def test_the_logs_are_searched_from_an_error(show: OpenPage) -> None:
    """From a failure to its node's lines, with the keyboard in the field that finds."""
    page = show("n=12&state=failed")
    page.locator(".td-failed").click()

    page.get_by_role("button", name="Search logs from here").press("Enter")

    expect(page.locator("[role=tab][data-pane=logs]")).to_have_attribute("aria-selected", "true", timeout=SECONDS_10)
    expect(page.get_by_role("button", name="Selected only")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("() => document.activeElement.matches('[role=tabpanel] input')")


def test_single_cards_are_found_by_their_function(show: OpenPage) -> None:
    """A card is called by its node; the kernel says what its function is."""
    page = show("n=12&state=failed")

    page.locator(".td-search").fill("function:clean")

    expect(page.locator(".td-searchcount")).to_have_text("5 of 12", timeout=SECONDS_10)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["g", "t", "l", "o"])
@pytest.mark.parametrize(("width", "scale"), [(352, 1), (650, 2)], ids=["320 px", "200 %"])
def test_it_is_usable_without_room(show: OpenPage, key: str, width: int, scale: int) -> None:
    """At 320 px and at 200 %: nothing to scroll sideways, every control within the view and 24 px or more."""
    page = show("n=12&state=failed", width=width, device_scale_factor=scale)
    pane = {"g": "graph", "t": "timeline", "l": "list", "o": "logs"}[key]
    page.locator(f"[role=tab][data-pane={pane}]").click()
    expect(page.locator("[role=tabpanel] >> visible=true").first).to_be_visible(timeout=SECONDS_10)
    root = page.locator(".tiledag")

    assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(SMALL) == []
    assert page.evaluate(OUTSIDE) == []
    page.locator(".td-failed").click()
    expect(page.locator(".td-inspector [data-action=retry]")).to_be_visible(timeout=SECONDS_10)
    assert page.evaluate(SMALL) == []
    page.locator(".td-search").fill("status:failed")
    expect(page.locator(".td-term").first).to_be_visible()
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")


@pytest.mark.parametrize("width", [pytest.param(540, marks=pytest.mark.slow), 1000])
def test_one_node_leaves_the_other_panes_one_press_away(show: OpenPage, width: int) -> None:
    """At 160 px there is no line for the tools: who has a mouse could not come to the logs of their only node."""
    page = show("n=1&state=done", width=width)
    root = page.locator(".tiledag")
    assert root.evaluate("root => root.clientHeight") <= (200 if width < 600 else 166)

    page.locator("[role=tab][data-pane=logs]").click()
    expect(page.locator(".td-logline").first).to_be_visible(timeout=SECONDS_10)
    page.locator("[role=tab][data-pane=graph]").click()
    card = page.locator(".td-viewport").bounding_box()
    tabs = page.locator(".td-panetabs").bounding_box()
    assert card
    assert tabs
    page.mouse.click(card["x"] + card["width"] / 2, card["y"] + card["height"] / 2)
    expect(page.locator(".td-inspector .td-title")).to_have_text("train", timeout=SECONDS_10)


@pytest.mark.slow
@pytest.mark.parametrize("state", ["failed", "running", "done", "mixed", "ready"])
def test_the_runs_word_is_read_at_320_px(show: OpenPage, state: str) -> None:
    """A glyph and a colour alone are not for everybody; and nothing in the line stands on anything else."""
    page = show(f"n=1000&state={state}", width=352)
    word = page.locator(".td-status > span")

    expect(word).to_be_visible()
    overlaps = page.evaluate(
        """() => {
            const shown = [...document.querySelectorAll('.td-status > span, .td-done, .td-failed, .td-elapsed')]
                .filter(each => each.checkVisibility() && each.getBoundingClientRect().width > 0);
            const boxes = shown.map(each => each.getBoundingClientRect());
            return boxes.flatMap((a, at) => boxes.slice(at + 1)
                .filter(b => a.left < b.right - 1 && b.left < a.right - 1)
                .map(() => shown[at].textContent));
        }"""
    )
    assert overlaps == []
    assert word.evaluate("word => word.scrollWidth <= word.clientWidth + 1 || word.offsetWidth > 30")


@pytest.mark.slow
def test_nothing_moves_for_who_asked_for_that(show: OpenPage) -> None:
    """Reduced motion: no transition and no animation in the view lasts, and the camera jumps."""
    page = show("n=12&state=failed")
    lasting = page.evaluate(
        """() => [...document.querySelectorAll('.tiledag, .tiledag *')].filter(each => {
            const { transitionDuration, animationDuration, animationName } = getComputedStyle(each);
            const moves = text => text.split(',').some(part => parseFloat(part) > 0.01);
            return moves(transitionDuration) || (animationName !== 'none' && moves(animationDuration));
        }).map(each => each.className)"""
    )
    assert lasting == []


@pytest.mark.slow
def test_what_is_chosen_is_copied_as_python(show: OpenPage) -> None:
    """A stack by its group, whatever the filter means by the filter; with Shift the run comes with it."""
    page = show("n=1000&state=mixed")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    viewport = page.locator(".td-viewport")
    viewport.focus()
    for key in ("Home", "ArrowRight", " "):
        viewport.press(key)
    copy = page.locator(".td-inspector").get_by_role("button", name="Copy filter")
    copy.click()
    page.wait_for_function("async () => await navigator.clipboard.readText() === 'dag.find(\"group:download\")'")

    page.locator(".td-search").fill("status:failed")
    expect(page.locator(".td-searchcount")).to_contain_text("of 1,000", timeout=SECONDS_10)
    copy.click(modifiers=["Shift"])
    page.wait_for_function(
        "async () => await navigator.clipboard.readText() === 'dag.find(\"status:failed\")  # run graph-1'"
    )
