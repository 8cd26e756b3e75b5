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


def test_a_file_that_stays_open_is_named() -> None:
    """A pipe left per run ends in "too many open files" on a good day's work."""
    before = Held.now()
    read, write = os.pipe()

    found = Held.now().since(before, LASTING_THREADS)
    os.close(read)
    os.close(write)

    assert [line.split(":")[0] for line in found] == [f"open file {read}", f"open file {write}"]
    assert Held.now().since(before, LASTING_THREADS) == []
