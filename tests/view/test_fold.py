"""Which nodes are drawn together."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.view.graphs import NodeRow, chain, fan, layered, rows, structure
from tiledag_widget.core.snapshot import Structure
from tiledag_widget.view.crowded import MARK_LIMIT
from tiledag_widget.view.fold import Folding, coarser, fold
from tiledag_widget.view.layout import arrange
from tiledag_widget.view.ranks import BREATH_S, Breathe, breathe_now

T = TypeVar("T")


def no_breath() -> None:
    """Tests need none."""


def check(folding: Folding, graph: Structure) -> None:
    """What is true of every folding."""
    assert len(folding.node_mark) == len(graph)
    assert len(folding) <= MARK_LIMIT
    assert sum(folding.size) == len(graph)
    members = folding.members()
    for mark, own in enumerate(members):
        assert len(own) == folding.size[mark] > 0
        assert own[0] == folding.first[mark]
        assert (folding.kind[mark] == "card") <= (len(own) == 1)
    edges: dict[tuple[int, int], int] = {}
    for node in range(len(graph)):
        for parent in graph.parents_of(node):
            pair = (folding.node_mark[parent], folding.node_mark[node])
            if pair[0] != pair[1]:
                edges[pair] = edges.get(pair, 0) + 1
    assert dict(zip(zip(folding.source, folding.target, strict=True), folding.count, strict=True)) == edges


def is_acyclic(folding: Folding) -> bool:
    sorter: TopologicalSorter[int] = TopologicalSorter()
    for parent, child in zip(folding.source, folding.target, strict=True):
        sorter.add(child, parent)
    try:
        sorter.prepare()
    except CycleError:
        return False
    return True


def shown(folding: Folding) -> list[tuple[str, str, int]]:
    return list(zip(folding.kind, folding.name, folding.size, strict=True))


@given(rows())
@settings(deadline=None, max_examples=150)
def test_every_node_is_in_exactly_one_mark_and_no_cycle_comes_in(made: list[NodeRow]) -> None:
    """A node in no mark is lost; a cycle among marks cannot be drawn in the direction of the flow."""
    graph = structure(made)

    folding = fold(graph, breathe=no_breath)

    check(folding, graph)
    assert is_acyclic(folding)
    assert fold(graph, breathe=no_breath) == folding


@given(rows(120), st.integers(1, 100))
@settings(deadline=None, max_examples=60)
def test_a_coarser_folding_keeps_all_nodes_and_its_limit(made: list[NodeRow], limit: int) -> None:
    """A static form with little room must not lose nodes."""
    graph = structure(made)
    folding = fold(graph, breathe=no_breath)

    less = coarser(folding, arrange(folding, breathe=no_breath).rank, limit)

    check(less, graph)
    assert len(less) <= max(limit, 1)
    assert is_acyclic(less)


@pytest.mark.parametrize(("width", "marks"), [(7, 9), (8, 3), (1000, 3)])
def test_a_fan_out_folds_from_eight_members(width: int, marks: int) -> None:
    """A few nodes are seen one by one, many as a stack."""
    folding = fold(structure(fan(width)))

    assert len(folding) == marks
    if marks == 3:
        assert shown(folding) == [("card", "list", 1), ("stack", "resize", width), ("card", "merge", 1)]
        assert folding.count == [width, width]
        assert folding.folded == f"Grouped: {width:,} of {width + 2:,} nodes in 1 group"
    else:
        assert folding.folded == ""


def test_a_stage_folds_from_two_members() -> None:
    """A stage was named by somebody: it is one thing to them."""
    made = fan(3)

    assert shown(fold(structure(made, stages=["resize"])))[1] == ("stack", "resize", 3)
    assert len(fold(structure(made))) == 5


def test_stacks_after_stacks_stay_apart() -> None:
    """map, map, map: three steps of work are three marks."""
    made: list[NodeRow] = [("list", "list", ())]
    for step in range(3):
        made += [(f"m-{n}", "work", (0,) if not step else (1 + (step - 1) * 40 + n,)) for n in range(40)]

    folding = fold(structure(made))

    assert [size for _, _, size in shown(folding)] == [1, 40, 40, 40]


def test_a_stack_is_split_by_what_is_above_only_if_every_part_is_worth_a_stack() -> None:
    """Two fan-outs of one function from two different sources are two stacks; a single odd one out is no reason."""
    sources: list[NodeRow] = [("left", "left", ()), ("right", "right", ())]

    def work(left: int, right: int) -> list[NodeRow]:
        parents = [0] * left + [1] * right
        return [*sources, *((f"w-{n}", "work", (parent,)) for n, parent in enumerate(parents))]

    assert sorted(fold(structure(work(10, 9))).size) == [1, 1, 9, 10]
    assert sorted(fold(structure(work(12, 7))).size) == [1, 1, 19]


def test_serial_runs_fold_to_a_chain() -> None:
    """Twenty thousand steps one after the other are one thing, not twenty thousand screens."""
    assert shown(fold(structure(chain(20_000)))) == [("chain", "chain", 20_000)]
    assert len(fold(structure(chain(7)))) == 7
    forked = [*chain(12), ("a", "a", (11,)), ("b", "b", (11,))]
    assert sorted(fold(structure(forked)).size) == [1, 1, 1, 11]


def test_groups_of_one_fold_by_prefix_then_to_others() -> None:
    """Thousands of functions that are used once each must not become thousands of cards."""
    alike = fold(structure([(f"load_{n}", f"g{n}", ()) for n in range(200)]))
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}word" for n in range(200)]
    different = fold(structure([(word, f"g{n}", ()) for n, word in enumerate(words)]))

    assert shown(alike) == [("stack", "load", 200)]
    assert len(different) == 60
    assert shown(different)[-1][1:] == ("others", 141) or ("stack", "others", 141) in shown(different)


def test_too_many_ranks_become_bands_and_the_ends_stay_open() -> None:
    """A thousand layers of ten different functions fit; where the flow begins and ends is still seen."""
    made: list[NodeRow] = []
    for node in range(10_000):
        above = [] if node < 10 else [node - 10, (node // 10 - 1) * 10 + (node + 1) % 10]
        made.append((f"n{node}", f"f{node % 10}", sorted(set(above))))
    graph = structure(made)

    folding = fold(graph, breathe=no_breath)

    check(folding, graph)
    assert is_acyclic(folding)
    assert "ranks 500–509" in folding.name
    kinds = [folding.kind[folding.node_mark[node]] for node in (0, 5_000, 9_999)]
    assert kinds == ["card", "band", "card"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("independent", lambda: [(f"n-{n}", "f", ()) for n in range(100_000)]),
        ("chain", lambda: chain(20_000)),
        ("layered", lambda: layered(200, 500, 10)),
        ("thousand layers", lambda: layered(1_000, 100, 10)),
        ("own functions", lambda: [(f"n-{n}", f"g{n}", (n - 1 - n % 7,) if n > 9 else ()) for n in range(100_000)]),
    ],
)
def test_large_graphs_fold_within_the_limit_and_soon(name: str, made: object) -> None:
    """100,000 nodes are drawn, not refused."""
    graph = structure(made())  # type: ignore[operator]
    begin = time.process_time()

    folding = fold(graph)

    assert time.process_time() - begin < 4.0
    check(folding, graph)


MOST_LINES = 40_000
"""Of Python between two breaths: one to two milliseconds."""


def lines_between_breaths(work: Callable[[Breathe], T]) -> tuple[int, T]:
    """The most lines of Python that run in ``work`` without a breath, whatever the machine takes for them."""
    count = most = 0

    def breathe() -> None:
        nonlocal count, most
        count, most = 0, max(count, most)

    def trace(*_: object) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        made = work(breathe)
    finally:
        sys.settrace(before)
    return max(count, most), made


def into_itself(count: int) -> list[NodeRow]:
    return [(f"n-{node}", "f", ((node + 1) % count,)) for node in range(count)]


def last_first(count: int) -> list[NodeRow]:
    return [("merge", "merge", tuple(range(1, count))), *((f"n-{node}", "f", ()) for node in range(1, count))]


def all_different(count: int) -> list[NodeRow]:
    return [("list", "list", ()), *((f"n-{node}", f"f{node}", (0,)) for node in range(1, count))]


def anywhere(count: int) -> list[NodeRow]:
    chance = random.Random(3)
    return [
        (f"n-{node}", f"f{chance.randrange(10)}", tuple({chance.randrange(node) for _ in range(3)}) if node else ())
        for node in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        pytest.param(layered(50, 200, 10), id="layers"),
        pytest.param(layered(5_000, 4, 3), id="a-narrow-flow"),
        pytest.param(layered(6, 150, 15), id="many-edges"),
        pytest.param(fan(20_000), id="a-fan"),
        pytest.param(chain(20_000), id="a-chain"),
        pytest.param(into_itself(20_000), id="a-cycle"),
        pytest.param(last_first(20_000), id="a-child-before-its-parents"),
        pytest.param(all_different(20_000), id="functions-of-one-node"),
        pytest.param(anywhere(2_000), id="edges-from-anywhere"),
    ],
)
def test_the_interpreter_is_yielded_while_folding_and_arranging(made: list[NodeRow]) -> None:
    """Where it is held for long, the threads that run nodes, and the kernel's own, stand still meanwhile."""
    graph = structure(made)

    lines, folding = lines_between_breaths(lambda breathe: fold(graph, breathe=breathe))
    assert lines < MOST_LINES
    lines, _ = lines_between_breaths(lambda breathe: arrange(folding, breathe=breathe))
    assert lines < MOST_LINES


