"""Output that a server holds, fetched while somebody looks. The server is a stand-in on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tiledag_widget import DAG
from tiledag_widget.run import remote_output
from tiledag_widget.run.output import Output
from tiledag_widget.run.record import recorder
from tiledag_widget.run.remote_output import HeldOutput, Task
from tiledag_widget.wire import client as wire_client

from ..helpers import wait_until
from ..loopback import Answer, LoopbackServer, Request, as_json, error, serving

SECONDS_20 = 20.0
TASKS = [Task(number, 1, f"task-{number}", is_over=True) for number in range(4)]
WHOLE = [f"line {half} of {number}" for number in range(4) for half in (1, 2)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    monkeypatch.setattr(remote_output, "LOOK_S", 0.02)
    with serving(monkeypatch, tmp_path) as one:
        one.is_ours = True
        yield one


def two_lines(before: Callable[[str, int], Answer | None]) -> Callable[[Request], Answer | None]:
    """A rule: each task has two lines, given one at a time; `before` is asked first."""

    def answer(one: Request) -> Answer | None:
        if "/output" not in one.path:
            return None
        number = one.path.split("task-")[1][0]
        position = int(one.query["after"][0])
        found = before(number, position)
        if found is not None:
            return found
        text = f"line {position + 1} of {number}\n" if position < 2 else ""
        return as_json({"text": text, "position": min(2, position + 1)})

    return answer


def lines_of(output: Output) -> list[str]:
    return [text for block in output.blocks(*output.span()) for text in block.texts()]


def held_by(output: Output) -> HeldOutput:
    """Of a run that is over: it is fetched once."""
    held = HeldOutput(output, wire_client.current, lambda: TASKS, lambda: False)
    output.watched = held.follow
    return held


def test_lines_of_a_run_come_also_where_its_record_does_not(server: LoopbackServer) -> None:
    """On a busy machine the record comes after the run, and whoever looked on had lost the lines of the last nodes."""

    def printed(one: Request) -> Answer | None:
        if "/output" not in one.path:
            return None
        text = f"{one.path.split('/')[-2]}\n" if one.query["after"] == ["0"] else ""
        return as_json({"text": text, "position": 1})

    def refused(one: Request) -> Answer | None:
        return error(503, "busy") if one.method == "PUT" else None

    server.rules += [printed, refused]
    dag = DAG(name="unrecorded")
    nodes = [dag.submit(abs, -number, name=f"node-{number}") for number in range(3)]
    dag._driver.output.subscribe(lambda: None)
    dag.compute()
    dag.wait(SECONDS_20)

    wait_until(lambda: sorted(lines_of(dag._driver.output)) == sorted(str(node.task_id()) for node in nodes))
    wait_until(lambda: not dag._remote_run()._held._is_running)
    server.rules.remove(refused)
    assert recorder.flush(SECONDS_20)


def test_what_was_not_fetched_because_nobody_looked_is_fetched_for_the_next_who_looks(server: LoopbackServer) -> None:
    """A log that was opened elsewhere while it came had no more lines, for good.

    1. Somebody looks, and lines are fetched; 2. nobody looks any more; 3. somebody looks again.
    """
    output = Output()
    held = held_by(output)
    looks: list[Callable[[], None]] = []

    def look_away(number: str, position: int) -> None:
        if (number, position) == ("1", 1) and len(looks) == 1:
            looks[0]()
            looks.append(lambda: None)

    server.rules.append(two_lines(look_away))
    looks.append(output.subscribe(lambda: None))
    wait_until(lambda: not held._is_running)
    assert len(lines_of(output)) < len(WHOLE)

    output.subscribe(lambda: None)

    wait_until(lambda: lines_of(output) == WHOLE)
    wait_until(lambda: not held._is_running)


def test_lines_come_once_though_an_answer_fails_between_them(server: LoopbackServer) -> None:
    """A server that is busy for a moment left the log of a run on record as it was, or began it anew."""
    output = Output()
    held = held_by(output)
    failed: list[int] = []

    def fail_once(number: str, position: int) -> Answer | None:
        if (number, position) == ("2", 1) and not failed:
            failed.append(position)
            return error(400, "not now")
        return None

    server.rules.append(two_lines(fail_once))
    output.subscribe(lambda: None)

    wait_until(lambda: not held._is_running)
    assert failed
    assert lines_of(output) == WHOLE
