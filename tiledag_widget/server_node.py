"""`ServerNode`: a node that runs on the task-graph server, and whose result may stay there."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from . import wishes
from .core.states import COMPLETED, RUNNING
from .errors import ServerError
from .node import Node, refuse_unless_attempt
from .run.remote_calls import Work
from .run.remote_result import RemoteResult
from .settings import BadSettings, server_settings

if TYPE_CHECKING:
    from .dag import DAG
    from .wire.client import Client

T = TypeVar("T")


class ServerNode(Node[T]):
    """Made by `DAG.submit_udf`, `DAG.submit_array_udf` and `DAG.submit_sql`; see `Node` for what it does."""

    _is_remote = True
    _wishes: Mapping[str, str] = MappingProxyType({})

    def __init__(self, work: Work, *args: Any, dag: DAG, name: str | None = None, **kwargs: Any) -> None:
        function = work.function if callable(work.function) else None
        super().__init__(function, *args, dag=dag, name=name, mode=dag.mode, **kwargs)
        self.work = work
        if self.kwargs:
            self._refuse_unknown()
        if work.kind == "sql" and "result_format" in work.options:
            is_raw = bool(self.kwargs.get("raw_results"))
            wishes.check_format_of_query(self.name, work.options["result_format"], is_raw)
        if work.options or self._resources or self._resource_class not in (None, *wishes.CLASSES):
            self._wishes = wishes.beyond_ours(work.options, self._resources, self._resource_class)
            if self._wishes and not wishes.were_told(self._wishes) and _runs_on_ours():
                wishes.tell_once(self.name, self._wishes)

    def _refuse_unknown(self) -> None:
        if self.work.kind == "sql":
            wishes.refuse_unknown_of_query(self.name, self.kwargs)
        else:
            also = wishes.OF_ARRAYS if self.work.kind == "array" else frozenset()
            wishes.refuse_unknown(self.name, self.work.function, self.kwargs, also)

    def tell_wishes(self, client: Client) -> None:
        """Warn of what our own server, if it is one, does not do for this node."""
        if self._wishes and not wishes.were_told(self._wishes) and client.is_ours():
            wishes.tell_once(self.name, self._wishes)

    def _prepare(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        if self._wishes:
            from .wire import client

            self.tell_wishes(client.current())
        return self._graph._remote_run().run, (self,), {}

    def result(self, timeout: float | None = None) -> T:
        """The value that the function returned. Waits for it, and downloads it if it is on the server only.

        Raises:
            TimeoutError: After ``timeout`` seconds.
            CancelledError: The node was cancelled; `ParentFailedError` if a node above it did not complete.
            ServerError: The server has the result no more.
            BaseException: Whatever the function raised.
        """
        value: Any = super().result(timeout)
        return value.value() if isinstance(value, RemoteResult) else value  # type: ignore[no-any-return]

    def task_id(self) -> uuid.UUID | None:
        """Id of the task on the server; None for a node that has not finished, or that the server knows nothing of."""
        if isinstance(self._value, RemoteResult) and self._code == COMPLETED:
            return self._value.task_id
        error = self._error
        return uuid.UUID(error.task_id) if isinstance(error, ServerError) and error.task_id else None

    def stop(self) -> bool:
        """End the running function; the node becomes Cancelled. False where nothing runs, or the server cannot."""
        if self._index < 0 or self._code != RUNNING:
            return False
        run = self._graph._remote_run()
        if not run.can_stop() or not self._graph._driver.stop([self._index]):
            return False
        run.stop(self)
        return True

    def output(self, attempt: int | None = None) -> str:
        """What the function printed on the embedded server, also while it runs; empty on other servers.

        Args:
            attempt: Which attempt, from 1; the latest if None.

        Raises:
            ServerUnreachable: The server does not answer.
            TypeError: ``attempt`` is no whole number.
            ValueError: It is below 1.
        """
        refuse_unless_attempt(attempt)
        return self._graph._remote_run().output(self, attempt)


def _runs_on_ours() -> bool:
    """Whether it is known without asking anybody that the embedded server will run it."""
    try:
        return server_settings().host is None
    except BadSettings:  # said when the node runs
        return False
