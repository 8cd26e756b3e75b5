"""What a caller of the ``submit`` methods asks for: what cannot be meant is refused at once, and what our own server
does not do is said, once."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, MethodType
from typing import Any, Final

from .core.states import Mode
from .run.arguments import SERVER_OPTIONS

__all__ = [
    "OF_ARRAYS",
    "beyond_ours",
    "check_format_of_query",
    "check_resources",
    "forget",
    "refuse_unknown",
    "refuse_unknown_of_query",
    "tell_once",
    "were_told",
]

_VARIABLE_KEYWORDS: Final = 0x08
_OPTIONS: Final = sorted(SERVER_OPTIONS | {"name", "mode", "local_mode", "resource_class", "resources"})
CLASSES: Final = ("standard", "large")
"""The resource classes of a server of ours that nobody has told of others."""
_OF_NODES: Final = frozenset(
    {"_download_results", "_internal_accepts_stored_params", "expand_node_output", "resource_class", "resources"}
)
"""What a `Node` takes for itself."""
OF_ARRAYS: Final = frozenset({"attrs", "func", "layout", "ranges", "v2"})
_OF_QUERIES: Final = frozenset({"init_commands", "output_uri", "parameters", "query", "raw_results", "sql"})
_told: set[str] = set()


def refuse_unknown(name: str, function: Any, given: Mapping[str, Any], also: frozenset[str] = frozenset()) -> None:
    """Refuse keyword arguments that neither a submit method nor the function knows; the call would fail when it runs.

    Looks at plain functions and methods only: what others take is not written on them.

    Args:
        name: Of the node.
        function: What is called.
        given: The keyword arguments.
        also: What the submit method takes besides.

    Raises:
        TypeError: There are such; they are named, with what they may be a slip of.
    """
    bound = isinstance(function, MethodType)
    plain: Any = function.__func__ if bound else function
    if type(plain) is not FunctionType or plain.__code__.co_flags & _VARIABLE_KEYWORDS:
        return
    code = plain.__code__
    taken = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    own = taken[1:] if bound and not code.co_posonlyargcount else taken
    _refuse(name, f"{plain.__qualname__}()", own, [key for key in given if key not in (*own, *also, *_OF_NODES)])


def refuse_unknown_of_query(name: str, given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a query does not have.

    Raises:
        TypeError: There are such; they are named.
    """
    unknown = [key for key in given if key not in _OF_QUERIES and key not in _OF_NODES]
    _refuse(name, "submit_sql", sorted(_OF_QUERIES), unknown)


def check_format_of_query(name: str, wanted: Any, is_raw: bool) -> None:
    """Refuse a result format that no rows can be read from.

    Raises:
        ValueError: It is such a format.
    """
    wanted = str(wanted)
    if wanted == "r_serialization" or (wanted == "bytes" and not is_raw):
        what = "is for R only" if wanted != "bytes" else "holds the bytes that a function returns, and no rows"
        raise ValueError(
            f"Node {name!r}: result_format {wanted!r} {what}. Leave it out for a query, which is 'arrow', or choose "
            "'json', 'tiledb_json' or 'native'."
        )


def _refuse(name: str, who: str, taken: Sequence[str], unknown: Sequence[str]) -> None:
    if not unknown:
        return
    import difflib

    near = difflib.get_close_matches(unknown[0], [*taken, *_OPTIONS], 1, 0.7)
    raise TypeError(
        f"Node {name!r}: {who} takes no {' and no '.join(map(repr, unknown))}"
        f"{f'; perhaps {near[0]!r} is meant' if near else ''}. It takes {', '.join(taken) or 'no keyword arguments'}."
    )


def check_resources(mode: Mode, resource_class: str | None, resources: Mapping[str, Any] | None) -> None:
    """Refuse resources that a node of a graph of this mode cannot have.

    Raises:
        TypeError, ValueError: They do not fit.
    """
    if resource_class is not None and not isinstance(resource_class, str):
        raise TypeError(f"`resource_class` must be a text such as 'standard' or 'large', got {resource_class!r}")
    if mode is Mode.BATCH:
        if resource_class and resources is not None:
            raise ValueError("Only one of `resources` and `resource_class` may be set when running a task graph node.")
        if resources is not None and not isinstance(resources, Mapping):
            raise TypeError(f"`resources` must be a mapping such as {{'cpu': '1', 'memory': '2Gi'}}, got {resources!r}")
        memory = resources.get("memory") if resources is not None else None
        if memory is not None and (not isinstance(memory, str) or re.fullmatch(r"[0-9]+", memory)):
            raise ValueError(
                f"The `memory` key in `resources` is {memory!r}: a unit is missing. "
                "Write a text such as '512Mi' or '2Gi'."
            )
    elif resources is not None:
        raise ValueError(
            f'Cannot set resources for {mode.name} task graphs, please use "resource_class" to set a predefined '
            'option for "standard" or "large"'
        )
    elif mode is Mode.LOCAL and resource_class:
        raise ValueError("Resource class cannot be set for locally-executed nodes.")


def beyond_ours(
    options: Mapping[str, Any], resources: Mapping[str, Any] | None, resource_class: str | None
) -> Mapping[str, str]:
    """What is asked for and our own server does not do, with what happens instead. TileDB Cloud may do it."""
    found: dict[str, str] = {}
    if resource_class not in (None, *CLASSES):
        found[f"resource_class {resource_class}"] = (
            f"resource_class={resource_class!r}: it has {' and '.join(CLASSES)}, and others only as "
            f"`tiledag serve --memory-limit {resource_class}=GIB` says; without that the node fails"
        )
    image = options.get("image_name")
    if image not in (None, "", "default"):
        found["image_name"] = f"image_name={image!r}: it has no images, and runs functions with its own packages"
    credentials = options.get("access_credentials_name")
    if credentials:
        found["access_credentials_name"] = (
            f"access_credentials_name={credentials!r}: it keeps no credentials; functions have those of its environment"
        )
    gpu = resources.get("gpu") if resources is not None else None
    if isinstance(gpu, int) and gpu > 0:
        found["gpu"] = f"resources['gpu']={gpu}: it gives functions no GPU of their own"
    here = os.cpu_count() or 1
    wanted = _cores(resources.get("cpu")) if resources is not None else 0.0
    if resources is not None and wanted > here:
        found["cpu"] = f"resources['cpu']={resources['cpu']!r}: this machine has {here}, and functions share them"
    return found


def _cores(given: Any) -> float:
    text = str(given or 0)
    try:
        return float(text[:-1]) / 1000 if text.endswith("m") else float(text)
    except ValueError:  # a unit that nobody gives cores in
        return 0.0


def tell_once(node: str, wishes: Mapping[str, str]) -> None:
    """Warn of what our own server does not do, once in this process for each kind of wish."""
    for kind, words in wishes.items():
        if kind not in _told:
            _told.add(kind)
            warnings.warn(
                f"Node {node!r} asks the server of tiledag for {words}. This is said once.", UserWarning, _way_out()
            )


def were_told(wishes: Iterable[str]) -> bool:
    """Whether there is nothing left to warn of."""
    return _told.issuperset(wishes)


def forget() -> None:
    """Warn again, for tests."""
    _told.clear()


def _way_out() -> int:
    """How far up the stack the first caller is who is not of this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("tiledag_widget."):
        level, frame = level + 1, frame.f_back
    return level
