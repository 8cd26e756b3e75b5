"""Every notebook runs from top to bottom without anybody there, and comes to what its text says.

Each is executed by nbclient as "Run all" would, in a kernel of its own that can reach no other machine, and without
widget state. What a notebook came to is asked of its kernel, in a cell that the test puts behind the last one.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
MAY_KEEP_OUTPUTS = ("01_first_graph",)
CPU_SECONDS = 60
CELL_SECONDS = 240

OFFLINE = """
import socket

_look_up = socket.getaddrinfo

def _refuse(host, *args, **kwargs):
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError("a notebook may not need the network")
    return _look_up(host, *args, **kwargs)

socket.getaddrinfo = _refuse
"""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


class Executed:
    """A notebook that was run, with extra cells put in before the cell of an id.

    Args:
        path: The notebook's file, which stays as it is.
        before: Code by the id of the cell that it goes before.
        facts: An expression; its value after the last cell, of plain values only, becomes ``facts``.

    Attributes:
        cpu_seconds: What its kernel worked. It is this that is bounded, not the time on the wall, because a machine
            busy with other things should not fail the test.
    """

    def __init__(self, path: Path, *, before: Mapping[str, str] | None = None, facts: str = "None") -> None:
        self._cells = {cell["id"]: cell for cell in _read(path).cells}
        extra = dict(before or {})
        notebook = _read(path)
        notebook.cells = [_code("offline", OFFLINE)]
        for cell_id, cell in self._cells.items():
            if cell_id in extra:
                notebook.cells.append(_code(f"before-{cell_id}", extra.pop(cell_id)))
            notebook.cells.append(cell)
        assert not extra, f"{path.name} has no cell {', '.join(extra)}"
        notebook.cells.append(_code("facts", f"import time; print(repr((time.process_time(), {facts})))"))
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            store_widget_state=False,
            resources={"metadata": {"path": str(path.parent)}},
        )

        # In a loop that ends: `execute` keeps one, with its sockets, as long as the process lives.
        asyncio.run(client.async_execute())

        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.cpu_seconds, self.facts = ast.literal_eval(_printed(self.cells[-1]))

    def printed(self, cell_id: str) -> str:
        """What a cell wrote to standard output, and its last value as text."""
        return _printed(self._cells[cell_id])

    def warned(self) -> str:
        """What any cell wrote to standard error."""
        return "".join(output.text for cell in self.cells for output in cell.outputs if output.get("name") == "stderr")


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def _code(cell_id: str, source: str) -> Any:
    cell = nbformat.v4.new_code_cell(source)
    cell["id"] = cell_id
    return cell


def _printed(cell: Any) -> str:
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
        if output.get("name") != "stderr"
    )


@every_notebook
def test_a_notebook_is_kept_clean(path: Path) -> None:
    """Outputs and run numbers would make every diff unreadable, and a stored widget state breaks other pages."""
    notebook = _read(path)

    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    if path.stem not in MAY_KEEP_OUTPUTS:
        cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert [cell for cell in cells if cell.outputs or cell.execution_count] == []


FIRST = NOTEBOOKS[0]
FIRST_FACTS = """{
    "statuses": sorted({str(node.status) for node in dag.nodes.values()}),
    "status": str(dag.status),
    "flights": len(flights.result()),
    "arrived": sum(len(node.result()) for node in arrived.values()),
    "matched": {month: len(node.result()) for month, node in matched.items()},
    "league": {row.Index: (row.flights, row.mean, row.low, row.high) for row in punctuality.result().itertuples()},
    "scores": scores.result().to_dict(),
}"""
# Flights that arrived and whose airport reported the weather of their hour.
MATCHED = {
    1: 26346, 2: 23582, 3: 27902, 4: 27548, 5: 28128, 6: 27075,
    7: 28251, 8: 28554, 9: 26996, 10: 28454, 11: 26876, 12: 26107,
}  # fmt: skip


def check_results_of_first_notebook(executed: Executed) -> None:
    facts = executed.facts
    assert facts["statuses"] == ["Completed"]
    assert facts["status"] == "Completed"
    assert facts["flights"] == 336_776
    assert facts["arrived"] == 327_346
    assert facts["matched"] == MATCHED

    league = facts["league"]
    assert len(league) == 16
    assert sum(flights for flights, *_ in league.values()) == 327_346
    first, *_, last = league
    assert (first, last) == ("Alaska Airlines Inc.", "Frontier Airlines Inc.")
    assert league["United Air Lines Inc."] == pytest.approx((57_782, 3.558, 3.23, 3.88), abs=0.05)
    for name, (_, mean, low, high) in league.items():
        assert low < mean < high, name

    timetable, weather = facts["scores"]["timetable"], facts["scores"]["timetable and weather"]
    assert list(timetable) == ["2", "4", "6", "8", "10", "12", "all"]
    assert timetable["all"] == pytest.approx(0.043, abs=0.002)
    assert weather["all"] == pytest.approx(0.104, abs=0.002)
    assert all(weather[sample] > timetable[sample] for sample in timetable)


def check_first_notebook(executed: Executed) -> None:
    """One node fails where the clocks went back, blocks what builds on it, and completes when the cell retries."""
    assert executed.printed("graph") == "58"
    assert executed.printed("failed").startswith("MergeError: Merge keys are not unique in right dataset")
    blocked = executed.printed("failed").partition("blocked:\n")[2].split("\n")
    assert [name.strip() for name in blocked if name] == ["features 11", "fit timetable", "fit weather", "score"]
    assert executed.printed("look").count("2013-11-03T0") == 6
    assert "wait() raised MergeError: nobody pressed the button" in executed.printed("retry")
    check_results_of_first_notebook(executed)


BATCH_FACTS = """{
    "statuses": {node.name: str(node.status) for node in found.nodes.values()},
    "status": str(found.status),
    "days": deliver_node.result().to_dict("index"),
    "tries": attempts["status"].to_list(),
    "knocks": len(MAILBOX.read_text().splitlines()),
}"""


def check_batch_notebook(executed: Executed) -> None:
    """The run is found again by its id, and tells of the two attempts that failed."""
    facts = executed.facts
    assert facts["status"] == "Completed"
    assert facts["statuses"] == dict.fromkeys(["by month", "worst day", "deliver"], "Completed")
    assert list(facts["days"]) == list(range(1, 13))
    assert facts["days"][3] == {"day": 8, "minutes late": pytest.approx(85.9, abs=0.1)}
    assert facts["tries"] == ["COMPLETED", "COMPLETED", "FAILED", "FAILED", "COMPLETED"]
    assert facts["knocks"] == 3
    assert "the service is busy" in executed.printed("attempts")
    knocks, months = executed.printed("output").strip().splitlines()[:3], executed.printed("output").splitlines()[3:]
    assert knocks == [f"attempt {n}: knocked {n} times" for n in (1, 2, 3)]
    assert [line.split(":")[0] for line in months if line] == [f"[{n - 1}] month {n}" for n in range(1, 13)]


SERVER_FACTS = """{
    "statuses": sorted({str(node.status) for node in dag.nodes.values()}),
    "worst": answer.result()["days"].iloc[0].to_dict(),
    "flights": int(hours["size"].sum()),
    "made_up": float(made_up),
    "kinds": record["kind"].value_counts().to_dict(),
    "recorded": sorted(set(record["status"])),
    "log": (log.name, log.status, len(log.nodes)),
}"""


def check_server_notebook(executed: Executed) -> None:
    """Array functions, SQL and a function of both ran on the server, which remembers all fourteen."""
    facts = executed.facts
    assert executed.printed("array") == "'327,346 flights of 336,776 arrived'"
    assert facts["statuses"] == ["Completed"]
    assert (facts["worst"]["month"], facts["worst"]["day"]) == (3, 8)
    assert facts["worst"]["left_late"] == pytest.approx(83.6, abs=0.1)
    assert facts["worst"]["usual_delay"] == -1
    assert facts["flights"] == 327_346
    assert facts["made_up"] == pytest.approx(7, abs=0.5)
    assert facts["kinds"] == {"UDF": 12, "SQL": 1, "GENERIC_UDF": 1}
    assert facts["recorded"] == ["COMPLETED"]
    assert facts["log"] == ("flights on the server", "succeeded", 14)


@pytest.fixture(autouse=True)
def own_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Notebooks that need a server start one of their own, which ends with the test."""
    for name in ("TILEDB_REST_HOST", "TILEDB_REST_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TILEDAG_SERVER", "embedded")
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(tmp_path / "data"))
    yield
    if (tmp_path / "data").exists():
        from tiledag_widget.server import launch

        launch.stop(tmp_path / "data")


