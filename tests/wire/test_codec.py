"""Tagged JSON, result formats, arguments, and pickles that TileDB's client reads and writes."""

from __future__ import annotations

import base64
import builtins
import json
import pickletools
import threading
import uuid
from collections import OrderedDict
from typing import Any

import pytest

from tiledag_widget.errors import InvalidBody, NotPicklable
from tiledag_widget.wire import codec, pickles
from tiledag_widget.wire.models import ArrayDetails, ArrayRanges, Decoder, NodeOutput, PandasDecoder, StoredParam

PANDAS_DECODER_OF_TILEDB = (
    "gASVTAAAAAAAAACMHnRpbGVkYi5jbG91ZC5fcmVzdWx0cy5kZWNvZGVyc5SM"
    "DVBhbmRhc0RlY29kZXKUk5QpgZR9lIwGZm9ybWF0lIwFYXJyb3eUc2Iu"
)
TASK = uuid.UUID("12345678-1234-1234-1234-123456789abc")


def in_main(source: str) -> dict[str, Any]:
    """Names defined as in a notebook cell: in a module `__main__` that no other process can import."""
    cell: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    exec(source, cell)
    return cell


def there_and_back(value: Any) -> Any:
    return codec.from_tagged(json.loads(json.dumps(codec.to_tagged(value, "n", "args[0]"))))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        "text",
        [1, [2, {"a": None}]],
        {"a": {"b": [b"bytes", {1, 2}]}},
        {1: "not a text as key"},
        {"__tdbudf__": "immediate", "x": [{"__tdbudf__": 1}]},
        [StoredParam(TASK), {"p": StoredParam(TASK, PandasDecoder("arrow"))}],
        {2: StoredParam(TASK, Decoder("native"))},
        [NodeOutput("n")],
        ArrayDetails("tiledb://a/b", ArrayRanges(((1, 2), ()), "row-major"), ("a",)),
        2 + 3j,
    ],
)
def test_values_come_back_from_tagged_json(value: Any) -> None:
    """A function would get something else than was given."""
    assert there_and_back(value) == value


def test_tuples_come_back_as_lists_and_subclasses_as_what_json_knows() -> None:
    """The contract's rule; other clients rely on it."""
    assert there_and_back((1, (2,))) == [1, [2]]
    assert there_and_back(OrderedDict(a=True)) == {"a": True}


def test_what_json_knows_is_not_copied() -> None:
    """A million numbers would be copied for nothing."""
    value = {"a": [1, 2, {"b": None}]}

    assert codec.to_tagged(value, "n", "args[0]") is value


def test_not_a_number_is_read_and_written_as_a_bare_word() -> None:
    """Strict JSON would refuse what TileDB's client sends."""
    assert str(there_and_back([float("nan"), float("inf")])) == "[nan, inf]"


def test_numbers_longer_than_python_writes_them_are_pickled() -> None:
    """A factorial is soon as long."""
    values = [10**4200, {"x": -(10**5000)}, True, 2**63]

    assert there_and_back(values) == values


def test_rings_and_deep_nests_are_pickled_whole() -> None:
    """Recursion without end would take the kernel down."""
    ring: list[Any] = [1]
    ring.append(ring)

    back = there_and_back(ring)

    assert back[1] is back


def test_arguments_are_positional_first_and_raw_where_json_knows_them() -> None:
    """The service reads them by this shape."""
    arguments = codec.dump_arguments("n", (1, [1], (), b"x"), {"name": {"a": 1}})

    assert arguments == [
        {"value": 1},
        {"value": {"__tdbudf__": "raw_json", "raw_json": [1]}},
        {"value": ()},
        {"value": {"__tdbudf__": "immediate", "format": "bytes", "base64_data": "eA=="}},
        {"name": "name", "value": {"__tdbudf__": "raw_json", "raw_json": {"a": 1}}},
    ]
    assert codec.load_arguments(json.loads(json.dumps(arguments))) == ([1, [1], [], b"x"], {"name": {"a": 1}})


def test_a_missing_value_is_none_and_an_empty_name_is_a_name() -> None:
    """Go drops nulls on the way."""
    assert codec.load_arguments([{}, {"name": None}, {"name": ""}]) == ([None, None], {"": None})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "must be an array"),
        ([3], r"arguments\[0\] must be an object"),
        ([{"name": 3}], "name must be a text"),
        ([{"name": "a"}, {"value": 1}], "positional"),
        ([{"name": "a"}, {"name": "a"}], "second argument"),
        ([{"value": {"__tdbudf__": "what"}}], "unknown tag 'what'"),
        ([{"value": {"__tdbudf__": "immediate", "format": "json"}}], "no 'base64_data'"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: Any, words: str) -> None:
    """A server would fail somewhere inside."""
    with pytest.raises(InvalidBody, match=words):
        codec.load_arguments(arguments)


