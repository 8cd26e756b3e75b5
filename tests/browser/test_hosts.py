"""What `docs/hosts.md` says of hosts and no other test shows: strict policies, reload, full screen, stored output.

**Our code makes no request.** The browser tells for each request which script asked for it. Ours comes from blobs, as
every anywidget does; the front end's own comes from files of the server. A control, a blob that does ask, shows that
the count would find it.
"""

from __future__ import annotations

import functools
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Route, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook
from tests.browser.test_live_view import GRAPH, WAIT
from tests.view.test_export import ran
from tiledag_widget.view.export import made
from tools.lab import Lab, Page

SECONDS_10 = 10_000
SECONDS_20 = 20_000
OPENED = "gate.set()\n" + WAIT

DIRECTIVES = {
    "default-src": "'none'",
    # JupyterLab's page has inline scripts and compiles the schemas of its settings. Widgets come from blobs.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' ws://127.0.0.1:*",
    "worker-src": "'self' blob:",
    "manifest-src": "'self'",
    "frame-src": "'self'",
    "base-uri": "'self'",
    "form-action": "'none'",
}
POLICY = "; ".join(f"{name} {value}" for name, value in DIRECTIVES.items())
VIOLATIONS = """window.violations = []; document.addEventListener('securitypolicyviolation', event =>
    violations.push(`${event.effectiveDirective} ${event.blockedURI} by ${event.sourceFile}:${event.lineNumber}`));"""
ASKS = """path => new Promise((done, fail) => {
    const text = `fetch(${JSON.stringify(location.origin + path)}).then(() => asked(), () => asked());`;
    window.asked = done;
    const script = document.createElement('script');
    script.type = 'module';
    script.src = URL.createObjectURL(new Blob([text], { type: 'text/javascript' }));
    script.onerror = fail;
    document.head.append(script);
})"""


class Requests:
    """Requests that scripts from blobs made; those for blobs themselves stay in the page."""

    def __init__(self, page: BrowserPage) -> None:
        self.ours: list[str] = []
        self.all = 0
        session = page.context.new_cdp_session(page)
        session.on("Network.requestWillBeSent", self._note)
        session.on("Network.webSocketCreated", self._note)
        session.send("Network.enable")
        session.send("Debugger.enable")
        session.send("Debugger.setAsyncCallStackDepth", {"maxDepth": 16})

    def _note(self, event: dict[str, Any]) -> None:
        url = event.get("request", event).get("url", "")
        self.all += 1
        if not url.startswith(("blob:", "data:")) and '"blob:' in json.dumps(event.get("initiator", {})):
            self.ours.append(url)


def view_of(nb: Page, cell: int = 0) -> Locator:
    view = nb.output(cell).locator(".tiledag").first
    expect(view.locator(".td-done")).to_contain_text("/", timeout=SECONDS_20)
    return view


def look_at_everything(nb: Page, view: Locator) -> None:
    """Each pane, the inspector with its tabs, the menu, an export and a replay."""
    view.locator(".td-failed").click()
    inspector = view.locator(".td-inspector")
    expect(inspector.locator(".td-errormessage")).to_be_visible(timeout=SECONDS_10)
    for tab in ("Overview", "Logs", "Attempts", "Code"):
        inspector.get_by_role("tab", name=tab).click()
    for pane in ("timeline", "list", "logs", "graph"):
        view.locator(f"[role=tab][data-pane={pane}]").click()
        expect(view.locator(".td-waiting:visible")).to_have_count(0, timeout=SECONDS_10)
    view.locator(".td-search").fill("status:failed")
    view.locator("[aria-haspopup=menu]").click()
    view.locator(".td-menu").get_by_text("Export…", exact=True).click()
    for name in ("SVG picture", "PNG picture, 2×", "HTML page"):
        with nb.page.expect_download() as waiting:
            view.get_by_role("button", name=name).click()
        assert waiting.value.path().stat().st_size > 500
    nb.page.keyboard.press("Escape")
    view.locator("[aria-haspopup=menu]").click()
    view.locator(".td-menu").get_by_text("Replay", exact=True).click()
    view.get_by_role("button", name="First failure").click()
    view.get_by_role("button", name="Leave the replay").click()


