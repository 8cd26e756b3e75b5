"""Queries in MariaDB's dialect over TileDB arrays, run by DuckDB; runs in worker processes.

An array is a table named by its backticked address.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import functools
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow
from sqlglot import ErrorLevel, exp
from sqlglot.errors import UnsupportedError

from .arrays import place_of
from .dialect import Assigned, Statement, parsed, without_assignments
from .rows import as_rows, plain, restored, write
from .tables import bounds_of, columns_in, described, table_of
from .translation import COLLATION, MACROS, SETTINGS, to_engine, with_variables

__all__ = ["run"]


def run(job: Mapping[str, Any]) -> Any:
    """The rows of a query in the form that its result format needs.

    Raises:
        ValueError: the query cannot be parsed (the position is shown) or run.
    """
    session = _Session(job["array_uris"])
    try:
        for command in job["init_commands"]:
            for statement in parsed(command):
                session.execute(statement, ())
        statements = parsed(job["query"])
        if not statements:
            raise ValueError("the query is empty")
        if len(statements) > 1:
            raise ValueError(f"the query must be one statement, got {len(statements)}; put others into init_commands")
        table = session.execute(statements[0], job["parameters"])
    finally:
        session.close()
    if job["output_uri"]:
        write(table, place_of(job["array_uris"], job["output_uri"]), job["output_uri"])
    return _in_form(table, job["result_format"])


def _in_form(table: Any, result_format: str) -> Any:
    """What both clients make a frame of: rows, the table, or in the formats that hold any value a frame already."""
    if result_format == "json":
        return as_rows(table)
    return table.to_pandas() if result_format in ("native", "python_pickle", "tiledb_json") else table


_MACROS = {one.partition("(")[0]: one for one in MACROS}


@functools.cache
def _database() -> Any:
    """The engine of this process. Each session is a connection of its own with tables, all temporary, of its own."""
    database = duckdb.connect(":memory:")
    database.execute("SET enable_external_access = false")
    with contextlib.suppress(duckdb.Error):  # older versions know nothing else
        database.execute("SET GLOBAL error_on_division_by_zero = false")
    database.create_function("sleep", _sleep, ["DOUBLE"], "INTEGER", side_effects=True)
    atexit.register(_close, database)
    return database


def _close(database: Any) -> None:
    """Before the interpreter ends: later its modules would tell of what is left, on standard error."""
    _database.cache_clear()
    database.close()


class _Session:
    """One connection with its variables and the arrays read so far."""

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._uris = uris
        self._variables: dict[str, Any] = {}
        self._read: list[_Read] = []
        self._macros: set[str] = set()
        self._engine = _database().cursor()
        self._engine.execute(f"SET default_collation = '{COLLATION}'")

    def close(self) -> None:
        self._engine.close()

    def execute(self, statement: Statement, parameters: Sequence[Any]) -> Any:
        """The rows of a statement; an empty table for one that has none.

        Raises:
            ValueError: it is none that can be run here, or running it fails.
        """
        tree = statement.tree
        if isinstance(tree, exp.Set):
            self._set(tree)
            return pyarrow.table({})
        if isinstance(tree, (exp.Describe, exp.Show)):
            return self._told(tree)
        _refuse_others(tree, statement.text)
        _make_temporary(tree)
        _name_columns(tree, statement.labels)
        assigned = without_assignments(tree, self._variables)
        tree = with_variables(tree, self._variables)
        rows, read = self._run(tree, parameters, statement.has_pipes)
        if rows is None or not isinstance(tree, exp.Query):
            return pyarrow.table({})
        table = _named_as_written(restored(plain(rows), _kept_kinds(tree, read)), tree)
        self._remember(table, assigned)
        return self._selected_into(table, statement.into) if statement.into else table

    def _run(self, tree: Any, parameters: Sequence[Any], has_pipes: bool, prefix: str = "") -> tuple[Any, list[_Read]]:
        """The rows, None for none, and the arrays that were read for them."""
        before = len(self._read)
        is_simple = self._bind_arrays(tree)
        read = self._read[before:]
        if has_pipes:
            _refuse_joined_texts(tree)
        asked = len(list(tree.find_all(exp.Placeholder)))
        if asked != len(parameters):
            raise ValueError(f"the query has {asked} ? and {len(parameters)} parameters")
        tree = to_engine(tree, _types_in(read) if is_simple else {})
        try:
            text = prefix + tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.RAISE)
            self._define_in(text)
            rows: Any = self._engine.sql(text, params=list(parameters)) if parameters else self._engine.sql(text)
            return (rows.to_arrow_table() if rows is not None else None), read
        except UnsupportedError as error:
            raise ValueError(f"the query uses what is not known here: {error}".replace(" in DuckDB", "")) from None
        except (duckdb.Error, RuntimeError) as error:
            if isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
                _database.cache_clear()  # of no more use
            raise ValueError(_words_of(error, self._read, has_pipes)) from None

    def _define_in(self, text: str) -> None:
        """Makes the macros that a text calls; to make them all takes longer than most queries."""
        for name in re.findall(r"\w+(?=\()", text.lower()):
            if name in _MACROS and name not in self._macros:
                self._macros.add(name)
                self._define_in(_MACROS[name].partition(" AS ")[2])
                self._engine.execute(f"CREATE TEMPORARY MACRO {_MACROS[name]}")

    def _remember(self, table: Any, assigned: Assigned) -> None:
        """The variables have the values of the last row; of no row, the values from before."""
        for name, column in assigned.columns.items():
            if table.num_rows:
                self._variables[name] = table.column(column % table.num_columns)[table.num_rows - 1].as_py()

    def _selected_into(self, table: Any, names: Sequence[str]) -> Any:
        if table.num_columns != len(names):
            raise ValueError(f"into: {table.num_columns} columns for {len(names)} variables")
        if table.num_rows > 1:
            raise ValueError(f"into: the select has {table.num_rows} rows; variables take one")
        for name, column in zip(names, table.columns, strict=True):
            if table.num_rows:
                self._variables[name] = column[0].as_py()
        return pyarrow.table({})

    def _set(self, tree: Any) -> None:
        for item in tree.expressions:
            equation = item.this
            if not isinstance(equation, exp.EQ):
                continue  # names and characters: text is UTF-8 here
            if not isinstance(equation.this, exp.Parameter):
                _check_setting(equation)
                continue
            rows, _ = self._run(with_variables(exp.select(equation.expression.copy()), self._variables), (), False)
            table = plain(rows)
            self._variables[equation.this.name.lower()] = table.column(0)[0].as_py() if table.num_rows else None

    def _bind_arrays(self, tree: Any) -> bool:
        """Reads the arrays that a statement names and puts them in place of their names.

        Returns whether all its columns are columns of theirs.
        """
        every = list(tree.find_all(exp.Table))
        tables = [table for table in every if _is_address(table.name)]
        wanted = columns_in(tree) if tables else None
        known: dict[tuple[str, Any], _Read] = {}
        for table in tables:
            uri = table.name
            bounds = bounds_of(table)
            key = (uri, repr(bounds))
            if key not in known:
                known[key] = self._new_table(uri, *table_of(self._uris, uri, wanted, bounds))
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(uri, quoted=True)))
            table.set("this", exp.to_identifier(known[key].name))
        return len(tables) == len(every) and not any(tree.find_all(exp.Subquery, exp.CTE))

    def _new_table(self, uri: str, table: Any, columns: Sequence[str]) -> _Read:
        """The engine reckons in 64 bits, and with truth as a number, as MariaDB does."""
        read = _Read(f"array_{len(self._read) + 1}", uri, table.schema, tuple(columns))
        self._engine.register(f"{read.name}_cells", table)
        items = [_widened(item.type, exp.to_identifier(item.name, quoted=True).sql("duckdb")) for item in table.schema]
        self._engine.execute(f"CREATE TEMPORARY VIEW {read.name} AS SELECT {', '.join(items)} FROM {read.name}_cells")
        self._read.append(read)
        return read

    def _told(self, tree: Any) -> Any:
        """What SHOW, DESCRIBE and EXPLAIN tell."""
        what = str(tree.this).upper() if isinstance(tree, exp.Show) else ""
        if what == "TABLES":
            own = self._engine.sql("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
            return pyarrow.table(
                {"Tables": [*(f"tiledb://{name}" for name in sorted(self._uris)), *(n for (n,) in own)]}
            )
        target = tree.this if isinstance(tree, exp.Describe) else tree.args.get("target")
        if isinstance(target, exp.Query):
            rows, _ = self._run(with_variables(target, self._variables), (), False, "EXPLAIN ")
            return pyarrow.table({"EXPLAIN": rows.column(1)})
        if target is None or what not in ("", "COLUMNS"):
            raise ValueError(f"show {what.lower()} is not known here; show tables, show columns from and describe are")
        name = target.name
        if _is_address(name):
            return described(self._uris, name)
        return self._described_here(name)

    def _described_here(self, name: str) -> Any:
        quoted = exp.to_identifier(name, quoted=True).sql("duckdb")
        try:
            found = self._engine.sql(f"DESCRIBE {quoted}").fetchall()
        except duckdb.Error:
            raise ValueError(_words_for_table(name)) from None
        return pyarrow.table(
            {"Field": [one[0] for one in found], "Type": [one[1] for one in found], "Null": [one[2] for one in found]}
        )


@dataclass(frozen=True)
class _Read:
    """An array that stands in the engine as a table."""

    name: str
    uri: str
    schema: Any
    columns: tuple[str, ...]
    """All that it has, also those that were not read."""


_NARROW = ("int8", "int16", "int32", "uint8", "uint16", "uint32")


def _widened(kind: Any, column: str) -> str:
    if str(kind) in _NARROW:
        return f"CAST({column} AS BIGINT) AS {column}"
    if pyarrow.types.is_boolean(kind):
        return f"CAST({column} AS TINYINT) AS {column}"
    return f"CAST({column} AS DOUBLE) AS {column}" if str(kind) in ("float", "halffloat") else column


def _types_in(read: Sequence[_Read]) -> dict[str, str]:
    """What the columns of all these arrays surely are."""
    found: dict[str, set[str]] = {}
    for one in read:
        for item in one.schema:
            is_date, is_float = pyarrow.types.is_date(item.type), pyarrow.types.is_floating(item.type)
            found.setdefault(item.name.lower(), set()).add("date" if is_date else "float" if is_float else "")
    return {name: kinds.pop() for name, kinds in found.items() if len(kinds) == 1}


def _kept_kinds(tree: Any, read: Sequence[_Read]) -> dict[str, Any]:
    """Types of the columns that a select gives as they are."""
    if not isinstance(tree, exp.Select):
        return {}
    kinds = {item.name.lower(): item.type for one in read for item in one.schema}
    found = {}
    for item in tree.expressions:
        column = item.this if isinstance(item, exp.Alias) else item
        if item.is_star:
            found.update({item.name: item.type for one in read for item in one.schema})
        elif isinstance(column, exp.Column) and column.name.lower() in kinds:
            found[item.alias_or_name] = kinds[column.name.lower()]
    return found


def _named_as_written(table: Any, tree: Any) -> Any:
    """Columns have no case in MariaDB, and the name by which the query calls them."""
    if not isinstance(tree, exp.Select) or len(tree.expressions) != table.num_columns:
        return table
    names = [
        item.name if isinstance(item, exp.Column) and item.name.lower() == name.lower() else name
        for item, name in zip(tree.expressions, table.column_names, strict=True)
    ]
    return table.rename_columns(names)


def _sleep(seconds: float) -> int:
    time.sleep(max(0.0, seconds))
    return 0


# --- what cannot be done ------------------------------------------------------------------------------------


def _check_setting(equation: Any) -> None:
    """Refuses a setting by which a query would mean something else; others have no meaning here."""
    name, value = equation.this.name.lower(), equation.expression.name
    if name == "sql_mode" and (extra := set(value.upper().split(",")) - set(SETTINGS["sql_mode"].split(",")) - {""}):
        raise ValueError(
            f"sql_mode {', '.join(sorted(extra))} is not known here; queries are read in MariaDB's own mode"
        )
    if name == "time_zone" and value.upper() not in ("UTC", "+00:00", "SYSTEM", "DEFAULT"):
        raise ValueError(f"time_zone {value!r} is not known here: all times are UTC")


def _refuse_joined_texts(tree: Any) -> None:
    for node in tree.find_all(exp.Or):
        for one in (node.this, node.expression):
            if isinstance(one, (exp.Concat, exp.Literal)) and (isinstance(one, exp.Concat) or one.is_string):
                raise ValueError(f"|| is a logical or in MariaDB, and {one.sql('mysql')} is text: {_JOIN}")


_JOIN = "write concat(a, b) to join texts"


def _words_of(error: Exception, read: Sequence[_Read], has_pipes: bool) -> str:
    """The engine's words, without its own names and without the query as it was changed for it."""
    words = str(error).partition("\nLINE ")[0].partition("\n\nLINE ")[0]
    words = re.sub(r"\n*\s*Candidate (functions|bindings):.*", "", words, flags=re.DOTALL).strip()
    lost = re.search(r'(?:Referenced column|does not have a column named|column named) "([^"]+)"', words)
    if lost is not None and read:
        return _words_for_column(lost.group(1), read)
    for one in read:
        words = re.sub(rf"\b{one.name}\b", one.uri, words)
    table = re.search(r"Table with name (\S+) does not exist", words)
    if table is not None:
        return f"the query failed: {_words_for_table(table.group(1))}"
    unknown = re.search(r"Function with name (\S+) does not exist", words)
    if unknown is not None:
        return f"the query failed: there is no function {unknown.group(1)} here{_similar(words)}"
    if has_pipes and "convert string" in words:
        words += f"\n|| is a logical or in MariaDB: {_JOIN}"
    return f"the query failed: {words}"


