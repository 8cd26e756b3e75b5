"""A7: the tests of `core/` run every line of it, and every branch both ways."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_unmarked_tests_run_every_branch_of_the_core(tmp_path: Path) -> None:
    """A rule of the machine that no test ever asked for; the report in the failure names its lines."""
    coverage = [sys.executable, "-m", "coverage"]
    options = [f"--rcfile={os.devnull}", f"--data-file={tmp_path / 'coverage'}"]
    tests = ["-m", "pytest", "-q", "-m", "not slow", "-o", "timeout=250", "tests/core"]

    run = _run([*coverage, "run", *options, "--branch", "--source=tiledag_widget.core", *tests])
    report = _run([*coverage, "report", *options, "--show-missing", "--fail-under=100"])

    assert run.returncode == 0, run.stdout[-5000:]
    assert report.returncode == 0, report.stdout + report.stderr


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
