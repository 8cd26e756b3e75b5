"""Small things that tests of running graphs share."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from tiledag_widget import DAG
from tiledag_widget.run.threads import threads
from tiledag_widget.testing import event_log

PATIENCE_S = 0.25


@pytest.fixture(autouse=True)
def no_idle_threads() -> Iterator[None]:
    """Ends the threads that graphs share right after a test, which the leak check would otherwise wait 0.3 s for.

    Import it into a module to have it round each of its tests.
    """
    yield
    deadline = time.monotonic() + PATIENCE_S
    while True:
        threads.end_idle()
        if not threads.statistics()["busy"] or time.monotonic() > deadline:
            return
        time.sleep(0.0005)  # lanes that have just ended their last node are about to come back


class Gate:
    """A function for a node that waits inside until it is let through."""

    def __init__(self) -> None:
        self._inside, self._open = threading.Event(), threading.Event()

    def pass_through(self, *_: object) -> str:
        self._inside.set()
        if not self._open.wait(20):
            raise TimeoutError("the gate was never opened")
        return "passed"

    def wait_until_inside(self) -> None:
        assert self._inside.wait(20), "no node came to the gate"

    def open(self) -> None:
        self._open.set()


def wait_until(condition: Callable[[], bool], seconds: float = 10, *, every: float = 0.0005) -> None:
    """For what tells nobody when it happens."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)


@contextlib.contextmanager
def hostile_scheduling() -> Iterator[None]:
    """Threads change every microsecond."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def seeds(count: int, part: int = 0) -> Sequence[int]:
    """``count`` seeds, others for each part; TRIAL_SEED in the environment picks one, TRIAL_COUNT sets how many."""
    if "TRIAL_SEED" in os.environ:
        return [int(os.environ["TRIAL_SEED"])]
    count = int(os.environ.get("TRIAL_COUNT", count))
    return range(part * count, (part + 1) * count)


@contextlib.contextmanager
def replayable(seed: int, dag: DAG | None = None) -> Iterator[None]:
    """What fails inside prints its seed, the graph's event log, and the line that runs it again."""
    try:
        yield
    except BaseException as error:
        test = os.environ.get("PYTEST_CURRENT_TEST", "tests/trials").split(" ")[0]
        told = [f"seed {seed}; again: TRIAL_SEED={seed} .venv/bin/python -m pytest '{test}'"]
        if dag is not None:
            told += [f"statistics: {dag._driver.statistics()}", "event log:", event_log(dag)]
        if sys.version_info >= (3, 11):
            error.add_note("\n".join(told))
        else:
            sys.stderr.write("\n".join(told) + "\n")
        raise
