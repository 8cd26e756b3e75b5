"""`core.graph`: edges, orders and paths."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import graphs
from tiledag_widget.core.graph import Graph
from tiledag_widget.core.states import AddNode


def graph_of(count: int, edges: Sequence[tuple[int, int]]) -> Graph:
    graph = Graph()
    for _ in range(count):
        graph.add_node(())
    for parent, child in edges:
        graph.add_edge(parent, child)
    return graph


@st.composite
def built(draw: st.DrawFn) -> Graph:
    graph = Graph()
    for event in draw(graphs(12)):
        if isinstance(event, AddNode):
            graph.add_node(event.parents)
        elif not graph.has_edge(*event):
            graph.add_edge(*event)
    return graph


def test_edges_are_known_from_both_ends() -> None:
    """Else a node would wait for a parent that does not know of it, for ever."""
    graph = Graph()
    graph.add_node(())
    graph.add_node((0,))
    graph.add_node((0, 1))
    graph.add_node(())
    graph.add_edge(3, 2)

    assert graph.parents == [[], [0], [0, 1, 3], []]
    assert graph.children == [[1, 2], [2], [], [2]]
    assert (len(graph), graph.edge_count) == (4, 4)
    assert graph.has_edge(0, 1)
    assert graph.has_edge(3, 2)
    assert not graph.has_edge(2, 3)
    assert not graph.has_edge(1, 3)


def test_a_path_is_a_shortest_one_and_none_means_there_is_none() -> None:
    """The message about a cycle shows it: a wrong one would send the reader to the wrong nodes."""
    graph = graph_of(6, [(0, 1), (1, 2), (2, 5), (0, 3), (3, 5), (3, 4)])

    assert graph.path(0, 5) == [0, 3, 5]
    assert graph.path(0, 2) == [0, 1, 2]
    assert graph.path(4, 4) == [4]
    assert graph.path(5, 0) is None
    assert graph.path(1, 4) is None


@given(graph=built())
@settings(max_examples=50, deadline=None)
def test_a_path_follows_edges(graph: Graph) -> None:
    """As above, for any graph; and it agrees with what lies below a node."""
    for start in range(len(graph)):
        below = set(graph.descendants([start]))
        for end in range(len(graph)):
            path = graph.path(start, end)
            assert (path is not None) == (end in below)
            if path is not None:
                assert (path[0], path[-1]) == (start, end)
                assert all(graph.has_edge(*step) for step in pairwise(path))


@given(graph=built(), data=st.data())
@settings(max_examples=50, deadline=None)
def test_every_order_has_parents_first(graph: Graph, data: st.DataObject) -> None:
    """A cancel in another order would give other statuses; a log in another order is refused by the service."""
    some = data.draw(st.sets(st.integers(0, len(graph) - 1)) if len(graph) else st.just(set()))
    everything = set(range(len(graph)))
    cases = [
        (graph.topological_order(), everything),
        (graph.leaves_first_order(), everything),
        (graph.parents_first(some), some),
    ]

    for order, members in cases:
        assert sorted(order) == sorted(members)
        place = {node: number for number, node in enumerate(order)}
        for node in order:
            for parent in graph.parents[node]:
                assert parent not in place or place[parent] < place[node]


def test_a_cycle_has_no_order() -> None:
    """`add_edge` trusts its caller; an order over a cycle would leave nodes out without a word."""
    graph = graph_of(3, [(0, 1), (1, 2), (2, 1)])

    with pytest.raises(ValueError, match="cycle"):
        graph.topological_order()
    with pytest.raises(ValueError, match="cycle"):
        graph.leaves_first_order()


def test_index_order_is_used_while_it_is_valid() -> None:
    """Nodes submitted in order are listed as the user wrote them."""
    graph = graph_of(4, [(0, 3), (1, 3)])

    before = graph.sorted, graph.topological_order()
    graph.add_edge(3, 2)
    after = graph.sorted, graph.topological_order()

    assert before == (True, [0, 1, 2, 3])
    assert after == (False, [0, 1, 3, 2])


# --- wire contract, section 5.9 -------------------------------------------------------------------------------

ORDERS: list[tuple[str, int, list[tuple[int, int]], list[int]]] = [
    ("empty", 0, [], []),
    ("unconnected nodes keep their order", 4, [], [0, 1, 2, 3]),
    ("a chain", 3, [(0, 1), (1, 2)], [0, 1, 2]),
    ("a chain against index order", 3, [(2, 1), (1, 0)], [2, 1, 0]),
    ("leaves below one parent keep their order", 4, [(0, 1), (0, 2), (0, 3)], [0, 1, 2, 3]),
    ("siblings of a diamond come reversed", 4, [(0, 1), (0, 2), (1, 3), (2, 3)], [0, 2, 1, 3]),
    ("three siblings reversed", 5, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)], [0, 3, 2, 1, 4]),
    ("two chains", 4, [(0, 2), (1, 3)], [0, 1, 2, 3]),
    ("a parent far above", 4, [(0, 1), (1, 2), (0, 3), (2, 3)], [0, 1, 2, 3]),
    ("order of edges, not of indices", 3, [(1, 2), (0, 2)], [0, 1, 2]),
    ("order of edges, the other way", 3, [(0, 2), (1, 2)], [1, 0, 2]),
]


@pytest.mark.parametrize(("count", "edges", "order"), [case[1:] for case in ORDERS], ids=[case[0] for case in ORDERS])
def test_logs_list_nodes_in_the_order_of_the_reference(
    count: int, edges: list[tuple[int, int]], order: list[int]
) -> None:
    """Logs of one graph written by the official client and by ours would list its nodes differently."""
    assert graph_of(count, edges).leaves_first_order() == order


def order_of_the_contract(parents: Sequence[Sequence[int]]) -> list[int]:
    """Section 5.9 read word by word, with a search where the code keeps a count."""
    emitted: list[int] = []
    ready = [node for node in reversed(range(len(parents))) if not any(node in own for own in parents)]
    while ready:
        node = ready.pop(0)
        emitted.append(node)
        for parent in parents[node]:
            children = [child for child, own in enumerate(parents) if parent in own]
            if parent not in emitted and parent not in ready and all(child in emitted for child in children):
                ready.append(parent)
    return emitted[::-1]


def test_the_order_of_the_reference_holds_for_random_graphs() -> None:
    """As above."""
    chance = random.Random(59)
    for _ in range(100):
        count = chance.randrange(1, 12)
        places = chance.sample(range(count), count)
        pairs = {tuple(sorted(chance.sample(range(count), 2), key=places.__getitem__)) for _ in range(2 * count - 2)}
        graph = graph_of(count, chance.sample(sorted((one, two) for one, two in pairs), len(pairs)))

        assert graph.leaves_first_order() == order_of_the_contract(graph.parents)


def test_some_nodes_are_put_in_order_whatever_else_hangs_on_them() -> None:
    """Who is to blame would be asked before it is known."""
    graph = Graph()
    for _ in range(5):
        graph.add_node(())
    for parent, child in ((4, 2), (2, 0), (4, 1), (0, 3), (2, 3)):
        graph.add_edge(parent, child)

    assert not graph.sorted
    assert graph.parents_first([0, 2, 4]) == [4, 2, 0]
    assert graph.parents_first([0, 4]) == [0, 4]
    assert graph.parents_first([1, 3, 0, 2]) in ([1, 2, 0, 3], [2, 1, 0, 3])
