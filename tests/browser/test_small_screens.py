"""What is left of the view where there is little room: on a kernel in the page, measured in pixels."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.browser.test_drawing import exported
from tests.browser.test_screens import violations
from tests.browser.test_teaching import finish, switch

SECONDS_10 = 10_000
IN_320_PX = 352
INSIDE = """each => {
    const own = each.getBoundingClientRect(), room = each.closest('.td-teaching').getBoundingClientRect();
    return own.height > 0 && own.top >= room.top - 1 && own.bottom <= room.bottom + 1;
}"""
CUT = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.textContent)"
DARK = """canvas => {
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    let dark = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at + 3] > 200 && data[at] < 60) dark += 1;
    return dark;
}"""


def pane(page: BrowserPage, name: str) -> None:
    page.locator(f"[role=tab][data-pane={name}]").click()
    expect(page.locator("[role=tabpanel] >> visible=true").first).to_be_visible(timeout=SECONDS_10)


def open_first_stack(page: BrowserPage, down: str) -> None:
    page.locator(".td-viewport").focus()
    for key in ("Home", down, "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".td-board")).to_be_visible(timeout=SECONDS_10)


@pytest.mark.slow
def test_the_words_of_a_log_line_have_most_of_320_px(show: OpenPage) -> None:
    """Time, node and stream took it all: of each line four letters were left."""
    page = show("n=60&state=mixed", width=IN_320_PX)
    pane(page, "logs")
    words = page.locator(".td-logline .td-logtext").first
    expect(words).to_be_visible(timeout=SECONDS_10)

    assert words.evaluate("words => words.clientWidth") > 160


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1_000, 100_000])
@pytest.mark.parametrize("width", [320, IN_320_PX])
def test_no_number_of_the_summary_is_cut(show: OpenPage, width: int, nodes: int) -> None:
    """How far it is, is what one looks for first."""
    page = show(f"n={nodes}&state=mixed", width=width)
    numbers = page.locator(".td-summary :is(.td-done, .td-failed, .td-elapsed)")
    expect(numbers.first).to_contain_text(f"/{nodes:,}")

    assert numbers.evaluate_all(CUT) == []
    boxes = numbers.evaluate_all(
        """all => all.map(each => {
            const own = each.getBoundingClientRect(), room = each.closest('.td-summary').getBoundingClientRect();
            const words = document.createRange();
            words.selectNodeContents(each);
            const text = words.getBoundingClientRect();
            return [own.left - room.left, room.right - own.right, text.left - own.left, own.right - text.right];
        })"""
    )
    assert all(over > -1 for box in boxes for over in box), boxes


@pytest.mark.slow
def test_the_error_of_a_node_is_read_in_its_logs(show: OpenPage) -> None:
    """The inspector's column is as narrow as a telephone, on every screen."""
    page = show("n=12&state=failed")
    page.locator(".td-failed").click()
    page.get_by_role("tab", name="Logs").last.click()
    line = page.locator(".td-inspector .td-logline.is-error")
    expect(line).to_be_visible(timeout=SECONDS_10)

    assert line.locator(".td-logtext").evaluate("words => words.clientWidth") > 120
    expect(line.locator(".td-loglevel")).to_be_visible()
    expect(line.locator(".td-logname")).to_be_hidden()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_line_that_was_found_is_read_by_all(show: OpenPage, mode: str) -> None:
    """Its ground was too near to the grey of its time."""
    page = show("n=60&state=mixed", mode, 512)
    pane(page, "logs")
    page.locator(".td-logbody").focus()
    page.keyboard.press("Control+f")
    page.keyboard.type("rows")
    expect(page.locator(".td-logline[data-found]")).to_be_visible(timeout=SECONDS_10)

    assert violations(page) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [IN_320_PX, 560, 650, 732])
def test_names_of_stacks_are_whole_in_the_list(show: OpenPage, width: int) -> None:
    """The bar stood on its 90 pixels, and the name beside it was one letter; at 650 px parents were out of sight."""
    page = show("n=60&state=mixed", width=width)
    pane(page, "list")
    names = page.locator(".td-listrow[aria-expanded] .is-name .td-listname")
    expect(names.first).to_be_visible(timeout=SECONDS_10)

    assert names.evaluate_all(CUT) == []
    bars = page.locator(".td-listbar >> visible=true").evaluate_all(
        "all => all.map(bar => bar.lastElementChild.getBoundingClientRect().right - bar.getBoundingClientRect().right)"
    )
    assert all(over < 1 for over in bars), "the last segment, where failures are, is cut off"
    grid = page.locator(".td-grid >> visible=true")
    assert grid.evaluate("grid => grid.scrollWidth - grid.clientWidth") == 0
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    expect(page.locator(".td-inspector .td-title")).to_be_visible(timeout=SECONDS_10)
    assert grid.evaluate("grid => grid.scrollWidth - grid.clientWidth") == 0, "beside the inspector"


