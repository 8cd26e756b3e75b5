"""The check that runs round every test: one that finds nothing would be worse than none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from tests.conftest import LASTING_THREADS, Held


def test_a_thread_that_stays_is_named_with_its_stack() -> None:
    """A graph that keeps a thread would otherwise show only after hours in a notebook."""
    before = Held.now()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="stays")
    thread.start()

    found = Held.now().since(before, LASTING_THREADS)
    release.set()
    thread.join()

    assert len(found) == 1
    assert "'stays'" in found[0]
    assert "wait" in found[0]


def test_a_process_that_stays_is_named_with_its_command() -> None:
    """Worker processes that outlive their graph hold memory that nobody sees."""
    before = Held.now()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    found = Held.now().since(before, LASTING_THREADS)
    child.communicate()

    assert any(f"process {child.pid}" in line and "input()" in line for line in found)


def test_a_process_is_seen_while_the_thread_that_started_it_ends() -> None:
    """It was taken for a new one by the next test, one look of 250."""
    missed = 0
    for _ in range(30):
        children: list[subprocess.Popen[bytes]] = []
        is_there, may_end = threading.Event(), threading.Event()

        def start(
            children: list[subprocess.Popen[bytes]] = children,
            is_there: threading.Event = is_there,
            may_end: threading.Event = may_end,
        ) -> None:
            children.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
            is_there.set()
            may_end.wait()

        thread = threading.Thread(target=start)
        thread.start()
        is_there.wait()
        may_end.set()
        missed += sum(children[0].pid not in Held.now().processes for _ in range(30))
        thread.join()
        children[0].communicate()

    assert missed == 0


def test_a_file_that_stays_open_is_named() -> None:
    """A pipe left per run ends in "too many open files" on a good day's work."""
    before = Held.now()
    read, write = os.pipe()

    found = Held.now().since(before, LASTING_THREADS)
    os.close(read)
    os.close(write)

    assert [line.split(":")[0] for line in found] == [f"open file {read}", f"open file {write}"]
    assert Held.now().since(before, LASTING_THREADS) == []
