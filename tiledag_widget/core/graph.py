"""The shape of a graph: nodes by index, edges, order and cycles. No recursion, O(1) an edge."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator


class Graph:
    """Nodes ``0..len-1`` with parents and children in order of discovery."""

    __slots__ = ("children", "edge_count", "parents", "sorted")

    def __init__(self) -> None:
        self.parents: list[list[int]] = []
        self.children: list[list[int]] = []
        self.edge_count = 0
        self.sorted = True
        """True while every edge goes from a lower to a higher index, so that index order is a valid order."""

    def __len__(self) -> int:
        return len(self.parents)

    def add_node(self, parents: Iterable[int]) -> int:
        """Append a node below existing ones and return its index. A new node cannot close a cycle."""
        index = len(self.parents)
        own = list(parents)
        self.parents.append(own)
        self.children.append([])
        for parent in own:
            self.children[parent].append(index)
        self.edge_count += len(own)
        return index

    def forget_from(self, count: int) -> None:
        """Back to the first ``count`` nodes, the last ones having only parents. O(n)."""
        del self.parents[count:], self.children[count:]
        for children in self.children:
            while children and children[-1] >= count:
                children.pop()
        self.edge_count = sum(map(len, self.parents))

    def has_edge(self, parent: int, child: int) -> bool:
        """Cost: the smaller of the two lists."""
        down, up = self.children[parent], self.parents[child]
        return child in down if len(down) < len(up) else parent in up

    def add_edge(self, parent: int, child: int) -> None:
        """Make ``child`` wait for ``parent``; the caller has asked `closes_cycle`."""
        self.parents[child].append(parent)
        self.children[parent].append(child)
        self.edge_count += 1
        if parent > child:
            self.sorted = False

    def closes_cycle(self, parent: int, child: int) -> bool:
        """True if an edge ``parent -> child`` would. O(1) where ``child`` has no children or ``parent`` no parents.

        So building a chain costs O(1) an edge from either end.
        """
        if parent == child:
            return True
        return bool(self.children[child] and self.parents[parent]) and self.path(child, parent) is not None

    def path(self, start: int, end: int) -> list[int] | None:
        """A path along children from ``start`` to ``end``, or None. O(edges) below ``start``."""
        if start == end:
            return [start]
        came_from = {start: start}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            for child in self.children[node]:
                if child in came_from:
                    continue
                came_from[child] = node
                if child == end:
                    return list(reversed(list(self._walk_back(came_from, start, end))))
                queue.append(child)
        return None

    @staticmethod
    def _walk_back(came_from: dict[int, int], start: int, end: int) -> Iterator[int]:
        node = end
        while node != start:
            yield node
            node = came_from[node]
        yield start

    def topological_order(self) -> list[int]:
        """Every node after its parents; the index order where that is one. Raises ValueError on a cycle."""
        return self.parents_first(range(len(self)))

    def parents_first(self, nodes: Collection[int]) -> list[int]:
        """These nodes, none before a parent of its own among them; in index order where that will do.

        O(edges below them), and O(n log n) without looking at edges while the graph is `sorted`. Raises ValueError on
        a cycle.
        """
        if self.sorted:
            return sorted(nodes)
        waiting = dict.fromkeys(nodes, 0)
        for node in waiting:
            for child in self.children[node]:
                if child in waiting:
                    waiting[child] += 1
        order = [node for node, count in waiting.items() if not count]
        for node in order:  # grows while it is walked
            for child in self.children[node]:
                if child in waiting:
                    waiting[child] -= 1
                    if not waiting[child]:
                        order.append(child)
        if len(order) != len(waiting):
            raise ValueError("the graph holds a cycle")
        return order

    def leaves_first_order(self) -> list[int]:
        """Parents-first order in which the reference lists nodes in logs (wire contract, section 5.9)."""
        waiting = [len(children) for children in self.children]
        order = [node for node in range(len(self) - 1, -1, -1) if not waiting[node]]
        for node in order:  # grows while it is walked
            for parent in self.parents[node]:
                waiting[parent] -= 1
                if not waiting[parent]:
                    order.append(parent)
        if len(order) != len(self):
            raise ValueError("the graph holds a cycle")
        order.reverse()
        return order

    def descendants(self, nodes: Iterable[int]) -> list[int]:
        """The nodes and everything below them, each once, in order of discovery."""
        seen = dict.fromkeys(nodes)
        queue = deque(seen)
        while queue:
            for child in self.children[queue.popleft()]:
                if child not in seen:
                    seen[child] = None
                    queue.append(child)
        return list(seen)
