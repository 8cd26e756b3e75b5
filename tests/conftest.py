"""What holds for every test: an alarm, and a check that nothing is left behind.

**Alarm.** pytest-timeout prints the stacks of all threads after 30 s and fails the test (``pyproject.toml``); browser
tests get 120 s and slow ones 300 s, unless they carry their own ``@pytest.mark.timeout``.

**Leaks.** Round every test the threads, child processes and open files of this process are compared. What is new
gets a moment to end by itself, then ``tiledag_widget.shutdown()`` is called, then it is a failure that names each
one, with the stack of a thread. A test that leaves something on purpose says so: ``@pytest.mark.leaks("why")``.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# Graphs of the tests are nobody's runs. What needs a server, or records, says so itself; a test that starts one by
# accident fails, for this folder cannot be made.
os.environ["TILEDAG_RECORD"] = "0"
os.environ["TILEDAG_DATA_DIR"] = f"{os.devnull}/a-test-without-a-data-folder"

# A shell starts its background jobs with interrupts ignored, and children inherit that; tests send real ones.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

BROWSER_SECONDS = 120
SLOW_SECONDS = 300
BY_ITSELF_SECONDS = 0.3
AFTER_SHUTDOWN_SECONDS = 5.0

# Kept by libraries for the life of the process, once, and ended by them.
LASTING_PROCESSES = ("resource_tracker", "multiprocessing.forkserver")
LASTING_THREADS: tuple[str, ...] = ("pytest_timeout", "execnet", "IPythonHistorySavingThread")
# Playwright runs its loop in this process as long as its session fixture lives.
LASTING_THREADS_OF_BROWSER_TESTS = ("asyncio_",)
LASTING_FILES = ("/dev/null", "/dev/urandom", "/dev/random", "anon_inode:[eventpoll]")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives browser and slow tests a later alarm."""
    for item in items:
        if item.get_closest_marker("timeout") is not None:
            continue
        if item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.timeout(SLOW_SECONDS))
        elif item.get_closest_marker("browser") is not None:
            item.add_marker(pytest.mark.timeout(BROWSER_SECONDS))


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment."""

    threads: frozenset[threading.Thread]
    processes: frozenset[int]
    files: frozenset[tuple[int, str]]

    @classmethod
    def now(cls) -> Held:
        return cls(frozenset(threading.enumerate()), frozenset(_children()), frozenset(_open_files()))

    def since(self, before: Held, lasting_threads: tuple[str, ...]) -> list[str]:
        """One line for each thing held now and not ``before``, but for what lasts by design."""
        lines = [
            f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}\n{_stack(thread)}"
            for thread in self.threads - before.threads
            if thread.is_alive() and not thread.name.startswith(lasting_threads)
        ]
        for pid in self.processes - before.processes:
            command = _command(pid)
            if not any(word in command for word in LASTING_PROCESSES):
                lines.append(f"process {pid}: {command}")
        lasting = _tracker_files()
        lines += [
            f"open file {number}: {target}"
            for number, target in sorted(self.files - before.files)
            if number not in lasting and not target.startswith(LASTING_FILES)
        ]
        return lines


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a thread, a process or an open file."""
    if request.node.get_closest_marker("leaks") is not None:
        yield
        return
    lasting = LASTING_THREADS
    if request.node.get_closest_marker("browser") is not None:
        lasting += LASTING_THREADS_OF_BROWSER_TESTS
    before = Held.now()
    yield
    threads = sys.modules.get("tiledag_widget.run.threads")
    if threads is not None:
        threads.threads.end_idle()  # they would end by themselves, a second later
    left = _wait_for_end(before, BY_ITSELF_SECONDS, lasting)
    if left:
        shutdown = getattr(sys.modules.get("tiledag_widget"), "shutdown", None)
        if shutdown is not None:
            shutdown()
        left = _wait_for_end(before, AFTER_SHUTDOWN_SECONDS, lasting)
    if left:
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


def _wait_for_end(before: Held, seconds: float, lasting: tuple[str, ...]) -> list[str]:
    """What is left after at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while (left := Held.now().since(before, lasting)) and time.monotonic() < deadline - seconds * 0.9:
        time.sleep(0.002)
    if not left:
        return left
    gc.collect()
    while (left := Held.now().since(before, lasting)) and time.monotonic() < deadline:
        multiprocessing.active_children()  # takes leave of those that ended
        time.sleep(0.01)
    return left


def _children() -> Iterator[int]:
    """Process ids of the direct children. From /proc where it tells (0.1 ms), else by psutil."""
    tasks = Path("/proc/self/task")
    try:
        # Twice: a child belongs to the thread that started it, and when that ends, to another one that may just have
        # been looked at.
        for task in [*os.listdir(tasks), *os.listdir(tasks)]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, (tasks / task / "children").read_text().split())
        if (tasks / str(os.getpid()) / "children").exists():
            return
    except FileNotFoundError:
        pass
    import psutil

    yield from (child.pid for child in psutil.Process().children())


def _command(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        return f"{process.status()} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return "gone"


def _open_files() -> Iterator[tuple[int, str]]:
    """Number and target of each open file. Empty where the system does not tell."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return
    for number in os.listdir(folder):
        with contextlib.suppress(OSError):
            target = os.readlink(folder / number)
            if not target.startswith("/proc/"):
                yield int(number), target


def _tracker_files() -> set[int]:
    """The ends of the pipes to the resource trackers, which live as long as this process."""
    numbers = set()
    for name in ("multiprocessing.resource_tracker", "loky.backend.resource_tracker"):
        tracker = getattr(sys.modules.get(name), "_resource_tracker", None)
        number = getattr(tracker, "_fd", None)
        if isinstance(number, int):
            numbers.add(number)
    return numbers


def _stack(thread: threading.Thread) -> str:
    frame = sys._current_frames().get(thread.ident or 0)
    return "".join(traceback.format_stack(frame)[-6:]) if frame is not None else "  (no stack)\n"
