"""`Node`: what `wire-contract.md` 5 says of a node that needs no server, and what we do otherwise on purpose."""

from __future__ import annotations

import asyncio
import collections
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from tiledag_widget import DAG, CycleError, Mode, Node, ParentFailedError, Status, TiledagError
from tiledag_widget.testing import ManualExecutor

from .helpers import Gate
from .helpers import no_idle_threads as no_idle_threads


def double(value: int) -> int:
    return 2 * value


def boom(message: str = "boom") -> None:
    raise ValueError(message)


class Point(NamedTuple):
    x: Any
    y: Any


# --- making one -----------------------------------------------------------------------------------------------


def test_a_node_without_a_name_is_named_by_its_id() -> None:
    """It could not be found in a view."""
    node = Node(double, 1)

    assert node.name == str(node.id)


def test_a_new_name_shows_but_the_look_up_keeps_the_old_one() -> None:
    """As in the reference: a renamed node must still be found by those who know the old name."""
    dag = DAG()
    node = dag.submit_local(double, 1, name="before")

    node.name = "after"

    assert node.name == "after"
    assert dag.nodes_by_name["before"] is node
    assert "after" not in dag.nodes_by_name


@pytest.mark.parametrize("function", [3, "registered", [double]])
def test_what_cannot_be_called_is_refused_when_the_node_is_made(function: Any) -> None:
    """The error would come when the graph runs, perhaps hours later."""
    with pytest.raises(TypeError, match=r"must be callable! Got"):
        Node(function)


def test_a_node_without_code_fails_when_it_runs_and_says_why() -> None:
    """It would end as 'NoneType is not callable'."""
    dag = DAG()
    node = dag.add_node_obj(Node(None, name="empty"))

    dag.compute()

    with pytest.raises(TypeError, match="node 'empty' has no function"):
        node.result()


@pytest.mark.parametrize(
    ("mode", "options", "words"),
    [
        (Mode.LOCAL, {"resource_class": "large"}, "cannot be set for locally-executed"),
        (Mode.LOCAL, {"resources": {}}, "Cannot set resources for LOCAL"),
        (Mode.REALTIME, {"resources": {}}, "Cannot set resources for REALTIME"),
        (Mode.BATCH, {"resources": {"cpu": "1"}, "resource_class": "large"}, "Only one of"),
        (Mode.BATCH, {"resources": {"memory": "1024"}}, "a unit is missing"),
        (Mode.BATCH, {"resources": {"memory": "1234567890"}}, "a unit is missing"),
        (Mode.BATCH, {"resources": {"memory": 1024}}, "a unit is missing"),
    ],
)
def test_resources_that_do_not_fit_the_mode_are_refused(mode: Mode, options: dict[str, Any], words: str) -> None:
    """A node would run with other resources than asked for."""
    with pytest.raises(ValueError, match=words):
        Node(double, 1, mode=mode, **options)


def test_resources_that_fit_are_kept_from_the_function() -> None:
    """The function would get arguments that it does not know."""
    node = Node(double, 1, mode=Mode.REALTIME, resource_class="large", other=2)

    assert (node.args, node.kwargs) == ((1,), {"other": 2})
    assert Node(double, mode=Mode.BATCH)._resource_class == "standard"


def test_a_prewrapped_function_gets_the_first_argument_too() -> None:
    """Code of the reference that wraps calls itself would pass the wrong arguments."""
    dag = DAG()
    node: Node[Any] = Node(3, 4, _internal_prewrapped_func=divmod)  # type: ignore[arg-type]
    dag.add_node_obj(node)
    with dag:
        pass

    assert node.args == (3, 4)
    assert node.result() == (0, 3)


# --- parents and children -------------------------------------------------------------------------------------


