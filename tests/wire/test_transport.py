"""Connections to servers of this machine: kept open, never mixed up, never a reason for a call to fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiledag_widget.wire.transport import Answer as Got
from tiledag_widget.wire.transport import Lost, Near, is_loopback, is_near

from ..loopback import Answer, LoopbackServer, Request, as_json, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LoopbackServer]:
    with serving(monkeypatch, tmp_path) as one:
        one.rules.append(lambda request: as_json({"path": request.path, "body": request.body}))
        yield one


@pytest.fixture
def near() -> Iterator[Near]:
    way = Near()
    yield way
    way.close()


def get(way: Near, server: LoopbackServer, path: str = "/x", timeout: float | None = 10) -> Got:
    return way.exchange("GET", server.url + path, {}, None, {}, timeout)


def connections_of(server: LoopbackServer) -> int:
    return len(server._sockets)


def test_calls_one_after_another_share_a_connection(near: Near, server: LoopbackServer) -> None:
    """Each new one costs as much as the call."""
    for number in range(5):
        near.exchange("POST", f"{server.url}/p{number}", {"a": [1, "b c"]}, b"[1]", {"X-Mine": "y"}, None)

    assert connections_of(server) == 1
    assert [one.path for one in server.requests] == [f"/p{number}" for number in range(5)]
    assert server.requests[0].query == {"a": ["1", "b c"]}
    assert (server.requests[0].body, server.requests[0].headers["x-mine"]) == ([1], "y")


def test_one_that_was_closed_meanwhile_is_made_anew(near: Near, server: LoopbackServer) -> None:
    """A server that restarts, or ends idle connections, would fail the next function."""
    get(near, server)
    server._sockets[0].shutdown(socket.SHUT_RDWR)

    assert get(near, server).status == 200

    assert connections_of(server) == 2


def test_many_threads_get_their_own_answers(near: Near, server: LoopbackServer) -> None:
    """Answers that are mixed up are wrong results."""
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            found[number] = get(near, server, f"/{number}").text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(f'"/{number}"' in text for number, text in found.items())
    assert len(found) == 8
    assert connections_of(server) <= 8


def test_an_answer_that_does_not_come_in_time_is_lost_and_its_connection_is_not_used_again(
    near: Near, server: LoopbackServer
) -> None:
    """The late answer would be taken for the next call's."""
    go = threading.Event()

    def late(request: Request) -> Answer | None:
        if request.path == "/late":
            go.wait(10)
        return None

    server.rules.insert(0, late)

    with pytest.raises(Lost, match="timed out") as caught:
        get(near, server, "/late", timeout=0.05)
    go.set()

    assert caught.value.was_sent
    assert '"/next"' in get(near, server, "/next").text
    assert connections_of(server) == 2


def test_a_connection_that_breaks_off_is_told_from_one_that_cannot_be_made(near: Near, server: LoopbackServer) -> None:
    """One may have run the function, the other has not."""
    server.rules.insert(0, lambda request: Answer(drop=True))

    with pytest.raises(Lost) as broken:
        get(near, server)
    with pytest.raises(Lost, match="refused") as refused:
        near.exchange("GET", "http://127.0.0.1:9/x", {}, None, {}, 1)

    assert (broken.value.was_sent, refused.value.was_sent) == (True, False)


def test_bodies_of_all_sizes_come_and_go_whole(near: Near, server: LoopbackServer) -> None:
    """Small ones go in one piece with the head, large ones in pieces."""
    for size in (0, 1, 60_000, 70_000, 3_000_000):
        text = "x" * size
        answer = near.exchange("POST", f"{server.url}/y", {}, f'"{text}"'.encode(), {}, 10)
        assert text in answer.text

    empty = near.exchange("POST", f"{server.url}/y", {}, b"", {}, 10)

    assert server.requests[-1].headers["content-length"] == "0"
    assert (empty.header("CONTENT-type"), empty.header("absent")) == ("application/json", "")


def test_closing_closes_also_what_is_in_use_when_it_comes_back(near: Near, server: LoopbackServer) -> None:
    """A socket would stay open for as long as the client is kept."""
    arrived, go = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer | None:
        arrived.set()
        go.wait(10)
        return None

    server.rules.insert(0, slow)
    thread = threading.Thread(target=get, args=(near, server))
    thread.start()
    arrived.wait(10)

    near.close()
    go.set()
    thread.join()

    get(near, server)
    assert connections_of(server) == 2


@pytest.mark.parametrize(
    ("url", "loopback", "near"),
    [
        ("http://127.0.0.1:80", True, True),
        ("http://127.3.2.1", True, True),
        ("http://[::1]:80/v1", True, True),
        ("http://localhost:9", True, True),
        ("https://localhost:9", True, False),
        ("http://0.0.0.0:9", False, False),
        ("http://localhost.evil.com", False, False),
        ("https://api.tiledb.com", False, False),
        ("127.0.0.1", False, False),
    ],
)
def test_what_is_this_machine(url: str, loopback: bool, near: bool) -> None:
    """A token that goes over a network unencrypted is lost; a proxy does not know this machine."""
    assert (is_loopback(url), is_near(url)) == (loopback, near)
