"""What an import costs: ``python -m benchmarks.imports [--turns 10]``.

Each is imported by a fresh interpreter, in turns, beside one that imports nothing; the table shows the median
processor time over that of the bare one, and how many modules came along. ``tiledb.cloud.dag`` takes part if
``.venvs/bench`` (``make bench`` makes it) has it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARE = "nothing"
CODE = {
    BARE: "pass",
    "tiledag_widget": "from tiledag_widget import DAG, Node, Mode, Status",
    "networkx": "import networkx",
    "requests": "import requests",
    "dask.threaded": "import dask.threaded",
    "tiledb.cloud.dag": "import tiledb.cloud.dag",
}


def python_of(name: str) -> str:
    rival = ROOT / ".venvs/bench/bin/python"
    return str(rival) if name == "tiledb.cloud.dag" else sys.executable


def cost(name: str) -> tuple[float, int]:
    """Seconds of the processor, and modules."""
    before = os.times()
    code = f"{CODE[name]}; import sys; print(len(sys.modules))"
    done = subprocess.run([python_of(name), "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent, int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=10)
    turns = parser.parse_args().turns
    spent: dict[str, list[float]] = {}
    modules: dict[str, int] = {}
    for turn in range(turns + 1):  # the first writes bytecode
        for name in CODE:
            try:
                seconds, modules[name] = cost(name)
            except (OSError, subprocess.CalledProcessError):
                continue
            if turn:
                spent.setdefault(name, []).append(seconds)
    bare = statistics.median(spent[BARE])
    print(f"{'import':18} {'ms':>6} {'modules':>8}")
    for name, all_of_it in spent.items():
        print(f"{name:18} {1000 * (statistics.median(all_of_it) - bare):6.0f} {modules[name] - modules[BARE]:8}")


if __name__ == "__main__":
    main()
