"""Progress on a terminal, in a script of its own: on a real pseudo-terminal, in a pipe, without Unicode."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from tiledag_widget import DAG
from tiledag_widget.view.terminal import follow

def work(number):
    time.sleep(0.02)
    if number == 7:
        raise ValueError("row 7 is not a number")
    return number

dag = DAG(name="ingest", max_workers=2, record=False)
for number in range(40):
    dag.submit_local(work, number, name=f"work-{number}")
if "visualize" in sys.argv:
    dag.visualize()
else:
    follow(dag._as_source())
dag.compute()
try:
    dag.wait()
except ValueError:
    pass
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "PYTHONIOENCODING")}
    return {**kept, "TERM": "xterm", "TILEDAG_RECORD": "0", **more}


def on_terminal(folder: Path, *words: str, **more: str) -> str:
    """What a person's terminal is sent."""
    script = folder / "run.py"
    script.write_text(SCRIPT)
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, str(script), *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more)
        ) as process:
            os.close(theirs)
            theirs = -1
            told = b""
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # the other end is closed: the script has ended
                    break
                if not part:
                    break
                told += part
            assert process.wait(30) == 0, told.decode(errors="replace")
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return told.decode()


@pytest.mark.slow
def test_on_a_terminal_one_line_is_redrawn_and_the_end_stays(tmp_path: Path) -> None:
    """A script that runs for an hour shows nothing, or a thousand lines."""
    told = on_terminal(tmp_path, "visualize")

    drawn = told.split("\r\x1b[K")[1:]
    assert len(drawn) >= 2
    running, end = drawn[:-1], drawn[-1]
    assert all("\n" not in line for line in running), "a line that was to be redrawn is left behind"
    assert any(re.search(r"ingest \d+/40 .*[▓░]", line) for line in running)
    plain = re.sub(r"\x1b\[\d*m", "", end).replace("\r\n", "\n")
    assert plain.startswith("DAG ingest  Failed  39/40")
    assert "ValueError: row 7 is not a number" in plain
    assert "\x1b[31m" in end


@pytest.mark.slow
def test_no_color_is_honoured(tmp_path: Path) -> None:
    """Who asked for no colour gets letters like ``[31m``."""
    told = on_terminal(tmp_path, "visualize", NO_COLOR="1")

    assert "39/40" in told
    assert re.findall(r"\x1b\[[\d;]*m", told) == []


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", "▓"), ("ascii", "#")])
def test_in_a_log_file_there_are_few_plain_lines_that_it_can_hold(tmp_path: Path, encoding: str, bar: str) -> None:
    """A log of a nightly job would be full of control codes, or the job would die of an encoding."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, str(script)],
            stderr=log, stdout=subprocess.DEVNULL, env=environment(PYTHONIOENCODING=f"{encoding}:strict"), timeout=60,
        )  # fmt: skip

    told = (tmp_path / "log").read_bytes().decode(encoding)
    lines = [line for line in told.splitlines() if re.match(r"ingest \d+/40", line)]
    assert done.returncode == 0, told
    assert "\x1b" not in told
    assert "\r" not in told
    assert 1 <= len(lines) <= 12
    assert any(bar in line for line in lines)
    assert "ValueError: row 7 is not a number" in told


@pytest.mark.slow
def test_a_pipe_shows_nothing_unless_it_is_asked(tmp_path: Path) -> None:
    """``visualize`` in a script whose output goes to a program would mix into what that program reads."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), "visualize"], capture_output=True, env=environment(), timeout=60, text=True
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
