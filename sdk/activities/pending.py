"""An answer that is on its way, for async handlers and plain ones alike."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from backbeat.errors import BackbeatError

T = TypeVar("T")


class Pending(Generic[T]):
    """Answer to come: `await` it in an async handler, call `result()` in a plain one, or let it be."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    @classmethod
    def of(cls, value: T) -> Pending[T]:
        """An answer that is there already."""
        future: Future[T] = Future()
        future.set_result(value)
        return cls(future)

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.wrap_future(self._future).__await__()

    def result(self, timeout: float | None = None) -> T:
        """The answer, awaited for at most `timeout` seconds. BackbeatError in an event loop, which it would stop."""
        if not self._future.done() and in_a_loop():
            raise BackbeatError("this is an event loop: await the answer instead of calling result()")
        return self._future.result(timeout)


def in_a_loop() -> bool:
    """True in the thread of an event loop that runs."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
