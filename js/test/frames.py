"""What a frame costs: ``python js/test/frames.py`` after ``npm run harness``. Prints, asserts nothing.

17 changes a frame, a thousand a second at 60 frames, go into the store and onto the canvas; the figure is the page's
own time from the patch to the pixel: applying it, drawing, and a one-pixel read that waits for the raster.
`requestAnimationFrame` intervals read 16.7 ms whatever one does.

``first`` is a second view of the graph, from its making to the frame that has drawn it: the data are there already.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

OUT = Path(os.environ.get("TILEDAG_HARNESS") or Path(__file__).resolve().parents[2] / "build" / "harness")
FRAMES = 200
CHANGES = 17
FIRST = """async () => {
    const host = document.createElement('div');
    host.className = 'jp-OutputArea-output';
    document.querySelector('#host').replaceChildren(host);
    const began = performance.now();
    again(host);
    while (!host.querySelector('.td-graph[data-drawn]')) await new Promise(done => requestAnimationFrame(done));
    for (const canvas of host.querySelectorAll('canvas.td-layer')) canvas.getContext('2d').getImageData(0, 0, 1, 1);
    return performance.now() - began;
}"""
MEASURE = """async ([frames, changes]) => {
    const times = { patch: [], draw: [], pixel: [], all: [] };
    const callbacks = new Map();
    const real = [window.requestAnimationFrame, window.cancelAnimationFrame];
    let asked = 0;
    window.requestAnimationFrame = callback => { callbacks.set(++asked, callback); return asked; };
    window.cancelAnimationFrame = number => callbacks.delete(number);
    const canvases = [...document.querySelectorAll('canvas.td-layer')];
    const total = kernel.nodes.length;
    let at = 0;
    for (let frame = 0; frame < frames; frame++) {
        const list = [];
        for (let n = 0; n < changes; n++) {
            at = (at + 7) % total;
            const isRunning = kernel.states[at].status === 2;
            const now = Date.now() / 1000 - kernel.startedAt;
            list.push(isRunning ? { index: at, status: 3, ended: now }
                : { index: at, status: 2, attempt: 1, slot: 0, started: now, ended: NaN });
        }
        const began = performance.now();
        kernel.patch(list);
        const patched = performance.now();
        // The store tells of its changes in one frame, and the view draws: what either asks for next is another frame.
        for (let round = 0; round < 2; round++) {
            const last = asked;
            for (const [number, run] of callbacks) {
                if (number <= last && callbacks.delete(number)) run(performance.now());
            }
        }
        const drawn = performance.now();
        for (const canvas of canvases) canvas.getContext('2d').getImageData(0, 0, 1, 1);
        const read = performance.now();
        times.patch.push(patched - began);
        times.draw.push(drawn - patched);
        times.pixel.push(read - drawn);
        times.all.push(read - began);
        await new Promise(done => setTimeout(done, 5));
    }
    [window.requestAnimationFrame, window.cancelAnimationFrame] = real;
    const graph = document.querySelector('.td-graph');
    return { times, level: graph.dataset.level, drawn: graph.dataset.drawn };
}"""


def main() -> None:
    """One line for each graph."""
    say = sys.stdout.write
    head = ("patch", "draw", "pixel", "median", "p95", "first")
    say(f"{'graph':<22}{'level':>6}{'drawn':>7}" + "".join(f"{word:>8}" for word in head) + " ms\n")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--disable-gpu"])
        for query in sys.argv[1:] or (
            "n=12",
            "n=60",
            "n=100",
            "n=300",
            "n=1000",
            "n=10000",
            "n=10000&cards=1",
            "n=10000&cards=1&fit=1",
            "n=100000",
            "n=1000&open=1",
        ):
            page = browser.new_page(viewport={"width": 1300, "height": 900})
            page.goto(f"file://{OUT}/index.html?{query}&state=running")
            page.wait_for_selector(".td-graph[data-drawn]")
            page.wait_for_timeout(1_000)
            if "fit" in query:
                page.locator(".td-viewport").focus()
                page.keyboard.press("0")
                page.wait_for_timeout(500)
            if "open" in query:
                page.locator(".td-viewport").focus()
                for key in ("Home", "ArrowRight", "Enter"):
                    page.keyboard.press(key)
                page.wait_for_timeout(500)
            found = page.evaluate(MEASURE, [FRAMES, CHANGES])
            times = {key: sorted(values) for key, values in found["times"].items()}
            row = [median(times[key]) for key in ("patch", "draw", "pixel", "all")]
            row.append(times["all"][int(0.95 * FRAMES)])
            row.append(page.evaluate(FIRST))
            say(f"{query:<22}{found['level']:>6}{found['drawn']:>7}" + "".join(f"{each:8.1f}" for each in row) + "\n")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
