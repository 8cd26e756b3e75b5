"""Batch graphs on a real dask cluster: a scheduler and two workers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.dask_cluster import SECONDS, can_hide, cluster, wait_until
from tests.server.running import Server, environment, running_server
from tiledag_widget import DAG, Mode, Node

pytest.importorskip("distributed")
pytest.importorskip("cryptography")
for needed in ("uvicorn", "duckdb", "psutil"):
    pytest.importorskip(needed)

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def counting(address: str) -> Iterator[tuple[str, list[int]]]:
    """A wire to a scheduler on which every byte is counted."""
    target = int(address.rpartition(":")[2])
    counted = [0]
    listener = socket.create_server(("127.0.0.1", 0))
    sockets: list[socket.socket] = [listener]
    threads: list[threading.Thread] = []

    def pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                counted[0] += len(data)
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", target))
                sockets.extend((near, far))
                for pair in ((near, far), (far, near)):
                    threads.append(threading.Thread(target=pump, args=pair))
                    threads[-1].start()

    threads.append(threading.Thread(target=serve))
    threads[0].start()
    try:
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}", counted
    finally:
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in threads:
            thread.join(10)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Server], None]:
    """Makes a server the one of this process."""

    def use_it(server: Server) -> None:
        for name in ("TILEDAG_SERVER", "TILEDB_REST_USERNAME", "TILEDB_REST_PASSWORD"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("TILEDB_REST_HOST", server.url)
        monkeypatch.setenv("TILEDB_REST_TOKEN", server.token)

    return use_it


def batch(**options: Any) -> DAG:
    return DAG(mode=Mode.BATCH, **options)


def resident(pid: int) -> int:
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


def where(_: Any = None) -> int:
    """The dask worker that a task is under."""
    import os

    return os.getppid()


def test_large_results_never_pass_through_the_server(tmp_path: Path, use: Callable[[Server], None]) -> None:
    """A server on a small machine would be the neck of a large cluster, or run out of memory."""
    size = 100_000_000
    with (
        cluster(tmp_path / "dask") as dask,
        counting(dask.address) as (address, counted),
        running_server(tmp_path / "data", "--scheduler", address) as server,
    ):
        use(server)
        warm = batch()
        warm.submit(lambda: 1)
        warm.compute()
        warm.wait(SECONDS)
        before, read_before, counted[0] = resident(server.pid), read_by(server.pid), 0
        dag = batch(name="large")
        parts = [dag.submit(lambda n: bytes(n), size, name=f"part {number}") for number in range(3)]
        joined = dag.submit(lambda *parts: b"".join(parts), *parts, name="joined")
        total = dag.submit(len, joined, name="total")
        dag.compute()
        dag.wait(SECONDS)

        assert total.result() == 3 * size
        assert counted[0] < 1_000_000, f"{counted[0]:,} bytes between the server and the cluster"
        assert read_by(server.pid) - read_before < 20_000_000
        assert resident(server.pid) - before < 50_000_000


def read_by(pid: int) -> int:
    """Bytes that a process has read from files."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["rchar"])


def test_a_graph_runs_fails_prints_and_is_stopped_as_on_the_server_itself(
    tmp_path: Path, use: Callable[[Server], None]
) -> None:
    """What a graph does would depend on where it runs."""
    with cluster(tmp_path / "dask") as dask, running_server(tmp_path / "data", "--scheduler", dask.address) as server:
        use(server)
        dag = batch(name="on dask")
        numbers = dag.submit(lambda: [1, 2, 3], name="numbers")
        stage = dag.submit_udf_stage(lambda x: x * 10, numbers, expand_node_output=numbers, name="stage")
        said = dag.submit(print, "heard", stage, name="said")
        bad = dag.submit(lambda: dict[str, int]()["k"], name="bad")
        crash = dag.submit(lambda: __import__("os")._exit(7), name="crash")
        late = dag.submit(lambda: __import__("time").sleep(60), name="late", timeout=1)
        dag.compute()
        with pytest.raises(Exception):  # noqa: B017  # the first of three
            dag.wait(SECONDS)
        assert stage.result() == [10, 20, 30]
        assert said.output() == "heard [10, 20, 30]\n"
        assert isinstance(bad.error, KeyError)
        assert "exit" in str(crash.error)
        assert "timeout" in str(late.error)

        held = batch(name="held")
        slow: Node[Any] = held.submit(lambda: __import__("time").sleep(60), name="slow")
        held.compute()
        wait_until(slow.running)
        held.cancel()
        held.wait(20)
        assert str(slow.status) == "Cancelled"


