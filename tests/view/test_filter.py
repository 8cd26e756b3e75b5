"""`view.filter`: the language of the search field, for Python. ``tests/filters`` holds the vectors of the page, too."""

from __future__ import annotations

import json
import math
import pickle
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget import DAG
from tiledag_widget.core.snapshot import Columns, Structure
from tiledag_widget.view.details import errors_of
from tiledag_widget.view.filter import Facts, FilterError, match
from tiledag_widget.view.messages import ERROR_CUT

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "filters" / "vectors.json").read_text())


def facts() -> Facts:
    nodes = VECTORS["nodes"]
    start, parents = array("I", [0]), array("I")
    for node in nodes:
        parents.extend(node["parents"])
        start.append(len(parents))

    def times(key: str) -> array[float]:
        return array("d", [math.nan if node[key] is None else 1000.0 + node[key] for node in nodes])

    structure = Structure(
        [node["name"] for node in nodes],
        array("I", [node["group"] for node in nodes]),
        VECTORS["groups"],
        start,
        parents,
    )
    columns = Columns(
        bytes(node["status"] for node in nodes),
        array("I", [node["attempt"] for node in nodes]),
        array("I", [0] * len(nodes)),
        times("started"),
        times("ended"),
    )

    def before(node: int) -> float:
        return 1000.0 + float(nodes[node].get("before", math.nan))

    return Facts(structure, columns, 1000.0, 1000.0 + VECTORS["now"], lambda node: nodes[node].get("error", ""), before)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["filter"] or "(empty)")
def test_the_shared_vectors_hold(case: dict[str, Any]) -> None:
    """A filter copied from the view would mean other nodes in Python."""
    if "problem" not in case:
        assert match(case["filter"], facts()) == case["nodes"]
        return

    with pytest.raises(FilterError) as caught:
        match(case["filter"], facts())

    assert (caught.value.code, caught.value.at) == (case["problem"], case["at"])
    assert "{" not in str(caught.value)


def test_groups_are_functions_and_stages() -> None:
    """`group:` finds nodes by what they do, whatever they are called."""
    assert match("group:resize", facts()) == [1, 2, 3]
    assert match("function:*t", facts()) == [0, 5, 6, 7]


def test_find_gives_the_nodes_of_a_graph_that_ran() -> None:
    """What the view calls by a filter, a notebook gets as nodes."""

    def load(number: int) -> int:
        if number == 2:
            raise ValueError("row 2 is not a number")
        return number

    dag = DAG(max_workers=2)
    loads = [dag.submit_local(load, n, name=f"load-{n}") for n in range(4)]
    total = dag.submit_local(max, *loads, name="total")
    dag.compute()
    with pytest.raises(ValueError, match="row 2"):
        dag.wait(20)

    assert dag.find("status:failed") == [loads[2]]
    assert dag.find('"not a number"') == [loads[2]]
    assert dag.find("+total") == [*loads, total]
    assert dag.find("function:load -status:failed") == [loads[0], loads[1], loads[3]]


def test_find_looks_at_as_much_of_an_error_as_the_view_does() -> None:
    """The view finds by the first 300 characters; what it finds and what a notebook finds must not differ."""

    def fail() -> None:
        raise ValueError("near" + 400 * "." + "far")

    dag = DAG(executor="inline")
    node = dag.submit_local(fail)
    dag.compute()
    with pytest.raises(ValueError, match="near"):
        dag.wait(20)

    assert dag.find('"ValueError: near"') == [node]
    assert dag.find('"far"') == []
    (text,) = errors_of(dag._as_source())["texts"]
    assert (len(text), text[:16]) == (ERROR_CUT, "ValueError: near")


def test_a_filter_that_cannot_be_understood_says_where_and_why() -> None:
    """The same sentence as in the view, as a ValueError that survives a pickle."""
    with pytest.raises(ValueError, match=r"“odd” at 8 is no status: Not Started, Running") as caught:
        DAG().find("status:odd")

    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)


@pytest.mark.slow
def test_a_large_graph_is_searched_while_one_waits() -> None:
    """100,000 nodes, one pass per term."""
    total = 100_000
    structure = Structure(
        [f"node-{n}" for n in range(total)],
        array("I", bytes(4 * total)),
        ["node"],
        array("I", bytes(4 * total + 4)),
        array("I"),
    )
    nan = array("d", [math.nan]) * total
    columns = Columns(bytes([3]) * total, array("I", bytes(4 * total)), array("I", bytes(4 * total)), nan, nan)

    began = time.process_time()
    found = match("node-99* status:completed", Facts(structure, columns))

    assert len(found) == 1111
    assert time.process_time() - began < 5
