"""Values as text that is short and quick to make: the kind, shape and length of what is known, then a cut ``repr``.

**Guarantees.** `describe` and `one_line` never call code of the user's or of a big library: no ``repr``, no ``str``,
no ``len`` of unknown types, no import. `preview_text` may, and therefore runs on the preview thread of a view only.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import sys
import types
import uuid
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

LINE: Final = 120
TEXT: Final = 2_000
ITEMS: Final = 6
DEPTH: Final = 2

_PLAIN: Final = (
    dt.date,
    dt.time,
    dt.timedelta,
    decimal.Decimal,
    fractions.Fraction,
    pathlib.PurePath,
    uuid.UUID,
    range,
    complex,
    float,
)
_SIZED: Final[dict[type, str]] = {
    str: "character",
    bytes: "byte",
    bytearray: "byte",
    list: "item",
    tuple: "item",
    set: "item",
    frozenset: "item",
    dict: "entry",
}


def type_name(value: object) -> str:
    """``module.qualname``, without ``builtins`` and ``__main__``."""
    cls = type(value)
    name, module = cls.__qualname__, cls.__module__
    return name if module in ("builtins", "__main__") else f"{module}.{name}"


def size_words(count: int, unit: str) -> str:
    """Such as ``1,024 items``."""
    if count == 1:
        return f"1 {unit}"
    return f"{count:,} {unit[:-1] + 'ies' if unit.endswith('y') else unit + 's'}"


def byte_words(count: int) -> str:
    """Such as ``1.2 MB``."""
    if count < 1000:
        return size_words(count, "byte")
    size, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:,.0f} {unit}"


def describe(value: object) -> str:
    """Size and shape in words where they are known without work, else empty."""
    if isinstance(value, (bytes, bytearray)) and type(value) in _SIZED:
        return byte_words(len(value))
    unit = _SIZED.get(type(value))
    if unit is not None:
        return size_words(len(value), unit)  # type: ignore[arg-type]  # the table holds sized types only
    return _array_words(value)


def _array_words(value: object) -> str:
    """Arrays and frames, by the library that their class comes from; it is loaded, or there would be no such value."""
    library = type(value).__module__.partition(".")[0]
    if library not in (
        "numpy",
        "pandas",
        "pyarrow",
        "polars",
        "scipy",
        "torch",
        "tensorflow",
        "xarray",
        "jax",
        "jaxlib",
    ):
        return ""
    if library not in sys.modules:
        return ""
    try:
        return _shape_words(value)
    except Exception:
        return ""


def _shape_words(value: Any) -> str:
    words: list[str] = []
    shape = getattr(value, "shape", None)
    columns = getattr(value, "columns", None)
    rows = getattr(value, "num_rows", None)
    if isinstance(rows, int):  # pyarrow
        words.append(f"{rows:,} × {getattr(value, 'num_columns', 0):,}")
    elif isinstance(shape, Iterable):
        words.append(" × ".join(f"{int(side):,}" for side in shape) or "a scalar")
    dtype = getattr(value, "dtype", None)
    if dtype is not None and type(dtype).__module__.partition(".")[0] in ("numpy", "pandas", "torch", "jax", "polars"):
        words.append(str(dtype)[:60])
    size = getattr(value, "nbytes", None)
    if isinstance(size, int) and columns is None:
        words.append(byte_words(size))
    return ", ".join(words)


def one_line(value: object, depth: int = DEPTH) -> str:
    """A value in at most `LINE` characters. Cost: the first few items; no code of others is called."""
    return cut(_line(value, depth).replace("\n", "\\n").replace("\r", "\\r"), LINE)


def _line(value: object, depth: int) -> str:
    if value is None or isinstance(value, bool) or value is Ellipsis or value is NotImplemented:
        return repr(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    kind = type(value)
    if kind is int:
        return _int_line(value)  # type: ignore[arg-type]  # it is one
    if kind is str:
        return repr(value[:LINE]) + ("…" if len(value) > LINE else "")  # type: ignore[index,arg-type]  # a str
    if kind is bytes or kind is bytearray:
        return repr(bytes(value[:40])) + ("…" if len(value) > 40 else "")  # type: ignore[index,arg-type]  # bytes
    if isinstance(value, _PLAIN) and _is_of_library(kind):
        return repr(value)
    if kind in (list, tuple, set, frozenset):
        return _items_line(value, depth)  # type: ignore[arg-type]  # one of these
    if kind is dict:
        return _dict_line(value, depth)  # type: ignore[arg-type]  # a dict
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        return f"{value.__module__}.{value.__qualname__}" if value.__module__ != "builtins" else value.__qualname__
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if dataclasses.is_dataclass(value):
        return _fields_line(value, depth)
    words = _array_words(value)
    return f"<{kind.__name__}{': ' + words if words else ''}>"


def _is_of_library(kind: type) -> bool:
    """True for a class of the standard library: a subclass of the user's may have a ``repr`` of its own."""
    return kind.__module__.partition(".")[0] in sys.stdlib_module_names


