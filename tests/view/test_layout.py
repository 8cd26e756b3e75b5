"""Where marks stand. The vectors in ``tests/layouts`` are read by the page's tests too."""

from __future__ import annotations

import contextlib
import json
import time
from itertools import combinations, pairwise
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.layout import Edges, layered, layered_with_skips, of_dot, segments, skipping, tree_with_skips
from benchmarks.layout import crossings as straight_crossings
from tests.view.fake_source import FakeSource
from tests.view.graphs import NodeRow, diamond, fan, rows, structure
from tests.view.graphs import layered as layered_rows
from tiledag_widget.core.states import AddEdge, AddNode
from tiledag_widget.errors import IllegalTransition
from tiledag_widget.view.fold import fold
from tiledag_widget.view.layout import Layout, arrange, place, to_message
from tiledag_widget.view.opening import Openings

VECTORS = sorted((Path(__file__).parent.parent / "layouts").glob("*.json"))


def no_breath() -> None:
    """Tests need none."""


def check(layout: Layout, source: list[int], target: list[int]) -> None:
    """What is true of every layout."""
    columns: dict[int, list[tuple[float, int]]] = {}
    for mark, (rank, slot) in enumerate(zip(layout.rank, layout.slot, strict=True)):
        assert rank >= 0
        columns.setdefault(rank, []).append((slot, mark))
    for column in columns.values():
        column.sort()
        slots = [slot for slot, _ in column]
        assert all(after - before >= 1 for before, after in pairwise(slots))
        assert [layout.order[mark] for _, mark in column] == list(range(len(column)))
    assert len(layout.bends) == len(source) == len(target)


def crossings(layout: Layout) -> int:
    """Of straight lines between neighbouring ranks."""
    lines = [(layout.rank[a], layout.order[a], layout.order[b]) for a, b in layout.ends]
    return sum(r == s and (a - c) * (b - d) < 0 for (r, a, b), (s, c, d) in combinations(lines, 2))


@given(rows(80))
@settings(deadline=None, max_examples=100)
def test_edges_go_forward_and_marks_never_overlap(made: list[NodeRow]) -> None:
    """A card on another card, or an edge against the flow, cannot be read."""
    folding = fold(structure(made), breathe=no_breath)

    layout = arrange(folding, breathe=no_breath)

    check(layout, folding.source, folding.target)
    for (parent, child), bends in zip(layout.ends, layout.bends, strict=True):
        assert layout.rank[parent] < layout.rank[child]
        assert len(bends) == layout.rank[child] - layout.rank[parent] - 1
    assert arrange(folding, breathe=no_breath) == layout


@given(rows(50))
@settings(deadline=None, max_examples=60)
def test_bends_keep_clear_of_cards(made: list[NodeRow]) -> None:
    """An edge that runs through a card looks like an edge of that card."""
    folding = fold(structure(made), breathe=no_breath)
    layout = arrange(folding, breathe=no_breath)
    cards = set(zip(layout.rank, layout.slot, strict=True))

    for (parent, _), bends in zip(layout.ends, layout.bends, strict=True):
        for rank, bend in enumerate(bends, layout.rank[parent] + 1):
            assert all(abs(bend - slot) >= 0.625 for other, slot in cards if other == rank)


@given(st.integers(1, 12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=40, unique=True))
@settings(deadline=None, max_examples=100)
def test_cycles_do_not_stop_the_layout(count: int, pairs: list[tuple[int, int]]) -> None:
    """A foreign record with a cycle is drawn, its last edge as a loop."""
    ends = [(a % count, b % count) for a, b in pairs if a % count != b % count]
    source, target = [a for a, _ in ends], [b for _, b in ends]

    check(place(count, source, target, no_breath), source, target)


def test_shapes_look_as_one_would_draw_them() -> None:
    """Diamond: symmetric. Fan: root in the middle, members in index order. Two chains: one below the other."""
    square = arrange(fold(structure(diamond())))
    spread = arrange(fold(structure(fan(7))))
    chains = place(4, [0, 2], [1, 3])

    assert square.rank == [0, 1, 1, 2]
    assert square.slot[0] == square.slot[3] == (square.slot[1] + square.slot[2]) / 2
    assert square.slot[1] < square.slot[2]
    assert spread.order[1:8] == list(range(7))
    assert spread.slot[0] == spread.slot[4] == spread.slot[8]
    assert chains.slot[0] == chains.slot[1] < chains.slot[2] == chains.slot[3]


def test_a_mark_sits_right_of_its_last_parent_and_a_late_root_next_to_its_child() -> None:
    """What runs next is next; a table joined at the end does not trail an edge past everything."""
    layout = place(6, [0, 1, 0, 2, 4], [1, 2, 2, 3, 3])

    assert layout.rank == [0, 1, 2, 3, 2, 0]


def test_nothing_and_one_mark_can_be_arranged() -> None:
    """The reference fails on both."""
    assert place(0, [], []).rank == []
    assert place(1, [], []).slot == [0.0]


def test_components_never_cross() -> None:
    """Two graphs in one are drawn as two."""
    source, target = [0, 0, 2, 1, 1, 3], [4, 5, 6, 7, 8, 9]

    layout = place(10, source, target)

    assert crossings(layout) == 0


