"""The filter language of the view's search field, for Python: `DAG.find`.

``js/src/model/filter.ts`` holds the same grammar and says what each term means; ``tests/filters`` holds the vectors
that both are tested with. What cannot be understood raises `ValueError` with its place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from typing import Final

from ..core.lines import STDERR, STDOUT
from ..core.snapshot import Columns, Structure
from ..core.states import NOT_STARTED, RUNNING, Status
from .palette import words

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
CHOICES: Final = {
    "retried": ("yes", "no"),
    "path": ("critical",),
    "level": LEVELS,
    "stream": ("stdout", "stderr", "log"),
}
NUMBERS: Final = ("attempt", "slowest", "duration", "waited")
KEYS: Final = ("status", "node", "group", "function", *NUMBERS, *CHOICES)
COMPARED: Final = ("attempt", "duration", "waited", "level")
OF_LINES: Final = ("level", "stream", "attempt", "text")
"""What a filter says about lines of a log; `attempt` and a text are about nodes elsewhere."""
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

_HEAD: Final = re.compile(r"(-|not\s+)?(\+)?(?:([A-Za-z]+)(>=|<=|[:=<>]))?")
_VALUE: Final = re.compile(r'"((?:[^"\\]|\\.)*)("?)|[^\s"]+')
_SPACE: Final = re.compile(r"\s*")
_TIME: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ms|s|min|m|h)?", re.ASCII)
_CLOCK: Final = re.compile(r"\d+(:\d\d){1,2}(\.\d+)?", re.ASCII)


class FilterError(ValueError):
    """A filter that cannot be understood. ``code`` names the reason, ``at`` is the place, counted from 0."""

    def __init__(self, code: str, at: int, found: str) -> None:
        statuses = ", ".join(str(each) for each in Status)
        text = words("filter", code, found=found, at=at + 1, keys=", ".join(KEYS), statuses=statuses)
        super().__init__(text)
        self.code, self.at, self.found = code, at, found

    def __reduce__(self) -> tuple[type[FilterError], tuple[str, int, str]]:
        return type(self), (self.code, self.at, self.found)


@dataclass(frozen=True, slots=True)
class Term:
    """One condition; ``key`` is empty for a word and "text" for a quoted one, ``amount`` nan where there is none."""

    key: str
    operator: str
    value: str
    amount: float
    is_not: bool
    is_up: bool
    is_down: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What terms are tested on. ``error(node)`` is an error message, "" for none; ``zero`` is when the run started and
    ``now`` what time it is, both by the clock of the columns, as is ``before(node)``: when the attempt before the
    present one ended, NaN for none."""

    structure: Structure
    columns: Columns
    zero: float = 0.0
    now: float = math.nan
    error: Callable[[int], str] = lambda node: ""
    before: Callable[[int], float] = lambda node: math.nan


def parse(text: str) -> list[Term]:
    """The terms of a filter, all of which must hold.

    Raises:
        FilterError: It cannot be understood.
    """
    terms: list[Term] = []
    at = 0
    while True:
        at = _end(_SPACE, text, at)
        if at >= len(text):
            return terms
        term, at = _read(text, at)
        terms.append(term)


def match(text: str, facts: Facts) -> list[int]:
    """Nodes for which every term holds, lowest index first. O(nodes) per term."""
    left: Collection[int] = range(len(facts.structure))
    for term in parse(text):
        if term.key in ("level", "stream"):
            continue
        own = _nodes_of(term, facts)
        left = [node for node in left if (node in own) is not term.is_not]
    return list(left)


def line_terms(text: str) -> list[Term]:
    """The terms that are about lines; none if the filter cannot be understood."""
    try:
        return [term for term in parse(text) if term.key in OF_LINES]
    except FilterError:
        return []


