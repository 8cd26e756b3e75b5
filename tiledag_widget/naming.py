"""Names that nodes get when nobody names them."""

from __future__ import annotations

from typing import Any


def full_name(function: Any) -> str:
    """``module.qualname`` of a function; for a text the registered function of that name; else ``str(function)``."""
    if isinstance(function, str):
        return f"registered UDF {function!r}"
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if module is None or name is None:
        return str(function)
    return f"{module}.{name}"


class NodesByName(dict[str, Any]):
    """Name -> node. Names may be equal: a look-up gives the last node of that name and warns once of it."""

    def __init__(self) -> None:
        super().__init__()
        self._doubled: set[str] = set()

    def add(self, name: str, node: Any) -> None:
        if name in self:
            self._doubled.add(name)
        super().__setitem__(name, node)

    def __getitem__(self, name: str) -> Any:
        node = super().__getitem__(name)
        if name in self._doubled:
            self._warn(name)
        return node

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._doubled:
            self._warn(name)
        return super().get(name, default)

    def _warn(self, name: str) -> None:
        import warnings

        self._doubled.discard(name)
        warnings.warn(
            f"Several nodes are named {name!r}; this is the last one. Give them names of their own with name=...",
            UserWarning,
            stacklevel=3,
        )
