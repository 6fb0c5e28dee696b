"""Progress of the engine: tasks that wait without anything of their own to do listen here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class ProgressEvent:
    """Set whenever a command is sent. It belongs to no event loop: only its listeners do."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Wake the listeners."""
        for listener in self._listeners:
            if not listener.done():
                listener.set_result(None)

    async def wait(self, tasks: Iterable[asyncio.Task[Any]], seconds: float) -> bool:
        """Await progress, or the end of one of the tasks. False: neither within these seconds (host's time)."""
        listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        try:
            done, _ = await asyncio.wait({listener, *tasks}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listeners.discard(listener)
        return bool(done)
