"""Makes every picture of README and docs from real screens: ``make pictures``, or ``python -m tools.pictures [scene]``.

A real JupyterLab in Chromium runs real graphs; each screen is taken in Lab's light and dark theme and lands, with few
colours, in ``docs/pictures/<name>-light.png`` and ``<name>-dark.png``. A page shows a picture by `markdown`;
`tests/test_pictures.py` holds the pages to the pictures that are there, and the pictures to a size.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from PIL import Image
from playwright.sync_api import Locator, expect

from tools.lab import ROOT, Lab, Page, chromium

PICTURES: Final = ROOT / "docs" / "pictures"
SCALE: Final = 1.5
COLOURS: Final = 256
EXACT: Final = 96
SECONDS_20: Final = 20_000
SECONDS_60: Final = 60_000

FIRST_GRAPH: Final = ROOT / "notebooks" / "01_first_graph.ipynb"
MAKING, SHOWING, COMPUTING, EDITING = (1, 3, 5, 7), 9, 11, 17
"""Cells of that notebook."""
HOLD: Final = """
import threading, time
gate = threading.Event()

class Held:
    def __init__(self, names):
        self.names, self.index = names, names.index

    def __getitem__(self, carrier):
        if (place := list(self.index).index(carrier)) > 4:
            gate.wait(200)
            time.sleep(0.4 * (place - 4))
        return self.names[carrier]

AIRLINES = Held(AIRLINES)
"""
"""A cell for its end: most of the intervals stay Running until the pictures of the running graph are taken."""

PHOTOS: Final = [
    """
import logging, random, threading, time
from tiledag_widget import DAG

gate, log = threading.Event(), logging.getLogger("photos")

def listing(folder):
    return range(340)

def download(photos, number):
    time.sleep(0.01)
    print(f"GET photo-{number:04}.jpg  {200 + number * 7919 % 900} kB")
    return number

def resize(photo):
    print(f"photo {photo}: 4032 x 3024 -> 640 x 480")
    if photo % 97 == 41:
        log.error("photo %d ends after 3,021 of 3,024 rows", photo)
        raise ValueError(f"photo-{photo:04}.jpg is truncated (1,024 bytes missing)")
    if photo % 41 == 7:
        log.warning("photo %d has no date; taking that of the file", photo)
    if photo >= 230:
        gate.wait(120)
    time.sleep(0.02)
    return photo

def classify(picture):
    label, share = random.Random(picture).choice(["cat", "dog", "tree", "house"]), 60 + picture % 40
    print(f"picture {picture}: {label} ({share} %)")
    time.sleep(0.02)
    return label

def merge(*labels):
    return len(labels)

def report(count):
    return f"{count} photos"

dag = DAG(name="photos", max_workers=12)
add = dag.submit_local
photos = add(listing, "2024", name="list photos")
downloads = [add(download, photos, n, name=f"download-{n:03}") for n in range(340)]
resized = [add(resize, photo, name=f"resize-{n:03}") for n, photo in enumerate(downloads)]
labels = [add(classify, each, name=f"classify-{n:03}") for n, each in enumerate(resized)]
index = add(merge, *labels[::2], name="merge")
checked = add(merge, *resized[1::2], name="quality")
add(report, index, checked, name="report")
dag.visualize()
""",
    "dag.compute()\nwhile sum(node.done() for node in downloads) < 340: time.sleep(0.1)",
]

LARGE: Final = [
    """
from tiledag_widget import DAG

def partition(table, number): return number
def parse(part): return part
def validate(part):
    if part == 20_613:
        raise ValueError("row 7 of part 20613 has no date")
    return part
def enrich(part, lookup): return part
def index(part): return part
def lookup(table): return {}

dag = DAG(name="nightly import", max_workers=2)
add = dag.submit_local
table = add(str, "orders", name="orders")
found = add(lookup, table, name="lookup")
rows = []
for n in range(24_999):
    part = add(partition, table, n, name=f"partition-{n:05}")
    parsed = add(parse, part, name=f"parse-{n:05}")
    good = add(validate, parsed, name=f"validate-{n:05}")
    rows.append(add(enrich, good, found, name=f"enrich-{n:05}"))
sorted_rows = add(index, rows, name="index")
add(index, sorted_rows, name="publish")
dag.compute()
try:
    dag.wait(300)
except ValueError as error:
    print(error)
""",
    "dag.visualize()",
]

RUNS: Final = [
    """
import os, tempfile
os.environ["TILEDAG_DATA_DIR"] = tempfile.mkdtemp()
os.environ["TILEDAG_SERVER"] = "embedded"
import time
import tiledag_widget
from tiledag_widget import DAG

