"""Arrays and queries through our client, on the embedded server with TileDB's quickstart arrays."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import embedded_server
from tiledag_widget import DAG, Mode
from tiledag_widget.models import ArrayList, UDFArrayDetails

for needed in ("uvicorn", "tiledb", "duckdb", "sqlglot", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

pytestmark = [pytest.mark.slow, pytest.mark.leaks("TileDB's thread pool lasts as long as the process")]
SECONDS = 60
DENSE = "tiledb://TileDB-Inc/quickstart_dense"
SPARSE = "tiledb://TileDB-Inc/quickstart_sparse"


@pytest.fixture(scope="module", autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is configured; the samples are registered by the command, on the server that runs."""
    from tiledag_widget import cli

    folder = tmp_path_factory.mktemp("embedded")
    with embedded_server(folder):
        assert cli.main(["arrays", "add", "--samples"]) == 0
        yield folder


def cells(data: Any) -> Any:
    return {name: values.tolist() for name, values in data.items()}


cells.__module__ = "__main__"


@pytest.mark.parametrize("mode", [Mode.REALTIME, Mode.BATCH])
def test_a_function_gets_the_data_of_several_arrays_as_a_list(mode: Mode) -> None:
    """As `exec_multi_array_udf` of TileDB's client, and as a node of a graph."""
    arrays = ArrayList()
    arrays.add(DENSE, [(1, 2), (2, 3)], ["a"])
    arrays.add(SPARSE, [slice(1, 2), None], ["a", "cols"])
    arrays.add(DENSE, [[1, 4], 4], ["a"], "C")
    with DAG(name="several", mode=mode) as dag:
        factor = dag.submit(lambda: 10, name="factor")
        both = dag.submit_array_udf(
            arrays,
            lambda several, times: [[v * times for v in one["a"].ravel().tolist()] for one in several],
            times=factor,
        )
        one_alone = dag.submit_array_udf(arrays.get()[:1], lambda several: [len(several), sorted(several[0])])

    assert both.result() == [[20, 30, 60, 70], [10, 30, 20], [40, 160]]
    assert one_alone.result() == [1, ["a"]]


@pytest.mark.parametrize("mode", [Mode.REALTIME, Mode.BATCH])
def test_a_date_is_a_parameter_of_a_query_by_hand_and_from_a_node(mode: Mode) -> None:
    """TileDB's client sends dates and times as texts."""
    with DAG(name="dates", mode=mode) as dag:
        day = dag.submit(lambda: __import__("datetime").date(2021, 5, 2), name="day")
        query = "select year(?) as y, month(?) as m"
        asked = dag.submit_sql(query, parameters=[datetime.datetime(2020, 3, 4, 7, tzinfo=datetime.timezone.utc), day])

    assert asked.result().to_dict("records") == [{"y": 2020, "m": 5}]


def test_a_relative_path_of_a_query_is_one_of_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the address of an array is; the server's own folder is no place for a user's arrays."""
    monkeypatch.chdir(tmp_path)
    with DAG(name="relative") as dag:
        made = dag.submit_sql("select 7 as a", output_uri="made/here", name="made")
        read = dag.submit_array_udf("made/here", cells, attrs=["a"], name="read")
        read.depends_on(made)

    assert read.result() == {"a": [7]}
    assert (tmp_path / "made" / "here").is_dir()


@pytest.mark.parametrize("mode", [Mode.REALTIME, Mode.BATCH])
def test_a_relative_path_within_a_query_is_one_of_the_client_too(
    mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same array would be found by `submit_array_udf` and not by a query."""
    import numpy
    import tiledb

    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    tiledb.from_numpy(str(tmp_path / "data" / "arr"), numpy.arange(4)).close()
    with DAG(name="relative within", mode=mode) as dag:
        asked = [
            dag.submit_sql("select sum(`data/arr`.`__attr`) as s, '`data/arr`' as t from `data/arr`", name="sum"),
            dag.submit_sql("select sum(`__attr`) as s, '`data/arr`' as t from `./data/arr` d", name="dot"),
            dag.submit_sql(
                "select s, '`data/arr`' as t from t",
                init_commands=["create table t as select sum(`__attr`) as s from `../" + tmp_path.name + "/data/arr`"],
                name="commands",
            ),
        ]

    assert [one.result().to_dict("records") for one in asked] == [[{"s": 6, "t": "`data/arr`"}]] * 3


