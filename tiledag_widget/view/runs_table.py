"""Runs on record as rows: what a person asks for, what is found, and the static forms of it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from math import isnan, nan
from typing import Any, Final

MOST_PER_PAGE: Final = 100
GLYPHS: Final = {1: "○", 2: "▶", 3: "✓", 4: "✕", 5: "⊘", 6: "⤓"}


@dataclass(frozen=True, slots=True)
class Query:
    """What the list shows. ``status`` is a log's, in lower case; ``hours`` is how far back, 0 for all."""

    namespace: str | None = None
    created_by: str | None = None
    search: str | None = None
    status: str | None = None
    hours: float = 0.0
    start_time: datetime | None = None
    end_time: datetime | None = None
    page: int = 1
    per_page: int = 10

    @staticmethod
    def of(asked: Mapping[str, Any], before: Query | None = None) -> Query:
        """What a page asks; anything odd in it counts as not asked. What it does not speak of is as it was before."""
        before = before or Query()

        def text(name: str) -> str | None:
            value = asked.get(name, getattr(before, name))
            return value.strip()[:200] or None if isinstance(value, str) else None

        def whole(name: str, most: int) -> int:
            value = asked.get(name)
            return min(max(value, 1), most) if type(value) is int else getattr(before, name)

        hours = asked.get("hours", before.hours)
        return Query(
            namespace=text("namespace"),
            created_by=text("created_by"),
            search=text("search"),
            status=text("status"),
            hours=float(hours) if isinstance(hours, (int, float)) and 0 < hours < 1e6 else 0.0,
            start_time=before.start_time,
            end_time=before.end_time,
            page=whole("page", 1_000_000),
            per_page=whole("per_page", MOST_PER_PAGE),
        )

    def to_message(self) -> dict[str, Any]:
        """As a page fills its fields with it."""
        return {
            "search": self.search or "",
            "created_by": self.created_by or "",
            "status": self.status or "",
            "hours": self.hours,
            "page": self.page,
        }

    def since(self) -> datetime | None:
        """The earliest start."""
        return datetime.now(timezone.utc) - timedelta(hours=self.hours) if self.hours else self.start_time


@dataclass(frozen=True, slots=True)
class Row:
    """One run; times are Unix times, NaN for not known. ``is_here`` says that its graph lives in this kernel."""

    uuid: str
    namespace: str
    name: str
    created_by: str
    status: int
    word: str
    started: float = nan
    ended: float = nan
    kind: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    is_here: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows, ``total`` in all. ``is_whole`` is False while runs of this process wait to be put on record."""

    rows: Sequence[Row]
    page: int
    per_page: int
    total: int
    is_whole: bool = True

    def to_message(self) -> dict[str, Any]:
        """As a page reads it."""
        rows = [{**asdict(row), "started": _known(row.started), "ended": _known(row.ended)} for row in self.rows]
        found = {"rows": rows, "page": self.page, "per_page": self.per_page, "total": self.total}
        return {**found, "is_whole": self.is_whole}


def _known(time: float) -> float | None:
    return None if isnan(time) else time


def unix_time(text: str | None) -> float:
    """Of an ISO 8601 text, NaN for none."""
    if not text:
        return nan
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return nan
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


def took(row: Row) -> str:
    """How long, in words."""
    if isnan(row.started) or isnan(row.ended):
        return ""
    seconds = max(row.ended - row.started, 0.0)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _when(time: float) -> str:
    return "" if isnan(time) else datetime.fromtimestamp(time, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _cells(row: Row) -> tuple[str, ...]:
    return f"{GLYPHS[row.status]} {row.word}", row.name, row.created_by, _when(row.started), took(row), row.uuid


_HEADS: Final = ("Status", "Name", "User", "Started", "Took", "Id")


def _caption(found: Found) -> str:
    if not found.rows:
        return "No run on record fits." if found.total == 0 else f"No run on page {found.page}."
    first = (found.page - 1) * found.per_page + 1
    return f"Runs {first:,} to {first + len(found.rows) - 1:,} of {found.total:,}"


def runs_text(found: Found) -> str:
    """The rows as aligned text."""
    table = [_HEADS, *map(_cells, found.rows)]
    widths = [min(max(len(row[at]) for row in table), 40) for at in range(len(_HEADS))]
    lines = [
        "  ".join(cell[:40].ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    ]
    return "\n".join([_caption(found), *(lines if found.rows else [])])


def runs_html(found: Found) -> str:
    """The rows as a table without style or script."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(line(_cells(row), "td") for row in found.rows)
    head = f"<thead>{line(_HEADS, 'th')}</thead><tbody>{rows}</tbody>" if found.rows else ""
    return f"<div><p><strong>{_caption(found)}</strong></p><table>{head}</table></div>"


__all__ = ["Found", "Query", "Row", "runs_html", "runs_text", "took", "unix_time"]
