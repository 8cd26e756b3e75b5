"""A real dask cluster of this machine, for tests: a scheduler and workers in processes of their own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.server.running import environment

SECONDS = 90


@dataclass
class Cluster:
    """A dask cluster of this machine."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_scheduler(self, port: int) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        options = ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        self.scheduler = self._start("scheduler", *options)
        wait_until(lambda: can_connect(port))

    def start_worker(self, *more: str, without: Path | None = None) -> None:
        """One more worker; one that sees nothing in a folder, as on another machine, if that is said."""
        options = [
            "--host",
            "127.0.0.1",
            "--no-nanny",
            "--nthreads",
            "1",
            "--no-dashboard",
            "--death-timeout",
            "30",
        ]
        options += [*more, "--local-directory", str(self.folder)]
        self.workers.append(self._start("worker", self.address, *options, without=without))

    def _start(self, *command: str, without: Path | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / f"dask-{command[0]}.txt").open("ab") as log:
            return subprocess.Popen(
                [*hiding(without), sys.executable, "-m", "distributed.cli.dask_" + command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def close(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.terminate()
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def hiding(folder: Path | None) -> list[str]:
    """What runs a command so that an empty folder lies over this one: a view of the files of its own."""
    if folder is None:
        return []
    return ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(folder)]


def can_hide(folder: Path) -> bool:
    """Whether this machine lets a process have such a view."""
    try:
        done = subprocess.run([*hiding(folder), "true"], capture_output=True, timeout=20, check=False)
    except OSError:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2, *, port: int | None = None) -> Iterator[Cluster]:
    folder.mkdir(parents=True, exist_ok=True)
    one = Cluster(folder)
    try:
        one.start_scheduler(port or free_port())
        for _ in range(workers):
            one.start_worker()
        yield one
    finally:
        one.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def can_connect(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(is_so: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
