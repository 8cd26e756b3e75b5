"""Vectors that Python and TypeScript share: an event log, the records sent to a page for it, and what it ends with.

``tests/histories/NAME.log`` is the event log and ``NAME.json`` the vector made from it when it was saved: `Vector`.
Saved ones are never made anew: they say what a release did. A new one::

    python -m tests.vectors NAME "What it shows." < LOG
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Final, TypedDict

from tiledag_widget.core import history
from tiledag_widget.core.machine import GraphMachine, replay
from tiledag_widget.core.snapshot import RECORD, records_since
from tiledag_widget.core.states import Event

FOLDER: Final = Path(__file__).parent / "histories"


class Columns(TypedDict):
    """What a receiver holds, by node; times in seconds since the run's zero as f32, null for not yet."""

    status: list[int]
    attempt: list[int]
    slot: list[int]
    started: list[float | None]
    ended: list[float | None]


class Window(TypedDict):
    since: int
    revision: int
    records: str
    """`RECORD`s in hexadecimal."""


class Vector(TypedDict):
    about: str
    nodes: int
    windows: list[list[Window]]
    """The same run cut in different ways; applying the windows of any of them in order gives ``expected``."""
    expected: Columns
    graph_status: int
    counts: list[int]
    is_ended: bool


def blank(count: int) -> Columns:
    """Columns of nodes that nothing happened to."""
    return Columns(
        status=[1] * count, attempt=[0] * count, slot=[0xFFFF] * count, started=[None] * count, ended=[None] * count
    )


def apply(columns: Columns, records: bytes) -> None:
    """What a receiver does: the last record of a node wins."""
    for node, status, attempt, slot, started, ended in RECORD.iter_unpack(records):
        columns["status"][node] = status
        columns["attempt"][node] = attempt
        columns["slot"][node] = slot
        columns["started"][node] = _known(started)
        columns["ended"][node] = _known(ended)


def columns_of(machine: GraphMachine) -> Columns:
    """The machine's columns as a receiver should hold them, written out without the code that packs records."""
    return Columns(
        status=list(machine.status),
        attempt=[min(attempt, 255) for attempt in machine.attempt],
        slot=list(machine.slot),
        started=[_since_zero(machine, at) for at in machine.started],
        ended=[_since_zero(machine, at) for at in machine.ended],
    )


def windows(events: Sequence[Event], ends: Sequence[int]) -> Iterator[Window]:
    """What is sent to a page that is brought up to date after each so many events."""
    machine, since = GraphMachine(), 0
    for number, event in enumerate(events, 1):
        machine.handle(event)
        for _ in range(ends.count(number)):
            records = records_since(machine, since).hex()
            yield Window(since=since, revision=machine.revision, records=records)
            since = machine.revision


def make(events: Sequence[Event], about: str) -> Vector:
    """The vector of a log: cut not at all, after every event, and in uneven windows."""
    machine, count = replay(events), len(events)
    uneven = [number for number in range(1, count) if number * number % 7 == 2]
    assert bytes.fromhex(next(windows(events, [count]))["records"]) == records_since(machine, 0)
    return Vector(
        about=about,
        nodes=len(machine),
        windows=[list(windows(events, ends)) for ends in ([count], range(1, count + 1), [*uneven, count])],
        expected=columns_of(machine),
        graph_status=machine.graph_status.value,
        counts=list(machine.counts),
        is_ended=machine.is_ended,
    )


def saved() -> list[str]:
    """Names of the saved histories."""
    return sorted(path.stem for path in FOLDER.glob("*.log"))


def load(name: str) -> tuple[list[Event], Vector]:
    vector: Vector = json.loads((FOLDER / f"{name}.json").read_text())
    return history.read((FOLDER / f"{name}.log").read_text()), vector


def save(name: str, about: str, events: Sequence[Event]) -> None:
    """Raises FileExistsError: what was saved stays."""
    vector = make(events, about)
    with (FOLDER / f"{name}.log").open("x") as log:
        log.write(history.write(events))
    with (FOLDER / f"{name}.json").open("x") as file:
        file.write(_to_text(vector))


def _to_text(vector: Vector) -> str:
    """JSON with one line a window and a column, so that a change can be read."""
    top = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in vector.items() if key not in _LONG]
    cuts = ["[\n" + ",\n".join(f"      {json.dumps(each)}" for each in cut) + "\n    ]" for cut in vector["windows"]]
    columns = [f"    {json.dumps(key)}: {json.dumps(column)}" for key, column in vector["expected"].items()]
    top.append('  "windows": [\n    ' + ",\n    ".join(cuts) + "\n  ]")
    top.append('  "expected": {\n' + ",\n".join(columns) + "\n  }")
    return "{\n" + ",\n".join(top) + "\n}\n"


_LONG: Final = {"windows", "expected"}


def _since_zero(machine: GraphMachine, at: float) -> float | None:
    if isnan(at):
        return None
    before = isnan(machine.started_at) or at < machine.started_at
    return _as_f32(0.0 if before else at - machine.started_at)


def _as_f32(value: float) -> float:
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    assert isinstance(rounded, float)
    return rounded


def _known(value: float) -> float | None:
    return None if isnan(value) else value


if __name__ == "__main__":
    save(sys.argv[1], sys.argv[2], history.read(sys.stdin.read()))
