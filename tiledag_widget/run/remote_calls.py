"""What a server node does, and its call as the server takes it: the function, the arrays, the query."""

from __future__ import annotations

import contextlib
import datetime
import functools
import inspect
import os
import platform
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import ServerError
from ..wire.models import (
    ArrayDetails,
    ArrayRanges,
    Decoder,
    Layout,
    PandasDecoder,
    ResultFormat,
)
from . import arguments

if TYPE_CHECKING:
    from ..wire.client import Client

__all__ = [
    "TOLD_OF_ARRAYS",
    "RemoteGraph",
    "RemoteNode",
    "Work",
    "absolute",
    "array_arguments",
    "array_call",
    "decoder_of",
    "layout_of",
    "parse_ranges",
    "several_arrays",
    "source_of",
    "sql_call",
    "too_large",
    "udf_call",
]


class RemoteGraph(Protocol):
    """What is asked of a graph that a server keeps a log or a record of."""

    name: str | None
    _namespace: str | None
    server_graph_uuid: uuid.UUID | None

    @property
    def _nodes(self) -> list[Any]: ...

    @property
    def _driver(self) -> Any: ...


class RemoteNode(Protocol):
    """What is asked of a server node here."""

    work: Work
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    _name: str | None
    _index: int
    _resource_class: str | None
    _download_results: bool | None

    @property
    def name(self) -> str: ...

    @property
    def id(self) -> uuid.UUID: ...

    def task_id(self) -> uuid.UUID | None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """What a server node does.

    Attributes:
        kind: ``"udf"``, ``"array"`` or ``"sql"``.
        label: How views name it.
        function: For ``udf``: the function, or the name of a registered one.
        options: Those of `arguments.SERVER_OPTIONS` that were given.
    """

    kind: str
    label: str
    function: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


# --- calls --------------------------------------------------------------------------------------------------


def decoder_of(node: RemoteNode) -> Decoder:
    """How the bytes of a node's result are read."""
    if node.work.kind == "sql":
        wanted = str(_option(node, "result_format", ResultFormat.ARROW))
        return Decoder(wanted) if node.kwargs.get("raw_results") else PandasDecoder(wanted)
    default = ResultFormat.NATIVE if node.work.kind == "array" else ResultFormat.TILEDB_JSON
    return Decoder(str(_option(node, "result_format", default)))


def _option(node: RemoteNode, name: str, default: Any) -> Any:
    value = node.work.options.get(name)
    return default if value is None else value


def _function_fields(node: RemoteNode, function: Any) -> dict[str, Any]:
    """What tells the server which function, and what it needs."""
    from ..wire import codec

    options = node.work.options
    fields: dict[str, Any] = {
        "language": "python",
        "version": platform.python_version(),
        "image_name": options.get("image_name") or "default",
        "access_credentials_name": options.get("access_credentials_name"),
        "result_format": ResultFormat(decoder_of(node).format),
    }
    if isinstance(function, str):
        fields["udf_info_name"] = function
        return fields
    if not callable(function):
        raise TypeError(f"Node {node.name!r}: a function or the name of a registered one is needed, got {function!r}")
    fields["exec"] = codec.encode_function(function, node.name)
    if options.get("include_source_lines", True):
        fields["exec_raw"] = source_of(function)
    return fields


