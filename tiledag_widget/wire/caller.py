"""One call to a server: retries, redirects, errors as exceptions. The routes are in `wire.client`.

**What is tried again.** A reply 503 (and 429 with ``Retry-After``) says that nothing was done: every call waits and
asks again. A call that could not be sent is sent again. What broke off after it was sent is asked again only where that
runs nothing twice: reads, and calls that our own server knows by their graph and node or by a request id. Everything
else raises `ServerUnreachable` and is for the caller to repeat.

**Threads.** All methods are safe from any thread. No thread is started here.
"""

from __future__ import annotations

import base64
import json
import math
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from .. import settings as configuration
from ..errors import InvalidBody, ServerError, ServerUnreachable
from ..settings import Settings
from . import codec
from .models import ErrorBody, from_json, to_json
from .transport import Answer, Far, Lost, Near, Transport, is_near

__all__ = ["Caller", "error_of", "task_id_of", "wait_asked_for"]

TASK_HEADER: Final = "X-TILEDB-CLOUD-TASK-ID"
READ_SECONDS: Final = 60.0
BUSY_TRIES: Final = 100
"""How often a server that says "come back later" is asked."""
LOST_TRIES: Final = 4
"""How often a connection that cannot be made, or broke off, is made again."""
AWAY_LOOK: Final = 2.0
LONGEST_WAIT: Final = 30.0
HOPS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Caller:
    """Calls to one server. See the module for what is tried again.

    Args:
        settings: Where, and as whom.
        is_embedded: It is the embedded server of this user.
    """

    def __init__(self, settings: Settings, is_embedded: bool = False) -> None:
        if settings.host is None:
            raise ValueError("a client needs a host")
        self.settings = settings
        self.url = settings.host.rstrip("/")
        self.is_embedded = is_embedded
        self.sleep: Callable[[float], None] = time.sleep
        self._moved: dict[str, str] = {}
        """Base address by path: where the service sent us for it."""
        self._headers = {"User-Agent": "tiledag-widget", "Content-Type": "application/json", **_who(settings)}
        self.near: Transport = Near()
        self.far: Transport = Far(settings)

    def __repr__(self) -> str:
        return f"<Client of {self.url}>"

    def close(self) -> None:
        """Close the connections. Idempotent; a later call opens new ones."""
        self.near.close()
        self.far.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float | None = READ_SECONDS,
        repeatable: bool | None = None,
        headers: Mapping[str, str] | None = None,
        tries: int = LOST_TRIES,
        busy_tries: int = BUSY_TRIES,
        patience: float = math.inf,
        away: float = 0.0,
    ) -> Answer:
        """One request with its retries and redirects; the reply is 2xx.

        Args:
            method: Of HTTP.
            path: After the host, quoted.
            query: Entries that are None are left out.
            body: Sent as JSON; models leave out what is None.
            timeout: Seconds without a byte of the reply; None waits as long as the connection lives.
            repeatable: Doing it twice is as good as once. By default true of GET, PUT and DELETE.
            headers: Besides those of every call.
            tries: How often a lost connection is made.
            busy_tries: How often a server that says "come back later" is asked.
            patience: Seconds to wait for such a server in all.
            away: Seconds in all for which a lost connection is made again, more often than ``tries`` if need be.

        Raises:
            ServerError: The reply is not 2xx.
            ServerUnreachable: No connection, or it broke off.
        """
        data = None if body is None else json.dumps(to_json(body)).encode()
        params = {key: _query_text(value) for key, value in (query or {}).items() if value is not None}
        may_repeat = method in ("GET", "PUT", "DELETE") if repeatable is None else repeatable
        busy = lost = 0
        while True:
            try:
                reply = self._once(method, path, params, data, headers, timeout)
            except Lost as error:
                lost += 1
                pause = min(_back_off(lost), AWAY_LOOK) if away > 0 else _back_off(lost)
                away -= pause
                if (lost >= tries and away < 0) or not (may_repeat or not error.was_sent):
                    raise self._unreachable(method, path, error) from error.__cause__
                self.sleep(pause)
                continue
            if 200 <= reply.status < 300:
                return reply
            is_busy = reply.status == 503 or (reply.status in (413, 429) and reply.header("Retry-After"))
            busy += 1
            pause = wait_asked_for(reply.header("Retry-After"), busy)
            patience -= pause
            if not is_busy or busy >= busy_tries or patience < 0:
                raise error_of(reply)
            self.sleep(pause)

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        data: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float | None,
    ) -> Answer:
        """One request, followed where it is sent on to. The method and who asks stay as they are."""
        address = self._moved.get(path, self.url) + path
        given: Mapping[str, Any] = params
        for _ in range(HOPS):
            way = self.near if is_near(address) else self.far
            sent = data if data is not None or method == "GET" else b""
            reply = way.exchange(method, address, given, sent, {**self._headers, **(headers or {})}, timeout)
            target = reply.header("Location")
            if reply.status not in _REDIRECTS or not target:
                return reply
            target = urljoin(address, target)
            if urlsplit(address).scheme == "https" and urlsplit(target).scheme != "https":
                raise ServerError(f"{self.url} sends {path} on to {target}, which is not encrypted", reply.status)
            if reply.status == 303:
                method, data = "GET", None
            parts = urlsplit(target)
            if parts.path == path:
                self._moved[path] = f"{parts.scheme}://{parts.netloc}"
            address, given = target, {} if parts.query else params
        raise ServerError(f"{self.url} sends {path} round in circles", 310)

    def _unreachable(self, method: str, path: str, error: Lost) -> ServerUnreachable:
        kind = "the embedded task-graph server" if self.is_embedded else "the task-graph server"
        sent = "broke off" if error.was_sent else "cannot be reached"
        hint = (
            "It has ended or was killed; the next compute() starts a new one."
            if self.is_embedded
            else "Check TILEDB_REST_HOST and the network."
        )
        return ServerUnreachable(f"{kind} at {self.url} {sent} ({method} {path}): {_short(error)}. {hint}")

    def _json(self, method: str, path: str, **options: Any) -> Any:
        reply = self.call(method, path, **options)
        if not reply.content:
            return None
        try:
            return json.loads(reply.content)
        except ValueError as error:
            raise InvalidBody(f"{self.url} answered {method} {path} with what is not JSON: {error}") from error


