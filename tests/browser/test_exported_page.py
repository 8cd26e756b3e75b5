"""An exported run in a real browser: offline, under its own policy, with names that were meant to hurt."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect

from tests.strategies import HOSTILE_NAMES
from tests.view.fake_source import FakeSource
from tests.view.test_export import ran
from tiledag_widget import DAG
from tiledag_widget.core.states import NOT_STARTED, AddNode, Began, Failed, Start
from tiledag_widget.view.export import made
from tiledag_widget.view.opening import fold_and_layout

TOLD = "window.told = []; document.addEventListener('securitypolicyviolation', event => told.push(event.blockedURI));"
Open = Callable[[FakeSource], Page]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the exported page of a graph. What it asks for, says or breaks fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 640}, accept_downloads=True)
    wrong: list[str] = []
    target = tmp_path / "run.html"

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:", target.as_uri())):
            wrong.append(f"request: {request.url[:200]}")

    def refuse(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def opened(source: FakeSource) -> Page:
        target.write_text(made(source, "html"), encoding="utf-8")
        page = context.new_page()
        page.add_init_script(TOLD)
        page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("dialog", refuse)
        page.on("request", note)
        page.goto(target.as_uri())
        expect(page.locator(".tiledag")).to_be_visible()
        return page

    yield opened

    for page in context.pages:
        assert page.evaluate("told") == []
    context.close()
    assert wrong == []


@pytest.mark.slow
def test_members_of_a_chain_are_found_by_their_function(open_page: Open) -> None:
    """A thousand steps in a row are drawn as one: what is in it would be found by name only."""
    names = [f"step-{number}" for number in range(1_000)]
    source = FakeSource(names=names, groups=[("read", "clean", "match")[number % 3] for number in range(1_000)])
    source.handle(*[AddNode((number - 1,) if number else (), NOT_STARTED) for number in range(1_000)])
    assert fold_and_layout(source.structure()).marks["kind"] == ["chain"]
    page = open_page(source)

    for text, count in (("function:clean", 333), ("-group:r*", 666), ("function:read step-99", 5)):
        page.locator(".td-search").fill(text)
        expect(page.locator(".td-searchcount")).to_contain_text(f"{count} of 1,000")


def menu(page: Page, name: str) -> None:
    page.locator("[aria-haspopup=menu]").click()
    page.locator(".td-menu").get_by_text(name, exact=True).click()


def test_an_exported_run_can_be_looked_into_and_played(open_page: Open) -> None:
    """What was mailed to a colleague would be a picture."""
    page = open_page(ran(["load", "resize", "merge"]))

    expect(page.locator(".td-stripe")).to_contain_text("Saved run.")
    expect(page.locator(".td-done")).to_have_text("3/3")
    menu(page, "Replay")
    expect(page.locator(".td-done")).to_have_text("0/3")
    page.get_by_role("button", name="First failure").click()
    expect(page.locator(".td-failed")).to_contain_text("1 failed")
    expect(page.get_by_role("button", name="Retry failed")).to_have_attribute("aria-disabled", "true")
    page.get_by_role("button", name="Next event").click()
    expect(page.locator(".td-failed")).to_be_hidden()
    page.get_by_role("button", name="Leave the replay").click()
    expect(page.locator(".td-done")).to_have_text("3/3")


def test_the_timeline_of_an_exported_run_shows_both_attempts(open_page: Open) -> None:
    """The retry, which is why somebody was sent the file, would not be in it."""
    page = open_page(ran(["load", "resize", "merge"]))

    page.locator("[data-pane=timeline]").last.click()
    expect(page.locator(".td-timeline")).to_have_attribute("data-rows", "3")
    page.locator(".td-tl-body").focus()
    page.keyboard.press("Home")
    said = page.locator(".td-timeline .td-mirror [role=img]").first
    expect(said).to_have_text("load, Completed, waited 1.0 s, attempt 1 ran 1.0 s, attempt 2 ran 0.5 s")
    for order in ("slots", "duration", "nodes"):
        page.locator(f"[data-order={order}]").click()
        expect(page.locator(".td-timeline")).to_have_attribute("data-order", order)


@pytest.mark.slow
def test_the_first_failure_shows_the_error_of_that_attempt(browser: Browser, tmp_path: Path) -> None:
    """What went wrong before somebody tried again would read as if nothing had."""
    problems = ["no row 3\nof 17", "no row 4"]

    def load() -> int:
        if problems:
            raise ValueError(problems.pop(0))
        return 3

    dag = DAG(name="orders", executor="inline", record=False)
    node = dag.submit_local(load, name="load")
    dag.compute()
    for _ in range(2):
        with contextlib.suppress(ValueError):
            dag.wait(20)
        node.retry()
    dag.wait(20)
    target = tmp_path / "run.html"
    dag.export(target)
    page = browser.new_page(viewport={"width": 1200, "height": 640})
    page.goto(target.as_uri())

    menu(page, "Replay")
    page.get_by_role("button", name="First failure").click()

    panel = page.locator(".td-panel")
    expect(page.locator(".td-errortype")).to_have_text("ValueError")
    expect(page.locator(".td-errormessage")).to_have_text("no row 3")
    expect(panel).to_contain_text("First line of the error of attempt 1.")
    page.close()


def test_pictures_are_made_without_a_kernel(open_page: Open, tmp_path: Path) -> None:
    """A saved run could not be put into a talk."""
    page = open_page(ran(["load", "resize", "merge"]))
    menu(page, "Export…")

    for name, begins in (("SVG picture", b"<svg"), ("PNG picture, 2×", b"\x89PNG")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=name).click()
        waiting.value.save_as(tmp_path / "picture")
        assert (tmp_path / "picture").read_bytes().startswith(begins)


@pytest.mark.slow
def test_no_name_is_ever_executed(open_page: Open) -> None:
    """H7: whoever opens the file would run what somebody called a node."""
    names = [*HOSTILE_NAMES, "</script><script>document.title='owned'</script>", "<img src=x onerror=alert(1)>"]
    page = open_page(ran(names, "</title><script>alert(1)</script>"))

    for pane in ("timeline", "list", "graph"):
        page.locator(f"[data-pane={pane}]").click()
        page.wait_for_timeout(200)
    page.locator("[data-pane=timeline]").last.click()
    page.locator(".td-tl-body").focus()
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    menu(page, "Replay")

    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert page.title() == "</title><script>alert(1)</script>"


KEY = """([key, how]) => {
    const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...how });
    document.activeElement.dispatchEvent(event);
    return event.defaultPrevented;
}"""
ALT_GR = {"ctrlKey": True, "altKey": True, "modifierAltGraph": True}


@pytest.mark.parametrize("pane", ["g", "t", "l"])
def test_keys_of_the_browser_are_left_to_it(open_page: Open, pane: str) -> None:
    """Who zooms the page, prints it or goes back would zoom the graph."""
    page = open_page(ran(["load", "resize", "merge"]))
    page.locator(".td-viewport").focus()
    page.keyboard.press(pane)

    def is_taken(key: str, **how: bool) -> bool:
        taken: bool = page.evaluate(KEY, [key, how])
        return taken

    for key in ("+", "-", "0", "p", "f", "r", "/", "ArrowLeft", "Home", " "):
        for how in ("ctrlKey", "metaKey", "altKey"):
            if (key, how) != ("/", "altKey"):
                assert not is_taken(key, **{how: True}), f"{how} {key}"
    assert is_taken("Home")
    # On many keyboards brackets need AltGr, which browsers call Ctrl and Alt.
    assert is_taken("]", **ALT_GR)


def test_attempts_are_gone_through_by_either_pair_of_keys_in_every_pane(open_page: Open) -> None:
    """A keyboard without brackets would have no key for it but in the timeline."""
    page = open_page(ran(["load", "resize", "merge"]))
    attempt = page.get_by_role("combobox", name="Attempts that are shown")
    for pane in ("t", "g", "l"):
        for key, wanted in zip("...,,,][", "12021010", strict=True):
            page.locator("button[data-pane=graph]").click()
            page.locator(".td-viewport").focus()
            page.keyboard.press(pane)
            page.keyboard.press(key)
            page.locator("[data-pane=timeline]").last.click()
            expect(attempt).to_have_value(wanted)


def test_the_log_of_an_exported_run_says_that_it_is_not_there(open_page: Open) -> None:
    """Who reads that no node printed anything looks for the fault elsewhere."""
    page = open_page(ran(["load", "resize", "merge"]))
    page.locator("[data-pane=logs]").click()

    expect(page.locator(".td-logempty")).to_have_text("A saved run does not keep what its nodes printed.")
    blocked = page.locator(".td-logtools button[aria-disabled=true]")
    expect(blocked).to_have_count(3)
    for each in blocked.all():
        expect(each).to_have_attribute("title", "A saved run does not keep what its nodes printed.")


def failing(count: int) -> FakeSource:
    """So many nodes that fail, in turn for want of room and for a bad value."""
    source = FakeSource(names=[f"part-{node}" for node in range(count)])
    source.handle(*[AddNode((), NOT_STARTED) for _ in range(count)], Start(source.now))
    for node in range(count):
        error = OSError(28, "No space left on device") if node % 3 == 0 else ValueError("not a number")
        source.facts[node] = {"error": error}
        source.handle(Began(node, 1, source.now + 1, 0), Failed(node, 1, source.now + 2))
    return source


def test_failures_are_found_and_counted_by_their_errors_before_anybody_looked_at_them(open_page: Open) -> None:
    """At 3 a.m. a search for the error would find the one failure that was clicked on."""
    page = open_page(failing(90))

    page.locator(".td-search").fill('"space left"')
    expect(page.locator(".td-searchcount")).to_contain_text("30 of 90")
    page.locator(".td-search").fill("")
    page.locator(".td-viewport").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    texts = page.locator(".td-failuretext")
    expect(texts).to_have_text(["60× ValueError: not a number", re.compile("^30× OSError: .*No space left on device")])
