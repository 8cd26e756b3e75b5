"""How far a running function is, as it says itself."""

from __future__ import annotations

import threading
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
        ValueError: ``total`` is not above 0.
    """
    if not total > 0:
        raise ValueError(f"progress: total must be above 0, got {total!r}")
    if current.holder is not None:
        current.holder._progress = (done, total)


def reporting(holder: Any) -> None:
    """From now on reports of this thread are about ``holder``; None: about nothing."""
    current.holder = holder
