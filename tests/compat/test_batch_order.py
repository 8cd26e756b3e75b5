"""What a server says and what is asked of it cross on the way: in every order a graph ends where its run has ended.

The server is the real one. The order is forced at the client's requests: a reply is kept back until something else has
happened, so nothing here depends on who is faster.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.hiding import hiding_our_routes
from tests.server.running import embedded_server
from tiledag_widget import DAG, Mode, Status
from tiledag_widget.errors import ServerUnreachable
from tiledag_widget.run.batch import BatchDriver
from tiledag_widget.wire.client import Client

for needed in ("uvicorn", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow
SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server of its own."""
    folder = tmp_path_factory.mktemp("order")
    with embedded_server(folder, TILEDAG_SERVER="embedded"):
        yield folder


def held(path: str) -> str:
    """Runs until somebody makes the file."""
    import os
    import time

    open(path + ".running", "a").close()
    end = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.01)
    return "let go"


def flaky(path: str, times: int) -> int:
    with open(path, "a") as file:
        file.write("x")
    with open(path) as file:
        count = len(file.read())
    if count <= times:
        raise ValueError(f"try {count}")
    return count


def driver_of(dag: DAG) -> BatchDriver:
    return cast("BatchDriver", dag._driver)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def run_is_over(dag: DAG) -> bool:
    driver = driver_of(dag)
    assert driver.client is not None
    assert driver.log_id is not None
    log = driver.client.log(driver.namespace, driver.log_id)
    return log.status in ("succeeded", "failed", "cancelled")


def cancelled(folder: Path) -> DAG:
    """A graph that was cancelled while its first node ran, and whose run has ended; nothing holds it any more."""
    dag = DAG(name="order", mode=Mode.BATCH, max_workers=1)
    first = dag.submit(held, str(folder / "go"), name="first")
    second = dag.submit(str.upper, first, name="second")
    dag.submit(str.lower, second, name="third")
    dag.submit(held, str(folder / "go"), name="other")
    dag.compute()
    wait_until(lambda: any(folder.glob("*.running")))
    dag.cancel()
    dag.wait(SECONDS)
    assert dag.status is Status.CANCELLED
    (folder / "go").touch()
    return dag


def statuses(dag: DAG) -> set[str]:
    return {str(node.status) for node in dag.nodes.values()}


def after_request(patch: pytest.MonkeyPatch, dag: DAG, what: str, then: Callable[[], Any]) -> None:
    """The reply to the next request of this kind comes when `then` has returned."""
    asked = Client.control

    def control(self: Client, namespace: str, log: Any, kind: str, nodes: Any = None) -> Any:
        reply = asked(self, namespace, log, kind, nodes)
        if kind == what and str(log) == driver_of(dag).log_id:
            patch.setattr(Client, "control", asked)
            then()
        return reply

    patch.setattr(Client, "control", control)


def break_looks(patch: pytest.MonkeyPatch, thread: threading.Thread) -> None:
    """From now on this thread gets no word of any run; others do."""
    looked = Client.run_events

    def run_events(self: Client, *args: Any, **options: Any) -> Any:
        if threading.current_thread() is thread:
            raise ServerUnreachable("the connection broke")
        return looked(self, *args, **options)

    patch.setattr(Client, "run_events", run_events)


def test_a_retry_whose_run_ends_before_its_reply_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes would stay Cancelled for ever, while the server has completed them."""
    dag = cancelled(tmp_path)
    after_request(monkeypatch, dag, "retry", lambda: wait_until(lambda: run_is_over(dag)))

    dag.retry_all()
    dag.wait(SECONDS)

    assert (dag.status, statuses(dag)) == (Status.COMPLETED, {"Completed"})
    assert dag.nodes_by_name["third"].result() == "let go"


def test_a_page_that_was_read_before_a_retry_is_heard_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of the old round would be told as the end of the new one."""
    dag = DAG(name="order", mode=Mode.BATCH)
    bad = dag.submit(flaky, str(tmp_path / "tries"), 1, name="bad")
    below = dag.submit(lambda x: x * 10, bad, name="below")
    other = dag.submit(held, str(tmp_path / "go"), name="other")
    ends: list[str] = []
    dag.add_done_callback(lambda one: ends.append(str(one.status)))
    asked, kept, let = threading.Event(), threading.Event(), threading.Event()
    looked = Client.run_events

    def run_events(self: Client, *args: Any, **options: Any) -> Any:
        asked.set()
        page = looked(self, *args, **options)
        if page.done and threading.current_thread().name.endswith("-follow") and not kept.is_set():
            kept.set()
            assert let.wait(SECONDS)
        return page

    dag.compute()
    wait_until(lambda: bad.done() and other.running())
    monkeypatch.setattr(Client, "run_events", run_events)
    assert asked.wait(SECONDS)
    (tmp_path / "go").touch()
    assert kept.wait(SECONDS)
    dag.retry_all()
    let.set()
    dag.wait(SECONDS)

    assert (dag.status, below.result()) == (Status.COMPLETED, 20)
    assert ends[-1] == "Completed"


