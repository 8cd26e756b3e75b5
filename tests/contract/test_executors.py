"""One suite for every executor: inline, threads, worker processes, pools of ``concurrent.futures``, a dask cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import tiledag_widget
from tiledag_widget import DAG, NodeExited, NotPicklable, Status, StoppedError, WorkerDied
from tiledag_widget.testing import ManualExecutor

from ..helpers import Gate
from ..helpers import no_idle_threads as no_idle_threads

LASTING = pytest.mark.leaks("the pool serves all tests of this module; its fixture ends it")
IN_PROCESS = ["inline", "threads", "thread pool"]
IN_OTHERS = [
    pytest.param("processes", marks=LASTING),
    pytest.param("process pool", marks=LASTING),
    pytest.param("dask", marks=[LASTING, pytest.mark.slow]),
]
ALL = [*IN_PROCESS, *IN_OTHERS]


@pytest.fixture(scope="module")
def pools() -> Iterator[dict[str, Any]]:
    """Executors by name, made when first asked for."""
    made: dict[str, Any] = {"inline": "inline", "threads": "threads", "processes": "processes"}

    class Pools(dict[str, Any]):
        def __missing__(self, name: str) -> Any:
            if name == "dask":
                self[name] = cluster.enter_context(dask_executor())
                return self[name]
            context = multiprocessing.get_context("spawn")
            self[name] = ProcessPoolExecutor(2, mp_context=context) if name == "process pool" else None
            return self[name]

    pools = Pools(made)
    with contextlib.ExitStack() as cluster:
        yield pools
        for pool in pools.values():
            if isinstance(pool, Executor):
                pool.shutdown()
    tiledag_widget.shutdown()


@contextlib.contextmanager
def dask_executor() -> Iterator[Executor]:
    """The executor of a cluster of two worker processes, which runs nothing twice by itself."""
    distributed: Any = pytest.importorskip("distributed")
    import dask

    settings = {"distributed.scheduler.work-stealing": False, "distributed.scheduler.allowed-failures": 0}
    with dask.config.set(settings):
        cluster = distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client.get_executor(retries=0)


@pytest.fixture
def executor(request: pytest.FixtureRequest, pools: dict[str, Any]) -> Iterator[Any]:
    """The executor that the test is about. A pool of threads is new for each test."""
    if request.param == "thread pool":
        with ThreadPoolExecutor(2) as pool:
            yield pool
        return
    yield pools[request.param]


every_executor = pytest.mark.parametrize("executor", ALL, indirect=True)
every_other_process = pytest.mark.parametrize("executor", IN_OTHERS, indirect=True)
every_executor_here = pytest.mark.parametrize("executor", IN_PROCESS, indirect=True)


def waited(dag: DAG, seconds: float = 20) -> None:
    """The end, whatever came of it."""
    dag.compute()
    try:
        dag.wait(seconds)
    except TimeoutError:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and not dag.done():
            raise


def greet(greeting: str, *, who: str) -> str:
    return f"{greeting}, {who}"


@every_executor
def test_functions_get_their_arguments_and_the_values_of_nodes(executor: Any) -> None:
    """Nothing would work."""
    dag = DAG(executor=executor)
    offset = 10
    one = dag.submit_local(lambda: 1 + offset)
    two = dag.submit_local(lambda values, key: [sum(values["in"]), key], {"in": [one, one, 5]}, key=one)
    three = dag.submit_local(greet, "Hello", who="you")

    waited(dag)

    assert (one.result(), two.result(), three.result()) == (11, [27, 11], "Hello, you")
    assert dag.status is Status.COMPLETED


@every_executor
def test_an_error_comes_with_its_type_its_text_and_where_it_was_raised(executor: Any) -> None:
    """A person would not find the line."""

    class Mine(Exception):
        pass

    def inner_function_with_a_name() -> None:
        raise Mine("what happened")

    dag = DAG(executor=executor)
    node = dag.submit_local(inner_function_with_a_name)
    child = dag.submit_local(greet, node, who="x")

    waited(dag)

    error = node.error
    assert error is not None
    assert type(error).__name__ == "Mine"
    assert "what happened" in str(error)
    from tiledag_widget.wire.pickles import traceback_text_of

    assert "inner_function_with_a_name" in traceback_text_of(error)
    assert child.status is Status.PARENT_FAILED


class OwnBase(BaseException):
    """Not even an Exception."""


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1)


async def coroutine() -> int:
    return 3


def raiser(error: BaseException) -> Callable[[], None]:
    def raise_it() -> None:
        raise error

    return raise_it


RAISED: dict[str, Callable[[], Any]] = {
    "SystemExit": raiser(SystemExit(3)),
    "KeyboardInterrupt": raiser(KeyboardInterrupt()),
    "GeneratorExit": raiser(GeneratorExit()),
    "CancelledError": raiser(CancelledError()),
    "StopIteration": raiser(StopIteration(1)),
    "RecursionError": recurse,
    "MemoryError": raiser(MemoryError()),
    "OwnBase": raiser(OwnBase()),
}
RETURNED: dict[str, Callable[[], Any]] = {
    "coroutine": coroutine,
    "exception": lambda: ValueError("a value"),
    "NotImplemented": lambda: NotImplemented,
}


@every_executor
@pytest.mark.parametrize("outcome", [*RAISED, *RETURNED])
def test_b4_whatever_a_function_raises_or_returns_its_graph_ends_and_the_next_one_works(
    executor: Any, outcome: str
) -> None:
    """In the reference a SystemExit hangs the graph for ever."""
    for _ in range(5):
        ends_as_it_must(executor, outcome)
    with DAG(executor=executor) as following:
        again = following.submit_local(greet, "Hello", who="again")
    assert again.result() == "Hello, again"


def ends_as_it_must(executor: Any, outcome: str) -> None:
    dag = DAG(executor=executor, max_workers=2)
    node = dag.submit_local({**RAISED, **RETURNED}[outcome])
    sibling = dag.submit_local(greet, "Hello", who="sibling")
    child = dag.submit_local(lambda _: "child", node)
    start = time.perf_counter()

    waited(dag)
    took = time.perf_counter() - start

    assert sibling.result() == "Hello, sibling"
    error = node.error
    if outcome in RAISED:
        assert node.status is Status.FAILED
        if isinstance(error, NodeExited):
            error = error.raised
            assert not isinstance(error, Exception)
        assert type(error).__name__ == outcome
        assert child.status is Status.PARENT_FAILED
    elif isinstance(error, NotPicklable):
        assert outcome == "coroutine"
    else:
        value = node.result()
        assert child.result() == "child"
        if outcome == "coroutine":
            asyncio.run(value)
        elif outcome == "exception":
            assert isinstance(value, ValueError)
        else:
            assert value is NotImplemented
    assert took < 10  # 2 s, and the start of a process on a busy machine


@every_executor
@pytest.mark.parametrize("code", [None, 3, "no data for May"])
def test_a_function_that_calls_sys_exit_fails_its_node_and_ends_nothing_else(executor: Any, code: Any) -> None:
    """The notebook's cell, or the script, would end in `wait()` as if it had asked for that itself."""
    dag = DAG(executor=executor)
    node = dag.submit_local(lambda code: __import__("sys").exit(code), code, name="leaver")
    sibling = dag.submit_local(greet, "Hello", who="sibling")
    dag.compute()

    with pytest.raises(NodeExited, match="Node 'leaver': its function raised SystemExit") as caught:
        dag.wait(20)

    assert caught.value is node.error
    assert isinstance(caught.value.raised, SystemExit)
    assert str(code) in str(caught.value) or code is None
    assert sibling.result(20) == "Hello, sibling"
    with pytest.raises(NodeExited):
        node.result()


