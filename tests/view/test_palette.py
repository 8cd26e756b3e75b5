"""The table of colours, recomputed: contrasts by WCAG 2, differences by CIEDE2000 for four kinds of sight."""

from __future__ import annotations

import re
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

import pytest

from tiledag_widget.core.states import Status
from tiledag_widget.view.palette import accents, bar_order, looks, palette, say, urgency

BACKGROUNDS = {
    "light": ["#ffffff", "#fafafa", "#f5f5f5", "#eeeeee"],
    "dark": ["#111111", "#1e1e1e", "#212121", "#2a2a2a"],
}
LEAST_DIFFERENCE = {"light": 16.0, "dark": 18.4}
# Dichromacy on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
SIGHTS = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
Triple = tuple[float, float, float]


def linear(colour: str) -> Triple:
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values)
    return r, g, b


def contrast(first: str, second: str) -> float:
    lights = []
    for colour in (first, second):
        r, g, b = linear(colour)
        lights.append(0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05)
    return max(lights) / min(lights)


def seen(colour: str, sight: str) -> Triple:
    source = linear(colour)
    r, g, b = (min(1.0, max(0.0, sum(w * v for w, v in zip(row, source, strict=True)))) for row in SIGHTS[sight])
    return r, g, b


def lab(rgb: Triple) -> Triple:
    r, g, b = rgb
    x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883
    f, g_, h = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in (x, y, z))
    return 116 * g_ - 16, 500 * (f - g_), 200 * (g_ - h)


def difference(one: Triple, two: Triple) -> float:
    """CIEDE2000, as in Sharma, Wu and Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    mean = (hypot(a1, b1) + hypot(a2, b2)) / 2
    g = 0.5 * (1 - sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = hypot(a1, b1), hypot(a2, b2)
    h1, h2 = (degrees(atan2(b, a)) % 360 if a or b else 0.0 for a, b in ((a1, b1), (a2, b2)))
    turn = 0.0 if not c1 * c2 else (h2 - h1 + 180) % 360 - 180
    dl, dc, dh = l2 - l1, c2 - c1, 2 * sqrt(c1 * c2) * sin(radians(turn / 2))
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    hm = h1 + h2 if not c1 * c2 else (h1 + h2) / 2 if abs(h1 - h2) <= 180 else (h1 + h2 + 360) / 2 % 360
    t = 1 - 0.17 * cos(radians(hm - 30)) + 0.24 * cos(radians(2 * hm))
    t += 0.32 * cos(radians(3 * hm + 6)) - 0.2 * cos(radians(4 * hm - 63))
    sl = 1 + 0.015 * (lm - 50) ** 2 / sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    rt = -2 * sqrt(cm**7 / (cm**7 + 25**7)) * sin(radians(60 * exp(-(((hm - 275) / 25) ** 2))))
    return sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rt * dc / sc * dh / sh)


def test_difference_agrees_with_the_published_pairs() -> None:
    """A wrong formula would let colours through that look alike."""
    assert difference((50, 2.6772, -79.7751), (50, 0, -82.7485)) == pytest.approx(2.0425, abs=1e-4)
    assert difference((50, 2.5, 0), (73, 25, -18)) == pytest.approx(27.1492, abs=1e-4)
    assert difference((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514)) == pytest.approx(0.9082, abs=1e-4)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("status", list(Status))
def test_marks_and_words_stand_out_from_every_background(status: Status, theme: str) -> None:
    """A status that cannot be read is a status that is not shown."""
    look = looks()[status]

    assert contrast(look.ink[theme], look.mark[theme]) >= 4.5
    for background in BACKGROUNDS[theme]:
        assert contrast(look.mark[theme], background) >= 3.0, background
        assert contrast(look.word[theme], background) >= 4.5, background
    if theme == "dark":
        assert contrast(look.word[theme], "#424242") >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_accents_stand_out_from_every_background(theme: str) -> None:
    """Edges, focus and critical path are information; texts are read."""
    colours = accents(theme)  # type: ignore[arg-type]
    for background in [*BACKGROUNDS[theme], colours["canvas"], colours["card"]]:
        for name in ("focus", "critical", "edge"):
            assert contrast(colours[name], background) >= 3.0, (name, background)
        for name in ("secondary", "text"):
            assert contrast(colours[name], background) >= 4.5, (name, background)


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_two_statuses_differ_for_every_sight(theme: str, sight: str) -> None:
    """A person who does not see red and green apart tells Failed from Parent Failed all the same."""
    marks = {status: lab(seen(look.mark[theme], sight)) for status, look in looks().items()}

    differences = {(str(a), str(b)): difference(marks[a], marks[b]) for a, b in combinations(Status, 2)}

    closest = min(differences, key=lambda pair: differences[pair])
    assert differences[closest] >= LEAST_DIFFERENCE[theme], (closest, differences[closest])


def test_every_status_has_a_number_and_signs_of_its_own() -> None:
    """Glyph and border say the status without any colour."""
    entries = palette()["statuses"]

    assert {name: entry["number"] for name, entry in entries.items()} == {s.name: s.value for s in Status}
    for part in ("glyph", "ascii"):
        assert len({entry[part] for entry in entries.values()}) == len(Status)
    assert all(entry["ascii"].isascii() and len(entry["glyph"]) == 1 for entry in entries.values())
    assert len({entry["stroke"] + entry["fill"] for entry in entries.values()}) == len(Status)
    assert len({str(entry["border"]) for entry in entries.values()}) == len(Status)


def test_glyph_paths_stay_on_the_grid() -> None:
    """A path that leaves the 16 px grid would be cut off on a card."""
    for look in looks().values():
        paths = look.stroke + look.fill
        assert re.fullmatch(r"[MLACZ\d\s.]+", paths)
        assert all(0 <= float(value) <= 16 for value in re.findall(r"[\d.]+", paths))


def test_orders_hold_every_status_once() -> None:
    """A status that an order lacks would vanish from lists and bars."""
    assert sorted(status.value for status in urgency()) == [status.value for status in Status]
    assert sorted(status.value for status in bar_order()) == [status.value for status in Status]
    assert urgency()[0] is Status.FAILED
    assert bar_order()[0] is Status.COMPLETED


def test_words_have_their_places_filled() -> None:
    """A place that stays empty would show braces to the reader."""
    assert say("grouped", nodes="100,000", groups="41") == "Grouped: 100,000 nodes in 41 groups"
