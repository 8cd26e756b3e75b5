"""Runs the demo: ``python -m tools.demo [--headless] NOTEBOOK``.

Without ``--headless`` it opens the notebook in JupyterLab, in your browser, and stays until you stop it. With it, the
notebook is executed in a real JupyterLab in a Chromium that nobody sees: all cells are run as by "Run All Cells",
and when the last one and every graph on the page have ended, ``build/`` holds

- the executed notebook, under its own name,
- ``<name>-light.png`` and ``<name>-dark.png``: the notebook where its first graph is shown,
- ``<name>-view-light.png`` and ``<name>-view-dark.png``: that graph's view alone.

Records of its runs go to a folder of its own, and the server that keeps them ends with it.

A cell that fails, a graph that does not end or an error in the browser's console ends it with an error, after the
pictures were taken.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tools import browser as browsers
from tools.lab import ROOT, Lab, LabError, Page, chromium

BUILD = ROOT / "build"
CELLS_SECONDS = 300
GRAPH_SECONDS = 60


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description="Runs a notebook in JupyterLab.")
    parser.add_argument("--headless", action="store_true", help="execute it and leave pictures in build/")
    parser.add_argument("notebook", type=Path)
    asked = parser.parse_args(words)
    if not asked.notebook.exists():
        raise SystemExit(f"there is no {asked.notebook}")
    if asked.headless:
        headless(asked.notebook)
    else:
        show(asked.notebook)


def show(notebook: Path) -> None:
    """JupyterLab on the notebook, in place of this process."""
    print(f"opening {notebook} in JupyterLab; stop it with Ctrl-C", flush=True)
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.allow_root=True", str(notebook)]
    os.execve(sys.executable, command, environment)


def headless(notebook: Path) -> None:
    """Executes the notebook in a browser without a window and leaves what is described above."""
    if browsers.find() is None:
        raise SystemExit(f"the demo cannot run headless: {browsers.MISSING}")
    began = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    with records_of_its_own(), chromium() as browser:
        lab = Lab(browser)
        try:
            failure = execute(lab, notebook)
        finally:
            lab.close()
    print(f"{time.monotonic() - began:.0f} s; left in {BUILD}:")
    for path in sorted(BUILD.glob(f"{notebook.stem}*")):
        print(f"  {path.name}  {path.stat().st_size / 1000:,.0f} kB")
    if failure:
        raise SystemExit(failure)


@contextlib.contextmanager
def records_of_its_own() -> Iterator[None]:
    """A data folder for what is started from here, and the end of the server in it."""
    with tempfile.TemporaryDirectory(prefix="tiledag-demo-") as folder:
        os.environ["TILEDAG_DATA_DIR"] = folder
        try:
            yield
        finally:
            command = [sys.executable, "-c", "from tiledag_widget.cli import main; raise SystemExit(main(['stop']))"]
            subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60)


def execute(lab: Lab, notebook: Path) -> str | None:
    """Runs all cells, saves and takes the pictures; what went wrong, or None."""
    page = lab.open(notebook, width=1280, height=1000)
    failure = None
    try:
        page.run_all(CELLS_SECONDS)
        page.wait_for_graphs(GRAPH_SECONDS)
    except LabError as error:
        failure = str(error)
    page.save()
    shutil.copy(lab.root / page.name, BUILD / notebook.name)
    for dark in (False, True):
        page.set_theme(dark=dark)
        take_pictures(page, notebook.stem, "dark" if dark else "light")
    if page.errors and failure is None:
        failure = "in the browser's console:\n" + "\n".join(page.errors)
    return failure


def take_pictures(page: Page, name: str, theme: str) -> None:
    """The notebook where its first graph is, and that graph's view."""
    view = page.views().first
    if page.views().count():
        view.scroll_into_view_if_needed()
        page.wait_for_frames()
        view.screenshot(path=BUILD / f"{name}-view-{theme}.png", animations="disabled")
    else:
        print("no graph's view is on the page")
    page.page.screenshot(path=BUILD / f"{name}-{theme}.png", animations="disabled")


if __name__ == "__main__":
    main(sys.argv[1:])
