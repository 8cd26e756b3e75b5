"""The static forms: text, terminal, HTML, SVG, Mermaid, DOT."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from math import nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.view.graphs import NodeRow, columns, diamond, fan, layered, rows, run_of, structure
from tiledag_widget.core.states import Status
from tiledag_widget.view.picture import (
    HTML_BYTES,
    Still,
    TextStyle,
    clock,
    duration,
    middle_cut,
    number,
    progress_line,
    run_word,
    segments,
    shown,
    still,
    text_style,
    to_dot,
    to_html,
    to_mermaid,
    to_svg,
    to_text,
    within,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><script>",
    "]]><!--",
    "&lt;b&gt; &amp; $x$",
    "x" * 10_000,
    "line\nbreak\ttab\x00nul\x1b[31mred",
    "\u202eright to left\u202c שלום",
    "🙂 семь 七",
    "\ud800 lone",
    "%% }} \\n \\N {a} `b` |c| [d]",
    "",
]


def moment(
    made: list[NodeRow],
    codes: list[int],
    *,
    title: str = "ingest",
    errors: dict[int, str] | None = None,
    blocker: dict[int, int] | None = None,
    is_ended: bool = True,
    is_started: bool = True,
) -> Still:
    graph = structure(made)
    run = run_of(codes, is_ended, is_started)
    return still(title, graph, columns(codes, blocker), run, errors, now=1042.0)


def ingest(width: int = 1024) -> Still:
    """The example of the brief: three of many failed."""
    codes = [3] * (width + 1) + [6]
    bad = [18, 91, 412]
    for node in bad:
        codes[node] = 4
    errors = dict.fromkeys(bad, "ValueError: cannot reshape array of size 12 into shape (5,)")
    return moment(fan(width), codes, title="ingest-2024", errors=errors, blocker={width + 1: 18})


class Text(HTMLParser):
    """What is left of HTML without tags, images and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def read(html: str) -> Text:
    parser = Text()
    parser.feed(re.sub(r"<img[^>]*>|style=\"[^\"]*\"", "", html))
    return parser


def svg_in(html: str) -> str:
    found = re.search(r"base64,([^\"]+)\"", html)
    assert found
    return base64.b64decode(found[1]).decode("utf-8")


# --- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "< 0.001 s"),
        (0.034, "0.03 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (12.2, "12 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (102, "1:42"),
        (3599.6, "1:00:00"),
        (7390, "2:03:10"),
        (-1, "< 0.001 s"),
    ],
)
def test_durations_read_the_same_everywhere(seconds: float, words: str) -> None:
    """A time that changes its form between two views looks like two times."""
    assert duration(seconds) == words


def test_counts_and_names_read_as_people_write_them() -> None:
    """Names keep start and end, since the end tells the members of a fan-out apart."""
    assert number(1026) == "1,026"
    assert clock(42) == "0:42"
    assert middle_cut("resize_the_picture_017", 12) == "resize_…_017"
    assert shown("a\nb\x1b\u202e") == "a b\ufffd"


# --- text ---------------------------------------------------------------------------------------------------


def test_the_text_form_is_as_in_the_brief() -> None:
    """Is it running, how far, what failed: on the first line; which and why: below."""
    assert to_text(ingest()).splitlines() == [
        "DAG ingest-2024  Failed  1,022/1,026 in 0:42   ✕3 ⤓1 ✓1,022",
        " ✓ list    3.2 s",
        " ✕ resize  ×1,024  ✓1,021 ✕3  ValueError: cannot reshape array of size 12 into shape (5,)",
        " ⤓ merge   blocked by resize-17, resize-90, resize-411",
    ]


def test_the_text_form_goes_in_plain_letters() -> None:
    """A terminal without Unicode shows letters, not question marks."""
    text = to_text(ingest(), TextStyle(ascii=True))

    assert text.isascii()
    assert text.splitlines()[0].endswith("x3 !1 v1,022")
    assert text.splitlines()[2].startswith(" x resize  x1,024  v1,021 x3")


def test_colour_is_an_addition() -> None:
    """With the colours taken out, the text is the same."""
    text = to_text(ingest(), TextStyle(colour=True))

    assert "\x1b[31m" in text
    assert re.sub(r"\x1b\[\d+m", "", text) == to_text(ingest())


@pytest.mark.parametrize(
    ("is_terminal", "encoding", "environment", "style"),
    [
        (True, "utf-8", {}, TextStyle(colour=True)),
        (True, "utf-8", {"NO_COLOR": "1"}, TextStyle()),
        (True, "utf-8", {"NO_COLOR": ""}, TextStyle(colour=True)),
        (True, "utf-8", {"TERM": "dumb"}, TextStyle()),
        (False, "utf-8", {}, TextStyle()),
        (False, "latin-1", {}, TextStyle(ascii=True)),
        (True, "ascii", {}, TextStyle(colour=True, ascii=True)),
    ],
)
def test_a_terminal_gets_what_it_can_show(
    is_terminal: bool, encoding: str, environment: dict[str, str], style: TextStyle
) -> None:
    """NO_COLOR is honoured, and nothing is printed that the stream cannot encode."""

    class Stream(io.TextIOWrapper):
        def isatty(self) -> bool:
            return is_terminal

    assert text_style(Stream(io.BytesIO(), encoding=encoding), environment) == style


