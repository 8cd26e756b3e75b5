"""Layout beside Graphviz dot, in one run: processor seconds and crossings, on the same marks and edges.

Crossings are counted twice: of straight lines between the marks (what a reader sees without bends), and along the
bends. dot comes with the front end's packages for tests; it is a rival here and nothing of ours uses it.
"""

from __future__ import annotations

import platform
import random
import sys
import time
from array import array
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import itertools

from benchmarks.graphviz import drawn_by_dot
from tiledag_widget.core.snapshot import Structure
from tiledag_widget.view.fold import fold
from tiledag_widget.view.layout import arrange, place

Edges = list[tuple[int, int]]
Point = tuple[float, float]


def skipping(nodes: int, edges: int, window: int, seed: int) -> tuple[int, Edges]:
    """A random graph whose edges span up to ``window`` indices."""
    chance = random.Random(seed)
    found: set[tuple[int, int]] = set()
    while len(found) < edges:
        child = chance.randrange(1, nodes)
        found.add((chance.randrange(max(0, child - window), child), child))
    return nodes, sorted(found)


def tree_with_skips(nodes: int, extra: int, seed: int) -> tuple[int, Edges]:
    """A random tree with some edges across."""
    chance = random.Random(seed)
    found = {(chance.randrange(max(0, child - 40), child), child) for child in range(1, nodes)}
    while len(found) < nodes - 1 + extra:
        child = chance.randrange(1, nodes)
        found.add((chance.randrange(child), child))
    return nodes, sorted(found)