def _words_for_table(name: str) -> str:
    how = "an array is named by its path, which begins with / or ./"
    return f"there is no table {name!r}; `show tables` names those there are, and {how}"


def _similar(words: str) -> str:
    found = re.search(r'Did you mean "([^"]+)"', words)
    return f"; did you mean {found.group(1)}?" if found is not None and not found.group(1).startswith("mdb_") else ""


def _words_for_column(name: str, read: Sequence[_Read]) -> str:
    columns = {one.uri: one.columns for one in read}
    known = [column for one in columns.values() for column in one]
    close = difflib.get_close_matches(name, known, 1)
    meant = f" (did you mean {close[0]!r}?)" if close else ""
    has = "; ".join(f"{uri!r} has {', '.join(names)}" for uri, names in columns.items())
    return f"the query failed: there is no column {name!r}{meant}: {has}"


_CHANGES_TABLES = (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)


def _refuse_others(tree: Any, text: str) -> None:
    """Raises `ValueError` for a statement that would change an array, or is none that is run here."""
    name = ""
    if isinstance(tree, exp.Command):  # what the parser leaves as it is
        found = re.search(r"`([^`]+)`", str(tree.expression)) if str(tree.this).upper() == "REPLACE" else None
        name = found.group(1) if found is not None else ""
    elif isinstance(tree, _CHANGES_TABLES):
        places = [tree.this] if tree.this is not None else tree.args.get("tables") or tree.expressions
        name = next((target.name for place in places if (target := place.find(exp.Table)) is not None), "")
    if _is_address(name):
        raise ValueError(
            f"the array {name!r} cannot be changed by a query; give output_uri to write a new one, "
            "or write to it in an array UDF"
        )
    if not isinstance(tree, (exp.Query, *_CHANGES_TABLES)):
        raise ValueError(
            f"this server does not run `{(text or tree.sql('mysql'))[:60]}`: it runs select, show tables, describe and "
            "explain, and in init_commands set, and create, insert, update, delete and drop of temporary tables"
        )