@pytest.mark.slow
def test_three_hundred_marks_take_a_tenth_of_a_second() -> None:
    """More would be felt at every node that is added. (Twice the time is allowed: the machine has other work.)"""
    edges = sorted({(n - 10 - n % 3, n) for n in range(15, 300)} | {(n - 10, n) for n in range(10, 300)})
    source, target = [a for a, _ in edges], [b for _, b in edges]
    begin = time.process_time()

    place(300, source, target)

    assert time.process_time() - begin < 0.2


def test_the_interpreter_is_yielded_while_arranging() -> None:
    """Layout must not hold up the threads that run nodes."""
    breaths = []

    arrange(fold(structure(layered_rows(20, 10, 300))), breathe=lambda: breaths.append(1))

    assert len(breaths) > 20


# --- growth -------------------------------------------------------------------------------------------------


@given(rows(60), st.lists(st.integers(1, 20), max_size=5))
@settings(deadline=None, max_examples=80)
def test_places_stay_when_nodes_are_added(made: list[NodeRow], cuts: list[int]) -> None:
    """A picture that jumps when a node is added cannot be followed."""
    known, folding, layout = 0, None, None
    for cut in [*cuts, len(made)]:
        known = min(len(made), known + cut)
        grown = fold(structure(made[:known]), folding, breathe=no_breath)
        placed = arrange(grown, layout, breathe=no_breath)
        check(placed, grown.source, grown.target)
        if layout is not None:
            old = len(layout.rank)
            assert placed.rank[:old] == layout.rank
            assert placed.slot[:old] == layout.slot
            kept = dict(zip(layout.ends, layout.bends, strict=True))
            now = dict(zip(placed.ends, placed.bends, strict=True))
            assert all(now[end] == bends for end, bends in kept.items())
        folding, layout = grown, placed


def test_a_new_mark_takes_the_free_slot_nearest_to_its_parents() -> None:
    """A child appears beside its siblings, right of its parent."""
    before = fold(structure(diamond()))
    places = arrange(before)
    after = fold(structure([*diamond(), ("e", "e", (0,)), ("f", "f", ())]), before)

    grown = arrange(after, places)

    assert grown.rank[4:] == [1, 0]
    assert grown.slot[4] in (places.slot[1] - 1, places.slot[2] + 1, places.slot[0])
    assert grown.slot[5] == places.slot[0] + 1


@given(rows(60), st.lists(st.integers(1, 20), max_size=4))
@settings(deadline=None, max_examples=40)
def test_tidy_gives_the_picture_of_a_fresh_display(made: list[NodeRow], cuts: list[int]) -> None:
    """Before it, nodes and edges are the same and places need not be; after it, all is as if nothing had grown."""
    known, folding, layout = 0, None, None
    for cut in [*cuts, len(made)]:
        known = min(len(made), known + cut)
        folding = fold(structure(made[:known]), folding, breathe=no_breath)
        layout = arrange(folding, layout, breathe=no_breath)
    graph = structure(made)
    assert folding is not None
    assert sum(folding.size) == len(graph)

    fresh = fold(graph, breathe=no_breath)

    assert arrange(fresh, breathe=no_breath) == arrange(fold(graph, breathe=no_breath), breathe=no_breath)
    assert sum(fresh.size) == sum(folding.size)


@given(rows(40), st.integers(1, 12))
@settings(deadline=None, max_examples=100)
def test_each_added_node_joins_its_stack_or_takes_the_free_slot_nearest_to_its_parents(
    made: list[NodeRow], begin: int
) -> None:
    """Where the next node appears can be foretold, so the eye is there already."""
    folding = fold(structure(made[:begin]), breathe=no_breath)
    layout = arrange(folding, breathe=no_breath)
    for known in range(begin, len(made)):
        grown = fold(structure(made[: known + 1]), folding, breathe=no_breath)
        placed = arrange(grown, layout, breathe=no_breath)
        key = (grown.node_rank[known], structure(made[: known + 1]).groups[known])
        if folding.joins.get(key):
            assert grown.node_mark[known] in folding.joins[key], "no second stack of one key"
            assert len(grown) == len(folding)
        elif len(grown) > len(folding):
            mark = len(folding)
            assert grown.node_mark[known] == mark
            above = [parent for parent, child in placed.ends if child == mark]
            assert placed.rank[mark] == max((placed.rank[parent] + 1 for parent in above), default=0)
            column = [slot for slot, rank in zip(layout.slot, layout.rank, strict=True) if rank == placed.rank[mark]]
            if above:
                away = abs(placed.slot[mark] - median(layout.slot[parent] for parent in above))
                nearer = [each for each in _free_slots(column, placed.slot, above) if each < away - 1 / 32]
                assert not nearer, "a free slot nearer to the median of its parents"
        folding, layout = grown, placed


def _free_slots(column: list[float], slots: list[float], above: list[int]) -> list[float]:
    """How far from the parents' median each free slot of a column is: those beside a card, and the median itself."""
    wish = median(slots[parent] for parent in above)
    tries = [wish, *(slot + 1 for slot in column), *(slot - 1 for slot in column)]
    return [abs(each - wish) for each in tries if all(abs(each - slot) >= 1 for slot in column)]


