"""Trials of the server's REST: raw sockets (G3), a connection that is cut (G4), a server that is away (G5)."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from tests.server.running import PATIENCE_S, Server, running_server, wait_until
from tiledag_widget.wire import codec

pytestmark = pytest.mark.slow

TIMES = 20
AT_ONCE = 4  # more would measure this process, not the server
ANSWER_S = 2.5  # 2 s, and what a machine that runs other tests needs
MEMORY_MORE = 50 << 20
OTHERS_P95_S = 0.1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "2") as running:
        running.call(lambda: 1)
        yield running


def head(server: Server, length: int | None, *more: str, route: str = "/v1/udfs/generic/me") -> bytes:
    lines = [f"POST {route} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", f"X-TILEDB-REST-API-KEY: {server.token}"]
    lines += ["Content-Type: application/json", *([f"Content-Length: {length}"] if length is not None else []), *more]
    return "\r\n".join([*lines, "", ""]).encode()


def status_of(wire: socket.socket) -> int:
    """The status of the first reply."""
    wire.settimeout(PATIENCE_S)
    data = b""
    while b"\r\n" not in data:
        piece = wire.recv(4096)
        assert piece, "closed without a reply"
        data += piece
    return int(data.split()[1])


def sent(server: Server, *pieces: bytes) -> int:
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before all of it was sent
            for piece in pieces:
                wire.sendall(piece)
        return status_of(wire)


def body(server: Server, data: bytes, *more: str, route: str = "/v1/udfs/generic/me") -> int:
    return sent(server, head(server, len(data), *more, route=route), data)


def trickled(server: Server) -> int:
    """One byte a second."""
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        wire.sendall(head(server, 1000))
        wire.settimeout(1.0)
        for _ in range(30):
            wire.sendall(b"{")
            try:
                if wire.recv(4096, socket.MSG_PEEK):
                    return status_of(wire)
            except TimeoutError:
                continue
    raise AssertionError("never answered")


DEEP = b"[" * 100_000
HOSTILE: dict[str, Callable[[Server], int]] = {
    "no body": lambda server: body(server, b""),
    "a gigabyte declared": lambda server: sent(server, head(server, 1 << 30)),
    "a length that is no number": lambda server: sent(server, head(server, None, "Content-Length: 1e3")),
    "a byte a second": trickled,
    "nothing after the head": lambda server: sent(server, head(server, 1000)),
    "nested 100,000 deep": lambda server: body(server, DEEP + b"]" * 100_000),
    "nested and open": lambda server: body(server, DEEP),
    "nested objects": lambda server: body(server, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "NaN as a time": lambda server: body(server, b'{"exec": "eA==", "timeout": NaN}'),
    "infinity as a time": lambda server: body(server, b'{"exec": "eA==", "timeout": Infinity}'),
    "a number of 10,000 digits": lambda server: body(server, b'{"exec": "eA==", "timeout": %s}' % (b"9" * 10_000)),
    "no UTF-8": lambda server: body(server, b'{"query": "\xff\xfe\xfd"}', route="/v1/sql/me"),
    "a bomb": lambda server: body(server, b"\x1f\x8b" + b"\0" * 10_000, "Content-Encoding: gzip"),
    "10,000 headers": lambda server: sent(server, head(server, 0, *(f"X-{n}: {n}" for n in range(10_000)))),
    "a header of a megabyte": lambda server: sent(server, head(server, 0, "X-Long: " + "x" * (1 << 20))),
    "a path of a megabyte": lambda server: sent(server, head(server, 0, route="/" + "x" * (1 << 20))),
    "no HTTP": lambda server: sent(server, b"\0\1\2\3\r\n\r\n"),
}


SLOW = ("a byte a second", "nothing after the head")


class Others:
    """Somebody else's requests, one after the other, and how long each took."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stopped = threading.Event()
        self.seconds: list[float] = []
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stopped.is_set():
            begin = time.perf_counter()
            assert self._server.ask("GET", "/v1/user").status == 200
            self.seconds.append(time.perf_counter() - begin)
            self._stopped.wait(0.01)

    def __enter__(self) -> Others:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def p95(self) -> float:
        return statistics.quantiles(self.seconds, n=20)[-1]


