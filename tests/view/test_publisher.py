"""Merging and sending: pace, urgency, budget, and that the page ends where the machine is."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiledag_widget.core.states import AddNode, Began, Cancel, Event, Failed, Finished, Retry, Start, Status
from tiledag_widget.view import feed as feed_module
from tiledag_widget.view import opening as opening_module
from tiledag_widget.view.feed import Feed
from tiledag_widget.view.messages import ARRANGING_S, HEARTBEAT_S, HIDDEN_S, MERGE_S
from tiledag_widget.view.opening import Openings
from tiledag_widget.view.publisher import Budget, Publisher

from .fake_source import FakeSource, Page, Recorder, one_mark_each

AT = 1_700_000_000.0


class Bench:
    """A feed on a clock that tests move, and a page at its other end."""

    def __init__(self, source: FakeSource, **options: Any) -> None:
        self.time = 100.0
        self.source = source
        self.recorder = Recorder(lambda: self.time)
        self.page = Page()
        self.woken = False
        self.jobs: list[Callable[[], object]] = []
        self.due: float | None = None
        self.feed = Feed(
            source,
            Openings(source, one_mark_each),
            self._send,
            wake=self._wake,
            build=lambda job: self.jobs.append(job),
            clock=lambda: self.time,
            wall=lambda: AT,
            **options,
        )

    def _send(self, content: Any, buffers: list[bytes]) -> None:
        self.recorder(content, buffers)
        self.page.take(self.recorder.messages[-1][1], buffers)

    def _wake(self, feed: Feed) -> None:
        self.woken = True

    def go(self, seconds: float = 0.0) -> Bench:
        """What the publisher's thread does in this time, without waiting for it."""
        end = self.time + seconds
        while True:
            while self.jobs:
                self.jobs.pop(0)()
            if self.woken or (self.due is not None and self.due <= self.time):
                self.woken = False
                self.due = self.feed.tick(self.time)
                continue
            if self.due is None or self.due > end:
                break
            self.time = self.due
        self.time = end
        return self

    def times(self, kind: str) -> list[float]:
        return [at for at, content, _ in self.recorder.messages if content["type"] == kind]


def graph(count: int, **options: Any) -> FakeSource:
    source = FakeSource(**options)
    source.handle(*[AddNode(()) for _ in range(count)])
    return source


def opened(count: int = 10, *, started: bool = True) -> Bench:
    bench = Bench(graph(count))
    if started:
        bench.source.handle(Start(AT))
    bench.feed.open()
    return bench.go()


