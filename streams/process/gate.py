"""Gate of the commands: closed while any part holds them back, since they could be neither sent on nor committed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """A gate with any number of parts that hold it closed. Waited for on the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._holds = 0
        self._open = asyncio.Event()
        self._open.set()

    @property
    def is_held(self) -> bool:
        """True while somebody holds it closed; from any thread."""
        return self._holds > 0

    async def wait(self) -> None:
        """Wait until nobody holds the gate closed."""
        await self._open.wait()

    def hold_back(self, waits: bool) -> None:  # noqa: FBT001 - a callback's one argument
        """Hold the gate closed, or let go of it; from any thread, in pairs."""
        self._loop.call_soon_threadsafe(self._count, 1 if waits else -1)

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Hold the gate closed meanwhile; on the event loop, at once."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self._holds += change
        if self._holds:
            self._open.clear()
        else:
            self._open.set()
