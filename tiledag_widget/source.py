"""`DagSource`: a graph as its views know it."""

from __future__ import annotations

import inspect
import re
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .core.lines import LineSource
from .core.snapshot import AttemptFacts, Columns, NodeFacts, Patch, RunInfo, Structure, structure_columns
from .core.states import CANCELLED, FAILED, RUNNING, Status
from .core.tape import Tape, record
from .naming import full_name

if TYPE_CHECKING:
    from .dag import DAG


class DagSource:
    """Implements `core.snapshot.GraphSource` over one `DAG`. Safe from any thread."""

    def __init__(self, dag: DAG) -> None:
        self._dag = dag
        self._driver = dag._driver
        self.graph_id = str(dag.id)
        self.reference = "dag"
        self._structure: tuple[int, Structure] | None = None

    @property
    def title(self) -> str:
        return self._dag.name or "Task graph"

    @property
    def version(self) -> int:
        graph = self._driver.machine.graph
        return len(graph) + graph.edge_count

    def structure(self) -> Structure:
        version = self.version
        if self._structure is not None and self._structure[0] == version:
            return self._structure[1]
        with self._driver.lock:
            nodes = self._dag._nodes[:]
            start, parents = structure_columns(self._driver.machine)
        numbers: dict[str, int] = {}
        of_function: dict[int, int] = {}
        groups = array("I")
        stages: set[int] = set()
        for node in nodes:
            function = node._function
            number = of_function.get(id(function)) if function is not None else None
            if number is None:
                group = _group_name(node)
                number = numbers.setdefault(group, len(numbers))
                if function is not None:
                    of_function[id(function)] = number
            if node._expand_node_output is not None:
                stages.add(number)
            groups.append(number)
        structure = Structure(
            [node.name for node in nodes],
            groups,
            list(numbers),
            start,
            parents,
            frozenset(stages),
            self._dag._cyclic,
        )
        self._structure = (version, structure)
        return structure

    def columns(self) -> Columns:
        return self._driver.columns()

    def run(self) -> RunInfo:
        return self._driver.run()

    def patch(self, since: int) -> Patch:
        return self._driver.patch(since)

    def tape(self) -> Tape:
        with self._driver.lock:
            events = self._driver.machine.history[:]
        return record(events)

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._driver.subscribe(listener)

    def node(self, index: int) -> NodeFacts:
        driver, node = self._driver, self._dag._nodes[index]
        with driver.lock:
            machine = driver.machine
            status = Status(machine.status[index])
            blocker = machine.blocker.get(index)
            parents, children = tuple(machine.graph.parents[index]), tuple(machine.graph.children[index])
            past = list(machine.past.get(index, ()))
            attempt = machine.attempt[index]
            present = (attempt, status, machine.slot[index], machine.started[index], machine.ended[index])
        errors = node._past_errors
        attempts = [
            AttemptFacts(number, Status(code), slot, started, ended, errors.get(number))
            for _, number, code, slot, started, ended in past
        ]
        if attempt and not (attempts and attempts[-1].number == attempt):
            attempts.append(AttemptFacts(*present, errors.get(attempt)))
        error = node._error if status.value in (FAILED, CANCELLED) else None
        return NodeFacts(
            index=index,
            name=node.name,
            function=_function_name(node),
            mode=str(node.mode),
            resource_class=node._resource_class or "",
            status=status,
            args=node.args,
            kwargs=node.kwargs,
            parents=parents,
            children=children,
            attempts=tuple(attempts),
            error=error,
            traceback_text=_traceback_text(error),
            blocker=blocker,
            reference=f"{self.reference}.nodes_by_name[{node.name!r}]",
            source=_source_code(node._function),
        )

    def error(self, index: int) -> BaseException | None:
        is_bad = self._driver.machine.status[index] in (FAILED, CANCELLED)
        return self._dag._nodes[index]._error if is_bad else None

    def progress(self) -> dict[int, float]:
        nodes = self._dag._nodes
        with self._driver.lock:
            running = [found.start() for found in re.finditer(b"%c" % RUNNING, bytes(self._driver.machine.status))]
        told = [(index, nodes[index].progress) for index in running]
        shares = {index: float(far[0] / far[1]) for index, far in told if far is not None and far[1] > 0}
        return {index: min(1.0, share) for index, share in shares.items() if share >= 0}

    @property
    def lines(self) -> LineSource:
        return self._driver.output

    def index_of(self, value: Any) -> int | None:
        from .node import Node

        if isinstance(value, Node) and value.dag is self._dag and value._index >= 0:
            return value._index
        return None

    def result(self, index: int) -> Any:
        node = self._dag._nodes[index]
        if node.status is not Status.COMPLETED:
            raise LookupError(f"node {node.name!r} is {node.status} and has no result")
        return node.result()

    def retry(self, nodes: Sequence[int], descendants: bool = False) -> int:
        return self._driver.retry(nodes, descendants)

    def retry_failed(self) -> int:
        return self._driver.retry(self._dag._indices(FAILED, CANCELLED))

    def cancel(self, nodes: Sequence[int]) -> int:
        return self._driver.cancel(nodes)

    def cancel_graph(self) -> int:
        return self._driver.cancel(None)

    def stop(self, nodes: Sequence[int]) -> int:
        remote = [self._dag._nodes[index] for index in nodes if self._dag._nodes[index]._is_remote]
        if not self._driver.executor.can_stop and len(remote) < len(nodes):
            raise RuntimeError("Functions that run in threads cannot be stopped. Use DAG(use_processes=True).")
        here = [index for index in nodes if not self._dag._nodes[index]._is_remote]
        return sum(node.stop() for node in remote) + (self._driver.stop(here) if here else 0)

    def set_pace(self, seconds: float) -> float:
        return self._driver.set_pace(seconds)


def _function_name(node: Any) -> str:
    if node._is_remote:
        return str(node.work.label)
    return full_name(node._function) if node._function is not None else ""


def _group_name(node: Any) -> str:
    function = node._function
    if function is None:
        return str(node.work.label if node._is_remote else node.name)
    return str(getattr(function, "__name__", None) or full_name(function))


def _traceback_text(error: BaseException | None) -> str:
    if error is None:
        return ""
    from .wire.pickles import traceback_text_of

    return traceback_text_of(error)


def _source_code(function: Any) -> str:
    try:
        return inspect.getsource(inspect.unwrap(function))
    except (TypeError, OSError, ValueError):
        return ""