def gaps_of(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


def began(node: int, at: float = AT) -> Event:
    return Began(node, 1, at, node % 4)


# --- opening ------------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_a_page_opens() -> None:
    bench = Bench(graph(3))
    bench.source.handle(Start(AT), began(0))
    bench.go(5)
    assert not bench.recorder.messages
    assert not bench.source.listeners, "no thread that runs nodes is asked to call anybody"


def test_opening_sends_picture_then_columns() -> None:
    bench = opened(3)
    kinds = [(content["type"], content.get("column")) for _, content, _ in bench.recorder.messages]
    columns = ["records", "names", "edges", "groups"]
    assert kinds == [("picture", None), *(("columns", name) for name in columns)]
    bench.page.assert_shows(bench.source.machine)
    assert bench.page.columns["names"].decode().split("\n") == ["node-0", "node-1", "node-2"]


def test_the_functions_of_nodes_that_share_a_mark_are_told() -> None:
    """``function:`` in the page would not find the members of a band."""
    source = FakeSource(names=["a", "b", "c"], groups=["load\nit", "clean", "load\nit"])
    source.handle(AddNode(()), AddNode(()), AddNode(()))
    bench = Bench(source)
    bench.feed.open()
    bench.go()

    sent = bench.page.columns["groups"]
    length = int.from_bytes(sent[:4], "little")
    names = sent[4 : 4 + length].decode().split("\n")
    assert [names[group] for group in memoryview(sent[4 + length :]).cast("I")] == [
        "load\u2028it",
        "clean",
        "load\u2028it",
    ]


def test_edges_and_names_arrive_whole() -> None:
    source = FakeSource(names=["a\nb", "ü🙂", "x" * 10_000])
    source.handle(AddNode(()), AddNode((0,)), AddNode((0, 1)))
    bench = Bench(source)
    bench.feed.open()
    bench.go()
    assert bench.page.columns["names"].decode().split("\n") == ["a\u2028b", "ü🙂", "x" * 10_000]
    assert list(memoryview(bench.page.columns["edges"]).cast("I")) == [0, 1, 0, 2, 1, 2]


def test_resync_keeps_the_epoch_and_growth_makes_the_next() -> None:
    bench = opened(3, started=False)
    bench.feed.open()
    bench.go(1)
    assert [picture["epoch"] for picture in bench.recorder.of("picture")] == [1, 1]
    bench.source.handle(AddNode((0,)))
    bench.go(1)
    assert [picture["epoch"] for picture in bench.recorder.of("picture")] == [1, 1, 2]
    assert bench.page.total == 4


def test_a_graph_that_grows_is_not_laid_out_all_the_time() -> None:
    bench = opened(3, started=False)
    for _ in range(100):
        bench.source.handle(AddNode(()))
        bench.go(0.01)
    bench.go(1)
    assert bench.page.total == 103
    assert len(bench.recorder.of("picture")) <= 12


def test_a_picture_is_sent_although_the_layout_fails(caplog: pytest.LogCaptureFixture) -> None:
    source = graph(3)

    def fail(structure: object, previous: object) -> Any:
        raise ValueError("too wide")

    recorder = Recorder(lambda: 0.0)
    jobs: list[Callable[[], object]] = []
    feed = Feed(source, Openings(source, fail), recorder, wake=lambda feed: None, build=jobs.append)
    feed.open()
    with caplog.at_level(logging.ERROR):
        feed.tick(0.0)
        jobs.pop()()
        feed.tick(1.0)
    assert recorder.of("picture")[0]["folded"] == "The graph could not be arranged: too wide."


# --- pace ---------------------------------------------------------------------------------------------------


def test_leading_edge_at_once_and_trailing_edge_at_the_mark() -> None:
    bench = opened().go(1)
    start = bench.time
    bench.source.handle(began(0))
    bench.go(0.01)
    bench.source.handle(began(1))
    bench.go(0.01)
    bench.source.handle(began(2))
    bench.go(1)
    assert bench.times("patch") == [start, pytest.approx(start + MERGE_S)]
    bench.page.assert_shows(bench.source.machine)


def test_a_busy_graph_still_paints() -> None:
    """The reference waits for silence, and never paints while a graph is busy."""
    bench = opened(400).go(2)
    start = bench.time
    for node in range(400):
        bench.source.handle(began(node))
        bench.go(0.005)
    times = bench.times("patch")
    gaps = gaps_of(times)
    assert times[0] == start
    assert max(gaps) < 0.25
    assert bench.recorder.most_in_a_second() <= 12


def test_more_than_two_thousand_a_second_are_merged_for_longer() -> None:
    bench = opened(3_000).go(2)
    for node in range(0, 3_000, 30):
        bench.source.handle(*[began(each) for each in range(node, node + 30)])
        bench.go(0.01)
    times = bench.times("patch")[2:]
    gaps = gaps_of(times)
    assert min(gaps) >= 0.149


def test_hidden_views_are_told_once_a_second() -> None:
    bench = opened(100).go(2)
    bench.feed.set_visible("one", False)
    for node in range(100):
        bench.source.handle(began(node))
        bench.go(0.05)
    times = bench.times("patch")
    assert 4 <= len(times) <= 6
    gaps = gaps_of(times)
    assert min(gaps) >= HIDDEN_S - 1e-6
    bench.feed.set_visible("one", True)
    bench.go(0.2)
    bench.page.assert_shows(bench.source.machine)


def test_one_visible_view_is_enough() -> None:
    bench = opened()
    bench.feed.set_visible("one", False)
    bench.feed.set_visible("two", True)
    assert not bench.feed.is_hidden


@pytest.mark.parametrize("what", ["failure", "end", "answer"])
def test_what_is_urgent_does_not_wait_for_the_mark(what: str) -> None:
    bench = opened(2).go(1)
    bench.source.handle(began(0), began(1), Finished(0, 1, AT + 1))
    bench.go(0.01)
    start = bench.time
    if what == "failure":
        bench.source.handle(Failed(1, 1, AT + 1))
    elif what == "end":
        bench.source.handle(Finished(1, 1, AT + 1))
    else:
        bench.source.handle(Finished(1, 1, AT + 1))
        bench.feed.answer({"type": "ack", "id": "a", "ok": True, "message": "", "count": 1})
    bench.go(0.5)
    assert bench.times("patch")[-1] <= start + 0.03
    bench.page.assert_shows(bench.source.machine)
    if what == "answer":
        kinds = [content["type"] for _, content, _ in bench.recorder.messages]
        assert kinds[-2:] == ["patch", "ack"], "the answer follows the changes that it made"


def test_beats_while_active_and_visible_only() -> None:
    bench = opened(1)
    bench.source.handle(began(0))
    bench.go(7)
    beats = bench.times("beat")
    assert len(beats) == 3
    assert beats[1] - beats[0] == pytest.approx(HEARTBEAT_S)
    assert (
        max(
            size
            for size, (_, content, _) in zip(bench.recorder.sizes(), bench.recorder.messages, strict=True)
            if content["type"] == "beat"
        )
        <= 64
    )
    bench.feed.set_visible("one", False)
    bench.go(7)
    assert len(bench.times("beat")) == 3
    bench.feed.set_visible("one", True)
    bench.source.handle(Finished(0, 1, AT + 1))
    bench.go(20)
    assert len(bench.times("beat")) == 3
    assert bench.due is None, "a finished graph has nothing to say"


def test_how_far_running_nodes_are_is_told_once_a_second_and_only_when_it_changes() -> None:
    """A bar that somebody reports would stand still for two seconds, or cost a message for each step."""
    bench = opened(3)
    bench.source.handle(began(0), began(1))
    bench.go(1)
    before = len(bench.times("beat"))
    for step in range(50):
        bench.source.shares = {0: step / 50, 1: 0.5}
        bench.go(0.1)
    beats = [content["progress"] for content in bench.recorder.of("beat")][before:]
    assert 4 <= len(beats) <= 6
    assert all(pairs[0::2] == [0, 1] and pairs[3] == 50 for pairs in beats)
    far = [pairs[1] for pairs in beats]
    assert far == sorted(set(far))

    told = len(bench.times("beat"))
    bench.go(1.5)
    bench.source.shares = {}
    bench.source.handle(Finished(0, 1, AT + 1))
    bench.go(3)
    last = [content["progress"] for content in bench.recorder.of("beat")][told:]
    assert last[-1] == []
    assert len(last) <= 4


def test_a_page_that_comes_later_is_told_how_far_nodes_are_although_that_has_not_changed() -> None:
    """After a reload a bar that stands still would be none."""
    bench = opened(3)
    bench.source.handle(Start(AT), began(0), began(1))
    bench.source.shares = {0: 0.25}
    bench.go(5)
    bench.feed.open()
    before = len(bench.times("beat"))
    bench.go(1.2)
    assert [content["progress"] for content in bench.recorder.of("beat")][before:] == [[0, 25]]


def test_progress_that_cannot_be_read_is_logged_once_and_nothing_else_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The numbers are the user's: a division of theirs that raises must not stop the view."""
    bench = opened(3)

    def raises() -> dict[int, float]:
        raise ZeroDivisionError("a unit of the user's")

    monkeypatch.setattr(bench.source, "progress", raises)
    bench.source.handle(Start(AT), began(0), began(1))
    with caplog.at_level(logging.ERROR):
        bench.go(5)
        bench.source.handle(Finished(0, 1, AT + 1))
        bench.go(1)
    bench.page.assert_shows(bench.source.machine)
    assert len(bench.times("beat")) >= 2
    assert [record.getMessage() for record in caplog.records] == ["the progress of running nodes could not be read"]


def test_a_still_view_stays_still_until_asked() -> None:
    bench = Bench(graph(4), is_still=True)
    bench.feed.open()
    bench.go(1)
    bench.source.handle(Start(AT), began(0))
    bench.go(5)
    assert [content["type"] for _, content, _ in bench.recorder.messages].count("patch") == 0
    assert not bench.recorder.of("beat")
    bench.feed.refresh()
    bench.go()
    bench.page.assert_shows(bench.source.machine)
    bench.source.handle(began(1))
    bench.feed.open()
    bench.go(1)
    bench.page.assert_shows(bench.source.machine)


def test_changes_while_dirty_do_not_wake_again() -> None:
    bench = opened(10).go(1)
    wakes = 0

    def count(feed: Feed) -> None:
        nonlocal wakes
        wakes += 1

    bench.feed._wake = count
    for node in range(10):
        bench.source.handle(began(node))
    assert wakes == 1


# --- budget -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 4)), max_size=200))
def test_the_budget_holds_in_every_second(steps: list[tuple[float, int]]) -> None:
    budget, now, sent = Budget(), 0.0, []
    for pause, keep in steps:
        now = max(now + pause, budget.free_at(now + pause, keep))
        budget.spend(now)
        sent.append(now)
    assert all(sum(start <= at < start + 1 for at in sent) <= 12 for start in sent)


def test_many_answers_stay_within_the_budget_and_all_come() -> None:
    bench = opened(200)
    for number in range(60):
        bench.source.handle(began(number))
        bench.feed.answer({"type": "ack", "id": str(number), "ok": True, "message": "", "count": 1})
        bench.go(0.02)
    bench.go(20)
    assert bench.recorder.most_in_a_second() <= 12
    assert [ack["id"] for ack in bench.recorder.of("ack")] == [str(number) for number in range(60)]
    bench.page.assert_shows(bench.source.machine)


def test_a_patch_too_large_comes_as_records(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (feed_module, opening_module):
        monkeypatch.setattr(module, "CHUNK_BYTES", 20_000)
    monkeypatch.setattr(feed_module, "RAW_BYTES", 10_000)
    count = 6_000
    bench = opened(count)
    chance = random.Random(1)
    bench.go(3)
    bench.source.handle(
        *[Began(node, 1, AT + chance.random() * 1e4, chance.randrange(65_000)) for node in range(count)]
    )
    bench.go(3)
    bench.page.assert_shows(bench.source.machine)
    assert len([1 for content in bench.recorder.of("columns") if content["column"] == "records"]) > 1
    assert max(bench.recorder.sizes()) <= 20_200


def test_a_large_patch_is_deflated() -> None:
    bench = opened(8_000).go(3)
    bench.source.handle(*[began(node) for node in range(8_000)])
    bench.go(1)
    assert bench.recorder.of("patch")[-1]["encoding"] == "deflate"
    bench.page.assert_shows(bench.source.machine)


# --- the page ends where the machine is ---------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("go"), st.floats(0, 0.5)),
        st.tuples(st.just("work"), st.integers(0, 2**16)),
        st.tuples(st.just("add"), st.integers(0, 2**16)),
        st.tuples(st.just("start"), st.none()),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("retry"), st.integers(0, 20)),
        st.tuples(st.just("open"), st.none()),
        st.tuples(st.just("hide"), st.booleans()),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_any_sequence_ends_with_the_page_as_the_machine(steps: list[tuple[str, Any]]) -> None:
    bench = Bench(graph(3))
    machine = bench.source.machine
    for kind, value in steps:
        count = len(machine)
        if kind == "go":
            bench.go(value)
        elif kind == "open":
            bench.feed.open()
        elif kind == "hide":
            bench.feed.set_visible("one", not value)
        elif kind == "start":
            bench.source.handle(Start(AT))
        elif kind == "cancel":
            bench.source.handle(Cancel(None if value == 0 else (value % count,), AT + 5))
        elif kind == "retry":
            bench.source.handle(Retry((value % count,), False, AT + 6))
        elif kind == "add":
            if not machine.is_started and not machine.cancel_asked:
                bench.source.handle(AddNode((value % count,), Status.CANCELLED.value if value % 7 == 0 else 1))
        else:
            _work(bench.source, random.Random(value))
    bench.feed.open()
    bench.go(5)
    bench.page.assert_shows(machine)
    assert bench.page.total == len(machine)
    assert bench.recorder.most_in_a_second() <= 12


def _work(source: FakeSource, chance: random.Random) -> None:
    machine = source.machine
    live = [node for node in range(len(machine)) if machine.live[node]]
    if not live:
        return
    node = chance.choice(live)
    attempt = machine.attempt[node]
    if machine.status[node] == Status.NOT_STARTED.value:
        source.handle(Began(node, attempt, AT + 1, chance.randrange(4)))
    else:
        source.handle((Finished if chance.random() < 0.5 else Failed)(node, attempt, AT + 2))


# --- the thread ---------------------------------------------------------------------------------------------


class Threaded:
    """A feed on the real clock and a publisher of its own."""

    def __init__(self, source: FakeSource) -> None:
        self.source = source
        self.recorder = Recorder(time.monotonic)
        self.page = Page()
        self.publisher = Publisher(idle=0.05)
        self.feed = Feed(
            source, Openings(source, one_mark_each), self._send, wake=self.publisher.wake, build=lambda job: job()
        )

    def _send(self, content: Any, buffers: list[bytes]) -> None:
        self.recorder(content, buffers)
        self.page.take(self.recorder.messages[-1][1], buffers)

    def wait_until_shown(self, seconds: float = 5.0) -> float:
        """Seconds until the page is at the machine's revision."""
        start = time.monotonic()
        while (
            self.page.revision != self.source.machine.revision
            or self.page.run["is_ended"] != self.source.machine.is_ended
        ):
            assert time.monotonic() < start + seconds, "the page was not brought up to date"
            time.sleep(0.002)
        return time.monotonic() - start


def wait_until_thread_ends(name: str) -> None:
    deadline = time.monotonic() + 3
    while any(thread.name == name for thread in threading.enumerate()):
        assert time.monotonic() < deadline, f"{name} is still there"
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_the_end_of_ten_thousand_nodes_is_sent_within_a_quarter_of_a_second(seed: int) -> None:
    """However the end falls into the pace of messages and the budget of bytes."""
    chance = random.Random(seed)
    bench = opened(10_000)
    took, first = chance.uniform(0.3, 1.0), 0
    while first < 10_000:
        chunk = range(first, min(10_000, first + chance.randint(20, 400)))
        bench.source.handle(*[event for each in chunk for event in (began(each), Finished(each, 1, AT + 0.5))])
        bench.go(took * len(chunk) / 10_000)
        first = chunk.stop
    ended = bench.time

    while not bench.page.run["is_ended"] or bench.page.revision != bench.source.machine.revision:
        assert bench.time <= ended + 0.25
        bench.go(0.01)

    bench.page.assert_shows(bench.source.machine)
    assert bench.recorder.most_in_a_second() <= 12
    assert max(bench.recorder.sizes()) <= 256_000


def test_ten_thousand_nodes_within_a_second() -> None:
    source = graph(10_000)
    view = Threaded(source)
    view.feed.open()
    deadline = time.monotonic() + 5
    while len(view.recorder.messages) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = len(view.recorder.messages)
    source.handle(Start(AT))
    start = time.monotonic()
    for node in range(0, 10_000, 100):
        chunk = range(node, node + 100)
        source.handle(*[event for each in chunk for event in (began(each), Finished(each, 1, AT + 0.5))])
        while time.monotonic() < start + node / 12_500:
            time.sleep(0.001)
    late = view.wait_until_shown()
    view.page.assert_shows(source.machine)
    sizes = view.recorder.sizes()
    # 0.25 s are promised: on a clock of its own below, and in a browser, after a run in a real kernel, in
    # tests/browser/test_large_graphs.py. Here the threads share a machine with the other tests, and this finds a feed
    # that forgets the end.
    assert late <= 1.0
    assert view.recorder.most_in_a_second() <= 12
    assert max(sizes) <= 256_000
    assert sum(sizes[before:]) <= 400_000
    wait_until_thread_ends("tiledag-publisher")


def test_four_threads_change_a_thousand_times_each() -> None:
    source = graph(4_000)
    view = Threaded(source)
    source.handle(Start(AT))
    view.feed.open()
    errors: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for node in range(first, first + 1_000):
                source.handle(began(node))
                source.handle(Finished(node, 1, AT + 1))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(0, 4_000, 1_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    view.wait_until_shown()
    assert not errors
    view.page.assert_shows(source.machine)
    wait_until_thread_ends("tiledag-publisher")


def test_a_view_that_fails_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    source = graph(100)
    view = Threaded(source)

    def broken(content: object, buffers: object) -> None:
        raise OSError("the comm is gone")

    view.feed._send = broken
    view.feed.open()
    source.handle(Start(AT))
    with caplog.at_level(logging.ERROR):
        for node in range(100):
            source.handle(began(node))
            time.sleep(0.002)
        source.handle(*[Finished(node, 1, AT) for node in range(100)])
        wait_until_thread_ends("tiledag-publisher")
    assert len([record for record in caplog.records if record.name == "tiledag_widget.view"]) == 1


def test_a_wake_is_never_lost_when_the_thread_is_about_to_end() -> None:
    """Steps: the thread waits in vain, a wake comes, the thread ends. The wake must find a thread or start one."""

    class Counter:
        ticks = 0

        def tick(self, now: float) -> float | None:
            self.ticks += 1
            return None

    publisher = Publisher(idle=0.0005)
    counter = Counter()
    for number in range(300):
        publisher.wake(counter)
        deadline = time.monotonic() + 2
        while counter.ticks <= number:
            assert time.monotonic() < deadline, "a wake was lost"
            time.sleep(0)
        time.sleep(random.random() * 0.001)
    wait_until_thread_ends("tiledag-publisher")


def test_a_closed_feed_is_silent() -> None:
    bench = opened(3)
    bench.feed.close()
    bench.feed.close()
    before = len(bench.recorder.messages)
    bench.source.handle(began(0))
    bench.feed.open()
    bench.go(5)
    assert len(bench.recorder.messages) == before
    assert not bench.source.listeners


def test_a_graph_that_takes_its_time_to_be_arranged_is_watched_meanwhile() -> None:
    """Who opens a graph of a hundred thousand nodes on a slow machine would look at nothing."""
    bench = Bench(graph(30))
    jobs: list[Callable[[], object]] = []  # nobody arranges it for now
    bench.feed._build = jobs.append

    def shown() -> list[tuple[bool, str, int]]:
        return [(each["is_interim"], *each["marks"]["name"], each["total"]) for each in bench.recorder.of("picture")]

    def work() -> None:
        while jobs:
            jobs.pop(0)()

    bench.feed.open()
    bench.go(ARRANGING_S - 0.1)
    assert not bench.recorder.messages
    bench.go(5)
    assert shown() == [(True, "nodes", 30)]
    bench.source.handle(AddNode(()))
    bench.go(5)
    assert shown()[1:] == [(True, "nodes", 31)], "it grew"
    work()
    bench.go(5)
    work()
    bench.go(1)
    assert shown()[2:] == [(False, "work", 31)]

    bench.source.handle(AddNode(()))
    bench.go(30)
    assert len(shown()) == 3, "a page that shows a picture keeps that until there is another"
    bench.feed.open()
    bench.go(5)
    assert shown()[3:] == [(True, "nodes", 32)], "one that was loaded again has none"
    bench.source.handle(Start(AT), began(0), Finished(0, 1, AT + 1))
    bench.go(1)
    bench.page.assert_shows(bench.source.machine)
    work()
    bench.go(1)
    assert shown()[4:] == [(False, "work", 32)]
    bench.page.assert_shows(bench.source.machine)


def test_who_does_not_want_to_wait_for_the_arrangement_is_not_kept_waiting() -> None:
    """Stop, and later another look: the page never stands still."""
    bench = Bench(graph(30))
    jobs: list[Callable[[], object]] = []
    bench.feed._build = jobs.append
    bench.feed.open()
    bench.go(2)

    bench.feed.give_up()
    bench.go(1)
    bench.source.handle(AddNode(()))
    bench.go(3)
    while jobs:
        jobs.pop(0)()
    bench.go(2)
    told = [(content["is_interim"], content["folded"], content["total"]) for content in bench.recorder.of("picture")]
    stopped = "Not arranged: it was stopped."
    assert told == [(True, "", 30), (False, stopped, 30), (False, stopped, 31)]
    bench.source.handle(Start(AT), began(0))
    bench.go(1)
    bench.page.assert_shows(bench.source.machine)

    bench.feed.tidy()
    bench.go(3)
    bench.source.handle(Finished(0, 1, AT + 1))
    bench.go(1)
    bench.page.assert_shows(bench.source.machine)
    while jobs:
        jobs.pop(0)()
    bench.go(1)
    assert [content["marks"]["name"] for content in bench.recorder.of("picture")][3:] == [["work"]]


def test_a_graph_that_grew_while_it_was_arranged_stands_in_and_its_run_is_watched() -> None:
    """What was arranged is an older one, and the next turn is not due yet: statuses must not wait for that."""
    bench = Bench(graph(30))
    jobs: list[Callable[[], object]] = []
    bench.feed._build = jobs.append
    bench.feed.open()
    bench.go(2)
    bench.source.handle(AddNode(()))
    bench.go(0.1)
    building = jobs.pop(0)
    bench.time += 8  # it took long, so the next one is far away
    building()
    while jobs:
        jobs.pop(0)()
    bench.go(1.5)
    bench.source.handle(Start(AT), began(0), Finished(0, 1, AT + 1))
    bench.go(1)
    bench.page.assert_shows(bench.source.machine)


def test_a_stand_in_that_came_too_late_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are added while the page opens: it must not look at nothing until that ends."""
    bench = Bench(graph(30))
    jobs: list[Callable[[], object]] = []
    bench.feed._build = jobs.append
    stand_in = bench.feed._openings.stand_in

    def late() -> object:
        made = stand_in()
        if bench.time < 102:
            bench.source.handle(AddNode(()))
        return made

    monkeypatch.setattr(bench.feed._openings, "stand_in", late)
    bench.feed.open()
    bench.go(1.5)
    assert not bench.recorder.of("picture")
    bench.go(1.5)
    assert [content["total"] for content in bench.recorder.of("picture")] == [31]


def test_stop_after_tidy_ends_the_wait_and_keeps_no_thread_busy() -> None:
    """Both at once, while the first arrangement goes on."""
    bench = Bench(graph(30))
    jobs: list[Callable[[], object]] = []
    bench.feed._build = jobs.append
    bench.feed.open()
    bench.go(1.5)
    bench.feed.tidy()
    bench.go(0.1)
    bench.feed.give_up()
    bench.go(1)
    while jobs:
        jobs.pop(0)()
    bench.go(5)
    assert not jobs
    assert [content["folded"] for content in bench.recorder.of("picture")] == ["", "Not arranged: it was stopped."]
