"""`Node`: one function of a graph, its arguments, its outcome, and the future-like methods on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError
from math import isnan, nan
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from .callbacks import call_callback
from .core.states import BAD, CANCELLED, COMPLETED, FAILED, NOT_STARTED, PARENT_FAILED, TERMINAL, Mode, Status
from .errors import CycleError, NodeExited, ParentFailedError, StoppedError, safe_text
from .run import arguments
from .wishes import check_resources

if TYPE_CHECKING:
    from .dag import DAG
    from .run.output import Sink

T = TypeVar("T")
_ATOMS: Final = frozenset({str, int, float, bool, bytes, type(None)})
_MISSING: Final = object()
_NOT_JOINED: Final = -1

_NO_NODES, _TOP_LEVEL, _NESTED = range(3)


def refuse_unless_attempt(attempt: object) -> None:
    """Says what `Node.output` takes."""
    if attempt is None:
        return
    if not isinstance(attempt, int) or isinstance(attempt, bool):
        raise TypeError(f"attempt must be a whole number from 1, or None for the latest, got {attempt!r}")
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, got {attempt}; None is the latest")


class Node(Generic[T]):
    """A function that runs as part of a graph, once its parents are Completed.

    Nodes found in the arguments become parents and are replaced by their results when the function is called.
    Usually made by `DAG.submit_local` and its kind. All methods are safe from any thread.

    Args:
        func: Called with the arguments; None for a node without code.
        *args: Positional arguments. Lists, tuples and values of dicts are searched for nodes.
        name: Shown and looked up by; the id if None.
        dag: The graph that it will join.
        mode: Where it runs.
        expand_node_output: The node over whose list a stage is repeated (BATCH only).
        **kwargs: Keyword arguments; ``resource_class`` and ``resources`` are kept for the server.

    Raises:
        TypeError: ``func`` is neither callable nor None.
        ValueError: Resources do not fit the mode, or an argument is a node of another graph that is not Completed.
    """

    _has_no_pickled_form = True
    # Most nodes never touch these; on the class they cost nothing.
    _is_remote: bool = False
    _index: int = _NOT_JOINED
    _standalone: int = NOT_STARTED
    _value: Any = _MISSING
    _error: BaseException | None = None
    _traceback: TracebackType | None = None
    _past_errors: Mapping[int, BaseException] = {}
    _foreign: Mapping[int, Any] | None = None
    _callbacks: tuple[tuple[Callable[[Any], object], int], ...] = ()
    _parents: tuple[Node[Any], ...] = ()
    _progress: tuple[float, float] | None = None
    _resource_class: str | None = None
    _resources: Mapping[str, Any] | None = None
    _download_results: bool | None = None
    _expand_node_output: Node[Any] | None = None
    _shape: int = _NO_NODES

    def __init__(
        self,
        func: Callable[..., T] | None,
        *args: Any,
        name: str | None = None,
        dag: DAG | None = None,
        mode: Mode = Mode.REALTIME,
        expand_node_output: Node[Any] | None = None,
        _download_results: bool | None = None,
        _internal_prewrapped_func: Callable[..., Any] | None = None,
        _internal_accepts_stored_params: bool = True,
        **kwargs: Any,
    ) -> None:
        if _internal_prewrapped_func is not None:
            args = (func, *args)
            self._function: Callable[..., Any] | None = _internal_prewrapped_func
        elif func is not None and not callable(func):
            raise TypeError(f"func argument to `Node` must be callable! Got {type(func).__name__}: {func!r}")
        else:
            self._function = func
        self._name = as_text(name)
        self.dag = dag
        self.mode = mode
        self.args = args
        self.kwargs = kwargs
        if "resource_class" in kwargs or "resources" in kwargs:
            self._resource_class = kwargs.pop("resource_class", None)
            self._resources = kwargs.pop("resources", None)
            check_resources(mode, self._resource_class, self._resources)
        if mode is Mode.BATCH and self._resource_class is None and self._resources is None:
            self._resource_class = "standard"
        if expand_node_output is not None:
            self._expand_node_output = expand_node_output
        if _download_results is not None:
            self._download_results = _download_results
        self._find_parents()

    def _find_parents(self) -> None:
        parents: list[Node[Any]] = []
        containers: list[Any] = []
        for value in (*self.args, *self.kwargs.values()) if self.kwargs else self.args:
            try:
                if type(value) in _ATOMS:
                    continue
            except TypeError:  # its class has no hash
                pass
            if isinstance(value, Node):
                parents.append(value)
            elif isinstance(value, (list, tuple, dict)):
                containers.append(value)
        if containers and arguments.find(containers, Node):
            self._shape = _NESTED
            parents = arguments.find((self.args, self.kwargs), Node)
        if not parents:
            return
        if self._shape == _NO_NODES:
            self._shape = _TOP_LEVEL
        own: dict[int, Node[Any]] = {}
        for parent in parents:
            if parent.dag is self.dag:
                own[id(parent)] = parent
                if parent._is_remote and self._foreign is None:
                    self._foreign = {}  # its result may be on the server: arguments are replaced by `_value_of`
            else:
                self._take_over(parent)
        self._parents = tuple(own.values())

    def _take_over(self, node: Node[Any]) -> None:
        """Keep the value that a node of another graph has now: a retry over there changes nothing here."""
        value = node._value
        if value is _MISSING or node.status is not Status.COMPLETED:
            raise ValueError(
                f"Nodes from a previous DAG may only be used as inputs in a subsequent DAG if they are already "
                f"complete. {node!r} is {node.status}: wait for it, or build both in one graph."
            )
        self._foreign = {**(self._foreign or {}), id(node): value}

    # --- identity ---------------------------------------------------------------------------------------

    @property
    def id(self) -> uuid.UUID:
        """Unique for each node."""
        known = self.__dict__.get("_id")
        if known is None:  # made at first need: most nodes of a large graph are never asked. setdefault settles races
            known = self.__dict__.setdefault("_id", uuid.uuid4())
        return known  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """Name for people; the id where none was given. May be set; ``DAG.nodes_by_name`` keeps the old one."""
        return self._name or str(self.id)

    @name.setter
    def name(self, to: str | None) -> None:
        self._name = as_text(to)

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.id == other.id)

    def __repr__(self) -> str:
        return f"<Node {self.name!r} {self.status}>"

    def _repr_html_(self) -> str:
        from html import escape

        error = self._error if self.status is Status.FAILED else None
        detail = f": {escape(type(error).__name__)}: {escape(safe_text(error))[:300]}" if error is not None else ""
        return f"<span><b>{escape(self.name)}</b> {self.status}{detail}</span>"

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} cannot be sent to another process. Pass nodes in lists, tuples or values of dicts, "
            "where they are replaced by their results."
        )

    # --- structure --------------------------------------------------------------------------------------

    @property
    def parents(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes that this one waits for, in order of discovery."""
        if self._index == _NOT_JOINED:
            return {parent.id: parent for parent in self._parents}
        nodes = self._graph._nodes
        return {nodes[i].id: nodes[i] for i in self._graph._driver.machine.graph.parents[self._index]}

    @property
    def children(self) -> dict[uuid.UUID, Node[Any]]:
        """Nodes of the graph that wait for this one."""
        if self._index == _NOT_JOINED:
            return {}
        nodes = self._graph._nodes
        return {nodes[i].id: nodes[i] for i in self._graph._driver.machine.graph.children[self._index]}

    def depends_on(self, node: Node[Any]) -> None:
        """Make this node wait for another without taking its result.

        Raises:
            RuntimeError: This node has started.
            CycleError: It would close a cycle; nothing was changed.
            ValueError: ``node`` is part of another graph and not Completed, or of none while this one has joined.
        """
        if not isinstance(node, Node):
            raise TypeError(f"depends_on takes a Node, got {type(node).__name__}")
        if self.status is not Status.NOT_STARTED:
            raise RuntimeError("Cannot add dependency to an already-started node.")
        if self.dag is None and node.dag is not None:
            self.dag = node.dag
        if node.dag is not self.dag:
            if node.status is Status.COMPLETED:
                return  # nothing left to wait for
            raise ValueError(
                f"{self!r} cannot depend on {node!r}, which is part of another graph and not Completed. "
                "Build both in one graph, or wait for the other one first."
            )
        if self._index == _NOT_JOINED:
            self._refuse_cycle_before_joining(node)
            if all(node is not parent for parent in self._parents):
                self._parents = (*self._parents, node)
            return
        if node._index == _NOT_JOINED:
            raise ValueError(f"{node!r} has not joined the graph of {self!r}: pass it to add_node_obj first")
        cycle = self._graph._driver.add_edge(node._index, self._index)
        if cycle:
            names = [self._graph._nodes[i].name for i in cycle]
            raise _cycle_error(names)

    def _refuse_cycle_before_joining(self, node: Node[Any]) -> None:
        stack: list[tuple[Node[Any], tuple[str, ...]]] = [(node, (node.name,))]
        seen: set[int] = set()
        while stack:
            here, way = stack.pop()
            if here is self:
                raise _cycle_error(list(reversed(way)))
            if here._index == _NOT_JOINED and id(here) not in seen:
                seen.add(id(here))
                stack.extend((parent, (*way, parent.name)) for parent in here._parents)

    @property
    def _graph(self) -> DAG:
        assert self.dag is not None
        return self.dag

    # --- state ------------------------------------------------------------------------------------------

    @property
    def _code(self) -> int:
        if self._index == _NOT_JOINED:
            return self._standalone
        return self._graph._driver.machine.status[self._index]

    @property
    def status(self) -> Status:
        """State of the node now."""
        return Status(self._code)

    def done(self) -> bool:
        """True when the node is Completed, Failed, Cancelled or Parent Failed."""
        return self._code in TERMINAL

    finished = done

    def running(self) -> bool:
        """True while its function runs."""
        return self.status is Status.RUNNING

    def cancelled(self) -> bool:
        """True when it was cancelled or stopped."""
        return self._code == CANCELLED

    @property
    def progress(self) -> tuple[float, float] | None:
        """``(done, total)`` as last reported by `tiledag_widget.progress` inside the function, or None."""
        return self._progress

    @property
    def error(self) -> BaseException | None:
        """Why it did not complete: its own exception, a cancellation, or the failure above it. Never raises."""
        code = self._code
        if code == FAILED:
            return self._error
        if code == CANCELLED:
            if isinstance(self._error, StoppedError):
                return self._error
            return CancelledError(f"node {self.name!r} was cancelled")
        if code == PARENT_FAILED:
            blocker = self._blocker()
            return ParentFailedError(blocker.error if blocker is not None else None, blocker)
        return None

    def _blocker(self) -> Node[Any] | None:
        index = self._graph._driver.machine.blocker.get(self._index)
        return None if index is None else self._graph._nodes[index]

    @property
    def future(self) -> Node[T]:
        """The node itself, which has the methods of a future."""
        return self

    def task_id(self) -> uuid.UUID | None:
        """Id of the task on the server; None for a node that ran here or has not finished."""
        return None

    def output(self, attempt: int | None = None) -> str:
        """What the function printed and logged so far, wherever it runs; each line ends with a line break.

        Standard output, standard error and log records in the order in which they came, also while the function
        runs. It is kept in memory as long as the graph, the oldest lines of a graph only up to two million.

        Args:
            attempt: Which attempt, from 1; the latest if None. Of one that there was not it is empty.

        Raises:
            TypeError: ``attempt`` is no whole number.
            ValueError: It is below 1.
        """
        refuse_unless_attempt(attempt)
        if self._index == _NOT_JOINED:
            return ""
        driver = self._graph._driver
        return driver.output.text(self._index, driver.machine.attempt[self._index] if attempt is None else attempt)

    # --- outcome ----------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the node is done, whatever came of it. It raises none of the node's errors.

        Raises:
            TypeError: ``timeout`` is no number.
            TimeoutError: After ``timeout`` seconds.
        """
        seconds = check_timeout(timeout)
        if self._index == _NOT_JOINED:
            if self._standalone in TERMINAL:
                return
            raise RuntimeError(f"{self!r} has not joined a graph: pass it to DAG.add_node_obj")
        if not self._graph._driver.wait_until_done(self._index, seconds):
            raise TimeoutError(f"timed out after {timeout} sec")

    def result(self, timeout: float | None = None) -> T:
        """The value that the function returned. Waits for it.

        Raises:
            TimeoutError: After ``timeout`` seconds.
            CancelledError: The node was cancelled; `ParentFailedError` if a node above it did not complete.
            BaseException: Whatever the function raised.
        """
        if self._code != COMPLETED:
            self.wait(timeout)
        while True:
            value = self._value
            if self._code == COMPLETED and value is not _MISSING:
                return value  # type: ignore[no-any-return]
            error = self.error
            if error is not None:
                raise self._with_own_traceback(error)
            self.wait(timeout)  # a retry came between

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The exception that the function raised, or None. Waits for it.

        Raises:
            TimeoutError: After ``timeout`` seconds.
            CancelledError: The node was cancelled; `ParentFailedError` if a node above it did not complete.
        """
        while True:
            self.wait(timeout)
            code, error = self._code, self.error
            if error is None and code != COMPLETED:
                continue  # a retry came between
            if isinstance(error, CancelledError) and code != FAILED:
                raise self._with_own_traceback(error)
            return error

    def _with_own_traceback(self, error: BaseException) -> BaseException:
        """The error as the function raised it. Each raise adds to its traceback: without this it would only grow."""
        return error.with_traceback(self._traceback) if error is self._error else error

    def __await__(self) -> Generator[Any, None, T]:
        from .run.asyncs import in_thread

        return in_thread(self.result).__await__()

    # --- requests ---------------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Keep the node from starting. False if it has started or is done already."""
        if self._index != _NOT_JOINED:
            return bool(self._graph._driver.cancel([self._index]))
        if self._standalone != NOT_STARTED:
            return False
        self._standalone = CANCELLED
        for fn, _ in self._callbacks:
            call_callback(fn, self, "done callback of a node")
        return True

    def stop(self) -> bool:
        """End the running function; the node becomes Cancelled. False where nothing runs or its executor cannot."""
        if self._index == _NOT_JOINED or not self._graph._driver.executor.can_stop:
            return False
        return bool(self._graph._driver.stop([self._index]))

    def retry(self, *, descendants: bool = False) -> bool:
        """Run the node again. What only it blocked goes back to Not Started in the same step.

        Args:
            descendants: Run everything below it again too, Completed or not.

        Returns:
            False if it is Completed (unless with ``descendants``), has not started, runs, or is in no graph.

        Raises:
            RuntimeError: With ``descendants``, while something below it runs.
        """
        if self._index == _NOT_JOINED:
            return False
        code = self._code
        if code not in BAD and not (descendants and code == COMPLETED):
            return False
        self._graph._driver.follow_caller()
        self._graph._driver.retry([self._index], descendants)
        return True

    def add_done_callback(self, fn: Callable[[Node[T]], object]) -> None:
        """Have ``fn(node)`` called each time the node ends; at once, on this thread, if it has.

        Raises:
            TypeError: ``fn`` is not callable.
        """
        if not callable(fn):
            raise TypeError(f"fn to add_done_callback must be callable, got {type(fn).__name__}")
        if self._index == _NOT_JOINED:
            self._callbacks = (*self._callbacks, (fn, 0))
            is_done = self._standalone in TERMINAL
        else:
            driver = self._graph._driver
            with driver.lock:
                self._callbacks = (*self._callbacks, (fn, driver.expect_callbacks()))
                is_done = driver.machine.status[self._index] in TERMINAL
        if is_done:
            call_callback(fn, self, "done callback of a node")

    # --- the driver's side ------------------------------------------------------------------------------

    def _prepare(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The function and its arguments, with nodes replaced by their values."""
        function = self._function
        if function is None:
            raise TypeError(f"node {self.name!r} has no function to run")
        if self._shape == _NO_NODES:
            return function, self.args, self.kwargs
        if self._foreign is not None:
            args, kwargs = arguments.replace((self.args, self.kwargs), Node, self._value_of)
            return function, args, kwargs
        if self._shape == _TOP_LEVEL:
            args = tuple([value._value if isinstance(value, Node) else value for value in self.args])
            if not self.kwargs:
                return function, args, self.kwargs
            return (
                function,
                args,
                {key: value._value if isinstance(value, Node) else value for key, value in self.kwargs.items()},
            )
        args, kwargs = arguments.replace((self.args, self.kwargs), Node, lambda node: node._value)
        return function, args, kwargs

    def _value_of(self, node: Node[Any]) -> Any:
        value = (self._foreign or {}).get(id(node), node._value)
        return value.value() if node._is_remote else value  # what a server node has is a `RemoteResult`

    def _sink(self) -> Sink:
        """What the attempt that runs now prints into."""
        driver = self._graph._driver
        return driver.output.sink(self._index, driver.machine.attempt[self._index])

    def _accept(self, value: Any) -> None:
        self._value = value

    def _reject(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            error = NodeExited.instead_of(error, self.name)
        self._error, self._traceback = error, error.__traceback__
        attempt = self._graph._driver.machine.attempt[self._index]
        self._past_errors = {**self._past_errors, attempt: error}

    def _clear(self) -> object:
        forgotten = (self._value, self._error)
        self._value = _MISSING
        self._error = self._traceback = None
        self._progress = None
        return forgotten


def as_text(name: object) -> str | None:
    """A name as text: ``name=month`` is easily written with a number."""
    return name if name is None or type(name) is str else str(name)


def check_timeout(timeout: Any) -> float | None:
    """The timeout in seconds, no longer than the system can wait.

    Raises:
        TypeError: It is no number.
    """
    if timeout is None:
        return None
    try:
        seconds = float(timeout) if hasattr(timeout, "__float__") else nan
    except (TypeError, ValueError, OverflowError):
        seconds = nan
    if isnan(seconds):
        raise TypeError(f"timeout must be numeric value representing seconds to wait, got {timeout!r}")
    return min(seconds, TIMEOUT_MAX)


def _cycle_error(names: list[str]) -> CycleError:
    cycle = (*names, names[0])
    return CycleError(f"this dependency would close a cycle: {' -> '.join(cycle)}. It was not added.", cycle)
