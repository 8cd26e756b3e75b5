"""Which part of a value cannot be pickled, why, and what to do: the path of the culprit for an error message.

It is found by pickling parts, with whatever pickler the caller brings.
"""

from __future__ import annotations

import collections
import functools
import re
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from .error_texts import may_be_a_real_interrupt, short, text_of, type_name

__all__ = ["Parts", "explain", "items"]

SEARCH_SECONDS = 2.0
"""The search for what cannot be pickled ends after this time with the path found so far."""

_Named: TypeAlias = "tuple[str, Any]"


class _OutOfTime(Exception):
    pass


@dataclass(frozen=True)
class Parts:
    """What a value is made of as pickling sees it; the path of a part is made only when asked for."""

    values: Sequence[Any]
    name_of: Callable[[int], str]

    @staticmethod
    def of(named: Iterable[_Named]) -> Parts:
        pairs = list(named)
        return Parts([value for _, value in pairs], lambda index: pairs[index][0])


class _Trial:
    """Finds the innermost part of a value that fails to pickle, by pickling parts, until the time is up."""

    def __init__(self, dumps: Callable[[object], object]) -> None:
        self._dumps = dumps
        self._end = time.monotonic() + SEARCH_SECONDS

    def error_of(self, obj: object) -> BaseException | None:
        if time.monotonic() > self._end:
            raise _OutOfTime
        try:
            self._dumps(obj)
        except BaseException as error:
            if may_be_a_real_interrupt(error):
                raise
            return error
        return None

    def first_failing(self, parts: Parts) -> tuple[str, Any, BaseException] | None:
        """Its path, itself and its error; None if none fails by itself. By halving: one bad item in a million costs the
        pickling of all once more, not a million picklings."""
        values, start = parts.values, 0
        error = None
        while len(values) > 1:
            half = len(values) // 2
            error = self.error_of(values[:half])
            if error is not None:
                values = values[:half]
            else:
                values, start = values[half:], start + half
        if error is None and len(values):  # by now it is this one, or none of them
            error = self.error_of(values[0])
        return None if error is None else (parts.name_of(start), values[0], error)


def explain(parts: Parts, error: BaseException, dumps: Callable[[object], object]) -> tuple[str, str, str]:
    """Path of the culprit, what is wrong with it, and what to do."""
    trial = _Trial(dumps)
    where, culprit = (parts.name_of(0), parts.values[0]) if len(parts.values) == 1 else ("the call", None)
    try:
        found = (where, culprit, error) if len(parts.values) == 1 else trial.first_failing(parts)
        for _ in range(50):
            if found is None:
                break
            where, culprit, error = found
            if _is_too_deep(error):
                return where, "it is nested too deeply to be pickled", "Make it flatter"
            if _refuses_by_itself(culprit):
                break
            found = trial.first_failing(_parts_or_none(where, culprit))
    except _OutOfTime:
        return where, f"something in it has no pickled form ({short(error)})", "Make it inside the function"
    return where, _reason(culprit, error), _way_out(culprit)


def _refuses_by_itself(culprit: object) -> bool:
    """Its class says that it has no pickled form, and why; what it is made of is beside the point."""
    return bool(getattr(type(culprit), "_has_no_pickled_form", False))


def _is_too_deep(error: BaseException) -> bool:
    return isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError)


def _reason(culprit: object, error: BaseException) -> str:
    name = type_name(type(culprit))
    text = text_of(error)
    if _refuses_by_itself(culprit):
        return text.rstrip(".")
    if isinstance(error, MemoryError):
        return f"there is not enough memory to pickle {name}"
    if re.match(r"cannot pickle|can't pickle|Can't get local object", text, re.IGNORECASE):
        return f"{name} has no pickled form"
    return f"pickling {name} raised {short(error)}"


def _way_out(culprit: object) -> str:
    if _refuses_by_itself(culprit):
        return "Pass results of nodes instead"
    if isinstance(culprit, types.GeneratorType | types.AsyncGeneratorType):
        return "Make a list of it, or make it inside the function"
    if hasattr(culprit, "close"):
        return "Open it inside the function"
    return "Make it inside the function"


def _parts_or_none(where: str, value: Any) -> Parts:
    """The parts of a value; none of one that does not let itself be looked into."""
    try:
        return _parts(where, value)
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        return Parts.of([])


def _parts(where: str, value: Any) -> Parts:
    """What `value` is made of as pickling sees it, each with its path."""
    if type(value) in (list, tuple):
        return Parts(value, lambda index: f"{where}[{index}]")
    if _is_of(value, "numpy", "ndarray"):
        return _parts_of_array(where, value)
    if _is_of(value, "pandas", "DataFrame"):
        return Parts.of(_parts_of_frame(where, value))
    if _is_of(value, "pandas", "Series", "Index"):
        return _parts_of_column(where, value)
    return Parts.of(_named_parts(where, value))


