"""Rows of a query in the form of its result: columns as MariaDB has them, JSON, or a new array."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import tiledb

__all__ = ["as_rows", "plain", "restored", "write"]


def plain(table: Any) -> Any:
    """Rows as MariaDB has them: truth is 1 and 0, times have no zone, and no Python decimals, of no use in a frame."""
    for index, item in enumerate(table.schema):
        column = table.column(index)
        plain = _plain_column(column, item.type)
        if plain is not column:
            table = table.set_column(index, item.name, plain)
    return table


def restored(table: Any, kinds: Mapping[str, Any]) -> Any:
    """With columns of an array in the types that they have there; the engine counts in wider ones, as MariaDB does.

    Args:
        kinds: Types by the names of columns that stand in the rows as the array has them.
    """
    for index, item in enumerate(table.schema):
        kind = kinds.get(item.name)
        if kind is None or kind == item.type or pyarrow.types.is_boolean(kind):
            continue
        column = table.column(index)
        if not (pyarrow.types.is_int64(item.type) or pyarrow.types.is_float64(item.type)):
            continue
        try:
            narrow = column.cast(kind)
        except pyarrow.ArrowInvalid:
            continue
        if pyarrow.types.is_floating(kind) and not _is_same(narrow.cast(item.type), column):
            continue
        table = table.set_column(index, item.name, narrow)
    return table


def _is_same(one: Any, other: Any) -> bool:
    if one.null_count:
        one, other = one.drop_null(), other.drop_null()
    return bool(np.array_equal(one.to_numpy(), other.to_numpy(), equal_nan=True))


def _plain_column(column: Any, kind: Any) -> Any:
    types = pyarrow.types
    if types.is_boolean(kind):
        return column.cast(pyarrow.int8())
    if types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(pyarrow.timestamp(kind.unit))
    if types.is_interval(kind):
        return pyarrow.chunked_array([_as_durations(chunk) for chunk in column.chunks], pyarrow.duration("us"))
    if types.is_decimal(kind):
        try:
            return column.cast(pyarrow.int64() if kind.scale == 0 else pyarrow.float64())
        except pyarrow.ArrowInvalid:  # too large for 64 bits
            return column.cast(pyarrow.float64())
    return column


def _as_durations(intervals: Any) -> Any:
    """What the engine counts in months, days and nanoseconds as one number."""
    count = [
        None if one is None else (one.months * 30 + one.days) * 86_400_000_000 + one.nanoseconds // 1000
        for one in intervals.to_pylist()
    ]
    return pyarrow.array(count, type=pyarrow.duration("us"))


def as_rows(table: Any) -> list[dict[str, Any]]:
    """JSON as the service writes it: keys sorted, whole numbers without a fraction."""
    for index, item in enumerate(table.schema):
        if pyarrow.types.is_float32(item.type):  # as short as tells them apart: 0.1, not 0.10000000149011612
            values = [None if one is None else float(str(np.float32(one))) for one in table.column(index).to_pylist()]
            table = table.set_column(index, item.name, pyarrow.array(values, type=pyarrow.float64()))
    names = sorted(table.column_names)
    return [{name: _as_json(row[name]) for name in names} for row in table.to_pylist()]


def _as_json(value: Any) -> Any:
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat(" ") if isinstance(value, datetime.datetime) else value.isoformat()
    if isinstance(value, datetime.timedelta):
        return _as_hours(value)
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in sorted(value.items())}
    return value


def _as_hours(value: datetime.timedelta) -> str:
    """As MariaDB writes a time: 36:00:01.500000."""
    micros = abs(value) // datetime.timedelta(microseconds=1)
    seconds, micros = divmod(micros, 10**6)
    sign, part = "-" if value < datetime.timedelta(0) else "", f".{micros:06}" if micros else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{part}"


def write(table: Any, place: str, uri: str) -> None:
    """The rows as a new dense array with one dimension, `__tiledb_rows`; it is there wholly, or not at all.

    Raises:
        ValueError: There is such an array already, it cannot be written, or no array has such columns.
    """
    if not table.num_rows or not table.num_columns:
        raise ValueError("output_uri: the query has no rows to write")
    twice = [name for name in table.column_names if table.column_names.count(name) > 1]
    if twice:
        raise ValueError(f"output_uri: two columns are named {twice[0]!r}; give each a name of its own by `as`")
    reserved = [name for name in table.column_names if name.startswith("__")]
    if reserved:
        raise ValueError(
            f"output_uri: the column {reserved[0]!r} cannot be an attribute: names that begin with __ are "
            "TileDB's own; give it another by `as`"
        )
    made = [_cells_of(name, table.column(name).combine_chunks()) for name in table.column_names]
    last = table.num_rows - 1
    dimension = tiledb.Dim("__tiledb_rows", domain=(0, last), tile=min(10_000, last + 1), dtype=np.uint64)
    schema = tiledb.ArraySchema(tiledb.Domain(dimension), [attribute for _, attribute in made], sparse=False)
    try:
        if tiledb.object_type(place) is not None:
            raise ValueError(f"output_uri: there is an array {uri!r} already; give the name of a new one")
        if "://" not in place:
            place = os.path.expanduser(place)  # as TileDB does
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        tiledb.Array.create(place, schema)
        try:
            with tiledb.open(place, "w") as array:
                array[:] = dict(zip(table.column_names, (cells for cells, _ in made), strict=True))
        except BaseException:
            with contextlib.suppress(tiledb.TileDBError):
                tiledb.remove(place)  # half of it is of no use, and holds the name
            raise
    except (tiledb.TileDBError, OSError) as error:
        raise ValueError(f"output_uri: {uri!r} cannot be written: {error}") from error


def _cells_of(name: str, column: Any) -> tuple[Any, Any]:
    """A column's cells and their attribute, which may be null if one of them is. Times have a null of their own."""
    column = _storable(name, column)
    kind, is_nullable = column.type, bool(column.null_count)
    if pyarrow.types.is_string(kind):
        values = column if is_nullable else column.to_numpy(zero_copy_only=False).astype("U")
        return values, tiledb.Attr(name, dtype=str, var=True, nullable=is_nullable)
    if pyarrow.types.is_binary(kind):
        values = column if is_nullable else column.to_numpy(zero_copy_only=False)
        return values, tiledb.Attr(name, dtype="ascii" if is_nullable else "S", var=True, nullable=is_nullable)
    if is_nullable and not pyarrow.types.is_temporal(kind):
        return column, tiledb.Attr(name, dtype=kind.to_pandas_dtype(), nullable=True)
    values = column.to_numpy(zero_copy_only=False)
    return values, tiledb.Attr(name, dtype=values.dtype)


def _storable(name: str, column: Any) -> Any:
    """The column in a type that an attribute can have: texts, bytes, numbers, dates, times and spans of time."""
    kind, types = column.type, pyarrow.types
    if types.is_dictionary(kind):
        return _storable(name, column.cast(kind.value_type))
    if types.is_null(kind) or types.is_large_string(kind):
        return column.cast(pyarrow.string())
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return column.cast(pyarrow.binary())
    if types.is_time(kind):  # of a day: no array has such
        return pyarrow.array([_as_json(one) for one in column.to_pylist()], type=pyarrow.string())
    if types.is_nested(kind):
        raise ValueError(f"output_uri: the column {name!r} is of the type {kind}, which is not written to arrays here")
    return column