def test_references_are_found_without_decoding() -> None:
    """The server process must never unpickle."""
    tagged = codec.to_tagged([StoredParam(TASK), {"a": NodeOutput("n")}, threading.get_ident], "n", "args[0]")

    assert set(codec.references_in(tagged)) == {("stored_param", str(TASK)), ("node_output", "n")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (({"a": 1},), ([], {"a": 1})),
        (((1, 2), {"a": 1}), ([1, 2], {"a": 1})),
        (([3],), ([3], {})),
    ],
)
def test_arguments_of_the_old_style_are_read(old: Any, new: Any) -> None:
    """Array calls of TileDB's client still send them."""
    text = base64.b64encode(pickles.dumps_wire(old)).decode()

    assert codec.load_old_argument(text) == new


@pytest.mark.parametrize("name", ["native", "python_pickle", "tiledb_json"])
def test_results_come_back_in_formats_that_hold_everything(name: str) -> None:
    """The value of a node would depend on its format."""
    value = [{1, 2}, {"a": b"x"}]

    assert codec.decode(codec.encode(value, name, "n"), name) == value
    assert codec.decode_stored(codec.encode(value, name, "n"), codec.MIME_OF[name] + "; charset=x") == value


def test_formats_that_cannot_hold_a_value_say_which_could() -> None:
    """A person would not know what to choose."""
    for name, value in (("json", {1, 2}), ("bytes", "text"), ("r_serialization", 1)):
        with pytest.raises((TypeError, ValueError), match="native"):
            codec.encode(value, name, "n")


def test_tables_and_frames_travel_as_arrow() -> None:
    """Pickled frames need the same pandas on both sides."""
    pyarrow = pytest.importorskip("pyarrow")
    pandas = pytest.importorskip("pandas")
    table = pyarrow.table({"a": [1, 2]})
    frame = pandas.DataFrame({"a": [1, 2]}, index=[5, 6])

    assert codec.result_to_tagged(table, "n")["format"] == "arrow"
    assert codec.result_to_tagged(frame, "n")["format"] == "arrow_dataframe"
    assert there_and_back(table).equals(table)
    assert there_and_back(frame).equals(frame)
    assert codec.decode(b"", "arrow").num_rows == 0
    stream = codec.encode(table, "arrow", "n")
    assert codec.decode_stored(stream, None, PandasDecoder("arrow")).to_dict("list") == {"a": [1, 2]}
    assert codec.decode_stored(b'[{"a": 1}]', None, PandasDecoder("json")).to_dict("list") == {"a": [1]}


def test_an_unknown_content_type_can_be_fetched_but_not_decoded() -> None:
    """Bytes of R would be taken for something else."""
    with pytest.raises(ValueError, match="x/y"):
        codec.format_of_mime("x/y")
    assert codec.format_of_mime(None) == "bytes"


def test_what_cannot_be_pickled_is_named_by_its_path() -> None:
    """A person would look through all the arguments."""
    with pytest.raises(NotPicklable, match=r"Node 'n': kwargs\['db'\]\[1\] cannot be sent to the server"):
        codec.dump_arguments("n", (), {"db": [1, threading.Lock()]})


# --- pickles of the contract --------------------------------------------------------------------------------

SOURCE = """
import dataclasses, enum
@dataclasses.dataclass
class Point:
    x: int
    y: int = 3
class Kind(enum.Enum):
    A = 1
class Base:
    def f(self): return 1
class Derived(Base):
    def f(self): return super().f() + 1
def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
def adder(n):
    def inner(m): return n + m
    return inner
add = adder(3)
"""


@pytest.mark.parametrize("name", ["Point", "Kind", "Derived", "factorial", "add"])
def test_functions_and_classes_name_the_modules_that_tiledbs_client_has(name: str) -> None:
    """It has no cloudpickle of PyPI, and would fail on import."""
    data = pickles.dumps_wire(in_main(SOURCE)[name])

    opcodes = list(pickletools.genops(data))
    found = {str(argument) for _, argument, _ in opcodes if isinstance(argument, str)}
    assert data[:2] == b"\x80\x04"
    assert "_get_dataclass_field_type_sentinel" not in found
    pops = [index for index, (opcode, _, _) in enumerate(opcodes) if opcode.name == "POP"]
    assert pops
    for index, (opcode, _, _) in enumerate(opcodes):
        if opcode.name == "STACK_GLOBAL":
            module = opcodes[index - 2][1]
            assert not str(module).startswith("cloudpickle")


def test_functions_and_classes_work_after_the_way_there_and_back() -> None:
    """What was sent must do what it did."""
    names = in_main(SOURCE)
    point, kind, derived, factorial, add = (
        codec.decode_function(codec.encode_function(names[name]))
        for name in ("Point", "Kind", "Derived", "factorial", "add")
    )

    assert (point(1).y, kind.A.value, derived().f(), factorial(5), add(4)) == (3, 1, 2, 120, 7)


def test_stand_ins_are_what_tiledbs_client_wrote() -> None:
    """Stored parameters of SQL nodes carry these pickles."""
    found = pickles.loads_wire(base64.b64decode(PANDAS_DECODER_OF_TILEDB))

    assert found == PandasDecoder("arrow")
    names = [argument for _, argument, _ in pickletools.genops(pickles.dumps_wire({1: StoredParam(TASK, found)}))]
    assert "tiledb.cloud._results.stored_params" in names
    assert "tiledb.cloud._results.decoders" in names
    assert hash(StoredParam(TASK, found)) == hash(StoredParam(TASK, PandasDecoder("arrow")))