def test_parents_come_in_order_of_discovery_each_once_and_know_their_children() -> None:
    """Which parent is blamed first, and how a graph is drawn, depends on it."""
    dag = DAG()
    one, two, three, four = (dag.submit_local(double, number) for number in range(4))

    node = dag.submit_local(lambda *a, **k: None, [two, {"deep": (one,)}], two, late=four, early=three)

    assert list(node.parents.values()) == [two, one, four, three]
    assert list(one.children.values()) == [node]
    assert node.children == {}


def test_nodes_in_lists_tuples_and_values_of_dicts_are_replaced_and_nowhere_else() -> None:
    """Functions would be handed nodes instead of values, or containers of another kind."""
    dag = DAG()
    parent = dag.submit_local(double, 1)
    seen: dict[str, Any] = {}

    def look(*args: Any, **kwargs: Any) -> None:
        seen.update(kwargs, first=args[0])

    untouched = {"no": ["nodes"]}
    dag.submit_local(
        look,
        parent,
        listed=[parent, 3],
        deep=({"key": [parent]},),
        keys={parent: 1},
        together={parent},
        queue=collections.deque([parent]),
        untouched=untouched,
        point=Point(parent, 1),
        default=collections.defaultdict(list, a=parent),
    )
    with dag:
        pass

    assert seen["first"] == 2
    assert seen["listed"] == [2, 3]
    assert seen["deep"] == ({"key": [2]},)
    assert seen["keys"] == {parent: 1}
    assert seen["together"] == {parent}
    assert seen["queue"][0] is parent
    assert seen["untouched"] is untouched
    assert seen["point"] == Point(2, 1)  # the reference cannot rebuild a named tuple
    assert seen["default"]["new"] == []  # and loses the factory


def test_depends_on_waits_without_taking_the_result() -> None:
    """Side effects could not be ordered."""
    order: list[str] = []
    dag = DAG()
    first = dag.submit_local(order.append, "first")
    second = dag.submit_local(order.append, "second")

    first.depends_on(second)
    first.depends_on(second)
    with dag:
        pass

    assert order == ["second", "first"]
    assert list(first.parents) == [second.id]
    assert list(second.children) == [first.id]


def test_depends_on_gives_a_node_without_a_graph_that_of_the_other() -> None:
    """As in the reference: the node could not join otherwise."""
    dag = DAG()
    parent = dag.submit_local(double, 1)
    node = Node(double, 5)

    node.depends_on(parent)
    dag.add_node_obj(node)
    with dag:
        pass

    assert node.dag is dag
    assert node.result() == 10


def test_depends_on_a_node_of_another_graph_needs_it_to_be_complete() -> None:
    """The graph would hang, or be called circular, as in the reference."""
    here, there = DAG(), DAG()
    node = here.submit_local(double, 1)
    other = there.submit_local(double, 2)

    with pytest.raises(ValueError, match="part of another graph and not Completed"):
        node.depends_on(other)
    with there:
        pass
    node.depends_on(other)

    assert node.parents == {}


def test_depends_on_takes_nodes_that_have_joined_and_nothing_else() -> None:
    """The graph would wait for something that never runs."""
    dag = DAG()
    node = dag.submit_local(double, 1)

    with pytest.raises(ValueError, match="has not joined the graph"):
        node.depends_on(Node(double, dag=dag))
    with pytest.raises(TypeError, match="takes a Node"):
        node.depends_on(double)  # type: ignore[arg-type]


