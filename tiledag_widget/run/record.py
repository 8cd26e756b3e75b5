"""The record of runs whose functions run here: sent to the server in the background, after the fact.

**What is recorded.** A graph of local nodes only: its structure, statuses, and each attempt with its begin, end, error
and output, on the embedded server (started when the graph has run, if none is running). On a configured server only
with ``DAG(record=True)``; ``DAG(record=False)`` or ``TILEDAG_RECORD=0`` records no such graph. A graph with server
nodes, on a server of ours: all of it, but for the executions that the server sees itself.

**Guarantees**

- Nothing here is waited for, and nothing here fails a run. A run costs the look at the settings when it starts and a
  put into a queue when it ends; everything else happens on a thread of its own, with pauses while graphs run.
- What waits to be sent is bounded (`MOST_WAITING` nodes) and holds no graph: results are let go as without a record.
- A server that does not answer, or says "come back later", is asked again, less and less often. That it cannot be
  had is said once.
- What is not sent when the interpreter ends is left as files in the data folder; the next server takes them in. Of runs
  on a configured server, which looks into no folder of ours, it is sent then, for `EXIT_S` at most.

**Thread**: ``tiledag-record`` from `run.threads`, from the start of a recorded graph until it is on record.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import queue
import threading
import time
import uuid
import weakref
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from ..errors import InvalidBody, ServerError, ServerNeeded, ServerUnreachable, safe_text
from ..settings import BadSettings, data_folder, server_settings
from ..wire.records import UNSENT, RunNode, RunRecord, this_process
from .graphs import running_drivers
from .record_facts import Look, look_at, records_of
from .remote_calls import RemoteGraph
from .threads import threads

if TYPE_CHECKING:
    from ..wire.client import Client

_log = logging.getLogger("tiledag_widget.run")

GRACE_S: Final = 1.0
"""From the end of a graph to the first attempt at a server: a script that ends there starts none."""
LATEST_S: Final = 15.0
FIRST_AFTER_S: Final = 0.25
"""The first nodes of a graph go before its record: they share the way to the server, and somebody waits for them."""
LIVE_AFTER_S: Final = 5.0
TOGETHER_S: Final = 0.05
"""Graphs that end within so many seconds are looked at together: waking for each would cost them more than the look."""
LIVE_EVERY_S: Final = 2.0
REST: Final = 4.0
"""While graphs run, the thread rests for so many times the time it has just used."""
RETRY_S: Final = (1.0, 60.0)
COME_BACK: Final = (408, 429)
"""Statuses below 500 that say nothing of the record: it came too slowly, or with too many others."""
MOST_NODES: Final = 50_000
"""A graph of more is not recorded."""
MOST_WAITING: Final = 200_000
MOST_FILES: Final = 1_000
EXIT_S: Final = 3.0
_OFF: Final = ("0", "off", "false", "no")


@dataclass(slots=True, eq=False)
class _Run:
    """One graph on its way to the record. Changed by the recorder's thread alone, but for `ends`."""

    graph: RemoteGraph | None
    """Held while it runs, and from an end until that was looked at."""
    ref: weakref.ref[Any]
    log_id: uuid.UUID
    is_mixed: bool
    """It has server nodes: that server keeps its record, and knows more of those nodes."""
    client: Client | None
    target: str | None
    """Address of a configured server; None: the embedded one."""
    due: float
    latest: float = 0.0
    """Until when what has ended makes way for what runs."""
    is_asked_for: bool = False
    """By ``record=True``; else nobody is told that there is no record."""
    revision: int = 0
    is_known: bool = False
    """Its structure is on the way or sent."""
    is_owned: bool = False
    """The server was told which process this is."""
    looks: list[Look] = field(default_factory=list)
    """Taken, and not made into records yet."""
    waiting: list[RunRecord] = field(default_factory=list)
    tries: int = 0
    ends: int = 0
    """How often it has ended; a retry makes it end once more."""
    looked_at: int = 0
    """How many of these ends were looked at."""
    was_lost: bool = False
    """A server had no record of it any more, and has been told all of it once more."""

    @property
    def has_ended(self) -> bool:
        return self.ends > 0

    @property
    def has_begun(self) -> bool:
        """A graph of local nodes is watched from just before its start, and has nothing to tell until then."""
        graph = self.ref()
        return self.has_ended or self.is_mixed or (graph is not None and graph._driver.machine.is_started)

    @property
    def is_far(self) -> bool:
        """It is for a configured server."""
        return self.target is not None and not (self.client is not None and self.client.is_embedded)

    def make_records(self) -> None:
        """Of all that was looked at."""
        while self.looks:
            self.waiting += records_of(self.looks.pop(0))


