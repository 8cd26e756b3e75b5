"""What of a run goes on record, and that nothing waits for it. The server is a stand-in on loopback."""

from __future__ import annotations

import gc
import logging
import statistics
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tiledag_widget import DAG, Mode, Status, server_logs
from tiledag_widget.run import record
from tiledag_widget.run.record import Recorder, recorder

from ..helpers import wait_until
from ..loopback import Answer, LoopbackServer, Request, as_json, error, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    """A server of ours that somebody has configured."""
    monkeypatch.setattr(record, "GRACE_S", 0.0)
    with serving(monkeypatch, tmp_path) as one:
        one.is_ours = True
        yield one


def bodies(server: LoopbackServer) -> list[dict[str, Any]]:
    return [one.body for one in server.named("PUT /tiledag/v1/runs/")]


def nodes_of(server: LoopbackServer) -> dict[str, dict[str, Any]]:
    """The nodes as the server would have them, by name; executions by attempt."""
    found: dict[str, dict[str, Any]] = {}
    for body in bodies(server):
        for node in body.get("nodes", ()):
            known = found.setdefault(node["name"], {"attempts": {}})
            known.update({key: value for key, value in node.items() if key != "executions"})
            known["attempts"].update({one["attempt"]: one for one in node.get("executions", ())})
    return found


class Fails(Exception):
    """An exception of the user's own."""


def test_structure_statuses_and_attempts_go_on_record_with_times_errors_and_output(server: LoopbackServer) -> None:
    """What a person looks for the next day."""

    def talk(x: int) -> int:
        print("half", "way")  # noqa: T201  # that is what the test is about
        return x + 1

    def fail(x: int) -> int:
        raise Fails("no good")

    dag = DAG(name="recorded", mode=Mode.LOCAL, record=True)
    first = dag.submit(talk, 1, name="first")
    bad = dag.submit(fail, first, name="bad")
    dag.submit(talk, bad, name="below")
    began = time.time()

    dag.compute()
    with pytest.raises(Fails):
        dag.wait(20)
    assert recorder.flush(20)

    nodes = nodes_of(server)
    assert list(nodes) == ["first", "bad", "below"]
    assert [node["status"] for node in nodes.values()] == ["COMPLETED", "FAILED", "QUEUED"]
    assert nodes["bad"]["depends_on"] == [str(first.id)]
    assert {node["run_location"] for node in nodes.values()} == {"client"}
    (done,), (failed,) = nodes["first"]["attempts"].values(), nodes["bad"]["attempts"].values()
    assert done["logs"] == "half way\n"
    assert failed["exception_type"].endswith("Fails")
    assert failed["status_message"] == "Fails: no good"
    assert 'raise Fails("no good")' in failed["traceback"]
    assert not nodes["below"]["attempts"]
    start, end = (datetime.fromisoformat(done[key].replace("Z", "+00:00")) for key in ("start_time", "finish_time"))
    assert began - 0.1 <= start.timestamp() <= end.timestamp() <= time.time()
    head, tail = bodies(server)[0], bodies(server)[-1]
    assert (head["name"], tail["status"]) == ("recorded", "failed")
    assert dag.server_graph_uuid is not None
    assert str(dag.server_graph_uuid) in server.named("PUT")[0].path


def test_a_retry_is_one_more_attempt_of_the_same_record(server: LoopbackServer) -> None:
    """The earlier error must not be lost, and the run must not be on record twice."""
    outcomes = iter([Fails("once")])

    def fails_once() -> str:
        for problem in outcomes:
            raise problem
        return "now"

    dag = DAG(mode=Mode.LOCAL, record=True)
    node = dag.submit(fails_once, name="n")
    dag.compute()
    with pytest.raises(Fails):
        dag.wait(20)
    recorder.flush(20)

    node.retry()
    dag.wait(20)
    assert recorder.flush(20)

    attempts = nodes_of(server)["n"]["attempts"]
    assert {number: one["status"] for number, one in attempts.items()} == {1: "FAILED", 2: "COMPLETED"}
    assert len({one.path for one in server.named("PUT")}) == 1
    assert bodies(server)[-1]["status"] == "succeeded"


