"""`Building`: how nodes join a graph. The ``submit`` methods of `DAG`, and what they do with options for the server."""

from __future__ import annotations

import threading
import uuid
import warnings
from collections.abc import Callable, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any, cast

from . import wishes
from .core.states import Mode
from .errors import ServerNeeded
from .naming import NodesByName, full_name
from .node import Node, as_text
from .run.arguments import SERVER_OPTIONS
from .settings import WAYS_OUT

if TYPE_CHECKING:
    from .dag import DAG
    from .run.driver import Driver
    from .run.remote import RemoteRun


class Building:
    """What `DAG` does while it is built."""

    mode: Mode
    _driver: Driver
    _nodes: list[Node[Any]]
    _by_name: NodesByName
    _suffixes: dict[str, int]
    _remote: RemoteRun | None
    _build_lock: threading.RLock

    @property
    def _dag(self) -> DAG:
        return cast("DAG", self)

    def submit_local(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Node[Any]:
        """Add a function that runs here, in a thread or a worker process.

        Args:
            func: Called with the arguments; nodes among them are replaced by their results.
            *args: Positional arguments.
            **kwargs: Keyword arguments; ``name`` names the node (default: the function's full name).

        Raises:
            RuntimeError: The graph has started.
            ValueError: The graph is BATCH, where every node runs on the server.
        """
        name = kwargs.pop("name", None)
        if name is None:
            name = full_name(func)
        if self.mode is Mode.BATCH:
            raise ValueError(
                f"Node {name!r}: submit_local: a BATCH graph runs on the server as a whole. Use submit_udf, or a graph "
                "of another mode."
            )
        kwargs.pop("mode", None)
        if kwargs:
            wishes.refuse_unknown(str(name), func, kwargs)
        dag: DAG = self  # type: ignore[assignment]  # `_dag` and `cast` are calls, and there may be a million nodes
        return self._join(Node(func, *args, name=name, dag=dag, mode=Mode.LOCAL, **kwargs), name)

    def submit_udf(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> Node[Any]:
        """Add a function that runs on the task-graph server; in a LOCAL graph it runs here.

        Args:
            func: A function, or the name of a registered one (``namespace/name``).
            *args: Positional arguments.
            **kwargs: Keyword arguments and options for the server. ``local_mode=True`` is `submit_local`. In a BATCH
                graph also ``resources``, ``timeout``, ``deadline`` and ``retry_strategy``.

        Raises:
            ValueError: An option does not fit.
        """
        if "local_mode" in kwargs:
            local = kwargs.pop("local_mode") or kwargs.get("mode") is Mode.LOCAL
            if local:
                kwargs.pop("mode", None)
                return self.submit_local(cast("Callable[..., Any]", func), *args, **kwargs)
        if self.mode is not Mode.LOCAL:
            self._check_mode(kwargs)
            kwargs.pop("mode", None)
            if not callable(func) and not isinstance(func, str):
                raise TypeError(f"submit_udf takes a function or the name of a registered one, got {func!r}")
            return self._submit_to_server("udf", full_name(func), full_name(func), func, args, kwargs)
        if not callable(func):
            raise _server_needed("submit_udf", full_name(func))
        kwargs.pop("mode", None)
        name = kwargs.pop("name", None)
        kwargs = _without_server_options(func, kwargs)
        if kwargs:
            wishes.refuse_unknown(str(name or full_name(func)), func, kwargs)
        with self._build_lock:  # from the look for a free name to its use
            if name is None:
                name = self._unused_name(full_name(func))
            return self._join(Node(func, *args, name=name, dag=self._dag, mode=Mode.LOCAL, **kwargs), name)

    submit = submit_udf

    def submit_udf_stage(
        self, func: Callable[..., Any], *args: Any, expand_node_output: Node[Any] | None = None, **kwargs: Any
    ) -> Node[Any]:
        """Add a function that the server runs once for each item of another node's list (BATCH only).

        Its result is the list of what the function returned, in the order of the items.

        Args:
            func: A function, or the name of a registered one.
            *args: Positional arguments; the node that is expanded stands for one item, other nodes for their results.
            expand_node_output: The node whose result is a list; None: the function runs once.
            **kwargs: Keyword arguments, and options as of `submit_udf`.

        Raises:
            ValueError: The graph is not BATCH, or the expanded node is not part of it.

        Example:
            >>> from tiledag_widget import DAG, Mode
            >>> dag = DAG(mode=Mode.BATCH)
            >>> months = dag.submit_udf(lambda: [1, 2, 3])
            >>> stage = dag.submit_udf_stage(lambda month: month * 10, months, expand_node_output=months)
            >>> stage in months.children.values()
            True
        """
        if "local_mode" in kwargs or self.mode is not Mode.BATCH:
            raise ValueError("Stage nodes are only supported for BATCH mode DAGs.")
        return self.submit_udf(func, *args, expand_node_output=expand_node_output, **kwargs)

    def submit_array_udf(self, func: Any, *args: Any, **kwargs: Any) -> Node[Any]:
        """Add a function over a TileDB array, which runs on the task-graph server.

        Args:
            func: Address of the array: ``tiledb://namespace/name``, a path, or what TileDB can open otherwise. Or a
                `models.ArrayList` of several: the function gets the list of their data.
            *args: The function (or the name of a registered one), the ranges and so on, as TileDB's client has them.
            **kwargs: ``ranges``, ``attrs``, ``layout``, options for the server, and what the function gets by name.

        Raises:
            ServerNeeded: The graph is LOCAL.
        """
        self._check_mode(kwargs)
        function = kwargs.get("func", args[0] if args else None)
        name = full_name(func) if isinstance(func, str) or not callable(function) else full_name(function)
        label = f"array {func!r}" if not callable(function) else full_name(function)
        if self.mode is Mode.LOCAL:
            raise _server_needed("submit_array_udf", label)
        kwargs.pop("mode", None)
        return self._submit_to_server(
            "array", label, name, function if callable(function) else None, (func, *args), kwargs
        )

    def submit_sql(self, *args: Any, **kwargs: Any) -> Node[Any]:
        """Add an SQL query, which runs on the task-graph server. Its result is a DataFrame.

        Args:
            *args: The query, in the dialect of MariaDB; arrays are named in backticks.
            **kwargs: ``parameters`` for its ``?``, ``init_commands``, ``output_uri``, ``raw_results=True`` for an
                Arrow table (with ``result_format="json"`` a list, with other formats a DataFrame all the same), and
                options for the server.

        Raises:
            TypeError: No query is given.
            ValueError: No rows can be read from that ``result_format``.
            ServerNeeded: The graph is LOCAL.
        """
        if not args and "sql" not in kwargs:
            raise TypeError("submit_sql needs the query as its first argument")
        self._check_mode(kwargs)
        if self.mode is Mode.LOCAL:
            raise _server_needed("submit_sql", "SQL query")
        kwargs.pop("mode", None)
        return self._submit_to_server("sql", "SQL query", "SQL query", None, args, kwargs)

    def _submit_to_server(
        self, kind: str, label: str, fallback_name: str, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Node[Any]:
        """Add a node that runs on the server. Options for the server among the keyword arguments are kept from it."""
        from .run.remote_calls import Work
        from .server_node import ServerNode

        name = kwargs.pop("name", None)
        options = {key: kwargs.pop(key) for key in SERVER_OPTIONS.intersection(kwargs)}
        work = Work(kind, label, function, options)
        if self.mode is Mode.BATCH:
            from .batch_node import BatchNode

            with self._build_lock:
                if name is None:
                    name = self._unused_name(fallback_name)
                return self._join(BatchNode(work, *args, name=name, dag=self._dag, **kwargs), name)
        unused = [key for key in ("retry_strategy", "deadline") if options.get(key)]
        if unused:
            warnings.warn(
                f"{', '.join(unused)}: used by BATCH graphs only; a {self.mode.name} graph ignores it",
                UserWarning,
                stacklevel=3,
            )
        self._remote_run()
        with self._build_lock:  # from the look for a free name to its use
            if name is None:
                name = self._unused_name(fallback_name)
            return self._join(ServerNode(work, *args, name=name, dag=self._dag, **kwargs), name)

    def _remote_run(self) -> RemoteRun:
        if self._remote is None:
            from .run.remote import RemoteRun

            with self._build_lock:
                if self._remote is None:
                    self._remote = RemoteRun(self._dag, Node, self._follow)
                    with self._driver.lock:  # what becomes of nodes is reported
                        self._driver.expect_callbacks()
                    self._driver.open_lanes_at_once()
        return self._remote

    def _follow(self, client: Any, log_id: uuid.UUID) -> None:
        from .run.record import recorder

        recorder.follow(self._dag, client, log_id)

    def add_node(
        self, func_exec: Callable[..., Any], *args: Any, name: str | None = None, local_mode: bool = True, **kwargs: Any
    ) -> Node[Any]:
        """Deprecated; use `submit_local`. Add a function that runs here, named by its id if not named."""
        warnings.warn("DAG.add_node is deprecated: use submit_local", DeprecationWarning, stacklevel=2)
        if self.mode is Mode.BATCH:
            return self.submit_udf(func_exec, *args, name=name, **kwargs)
        mode = Mode.LOCAL if local_mode else Mode.REALTIME
        return self._join(Node(func_exec, *args, name=name, dag=self._dag, mode=mode, **kwargs), name)

    def add_node_obj(self, node: Node[Any]) -> Node[Any]:
        """Add a node that was made by itself.

        Raises:
            RuntimeError: The graph has started.
            ValueError: It is part of another graph, or waits for a node that is in none.
        """
        if not isinstance(node, Node):
            raise TypeError(f"add_node_obj takes a Node, got {type(node).__name__}")
        if node.dag is not None and node.dag is not self:
            raise ValueError(f"{node!r} is part of another graph and cannot join this one")
        if node._index >= 0:
            return node
        if self.mode is Mode.BATCH and not node._is_remote:
            raise ValueError(f"{node!r} was made for this process; add nodes to a BATCH graph with submit_udf")
        _check_joined(node)
        strange = [parent for parent in node._parents if parent.dag is not self]
        if strange:
            raise ValueError(f"{node!r} waits for {strange[0]!r}, which is part of another graph: build both in one")
        before = node.dag
        node.dag = self._dag
        try:
            return self._join(node, node._name)
        except BaseException:
            if node._index < 0:
                node.dag = before
            raise

    def _join(self, node: Node[Any], name: str | None) -> Node[Any]:
        parents = node._parents
        indices = tuple([parent._index for parent in parents]) if parents else ()
        if -1 in indices:
            _check_joined(node)
        with self._build_lock:
            node._index = len(self._nodes)  # before anybody can find the node in the list
            try:
                self._driver.add(node, indices, node._standalone)
            except BaseException:
                if self._nodes[node._index :] != [node]:
                    node._index = -1
                raise
            self._by_name.add(as_text(name) or node.name, node)
        if parents:
            node._parents = ()
        if node._callbacks:
            with self._driver.lock:
                self._driver.expect_callbacks()
        return node

    def _unused_name(self, wanted: str) -> str:
        """``wanted``, or with the first free number behind it."""
        if wanted not in self._by_name:
            return wanted
        number = self._suffixes.get(wanted, 1)
        while f"{wanted} ({number})" in self._by_name:
            number += 1
        self._suffixes[wanted] = number + 1
        return f"{wanted} ({number})"

    def _check_mode(self, kwargs: Mapping[str, Any]) -> None:
        mode = kwargs.get("mode")
        if self.mode is Mode.BATCH and mode is not None and mode is not Mode.BATCH:
            name = kwargs.get("name") or "without a name"
            raise ValueError(
                f"BATCH mode DAG can only execute BATCH mode Nodes. Node {name!r} asks for {mode}: leave mode= out, or "
                "make a graph of that mode."
            )


def _check_joined(node: Node[Any]) -> None:
    missing = [parent for parent in node._parents if parent._index < 0]
    if missing:
        raise ValueError(f"{node!r} waits for {missing[0]!r}, which is in no graph yet: add that one first")


def _without_server_options(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments without those meant for a server, unless the function has a parameter of that name."""
    if SERVER_OPTIONS.isdisjoint(kwargs):
        return kwargs
    try:
        own = signature(function).parameters.keys()
    except (TypeError, ValueError):
        own = {}.keys()
    return {key: value for key, value in kwargs.items() if key not in SERVER_OPTIONS or key in own}


def _server_needed(method: str, what: str) -> ServerNeeded:
    return ServerNeeded(
        f"{method}: {what} needs a task-graph server, which a LOCAL graph does not use. Leave mode out: a REALTIME "
        f"graph runs it on one. {WAYS_OUT}"
    )
