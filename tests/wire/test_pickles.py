"""Pickles: what works, what is refused with which words, and exceptions that come over."""

from __future__ import annotations

import builtins
import copyreg
import functools
import io
import sqlite3
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from tiledag_widget.errors import NotPicklable, RemoteError
from tiledag_widget.wire import culprits, pickles

LOCK = threading.Lock()


def there_and_back(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Sends a call, calls it and sends its result, all in this process."""
    parcel = pickles.dumps_call("node", function, args, kwargs)
    function, positional, keyword = pickles.loads_call("node", parcel)
    return pickles.loads_result("node", pickles.dumps_result("node", function(*positional, **keyword)))


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> NotPicklable:
    with pytest.raises(NotPicklable) as caught:
        pickles.dumps_call("resize-17", function, args, kwargs)
    return caught.value


class _Lost(Exception):
    """What a registered reducer makes of an exception."""


def over(error: BaseException) -> BaseException:
    """`error` raised, captured and restored."""
    try:
        raise error
    except BaseException as raised:
        data = pickles.capture_exception(raised)
    return pickles.restore_exception(data)[0]


def in_main(source: str) -> dict[str, Any]:
    """Names defined as in a notebook cell: in a module `__main__` that no other process can import."""
    cell: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    exec(source, cell)
    return cell


# --- what works ---------------------------------------------------------------------------------------------


class Shelf:
    def __init__(self, size: int) -> None:
        self.size = size

    def twice(self) -> int:
        return 2 * self.size


def test_lambdas_closures_partials_and_methods_go() -> None:
    outer = 3

    assert there_and_back(lambda x: x + outer, 4) == 7
    assert there_and_back(functools.partial(pow, 2), 5) == 32
    assert there_and_back(Shelf(4).twice) == 8
    assert there_and_back(lambda *, a, b: (b, a), a=1, b=2) == (2, 1)


def test_classes_and_functions_of_a_notebook_go_as_they_are_when_sent() -> None:
    """A cell that was run again would otherwise go on calling its old functions."""
    cell = in_main("class Point:\n    x = 1\ndef f():\n    return Point.x\n")
    first = there_and_back(cell["f"])
    exec("class Point:\n    x = 2\n", cell)

    second = there_and_back(cell["f"])

    assert (first, second) == (1, 2)


def test_a_million_items_and_big_arrays_go() -> None:
    assert there_and_back(len, list(range(10**6))) == 10**6


def test_a_big_buffer_travels_beside_the_stream_and_comes_out_writable() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000)

    parcel = pickles.dumps_call("node", len, (array,), {})
    _, (copy,), _ = pickles.loads_call("node", [bytes(buffer) for buffer in parcel])

    assert len(parcel) == 2
    assert len(parcel[0]) < 10_000
    copy[0] = 5
    assert array[0] == 0


def test_a_result_of_a_class_of_the_sender_is_of_that_very_class() -> None:
    """`isinstance` and `except` in the notebook would fail for a copy; by value, its methods would be replaced."""
    cell = in_main("class Point:\n    def where(self):\n        return here\nhere = 1\n")
    where = cell["Point"].where
    cloudpickle.dumps(cell["Point"])  # the class has been sent once, so it is known by its id

    result = pickles.loads_result("node", pickles.dumps_result("node", cell["Point"]()))

    assert type(result) is cell["Point"]
    assert cell["Point"].where is where


def test_a_class_that_is_gone_comes_by_value() -> None:
    """The notebook may have dropped the class while its node ran."""
    cell = in_main("class Point:\n    x = 1\n")
    cloudpickle.dumps(cell["Point"])
    parcel = pickles.dumps_result("node", cell["Point"]())
    from cloudpickle import cloudpickle as inside

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inside, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
        result = pickles.loads_result("node", parcel)

    assert type(result).__name__ == "Point"
    assert type(result) is not cell["Point"]
    assert result.x == 1


# --- what is refused ----------------------------------------------------------------------------------------


@dataclass
class Settings:
    name: str
    held: object


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held


def counting() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (LOCK, "args[0]"),
        ({"x": [1, 2, 3, LOCK]}, "args[0]['x'][3]"),
        ((1, {2: LOCK}), "args[0][1][2]"),
        ({(1, 2): LOCK}, "args[0][<tuple>]"),
        ({LOCK: 1}, "args[0]: key <lock>"),
        (Settings("a", LOCK), "args[0].held"),
        (Slotted([LOCK]), "args[0].held[0]"),
        ({LOCK}, "args[0]{<lock>}"),
        (functools.partial(print, LOCK), "args[0].args[0]"),
        (counting(), "args[0]"),
        (types.SimpleNamespace(a={"b": LOCK}), "args[0].a['b']"),
        (lambda: LOCK, "args[0]: global 'LOCK'"),
        ([0] * 100_000 + [LOCK] + [0] * 100_000, "args[0][100000]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_path_of_the_culprit_is_named(value: object, where: str) -> None:
    if isinstance(value, types.FunctionType):
        value = types.FunctionType(value.__code__, {"LOCK": LOCK, "__name__": "__main__"})

    error = refusal(len, value)

    assert error.where == where
    assert str(error).startswith(f"Node 'resize-17': {where} cannot be sent to a process: ")


def test_the_message_names_type_and_way_out() -> None:
    with sqlite3.connect(":memory:") as connection:
        error = refusal(len, {"db": connection})
    connection.close()

    assert str(error) == (
        "Node 'resize-17': args[0]['db'] cannot be sent to a process: sqlite3.Connection has no pickled form. "
        "Open it inside the function, or run this node in threads."
    )


def test_a_keyword_argument_is_named() -> None:
    assert refusal(len, db=LOCK).where == "kwargs['db']"


def test_a_closure_variable_is_named() -> None:
    lock = threading.Lock()

    error = refusal(lambda: lock)

    assert "function: closure variable 'lock' cannot be sent to a process: _thread.lock" in str(error)


def test_an_open_file_and_a_method_of_something_locked_are_named(tmp_path: Path) -> None:
    shelf = Shelf(1)
    shelf.lock = LOCK  # type: ignore[attr-defined]  # as user code does

    with open(tmp_path / "f", "wb") as file:
        assert "Open it inside the function" in str(refusal(len, file))
    assert refusal(shelf.twice).where == "function.__self__.lock"


def test_nesting_ten_thousand_deep_is_refused_in_words() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    error = refusal(len, 1, deep)

    assert error.where == "args[1]"
    assert "nested too deep" in str(error)
    while deep:
        deep = deep.pop()  # freeing it at once may need a deep stack too


class Hostile:
    """Raises what it is given, when pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        raise self.error


@pytest.mark.parametrize("kind", [ValueError, SystemExit, GeneratorExit, MemoryError, BaseException])
def test_pickling_code_that_raises_is_refused(kind: type[BaseException]) -> None:
    error = refusal(len, [Hostile(kind("boom"))])

    assert error.where == "args[0][0]"
    assert isinstance(error.__cause__, BaseException)


def test_an_interrupt_raised_by_pickling_code_outside_the_main_thread_is_no_interrupt() -> None:
    caught: list[BaseException] = []

    def send() -> None:
        caught.append(refusal(len, Hostile(KeyboardInterrupt())))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()

    assert isinstance(caught[0], NotPicklable)


def test_an_interrupt_while_pickling_in_the_main_thread_is_let_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        pickles.dumps_call("node", len, (Hostile(KeyboardInterrupt()),), {})


def test_the_search_for_the_culprit_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(culprits, "SEARCH_SECONDS", 0.0)

    error = refusal(len, [[LOCK]])

    assert "cannot be sent to a process" in str(error)


def test_a_result_is_refused_with_its_path() -> None:
    with pytest.raises(NotPicklable, match=r"Node 'n': result\['a'\] cannot be sent back from a process") as caught:
        pickles.dumps_result("n", {"a": LOCK})

    assert caught.value.where == "result['a']"


class RaisesWhenLoaded:
    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def test_a_call_that_does_not_load_says_so() -> None:
    parcel = pickles.dumps_call("n", len, (RaisesWhenLoaded(),), {})

    with pytest.raises(NotPicklable, match="the call could not be unpickled in the worker process: ValueError"):
        pickles.loads_call("n", parcel)


def test_a_result_that_does_not_load_is_found_by_the_sender() -> None:
    """So that code that crashes when loaded does not crash the kernel."""
    with pytest.raises(NotPicklable, match="the result could not be unpickled: ValueError"):
        pickles.dumps_result("n", RaisesWhenLoaded())


# --- exceptions ---------------------------------------------------------------------------------------------


class WithArguments(Exception):
    def __init__(self, code: int, where: str) -> None:
        super().__init__(f"{code} at {where}")
        self.code = code
        self.where = where


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


class SaysNothing(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad", 3),
        KeyError("k"),
        OSError(2, "gone", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        SystemExit(3),
        KeyboardInterrupt(),
        StopIteration(4),
        WithArguments(3, "there"),
        KeywordOnly(code=3),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_taken_over", [False, True], ids=["plain", "registered"])
def test_an_exception_comes_over_whole(
    error: BaseException, is_taken_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries that register a way to pickle every exception, as dask.distributed's tblib does, would lose some."""
    if is_taken_over:
        monkeypatch.setitem(copyreg.dispatch_table, type(error), lambda each: (_Lost, (str(each),)))

    restored = over(error)

    assert type(restored) is type(error)
    assert (str(restored), restored.args) == (str(error), error.args)
    own = {name: value for name, value in vars(error).items() if name != "__notes__"}
    assert vars(restored) == own


def test_a_local_class_comes_over() -> None:
    class Local(Exception):
        pass

    assert type(over(Local("x"))) is Local


def test_an_exception_class_of_the_notebook_is_caught_by_its_name() -> None:
    cell = in_main("class MyError(Exception):\n    def __init__(self, *, code):\n        self.code = code\n")

    restored = over(cell["MyError"](code=4))

    assert isinstance(restored, cell["MyError"])
    assert restored.code == 4


def test_an_exception_that_cannot_come_arrives_as_text() -> None:
    restored = over(HoldsALock())

    assert isinstance(restored, RemoteError)
    assert str(restored).endswith("HoldsALock: held")
    assert restored.type_name.endswith("HoldsALock")
    assert "in over" in restored.traceback_text


def test_an_exception_whose_text_fails_arrives_as_text() -> None:
    restored = over(SaysNothing())

    assert isinstance(restored, RemoteError)
    assert "SaysNothing" in str(restored)


def test_a_message_of_ten_megabytes_is_cut() -> None:
    started = time.monotonic()

    restored = over(ValueError("x" * 10_000_000))

    assert isinstance(restored, RemoteError)
    assert restored.type_name == "ValueError"
    assert len(str(restored)) < 100_000
    assert "characters left out" in str(restored)
    assert time.monotonic() - started < 2


def test_a_chain_is_in_the_text() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise ValueError("second") from first
    except ValueError as second:
        restored, text = pickles.restore_exception(pickles.capture_exception(second))

    assert type(restored) is ValueError
    assert "KeyError: 'first'" in text
    assert "direct cause" in text
    assert pickles.traceback_text_of(restored) == text
    assert text in str(restored.__cause__)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with Python 3.11")
def test_a_group_comes_over() -> None:
    group = builtins.ExceptionGroup  # type: ignore[attr-defined]  # mypy reads this as Python 3.10

    restored = over(group("both", [ValueError("a"), KeyError("b")]))

    assert type(restored) is group
    assert [str(error) for error in restored.exceptions] == ["a", "'b'"]  # type: ignore[attr-defined]
    assert "KeyError: 'b'" in pickles.traceback_text_of(restored)


def test_an_exception_that_loads_only_where_it_was_made_arrives_as_text() -> None:
    cell = in_main("armed = []\nclass Late(Exception):\n    def __reduce__(self):\n        return make, ()\n")
    cell["make"] = lambda: cell["Late"]("x") if cell["armed"] is not None else 1 / 0
    maker = types.ModuleType("maker_of_late")
    maker.make = cell["make"]  # type: ignore[attr-defined]
    cell["make"].__module__, cell["make"].__qualname__ = "maker_of_late", "make"
    sys.modules["maker_of_late"] = maker
    data = pickles.capture_exception(cell["Late"]("x"))
    del sys.modules["maker_of_late"]

    restored, _ = pickles.restore_exception(data)

    assert isinstance(restored, RemoteError)
    assert str(restored) == "Late: x"


def test_frames_of_ours_are_not_shown_and_a_local_traceback_is_text_too() -> None:
    def fails() -> None:
        raise ValueError("here")

    try:
        fails()
    except ValueError as error:
        text = pickles.traceback_text_of(error)

    assert "in fails" in text
    assert text.endswith("ValueError: here\n")


def test_lines_of_a_notebook_cell_are_shown() -> None:
    """Only the kernel knows the source of a cell; a traceback without it is hard to read."""
    import linecache

    source = "def f():\n    raise ValueError('in a cell')\n"
    linecache.cache["<cell 5>"] = (len(source), None, source.splitlines(True), "<cell 5>")
    cell: dict[str, Any] = {}
    exec(compile(source, "<cell 5>", "exec"), cell)
    lines = linecache.cache.pop("<cell 5>")
    try:
        cell["f"]()
    except ValueError as error:
        data = pickles.capture_exception(error)
    linecache.cache["<cell 5>"] = lines

    _, text = pickles.restore_exception(data)

    linecache.cache.pop("<cell 5>")
    assert "    raise ValueError('in a cell')" in text


def test_all_of_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    import traceback

    file = io.StringIO()

    traceback.print_exception(over(ValueError("x")), file=file)

    assert file.getvalue().count("ValueError: x") == 2