@contextlib.contextmanager
def outcomes(_: Path) -> Iterator[Callable[[int], None]]:
    """B4, an outcome a seed, on all executors in turn; those of the server are in `test_server_workers`."""
    kinds = [*RAISED, *RETURNED]
    context = multiprocessing.get_context("spawn")
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(2) as threads,
        ProcessPoolExecutor(2, mp_context=context) as processes,
        dask_executor() as dask,
    ):
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
        executors: list[Any] = ["inline", "threads", "processes", threads, processes, dask]
        yield lambda seed: ends_as_it_must(executors[seed // len(kinds) % len(executors)], kinds[seed % len(kinds)])
    tiledag_widget.shutdown()


@every_executor
def test_no_more_functions_run_at_once_than_the_graph_allows(executor: Any) -> None:
    """A graph would take more memory or connections than it was given."""
    dag = DAG(executor=executor, max_workers=2)
    nodes = [dag.submit_local(time.sleep, 0.001) for _ in range(20)]
    most = 0

    def count(graph: DAG) -> None:
        nonlocal most
        most = max(most, len(graph.running_nodes))

    dag.add_update_callback(count)
    waited(dag)

    assert most <= (1 if executor == "inline" else 2)
    assert all(node.status is Status.COMPLETED for node in nodes)


@every_executor
def test_a_wide_and_a_deep_graph_run_through(executor: Any) -> None:
    """Hand-overs that go wrong once in a hundred times would hang a graph of a thousand nodes."""
    dag = DAG(executor=executor, max_workers=2)
    chain = dag.submit_local(int, 0)
    for _ in range(60):
        chain = dag.submit_local(lambda value: value + 1, chain)
    total = dag.submit_local(sum, [dag.submit_local(int, number) for number in range(60)])

    waited(dag)

    assert (chain.result(), total.result()) == (60, sum(range(60)))


@every_executor
def test_a_failed_node_can_be_retried(executor: Any, tmp_path: Any) -> None:
    """A person would have to run everything again."""
    mark = tmp_path / "fixed"

    def flaky(path: str) -> str:
        if not os.path.exists(path):
            raise ValueError("not yet")
        return "fixed"

    dag = DAG(executor=executor)
    node = dag.submit_local(flaky, str(mark))
    child = dag.submit_local(lambda value: value + "!", node)
    waited(dag)
    first = node.status, child.status

    mark.touch()
    node.retry()
    dag.wait(20)

    assert first == (Status.FAILED, Status.PARENT_FAILED)
    assert (child.result(), dag.status) == ("fixed!", Status.COMPLETED)


@every_executor
def test_cancel_keeps_what_waits_in_a_queue_from_starting(executor: Any, tmp_path: Any) -> None:
    """The rest of a cancelled graph would run on."""
    dag = DAG(executor=executor, max_workers=1)
    released = tmp_path / "released"
    trace = tmp_path / "trace"

    def first(path: str) -> str:
        end = time.monotonic() + 20
        while not os.path.exists(path) and time.monotonic() < end:
            time.sleep(0.002)
        return "finished"

    def later(path: str) -> None:
        with open(path, "a") as file:
            file.write("x")

    holder = dag.submit_local(first, str(released))
    queued = [dag.submit_local(later, str(trace)) for _ in range(5)]
    running = threading.Event()
    dag.add_update_callback(lambda graph: running.set())
    computing = threading.Thread(target=dag.compute)
    computing.start()
    assert running.wait(20)

    dag.cancel()
    released.touch()
    computing.join()
    dag.wait(20)

    assert holder.result() == "finished"
    assert {node.status for node in queued} == {Status.CANCELLED}
    assert not trace.exists()


@every_executor
def test_stop_ends_a_running_function_where_that_is_possible_and_says_where_not(executor: Any) -> None:
    """A function that hangs could not be ended, or a person would believe that it was."""
    can = executor == "processes"
    dag = DAG(executor=executor, max_workers=2)
    node = dag.submit_local(time.sleep, 60 if can else 0.05)
    sibling = dag.submit_local(time.sleep, 0.05)
    running = threading.Event()
    dag.add_update_callback(lambda graph: running.set() if len(graph.running_nodes) == 2 else None)
    dag.compute()
    if can:
        assert running.wait(20)

    stopped = node.stop()
    dag.wait(20)

    assert stopped is can
    assert sibling.status is Status.COMPLETED
    assert node.status is (Status.CANCELLED if can else Status.COMPLETED)
    if can:
        assert isinstance(node.error, StoppedError)
        with pytest.raises(StoppedError):
            node.result()
        assert node.retry()
        assert dag.stop()
        dag.wait(20)
        assert node.status is Status.CANCELLED


@every_other_process
@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        (({"db": threading.Lock()},), {}, r"Node 'reader': args\[0\]\['db'\] cannot be sent"),
        ((), {"given": [1, threading.Lock()]}, r"Node 'reader': kwargs\['given'\]\[1\] cannot be sent"),
    ],
)
def test_an_argument_that_cannot_be_sent_is_named_with_its_node_before_anything_starts(
    executor: Any, args: tuple[Any, ...], kwargs: dict[str, Any], path: str
) -> None:
    """'cannot pickle _thread.lock object', and a person searches a hundred nodes for it."""
    updates: list[Any] = []
    dag = DAG(executor=executor)
    node = dag.submit_local(lambda *a, **k: None, *args, name="reader", **kwargs)
    sibling = dag.submit_local(lambda: "fine")
    node.add_done_callback(updates.append)

    waited(dag)

    assert isinstance(node.error, NotPicklable)
    with pytest.raises(NotPicklable, match=path):
        node.result()
    assert sibling.result() == "fine"
    assert updates == [node]