@pytest.mark.parametrize("when", ["running", "done", "cancelled"])
def test_nothing_can_be_put_before_a_node_that_has_started(when: str) -> None:
    """It has run without it."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        node = dag.submit_local(double, 1, name="one")
        other = dag.submit_local(double, 2, name="two")
        if when == "cancelled":
            node.cancel()
        else:
            dag.compute()
        if when == "done":
            executor.run("one")
            node.wait()

        with pytest.raises(RuntimeError, match="already-started node"):
            node.depends_on(other)
        dag.cancel()


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize("joined", [True, False])
def test_a_cycle_is_refused_when_the_edge_is_made_and_is_listed(length: int, joined: bool) -> None:
    """The graph would hang for ever: in the reference it does."""
    dag = DAG()
    nodes = [Node(double, 1, name=str(number)) for number in range(length)]
    if joined:
        for node in nodes:
            dag.add_node_obj(node)
    for first, second in pairwise(nodes):
        second.depends_on(first)

    with pytest.raises(CycleError) as caught:
        nodes[0].depends_on(nodes[-1])

    cycle = caught.value.cycle
    assert cycle[0] == cycle[-1]
    assert [str((int(name) + 1) % length) for name in cycle[:-1]] == list(cycle[1:])
    assert " -> ".join(cycle) in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, TiledagError)
    assert all(len(node.parents) == (index > 0) for index, node in enumerate(nodes))


# --- as a future ----------------------------------------------------------------------------------------------


def test_a_node_is_its_own_future() -> None:
    """``node.future.result()`` is how old code asks."""
    dag = DAG()
    node = dag.submit_local(double, 4)
    before = node.done(), node.running(), node.cancelled(), node.finished()
    with dag:
        pass

    assert before == (False, False, False, False)
    assert node.future is node
    assert (node.future.result(), node.exception(), node.done(), node.finished()) == (8, None, True, True)
    assert node.task_id() is None
    assert node.error is None


def test_asking_a_node_that_is_in_no_graph_says_so() -> None:
    """It would wait for ever."""
    node = Node(double, 1)

    for ask in (node.result, node.wait, node.exception):
        with pytest.raises(RuntimeError, match="has not joined a graph"):
            ask()
    assert node.retry() is False
    assert node.stop() is False


def test_wait_raises_none_of_the_errors_of_the_node() -> None:
    """Whoever waits for the end would get an error where none was asked for."""
    dag = DAG()
    node = dag.submit_local(boom)
    dag.compute()

    node.wait()

    assert isinstance(node.error, ValueError)


@pytest.mark.parametrize(
    "value",
    [
        ValueError("a value"),
        KeyboardInterrupt(),
        NotImplemented,
        None,
        StopIteration(3),
        ValueError,
    ],
    ids=repr,
)
def test_a_result_may_be_anything_an_exception_too(value: Any) -> None:
    """A returned exception would be raised, or its node be called Failed."""
    dag = DAG()
    node = dag.submit_local(lambda: value)
    child = dag.submit_local(lambda given: [given], node)
    with dag:
        pass

    assert node.result() is value
    assert child.result() == [value]
    assert node.exception() is None


def test_a_coroutine_is_a_result_like_any_other() -> None:
    """It would be awaited by nobody, or by us."""

    async def later() -> int:
        return 3

    dag = DAG()
    node = dag.submit_local(later)
    with dag:
        pass

    assert asyncio.run(node.result()) == 3


class Hostile:
    """Raises whenever anybody looks at it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __len__(self) -> int:
        raise RuntimeError("no length")


def test_values_that_raise_when_looked_at_pass_through_unharmed() -> None:
    """A data frame, whose comparison is no truth value, would fail its node."""
    dag = DAG()
    value = Hostile()
    node = dag.submit_local(lambda given, inside: given, value, [value])
    child = dag.submit_local(lambda given: given, node)
    with dag:
        pass

    assert child.result() is value


class NoHash(type):
    """A class of classes that cannot be hashed."""

    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


def test_an_argument_whose_class_has_no_hash_is_passed_on() -> None:
    """Such classes are rare and legal; the node could not be made."""
    unhashable = NoHash("Unhashable", (), {})()
    dag = DAG()
    node = dag.submit_local(lambda given, inside: given, unhashable, [unhashable])
    with dag:
        pass

    assert node.result() is unhashable


# --- cancel and retry -----------------------------------------------------------------------------------------


