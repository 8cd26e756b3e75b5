"""The two tables of the view as Python values: colours and glyphs from ``palette.json``, texts from ``words.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from ..core.states import Status

Theme = Literal["light", "dark"]

_HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Look:
    """How one status is drawn; ``mark``, ``ink`` and ``word`` are colours by theme."""

    status: Status
    glyph: str
    ascii: str
    stroke: str
    fill: str
    mark: dict[str, str]
    ink: dict[str, str]
    word: dict[str, str]
    line: str
    width: float
    band: int
    filled: bool
    hatch: bool
    strike: bool


@lru_cache(maxsize=1)
def palette() -> dict[str, Any]:
    """The whole of ``palette.json``."""
    loaded: dict[str, Any] = json.loads((_HERE / "palette.json").read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def looks() -> dict[Status, Look]:
    """The look of each status."""
    table: dict[Status, Look] = {}
    for name, entry in palette()["statuses"].items():
        border = entry["border"]
        by_theme = {
            part: {theme: entry[theme][part] for theme in ("light", "dark")} for part in ("mark", "ink", "word")
        }
        table[Status[name]] = Look(
            Status[name],
            entry["glyph"],
            entry["ascii"],
            entry["stroke"],
            entry["fill"],
            by_theme["mark"],
            by_theme["ink"],
            by_theme["word"],
            border["line"],
            border["width"],
            border["band"],
            border["filled"],
            border["hatch"],
            border["strike"],
        )
    return table


def accents(theme: Theme) -> dict[str, str]:
    """Colours beside those of the statuses: edges, focus, texts, backgrounds."""
    found: dict[str, str] = palette()["accents"][theme]
    return found


@lru_cache(maxsize=1)
def urgency() -> tuple[Status, ...]:
    """The order of lists: what needs a person first."""
    return tuple(Status[name] for name in palette()["orders"]["urgency"])


@lru_cache(maxsize=1)
def bar_order() -> tuple[Status, ...]:
    """The order of the segments of a bar, left to right."""
    return tuple(Status[name] for name in palette()["orders"]["bar"])


@lru_cache(maxsize=1)
def _all_words() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads((_HERE / "words.json").read_text(encoding="utf-8"))
    return found


def say(key: str, **values: object) -> str:
    """The text ``key`` of the section "static" in ``words.json``, with its places filled in."""
    return words("static", key, **values)


def words(section: str, key: str, **values: object) -> str:
    """The text ``key`` of a section of ``words.json``, which the page reads too, with its places filled in."""
    return _all_words()[section][key].format(**values)