@pytest.mark.parametrize("is_over", [False, True], ids=["while it runs", "when it is over"])
def test_a_retry_that_is_followed_by_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_over: bool) -> None:
    """The connection may break between the reply and the words: the follower hears them later."""
    dag = cancelled(tmp_path)
    if is_over:
        after_request(monkeypatch, dag, "retry", lambda: wait_until(lambda: run_is_over(dag)))
    break_looks(monkeypatch, threading.current_thread())

    dag.retry_all()
    dag.wait(SECONDS)

    assert (dag.status, statuses(dag)) == (Status.COMPLETED, {"Completed"})


def test_a_cancel_that_is_followed_by_silence_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What had completed before the server heard of the cancel would be shown as cancelled."""
    dag = DAG(name="order", mode=Mode.BATCH)
    first = dag.submit(held, str(tmp_path / "go"), name="first")
    second = dag.submit(str.upper, first, name="second")
    third = dag.submit(held, str(tmp_path / "never"), name="third")
    last = dag.submit(lambda *above: above, second, third, name="last")
    dag.compute()
    wait_until(lambda: first.running() and third.running())
    is_held, silence = threading.Event(), threading.Event()
    looked = Client.run_events

    def run_events(self: Client, *args: Any, **options: Any) -> Any:
        if not threading.current_thread().name.endswith("-follow"):
            raise ServerUnreachable("the connection broke")
        is_held.set()
        assert silence.wait(SECONDS)
        return looked(self, *args, **options)

    monkeypatch.setattr(Client, "run_events", run_events)
    assert is_held.wait(SECONDS)
    (tmp_path / "go").touch()
    wait_until(lambda: second_is_done(dag))
    dag.cancel()

    assert dag.status is Status.CANCELLED
    assert second.status is Status.CANCELLED  # as far as is known here
    silence.set()
    dag.wait(SECONDS)
    wait_until(lambda: second.status is Status.COMPLETED)
    assert (first.result(), second.result()) == ("let go", "LET GO")
    assert (third.status, dag.status) == (Status.CANCELLED, Status.CANCELLED)
    assert last.status in (Status.CANCELLED, Status.PARENT_FAILED)


def second_is_done(dag: DAG) -> bool:
    driver = driver_of(dag)
    assert driver.client is not None
    assert driver.log_id is not None
    nodes = driver.client.log(driver.namespace, driver.log_id).nodes or ()
    return any(one.name == "second" and one.status == "COMPLETED" for one in nodes)


def test_a_log_that_is_older_than_the_retry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TileDB Cloud is asked for its log, which may be read from where the retry has not come to yet."""
    from tiledag_widget.server import launch
    from tiledag_widget.wire import client as wire_client

    with hiding_our_routes(launch.ensure()) as (url, token, _):
        monkeypatch.delenv("TILEDAG_SERVER")
        monkeypatch.setenv("TILEDB_REST_HOST", url)
        monkeypatch.setenv("TILEDB_REST_TOKEN", token)
        dag = cancelled(tmp_path)
        driver = driver_of(dag)
        assert driver.client is not None
        assert driver.log_id is not None
        old = driver.client.log(driver.namespace, driver.log_id)
        late = [old] * 8
        looked = Client.log

        def log(self: Client, *args: Any, **options: Any) -> Any:
            found = looked(self, *args, **options)
            return late.pop() if late and str(found.uuid) == driver.log_id else found

        after_request(monkeypatch, dag, "retry", lambda: monkeypatch.setattr(Client, "log", log))
        dag.retry_all()
        dag.wait(SECONDS)

        assert not late
        assert (dag.status, statuses(dag)) == (Status.COMPLETED, {"Completed"})
        wire_client.close()
