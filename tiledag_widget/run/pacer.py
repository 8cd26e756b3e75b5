"""Opens more lanes for graphs that hold ready nodes and have stopped moving.

Functions that return in microseconds are done soonest by one thread: several would only hand the interpreter's lock
and the graph's to each other, at twice the cost. So a graph begins on one lane, and its others are opened when a
function took long, or here, when for `LOOK_S` nothing began or ended although nodes are ready.

**Thread**: ``tiledag-pacer``, from `run.threads`, exists only while some graph holds lanes back.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import Final, Protocol

from .threads import threads

LOOK_S: Final = 0.001


class Paced(Protocol):
    """What the pacer knows of a driver."""

    def pulse(self) -> int | None:
        """A number that changes when something begins or ends; None if nothing is held back."""

    def open_lanes(self, count: int) -> None:
        """Open up to so many lanes more."""


class Pacer:
    """Safe from any thread. Holds graphs weakly: the lanes of one that runs hold it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, weakref.ref[Paced]] = {}
        self._runs = False

    def watch(self, driver: Paced) -> None:
        """Look after this one until it holds nothing back."""
        known = self._held.get(id(driver))
        if known is not None and known() is driver:  # not an earlier one at the same address
            return
        with self._lock:
            self._held[id(driver)] = weakref.ref(driver)
            if self._runs:
                return
            self._runs = True
        try:
            threads.start(self._look, "tiledag-pacer")
        except RuntimeError:  # no thread to be had: then without the pause
            with self._lock:
                self._runs = False
                self._held.clear()
            driver.open_lanes(1)

    def _look(self) -> None:
        seen: dict[int, tuple[int, int]] = {}
        while True:
            time.sleep(LOOK_S)
            for key, ref in list(self._held.items()):
                seen[key] = self._look_at(key, ref(), *seen.get(key, (-1, 1)))
            with self._lock:
                if not self._held:
                    self._runs = False
                    return

    def _look_at(self, key: int, driver: Paced | None, last: int, more: int) -> tuple[int, int]:
        """Returns the pulse and how many lanes the next standstill opens."""
        pulse = driver.pulse() if driver is not None else None
        if driver is None or pulse is None:
            # 1. we see nothing held; 2. a node becomes ready and asks to be watched, and is in the list; 3. we take it
            # out. Looking again after taking it out settles it.
            ref = self._held.pop(key, None)
            now = ref() if ref is not None else None
            if ref is not None and now is not None and now.pulse() is not None:
                self._held[key] = ref
            return -1, 1
        if pulse != last:
            return pulse, 1
        driver.open_lanes(more)
        return pulse, min(2 * more, 64)

    def forget(self) -> None:
        """After a fork: the thread is not there in the child."""
        self._lock = threading.Lock()
        self._held = {}
        self._runs = False


pacer: Final = Pacer()
