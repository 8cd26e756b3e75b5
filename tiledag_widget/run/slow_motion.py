"""Slow motion: the lanes of a graph wait before each start, so that one can watch what a scheduler does.

**Guarantees.** Off, it costs the one look at `SlowMotion.seconds` that a lane takes before a node. On, a lane that
waits holds no lock, and the node that it waits with is still queued: it can be cancelled, and then nobody waits for it.
It waits at most `seconds`; `ring` has it look again.

1. A lane sees that its node is wanted and is about to wait. 2. The graph is cancelled and rings. 3. The lane waits for
nothing. What prevents it: it looks under the same condition that ringing needs.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final

MOST_S: Final = 60.0
GLANCE_S: Final = 0.05
"""How soon an inline graph, whose lane is the main thread, sees an interrupt."""


def checked(seconds: object) -> float:
    """Seconds of slow motion, as somebody gave them.

    Raises:
        TypeError: It is no number.
        ValueError: It is below 0 or above `MOST_S`.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"slow_motion is a number of seconds, got {seconds!r}")
    if not 0 <= seconds <= MOST_S or math.isnan(seconds):
        raise ValueError(f"slow_motion is between 0 (off) and {MOST_S:.0f} seconds, got {seconds!r}")
    return float(seconds)


class SlowMotion:
    """The waiting of one graph's lanes. Safe from any thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.resting = 0
        """How many lanes wait now."""
        self._bell = threading.Condition()

    def set(self, seconds: float) -> None:
        """Holds at once, also for lanes that wait already."""
        with self._bell:
            self.seconds = seconds
            self._bell.notify_all()

    def ring(self) -> None:
        """Have the lanes that wait look again whether there is something to wait for."""
        with self._bell:
            self._bell.notify_all()

    def rest(self, is_wanted: Callable[[], object]) -> None:
        """Wait until a node may start, or until it is not wanted any more."""
        began = time.monotonic()
        longest = GLANCE_S if threading.current_thread() is threading.main_thread() else MOST_S
        with self._bell:
            self.resting += 1
            try:
                while is_wanted() and (left := began + self.seconds - time.monotonic()) > 0:
                    self._bell.wait(min(left, longest))
            finally:
                self.resting -= 1
