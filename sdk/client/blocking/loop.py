"""An event loop for code that has none: `client` runs its client in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

from backbeat.errors import Unavailable
from backbeat.transport.connecting import BEFORE_FORK, Pinned

T = TypeVar("T")

_END = object()
#: How often is looked whether the thread that is waited for is still there.
_LOOK_SECONDS = 1.0


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        #: The process that has the thread; a fork does not copy it.
        self._process = 0
        self._pinned: Pinned | None = None

    @property
    def is_inherited(self) -> bool:
        """True: it was begun before a fork, and its thread is the parent's."""
        return self._loop is not None and self._process != os.getpid()

    def start(self) -> bool:
        """Begin; nothing may be run before. False where it has begun."""
        if self._thread is not None and not self.is_inherited:
            return False
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="backbeat-client", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            loop.close()
            raise Unavailable(f"no thread can be started for the client: {error}") from error
        self._loop, self._thread, self._process, self._pinned = loop, thread, os.getpid(), Pinned(loop)
        return True

    def stop(self) -> None:
        """End the thread."""
        if self._loop is None or self._thread is None or self.is_inherited:
            return
        with contextlib.suppress(RuntimeError):
            # Its thread may have ended by itself.
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = self._pinned = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The value of a coroutine. It runs in the caller's context, so that an activity running here is known."""
        loop = self._loop
        reason = self._why_not()
        if loop is None or reason is not None:
            coroutine.close()
            raise Unavailable(reason)
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        try:
            while True:
                try:
                    return future.result(_LOOK_SECONDS)
                except TimeoutError:
                    # The coroutine's own, or that of this look.
                    if future.done():
                        return future.result()
                    reason = self._why_not()
                    if reason is not None:
                        raise Unavailable(reason) from None
        except BaseException:
            # Ctrl-C while it waits: nobody wants the answer any more.
            future.cancel()
            raise

    def _why_not(self) -> str | None:
        if self._loop is None or self._thread is None:
            return "the client is not connected: use `with PlainClient(…) as client`"
        if self.is_inherited:
            return BEFORE_FORK
        if sys.is_finalizing():
            return "the interpreter ends, and the client's thread with it: call stop() before"
        return None if self._thread.is_alive() else "the client's thread has ended: make another client"

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an async iterator, one after the other."""

        async def following() -> T | object:
            return await anext(items, _END)

        async def close() -> None:
            await items.aclose()  # type: ignore[attr-defined]  # it is a generator

        try:
            while (item := self.run(following())) is not _END:
                yield item  # type: ignore[misc]  # not the end
        finally:
            self.run(close())
