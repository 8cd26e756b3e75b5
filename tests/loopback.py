"""A throw-away task-graph server on loopback: records every request, and answers as the contract says or as told."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

import tiledag_widget
from tiledag_widget.run import arguments, graphs
from tiledag_widget.run.remote_reports import reports
from tiledag_widget.wire import client, codec
from tiledag_widget.wire.models import ArrayDetails, StoredParam

TOKEN = "a-token-of-tests"


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Answer:
    """One reply. ``drop`` closes the connection instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})


def error(status: int, message: str, **more: Any) -> Answer:
    return as_json({"code": status, "message": message, "request_id": "r", **more}, status)


class LoopbackServer:
    """Calls functions on its own threads. ``rules`` come first: a rule may answer, or return None."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rules: list[Callable[[Request], Answer | None]] = []
        self.results: dict[str, tuple[str, bytes]] = {}
        self.is_ours = False
        self.log_id = uuid.uuid4()
        self.log: dict[str, Any] = {}
        self.arrays: dict[str, Any] = {}
        self._sockets: list[socket.socket] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                path = "/".join(unquote(one) for one in parts.path.split("/"))
                request = Request(
                    self.command,
                    path,
                    parse_qs(parts.query),
                    {key.lower(): value for key, value in self.headers.items()},
                    json.loads(raw) if raw else None,
                )
                outer.requests.append(request)
                answer = outer.answer(request)
                if answer.drop:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for key, value in answer.headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = False
            block_on_close = True

            def get_request(self) -> Any:
                found = super().get_request()
                outer._sockets.append(found[0])
                return found

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="loopback-server")
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        client.close()
        for one in self._sockets:  # closing the server waits for the threads of its connections
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._server.server_close()

    def named(self, text: str) -> list[Request]:
        """Requests whose method and path begin so."""
        return [one for one in list(self.requests) if str(one).startswith(text)]

    # --- answers ---

    def answer(self, request: Request) -> Answer:
        for rule in list(self.rules):
            found = rule(request)
            if found is not None:
                return found
        path = request.path
        if path == "/tiledag/v1/info":
            return as_json({"version": "x"}) if self.is_ours else error(404, "not found")
        if path == "/v1/user":
            user = {"username": "me", "organizations": [], "allowed_actions": ["run_job"]}
            return as_json({**user, "default_namespace_charged": "mine"})
        if path.startswith("/v1/udfs/"):
            return self.udf(request)
        if path.startswith("/v1/sql/"):
            return self.finish(request, self.sql(request.body), request.body["result_format"])
        if path.startswith("/v1/task/") and path.endswith("/result"):
            mime, data = self.results.get(path.split("/")[3], ("", b""))
            return Answer(200, data, {"Content-Type": mime}) if mime else error(404, "not stored")
        if path.endswith("/log") and request.method == "POST":
            self.log = {**request.body, "uuid": str(self.log_id)}
            return as_json(self.log, 201)
        if request.method == "PUT" and path.startswith("/tiledag/v1/runs/"):
            return Answer(204) if self.is_ours else error(404, "not found")
        if request.method == "PATCH" or path.endswith("/report_client_node"):
            return Answer(204)
        if path == f"/v1/taskgraphs/mine/logs/{self.log_id}":
            return as_json(self.log)
        return error(404, f"no {path}")

    def sql(self, body: dict[str, Any]) -> Any:
        return [{"query": body["query"], "parameters": body.get("parameters")}]

    def udf(self, request: Request) -> Answer:
        body = request.body
        function = codec.decode_function(body["exec"])
        args, kwargs = codec.load_arguments(body["arguments_json"])

        def value_of(marker: Any) -> Any:
            if isinstance(marker, ArrayDetails):
                return self.arrays[marker.uri]
            mime, data = self.results[str(marker.task_id)]
            return codec.decode_stored(data, mime, marker.decoder)

        wanted: Any = (StoredParam, ArrayDetails)
        args, kwargs = arguments.replace((args, kwargs), wanted, value_of)
        try:
            value = function(*args, **kwargs)
        except Exception as raised:
            kind = f"builtins.{type(raised).__name__}"
            return error(422, str(raised), exception_type=kind, traceback="Trace\n  here")
        return self.finish(request, value, body["result_format"])

    def finish(self, request: Request, value: Any, result_format: str) -> Answer:
        task_id = str(uuid.uuid4())
        mime, data = codec.MIME_OF[result_format], codec.encode(value, result_format, "n")
        if request.body.get("store_results"):
            self.results[task_id] = (mime, data)
        body = b"" if request.body.get("dont_download_results") else data
        return Answer(200, body, {"Content-Type": mime, "X-TILEDB-CLOUD-TASK-ID": task_id})


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[LoopbackServer]:
    """A server that the environment names; no settings of whoever runs the tests are read."""
    server = LoopbackServer()
    for name in ("TILEDAG_SERVER", "TILEDB_REST_USERNAME", "TILEDB_REST_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TILEDB_REST_HOST", server.url)
    monkeypatch.setenv("TILEDB_REST_TOKEN", TOKEN)
    try:
        yield server
    finally:
        graphs.wait_until_all_reported(10)  # a report posted after the server is closed would be tried for seconds
        reports.flush(10)
        server.close()
        tiledag_widget.shutdown()


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
