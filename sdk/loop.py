"""An event loop for code that has none: `plain` runs its client in it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from backbeat.errors import Unavailable

T = TypeVar("T")

_END = object()


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; nothing may be run before."""
        if self._thread is not None:
            return
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="backbeat-client", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives. It runs in the caller's context, so that an activity running here is known."""
        loop = self._loop
        if loop is None:
            coroutine.close()
            raise Unavailable("the client is not connected: use `with PlainClient(…) as client`")
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C while it waits: nobody wants the answer any more.
            future.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """What an async iterator gives, one after the other."""

        async def following() -> T | object:
            return await anext(items, _END)

        async def close() -> None:
            await items.aclose()  # type: ignore[attr-defined]  # it is a generator

        try:
            while (item := self.run(following())) is not _END:
                yield item  # type: ignore[misc]  # not the end
        finally:
            self.run(close())
