"""Every exception class of the package.

::

    Exception
    ├── TiledagError                     base of everything raised here on purpose
    │   ├── IllegalTransition            our bug: an event that the transition table does not know
    │   ├── CycleError (ValueError)      your call: an edge would close a cycle
    │   ├── NotPicklable (TypeError)     your call: something cannot be sent to a process
    │   ├── ServerNeeded (RuntimeError)  your call: the node runs on a task-graph server only
    │   ├── NodeExited (RuntimeError)    your function: it raised SystemExit, KeyboardInterrupt or the like
    │   ├── WorkerDied (RuntimeError)    the outside: a worker process ended before its node did
    │   ├── RemoteError (RuntimeError)   your function: its exception could not be brought over whole
    │   │   └── ServerError              your function, or your call: the task-graph server answered with an error
    │   │       └── ItemError            your function: it failed at an item of a stage
    │   ├── ServerUnreachable (RuntimeError, ConnectionError)  the outside: the server does not answer
    │   ├── InvalidBody (ValueError)     your call, or the other side: a message does not fit the contract
    │   └── ForkedError (RuntimeError)   your call: a graph was used in a forked child
    └── concurrent.futures.CancelledError
        ├── ParentFailedError            a parent failed, was cancelled or was itself blocked
        └── StoppedError                 the node was stopped while it ran

All of them can be pickled.
"""

from __future__ import annotations

import sys
from concurrent.futures import CancelledError
from typing import Any

__all__ = [
    "CycleError",
    "ForkedError",
    "IllegalTransition",
    "InvalidBody",
    "ItemError",
    "NodeExited",
    "NotPicklable",
    "ParentFailedError",
    "RemoteError",
    "ServerError",
    "ServerNeeded",
    "ServerUnreachable",
    "StoppedError",
    "TiledagError",
    "WorkerDied",
]


def safe_text(error: BaseException | None) -> str:
    """``str(error)``, or something in its place where a user's own ``__str__`` raises."""
    try:
        return str(error)
    except Exception:
        return f"<{type(error).__name__} whose text cannot be made>"


class TiledagError(Exception):
    """Base of the exceptions that this package raises on purpose."""


class IllegalTransition(TiledagError):
    """An event met a state for which the table has no entry; nothing was changed.

    This is a bug of the package, not of the caller. The text carries the story of the node.
    """


class CycleError(TiledagError, ValueError):
    """An edge would close a cycle; the edge was not made.

    Args:
        message: Text for a person.
        cycle: Names of the nodes on the cycle, the first repeated at the end.
    """

    def __init__(self, message: str, cycle: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.cycle = cycle

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.cycle)


