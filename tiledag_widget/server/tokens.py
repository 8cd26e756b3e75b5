"""Tokens that a user makes besides the server's own: named, revocable, kept as hashes. Safe from any thread."""

from __future__ import annotations

import hashlib
import threading
from datetime import datetime, timezone

from ..errors import TiledagError
from .security import new_token
from .store import Store, now

__all__ = ["NameTaken", "Tokens"]


class NameTaken(TiledagError):
    """There is a token of this name already."""


class Tokens:
    """The further tokens of one server. They outlive it, and end when they are revoked or their time is up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        rows = store.rows("SELECT hash, expires FROM token")
        self._known: dict[str, str | None] = {row[0]: row[1] for row in rows}

    def issue(self, name: str, expires: str | None) -> tuple[str, str]:
        """A new token and when it was made. It is shown this once.

        Raises:
            NameTaken: another token has the name.
        """
        token, issued = new_token(), now()
        digest = _digest(token.encode())
        columns = "name, hash, issued, expires"
        statement = f"INSERT OR IGNORE INTO token ({columns}) VALUES (?, ?, ?, ?)"
        if not self._store.execute((statement, (name, digest, issued, expires))):
            raise NameTaken(f"There is a token {name!r} already; revoke it first, or choose another name.")
        with self._lock:
            self._known[digest] = expires
        return token, issued

    def revoke(self, name_or_token: str) -> bool:
        """Ends a token; False if there is none."""
        digest = _digest(name_or_token.encode())
        row = self._store.row("SELECT hash FROM token WHERE name = ? OR hash = ?", (name_or_token, digest))
        if row is None:
            return False
        with self._lock:
            self._known.pop(row[0], None)
        self._store.execute(("DELETE FROM token WHERE hash = ?", (row[0],)))
        return True

    def listed(self) -> list[tuple[str, str, str | None]]:
        """Name, begin and end of each, oldest first."""
        rows = self._store.rows("SELECT name, issued, expires FROM token ORDER BY issued, name")
        return [(row[0], row[1], row[2]) for row in rows]

    def is_known(self, token: bytes) -> bool:
        """Whether a token opens the server now. Takes the same time for all that do not."""
        with self._lock:
            expires = self._known.get(_digest(token), "")
        if expires is None or expires == "":
            return expires is None
        return datetime.now(timezone.utc) < datetime.fromisoformat(expires.replace("Z", "+00:00"))


def _digest(token: bytes) -> str:
    """Of 256 random bits; a plain hash cannot be undone, and by it no time tells how far a guess was right."""
    return hashlib.sha256(token).hexdigest()
