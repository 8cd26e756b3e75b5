"""A `GraphSource` over a real `GraphMachine`, a page that reads messages as the protocol says, and a recorder."""

from __future__ import annotations

import json
import threading
import zlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tiledag_widget.core.machine import GraphMachine
from tiledag_widget.core.snapshot import (
    RECORD,
    AttemptFacts,
    Columns,
    NodeFacts,
    Patch,
    RunInfo,
    Structure,
    columns,
    records_since,
    run_info,
    structure_columns,
)
from tiledag_widget.core.states import AddNode, Cancel, Event, Retry, Status, Stop
from tiledag_widget.core.tape import Tape
from tiledag_widget.core.tape import record as tape_of
from tiledag_widget.run.output import Output
from tiledag_widget.view.opening import Arranged


class FakeSource:
    """A graph without an engine: tests say what happens."""

    def __init__(
        self,
        graph_id: str = "graph-1",
        *,
        names: Sequence[str] = (),
        groups: Sequence[str] = (),
        can_stop: bool = False,
    ) -> None:
        self.graph_id = graph_id
        self.reference = "dag"
        self.title = "ingest"
        self.machine = GraphMachine()
        self.names: list[str] = list(names)
        self.groups = list(groups)
        self.facts: dict[int, dict[str, Any]] = {}
        self.results: dict[int, Any] = {}
        self.shares: dict[int, float] = {}
        self.can_stop = can_stop
        self.version = 0
        self.calls: list[tuple[Any, ...]] = []
        self.output = Output()
        self.listeners: list[Callable[[], None]] = []
        self.lock = threading.RLock()
        self.now = 1_700_000_000.0

    def handle(self, *events: Event) -> None:
        """Let something happen, and tell the view as the engine does."""
        with self.lock:
            for event in events:
                self.machine.handle(event)
                if isinstance(event, AddNode):
                    self.version += 1
                    if len(self.names) < len(self.machine):
                        self.names.append(f"node-{len(self.machine) - 1}")
        for listener in list(self.listeners):
            listener()

    # --- GraphSource ------------------------------------------------------------------------------------

    def structure(self) -> Structure:
        with self.lock:
            start, parents = structure_columns(self.machine)
            total = len(self.machine)
            names = [*dict.fromkeys(self.groups), "work"]
            known = [names.index(group) for group in self.groups[:total]]
            groups = array("I", known + [len(names) - 1] * (total - len(known)))
            return Structure(self.names[:total], groups, names, start, parents)

    def columns(self) -> Columns:
        with self.lock:
            return columns(self.machine)

    def run(self) -> RunInfo:
        with self.lock:
            return run_info(self.machine, 4, self.can_stop)

    def patch(self, since: int) -> Patch:
        with self.lock:
            return Patch(since, self.machine.revision, records_since(self.machine, since), self.run())

    def tape(self) -> Tape:
        with self.lock:
            return tape_of(self.machine.history)

    @property
    def lines(self) -> Output:
        return self.output

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def error(self, index: int) -> BaseException | None:
        error: BaseException | None = self.facts.get(index, {}).get("error")
        return error

    def progress(self) -> dict[int, float]:
        return dict(self.shares)

    def node(self, index: int) -> NodeFacts:
        machine = self.machine
        known: dict[str, Any] = {
            "index": index,
            "name": self.names[index],
            "function": "pipeline.resize",
            "mode": "Local",
            "resource_class": "",
            "status": Status(machine.status[index]),
            "args": (),
            "kwargs": {},
            "parents": tuple(machine.graph.parents[index]),
            "children": tuple(machine.graph.children[index]),
            "attempts": (
                AttemptFacts(
                    machine.attempt[index],
                    Status(machine.status[index]),
                    0,
                    machine.started[index],
                    machine.ended[index],
                    self.facts.get(index, {}).get("error"),
                ),
            ),
            "error": None,
            "traceback_text": "",
            "blocker": machine.blocker.get(index),
            "reference": f'dag.nodes_by_name["{self.names[index]}"]',
        }
        return NodeFacts(**{**known, **self.facts.get(index, {})})

    def index_of(self, value: Any) -> int | None:
        return value.index if isinstance(value, FakeNode) else None

    def result(self, index: int) -> Any:
        return self.results[index]

    def retry(self, nodes: Sequence[int], descendants: bool = False) -> int:
        self.calls.append(("retry", tuple(nodes), descendants))
        before = self.machine.counts[Status.NOT_STARTED.value]
        self.handle(Retry(tuple(nodes), descendants, self.now))
        return self.machine.counts[Status.NOT_STARTED.value] - before

    def retry_failed(self) -> int:
        return self.retry([node for node, code in enumerate(self.machine.status) if code == Status.FAILED.value])

    def cancel(self, nodes: Sequence[int]) -> int:
        self.calls.append(("cancel", tuple(nodes)))
        self.handle(Cancel(tuple(nodes), self.now))
        return len(nodes)

    def cancel_graph(self) -> int:
        self.calls.append(("cancel_graph",))
        before = self.machine.counts[Status.CANCELLED.value]
        self.handle(Cancel(None, self.now))
        return self.machine.counts[Status.CANCELLED.value] - before

    def stop(self, nodes: Sequence[int]) -> int:
        self.calls.append(("stop", tuple(nodes)))
        if not self.can_stop:
            raise RuntimeError("Threads cannot be ended: use processes for nodes that may have to be stopped.")
        self.handle(Stop(tuple(nodes), self.now))
        return len(nodes)

    def set_pace(self, seconds: float) -> float:
        self.calls.append(("pace", seconds))
        return seconds