def test_cancel_works_until_the_function_has_started() -> None:
    """A person would believe that a running function stops."""
    gate = Gate()
    dag = DAG(max_workers=1)
    node = dag.submit_local(gate.pass_through)
    queued = dag.submit_local(double, 1)
    dag.compute()
    gate.wait_until_inside()

    answers = node.cancel(), queued.cancel(), queued.cancel()
    gate.open()
    dag.wait()

    assert answers == (False, True, False)
    assert (node.result(), node.cancel(), queued.cancelled()) == ("passed", False, True)
    for ask in (queued.result, queued.exception):
        with pytest.raises(CancelledError, match="was cancelled"):
            ask()
    assert isinstance(queued.error, CancelledError)


def test_what_waits_for_a_cancelled_node_says_which() -> None:
    """A person would look for a failure where there was a cancel."""
    dag = DAG()
    dropped = dag.submit_local(double, 1)
    child = dag.submit_local(double, dropped)
    dropped.cancel()
    dag.compute()
    dag.wait()

    error = child.error
    assert isinstance(error, ParentFailedError)
    assert error.node is dropped
    assert isinstance(error.cause, CancelledError)


@pytest.mark.parametrize("end", ["not started", "running", "completed"])
def test_only_what_ended_badly_can_be_retried(end: str) -> None:
    """A function would run twice."""
    gate = Gate()
    dag = DAG()
    node = dag.submit_local(gate.pass_through)
    if end != "not started":
        dag.compute()
        gate.wait_until_inside()
    if end == "completed":
        gate.open()
        dag.wait()

    assert node.retry() is False
    gate.open()
    dag.compute()
    dag.wait()


