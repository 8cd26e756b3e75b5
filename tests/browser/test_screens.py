"""Every screen of the view, light, dark and in forced colours, on a kernel in the page.

Four looks at each: axe-core finds nothing that keeps somebody out; what is drawn has the colours of the palette on the
background of the theme, and is no empty canvas; it looks as it did when somebody looked at it last (`tests/looks.py`
says how that is told where fonts differ; ``make looks`` renews what is kept); and a picture of it is left in
``build/screens/`` for people.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenPage, assert_looks, stop_the_clock
from tests.looks import LENIENT, kept, reduced, share_of_change
from tests.view.test_static_sizes import pipeline
from tiledag_widget.view.picture import to_html, to_svg
from tools.lab import SCREENS

ROOT = Path(__file__).resolve().parents[2]
SECONDS_10 = 10_000
AXE = ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js"
PALETTE: dict[str, Any] = json.loads((ROOT / "tiledag_widget" / "view" / "palette.json").read_text())

Act = Callable[[BrowserPage], Any]


@dataclass(frozen=True)
class Screen:
    """Where it is, the way there, and the statuses whose colours must be seen."""

    query: str
    act: Act = lambda page: None
    colours: tuple[str, ...] = ()
    canvas: str = ".td-graph canvas.td-layer >> nth=1"
    shows: str = ".td-viewport"
    width: int = 1300
    modes: tuple[str, ...] = field(default=("light", "dark"))


def key(*keys: str) -> Act:
    """Keys on the graph."""

    def press(page: BrowserPage) -> None:
        page.locator(".td-viewport").focus()
        for each in keys:
            page.keyboard.press(each)

    return press


def tab(name: str) -> Act:
    """The first failure in the inspector, on one of its tabs."""

    def choose(page: BrowserPage) -> None:
        page.locator(".td-failed").click()
        page.get_by_role("tab", name=name).last.click()

    return choose


def filtered(text: str, is_hiding: bool = False) -> Act:
    def fill(page: BrowserPage) -> None:
        page.locator(".td-search").fill(text)
        if is_hiding:
            page.get_by_role("button", name="Hide others").click()

    return fill


def click(selector: str) -> Act:
    return lambda page: page.locator(selector).first.click()


def menu(entry: str) -> Act:
    def choose(page: BrowserPage) -> None:
        page.locator("[aria-haspopup=menu]").click()
        page.get_by_role("menuitem", name=entry).click()

    return choose


def busy(page: BrowserPage) -> None:
    page.evaluate("kernel.isAnswering = false")
    page.locator("[data-action=retry_failed]").click()


def replayed(*buttons: str, first: Act = lambda page: None) -> Act:
    """The replay, after these of its buttons."""

    def play(page: BrowserPage) -> None:
        first(page)
        page.locator("[aria-haspopup=menu]").click()
        page.get_by_role("menuitemcheckbox", name="Replay").click()
        for each in buttons:
            page.locator(".td-replay").get_by_role("button", name=each).click()
        if not buttons:
            page.get_by_role("slider").fill("6000")

    return play


def retried(*then: Act) -> Act:
    """The first failed node ran again and completed."""

    def retry(page: BrowserPage) -> None:
        page.evaluate(
            """() => {
                const index = kernel.states.findIndex(each => each.status === 4);
                kernel.patch([{ index, status: 2, attempt: 2, slot: 3, started: 30, ended: NaN }]);
                kernel.patch([{ index, status: 3, attempt: 2, slot: 3, started: 30, ended: 36 }]);
            }"""
        )
        for each in then:
            each(page)

    return retry


def pointed_at(action: str, pane: str) -> Act:
    """An action has the focus: what it would touch is shown."""

    def point(page: BrowserPage) -> None:
        key(pane)(page)
        expect(page.locator("[role=tabpanel] >> visible=true").first).to_be_visible()
        page.locator(f".td-actions [data-action={action}]").focus()

    return point


EVERY = ("light", "dark", "forced")
TIMELINE: dict[str, Any] = {"canvas": ".td-tl-canvas", "shows": ".td-tl-body"}
NO_CANVAS: dict[str, Any] = {"canvas": ""}
SCREENS_OF_VIEW: dict[str, Screen] = {
    "graph-10": Screen("n=12&state=failed", colours=("failed", "completed", "parent_failed"), modes=EVERY),
    "graph-100": Screen("n=60&state=mixed", colours=("failed", "completed", "parent_failed")),
    "graph-1000": Screen("n=1000&state=mixed", colours=("failed", "completed")),
    "graph-10000": Screen("n=10000&state=mixed", colours=("failed", "completed")),
    "graph-100000": Screen("n=100000&state=mixed", colours=("failed", "completed")),
    "graph-running": Screen("n=12&state=running", colours=("running", "completed")),
    "board": Screen("n=1000&state=mixed", key("Home", "ArrowRight", "Enter"), ("failed", "completed"), modes=EVERY),
    "timeline": Screen("n=60&state=mixed", key("t"), ("failed", "completed"), **TIMELINE, modes=EVERY),
    "timeline-1000": Screen("n=1000&state=mixed", key("t"), ("failed", "completed"), **TIMELINE),
    "timeline-slots": Screen(
        "n=12&state=failed", retried(key("t"), click("[data-order=slots]")), ("failed", "completed"), **TIMELINE
    ),
    "timeline-duration": Screen(
        "n=12&state=failed", retried(key("t"), click("[data-order=duration]")), ("failed", "completed"), **TIMELINE
    ),
    "replay": Screen("n=12&state=failed", replayed(), ("completed",), shows=".td-replay", modes=EVERY),
    "replay-failure": Screen("n=60&state=mixed", replayed("First failure"), ("failed",), shows=".td-replay"),
    "replay-timeline": Screen(
        "n=60&state=mixed", replayed(first=key("t")), ("completed",), canvas=".td-tl-canvas", shows=".td-replay"
    ),
    "dry-run-list": Screen(
        "n=12&state=failed",
        pointed_at("retry_failed", "l"),
        **NO_CANVAS,
        shows="[data-touching]",
        modes=("light", "dark"),
    ),
    "dry-run-timeline": Screen(
        "n=12&state=failed",
        pointed_at("retry_failed", "t"),
        ("failed",),
        canvas=".td-tl-canvas",
        shows="[data-touching]",
    ),
    "list": Screen("n=60&state=mixed", key("l"), **NO_CANVAS, shows="[role=treegrid]", modes=EVERY),
    "logs": Screen("n=60&state=mixed", key("o"), **NO_CANVAS, shows=".td-logline", modes=EVERY),
    "inspector-error": Screen("n=12&state=failed", tab("Error"), ("failed",), shows=".td-errormessage", modes=EVERY),
    "inspector-overview": Screen("n=12&state=failed", tab("Overview"), ("failed",), shows=".td-facts"),
    "inspector-logs": Screen("n=12&state=failed", tab("Logs"), ("failed",), shows=".td-inspector .td-logline"),
    "inspector-attempts": Screen("n=12&state=failed", tab("Attempts"), ("failed",), shows=".td-inspector"),
    "inspector-code": Screen("n=12&state=failed", tab("Code"), ("failed",), shows=".td-panel pre"),
    "inspector-stack": Screen(
        "n=1000&state=mixed", key("Home", "ArrowRight", " "), ("failed",), shows=".td-failuretext"
    ),
    "filter": Screen("n=60&state=mixed", filtered("status:parent-failed"), ("parent_failed",), shows=".td-term"),
    "filter-hides": Screen("n=60&state=mixed", filtered("node:*join*", True), ("completed",), shows=".td-hide"),
    "filter-presets": Screen("n=60&state=mixed", click(".td-search"), ("failed",), shows=".td-term"),
    "filter-problem": Screen("n=60&state=mixed", filtered("colour:red"), ("failed",), shows=".td-problem"),
    "path": Screen("n=60&state=done", key("p"), ("completed",), shows=".td-critical"),
    "confirmation": Screen(
        "n=12&state=running&stop=1", click("[data-action=cancel_graph]"), ("running",), shows=".td-confirm", modes=EVERY
    ),
    "menu": Screen("n=12&state=running", click("[aria-haspopup=menu]"), ("running",), shows="[role=menu]", modes=EVERY),
    "keys": Screen("n=12&state=running", key("?"), shows=".td-keys"),
    "export": Screen("n=12&state=failed", menu("Export"), shows="[role=dialog]"),
    "detached": Screen(
        "n=12&state=running", lambda page: page.evaluate("kernel.emit('comm:close')"), ("running",), shows=".td-stripe"
    ),
    "busy": Screen(
        "n=12&state=failed",
        busy,
        ("failed",),
        shows="[data-waiting=busy]",
    ),
    "empty": Screen("n=0&state=ready", **NO_CANVAS, shows=".td-empty"),
    "ready": Screen("n=12&state=ready", colours=("not_started",), shows=".td-empty"),
    "done": Screen("n=12&state=done", colours=("completed",)),
    "narrow-list": Screen("n=12&state=failed", **NO_CANVAS, shows="[role=treegrid]", width=352),
    "narrow-graph": Screen("n=12&state=failed", click("[data-pane=graph]"), ("failed",), width=352),
    "narrow-inspector": Screen("n=12&state=failed", click(".td-failed"), **NO_CANVAS, shows=".td-inspector", width=352),
}
CASES = [(name, mode) for name, screen in SCREENS_OF_VIEW.items() for mode in screen.modes]
QUICK = {("graph-10", "light"), ("graph-10", "dark"), ("list", "light"), ("confirmation", "forced")}

# How much of a canvas has nearly a colour, and how much of it is anything but transparent.
DRAWN = """(canvas, [red, green, blue]) => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    let [near, any] = [0, 0];
    for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 0) any++;
        const far = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
        if (data[at + 3] > 200 && far < 12) near++;
    }
    return { near, any };
}"""
LUMINANCE = """root => {
    const own = getComputedStyle(root).backgroundColor.match(/[\\d.]+/g).map(Number);
    return (0.2126 * own[0] + 0.7152 * own[1] + 0.0722 * own[2]) / 255;
}"""


def settle(page: BrowserPage) -> None:
    """Two frames on, all is drawn that was asked for."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def violations(page: BrowserPage) -> list[str]:
    """What axe-core finds in the view, all its rules and best practices, in lines that name the element."""
    page.evaluate(AXE.read_text())
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run('.tiledag')).violations")
    return [f"{each['id']}: {node['html'][:200]}" for each in found for node in each["nodes"]]


