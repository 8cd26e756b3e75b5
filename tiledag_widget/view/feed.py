"""What the pages of one graph are told, and when: changes merged, the first and the last of them never late.

**Guarantees.** Everything but `Feed.tick` is safe from any thread, returns at once and never raises; `Feed.changed`,
which the threads that run nodes call, does nothing at all while an earlier change is still unsent. `Feed.tick` runs on
the publisher's thread only, so messages have an order, and sends no message that is not due:

- nothing before a page has opened the graph;
- changes at once if `MERGE_S` has passed since the last ones, else when it has (`MERGE_BUSY_S` at more than 2,000 a
  second, `HIDDEN_S` while no view is visible), and whatever came in between goes with them: none is ever left unsent;
- the end of a run, its first failure and the answer to a request at once;
- a beat after `HEARTBEAT_S` without a message, while the run is active and a view visible, and after `PROGRESS_S` where
  running nodes told how far they are;
- never more than `MOST_MESSAGES` in a second, of which the last are kept for what is urgent.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from math import isnan
from typing import Any, Final

from ..core.snapshot import GraphSource, Patch, RunInfo
from ..core.states import FAILED
from .code import code_messages
from .log_lines import LogDesk, lines_of
from .messages import (
    ARRANGING_S,
    CHUNK_BYTES,
    HEARTBEAT_S,
    HIDDEN_S,
    MERGE_BUSY_S,
    MERGE_S,
    MOST_PROGRESS,
    PROGRESS_S,
    Ack,
    Beat,
    PatchHead,
    Reply,
)
from .opening import Column, Message, Opening, Openings, Rest, column_messages, picture_message, to_run
from .publisher import Budget

_log = logging.getLogger("tiledag_widget.view")

Send = Callable[[Mapping[str, Any], list[bytes]], None]

BUSY_RATE: Final = 2_000
"""Changes a second from which on they are merged for `MERGE_BUSY_S`."""
BULK_S: Final = 0.2
"""The merge time while columns wait, so that they get their share of the messages."""
GLANCE_S: Final = 0.025
"""How often an unsent change is asked whether it is urgent. The listener cannot know, and the end of a run shall not
wait for the merge time."""
RAW_BYTES: Final = 100_000
"""Patches above this are deflated."""
KEEP_PATCH, KEEP_LOG, KEEP_BULK = 1, 2, 4
"""Messages a second left to more urgent ones."""
RESTRUCTURE_FACTOR: Final = 4
"""A graph that grows is laid out anew after this many times what the last layout took: while somebody builds a
large graph with its view open, at most a fifth of the time goes into the view."""


class Feed:
    """Merges the changes of one graph and sends them.

    Args:
        source: The graph.
        openings: Its pictures.
        send: Sends one message; what it raises is logged, once.
        wake: Has `tick` called soon, see `Publisher.wake`.
        build: Has a job run elsewhere: layout may take seconds, and other graphs wait for the publisher's thread.
        pack: The same for shorter ones, which must not wait for those; ``build`` unless it is given.
        version: Of the package, for the page to compare.
        is_still: True for a view that shows what was there when it was asked, `auto_update=False`.
    """

    def __init__(
        self,
        source: GraphSource,
        openings: Openings,
        send: Send,
        *,
        wake: Callable[[Feed], None],
        build: Callable[[Callable[[], object]], object],
        pack: Callable[[Callable[[], object]], object] | None = None,
        version: str = "",
        is_still: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._openings = openings
        self._send = send
        self._wake = wake
        self._build = build
        self._pack = pack or build
        self._version = version
        self._is_still = is_still
        self._clock = clock
        self._wall = wall
        self._budget = Budget()
        # Set by any thread, taken back by the publisher's before it looks: a change that comes later sets it again.
        self._is_dirty = False
        self._is_picture_asked = False
        self._is_refresh_asked = False
        self._is_waiting = False  # a page that has come has no picture yet
        self._answers: deque[Ack | Reply] = deque()
        self._asked: deque[Message] = deque()
        self._numbers = itertools.count(1)
        self._hidden: dict[str, bool] = {}
        self._made: deque[tuple[Opening, Rest]] = deque()
        self._is_closed = False
        self._lock = threading.Lock()  # for subscribing once
        self._unsubscribe: Callable[[], None] | None = None
        # Only ever touched by the publisher's thread.
        self._epoch = 0
        self._shown: Opening | None = None
        self._revision = 0
        self._run: RunInfo | None = None
        self._is_building = False
        self._build_at = self._build_began = self._opened_at = self._stood_in_at = -HIDDEN_S
        self._rest_took = 0.0
        self._records: deque[Message] = deque()
        self._bulk: deque[Message] = deque()
        self._told_at = -HIDDEN_S
        self._sent_at = -HIDDEN_S
        self._progress: dict[int, int] = {}
        self._is_progress_told = True
        self._looked_at = -PROGRESS_S
        self._pace = MERGE_S
        self._has_logged = False
        self.log = LogDesk(lines_of(source), lambda: source.structure().names, lambda: wake(self), is_still=is_still)

    # --- from any thread --------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something changed in the graph."""
        if not self._is_dirty:
            self._is_dirty = True
            self._wake(self)

    def open(self, view: str = "") -> None:
        """A page wants everything: it has just come, or it missed something. Until the first one, no thread that
        runs nodes so much as calls `changed`."""
        with self._lock:
            if self._is_closed:
                return
            if self._unsubscribe is None:
                self._unsubscribe = self._source.subscribe(self.changed)
        if view:
            self._hidden[view] = False
        else:
            self._hidden.clear()  # what pages before a reload have left
        self._opened_at = self._clock()
        self._is_picture_asked = self._is_waiting = True
        self._wake(self)

    @property
    def is_opened(self) -> bool:
        """True once a page has asked for the graph."""
        return self._unsubscribe is not None

    def spend(self) -> None:
        """A message went to the page by another way: it counts."""
        self._budget.spend(self._clock())

    def tidy(self) -> None:
        """Arrange the graph as for a fresh display."""
        self._openings.tidy()
        self._is_picture_asked = True
        self._wake(self)

    def give_up(self) -> None:
        """Show the graph without arranging it, if it has not been arranged yet."""
        self._openings.give_up()
        self._wake(self)

    def refresh(self) -> None:
        """Send what has changed, also to a still view."""
        self._is_refresh_asked = True
        self._is_dirty = True
        self.log.refresh()
        self._wake(self)

    def answer(self, message: Ack | Reply) -> None:
        """Send the answer to a request; an `Ack` takes the changes before it along."""
        self._answers.append(message)
        self._wake(self)

    def send_column(self, column: Column, data: bytes) -> int:
        """Send what a page asked for and no message has room for, when nothing else waits. Returns its number."""
        number = next(self._numbers)
        self._asked.extend(column_messages(column, zlib.compress(data), epoch=0, revision=number))
        self._wake(self)
        return number

    def send_code(self, identity: str) -> None:
        """Send the second part of the front end, when nothing else waits."""
        self._asked.extend(code_messages(identity))
        self._wake(self)

    def set_visible(self, view: str, is_visible: bool) -> None:
        """A view came into sight or went out of it; one that never said is visible."""
        self._hidden[view] = not is_visible
        if len(self._hidden) > 100:  # pages that were reloaded leave theirs behind
            self._hidden.pop(next(iter(self._hidden)), None)
        self._wake(self)

    def close(self) -> None:
        """Send nothing more. May be called twice."""
        with self._lock:
            self._is_closed = True
            unsubscribe, self._unsubscribe = self._unsubscribe, None
        if unsubscribe is not None:
            unsubscribe()
        self.log.close()
        self._answers.clear()
        self._asked.clear()
        self._made.clear()

    @property
    def is_hidden(self) -> bool:
        hidden = list(self._hidden.values())
        return bool(hidden) and all(hidden)

    # --- on the publisher's thread ----------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Send what is due at ``now``. Returns when to be called again, None for not before the next wake."""
        if self._is_closed:
            return None
        steps = (
            self._tick_picture,
            self._tick_records,
            self._tick_changes,
            self._tick_answers,
            self._tick_log,
            self._tick_rest,
            self._tick_bulk,
            self._tick_beat,
        )
        try:
            return min((at for at in [step(now) for step in steps] if at is not None), default=None)
        except Exception:
            self._log_once("the view could not be updated")
            self._is_dirty = False  # so that the next change wakes it again
            return None

    def _tick_picture(self, now: float) -> float | None:
        opening = self._openings.kept()
        is_interim = self._shown is not None and self._shown.is_interim
        if is_interim and opening is not self._shown:
            self._is_picture_asked = True
        if not self._is_picture_asked:
            return self._begin_build(now, self._build_at) if is_interim else None
        if opening is None or opening.version != self._source.version:
            return self._tick_build(now, opening)
        free = self._budget.free_at(now, KEEP_PATCH)
        if free > now:
            return free
        self._is_picture_asked = self._is_waiting = False
        self._is_dirty = False
        self._is_refresh_asked = False
        self._is_progress_told = not self._progress  # a page that has just come knows of none
        if opening is not self._shown:
            self._epoch += 1
            self._shown = opening
        message, records, self._revision, self._run = picture_message(
            opening, self._source, epoch=self._epoch, version=self._version, now=self._wall()
        )
        self._tell(message, now)
        self._set_columns(records, opening)
        return self._begin_build(now, now) if opening.is_interim else None

    def _tick_build(self, now: float, last: Opening | None) -> float | None:
        """Have the present structure laid out elsewhere; the end of that wakes this feed."""
        soon = self._build_began + MERGE_S
        at = self._begin_build(now, soon if last is None or last.is_plain else max(soon, self._build_at))
        dues = [due for due in (at, self._stand_in(now)) if due is not None]
        return min(dues, default=None)

    def _begin_build(self, now: float, at: float) -> float | None:
        """Have it built from ``at`` on, unless it is being built."""
        if self._is_building or at > now:
            return None if self._is_building else at
        self._is_building = True
        self._build_began = now
        self._build(self._make_opening)
        return None

    def _stand_in(self, now: float) -> float | None:
        """A page that has just come shall not look at nothing, nor one that shows a stand-in at an old one."""
        if not self._is_waiting and not (self._shown is not None and self._shown.is_plain):
            return None
        due = max(self._opened_at, self._stood_in_at) + ARRANGING_S
        if due > now:
            return due
        self._stood_in_at = now
        self._openings.stand_in()
        return now

    def _make_opening(self) -> None:
        """On another thread."""
        try:
            took = self._openings.now().took
        except Exception:
            self._log_once("the graph could not be arranged")
            took = 1.0
            self._is_picture_asked = False  # else it would be tried for ever; the next change of structure asks again
        self._build_at = self._clock() + max(MERGE_S, RESTRUCTURE_FACTOR * (took + self._rest_took))
        self._is_building = False
        self._wake(self)

    def _set_columns(self, records: bytes, opening: Opening) -> None:
        """Send the records next, and the rest when another thread has made it."""
        columns = {"epoch": self._epoch, "revision": self._revision}
        self._records = deque(column_messages("records", zlib.compress(records), **columns))
        self._bulk.clear()
        self._pack(lambda: self._make_rest(opening))

    def _make_rest(self, opening: Opening) -> None:
        """On another thread."""
        began = self._clock()
        try:
            self._made.append((opening, opening.rest))
        except Exception:
            self._log_once("the names of the graph could not be packed")
        self._rest_took = self._clock() - began
        self._wake(self)

    def _tick_rest(self, now: float) -> None:
        columns = {"epoch": self._epoch, "revision": self._revision}
        while self._made:
            opening, rest = self._made.popleft()
            if opening is not self._shown:
                continue
            self._bulk = deque(column_messages("names", rest.names, **columns))
            self._bulk += column_messages("edges", rest.edges, **columns)
            if rest.groups:
                self._bulk += column_messages("groups", rest.groups, **columns)

    def _tick_records(self, now: float) -> float | None:
        """Records come before any patch: what they hold is older."""
        while self._records:
            free = self._budget.free_at(now, KEEP_PATCH)
            if free > now:
                return free
            self._tell(self._records.popleft(), now)
        return None

    def _tick_changes(self, now: float) -> float | None:
        if not self._is_dirty or self._records or self._shown is None:
            return None
        if self._is_still and not self._is_refresh_asked:
            return None
        is_grown = self._source.version != self._shown.version
        if self._is_picture_asked and (is_grown or not self._is_building):
            return None  # it brings all changes along
        if is_grown:
            self._is_picture_asked = True
            return now
        pace = HIDDEN_S if self.is_hidden else max(self._pace, BULK_S if self._bulk else 0.0)
        mark = self._told_at + pace
        is_urgent = bool(self._answers) or self._is_refresh_asked or (mark > now and self._is_urgent())
        free = self._budget.free_at(now, 0 if is_urgent else KEEP_PATCH)
        due = free if is_urgent else max(free, mark)
        if due > now:
            return due if is_urgent or self.is_hidden else min(due, now + GLANCE_S)
        self._send_changes(now)
        return None

    def _is_urgent(self) -> bool:
        """True if the run ended or failed for the first time since the page was last told."""
        known, run = self._run, self._source.run()
        if known is None:
            return True
        return (run.is_ended and not known.is_ended) or bool(run.counts[FAILED] and not known.counts[FAILED])

    def _send_changes(self, now: float) -> None:
        self._is_dirty = False
        self._is_refresh_asked = False
        patch = self._source.patch(self._revision)
        if self._shown is None or self._source.version != self._shown.version:
            self._is_dirty = True  # it may name nodes that no page knows yet: a picture has to come first
            self._wake(self)
            return
        if not patch.records and self._is_known(patch.run):
            return
        rate = len(patch) / max(now - self._told_at, MERGE_S)
        self._pace = MERGE_BUSY_S if rate > BUSY_RATE else MERGE_S
        records, encoding = patch.records, "raw"
        if len(records) > RAW_BYTES:
            records, encoding = zlib.compress(records, 1), "deflate"
        if len(records) > CHUNK_BYTES:
            patch = self._source.patch(0)
            self._revision, self._run = patch.revision, patch.run
            self._records = deque(
                column_messages("records", zlib.compress(patch.records), epoch=self._epoch, revision=patch.revision)
            )
            self._is_dirty = True
            self._run = None  # the records do not tell about the run: the patch after them does
            self._wake(self)
            return
        self._tell(self._patch_message(patch, records, encoding), now)
        self._revision, self._run = patch.revision, patch.run

    def _is_known(self, run: RunInfo) -> bool:
        known = self._run
        return known is not None and _shape(known) == _shape(run)

    def _patch_message(self, patch: Patch, records: bytes, encoding: Any) -> Message:
        head: PatchHead = {
            "type": "patch",
            "epoch": self._epoch,
            "since": patch.since,
            "revision": patch.revision,
            "encoding": encoding,
            "run": to_run(patch.run, self._wall()),
        }
        return head, [records]

    def _tick_answers(self, now: float) -> float | None:
        while self._answers:
            free = self._budget.free_at(now)
            if free > now:
                return free
            self._transmit((self._answers.popleft(), []), now)
        return None

    def _tick_log(self, now: float) -> float | None:
        """New lines of the log, after what is said about the graph."""
        free = self._budget.free_at(now, KEEP_LOG)
        if free > now:
            return free
        message, again = self.log.due(now)
        if message is not None:
            self._transmit((message, []), now)
        return again

    def _tick_bulk(self, now: float) -> float | None:
        while self._bulk and not self._records:
            free = self._budget.free_at(now, KEEP_BULK)
            if free > now:
                return free
            self._transmit(self._bulk.popleft(), now)
        while self._asked and not self._records:
            free = self._budget.free_at(now, KEEP_BULK)
            if free > now:
                return free
            self._transmit(self._asked.popleft(), now)
        return None

    def _tick_beat(self, now: float) -> float | None:
        run = self._run
        if self._shown is None or run is None or self._is_still or self.is_hidden:
            return None
        if isnan(run.started) or run.is_ended:
            return None
        has_moved = self._look_at_progress(now)
        if not has_moved and now < self._sent_at + HEARTBEAT_S:
            return min(self._sent_at + HEARTBEAT_S, self._looked_at + PROGRESS_S)
        free = self._budget.free_at(now)
        if free > now:
            return free
        self._is_progress_told = True
        beat: Beat = {
            "type": "beat",
            "epoch": self._epoch,
            "revision": self._revision,
            "progress": [number for pair in self._progress.items() for number in pair],
        }
        self._transmit((beat, []), now)
        return now + PROGRESS_S

    def _look_at_progress(self, now: float) -> bool:
        """True if running nodes are further than the page was told. Nothing tells of that but a look."""
        if now >= self._looked_at + PROGRESS_S:
            self._looked_at = now
            try:
                far = sorted(self._source.progress().items())[:MOST_PROGRESS]
            except Exception:  # the numbers are the user's
                self._log_once("the progress of running nodes could not be read")
                far = []
            known, self._progress = self._progress, {node: int(100 * share) for node, share in far}
            self._is_progress_told = self._is_progress_told and known == self._progress
        return not self._is_progress_told

    def _tell(self, message: Message, now: float) -> None:
        """Send something about the state: merging counts from here."""
        self._told_at = now
        self._transmit(message, now)

    def _transmit(self, message: Message, now: float) -> None:
        self._sent_at = now
        self._budget.spend(now)
        content, buffers = message
        try:
            self._send(content, buffers)
        except Exception:
            self._log_once("a message to the page could not be sent")

    def _log_once(self, text: str) -> None:
        if not self._has_logged:
            self._has_logged = True
            _log.exception(text)


def _shape(run: RunInfo) -> tuple[Any, ...]:
    """What a page cannot work out from records; NaN is made comparable."""
    times = str(run.started), str(run.ended), str(run.stale_since), str(run.pace)
    return run.status, run.is_ended, run.slots, run.can_stop, *times
