"""`DAG`: what `wire-contract.md` 5 says of a graph that needs no server, and what we do otherwise on purpose."""

from __future__ import annotations

import pickle
import threading
import time
import warnings
from concurrent.futures import CancelledError
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget import (
    DAG,
    Mode,
    Node,
    ParentFailedError,
    ServerNeeded,
    Status,
    list_logs,
    progress,
    running,
    server_logs,
)
from tiledag_widget.testing import ManualExecutor

from .helpers import Gate
from .helpers import no_idle_threads as no_idle_threads


def double(value: int) -> int:
    return 2 * value


def boom(message: str = "boom") -> None:
    raise ValueError(message)


# --- names ----------------------------------------------------------------------------------------------------


def test_a_graph_may_have_no_name() -> None:
    """`DAG()` is how most graphs are made."""
    assert DAG().name is None


def test_submit_local_names_a_node_after_its_function_and_does_not_number_it() -> None:
    """A look-up by the function's full name, as in the reference, would miss."""
    dag = DAG()

    first, second = dag.submit_local(double, 1), dag.submit_local(double, 2)

    assert first.name == second.name == f"{__name__}.double"


def test_equal_names_give_the_last_node_and_warn_once() -> None:
    """A node that hides another would be taken for it without a word."""
    dag = DAG()
    dag.submit_local(double, 1, name="same")
    last = dag.submit_local(double, 2, name="same")

    with pytest.warns(UserWarning, match="Several nodes are named 'same'"):
        found = dag.nodes_by_name["same"]

    assert found is last
    assert dag.nodes_by_name["same"] is dag.nodes_by_name.get("same") is last


def test_get_warns_of_equal_names_too() -> None:
    """`nodes_by_name.get(...)` would hide a node without a word."""
    dag = DAG()
    dag.submit_local(double, 1, name="same")
    last = dag.submit_local(double, 2, name="same")

    with pytest.warns(UserWarning, match="'same'"):
        assert dag.nodes_by_name.get("same") is last
    assert dag.nodes_by_name.get("other") is None


def test_submit_numbers_the_names_it_makes_and_leaves_those_of_the_user() -> None:
    """Nodes of one function could not be told apart by name."""
    dag = DAG(mode=Mode.LOCAL)

    names = [dag.submit(double, 1).name for _ in range(3)] + [dag.submit(double, 1, name="mine").name]

    assert names == [f"{__name__}.double", f"{__name__}.double (1)", f"{__name__}.double (2)", "mine"]


def test_threads_that_submit_at_once_get_names_of_their_own() -> None:
    """Two nodes with one name: the first could not be found any more."""
    dag = DAG(mode=Mode.LOCAL)
    start = threading.Barrier(4)

    def submit() -> None:
        start.wait()
        for _ in range(50):
            dag.submit(double, 1)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(dag.nodes_by_name) == len(dag.nodes) == 200


def test_add_node_is_deprecated_and_gives_no_name() -> None:
    """Old scripts call it, and look up by id."""
    dag = DAG()

    with pytest.warns(DeprecationWarning, match="submit_local"):
        node = dag.add_node(double, 4)
    with dag:
        pass

    assert node.name == str(node.id)
    assert dag.nodes_by_name[str(node.id)] is node
    assert node.result() == 8


# --- building -------------------------------------------------------------------------------------------------


def test_nodes_are_kept_by_id_in_the_order_in_which_they_were_added() -> None:
    """A loop over `dag.nodes` would come in another order."""
    dag = DAG()

    nodes = [dag.submit_local(double, number) for number in range(5)]

    assert list(dag.nodes.items()) == [(node.id, node) for node in nodes]


