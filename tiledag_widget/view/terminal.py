"""Progress of a run on a terminal: one line redrawn, elsewhere a plain line now and then.

**Threads**: ``tiledag-terminal``, one per graph that is watched so; ends with the run.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import Final, TextIO

from ..core.snapshot import GraphSource
from .left import time_left
from .static_forms import moment
from .text_form import progress_line, text_style, to_text

REDRAW_S: Final = 0.2
LEFT_FROM_S: Final = 2.0
LEFT_EVERY_S: Final = 2.0
PLAIN_S: Final = 30.0
PLAIN_STEP: Final = 0.1
"""Off a terminal: a line every tenth of the nodes, or every 30 s."""


class TerminalProgress:
    """Follows one graph until it has ended."""

    def __init__(self, source: GraphSource, stream: TextIO) -> None:
        self._source = source
        self._stream = stream
        self._style = text_style(stream, os.environ)
        self._is_terminal = stream.isatty()
        self._changed = threading.Event()
        self._left, self._reckon_at = "", 0.0
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._unsubscribe = source.subscribe(self._wake)

    def _wake(self) -> None:
        """Called from threads that run nodes. The thread begins with the run: a graph that is built costs none."""
        if self._changed.is_set():
            return
        self._changed.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._follow, name="tiledag-terminal", daemon=True)
                self._thread.start()
                atexit.register(self._finish)

    def _follow(self) -> None:
        told, told_at = -1.0, 0.0
        while True:
            self._changed.wait()
            self._changed.clear()
            run = self._source.run()
            total = max(1, sum(run.counts))
            finished = total - run.counts[1] - run.counts[2]
            now = time.monotonic()
            due = self._is_terminal or finished / total >= told + PLAIN_STEP or now >= told_at + PLAIN_S
            if due and not run.is_ended:
                told, told_at = finished / total, now
                self._write(self._line(now), is_last=not self._is_terminal)
            if run.is_ended:
                self._write(to_text(moment(self._source), self._style), is_last=True)
                with self._lock:
                    self._thread = None
                atexit.unregister(self._finish)
                return
            time.sleep(REDRAW_S)

    def _line(self, now: float) -> str:
        still = moment(self._source)
        # Rarely enough to be read, and so that reckoning takes a twentieth of the time at most.
        if now >= self._reckon_at:
            is_early = not still.elapsed >= LEFT_FROM_S
            self._left = "" if is_early else time_left(still.structure, still.columns, still.run, still.now)
            self._reckon_at = now + max(LEFT_EVERY_S, 20 * (time.monotonic() - now))
        return progress_line(still, self._style, self._left)

    def _finish(self) -> None:
        """The script is over: the last picture is of the end of the run."""
        thread = self._thread
        if thread is not None:
            self._changed.set()
            thread.join(1.0)

    def _write(self, text: str, is_last: bool) -> None:
        try:
            start = "\r\x1b[K" if self._is_terminal else ""
            self._stream.write(start + text + ("\n" if is_last else ""))
            self._stream.flush()
        except (OSError, ValueError):  # the stream is gone: the run goes on
            self._unsubscribe()


def follow(source: GraphSource, stream: TextIO | None = None) -> TerminalProgress:
    """Show the progress of a graph on ``stream`` (standard error by default) until it ends."""
    return TerminalProgress(source, stream if stream is not None else sys.stderr)