@every_other_process
def test_a_result_that_cannot_come_back_fails_its_node_and_says_so(executor: Any) -> None:
    """The graph would hang, or show the error of some other node."""
    dag = DAG(executor=executor)
    node = dag.submit_local(threading.Lock)
    sibling = dag.submit_local(lambda: "fine")

    waited(dag)

    assert isinstance(node.error, NotPicklable)
    assert "result" in str(node.error)
    assert sibling.result() == "fine"


@every_executor_here
def test_progress_is_told_from_inside_a_function(executor: Any) -> None:
    """A long node would show nothing between its start and its end."""

    def work() -> None:
        tiledag_widget.progress(3, 4)

    dag = DAG(executor=executor)
    node = dag.submit_local(work)

    waited(dag)

    assert node.progress == (3, 4)


@every_executor
def test_a_finished_graph_leaves_its_executor_open(executor: Any) -> None:
    """The next graph, or the user's own code, could not use it any more."""
    with DAG(executor=executor) as dag:
        dag.submit_local(int, 1)

    if isinstance(executor, Executor):
        assert executor.submit(int, 5).result() == 5
    with DAG(executor=executor) as dag:
        node = dag.submit_local(int, 2)
    assert node.result() == 2


# --- what goes wrong with executors ---------------------------------------------------------------------------


