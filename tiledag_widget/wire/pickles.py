"""Calls, results and exceptions as bytes, and back: the only file that names pickle.

Functions and classes of a notebook or script go by value (cloudpickle). Big buffers (arrays) travel beside
the stream, uncopied: a `Parcel` is the stream followed by them. What has no pickled form is refused with the
path of the culprit. Whatever user code raises while it is pickled or unpickled ends as `NotPicklable`; only a
KeyboardInterrupt that a real signal may have caused is let through.

Loading a pickle runs code: load only what your own kernel or its workers made.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import pickle
import pickletools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ..errors import NotPicklable, RemoteError
from .culprits import Parts, explain, items
from .error_texts import cut, formatted, may_be_a_real_interrupt, short, text_of, type_name, with_source_lines

__all__ = [
    "Parcel",
    "RemoteTraceback",
    "capture_exception",
    "dumps",
    "dumps_call",
    "dumps_for_server",
    "dumps_result",
    "dumps_wire",
    "loads",
    "loads_call",
    "loads_result",
    "loads_wire",
    "restore_exception",
    "traceback_text_of",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
Parcel: TypeAlias = Sequence[Buffer]

BUFFER_BESIDE = 64 * 1024
"""Buffers from this size on travel beside the stream; below it a message of its own costs more than a copy."""

EXCEPTION_LIMIT = 1024 * 1024
"""An exception whose pickle is longer arrives as `RemoteError` with its text cut."""


# --- plain values -------------------------------------------------------------------------------------------


def dumps(obj: object) -> bytes:
    """The pickled form of `obj`, functions and classes of `__main__` by value.

    Raises:
        BaseException: whatever pickling raised; see `dumps_call` for a message with a path.
    """
    import cloudpickle

    data: bytes = cloudpickle.dumps(obj, protocol=5)
    return data


def loads(data: Buffer) -> Any:
    """The object that `dumps` was given. Runs code that the bytes name."""
    return pickle.loads(data)


def _pack(obj: object, pickler_class: Any) -> tuple[list[Buffer], Any]:
    """`obj` as a parcel, and the pickler that made it."""
    file = io.BytesIO()
    beside: list[Buffer] = []

    def keep_in_stream(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if view.nbytes < BUFFER_BESIDE:
            return True
        beside.append(view)
        return False

    pickler = pickler_class(file, protocol=5, buffer_callback=keep_in_stream)
    pickler.dump(obj)
    return [file.getvalue(), *beside], pickler


def _unpack(parcel: Parcel) -> Any:
    # From immutable bytes an array would come out read-only.
    buffers = [bytearray(buffer) if isinstance(buffer, bytes) else buffer for buffer in parcel[1:]]
    return pickle.loads(parcel[0], buffers=buffers)


@functools.cache
def _going_pickler() -> Any:
    import cloudpickle

    return cloudpickle.Pickler


@functools.cache
def _returning_pickler() -> Any:
    """The pickler of a worker; made late, since importing cloudpickle takes 80 ms."""
    import cloudpickle
    from cloudpickle import cloudpickle as inside

    # Private names: without them (another version of cloudpickle) classes are sent back by value.
    tracked: Mapping[type, str] = getattr(inside, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", {})

    class ReturningPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle carries no types
        """Sends a class that came from the parent back as its id.

        By value, the parent would get its own class too, but with every method and attribute replaced by a
        copy that no longer sees the notebook's globals.
        """

        def __init__(self, file: Any, **options: Any) -> None:
            super().__init__(file, **options)
            self.types_met: set[type] = set()

        def reducer_override(self, obj: Any) -> Any:
            self.types_met.add(type(obj))
            if isinstance(obj, type) and (tracker_id := tracked.get(obj)) is not None:
                return _class_that_came_from_here, (tracker_id, cloudpickle.dumps(obj, protocol=5))
            return super().reducer_override(obj)

    return ReturningPickler


def _class_that_came_from_here(tracker_id: str, by_value: bytes) -> Any:
    from cloudpickle import cloudpickle as inside

    here: Mapping[str, type] = getattr(inside, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
    found = here.get(tracker_id)
    return pickle.loads(by_value) if found is None else found


_WELL_KNOWN = frozenset(sys.stdlib_module_names) | set("numpy pandas polars pyarrow scipy sklearn xarray".split())


def _reduces_in_its_own_way(cls: type) -> bool:
    if cls.__module__.partition(".")[0] in _WELL_KNOWN and cls.__module__ != "__main__":
        return False
    return hasattr(cls, "__setstate__") or any(
        name in base.__dict__ for base in cls.__mro__[:-1] for name in ("__reduce__", "__reduce_ex__")
    )


# --- calls and results --------------------------------------------------------------------------------------


def dumps_call(
    node_name: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[Buffer]:
    """The call as a parcel for a worker process.

    Raises:
        NotPicklable: names the node, the path of the culprit (`args[0]['db']`), its type and a way out.
    """
    args, kwargs = tuple(args), dict(kwargs)
    try:
        return _pack((function, args, kwargs), _going_pickler())[0]
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        parts = Parts.of([("function", function), *items("args", args), *items("kwargs", kwargs)])
        where, reason, way_out = explain(parts, error, dumps)
        raise NotPicklable(
            f"Node {node_name!r}: {where} cannot be sent to a process: {reason}. "
            f"{way_out}, or run this node in threads.",
            where,
        ) from error


def loads_call(node_name: str, parcel: Parcel) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Function, positional and keyword arguments of a parcel of `dumps_call`; for the worker.

    Raises:
        NotPicklable: the parcel could not be loaded here.
    """
    try:
        function, args, kwargs = _unpack(parcel)
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(
            f"Node {node_name!r}: the call could not be unpickled in the worker process: {short(error)}. "
            "Run this node in threads, or make what it is given loadable in another process.",
            "call",
        ) from error
    return function, args, kwargs


