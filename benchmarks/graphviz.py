"""Graphviz dot as the front end's packages bring it (WebAssembly): a rival in layout, a reader of the DOT export."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools import frontend

ROOT = Path(__file__).resolve().parent.parent


def drawn_by_dot(texts: Iterable[str], form: str) -> list[tuple[str, float]]:
    """Of each DOT graph its picture, as ``"svg"`` or ``"plain"``, and the processor seconds of making it.

    Raises:
        ValueError: Graphviz does not take a graph; its own words and the graph.
    """
    frontend.install(ROOT)
    _, environment = frontend.npm_command()
    graphs = list(texts)
    done = subprocess.run(
        ["node", "test/dot.mjs", form],
        cwd=ROOT / "js",
        env=environment,
        input="".join(json.dumps(text) + "\n" for text in graphs),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
        timeout=120,
    )
    made = [json.loads(line) for line in done.stdout.splitlines()]
    for text, each in zip(graphs, made, strict=True):
        if "error" in each:
            raise ValueError(f"Graphviz does not take it: {each['error']}\n{text}")
    return [(each["picture"], each["seconds"]) for each in made]
