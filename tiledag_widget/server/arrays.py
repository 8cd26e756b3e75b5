"""Data of TileDB arrays as functions and queries get it; runs in worker processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import tiledb

from ..wire.models import ArrayDetails

__all__ = ["SAMPLES", "SAMPLES_OF", "make_samples", "place_of", "read", "slices_of"]

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
    with _opened(place_of(uris, details.uri), details.uri) as array:
        schema = array.schema
        attributes, dimensions = _buffers_of(schema, details)
        # A dense array is read by rows and turned afterwards: TileDB-Py gives other orders in the wrong shape.
        order = _ORDERS[layout] if schema.sparse else "C"
        nullable = [name for name in attributes if schema.attr(name).isnullable]
        # Of texts that may be null TileDB-Py reads only few in its usual way; without any, a dimension has the shape.
        usual = [name for name in attributes if name not in nullable or not schema.attr(name).isvar]
        shaped = [*usual, *dimensions] or [schema.domain.dim(0).name]
        if nullable and order == "U":
            order = "C"  # all reads come in the same order
        selection = slices_of(schema, ranges, details.uri)
        query = array.query(attrs=usual, dims=[name for name in shaped if name not in usual] or False, order=order)
        found = query.multi_index[selection]
        data = {name: np.asarray(found[name]) for name in shaped}
        shape = data[shaped[0]].shape
        for name in nullable:
            data[name] = _with_nulls(array, name, order, selection, data.get(name), shape)
        data = {name: data[name] for name in [*attributes, *dimensions]}
    if not schema.sparse and layout == "col-major":
        return {name: values.T for name, values in data.items()}
    return data


def _with_nulls(
    array: Any, name: str, order: str, selection: tuple[Any, ...], values: Any, shape: tuple[int, ...]
) -> Any:
    """An attribute's cells, those that are null masked: TileDB-Py tells of nulls in many ranges by Arrow only."""
    try:
        column = array.query(attrs=[name], dims=False, order=order, return_arrow=True).df[selection][name]
    except (tiledb.TileDBError, LookupError, pyarrow.ArrowException):
        if values is None:
            raise
        return values  # a type that it cannot give to Arrow, as dates
    if values is None:
        if array.schema.attr(name).dtype.kind == "S" and not pyarrow.types.is_large_binary(column.type):
            column = column.cast(pyarrow.large_binary())
        values = column.to_numpy().reshape(shape)
    return np.ma.array(values, mask=column.is_null().to_numpy().reshape(shape))


def _opened(place: str, uri: str) -> Any:
    try:
        return tiledb.open(place)
    except tiledb.TileDBError as error:
        raise ValueError(f"the array {uri!r} cannot be opened: {error}") from error


def _buffers_of(schema: Any, details: ArrayDetails) -> tuple[list[str], list[str]]:
    """Names of attributes and of dimensions to read."""
    attributes = [schema.attr(index).name for index in range(schema.nattr)]
    dimensions = [schema.domain.dim(index).name for index in range(schema.domain.ndim)]
    if not details.buffers:
        return attributes, dimensions
    unknown = [name for name in details.buffers if name not in attributes and name not in dimensions]
    if unknown:
        raise ValueError(
            f"the array {details.uri!r} has no {unknown[0]!r}; it has {', '.join([*attributes, *dimensions])}"
        )
    wanted = list(dict.fromkeys(details.buffers))
    return [name for name in wanted if name in attributes], [name for name in wanted if name in dimensions]


def slices_of(schema: Any, ranges: Sequence[Sequence[Any]], uri: str) -> tuple[Any, ...]:
    """Flat pairs of inclusive bounds for each dimension as what `multi_index` takes; no pairs are the whole one."""
    count = schema.domain.ndim
    if len(ranges) > count:
        raise ValueError(f"{len(ranges)} ranges for the {count} dimensions of {uri!r}")
    selection: list[Any] = []
    for index in range(count):
        dimension = schema.domain.dim(index)
        bounds = ranges[index] if index < len(ranges) and ranges[index] is not None else ()
        if len(bounds) % 2:
            raise ValueError(f"the ranges of dimension {dimension.name!r} of {uri!r} must be pairs of bounds")
        values = [_bound(dimension.dtype, bound) for bound in bounds]
        selection.append([slice(*pair) for pair in zip(values[::2], values[1::2], strict=True)] or slice(None))
    return tuple(selection)


def _bound(dtype: Any, bound: Any) -> Any:
    """Times travel as whole numbers of the dimension's unit."""
    if dtype.kind in "Mm" and isinstance(bound, int):
        return np.array([bound], dtype="int64").view(dtype)[0]
    return bound


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
