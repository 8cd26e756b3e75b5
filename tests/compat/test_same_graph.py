"""One graph with both clients on one embedded server: the same results, names, statuses and records."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_official_client import official_python
from tests.server.running import environment, running_server

for needed in ("uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("graph_of_both.py")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the graph came to: with TileDB's client, and with ours."""
    official = official_python()
    if official is None:
        pytest.skip("TILEDB'S CLIENT IS NOT HERE, SO NOTHING IS COMPARED; see test_official_client")
    folder = tmp_path_factory.mktemp("both")
    found: list[dict[str, Any]] = []
    with running_server(folder / "data", "--samples", "--workers", "2") as server:
        for python, module in ((official, "tiledb.cloud.dag"), (sys.executable, "tiledag_widget.dag")):
            env = environment()
            if python == official:
                del env["PYTHONPATH"]
            env.update(HOME=str(folder), TILEDB_REST_HOST=server.url, TILEDB_REST_TOKEN=server.token)
            done = subprocess.run(
                [python, "-W", "ignore", str(SCRIPT), module],
                capture_output=True,
                text=True,
                env=env,
                timeout=200,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            found.append(json.loads(done.stdout.splitlines()[-1]))
    return found[0], found[1]


def test_results_and_statuses_of_nodes_are_the_same(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Code that was written for TileDB Cloud must come to what it came to."""
    theirs, ours = both

    assert ours["nodes"] == theirs["nodes"]
    assert ours["nodes"]["joined"] == ["Completed", [["rows", "s"], 172]]
    assert [ours["nodes"][name][0] for name in ("bad", "below", "local below")] == [
        "Failed",
        "Parent Failed",
        "Parent Failed",
    ]


def test_names_are_made_alike(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Nodes are looked up by them."""
    theirs, ours = both

    assert ours["names"] == theirs["names"]
    assert ours["ends"] == theirs["ends"]


def test_the_graph_ends_alike_and_counts_alike(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """What scripts ask after a run."""
    theirs, ours = both

    assert ours["status"] == theirs["status"] == "Failed"
    assert ours["stats"] == theirs["stats"]


def test_the_record_has_the_same_nodes_edges_and_statuses(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """A colleague looks at the record, whichever client made it."""
    theirs, ours = both

    assert ours["log"] == theirs["log"]
    assert ours["recorded"] == theirs["recorded"]
    assert ours["edges"] == theirs["edges"]
