"""Who is let in: pure functions of headers."""

from __future__ import annotations

import base64

import pytest

from tiledag_widget.server.security import Gate, new_token

TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
GATE = Gate(TOKEN, 8123)
HOST = (b"host", b"127.0.0.1:8123")
KEY = (b"x-tiledb-rest-api-key", TOKEN.encode())

HOSTILE_HOSTS = """
    evil.test evil.test:8123 localhost.evil.test:8123 127.0.0.1.nip.io:8123 127.0.0.1.:8123 localhost.:8123
    LOCALHOST:8123 LocalHost:8123 0.0.0.0:8123 2130706433:8123 0x7f.1:8123 017700000001:8123 127.1:8123
    127.0.0.2:8123 [::ffff:127.0.0.1]:8123 [::]:8123 ::1:8123 [0:0:0:0:0:0:0:1]:8123 127.0.0.1 localhost [::1]
    127.0.0.1:80 localhost:8124 127.0.0.1:08123 127.0.0.1:8123.evil.test user@127.0.0.1:8123 127.0.0.1:8123/
    127.0.0.1:8123,evil.test http://127.0.0.1:8123 localhost:8123:8123
""".split()


@pytest.mark.parametrize("host", [*HOSTILE_HOSTS, ""])
def test_a_foreign_host_is_refused_with_a_right_token_too(host: str) -> None:
    """A page that points its own name at loopback could speak to the server."""
    refusal = GATE.refusal_of([(b"host", host.encode()), KEY])

    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("host", ["localhost:8123", "127.0.0.1:8123", "[::1]:8123"])
def test_the_three_names_of_loopback_are_accepted(host: str) -> None:
    """The official client is pointed at one of them."""
    assert GATE.refusal_of([(b"host", host.encode()), KEY]) is None


def test_a_host_that_is_missing_or_doubled_is_refused() -> None:
    """Two parsers that each take another one of two hosts are how such checks are passed."""
    for headers in ([KEY], [HOST, HOST, KEY], [HOST, (b"host", b"evil.test"), KEY]):
        refusal = GATE.refusal_of(headers)
        assert refusal is not None
        assert refusal.status == 403


@pytest.mark.parametrize(
    "origin", [b"http://evil.test", b"null", b"http://localhost:8124", b"https://127.0.0.1:8123", b""]
)
def test_another_origin_is_refused(origin: bytes) -> None:
    """Any page in the user's browser can send requests to loopback."""
    refusal = GATE.refusal_of([HOST, (b"origin", origin), KEY])

    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("site", [b"cross-site", b"same-site", b"other"])
def test_a_request_that_the_browser_calls_foreign_is_refused(site: bytes) -> None:
    """A plain form post carries no Origin in some browsers, but says this."""
    assert GATE.refusal_of([HOST, (b"sec-fetch-site", site), KEY]) is not None


def test_the_own_origin_is_accepted() -> None:
    """A page of the server itself may ask."""
    assert (
        GATE.refusal_of([HOST, (b"origin", b"http://127.0.0.1:8123"), (b"sec-fetch-site", b"same-origin"), KEY]) is None
    )


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.lower(), TOKEN[::-1], "ü"])
def test_a_wrong_token_is_refused(token: str) -> None:
    """Other users of the machine reach the port too."""
    refusal = GATE.refusal_of([HOST, (b"x-tiledb-rest-api-key", token.encode())])

    assert refusal is not None
    assert refusal.status == 401
    assert TOKEN not in refusal.message


def test_no_token_is_refused_and_one_right_among_wrong_too() -> None:
    """The header that another layer looks at may be the wrong one."""
    wrong = (b"x-tiledb-rest-api-key", b"wrong")
    for headers in ([HOST], [HOST, KEY, wrong], [HOST, wrong, KEY]):
        refusal = GATE.refusal_of(headers)
        assert refusal is not None
        assert refusal.status == 401


def test_the_token_may_be_the_password_of_basic_authentication() -> None:
    """`login(username, password)` of the official client asks for a session this way."""
    right = b"Basic " + base64.b64encode(b"me:" + TOKEN.encode())
    wrong = b"Basic " + base64.b64encode(b"me:" + TOKEN.encode()[:-1])

    assert GATE.refusal_of([HOST, (b"authorization", right)]) is None
    for value in (wrong, b"Basic !!!", b"Bearer " + TOKEN.encode(), b"Basic", b""):
        assert GATE.refusal_of([HOST, (b"authorization", value)]) is not None


def test_the_host_is_looked_at_before_the_token() -> None:
    """Who is not let in by name learns nothing about tokens."""
    refusal = GATE.refusal_of([(b"host", b"evil.test")])

    assert refusal is not None
    assert refusal.status == 403


def test_the_token_is_long_and_not_shown() -> None:
    """A traceback or a log would give it away."""
    assert len(base64.urlsafe_b64decode(new_token() + "=")) == 32
    assert new_token() != new_token()
    assert TOKEN not in repr(GATE)
