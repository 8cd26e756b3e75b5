"""How long a run still takes, as an honest range: what is left is played through on the slots there are, by what nodes
of the same function took.

``js/src/model/left.ts`` does the same for the page, and ``tests/timing`` holds the vectors that both are tested with.
The words of both are those of ``summary`` in ``words.json``.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..core.snapshot import Columns, RunInfo, Structure
from ..core.states import COMPLETED, NOT_STARTED, RUNNING
from .palette import words

MIN_FINISHED: Final = 5
HIDE_UNDER_S: Final = 5
MOST_UNMEASURED: Final = 0.2
"""Of what is left, the share that may belong to functions of which none has ended yet."""
MOST_SIMULATED: Final = 5_000
"""Above this many nodes bounds have to do: playing them through would take longer than a redraw of the line."""


@dataclass(frozen=True, slots=True)
class Work:
    """A graph as the estimate needs it; times in seconds on any one clock."""

    group: Sequence[int]
    status: bytes
    started: Sequence[float]
    ended: Sequence[float]
    parents: Callable[[int], Sequence[int]]
    now: float
    slots: int


def left(work: Work, most_simulated: int = MOST_SIMULATED) -> tuple[float, float] | None:
    """Seconds that the run still needs, at least and at most, or None where nothing sensible can be said."""
    guesses = _estimates(work)
    if guesses is None:
        return None
    known, most_known = guesses
    low: dict[int, float] = {}
    high: dict[int, float] = {}
    unmeasured = 0
    for node, status in enumerate(work.status):
        if status not in (NOT_STARTED, RUNNING):
            continue
        least, most = known.get(work.group[node], (math.nan, math.nan))
        if math.isnan(least):
            unmeasured += 1
            least, most = 0.0, most_known
        if status == RUNNING:
            spent = work.now - work.started[node]
            spent = 0.0 if math.isnan(spent) else max(0.0, spent)
            least = max(0.0, least - spent)
            most = most - spent if spent < most else most / 2
        low[node], high[node] = least, most
    if unmeasured > MOST_UNMEASURED * len(low):
        return None
    if len(low) <= most_simulated:
        least, most = _simulate(work, low), _simulate(work, high)
    else:
        least, most = _bound(work, low, is_upper=False), _bound(work, high, is_upper=True)
    return least, max(most, 1.1 * least)


def _estimates(work: Work) -> tuple[dict[int, tuple[float, float]], float] | None:
    """Low and high seconds of a node by group, and the highest of all."""
    took: dict[int, list[float]] = {}
    for node, status in enumerate(work.status):
        if status == COMPLETED and work.ended[node] >= work.started[node]:
            took.setdefault(work.group[node], []).append(work.ended[node] - work.started[node])
    if sum(map(len, took.values())) < MIN_FINISHED:
        return None
    known = {group: _summary(seconds) for group, seconds in took.items()}
    return known, max(high for _, high in known.values())


def _summary(seconds: list[float]) -> tuple[float, float]:
    """Median and mean, whichever is less or more, by the error of the mean."""
    seconds.sort()
    count = len(seconds)
    median = (seconds[(count - 1) >> 1] + seconds[count >> 1]) / 2
    mean = sum(seconds) / count
    error = math.sqrt(sum((each - mean) ** 2 for each in seconds) / count / count)
    return max(median / 2, min(median, mean) - error), max(median, mean) + error


def _simulate(work: Work, seconds: dict[int, float]) -> float:
    """The end of the last node: ready ones begin in their order as slots come free."""
    status = work.status
    children: dict[int, list[int]] = {}
    unmet: dict[int, int] = {}
    queue: deque[int] = deque()
    running: list[tuple[float, int]] = []
    for node, took in seconds.items():
        if status[node] == RUNNING:
            running.append((took, node))
            continue
        waits = [parent for parent in work.parents(node) if status[parent] != COMPLETED]
        for parent in waits:
            children.setdefault(parent, []).append(node)
        unmet[node] = len(waits)
        if not waits:
            queue.append(node)
    heapq.heapify(running)
    now = 0.0
    while True:
        while queue and len(running) < work.slots:
            node = queue.popleft()
            heapq.heappush(running, (now + seconds[node], node))
        if not running:
            return now
        end, node = heapq.heappop(running)
        now = max(now, end)
        for child in children.get(node, ()):
            unmet[child] -= 1
            if not unmet[child]:
                queue.append(child)


def _bound(work: Work, seconds: dict[int, float], *, is_upper: bool) -> float:
    """At least the work over the slots and the longest chain, at most both together."""
    total = sum(seconds.values())
    chain, depth = 0.0, dict.fromkeys(seconds, -1.0)
    for node in seconds:
        stack = [node]
        while stack:
            last = stack[-1]
            if depth[last] >= 0:
                stack.pop()
                continue
            above = [parent for parent in work.parents(last) if parent in seconds]
            unknown = [parent for parent in above if depth[parent] < 0]
            if unknown:
                stack += unknown
                continue
            depth[last] = max((depth[parent] for parent in above), default=0.0) + seconds[last]
            chain = max(chain, depth[last])
            stack.pop()
    share = total / work.slots
    return share + chain if is_upper else max(share, chain)


def time_left(structure: Structure, columns: Columns, run: RunInfo, now: float) -> str:
    """“about 1–2 min left” and the like; empty where it is not worth saying."""
    slots = max(1, run.slots or run.counts[RUNNING])
    total = len(structure)
    work = Work(
        structure.groups, columns.status[:total], columns.started, columns.ended, structure.parents_of, now, slots
    )
    return words_of(left(work))


def words_of(seconds: tuple[float, float] | None) -> str:
    """The range in words.

    >>> words_of((61, 118)), words_of((12, 14)), words_of((1, 3)), words_of(None)
    ('about 1–2 min left', 'about 10–15 s left', '', 'time left unknown')
    """
    if seconds is None:
        return words("summary", "left_unknown")
    if seconds[1] < HIDE_UNDER_S:
        return ""
    _, unit, step, key = next(each for each in _UNITS if seconds[1] < each[0] or each[0] == math.inf)
    high = math.ceil(seconds[1] / unit / step) * step
    low = min(high, max(step, math.floor(seconds[0] / unit / step + 0.5) * step))
    if low == high:
        return words("summary", f"left_{key}", n=high)
    return words("summary", f"left_{key}_range", low=low, high=high)


_UNITS: Final = ((55, 1, 5, "s"), (5_400, 60, 1, "min"), (math.inf, 3_600, 1, "h"))
