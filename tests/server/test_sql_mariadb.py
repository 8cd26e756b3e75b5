"""What MariaDB 10.11 answers, kept in `mariadb.json`, beside what this server answers to the same."""

from __future__ import annotations

import datetime
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import tiledb

from tiledag_widget.server import sql

pytestmark = pytest.mark.leaks("the threads of DuckDB and of TileDB last as long as the process")

KEPT = json.loads((Path(__file__).parent / "mariadb.json").read_text(encoding="utf-8"))
TYPES: dict[str, tuple[Any, Any]] = {
    "b": (np.bool_, pyarrow.bool_()),
    "i1": ("i1", pyarrow.int8()),
    "i4": ("i4", pyarrow.int32()),
    "i8": ("i8", pyarrow.int64()),
    "u4": ("u4", pyarrow.uint32()),
    "f8": ("f8", pyarrow.float64()),
    "f4": ("f4", pyarrow.float32()),
    "s": (str, pyarrow.string()),
    "g": (str, pyarrow.string()),
    "d": ("datetime64[D]", pyarrow.date32()),
    "t": ("datetime64[us]", pyarrow.timestamp("us")),
}
"""In TileDB and in Arrow."""


def answer(query: str, init_commands: Any = ()) -> Any:
    """Names and rows, as a worker process gives them."""
    job = {
        "query": query,
        "parameters": (),
        "init_commands": init_commands,
        "array_uris": {"us/kept": "/nowhere"},
        "output_uri": None,
    }
    table = sql.run({**job, "result_format": "arrow"})
    rows = sql.run({**job, "result_format": "json"})
    return table.column_names, [[row[name] for name in table.column_names] for row in rows]


def assert_same(found: Any, expected: Any, words: str) -> None:
    assert len(found) == len(expected), words
    for one, other in zip(found, expected, strict=True):
        for mine, theirs in zip(one, other, strict=True):
            if isinstance(mine, (int, float)) and isinstance(theirs, (int, float)):
                # MariaDB writes the quotient of whole numbers with four digits.
                assert math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-9), f"{words}: {mine}, MariaDB {theirs}"
            else:
                assert mine == theirs, f"{words}: {mine!r}, MariaDB {theirs!r}"


def test_some_expressions_mean_what_they_mean_in_mariadb() -> None:
    """Those in which its neighbours differ."""
    texts = [
        *(
            "5.7 div 2",
            "length('é')",
            "'a%b' like 'a\\%b'",
            "locate('C','abc')",
            "date_add('2020-01-31', interval 1 day)",
        ),
        *("substring('abcdef',0)", "5 % 0", "greatest('a','B')", "timestampdiff(month,'2020-01-31','2020-02-29')"),
        *("1 < 2 < 3", "regexp_replace('abc','B','x')", "date '2020-01-05' < '2020-01-05 12:00:00'"),
    ]
    known = dict(KEPT["expressions"])

    assert_same(answer(f"select {', '.join(texts)}")[1], [[known[text] for text in texts]], "together")


@pytest.mark.slow
def test_every_kept_expression_means_what_it_means_in_mariadb() -> None:
    """A function that is there and means something else is worse than none."""
    kept = KEPT["expressions"]
    for begin in range(0, len(kept), 20):
        some = kept[begin : begin + 20]
        query = ", ".join(f"{text} as c{number}" for number, (text, _) in enumerate(some))
        _, (row,) = answer(f"select {query}")
        for (text, value), found in zip(some, row, strict=True):
            assert_same([[found]], [[value]], text)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("arrays") / "kept")
    attributes = [
        tiledb.Attr(name, dtype=kind, var=True if kind is str else None, nullable=True)
        for name, (kind, _) in TYPES.items()
    ]
    dimension = tiledb.Dim("k", domain=(-1000, 1000), tile=100, dtype=np.int64)
    tiledb.Array.create(path, tiledb.ArraySchema(tiledb.Domain(dimension), attributes, sparse=True))
    rows = KEPT["table"]
    moments = [None if text is None else datetime.datetime.fromisoformat(text) for text in rows["t"]]
    days = [None if text is None else datetime.date.fromisoformat(text) for text in rows["d"]]
    values = {**rows, "t": moments, "d": days}
    with tiledb.open(path, "w") as array:
        array[np.array(rows["k"])] = {name: pyarrow.array(values[name], type=kind) for name, (_, kind) in TYPES.items()}
    return path


