"""What is too much for a picture, in fewer groups: the last steps of folding.

A rank that would show too many marks folds them by name, then into "others"; if all ranks together are too many,
neighbouring ones merge into bands, the ends of the flow last.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final, Literal

from ..core.snapshot import Structure
from .palette import say
from .ranks import CHUNK, Breathe, pieces

MarkKind = Literal["card", "stack", "chain", "band"]

LAYER_LIMIT: Final = 60
"""Marks of one rank before names are folded."""
LAYER_LEAST: Final = 8
"""Ranks are not cut below this many marks; bands are made instead."""
MARK_LIMIT: Final = 300
BAND_LIMIT: Final = 100
"""Bands, before the ends of the flow are opened again."""

_PREFIX = re.compile(r"^(\D*?)[\s_\-.:#/(\[]*(?:\d.*)?$", re.DOTALL)


@dataclass(slots=True)
class Groups:
    """Marks in the making."""

    kind: list[MarkKind] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    members: list[Sequence[int]] = field(default_factory=list)

    def add(self, kind: MarkKind, name: str, members: Sequence[int]) -> None:
        self.kind.append(kind)
        self.name.append(name)
        self.members.append(members)

    def take(self, other: Groups, group: int) -> None:
        """One of another's."""
        self.add(other.kind[group], other.name[group], other.members[group])


def group_ranks(structure: Structure, groups: Groups, ranks: Sequence[int], breathe: Breathe) -> list[int]:
    """Longest path over the groups, where a chain counts as one."""
    if "chain" not in groups.kind:
        own_ranks: list[int] = []
        for base in range(0, len(groups.members), CHUNK):
            breathe()
            own_ranks += [ranks[members[0]] for members in groups.members[base : base + CHUNK]]
        return own_ranks
    starts, parents = structure.parent_start, structure.parents
    owner = array("I", bytes(4 * len(structure)))
    work = 0
    for group, members in enumerate(groups.members):
        for some in pieces(members, breathe):
            work += 1 + len(some)
            if work > CHUNK:
                work = 0
                breathe()
            for node in some:
                owner[node] = group
    group_rank = [0] * len(groups.kind)
    work = 0
    for group in sorted(range(len(groups.kind)), key=lambda group: ranks[groups.members[group][0]]):
        highest = -1
        members = groups.members[group]
        for node in members[:1] if groups.kind[group] == "chain" else members:
            own = parents[starts[node] : starts[node + 1]]
            work += 1 + len(own)
            if work > CHUNK:
                work = 0
                breathe()
            for some in pieces(own, breathe):
                for parent in some:
                    if ranks[parent] < ranks[node] and group_rank[owner[parent]] > highest:
                        highest = group_rank[owner[parent]]
        group_rank[group] = highest + 1
    return group_rank


def limit_layers(groups: Groups, ranks: list[int], structure: Structure, breathe: Breathe) -> tuple[Groups, list[int]]:
    """Fold what a rank shows beyond its share: cards by the prefix of their names, then the smallest as "others"."""
    layers: dict[int, list[int]] = {}
    for group, rank in enumerate(ranks):
        if not group % CHUNK:
            breathe()
        layers.setdefault(rank, []).append(group)
    breathe()
    widths = [*map(len, layers.values())]
    breathe()
    limit = _layer_limit(widths)
    breathe()
    if max(widths) <= limit:
        return groups, ranks
    folded, folded_ranks = Groups(), []
    for rank, layer in layers.items():
        breathe()
        shown, own = groups, layer
        if len(own) > limit:
            shown = _by_prefix(shown, own, breathe)
            own = [*range(len(shown.kind))]
        if len(own) > limit:
            shown = _with_others(shown, limit, breathe)
            own = [*range(len(shown.kind))]
        for group in own:
            folded.take(shown, group)
        folded_ranks += [rank] * len(own)
    return folded, folded_ranks


def _layer_limit(widths: list[int]) -> int:
    """Marks that a rank may show: fewer than usual where that saves the picture from bands."""
    if len(widths) > MARK_LIMIT or sum(min(width, LAYER_LEAST) for width in widths) > MARK_LIMIT:
        return LAYER_LIMIT
    for limit in range(LAYER_LIMIT, LAYER_LEAST - 1, -1):
        if sum(min(width, limit) for width in widths) <= MARK_LIMIT:
            return limit
    return LAYER_LIMIT


