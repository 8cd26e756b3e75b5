"""A thin proxy before a real server that has none of our own routes, as TileDB Cloud has none."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

KEPT = {"content-type", "x-tiledb-cloud-task-id", "retry-after", "location"}


@contextlib.contextmanager
def hiding_our_routes(connection: Any, hidden: str = "/tiledag/") -> Iterator[tuple[str, str, list[str]]]:
    """Address, token and the paths that were asked for. Routes of our own, or those that begin so, are not there."""
    behind = urlsplit(connection.url)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.startswith(hidden):
                self._reply(404, {"content-type": "text/plain"}, b"not here")
                return
            wire = http.client.HTTPConnection(str(behind.hostname), behind.port, timeout=120)
            try:
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                wire.request(self.command, self.path, body, headers)
                reply = wire.getresponse()
                kept = {key: value for key, value in reply.getheaders() if key.lower() in KEPT}
                self._reply(reply.status, kept, reply.read())
            finally:
                wire.close()

        def _reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="hiding-proxy")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", str(connection.token), asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
