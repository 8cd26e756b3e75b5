"""The client on recorded replies: errors, retries, redirects, and what is never sent twice."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tiledag_widget.errors import InvalidBody, ServerError, ServerUnreachable
from tiledag_widget.settings import Settings
from tiledag_widget.wire.client import Client, current
from tiledag_widget.wire.models import ResultFormat, SqlCall, UdfCall

from ..loopback import TOKEN, Answer, LoopbackServer, Request, as_json, basic, error, serving

UDF = UdfCall(exec="x", result_format=ResultFormat.JSON)
TASK = uuid.uuid4()


@pytest.fixture(params=["near", "far"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    """By both ways: as a server of this machine, and by an address that is no loopback's, as an account's is."""
    with serving(monkeypatch, tmp_path) as one:
        if request.param == "far":
            one.url = one.url.replace("127.0.0.1", "0.0.0.0")
            monkeypatch.setenv("TILEDB_REST_HOST", one.url)
            monkeypatch.setenv("NO_PROXY", "*")
        yield one


class Told:
    """A client that does not sleep, and the waits it would have made."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.client = current() if settings is None else Client(settings)
        self.waits: list[float] = []
        self.client.sleep = self.waits.append


def replay(server: LoopbackServer, path: str, *answers: Answer) -> None:
    """The first requests to a path get these answers, one after another."""
    left = list(answers)

    def rule(request: Request) -> Answer | None:
        return left.pop(0) if left and request.path.startswith(path) else None

    server.rules.append(rule)


def test_a_token_is_sent_in_its_header_and_is_in_no_text(server: LoopbackServer) -> None:
    """A token in a log or a URL is a token lost."""
    client = current()

    assert client.user().username == "me"
    (request,) = server.requests
    assert request.headers["x-tiledb-rest-api-key"] == TOKEN
    assert "authorization" not in request.headers
    assert TOKEN not in repr(client) + repr(client.settings) + str(request)


def test_username_and_password_go_as_basic_authorization(server: LoopbackServer) -> None:
    """Accounts without a token log in so."""
    client = Client(Settings(server.url, username="me", password="secret"))

    client.user()
    client.close()

    assert server.requests[0].headers["authorization"] == basic("me", "secret")
    assert "secret" not in repr(client.settings)


def test_a_busy_server_is_asked_again_after_the_time_it_names(server: LoopbackServer) -> None:
    """503 says that nothing was done: this is the one reply after which a function may be sent again."""
    busy = error(503, "later")
    busy.headers["Retry-After"] = "7"
    replay(server, "/v1/udfs", busy, error(503, "later"), as_json(1))
    told = Told()

    reply = told.client.submit_udf("ns", UDF)

    assert json.loads(reply.data) == 1
    assert told.waits[0] == 7
    assert len(told.waits) == 2


@pytest.mark.parametrize("status", [400, 422, 500, 502, 504])
def test_no_other_error_sends_a_function_again(server: LoopbackServer, status: int) -> None:
    """It may have run."""
    replay(server, "/v1/udfs", error(status, "no"))
    told = Told()

    with pytest.raises(ServerError, match="no") as caught:
        told.client.submit_udf("ns", UDF)

    assert caught.value.http_status == status
    assert len(server.named("POST /v1/udfs")) == 1


def test_a_read_that_broke_off_is_made_again(server: LoopbackServer) -> None:
    """One dropped connection must not fail a graph."""
    replay(server, "/v1/user", Answer(drop=True), Answer(drop=True))
    told = Told()

    assert told.client.user().username == "me"
    assert len(told.waits) == 2


def test_a_server_that_is_gone_is_named_with_what_to_do() -> None:
    """A bare socket error tells nobody which server."""
    told = Told(Settings("http://127.0.0.1:9"))

    with pytest.raises(ServerUnreachable, match="127.0.0.1:9 cannot be reached.*TILEDB_REST_HOST"):
        told.client.user()
    told.client.close()


def test_single_calls_carry_an_id_by_which_our_server_knows_them(server: LoopbackServer) -> None:
    """A repeated call outside a graph would run twice."""
    replay(server, "/v1/udfs", as_json(1), as_json(2))
    client = current()

    client.submit_udf("ns", UDF)
    client.submit_udf("ns", UdfCall(exec="x", task_graph_uuid="g", client_node_uuid="n"))

    first, second = server.named("POST /v1/udfs")
    uuid.UUID(first.headers["x-tiledag-request-id"])
    assert "x-tiledag-request-id" not in second.headers


