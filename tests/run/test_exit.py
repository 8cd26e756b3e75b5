"""A script that ends while its graph runs: nothing more starts, what runs finishes, callbacks are called."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from tiledag_widget import DAG

dag = {dag}
nodes = [dag.submit_local(time.sleep, 0.4) for _ in range(4)]
for node in nodes:
    node.add_done_callback(lambda node: print(node.status, flush=True))
dag.add_done_callback(lambda dag: print("graph", dag.status, flush=True))
dag.compute()
while not nodes[0].running():
    time.sleep(0.005)
"""


def ends(tmp_path: Path, source: str) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(source))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    "dag",
    ["DAG(max_workers=1)", "DAG(use_processes=True, max_workers=1)", "DAG(executor=ThreadPoolExecutor(1))"],
)
def test_what_runs_finishes_and_the_rest_is_cancelled(tmp_path: Path, dag: str) -> None:
    """The last function would be killed half way, or nodes would start in a process that is going."""
    said = ends(tmp_path, SCRIPT.format(dag=dag))

    assert sorted(said) == ["Cancelled", "Cancelled", "Cancelled", "Completed", "graph Cancelled"]


def test_callbacks_of_a_graph_that_has_ended_are_still_called(tmp_path: Path) -> None:
    """A script's last line of report would be lost."""
    said = ends(
        tmp_path,
        """
        import time
        from tiledag_widget import DAG

        dag = DAG()
        node = dag.submit_local(len, "x")
        node.add_done_callback(lambda node: (time.sleep(0.2), print("late", flush=True)))
        dag.compute()
        while not dag.done():
            time.sleep(0.001)
        """,
    )

    assert said == ["late"]