def test_the_words_of_a_run_come_from_its_nodes() -> None:
    """The graph's own status says Failed while other branches still run."""
    counts = {Status.FAILED: 3, Status.RUNNING: 1}

    assert run_word(run_of([4, 4, 4, 2]), counts) == "Running · 3 failed"
    assert run_word(run_of([4, 4, 4, 3], is_ended=True), counts) == "Failed"
    assert run_word(run_of([5, 3], is_ended=True), {Status.CANCELLED: 1}) == "Cancelled"
    assert run_word(run_of([3], is_ended=True), {Status.COMPLETED: 1}) == "Completed"
    assert run_word(run_of([1], is_started=False), {Status.NOT_STARTED: 1}) == "Not Started"


def test_what_runs_and_what_waits_says_for_how_long_and_for_what() -> None:
    """The card of a running graph is not empty."""
    now = moment(diamond(), [3, 2, 3, 1], is_ended=False)

    assert to_text(now).splitlines()[2:] == [" ▶ b  42 s so far", " ✓ c  3.2 s", " ○ d  waits for b"]


def test_no_nodes_and_not_started_say_what_to_do_next() -> None:
    """An empty picture is a dead end."""
    assert to_text(moment([], [], is_started=False)) == ("DAG ingest  No nodes yet. Add one: `dag.submit_local(f, 1)`")
    ready = moment(diamond(), [1] * 4, is_ended=False, is_started=False)
    assert to_text(ready).startswith("DAG ingest  Ready: 4 nodes. `dag.compute()` starts it.")


def test_a_long_text_keeps_what_is_urgent() -> None:
    """A failure among many marks is never among those left out."""
    graph = layered(40, 7, 300)
    codes = [3] * len(graph)
    codes[-1] = 4

    lines = to_text(moment(graph, codes, errors={len(codes) - 1: "KeyError: 'x'"})).splitlines()

    assert len(lines) <= 42
    assert any(line.startswith(" ✕ ") and "KeyError" in line for line in lines)
    assert re.search(r"… and \d+ more groups", lines[-1])


def test_one_line_of_progress() -> None:
    """A terminal shows the same in one line; a bar shows the least progress and never more than there is."""
    codes = [3] * 621 + [2] * 10 + [4] * 3 + [1] * 392
    made: list[NodeRow] = [(f"n-{node}", "f", ()) for node in range(1026)]

    line = progress_line(moment(made, codes, title="ingest-2024", is_ended=False), time_left="about 1–2 min left")

    assert line == "ingest-2024 621/1,026 ▓▓▓▓▓▓▓▒░░░░  ✕3  0:42, about 1–2 min left"


# --- HTML ---------------------------------------------------------------------------------------------------


def test_html_tells_the_run_without_pictures_and_styles() -> None:
    """GitHub, mail and untrusted notebooks take images and styles out."""
    left = read(to_html(ingest()))
    text = " ".join(" ".join(left.parts).split())

    assert "DAG ingest-2024 Failed 1,022/1,026 in 0:42" in text
    assert "✕ Failed 3" in text
    assert "✓ Completed 1,022" in text
    assert text.count("ValueError: cannot reshape array of size 12 into shape (5,)") == 3
    assert "✕ resize-17" in text
    assert "3.2 s" in text


def test_html_survives_the_cleaner_of_nbconvert() -> None:
    """What a host removes must not be what tells the run."""
    clean = pytest.importorskip("nbconvert.filters").clean_html(to_html(ingest()))

    assert "1,022/1,026 in 0:42" in clean
    assert "resize-17" in clean


def test_html_lists_ten_failed_nodes_and_counts_the_rest() -> None:
    """A thousand failures must not be a thousand rows, nor be hidden."""
    now = moment(fan(40), [3] + [4] * 40 + [6], errors={1: "a\nb"})
    html = to_html(now)

    assert html.count("<tr>") == 1 + 3 + 1 + 10
    assert "the first 10 of 40" in html
    assert "no message" in html


