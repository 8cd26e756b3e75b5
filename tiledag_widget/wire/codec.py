"""Values as bytes and JSON, and back: result formats, tagged JSON, lists of arguments. Both sides use it.

Tagged JSON is plain JSON in which an object with the key ``__tdbudf__`` stands for something else. What stands for a
value elsewhere is read as a marker that whoever reads replaces in the whole tree, also inside pickles:
`models.StoredParam`, `models.NodeOutput`, `models.ArrayDetails`.

Reading a pickle runs code: only clients and worker processes do it.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from ..errors import InvalidBody
from . import pickles
from .models import (
    ArrayDetails,
    Decoder,
    NodeOutput,
    PandasDecoder,
    ResultFormat,
    StoredParam,
    from_json,
    to_json,
)

__all__ = [
    "MIME_OF",
    "decode",
    "decode_function",
    "decode_stored",
    "dump_arguments",
    "encode",
    "encode_function",
    "format_of_mime",
    "from_tagged",
    "load_arguments",
    "load_old_argument",
    "result_to_tagged",
    "to_tagged",
]

TAG: Final = "__tdbudf__"
ARROW_DATAFRAME: Final = "arrow_dataframe"
"""A format inside immediate values only, never one of a reply."""

MIME_OF: Final[Mapping[str, str]] = {
    "native": "application/vnd.tiledb.python-pickle",
    "python_pickle": "application/vnd.tiledb.python-pickle",
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "tiledb_json": "application/vnd.tiledb.udf-data+json",
    "bytes": "application/octet-stream",
    "r_serialization": "application/octet-stream",
    ARROW_DATAFRAME: "application/vnd.tiledb.arrow-dataframe",
}
"""Content type of a reply in each format, by the format's text."""

_FORMAT_OF: Final = {
    "application/vnd.tiledb.python-pickle": "python_pickle",
    "application/json": "json",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.tiledb.udf-data+json": "tiledb_json",
    "application/octet-stream": "bytes",
    "application/vnd.tiledb.arrow-dataframe": ARROW_DATAFRAME,
}


def format_of_mime(content_type: str | None) -> str:
    """The format that a content type names; ``bytes`` where there is none.

    Raises:
        ValueError: It is unknown.
    """
    mime = (content_type or "application/octet-stream").partition(";")[0].strip().lower()
    if mime not in _FORMAT_OF:
        raise ValueError(f"results of type {mime!r} can be fetched, but not decoded here")
    return _FORMAT_OF[mime]


# --- results ------------------------------------------------------------------------------------------------


def encode(value: Any, result_format: ResultFormat | str, node_name: str) -> bytes:
    """A value in one of the formats.

    Raises:
        TypeError, ValueError: The format cannot hold it; the text says which could.
        NotPicklable: Names the node and the path of what no format can hold.
    """
    name = str(result_format)
    if name in ("native", "python_pickle"):
        return pickles.dumps_for_client(node_name, "result", value)
    if name == "json":
        try:
            return json.dumps(value).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"Node {node_name!r}: the result cannot be written as json: {error}. {_OTHER_FORMATS}"
            ) from error
    if name == "tiledb_json":
        return json.dumps(result_to_tagged(value, node_name)).encode()
    if name == "arrow":
        return _arrow_bytes(value, node_name)
    if name == ARROW_DATAFRAME:
        return _frame_bytes(value)
    if name == "bytes":
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        raise TypeError(
            f"Node {node_name!r}: result_format 'bytes' needs bytes, got {type(value).__name__}. {_OTHER_FORMATS}"
        )
    raise ValueError(f"Node {node_name!r}: result_format {name!r} cannot be written by Python. {_OTHER_FORMATS}")


_OTHER_FORMATS: Final = "Choose result_format='native' or 'tiledb_json', which hold everything that can be pickled."


def decode(data: bytes, result_format: ResultFormat | str) -> Any:
    """The value in bytes of one of the formats. Pickles run code.

    Raises:
        ValueError: The format is unknown here.
        BaseException: Whatever unpickling raised.
    """
    name = str(result_format)
    if name in ("native", "python_pickle"):
        return pickles.loads_wire(data)
    if name == "json":
        return json.loads(data)
    if name == "tiledb_json":
        return from_tagged(json.loads(data))
    if name == "arrow":
        return _table_of(data)
    if name == ARROW_DATAFRAME:
        return _table_of(data).to_pandas()
    if name == "bytes":
        return bytes(data)
    raise ValueError(f"result_format {name!r} cannot be read by Python")


def decode_stored(data: bytes, content_type: str | None, decoder: Any = None) -> Any:
    """The value of stored bytes: by a decoder if one was given, else by their content type."""
    if decoder is None:
        return decode(data, format_of_mime(content_type))
    if isinstance(decoder, PandasDecoder):
        if str(decoder.format) == "arrow":
            return _table_of(data).to_pandas()
        import pandas

        value = decode(data, decoder.format)
        return value.to_pandas() if _is_table(value) else pandas.DataFrame(value)
    if isinstance(decoder, Decoder):
        return decode(data, decoder.format)
    return decoder.decode(data)


