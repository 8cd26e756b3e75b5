"""`DAG`: build a task graph, run it, watch it. The public API of TileDB Cloud's ``dag`` module.

``DAG``, ``Node``, ``Mode``, ``Status``, ``list_logs``, ``server_logs`` and ``replace_stored_params`` are all found
here. Where the behaviour differs from the reference, ``docs/differences.md`` says why.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Generator, Mapping
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Final, cast

from .building import Building
from .callbacks import Callbacks, call_callback
from .core.states import CANCELLED, COMPLETED, FAILED, NOT_STARTED, PARENT_FAILED, RUNNING, Mode, Status
from .errors import ParentFailedError
from .naming import NodesByName
from .node import Node, as_text, check_timeout
from .run import executors
from .run.driver import Driver
from .run.graphs import running_drivers
from .run.lanes import LaneDriver
from .showing import Showing

if TYPE_CHECKING:
    from .core.snapshot import GraphSource
    from .run.remote import RemoteRun

__all__ = [
    "DAG",
    "MIN_BATCH_RESOURCES",
    "Mode",
    "Node",
    "ParentFailedError",
    "Status",
    "list_logs",
    "replace_stored_params",
    "server_logs",
]

MIN_BATCH_RESOURCES: Final[Mapping[str, str]] = MappingProxyType({"cpu": "1", "memory": "2Gi"})
"""The least that a node of a BATCH graph can ask for."""


class DAG(Building, Showing):
    """A task graph: functions and what they wait for.

    Add nodes with `submit_local`, start with `compute`, watch with `visualize`, wait with `wait`. All methods are safe
    from any thread and from inside callbacks.

    Args:
        max_workers: How many nodes run at once; ``min(32, cores + 4)`` if None.
        use_processes: Run local functions in worker processes instead of threads.
        done_callback: Called with the graph each time it ends.
        update_callback: Called with the graph each time a node begins or ends.
        namespace: Whom server nodes are charged to.
        name: Shown in views and logs.
        mode: Where ``submit`` runs functions: on a server (REALTIME), here (LOCAL), or the whole graph on a server
            (BATCH).
        retry_strategy: How a server retries nodes (BATCH only).
        workflow_retry_strategy: How a server retries the whole graph (BATCH only).
        deadline: Seconds that the graph may take on a server (BATCH only).
        executor: Where local functions run instead: a ``concurrent.futures.Executor`` (never shut down here), or
            ``"threads"``, ``"processes"`` or ``"inline"``.
        record: A graph of local nodes only is put on the embedded server's record after it has run, if the extra
            ``server`` is installed. False does not; True does so also on a configured server.

    Raises:
        TypeError: ``executor`` or ``max_workers`` is of the wrong kind.
        ValueError: ``executor`` is an unknown name, or ``max_workers`` is below 1.

    Example:
        >>> from tiledag_widget import DAG
        >>> with DAG(name="sums") as dag:
        ...     parts = [dag.submit_local(sum, range(n)) for n in (10, 100)]
        ...     total = dag.submit_local(sum, parts)
        >>> total.result()
        4995
    """

    def __init__(
        self,
        max_workers: int | None = None,
        use_processes: bool = False,
        done_callback: Callable[[DAG], object] | None = None,
        update_callback: Callable[[DAG], object] | None = None,
        namespace: str | None = None,
        name: str | None = None,
        mode: Mode = Mode.REALTIME,
        retry_strategy: Any = None,
        workflow_retry_strategy: Any = None,
        deadline: int | None = None,
        *,
        executor: Any = None,
        record: bool | None = None,
    ) -> None:
        if not isinstance(mode, Mode):
            raise TypeError(f"mode must be a Mode such as Mode.LOCAL, got {mode!r}")
        self.id = uuid.uuid4()
        self.name = as_text(name)
        self._namespace = namespace
        self.mode = mode
        self.retry_strategy = retry_strategy
        self.workflow_retry_strategy = workflow_retry_strategy
        self.deadline = deadline
        self.server_graph_uuid: uuid.UUID | None = None
        self.visualization: dict[str, Any] | None = None
        self._max_workers = _checked_workers(max_workers, executor)
        self._use_processes = bool(use_processes)
        chosen = executors.choose(executor, self._use_processes)
        self._observer = Callbacks(self, done_callback, update_callback)
        self._driver = self._new_driver(chosen, executor)
        self._cyclic: tuple[tuple[int, int], ...] = ()  # see `core.snapshot.Structure`
        if self._observer.done or self._observer.update:
            self._driver.expect_callbacks()
        self._nodes = cast("list[Node[Any]]", self._driver.tasks)
        self._by_id: dict[uuid.UUID, Node[Any]] = {}
        self._by_name = NodesByName()
        self._suffixes: dict[str, int] = {}
        self._source: GraphSource | None = None
        self._widgets: dict[bool, Any] = {}
        self._remote: RemoteRun | None = None
        self._record = None if record is None else bool(record)
        self._build_lock = threading.RLock()

    def _new_driver(self, chosen: executors.Executor, executor: Any) -> Driver:
        label = str(self.name or self.id)
        if self.mode is not Mode.BATCH:
            return LaneDriver(self._observer, chosen, self.max_workers, label)
        if executor is not None:
            raise ValueError("executor=... runs local functions; a BATCH graph runs on the server as a whole")
        from .run.batch import BatchDriver
        from .run.batch_body import check_graph

        check_graph(self)
        return BatchDriver(self, Node, self._observer, self.max_workers, label)

    # --- identity ---------------------------------------------------------------------------------------

    _has_no_pickled_form = True

    @classmethod
    def attach(cls, uuid: Any, namespace: str | None = None) -> DAG:
        """The graph of a run that a server has on record: to follow it while it runs, and to read it afterwards.

        Names, structure, statuses, errors and results are those of the server. The run of a BATCH graph can be
        cancelled and retried from here; of any other only its record is there.

        Args:
            uuid: ``DAG.server_graph_uuid``, or the ``uuid`` of a log.
            namespace: Whose run it is; where calls of yours are charged if None.

        Raises:
            ValueError: That is no id of a run.
            ServerNeeded: There is no server.
            ServerError: It has no such run.
            ServerUnreachable: It does not answer.
        """
        from .batch_node import attach
        from .wire import client as wire_client

        run = _run_id(uuid)
        client = wire_client.current()
        namespace = namespace or client.namespace("run_job")
        log = client.log(namespace, run)
        dag = cls(name=log.name, namespace=namespace, mode=Mode.BATCH)
        attach(dag, client, namespace, log)
        return dag

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.id == other.id)

    def __repr__(self) -> str:
        return f"<DAG {self.name or str(self.id)!r} {self.status}, {len(self._nodes)} nodes>"

    def __reduce__(self) -> Any:
        raise TypeError(f"{self!r} cannot be sent to another process")

    # --- properties -------------------------------------------------------------------------------------

    @property
    def namespace(self) -> str | None:
        """Whom server nodes are charged to: as given, else the server is asked. None where there is no server."""
        if self._namespace is None and self.mode is not Mode.LOCAL:
            from .run.remote import default_namespace

            self._namespace = default_namespace()
        return self._namespace

    @namespace.setter
    def namespace(self, to: str | None) -> None:
        self._namespace = to

    @property
    def max_workers(self) -> int:
        """The most nodes that run at once."""
        return self._max_workers

    @property
    def slow_motion(self) -> float:
        """Seconds that each node waits between being ready and its start, so that one can watch; 0 for none.

        May be set before the run and while it goes on, up to 60 s, and holds at once. It costs nothing when it is 0.
        NaN for a graph that the server runs, which cannot be slowed down from here.

        Raises:
            TypeError: It is set to what is no number.
            ValueError: It is set to less than 0 or more than 60.
            RuntimeError: It is set on a graph that the server runs.
        """
        return self._driver.pace

    @slow_motion.setter
    def slow_motion(self, seconds: float) -> None:
        from .run.slow_motion import checked

        self._driver.set_pace(checked(seconds))

    @property
    def use_processes(self) -> bool:
        """True if local functions run in worker processes."""
        return self._use_processes

    @property
    def status(self) -> Status:
        """State of the graph: Failed from the first failure on, Cancelled as soon as `cancel` was called."""
        return self._driver.status

    @property
    def nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """All nodes by id, in the order in which they were added."""
        known = self._by_id
        if len(known) != len(self._nodes):
            with self._build_lock:
                for node in itertools.islice(self._nodes, len(known), None):
                    known[node.id] = node
        return known

    @property
    def nodes_by_name(self) -> NodesByName:
        """All nodes by name. Of several with one name the last; looking that up warns once."""
        return self._by_name

    @property
    def completed_nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that are Completed, by id."""
        return self._with_status(COMPLETED)

    @property
    def failed_nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that are Failed, by id, in the order in which they failed."""
        with self._driver.lock:
            order = self._in_order_of_failing()
        return {self._nodes[i].id: self._nodes[i] for i in order}

    @property
    def running_nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that are Running, by id."""
        return self._with_status(RUNNING)

    @property
    def not_started_nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that are Not Started or Parent Failed, by id."""
        return self._with_status(NOT_STARTED, PARENT_FAILED)

    @property
    def cancelled_nodes(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that are Cancelled, by id."""
        return self._with_status(CANCELLED)

    def _indices(self, *codes: int) -> list[int]:
        with self._driver.lock:
            return [index for index, code in enumerate(self._driver.machine.status) if code in codes]

    def _with_status(self, *codes: int) -> dict[uuid.UUID, Node[Any]]:
        nodes = self._nodes
        return {nodes[index].id: nodes[index] for index in self._indices(*codes)}

    def _in_order_of_failing(self) -> list[int]:
        """Indices of the Failed nodes. The driver's lock is held."""
        machine = self._driver.machine
        if not machine.counts[FAILED]:
            return []
        order: dict[int, None] = {}
        for index in machine.changes:
            if machine.status[index] == FAILED:
                order.pop(index, None)
                order[index] = None
        return list(order)

    # --- callbacks --------------------------------------------------------------------------------------

    def add_done_callback(self, func: Callable[[DAG], object]) -> None:
        """Have ``func(dag)`` called once each time the graph ends; at once, on this thread, if it has.

        Raises:
            TypeError: ``func`` is not callable.
        """
        if not callable(func):
            raise TypeError("func to add_done_callback must be callable")
        with self._driver.lock:
            self._observer.done = (*self._observer.done, (func, self._driver.expect_callbacks()))
            is_over = self._driver.machine.is_ended
        if is_over:
            call_callback(func, self, "done callback of a graph")

    def add_update_callback(self, func: Callable[[DAG], object]) -> None:
        """Have ``func(dag)`` called each time a node begins or ends.

        Raises:
            TypeError: ``func`` is not callable.
        """
        if not callable(func):
            raise TypeError("func to add_update_callback must be callable")
        with self._driver.lock:
            self._observer.update = (*self._observer.update, (func, self._driver.expect_callbacks()))

    def report_node_complete(self, node: Node[Any]) -> None:
        """Kept for compatibility: nodes report by themselves.

        Raises:
            ValueError: The node is not part of this graph.
        """
        if node.dag is not self or node._index < 0:
            raise ValueError(f"{node!r} is not part of {self!r}")

    # --- running ----------------------------------------------------------------------------------------

    def initial_setup(self) -> uuid.UUID | None:
        """Put the graph on the server's record, once. Returns its id there, or None for a purely local graph.

        Raises:
            ServerNeeded: There is no server.
            ServerUnreachable: It does not answer.
        """
        if self._remote is not None:
            self._remote.begin()
        return self.server_graph_uuid

    def compute(self) -> None:
        """Start the graph and return at once (with ``executor="inline"``: at the end). A second call does nothing.

        A BATCH graph is uploaded before this returns; from then on it needs this process no more.

        Raises:
            NotPicklable: The graph is BATCH, and something in it cannot be sent; its node and place are named.
            ServerNeeded: The graph is BATCH, and there is no server.
            ServerError, ServerUnreachable: The graph is BATCH, and the server does not take it.
        """
        if not self._driver.runs_here:
            self._driver.start()
            return
        ignored = [name for name in ("retry_strategy", "workflow_retry_strategy", "deadline") if getattr(self, name)]
        if ignored and not self._driver.machine.is_started:
            warnings.warn(
                f"{', '.join(ignored)}: used by BATCH graphs only; a {self.mode.name} graph ignores it",
                UserWarning,
                stacklevel=2,
            )
        if self._remote is None and not self._driver.machine.is_started:
            from .run.record import recorder

            recorder.consider(self, self._record)
        self._driver.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the graph has ended: nothing runs and nothing can start.

        An interrupt ends the waiting only; the graph goes on.

        Args:
            timeout: Seconds; None waits for ever.

        Raises:
            TypeError: ``timeout`` is no number.
            TimeoutError: The graph has not ended in time; it goes on.
            BaseException: The error of the node that failed first, if any failed.
        """
        seconds = check_timeout(timeout)
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                is_over = self._driver.wait_until_ended(left)
            except KeyboardInterrupt:
                if not self.done():
                    print("graph still running; `dag.cancel()` stops it")  # noqa: T201  # for the person who interrupted
                raise
            if not is_over:
                raise TimeoutError(f"timed out after {timeout} sec")
            with self._driver.lock:
                if not self._driver.machine.is_ended:
                    continue  # a retry came between: that end was not the last
                first = next((self._nodes[index] for index in self._in_order_of_failing()), None)
                error = None if first is None else first._error
            if first is not None and error is not None:
                raise first._with_own_traceback(error)
            return

    def done(self) -> bool:
        """True when the graph has ended."""
        return self._driver.machine.is_ended

    def cancel(self) -> None:
        """Start nothing more. Running functions finish; the status is Cancelled at once. No effect after the end."""
        self._driver.cancel(None)

    def stop(self) -> bool:
        """End the running functions too, where they run in processes or on a server of ours; they become Cancelled.

        Returns:
            False where something runs on in threads, which nothing can stop: then this is `cancel`.
        """
        self.cancel()
        left = [index for index in self._indices(RUNNING) if not self._nodes[index].stop()]
        return self._driver.executor.can_stop or not [index for index in left if not self._nodes[index].done()]

    def retry_all(self) -> None:
        """Run every Failed and Cancelled node again, and what they block when they complete.

        Of a graph that was cancelled before it ran this takes the cancel back: it runs if `compute` was called
        meanwhile, and else when it is.

        Raises:
            RuntimeError: The run belongs to another process (see `attach`).
            ServerError, ServerUnreachable: The graph is BATCH, and the server does not take it; nothing was changed.
        """
        self._driver.follow_caller()
        self._driver.retry(self._indices(FAILED, CANCELLED))

    def __enter__(self) -> DAG:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """A clean exit computes and waits; an exception cancels and goes on."""
        if error is not None:
            self.cancel()
            return
        self.compute()
        self.wait()

    def __await__(self) -> Generator[Any, None, None]:
        """Compute if that has not been done, and wait, while the event loop goes on."""
        from .run.asyncs import in_thread

        self.compute()
        return in_thread(self.wait).__await__()

    # --- results ----------------------------------------------------------------------------------------

    def end_nodes(self) -> list[Node[Any]]:
        """Nodes that no other waits for."""
        children = self._driver.machine.graph.children
        return [node for node in list(self._nodes) if not children[node._index]]

    find_end_nodes = end_nodes

    def end_results(self) -> dict[uuid.UUID, Any]:
        """Results of the end nodes by id. Waits for them, and raises what they raised."""
        return {node.id: node.result() for node in self.end_nodes()}

    def end_results_by_name(self) -> dict[str, Any]:
        """Results of the end nodes by name. Waits for them, and raises what they raised."""
        return {node.name: node.result() for node in self.end_nodes()}

    def stats(self) -> dict[str, float]:
        """Counts: percent_complete (0-100), running, failed, completed, cancelled, not_started, total_count."""
        with self._driver.lock:
            counts = list(self._driver.machine.counts)
            total = len(self._driver.machine)
            is_ended = self._driver.machine.is_ended
        share = counts[COMPLETED] / total * 100 if total else 100.0 * is_ended
        return {
            "percent_complete": share,
            "running": counts[RUNNING],
            "failed": counts[FAILED],
            "completed": counts[COMPLETED],
            "cancelled": counts[CANCELLED],
            "not_started": counts[NOT_STARTED] + counts[PARENT_FAILED],
            "total_count": total,
        }


def running() -> list[DAG]:
    """The graphs of this process that run now."""
    return [cast("Callbacks", driver.reports.observer).dag for driver in running_drivers()]


def _run_id(given: Any) -> str:
    text = str(getattr(given, "uuid", given))
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(
            f"DAG.attach: {given!r} is no id of a run. Give dag.server_graph_uuid, which is known from compute() on, "
            "or the uuid of a log (list_logs)."
        ) from None


def _checked_workers(max_workers: int | None, executor: Any) -> int:
    if max_workers is None:
        if executor == "inline":
            return 1
        of_executor = getattr(executor, "_max_workers", None)
        return of_executor if isinstance(of_executor, int) else min(32, (os.cpu_count() or 1) + 4)
    if isinstance(max_workers, bool) or not isinstance(max_workers, int):
        raise TypeError(f"max_workers must be a whole number, got {max_workers!r}")
    if max_workers < 1:
        raise ValueError(f"max_workers must be at least 1, got {max_workers}")
    return 1 if executor == "inline" else max_workers


def __getattr__(name: str) -> Any:
    if name in ("list_logs", "server_logs"):
        from . import logs

        return getattr(logs, name)
    if name == "replace_stored_params":
        from .run.arguments import replace_stored_params

        return replace_stored_params
    if name == "dag":  # `tiledb.cloud.dag.dag` is where the reference keeps its classes
        import sys

        return sys.modules[__name__]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