def rgb(status: str, mode: str) -> list[int]:
    text = PALETTE["statuses"][status.upper()][mode]["mark"].removeprefix("#")
    return [int(text[at : at + 2], 16) for at in (0, 2, 4)]


@pytest.mark.parametrize(
    ("name", "mode"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_a_screen(show: OpenPage, name: str, mode: str) -> None:
    """Nobody is kept out of it, and it is drawn in the colours of its theme."""
    screen = SCREENS_OF_VIEW[name]
    page = show(screen.query, mode, screen.width)
    if name.startswith("timeline"):
        stop_the_clock(page, 2)
    screen.act(page)
    expect(page.locator(f"{screen.shows} >> visible=true").first).to_be_visible(timeout=SECONDS_10)
    settle(page)
    root = page.locator(".tiledag")
    SCREENS.mkdir(parents=True, exist_ok=True)
    picture = root.screenshot(path=SCREENS / f"view-{name}-{mode}.png")

    assert violations(page) == []
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth + 1"), "it is wider than its room"
    if mode == "forced":
        return
    assert_looks(page, picture, f"{name}-{mode}")
    luminance = root.evaluate(LUMINANCE)
    assert luminance > 0.9 if mode == "light" else luminance < 0.2
    if not screen.canvas:
        return
    canvas = page.locator(screen.canvas)
    for status in screen.colours:
        drawn = canvas.evaluate(DRAWN, rgb(status, mode))
        assert drawn["any"] > 2_000, "the canvas is empty"
        assert drawn["near"] > 30, f"{status} is not to be seen"


@pytest.mark.slow
@pytest.mark.parametrize("font", ["serif", "monospace"])
@pytest.mark.parametrize("screen", ["graph-10", "list"])
def test_a_screen_in_other_letters_is_the_same_screen(show: OpenPage, screen: str, font: str) -> None:
    """A machine with other fonts would fail all of this, and nobody would believe the next failure."""
    page = show(SCREENS_OF_VIEW[screen].query)
    SCREENS_OF_VIEW[screen].act(page)
    page.evaluate("font => document.body.style.setProperty('--jp-ui-font-family', font)", font)
    page.evaluate("document.body.dataset.jpThemeName = 'another'")  # the view reads its theme again
    settle(page)

    now = reduced(page.locator(".tiledag").screenshot(path=SCREENS / f"letters-{screen}-{font}.png"))
    assert share_of_change(now, kept(f"{screen}-light"), LENIENT.far) <= LENIENT.share


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_an_exported_png_shows_what_the_svg_and_the_screen_show(show: OpenPage, mode: str) -> None:
    """A picture for a talk without its letters, its arrows or its colours."""
    page = show("n=60&state=mixed", mode)
    menu("Export")(page)
    made: dict[str, bytes] = {}
    for name in ("SVG picture", "PNG picture, 2×"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name).click()
        made[name[:3]] = waiting.value.path().read_bytes()
    drawn = page.evaluate(
        """async svg => {
            const picture = new Image();
            picture.src = URL.createObjectURL(new Blob([svg], { type: 'image/svg+xml' }));
            await picture.decode();
            document.body.replaceChildren(picture);
            document.body.style.margin = 0;
            return [picture.naturalWidth, picture.naturalHeight];
        }""",
        made["SVG"].decode(),
    )
    opened = page.locator("img").screenshot(path=SCREENS / f"export-svg-{mode}.png")
    (SCREENS / f"export-png-{mode}.png").write_bytes(made["PNG"])
    png = Image.open(BytesIO(made["PNG"])).convert("RGB")

    assert png.size == (2 * drawn[0], 2 * drawn[1])
    # The PNG at half its size is the SVG in the browser's own drawing, pixel beside pixel; edges of letters may differ.
    small = png.resize((drawn[0], drawn[1]), Image.Resampling.BOX)
    shown = Image.open(BytesIO(opened)).convert("RGB")
    assert shown.size == small.size
    changed = ImageChops.difference(small, shown).convert("L").histogram()
    assert sum(changed[64:]) / sum(changed) < 0.008
    for status in ("failed", "completed", "parent_failed"):
        assert near(png, rgb(status, mode)) > 200, f"{status} has not its colour"
    assert_looks(page, opened, f"exported-{mode}")
    assert share_of_change(reduced(opened), Image.new("RGB", reduced(opened).size, png.getpixel((0, 0)))) > 0.05


def near(image: Image.Image, colour: list[int]) -> int:
    """How many pixels have nearly that colour."""
    flat = Image.new("RGB", image.size, tuple(colour))
    far = ImageChops.difference(image, flat).split()
    return sum(ImageChops.add(ImageChops.add(far[0], far[1]), far[2]).histogram()[:12])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_static_form_looks_as_it_did(browser: Browser, mode: Literal["light", "dark"]) -> None:
    """What a mailed notebook and nbconvert show: the HTML without script, its picture in it, on a page of the theme."""
    colours = "background:#ffffff;color:#111111" if mode == "light" else "background:#111111;color:#eeeeee"
    body = f"<body style='margin:16px;font:14px sans-serif;{colours}'><div>{to_html(pipeline(60))}</div></body>"
    page = browser.new_page(viewport={"width": 900, "height": 800})
    page.set_content(f"<!doctype html>{body}")
    expect(page.locator("img").first).to_be_visible()
    picture = page.screenshot(path=SCREENS / f"static-{mode}.png")
    page.set_content(f"<!doctype html><body style='margin:0'>{to_svg(pipeline(60), mode)}</body>")
    alone = page.locator("svg").first.screenshot(path=SCREENS / f"static-svg-{mode}.png")

    assert_looks(page, picture, f"static-{mode}")
    assert_looks(page, alone, f"static-svg-{mode}")
    page.close()