def test_a_worker_process_that_dies_fails_its_node_and_harms_no_other() -> None:
    """One crash would take the whole graph."""
    dag = DAG(use_processes=True, max_workers=2)
    dying = dag.submit_local(os._exit, 7)
    killed = dag.submit_local(lambda: os.kill(os.getpid(), 9))
    siblings = [dag.submit_local(lambda n: n * n, number) for number in range(6)]

    waited(dag)

    assert isinstance(dying.error, WorkerDied)
    assert isinstance(killed.error, WorkerDied)
    assert "7" in str(dying.error)
    assert "signal 9" in str(killed.error)
    assert [node.result() for node in siblings] == [n * n for n in range(6)]


@pytest.mark.slow
def test_a_pool_of_the_users_that_breaks_fails_what_ran_in_it_and_the_graph_ends() -> None:
    """The graph would hang for ever."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        dag = DAG(executor=pool)
        dying = dag.submit_local(os._exit, 7)
        later = dag.submit_local(int, 1)

        waited(dag)

        assert isinstance(dying.error, WorkerDied)
        assert "the executor broke" in str(dying.error)
        assert isinstance(later.error, (RuntimeError, BrokenExecutor))
        assert dag.status is Status.FAILED


def test_an_executor_that_was_shut_down_fails_the_nodes_and_says_why() -> None:
    """The graph would hang, or the message would not name the node."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    dag = DAG(executor=pool)
    node = dag.submit_local(int, 1, name="late")

    waited(dag)

    with pytest.raises(RuntimeError, match=r"Node 'late': ThreadPoolExecutor takes no more work: cannot schedule"):
        node.result()


