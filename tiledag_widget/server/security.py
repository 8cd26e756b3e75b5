"""Who may speak to the server: pure functions of a request's headers, called in this order before any route.

Host keeps out pages that rebind their name to loopback, Origin keeps out pages of other sites, the token keeps out
other users of the machine. None of them alone would do.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["TOKEN_HEADER", "Gate", "Refusal", "new_token"]

TOKEN_HEADER = "x-tiledb-rest-api-key"

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values as they came; a name may come twice."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in."""

    status: int
    message: str


def new_token() -> str:
    """256 random bits as text."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True, repr=False)
class Gate:
    """Decides on each request of one server. Its `repr` does not show the token."""

    token: str
    port: int
    names: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    scheme: str = "http"
    others: Callable[[bytes], bool] | None = None
    """Whether a token that is not `token` is good, too."""

    def refusal_of(self, headers: Headers) -> Refusal | None:
        """None for a request that may be routed. Host is looked at first, then Origin, then the token."""
        return self._host(headers) or self._origin(headers) or self._token(headers)

    def hosts(self) -> frozenset[bytes]:
        """What a Host header may say, exactly: no case, no dot, no other spelling of an address."""
        accepted = {f"{name}:{self.port}".encode() for name in self.names}
        if self.port == (443 if self.scheme == "https" else 80):
            accepted |= {name.encode() for name in self.names}
        return frozenset(accepted)

    def _host(self, headers: Headers) -> Refusal | None:
        found = _values(headers, b"host")
        if len(found) == 1 and found[0] in self.hosts():
            return None
        return Refusal(403, "This server is not known by the name in the Host header.")

    def _origin(self, headers: Headers) -> Refusal | None:
        own = {f"{self.scheme}://".encode() + host for host in self.hosts()}
        if any(origin not in own for origin in _values(headers, b"origin")):
            return Refusal(403, "Requests of other web pages are refused.")
        if any(site not in (b"same-origin", b"none") for site in _values(headers, b"sec-fetch-site")):
            return Refusal(403, "Requests of other web pages are refused.")
        return None

    def _token(self, headers: Headers) -> Refusal | None:
        offered = list(_offered(headers))
        if not offered:
            return Refusal(401, "No token: send it in the header X-TILEDB-REST-API-KEY.")
        expected = self.token.encode()
        right = [hmac.compare_digest(token, expected) or self._is_other(token) for token in offered]
        return None if all(right) else Refusal(401, "The token is wrong.")

    def _is_other(self, token: bytes) -> bool:
        return self.others is not None and self.others(token)


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value for key, value in headers if key == name]


def _offered(headers: Headers) -> Iterable[bytes]:
    """Each token of the request: the API key, and the password of Basic authentication."""
    yield from _values(headers, TOKEN_HEADER.encode())
    for value in _values(headers, b"authorization"):
        scheme, _, rest = value.partition(b" ")
        try:
            pair = base64.b64decode(rest.strip(), validate=True) if scheme.lower() == b"basic" else b""
        except binascii.Error:
            pair = b""
        yield pair.partition(b":")[2]
