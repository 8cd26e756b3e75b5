"""Data of TileDB arrays as functions and queries get it; runs in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tiledb

from ..wire.models import ArrayDetails
from .cells import cells_of

__all__ = ["SAMPLES", "SAMPLES_OF", "make_samples", "opened", "place_of", "read", "slices_of"]

SAMPLES_OF = "TileDB-Inc"
"""The namespace in which the tutorials name them."""
SAMPLES = ("quickstart_dense", "quickstart_sparse")

_ORDERS = {"row-major": "C", "col-major": "F", "global-order": "G", "unordered": "U"}


def place_of(uris: Mapping[str, str], uri: str) -> str:
    """Where an array is: a registered name is looked up, everything else is a place already.

    Args:
        uris: Places by ``namespace/name``, the namespace in lower case.
        uri: As the client names it.

    Raises:
        ValueError: the name is not registered.
    """
    if not uri.startswith("tiledb://"):
        return uri
    namespace, _, name = uri.removeprefix("tiledb://").partition("/")
    if "://" in name:  # tiledb://namespace/s3://bucket/array
        return name
    found = uris.get(f"{namespace.lower()}/{name}")
    if found is None:
        how = f"Register it with `tiledag arrays add {namespace}/{name} PATH`, or name its path or s3:// address."
        if namespace.lower() == SAMPLES_OF.lower() and name in SAMPLES:
            how = "It is one of the samples of TileDB's tutorials: `tiledag arrays add --samples` registers them."
        raise ValueError(f"unknown array {uri!r}: this server reads registered names. {how}")
    return found


def read(uris: Mapping[str, str], details: ArrayDetails) -> dict[str, Any]:
    """The selected cells: an array for each buffer, shaped like the selection if the array is dense.

    Raises:
        ValueError: the array, a buffer, the layout or the ranges do not fit.
    """
    ranges = details.ranges.ranges if details.ranges is not None else ()
    layout = (details.ranges.layout if details.ranges is not None else None) or "row-major"
    if layout not in _ORDERS:
        raise ValueError(f"unknown layout {layout!r} for {details.uri!r}; known are {', '.join(_ORDERS)}")
    with opened(place_of(uris, details.uri), details.uri) as array:
        schema = array.schema
        # A dense array is read by rows and turned afterwards: TileDB-Py gives other orders in the wrong shape.
        order = _ORDERS[layout] if schema.sparse else "C"
        selection = slices_of(schema, ranges, details.uri)
        buffers = _buffers_of(schema, details)
        if not schema.sparse:
            _check_room(schema, selection, buffers, details.uri)
        try:
            data = {cells.name: cells.to_numpy() for cells in cells_of(array, buffers, order, selection)}
        except tiledb.TileDBError as error:
            raise ValueError(f"the array {details.uri!r} cannot be read so: {error}") from error
    if not schema.sparse and layout == "col-major":
        return {name: values.T for name, values in data.items()}
    return data


def opened(place: str, uri: str) -> Any:
    """An array, open for reading.

    Raises:
        ValueError: it cannot be opened.
    """
    try:
        return tiledb.open(place)
    except tiledb.TileDBError as error:
        raise ValueError(f"the array {uri!r} cannot be opened: {error}") from error


def _buffers_of(schema: Any, details: ArrayDetails) -> list[str]:
    """Names of attributes, then of dimensions, to read."""
    attributes = [schema.attr(index).name for index in range(schema.nattr)]
    dimensions = [schema.domain.dim(index).name for index in range(schema.domain.ndim)]
    known = [*attributes, *dimensions]
    if not details.buffers:
        return known
    unknown = [name for name in details.buffers if name not in known]
    if unknown:
        raise ValueError(f"the array {details.uri!r} has no {unknown[0]!r}; it has {', '.join(known)}")
    wanted = list(dict.fromkeys(details.buffers))
    return sorted(wanted, key=lambda name: name in dimensions)


def slices_of(schema: Any, ranges: Sequence[Sequence[Any]], uri: str) -> tuple[Any, ...]:
    """Flat pairs of inclusive bounds for each dimension as what `multi_index` takes; no pairs are the whole one.

    Of a dense array that is all of it, as `array[:]` gives: left to itself, `multi_index` would take what lies between
    the first and the last cell that was written, and fail where there is none.
    """
    count = schema.domain.ndim
    if len(ranges) > count:
        raise ValueError(f"{len(ranges)} ranges for the {count} dimensions of {uri!r}")
    selection: list[Any] = []
    for index in range(count):
        dimension = schema.domain.dim(index)
        bounds = ranges[index] if index < len(ranges) and ranges[index] is not None else ()
        where = f"of dimension {dimension.name!r} of {uri!r}"
        if not isinstance(bounds, (list, tuple)) or len(bounds) % 2:
            raise ValueError(f"the ranges {where} must be pairs of bounds, got {bounds!r}")
        values = [_bound(dimension.dtype, bound, where) for bound in bounds]
        pairs = list(zip(values[::2], values[1::2], strict=True))
        for low, high in pairs:
            if low is not None and high is not None and low > high:
                raise ValueError(f"the range {low} to {high} {where} begins after its end")
        if not schema.sparse:
            first, last = _domain_of(schema, index)
            pairs = [
                (first if low is None else low, last if high is None else high) for low, high in pairs or [(None, None)]
            ]
        selection.append([slice(*pair) for pair in pairs] or slice(None))
    return tuple(selection)


def _domain_of(schema: Any, index: int) -> tuple[Any, Any]:
    """The first and the last coordinate that a dimension has now; it may have room to grow."""
    current = getattr(schema, "current_domain", None)
    found = schema.domain.dim(index).domain if current is None or current.is_empty else current.ndrectangle.range(index)
    return found[0], found[1]


def _check_room(schema: Any, selection: Sequence[Any], buffers: Sequence[str], uri: str) -> None:
    """Raises `ValueError` for more cells of a dense array than this machine could hold, by far the most unwritten."""
    cells = 1
    for pairs in selection:
        cells *= sum(_number(one.stop) - _number(one.start) + 1 for one in pairs)
    size = cells * sum(schema.attr_or_dim_dtype(name).itemsize or 1 for name in buffers)
    if size > psutil.virtual_memory().total:
        raise ValueError(
            f"{cells:,} cells of {uri!r} are asked for, {size / 2**30:,.0f} GiB at least, and this machine has "
            f"{psutil.virtual_memory().total / 2**30:,.0f}: a dimension without ranges is read as a whole. Give ranges"
        )


def _number(coordinate: Any) -> int:
    """Of a dense array's dimension; the difference of two of numpy's numbers may not fit in one."""
    return int(coordinate.astype(np.int64) if isinstance(coordinate, np.datetime64) else coordinate)


_BOUNDS = {"i": "whole numbers", "u": "whole numbers", "f": "numbers", "S": "texts", "U": "texts"}


def _bound(dtype: Any, bound: Any, where: str) -> Any:
    """Times travel as whole numbers of the dimension's unit; none is an open end."""
    kind = dtype.kind
    is_number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
    is_whole = is_number and (isinstance(bound, int) or bound.is_integer())
    if bound is None or (kind in "SU" and isinstance(bound, (str, bytes))) or (kind == "f" and is_number):
        return bound
    if kind in "iu" and is_whole and np.iinfo(dtype).min <= bound <= np.iinfo(dtype).max:
        return int(bound)
    if kind in "Mm" and is_whole and abs(bound) < 2**63:
        return np.array([int(bound)], dtype="int64").view(dtype)[0]
    if kind in "Mm":
        expected = f"times, or whole numbers of the unit {np.datetime_data(dtype)[0]!r} since 1970"
    else:
        expected = _BOUNDS.get(kind, str(dtype)) + (f" ({dtype})" if kind in "iuf" else "")
    raise ValueError(f"the bounds {where} must be {expected}, got {bound!r}")


def make_samples(folder: str) -> None:
    """Makes the two arrays that every TileDB tutorial uses, where they are not there yet."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    dimensions = [tiledb.Dim(name=name, domain=(1, 4), tile=4, dtype=np.int32) for name in ("rows", "cols")]
    for sparse, name in zip((False, True), SAMPLES, strict=True):
        place = str(path / name)
        if tiledb.object_type(place) is not None:
            continue
        attribute = tiledb.Attr(name="a", dtype=np.int32)
        tiledb.Array.create(place, tiledb.ArraySchema(tiledb.Domain(*dimensions), [attribute], sparse=sparse))
        with tiledb.open(place, "w") as array:
            if sparse:
                array[[1, 2, 2], [1, 4, 3]] = np.array([1, 2, 3], dtype=np.int32)
            else:
                array[:] = np.arange(1, 17, dtype=np.int32).reshape(4, 4)
