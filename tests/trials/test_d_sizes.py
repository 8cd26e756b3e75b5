"""Trial D3: an argument of a gigabyte, wherever a node runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
for needed in ("uvicorn", "psutil"):
    pytest.importorskip(needed)

import tiledag_widget  # noqa: E402
from tests.server.running import embedded_server  # noqa: E402
from tests.trials.test_d_packing import place  # noqa: E402
from tiledag_widget import DAG, Status  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:Sending large graph"),  # dask says so, and goes on
    pytest.mark.leaks("worker processes last as long as the module"),
]

BYTES = 1 << 30
SECONDS = 240


def size_of(value: Any) -> int:
    return int(value["x"][1].nbytes)


size_of.__module__ = "__main__"  # goes by value


def passed_on(submit: Any, dag: DAG) -> None:
    """It works; or the node fails and says which argument it was, and the others go on."""
    node = submit(size_of, {"x": [0, np.ones(BYTES, dtype=np.uint8)]}, name="the large one")
    sibling = submit(int, 7, name="the small one")
    dag.compute()
    node.wait(SECONDS)

    assert sibling.result(SECONDS) == 7
    if node.status is Status.COMPLETED:
        assert node.result() == BYTES
    else:
        assert "the large one" in str(node.error), node.error
        assert "args[0]" in str(node.error), node.error


@pytest.mark.parametrize("name", ["threads", "processes", "process pool", "dask"])
def test_d3_an_argument_of_a_gigabyte_arrives_or_is_named(name: str) -> None:
    """`MemoryError`, or a process that is gone, does not say which of thirty nodes it was."""
    with place("threads" if name == "threads" else name) as executor:
        dag = DAG(executor=None if name == "threads" else executor, max_workers=2)
        passed_on(dag.submit_local, dag)


def test_d3_a_gigabyte_for_the_server_arrives_or_is_named(tmp_path: Path) -> None:
    """The server takes requests up to a limit, and its workers have 2 GiB."""
    with embedded_server(tmp_path, TILEDAG_SERVER="embedded"):
        dag = DAG(max_workers=2)
        passed_on(dag.submit, dag)
        tiledag_widget.shutdown()
