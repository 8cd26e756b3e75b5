"""Which server, who asks, and where our own files are: from `login`, the environment and TileDB's settings file.

The same names as TileDB's own client: ``TILEDB_REST_HOST``, ``TILEDB_REST_TOKEN``, ``TILEDB_REST_USERNAME``,
``TILEDB_REST_PASSWORD``, ``TILEDB_REST_IGNORE_SSL_VALIDATION``, ``TILEDB_SSL_CA_FILE``, and ``~/.tiledb/cloud.json``.
Ours: ``TILEDAG_SERVER=embedded`` (whatever else is set), ``TILEDAG_DATA_DIR``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from .errors import TiledagError

DEFAULT_HOST: Final = "https://api.tiledb.com"
KEY_HEADER: Final = "X-TILEDB-REST-API-KEY"
EMBEDDED: Final = "TILEDAG_SERVER=embedded"
_TRUE: Final = ("true", "1", "on")
WAYS_OUT: Final = (
    "Either install the embedded one with `pip install 'tiledag-widget[server]'`: it starts by itself. Or name a "
    "TileDB Cloud account, or a `tiledag serve` of yours, by TILEDB_REST_HOST and TILEDB_REST_TOKEN, or by "
    "tiledag_widget.login. To run functions here, use submit_local, or DAG(mode=Mode.LOCAL)."
)
"""What to do without a task-graph server."""


class BadSettings(TiledagError, ValueError):
    """The settings file or a variable cannot be understood."""


@dataclass(frozen=True)
class Settings:
    """Where and as whom server calls are made. `host` None: the embedded server."""

    host: str | None = None
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    verify_ssl: bool = True
    ca_file: str | None = None
    source: str = "nothing configured"
    """Where they come from, for messages."""


_from_login: Settings | None = None


def remember_login(settings: Settings | None) -> None:
    """What `login` was given goes before everything else, until the process ends."""
    global _from_login
    _from_login = settings


def server_settings() -> Settings:
    """What is configured now.

    Raises:
        BadSettings: The settings file is no JSON object, or a host or a token is none.
    """
    forced = os.environ.get("TILEDAG_SERVER", "").strip().lower()
    if forced == "embedded":
        return Settings(source=EMBEDDED)
    if forced:
        raise BadSettings(f"TILEDAG_SERVER is {forced!r}; the only value is 'embedded'")
    if _from_login is not None:
        return _from_login
    return _combine(os.environ, _read_file())


def _combine(environment: Mapping[str, str], in_file: Mapping[str, Any]) -> Settings:
    """The environment goes before the file for host and token, after it for the rest, as the reference does."""
    host = environment.get("TILEDB_REST_HOST") or in_file.get("host")
    if host and not isinstance(host, str):
        raise BadSettings(f"the host in {settings_file()} must be a text, got {host!r}")
    keys = in_file.get("api_key")
    token = environment.get("TILEDB_REST_TOKEN") or (_text(keys.get(KEY_HEADER)) if isinstance(keys, Mapping) else None)
    username = _text(in_file.get("username")) or environment.get("TILEDB_REST_USERNAME") or None
    password = _text(in_file.get("password")) or environment.get("TILEDB_REST_PASSWORD") or None
    verify = in_file.get("verify_ssl")
    if not isinstance(verify, bool):
        verify = environment.get("TILEDB_REST_IGNORE_SSL_VALIDATION", "").strip().lower() not in _TRUE
    if not host and (token or username):
        host = DEFAULT_HOST
    if not host:
        return Settings()
    source = "the environment" if environment.get("TILEDB_REST_HOST") or not in_file else str(settings_file())
    return Settings(
        checked_host(host, source),
        checked_token(token, "the environment" if environment.get("TILEDB_REST_TOKEN") else str(settings_file())),
        username,
        password,
        verify,
        _text(in_file.get("ca_file")) or environment.get("TILEDB_SSL_CA_FILE") or None,
        source,
    )


def checked_host(host: str, source: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        BadSettings: It is none.
    """
    if not host.lower().startswith(("http://", "https://")):
        raise BadSettings(f"the host {host!r} of {source} must begin with https:// or http://")
    try:
        parts = urlsplit(host)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or half an IPv6 address
        is_whole = False
    if not is_whole:
        raise BadSettings(
            f"the host {host!r} of {source} names no server: https://NAME or https://NAME:PORT is expected"
        )
    return host.rstrip("/")


def checked_token(token: str | None, source: str) -> str | None:
    """The token without blanks and line ends around it, which come along when it is read from a file.

    Raises:
        BadSettings: No header can carry it. The token is not shown: it may be a good one with a bit too much.
    """
    token = token.strip() if token is not None else None
    if token and not (token.isascii() and token.isprintable()):
        raise BadSettings(
            f"the token of {source} holds a line end or another character that no token has; copy it anew"
        )
    return token or None


def settings_file() -> Path:
    """Where TileDB's clients keep host and token."""
    return Path.home() / ".tiledb" / "cloud.json"


def _read_file() -> Mapping[str, Any]:
    path = settings_file()
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error}") from error
    if not text.strip():
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadSettings(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadSettings(f"{path} must hold a JSON object")
    return found


def save(settings: Settings) -> None:
    """Write what `login` was given to the settings file, readable by its owner alone. A failure is a warning."""
    path = settings_file()
    content: dict[str, Any] = {
        "host": settings.host,
        "verify_ssl": settings.verify_ssl,
        "api_key": {KEY_HEADER: settings.token} if settings.token else {},
    }
    if settings.username:
        content["username"] = settings.username
    if settings.password:
        content["password"] = settings.password
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=4, sort_keys=True)
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        warnings.warn(f"the login is not saved: {path}: {error}", UserWarning, stacklevel=3)


def data_folder() -> Path:
    """Where the embedded server keeps its records. Not made here."""
    named = os.environ.get("TILEDAG_DATA_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "tiledag"
    base = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".local" / "share") / "tiledag"


def why_unusable(folder: Path) -> str | None:
    """What keeps records from being kept in a folder, which need not be there yet; None: nothing that can be seen."""
    there = next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)
    whose = "it" if there == folder else str(there)
    if not there.is_dir():
        return f"{whose} is {'a file' if there.is_file() else 'something else'}, not a folder"
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return f"{whose} may not be read and written by this user"
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
