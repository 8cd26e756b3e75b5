"""Executes notebooks from top to bottom, without a browser: ``python -m tools.notebooks FOLDER...``.

The files stay as they are; a copy with outputs goes to ``build/notebooks``, without widget state, which a page could
only show by fetching scripts from elsewhere. Fails at the first cell that fails, and says how long each one took.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
CELL_SECONDS = 120


def execute(path: Path) -> float:
    """Seconds that the notebook took."""
    began = time.monotonic()
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    target = ROOT / "build" / "notebooks" / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    return time.monotonic() - began


def main(words: list[str]) -> None:
    found = sorted(path for word in words for path in Path(word).glob("*.ipynb"))
    if not found:
        raise SystemExit(f"no notebook in {', '.join(words) or 'nothing'}")
    for path in found:
        print(f"{path} ...", end=" ", flush=True)
        print(f"{execute(path):.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