def _by_prefix(groups: Groups, layer: Sequence[int], breathe: Breathe) -> Groups:
    """Cards of a layer whose names begin alike, together; the rest as it was."""
    by_prefix: dict[str, list[int]] = {}
    kept = Groups()
    for done, group in enumerate(layer):
        if not done % CHUNK:
            breathe()
        if groups.kind[group] == "card":
            by_prefix.setdefault(_prefix(groups.name[group]), []).append(group)
        else:
            kept.take(groups, group)
    work = 0
    for prefix, alike in by_prefix.items():
        work += len(alike)
        if work > CHUNK:
            work = 0
            breathe()
        if len(alike) == 1 or not prefix:
            for some in pieces(alike, breathe):
                for group in some:
                    kept.take(groups, group)
        else:
            members: list[int] = []
            for some in pieces(alike, breathe):
                members += [groups.members[group][0] for group in some]
            kept.add("stack", prefix, members)
    return kept


def _prefix(name: str) -> str:
    found = _PREFIX.match(name[:200])
    prefix = found[1] if found else name[:200]
    return prefix if len(prefix) < len(name) else re.split(r"[\s_\-.:#/(\[]", name, maxsplit=1)[0]


def _with_others(shown: Groups, limit: int, breathe: Breathe) -> Groups:
    """The largest stay, the rest is one mark."""
    members = shown.members
    largest: list[int] = []
    for base in range(0, len(members), CHUNK):
        breathe()
        some = [*largest, *range(base, min(base + CHUNK, len(members)))]
        largest = nsmallest(limit - 1, some, key=lambda group: (-len(members[group]), members[group][0]))
    kept = Groups()
    for group in sorted(largest):
        kept.take(shown, group)
    stays = set(largest)
    rest: list[int] = []
    for group, own in enumerate(members):
        if not group % CHUNK:
            breathe()
        if group not in stays:
            rest.extend(own)
    breathe()
    kept.add("stack", say("others"), sorted(rest))
    return kept


# --- 5. bands -----------------------------------------------------------------------------------------------


def merge_into_bands(groups: Groups, ranks: list[int], breathe: Breathe) -> tuple[Groups, list[int]]:
    """Merge neighbouring ranks until the limit is kept; as many bands as fit are opened again from both ends."""
    if len(groups.kind) <= MARK_LIMIT:
        return groups, ranks
    layers: list[list[int]] = []
    count = max(ranks) + 1
    for base in range(0, count, CHUNK):
        breathe()
        layers += [[] for _ in range(base, min(base + CHUNK, count))]
    for group, rank in enumerate(ranks):
        if not group % CHUNK:
            breathe()
        layers[rank].append(group)
    breathe()
    widths = [*map(len, layers)]
    folded, folded_ranks = Groups(), []
    for begin, end, is_open in cuts(widths, MARK_LIMIT, BAND_LIMIT):
        breathe()
        inside = [group for layer in layers[begin:end] for group in layer]
        if is_open or len(inside) == 1:
            for group in inside:
                folded.add(groups.kind[group], groups.name[group], groups.members[group])
                folded_ranks.append(ranks[group])
            continue
        merged: list[int] = []
        for done, group in enumerate(inside):
            if not done % CHUNK:
                breathe()
            merged.extend(groups.members[group])
        merged.sort()
        folded.add("band", band_name(begin, end), merged)
        folded_ranks.append(begin)
    return folded, folded_ranks


def band_name(begin: int, end: int) -> str:
    return say("band", first=begin, last=end - 1) if end - begin > 1 else say("band_one", rank=begin)


def cuts(widths: list[int], limit: int, band_limit: int) -> list[tuple[int, int, bool]]:
    """Intervals of ranks, and whether they are shown as they are rather than as a band."""
    total = len(widths)
    length = next(length for length in _lengths() if -(-total // length) <= band_limit)
    bands = [(begin, min(begin + length, total)) for begin in range(0, total, length)]
    left = limit - len(bands)
    is_open = bytearray(len(bands))
    for place in _from_both_ends(len(bands)):
        cost = sum(widths[bands[place][0] : bands[place][1]]) - 1
        if cost > left:
            break
        left -= cost
        is_open[place] = 1
    return [(begin, end, bool(is_open[place])) for place, (begin, end) in enumerate(bands)]


def _lengths() -> Iterable[int]:
    scale = 1
    while True:
        for step in (2, 5, 10):
            yield step * scale
        scale *= 10


def _from_both_ends(count: int) -> Iterable[int]:
    for step in range((count + 1) // 2):
        yield step
        if count - 1 - step != step:
            yield count - 1 - step
