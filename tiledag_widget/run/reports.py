"""Who is told what becomes of a run: callbacks, one at a time and in order, and whoever waits.

**Threads**: ``dag-<name>-callbacks``, from `run.threads`, ends when every callback was called.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from ..core.states import RUNNING, Changed, Command, Ended
from .threads import threads

GRAPH: Final = -1
"""Stands for the whole graph where a node's index could."""


class Observer(Protocol):
    """The graph as its callbacks know it. Called on the callback thread; must not raise."""

    def node_changed(self, node: int, serial: int) -> None:
        """A node began or ended."""

    def graph_ended(self, serial: int) -> None: ...

    def node_ended(self, node: int, serial: int) -> None: ...


class Reports:
    """What a driver has to tell. ``lock`` is the driver's: what adds to the reports expects it to be held."""

    def __init__(self, observer: Observer, lock: threading.Lock, label: str) -> None:
        self.observer = observer
        self.lock = lock
        self.is_wanted = False
        """Somebody has registered a callback."""
        self.outbox: deque[tuple[int, Command]] = deque()
        self.is_delivering = False
        self.waiters: dict[int, list[threading.Lock]] = {}
        """By node, or `GRAPH`: who sleeps until it ends, each on a lock of its own."""
        self._label = label
        self._posted = 0
        self._delivered = 0
        self._serials: dict[int, int] = {}
        """Serial number of the latest report on a node; under `GRAPH` that of the graph's end."""
        self._deliverer = 0

    # --- the lock is held -------------------------------------------------------------------------------

    def expect(self) -> int:
        """From now on status changes go to the observer. Returns the serial number of the latest one."""
        self.is_wanted = True
        return self._posted

    def post(self, subject: int, command: Command) -> None:
        self._posted += 1
        self._serials[subject] = self._posted
        self.outbox.append((self._posted, command))

    def wake(self, subject: int) -> None:
        """Whoever wakes looks again, and sleeps on if its callbacks are still to be called."""
        for sleeper in self.waiters.pop(subject, ()):
            sleeper.release()

    # --- no lock is held --------------------------------------------------------------------------------

    def deliver_soon(self, context: contextvars.Context) -> None:
        """Have callbacks called on a thread that sees ``context``, unless they are being called."""
        with self.lock:
            if self.is_delivering or not self.outbox:
                return
            self.is_delivering = True
        copy = context.copy()
        try:
            threads.start(lambda: copy.run(self._deliver), f"dag-{self._label}-callbacks")
        except RuntimeError:
            self._deliver()

    def _deliver(self) -> None:
        observer, outbox = self.observer, self.outbox
        self._deliverer = threading.get_ident()
        while True:
            with self.lock:
                if not outbox:
                    # 1. a step adds to the outbox; 2. it sees a delivery at work and leaves; 3. we end. The flag is
                    # taken back under the lock that adding needs, so 1 comes before this look or sees the flag down.
                    self.is_delivering = False
                    self._deliverer = 0
                    return
                serial, command = outbox.popleft()
                ended = outbox.popleft()[0] if outbox and type(outbox[0][1]) is Ended else 0
            last = ended or serial
            if type(command) is Changed:
                observer.node_changed(command.node, serial)
                if ended:
                    observer.graph_ended(ended)
                if command.status != RUNNING:
                    observer.node_ended(command.node, serial)
            else:
                observer.graph_ended(serial)
            with self.lock:
                self._delivered = last
                if self.waiters:
                    if type(command) is Changed:
                        self.wake(command.node)
                    if ended or type(command) is Ended:
                        self.wake(GRAPH)

    def wait(self, subject: int, is_over: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until it is over and its callbacks were called (unless called from one). False when time is over."""
        inside_callback = threading.get_ident() == self._deliverer

        def is_reported() -> bool:
            return is_over() and (inside_callback or self._delivered >= self._serials.get(subject, 0))

        end = None if timeout is None else time.monotonic() + float(timeout)
        while True:
            # Each sleeper has a lock of its own. With a condition over the common lock, an interrupt that comes while
            # the lock is taken back would leave it released twice, and two lanes inside.
            sleeper = threading.Lock()
            sleeper.acquire()
            with self.lock:
                if is_reported():
                    return True
                self.waiters.setdefault(subject, []).append(sleeper)
            try:
                left = -1 if end is None else end - time.monotonic()
                if end is None or left > 0:
                    sleeper.acquire(timeout=min(left, threading.TIMEOUT_MAX))
            finally:
                with self.lock:
                    others = self.waiters.get(subject)
                    if others is not None and sleeper in others:
                        others.remove(sleeper)
            if end is not None and time.monotonic() >= end:
                return is_reported()

    def wait_until_all_called(self, timeout: float) -> bool:
        """Wait until the callbacks of everything so far were called."""
        end = time.monotonic() + timeout
        while True:
            with self.lock:  # inside a step what has just ended is not in the outbox yet
                if not self.outbox and not self.is_delivering:
                    return True
            if time.monotonic() >= end or threading.get_ident() == self._deliverer:
                return False
            time.sleep(0.002)
