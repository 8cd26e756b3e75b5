"""The condition of a retry strategy: a small language, parsed whole and type-checked before anything runs.

    lastRetry.exitCode    text, "-1" if there is none        lastRetry.status      "Failed" or "Error"
    lastRetry.duration    seconds                            lastRetry.message     text

Known are these four, texts, numbers, ``true`` and ``false``, lists of literals, ``asInt()``, ``asFloat()``,
``== != < <= > >=``, ``matches`` (a regular expression, found anywhere in the text), ``in`` and ``not in`` a list,
``and or not`` or ``&& || !``, and brackets. Everything else is refused with its position.

No part of it is handed to Python: it is a tree of our own closures over one `LastRetry`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..errors import InvalidBody

__all__ = ["Condition", "LastRetry", "parse"]

MOST_CHARACTERS: Final = 10_000
DEEPEST: Final = 50


@dataclass(frozen=True, slots=True)
class LastRetry:
    """How the last attempt ended."""

    exit_code: str
    status: str
    duration: float
    message: str


Condition = Callable[[LastRetry], bool]
"""Whether to try again. Raises ValueError where a text is no number."""

TEXT, NUMBER, BOOL, LIST = "a text", "a number", "true or false", "a list"


@dataclass(frozen=True, slots=True)
class _Value:
    """A part of the expression: what it is, and how it is had. `literal` is None for what is known only later."""

    kind: str
    of: Callable[[LastRetry], Any]
    literal: Any = None


_FIELDS: Final = {
    "exitCode": _Value(TEXT, lambda last: last.exit_code),
    "status": _Value(TEXT, lambda last: last.status),
    "duration": _Value(NUMBER, lambda last: last.duration),
    "message": _Value(TEXT, lambda last: last.message),
}
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<word>[A-Za-z_]\w*)|(?P<sign>==|!=|<=|>=|&&|\|\||[<>!().,\[\]-]))""",
    re.DOTALL,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


