"""The path of what cannot be pickled inside values that other libraries make, and of ones with a mind of their own."""

from __future__ import annotations

import collections
import threading
from typing import Any

import pytest

from tiledag_widget.errors import NotPicklable
from tiledag_widget.wire import culprits, pickles

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")

LOCK = threading.Lock()


class Choosy:
    """Leaves its lock out of its pickled form, as classes with locks do."""

    def __init__(self, held: object) -> None:
        self.lock = LOCK
        self.held = held

    def __getstate__(self) -> dict[str, object]:
        return {"held": self.held}


class Hostile(Choosy):
    """Has no state to tell of."""

    def __getstate__(self) -> dict[str, object]:
        raise SystemExit("no")


class Closed(dict[str, object]):
    """Lets nobody look into it."""

    def items(self) -> Any:
        raise SystemExit("no")


def objects(*values: object, shape: tuple[int, ...] = (-1,)) -> Any:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def frame(**columns: Any) -> Any:
    return pd.DataFrame({"n": [1, 2, 3], **columns})


def where_in(value: object) -> str:
    with pytest.raises(NotPicklable) as caught:
        pickles.dumps_call("resize-17", len, (value,), {})
    return caught.value.where


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (collections.deque([1, LOCK]), "args[0][1]"),
        (Choosy({"a": LOCK}), "args[0].held['a']"),
        (Hostile(1), "args[0].lock"),
        ([Closed(a=LOCK)], "args[0][0]"),
        (objects(1, 2, 3, LOCK), "args[0][3]"),
        ({"x": objects(1, [0, LOCK], 2, 3, 4, 5, shape=(2, 3))}, "args[0]['x'][0, 1][1]"),
        (objects(LOCK, shape=()), "args[0][()]"),
        (np.ma.masked_array(objects(1, LOCK), [True, False]), "args[0][1]"),
        (np.array([(1, LOCK)], dtype=[("n", int), ("held", object)]), "args[0]['held'][0]"),
        (frame(col=[1, 2, LOCK]), "args[0]['col'][2]"),
        (frame(col=[1, {"a": LOCK}, 2]), "args[0]['col'][1]['a']"),
        (frame(col=[1, 2, LOCK]).set_index("n"), "args[0]['col'][3]"),
        (pd.DataFrame([[1, LOCK]], columns=["a", "a"]), "args[0].iloc[:, 1][0]"),
        (pd.DataFrame({("a", 1): [LOCK]}), "args[0].iloc[:, 0][0]"),
        (frame(col=[*"ab", LOCK]).astype({"col": "category"}), "args[0]['col'][2]"),
        (pd.Series([1, LOCK], index=["a", "b"]), "args[0]['b']"),
        (pd.Series([1, LOCK], index=["a", "a"]), "args[0].iloc[1]"),
        (pd.Series([1, LOCK], index=[0.5, 1.5]), "args[0].iloc[1]"),
        (pd.Series([1, LOCK], index=objects([1], "b")), "args[0].iloc[1]"),
        (pd.DataFrame({"a": [LOCK]}).set_axis(pd.Index(objects([1])), axis=1), "args[0].iloc[:, 0][0]"),
        (pd.Series([1, 2], index=[0, LOCK]), "args[0].index[1]"),
        (pd.Series([1, 2], name=(1, LOCK)), "args[0].name[1]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_path_goes_on_into_arrays_and_frames(value: object, where: str) -> None:
    """Which of the cells of a table it is would have to be found by hand."""
    assert where_in(value) == where


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_a_cell_among_many_is_found_by_few_trials(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pickling for each cell would take minutes."""
    monkeypatch.setattr(culprits, "SEARCH_SECONDS", 100.0)
    many = [*[{"a": 1}] * 200_000, LOCK, *[2] * 100_000]
    value = objects(*many) if kind == "array" else pd.DataFrame({"n": range(300_001), "b": many})
    trials = 0

    def dumps(part: object) -> bytes:
        nonlocal trials
        trials += 1
        return pickles.dumps(part)

    where, _, _ = culprits.explain(culprits.Parts.of([("it", value)]), TypeError("no"), dumps)

    assert where == ("it[200000]" if kind == "array" else "it['b'][200000]")
    assert trials < 60
