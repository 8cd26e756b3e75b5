"""Requests of pages: checked, carried out once, answered. They come by the comm and on the control channel.

**Guarantees.** `Desk.take` and the control handler are safe from any thread and return at once: the main thread, a
subshell's and ipykernel's "Control", which also serves interrupt and shutdown. Actions run on the one thread of this
process for them, since a user's callback may be behind them; questions on the view's own, since a user's ``repr`` may.
A request that comes again, by whatever way, is dropped.

1. The page sends request r by the comm and on the control channel, at the same time.
2. Control looks r up: not there. The main thread looks r up: not there.
3. Both carry r out: a node runs twice. What prevents it: look-up and entry are one step under a lock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypedDict, get_args

from ..core.snapshot import GraphSource
from .details import errors_of, node_detail, preview
from .feed import Feed
from .log_lines import LogDesk, NoLines
from .messages import (
    BUSY_S,
    CONTROL_REPLY,
    CONTROL_TYPE,
    Ack,
    Action,
    Housekeeping,
    Paced,
    Question,
    Queued,
    Reply,
    Sent,
)
from .rich import rich
from .worker import PATIENCE_S, Worker

_log = logging.getLogger("tiledag_widget.view")

ACTIONS: Final[frozenset[str]] = frozenset(get_args(Action))
QUESTIONS: Final[frozenset[str]] = frozenset(get_args(Question))
HOUSEKEEPING: Final[frozenset[str]] = frozenset(get_args(Housekeeping))
REMEMBERED: Final = 1_000
LONGEST_ID: Final = 100
CONTROL_WAIT_S: Final = 0.03
"""How long the control channel's answer waits for the action, without blocking anything."""
REST_S: Final = 0.2
"""How long an action that was asked for more than `BUSY_S` ago waits for its withdrawal."""

ACTION_WORKER: Final = Worker("tiledag-actions")


class BadRequest(ValueError):
    """A request that no page of ours sends."""


class Checked(TypedDict):
    """A request as it is known to be."""

    id: str
    kind: str
    nodes: list[int]
    visible: bool
    view: str
    of: str
    asked: float
    log: object


def check(request: object) -> Checked:
    """The request, if it is one.

    Raises:
        BadRequest: It is not, in words.
    """
    if not isinstance(request, dict):
        raise BadRequest("a request is an object")
    identity, kind = request.get("id"), request.get("kind")
    nodes, view = request.get("nodes") or [], request.get("view") or ""
    of, asked = request.get("of"), request.get("asked")
    if not isinstance(identity, str) or not 0 < len(identity) <= LONGEST_ID:
        raise BadRequest("a request has an id")
    if not isinstance(kind, str) or kind not in ACTIONS | QUESTIONS | HOUSEKEEPING:
        raise BadRequest(f"this version of the package does not know the request {str(kind)[:40]!r}")
    if not isinstance(nodes, list) or not all(type(node) is int and node >= 0 for node in nodes):
        raise BadRequest("nodes are given by index")
    return {
        "id": identity,
        "kind": kind,
        "nodes": nodes,
        "visible": bool(request.get("visible", True)),
        "view": view[:LONGEST_ID] if isinstance(view, str) else "",
        "of": of[:LONGEST_ID] if isinstance(of, str) else "",
        "asked": float(asked) if isinstance(asked, (int, float)) else math.inf,
        "log": request.get("log"),
    }