def parse(text: str) -> Condition:
    """The condition that a text states.

    Raises:
        InvalidBody: It is none; the message shows where.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidBody(f"expression has {len(text)} characters, at most {MOST_CHARACTERS} are read", "expression")
    parser = _Parser(text)
    value = parser.whole()
    return lambda last: bool(value.of(last))


class _Parser:
    """Reads by recursive descent; `place` is the token that comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._split())
        self.place = 0
        self.depth = 0

    def _split(self) -> Any:
        position = 0
        while self.text[position:].strip():
            found = _TOKEN.match(self.text, position)
            if found is None:
                start = position + len(self.text[position:]) - len(self.text[position:].lstrip())
                raise self.error(start, f"{self.text[start]!r} is not known here")
            kind = str(found.lastgroup)
            yield kind, found.group(kind), found.start(kind)
            position = found.end()
        yield "end", "the end", len(self.text)

    def error(self, position: int, words: str) -> InvalidBody:
        line = self.text.replace("\n", " ").replace("\t", " ")
        start = max(0, position - 60)
        shown = line[start : position + 60]
        return InvalidBody(
            f"expression, character {position + 1}: {words}\n{shown}\n{' ' * (position - start)}^", "expression"
        )

    @property
    def word(self) -> str:
        kind, text, _ = self.tokens[self.place]
        return "" if kind == "text" else str(text)

    @property
    def position(self) -> int:
        return int(self.tokens[self.place][2])

    def take(self, *words: str) -> str | None:
        if self.word in words and self.tokens[self.place][0] != "end":
            self.place += 1
            return str(self.tokens[self.place - 1][1])
        return None

    def must_take(self, word: str) -> None:
        if self.take(word) is None:
            raise self.error(self.position, f"expected {word!r}, found {self.tokens[self.place][1]!r}")

    def whole(self) -> _Value:
        position = self.position
        value = self.either()
        if self.tokens[self.place][0] != "end":
            raise self.error(self.position, f"{self.tokens[self.place][1]!r} was not expected here")
        return self.checked(value, BOOL, position)

    def checked(self, value: _Value, kind: str, position: int) -> _Value:
        if value.kind != kind:
            raise self.error(position, f"this is {value.kind}, expected {kind}")
        return value

    def either(self) -> _Value:
        position = self.position
        value = self.both()
        while self.take("or", "||"):
            left = self.checked(value, BOOL, position)
            position = self.position
            right = self.checked(self.both(), BOOL, position)
            value = _either(left, right)
        return value

    def both(self) -> _Value:
        position = self.position
        value = self.negated()
        while self.take("and", "&&"):
            left = self.checked(value, BOOL, position)
            position = self.position
            right = self.checked(self.negated(), BOOL, position)
            value = _both(left, right)
        return value

    def negated(self) -> _Value:
        if self.take("not", "!"):
            self.deeper()
            position = self.position
            value = self.checked(self.negated(), BOOL, position)
            self.depth -= 1
            return _Value(BOOL, lambda last: not value.of(last))
        return self.compared()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(self.position, f"it is nested deeper than {DEEPEST} levels")

    def compared(self) -> _Value:
        left = self.value()
        position = self.position
        sign = self.take(*_COMPARISONS)
        if sign is not None:
            return self.comparison(sign, left, position)
        if self.take("matches"):
            return self.match(left, position)
        negative = self.word == "not" and self.tokens[self.place + 1][1] == "in"
        if negative:
            self.place += 1
        if self.take("in"):
            return self.member(left, position, negative)
        return left

    def comparison(self, sign: str, left: _Value, position: int) -> _Value:
        right = self.value()
        if left.kind != right.kind or left.kind == LIST or (left.kind == BOOL and sign not in ("==", "!=")):
            raise self.error(position, f"{left.kind} cannot be compared by {sign} with {right.kind}")
        compare = _COMPARISONS[sign]
        return _Value(BOOL, lambda last: compare(left.of(last), right.of(last)))

    def match(self, left: _Value, position: int) -> _Value:
        self.checked(left, TEXT, position)
        position = self.position
        pattern = self.value()
        if not isinstance(pattern.literal, str):
            raise self.error(position, "after matches stands a regular expression as a text")
        try:
            _matches("", pattern.literal)
        except Exception as error:
            raise self.error(position, f"this is no regular expression: {error}") from None
        return _Value(BOOL, lambda last: _matches(left.of(last), pattern.literal))

    def member(self, left: _Value, position: int, negative: bool) -> _Value:
        start = self.position
        right = self.checked(self.value(), LIST, start)
        if any(_kind_of(item) != left.kind for item in right.literal):
            raise self.error(position, f"{left.kind} is looked for in a list that holds something else")
        return _Value(BOOL, lambda last: (left.of(last) in right.literal) is not negative)

    def value(self) -> _Value:
        kind, text, position = self.tokens[self.place]
        if kind == "end":
            raise self.error(position, "something is missing here")
        self.place += 1
        if kind == "number":
            return _literal(float(text) if re.search("[.eE]", text) else int(text))
        if kind == "text":
            return _literal(re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[1]), text[1:-1], flags=re.DOTALL))
        if text in ("true", "false"):
            return _literal(text == "true")
        if text in ("asInt", "asFloat"):
            return self.as_number(text)
        if text == "lastRetry":
            return self.field()
        if text == "(":
            self.deeper()
            value = self.either()
            self.must_take(")")
            self.depth -= 1
            return value
        if text == "[":
            return self.list()
        if text == "-":
            self.deeper()
            number = self.checked(self.value(), NUMBER, position)
            self.depth -= 1
            if number.literal is not None:
                return _literal(-number.literal)
        raise self.error(position, f"{text!r} is not known here")

    def field(self) -> _Value:
        self.must_take(".")
        _, name, position = self.tokens[self.place]
        if name not in _FIELDS:
            raise self.error(position, f"lastRetry has {', '.join(_FIELDS)}, not {name!r}")
        self.place += 1
        return _FIELDS[name]

    def as_number(self, name: str) -> _Value:
        self.must_take("(")
        self.deeper()
        position = self.position
        inner = self.value()
        if inner.kind not in (TEXT, NUMBER):
            raise self.error(position, f"{name}() takes a text or a number, this is {inner.kind}")
        self.must_take(")")
        self.depth -= 1
        if name == "asInt":
            return _Value(NUMBER, lambda last: int(inner.of(last)))
        return _Value(NUMBER, lambda last: float(inner.of(last)))

    def list(self) -> _Value:
        items: list[Any] = []
        self.deeper()
        while self.take("]") is None:
            if items:
                self.must_take(",")
            position = self.position
            item = self.value()
            if item.literal is None or item.kind == LIST:
                raise self.error(position, "a list holds texts and numbers only")
            items.append(item.literal)
        self.depth -= 1
        return _Value(LIST, lambda last: items, items)


def _either(left: _Value, right: _Value) -> _Value:
    return _Value(BOOL, lambda last: left.of(last) or right.of(last))


def _both(left: _Value, right: _Value) -> _Value:
    return _Value(BOOL, lambda last: left.of(last) and right.of(last))


def _kind_of(value: Any) -> str:
    return BOOL if isinstance(value, bool) else TEXT if isinstance(value, str) else NUMBER


def _literal(value: Any) -> _Value:
    return _Value(_kind_of(value), lambda last: value, value)


def _matches(text: str, pattern: str) -> bool:
    """By RE2, whose time is linear: with Python's own module a pattern could keep the server busy for ever."""
    import pyarrow
    from pyarrow import compute

    found = compute.match_substring_regex(pyarrow.array([text.encode("utf-8", "replace").decode()]), pattern)
    return bool(found[0].as_py())
