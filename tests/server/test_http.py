"""A real server on a real socket: who gets in, and what bad requests are told."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.server.running import Server, basic, running_server
from tiledag_widget.wire import models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def routes(server: Server) -> list[tuple[str, str]]:
    """Every method and path that the server itself says it has, but for the one that ends it."""
    document = server.ask("GET", "/tiledag/v1/openapi.json").json()
    found = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(found) > 40
    return [(method, path) for method, path in found if path != "/tiledag/v1/stop"]


def filled(path: str) -> str:
    return "/".join("x" if part.startswith("{") else part for part in path.split("/"))


def raw_reply(server: Server, request: bytes) -> bytes:
    """What comes back for bytes as they are."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as wire:
        wire.sendall(request)
        wire.shutdown(socket.SHUT_WR)
        data = b""
        while piece := wire.recv(65536):
            data += piece
    return data


def test_no_route_is_reached_without_the_right_token(server: Server, routes: list[tuple[str, str]]) -> None:
    """One forgotten route would let every user of the machine run code as this one."""
    for method, path in routes:
        for token in ("", "wrong", server.token[:-1], server.token + "x"):
            assert server.ask(method, filled(path), token=token).status == 401, path
        in_query = f"{filled(path)}?token={server.token}&X-TILEDB-REST-API-KEY={server.token}"
        assert server.ask(method, in_query, token="").status == 401, path


def test_no_route_is_reached_under_a_foreign_name_or_from_a_foreign_page(
    server: Server, routes: list[tuple[str, str]]
) -> None:
    """The token may be known to a page that was tricked out of it; it still gets nothing."""
    for method, path in routes:
        for headers in ({"Host": f"evil.test:{server.port}"}, {"Origin": "http://evil.test"}):
            assert server.ask(method, filled(path), headers=headers).status == 403, path
    preflight = {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"}
    reply = server.ask("OPTIONS", "/v1/udfs/generic/me", headers=preflight)
    assert reply.status == 403
    assert not any(name.startswith("access-control") for name in reply.headers)


def test_it_listens_on_loopback_alone(server: Server) -> None:
    """The next machine must not even get a refusal."""
    process = psutil.Process(server.pid)
    listening = [
        connection.laddr.ip
        for member in [process, *process.children(recursive=True)]
        for connection in member.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]

    assert listening == ["127.0.0.1"]


def test_the_files_with_the_token_are_private_and_it_stands_nowhere_else(server: Server) -> None:
    """What other programs of other users can read must not hold it."""
    for name in ("token", "connection.json"):
        assert stat.S_IMODE(os.stat(server.folder / name).st_mode) == 0o600

    process = psutil.Process(server.pid)
    assert not any(server.token in word for word in process.cmdline())
    assert server.token not in json.dumps(process.environ())
    others = [
        path for path in server.folder.iterdir() if path.is_file() and path.name not in ("token", "connection.json")
    ]
    assert not any(server.token.encode() in path.read_bytes() for path in others)


def test_the_official_way_to_a_session(server: Server) -> None:
    """`tiledb.cloud.login(username, password)` asks for a session with Basic authentication."""
    answer = server.ask("GET", "/v1/session?remember_me=True", headers={"Authorization": basic("me", server.token)})

    assert answer.json()["token"] == server.token


def test_the_user_has_what_the_official_client_needs(server: Server) -> None:
    """Without these fields its DAG() raises."""
    user = models.from_json(models.User, server.ask("GET", "/v1/user").json())

    assert user.username
    assert "run_job" in user.allowed_actions
    assert user.default_namespace_charged == user.username


BAD_BODIES = {
    "no JSON": b"{",
    "no object": b"[]",
    "text that is no UTF-8": b'{"query": "\xff\xfe"}',
    "nested deeply": b'{"query": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "an endless number": b'{"query": "select 1", "timeout": 1e999}',
    "not a number": b'{"query": "select 1", "timeout": NaN}',
    "a wrong type": b'{"query": 5}',
    "nothing": b"",
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=list(BAD_BODIES))
def test_a_bad_body_is_the_senders_fault(server: Server, body: bytes) -> None:
    """A 500 would be tried again a hundred times by the official client."""
    answer = server.ask("POST", "/v1/sql/me", raw=body)

    assert answer.status == 400
    assert set(answer.json()) >= {"code", "message", "request_id"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"exec": "eA==", "udf_info_name": "me/x"},
        {"exec": "eA==", "timeout": 0},
        {"exec": "eA==", "timeout": -1},
        {"exec": "eA==", "resource_class": "huge"},
        {"exec": "eA==", "result_format": "r_serialization"},
        {"exec": "eA==", "language": "r"},
        {"exec": "eA==", "arguments_json": [5]},
        {"exec": "eA==", "arguments_json": [{"name": "a", "value": 1}, {"value": 2}]},
        {"udf_info_name": "no-slash"},
        {"udf_info_name": "me/x@yesterday"},
    ],
)
def test_a_call_that_makes_no_sense_is_refused_before_it_runs(server: Server, fields: dict[str, Any]) -> None:
    """The user learns which field is wrong."""
    assert server.ask("POST", "/v1/udfs/generic/me", fields).status == 400


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(server: Server) -> None:
    """A declared gigabyte must not be waited for, nor kept."""
    head = (
        f"POST /v1/sql/me HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nX-TILEDB-REST-API-KEY: {server.token}\r\n"
        "Content-Length: 1073741824\r\nConnection: close\r\n\r\n"
    )

    assert raw_reply(server, head.encode()).startswith(b"HTTP/1.1 413 ")


