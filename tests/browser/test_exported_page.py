"""An exported run in a real browser: offline, under its own policy, with names that were meant to hurt."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, expect

from tests.strategies import HOSTILE_NAMES
from tests.view.fake_source import FakeSource
from tests.view.test_export import ran
from tiledag_widget import DAG
from tiledag_widget.core.states import NOT_STARTED, AddNode
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

    page.locator("[data-pane=timeline]").click()
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
    page.locator("[data-pane=timeline]").click()
    page.locator(".td-tl-body").focus()
    for _ in range(12):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    menu(page, "Replay")

    assert page.locator("script").count() == 2
    assert page.locator("img").count() == 0
    assert page.title() == "</title><script>alert(1)</script>"
