"""Trial G2: chains of calls in any order, against a model of what the server must know after each of them."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from tests.server.batching import LOG_ENDED, BatchBody, BatchRun, submit
from tests.server.running import PATIENCE_S, Answer, Server, running_server
from tiledag_widget.wire import codec

pytestmark = pytest.mark.slow

CHAINS, PARTS = 200, 4
STEPS = 20
CHAINS_OF_A_SEED = 10
NAMES = ("one", "Two", "drei_3")
NOBODY = str(uuid.UUID(int=7))
ENDS = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "2") as running:
        yield running


@dataclass
class Log:
    """A run on record."""

    id: str
    node: str
    status: str = "submitted"
    has_run: bool = False


@dataclass(eq=False)
class Waiting:
    """A call that runs until it is stopped."""

    name: str
    answers: list[Answer] = field(default_factory=list)
    thread: threading.Thread | None = None
    is_stopped: bool = False


def plus(number: int) -> Any:
    return lambda x: x + number


def sleeps() -> None:
    import time

    time.sleep(600)


plus.__module__ = sleeps.__module__ = "__main__"


class Chains(RuleBasedStateMachine):
    """Each rule calls the server and compares its reply with what the calls before have made of it."""

    server: Server
    logs = Bundle("logs")
    tasks = Bundle("tasks")
    running = Bundle("running")
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[str, int] = {}
        self.waiting: list[Waiting] = []
        self.owner = f"n{uuid.uuid4().hex[:12]}"
        """A namespace of its own for each chain."""

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        answer = self.server.ask(method, path, body)
        assert answer.status < 500, (method, path, answer.status, answer.body)
        if answer.status >= 400:
            assert answer.json()["message"], "an error without words"
        return answer

    def execute(self, function: Any, *args: Any, **fields: Any) -> Answer:
        return self.server.call(function, *args, result_format="json", **fields)

    # --- registered functions -----------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 9))
    def register(self, name: str, number: int) -> None:
        body = {"name": name, "language": "python", "exec": codec.encode_function(plus(number))}
        answer = self.ask("POST", f"/v1/udf/{self.owner}/{name}", body)
        assert answer.status == (409 if name in self.functions else 204)
        self.functions.setdefault(name, number)

    @rule(name=st.sampled_from(NAMES), number=st.integers(0, 9))
    def change(self, name: str, number: int) -> None:
        answer = self.ask("PATCH", f"/v1/udf/{self.owner}/{name}", {"exec": codec.encode_function(plus(number))})
        assert answer.status == (204 if name in self.functions else 404)
        if name in self.functions:
            self.functions[name] = number

    @rule(old=st.sampled_from(NAMES), new=st.sampled_from(NAMES))
    def rename(self, old: str, new: str) -> None:
        answer = self.ask("PATCH", f"/v1/udf/{self.owner}/{old}", {"name": new})
        if old not in self.functions:
            assert answer.status == 404
        elif new != old and new in self.functions:
            assert answer.status == 409
        else:
            assert answer.status == 204
            self.functions[new] = self.functions.pop(old)

    @rule(name=st.sampled_from(NAMES))
    def call_by_name(self, name: str) -> None:
        answer = self.execute(f"{self.owner}/{name}", 100)
        if name in self.functions:
            assert (answer.status, answer.json()) == (200, 100 + self.functions[name])
        else:
            assert answer.status == 404

    @rule(name=st.sampled_from(NAMES))
    def forget(self, name: str) -> None:
        answer = self.ask("DELETE", f"/v1/udf/{self.owner}/{name}")
        assert answer.status == (204 if self.functions.pop(name, None) is not None else 404)
        assert self.ask("GET", f"/v1/udf/{self.owner}/{name}").status == 404

    # --- logs ---------------------------------------------------------------------------------------------

    @rule(target=logs, name=st.text("abc%_'", max_size=5))
    def begin_log(self, name: str) -> Log:
        node = str(uuid.uuid4())
        nodes = [{"client_node_uuid": node, "name": "n", "depends_on": [], "run_location": "server"}]
        answer = self.ask("POST", f"/v1/taskgraphs/{self.owner}/log", {"name": name, "nodes": nodes})
        assert answer.status == 201
        return Log(answer.json()["uuid"], node)

    @rule(log=logs, status=st.sampled_from(ENDS))
    def end_log(self, log: Log, status: str) -> None:
        assert self.ask("PATCH", f"/v1/taskgraphs/{self.owner}/logs/{log.id}", {"status": status}).status == 204
        log.status = status

    @rule(log=logs)
    def read_log(self, log: Log) -> None:
        found = self.ask("GET", f"/v1/taskgraphs/{self.owner}/logs/{log.id}").json()
        if log.status in ENDS:
            assert found["status"] == log.status
            assert found["end_time"] >= found["created_at"]
        else:
            assert found["status"] in ("submitted", "running")
        assert [node["client_node_uuid"] for node in found["nodes"]] == [log.node]

    @rule(log=logs)
    def find_log(self, log: Log) -> None:
        page = self.ask("GET", f"/v1/taskgraphs/logs?namespace={self.owner}&per_page=100").json()
        listed = {one["uuid"] for one in page["task_graph_logs"]}
        assert log.id in listed
        assert page["pagination_metadata"]["total_items"] >= len(listed)

    # --- tasks --------------------------------------------------------------------------------------------

    @rule(target=tasks, number=st.integers(-5, 5))
    def run(self, number: int) -> Any:
        answer = self.execute(plus(number), 1)
        assert (answer.status, answer.json()) == (200, 1 + number)
        return answer.headers["x-tiledb-cloud-task-id"], 1 + number

    @rule(target=tasks, log=logs, number=st.integers(-5, 5))
    def run_in_a_graph(self, log: Log, number: int) -> Any:
        """The same node of the same run gives the reply of the first time, whatever is sent."""
        answer = self.execute(plus(number), 1, task_graph_uuid=log.id, client_node_uuid=log.node)
        assert answer.status == 200, answer.body
        if not log.has_run:  # its client goes on with it, as after a retry; what is known already changes nothing
            log.has_run, log.status = True, "running"
        task = answer.headers["x-tiledb-cloud-task-id"]
        again = self.execute(plus(number + 1), 1, task_graph_uuid=log.id, client_node_uuid=log.node)
        assert (again.json(), again.headers["x-tiledb-cloud-task-id"]) == (answer.json(), task)
        return task, answer.json()

    @rule(task=tasks)
    def read_task(self, task: tuple[str, int]) -> None:
        found = self.ask("GET", f"/v1/task/{task[0]}").json()
        assert (found["id"], found["status"], found["type"]) == (task[0], "COMPLETED", "GENERIC_UDF")
        result = self.ask("GET", f"/v1/task/{task[0]}/result")
        assert (result.status, result.json()) == (200, task[1])
        assert self.ask("POST", f"/tiledag/v1/tasks/{task[0]}/stop").status == 409

    @rule()
    def ask_for_what_is_not_there(self) -> None:
        for path in (f"/v1/task/{NOBODY}", f"/v1/task/{NOBODY}/result", f"/v1/taskgraphs/{self.owner}/logs/{NOBODY}"):
            assert self.ask("GET", path).status == 404
        assert self.ask("POST", f"/tiledag/v1/tasks/{NOBODY}/stop").status == 404

    @rule(target=running)
    def start(self) -> Any:
        """At most one for each chain: there are two workers, and others want to run."""
        if any(not one.is_stopped for one in self.waiting):
            return multiple()
        name = f"waits {uuid.uuid4().hex}"
        waiting = Waiting(name)
        waiting.thread = threading.Thread(
            target=lambda: waiting.answers.append(self.execute(sleeps, task_name=name)), daemon=True
        )
        waiting.thread.start()
        self.waiting.append(waiting)
        return waiting

    def task_of(self, waiting: Waiting) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for one in self.ask("GET", "/v1/tasks?status=RUNNING&per_page=100").json()["array_tasks"]:
                if one["name"] == waiting.name:
                    return str(one["id"])
            time.sleep(0.02)
        raise AssertionError(f"{waiting.name} never ran")

    @rule(waiting=consumes(running))
    def stop(self, waiting: Waiting) -> None:
        self.stop_now(waiting)
        assert waiting.answers[0].status == 409
        assert waiting.answers[0].json()["exception_type"] == "StoppedError"

    def stop_now(self, waiting: Waiting) -> None:
        task = self.task_of(waiting)
        assert self.ask("GET", f"/v1/task/{task}/result").status == 202
        assert self.ask("POST", f"/tiledag/v1/tasks/{task}/stop").status == 204
        assert waiting.thread is not None
        waiting.thread.join(PATIENCE_S)
        waiting.is_stopped = True
        assert self.ask("GET", f"/v1/task/{task}").json()["status"] == "CANCELLED"
        assert self.ask("POST", f"/tiledag/v1/tasks/{task}/stop").status == 409

    # --- batch graphs -------------------------------------------------------------------------------------

    @rule(target=runs, is_good=st.booleans())
    def submit_batch(self, is_good: bool) -> tuple[BatchRun, str]:
        body = BatchBody(name="chain")
        first = body.udf(plus(1), 1, name="first")
        body.udf(plus(1) if is_good else len, first, name="second")
        return submit(self.server, body), "succeeded" if is_good else "failed"

    @rule(run=runs)
    def read_batch(self, run: tuple[BatchRun, str]) -> None:
        run[0].look()

    @rule(run=consumes(runs))
    def wait_for_batch(self, run: tuple[BatchRun, str]) -> None:
        log = run[0].wait()
        assert log["status"] == run[1]
        stopped = self.ask("POST", f"/v1/taskgraphs/me/executions/{run[0].log}/stop")
        assert stopped.status in (204, 409)
        assert run[0].look()["status"] == run[1], "what has ended stays as it is"

    @rule(run=consumes(runs))
    def stop_batch(self, run: tuple[BatchRun, str]) -> None:
        assert self.ask("POST", f"/v1/taskgraphs/me/executions/{run[0].log}/stop").status in (204, 409)
        assert run[0].wait()["status"] in LOG_ENDED

    def teardown(self) -> None:
        for waiting in self.waiting:
            if not waiting.is_stopped:
                self.stop_now(waiting)


def try_chains(server: Server, count: int, seed: int) -> None:
    machine = type("ChainsHere", (Chains,), {"server": server})

    run_state_machine_as_test(
        seeded(seed)(machine),
        settings=settings(
            max_examples=count,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

    assert server.ask("GET", "/tiledag/v1/info").status == 200


@contextlib.contextmanager
def chains(folder: Path) -> Iterator[Callable[[int], None]]:
    """G2, ten chains a seed."""
    with running_server(folder / "data", "--workers", "2") as server:
        yield lambda seed: try_chains(server, CHAINS_OF_A_SEED, seed)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_g2_chains_of_calls_leave_the_server_in_the_state_they_say(server: Server, part: int) -> None:
    """Each call may be right by itself, and the second one after it wrong."""
    try_chains(server, CHAINS // PARTS, part)
