"""Pictures of the harness page: ``python js/test/shots.py [name ...]`` after ``npm run harness``; into build/harness/."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

OUT = Path(os.environ.get("TILEDAG_HARNESS") or Path(__file__).resolve().parents[2] / "build" / "harness")


def click_mark(page: Page, x: float, y: float) -> None:
    box = page.locator(".td-viewport").bounding_box()
    assert box
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


SHOTS: dict[str, tuple[str, int, Any]] = {
    "n1": ("n=1&state=mixed", 1300, None),
    "n4": ("n=4&state=mixed", 1300, None),
    "n12": ("n=12&state=mixed", 1300, None),
    "n12-failed-inspect": ("n=12&state=failed", 1300, lambda page: page.locator(".td-failed").click()),
    "n60": ("n=60&state=mixed", 1300, None),
    "n60-dark": ("n=60&state=mixed&theme=dark", 1300, None),
    "n60-inspect": ("n=60&state=mixed", 1300, lambda page: page.locator(".td-failed").click()),
    "n60-inspect-dark": ("n=60&state=mixed&theme=dark", 1300, lambda page: page.locator(".td-failed").click()),
    "n12-inspect-dark": ("n=12&state=failed&theme=dark", 1300, lambda page: page.locator(".td-failed").click()),
    "n12-700": ("n=12&state=failed", 700, lambda page: page.locator(".td-failed").click()),
    "n12-400": ("n=12&state=failed", 400, None),
    "n12-ready": ("n=12&state=ready", 1300, None),
    "n12-done": ("n=12&state=done", 1300, None),
    "n0": ("n=0&state=ready", 1300, None),
    "n12-hover": ("n=12&state=failed", 1300, lambda page: (page.mouse.move(700, 228), page.wait_for_timeout(600))),
    "n12-overview": ("n=12&state=failed", 1300, lambda page: (page.locator(".td-failed").click(), page.keyboard.press("Escape"), page.locator(".td-viewport").focus(), page.keyboard.press("End"), page.keyboard.press("Enter"))),
    "n12-confirm": ("n=12&state=running&stop=1", 1300, lambda page: page.locator("[data-action=cancel_graph]").click()),
    "n12-menu": ("n=12&state=running&theme=dark", 1300, lambda page: page.locator("[aria-haspopup=menu]").click()),
    "n12-keys": ("n=12&state=mixed", 1300, lambda page: (page.locator(".td-viewport").focus(), page.keyboard.press("?"))),
    "n12-busy": ("n=12&state=failed", 1300, lambda page: (page.evaluate("kernel.isAnswering = false"), page.locator("[data-action=retry_failed]").click(), page.wait_for_timeout(1300))),
    "n12-detached": ("n=12&state=running", 1300, lambda page: page.evaluate("kernel.emit('comm:close')")),
    "n1000-stack": ("n=1000&state=mixed", 1300, lambda page: (page.locator(".td-viewport").focus(), page.keyboard.press("Home"), page.keyboard.press("ArrowRight"), page.keyboard.press("Enter"), page.wait_for_timeout(600))),
    "n1000-stack-dark": ("n=1000&state=mixed&theme=dark", 1300, lambda page: (page.locator(".td-viewport").focus(), page.keyboard.press("Home"), page.keyboard.press("ArrowRight"), page.keyboard.press("Enter"), page.wait_for_timeout(600))),
    "n300": ("n=300&state=mixed", 1300, None),
    "n300-fit": ("n=300&state=mixed", 1300, lambda page: page.locator(".td-tools button").nth(0).click()),
    "n300-block": ("n=300&state=mixed&theme=dark", 1300, lambda page: page.evaluate("document.querySelector('.td-graph').style.maxWidth='520px'") or page.wait_for_timeout(300) or page.locator(".td-tools button").nth(0).click()),
    "n1000": ("n=1000&state=mixed", 1300, None),
    "n10000-dark": ("n=10000&state=mixed&theme=dark", 1300, None),
}


def main() -> None:
    names = sys.argv[1:] or list(SHOTS)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--disable-gpu"])
        for name in names:
            query, width, act = SHOTS[name]
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.on("console", lambda message: print(name, message.type, message.text))
            page.on("pageerror", lambda error: print(name, "ERROR", error))
            page.goto(f"file://{OUT}/index.html?{query}")
            page.wait_for_timeout(700)
            if act:
                act(page)
                page.wait_for_timeout(500)
            page.locator(".tiledag").screenshot(path=OUT / f"{name}.png")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