def test_a_flush_waits_for_a_run_that_ends_once_more_while_its_record_is_let_go(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who looks right after the end of a graph sees the failure before its retry.

    1. The record of the first end has been sent; 2. a retry ends; 3. the recorder lets go of the run; 4. it takes the
    news of the second end; 5. somebody asks whether all is sent.
    """
    monkeypatch.setattr(record, "GRACE_S", 0.3)
    monkeypatch.setattr(record, "TOGETHER_S", 0.3)
    outcomes = iter([Fails("once")])

    def fails_once() -> str:
        for problem in outcomes:
            raise problem
        return "now"

    dag = DAG(mode=Mode.LOCAL, record=True)
    node = dag.submit(fails_once, name="n")
    forget, was_let_go = recorder._forget, threading.Event()

    def retry_first(run: Any) -> None:
        if not was_let_go.is_set():
            node.retry()
            wait_until(dag.done)
        forget(run)
        was_let_go.set()

    monkeypatch.setattr(recorder, "_forget", retry_first)
    dag.compute()

    assert was_let_go.wait(20)
    assert recorder.flush(20)

    assert bodies(server)[-1]["status"] == "succeeded"


def test_the_end_after_a_retry_is_on_record_though_nobody_holds_the_graph(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cell that retries and is run again at once must not leave a run that failed."""
    outcomes = iter([Fails("once")])
    may_look = threading.Event()
    may_look.set()
    take_final = Recorder._take_final

    def take_later(self: Recorder, run: Any) -> None:
        may_look.wait(20)
        take_final(self, run)

    def fails_once() -> str:
        for problem in outcomes:
            raise problem
        return "now"

    monkeypatch.setattr(Recorder, "_take_final", take_later)
    dag = DAG(mode=Mode.LOCAL, record=True)
    node = dag.submit(fails_once, name="n")
    dag.compute()
    with pytest.raises(Fails):
        dag.wait(20)
    assert recorder.flush(20)

    may_look.clear()
    node.retry()
    dag.wait(20)
    seen = weakref.ref(dag)
    del dag, node
    gc.collect()
    may_look.set()

    assert recorder.flush(20)
    assert bodies(server)[-1]["status"] == "succeeded"
    assert nodes_of(server)["n"]["attempts"][2]["status"] == "COMPLETED"
    gc.collect()
    assert seen() is None


def test_what_was_cancelled_is_on_record_as_that(server: LoopbackServer) -> None:
    """A node that never ran has no attempt, but a status."""
    may_end = threading.Event()
    dag = DAG(mode=Mode.LOCAL, record=True)
    node = dag.submit(may_end.wait, 20, name="runs")
    dag.submit(lambda x: x, node, name="waits")
    dag.compute()
    wait_until(node.running)

    dag.cancel()
    may_end.set()
    dag.wait(20)
    assert recorder.flush(20)

    nodes = nodes_of(server)
    assert (nodes["runs"]["status"], nodes["waits"]["status"]) == ("COMPLETED", "CANCELLED")
    assert bodies(server)[-1]["status"] == "cancelled"


def test_nothing_waits_for_a_record_server_that_answers_nothing(server: LoopbackServer) -> None:
    """Statuses, callbacks and node starts are the run's; the record comes once the server is back."""
    answer = threading.Event()
    server.rules.append(lambda one: (answer.wait(20), None)[1] if one.method == "PUT" else None)
    with DAG(mode=Mode.LOCAL, record=True, name="makes it hang") as before:
        before.submit(int)
    wait_until(lambda: bool(server.named("PUT")))
    waits: list[float] = []
    called: list[float] = []

    for number in range(15):
        began = time.perf_counter()
        dag = DAG(mode=Mode.LOCAL, record=True, name=str(number), update_callback=lambda _: called.append(time.time()))
        node = dag.submit(time.perf_counter, name=f"node {number}")
        dag.compute()
        assert node.result(20) >= began
        assert dag.status is not Status.NOT_STARTED
        waits.append(time.perf_counter() - began)
    assert not answer.is_set()
    assert statistics.median(waits) < 0.01
    assert len(called) >= 15

    answer.set()
    assert recorder.flush(20)
    assert {f"node {number}" for number in range(15)} <= set(nodes_of(server))


@pytest.mark.parametrize("status", [503, 408, 429])
def test_a_server_that_says_come_back_later_gets_the_whole_record_later(
    server: LoopbackServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """And the trouble is said once, not once for each graph."""
    is_busy = [True]
    server.rules.append(
        lambda one: as_json({"message": "later"}, status) if is_busy[0] and one.method == "PUT" else None
    )
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        with DAG(mode=Mode.LOCAL, record=True) as dag:
            dag.submit(int, name="n")
    assert recorder.flush(20) is False

    is_busy[0] = False
    server.requests.clear()

    assert recorder.flush(20)
    assert len({one.path for one in server.named("PUT")}) == 3
    assert [body.get("status") for body in bodies(server)].count("succeeded") == 3
    assert sum("cannot be recorded now" in one.message for one in caplog.records) <= 1


def test_a_flush_sends_what_can_be_sent_though_another_run_fails(server: LoopbackServer) -> None:
    """Who looks right after the end of a graph did not find it, because of a record of before.

    1. The recorder sends an old record; 2. a graph ends, and somebody asks for all to be sent; 3. the old one fails.
    """
    answer = threading.Event()
    old: list[str] = []

    def refuse_the_first(one: Request) -> Answer | None:
        if one.method != "PUT":
            return None
        old[:] = old or [one.path]
        if one.path != old[0]:
            return None
        answer.wait(20)
        return error(503, "later")

    server.rules.append(refuse_the_first)
    with DAG(mode=Mode.LOCAL, record=True) as before:
        before.submit(int, name="old")
    wait_until(lambda: bool(old))
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        dag.submit(int, name="new")
    dag.wait(20)
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(recorder.flush(20)))
    asking.start()
    wait_until(lambda: recorder._bell.qsize() >= 2)  # of the end, and of who asks
    answer.set()
    asking.join(20)

    assert answers == [False]
    assert "new" in nodes_of(server)
    server.rules.clear()
    assert recorder.flush(20)


def refusing_the_rest_of_what_it_never_got(server: LoopbackServer) -> set[str]:
    """Has the server answer as ours does. Returns the logs that it has; they can be taken away."""
    known: set[str] = set()

    def answer(one: Request) -> Answer | None:
        if one.method != "PUT":
            return None
        if one.body.get("created_at"):
            known.add(one.path)
        return None if one.path in known else error(404, "There is no log")

    server.rules.append(answer)
    return known


def test_a_graph_that_starts_while_somebody_asks_for_records_is_on_record_whole(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It had no time to begin its record with, the server refused it, and the run was on record nowhere."""
    refusing_the_rest_of_what_it_never_got(server)
    dag = DAG(name="starts", mode=Mode.LOCAL, record=True)
    dag.submit(int, name="n")
    start, answers = dag._driver.start, []

    def ask_and_start() -> None:
        answers.append(recorder.flush(20))
        start()

    monkeypatch.setattr(dag._driver, "start", ask_and_start)

    dag.compute()
    dag.wait(20)

    assert recorder.flush(20)
    assert answers == [True]  # there was nothing yet
    assert nodes_of(server)["n"]["status"] == "COMPLETED"
    assert (bodies(server)[0]["name"], bodies(server)[-1]["status"]) == ("starts", "succeeded")
    assert not caplog.records


def test_a_graph_that_is_not_started_any_more_is_let_go(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody cancels it between the first and the second line of `compute`."""
    monkeypatch.setattr(record, "LIVE_AFTER_S", 0.05)
    dag = DAG(mode=Mode.LOCAL, record=True)
    dag.submit(int)
    monkeypatch.setattr(dag._driver, "start", lambda: None)

    dag.compute()

    wait_until(lambda: recorder.statistics()["runs"] == 0)
    assert recorder.flush(20)
    assert not bodies(server)


def test_a_graph_cancelled_before_its_start_is_no_run_until_it_is_retried(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing to look at; and a retry starts it, without another `compute`."""
    monkeypatch.setattr(record, "LIVE_AFTER_S", 0.05)
    dag = DAG(mode=Mode.LOCAL, record=True, name="after all")
    dag.submit(int, name="n")
    dag.cancel()

    dag.compute()

    wait_until(lambda: recorder.statistics()["runs"] == 0)
    assert not bodies(server)
    dag.retry_all()
    dag.wait(20)
    assert recorder.flush(20)
    assert (bodies(server)[0]["name"], bodies(server)[-1]["status"]) == ("after all", "succeeded")
    assert nodes_of(server)["n"]["status"] == "COMPLETED"
    assert not caplog.records


def test_a_graph_whose_start_was_interrupted_is_on_record_once(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been given up by then; the second start is live on record like any other."""
    monkeypatch.setattr(record, "LIVE_AFTER_S", 0.2)
    may_end = threading.Event()
    dag = DAG(mode=Mode.LOCAL, record=True)
    dag.submit(may_end.wait, 20, name="n")
    start = dag._driver.start

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dag._driver, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dag.compute()
    wait_until(lambda: recorder.statistics()["runs"] == 0)
    monkeypatch.setattr(dag._driver, "start", start)

    dag.compute()

    wait_until(lambda: "n" in nodes_of(server))
    assert nodes_of(server)["n"]["status"] == "RUNNING"
    may_end.set()
    dag.wait(20)
    assert recorder.flush(20)
    assert len({one.path for one in server.named("PUT")}) == 1


def test_a_graph_that_two_threads_start_is_on_record_once_and_let_go(server: LoopbackServer) -> None:
    """One of two records had no end, was sent for ever, and held the graph."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            dag = DAG(mode=Mode.LOCAL, record=True)
            dag.submit(int)
            both = threading.Barrier(2)

            def start(dag: DAG = dag, both: threading.Barrier = both) -> None:
                both.wait(20)
                dag.compute()

            starting = [threading.Thread(target=start) for _ in range(2)]
            for one in starting:
                one.start()
            for one in starting:
                one.join(20)
            dag.wait(20)
    finally:
        sys.setswitchinterval(interval)

    assert recorder.flush(20)
    wait_until(lambda: recorder.statistics()["runs"] == 0)
    assert len({one.path for one in server.named("PUT")}) == 100


def test_a_flush_does_not_wait_for_a_graph_that_starts_meanwhile(server: LoopbackServer) -> None:
    """It is on record seconds later; who looks for another one would wait for so long."""
    is_sending, may_end = threading.Event(), threading.Event()
    later = DAG(mode=Mode.LOCAL, record=True)
    later.submit(may_end.wait, 20, name="later")

    def start_it(one: Request) -> None:
        if one.method == "PUT" and not is_sending.is_set():
            is_sending.set()
            later.compute()

    server.rules.append(start_it)
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        dag.submit(int, name="ended")
    dag.wait(20)
    began = time.monotonic()

    assert recorder.flush(20)

    took = time.monotonic() - began
    may_end.set()
    later.wait(20)
    assert recorder.flush(20)
    assert is_sending.is_set()
    assert took < record.LIVE_AFTER_S
    assert set(nodes_of(server)) == {"ended", "later"}


def test_who_asks_when_all_has_been_sent_hurries_no_later_graph(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record would be sent while it starts, and be in its way."""
    forget = recorder._forget

    def ask_and_forget(run: Any) -> None:
        recorder.flush(0)
        forget(run)

    monkeypatch.setattr(recorder, "_forget", ask_and_forget)
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        dag.submit(int)
    dag.wait(20)

    wait_until(lambda: not recorder._is_working)
    assert bodies(server)
    assert not recorder._is_hurried()


@pytest.mark.parametrize("lost_when", ["running", "ended"])
def test_a_server_that_has_lost_a_run_is_told_all_of_it_once_more(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, lost_when: str
) -> None:
    """Somebody deletes the data folder while a graph runs; the next server knows nothing of what went before."""
    monkeypatch.setattr(record, "LIVE_AFTER_S", 0.3)
    monkeypatch.setattr(record, "LIVE_EVERY_S", 0.0 if lost_when == "running" else 100.0)
    monkeypatch.setattr(record, "RETRY_S", (0.01, 0.01))
    known = refusing_the_rest_of_what_it_never_got(server)
    may_end = threading.Event()
    dag = DAG(name="lost", mode=Mode.LOCAL, record=True)
    first = dag.submit(int, name="first")
    dag.submit(lambda _: may_end.wait(20), first, name="second")
    dag.compute()
    wait_until(lambda: "second" in nodes_of(server) and bool(known))

    server.requests.clear()
    known.clear()
    if lost_when == "running":
        wait_until(lambda: bool(known))
    may_end.set()
    dag.wait(20)
    wait_until(lambda: recorder.flush(20))

    after = [body for body in bodies(server) if body.get("created_at")]
    assert len(after) == 1
    assert (after[0]["name"], bodies(server)[-1]["status"]) == ("lost", "succeeded")
    nodes = nodes_of(server)
    assert {name: node["status"] for name, node in nodes.items()} == {"first": "COMPLETED", "second": "COMPLETED"}
    assert nodes["second"]["depends_on"] == [str(first.id)]


def test_a_server_that_loses_every_run_is_not_told_for_ever(
    server: LoopbackServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the run goes on."""
    monkeypatch.setattr(record, "RETRY_S", (0.01, 0.01))
    monkeypatch.setattr(recorder, "_told", set())
    server.rules.append(lambda one: error(404, "There is no such thing") if one.method == "PUT" else None)
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        node = dag.submit(int, name="n")

    wait_until(lambda: recorder.statistics()["runs"] == 0)
    assert node.result(20) == 0
    assert len(bodies(server)) == 2
    assert "does not take the record" in caplog.text


def test_what_waits_to_be_recorded_holds_no_result_and_is_bounded(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is away for a day must not fill the kernel's memory."""
    server.rules.append(lambda one: error(503, "later") if one.method == "PUT" else None)
    monkeypatch.setattr(record, "MOST_WAITING", 25)

    class Big:
        pass

    with DAG(mode=Mode.LOCAL, record=True) as dag:
        node = dag.submit(Big)
        dag.compute()
        result = weakref.ref(node.result(20))
    for _ in range(9):
        with DAG(mode=Mode.LOCAL, record=True) as dag:
            for _ in range(10):
                dag.submit(int)
    del dag, node
    recorder.flush(20)

    def is_let_go() -> bool:
        gc.collect()
        return result() is None

    wait_until(is_let_go)

    def is_bounded() -> bool:
        held = recorder.statistics()
        return held["nodes"] <= 25 and held["runs"] <= 3

    wait_until(is_bounded)


@pytest.mark.parametrize("how", ["record=False", "TILEDAG_RECORD", "a configured server"])
def test_nothing_is_recorded_where_that_is_switched_off_or_not_asked_for(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Local work is nobody else's."""
    monkeypatch.setenv("TILEDAG_RECORD", "0" if how == "TILEDAG_RECORD" else "1")
    if how == "TILEDAG_RECORD":
        monkeypatch.setenv("TILEDAG_SERVER", "embedded")
    dag = DAG(mode=Mode.LOCAL, record=False if how == "record=False" else None)
    dag.submit(int)

    dag.compute()
    dag.wait(20)

    assert recorder.flush(20)
    assert recorder.statistics() == {"runs": 0, "nodes": 0}
    assert not server.requests
    assert server_logs(dag) is None


def test_a_foreign_server_gets_what_the_contract_has_for_local_nodes(server: LoopbackServer) -> None:
    """Structure and statuses; it has no room for times and errors."""
    server.is_ours = False

    def fail() -> None:
        raise Fails

    dag = DAG(name="elsewhere", record=True)
    good, bad = dag.submit_local(int, name="good"), dag.submit_local(fail, name="bad")
    dag.compute()
    with pytest.raises(Fails):
        dag.wait(20)

    assert recorder.flush(20)
    (log,) = (one.body for one in server.requests if one.path == "/v1/taskgraphs/mine/log")
    assert (log["name"], [one["name"] for one in log["nodes"]]) == ("elsewhere", ["good", "bad"])
    reports = {
        one.body["client_node_uuid"]: one.body["status"] for one in server.named("POST /v1/taskgraphs/mine/logs")
    }
    assert reports == {str(good.id): "COMPLETED", str(bad.id): "FAILED"}
    assert [one.body for one in server.named("PATCH")] == [{"status": "failed"}]
    assert dag.server_graph_uuid == server.log_id


def test_a_foreign_server_that_does_not_know_a_node_gets_no_second_log(server: LoopbackServer) -> None:
    """The run was made there once more, under another id."""
    server.is_ours = False
    server.rules.append(lambda one: error(404, "no such node") if one.path.endswith("report_client_node") else None)
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        dag.submit(int)
    dag.wait(20)

    assert recorder.flush(20)

    assert len([one for one in server.requests if one.method == "POST" and one.path.endswith("/log")]) == 1


def test_a_mixed_graph_is_on_record_whole_and_its_server_nodes_wait_for_no_record(server: LoopbackServer) -> None:
    """A record server that is slow must not hold up the functions."""
    answer = threading.Event()

    def hang(one: Request) -> Answer | None:
        if one.method == "PUT":
            answer.wait(20)
        return None

    server.rules.append(hang)
    dag = DAG(name="mixed")
    there = dag.submit(lambda: 1, name="there")
    here = dag.submit_local(lambda x: x + 1, there, name="here")

    dag.compute()

    assert here.result(20) == 2
    assert not answer.is_set()
    answer.set()
    dag.wait(20)
    assert recorder.flush(20)
    nodes = nodes_of(server)
    assert [(node["run_location"], node["status"], len(node["attempts"])) for node in nodes.values()] == [
        ("server", "COMPLETED", 0),
        ("client", "COMPLETED", 1),
    ]
    (call,) = server.named("POST /v1/udfs/")
    assert call.body["task_graph_uuid"] == str(dag.server_graph_uuid)
    assert server.named("PUT")[0].path.endswith(str(dag.server_graph_uuid))
    assert bodies(server)[-1]["status"] == "succeeded"


def test_a_recorder_with_nothing_to_do_holds_no_thread(server: LoopbackServer) -> None:
    """A finished graph holds none, and neither does its record."""
    with DAG(mode=Mode.LOCAL, record=True) as dag:
        dag.submit(int)
    assert recorder.flush(20)

    wait_until(lambda: not any(thread.name == "tiledag-record" for thread in threading.enumerate()))


def test_closing_a_recorder_that_never_worked_does_nothing() -> None:
    """It is an exit hook of every process."""
    one = Recorder()

    one.close()

    assert one.flush(0)
