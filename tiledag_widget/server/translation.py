"""A parsed statement of MariaDB's, changed into one that DuckDB runs with the same meaning.

DuckDB takes most words as they are, and some with another meaning: those are changed here, each for a reason that a
comparison with MariaDB 10.11 has shown. Where the engine has no word of that meaning it refuses; a wrong answer that
nobody sees is the one thing that must not come.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import exp

__all__ = ["COLLATION", "MACROS", "to_engine", "with_variables"]

COLLATION = "NOCASE.NOACCENT"
"""How text compares in MariaDB unless a query says otherwise."""

MACROS = (
    # As MariaDB writes a value into a text: truth as 1 and 0, whole numbers without a fraction.
    (
        "mdb_text(x) AS CASE WHEN typeof(x) IN ('DOUBLE', 'FLOAT') THEN regexp_replace(CAST(x AS VARCHAR), '\\.0$', '')"
        " WHEN typeof(x) = 'BOOLEAN' THEN CASE CAST(x AS VARCHAR) WHEN 'true' THEN '1' WHEN 'false' THEN '0' END"
        " ELSE CAST(x AS VARCHAR) END"
    ),
    "mdb_plain(x) AS strip_accents(CAST(x AS VARCHAR))",
    "mdb_folded(x) AS lower(strip_accents(CAST(x AS VARCHAR)))",
    (
        "mdb_bytes(x) AS CASE WHEN typeof(x) = 'BLOB' THEN octet_length(CAST(CAST(x AS VARCHAR) AS BLOB))"
        " ELSE strlen(mdb_text(x)) END"
    ),
    (
        "mdb_locate(s, t, n) AS CASE WHEN n < 1 THEN 0 * length(s)"
        " WHEN strpos(mdb_folded(substr(s, n)), mdb_folded(t)) = 0"
        " THEN 0 ELSE strpos(mdb_folded(substr(s, n)), mdb_folded(t)) + n - 1 END"
    ),
    (
        "mdb_cut(s, n, l) AS CASE WHEN s IS NULL OR n IS NULL OR l IS NULL THEN NULL"
        " WHEN n = 0 OR l < 1 OR -n > length(CAST(s AS VARCHAR)) THEN '' ELSE substr(CAST(s AS VARCHAR), n, l) END"
    ),
    (
        "mdb_whole(x) AS CASE WHEN x IS NULL THEN NULL WHEN typeof(x) = 'VARCHAR'"
        " THEN coalesce(TRY_CAST(regexp_extract(CAST(x AS VARCHAR), '^\\s*[-+]?\\d+') AS BIGINT), 0)"
        " ELSE CAST(CASE WHEN typeof(x) = 'VARCHAR' THEN NULL ELSE x END AS BIGINT) END"
    ),
    (
        "mdb_months(a, b) AS datediff('month', a, b) + CASE"
        " WHEN b > a AND (b - date_trunc('month', b)) < (a - date_trunc('month', a)) THEN -1"
        " WHEN b < a AND (b - date_trunc('month', b)) > (a - date_trunc('month', a)) THEN 1 ELSE 0 END"
    ),
    "mdb_week1(d) AS CASE WHEN isoyear(d) < year(d) THEN 0 WHEN isoyear(d) > year(d) THEN 53 ELSE week(d) END",
    "mdb_greatest(a, b) AS CASE WHEN a >= b THEN a WHEN a < b THEN b END",
    "mdb_least(a, b) AS CASE WHEN a <= b THEN a WHEN a > b THEN b END",
    "mid(s, p, n) AS mdb_cut(s, p, n)",
    (
        "substring_index(s, d, n) AS array_to_string(CASE WHEN n < 0 THEN string_split(s, d)[n:] "
        "ELSE string_split(s, d)[1:n] END, d)"
    ),
    "find_in_set(s, l) AS coalesce(list_position(string_split(mdb_folded(l), ','), mdb_folded(s)), 0)",
    "strcmp(a, b) AS CASE WHEN a < b THEN -1 WHEN a > b THEN 1 WHEN a = b THEN 0 END",
    "weekday(d) AS isodow(CAST(d AS DATE)) - 1",
    "unix_timestamp(t) AS epoch(CAST(t AS TIMESTAMP))",
    "to_timestamp(n) AS make_timestamp(CAST(round(CAST(n AS DOUBLE) * 1000000) AS BIGINT))",
    "time_to_sec(t) AS CAST(epoch(CAST(t AS INTERVAL)) AS BIGINT)",
    "sec_to_time(n) AS to_microseconds(CAST(CAST(n AS DOUBLE) * 1000000 AS BIGINT))",
    "timediff(a, b) AS CAST(a AS TIMESTAMP) - CAST(b AS TIMESTAMP)",
    "makedate(y, n) AS CASE WHEN n > 0 THEN make_date(CAST(y AS BIGINT), 1, 1) + CAST(n - 1 AS INTEGER) END",
    "from_days(n) AS DATE '1970-01-01' + CAST(n - 719528 AS INTEGER)",
    "oct(n) AS format('{:o}', CAST(n AS BIGINT))",
    "json_length(j) AS json_array_length(j)",
    "regexp_substr(s, p) AS regexp_extract(s, p, 0, 'i')",
)
"""Functions of MariaDB that DuckDB lacks, or has with another meaning."""

SETTINGS: Mapping[str, Any] = {
    "autocommit": 1,
    "sql_mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
    "time_zone": "+00:00",
    "version": "10.11-tiledag",
    "version_comment": "tiledag server: MariaDB's dialect, run by DuckDB",
}
"""What `@@name` gives: those on which the meaning of a query hangs, and those that clients ask for first."""

_TEMPORAL = re.compile(r"\s*\d{4}-\d{1,2}-\d{1,2}(?P<time>[ T]\d.*)?", re.DOTALL)
_CLOCK = re.compile(r"\s*-?\d+:\d{1,2}(:\d{1,2}(\.\d+)?)?\s*")
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_DAYS = frozenset({"DAY", "WEEK", "MONTH", "QUARTER", "YEAR"})

Types = Mapping[str, str]
"""What a column surely is, by its name in lower case: `date`, `float`. Nothing is known of one that is not in it."""


def with_variables(tree: Any, variables: Mapping[str, Any]) -> Any:
    """A copy with the values of session variables and of settings in place.

    Raises:
        ValueError: there is no such setting here.
    """
    tree = tree.copy()
    for node in list(tree.find_all(exp.Parameter)):
        tree = _put(tree, node, exp.convert(variables.get(node.name.lower())))
    for node in list(tree.find_all(exp.SessionParameter)):
        name = node.name.lower()
        if name not in SETTINGS:
            raise ValueError(
                f"@@{name} is a setting of MariaDB's that this server has not; it has "
                f"{', '.join('@@' + one for one in SETTINGS)}. Variables of your own are @{name}, with one @"
            )
        tree = _put(tree, node, exp.convert(SETTINGS[name]))
    return tree


def to_engine(tree: Any, types: Types) -> Any:
    """The statement with DuckDB's words; changes the tree."""
    for node in reversed(list(tree.find_all(exp.Expression))):  # what stands inside first: it is copied along
        for kinds, change in _CHANGES:
            if isinstance(node, kinds):
                other = change(node, types)
                if other is not node:
                    tree = _put(tree, node, other)
                break
    _settle_truth(tree)
    return tree


