"""Importing the package and building a graph cost little and start nothing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

import pytest

LATE = set("anywidget cloudpickle dask ipywidgets loky matplotlib networkx numpy pandas plotly psutil requests".split())

BUILD = """
import json, socket, sys, threading
opened = []
class Watched(socket.socket):
    def __init__(self, *args, **kwargs):
        opened.append(repr(args))
        super().__init__(*args, **kwargs)
socket.socket = Watched
import tiledag_widget
from tiledag_widget import DAG, Mode, Node, Status
graph = DAG(mode=Mode.LOCAL)
first = graph.submit(lambda: 1, name="first")
second = graph.submit(lambda x: x + 1, first, name="second")
second.depends_on(first)
print(json.dumps({
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "threads": [thread.name for thread in threading.enumerate()],
    "sockets": opened,
}))
"""


def fresh(code: str) -> str:
    """What a new interpreter prints; it runs none of pytest's or coverage's imports."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_and_building_a_graph_start_nothing() -> None:
    """A script that only builds a graph keeps no thread, opens no socket and loads no plotting library."""
    seen = json.loads(fresh(BUILD))

    assert seen["threads"] == ["MainThread"]
    assert seen["sockets"] == []
    assert not LATE & set(seen["modules"])


@pytest.mark.slow
def test_import_costs_at_most_150_ms_more_than_a_bare_interpreter() -> None:
    """Whoever types `import tiledag_widget` at a prompt does not notice it.

    Processor time: an import waits for nothing, and other tests that run at the same moment would count otherwise.
    """

    def median_of_10(code: str) -> float:
        times = []
        for _ in range(10):
            before = os.times()
            fresh(code)
            after = os.times()
            times.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return statistics.median(times)

    assert median_of_10("from tiledag_widget import DAG, Node, Mode, Status") - median_of_10("pass") < 0.150