def test_a_query_writes_below_the_home_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose name is ~ is hard to get rid of."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    with DAG(name="home") as dag:
        made = dag.submit_sql("select 7 as a", output_uri="~/made/here", name="made")
        read = dag.submit_sql("select a from `~/made/here`", name="read")
        read.depends_on(made)

    assert read.result()["a"].tolist() == [7]
    assert (home / "made" / "here").is_dir()
    assert not list(here.iterdir())


def test_which_cells_are_read_may_come_from_nodes() -> None:
    """Their values stand in the call itself, also where a node ran on the server and its result stayed there."""
    with DAG(name="from nodes") as dag:
        where = dag.submit(lambda uri: uri, DENSE, name="where")
        last = dag.submit(lambda: 2, name="last")
        factor = dag.submit(lambda: {10}, name="factor")
        read = dag.submit_array_udf(
            where,
            lambda data, times: [value * max(times) for value in data["a"].ravel().tolist()],
            [(1, last), [last, (last, last)]],
            attrs=dag.submit(lambda: ["a"], name="which"),
            times=factor,
        )
        named = dag.submit_array_udf(where, cells, ranges=[last, [1, last]], attrs=["a"])

    assert read.result() == [20, 20, 60, 60]
    assert named.result() == {"a": [[5, 6]]}


def test_details_of_arrays_may_stand_anywhere_in_the_arguments_of_a_function() -> None:
    """Arrays beside other values, and the same one twice."""
    arrays = ArrayList()
    arrays.add(SPARSE, buffers=["a"])
    (details,) = arrays.get()
    assert isinstance(details, UDFArrayDetails)

    with DAG(name="anywhere") as dag:
        node = dag.submit(
            lambda given, twice: [given["x"]["a"].tolist(), twice["a"].sum().item()], {"x": details}, details
        )

    assert node.result() == [[1, 3, 2], 6]


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ([1], {}, "an ArrayList of several, got list"),
        (7, {}, "must be a text, or an ArrayList"),
        (ArrayList(), {"ranges": [(1, 2)]}, "each of their own"),
        (ArrayList(), {}, "got one that is empty"),
    ],
)
def test_arrays_that_make_no_sense_fail_their_node(arrays: Any, options: Any, words: str) -> None:
    """Named, and with what was expected."""
    dag = DAG()
    node = dag.submit_array_udf(arrays, len, name="bad", **options)
    dag.compute()

    with pytest.raises(TypeError, match=f"Node 'bad'.*{words}"):
        node.result(SECONDS)
    whole = DAG(mode=Mode.BATCH)
    whole.submit_array_udf(arrays, len, name="bad", **options)
    with pytest.raises(TypeError, match=f"Node 'bad'.*{words}"):
        whole.compute()
    assert whole.server_graph_uuid is None


def test_rows_are_written_to_an_array_that_later_nodes_read(embedded: Path) -> None:
    """A result too large to come back: written by the query, read by name and by path."""
    place = str(embedded / "written")
    dag = DAG(name="written")
    named = dag.submit_sql(f"select a * 2 as b from `{DENSE}` where a > 13", output_uri="tiledb://me/doubled")
    by_path = dag.submit_sql(f"select cols, a as c from `{SPARSE}`", place)
    total = dag.submit_sql("select sum(b) as s from `tiledb://me/doubled`", result_format="json", raw_results=True)
    read = dag.submit_array_udf(place, lambda data: sorted(data["c"].tolist()), attrs=["c"])
    total.depends_on(named)
    read.depends_on(by_path)

    dag.compute()
    dag.wait(SECONDS)

    assert total.result() == [{"s": 90}]
    assert read.result() == [1, 2, 3]
    assert len(named.result()) in (0, 3)


def test_views_put_nodes_of_one_function_over_many_arrays_together() -> None:
    """A stack is named after what its nodes do, not after where one of them reads."""
    dag = DAG()
    for month in range(3):
        dag.submit_array_udf(f"tiledb://us/flights_{month}", cells)

    structure = dag._as_source().structure()

    assert list(structure.names) == [f"registered UDF 'tiledb://us/flights_{month}'" for month in range(3)]
    assert list(structure.groups) == [0, 0, 0]
    assert structure.group_names == ["cells"]
    facts = dag._as_source().node(0)
    assert facts.function.endswith("cells")
    assert "values.tolist()" in facts.source
