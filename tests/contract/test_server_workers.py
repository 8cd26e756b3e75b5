"""What every executor promises, of the server's workers: whatever a function does, its node ends (B4), what cannot be
packed is told (D1 to D3), and what it printed is there (F8)."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.running import embedded_server
from tiledag_widget import DAG, Status
from tiledag_widget.errors import NotPicklable, ServerError
from tiledag_widget.server_node import ServerNode

for needed in ("uvicorn", "pyarrow", "pandas", "psutil"):
    pytest.importorskip(needed)

pytestmark = [pytest.mark.slow, pytest.mark.leaks("the connection to the server lasts as long as the module")]
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder and a home of its own, so that nobody's server or account is touched."""
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_server(folder, TILEDAG_SERVER="embedded"):
        yield folder


def ended(function: Callable[..., Any], *args: Any) -> ServerNode[Any]:
    """A node that ran the function on the server, and one after it that must be unharmed."""
    with contextlib.suppress(Exception), DAG() as dag:
        node = dag.submit(function, *args)
        sibling = dag.submit(lambda: 7)
        assert isinstance(node, ServerNode)
        dag.compute()
        dag.wait(SECONDS)
    assert sibling.result(SECONDS) == 7
    assert dag.done()
    assert isinstance(node, ServerNode)
    return node


def raising(what: str) -> Callable[[], Any]:
    def fails() -> None:
        import asyncio

        class Mine(BaseException):
            pass

        kinds = {"CancelledError": asyncio.CancelledError, "Mine": Mine}
        import builtins

        raise kinds.get(what) or getattr(builtins, what)

    return fails


def returning(what: str) -> Callable[[], Any]:
    def gives() -> Any:
        async def nothing() -> None: ...

        if what == "a coroutine":
            return nothing()
        return ValueError("a value") if what == "an exception" else NotImplemented

    return gives


RAISED = ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "StopIteration", "RecursionError",
          "MemoryError", "Mine"]  # fmt: skip


@pytest.mark.parametrize("what", RAISED)
def test_b4_whatever_a_function_raises_its_node_fails_and_says_so(what: str) -> None:
    """`SystemExit` in a node hangs the reference."""
    for _ in range(5):
        fails_as(what)


def fails_as(what: str) -> None:
    node = ended(raising(what))

    assert node.status is Status.FAILED
    assert isinstance(node.error, ServerError)
    assert what in node.error.type_name


@pytest.mark.parametrize("what", ["a coroutine", "an exception", "NotImplemented"])
def test_b4_whatever_a_function_returns_its_node_ends(what: str) -> None:
    """A value that stands for something else inside the engine must not be taken for it."""
    for _ in range(5):
        node = ended(returning(what))

        if what == "a coroutine":  # cannot be packed, and says so
            assert node.status is Status.FAILED
            assert "coroutine" in str(node.error)
        else:
            assert node.status is Status.COMPLETED
            assert type(node.result()) in (ValueError, type(NotImplemented))


# --- packing ------------------------------------------------------------------------------------------------


class Hostile:
    """Does something bad when it is packed or unpacked, in the process where it should."""

    def __init__(self, how: str, moment: str, home: int) -> None:
        self.how, self.moment, self.home = how, moment, home

    def __reduce__(self) -> Any:
        if self.moment == "pickle":
            do(self.how)
        return (do_away_from, (self.how, self.home)) if self.moment == "unpickle" else (int, (1,))


def do(how: str) -> None:
    import os
    import sys

    if how == "raise":
        raise ValueError("in between")
    if how == "exit":
        sys.exit(3)
    os._exit(3)


def do_away_from(how: str, home: int) -> int:
    import os

    if os.getpid() != home:
        do(how)
    return 1


for one in (Hostile, do, do_away_from):
    one.__module__ = "__main__"  # goes by value


@pytest.mark.parametrize("how", ["raise", "exit", "crash"])
@pytest.mark.parametrize("stage", ["unpickle the task", "run", "pickle the result"])
def test_d1_a_call_that_breaks_at_any_stage_fails_its_node_alone(stage: str, how: str) -> None:
    """A worker that dies while it unpacks is as dead as one that dies at work."""
    for _ in range(2):
        breaks_at(stage, how)


def breaks_at(stage: str, how: str) -> None:
    home = os.getpid()
    if stage == "unpickle the task":
        node = ended(lambda x: x, Hostile(how, "unpickle", home))
    elif stage == "run":
        node = ended(lambda how: do(how), how)
    else:
        node = ended(lambda how: Hostile(how, "pickle", 0), how)

    assert node.status is Status.FAILED
    words = {"raise": "in between", "exit": "SystemExit", "crash": "died"}[how]
    assert words in str(node.error), node.error


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_d1_a_result_that_breaks_when_it_is_opened_breaks_nothing_else(how: str) -> None:
    """It is opened in the process of who asks for it."""
    node = ended(lambda how: Hostile(how, "unpickle", os.getpid()), how)

    with pytest.raises(Exception, match="in between" if how == "raise" else "SystemExit"):
        node.result(SECONDS)
    assert ended(lambda: 1).result() == 1


def test_d1_an_argument_that_breaks_when_packed_fails_before_anything_is_sent() -> None:
    """Nothing of it may reach the server."""
    node = ended(lambda x: x, {"k": [0, Hostile("raise", "pickle", 0)]})

    assert node.status is Status.FAILED
    assert isinstance(node.error, NotPicklable)
    assert "args[0]" in str(node.error)


