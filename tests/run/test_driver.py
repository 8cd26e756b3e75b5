"""The driver: races that were thought of, one test each; user code that strikes back; ends of processes."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from typing import Any

import pytest

import tiledag_widget
from tiledag_widget import DAG, Status, running
from tiledag_widget.errors import ForkedError
from tiledag_widget.run.threads import threads
from tiledag_widget.testing import ManualExecutor

from ..helpers import Gate, hostile_scheduling, wait_until
from ..helpers import no_idle_threads as no_idle_threads


def double(value: int) -> int:
    return 2 * value


def boom(*_: object) -> None:
    raise ValueError("boom")


# --- races ----------------------------------------------------------------------------------------------------


def test_a_node_cancelled_while_it_stands_in_the_queue_never_begins() -> None:
    """1. it is ready and queued; 2. it is cancelled; 3. a lane takes it from the queue: too late."""
    gate = Gate()
    ran: list[int] = []
    dag = DAG(max_workers=1)
    dag.submit_local(gate.pass_through)
    queued = [dag.submit_local(ran.append, number) for number in range(10)]
    dag.compute()
    gate.wait_until_inside()

    answers = [node.cancel() for node in queued[::2]]
    gate.open()
    dag.wait()

    assert answers == [True] * 5
    assert sorted(ran) == [1, 3, 5, 7, 9]


def test_of_a_cancel_and_a_begin_at_the_same_time_exactly_one_wins() -> None:
    """A node would be called Cancelled and run all the same."""
    with hostile_scheduling():
        for _ in range(150):
            ran: list[int] = []
            dag = DAG(max_workers=2)
            nodes = [dag.submit_local(ran.append, number) for number in range(4)]
            dag.compute()

            cancelled = {number for number, node in enumerate(nodes) if node.cancel()}
            dag.wait()

            assert cancelled.isdisjoint(ran)
            assert sorted(cancelled | set(ran)) == [0, 1, 2, 3]


def test_a_node_cancelled_and_retried_while_queued_runs_once() -> None:
    """1. queued as attempt 1; 2. cancelled; 3. retried, queued as attempt 2; 4. both are taken from the queue."""
    gate = Gate()
    ran: list[int] = []
    dag = DAG(max_workers=1)
    dag.submit_local(gate.pass_through)
    node = dag.submit_local(ran.append, 1)
    dag.compute()
    gate.wait_until_inside()

    for _ in range(3):
        assert node.cancel()
        assert node.retry()
    gate.open()
    dag.wait()

    assert ran == [1]
    assert node.status is Status.COMPLETED


def test_nodes_added_by_several_threads_each_find_their_place() -> None:
    """A node would get another one's number, and its result go to a stranger."""
    dag = DAG()
    start = threading.Barrier(4)
    made: list[list[Any]] = [[] for _ in range(4)]

    def build(number: int) -> None:
        start.wait()
        previous = dag.submit_local(int, number * 1000)
        for _ in range(60):
            previous = dag.submit_local(lambda value: value + 1, previous)
            made[number].append(previous)

    with hostile_scheduling():
        builders = [threading.Thread(target=build, args=(number,)) for number in range(4)]
        for builder in builders:
            builder.start()
        for builder in builders:
            builder.join()
    with dag:
        pass

    for number in range(4):
        assert [node.result() for node in made[number]] == [number * 1000 + step for step in range(1, 61)]
    assert [node._index for node in dag.nodes.values()] == list(range(244))


def test_a_graph_can_be_looked_at_while_it_is_built() -> None:
    """A view that is open while a cell builds would raise IndexError."""
    dag = DAG()
    stop = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        while not stop.is_set():
            try:
                dag.stats(), dag.not_started_nodes, dag.end_nodes(), dag.get_tiledb_plot_node_details(), repr(dag)
                dag._driver.columns(), dag._driver.run()
            except BaseException as error:
                errors.append(error)
                return

    with hostile_scheduling():
        looker = threading.Thread(target=look)
        looker.start()
        previous = dag.submit_local(int, 0)
        for _ in range(300):
            previous = dag.submit_local(double, previous)
        stop.set()
        looker.join()

    assert errors == []


