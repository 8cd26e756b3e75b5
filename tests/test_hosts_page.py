"""The table of ``docs/hosts.md``: every cell says what was done, and every test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "hosts.md").read_text()
SAID = re.compile(r"tested( at widget-manager level)?( \[\w\])+|not checked|has none")


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_cell_says_whether_it_was_tested() -> None:
    """A table of wishes would send somebody into a host where nothing works."""
    head, *hosts = rows()

    assert head[1:] == ["live updates", "clicks while a cell blocks", "reload", "full screen", "static form"]
    assert len(hosts) >= 8
    for host, *cells in hosts:
        assert len(cells) == 5, host
        assert [cell for cell in cells if not SAID.fullmatch(cell)] == [], host


def test_every_test_that_is_named_is_there() -> None:
    """A letter without its test, or a test that was renamed: nobody would notice that nothing is tested any more."""
    named = dict(re.findall(r"^- \[(\w)\] `([^`]+)`", PAGE, re.MULTILINE))
    used = set(re.findall(r"\[(\w)\]", "".join("".join(row) for row in rows())))

    assert used == named.keys()
    for address in [*named.values(), *re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE)]:
        path, _, name = address.partition("::")
        assert f"\ndef {name}(" in (ROOT / path).read_text(), address