@dataclass(frozen=True)
class FakeNode:
    index: int


def one_mark_each(structure: Structure, previous: Arranged | None = None) -> Arranged:
    """An arrangement that costs nothing: for tests of the sending, not of the layout."""
    total = len(structure)
    return Arranged(
        None,
        None,
        {
            "kind": ["stack"],
            "name": ["work"],
            "size": [total],
            "first": [0],
            "rank": [0],
            "order": [0],
            "slot": [0.0],
            "group": [-1],
        },
        {"source": [], "target": [], "count": [], "bends": []},
        array("I", bytes(4 * total)),
        "",
    )


@dataclass
class Recorder:
    """Takes messages and keeps them with the time when they came."""

    clock: Callable[[], float]
    messages: list[tuple[float, dict[str, Any], list[bytes]]] = field(default_factory=list)

    def __call__(self, content: Mapping[str, Any], buffers: list[bytes]) -> None:
        kept = json.loads(json.dumps(content, allow_nan=False))
        self.messages.append((self.clock(), kept, [bytes(buffer) for buffer in buffers]))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [content for _, content, _ in self.messages if content["type"] == kind]

    def sizes(self) -> list[int]:
        return [len(json.dumps(content)) + sum(map(len, buffers)) for _, content, buffers in self.messages]

    def most_in_a_second(self) -> int:
        times = [at for at, _, _ in self.messages]
        return max((sum(start <= at < start + 1 for at in times) for start in times), default=0)


class Page:
    """The protocol of `messages`, read in the plainest way."""

    def __init__(self) -> None:
        self.epoch = self.revision = -1
        self.total = 0
        self.status: list[int] = []
        self.record: dict[int, tuple[Any, ...]] = {}
        self.run: dict[str, Any] = {}
        self.columns: dict[str, bytes] = {}
        self.gaps = 0
        self._parts: dict[str, list[bytes]] = {}

    def take(self, content: Mapping[str, Any], buffers: Sequence[bytes]) -> None:
        kind = content["type"]
        if kind == "picture":
            self.epoch, self.revision, self.total = content["epoch"], content["revision"], content["total"]
            is_raw = content["encoding"] == "raw"
            table, statuses = (each if is_raw else zlib.decompress(each) for each in buffers)
            self.status, self.run = list(statuses), content["run"]
            assert len(self.status) == self.total
            assert len(table) == 4 * self.total
            self.record, self.columns, self._parts = {}, {}, {}
        elif content.get("epoch") != self.epoch:
            return
        elif kind == "columns":
            self._take_column(content, buffers[0])
        elif kind == "beat":
            self.gaps += content["revision"] != self.revision
        elif kind == "patch":
            if content["since"] != self.revision:
                self.gaps += 1
                return
            data = buffers[0] if content["encoding"] == "raw" else zlib.decompress(buffers[0])
            self._apply(data)
            self.revision, self.run = content["revision"], content["run"] or self.run

    def _take_column(self, content: Mapping[str, Any], data: bytes) -> None:
        column = content["column"]
        parts = self._parts.setdefault(column, [])
        if content["part"] == 0:
            parts.clear()
        parts.append(data)
        if len(parts) < content["of"]:
            return
        self.columns[column] = zlib.decompress(b"".join(parts))
        if column == "records":
            self.record.clear()
            self._apply(self.columns[column])
            self.revision = content["revision"]

    def _apply(self, data: bytes) -> None:
        for record in RECORD.iter_unpack(data):
            self.status[record[0]] = record[1]
            self.record[record[0]] = record

    def assert_shows(self, machine: GraphMachine) -> None:
        """Everything that the machine knows, the page knows."""
        assert self.gaps == 0
        assert bytes(self.status) == bytes(machine.status)
        assert self.revision == machine.revision
        assert self.run["counts"] == machine.counts
        assert self.run["is_ended"] == machine.is_ended
        for node, record in self.record.items():
            assert record[2] == min(machine.attempt[node], 255)
            assert record[3] == machine.slot[node]
