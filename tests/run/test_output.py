# ruff: noqa: T201
"""What nodes print: all of it, in order, under the right node and attempt, wherever they run."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

import tiledag_widget
from tiledag_widget import DAG, Mode, progress
from tiledag_widget.core.lines import BLOCK, STDERR, STDOUT, Line, Lines
from tiledag_widget.run.output import MARK, Output

LASTING = pytest.mark.leaks("the pool serves all tests of this module; its fixture ends it")
EXPECTED = [f"line {number}" for number in range(100)]


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    made: dict[str, Any] = {"inline": "inline", "threads": "threads", "processes": "processes"}
    yield made
    for pool in made.values():
        if isinstance(pool, Executor):
            pool.shutdown()
    tiledag_widget.shutdown()


@pytest.fixture
def executor(request: pytest.FixtureRequest, pools: dict[str, Any]) -> Any:
    name = request.param
    if name not in pools:
        context = multiprocessing.get_context("spawn")
        pools[name] = ThreadPoolExecutor(2) if name == "thread pool" else ProcessPoolExecutor(2, mp_context=context)
    return pools[name]


def talk(how: str, shares_streams: bool) -> None:
    """A hundred lines by every way, then the end that is asked for."""
    for number in range(100):
        way = number % (5 if shares_streams else 3)
        if way == 0:
            print("line", number)
        elif way == 1:
            print("line", number, file=sys.stderr)
        elif way == 2:
            logging.getLogger("shop").warning("line %d", number)
        elif way == 3:
            os.write(1, b"line %d\n" % number)
        else:
            import ctypes

            ctypes.CDLL(None).puts(b"line %d" % number)
    if how == "raise":
        raise ValueError("after a hundred lines")
    if how == "exit":
        sys.exit(3)
    if how == "vanish":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), 9)


def ended(dag: DAG) -> None:
    dag.compute()
    with contextlib.suppress(BaseException):
        dag.wait(60)
    assert dag.done()


EVERYWHERE = [
    "inline",
    "threads",
    pytest.param("thread pool", marks=LASTING),
    pytest.param("processes", marks=LASTING),
    pytest.param("process pool", marks=[LASTING, pytest.mark.slow]),
]


@pytest.mark.parametrize("executor", EVERYWHERE, indirect=True)
@pytest.mark.parametrize("how", ["return", "raise", "exit"])
def test_a_hundred_lines_of_each_node_are_there_in_order(executor: Any, how: str) -> None:
    """The line that says what went wrong would be the one that is missing, or stand under another node."""
    dag = DAG(executor=executor)
    nodes = [dag.submit_local(talk, how, executor == "processes") for _ in range(6)]

    ended(dag)

    for node in nodes:
        assert node.output().splitlines() == EXPECTED


@pytest.mark.leaks("workers end ten seconds after their last use")
@pytest.mark.parametrize("how", ["vanish", "kill"])
def test_a_killed_worker_leaves_every_line_it_has_ended(how: str) -> None:
    """After a crash the output is all there is to go by."""
    dag = DAG(use_processes=True)
    nodes = [dag.submit_local(talk, how, True) for _ in range(3)]

    ended(dag)

    for node in nodes:
        assert node.output().splitlines() == EXPECTED


def test_each_attempt_has_its_own_output() -> None:
    """The words of the attempt that failed would be taken for those of the one that did not."""
    tries: list[int] = []

    def flaky() -> None:
        tries.append(1)
        print("attempt", len(tries), end="")
        if len(tries) == 1:
            raise ValueError("once")

    dag = DAG(executor="inline")
    node = dag.submit_local(flaky)
    ended(dag)
    node.retry()
    dag.wait(10)

    assert node.output(1) == "attempt 1\n"
    assert node.output(2) == node.output() == "attempt 2\n"


def test_what_nodes_print_goes_where_it_went_before_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A notebook's cell would fall silent."""
    dag = DAG(mode=Mode.LOCAL)
    node = dag.submit_local(lambda: print("from the node"))
    ended(dag)
    print("from the notebook")

    assert capsys.readouterr().out == "from the node\nfrom the notebook\n"
    assert node.output() == "from the node\n"


