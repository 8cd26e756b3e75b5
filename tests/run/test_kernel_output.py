"""Where the text that nodes print appears in a notebook: real kernels of every ipykernel that is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupyter_client")

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from tools.kernels import JUPYTER_PATH, NEWEST, is_installed

pytestmark = [pytest.mark.slow, pytest.mark.leaks("libzmq keeps its own threads and sockets for the process")]

KERNELS = [NEWEST, "ipykernel-7.3.0", "ipykernel-6.31.0"]
SECONDS = 60
BEGIN = """
import threading, time
from tiledag_widget import DAG
def says(text, *after):
    print(text + "\\n", end="")  # one write: others print at the same time
    return text
def fails_once(text, seen=[]):
    print(text)
    seen.append(1)
    if len(seen) == 1:
        raise ValueError("the first time")
def ended(dag):
    while not dag.done():
        time.sleep(0.01)
"""


class Kernel:
    """A kernel, and the text that each of its cells was given."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.printed: dict[str, str] = {}

    def cell(self, code: str) -> str:
        """Runs a cell to its end; returns its id."""
        cell = str(self._client.execute(code))
        while True:
            message = self._client.get_iopub_msg(timeout=SECONDS)
            if self._heard(message) == cell and message["content"].get("execution_state") == "idle":
                return cell

    def wait_for(self, text: str) -> None:
        while not any(text in one for one in self.printed.values()):
            self._heard(self._client.get_iopub_msg(timeout=SECONDS))

    def _heard(self, message: dict[str, dict[str, str]]) -> str:
        cell = message["parent_header"].get("msg_id", "")
        if message["header"]["msg_type"] == "stream":
            self.printed[cell] = self.printed.get(cell, "") + message["content"]["text"]
        elif message["header"]["msg_type"] == "error":
            raise AssertionError("\n".join(message["content"]["traceback"]))
        return cell

    def text_of(self, cell: str) -> list[str]:
        return sorted(self.printed.get(cell, "").split())


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    name = str(request.param)
    if not is_installed(name):
        pytest.skip(f"no {name}: `make browser` installs it")
    if name == NEWEST:  # of this interpreter, whatever kernels the machine has
        folder = tmp_path / "kernels" / NEWEST
        folder.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (folder / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": name, "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", f"{tmp_path}:{JUPYTER_PATH}")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    manager, client = start_new_kernel(startup_timeout=SECONDS, kernel_name=name)
    try:
        found = Kernel(client)
        found.cell(BEGIN)
        yield found
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def test_what_a_node_prints_appears_below_the_cell_that_started_its_graph(kernel: Kernel) -> None:
    """Threads are used again: text of the second graph would stand below the first, or below whatever ran last."""
    first = kernel.cell("one = DAG(); one.submit_local(says, 'of_one'); one.compute(); ended(one)")
    second = kernel.cell("two = DAG(); two.submit_local(says, 'of_two'); two.compute(); ended(two)")
    kernel.wait_for("of_two")
    third = kernel.cell(
        "gate = threading.Event(); three = DAG(); held = three.submit_local(gate.wait);"
        "[three.submit_local(says, f'of_three_{n}', held) for n in range(3)]; three.compute()"
    )
    fourth = kernel.cell("gate.set(); ended(three); print('of_the_cell')")
    for number in range(3):
        kernel.wait_for(f"of_three_{number}")

    assert kernel.text_of(first) == ["of_one"]
    assert kernel.text_of(second) == ["of_two"]
    assert kernel.text_of(third) == ["of_three_0", "of_three_1", "of_three_2"]
    assert kernel.text_of(fourth) == ["of_the_cell"]


def test_what_a_callback_or_a_retry_prints_appears_below_the_cell_that_asked(kernel: Kernel) -> None:
    """Whoever retries in another cell looks there for what comes."""
    first = kernel.cell(
        "dag = DAG(); dag.submit_local(fails_once, 'tried'); dag.add_done_callback(lambda dag: print('ended'));"
        "dag.compute(); ended(dag)"
    )
    kernel.wait_for("ended")
    second = kernel.cell("dag.retry_all(); ended(dag)")
    while kernel.text_of(second) != ["ended", "tried"]:
        kernel._heard(kernel._client.get_iopub_msg(timeout=SECONDS))

    assert kernel.text_of(first) == ["ended", "tried"]
