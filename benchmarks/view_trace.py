"""What one more picture costs the page, from Chromium's own trace of its main thread.

The probe of `benchmarks.view` looks at every frame, and leaves a mark for each picture that shows something new. A
picture's cost is what the main thread did since the picture before: scripts (the comm's message, the model, the
drawing, the one-pixel read that waits for the canvas), style, layout, paint. Left out are what the probe itself took
to look, which is in its mark, and for each frame in between what the median frame costs in which nothing new is shown:
without the probe there would be none. Raster of SVG and of text happens on other threads and is not charged, which
favours the views that draw in SVG.

Each cost is given twice: by the clock, and by the processor time of the thread, which says what is left where other
programs take the processor away in between, and leaves out the waiting for other threads.
"""

from __future__ import annotations

import json
import statistics
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

MARK: Final = "bench-picture "
IDLE: Final = "bench-idle"
CATEGORIES: Final = ["disabled-by-default-devtools.timeline", "blink.user_timing"]


def picture_costs(trace: bytes) -> list[tuple[float, float]]:
    """Milliseconds of the main thread for each picture but the first, by the clock and of the processor. The trace
    begins with idle frames."""
    events: Sequence[dict[str, Any]] = json.loads(trace)["traceEvents"]
    return list(zip(_costs(events, "dur"), _costs(events, "tdur"), strict=True))


def _costs(events: Sequence[dict[str, Any]], measure: str) -> list[float]:
    marks = [each for each in events if each.get("ph", "") in "IiRn" and each.get("name", "").startswith("bench-")]
    pictures = sorted((each["ts"], float(each["name"][len(MARK) :])) for each in marks if each["name"] != IDLE)
    if not pictures:
        return []
    thread = marks[0]["pid"], marks[0]["tid"]
    tasks = sorted(
        (each["ts"] + each.get("dur", 0), each.get(measure, each.get("dur", 0)) / 1000)
        for each in events
        if each.get("name") == "RunTask" and each.get("ph") == "X" and (each["pid"], each["tid"]) == thread
    )
    ends, costs = [end for end, _ in tasks], [cost for _, cost in tasks]
    # A mark lies inside a task, which is the last one of its picture; the trace may stop within one.
    idle = sorted(bisect_left(ends, each["ts"]) for each in marks if each["name"] == IDLE and each["ts"] <= ends[-1])
    pictures = [each for each in pictures if each[0] <= ends[-1]]
    cuts = [bisect_left(ends, when) for when, _ in pictures]
    usual = statistics.median(costs[task] for task in idle) if idle else 0.0
    for task in idle:
        costs[task] = max(0.0, costs[task] - usual)
    found = []
    for number in range(1, len(pictures)):
        spent = sum(costs[cuts[number - 1] + 1 : cuts[number] + 1])
        found.append(max(0.0, spent - pictures[number][1]))
    return found
