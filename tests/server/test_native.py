"""`tiledb.open("tiledb://...")`: TileDB's own library reads the arrays of a real server by their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from tests.server.running import Server, running_server

pytestmark = pytest.mark.slow

SAMPLES = "tiledb://TileDB-Inc"
KINDS = "tiledb://me/kinds"
NAMES = np.array(["oak", "", "a longer name", "ash", "x", "yew"], dtype="O")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("native")
    make_kinds(folder / "kinds")
    with running_server(folder / "data", "--samples", "--workers", "1") as running:
        body = {"uri": str(folder / "kinds"), "name": "kinds"}
        assert running.ask("POST", "/v1/arrays/me/kinds/register", body).status == 200
        yield running


def make_kinds(place: Path) -> None:
    """Sparse, written twice, with texts, what may be missing, an enumeration and metadata."""
    domain = tiledb.Domain(
        tiledb.Dim(name="at", domain=(0, 10**6), tile=100, dtype=np.int64),
        tiledb.Dim(name="where", domain=(None, None), tile=None, dtype="ascii"),
    )
    attributes = [
        tiledb.Attr(name="name", dtype="U0", var=True),
        tiledb.Attr(name="size", dtype=np.float64, nullable=True),
        tiledb.Attr(name="colour", dtype=np.int8, enum_label="colours"),
    ]
    colours = tiledb.Enumeration("colours", False, ["red", "green", "blue"])
    schema = tiledb.ArraySchema(domain, attributes, sparse=True, enums=[colours])
    tiledb.Array.create(str(place), schema)
    for moment, cells in ((10, slice(0, 4)), (20, slice(4, 6))):
        with tiledb.open(str(place), "w", timestamp=moment) as array:
            at = np.arange(6)[cells]
            size = pandas_column(np.arange(6.0)[cells])
            values = {"name": NAMES[cells], "size": size, "colour": (at % 3).astype(np.int8)}
            array[at, np.array(list("abcdef"), dtype="O")[cells]] = values
            array.meta["written"] = moment


def pandas_column(values: Any) -> Any:
    import pandas

    return pandas.array(values, dtype="Float64")


def context(server: Server, **more: Any) -> tiledb.Ctx:
    settings = {"rest.server_address": server.url, "rest.token": server.token, "rest.retry_count": "0"}
    return tiledb.Ctx({**settings, **{name.replace("__", "."): str(value) for name, value in more.items()}})


def plain(found: Any) -> dict[str, list[Any]]:
    return {name: np.asarray(values).tolist() for name, values in found.items()}


def test_a_dense_array_is_read_by_its_name(server: Server) -> None:
    """What every tutorial of TileDB begins with."""
    with tiledb.open(f"{SAMPLES}/quickstart_dense", ctx=context(server)) as array:
        assert array.schema.domain.ndim == 2
        assert array.nonempty_domain() == ((1, 4), (1, 4))
        assert np.asarray(array[:]["a"]).tolist() == np.arange(1, 17).reshape(4, 4).tolist()
        assert np.asarray(array[1:3, 2:4]["a"]).tolist() == [[2, 3], [6, 7]]


def test_a_sparse_array_is_read_by_its_name(server: Server) -> None:
    """Namespaces have no case."""
    with tiledb.open("tiledb://tiledb-inc/quickstart_sparse", ctx=context(server)) as array:
        assert plain(array[:]) == {"rows": [1, 2, 2], "cols": [1, 3, 4], "a": [1, 3, 2]}
        assert plain(array.multi_index[2, 4]) == {"rows": [2], "cols": [4], "a": [2]}


def test_texts_missing_values_enumerations_and_metadata_come_whole(server: Server) -> None:
    """The same as from the folder itself."""
    place = server.folder.parent / "kinds"
    with tiledb.open(KINDS, ctx=context(server)) as far, tiledb.open(str(place)) as near:
        assert plain(far.query(attrs=["name", "colour"])[:]) == plain(near.query(attrs=["name", "colour"])[:])
        assert far.query(attrs=["size"])[:]["size"].tolist() == near.query(attrs=["size"])[:]["size"].tolist()
        assert far.query(cond="colour == 'green'", attrs=["name"])[:]["name"].tolist() == ["", "x"]
        assert list(far.enum("colours").values()) == ["red", "green", "blue"]
        assert dict(far.meta) == {"written": 20}
        assert far.nonempty_domain() == near.nonempty_domain()


def test_an_array_is_read_as_it_was(server: Server) -> None:
    """Times go with each request."""
    with tiledb.open(KINDS, timestamp=10, ctx=context(server)) as array:
        assert array.query(attrs=["name"])[:]["name"].tolist() == NAMES[:4].tolist()
        assert dict(array.meta) == {"written": 10}


def test_a_result_larger_than_the_buffers_comes_in_parts(server: Server, tmp_path: Path) -> None:
    """The library asks again for the rest."""
    place = tmp_path / "long"
    tiledb.from_numpy(str(place), np.arange(50_000, dtype=np.int64)).close()
    server.ask("POST", "/v1/arrays/me/long/register", {"uri": str(place)})

    with tiledb.open("tiledb://me/long", ctx=context(server, py__init_buffer_bytes=4096)) as array:
        assert array.multi_index[:][""].tolist() == list(range(50_000))


def test_whether_an_array_is_there_can_be_asked(server: Server) -> None:
    """And its schema be had without opening it."""
    there = context(server)

    assert tiledb.array_exists(f"{SAMPLES}/quickstart_dense", ctx=there)
    assert not tiledb.array_exists("tiledb://me/none", ctx=there)
    assert tiledb.ArraySchema.load(f"{SAMPLES}/quickstart_sparse", ctx=there).sparse
    with pytest.raises(tiledb.TileDBError, match="There is no array me/none"):
        tiledb.open("tiledb://me/none", ctx=there)


def test_writing_is_refused_with_a_way_out(server: Server) -> None:
    """Whoever tries is told where to write."""
    with (
        pytest.raises(tiledb.TileDBError, match="does not write them"),
        tiledb.open(f"{SAMPLES}/quickstart_dense", "w", ctx=context(server)) as array,
    ):
        array[:] = np.zeros((4, 4), dtype=np.int32)
    with tiledb.open(f"{SAMPLES}/quickstart_dense", ctx=context(server)) as array:
        assert array[1, 1]["a"] == 1


def test_an_array_whose_folder_has_gone_is_named(server: Server) -> None:
    """The library shows the server's words."""
    server.ask("POST", "/v1/arrays/me/gone/register", {"uri": "/no/such/folder"})

    with pytest.raises(tiledb.TileDBError, match="'tiledb://me/gone' cannot be read"):
        tiledb.open("tiledb://me/gone", ctx=context(server))