def _opening_of(made: list[NodeRow], later: list[tuple[int, int]]) -> tuple[FakeSource, Openings]:
    """A graph that was shown, and then got edges."""
    source = FakeSource(names=[name for name, _, _ in made])
    source.handle(*(AddNode(tuple(parents)) for _, _, parents in made))
    openings = Openings(source)
    openings.now()
    for parent, child in later:
        with contextlib.suppress(IllegalTransition):  # a cycle is refused
            source.handle(AddEdge(parent, child))
    source.version += 1
    return source, openings


def test_an_edge_that_was_added_against_the_flow_is_a_loop_until_somebody_tidies() -> None:
    """Marks that jump while one looks at them are worse than one edge that points back; the chip offers the rest."""
    source, openings = _opening_of([("a", "f", ()), ("b", "g", (0,)), ("c", "h", ())], [(1, 2)])

    grown = openings.now().arranged

    ranks = grown.marks["rank"]
    assert ranks == [0, 0, 1] or ranks == [0, 1, 0]
    late, early = (grown.marks["name"].index(name) for name in "bc")
    loop = list(zip(grown.edges["source"], grown.edges["target"], strict=True)).index((late, early))
    assert ranks[late] >= ranks[early]
    assert grown.edges["bends"][loop] == []

    openings.tidy()
    tidied = openings.now().arranged

    assert tidied.marks == Openings(source).now().arranged.marks
    assert tidied.edges == Openings(source).now().arranged.edges
    assert all(
        tidied.marks["rank"][a] < tidied.marks["rank"][b]
        for a, b in zip(tidied.edges["source"], tidied.edges["target"], strict=True)
    )


@given(rows(40), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=12))
@settings(deadline=None, max_examples=30)
def test_tidy_after_any_edges_gives_the_picture_of_a_fresh_display(
    made: list[NodeRow], pairs: list[tuple[int, int]]
) -> None:
    """What one sees after Tidy is what everybody else sees who opens the graph now."""
    total = len(made)
    source, openings = _opening_of(made, [(a % total, b % total) for a, b in pairs] if total else [])
    grown = openings.now().arranged
    fresh = Openings(source).now().arranged

    openings.tidy()
    tidied = openings.now().arranged

    assert (tidied.marks, tidied.edges, tidied.folded) == (fresh.marks, fresh.edges, fresh.folded)
    assert bytes(tidied.node_mark) == bytes(fresh.node_mark)
    assert sum(grown.marks["size"]) == sum(tidied.marks["size"]) == total


def test_what_feeds_several_late_ranks_moves_towards_them_and_its_parents_edge_is_long() -> None:
    """One long edge instead of three: there is less to cross."""
    layout = place(7, [0, 1, 2, 3, 0, 5, 3, 5], [1, 2, 3, 4, 5, 4, 6, 6])

    assert layout.rank[4] == layout.rank[6] == 4
    assert layout.rank[5] == 3
    assert all(layout.rank[a] < layout.rank[b] for a, b in layout.ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    "graph",
    [
        skipping(100, 150, 30, 3),
        layered(30, 10, 2, 5),
        layered_with_skips(20, 15, 450, 5),
        skipping(300, 450, 60, 6),
        tree_with_skips(300, 60, 7),
        layered_with_skips(25, 20, 731, 5),
        skipping(500, 731, 60, 8),
        tree_with_skips(500, 231, 10),
    ],
)
def test_at_most_a_quarter_more_edges_cross_than_in_dots_picture(graph: tuple[int, Edges]) -> None:
    """What dot draws of the same graph, here and now: a worse order is seen."""
    count, edges = graph
    layout = place(count, [a for a, _ in edges], [b for _, b in edges], no_breath)
    points = {mark: (4.0 * layout.rank[mark], layout.slot[mark]) for mark in range(count)}

    assert straight_crossings(segments(points, edges, None), edges) <= 1.25 * of_dot(count, edges)[1]


# --- for the page -------------------------------------------------------------------------------------------


def test_the_message_has_one_entry_for_each_mark_and_edge() -> None:
    """The page reads columns by number: one that is short shifts all that follows."""
    folding = fold(structure(fan(40)))
    layout = arrange(folding)

    marks, edges = to_message(folding, layout)

    assert {len(column) for column in marks.values()} == {3}  # type: ignore[arg-type]
    assert {len(column) for column in edges.values()} == {2}  # type: ignore[arg-type]
    assert marks["name"] == ["list", "resize", "merge"]
    assert edges["count"] == [40, 40]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_saved_layouts_stay_as_they_are(path: Path) -> None:
    """The same graph looks the same in the next release; change a vector only with a reason, and look at it."""
    saved = json.loads(path.read_text(encoding="utf-8"))

    layout = place(saved["marks"], saved["source"], saved["target"], no_breath)

    assert layout.rank == saved["rank"]
    assert layout.order == saved["order"]
    assert layout.slot == saved["slot"]
    assert layout.bends == saved["bends"]
