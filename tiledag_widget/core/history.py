"""The event log as lines of text: written, read and thinned. A user's stuck graph arrives as such a text.

A log is a header line and one event a line, each a JSON array with the event's name first::

    ["tiledag history",1]
    ["AddNode",[],1]
    ["AddNode",[0],1]
    ["Start",1700000000.25]
    ["Began",0,1,1700000000.5,3]
    ["Finished",0,1,1700000001.0]

Nothing a user named is in it, only numbers: a log can be sent to a stranger.

**Thinned** means: `thin` took events away to bound the log of a graph that was retried over and over. What is left
tells the structure, every Cancel and how each node came out last, in order. It is for reading: it does not replay,
since the attempts that lead to the later ones are gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isfinite
from typing import Any, Final

from .states import (
    EVENTS,
    Aborted,
    Began,
    Event,
    Failed,
    Finished,
    Lost,
    Retry,
    Stop,
)

FORMAT: Final = "tiledag history"
VERSION: Final = 1
"""Raised when an older reader would misread a newer log. Every version that was ever released stays readable."""

_OUTCOMES: Final = (Finished, Failed, Lost, Aborted)
_KINDS: Final[tuple[Any, ...]] = EVENTS


# --- writing ------------------------------------------------------------------------------------------------

_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def to_line(event: Event) -> str:
    """One event as a JSON array, without a line break. Times come back exactly.

    Raises:
        ValueError: A time is infinite or NaN.
    """
    return _encode([type(event).__name__, *event])


def write(events: Iterable[Event]) -> str:
    """The whole log as text, header first, that `read` gives back."""
    lines = [_encode([FORMAT, VERSION])]
    lines.extend(map(to_line, events))
    lines.append("")
    return "\n".join(lines)


# --- reading ------------------------------------------------------------------------------------------------


def from_line(line: str) -> Event:
    """The event that `to_line` wrote.

    Raises:
        ValueError: The line is no event; the text says what was found and what was expected.
    """
    found = _parse(line)
    if not isinstance(found, list) or not found:
        raise ValueError(f"expected an array that begins with the name of an event, found {line.strip()[:80]!r}")
    name, *values = found
    fields = _FIELDS.get(name) if isinstance(name, str) else None
    if fields is None:
        raise ValueError(f"there is no event {name!r}; there are {', '.join(_FIELDS)}")
    kind, names = fields
    if len(values) != len(names):
        raise ValueError(f"{name} has {len(names)} values ({', '.join(names)}), found {len(values)}")
    event: Event = kind(*(_value(name, field, value) for field, value in zip(names, values, strict=True)))
    return event


def read(text: str) -> list[Event]:
    """The events of a log written by `write`; empty lines are passed over.

    Raises:
        ValueError: The text is no such log, or one of a newer version; the message names the line.
    """
    lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    _check_header(lines)
    events: list[Event] = []
    for number, line in lines:
        try:
            events.append(from_line(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return events


def _check_header(lines: Iterator[tuple[int, str]]) -> None:
    number, line = next(lines, (1, ""))
    expected = f"line {number}: expected the header {_encode([FORMAT, VERSION])}, found {line[:80]!r}"
    try:
        header = _parse(line)
    except ValueError as error:
        raise ValueError(expected) from error
    if not isinstance(header, list) or len(header) != 2 or header[0] != FORMAT or type(header[1]) is not int:
        raise ValueError(expected)
    if not 1 <= header[1] <= VERSION:
        raise ValueError(
            f"line {number}: the log has version {header[1]}, this reader knows 1 to {VERSION}; "
            "read it with the tiledag-widget that wrote it, or a newer one"
        )


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON array, found {line.strip()[:80]!r} ({type(error).__name__})") from error


def _value(name: str, field: str, value: object) -> Any:
    if value is None and (name, field) == ("Cancel", "nodes"):
        return None  # the whole graph
    read, expected = _READERS[field]
    try:
        return read(value)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{name}: {field} is {json.dumps(value)[:80]}, expected {expected}") from error


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError


def _time(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
        return float(value)
    raise TypeError


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _nodes(value: object) -> tuple[int, ...]:
    if isinstance(value, list):
        return tuple(map(_whole, value))
    raise TypeError


_NUMBER: Final = (_whole, "a whole number")
_NODES: Final = (_nodes, "an array of whole numbers")
_READERS: Final[dict[str, tuple[Callable[[object], object], str]]] = {
    "at": (_time, "a time in seconds"),
    "attempt": _NUMBER,
    "child": _NUMBER,
    "descendants": (_flag, "true or false"),
    "node": _NUMBER,
    "nodes": _NODES,
    "parent": _NUMBER,
    "parents": _NODES,
    "slot": _NUMBER,
    "status": _NUMBER,
}
_FIELDS: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {kind.__name__: (kind, kind._fields) for kind in _KINDS}


# --- thinning -----------------------------------------------------------------------------------------------


def thin(events: Sequence[Event], limit: int) -> list[Event]:
    """At most ``limit`` of the events, in their order, what tells least given up first; see *Thinned* above.

    In this order, the oldest first, and only as many as have to go:

    1. second outcomes of an attempt, which came too late and changed nothing;
    2. whole attempts (their Began and outcome) before the one that a node's last outcome belongs to;
    3. Began of attempts with an outcome;
    4. Stop and Retry.

    Never AddNode, AddEdge, Start, Cancel, the last outcome of a node, or the Began of an attempt without one: so a
    log may stay longer than ``limit``. A log that fits is given back whole. O(events).
    """
    spare = len(events) - limit
    if spare <= 0:
        return list(events)
    gone: set[int] = set()
    for places in _dispensable(events):
        if len(gone) >= spare:
            break
        gone.update(places)
    return [event for place, event in enumerate(events) if place not in gone]


def _dispensable(events: Sequence[Event]) -> Iterator[list[int]]:
    """Places of events that may go, what tells least first; those that go together together."""
    begun: dict[tuple[int, int], int] = {}
    closed: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}
    requests: list[int] = []
    for place, event in enumerate(events):
        if isinstance(event, _OUTCOMES):
            key = event.node, event.attempt
            if key in closed:
                yield [place]
                continue
            closed[key] = place
            last[event.node] = max(event.attempt, last.get(event.node, 0))
        elif isinstance(event, Began):
            begun[event.node, event.attempt] = place
        elif isinstance(event, (Stop, Retry)):
            requests.append(place)
    for key, place in closed.items():
        if key[1] < last[key[0]]:
            yield [begun[key], place] if key in begun else [place]
    for key, place in begun.items():
        if last.get(key[0]) == key[1]:
            yield [place]
    for place in requests:
        yield [place]
