"""Interrupts that wait while a step is half done.

Half a step of the machine would leave counters that do not fit, and with them a graph that never ends.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType
from typing import Any, Final


class InterruptGate:
    """Holds interrupts back on the main thread but where ``inside`` is set, and hands them on at the end."""

    def __init__(self) -> None:
        self.inside = False
        self.interrupted = False
        self._old: Any = None
        self._active = False

    def __enter__(self) -> InterruptGate:
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):  # not the main thread of the main interpreter
                self._old = signal.signal(signal.SIGINT, self._note)
                self._active = True
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        if self.inside:
            self.inside = False
            raise KeyboardInterrupt

    def __exit__(self, *exc_info: object) -> None:
        if not self._active:
            return
        signal.signal(signal.SIGINT, self._old if self._old is not None else signal.SIG_DFL)
        if self.interrupted and callable(self._old):
            self._old(signal.SIGINT, None)


class _NoGate(InterruptGate):
    """For threads that get no interrupts."""

    def __enter__(self) -> InterruptGate:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None


NO_GATE: Final = _NoGate()
