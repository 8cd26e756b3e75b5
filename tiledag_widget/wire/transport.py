"""One request and its answer: plain connections that stay open to servers of this machine, requests to all others.

Why two: for each call requests takes 1.5 ms of a processor, three times what all else takes that a client does for a
small function, and most of it for what loopback has none of (cookies, proxies, certificates). What is common to both,
as retries and redirects, is in `wire.caller`.

**Threads.** All methods are safe from any thread. No thread is started here.
"""

from __future__ import annotations

import functools
import http.client
import ipaddress
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from ..settings import Settings

if TYPE_CHECKING:
    import requests

__all__ = ["CONNECT_SECONDS", "Answer", "Far", "Lost", "Near", "Transport", "is_loopback", "is_near"]

CONNECT_SECONDS: Final = 10.0
MOST_IDLE: Final = 128
"""Connections to one server that are kept open while nobody uses them."""
_TOGETHER: Final = 64 * 1024
_SAFE: Final = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: Of HTTP.
        headers: Their names in lower case.
        content: As sent, decompressed.
        url: Who answered, without the query where it is this machine.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str

    def header(self, name: str) -> str:
        """A header by its name in whatever case; empty where there is none."""
        return self.headers.get(name.lower(), "")

    @property
    def text(self) -> str:
        """The content; what is no text is replaced."""
        return self.content.decode("utf-8", "replace")


class Lost(Exception):
    """There is no answer. ``was_sent`` is False where the server knows nothing of the request."""

    def __init__(self, error: BaseException, was_sent: bool) -> None:
        super().__init__(str(error))
        self.was_sent = was_sent


class Transport(Protocol):
    """One way to servers."""

    def exchange(
        self,
        method: str,
        address: str,
        params: Mapping[str, Any],
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Answer:
        """The answer to one request, whatever its status; redirects are not followed.

        Args:
            method: Of HTTP.
            address: Without its query.
            params: The query.
            data: The body.
            headers: All of them, but for those that tell of the body and the host.
            timeout: Seconds without a byte of the answer; None waits as long as the connection lives.

        Raises:
            Lost: There is none.
        """

    def close(self) -> None:
        """Close the connections. Idempotent; a later request opens new ones."""


# --- this machine -------------------------------------------------------------------------------------------


class _Connection(http.client.HTTPConnection):
    """Sends head and body in one piece, so that the other side wakes once."""

    _pieces: list[bytes] | None = None

    def connect(self) -> None:
        super().connect()
        for level, name, value in _options():
            self.sock.setsockopt(level, name, value)

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)

    def ask(self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]) -> None:
        self._pieces = []
        try:
            self.request(method, target, data, dict(headers))
            pieces = self._pieces
        finally:
            self._pieces = None
        if sum(map(len, pieces)) <= _TOGETHER:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            super().send(piece)

    def is_dropped(self) -> bool:
        """True if the other side has closed it, or sent what nobody asked for."""
        if not hasattr(select, "poll"):
            return bool(select.select([self.sock], [], [], 0)[0])
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


