"""Waiting for a graph from a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from .threads import threads

T = TypeVar("T")


async def in_thread(wait: Callable[[], T]) -> T:
    """The outcome of a blocking call, made on a shared thread while the event loop goes on.

    Cancelling the awaiting task ends the waiting only.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]
        elif isinstance(error, StopIteration):  # a future refuses it
            future.set_exception(RuntimeError(f"the node raised StopIteration: {error}"))
        else:
            future.set_exception(error)

    def job() -> None:
        value: T | None = None
        failure: BaseException | None = None
        try:
            value = wait()
        except BaseException as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, value, failure)

    threads.start(job, "tiledag-await")
    return await future
