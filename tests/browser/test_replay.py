"""The run played again in a live view: by hand, all panes together, and back to now."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenPage
from tests.browser.test_screens import violations

SECONDS_10 = 10_000
IN_SIGHT = """line => {
    const own = line.getBoundingClientRect(), room = line.closest('.td-logbody').getBoundingClientRect();
    return own.top >= room.top - 1 && own.bottom <= room.bottom + 1;
}"""
LATER = """() => [...document.querySelectorAll('.td-logline')].map(each =>
    [Number(each.dataset.row), each.hasAttribute('data-later')])"""


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
@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize(("width", "is_wrapped"), [(1300, False), (352, True)])
def test_the_log_goes_along_with_the_moment(show: OpenPage, mode: str, width: int, is_wrapped: bool) -> None:
    """Who replays reads what was printed until then, and sees where that ends."""
    page = show("n=60&state=done", mode, width)
    page.locator("[role=tab][data-pane=logs]").click()
    lines = page.locator(".td-logline")
    expect(lines.last).to_contain_text("done", timeout=SECONDS_10)
    if is_wrapped:
        page.locator(".td-logbody").press("w")
    last = lines.last.get_attribute("data-row")
    slider = opened(page).get_by_role("slider")
    current = page.locator(".td-logline[aria-current=time]")

    for place in ("3600", "8000", "1500"):
        slider.fill(place)
        # 60 nodes of three lines, begun one after the other from second 1 to 39.
        row = sum(
            1 + node / 60 * 38 + after <= int(place) / 10_000 * 41 for node in range(60) for after in (0, 0.1, 0.3)
        )
        expect(current).to_have_attribute("data-row", str(row - 1))
        expect(page.locator(".td-logline[data-later]").first).to_be_visible()
        page.wait_for_function(f"() => ({IN_SIGHT})(document.querySelector('.td-logline[aria-current]'))")
        # Looked up once: a line that is drawn between two looks is in one of them only.
        shown = page.evaluate(LATER)
        assert shown == [[at, at >= row] for at, _ in shown]
    assert violations(page) == []
    page.locator(".td-logbody").press("Control+f")
    page.keyboard.type("rows")
    expect(page.locator(".td-logline[data-later] mark").first).to_be_visible(timeout=SECONDS_10)
    for _ in range(6):
        page.keyboard.press("Enter")
    expect(page.locator(".td-logline[data-later][data-found] mark")).to_be_visible(timeout=SECONDS_10)
    assert violations(page) == []
    page.keyboard.press("Escape")

    slider.press("End")
    expect(current).to_have_attribute("data-row", last or "")
    page.wait_for_function(f"() => ({IN_SIGHT})(document.querySelector('.td-logline[aria-current]'))")
    slider.press("Home")
    expect(lines.first).to_have_attribute("data-row", "0")
    expect(page.locator(".td-logline:not([data-later])")).to_have_count(0)
    page.get_by_role("button", name="Leave the replay").click()
    expect(lines.last).to_have_attribute("data-row", last or "")
    expect(page.locator(".td-logline:is([data-later], [aria-current])")).to_have_count(0)


@pytest.mark.slow
def test_a_log_that_is_opened_or_narrowed_in_a_replay_is_at_its_moment(show: OpenPage) -> None:
    """Lines that were not there when the slider was moved, too."""
    page = show("n=60&state=done")
    opened(page).get_by_role("slider").fill("3600")
    page.locator("[role=tab][data-pane=logs]").click()
    current = page.locator(".td-logline[aria-current=time]")

    expect(current).to_be_visible(timeout=SECONDS_10)
    name = current.locator(".td-logname").inner_text()
    page.locator(".td-search").fill("stats")
    expect(page.locator(".td-logname", has_text="clean")).to_have_count(0)
    expect(current.locator(".td-logname")).to_have_text(name)
    page.locator(".td-search").fill("clean")
    expect(page.locator(".td-logname", has_text="stats")).to_have_count(0)
    expect(current.locator(".td-logname")).to_have_text("clean-12")


@pytest.mark.slow
def test_lines_that_were_fetched_late_are_there_when_their_node_ended(show: OpenPage) -> None:
    """A server's lines have the time at which somebody looked: all of them would come after the run."""
    page = show("n=60&state=done")
    page.evaluate(
        """() => {
            const own = kernel.lines.bind(kernel);
            kernel.lines = () => own().map(([time, ...line]) => [time + 500, ...line]);
        }"""
    )
    page.locator("[role=tab][data-pane=logs]").click()
    expect(page.locator(".td-logline").last).to_contain_text("done", timeout=SECONDS_10)
    slider = opened(page).get_by_role("slider")

    slider.fill("5000")

    current = page.locator(".td-logline[aria-current=time]")
    expect(current).to_be_visible()
    row = int(current.get_attribute("data-row") or "0")
    ended = page.evaluate("() => kernel.states.map(each => each.ended)")
    latest = max((end, node) for node, end in enumerate(ended) if end <= 20.5)
    assert row // 3 == latest[1]
    for at, is_later in page.evaluate(LATER):
        assert is_later == (ended[at // 3] > 20.5), at


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
    expect(page.locator(".td-elapsed")).to_have_text("0:00")
    expect(page.locator(".td-stripe")).to_have_text("This view is closed. A past moment of the run is shown.")
    bar.get_by_role("button", name="First failure").press("Enter")
    expect(page.locator(".td-failed")).to_contain_text("1 failed")


@pytest.mark.slow
@pytest.mark.parametrize("state", ["running", "failed"])
def test_without_a_kernel_the_time_is_that_of_the_moment(show: OpenPage, state: str) -> None:
    """It stood still at the time when the kernel went, and the stripe spoke of that time."""
    page = show(f"n=12&state={state}")
    page.evaluate("kernel.emit('comm:close')")
    stripe = page.locator(".td-stripe")
    expect(stripe).to_contain_text("This is the state at")
    words, elapsed = stripe.inner_text(), page.locator(".td-elapsed").inner_text()
    slider = opened(page).get_by_role("slider")

    for place in ("5000", "2500"):
        slider.fill(place)
        moment = re.match(r"(\d+)(\.\d+)? s of", slider.get_attribute("aria-valuetext") or "")
        assert moment
        # One is rounded, the other counts whole seconds.
        expect(page.locator(".td-elapsed")).to_have_text(re.compile(f"0:({int(moment[1]) - 1:02}|{int(moment[1]):02})"))
        expect(stripe).not_to_contain_text("state at")
    page.get_by_role("button", name="Leave the replay").click()
    expect(page.locator(".td-elapsed")).to_have_text(elapsed)
    expect(stripe).to_have_text(words)


@pytest.mark.slow
def test_the_line_of_the_connection_is_of_now(show: OpenPage) -> None:
    """The run that is played again has ended."""
    page = show("n=12&state=done")
    line = page.locator(".td-connection")
    expect(line).to_have_text("Live · run ended 11:59:59")

    opened(page).get_by_role("slider").fill("5000")
    expect(page.locator(".td-status")).to_contain_text("Running")
    page.wait_for_timeout(1_200)  # the line is written anew each second

    expect(line).to_have_text("Live · run ended 11:59:59")


@pytest.mark.slow
def test_predict_says_whose_lines_it_keeps_back(show: OpenPage) -> None:
    """No filter was set, and it was said that no line fits it."""
    page = show("n=12&state=failed")
    page.locator("[aria-haspopup=menu]").first.click()
    page.get_by_role("menuitemcheckbox", name="Predict").click()
    bar = opened(page)
    page.locator("[role=tab][data-pane=logs]").click()
    words = page.locator(".td-logempty")
    expect(words).to_have_text(
        "Predict keeps back the lines of 12 nodes: they would tell what became of them.", timeout=SECONDS_10
    )
    expect(words.get_by_role("button")).to_have_count(0)

    bar.get_by_role("slider").press("End")
    page.locator(".td-predict").get_by_role("button", name="Show all").click()

    expect(page.locator(".td-logline").last).to_contain_text("done", timeout=SECONDS_10)
    expect(words).to_be_hidden()
