"""Where marks stand: rank, order, slot and bends. The one layout, for the widget and every static form.

Own code in the layered tradition, since stability under growth is ours to guarantee and no library gives it. The
phases, each a function from the one before; V and E are marks and edges plus the places where long edges cross a rank:

1. *ranks* (`_ranks`): longest path, so that roots align left and a mark sits next to its last parent. O(V + E).
2. *trunks* (`_net`): an edge over several ranks gets a place in each rank it crosses. Long edges of one source, or into
   one target, share them: one trunk is drawn where a bundle would be. O(V + E).
3. *order* (`_order`): sweeps by barycentre with transposition, a few starts, the best kept. O(rounds * (E log V)).
4. *slots* (`_slots`): least squares along the edges with least distances, rank by rank. O(rounds * (V + E)).

Components are laid out one by one and set below each other.

Ranks, orders and slots are in card units; the page turns them into pixels and decides about spacing. State never
enters here: a status never moves a mark.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .fold import Breathe, Folding, breathe_now

if TYPE_CHECKING:
    from .messages import MarkEdges, Marks

GRID: Final = 64
"""Slots are multiples of 1/64, exact in binary, so that distances are kept to the last bit."""
CARD_GAP: Final = 1.0
BESIDE_GAP: Final = 0.625
"""Between a card and an edge that passes it."""
EDGE_GAP: Final = 0.25
COMPONENT_GAP: Final = 0.5
"""Room between components beyond the usual distance."""
TRUNK_LIMIT: Final = 4000
"""Places of long edges in all; beyond, the longest edges go straight and have no bends."""
WORK_LIMIT: Final = 40_000
"""Edge visits that ordering may spend on each start: about 40 ms."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Places of the marks and edges of a `Folding`.

    Attributes:
        rank: Per mark, the column of the flow.
        order: Per mark, the place within its rank.
        slot: Per mark, the position across in card units; two of one rank are at least 1 apart.
        bends: Per edge, the slots in the ranks between its ends, in the direction of the flow. Empty for an edge
            to the next rank, for one that points backwards, and for one that goes straight since there are too many.
        ends: Per edge, its source and target: by them an edge keeps its bends when the graph grows.
    """

    rank: list[int]
    order: list[int]
    slot: list[float]
    bends: list[list[float]]
    ends: list[tuple[int, int]]


@dataclass(slots=True)
class _Net:
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


def arrange(folding: Folding, previous: Layout | None = None, breathe: Breathe = breathe_now) -> Layout:
    """Places for the marks of ``folding``.

    With ``previous``, the layout of the folding that this one was grown from, its marks keep rank and slot exactly; a
    new mark goes right of its parents, to the free slot nearest to their median. Without, everything is placed anew.

    Guarantees: the same input gives the same places; marks of one rank are at least 1 apart; without cycles and
    without ``previous`` every edge goes to a higher rank. About 100 ms for 300 marks; calls ``breathe`` at least every
    few milliseconds.
    """
    if previous is not None and 0 < len(previous.rank) <= len(folding):
        return _extend(folding, previous, breathe)
    return place(len(folding), folding.source, folding.target, breathe)


def place(count: int, source: Sequence[int], target: Sequence[int], breathe: Breathe = breathe_now) -> Layout:
    """Places for ``count`` marks with these edges, from nothing."""
    ranks = _ranks(count, source, target)
    net = _net(count, source, target, ranks)
    components = _components(net)
    columns: list[list[int]] = [[] for _ in net.layers]
    slots = [0.0] * len(net.ranks)
    floor = [0.0] * len(net.layers)
    for component in components:
        breathe()
        layers = _order(net, component, breathe)
        _slots(net, layers, slots, breathe)
        _stack(net, layers, slots, floor)
        for rank, layer in enumerate(layers):
            columns[rank].extend(layer)
    _snap(net, columns, slots)
    order = [0] * count
    for layer in columns:
        for spot, mark in enumerate(vertex for vertex in layer if vertex < count):
            order[mark] = spot
    bends = [[slots[spot] for spot in crossed] for crossed in net.crossed]
    return Layout(ranks, order, slots[:count], bends, list(zip(source, target, strict=False)))


def to_message(folding: Folding, layout: Layout, group: Sequence[int] = ()) -> tuple[Marks, MarkEdges]:
    """What the page is told about marks and the edges between them; ``group`` as in `Marks`."""
    marks: Marks = {
        "kind": list(folding.kind),
        "name": list(folding.name),
        "size": list(folding.size),
        "first": list(folding.first),
        "rank": list(layout.rank),
        "order": list(layout.order),
        "slot": list(layout.slot),
        "group": list(group) or [-1] * len(folding),
    }
    edges: MarkEdges = {
        "source": list(folding.source),
        "target": list(folding.target),
        "count": list(folding.count),
        "bends": [list(bends) for bends in layout.bends],
    }
    return marks, edges


# --- 1. ranks -----------------------------------------------------------------------------------------------


def _ranks(count: int, source: Sequence[int], target: Sequence[int]) -> list[int]:
    """Longest path, then roots next to their nearest child; edges that close a cycle are left out.

    A root that only feeds a late rank (a table that is joined at the end) would else trail an edge past everything.
    """
    children: list[list[int]] = [[] for _ in range(count)]
    for parent, child in zip(source, target, strict=False):
        if parent != child:
            children[parent].append(child)
    order = _forward_order(children)
    place_of = [0] * count
    for spot, mark in enumerate(order):
        place_of[mark] = spot
    ranks = [0] * count
    has_parent = bytearray(count)
    for mark in order:
        below = ranks[mark] + 1
        for child in children[mark]:
            if place_of[child] > place_of[mark]:
                has_parent[child] = 1
                if ranks[child] < below:
                    ranks[child] = below
    for mark in order:
        if children[mark] and not has_parent[mark]:
            ranks[mark] = max(0, min(ranks[child] for child in children[mark]) - 1)
    return ranks


def _forward_order(children: list[list[int]]) -> list[int]:
    """Marks so that every edge goes forward but those that close a cycle in a depth-first walk from the roots."""
    count = len(children)
    has_parent = bytearray(count)
    for below in children:
        for child in below:
            has_parent[child] = 1
    seen = bytearray(count)
    finished: list[int] = []
    for root in [*(mark for mark in range(count) if not has_parent[mark]), *range(count)]:
        if seen[root]:
            continue
        seen[root] = 1
        path = [(root, iter(children[root]))]
        while path:
            mark, rest = path[-1]
            for child in rest:
                if not seen[child]:
                    seen[child] = 1
                    path.append((child, iter(children[child])))
                    break
            else:
                finished.append(mark)
                path.pop()
    finished.reverse()
    return finished


# --- 2. trunks ----------------------------------------------------------------------------------------------


def _net(count: int, source: Sequence[int], target: Sequence[int], ranks: Sequence[int]) -> _Net:
    """The edges cut into pieces between neighbouring ranks; long ones share their places."""
    long_out, long_in = [0] * count, [0] * count
    spans = [ranks[child] - ranks[parent] for parent, child in zip(source, target, strict=False)]
    for parent, child, span in zip(source, target, spans, strict=False):
        if span > 1:
            long_out[parent] += 1
            long_in[child] += 1
    net = _Net(
        list(ranks),
        [[] for _ in range(max(ranks, default=-1) + 1)],
        [[] for _ in range(count)],
        [[] for _ in range(count)],
        {},
        [],
        [],
        count,
        [[] for _ in spans],
    )
    for mark, rank in enumerate(ranks):
        net.layers[rank].append(mark)
    trunks: dict[tuple[bool, int, int], int] = {}
    for edge in sorted(range(len(spans)), key=lambda edge: (spans[edge], edge)):
        if spans[edge] < 1:
            continue
        parent, child = source[edge], target[edge]
        is_from_source = long_out[parent] >= long_in[child]
        if len(net.ranks) - count + spans[edge] - 1 > TRUNK_LIMIT:
            continue
        before = parent
        for rank in range(ranks[parent] + 1, ranks[child]):
            key = (is_from_source, parent if is_from_source else child, rank)
            if key not in trunks:
                trunks[key] = _add_place(net, rank)
            _add_piece(net, before, trunks[key])
            before = trunks[key]
            net.crossed[edge].append(before)
        _add_piece(net, before, child)
    weight = net.weight
    net.up_weight = [[weight[other, vertex] for other in near] for vertex, near in enumerate(net.up)]
    net.down_weight = [[weight[vertex, other] for other in near] for vertex, near in enumerate(net.down)]
    return net


def _add_place(net: _Net, rank: int) -> int:
    vertex = len(net.ranks)
    net.ranks.append(rank)
    net.layers[rank].append(vertex)
    net.up.append([])
    net.down.append([])
    return vertex


def _add_piece(net: _Net, upper: int, lower: int) -> None:
    if (upper, lower) not in net.weight:
        net.weight[upper, lower] = 0
        net.down[upper].append(lower)
        net.up[lower].append(upper)
    net.weight[upper, lower] += 1


def _components(net: _Net) -> list[list[list[int]]]:
    """The layers of each component, single marks last, else in the order of their lowest marks."""
    owner = [-1] * len(net.ranks)
    sizes: list[int] = []
    for start in range(len(net.ranks)):
        if owner[start] >= 0:
            continue
        number, size, ahead = len(sizes), 0, [start]
        owner[start] = number
        while ahead:
            vertex = ahead.pop()
            size += 1
            for other in (*net.up[vertex], *net.down[vertex]):
                if owner[other] < 0:
                    owner[other] = number
                    ahead.append(other)
        sizes.append(size)
    parts: list[list[list[int]]] = [[[] for _ in net.layers] for _ in sizes]
    for rank, layer in enumerate(net.layers):
        for vertex in layer:
            parts[owner[vertex]][rank].append(vertex)
    return [parts[number] for number in sorted(range(len(sizes)), key=lambda number: (sizes[number] == 1, number))]


# --- 3. order -----------------------------------------------------------------------------------------------


def _order(net: _Net, component: list[list[int]], breathe: Breathe) -> list[list[int]]:
    """The layers of a component in an order with few crossings."""
    size = sum(map(len, component))
    pieces = sum(len(net.down[vertex]) for layer in component for vertex in layer)
    if pieces < 2 or max(map(len, component)) < 2:
        return component
    position = [0] * len(net.ranks)
    best: list[list[int]] = component
    fewest = -1
    rounds = max(2, min(24, WORK_LIMIT // (size + 2 * pieces + 1)))
    starts = (_depth_first(net, component), _depth_first(net, component, is_from_below=True))
    for start in starts:
        layers = start
        _number(layers, position)
        idle = 0
        for number in range(rounds):
            breathe()
            layers = _sweep(net, layers, position, number)
            if number % 2 or size < 150:
                _transpose(net, layers, position, breathe)
            breathe()
            crossings = _count_crossings(net, layers, position)
            idle += 1
            if fewest < 0 or crossings < fewest:
                fewest, best, idle = crossings, [list(layer) for layer in layers], 0
            if not fewest:
                return best
            if idle > 3:
                break
    _number(best, position)
    for _ in range(4):
        if not _transpose(net, best, position, breathe):
            break
    return best


def _number(layers: Iterable[list[int]], position: list[int]) -> None:
    for layer in layers:
        for spot, vertex in enumerate(layer):
            position[vertex] = spot


def _depth_first(net: _Net, component: list[list[int]], is_from_below: bool = False) -> list[list[int]]:
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
                layers[net.ranks[vertex]].append(vertex)
                for other in reversed(ahead_of[vertex]):
                    if other not in seen:
                        seen.add(other)
                        path.append(other)
    return layers


def _sweep(net: _Net, layers: list[list[int]], position: list[int], number: int) -> list[list[int]]:
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


def _count_crossings(net: _Net, layers: list[list[int]], position: list[int]) -> int:
    """Crossings of pieces, each counted by the edges on it.

    ``ends`` holds the ends met so far, sorted, once for each edge: inserting into a short list is faster than a tree.
    """
    total = 0
    down, down_weight = net.down, net.down_weight
    for layer in layers[:-1]:
        ends: list[int] = []
        for upper in layer:
            below = down[upper]
            if not below:
                continue
            pieces = [(position[lower], heavy) for lower, heavy in zip(below, down_weight[upper], strict=False)]
            pieces.sort()
            count = len(ends)
            cuts = [bisect_right(ends, spot) for spot, _ in pieces]
            for (_, heavy), cut in zip(pieces, cuts, strict=False):
                total += heavy * (count - cut)
            for (spot, heavy), cut in zip(reversed(pieces), reversed(cuts), strict=False):
                if heavy == 1:
                    ends.insert(cut, spot)
                else:
                    ends[cut:cut] = [spot] * heavy
    return total


def _transpose(net: _Net, layers: list[list[int]], position: list[int], breathe: Breathe) -> bool:
    """Swap neighbours in a rank where that takes crossings away, in one pass down; True if any was."""
    swapped = False
    for rank, layer in enumerate(layers):
        if len(layer) < 2:
            continue
        if not rank % 4:
            breathe()
        above = [_ends(near, heavy, position) for near, heavy in ((net.up[v], net.up_weight[v]) for v in layer)]
        below = [_ends(near, heavy, position) for near, heavy in ((net.down[v], net.down_weight[v]) for v in layer)]
        spots: Iterable[int] = range(len(layer) - 1)
        for _ in range(4):
            moved: set[int] = set()
            for spot in spots:
                if _gain(above[spot], above[spot + 1]) + _gain(below[spot], below[spot + 1]) > 0:
                    layer[spot], layer[spot + 1] = layer[spot + 1], layer[spot]
                    above[spot], above[spot + 1] = above[spot + 1], above[spot]
                    below[spot], below[spot + 1] = below[spot + 1], below[spot]
                    moved.update((spot - 1, spot + 1))
            if not moved:
                break
            swapped = True
            spots = sorted(spot for spot in moved if 0 <= spot < len(layer) - 1)
        for spot, vertex in enumerate(layer):
            position[vertex] = spot
    return swapped


_Ends = list[tuple[int, int]]


def _ends(near: list[int], weights: list[int], position: list[int]) -> _Ends:
    if len(near) == 1:
        return [(position[near[0]], weights[0])]
    return sorted([(position[other], heavy) for other, heavy in zip(near, weights, strict=False)])


def _gain(first: _Ends, second: _Ends) -> int:
    """Crossings saved by swapping two neighbours with these sorted ends in the next rank."""
    if not first or not second:
        return 0
    if len(first) == 1 and len(second) == 1:
        spot, heavy = first[0]
        other, weight = second[0]
        return heavy * weight if spot > other else -heavy * weight if spot < other else 0
    if first[-1][0] <= second[0][0]:
        return -1 if first[0][0] < second[-1][0] else 0
    gain = 0
    for spot, heavy in first:
        for other, weight in second:
            if spot > other:
                gain += heavy * weight
            elif spot < other:
                gain -= heavy * weight
    return gain


# --- 4. slots -----------------------------------------------------------------------------------------------


def _slots(net: _Net, layers: list[list[int]], slots: list[float], breathe: Breathe) -> None:
    """Positions across for one component: near the neighbours' mean, pulled straight along trunks.

    Each rank in turn takes the positions nearest to what its neighbours ask for that keep the least distances (an
    isotonic regression), first from one side, then from both.
    """
    gaps = [_gaps(net, layer) for layer in layers]
    for layer, gap in zip(layers, gaps, strict=False):
        at = -sum(gap) / 2
        for vertex, room in zip(layer, [*gap, 0.0], strict=False):
            slots[vertex] = at
            at += room
    count = len(layers)
    passes = [(range(1, count), True, False), (range(count - 2, -1, -1), False, True)] * 3
    last = 2 if sum(map(len, layers)) > 200 else 6
    passes += [(range(count), True, True), (range(count - 1, -1, -1), True, True)] * last
    for ranks, looks_up, looks_down in passes:
        breathe()
        for rank in ranks:
            if not rank % 16:
                breathe()
            if layers[rank]:
                _settle_rank(net, layers[rank], gaps[rank], slots, looks_up, looks_down)


def _gaps(net: _Net, layer: list[int]) -> list[float]:
    marks = net.mark_count
    gaps = []
    for first, second in itertools.pairwise(layer):
        cards = (first < marks) + (second < marks)
        gaps.append(CARD_GAP if cards == 2 else BESIDE_GAP if cards else EDGE_GAP)
    return gaps


def _settle_rank(
    net: _Net, layer: list[int], gaps: list[float], slots: list[float], looks_up: bool, looks_down: bool
) -> None:
    """Least squares with least distances: blocks of vertices that touch move as one to their weighted mean."""
    marks = net.mark_count
    block_sum: list[float] = []
    block_weight: list[float] = []
    block_size: list[int] = []
    offset = 0.0
    offsets = []
    for spot, vertex in enumerate(layer):
        if spot:
            offset += gaps[spot - 1]
        offsets.append(offset)
        wish = weight = 0.0
        if looks_up:
            for other in net.up[vertex]:
                pull = 1.0 if other < marks and vertex < marks else 2.0 if other < marks or vertex < marks else 8.0
                wish += pull * slots[other]
                weight += pull
        if looks_down:
            for other in net.down[vertex]:
                pull = 1.0 if other < marks and vertex < marks else 2.0 if other < marks or vertex < marks else 8.0
                wish += pull * slots[other]
                weight += pull
        if not weight:
            weight = 0.01
            wish = weight * slots[vertex]
        block_sum.append(wish - weight * offset)
        block_weight.append(weight)
        block_size.append(1)
        while len(block_sum) > 1 and block_sum[-2] * block_weight[-1] > block_sum[-1] * block_weight[-2]:
            last_sum, last_weight, last_size = block_sum.pop(), block_weight.pop(), block_size.pop()
            block_sum[-1] += last_sum
            block_weight[-1] += last_weight
            block_size[-1] += last_size
    spot = 0
    for total, weight, size in zip(block_sum, block_weight, block_size, strict=False):
        base = total / weight
        for _ in range(size):
            slots[layer[spot]] = base + offsets[spot]
            spot += 1


def _stack(net: _Net, layers: list[list[int]], slots: list[float], floor: list[float]) -> None:
    """Set a component below those before it; ``floor`` is the first free slot of each rank."""
    used = [rank for rank, layer in enumerate(layers) if layer]
    top = min(slots[layers[rank][0]] for rank in used)
    is_single = sum(map(len, layers)) == 1
    start = max(floor[rank] for rank in used) - top
    end = 0.0
    for rank in used:
        for vertex in layers[rank]:
            slots[vertex] += start
        end = max(end, slots[layers[rank][-1]])
    for rank in range(used[0], used[-1] + 1):
        floor[rank] = end + CARD_GAP + (0.0 if is_single else COMPONENT_GAP)


def _snap(net: _Net, columns: list[list[int]], slots: list[float]) -> None:
    """Slots as multiples of the grid with all distances kept, the topmost at 0."""
    top = min((slots[layer[0]] for layer in columns if layer), default=0.0)
    for layer in columns:
        least = -float("inf")
        for vertex, gap in zip(layer, [*_gaps(net, layer), 0.0], strict=False):
            slots[vertex] = max(round((slots[vertex] - top) * GRID) / GRID, least)
            least = slots[vertex] + gap


# --- growth -------------------------------------------------------------------------------------------------


def _extend(folding: Folding, previous: Layout, breathe: Breathe) -> Layout:
    """The places before, and new marks beside them."""
    known, count = len(previous.rank), len(folding)
    rank, slot = list(previous.rank), list(previous.slot)
    above: list[list[int]] = [[] for _ in range(count)]
    for parent, child in zip(folding.source, folding.target, strict=False):
        if child >= known:
            above[child].append(parent)
    taken: dict[int, list[float]] = {}
    for mark in range(known):
        taken.setdefault(rank[mark], []).append(slot[mark])
    rank.extend([0] * (count - known))
    slot.extend([0.0] * (count - known))
    for mark in _new_in_order(above, known, count):
        breathe()
        parents = [parent for parent in above[mark] if parent != mark]
        rank[mark] = max((rank[parent] + 1 for parent in parents), default=0)
        wish = sorted(slot[parent] for parent in parents)
        middle = wish[len(wish) // 2] if len(wish) % 2 else sum(wish[len(wish) // 2 - 1 : len(wish) // 2 + 1]) / 2
        column = taken.setdefault(rank[mark], [])
        slot[mark] = _free_slot(column, middle if wish else max(column, default=-CARD_GAP) + CARD_GAP)
        column.append(slot[mark])
    order = [0] * count
    columns: dict[int, list[int]] = {}
    for mark in range(count):
        columns.setdefault(rank[mark], []).append(mark)
    for layer in columns.values():
        layer.sort(key=slot.__getitem__)
        for spot, mark in enumerate(layer):
            order[mark] = spot
    ends = list(zip(folding.source, folding.target, strict=False))
    return Layout(rank, order, slot, _grown_bends(ends, previous, rank, slot, taken), ends)


def _new_in_order(above: list[list[int]], known: int, count: int) -> list[int]:
    """New marks, parents first."""
    children: list[list[int]] = [[] for _ in range(count)]
    for mark in range(known, count):
        for parent in above[mark]:
            if parent >= known and parent != mark:
                children[parent].append(mark)
    return [mark for mark in _forward_order(children) if mark >= known]


def _free_slot(column: list[float], wish: float, gap: float = CARD_GAP) -> float:
    """The slot nearest to ``wish`` that is ``gap`` away from all of the column."""
    wish = round(wish * GRID) / GRID
    choices = [wish, *(taken + gap for taken in column), *(taken - gap for taken in column)]
    free = [choice for choice in choices if all(abs(choice - taken) >= gap for taken in column)]
    return min(free, key=lambda choice: (abs(choice - wish), choice))


def _grown_bends(
    ends: list[tuple[int, int]],
    previous: Layout,
    rank: list[int],
    slot: list[float],
    taken: dict[int, list[float]],
) -> list[list[float]]:
    """Bends of old edges as they were; new edges go straight, but round the cards in their way."""
    old = dict(zip(previous.ends, previous.bends, strict=False))
    bends: list[list[float]] = []
    room = TRUNK_LIMIT
    for parent, child in ends:
        span = rank[child] - rank[parent]
        if (parent, child) in old:
            bends.append(old[parent, child])
        elif 1 < span <= room:
            room -= span
            bends.append(
                [
                    _free_slot(
                        taken.get(rank[parent] + step, []),
                        slot[parent] + (slot[child] - slot[parent]) * step / span,
                        BESIDE_GAP,
                    )
                    for step in range(1, span)
                ]
            )
        else:
            bends.append([])
    return bends
