"""Arrays as the tables of a query: which of their columns and cells are read for it.

Only the columns that a query names are read, and where a plain `select` bounds a dimension by numbers or times, only
those cells: never fewer than the condition lets through, for the engine checks it again.
"""

from __future__ import annotations

import datetime
import decimal
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import pyarrow
import tiledb
from sqlglot import exp

from .arrays import opened, place_of
from .cells import cells_of, no_cells_of

__all__ = ["Bounds", "bounds_of", "columns_in", "described", "table_of"]

UNNAMED = "__attr"
"""The column of an attribute without a name, as `tiledb.from_numpy` makes it: no query can name a column so."""

Limit: TypeAlias = "Fraction | datetime.datetime | None"
"""None stands for no limit."""
Bounds: TypeAlias = "Mapping[str, tuple[list[Fraction | datetime.datetime], list[Fraction | datetime.datetime]]]"
"""For each column, in lower case, what is not above and what is not below its values."""


# --- what a query needs -------------------------------------------------------------------------------------


def columns_in(tree: Any) -> set[str] | None:
    """Names of all columns in a statement, in lower case; None for all columns."""
    for star in tree.find_all(exp.Star):
        if not isinstance(star.parent, exp.Count):
            return None
    names = {column.name.lower() for column in tree.find_all(exp.Column)}
    for join in tree.find_all(exp.Join):
        if join.method.upper() == "NATURAL":
            return None
        names |= {name.name.lower() for name in join.args.get("using") or ()}
    return names


def bounds_of(table: Any) -> Bounds:
    """What the condition of the table's `select` says of its columns.

    Only for a select from this one table; what is not understood bounds nothing.
    """
    select = table.find_ancestor(exp.Select)
    condition = select.args.get("where") if select is not None else None
    if condition is None or select.args.get("joins") or len(list(select.find_all(exp.Table))) != 1:
        return {}
    bounds: dict[str, tuple[list[Any], list[Any]]] = {}
    own = {"", table.name.lower(), table.alias.lower()}
    for part in _parts_of(condition.this):
        for column, least, most in _limits_in(part):
            if not isinstance(column, exp.Column) or column.table.lower() not in own:
                continue  # of a select around this one
            lower, upper = bounds.setdefault(column.name.lower(), ([], []))
            if least is not None:
                lower.append(least)
            if most is not None:
                upper.append(most)
    return bounds


def _parts_of(condition: Any) -> Iterator[Any]:
    """What must all hold."""
    waiting = [condition]
    while waiting:
        part = waiting.pop().unnest()
        if isinstance(part, exp.And):
            waiting += [part.this, part.expression]
        else:
            yield part


def _limits_in(part: Any) -> Iterator[tuple[Any, Limit, Limit]]:
    """Something, its least and its greatest value."""
    if isinstance(part, exp.Between):
        yield part.this, _value_of(part.args["low"]), _value_of(part.args["high"])
    elif isinstance(part, exp.In):
        values = [_value_of(item) for item in part.expressions]
        known = [value for value in values if value is not None]
        if known and len(known) == len(values) and len({type(value) for value in known}) == 1:
            yield part.this, min(known), max(known)
    elif isinstance(part, (exp.EQ, exp.GT, exp.GTE, exp.LT, exp.LTE)):
        left, right = part.this, part.expression
        is_above = isinstance(part, (exp.EQ, exp.GT, exp.GTE))
        is_below = isinstance(part, (exp.EQ, exp.LT, exp.LTE))
        yield left, _value_of(right) if is_above else None, _value_of(right) if is_below else None
        yield right, _value_of(left) if is_below else None, _value_of(left) if is_above else None


_TIME = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6})\d*)?)?)?")


def _value_of(tree: Any) -> Limit:
    """A number or a time that is written out."""
    if isinstance(tree, exp.Neg):
        value = _value_of(tree.this)
        return -value if isinstance(value, Fraction) else None
    if isinstance(tree, exp.Cast) and tree.to.is_type("DATE", "DATETIME", "TIMESTAMP", "TIMESTAMPTZ"):
        value = _value_of(tree.this)
        return value if isinstance(value, datetime.datetime) else None
    if not isinstance(tree, exp.Literal):
        return None
    try:
        if not tree.is_string:
            return Fraction(decimal.Decimal(tree.this))
        found = _TIME.fullmatch(tree.this)
        if found is None:
            return None
        *numbers, part = found.groups()
        year, month, day, hour, minute, second = (int(number or 0) for number in numbers)
        rest = int((part or "0").ljust(6, "0"))
        return datetime.datetime(year, month, day, hour, minute, second, rest, tzinfo=datetime.timezone.utc)
    except (ValueError, decimal.InvalidOperation):
        return None


# --- cells as rows ------------------------------------------------------------------------------------------


