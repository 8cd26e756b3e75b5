"""Retry strategies and deadlines: the rules as functions, and on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.batching import ITEM, BatchBody, submit
from tests.server.running import Server, running_server
from tiledag_widget.errors import InvalidBody
from tiledag_widget.server import batch_retry
from tiledag_widget.server.batch_expression import LastRetry, parse
from tiledag_widget.server.batch_retry import Attempted, rule_of, seconds_of
from tiledag_widget.wire.models import RetryStrategy, from_json

FAILED = Attempted(batch_retry.FAILED, "ValueError: no", "ValueError", False, 1, 2.0, 0, 0.0)
LOST = Attempted(batch_retry.ERROR, "worker died", "WorkerDied", False, None, 2.0, 0, 0.0)
NETWORK = Attempted(batch_retry.FAILED, "reset", "requests.exceptions.ConnectionError", False, 1, 2.0, 0, 0.0)
TOO_LONG = Attempted(batch_retry.FAILED, "too long", "TimeoutError", True, 1, 2.0, 0, 0.0)


def rule(**strategy: Any) -> batch_retry.Rule:
    found = rule_of(from_json(RetryStrategy, strategy), "retry_strategy")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("policy", "covered"),
    [
        ("Always", [FAILED, LOST, NETWORK, TOO_LONG]),
        ("OnFailure", [FAILED, NETWORK, TOO_LONG]),
        ("OnError", [LOST]),
        ("OnTransientError", [LOST, NETWORK]),
        (None, [FAILED, NETWORK, TOO_LONG]),
    ],
)
def test_a_policy_covers_the_ends_that_it_names(policy: str | None, covered: list[Attempted]) -> None:
    """What was meant for lost workers does not hide a bug in a function."""
    strategy = rule(retryPolicy=policy, limit=3)

    assert [one for one in (FAILED, LOST, NETWORK, TOO_LONG) if strategy.wait_after(one) is not None] == covered


def test_the_limit_counts_retries() -> None:
    """Limit 2 is three attempts; no limit is until it succeeds, and then not faster than one a second for ever."""
    strategy = rule(limit=2)
    waits = [strategy.wait_after(after(FAILED, retries)) for retries in range(3)]

    assert waits == [0.0, 0.0, None]
    assert rule(limit=0).wait_after(FAILED) is None
    assert rule().wait_after(after(FAILED, 9)) == 0.0
    assert rule().wait_after(after(FAILED, 1000)) == 1.0


def after(tried: Attempted, retries: int, since_first: float = 0.0) -> Attempted:
    values = (tried.end, tried.message, tried.error_type, tried.by_limit, tried.exit_code, tried.duration)
    return Attempted(*values, retries, since_first)


def test_a_back_off_grows_and_ends() -> None:
    """The wait grows by the factor, and no retry begins later than the longest duration after the first attempt."""
    strategy = rule(backoff={"duration": "2s", "factor": 3, "maxDuration": "1m"})

    assert [strategy.wait_after(after(FAILED, retries)) for retries in range(3)] == [2.0, 6.0, 18.0]
    assert strategy.wait_after(after(FAILED, 0, since_first=58)) == 2.0
    assert strategy.wait_after(after(FAILED, 0, since_first=59)) is None
    assert rule(backoff={"duration": "10", "factor": 1e8}).wait_after(after(FAILED, 5)) == 1e9


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("1.5s", 1.5), ("2m", 120), ("1h30m", 5400), ("1d", 86400), ("250ms", 0.25), (" 5 ", 5), ("", None)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    """A number is seconds."""
    assert seconds_of(text, "duration") == seconds


@pytest.mark.parametrize("text", ["soon", "5 parsecs", "-3s", "1s2"])
def test_other_durations_are_refused(text: str) -> None:
    """A typing error must not become no wait at all."""
    with pytest.raises(InvalidBody, match="backoff.duration is"):
        rule(backoff={"duration": text})


LAST = LastRetry("7", "Failed", 3.5, "ConnectionError: reset by peer")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("true", True),
        ("not true or true", True),
        ("! (true && false)", True),
        ("asInt(lastRetry.exitCode) == 7", True),
        ("asFloat(lastRetry.duration) > 3.25 and lastRetry.duration <= 4", True),
        ('lastRetry.status in ["Failed", "Error"]', True),
        ("lastRetry.exitCode not in ['1', '7']", False),
        ('lastRetry.message matches "reset.*peer$"', True),
        ('lastRetry.message matches "^peer"', False),
        ("lastRetry.duration > -1 and -2 < 1e1", True),
        (r'lastRetry.status != "Fa\"iled"', True),
        ("true or false and false", True),
    ],
)
def test_expressions_mean_what_they_say(text: str, result: bool) -> None:
    """The user's condition decides, with the usual order of operators."""
    assert parse(text)(LAST) is result


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("lastRetry.exitcode == '1'", 11, "lastRetry has exitCode, status, duration, message"),
        ("lastRetry.exitCode > 1", 20, "cannot be compared by >"),
        ("__import__('os')", 1, "'__import__' is not known"),
        ("lastRetry.message matches '('", 27, "this is no regular expression"),
        ("1 + 1 == 2", 3, "'+' is not known"),
        ("lastRetry.status", 1, "this is a text, expected true or false"),
        ("true and", 9, "something is missing"),
        ("true true", 6, "was not expected"),
        ("(" * 60 + "true" + ")" * 60, 52, "nested deeper"),
        ("lastRetry.status in ['a', 1]", 18, "something else"),
        ("asInt(true) == 1", 7, "takes a text or a number"),
        ("", 1, "something is missing"),
    ],
)
def test_other_expressions_are_refused_with_their_position(text: str, position: int, words: str) -> None:
    """Nothing but the small language is ever evaluated, and the user sees where the slip is."""
    with pytest.raises(InvalidBody) as caught:
        parse(text)

    assert f"character {position}: " in str(caught.value)
    assert words in str(caught.value)


