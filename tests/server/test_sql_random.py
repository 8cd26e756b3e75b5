"""Random queries over random arrays, and random selections of their cells, against plain Python on the same data."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from tests.server.array_model import Model, Row, assert_same, condition, is_same, literal, make
from tiledag_widget.server import arrays, sql
from tiledag_widget.wire.models import ArrayDetails, ArrayRanges

pytestmark = pytest.mark.leaks("the threads of DuckDB and of TileDB last as long as the process")

QUESTIONS = 25


def rows_of(query: str, *, parameters: Any = ()) -> list[Row]:
    """As a worker process runs it."""
    job = {
        "query": query,
        "parameters": parameters,
        "init_commands": [],
        "array_uris": {},
        "output_uri": None,
        "result_format": "arrow",
    }
    return sql.run(job).to_pylist()  # type: ignore[no-any-return]


def selected(model: Model, rng: random.Random) -> None:
    """Some columns of the rows that a condition lets through, in an order, all or some of them."""
    text, truth = condition(rng, model)
    names = rng.sample(list(model.kinds), rng.randint(1, len(model.kinds)))
    downward = [rng.random() < 0.4 for _ in model.dimensions]
    order = ", ".join(f"{name}{' desc' if down else ''}" for name, down in zip(model.dimensions, downward, strict=True))
    if any(model.kinds[name] == "text" for name in model.dimensions):  # texts that differ in case only are equal
        order = ", ".join(
            f"binary {part}" if model.kinds[part.split()[0]] == "text" else part for part in order.split(", ")
        )
    rows = [row for row in model.rows if truth(row) is True]
    for name, down in reversed(list(zip(model.dimensions, downward, strict=True))):
        rows.sort(key=lambda row: row[name], reverse=down)
    limit = ""
    if rng.random() < 0.3:
        count, offset = rng.randint(0, 6), rng.randint(0, 3)
        limit, rows = f" limit {count} offset {offset}", rows[offset : offset + count]
    query = f"select {', '.join(names)} from `{model.place}` where {text} order by {order}{limit}"

    assert_same(rows_of(query), [{name: row[name] for name in names} for row in rows], query)


def grouped(model: Model, rng: random.Random) -> None:
    """Counts, sums and extremes of groups."""
    by = rng.choice(list(model.kinds))
    text, truth = condition(rng, model)
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in model.rows:
        if truth(row) is True:
            value = row[by]
            groups[value.lower() if isinstance(value, str) else value].append(row)
    items, answers = [f"min(lower({by})) as g" if model.kinds[by] == "text" else f"{by} as g", "count(*) as n"], []
    for name in rng.sample(list(model.kinds), 2):
        kind = model.kinds[name]
        ways = (
            ["count"]
            + (["sum", "avg"] if kind in ("int", "float") else [])
            + (["min", "max"] if kind != "text" else [])
        )
        for way in ways:
            items.append(f"{way}({name}) as {way}_{name}")
            answers.append((way, name))
        items.append(f"count(distinct {name}) as distinct_{name}")
        answers.append(("distinct", name))
    least = rng.choice(["", " having count(*) > 1"])
    query = f"select {', '.join(items)} from `{model.place}` where {text} group by {by}{least} order by g"
    expected = []
    for value in sorted(groups, key=lambda one: (one is not None, one if one is not None else 0)):
        rows = groups[value]
        if not least or len(rows) > 1:
            expected.append({"g": value, "n": len(rows), **{f"{w}_{n}": aggregate(w, n, rows) for w, n in answers}})

    assert_same(rows_of(query), expected, query)


def aggregate(way: str, name: str, rows: list[Row]) -> Any:
    values = [row[name] for row in rows if row[name] is not None]
    if way == "count":
        return len(values)
    if way == "distinct":
        return len({one.lower() if isinstance(one, str) else one for one in values})
    if not values:
        return None
    if way == "avg":
        return sum(values) / len(values)
    return {"sum": sum, "min": min, "max": max}[way](values)  # type: ignore[operator]


def joined(one: Model, other: Model, rng: random.Random) -> None:
    """Two arrays by a column of each, with a condition on one of them."""
    kind = rng.choice(["int", "text"])
    left = [name for name, its in one.kinds.items() if its == kind]
    right = [name for name, its in other.kinds.items() if its == kind]
    if not left or not right:
        return
    a, b = rng.choice(left), rng.choice(right)
    is_outer = rng.random() < 0.5
    count = matched = 0
    keys = [fold(row[b]) for row in other.rows if row[b] is not None]
    for row in one.rows:
        matches = keys.count(fold(row[a])) if row[a] is not None else 0
        matched += matches
        count += max(matches, 1) if is_outer else matches
    query = (
        f"select count(*) as n, count(b.{b}) as m from `{one.place}` a {'left ' if is_outer else ''}join "
        f"`{other.place}` b on a.{a} = b.{b}"
    )

    assert rows_of(query) == [{"n": count, "m": matched}], query


def fold(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def within(model: Model, rng: random.Random) -> None:
    """A condition on a dimension bounds what is read, and what is read is what the condition lets through."""
    name = rng.choice(model.dimensions)
    rows = [row for row in model.rows if row[name] is not None]
    low, high = sorted((rng.choice(rows)[name], rng.choice(rows)[name]))
    query = (
        f"select count(*) as n from `{model.place}` "
        f"where {name} > {literal(low)} and {literal(high)} > {name} and not {name} = {literal(high)}"
    )
    expected = sum(fold(low) < fold(row[name]) < fold(high) for row in rows)

    assert rows_of(query) == [{"n": expected}], query


def read_in_ranges(model: Model, rng: random.Random) -> None:
    """What a function gets of an array: ranges, buffers and layouts."""
    with tiledb.open(model.place) as array:
        domain = array.schema.domain
        written = array.nonempty_domain()
        ranges: list[tuple[Any, ...]] = []
        size_of_all = 1
        for index in range(domain.ndim):
            if rng.random() < 0.3 or domain.dim(index).dtype.kind in "SM":
                ranges.append(())
                if not model.is_sparse:
                    first, last = np.asarray(domain.dim(index).domain).astype("i8").tolist()
                    size_of_all *= last - first + 1
                continue
            low, high = (np.asarray(one).item() for one in written[index])
            ends = (
                sorted(rng.randint(int(low), int(high)) for _ in range(2))
                if domain.dim(index).dtype.kind in "iu"
                else [low, high]
            )
            ranges.append(tuple(ends))
            size_of_all *= int(ends[1]) - int(ends[0]) + 1
        buffers = tuple(rng.sample(list(model.kinds), rng.randint(1, 3)))
        layout = rng.choice(["row-major", "col-major", "unordered", None])
    found = arrays.read(
        {}, ArrayDetails(model.place, ArrayRanges(tuple(ranges), layout), (*buffers, *model.dimensions))
    )
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    flat = {
        name: np.ma.asarray(values).ravel() if np.ma.isMaskedArray(values) else values.ravel()
        for name, values in found.items()
    }
    size = len(next(iter(flat.values())))
    for number in range(size):
        where = tuple(as_plain(flat[name][number]) for name in model.dimensions)
        cells[where] = {name: as_plain(flat[name][number]) for name in buffers}
    expected = {}
    for row in model.rows:
        where = tuple(row[name] for name in model.dimensions)
        if all(not ends or ends[0] <= at <= ends[1] for ends, at in zip(ranges, where, strict=True)):
            expected[where] = {name: row[name] for name in buffers}
    words = f"{model.place} {ranges} {layout} {buffers}"

    assert len(cells) == size, words
    if not model.is_sparse:  # a dimension without ranges is its whole domain; the model has what was written of it
        assert size == size_of_all, words
        cells = {where: row for where, row in cells.items() if where in expected}
    assert set(cells) == set(expected), words
    for where, row in expected.items():
        for name, value in row.items():
            given = cells[where][name]
            if isinstance(given, float) and np.isnan(given):
                given = None
            assert is_same(given, value), f"{words} {where} {name}: {given!r}, expected {value!r}"


def as_plain(value: Any) -> Any:
    if value is np.ma.masked:
        return None
    if isinstance(value, np.datetime64):
        if np.isnat(value):
            return None
        unit = np.datetime_data(value.dtype)[0]
        return value.astype("datetime64[D]" if unit in ("Y", "M", "W", "D") else "datetime64[us]").item()
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if isinstance(value, np.generic) else value


def ask(folder: Path, seed: int, questions: int = QUESTIONS) -> None:
    """All kinds of questions to one array, and to it and another."""
    rng = random.Random(seed)
    model, other = make(folder / "one", seed), make(folder / "other", seed + 1000)
    for _ in range(questions):
        rng.choice([selected, selected, selected, grouped, within, read_in_ranges])(model, rng)
        if rng.random() < 0.1:
            joined(model, other, rng)


@contextlib.contextmanager
def questions(folder: Path) -> Iterator[Callable[[int], None]]:
    """A pair of arrays a seed."""

    def one(seed: int) -> None:
        place = folder / str(seed)
        place.mkdir()
        ask(place, seed)
        shutil.rmtree(place)

    yield one


def test_a_few_random_queries_give_what_plain_python_gives(tmp_path: Path) -> None:
    """As below."""
    ask(tmp_path, 4, questions=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_queries_give_what_plain_python_gives(seed: int, tmp_path: Path) -> None:
    """A wrong number that looks right is found by nobody."""
    ask(tmp_path, seed)
