"""The store of printed lines against a plain list of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiledag_widget.core import lines as lines_module
from tiledag_widget.core.lines import STDERR, STDOUT, WARNING, Line, Lines

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8)
ENTRIES = st.lists(
    st.builds(
        Line, st.integers(0, 9).map(float), st.integers(0, 5), st.integers(1, 3),
        st.sampled_from([STDOUT, STDERR, WARNING]), st.one_of(TEXTS, st.lists(TEXTS, max_size=4).map("\n".join)),
    ),
    max_size=6,
)  # fmt: skip


def split(entries: list[Line]) -> list[Line]:
    """The lines that these entries stand for."""
    return [entry._replace(text=text) for entry in entries for text in entry.text.split("\n")]


def kept(store: Lines, start: int, stop: int) -> list[Line]:
    return [line for block in store.blocks(start, stop) for line in block.lines(start, stop)]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "BLOCK", 4)


@pytest.mark.usefixtures("small_blocks")
@settings(suppress_health_check=[], deadline=None)
@given(st.lists(ENTRIES, max_size=8), st.integers(0, 40), st.integers(0, 40))
def test_any_range_reads_as_it_was_added(added: list[list[Line]], start: int, stop: int) -> None:
    """A line in the log would stand under the wrong node, or be missing."""
    store, expected = Lines(), []
    for entries in added:
        store.extend(entries)
        expected += split(entries)
        assert kept(store, start, stop) == expected[start:stop]

    assert (store.first, store.end) == (0, len(expected))
    assert all(len(block.texts()) == len(block) for block in store.blocks(0, store.end))


@pytest.mark.usefixtures("small_blocks")
@settings(suppress_health_check=[], deadline=None)
@given(st.lists(ENTRIES.filter(bool), min_size=1, max_size=12), st.integers(1, 10), st.integers(1, 60))
def test_a_full_store_gives_up_its_oldest_lines_and_numbers_stay(
    added: list[list[Line]], most_lines: int, most_characters: int
) -> None:
    """A function that prints for ever would fill the memory; a number in a page would mean another line."""
    store, expected = Lines(most_lines=most_lines, most_characters=most_characters), []
    for entries in added:
        store.extend(entries)
        expected += split(entries)

    assert store.end == len(expected)
    assert kept(store, 0, store.end) == expected[store.first :]
    sealed = [block for block in store.blocks(0, store.end) if len(block) >= 4]
    over_lines = sum(map(len, sealed)) > most_lines
    over_characters = sum(len(block.text) for block in sealed) > most_characters
    assert len(sealed) <= 1 or not (over_lines or over_characters)


def test_a_line_without_end_is_closed() -> None:
    store = Lines()

    store.append(Line(1.0, 0, 1, STDOUT, "x" * (lines_module.MOST_IN_LINE + 1)))

    assert store.first == 0
    assert [len(block) for block in store.blocks(0, 1)] == [1]
    store.append(Line(2.0, 0, 1, STDOUT, "next"))
    assert [block.first for block in store.blocks(0, 2)] == [0, 1]
    assert [line.text for line in kept(store, 1, 2)] == ["next"]


def test_what_is_open_is_read_once_until_more_comes() -> None:
    """A page that looks often would copy the open block each time."""
    store = Lines()
    store.append(Line(1.0, 0, 1, STDOUT, "a"))
    seen = store.blocks(0, 1)[0]

    assert store.blocks(0, 1)[0] is seen
    store.append(Line(1.0, 0, 1, STDERR, "b"))
    assert store.blocks(0, 1)[0].texts() == ["a", "b"]
    assert store.blocks(1, 1) == []
    assert store.blocks(2, 9) == []
