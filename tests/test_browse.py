"""`browse_logs`: runs of a real embedded server, listed, filtered, paged and opened; and its forms without widgets."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comm
import pytest

import tiledag_widget
from tests.server.running import embedded_server
from tiledag_widget import DAG
from tiledag_widget.browse import RunsTable, ServerRuns, browse_logs
from tiledag_widget.core.snapshot import GraphSource
from tiledag_widget.view.log_browser import LogBrowser, static_forms
from tiledag_widget.view.runs_table import Found, Query, Row, runs_html, runs_text

FAILED = 4
LASTING = pytest.mark.leaks("the server serves all tests of this module; its fixture stops it")


TWELVE = """
import contextlib
from tiledag_widget import DAG
from tiledag_widget.logs import flush_records

def fail():
    raise ValueError("no row 3")

for number in range(12):
    dag = DAG(name=f"{'flights' if number % 3 == 0 else 'orders'} {number}", executor="inline", record=True)
    dag.submit_local(fail if number % 3 == 0 else int, name="load")
    dag.compute()
    with contextlib.suppress(ValueError):
        dag.wait(30)
assert flush_records()
"""
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Twelve runs of another process on record; one of three failed."""
    folder = tmp_path_factory.mktemp("embedded")
    with embedded_server(folder, TILEDAG_SERVER="embedded"):
        subprocess.run([sys.executable, "-c", TWELVE], check=True, timeout=100, cwd=ROOT)
        yield folder
        tiledag_widget.shutdown()


def names(found: Found) -> list[str]:
    return [row.name for row in found.rows]


@pytest.mark.slow
@LASTING
def test_pages_are_whole_newest_first_and_filters_hold(embedded: Path) -> None:
    """A run that is on no page, or on two, is not found again."""
    runs = ServerRuns()

    pages = [names(runs.find(Query(page=page, per_page=5))) for page in (1, 2, 3, 4)]
    failed = runs.find(Query(status="failed", per_page=100))
    searched = runs.find(Query(search="orders 1", per_page=100))

    assert [len(page) for page in pages] == [5, 5, 2, 0]
    assert [name for page in pages for name in page] == [
        f"{'flights' if n % 3 == 0 else 'orders'} {n}" for n in range(11, -1, -1)
    ]
    assert runs.find(Query()).is_whole
    assert (failed.total, {row.status for row in failed.rows}) == (4, {FAILED})
    assert names(searched) == ["orders 11", "orders 10", "orders 1"]
    assert runs.find(Query(hours=1.0)).total == 12


@pytest.mark.slow
@LASTING
def test_an_opened_record_says_that_it_cannot_be_steered_and_why(embedded: Path) -> None:
    """Retry would be offered, and fail when it is pressed."""
    runs = ServerRuns()
    row = next(one for one in runs.find(Query(status="failed")).rows)

    source = runs.open(row.uuid, row.namespace)

    assert source.title == row.name
    assert source.run().is_record
    assert source.run().counts[FAILED] == 1
    with pytest.raises(RuntimeError, match="record of a run that happens in the process that started it"):
        source.retry_failed()


@pytest.mark.slow
@LASTING
def test_a_graph_of_this_kernel_opens_as_itself_and_can_be_steered(embedded: Path) -> None:
    """Its record could only be looked at, while the graph is at hand."""
    failing = [True]

    def once() -> int:
        if failing:
            failing.clear()
            raise ValueError("once")
        return 7

    dag = DAG(name="mine", executor="inline", record=True)
    node = dag.submit_local(once)
    dag.compute()
    with contextlib.suppress(ValueError):
        dag.wait(30)
    (row,) = ServerRuns().find(Query(search="mine")).rows

    source = ServerRuns().open(row.uuid, row.namespace)
    count = source.retry_failed()
    dag.wait(30)

    assert row.is_here
    assert not source.run().is_record
    assert (count, node.result()) == (1, 7)