@pytest.mark.parametrize("width", [1, 100, 250, 600])
def test_html_stays_small_however_large_the_graph(width: int) -> None:
    """Outputs are stored in notebooks."""
    graph = layered(max(2, width // 10), 10, width)
    html = to_html(moment(graph, [3] * len(graph)))

    assert len(html.encode()) <= HTML_BYTES
    assert "<img alt=" in html
    ElementTree.fromstring(svg_in(html))


def test_html_has_no_script_and_no_outside() -> None:
    """A static form makes no request and runs nothing."""
    html = to_html(ingest())

    assert set(read(html).tags) <= {"div", "p", "strong", "small", "table", "thead", "tbody", "tr", "th", "td"}
    links = re.findall(r"https?://[^\"\s<]+", html + svg_in(html))
    assert set(links) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_text(name: str) -> None:
    """A node's name, the title and an error are somebody's data: they never become markup."""
    made: list[NodeRow] = [(name, name, ()), ("b", "b", (0,))]
    now = moment(made, [4, 6], title=name, errors={0: f"ValueError: {name}"}, blocker={1: 0})

    html, svg = to_html(now), to_svg(now)

    assert set(read(html).tags) <= {"div", "p", "strong", "small", "table", "thead", "tbody", "tr", "th", "td"}
    assert len(html.encode()) <= HTML_BYTES
    tags = {element.tag.split("}")[1] for element in ElementTree.fromstring(svg).iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "symbol", "pattern", "rect", "path", "g", "use", "text"}
    text = to_text(now)
    assert len(text.splitlines()) == 3
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert max(map(len, text.splitlines())) < 200
    text.encode("utf-8")
    assert to_text(now, TextStyle(ascii=True)).isascii()
    for form in (to_mermaid(now), to_dot(now)):
        form.encode("utf-8")


def test_a_name_of_spaces_is_seen_in_every_form() -> None:
    """In the view it is ␣; here it was nothing."""
    now = moment([("   ", "   ", ()), ("b", "b", (0,))], [4, 6], errors={0: "ValueError: no"}, blocker={1: 0})

    assert all("␣␣␣" in form for form in (to_text(now), to_html(now), to_svg(now), to_dot(now)))
    assert f"#{ord('␣')};" * 3 in to_mermaid(now)
    assert "___" in to_text(now, TextStyle(ascii=True))


# --- SVG ----------------------------------------------------------------------------------------------------


def test_svg_shows_every_status_by_glyph_colour_and_border() -> None:
    """Six statuses, six pictures; the failed card alone is filled."""
    made: list[NodeRow] = [(str(status), str(status), ()) for status in Status]
    svg = to_svg(moment(made, [status.value for status in Status], is_ended=False))

    for status in Status:
        assert f'id="g{status.value}"' in svg
        assert str(status) in svg
    assert svg.count('<g class="f"') == 1
    assert "line-through" in svg
    assert "stroke-dasharray" in svg
    assert "url(#p6)" in svg


def test_svg_has_its_own_background_in_both_themes() -> None:
    """A picture that takes the page's background is unreadable on half of them."""
    light, dark = to_svg(ingest(), "light"), to_svg(ingest(), "dark")

    assert 'fill="#fafafa"' in light
    assert 'fill="#1e1e1e"' in dark
    ElementTree.fromstring(dark)


def test_svg_draws_a_cycle_as_a_loop() -> None:
    """Only a foreign record has one: it is shown, in the colour of failure."""
    assert 'class="loop"' in to_svg(moment([("a", "a", (1,)), ("b", "b", (0,))], [1, 1]))


@given(rows(60), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_every_form_of_every_graph_can_be_made(made: list[NodeRow], chance: object) -> None:
    """The forms are what is left when all else fails: they do not fail."""
    codes = [chance.randint(1, 6) for _ in made]  # type: ignore[attr-defined]
    now = moment(made, codes)

    ElementTree.fromstring(to_svg(now))
    assert len(to_html(now).encode()) <= HTML_BYTES
    assert to_mermaid(now).startswith("flowchart LR")
    assert to_dot(now).count("->") == len(now.folding.source)
    if 4 in codes:
        assert "✕" in to_text(now)
        assert "✕" in progress_line(now)
    less = within(now, 10)
    assert len(less.folding) <= 10
    assert sum(map(sum, (counts.values() for counts in less.marks))) == len(made)


def test_a_segment_is_never_too_thin_to_see() -> None:
    """One failure in a hundred thousand is four pixels of the bar."""
    bar = segments({Status.COMPLETED: 99_999, Status.FAILED: 1}, 156)

    assert [status for status, _, _ in bar] == [Status.COMPLETED, Status.FAILED]
    assert bar[1][2] == 4.0
    assert sum(width for _, _, width in bar) == pytest.approx(156, abs=0.2)
    assert segments({}, 156) == []


# --- Mermaid and DOT ----------------------------------------------------------------------------------------


def test_mermaid_and_dot_hold_marks_edges_and_colours() -> None:
    """They are pasted into other documents."""
    now = ingest()

    assert to_mermaid(now).splitlines()[:3] == [
        "flowchart LR",
        '  m0["✓ list"]:::completed',
        '  m1["✕ resize ×1,024"]:::failed',
    ]
    assert "  m0 --> m1" in to_mermaid(now)
    assert '  m1 [label="✕ resize ×1,024", fillcolor="#a92e1e", fontcolor="#ffffff", color="#a92e1e"];' in to_dot(now)
    assert "  m1 -> m2;" in to_dot(now)


def test_times_that_are_not_known_are_not_shown() -> None:
    """A run without a clock is a run all the same."""
    graph = structure(diamond())
    run = run_of([3] * 4, is_ended=True)
    told = columns([3] * 4)
    for node in range(4):
        told.started[node] = told.ended[node] = nan

    assert "nan" not in to_text(still("", graph, told, run, now=1.0))
    assert to_text(still("", graph, told, run, now=1.0)).startswith("DAG  Completed  4/4")
