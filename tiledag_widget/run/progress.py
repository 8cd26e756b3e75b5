"""How far a running function is, as it says itself."""

from __future__ import annotations

import threading
from math import inf
from numbers import Real
from typing import Any, Final, Protocol


class _Holder(Protocol):
    _progress: tuple[float, float] | None

    def _sink(self) -> Any:
        """What the attempt that runs prints into. See `run.output`."""


class Place:
    """What one thread is at."""

    __slots__ = ("holder", "sink")

    def __init__(self) -> None:
        self.holder: _Holder | None = None
        """The node whose function runs."""
        self.sink: Any = None
        """`run.output.Sink` of that node, from its first line to its end."""


class _Current(threading.local):
    """``place`` is this thread's own for its whole life: who runs many nodes looks it up once."""

    def __init__(self) -> None:
        self.place = Place()


current: Final = _Current()
"""Where this thread is."""


def progress(done: float, total: float) -> None:
    """Tell the views how far the function that calls this is. Outside a node, and in a worker process, no effect.

    Args:
        done: How much is done, in any unit.
        total: How much there is, in the same unit.

    Raises:
        TypeError: One of them is no number.
        ValueError: ``total`` is not above 0 or infinite, or ``done`` is not between 0 and ``total``.
    """
    for number in (done, total):
        _refuse_unless_number(number)
    if not 0 <= done <= total or not 0 < total < inf:
        raise ValueError(
            f"progress: total must be above 0 and finite, and done between 0 and total; got {done!r} of {total!r}"
        )
    holder = current.place.holder
    if holder is not None:
        holder._progress = (done, total)


def _refuse_unless_number(value: object) -> None:
    if not isinstance(value, Real):
        raise TypeError(f"progress takes two numbers, got {value!r}")