@pytest.mark.slow
@LASTING
def test_the_widget_lists_opens_and_closes_on_request(embedded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page would wait for an answer that never comes."""
    browser = browse_logs(per_page=3)
    assert isinstance(browser, LogBrowser)
    sent: list[Any] = []
    monkeypatch.setattr(browser, "send", lambda content, buffers=None: sent.append(content))

    browser._answer({"id": "1", "kind": "runs_list", "status": "failed", "per_page": 3})
    found = sent[-1]["found"]
    row = found["rows"][0]
    browser._answer({"id": "2", "kind": "runs_open", "uuid": row["uuid"], "namespace": row["namespace"]})
    opened, title = sent[-1], browser.title
    browser._answer({"id": "3", "kind": "runs_open", "uuid": "no such run", "namespace": ""})
    refused = sent[-1]
    browser._answer({"id": "4", "kind": "runs_close"})
    closed = browser.graph_id
    bundle = browser._repr_mimebundle_()
    browser.close()

    assert (found["total"], len(found["rows"]), found["is_whole"]) == (4, 3, True)
    assert (opened["error"], title) == ("", row["name"])
    assert opened["graph_id"]
    assert "no such run" in refused["error"]
    assert closed == ""
    assert bundle is not None
    assert "Runs 1 to" in bundle[0]["text/plain"]


def test_what_a_page_does_not_speak_of_is_as_it_was_asked_for_in_python() -> None:
    """The page's first question would empty the list's filters, and each later one its namespace."""
    wanted = Query("me", "somebody", "orders", "failed", page=2, per_page=25)

    first = Query.of({"kind": "runs_list"}, wanted)
    later = Query.of({"search": "", "created_by": "", "status": "", "hours": 0, "page": 1}, first)

    assert first == wanted
    assert first.to_message() == {
        "search": "orders",
        "created_by": "somebody",
        "status": "failed",
        "hours": 0.0,
        "page": 2,
    }
    assert (later.namespace, later.per_page, later.page) == ("me", 25, 1)
    assert (later.search, later.created_by, later.status) == (None, None, None)


@pytest.mark.parametrize("options", [{"per_page": 0}, {"per_page": 101}, {"status": "broken"}])
def test_what_cannot_be_meant_is_refused_with_the_choices(options: dict[str, Any]) -> None:
    """The list would be empty, and nobody would know why."""
    with pytest.raises(ValueError, match="per_page must be between 1 and 100|status must be one of running"):
        browse_logs(**options)


def found_one(**values: Any) -> Found:
    row = Row("0f", "me", values.pop("name", "orders"), "ann", FAILED, "Failed", 1_700_000_000.0, 1_700_000_065.0)
    return Found([row], 2, 1, 3)


def test_the_static_forms_say_what_the_list_says() -> None:
    """A notebook that is read on a web page has no widget."""
    text, markup = runs_text(found_one()), runs_html(found_one())

    assert text.splitlines()[0] == "Runs 2 to 2 of 3"
    assert "✕ Failed" in text
    assert "1:05" in text
    assert "<td>orders</td>" in markup
    assert RunsTable(found_one())._repr_html_() == markup
    assert repr(RunsTable(found_one())) == text


def test_a_name_is_never_markup() -> None:
    """A run's name is somebody else's text."""
    assert "<script>" not in runs_html(found_one(name="<script>alert(1)</script>"))


def test_where_nothing_can_be_listed_the_forms_say_why() -> None:
    """An exception in the middle of a display hides the cell's other output."""

    def find() -> Found:
        raise OSError("the server <is> away")

    forms = static_forms(find)

    assert forms["text/plain"] == "The runs could not be listed: the server <is> away"
    assert "&lt;is&gt;" in forms["text/html"]


class NoRuns:
    """A place without runs."""

    def find(self, query: Query) -> Found:
        return Found([], query.page, query.per_page, 0)

    def open(self, uuid: str, namespace: str) -> GraphSource:
        raise KeyError(uuid)


def test_a_list_that_is_closed_leaves_no_model() -> None:
    """Who looks at runs all day would have a page that grows by two models each time."""
    comms = comm.get_comm_manager().comms
    before = set(comms)
    browser = LogBrowser(NoRuns(), Query())
    opened = set(comms) - before

    browser.close()

    assert len(opened) == 2, "the list and its layout"
    assert set(comms) == before
