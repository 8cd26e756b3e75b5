"""The graphs of this process: which are known, which run, and what becomes of them at the interpreter's exit and in a
fork.

At exit what has not started is cancelled, running functions finish, and their callbacks are called. In the child of a
fork no graph of the parent can go on; what can be read of it stays so.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .pacer import pacer
from .threads import threads

if TYPE_CHECKING:
    from .driver import Driver
    from .reports import Observer

_log = logging.getLogger("tiledag_widget.run")
LAST_WORDS_S: Final = 5.0
"""How long an interpreter that exits waits for callbacks of graphs that have ended."""

_all: weakref.WeakSet[Driver] = weakref.WeakSet()
_running: dict[int, Driver] = {}
_is_before_pools = False


def made(driver: Driver) -> None:
    """From now on it is known here, as long as somebody holds it."""
    _all.add(driver)


def runs(driver: Driver) -> None:
    """From now on it is held here. Its lock must be held, as for `has_ended`."""
    _running[id(driver)] = driver


def has_ended(driver: Driver) -> None:
    _running.pop(id(driver), None)


def running_drivers() -> list[Driver]:
    """Drivers of graphs that run now, in no particular order."""
    return [driver for driver in list(_running.values()) if not driver.machine.is_ended]


def known_observers() -> list[Observer]:
    """Whom the graphs of this process report to, as far as somebody holds them."""
    return [driver.reports.observer for driver in list(_all)]


def wait_until_all_reported(timeout: float) -> None:
    """Wait until the callbacks of everything so far were called, of each graph for so many seconds at most. A node's
    result can be had before."""
    for driver in list(_all):
        driver.wait_until_reported(timeout)


# --- exit and fork ------------------------------------------------------------------------------------------


def set_exit_hooks() -> None:
    """Before each start: exit hooks run last in, first out, and ours must come before that of worker processes started
    meanwhile."""
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)
    _cancel_before_pools_close()


def _at_exit() -> None:
    """Nothing not yet started starts; running functions finish. Then the interpreter may go."""
    for driver in _running_here():
        try:
            driver.cancel(None)
        except Exception:
            _log.exception("could not cancel a graph at exit")
    for driver in _running_here():
        driver.wait_until_ended()
    wait_until_all_reported(LAST_WORDS_S)


def _running_here() -> Sequence[Driver]:
    return [driver for driver in running_drivers() if driver.runs_here]


def _cancel_not_started() -> None:
    for driver in _running_here():
        driver.cancel(None)


def _cancel_before_pools_close() -> None:
    """The pools of ``concurrent.futures`` close before any exit hook, and nodes that wait for one would fail.

    Python has a hook before that, of no public name; without it such nodes are Failed instead of Cancelled.
    """
    global _is_before_pools
    register = getattr(threading, "_register_atexit", None)
    if _is_before_pools or register is None:
        return
    _is_before_pools = True
    with contextlib.suppress(RuntimeError):  # the interpreter is about to go
        register(_cancel_not_started)


def _after_fork() -> None:
    """No thread of ours is in the child, and a lock may be held by one of them for ever. What can be read stays so."""
    threads.forget()
    pacer.forget()
    _running.clear()
    for driver in _all:
        driver.forget_locks()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
