"""MariaDB's dialect: a query parsed, with the names that its columns get and the session variables that it sets."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

__all__ = ["Assigned", "Statement", "parsed", "without_assignments"]

# What the parser does not know is refused in words of ours; its own would come into the output of the task.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

_TOKEN = re.compile(r"<Token token_type: (?:<?TokenType\.)?(\w+).*>", re.DOTALL)
_CLOSED = re.compile(
    r"""(['"`])(?:\\.|\1\1|(?!\1).)*\1|/\*.*?\*/|(?:\#|--\s)[^\n]*""",
    re.DOTALL,
)
_END = "the end of the query"
_OPENED = re.compile(r"""['"`]|/\*""")


@dataclass(frozen=True, slots=True)
class Statement:
    """One parsed statement, the words by which MariaDB names its columns, and the variables it selects into."""

    tree: Any
    labels: Sequence[str] | None = None
    into: tuple[str, ...] = ()
    has_pipes: bool = False
    """That `||` stands in it, which others than MariaDB take for the joining of texts."""
    text: str = ""


def parsed(text: str) -> list[Statement]:
    """The statements of a text.

    Raises:
        ValueError: it cannot be parsed; the text shows where.
    """
    try:
        cut, into = _without_into(text)
        # What stands behind the last semicolon may be a comment, which is no statement.
        found = [one for one in sqlglot.parse(cut, read="mysql") if not isinstance(one, (exp.Semicolon, type(None)))]
    except SqlglotError as error:
        raise ValueError(_words_for(error, text)) from None
    if len(found) != 1:
        return [Statement(one) for one in found]
    tokens = sqlglot.tokenize(cut, read="mysql")
    if isinstance(found[0], exp.Condition):  # the parser takes an expression, too
        line, column = _place_of(text, tokens[0].start)
        raise ValueError(_shown(text, line, column, f"no statement begins with {tokens[0].text!r}"))
    has_pipes = any(token.token_type is TokenType.DPIPE for token in tokens)
    return [Statement(found[0], _labels(cut), into, has_pipes, text.strip())]


def _words_for(error: SqlglotError, text: str) -> str:
    places = getattr(error, "errors", None)
    if places:
        line, column, what = places[0]["line"] or 1, places[0]["col"] or 1, _plain(places[0])
        if not what.endswith(_END):  # the parser tells where a word ends, and what does not fit is where it begins
            column = max(1, column - len(places[0]["highlight"] or "x") + 1)
    else:
        rest = _CLOSED.sub(lambda found: "".join(char if char == "\n" else " " for char in found.group()), text)
        opened = _OPENED.search(rest)
        if opened is None:
            return f"the SQL cannot be parsed: {error}"
        line, column = _place_of(rest, opened.start())
        what = f"{opened.group()} is never closed"
    return _shown(text, line, column, what)


def _place_of(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")


def _shown(text: str, line: int, column: int, what: str) -> str:
    lines = text.splitlines() or [""]
    shown = lines[min(line, len(lines)) - 1]
    return f"the SQL cannot be parsed at line {line}, column {column}: {what}\n{shown}\n{' ' * max(0, column - 1)}^"


def _plain(place: Mapping[str, Any]) -> str:
    """The parser's words, with the query's in place of the names of its own classes."""
    words = str(place["description"])
    if words.startswith("Invalid expression"):
        return f"{place['highlight']!r} does not fit here"
    if words.startswith("Required keyword"):
        return f"something is missing at {place['highlight']!r}"
    return _TOKEN.sub(lambda found: _END if found.group(1) == "SENTINEL" else repr(place["highlight"]), words).replace(
        "got None", f"got {_END}"
    )


def _without_into(text: str) -> tuple[str, tuple[str, ...]]:
    """The text with blanks in place of `into @a, @b`, so that places in it stay; and the names of the variables."""
    tokens = sqlglot.tokenize(text, read="mysql")
    if not tokens or tokens[0].token_type is not TokenType.SELECT:
        return text, ()
    for index, token in enumerate(tokens[:-2]):
        if token.token_type is TokenType.INTO and tokens[index + 1].token_type is TokenType.PARAMETER:
            names, last = _variables_from(tokens, index + 1)
            end = tokens[last].end + 1
            return text[: token.start] + " " * (end - token.start) + text[end:], names
    return text, ()


def _variables_from(tokens: Sequence[Token], index: int) -> tuple[tuple[str, ...], int]:
    """The names in `@a, @b` from a token on, and the last token of that list."""
    names = [tokens[index + 1].text.lower()]
    last = index + 1
    while (
        last + 3 < len(tokens)
        and tokens[last + 1].token_type is TokenType.COMMA
        and tokens[last + 2].token_type is TokenType.PARAMETER
    ):
        names.append(tokens[last + 3].text.lower())
        last += 3
    return tuple(names), last


def _word(token: Token) -> str:
    """In capitals; of a text in quotes nothing."""
    return token.text.upper() if token.token_type is not TokenType.STRING else ""


def _main_select(tokens: Sequence[Token]) -> int:
    """Where the SELECT behind the common table expressions stands, which are in brackets."""
    depth = 0
    for place, token in enumerate(tokens):
        word = _word(token)
        depth += (word == "(") - (word == ")")
        if depth == 0 and word == "SELECT":
            return place
    return len(tokens)


_ENDS_OF_ITEMS = frozenset({",", "FROM", ";", "WHERE", "LIMIT", "UNION", "GROUP", "ORDER", "HAVING"})


def _labels(text: str) -> list[str] | None:
    """The text of each item between the outermost first SELECT and its FROM; MariaDB names columns by it."""
    tokens = sqlglot.tokenize(text, read="mysql")
    if tokens and tokens[0].text.upper() == "WITH":
        tokens = tokens[_main_select(tokens) :]
    if not tokens or tokens[0].text.upper() != "SELECT":
        return None
    start = tokens[1].start if len(tokens) > 1 and tokens[1].text.upper() != "DISTINCT" else None
    depth, found = 0, []
    for token in tokens[1:]:
        word = _word(token)
        if word in ("(", "["):
            depth += 1
        elif word in (")", "]"):
            depth -= 1
        if depth == 0 and word in _ENDS_OF_ITEMS:
            if start is not None:
                found.append(text[start : token.start].strip())
            if word != ",":
                return found
            start = None
        elif start is None and word != "DISTINCT":
            start = token.start
    if start is not None:
        found.append(text[start:].strip().rstrip(";").strip())
    return found


# --- session variables --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Assigned:
    """What a `select` sets: for each variable the column, from the left or from the right, that holds its values."""

    columns: dict[str, int] = field(default_factory=dict)


def without_assignments(tree: Any, variables: Mapping[str, Any]) -> Assigned:
    """Puts in place of each `@x := ...` of a `select` the value it has in that row; changes the tree.

    MariaDB goes row by row, and in a row from left to right. What is read after it was set in the same row is that
    row's value; what is read before, the row's before. A variable that counts or sums itself up becomes a window.

    Raises:
        ValueError: an assignment stands where only MariaDB could follow it.
    """
    assigned = Assigned()
    if not isinstance(tree, exp.Select):
        _refuse_assignments(tree)
        return assigned
    tree_variables = {**variables, **_initial_in_tables(tree)}
    items = list(tree.expressions)
    set_here = {name for item in items for name in _set_by(item)}
    in_row: dict[str, Any] = {}
    stars = [place for place, item in enumerate(items) if item.is_star]
    for place, item in enumerate(items):
        inner = item.this if isinstance(item, exp.Alias) else item
        if not _is_assignment(inner):
            if list(inner.find_all(exp.PropertyEQ)):
                raise ValueError("a variable can be set by := only as a whole column of the select")
            if set_here:
                item.replace(_read(item, in_row, set_here, tree_variables))
            continue
        name = inner.this.name.lower()
        value = _value_of(inner.expression, name, in_row, set_here, tree_variables)
        in_row[name] = value
        inner.replace(value.copy())
        if any(star > place for star in stars) and any(star < place for star in stars):
            raise ValueError("a select with two * cannot set a variable between them")
        assigned.columns[name] = place - len(items) if any(star < place for star in stars) else place
    _refuse_assignments(tree)
    for name, value in tree_variables.items():
        if name not in variables:  # set in a derived table only
            _substitute(tree, name, exp.convert(value))
    return assigned


def _is_assignment(tree: Any) -> bool:
    return isinstance(tree, exp.PropertyEQ) and isinstance(tree.this, exp.Parameter)


def _set_by(item: Any) -> list[str]:
    inner = item.this if isinstance(item, exp.Alias) else item
    return [inner.this.name.lower()] if _is_assignment(inner) else []


def _initial_in_tables(tree: Any) -> dict[str, Any]:
    """The constants that derived tables set: `from t, (select @n := 0) as start`."""
    found: dict[str, Any] = {}
    for one in tree.find_all(exp.Subquery):
        select = one.this
        if not isinstance(select, exp.Select) or select.args.get("from_") is not None:
            continue
        for item in list(select.expressions):
            for name in _set_by(item):
                inner = item.this if isinstance(item, exp.Alias) else item
                if not isinstance(inner.expression, (exp.Literal, exp.Null, exp.Neg)):
                    raise ValueError(f"a derived table can set @{name} to a constant only")
                found[name] = _constant(inner.expression)
                inner.replace(exp.alias_(inner.expression.copy(), name) if item is inner else inner.expression.copy())
    return found


def _constant(tree: Any) -> Any:
    if isinstance(tree, exp.Null):
        return None
    if isinstance(tree, exp.Neg):
        return -_constant(tree.this)
    if tree.is_string:
        return tree.this
    return float(tree.this) if "." in tree.this or "e" in tree.this.lower() else int(tree.this)


def _value_of(tree: Any, name: str, in_row: Mapping[str, Any], set_here: set[str], variables: Mapping[str, Any]) -> Any:
    own = [one for one in tree.find_all(exp.Parameter) if one.name.lower() == name]
    if name in in_row or not own:
        return _read(tree, in_row, set_here, variables)
    step = _step_of(tree, name)
    if step is None:
        raise ValueError(f"@{name} := ... may read @{name} only as a sum: @{name} + ... or @{name} - ...")
    step = _read(step, in_row, set_here, variables)
    start = exp.convert(variables.get(name))
    window = exp.Window(
        this=exp.Sum(this=step), spec=exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING")
    )
    return exp.Paren(this=exp.Add(this=start, expression=window))


def _step_of(tree: Any, name: str) -> Any:
    """What is added to the variable; None if the tree is no such sum."""

    def is_own(one: Any) -> bool:
        return isinstance(one, exp.Parameter) and one.name.lower() == name

    tree = tree.unnest()
    if not isinstance(tree, (exp.Add, exp.Sub)):
        return None
    left, right = tree.this, tree.expression
    if is_own(left) and not any(map(is_own, right.find_all(exp.Parameter))):
        return right.copy() if isinstance(tree, exp.Add) else exp.Neg(this=exp.Paren(this=right.copy()))
    if isinstance(tree, exp.Add) and is_own(right) and not any(map(is_own, left.find_all(exp.Parameter))):
        return left.copy()
    return None


def _read(tree: Any, in_row: Mapping[str, Any], set_here: set[str], variables: Mapping[str, Any]) -> Any:
    def replaced(node: Any) -> Any:
        if not isinstance(node, exp.Parameter):
            return node
        name = node.name.lower()
        if name in in_row:
            return exp.Paren(this=in_row[name].copy())
        if name in set_here:
            raise ValueError(f"@{name} is read before it is set in the same select")
        return exp.convert(variables.get(name))

    return tree.copy().transform(replaced)


def _substitute(tree: Any, name: str, value: Any) -> None:
    for one in list(tree.find_all(exp.Parameter)):
        if one.name.lower() == name:
            one.replace(value.copy())


def _refuse_assignments(tree: Any) -> None:
    for one in tree.find_all(exp.PropertyEQ):
        if isinstance(one.this, exp.Parameter):
            raise ValueError(f"@{one.this.name} := ... is understood as a column of the outer select only")
