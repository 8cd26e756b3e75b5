"""Starts, finds and stops the embedded server of this user and data folder; keeps it alive while it is used.

**Guarantees**

- `ensure`, `let_go` and `stop` may be called from any thread. However many processes call `ensure` at once, one
  server starts.
- The server is found by its connection file, readable by its owner alone, and by the lock it holds as long as it
  lives; a file without a living server is ignored.
- A server that holds its lock and does not answer hangs: that is an error with its process and the way out, and never
  taken for no server.

**Threads**: `tiledag-lease`, a daemon, while this process has a lease; ended by `let_go()`, which is also called when
the interpreter ends.
"""

from __future__ import annotations

import atexit
import http.client
import importlib.util
import json
import logging
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ServerNeeded, ServerUnreachable
from ..settings import WAYS_OUT, BadSettings, data_folder, why_unusable
from ..wire.transport import Lost, Near, is_near
from . import kept_options

__all__ = ["Connection", "ensure", "find", "let_go", "missing", "stop"]

_log = logging.getLogger("tiledag_widget.server")

IDLE_S = 600.0
RENEW_S = 5.0
START_S = 60.0
OTHER_STARTS_S = 20.0
ASK_S = 10.0
FRESH_S = 1.0
"""A server that holds its folder and has answered so lately is there: graphs in a row do not ask again."""
LET_GO_S = 1.5
"""For the last word to a server: the lease ends by itself where it does not arrive."""

