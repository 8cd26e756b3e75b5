"""The thread that sends: one for all views of this process.

**Guarantees.** `Publisher.wake` is safe from any thread, returns at once (it takes a lock that nobody holds for longer
than a few instructions) and never raises. A feed's ``tick`` runs on the publisher's thread only, one at a time. After
every `wake` there is a ``tick`` that began later.

**Threads.** "tiledag-publisher", a daemon: starts with the first `wake`, ends `IDLE_S` after the last feed had
something to send. A feed is held only while it has something to say.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from .worker import IDLE_S

_log = logging.getLogger("tiledag_widget.view")

MOST_MESSAGES: Final = 12
"""In any second, to one view."""


class Ticking(Protocol):
    """What the publisher knows of a feed."""

    def tick(self, now: float) -> float | None:
        """Send what is due at ``now``; returns the time of the next tick, None for not before the next `wake`."""


class Budget:
    """Says when a message may go, so that never more than `MOST_MESSAGES` go in a second.

    The span is a little over a second: a message may leave later than the clock was read, and the next one on time.
    """

    def __init__(self, most: int = MOST_MESSAGES, span: float = 1.05) -> None:
        self.most = most
        self._span = span
        self._sent: deque[float] = deque()

    def free_at(self, now: float, keep: int = 0) -> float:
        """When a message may go that leaves ``keep`` more for what is urgent; ``now`` if it may already."""
        while self._sent and self._sent[0] <= now - self._span:
            self._sent.popleft()
        over = len(self._sent) - (self.most - keep)
        return now if over < 0 else self._sent[over] + self._span

    def spend(self, now: float) -> None:
        self._sent.append(now)


class Publisher:
    """Runs the ticks of feeds when they are due."""

    def __init__(self, *, idle: float = IDLE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle = idle
        self._clock = clock
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._woken: set[Ticking] = set()
        self._thread: threading.Thread | None = None

    def wake(self, feed: Ticking) -> None:
        """Have ``feed.tick`` called soon."""
        with self._lock:
            self._woken.add(feed)
            self._event.set()
            if self._thread is not None and self._thread.is_alive():  # not alive: this is a forked child
                return
            self._thread = threading.Thread(target=self._run, name="tiledag-publisher", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is shutting down
                self._thread = None

    def _run(self) -> None:
        due: dict[Ticking, float] = {}
        while True:
            self._take_woken(due)
            now = self._clock()
            for feed in [feed for feed, at in due.items() if at <= now]:
                following = self._tick(feed)
                if following is None:
                    del due[feed]
                else:
                    due[feed] = following
                del feed
            pause = min(due.values()) - self._clock() if due else self._idle
            if self._event.wait(max(pause, 0.0)) or due:
                continue
            with self._lock:
                # A wake before this lock is in `_woken`; one after it finds no thread and starts one.
                if not self._woken:
                    self._thread = None
                    return

    def _take_woken(self, due: dict[Ticking, float]) -> None:
        with self._lock:
            self._event.clear()
            woken, self._woken = self._woken, set()
        due.update(dict.fromkeys(woken, 0.0))

    def _tick(self, feed: Ticking) -> float | None:
        try:
            return feed.tick(self._clock())
        except Exception:
            _log.exception("the view could not be updated")
            return None


PUBLISHER: Final = Publisher()
"""The one of this process; it has no thread until something is to be sent."""
