"""Rich previews in a real browser: what a result holds is drawn, runs nothing, and asks nobody for anything."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Locator, expect
from playwright.sync_api import Page as BrowserPage

from tests.browser.conftest import OpenNotebook, OpenPage
from tests.payloads import PAYLOADS

SECONDS_10 = 10_000


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """What somebody asked the server for, whose address is the first entry."""
    heard: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<script>parent.postMessage('ran', '*')</script>")

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    heard.append(f"http://127.0.0.1:{server.server_port}")
    yield heard
    server.shutdown()
    server.server_close()
    thread.join(5)


def hostile(to: str) -> str:
    """A page with every way out that comes to mind, each under a name of its own."""
    ways = [
        f"<style>@import '{to}/import.css'; body {{ background: url({to}/background.png) }}</style>",
        f"<style>@font-face {{ font-family: f; src: url({to}/font.woff) }} p {{ font-family: f }}</style>",
        f"<link rel=stylesheet href={to}/link.css><link rel=preconnect href={to}><link rel=prefetch href={to}/fetch>",
        f"<link rel=dns-prefetch href={to}><link rel=icon href={to}/icon>",
        f"<meta http-equiv=refresh content='0;url={to}/refresh'><base href={to}/ target=_top>",
        f"<img src={to}/image.png><img srcset='{to}/set.png 2x'>",
        f"<picture><source srcset={to}/source.png><img></picture>",
        f"<svg width=9 height=9><image href={to}/svg.png /><use href={to}/use.svg#a /></svg>",
        f"<video src={to}/video poster={to}/poster></video><audio src={to}/audio autoplay></audio>",
        f"<object data={to}/object></object><embed src={to}/embed><iframe src={to}/frame></iframe>",
        f"<iframe srcdoc='<img src={to}/inner.png>'></iframe>",
        f"<script src={to}/script.js></script><script>fetch('{to}/fetched'); parent.postMessage('ran', '*')</script>",
        f"<form action={to}/form method=post><input name=a autofocus><button id=send>send</button></form>",
        f"<form id=f></form><input type=image src={to}/input.png form=f formaction={to}/formaction>",
        f"<table background={to}/table.png><tr><td background={to}/cell.png style='list-style: url({to}/list.png)'>1",
        f"<p style='width:400px;height:40px'><a href={to}/link target=_self ping={to}/ping>a link</a></p>",
        f"<svg width=90 height=20><a xlink:href={to}/svglink><text y=15>svg link</text></a></svg>",
        f"<svg width=90 height=20><a><set attributeName=href to={to}/set /><text y=15>set link</text></a></svg>",
        f"<template shadowrootmode=open><a href={to}/shadow>shadow link</a></template>",
        "<a href=\"javascript:parent.postMessage('ran','*')\">script link</a>",
        "<div onclick=\"parent.postMessage('ran','*')\" onmouseover=\"parent.postMessage('ran','*')\">handler</div>",
        "<p id=end>the end</p>",
    ]
    return "\n".join(ways)


def dialogs_of(page: BrowserPage) -> list[str]:
    """What the page asks from now on, each of it dismissed."""
    asked: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    return asked


def rich_of(page: BrowserPage, data: str, kind: str = "text/html") -> Locator:
    """The frame of the first node's result."""
    page.evaluate("window.heard = []; addEventListener('message', event => heard.push(event.data))")
    page.evaluate(f"Object.assign(kernel.rich, {json.dumps({'data': data, 'kind': kind})})")
    page.locator(".td-viewport").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show rich preview").click(timeout=SECONDS_10)
    frame = page.locator(".td-richframe")
    expect(frame).to_be_visible(timeout=SECONDS_10)
    return frame


def test_hostile_html_runs_nothing_and_asks_for_nothing(show: OpenPage, asked: list[str]) -> None:
    """A result of somebody else's data would send what the notebook holds to its maker."""
    page = show("n=12&state=done")
    dialogs = dialogs_of(page)
    frame = rich_of(page, hostile(asked[0]))

    assert frame.get_attribute("sandbox") == ""
    inside = frame.content_frame
    expect(inside.locator("#end")).to_have_text("the end")
    for text in ("a link", "svg link", "set link", "script link", "handler"):
        inside.get_by_text(text, exact=True).click()
    inside.locator("#send").click()
    page.wait_for_timeout(300)

    assert asked[1:] == []
    assert page.evaluate("heard") == []
    assert dialogs == []
    expect(inside.locator("#end")).to_have_text("the end")


