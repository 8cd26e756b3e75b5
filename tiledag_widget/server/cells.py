"""Cells of TileDB arrays as TileDB-Py holds them before it makes objects of them; runs in worker processes.

TileDB-Py's own results do not say which cells are null, and fail on a cell whose enumeration has no member for it, as
no cell has that was never written. Functions get numpy's arrays from here and queries Arrow's, both without a loop over
the cells where their type allows it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow
from pyarrow import compute
from tiledb.multirange_indexing import MultiRangeIndexer

__all__ = ["Cells", "cells_of", "no_cells_of"]


@dataclass(frozen=True, eq=False)
class Cells:
    """What was read of one attribute or dimension."""

    name: str
    dtype: Any
    values: Any
    """One for each cell, of an enumeration the number of its member; those of all cells in a row if `offsets`."""
    offsets: Any
    """Where the values of each cell begin, in bytes; None if all cells are equally long."""
    is_null: Any
    """For each cell; None if none can be."""
    members: Any
    """Of the enumeration; None if there is none."""
    fill: Any
    """The bytes of cells that were never written; None where they are null, or no bytes."""
    shape: tuple[int, ...]
    pieces: Callable[[], Any]
    """Makes an object of each cell, where they have lengths of their own; TileDB-Py does that fastest."""

    def to_numpy(self) -> Any:
        """As TileDB-Py gives them; with a mask if cells can be null or are none of the enumeration's members."""
        flat = self.values
        if self.offsets is not None:
            flat = self.pieces() if len(self.offsets) else np.empty(0, dtype=object)
        elif self.members is not None:
            known = flat if self.is_null is None else np.where(self.is_null, 0, flat)
            flat = self.members[known] if len(self.members) else np.zeros(len(flat), self.members.dtype)
        flat = flat.reshape(self.shape)
        return flat if self.is_null is None else np.ma.array(flat, mask=self.is_null.reshape(self.shape))

    def _bytes(self) -> Any:
        """The cells of a text as Arrow has them, without a copy."""
        data = self.values.view(np.uint8)
        ends = pyarrow.py_buffer(np.append(self.offsets, len(data)).astype(np.int64))
        valid = None if self.is_null is None else pyarrow.py_buffer(np.packbits(~self.is_null, bitorder="little"))
        return pyarrow.Array.from_buffers(
            pyarrow.large_binary(), len(self.offsets), [valid, ends, pyarrow.py_buffer(data)]
        )

    def to_arrow(self) -> Any:
        """A flat column; text where the cells are text, also where they are stored as bytes.

        Raises:
            ValueError: a query can do nothing with such values.
        """
        if self.members is not None:
            known = _plain(self.members) if len(self.members) else pyarrow.nulls(1)
            return _as_text(known.take(pyarrow.array(self.values, mask=self.is_null)))
        if self.dtype.kind in "SU":
            return self._texts()
        try:
            if self.offsets is None:
                return _plain(self.values, self.is_null)
            starts: Any = np.append(self.offsets // self.dtype.itemsize, len(self.values))
            lists = pyarrow.LargeListArray.from_arrays(starts, _plain(self.values))
            return lists if self.is_null is None else compute.if_else(~self.is_null, lists, None)
        except (pyarrow.ArrowException, TypeError):
            raise ValueError(f"the column {self.name!r} is of the type {self.dtype}, which no query can use") from None

    def _texts(self) -> Any:
        """Text, which is what a query compares; bytes that are no text stay bytes."""
        if self.offsets is not None:
            column = self._bytes()
        else:
            column = pyarrow.array(self.values.tolist(), type=pyarrow.large_binary(), mask=self.is_null)
        texts = _as_text(column)
        if texts is column and isinstance(self.fill, bytes):  # what fills cells never written may be what is no text
            texts = _as_text(compute.if_else(compute.not_equal(column, self.fill), column, None))
        return texts


def _as_text(column: Any) -> Any:
    if not (pyarrow.types.is_binary(column.type) or pyarrow.types.is_large_binary(column.type)):
        return column
    try:
        return column.cast(pyarrow.large_string())
    except pyarrow.ArrowInvalid:
        return column


def _plain(values: Any, is_null: Any = None) -> Any:
    if values.dtype.kind == "m":  # the engine looks at what stands where nothing is
        none = np.isnat(values)
        is_null = none if is_null is None else none | is_null
        values = np.where(is_null, np.timedelta64(0), values)
    # What is no number is null to a query: MariaDB has none such, and the engine would put it above all others.
    return pyarrow.array(_in_a_unit_of_arrow(values), mask=is_null, from_pandas=values.dtype.kind == "f")


def _in_a_unit_of_arrow(values: Any) -> Any:
    """Times in the unit that holds them and that Arrow and the engine know: dates, or times to the nanosecond."""
    if values.dtype.kind not in "Mm":
        return values
    unit, kind = np.datetime_data(values.dtype)[0], "datetime64" if values.dtype.kind == "M" else "timedelta64"
    if unit in ("Y", "M", "W") and kind == "datetime64":
        return values.astype("datetime64[D]")
    if unit in ("h", "m") or (unit in ("W", "D") and kind == "timedelta64"):
        return values.astype(f"{kind}[s]")
    return values.astype(f"{kind}[ns]") if unit in ("ps", "fs", "as") else values


def cells_of(array: Any, names: Sequence[str], order: str, selection: tuple[Any, ...]) -> Iterator[Cells]:
    """The cells of attributes and dimensions, at least of one, all from one read.

    Args:
        array: Open for reading.
        names: Of attributes, then of dimensions: a dense array's coordinates may be asked for, too.
        order: `C`, `F`, `G` or `U`, as TileDB-Py has it.
        selection: As `multi_index` takes it.
    """
    attributes = [name for name in names if array.schema.has_attr(name)]
    dimensions = [name for name in names if not array.schema.has_attr(name)]
    reading = _Reading(array, array.query(attrs=attributes, dims=dimensions or False, order=order))
    found = reading[selection]
    shape = None if reading.result_shape is None else tuple(map(int, reading.result_shape))
    unpack = reading.pyquery.unpack_buffer
    return (_made_of(array, name, found[name], shape, unpack) for name in names)


def no_cells_of(array: Any, names: Sequence[str]) -> Iterator[Cells]:
    """As `cells_of` of a selection with nothing in it, which TileDB has not."""
    nothing: tuple[Any, ...] = tuple(np.empty(0, dtype=kind) for kind in ("u1", "u8", "u1"))
    return (_made_of(array, name, nothing, None, None) for name in names)


def _made_of(
    array: Any, name: str, buffers: tuple[Any, ...], shape: tuple[int, ...] | None, unpack: Callable[..., Any] | None
) -> Cells:
    data, offsets, validity = buffers
    pieces = functools.partial(unpack, name, data, offsets) if unpack is not None else list
    schema = array.schema
    attribute = schema.attr(name) if schema.has_attr(name) else None
    varies = attribute.isvar if attribute is not None else schema.domain.dim(name).isvar
    dtype = schema.attr_or_dim_dtype(name)
    is_text = varies and dtype.kind in "SU"
    values = data if is_text else data.view(dtype)
    if not varies:
        offsets = None
    is_null, members, fill = None, None, None
    if attribute is not None:
        is_null = validity == 0 if attribute.isnullable else None
        fill = attribute.fill if dtype.kind == "S" and not attribute.isnullable else None
        if attribute.enum_label is not None:
            members = np.asarray(array.enum(attribute.enum_label).values())
            unknown = values.view(f"u{values.itemsize}") >= len(members)  # also what is below 0
            if is_null is not None or unknown.any():
                is_null = unknown if is_null is None else is_null | unknown
    count = len(values) if offsets is None else len(offsets)
    return Cells(name, dtype, values, offsets, is_null, members, fill, shape or (count,), pieces)


class _Reading(MultiRangeIndexer):  # type: ignore[misc]
    """`multi_index` up to where it would make objects of what it has read: values, offsets and validity by name."""

    def _run_query(self) -> Any:
        self.pyquery.submit()
        return self.pyquery.results()
