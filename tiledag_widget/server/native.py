"""Reading of arrays in TileDB's own protocol: what its library asks a server for when it opens a `tiledb://` address.

Requests and replies are Cap'n Proto, read and written by libtiledb's own serialization, which TileDB-Py brings along
and which is called here through its C interface: the format stays with those who define it. Runs in worker processes.
"""

from __future__ import annotations

import base64
import ctypes
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_uint64, c_void_p
from typing import Any, TypeAlias

import tiledb

from .arrays import place_of

__all__ = ["answer"]

Handle: TypeAlias = Any
"""A pointer of the library's; ctypes knows it as `c_void_p`."""

CAPNP = 1
READ = 0
ON_SERVER = 0
MEMORY_BUDGET = 1 << 30
_FIRST_VERSION = (2, 27)


def answer(job: Mapping[str, Any]) -> bytes:
    """The body of the reply to one request.

    Raises:
        ValueError: the array cannot be opened, or the request does not fit it.
    """
    place = place_of(job["array_uris"], job["uri"])
    library = _library()
    body = base64.b64decode(job["body"])
    try:
        with library.array(place, *job["between"]) as array:
            if job["what"] == "open" and library.mode_asked_by(body) != READ:
                raise ValueError(job["no_writes"])
            return _ANSWERS[job["what"]](library, array, body)
    except _LibraryError as error:
        raise ValueError(f"the array {job['uri']!r} cannot be read: {error}") from None


class _LibraryError(Exception):
    """In the library's words."""


