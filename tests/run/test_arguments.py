"""`run.arguments`: things inside argument trees are found and replaced, and nothing else is touched."""

from __future__ import annotations

import time
import uuid
from collections import Counter, OrderedDict, UserDict, defaultdict, deque
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiledag_widget import replace_stored_params
from tiledag_widget.run.arguments import find, replace
from tiledag_widget.wire.models import StoredParam


class Marker:
    """What is looked for."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Pair(NamedTuple):
    left: Any
    right: Any


class Words(list[Any]):
    """A list of the user's."""


class Table(dict[str, Any]):
    """A dict of the user's that cannot be made without an argument."""

    def __init__(self, source: dict[str, Any]) -> None:
        super().__init__(source)
        self.source = source


class Fixed(tuple[Any, ...]):
    """A tuple that takes three items one by one."""

    def __new__(cls, one: Any, two: Any, three: Any) -> Fixed:
        return super().__new__(cls, (one, two, three))


def swap(tree: Any) -> Any:
    return replace(tree, Marker, lambda marker: marker.value)


def test_what_is_looked_for_comes_in_order_of_discovery_each_once() -> None:
    """The order of parents decides which failure is named."""
    one, two, three = Marker(1), Marker(2), Marker(3)

    assert find([two, {"a": (one, [three])}, two, one], Marker) == [two, one, three]
    assert find(one, Marker) == [one]
    assert find("text", Marker) == []


@pytest.mark.parametrize(
    "hidden",
    [
        lambda marker: {marker: 1},
        lambda marker: {marker},
        lambda marker: deque([marker]),
        lambda marker: UserDict(a=marker),
        lambda marker: (item for item in [marker]),
    ],
)
def test_keys_sets_and_other_containers_are_not_searched(hidden: Any) -> None:
    """A generator would be used up, and a set would change its order."""
    tree = [hidden(Marker(1))]

    assert find(tree, Marker) == []
    assert swap(tree) is tree


def test_what_holds_nothing_is_the_same_object_afterwards() -> None:
    """A large array in a list would be copied, and identity lost."""
    untouched = [1, {"a": (2,)}]
    tree: list[Any] = [Marker(1), untouched]

    new = swap(tree)

    assert new == [1, untouched]
    assert new[1] is untouched
    assert swap(untouched) is untouched
    assert tree[0].value == 1  # the tree of the user stays


def test_the_same_object_twice_is_the_same_new_object_twice() -> None:
    """A function that relies on two names for one list would see two."""
    shared = [Marker(1)]

    new = swap((shared, {"again": shared}))

    assert new[0] is new[1]["again"]


def test_a_tree_may_hold_itself() -> None:
    """It would never end."""
    ring: list[Any] = [Marker(1)]
    ring.append({"ring": (ring,)})

    new = swap(ring)

    assert new[0] == 1
    assert new[1]["ring"][0] is new
    assert find(ring, Marker) == [ring[0]]


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        (Words([Marker(1)]), Words),
        (OrderedDict(a=Marker(1)), OrderedDict),
        (Counter({"a": Marker(1)}), Counter),
        (Pair(Marker(1), 2), Pair),
        (Table({"a": Marker(1)}), Table),
    ],
)
def test_containers_of_the_user_keep_their_kind(tree: Any, kind: type[Any]) -> None:
    """A function that asks for its own kind would get a plain one."""
    new = swap(tree)

    assert type(new) is kind
    assert not find(new, Marker)


def test_a_default_dict_keeps_its_factory() -> None:
    """The first missing key would be a KeyError, as in the reference."""
    new = swap(defaultdict(list, a=Marker(1)))

    assert new == {"a": 1}
    assert new["b"] == []


def test_a_tuple_that_cannot_be_rebuilt_is_named() -> None:
    """The error would speak of a missing argument of a function that the user never called."""
    with pytest.raises(TypeError, match=r"a Fixed that holds a node cannot be rebuilt.*Pass a plain tuple"):
        swap([Fixed(Marker(1), 2, 3)])


@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "mixed"])
def test_no_depth_is_too_deep(kind: str) -> None:
    """A nested structure would end in RecursionError."""
    tree: Any = Marker(7)
    for depth in range(10_000):
        here = ["list", "tuple", "dict"][depth % 3] if kind == "mixed" else kind
        tree = [tree] if here == "list" else (tree,) if here == "tuple" else {"a": tree}

    new = swap(tree)

    for _ in range(10_000):
        new = new["a"] if isinstance(new, dict) else new[0]
    assert new == 7


def test_the_cost_grows_with_the_size_of_the_tree_and_not_faster() -> None:
    """A list of a million numbers, or one shared ten thousand times, would take minutes."""
    shared = [Marker(1)] * 10
    wide = [shared] * 20_000

    start = time.perf_counter()
    new = swap([wide, list(range(200_000))])

    assert time.perf_counter() - start < 2
    assert len(new[0]) == 20_000


trees = st.recursive(
    st.one_of(st.integers(), st.text(max_size=3), st.builds(Marker, st.integers()), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=4),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=20,
)


def naive(tree: Any) -> Any:
    if isinstance(tree, Marker):
        return tree.value
    if isinstance(tree, Pair):
        return Pair(*map(naive, tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map(naive, tree))
    if isinstance(tree, dict):
        return {key: naive(value) for key, value in tree.items()}
    return tree


@settings(max_examples=50, deadline=None)
@given(trees)
def test_any_tree_is_replaced_as_a_simple_recursion_would(tree: Any) -> None:
    """Some nesting would be forgotten."""
    assert swap(tree) == naive(tree)
    assert not find(swap(tree), Marker)


class Loader:
    def __init__(self, values: dict[uuid.UUID, Any]) -> None:
        self.values = values
        self.calls: list[uuid.UUID] = []

    def load(self, param: StoredParam) -> Any:
        self.calls.append(param.task_id)
        return self.values[param.task_id]


def test_stored_parameters_are_loaded_where_they_stand() -> None:
    """A result kept on the server would reach the function as a reference."""
    known = uuid.uuid4()
    tree: Any = {"a": [StoredParam(known)]}

    assert replace_stored_params(tree, Loader({known: 5})) == {"a": [5]}


def test_a_stored_parameter_that_the_loader_lacks_is_its_error() -> None:
    """The function would run with something else."""
    with pytest.raises(KeyError):
        replace_stored_params([StoredParam(uuid.uuid4())], Loader({}))


@pytest.mark.parametrize("loader", [None, 5, {}, lambda identity: 1])
def test_what_cannot_load_stored_parameters_is_said_so(loader: Any) -> None:
    """`'function' object has no attribute 'load'` does not say which of the two arguments is meant."""
    with pytest.raises(TypeError, match="a method load.* has none"):
        replace_stored_params([1], loader)