@pytest.mark.parametrize("what", HOSTILE)
def test_g3_hostile_requests_are_refused_and_hold_up_nobody(server: Server, what: str) -> None:
    """One client that sends rubbish must not cost the others their server, nor the machine its memory."""
    send = HOSTILE[what]
    process = psutil.Process(server.pid)
    send(server)  # the first of its kind may load something
    before = process.memory_info().rss
    answers: list[tuple[int, float]] = []

    def once() -> None:
        begin = time.perf_counter()
        status = send(server)
        answers.append((status, time.perf_counter() - begin))

    with Others(server) as alone:  # what this machine gives now, when nobody sends rubbish
        wait_until(lambda: len(alone.seconds) >= 20)
    with Others(server) as others:
        with ThreadPoolExecutor(TIMES if what in SLOW else AT_ONCE) as threads:
            list(threads.map(lambda _: once(), range(TIMES)))
        wait_until(lambda: len(others.seconds) >= 60)
    more = process.memory_info().rss - before

    assert len(answers) == TIMES
    assert all(400 <= status < 500 for status, _ in answers), answers
    assert max(seconds for _, seconds in answers) < (ANSWER_S + 1 if what == "a byte a second" else ANSWER_S)
    assert more < MEMORY_MORE
    assert others.p95() < max(OTHERS_P95_S, 3 * alone.p95())


# --- a line that breaks -------------------------------------------------------------------------------------


class Proxy:
    """Between a client and the server: hands on what the server says, up to a byte, then cuts the line."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_after: int | None = None
        """Bytes of the next connection's reply that still come through; None: all."""
        self.is_away = False
        self.refuse = 0
        """So many of the next connections are answered with 503."""
        self.delay = 0.0
        """Seconds for which a reply is held back."""
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            cut, self.cut_after = self.cut_after, None
            thread = threading.Thread(target=self._carry, args=(client, cut))
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket, cut: int | None) -> None:
        with client:
            if self.is_away:
                return
            if self.refuse > 0:
                self.refuse -= 1
                client.recv(65536)
                client.sendall(BUSY)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):  # closed with something unread the reply would be lost
                    pass
                return
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                self._open += [client, server]
                up = threading.Thread(target=_pump, args=(client, server, None))
                up.start()
                _pump(server, client, cut, lambda: self.delay)
                for one in (client, server):
                    with contextlib.suppress(OSError):
                        one.shutdown(socket.SHUT_RDWR)
                up.join()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{}"


def _pump(
    source: socket.socket, target: socket.socket, most: int | None, delay: Callable[[], float] = lambda: 0.0
) -> None:
    left = most
    with contextlib.suppress(OSError):
        while left is None or left > 0:
            data = source.recv(65536 if left is None else min(65536, left))
            if not data:
                break
            time.sleep(delay())
            target.sendall(data)
            left = None if left is None else left - len(data)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    between = Proxy(server.port)
    yield between
    between.close()


def count_run(path: str) -> int:
    """Adds a line to a file: how often a function really ran."""
    with open(path, "a") as file:
        file.write("x\n")
    with open(path) as file:
        return len(file.readlines())


count_run.__module__ = "__main__"  # goes by value


def post_through(proxy: Proxy, server: Server, document: bytes, request_id: str) -> bytes | None:
    """The whole reply; None if the line broke."""
    headers = (f"X-Tiledag-Request-Id: {request_id}", "Connection: close")
    lines = head(server, len(document), *headers)
    data = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", proxy.port)) as wire:
        wire.settimeout(PATIENCE_S)
        wire.sendall(lines + document)
        while piece := wire.recv(65536):
            data += piece
    headings, end, content = data.partition(b"\r\n\r\n")
    if not end:  # a number may be cut, too
        return None
    for line in headings.split(b"\r\n"):
        if line.lower().startswith(b"content-length:") and int(line.split(b":")[1]) == len(content):
            return content
    return None


def lose_a_reply(server: Server, proxy: Proxy, folder: Path, seed: int) -> None:
    """The line is cut at a random byte of the reply, and the client repeats until it has all of it."""
    random = Random(seed)
    path, request_id = folder / str(seed), str(uuid.uuid4())
    document = json.dumps(
        {
            "exec": codec.encode_function(count_run),
            "language": "python",
            "version": "{}.{}.{}".format(*sys.version_info[:3]),
            "result_format": "json",
            "arguments_json": codec.dump_arguments("n", [str(path)], {}),
            "store_results": random.random() < 0.5,
        }
    ).encode()
    answer = None
    for cut in (random.randrange(0, 300), random.randrange(0, 300), None):
        proxy.cut_after = cut
        if (answer := post_through(proxy, server, document, request_id)) is not None:
            break

    assert answer == b"1"
    assert path.read_text() == "x\n"
    path.unlink()


@contextlib.contextmanager
def lost_replies(folder: Path) -> Iterator[Callable[[int], None]]:
    """G4, a lost reply a seed."""
    with running_server(folder / "data", "--workers", "2") as server:
        between = Proxy(server.port)
        yield lambda seed: lose_a_reply(server, between, folder, seed)
        between.close()


