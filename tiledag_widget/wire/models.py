"""What crosses the wire, as values."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredParam:
    """Stands for the stored result of a task.

    Attributes:
        task_id: Of the task on the server.
        decoder: Turns the stored bytes into the value.
    """

    task_id: uuid.UUID
    decoder: Any = None
