"""What is asked of a server: slips are refused when the node is made, and what ours does not do is said once."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tiledag_widget import DAG, Mode, wishes

MODES = pytest.mark.parametrize("mode", list(Mode), ids=str)


@pytest.fixture(autouse=True)
def on_the_embedded_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is sent there: these graphs do not run."""
    monkeypatch.setenv("TILEDAG_SERVER", "embedded")
    wishes.forget()
    yield
    wishes.forget()


def read(path: str, *, limit: int = 3) -> tuple[str, int]:
    return path, limit


class Reader:
    def read(self, path: str, limit: int = 3) -> tuple[str, int]:
        return path, limit


@MODES
def test_a_keyword_that_nobody_knows_is_refused_when_the_node_is_made(mode: Mode) -> None:
    """It would fail the node in the middle of a run, hours later, or be taken for an option and do nothing."""
    dag = DAG(mode=mode)

    with pytest.raises(TypeError, match=r"Node 'slip': read\(\) takes no 'tiemout'; perhaps 'timeout' is meant"):
        dag.submit(read, "a", tiemout=3, name="slip")
    with pytest.raises(TypeError, match=r"Reader\.read\(\) takes no 'limt'; perhaps 'limit'.* It takes path, limit\."):
        dag.submit(Reader().read, "a", limt=3)

    assert dag.nodes == {}


def test_local_nodes_queries_and_arrays_refuse_it_too() -> None:
    """The same slip in another method."""
    dag = DAG()

    with pytest.raises(TypeError, match=r"read\(\) takes no 'limt'"):
        dag.submit_local(read, "a", limt=3)
    with pytest.raises(TypeError, match="submit_sql takes no 'init_comands'; perhaps 'init_commands' is meant"):
        dag.submit_sql("select 1", init_comands=["set @x := 1"])
    with pytest.raises(TypeError, match=r"read\(\) takes no 'atrs'"):
        dag.submit_array_udf("s3://bucket/array", read, ranges=[(1, 2)], atrs=["a"])

    assert dag.nodes == {}


@pytest.mark.parametrize("mode", [Mode.REALTIME, Mode.BATCH])
def test_a_format_that_holds_no_rows_is_refused_when_the_query_is_made(mode: Mode) -> None:
    """The query would run to its end, and its result fail with the words of another library."""
    dag = DAG(mode=mode)

    with pytest.raises(ValueError, match="Node 'rows': result_format 'bytes' holds the bytes that .*'tiledb_json'"):
        dag.submit_sql("select 1", result_format="bytes", name="rows")
    with pytest.raises(ValueError, match="Node 'rows': result_format 'r_serialization' is for R only"):
        dag.submit_sql("select 1", result_format="r_serialization", raw_results=True, name="rows")

    assert dag.nodes == {}


@MODES
def test_what_a_function_may_take_is_left_to_it(mode: Mode) -> None:
    """A function that takes any keyword, or does not say which, would be refused by a guess."""

    def anything(path: str, **options: Any) -> Any:
        return path, options

    @functools.wraps(read)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return read(*args, **kwargs)

    dag = DAG(mode=mode)
    dag.submit(anything, "a", tiemout=3)
    dag.submit(wrapped, "a", limit=3)
    dag.submit(functools.partial(read, "a"), limit=3)
    dag.submit(sorted, [2, 1], key=abs)
    dag.submit(Reader().read, path="a", limit=3)

    assert len(dag.nodes) == 5


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ({"image_name": "geo"}, "image_name='geo': it has no images"),
        ({"access_credentials_name": "s3"}, "access_credentials_name='s3'"),
        ({"resource_class": "huge"}, "resource_class='huge': it has standard and large"),
        ({"resources": {"gpu": 1}}, r"resources\['gpu'\]=1"),
        ({"resources": {"cpu": "100000"}}, r"resources\['cpu'\]='100000': this machine has"),
    ],
    ids=str,
)
def test_what_our_server_does_not_do_is_said_once_where_it_was_asked_for(wish: dict[str, Any], word: str) -> None:
    """A person would believe that the wish was granted; a program of TileDB Cloud's must still run."""
    dag = DAG(mode=Mode.BATCH)

    with pytest.warns(UserWarning, match=f"Node 'one' asks the server of tiledag for {word}") as said:
        dag.submit(read, "a", name="one", **wish)
    dag.submit(read, "a", name="two", **wish)  # a warning would be an error here

    assert [one.filename for one in said] == [__file__]
    assert len(dag.nodes) == 2


def test_wishes_that_are_granted_or_go_elsewhere_are_not_spoken_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings about nothing teach people to read none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DAG().submit(read, "a", image_name="default", resource_class="large", timeout=5)
        DAG(mode=Mode.BATCH).submit(read, "a", resources={"cpu": "1", "memory": "2Gi"})
        monkeypatch.delenv("TILEDAG_SERVER")
        monkeypatch.setenv("TILEDB_REST_HOST", "https://api.tiledb.com")
        DAG().submit(read, "a", image_name="geo", resource_class="huge")


@pytest.mark.parametrize(
    ("mode", "options", "word"),
    [
        (Mode.BATCH, {"timeout": -1}, "timeout must be a number of seconds above 0, got -1"),
        (Mode.BATCH, {"result_format": "xml"}, "result_format is 'xml', expected one of"),
        (Mode.REALTIME, {"resource_class": 3}, "`resource_class` must be a text"),
        (Mode.REALTIME, {"resources": {"cpu": "1"}}, "Cannot set resources for REALTIME task graphs"),
        (Mode.BATCH, {"resources": {"cpu": "-3"}}, r"resources\['cpu'\] is '-3'; write '2'"),
        (Mode.BATCH, {"resources": {"cpu": 0}}, r"resources\['cpu'\] is 0; write '2'"),
        (Mode.BATCH, {"resources": {"memory": "0Gi"}}, r"resources\['memory'\] is '0Gi'; write '512Mi'"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_when_the_node_is_made(mode: Mode, options: dict[str, Any], word: str) -> None:
    """The server would say so in the middle of the run, or take it in silence."""
    with pytest.raises((TypeError, ValueError), match=word):
        DAG(mode=mode).submit(read, "a", **options)
