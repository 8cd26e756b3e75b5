"""Node details: arguments on a line, tracebacks as frames, previews that cost little."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget.core.snapshot import AttemptFacts
from tiledag_widget.core.states import AddNode, Began, Failed, Finished, Start, Status
from tiledag_widget.view.brief import byte_words, describe, one_line, preview_text
from tiledag_widget.view.details import node_detail, preview
from tiledag_widget.view.tracebacks import cell_of, error_type, frames_of, frames_of_text, is_mine, traceback_of

from .fake_source import FakeNode, FakeSource

AT = 1_700_000_000.0


class Loud:
    """Says when its ``repr`` is called."""

    calls = 0

    def __repr__(self) -> str:
        Loud.calls += 1
        return "loud"


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    password: str
    data: list[int] = dataclasses.field(repr=False, default_factory=list)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "None"),
        (True, "True"),
        (12, "12"),
        (10**500, "<int of 1,661 bits>"),
        (1.5, "1.5"),
        ("a\nb", "'a\\nb'"),
        (b"abc", "b'abc'"),
        ([1, 2], "[1, 2]"),
        ([], "[]"),
        ((1,), "(1,)"),
        (set(), "set()"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, … 1,000 items]"),
        ({"a": 1}, "{'a': 1}"),
        ({"a": 1, "db_password": "hunter2"}, "{'a': 1, 'db_password': (not shown)}"),
        ([[[[1]]]], "[[[…]]]"),
        (Colour.RED, "Colour.RED"),
        (Point(1, "hunter2"), "Point(x=1, password=(not shown))"),
        (len, "len"),
        (json.dumps, "json.dumps"),
        (dt.date(2024, 5, 1), "datetime.date(2024, 5, 1)"),
        (Loud(), "<Loud>"),
        ([Loud()], "[<Loud>]"),
    ],
)
def test_values_on_a_line(value: object, line: str) -> None:
    assert one_line(value) == line


def test_no_code_of_the_user_runs_for_a_line() -> None:
    Loud.calls = 0
    for value in (Loud(), [Loud()], {"a": Loud()}, {Loud(): 1}, (Loud(),), {Loud()}):
        one_line(value)
        describe(value)
    assert not Loud.calls


def test_lines_are_short_and_quick_whatever_the_value() -> None:
    for value in ("x" * 10**8, b"x" * 10**8, [["y" * 10**6] * 10**6] * 10**6, list(range(10**6)), 7**100_000):
        assert len(one_line(value)) <= 120
        assert len(preview_text(value)) <= 2_001


def test_a_list_in_itself() -> None:
    endless: list[Any] = [1]
    endless.append(endless)
    assert one_line(endless) == "[1, [1, […]]]"
    assert len(preview_text(endless)) < 200


def test_arrays_and_frames_are_described_without_repr() -> None:
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    assert describe(numpy.zeros((10, 20))) == "10 × 20, float64, 1.6 kB"
    assert one_line(numpy.zeros(3)) == "<ndarray: 3, float64, 24 bytes>"
    assert describe(pandas.DataFrame({"a": [1, 2], "b": [3, 4]})) == "2 × 2"
    assert describe(pandas.Series([1, 2, 3])).startswith("3, int64")
    assert describe(numpy.float64(1.5)).startswith("a scalar, float64")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_200, "1.2 kB"),
        (1_234_567, "1.2 MB"),
        (45_678_901, "46 MB"),
        (3e12, "3.0 TB"),
    ],
)
def test_bytes_in_words(count: int, words: str) -> None:
    assert byte_words(int(count)) == words


def test_previews() -> None:
    assert preview("abc") == {"type": "str", "size": "3 characters", "text": "'abc'"}
    assert preview({"a": [1]}) == {"type": "dict", "size": "1 entry", "text": "{'a': [1]}"}
    assert preview(Loud())["text"] == "loud"
    long = preview("x" * 10_000)
    assert long["size"] == "10,000 characters"
    assert len(long["text"]) <= 2_001


# --- tracebacks ---------------------------------------------------------------------------------------------


def fail(depth: int = 0) -> None:
    if depth:
        fail(depth - 1)
    json.loads("{")


def caught(depth: int = 0) -> BaseException:
    try:
        fail(depth)
    except ValueError as error:
        return error
    raise AssertionError


def test_frames_tell_mine_from_libraries() -> None:
    frames = frames_of(caught())
    mine = [frame for frame in frames if frame["mine"]]
    assert [frame["function"] for frame in mine] == ["caught", "fail"]
    assert mine[-1]["code"] == 'json.loads("{")'
    assert not frames[-1]["mine"]
    assert frames[-1]["file"].endswith("decoder.py")


def test_frames_from_the_text_of_another_process() -> None:
    error = caught()
    text = "".join(traceback.format_exception(error))
    assert [(frame["line"], frame["mine"], frame["code"]) for frame in frames_of_text(text)] == [
        (frame["line"], frame["mine"], frame["code"]) for frame in frames_of(error)
    ]


def test_only_the_last_of_chained_exceptions_gives_frames_from_text() -> None:
    try:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError("later") from error
    except RuntimeError as error:
        text = "".join(traceback.format_exception(error))
        assert [frame["code"] for frame in frames_of_text(text)] == ['raise RuntimeError("later") from error']


def test_an_endless_recursion_has_few_frames() -> None:
    def again(number: int) -> None:
        again(number + 1)

    with pytest.raises(RecursionError) as raised:
        again(0)
    assert len(frames_of(raised.value)) <= 60
    assert len(traceback_of(raised.value)) < 21_000


def test_paths() -> None:
    assert is_mine("/home/someone/pipeline.py")
    assert not is_mine(json.__file__)
    assert not is_mine(pytest.__file__)
    assert not is_mine("<frozen importlib._bootstrap>")
    assert not is_mine("<string>")


def test_frames_name_the_notebook_cell() -> None:
    """In a process of its own: IPython's shell is one per process."""
    code = textwrap.dedent(
        """
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_cell("1", store_history=True)
        shell.run_cell("def f():\\n    x = 1\\n    raise ValueError('no')", store_history=True)
        shell.run_cell("try:\\n    f()\\nexcept ValueError as e:\\n    error = e", store_history=True)
        from tiledag_widget.view.tracebacks import frames_of, frames_of_text
        import traceback
        frames = frames_of(shell.user_ns["error"])
        print([(frame["cell"], frame["line"], frame["mine"], frame["code"]) for frame in frames])
        text = "".join(traceback.format_exception(shell.user_ns["error"]))
        print([frame["cell"] for frame in frames_of_text(text)])
        """
    )
    pytest.importorskip("IPython")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    first, second = done.stdout.strip().splitlines()[-2:]
    assert first == "[(3, 2, True, 'f()'), (2, 3, True, \"raise ValueError('no')\")]"
    assert second in ("[3, 2]", "[]"), "IPython's own formatting of cells may have no file line"


