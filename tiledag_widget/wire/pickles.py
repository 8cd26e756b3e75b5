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
import linecache
import pickle
import pickletools
import re
import signal
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..errors import NotPicklable, RemoteError

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

TEXT_LIMIT = 64 * 1024
"""Messages and traceback texts are cut in the middle to this many characters."""

SEARCH_SECONDS = 2.0
"""The search for what cannot be pickled ends after this time with the path found so far."""


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
        if _may_be_a_real_interrupt(error):
            raise
        parts = _Parts.of([("function", function), *_items("args", args), *_items("kwargs", kwargs)])
        where, reason, way_out = _explain(parts, error)
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
        if _may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(
            f"Node {node_name!r}: the call could not be unpickled in the worker process: {_short(error)}. "
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
        if _may_be_a_real_interrupt(error):
            raise
        where, reason, way_out = _explain(_Parts.of([("result", result)]), error)
        raise NotPicklable(
            f"Node {node_name!r}: {where} cannot be sent back from a process: {reason}. "
            f"{way_out.replace('inside the function', 'in the node that uses it')}, or run this node in threads.",
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
        if _may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(
            f"Node {node_name!r}: the result could not be unpickled: {_short(error)}. "
            "Return something simpler, or run this node in threads.",
            "result",
        ) from error


def _may_be_a_real_interrupt(error: BaseException) -> bool:
    """Signals reach the main thread alone, and workers ignore SIGINT: elsewhere user code has raised it."""
    return (
        isinstance(error, KeyboardInterrupt)
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )


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
        if _may_be_a_real_interrupt(error):
            raise
        raise NotPicklable(f"The value could not be unpickled: {_short(error)}.", "value") from error


def dumps_for_server(node_name: str, where: str, obj: object) -> bytes:
    """`dumps_wire` for a part of a call to a server; ``where`` is its path, such as ``args[0]``.

    Raises:
        NotPicklable: names the node, the path of the culprit, its type and a way out.
    """
    try:
        return dumps_wire(obj)
    except BaseException as error:
        if _may_be_a_real_interrupt(error):
            raise
        place, reason, way_out = _explain(_Parts.of([(where, obj)]), error)
        raise NotPicklable(
            f"Node {node_name!r}: {place} cannot be sent to the server: {reason}. "
            f"{way_out}, or run this node here with submit_local (not in a BATCH graph).",
            place,
        ) from error


def dumps_for_client(node_name: str, where: str, obj: object) -> bytes:
    """`dumps_wire` for a result, or a part of one, on its way from a server; ``where`` is its path, such as
    ``result[0]``.

    Raises:
        NotPicklable: names the node, the path of the culprit, its type and a way out.
    """
    try:
        return dumps_wire(obj)
    except BaseException as error:
        if _may_be_a_real_interrupt(error):
            raise
        place, reason, way_out = _explain(_Parts.of([(where, obj)]), error)
        raise NotPicklable(
            f"Node {node_name!r}: {place} cannot be sent back from the server: {reason}. "
            f"{way_out.replace('inside the function', 'in the node that uses it')}.",
            place,
        ) from error


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


# --- the culprit --------------------------------------------------------------------------------------------

_Named: TypeAlias = "tuple[str, Any]"


class _OutOfTime(Exception):
    pass


@dataclass(frozen=True)
class _Parts:
    """What a value is made of as pickling sees it; the path of a part is made only when asked for."""

    values: Sequence[Any]
    name_of: Callable[[int], str]

    @staticmethod
    def of(named: Iterable[_Named]) -> _Parts:
        pairs = list(named)
        return _Parts([value for _, value in pairs], lambda index: pairs[index][0])


class _Trial:
    """Finds the innermost part of a value that fails to pickle, by pickling parts, until the time is up."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SEARCH_SECONDS

    def error_of(self, obj: object) -> BaseException | None:
        if time.monotonic() > self._end:
            raise _OutOfTime
        try:
            dumps(obj)
        except BaseException as error:
            if _may_be_a_real_interrupt(error):
                raise
            return error
        return None

    def first_failing(self, parts: _Parts) -> _Named | None:
        """By halving: one bad item in a million costs twice the pickling of all, not a million picklings."""
        values, start = parts.values, 0
        if not len(values) or self.error_of(values) is None:
            return None
        while len(values) > 1:
            half = len(values) // 2
            if self.error_of(values[:half]) is not None:
                values = values[:half]
            else:
                values, start = values[half:], start + half
        return parts.name_of(start), values[0]


def _explain(parts: _Parts, error: BaseException) -> tuple[str, str, str]:
    """Path of the culprit, what is wrong with it, and what to do."""
    trial = _Trial()
    where, culprit = (parts.name_of(0), parts.values[0]) if len(parts.values) == 1 else ("the call", None)
    try:
        found = trial.first_failing(parts)
        for _ in range(50):
            if found is None:
                break
            where, culprit = found
            problem = trial.error_of(culprit)
            if problem is not None and _is_too_deep(problem):
                return where, "it is nested too deeply to be pickled", "Make it flatter"
            if problem is not None and _refuses_by_itself(culprit):
                break
            found = trial.first_failing(_parts(where, culprit))
        error = trial.error_of(culprit) or error
    except _OutOfTime:
        return where, f"something in it has no pickled form ({_short(error)})", "Make it inside the function"
    return where, _reason(culprit, error), _way_out(culprit)


def _refuses_by_itself(culprit: object) -> bool:
    """Its class says that it has no pickled form, and why; what it is made of is beside the point."""
    return bool(getattr(type(culprit), "_has_no_pickled_form", False))


def _is_too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _reason(culprit: object, error: BaseException) -> str:
    name = _type_name(type(culprit))
    text = _text_of(error)
    if _refuses_by_itself(culprit):
        return text.rstrip(".")
    if isinstance(error, MemoryError):
        return f"there is not enough memory to pickle {name}"
    if re.match(r"cannot pickle|can't pickle|Can't get local object", text, re.IGNORECASE):
        return f"{name} has no pickled form"
    return f"pickling {name} raised {_short(error)}"


def _way_out(culprit: object) -> str:
    if _refuses_by_itself(culprit):
        return "Pass results of nodes instead"
    if isinstance(culprit, types.GeneratorType | types.AsyncGeneratorType):
        return "Make a list of it, or make it inside the function"
    if hasattr(culprit, "close"):
        return "Open it inside the function"
    return "Make it inside the function"


def _parts(where: str, value: Any) -> _Parts:
    """What `value` is made of as pickling sees it, each with its path."""
    if type(value) in (list, tuple):
        return _Parts(value, lambda index: f"{where}[{index}]")
    return _Parts.of(_named_parts(where, value))


def _named_parts(where: str, value: Any) -> Iterator[_Named]:
    if isinstance(value, list | tuple | Mapping):
        yield from _items(where, value)
    elif isinstance(value, set | frozenset):
        yield from ((f"{where}{{{_key(item)}}}", item) for item in list(value))
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(where, value)
    elif isinstance(value, functools.partial):
        yield f"{where}.func", value.func
        yield from _items(f"{where}.args", value.args)
        yield from _items(f"{where}.keywords", value.keywords)
    elif isinstance(value, types.MethodType):
        yield f"{where}.__self__", value.__self__
        yield f"{where}.__func__", value.__func__
    if isinstance(value, type):
        if value.__module__ == "__main__":
            yield from ((f"{where}.{key}", item) for key, item in list(vars(value).items()) if key[:2] != "__")
    elif not isinstance(value, types.FunctionType | types.ModuleType | types.MethodType):
        yield from _attributes(where, value)


def _items(where: str, value: Any) -> Iterator[_Named]:
    if isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield f"{where}[{_key(key)}]", item
            if not isinstance(key, str | int):
                yield f"{where}: key {_key(key)}", key
    else:
        for index, item in enumerate(value):
            yield f"{where}[{index}]", item


def _attributes(where: str, value: Any) -> Iterator[_Named]:
    try:
        own = dict(vars(value))
    except TypeError:
        own = {}
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                own[name] = getattr(value, name)
    for name, item in own.items():
        yield f"{where}.{name}", item


def _parts_of_function(where: str, function: types.FunctionType) -> Iterator[_Named]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"{where}: closure variable {name!r}", cell.cell_contents
        except ValueError:  # the cell is empty
            continue
    for name in _names_in(function.__code__):
        if name in function.__globals__ and function.__globals__[name] is not function:
            yield f"{where}: global {name!r}", function.__globals__[name]
    for index, value in enumerate(function.__defaults__ or ()):
        yield f"{where}: default {index}", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f"{where}: default of {name!r}", value


def _names_in(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


def _key(key: object) -> str:
    text = repr(key) if type(key) in (str, int, float, bool, bytes, type(None)) else f"<{type(key).__name__}>"
    return text if len(text) <= 60 else text[:59] + "…"


def _type_name(cls: type) -> str:
    module = getattr(cls, "__module__", "builtins")
    return cls.__qualname__ if module in ("builtins", "__main__") else f"{module}.{cls.__qualname__}"


# --- exceptions ---------------------------------------------------------------------------------------------


class RemoteTraceback(Exception):
    """The traceback text of an exception that was raised in another process: shown as its cause."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def capture_exception(error: BaseException) -> bytes:
    """`error` as bytes that `restore_exception` can always load: whole if that works, else as text.

    The round trip is tried here, in the process that knows the class. The traceback with its chain goes as text.
    """
    trace = _cut(_format(error))
    message = _cut(_text_of(error))
    return pickle.dumps((_type_name(type(error)), message, trace, _whole(error)), protocol=5)


def restore_exception(data: Buffer) -> tuple[BaseException, str]:
    """The exception that `capture_exception` was given, or a `RemoteError` for it, and its traceback text.

    The text is also its `__cause__`, so that a traceback printed here shows what happened there.
    """
    type_name, message, trace, whole = pickle.loads(data)
    trace = _with_source_lines(trace)
    error: BaseException | None = None
    if whole is not None:
        try:
            loaded = pickle.loads(whole)
        except BaseException as problem:
            if _may_be_a_real_interrupt(problem):
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
    return _cut(_format(error))


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
            if _may_be_a_real_interrupt(problem):
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


def _format(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("tiledag_widget."):
        trace = trace.tb_next  # ours; the user's frames are what is asked for
    try:
        return "".join(traceback.format_exception(type(error), error, trace))
    except BaseException as problem:
        if _may_be_a_real_interrupt(problem):
            raise
        return f"{_type_name(type(error))} (its traceback could not be formatted)\n"


_FRAME = re.compile(r'^  File "([^"]+)", line (\d+), in .*$')


def _with_source_lines(trace: str) -> str:
    """Adds the lines of notebook cells, which only the kernel knows."""
    lines = trace.split("\n")
    result: list[str] = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        result.append(line)
        frame = _FRAME.match(line)
        if frame and not after.startswith("    "):
            source = linecache.getline(frame[1], int(frame[2])).strip()
            if source:
                result.append(f"    {source}")
    return "\n".join(result)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as problem:
        if _may_be_a_real_interrupt(problem):
            raise
        return f"<its text could not be had: {type(problem).__name__}>"


def _short(error: BaseException) -> str:
    text = _cut(_text_of(error), 500)
    return f"{_type_name(type(error))}: {text}" if text else _type_name(type(error))


def _cut(text: str, limit: int = TEXT_LIMIT) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"
