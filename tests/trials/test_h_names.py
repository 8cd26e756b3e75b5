"""H7 without a browser: sixty payloads as name, title, error and file name, in every form that is text.

What a browser does with them is tested in ``tests/browser/test_hosts_names.py``.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from benchmarks.graphviz import drawn_by_dot
from tests.payloads import PAYLOADS, RUN
from tests.view.graphs import NodeRow, columns, run_of, structure
from tests.view.test_export import Parts, ran
from tests.view.test_picture import moment, svg_in
from tiledag_widget.view import export
from tiledag_widget.view.picture import Still, shown, to_dot, to_html, to_mermaid, to_svg, to_text

pytestmark = pytest.mark.slow
every = pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))

HTML_TAGS = {"div", "p", "strong", "small", "table", "thead", "tbody", "tr", "th", "td", "img"}
SVG_TAGS = {"svg", "title", "style", "defs", "marker", "symbol", "pattern", "rect", "path", "g", "use", "text"}
MERMAID_LINE = re.compile(
    r'flowchart LR|  m\d+\["[^"\[\]<>&`\n]*"\]:::\w+|  m\d+ --> m\d+|  classDef \w+ [\w:#,\- 0-9]+|'
)
DOT_LINE = re.compile(
    r'digraph "(\\.|[^"\\\n])*" \{|  rankdir=LR; node \[shape=box, style="rounded,filled"\];'
    r'|  m\d+ \[label="(\\.|[^"\\\n])*", fillcolor="#\w{6}", fontcolor="#\w{6}", color="#\w{6}"\];'
    r"|  m\d+ -> m\d+;|\}|"
)


class Tags(HTMLParser):
    """Every tag with its attributes, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def with_it(payload: str) -> Still:
    """A graph in which everything that a user names is the payload."""
    made: list[NodeRow] = [(payload, payload, ()), ("b", payload[::-1], (0,))]
    return moment(made, [4, 6], title=payload, errors={0: f"{payload}: {payload}"}, blocker={1: 0})


@every
def test_the_html_form_has_no_tag_of_its_making(payload: str) -> None:
    """Whoever opens the notebook would run what somebody called a node."""
    html = to_html(with_it(payload))

    for tag, attributes in Tags(html).found:
        assert tag in HTML_TAGS
        assert set(attributes) <= {"style", "alt", "src", "title", "width", "height", "colspan"}
        assert (attributes.get("src") or "data:image/svg+xml;base64,").startswith("data:image/svg+xml;base64,")
        assert "url(" not in (attributes.get("style") or "")
        assert "__ran" not in (attributes.get("style") or "")
    whole = ElementTree.fromstring(svg_in(html))
    assert {each.tag.split("}")[1] for each in whole.iter()} <= SVG_TAGS


@pytest.mark.parametrize("theme", ["light", "dark"])
@every
def test_the_svg_has_no_element_of_its_making(payload: str, theme: Any) -> None:
    """An SVG that is opened by itself runs scripts."""
    whole = ElementTree.fromstring(to_svg(with_it(payload), theme))

    for each in whole.iter():
        assert each.tag.split("}")[1] in SVG_TAGS
        assert not [name for name in each.attrib if name.split("}")[-1].lower().startswith("on")]
        links = [value for name, value in each.attrib.items() if name.split("}")[-1] in ("href", "src")]
        assert all(value.startswith("#") for value in links)


@every
def test_text_forms_have_their_lines_and_no_control_character(payload: str) -> None:
    """A terminal obeys control characters; a document that holds a diagram obeys its lines."""
    now = with_it(payload)

    text, mermaid, dot = to_text(now), to_mermaid(now), to_dot(now)

    assert all(char == "\n" or char.isprintable() for char in text + mermaid + dot)
    assert [line for line in mermaid.splitlines() if not MERMAID_LINE.fullmatch(line)] == []
    assert [line for line in dot.splitlines() if not DOT_LINE.fullmatch(line)] == []
    assert shown(payload).strip()[:12] in text, "it is shown as it was written"


def test_graphviz_reads_every_name_as_a_label() -> None:
    """A link in a picture that somebody made of the DOT export."""
    pictures = drawn_by_dot([to_dot(with_it(payload)) for payload in PAYLOADS], "svg")

    assert len(pictures) == len(PAYLOADS)
    for picture, _ in pictures:
        whole = ElementTree.fromstring(picture)
        assert {each.tag.split("}")[1] for each in whole.iter()} == {"svg", "g", "title", "polygon", "path", "text"}


@every
def test_plotly_is_given_text(payload: str) -> None:
    """plotly makes links and tags of what looks like them."""
    pytest.importorskip("plotly")
    from tiledag_widget.view.figure import make_figure

    made: list[NodeRow] = [(payload, payload, ()), ("b", payload, (0,))]
    figure = make_figure(structure(made), columns([4, 6]), run_of([4, 6], is_ended=True), title=payload)

    allowed = re.compile(r"</?(b|i|br|sub|sup|span[^>]*)>")
    texts = [figure.layout.title.text or "", *[each.text or "" for each in figure.layout.annotations]]
    for trace in figure.data:
        texts += [*(trace.text or ()), *(trace.hovertext or ()), trace.name or "", trace.hovertemplate or ""]
    for text in map(str, texts):
        assert "<" not in allowed.sub("", text), text[:200]
        assert "$" not in text


@every
def test_the_exported_page_keeps_it_as_data(payload: str) -> None:
    """The file that is mailed would run for whoever opens it."""
    plain, page = Parts(export.made(ran(["x"]), "html")), Parts(export.made(ran([payload], payload), "html"))

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert all(not name.startswith("on") for _, found in page.tags for name in found)
    assert page.data["picture"]["title"] == payload


@every
def test_a_file_name_made_of_it_stays_in_its_folder(payload: str, tmp_path: Path) -> None:
    """A download would be written somewhere else, or refused."""
    for form in export.SUFFIXES:
        name = export.file_name(payload, form)
        assert re.fullmatch(r"[\w.-]+", name)
        assert not name.startswith((".", "-"))
        assert len(name) < 80
    (tmp_path / name).write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@every
def test_nbconvert_shows_it_and_does_not_make_it(payload: str) -> None:
    """A report that is mailed; the title of the notebook is the payload, too."""
    nbformat = pytest.importorskip("nbformat")
    exporters = pytest.importorskip("nbconvert.exporters")
    data = {"text/html": to_html(with_it(payload)), "text/plain": to_text(with_it(payload))}
    cell = nbformat.v4.new_code_cell("dag", outputs=[nbformat.v4.new_output("display_data", data=data)])
    empty = nbformat.v4.new_code_cell("dag", outputs=[])
    exporter = exporters.HTMLExporter(template_name="basic")

    bodies = [exporter.from_notebook_node(nbformat.v4.new_notebook(cells=[each]))[0] for each in (cell, empty)]

    made, plain = (Tags(body).found for body in bodies)
    assert [tag for tag, _ in made if tag in ("script", "iframe", "svg", "object", "embed", "style", "link")] == [
        tag for tag, _ in plain if tag in ("script", "iframe", "svg", "object", "embed", "style", "link")
    ]
    assert not [name for _, found in made for name in found if name.startswith("on")]
    assert not [value for _, found in made for value in found.values() if (value or "").startswith("javascript:")]
    assert RUN in bodies[0] or RUN not in payload
