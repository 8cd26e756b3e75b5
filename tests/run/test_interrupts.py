"""Interrupts (C1): KeyboardInterrupt comes out within 0.2 s, the graph stays as it was and ends, a new one works."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget import DAG, NodeExited, Status

from ..helpers import Gate, hostile_scheduling, replayable, seeds
from ..helpers import no_idle_threads as no_idle_threads

PROMPT_S = 0.2
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as on Linux and macOS")


def double(value: int) -> int:
    return 2 * value


class Key:
    """The handler of SIGINT: raises while it is armed, so that no late signal ends the test run itself."""

    def __init__(self) -> None:
        self.armed = threading.Event()

    def __call__(self, number: int, frame: Any) -> None:
        if self.armed.is_set():
            raise KeyboardInterrupt


key = Key()


class Interrupt:
    """A real SIGINT to this process some time after the key was armed, and the time at which it was sent."""

    def __init__(self, after: float, times: int = 1) -> None:
        self.sent = 0.0
        self._after, self._times = after, times
        self._called_off = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def _send(self) -> None:
        key.armed.wait(10)
        for number in range(self._times):
            if self._called_off.wait(0.05 if number else self._after):
                return
            self.sent = self.sent or time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)

    def __enter__(self) -> Interrupt:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        key.armed.clear()
        self._called_off.set()
        self._thread.join()


@contextlib.contextmanager
def interrupts_to_the_key() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, key)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def interrupts_go_to_the_key() -> Iterator[None]:
    """Whatever the shell or an earlier test has left there."""
    with interrupts_to_the_key():
        yield


def interrupted(action: Callable[[], object], after: float) -> float:
    """Seconds from the signal to the KeyboardInterrupt.

    Python drops a KeyboardInterrupt that comes while it calls back for a weak reference or in a ``__del__``: no garbage
    is collected meanwhile, and where that does not help the signal is sent again.
    """
    caught = 0.0
    gc.collect()
    with Interrupt(after) as interrupt, no_garbage_collection(), sent_again_if_dropped(interrupt):
        try:
            key.armed.set()
            action()
            time.sleep(5)  # the action was quicker than the signal
        except KeyboardInterrupt:
            key.armed.clear()
            caught = time.perf_counter()
    assert caught, "no KeyboardInterrupt came"
    return caught - interrupt.sent


@contextlib.contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def sent_again_if_dropped(interrupt: Interrupt) -> Iterator[None]:
    def dropped(what: Any) -> None:
        if what.exc_type is KeyboardInterrupt:
            interrupt.sent = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)
        else:
            before(what)

    before, sys.unraisablehook = sys.unraisablehook, dropped
    try:
        yield
    finally:
        sys.unraisablehook = before


def until_there(path: Path) -> None:
    """Runs until the file is there, at most 20 s."""
    end = time.monotonic() + 20
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def assert_sound(dag: DAG) -> None:
    """The graph can still be used to its end, and another one too."""
    dag.compute()
    dag.wait(10)
    dag._driver.machine.validate()
    with DAG() as other:
        node = other.submit_local(double, 4)
    assert node.result() == 8


@pytest.mark.parametrize("what", ["wait", "result", "exception"])
@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_waiting_can_be_interrupted_and_the_graph_goes_on(
    what: str, executor: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A notebook's stop button would do nothing, or take the run with it."""
    dag = DAG(executor=executor)
    node = dag.submit_local(until_there, tmp_path / "go on")
    child = dag.submit_local(double, 4)
    dag.compute()

    took = interrupted(getattr(dag if what == "wait" else node, what), 0.05)

    assert took <= PROMPT_S
    assert dag.status is Status.RUNNING
    (tmp_path / "go on").touch()
    assert_sound(dag)
    assert (node.status, child.result()) == (Status.COMPLETED, 8)
    if what == "wait":
        assert "graph still running; `dag.cancel()` stops it" in capsys.readouterr().out


@contextlib.contextmanager
def many_signals(_: Path) -> Iterator[Callable[[int], None]]:
    """C2, twenty signals in a second a seed."""
    with interrupts_to_the_key():
        yield lambda seed: press_again_and_again(times=20)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_c2_twenty_signals_in_a_second(part: int) -> None:
    """The fiftieth part of a night."""
    press_again_and_again(times=20)


