"""What a page is sent when it opens a graph: the picture, then the columns.

An `Opening` is all of it that depends on the structure alone, made once per version of the structure, off the threads
that run nodes. Statuses and records are added when it is sent. What no picture needs, its `Rest`, is made after it.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import sys
import threading
import time
import traceback
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import isnan
from typing import Any, Final, Literal

from ..core.snapshot import RECORD, GraphSource, RunInfo, Structure
from .fold import Folding, fold
from .layout import arrange, to_message
from .messages import CHUNK_BYTES, MOST_CYCLIC, PROTOCOL, ColumnChunk, MarkEdges, Marks, Picture, Run
from .palette import say
from .ranks import CHUNK, breathe_now
from .stills import end_cut, middle_cut

_log = logging.getLogger("tiledag_widget.view")

Message = tuple[Any, list[bytes]]
"""Content and buffers."""
Column = Literal["records", "names", "edges", "groups", "tape", "file"]

SMALL_NODES: Final = 2_000
"""The picture of a graph of at most so many nodes is sent as it is: its tables are ten kilobytes at most, and a page
takes longer to inflate them than to draw them."""

NAME_WIDTHS: Final = (1000, 500, 250, 120, 60, 30)
NAMES_BYTES: Final = 40_000
"""The names in a picture are cut to the first of `NAME_WIDTHS` at which they are no longer than that together. Cards
get theirs back with the column of names."""
REASON_WIDTH: Final = 300
TROUBLE_WIDTH: Final = 4_000
TITLE_WIDTH: Final = 10_000
RING_LENGTH: Final = 8
"""Names of a cycle that are told."""
RING_WIDTH: Final = 60
EDGES_BYTES: Final = 40_000
"""Edges that are longer as JSON go into a buffer, deflated: 300 marks may have 44,850 of them."""

NO_EDGES: Final[MarkEdges] = {"source": [], "target": [], "count": [], "bends": []}

_LINE_BREAKS: Final = str.maketrans({"\n": "\u2028", "\r": "\u2028"})


@dataclass(frozen=True, slots=True)
class Arranged:
    """Marks in their places: what `fold` and `layout` made of a structure.

    Attributes:
        folding: For the next fold, so that marks stay together.
        layout: For the next layout, so that marks stay where they are.
        node_mark: Node -> mark.
        folded: What was folded, in words, or empty.
        trouble: The traceback where nothing could be arranged, and ``folded`` says that, else empty.
    """

    folding: Any
    layout: Any
    marks: Marks
    edges: MarkEdges
    node_mark: array[int]
    folded: str
    trouble: str = ""


Arrange = Callable[[Structure, "Arranged | None"], Arranged]


def fold_and_layout(structure: Structure, previous: Arranged | None = None) -> Arranged:
    """Marks in their places; what ``previous`` showed stays where it was. See `fold.fold` and `layout.arrange`."""
    known = previous.folding if previous is not None else None
    folding = fold(structure, known)
    layout = arrange(folding, previous.layout if previous is not None and known is not None else None)
    marks, edges = to_message(folding, layout, _groups(structure, folding))
    marks["name"] = _fitting(marks["name"])
    return Arranged(folding, layout, marks, edges, folding.node_mark, folding.folded)


def _groups(structure: Structure, folding: Folding) -> list[int]:
    """Per mark the group that its members have, -1 where they may have several. O(marks)."""
    groups: list[int] = []
    for kind, name, first in zip(folding.kind, folding.name, folding.first, strict=True):
        group = structure.groups[first]
        is_one = kind == "card" or (kind == "stack" and name == structure.group_names[group])
        groups.append(group if is_one else -1)
    return groups


def _group_names(structure: Structure, marks: Marks) -> dict[str, str]:
    """Of the groups that only single cards belong to: a card is called by its node. O(marks)."""
    of_stacks = {group for kind, group in zip(marks["kind"], marks["group"], strict=True) if kind != "card"}
    groups = sorted({*marks["group"]} - of_stacks - {-1})
    names = _fitting([structure.group_names[group] for group in groups])
    return {str(group): name for group, name in zip(groups, names, strict=True)}


def _fitting(names: Sequence[str]) -> list[str]:
    """Names for a picture, short enough to be sent in one message with the rest of it. O(characters that are kept)."""
    fitting: list[str] = []
    for width in NAME_WIDTHS:
        fitting = [middle_cut(name, width) for name in names]
        if sum([len(name.encode(errors="replace")) for name in fitting]) <= NAMES_BYTES:
            break
    return fitting


@dataclass(frozen=True, slots=True)
class Rest:
    """Columns that one version of a structure settles, deflated. ``groups`` is empty where marks tell them."""

    names: bytes
    edges: bytes
    groups: bytes


@dataclass(frozen=True)
class Opening:
    """The parts of picture and columns that one version of a structure settles. ``table`` is as ``encoding`` says;
    ``edges`` are the edges between marks where they are too many to be sent as they are, else empty."""

    version: int
    structure: Structure
    arranged: Arranged
    table: bytes
    edges: bytes
    took: float
    is_plain: bool = False
    """True for one stack in the place of the graph, which is being arranged or was not to be."""
    is_interim: bool = False
    """True for one that stands there only until the graph is arranged."""

    @property
    def encoding(self) -> Literal["raw", "deflate"]:
        return _encoding(self.structure)

    @cached_property
    def cycle(self) -> tuple[str, list[int]]:
        """What is said of nodes that wait for each other, and the edges between marks by which they do."""
        cyclic = self.structure.cyclic
        if not cyclic:
            return "", []
        below = dict(cyclic)
        way = dict.fromkeys([cyclic[0][0]])
        while (node := below[next(reversed(way))]) not in way:
            way[node] = None
        ring = list(way)[list(way).index(node) :]
        names = [middle_cut(self.structure.names[each], RING_WIDTH) for each in (*ring, ring[0])]
        if len(names) > RING_LENGTH:
            names[RING_LENGTH - 1 : -1] = ["…"]
        text = say("cycle_one" if len(cyclic) == 1 else "cycle", names=" → ".join(names), count=f"{len(cyclic):,}")
        marks, edges = self.arranged.node_mark, self.arranged.edges
        wanted = {(marks[parent], marks[child]) for parent, child in cyclic}
        pairs = enumerate(zip(edges["source"], edges["target"], strict=True))
        return text, [at for at, pair in pairs if pair in wanted][:MOST_CYCLIC]

    @cached_property
    def rest(self) -> Rest:
        """What comes after the picture. O(nodes + edges) when it is first asked for."""
        structure = self.structure
        return Rest(
            zlib.compress(_lines(structure.names)),
            zlib.compress(_edge_pairs(structure)),
            _node_groups(structure, self.arranged.marks),
        )


_pausing = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def without_collections() -> Iterator[None]:
    """No pass of the garbage collector within: folding makes a hundred thousand short-lived tuples, and a full pass
    over a large process is 40 ms in which no node runs. There is nothing cyclic among them. For seconds at most."""
    global _pauses, _was_enabled
    with _pausing:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _pausing:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()


def _encoding(structure: Structure) -> Literal["raw", "deflate"]:
    return "raw" if len(structure) <= SMALL_NODES else "deflate"


def _packed(part: bytes, encoding: Literal["raw", "deflate"]) -> bytes:
    return part if encoding == "raw" else zlib.compress(part)


class Openings:
    """The opening of a graph as it is now, made when asked for and kept. Safe from any thread."""

    def __init__(self, source: GraphSource, arrange: Arrange = fold_and_layout) -> None:
        self._source = source
        self._arrange = arrange
        self._lock = threading.Lock()
        self._kept: Opening | None = None
        self._plain: Opening | None = None
        self._is_untidy = False

    def kept(self) -> Opening | None:
        """The last one made, without waiting; None once it is to be made anew."""
        return None if self._is_untidy else self._plain or self._kept

    def stand_in(self) -> Opening:
        """Until the graph is arranged, show it as one stack. Does not wait for who is arranging it; O(nodes)."""
        return self._show_plain(is_stopped=self._plain is not None and not self._plain.is_interim)

    def give_up(self) -> None:
        """The same until somebody tidies."""
        self._is_untidy = False
        self._show_plain(is_stopped=True)

    def _show_plain(self, is_stopped: bool) -> Opening:
        version, kept = self._source.version, self._kept
        if kept is not None and kept.version == version:
            return kept
        began, structure = time.perf_counter(), self._source.structure()
        arranged = heap(structure, "Not arranged: it was stopped." if is_stopped else "")
        made = replace(_opening(version, structure, arranged, began), is_plain=True, is_interim=not is_stopped)
        self._plain = made
        kept = self._kept
        if not is_stopped and kept is not None and kept.version == version:
            self._plain = None  # by now it is arranged, and who did that has seen none to take away
        return made

    def now(self) -> Opening:
        """The one for the present structure. Cost: fold and layout if the structure is new, else nothing."""
        with self._lock:
            version = self._source.version
            plain = self._plain
            if plain is not None and not plain.is_interim:
                return plain if plain.version == version else self._show_plain(is_stopped=True)
            if self._is_untidy:
                self._kept, self._is_untidy = None, False
            if self._kept is None or self._kept.version != version:
                self._kept = self._make(version)
            plain = self._plain
            if plain is not None and plain.is_interim and plain.version == version:
                self._plain = None
            return self._kept

    def tidy(self) -> None:
        """Forget where marks are: the next opening is that of a fresh display. Returns at once."""
        self._is_untidy = True
        self._plain = None

    def _make(self, version: int) -> Opening:
        began = time.perf_counter()
        structure = self._source.structure()
        try:
            with without_collections():
                arranged = self._arrange(_closed(structure), self._kept.arranged if self._kept else None)
        except Exception as error:
            _log.exception("the graph could not be arranged")
            text = f"The graph could not be arranged: {str(error) or type(error).__name__}"
            reason = end_cut(text.rstrip("."), REASON_WIDTH - 1) + "."
            arranged = heap(structure, reason, traceback.format_exc()[-TROUBLE_WIDTH:])
        return _opening(version, structure, arranged, began)


def _opening(version: int, structure: Structure, arranged: Arranged, began: float) -> Opening:
    table = _packed(_little(arranged.node_mark), _encoding(structure))
    return Opening(version, structure, arranged, table, _long_edges(arranged.edges), took=time.perf_counter() - began)


def _closed(structure: Structure) -> Structure:
    """With the edges that close a cycle, which are drawn although no run has them. O(nodes + edges) if any."""
    if not structure.cyclic:
        return structure
    parents = [list(structure.parents_of(node)) for node in range(len(structure))]
    for parent, child in structure.cyclic:
        if parent != child and parent not in parents[child]:
            parents[child].append(parent)
    start = array("I", itertools.accumulate(map(len, parents), initial=0))
    return replace(structure, parent_start=start, parents=array("I", itertools.chain.from_iterable(parents)))


def heap(structure: Structure, reason: str, trouble: str = "") -> Arranged:
    """Everything in one stack: what is left where nothing could be arranged."""
    total = len(structure)
    marks: Marks = {"kind": [], "name": [], "size": [], "first": [], "rank": [], "order": [], "slot": [], "group": []}
    if total:
        marks = {
            "kind": ["stack"],
            "name": ["nodes"],
            "size": [total],
            "first": [0],
            "rank": [0],
            "order": [0],
            "slot": [0.0],
            "group": [-1],
        }
    return Arranged(None, None, marks, NO_EDGES, array("I", bytes(4 * total)), reason, trouble)


def _lines(names: Sequence[str]) -> bytes:
    parts: list[bytes] = []
    for base in range(0, len(names), CHUNK):
        breathe_now()
        some = names[base : base + CHUNK]
        parts.append("\n".join([name.translate(_LINE_BREAKS) for name in some]).encode(errors="replace"))
    return b"\n".join(parts)


def _long_edges(edges: MarkEdges) -> bytes:
    """Edges between marks as deflated JSON; empty where they are short enough to stand in the picture."""
    numbers = 3 * len(edges["source"]) + sum([len(bends) + 1 for bends in edges["bends"]])
    if 4 * numbers <= EDGES_BYTES:
        return b""
    return zlib.compress(json.dumps(edges, separators=(",", ":")).encode())


def _node_groups(structure: Structure, marks: Marks) -> bytes:
    """The column ``groups``, deflated; empty where the marks tell the group of each node by its whole name."""
    named = [structure.group_names[group] for group in marks["group"] if group >= 0]
    if len(named) == len(marks["group"]) and _fitting(named) == named:
        return b""
    names = _lines(structure.group_names)
    return zlib.compress(_little(array("I", [len(names)])) + names + _little(structure.groups))


def _edge_pairs(structure: Structure) -> bytes:
    starts = structure.parent_start
    children = array("I")
    for base in range(0, len(structure), CHUNK):
        breathe_now()
        ends: list[int] = []
        for node in range(base, min(base + CHUNK, len(structure))):
            ends += [node] * (starts[node + 1] - starts[node])
        children.extend(ends)
    pairs = array("I", bytes(2 * children.itemsize * len(children)))
    pairs[0::2] = array("I", structure.parents)
    pairs[1::2] = children
    return _little(pairs)


def _little(numbers: array[int]) -> bytes:
    """u32 in the page's byte order."""
    if sys.byteorder == "big" or numbers.typecode != "I":
        numbers = array("I", numbers)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def picture_message(
    opening: Opening, source: GraphSource, *, epoch: int, version: str, now: float
) -> tuple[Message, bytes, int, RunInfo]:
    """The picture of this moment, the records up to it, its revision and its run.

    The statuses are those of the revision exactly: first the columns are read, at some revision or other, then all
    records up to a later one, which are written over them. What no record names has the status it was made with.
    """
    statuses = bytearray(source.columns().status)
    patch = source.patch(0)
    total = len(opening.structure)
    statuses = statuses[:total].ljust(total, b"\x01")
    for record in RECORD.iter_unpack(patch.records):
        if record[0] < total:
            statuses[record[0]] = record[1]
    content: Picture = {
        "type": "picture",
        "protocol": PROTOCOL,
        "version": version,
        "epoch": epoch,
        "revision": patch.revision,
        "graph_id": source.graph_id,
        "title": middle_cut(source.title, TITLE_WIDTH),
        "reference": source.reference,
        "total": total,
        "encoding": opening.encoding,
        "marks": opening.arranged.marks,
        "edges": NO_EDGES if opening.edges else opening.arranged.edges,
        "groups": _group_names(opening.structure, opening.arranged.marks),
        "folded": opening.arranged.folded,
        "trouble": opening.arranged.trouble,
        "is_interim": opening.is_interim,
        "cycle": opening.cycle[0],
        "cyclic": opening.cycle[1],
        "run": to_run(patch.run, now),
    }
    buffers = [opening.table, _packed(bytes(statuses), opening.encoding), *([opening.edges] if opening.edges else [])]
    return (content, buffers), patch.records, patch.revision, patch.run


def column_messages(column: Column, deflated: bytes, *, epoch: int, revision: int) -> list[Message]:
    """A deflated column in parts that fit into messages."""
    parts: Sequence[bytes] = [
        deflated[start : start + CHUNK_BYTES] for start in range(0, len(deflated), CHUNK_BYTES)
    ] or [b""]
    messages: list[Message] = []
    for number, part in enumerate(parts):
        content: ColumnChunk = {
            "type": "columns",
            "epoch": epoch,
            "column": column,
            "part": number,
            "of": len(parts),
            "revision": revision,
        }
        messages.append((content, [part]))
    return messages


def to_run(run: RunInfo, now: float) -> Run:
    """As a page reads it."""
    return {
        "status": run.status.value,
        "counts": list(run.counts),
        "is_ended": run.is_ended,
        "started": _known(run.started),
        "ended": _known(run.ended),
        "slots": run.slots,
        "can_stop": run.can_stop,
        "stale_since": _known(run.stale_since),
        "is_record": run.is_record,
        "pace": _known(run.pace),
        "now": now,
    }


def _known(time_or_nan: float) -> float | None:
    return None if isnan(time_or_nan) else time_or_nan