@pytest.mark.slow
def test_no_payload_is_executed(show: OpenPage) -> None:
    """H7 for the one place of the view that draws markup."""
    page = show("n=12&state=done")
    dialogs = dialogs_of(page)
    frame = rich_of(page, "<p id=end>first</p>")
    for payload in PAYLOADS:
        page.get_by_role("button", name="Hide rich preview").click()
        page.evaluate("data => { kernel.rich.data = data }", f"<p>before</p>{payload}")
        page.get_by_role("button", name="Show rich preview").click()
        expect(frame.content_frame.get_by_text("before").first).to_be_attached()
        assert not any(each.evaluate("() => window.__ran === 1") for each in page.frames), payload
    assert dialogs == []


@pytest.mark.slow
def test_an_svg_is_a_picture(show: OpenPage, asked: list[str]) -> None:
    """An SVG of a chart may hold scripts, links and pictures from elsewhere."""
    page = show("n=12&state=done")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="60"><image href="{asked[0]}/a.png"/>'
        f'<script>fetch(\'{asked[0]}/b\')</script><a href="{asked[0]}/c"><rect width="120" height="60"/></a></svg>'
    )
    inside = rich_of(page, svg, "image/svg+xml").content_frame

    image = inside.locator("img")
    expect(image).to_have_js_property("naturalWidth", 120)
    image.click()
    page.wait_for_timeout(200)

    assert asked[1:] == []


@pytest.mark.slow
def test_what_cannot_be_shown_is_said(show: OpenPage) -> None:
    """A press that is followed by nothing."""
    page = show("n=12&state=done")
    page.evaluate("Object.assign(kernel.rich, { kind: '', note: 'Table._repr_html_ raised ValueError' })")
    page.locator(".td-viewport").focus()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show rich preview").press("Enter")

    expect(page.locator(".td-rich")).to_contain_text("Table._repr_html_ raised ValueError")
    expect(page.locator(".td-richframe")).to_have_count(0)


CELL = """
import threading
from tiledag_widget import DAG

class Frame:
    def _repr_html_(self):
        return "<table><tr><th>year</th><td>2013</td></tr></table><script>parent.document.title = 'owned'</script>"

class Hanging:
    go = threading.Event()
    def _repr_html_(self):
        self.go.wait(60)
        return "late"

class Raising:
    def _repr_html_(self):
        raise SystemExit("no")

dag = DAG(name="rich", record=False)
dag.submit_local(Frame, name="frame")
dag.submit_local(Hanging, name="hanging")
dag.submit_local(Raising, name="raising")
dag.compute()
dag.wait()
dag.visualize()
"""


@pytest.mark.slow
def test_a_frame_is_drawn_in_lab_and_one_that_hangs_or_raises_harms_nothing(open_notebook: OpenNotebook) -> None:
    """What pandas makes of a frame, where people see it; a chart that waits for ever must not take the view along."""
    nb = open_notebook([CELL, "Hanging.go.set()"])
    nb.run_and_wait(0)
    view = nb.output(0).locator(".tiledag")
    search = view.get_by_placeholder("Search or filter")

    def rich(name: str) -> None:
        search.fill(f"node:{name}")
        search.press("Enter")
        expect(view.locator(".td-title")).to_have_text(name)
        view.get_by_role("button", name="Show rich preview").click(timeout=SECONDS_10)

    rich("hanging")
    expect(view.locator(".td-rich")).to_contain_text("Still computing…")
    rich("raising")
    expect(view.locator(".td-rich")).to_contain_text("Raising._repr_html_ raised SystemExit", timeout=SECONDS_10)
    rich("frame")
    frame = view.locator(".td-richframe").content_frame
    expect(frame.locator("td")).to_have_text("2013", timeout=SECONDS_10)
    assert "owned" not in nb.page.title()
    nb.run_and_wait(1)