def remote_traceback(text: str) -> BaseException:
    """What to give an exception as its cause, so that a traceback printed here shows what happened there."""
    return pickles.RemoteTraceback(text)


def _arrow_bytes(value: Any, node_name: str) -> bytes:
    import pyarrow

    if isinstance(value, pyarrow.RecordBatch):
        value = pyarrow.Table.from_batches([value])
    elif not isinstance(value, pyarrow.Table) and _is_dataframe(value):
        try:
            value = pyarrow.Table.from_pandas(value)
        except (ArithmeticError, TypeError, ValueError) as error:
            raise TypeError(
                f"Node {node_name!r}: the result cannot be written as arrow: {error}. {_OTHER_FORMATS}"
            ) from error
    if not isinstance(value, pyarrow.Table):
        raise TypeError(
            f"Node {node_name!r}: result_format 'arrow' needs a pyarrow.Table or a DataFrame, got "
            f"{type(value).__name__}. {_OTHER_FORMATS}"
        )
    return _stream_of(value)


def _stream_of(table: Any) -> bytes:
    import pyarrow

    sink = pyarrow.BufferOutputStream()
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table_of(data: bytes) -> Any:
    import pyarrow

    if not data:
        return pyarrow.table({})
    return pyarrow.ipc.open_stream(data).read_all()


def _is_dataframe(value: Any) -> bool:
    """Without importing pandas: who has a frame has imported it."""
    import sys

    frame = getattr(sys.modules.get("pandas"), "DataFrame", None)
    return frame is not None and isinstance(value, frame)


# --- tagged JSON --------------------------------------------------------------------------------------------


def _frame_bytes(frame: Any) -> bytes:
    import pyarrow

    return _stream_of(pyarrow.Table.from_pandas(frame))


_Pack = Callable[[str, Any], bytes]
"""Pickles the part of a value that has this path, or says what is wrong with it."""


def to_tagged(value: Any, node_name: str, where: str) -> Any:
    """A part of a call to a server as tagged JSON, for ``json.dumps``.

    Parts that are JSON already are the same objects as before. What JSON does not know goes inside as bytes of a
    format of its own.

    Args:
        value: Anything; stored parameters in it become references.
        node_name: For messages.
        where: Path of the value, for messages.

    Raises:
        NotPicklable: Names the node and the path of what has no form.
    """
    return _tagged_or_pickled(value, partial(pickles.dumps_for_server, node_name), where)


def result_to_tagged(value: Any, node_name: str, where: str = "result") -> Any:
    """`to_tagged` for a result, or a part of one, on its way from a server."""
    return _tagged_or_pickled(value, partial(pickles.dumps_for_client, node_name), where)


def _tagged_or_pickled(value: Any, pack: _Pack, where: str) -> Any:
    try:
        return _tagged(value, pack, where)
    except RecursionError:  # nested too deeply, or a ring: a pickle can hold both
        return _immediate("python_pickle", pack(where, value))


_BITS_OF_NUMBERS: Final = 14_000


def _tagged(value: Any, pack: _Pack, where: str) -> Any:
    if value is None or isinstance(value, (str, float)):
        return value
    if isinstance(value, int):  # Python neither writes nor reads one of more than 4,300 digits
        return value if value.bit_length() < _BITS_OF_NUMBERS else _immediate("python_pickle", pack(where, value))
    if isinstance(value, (list, tuple)):
        items = [_tagged(item, pack, f"{where}[{index}]") for index, item in enumerate(value)]
        return value if all(map(_same, items, value)) else items
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return _immediate("python_pickle", pack(where, value))
        inner = {key: _tagged(item, pack, f"{where}[{key!r}]") for key, item in value.items()}
        if TAG in value:
            return {TAG: "__escape__", "__escape__": inner}
        return value if all(map(_same, inner.values(), value.values())) else inner
    if isinstance(value, StoredParam):
        return _stored_param(value, pack, where)
    if isinstance(value, NodeOutput):
        return {TAG: "node_output", "client_node_id": value.client_node_id}
    if isinstance(value, ArrayDetails):
        return {TAG: "udf_array_details", "udf_array_details": to_json(value)}
    return _as_bytes(value, pack, where)


def _same(one: Any, other: Any) -> bool:
    return one is other


def _stored_param(param: StoredParam, pack: _Pack, where: str) -> dict[str, Any]:
    reference: dict[str, Any] = {TAG: "stored_param", "task_id": str(param.task_id)}
    if param.decoder is not None:
        reference["python_decoder"] = _immediate("python_pickle", pack(where, param.decoder))
    return reference


def _as_bytes(value: Any, pack: _Pack, where: str) -> dict[str, Any]:
    if isinstance(value, bytes):
        return _immediate("bytes", value)
    if _is_table(value):
        return _immediate("arrow", _stream_of(value))
    if _is_dataframe(value):
        try:
            return _immediate(ARROW_DATAFRAME, _frame_bytes(value))
        except Exception:  # pyarrow is not there, or refuses the frame in one of its many ways
            pass
    return _immediate("python_pickle", pack(where, value))


def _is_table(value: Any) -> bool:
    import sys

    table = getattr(sys.modules.get("pyarrow"), "Table", None)
    return table is not None and isinstance(value, table)


