"""The harness of the browser tests: a real JupyterLab, a real Chromium, one of each for all tests.

A test asks for ``open_notebook``, gives it cells and drives them::

    def test_a_retry_completes_the_node_while_the_cell_waits(open_notebook: OpenNotebook, kernel: str) -> None:
        nb = open_notebook(["from tiledag_widget import ...", "graph.compute(); graph.wait()"], kernel=kernel)
        nb.run_and_wait(0)                     # to its end; a traceback in the cell fails the test
        nb.run(1)                              # returns when the cell has begun, however long it blocks
        nb.output(1).get_by_role("button", name="Retry failed").click()
        expect(nb.output(1).get_by_text("Completed")).to_be_visible()
        assert nb.is_running(1)
        nb.wait_for_cell(1, seconds=20)        # its prompt holds a number
        nb.screenshot("retried", nb.output(1)) # build/screens/retried.png
        nb.assert_no_errors()                  # the browser's console

Beside these: ``nb.run_all()``, ``nb.text(1)`` (what it printed), ``nb.outputs(1)`` (notebook format), ``nb.save()``
(gives the file's content), ``nb.reload()`` (``wait_idle=False`` while a cell runs), ``nb.set_theme(dark=True)``,
``nb.interrupt()``, ``nb.restart()``, ``nb.page`` (playwright's own page, for all the rest) and `tools/lab.py`, which
holds it all.

Kernels: ``kernel`` as an argument runs the test on the newest ipykernel, on 7.3.0 and on 6.31.0, whose ways for a
click during a blocked cell differ. Without it a test runs on the newest. ``open_notebook(..., width=, height=,
dark=True, fresh=True)``; a `Path` in place of cells opens a copy of that notebook; a fresh tab has loaded Lab for this
test alone. ``settings`` of Lab: ``lab.set_settings`` before opening.

Every test in this folder is marked ``browser`` and has an alarm at 120 s. Pages end with their test, kernels with
them; a test that fails leaves ``build/screens/failed-<test>.png``. Without a browser the tests are skipped and the
summary says so; with ``CI=true`` they fail. Playwright's loop stays with the process: no asyncio in these tests.

``TILEDAG_CPU_THROTTLE=6`` makes every page as slow as on a machine six times slower: what a test takes for granted
shows then.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as BrowserPage

from tests.looks import assert_as_before
from tools import browser as browsers
from tools import kernels
from tools.lab import Lab, Page, chromium

ROOT = Path(__file__).resolve().parents[2]
NEWEST = kernels.NEWEST
NOON = 1_772_625_600_000
LETTERS = """() => ['system-ui', 'sans-serif', 'monospace'].reduce((sum, family) => {
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = `100px ${family}`;
    return sum + pen.measureText('Completed 1,024 of 1,026').width;
}, 0)"""
IN_LONDON: dict[str, Any] = {"timezone_id": "Europe/London", "locale": "en-GB"}
ALL_KERNELS = [NEWEST, kernels.name_of("7.3.0"), kernels.name_of("6.31.0")]

_not_run: set[str] = set()


class OpenNotebook(Protocol):
    """Type of the fixture ``open_notebook``."""

    def __call__(self, cells: Any, **options: Any) -> Page: ...


OpenPage = Callable[..., BrowserPage]
"""Type of the fixture ``show``."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """All tests here are browser tests."""
    if "/tests/browser/" in item.path.as_posix():
        item.add_marker(pytest.mark.browser)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``kernel`` in a test's arguments stands for each of them in turn."""
    if "kernel" in metafunc.fixturenames and "/tests/browser/" in metafunc.definition.path.as_posix():
        marked = any("kernel" in str(mark.args[:1]) for mark in metafunc.definition.iter_markers("parametrize"))
        if not marked:
            metafunc.parametrize("kernel", ALL_KERNELS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Takes a picture of every page of a test that failed, before they close."""
    report = yield
    if call.when == "call" and report.failed:
        for number, page in enumerate(getattr(item, "_pages", [])):
            name = re.sub(r"[^\w.-]+", "-", item.name)
            page.is_spoiled = True
            try:
                path = page.screenshot(f"failed-{name}-{number}")
                shown = "\n".join([f"picture: {path}", *page.console[-20:]])
            except Exception as error:
                shown = f"no picture: {error}"
            report.sections.append((f"page {number} ({page.name})", shown))
            report.sections.append(("server log", page.lab.log(3000)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud what was skipped: a green line alone would hide it."""
    for reason in sorted(_not_run):
        terminalreporter.write_sep("!", f"BROWSER TESTS DID NOT RUN: {reason}", red=True, bold=True)


def cannot_run(reason: str) -> None:
    _not_run.add(reason)
    if browsers.is_required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def harness_page(folder: Path, *flags: str) -> Path:
    """A page with the view on a kernel in the page (``js/test/fake.ts``), made from the sources or, with ``--built``,
    with the bundle that users get; ``?n=60&state=mixed&theme=dark`` says what it shows."""
    node = shutil.which("node", path=f"{ROOT / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin") or "node"
    subprocess.run(
        [node, "test/harness.mjs", *flags],
        cwd=ROOT / "js",
        env={"TILEDAG_HARNESS": str(folder), "PATH": "/usr/bin:/bin"},
        check=True,
        timeout=60,
    )
    return folder / "index.html"


def slowed(page: BrowserPage) -> BrowserPage:
    """The page, as slow as ``TILEDAG_CPU_THROTTLE`` says."""
    rate = float(os.environ.get("TILEDAG_CPU_THROTTLE", "1"))
    if rate > 1:
        page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
    return page


def at_noon(page: BrowserPage) -> BrowserPage:
    """The page, to be loaded at noon of one day in March, from where time goes on: pictures of it can be compared."""
    page.add_init_script(f"{{ const now = Date.now, shift = {NOON} - now(); Date.now = () => now() + shift; }}")
    return page


def stop_the_clock(page: BrowserPage, seconds: float) -> None:
    """It is so long past noon from now on, and the page has seen that: for pictures in which a second can be seen."""
    page.evaluate(f"Date.now = () => {NOON} + {seconds * 1000}")
    page.wait_for_timeout(1_200)  # the view looks at the clock each second


def assert_looks(page: BrowserPage, picture: bytes, name: str) -> None:
    """The picture is like the one that is kept, as close as the fonts of this machine allow."""
    assert_as_before(picture, name, page.evaluate(LETTERS))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests."""
    if browsers.find() is None:
        cannot_run(browsers.MISSING)
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def source_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources as they are, with ``js/test/fake.ts``."""
    return harness_page(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def show(browser: Browser, source_page: Path) -> Iterator[OpenPage]:
    """``show("n=12&state=failed", "dark", 1300)``; the test fails on any error of the page."""
    pages: list[BrowserPage] = []
    errors: list[str] = []

    def open_page(query: str, mode: str = "light", width: int = 1300, **options: Any) -> BrowserPage:
        page = browser.new_page(
            viewport={"width": width, "height": 900},
            forced_colors="active" if mode == "forced" else "none",
            reduced_motion="reduce",
            **{**IN_LONDON, **options},
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(slowed(at_noon(page)))
        page.goto(f"{source_page.as_uri()}?{query}&theme={'dark' if mode == 'dark' else 'light'}", timeout=90_000)
        expect(page.locator(".td-done")).to_contain_text("/", timeout=30_000)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture(scope="session")
def lab(browser: Browser) -> Iterator[Lab]:
    """One JupyterLab for all tests."""
    server = Lab(browser)
    yield server
    server.close()


@pytest.fixture(scope="session")
def notebook7(browser: Browser) -> Iterator[Lab]:
    """One Notebook 7 for all tests: ``notebook7.open([...])``."""
    server = Lab(browser, app="notebook")
    yield server
    server.close()


@pytest.fixture
def open_notebook(lab: Lab, request: pytest.FixtureRequest) -> Iterator[OpenNotebook]:
    """Opens notebooks in JupyterLab; their tabs and kernels end with the test."""
    pages: list[Page] = []
    request.node._pages = pages

    def open_one(cells: Any, **options: Any) -> Page:
        kernel = options.get("kernel", NEWEST)
        if not kernels.is_installed(kernel):
            cannot_run(f"kernel {kernel} is not installed; `make browser` installs it")
        page = lab.open(cells, **options)
        slowed(page.page)
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        page.close()
