"""How far each node is from the roots: the first step of folding.

O(nodes + edges) over columns, without recursion.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from ..core.snapshot import Structure

Breathe = Callable[[], None]
_Sequence = TypeVar("_Sequence", bound=Sequence[int])

CHUNK: Final = 512
"""Nodes between two breaths: 1 ms of work at most, so that few of them are late."""
BREATH_S: Final = 0.001
"""Giving the interpreter away costs a tenth of a millisecond, so it is not done more often than this."""


class _Breath(threading.local):
    taken = 0.0


_breath = _Breath()


def breathe_now() -> None:
    """Let the threads that run nodes have the interpreter, if this one has had it for `BREATH_S`."""
    if time.perf_counter() - _breath.taken >= BREATH_S:
        time.sleep(0)
        _breath.taken = time.perf_counter()


def pieces(items: _Sequence, breathe: Breathe) -> Iterable[_Sequence]:
    """The items in parts of at most `CHUNK`, with a breath before each where they are several: a node may have a
    hundred thousand parents."""
    return (items,) if len(items) <= CHUNK else _cut(items, breathe)


def _cut(items: _Sequence, breathe: Breathe) -> Iterable[_Sequence]:
    for base in range(0, len(items), CHUNK):
        breathe()
        yield items[base : base + CHUNK]  # type: ignore[misc]  # a part of a list is a list, of an array an array


def longest_paths(structure: Structure, known: Sequence[int], breathe: Breathe) -> list[int]:
    """Longest path from the roots; the first nodes keep the ranks that are ``known``."""
    ranks = list(known)
    starts, parents, total = structure.parent_start, structure.parents, len(structure)
    rank_of = ranks.__getitem__
    end = starts[len(ranks)] if total else 0
    for base in range(len(known), total, CHUNK):
        breathe()
        due = end + 4 * CHUNK
        for node in range(base, min(base + CHUNK, total)):
            begin, end = end, starts[node + 1]
            if end > due:
                breathe()
                due = end + 4 * CHUNK
            if end == begin:
                ranks.append(0)
                continue
            if end - begin == 1:
                if parents[begin] >= node:
                    return _ranks_in_any_order(structure, known, breathe)
                ranks.append(ranks[parents[begin]] + 1)
                continue
            highest = 0
            for own in pieces(parents[begin:end], breathe):
                if max(own) >= node:
                    return _ranks_in_any_order(structure, known, breathe)
                highest = max(highest, *map(rank_of, own))
            ranks.append(highest + 1)
    return ranks


def _ranks_in_any_order(structure: Structure, known: Sequence[int], breathe: Breathe) -> list[int]:
    """The same where a parent may have the higher index, and where cycles are (only in records from elsewhere)."""
    total, fixed = len(structure), len(known)
    waiting = [0] * total
    children: list[list[int]] = []
    for base in range(0, total, CHUNK):
        breathe()
        children += [[] for _ in range(base, min(base + CHUNK, total))]
    work = 0
    for node in range(fixed, total):
        for own in pieces(structure.parents_of(node), breathe):
            work += 1 + len(own)
            if work > CHUNK:
                work = 0
                breathe()
            for parent in own:
                children[parent].append(node)
            waiting[node] += len(own)
    ranks = [*known, *([0] * (total - fixed))]
    is_done = bytearray(total)
    count = _settle(_ready(waiting, is_done, fixed, breathe), ranks, waiting, children, is_done, breathe)
    if count < total:
        for parent, child in _closing_edges(children, is_done, breathe):
            breathe()
            waiting[child] -= 1
            children[parent].remove(child)
        _settle(_ready(waiting, is_done, 0, breathe), ranks, waiting, children, is_done, breathe)
    return ranks


def _ready(waiting: list[int], is_done: bytearray, fixed: int, breathe: Breathe) -> list[int]:
    """Nodes that wait for none, and the first ``fixed``."""
    ready: list[int] = []
    for base in range(0, len(waiting), CHUNK):
        breathe()
        some = range(base, min(base + CHUNK, len(waiting)))
        ready += [node for node in some if not is_done[node] and (node < fixed or not waiting[node])]
    return ready


def _settle(
    ready: list[int],
    ranks: list[int],
    waiting: list[int],
    children: list[list[int]],
    is_done: bytearray,
    breathe: Breathe,
) -> int:
    """Give ranks below the ``ready`` nodes, and return how many nodes have one."""
    count = work = 0
    while ready:
        node = ready.pop()
        is_done[node] = 1
        count += 1
        below = ranks[node] + 1
        for own in pieces(children[node], breathe):
            work += 1 + len(own)
            if work > CHUNK:
                work = 0
                breathe()
            for child in own:
                if ranks[child] < below:
                    ranks[child] = below
                waiting[child] -= 1
                if not waiting[child]:
                    ready.append(child)
    return count


def _closing_edges(children: list[list[int]], is_done: bytearray, breathe: Breathe) -> list[tuple[int, int]]:
    """The edges that close a cycle in a depth-first walk over the nodes that are not done."""
    new, open_, closed = 0, 1, 2
    state = bytearray(len(children))
    found = []
    steps = 0
    for root in range(len(children)):
        if not root % CHUNK:
            breathe()
        if is_done[root] or state[root] != new:
            continue
        state[root] = open_
        path = [(root, iter(children[root]))]
        while path:
            steps += 1
            if not steps % CHUNK:
                breathe()
            node, rest = path[-1]
            for child in rest:
                steps += 1
                if not steps % CHUNK:
                    breathe()
                if state[child] == open_:
                    found.append((node, child))
                elif state[child] == new:
                    state[child] = open_
                    path.append((child, iter(children[child])))
                    break
            else:
                state[node] = closed
                path.pop()
    return found