class _Library:
    """libtiledb's C interface with one context. Everything that it allocates is freed by the context managers."""

    def __init__(self) -> None:
        # Names are looked up in the extension module and in the library that it is linked with.
        self._functions = ctypes.CDLL(tiledb.libtiledb.__file__)
        if tiledb.libtiledb.version()[:2] < _FIRST_VERSION or not hasattr(self._functions, "tiledb_serialize_array"):
            raise ValueError(
                "this server's TileDB-Py cannot serve tiledb:// addresses; it needs one with libtiledb "
                f"{'.'.join(map(str, _FIRST_VERSION))} or newer, with serialization, on Linux or macOS"
            )
        config, error = c_void_p(), c_void_p()
        self._functions.tiledb_config_alloc(byref(config), byref(error))
        budget = str(MEMORY_BUDGET).encode()
        self._functions.tiledb_config_set(config, b"sm.mem.total_budget", budget, byref(error))
        self._context = c_void_p()
        if self._functions.tiledb_ctx_alloc(config, byref(self._context)):
            raise ValueError("TileDB's library cannot be used: it gives no context")
        self._functions.tiledb_config_free(byref(config))

    def call(self, name: str, *arguments: Any) -> None:
        """Calls a function of the library with the context. Raises _LibraryError."""
        if getattr(self._functions, name)(self._context, *arguments) == 0:
            return
        error: Handle = c_void_p()
        text = c_char_p()
        self._functions.tiledb_ctx_get_last_error(self._context, byref(error))
        if error:
            self._functions.tiledb_error_message(error, byref(text))
        words = (text.value or b"no reason given").decode(errors="replace")
        self._functions.tiledb_error_free(byref(error))
        raise _LibraryError(words)

    @contextmanager
    def handle(self, kind: str) -> Iterator[Handle]:
        """A place for a pointer, whose `kind` says how it is freed."""
        made: Handle = c_void_p()
        try:
            yield made
        finally:
            if made:
                getattr(self._functions, f"tiledb_{kind}_free")(byref(made))

    @contextmanager
    def array(self, place: str, begin: int, end: int) -> Iterator[Handle]:
        """An array opened for reading as it was between two times."""
        with self.handle("array") as array:
            self.call("tiledb_array_alloc", place.encode(), byref(array))
            self.call("tiledb_array_set_open_timestamp_start", array, c_uint64(begin))
            self.call("tiledb_array_set_open_timestamp_end", array, c_uint64(end))
            self.call("tiledb_array_open", array, c_int(READ))
            try:
                yield array
            finally:
                self.call("tiledb_array_close", array)

    @contextmanager
    def buffer(self, content: bytes) -> Iterator[Handle]:
        """A buffer of the library's with this content, which must live as long."""
        with self.handle("buffer") as buffer:
            self.call("tiledb_buffer_alloc", byref(buffer))
            # Messages are read as words of eight bytes, where they lie.
            words = (c_uint64 * (-(-len(content) // 8)))()
            ctypes.memmove(words, content, len(content))
            self.call("tiledb_buffer_set_data", buffer, words, c_uint64(len(content)))
            yield buffer

    def content_of(self, buffer: Handle) -> bytes:
        start, size = c_void_p(), c_uint64()
        self.call("tiledb_buffer_get_data", buffer, byref(start), byref(size))
        return ctypes.string_at(start, size.value)

    def made_by(self, name: str, *arguments: Any) -> bytes:
        """The content of the buffer that a function of the library makes."""
        with self.handle("buffer") as buffer:
            self.call(name, *arguments, byref(buffer))
            return self.content_of(buffer)

    def handled_by(self, name: str, array: Handle, body: bytes) -> bytes:
        """The reply to a request that the library answers as a whole."""
        with self.buffer(body) as asked, self.handle("buffer") as reply:
            self.call("tiledb_buffer_alloc", byref(reply))
            self.call(name, array, c_int(CAPNP), asked, reply)
            return self.content_of(reply)

    def mode_asked_by(self, body: bytes) -> int:
        """For what a client wants to open an array."""
        mode = c_int()
        with self.buffer(body) as asked, self.handle("array") as wanted:
            self.call("tiledb_deserialize_array_open", asked, c_int(CAPNP), c_int(ON_SERVER), byref(wanted))
            self.call("tiledb_array_get_query_type", wanted, byref(mode))
        return mode.value

    @contextmanager
    def query(self, array: Handle, body: bytes) -> Iterator[Handle]:
        """The query that a client has sent."""
        with self.handle("query") as query, self.buffer(body) as asked:
            self.call("tiledb_query_alloc", array, c_int(READ), byref(query))
            self.call("tiledb_deserialize_query", asked, c_int(CAPNP), c_int(ON_SERVER), query)
            yield query


@functools.cache
def _library() -> _Library:
    return _Library()


def _opened(library: _Library, array: Handle, body: bytes) -> bytes:
    """All that a client keeps of an open array. What it says of its own settings is not looked at."""
    return library.made_by("tiledb_serialize_array", array, c_int(CAPNP), c_int(ON_SERVER))


def _schema(library: _Library, array: Handle, body: bytes) -> bytes:
    with library.handle("array_schema") as schema:
        library.call("tiledb_array_get_schema", array, byref(schema))
        return library.made_by("tiledb_serialize_array_schema", schema, c_int(CAPNP), c_int(ON_SERVER))


def _non_empty_domain(library: _Library, array: Handle, body: bytes) -> bytes:
    name = "tiledb_serialize_array_non_empty_domain_all_dimensions"
    return library.made_by(name, array, c_int(CAPNP), c_int(ON_SERVER))


def _metadata(library: _Library, array: Handle, body: bytes) -> bytes:
    return library.made_by("tiledb_serialize_array_metadata", array, c_int(CAPNP))


def _sizes(library: _Library, array: Handle, body: bytes) -> bytes:
    with library.query(array, body) as query:
        name = "tiledb_serialize_query_est_result_sizes"
        return library.made_by(name, query, c_int(CAPNP), c_int(ON_SERVER))


def _submitted(library: _Library, array: Handle, body: bytes) -> bytes:
    """The query with its cells: the size of the message, eight bytes, and the message."""
    with library.query(array, body) as query:
        rooms = list(_rooms(library, array, query))  # noqa: F841  # the library writes into them
        library.call("tiledb_query_submit", query)
        with library.handle("buffer_list") as parts:
            library.call("tiledb_serialize_query", query, c_int(CAPNP), c_int(ON_SERVER), byref(parts))
            message = library.made_by("tiledb_buffer_list_flatten", parts)
    return len(message).to_bytes(8, "little") + message


def _rooms(library: _Library, array: Handle, query: Handle) -> Iterator[Any]:
    """Room for what the client asked for: it sends the sizes of its buffers, and each buffer is made here."""
    total = 0
    for name, kinds in _fields_of(library, array):
        for kind in kinds:
            start: Handle = c_void_p()
            size: Any = POINTER(c_uint64)()
            library.call(f"tiledb_query_get_{kind}_buffer", query, name.encode(), byref(start), byref(size))
            if start or not size or not size[0]:
                continue
            total += size[0]
            if total > MEMORY_BUDGET:
                raise ValueError(
                    f"the buffers of this query are larger than {MEMORY_BUDGET >> 20} MiB together: read it in "
                    "parts, or set py.init_buffer_bytes lower"
                )
            room = ctypes.create_string_buffer(size[0])
            library.call(f"tiledb_query_set_{kind}_buffer", query, name.encode(), room, size)
            yield room


def _fields_of(library: _Library, array: Handle) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names of dimensions and attributes, and which buffers each may have."""
    place = c_char_p()
    library.call("tiledb_array_get_uri", array, byref(place))
    schema = tiledb.ArraySchema.load((place.value or b"").decode())
    for index in range(schema.domain.ndim):
        dimension = schema.domain.dim(index)
        yield dimension.name, ("data", "offsets") if dimension.isvar else ("data",)
    for index in range(schema.nattr):
        attribute = schema.attr(index)
        kinds = ("data", "offsets") if attribute.isvar else ("data",)
        yield attribute.name, (*kinds, "validity") if attribute.isnullable else kinds


def _handled(name: str) -> Callable[[_Library, Handle, bytes], bytes]:
    return lambda library, array, body: library.handled_by(name, array, body)


_ANSWERS: Mapping[str, Callable[[_Library, Handle, bytes], bytes]] = {
    "open": _opened,
    "schema": _schema,
    "schemas": _handled("tiledb_handle_load_array_schema_request"),
    "enumerations": _handled("tiledb_handle_load_enumerations_request"),
    "non_empty_domain": _non_empty_domain,
    "metadata": _metadata,
    "sizes": _sizes,
    "plan": _handled("tiledb_handle_query_plan_request"),
    "submit": _submitted,
}
