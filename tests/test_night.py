"""`tools.night`: a trial goes on where it was, and a failure can be repeated."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tools.night import TRIALS, Book, run, trial_of

ROOT = Path(__file__).resolve().parent.parent


def of(one: Callable[[int], None]) -> Callable[[Path], contextlib.AbstractContextManager[Callable[[int], None]]]:
    @contextlib.contextmanager
    def trial(folder: Path) -> Iterator[Callable[[int], None]]:
        assert folder.is_dir()
        yield one

    return trial


def test_a_trial_goes_on_after_the_last_seed_that_passed(tmp_path: Path) -> None:
    """Each night would look at the same seeds."""
    seeds: list[int] = []
    for _ in range(3):
        assert run("T", of(seeds.append), 0.0, Book(tmp_path / "T.json")) == 0

    assert seeds == [0, 1, 2]


def test_a_failure_says_how_to_repeat_it_and_comes_first_the_next_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A red night that nobody can look into."""
    seeds: list[int] = []

    def one(seed: int) -> None:
        seeds.append(seed)
        assert seed < 2, "too high"

    assert run("T", of(one), 60.0, Book(tmp_path / "T.json")) == 1
    said = capsys.readouterr().out
    assert "T failed at seed 2: AssertionError: too high" in said
    assert "-m tools.night T --seed 2\n" in said
    assert run("T", of(one), 60.0, Book(tmp_path / "T.json")) == 1
    assert seeds == [0, 1, 2, 2]
    assert run("T", of(seeds.append), 0.0, Book(tmp_path / "T.json"), only=7) == 0
    assert Book(tmp_path / "T.json").last == 1


def test_what_is_wrong_over_all_seeds_fails_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A leak shows at the end only."""

    @contextlib.contextmanager
    def trial(_: Path) -> Iterator[Callable[[int], None]]:
        yield lambda seed: None
        raise AssertionError("it grew")

    assert run("T", trial, 0.0, Book(tmp_path / "T.json")) == 1
    assert "T failed over all seeds up to 0: AssertionError: it grew" in capsys.readouterr().out


@pytest.mark.slow
def test_a_seed_that_hangs_ends_the_night_with_the_stacks() -> None:
    """A night that hangs tells nothing in the morning."""
    code = (
        "import contextlib, pathlib, tempfile, threading\n"
        "from tools.night import Book, run\n"
        "@contextlib.contextmanager\n"
        "def trial(folder): yield lambda seed: threading.Event().wait(60)\n"
        "run('T', trial, 60, Book(pathlib.Path(tempfile.mkdtemp()) / 'T.json'), patience=0.2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "T failed at seed 0: it has not ended after 0.2 s" in done.stdout
    assert "threading.py" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TRIALS))
def test_every_name_leads_to_its_trial(name: str) -> None:
    """A trial that was renamed would be missed in the night, not here."""
    if name == "E4":
        pytest.importorskip("distributed", reason="distributed is not installed: pip install 'tiledag-widget[dask]'")
    assert callable(trial_of(name))
