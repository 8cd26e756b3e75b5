"""A web server that is run for others: its process group, its log, and waiting until it answers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SECONDS = 60


class Served:
    """A server that has been started; `close` ends it with all that it started.

    ``ask`` is called until it raises no `OSError`. What the server and its kernels print goes to ``file``.

    Raises:
        RuntimeError: The server ended or did not answer; the message holds the end of its log.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        ask: Callable[[], object],
        *,
        file: Path,
        folder: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._path = file
        self._file = file.open("w")
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=self._file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            self._wait_until_up(ask)
        except BaseException:
            self.close()
            raise

    def log(self, characters: int = 4000) -> str:
        """The end of the log."""
        return self._path.read_text(errors="replace")[-characters:]

    def close(self) -> None:
        """Ends the server and all it started. Idempotent."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._file.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _wait_until_up(self, ask: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self._process.returncode}:\n{self.log()}")
            with contextlib.suppress(OSError):
                ask()
                return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} did not answer within {SECONDS} s:\n{self.log()}")
