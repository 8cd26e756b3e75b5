"""Random arrays with what is in them as plain Python, and random questions to them with the answers by plain Python."""

from __future__ import annotations

import datetime
import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import tiledb

WORDS = ["alpha", "Beta", "BETA", "beta", "gamma", "Delta", "x y", "zeta", "100", "a_b", "50%"]
MEMBERS = ["red", "green", "Blue"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One attribute: how it is made, and what fills cells that were never written."""

    name: str
    kind: str
    attribute: tuple[Any, ...]
    nullable: bool = False
    member: bool = False
    fill: Any = None


def columns() -> list[Column]:
    """One of every kind that a query can use."""
    found = [Column(code, "int", (code,), fill=int(np.iinfo(code).min)) for code in ("i1", "i2", "i4", "i8")]
    found += [Column(code, "int", (code,), fill=int(np.iinfo(code).max)) for code in ("u1", "u2", "u4", "u8")]
    found += [Column("f4", "float", ("f4",)), Column("f8", "float", ("f8",)), Column("s", "text", (str,), fill="\0")]
    found += [Column("t_s", "time", ("datetime64[s]",)), Column("t_us", "time", ("datetime64[us]",))]
    found += [Column("t_h", "time", ("datetime64[h]",)), Column("d", "date", ("datetime64[D]",))]
    found += [Column("m", "date", ("datetime64[M]",)), Column("e", "text", ("u1",), member=True)]
    found += [
        Column(f"n_{one.name}", one.kind, one.attribute, nullable=True, member=one.member)
        for one in found
        if one.name in ("i1", "i4", "i8", "u4", "f8", "s", "t_us", "t_h", "d", "e")
    ]
    return found


def value_of(column: Column, rng: random.Random) -> Any:
    """What a query gives for a random cell."""
    if column.nullable and rng.random() < 0.25:
        return None
    code = column.attribute[0]
    if column.kind == "int":
        info = np.iinfo(code)
        low, high = max(int(info.min), -1000), min(int(info.max), 1000)
        return rng.randint(low + 1, high - 1)
    if column.kind == "float":
        return rng.randint(-400, 400) / 8
    if column.kind == "text":
        return rng.choice(MEMBERS if column.member else WORDS)
    unit = np.datetime_data(np.dtype(code))[0]
    day = np.datetime64("2019-01-01") + np.timedelta64(rng.randint(0, 800), "D")
    if column.kind == "date":
        return day.astype(code).astype("datetime64[D]").item()
    moment = day.astype("datetime64[us]") + np.timedelta64(rng.randint(0, 86_400 * 10**6 - 1), "us")
    return moment.astype(f"datetime64[{unit}]").astype("datetime64[us]").item()


def stored(column: Column, values: Sequence[Any]) -> Any:
    """As TileDB-Py takes them."""
    mask = np.array([one is None for one in values])
    if column.member:
        values = [None if one is None else MEMBERS.index(one) for one in values]
    code = column.attribute[0]
    if code is str:
        return pyarrow.array(values) if column.nullable else np.array(values, dtype=object)
    if np.dtype(code).kind == "M":
        flat = np.array([np.datetime64(one if one is not None else "NaT", "us") for one in values]).astype(code)
        if not column.nullable:
            return flat
        has_hours = np.datetime_data(flat.dtype)[0] == "h"  # which Arrow has not
        return pyarrow.array(flat.astype("datetime64[s]") if has_hours else flat, mask=mask)
    plain = np.array([0 if one is None else one for one in values], dtype=code)
    return pyarrow.array(plain, mask=mask) if column.nullable else plain


@dataclass(frozen=True)
class Model:
    """An array on disk and its rows, in the order of its coordinates."""

    place: str
    is_sparse: bool
    dimensions: tuple[str, ...]
    kinds: dict[str, str]
    rows: list[Row]
    cells: dict[tuple[int, ...], Row]
    domains: dict[str, tuple[Any, Any]]


def make(place: Path, seed: int) -> Model:
    """Dense and sparse in turn, of one to three dimensions, written in one or two parts, with some cells left out."""
    rng = random.Random(seed)
    is_sparse = seed % 2 == 1
    count = rng.choice([1, 1, 2, 3])
    chosen = rng.sample(columns(), rng.randint(3, 9))
    names = ("x", "y", "z")[:count]
    domains: dict[str, tuple[Any, Any]] = {}
    dims = []
    same = rng.choice(["int", "int", "date"])  # a dense array's dimensions are all of one type
    for name in names:
        kind = rng.choice(["int", "int", "time", "float", "text"]) if is_sparse else same
        low = rng.choice([-50, -7, 0, 3])
        size = 40 if count == 1 else 9 if count == 2 else 5
        domains[name] = (kind, low)
        code = rng.choice(["i2", "i4", "i8"] if low < 0 else ["u1", "i4", "u8"]) if is_sparse else "i4"
        if kind == "int":
            dims.append(tiledb.Dim(name, domain=(low, low + size - 1), tile=min(size, 4), dtype=code))
        elif kind == "float":
            dims.append(tiledb.Dim(name, domain=(-1e6, 1e6), tile=1e5, dtype="f8"))
        elif kind == "text":
            dims.append(tiledb.Dim(name, domain=(None, None), tile=None, dtype="ascii"))
        else:
            # numpy types its units as literals; here one is chosen at random.
            unit: Any = "D" if kind == "date" else rng.choice(["D", "s", "us"])
            first = np.datetime64("1969-12-25", unit)
            days = 400 if is_sparse else size  # all cells of a dense array are read
            last = first + np.timedelta64(days if unit == "D" else 10**14 if unit == "us" else 10**8, unit)
            tile = np.timedelta64({"D": 4, "s": 10**6, "us": 10**9}[unit], unit)
            dims.append(tiledb.Dim(name, domain=(first, last), tile=tile, dtype=f"datetime64[{unit}]"))
            domains[name] = ("date" if unit == "D" else "time", first)
    schema = tiledb.ArraySchema(
        tiledb.Domain(*dims),
        [
            tiledb.Attr(one.name, dtype=one.attribute[0], var=True if one.attribute[0] is str else None,
                        nullable=one.nullable, enum_label="E" if one.member else None)
            for one in chosen
        ],
        sparse=is_sparse,
        enums=[tiledb.Enumeration("E", False, MEMBERS)],
    )  # fmt: skip
    tiledb.Array.create(str(place), schema)
    cells = (
        _write_sparse(place, rng, chosen, names, domains, dims)
        if is_sparse
        else (_write_dense(place, rng, chosen, names, dims))
    )
    kinds = {name: domains[name][0] for name in names} | {one.name: one.kind for one in chosen}
    rows = [cells[key] for key in sorted(cells)]
    return Model(str(place), is_sparse, names, kinds, rows, cells, domains)


def _coordinate(dim: Any, index: int) -> Any:
    """The query's value of the n-th coordinate of a dense dimension."""
    first = dim.domain[0]
    if dim.dtype.kind == "M":
        return (first + np.timedelta64(index, "D")).astype("datetime64[D]").item()
    return int(first) + index


def _write_dense(
    place: Path, rng: random.Random, chosen: Sequence[Column], names: Sequence[str], dims: Sequence[Any]
) -> dict[tuple[Any, ...], Row]:
    sizes = [{1: 40, 2: 9, 3: 5}[len(dims)]] * len(dims)
    boxes = []
    for _ in range(rng.choice([1, 2])):
        starts = [rng.randint(0, size - 1) for size in sizes]
        boxes.append([(start, rng.randint(start, size - 1)) for start, size in zip(starts, sizes, strict=True)])
    written: dict[tuple[int, ...], Row] = {}
    for box in boxes:
        spots = list(itertools.product(*(range(low, high + 1) for low, high in box)))
        values = {one.name: [value_of(one, rng) for _ in spots] for one in chosen}
        for number, spot in enumerate(spots):
            written[spot] = {name: column[number] for name, column in values.items()}
        ranges = []
        for dim, (low, high) in zip(dims, box, strict=True):
            first = dim.domain[0]
            is_time = dim.dtype.kind == "M"
            ranges.append(tuple(first + np.timedelta64(at, "D") if is_time else int(first) + at for at in (low, high)))
        data = {one.name: stored(one, values[one.name]) for one in chosen}
        with tiledb.open(str(place), "w") as array:
            box_of_cells = tiledb.Subarray(array)
            box_of_cells.add_ranges([[pair] for pair in ranges])
            array.write_subarray(box_of_cells, data)
    hull = [(min(box[n][0] for box in boxes), max(box[n][1] for box in boxes)) for n in range(len(dims))]
    fills = {one.name: None if one.nullable or one.member else one.fill for one in chosen}
    cells = {}
    for spot in itertools.product(*(range(low, high + 1) for low, high in hull)):
        where = {name: _coordinate(dim, at) for name, dim, at in zip(names, dims, spot, strict=True)}
        cells[spot] = {**where, **written.get(spot, fills)}
    return cells


def _write_sparse(
    place: Path, rng: random.Random, chosen: Sequence[Column], names: Sequence[str], domains: Any, dims: Sequence[Any]
) -> dict[tuple[Any, ...], Row]:
    seen: dict[tuple[Any, ...], Row] = {}
    for part in range(rng.choice([1, 2])):
        spots = {tuple(_anywhere(rng, dim) for dim in dims) for _ in range(rng.randint(5, 30))}
        order = sorted(spots)
        values = {one.name: [value_of(one, rng) for _ in order] for one in chosen}
        coordinates = [np.array([spot[n] for spot in order], dtype=_dtype_of(dim)) for n, dim in enumerate(dims)]
        with tiledb.open(str(place), "w", timestamp=part + 1) as array:
            array[tuple(coordinates)] = {one.name: stored(one, values[one.name]) for one in chosen}
        for number, spot in enumerate(order):
            where = {name: _plain(value, domains[name][0]) for name, value in zip(names, spot, strict=True)}
            seen[spot] = {**where, **{name: column[number] for name, column in values.items()}}
    return seen


def _dtype_of(dim: Any) -> Any:
    return object if dim.dtype.kind == "S" else dim.dtype


def _anywhere(rng: random.Random, dim: Any) -> Any:
    if dim.dtype.kind == "S":
        return rng.choice(["a", "ab", "b", "B", "zz", "m1", "m2"]) + rng.choice(["", "1", "2"])
    if dim.dtype.kind == "f":
        return rng.randint(-80, 80) / 8
    if dim.dtype.kind == "M":
        unit = np.datetime_data(dim.dtype)[0]
        moment = np.datetime64("1970-01-01", "us") + np.timedelta64(rng.randint(-5 * 86_400, 90 * 86_400), "s")
        return moment.astype("datetime64[us]").astype(f"datetime64[{unit}]")
    return rng.randint(int(dim.domain[0]), int(dim.domain[1]))


def _plain(value: Any, kind: str) -> Any:
    if kind == "date":
        return value.astype("datetime64[D]").item()
    return value.astype("datetime64[us]").item() if kind == "time" else value


# --- questions ----------------------------------------------------------------------------------------------

Truth = Callable[[Row], Any]
"""True, False, or None for unknown."""


def literal(value: Any) -> str:
    """As a query writes it."""
    if isinstance(value, datetime.datetime):
        return f"'{value.isoformat(' ')}'"
    if isinstance(value, datetime.date):
        return f"'{value.isoformat()}'"
    if isinstance(value, str):
        return f"'{value}'"
    return repr(value)


def key(value: Any) -> Any:
    """By what values are compared: texts without case, dates as times."""
    if isinstance(value, str):
        return value.lower()
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)  # noqa: DTZ001
    return value