def test_an_expression_that_cannot_be_answered_means_no_retry() -> None:
    """A message that is no number must not stop the server."""
    assert rule(expression="asInt(lastRetry.message) > 1").wait_after(FAILED) is None
    assert rule(expression="lastRetry.status == 'Error'").wait_after(LOST) == 0.0


# --- on a server --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("batch") / "data", "--workers", "2") as found:
        yield found


def flaky(folder: Path, name: str, failures: int) -> Callable[..., Any]:
    """A function that fails so many times, counted in a file."""
    file = str(folder / name)

    def function(*args: Any) -> list[Any]:
        with open(file, "a") as out:
            out.write("x")
        with open(file) as found:
            count = len(found.read())
        if count <= failures:
            raise ValueError(f"attempt {count}")
        return [count, *args]

    return function


@pytest.mark.slow
def test_a_flaky_node_is_tried_again_and_nobody_sees_it_failed(server: Server, tmp_path: Path) -> None:
    """The graph's strategy is the default of each node; each attempt is on record, and the back-off is kept."""
    body = BatchBody(options={"retry_strategy": {"limit": 3, "backoff": {"duration": "0.2", "factor": 2}}})
    chance = body.udf(flaky(tmp_path, "a", 2), name="chance")
    after = body.udf(lambda x: x[0], chance, name="after")

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "succeeded"
    assert run.result(after) == 3
    assert run.attempts(log, chance) == ["FAILED", "FAILED", "COMPLETED"]
    events = [one for one in run.events() if one.get("node") == chance.id]
    assert [(one["kind"], one["status"], one["attempt"]) for one in events] == [
        ("node", "RUNNING", 1),
        ("attempt", "FAILED", 1),
        ("node", "QUEUED", 2),
        ("node", "RUNNING", 2),
        ("attempt", "FAILED", 2),
        ("node", "QUEUED", 3),
        ("node", "RUNNING", 3),
        ("node", "COMPLETED", 3),
    ]
    assert events[1]["message"] == "ValueError: attempt 1"
    assert events[3]["time"] >= events[2]["not_before"]


def test_a_nodes_own_strategy_replaces_the_graphs(server: Server, tmp_path: Path) -> None:
    """Limit 0 at a node is no retry, whatever the graph says; the last failure is the one that counts."""
    body = BatchBody(options={"retry_strategy": {"limit": 5}})
    never = body.udf(flaky(tmp_path, "a", 1), name="never", retry_strategy={"limit": 0})
    once = body.udf(flaky(tmp_path, "b", 2), name="once", retry_strategy={"limit": 1, "retryPolicy": "Always"})

    run = submit(server, body)
    log = run.wait()

    assert run.attempts(log, never) == ["FAILED"]
    assert run.attempts(log, once) == ["FAILED", "FAILED"]
    assert str(run.result(once)) == "attempt 2"


@pytest.mark.slow
def test_an_expression_stops_retries_that_make_no_sense(server: Server, tmp_path: Path) -> None:
    """Only what may pass is tried again."""
    condition = 'lastRetry.message matches "attempt 1" and asInt(lastRetry.exitCode) == 1'
    body = BatchBody()
    node = body.udf(flaky(tmp_path, "a", 9), name="node", retry_strategy={"expression": condition})

    run = submit(server, body)

    assert run.attempts(run.wait(), node) == ["FAILED", "FAILED"]


def test_an_item_of_a_stage_is_tried_again_alone(server: Server, tmp_path: Path) -> None:
    """The strategy of a stage is that of each of its items."""
    body = BatchBody()
    items = body.udf(lambda: [5, 6], name="items")
    stage = body.udf(flaky(tmp_path, "a", 1), ITEM, over=items, name="stage", retry_strategy={"limit": 1})

    run = submit(server, body)
    log = run.wait()

    assert log["status"] == "succeeded"
    assert [one[1] for one in run.result(stage)] == [5, 6]
    retried = [one for one in run.events() if one["kind"] == "attempt"]
    assert len(retried) == 1
    assert retried[0]["item"] in (0, 1)


