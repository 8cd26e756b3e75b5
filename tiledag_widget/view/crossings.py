"""The order of marks within their ranks, with few edges that cross.

A `Net` has edges between neighbouring ranks only. Sweeps sort each rank by where its neighbours stand, swaps of
neighbours take away what that leaves, and the best of a few starts is sifted: each vertex goes where it crosses least.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from sys import maxsize
from typing import Final

from .ranks import Breathe

WORK_LIMIT: Final = 100_000
"""Edge visits that ordering may spend on each start: about 40 ms."""
SIFT_LIMIT: Final = 80_000
"""Pairs that sifting may compare: about 50 ms."""
SIFT_REACH: Final = 8
"""Places that a vertex is tried in to each side of its own."""
SIFT_ROUNDS: Final = 8
FEW_PAIRS: Final = 16
"""Of edges; up to here comparing each with each is quicker than anything cleverer."""


@dataclass(slots=True)
class Net:
    """Marks, then the places of trunks, by rank, with weighted edges between neighbouring ranks only."""

    ranks: list[int]
    layers: list[list[int]]
    up: list[list[int]]
    down: list[list[int]]
    weight: dict[tuple[int, int], int]
    up_weight: list[list[int]]
    down_weight: list[list[int]]
    mark_count: int
    crossed: list[list[int]]
    """Per edge, the places it runs through."""


def order_of(net: Net, component: list[list[int]], breathe: Breathe) -> list[list[int]]:
    """The layers of a component in an order with few crossings. The same input gives the same order."""
    size = sum(map(len, component))
    pieces = sum(len(net.down[vertex]) for layer in component for vertex in layer)
    if pieces < 2 or max(map(len, component)) < 2:
        return component
    position = [0] * len(net.ranks)
    best: list[list[int]] = component
    fewest = -1
    rounds = max(2, min(24, WORK_LIMIT // (size + 2 * pieces + 1)))
    breathe()
    starts = [
        _depth_first(net, component, breathe),
        _depth_first(net, component, breathe, is_from_below=True),
        component,
    ]
    for start in starts if size < 200 else starts[:2]:
        breathe()
        layers = [list(layer) for layer in start]
        _number(layers, position)
        idle = 0
        for number in range(rounds):
            breathe()
            layers = _sweep(net, layers, position, number, breathe)
            if number % 2 or size < 150:
                _transpose(net, layers, position, set(range(len(layers))), breathe)
            breathe()
            crossings = _count_crossings(net, layers, position, fewest if fewest >= 0 else maxsize, breathe)
            idle += 1
            if fewest < 0 or crossings < fewest:
                fewest, best, idle = crossings, [list(layer) for layer in layers], 0
            if not fewest:
                return best
            if idle > 3:
                break
    _number(best, position)
    work = SIFT_LIMIT
    due = set(range(len(best)))
    for _ in range(SIFT_ROUNDS):
        work -= 2 * SIFT_REACH * size
        if work < 0 or not _sift(net, best, position, due, breathe):
            break
    due = set(range(len(best)))
    while _transpose(net, best, position, due, breathe) and work > 0:
        work -= size
    return best


def _number(layers: Iterable[list[int]], position: list[int]) -> None:
    for layer in layers:
        for spot, vertex in enumerate(layer):
            position[vertex] = spot


def _depth_first(
    net: Net, component: list[list[int]], breathe: Breathe, is_from_below: bool = False
) -> list[list[int]]:
    """A first order: vertices as a depth-first walk meets them, neighbours of lower index first."""
    ahead_of = net.up if is_from_below else net.down
    layers: list[list[int]] = [[] for _ in component]
    seen: set[int] = set()
    for layer in reversed(component) if is_from_below else component:
        for root in layer:
            if root in seen:
                continue
            seen.add(root)
            path = [root]
            while path:
                vertex = path.pop()
                if not vertex % 16:
                    breathe()
                layers[net.ranks[vertex]].append(vertex)
                for other in reversed(ahead_of[vertex]):
                    if other not in seen:
                        seen.add(other)
                        path.append(other)
    return layers


def _sweep(net: Net, layers: list[list[int]], position: list[int], number: int, breathe: Breathe) -> list[list[int]]:
    """One pass over the ranks, down in even rounds and up in odd ones: each rank sorted by its neighbours' mean."""
    is_down = number % 2 == 0
    turns_ties = number % 4 >= 2
    neighbours, weights = (net.up, net.up_weight) if is_down else (net.down, net.down_weight)
    swept = list(layers)
    ranks = range(1, len(layers)) if is_down else range(len(layers) - 2, -1, -1)
    for rank in ranks:
        layer = swept[rank]
        if len(layer) < 2:
            continue
        breathe()
        keys: dict[int, float] = {}
        for vertex in layer:
            near = neighbours[vertex]
            if len(near) == 1:
                keys[vertex] = position[near[0]]
            elif near:
                heavy = weights[vertex]
                keys[vertex] = sum([position[other] * one for other, one in zip(near, heavy, strict=False)]) / sum(
                    heavy
                )
        layer = _sorted_around(layer, keys, turns_ties)
        for spot, vertex in enumerate(layer):
            position[vertex] = spot
        swept[rank] = layer
    return swept