def _near(rng: random.Random, value: Any) -> Any:
    """The value itself, or one beside it."""
    if isinstance(value, bool) or value is None or rng.random() < 0.4:
        return value
    if isinstance(value, int):
        return rng.choice([value - 1, value + 1, value + 0.5, float(value), -value, value * 1000])
    if isinstance(value, float):
        return rng.choice([value + 0.125, int(value), value - 3])
    if isinstance(value, datetime.datetime):
        return rng.choice([value + datetime.timedelta(seconds=1), value.date(), value - datetime.timedelta(days=3)])
    if isinstance(value, datetime.date):
        at_noon = datetime.datetime(value.year, value.month, value.day, 12)  # noqa: DTZ001
        return rng.choice([value + datetime.timedelta(days=1), at_noon])
    return rng.choice([value.upper(), value[:1], value + "z"])


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip
TURNED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def condition(rng: random.Random, model: Model, depth: int = 0) -> tuple[str, Truth]:
    """A random one."""
    if depth < 3 and rng.random() < (0.7 if depth == 0 else 0.4):
        left, right = (condition(rng, model, depth + 1) for _ in range(2))
        if rng.random() < 0.65:
            return f"({left[0]} and {right[0]})" if depth else f"{left[0]} and {right[0]}", _both(left[1], right[1])
        return f"({left[0]} or {right[0]})", _either(left[1], right[1])
    if depth < 3 and rng.random() < 0.12:
        text, truth = condition(rng, model, depth + 1)
        return f"not ({text})", lambda row: None if (found := truth(row)) is None else not found
    return _simple(rng, model)