def _int_line(value: int) -> str:
    if value.bit_length() > 400:  # Python refuses to write very long ones, and takes its time over long ones
        return f"<int of {value.bit_length():,} bits>"
    return repr(value)


def _items_line(value: Iterable[object], depth: int) -> str:
    opening, closing = ("[", "]") if type(value) is list else ("(", ")") if type(value) is tuple else ("{", "}")
    count = len(value)  # type: ignore[arg-type]  # one of four sized types
    if not count:
        return {set: "set()", frozenset: "frozenset()"}.get(type(value), opening + closing)
    if depth <= 0:
        return f"{opening}…{closing}"
    inner = ", ".join(_line(item, depth - 1) for item in islice(value, ITEMS))
    if count > ITEMS:
        return f"{opening}{inner}, … {size_words(count, 'item')}{closing}"
    return f"{opening}{inner}{',' if count == 1 and type(value) is tuple else ''}{closing}"


def _dict_line(value: Mapping[object, object], depth: int) -> str:
    if not value:
        return "{}"
    if depth <= 0:
        return "{…}"
    inner = ", ".join(
        f"{_line(key, 0)}: {HIDDEN if is_secret(key) else _line(item, depth - 1)}"
        for key, item in islice(value.items(), ITEMS)
    )
    return f"{{{inner}, … {size_words(len(value), 'entry')}}}" if len(value) > ITEMS else f"{{{inner}}}"


def _fields_line(value: Any, depth: int) -> str:
    name = type(value).__name__
    if depth <= 0:
        return f"{name}(…)"
    held = getattr(value, "__dict__", None)  # a field may be a property or a slot of any make: only plain ones are read
    if not isinstance(held, dict):
        return f"<{name}>"
    shown = [field.name for field in dataclasses.fields(value) if field.repr and field.name in held]
    inner = ", ".join(
        f"{field}={HIDDEN if is_secret(field) else _line(held[field], depth - 1)}" for field in shown[:ITEMS]
    )
    return f"{name}({inner}{', …' if len(shown) > ITEMS else ''})"


HIDDEN: Final = "(not shown)"
_SECRETS: Final = (
    "password",
    "passwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "credential",
    "private_key",
    "access_key",
)


def is_secret(name: object) -> bool:
    """True for the name of an argument whose value nobody should read over a shoulder or in a saved notebook."""
    return isinstance(name, str) and any(word in name.lower() for word in _SECRETS)


def preview_text(value: object) -> str:
    """A ``repr`` of at most `TEXT` characters. May call the user's code: for the preview thread only.

    Large values of known types are cut before they are written, so that no text of 100 MB is made for 2,000
    characters of it.
    """
    if type(value) in (str, bytes, bytearray) and len(value) > TEXT:  # type: ignore[arg-type]  # sized
        return cut(repr(value[:TEXT]), TEXT) + "…"  # type: ignore[index]  # a sequence
    if type(value) is int:
        return _int_line(value)
    if type(value) in (list, tuple, set, frozenset, dict):
        import reprlib

        short = reprlib.Repr()
        short.maxlevel, short.maxstring, short.maxother, short.maxlong = 4, 400, 400, 100
        short.maxlist = short.maxtuple = short.maxset = short.maxfrozenset = short.maxdict = 100
        return cut(short.repr(value), TEXT)
    return cut(repr(value), TEXT)


def cut(text: str, most: int) -> str:
    """At most ``most`` characters, the last one an ellipsis where something is missing."""
    return text if len(text) <= most else text[: most - 1] + "…"