class Desk:
    """Takes the requests that pages send to one graph.

    Args:
        source: The graph.
        feed: What its pages are told.
        actions: Where actions run.
        questions: Where questions are answered; a thread of its own by default.
        log: Knows what the nodes print.
    """

    def __init__(
        self,
        source: GraphSource,
        feed: Feed,
        *,
        actions: Worker = ACTION_WORKER,
        questions: Worker | None = None,
        log: LogDesk | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._feed = feed
        self._actions = actions
        self._questions = questions or Worker("tiledag-preview", patience=PATIENCE_S)
        self._wall = wall
        self._lock = threading.Lock()
        self._taken: OrderedDict[str, Future[Ack | None]] = OrderedDict()
        self._withdrawn: OrderedDict[str, None] = OrderedDict()
        self.log = log or LogDesk(NoLines(), list, int)
        _DESKS[source.graph_id] = self

    def take(self, request: object) -> Future[Ack | None]:
        """Have a request carried out, unless it was already taken. Never raises.

        Returns:
            The answer to come, of the first request with this id; None for what has no `Ack`.
        """
        try:
            checked = check(request)
        except BadRequest as error:
            return self._refuse(request, str(error))
        answer: Future[Ack | None] = Future()
        with self._lock:
            known = self._taken.get(checked["id"])
            if known is not None:
                return known
            self._taken[checked["id"]] = answer
            if len(self._taken) > REMEMBERED:
                self._taken.popitem(last=False)
        kind = checked["kind"]
        if kind.startswith("log_") and kind in QUESTIONS:
            answer.set_result(None)
            self.log.worker.submit(lambda: self._reply(checked))
        elif kind in ACTIONS:
            self._actions.submit(lambda: self._act(checked, answer))
        elif kind in QUESTIONS:
            answer.set_result(None)
            self._questions.submit(lambda: self._reply(checked))
        else:
            answer.set_result(None)
            self._keep_house(checked)
        return answer

    def _refuse(self, request: object, message: str) -> Future[Ack | None]:
        answer: Future[Ack | None] = Future()
        identity = request.get("id") if isinstance(request, dict) else None
        ack: Ack | None = None
        if isinstance(identity, str) and 0 < len(identity) <= LONGEST_ID:
            ack = {"type": "ack", "id": identity, "ok": False, "message": message, "count": 0}
            self._feed.answer(ack)
        answer.set_result(ack)
        _log.debug("a request was refused: %s", message)
        return answer

    # --- actions: on the actions' thread ----------------------------------------------------------------

    def _act(self, request: Checked, answer: Future[Ack | None]) -> None:
        ok, count = False, 0
        if self._wall() - request["asked"] > BUSY_S:
            # It stood in a queue, and what was sent after it stands right behind.
            time.sleep(REST_S)
        try:
            if request["id"] in self._withdrawn:
                raise RuntimeError("Withdrawn.")
            count = self._carry_out(request["kind"], request["nodes"])
            ok, message = True, said(request["kind"], count)
        except (RuntimeError, LookupError, ValueError) as error:
            message = str(error) or type(error).__name__
        except BaseException as error:  # a user's callback may be behind it
            _log.exception("the request %r failed", request["kind"])
            message = f"{type(error).__name__}: {_text(error)}"
        ack: Ack = {"type": "ack", "id": request["id"], "ok": ok, "message": message[:2000], "count": count}
        self._feed.answer(ack)
        answer.set_result(ack)

    def _carry_out(self, kind: str, nodes: list[int]) -> int:
        source = self._source
        if kind == "retry_failed":
            return source.retry_failed()
        if kind == "cancel_graph":
            return source.cancel_graph()
        if not nodes:
            raise ValueError("no node was chosen")
        if kind == "retry":
            return source.retry(nodes)
        if kind == "retry_from":
            return source.retry(nodes, descendants=True)
        if kind == "cancel":
            return source.cancel(nodes)
        return source.stop(nodes)

    # --- questions: on the view's own thread ------------------------------------------------------------

    def _reply(self, request: Checked) -> None:
        reply: Reply = {"type": "reply", "id": request["id"], "body": None, "error": None}
        try:
            reply["body"] = self._look_up(request["kind"], request["nodes"], request["log"])
        except BaseException as error:  # what a user's repr raises may be anything
            reply["error"] = f"{type(error).__name__}: {_text(error)}"[:2000]
        self._feed.answer(reply)

    def _look_up(self, kind: str, nodes: list[int], log: object) -> dict[str, Any]:
        if kind == "log_file":
            return dict(self._log_file(log))
        if kind.startswith("log_"):
            return self.log.answer(kind, log)
        if kind == "errors":
            text = json.dumps(errors_of(self._source), separators=(",", ":"))
            return dict(Sent(number=self._feed.send_column("file", text.encode()), name=""))
        if kind == "tape":
            return dict(Sent(number=self._feed.send_column("tape", self._source.tape().to_bytes()), name=""))
        if kind.startswith("export_"):
            name, text = self._export(kind.removeprefix("export_"))
            return dict(Sent(number=self._feed.send_column("file", text.encode()), name=name))
        if kind.startswith("pace_"):
            return dict(Paced(pace=self._source.set_pace(int(kind.removeprefix("pace_")) / 1000)))
        if not nodes:
            raise ValueError("no node was chosen")
        if kind == "rich":
            return self._rich(nodes[0])
        if kind == "preview":
            return dict(preview(self._source.result(nodes[0])))
        return dict(node_detail(self._source.node(nodes[0]), self._source))

    def _rich(self, node: int) -> dict[str, Any]:
        head, data = rich(self._source.result(node))
        if data:
            head["number"] = self._feed.send_column("file", data)
        return dict(head)

    def _log_file(self, log: object) -> Sent:
        from . import export

        name = export.file_name(self._source.title, "html").removesuffix(".html") + ".log"
        return Sent(number=self._feed.send_column("file", self.log.file(log).encode(errors="replace")), name=name)

    def _export(self, form: str) -> tuple[str, str]:
        from . import export

        return export.file_name(self._source.title, form), export.made(self._source, form)

    # --- housekeeping: where it comes in ----------------------------------------------------------------

    def _keep_house(self, request: Checked) -> None:
        kind = request["kind"]
        if kind == "withdraw":
            with self._lock:
                self._withdrawn[request["of"]] = None
                if len(self._withdrawn) > REMEMBERED:
                    self._withdrawn.popitem(last=False)
        elif kind == "log_follow":
            self.log.follow(request["view"], request["log"])
        elif kind == "visible":
            self._feed.set_visible(request["view"], request["visible"])
        elif kind == "code":
            self._feed.send_code(request["id"])
        elif kind == "ping":
            self._feed.answer({"type": "reply", "id": request["id"], "body": {"now": self._wall()}, "error": None})
        elif kind == "plain":
            self._feed.give_up()
        elif kind == "tidy":
            self._feed.tidy()
        else:
            self._feed.open(request["view"])


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its text cannot be made)"


