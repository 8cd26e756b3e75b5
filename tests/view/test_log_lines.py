"""Ranges, filters, search and new lines, as a page asks for them."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import pytest

from tiledag_widget.core.lines import STDERR, STDOUT
from tiledag_widget.run.output import Output
from tiledag_widget.view.log_lines import GUTTER, LogDesk

SECONDS_20 = 20.0


def filled(total: int = 1000) -> Output:
    """Ten nodes in turn; every 100th line is an error record, every 10th is on stderr."""
    output = Output(now=lambda: 1_700_000_000.25)
    for number in range(total):
        level = 40 if number % 100 == 99 else STDERR if number % 10 == 3 else STDOUT
        output.add(number % 10, 1 + number % 2, level, f"Line {number} says {'boo' if number % 7 == 0 else 'hello'}")
    return output


def desk_of(output: Output) -> LogDesk:
    return LogDesk(output, lambda: [f"node-{n}" for n in range(10)], lambda: None)


def rows(body: dict[str, Any]) -> list[int]:
    return [line[0] for line in body["lines"]]


def test_a_range_has_what_was_asked_for_and_says_how_many_there_are() -> None:
    """The scrollbar and the rows would not belong together."""
    body = desk_of(filled()).answer("log_lines", {"start": 500, "stop": 503})

    assert (body["first"], body["end"], rows(body)) == (0, 1000, [500, 501, 502])
    assert body["lines"][0][1:] == [1_700_000_000.25, 0, 1, STDOUT, "Line 500 says hello"]


def test_an_answer_is_never_too_large_and_long_lines_are_cut() -> None:
    """A message over the limit closes the kernel's connection on some hosts."""
    output = Output()
    for _ in range(200):
        output.add(0, 1, STDOUT, "é" * 10_000)
    desk = desk_of(output)
    body = desk.answer("log_lines", {"start": 0, "stop": 200})

    assert len(json.dumps(body)) < 256_000
    assert (len(body["lines"][0][5]), body["lines"][0][6]) == (4000, 10_000)
    assert desk.answer("log_line", {"start": 3}) == {"text": "é" * 10_000, "length": 10_000}


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ({}, lambda n: True),
        ({"nodes": [2, 4]}, lambda n: n % 10 in (2, 3)),
        ({"nodes": []}, lambda n: False),
        ({"attempt": 2}, lambda n: n % 2 == 1),
        ({"least": 40}, lambda n: n % 100 == 99),
        ({"least": 30}, lambda n: n % 100 == 99 or n % 10 == 3),
        ({"stream": 2}, lambda n: n % 10 == 3),
        ({"stream": 3}, lambda n: n % 100 == 99),
        ({"nodes": [9, 10], "least": 40}, lambda n: n % 100 == 99),
        ({"filter": "level>=warning"}, lambda n: n % 100 == 99 or n % 10 == 3),
        ({"filter": "level:error"}, lambda n: n % 100 == 99),
        ({"filter": "level<warning"}, lambda n: n % 100 != 99 and n % 10 != 3),
        ({"filter": "-stream:stderr attempt:2"}, lambda n: n % 10 != 3 and n % 2 == 1),
        ({"filter": "attempt>1 stream:log"}, lambda n: n % 100 == 99),
        ({"filter": '"SAYS BOO"'}, lambda n: n % 7 == 0),
        ({"filter": 'not "says boo" "line 9"', "nodes": [0, 5]}, lambda n: n % 7 and n % 10 < 5 and str(n)[0] == "9"),
        ({"filter": "status:failed node-3"}, lambda n: True),
        ({"filter": '"open'}, lambda n: True),
    ],
)
def test_a_scope_leaves_the_lines_it_names(scope: dict[str, Any], wanted: Any) -> None:
    """A filter that loses a failing node's line is worse than none."""
    expected = [f"Line {n} " for n in range(1000) if wanted(n)]
    body = desk_of(filled()).answer("log_lines", {"scope": scope, "start": 0, "stop": 2000})

    assert body["end"] == len(expected)
    assert rows(body) == list(range(len(expected)))
    assert all(line[5].startswith(text) for line, text in zip(body["lines"], expected, strict=True))


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        ({"text": "BOO"}, [n for n in range(1000) if n % 7 == 0]),
        ({"text": "BOO", "is_case": True}, []),
        ({"text": "Line 99", "is_case": True}, [99, *range(990, 1000)]),
        ({"text": r"line \d5 says (boo|nothing)$", "is_regex": True}, [35]),
        ({"text": r"^Line 1\d\d ", "is_regex": True, "is_case": True}, list(range(100, 200))),
        ({"is_error": True}, [n for n in range(1000) if n % 100 == 99]),
    ],
)
def test_find_counts_every_line_and_steps_both_ways(ask: dict[str, Any], expected: list[int]) -> None:
    """A count of the lines on screen would say that there is nothing more."""
    desk = desk_of(filled())
    first = desk.answer("log_find", {**ask, "start": 0, "step": 0})

    assert first["count"] == len(expected)
    assert first["row"] == (expected[0] if expected else -1)
    if expected:
        last = desk.answer("log_find", {**ask, "start": expected[0], "step": -1})
        assert (last["row"], last["at"]) == (expected[-1], len(expected))
        around = desk.answer("log_find", {**ask, "start": last["row"], "step": 1})
        assert (around["row"], around["at"]) == (expected[0], 1)
        assert set(first["marks"]) == {row * GUTTER // 1000 for row in expected}


def test_find_sees_lines_that_came_later() -> None:
    """The count would stand still while the run goes on."""
    output = filled(10)
    desk = desk_of(output)
    before = desk.answer("log_find", {"text": "later", "start": 0})
    output.add(1, 1, STDOUT, "a later line")

    assert (before["count"], desk.answer("log_find", {"text": "later", "start": 0})["row"]) == (0, 10)


@pytest.mark.slow
def test_an_expression_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bad expression would hold the interpreter, and with it every node, for ever."""
    monkeypatch.setattr("tiledag_widget.view.log_lines.REGEX_SECONDS", 1)
    output = Output()
    output.add(0, 1, STDOUT, "a" * 40)
    began = time.monotonic()

    with pytest.raises(ValueError, match="takes too long"):
        desk_of(output).answer("log_find", {"text": "(a+)+$b", "is_regex": True})

    assert time.monotonic() - began < SECONDS_20


def test_an_expression_that_is_none_says_where() -> None:
    """Nothing found and not understood would look the same."""
    with pytest.raises(ValueError, match=re.escape("Not a regular expression: missing ), unterminated subpattern")):
        desk_of(filled(1)).answer("log_find", {"text": "row (", "is_regex": True})


def test_a_follower_hears_of_new_lines_and_others_only_how_many() -> None:
    """A view that does not follow would be sent what it does not show."""
    output = filled(5)
    desk = desk_of(output)
    desk.follow("a", {"follow": True, "start": 5})
    desk.follow("b", {"follow": False, "start": 5})
    assert desk.due(10.0) == (None, None)
    desk.worker.submit(lambda: None)
    made = waited(desk)
    assert made["views"]["a"]["end"] == 5

    output.add(3, 1, STDOUT, "new")
    made = waited(desk, 20.0)

    assert [line[5] for line in made["views"]["a"]["lines"]] == ["new"]
    assert (made["views"]["b"]["lines"], made["views"]["b"]["end"]) == ([], 6)
    desk.close()
    output.add(3, 1, STDOUT, "nobody hears")
    assert not output.is_watched


def test_lines_that_come_while_others_are_packed_are_told_without_another_reason() -> None:
    """They would stay untold for ever: of a run that is over nothing else wakes the view."""
    output = filled(5)
    desk = desk_of(output)
    desk.follow("a", {"follow": True, "start": 5})
    assert desk.due(10.0) == (None, None)
    is_packed = threading.Event()
    desk.worker.submit(is_packed.set)
    assert is_packed.wait(SECONDS_20)
    output.add(3, 1, STDOUT, "late")

    made, again = desk.due(10.0)

    assert made is not None
    assert made["views"]["a"]["end"] == 5
    assert again is not None
    assert desk.due(again) == (None, None)
    assert [line[5] for line in waited(desk, again)["views"]["a"]["lines"]] == ["late"]
    assert desk.due(again + 1) == (None, None)
    desk.close()


def waited(desk: LogDesk, now: float = 10.0) -> Any:
    """The message that a tick finds, once it is made."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        made, _ = desk.due(now)
        if made is not None:
            return made
        time.sleep(0.005)
    raise AssertionError("no message came")


def test_a_still_view_hears_once_and_again_when_it_is_refreshed() -> None:
    """A view that was asked to stand still would run on in one of its panes."""
    output = filled(10)
    desk = LogDesk(output, list, lambda: None, is_still=True)

    def told() -> int | None:
        until = time.monotonic() + SECONDS_20
        now = 0.0
        while time.monotonic() < until:
            push, again = desk.due(now)
            if push is not None:
                return push["views"]["view"]["end"]
            if again is None and not desk.is_busy:
                return None
            now += 1.0
            time.sleep(0.001)
        raise AssertionError("no answer")

    desk.follow("view", {"scope": {}, "start": 0, "follow": True})
    first = told()
    output.add(0, 1, STDOUT, "later")
    second = told()
    desk.refresh()
    third = told()
    desk.close()

    assert (first, second, third) == (10, None, 11)


def test_a_flood_is_told_by_its_last_lines() -> None:
    """A burst of a hundred thousand lines would fill the connection with what nobody can read."""
    output = filled(5)
    desk = desk_of(output)
    desk.follow("a", {"follow": True, "start": 5})
    waited(desk)
    for number in range(5000):
        output.add(0, 1, STDOUT, f"burst {number} " + "x" * 300)

    told = waited(desk, 20.0)["views"]["a"]

    assert told["end"] == 5005
    assert told["lines"][-1][0] == 5004
    assert len(json.dumps(told)) < 100_000
    desk.close()


def test_the_file_has_every_line_with_node_attempt_and_level() -> None:
    """A log that cannot be taken along cannot be shown to anybody."""
    text = desk_of(filled(100)).file({})

    lines = text.splitlines()
    assert len(lines) == 100
    assert lines[1].split("\t")[1:] == ["node-1 #2", "stdout", "Line 1 says hello"]
    assert lines[99].split("\t")[1:] == ["node-9 #2", "error", "Line 99 says hello"]


@pytest.mark.slow
def test_a_million_lines_are_searched_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody waits for it. (The limits are wide: the machine may be busy with other tests.)"""
    monkeypatch.setattr("tiledag_widget.view.log_lines.REGEX_SECONDS", 30)
    output = Output()
    for number in range(1_000_000):
        output.add(number % 100, 1, STDOUT, f"line {number} of a million")
    desk = desk_of(output)

    took = []
    for ask in ({"text": "99999 of"}, {"text": "99999 OF", "is_case": True}, {"text": "9{5} of", "is_regex": True}):
        began = time.perf_counter()
        found = desk.answer("log_find", {**ask, "start": 0})
        took.append(time.perf_counter() - began)
        assert found["count"] == (0 if ask.get("is_case") else 10)

    assert max(took) < 30, took
