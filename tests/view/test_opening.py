"""The first message of a graph: however long its names and however many its edges, it is one that any host lets by."""

from __future__ import annotations

import json
import random
import threading
import zlib
from dataclasses import replace

import pytest

from tests.view.fake_source import FakeSource
from tiledag_widget.core.snapshot import Structure
from tiledag_widget.core.states import AddNode
from tiledag_widget.view.messages import FIRST_BYTES, MOST_CYCLIC
from tiledag_widget.view.opening import (
    EDGES_BYTES,
    NAME_WIDTHS,
    REASON_WIDTH,
    TITLE_WIDTH,
    TROUBLE_WIDTH,
    Arranged,
    Message,
    Opening,
    Openings,
    fold_and_layout,
    picture_message,
)

NODES = 300
LONG = 10_000


def _first(source: FakeSource) -> tuple[Opening, Message]:
    opening = Openings(source).now()
    message, *_ = picture_message(opening, source, epoch=1, version="1", now=0.0)
    return opening, message


def _bytes(message: Message) -> int:
    content, buffers = message
    return len(json.dumps(content, ensure_ascii=False).encode()) + sum(len(part) for part in buffers)


def _source(names: list[str], groups: list[str], parents: list[tuple[int, ...]]) -> FakeSource:
    source = FakeSource(names=names, groups=groups)
    source.handle(*(AddNode(above) for above in parents))
    return source


@pytest.mark.parametrize("char", ["x", "\N{SNOWMAN}", "\N{GRINNING FACE}"])
def test_long_names_are_cut_in_the_first_message_and_come_whole_after_it(char: str) -> None:
    names = [f"{number}-{char * LONG}" for number in range(NODES)]
    parents = [tuple(range(max(0, number - 2), number)) for number in range(NODES)]
    source = _source(names, [f"f{number}-{char * LONG}" for number in range(NODES)], parents)
    source.title = char * 100_000

    opening, message = _first(source)

    assert _bytes(message) < FIRST_BYTES
    content = message[0]
    assert len(content["title"]) == TITLE_WIDTH
    assert content["marks"]["kind"] == ["card"] * NODES
    assert all(name.startswith(f"{number}-") for number, name in enumerate(content["marks"]["name"]))
    assert zlib.decompress(opening.rest.names).decode().split("\n") == names
    groups = zlib.decompress(opening.rest.groups)
    assert groups[4 : 4 + int.from_bytes(groups[:4], "little")].decode().split("\n")[:NODES] == source.groups


def test_a_stack_with_a_long_name_says_its_whole_name_in_a_column() -> None:
    group = "resize_" + "x" * LONG
    source = _source([f"n-{number}" for number in range(50)], [group] * 50, [()] * 50)

    opening, (content, _) = _first(source)

    assert content["marks"]["kind"] == ["stack"]
    (name,) = content["marks"]["name"]
    assert name.startswith("resize_")
    assert len(name) == NAME_WIDTHS[0]
    assert group.encode() in zlib.decompress(opening.rest.groups)


def test_names_that_fit_are_sent_as_they_are_and_need_no_column_of_groups() -> None:
    source = _source(["a" * 900, "b"], ["f", "g"], [(), (0,)])

    opening, (content, buffers) = _first(source)

    assert content["marks"]["name"] == ["a" * 900, "b"]
    assert opening.rest.groups == b""
    assert len(buffers) == 2
    assert content["edges"]["source"] == [0]


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_many_edges_between_marks_go_into_a_buffer(share: float) -> None:
    chance = random.Random(1)
    parents = [tuple(above for above in range(node) if chance.random() < share) for node in range(NODES)]
    source = _source([f"n-{node}" for node in range(NODES)], [f"f{node}" for node in range(NODES)], parents)

    opening, message = _first(source)

    content, buffers = message
    assert _bytes(message) < FIRST_BYTES
    assert content["edges"] == {"source": [], "target": [], "count": [], "bends": []}
    assert json.loads(zlib.decompress(buffers[2])) == opening.arranged.edges
    assert len(json.dumps(opening.arranged.edges)) > EDGES_BYTES


