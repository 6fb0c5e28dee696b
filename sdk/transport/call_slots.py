"""Slots of calls under way: a bound, with the newest of those that wait first.

In the order of their age, more callers than there is time for would all get their slot when their own time is nearly
over, and none would be answered. The newest first, as many are answered as without an overload.
"""

from __future__ import annotations

import asyncio


class CallSlots:
    """Slots of one event loop: `async with`."""

    def __init__(self, count: int) -> None:
        self._free = count
        #: in the order in which they came
        self._waiting: dict[asyncio.Future[None], None] = {}

    async def __aenter__(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled():
                # Its slot has come in the same round.
                self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        while self._waiting:
            turn, _ = self._waiting.popitem()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
