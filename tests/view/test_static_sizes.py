"""The static forms of large graphs: what a notebook stores has a limit, and an SVG opens everywhere."""

from __future__ import annotations

import base64
import re
import time
import xml.etree.ElementTree as ElementTree

import pytest

from tests.view.graphs import NodeRow
from tests.view.test_picture import moment, svg_in
from tiledag_widget.view.picture import HTML_BYTES, HTML_MARKS, Still, to_dot, to_html, to_mermaid, to_svg, to_text

SVG = "{http://www.w3.org/2000/svg}"
LIGHT_AND_DARK = ("light", "dark")


def pipeline(total: int) -> Still:
    """A pipeline over ``total`` nodes, the last of each step but one Failed."""
    steps = ["read", "parse", "clean", "match", "score"]
    width = (total - 1) // len(steps)
    made: list[NodeRow] = [("table", "table", ())]
    for step, name in enumerate(steps):
        made += [(f"{name}-{n}", name, ((0,) if step == 0 else (1 + (step - 1) * width + n,))) for n in range(width)]
    made += [(f"extra-{n}", "extra", (0,)) for n in range(total - len(made))]
    codes = [3] * len(made)
    failed = 1 + 2 * width
    codes[failed] = 4
    return moment(made, codes, errors={failed: "ValueError: row 7 has no date"})


@pytest.mark.parametrize(
    "total",
    [6, 100, 1_000, *(pytest.param(many, marks=pytest.mark.slow) for many in (10_000, 100_000))],
)
def test_what_a_notebook_stores_has_a_limit_and_tells_the_failure(total: int) -> None:
    """A graph of 100,000 nodes would make a notebook that no editor opens, or hide the one that failed."""
    now = pipeline(total)

    html, text = to_html(now), to_text(now)

    assert len(html.encode()) <= HTML_BYTES == 60_000
    assert len(text.encode()) <= 8_000
    for form in (html, text):
        assert "row 7 has no date" in form
        assert f"{len(now.structure.names) - 1:,}/{len(now.structure.names):,}" in form
    picture = ElementTree.fromstring(svg_in(html))
    assert len(picture.findall(f".//{SVG}g")) <= HTML_MARKS * 3


@pytest.mark.slow
def test_the_forms_of_a_hundred_thousand_nodes_are_made_while_somebody_waits() -> None:
    """Each display of a large graph would freeze the cell: the forms are made with it."""
    now = pipeline(100_000)
    began = time.monotonic()
    for form in (to_html, to_text, to_svg, to_mermaid, to_dot):
        assert form(now)
    took = time.monotonic() - began

    assert took < 10, f"{took:.1f} s for five forms"


@pytest.mark.parametrize("theme", LIGHT_AND_DARK)
@pytest.mark.parametrize("total", [6, 100, 1_000])
def test_an_svg_is_whole_in_itself(total: int, theme: str) -> None:
    """A picture in a talk would lack its letters, or fetch them from somebody."""
    svg = to_svg(pipeline(total), theme)  # type: ignore[arg-type]
    tree = ElementTree.fromstring(svg)

    assert tree.tag == f"{SVG}svg"
    assert tree.get("viewBox")
    assert float(tree.get("width", "0")) > 0
    assert float(tree.get("height", "0")) > 0
    tags = {each.tag.removeprefix(SVG) for each in tree.iter()}
    assert not tags & {"script", "foreignObject", "image", "a", "iframe"}
    for each in tree.iter():
        assert not [name for name in each.attrib if name.lower().startswith("on")]
    assert set(re.findall(r"https?://[^\"'\s<)]+", svg)) == {"http://www.w3.org/2000/svg"}
    # Every reference leads to something inside; every font list ends with one that each system has.
    ids = {each.get("id") for each in tree.iter()}
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg)) <= ids
    fonts = re.findall(r"font(?:-family)?:([^;}\"]+)", svg) + re.findall(r'font-family="([^"]+)"', svg)
    assert fonts
    assert all("sans-serif" in font or "monospace" in font or "system-ui" in font for font in fonts), fonts


def test_the_picture_in_the_html_is_the_svg() -> None:
    """An editor that shows the stored output would show another graph than the export."""
    html = to_html(pipeline(100))
    (inside,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)

    assert ElementTree.fromstring(base64.b64decode(inside)).tag == f"{SVG}svg"
    assert re.search(r'<img alt="[^"]{20,}"', html), "a sentence for who cannot see it"