def test_what_a_function_keeps_for_itself_is_in_no_log() -> None:
    """A function that reads what it prints would fill the log with it."""
    kept = io.StringIO()

    def quiet() -> None:
        with contextlib.redirect_stdout(kept):
            print("for me only")
        print("for all")

    dag = DAG(executor="inline")
    node = dag.submit_local(quiet)
    ended(dag)

    assert (kept.getvalue(), node.output()) == ("for me only\n", "for all\n")


def test_a_write_that_comes_and_goes_does_not_end_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """IPython puts a ``write`` of its own before the stream's for the time of a cell, and then back what it found."""
    gate, begun = threading.Event(), threading.Event()
    seen: list[str] = []

    def work() -> None:
        print("in the first cell")
        begun.set()
        gate.wait(10)
        print("in the second")

    def tee(text: str) -> Any:
        seen.append(text)
        return before(text)

    before = sys.stdout.write
    sys.stdout.write = tee  # type: ignore[method-assign]
    dag = DAG()
    node = dag.submit_local(work)
    dag.compute()
    assert begun.wait(10)
    sys.stdout.write = before  # type: ignore[method-assign]
    gate.set()
    dag.wait(10)

    assert node.output() == "in the first cell\nin the second\n"
    assert "".join(seen) == "in the first cell\n"


def test_whoever_puts_a_write_before_ours_and_calls_what_he_found_comes_to_an_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """IPython does so in every cell: what he found must not be what he put there."""
    dag = DAG(executor="inline")
    dag.submit_local(print, "first")
    ended(dag)
    seen: list[str] = []

    def led_to(before: Any, name: str) -> Any:
        def write(text: str) -> Any:
            seen.append(name)
            return before(text)

        return write

    stream, found = sys.stdout, sys.stdout.write
    stream.write = led_to(found, "outer")  # type: ignore[method-assign]
    again = stream.write
    stream.write = led_to(again, "inner")  # type: ignore[method-assign]
    print("in a cell")
    dag = DAG(executor="inline")
    node = dag.submit_local(print, "in a node")
    ended(dag)
    stream.write = again  # type: ignore[method-assign]
    print("one less")
    stream.write = found  # type: ignore[method-assign]
    print("none")

    assert capsys.readouterr().out == "first\nin a cell\nin a node\none less\nnone\n"
    assert node.output() == "in a node\n"
    assert seen == ["inner", "outer"] * 4 + ["outer"] * 2