def table_of(uris: Mapping[str, str], uri: str, wanted: set[str] | None, bounds: Bounds) -> tuple[Any, list[str]]:
    """The cells of an array as rows: the columns wanted, at least one; and the names of all columns it has.

    Of a dense array these are the cells between the first and the last that were ever written.

    Raises:
        ValueError: the array cannot be read, or a column is of a type that no query can use.
    """
    with opened(place_of(uris, uri), uri) as array:
        every = _columns_of(array.schema)
        asked = [name for name in every if wanted is None or name.lower() in wanted] or every[:1]
        names = ["" if name == UNNAMED and array.schema.has_attr("") else name for name in asked]
        names.sort(key=lambda name: not array.schema.has_attr(name))
        selection = _selection_of(array, bounds)
        try:
            read = no_cells_of(array, names) if selection is None else cells_of(array, names, "C", selection)
            columns = {cells.name or UNNAMED: cells.to_arrow() for cells in read}
        except tiledb.TileDBError as error:
            raise ValueError(f"the array {uri!r} cannot be read: {error}") from error
    return pyarrow.table({name: columns[name] for name in every if name in columns}), every


def _columns_of(schema: Any) -> list[str]:
    """Names of the dimensions and the attributes of an array."""
    dimensions = [schema.domain.dim(index).name for index in range(schema.domain.ndim)]
    return dimensions + [schema.attr(index).name or UNNAMED for index in range(schema.nattr)]


def described(uris: Mapping[str, str], uri: str) -> Any:
    """What MariaDB's DESCRIBE says of a table, for an array."""
    with opened(place_of(uris, uri), uri) as array:
        domain = array.schema.domain
        found = [(domain.dim(index), "PRI", "NO") for index in range(domain.ndim)]
        for index in range(array.schema.nattr):
            attribute = array.schema.attr(index)
            found.append((attribute, "", "YES" if attribute.isnullable else "NO"))
        return pyarrow.table(
            {
                "Field": [one.name or UNNAMED for one, _, _ in found],
                "Type": [str(one.dtype) for one, _, _ in found],
                "Null": [nullable for _, _, nullable in found],
                "Key": [key for _, key, _ in found],
            }
        )


def _selection_of(array: Any, bounds: Bounds) -> tuple[Any, ...] | None:
    """What `multi_index` takes; None if there is nothing to read."""
    written = array.nonempty_domain()
    if written is None:
        return None
    selection = []
    for index, (first, last) in enumerate(written):
        dimension = array.schema.domain.dim(index)
        bound = bounds.get(dimension.name.lower())
        if bound is None or dimension.dtype.kind not in "iufM":
            selection.append(slice(None))
            continue
        found = _between(dimension.dtype, (first, last), *bound)
        if found is None:
            return None
        selection.append(slice(*found))
    return tuple(selection)


def _between(dtype: Any, written: tuple[Any, Any], lower: Sequence[Any], upper: Sequence[Any]) -> Any:
    """The first and the last coordinate within all bounds; None if there is none."""
    if dtype.kind == "f":
        least = max([float(written[0]), *(float(one) for one in lower if isinstance(one, Fraction))])
        most = min([float(written[1]), *(float(one) for one in upper if isinstance(one, Fraction))])
        return (least, most) if least <= most else None
    first, last = (int(np.asarray(one).astype("int64" if dtype.kind == "M" else dtype)) for one in written)
    kind: Any = datetime.datetime if dtype.kind == "M" else Fraction
    below, above = [_number_of(dtype)] * 2 if dtype.kind == "M" else [math.ceil, math.floor]
    least = max([first, *(below(one) for one in lower if isinstance(one, kind))])
    most = min([last, *(above(one) for one in upper if isinstance(one, kind))])
    if least > most:
        return None
    if dtype.kind == "M":
        return tuple(np.array([least, most], dtype="int64").view(dtype))
    return least, most


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_SECONDS = {"W": 604_800, "D": 86_400, "h": 3600, "m": 60, "s": 1}
_PARTS_OF_SECONDS = {"ms": 10**3, "us": 10**6, "ns": 10**9, "ps": 10**12, "fs": 10**15, "as": 10**18}


def _number_of(dtype: Any) -> Any:
    """What gives the number of the unit that a time is in."""
    unit = np.datetime_data(dtype)[0]
    if unit == "Y":
        return lambda moment: moment.year - 1970
    if unit == "M":
        return lambda moment: (moment.year - 1970) * 12 + moment.month - 1
    size = Fraction(_SECONDS[unit]) if unit in _SECONDS else Fraction(1, _PARTS_OF_SECONDS[unit])

    def number(moment: datetime.datetime) -> int:
        passed = moment - _EPOCH
        seconds = Fraction(passed.days * 86_400 + passed.seconds) + Fraction(passed.microseconds, 10**6)
        return math.floor(seconds / size)

    return number
