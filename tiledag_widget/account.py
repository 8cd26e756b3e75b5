"""Login, and who asks."""

from __future__ import annotations

from . import settings
from .settings import DEFAULT_HOST, Settings, checked_host, checked_token
from .wire.models import User


def login(
    token: str | None = None,
    username: str | None = None,
    password: str | None = None,
    host: str | None = None,
    verify_ssl: bool = True,
    no_session: bool = False,
    threads: int | None = None,
    ca_file: str | None = None,
) -> None:
    """From now on server nodes run on this account; also in later sessions, since it is saved.

    Args:
        token: An API token; no request is made.
        username: With ``password``, is exchanged for a token that is good for 30 days.
        password: See ``username``.
        host: Address of the server; ``https://`` where no scheme is given. TileDB Cloud if None.
        verify_ssl: False does not check the server's certificate.
        no_session: Keep username and password, and send them with each request.
        threads: Kept for compatibility: connections are made as needed.
        ca_file: Certificates to trust, instead of the usual ones.

    Raises:
        ValueError: Neither a token nor username and password are given, or the host or the token is none.
        ServerError: The server does not know them.
    """
    del threads
    if token is None and (username is None or password is None):
        raise ValueError("login needs a token, or username and password")
    address = host or DEFAULT_HOST
    if "://" not in address:
        address = f"https://{address}"
    address = checked_host(address, "login")
    token = checked_token(token, "login") if token else token
    if token is not None:
        found = Settings(address, token, None, None, verify_ssl, ca_file, "login")
    else:
        found = Settings(address, None, username, password, verify_ssl, ca_file, "login")
        if not no_session:
            from .wire.client import Client

            client = Client(found)
            try:
                found = Settings(address, client.session_token(), None, None, verify_ssl, ca_file, "login")
            finally:
                client.close()
    settings.remember_login(found)
    settings.save(found)


def user_profile() -> User:
    """Who asks, as the server knows them.

    Raises:
        ServerNeeded: There is no server.
        ServerError: The server does not know them.
    """
    from .wire import client

    return client.current().user()