def test_a_function_may_put_a_stream_of_its_own_in_place(capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints after it has put the old one back would be lost."""

    def work() -> None:
        before, sys.stdout = sys.stdout, io.StringIO()
        print("mine")
        sys.stdout = before
        print("back")

    dag = DAG(executor="inline")
    node = dag.submit_local(work)
    ended(dag)

    assert (node.output(), capsys.readouterr().out) == ("back\n", "back\n")


def test_what_callbacks_and_dropped_values_print_is_no_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    """It would stand under whichever node that thread ran last, or runs next."""

    class Loud:
        def __del__(self) -> None:
            print("let go")

    def loud_argument(value: Loud) -> None:
        print("work")

    dag = DAG(max_workers=1)
    first = dag.submit_local(loud_argument, Loud())
    second = dag.submit_local(print, "second")
    second.depends_on(first)
    second.add_done_callback(lambda node: print("callback"))
    ended(dag)
    outputs = first.output(), second.output()
    del dag, first, second
    gc.collect()

    assert outputs == ("work\n", "second\n")
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "callback", "let go", "second", "work"]


def test_a_print_in_the_middle_of_a_print_stops_nothing() -> None:
    """A signal handler or a finalizer prints while the thread is at a line already; a lock would hold it for ever."""
    output = Output()
    sink = output.sink(0, 1)

    class Nosy(str):
        def rfind(self, *args: Any) -> int:  # called in the middle of a write
            sink.write(STDERR, "meanwhile\n")
            return super().rfind(*args)

    sink.write(STDOUT, Nosy("a line\n"))
    sink.close()

    assert output.text(0, 1) == "meanwhile\na line\n"


def test_records_are_in_the_log_once_with_level_and_traceback() -> None:
    """A handler that writes to stderr would double each of them."""
    handler = logging.StreamHandler(sys.stderr)
    log = logging.getLogger("shop.orders")
    log.addHandler(handler)

    def work() -> None:
        try:
            raise KeyError("order 7")
        except KeyError:
            log.exception("not found")

    dag = DAG(executor="inline")
    node = dag.submit_local(work)
    try:
        handler.setStream(sys.stderr)
        ended(dag)
    finally:
        log.removeHandler(handler)

    lines = [line for block in dag._driver.output.blocks(0, 100) for line in block.lines(0, 100)]
    assert lines[0].text == "not found"
    assert lines[-1].text == "KeyError: 'order 7'"
    assert {line.level for line in lines} == {logging.ERROR}
    assert node.output().count("not found") == 1


def test_concurrent_nodes_never_mix() -> None:
    """Two nodes that print at once would write into each other's lines."""
    meet = threading.Barrier(2)

    def work(letter: str) -> None:
        meet.wait(10)
        for _ in range(200):
            print(letter, letter, letter, sep="-")

    dag = DAG(max_workers=2)
    nodes = [dag.submit_local(work, letter) for letter in "ab"]
    ended(dag)

    assert [node.output() for node in nodes] == ["a-a-a\n" * 200, "b-b-b\n" * 200]


def test_a_progress_bar_is_one_line() -> None:
    """A thousand redrawn bars would push everything else out."""
    output = Output()
    sink = output.sink(0, 1)
    for percent in range(101):
        sink.write(STDERR, f"\r{percent} %")
    sink.write(STDERR, "\n")
    sink.close()

    assert output.text(0, 1) == "100 %\n"


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_marks_are_read_however_the_pipe_cuts_them(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mark in two halves would stand in the text, and what follows under the wrong stream."""
    monkeypatch.setattr("tiledag_widget.run.output.echo", lambda data, is_stdout: None)
    data = b"one\n" + MARK + b"2\x00two\n" + MARK + b"1\x00th\x00ree\n" + MARK + b"40\x00four\n" + MARK + b"1\x00five"
    output = Output()
    sink = output.sink(7, 2)
    for start in range(0, len(data), step):
        sink.feed(data[start : start + step])
    sink.close()

    lines = [line for block in output.blocks(0, 10) for line in block.lines(0, 10)]
    assert [(line.level, line.text) for line in lines] == [
        (STDOUT, "one"),
        (STDERR, "two"),
        (STDOUT, "th\x00ree"),
        (40, "four"),
        (STDOUT, "five"),
    ]
    assert {(line.node, line.attempt) for line in lines} == {(7, 2)}


def test_a_full_log_gives_up_its_oldest_lines_and_keeps_their_numbers() -> None:
    """Memory would grow until the kernel dies; or a page would show one line for another."""
    lines = Lines(most_lines=3 * BLOCK)
    for number in range(5 * BLOCK):
        lines.append(Line(0.0, 0, 1, STDOUT, f"line {number}"))

    assert (lines.first, lines.end) == (2 * BLOCK, 5 * BLOCK)
    block = lines.blocks(3 * BLOCK + 5, 3 * BLOCK + 6)[0]
    assert block.lines(3 * BLOCK + 5, 3 * BLOCK + 6)[0].text == f"line {3 * BLOCK + 5}"


def test_a_million_lines_are_kept_in_little_room() -> None:
    """The log of a long run would take more memory than the run."""
    import tracemalloc

    lines = Lines()
    tracemalloc.start()
    for number in range(100_000):
        lines.append(Line(0.0, number % 50, 1, STDOUT, f"line {number} of many, as long as lines usually are"))
    room = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert lines.end - lines.first == 100_000
    assert 10 * room < 120e6


def test_progress_and_print_go_together() -> None:
    """Both ask which node the thread is at."""

    def work() -> None:
        progress(1, 2)
        print("half")

    dag = DAG(executor="inline")
    node = dag.submit_local(work)
    ended(dag)

    assert (node.progress, node.output()) == ((1, 2), "half\n")


@pytest.mark.parametrize(("attempt", "error"), [("1", TypeError), (1.0, TypeError), (True, TypeError), (0, ValueError)])
def test_an_attempt_that_cannot_be_is_refused(attempt: Any, error: type[Exception]) -> None:
    """An empty text would look like a node that printed nothing."""
    with DAG() as dag:
        node = dag.submit_local(print, "x")

    assert node.output(1) == "x\n"
    assert node.output(2) == ""
    with pytest.raises(error, match="attempt .* from 1"):
        node.output(attempt)
