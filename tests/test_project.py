"""What is shipped: the wheel, the lock file, the version."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import tiledag_widget

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_wheel_carries_the_front_end(tmp_path: Path) -> None:
    """Whoever installs the wheel has no Node, and no graph would ever appear."""
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    done = subprocess.run([*pip, "-w", str(tmp_path), "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}

    for name in ("static/widget.js", "static/widget.css", "static/more.js", "view/palette.json", "view/words.json"):
        assert sizes[f"tiledag_widget/{name}"] > 0
    assert "tiledag_widget/py.typed" in sizes
    assert not [name for name in sizes if name.startswith(("tests/", "tools/", "js/"))]


def test_the_lock_file_names_no_download_address() -> None:
    """An address of one machine's registry would break the build on every other."""
    lock = json.loads((ROOT / "js" / "package-lock.json").read_text())

    resolved = [name for name, entry in lock["packages"].items() if "resolved" in entry]

    assert resolved == []


def test_the_version_is_told_once() -> None:
    """`pip list` and `tiledag_widget.__version__` must not disagree in a bug report."""
    assert metadata.version("tiledag-widget") == tiledag_widget.__version__
