"""`view.export`: a run as a file, above all as a page of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.view.fake_source import FakeSource
from tests.view.test_picture import HOSTILE
from tiledag_widget import DAG
from tiledag_widget.core.states import NOT_STARTED, AddNode, Began, Failed, Finished, Retry, Start
from tiledag_widget.core.tape import HEADER
from tiledag_widget.view import export


def ran(names: list[str], title: str = "ingest") -> FakeSource:
    """Each node is the child of the one before; the first fails once and is retried."""
    source = FakeSource(names=names)
    source.title = title
    source.handle(*[AddNode((node - 1,) if node else (), NOT_STARTED) for node in range(len(names))])
    now = source.now
    source.handle(Start(now), Began(0, 1, now + 1, 0), Failed(0, 1, now + 2), Retry((0,), False, now + 3))
    for node in range(len(names)):
        attempt = 2 if node == 0 else 1
        source.handle(Began(node, attempt, now + 4 + node, 0), Finished(node, attempt, now + 4.5 + node))
    return source


class Parts(HTMLParser):
    """Scripts, styles and metas of a page, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self._inside = found.get("id") or tag
        self.texts.setdefault(self._inside, "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.texts[self._inside] += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.texts["tiledag-data"])
        return found


def inflated(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def test_the_page_holds_the_graph_its_tape_and_what_is_known_of_its_nodes() -> None:
    """A file that was mailed would show half of the run."""
    page = Parts(export.made(ran(["load", "resize", "merge"]), "html"))

    assert page.data["picture"]["title"] == "ingest"
    assert inflated(page.data["columns"]["names"]).decode().split("\n") == ["load", "resize", "merge"]
    assert HEADER.unpack_from(inflated(page.data["columns"]["tape"])) == (13, 0)
    block = json.loads(inflated(page.data["details"]["0"]))
    assert [block[str(node)]["name"] for node in range(3)] == ["load", "resize", "merge"]


def test_the_policy_names_the_one_script_and_the_one_style_that_are_there() -> None:
    """A script that got in by a name would run."""
    text = export.made(ran(["load"]), "html")
    page = Parts(text)
    policy = next(found["content"] for tag, found in page.tags if found.get("http-equiv") == "Content-Security-Policy")

    without_script = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)  # it speaks of styles, as text
    for tag, directive, whole in (("script", "script-src", text), ("style", "style-src", without_script)):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", whole, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
        assert len(inside) == 1
        assert f"{directive} 'sha256-{digest}'" in (policy or "")
    assert "default-src 'none'" in (policy or "")
    assert not re.search(r"unsafe|https?:|\*", policy or "")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_name_gets_out_of_its_place(hostile: str) -> None:
    """A node's name would end the script that it stands in, and begin one of its own."""
    plain, page = Parts(export.made(ran(["x"]), "html")), Parts(export.made(ran([hostile], hostile), "html"))

    tags = [tag for tag, _ in page.tags]
    assert tags == [tag for tag, _ in plain.tags]
    assert all(not name.startswith("on") for _, found in page.tags for name in found)
    assert page.data["picture"]["title"] == hostile


def test_nothing_in_the_page_points_outside() -> None:
    """A file that was opened offline would lack parts, or tell somebody that it was opened."""
    page = Parts(export.made(ran(["load"]), "html"))

    links = [value for _, found in page.tags for name, value in found.items() if name in ("src", "href")]
    assert all((link or "").startswith("data:") for link in links)


@pytest.mark.slow
def test_ten_thousand_nodes_are_a_few_megabytes() -> None:
    """The file of a large run could be neither mailed nor opened."""
    source = ran([f"resize-{node}" for node in range(10_000)])

    size = len(export.made(source, "html").encode())

    assert size < 3_000_000


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.html", "<!doctype html>"), ("a.svg", "<svg"), ("a.mmd", "flowchart"), ("a.gv", "digraph"), ("a.TXT", "DAG")],
)
def test_the_suffix_says_the_form(tmp_path: Path, name: str, begins: str) -> None:
    """Somebody would have to learn five method names."""
    with DAG(name="sums") as dag:
        dag.submit_local(sum, [1, 2], name="three")

    target = dag.export(tmp_path / name)

    assert target == tmp_path / name
    assert target.read_text(encoding="utf-8").startswith(begins)


@pytest.mark.parametrize("name", ["run.png", "run", "run.pdf"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path: Path, name: str) -> None:
    """The error would not say what to do."""
    with pytest.raises(ValueError, match=r"no form has the suffix .*\.html.*\.dot"):
        DAG().export(tmp_path / name)

    assert not list(tmp_path.iterdir())


def test_a_graph_that_was_never_started_can_be_exported() -> None:
    """Who only draws a plan would get a traceback."""
    source = FakeSource(names=["load"])
    source.handle(AddNode((), NOT_STARTED))

    for form in export.SUFFIXES:
        assert export.made(source, form)


@pytest.mark.parametrize(("title", "name"), [("runs/2024: <all>", "runs-2024-all.html"), ("", "graph.html")])
def test_the_name_of_a_download_suits_every_file_system(title: str, name: str) -> None:
    """A browser would refuse the file, or save it somewhere else."""
    assert export.file_name(title, "html") == name
