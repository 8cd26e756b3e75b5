"""Drives a real JupyterLab in Chromium: for the browser tests, the demo and whoever wants to look.

`Lab` is one server with folders of its own; `Lab.open` gives a `Page` on a notebook made from cell sources or from a
file. `tests/browser/conftest.py` makes fixtures of them and shows how tests use them.

Nothing here returns the promise of a running cell to Python: `Page.run` asks for the cell and comes back as soon as
its prompt shows that it started, so a test can click while the cell blocks. A cell has ended when its prompt holds a
number; the kernel's own status says idle too early once a message was handled on a subshell.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Error, Locator, Playwright, sync_playwright
from playwright.sync_api import Page as BrowserPage

from tiledag_widget.core.states import Status
from tools import browser as browsers
from tools import kernels
from tools.served import Served

ROOT = Path(__file__).resolve().parent.parent
SCREENS = ROOT / "build" / "screens"
READY_SECONDS = 60
# A kernel that is connected has answered Jupyter's server already: one that then stays silent to the page is deaf.
DEAF_SECONDS = 20

SETTINGS: dict[str, dict[str, Any]] = {
    "@jupyterlab/apputils-extension/notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
    "@jupyterlab/completer-extension/manager": {"autoCompletion": False},
}

# What JupyterLab itself logs as an error here, with nothing of ours in the page.
FAMILIAR_ERRORS = re.compile(
    r"favicon\.ico"
    r"|translations/.*404"
    r"|Could not restore the debugger state"
    r"|Failed to load resource: .*(api/contents/|lab/api/workspaces/|api/sessions/|api/kernels/)"
)

SESSION = "window.jupyterapp?.shell?.currentWidget?.context?.sessionContext"
KERNEL = f"{SESSION}?.session?.kernel"
ANSWER_TRIES = 3
ANSWER_MS = 5000
ANSWERS = """ms => {
    const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
    const asked = kernel.requestExecute({ code: '', silent: true, store_history: false });
    return Promise.race([
        asked.done.then(() => true, () => false),
        new Promise(done => setTimeout(() => done(false), ms)),
    ]);
}"""
RESTART = f"() => {SESSION}.restartKernel()"
# Closes every document without asking about unsaved changes; true when none is left.
CLOSE_DOCUMENTS = """async () => {
    const shell = window.jupyterapp?.shell;
    if (!shell) return false;
    const documents = [...shell.widgets('main')].filter(each => each.context);
    for (const each of documents) {
        each.context.model.dirty = false;
        each.close();
    }
    for (let tries = 0; tries < 100 && documents.some(each => !each.isDisposed); tries++)
        await new Promise(done => setTimeout(done, 50));
    return documents.every(each => each.isDisposed);
}"""
# Root class of our view.
VIEW = ".tiledag"
# Run in the page: the notebook in front, or null. Named `notebook` in the snippets below.
NOTEBOOK = "const notebook = window.jupyterapp?.shell?.currentWidget;"
PROMPT = """index => {
    const cell = window.jupyterapp?.shell?.currentWidget?.content?.widgets?.[index];
    if (!cell) return null;
    const shown = cell.node.querySelector('.jp-InputPrompt')?.textContent;
    if (shown) return shown;
    const count = cell.model.executionCount;
    return cell.model.executionState === 'running' ? '[*]:' : `[${count ?? ' '}]:`;
}"""


class LabError(AssertionError):
    """JupyterLab did not do what was asked; the message holds what it shows instead."""


class KernelDeafError(LabError):
    """The kernel is connected and answers nothing.

    ipykernel 7.3.0 goes deaf for ever if a request comes in just as it sends an answer, and Lab asks much while it
    opens a notebook; 7.4.0 cured it.
    """


@contextlib.contextmanager
def chromium(*, headless: bool = True) -> Iterator[Browser]:
    """A running Chromium.

    Raises:
        LabError: There is none on this machine.
    """
    path = browsers.find()
    if path is None:
        raise LabError(browsers.MISSING)
    with sync_playwright() as driver:
        yield from _launched(driver, path, headless)


def _launched(driver: Playwright, path: str, headless: bool) -> Iterator[Browser]:
    browser = driver.chromium.launch(executable_path=path, headless=headless, args=browsers.FLAGS)
    try:
        yield browser
    finally:
        browser.close()


class Lab:
    """One JupyterLab server on loopback, with private folders for everything it reads and writes.

    Args:
        browser: Where its pages open.
        settings: Beside `SETTINGS`: plugin ("@jupyterlab/notebook-extension/tracker") to its settings.
        app: The front end that opens notebooks: "lab", or "notebook" for Notebook 7.
        scale: Pixels of the screen for one of the page.
        options: More words for the server's command line.
    """

    def __init__(
        self,
        browser: Browser,
        *,
        settings: dict[str, dict[str, Any]] | None = None,
        app: str = "lab",
        scale: float = 1,
        options: Sequence[str] = (),
    ) -> None:
        self.browser = browser
        self.app = app
        self.options = list(options)
        self.token = secrets.token_hex(16)
        self.home = Path(tempfile.mkdtemp(prefix="tiledag-lab-"))
        self.root = self.home / "notebooks"
        self.root.mkdir()
        self.pages: list[Page] = []
        self._idle: list[BrowserPage] = []
        self._opened = 0
        self.set_settings({**SETTINGS, **(settings or {})})
        # One context for all pages: Lab's 10 MB of script are fetched and compiled once.
        self.context = browser.new_context(reduced_motion="reduce", device_scale_factor=scale)
        self.context.set_default_timeout(20_000)
        self.port = free_port()
        self._server = self._start()

    # --- the server -----------------------------------------------------------------------------------------

    def _start(self) -> Served:
        try:
            return Served(
                "JupyterLab", self._command(), lambda: self.api("GET", "status"),
                file=self.home / "server.log", folder=self.root, environment=self._environment(),
            )  # fmt: skip
        except BaseException:
            self.context.close()
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    def _command(self) -> list[str]:
        return [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.allow_root=True", "--ip=127.0.0.1",
            f"--port={self.port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={self.token}",
            f"--ServerApp.root_dir={self.root}", "--ServerApp.terminals_enabled=False",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=",
            "--expose-app-in-browser", "--JupyterNotebookApp.expose_app_in_browser=True",
            *self.options,
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "IPYTHONDIR": "ipython",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        }
        environment = dict(os.environ)
        environment.update({name: str(self.home / folder) for name, folder in folders.items()})
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment["JUPYTER_PATH"] = str(kernels.JUPYTER_PATH)
        environment["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
        return environment

    def set_settings(self, settings: dict[str, dict[str, Any]]) -> None:
        """Overrides Lab's settings; pages opened later see them."""
        while self._idle:
            self._idle.pop().close()
        self._write_settings(settings)

    def _write_settings(self, settings: dict[str, dict[str, Any]]) -> None:
        for plugin, values in settings.items():
            path = self.home / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))

    def api(self, method: str, path: str) -> Any:
        """Answer of the server's REST interface, or None if it is empty."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def log(self, characters: int = 4000) -> str:
        """The end of the server's log; kernels' stderr is in it."""
        return self._server.log(characters)

    def close(self) -> None:
        """Closes pages, ends kernels and server and removes the folders. Idempotent."""
        for page in [*self.pages]:
            page.close()
        with contextlib.suppress(Error):
            self.context.close()
        self._server.close()
        shutil.rmtree(self.home, ignore_errors=True)

    # --- notebooks ------------------------------------------------------------------------------------------

    def write(self, cells: Sequence[str], *, kernel: str = kernels.NEWEST, name: str | None = None) -> str:
        """Name of a new notebook under `root` with these code cells."""
        name = name or f"notebook_{self._opened}.ipynb"
        (self.root / name).write_text(json.dumps(described(cells, kernel), indent=1))
        return name

    def open(
        self,
        cells: Sequence[str] | Path,
        *,
        kernel: str = kernels.NEWEST,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        fresh: bool = False,
    ) -> Page:
        """A page on a notebook of these cells, or on a copy of this file, its kernel ready.

        A tab that another notebook was closed in is used again, as a person does: loading Lab takes longer than most
        tests. ``fresh=True`` loads it anew, for a test of what a page loads, keeps or leaves behind.
        """
        self._opened += 1
        if isinstance(cells, Path):
            shutil.copy(cells, self.root / cells.name)
            name = cells.name
        else:
            name = self.write(cells, kernel=kernel)
        tab = self._idle.pop() if self._idle and not fresh else None
        page = Page(self, name, width=width, height=height, tab=tab)
        self.pages.append(page)
        try:
            if tab is None:
                self._write_settings({"@jupyterlab/apputils-extension/themes": {"theme": theme_name(dark=dark)}})
                page.load()
            else:
                page.set_theme(dark=dark)
                page.load_here()
        except KernelDeafError:
            page.restart_kernel()
        return page

    def keep(self, tab: BrowserPage) -> None:
        """Takes a tab without documents, for the next notebook."""
        self._idle.append(tab)


class Page:
    """A notebook open in a browser tab of its own.

    ``page`` is playwright's: ``lab_page.page.get_by_role("button", name="Retry").click()``. ``errors`` holds what the
    console logged as an error and every uncaught exception, without what JupyterLab logs of itself. ``is_spoiled``
    says that the tab is not to be used again.
    """

    def __init__(self, lab: Lab, name: str, *, width: int, height: int, tab: BrowserPage | None = None) -> None:
        self.lab = lab
        self.name = name
        self.errors: list[str] = []
        self.console: list[str] = []
        self.is_spoiled = False
        self.page: BrowserPage = tab or lab.context.new_page()
        self.page.set_viewport_size({"width": width, "height": height})
        self._listeners: dict[str, Any] = {"console": self._on_console, "pageerror": self._on_error}
        for event, listener in self._listeners.items():
            self.page.on(event, listener)  # type: ignore[call-overload]

    def _on_error(self, error: Error) -> None:
        self.errors.append(f"uncaught: {error}")

    def _on_console(self, message: ConsoleMessage) -> None:
        line = f"{message.type}: {message.text} ({message.location.get('url', '')})"
        self.console.append(line)
        if message.type == "error" and not FAMILIAR_ERRORS.search(line):
            self.errors.append(line)

    # --- opening and closing --------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        if self.lab.app == "notebook":
            return f"http://127.0.0.1:{self.lab.port}/notebooks/{self.name}?token={self.lab.token}"
        space = Path(self.name).stem
        return f"http://127.0.0.1:{self.lab.port}/lab/workspaces/{space}/tree/{self.name}?token={self.lab.token}"

    def load(self, *, wait_idle: bool = True) -> None:
        """Goes to the notebook and waits until its kernel is connected, and idle unless told otherwise."""
        self.page.goto(self.url)
        self.wait_until_ready(wait_idle=wait_idle)

    def load_here(self) -> None:
        """Opens the notebook in a tab that shows Lab already."""
        self._command("docmanager:open", {"path": self.name})
        self._wait(
            f"name => {{ {NOTEBOOK} return notebook?.context?.path === name; }}", self.name, READY_SECONDS, "not opened"
        )
        self.wait_until_ready()

    def reload(self, *, wait_idle: bool = True) -> None:
        """What a person does with F5. ``wait_idle=False`` while a cell runs."""
        self.page.goto(self.url)
        self.wait_until_ready(wait_idle=wait_idle)

    def wait_until_ready(self, *, wait_idle: bool = True) -> None:
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=READY_SECONDS * 1000)
        self._wait(
            f"() => {KERNEL}?.connectionStatus === 'connected'", None, READY_SECONDS, "the kernel is not connected"
        )
        ready = f"idle => {SESSION}?.isReady && (!idle || {KERNEL}?.status === 'idle')"
        if wait_idle:
            self._wait(ready, True, DEAF_SECONDS, "the kernel tells nothing of itself", KernelDeafError)
        else:
            self._wait(ready, False, READY_SECONDS, "the kernel is not ready")
        if wait_idle:
            self._wait_until_it_answers()
        self.page.evaluate("() => { window.jupyterapp.shell.collapseLeft?.(); }")

    def _wait_until_it_answers(self) -> None:
        """Until the kernel has run an empty cell. One that says idle may still lose the first request it is sent,
        seen on a loaded machine: the cell's prompt then shows a star for ever."""
        for _ in range(ANSWER_TRIES):
            if self.page.evaluate(ANSWERS, ANSWER_MS):
                return
        raise KernelDeafError(f"the kernel is idle but runs nothing\nserver: {self.lab.log(1500)}")

    def restart_kernel(self) -> None:
        """What a person does with a kernel that does not answer; what it knew is gone."""
        self.page.evaluate(RESTART)
        self.wait_until_ready()

    def close(self) -> None:
        """Closes the notebook and ends its kernel. Idempotent."""
        if self not in self.lab.pages:
            return
        self.lab.pages.remove(self)
        with contextlib.suppress(Error):
            self._leave()
        with contextlib.suppress(urllib.error.URLError):
            for session in self.lab.api("GET", "sessions"):
                if session["path"] == self.name:
                    self.lab.api("DELETE", f"sessions/{session['id']}")

    def _leave(self) -> None:
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        is_good = self.lab.app == "lab" and not self.is_spoiled and not self.errors
        with contextlib.suppress(Error):
            if is_good and self.page.evaluate(CLOSE_DOCUMENTS):
                self.lab.keep(self.page)
                return
        self.page.close()  # asks nothing about unsaved changes, as a person's browser would

    # --- cells ----------------------------------------------------------------------------------------------

    def run(self, index: int) -> None:
        """Asks for a cell and returns once it has begun or was queued; it may run for long after."""
        before = self.prompt(index)
        self.page.evaluate(
            f"index => {{ {NOTEBOOK} notebook.content.activeCellIndex = index;"
            " window.jupyterapp.commands.execute('notebook:run-cell'); }",
            index,
        )
        changed = f"([index, before]) => ({PROMPT})(index) !== before"
        self._wait(changed, [index, before], 10, f"cell {index} did not start")

    def run_and_wait(self, index: int, seconds: float = 30) -> None:
        """Runs a cell to its end; raises `LabError` with the traceback if it failed."""
        self.run(index)
        self.wait_for_cell(index, seconds)
        self._raise_if_failed(index)

    def run_all(self, seconds: float = 300) -> None:
        """Runs all cells to their end; raises `LabError` if one failed, as Lab stops there."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
        for index in self.code_cells():
            self.wait_for_cell(index, seconds)
            self._raise_if_failed(index)

    def code_cells(self) -> list[int]:
        """Indices of the code cells that hold something."""
        found: list[int] = self.page.evaluate(
            f"() => {{ {NOTEBOOK} return notebook.content.widgets.flatMap((cell, index) =>"
            " cell.model.type === 'code' && cell.model.sharedModel.getSource().trim() ? [index] : []); }"
        )
        return found

    def prompt(self, index: int) -> str:
        """What stands before a cell: "[ ]:", "[*]:" while it runs or waits, "[3]:" after."""
        shown = self.page.evaluate(PROMPT, index)
        if shown is None:
            raise LabError(f"there is no cell {index}")
        return str(shown)

    def is_running(self, index: int) -> bool:
        return "*" in self.prompt(index)

    def wait_for_cell(self, index: int, seconds: float = 30) -> None:
        """Waits until a cell that was run has ended, well or not."""
        self._wait(f"index => /\\d/.test(({PROMPT})(index))", index, seconds, f"cell {index} did not end")

    def outputs(self, index: int) -> list[dict[str, Any]]:
        """The outputs of a cell as the notebook format has them."""
        found: list[dict[str, Any]] = self.page.evaluate(
            f"index => {{ {NOTEBOOK} return notebook.content.widgets[index].model.outputs.toJSON(); }}", index
        )
        return found

    def text(self, index: int) -> str:
        """What a cell printed, and the plain text of its results and errors."""
        parts = []
        for output in self.outputs(index):
            if output["output_type"] == "stream":
                parts.append(_joined(output["text"]))
            elif output["output_type"] == "error":
                parts.append(f"{output['ename']}: {output['evalue']}\n" + "\n".join(output["traceback"]))
            else:
                parts.append(_joined(output["data"].get("text/plain", "")))
        return re.sub(r"\x1b\[[0-9;]*m", "", "".join(parts))

    def cell(self, index: int) -> Locator:
        """A cell's whole box, input and outputs."""
        return self.page.locator(".jp-Notebook .jp-Cell").nth(index)

    def output(self, index: int) -> Locator:
        """The area below a cell: ``nb.output(1).get_by_role("button", name="Retry failed").click()``."""
        return self.cell(index).locator(".jp-Cell-outputArea")

    def views(self) -> Locator:
        """The views of graphs on the page, in order."""
        return self.page.locator(f".jp-Notebook {VIEW}")

    def wait_for_graphs(self, seconds: float = 30) -> None:
        """Waits until every view has its picture and none shows a graph that runs.

        Looks at one after the other: a view that is scrolled out of sight draws nothing until it is seen again.
        """
        for number in range(self.views().count()):
            self.views().nth(number).scroll_into_view_if_needed()
            self._wait(
                f"""([number, running]) => {{
                    const view = document.querySelectorAll('.jp-Notebook {VIEW}')[number];
                    const status = view?.querySelector('.td-status')?.dataset.status;
                    return status && status !== running;
                }}""",
                [number, str(Status.RUNNING.value)],
                seconds,
                f"graph {number + 1} on the page did not end",
            )

    def wait_for_frames(self) -> None:
        """Waits until the page has painted what it knows now."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100))))"
        )

    def interrupt(self) -> None:
        """What a person does with the stop button."""
        self._command("notebook:interrupt-kernel")

    def restart(self) -> None:
        """Restarts the kernel without the question that Lab asks."""
        self.page.evaluate(
            f"async () => {{ {NOTEBOOK} await notebook.context.sessionContext.session.kernel.restart(); }}"
        )
        self.wait_until_ready()

    # --- the rest of the notebook ---------------------------------------------------------------------------

    def save(self) -> dict[str, Any]:
        """Saves and gives the file's content."""
        self._command("docmanager:save")
        return self.saved()

    def saved(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.lab.root / self.name).read_text())
        return content

    def set_theme(self, *, dark: bool) -> None:
        """Switches Lab's theme and waits until the page wears it."""
        self._command("apputils:change-theme", {"theme": theme_name(dark=dark)})
        self._wait("light => document.body.dataset.jpThemeLight === light", str(not dark).lower(), 10, "no theme")

    def screenshot(self, name: str, what: Locator | None = None) -> Path:
        """Leaves a picture of the page, or of one part of it, in build/screens/<name>.png."""
        path = SCREENS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        if what is None:
            self.page.screenshot(path=path, animations="disabled")
        else:
            what.screenshot(path=path, animations="disabled")
        return path

    def assert_no_errors(self) -> None:
        """Fails with everything that the console logged as an error."""
        assert not self.errors, "in the browser's console:\n" + "\n".join(self.errors)

    def _command(self, command: str, arguments: dict[str, Any] | None = None) -> None:
        """Runs a command of Lab's to its end. Not for cells: their promise waits for the kernel."""
        self.page.evaluate(
            "async ([command, args]) => { await window.jupyterapp.commands.execute(command, args); }",
            [command, arguments or {}],
        )

    def _raise_if_failed(self, index: int) -> None:
        if any(output["output_type"] == "error" for output in self.outputs(index)):
            raise LabError(f"cell {index} failed:\n{self.text(index)}")

    def _wait(
        self,
        condition: str,
        argument: Any,
        seconds: float,
        otherwise: str,
        error_class: type[LabError] = LabError,
    ) -> None:
        try:
            self.page.wait_for_function(condition, arg=argument, timeout=seconds * 1000)
        except Error as error:
            picture = self.screenshot(f"stuck-{Path(self.name).stem}")
            raise error_class(
                f"{otherwise} within {seconds} s (picture: {picture}): {error.message.splitlines()[0]}\n"
                f"console: {self.errors[-5:]}\nserver: {self.lab.log(1500)}"
            ) from error


def theme_name(*, dark: bool) -> str:
    return "JupyterLab Dark" if dark else "JupyterLab Light"


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def described(cells: Sequence[str], kernel: str) -> dict[str, Any]:
    """A notebook of these code cells, in notebook format."""
    return {
        "cells": [
            {
                "cell_type": "code", "execution_count": None, "id": f"cell-{index}", "metadata": {}, "outputs": [],
                "source": source,
            }
            for index, source in enumerate(cells)
        ],
        "metadata": {
            "kernelspec": {"display_name": kernel, "language": "python", "name": kernel},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }  # fmt: skip


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