def _sorted_around(layer: list[int], keys: dict[int, float], turns_ties: bool) -> list[int]:
    """Sorted by key; a vertex without one keeps its place."""
    moving = [vertex for vertex in layer if vertex in keys]
    if turns_ties:
        moving.reverse()
    moving.sort(key=keys.__getitem__)
    if len(moving) == len(layer):
        return moving
    rest = iter(moving)
    return [next(rest) if vertex in keys else vertex for vertex in layer]


def _count_crossings(net: Net, layers: list[list[int]], position: list[int], enough: int, breathe: Breathe) -> int:
    """Crossings of pieces, each counted by the edges on it; `enough` or more where there are as many as that.

    ``ends`` holds the ends met so far, sorted, once for each edge: inserting into a short list is faster than a tree.
    """
    total = 0
    down, down_weight = net.down, net.down_weight
    for layer in layers[:-1]:
        breathe()
        ends: list[int] = []
        for upper in layer:
            below = down[upper]
            if len(below) == 1:
                spot, heavy = position[below[0]], down_weight[upper][0]
                cut = bisect_right(ends, spot)
                total += heavy * (len(ends) - cut)
                if heavy == 1:
                    ends.insert(cut, spot)
                else:
                    ends[cut:cut] = [spot] * heavy
                continue
            pieces = [(position[lower], heavy) for lower, heavy in zip(below, down_weight[upper], strict=False)]
            # In rising order: what was inserted for the same mark is never beyond.
            pieces.sort()
            for spot, heavy in pieces:
                cut = bisect_right(ends, spot)
                total += heavy * (len(ends) - cut)
                if heavy == 1:
                    ends.insert(cut, spot)
                else:
                    ends[cut:cut] = [spot] * heavy
        if total >= enough:
            break
    return total


def _transpose(net: Net, layers: list[list[int]], position: list[int], due: set[int], breathe: Breathe) -> bool:
    """Swap neighbours in a rank where that takes crossings away, in one pass down; True if any was.

    Only the ranks that are ``due`` are looked at; those are, afterwards, where something changed at or beside them.
    """
    swapped = False
    for rank, layer in enumerate(layers):
        if rank not in due or len(layer) < 2:
            continue
        due.discard(rank)
        if not rank % 4:
            breathe()
        above = [_ends(near, heavy, position) for near, heavy in ((net.up[v], net.up_weight[v]) for v in layer)]
        below = [_ends(near, heavy, position) for near, heavy in ((net.down[v], net.down_weight[v]) for v in layer)]
        spots: Iterable[int] = range(len(layer) - 1)
        for _ in range(4):
            moved: set[int] = set()
            for spot in spots:
                if not spot % 4:
                    breathe()
                if _gain(above[spot], above[spot + 1]) + _gain(below[spot], below[spot + 1]) > 0:
                    layer[spot], layer[spot + 1] = layer[spot + 1], layer[spot]
                    above[spot], above[spot + 1] = above[spot + 1], above[spot]
                    below[spot], below[spot + 1] = below[spot + 1], below[spot]
                    moved.update((spot - 1, spot + 1))
            if not moved:
                break
            swapped = True
            due.update((rank - 1, rank, rank + 1))
            spots = sorted(spot for spot in moved if 0 <= spot < len(layer) - 1)
        for spot, vertex in enumerate(layer):
            position[vertex] = spot
    return swapped


