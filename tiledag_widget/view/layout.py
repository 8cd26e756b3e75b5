"""Where marks stand: rank, order, slot and bends. The one layout, for the widget and every static form.

Own code in the layered tradition, since stability under growth is ours to guarantee and no library gives it. The
phases, each a function from the one before; V and E are marks and edges plus the places where long edges cross a rank:

1. *ranks* (`_ranks`): longest path, so that roots align left and a mark sits next to its last parent; then what has
   more edges out than in moves towards its children, where edges become shorter in all. O(V + E), bounded moves.
2. *trunks* (`_net`): an edge over several ranks gets a place in each rank it crosses. Where these would be many, the
   edges of one source, or into one target, share them: one trunk is drawn where a bundle would be. O(V + E).
3. *order* (`crossings.order_of`): sweeps by barycentre with transposition from a few starts; the best one is sifted.
   O(rounds * (E log V)).
4. *slots* (`_slots`): least squares along the edges with least distances, rank by rank. O(rounds * (V + E)).

Components are laid out one by one and set below each other.

Ranks, orders and slots are in card units; the page turns them into pixels and decides about spacing. State never
enters here: a status never moves a mark.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .crossings import Net, order_of
from .fold import Folding
from .ranks import Breathe, breathe_now

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
TIGHTEN_ROUNDS: Final = 12
MOVED_LIMIT: Final = 120
OWN_TRUNKS: Final = 3
"""Long edges have their own places while they cross no more ranks than this in the mean; beyond, they share them."""
OWN_TRUNKS_OF_MANY: Final = 5
"""The same where a quarter of the edges are long: what they share would then lead most of them astray."""
OWN_PLACES: Final = 2000
"""And while there are no more of these places in all."""


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
    ranks = _ranks(count, source, target, breathe)
    net = _net(count, source, target, ranks, breathe)
    components = _components(net, breathe)
    columns: list[list[int]] = [[] for _ in net.layers]
    slots = [0.0] * len(net.ranks)
    floor = [0.0] * len(net.layers)
    for component in components:
        breathe()
        layers = order_of(net, component, breathe)
        _slots(net, layers, slots, breathe)
        _stack(net, layers, slots, floor)
        for rank, layer in enumerate(layers):
            columns[rank].extend(layer)
    _snap(net, columns, slots, breathe)
    order = [0] * count
    for layer in columns:
        for spot, mark in enumerate(vertex for vertex in layer if vertex < count):
            order[mark] = spot
    bends: list[list[float]] = []
    for done, crossed in enumerate(net.crossed):
        if not done % 64:
            breathe()
        bends.append([slots[spot] for spot in crossed])
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


def _ranks(count: int, source: Sequence[int], target: Sequence[int], breathe: Breathe) -> list[int]:
    """Longest path, then less length of edges in all; edges that close a cycle are left out."""
    children: list[list[int]] = [[] for _ in range(count)]
    for parent, child in zip(source, target, strict=False):
        if parent != child:
            children[parent].append(child)
    breathe()
    order = _forward_order(children)
    breathe()
    place_of = [0] * count
    for spot, mark in enumerate(order):
        place_of[mark] = spot
    ranks = [0] * count
    for mark in order:
        below = ranks[mark] + 1
        for child in children[mark]:
            if place_of[child] > place_of[mark] and ranks[child] < below:
                ranks[child] = below
    breathe()
    _tighten(ranks, children, order, breathe)
    return ranks


def _tighten(ranks: list[int], children: list[list[int]], order: Sequence[int], breathe: Breathe) -> None:
    """Move marks towards their children where that makes edges shorter in all, and with them what must move along.

    A root that only feeds a late rank (a table that is joined at the end) would else trail an edge past everything.
    What has as many edges in as out stays next to its last parent. Marks without a gain are looked at again only while
    something moved; the bound on what moves along keeps this O(V * `MOVED_LIMIT`) a round.
    """
    count = len(ranks)
    below: list[list[int]] = [[] for _ in range(count)]
    above: list[list[int]] = [[] for _ in range(count)]
    for parent, own in enumerate(children):
        for child in own:
            if ranks[child] > ranks[parent]:
                below[parent].append(child)
                above[child].append(parent)
    for _ in range(TIGHTEN_ROUNDS):
        has_moved = False
        for mark in reversed(order):
            breathe()
            if not below[mark]:
                continue
            group = _tied_below(mark, ranks, below)
            if group is None:
                continue
            gain, slack = 0, count
            for one in group:
                gain -= sum([parent not in group for parent in above[one]])
                for child in below[one]:
                    if child not in group:
                        gain += 1
                        slack = min(slack, ranks[child] - ranks[one] - 1)
            if gain > 0 and 0 < slack < count:
                has_moved = True
                for one in group:
                    ranks[one] += slack
        if not has_moved:
            return


def _tied_below(mark: int, ranks: Sequence[int], below: list[list[int]]) -> set[int] | None:
    """A mark and what has to move with it, by edges to the next rank; None if that is too much."""
    group, ahead = {mark}, [mark]
    while ahead:
        one = ahead.pop()
        for child in below[one]:
            if ranks[child] == ranks[one] + 1 and child not in group:
                if len(group) == MOVED_LIMIT:
                    return None
                group.add(child)
                ahead.append(child)
    return group


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


def _net(count: int, source: Sequence[int], target: Sequence[int], ranks: Sequence[int], breathe: Breathe) -> Net:
    """The edges cut into pieces between neighbouring ranks; long ones share their places."""
    long_out, long_in = [0] * count, [0] * count
    breathe()
    spans = [ranks[child] - ranks[parent] for parent, child in zip(source, target, strict=False)]
    for done, (parent, child, span) in enumerate(zip(source, target, spans, strict=False)):
        if not done % 512:
            breathe()
        if span > 1:
            long_out[parent] += 1
            long_in[child] += 1
    net = Net(
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
    crossed = [span - 1 for span in spans if span > 1]
    most = OWN_TRUNKS_OF_MANY if 4 * len(crossed) >= len(spans) else OWN_TRUNKS
    is_own = sum(crossed) <= min(most * len(crossed), OWN_PLACES)
    for done, edge in enumerate(sorted(range(len(spans)), key=lambda edge: (spans[edge], edge))):
        if not done % 64:
            breathe()
        if spans[edge] < 1:
            continue
        parent, child = source[edge], target[edge]
        is_from_source = long_out[parent] >= long_in[child]
        if len(net.ranks) - count + spans[edge] - 1 > TRUNK_LIMIT:
            continue
        before = parent
        for rank in range(ranks[parent] + 1, ranks[child]):
            key = (is_from_source, edge if is_own else parent if is_from_source else child, rank)
            if key not in trunks:
                trunks[key] = _add_place(net, rank)
            _add_piece(net, before, trunks[key])
            before = trunks[key]
            net.crossed[edge].append(before)
        _add_piece(net, before, child)
    breathe()
    weight = net.weight
    net.up_weight = [[weight[other, vertex] for other in near] for vertex, near in enumerate(net.up)]
    breathe()
    net.down_weight = [[weight[vertex, other] for other in near] for vertex, near in enumerate(net.down)]
    return net


def _add_place(net: Net, rank: int) -> int:
    vertex = len(net.ranks)
    net.ranks.append(rank)
    net.layers[rank].append(vertex)
    net.up.append([])
    net.down.append([])
    return vertex


def _add_piece(net: Net, upper: int, lower: int) -> None:
    if (upper, lower) not in net.weight:
        net.weight[upper, lower] = 0
        net.down[upper].append(lower)
        net.up[lower].append(upper)
    net.weight[upper, lower] += 1


def _components(net: Net, breathe: Breathe) -> list[list[list[int]]]:
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
            if not size % 64:
                breathe()
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


# --- 4. slots -----------------------------------------------------------------------------------------------


def _slots(net: Net, layers: list[list[int]], slots: list[float], breathe: Breathe) -> None:
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
            breathe()
            if layers[rank]:
                _settle_rank(net, layers[rank], gaps[rank], slots, looks_up, looks_down)


def _gaps(net: Net, layer: list[int]) -> list[float]:
    marks = net.mark_count
    gaps = []
    for first, second in itertools.pairwise(layer):
        cards = (first < marks) + (second < marks)
        gaps.append(CARD_GAP if cards == 2 else BESIDE_GAP if cards else EDGE_GAP)
    return gaps


def _settle_rank(
    net: Net, layer: list[int], gaps: list[float], slots: list[float], looks_up: bool, looks_down: bool
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


def _stack(net: Net, layers: list[list[int]], slots: list[float], floor: list[float]) -> None:
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


def _snap(net: Net, columns: list[list[int]], slots: list[float], breathe: Breathe) -> None:
    """Slots as multiples of the grid with all distances kept, the topmost at 0."""
    top = min((slots[layer[0]] for layer in columns if layer), default=0.0)
    for layer in columns:
        breathe()
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
