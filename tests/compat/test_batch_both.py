"""The same BATCH graphs by our client and by TileDB's own, unmodified, on our server: the same results and statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_official_client import official_python
from tests.server.running import environment, running_server

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("batch_graphs.py")
COMPLETED, FAILED, BLOCKED = "Completed", "Failed", "Parent Failed"


def run(who: str, python: str, folder: Path, server: Any) -> dict[str, Any]:
    (folder / who).mkdir()
    env = {**environment(), "HOME": str(folder), "TILEDB_REST_HOST": server.url, "TILEDB_REST_TOKEN": server.token}
    if who == "official":
        del env["PYTHONPATH"]
    done = subprocess.run(
        [python, str(SCRIPT), who, str(folder / who)], capture_output=True, text=True, env=env, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("both")
    with running_server(folder / "data", "--workers", "4") as one:
        yield one, folder


@pytest.fixture(scope="module")
def ours(server: Any) -> dict[str, Any]:
    """What our client saw."""
    return run("ours", sys.executable, server[1], server[0])


@pytest.fixture(scope="module")
def official(server: Any) -> dict[str, Any]:
    """What TileDB's client saw."""
    python = official_python()
    if python is None:
        pytest.skip("TILEDB'S CLIENT IS NOT HERE; see test_official_client")
    return run("official", python, server[1], server[0])


EXPECTED: dict[str, Any] = {
    "simple": [
        {"numbers": COMPLETED, "total": COMPLETED, "both": COMPLETED, "builtins.len": COMPLETED},
        10,
        [[[0, 1, 2, 3, 4], 10], {"k": 10}],
        "builtins.len",
        5,
        COMPLETED,
    ],
    "ends": {"both": [[[0, 1, 2, 3, 4], 10], {"k": 10}], "builtins.len": 5},
    "stats": {
        "percent_complete": 100,
        "running": 0,
        "failed": 0,
        "completed": 4,
        "cancelled": 0,
        "not_started": 0,
        "total_count": 4,
    },
    "replacing": [
        [1, {"a": None}],
        [{"k": [1, 2]}, {"deep": [[3, "x"], 4]}],
        {"n": [3, "x"], "__tdbudf__": "mine"},
    ],
    "dynamic": [
        [["jan", 3], ["feb", 3], ["mar", 3]],
        ["jan3", "feb3", "mar3"],
        "jan3-feb3-mar3",
        [],
        dict.fromkeys(["months", "lengths", "texts", "joined", "nothing", "never"], COMPLETED),
    ],
    "failing wait": "LookupError: no 1 here",
    "failing": [{"fine": COMPLETED, "bad": FAILED, "below": BLOCKED}, FAILED, "LookupError: no 1 here", 1],
    "retried wait": "ValueError: try 1",
    "retried": [
        {"by the graph's": COMPLETED, "by its own": COMPLETED, "by none": FAILED},
        3,
        2,
        "ValueError: try 1",
    ],
    "by hand before": "ValueError: try 1",
    "by hand": [{"kept": COMPLETED, "bad": COMPLETED, "below": COMPLETED}, COMPLETED, 1, 3],
    "late wait": True,
    "late": [FAILED, FAILED, True],
    "cancelled wait": None,
    "cancelled": "Cancelled",
    "cancelled there": ["cancelled", ["slow", "never"]],
}


OFFICIAL: dict[str, Any] = {
    **EXPECTED,
    # It knows no blocked nodes in BATCH graphs: what will not run looks to it as if it waited.
    "failing": [{"fine": COMPLETED, "bad": FAILED, "below": "Not Started"}, *EXPECTED["failing"][1:]],
}


@pytest.mark.parametrize("what", EXPECTED)
def test_our_client_sees_what_the_graph_does(ours: dict[str, Any], what: str) -> None:
    """A BATCH graph would end otherwise than it says."""
    assert ours.get(what, ours) == EXPECTED[what]


@pytest.mark.parametrize("what", OFFICIAL)
def test_the_official_client_sees_the_same(official: dict[str, Any], what: str) -> None:
    """A notebook that was written for TileDB Cloud would not do here what it does there."""
    assert official.get(what, official) == OFFICIAL[what]