def _immediate(name: str, data: bytes) -> dict[str, Any]:
    return {TAG: "immediate", "format": name, "base64_data": base64.b64encode(data).decode("ascii")}


def from_tagged(value: Any) -> Any:
    """The value of tagged JSON, with markers for what is elsewhere. Pickles in it run code.

    Raises:
        InvalidBody: A tag is unknown or incomplete.
    """
    if isinstance(value, dict):
        if TAG in value:
            return _untagged(value)
        return {key: from_tagged(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_tagged(item) for item in value]
    return value


def _untagged(value: Mapping[str, Any]) -> Any:
    tag = value[TAG]
    try:
        if tag == "immediate":
            return decode(base64.b64decode(value["base64_data"]), value["format"])
        if tag == "__escape__":
            return {key: from_tagged(item) for key, item in value["__escape__"].items()}
        if tag == "raw_json":
            return value["raw_json"]
        if tag == "stored_param":
            decoder = value.get("python_decoder")
            return StoredParam(uuid.UUID(value["task_id"]), None if decoder is None else from_tagged(decoder))
        if tag == "node_output":
            return NodeOutput(str(value["client_node_id"]))
        if tag == "udf_array_details":
            return from_json(ArrayDetails, value["udf_array_details"], "udf_array_details")
    except KeyError as error:
        raise InvalidBody(f"an object tagged {tag!r} has no {error.args[0]!r}") from None
    raise InvalidBody(f"unknown tag {tag!r} in tagged JSON")


def references_in(value: Any) -> Iterable[tuple[str, str]]:
    """``(kind, id)`` of each stored_param and node_output in tagged JSON, without decoding anything in it."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            tag = item.get(TAG)
            if tag == "raw_json":
                continue
            if tag == "stored_param":
                yield "stored_param", str(item.get("task_id"))
            elif tag == "node_output":
                yield "node_output", str(item.get("client_node_id"))
            else:
                pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


# --- arguments ----------------------------------------------------------------------------------------------


def dump_arguments(node_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``arguments_json``: positional arguments, then those by name.

    Raises:
        NotPicklable: Names the node and the path of what cannot be sent.
    """
    positional = [{"value": _argument(value, node_name, f"args[{index}]")} for index, value in enumerate(args)]
    return positional + [
        {"name": name, "value": _argument(value, node_name, f"kwargs[{name!r}]")} for name, value in kwargs.items()
    ]


def _argument(value: Any, node: str, where: str) -> Any:
    tagged = to_tagged(value, node, where)
    if tagged is value and isinstance(value, (list, tuple, dict)) and value:
        return {TAG: "raw_json", "raw_json": value}
    return tagged


def load_arguments(arguments: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments and those by name, with markers for what is elsewhere. Pickles in it run code.

    Raises:
        InvalidBody: They are not as the contract has them.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, value in check_arguments(arguments):
        if name is None:
            args.append(from_tagged(value))
        else:
            kwargs[name] = from_tagged(value)
    return args, kwargs


def check_arguments(arguments: Any) -> list[tuple[str | None, Any]]:
    """Name (None: positional) and still tagged value of each argument; nothing is decoded.

    Raises:
        InvalidBody: They are not as the contract has them.
    """
    if not isinstance(arguments, (list, tuple)):
        raise InvalidBody("arguments must be an array", "arguments")
    found: list[tuple[str | None, Any]] = []
    names: set[str] = set()
    for index, entry in enumerate(arguments):
        where = f"arguments[{index}]"
        if not isinstance(entry, Mapping):
            raise InvalidBody(f"{where} must be an object with a value", where)
        name = entry.get("name")
        if name is not None and not isinstance(name, str):
            raise InvalidBody(f"{where}.name must be a text", where)
        if name is None and names:
            raise InvalidBody(f"{where}: a positional argument stands after one with a name", where)
        if name is not None:
            if name in names:
                raise InvalidBody(f"{where}: a second argument with the name {name!r}", where)
            names.add(name)
        found.append((name, entry.get("value")))
    return found


def load_old_argument(text: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments and those by name of the old style ``argument``: base64 of a pickle. Runs code."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for part in pickles.loads_wire(base64.b64decode(text)):
        if isinstance(part, dict):
            kwargs.update(part)
        else:
            args.extend(part)
    return args, kwargs


def dump_old_argument(node_name: str, kwargs: Mapping[str, Any]) -> str:
    """``argument`` as array calls send it beside ``arguments_json``."""
    return base64.b64encode(pickles.dumps_for_server(node_name, "kwargs", (dict(kwargs),))).decode("ascii")


# --- functions ----------------------------------------------------------------------------------------------


def encode_function(function: Any, node_name: str = "") -> str:
    """``exec``: base64 of the pickled function.

    Raises:
        NotPicklable: Names the node and what in the function has no pickled form.
    """
    return base64.b64encode(pickles.dumps_for_server(node_name, "function", function)).decode("ascii")


def decode_function(text: str) -> Any:
    """The function in ``exec``. Runs code."""
    return pickles.loads_wire(base64.b64decode(text))
