"""The live view beside its rivals, in one JupyterLab in headless Chromium, on one event log.

    python -m benchmarks.view [--nodes 100 1000 10000 100000] [--only tiledag_widget] [--keep build/view.json]

Rivals: TileDB's plot widget as `tiledb.cloud.dag` feeds it, ipycytoscape with given places, plotly's FigureWidget as
`tiledb.cloud.dag` makes it. They come from PyPI into ``.venvs/rivals`` (``make bench``); without them their rows are
missing. 100,000 nodes are for ours alone. ``--keep`` adds the rows to a file and prints all that are in it, so that a
long run may be made in pieces: a size, a view at a time.

The graph: rows of 50 nodes, three parents each. The log: nodes run one after the other, 1,000 changes a second, at
most 10,000; a graph that is done before that is run five times. Columns:

``first``      from running the cell to the first picture with all nodes, s; the page has not loaded the view's code
``p50, p95``   from a node's completion in the kernel to the frame that shows it, s; "never" where it was not shown
               within 30 s of the end
``shown``      completions that were
``frame, p95`` what one more picture costs the page's main thread, ms, median and 95th of 200 while 1,000 changes a
               second arrive (all nodes run over and over): scripts, style, layout, paint and a one-pixel
               ``getImageData`` of each canvas, see `benchmarks.view_trace`
``cpu, p95``   the same in the processor time of that thread
``frames``     pictures measured: fewer where a rival draws fewer in 30 s; one that draws nothing while changes come is
               given 17 at a time, and time to draw them
``long``       tasks of the page over 50 ms while the log plays: number / ms in all
``messages``   from the kernel from the start of each run until its end is shown; ``kB`` their bytes
``code``       bytes of script and styles that the page loads for it, kB (ours: `widget.js` and `widget.css`)

All are drawn 1,300 x 480 px. Who has no picture within 120 s, or does not end it, has that written in its row.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser
from playwright.sync_api import TimeoutError as NoAnswer

from benchmarks.view_players import COMPLETED, EVERY, NOT_STARTED, PLAYERS, log_of, rounds_of
from benchmarks.view_trace import CATEGORIES, IDLE, MARK, picture_costs
from tools.lab import Lab, LabError, Page, chromium

ROOT = Path(__file__).resolve().parent.parent
RIVALS = ROOT / ".venvs" / "rivals" / "site"
OURS: Final = "tiledag_widget"
PATIENCE_S: Final = 120
AFTER_S: Final = 30
FRAMES: Final = 200
FRAMES_S: Final = 30
RATE: Final = 1_000
MOST_CHANGES: Final = 10_000
RUNS: Final = 5
FEW: Final = 10
STEPS, STEP_S, STEP_CHANGES = 20, 1.8, 17
"""For the plot widget, which draws 1.5 s after the last change."""
WIDTH, HEIGHT = 1447, 1000
"""Of the window: the output of a cell is 1,300 px wide in it."""

READERS = {
    "tiledag_widget": """() => {
        const view = document.querySelector('.tiledag [data-drawn]');
        if (!view || !(Number(view.dataset.drawn) > 0)) return -1;
        const shown = document.querySelector('.tiledag').textContent.match(/([\\d,]+)\\/([\\d,]+)/);
        return shown ? Number(shown[1].replaceAll(',', '')) : 0;
    }""",
    "tiledb-plot-widget": """() => {
        const all = document.querySelectorAll('.tiledb-widget circle').length;
        return all < bench.total ? -1 : document.querySelectorAll('.tiledb-widget circle.completed').length;
    }""",
    "ipycytoscape": """() => {
        bench.cy ??= [...document.querySelectorAll('.jp-OutputArea-output *')].find(each => each._cyreg)?._cyreg.cy;
        if (!bench.cy || bench.cy.nodes().length < bench.total) return -1;
        return bench.cy.nodes('.completed').length;
    }""",
    "plotly FigureWidget": """() => {
        const figure = document.querySelector('.js-plotly-plot');
        if (!(figure?.calcdata?.[1]?.length >= bench.total)) return -1;
        const colours = figure.data[1].marker.color;
        let count = 0;
        for (const colour of colours) if (colour === 'green') count++;
        return count;
    }""",
}
WATCH = """([total, reader, gap, mark, idle]) => {
    const bench = window.bench = { total, first: 0, shown: [], long: [], count: -1, looked: 0, reads: false, spent: 0 };
    bench.asked = performance.timeOrigin + performance.now();
    const read = eval(reader);
    new PerformanceObserver(list => {
        for (const each of list.getEntries()) bench.long.push([performance.timeOrigin + each.startTime, each.duration]);
    }).observe({ type: 'longtask' });
    const nothing = () => {
        if (!bench.reads) return;
        performance.mark(idle);
        bench.spent = 0;
    };
    const look = () => {
        requestAnimationFrame(look);
        const began = performance.now(), now = performance.timeOrigin + began;
        if (now - bench.looked < gap) return nothing();
        bench.looked = now;
        const count = read();
        bench.spent += performance.now() - began;
        if (count < 0) return;
        // What was drawn before this frame began is on the screen when the frame is.
        if (!bench.first) bench.first = now;
        if (count === bench.count) return nothing();
        bench.count = count;
        bench.shown.push([now / 1000, count]);
        if (!bench.reads) return;
        for (const canvas of document.querySelectorAll('.jp-OutputArea-output canvas')) {
            canvas.getContext('2d')?.getImageData(0, 0, 1, 1);
        }
        performance.mark(mark + bench.spent.toFixed(3));
        performance.clearMarks();
        bench.spent = 0;
    };
    requestAnimationFrame(look);
}"""
CODE = {
    "tiledb-plot-widget": "@tiledb-inc/tiledb-plot-widget",
    "ipycytoscape": "jupyter-cytoscape",
}


class RivalLab(Lab):
    """Lab with the rivals' front ends and packages in reach."""

    def _environment(self) -> dict[str, str]:
        found = super()._environment()
        found["JUPYTER_PATH"] = os.pathsep.join([found["JUPYTER_PATH"], str(RIVALS / "share" / "jupyter")])
        found["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(RIVALS)])
        return found


class Traffic:
    """Frames that come on the page's web sockets."""

    def __init__(self, page: Page) -> None:
        self.frames: list[tuple[float, int]] = []
        page.page.on("websocket", lambda socket: socket.on("framereceived", self._take))

    def _take(self, payload: bytes | str) -> None:
        self.frames.append((time.time(), len(payload)))

    def since(self, zero: float) -> tuple[int, int]:
        sizes = [size for when, size in self.frames if when >= zero]
        return len(sizes), sum(sizes)


class Row:
    """One view at one size."""

    def __init__(self, lab: Lab, browser: Browser, name: str, total: int) -> None:
        self.lab, self.browser, self.name, self.total = lab, browser, name, total
        self.cells = {"nodes": f"{total:,}", "view": name}

    def measure(self) -> dict[str, str]:
        """What could be measured; a rival that cannot do it has its reason in its row."""
        page: Page | None = None
        try:
            page = self._opened()
            self._watch(page)
            self._trace(page)
        except (LabError, NoAnswer) as error:
            if self.name == OURS:
                raise
            self.cells.setdefault("first", f"no picture within {PATIENCE_S} s")
            print(error, file=sys.stderr)
        finally:
            if page is not None:
                page.close()
        return self.cells

    def _opened(self) -> Page:
        """A notebook in which the graph has just been shown."""
        cells = [
            f"from benchmarks.view_players import *\nplayer = PLAYERS[{self.name!r}]({self.total})",
            "player.show()",
            *["import json; player.play(*json.load(open('log.json')))"] * 2,
        ]
        self.lab._opened += 1
        page = Page(self.lab, self.lab.write(cells), width=WIDTH, height=HEIGHT)
        self.traffic = Traffic(page)
        self.lab.pages.append(page)
        page.load()
        page.run_and_wait(0, PATIENCE_S)
        # Looking at 10,000 elements takes its time, too.
        gap = 100 if self.total > 1_000 and self.name != OURS else 0
        page.page.evaluate(WATCH, [self.total, READERS[self.name], gap, MARK, IDLE])
        page.run(1)
        page.page.wait_for_function("() => bench.first > 0", timeout=PATIENCE_S * 1000)
        page.wait_for_cell(1, PATIENCE_S)
        self.cells["first"] = f"{page.page.evaluate('() => bench.first - bench.asked') / 1000:.2f}"
        self.cells["code"] = f"{code_bytes(page, self.name) / 1000:,.0f}"
        page.page.evaluate("() => document.querySelectorAll('.jp-OutputArea-output')[0]?.scrollIntoView()")
        time.sleep(1.0)
        return page

    def _play(self, page: Page, cell: int, log: Sequence[Any], seconds: float) -> float:
        """Start the log; returns its zero, Unix time."""
        (self.lab.root / "log.json").write_text(json.dumps([log, seconds]))
        page.run_and_wait(cell, PATIENCE_S)
        return float(json.loads(page.text(cell))["zero"])

    def _watch(self, page: Page) -> None:
        """From kernel to pixel."""
        log = log_of(self.total, RATE, MOST_CHANGES)
        late: list[float] = []
        long: list[float] = []
        messages = size = 0
        for run in range(RUNS if len(log) < MOST_CHANGES else 1):
            if run:
                zero = self._play(page, 2, [(0.0, EVERY, NOT_STARTED)], 1)
                self._wait_for(page, 0, zero + AFTER_S)
                time.sleep(0.5)
            page.page.evaluate("() => { bench.shown.length = bench.long.length = 0; }")
            zero = self._play(page, 2, log, log[-1][0] + AFTER_S)
            ends = [zero + when for when, _, status in log if status == COMPLETED]
            self._wait_for(page, len(ends), zero + log[-1][0] + AFTER_S)
            count, own = self.traffic.since(zero)
            messages, size = messages + count, size + own
            late += latencies(ends, page.page.evaluate("() => bench.shown"))
            long += [length for when, length in page.page.evaluate("() => bench.long") if when / 1000 >= zero]
        self.cells["late50"], self.cells["late95"] = (in_words(percentile(late, share)) for share in (0.5, 0.95))
        self.cells["shown"] = f"{100 * sum(map(math.isfinite, late)) // len(late)} %"
        self.cells["long"] = f"{len(long)} / {sum(long):,.0f}"
        self.cells["messages"], self.cells["kB"] = f"{messages:,}", f"{size / 1000:,.0f}"

    @staticmethod
    def _wait_for(page: Page, count: int, deadline: float) -> None:
        while time.time() < deadline and page.page.evaluate("() => bench.count") != count:
            time.sleep(0.1)

    def _trace(self, page: Page) -> None:
        """Frame cost."""
        done = min(self.total, MOST_CHANGES // 2)
        costs = self._traced(page, rounds_of(self.total, RATE, FRAMES_S, done), FRAMES)
        if len(costs) < FEW:
            self._play(page, 3, [(0.0, EVERY, NOT_STARTED)], 1)
            changes = log_of(self.total, 1, STEPS * min(STEP_CHANGES, self.total // 10))
            step = len(changes) // STEPS
            costs = self._traced(
                page,
                [(2 * STEP_S + at // step * STEP_S, node, status) for at, (_, node, status) in enumerate(changes)],
                STEPS,
            )
        self.cells["frames"] = str(len(costs))
        if costs:
            for name, values in zip(("frame", "cpu"), zip(*costs, strict=True), strict=True):
                self.cells[f"{name}50"] = f"{statistics.median(values):.1f}"
                self.cells[f"{name}95"] = f"{percentile(values, 0.95):.1f}"

    def _traced(self, page: Page, log: Sequence[Any], most: int) -> list[tuple[float, float]]:
        """Costs of the pictures that a log makes; `most` of them."""
        page.page.evaluate("() => { bench.reads = true; bench.spent = 0; bench.shown.length = 0; }")
        self.browser.start_tracing(page=page.page, categories=CATEGORIES)
        time.sleep(0.5)
        zero = self._play(page, 3, log, log[-1][0] + 1)
        deadline = zero + log[-1][0] + STEP_S
        while time.time() < deadline and page.page.evaluate("() => bench.shown.length") <= most:
            time.sleep(0.25)
        return picture_costs(self.browser.stop_tracing())[:most]


def latencies(ends: Sequence[float], shown: Sequence[Sequence[float]]) -> list[float]:
    """Seconds from the k-th completion to the first frame that shows k of them; infinite for none."""
    found: list[float] = []
    at = 0
    for number, end in enumerate(ends, 1):
        while at < len(shown) and shown[at][1] < number:
            at += 1
        found.append(max(0.0, shown[at][0] - end) if at < len(shown) else math.inf)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def in_words(seconds: float) -> str:
    return f"{seconds:.3f}" if math.isfinite(seconds) else "never"


def code_bytes(page: Page, name: str) -> float:
    if name == "tiledag_widget":
        static = ROOT / "tiledag_widget" / "static"
        return sum((static / each).stat().st_size for each in ("widget.js", "widget.css"))
    if name == "plotly FigureWidget":
        import plotly

        return (Path(plotly.__file__).parent / "package_data" / "widgetbundle.js").stat().st_size
    found: float = page.page.evaluate(
        "part => performance.getEntriesByType('resource').filter(each => each.name.includes(part))"
        ".reduce((sum, each) => sum + each.decodedBodySize, 0)",
        CODE[name],
    )
    return found


def warm_up(lab: Lab) -> None:
    """One widget of nobody's in a notebook of its own: whoever is measured first finds Lab as the others do."""
    page = lab.open(["import ipywidgets; ipywidgets.IntSlider()"])
    page.run_and_wait(0)
    page.page.wait_for_selector(".jp-OutputArea-output .widget-slider")
    page.close()


HEAD = {
    "nodes": "nodes",
    "view": "view",
    "first": "first",
    "late50": "p50",
    "late95": "p95",
    "shown": "shown",
    "frame50": "frame",
    "frame95": "p95",
    "cpu50": "cpu",
    "cpu95": "p95",
    "frames": "frames",
    "long": "long",
    "messages": "messages",
    "kB": "kB",
    "code": "code",
}


def table(rows: Sequence[dict[str, str]]) -> None:
    lines = [list(HEAD.values()), *([row.get(column, "-") for column in HEAD] for row in rows if "late50" in row)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        cells = zip(line, widths, range(len(line)), strict=True)
        print("  ".join(text.ljust(wide) if at == 1 else text.rjust(wide) for text, wide, at in cells))
    for row in rows:
        if "late50" not in row:
            print(f"{row['nodes'].rjust(widths[0])}  {row['view'].ljust(widths[1])}  {row['first']}")
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--only", nargs="+", default=list(PLAYERS), choices=list(PLAYERS))
    parser.add_argument("--keep", type=Path, help="a JSON file of rows, to which these are added")
    chosen = parser.parse_args(words)
    names = [name for name in chosen.only if name == OURS or RIVALS.exists()]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.platform()}")
    rows: list[dict[str, str]] = json.loads(chosen.keep.read_text()) if chosen.keep and chosen.keep.exists() else []
    with chromium() as browser:
        print(f"Chromium {browser.version}, headless", flush=True)
        lab = RivalLab(browser)
        try:
            warm_up(lab)
            for total in chosen.nodes:
                for name in names:
                    if total > 10_000 and name != OURS:
                        continue
                    found = Row(lab, browser, name, total).measure()
                    rows = [row for row in rows if (row["nodes"], row["view"]) != (found["nodes"], name)] + [found]
                    print("  ".join(found.values()), file=sys.stderr, flush=True)
                    if chosen.keep:
                        chosen.keep.parent.mkdir(parents=True, exist_ok=True)
                        chosen.keep.write_text(json.dumps(rows, indent=1))
        finally:
            lab.close()
    rows.sort(key=lambda row: (int(row["nodes"].replace(",", "")), list(PLAYERS).index(row["view"])))
    table(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