def test_twenty_signals_in_a_second_do_no_harm() -> None:
    """Somebody who presses the key again and again would break what one press leaves whole (C2)."""
    press_again_and_again(times=6)


def press_again_and_again(times: int) -> None:
    gate = Gate()
    dag = DAG()
    nodes = [dag.submit_local(double, number) for number in range(50)]
    held = dag.submit_local(gate.pass_through)
    dag.compute()
    count = 0

    with Interrupt(0.0, times=times):
        end = time.perf_counter() + 0.05 * times + 0.2
        while time.perf_counter() < end:
            try:
                key.armed.set()
                dag.wait(0.5)
            except KeyboardInterrupt:
                key.armed.clear()
                count += 1
            except TimeoutError:
                key.armed.clear()
    gate.open()

    assert count >= times // 3
    assert_sound(dag)
    assert held.result() == "passed"
    assert [node.result() for node in nodes] == [2 * number for number in range(50)]


def busy_graph(size: int = 3000) -> DAG:
    dag = DAG(max_workers=4)
    previous = dag.submit_local(int, 0)
    for number in range(size):
        previous = dag.submit_local(double, previous) if number % 3 else dag.submit_local(double, 1)
    return dag


MOMENTS = ["wait", "result", "compute", "building", "status", "retry and cancel", "visualize"]


@pytest.mark.parametrize("what", MOMENTS)
def test_c1_an_interrupt_at_any_moment_leaves_the_graph_whole(what: str) -> None:
    """Half a step inside the engine: a graph that never ends, a lock that nobody gives back."""
    assert_prompt([one_interrupt(what, seed) for seed in seeds(4)])


