"""Real kernels without a page: of this interpreter, or of another ipykernel that `make browser` has installed."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from tools.kernels import JUPYTER_PATH, NEWEST, is_installed, name_of

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient

SECONDS = 60
KERNELS = [NEWEST, name_of("7.3.0"), name_of("6.31.0")]


class Kernel:
    """A kernel, and the text that each of its cells was given."""

    def __init__(self, manager: Any, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client
        self.printed: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        """Name of the exception that ended a cell."""
        self._answered: set[str] = set()

    @property
    def pid(self) -> int:
        return int(self.manager.provisioner.pid)

    @property
    def client(self) -> BlockingKernelClient:
        """For who hears every message himself."""
        return self._client

    def begin(self, code: str) -> str:
        """Sends a cell; returns its id."""
        return str(self._client.execute(code))

    def end(self, cell: str) -> None:
        """Waits for the end of a cell, and for the answer to it.

        ipykernel 7.3.0, whatever the cell, goes deaf for ever if a request comes in just as it sends an answer; 7.4.0
        cured it.
        """
        while True:
            message = self._hear()
            mine = message["parent_header"].get("msg_id") == cell
            if mine and message["content"].get("execution_state") == "idle":
                break
        while cell not in self._answered:
            self._answered.add(self._client.get_shell_msg(timeout=SECONDS)["parent_header"].get("msg_id", ""))

    def cell(self, code: str) -> str:
        """Runs a cell that must not fail; returns its id."""
        cell = self.begin(code)
        self.end(cell)
        assert cell not in self.errors, self.errors[cell]
        return cell

    def wait_for(self, text: str, cell: str | None = None) -> None:
        """Until the text was printed, below this cell or any."""
        while not any(text in said for one, said in self.printed.items() if cell in (None, one)):
            self._hear()

    def _hear(self) -> Any:
        message: Any = self._client.get_iopub_msg(timeout=SECONDS)
        cell = message["parent_header"].get("msg_id", "")
        if message["header"]["msg_type"] == "stream":
            self.printed[cell] = self.printed.get(cell, "") + message["content"]["text"]
        elif message["header"]["msg_type"] == "error":
            self.errors[cell] = message["content"]["ename"]
        return message

    def lines_of(self, cell: str) -> list[str]:
        return sorted(self.printed.get(cell, "").splitlines())


@contextlib.contextmanager
def running_kernel(
    name: str, folder: Path, *, by_message: bool = False, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Kernel]:
    """A kernel that is ready; killed at the end.

    Args:
        settings: Go into its environment.
        by_message: It is interrupted by a message, as by VS Code and wherever a kernel runs elsewhere, not by a signal.
    """
    pytest.importorskip("jupyter_client")
    from jupyter_client.manager import start_new_kernel

    if not is_installed(name):
        pytest.skip(f"no {name}: `make browser` installs it")
    spec: dict[str, Any] = {"display_name": name, "language": "python"}
    if name == NEWEST:  # of this interpreter, whatever kernels the machine has
        spec["argv"] = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    else:
        spec["argv"] = json.loads((JUPYTER_PATH / "kernels" / name / "kernel.json").read_text())["argv"]
    spec["interrupt_mode"] = "message" if by_message else "signal"
    place = folder / "kernels" / name
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(spec))
    places = {"JUPYTER_PATH": folder, "JUPYTER_RUNTIME_DIR": folder / "runtime", "IPYTHONDIR": folder / "ipython"}
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**{key: str(path) for key, path in places.items()}, **settings}.items():
            patch.setenv(key, value)
        manager, client = start_new_kernel(startup_timeout=SECONDS, kernel_name=name)
        try:
            yield Kernel(manager, client)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
            manager.cleanup_resources()
