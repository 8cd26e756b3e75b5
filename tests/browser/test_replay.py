"""The run played again in a live view: by hand, all panes together, and back to now."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenPage

SECONDS_10 = 10_000


def opened(page: BrowserPage) -> Locator:
    """The scrubber, opened from the menu by keys alone."""
    page.locator("[aria-haspopup=menu]").first.press("Enter")
    entry = page.get_by_role("menuitemcheckbox", name="Replay")
    expect(entry).to_be_visible()
    for _ in range(20):
        if entry.evaluate("entry => entry === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    bar = page.get_by_role("toolbar", name="Replay").first
    expect(bar).to_be_visible(timeout=SECONDS_10)
    return bar


def test_a_run_is_played_again_and_left_without_a_mouse(show: OpenPage) -> None:
    """What happened first cannot be seen in the end; and who looks back must find the way to now."""
    page = show("n=12&state=failed")
    done = page.locator(".td-done")
    now = done.inner_text()
    bar = opened(page)
    play = bar.get_by_role("button", name="Play", exact=True)
    expect(play).to_be_focused()
    expect(done).to_have_text("0/12")
    slider = bar.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuetext", "0 s of 41 s")

    retry = page.locator(".td-actions [data-action=retry_failed]")
    expect(retry).to_have_attribute("aria-disabled", "true")
    bar.get_by_role("button", name="Next event").press("Enter")
    expect(page.locator(".td-status")).to_contain_text("Running")
    slider.press("End")
    expect(done).to_have_text(now)
    slider.press("Home")
    expect(done).to_have_text("0/12")
    bar.get_by_role("button", name="First failure").press("Enter")
    expect(page.locator(".td-failed")).to_contain_text("1 failed")
    expect(page.locator(".td-inspector")).to_be_visible()

    bar.get_by_role("button", name="Leave the replay").press("Enter")
    expect(bar).to_be_hidden()
    expect(done).to_have_text(now)
    expect(retry).not_to_have_attribute("aria-disabled", "true")
    assert page.evaluate("document.activeElement.closest('.tiledag') !== null"), "the keyboard is lost"


@pytest.mark.slow
def test_all_panes_show_the_same_moment_and_another_view_stays_live(show: OpenPage) -> None:
    """Two views of one graph: one plays, the other is of now; and what changes meanwhile is there afterwards."""
    page = show("n=12&state=running")
    page.evaluate("again(document.body.appendChild(document.createElement('div')))")
    other = page.locator(".tiledag").nth(1)
    expect(other.locator(".td-done")).to_contain_text("/12", timeout=SECONDS_10)
    first = page.locator(".tiledag").first
    live = other.locator(".td-done").inner_text()
    opened(page)
    expect(first.locator(".td-done")).to_have_text("0/12")
    assert other.locator(".td-done").inner_text() == live

    first.locator("[role=tab][data-pane=list]").click()
    expect(first.locator("[role=row] .is-status", has_text="Completed")).to_have_count(0)
    first.locator("[role=tab][data-pane=timeline]").click()
    expect(first.locator(".td-timeline")).to_have_attribute("data-rows", "12", timeout=SECONDS_10)
    running = page.evaluate("() => kernel.states.findIndex(each => each.status === 2)")
    page.evaluate("node => kernel.patch([{ index: node, status: 3, ended: 42 }])", running)
    expect(other.locator(".td-done")).not_to_have_text(live)
    expect(first.locator(".td-done")).to_have_text("0/12")

    first.get_by_role("button", name="Leave the replay").click()
    expect(first.locator(".td-done")).to_have_text(other.locator(".td-done").inner_text())


@pytest.mark.slow
def test_it_plays_by_itself_as_fast_as_one_wants_and_stops_at_the_end(show: OpenPage) -> None:
    """41 seconds at 16 times their speed, paused on the way."""
    page = show("n=12&state=done")
    bar = opened(page)
    pace = bar.get_by_role("button", name="1×")
    for _ in range(4):
        pace.press("Enter")
        pace = bar.locator("button", has_text="×")
    expect(pace).to_have_text("16×")
    slider = bar.get_by_role("slider")
    bar.get_by_role("button", name="Play", exact=True).press("Enter")
    pause = bar.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    page.wait_for_function("() => Number(document.querySelector('.td-scrubber').value) > 500")
    pause.press("Enter")
    stopped = int(slider.input_value())
    page.wait_for_timeout(300)
    assert int(slider.input_value()) == stopped

    bar.get_by_role("button", name="Play", exact=True).press("Enter")
    expect(page.locator(".td-done")).to_have_text("12/12", timeout=SECONDS_10)
    expect(bar.get_by_role("button", name="Play", exact=True)).to_be_visible(timeout=SECONDS_10)
    assert slider.input_value() == "10000"


@pytest.mark.slow
def test_what_is_pressed_before_the_tape_came_is_done_when_it_has(show: OpenPage) -> None:
    """A kernel that takes its time: it is said what is waited for, and the press is not lost."""
    page = show("n=12&state=failed")
    page.evaluate("kernel.isAnswering = false")
    bar = opened(page)
    expect(bar.locator(".td-replaytime")).to_have_text("Asking for the changes of the run…")
    expect(page.locator(".td-done")).to_have_text("6/12")

    bar.get_by_role("button", name="First failure").press("Enter")
    page.evaluate("() => kernel.answer(kernel.requests.find(each => each.kind === 'tape'))")

    expect(page.locator(".td-failed")).to_contain_text("1 failed", timeout=SECONDS_10)
    expect(page.locator(".td-inspector .td-title")).to_have_text("clean_mar")


def test_where_the_slider_was_put_before_the_tape_came_is_shown_when_it_has(show: OpenPage) -> None:
    """The tape sets the slider to its start: where somebody had put it must be known before."""
    page = show("n=12&state=failed")
    page.evaluate("kernel.isAnswering = false")
    bar = opened(page)
    slider = bar.get_by_role("slider")
    slider.fill("6000")
    page.evaluate("() => kernel.answer(kernel.requests.find(each => each.kind === 'tape'))")

    expect(slider).to_have_attribute("aria-valuetext", "25 s of 41 s", timeout=SECONDS_10)
    expect(slider).to_have_value("6000")


@pytest.mark.slow
def test_a_tape_that_does_not_come_leaves_what_the_attempts_tell(show: OpenPage) -> None:
    """While the kernel is away a run can still be played; that less is known is said."""
    page = show("n=12&state=failed")
    page.evaluate("kernel.emit('comm:close')")

    bar = opened(page)

    expect(bar.locator(".td-replaycount")).to_contain_text("attempts")
    bar.get_by_role("button", name="First failure").press("Enter")
    expect(page.locator(".td-failed")).to_contain_text("1 failed")
