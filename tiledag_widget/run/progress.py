"""How far a running function is, as it says itself."""

from __future__ import annotations

import threading
from numbers import Real
from typing import Any, Final, Protocol


class _Holder(Protocol):
    _progress: tuple[float, float] | None


class _Current(threading.local):
    holder: _Holder | None = None


current: Final = _Current()
"""The node whose function runs on this thread."""


def progress(done: float, total: float) -> None:
    """Tell the views how far the function that calls this is. Outside a node, and in a worker process, no effect.

    Args:
        done: How much is done, in any unit.
        total: How much there is, in the same unit.

    Raises:
        TypeError: One of them is no number.
        ValueError: ``total`` is not above 0, or ``done`` is not between 0 and ``total``.
    """
    if not isinstance(done, Real) or not isinstance(total, Real):
        raise TypeError(f"progress takes two numbers, got {done!r} and {total!r}")
    if not 0 <= done <= total or not total > 0:
        raise ValueError(f"progress: done must be between 0 and total, and total above 0; got {done!r} of {total!r}")
    if current.holder is not None:
        current.holder._progress = (done, total)


def reporting(holder: Any) -> None:
    """From now on reports of this thread are about ``holder``; None: about nothing."""
    current.holder = holder
