"""Callbacks: each once, in order, never with a lock held, and nothing they do harms the graph."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from tiledag_widget import DAG, Node, Status
from tiledag_widget.testing import ManualExecutor

from ..helpers import Gate, hostile_scheduling
from ..helpers import no_idle_threads as no_idle_threads


def double(value: int) -> int:
    return 2 * value


def boom(*_: object) -> None:
    raise ValueError("boom")


def waited(dag: DAG, seconds: float = 10) -> None:
    """The end of the graph, whatever came of it."""
    dag.compute()
    try:
        dag.wait(seconds)
    except ValueError:
        pass


def test_update_callbacks_come_twice_for_what_ran_and_once_for_what_did_not() -> None:
    """A progress bar that counts them would end too early or too late."""
    updates: list[DAG] = []
    dag = DAG(update_callback=updates.append)
    good = dag.submit_local(double, 1)
    bad = dag.submit_local(boom, good)
    dag.submit_local(double, bad)  # blocked
    dag.submit_local(double, 3).cancel()

    waited(dag)

    assert updates == [dag] * (2 + 2 + 1 + 1)


def test_callbacks_come_in_the_order_of_the_statuses_and_done_ones_before_those_of_the_last_node() -> None:
    """As in the reference: a view made in a done callback would not show the last node as done."""
    told: list[tuple[str, Status]] = []
    dag = DAG()
    one = dag.submit_local(double, 1, name="one")
    two = dag.submit_local(double, one, name="two")
    dag.add_update_callback(lambda graph: told.append(("update", graph.status)))
    dag.add_done_callback(lambda graph: told.append(("done", graph.status)))
    for node in (one, two):
        node.add_done_callback(lambda node: told.append((node.name, node.status)))

    waited(dag)

    assert [what for what, _ in told] == ["update", "update", "one", "update", "update", "done", "two"]
    assert told[-2:] == [("done", Status.COMPLETED), ("two", Status.COMPLETED)]


def test_the_done_callback_comes_once_at_the_end_whatever_failed() -> None:
    """In the reference one failure among six nodes calls it six times."""
    ends: list[bool] = []
    dag = DAG(done_callback=lambda graph: ends.append(graph.done()))
    for number in range(6):
        dag.submit_local(boom if number == 2 else double, number)

    waited(dag)

    assert ends == [True]


def test_a_retry_ends_the_graph_again_and_is_told_again() -> None:
    """A done callback that starts the next step would not start it after a fix."""
    ends: list[Status] = []
    node_ends: list[Status] = []
    fixed = threading.Event()
    dag = DAG(done_callback=lambda graph: ends.append(graph.status))
    node = dag.submit_local(lambda: None if fixed.is_set() else boom())
    node.add_done_callback(lambda each: node_ends.append(each.status))
    waited(dag)

    fixed.set()
    node.retry()
    dag.wait()

    assert ends == node_ends == [Status.FAILED, Status.COMPLETED]


def test_wait_and_result_return_after_the_callbacks_of_what_they_report() -> None:
    """Code after `wait()` would find what its callbacks make half made."""
    gate = Gate()
    told: list[str] = []

    def slow(thing: Any) -> None:
        gate.pass_through()
        told.append(type(thing).__name__)

    dag = DAG(done_callback=slow)
    node = dag.submit_local(double, 1)
    node.add_done_callback(slow)
    dag.compute()
    gate.wait_until_inside()

    with pytest.raises(TimeoutError):
        dag.wait(0.01)
    with pytest.raises(TimeoutError):
        node.wait(0.01)
    gate.open()
    dag.wait()
    after_wait = list(told)
    node.wait()

    assert after_wait[:1] == ["DAG"]
    assert told == ["DAG", "Node"]


def test_adding_a_callback_to_something_done_calls_it_at_once_on_the_callers_thread() -> None:
    """It would never be called."""
    dag = DAG()
    node = dag.submit_local(double, 1)
    waited(dag)
    told: list[Any] = []

    dag.add_done_callback(lambda graph: told.append((graph, threading.current_thread())))
    node.add_done_callback(lambda each: told.append((each, threading.current_thread())))

    assert told == [(dag, threading.current_thread()), (node, threading.current_thread())]


def test_a_callback_of_a_node_without_a_graph_comes_when_it_is_cancelled() -> None:
    """Whoever waits for a node that was never added would wait for ever."""
    told: list[Node[Any]] = []
    node = Node(double, 1)
    node.add_done_callback(told.append)

    node.cancel()
    node.add_done_callback(told.append)

    assert told == [node, node]
    with pytest.raises(TypeError, match="must be callable"):
        node.add_done_callback(3)  # type: ignore[arg-type]


def test_a_callback_of_a_node_survives_its_joining() -> None:
    """Registered before `add_node_obj` it would be lost."""
    told: list[Node[Any]] = []
    node = Node(double, 1)
    node.add_done_callback(told.append)
    dag = DAG()
    dag.add_node_obj(node)

    waited(dag)

    assert told == [node]


def test_callbacks_added_while_things_end_come_exactly_once() -> None:
    """Sometimes none, sometimes two: 1. the node ends; 2. a callback is added; 3. the end is delivered."""
    with hostile_scheduling():
        for _ in range(40):
            gate = threading.Event()
            dag = DAG(update_callback=lambda _: None)
            nodes = [dag.submit_local(gate.wait) for _ in range(3)]
            told: list[Any] = []
            start = threading.Barrier(3)

            def add(dag: DAG = dag, nodes: Any = nodes, told: Any = told, start: Any = start) -> None:
                start.wait()
                for _ in range(5):
                    dag.add_done_callback(lambda graph: told.append(graph.id))
                    for node in nodes:
                        node.add_done_callback(lambda node_: told.append(node_.id))

            adders = [threading.Thread(target=add) for _ in range(2)]
            for adder in adders:
                adder.start()
            dag.compute()
            start.wait()
            gate.set()
            for adder in adders:
                adder.join()
            dag.wait()
            for node in nodes:
                node.wait()

            ids = [dag.id, *(node.id for node in nodes)]
            assert {each: told.count(each) for each in told} == dict.fromkeys(ids, 10)


def test_with_one_worker_callbacks_still_come_while_the_only_lane_works() -> None:
    """A progress bar would stand still until the end."""
    gate = Gate()
    seen = threading.Event()
    dag = DAG(max_workers=1, update_callback=lambda _: seen.set())
    dag.submit_local(gate.pass_through)
    dag.compute()
    gate.wait_until_inside()

    in_time = seen.wait(10)
    gate.open()
    dag.wait()

    assert in_time


@pytest.mark.parametrize("executor", ["threads", "inline"])
@pytest.mark.parametrize("ask", ["wait", "result", "exception"])
def test_a_callback_may_wait_for_the_graph_and_for_a_node(executor: str, ask: str) -> None:
    """The thread that waits is the one that tells: it would wait for itself."""
    gate = Gate()
    got: list[Any] = []
    dag = DAG(executor=executor, max_workers=2)
    first = dag.submit_local(double, 1)
    second = dag.submit_local(lambda _: gate.pass_through() if executor == "threads" else "passed", first)

    def callback(_: Any) -> None:
        if not got:
            got.append(None)
            gate.open()
            got.append(getattr(dag if ask == "wait" else second, ask)(10))

    first.add_done_callback(callback)
    dag.add_done_callback(lambda graph: graph.wait(10))
    waited(dag)
    first.wait()
    second.wait()
    dag.wait()

    assert got[1:] == ["passed" if ask == "result" else None]


def test_callbacks_may_cancel_retry_add_callbacks_and_look() -> None:
    """Any of it would deadlock if a lock were held."""
    fixed = threading.Event()
    told: list[str] = []
    dag = DAG()
    gate = Gate()
    bad = dag.submit_local(lambda: gate.pass_through() if fixed.is_set() else boom())
    below = dag.submit_local(lambda _: "below", bad)

    def on_end(graph: DAG) -> None:
        told.append(str(graph.status))
        graph.stats(), graph.failed_nodes, graph.done(), repr(graph), graph.get_tiledb_plot_node_details()
        graph.add_done_callback(lambda _: told.append("inner"))
        if not fixed.is_set():
            fixed.set()
            assert bad.retry()
            assert below.cancel()
            gate.open()

    dag.add_done_callback(on_end)
    dag.compute()
    dag.wait(10)

    assert told[:2] in (["Failed", "inner"], ["Failed", "Cancelled"])
    assert below.status is Status.CANCELLED
    assert dag.status is Status.CANCELLED


def test_adding_a_node_from_a_callback_is_refused_and_reported() -> None:
    """A node added late would never run."""
    dag = DAG()
    dag.submit_local(double, 1)

    def add(graph: DAG) -> None:
        graph.submit_local(double, 2)

    dag.add_update_callback(add)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        waited(dag)

    assert len(dag.nodes) == 1
    assert any("Cannot add nodes to a running graph" in str(each.message) for each in told)


class NoText(Exception):
    """Cannot be told."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoName:
    """A callable that nobody can name."""

    def __call__(self, _: Any) -> None:
        raise ValueError("from a nameless one")

    def __repr__(self) -> str:
        raise RuntimeError("no name")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")


