"""What the pictures in ``tests/browser/looks/`` are worth: each screen is told from each other, fonts are not."""

from __future__ import annotations

from io import BytesIO
from itertools import combinations

import pytest
from PIL import Image, ImageDraw

from tests.looks import FOLDER, LENIENT, STRICT, Tolerance, kept, reduced, share_of_change

NAMES = sorted(path.stem for path in FOLDER.glob("*.png"))
MOST_BYTES = 400_000
# The same four stacks; only their numbers differ.
ALIKE = {("graph-1000", "graph-10000"), ("graph-1000", "graph-100000"), ("graph-10000", "graph-100000")}


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_screens_are_told_from_one_another(mode: str) -> None:
    """Pictures so coarse, or so tolerant, that any screen passes for any other, would never fail."""
    names = [name.removesuffix(f"-{mode}") for name in NAMES if name.endswith(f"-{mode}")]
    pictures = {name: kept(f"{name}-{mode}") for name in names}
    alike = {
        (one, other)
        for one, other in combinations(names, 2)
        if share_of_change(pictures[one], pictures[other]) <= STRICT.share
    }

    assert len(names) > 40
    assert alike <= ALIKE


def test_every_screen_is_kept_light_and_dark_and_all_of_them_weigh_little() -> None:
    """A clone would carry megabytes, or one theme would go unwatched."""
    assert {name.removesuffix("-light") for name in NAMES if name.endswith("-light")} == {
        name.removesuffix("-dark") for name in NAMES if name.endswith("-dark")
    }
    assert sum(path.stat().st_size for path in FOLDER.glob("*.png")) <= MOST_BYTES


def cards(colour: str, dx: int = 0, words: int = 0) -> bytes:
    image = Image.new("RGB", (1300, 500), "#ffffff")
    draw = ImageDraw.Draw(image)
    for y in (40, 200, 360):
        draw.rectangle((500 + dx, y, 676 + dx, y + 58), fill=colour)
    for line in range(words):  # strokes of about the weight of text
        for x in range(60 + line % 2, 400, 3):
            draw.line((x, 40 + 20 * line, x, 50 + 20 * line), fill="#333333")
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (cards("#a92e1e"), cards("#a92e1e"), True),
        (cards("#a92e1e"), cards("#a92e1e", dx=2), True),
        (cards("#a92e1e", words=8), cards("#a92e1e", dx=2, words=8), True),
        (cards("#a92e1e"), cards("#139b75"), False),
        (cards("#a92e1e"), cards("#ffffff"), False),
        (cards("#a92e1e"), cards("#a92e1e", dx=120), False),
        (cards("#a92e1e"), cards("#a92e1e", words=8), False),
    ],
    ids=["the same", "two pixels on", "text two pixels on", "another colour", "gone", "elsewhere", "text appears"],
)
@pytest.mark.parametrize("tolerance", [STRICT, LENIENT], ids=["strict", "lenient"])
def test_three_cards_of_another_colour_are_a_change_and_two_pixels_are_none(
    one: bytes, other: bytes, is_same: bool, tolerance: Tolerance
) -> None:
    """A status that is drawn in another colour would pass, or another machine's letters would fail."""
    assert (share_of_change(reduced(one), reduced(other), tolerance.far) <= tolerance.share) == is_same