def _put(tree: Any, node: Any, other: Any) -> Any:
    if node is tree:
        return other
    node.replace(other)
    return tree


def _call(name: str, *arguments: Any) -> Any:
    return exp.Anonymous(this=name, expressions=[one.copy() for one in arguments])


def _number(value: int) -> Any:
    return exp.Literal.number(value)


# --- truth --------------------------------------------------------------------------------------------------

_PREDICATES = (
    *(exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.Is, exp.In, exp.Between, exp.Like),
    *(exp.ILike, exp.Escape, exp.RegexpLike, exp.And, exp.Or, exp.Not, exp.Xor, exp.Exists, exp.Boolean),
)
_LOGICAL = (exp.And, exp.Or, exp.Not, exp.Xor, exp.Where, exp.Having)


def _settle_truth(tree: Any) -> None:
    """Truth is a number in MariaDB: what counts as a number becomes one, and what is asked for truth is compared to 0.

    DuckDB would take the text 'true' for true, which MariaDB does not, and does not add or average what is true.
    """
    for node in list(tree.find_all(exp.Expression)):
        if node.parent is None or isinstance(node, exp.Paren):
            continue
        if _is_asked_for_truth(node):
            if isinstance(node, (exp.Select, exp.Subquery, exp.Placeholder, exp.Null, *_PREDICATES)):
                continue
            if isinstance(node, exp.Literal) and node.is_string:
                node.replace(exp.NEQ(this=_as_number(node), expression=_number(0)))
            else:
                node.replace(exp.Paren(this=exp.NEQ(this=node.copy(), expression=_number(0))))
        elif isinstance(node, _PREDICATES) and isinstance(
            _around(node), (exp.Func, exp.Binary, exp.Neg, exp.Between, exp.In)
        ):
            if not isinstance(_around(node), (exp.Is, exp.Escape)):
                node.replace(exp.cast(node.copy(), "INT"))


