"""Importing the package and building a graph cost little and start nothing."""

from __future__ import annotations

import json
import subprocess
import sys

LATE = set("anywidget cloudpickle dask ipywidgets loky matplotlib networkx numpy pandas plotly psutil requests".split())

MOST_MODULES = 150
"""About 110, of which 80 are of the standard library; networkx alone would bring over 400."""

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


def test_importing_brings_few_modules_along() -> None:
    """Whoever types `import tiledag_widget` at a prompt does not notice it; `python -m benchmarks imports` says why."""
    count = "import sys; print(len(sys.modules))"

    more = int(fresh(f"from tiledag_widget import DAG, Node, Mode, Status; {count}")) - int(fresh(count))

    assert more <= MOST_MODULES
