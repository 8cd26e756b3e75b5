"""A real server in a process of its own, and a plain way to ask it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import helpers
from tiledag_widget.wire import codec

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60
ANSWER_S = 120
"""How long an answer may take: longer than anything that a test has the server wait for."""


@dataclass(frozen=True)
class Answer:
    """A reply as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def value(self) -> Any:
        return codec.decode_stored(self.body, self.headers.get("content-type"))


@dataclass
class Server:
    """Where a running server is."""

    url: str
    token: str = field(repr=False)
    pid: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        token: str | None = None,
    ) -> Answer:
        wire = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
            sent = {"X-TILEDB-REST-API-KEY": self.token if token is None else token, "Content-Type": "application/json"}
            wire.request(method, path, data, {**sent, **(headers or {})})
            reply = wire.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            wire.close()

    def call(self, function: Callable[..., Any] | str, *args: Any, kwargs: Any = None, **fields: Any) -> Answer:
        """Posts a UDF as our client would."""
        how = {"udf_info_name": function} if isinstance(function, str) else {"exec": codec.encode_function(function)}
        body = {
            **how,
            "language": "python",
            "version": "{}.{}.{}".format(*sys.version_info[:3]),
            "result_format": "native",
            "arguments_json": codec.dump_arguments("n", args, kwargs or {}),
            "store_results": True,
            **fields,
        }
        where = "arrays" if "arrays" in fields else "generic"
        return self.ask("POST", f"/v1/udfs/{where}/me", {k: v for k, v in body.items() if v is not None})

    def sql(self, query: str, **fields: Any) -> Answer:
        return self.ask("POST", "/v1/sql/me", {"query": query, "result_format": "json", **fields})

    def new_log(self, *nodes: tuple[str, str]) -> str:
        """Begins a log; nodes are ids and where they run."""
        listed = [
            {"client_node_uuid": node, "name": node[:4], "depends_on": [], "run_location": w} for node, w in nodes
        ]
        answer = self.ask("POST", "/v1/taskgraphs/me/log", {"name": "a run", "namespace": "me", "nodes": listed})
        assert answer.status == 201, answer.body
        return str(answer.json()["uuid"])


def environment() -> dict[str, str]:
    """Without anybody's settings, and with this tree first on the path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TILEDB_", "TILEDAG_"))}
    return {**kept, "PYTHONPATH": str(ROOT)}


@contextlib.contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Server]:
    """A server that is ready; ended afterwards, whatever happened."""
    errors = (folder.parent / f"{folder.name}.err").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "tiledag_widget.server", "--data-dir", str(folder), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=environment(),
    )
    errors.close()
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (folder.parent / f"{folder.name}.err").read_text()
        said = json.loads(line)
        token = Path(said["token_file"]).read_text()
        yield Server(said["url"], token, said["pid"], folder, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_S)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@contextlib.contextmanager
def embedded_server(folder: Path, **settings: str) -> Iterator[None]:
    """The embedded server of a user whose home is ``folder`` and who configured nothing but ``settings``; it is
    stopped at the end. Nobody's own server or account is touched."""
    from tiledag_widget.server import launch

    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("TILEDB_REST_", "TILEDAG_")):
                patch.delenv(name)
        for name, value in {"HOME": str(folder), "TILEDAG_DATA_DIR": str(folder / "data"), **settings}.items():
            patch.setenv(name, value)
        launch.ensure(hold=False)
        try:
            yield
        finally:
            launch.let_go()
            launch.stop()


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """For what happens in another process, and may need to be asked for."""
    helpers.wait_until(condition, seconds, every=0.02)


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