def test_a_compressed_body_is_refused(server: Server) -> None:
    """A small bomb would fill the memory."""
    assert server.ask("POST", "/v1/sql/me", raw=b"x", headers={"Content-Encoding": "gzip"}).status == 415


TRAVERSALS = [
    f"/v1/{place}/{name}{rest}"
    for place, rest in (("task", ""), ("task", "/result"), ("taskgraphs/me/logs", ""))
    for name in ("..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "..%5c..", "%00", "....//", "%ff")
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_the_folder(server: Server, path: str) -> None:
    """Results are files; ids must never be parts of paths as they come."""
    assert server.ask("GET", path).status in (400, 404)


def test_an_unknown_address_and_a_wrong_method_are_told(server: Server) -> None:
    """404 on `info` is how a client knows a server that is not ours, so others must not be 404 by mistake."""
    assert server.ask("GET", "/v1/nothing").status == 404
    answer = server.ask("DELETE", "/v1/user")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert server.ask("GET", "//v1//user").status == 200


def test_a_name_with_a_slash_stays_one_part_of_the_path(server: Server) -> None:
    """The official client writes it as %2F."""
    assert "a/b" in server.ask("GET", "/v1/udf/me/a%2Fb").json()["message"]


def test_the_document_of_routes_names_every_body(server: Server) -> None:
    """Tools make clients and tests from it."""
    document = server.ask("GET", "/tiledag/v1/openapi.json").json()

    text = json.dumps(document)
    for name in ("UdfCall", "SqlCall", "TaskGraphLog", "ArrayTask", "ErrorBody"):
        assert name in document["components"]["schemas"]
        assert f"#/components/schemas/{name}" in text


def test_a_busy_port_is_named(server: Server, tmp_path: Path) -> None:
    """The user learns which port to change."""
    with pytest.raises(AssertionError, match=f"port {server.port} of 127.0.0.1 cannot be used"):
        with running_server(tmp_path / "other", "--port", str(server.port)):
            pass


def test_off_loopback_it_needs_a_certificate(tmp_path: Path) -> None:
    """A token must not go over a network in the open."""
    with pytest.raises(AssertionError, match="--tls-cert"):
        with running_server(tmp_path / "open", "--host", "0.0.0.0"):
            pass


def test_a_second_server_of_a_folder_names_the_first(server: Server) -> None:
    """Two servers would write one file."""
    with running_server(server.folder) as second:
        assert (second.url, second.pid) == (server.url, server.pid)
        assert second.process is not None
        assert second.process.wait(30) == 0


def test_off_loopback_it_speaks_tls_under_the_names_it_was_given(tmp_path: Path) -> None:
    """A token that crosses a network in the clear is everybody's."""
    import ssl
    import subprocess
    import urllib.error
    import urllib.request

    cert, secret = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext".split()
    command += ["subjectAltName=DNS:localhost", "-keyout", str(secret), "-out", str(cert)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("no openssl here to make a certificate")
    options = ("--host", "0.0.0.0", "--tls-cert", str(cert), "--tls-key", str(secret), "--allow-host", "localhost")
    trusting = ssl.create_default_context(cafile=str(cert))

    def status(url: str, token: str, context: ssl.SSLContext) -> int:
        request = urllib.request.Request(f"{url}/v1/user", headers={"X-TILEDB-REST-API-KEY": token})
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code

    with running_server(tmp_path / "data", *options) as server:
        assert server.url.startswith("https://localhost:")
        assert status(server.url, server.token, trusting) == 200
        assert status(server.url, "wrong", trusting) == 401
        with pytest.raises(urllib.error.URLError, match="certificate"):
            status(server.url, server.token, ssl.create_default_context())
        with pytest.raises(OSError, match=r"."):
            urllib.request.urlopen(server.url.replace("https", "http"), timeout=30)


@pytest.mark.parametrize(
    "options",
    [
        ("--host", "0.0.0.0"),
        ("--host", "0.0.0.0", "--tls-cert", "c", "--tls-key", "k"),
        ("--host", "0.0.0.0", "--allow-host", "x"),
        ("--tls-cert", "c"),
    ],
)
def test_half_of_what_tls_needs_is_refused(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Each of the three alone would leave a hole."""
    with pytest.raises(AssertionError, match="--tls-"), running_server(tmp_path / "data", *options):
        pass
