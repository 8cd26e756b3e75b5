"""Our client on the embedded server, as a notebook uses both: nothing recorded, nothing faked."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import embedded_server, running_server, wait_until
from tiledag_widget import DAG, ParentFailedError, Status, StoppedError, list_logs, server_logs
from tiledag_widget.errors import ServerError, ServerUnreachable
from tiledag_widget.server_node import ServerNode
from tiledag_widget.wire import client as wire_client

for needed in ("uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder and a home of its own, so that nobody's server or account is touched."""
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_server(folder):  # nothing is configured: that is the embedded server
        yield folder


def is_running_there(dag: DAG) -> bool:
    if dag.server_graph_uuid is None:
        return False
    log = server_logs(dag)
    return log is not None and any(one.status == "RUNNING" for one in log.nodes or ())


def test_a_mixed_graph_runs_and_its_record_tells_the_same() -> None:
    """Results, statuses and the log of one run must agree."""
    dag = DAG(name="mixed")
    rows = dag.submit(lambda: list(range(1000)), name="rows")
    total = dag.submit(sum, rows, name="total")
    here = dag.submit_local(lambda x: x + 1, total, name="here")
    bad = dag.submit(lambda: 1 / 0, name="bad")
    below = dag.submit(lambda x: x, bad, name="below")

    dag.compute()
    with pytest.raises(ServerError, match="division by zero") as caught:
        dag.wait(SECONDS)

    assert here.result() == 499501
    assert rows.result() == list(range(1000))
    assert caught.value.type_name.endswith("ZeroDivisionError")
    assert "1 / 0" in caught.value.traceback_text
    assert isinstance(below.error, ParentFailedError)
    log = server_logs(dag)
    assert log is not None
    assert (log.name, log.status) == ("mixed", "failed")
    statuses = {one.name: one.status for one in log.nodes or ()}
    assert [statuses[name] for name in ("rows", "total", "here")] == ["COMPLETED"] * 3
    assert (statuses["bad"], statuses["below"]) == ("FAILED", "QUEUED")
    assert rows.task_id() is not None
    assert "mixed" in [one.name for one in list_logs(search="mixed").task_graph_logs or ()]


def test_a_retry_runs_the_node_anew_on_the_record_of_the_first_run(embedded: Path) -> None:
    """The reply of the failed attempt must not be given again."""
    flag = str(embedded / "flag")

    def once_bad() -> str:
        import pathlib

        if not pathlib.Path(flag).exists():
            pathlib.Path(flag).touch()
            raise ValueError("not yet")
        return "now"

    dag = DAG(name="retried")
    node = dag.submit(once_bad)
    dag.compute()
    with pytest.raises(ServerError, match="not yet"):
        dag.wait(SECONDS)

    node.retry()
    dag.wait(SECONDS)

    assert node.result() == "now"
    log = server_logs(dag)
    assert log is not None
    assert log.status == "succeeded"
    assert [one.status for one in (log.nodes or ())[0].executions or ()] == ["FAILED", "COMPLETED"]


@pytest.mark.leaks("TileDB's thread pool lasts as long as the process")
def test_arrays_and_queries_run_and_feed_functions(embedded: Path) -> None:
    """The three kinds of server nodes in one graph."""
    import numpy
    import tiledb

    path = str(embedded / "array")
    tiledb.from_numpy(path, numpy.arange(16).reshape(4, 4)).close()
    dag = DAG(name="arrays")
    cells = dag.submit_array_udf(
        path, lambda data, factor: int(next(iter(data.values())).sum() * factor), [(0, 1), (0, 1)], attrs=[""], factor=2
    )
    frame = dag.submit_sql("select ? + 1 as x", parameters=[cells])
    size = dag.submit(lambda f, c: [type(f).__name__, int(f["x"][0]), c], frame, cells)
    raw = dag.submit_sql("select 1 as b, 2 as a", result_format="json", raw_results=True)
    broken = dag.submit_sql("selec 1 from")

    dag.compute()
    with pytest.raises(ServerError, match="line 1"):
        dag.wait(SECONDS)

    assert cells.result() == 20
    assert size.result() == ["DataFrame", 21, 20]
    assert raw.result() == [{"a": 2, "b": 1}]
    assert broken.status is Status.FAILED