def _around(node: Any) -> Any:
    parent = node.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    return parent


def _is_asked_for_truth(node: Any) -> bool:
    child, parent = node, node.parent
    while isinstance(parent, exp.Paren):
        child, parent = parent, parent.parent
    if isinstance(parent, _LOGICAL):
        return True
    if isinstance(parent, exp.If):
        case = parent.parent
        return child.arg_key == "this" and not (isinstance(case, exp.Case) and case.this is not None)
    return isinstance(parent, exp.Join) and child.arg_key == "on"


def _as_number(literal: Any) -> Any:
    """What MariaDB makes of a text where it wants a number: the number that it begins with."""
    found = _NUMBER.match(literal.this)
    return exp.Literal.number(found.group().strip()) if found else _number(0)


def _changed_sum(node: Any, _: Types) -> Any:
    for one in (node.this, node.expression):
        if isinstance(one, exp.Literal) and one.is_string and not isinstance(node.expression, exp.Interval):
            one.replace(_as_number(one))
    return node


# --- text ---------------------------------------------------------------------------------------------------


def _is_exact(tree: Any) -> bool:
    """That a text is to be compared byte by byte."""
    if isinstance(tree, exp.Cast):
        return bool(tree.to.is_type("BINARY"))
    return isinstance(tree, exp.Collate) and _is_exact_name(tree.expression.name)


def _is_exact_name(name: str) -> bool:
    return name.lower().endswith(("bin", "binary", "_cs"))


def _bare(tree: Any) -> Any:
    return tree.this if _is_exact(tree) or isinstance(tree, exp.Collate) else tree


def _exact(tree: Any) -> Any:
    return exp.Collate(this=tree, expression=exp.to_identifier("binary", quoted=True))


def _changed_like(node: Any, _: Types) -> Any:
    sides = [node.this, node.expression]
    is_exact = any(map(_is_exact, sides))
    rest = {key: value for key, value in node.args.items() if key not in ("this", "expression")}
    if is_exact:
        left, right = (exp.cast(_bare(one).copy(), "TEXT") for one in sides)
        found: Any = exp.Like(this=left, expression=right, **rest)
    else:
        left, right = (_call("mdb_plain", _bare(one)) for one in sides)
        found = exp.ILike(this=left, expression=right, **rest)
    if isinstance(node.parent, exp.Escape):
        return found
    return exp.Escape(this=found, expression=exp.Literal.string("\\"))


