"""Whether anything has come to pass: what waits without anything of its own to do listens here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


class ProgressEvent:
    """Told whenever a command is sent. It belongs to no event loop: only those who listen do."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """Wake whoever listens."""
        for listener in self._listeners:
            if not listener.done():
                listener.set_result(None)

    async def wait(self, tasks: Iterable[asyncio.Task[Any]], seconds: float) -> bool:
        """Until something is told, or one of the tasks has ended. False: nothing for so long (host's time)."""
        listener: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners.add(listener)
        try:
            done, _ = await asyncio.wait({listener, *tasks}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._listeners.discard(listener)
        return bool(done)