@contextlib.contextmanager
def moments(_: Path) -> Iterator[Callable[[int], None]]:
    """C1, an interrupt a seed, at all moments in turn; the 99th of a hundred is prompt."""
    took: list[float] = []
    with interrupts_to_the_key():
        yield lambda seed: took.append(one_interrupt(MOMENTS[seed % len(MOMENTS)], seed))
    if took:
        late = [seconds for seconds in took if seconds > PROMPT_S]
        assert len(late) <= max(1, len(took) // 100), late


@pytest.mark.slow
@pytest.mark.parametrize("what", MOMENTS)
def test_c1_long(what: str) -> None:
    """The same, oftener, and with threads that change at every turn."""
    assert_prompt([one_interrupt(what, seed) for seed in seeds(25)])
    with hostile_scheduling():
        for seed in seeds(10):
            one_interrupt(what, seed)


def assert_prompt(took: list[float]) -> None:
    """One in ten may be late, for a busy machine gives a process no time at times."""
    late = [seconds for seconds in took if seconds > PROMPT_S]
    assert len(late) <= max(1, len(took) // 10), took
    assert max(took) < 5 * PROMPT_S, took


def one_interrupt(what: str, seed: int) -> float:
    """Seconds from the signal to the KeyboardInterrupt."""
    source = random.Random(seed)
    dag = DAG(max_workers=4) if what == "building" else busy_graph()
    nodes = list(dag.nodes.values())

    def build_for_ever() -> None:
        previous = dag.submit_local(double, 1)
        while True:
            previous = dag.submit_local(double, previous)
            previous.depends_on(dag.submit_local(double, 1))
            if len(nodes) < 5:
                nodes.append(previous)

    def compute_for_ever() -> None:
        dag.compute()
        while True:
            dag.compute()

    def ask_for_ever() -> None:
        dag.compute()
        while True:
            dag.status, dag.stats(), dag.done()

    def meddle_for_ever() -> None:
        dag.compute()
        while True:
            dag.cancel()
            dag.retry_all()

    def wait_for_ever() -> None:
        dag.compute()
        while True:
            (nodes[-1] if what == "result" else dag).wait()

    def draw_for_ever() -> None:
        dag.compute()
        while True:
            dag.visualize(notebook=False)

    actions: dict[str, Callable[[], None]] = {
        "building": build_for_ever,
        "compute": compute_for_ever,
        "status": ask_for_ever,
        "retry and cancel": meddle_for_ever,
        "visualize": draw_for_ever,
    }
    if what == "visualize":
        dag.visualize(notebook=False)  # an import cut off leaves its file to the garbage collector, which says so
    with replayable(seed):
        took = interrupted(actions.get(what, wait_for_ever), source.uniform(0.0, 0.04))
        if what == "retry and cancel":
            dag.retry_all()
        assert_sound(dag)
        assert {node.status for node in dag.nodes.values()} == {Status.COMPLETED}
        assert list(dag.nodes) == [node.id for node in dag._nodes]
        assert [node._index for node in dag.nodes.values()] == list(range(len(dag.nodes)))
    return took


def test_an_interrupt_inside_an_inline_node_fails_the_node_and_comes_out_of_compute() -> None:
    """In a notebook with ``executor="inline"`` the stop button would do nothing."""
    dag = DAG(executor="inline")
    first = dag.submit_local(double, 1)
    slow = dag.submit_local(time.sleep, 20)
    later = dag.submit_local(double, 3)

    took = interrupted(dag.compute, 0.05)
    between = first.status, slow.status, later.status

    assert took <= PROMPT_S
    assert between == (Status.COMPLETED, Status.FAILED, Status.NOT_STARTED)
    assert isinstance(slow.error, NodeExited)
    with pytest.raises(NodeExited, match="KeyboardInterrupt"):
        dag.wait(10)  # goes on with what is left, then tells of the failure
    assert later.result() == 6


def test_result_goes_on_with_an_inline_graph_that_was_interrupted() -> None:
    """It would wait for ever: no thread is there to run the rest."""
    dag = DAG(executor="inline")
    dag.submit_local(time.sleep, 20)
    later = dag.submit_local(double, 3)
    interrupted(dag.compute, 0.05)

    assert later.result(10) == 6


def test_a_function_that_raises_keyboard_interrupt_by_itself_only_fails_its_node() -> None:
    """No key was pressed: the cell must not end as if one had been."""

    def raise_it() -> None:
        raise KeyboardInterrupt("by itself")

    for executor in ("inline", "threads"):
        dag = DAG(executor=executor)
        node = dag.submit_local(raise_it)
        after = dag.submit_local(double, 2)

        dag.compute()
        after.wait(10)

        error = node.exception(10)
        assert isinstance(error, NodeExited)
        assert isinstance(error.raised, KeyboardInterrupt)
        assert after.result() == 4


def test_a_handler_of_the_users_is_put_back_and_called() -> None:
    """A program with its own handler for SIGINT would lose it."""
    calls: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: calls.append(number))
    try:
        mine = signal.getsignal(signal.SIGINT)
        for executor in ("inline", "threads"):
            dag = DAG(executor=executor)
            dag.submit_local(os.kill, os.getpid(), signal.SIGINT)
            dag.compute()
            with contextlib.suppress(NodeExited):
                dag.wait(10)
            assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)

    assert calls == [signal.SIGINT] * 2


def test_a_signal_handler_may_cancel_the_graph_it_waits_for() -> None:
    """A job that is told to end would hang on its own lock."""
    gate = Gate()
    dag = DAG(max_workers=1)
    dag.submit_local(gate.pass_through)
    never = dag.submit_local(double, 1)

    def on_alarm(number: int, frame: Any) -> None:
        dag.cancel()
        gate.open()

    before = signal.signal(signal.SIGUSR1, on_alarm)
    try:
        dag.compute()
        gate.wait_until_inside()
        killer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
        killer.start()
        dag.wait(10)
        killer.join()
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert (dag.status, never.status) == (Status.CANCELLED, Status.CANCELLED)


def test_an_interrupt_of_the_whole_process_group_does_not_reach_worker_processes() -> None:
    """Jupyter's stop button and Ctrl+C in a terminal signal the whole group: nodes in processes would fail."""
    dag = DAG(use_processes=True, max_workers=1)
    dag.submit_local(double, 1).add_done_callback(lambda _: None)
    node = dag.submit_local(time.sleep, 0.5)
    dag.compute()
    while not node.running():
        time.sleep(0.002)

    # Not to our own group, in which the test runner is: to the workers', one by one, as a terminal would not.
    import psutil

    workers = [child for child in psutil.Process().children() if "worker_main" in " ".join(child.cmdline())]
    groups = {os.getpgid(worker.pid) for worker in workers}

    assert os.getpgid(0) not in groups
    dag.wait(10)