NEEDED = ("uvicorn", "psutil", "pyarrow", "pandas", "tiledb", "duckdb", "sqlglot")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a server is, and how to be let in."""

    url: str
    token: str = field(repr=False)
    pid: int = 0


def ensure(*, hold: bool = True) -> Connection:
    """The running server of this user and data folder, started if there is none.

    Args:
        hold: Keep the server alive until `let_go()` or the end of this process.

    Raises:
        ServerNeeded: the packages of the server are not installed.
        ServerUnreachable: it could not be started; the text says why.
    """
    folder = _folder()
    found = find(folder)
    if found is None:
        found = _start_or_find(folder)
    if hold:
        _holder.hold(found)
    return found


def find(folder: Path | None = None) -> Connection | None:
    """The running server of this user and data folder, or None.

    Raises:
        ServerUnreachable: There is one, and it hangs.
    """
    folder = folder or _folder()
    found = _told_in(folder)
    if found is None:
        return None
    if _holder.has_just_answered(found) and _holder_of(folder) == found.pid:
        return found
    try:
        status, _ = ask(found, "GET", "/tiledag/v1/info", patience=ASK_S)
    except TimeoutError:
        pid = _holder_of(folder)
        if pid is None:
            return None
        raise ServerUnreachable(_hangs(folder, pid, f"hangs: it gives no answer for {ASK_S:g} s")) from None
    except OSError:
        return None
    return found if status == 200 else None


def _told_in(folder: Path) -> Connection | None:
    """What the connection file says; the server may have ended."""
    try:
        known = json.loads((folder / "connection.json").read_text(encoding="utf-8"))
        return Connection(str(known["url"]), str(known["token"]), int(known["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hangs(folder: Path, pid: int, what: str) -> str:
    who = f"process {pid}" if pid else "a process that does not say which"
    return (
        f"The server of {folder} ({who}) {what}. `tiledag stop --force --data-dir {shlex.quote(str(folder))}` ends it "
        "with its workers; what it has acknowledged is kept."
    )


def let_go() -> None:
    """Gives the lease of this process back; the server may then end when it is idle."""
    _holder.let_go()


def stop(folder: Path | None = None, *, patience: float = 10.0, force: bool = False) -> bool:
    """Ends the running server of this user and data folder, with its workers; False if there is none. Options of one
    that has died are forgotten.

    Args:
        patience: Seconds that it has for ending in order.
        force: Then kill it.

    Raises:
        ServerUnreachable: it did not end in time; the text names its process and the way out.
    """
    folder = folder or _folder()
    kept_options.forget(folder)
    pid = _holder_of(folder)
    if pid is None:
        return False
    deadline = time.monotonic() + patience
    family = _family_of(pid)
    was_asked = _ask_to_end(folder, deadline)
    # It lets go of its folder a moment before it is gone.
    while (is_held := _holder_of(folder) is not None) or _live(family):
        if time.monotonic() > deadline:
            break
        _reap(pid)
        time.sleep(0.02)
    if is_held and not force:
        what = "was asked to end and still runs after" if was_asked else "hangs: it gives no answer for"
        raise ServerUnreachable(_hangs(folder, pid, f"{what} {patience:g} s"))
    if is_held:
        _kill(folder, pid)
    _reap(pid)
    return True


def _family_of(pid: int) -> list[Any]:
    """A process and all that it has started, as far as they can be seen from here."""
    import psutil

    try:
        server = psutil.Process(pid)
        return [server, *server.children(recursive=True)]
    except (psutil.Error, ValueError):
        return []


def _live(family: list[Any]) -> bool:
    import psutil

    for member in family:
        with suppress(psutil.Error):
            if member.is_running() and member.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def _reap(pid: int) -> None:
    """Takes note of the end of a server that this process has started."""
    for process in list(_started):
        if process.pid == pid and process.poll() is not None:
            _started.remove(process)


def _ask_to_end(folder: Path, deadline: float) -> bool:
    """Whether the server that holds the folder has heard that it is to end. One that starts just now is waited for."""
    while (left := deadline - time.monotonic()) > 0 and _holder_of(folder) is not None:
        found = _told_in(folder)
        try:
            if found is not None and ask(found, "POST", "/tiledag/v1/stop", patience=min(left, ASK_S))[0] < 400:
                return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def _kill(folder: Path, pid: int) -> None:
    """Ends the process that holds the folder, and all that it has started.

    Raises:
        ServerUnreachable: that process is not to be found here, or is another user's.
    """
    import psutil

    lock = folder / "server.lock"
    try:
        server = psutil.Process(pid)
        if not any(os.path.samefile(file.path, lock) for file in server.open_files()):
            raise psutil.NoSuchProcess(pid)  # another one that got its number; the server runs on another machine
        family = _family_of(pid)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    except psutil.Error as error:
        raise ServerUnreachable(
            f"The process that holds {lock} cannot be ended from here ({error}). It may run on another machine or in "
            f"a container that shares this folder, or be another user's; `fuser {lock}` names it there."
        ) from error
    deadline = time.monotonic() + ASK_S
    while (_holder_of(folder) is not None or _live(family)) and time.monotonic() < deadline:
        _reap(pid)
        time.sleep(0.02)
    if _holder_of(folder) is not None:
        raise ServerUnreachable(_hangs(folder, pid, f"was killed and is still there after {ASK_S:g} s"))
    for left in ("connection.json", "token"):
        (folder / left).unlink(missing_ok=True)


def ask(
    connection: Connection, method: str, path: str, body: Any = None, *, patience: float = ASK_S
) -> tuple[int, Any]:
    """Status and JSON of one request to a server of ours.

    Raises:
        TimeoutError: it gives no word for ``patience`` seconds.
        OSError: it does not answer.
    """
    if _holder.holds(connection):
        return _ask_again(connection, method, path, body, patience)
    place = urlsplit(connection.url)
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    wire = kind(place.hostname or "", place.port, timeout=patience)
    try:
        wire.request(method, path, json.dumps(body) if body is not None else None, _headers(connection))
        reply = wire.getresponse()
        data = reply.read()
        return reply.status, json.loads(data) if data else None
    except (http.client.HTTPException, ValueError) as error:
        raise ConnectionError(f"{connection.url} does not answer as a server of ours: {error}") from error
    finally:
        wire.close()


def _ask_again(connection: Connection, method: str, path: str, body: Any, patience: float) -> tuple[int, Any]:
    """As `ask`, over a connection that stays open as long as the lease: each graph that begins asks."""
    data = json.dumps(body).encode() if body is not None else None
    try:
        answer = _holder.way.exchange(method, connection.url + path, {}, data, _headers(connection), patience)
        _holder.answered()
        return answer.status, json.loads(answer.content) if answer.content else None
    except Lost as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise ConnectionError(f"{connection.url} does not answer as a server of ours: {error}") from error
    except ValueError as error:
        raise ConnectionError(f"{connection.url} does not answer as a server of ours: {error}") from error


def _headers(connection: Connection) -> dict[str, str]:
    return {"X-TILEDB-REST-API-KEY": connection.token, "Content-Type": "application/json"}


# --- starting -----------------------------------------------------------------------------------------------


def _folder() -> Path:
    return data_folder().expanduser().absolute()


def missing() -> list[str]:
    """The packages of the extra `server` that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def _start_or_find(folder: Path) -> Connection:
    absent = missing()
    if absent:
        raise ServerNeeded(
            f"This needs a task-graph server, and the embedded one is not installed ({', '.join(absent)} missing). "
            f"{WAYS_OUT}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _one_at_a_time(folder):
            return _when_it_tells(folder) or _start(folder)
    except ServerUnreachable:  # an OSError too, with its own words
        raise
    except OSError as error:
        raise ServerUnreachable(
            f"The embedded server cannot be started: {error.filename or folder}: "
            f"{why_unusable(folder) or error.strerror}. It keeps its records in a folder that it can write; "
            "TILEDAG_DATA_DIR names one."
        ) from error


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Of many processes that find no server, one starts it and the others wait for that."""
    try:
        import fcntl
    except ImportError:
        raise ServerNeeded("The embedded server runs on Linux and macOS; name one by TILEDB_REST_HOST.") from None
    file = os.open(folder / "launch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _when_it_tells(folder: Path) -> Connection | None:
    """The server that holds the folder, which may be about to start or to end; None if nobody does."""
    deadline = time.monotonic() + OTHER_STARTS_S
    while True:
        found = find(folder)
        pid = None if found is not None else _holder_of(folder)
        if pid is None:
            return found
        if time.monotonic() > deadline:
            raise ServerUnreachable(_hangs(folder, pid, f"hangs: for {OTHER_STARTS_S:g} s it has not said where it is"))
        time.sleep(0.05)


def _holder_of(folder: Path) -> int | None:
    """The process that holds the folder: a server that runs, starts or ends. 0 if it does not say which it is; None if
    nobody does."""
    import fcntl

    try:
        file = os.open(folder / "server.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except OSError:
        digits = os.read(file, 20).strip()
        return int(digits) if digits.isdigit() else 0
    finally:
        os.close(file)


def _start(folder: Path) -> Connection:
    """Starts a server in a session of its own and waits until it says where it is."""
    idle = _idle_seconds()
    ours, theirs = os.pipe()
    try:
        package_folder = str(Path(__file__).resolve().parent.parent.parent)
        code = (
            f"import sys; sys.path[:] = {[package_folder, *map(os.path.abspath, sys.path)]!r}; "
            "from tiledag_widget.server.__main__ import main; del sys.path[0]; sys.exit(main(sys.argv[1:]))"
        )
        kept = kept_options.kept(folder)
        if kept:
            _log.warning(
                "the server of `tiledag serve` was not ended in order: another one starts with its options (%s); "
                "`tiledag stop` ends it and forgets them",
                shlex.join(kept),
            )
        options = ["--data-dir", str(folder), "--idle", str(idle), "--ready-fd", str(theirs), *kept]
        with open(os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
                start_new_session=True,
                cwd=folder,  # it outlives us, and must not keep our folder busy
                env=_environment(),
            )
        os.close(theirs)
        theirs = -1
        line = _line_from(ours, START_S)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    # It lives on without us: nobody waits for it, and its end is seen when it is asked for again.
    _started.append(process)
    found = find(folder) if line else None
    if found is None:
        raise ServerUnreachable(_why_not(folder, process))
    return found


def _idle_seconds() -> float:
    """How long the server stays without anybody who uses it.

    Raises:
        BadSettings: What the environment says of it is no such number.
    """
    text = os.environ.get("TILEDAG_IDLE_S", "").strip()
    try:
        seconds = float(text) if text else IDLE_S
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 1e9:
        raise BadSettings(f"TILEDAG_IDLE_S is {text!r}; expected a number of seconds above 0, as 600 is")
    return seconds


_started: list[subprocess.Popen[bytes]] = []


def _environment() -> dict[str, str]:
    """Without what would let user code of one kernel see the settings of another."""
    hidden = ("TILEDB_REST_TOKEN", "TILEDB_REST_PASSWORD")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "TILEDAG_RECORD": "0"}  # graphs inside of nodes are nobody's runs


def _line_from(descriptor: int, patience: float) -> bytes:
    import select

    deadline = time.monotonic() + patience
    data = b""
    while not data.endswith(b"\n"):
        readable, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(descriptor, 65536) if readable else b""
        if not piece:
            break
        data += piece
    return data


def _why_not(folder: Path, process: subprocess.Popen[bytes]) -> str:
    try:
        code = process.wait(1)
        how = f"it ended with code {code}"
    except subprocess.TimeoutExpired:
        how = "it does not answer"
    try:
        words = (folder / "server.log").read_text(errors="replace").strip()[-2000:]
    except OSError:
        words = ""
    return f"The embedded server could not be started: {how}.{' Its log says: ' + words if words else ''}"


# --- keeping it ---------------------------------------------------------------------------------------------


class _Holder:
    """Renews the lease of this process in the background, as long as there is one."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self._client = ""
        self.way = Near()
        self._answered = 0.0

    def answered(self) -> None:
        """Notes that the server of the lease has just answered."""
        self._answered = time.monotonic()

    def has_just_answered(self, connection: Connection) -> bool:
        """Whether to ask it whether it is there would be to ask once more."""
        return time.monotonic() - self._answered < FRESH_S and self.holds(connection)

    def holds(self, connection: Connection) -> bool:
        """Whether this process has a lease there, over plain HTTP."""
        with self._lock:
            return self._connection == connection and is_near(connection.url)

    def hold(self, connection: Connection) -> None:
        with self._lock:
            is_new = self._connection != connection
            if is_new:
                self._connection = connection
                self._client = self._client or f"{socket.gethostname()[:60]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
            client = self._client
            if self._thread is None:
                self._end = threading.Event()
                self._thread = threading.Thread(
                    target=self._renew, args=(self._end,), name="tiledag-lease", daemon=True
                )
                self._thread.start()
        if is_new:
            _renew_now(connection, client)

    def _renew(self, end: threading.Event) -> None:
        while not end.wait(RENEW_S):
            with self._lock:
                connection, client = self._connection, self._client
            if connection is not None:
                _renew_now(connection, client)

    def let_go(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            thread, self._thread = self._thread, None
            client, self._client = self._client, ""
            self._end.set()
        began = time.monotonic()
        if thread is not None and thread is not threading.current_thread():
            thread.join(LET_GO_S)
        if connection is not None:
            left = max(LET_GO_S / 4, LET_GO_S - (time.monotonic() - began))
            try:
                ask(connection, "DELETE", f"/tiledag/v1/leases/{client}", patience=left)
            except TimeoutError:
                who = f"process {connection.pid}"
                _log.warning("the server at %s (%s) gives no answer; nobody waits for it", connection.url, who)
            except OSError:
                pass  # it has ended, or the lease will
        self.way.close()
        for process in list(_started):
            if process.poll() is not None:
                _started.remove(process)


def _renew_now(connection: Connection, client: str) -> None:
    try:
        ask(connection, "POST", "/tiledag/v1/leases", {"client": client})
    except OSError:
        pass  # the next server call says so, with its reason


_holder = _Holder()
atexit.register(let_go)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holder._forget)