def test_running_can_be_asked_while_graphs_start_and_end() -> None:
    """`running()` would raise 'Set changed size during iteration', and the exit of the interpreter too."""
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            dag = DAG(max_workers=1)
            dag.submit_local(int)
            dag.compute()
            dag.wait()

    with hostile_scheduling():
        makers = [threading.Thread(target=make) for _ in range(3)]
        for maker in makers:
            maker.start()
        try:
            for _ in range(2000):
                running()
        finally:
            stop.set()
            for maker in makers:
                maker.join()

    assert running() == []


def test_wait_wakes_for_an_end_that_comes_while_it_goes_to_sleep() -> None:
    """1. `wait` looks: not over; 2. the graph ends; 3. `wait` sleeps: nobody wakes it any more."""
    with hostile_scheduling():
        for _ in range(150):
            dag = DAG(max_workers=2)
            node = dag.submit_local(int, 1)
            waiting = [threading.Thread(target=ask, args=(10,)) for ask in (dag.wait, node.wait, node.result)]
            for thread in waiting:
                thread.start()
            dag.compute()
            for thread in waiting:
                thread.join(10)
                assert not thread.is_alive()


# --- user code that strikes back ------------------------------------------------------------------------------


def test_who_asks_in_the_middle_of_the_last_step_waits_for_its_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """1. The last event has ended the graph; 2. somebody sees that it is done; 3. the step posts its callbacks. Else
    who looks at the record of a graph that is done finds it running there."""
    called: list[str] = []
    seen: list[list[str]] = []
    asking: list[threading.Thread] = []
    dag = DAG()
    dag.submit_local(double, 1)
    dag.add_done_callback(lambda _: called.append("done"))
    handle = type(dag._driver.machine).handle

    def ask() -> None:
        dag._driver.wait_until_reported(20)
        seen.append(list(called))

    def handle_slowly(machine: Any, event: Any) -> Any:
        commands = handle(machine, event)
        if machine.is_ended and not asking:
            asking.append(threading.Thread(target=ask))
            asking[0].start()
            asking[0].join(0.1)
        return commands

    monkeypatch.setattr(type(dag._driver.machine), "handle", handle_slowly)
    dag.compute()
    dag.wait()
    asking[0].join()

    assert seen == [["done"]]


def test_a_result_whose_destructor_asks_the_graph_is_dropped_without_the_lock() -> None:
    """A retry drops the old value; its `__del__` would wait for the lock that drops it."""
    asked: list[Status] = []
    dag = DAG()

    class Curious:
        def __del__(self) -> None:
            asked.append(dag.status)

    node = dag.submit_local(Curious)
    with dag:
        pass

    assert node.retry(descendants=True)
    dag.wait(10)

    assert asked == [Status.RUNNING]


class Sad:
    """Raises when it goes."""

    def __del__(self) -> None:
        raise RuntimeError("in __del__")


def test_a_destructor_that_raises_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane would die, and the graph hang."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with DAG() as dag:
        node = dag.submit_local(Sad)
        child = dag.submit_local(lambda sad: [sad, Sad()], node)
    node.retry(descendants=True)
    dag.wait(10)
    end = child.status
    wait_until(lambda: threads.statistics()["busy"] == 0)
    del dag, node, child
    gc.collect()

    assert end is Status.COMPLETED


def test_values_live_no_longer_than_their_graph() -> None:
    """A large result would stay in a thread that waits for work."""

    class Large:
        pass

    seen: list[weakref.ref[Any]] = []

    def make(*_: object) -> Large:
        large = Large()
        seen.append(weakref.ref(large))
        return large

    dag = DAG(max_workers=2)
    node = dag.submit_local(make)
    for _ in range(5):
        node = dag.submit_local(make, node)
    with dag:
        pass
    wait_until(lambda: threads.statistics()["busy"] == 0)

    del dag, node
    gc.collect()

    assert [each() for each in seen] == [None] * 6


def test_a_function_may_build_and_wait_for_a_graph_of_its_own() -> None:
    """Nested graphs would share something and deadlock."""

    def inner(number: int) -> int:
        dag = DAG(max_workers=1)
        parts = [dag.submit_local(double, number) for _ in range(3)]
        total = dag.submit_local(sum, parts)
        dag.compute()
        return int(total.result(10))

    for executor in ("threads", "inline"):
        outer = DAG(max_workers=2, executor=executor)
        nodes = [outer.submit_local(inner, number) for number in range(6)]
        with outer:
            pass
        assert [node.result() for node in nodes] == [6 * number for number in range(6)]