def test_rows_are_the_same_frame_in_every_format() -> None:
    """A format that a server can write and nobody read would lose the result of a query that has run."""
    from pandas.testing import assert_frame_equal

    query = "select 1 as a, 'x' as b, cast('2020-03-04 05:06:07' as datetime) as c, 0.5 as d, null as e"
    dag = DAG(name="formats")
    plain = dag.submit_sql(query)
    others = [dag.submit_sql(query, result_format=one) for one in ("tiledb_json", "python_pickle", "native")]
    raw = dag.submit_sql(query, result_format="native", raw_results=True)
    none = dag.submit_sql("select 1 as a from (select 1) t where 1 = 0", result_format="native")
    by_reference = [dag.submit(lambda frame: list(frame.columns), one) for one in others]

    dag.compute()
    dag.wait(SECONDS)

    for one in (*others, raw):
        assert_frame_equal(one.result(), plain.result())
    assert list(none.result().columns) == ["a"]
    assert [one.result() for one in by_reference] == [list("abcde")] * 3


def test_a_running_function_can_be_stopped() -> None:
    """A wrong query would run to its time limit."""
    dag = DAG()
    node = dag.submit(lambda: __import__("time").sleep(600))
    dag.compute()
    wait_until(lambda: is_running_there(dag))

    assert node.stop()
    dag.wait(SECONDS)

    assert isinstance(node.error, StoppedError)
    assert node.status is Status.CANCELLED


def test_what_a_function_prints_can_be_read_while_it_runs(embedded: Path) -> None:
    """A person would wait for the end to see that it went wrong at the begin."""
    flag = str(embedded / "may-end")

    def talk() -> int:
        import pathlib
        import time

        print("half way", flush=True)  # noqa: T201  # that is what the test is about
        while not pathlib.Path(flag).exists():
            time.sleep(0.02)
        return 1

    dag = DAG()
    node = dag.submit(talk)
    assert isinstance(node, ServerNode)
    dag.compute()
    wait_until(lambda: "half way" in node.output())
    assert node.running()

    Path(flag).touch()

    assert node.result(SECONDS) == 1
    assert node.output() == "half way\n"


def test_a_million_rows_between_two_server_nodes_are_not_downloaded_and_then_once() -> None:
    """They would cross the wire twice for nothing."""
    received: list[tuple[str, int]] = []
    client = wire_client.current()
    call = client.call

    def counted(method: str, path: str, **options: Any) -> Any:
        reply = call(method, path, **options)
        received.append((path, len(reply.content)))
        return reply

    def rows() -> Any:
        import pandas

        return pandas.DataFrame({"x": range(1_000_000)})

    client.call = counted  # type: ignore[method-assign]
    try:
        dag = DAG(name="a million rows")
        table = dag.submit(rows, name="rows", result_format="native")
        total = dag.submit(lambda frame: int(frame.x.sum()), table, name="total")
        dag.compute()
        assert total.result(SECONDS) == 499_999_500_000
        dag.wait(SECONDS)
        before = sum(size for _, size in received)

        values = [table.result(SECONDS), table.result(SECONDS)]
    finally:
        del client.call

    assert before < 10_000
    assert values[0] is values[1]
    assert len(values[0]) == 1_000_000
    downloads = [size for path, size in received if path.endswith("/result")]
    assert len(downloads) == 1
    assert downloads[0] >= 8_000_000


def test_the_list_of_runs_is_narrowed_by_each_of_its_arguments_and_by_all(embedded: Path) -> None:
    """Whoever looks for one run of thousands."""
    mark = f"narrow {time.time_ns()}"
    moments = [datetime.now(timezone.utc)]
    for name in ("100%", "100_", "Last"):
        with DAG(name=f"{mark} {name}") as dag:
            dag.submit(int) if name != "Last" else dag.submit_local(int)
        moments.append(datetime.now(timezone.utc))
    user = (list_logs(search=mark).task_graph_logs or ())[0].created_by

    def found(**asked: Any) -> list[str]:
        logs = list_logs(**{"search": mark, **asked}).task_graph_logs or ()
        return [str(log.name)[len(mark) + 1 :] for log in logs]

    assert found() == ["Last", "100_", "100%"]
    assert found(search=f"{mark.upper()} 100%") == ["100%"]
    assert found(search=f"{mark} 100_") == ["100_"]  # no pattern: what it says
    assert found(created_by=user, namespace=user) == ["Last", "100_", "100%"]
    assert (found(created_by="nobody"), found(namespace="nobody")) == ([], [])
    assert found(start_time=moments[1]) == ["Last", "100_"]
    assert found(end_time=moments[1]) == ["100%"]
    assert found(start_time=moments[1], end_time=moments[2]) == ["100_"]
    assert found(start_time=moments[2], end_time=moments[1]) == []
    assert [found(page=page, per_page=2) for page in (1, 2, 3)] == [["Last", "100_"], ["100%"], []]
    paged = list_logs(None, user, mark, moments[0], moments[-1], 2, 2).pagination_metadata
    assert paged is not None
    assert (paged.page, paged.per_page, paged.total_pages, paged.total_items) == (2, 2, 2, 3)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"page": 0}, "page is a whole number from 1"),
        ({"page": -1}, "page is a whole number from 1"),
        ({"page": "x"}, "got 'x'"),
        ({"per_page": 1001}, "from 1 to 1000"),
        ({"start_time": "yesterday"}, "start_time must be a time as in ISO 8601, got 'yesterday'"),
    ],
)
def test_a_list_that_cannot_be_is_refused_with_what_was_given(asked: dict[str, Any], words: str) -> None:
    """An empty list would look like runs that are lost."""
    with pytest.raises(ServerError, match=words):
        list_logs(**asked)


