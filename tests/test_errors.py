"""Exceptions that stand for others: what ended a node, and which item a stage failed at."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from tiledag_widget.errors import ItemError, NodeExited, ServerError


class WithTwo(Exception):
    """An exception whose ``__init__`` does not take its own ``args``."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")
        self.second = second


class Final(Exception):
    """Refuses to be derived from."""

    def __init_subclass__(cls) -> None:
        raise TypeError("this class is final")


CAUSES: list[Exception] = [
    ValueError("no such month"),
    KeyError("June"),
    FileNotFoundError(2, "No such file", "june.csv"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    StopIteration(3),
    ZeroDivisionError(),
    WithTwo(1, 2),
]


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
def test_the_error_of_an_item_names_it_and_is_of_the_class_that_was_raised(cause: Exception) -> None:
    """`except KeyError` would miss it, or a person would not know which item to look at."""
    error = ItemError.at("read", 3, "'June'", cause, "some task")

    assert isinstance(error, type(cause))
    assert str(error).startswith(f"Node 'read': item 3 ('June'): {type(cause).__name__}")
    assert error.args == cause.args
    assert (error.item, error.argument, error.task_id, error.__cause__) == (3, "'June'", "some task", cause)
    for name in ("errno", "filename", "start", "second"):
        assert getattr(error, name, None) == getattr(cause, name, None)
    if type(cause) is not WithTwo:  # it does not come out of a pickle itself
        copy: Any = pickle.loads(pickle.dumps(error))
        assert (str(copy), isinstance(copy, type(cause)), copy.item) == (str(error), True, 3)


@pytest.mark.parametrize("cause", [Final("no"), SystemExit(3), ServerError("no room", 507)], ids=repr)
def test_where_the_class_cannot_be_kept_the_error_of_an_item_still_names_it(cause: BaseException) -> None:
    """Somebody's odd class would hide which item failed."""
    error = ItemError.at("read", 0, "", cause)

    assert str(error).startswith(f"Node 'read': item 0: {type(cause).__name__}: {cause}")
    assert error.__cause__ is cause


@pytest.mark.parametrize(
    "raised", [SystemExit(2), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError("late")], ids=repr
)
def test_what_would_end_more_than_a_node_is_told_as_an_error(raised: BaseException) -> None:
    """Whoever waits for the graph would be ended with it."""
    error = NodeExited.instead_of(raised, "leaver")

    assert isinstance(error, NodeExited)
    assert error.raised is raised
    assert str(error).startswith(f"Node 'leaver': its function raised {type(raised).__name__}")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), type(copy.raised)) == (str(error), type(raised))


def test_every_other_exception_stays_what_it_is() -> None:
    """Also one of somebody's own that is no `Exception`."""

    class Mine(BaseException):
        pass

    for error in (ValueError("boom"), Mine()):
        assert NodeExited.instead_of(error, "n") is error
