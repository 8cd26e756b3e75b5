"""TileDB's own client, unmodified, against our server.

It lives in an environment of its own: named by TILEDAG_OFFICIAL_PYTHON, in `.venvs/bench` of the tree, or the one that
runs the tests. Where there is none, these tests say so and are skipped.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import ROOT, environment, running_server

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("official_script.py")


@functools.cache
def official_python() -> str | None:
    """An interpreter that has the client and speaks the server's bytecode; one that is named must."""
    named = os.environ.get("TILEDAG_OFFICIAL_PYTHON")
    places = [named] if named else [str(ROOT / ".venvs" / "bench" / "bin" / "python"), sys.executable]
    check = f"import sys, tiledb.cloud; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    for place in places:
        if Path(place).exists():
            found = subprocess.run([place, "-W", "ignore", "-c", check], capture_output=True, check=False)
            if found.returncode == 0:
                return place
    if named:
        pytest.fail(f"TILEDAG_OFFICIAL_PYTHON: {named} has no TileDB client, or is another Python", pytrace=False)
    return None


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the client saw, one entry for each thing it did."""
    python = official_python()
    if python is None:
        pytest.skip(
            "TILEDB'S CLIENT IS NOT HERE, SO NOTHING IS KNOWN OF IT: pip install tiledb-cloud==0.14.4 into an "
            f"environment with Python {sys.version_info[0]}.{sys.version_info[1]}, named by TILEDAG_OFFICIAL_PYTHON"
        )
    folder = tmp_path_factory.mktemp("official")
    with running_server(folder / "data", "--samples", "--workers", "4") as server:
        env = environment()
        del env["PYTHONPATH"]
        env.update(HOME=str(folder), TILEDB_REST_HOST=server.url, TILEDB_REST_TOKEN=server.token)
        done = subprocess.run([python, str(SCRIPT)], capture_output=True, text=True, env=env, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


SHOWN = "called with ('called with (1,) {}',) {'named': \"called with () {'param': 'two'}\"}"

EXPECTED: dict[str, Any] = {
    "by value": 55,
    "kwargs": [1, {"t": [1]}],
    "last task": "named",
    "by name": "called with (1,) {'easy_as': 'abc'}",
    "by reference": SHOWN,
    "by hand": SHOWN,
    "formats": ["dict", "dict", "dict"],
    "dense": [[1, 3, 4], [5, 7, 8]],
    "sparse": [6, "kw"],
    "multi": [[[1, 2]], [1, 3, 2], 3],
    "sql": 5,
    "sql init": 1,
    "sql json": [{"m": 1600, "p": "x"}],
    "sql forms": [["DataFrame", 7]] * 4,
    "graph": [[[0, 1, 2, 3, 4], 136], 272],
    "log": ["succeeded", [[name, "COMPLETED"] for name in ("cells", "here", "last", "one", "rows")]],
    "listed": "mixed",
    "statuses": ["Completed", "Failed", "Parent Failed"],
    "second graph": 5,
    "tasks": 5,
    "built": [8, [{"x": 5}]],
    "registered": ["dict", "ApiException"],
    "sql types": [{"n": 1000000, "s": "one", "u": 77, "x": 400}],
    "sql case": [{"same": 1}],
    "sql set in a select": [{"b": 17}],
    "sql pairs": [{"s": 3}],
    "sql arrow": {"rows": [4], "cols": [4], "a": [16]},
    "sql no rows": [0, []],
    "sql stored": ["kept query", "SQL", {"s": [6]}],
    "sql output": [{"s": 272}],
    "sql cursor": [4, {"rows": 4, "cols": 1, "a": 13}, ["rows", "cols", "a"]],
    "versions": ["second", "first", "second", "TileDBCloudError:"],
    "info": [True, "words", "python"],
    "shared": ["you"],
    "unshared": [],
    "copy": "second",
    "deleted": "TileDBCloudError:",
    "registered graph": [True, None, "you"],
    "token": [True, ["mine"]],
    "revoked": ["ApiException", [], ["*"]],
    "organizations": [[], "TileDBCloudError:"],
    "arrays": [6, 1, ["made", "mine"], ["quickstart_dense", "quickstart_sparse"]],
    "opened array": [True, [1, 3, 2], [3, 2]],
    "shared arrays": None,
    "failed tasks": ["FAILED"],
    "bogus": "TileDBCloudError",
    "executor": [[68, 3, 6], [4, 1]],
    "executor query": {"s": [12]},
    "executor retry": ["ParentFailedError", "got 100", "SUCCEEDED"],
    "executor timeout": [True, "FAILED"],
    "delayed": [200, 6, 136],
    "newer delayed": "['a', []]",
    "newer delayed failed": ["FAILED", "PARENT_FAILED"],
    "nested": ["{'k': [{1, 2}, ({1, 2}, 1)], 2: {1, 2}}", [1, 2]],
    "cancelled": ["Cancelled", "cancelled"],
}


@pytest.mark.parametrize("what", EXPECTED)
def test_the_official_client_sees_what_it_would_see_there(seen: dict[str, Any], what: str) -> None:
    """Code that works with TileDB Cloud works with this server."""
    assert seen.get(what, seen) == EXPECTED[what]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("failure", 'TileDBCloudError: TypeError: can only concatenate list (not "int") to list'),
        ("timeout", "TileDBCloudError: It took longer than its timeout of 1 s"),
        ("sql bad", "TileDBCloudError: ValueError: the SQL cannot be parsed at line 1, column 11"),
        ("wait", "TileDBCloudError: ValueError: not yet"),
    ],
)
def test_the_official_client_shows_our_errors(seen: dict[str, Any], what: str, words: str) -> None:
    """Upstream's own tests look for the text of the exception in the error."""
    assert words in seen[what]