def test_an_executor_shut_down_in_the_middle_with_its_queue_dropped_ends_the_graph() -> None:
    """Calls dropped from its queue would never be heard of again."""
    pool = ThreadPoolExecutor(1)
    gate = Gate()
    dag = DAG(executor=pool, max_workers=4)
    holder = dag.submit_local(gate.pass_through)
    queued = [dag.submit_local(int, number) for number in range(3)]
    dag.compute()
    gate.wait_until_inside()
    while pool._work_queue.qsize() < 3:
        time.sleep(0.001)

    pool.shutdown(wait=False, cancel_futures=True)
    gate.open()
    waited(dag)
    pool.shutdown()

    assert holder.result() == "passed"
    for node in queued:
        assert isinstance(node.error, RuntimeError)
        assert "cancelled by somebody else" in str(node.error)


def test_an_executor_with_errors_of_its_own_fails_the_node_with_them() -> None:
    """A node would stay Running for ever."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        broken = dag.submit_local(int, 1, name="broken")
        cancelled = dag.submit_local(int, 2, name="cancelled")
        odd = dag.submit_local(int, 3, name="odd")
        dag.compute()

        executor.break_call(BrokenExecutor("the pool is gone"), "broken")
        executor.cancel_call("cancelled")
        executor.break_call(OSError("disk"), "odd")
        waited(dag)

    assert isinstance(broken.error, WorkerDied)
    assert isinstance(cancelled.error, RuntimeError)
    assert isinstance(odd.error, OSError)
    assert odd.error.__cause__ is not odd.error


class Odd(Executor):
    """Raises what executors do not raise."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt("odd")


def test_an_executor_whose_submit_raises_anything_fails_the_node() -> None:
    """A lane would die and its graph hang."""
    dag = DAG(executor=Odd(), max_workers=1)
    node = dag.submit_local(int, 1)
    other = dag.submit_local(int, 2)

    dag.compute()
    node.wait(10)
    other.wait(10)

    assert isinstance(node.error, NodeExited)
    assert isinstance(node.error.raised, KeyboardInterrupt)
    assert other.status is Status.FAILED


def test_a_call_cancelled_while_it_waits_in_the_users_executor_is_skipped() -> None:
    """1. a call is handed over; 2. the graph is cancelled; 3. the executor takes the call up: too late."""
    ran: list[int] = []
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(ran.append, 1, name="one")
        dag.compute()
        executor.wait_for("one")

        dag.cancel()
        ended = dag.done()
        executor.run("one")
        dag.wait(10)

    assert ended
    assert node.status is Status.CANCELLED
    assert ran == []


def test_an_answer_of_an_attempt_that_was_given_up_changes_nothing() -> None:
    """1. a call waits; 2. the node is cancelled and retried; 3. the old call is taken up after the new one."""
    ran: list[str] = []
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(ran.append, "x", name="one")
        dag.compute()
        executor.wait_for("one")
        assert node.cancel()
        assert node.retry()
        while len(executor.waiting) < 2:
            time.sleep(0.001)

        executor.run()
        executor.run()
        dag.wait(10)

    assert ran == ["x"]
    assert node.status is Status.COMPLETED


@pytest.fixture(autouse=True)
def no_warning_of_a_coroutine_that_nobody_awaited() -> Iterator[None]:
    """A coroutine that could not be sent back is dropped in its process, and here when its node goes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
        yield
