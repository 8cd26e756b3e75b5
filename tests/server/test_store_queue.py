"""What waits to be written: in order, nothing left behind, and together where nobody waits."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from concurrent.futures import Future

from tiledag_widget.server.store_queue import MOST_TOGETHER, Waiting, Write


def write(number: int) -> Write:
    """One that is known by its number."""

    def work(connection: sqlite3.Connection) -> int:
        return number

    return work, Future()


def numbers(writes: list[Write]) -> list[int]:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return [work(connection) for work, _ in writes]


def test_what_may_wait_goes_with_the_next_that_may_not_in_the_order_asked_for() -> None:
    """The end of a task would be written before its begin."""
    waiting = Waiting()
    for number in range(5):
        waiting.put(write(number), may_wait=number != 4)

    assert numbers(waiting.take()) == [0, 1, 2, 3, 4]


def test_what_may_wait_does_not_wait_for_ever() -> None:
    """A task that runs for an hour would be shown as waiting for so long."""
    waiting = Waiting()
    waiting.put(write(1), may_wait=True)

    assert numbers(waiting.take()) == [1]


def test_a_crowd_is_taken_in_parts_and_whole_also_at_the_end() -> None:
    """A server that ends writes what was asked for first."""
    waiting = Waiting()
    count = 2 * MOST_TOGETHER + 1
    for number in range(count):
        waiting.put(write(number), may_wait=number % 3 == 0)
    waiting.end()

    found: list[int] = []
    sizes: list[int] = []
    while batch := waiting.take():
        sizes.append(len(batch))
        found += numbers(batch)

    assert found == list(range(count))
    assert sizes == [MOST_TOGETHER, MOST_TOGETHER, 1]


def test_nothing_is_left_behind_whoever_comes_when() -> None:
    """Whoever waits for a write that was forgotten waits for ever."""
    waiting = Waiting()
    writers, each = 8, 400
    found: list[int] = []

    def ask(first: int) -> None:
        for number in range(first, first + each):
            waiting.put(write(number), may_wait=number % 2 == 0)

    def take() -> None:
        while batch := waiting.take():
            found.extend(numbers(batch))

    taker = threading.Thread(target=take)
    askers = [threading.Thread(target=ask, args=(place * each,)) for place in range(writers)]
    taker.start()
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    waiting.end()
    taker.join(20)

    assert not taker.is_alive()
    assert sorted(found) == list(range(writers * each))
    for place in range(writers):
        own = [number for number in found if number // each == place]
        assert own == sorted(own)