@pytest.fixture
def strict_lab(browser: Browser) -> Iterator[Lab]:
    """A JupyterLab that tells the browser to load nothing from elsewhere."""
    headers = {"headers": {"Content-Security-Policy": POLICY}}
    server = Lab(browser, options=[f"--ServerApp.tornado_settings={headers!r}"])
    server.context.add_init_script(VIOLATIONS)
    yield server
    server.close()


@pytest.mark.slow
def test_no_request_is_ours_under_a_strict_policy(strict_lab: Lab) -> None:
    """A page that calls home, or that breaks where nothing may be loaded from elsewhere."""
    nb = strict_lab.open([GRAPH, OPENED], width=1300)
    policy = nb.page.evaluate("async () => (await fetch(location.href)).headers.get('Content-Security-Policy')")
    assert policy == POLICY
    before = nb.page.evaluate("violations")
    requests = Requests(nb.page)

    nb.run_and_wait(0)
    view = view_of(nb)
    nb.run_and_wait(1)
    expect(view.locator(".td-failed")).to_contain_text("1 failed", timeout=SECONDS_10)
    look_at_everything(nb, view)
    view.get_by_role("button", name="Retry failed (1)").click()
    expect(view.locator(".td-done")).to_have_text("12/12", timeout=SECONDS_20)
    nb.set_theme(dark=True)
    nb.screenshot("hosts-strict-dark", view)

    assert requests.ours == []
    assert nb.page.evaluate("violations") == before, "the view met the policy"
    nb.assert_no_errors()
    nb.page.evaluate(ASKS, "/api/status")
    assert [url for url in requests.ours if url.endswith("/api/status")], "the count would not have found one"


# --- reload, full screen, stored output ---------------------------------------------------------------------


def full_screen_and_back(nb: Page, view: Locator) -> None:
    """⤢ fills the screen with the view, which draws at its new size; Escape gives the notebook back."""
    button = view.get_by_role("button", name="Full screen")
    button.click()
    nb.page.wait_for_function("() => document.fullscreenElement?.classList.contains('tiledag')", timeout=SECONDS_10)
    room = nb.page.evaluate("() => [innerWidth, innerHeight]")
    nb.page.wait_for_function(
        """([width, height]) => {
            const box = document.fullscreenElement.getBoundingClientRect();
            const canvas = document.fullscreenElement.querySelector('.td-graph canvas').getBoundingClientRect();
            return box.width >= width - 1 && box.height >= height - 1 && canvas.width > width / 2;
        }""",
        arg=room,
        timeout=SECONDS_10,
    )
    nb.wait_for_frames()
    nb.screenshot(f"hosts-full-{nb.lab.app}")
    view.get_by_role("button", name="Leave full screen").click()
    nb.page.wait_for_function("() => document.fullscreenElement === null", timeout=SECONDS_10)
    expect(button).to_be_visible()


def reload_full_screen_and_stored(nb: Page) -> None:
    try:
        nb.run_and_wait(0)
        nb.run_and_wait(1)
        view = view_of(nb)
        full_screen_and_back(nb, view)
        nb.run_and_wait(2)
        stored = nb.save()["cells"][2]["outputs"][0]["data"]
        assert "row 3 is not a number" in "".join(stored["text/html"])
        assert "10/12" in "".join(stored["text/plain"])

        nb.reload()
        view = view_of(nb)
        expect(view).to_contain_text("10/12", timeout=SECONDS_10)
        view.get_by_role("button", name="Retry failed (1)").click()
        expect(view).to_contain_text("12/12", timeout=SECONDS_10)
        nb.screenshot(f"hosts-reloaded-{nb.lab.app}", view)
        # Notebook 7.6 says that of itself, on a page without anything of ours.
        assert [line for line in nb.errors if "reading 'schema'" not in line] == []
    finally:
        nb.close()