def line_fits(term: Term, attempt: int, level: int, text: str) -> bool:
    """Does a term of `line_terms` hold for a line? ``level`` is 1 for stdout, which counts as info, 2 for stderr, which
    counts as a warning, else a level of `logging`."""
    if term.key == "text":
        fits = term.value.lower() in text.lower()
    elif term.key == "stream":
        fits = term.value == ("stdout" if level == STDOUT else "stderr" if level == STDERR else "log")
    elif term.key == "attempt":
        fits = _compare(attempt, term)
    else:
        weight = 20 if level == STDOUT else 30 if level == STDERR else min(max(level // 10 * 10, 10), 50)
        fits = _compare(weight, replace(term, amount=10.0 * (1 + LEVELS.index(term.value))))
    return fits is not term.is_not


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _read(text: str, start: int) -> tuple[Term, int]:
    head = _HEAD.match(text, start)
    assert head is not None  # every part of it is optional
    is_not, up, name, sign = head[1], head[2], head[3], head[4] or ":"
    key, at = (name or "").lower(), head.end()
    if name and key not in KEYS:
        raise FilterError("unknown", at - len(name) - len(sign), name)
    found = _VALUE.match(text, at)
    begun, is_quoted = at, found is not None and found[1] is not None
    at = found.end() if found else at
    if found and is_quoted and not found[2]:
        raise FilterError("unclosed", begun, found[0])
    value = "" if found is None else re.sub(r"\\(.)", r"\1", found[1]) if is_quoted else found[0]
    is_down = False
    if is_quoted and text[at : at + 1] == "+":
        is_down, at = True, at + 1
    elif not is_quoted and len(value) > 1 and value.endswith("+"):
        is_down, value = True, value[:-1]
    if not value:
        raise FilterError("no_value", begun, head[0])
    operator = ":" if sign == "=" else sign
    if operator != ":" and key not in COMPARED:
        raise FilterError("operator", begun - len(sign), sign)
    amount = _amount(key, value)
    wrong = _wrong(key, value, amount)
    if wrong:
        raise FilterError(wrong, begun, value)
    is_text = is_quoted and not key and not up and not is_down
    value = value.lower() if key in CHOICES else value
    return Term("text" if is_text else key, operator, value, amount, is_not is not None, up is not None, is_down), at


def _wrong(key: str, value: str, amount: float) -> str:
    if key == "status":
        return "" if all(_statuses(each) for each in value.split(",")) else "status"
    if key in NUMBERS:
        return "number" if math.isnan(amount) else ""
    return "choice" if key in CHOICES and value.lower() not in CHOICES[key] else ""


def _statuses(word: str) -> set[int]:
    """ "failed", "Parent Failed" and "parent-failed" mean one; the start of a word is enough."""
    wanted = re.sub(r"[\s_]+", "-", word.strip().lower())
    names = {str(each).lower().replace(" ", "-"): each.value for each in Status}
    if wanted in names:
        return {names[wanted]}
    return {number for name, number in names.items() if wanted and name.startswith(wanted)}


def _amount(key: str, value: str) -> float:
    if key not in NUMBERS:
        return math.nan
    if re.fullmatch(r"\d+", value, re.ASCII):
        return float(value)
    if key not in ("duration", "waited"):
        return math.nan
    if _CLOCK.fullmatch(value):
        seconds = 0.0
        for part in value.split(":"):
            seconds = 60 * seconds + float(part)
        return seconds
    found = _TIME.fullmatch(value)
    return float(found[1]) * UNITS[found[2] or "s"] if found else math.nan


def _nodes_of(term: Term, facts: Facts) -> Collection[int]:
    structure, columns = facts.structure, facts.columns
    nodes = range(len(structure))
    wanted = term.value.lower()
    if term.key == "status":
        statuses = set().union(*(_statuses(each) for each in term.value.split(",")))
        return {node for node in nodes if columns.status[node] in statuses}
    if term.key in ("group", "function"):
        fits = [_fits(name, wanted) for name in structure.group_names]
        return {node for node in nodes if fits[structure.groups[node]]}
    if term.key == "attempt":
        return {node for node in nodes if _compare(columns.attempt[node], term)}
    if term.key == "retried":
        return {node for node in nodes if (columns.attempt[node] > 1) is (wanted == "yes")}
    if term.key == "duration":
        return {node for node in nodes if _compare(_ran(facts, node), term)}
    if term.key == "waited":
        return {node for node in nodes if _compare(_waited(facts, node), term)}
    if term.key == "slowest":
        took = {node: ran for node in nodes if (ran := _ran(facts, node)) > 0}
        return set(sorted(took, key=lambda node: (-took[node], node))[: int(term.amount)])
    if term.key == "path":
        return _critical(facts)
    if term.key == "text":
        return {n for n in nodes if wanted in structure.names[n].lower() or wanted in facts.error(n).lower()}
    found = {node for node in nodes if _fits(structure.names[node], wanted)}
    return (
        found
        | (_above(structure, found) if term.is_up else set())
        | (_below(structure, found) if term.is_down else set())
    )


def _fits(name: str, wanted: str) -> bool:
    """Is ``wanted`` a part of the name, or with a star the whole of it? Whatever the case."""
    if "*" not in wanted:
        return wanted in name.lower()
    plain = "".join(each if each == "*" else f"[{each}]" if each in "?[" else each for each in wanted)
    return re.match(translate(plain), name.lower()) is not None


def _compare(value: float, term: Term) -> bool:
    if term.operator == ":":
        return abs(value - term.amount) < 0.05
    if term.operator in (">", ">="):
        return value > term.amount or (term.operator == ">=" and value == term.amount)
    return value < term.amount or (term.operator == "<=" and value == term.amount)


def _ran(facts: Facts, node: int) -> float:
    columns = facts.columns
    end = facts.now if columns.status[node] == RUNNING else columns.ended[node]
    return max(0.0, end - columns.started[node]) if not math.isnan(end - columns.started[node]) else math.nan


def _waited(facts: Facts, node: int) -> float:
    """Seconds for which the present attempt could have started and had not."""
    ended = facts.columns.ended
    ready = max(facts.zero, facts.before(node))  # a NaN on the right loses
    for parent in facts.structure.parents_of(node):
        ready = max(ready, ended[parent])
    waited = facts.columns.started[node] - ready
    return max(0.0, waited) if not math.isnan(waited) else math.nan


def _above(structure: Structure, nodes: Collection[int]) -> set[int]:
    return _reach(nodes, structure.parents_of)


def _below(structure: Structure, nodes: Collection[int]) -> set[int]:
    children: list[list[int]] = [[] for _ in range(len(structure))]
    for node in range(len(structure)):
        for parent in structure.parents_of(node):
            children[parent].append(node)
    return _reach(nodes, children.__getitem__)


def _reach(nodes: Collection[int], near: Callable[[int], Sequence[int]]) -> set[int]:
    found: set[int] = set()
    stack = list(nodes)
    while stack:
        for each in near(stack.pop()):
            if each not in found:
                found.add(each)
                stack.append(each)
    return found


def _critical(facts: Facts) -> Collection[int]:
    """The chain of nodes whose measured times together are the longest."""
    structure = facts.structure
    total = len(structure)
    children: list[list[int]] = [[] for _ in range(total)]
    waiting = [0] * total
    for node in range(total):
        parents = structure.parents_of(node)
        waiting[node] = len(parents)
        for parent in parents:
            children[parent].append(node)
    ready = [node for node in range(total) if waiting[node] == 0]
    up_to, via = [0.0] * total, [-1] * total
    for node in ready:
        for parent in structure.parents_of(node):
            if up_to[parent] > up_to[node]:
                up_to[node], via[node] = up_to[parent], parent
        own = 0.0 if facts.columns.status[node] == NOT_STARTED else _ran(facts, node)
        up_to[node] += 0.0 if math.isnan(own) else own
        for child in children[node]:
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    last = max(range(total), key=lambda node: (up_to[node], -node), default=-1)
    path: list[int] = []
    while last >= 0 and up_to[last] > 0:
        path.append(last)
        last = via[last]
    return path