def test_a_larger_graph_is_folded_in_more_pieces_not_in_longer_ones() -> None:
    """A hundred thousand nodes would hold up the others ten times as long as ten thousand."""
    most = {}
    for width in (2_000, 8_000):
        graph = structure([*fan(width)[:-1], *((f"n-{node}", "f", (node,)) for node in range(1, width))])
        most[width], _ = lines_between_breaths(lambda breathe, graph=graph: fold(graph, breathe=breathe))  # type: ignore[misc]

    assert most[8_000] <= 1.2 * most[2_000]


def test_a_breath_is_taken_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs as much as folding a hundred nodes: most places that offer one need not take it."""
    now = [time.perf_counter() + 1_000]
    taken: list[float] = []
    monkeypatch.setattr("tiledag_widget.view.ranks.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("tiledag_widget.view.ranks.time.sleep", taken.append)
    for _ in range(100):
        breathe_now()
        now[0] += BREATH_S / 10

    assert 9 <= len(taken) <= 11


def test_cycles_in_foreign_records_do_not_matter() -> None:
    """A record from elsewhere may hold what we would refuse: it is drawn all the same."""
    for made in ([("a", "a", (0,))], [("a", "a", (1,)), ("b", "b", (0,))], [("a", "a", (2,)), *chain(3)[1:]]):
        graph = structure(made)
        check(fold(graph), graph)
    ring = structure([(f"n{n}", f"g{n}", ((n - 1) % 500,)) for n in range(500)])
    check(fold(ring), ring)


def test_parents_with_higher_indices_are_placed_before_their_children() -> None:
    """`depends_on` may name a node that was made later."""
    folding = fold(structure([("late", "late", (1,)), ("early", "early", ())]))

    assert list(folding.node_rank) == [1, 0]


# --- growth -------------------------------------------------------------------------------------------------


@given(rows(80), st.lists(st.integers(1, 30), max_size=5))
@settings(deadline=None, max_examples=100)
def test_marks_stay_as_they_are_when_nodes_are_added(made: list[NodeRow], cuts: list[int]) -> None:
    """What somebody looks at does not change its number, kind, name or members under their eyes."""
    known = 0
    folding = None
    for cut in [*cuts, len(made)]:
        known = min(len(made), known + cut)
        graph = structure(made[:known])
        grown = fold(graph, folding, breathe=no_breath)
        check(grown, graph)
        if folding is not None:
            old = len(folding)
            assert grown.kind[:old] == folding.kind
            assert grown.name[:old] == folding.name
            assert grown.first[:old] == folding.first
            assert grown.node_mark[: len(folding.node_mark)] == folding.node_mark
        folding = grown


def test_a_new_node_joins_the_stack_of_its_key() -> None:
    """Another picture to resize is one more in the stack, not a card beside it."""
    before = fold(structure(fan(40)))

    after = fold(structure([*fan(40), ("resize-40", "resize", (0,)), ("other", "other", (0,))]), before)

    assert shown(after) == [*shown(before)[:1], ("stack", "resize", 41), *shown(before)[2:], ("card", "other", 1)]


def test_no_card_is_swallowed() -> None:
    """Seven cards stay cards when an eighth arrives; a fresh display folds them."""
    before = fold(structure(fan(7)[:-1]))
    more = structure(fan(8)[:-1])

    assert len(fold(more, before)) == 9
    assert len(fold(more)) == 2


def test_growth_stays_within_the_limit() -> None:
    """A graph that is built node by node for hours never becomes too much to draw."""
    chance = random.Random(3)
    made: list[NodeRow] = []
    folding = None
    for node in range(600):
        made.append((f"n{node}", f"g{node}", (chance.randrange(node),) if node else ()))
        if not node % 5:
            graph = structure(made)
            folding = fold(graph, folding, breathe=no_breath)
            assert len(folding) <= MARK_LIMIT
