"""What a server node returned: it stays on the server until somebody needs it, and comes at most once."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

from ..errors import ServerError, ServerUnreachable
from ..wire.models import Decoder, PandasDecoder, StoredParam

if TYPE_CHECKING:
    from ..wire.client import Client, Reply

__all__ = ["RemoteResult"]

_MISSING: Final = object()


class RemoteResult:
    """What a server node returned: on the server, here, or both. Safe from any thread."""

    __slots__ = ("_client", "_decoder", "_lock", "_value", "is_stored", "task_id")

    def __init__(self, client: Client, task_id: uuid.UUID | None, decoder: Decoder, is_stored: bool) -> None:
        self.task_id = task_id
        self.is_stored = is_stored
        self._client = client
        self._decoder = decoder
        self._lock = threading.Lock()
        self._value: Any = _MISSING

    def take(self, reply: Reply) -> None:
        """The bytes came with the answer."""
        from ..wire import codec

        self._value = codec.decode_stored(reply.data, reply.content_type, self._decoder)

    @property
    def is_here(self) -> bool:
        return self._value is not _MISSING

    def reference_for(self, client: Client) -> StoredParam | None:
        """What stands for the value in a call to that server, if it has it."""
        if not self.is_stored or self.task_id is None or client.url != self._client.url:
            return None
        return StoredParam(self.task_id, self._decoder if isinstance(self._decoder, PandasDecoder) else None)

    def value(self) -> Any:
        """The value; downloads it if that has not happened.

        Raises:
            ServerError: The server does not have it any more.
            ServerUnreachable: It cannot be asked.
        """
        if self._value is _MISSING:
            with self._lock:
                if self._value is _MISSING:
                    self.take(self._fetch())
        return self._value

    def _fetch(self) -> Reply:
        if self.task_id is None:
            raise ServerError("the server keeps no result of this node", 404)
        try:
            return self._client.task_result(self.task_id)
        except ServerUnreachable:
            if not self._client.is_embedded:
                raise
            from ..wire import client as wire_client

            self._client = wire_client.current()  # a new server over the same records
            return self._client.task_result(self.task_id)
