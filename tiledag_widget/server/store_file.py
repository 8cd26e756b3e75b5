"""The file of the records: how it is opened, on what file systems, and in what words its trouble is told."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import TiledagError

__all__ = ["StoreError", "connect", "identity", "opened", "told"]

_log = logging.getLogger(__name__)

CHECKED_BYTES = 64 << 20


class StoreError(TiledagError):
    """The records cannot be read or written; the text says what was found and what to do."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection to a file that is there. One that has gone is not made anew: it would be an empty one."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    return connection


def identity(path: Path) -> tuple[int, int] | None:
    """What tells this file from another one of its name. None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def opened(path: Path, migrations: Sequence[str], at_first: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
    """The file as a connection that may write, made and brought up to date, after ``at_first`` was done to it.

    Raises:
        StoreError: it cannot be opened, is damaged, or is of a newer release; it is left as it is.
    """
    connection: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Before SQLite makes it, and readable by all: its neighbours (-wal, -shm) get the mode of this file.
        # Only then is it opened here: closing it would take away the locks of another opening in this process.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        if stat.S_IMODE(path.stat().st_mode) != 0o600:
            os.chmod(path, 0o600)
        connection, version = _with_journal(path, len(migrations))
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        for number in range(version, len(migrations)):
            script = f"BEGIN IMMEDIATE; {migrations[number]} PRAGMA user_version = {number + 1}; COMMIT"
            connection.executescript(script)
        at_first(connection)
    except BaseException as error:
        if connection is not None:
            connection.close()
        if isinstance(error, sqlite3.OperationalError):  # of the file's surroundings; its content may be whole
            raise StoreError(
                f"{path} cannot be opened: {error}. Is its disk full, or can its folder not be written? "
                "TILEDAG_DATA_DIR names another folder."
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise StoreError(f"{path} cannot be opened: {error}. Move it away to begin anew.") from error
        if isinstance(error, OSError):
            raise StoreError(
                f"{path} cannot be written: {error.strerror}. TILEDAG_DATA_DIR names another folder."
            ) from error
        raise
    return connection


def _with_journal(path: Path, newest: int) -> tuple[sqlite3.Connection, int]:
    """A connection with a write-ahead log, or, where a file system has no shared memory for one, without. And the
    file's version."""
    connection = connect(path)
    try:
        version = _version(connection, path, newest)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        why = f"its journal is {mode}"
    except sqlite3.OperationalError as error:
        mode, why = "", str(error)
        connection.close()
        connection = connect(path)
    except BaseException:
        connection.close()
        raise
    if mode == "wal":
        return connection, version
    try:
        # Alone with the file SQLite needs no shared memory, also to leave a log that an earlier server has made.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = _version(connection, path, newest)
        (mode,) = connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # lets go of the file
        if mode != "truncate":
            raise sqlite3.OperationalError(why)
    except BaseException:
        connection.close()
        raise
    _log.warning("%s stands where SQLite can keep no write-ahead log (%s): records are written more slowly", path, why)
    return connection, version


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    """Which release wrote the file. Raises StoreError if it was a newer one, or if the file is damaged."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        raise StoreError(f"{path} was written by a newer tiledag-widget; update, or use another folder.")
    if path.stat().st_size < CHECKED_BYTES:  # above, the check would be felt at each start
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{path} is damaged ({verdict}). Move it away to begin anew.")
    return version


def told(error: Exception) -> Exception:
    """What is told of an error in the middle of the work."""
    if isinstance(error, sqlite3.Error):
        return StoreError(f"The server's records could not be used: {error}")
    return error
