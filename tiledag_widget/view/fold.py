"""Which nodes are drawn together: a graph of any size becomes at most `MARK_LIMIT` marks.

The steps, each O(nodes + edges) over columns, without recursion:

1. *rank*: longest path from the roots. Roots align left, a node sits next to its last parent.
2. *stacks*: nodes of one rank and one function (or stage). A stack is split once by the set of functions above and
   below, and only if every part is worth a stack; never twice, since to a fixpoint a random graph folds to nothing.
3. *chains*: serial runs of what is left.
4. *prefixes and others*: a rank that would still show too many marks folds them by name, then into "others".
5. *bands*: if all ranks together are too many, neighbouring ones merge, the ends of the flow last.

No step can close a cycle: 2 and 4 stay within a rank, 3 contracts a path that is entered at its head and left at its
tail only, and 5 merges whole intervals of ranks.

Nodes are added to a graph, never taken away. `fold` with the folding before keeps every mark: a new node joins the
stack whose key it has, or becomes part of a new mark.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Final

from ..core.snapshot import Structure
from .crowded import MARK_LIMIT, Groups, MarkKind, band_name, cuts, group_ranks, limit_layers, merge_into_bands
from .palette import say
from .ranks import CHUNK, Breathe, breathe_now, longest_paths, pieces

_Members = list[int] | tuple[int, ...]

FOLD_FROM: Final = 8
STAGE_FROM: Final = 2
CHAIN_FROM: Final = 8
ANY_GROUP: Final = -1


@dataclass(frozen=True, slots=True)
class Folding:
    """What is drawn together.

    Attributes:
        kind: Of each mark. A card stands for one node, all others for several.
        name: Of each mark, without its count.
        size: Members of each mark.
        first: Lowest member of each mark.
        node_mark: Per node, its mark.
        node_rank: Per node, the longest path from a root to it.
        source: Per edge between marks.
        target: Per edge between marks; never the source.
        count: Per edge between marks, the edges between nodes that it stands for.
        folded: What was folded, in words, or empty.
        joins: (node rank, group) -> the marks that a new node of that key may join; `ANY_GROUP` for every group.
    """

    kind: list[MarkKind]
    name: list[str]
    size: list[int]
    first: list[int]
    node_mark: array[int]
    node_rank: array[int]
    source: list[int]
    target: list[int]
    count: list[int]
    folded: str
    joins: dict[tuple[int, int], tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.kind)

    def members(self) -> list[list[int]]:
        """Members of each mark in index order. O(nodes)."""
        lists: list[list[int]] = [[] for _ in self.kind]
        for node, mark in enumerate(self.node_mark):
            lists[mark].append(node)
        return lists


def fold(structure: Structure, previous: Folding | None = None, breathe: Breathe = breathe_now) -> Folding:
    """The marks of a graph, at most `MARK_LIMIT`.

    With ``previous``, the folding of the same graph when it had fewer nodes, its marks keep number, kind, name and
    members, and only get new members or new marks beside them. (Where that would pass the limit even after the new
    nodes of a rank became "others", the graph is folded anew.)

    Guarantees: each node is in exactly one mark; without cycles among nodes there is none among marks of a first
    folding; the same input gives the same marks. Calls ``breathe`` at least every few milliseconds of work. O(nodes +
    edges), 100,000 nodes in well under a second.
    """
    if previous is not None and 0 < len(previous.node_mark) <= len(structure):
        grown = _grow(structure, previous, breathe)
        if grown is not None:
            return grown
    ranks = longest_paths(structure, [], breathe)
    groups = _stacks_and_cards(structure, ranks, range(len(structure)), breathe)
    if len(groups.kind) > 1:
        groups = _chains(structure, groups, breathe)
        mark_ranks = group_ranks(structure, groups, ranks, breathe)
        groups, mark_ranks = limit_layers(groups, mark_ranks, structure, breathe)
        groups, mark_ranks = merge_into_bands(groups, mark_ranks, breathe)
        groups = _in_order(structure, groups, mark_ranks)
    return _finish(structure, ranks, groups, None, breathe)


# --- 2. stacks ----------------------------------------------------------------------------------------------


def _stacks_and_cards(structure: Structure, ranks: Sequence[int], nodes: range, breathe: Breathe) -> Groups:
    """Nodes of one (rank, group) together where they are enough, split once by what is above and below them."""
    kinds = max(1, len(structure.group_names))
    stages, names = structure.stages, structure.names
    keys = _keys(structure, ranks, kinds, breathe)
    # A node alone is held in a tuple: a hundred thousand lists would each be looked at by the garbage collector, in a
    # pause of 50 ms during which no node of the graph runs.
    buckets: dict[int, _Members] = {}
    for base in range(nodes.start, nodes.stop, CHUNK):
        breathe()
        for node in range(base, min(base + CHUNK, nodes.stop)):
            key = keys[node]
            known = buckets.get(key)
            if known is None:
                buckets[key] = (node,)
            elif isinstance(known, list):
                known.append(node)
            else:
                buckets[key] = [*known, node]
    groups = Groups()
    large = set()
    for done, (key, members) in enumerate(buckets.items()):
        if not done % CHUNK:
            breathe()
        if len(members) >= (STAGE_FROM if key % kinds in stages else FOLD_FROM):
            large.add(key)
    signatures = _signatures(structure, keys, buckets, large, breathe) if len(buckets) > 1 else []
    work = 0
    for key, members in buckets.items():
        work += 1 + len(members)
        if work > CHUNK:
            work = 0
            breathe()
        if key not in large:
            for node in members:
                groups.add("card", names[node], members if len(members) == 1 else (node,))
            continue
        for part in _parts(members, signatures, breathe):
            groups.add("stack", structure.group_names[key % kinds], part)
    return groups


def _keys(structure: Structure, ranks: Sequence[int], kinds: int, breathe: Breathe) -> list[int]:
    """Per node, one number for its rank and its group."""
    keys: list[int] = []
    for base in range(0, len(structure), CHUNK):
        breathe()
        stop = base + CHUNK
        keys += [
            rank * kinds + group for rank, group in zip(ranks[base:stop], structure.groups[base:stop], strict=True)
        ]
    return keys


def _signatures(
    structure: Structure, keys: Sequence[int], buckets: dict[int, _Members], large: set[int], breathe: Breathe
) -> list[int]:
    """Per node of a ``large`` bucket, a number for the set of keys above and the set of keys below it; of no meaning
    for others. Empty where no bucket could be split.

    The numbers of a set's keys are combined by exclusive or, so each key must count once: above, by making the set;
    below, since all children of one key are met in one go and ``last`` remembers it.
    """
    starts, parents = structure.parent_start, structure.parents
    candidates = {key for key in large if len(buckets[key]) >= 2 * FOLD_FROM}
    if not candidates:
        return []
    signatures, last = [0] * len(structure), [-1] * len(structure)
    key_of = keys.__getitem__
    work = 0
    for key, members in buckets.items():
        is_candidate = key in candidates
        below = hash((key, 1))
        for node in members:
            own = parents[starts[node] : starts[node + 1]]
            work += 1 + len(own)
            if work > CHUNK:
                work = 0
                breathe()
            above: set[int] = set()
            for some in pieces(own, breathe):
                if is_candidate:
                    above.update(map(key_of, some))
                for parent in some:
                    if last[parent] != key:
                        last[parent] = key
                        signatures[parent] ^= below
            for one in above:
                signatures[node] ^= hash((one, 0))
    return signatures


def _parts(members: _Members, signatures: Sequence[int], breathe: Breathe) -> list[_Members]:
    """Members by signature if every part is worth a stack, else all in one."""
    if len(members) < 2 * FOLD_FROM or not signatures:
        return [members]
    parts: dict[int, list[int]] = {}
    for done, node in enumerate(members):
        if not done % CHUNK:
            breathe()
        parts.setdefault(signatures[node], []).append(node)
    if len(parts) == 1 or min(map(len, parts.values())) < FOLD_FROM:
        return [members]
    return [*parts.values()]


# --- 3. chains ----------------------------------------------------------------------------------------------


def _chains(structure: Structure, groups: Groups, breathe: Breathe) -> Groups:
    """Serial runs of cards, at most one parent and one child each, as one mark."""
    total = len(structure)
    is_link = bytearray(total)
    cards: list[int] = []
    for base in range(0, len(groups.kind), CHUNK):
        breathe()
        near = zip(groups.kind[base : base + CHUNK], groups.members[base : base + CHUNK], strict=True)
        cards += [members[0] for kind, members in near if kind == "card"]
    if len(cards) < CHAIN_FROM:
        return groups
    starts, parents = structure.parent_start, structure.parents
    child_count = array("I", bytes(4 * total))
    only_child = array("I", bytes(4 * total))
    work = 0
    for node in range(total):
        for own in pieces(parents[starts[node] : starts[node + 1]], breathe):
            work += 1 + len(own)
            if work > CHUNK:
                work = 0
                breathe()
            for parent in own:
                child_count[parent] += 1
                only_child[parent] = node
    breathe()
    for done, node in enumerate(cards):
        if not done % CHUNK:
            breathe()
        if child_count[node] <= 1 and starts[node + 1] - starts[node] <= 1:
            is_link[node] = 1
    runs: dict[int, list[int]] = {}
    is_inside = bytearray(total)
    for done, node in enumerate(cards):
        if not done % CHUNK:
            breathe()
        if not is_link[node] or (starts[node + 1] > starts[node] and is_link[parents[starts[node]]]):
            continue
        run = [node]
        while child_count[node] and is_link[only_child[node]]:
            node = only_child[node]
            run.append(node)
            if not len(run) % CHUNK:
                breathe()
        if len(run) >= CHAIN_FROM:
            runs[run[0]] = run
            for some in pieces(run, breathe):
                for node in some:
                    is_inside[node] = 1
    if not runs:
        return groups
    folded = Groups()
    for done, (kind, name, members) in enumerate(zip(groups.kind, groups.name, groups.members, strict=True)):
        if not done % CHUNK:
            breathe()
        if kind != "card" or not is_inside[members[0]]:
            folded.add(kind, name, members)
        elif members[0] in runs:
            folded.add("chain", say("chain"), runs[members[0]])
    return folded


# --- 6. what comes out --------------------------------------------------------------------------------------


def _in_order(structure: Structure, groups: Groups, ranks: list[int]) -> Groups:
    """By rank, then function in order of appearance, then index: where nothing else decides, marks of one function
    stand in one row."""
    first = [members[0] for members in groups.members]
    order = sorted(range(len(ranks)), key=lambda group: (ranks[group], structure.groups[first[group]], first[group]))
    return Groups(
        [groups.kind[group] for group in order],
        [groups.name[group] for group in order],
        [groups.members[group] for group in order],
    )


def _finish(
    structure: Structure, ranks: Sequence[int], groups: Groups, previous: Folding | None, breathe: Breathe
) -> Folding:
    """The folding of ``groups``; with ``previous``, of its marks and the groups after them, where a group whose kind
    is that of an old mark is named by number."""
    total = len(structure)
    node_mark = array("I", bytes(4 * total))
    work = 0
    for mark, members in enumerate(groups.members):
        work += 16 + len(members)
        if work > 4 * CHUNK:
            work = 0
            breathe()
        for some in pieces(members, breathe):
            for node in some:
                node_mark[node] = mark
    kind, name = list(groups.kind), list(groups.name)
    size = [len(members) for members in groups.members]
    first = [min(members) for members in groups.members]
    source, target, count = _edges(structure, node_mark, len(kind), breathe)
    folded = _folded_words(size)
    joins = _joins(structure, ranks, node_mark, kind, name, breathe)
    node_rank = array("I")
    for base in range(0, total, CHUNK):
        breathe()
        node_rank.extend(ranks[base : base + CHUNK])
    return Folding(kind, name, size, first, node_mark, node_rank, source, target, count, folded, joins)


def _folded_words(size: Sequence[int]) -> str:
    """How many nodes are not seen one by one, and in how many marks; empty where all are."""
    several = [members for members in size if members > 1]
    if not several:
        return ""
    nodes, total = sum(several), sum(size)
    key = "grouped_one" if len(several) == 1 else "grouped"
    of = say("of_total", nodes=f"{nodes:,}", total=f"{total:,}") if nodes < total else f"{nodes:,}"
    return say(key, nodes=of, groups=f"{len(several):,}")


def _edges(
    structure: Structure, node_mark: array[int], marks: int, breathe: Breathe
) -> tuple[list[int], list[int], list[int]]:
    """Edges between marks with their counts, in order of source and target."""
    starts, parents = structure.parent_start, structure.parents
    counts: Counter[int] = Counter()
    total = len(structure)
    for base in range(0, total, CHUNK):
        breathe()
        stop = min(base + CHUNK, total)
        ends: list[int] = []
        for node, (begin, end) in zip(range(base, stop), pairwise(starts[base : stop + 1]), strict=False):
            if end - begin == 1:
                ends.append(node_mark[node])
            elif end > begin:
                ends += [node_mark[node]] * (end - begin)
        at = 0
        for block in pieces(parents[starts[base] : starts[stop]], breathe):
            scaled = [node_mark[parent] * marks for parent in block]
            counts.update(map(add, scaled, ends[at : at + len(scaled)]))
            at += len(scaled)
    source, target, count = [], [], []
    for done, code in enumerate(sorted(counts)):
        if not done % CHUNK:
            breathe()
        parent, child = divmod(code, marks)
        if parent != child:
            source.append(parent)
            target.append(child)
            count.append(counts[code])
    return source, target, count


def _joins(
    structure: Structure,
    ranks: Sequence[int],
    node_mark: array[int],
    kind: list[MarkKind],
    name: list[str],
    breathe: Breathe,
) -> dict[tuple[int, int], tuple[int, ...]]:
    """For each key, the stacks that hold it; for each rank of a band or of "others", that mark for all other keys."""
    others = say("others")
    takes_any = [one == "band" or (one == "stack" and called == others) for one, called in zip(kind, name, strict=True)]
    takes_key = [one == "stack" and not any_key for one, any_key in zip(kind, takes_any, strict=True)]
    met: set[tuple[int, int, int]] = set()
    for base in range(0, len(structure), CHUNK):
        breathe()
        stop = min(base + CHUNK, len(structure))
        met.update(zip(ranks[base:stop], structure.groups[base:stop], node_mark[base:stop], strict=True))
    seen: set[tuple[int, int, int]] = set()
    for done, (rank, group, mark) in enumerate(met):
        if not done % CHUNK:
            breathe()
        if takes_key[mark]:
            seen.add((rank, group, mark))
        elif takes_any[mark]:
            seen.add((rank, ANY_GROUP, mark))
    breathe()
    found: dict[tuple[int, int], list[int]] = {}
    for done, (rank, group, mark) in enumerate(seen):
        if not done % CHUNK:
            breathe()
        found.setdefault((rank, group), []).append(mark)
    joins: dict[tuple[int, int], tuple[int, ...]] = {}
    for done, (key, marks) in enumerate(found.items()):
        if not done % CHUNK:
            breathe()
        joins[key] = tuple(sorted(marks))
    return joins


def coarser(folding: Folding, ranks: Sequence[int], limit: int) -> Folding:
    """The same graph in at most ``limit`` marks, for forms that have less room: bands of what stands in the columns
    ``ranks``. O(nodes), a few milliseconds for 100,000."""
    if len(folding) <= limit:
        return folding
    layers: list[list[int]] = [[] for _ in range(max(ranks) + 1)]
    for mark, rank in enumerate(ranks):
        layers[rank].append(mark)
    kind: list[MarkKind] = []
    name, size, first = [], [], []
    new_mark = [0] * len(folding)
    widths = [len(layer) for layer in layers]
    for begin, end, is_open in cuts(widths, limit, max(1, limit // 3)):
        inside = [mark for layer in layers[begin:end] for mark in layer]
        if not is_open and len(inside) > 1:
            name.append(band_name(begin, end))
            kind.append("band")
            size.append(sum(folding.size[mark] for mark in inside))
            first.append(min(folding.first[mark] for mark in inside))
            for mark in inside:
                new_mark[mark] = len(kind) - 1
            continue
        for mark in inside:
            new_mark[mark] = len(kind)
            kind.append(folding.kind[mark])
            name.append(folding.name[mark])
            size.append(folding.size[mark])
            first.append(folding.first[mark])
    counts: Counter[tuple[int, int]] = Counter()
    for parent, child, count in zip(folding.source, folding.target, folding.count, strict=False):
        if new_mark[parent] != new_mark[child]:
            counts[new_mark[parent], new_mark[child]] += count
    ends = sorted(counts)
    return Folding(
        kind,
        name,
        size,
        first,
        array("I", map(new_mark.__getitem__, folding.node_mark)),
        folding.node_rank,
        [parent for parent, _ in ends],
        [child for _, child in ends],
        [counts[end] for end in ends],
        _folded_words(size),
        {},
    )


# --- growth -------------------------------------------------------------------------------------------------


def _grow(structure: Structure, previous: Folding, breathe: Breathe) -> Folding | None:
    """The folding before plus what is new, or None where that would be too many marks."""
    known = len(previous.node_mark)
    ranks = longest_paths(structure, previous.node_rank, breathe)
    joined: dict[int, list[int]] = {}
    above = _sources(previous)
    left = []
    for node in range(known, len(structure)):
        if not node % CHUNK:
            breathe()
        mark = _mark_to_join(structure, previous, node, ranks[node], above)
        if mark is None:
            left.append(node)
        else:
            joined.setdefault(mark, []).append(node)
    fresh = _new_groups(structure, ranks, left, known, breathe)
    if len(previous) + len(fresh.kind) > MARK_LIMIT:
        fresh = _one_group_a_rank(fresh, ranks)
    if len(previous) + len(fresh.kind) > MARK_LIMIT:
        return None
    groups = Groups()
    for mark, own in enumerate(previous.members()):
        groups.add(previous.kind[mark], previous.name[mark], own + joined.get(mark, []))
    for kind, name, members in zip(fresh.kind, fresh.name, fresh.members, strict=False):
        groups.add(kind, name, members)
    return _finish(structure, ranks, groups, previous, breathe)


def _sources(folding: Folding) -> dict[int, set[int]]:
    above: dict[int, set[int]] = {}
    for source, target in zip(folding.source, folding.target, strict=False):
        above.setdefault(target, set()).add(source)
    return above


def _mark_to_join(
    structure: Structure, previous: Folding, node: int, rank: int, above: dict[int, set[int]]
) -> int | None:
    """The stack of the node's key; of several, the one that is below the same marks, else the largest."""
    marks = previous.joins.get((rank, structure.groups[node])) or previous.joins.get((rank, ANY_GROUP))
    if not marks:
        return None
    if len(marks) == 1:
        return marks[0]
    known = len(previous.node_mark)
    own = {previous.node_mark[parent] for parent in structure.parents_of(node) if parent < known}
    return min(marks, key=lambda mark: (above.get(mark, set()) != own, -previous.size[mark], mark))


def _new_groups(structure: Structure, ranks: Sequence[int], left: list[int], known: int, breathe: Breathe) -> Groups:
    """Stacks and cards among the new nodes that joined no mark."""
    groups = _stacks_and_cards(structure, ranks, range(known, len(structure)), breathe)
    if len(left) == len(structure) - known:
        return groups
    is_left = set(left)
    kept = Groups()
    for name, found in zip(groups.name, groups.members, strict=False):
        rest = [node for node in found if node in is_left]
        if len(rest) >= FOLD_FROM or (len(rest) > 1 and structure.groups[rest[0]] in structure.stages):
            kept.add("stack", name, rest)
        else:
            for node in rest:
                kept.add("card", structure.names[node], (node,))
    return kept


def _one_group_a_rank(groups: Groups, ranks: Sequence[int]) -> Groups:
    merged: dict[int, list[int]] = {}
    for members in groups.members:
        merged.setdefault(ranks[members[0]], []).extend(members)
    folded = Groups()
    for rank in sorted(merged):
        folded.add("stack", say("others"), sorted(merged[rank]))
    return folded