@pytest.mark.slow
def test_every_kept_query_gives_the_rows_that_it_gives_in_mariadb(place: str) -> None:
    """Names, order and cells."""
    for query, names, rows in KEPT["queries"]:
        found, cells = answer(re.sub(r"\barr\b", f"`{place}`", query))
        assert found == names, query
        assert_same(cells, rows, query)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select 'a' || 'b'", "|| is a logical or in MariaDB, and 'a' is text: write concat(a, b)"),
        ("select k || g from ARRAY", "|| is a logical or in MariaDB: write concat(a, b)"),
        ("select @@foo", "@@foo is a setting of MariaDB's that this server has not; it has @@autocommit"),
        ("select d + 1 from ARRAY", "d + 1: MariaDB reckons with a date as with a number"),
        ("select nope from ARRAY", "there is no column 'nope': 'ARRAY' has k, b, i1, i4, i8, u4, f8, f4, s, g, d, t"),
        ("select gg from ARRAY where i4 > 0", "there is no column 'gg' (did you mean 'g'?): 'ARRAY' has k, b,"),
        ("select * from t", "there is no table 't'; `show tables` names those"),
        ("select nofunc(1)", "there is no function nofunc here"),
        ("select soundex('x')", "SOUNDEX is not supported"),
        ("call p()", "this server does not run `call p()`: it runs select"),
        ("start transaction", "does not run `start transaction`"),
        ("show databases", "show databases is not known here; show tables"),
        ("create schema x", "does not create a schema"),
        ("set sql_mode = 'ANSI_QUOTES'", "sql_mode ANSI_QUOTES is not known here"),
        ("set time_zone = '+02:00'", "time_zone '+02:00' is not known here: all times are UTC"),
        ("select week('2020-01-05', 2)", "the modes 0, 1, 3 and 5"),
        ("", "the query is empty"),
    ],
)
def test_what_it_cannot_mean_is_refused(place: str, query: str, words: str) -> None:
    """Better no answer than another one."""
    with pytest.raises(ValueError) as refused:
        answer(query.replace("ARRAY", f"`{place}`"))

    assert words.replace("ARRAY", place) in str(refused.value)


@pytest.mark.slow
def test_what_there_is_can_be_asked_for(place: str) -> None:
    """`show tables` is the first thing that people type."""
    made = ["create table t (n int)", "create view v as select 1 as a"]
    names, rows = answer("show tables", made)
    described = answer(f"describe `{place}`")[1]

    assert (names, rows) == (["Tables"], [["tiledb://us/kept"], ["t"]])
    assert [row[:3] for row in described][:3] == [["k", "int64", "NO"], ["b", "bool", "YES"], ["i1", "int8", "YES"]]
    assert answer("describe t", made)[1] == [["n", "INTEGER", "YES"]]
    assert answer("select a from v", made)[1] == [[1]]
    assert answer("select sleep(0), @@version_comment like 'tiledag%'")[1] == [[0, 1]]
    assert "SCAN" in answer(f"explain select k from `{place}`")[1][0][0]
    assert answer("select K, 'x', 1 = 1 as `T` from (select 2 as k) as q")[0] == ["K", "x", "T"]
    with pytest.raises(ValueError, match="no table 't'"):  # another session's
        answer("select * from t")


@pytest.mark.slow
def test_parameters_mean_what_their_values_mean(place: str) -> None:
    """Their types are not known when the query is read."""
    job: dict[str, Any] = {"init_commands": (), "array_uris": {}, "output_uri": None, "result_format": "json"}
    days = {row: day for row, day in zip(KEPT["table"]["k"], KEPT["table"]["d"], strict=True) if day is not None}
    noon = f"{max(days.values())} 12:00:00"

    def asked(query: str, *parameters: Any) -> Any:
        return sql.run({**job, "query": query, "parameters": parameters})

    assert asked(f"select k from `{place}` where d > ?", noon) == []
    assert asked("select greatest(?, ?) as g, length(?) as l", "a", "B", "\u00e9") == [{"g": "B", "l": 2}]
    assert asked("select date_add(?, interval 1 day) as d", "2020-01-31") == [{"d": "2020-02-01 00:00:00"}]
    assert asked("select if(?, 'a', 'b') as i, ? div ? as d", 0, 7, 2) == [{"d": 3, "i": "b"}]


@pytest.mark.slow
def test_columns_keep_the_types_that_they_have_in_the_array(place: str) -> None:
    """Although numbers are reckoned with 64 bits."""
    job: dict[str, Any] = {"parameters": (), "init_commands": (), "array_uris": {}, "output_uri": None}
    query = f"select i1, u4, f4, i1 * 100 as more from `{place}` where k < 9"
    table = sql.run({**job, "query": query, "result_format": "arrow"})

    assert [str(kind) for kind in table.schema.types] == ["int8", "uint32", "float", "int64"]
