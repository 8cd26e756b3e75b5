"""Wires store, workers, scheduler, routes and sockets into one server process, and takes it apart in order.

    python -m tiledag_widget.server --data-dir DIR

**Threads** of its own: `tiledag-life`, which ends a server that nobody uses, or whose folder is gone, and sees which
clients have gone; `tiledag-warm-up`, until the first worker is ready. Both end with the server.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import TiledagError
from ..settings import data_folder, why_unusable
from . import kept_options
from .security import Gate, new_token
from .store import Store

_log = logging.getLogger(__name__)

__all__ = ["Options", "arguments_of", "cannot_keep", "main", "run"]

OTHER_STARTS_S = 20.0
SWEEP_S = 1.0
SWITCH_S = 0.001
"""Tasks are short relays between threads; with Python's 5 ms one busy thread holds up all the others."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a server is to run. `idle` None: until it is stopped."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = 0
    workers: int | None = None
    samples: bool = False
    idle: float | None = None
    memory_limits: tuple[tuple[str, float], ...] = ()
    """GiB by resource class."""
    keep_days: float | None = None
    keep_gib: float | None = None
    ready_fd: int | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    engine: str = "processes"
    scheduler: str | None = None
    wait_for_workers: float | None = None


class CannotServe(TiledagError):
    """The server cannot start; the text says why and what to do."""


