"""Requests: checked, carried out once whatever way they come, answered."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from typing import Any

import pytest

from tiledag_widget.core.states import AddNode, Began, Failed, Finished, Start
from tiledag_widget.view import control, details
from tiledag_widget.view.control import Desk, control_reply, desk_of, keep_asked_route, register_control
from tiledag_widget.view.details import errors_of
from tiledag_widget.view.messages import CONTROL_REPLY, CONTROL_TYPE, ERROR_CUT
from tiledag_widget.view.worker import Worker

from .fake_source import FakeSource

AT = 1_700_000_000.0


class Answers:
    """Stands for the feed."""

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.opened: list[str] = []
        self.visible: list[tuple[str, bool]] = []
        self.came = threading.Condition()

    def answer(self, message: Any) -> None:
        with self.came:
            self.answers.append(message)
            self.came.notify_all()

    def open(self, view: str = "") -> None:
        self.opened.append(view)

    def set_visible(self, view: str, is_visible: bool) -> None:
        self.visible.append((view, is_visible))

    def wait_for(self, count: int) -> list[Any]:
        with self.came:
            assert self.came.wait_for(lambda: len(self.answers) >= count, 3), self.answers
            return list(self.answers)


class Room:
    """A desk with all that is behind it."""

    def __init__(self, source: FakeSource | None = None) -> None:
        self.source = source or failed_graph()
        self.feed = Answers()
        self.questions = Worker("test-preview", idle=0.02, patience=0.1)
        self.desk = Desk(
            self.source,
            self.feed,  # type: ignore[arg-type]  # a stand-in with the three methods that a desk calls
            actions=Worker("test-actions", idle=0.02),
            questions=self.questions,
            wall=lambda: 12.5,
        )


def failed_graph(**options: Any) -> FakeSource:
    """0 failed and blocks 1; 2 is Completed."""
    source = FakeSource(**options)
    source.handle(AddNode(()), AddNode((0,)), AddNode(()), Start(AT))
    source.handle(Began(0, 1, AT, 0), Failed(0, 1, AT), Began(2, 1, AT, 0), Finished(2, 1, AT))
    return source


def request(kind: str, *nodes: int, identity: str = "r1", **more: Any) -> dict[str, Any]:
    return {"id": identity, "kind": kind, "nodes": list(nodes), **more}


@pytest.mark.parametrize(
    ("kind", "nodes", "called"),
    [
        ("retry", [0], ("retry", (0,), False)),
        ("retry_from", [0], ("retry", (0,), True)),
        ("retry_failed", [], ("retry", (0,), False)),
        ("cancel", [1], ("cancel", (1,))),
        ("cancel_graph", [], ("cancel_graph",)),
    ],
)
def test_actions_are_carried_out_and_answered(kind: str, nodes: list[int], called: tuple[Any, ...]) -> None:
    room = Room()
    room.desk.take(request(kind, *nodes))
    (ack,) = room.feed.wait_for(1)
    assert (ack["type"], ack["id"], ack["ok"]) == ("ack", "r1", True)
    assert room.source.calls == [called]


def test_what_waited_for_a_busy_kernel_can_be_withdrawn() -> None:
    """Both stand in the queue of a blocked cell, the withdrawal right behind."""
    room = Room()
    room.desk.take(request("retry", 0, asked=1.0))
    room.desk.take({"id": "r2", "kind": "withdraw", "of": "r1"})
    (ack,) = room.feed.wait_for(1)
    assert (ack["ok"], ack["message"]) == (False, "Withdrawn.")
    assert room.source.calls == []


def test_a_withdrawal_that_overtakes_its_action_counts_too() -> None:
    room = Room()
    room.desk.take({"id": "r2", "kind": "withdraw", "of": "r1"})
    room.desk.take(request("retry", 0, asked=12.4))
    (ack,) = room.feed.wait_for(1)
    assert not ack["ok"]
    assert room.source.calls == []


def test_what_the_graph_refuses_is_said_in_its_words() -> None:
    room = Room()
    room.desk.take(request("stop", 1))
    (ack,) = room.feed.wait_for(1)
    assert not ack["ok"]
    assert ack["message"].startswith("Threads cannot be ended")


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"id": "x"},
        {"id": 5, "kind": "retry"},
        {"id": "", "kind": "retry"},
        {"id": "x" * 101, "kind": "retry"},
        {"id": "x", "kind": "explode"},
        {"id": "x", "kind": ["retry"]},
        {"id": "x", "kind": "retry", "nodes": "0"},
        {"id": "x", "kind": "retry", "nodes": [-1]},
        {"id": "x", "kind": "retry", "nodes": [True]},
        {"id": "x", "kind": "retry", "nodes": []},
        {"id": "x", "kind": "retry", "nodes": [99]},
        {"id": "x", "kind": "cancel", "nodes": [2**70]},
    ],
)
def test_a_bad_request_does_nothing(bad: object) -> None:
    room = Room()
    before = bytes(room.source.machine.status)
    ack = room.desk.take(bad).result(3)
    assert ack is None or not ack["ok"]
    assert bytes(room.source.machine.status) == before


def test_a_request_on_two_channels_acts_once() -> None:
    room = Room()
    barrier = threading.Barrier(8)
    answers = []

    def send() -> None:
        barrier.wait()
        answers.append(room.desk.take(request("cancel_graph", identity="same")))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(answer) for answer in answers}) == 1
    answers[0].result(3)
    time.sleep(0.02)
    assert room.source.calls == [("cancel_graph",)]
    assert len(room.feed.answers) == 1


def test_ids_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REMEMBERED", 10)
    room = Room()
    for number in range(50):
        room.desk.take(request("visible", identity=str(number), visible=False, view="v"))
    assert len(room.desk._taken) == 10


def test_housekeeping() -> None:
    room = Room()
    room.desk.take(request("open", identity="a", view="v1"))
    room.desk.take(request("resync", identity="b"))
    room.desk.take(request("visible", identity="c", view="v1", visible=False))
    room.desk.take(request("ping", identity="d"))
    assert room.feed.opened == ["v1", ""]
    assert room.feed.visible == [("v1", False)]
    assert room.feed.answers == [{"type": "reply", "id": "d", "body": {"now": 12.5}, "error": None}]


def test_questions_are_answered() -> None:
    room = Room()
    room.source.results[2] = [1, 2, 3]
    room.desk.take(request("node", 0, identity="a"))
    room.desk.take(request("preview", 2, identity="b"))
    room.desk.take(request("preview", 0, identity="c"))
    room.desk.take(request("node", identity="d"))
    room.desk.take(request("node", 77, identity="e"))
    node, preview, none, empty, far = room.feed.wait_for(5)
    assert node["body"]["name"] == "node-0"
    assert preview["body"] == {"type": "list", "size": "3 items", "text": "[1, 2, 3]"}
    assert none["body"] is None
    assert none["error"].startswith("KeyError")
    assert empty["error"] == "ValueError: no node was chosen"
    assert far["error"].startswith("IndexError")


def test_a_tape_and_an_export_come_as_columns_that_the_reply_names() -> None:
    """A replay or a file would never arrive: no message has room for it."""
    room = Room()
    sent: list[tuple[str, bytes]] = []

    def send_column(column: str, data: bytes) -> int:
        sent.append((column, data))
        return len(sent)

    room.feed.send_column = send_column  # type: ignore[attr-defined]
    room.desk.take(request("tape", identity="a"))
    room.desk.take(request("export_mermaid", identity="b"))

    tape, mermaid = room.feed.wait_for(2)

    assert tape["body"] == {"number": 1, "name": ""}
    assert mermaid["body"]["number"] == 2
    assert mermaid["body"]["name"].endswith(".mmd")
    assert [column for column, _ in sent] == ["tape", "file"]
    assert sent[1][1].startswith(b"flowchart")


def test_the_errors_of_all_failed_nodes_come_as_one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search for an error would find the failures that somebody has looked at, and no other."""

    class Rude(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    errors = [ValueError("a"), OSError("b" * 2 * ERROR_CUT), ValueError("a"), None, Rude(), KeyError("k")]
    source = FakeSource()
    source.handle(*[AddNode(()) for _ in errors], AddNode(()), Start(AT))
    for node, error in enumerate(errors):
        source.handle(Began(node, 1, AT, 0), Failed(node, 1, AT + 1))
        source.facts[node] = {"error": error}
    source.facts[len(errors)] = {"error": ValueError("of a node that did not fail")}
    room = Room(source)
    sent: list[bytes] = []

    def send_column(column: str, data: bytes) -> int:
        sent.append(data)
        return 5

    room.feed.send_column = send_column  # type: ignore[attr-defined]

    room.desk.take(request("errors", identity="a"))

    assert room.feed.wait_for(1)[0]["body"] == {"number": 5, "name": ""}
    found = json.loads(sent[0])
    assert found["nodes"] == [0, 1, 2, 4, 5]
    assert found["of"] == [0, 1, 0, 2, 3]
    assert found["texts"][:2] == ["ValueError: a", f"OSError: {'b' * ERROR_CUT}"[:ERROR_CUT]]
    assert found["texts"][2].startswith("Rude")
    assert found["texts"][3] == "KeyError: 'k'"

    monkeypatch.setattr(details, "ERRORS_SIZE", len("ValueError: a"))
    assert errors_of(source) == {"texts": ["ValueError: a"], "nodes": [0, 2], "of": [0, 0]}


def test_a_repr_that_takes_for_ever_does_not_stop_other_answers() -> None:
    room = Room()
    go_on = threading.Event()

    class Slow:
        def __repr__(self) -> str:
            go_on.wait(5)
            return "slow"

    room.source.results[2] = Slow()
    room.desk.take(request("preview", 2, identity="slow"))
    room.desk.take(request("node", 0, identity="quick"))
    assert room.feed.wait_for(1)[0]["id"] == "quick"
    go_on.set()
    assert room.feed.wait_for(2)[1]["body"]["text"] == "slow"


def test_a_repr_that_ends_the_process_does_not() -> None:
    room = Room()

    class Hostile:
        def __repr__(self) -> str:
            raise SystemExit

    room.source.results[2] = Hostile()
    room.desk.take(request("preview", 2))
    assert "SystemExit" in room.feed.wait_for(1)[0]["body"]["text"]


def test_workers_end_when_there_is_nothing_to_do() -> None:
    worker = Worker("test-ends", idle=0.01)
    done = threading.Event()
    for _ in range(50):
        done.clear()
        worker.submit(done.set)
        assert done.wait(2)
        time.sleep(0.011)
    deadline = time.monotonic() + 2
    while any(thread.name == "test-ends" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- the control channel ------------------------------------------------------------------------------------


class FakeKernel:
    """As much of ipykernel as the handler touches."""

    def __init__(self) -> None:
        self.control_handlers: dict[str, Any] = {}
        self.session = self
        self.sent: list[tuple[Any, ...]] = []

    def send(self, *args: Any) -> None:
        self.sent.append(args)


def test_the_control_channel_answers_with_the_ack() -> None:
    room = Room()
    kernel = FakeKernel()
    assert register_control(kernel)
    handler = kernel.control_handlers[CONTROL_TYPE]
    assert register_control(kernel)
    assert kernel.control_handlers[CONTROL_TYPE] is handler, "registered once"
    parent = {"content": request("cancel_graph", graph=room.source.graph_id)}
    asyncio.run(handler("stream", "ident", parent))
    ((stream, kind, content, answered, ident),) = kernel.sent
    assert (stream, kind, answered, ident) == ("stream", CONTROL_REPLY, parent, "ident")
    assert (content["type"], content["id"], content["ok"]) == ("ack", "r1", True)


def test_the_control_channel_does_not_wait_for_a_slow_action() -> None:
    room = Room()
    go_on = threading.Event()
    room.source.cancel_graph = lambda: int(go_on.wait(5))  # type: ignore[method-assign]  # a callback that takes long
    start = time.monotonic()
    reply = asyncio.run(control_reply(request("cancel_graph", graph=room.source.graph_id)))
    assert time.monotonic() - start < 0.5
    assert reply == {"id": "r1", "queued": True}
    go_on.set()
    room.feed.wait_for(1)


@pytest.mark.parametrize("content", [None, {}, {"id": "x", "kind": "retry", "graph": "nobody"}, {"graph": 5}])
def test_the_control_channel_refuses_what_it_does_not_know(content: object) -> None:
    reply: Any = asyncio.run(control_reply(content))
    assert not reply["ok"]


def test_a_desk_is_found_by_its_graph_and_forgotten_with_it() -> None:
    room = Room(failed_graph(graph_id="one"))
    assert desk_of("one") is room.desk
    del room
    import gc

    gc.collect()
    assert desk_of("one") is None


def test_a_kernel_without_the_table_is_left_alone() -> None:
    assert not register_control(None)
    assert not register_control(object())


# --- private names of ipykernel -----------------------------------------------------------------------------


def test_ipykernel_has_the_names_that_this_relies_on() -> None:
    """If this fails, a new ipykernel needs another way, or buttons wait for the cell: see `keep_asked_route`."""
    ipykernel = pytest.importorskip("ipykernel")
    import inspect

    from ipykernel.comm.comm import BaseComm
    from ipykernel.kernelbase import Kernel

    assert "control_handlers" in inspect.getsource(Kernel)
    if ipykernel.version_info >= (7, 4):
        assert callable(BaseComm._reply_subshell_for)
        assert "_reply_subshell_for" in inspect.getsource(Kernel), "it is what the kernel asks"


def test_the_comm_of_ipykernel_keeps_the_route_that_was_asked_for() -> None:
    ipykernel = pytest.importorskip("ipykernel")
    from ipykernel.comm.comm import BaseComm

    comm: Any = BaseComm(primary=False)  # type: ignore[no-untyped-call]  # ipykernel carries no types
    assert keep_asked_route(comm) == (ipykernel.version_info >= (7, 4))
    if keep_asked_route(comm):
        comm._reply_subshell_id = "main"
        assert comm._reply_subshell_for({}, "asked") == "asked"


def test_other_comms_are_left_alone() -> None:
    assert not keep_asked_route(object())
    assert not keep_asked_route(None)
