"""What runs in a worker process for a node of a batch graph: outputs and items put in place, lists opened and closed.

The outputs of other nodes come as files of the store, named by the server; the value of a node is made here and never
seen by the server. A list to expand is written as tagged JSON, item by item, which the server may read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..run.arguments import replace, replace_stored_params
from ..wire import codec
from ..wire.batch_models import PLACEHOLDER
from ..wire.models import ArrayDetails, ArrayRanges, NodeOutput, PandasDecoder, StoredParam

__all__ = ["KINDS"]


class _Files:
    """Values in files that the server has named; the same one gives the same object."""

    def __init__(self, files: Mapping[str, tuple[str, str, bool]], job: Mapping[str, Any] | None = None) -> None:
        self._files = files
        self._loaded: dict[Any, Any] = {}
        if job is not None and "item" in job:
            self._loaded[PLACEHOLDER.lower()] = codec.from_tagged(job["item"])

    def load(self, param: StoredParam) -> Any:
        """The value of a stored parameter."""
        key = (str(param.task_id), param.decoder)
        if key not in self._loaded:
            self._loaded[key] = self._read(str(param.task_id), param.decoder)
        return self._loaded[key]

    def output(self, node: NodeOutput) -> Any:
        """The value of another node."""
        name = node.client_node_id.lower()
        if name not in self._loaded:
            self._loaded[name] = self._read(name, None)
        return self._loaded[name]

    def _read(self, name: str, decoder: Any) -> Any:
        if name not in self._files:
            raise RuntimeError(f"the result of {name} is not stored here")
        path, mime, is_query = self._files[name]
        if is_query and decoder is None:  # a child of a query gets its rows as a frame
            decoder = PandasDecoder(codec.format_of_mime(mime))
        return codec.decode_stored(Path(path).read_bytes(), mime, decoder)


def _in_place(job: Mapping[str, Any], tree: Any) -> Any:
    """A tree of arguments with the item, outputs, stored parameters and arrays in it."""
    files = _Files(job["outputs"], job)
    tree = replace(tree, NodeOutput, files.output)
    tree = replace_stored_params(tree, files)
    return replace(tree, ArrayDetails, lambda details: _array(job, details))


def _opened(job: Mapping[str, Any], value: Any) -> Any:
    """Tagged JSON with a reference to the item wherever the placeholder stands; in longer texts the item's own text."""
    return _with_references(value, job["item"], is_raw=False) if "item" in job else value


def _with_references(value: Any, item: Any, *, is_raw: bool) -> Any:
    if isinstance(value, str) and PLACEHOLDER in value:
        if value == PLACEHOLDER:
            return {codec.TAG: "node_output", "client_node_id": PLACEHOLDER}
        return value.replace(PLACEHOLDER, item if isinstance(item, str) else json.dumps(item))
    if isinstance(value, list):
        return [_with_references(one, item, is_raw=is_raw) for one in value]
    if not isinstance(value, dict):
        return value
    if not is_raw and value.get(codec.TAG) == "raw_json":
        return _with_references(value["raw_json"], item, is_raw=True)
    inner = {key: _with_references(one, item, is_raw=is_raw) for key, one in value.items()}
    return {codec.TAG: "__escape__", "__escape__": inner} if is_raw and codec.TAG in inner else inner


def _array(job: Mapping[str, Any], details: ArrayDetails) -> Any:
    from .arrays import read

    return read(job["array_uris"], details)


def _call(job: Mapping[str, Any]) -> Any:
    function = codec.decode_function(job["exec"])
    args, kwargs = _in_place(job, codec.load_arguments(_opened(job, job["arguments"])))
    return function(*args, **kwargs)


def _query(job: Mapping[str, Any]) -> Any:
    from .sql import run

    parameters = _in_place(job, [codec.from_tagged(value) for value in _opened(job, job["parameters"])])
    return run({**job, "parameters": parameters})


def _read_array(job: Mapping[str, Any]) -> Any:
    wanted = _in_place(job, codec.from_tagged(job["array"]))
    ranges = wanted.get("ranges") or {}
    dimensions = ranges.get("ranges") or [_flat(one) for one in ranges.get("friendly_ranges") or ()]
    shape = ArrayRanges(tuple(tuple(one or ()) for one in dimensions), ranges.get("layout"))
    buffers = wanted.get("buffers")
    details = ArrayDetails(wanted["uri"], shape, tuple(buffers) if buffers is not None else None)
    return _array(job, details)


def _flat(dimension: Any) -> list[Any]:
    """The range of one dimension as people write it: a bound, a pair, or a list of those."""
    if dimension is None:
        return []
    if not isinstance(dimension, (list, tuple)):
        return [dimension, dimension]
    flat: list[Any] = []
    for one in dimension:
        if isinstance(one, (list, tuple)):
            flat += one
        else:
            flat += [one, one]
    return flat


def _value(job: Mapping[str, Any]) -> Any:
    return _in_place(job, codec.from_tagged(_opened(job, job["value"])))


def _open_list(job: Mapping[str, Any]) -> Any:
    """The items of a list, each as tagged JSON."""
    (node,) = job["outputs"]
    value = _Files(job["outputs"]).output(NodeOutput(node))
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"stage {job['name']!r} runs once for each item of the output of node {job['expanded']!r}, which must be a "
            f"list; it is {type(value).__name__}"
        )
    return [codec.result_to_tagged(item, job["name"], f"item {index}") for index, item in enumerate(value)]


def _close_list(job: Mapping[str, Any]) -> Any:
    """The results of all items of a stage, in order."""
    return [codec.decode_stored(Path(path).read_bytes(), mime) for path, mime in job["parts"]]


KINDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "batch_udf": _call,
    "batch_sql": _query,
    "batch_array": _read_array,
    "batch_input": _value,
    "batch_open": _open_list,
    "batch_close": _close_list,
}
