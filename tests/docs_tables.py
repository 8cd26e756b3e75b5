"""The section *Statuses* of ``docs/how_it_works.md``, made from the transition table.

    python -m tests.docs_tables

writes it anew; a test fails when it is out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tiledag_widget.core.states import (
    IGNORED,
    PARENT_TURNED_BAD,
    PARENTS_FINE_AGAIN,
    RETRY_COMPLETED,
    TABLE,
    Status,
)

PAGE: Final = Path(__file__).parent.parent / "docs" / "how_it_works.md"
BEGIN: Final = "<!-- begin: made from core/states.py by `python -m tests.docs_tables`, not by hand -->\n"
END: Final = "<!-- end -->\n"
WORDS: Final = {PARENT_TURNED_BAD: "a parent turned bad", PARENTS_FINE_AGAIN: "no parent is bad any more"}


def node_of(status: int) -> str:
    """Name of a status in the diagram."""
    return str(Status(status)).replace(" ", "")


def section() -> str:
    """The diagram, then the table with every pair of event and status."""
    return "\n".join([*_diagram(), "", *_grid(), ""])


def with_section(page: str) -> str:
    """The page with its generated part made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + section() + END + tail


def _diagram() -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    for status in Status:
        yield f"    {node_of(status.value)}: {status}"
    yield f"    [*] --> {node_of(Status.NOT_STARTED.value)}"
    causes: dict[tuple[int, int], list[str]] = {}
    for (event, status_code), after in TABLE.items():
        if after not in (IGNORED, status_code):
            causes.setdefault((status_code, after), []).append(WORDS.get(event, event))
    causes.setdefault((Status.COMPLETED.value, RETRY_COMPLETED), []).append("Retry with descendants")
    causes.setdefault((Status.CANCELLED.value, Status.PARENT_FAILED.value), []).append("Retry below a bad parent")
    for (before, after), events in causes.items():
        yield f"    {node_of(before)} --> {node_of(after)}: {', '.join(events)}"
    yield "```"


def _grid() -> Iterator[str]:
    yield "| | " + " | ".join(map(str, Status)) + " |"
    yield "|---" * (len(Status) + 1) + "|"
    for event in dict.fromkeys(event for event, _ in TABLE):
        yield f"| {WORDS.get(event, event)} | " + " | ".join(_cell(event, status) for status in Status) + " |"


def _cell(event: str, status: Status) -> str:
    after = TABLE.get((event, status.value))
    if after is None:
        return "–"
    if event == "Retry" and status is Status.COMPLETED:
        return f"no effect; with descendants: {Status(RETRY_COMPLETED)}"
    return "no effect" if after == IGNORED else str(Status(after))


if __name__ == "__main__":
    PAGE.write_text(with_section(PAGE.read_text()))