def test_retrying_a_node_frees_what_it_blocked_in_the_same_step() -> None:
    """In the reference children stay Parent Failed until a parent completes."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        outcomes: list[Callable[[], Any]] = [boom, lambda: 4]
        bad = dag.submit_local(lambda: outcomes.pop(0)(), name="bad")
        child = dag.submit_local(double, bad, name="child")
        last = dag.submit_local(double, child, name="last")
        dag.compute()
        executor.run("bad")
        bad.wait()

        answer = bad.retry()
        freed = [node.status for node in (bad, child, last)]
        for name in ("bad", "child", "last"):
            executor.run(name)
        dag.wait()

    assert answer is True
    assert freed == [Status.NOT_STARTED] * 3
    assert last.result() == 16


def test_retrying_a_blocked_node_is_accepted_and_changes_nothing() -> None:
    """Its parent is what has to run again; the reference says True too."""
    dag = DAG()
    bad = dag.submit_local(boom)
    child = dag.submit_local(double, bad)
    dag.compute()
    child.wait()

    assert child.retry() is True
    assert child.status is Status.PARENT_FAILED
    with pytest.raises(ValueError, match="boom"):
        dag.wait(5)


def test_the_error_is_gone_while_a_retry_runs_and_another_one_comes_after_it() -> None:
    """After a retry that succeeds the reference still raises the old error (BATCH)."""
    with ManualExecutor() as executor:
        dag = DAG(executor=executor)
        messages = ["first", "second"]
        node = dag.submit_local(lambda: boom(messages.pop(0)), name="one")
        dag.compute()
        executor.run()
        node.wait()
        first = str(node.error)
        node.retry()
        between = node.error
        executor.run()
        node.wait()

    assert (first, between, str(node.error)) == ("first", None, "second")


def test_retry_with_descendants_runs_everything_below_again() -> None:
    """After a change of code the results below would be old."""
    counter = iter(range(10))
    dag = DAG()
    source = dag.submit_local(lambda: next(counter))
    below = dag.submit_local(lambda value: value * 10, source)
    with dag:
        pass

    first = below.result()
    assert source.retry(descendants=True)
    dag.wait()

    assert (first, below.result()) == (0, 10)


def test_retry_with_descendants_is_refused_while_something_below_runs() -> None:
    """Two attempts at one node would run at once."""
    gate = Gate()
    dag = DAG()
    source = dag.submit_local(double, 1)
    dag.submit_local(gate.pass_through, source)
    dag.compute()
    gate.wait_until_inside()

    with pytest.raises(RuntimeError, match="Wait for the end of the run"):
        source.retry(descendants=True)
    gate.open()
    dag.wait()


def test_result_waits_on_when_a_retry_comes_between_the_end_and_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """`result()` and `exception()` would give None for a node that runs.

    1. the node fails; 2. `result` wakes; 3. another thread retries it; 4. `result` looks: no value and no error.
    """
    for ask in ("result", "exception"):
        with ManualExecutor() as executor:
            dag = DAG(executor=executor)
            outcomes: list[Callable[[], Any]] = [boom, lambda: 4]
            node = dag.submit_local(lambda todo=outcomes: todo.pop(0)(), name="one")
            wait = dag._driver.wait_until_done
            retried = threading.Event()

            def done_then_retried(
                index: int,
                timeout: float | None = None,
                wait: Callable[..., bool] = wait,
                node: Node[Any] = node,
                retried: threading.Event = retried,
            ) -> bool:
                over = wait(index, timeout)
                if not retried.is_set():
                    node.retry()
                    retried.set()
                return over

            monkeypatch.setattr(dag._driver, "wait_until_done", done_then_retried)
            dag.compute()

            def finish(executor: ManualExecutor = executor, retried: threading.Event = retried) -> None:
                executor.run("one")
                retried.wait(10)
                executor.run("one")

            finisher = threading.Thread(target=finish)
            finisher.start()
            got = getattr(node, ask)()
            finisher.join()

        assert got == (4 if ask == "result" else None)
        assert node.status is Status.COMPLETED


# --- identity, pictures, await --------------------------------------------------------------------------------


def test_nodes_are_equal_and_hashed_by_id_and_do_not_travel() -> None:
    """They could not be keys; and a copy in another process would never be done."""
    one, two = Node(double, 1), Node(double, 1)

    assert one == one
    assert one != two
    assert {one: "x"}[one] == "x"
    with pytest.raises(TypeError, match="replaced by their results"):
        pickle.dumps(one)


def test_the_html_of_a_node_shows_its_name_status_and_error_as_text() -> None:
    """A name could put a script into the page."""
    dag = DAG()
    node = dag.submit_local(boom, "<script>alert(1)</script>", name="<img src=x>")
    dag.compute()
    node.wait()

    html = node._repr_html_()

    assert "<script" not in html
    assert "<img" not in html
    assert "ValueError" in html
    assert repr(node) == "<Node '<img src=x>' Failed>"


def test_a_node_and_a_graph_can_be_awaited() -> None:
    """In a notebook with an event loop, waiting would block it."""

    async def main() -> tuple[Any, Any]:
        dag = DAG()
        node = dag.submit_local(double, 4)
        await dag
        other = DAG()
        failing = other.submit_local(boom)
        other.compute()
        with pytest.raises(ValueError, match="boom"):
            await failing
        return await node, dag.status

    assert asyncio.run(main()) == (8, Status.COMPLETED)


def test_a_node_that_raised_stop_iteration_can_be_awaited() -> None:
    """A future refuses that exception: the task would hang."""

    def stop() -> None:
        raise StopIteration(1)

    async def main() -> None:
        dag = DAG()
        node = dag.submit_local(stop)
        dag.compute()
        with pytest.raises(RuntimeError, match="StopIteration"):
            await node

    asyncio.run(main())


def test_giving_up_an_await_leaves_the_graph_as_it_is() -> None:
    """A timeout in a web handler would cancel the work."""
    gate = Gate()

    async def main(dag: DAG) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_wait_for(dag), 0.02)

    async def _wait_for(dag: DAG) -> None:
        await dag

    dag = DAG()
    node = dag.submit_local(gate.pass_through)
    asyncio.run(main(dag))
    gate.open()
    dag.wait()

    assert node.result() == "passed"