class NotPicklable(TiledagError, TypeError):
    """A function, argument or result has no pickled form, so it cannot go to or come from a process.

    Args:
        message: Text that names the node, the place and the way out.
        where: Path of the culprit, such as ``args[0]['db']``, ``function`` or ``result``.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.where)


class NodeExited(TiledagError, RuntimeError):
    """A node's function raised what ends a program, not a call: ``SystemExit`` (``sys.exit()``), ``KeyboardInterrupt``,
    ``GeneratorExit`` or ``asyncio.CancelledError``.

    It fails its node only. As it is, it would end the program or the task that waits for the graph.

    Args:
        message: Text that names the node.
        raised: What the function raised.
    """

    def __init__(self, message: str, raised: BaseException) -> None:
        super().__init__(message)
        self.raised = raised

    @property
    def type_name(self) -> str:
        """Name of the class of what was raised."""
        return type(self.raised).__name__

    @classmethod
    def instead_of(cls, error: BaseException, node_name: str) -> BaseException:
        """What stands for ``error`` as the outcome of a node: itself, unless it would end more than the node."""
        asyncio = sys.modules.get("asyncio.exceptions")  # where nobody has imported it, it is nobody's error
        kinds = (SystemExit, KeyboardInterrupt, GeneratorExit)
        if not isinstance(error, kinds if asyncio is None else (*kinds, asyncio.CancelledError)):
            return error
        text = safe_text(error)
        what = f"{type(error).__name__}: {text}" if text else type(error).__name__
        found = cls(
            f"Node {node_name!r}: its function raised {what}. That fails the node and ends nothing else. To end a "
            "node early, return from its function; to fail it, raise an error that says why.",
            error,
        )
        found.__cause__ = error.__cause__
        return found.with_traceback(error.__traceback__)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.raised)


class ServerNeeded(TiledagError, RuntimeError):
    """The node can run on a task-graph server only, and none is available."""


class WorkerDied(TiledagError, RuntimeError):
    """A worker process ended before the function it ran.

    Args:
        message: Text for a person.
        exitcode: As of ``multiprocessing.Process.exitcode``: negative for a signal.
    """

    def __init__(self, message: str, exitcode: int | None = None) -> None:
        super().__init__(message)
        self.exitcode = exitcode

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.exitcode)


class RemoteError(TiledagError, RuntimeError):
    """Stands for an exception raised in another process that could not be brought over whole.

    Args:
        message: Type name and text of the original exception.
        type_name: Qualified name of its class.
        traceback_text: Its formatted traceback.
    """

    def __init__(self, message: str, type_name: str = "", traceback_text: str = "") -> None:
        super().__init__(message)
        self.type_name = type_name
        self.traceback_text = traceback_text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.type_name, self.traceback_text)


class ServerError(RemoteError):
    """The task-graph server answered with an error.

    Args:
        message: What it said.
        http_status: Status of the reply.
        body: The reply as sent.
        type_name: Class of the exception that a function raised there; empty where the server did not say.
        traceback_text: Its formatted traceback; empty where the server did not say.
        task_id: Of the task that failed, if one was started.
    """

    def __init__(
        self,
        message: str,
        http_status: int = 0,
        body: str = "",
        type_name: str = "",
        traceback_text: str = "",
        task_id: str | None = None,
    ) -> None:
        super().__init__(message, type_name, traceback_text)
        self.http_status = http_status
        self.body = body
        self.task_id = task_id

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self.args[0], self.http_status, self.body, self.type_name, self.traceback_text, self.task_id)
        return type(self), state


class ItemError(ServerError):
    """A stage failed at one of its items.

    What is raised is also of the class that the function raised, with its ``args``, as far as that class can be
    derived from: ``except KeyError`` finds it. The exception itself is its cause.

    Args:
        message: Text that names the stage and the item.
        item: Number of the item, from 0.
        argument: The item as text, cut; empty where the server did not say.
        cause: What the function raised.
        task_id: Of the item's task.
    """

    def __init__(
        self, message: str, item: int, argument: str, cause: BaseException, task_id: str | None = None
    ) -> None:
        super().__init__(message, 0, "", _type_of(cause), _traceback_of(cause), task_id)
        self.message = message
        self.item = item
        self.argument = argument
        self.__cause__ = cause

    @staticmethod
    def at(stage: str, item: int, argument: str, cause: BaseException, task_id: str | None = None) -> ItemError:
        """The error of a stage of that name."""
        text = safe_text(cause)
        short = _type_of(cause).rpartition(".")[2]
        what = text if not short or text.startswith(short) else f"{short}: {text}" if text else short
        which = f"item {item} ({argument})" if argument else f"item {item}"
        return _item_error(f"Node {stage!r}: {which}: {what}", item, argument, cause, task_id)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _item_error, (self.message, self.item, self.argument, self.__cause__, self.task_id)


def _item_error(message: str, item: int, argument: str, cause: BaseException, task_id: str | None) -> ItemError:
    """An `ItemError` that is of the class of its cause, too, unless that class does not go together with it."""
    theirs = type(cause)
    if isinstance(cause, Exception) and not isinstance(cause, ServerError):
        try:
            both: Any = type(theirs.__name__, (ItemError, theirs), {"__module__": theirs.__module__})
            built_in: Any = next(one for one in theirs.__mro__ if one.__module__ == "builtins")
            made_with = built_in.__reduce__(cause)[1]  # of an OSError with its file's name, which `args` lacks
            found: ItemError = theirs.__new__(both, *made_with)
            ItemError.__init__(found, message, item, argument, cause, task_id)
            built_in.__init__(found, *made_with)
            found.args = cause.args
            vars(found).update({key: value for key, value in vars(cause).items() if key not in vars(found)})
            return found
        except Exception:  # a class may refuse to be derived from, or to be made
            pass
    return ItemError(message, item, argument, cause, task_id)


def _type_of(cause: BaseException) -> str:
    return str(getattr(cause, "type_name", "") or type(cause).__name__)


def _traceback_of(cause: BaseException) -> str:
    remote = cause.__cause__
    return str(getattr(cause, "traceback_text", "") or (remote.args[0] if remote is not None and remote.args else ""))


class ServerUnreachable(TiledagError, RuntimeError, ConnectionError):
    """The task-graph server does not answer, or ended in the middle of a call."""


class InvalidBody(TiledagError, ValueError):
    """A message does not fit the contract.

    Args:
        message: Text that names the place, what was found and what was expected.
        where: Path of the culprit, such as ``arguments_json[0].value``.
    """

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.where)


class ForkedError(TiledagError, RuntimeError):
    """A graph that was made before ``os.fork()`` was used in the child."""


class ParentFailedError(CancelledError):
    """The node did not run because a node above it failed or was cancelled.

    Args:
        cause: The exception of the node that failed first.
        node: That node: the original one, not the nearest parent.
    """

    def __init__(self, cause: BaseException | None, node: Any) -> None:
        super().__init__(cause, node)
        self.cause = cause
        self.node = node

    def __str__(self) -> str:
        return f"node {self.node!r} failed: {safe_text(self.cause)}"

    def __reduce__(self) -> tuple[Any, ...]:
        # A node belongs to its process; what travels is what it looks like.
        return type(self), (self.cause, self.node if isinstance(self.node, str) else repr(self.node))


class StoppedError(CancelledError):
    """The node was stopped while it ran; its work is lost."""