def _who(one: Settings) -> dict[str, str]:
    headers = {}
    if one.token:
        headers[configuration.KEY_HEADER] = one.token
    if one.username and one.password:
        pair = base64.b64encode(f"{one.username}:{one.password}".encode()).decode("ascii")
        headers["Authorization"] = f"Basic {pair}"
    return headers


# --- replies ------------------------------------------------------------------------------------------------


def error_of(reply: Answer) -> ServerError:
    """The exception for a reply that is not 2xx. The remote traceback is its cause, where there is one."""
    text = reply.text
    found = ErrorBody()
    try:
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            found = from_json(ErrorBody, {key: value for key, value in parsed.items() if key != "code"})
    except (ValueError, InvalidBody):
        pass
    message = found.message
    if not message:
        if reply.status == 404:
            message = f"HTTP 404: resource not found ({urlsplit(reply.url).path})"
        else:
            message = f"HTTP {reply.status} without a message; the reply begins: {text[:300]!r}"
    if reply.status == 401:
        message = message.rstrip(".") + ". Check the token: TILEDB_REST_TOKEN, or tiledag_widget.login(...)"
    short_name = (found.exception_type or "").rpartition(".")[2]
    if short_name and short_name not in message:
        message = f"{short_name}: {message}"
    task_id = task_id_of(reply)
    error = ServerError(
        message,
        reply.status,
        text[:65536],
        found.exception_type or "",
        found.traceback or "",
        None if task_id is None else str(task_id),
    )
    if found.traceback:
        error.__cause__ = codec.remote_traceback(found.traceback)
    return error


def task_id_of(reply: Answer) -> uuid.UUID | None:
    """The task that a reply is about."""
    try:
        return uuid.UUID(reply.header(TASK_HEADER))
    except ValueError:
        return None


def _back_off(tries: int) -> float:
    return min(0.25 * 2.0 ** min(tries - 1, 16), LONGEST_WAIT)


def wait_asked_for(header: str, tries: int, longest: float = LONGEST_WAIT) -> float:
    """Seconds until a server that is busy is asked for the ``tries``-th time."""
    if header:
        try:
            return min(max(0.0, float(header)), 300.0)
        except ValueError:  # a date: rare, and the back-off is as good
            pass
    return min(_back_off(tries), longest)


def _query_text(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _short(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else text[:199] + "…"
