"""Requests and replies as values, and how a route reads the one and makes the other.

A route is a function from a `Request` to a `Reply`, or to a `Later`, which says how the reply is made when a future is
done. It refuses with `Refused`; `refusals` turns that, and every other exception, into an error reply.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ..errors import InvalidBody
from ..wire import models
from ..wire.models import from_json, to_json
from .store import Page, StoreError

__all__ = ["NO_CONTENT", "Handler", "Later", "Refused", "Reply", "Request", "RouteRow", "error_reply", "refusals"]

T = TypeVar("T")

MOST_PER_PAGE = 1000

TASK_HEADER = "X-TILEDB-CLOUD-TASK-ID"
JSON = "application/json"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, let in but not yet understood."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    id: str = ""

    def one(self, name: str) -> str | None:
        """The last value of a query parameter; None if absent or empty."""
        values = self.query.get(name)
        return values[-1] if values and values[-1] else None


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back: a body, or the content of a file."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    is_last: bool = False
    """Nobody else will want the file: it is deleted."""


@dataclass(frozen=True, slots=True)
class Later:
    """A reply that can be made when a future is done, or patience has ended."""

    future: Future[Any]
    then: Callable[[Any], Reply]
    patience: float | None = None
    otherwise: Callable[[], Reply] | None = None
    blocks: bool = False
    """Whether `then` reads or writes records, so that it must not run where sockets are served."""


Handler: TypeAlias = Callable[..., "Reply | Later"]
RouteRow: TypeAlias = tuple[str, str, Handler]
Route: TypeAlias = tuple[str, tuple[str, ...], Handler]


class Refused(Exception):
    """Ends a route with an error reply."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def json_reply(value: Any, status: int = 200) -> Reply:
    """A reply with a body of JSON."""
    return Reply(status, json.dumps(to_json(value)).encode(), {"content-type": JSON})


def error_reply(
    status: int, message: str, *, kind: str | None = None, traceback: str | None = None, task: str | None = None
) -> Reply:
    """An error body of the contract; `http` adds the id of the request."""
    body = models.ErrorBody(status, message, None, kind, traceback)
    headers = {"content-type": JSON, **({TASK_HEADER: task} if task is not None else {})}
    return Reply(status, json.dumps(to_json(body)).encode(), headers)


NO_CONTENT = Reply(204)


def refusals(made: Callable[[], Reply | Later]) -> Reply | Later:
    """What a route gives, or the error reply for what it raised. Never raises."""
    try:
        return made()
    except Refused as refused:
        return error_reply(refused.status, str(refused))
    except (InvalidBody, UnicodeDecodeError, RecursionError) as error:
        return error_reply(400, str(error) or "The request cannot be read.")
    except StoreError as error:
        return error_reply(507, str(error))
    except OSError as error:
        return error_reply(507, f"The server's folder cannot be used: {error}")
    except Exception as error:
        logging.getLogger(__name__).exception("a route failed")
        return error_reply(501, f"The server has a bug: {type(error).__name__}.")


def found_by_id(what: str, identity: str, find: Callable[[str], T | None]) -> T:
    """What the uuid in a path names, in whatever case it is written.

    Raises:
        Refused: There is no such thing, or that is no uuid.
    """
    found = find(identity.lower()) if UUID.fullmatch(identity.lower()) else None
    if found is None:
        raise Refused(404, f"There is no {what} {identity}.")
    return found


# --- bodies and parameters ----------------------------------------------------------------------------------


def json_of(request: Request) -> Any:
    try:
        return json.loads(request.body or b"null")
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body is not JSON: {error}") from None


def body_as(cls: type[T], request: Request) -> T:
    try:
        return from_json(cls, json_of(request))
    except (OverflowError, ValueError) as error:
        if isinstance(error, InvalidBody):
            raise
        raise Refused(400, f"The body has a number that cannot be used: {error}") from None


def object_of(request: Request) -> dict[str, Any]:
    body = json_of(request)
    if not isinstance(body, dict):
        raise Refused(400, "The body must be an object.")
    return body


def page_of(request: Request) -> tuple[int, int]:
    said = {"page": request.one("page") or "1", "per_page": request.one("per_page") or "10"}
    try:
        number, size = whole_number("page", said["page"]), whole_number("per_page", said["per_page"])
    except Refused:
        number = size = 0
    if not 1 <= number < 2**53 or not 1 <= size <= MOST_PER_PAGE:
        got = f"{said['page']!r} and {said['per_page']!r}"
        raise Refused(400, f"page is a whole number from 1, and per_page one from 1 to {MOST_PER_PAGE}, got {got}.")
    return number, size


def whole_number(name: str, text: str) -> int:
    value = number(name, text)
    if value != int(value) or not 0 <= value < 2**53:
        raise Refused(400, f"{name} must be a whole number from 0, got {text!r}.")
    return int(value)


def number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Refused(400, f"{name} must be a number, got {text[:60]!r}.") from None
    if not abs(value) < 1e11:
        raise Refused(400, f"{name} is out of range.")
    return value


def moment_of(name: str, text: str) -> str:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+") if "T" in text else text)
    except ValueError:
        raise Refused(400, f"{name} must be a time as in ISO 8601, got {text[:60]!r}.") from None
    return utc_text(moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc))


def utc_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def pagination(page: Page) -> models.PaginationMetadata:
    return models.PaginationMetadata(page.number, page.size, -(-page.total // page.size), page.total)
