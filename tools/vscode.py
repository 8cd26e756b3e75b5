"""The part of VS Code that draws widgets, on a real kernel: ``python -m tools.vscode`` gets it from npm.

VS Code and its Jupyter extension are not to be had from a package registry; the extension's widget manager is. This
makes a page of it (``vscode_host.mjs`` says of what), in a frame of another origin with the permissions that VS Code
gives its notebooks, and connects it with a kernel of a Jupyter server. Left out are the two relays between page and
kernel, which pass messages on as they are.
"""

from __future__ import annotations

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

from playwright.sync_api import Browser, Frame
from playwright.sync_api import Page as BrowserPage

from tools import frontend
from tools.lab import Lab

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venvs" / "vscode"
PACKAGES = {"@vscode/jupyter-ipywidgets8": "1.0.9", "@jupyterlab/services": "7.6.4", "requirejs": "2.3.8"}
# Of a day on which the packages that these ask for were all there.
BEFORE = "2026-10-15"
MISSING = "the widget manager of VS Code is not installed; `make hosts` does it"
BRIDGE = """
body { margin: 0; padding: 16px; background: var(--vscode-editor-background); color: var(--vscode-foreground);
    font-family: var(--vscode-font-family); font-size: var(--vscode-font-size); }
.cell-output-ipywidget-background {
    --jp-ui-font-family: var(--vscode-editor-font-family); --jp-code-font-family: var(--vscode-editor-font-family);
    --jp-ui-font-color0: var(--vscode-editor-foreground); --jp-ui-font-color1: var(--vscode-editor-foreground);
    --jp-border-color1: var(--vscode-panel-border); --jp-border-color2: var(--vscode-panel-border); }
.vscode-light .cell-output-ipywidget-background { --jp-layout-color1: var(--vscode-notebook-cellEditorBackground); }
.vscode-dark .cell-output-ipywidget-background { --jp-layout-color1: var(--vscode-input-background); }
.cell-output-ipywidget-background :is(button, a, input, [tabindex="0"]) { outline: none; }
.cell-output-ipywidget-background :is(button, a, input, [tabindex="0"]):focus {
    outline: 2px solid var(--vscode-focusBorder, #007acc) !important; outline-offset: 2px !important; }
"""
"""What the extension's style sheets set for the outputs of widgets, so far as it reaches our view."""
PERMISSIONS = 'allow="cross-origin-isolated; autoplay; clipboard-read; clipboard-write"'
SANDBOX = 'sandbox="allow-scripts allow-same-origin allow-forms allow-pointer-lock allow-downloads"'


def is_installed() -> bool:
    return all((HOME / "node_modules" / name).exists() for name in PACKAGES)


def make() -> None:
    """Installs the packages, in a folder of their own: they are large, and nothing else needs them."""
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}, indent=2))
    npm, environment = frontend.npm_command()
    command = [*npm, "install", f"--before={BEFORE}", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=HOME, env=environment, check=True)


class VSCode:
    """Pages with VS Code's widget manager, each on a kernel of its own."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self.folder = folder
        self._write()
        self.lab = Lab(browser, options=["--ServerApp.allow_origin=*"])
        handler = functools.partial(_Quiet, directory=str(folder))
        self._files = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._files.serve_forever, name="vscode-files", daemon=True)
        self._thread.start()

    def new_kernel(self) -> str:
        """Id of a kernel that has just been started."""
        return str(self.lab.api("POST", "kernels")["id"])

    def open(self, page: BrowserPage, kernel: str, theme: str) -> Frame:
        """The frame of the outputs, its kernel connected."""
        asked = {"kernel": kernel, "theme": theme, "port": self.lab.port, "token": self.lab.token}
        inner = f"http://127.0.0.1:{self._files.server_port}/outputs.html?{urllib.parse.urlencode(asked)}"
        page.goto(f"http://localhost:{self._files.server_port}/window.html#{urllib.parse.quote(inner, safe='')}")
        page.frame_locator("iframe").locator("body[data-ready]").wait_for(timeout=30_000)
        return next(frame for frame in page.frames if frame.url == inner)

    def close(self) -> None:
        self._files.shutdown()
        self._files.server_close()
        self._thread.join()
        self.lab.close()

    def _write(self) -> None:
        packages = HOME / "node_modules"
        shutil.copy(packages / "requirejs" / "require.js", self.folder)
        shutil.copy(packages / "@vscode/jupyter-ipywidgets8/dist/ipywidgets.js", self.folder)
        shutil.copy(Path(sys.prefix) / "share/jupyter/nbextensions/anywidget/index.js", self.folder / "anywidget.js")
        _, environment = frontend.npm_command()
        bundle = [str(ROOT / "js/node_modules/.bin/esbuild"), str(Path(__file__).with_name("vscode_host.mjs"))]
        options = [
            "--bundle", "--format=esm", "--target=es2022", "--external:./ipywidgets.js", "--log-level=error",
            "--define:global=globalThis", f"--outfile={self.folder / 'host.js'}",
        ]  # fmt: skip
        subprocess.run([*bundle, *options], env={**environment, "NODE_PATH": str(packages)}, check=True, timeout=60)
        (self.folder / "outputs.html").write_text(
            f'<!doctype html><html><head><meta charset="utf-8"><title>outputs</title><style>{BRIDGE}</style></head>'
            '<body><script src="require.js"></script><script type="module" src="host.js"></script></body></html>'
        )
        (self.folder / "window.html").write_text(
            '<!doctype html><html><head><meta charset="utf-8"><title>window</title>'
            "<style>html, body, iframe { margin: 0; border: 0; width: 100%; height: 100% }</style></head><body>"
            f"<script>document.write(`<iframe {SANDBOX} {PERMISSIONS} "
            "src='${decodeURIComponent(location.hash.slice(1))}'></iframe>`)</script></body></html>"
        )


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


if __name__ == "__main__":
    make()
