"""Whether a screen looks as it did: pictures reduced to blocks, beside those kept in ``tests/browser/looks/``.

Letters differ from machine to machine, and so does everything by a pixel or two. So a picture is reduced to one colour
for each 16 × 16 pixels, the two are blurred by a block, and what counts is how many blocks have another colour. Text in
another font is nearly the same grey; a card, a bar, a panel or a status that is gone, or that has another colour, is
not. `tests/test_looks.py` holds the line between the two: what is another screen is told apart, each from each.

``make looks`` renews what is kept, where it has changed; look at it, and commit it with the change.
"""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

FOLDER = Path(__file__).resolve().parent / "browser" / "looks"
BLOCK = 16
FAR = 20
"""How far a channel of a block may be off (of 255)."""
MOST_SHARE = 0.02
"""How many of the blocks may be further off."""
MOST_STRETCH = 0.08
"""How much higher or wider the screen may be, as other fonts make it."""


def reduced(picture: bytes) -> Image.Image:
    """One pixel for each block."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    size = (max(1, round(image.width / BLOCK)), max(1, round(image.height / BLOCK)))
    return image.resize(size, Image.Resampling.BOX)


def share_of_change(one: Image.Image, other: Image.Image) -> float:
    """The share of blocks that have another colour; 1 where the sizes say that it is another screen."""
    stretch = max(abs(1 - one.width / other.width), abs(1 - one.height / other.height))
    if stretch > MOST_STRETCH and abs(one.height - other.height) > 1:
        return 1.0
    if one.size != other.size:
        one = one.resize(other.size, Image.Resampling.BILINEAR)
    blurred = [each.filter(ImageFilter.BoxBlur(1)) for each in (one, other)]
    changed = ImageChops.difference(*blurred)
    furthest = ImageChops.lighter(ImageChops.lighter(*changed.split()[:2]), changed.split()[2])
    return sum(furthest.histogram()[FAR + 1 :]) / (other.width * other.height)


def kept(name: str) -> Image.Image:
    return Image.open(FOLDER / f"{name}.png").convert("RGB")


def assert_as_before(picture: bytes, name: str) -> None:
    """The screen looks like the one that is kept under ``name``; with ``TILEDAG_RENEW_LOOKS=1`` it is kept from now on.

    Raises:
        AssertionError: It does not, or none is kept.
    """
    now = reduced(picture)
    path = FOLDER / f"{name}.png"
    if os.environ.get("TILEDAG_RENEW_LOOKS") == "1":
        if not path.exists() or share_of_change(now, kept(name)) > MOST_SHARE / 4:
            path.parent.mkdir(exist_ok=True)
            now.save(path, optimize=True)
        return
    assert path.exists(), f"no picture of {name} is kept; `make looks` takes one"
    share = share_of_change(now, kept(name))
    assert share <= MOST_SHARE, (
        f"{name}: {share:.1%} of the screen has another colour than {path.name} shows, {MOST_SHARE:.0%} may; "
        "if it is meant to, `make looks` keeps the new one"
    )