def _changed_pattern(node: Any, _: Types) -> Any:
    is_exact = any(map(_is_exact, (node.this, node.expression)))
    flag = node.args.get("flag") or exp.Literal.string("c" if is_exact else "i")
    return exp.RegexpLike(this=_bare(node.this).copy(), expression=_bare(node.expression).copy(), flag=flag)


def _changed_replacement(node: Any, _: Types) -> Any:
    return _call("regexp_replace", node.this, node.expression, node.args["replacement"], exp.Literal.string("gi"))


def _changed_collation(node: Any, _: Types) -> Any:
    if node.expression.name in ("binary", COLLATION):
        return node
    if _is_exact_name(node.expression.name):
        return _exact(node.this)
    return exp.Collate(this=node.this, expression=exp.Var(this=COLLATION))


def _changed_cast(node: Any, types: Types) -> Any:
    kind = node.to
    if kind.is_type("BINARY"):
        return _exact(exp.cast(node.this, "TEXT"))
    if str(kind.this).endswith("CHARACTER_SET"):
        return exp.cast(node.this, "TEXT")
    if kind.is_type("TIMESTAMPTZ"):
        return exp.cast(node.this, "TIMESTAMP")
    if kind.is_type("CHAR", "VARCHAR", "NCHAR") and not kind.expressions:
        return _call("mdb_text", node.this)
    if kind.is_type("BIGINT") and not _is_number(node.this):
        return _call("mdb_whole", node.this)
    return node


def _is_number(tree: Any) -> bool:
    return isinstance(tree, exp.Literal) and not tree.is_string


def _changed_concat(node: Any, _: Types) -> Any:
    for one in list(node.expressions):
        if not _is_text(one):
            one.replace(_call("mdb_text", one))
    return node


_TEXTS = (exp.Literal, exp.Concat, exp.ConcatWs, exp.Upper, exp.Lower, exp.Trim, exp.Left, exp.Right, exp.TimeToStr)


def _is_text(tree: Any) -> bool:
    """Whether it surely is; what is not sure stands several times in what makes a text of it."""
    return isinstance(tree, _TEXTS) or (isinstance(tree, exp.Anonymous) and tree.name in ("mdb_text", "mdb_cut"))


def _changed_group_concat(node: Any, _: Types) -> Any:
    inner = node.this
    while isinstance(inner, exp.Order):
        inner = inner.this
    for one in inner.expressions if isinstance(inner, exp.Distinct) else [inner]:
        if not isinstance(one, (exp.Literal, exp.Concat)) and not isinstance(inner, exp.Distinct):
            one.replace(_call("mdb_text", one))
    return node


def _changed_length(node: Any, _: Types) -> Any:
    return _call("mdb_bytes", node.this) if node.args.get("binary") else _call("length", _call("mdb_text", node.this))


def _changed_position(node: Any, _: Types) -> Any:
    start = node.args.get("position") or _number(1)
    return _call("mdb_locate", exp.cast(node.this, "TEXT"), exp.cast(node.args["substr"], "TEXT"), start)


def _changed_end(node: Any, _: Types) -> Any:
    count = node.expression
    if not _is_number(count):
        count.replace(exp.Greatest(this=count.copy(), expressions=[_number(0)]))
    return node


def _changed_cut(node: Any, _: Types) -> Any:
    start, length = node.args.get("start") or _number(1), node.args.get("length")
    return _call("mdb_cut", node.this, start, length or _number(2**31 - 1))


def _changed_extreme(node: Any, _: Types) -> Any:
    """`greatest` and `least` go by the order of texts, too, and are null if one is null."""
    found: Any = node.this
    rest: list[Any] = node.expressions
    if len(rest) > _MOST_NESTED or all(isinstance(one, exp.Literal) and not one.is_string for one in (found, *rest)):
        return node
    name = "mdb_greatest" if isinstance(node, exp.Greatest) else "mdb_least"
    for one in rest:
        found = _call(name, found, one)
    return found


