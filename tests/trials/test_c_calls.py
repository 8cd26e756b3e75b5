"""Trial C1, its last row: an interrupt while a call to the server is under way, of one that answers and of one that
does not."""

from __future__ import annotations

import contextlib
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

for needed in ("uvicorn", "psutil"):
    pytest.importorskip(needed)

import tiledag_widget  # noqa: E402
from tests.helpers import replayable, seeds  # noqa: E402
from tests.run.test_interrupts import assert_prompt, interrupted, interrupts_to_the_key  # noqa: E402
from tests.server.running import embedded_server  # noqa: E402
from tiledag_widget import DAG, Status  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.leaks("the connection lasts as long as the trial"),
    pytest.mark.skipif(sys.platform == "win32", reason="signals as on Linux and macOS"),
]

SECONDS = 60
CALLS = ("a list of runs", "a run and its nodes", "a result", "an answer that never comes")


def double(value: int) -> int:
    return 2 * value


double.__module__ = "__main__"  # goes by value


@contextlib.contextmanager
def silent_host() -> Iterator[str]:
    """Takes every connection and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join()
            for one in taken:
                one.close()


def one_interrupt(what: str, seed: int) -> float:
    """Seconds from the signal to the KeyboardInterrupt; what was begun ends as it would have, and can be asked for."""
    dag: Any = DAG(name=f"interrupted {seed}", max_workers=2)
    nodes = [dag.submit(double, number) for number in range(3)]
    dag.compute()

    def results() -> None:
        while True:
            for node in nodes:
                node.result()
                tiledag_widget.server_logs(dag)

    def lists() -> None:
        while True:
            tiledag_widget.list_logs(per_page=5)

    def runs() -> None:
        dag.wait(SECONDS)
        while True:
            tiledag_widget.server_logs(dag)

    actions: dict[str, Callable[[], None]] = {CALLS[0]: lists, CALLS[1]: runs, CALLS[2]: results}
    after = random.Random(seed).uniform(0.0, 0.5)
    with replayable(seed):
        if what == CALLS[3]:
            with silent_host() as url, pytest.MonkeyPatch.context() as patch:
                patch.setenv("TILEDB_REST_HOST", url)
                patch.setenv("TILEDB_REST_TOKEN", "nobody asks for it")
                took = interrupted(lists, after)
        else:
            took = interrupted(actions[what], after)
        dag.wait(SECONDS)
        assert [node.result(SECONDS) for node in nodes] == [0, 2, 4]
        assert dag.status is Status.COMPLETED
        found = tiledag_widget.list_logs(per_page=20).task_graph_logs or ()
        assert any(log.name == dag.name for log in found)
    return took


@contextlib.contextmanager
def calls(folder: Path) -> Iterator[Callable[[int], None]]:
    """C1 of calls, one a seed."""
    took: list[float] = []
    with embedded_server(folder, TILEDAG_SERVER="embedded"), interrupts_to_the_key():
        one_interrupt(CALLS[0], 0)  # the first imports
        yield lambda seed: took.append(one_interrupt(CALLS[seed % len(CALLS)], seed))
        tiledag_widget.shutdown()
    if took:
        assert_prompt(took)


def test_c1_an_interrupt_in_a_call_comes_out_at_once_and_loses_nothing(tmp_path: Path) -> None:
    """A notebook whose stop button waits for the network."""
    before = signal.getsignal(signal.SIGINT)
    with calls(tmp_path) as one:
        for seed in seeds(4 * len(CALLS)):
            one(seed)

    assert signal.getsignal(signal.SIGINT) is before
