"""Bad input through our client on the embedded server: each is an error of its node that says why and what to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import embedded_server
from tiledag_widget import DAG, Status
from tiledag_widget.errors import NotPicklable, ServerError, ServerNeeded, ServerUnreachable

for needed in ("uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow
SECONDS = 60
ROOT = Path(__file__).resolve().parent.parent.parent
Make = Callable[[DAG], Any]


@pytest.fixture(scope="module", autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder and a home of its own, so that nobody's server or account is touched."""
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_server(folder):
        yield folder


def graph_with(make: Make) -> tuple[DAG, Any, Any, Any]:
    """A graph of the node that ``make`` adds, one below it, and three that have nothing to do with it; it has ended."""
    dag = DAG(name="bad input")
    bad = make(dag)
    below = dag.submit(lambda x: x, bad, name="below")
    there = dag.submit(lambda: [20], name="there")
    further = dag.submit(lambda x: x[0] + 1, there, name="further")
    here = dag.submit_local(lambda x: x + 1, further, name="here")
    dag.compute()
    with contextlib.suppress(Exception):
        dag.wait(SECONDS)
    assert dag.done()
    return dag, bad, below, here


def udf(function: Any, *args: Any, **kwargs: Any) -> Make:
    return lambda dag: dag.submit(function, *args, name="bad", **kwargs)


def array(*args: Any, **kwargs: Any) -> Make:
    return lambda dag: dag.submit_array_udf(*args, name="bad", **kwargs)


def sql(query: str, **kwargs: Any) -> Make:
    return lambda dag: dag.submit_sql(query, name="bad", **kwargs)


def a_frame() -> Any:
    import pandas

    return pandas.DataFrame({"x": [2**70]})


A_LOCK = threading.Lock()

BAD: dict[str, tuple[Make, type[Exception], str]] = {
    "an array that nobody registered": (
        array("tiledb://nobody/nothing", len),
        ServerError,
        r"unknown array 'tiledb://nobody/nothing'.*tiledag arrays add nobody/nothing PATH",
    ),
    "a sample that is not there": (
        array("tiledb://TileDB-Inc/quickstart_dense", len),
        ServerError,
        r"unknown array 'tiledb://TileDB-Inc/quickstart_dense'.*tiledag arrays add --samples",
    ),
    "a path without an array": (array("/nowhere/array", len), ServerError, "'/nowhere/array' cannot be opened"),
    "an array and its function in the wrong order": (
        array(len, "tiledb://nobody/nothing"),
        TypeError,
        r"the array comes first, then the function: submit_array_udf\('tiledb://nobody/nothing', ",
    ),
    "an unknown table": (
        sql("select * from `tiledb://nobody/nothing`"),
        ServerError,
        "unknown array 'tiledb://nobody/nothing'",
    ),
    "a query that does not parse": (
        sql("select *\nfrom where x = = 1"),
        ServerError,
        "cannot be parsed at line 2, column 6",
    ),
    "a parameter that no request carries": (
        sql("select ?, ?", parameters=[1, b"two"]),
        TypeError,
        r"Node 'bad': parameters\[1\]: .*, got bytes",
    ),
    "parameters that are one text": (sql("select ?", parameters="one"), TypeError, "parameters must be a list"),
    "commands that are one text": (
        sql("select @x", init_commands="set @x = 1"),
        TypeError,
        "init_commands must be a list",
    ),
    "two queries": (sql("select 1; select 2"), ServerError, "must be one statement, got 2"),
    "an unknown column": (sql("select nothing from (select 1 as x) t"), ServerError, '"nothing" not found'),
    "too few parameters": (sql("select ? + ?", parameters=[1]), ServerError, r"the query has 2 \? and 1 parameters"),
    "a function that holds a lock": (
        udf(lambda: A_LOCK),
        NotPicklable,
        r"Node 'bad': function.* cannot be sent to the server: _thread\.lock has no pickled form",
    ),
    "an argument that is a lock": (
        udf(len, {"db": [1, A_LOCK]}),
        NotPicklable,
        r"Node 'bad': args\[0\]\['db'\]\[1\] cannot be sent.*submit_local",
    ),
    "a result that is a lock": (
        udf(lambda: __import__("threading").Lock()),
        ServerError,
        r"Node 'bad': result cannot be sent back from the server: _thread\.lock has no pickled form",
    ),
    "a lock inside a native result": (
        udf(lambda: {"db": [1, __import__("threading").Lock()]}, result_format="native"),
        ServerError,
        r"Node 'bad': result\['db'\]\[1\] cannot be sent back from the server: _thread\.lock has no pickled form",
    ),
    "a number too large for Arrow": (
        udf(a_frame, result_format="arrow"),
        ServerError,
        "Node 'bad': the result cannot be written as arrow: .*too (large|big).*result_format='native'",
    ),
    "a result of another kind than its format": (
        udf(lambda: b"x", result_format="json"),
        ServerError,
        "Node 'bad': the result cannot be written as json.*result_format='native'",
    ),
    "an unknown format": (
        udf(len, [], result_format="nonsense"),
        ValueError,
        "ResultFormat must be one of native, .*'nonsense'",
    ),
    "an unknown registered function": (udf("nobody/nothing"), ServerError, "no registered UDF nobody/nothing"),
    "an unknown resource class": (
        udf(len, [], resource_class="huge"),
        ServerError,
        "'huge', expected one of: standard, large",
    ),
    "a time limit below zero": (udf(len, [], timeout=-1), ServerError, "timeout is -1"),
}