def _is_of(value: Any, package: str, *names: str) -> bool:
    """Without importing the package: who has such a value has imported it."""
    module = sys.modules.get(package)
    kinds = [getattr(module, name, None) for name in names]
    return any(isinstance(kind, type) and isinstance(value, kind) for kind in kinds)


def _parts_of_array(where: str, array: Any) -> Parts:
    """The objects in an array of such, or its fields; an array of numbers has none."""
    array = sys.modules["numpy"].asarray(array)  # of a masked array, its data
    if array.dtype.names:
        return Parts.of([(f"{where}[{_key(name)}]", array[name]) for name in array.dtype.names])
    if array.dtype.kind != "O":
        return Parts.of([])
    shape = array.shape

    def name_of(index: int) -> str:
        place: list[int] = []
        for length in reversed(shape):
            index, last = divmod(index, length)
            place.insert(0, last)
        return f"{where}[{', '.join(map(str, place)) or '()'}]"

    return Parts(array.reshape(-1).tolist(), name_of)


def _parts_of_frame(where: str, frame: Any) -> Iterator[_Named]:
    are_names = _tell_apart(frame.columns)
    for index, name in enumerate(frame.columns):
        is_name = are_names and isinstance(name, str | int)
        yield f"{where}[{_key(name)}]" if is_name else f"{where}.iloc[:, {index}]", frame.iloc[:, index]
    yield from ((f"{where}.{name}", getattr(frame, name)) for name in ("index", "columns", "attrs"))


def _tell_apart(labels: Any) -> bool:
    try:
        return bool(labels.is_unique)
    except TypeError:  # one cannot be hashed
        return False


def _parts_of_column(where: str, column: Any) -> Parts:
    """The values of a column or an index, by their labels where these tell them apart, and what is beside them."""
    values = column.to_numpy(dtype=object).tolist()
    labels = getattr(column, "index", None)
    beside = ("name",) if labels is None else ("name", "index", "attrs")
    rest = [(f"{where}.{name}", getattr(column, name)) for name in beside]

    def name_of(index: int) -> str:
        if index >= len(values):
            return rest[index - len(values)][0]
        if labels is None:
            return f"{where}[{index}]"
        label = labels[index]
        is_integer = hasattr(label, "__index__")
        if (is_integer or isinstance(label, str)) and _tell_apart(labels):
            return f"{where}[{_key(int(label) if is_integer else label)}]"
        return f"{where}.iloc[{index}]"

    return Parts([*values, *(value for _, value in rest)], name_of)


def _named_parts(where: str, value: Any) -> Iterator[_Named]:
    if isinstance(value, list | tuple | Mapping | collections.deque):
        yield from items(where, value)
    elif isinstance(value, set | frozenset):
        yield from ((f"{where}{{{_key(item)}}}", item) for item in list(value))
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(where, value)
    elif isinstance(value, functools.partial):
        yield f"{where}.func", value.func
        yield from items(f"{where}.args", value.args)
        yield from items(f"{where}.keywords", value.keywords)
    elif isinstance(value, types.MethodType):
        yield f"{where}.__self__", value.__self__
        yield f"{where}.__func__", value.__func__
    if isinstance(value, type):
        if value.__module__ == "__main__":
            yield from ((f"{where}.{key}", item) for key, item in list(vars(value).items()) if key[:2] != "__")
    elif not isinstance(value, types.FunctionType | types.ModuleType | types.MethodType):
        yield from _attributes(where, value)


def items(where: str, value: Any) -> Iterator[_Named]:
    if isinstance(value, Mapping):
        for key, item in list(value.items()):
            yield f"{where}[{_key(key)}]", item
            if not isinstance(key, str | int):
                yield f"{where}: key {_key(key)}", key
    else:
        for index, item in enumerate(value):
            yield f"{where}[{index}]", item


def _attributes(where: str, value: Any) -> Iterator[_Named]:
    if getattr(type(value), "__getstate__", None) is not getattr(object, "__getstate__", None):
        state = _state_of(value)  # an attribute that it leaves out is nobody's fault
        if isinstance(state, dict):
            yield from ((f"{where}.{name}", item) for name, item in state.items())
            return
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


def _state_of(value: Any) -> Any:
    """What a class of its own mind has pickled instead of the attributes; None if that fails."""
    try:
        return value.__getstate__()
    except BaseException as error:
        if may_be_a_real_interrupt(error):
            raise
        return None


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
