"""The thread that follows a run at its server: asks again and again, through times in which there is no answer.

**Guarantees**

- While there is something to follow and nobody has asked it to stop, somebody follows: `start` is called after each
  request, and does nothing where somebody does.
- A server that does not answer is asked again for ever, with growing pauses; one that refuses `REFUSALS` times in a row
  to tell of the run has lost it.

**Threads**: ``dag-<name>-follow`` from `run.threads`, one for each run that is not over; ends with the run, or at most
`LONG_POLL_S` after `detach_all`.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Any, Final, Protocol

from ..errors import ServerError, ServerUnreachable
from .threads import threads

_log = logging.getLogger("tiledag_widget.run")

LONG_POLL_S: Final = 2.0
"""How long our server may keep a question for events. An answer comes at once where there is one; a question that waits
cannot be taken back, so this is also how long an end of the process or of following may take."""
FIRST_RECONNECT_S: Final = 0.2
LONGEST_RECONNECT_S: Final = 5.0
REFUSALS: Final = 4
"""How often in a row a server may refuse to tell of the run before it counts as lost."""


class Followed(Protocol):
    """What is asked of a graph here."""

    label: str
    lock: Any

    def is_to_follow(self) -> bool:
        """Whether there may be more to hear. The lock is held."""

    def look(self, wait: float) -> float:
        """Ask the server once; for how long there is nothing to ask then."""

    def hear_nothing(self) -> None:
        """The server has not answered."""

    def give_up(self, error: Exception) -> None:
        """The server does not tell of the run any more."""

    def leave_to_parent(self) -> None:
        """This is a forked child, which has none of the threads."""


class Follower:
    """Follows one run. All methods are safe from any thread."""

    def __init__(self, graph: Followed) -> None:
        self._graph = graph
        self._is_at_it = False
        self._is_detached = False
        self._nudge = threading.Event()
        _followers.add(self)

    def start(self) -> None:
        """See to it that somebody follows, while there is something to follow."""
        with self._graph.lock:
            if self._is_at_it or not self._graph.is_to_follow():
                return
            self._is_at_it = True
            self._is_detached = False
        self._nudge.clear()
        try:
            threads.start(self._follow, f"dag-{self._graph.label}-follow")
        except RuntimeError:
            with self._graph.lock:
                self._is_at_it = False
            raise

    def detach(self) -> None:
        """Stop following; the run goes on. Whoever waits for the graph follows it again."""
        self._is_detached = True
        self._nudge.set()

    def sleep(self, seconds: float) -> bool:
        """A pause, on the thread that follows; False if it is to stop."""
        self._nudge.wait(seconds)
        return not self._is_detached

    def _follow(self) -> None:
        graph = self._graph
        lost = refused = 0
        while True:
            with graph.lock:
                # 1. a retry makes the run go on; 2. it sees somebody follow and leaves; 3. we end. Both look under
                # the lock, so 1 comes before this look or finds nobody following.
                if self._is_detached or not graph.is_to_follow():
                    self._is_at_it = False
                    return
            try:
                pause = graph.look(LONG_POLL_S)
                lost = refused = 0
            except Exception as error:  # whatever it is, who waits for the graph must hear of it in the end
                is_refusal = not isinstance(error, ServerUnreachable) and not _is_passing(error)
                lost, refused = lost + 1, refused + is_refusal
                if refused >= REFUSALS:
                    _log.warning("the run of %s cannot be followed any more: %s", graph.label, error)
                    graph.give_up(error)
                    continue
                level = logging.WARNING if lost == 1 else logging.DEBUG
                _log.log(level, "no word of the run of %s, which goes on; asking again: %s", graph.label, error)
                graph.hear_nothing()
                pause = min(FIRST_RECONNECT_S * 1.6 ** min(lost - 1, 16), LONGEST_RECONNECT_S)
            if pause:
                self._nudge.wait(pause)

    def _leave_to_parent(self) -> None:
        self._is_at_it = False
        self._nudge = threading.Event()
        self._graph.leave_to_parent()


def _is_passing(error: BaseException) -> bool:
    """True of a refusal that another try may not meet."""
    return isinstance(error, ServerError) and (error.http_status >= 500 or error.http_status in (408, 413, 429))


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()


def detach_all() -> None:
    """Stop following all runs; they go on at their servers."""
    for follower in list(_followers):
        follower.detach()


def _after_fork() -> None:
    for follower in list(_followers):
        follower._leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["LONG_POLL_S", "Follower", "detach_all"]