def test_a_graph_that_cannot_be_arranged_is_one_stack_and_says_why() -> None:
    """The view would stay empty, or show one stack as if that were the graph."""

    def fail(*args: object) -> Arranged:
        raise ValueError("no room for " + "x" * 10_000)

    source = _source(["a", "b", "c"], ["f"] * 3, [(), (0,), (1,)])
    opening = Openings(source, fail).now()

    (content, _), *_ = picture_message(opening, source, epoch=1, version="1", now=0.0)

    assert content["folded"].startswith("The graph could not be arranged: no room for x")
    assert len(content["folded"]) <= REASON_WIDTH
    assert len(content["trouble"]) <= TROUBLE_WIDTH
    assert content["marks"]["size"] == [3]
    assert Openings(source).now().arranged.trouble == ""


def test_nodes_that_wait_for_each_other_are_named_and_their_edges_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record from elsewhere would look like a run that waits for a worker."""
    names = ["list", "resize", "save", "alone"]
    source = _source(names, ["f", "g", "h", "i"], [(), (0,), (1,), ()])
    structure = replace(source.structure(), cyclic=((0, 1), (1, 2), (2, 0)))
    monkeypatch.setattr(source, "structure", lambda: structure)
    opening = Openings(source).now()

    (content, _), *_ = picture_message(opening, source, epoch=1, version="1", now=0.0)

    assert content["cycle"] == "list → resize → save → list is a cycle. These 3 edges cannot run."
    edges, node_mark = content["edges"], opening.arranged.node_mark
    told = {(edges["source"][at], edges["target"][at]) for at in content["cyclic"]}
    assert told == {(node_mark[parent], node_mark[child]) for parent, child in structure.cyclic}
    assert list(opening.structure.parents) == [0, 1]


RING = tuple((node, (node + 1) % 500) for node in range(500))


@pytest.mark.parametrize(
    ("cyclic", "text"),
    [
        (RING, "n-0 → n-1 → n-2 → n-3 → n-4 → n-5 → n-6 → … → n-0 is a cycle. These 500 edges cannot run."),
        (((7, 7),), "n-7 → n-7 is a cycle. This edge cannot run."),
    ],
)
def test_a_long_cycle_is_told_in_one_line_and_a_node_may_wait_for_itself(
    cyclic: tuple[tuple[int, int], ...], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its names would fill the screen."""
    source = _source([f"n-{node}" for node in range(500)], ["f"] * 500, [()] * 500)
    structure = replace(source.structure(), cyclic=cyclic)
    monkeypatch.setattr(source, "structure", lambda: structure)

    content = picture_message(Openings(source).now(), source, epoch=1, version="1", now=0.0)[0][0]

    assert content["cycle"] == text
    assert len(content["cyclic"]) <= MOST_CYCLIC


def test_while_a_graph_is_being_arranged_one_stack_stands_in_and_who_wants_no_more_keeps_that() -> None:
    """At the hundred thousandth node somebody wants to see the run, not a promise."""
    begun, go_on = threading.Event(), threading.Event()

    def slow(structure: Structure, previous: Arranged | None = None) -> Arranged:
        begun.set()
        assert go_on.wait(10)
        return fold_and_layout(structure, previous)

    source = _source([f"n-{node}" for node in range(20)], [f"f{node}" for node in range(20)], [()] * 20)
    openings = Openings(source, slow)

    def build() -> tuple[threading.Thread, list[Opening]]:
        begun.clear()
        go_on.clear()
        made: list[Opening] = []
        builder = threading.Thread(target=lambda: made.append(openings.now()))
        builder.start()
        assert begun.wait(10)
        return builder, made

    builder, made = build()
    assert openings.kept() is None
    openings.stand_in()
    interim = openings.kept()
    assert interim is not None
    assert (interim.arranged.marks["size"], interim.is_plain, interim.is_interim) == ([20], True, True)
    go_on.set()
    builder.join(10)
    assert openings.kept() is made[0]
    assert len(made[0].arranged.marks["size"]) > 1
    openings.stand_in()
    openings.give_up()
    assert openings.kept() is made[0], "what has been arranged stays"

    openings.tidy()
    builder, made = build()
    openings.stand_in()
    openings.give_up()
    plain = openings.kept()
    assert plain is not None
    assert (plain.arranged.marks["size"], plain.is_plain, plain.is_interim) == ([20], True, False)
    assert plain.arranged.trouble == ""
    source.handle(AddNode(()))
    openings.stand_in()
    grown = openings.kept()
    assert grown is not None
    assert grown.arranged.marks["size"] == [21], "who pressed Stop sees what changes, not the wait"
    assert not grown.is_interim
    go_on.set()
    builder.join(10)
    assert openings.kept() is grown
    openings.tidy()
    assert len(openings.now().arranged.marks["size"]) > 1
    assert openings.kept() is not grown
