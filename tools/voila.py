"""Serves notebooks as pages without cells, by Voila: ``python -m tools.voila`` makes its environment.

Voila brings a JupyterLab of its own version and a switch in every Jupyter server beside it, so it lives in
``.venvs/voila``, with the widget packages of ``.venv``. Kernels are those of ``.venv``. Two things leave its page
empty, and are said here since it says neither: another environment's ``share/jupyter`` on JUPYTER_PATH, whose nbconvert
has a template of the same name, and a front end of widgets that is linked rather than installed, which it refuses.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tools import venv
from tools.lab import described, free_port
from tools.served import Served

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venvs" / "voila"
MISSING = "Voila is not installed; `make hosts` does it"


def is_installed() -> bool:
    """True if there is a Voila that has widgets."""
    return (HOME / "bin" / "voila").exists() and (HOME / "share/jupyter/labextensions/anywidget").exists()


def make() -> None:
    """Makes or renews the environment."""
    venv.create(HOME)
    widgets = [f"{name}=={metadata.version(name)}" for name in ("anywidget", "ipywidgets")]
    venv.install(HOME, ["--no-compile", "voila>=0.5,<0.6", *widgets])


class Voila:
    """One server on loopback, with private folders for everything it reads and writes."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tiledag-voila-"))
        self.root = self.home / "notebooks"
        self.root.mkdir()
        self.token = secrets.token_hex(16)
        self.port = free_port()
        self._write_kernel()
        try:
            self._server = Served(
                "Voila", self._command(), self._ask,
                file=self.home / "server.log", folder=self.root, environment=self._environment(),
            )  # fmt: skip
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    def write(self, cells: Sequence[str], name: str = "notebook.ipynb") -> str:
        """Address of the page of a new notebook with these code cells."""
        (self.root / name).write_text(json.dumps(described(cells, "tiledag")))
        return f"http://127.0.0.1:{self.port}/voila/render/{name}?token={self.token}"

    def log(self, characters: int = 4000) -> str:
        """The end of the server's log; kernels' stderr is in it."""
        return self._server.log(characters)

    def close(self) -> None:
        """Ends server and kernels and removes the folders. Idempotent."""
        self._server.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def _command(self) -> list[str]:
        return [
            str(HOME / "bin" / "voila"), "--no-browser", f"--port={self.port}", "--Voila.ip=127.0.0.1",
            f"--token={self.token}", "--show_tracebacks=True", str(self.root),
        ]  # fmt: skip

    def _ask(self) -> None:
        urllib.request.urlopen(f"http://127.0.0.1:{self.port}/?token={self.token}", timeout=5).close()

    def _write_kernel(self) -> None:
        folder = self.home / "jupyter" / "kernels" / "tiledag"
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"display_name": "Python", "language": "python", "argv": argv}
        (folder / "kernel.json").write_text(json.dumps(spec))

    def _environment(self) -> dict[str, str]:
        folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        own = {name: str(self.home / name.lower()) for name in folders}
        return {**os.environ, **own, "JUPYTER_PATH": str(self.home / "jupyter"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


if __name__ == "__main__":
    make()