def test_no_cell_outside_a_notebook() -> None:
    assert cell_of(__file__) is None


# --- the whole detail ---------------------------------------------------------------------------------------


def graph() -> FakeSource:
    source = FakeSource()
    source.handle(AddNode(()), AddNode((0,)), AddNode(()), Start(AT))
    source.handle(Began(0, 1, AT, 0), Failed(0, 1, AT + 3.2), Began(2, 1, AT, 0), Finished(2, 1, AT))
    return source


def test_detail_of_a_failed_node() -> None:
    source = graph()
    error = caught()
    source.facts[0] = {
        "error": error,
        "args": (5, FakeNode(2), Loud()),
        "kwargs": {"api_token": "hunter2", "size": [1, 2]},
        "attempts": (AttemptFacts(1, Status.FAILED, 0, AT, AT + 3.2, error),),
    }
    detail = node_detail(source.node(0), source)
    assert detail["arguments"] == [
        {"name": "0", "type": "int", "value": "5", "node": None},
        {"name": "1", "type": "Node", "value": "", "node": 2},
        {"name": "2", "type": f"{__name__}.Loud", "value": "<Loud>", "node": None},
        {"name": "api_token", "type": "str", "value": "(not shown)", "node": None},
        {"name": "size", "type": "list", "value": "[1, 2]", "node": None},
    ]
    assert detail["error_type"] == "JSONDecodeError"
    assert detail["error_message"].startswith("Expecting property name")
    assert detail["traceback"].startswith("Traceback (most recent call last)")
    assert detail["attempts"] == [
        {
            "number": 1,
            "status": 4,
            "started": AT,
            "ended": AT + 3.2,
            "error": "JSONDecodeError: " + detail["error_message"],
        }
    ]
    assert "hunter2" not in json.dumps(detail, allow_nan=False)


def test_detail_of_blocked_waiting_and_completed_nodes() -> None:
    source = graph()
    source.results[2] = b"x" * 1_500
    assert node_detail(source.node(1), source)["blocker"] == 0
    assert node_detail(source.node(2), source)["result"] == "bytes, 1.5 kB"
    assert json.dumps(node_detail(source.node(1), source), allow_nan=False)


def test_an_exception_that_cannot_be_written() -> None:
    class Hostile(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

        __repr__ = __str__

    source = graph()
    source.facts[0] = {"error": Hostile()}
    detail = node_detail(source.node(0), source)
    assert detail["error_type"] == "Hostile"
    assert detail["error_message"] == "(its text could not be made: KeyboardInterrupt)"
    assert "Hostile" in detail["traceback"]


def test_details_stay_small() -> None:
    source = FakeSource()
    source.handle(AddNode(()), *[AddNode((0,)) for _ in range(20_000)])
    source.facts[0] = {"error": ValueError("x" * 10**6), "args": ("y" * 10**6,) * 1_000}
    assert len(json.dumps(node_detail(source.node(0), source))) < 100_000


def test_a_class_that_ends_with_a_dot_has_a_name() -> None:
    """Classes made from data can be called anything: without a name their error would be shown as none."""
    assert error_type(type("Error.", (ValueError,), {})()) == "Error."
    assert error_type(ValueError()) == "ValueError"