def work(name, number):
    print(f"{name}: part {number}")
    time.sleep(0.03 * (1 + number % 4))
    if name == "score model" and number == 3:
        raise ValueError("no column 'arr_delay'")
    return number

def total(*parts):
    return len(parts)

for name, size in [
    ("daily orders", 6), ("flights 2013", 9), ("train model", 4), ("score model", 6), ("daily orders", 6),
    ("weather import", 12), ("flights 2013", 9),
]:
    dag = DAG(name=name)
    dag.submit(total, [dag.submit(work, name, n, name=f"part-{n:02}") for n in range(size)], name="total")
    dag.compute()
    try:
        dag.wait(60)
    except Exception:
        if name != "score model":
            raise
    del dag
""",
    "browser = tiledag_widget.browse_logs()\nbrowser",
    "browser.close(); tiledag_widget.shutdown()",
]


def markdown(name: str, alt: str, folder: str = "docs/pictures") -> str:
    """What shows a picture on a page, in the theme of whoever reads it."""
    return (
        "<picture>\n"
        f'  <source media="(prefers-color-scheme: dark)" srcset="{folder}/{name}-dark.png">\n'
        f'  <img alt="{alt}" src="{folder}/{name}-light.png">\n'
        "</picture>"
    )


class Camera:
    """Takes screens of one page, in both themes, into a folder."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str, what: Locator | None = None, settle: Callable[[], object] = lambda: None) -> None:
        """One screen, or a part of it. ``settle`` is called before each picture."""
        for dark in (False, True):
            self._page.set_theme(dark=dark)
            settle()
            self._page.wait_for_frames()
            shot = (what or self._page.page).screenshot(animations="disabled", caret="hide")
            save(shot, self._folder / f"{name}-{'dark' if dark else 'light'}.png")
        self._page.set_theme(dark=False)


def save(shot: bytes, path: Path) -> None:
    """Keeps a picture with few colours: text and flat areas look the same at a third of the size."""
    picture = Image.open(io.BytesIO(shot)).convert("RGB")
    found = cast("list[tuple[int, tuple[int, int, int]]]", picture.getcolors(picture.width * picture.height) or [])
    colours = [colour for _, colour in sorted(found, reverse=True)]
    # The commonest stay exactly what they are, since averages would tint the flat areas; the rest, most of them edges
    # of letters, share what is left, each with one vote, so that a small mark keeps its colour, too.
    rest = Image.new("RGB", (max(1, len(colours[EXACT:])), 1))
    rest.putdata(colours[EXACT:] or colours[:1])
    shared = rest.quantize(COLOURS - EXACT, method=Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in colours[:EXACT] for part in colour] + shared)
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"  {path.name}  {picture.width} x {picture.height}  {path.stat().st_size / 1000:.0f} kB", flush=True)


def view_of(page: Page, cell: int) -> Locator:
    """The view below a cell, with its graph drawn."""
    view = page.output(cell).locator(".tiledag").first
    expect(view.locator(".td-done")).to_contain_text("/", timeout=SECONDS_60)
    return view


def pane(view: Locator, name: str) -> None:
    view.locator(f"[role=tab][data-pane={name}]").click()
    expect(view.locator(".td-waiting:visible")).to_have_count(0, timeout=SECONDS_20)


def close(view: Locator) -> None:
    """Close the inspector."""
    view.locator(".td-inspector").get_by_role("button", name="Close").first.click()
    expect(view.locator(".td-inspector")).to_be_hidden()


def rest(page: Page) -> None:
    """Pointer and focus where they highlight nothing."""
    page.page.mouse.move(2, 2)
    page.page.evaluate("() => document.activeElement?.blur()")


# --- scenes -------------------------------------------------------------------------------------------------