def test_progress_outside_a_node_has_no_effect() -> None:
    """It would be shown at a node that is done, and keep its graph in memory."""
    dag = DAG(executor="inline")
    node = dag.submit_local(double, 1)
    dag.compute()

    tiledag_widget.progress(1, 2)

    assert node.progress is None


def test_progress_of_an_inner_graph_does_not_reach_the_outer_node_and_the_other_way_round() -> None:
    """A progress bar would jump between two things."""

    def inner() -> None:
        tiledag_widget.progress(1, 9)

    def outer() -> Any:
        tiledag_widget.progress(1, 3)
        with DAG(executor="inline") as dag:
            node = dag.submit_local(inner)
        tiledag_widget.progress(2, 3)
        return node.progress

    with DAG(executor="inline") as dag:
        node = dag.submit_local(outer)

    assert (node.progress, node.result()) == ((2, 3), (1, 9))
    for total in (0, math.inf, math.nan):
        with pytest.raises(ValueError, match="above 0 and finite"):
            tiledag_widget.progress(total, total)


def test_a_huge_number_of_workers_costs_nothing() -> None:
    """`DAG(max_workers=10**9)`, meant as no limit, would take gigabytes."""
    start = time.perf_counter()
    dag = DAG(max_workers=10**9)
    nodes = [dag.submit_local(double, number) for number in range(20)]
    with dag:
        pass

    assert time.perf_counter() - start < 5
    assert [node.result() for node in nodes] == [2 * number for number in range(20)]


def test_a_chain_is_run_by_one_lane() -> None:
    """Each step of a chain would cost a switch of threads."""
    dag = DAG(max_workers=8)
    idents = [dag.submit_local(threading.get_ident)]
    for _ in range(50):
        idents.append(dag.submit_local(lambda _: threading.get_ident(), idents[-1]))
    with dag:
        pass

    assert len({node.result() for node in idents}) == 1


def test_threads_are_named_after_the_graph() -> None:
    """A stack dump would not say whose work it is."""
    dag = DAG(name="sums")
    node = dag.submit_local(lambda: threading.current_thread().name)
    with dag:
        pass

    assert node.result() == "dag-sums-nodes_0"


def test_a_listener_of_a_view_is_called_after_changes_and_not_after_it_left() -> None:
    """A closed view would be drawn for ever."""
    calls: list[int] = []
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        dag.submit_local(int, 1, name="one")
        second = dag.submit_local(int, 2, name="two")
        leave = dag._driver.subscribe(lambda: calls.append(1))
        dag.compute()
        executor.run("one")
        wait_until(lambda: dag.stats()["completed"] == 1)
        count = len(calls)
        leave()
        executor.run("two")
        second.wait()

    assert count >= 2
    assert len(calls) <= count + 1  # one may have been on its way


# --- forks and ends of processes ------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork_the_graph_refuses_to_work_in_the_child_and_a_new_one_works() -> None:
    """The child would wait for threads that it does not have, or for a lock that nobody gives back."""
    code = """
        import os, sys, threading, time
        from tiledag_widget import DAG
        from tiledag_widget.errors import ForkedError

        dag = DAG()
        done = dag.submit_local(int, 7)
        gate = threading.Event()
        slow = dag.submit_local(gate.wait, 10)
        dag.compute()
        assert done.result() == 7
        dag._driver.lock.acquire()  # as a lane may hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            wrong = []
            for ask in (dag.wait, dag.compute, dag.cancel, slow.result, slow.retry, dag.retry_all,
                        lambda: dag.submit_local(int), lambda: dag.status, dag.stats):
                box = []
                def attempt():
                    try:
                        ask()
                        box.append("worked")
                    except ForkedError:
                        box.append("refused")
                    except BaseException as error:
                        box.append(repr(error))
                thread = threading.Thread(target=attempt, daemon=True)
                thread.start()
                thread.join(3)
                if not box:
                    wrong.append(f"{ask} hangs")
            with DAG() as fresh:
                node = fresh.submit_local(int, 5)
            if node.result() != 5:
                wrong.append("a new graph does not work")
            print(*wrong, sep="\\n", flush=True)
            os._exit(len(wrong))
        dag._driver.lock.release()
        _, status = os.waitpid(child, 0)
        gate.set()
        dag.wait()
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    done = run_script(code)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def run_script(code: str, *, seconds: float = 25, **options: Any) -> subprocess.CompletedProcess[str]:
    """A script without a main guard in a fresh interpreter, to its end, which includes the end of its output."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        **options,
    )