def test_a_result_that_is_not_there_yet_is_waited_for(server: LoopbackServer) -> None:
    """TileDB's client takes the 202 for an empty result."""
    replay(server, "/v1/task", Answer(202), Answer(202), as_json([1]))
    told = Told()

    reply = told.client.task_result(TASK)

    assert (reply.data, reply.task_id) == (b"[1]", TASK)
    assert len(told.waits) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_keeps_method_body_and_token_and_is_remembered(server: LoopbackServer, status: int) -> None:
    """The service sends calls to a region; a GET there would fail, and each call would take two."""
    here = str(urlsplit(server.url).hostname)
    other = server.url.replace(here, "localhost")
    replay(server, "/v1/sql", Answer(status, headers={"Location": f"{other}/v1/sql/ns"}), as_json([1]), as_json([2]))
    client = current()

    client.submit_sql("ns", SqlCall("select 1"))
    client.submit_sql("ns", SqlCall("select 2"))

    sent = server.named("POST /v1/sql/ns")
    assert [one.body["query"] for one in sent] == ["select 1", "select 1", "select 2"]
    assert [one.headers["host"].split(":")[0] for one in sent] == [here, "localhost", "localhost"]
    assert {one.headers["x-tiledb-rest-api-key"] for one in sent} == {TOKEN}


def test_redirects_in_circles_end(server: LoopbackServer) -> None:
    """The call would never return."""
    server.rules.append(lambda one: Answer(307, headers={"Location": one.path}))

    with pytest.raises(ServerError, match="circles"):
        current().user()


def test_an_error_carries_what_our_server_says_about_the_exception(server: LoopbackServer) -> None:
    """The traceback of the function is what a person needs."""
    body = error(422, "boom", exception_type="my.Error", traceback="Traceback\n  line")
    body.headers["X-TILEDB-CLOUD-TASK-ID"] = str(TASK)
    replay(server, "/v1/udfs", body)

    with pytest.raises(ServerError) as caught:
        current().submit_udf("ns", UDF)

    found = caught.value
    assert str(found) == "Error: boom"
    assert (found.type_name, found.traceback_text, found.task_id) == ("my.Error", "Traceback\n  line", str(TASK))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(404, b"<html>"), "HTTP 404: resource not found"),
        (Answer(418, b"teapot"), "HTTP 418 without a message.*teapot"),
        (error(401, "who are you."), r"who are you\. Check.*TILEDB_REST_TOKEN"),
        (as_json([1], 400), "HTTP 400 without a message"),
    ],
)
def test_replies_that_are_no_errors_of_the_contract_are_told_too(
    server: LoopbackServer, answer: Answer, words: str
) -> None:
    """A proxy answers in HTML."""
    replay(server, "/v1/user", answer)

    with pytest.raises(ServerError, match=words):
        current().user()


def test_a_reply_that_does_not_fit_is_refused_by_name(server: LoopbackServer) -> None:
    """It would fail later, somewhere else."""
    replay(server, "/v1/user", Answer(200, b"not json"), as_json({"username": 3}))

    with pytest.raises(InvalidBody, match="not JSON"):
        current().user()
    with pytest.raises(InvalidBody, match="user.username must be a text"):
        current().user()


def test_names_in_paths_are_quoted_whole(server: LoopbackServer) -> None:
    """A slash in a name would be another route."""
    replay(server, "/v1/udf", as_json({"name": "x"}))

    current().udf_info("a/b", "c d?")

    assert server.requests[0].path == "/v1/udf/a/b/c d?"


def test_lists_of_logs_leave_out_what_was_not_asked(server: LoopbackServer) -> None:
    """The service would look for the text None."""
    replay(server, "/v1/taskgraphs/logs", as_json({"task_graph_logs": [{"uuid": str(TASK), "novel": 1}]}))

    found = current().logs(search="x")

    assert server.requests[0].query == {"search": ["x"], "page": ["1"], "per_page": ["10"]}
    assert found.task_graph_logs is not None
    assert found.task_graph_logs[0].uuid == str(TASK)


def test_of_the_answer_to_an_upload_only_the_id_is_read(server: LoopbackServer) -> None:
    """A graph of 5,000 nodes comes back whole: a notebook would stand still to look at each of them again."""
    answer = {"uuid": str(TASK), "nodes": "of no kind that we know"}
    replay(server, "/v1/taskgraphs", as_json(answer), as_json(answer), as_json({"nodes": []}), as_json([1]))
    client = current()

    assert client.create_batch_graph("ns", {"nodes": []}) == str(TASK)
    assert client.submit_batch_graph("ns", str(TASK)) == str(TASK)
    with pytest.raises(InvalidBody, match="gave the graph no id"):
        client.create_batch_graph("ns", {"nodes": []})
    with pytest.raises(InvalidBody, match="gave the log no id"):
        client.submit_batch_graph("ns", str(TASK))


def test_connections_are_closed_although_an_error_is_kept(server: LoopbackServer) -> None:
    """A node that failed, or a log record, would hold a socket for as long as anybody keeps it."""
    client = current()
    with pytest.raises(ServerError) as kept:
        client.log("ns", TASK)
    port = urlsplit(server.url).port

    client.close()

    assert kept.tb is not None
    mine = psutil.Process().net_connections("tcp")
    assert not [one for one in mine if tuple(one.raddr)[1:] == (port,)]


def test_one_client_serves_as_long_as_the_settings_stay(
    server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections would be made for each node."""
    first = current()

    assert current() is first
    monkeypatch.setenv("TILEDB_REST_TOKEN", "another")
    assert current() is not first
