"""Where the text that nodes print appears in a notebook: real kernels of every ipykernel that is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupyter_client")

from tests.kernels import KERNELS, Kernel, running_kernel

pytestmark = [pytest.mark.slow, pytest.mark.leaks("libzmq keeps its own threads and sockets for the process")]

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


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kernel]:
    with running_kernel(str(request.param), tmp_path) as found:
        found.cell(BEGIN)
        yield found


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

    assert kernel.lines_of(first) == ["of_one"]
    assert kernel.lines_of(second) == ["of_two"]
    assert kernel.lines_of(third) == ["of_three_0", "of_three_1", "of_three_2"]
    assert kernel.lines_of(fourth) == ["of_the_cell"]


def test_what_a_callback_or_a_retry_prints_appears_below_the_cell_that_asked(kernel: Kernel) -> None:
    """Whoever retries in another cell looks there for what comes."""
    first = kernel.cell(
        "dag = DAG(); dag.submit_local(fails_once, 'tried'); dag.add_done_callback(lambda dag: print('ended'));"
        "dag.compute(); ended(dag)"
    )
    kernel.wait_for("ended")
    second = kernel.cell("dag.retry_all(); ended(dag)")
    kernel.wait_for("tried", second)
    kernel.wait_for("ended", second)

    assert kernel.lines_of(first) == ["ended", "tried"]