@dataclass(frozen=True, slots=True)
class _AtEnd:
    """What a graph calls at its end; by it a graph is known that is watched already."""

    recorder: Recorder
    run: _Run

    def __call__(self) -> None:
        self.recorder._ended(self.run)


def _size(run: _Run) -> int:
    """Nodes that wait to be sent."""
    waiting = sum(len(record.nodes or ()) for record in list(run.waiting))
    return waiting + sum(len(look.nodes) for look in list(run.looks))


class Recorder:
    """Keeps the records of the graphs of this process. Safe from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._news: deque[tuple[_Run, RemoteGraph | None]] = deque()
        """Graphs that have ended. Each stands here until it is among the runs, so that it is always to be found."""
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._runs: dict[_Run, None] = {}
        self._is_working = False
        self._is_closing = False
        self._is_last = False
        """That only what is for configured servers is sent: the interpreter ends."""
        self._asked = 0
        """How often somebody asked for all to be sent now."""
        self._served = 0
        """For so many of them a round of sending has been made; what it could not send is left for later."""
        self._failed = 0
        """The last of these rounds that could not send something."""
        self._has_failed = False
        """That the present round could not."""
        self._told: set[str] = set()
        self._can_serve: bool | None = None

    # --- what graphs call -----------------------------------------------------------------------------------

    def consider(self, graph: RemoteGraph, wanted: bool | None) -> None:
        """Record a graph of local nodes that is about to start, if that is wanted. Never raises."""
        if _is_off(wanted):
            return
        try:
            target = server_settings().host
        except BadSettings as error:
            self._tell("settings", "runs are not recorded: %s", error)
            return
        if target is not None and not wanted:
            return
        if target is None and self._can_serve is False and not wanted:
            return
        if not graph._nodes:
            return
        if len(graph._nodes) > MOST_NODES:
            self._tell("size", "graphs of more than %d nodes are not recorded", MOST_NODES)
            return
        due = _now() + LIVE_AFTER_S
        self._watch(
            graph, _Run(graph, weakref.ref(graph), uuid.uuid4(), False, None, target, due, is_asked_for=bool(wanted))
        )

    def follow(self, graph: RemoteGraph, client: Client, log_id: uuid.UUID) -> None:
        """Keep the record of a graph with server nodes, which has begun, on a server of ours."""
        if graph._driver.on_end is not None:
            return  # its server has ended, and it has found another one with the same records
        target = None if client.is_embedded else client.url
        run = _Run(graph, weakref.ref(graph), log_id, True, client, target, _now() + FIRST_AFTER_S)
        self._watch(graph, run)
        if graph._driver.machine.is_ended:
            self._ended(run)

    def _watch(self, graph: RemoteGraph, run: _Run) -> None:
        driver = graph._driver
        with self._guard:
            if isinstance(driver.on_end, _AtEnd):  # started by two threads at once, or once more after an interrupt
                before = driver.on_end.run
                if before.has_ended or before in self._runs:
                    return
                before.graph, before.due = graph, run.due
                run = before
            else:
                driver.on_end = _AtEnd(self, run)
            self._runs[run] = None
        self._start()

    def _ended(self, run: _Run) -> None:
        """Called inside the step that ends the graph, whose lock is held: must not wait for anything."""
        run.ends += 1
        # With the graph: after a retry nobody else may hold it any more when this is looked at.
        self._news.append((run, run.ref()))
        self._bell.put(None)
        if not self._is_working:
            self._start()

    def _tell(self, what: str, text: str, *values: object) -> None:
        """Warn, once for each kind of trouble; later ones are for who debugs."""
        _log.log(logging.DEBUG if what in self._told else logging.WARNING, text, *values)
        self._told.add(what)

    # --- the thread -----------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._guard:
            if self._is_working or self._is_closing:
                return
            self._is_working = True
        try:
            threads.start(self._work, "tiledag-record")
        except RuntimeError:  # the system gives no thread
            self._is_working = False

    def _work(self) -> None:
        while True:
            asked = self._asked  # before the news: what ends later was not meant
            try:
                self._take_news(self._pause())
                if not self._is_closing:
                    self._look_for_server()
                    self._look_after_runs(hurry=asked > self._served)
            except Exception:
                _log.exception("the records of runs could not be looked after")
                self._has_failed = True
                time.sleep(RETRY_S[0])
            with self._guard:
                self._served = asked
                if self._has_failed or self._is_closing:
                    self._failed = asked
                self._guard.notify_all()
                if self._runs and not self._is_closing:
                    continue
                # 1. we see nothing left; 2. a graph ends and puts itself into the queue, and sees that we work; 3. we
                # end. Saying that we do not work before looking once more settles it: one of the two sees the other.
                self._is_working = False
                if self._is_closing or not self._news:
                    self._served = self._asked  # nothing is left; else the next graph would be hurried, and not meant
                    return
                self._is_working = True

    def _look_for_server(self) -> None:
        """Lets go of what only the embedded server would take, where it is not installed."""
        if self._can_serve is None:
            # By name: the layers below the server need nothing of it but this door.
            self._can_serve = not importlib.import_module("tiledag_widget.server.launch").missing()
        if self._can_serve:
            return
        with self._guard:
            runs = [run for run in list(self._runs) if run.target is None and not run.is_mixed]
        for run in runs:
            if run.is_asked_for:
                self._tell("extra", "runs are not recorded: that needs `pip install 'tiledag-widget[server]'`")
            self._forget(run)

    def _pause(self) -> float:
        """Seconds until something is due."""
        with self._guard:
            dues = [run.due for run in list(self._runs)]
            if self._is_hurried():
                return 0.0
        return max(0.0, min(dues, default=0.0) - _now())

    def _is_hurried(self) -> bool:
        return self._asked > self._served

    def _take_news(self, patience: float) -> None:
        try:
            self._bell.get(timeout=patience) if patience > 0 else self._bell.get_nowait()
        except queue.Empty:
            return
        if self._news and self._news[0][0].client is None and not self._is_hurried() and not self._is_closing:
            time.sleep(min(TOGETHER_S, GRACE_S))
        with contextlib.suppress(queue.Empty):
            while True:
                self._bell.get_nowait()
        while self._news:
            run, graph = self._news[0]
            run.graph = graph
            with self._guard:
                self._runs[run] = None  # it may have been let go of just when it ended again
            self._news.popleft()
            del graph
            # With a server at hand there is nothing to spare anybody.
            run.due = _now() + (0.0 if run.client is not None else GRACE_S)
            run.latest = _now() + LATEST_S
            self._make_way()

    def _look_after_runs(self, hurry: bool) -> None:
        self._has_failed = False
        with self._guard:
            # First what nothing was in the way of: a server that hangs would keep the others waiting.
            runs = sorted(self._runs, key=lambda run: run.tries)
        if self._is_last:
            runs = [run for run in runs if run.is_far]
        for run in runs:
            if run.has_ended:
                self._take_final(run)
        self._drop_what_is_too_much()
        if running_drivers() and not hurry:
            self._make_way()
        for run in runs:
            if self._is_closing:
                return
            if run.due > _now() and not hurry:
                continue
            began = time.thread_time()
            if not run.has_begun:
                self._wait_for_start(run)
                continue
            if not run.has_ended:
                self._take_changes(run)
            self._send(run)
            if running_drivers() and not hurry:
                self._rest((time.thread_time() - began) * REST)

    def _wait_for_start(self, run: _Run) -> None:
        if run.due <= _now():  # called off just then; should it start after all, its end brings it back
            run.graph = None
            self._forget(run)

    def _make_way(self) -> None:
        """While graphs run, those that have ended wait a little longer: they are in no hurry, and in the way."""
        for run in list(self._runs):
            if run.has_ended and run.client is None:
                run.due = max(run.due, min(_now() + GRACE_S, run.latest))

    def _rest(self, seconds: float) -> None:
        if seconds > 0.001:
            time.sleep(min(seconds, 1.0))

    # --- from graphs to records -----------------------------------------------------------------------------

    def _take_final(self, run: _Run) -> None:
        """The end of a run, once; after that the graph is not needed any more."""
        if run.looked_at != run.ends:
            run.looked_at = run.ends  # before the look: what ends meanwhile is looked at again
            self._take_changes(run)
        run.graph = None  # what has ended meanwhile comes with its graph

    def _take_changes(self, run: _Run) -> None:
        graph = run.ref()
        if graph is None:
            return
        run.revision, look = look_at(graph, run.revision, run.is_known)
        run.is_known = True
        run.looks.append(look)

    def _drop_what_is_too_much(self) -> None:
        with self._guard:
            runs = list(self._runs)
        total = sum(map(_size, runs))
        for run in runs:
            if total <= MOST_WAITING:
                return
            if run.has_ended:
                total -= _size(run)
                self._forget(run)
                self._tell("many", "too many runs wait to be recorded; the oldest are left out")

    def _forget(self, run: _Run) -> None:
        run.looks.clear()
        run.waiting.clear()
        with self._guard:
            self._runs.pop(run, None)

    # --- to the server --------------------------------------------------------------------------------------

    def _send(self, run: _Run) -> None:
        run.make_records()
        if run.waiting and not run.is_owned and not run.has_ended:
            run.is_owned = True
            # Whatever happens from now on, somebody knows.
            run.waiting[0] = replace(run.waiting[0], owner=this_process())
        try:
            if run.waiting:
                self._deliver(run)
        except (ServerUnreachable, ServerNeeded, OSError) as error:
            self._put_off(run, error)
        except ServerError as error:
            is_for_later = error.http_status >= 500 or error.http_status in COME_BACK
            if is_for_later or (error.http_status == 404 and self._tell_again(run)):
                self._put_off(run, error)
            else:
                self._tell("refused", "the server does not take the record of a run: %s", safe_text(error))
                self._forget(run)
        except InvalidBody as error:
            self._tell("refused", "the server does not take the record of a run: %s", safe_text(error))
            self._forget(run)
        else:
            run.tries = 0
            if run.has_ended and run.looked_at == run.ends:
                self._forget(run)
            else:
                run.due = _now() + (0.0 if run.has_ended else LIVE_EVERY_S)

    def _tell_again(self, run: _Run) -> bool:
        """Has all of a run told once more, to a server whose data folder is not that of the one before."""
        graph = run.ref()
        is_foreign = not run.waiting  # see `_report`
        if run.is_mixed or run.was_lost or graph is None or is_foreign:
            return False
        run.was_lost = True
        run.looks.clear()
        run.waiting.clear()
        run.revision, run.is_known, run.is_owned = 0, False, False
        run.graph, run.looked_at = graph if run.has_ended else None, 0
        return True

    def _put_off(self, run: _Run, error: BaseException) -> None:
        self._tell("server", "runs cannot be recorded now, and go on without: %s", safe_text(error))
        if run.is_mixed and isinstance(error, ServerUnreachable):
            run.client = None  # that server has ended; the next one has the same records
        run.tries += 1
        run.due = _now() + min(RETRY_S[0] * 2.0 ** min(run.tries - 1, 16), RETRY_S[1])
        self._has_failed = True

    def _deliver(self, run: _Run) -> None:
        from ..wire import client as wire_client

        if run.client is None and run.is_mixed and run.target is None and not _is_any_running():
            raise ServerUnreachable("its server has ended, and there is no other one yet")
        client = run.client if run.client is not None else wire_client.current(hold=False)
        if not run.is_mixed and run.target is not None and client.url != run.target.rstrip("/"):
            raise ServerUnreachable(f"another server than {run.target} is configured by now")
        if not run.is_mixed and not client.is_ours():
            if run.has_ended:
                _report(client, run)
            return
        while run.waiting:
            client.put_run(run.log_id, run.waiting[0])
            del run.waiting[0]
        graph = run.ref()
        if graph is not None:
            graph.server_graph_uuid = run.log_id

    # --- the end --------------------------------------------------------------------------------------------

    def flush(self, timeout: float) -> bool:
        """Have everything up to now sent now. False when the time is over, or the server does not answer."""
        with self._guard:
            if not self._runs and not self._news:
                return True
            self._asked += 1
            asked = self._asked
            self._bell.put(None)
        self._start()
        with self._guard:
            self._guard.wait_for(lambda: self._served >= asked or not self._owes(), timeout)
            # What has begun or ended since was not meant.
            return not self._owes() or self._served >= asked > self._failed

    def _owes(self) -> bool:
        runs = list(self._runs)
        return bool(self._news) or any(
            run.has_ended or run.looks or run.waiting or (run.has_begun and not run.is_known) for run in runs
        )

    def statistics(self) -> dict[str, int]:
        """Numbers for tests and bug reports."""
        with self._guard:
            runs = list(self._runs)
        return {"runs": len(runs), "nodes": sum(map(_size, runs))}

    def close(self) -> None:
        """End the thread, and leave what is not sent as files for the next server. May be called twice."""
        with self._guard:
            if not self._runs and not self._is_working:
                return
        until = _now() + EXIT_S
        self._send_far(until)
        with self._guard:
            self._is_closing = True
            self._bell.put(None)
            self._guard.wait_for(lambda: not self._is_working, until - _now())
        try:
            self._take_news(0)
            with self._guard:
                runs, self._runs = list(self._runs), {}
            for run in runs:
                if run.has_ended:
                    self._take_final(run)
                if not run.is_far:
                    _leave(run)
        except Exception:
            _log.debug("records were lost at the end", exc_info=True)
        finally:
            self._is_closing = self._is_last = False

    def _send_far(self, until: float) -> None:
        """Have the recorder's thread send what is for configured servers; it may hang there, and we go on."""
        with self._guard:
            if not self._owes_far():
                return
            self._is_last = True
            self._asked += 1
            asked = self._asked
            self._bell.put(None)
        self._start()
        with self._guard:
            self._guard.wait_for(lambda: self._failed >= asked or not self._owes_far(), until - _now())
            owes = self._owes_far()
        if owes:
            self._tell("last", "runs may be missing on the record of their server, which could not be told")

    def _owes_far(self) -> bool:
        runs = {*self._runs, *(run for run, _ in list(self._news))}
        return any(run.is_far and (run.has_ended or run.looks or run.waiting) for run in runs)

    def forget(self) -> None:
        """After a fork: the thread is not there in the child."""
        self.__init__()  # type: ignore[misc]