def dumps_result(node_name: str, result: object) -> list[Buffer]:
    """The result as a parcel for the parent; for the worker.

    A result whose classes bring pickling code of their own is loaded once here, so that code that raises,
    exits or crashes does so in this process and not in the user's kernel.

    Raises:
        NotPicklable: names the node, the path of the culprit (`result[3]`), its type and a way out.
    """
    if type(result) in _PLAIN:
        return [pickle.dumps(result, protocol=5)]
    try:
        parcel, pickler = _pack(result, _returning_pickler())
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        where, reason, way_out = explain(Parts.of([("result", result)]), error, dumps)
        raise NotPicklable(
            f"Node {node_name!r}: {where} cannot be sent back from a process: {reason}. "
            f"{_for_a_result(way_out)}, or run this node in threads.",
            where,
        ) from error
    if any(map(_reduces_in_its_own_way, pickler.types_met)):
        loads_result(node_name, [parcel[0], *map(bytearray, parcel[1:])])
    return parcel


_PLAIN = frozenset({type(None), bool, int, float, str, bytes})


def loads_result(node_name: str, parcel: Parcel) -> Any:
    """The result in a parcel of `dumps_result`.

    Raises:
        NotPicklable: the parcel could not be loaded here.
    """
    try:
        return _unpack(parcel)
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(
            f"Node {node_name!r}: the result could not be unpickled: {short(error)}. "
            "Return something simpler, or run this node in threads.",
            "result",
        ) from error


# --- pickles of the REST contract ---------------------------------------------------------------------------
# TileDB's client carries its own cloudpickle, and has no PyPI one. What goes over the wire therefore names the
# vendored modules, in protocol 4, and what comes from there is read with those names mapped back. Three classes of
# that client stand inside pickles too; stand-ins of ours take their place in both directions.

_VENDORED: Final = "tiledb.cloud._vendor.cloudpickle"
_IN_FAST: Final = frozenset({"_function_setstate", "_class_setstate"})
_STAND_INS: Final = {
    ("tiledb.cloud._results.stored_params", "StoredParam"),
    ("tiledb.cloud._results.decoders", "Decoder"),
    ("tiledb.cloud._results.decoders", "PandasDecoder"),
}
_STAND_INS_MODULE: Final = f"{__package__}.models"
"""Imported only when one of them is met: worker processes of local nodes never need it."""


