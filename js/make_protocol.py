"""Writes ``src/protocol.ts`` from the package: messages, records, statuses and the transition table.

Run with the project's Python: ``python js/make_protocol.py``; with ``--check`` nothing is written and the exit code
says whether the file is fresh.
"""

from __future__ import annotations

import sys
import types
import typing
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final, Literal

HERE: Final = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from tiledag_widget.core import snapshot, states  # noqa: E402
from tiledag_widget.view import messages  # noqa: E402

TARGET: Final = HERE / "src" / "protocol.ts"
PLAIN: Final = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", Any: "unknown"}
RECORD_FIELDS: Final = ("index", "status", "attempt", "slot", "started", "ended")
GETTERS: Final = {"I": "Uint32", "B": "Uint8", "H": "Uint16", "f": "Float32"}
SIZES: Final = {"I": 4, "B": 1, "H": 2, "f": 4}


def to_type(hint: Any, names: dict[int, str], own: str = "") -> str:
    """A type of Python's as one of TypeScript's."""
    if id(hint) in names and names[id(hint)] != own:
        return names[id(hint)]
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(to_type(each, names) for each in flat(hint)))
    if origin is list:
        inner = to_type(arguments[0], names)
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if origin is dict:
        return f"Record<{to_type(arguments[0], names)}, {to_type(arguments[1], names)}>"
    raise TypeError(f"no TypeScript for {hint!r}")


def flat(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint)


def comment(text: str | None, indent: str = "") -> list[str]:
    if not text:
        return []
    lines = cleandoc(text).splitlines()
    if len(lines) == 1:
        return [f"{indent}/** {lines[0]} */"]
    return [f"{indent}/**", *[f"{indent} * {line}".rstrip() for line in lines], f"{indent} */"]


def constants() -> list[str]:
    lines = []
    for name, value in vars(messages).items():
        if name.isupper() and isinstance(value, (int, float, str)):
            literal = f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
            lines.append(f"export const {name} = {literal};")
    return lines


def message_types() -> list[str]:
    kinds = {name: value for name, value in vars(messages).items() if not name.startswith("_")}
    shapes = {name: value for name, value in kinds.items() if typing.is_typeddict(value)}
    aliases = {
        name: value
        for name, value in kinds.items()
        if typing.get_origin(value) in (Literal, typing.Union, types.UnionType) and name not in shapes
    }
    names = {id(value): name for name, value in {**aliases, **shapes}.items()}
    # Literal types are cached by value, so two equal ones share a name; that is harmless here.
    lines: list[str] = []
    for name, value in aliases.items():
        lines += ["", f"export type {name} = {to_type(value, names, name)};"]
    for name, value in shapes.items():
        optional = "" if value.__total__ else "?"
        lines += ["", *comment(value.__doc__), f"export interface {name} {{"]
        for field, hint in typing.get_type_hints(value).items():
            lines.append(f"  {field}{optional}: {to_type(hint, names)};")
        lines.append("}")
    return lines


def statuses() -> list[str]:
    members = list(states.Status)
    lines = ["", "/** Numbers of the statuses. */", "export const Status = {"]
    lines += [f"  {member.name}: {member.value}," for member in members]
    lines += ["} as const;", "", "/** `str(Status)` by number; the first entry is unused. */"]
    words = ["", *[str(member) for member in members]]
    lines.append(f"export const STATUS_WORDS: readonly string[] = [{', '.join(quote(word) for word in words)}];")
    for name, value in (("TERMINAL", states.TERMINAL), ("BAD", states.BAD)):
        lines.append(f"export const {name}: readonly number[] = [{', '.join(map(str, sorted(value)))}];")
    lines += [
        "",
        "/** [event, status, next status] of the machine; a next status of 0 means that nothing happens. */",
        "export const TABLE: readonly (readonly [string, number, number])[] = [",
    ]
    lines += [f"  [{quote(event)}, {status}, {after}]," for (event, status), after in states.TABLE.items()]
    lines += ["];", f"export const RETRY_COMPLETED = {states.RETRY_COMPLETED};"]
    return lines


def record() -> list[str]:
    codes = snapshot.RECORD.format.lstrip("<")
    if len(codes) != len(RECORD_FIELDS):
        raise ValueError(f"RECORD is {snapshot.RECORD.format!r}; this script knows the fields {RECORD_FIELDS}")
    fields, offset = [], 0
    lines = ["", f"export const RECORD_SIZE = {snapshot.RECORD_SIZE};", "export const NO_SLOT = 65535;", ""]
    lines += ["/** A change, 16 bytes little-endian; times are seconds since the run's zero, NaN for not yet. */"]
    lines += ["export interface NodeRecord {"]
    for name, code in zip(RECORD_FIELDS, codes):
        lines.append(f"  {name}: number;")
        end = ", true" if SIZES[code] > 1 else ""
        fields.append(f"    {name}: view.get{GETTERS[code]}(at + {offset}{end}),")
        offset += SIZES[code]
    lines += ["}", "", "export function readRecord(view: DataView, at: number): NodeRecord {", "  return {", *fields, "  };", "}"]
    return lines


def quote(text: str) -> str:
    return f'"{text}"'


def source() -> str:
    head = [
        "// Made by js/make_protocol.py from view/messages.py, core/snapshot.py and core/states.py. Not to be edited.",
        "",
    ]
    return "\n".join(head + constants() + message_types() + statuses() + record()) + "\n"


def main() -> int:
    text = source()
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("js/src/protocol.ts is stale: run `python js/make_protocol.py`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