def raises(error: BaseException) -> Callable[[Any], None]:
    def callback(_: Any) -> None:
        raise error

    return callback


@pytest.mark.parametrize("kind", ["update", "done", "node"])
@pytest.mark.parametrize(
    ("callback", "words"),
    [
        (raises(ValueError("no good")), "raises.<locals>.callback raised ValueError: no good"),
        (raises(SystemExit(3)), "raised SystemExit: 3"),
        (raises(KeyboardInterrupt()), "raised KeyboardInterrupt"),
        (raises(NoText()), "raised NoText: <its text cannot be had>"),
        (NoName(), "NoName raised ValueError: from a nameless one"),
    ],
    ids=["Exception", "SystemExit", "KeyboardInterrupt", "no text", "no name"],
)
def test_what_a_callback_raises_is_told_with_its_name_and_harms_nothing(
    kind: str, callback: Callable[[Any], None], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the reference a SystemExit there hangs the graph; dropped errors leave a person without a clue."""
    dag = DAG()
    node = dag.submit_local(double, 1)
    child = dag.submit_local(double, node)
    after: list[Any] = []
    for each in (callback, after.append):
        if kind == "node":
            node.add_done_callback(each)
        else:
            getattr(dag, f"add_{kind}_callback")(each)

    with warnings.catch_warnings(record=True) as told, caplog.at_level(logging.ERROR, "tiledag_widget"):
        warnings.simplefilter("always")
        waited(dag)
        node.wait()

    assert (dag.status, child.result()) == (Status.COMPLETED, 4)
    assert len(after) == (4 if kind == "update" else 1)
    assert words in caplog.text
    assert any(words in str(each.message) for each in told)


def test_a_log_handler_that_raises_does_not_stop_the_callbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken logging set-up would hang `wait()`."""

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("broken filter")

    broken = Broken()
    logger = logging.getLogger("tiledag_widget.run")
    logger.addFilter(broken)
    after: list[Any] = []
    dag = DAG(update_callback=boom)
    dag.add_update_callback(after.append)
    dag.submit_local(double, 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            waited(dag)
    finally:
        logger.removeFilter(broken)

    assert after == [dag, dag]


def test_cancelling_calls_back_for_each_node_that_will_not_run() -> None:
    """A view would show them as waiting for ever."""
    told: list[str] = []
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        one = dag.submit_local(double, 1, name="one")
        two = dag.submit_local(double, one, name="two")
        for node in (one, two):
            node.add_done_callback(lambda each: told.append(f"{each.name} {each.status}"))
        dag.compute()
        executor.wait_for("one")

        dag.cancel()
        dag.wait(10)
        two.wait()

    assert told == ["one Cancelled", "two Parent Failed"]
