"""Batch graphs as bodies, a run followed to its end, and the rules that every reply about a run keeps."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.server.running import PATIENCE_S, Server
from tiledag_widget.wire import codec
from tiledag_widget.wire.batch_models import PLACEHOLDER

VERSION = "{}.{}.{}".format(*sys.version_info[:3])
TERMINAL = ("COMPLETED", "FAILED", "CANCELLED")
LOG_ENDED = ("succeeded", "failed", "cancelled")
PICKLE = codec.MIME_OF["python_pickle"]


@dataclass
class BatchNode:
    """A node of a body; as an argument of another it stands for its output."""

    body: dict[str, Any]
    id: str


@dataclass
class BatchBody:
    """A graph that is being written."""

    name: str = "batch"
    nodes: list[BatchNode] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def udf(
        self,
        function: Callable[..., Any] | str,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        over: BatchNode | None = None,
        after: tuple[BatchNode, ...] = (),
        name: str | None = None,
        result_format: str = "native",
        environment: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> BatchNode:
        """A function node. `over`: it is run once for each item of that node's output, for which ITEM stands."""
        code = (
            {"registered_udf_name": function}
            if isinstance(function, str)
            else {"executable_code": codec.encode_function(function)}
        )
        arguments = [{"value": _value(one)} for one in args]
        arguments += [{"name": key, "value": _value(one)} for key, one in (kwargs or {}).items()]
        work: dict[str, Any] = {
            **code,
            "arguments": arguments,
            "result_format": result_format,
            "environment": dict({"language": "python", "language_version": VERSION}, **(environment or {})),
        }
        parents = [one.id for one in (*args, *(kwargs or {}).values(), *after) if isinstance(one, BatchNode)]
        return self.add({"udf_node": work}, name, [*parents, *([over.id] if over else [])], over, **options)

    def sql(self, query: str, *parameters: Any, name: str | None = None, result_format: str = "arrow") -> BatchNode:
        """A query node."""
        body = {"query": query, "parameters": [_value(one) for one in parameters], "result_format": result_format}
        parents = [one.id for one in parameters if isinstance(one, BatchNode)]
        return self.add({"sql_node": body}, name, parents)

    def add(
        self,
        work: dict[str, Any],
        name: str | None = None,
        parents: list[str] | None = None,
        over: BatchNode | None = None,
        **options: Any,
    ) -> BatchNode:
        """A node of any kind."""
        identity = str(uuid.uuid4())
        body = {
            "client_node_id": identity,
            "name": name or f"node {len(self.nodes)}",
            "depends_on": list(dict.fromkeys(parents or [])),
            "expand_node_output": over.id if over else "",
            **work,
            **options,
        }
        self.nodes.append(BatchNode(body, identity))
        return self.nodes[-1]

    def json(self) -> dict[str, Any]:
        return {"name": self.name, "nodes": [one.body for one in self.nodes], **self.options}


ITEM = PLACEHOLDER


def _value(value: Any) -> Any:
    if isinstance(value, BatchNode):
        return {"__tdbudf__": "node_output", "client_node_id": value.id}
    return codec.to_tagged(value, "n", "args[0]")


class LogRules:
    """The rules of section 4.2 of the contract, over all replies about one run in the order in which they came."""

    def __init__(self, server: Server, ids: set[str]) -> None:
        self._server = server
        self._ids = ids
        self._before: dict[str, str] = {}
        self._had_failure = False
        self._looked_at: set[str] = set()

    def forget(self) -> None:
        """A retry was asked for: ends may change."""
        self._before = {}
        self._had_failure = False

    def check(self, log: Mapping[str, Any]) -> None:
        """Fails if a reply breaks a rule."""
        assert log["task_graph_type"] == "batch"
        nodes = {one["client_node_uuid"]: one for one in log["nodes"]}
        assert set(nodes) == self._ids, "rule 1: the client's own nodes, and no others"
        for identity, node in nodes.items():
            status = node["status"]
            assert status in ("QUEUED", "RUNNING", *TERMINAL), f"rule 3: {status}"
            if status in TERMINAL:
                assert node["executions"], f"rule 2: {node['name']} is {status} without an execution"
            before = self._before.get(identity)
            if before in TERMINAL:
                assert status == before, f"{node['name']} was {before} and is {status}"
            self._before[identity] = status
            self._had_failure |= status == "FAILED"
            if status == "FAILED":
                self._check_failure(node)
        status = log["status"]
        assert status in ("submitted", "running", *LOG_ENDED)
        statuses = [one["status"] for one in nodes.values()]
        if status == "succeeded":
            assert set(statuses) <= {"COMPLETED"}, f"rule 4: succeeded with {statuses}"
        if status in LOG_ENDED:
            assert "RUNNING" not in statuses, f"rule 4: {status} with a running node"
        if status == "failed":
            assert self._had_failure, "rule 5: failed without a failed node"

    def _check_failure(self, node: Mapping[str, Any]) -> None:
        task = node["executions"][-1]["id"]
        if task in self._looked_at:
            return
        self._looked_at.add(task)
        answer = self._server.ask("GET", f"/v1/task/{task}/result")
        if answer.status == 404:  # rule 7: nothing to show
            return
        assert answer.status == 200, "rule 6"
        assert answer.headers["content-type"] == PICKLE, "rule 6"
        assert isinstance(answer.value(), BaseException), "rule 6"