def _both(left: Truth, right: Truth) -> Truth:
    def truth(row: Row) -> Any:
        found = left(row), right(row)
        return False if False in found else None if None in found else True

    return truth


def _either(left: Truth, right: Truth) -> Truth:
    def truth(row: Row) -> Any:
        found = left(row), right(row)
        return True if True in found else None if None in found else False

    return truth


def _simple(rng: random.Random, model: Model) -> tuple[str, Truth]:
    names = list(model.dimensions) * 2 + [name for name in model.kinds if name not in model.dimensions]
    name = rng.choice(names)
    known = [row[name] for row in model.rows if row[name] is not None] or [None]
    value = _near(rng, rng.choice(known))
    way = rng.random()
    if value is None or way < 0.1:
        is_not = rng.random() < 0.5
        return f"{name} is {'not ' if is_not else ''}null", lambda row: (row[name] is None) != is_not
    if way < 0.25:
        other = _near(rng, rng.choice(known))
        return (
            f"{name} between {literal(value)} and {literal(other)}",
            _known(name, lambda cell: key(value) <= cell <= key(other)),
        )
    if way < 0.4:
        several = [_near(rng, rng.choice(known)) for _ in range(rng.randint(1, 3))]
        keys = [key(one) for one in several]
        return f"{name} in ({', '.join(map(literal, several))})", _known(name, lambda cell: cell in keys)
    if model.kinds[name] == "text" and way < 0.6:
        start = str(rng.choice(known))[:2].replace("_", "\\_").replace("%", "\\%")
        plain = start.replace("\\", "").lower()
        return f"{name} like '{start}%'", _known(name, lambda cell: cell.startswith(plain))
    sign = rng.choice(list(OPERATORS))
    text = f"{name} {sign} {literal(value)}" if rng.random() < 0.7 else f"{literal(value)} {TURNED[sign]} {name}"
    return text, _known(name, lambda cell: OPERATORS[sign](cell, key(value)))


def _known(name: str, holds: Callable[[Any], bool]) -> Truth:
    return lambda row: None if row[name] is None else holds(key(row[name]))


# --- answers ------------------------------------------------------------------------------------------------


def is_same(one: Any, other: Any) -> bool:
    """Whether two cells are: numbers closely, a date and a time by what they tell."""
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)
    return bool(one == other)


def assert_same(found: Sequence[Row], expected: Sequence[Row], words: str) -> None:
    """The same rows in the same order."""
    assert len(found) == len(expected), f"{words}\n{len(found)} rows, expected {len(expected)}"
    for one, other in zip(found, expected, strict=True):
        assert list(one) == list(other), f"{words}\n{list(one)}\n{list(other)}"
        for name in one:
            assert is_same(one[name], other[name]), f"{words}\n{name}: {one[name]!r}, expected {other[name]!r}"
