"""What is known about one node, in the form that the inspector shows: arguments, attempts, error, result.

Code of the user's is called in two places, the text of an exception and the ``repr`` of a result: both are for the
preview thread of a view, and whatever they raise is caught.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from math import isnan
from typing import Any, Final, TypedDict

from ..core.snapshot import AttemptFacts, GraphSource, NodeFacts
from ..core.states import FAILED, Status
from .brief import HIDDEN, cut, describe, is_secret, one_line, preview_text, type_name
from .messages import ERROR_CUT, Argument, Attempt, Errors, NodeDetail, Preview
from .ranks import breathe_now
from .rich import has_rich
from .tracebacks import error_message, error_type, frames_of, frames_of_text, traceback_of

RELATIVES: Final = 1_000
ARGUMENTS: Final = 100
ATTEMPTS: Final = 200
MOST_SOURCE: Final = 20_000
ERRORS_SIZE: Final = 2_000_000
"""Characters of the different errors of a graph that a page is told; a hundred thousand may fail, each in its way."""


def node_detail(facts: NodeFacts, source: GraphSource) -> NodeDetail:
    """The body of the answer to ``node``."""
    error, text = facts.error, facts.traceback_text
    return {
        "index": facts.index,
        "name": facts.name,
        "function": facts.function,
        "source": textwrap.dedent(facts.source)[:MOST_SOURCE],
        "mode": facts.mode,
        "resource_class": facts.resource_class,
        "status": facts.status.value,
        "arguments": list(_arguments(facts, source)),
        "parents": list(facts.parents[:RELATIVES]),
        "children": list(facts.children[:RELATIVES]),
        "attempts": [_attempt(attempt) for attempt in facts.attempts[-ATTEMPTS:]],
        "error_type": error_type(error) if error is not None else "",
        "error_message": error_message(error) if error is not None else "",
        "traceback": traceback_of(error, text) if error is not None else "",
        "frames": [] if error is None else frames_of_text(text) if text else frames_of(error),
        "blocker": facts.blocker,
        "reference": facts.reference,
        **_result_facts(facts, source),
    }


def error_text(error: BaseException) -> str:
    """The type and the message of an error, by which nodes are found and put together: `ERROR_CUT` characters at most.
    Calls the user's ``__str__``."""
    message = error_message(error)
    return (f"{error_type(error)}: {message}" if message else error_type(error))[:ERROR_CUT]


def errors_of(source: GraphSource) -> Errors:
    """The body of the answer to ``errors``. Calls the user's ``__str__`` of exceptions."""
    errors: Errors = {"texts": [], "nodes": [], "of": []}
    numbers: dict[str, int] = {}
    room = ERRORS_SIZE
    for failed in re.finditer(b"%c" % FAILED, source.columns().status):
        breathe_now()
        error = source.error(failed.start())
        if error is None:
            continue
        text = error_text(error)
        if text not in numbers:
            if len(text) > room:
                continue
            room -= len(text)
            numbers[text] = len(numbers)
            errors["texts"].append(text)
        errors["nodes"].append(failed.start())
        errors["of"].append(numbers[text])
    return errors


def preview(value: object) -> Preview:
    """The body of the answer to ``preview``. Calls the user's ``repr``: takes as long as that does.

    Raises:
        BaseException: Nothing; what ``repr`` raises is the text.
    """
    try:
        text = preview_text(value)
    except BaseException as error:
        text = f"({type_name(value)}.__repr__ raised {type(error).__name__})"
    return {"type": type_name(value), "size": describe(value), "text": text}


def _arguments(facts: NodeFacts, source: GraphSource) -> Iterator[Argument]:
    named = [(str(place), value) for place, value in enumerate(facts.args[:ARGUMENTS])]
    named += list(facts.kwargs.items())[: ARGUMENTS - len(named)]
    for name, value in named:
        node = source.index_of(value)
        yield {
            "name": cut(name, 100),
            "type": "Node" if node is not None else type_name(value),
            "value": _value(name, value, node),
            "node": node,
        }


def _value(name: str, value: Any, node: int | None) -> str:
    if node is not None:
        return ""
    if is_secret(name):
        return HIDDEN
    try:
        return one_line(value)
    except Exception:  # a class that lies about what it is
        return f"<{type(value).__name__}>"


class _ResultFacts(TypedDict):
    result: str
    rich: bool


def _result_facts(facts: NodeFacts, source: GraphSource) -> _ResultFacts:
    """Type and size of the result, without its ``repr``, and whether its class has a richer form."""
    if facts.status is not Status.COMPLETED:
        return {"result": "", "rich": False}
    try:
        value = source.result(facts.index)
    except Exception:
        return {"result": "", "rich": False}
    words = describe(value)
    return {"result": f"{type_name(value)}, {words}" if words else type_name(value), "rich": has_rich(value)}


def _attempt(facts: AttemptFacts) -> Attempt:
    return {
        "number": facts.number,
        "status": facts.status.value,
        "started": _known(facts.started),
        "ended": _known(facts.ended),
        "error": cut(f"{error_type(facts.error)}: {error_message(facts.error)}".partition("\n")[0], 300)
        if facts.error is not None
        else "",
    }


def _known(seconds: float) -> float | None:
    return None if isnan(seconds) else seconds