def test_g4_a_request_whose_reply_was_lost_is_run_once(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    """A repeat that runs the function again writes its files twice."""
    for seed in range(40):
        lose_a_reply(server, proxy, tmp_path, seed)


def test_g4_two_at_once_of_one_id_get_one_run(server: Server, tmp_path: Path) -> None:
    """The client may repeat while the first is still at work."""

    def slow(path: str) -> int:
        import time

        time.sleep(0.5)
        with open(path, "a") as file:
            file.write("x\n")
        return 1

    headers = {"X-Tiledag-Request-Id": str(uuid.uuid4())}
    path = str(tmp_path / "ran")
    answers: list[Any] = []

    def post() -> None:
        body = {
            "exec": codec.encode_function(slow),
            "result_format": "json",
            "arguments_json": codec.dump_arguments("n", [path], {}),
        }
        answers.append(server.ask("POST", "/v1/udfs/generic/me", body, headers=headers))

    threads = [threading.Thread(target=post) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert [answer.body for answer in answers] == [b"1"] * 5
    assert Path(path).read_text() == "x\n"
    assert len({answer.headers["x-tiledb-cloud-task-id"] for answer in answers}) == 1


class AwayProxy(Proxy):
    """At the server's port under another name of this machine, so that the server takes it for itself."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        super().close()
        self._listener = socket.create_server(("::1", port), family=socket.AF_INET6)
        self.port = port
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def go_away(self) -> None:
        """Cuts every line, and takes no further one."""
        self.is_away = True
        self.cut()

    def cut(self) -> None:
        """Cuts every line."""
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self.go_away()
        super().close()


TROUBLES = ("away", "503", "slow")


@contextlib.contextmanager
def absences(folder: Path) -> Iterator[Callable[[int], None]]:
    """G5, a trouble a seed: the server is away, or too busy five times, or its replies take long."""
    with running_server(folder / "data", "--workers", "2") as server, contextlib.closing(AwayProxy(server.port)) as one:
        yield lambda seed: go_through(server, one, folder / str(seed), TROUBLES[seed % 3], Random(seed).uniform(1, 10))


def go_through(server: Server, between: AwayProxy, folder: Path, trouble: str, seconds: float) -> None:
    """A run in whose middle the trouble comes."""
    from tiledag_widget import DAG, Status

    def slow(folder: str, number: int, before: int) -> int:
        import pathlib
        import time

        with pathlib.Path(folder, str(number)).open("a") as file:
            file.write("x\n")
        time.sleep(1.0)
        return before + 1

    slow.__module__ = "__main__"
    ran = folder / "ran"
    ran.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TILEDAG_SERVER", "TILEDB_REST_USERNAME", "TILEDB_REST_PASSWORD"):
            patch.delenv(name, raising=False)
        patch.setenv("HOME", str(folder))
        patch.setenv("TILEDB_REST_HOST", f"http://[::1]:{server.port}")
        patch.setenv("TILEDB_REST_TOKEN", server.token)
        dag = DAG(name=trouble)
        chains = []
        for start in (0, 10):
            node = dag.submit(slow, str(ran), start, 0)
            for number in (1, 2):
                node = dag.submit(slow, str(ran), start + number, node)
            chains.append(node)
        here = dag.submit_local(lambda x, y: x + y, *chains)
        dag.compute()
        wait_until(lambda: (ran / "0").exists() and (ran / "10").exists())

        if trouble == "away":
            between.go_away()
        elif trouble == "503":
            between.refuse = 5
            between.cut()
        else:
            between.delay = seconds
        end = time.monotonic() + (seconds if trouble != "503" else 0)
        while time.monotonic() < end:
            assert dag.status in ({Status.RUNNING} if trouble == "away" else {Status.RUNNING, Status.COMPLETED})
            assert not dag.stats()["failed"]
            time.sleep(0.1)
        between.is_away, between.delay = False, 0.0

        dag.wait(PATIENCE_S)
        assert here.result() == 6
        assert {path.name: path.read_text() for path in ran.iterdir()} == {
            str(number): "x\n" for number in (0, 1, 2, 10, 11, 12)
        }


@pytest.mark.parametrize("trouble", TROUBLES)
def test_g5_the_client_goes_on_after_trouble_with_the_server_and_runs_nothing_twice(
    server: Server, tmp_path: Path, trouble: str
) -> None:
    """A laptop that changes its network in the middle of a run."""
    try:
        between = AwayProxy(server.port)
    except OSError:
        pytest.skip("this machine has no ::1")
    with contextlib.closing(between):
        go_through(server, between, tmp_path, trouble, 4.0)
