"""Nodes and stored parameters inside argument trees: find them, and replace them.

Walked are lists, tuples and the values of dicts, with their subclasses; nothing else (keys, sets, arrays, frames and
the attributes of objects are passed on as they are). No recursion: a tree may be as deep as memory allows, hold one
object many times, and refer to itself through lists and dicts.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from ..wire.models import StoredParam

T = TypeVar("T")
Replace = Callable[[Any], Any]

_CONTAINERS: Final = (list, tuple, dict)
_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None), complex})

SERVER_OPTIONS: Final = frozenset(
    {
        "access_credentials_name",
        "deadline",
        "http_compressor",
        "image_name",
        "include_source_lines",
        "namespace",
        "result_format",
        "result_format_version",
        "retry_strategy",
        "store_results",
        "stored_param_uuids",
        "task_name",
        "timeout",
    }
)
"""Keyword arguments of ``submit_udf`` and its kind that speak to the server, not to the function."""


class ParamLoader(Protocol):
    """Gives the value that a stored parameter stands for."""

    def load(self, param: StoredParam) -> Any: ...


def find(tree: Any, wanted: type[T]) -> list[T]:
    """Every instance of ``wanted`` in the tree, in order of discovery, each once. O(size of the tree)."""
    found: dict[int, T] = {}
    seen: set[int] = set()
    stack: list[Iterator[Any]] = [iter((tree,))]
    while stack:
        for item in stack[-1]:
            try:
                if type(item) in _ATOMS:
                    continue
            except TypeError:  # its class has no hash
                pass
            if isinstance(item, wanted):
                found[id(item)] = item
            elif isinstance(item, _CONTAINERS) and id(item) not in seen:
                seen.add(id(item))
                stack.append(_members(item))
                break
        else:
            stack.pop()
    return list(found.values())


def replace(tree: T, wanted: type[Any], value_of: Replace) -> T:
    """The tree with every instance of ``wanted`` replaced by ``value_of(instance)``.

    Parts that hold none are the same objects as before; others are rebuilt by their own type, the same object twice
    in the tree as the same new object twice.

    Raises:
        TypeError: A container that holds something to replace cannot be rebuilt; it is named.
    """
    if isinstance(tree, wanted):
        return value_of(tree)  # type: ignore[no-any-return]
    if not isinstance(tree, _CONTAINERS):
        return tree
    containers, dirty = _survey(tree, wanted)
    if id(tree) not in dirty:
        return tree
    rebuilt: dict[int, Any] = {}
    for container in containers:  # first empty shells, so that a tree which holds itself has something to point at
        if id(container) in dirty and not isinstance(container, tuple):
            rebuilt[id(container)] = _shell(container)

    def new(item: Any) -> Any:
        if isinstance(item, wanted):
            return value_of(item)
        return rebuilt.get(id(item), item)

    for container in reversed(containers):  # inner tuples before the outer ones that hold them
        if id(container) in dirty and isinstance(container, tuple):
            _rebuild_tuples(container, dirty, rebuilt, new)
    for container in containers:
        if id(container) in dirty and not isinstance(container, tuple):
            _fill(rebuilt[id(container)], container, new)
    return rebuilt[id(tree)]  # type: ignore[no-any-return]


def replace_stored_params(tree: T, loader: ParamLoader) -> T:
    """The tree with every stored parameter replaced by its value.

    Args:
        tree: Any value; lists, tuples and values of dicts are walked.
        loader: Its ``load`` method is called once for each place where a stored parameter stands.

    Raises:
        KeyError: As raised by the loader for a parameter that it does not have.
        TypeError: ``loader`` has no such method.
    """
    from ..wire.models import StoredParam

    if not callable(getattr(loader, "load", None)):
        raise TypeError(
            "replace_stored_params takes an object with a method load(parameter), which gives the value of a "
            f"StoredParam; {type(loader).__name__} has none"
        )
    return replace(tree, StoredParam, loader.load)


def _members(container: Any) -> Iterator[Any]:
    return iter(container.values() if isinstance(container, dict) else container)


def _survey(tree: Any, wanted: type[Any]) -> tuple[list[Any], set[int]]:
    """Every container in the tree, outer before inner, and the ids of those with something to replace below."""
    containers: list[Any] = [tree]
    holders: dict[int, list[int]] = {id(tree): []}
    dirty: list[int] = []
    for container in containers:  # grows while it is walked
        own = id(container)
        is_dirty = False
        for item in _members(container):
            try:
                if type(item) in _ATOMS:
                    continue
            except TypeError:  # its class has no hash
                pass
            if isinstance(item, wanted):
                is_dirty = True
            elif isinstance(item, _CONTAINERS):
                known = holders.get(id(item))
                if known is None:
                    holders[id(item)] = [own]
                    containers.append(item)
                else:
                    known.append(own)
        if is_dirty:
            dirty.append(own)
    marked = set(dirty)
    for own in dirty:  # grows while it is walked
        for holder in holders[own]:
            if holder not in marked:
                marked.add(holder)
                dirty.append(holder)
    return containers, marked


def _shell(container: Any) -> Any:
    """An empty container of the same kind."""
    if isinstance(container, defaultdict):
        return type(container)(container.default_factory)
    try:
        return type(container)()
    except TypeError:
        shell = copy.copy(container)
        shell.clear()
        return shell


def _fill(shell: Any, container: Any, new: Replace) -> None:
    if isinstance(container, dict):
        for key, value in container.items():
            shell[key] = new(value)
    else:
        shell.extend(new(item) for item in container)


def _rebuild_tuples(top: tuple[Any, ...], dirty: set[int], rebuilt: dict[int, Any], new: Replace) -> None:
    """Rebuild a tuple after the dirty tuples inside it. They cannot form a ring without a list or dict between."""
    stack = [top]
    while stack:
        here = stack[-1]
        if id(here) in rebuilt:
            stack.pop()
            continue
        inner = [item for item in here if isinstance(item, tuple) and id(item) in dirty and id(item) not in rebuilt]
        if inner:
            stack.extend(inner)
            continue
        rebuilt[id(here)] = _make_tuple(here, [new(item) for item in here])
        stack.pop()


def _make_tuple(old: tuple[Any, ...], items: list[Any]) -> tuple[Any, ...]:
    kind = type(old)
    if kind is tuple:
        return tuple(items)
    try:
        make = getattr(kind, "_make", kind)  # a named tuple takes its fields one by one
        return make(items)
    except Exception as error:
        raise TypeError(
            f"a {kind.__qualname__} that holds a node cannot be rebuilt from its items: {error}. "
            "Pass a plain tuple, list or dict."
        ) from error