def test_a_run_that_is_not_on_record_is_named() -> None:
    """Whoever has the id of a run that was forgotten."""
    what = "11111111-1111-4111-8111-111111111111"

    with pytest.raises(ServerError, match=f"There is no log {what}"):
        server_logs(what)


def test_a_function_that_takes_too_much_memory_fails_its_node_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a limit the machine would end what it likes, the kernel of the user first."""

    def holds(mebibytes: int, seconds: float) -> int:
        import time

        held = [bytearray(1 << 20) for _ in range(mebibytes)]
        time.sleep(seconds)
        return len(held)

    with running_server(tmp_path / "data", "--workers", "2", "--memory-limit", "standard=0.4") as server:
        monkeypatch.setenv("TILEDB_REST_HOST", server.url)
        monkeypatch.setenv("TILEDB_REST_TOKEN", server.token)
        dag = DAG(name="greedy")
        greedy = dag.submit(holds, 600, 60, name="greedy")
        roomy = dag.submit(holds, 600, 2, name="roomy", resource_class="large")
        other = dag.submit(lambda: "fine", name="other")
        below = dag.submit(lambda x: x, greedy, name="below")
        dag.compute()
        error = greedy.exception(SECONDS)
        results = roomy.result(SECONDS), other.result(SECONDS)
        monkeypatch.undo()  # from here on the embedded server's own again

    assert isinstance(error, ServerError)
    assert "0.4 GiB" in str(error)
    assert results == (600, "fine")
    assert below.status is Status.PARENT_FAILED


def test_a_worker_killed_by_hand_fails_its_node_only(embedded: Path) -> None:
    """As the kernel's out-of-memory killer does it: without a word, to one process."""
    place = embedded / "pids"
    place.mkdir()

    def live(number: int, folder: str) -> int:
        import os
        import pathlib
        import time

        pathlib.Path(folder, str(number)).write_text(str(os.getpid()))
        while not pathlib.Path(folder, "go").exists():
            time.sleep(0.02)
        return number

    dag = DAG(name="one dies")
    nodes = [dag.submit(live, number, str(place), name=f"n{number}") for number in range(2)]
    below = dag.submit(lambda x: x, nodes[0], name="below")
    dag.compute()
    wait_until(lambda: all((place / str(number)).exists() and (place / str(number)).read_text() for number in (0, 1)))

    os.kill(int((place / "0").read_text()), signal.SIGKILL)
    with pytest.raises(ServerError, match="signal 9"):
        nodes[0].result(SECONDS)
    (place / "go").touch()

    assert nodes[1].result(SECONDS) == 1
    assert below.status is Status.PARENT_FAILED
    with DAG() as after:
        again = after.submit(lambda: "fine")
    assert again.result() == "fine"


def test_a_killed_server_is_told_and_the_next_graph_starts_another() -> None:
    """Nothing that was acknowledged may be lost, and nobody has to restart the kernel."""
    from tiledag_widget.server import launch

    with DAG(name="before") as before:
        kept = before.submit(lambda: [1, {2}])
        before.submit(lambda x: x, kept)
    dag = DAG()
    node = dag.submit(lambda: __import__("time").sleep(600))
    dag.compute()
    wait_until(lambda: is_running_there(dag))
    found = launch.find()
    assert found is not None

    os.kill(found.pid, signal.SIGKILL)

    with pytest.raises(ServerUnreachable, match="the next compute"):
        node.result(15)
    with DAG() as after:
        again = after.submit(lambda x: x + 1, 1)
    assert again.result() == 2
    assert kept.result() == [1, {2}]
    assert "before" in [one.name for one in list_logs(search="before").task_graph_logs or ()]
    launch.let_go()
    assert launch.stop()