def arguments_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `tiledag serve`."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any that is free)")
    parser.add_argument("--data-dir", type=Path, help="folder of records and results (default: TILEDAG_DATA_DIR)")
    parser.add_argument("--workers", type=_count, help="tasks that run at a time (default: one per core, at least 2)")
    parser.add_argument(
        "--memory-limit",
        type=_memory_limit,
        action="append",
        default=[],
        metavar="CLASS=GIB",
        help="memory of a task of a resource class (default: standard=2 large=8); again for others",
    )
    parser.add_argument("--keep-days", type=float, help="forget runs after so many days (default: 30)")
    parser.add_argument("--keep-gib", type=float, help="forget the oldest runs beyond so many GiB (default: 5)")
    parser.add_argument("--samples", action="store_true", help="register the quickstart arrays of TileDB's tutorials")
    parser.add_argument("--tls-cert", type=Path, help="certificate, needed off loopback")
    parser.add_argument("--tls-key", type=Path, help="its key")
    parser.add_argument("--allow-host", action="append", default=[], help="name that clients use, needed off loopback")
    parser.add_argument(
        "--engine",
        choices=("processes", "dask"),
        help="where batch graphs run: worker processes here (default), or a dask cluster that is started here",
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a dask scheduler to use: tcp://HOST:PORT or tls://")
    parser.add_argument(
        "--wait-for-workers", type=float, metavar="SECONDS", help="how long a dask cluster may have none (default: 20)"
    )
    parser.add_argument("--idle", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--ready-fd", type=int, help=argparse.SUPPRESS)


def _count(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)


def _memory_limit(text: str) -> tuple[str, float]:
    """`large=16`, or a number for the standard class."""
    name, sign, number = text.rpartition("=")
    try:
        gib = float(number)
        if not 0 < gib < 1e6 or bool(name) != bool(sign):
            raise ValueError
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no resource class with GiB, as large=16 is") from None
    return name or "standard", gib


def options_from(found: argparse.Namespace) -> Options:
    """What the command line asks for."""
    return Options(
        folder=(found.data_dir or data_folder()).expanduser().absolute(),
        host=found.host,
        port=found.port,
        workers=found.workers,
        samples=found.samples,
        memory_limits=tuple(found.memory_limit),
        keep_days=found.keep_days,
        keep_gib=found.keep_gib,
        idle=found.idle,
        ready_fd=found.ready_fd,
        tls_cert=found.tls_cert,
        tls_key=found.tls_key,
        allow_hosts=tuple(found.allow_host),
        engine=found.engine or ("dask" if found.scheduler else "processes"),
        scheduler=found.scheduler,
        wait_for_workers=found.wait_for_workers,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a server as the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tiledag_widget.server", description="The task-graph server.")
    arguments_of(parser)
    return serve(options_from(parser.parse_args(arguments)))


def serve(options: Options) -> int:
    """Runs a server until it is stopped; says on standard error what keeps it from that."""
    words = "%(asctime)s %(levelname)s %(name)s %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=words)
    try:
        run(options)
    except (TiledagError, OSError) as error:
        _say(str(error), sys.stderr)
        return 1
    return 0


def _say(text: str, stream: Any = None) -> None:
    stream = stream or sys.stdout
    stream.write(text + "\n")
    stream.flush()


def run(options: Options) -> None:
    """Runs a server until it is stopped. If one runs for this folder already, says so and returns.

    Raises:
        CannotServe: it cannot start; the text says why.
        OSError: the port is taken, or the folder cannot be written.
    """
    tls = _tls_of(options)
    with ExitStack() as stack:
        lock = _lock_or_running_one(options.folder)
        if not isinstance(lock, int):
            _announce(options, lock)
            if options.ready_fd is None:
                _say(
                    f"A server, process {lock['pid']}, runs on {options.folder} already, and goes on with the options "
                    "that it was started with. `tiledag stop` ends it.",
                    sys.stderr,
                )
            return
        stack.callback(os.close, lock)

        def is_ours() -> bool:
            return _is_at(lock, options.folder / "server.lock")

        def is_needed() -> bool:
            if is_ours():
                return True
            _log.error("%s was deleted or moved away: this server ends, and what runs on it", options.folder)
            return False

        def at_the_end(function: Callable[[Path], None], path: Path) -> None:
            """What stands at its path after it was deleted is of the next server."""
            stack.callback(lambda: function(path) if is_ours() else None)

        if options.idle is None:  # somebody has started it by hand, and wants it as it is
            at_the_end(kept_options.forget, options.folder)
            kept_options.keep(options.folder, _kept_of(options))
        # Before the imports: they take longer than anybody wants to wait to hear this.
        _refuse_taken_port(options.host, options.port)
        try:
            from . import http
            from .api import Api, Leases
            from .batch import Batch
            from .scheduler import MEMORY_LIMITS, Scheduler
            from .services import user_name
        except ImportError as error:
            raise CannotServe(
                f"The server needs more packages ({error}): pip install 'tiledag-widget[server]'"
            ) from error
        sys.setswitchinterval(SWITCH_S)
        listener = http.bound_socket(options.host, options.port)
        stack.callback(listener.close)
        store = Store(options.folder)
        stack.callback(store.close)
        scheduler = Scheduler(store, slots=options.workers or max(2, os.cpu_count() or 2))
        stack.callback(scheduler.close)
        token, port = new_token(), listener.getsockname()[1]
        names = ("localhost", "127.0.0.1", "[::1]", *options.allow_hosts)
        scheme = "https" if tls else "http"
        gate = Gate(token, port, names, scheme)
        host = f"[{options.host}]" if ":" in options.host else options.host
        host = options.allow_hosts[0] if options.allow_hosts else host
        ended = threading.Event()
        stop_now: list[Callable[[], None]] = []

        def stop() -> None:
            ended.set()
            for function in stop_now:
                function()

        leases = Leases()
        limits = dict(MEMORY_LIMITS)
        limits.update({name: int(gib * 2**30) for name, gib in options.memory_limits})
        executor = _executor_of(options, store, scheduler)
        batch = Batch(store, executor, user=user_name(), memory_limits=limits)
        stack.callback(batch.close)
        api = Api(
            store,
            scheduler,
            token=token,
            leases=leases,
            stop=stop,
            version=_version(),
            memory_limits=limits,
            batch=batch,
            engine=_engine_of(options),
        )
        api.keep(days=options.keep_days, gib=options.keep_gib)
        if options.samples:
            _make_samples(api, scheduler, options.folder / "samples")

        batch.start()

        def nothing_runs() -> bool:
            return scheduler.is_idle() and batch.is_idle()

        def ready(stop_server: Callable[[], None]) -> None:
            stop_now.append(stop_server)
            connection = {
                "url": f"{scheme}://{host}:{port}",
                "token_file": str(options.folder / "token"),
                "pid": os.getpid(),
            }
            _write_private(options.folder / "token", token)
            _write_private(options.folder / "connection.json", json.dumps({**connection, "token": token}))
            at_the_end(_unlink, options.folder / "token")
            at_the_end(_unlink, options.folder / "connection.json")
            _announce(options, connection)
            _in_background("tiledag-warm-up", scheduler.prepare)
            life = partial(_live, options.idle, api, leases, nothing_runs, ended, stop, is_needed)
            _in_background("tiledag-life", life)

        try:
            http.serve(api, gate, listener, ready=ready, tls=tls)
        finally:
            ended.set()


def _executor_of(options: Options, store: Store, scheduler: Any) -> Any:
    """Where the tasks of batch graphs run."""
    from .batch_executor import PoolExecutor

    if options.engine != "dask":
        if options.scheduler is not None:
            raise CannotServe("--scheduler is for --engine dask.")
        return PoolExecutor(store, slots=scheduler.slots, workers=scheduler.workers)
    from .dask_engine import PATIENCE_S, DaskExecutor

    patience = PATIENCE_S if options.wait_for_workers is None else options.wait_for_workers
    return DaskExecutor(store, scheduler=options.scheduler, workers=scheduler.slots, patience=patience)


def _engine_of(options: Options) -> str:
    return options.engine if options.scheduler is None else f"{options.engine} at {options.scheduler}"


def _kept_of(options: Options) -> list[tuple[str, object]]:
    """What another server goes on with if this one dies."""
    return [
        ("--workers", options.workers),
        *(("--memory-limit", f"{name}={gib:g}") for name, gib in options.memory_limits),
        ("--keep-days", options.keep_days),
        ("--keep-gib", options.keep_gib),
        ("--engine", None if options.engine == "processes" else options.engine),
        ("--scheduler", options.scheduler),
        ("--wait-for-workers", options.wait_for_workers),
    ]


def _refuse_taken_port(host: str, port: int) -> None:
    """Raises OSError that names the port if somebody listens there. One that is free now may be taken later."""
    if not port:
        return
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise OSError(error.errno, f"port {port} of {host} cannot be used: {error.strerror}") from error


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tiledag-widget")
    except PackageNotFoundError:
        return "0"


def _tls_of(options: Options) -> tuple[Path, Path] | None:
    try:
        is_loopback = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError:
        is_loopback = False
    given = options.tls_cert is not None, options.tls_key is not None
    if not is_loopback and not (all(given) and options.allow_hosts):
        raise CannotServe(
            f"{options.host} can be reached by others: give --tls-cert, --tls-key and --allow-host NAME, "
            "or listen on 127.0.0.1."
        )
    if any(given) and not all(given):
        raise CannotServe("--tls-cert and --tls-key go together.")
    return (options.tls_cert, options.tls_key) if options.tls_cert and options.tls_key else None


def cannot_keep(folder: Path, why: str) -> str:
    """That a folder is none for a server, why, and what to do."""
    return f"Records cannot be kept in {folder}: {why}. Give another folder by --data-dir or TILEDAG_DATA_DIR."


def _lock_of(folder: Path) -> int | None:
    """A descriptor that holds the folder's lock as long as it is open; None if another process has it."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = os.open(folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CannotServe(cannot_keep(folder, why_unusable(folder) or str(error.strerror))) from error
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        os.close(file)
        raise CannotServe("The embedded server runs on Linux and macOS.") from None
    except OSError:
        os.close(file)
        return None
    os.ftruncate(file, 0)
    os.write(file, f"{os.getpid()}\n".encode())  # for `tiledag stop`, should this process hang
    _unlink(folder / "connection.json")  # of a server that was killed
    return file


def _lock_or_running_one(folder: Path) -> int | dict[str, Any]:
    """The folder's lock, or what the server that has it announces. That one may start or end just now, and who only
    looks whether there is a server has the lock for a moment, too."""
    deadline = time.monotonic() + OTHER_STARTS_S
    while (lock := _lock_of(folder)) is None:
        try:
            found = json.loads((folder / "connection.json").read_text())
            return {key: found[key] for key in ("url", "token_file", "pid")}
        except (OSError, ValueError, KeyError, TypeError):
            if time.monotonic() > deadline:
                raise CannotServe(
                    f"Another server holds {folder} and does not say where it is. `tiledag stop --force` ends it."
                ) from None
            time.sleep(0.05)
    return lock


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is the one that has this path. One that cannot be looked at is."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _announce(options: Options, connection: dict[str, Any]) -> None:
    line = json.dumps(connection)
    if options.ready_fd is None:
        _say(line)
        return
    try:
        with os.fdopen(options.ready_fd, "w") as pipe:
            pipe.write(line + "\n")
    except OSError:
        pass  # who started this server has gone; others will find it


def _write_private(path: Path, text: str) -> None:
    """A whole file or none, readable by its owner alone."""
    part = path.with_name(path.name + ".part")
    _unlink(part)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(part, path)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _in_background(name: str, function: Callable[[], Any]) -> None:
    threading.Thread(target=function, name=name, daemon=True).start()


def _live(
    idle: float | None,
    api: Any,
    leases: Any,
    nothing_runs: Callable[[], bool],
    ended: threading.Event,
    stop: Callable[[], None],
    is_needed: Callable[[], bool],
) -> None:
    while True:
        if not is_needed():
            stop()
            return
        try:
            api.records.sweep()
            api.sweep()
        except Exception:
            _log.exception("the records could not be looked after")
        left = SWEEP_S if idle is None else idle - leases.idle_seconds()
        if idle is not None and left <= 0 and nothing_runs():
            stop()
            return
        if ended.wait(min(max(left, 0.2), SWEEP_S)):
            return


def _make_samples(api: Any, scheduler: Any, folder: Path) -> None:
    from .arrays import SAMPLES, SAMPLES_OF, make_samples

    if not scheduler.prepare(make_samples, str(folder)):
        raise CannotServe("The sample arrays could not be made; the log says why. Is TileDB-Py installed?")
    for name in SAMPLES:
        api.add_array(SAMPLES_OF, name, str(folder / name))


if __name__ == "__main__":
    sys.exit(main())