ENDS = {
    "falls off the end": ("", 0),
    "sys.exit": ("sys.exit(3)", 3),
    "exception": ("raise KeyError('mine')", 1),
    "os._exit": ("os._exit(4)", 4),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(5)", -15),
}


QUICK_ENDS = {("threads", "falls off the end"), ("processes", "SIGTERM"), ("pool", "exception")}


@pytest.mark.parametrize(
    ("executor", "how"),
    [
        pytest.param(executor, how, marks=[] if (executor, how) in QUICK_ENDS else pytest.mark.slow)
        for executor in ("threads", "processes", "pool")
        for how in ENDS
    ],
)
def test_b11_a_script_that_ends_while_its_graph_runs_ends_soon_and_leaves_nothing(
    executor: str, how: str, tmp_path: Any
) -> None:
    """A job that never exits, or worker processes that hold a pipe open for ever."""
    line, code = ENDS[how]
    marker = f"tiledag-test-{os.getpid()}-{how.replace(' ', '-')}-{executor}"
    options = {"threads": "", "processes": "use_processes=True", "pool": "executor=ThreadPoolExecutor(2)"}[executor]
    script = f"""
        import os, signal, sys, time
        from concurrent.futures import ThreadPoolExecutor
        from tiledag_widget import DAG

        dag = DAG(max_workers=2, {options})
        def work(number):
            open(f"{tmp_path}/{{number}}", "w").close()
            time.sleep(0.3)
        for number in range(40):
            dag.submit_local(work, number)
        dag.compute()
        while not os.path.exists("{tmp_path}/0"):
            time.sleep(0.002)
        {line}
    """
    start = time.perf_counter()
    done = run_script(script, env={**os.environ, "TILEDAG_TEST": marker})
    took = time.perf_counter() - start

    assert done.returncode == code
    assert took < 12
    assert len(list(tmp_path.iterdir())) <= 6, "the rest of the graph ran on"
    if how == "exception":
        assert done.stderr.strip().endswith("KeyError: 'mine'")
        assert "tiledag" not in done.stderr.replace(marker, "")
    else:
        assert done.stderr == ""
    wait_until(lambda: not processes_with(marker), 5)


def processes_with(marker: str) -> list[int]:
    """Processes whose environment names the marker."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TILEDAG_TEST") == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def test_callbacks_of_nodes_that_finish_at_exit_are_still_called() -> None:
    """The last lines of a log would be missing."""
    done = run_script(
        """
        import time
        from tiledag_widget import DAG

        dag = DAG(max_workers=1, done_callback=lambda graph: print("done", graph.status, flush=True))
        node = dag.submit_local(time.sleep, 0.2)
        node.add_done_callback(lambda each: print("node", each.status, flush=True))
        dag.submit_local(print, "must not run")
        dag.compute()
        while not node.running():
            time.sleep(0.001)
        """
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["done Cancelled", "node Completed"]


def test_forked_error_is_ours() -> None:
    """It could not be told from a bug."""
    assert issubclass(ForkedError, RuntimeError)


def test_views_read_errors_and_progress_of_a_graph_that_runs() -> None:
    """A search for an error would find nothing, and a card would show no progress of its own."""
    dag = DAG(name="half way")
    reached, go_on = threading.Event(), threading.Event()

    def load() -> None:
        tiledag_widget.progress(3, 4)
        reached.set()
        assert go_on.wait(30)

    def bad() -> None:
        raise ValueError("no such bucket")

    working, failing = dag.submit_local(load), dag.submit_local(bad)
    source = dag._as_source()
    assert source.progress() == {}
    dag.compute()
    try:
        assert reached.wait(30)
        failing.wait(30)
    except ValueError:
        pass
    try:
        assert source.progress() == {working._index: 0.75}
        for told in ((5, 4), (math.nan, 4), (math.inf, math.inf)):  # a record may say anything
            working._progress = told
            assert all(0 <= share <= 1 for share in source.progress().values())
        assert repr(source.error(failing._index)) == "ValueError('no such bucket')"
        assert source.error(working._index) is None
    finally:
        go_on.set()
        with pytest.raises(ValueError, match="no such bucket"):
            dag.wait(30)
    assert source.progress() == {}
