"""Cells of kinds that TileDB-Py reads otherwise than one would think, as functions and queries get them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import tiledb

from tiledag_widget.server import arrays, sql
from tiledag_widget.wire.models import ArrayDetails, ArrayRanges

pytestmark = pytest.mark.leaks("the threads of DuckDB and of TileDB last as long as the process")

MEMBERS = ["red", "green", "blue"]


def made(place: Path, *, is_sparse: bool, written: int = 4) -> str:
    """Ten cells, of which the first few are written; every other one is null where it may be."""
    attributes = [
        tiledb.Attr("color", dtype=np.uint8, enum_label="E"),
        tiledb.Attr("maybe", dtype=np.int32, enum_label="E", nullable=True),
        tiledb.Attr("hour", dtype="datetime64[h]", nullable=True),
        tiledb.Attr("span", dtype="timedelta64[s]"),
        tiledb.Attr("code", dtype="S3"),
        tiledb.Attr("pair", dtype=np.int32, var=True),
    ]
    dimension = tiledb.Dim("x", domain=(0, 9), tile=5, dtype=np.int32)
    enums = [tiledb.Enumeration("E", True, MEMBERS)]
    schema = tiledb.ArraySchema(tiledb.Domain(dimension), attributes, sparse=is_sparse, enums=enums)
    tiledb.Array.create(str(place), schema)
    numbers = np.arange(written)
    pairs: Any = np.empty(written, dtype=object)
    for number in numbers:
        pairs[number] = np.array([number, number + 1], dtype=np.int32)
    if written:
        with tiledb.open(str(place), "w") as array:
            array[numbers if is_sparse else slice(0, written)] = {
                "color": (numbers % 3).astype(np.uint8),
                "maybe": pyarrow.array((numbers % 3).astype(np.int32), mask=numbers % 2 == 1),
                "hour": pyarrow.array(numbers * 3600, mask=numbers % 2 == 1).cast(pyarrow.timestamp("s")),
                "span": (numbers * 40_000).astype("timedelta64[s]"),
                "code": np.array([f"c{number}" for number in numbers], dtype="S3"),
                "pair": pairs,
            }
    return str(place)


def read(place: str, *ranges: Any) -> dict[str, Any]:
    found = arrays.read({}, ArrayDetails(place, ArrayRanges(tuple(ranges), "row-major"), None))
    return {name: values.tolist() for name, values in found.items()}


def asked(query: str) -> Any:
    job: dict[str, Any] = {"parameters": (), "init_commands": (), "array_uris": {}, "output_uri": None}
    return sql.run({**job, "query": query, "result_format": "json"})


@pytest.mark.slow
@pytest.mark.parametrize("is_sparse", [False, True])
def test_nulls_and_members_of_every_kind_are_read(tmp_path: Path, is_sparse: bool) -> None:
    """A null that reads as a time, and an array that cannot be read for one cell that nobody has written."""
    place = made(tmp_path / "made", is_sparse=is_sparse)

    found = read(place, (0, 3))
    rows = asked(f"select x, color, maybe, hour, span, code, pair from `{place}` where x < 4 order by x")

    assert found["color"] == ["red", "green", "blue", "red"]
    assert found["maybe"] == ["red", None, "blue", None]
    assert [value is None for value in found["hour"]] == [False, True, False, True]
    assert [value.tolist() for value in found["pair"]] == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert [list(row.values()) for row in rows] == [
        ["c0", "red", "1970-01-01 00:00:00", "red", [0, 1], "00:00:00", 0],
        ["c1", "green", None, None, [1, 2], "11:06:40", 1],
        ["c2", "blue", "1970-01-01 02:00:00", "blue", [2, 3], "22:13:20", 2],
        ["c3", "red", None, None, [3, 4], "33:20:00", 3],
    ]


@pytest.mark.slow
def test_cells_that_were_never_written_are_no_members(tmp_path: Path) -> None:
    """Between two parts of a dense array there is always something."""
    place = made(tmp_path / "made", is_sparse=False)
    with tiledb.open(place, "w") as array:
        array[7:8] = {name: values[7:8] for name, values in one_more().items()}

    rows = asked(f"select x, color, maybe, hour, span, code from `{place}` where x > 3")
    groups = asked(f"select color, count(*) as n from `{place}` group by color order by n desc, color")

    assert read(place, (4, 5))["color"] == [None, None]
    assert [[row[name] for name in ("color", "maybe", "hour", "span", "code")] for row in rows[:3]] == [[None] * 5] * 3
    assert (rows[3]["color"], len(rows)) == ("blue", 4)
    assert groups[0] == {"color": None, "n": 3}


def one_more() -> dict[str, Any]:
    pairs: Any = np.empty(10, dtype=object)
    for number in range(10):
        pairs[number] = np.array([1], dtype=np.int32)
    return {
        "color": np.full(10, 2, dtype=np.uint8),
        "maybe": pyarrow.array(np.zeros(10, dtype=np.int32)),
        "hour": pyarrow.array(np.zeros(10, dtype=np.int64)).cast(pyarrow.timestamp("s")),
        "span": np.zeros(10, dtype="timedelta64[s]"),
        "code": np.array(["x"] * 10, dtype="S3"),
        "pair": pairs,
    }


@pytest.mark.slow
@pytest.mark.parametrize("is_sparse", [False, True])
def test_an_array_in_which_nothing_is_written_has_no_rows(tmp_path: Path, is_sparse: bool) -> None:
    """And not as many as its domain has places."""
    place = made(tmp_path / "made", is_sparse=is_sparse, written=0)

    assert asked(f"select * from `{place}`") == []
    assert asked(f"select count(*) as n, max(color) as m from `{place}` where x between 2 and 5") == [
        {"m": None, "n": 0}
    ]


@pytest.mark.slow
def test_the_whole_of_a_dense_dimension_is_its_domain(tmp_path: Path) -> None:
    """As `array[:]` gives it: where only some cells were written, the place in the result is the place in the array."""
    place = str(tmp_path / "partly")
    dimension = tiledb.Dim("x", domain=(-2, 3), tile=2, dtype=np.int64)
    attribute = tiledb.Attr("a", dtype=np.int32, fill=-1)
    tiledb.Array.create(place, tiledb.ArraySchema(tiledb.Domain(dimension), [attribute]))

    before = read(place)
    with tiledb.open(place, "w") as array:
        array[0:2] = np.array([5, 6], dtype=np.int32)

    assert before == {"a": [-1] * 6, "x": [-2, -1, 0, 1, 2, 3]}
    assert read(place, ()) == {"a": [-1, -1, 5, 6, -1, -1], "x": [-2, -1, 0, 1, 2, 3]}
    assert read(place, (None, 0, 3, None)) == {"a": [-1, -1, 5, -1], "x": [-2, -1, 0, 3]}


@pytest.mark.slow
def test_more_cells_than_any_machine_could_hold_are_refused(tmp_path: Path) -> None:
    """A domain is often chosen as wide as it goes; the reader would be killed for the memory, and not say why."""
    place = str(tmp_path / "wide")
    dimension = tiledb.Dim("x", domain=(-(2**62), 2**62), tile=10, dtype=np.int64)
    tiledb.Array.create(place, tiledb.ArraySchema(tiledb.Domain(dimension), [tiledb.Attr("a", dtype=np.int32)]))

    with pytest.raises(ValueError, match=r"9,223,372,036,854,775,809 cells of '.*wide' are asked for.* Give ranges"):
        read(place)

    assert read(place, (-1, 1))["x"] == [-1, 0, 1]