def test_a_function_that_holds_the_only_slot_can_read(server: Server) -> None:
    """A read that waited for a slot would wait for ever."""
    url, token, uri = server.url, server.token, f"{SAMPLES}/quickstart_sparse"

    def read() -> int:
        import tiledb

        settings = {"rest.server_address": url, "rest.token": token}
        with tiledb.open(uri, ctx=tiledb.Ctx(settings)) as array:
            return int(array[:]["a"].sum())

    answer = server.call(read, timeout=60)

    assert answer.status == 200, answer.body
    assert answer.value() == 6


def test_reads_are_nobodys_tasks_and_leave_no_files(server: Server) -> None:
    """The list of tasks is for what people ran."""
    before = server.ask("GET", "/v1/tasks").json()["pagination_metadata"]["total_items"]
    with tiledb.open(f"{SAMPLES}/quickstart_dense", ctx=context(server)) as array:
        array[:]

    assert server.ask("GET", "/v1/tasks").json()["pagination_metadata"]["total_items"] == before
    assert list((server.folder / "reads").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "headers", "status", "words"),
    [
        ("/v2/arrays/TileDB-Inc/quickstart_dense", {}, 415, "application/capnp"),
        ("/v2/arrays/TileDB-Inc/quickstart_dense?start_timestamp=-1", {"Content-Type": "application/capnp"}, 400, "-1"),
        ("/v3/arrays/TileDB-Inc/quickstart_dense/query/submit", {"Content-Type": "application/capnp"}, 422, "Error"),
        ("/v3/arrays/TileDB-Inc/quickstart_dense/query/submit?type=DELETE",
         {"Content-Type": "application/capnp"}, 422, "does not write"),
    ],
)  # fmt: skip
def test_what_is_no_such_request_is_refused(
    server: Server, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    """Bytes of any kind end in an answer."""
    answer = server.ask("POST", path, raw=b"\x01\x02\x03" * 50, headers=headers)

    assert answer.status == status
    assert words in answer.json()["message"]
