"""The live view beside its rivals, in one JupyterLab, on one event log.

    python -m benchmarks.view [--nodes 100 1000 10000 100000] [--only tiledag_widget] [--quick]

Rivals: TileDB's plot widget as `tiledb.cloud.dag` feeds it, ipycytoscape with given places, plotly's FigureWidget as
`tiledb.cloud.dag` makes it. They come from PyPI into ``.venvs/rivals`` (``make bench``); without them their rows are
missing. 100,000 nodes are for ours alone.

Columns of the first table (1,000 changes a second; 100 a second for 100 nodes):

``first``      from running the cell to the first picture with all nodes, s
``p50, p95``   from a node's completion in the kernel to the frame that shows it, s; "never" where it was not shown
               within 30 s of the end
``messages``   from the kernel while the log plays; ``kB`` their bytes
``long``       tasks of the page over 50 ms: number, and ms in all
``code``       bytes of script and styles that the page loads for it, kB (ours is `widget.js` and `widget.css`)

Second table, frame cost: main-thread time of the page (the browser's own account of its tasks, less what Lab uses
when idle) for one more picture with up to 17 changes in it (1,000 a second at 60 frames), ms, median and p95. And for
ours, from the harness page (``js/test/frames.py``'s way): patch, draw and a one-pixel ``getImageData``, 200 frames.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.view_players import COMPLETED, PLAYERS, log_of
from tools.lab import Lab, LabError, Page, chromium

ROOT = Path(__file__).resolve().parent.parent
RIVALS = ROOT / ".venvs" / "rivals" / "site"
PATIENCE_S = 120
AFTER_S = 30
WIDTH, HEIGHT = 1500, 1000
STEPS = {"tiledb-plot-widget": (20, 1.8)}
"""Frames and seconds between them; the plot widget draws 1.5 s after the last change."""
USUAL_STEPS = (200, 0.25)

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
WATCH = """([total, reader, gap]) => {
    const bench = window.bench = { total, first: 0, shown: [], long: [], count: -1, looked: 0 };
    bench.asked = performance.timeOrigin + performance.now();
    const read = eval(reader);
    new PerformanceObserver(list => {
        for (const each of list.getEntries()) bench.long.push([performance.timeOrigin + each.startTime, each.duration]);
    }).observe({ type: 'longtask' });
    const look = () => {
        requestAnimationFrame(look);
        const now = performance.timeOrigin + performance.now();
        if (now - bench.looked < gap) return;
        bench.looked = now;
        const count = read();
        if (count < 0) return;
        // What was drawn before this frame began is on the screen when the frame is.
        if (!bench.first) bench.first = now;
        if (count !== bench.count) { bench.count = count; bench.shown.push([now / 1000, count]); }
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


def opened(lab: Lab, name: str, total: int) -> tuple[Page, Traffic]:
    """A notebook in which the graph has just been shown."""
    cells = [
        f"from benchmarks.view_players import *\nplayer = PLAYERS[{name!r}]({total})",
        "player.show()",
        "import json; log, seconds = json.load(open('log.json')); player.play(log, seconds)",
    ]
    lab._opened += 1
    page = Page(lab, lab.write(cells), width=WIDTH, height=HEIGHT)
    traffic = Traffic(page)
    lab.pages.append(page)
    page.load()
    page.run_and_wait(0, PATIENCE_S)
    page.page.evaluate(WATCH, [total, READERS[name], 100 if total > 1_000 and name != "tiledag_widget" else 0])
    page.run(1)
    page.page.wait_for_function("() => bench.first > 0", timeout=PATIENCE_S * 1000)
    page.wait_for_cell(1, PATIENCE_S)
    page.page.evaluate("() => document.querySelectorAll('.jp-OutputArea-output')[0]?.scrollIntoView()")
    return page, traffic


def play(lab: Lab, page: Page, log: Sequence[Any], seconds: float) -> float:
    """Start the log; returns its zero, Unix time."""
    (lab.root / "log.json").write_text(json.dumps([log, seconds]))
    page.run_and_wait(2, PATIENCE_S)
    return float(json.loads(page.text(2))["zero"])


def watched(lab: Lab, name: str, total: int, most: int) -> list[str]:
    """One row of the first table."""
    page, traffic = opened(lab, name, total)
    try:
        first = page.page.evaluate("() => bench.first - bench.asked") / 1000
        time.sleep(1.0)
        log = log_of(total, 100 if total <= 100 else 1_000, most)
        zero = play(lab, page, log, log[-1][0] + AFTER_S)
        ends = [zero + when for when, _, status in log if status == COMPLETED]
        deadline = zero + log[-1][0] + AFTER_S
        while time.time() < deadline and page.page.evaluate("() => bench.count") < len(ends):
            time.sleep(0.25)
        messages, size = traffic.since(zero)
        shown = page.page.evaluate("() => bench.shown")
        late = latencies(ends, shown)
        long = [length for when, length in page.page.evaluate("() => bench.long") if when / 1000 >= zero]
        seen = [each for each in late if each is not None]
        p50, p95 = (percentile(late, share) for share in (0.5, 0.95))
        return [
            f"{first:.2f}",
            "never" if p50 is None else f"{p50:.3f}",
            "never" if p95 is None else f"{p95:.3f}",
            f"{100 * len(seen) // len(late)} %",
            f"{messages:,}",
            f"{size / 1000:,.0f}",
            f"{len(long)} / {sum(long):,.0f}",
            f"{code_bytes(page, name) / 1000:,.0f}",
        ]
    finally:
        page.close()


def latencies(ends: Sequence[float], shown: Sequence[Sequence[float]]) -> list[float | None]:
    """Seconds from the k-th completion to the first frame that shows k of them."""
    found: list[float | None] = []
    at = 0
    for number, end in enumerate(ends, 1):
        while at < len(shown) and shown[at][1] < number:
            at += 1
        found.append(max(0.0, shown[at][0] - end) if at < len(shown) else None)
    return found


def percentile(values: Sequence[float | None], share: float) -> float | None:
    """Where what was never seen is later than everything."""
    ordered = sorted(values, key=lambda each: float("inf") if each is None else each)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


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


def frames(lab: Lab, name: str, total: int) -> list[str]:
    """One row of the second table."""
    steps, gap = STEPS.get(name, USUAL_STEPS)
    page, _ = opened(lab, name, total)
    try:
        time.sleep(1.5)
        session = lab.context.new_cdp_session(page.page)
        session.send("Performance.enable")

        def busy() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return 1000 * float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

        begun, at = busy(), time.time()
        time.sleep(2)
        idle = (busy() - begun) / (time.time() - at)
        each = max(1, min(17, 2 * total // steps))
        whole = log_of(total, 1, steps * each)
        log = [((number // each) * gap, node, status) for number, (_, node, status) in enumerate(whole)]
        zero = play(lab, page, log, len(log) / each * gap + 5)
        costs = []
        last, then = busy(), time.time()
        for step in range(len(log) // each):
            time.sleep(max(0.0, zero + (step + 1) * gap - 0.02 - time.time()))
            now, when = busy(), time.time()
            if step:
                costs.append(max(0.0, now - last - idle * (when - then)))
            last, then = now, when
        return [f"{statistics.median(costs):.1f}", f"{sorted(costs)[int(0.95 * len(costs))]:.1f}", str(len(costs))]
    finally:
        page.close()


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head))]
    print(f"\n{title}\n")
    for row in [head, *rows]:
        print("  ".join(text.ljust(widths[at]) if at == 1 else text.rjust(widths[at]) for at, text in enumerate(row)))
    sys.stdout.flush()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--only", nargs="+", default=list(PLAYERS), choices=list(PLAYERS))
    parser.add_argument("--quick", action="store_true", help="5 s of each log, no frame costs")
    chosen = parser.parse_args(words)
    names = [name for name in chosen.only if name == "tiledag_widget" or RIVALS.exists()]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.platform()}")
    most = 5_000 if chosen.quick else 20_000
    first: list[list[str]] = []
    second: list[list[str]] = []
    with chromium() as browser:
        lab = RivalLab(browser)
        try:
            for total in chosen.nodes:
                for name in names:
                    if total > 10_000 and name != "tiledag_widget":
                        continue
                    first.append([f"{total:,}", name, *measured(8, watched, lab, name, total, most)])
                    print("  ".join(first[-1]), file=sys.stderr, flush=True)
                    if not chosen.quick:
                        second.append([f"{total:,}", name, *measured(3, frames, lab, name, total)])
                        print("  ".join(second[-1]), file=sys.stderr, flush=True)
        finally:
            lab.close()
    table(
        "From kernel to pixel",
        ["nodes", "view", "first", "p50", "p95", "shown", "messages", "kB", "long", "code"],
        first,
    )
    if second:
        table("One more picture, ms of the page's main thread", ["nodes", "view", "median", "p95", "frames"], second)
    return 0


def measured(columns: int, measure: Callable[..., list[str]], *arguments: Any) -> list[str]:
    """A rival that cannot do it leaves its reason, not a broken table."""
    try:
        return measure(*arguments)
    except Exception as error:
        if not isinstance(error, LabError) and "Timeout" not in type(error).__name__:
            raise
        return [f"no picture within {PATIENCE_S} s", *["-"] * (columns - 1)]


if __name__ == "__main__":
    sys.exit(main())