@pytest.mark.parametrize("when", ["running", "ended", "cancelled"])
def test_nothing_can_be_added_once_the_graph_has_started(when: str) -> None:
    """A node added late would never run."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(double, 1, name="one")
        if when == "cancelled":
            dag.cancel()
        else:
            dag.compute()
        if when == "ended":
            executor.run("one")
            dag.wait()

        loose = Node(double, 1)
        with pytest.raises(RuntimeError, match="Cannot add nodes to a running graph"):
            dag.submit_local(double, node)
        with pytest.raises(RuntimeError, match="Cannot add nodes to a running graph"):
            dag.add_node_obj(loose)
        dag.cancel()
        if when == "running":
            executor.run("one")
        dag.wait()

    assert loose.dag is None
    DAG().add_node_obj(loose)  # and can join another


def test_a_node_made_by_itself_joins_with_its_parents() -> None:
    """Builders that make nodes first and the graph later would not work."""
    dag = DAG()
    parent = Node(double, 3)
    child = Node(double, parent)

    with dag:
        assert dag.add_node_obj(parent) is parent
        assert dag.add_node_obj(child) is child
        assert dag.add_node_obj(child) is child  # twice is once

    assert child.dag is dag
    assert list(child.parents) == [parent.id]
    assert child.result() == 12


def test_a_node_cannot_join_before_its_parents() -> None:
    """It would wait for a node that never runs."""
    dag = DAG()
    child = Node(double, Node(double, 3))

    with pytest.raises(ValueError, match="add that one first"):
        dag.add_node_obj(child)

    assert not dag.nodes


def test_a_node_made_for_a_graph_that_has_not_joined_it_is_no_argument_yet() -> None:
    """The error would speak of a bug of ours."""
    dag = DAG()
    loose = Node(double, 3, dag=dag)

    with pytest.raises(ValueError, match="in no graph yet: add that one first"):
        dag.submit_local(double, loose)
    with pytest.raises(ValueError, match="already complete"):
        dag.submit_local(double, Node(double, 3))
    dag.add_node_obj(loose)
    child = dag.submit_local(double, loose)
    with dag:
        pass

    assert child.result() == 12


def test_a_node_cannot_join_a_graph_when_its_parent_is_in_another() -> None:
    """It would wait for whatever node has the same number here."""
    here, there = DAG(), DAG()
    parent = Node(double, 3)
    child = Node(double, parent)
    there.add_node_obj(parent)
    here.submit_local(double, 1)

    with pytest.raises(ValueError, match="part of another graph"):
        here.add_node_obj(child)

    assert len(here.nodes) == 1


def test_a_node_of_another_graph_cannot_join() -> None:
    """Two graphs would run it."""
    node = DAG().submit_local(double, 1)

    with pytest.raises(ValueError, match="part of another graph"):
        DAG().add_node_obj(node)
    with pytest.raises(TypeError, match="takes a Node"):
        DAG().add_node_obj("node")  # type: ignore[arg-type]


def test_a_cancelled_node_can_join_and_blocks_what_waits_for_it() -> None:
    """Adding one deadlocks in the reference."""
    cancelled = Node(double, 1)
    assert cancelled.cancel()
    dag = DAG()

    dag.add_node_obj(cancelled)
    child = dag.submit_local(double, cancelled)
    dag.compute()
    dag.wait()

    assert (cancelled.status, child.status, dag.status) == (
        Status.CANCELLED,
        Status.PARENT_FAILED,
        Status.CANCELLED,
    )


def test_the_function_of_submit_local_gets_every_argument_but_the_name() -> None:
    """Arguments would be lost on the way."""
    dag = DAG()

    node = dag.submit_local(lambda *args, **kwargs: (args, kwargs), 1, name="n", key=2)
    with dag:
        pass

    assert node.result() == ((1,), {"key": 2})


def test_a_local_graph_leaves_out_what_only_a_server_understands() -> None:
    """A script tried out with Mode.LOCAL would have to be rewritten for it."""
    dag = DAG(mode=Mode.LOCAL)

    node = dag.submit_udf(double, 4, image_name="large", timeout=3, store_results=True)
    own = dag.submit_udf(lambda timeout: timeout, timeout=5)
    local = dag.submit_udf(double, 5, local_mode=True)
    with dag:
        pass

    assert (node.result(), own.result(), local.result()) == (8, 5, 10)
    assert {each.mode for each in dag.nodes.values()} == {Mode.LOCAL}


def test_local_mode_is_submit_local_in_every_mode() -> None:
    """Old scripts say ``submit(..., local_mode=True)``."""
    dag = DAG()

    node = dag.submit(double, 4, local_mode=True)
    with dag:
        pass

    assert node.name == f"{__name__}.double"
    assert (node.mode, node.result()) == (Mode.LOCAL, 8)


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("submit_udf", (double, 1)),
        ("submit_udf", ("ns/registered", 1)),
        ("submit_sql", ("select 1",)),
        ("submit_array_udf", ("tiledb://ns/array", double)),
    ],
)
def test_a_batch_graph_is_built_without_a_server_and_started_with_one(
    method: str, args: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A person without a server would not know what is missing, or the graph would be gone once there is one."""
    for name in ("TILEDAG_SERVER", "TILEDB_REST_HOST", "TILEDB_REST_TOKEN", "TILEDB_REST_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tiledag_widget.server.launch.NEEDED", ("a_package_nobody_has",))
    dag = DAG(mode=Mode.BATCH)

    node = getattr(dag, method)(*args)

    with pytest.raises(ServerNeeded, match=r"a_package_nobody_has.*TILEDB_REST_HOST"):
        dag.compute()
    assert (node.mode, node.status, dag.status) == (Mode.BATCH, Status.NOT_STARTED, Status.NOT_STARTED)