CHECKS: dict[str, tuple[str, Callable[[Executed], None]]] = {
    "01_first_graph": (FIRST_FACTS, check_first_notebook),
    "03_server_arrays_sql": (SERVER_FACTS, check_server_notebook),
    "04_batch_and_retries": (BATCH_FACTS, check_batch_notebook),
}
"""By notebook: the facts to ask for, and what must be true of them and of what its cells printed."""


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_by_itself(path: Path) -> None:
    """Who only presses "Run all" gets through it, without a warning, to what the text says."""
    facts, check = CHECKS[path.stem]

    executed = Executed(path, facts=facts)

    check(executed)
    assert executed.warned() == ""
    assert executed.cpu_seconds <= CPU_SECONDS


@pytest.mark.slow
def test_the_first_notebook_completes_within_one_wait_when_somebody_retries() -> None:
    """Who presses Retry while the cell waits must not see it fail all the same; who presses before the repair, must.

    The press is a callback of an interval that ends while the cell is in ``dag.wait()``, on a thread that is not the
    cell's, as a press in the view would be. Pressing it in the view is for the browser tests.
    """
    too_early = "november.retry(); assert type(november.exception()) is pd.errors.MergeError"
    press = "dag.nodes_by_name['interval AA'].add_done_callback(lambda node: november.retry())"

    executed = Executed(FIRST, before={"fix": too_early, "retry": press}, facts=FIRST_FACTS)

    assert "nobody pressed" not in executed.printed("retry")
    check_results_of_first_notebook(executed)