def _sift(net: Net, layers: list[list[int]], position: list[int], due: set[int], breathe: Breathe) -> bool:
    """Put each vertex where within its reach it crosses least, in one pass down; True if any moved.

    Swaps of neighbours stop at the first one that costs; this looks past it. ``due`` as in `_transpose`.
    """
    moved = False
    for rank, layer in enumerate(layers):
        count = len(layer)
        if rank not in due or count < 3:
            continue
        due.discard(rank)
        if not rank % 2:
            breathe()
        above = {v: _ends(net.up[v], net.up_weight[v], position) for v in layer}
        below = {v: _ends(net.down[v], net.down_weight[v], position) for v in layer}
        for vertex in list(layer):
            breathe()
            spot = layer.index(vertex)
            sides = [(own, ends) for own, ends in ((above[vertex], above), (below[vertex], below)) if own]
            best, best_spot = 0, spot
            for step, last in ((1, min(count, spot + SIFT_REACH + 1)), (-1, max(-1, spot - SIFT_REACH - 1))):
                total = 0
                for other_spot in range(spot + step, last, step):
                    if not other_spot % 8:
                        breathe()
                    other = layer[other_spot]
                    for own, ends in sides:
                        theirs = ends[other]
                        # What `_gain` says of ends that lie apart, without the call: this is the innermost loop.
                        if not theirs:
                            continue
                        if own[1] < theirs[0]:
                            total -= step * own[2] * theirs[2]
                        elif own[0] > theirs[1]:
                            total += step * own[2] * theirs[2]
                        else:
                            total += step * _gain(own, theirs)
                    if total > best:
                        best, best_spot = total, other_spot
            if best_spot != spot:
                moved = True
                due.update((rank - 1, rank, rank + 1))
                layer.insert(best_spot, layer.pop(spot))
        for spot, vertex in enumerate(layer):
            position[vertex] = spot
    return moved


_Ends = tuple[int, int, int, list[tuple[int, int]]]
"""Lowest and highest end in the next rank, the edges in all, and the ends with their edges, sorted."""


def _ends(near: list[int], weights: list[int], position: list[int]) -> _Ends | None:
    if len(near) == 1:
        spot = position[near[0]]
        return spot, spot, weights[0], [(spot, weights[0])]
    if not near:
        return None
    pairs = sorted([(position[other], heavy) for other, heavy in zip(near, weights, strict=False)])
    return pairs[0][0], pairs[-1][0], sum(weights), pairs


def _gain(first: _Ends | None, second: _Ends | None) -> int:
    """Crossings saved by swapping two neighbours with these ends in the next rank."""
    if first is None or second is None:
        return 0
    if first[1] < second[0]:
        return -first[2] * second[2]
    if first[0] > second[1]:
        return first[2] * second[2]
    if len(first[3]) * len(second[3]) > FEW_PAIRS:
        return _gain_of_many(first, second)
    gain = 0
    for spot, heavy in first[3]:
        for other, weight in second[3]:
            if spot > other:
                gain += heavy * weight
            elif spot < other:
                gain -= heavy * weight
    return gain


def _gain_of_many(first: _Ends, second: _Ends) -> int:
    """The same in one pass over both, for long lists."""
    gain = passed = at = 0
    theirs, total = second[3], second[2]
    for spot, heavy in first[3]:
        while at < len(theirs) and theirs[at][0] < spot:
            passed += theirs[at][1]
            at += 1
        level = theirs[at][1] if at < len(theirs) and theirs[at][0] == spot else 0
        gain += heavy * (2 * passed + level - total)
    return gain
