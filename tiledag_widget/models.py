"""The public models, under the names that TileDB's client gives them."""

from __future__ import annotations

from typing import Any

from .wire.models import (
    ArrayDetails,
    ArrayRanges,
    ArrayTask,
    ArrayTaskData,
    LogStatus,
    PaginationMetadata,
    RegisteredTaskGraph,
    ResultFormat,
    RetryBackoff,
    RetryPolicy,
    RetryStrategy,
    RunLocation,
    StoredParam,
    TaskGraphLog,
    TaskGraphLogsData,
    TaskGraphNodeMetadata,
    TaskStatus,
    UdfInfo,
    User,
)

TaskGraphLogStatus = LogStatus
ArrayTaskStatus = TaskStatus
TaskGraphNodeRunLocation = RunLocation
UDFResultType = ResultFormat
UDFArrayDetails = ArrayDetails
QueryRanges = ArrayRanges


class ArrayList:
    """Arrays for one function: `DAG.submit_array_udf` takes it in place of an address, and the function gets a list.

    Example:
        >>> arrays = ArrayList()
        >>> arrays.add("tiledb://TileDB-Inc/quickstart_dense", [(1, 2), (1, 4)], ["a"])
        >>> arrays.add("tiledb://TileDB-Inc/quickstart_sparse", [(1, 2), (1, 4)], ["a"])
        >>> [one.uri for one in arrays.get()]
        ['tiledb://TileDB-Inc/quickstart_dense', 'tiledb://TileDB-Inc/quickstart_sparse']
    """

    def __init__(self) -> None:
        self._arrays: list[ArrayDetails] = []

    def add(self, uri: str, ranges: Any = None, buffers: Any = None, layout: str | None = None) -> None:
        """One more array, with what is read of it, as `DAG.submit_array_udf` has it.

        Raises:
            ValueError: The ranges or the layout cannot be understood.
        """
        from .run.remote_calls import layout_of, parse_ranges

        selection = ArrayRanges(parse_ranges(ranges), layout_of(layout))
        self._arrays.append(ArrayDetails(uri, selection, tuple(buffers or ())))

    def get(self) -> list[ArrayDetails]:
        """What was added, in order."""
        return list(self._arrays)


__all__ = [
    "ArrayDetails",
    "ArrayList",
    "ArrayRanges",
    "ArrayTask",
    "ArrayTaskData",
    "ArrayTaskStatus",
    "LogStatus",
    "PaginationMetadata",
    "QueryRanges",
    "RegisteredTaskGraph",
    "ResultFormat",
    "RetryBackoff",
    "RetryPolicy",
    "RetryStrategy",
    "RunLocation",
    "StoredParam",
    "TaskGraphLog",
    "TaskGraphLogStatus",
    "TaskGraphLogsData",
    "TaskGraphNodeMetadata",
    "TaskGraphNodeRunLocation",
    "TaskStatus",
    "UDFArrayDetails",
    "UDFResultType",
    "UdfInfo",
    "User",
]