def layered_with_skips(ranks: int, width: int, edges: int, seed: int) -> tuple[int, Edges]:
    """Ranks of equal width; every mark has a parent in the rank before it, a third of the rest come from further."""
    chance = random.Random(seed)
    found = {((node // width - 1) * width + chance.randrange(width), node) for node in range(width, ranks * width)}
    while len(found) < edges:
        parent = chance.randrange((ranks - 1) * width)
        rank = min(ranks - 1, parent // width + chance.choice((1, 1, 1, 2, 2, 3)))
        found.add((parent, rank * width + chance.randrange(width)))
    return ranks * width, sorted(found)


def layered(ranks: int, width: int, parents: int, seed: int) -> tuple[int, Edges]:
    chance = random.Random(seed)
    found: set[tuple[int, int]] = set()
    for node in range(width, ranks * width):
        base = (node // width - 1) * width
        found |= {(base + chance.randrange(width), node) for _ in range(parents)}
    return ranks * width, sorted(found)


def segments(points: dict[int, Point], edges: Edges, bends: list[list[Point]] | None) -> list[list[Point]]:
    lines = []
    for number, (parent, child) in enumerate(edges):
        middle = bends[number] if bends else []
        lines.append([points[parent], *middle, points[child]])
    return lines


def crossings(lines: list[list[Point]], edges: Edges) -> int:
    """Pairs of lines that cross properly; lines with a common end are not counted."""
    pieces = [(number, *piece) for number, line in enumerate(lines) for piece in itertools.pairwise(line)]
    pieces = [(n, a, b) if a[0] <= b[0] else (n, b, a) for n, a, b in pieces]
    pieces.sort(key=lambda piece: piece[1][0])
    active: list[tuple[int, Point, Point]] = []
    total = 0
    for number, a, b in pieces:
        active = [other for other in active if other[2][0] > a[0]]
        for other, c, d in active:
            if other == number or set(edges[other]) & set(edges[number]):
                continue
            if cross(a, b, c) * cross(a, b, d) < -1e-12 and cross(c, d, a) * cross(c, d, b) < -1e-12:
                total += 1
        active.append((number, a, b))
    return total


def cross(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def along_ranks(net_edges: list[list[Point]]) -> int:
    """Crossings along the bends, rank by rank; bends that are shared count once at most."""
    by_rank: dict[float, list[tuple[float, float]]] = {}
    for line in net_edges:
        for (x, y), (_, z) in itertools.pairwise(line):
            by_rank.setdefault(x, []).append((y, z))
    total = 0
    for pieces in by_rank.values():
        for number, (y, z) in enumerate(pieces):
            total += sum((y - other) * (z - end) < 0 for other, end in pieces[:number])
    return total


def of_ours(count: int, edges: Edges) -> tuple[float, int, int]:
    source, target = [a for a, _ in edges], [b for _, b in edges]
    best = float("inf")
    for _ in range(3):
        begin = time.process_time()
        layout = place(count, source, target)
        best = min(best, time.process_time() - begin)
    points = {mark: (layout.rank[mark] * 4.0, layout.slot[mark]) for mark in range(count)}
    bends = [
        [((layout.rank[parent] + 1 + step) * 4.0, slot) for step, slot in enumerate(own)]
        for (parent, _), own in zip(edges, layout.bends, strict=False)
    ]
    straight = crossings(segments(points, edges, None), edges)
    return best, straight, along_ranks(segments(points, edges, bends))


def of_dot(count: int, edges: Edges) -> tuple[float, int]:
    text = "digraph{rankdir=LR;node[shape=box,width=2,height=.5,fixedsize=true];"
    text += ";".join(map(str, range(count))) + ";" + ";".join(f"{a}->{b}" for a, b in edges) + "}"
    [(out, seconds)] = drawn_by_dot([text], "plain")
    points = {}
    for line in out.splitlines():
        words = line.split()
        if words[0] == "node":
            points[int(words[1])] = (float(words[2]), float(words[3]))
    return seconds, crossings(segments(points, edges, None), edges)


def structure_of(count: int, edges: Edges, groups: int) -> Structure:
    parents: list[list[int]] = [[] for _ in range(count)]
    for parent, child in edges:
        parents[child].append(parent)
    start, flat = array("I", [0]), array("I")
    for own in parents:
        flat.extend(own)
        start.append(len(flat))
    chance = random.Random(1)
    numbers = array("I", (chance.randrange(groups) for _ in range(count)))
    return Structure([f"n-{n}" for n in range(count)], numbers, [f"f{n}" for n in range(groups)], start, flat)


def main() -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}")
    cases = {
        "10 marks": skipping(10, 14, 6, 1),
        "60 marks": layered(8, 8, 2, 1),
        "100 layered": layered(10, 10, 2, 2),
        "100 skips": skipping(100, 150, 30, 3),
        "tree 150 + 20": tree_with_skips(150, 20, 4),
        "300 layered": layered(30, 10, 2, 5),
        "300 some skips": layered_with_skips(20, 15, 450, 5),
        "300 skips": skipping(300, 450, 60, 6),
        "tree 300 + 60": tree_with_skips(300, 60, 7),
        "500 some skips": layered_with_skips(25, 20, 731, 5),
        "500 skips": skipping(500, 731, 60, 8),
        "500 layered": layered(25, 20, 2, 9),
        "tree 500 + 231": tree_with_skips(500, 231, 10),
    }
    numbers = "".join(f"{word:>9}" for word in ("ours s", "dot s", "ours x", "bends x", "dot x", "ratio"))
    print(f"{'graph':16}{'marks':>6}{'edges':>6}{numbers}")
    for name, (count, edges) in cases.items():
        seconds, straight, bent = of_ours(count, edges)
        rival, theirs = of_dot(count, edges)
        ratio = straight / theirs if theirs else float("nan")
        print(f"{name:16}{count:6}{len(edges):6}{seconds:9.3f}{rival:9.3f}{straight:9}{bent:9}{theirs:9}{ratio:9.2f}")
    for name, structure in {
        "100k independent": structure_of(100_000, [], 1),
        "100k layered": structure_of(*layered(200, 500, 3, 11), 10),
        "10k layered": structure_of(*layered(200, 50, 3, 12), 6),
        "chain 20k": structure_of(20_000, [(n, n + 1) for n in range(19_999)], 3),
        "100k own groups": structure_of(*skipping(100_000, 200_000, 60, 13), 100_000),
    }.items():
        begin = time.process_time()
        folding = fold(structure)
        folded = time.process_time()
        arrange(folding)
        done = time.process_time()
        print(f"{name:16} fold {folded - begin:6.3f} s, layout of {len(folding)} marks {done - folded:6.3f} s")


if __name__ == "__main__":
    main()