class Near:
    """Plain HTTP to servers of this machine."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[tuple[str, int], list[_Connection]] = {}
        self._closings = 0

    def exchange(
        self,
        method: str,
        address: str,
        params: Mapping[str, Any],
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Answer:
        parts = urlsplit(address)
        target = quote(parts.path or "/", safe=_SAFE)
        query = "&".join(filter(None, (quote(parts.query, safe=_SAFE), urlencode(params, doseq=True))))
        place = (parts.hostname or "", parts.port or 80)
        connection, generation = self._take(place)
        try:
            connection.sock.settimeout(timeout)
            connection.ask(method, f"{target}?{query}" if query else target, data, headers)
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Lost(error, was_sent=True) from error
        except BaseException:  # an interrupt: half an answer must not become the next one's
            connection.close()
            raise
        if reply.will_close:
            connection.close()
        else:
            self._give_back(place, connection, generation)
        return Answer(reply.status, _lower(reply.headers), content, address)

    def _take(self, place: tuple[str, int]) -> tuple[_Connection, int]:
        while True:
            with self._lock:
                idle = self._idle.get(place)
                known = idle.pop() if idle else None
                generation = self._closings
            if known is None:
                break
            if not known.is_dropped():
                return known, generation
            known.close()
        connection = _Connection(*place, timeout=CONNECT_SECONDS)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Lost(error, was_sent=False) from error
        return connection, generation

    def _give_back(self, place: tuple[str, int], connection: _Connection, generation: int) -> None:
        with self._lock:
            idle = self._idle.setdefault(place, [])
            is_kept = generation == self._closings and len(idle) < MOST_IDLE
            if is_kept:
                idle.append(connection)
        if not is_kept:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._closings += 1
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()


# --- anywhere -----------------------------------------------------------------------------------------------


class Far:
    """HTTP and HTTPS through requests, with the proxies and certificates that are configured."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._session: requests.Session | None = None

    def exchange(
        self,
        method: str,
        address: str,
        params: Mapping[str, Any],
        data: bytes | None,
        headers: Mapping[str, str],
        timeout: float | None,
    ) -> Answer:
        import requests

        try:
            reply = self._opened().request(
                method,
                address,
                params=dict(params),
                data=data,
                headers=dict(headers),
                timeout=(CONNECT_SECONDS, timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise Lost(error, was_sent=not _was_not_sent(error)) from error
        return Answer(reply.status_code, _lower(reply.headers), reply.content, reply.url)

    def _opened(self) -> requests.Session:
        with self._lock:
            if self._session is None:
                self._session = self._new_session()
            return self._session

    def _new_session(self) -> requests.Session:
        import requests

        session = requests.Session()
        adapter = _adapter_class()(pool_connections=8, pool_maxsize=128)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        # Nobody's ~/.netrc is asked for passwords: who asks is in the headers already.
        session.auth = _as_it_is
        # A proxy of the environment does not lead to this machine.
        session.trust_env = not is_loopback(self._settings.host or "")
        session.verify = self._settings.ca_file or True if self._settings.verify_ssl else False
        session.headers.update({"Accept-Encoding": "gzip, deflate" if session.trust_env else "identity"})
        return session

    def close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.close()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _adapter_class() -> Callable[..., requests.adapters.HTTPAdapter]:
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        """Connections that notice when the other side is gone while a call waits for its function to return."""

        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *_options()]
            super().init_poolmanager(*args, socket_options=options, **kwargs)

        def close(self) -> None:
            """Close connections now. urllib3 leaves that to the end of a pool, which an error that somebody keeps (a
            log record, a node) can put off for long: its traceback holds the reply, and that the pool."""
            for manager in (self.poolmanager, *self.proxy_manager.values()):
                for key in list(manager.pools.keys()):
                    pool = manager.pools.get(key)
                    if pool is not None:
                        pool.close()
            super().close()

    return Adapter


def _options() -> list[tuple[int, int, int]]:
    """So that a connection notices, while a call waits for its function to return, that the other side is gone."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _was_not_sent(error: requests.RequestException) -> bool:
    """True if the connection could not be made: the server knows nothing of the call."""
    import requests

    if isinstance(error, requests.ConnectTimeout):
        return True
    inner: Any = error.args[0] if error.args else None
    # By name: urllib3 comes with requests, and is none of our dependencies.
    return type(getattr(inner, "reason", inner)).__name__ in ("NewConnectionError", "NameResolutionError")


def _lower(headers: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in headers.items()}


# --- where --------------------------------------------------------------------------------------------------


def is_loopback(url: str) -> bool:
    """True if an address is this machine."""
    return _is_loopback_host(urlsplit(url).hostname or "")


@functools.lru_cache(maxsize=100)
def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_near(url: str) -> bool:
    """True if an address is this machine, and not encrypted."""
    return urlsplit(url).scheme == "http" and is_loopback(url)
