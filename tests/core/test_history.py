"""`core.history`: a log as text, back again, and thinned."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import histories
from tests.vectors import FOLDER, load, saved
from tiledag_widget.core import history
from tiledag_widget.core.machine import replay
from tiledag_widget.core.states import (
    EVENTS,
    Aborted,
    AddEdge,
    AddNode,
    Began,
    Cancel,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Start,
    Stop,
)

HEADER = '["tiledag history",1]\n'
LINES: list[tuple[Event, str]] = [
    (AddNode((0, 2)), '["AddNode",[0,2],1]'),
    (AddNode((), 5), '["AddNode",[],5]'),
    (AddEdge(0, 1), '["AddEdge",0,1]'),
    (Start(1700000000.25), '["Start",1700000000.25]'),
    (Began(3, 1, 0.1, 7), '["Began",3,1,0.1,7]'),
    (Finished(3, 1, 1 / 3), '["Finished",3,1,0.3333333333333333]'),
    (Failed(3, 2, 5e-324), '["Failed",3,2,5e-324]'),
    (Lost(3, 1, 1.7976931348623157e308), '["Lost",3,1,1.7976931348623157e+308]'),
    (Aborted(3, 1, -1.5), '["Aborted",3,1,-1.5]'),
    (Cancel(None, 2.5), '["Cancel",null,2.5]'),
    (Cancel((1, 2), 2.5), '["Cancel",[1,2],2.5]'),
    (Stop((1,), 2.5), '["Stop",[1],2.5]'),
    (Retry((1, 4), True, 2.5), '["Retry",[1,4],true,2.5]'),
]

# --- lines ----------------------------------------------------------------------------------------------------


def test_the_format_is_the_one_that_was_released() -> None:
    """Logs of earlier releases could not be read any more."""
    assert {type(event) for event, _ in LINES} == set(EVENTS)
    for event, line in LINES:
        assert history.to_line(event) == line
        assert history.from_line(line) == event
        assert type(history.from_line(line)) is type(event)


def test_a_time_written_as_a_whole_number_is_a_time() -> None:
    """A log written by hand, or by another language, would be refused."""
    event = history.from_line(' ["Start", 3]\r')

    assert event == Start(3.0)
    assert isinstance(event, Start)
    assert type(event.at) is float


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_none_is_refused_when_it_is_written(at: float) -> None:
    """The text would be no JSON, and fail only when somebody needs it."""
    with pytest.raises(ValueError):
        history.to_line(Start(at))


@given(events=histories())
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_what_is_written_is_read_back(events: list[Event]) -> None:
    """A run saved for a bug report would be another run."""
    text = history.write(events)

    assert history.read(text) == events
    assert history.write(history.read(text)) == text


@pytest.mark.parametrize("name", saved())
def test_saved_logs_are_written_as_they_were(name: str) -> None:
    """The format would have changed without a new version number."""
    events, _ = load(name)

    assert history.write(events) == (FOLDER / f"{name}.log").read_text()


# --- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected the header [\"tiledag history\",1], found ''"),
        ("hello", "line 1: expected the header"),
        ("[" * 100_000, "line 1: expected the header"),
        ('["tiledag history"]', "line 1: expected the header"),
        ('["tiledag history",true]', "line 1: expected the header"),
        ('["Start",1.0]', "line 1: expected the header"),
        ('["tiledag history",2]', "line 1: the log has version 2, this reader knows 1 to 1"),
        ('["tiledag history",0]', "line 1: the log has version 0"),
        ('\n\n["tiledag history",9]', "line 3: the log has version 9"),
        (HEADER + "oops", "line 2: expected a JSON array, found 'oops'"),
        (HEADER + "[]", "line 2: expected an array that begins with the name of an event, found '[]'"),
        (HEADER + "{}", "line 2: expected an array"),
        (HEADER + '["Start",1.0]\n\n["Stopped",1]', "line 4: there is no event 'Stopped'; there are AddNode, AddEdge"),
        (HEADER + "[[],1]", "line 2: there is no event []"),
        (HEADER + '["Began",1,1,2.0]', "line 2: Began has 4 values (node, attempt, at, slot), found 3"),
        (HEADER + '["Began",1,1,"2.0",0]', 'line 2: Began: at is "2.0", expected a time in seconds'),
        (HEADER + '["Start",NaN]', "line 2: Start: at is NaN, expected a time in seconds"),
        (HEADER + f'["Start",1{"0" * 400}]', "line 2: Start: at is 1000"),
        (HEADER + '["Start",true]', "line 2: Start: at is true, expected a time in seconds"),
        (HEADER + '["Began",true,1,2.0,0]', "line 2: Began: node is true, expected a whole number"),
        (HEADER + '["Finished",1.0,1,2.0]', "line 2: Finished: node is 1.0, expected a whole number"),
        (HEADER + '["Stop",null,2.0]', "line 2: Stop: nodes is null, expected an array of whole numbers"),
        (HEADER + '["Cancel",[1,null],2.0]', "line 2: Cancel: nodes is [1, null], expected an array of whole numbers"),
        (HEADER + '["Retry",[1],0,2.0]', "line 2: Retry: descendants is 0, expected true or false"),
    ],
)
def test_an_error_names_the_line_what_was_found_and_what_was_expected(text: str, words: str) -> None:
    """Whoever edits a log by hand would search it for the mistake."""
    with pytest.raises(ValueError, match=re.escape(words)):
        history.read(text)


SHARDS = ['["Start",', '["Began",', "[", "]", "1", ",", '"', "null", "true", "\n", "1e999"]


@given(text=st.text() | st.lists(st.sampled_from(SHARDS)).map("".join))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_any_other_text_is_an_error_of_the_one_kind(text: str) -> None:
    """A damaged file would end a server with an error nobody catches."""
    for start in ("", HEADER):
        try:
            history.read(start + text)
        except ValueError:
            pass


# --- thinning -------------------------------------------------------------------------------------------------

RETRIED: list[Event] = [
    AddNode(()),
    AddNode((0,)),
    Start(1.0),
    Began(0, 1, 2.0, 0),
    Failed(0, 1, 3.0),
    Retry((0,), False, 4.0),
    Began(0, 2, 5.0, 0),
    Lost(0, 2, 6.0),
    Finished(0, 2, 6.5),
    Retry((0,), False, 7.0),
    Began(0, 3, 8.0, 0),
    Finished(0, 3, 9.0),
    Began(1, 1, 10.0, 0),
    Stop((1,), 11.0),
    Cancel((1,), 12.0),
]


def test_what_tells_least_goes_first() -> None:
    """A thinned log would lose how a node ended and keep how it began."""
    gone = [set(RETRIED) - set(history.thin(RETRIED, len(RETRIED) - spare)) for spare in range(10)]

    assert gone[0] == set()
    assert gone[1] == {RETRIED[8]}  # came too late
    assert gone[2] == gone[3] == gone[1] | {RETRIED[3], RETRIED[4]}  # the first attempt, whole
    assert gone[4] == gone[5] == gone[3] | {RETRIED[6], RETRIED[7]}  # the second one
    assert gone[6] == gone[5] | {RETRIED[10]}  # Began of an attempt with an outcome
    assert gone[7] == gone[6] | {RETRIED[5]}
    assert gone[9] == gone[6] | {RETRIED[5], RETRIED[9], RETRIED[13]}
    assert history.thin(RETRIED, 0) == [RETRIED[place] for place in (0, 1, 2, 11, 12, 14)]


def test_the_outcome_before_an_attempt_that_has_none_is_kept() -> None:
    """A node that is being retried would read as if it had never failed."""
    log = [*RETRIED[:7]]

    assert history.thin(log, 0) == [*RETRIED[:3], RETRIED[4], RETRIED[6]]


def test_an_outcome_without_a_began_goes_alone() -> None:
    """A node that failed before a worker took it up would break the thinning."""
    log: list[Event] = [AddNode(()), Start(1.0), Failed(0, 1, 2.0), Retry((0,), False, 3.0), Lost(0, 2, 4.0)]

    assert history.thin(log, 4) == [log[0], log[1], log[3], log[4]]


@given(events=histories(), share=st.floats(0, 1))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True)
def test_a_thinned_log_keeps_its_promises(events: list[Event], share: float) -> None:
    """A bounded log would not be bounded, or lose what it promises to keep."""
    limit = int(len(events) * share)
    thinned, least = history.thin(events, limit), history.thin(events, 0)

    assert len(thinned) <= max(limit, len(least))
    rest = iter(events)
    assert all(event in rest for event in thinned), "the order changed"
    assert [event for event in least if isinstance(event, (AddNode, AddEdge, Start, Cancel))] == [
        event for event in events if isinstance(event, (AddNode, AddEdge, Start, Cancel))
    ]
    machine = replay(events)
    for node in range(len(machine)):
        outcome = [event for event in machine.story(node) if isinstance(event, (Finished, Failed, Lost, Aborted))]
        latest = max((event.attempt for event in outcome), default=0)
        assert [event for event in outcome if event.attempt == latest][:1] == [
            event for event in least if isinstance(event, (Finished, Failed, Lost, Aborted)) and event.node == node
        ]