def odd_errors() -> dict[str, Callable[[], Any]]:
    def with_arguments() -> None:
        class NeedsTwo(Exception):
            def __init__(self, a: int, b: int) -> None:
                super().__init__(f"{a} and {b}")

        raise NeedsTwo(1, 2)

    def keyword_only() -> None:
        class Keyword(Exception):
            def __init__(self, *, why: str) -> None:
                super().__init__(why)

        raise Keyword(why="because")

    def with_a_lock() -> None:
        import threading

        error = ValueError("holds a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    def chained() -> None:
        try:
            raise KeyError("the first")
        except KeyError as error:
            raise ValueError("the second") from error

    def group() -> None:
        import builtins

        kind = vars(builtins).get("ExceptionGroup")  # from Python 3.11 on
        raise kind("some", [ValueError("a"), KeyError("b")]) if kind is not None else ValueError("some")

    def long() -> None:
        raise ValueError("x" * 10_000_000)

    def no_text() -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no")

        raise Mute

    def local() -> None:
        class Local(Exception):
            pass

        raise Local("of here")

    return {
        "NeedsTwo:1 and 2": with_arguments,
        "Keyword:because": keyword_only,
        "ValueError:holds a lock": with_a_lock,
        "ValueError:the second": chained,
        ":some": group,
        "ValueError:xxx": long,
        "Mute:": no_text,
        "Local:of here": local,
    }


@pytest.mark.parametrize("what", odd_errors())
def test_d2_type_text_and_place_of_an_error_arrive_whatever_it_is(what: str) -> None:
    """An exception that does not unpickle hides the one that was raised."""
    for _ in range(5):
        error_arrives(what)


def error_arrives(what: str) -> None:
    kind, _, text = what.partition(":")
    node = ended(odd_errors()[what])

    assert isinstance(node.error, ServerError)
    assert kind in node.error.type_name
    assert text in str(node.error)
    assert "line" in node.error.traceback_text
    assert len(str(node.error)) < 200_000


def _nested(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def sendable() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...], Any]]:
    from functools import partial

    secret = 5

    class Made:
        def __init__(self, x: int) -> None:
            self.x = x

        def twice(self) -> int:
            return self.x * 2

    Made.__module__ = "__main__"
    return {
        "a lambda": (lambda x: x + 1, (1,), 2),
        "a closure": (lambda: secret, (), 5),
        "a partial": (partial(max, 3), (4,), 4),
        "a method of a class of here": (Made(4).twice, (), 8),
        "an object of a class of here": (lambda made: made.twice(), (Made(6),), 12),
        "a builtin": (len, ([1, 2],), 2),
        "a million items": (lambda items: len(items), (list(range(1_000_000)),), 1_000_000),
    }


@pytest.mark.parametrize("what", sendable())
def test_d3_what_people_send_arrives(what: str) -> None:
    """Notebooks define everything in the cell."""
    function, args, expected = sendable()[what]

    assert ended(function, *args).result() == expected


def iter_of_nothing() -> Iterator[int]:
    yield from ()


UNSENDABLE: dict[str, Callable[[Path], Any]] = {
    "a lock": lambda _: threading.Lock(),
    "a generator": lambda _: iter_of_nothing(),
    "a file that is written": lambda folder: (folder / "file").open("w"),
}


@pytest.mark.parametrize("what", UNSENDABLE)
def test_d3_what_cannot_be_sent_fails_with_the_node_and_the_place(what: str, tmp_path: Path) -> None:
    """`cannot pickle '_thread.lock' object` does not say which of thirty arguments it was."""
    value = UNSENDABLE[what](tmp_path)
    with contextlib.suppress(Exception), DAG() as dag:
        node = dag.submit(lambda x: x, {"x": [1, value]}, name="the culprit")
        dag.compute()
        dag.wait(SECONDS)
    if hasattr(value, "close"):
        value.close()

    assert isinstance(node.error, NotPicklable)
    assert "the culprit" in str(node.error)
    assert "args[0]['x'][1]" in str(node.error)


def test_d3_nesting_10_000_deep_works_or_says_so() -> None:
    """A recursion error of the packer is nobody's message."""
    node = ended(lambda x: 1, _nested(10_000))

    assert node.status is Status.COMPLETED or isinstance(node.error, (NotPicklable, ServerError))


# --- what was printed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["returns", "raises", "exits", "is killed"])
def test_f8_all_lines_are_there_in_order_whatever_came_after_them(end: str) -> None:
    """The last lines before the end are those that tell why."""

    def prints(end: str) -> None:
        import logging
        import os
        import signal
        import sys

        for number in range(25):
            print(f"line {number * 4}")  # noqa: T201
            sys.stderr.write(f"line {number * 4 + 1}\n")
            logging.getLogger("x").warning("line %d", number * 4 + 2)
            sys.stdout.flush()
            os.write(1, f"line {number * 4 + 3}\n".encode())
        if end == "raises":
            raise ValueError
        if end == "exits":
            sys.exit(3)
        if end == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)

    node = ended(prints, end)
    deadline = time.monotonic() + SECONDS
    while (text := node.output()).count("\n") < 100 and time.monotonic() < deadline:
        time.sleep(0.05)

    assert text.splitlines() == [f"line {number}" for number in range(100)]