_MOST_NESTED = 4
"""Each stands twice in the next."""


def _changed_choice(node: Any, _: Types) -> Any:
    return _call("list_extract", exp.Array(expressions=[one.copy() for one in node.expressions]), node.this)


# --- numbers ------------------------------------------------------------------------------------------------


def _changed_division(node: Any, types: Types) -> Any:
    """`div` gives whole numbers, also of fractions."""
    _changed_sum(node, types)
    quotient = exp.IntDiv(this=exp.paren(node.this.copy()), expression=exp.paren(node.expression.copy()))
    return exp.cast(_call("trunc", quotient), "BIGINT")


def _changed_rounding(node: Any, types: Types) -> Any:
    """Of a float that lies between two, MariaDB takes the even one."""
    column = node.this
    if isinstance(column, exp.Column) and types.get(column.name.lower()) == "float":
        return _call("round_even", column, node.args.get("decimals") or _number(0))
    return node


# --- times --------------------------------------------------------------------------------------------------


def _as_moment(tree: Any) -> Any:
    """A text that is written out as the time that it tells."""
    if not (isinstance(tree, exp.Literal) and tree.is_string):
        return tree
    if _CLOCK.fullmatch(tree.this):
        return exp.cast(tree.copy(), "INTERVAL")
    return exp.cast(tree.copy(), "TIMESTAMP")


def _is_date(tree: Any, types: Types) -> bool:
    if isinstance(tree, exp.Column):
        return types.get(tree.name.lower()) == "date"
    if isinstance(tree, exp.Cast):
        return bool(tree.to.is_type("DATE"))
    if isinstance(tree, exp.TsOrDsToDate):
        return True
    if isinstance(tree, exp.Literal) and tree.is_string:
        found = _TEMPORAL.fullmatch(tree.this)
        return found is not None and found["time"] is None
    return False


def _changed_step(node: Any, types: Types) -> Any:
    """A time some units later: a date stays a date if these are days or more."""
    is_sum = isinstance(node, (exp.Add, exp.Sub))
    if isinstance(node, exp.Add) and isinstance(node.this, exp.Interval):
        node = exp.Add(this=node.expression.copy(), expression=node.this.copy())
    step = node.expression
    if is_sum and not isinstance(step, exp.Interval):
        if not isinstance(node.this, exp.Literal) and any(_is_date(one, types) for one in (node.this, step)):
            raise ValueError(
                f"{node.sql('mysql')}: MariaDB reckons with a date as with a number such as 20200131 there; "
                "write + interval 1 day, or datediff(a, b)"
            )
        return _changed_sum(node, types)
    base, unit = node.this, (step if is_sum else node).args.get("unit")
    name = unit.name.upper() if unit is not None else "DAY"
    amount = step.this if isinstance(step, exp.Interval) else step
    if isinstance(step, exp.Interval) and not is_sum and step.args.get("unit") is not None:
        name = step.args["unit"].name.upper()
    is_date = name in _DAYS and _is_date(base, types)
    is_back = isinstance(node, (exp.Sub, exp.DateSub))
    if isinstance(amount, exp.Literal):
        interval: Any = exp.Interval(this=amount.copy(), unit=exp.var(name))
    else:
        interval = exp.Interval(this=exp.paren(amount.copy()), unit=exp.var(name))
    is_untyped = isinstance(base, (exp.Literal, exp.Placeholder))
    start = exp.cast(base.copy(), "TIMESTAMP") if is_untyped else base.copy()
    moved = (exp.Sub if is_back else exp.Add)(this=start, expression=interval)
    return exp.cast(exp.paren(moved), "DATE") if is_date else exp.paren(moved)