@pytest.mark.slow
def test_reload_full_screen_and_stored_output_in_jupyterlab(open_notebook: OpenNotebook, kernel: str) -> None:
    """F5 over lunch, the big screen in a talk, the file that is mailed: on each ipykernel that is promised."""
    reload_full_screen_and_stored(open_notebook([GRAPH, OPENED, "view"], kernel=kernel, width=1300))


@pytest.mark.slow
def test_reload_full_screen_and_stored_output_in_notebook_7(notebook7: Lab) -> None:
    """The same in the other front end."""
    reload_full_screen_and_stored(notebook7.open([GRAPH, OPENED, "view"], width=1300))


# --- pages that are opened without a kernel -----------------------------------------------------------------


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder with the strictest policy that lets a page's own script and style run."""

    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", self.policy)
        super().end_headers()

    def log_message(self, *args: Any) -> None:
        """Nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever, name="served", daemon=True)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_an_exported_page_lives_under_the_strictest_policy_of_a_server(
    browser: Browser, served: tuple[Path, str]
) -> None:
    """A page put on a server that forbids all but what stands in it: no request, no violation, and it works."""
    folder, address = served
    (folder / "run.html").write_text(made(ran(["load", "resize", "merge"]), "html"), encoding="utf-8")
    page = browser.new_page(viewport={"width": 1200, "height": 640})
    page.add_init_script(VIOLATIONS)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/run.html")

    expect(page.locator(".td-done")).to_have_text("3/3")
    for pane in ("timeline", "list", "logs", "graph"):
        page.locator(f"[data-pane={pane}]").click()
    page.locator("[aria-haspopup=menu]").click()
    page.locator(".td-menu").get_by_text("Replay", exact=True).click()
    page.get_by_role("button", name="First failure").click()
    expect(page.locator(".td-failed")).to_contain_text("1 failed")

    beside = [url for url in asked if not url.startswith(("data:", "blob:"))]
    assert beside == [f"{address}/run.html"] or beside == [f"{address}/run.html", f"{address}/favicon.ico"]
    assert page.evaluate("violations") == []
    assert errors == []
    page.close()


@pytest.mark.slow
def test_what_nbconvert_makes_shows_the_run_offline(browser: Browser, tmp_path: Path) -> None:
    """A report that is opened on a train: picture, counts and error are there, and none of its requests is ours."""
    exporters = pytest.importorskip("nbconvert.exporters")
    nbformat = pytest.importorskip("nbformat")
    from tiledag_widget import DAG

    def fails() -> None:
        raise ValueError("row 3 is not a number")

    dag = DAG(name="orders", record=False)
    first = dag.submit_local(fails, name="parse")
    dag.submit_local(str, first, name="report")
    dag.compute()
    with pytest.raises(ValueError, match="row 3"):
        dag.wait(20)
    view = dag.visualize()
    data, metadata = view._repr_mimebundle_()
    view.close()
    bodies = []
    for outputs in ([nbformat.v4.new_output("display_data", data=data, metadata=metadata)], []):
        cell = nbformat.v4.new_code_cell("dag.visualize()", outputs=outputs, execution_count=1)
        bodies.append(exporters.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))[0])
    asked: list[set[str]] = []
    context = browser.new_context(viewport={"width": 1000, "height": 700})

    def refuse(route: Route) -> None:
        asked[-1].add(route.request.url)
        route.abort()

    context.route(re.compile("^https?:"), refuse)
    page = context.new_page()
    for body in reversed(bodies):
        asked.append(set())
        (tmp_path / "report.html").write_text(body, encoding="utf-8")
        page.goto((tmp_path / "report.html").as_uri(), wait_until="load")

    assert asked[1] == asked[0], "more requests than the page makes without the graph"
    expect(page.get_by_text("row 3 is not a number")).to_be_visible()
    picture = page.locator("img[src^='data:image/svg+xml']")
    expect(picture).to_be_visible()
    assert picture.evaluate("img => img.complete && img.naturalWidth > 100")
    context.close()