@dataclass
class BatchRun:
    """A run that was submitted."""

    server: Server
    graph: str
    log: str
    rules: LogRules

    def look(self) -> dict[str, Any]:
        """The log now, checked."""
        answer = self.server.ask("GET", f"/v1/taskgraphs/me/logs/{self.log}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        self.rules.check(found)
        return found

    def wait(self, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The log at its end; every one before it is checked."""
        return self.wait_for(lambda log: log["status"] in LOG_ENDED, seconds)

    def wait_for(self, condition: Callable[[dict[str, Any]], bool], seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The first log that fulfils a condition."""
        deadline = time.monotonic() + seconds
        while not condition(log := self.look()):
            assert time.monotonic() < deadline, f"it did not happen: {self.statuses(log)}"
            time.sleep(0.01)
        return log

    def statuses(self, log: Mapping[str, Any]) -> dict[str, str]:
        return {node["name"]: node["status"] for node in log["nodes"]}

    def attempts(self, log: Mapping[str, Any], node: BatchNode) -> list[str]:
        found = next(one for one in log["nodes"] if one["client_node_uuid"] == node.id)
        return [one["status"] for one in found["executions"]]

    def result(self, node: BatchNode) -> Any:
        """The value of a node, or its exception, as a client gets it."""
        found = next(one for one in self.look()["nodes"] if one["client_node_uuid"] == node.id)
        answer = self.server.ask("GET", f"/v1/task/{found['executions'][-1]['id']}/result")
        assert answer.status == 200, (answer.status, answer.body)
        return answer.value()

    def events(self, after: int = 0, wait: float = 0) -> list[dict[str, Any]]:
        """All events after one; their numbers are checked."""
        found: list[dict[str, Any]] = []
        while True:
            answer = self.server.ask("GET", f"/tiledag/v1/runs/{self.log}/events?after={after}&wait={wait}")
            assert answer.status == 200, answer.body
            page = answer.json()
            assert [one["number"] for one in page["events"]] == [after + 1 + k for k in range(len(page["events"]))]
            found += page["events"]
            after = page["last"]
            if not page["more"]:
                return found

    def control(self, what: str, nodes: list[BatchNode] | None = None) -> Any:
        """Asks for stop, retry or resubmit."""
        body = {"nodes": [one.id for one in nodes]} if nodes is not None else None
        if what == "retry":
            self.rules.forget()
        return self.server.ask("POST", f"/v1/taskgraphs/me/executions/{self.log}/{what}", body)


def submit(server: Server, body: BatchBody) -> BatchRun:
    """Uploads a graph and begins a run of it."""
    answer = server.ask("POST", "/v1/taskgraphs/me/graphs", body.json())
    assert answer.status == 201, answer.body
    graph = answer.json()["uuid"]
    answer = server.ask("POST", f"/v1/taskgraphs/me/graphs/{graph}/submit")
    assert answer.status == 202, answer.body
    log = answer.json()["uuid"]
    return BatchRun(server, graph, log, LogRules(server, {one.id for one in body.nodes}))


def refusal(server: Server, body: BatchBody) -> str:
    """What the server says of a graph that it does not take."""
    answer = server.ask("POST", "/v1/taskgraphs/me/graphs", body.json())
    assert answer.status == 400, (answer.status, answer.body)
    return str(answer.json()["message"])
