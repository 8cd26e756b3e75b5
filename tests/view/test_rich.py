"""Rich previews: what a class offers is fetched once somebody asks, cut off by size, and never trusted."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest

from tiledag_widget.core.states import AddNode, Began, Finished, Start
from tiledag_widget.view.control import Desk
from tiledag_widget.view.details import node_detail
from tiledag_widget.view.rich import MOST_BYTES, has_rich, rich
from tiledag_widget.view.worker import Worker

from .fake_source import FakeSource

PNG = b"\x89PNG\r\n\x1a\nrest"
AT = 1_700_000_000.0


def one_with(**methods: Any) -> Any:
    """An instance of a class with these methods; a value stands for a method that returns it."""
    made = {name: value if callable(value) else (lambda _, value=value: value) for name, value in methods.items()}
    return type("Table", (), made)()


def raising(_: object) -> str:
    raise SystemExit("no")


@pytest.mark.parametrize(
    ("methods", "kind", "data"),
    [
        ({"_repr_html_": "<b>1</b>"}, "text/html", b"<b>1</b>"),
        ({"_repr_html_": ("<b>1</b>", {"isolated": True})}, "text/html", b"<b>1</b>"),
        ({"_repr_svg_": "<svg/>", "_repr_png_": PNG}, "image/svg+xml", b"<svg/>"),
        ({"_repr_html_": None, "_repr_png_": PNG}, "image/png", PNG),
        ({"_repr_png_": base64.b64encode(PNG).decode()}, "image/png", PNG),
        ({"_repr_html_": raising, "_repr_jpeg_": b"\xff\xd8\xff"}, "image/jpeg", b"\xff\xd8\xff"),
        ({"_repr_html_": "\ud800"}, "text/html", b"?"),
    ],
)
def test_the_first_form_that_can_be_had_is_taken(methods: dict[str, Any], kind: str, data: bytes) -> None:
    """A frame would be shown as text although its class can draw it."""
    value = one_with(**methods)

    head, got = rich(value)

    assert has_rich(value)
    assert (head["kind"], got) == (kind, data)


@pytest.mark.parametrize(
    ("methods", "note"),
    [
        ({}, "no rich form"),
        ({"_repr_html_": None}, "no rich form"),
        ({"_repr_html_": raising}, "raised SystemExit"),
        ({"_repr_html_": 17}, "nothing that can be shown"),
        ({"_repr_png_": b"<script>"}, "nothing that can be shown"),
        ({"_repr_png_": "not base64 at all"}, "nothing that can be shown"),
        ({"_repr_html_": "x" * (MOST_BYTES + 1)}, "at most 500 kB"),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(methods: dict[str, Any], note: str) -> None:
    """A button that does nothing."""
    head, data = rich(one_with(**methods))

    assert (head["kind"], data) == ("", b"")
    assert note in head["note"]


def test_looking_whether_there_is_one_calls_nothing() -> None:
    """Opening the inspector would run a user's code, and whatever that waits for."""

    class Meta(type):
        def __getattr__(cls, name: str) -> Any:
            raise AssertionError(name)

    class Odd(metaclass=Meta):
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    assert not has_rich(Odd())
    assert has_rich(one_with(_repr_html_=raising))


def done(value: object) -> FakeSource:
    source = FakeSource()
    source.handle(AddNode(()), Start(AT), Began(0, 1, AT, 0), Finished(0, 1, AT))
    source.results[0] = value
    return source


def test_the_inspector_knows_whether_to_offer_it() -> None:
    """A button on every number."""
    assert node_detail((source := done(one_with(_repr_html_="x"))).node(0), source)["rich"]
    assert not node_detail((source := done(17)).node(0), source)["rich"]


class Answers:
    """Stands for the feed."""

    def __init__(self) -> None:
        self.columns: list[tuple[str, bytes]] = []
        self.answers: list[Any] = []
        self.came = threading.Condition()

    def send_column(self, column: str, data: bytes) -> int:
        self.columns.append((column, data))
        return 7

    def answer(self, message: Any) -> None:
        with self.came:
            self.answers.append(message)
            self.came.notify_all()

    def wait_for(self, count: int) -> list[Any]:
        with self.came:
            assert self.came.wait_for(lambda: len(self.answers) >= count, 3), self.answers
            return list(self.answers)


def test_one_that_hangs_delays_no_other_question() -> None:
    """A chart that waits for a network would take the inspector with it."""
    go = threading.Event()

    def hang(_: object) -> str:
        assert go.wait(10)
        return "<b>late</b>"

    source, feed = done(one_with(_repr_html_=hang)), Answers()
    desk = Desk(source, feed, questions=Worker("test-preview", idle=0.02, patience=0.02))  # type: ignore[arg-type]  # a stand-in

    desk.take({"id": "a", "kind": "rich", "nodes": [0]})
    desk.take({"id": "b", "kind": "node", "nodes": [0]})

    (first,) = feed.wait_for(1)
    assert (first["id"], first["error"]) == ("b", None)
    go.set()
    late = feed.wait_for(2)[1]
    assert (late["id"], late["body"]["kind"], late["body"]["number"]) == ("a", "text/html", 7)
    assert feed.columns == [("file", b"<b>late</b>")]


def test_slow_motion_is_asked_for_in_milliseconds() -> None:
    """What the menu offers would not be what the graph does."""
    source, feed = done(1), Answers()
    desk = Desk(source, feed, questions=Worker("test-preview", idle=0.02))  # type: ignore[arg-type]  # a stand-in

    desk.take({"id": "a", "kind": "pace_250", "nodes": [0]})

    (reply,) = feed.wait_for(1)
    assert (reply["body"], source.calls) == ({"pace": 0.25}, [("pace", 0.25)])