def _make_temporary(tree: Any) -> None:
    """What a statement makes lasts as long as its session."""
    if not isinstance(tree, exp.Create):
        return
    if str(tree.args.get("kind")).upper() not in ("TABLE", "VIEW"):
        raise ValueError(
            f"this server does not create a {str(tree.args.get('kind')).lower()}; tables and views it does"
        )
    properties = tree.args.get("properties") or exp.Properties(expressions=[])
    if not any(isinstance(one, exp.TemporaryProperty) for one in properties.expressions):
        properties.append("expressions", exp.TemporaryProperty())
        tree.set("properties", properties)


def _name_columns(tree: Any, labels: Sequence[str] | None) -> None:
    while isinstance(tree, exp.SetOperation):  # a union has the names of its first select
        tree = tree.this
    if not isinstance(tree, exp.Select) or labels is None or len(labels) != len(tree.expressions):
        return
    for item, label in zip(list(tree.expressions), labels, strict=True):
        if isinstance(item, (exp.Alias, exp.Column, exp.Star)):
            continue
        if isinstance(item, exp.Literal) and item.is_string:
            label = item.this
        elif isinstance(item, (exp.Null, exp.Boolean)):
            label = label.upper()
        item.replace(exp.alias_(item.copy(), label, quoted=True))


def _is_address(name: str) -> bool:
    return "://" in name or name.startswith(("/", "./", "../", "~/"))