def _changed_difference(node: Any, _: Types) -> Any:
    """MariaDB counts whole units that have passed; DuckDB's words for `timestampdiff` count their borders."""
    unit = node.text("unit").upper()
    moments = [exp.cast(one, "TIMESTAMP") for one in (node.expression, node.this)]
    months = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}.get(unit)
    if months is None:
        return _call("date_sub", exp.Literal.string(unit), *moments)
    return exp.cast(_call("trunc", exp.Div(this=_call("mdb_months", *moments), expression=_number(months))), "BIGINT")


def _changed_week(node: Any, _: Types) -> Any:
    day = exp.cast(node.this.copy(), "DATE")
    mode = node.args.get("mode")
    if mode is None or mode.name in ("0", "5"):
        pattern = "%W" if mode is not None and mode.name == "5" else "%U"
        return exp.cast(_call("strftime", day, exp.Literal.string(pattern)), "INT")
    if mode.name == "1":
        return _call("mdb_week1", day)
    if mode.name == "3":
        return _call("weekofyear", day)
    raise ValueError(f"week(..., {mode.sql()}): this server knows the modes 0, 1, 3 and 5")


def _changed_part(node: Any, _: Types) -> Any:
    if isinstance(node, exp.Extract):
        moment = _as_moment(node.expression)
        if moment is not node.expression:
            node.expression.replace(moment)
        return node
    moment = _as_moment(node.this)
    if moment is not node.this:
        node.this.replace(moment)
    return node


def _changed_parsing(node: Any, _: Types) -> Any:
    """A text that is no such time gives null."""
    pattern = node.args.get("format")
    if not isinstance(pattern, exp.Literal):
        return node
    has_time = re.search(r"%-?[HIMSpfT]", pattern.this) is not None
    return exp.cast(_call("try_strptime", node.this, pattern), "TIMESTAMP" if has_time else "DATE")


def _changed_seconds(node: Any, _: Types) -> Any:
    pattern = node.args.get("format")
    moment = _call("to_timestamp", node.this)
    return moment if pattern is None else exp.TimeToStr(this=moment, format=pattern.copy())


def _changed_comparison(node: Any, types: Types) -> Any:
    """A date that is compared with a time is one, too."""
    parts = [one for key in ("this", "expression", "low", "high") if (one := node.args.get(key)) is not None]
    parts += node.args.get("expressions") or []
    if any(_is_date(one, types) for one in parts if not isinstance(one, exp.Literal)):
        for one in parts:
            if isinstance(one, exp.Placeholder):
                one.replace(exp.cast(one.copy(), "TIMESTAMP"))
            elif isinstance(one, exp.Literal) and one.is_string and _TEMPORAL.fullmatch(one.this):
                one.replace(exp.cast(one.copy(), "DATE" if _is_date(one, types) else "TIMESTAMP"))
    return node


# --- calls and clauses --------------------------------------------------------------------------------------


def _changed_call(node: Any, types: Types) -> Any:
    name, given = node.name.lower(), node.expressions
    if isinstance(node, exp.CurrentTimestamp) or name in ("now", "sysdate", "localtime", "localtimestamp"):
        return exp.cast(exp.Literal.string(_now().replace(tzinfo=None).isoformat(" ")), "TIMESTAMP")
    if name == "unix_timestamp" and not given:
        return _number(int(_now().timestamp()))
    if name in ("adddate", "subdate") and len(given) == 2:
        step = given[1] if isinstance(given[1], exp.Interval) else exp.Interval(this=given[1], unit=exp.var("DAY"))
        kind = exp.Add if name == "adddate" else exp.Sub
        return _changed_step(kind(this=given[0].copy(), expression=step.copy()), types)
    if name == "microsecond" and len(given) == 1:
        return exp.Paren(this=exp.Mod(this=_call("microsecond", _as_moment(given[0])), expression=_number(1_000_000)))
    if name in ("elt", "field") and len(given) > 1:
        if name == "elt":
            return _call("list_extract", exp.Array(expressions=[one.copy() for one in given[1:]]), given[0])
        known = exp.Array(expressions=[_call("mdb_folded", one) for one in given[1:]])
        return exp.Coalesce(this=_call("list_position", known, _call("mdb_folded", given[0])), expressions=[_number(0)])
    return node


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def _changed_groups(node: Any, _: Types) -> Any:
    rollups = node.args.get("rollup") or []
    if rollups and any(one is True or not getattr(one, "expressions", None) for one in rollups):
        node.set("rollup", [exp.Rollup(expressions=[one.copy() for one in node.expressions])])
        node.set("expressions", [])
    return node


