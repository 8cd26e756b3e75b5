"""The way from sockets to `api` and back: the only file that imports the web server. Limits, streams, nothing else.

Every request passes Host, Origin and token (`security.Gate`), then its size is looked at, and only then is it routed.

**Threads**: `tiledag-api-N`, up to `API_THREADS`, for the routes; ended by `serve`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import uvicorn

from .api import Api, Later, Reply, Request, error_reply
from .security import Gate

__all__ = ["BODY_LIMIT", "bound_socket", "serve"]

_log = logging.getLogger(__name__)

BODY_LIMIT = 256 << 20
API_THREADS = 16
KEEP_ALIVE_S = 300
PIECE = 1 << 20
LONGEST_SILENCE_S = 10.0
SLOW_AFTER_S = 1.7
SLOWEST_BYTES_PER_S = 1000
"""A body may take `SLOW_AFTER_S`, or longer if it comes faster than this; one that trickles holds nobody's thread."""

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.reply = error_reply(status, message)


class _Gone(Exception):
    """The client has left in the middle of its request."""


class App:
    """The ASGI application of one server."""

    def __init__(self, api: Api, gate: Gate, *, body_limit: int = BODY_LIMIT) -> None:
        self._api = api
        self._gate = gate
        self._body_limit = body_limit
        self._threads = ThreadPoolExecutor(API_THREADS, thread_name_prefix="tiledag-api")

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            return
        request_id = uuid.uuid4().hex
        try:
            reply = await self._reply_to(scope, receive, request_id)
            await _send_reply(send, reply, request_id, head=scope["method"] == "HEAD")
        except _Gone:
            return

    async def _reply_to(self, scope: Scope, receive: Receive, request_id: str) -> Reply:
        refusal = self._gate.refusal_of(scope["headers"])
        if refusal is not None:
            return error_reply(refusal.status, refusal.message)
        try:
            body = await self._body(scope, receive)
        except _Refused as refused:
            return refused.reply
        loop = asyncio.get_running_loop()
        try:
            request = _request(scope, body, request_id)
            if self._api.is_quick(request):
                reply = self._api.handle(request)
            else:
                reply = await loop.run_in_executor(self._threads, self._api.handle, request)
            if isinstance(reply, Later):
                done = await _end_of(reply.future, reply.patience)
                if reply.blocks:
                    reply = await loop.run_in_executor(self._threads, self._api.finish, reply, done)
                else:
                    reply = self._api.finish(reply, done)
        except (RuntimeError, asyncio.CancelledError):  # the threads have ended, or the call did not in time
            return error_reply(503, "The server is ending.")
        return reply

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise _Refused(415, "Compressed requests are not read; send the body as it is.")
        too_large = f"The request is larger than {self._body_limit >> 20} MiB. Pass large values by an array or a file."
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._body_limit:
            raise _Refused(413, too_large)
        pieces: list[bytes] = []
        size = 0
        start = time.monotonic()
        while True:
            left = max(SLOW_AFTER_S, size / SLOWEST_BYTES_PER_S) - (time.monotonic() - start)
            try:
                with _at_most(min(left, LONGEST_SILENCE_S)):
                    message = await receive()
            except asyncio.TimeoutError:
                raise _Refused(408, "The request did not arrive in time.") from None
            if message["type"] != "http.request":
                raise _Gone
            piece = message.get("body", b"")
            pieces.append(piece)
            size += len(piece)
            if size > self._body_limit:
                raise _Refused(413, too_large)
            if not message.get("more_body"):
                return b"".join(pieces)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Ends what waits inside by TimeoutError.

    Up to Python 3.11 `asyncio.wait_for` makes a task for it, which is a tenth of what a request costs here; and most
    bodies are there already.
    """
    task = asyncio.current_task()
    assert task is not None
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, end)
    try:
        yield
    except asyncio.CancelledError:
        if is_over:
            raise asyncio.TimeoutError from None
        raise
    finally:
        timer.cancel()


async def _end_of(future: Future[Any], patience: float | None) -> Future[Any] | None:
    """The future when it is done; None when patience ended first. Whoever waits cannot cancel it."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def tell(_: Future[Any]) -> None:
        try:
            loop.call_soon_threadsafe(event.set)
        except RuntimeError:  # the loop has ended
            pass

    future.add_done_callback(tell)
    try:
        await asyncio.wait_for(event.wait(), patience)
    except asyncio.TimeoutError:
        return None
    return future


def _request(scope: Scope, body: bytes, request_id: str) -> Request:
    path = scope.get("raw_path") or scope["path"].encode()
    return Request(
        method=scope["method"],
        path=path.partition(b"?")[0].decode("latin-1"),
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=200),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
        id=request_id,
    )


async def _send_reply(send: Send, reply: Reply, request_id: str, *, head: bool) -> None:
    body = reply.body
    if reply.status >= 400:  # every error carries the request's id
        body = json.dumps({**json.loads(body), "request_id": request_id}).encode()
    file = reply.file
    opened = None
    if file is not None:
        try:
            opened = open(file, "rb")  # noqa: ASYNC230, SIM115  # a local file; opening it does not wait
            if reply.is_last:
                os.unlink(file)
        except OSError:
            reply = error_reply(404, "The result is no longer here.")
            body = reply.body
    try:
        size = len(body) if opened is None else os.fstat(opened.fileno()).st_size
        headers = [(b"content-length", str(size).encode()), (b"x-content-type-options", b"nosniff")]
        headers.append((b"cache-control", b"no-store"))
        headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if opened is not None and not head:
            for piece, more in _pieces(opened, size):
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        else:
            await send({"type": "http.response.body", "body": b"" if head else body})
    finally:
        if opened is not None:
            opened.close()


def _pieces(file: Any, size: int) -> Iterator[tuple[bytes, bool]]:
    left = size
    while left > 0:
        piece = file.read(min(PIECE, left))
        if not piece:
            break
        left -= len(piece)
        yield piece, left > 0
    if size == 0 or left > 0:
        yield b"", False


# --- the server ---------------------------------------------------------------------------------------------


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError that names the port if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio sets TCP_NODELAY on nothing else, and each reply would wait 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"port {port} of {host} cannot be used: {error.strerror}") from error
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """Leaves signals to `serve`, so that everything is closed in order before the process ends."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(
    api: Api,
    gate: Gate,
    listener: socket.socket,
    *,
    ready: Callable[[Callable[[], None]], None],
    tls: tuple[Path, Path] | None = None,
) -> None:
    """Answers requests until SIGTERM, SIGINT or the function given to `ready` is called."""
    app = App(api, replace(gate, others=api.is_token))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="asyncio",
        ws="none",
        http="h11",  # it bounds the size of headers
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=1,
        backlog=512,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
    )
    server = _Server(config)

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            server.should_exit = True

        def stop_from_anywhere() -> None:
            try:
                loop.call_soon_threadsafe(stop)
            except RuntimeError:  # it has ended already
                pass

        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stop)
        ready(stop_from_anywhere)
        await server.serve(sockets=[listener])

    try:
        asyncio.run(run())
    finally:
        app.close()
        listener.close()