def flights(lab: Lab, folder: Path) -> None:
    """The first notebook: a failure in November, its repair, and the run as it was."""
    notebook = json.loads(FIRST_GRAPH.read_text())
    cells = notebook["cells"]
    for source in (HOLD, "gate.set()"):
        cells.append({"cell_type": "code", "id": f"extra-{len(cells)}", "metadata": {}, "outputs": [],
                      "execution_count": None, "source": source})  # fmt: skip
    path = lab.home / FIRST_GRAPH.name
    # Ten times fewer resamples: the pictures wait for them, and they look the same.
    path.write_text(json.dumps(notebook).replace("range(3_000)", "range(300)"))
    page = lab.open(path, width=1400, height=860)
    camera = Camera(page, folder)
    for cell in (*MAKING, len(cells) - 2):
        page.run_and_wait(cell, seconds=60)
    page.run_and_wait(SHOWING)
    view = view_of(page, SHOWING)
    page.run_and_wait(COMPUTING)
    failed = view.locator(".td-failed")
    expect(failed).to_contain_text("1 failed", timeout=SECONDS_60)
    expect(view.locator(".td-done")).to_have_text("41/58", timeout=SECONDS_60)
    rest(page)
    camera.take("graph", view)
    failed.click()
    expect(view.locator(".td-errormessage")).to_be_visible(timeout=SECONDS_20)
    view.get_by_role("button", name="Fit all").first.click()
    page.page.evaluate(
        "index => window.jupyterapp.shell.currentWidget.content.widgets[index].node.scrollIntoView()", SHOWING - 1
    )
    rest(page)
    camera.take("lab")
    camera.take("failure", view)

    page.run_and_wait(EDITING)
    view.get_by_role("button", name="Retry failed (1)").click()
    expect(view.locator(".td-failed")).to_be_hidden(timeout=SECONDS_60)
    page.run_and_wait(len(cells) - 1)
    expect(view.locator(".td-status")).to_contain_text("Completed", timeout=SECONDS_60)
    close(view)
    pane(view, "timeline")
    rest(page)
    camera.take("timeline", view)
    pane(view, "list")
    rest(page)
    camera.take("list", view)
    pane(view, "graph")
    view.locator("[aria-haspopup=menu]").click()
    view.locator(".td-menu").get_by_text("Replay", exact=True).click()
    view.get_by_role("button", name="First failure").click()
    close(view)
    view.get_by_role("button", name="Fit all").first.click()
    rest(page)
    camera.take("replay", view)
    page.close()


def photos(lab: Lab, folder: Path) -> None:
    """A thousand nodes: stacks, a stack opened, and what the nodes print."""
    page = lab.open(PHOTOS, width=1280, height=900)
    camera = Camera(page, folder)
    page.run_and_wait(0)
    view = view_of(page, 0)
    page.run_and_wait(1, seconds=60)
    expect(view.locator(".td-failed")).to_contain_text("3 failed", timeout=SECONDS_60)
    time.sleep(2)  # what can still run has run; the rest stands at the gate
    view.scroll_into_view_if_needed()
    rest(page)
    camera.take("stacks", view)
    graph = view.locator(".td-viewport")
    graph.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "Enter", "0"):
        page.page.keyboard.press(key)
    page.wait_for_frames()
    rest(page)
    camera.take("board", view)
    pane(view, "logs")
    view.locator(".td-logbody").focus()
    page.page.keyboard.press("Home")
    page.page.keyboard.press("Control+f")
    view.locator(".td-logfind .td-input").fill("rows")
    expect(view.locator(".td-logcount")).to_have_text("1/3", timeout=SECONDS_20)
    rest(page)
    camera.take("logs", view)
    page.close()


def large(lab: Lab, folder: Path) -> None:
    """A hundred thousand nodes, one of them Failed."""
    page = lab.open(LARGE, width=1280, height=900)
    camera = Camera(page, folder)
    page.run_and_wait(0, seconds=300)
    page.run_and_wait(1)
    view = view_of(page, 1)
    expect(view.locator(".td-failed")).to_contain_text("1 failed", timeout=SECONDS_60)
    view.scroll_into_view_if_needed()
    rest(page)
    camera.take("large", view)
    page.close()


def runs(lab: Lab, folder: Path) -> None:
    """The log browser."""
    page = lab.open(RUNS, width=1280, height=900)
    camera = Camera(page, folder)
    page.run_and_wait(0, seconds=120)
    page.run_and_wait(1)
    table = page.output(1).locator(".td-runs")
    expect(table.locator("tbody tr")).to_have_count(7, timeout=SECONDS_60)
    table.scroll_into_view_if_needed()
    rest(page)
    camera.take("runs", table)
    page.run_and_wait(2)
    page.close()


SCENES: Final[dict[str, Callable[[Lab, Path], None]]] = {
    "flights": flights,
    "photos": photos,
    "large": large,
    "runs": runs,
}


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description="Makes the pictures of the docs.")
    parser.add_argument("scene", nargs="*", choices=[*SCENES, []], help="which ones; all if none is named")
    parser.add_argument("--into", type=Path, default=PICTURES, help="the folder (docs/pictures)")
    asked = parser.parse_args(words)
    with chromium() as browser:
        lab = Lab(browser, scale=SCALE)
        try:
            for name in asked.scene or SCENES:
                print(name, flush=True)
                SCENES[name](lab, asked.into)
        finally:
            lab.close()


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
