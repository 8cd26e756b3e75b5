"""Tasks for dask workers that do not see the server's data folder: their files travel with them, and back.

The slow way, for machines that share no folder: what a task reads goes through the server to the worker, and what it
leaves comes back when it has ended, its output too. What it needs besides (arrays on disk) it must find there itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["pack", "unpack"]

_LAST: Final = "reply.json"


def pack(order: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """An order that names its inputs by number, and their content.

    Raises:
        OSError: One of them cannot be read.
    """
    contents: list[bytes] = []
    numbers: dict[str, int] = {}

    def number(path: str) -> int:
        if path not in numbers:
            numbers[path] = len(contents)
            contents.append(Path(path).read_bytes())
        return numbers[path]

    job = dict(order["job"])
    if "outputs" in job:
        job["outputs"] = {name: [number(path), *rest] for name, (path, *rest) in job["outputs"].items()}
    if "parts" in job:
        job["parts"] = [[number(path), *rest] for path, *rest in job["parts"]]
    return {**order, "job": job}, contents


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Put what a task left into its folder; what makes it count as its whole reply comes last."""
    for name in sorted(files, key=lambda one: (one == _LAST, one)):
        part = folder / f"{name}.part"
        part.write_bytes(files[name])
        os.replace(part, folder / name)