@pytest.mark.parametrize("method", ["submit_sql", "submit_array_udf"])
def test_sql_and_arrays_need_a_server_in_a_local_graph_too(method: str) -> None:
    """They cannot run here, and the way out is told."""
    with pytest.raises(ServerNeeded, match="TILEDB_REST_TOKEN"):
        getattr(DAG(mode=Mode.LOCAL), method)("x", double)


@pytest.mark.parametrize("mode", [Mode.REALTIME, Mode.LOCAL])
def test_a_stage_is_for_batch_graphs(mode: Mode) -> None:
    """It would expand nothing."""
    with pytest.raises(ValueError, match="only supported for BATCH"):
        DAG(mode=mode).submit_udf_stage(double)


def test_a_batch_graph_takes_no_nodes_of_other_modes() -> None:
    """They would be uploaded without code."""
    dag = DAG(mode=Mode.BATCH)

    with pytest.raises(ValueError, match="BATCH mode DAG can only execute BATCH mode Nodes"):
        dag.submit(double, 1, mode=Mode.REALTIME)
    with pytest.raises(ValueError, match="submit_local: a BATCH graph"):
        dag.submit_local(double, 1)
    with pytest.raises(ValueError, match="submit_local: a BATCH graph"):
        dag.submit(double, 1, local_mode=True)
    with pytest.raises(ValueError, match="add nodes to a BATCH graph with submit_udf"):
        dag.add_node_obj(Node(double, 1))
    with pytest.raises(ValueError, match="runs on the server as a whole"):
        DAG(mode=Mode.BATCH, executor="inline")
    assert not dag.nodes


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("submit_udf", (double, 1)),
        ("submit_udf", ("ns/registered", 1)),
        ("submit_sql", ("select 1",)),
        ("submit_array_udf", ("tiledb://ns/array", double)),
    ],
)
def test_without_the_server_extra_and_without_a_host_a_server_node_fails_and_names_both_ways_out(
    method: str, args: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A person would not know what is missing; and the rest of the graph needs no server."""
    for name in ("TILEDAG_SERVER", "TILEDB_REST_HOST", "TILEDB_REST_TOKEN", "TILEDB_REST_USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("tiledag_widget.server.launch.NEEDED", ("a_package_nobody_has",))
    both = r"a_package_nobody_has.*pip install 'tiledag-widget\[server\]'.*TILEDB_REST_HOST"
    dag = DAG()
    node = getattr(dag, method)(*args)
    fine = dag.submit_local(double, 1)

    dag.compute()

    with pytest.raises(ServerNeeded, match=both):
        node.result(20)
    assert fine.result(20) == 2
    with pytest.raises(ServerNeeded, match=both):
        list_logs(search="x")
    with pytest.raises(ServerNeeded, match=both):
        dag.wait(20)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("submit_udf", (double, 1)),
        ("submit_udf", ("ns/registered", 1)),
        ("submit_sql", ("select 1",)),
        ("submit_array_udf", ("tiledb://ns/array", double)),
    ],
)
def test_a_server_node_can_be_made_before_its_server_runs(
    method: str, args: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building a graph makes no call; the server is looked for when the node runs."""
    monkeypatch.setenv("TILEDAG_SERVER", "embedded")
    dag = DAG()

    node = getattr(dag, method)(*args)

    assert (node.mode, node.status, node.task_id()) == (Mode.REALTIME, Status.NOT_STARTED, None)
    assert list(dag.nodes.values()) == [node]


def test_a_graph_without_a_log_has_no_record() -> None:
    """A person would get the record of something else."""
    with pytest.raises(TypeError, match="DAG, a log or an id"):
        server_logs(3)
    assert server_logs(DAG()) is None


@pytest.mark.parametrize("what", ["nonsense", "", "11111111-1111-4111-8111-1111", "../../v1/user", "x" * 5000])
def test_half_an_id_is_told_without_asking_a_server(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has copied half of an id would wait for a server to start, to hear that there is nothing."""
    monkeypatch.setenv("TILEDB_REST_HOST", "http://127.0.0.1:9")

    with pytest.raises(ValueError, match="takes a DAG, a log or an id.*list_logs.*is no id") as caught:
        server_logs(what)

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"executor": "fibers"}, ValueError, r"executor='fibers' is unknown. Use one of 'threads', 'processes', 'inli"),
        ({"executor": 3}, TypeError, "concurrent.futures.Executor or one of 'threads'"),
        ({"executor": "threads", "use_processes": True}, ValueError, "not both"),
        ({"max_workers": 0}, ValueError, "at least 1, got 0"),
        ({"max_workers": 2.5}, TypeError, "whole number, got 2.5"),
        ({"max_workers": True}, TypeError, "whole number"),
        ({"mode": "local"}, TypeError, "must be a Mode such as Mode.LOCAL"),
    ],
)
def test_options_of_a_wrong_kind_are_refused_with_what_was_expected(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A typing error would come out later, far away."""
    with pytest.raises(error, match=words):
        DAG(**options)


def test_the_constructor_ignores_callbacks_that_are_not_callable() -> None:
    """As the reference does: ``done_callback=False`` is no error."""
    dag = DAG(done_callback=False, update_callback="no")  # type: ignore[arg-type]

    with dag:
        dag.submit_local(double, 1)


@pytest.mark.parametrize("method", ["add_done_callback", "add_update_callback"])
def test_callbacks_added_later_must_be_callable(method: str) -> None:
    """The error would come when the graph ends, into a log."""
    with pytest.raises(TypeError, match=f"func to {method} must be callable"):
        getattr(DAG(), method)("no")


# --- running --------------------------------------------------------------------------------------------------


def test_an_empty_graph_completes_at_once() -> None:
    """A loop that found nothing to do would fail; the reference calls it circular and divides by zero."""
    dag = DAG()
    before = dag.stats()

    dag.compute()
    dag.wait(5)

    assert dag.done()
    assert dag.status is Status.COMPLETED
    assert before["percent_complete"] == 0
    assert dag.stats() == {
        "percent_complete": 100.0,
        "running": 0,
        "failed": 0,
        "completed": 0,
        "cancelled": 0,
        "not_started": 0,
        "total_count": 0,
    }
    assert dag.end_results() == {}


def test_a_second_compute_changes_nothing() -> None:
    """Functions would run twice."""
    calls: list[int] = []
    dag = DAG()
    dag.submit_local(calls.append, 1)

    dag.compute()
    dag.compute()
    dag.wait()
    dag.compute()
    dag.wait()

    assert calls == [1]


def test_eight_threads_can_start_and_wait_at_once() -> None:
    """A service that shares a graph would hang or run nodes twice."""
    calls: list[int] = []
    dag = DAG()
    for number in range(20):
        dag.submit_local(calls.append, number)
    start = threading.Barrier(8)

    def use() -> None:
        start.wait()
        dag.compute()
        dag.wait(20)
        dag.wait(20)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(calls) == list(range(20))
    assert dag.status is Status.COMPLETED


def test_statuses_counts_and_collections_agree_at_every_moment() -> None:
    """A progress bar would jump, or never reach its end."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        good = dag.submit_local(double, 1, name="good")
        bad = dag.submit_local(boom, name="bad")
        below = dag.submit_local(double, bad, name="below")
        later = dag.submit_local(double, good, name="later")
        first = dag.status, list(dag.not_started_nodes)

        dag.compute()
        executor.run("bad")
        bad.wait()

        assert first == (Status.NOT_STARTED, [good.id, bad.id, below.id, later.id])
        assert (dag.status, dag.done()) == (Status.FAILED, False)  # while other branches go on
        assert list(dag.failed_nodes) == [bad.id]
        assert list(dag.not_started_nodes) == [good.id, below.id, later.id]  # blocked ones count as not started
        assert below.status is Status.PARENT_FAILED

        executor.run("good")
        executor.run("later")
        with pytest.raises(ValueError, match="boom"):
            dag.wait()

    assert list(dag.completed_nodes) == [good.id, later.id]
    assert dag.stats() == {
        "percent_complete": 50.0,
        "running": 0,
        "failed": 1,
        "completed": 2,
        "cancelled": 0,
        "not_started": 1,
        "total_count": 4,
    }
    assert dag.running_nodes == dag.cancelled_nodes == {}


def test_a_running_node_stands_among_the_running_ones() -> None:
    """A view would show it as waiting."""
    gate = Gate()
    dag = DAG()
    node = dag.submit_local(gate.pass_through)
    dag.compute()
    gate.wait_until_inside()

    seen = dag.status, list(dag.running_nodes), dag.stats()["running"], dag in running(), node.running()
    gate.open()
    dag.wait()

    after = node.running(), [graph for graph in running() if graph is dag]
    assert (seen, after) == ((Status.RUNNING, [node.id], 1, True, True), (False, []))


def test_failed_nodes_come_in_the_order_in_which_they_failed_and_wait_raises_the_first() -> None:
    """The error shown would not be the one that came first."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        one = dag.submit_local(boom, "one", name="one")
        two = dag.submit_local(boom, "two", name="two")
        dag.compute()
        executor.wait_for("one", "two")

        executor.run("two")
        two.wait()
        executor.run("one")

        with pytest.raises(ValueError, match="two"):
            dag.wait()
    assert list(dag.failed_nodes) == [two.id, one.id]


# --- waiting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", ["3", [], 2j, float("nan")])
def test_a_timeout_must_be_a_number(timeout: Any) -> None:
    """The error would come from deep inside."""
    dag = DAG()
    node = dag.submit_local(double, 1)

    with pytest.raises(TypeError, match="timeout must be numeric"):
        dag.wait(timeout)
    with pytest.raises(TypeError, match="timeout must be numeric"):
        node.result(timeout)


@pytest.mark.parametrize("timeout", [float("inf"), 1e300, 60, Fraction(60), True])
def test_any_number_of_seconds_is_a_timeout(timeout: Any) -> None:
    """``wait(float("inf"))`` raises OverflowError in the reference."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(double, 1, name="one")
        waiting = threading.Thread(target=lambda: node.wait(timeout))
        dag.compute()
        waiting.start()

        executor.run("one")
        dag.wait(timeout)
        waiting.join()

    assert node.result(timeout) == 2


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_over_time_is_a_timeout_error_and_the_graph_goes_on(timeout: float) -> None:
    """A wait that gives up would take the graph with it."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(double, 1, name="one")
        dag.compute()

        with pytest.raises(TimeoutError, match=f"timed out after {timeout} sec"):
            dag.wait(timeout)
        with pytest.raises(TimeoutError, match="timed out"):
            node.result(timeout)

        executor.run("one")
        dag.wait()
    assert node.result() == 2


def test_without_compute_wait_waits_until_somebody_computes() -> None:
    """A thread that waits before another one starts the graph would be turned away."""
    dag = DAG()
    node = dag.submit_local(double, 1)
    with pytest.raises(TimeoutError):
        dag.wait(0)
    waiting = threading.Thread(target=dag.wait)
    waiting.start()

    dag.compute()
    waiting.join()

    assert node.result(0) == 2


def test_wait_returns_each_time_or_raises_the_same_error_each_time() -> None:
    """The second look at a failed graph would show something else, or a longer and longer traceback."""
    dag = DAG()
    node = dag.submit_local(boom)
    dag.compute()

    depths = []
    for ask in (dag.wait, node.result, dag.wait, node.result):
        with pytest.raises(ValueError, match="boom") as caught:
            ask()
        depths.append(len(caught.traceback))
        assert caught.value is node.error

    assert max(depths) - min(depths) <= 1


def test_a_retry_between_the_end_and_the_return_of_wait_keeps_it_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """`wait()` would return None, as if all were well, while the graph runs again.

    1. the graph ends Failed; 2. `wait` sees the end; 3. another thread retries; 4. `wait` asks what failed: nothing.
    """
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(boom, name="one")
        wait_until_ended = dag._driver.wait_until_ended
        retried = threading.Event()

        def ended_then_retried(timeout: float | None = None) -> bool:
            over = wait_until_ended(timeout)
            if not retried.is_set():
                retried.set()
                node.retry()
            return over

        monkeypatch.setattr(dag._driver, "wait_until_ended", ended_then_retried)
        dag.compute()
        executor.run("one")

        def finish_again() -> None:
            retried.wait(10)
            executor.run("one")

        finisher = threading.Thread(target=finish_again)
        finisher.start()

        with pytest.raises(ValueError, match="boom"):
            dag.wait()
        finisher.join()

    assert executor.order == ["one", "one"]


# --- failure, cancel, retry -----------------------------------------------------------------------------------


def test_what_waits_for_a_failed_node_names_the_first_that_failed() -> None:
    """A person would look for the error in the wrong node."""
    dag = DAG()
    bad = dag.submit_local(boom, name="bad")
    middle = dag.submit_local(double, bad)
    last = dag.submit_local(double, middle)
    dag.compute()
    with pytest.raises(ValueError, match="boom"):
        dag.wait()

    error = last.error

    assert isinstance(error, ParentFailedError)
    assert isinstance(error, CancelledError)
    assert error.node is bad
    assert error.cause is bad.error
    assert str(error) == f"node {bad!r} failed: boom"
    with pytest.raises(ParentFailedError):
        last.result()
    with pytest.raises(ParentFailedError):
        last.exception()
    assert isinstance(bad.exception(), ValueError)


def test_a_child_is_blocked_by_its_first_bad_parent_while_others_still_run() -> None:
    """A graph would wait for work that can help nobody before it says what is wrong."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        slow = dag.submit_local(double, 1, name="slow")
        bad = dag.submit_local(boom, name="bad")
        worse = dag.submit_local(boom, "worse", name="worse")
        child = dag.submit_local(lambda *values: None, slow, worse, bad, name="child")
        dag.compute()

        executor.run("bad")
        child.wait(5)
        executor.run("worse")
        executor.run("slow")
        with pytest.raises(ValueError, match="boom"):
            dag.wait()

    assert isinstance(child.error, ParentFailedError)
    assert child.error.node is bad


def test_cancelling_a_graph_stops_what_has_not_started_and_lets_the_rest_finish() -> None:
    """Half of the work would go on, or work under way would be lost."""
    gate = Gate()
    dag = DAG(max_workers=1)
    started: list[str] = []
    first = dag.submit_local(gate.pass_through)
    queued = dag.submit_local(started.append, "queued")
    child = dag.submit_local(lambda _: started.append("child"), first)
    below = dag.submit_local(lambda _: started.append("below"), child)
    dag.compute()
    gate.wait_until_inside()

    dag.cancel()
    at_once = dag.status, dag.done(), first.status
    gate.open()
    dag.wait()

    assert at_once == (Status.CANCELLED, False, Status.RUNNING)
    assert (first.result(), queued.status, child.status, below.status) == (
        "passed",
        Status.CANCELLED,
        Status.CANCELLED,
        Status.PARENT_FAILED,
    )
    assert dag.status is Status.CANCELLED
    assert started == []
    with pytest.raises(CancelledError):
        queued.result()


def test_a_graph_cancelled_before_it_starts_is_over() -> None:
    """It would hang in `wait`."""
    dag = DAG()
    node = dag.submit_local(double, 1)
    child = dag.submit_local(double, node)

    dag.cancel()
    dag.compute()
    dag.wait(5)

    assert dag.done()
    assert [each.status for each in (node, child)] == [Status.CANCELLED, Status.PARENT_FAILED]


def test_cancelling_a_graph_that_ended_changes_nothing() -> None:
    """Its status would say Cancelled though all was done."""
    dag = DAG()
    dag.submit_local(double, 1)
    with dag:
        pass

    dag.cancel()

    assert dag.status is Status.COMPLETED


def test_cancelling_one_node_makes_the_graph_cancelled_and_wait_returns() -> None:
    """In the reference the graph is Failed and `wait` raises StopIteration."""
    dag = DAG()
    kept = dag.submit_local(double, 2)
    dropped = dag.submit_local(double, 3)

    assert dropped.cancel()
    assert not dropped.cancel()
    dag.compute()
    dag.wait()

    assert dag.status is Status.CANCELLED
    assert kept.result() == 4


def test_failed_comes_before_cancelled_in_what_a_graph_ended_as() -> None:
    """A failure would be hidden by a cancel."""
    dag = DAG()
    dag.submit_local(boom)
    dag.submit_local(double, 1).cancel()

    dag.compute()

    with pytest.raises(ValueError, match="boom"):
        dag.wait()
    assert dag.status is Status.FAILED


def test_retry_all_runs_what_failed_and_what_was_cancelled_and_then_what_they_blocked() -> None:
    """A person would have to find and retry each node by hand."""
    fixed = threading.Event()
    dag = DAG()
    bad = dag.submit_local(lambda: 5 if fixed.is_set() else boom())
    below = dag.submit_local(double, bad)
    dropped = dag.submit_local(double, 3)
    dropped.cancel()
    dag.compute()
    with pytest.raises(ValueError, match="boom"):
        dag.wait()

    fixed.set()
    dag.retry_all()
    dag.wait()

    assert (below.result(), dropped.result(), dag.status) == (10, 6, Status.COMPLETED)
    assert dag.failed_nodes == dag.cancelled_nodes == {}


def test_retry_all_of_a_cancelled_graph_runs_it() -> None:
    """A cancel by mistake could not be taken back."""
    dag = DAG()
    node = dag.submit_local(double, 1)
    child = dag.submit_local(double, node)
    dag.cancel()

    dag.retry_all()
    assert dag.status is Status.NOT_STARTED
    dag.compute()
    dag.wait()

    assert child.result() == 4


def test_retry_all_with_nothing_to_retry_changes_nothing() -> None:
    """A graph that is fine would run again."""
    calls: list[int] = []
    dag = DAG()
    dag.submit_local(calls.append, 1)
    with dag:
        pass

    dag.retry_all()

    assert dag.done()
    assert calls == [1]


def test_a_retry_before_the_end_keeps_wait_waiting() -> None:
    """A node fixed while a slow sibling runs would not be waited for."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        outcomes = iter([ValueError("first"), 7])

        def flaky() -> Any:
            outcome = next(outcomes)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        node = dag.submit_local(flaky, name="flaky")
        dag.submit_local(double, 1, name="slow")
        dag.compute()
        executor.run("flaky")
        node.wait()
        assert node.retry()
        executor.run("slow")
        with pytest.raises(TimeoutError):
            dag.wait(0)
        executor.run("flaky")
        dag.wait()

    assert (node.result(), dag.status) == (7, Status.COMPLETED)


# --- results --------------------------------------------------------------------------------------------------


def test_end_nodes_are_those_that_nobody_waits_for_and_their_results_come_by_id_and_by_name() -> None:
    """The result of a graph could not be had at once."""
    dag = DAG()
    root = dag.submit_local(double, 1, name="root")
    left = dag.submit_local(double, root, name="left")
    right = dag.submit_local(double, 5, name="right")

    dag.compute()

    assert dag.end_nodes() == dag.find_end_nodes() == [left, right]
    assert dag.end_results() == {left.id: 4, right.id: 10}
    assert dag.end_results_by_name() == {"left": 4, "right": 10}


def test_end_results_raise_what_a_node_raised() -> None:
    """A missing result would look like a result."""
    dag = DAG()
    dag.submit_local(boom)
    dag.compute()

    with pytest.raises(ValueError, match="boom"):
        dag.end_results()


def test_the_value_of_a_node_of_another_graph_is_taken_when_it_is_passed() -> None:
    """A retry over there would change, or take away, an argument here."""
    values = iter(["first", "second"])
    there = DAG()
    source = there.submit_local(lambda: next(values))
    with there:
        pass
    here = DAG()
    node = here.submit_local(lambda value, inside: (value, inside), source, [source])

    source.retry(descendants=True)
    there.wait()
    with here:
        pass

    assert source.result() == "second"
    assert node.result() == ("first", ["first"])
    assert node.parents == {}


@pytest.mark.parametrize("end", ["not started", "failed", "cancelled"])
def test_a_node_of_another_graph_must_be_complete(end: str) -> None:
    """The graph would wait for ever for one that it does not run."""
    there = DAG()
    source = there.submit_local(boom)
    if end == "failed":
        there.compute()
        source.wait()
    elif end == "cancelled":
        source.cancel()
    here = DAG()

    with pytest.raises(ValueError, match="already complete"):
        here.submit_local(double, source)

    assert not here.nodes


# --- identity, pictures, the rest -----------------------------------------------------------------------------


def test_graphs_are_equal_and_hashed_by_id() -> None:
    """They could not be keys, or two would be taken for one."""
    one, two = DAG(name="n"), DAG(name="n")

    assert one == one
    assert one != two
    assert one != one.id
    assert {one: 1, two: 2}[one] == 1


def test_a_graph_does_not_travel_to_another_process() -> None:
    """A copy would wait for nodes that nobody runs there."""
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        pickle.dumps(DAG())


def test_the_networkx_graph_has_ids_names_and_edges() -> None:
    """Analyses of the structure would miss edges."""
    dag = DAG()
    one = dag.submit_local(double, 1, name="one")
    two = dag.submit_local(double, one, name="two")

    picture = dag.networkx_graph()

    labels = [(node, facts["label"]) for node, facts in picture.nodes(data=True)]
    assert labels == [(str(one.id), "one"), (str(two.id), "two")]
    assert list(picture.edges) == [(str(one.id), str(two.id))]


def test_node_details_are_names_and_words_by_id() -> None:
    """What others draw from it would be wrong."""
    dag = DAG()
    good, bad = dag.submit_local(double, 1, name="good"), dag.submit_local(boom, name="bad")
    below = dag.submit_local(double, bad, name="below")
    dag.compute()
    with pytest.raises(ValueError, match="boom"):
        dag.wait()

    assert dag.get_tiledb_plot_node_details() == {
        str(good.id): {"name": "good", "status": "Completed"},
        str(bad.id): {"name": "bad", "status": "Failed"},
        str(below.id): {"name": "below", "status": "Parent Failed"},
    }


def test_report_node_complete_is_kept_and_knows_whose_node_it_is() -> None:
    """Old code calls it; nodes report by themselves."""
    dag = DAG()
    node = dag.submit_local(double, 1)

    dag.report_node_complete(node)

    with pytest.raises(ValueError, match="not part of"):
        DAG().report_node_complete(node)


def test_initial_setup_of_a_local_graph_gives_no_log() -> None:
    """It would call a server that is not there."""
    dag = DAG()

    assert dag.initial_setup() is None
    assert dag.initial_setup() is dag.server_graph_uuid is None


def test_options_for_batch_graphs_are_ignored_elsewhere_with_one_warning() -> None:
    """A person would believe in retries that never come."""
    dag = DAG(deadline=60)
    dag.submit_local(double, 1)

    with pytest.warns(UserWarning, match="deadline: used by BATCH graphs only"):
        dag.compute()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dag.compute()
    dag.wait()


def test_a_with_block_computes_and_waits() -> None:
    """The shortest way to run a graph would need three lines."""
    with DAG() as dag:
        node = dag.submit_local(double, 1)

    assert node.result(0) == 2


def test_an_exception_in_a_with_block_cancels_the_graph_and_goes_on() -> None:
    """A graph half built would run, or the error be lost."""
    with pytest.raises(KeyError):
        with DAG() as dag:
            node = dag.submit_local(double, 1)
            raise KeyError("half built")

    assert (dag.status, node.status) == (Status.CANCELLED, Status.CANCELLED)


def test_stop_in_threads_is_cancel_and_says_so() -> None:
    """A person would believe that a function ended which goes on."""
    gate = Gate()
    dag = DAG()
    dag.submit_local(gate.pass_through)
    dag.compute()
    gate.wait_until_inside()

    stopped = dag.stop()
    gate.open()
    dag.wait()

    assert stopped is False
    assert dag.status is Status.CANCELLED


def test_a_finished_graph_holds_no_thread_and_can_go() -> None:
    """A session that makes many graphs would fill up."""
    import gc
    import weakref

    dag = DAG()
    for number in range(10):
        dag.submit_local(double, number)
    with dag:
        pass
    deadline = time.monotonic() + 2
    while dag._driver.statistics()["lanes"] and time.monotonic() < deadline:
        time.sleep(0.001)

    statistics = dag._driver.statistics()
    seen = weakref.ref(dag)
    del dag
    gc.collect()

    assert (statistics["lanes"], statistics["ready"], statistics["outbox"]) == (0, 0, 0)
    assert seen() is None


def test_names_that_are_not_text_are_made_text() -> None:
    """`name=month` is easily written with a number; every view would fail on it."""
    dag = DAG(name=7)  # type: ignore[arg-type]
    node = dag.submit_local(double, 2, name=5)

    assert (dag.name, node.name, dag.nodes_by_name["5"]) == ("7", "5", node)
    assert "5" in dag._repr_mimebundle_()["text/html"]


def test_a_retry_starts_a_graph_that_was_cancelled_before_compute() -> None:
    """compute() was asked; wait() after the retry would hang for ever."""
    dag = DAG()
    node = dag.submit_local(double, 2)
    dag.cancel()
    dag.compute()

    assert node.retry()
    dag.wait(20)

    assert (node.result(), dag.status) == (4, Status.COMPLETED)


def test_a_node_in_a_closure_is_named_with_a_way_out() -> None:
    """The message would list the insides of the package."""
    dag = DAG(use_processes=True)
    first = dag.submit_local(double, 2, name="first")
    second = dag.submit_local(lambda: first.result(), name="second")
    dag.compute()

    way_out = r"'second': .*'first'.* Pass nodes in lists, tuples or values of dicts"
    with pytest.raises(TypeError, match=way_out) as caught:
        second.result(20)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("done", "total", "kind"),
    [(1, 0, ValueError), (-1, 2, ValueError), (3, 2, ValueError), (float("nan"), 1, ValueError), ("1", 2, TypeError)],
)
def test_progress_refuses_what_is_none(done: Any, total: Any, kind: type[Exception]) -> None:
    """A bar would be drawn that means nothing."""
    with pytest.raises(kind, match="progress"):
        progress(done, total)
