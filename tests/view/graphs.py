"""Structures by hand and by chance, for the tests of folding, layout and static forms."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from math import nan

from hypothesis import strategies as st

from tiledag_widget.core.snapshot import Columns, RunInfo, Structure
from tiledag_widget.core.states import Status

NodeRow = tuple[str, str, Sequence[int]]
"""Name, function, parents."""


def structure(rows: Iterable[NodeRow], stages: Iterable[str] = ()) -> Structure:
    numbers: dict[str, int] = {}
    names, groups, start, parents = [], array("I"), array("I", [0]), array("I")
    for name, group, above in rows:
        names.append(name)
        groups.append(numbers.setdefault(group, len(numbers)))
        parents.extend(above)
        start.append(len(parents))
    return Structure(names, groups, list(numbers), start, parents, frozenset(numbers[stage] for stage in stages))


def fan(width: int) -> list[NodeRow]:
    middle = [(f"resize-{number}", "resize", (0,)) for number in range(width)]
    return [("list", "list", ()), *middle, ("merge", "merge", tuple(range(1, width + 1)))]


def chain(length: int) -> list[NodeRow]:
    return [(f"step-{number}", f"f{number % 3}", (number - 1,) if number else ()) for number in range(length)]


def diamond() -> list[NodeRow]:
    return [("a", "a", ()), ("b", "b", (0,)), ("c", "c", (0,)), ("d", "d", (1, 2))]


def layered(ranks: int, width: int, functions: int, seed: int = 1) -> list[NodeRow]:
    chance = random.Random(seed)
    rows: list[NodeRow] = []
    for node in range(ranks * width):
        base = (node // width - 1) * width
        above = sorted({base + chance.randrange(width) for _ in range(3)}) if base >= 0 else []
        rows.append((f"n-{node}", f"f{chance.randrange(functions)}", above))
    return rows


def columns(codes: Sequence[int], blocker: dict[int, int] | None = None) -> Columns:
    """Nodes in these states; what began did so at 1000 s, what ended took 3.2 s."""
    size = len(codes)
    started = array("d", [1000.0 if code in (2, 3, 4) else nan for code in codes])
    ended = array("d", [1003.2 if code in (3, 4) else nan for code in codes])
    return Columns(bytes(codes), array("I", [1] * size), array("I", [0] * size), started, ended, blocker or {})


def run_of(codes: Sequence[int], is_ended: bool = False, is_started: bool = True) -> RunInfo:
    counts = tuple(sum(code == status for code in codes) for status in range(7))
    started = 1000.0 if is_started else nan
    status = Status.FAILED if counts[4] else Status.COMPLETED if is_ended else Status.RUNNING
    return RunInfo(status, counts, is_ended, started, 1042.0 if is_ended else nan, 4, False)


@st.composite
def rows(draw: st.DrawFn, most: int = 60) -> list[NodeRow]:
    """Any graph: few or many functions, few or many edges, in index order."""
    count = draw(st.integers(0, most))
    functions = draw(st.sampled_from([1, 2, 5, 100]))
    chance = random.Random(draw(st.integers(0, 2**32)))
    window = draw(st.sampled_from([1, 4, 20, 100]))
    made: list[NodeRow] = []
    for node in range(count):
        span = range(max(0, node - window), node)
        above = sorted(chance.sample(span, min(len(span), chance.choice((0, 1, 1, 1, 2, 4)))))
        made.append((f"n-{node}", f"f{chance.randrange(functions)}", above))
    return made
