"""The public models, under the names that TileDB's client gives them."""

from __future__ import annotations

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

__all__ = [
    "ArrayDetails",
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