def dumps_wire(obj: object) -> bytes:
    """The pickled form of `obj` as the contract has it: both our reader and TileDB's client understand it.

    Raises:
        BaseException: whatever pickling raised; see `dumps_for_server` for a message with a path.
    """
    file = io.BytesIO()
    _wire_pickler()(file, protocol=4).dump(obj)
    data = file.getvalue()
    return _with_names_of_the_contract(data) if _OURS.search(data) else data


def loads_wire(data: Buffer) -> Any:
    """The object in a pickle of the contract, from our writer or from TileDB's client. Runs code that it names.

    Raises:
        NotPicklable: that code wanted to end this process.
    """
    try:
        return _WireUnpickler(io.BytesIO(data)).load()
    except Exception:
        raise
    except BaseException as error:  # SystemExit in a value's __reduce__ must not end who only reads a result
        if may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(f"The value could not be unpickled: {short(error)}.", "value") from error


def dumps_for_server(node_name: str, where: str, obj: object) -> bytes:
    """`dumps_wire` for a part of a call to a server; ``where`` is its path, such as ``args[0]``.

    Raises:
        NotPicklable: names the node, the path of the culprit, its type and a way out.
    """
    way_out = "{}, or run this node here with submit_local (not in a BATCH graph)."
    return _dumps_or_explain(node_name, where, obj, "sent to the server", way_out)


def dumps_for_client(node_name: str, where: str, obj: object) -> bytes:
    """`dumps_wire` for a result, or a part of one, on its way from a server; ``where`` is its path, such as
    ``result[0]``.

    Raises:
        NotPicklable: names the node, the path of the culprit, its type and a way out.
    """
    return _dumps_or_explain(node_name, where, obj, "sent back from the server", "{}.", is_result=True)


def _dumps_or_explain(
    node_name: str, where: str, obj: object, what: str, way_out: str, *, is_result: bool = False
) -> bytes:
    try:
        return dumps_wire(obj)
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        place, reason, way = explain(Parts.of([(where, obj)]), error, dumps)
        way = _for_a_result(way) if is_result else way
        message = f"Node {node_name!r}: {place} cannot be {what}: {reason}. {way_out.format(way)}"
        raise NotPicklable(message, place) from error


def _for_a_result(way_out: str) -> str:
    return way_out.replace("inside the function", "in the node that uses it")


@functools.cache
def _wire_pickler() -> Any:
    import cloudpickle

    class WirePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle carries no types
        """Leaves out what the vendored cloudpickle 2.2.1 cannot read."""

        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is _FIELD_KIND:  # 3.x has a helper for these that 2.2.1 lacks
                return getattr, (dataclasses, obj.name)
            return super().reducer_override(obj)

    return WirePickler


_FIELD_KIND: Final[Any] = type(getattr(dataclasses, "_FIELD", None))
_OURS: Final = re.compile(rb"cloudpickle|tiledag_widget\.wire\.models")


class _WireUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _STAND_INS:
            return super().find_class(_STAND_INS_MODULE, name)
        if module == _VENDORED or module.startswith(_VENDORED + "."):
            module = module.removeprefix("tiledb.cloud._vendor.")
            try:
                return super().find_class(module, name)
            except (ImportError, AttributeError):
                return super().find_class("cloudpickle.cloudpickle", name)
        return super().find_class(module, name)


def _with_names_of_the_contract(data: bytes) -> bytes:
    """The same pickle with cloudpickle's modules and our stand-ins named as TileDB's client names them.

    Before each STACK_GLOBAL that names one of ours the two strings are popped and the others pushed; memo numbers
    stay as they are. Frames go, since their lengths would no longer fit.
    """
    out = bytearray()
    strings: list[str] = []
    """What the last opcodes pushed, as far as they are texts."""
    memo: dict[int, str] = {}
    memoized = 0
    spans = list(pickletools.genops(data))
    ends = [position for _, _, position in spans[1:]] + [len(data)]
    for (opcode, argument, start), end in zip(spans, ends, strict=True):
        name = opcode.name
        if name == "FRAME":
            continue
        if name == "MEMOIZE":
            if strings:
                memo[memoized] = strings[-1]
            memoized += 1
        elif name in ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"):
            strings.append(str(argument))
        elif name in ("BINGET", "LONG_BINGET") and argument in memo:
            strings.append(memo[int(str(argument))])
        else:
            if name == "STACK_GLOBAL" and len(strings) >= 2:
                path = _path_in_the_contract(*strings[-2:])
                if path is not None:
                    out += pickle.POP * 2 + _pushed(path[0]) + _pushed(path[1])
            strings.clear()
        out += data[start:end]
    return bytes(out)


