"""Queries in MariaDB's dialect over TileDB arrays, run by DuckDB; runs in worker processes.

An array is a table named by its backticked address.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow
import tiledb
from sqlglot import exp

from .arrays import place_of
from .dialect import COLLATION, MACROS, Assigned, Statement, parsed, to_engine, without_assignments
from .tables import bounds_of, columns_in, described, table_of

__all__ = ["run"]


def run(job: Mapping[str, Any]) -> Any:
    """The rows of a query in the form that its result format needs.

    Raises:
        ValueError: the query cannot be parsed (the position is shown) or run.
    """
    session = _Session(job["array_uris"])
    try:
        for command in job["init_commands"]:
            for statement in parsed(command):
                session.execute(statement, ())
        statements = parsed(job["query"])
        if len(statements) != 1:
            raise ValueError(f"the query must be one statement, got {len(statements)}; put others into init_commands")
        table = session.execute(statements[0], job["parameters"])
    except duckdb.Error as error:
        raise ValueError(f"the query failed: {error}") from None
    finally:
        session.close()
    if job["output_uri"]:
        _write(table, place_of(job["array_uris"], job["output_uri"]), job["output_uri"])
    return _as_rows(table) if job["result_format"] == "json" else table


class _Session:
    """One connection with its variables and the arrays read so far."""

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._uris = uris
        self._variables: dict[str, Any] = {}
        self._count = 0
        self._engine = duckdb.connect(":memory:")
        self._engine.execute(f"SET enable_external_access = false; SET default_collation = '{COLLATION}'")
        for macro in MACROS:
            self._engine.execute(f"CREATE TEMPORARY MACRO {macro}")

    def close(self) -> None:
        self._engine.close()

    def execute(self, statement: Statement, parameters: Sequence[Any]) -> Any:
        """The rows of a statement; an empty table for one that has none."""
        tree = statement.tree
        if isinstance(tree, exp.Set):
            self._set(tree)
            return pyarrow.table({})
        array = _described(tree)
        if array is not None:
            return described(self._uris, array)
        _refuse_writes(tree)
        _name_columns(tree, statement.labels)
        assigned = without_assignments(tree, self._variables)
        tree = to_engine(tree, self._variables)
        self._bind_arrays(tree)
        text = tree.sql(dialect="duckdb")
        rows: Any = self._engine.sql(text, params=list(parameters)) if parameters else self._engine.sql(text)
        if rows is None or not isinstance(tree, exp.Query):
            return pyarrow.table({})
        table = _plain(rows.to_arrow_table())
        self._remember(table, assigned)
        return self._selected_into(table, statement.into) if statement.into else table

    def _remember(self, table: Any, assigned: Assigned) -> None:
        """The variables have the values of the last row; of no row, the values from before."""
        for name, column in assigned.columns.items():
            if table.num_rows:
                self._variables[name] = table.column(column % table.num_columns)[table.num_rows - 1].as_py()

    def _selected_into(self, table: Any, names: Sequence[str]) -> Any:
        if table.num_columns != len(names):
            raise ValueError(f"into: {table.num_columns} columns for {len(names)} variables")
        if table.num_rows > 1:
            raise ValueError(f"into: the select has {table.num_rows} rows; variables take one")
        for name, column in zip(names, table.columns, strict=True):
            if table.num_rows:
                self._variables[name] = column[0].as_py()
        return pyarrow.table({})

    def _set(self, tree: Any) -> None:
        for item in tree.expressions:
            equation = item.this
            if not (isinstance(equation, exp.EQ) and isinstance(equation.this, exp.Parameter)):
                continue  # a setting of MariaDB that has no meaning here
            value = to_engine(exp.select(equation.expression.copy()), self._variables)
            self._bind_arrays(value)
            table = _plain(self._engine.sql(value.sql(dialect="duckdb")).to_arrow_table())
            self._variables[equation.this.name.lower()] = table.column(0)[0].as_py() if table.num_rows else None

    def _bind_arrays(self, tree: Any) -> None:
        """Reads the arrays that a statement names and puts them in place of their names."""
        tables = [table for table in tree.find_all(exp.Table) if _is_address(table.name)]
        if not tables:
            return
        wanted = columns_in(tree)
        known: dict[tuple[str, Any], str] = {}
        for table in tables:
            uri = table.name
            bounds = bounds_of(table)
            key = (uri, repr(bounds))
            if key not in known:
                self._count += 1
                known[key] = f"array_{self._count}"
                self._engine.register(known[key], table_of(self._uris, uri, wanted, bounds))
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(uri, quoted=True)))
            table.set("this", exp.to_identifier(known[key]))


def _described(tree: Any) -> str | None:
    """The array whose columns are asked for, by DESCRIBE or SHOW COLUMNS."""
    if isinstance(tree, exp.Describe) and isinstance(tree.this, exp.Table) and _is_address(tree.this.name):
        return str(tree.this.name)
    if isinstance(tree, exp.Show) and str(tree.this).upper() == "COLUMNS" and tree.args.get("target") is not None:
        name = tree.args["target"].name
        return name if _is_address(name) else None
    return None


def _refuse_writes(tree: Any) -> None:
    """Raises `ValueError` for a statement that would change an array."""
    name = ""
    if isinstance(tree, exp.Command):  # what the parser leaves as it is
        found = re.search(r"`([^`]+)`", str(tree.expression)) if str(tree.this).upper() == "REPLACE" else None
        name = found.group(1) if found is not None else ""
    elif isinstance(tree, (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)):
        places = [tree.this] if tree.this is not None else tree.args.get("tables") or tree.expressions
        name = next((target.name for place in places if (target := place.find(exp.Table)) is not None), "")
    if _is_address(name):
        raise ValueError(
            f"the array {name!r} cannot be changed by a query; give output_uri to write a new one, "
            "or write to it in an array UDF"
        )


def _name_columns(tree: Any, labels: Sequence[str] | None) -> None:
    if not isinstance(tree, exp.Select) or labels is None or len(labels) != len(tree.expressions):
        return
    for item, label in zip(list(tree.expressions), labels, strict=True):
        if not isinstance(item, (exp.Alias, exp.Column, exp.Star)):
            item.replace(exp.alias_(item.copy(), label, quoted=True))


def _is_address(name: str) -> bool:
    return "://" in name or name.startswith(("/", "./"))


# --- rows ---------------------------------------------------------------------------------------------------


def _plain(table: Any) -> Any:
    """Rows as MariaDB has them: truth is 1 and 0, times have no zone, and no Python decimals, of no use in a frame."""
    for index, item in enumerate(table.schema):
        column = table.column(index)
        plain = _plain_column(column, item.type)
        if plain is not column:
            table = table.set_column(index, item.name, plain)
    return table


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


def _as_rows(table: Any) -> list[dict[str, Any]]:
    """JSON as the service writes it: keys sorted, whole numbers without a fraction."""
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


def _write(table: Any, place: str, uri: str) -> None:
    """The rows as a new dense array with one dimension, `__tiledb_rows`."""
    if not table.num_rows or not table.num_columns:
        raise ValueError("output_uri: the query has no rows to write")
    last = table.num_rows - 1
    dimension = tiledb.Dim("__tiledb_rows", domain=(0, last), tile=min(10_000, last + 1), dtype=np.uint64)
    columns, attributes = {}, []
    for name in table.column_names:
        columns[name], attribute = _cells_of(name, table.column(name).combine_chunks())
        attributes.append(attribute)
    try:
        if "://" not in place:
            Path(place).parent.mkdir(parents=True, exist_ok=True)
        tiledb.Array.create(place, tiledb.ArraySchema(tiledb.Domain(dimension), attributes, sparse=False))
        with tiledb.open(place, "w") as array:
            array[:] = columns
    except tiledb.TileDBError as error:
        if tiledb.object_type(place) is not None:
            raise ValueError(f"output_uri: there is an array {uri!r} already; give the name of a new one") from error
        raise ValueError(f"output_uri: {uri!r} cannot be written: {error}") from error


def _cells_of(name: str, column: Any) -> tuple[Any, Any]:
    """A column's cells and their attribute, which may be null if one of them is. Times have a null of their own."""
    kind = column.type
    if pyarrow.types.is_null(kind):
        column = column.cast(pyarrow.string())
    elif pyarrow.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
    if column.null_count and not pyarrow.types.is_temporal(column.type):
        if pyarrow.types.is_large_string(column.type):
            column = column.cast(pyarrow.string())
        if pyarrow.types.is_string(column.type):
            return column, tiledb.Attr(name, dtype=str, var=True, nullable=True)
        if pyarrow.types.is_integer(column.type) or pyarrow.types.is_floating(column.type):
            return column, tiledb.Attr(name, dtype=column.type.to_pandas_dtype(), nullable=True)
    values = column.to_numpy(zero_copy_only=False)
    values = values.astype("U") if values.dtype.kind == "O" else values
    return values, tiledb.Attr(name, dtype=values.dtype, var=True if values.dtype.kind == "U" else None)
