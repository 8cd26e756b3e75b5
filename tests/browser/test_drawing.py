"""What is drawn beyond single screens: the picture that is exported, the casing of the critical path, the fade."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenPage, slowed
from tests.browser.test_screens import DRAWN, PALETTE, rgb, settle

SECONDS_10 = 10_000
MARKS = ".td-graph canvas.td-layer >> nth=1"
EDGES = ".td-graph canvas.td-layer >> nth=0"


def exported(page: BrowserPage, whole: bool) -> str:
    page.locator("[aria-haspopup=menu]").click()
    page.get_by_role("menuitem", name="Export").click()
    box = page.get_by_role("dialog", name="Export")
    box.get_by_role("radio").nth(1 if whole else 0).check()
    with page.expect_download() as saved:
        box.get_by_role("button", name="SVG picture").click()
    return Path(saved.value.path()).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_exported_picture_is_the_one_on_screen(show: OpenPage, mode: str) -> None:
    """Same marks in the same colours; as XML that anybody's program reads, with nothing fetched and nothing run."""
    page = show("n=12&state=failed", mode)
    settle(page)
    statuses = ("completed", "failed")
    on_screen = {status: page.locator(MARKS).evaluate(DRAWN, rgb(status, mode)) for status in statuses}

    text = exported(page, whole=False)

    root = ElementTree.fromstring(text)
    tags = {each.tag.split("}")[1] for each in root.iter()}
    assert tags <= {"svg", "title", "rect", "path", "g", "text", "clipPath"}
    names = " ".join(each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text"))
    # Dots and hatches are too fine to be counted by pixels.
    assert PALETTE["statuses"]["PARENT_FAILED"][mode]["mark"] in text
    assert "stroke-dasharray" in text
    assert "clean_mar" in names
    assert "fit_model" in names
    drawn: dict[str, Any] = page.evaluate(
        """async ([text, colours, count]) => {
            const picture = new Image();
            picture.src = 'data:image/svg+xml;charset=utf-8,' + encodeURIComponent(text);
            await picture.decode();
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
            canvas.getContext('2d').drawImage(picture, 0, 0);
            const drawn = eval(count);
            return Object.fromEntries(colours.map(([name, colour]) => [name, drawn(canvas, colour)]));
        }""",
        [text, [[name, rgb(name, mode)] for name in on_screen], DRAWN],
    )
    for name, seen in on_screen.items():
        assert 0.7 < drawn[name]["near"] / seen["near"] < 1.4, f"{name}: {drawn[name]} in the file, {seen} on screen"

    page.keyboard.press("Escape")
    whole = ElementTree.fromstring(exported(page, whole=True))
    assert float(whole.get("width", "0")) > 1000
    assert whole.findtext("{http://www.w3.org/2000/svg}title") == "ingest-2024"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_critical_path_has_a_casing_of_its_own_colour(show: OpenPage, mode: str) -> None:
    """Round its nodes and along its edges, and nowhere before and after; the caption says how much of the run it is."""
    page = show("n=12&state=done", mode)
    text = PALETTE["accents"][mode]["critical"]
    colour = [int(text[at : at + 2], 16) for at in (1, 3, 5)]

    def seen() -> list[int]:
        settle(page)
        return [page.locator(each).evaluate(DRAWN, colour)["near"] for each in (EDGES, MARKS)]

    assert seen() == [0, 0]
    page.locator(".td-viewport").press("p")
    expect(page.locator(".td-critical")).to_contain_text("Critical path: ")
    edges, marks = seen()
    assert edges > 200, "no edge is cased"
    assert marks > 200, "no node is cased"
    page.locator(".td-viewport").press("p")
    expect(page.locator(".td-critical")).to_be_hidden()
    assert seen() == [0, 0]


# Opacity of the Failed colour on its card, while the page's clock goes on as it is told.
FADE = """async moments => {
    const canvas = document.querySelectorAll('.td-graph canvas.td-layer')[1];
    const frames = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
    const red = () => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0;
        for (let at = 0; at < data.length; at += 4)
            if (data[at] > 1.6 * data[at + 1] && data[at] > 1.6 * data[at + 2]) sum += data[at + 3];
        return sum;
    };
    const zero = performance.now();
    let now = zero;
    performance.now = () => now;
    const seen = [red()];
    const index = kernel.states.findIndex(each => each.status === 4);
    kernel.patch([{ index, status: 2, attempt: 2, slot: 1, started: 42, ended: NaN }]);
    for (const moment of moments) {
        now = zero + moment;
        await frames();
        await frames();
        seen.push(red());
    }
    return seen;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_status_fades_into_the_next_within_120_ms_unless_motion_is_unwanted(
    browser: Browser, source_page: Path, motion: Any
) -> None:
    """A jump is overlooked; who asked for less motion gets the jump."""
    page = slowed(browser.new_page(viewport={"width": 1300, "height": 900}, reduced_motion=motion))
    page.goto(f"{source_page.as_uri()}?n=12&state=failed&theme=light")
    expect(page.locator(".td-graph")).to_have_attribute("data-drawn", "12", timeout=SECONDS_10)
    settle(page)

    before, first, middle, end, after = page.evaluate(FADE, [1, 60, 125, 500])
    page.close()

    assert before > 0
    assert end == after
    assert end < 0.1 * before
    if motion == "reduce":
        assert first == middle == end
    else:
        assert before >= first > middle > end