@pytest.mark.slow
@pytest.mark.parametrize("width", [700, 900, 1300])
def test_the_graphs_name_is_whole_while_the_bar_has_room(show: OpenPage, width: int) -> None:
    """Half a pixel too little cost it its last two letters, beside a bar of 280 pixels."""
    page = show("n=60&state=mixed", width=width)

    assert page.locator(".td-name").evaluate_all(CUT) == []


@pytest.mark.slow
@pytest.mark.parametrize(("width", "down"), [(IN_320_PX, "ArrowDown"), (1300, "ArrowRight")])
def test_the_buttons_of_an_open_stack_do_not_shrink(show: OpenPage, width: int, down: str) -> None:
    """They were drawn in the scale of the graph: 17 pixels high, letters of 8."""
    page = show("n=1000&state=mixed", width=width)
    pane(page, "graph")
    open_first_stack(page, down)

    boxes = page.locator(".td-board button >> visible=true").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect()).map(({ width, height }) => Math.min(width, height))"
    )
    assert len(boxes) >= 4
    assert min(boxes) >= 23.9
    head, canvas = page.locator(".td-board").bounding_box(), page.locator(".td-viewport").bounding_box()
    assert head
    assert canvas
    assert head["x"] >= canvas["x"]
    assert head["x"] + head["width"] <= canvas["x"] + canvas["width"]


@pytest.mark.slow
def test_a_question_and_its_answers_are_seen_beside_an_open_inspector(show: OpenPage) -> None:
    """At 320 px the graph was a line, and the answers lay below what could be seen."""
    page = show("n=12&state=running", width=IN_320_PX)
    for name in ("Worker lanes", "Why nodes wait", "Predict", "Slow motion"):
        switch(page, name)
    pane(page, "graph")
    finish(page)
    page.get_by_role("button", name="Ask me about the next").press("Enter")
    page.locator(".td-viewport").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator(".td-inspector .td-title")).to_be_visible(timeout=SECONDS_10)

    answers = page.locator(".td-predict .td-choice")
    expect(answers).to_have_count(6)
    assert all(answers.nth(at).evaluate(INSIDE) for at in range(6))
    assert page.locator(".td-viewport").evaluate("graph => graph.clientHeight") >= 40


@pytest.mark.slow
def test_a_question_of_two_rows_cuts_no_other_row(show: OpenPage) -> None:
    """The view took each row for 38 pixels; the last one lost its lower third."""
    page = show("n=12&state=running")
    for name in ("Predict", "Slow motion"):
        switch(page, name)
    page.locator(".td-viewport").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    finish(page)
    page.get_by_role("button", name="Ask me about the next").press("Enter")
    expect(page.locator(".td-predict .td-choice")).to_have_count(6)
    height = page.locator(".tiledag").evaluate("root => root.clientHeight")

    expect(page.get_by_role("radio", name="3 s", exact=True)).to_be_visible()
    assert page.get_by_role("radio", name="3 s", exact=True).evaluate(INSIDE)
    page.locator(".td-predict").get_by_role("button", name="Just show it").press("Enter")
    expect(page.locator(".td-predict .td-choice")).to_have_count(0)
    assert page.locator(".tiledag").evaluate("root => root.clientHeight") == height, "the page jumps with each question"


@pytest.mark.slow
def test_forced_colours_tell_what_is_done_from_what_has_not_begun(show: OpenPage) -> None:
    """In one colour both bars were full."""
    dark = {}
    for state in ("ready", "done"):
        page = show(f"n=1000&state={state}", "forced")
        page.wait_for_timeout(300)
        dark[state] = page.locator(".td-graph canvas.td-layer >> nth=1").evaluate(DARK)

    assert dark["done"] > dark["ready"] + 600


@pytest.mark.slow
@pytest.mark.parametrize(("width", "counted"), [(IN_320_PX, False), (1332, True)])
def test_the_timeline_names_its_rows_and_leaves_the_bars_most_of_the_room(
    show: OpenPage, width: int, counted: bool
) -> None:
    """Names had 180 of 320 pixels; with fewer, the count of a group left none for its name."""
    page = show("n=60&state=failed", width=width)
    pane(page, "timeline")
    page.locator(".td-timeline canvas >> visible=true").first.wait_for()

    picture = ElementTree.fromstring(exported(page, whole=True))

    texts = [each.text or "" for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(text.startswith("clean") for text in texts) == 1, texts
    assert sum(text.startswith("mont") for text in texts) == 1, texts
    assert ("×12" in texts) is counted
    (times,) = (float(each.get("x", "nan")) for each in picture.iter() if each.text == "0 s")
    assert times <= 0.42 * (width - 32)