def said(kind: str, count: int) -> str:
    """What an action did, in words."""
    nodes = f"{count:,} node{'' if count == 1 else 's'}"
    if kind in ("retry", "retry_failed", "retry_from"):
        return f"{nodes} will run again." if count else "Nothing to run again: no node here is Failed or Cancelled."
    if kind == "stop":
        return f"{nodes} being ended." if count else "Nothing to end: no node here is Running."
    return f"{nodes} will not start." if count else "Nothing to cancel: no node here is Not Started."


_DESKS: Final[weakref.WeakValueDictionary[str, Desk]] = weakref.WeakValueDictionary()


# --- the control channel --------------------------------------------------------------------------------


def desk_of(graph_id: object) -> Desk | None:
    """The desk of a graph that has a view."""
    return _DESKS.get(graph_id) if isinstance(graph_id, str) else None


def register_control(kernel: Any) -> bool:
    """Let this kernel serve `CONTROL_TYPE` on its control channel. Once is enough; True if it does.

    ipykernel has had the table of handlers since long, but nobody promises it: without it the comm has to do.
    """
    handlers = getattr(kernel, "control_handlers", None)
    if not isinstance(handlers, dict):
        return False
    if CONTROL_TYPE in handlers:
        return True

    async def handle(stream: Any, ident: Any, parent: Any) -> None:
        reply = await control_reply(parent.get("content") if isinstance(parent, dict) else None)
        try:
            kernel.session.send(stream, CONTROL_REPLY, reply, parent, ident)
        except Exception:
            _log.debug("no reply on the control channel", exc_info=True)

    handlers[CONTROL_TYPE] = handle
    return True


async def control_reply(content: object) -> Ack | Queued:
    """Hand a command on and answer it. Runs on the Control thread and leaves its loop free while it waits."""
    identity = str(content.get("id", "")) if isinstance(content, dict) else ""
    desk = desk_of(content.get("graph")) if isinstance(content, dict) else None
    if desk is None:
        return {"type": "ack", "id": identity, "ok": False, "message": "This kernel shows no such graph.", "count": 0}
    answer = desk.take(content)
    try:
        ack = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answer)), CONTROL_WAIT_S)
    except (asyncio.TimeoutError, RuntimeError):  # not there yet, or a kernel whose loop is not asyncio's
        ack = None
    return ack if ack is not None else {"id": identity, "queued": True}


def keep_asked_route(comm: Any) -> bool:
    """Let pages choose where their messages are handled: ipykernel 7.4 has each comm remember from where Python last
    sent on it and reroutes, which brings clicks to a main thread that is busy. True if the comm had such a memory.

    See ``BaseComm._reply_subshell_for`` there; a test fails when that name vanishes.
    """
    if not callable(getattr(comm, "_reply_subshell_for", None)):
        return False
    try:
        comm._reply_subshell_for = _as_asked
    except Exception:
        return False
    return True


def _as_asked(data: object, default: object) -> object:
    return default
