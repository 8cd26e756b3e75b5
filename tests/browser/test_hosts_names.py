"""H7 in a browser: sixty payloads as name, title, argument, error, result, log line and notebook metadata.

Nothing of them is executed, asked for or reported, in any form, and what somebody wrote is shown as it was written.
What the forms hold is tested without a browser in ``tests/trials/test_h_names.py``.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Locator, Request, Route, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook
from tests.payloads import PAYLOADS
from tests.trials.test_h_names import with_it
from tiledag_widget.view.picture import shown, to_html, to_svg
from tools.lab import Page

SECONDS_10 = 10_000
SECONDS_60 = 60_000
TOLD = "window.told = []; document.addEventListener('securitypolicyviolation', event => told.push(event.blockedURI));"
SLASHED = "<\\/script"
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STRANGE = """() => [...document.querySelectorAll(`.tiledag :is(img, script, iframe, object, embed, base, link, form),
    .tiledag [href^="javascript:" i], .tiledag [onerror], .tiledag [onload], .tiledag [onfocus]`)]
    .map(element => element.outerHTML.slice(0, 200))"""

GRAPH = """
import logging, types
from tiledag_widget import DAG
from tests.payloads import PAYLOADS

class Shown:
    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text

    def _repr_html_(self):
        return self.text

def fails(shown):
    text = shown.text
    print(text)
    logging.getLogger(text).error(text)
    raise type("Error" + text[:20].replace("\\x00", ""), (ValueError,), {})(text)

def works(shown):
    print(shown.text)
    return shown

dag = DAG(name=PAYLOADS[7], max_workers=2, record=False)
for number, text in enumerate(PAYLOADS):
    function = fails if number % 2 else works
    if number % 5 == 0:  # a function of its own, with that name: a card by itself instead of one in a stack
        function = types.FunctionType(function.__code__, globals(), text)
    dag.submit_local(function, Shown(text), name=text)
"""
RUN_IT = """
dag.compute()
try:
    dag.wait(60)
except Exception:
    pass
