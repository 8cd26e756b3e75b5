"""The pictures of README and docs: each page shows what is there, in both themes, and nothing weighs too much."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(
    r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img alt="(?P<alt>[^"]+)" src="(?P<light>[^"]+)">\s*</picture>'
)
MOST_BYTES = 100_000
MOST_BYTES_IN_ALL = 2_000_000


def shown(page: Path) -> list[re.Match[str]]:
    return list(SHOWN.finditer(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_picture_of_a_page_is_there_in_both_themes_and_told_in_words(page: Path) -> None:
    """A broken picture on the front page, a white one on a dark page, or nothing for who cannot see it."""
    pictures = shown(page)

    assert page.read_text().count("<img") == len(pictures), "a picture that is not shown in both themes"
    for each in pictures:
        light, dark = page.parent / each["light"], page.parent / each["dark"]
        assert light.is_file()
        assert dark.is_file()
        assert (light.stem, dark.stem) == (f"{light.stem.removesuffix('-light')}-light", dark.stem)
        assert light.stem.removesuffix("-light") == dark.stem.removesuffix("-dark")
        assert len(each["alt"].split()) >= 5


def test_every_picture_is_shown_somewhere_and_is_light() -> None:
    """A clone would carry megabytes that nobody sees."""
    used = {
        (page.parent / each[kind]).resolve() for page in PAGES for each in shown(page) for kind in ("light", "dark")
    }
    there = {path.resolve(): path.stat().st_size for path in FOLDER.glob("*.png")}

    assert there.keys() == used
    assert {path.name: size for path, size in there.items() if size > MOST_BYTES} == {}
    assert sum(there.values()) <= MOST_BYTES_IN_ALL


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_project_leads_somewhere(page: Path) -> None:
    """A reader would end on a page that is not there."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)", page.read_text())

    assert [link for link in links if not (page.parent / link).exists()] == []
