"""TileDB's own client, unmodified, runs batch graphs on our server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_official_client import official_python
from tests.server.running import environment, running_server

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("official_batch_script.py")


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw, one entry for each graph."""
    python = official_python()
    if python is None:
        pytest.skip("TILEDB'S CLIENT IS NOT HERE, SO NOTHING IS KNOWN OF ITS BATCH GRAPHS")
    folder = tmp_path_factory.mktemp("official")
    with running_server(folder / "data", "--workers", "4") as server:
        env = environment()
        del env["PYTHONPATH"]
        env.update(HOME=str(folder), TILEDB_REST_HOST=server.url, TILEDB_REST_TOKEN=server.token)
        done = subprocess.run(
            [python, "-W", "ignore", str(SCRIPT), str(folder)],
            capture_output=True,
            text=True,
            env=env,
            timeout=250,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


EXPECTED: dict[str, Any] = {
    "simple": ["Completed", 1, [2, {"deep": [1]}]],
    "simple log": ["succeeded", "batch", [["one", "COMPLETED"], ["two", "COMPLETED"]]],
    "listed": [["simple", "batch"]],
    "failing": [
        "ZeroDivisionError: division by zero",
        "ZeroDivisionError: division by zero",
        "fine",
        "Failed",
    ],
    "failing below": "Not Started",
    "unsendable": "TypeError: Node 'locked': result cannot be sent back from the server: _thread.lock has no pickled "
    "form. Make it in the node that uses it.",
    "dynamic": [[[1, "seen"], [2, "seen"], [[3, 4], "seen"]], [1, 2, [3, 4]], [1, 2, [3, 4]], []],
    "retried": ["in the end", ["FAILED", "FAILED", "COMPLETED"]],
    "deadline": ["ApiException: (404)\nR", "Failed"],
    "node deadline": ["ApiException: (404)\nR", "Failed"],
    "by hand failed": "ValueError: not yet",
    "by hand": ["IN THE END", 5, {"first": "Completed", "chance": "Completed", "after": "Completed"}],
    "cancelled": [None, "Cancelled", "cancelled"],
    "connected": [1, 2],
}


@pytest.mark.parametrize("what", EXPECTED)
def test_the_official_client_runs_batch_graphs(seen: dict[str, Any], what: str) -> None:
    """Graphs written for TileDB Cloud run on this server, with the same results and ends."""
    assert seen.get(what, seen) == EXPECTED[what]