def _now() -> float:
    return time.monotonic()


def _is_off(wanted: bool | None) -> bool:
    return wanted is False or (wanted is None and os.environ.get("TILEDAG_RECORD", "").strip().lower() in _OFF)


# --- other ways to the record -------------------------------------------------------------------------------


def _is_any_running() -> bool:
    """Whether there is an embedded server. Who needs one for a function starts it; somebody may have stopped it."""
    return importlib.import_module("tiledag_widget.server.launch").find() is not None


def _report(client: Client, run: _Run) -> None:
    """To a server that is not ours: the contract has statuses only, and no times."""
    from ..wire.models import LogStatus, TaskGraphLog, TaskGraphNodeMetadata, TaskStatus

    nodes: dict[str, RunNode] = {}
    name, status = None, None
    for record in run.waiting:
        name, status = name or record.name, record.status or status
        for node in record.nodes or ():
            before = nodes.get(node.client_node_uuid)
            nodes[node.client_node_uuid] = (
                node if before is None else RunNode(node.client_node_uuid, node.status, before.name, before.depends_on)
            )
    namespace = next((record.namespace for record in run.waiting if record.namespace), None)
    namespace = namespace or client.namespace("run_job")
    described = tuple(
        [TaskGraphNodeMetadata(one.client_node_uuid, one.name, one.depends_on, "client") for one in nodes.values()]
    )
    log_id = client.create_log(namespace, TaskGraphLog(name=name, namespace=namespace, nodes=described))
    run.waiting.clear()  # from here on it is there; a second try would make a second one
    for one in nodes.values():
        if one.status in ("COMPLETED", "FAILED", "CANCELLED"):
            client.report_node(namespace, log_id, uuid.UUID(one.client_node_uuid), TaskStatus(one.status))
    if status in ("succeeded", "failed", "cancelled"):
        client.update_log(namespace, log_id, LogStatus(status))
    graph = run.ref()
    if graph is not None:
        graph.server_graph_uuid = log_id


def _leave(run: _Run) -> None:
    """As files in the data folder, readable by their owner alone; the next server takes them in."""
    import json

    from ..wire.models import to_json

    run.make_records()
    folder = data_folder().expanduser().absolute() / UNSENT
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number, record in enumerate(run.waiting):
        path = folder / f"{run.log_id}.{number:06}.json"
        part = path.with_suffix(".part")
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(to_json(record), file)
        os.replace(part, path)
    files = sorted(folder.glob("*.json"), key=os.path.getmtime)
    for old in files[: max(0, len(files) - MOST_FILES)]:
        with contextlib.suppress(OSError):
            old.unlink()


recorder: Final = Recorder()

# Made before the driver registers its hook for a graph that starts: its graphs end before this.
atexit.register(recorder.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=recorder.forget)

__all__ = ["Recorder", "recorder"]
