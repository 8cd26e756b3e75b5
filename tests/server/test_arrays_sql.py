"""Arrays and queries on a real server with TileDB's quickstart arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from tests.server.running import Answer, Server, running_server
from tiledag_widget.wire import codec
from tiledag_widget.wire.models import ArrayDetails, ArrayRanges

pytestmark = pytest.mark.slow

DENSE = "tiledb://TileDB-Inc/quickstart_dense"
SPARSE = "tiledb://tiledb-inc/quickstart_sparse"  # namespaces have no case


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--samples") as running:
        yield running


def plain(data: Any) -> Any:
    return {name: values.tolist() for name, values in data.items()}


plain.__module__ = "__main__"


def on_array(server: Server, uri: str, ranges: Any = (), layout: str | None = None, buffers: Any = None) -> Answer:
    """A function on one array, in the style of `submit_array_udf`."""
    details = ArrayDetails(uri, ArrayRanges(tuple(map(tuple, ranges)), layout), buffers)
    body = codec.to_tagged(details, "n", "args[0]")["udf_array_details"]
    return server.call(plain, details, arrays=[body])


CASES: list[tuple[str, Any, str | None, Any, dict[str, Any]]] = [
    (DENSE, [[1, 2], [2, 3]], None, ("a",), {"a": [[2, 3], [6, 7]]}),
    (DENSE, [[1, 1, 4, 4], [2, 2, 4, 4]], "row-major", ("a",), {"a": [[2, 4], [14, 16]]}),
    (DENSE, [[1, 2], [1, 3]], "col-major", ("a",), {"a": [[1, 5], [2, 6], [3, 7]]}),
    (DENSE, [[1, 2], [2, 3]], "unordered", ("a",), {"a": [[2, 3], [6, 7]]}),
    (DENSE, [[], [4, 4]], None, ("rows",), {"rows": [[1], [2], [3], [4]]}),
    (DENSE, [[2, 2]], None, None, {"a": [[5, 6, 7, 8]], "rows": [[2] * 4], "cols": [[1, 2, 3, 4]]}),
    (SPARSE, [], None, None, {"a": [1, 3, 2], "rows": [1, 2, 2], "cols": [1, 3, 4]}),
    (SPARSE, [[2, 2], []], None, ("a",), {"a": [3, 2]}),
    (SPARSE, [[3, 4], []], None, ("cols", "a"), {"a": [], "cols": []}),
    (SPARSE, [[], []], "col-major", ("a",), {"a": [1, 3, 2]}),
]


@pytest.mark.parametrize(("uri", "ranges", "layout", "buffers", "expected"), CASES)
def test_a_function_gets_the_selected_cells(
    server: Server, uri: str, ranges: Any, layout: str | None, buffers: Any, expected: dict[str, Any]
) -> None:
    """Ranges, buffers and layouts as TileDB Cloud reads them."""
    answer = on_array(server, uri, ranges, layout, buffers)

    assert answer.status == 200, answer.body
    assert answer.value() == expected


@pytest.mark.parametrize(
    ("uri", "ranges", "layout", "buffers", "words"),
    [
        ("tiledb://nobody/nothing", [], None, None, "tiledag arrays add nobody/nothing"),
        ("/no/such/folder", [], None, None, "cannot be opened"),
        (DENSE, [], None, ("b",), "has no 'b'; it has a, rows, cols"),
        (DENSE, [[1]], None, None, "pairs of bounds"),
        (DENSE, [[1, 9]], None, None, "Range [1, 9] is out of domain bounds [1, 4]"),
        (DENSE, [[3, 1]], None, None, "the range 3 to 1 of dimension 'rows' of "),
        (SPARSE, [[], ["a", "b"]], None, None, "must be whole numbers (int32), got 'a'"),
        (DENSE, [[1.5, 2]], None, None, "must be whole numbers (int32), got 1.5"),
        (DENSE, [[1, 10**30]], None, None, "must be whole numbers (int32), got 1000"),
        (DENSE, [[], [], []], None, None, "3 ranges for the 2 dimensions"),
        (DENSE, [], "spiral", None, "unknown layout 'spiral'"),
    ],
)
def test_what_is_wrong_with_an_array_is_named(
    server: Server, uri: str, ranges: Any, layout: str | None, buffers: Any, words: str
) -> None:
    """A typing error in a name should not cost an hour."""
    answer = on_array(server, uri, ranges, layout, buffers)

    assert answer.status == 422
    assert words in answer.json()["message"]


@pytest.mark.parametrize("is_sparse", [False, True])
def test_nulls_are_null_in_a_query_and_masked_in_a_function(server: Server, tmp_path: Path, is_sparse: bool) -> None:
    """A null that reads as 0 or as an empty text makes sums and counts wrong, and nobody sees it."""
    place = str(tmp_path / "with_nulls")

    def make(place: str, is_sparse: bool) -> None:
        import numpy as np
        import pyarrow as pa
        import tiledb

        dimension = tiledb.Dim("d", domain=(0, 9), tile=5, dtype=np.int32)
        attributes = [
            tiledb.Attr("n", dtype=np.int32, nullable=True),
            tiledb.Attr("t", dtype=str, var=True, nullable=True),
            tiledb.Attr("b", dtype="ascii", var=True, nullable=True),
            tiledb.Attr("plain", dtype=np.float64),
        ]
        tiledb.Array.create(place, tiledb.ArraySchema(tiledb.Domain(dimension), attributes, sparse=is_sparse))
        cells = {
            "n": pa.array([1, None, 3, None]),
            "t": pa.array([None, "\u00e9", "", None]),
            "b": pa.array([b"x", None, b"y", None]),
            "plain": np.arange(4.0),
        }
        with tiledb.open(place, "w") as array:
            array[np.arange(4) if is_sparse else slice(0, 4)] = {**cells, "n": cells["n"].cast("int32")}

    def seen(data: Any) -> Any:
        return {name: values.tolist() for name, values in data.items()}

    assert server.call(make, place, is_sparse).status == 200
    rows = server.sql(f"select n, t, b from `{place}` where d < 4 and (n is null or t is null) order by d").json()
    sums = server.sql(f"select count(n) as c, avg(n) as a, count(t) as t from `{place}` where d <= 3").json()
    details = [
        ArrayDetails(place, ArrayRanges(((0, 1, 3, 3),), "unordered"), buffers) for buffers in (("n", "d"), ("b",))
    ]
    cells = [server.call(seen, one, arrays=[]).value() for one in details]

    assert rows == [
        {"b": "x", "n": 1, "t": None},
        {"b": None, "n": None, "t": "\u00e9"},
        {"b": None, "n": None, "t": None},
    ]
    assert sums == [{"a": 2, "c": 2, "t": 2}]
    assert cells == [{"n": [1, None, None], "d": [0, 1, 3]}, {"b": [b"x", None, None]}]


def test_several_arrays_come_as_a_list_and_arguments_by_name_in_the_old_form(server: Server) -> None:
    """`exec_multi_array_udf` sends no arguments_json."""
    arrays = [
        {"uri": DENSE, "ranges": {"ranges": [[1, 1], [1, 2]]}, "buffers": ["a"]},
        {"uri": SPARSE, "ranges": {"ranges": []}, "buffers": ["a"]},
    ]
    argument = codec.dump_old_argument("n", {"more": 5})

    def both(data: Any, more: int) -> Any:
        return [values["a"].tolist() for values in data] + [more]

    assert server.call(both, arrays=arrays, arguments_json=None, argument=argument).value() == [[[1, 2]], [1, 3, 2], 5]


def test_an_array_may_stand_anywhere_among_the_arguments_and_several_times(server: Server) -> None:
    """`taskgraphs` sends every function this way, also those without arrays."""
    details = ArrayDetails(SPARSE, None, ("a",))

    def deep(x: Any, y: Any) -> Any:
        return x["k"][0] is y, y["a"].tolist()

    assert server.call(deep, {"k": [details]}, details, arrays=[]).value() == (True, [1, 3, 2])
    assert server.call(lambda x: x, 3, arrays=[]).value() == 3


def test_an_array_by_its_path(server: Server) -> None:
    """Nobody has to register what lies on his own disk."""
    answer = on_array(server, str(server.folder / "samples" / "quickstart_sparse"), [], None, ("a",))

    assert answer.value() == {"a": [1, 3, 2]}


WORDS = ["create temporary table t (n int, s varchar(9))", "insert into t values (1, 'ab'), (2, 'AB'), (3, 'x')"]
QUERIES: list[tuple[str, dict[str, Any], Any]] = [
    (f"select sum(a) as sum from `{SPARSE}`", {}, [{"sum": 6}]),
    (f"select sum(a) s from `{SPARSE}` where (`rows`, `cols`) in ((1,1), (2,4))", {}, [{"s": 3}]),
    (f"select AVG(`a`) * 100 from `{DENSE}` where `rows` = 1 and 2 < cols", {}, [{"AVG(`a`) * 100": 350}]),
    (f"select * from `{DENSE}` where `rows` between 2 and 2 and cols >= 4", {}, [{"a": 8, "cols": 4, "rows": 2}]),
    (f"select a from `{DENSE}` where `rows` in (4) order by a desc limit 1", {}, [{"a": 16}]),
    (f"select a from `{DENSE}` where `rows` > 10", {}, []),
    (
        f"select a from `{DENSE}` where `rows` = 1 or `rows` = 4 order by a limit 5",
        {},
        [{"a": n} for n in (1, 2, 3, 4, 13)],
    ),
    ("with q as (select 1 a) select count(*), max(a)+1 from q", {}, [{"count(*)": 1, "max(a)+1": 2}]),
    ("select max(a)+1 from (select 1 a) q union select 5 order by 1", {}, [{"max(a)+1": 2}, {"max(a)+1": 5}]),
    (f"select count(*) as n from `{DENSE}` x join `{SPARSE}` y on x.a = y.a", {}, [{"n": 3}]),
    (f"select `{SPARSE}`.a from `{SPARSE}` order by 1 limit 1", {}, [{"a": 1}]),
    ("select 2 * ? as doubleit, ? as t", {"parameters": [4, "x' --"]}, [{"doubleit": 8, "t": "x' --"}]),
    ("select @a + 1 as b, @c as c", {"init_commands": ["SET @A = 1", "set @c = 'x'"]}, [{"b": 2, "c": "x"}]),
    ("select y from t", {"init_commands": ["CREATE TEMPORARY TABLE t AS SELECT 3 AS y"]}, [{"y": 3}]),
    ("select 1.5 as f, 4.0 as i, 7 / 2 as d, NULL as n", {}, [{"d": 3.5, "f": 1.5, "i": 4, "n": None}]),
    ("select 1 as a from dual", {}, [{"a": 1}]),
    ("select timestampdiff(day, '2020-01-01', '2020-02-01') as a", {}, [{"a": 31}]),
    ("select timestampdiff(hour, '2020-01-01 10:59', '2020-01-01 11:01') as a", {}, [{"a": 0}]),
    ("select timestampdiff(month, '2020-01-31', now()) > 60 as a", {}, [{"a": 1}]),
    ("select ifnull(null, 'x') as a, concat('a', 'b') as b, if(1 > 2, 3, 4) as c", {}, [{"a": "x", "b": "ab", "c": 4}]),
    ("set @a = 1", {}, []),
    (
        "select 1 = 1 as t, 'a' = 'A' as same, 'é' = 'E' as accent, true",
        {},
        [{"TRUE": 1, "accent": 1, "same": 1, "t": 1}],
    ),
    (
        "select 'a' = 'A' collate utf8_bin as b, binary 'a' = 'A' as c, 'b' like 'B' as l",
        {},
        [{"b": 0, "c": 0, "l": 1}],
    ),
    ("select s from t where s = 'AB' order by n", {"init_commands": WORDS}, [{"s": "ab"}, {"s": "AB"}]),
    ("select s from t where s like 'a%' order by n", {"init_commands": WORDS}, [{"s": "ab"}, {"s": "AB"}]),
    ("select s from t where s regexp '^X'", {"init_commands": WORDS}, [{"s": "x"}]),
    ("select count(*) as c from t group by s order by s", {"init_commands": WORDS}, [{"c": 2}, {"c": 1}]),
    (
        "select a.n from t a join t b on a.s = b.s where b.n = 2 order by 1",
        {"init_commands": WORDS},
        [{"n": 1}, {"n": 2}],
    ),
    ("select @a := 4", {}, [{"@a := 4": 4}]),
    ("select @a + @b as c", {"init_commands": ["select @a := 4, @b := @a + 1"]}, [{"c": 9}]),
    ("select @m as m", {"init_commands": [f"select @m := max(a) from `{DENSE}`"]}, [{"m": 16}]),
    ("select @m as m", {"init_commands": ["set @m = 7", f"select @m := a from `{DENSE}` where a > 99"]}, [{"m": 7}]),
    ("select @x + @y as c", {"init_commands": [f"select min(a), max(a) into @x, @y from `{DENSE}`"]}, [{"c": 17}]),
    (
        f"select a, @n := @n + 1 as n, @n * 10 as m from `{DENSE}`, (select @n := 0) x where `rows` = 1 and a < 3",
        {},
        [{"a": 1, "m": 10, "n": 1}, {"a": 2, "m": 20, "n": 2}],
    ),
    (
        f"select @s := @s - a as s from `{DENSE}` where `rows` = 1",
        {"init_commands": ["set @s := 10"]},
        [{"s": n} for n in (9, 7, 4, 0)],
    ),
    ("select substring_index('a.b.c', '.', -2) as s, find_in_set('b', 'a,b') as f", {}, [{"f": 2, "s": "b.c"}]),
    ("select dayofweek('2024-01-07') as d, weekday('2024-01-07') as w", {}, [{"d": 1, "w": 6}]),
    (
        f"describe `{SPARSE}`",
        {},
        [
            {"Field": name, "Key": key, "Null": "NO", "Type": "int32"}
            for name, key in (("rows", "PRI"), ("cols", "PRI"), ("a", ""))
        ],
    ),
]


@pytest.mark.parametrize(("query", "fields", "rows"), QUERIES)
def test_a_query_gives_its_rows(server: Server, query: str, fields: dict[str, Any], rows: Any) -> None:
    """MariaDB's words, DuckDB's speed; JSON as the service writes it: keys sorted, 400 and not 400.0."""
    answer = server.sql(query, **fields)

    assert answer.status == 200, answer.body
    assert answer.json() == rows
    assert [list(row) for row in answer.json()] == [sorted(row) for row in rows]


def test_rows_as_arrow_have_a_schema_even_if_there_are_none(server: Server) -> None:
    """The official client cannot read an empty body."""
    rows = server.sql(f"select a, `rows` from `{DENSE}` where a > 14", result_format="arrow").value()
    none = server.sql(f"select a from `{DENSE}` where a > 100", result_format="arrow").value()
    statement = server.sql("set @a = 1", result_format="arrow")

    assert isinstance(rows, pyarrow.Table)
    assert rows.to_pydict() == {"a": [15, 16], "rows": [4, 4]}
    assert none.schema.names == ["a"]
    assert statement.body
    assert statement.value().num_rows == 0


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select a\nfrm from where", "line 2, column 10"),
        ("select nope from `" + DENSE + "`", "nope"),
        ("select from where", "line 1, column 13: Expected table name but got 'where'\n"),
        ("select * from", "Expected table name but got the end of the query\n"),
        ("select 1 +", "column 10: something is missing at '+'\n"),
        ("select 'a', \"b'c\" -- it's\n , `a b from t", "at line 2, column 4: ` is never closed\n , `a b"),
        ("select 1 /* for ever", "column 10: /* is never closed\n"),
        ("select 1; select 2", "one statement"),
        ("select 1; select 2; -- and no more", "must be one statement, got 2;"),
        ("select foo bar bazaar qux", "line 1, column 16: 'bazaar' does not fit here\n"),
        ("\n selec", "line 2, column 2: no statement begins with 'selec'\n"),
        ("this is not sql", "line 1, column 1: no statement begins with 'this'\n"),
        ("select 1 from dual wher x", "line 1, column 25: 'x' does not fit here\n"),
        ("select ? as x", "the query has 1 ? and 0 parameters"),
        ("select a from `tiledb://x/y`", "unknown array 'tiledb://x/y'"),
        *(
            (statement, f"the array '{DENSE}' cannot be changed by a query")
            for statement in (
                f"insert into `{DENSE}` values (1, 1, 1)",
                f"replace into `{DENSE}` values (1, 1, 1)",
                f"drop table `{DENSE}`",
                f"truncate table `{DENSE}`",
                f"alter table `{DENSE}` add column x int",
            )
        ),
        ("select 1 where (@a := 2) > 1", "a column of the outer select only"),
        ("select @a := @a * 2", "only as a sum"),
        ("select 1, 2 into @a", "2 columns for 1 variables"),
        ("select a into @a from `" + DENSE + "`", "16 rows"),
    ],
)
def test_what_is_wrong_with_a_query_is_shown(server: Server, query: str, words: str) -> None:
    """With its place where it cannot be parsed."""
    answer = server.sql(query)

    assert answer.status == 422
    assert words in answer.json()["message"]


def test_rows_can_be_written_to_an_array_that_is_then_known(server: Server) -> None:
    """A result too large to come back."""
    first = server.sql(f"select a * 2 as b from `{DENSE}` where a > 14", output_uri="tiledb://me/doubled")
    second = server.sql("select sum(b) as s from `tiledb://me/doubled`")

    assert first.status == 200, first.body
    assert second.json() == [{"s": 62}]


def test_nulls_are_written_as_nulls(server: Server, tmp_path: Path) -> None:
    """Not as the text None, and not as numbers that are none."""
    made = server.sql(
        "select x, n, f, d, z, t from (select 1 as x, null as n, 1.5 as f, date '2020-01-01' as d, null as z, 'a' as t "
        "union all select 2, 7, null, null, null, null) as q order by x",
        output_uri=str(tmp_path / "made"),
    )
    rows = server.sql(f"select n, f, d, z, t from `{tmp_path / 'made'}` order by x")
    again = server.sql("select 1 as x", output_uri=str(tmp_path / "made"))

    assert made.status == 200, made.body
    assert rows.json() == [
        {"d": "2020-01-01", "f": 1.5, "n": None, "z": None, "t": "a"},
        {"d": None, "f": None, "n": 7, "z": None, "t": None},
    ]
    assert f"there is an array '{tmp_path / 'made'}' already" in again.json()["message"]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("select x'80ff' as b union all select null order by b is null", [{"b": b"\x80\xff"}, {"b": None}]),
        ("select x'80ff' as b", [{"b": b"\x80\xff"}]),
        ("select time '10:11:12' as t union all select null order by t is null", [{"t": "10:11:12"}, {"t": None}]),
    ],
)
def test_columns_of_every_kind_are_written_and_read_again(
    server: Server, tmp_path: Path, query: str, rows: list[dict[str, Any]]
) -> None:
    """A time that comes back as the text None, or a query that runs for an hour and then cannot be kept."""
    place = str(tmp_path / "made")

    made = server.sql(query, output_uri=place)
    read = server.sql(f"select * from `{place}`", result_format="arrow").value()

    assert made.status == 200, made.body
    assert [{name: row[name] for name in rows[0]} for row in read.to_pylist()] == rows


def test_an_array_is_written_below_the_home_of_the_server_for_clients_that_send_the_path_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TileDB does; a folder whose name is ~ is hard to get rid of."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    with running_server(tmp_path / "data") as server:
        made = server.sql("select 7 as a", output_uri="~/deep/made")
        read = server.sql("select a from `~/deep/made`")

    assert (made.status, read.status) == (200, 200), (made.body, read.body)
    assert read.json() == [{"a": 7}]
    assert (home / "deep" / "made").is_dir()
    assert not list(here.iterdir())
    assert not list(tmp_path.rglob("~"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select 1 as a, 2 as a", "two columns are named 'a'"),
        ("select 1 as __tiledb_rows", "the column '__tiledb_rows' cannot be an attribute"),
        ("select array_agg(a) as b from `" + DENSE + "`", "the column 'b' is of the type list"),
        (f"select group_concat(a) as g, `rows` from `{DENSE}` where a > 99 group by `rows`", "no rows to write"),
    ],
)
def test_what_cannot_be_written_is_said_and_takes_no_name(
    server: Server, tmp_path: Path, query: str, words: str
) -> None:
    """The same name with a better query has to work."""
    place = str(tmp_path / "made")

    refused = server.sql(query, output_uri=place)
    better = server.sql("select 1 as a", output_uri=place)

    assert words in refused.json()["message"]
    assert better.status == 200, better.body


def test_an_attribute_without_a_name_is_a_column(server: Server, tmp_path: Path) -> None:
    """As `tiledb.from_numpy` makes it."""
    place = str(tmp_path / "unnamed")

    def make(place: str) -> None:
        import numpy as np
        import tiledb

        tiledb.from_numpy(place, np.array([5, 6, 7])).close()

    assert server.call(make, place).status == 200

    assert server.sql(f"select __attr from `{place}` where __attr > 5").json() == [{"__attr": 6}, {"__attr": 7}]
    assert server.sql(f"select * from `{place}` limit 1").json() == [{"__attr": 5, "__dim_0": 0}]
    assert [one["Field"] for one in server.sql(f"describe `{place}`").json()] == ["__dim_0", "__attr"]


@pytest.mark.parametrize("ending", [";", "; -- the end", " /* the end */ ;\n", "; # the end"])
def test_what_stands_behind_the_last_semicolon_is_no_statement(server: Server, ending: str) -> None:
    """Queries are often pasted with it."""
    assert server.sql(f"select 1 as x{ending}").json() == [{"x": 1}]


def test_a_query_leaves_its_words_in_the_task(server: Server) -> None:
    """The log browser shows them."""
    answer = server.sql("select ? as x", name="asked", parameters=[1], init_commands=["set @q = 1"])
    task = server.ask("GET", f"/v1/task/{answer.headers['x-tiledb-cloud-task-id']}").json()

    assert (task["name"], task["type"], task["sql_query"]) == ("asked", "SQL", "select ? as x")
    assert (task["sql_parameters"], task["sql_init_commands"]) == ([1], ["set @q = 1"])