@pytest.mark.filterwarnings("ignore:Node 'bad' asks the server")  # for a class that it does not have; it is said once
@pytest.mark.parametrize("what", BAD)
def test_bad_input_fails_its_node_with_the_reason_and_the_rest_goes_on(what: str) -> None:
    """A person has to find the node and the way out, and must not lose the other branches."""
    make, kind, words = BAD[what]

    dag, bad, below, here = graph_with(make)

    assert isinstance(bad.error, kind), bad.error
    with pytest.raises(kind, match=f"(?s){words}"):
        bad.result()
    assert (bad.status, below.status, here.status) == (Status.FAILED, Status.PARENT_FAILED, Status.COMPLETED)
    assert here.result() == 22
    assert dag.status is Status.FAILED


def test_a_wrong_token_is_said_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs here goes on; the token is nobody's business, also when it is wrong."""
    from tiledag_widget.server import launch

    monkeypatch.setenv("TILEDB_REST_HOST", launch.ensure(hold=False).url)
    monkeypatch.setenv("TILEDB_REST_TOKEN", "a-wrong-token")
    dag = DAG(name="wrong token")
    bad = dag.submit(lambda: 1, name="bad")
    below = dag.submit(lambda x: x, bad)
    here = dag.submit_local(lambda: 1)

    dag.compute()

    with pytest.raises(ServerError, match=r"(?i)token.*TILEDB_REST_TOKEN") as caught:
        dag.wait(SECONDS)
    assert caught.value.http_status in (401, 403)
    assert "a-wrong-token" not in f"{caught.value!s} {caught.value!r}"
    assert (bad.status, below.status, here.result()) == (Status.FAILED, Status.PARENT_FAILED, 1)


def test_a_host_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was moved, or a typing error."""
    from tiledag_widget.server import launch

    url = launch.ensure(hold=False).url
    monkeypatch.setenv("TILEDB_REST_HOST", url.rpartition(":")[0] + ":9")
    monkeypatch.setenv("TILEDB_REST_TOKEN", "any")
    began = time.monotonic()
    dag = DAG(name="nobody there")
    bad = dag.submit(lambda: 1, name="bad")
    here = dag.submit_local(lambda: 1)

    dag.compute()

    with pytest.raises(ServerUnreachable, match=":9"):
        bad.result(SECONDS)
    assert here.result(SECONDS) == 1
    assert time.monotonic() - began < 30


WITHOUT_THE_EXTRA = """
import importlib.abc, sys
HIDDEN = {"starlette", "uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "dask", "distributed"}

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.partition(".")[0] in HIDDEN else find(name, *rest)

from tiledag_widget import DAG
dag = DAG()
bad = dag.submit(lambda: 1, name="there")
below = dag.submit(lambda x: x, bad)
query = dag.submit_sql("select 1")
here = dag.submit_local(lambda: 41)
last = dag.submit_local(lambda x: x + 1, here)
dag.compute()
try:
    dag.wait(30)
except Exception as error:
    print(type(error).__name__, error)
print(bad.status, "|", below.status, "|", query.status, "|", last.result())
"""


def test_without_the_extra_and_a_host_the_error_names_both_ways_out(tmp_path: Path) -> None:
    """As after `pip install tiledag-widget`, in a process that has none of the server's packages."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TILEDB_REST_", "TILEDAG_"))}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_EXTRA],
        env={**kept, "HOME": str(tmp_path), "TILEDAG_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    said, statuses = done.stdout.strip().splitlines()
    assert said.startswith(ServerNeeded.__name__)
    assert "pip install 'tiledag-widget[server]'" in said
    assert "TILEDB_REST_HOST" in said
    assert statuses == "Failed | Parent Failed | Failed | 42"
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("connection.json"))


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is read-only, or a path that leads into a file; and the command says the same."""
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data"
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(place))
    dag = DAG(name="no folder")
    bad = dag.submit(lambda: 1)
    here = dag.submit_local(lambda: 2)

    dag.compute()
    command = [sys.executable, "-m", "tiledag_widget.cli", "serve"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT)

    with pytest.raises(ServerUnreachable, match=f"{place}.*TILEDAG_DATA_DIR"):
        bad.result(SECONDS)
    assert here.result() == 2
    assert (said.returncode, said.stdout) == (2, "")
    assert str(place) in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can make a file system for a test")
def test_a_full_disk_fails_what_needs_it_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """The graph ends with the reason, and when there is room again a retry of the same graph completes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        with embedded_server(disk):
            with DAG(name="before") as before:
                kept = before.submit(lambda: ["kept"], name="kept")
                before.submit(len, kept)
            filler = disk / "filler"

            _, bad, below, here = graph_with(udf(lambda: b"x" * (16 << 20), result_format="bytes"))
            with contextlib.suppress(OSError):
                filler.write_bytes(b"x" * (16 << 20))
            full = DAG(name="while it is full")
            node = full.submit(lambda: 7, name="seven")
            local = full.submit_local(lambda: 1)
            full.compute()
            with pytest.raises(ServerError, match="(?i)full|space"):
                full.wait(SECONDS)
            filler.unlink()
            full.retry_all()
            full.wait(SECONDS)

            assert isinstance(bad.error, ServerError)
            assert "No space left" in str(bad.error)
            assert (below.status, here.result()) == (Status.PARENT_FAILED, 22)
            assert (node.result(), local.result()) == (7, 1)
            assert kept.result() == ["kept"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