def _changed_join(node: Any, _: Types) -> Any:
    if str(node.args.get("kind") or "").upper() in ("STRAIGHT_JOIN", "STRAIGHT"):
        node.set("kind", "INNER")
    return node


def _without_dual(node: Any, _: Types) -> Any:
    if isinstance(node.this, exp.Table) and node.this.name.lower() == "dual" and not node.this.db:
        node.pop()
    return node


def _plain_select(node: Any, _: Types) -> Any:
    for key in ("operation_modifiers", "locks", "hint"):
        node.set(key, None)
    return node


def _kinds(*names: str) -> tuple[Any, ...]:
    """Classes by their names, those of them that this version of the parser has."""
    return tuple(getattr(exp, name) for name in names if hasattr(exp, name))


Change = Callable[[Any, Types], Any]
_CHANGES: tuple[tuple[tuple[Any, ...], Change], ...] = (
    (_kinds("Like"), _changed_like),
    (_kinds("RegexpLike"), _changed_pattern),
    (_kinds("RegexpReplace"), _changed_replacement),
    (_kinds("Collate"), _changed_collation),
    (_kinds("Cast"), _changed_cast),
    (_kinds("Concat", "ConcatWs"), _changed_concat),
    (_kinds("GroupConcat"), _changed_group_concat),
    (_kinds("Length"), _changed_length),
    (_kinds("StrPosition"), _changed_position),
    (_kinds("Left", "Right"), _changed_end),
    (_kinds("Substring"), _changed_cut),
    (_kinds("Greatest", "Least"), _changed_extreme),
    (_kinds("Elt"), _changed_choice),
    (_kinds("IntDiv"), _changed_division),
    (_kinds("Mul", "Div", "Mod"), _changed_sum),
    (_kinds("Round"), _changed_rounding),
    (_kinds("Add", "Sub", "DateAdd", "DateSub", "TimestampAdd"), _changed_step),
    (_kinds("TimestampDiff"), _changed_difference),
    (_kinds("Week"), _changed_week),
    (_kinds("Hour", "Minute", "Second", "Dayname", "LastDay", "Quarter", "Extract"), _changed_part),
    (_kinds("StrToDate", "StrToTime"), _changed_parsing),
    (_kinds("UnixToTime"), _changed_seconds),
    (_kinds("EQ", "NEQ", "GT", "GTE", "LT", "LTE", "NullSafeEQ", "Between", "In"), _changed_comparison),
    (_kinds("CurrentTimestamp", "Anonymous"), _changed_call),
    (_kinds("Group"), _changed_groups),
    (_kinds("Join"), _changed_join),
    (_kinds("From"), _without_dual),
    (_kinds("Select"), _plain_select),
    (_kinds("CurrentSchema"), lambda node, _: exp.Null()),
    (_kinds("CurrentVersion"), lambda node, _: exp.Literal.string(SETTINGS["version"])),
    (
        _kinds("DayOfWeek"),
        lambda node, _: exp.Paren(this=exp.Add(this=_call("dayofweek", node.this), expression=_number(1))),
    ),
    (_kinds("Time"), lambda node, _: exp.cast(exp.cast(node.this, "TIMESTAMP"), "TIME")),
)
