"""What a record says of a run: looked up in a graph in one step, and made into records later, without the graph."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from ..core.snapshot import Window, window
from ..core.states import CANCELLED, COMPLETED, FAILED, NOT_STARTED, PARENT_FAILED, RUNNING, Status
from ..errors import safe_text
from ..wire.models import NAME_LIMIT
from ..wire.records import MOST_NODES_A_CALL, RunExecution, RunNode, RunRecord
from .remote_calls import RemoteGraph

MOST_BYTES_A_CALL: Final = 4 << 20
TEXT_LIMIT: Final = 64 * 1024

_STATUS: Final = {
    NOT_STARTED: "QUEUED",
    PARENT_FAILED: "QUEUED",  # as the contract has it of nodes that will not run
    RUNNING: "RUNNING",
    COMPLETED: "COMPLETED",
    FAILED: "FAILED",
    CANCELLED: "CANCELLED",
}
_RUN_STATUS: Final = {Status.COMPLETED: "succeeded", Status.FAILED: "failed", Status.CANCELLED: "cancelled"}


@dataclass(frozen=True, slots=True)
class Look:
    """What changed in a graph up to a revision, without the graph: cheap to take, and it holds no result."""

    name: str | None
    namespace: str | None
    is_known: bool
    """Its structure went before."""
    taken: float
    """When; that of a graph cancelled before its start is where its record begins."""
    is_ended: bool
    status: Status
    started: float
    ended: float
    changed: Window
    nodes: dict[int, tuple[uuid.UUID, str, bool, bool]]
    """Id, name, whether it runs here, and whether the server knows of its attempts, by index."""
    parents: Sequence[Sequence[int]]
    errors: dict[tuple[int, int], tuple[str, str, str | None]]
    """Message, class and traceback by node and attempt."""
    output: Any


def look_at(graph: RemoteGraph, since: int, is_known: bool) -> tuple[int, Look]:
    driver = graph._driver
    with driver.lock:
        machine = driver.machine
        revision = machine.revision
        changed = window(machine, since)
        facts = machine.graph_status, machine.started_at, machine.ended_at
        is_ended = machine.is_ended
        nodes = list(graph._nodes)
    parents = [] if is_known else machine.graph.parents[: len(nodes)]
    wanted = changed.nodes if is_known else range(len(nodes))
    described = {index: _fact(nodes[index]) for index in wanted}
    errors = {
        (index, attempt): _words_of(error)
        for index in changed.nodes
        if nodes[index]._past_errors
        for attempt, error in list(nodes[index]._past_errors.items())
    }
    status, started, ended = facts
    look = Look(
        graph.name,
        graph._namespace,
        is_known,
        time.time(),
        is_ended,
        status,
        started,
        ended,
        changed,
        described,
        parents,
        errors,
        driver.output,
    )
    return revision, look


def _fact(node: Any) -> tuple[uuid.UUID, str, bool, bool]:
    if not node._is_remote:
        return node.id, node.name, True, False
    # The server knows better of what it runs; but not of a node that failed before it had heard of it.
    return node.id, node.name, False, node.status is not Status.FAILED or node.task_id() is not None


def _words_of(error: BaseException) -> tuple[str, str, str | None]:
    kind = type(error).__qualname__
    if type(error).__module__ not in ("builtins", "__main__"):
        kind = f"{type(error).__module__}.{kind}"
    text = safe_text(error)
    message = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return message[:TEXT_LIMIT], kind, _traceback_of(error)


def records_of(look: Look) -> list[RunRecord]:
    """A look as records that each are small enough for a call."""
    from .remote import parents_first  # late: it would cost each graph that starts first in a process 60 ms

    changed = look.changed
    outputs = _outputs(look.output, changed)
    changes = {index: _node(look, place, outputs) for place, index in enumerate(changed.nodes)}
    if look.is_known:
        listed = list(changes.values())
    else:
        parents = look.parents
        is_in_order = all(parent < index for index, own in enumerate(parents) for parent in own)
        order = range(len(parents)) if is_in_order else parents_first(parents)
        listed = [_whole(look, index, changes.get(index)) for index in order]
    first = RunRecord(
        None if look.is_known else _name(look.name),
        look.namespace,
        None if look.is_known else _text_of(look.taken if math.isnan(look.started) else look.started),
        None if look.is_ended else "running",
        _text_of(look.started),
    )
    records = [first]
    records += [RunRecord(namespace=look.namespace, nodes=piece) for piece in _pieces(listed)]
    if look.is_ended and look.status in _RUN_STATUS:  # after its nodes, never before
        records.append(RunRecord(status=_RUN_STATUS[look.status], end_time=_text_of(look.ended)))
    return records


def _pieces(nodes: Sequence[RunNode]) -> Iterator[tuple[RunNode, ...]]:
    piece: list[RunNode] = []
    size = 0
    for node in nodes:
        piece.append(node)
        size += sum(len(one.logs or "") + len(one.traceback or "") for one in node.executions or ())
        if len(piece) >= MOST_NODES_A_CALL or size > MOST_BYTES_A_CALL:
            yield tuple(piece)
            piece, size = [], 0
            time.sleep(0.001)  # others want the interpreter, too
    if piece:
        yield tuple(piece)


def _whole(look: Look, index: int, change: RunNode | None) -> RunNode:
    identity, name, is_here, _ = look.nodes[index]
    return RunNode(
        str(identity),
        change.status if change is not None else "QUEUED",
        _name(name),
        tuple([str(look.nodes[parent][0]) for parent in look.parents[index]]),
        "client" if is_here else "server",
        change.executions if change is not None else None,
    )


def _node(look: Look, place: int, outputs: dict[tuple[int, int], str]) -> RunNode:
    changed = look.changed
    index = changed.nodes[place]
    identity, name, _, is_known_there = look.nodes[index]
    status, attempt, began = changed.status[place], changed.attempt[place], changed.started[place]
    attempts = [(one[1], one[2], one[4], one[5]) for one in changed.earlier.get(index, ())]
    if attempt and (status in (RUNNING, COMPLETED, FAILED) or not math.isnan(began)):
        if not (attempts and attempts[-1][0] == attempt):
            attempts.append((attempt, status, began, changed.ended[place]))
    executions = [
        _execution(number, code, start, end, look.errors.get((index, number)), outputs.get((index, number)))
        for number, code, start, end in attempts
        if code in (RUNNING, COMPLETED, FAILED, CANCELLED) and not is_known_there
    ]
    return RunNode(str(identity), _STATUS[status], _name(name), executions=tuple(executions) or None)


def _execution(
    number: int, code: int, began: float, ended: float, error: tuple[str, str, str | None] | None, output: str | None
) -> RunExecution:
    message, kind, trace = error if error is not None and code != COMPLETED else (None, None, None)
    return RunExecution(number, _STATUS[code], _text_of(began), _text_of(ended), message, kind, trace, output)


def _traceback_of(error: BaseException) -> str | None:
    from ..wire.pickles import traceback_text_of

    try:
        return traceback_text_of(error)[-TEXT_LIMIT:]
    except Exception:  # it holds words of the user's exception
        return None


def _outputs(source: Any, changed: Window) -> dict[tuple[int, int], str]:
    """What the attempts at these nodes have printed, as far as this process has seen it."""
    wanted = set(changed.nodes)
    found: dict[tuple[int, int], list[str]] = {}
    for block in source.blocks(*source.span()):
        for text, node, attempt in zip(block.texts(), block.nodes, block.attempts, strict=True):
            if node in wanted:
                found.setdefault((node, attempt), []).append(text)
    return {key: ("\n".join(lines) + "\n")[-TEXT_LIMIT:] for key, lines in found.items()}


def _name(text: str | None) -> str | None:
    return text[:NAME_LIMIT] if text else None


def _text_of(moment: float) -> str | None:
    if math.isnan(moment):
        return None
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


__all__ = ["Look", "look_at", "records_of"]