print(dag.status)
"""


def refuse(dialog: Dialog, wrong: list[str]) -> None:
    wrong.append(f"dialog:9/ {dialog.message}")
    dialog.dismiss()


class Watch:
    """What a page did that it was not to do."""

    def __init__(self, context: BrowserContext) -> None:
        self.wrong: list[str] = []
        context.add_init_script(TOLD)
        context.on("page", self._follow)
        context.on("request", self._note)

    def _follow(self, page: BrowserPage) -> None:
        page.on("dialog", lambda dialog: refuse(dialog, self.wrong))

    def _note(self, request: Request) -> None:
        if ":9/" in request.url or "javascript" in request.url[:12]:
            self.wrong.append(f"request: {request.url[:100]}")

    def check(self, page: BrowserPage) -> None:
        assert page.evaluate("() => window.__ran ?? null") is None
        assert self.wrong == []


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1200, "height": 700}, accept_downloads=True)
    yield made
    made.close()


def serve(context: BrowserContext, body: str, policy: str, kind: str = "text/html") -> BrowserPage:
    """A page with this body from a server with this policy; no other address answers."""

    def answer(route: Route) -> None:
        if route.request.url == "http://hosts.test/":
            headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Security-Policy": policy}
            route.fulfill(status=200, headers=headers, body=body.encode("utf-8", "replace"))
        else:
            route.abort()

    page = context.new_page()
    page.route("**/*", answer)
    page.goto("http://hosts.test/")
    return page


@pytest.mark.slow
def test_the_static_forms_of_all_payloads_on_one_page(context: BrowserContext) -> None:
    """What GitHub, mail or an untrusted notebook shows: HTML, and the SVG as an inline element, which is worse."""
    watch = Watch(context)
    forms = "".join(f"{to_html(with_it(text))}{to_svg(with_it(text))}" for text in PAYLOADS)

    page = serve(context, f"<!doctype html><body>{forms}</body>", NO_SCRIPT)
    page.wait_for_timeout(500)

    watch.check(page)
    assert page.evaluate("told") == []
    said = " ".join(page.locator("body").inner_text().split())
    for text in PAYLOADS:
        assert " ".join(shown(text).split())[:40] in said, text


@pytest.mark.slow
@pytest.mark.parametrize("number", range(0, len(PAYLOADS), 10))
def test_an_svg_that_is_opened_by_itself(context: BrowserContext, number: int) -> None:
    """An SVG is a document of its own there, and may run scripts."""
    watch = Watch(context)

    page = serve(context, to_svg(with_it(PAYLOADS[number])), NO_SCRIPT, "image/svg+xml")

    assert page.evaluate("document.documentElement.localName") == "svg"
    assert page.evaluate("told") == []
    watch.check(page)


@pytest.mark.slow
def test_plotly_draws_every_payload_as_text(context: BrowserContext) -> None:
    """plotly makes links of what looks like them; its own sanitizer is not the last line."""
    pytest.importorskip("plotly")
    from plotly.offline import get_plotlyjs

    from tests.view.graphs import NodeRow, columns, run_of, structure
    from tiledag_widget.view.figure import make_figure

    made: list[NodeRow] = [(text, f"f{number}", ()) for number, text in enumerate(PAYLOADS)]
    codes = [4] * len(made)
    figure = make_figure(structure(made), columns(codes), run_of(codes, is_ended=True), title=PAYLOADS[7])
    watch = Watch(context)
    body = (
        '<!doctype html><body><div id="plot"></div>'
        f"<script>{get_plotlyjs().replace('</script', SLASHED)}</script>"
        f'<script type="application/json" id="data">{html.escape(figure.to_json(), quote=False)}</script>'
    )
    page = serve(context, body, f"{NO_SCRIPT}; script-src 'unsafe-inline' 'unsafe-eval'")
    page.evaluate(
        """text => Plotly.newPlot('plot', JSON.parse(text).data.map(each => ({ ...each, mode: 'markers+text' })),
            JSON.parse(text).layout)""",
        figure.to_json(),
    )
    expect(page.locator("#plot .main-svg").first).to_be_visible(timeout=SECONDS_10)

    watch.check(page)
    assert page.locator("#plot .main-svg :is(a, script, image, foreignObject)").count() == 0
    assert page.evaluate("told") == []
    assert "<script>" in page.locator("#plot").inner_text(), "it is shown as it was written"


def walk(page: BrowserPage, view: Locator, failures: int) -> list[str]:
    """Every pane, every failure with its tabs; the titles of the inspector."""
    titles: list[str] = []
    for _ in range(failures):
        view.locator(".td-viewport").focus()
        page.keyboard.press("f")
        expect(view.locator(".td-errormessage")).to_be_visible(timeout=SECONDS_10)
        titles.append(view.locator(".td-inspector .td-title").inner_text())
    for tab in ("Overview", "Logs", "Attempts", "Code", "Error"):
        view.locator(".td-inspector").get_by_role("tab", name=tab).click()
    for pane in ("list", "timeline", "logs"):
        view.locator(f"[role=tab][data-pane={pane}]").click()
        expect(view.locator(".td-waiting:visible")).to_have_count(0, timeout=SECONDS_10)
        page.wait_for_timeout(200)
    view.locator("[role=tab][data-pane=list]").click()
    body = view.locator("[role=treegrid]")
    body.focus()
    for key in ("ArrowRight", *["PageDown"] * 6, "Home"):
        page.keyboard.press(key)
    view.locator("[role=tab][data-pane=graph]").click()
    box = view.locator(".td-viewport").bounding_box()
    assert box
    for share in (0.2, 0.4, 0.6, 0.8):
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + share * box["height"])
        page.wait_for_timeout(450)
    for text in PAYLOADS[::7]:
        view.locator(".td-search").fill(text[:200])
    view.locator(".td-search").fill("")
    return titles


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_exported_run_of_all_payloads(context: BrowserContext, tmp_path: Path) -> None:
    """The file that a stranger mails."""
    space: dict[str, Any] = {}
    exec(GRAPH + RUN_IT.replace("print(dag.status)", ""), space)
    path = space["dag"].export(tmp_path / "run.html")
    watch = Watch(context)
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(path.as_uri())
    view = page.locator(".tiledag")
    expect(view.locator(".td-failed")).to_contain_text("30 failed", timeout=SECONDS_10)

    titles = walk(page, view, 30)
    view.locator("[aria-haspopup=menu]").click()
    view.locator(".td-menu").get_by_text("Replay", exact=True).click()
    view.get_by_role("button", name="First failure").click()

    watch.check(page)
    assert page.evaluate("told") == []
    assert page.evaluate(STRANGE) == []
    assert [url for url in asked if not url.startswith(("data:", "blob:", path.as_uri()))] == []
    assert len(set(titles)) >= 25
    assert any(title.startswith("</script><script>window.__ran=1") for title in titles)
    expect(view.locator(".td-errormessage")).to_contain_text("window.__ran=1")


MARKDOWN = """
from IPython.display import HTML, Markdown, display
from pathlib import Path
from tempfile import mkdtemp
folder = Path(mkdtemp())
text = dag.export(folder / "run.mmd").read_text()
display(HTML(dag.visualize()._repr_mimebundle_()[0]["text/html"]))
display(Markdown("```mermaid\\n" + text + "```"))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_all_payloads_in_jupyterlab(open_notebook: OpenNotebook) -> None:
    """Widget, inspector, list, timeline, logs, static form and a Mermaid diagram, in one page with the notebook."""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})"
    nb: Page = open_notebook([path, GRAPH + "dag.visualize()", RUN_IT, MARKDOWN])
    asked: list[str] = []
    nb.page.on("request", lambda request: asked.append(request.url))
    nb.page.on("dialog", lambda dialog: refuse(dialog, asked))
    nb.run_and_wait(0)
    nb.run_and_wait(1)
    view = nb.output(1).locator(".tiledag").first
    nb.run_and_wait(2, seconds=60)
    expect(view.locator(".td-failed")).to_contain_text("30 failed", timeout=SECONDS_60)
    view.scroll_into_view_if_needed()

    titles = walk(nb.page, view, 30)
    nb.screenshot("hosts-payloads", view)
    nb.set_theme(dark=True)
    nb.screenshot("hosts-payloads-dark", view)
    nb.run_and_wait(3)
    diagram = nb.output(3).locator("img[src^='data:image/svg'], svg[id^=jp-mermaid]")
    expect(diagram.last).to_be_visible(timeout=SECONDS_60)
    nb.screenshot("hosts-payloads-static", nb.output(3))

    assert nb.page.evaluate("() => window.__ran ?? null") is None
    assert nb.page.evaluate(STRANGE) == []
    assert [url for url in asked if ":9/" in url] == []
    assert len(set(titles)) >= 25
    saved = json.dumps(nb.save())
    assert base64.b64encode(b"<script").decode() not in saved
