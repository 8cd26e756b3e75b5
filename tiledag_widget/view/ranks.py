"""How far each node is from the roots: the first step of folding.

O(nodes + edges) over columns, without recursion.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from ..core.snapshot import Structure

Breathe = Callable[[], None]

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


def longest_paths(structure: Structure, known: Sequence[int], breathe: Breathe) -> list[int]:
    """Longest path from the roots; the first nodes keep the ranks that are ``known``."""
    ranks = list(known)
    starts, parents, total = structure.parent_start, structure.parents, len(structure)
    rank_of = ranks.__getitem__
    end = starts[len(ranks)] if total else 0
    for base in range(len(known), total, CHUNK):
        breathe()
        for node in range(base, min(base + CHUNK, total)):
            begin, end = end, starts[node + 1]
            if end == begin:
                ranks.append(0)
                continue
            if end - begin == 1:
                if parents[begin] >= node:
                    return _ranks_in_any_order(structure, known, breathe)
                ranks.append(ranks[parents[begin]] + 1)
                continue
            own = parents[begin:end]
            if max(own) >= node:
                return _ranks_in_any_order(structure, known, breathe)
            ranks.append(max(map(rank_of, own)) + 1)
    return ranks


def _ranks_in_any_order(structure: Structure, known: Sequence[int], breathe: Breathe) -> list[int]:
    """The same where a parent may have the higher index, and where cycles are (only in records from elsewhere)."""
    total, fixed = len(structure), len(known)
    waiting = [0] * total
    children: list[list[int]] = [[] for _ in range(total)]
    for node in range(fixed, total):
        if not node % CHUNK:
            breathe()
        for parent in structure.parents_of(node):
            children[parent].append(node)
            waiting[node] += 1
    ranks = [*known, *([0] * (total - fixed))]
    is_done = bytearray(total)
    ready = [node for node in range(total) if node < fixed or not waiting[node]]
    count = _settle(ready, ranks, waiting, children, is_done, breathe)
    if count < total:
        for parent, child in _closing_edges(children, is_done, breathe):
            waiting[child] -= 1
            children[parent].remove(child)
        ready = [node for node in range(total) if not is_done[node] and not waiting[node]]
        _settle(ready, ranks, waiting, children, is_done, breathe)
    return ranks


def _settle(
    ready: list[int],
    ranks: list[int],
    waiting: list[int],
    children: list[list[int]],
    is_done: bytearray,
    breathe: Breathe,
) -> int:
    """Give ranks below the ``ready`` nodes, and return how many nodes have one."""
    count = 0
    while ready:
        node = ready.pop()
        is_done[node] = 1
        count += 1
        if not count % CHUNK:
            breathe()
        below = ranks[node] + 1
        for child in children[node]:
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
    for root in range(len(children)):
        if is_done[root] or state[root] != new:
            continue
        state[root] = open_
        path = [(root, iter(children[root]))]
        steps = 0
        while path:
            steps += 1
            if not steps % CHUNK:
                breathe()
            node, rest = path[-1]
            for child in rest:
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