def udf_call(node: RemoteNode, client: Client, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the call of a function says of the function."""
    from ..wire import codec

    fields = _function_fields(node, node.work.function)
    arrays = arguments.find((tuple(args), dict(kwargs)), ArrayDetails)
    if arrays:
        fields["arrays"] = tuple(arrays)
    fields["arguments_json"] = tuple(codec.dump_arguments(node.name, args, kwargs))
    return fields


_LARGE: Final = 16 << 20


def too_large(node: RemoteNode, error: ServerError) -> ServerError:
    """The server's word that a request is too large, with the node and the argument that makes it so."""
    from ..wire import pickles

    values = {f"args[{index}]": one for index, one in enumerate(node.args)}
    values |= {f"kwargs[{name!r}]": one for name, one in node.kwargs.items()}
    sizes = dict.fromkeys(values, _LARGE)
    for where, value in values.items():
        with contextlib.suppress(Exception):  # a node above: its value, which is sent, is not at hand
            sizes[where] = len(pickles.dumps_wire(value))
    largest = max(sizes, key=sizes.__getitem__, default="what it is given")
    return ServerError(f"Node {node.name!r}: {largest} cannot be sent to the server. {error}", 413, error.body)


def array_call(node: RemoteNode, client: Client, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What the call of a function on arrays says of both."""
    from ..wire import codec

    uri, function, ranges, attrs, layout, rest = array_arguments(*args, **kwargs)
    fields = _function_fields(node, function)
    if isinstance(uri, str):
        details = ArrayDetails(
            uri=absolute(uri, client),
            ranges=ArrayRanges(parse_ranges(ranges), layout_of(layout)),
            buffers=tuple(attrs or ()),
            parameter_id=str(uuid.uuid4()),
        )
        fields["arrays"] = (details,)
        first: Any = details
    else:
        if ranges or attrs or layout:
            raise TypeError(f"Node {node.name!r}: several arrays have ranges, attributes and layout each of their own")
        fields["arrays"] = several_arrays(node.name, uri, client)
        first = list(fields["arrays"])
    fields["arguments_json"] = tuple(codec.dump_arguments(node.name, (first,), rest))
    if rest:
        fields["argument"] = codec.dump_old_argument(node.name, rest)
    return fields


def several_arrays(name: str, arrays: Any, client: Client) -> tuple[ArrayDetails, ...]:
    """The arrays of an `ArrayList`, or of a list of details, for a node of that name."""
    get = getattr(arrays, "get", None)
    found = get() if callable(get) else arrays
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(one, ArrayDetails) for one in found):
        what = "one that is empty" if found == [] else type(arrays).__name__
        raise TypeError(
            f"Node {name!r}: the address of an array must be a text, or an ArrayList of several, got {what}"
        )
    return tuple([replace(one, uri=absolute(one.uri, client), parameter_id=str(uuid.uuid4())) for one in found])


TOLD_OF_ARRAYS: Final = frozenset({"func", "ranges", "attrs", "layout"})
"""Keyword arguments of an array node that its function does not get."""


def array_arguments(
    uri: Any,
    func: Any = None,
    ranges: Any = (),
    name: str | None = None,
    attrs: Any = (),
    layout: str | None = None,
    /,
    **kwargs: Any,
) -> tuple[Any, Any, Any, Any, Any, dict[str, Any]]:
    """Arguments of ``submit_array_udf`` in the reference's order."""
    func = kwargs.pop("func", func)
    if callable(uri) and not callable(func):
        raise TypeError(f"the array comes first, then the function: submit_array_udf({func!r}, {uri!r}, ...)")
    ranges = kwargs.pop("ranges", ranges)
    attrs = kwargs.pop("attrs", attrs)
    layout = kwargs.pop("layout", layout)
    kwargs.pop("v2", None)
    return uri, func if func is not None else name, ranges, attrs, layout, kwargs


def sql_call(
    args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any], client: Client
) -> dict[str, Any]:
    names = ("query", "output_uri")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    query = given.pop("sql", None) or given.get("query")
    if not isinstance(query, str):
        raise TypeError(f"the query must be a text, got {type(query).__name__}")
    commands, parameters = given.get("init_commands"), given.get("parameters")
    for each, one in (("init_commands", commands), ("parameters", parameters)):
        if isinstance(one, (str, bytes, Mapping)):
            raise TypeError(f"{each} must be a list, one item for each, got {type(one).__name__}")
    unknown = set(given) - {"query", "output_uri", "init_commands", "parameters", "raw_results"}
    if unknown or len(args) > len(names):
        raise TypeError(f"submit_sql does not know {', '.join(sorted(unknown)) or 'so many positional arguments'}")
    place = given.get("output_uri")
    commands = None if commands is None else tuple(commands)
    return {
        "query": _with_paths(query, client),
        "output_uri": absolute(place, client) if isinstance(place, str) and place else place,
        "init_commands": commands and tuple([_with_paths(one, client) for one in commands]),
        "parameters": None if parameters is None else tuple([_plain(value) for value in parameters]),
        "result_format": ResultFormat(str(options.get("result_format") or "arrow")),
    }


def _plain(value: Any) -> Any:
    """A parameter of a query as JSON has it: numpy's scalars are none, and dates and times are texts."""
    item = getattr(value, "item", None)
    value = item() if callable(item) and getattr(value, "shape", None) == () else value
    return value.isoformat() if isinstance(value, (datetime.date, datetime.time)) else value


def check_parameters(name: str, parameters: Sequence[Any] | None) -> None:
    """Refuses what a request cannot carry.

    Raises:
        TypeError: A parameter of that node's query is no text, number, truth value, date, time or None.
    """
    for place, value in enumerate(parameters or ()):
        if value is not None and not isinstance(value, (str, int, float)):
            raise TypeError(
                f"Node {name!r}: parameters[{place}]: a query takes texts, numbers, truth values, dates, times and "
                f"None, got {type(value).__name__}; give it as one of those"
            )


_QUOTED: Final = re.compile(
    r"""'(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | /\*.*?\*/ | \#[^\n]* | --(?=\s)[^\n]* | `(?P<name>[^`]+)`""",
    re.DOTALL | re.VERBOSE,
)
"""Names in backticks, and what may hold a backtick that begins no name: texts and comments."""


def _with_paths(query: Any, client: Client) -> Any:
    """A query with the relative paths of arrays made absolute: the server has another folder.

    ``./a``, ``../a`` and ``~/a`` are paths. Another name with a slash is one if there is such an array: columns may be
    named ``km/h``.
    """

    def with_path(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None or "/" not in name or (place := absolute(name, client)) == name:
            return found[0]
        is_array = os.path.isdir(f"{place}/__schema") or os.path.isfile(f"{place}/__array_schema.tdb")
        is_path = name.startswith(("./", "../", "~/")) or is_array
        return f"`{place.replace('`', '``')}`" if is_path else found[0]

    return _QUOTED.sub(with_path, query) if isinstance(query, str) and "`" in query else query


def absolute(uri: str, client: Client) -> str:
    """On this machine, a relative path is one of this process, not of the server's."""
    from ..wire.transport import is_loopback

    if "://" in uri or not is_loopback(client.url):
        return uri
    return os.path.abspath(os.path.expanduser(uri))


_LAYOUTS: Final = {
    "R": Layout.ROW_MAJOR,
    "C": Layout.COL_MAJOR,
    "G": Layout.GLOBAL_ORDER,
    "U": Layout.UNORDERED,
}


def layout_of(given: str | None) -> str | None:
    if given is None:
        return None
    return str(_LAYOUTS.get(given.upper()) or Layout(given))


def parse_ranges(ranges: Any) -> tuple[tuple[Any, ...], ...]:
    """Ranges as users write them, one item per dimension, as flat pairs.

    A number is itself, a tuple or slice its two ends (inclusive), a list several of these, None everything.

    Raises:
        ValueError: An item is none of that; it is named.
    """
    return tuple([_parse_dimension(one, index) for index, one in enumerate(ranges or ())])


def _parse_dimension(given: Any, index: int) -> tuple[Any, ...]:
    if given is None:
        return ()
    if getattr(given, "ndim", 0):  # a numpy array is flat pairs already
        return tuple(given.tolist())
    if isinstance(given, list):
        return tuple([end for one in given for end in _pair(one, index)])
    return _pair(given, index)


def _pair(given: Any, index: int) -> tuple[Any, ...]:
    if given is None:
        return ()
    if isinstance(given, slice):
        if given.step is not None:
            raise ValueError(f"ranges[{index}]: a slice with a step cannot be asked for, got {given!r}")
        return _cell(given.start, index), _cell(given.stop, index)
    if isinstance(given, (tuple, list)):
        if not given:
            return ()
        if len(given) != 2:
            raise ValueError(f"ranges[{index}]: a pair of ends is expected, got {given!r}")
        return _cell(given[0], index), _cell(given[1], index)
    if isinstance(given, (int, float, datetime.date)) or hasattr(given, "item"):
        return _cell(given, index), _cell(given, index)
    raise ValueError(f"ranges[{index}]: a number, a pair, a slice, a list of these or None is expected, got {given!r}")


def _cell(value: Any, index: int) -> Any:
    if isinstance(value, datetime.date):  # a datetime and a pandas.Timestamp are such, too
        raise ValueError(f"ranges[{index}]: a time is a numpy.datetime64 of the dimension's unit, got {value!r}")
    if getattr(getattr(value, "dtype", None), "kind", "") in ("M", "m"):
        return value.astype("int64").item()
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def source_of(function: Any) -> str | None:
    code = getattr(inspect.unwrap(function) if callable(function) else function, "__code__", None)
    return None if code is None else _source_of_code(code)


@functools.lru_cache(maxsize=1000)
def _source_of_code(code: Any) -> str | None:
    try:
        return inspect.getsource(code)
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
