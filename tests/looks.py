"""Whether a screen looks as it did: pictures reduced to blocks, beside those kept in ``tests/browser/looks/``.

A picture is reduced to one colour for each 16 × 16 pixels, the two are blurred by a block, and what counts is how many
blocks have another colour. A card, a bar, a panel, a line of text or a status that is gone, or that has another colour,
is seen; a pixel here and there is not. Where the machine has the letters of the kept pictures, the comparison is
`STRICT`; elsewhere text of another width moves what stands beside it, and it is `LENIENT`. `tests/test_looks.py` holds
both lines: what is another screen is told apart, each from each.

``make looks`` renews what is kept, where it has changed, and `LETTERS`; look at it, and commit it with the change.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

FOLDER = Path(__file__).resolve().parent / "browser" / "looks"
LETTERS = FOLDER / "letters.txt"
"""How wide the page's own font is, on the machine where the pictures were made."""
IS_RENEWING = os.environ.get("TILEDAG_RENEW_LOOKS") == "1"
BLOCK = 16
MOST_STRETCH = 0.08
"""How much higher a screen may be, as other fonts make it."""


@dataclass(frozen=True)
class Tolerance:
    """Of all blocks at most ``share`` may be further off than ``far``, of 255, in any channel."""

    far: int
    share: float


STRICT = Tolerance(8, 0.01)
LENIENT = Tolerance(20, 0.02)


def reduced(picture: bytes) -> Image.Image:
    """One pixel for each block."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    size = (max(1, round(image.width / BLOCK)), max(1, round(image.height / BLOCK)))
    return image.resize(size, Image.Resampling.BOX)


def share_of_change(one: Image.Image, other: Image.Image, far: int = STRICT.far) -> float:
    """The share of blocks that are further off than ``far``; 1 where the sizes say that it is another screen."""
    if one.width != other.width or abs(one.height - other.height) > max(1, MOST_STRETCH * other.height):
        return 1.0
    if one.size != other.size:
        one = one.resize(other.size, Image.Resampling.BILINEAR)
    blurred = [each.filter(ImageFilter.BoxBlur(1)) for each in (one, other)]
    changed = ImageChops.difference(*blurred).split()
    furthest = ImageChops.lighter(ImageChops.lighter(changed[0], changed[1]), changed[2])
    return sum(furthest.histogram()[far + 1 :]) / (other.width * other.height)


def kept(name: str) -> Image.Image:
    return Image.open(FOLDER / f"{name}.png").convert("RGB")


def assert_as_before(picture: bytes, name: str, letters: float) -> None:
    """The screen looks like the one that is kept under ``name``; with ``TILEDAG_RENEW_LOOKS=1`` it is kept from now on.

    Args:
        picture: PNG.
        name: Of the screen and its mode.
        letters: How wide the page's own font is: see `LETTERS`.

    Raises:
        AssertionError: It does not, or none is kept.
    """
    now = reduced(picture)
    path = FOLDER / f"{name}.png"
    if IS_RENEWING:
        path.parent.mkdir(exist_ok=True)
        LETTERS.write_text(f"{letters:.2f}\n")
        if not path.exists() or share_of_change(now, kept(name)) > STRICT.share / 4:
            now.save(path, optimize=True)
        return
    assert path.exists(), f"no picture of {name} is kept; `make looks` takes one"
    are_same = LETTERS.exists() and LETTERS.read_text().strip() == f"{letters:.2f}"
    tolerance = STRICT if are_same else LENIENT
    share = share_of_change(now, kept(name), tolerance.far)
    assert share <= tolerance.share, (
        f"{name}: {share:.1%} of the screen has another colour than {path.name} shows, {tolerance.share:.0%} may; "
        "if it is meant to, `make looks` keeps the new one"
    )
