"""`view.left`: how long a run still takes. ``tests/timing`` holds vectors that the page is tested with, too.

A saved vector is never made anew; another one: ``python -m tests.view.test_left NAME SEED``.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget.core.states import COMPLETED, FAILED, NOT_STARTED, PARENT_FAILED, RUNNING
from tiledag_widget.view.left import Work, left, words_of

FOLDER = Path(__file__).resolve().parents[1] / "timing"


def work_of(vector: dict[str, Any]) -> Work:
    return Work(
        group=vector["group"],
        status=bytes(vector["status"]),
        started=[math.nan if each is None else each for each in vector["started"]],
        ended=[math.nan if each is None else each for each in vector["ended"]],
        parents=lambda node: vector["parents"][node],
        now=vector["now"],
        slots=vector["slots"],
    )


def made(seed: int, nodes: int = 60, groups: int = 4, slots: int = 4) -> dict[str, Any]:
    """A random graph, played on ``slots`` until a random moment."""
    chance = random.Random(seed)
    group = [chance.randrange(groups) for _ in range(nodes)]
    parents = [sorted(chance.sample(range(node), min(node, chance.randrange(3)))) for node in range(nodes)]
    takes = [round((1 + group[node]) * chance.lognormvariate(0, 0.4), 3) for node in range(nodes)]
    began, over, free = [0.0] * nodes, [0.0] * nodes, [0.0] * slots
    for node in range(nodes):
        slot = free.index(min(free))
        began[node] = max([free[slot], *(over[parent] for parent in parents[node])])
        over[node] = free[slot] = round(began[node] + takes[node], 3)
    now = round(max(over) * chance.uniform(0.4, 0.8), 3)
    status = [
        COMPLETED if over[node] <= now else RUNNING if began[node] <= now else NOT_STARTED for node in range(nodes)
    ]
    for node in range(nodes):
        if status[node] == COMPLETED and chance.random() < 0.03:
            status[node] = FAILED
        if any(status[parent] in (FAILED, PARENT_FAILED) for parent in parents[node]):
            status[node] = PARENT_FAILED
        elif any(status[parent] != COMPLETED for parent in parents[node]):
            status[node] = NOT_STARTED
    ran = {RUNNING, COMPLETED, FAILED}
    vector: dict[str, Any] = {
        "about": f"A random graph of {nodes} nodes, seed {seed}.",
        "group": group,
        "status": status,
        "started": [began[node] if status[node] in ran else None for node in range(nodes)],
        "ended": [over[node] if status[node] in ran - {RUNNING} else None for node in range(nodes)],
        "parents": parents,
        "now": now,
        "slots": slots,
    }
    work = work_of(vector)
    vector["simulated"], vector["bounds"] = left(work), left(work, most_simulated=0)
    return vector


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_the_shared_vectors_hold(path: Path) -> None:
    """Terminal and page would promise different ends of one run."""
    vector = json.loads(path.read_text())

    simulated, bounds = left(work_of(vector)), left(work_of(vector), most_simulated=0)

    assert simulated == (pytest.approx(vector["simulated"]) if vector["simulated"] else None)
    assert bounds == (pytest.approx(vector["bounds"]) if vector["bounds"] else None)


def simple(done: int, waiting: int, seconds: float = 2.0, slots: int = 4, **changes: Any) -> Work:
    total = done + waiting
    known = {
        "group": [0] * total,
        "status": bytes([COMPLETED] * done + [NOT_STARTED] * waiting),
        "started": [0.0] * done + [math.nan] * waiting,
        "ended": [seconds] * done + [math.nan] * waiting,
        "parents": lambda node: (),
        "now": 10.0,
        "slots": slots,
    }
    return Work(**{**known, **changes})


def test_equal_nodes_take_their_share_of_the_slots() -> None:
    """The range would be off by the number of workers."""
    low, high = left(simple(20, 84)) or (0, 0)

    assert low == pytest.approx(42)
    assert high == pytest.approx(42 * 1.1)


def test_a_chain_takes_its_length_however_many_slots_there_are() -> None:
    """Eight idle workers would promise a chain in an eighth of its time."""
    work = simple(5, 10, slots=8, parents=lambda node: (node - 1,) if node > 5 else ())

    assert (left(work) or (0, 0))[0] == pytest.approx(20)
    assert (left(work, most_simulated=0) or (0, 0))[0] == pytest.approx(20)


@pytest.mark.parametrize("done", range(5))
def test_before_five_nodes_have_ended_nothing_is_said(done: int) -> None:
    """The first guess of a run is the worst one."""
    assert left(simple(done, 50)) is None


def test_what_was_never_measured_may_only_be_a_small_part() -> None:
    """A run would be promised to end in seconds while an hour of another function is to come."""
    few = simple(20, 20, group=[0] * 39 + [1])
    many = simple(20, 20, group=[0] * 30 + [1] * 10)

    assert left(few) is not None
    assert left(many) is None


def test_a_node_that_takes_longer_than_usual_may_take_longer_still() -> None:
    """A node that hangs would be promised to end at once, for an hour."""
    work = simple(20, 1, status=bytes([COMPLETED] * 20 + [RUNNING]), started=[0.0] * 21, now=100.0)

    low, high = left(work) or (0, 0)

    assert low == 0
    assert high == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(20))
def test_the_range_holds_what_bounds_say(seed: int) -> None:
    """Two ways to reckon, and one of them wrong."""
    vector = made(seed)
    if vector["simulated"] is None:
        return

    low, high = vector["simulated"]

    assert low <= high
    assert vector["bounds"][0] <= low * 1.001
    assert high <= vector["bounds"][1] * 1.1 + 1e-9


def test_the_words() -> None:
    """A reader would see 63.2 s change ten times a second."""
    assert words_of((20, 33)) == "about 20–35 s left"
    assert words_of((61, 118)) == "about 1–2 min left"
    assert words_of((3_000, 8_000)) == "about 1–3 h left"
    assert words_of((1, 4.9)) == ""
    assert words_of(None) == "time left unknown"


if __name__ == "__main__":
    with (FOLDER / f"{sys.argv[1]}.json").open("x") as file:
        json.dump(made(int(sys.argv[2])), file)
        file.write("\n")