def test_the_whole_workflow_is_tried_again(server: Server, tmp_path: Path) -> None:
    """What failed and what depends on it runs again, with retries of its own anew; what is done stays done."""
    body = BatchBody(options={"workflow_retry_strategy": {"limit": 2, "backoff": {"duration": "0.05"}}})
    fine = body.udf(flaky(tmp_path, "fine", 0), name="fine")
    chance = body.udf(flaky(tmp_path, "a", 2), fine, name="chance")
    after = body.udf(lambda x: x[0], chance, name="after")
    run = submit(server, body)
    run.rules.check = lambda log: None  # type: ignore[method-assign]  # a node that failed may run again here

    log = run.wait()

    assert log["status"] == "succeeded"
    assert run.result(after) == 3
    assert run.attempts(log, fine) == ["COMPLETED"]
    assert run.attempts(log, chance) == ["FAILED", "FAILED", "COMPLETED"]
    assert [one["status"] for one in run.events() if one["kind"] == "run"].count("succeeded") == 1


@pytest.mark.slow
def test_a_dead_worker_is_an_error_and_not_a_failure(server: Server, tmp_path: Path) -> None:
    """OnError tries it again, OnFailure does not; without a strategy it is not run twice."""
    file = str(tmp_path / "died")

    def dies() -> str:
        import os

        if not os.path.exists(file):
            open(file, "w").close()
            os._exit(3)
        return "alive"

    def always_dies() -> None:
        import os

        os._exit(3)

    body = BatchBody()
    saved = body.udf(dies, name="saved", retry_strategy={"limit": 2, "retryPolicy": "OnError"})
    lost = body.udf(always_dies, name="lost", retry_strategy={"limit": 2, "retryPolicy": "OnFailure"})
    bare = body.udf(always_dies, name="bare")

    run = submit(server, body)
    log = run.wait()

    assert run.attempts(log, saved) == ["FAILED", "COMPLETED"]
    assert run.attempts(log, lost) == ["FAILED"]
    assert run.attempts(log, bare) == ["FAILED"]
    assert "worker died: exit code 3" in next(n["status_message"] for n in log["nodes"] if n["name"] == "bare")


def test_stop_ends_a_node_that_waits_for_its_next_attempt(server: Server, tmp_path: Path) -> None:
    """A back-off of an hour does not hold up the end."""
    body = BatchBody(options={"retry_strategy": {"limit": 3, "backoff": {"duration": "1h"}}})
    node = body.udf(flaky(tmp_path, "a", 9), name="node")
    run = submit(server, body)
    run.wait_for(lambda log: len(run.attempts(log, node)) == 2)

    run.control("stop")
    log = run.look()

    assert log["status"] == "cancelled"
    assert run.attempts(log, node) == ["FAILED", "CANCELLED"]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["graph", "node", "timeout"])
def test_what_takes_too_long_is_ended(server: Server, level: str) -> None:
    """The deadline of the graph, that of a node and the timeout of one call: each ends the node, which fails."""
    options: dict[str, Any] = {"deadline": 1} if level == "node" else {}
    environment = {"timeout": 0.7} if level == "timeout" else {}
    body = BatchBody(options={"deadline": 1} if level == "graph" else {})
    slow = body.udf(lambda: time.sleep(60), name="slow", environment=environment, **options)
    body.udf(lambda x: x, slow, name="below")

    run = submit(server, body)
    log = run.wait(20)

    assert log["status"] == "failed"
    assert run.statuses(log) == {"slow": "FAILED", "below": "QUEUED"}
    found = next(one for one in log["nodes"] if one["name"] == "slow")
    words = {"graph": "The graph was not done", "node": "within its deadline of 1 s", "timeout": "its timeout of 0.7 s"}
    assert words[level] in found["status_message"]
    assert server.ask("GET", f"/v1/task/{found['executions'][-1]['id']}/result").status == 404


@pytest.mark.slow
def test_a_deadline_ends_pending_retries_and_stages(server: Server, tmp_path: Path) -> None:
    """Whatever the run is waiting for, at its deadline it is over."""
    body = BatchBody(options={"deadline": 1.5, "parallelism": 4})
    waiting = body.udf(
        flaky(tmp_path, "a", 9), name="waiting", retry_strategy={"limit": 3, "backoff": {"duration": "1h"}}
    )
    items = body.udf(lambda: [1, 2, 3], name="items")
    stage = body.udf(lambda item: time.sleep(60), ITEM, over=items, name="stage")

    run = submit(server, body)
    log = run.wait(20)

    assert log["status"] == "failed"
    assert run.statuses(log) == {"waiting": "FAILED", "items": "COMPLETED", "stage": "FAILED"}
    assert run.attempts(log, waiting) == ["FAILED", "FAILED"]
    assert run.attempts(log, stage)[-1] == "FAILED"