def _path_in_the_contract(module: str, name: str) -> tuple[str, str] | None:
    if module == "cloudpickle" or module.startswith("cloudpickle."):
        return f"{_VENDORED}.{'cloudpickle_fast' if name in _IN_FAST else 'cloudpickle'}", name
    if module == _STAND_INS_MODULE:
        return next(((theirs, known) for theirs, known in _STAND_INS if known == name), None)
    return None


def _pushed(text: str) -> bytes:
    data = text.encode()
    return pickle.SHORT_BINUNICODE + bytes([len(data)]) + data


# --- exceptions ---------------------------------------------------------------------------------------------


class RemoteTraceback(Exception):
    """The traceback text of an exception that was raised in another process: shown as its cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def capture_exception(error: BaseException) -> bytes:
    """`error` as bytes that `restore_exception` can always load: whole if that works, else as text.

    The round trip is tried here, in the process that knows the class. The traceback with its chain goes as text.
    """
    trace = cut(formatted(error))
    message = cut(text_of(error))
    return pickle.dumps((type_name(type(error)), message, trace, _whole(error)), protocol=5)


def restore_exception(data: Buffer) -> tuple[BaseException, str]:
    """The exception that `capture_exception` was given, or a `RemoteError` for it, and its traceback text.

    The text is also its `__cause__`, so that a traceback printed here shows what happened there.
    """
    type_name, message, trace, whole = pickle.loads(data)
    trace = with_source_lines(trace)
    error: BaseException | None = None
    if whole is not None:
        try:
            loaded = pickle.loads(whole)
        except BaseException as problem:
            if may_be_a_real_interrupt(problem):
                raise
        else:
            error = loaded if isinstance(loaded, BaseException) else None
    if error is None:
        error = RemoteError(f"{type_name}: {message}" if message else type_name, type_name, trace)
    error.__cause__ = RemoteTraceback(trace)
    return error, trace


def traceback_text_of(error: BaseException) -> str:
    """The traceback of `error` as text: that of the process where it was raised, if it came from one."""
    if isinstance(error.__cause__, RemoteTraceback):
        return str(error.__cause__.args[0])
    if isinstance(error, RemoteError) and error.traceback_text:
        return error.traceback_text
    return cut(formatted(error))


def _whole(error: BaseException) -> bytes | None:
    for form in (_Own(error), error, _Bare(error)):
        try:
            data = _dumps_returning(form)
            if len(data) > EXCEPTION_LIMIT:
                return None
            copy = pickle.loads(data)
            if type(copy).__qualname__ == type(error).__qualname__ and str(copy) == str(error):
                return data
        except BaseException as problem:
            if may_be_a_real_interrupt(problem):
                raise
    return None


def _dumps_returning(obj: object) -> bytes:
    file = io.BytesIO()
    _returning_pickler()(file, protocol=5).dump(obj)
    return file.getvalue()


class _Own:
    """Pickles an exception by its own account, past what others registered for its class.

    tblib, which dask.distributed installs for every exception, loses the arguments of some (UnicodeDecodeError), and
    what it makes can be read only where tblib is.
    """

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return self._error.__reduce_ex__(5)


class _Bare:
    """Pickles an exception past its `__init__`: many have one that does not accept their own `args`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        if type(self._error).__reduce__ is not BaseException.__reduce__:
            raise TypeError("brings its own way")
        return _exception_without_init, (type(self._error), self._error.args, dict(vars(self._error)))


def _exception_without_init(cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls, *args)
    error.args = args
    vars(error).update(state)
    return error
