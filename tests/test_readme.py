"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_example_of_the_readme_prints_its_result(tmp_path: Path) -> None:
    """The first thing anybody tries."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)

    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=25)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "5999.5"
