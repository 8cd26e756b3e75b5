"""What the pictures in ``tests/browser/looks/`` are worth: each screen is told from each other, fonts are not."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations

import pytest
from PIL import Image, ImageDraw

from tests.looks import FOLDER, MOST_SHARE, kept, reduced, share_of_change

NAMES = sorted(path.stem for path in FOLDER.glob("*.png"))
MOST_BYTES = 600_000


@pytest.mark.slow
def test_screens_are_told_from_one_another() -> None:
    """Pictures so coarse, or so tolerant, that any screen passes for any other, would never fail."""
    pictures = {name: kept(name) for name in NAMES}
    alike = [
        (one, other)
        for one, other in combinations(NAMES, 2)
        if share_of_change(pictures[one], pictures[other]) <= MOST_SHARE
    ]

    assert len(NAMES) > 50
    assert alike == []


def test_every_screen_is_kept_light_and_dark_and_all_of_them_weigh_little() -> None:
    """A clone would carry megabytes, or one theme would go unwatched."""
    assert {name.removesuffix("-light") for name in NAMES if name.endswith("-light")} == {
        name.removesuffix("-dark") for name in NAMES if name.endswith("-dark")
    }
    assert sum(path.stat().st_size for path in FOLDER.glob("*.png")) <= MOST_BYTES


def card(colour: str, dx: int = 0, words: int = 0) -> bytes:
    image = Image.new("RGB", (1300, 500), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.rectangle((500 + dx, 200, 676 + dx, 258), fill=colour)
    for line in range(words):  # strokes of about the weight of text
        for x in range(60 + line % 2, 400, 3):
            draw.line((x, 40 + 20 * line, x, 50 + 20 * line), fill="#333333")
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (card("#a92e1e"), card("#a92e1e"), True),
        (card("#a92e1e"), card("#a92e1e", dx=2), True),
        (card("#a92e1e", words=8), card("#a92e1e", dx=2, words=8), True),
        (card("#a92e1e"), card("#139b75"), False),
        (card("#a92e1e"), card("#ffffff"), False),
        (card("#a92e1e"), card("#a92e1e", dx=120), False),
        (card("#a92e1e"), card("#a92e1e", words=8), False),
    ],
    ids=["the same", "two pixels on", "text two pixels on", "another colour", "gone", "elsewhere", "text appears"],
)
def test_a_card_of_another_colour_is_a_change_and_two_pixels_are_none(one: bytes, other: bytes, is_same: bool) -> None:
    """A status that is drawn in another colour would pass, or another machine's letters would fail."""
    assert (share_of_change(reduced(one), reduced(other)) <= MOST_SHARE) == is_same
