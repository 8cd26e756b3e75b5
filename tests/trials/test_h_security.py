"""Trials of the server's security: tokens (H1), names (H2), pages of others (H3), pickles (H5), paths (H8)."""

from __future__ import annotations

import base64
import contextlib
import http.client
import itertools
import json
import pickle
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.server.running import PATIENCE_S, Server, running_server

pytestmark = pytest.mark.slow

Routes = list[tuple[str, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "2") as running:
        yield running


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    return server.ask("GET", "/tiledag/v1/openapi.json").json()


@pytest.fixture(scope="module")
def routes(document: Any) -> Routes:
    """Every method and path that the server has, but for the one that ends it."""
    found = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert len(found) > 60
    return [(method, path) for method, path in found if path != "/tiledag/v1/stop"]


def filled(path: str, value: str = "x") -> str:
    return "/".join(value if part.startswith("{") else part for part in path.split("/"))


class Line:
    """One connection that is kept, for thousands of requests."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._wire = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)

    def status(self, method: str, path: str, headers: dict[str, str], body: bytes | None = None) -> int:
        return self.reply(method, path, headers, body)[0]

    def reply(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        self._wire.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in {"Host": f"127.0.0.1:{self._server.port}", **headers}.items():
            if value:
                self._wire.putheader(name, value)
        self._wire.putheader("Content-Length", str(len(body or b"")))
        self._wire.endheaders(body)
        reply = self._wire.getresponse()
        found = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, found, reply.read()

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    opened = Line(server)
    yield opened
    opened.close()


def key(token: str) -> dict[str, str]:
    return {"X-TILEDB-REST-API-KEY": token}


def test_h1_no_route_is_reached_without_its_token(server: Server, line: Line, routes: Routes) -> None:
    """One forgotten route would let every user of the machine run code as this one."""
    other = secrets.token_urlsafe(32)
    basic = base64.b64encode(f"me:{other}".encode()).decode()
    bad = [{}, key("x"), key(other), key(server.token[:-1]), key(server.token + "x"), key(server.token.swapcase())]
    bad += [{"Authorization": f"Bearer {server.token}"}, {"Authorization": f"Basic {basic}"}, {"Cookie": server.token}]
    for method, path in routes:
        for headers in bad:
            assert line.status(method, filled(path), headers) == 401, (method, path, headers)
        in_query = f"{filled(path)}?token={server.token}&X-TILEDB-REST-API-KEY={server.token}"
        assert line.status(method, in_query, {}) == 401, (method, path)
    assert line.status("GET", "/v1/user", key(server.token)) == 200


HOSTS = """
    evil.test evil.test:{port} localhost.evil.test:{port} 127.0.0.1.nip.io:{port} 127.0.0.1.:{port} localhost.:{port}
    LOCALHOST:{port} LocalHost:{port} 0.0.0.0:{port} 2130706433:{port} 0x7f.1:{port} 017700000001:{port} 127.1:{port}
    127.0.0.2:{port} [::ffff:127.0.0.1]:{port} [::]:{port} ::1:{port} [0:0:0:0:0:0:0:1]:{port} 127.0.0.1 localhost [::1]
    127.0.0.1:80 localhost:1 127.0.0.1:0{port} 127.0.0.1:{port}.evil.test user@127.0.0.1:{port} 127.0.0.1:{port}/
    127.0.0.1:{port},evil.test http://127.0.0.1:{port} localhost:{port}:{port}
""".split()


def test_h2_no_route_is_reached_under_another_name(server: Server, line: Line, routes: Routes) -> None:
    """A page that points its own name at loopback could speak to the server."""
    assert len(HOSTS) >= 30
    for method, path in routes:
        for host in HOSTS:
            named = {**key(server.token), "Host": host.format(port=server.port)}
            assert line.status(method, filled(path), named) in (400, 403), (method, path, host)
    for name in ("localhost", "127.0.0.1", "[::1]"):
        assert line.status("GET", "/v1/user", {**key(server.token), "Host": f"{name}:{server.port}"}) == 200


FOREIGN = [
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {"Origin": "https://127.0.0.1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://evil.test", "Content-Type": "application/x-www-form-urlencoded"},
    {"Origin": "http://evil.test", "Content-Type": "text/plain"},
    {"Origin": "http://evil.test", "Access-Control-Request-Method": "POST"},
]


def test_h3_pages_of_other_sites_are_refused_with_the_token_too(server: Server, line: Line, routes: Routes) -> None:
    """Any page in the user's browser can send requests to loopback."""
    for method, path in routes:
        for headers in FOREIGN:
            for verb in {method, "OPTIONS"}:
                status, found, _ = line.reply(verb, filled(path), {**key(server.token), **headers})
                assert status == 403, (verb, path, headers)
                assert not [name for name in found if name.startswith("access-control")]
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    for headers in (upgrade, {**upgrade, "Origin": "http://evil.test"}):
        assert line.status("GET", "/v1/user", {**headers, "Sec-WebSocket-Key": "eA=="}) in (401, 403)


# --- pickles ------------------------------------------------------------------------------------------------


class Canary:
    """Leaves a file named after the process that opens it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (f"open({self.folder!r} + '/' + str(__import__('os').getpid()), 'w').close()",)


def opened_by(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir()}


def bodies_with(document: Any, method: str, path: str, pickled: bytes) -> Iterator[tuple[str, bytes]]:
    """A canary as the body, in each field that the route knows, and in every field of every model at once."""
    text = base64.b64encode(pickled).decode()
    tagged = {"__tdbudf__": "immediate", "format": "python_pickle", "base64_data": text}
    yield "the body", pickled
    models = document["components"]["schemas"]
    content = document["paths"][path][method.lower()].get("requestBody", {}).get("content", {})
    name = content.get("application/json", {}).get("schema", {}).get("$ref", "").rpartition("/")[2]
    every = {one for model in models.values() for one in model.get("properties", {})}
    for value in (text, [text], tagged, [{"value": tagged}], {"k": tagged}):
        yield "every field", json.dumps(dict.fromkeys(every, value)).encode()
        for one in models.get(name, {}).get("properties", {}):
            yield f"{name}.{one}", json.dumps({one: value}).encode()


def test_h5_nothing_that_is_sent_is_ever_unpickled_by_the_server(
    server: Server, line: Line, document: Any, routes: Routes, tmp_path: Path
) -> None:
    """Whoever can make the server open a pickle owns it, without any function ever being called."""
    pickled = pickle.dumps(Canary(str(tmp_path)))
    text = base64.b64encode(pickled).decode()
    unsafe = [(method, path) for method, path in routes if method not in ("GET", "DELETE")]
    for method, path in unsafe:
        for where, body in bodies_with(document, method, path, pickled):
            status = line.status(method, filled(path), key(server.token), body)
            assert status < 500 or status == 501, (method, path, where)
            assert status != 501, (method, path, where)
    for method, path in routes:
        line.status(method, filled(path, text.replace("/", "%2F")), key(server.token))
        line.status(
            method, f"{filled(path)}?search={text}&page={text}&start={text}", {**key(server.token), "X-Payer": text}
        )
        for _, body in itertools.islice(bodies_with(document, method, path, pickled), 5):
            assert line.status(method, filled(path), {}, body) == 401

    assert server.pid not in opened_by(tmp_path)


MUTATED_OF_A_SEED = 100


def send_mutated(server: Server, line: Line, folder: Path, seed: int) -> None:
    """Bodies with a canary in them, each changed in some places."""
    pickled = pickle.dumps(Canary(str(folder)))
    tagged = {"__tdbudf__": "immediate", "format": "python_pickle", "base64_data": base64.b64encode(pickled).decode()}
    call = {"exec": base64.b64encode(pickled).decode(), "language": "python", "timeout": 1, "result_format": "json"}
    call |= {"version": "{}.{}.{}".format(*sys.version_info[:3]), "arguments_json": [{"name": "a", "value": tagged}]}
    whole = json.dumps(call).encode()
    random = Random(seed)
    for _ in range(MUTATED_OF_A_SEED):
        body = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            place = random.randrange(len(body))
            body[place : place + random.randrange(0, 8)] = random.randbytes(random.randrange(0, 4))
        assert line.status("POST", "/v1/udfs/generic/me", key(server.token), bytes(body)) < 500, bytes(body)
    assert line.status("GET", "/v1/user", key(server.token)) == 200
    assert server.pid not in opened_by(folder)


@contextlib.contextmanager
def mutated(folder: Path) -> Iterator[Callable[[int], None]]:
    """H5, a hundred bodies a seed."""
    canaries = folder / "canaries"
    canaries.mkdir()
    with running_server(folder / "data", "--workers", "2") as server:
        line = Line(server)
        yield lambda seed: send_mutated(server, line, canaries, seed)
        line.close()


@pytest.mark.parametrize("part", [0, 1, *(pytest.param(part, marks=pytest.mark.long) for part in range(2, 10))])
def test_h5_bodies_changed_at_random_are_refused_or_run_and_never_opened(
    server: Server, line: Line, tmp_path: Path, part: int
) -> None:
    """The parser that a mutated body finds is the one nobody thought of."""
    for seed in range(part * 10, (part + 1) * 10):
        send_mutated(server, line, tmp_path, seed)


def test_h5_results_are_handed_on_unopened(server: Server, tmp_path: Path) -> None:
    """What a function returns, or raises, comes from a stranger too."""
    canary = str(tmp_path)

    def returned(folder: str) -> Any:
        class Inner:
            def __reduce__(self) -> Any:
                return eval, (f"open({folder!r} + '/' + str(__import__('os').getpid()), 'w').close()",)

        return Inner()

    for result_format in ("native", "tiledb_json"):
        answer = server.call(returned, canary, result_format=result_format)
        task = answer.headers["x-tiledb-cloud-task-id"]
        assert server.ask("GET", f"/v1/task/{task}/result").status == 200
        assert server.ask("GET", f"/v1/task/{task}").status == 200

    assert server.pid not in opened_by(tmp_path)


# --- paths --------------------------------------------------------------------------------------------------

UPS = ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e", "..%5c..", "....//", "..%00", "%252e%252e", ".%2e", "..;"]
TARGETS = ["token", "connection.json", "records.sqlite", "tasks", "etc%2fpasswd"]
STEMS = ["/v1/task/{up}/{target}", "/v1/task/{up}%2f{target}/result", "/tiledag/v1/tasks/{up}%2f{target}/output",
         "/v1/taskgraphs/me/logs/{up}%2f{target}", "/{up}/{target}", "/v1/{up}/{up}/{target}"]  # fmt: skip


def test_h8_no_path_leads_to_a_file(server: Server, line: Line) -> None:
    """The token lies beside the results."""
    paths = [stem.format(up=up, target=target) for stem in STEMS for up in UPS for target in TARGETS]
    assert len(paths) >= 200
    for path in paths:
        status, _, body = line.reply("GET", path, key(server.token))
        assert status in (400, 404), path
        assert server.token.encode() not in body