def test_the_death_of_a_worker_is_a_failure_that_is_tried_again_as_asked(
    tmp_path: Path, use: Callable[[Server], None]
) -> None:
    """Work would be lost, or done twice without anybody's wish."""

    def once(path: str) -> int:
        import os
        import time

        with open(path, "a") as file:
            file.write(f"{os.getppid()}\n")
        with open(path) as file:
            count = len(file.read().splitlines())
        if count == 1:
            time.sleep(60)
        return count

    with cluster(tmp_path / "dask") as dask, running_server(tmp_path / "data", "--scheduler", dask.address) as server:
        use(server)
        dag = batch(name="deaths")
        again = dag.submit(
            once, str(tmp_path / "again"), name="again", retry_strategy={"limit": 1, "retry_policy": "Always"}
        )
        dag.compute()
        wait_until(lambda: (tmp_path / "again").exists())
        os.kill(int((tmp_path / "again").read_text()), signal.SIGKILL)
        dag.wait(SECONDS)
        assert again.result() == 2

        dask.start_worker()
        plain = batch(name="plain")
        never = plain.submit(once, str(tmp_path / "never"), name="never")
        plain.compute()
        wait_until(lambda: (tmp_path / "never").exists())
        os.kill(int((tmp_path / "never").read_text()), signal.SIGKILL)
        with pytest.raises(Exception, match="dask worker died"):
            plain.wait(SECONDS)
        assert len((tmp_path / "never").read_text().splitlines()) == 1
        assert not never.cancelled()


def test_workers_that_do_not_see_the_data_folder_are_served_too(tmp_path: Path, use: Callable[[Server], None]) -> None:
    """Machines without a folder in common could not be used, or every node would fail there."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    if not can_hide(data):
        pytest.skip("a process cannot have a view of the files of its own here (unshare -rm)")

    def dies(path: str) -> int:
        import os
        import signal

        count = int(os.path.exists(path))
        open(path, "a").close()
        if not count:
            os.kill(os.getppid(), signal.SIGKILL)
        return count

    with cluster(tmp_path / "dask", 0) as dask, running_server(data, "--scheduler", dask.address) as server:
        for _ in range(2):
            dask.start_worker(without=data)
        use(server)
        dag = batch(name="far", retry_strategy={"limit": 1, "retry_policy": "OnError"})
        seen = dag.submit(os.listdir, str(data), name="seen")
        numbers = dag.submit(lambda: [1, 2, 3], name="numbers")
        stage = dag.submit_udf_stage(lambda x: bytes(x * 1_000_000), numbers, expand_node_output=numbers, name="stage")
        sizes = dag.submit(lambda parts: [len(one) for one in parts], stage, name="sizes")
        said = dag.submit(print, "heard", sizes, name="said")
        again = dag.submit(dies, str(tmp_path / "once"), name="again")
        bad = dag.submit(lambda: dict[str, int]()["k"], name="bad")
        dag.compute()
        with pytest.raises(KeyError, match="k"):
            dag.wait(SECONDS)
        assert seen.result() == []
        assert (sizes.result(), len(stage.result()[2])) == ([1_000_000, 2_000_000, 3_000_000], 3_000_000)
        assert said.output() == "heard [1000000, 2000000, 3000000]\n"
        assert again.result(SECONDS) == 1
        assert bad.error is not None
        assert "lambda" in str(bad.error.__cause__)

        held = batch(name="held")
        slow: Node[Any] = held.submit(lambda: __import__("time").sleep(60), name="slow")
        held.compute()
        wait_until(slow.running)
        held.cancel()
        held.wait(20)
        assert str(slow.status) == "Cancelled"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--scheduler", "tcp://10.0.0.1:8786"), "is another machine"),
        (("--scheduler", "here"), "is no address of a dask scheduler"),
        (("--engine", "processes", "--scheduler", "tcp://127.0.0.1:1"), "--scheduler is for --engine dask"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, options: tuple[str, ...], words: str) -> None:
    """Code would travel in the open, or the mistake be found by the first graph."""
    done = subprocess.run(
        [sys.executable, "-m", "tiledag_widget.server", "--data-dir", str(tmp_path / "data"), *options],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 1
    assert words in done.stderr


def test_a_cluster_of_its_own_listens_on_loopback_only(tmp_path: Path, use: Callable[[Server], None]) -> None:
    """Everybody on the network could run code here."""
    import psutil

    with running_server(tmp_path / "data", "--engine", "dask", "--workers", "2") as server:
        use(server)
        dag = batch()
        here = dag.submit(where)
        dag.compute()
        dag.wait(SECONDS)

        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        assert here.result() in [one.pid for one in family]
        listening = [
            one.laddr.ip
            for process in family
            for one in process.net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        ]
        assert set(listening) <= {"127.0.0.1", "::1"}
        assert len(listening) >= 3
