"""Pusher of a batch: what is added within a few rounds of the event loop goes to Kafka together.

It waits for no clock: a batch is pushed once the loop has had a round in which nothing was added, so a record that
comes alone goes at once.
"""

from __future__ import annotations

import asyncio

from backbeat.delivery.record_batch import RecordBatch

#: Bound of the gathering while more and more is added.
_GATHER_SECONDS_MAX = 0.02
#: Wait for room where Kafka does not keep up, or is away.
FULL_SECONDS = 0.05


class Pusher:
    """Pushes a batch from this event loop."""

    def __init__(self, batch: RecordBatch, loop: asyncio.AbstractEventLoop) -> None:
        self._batch = batch
        self._loop = loop

    def begin(self) -> None:
        """Push soon: the first record was added. From any thread."""
        call_soon = self._loop.call_soon if _runs_here(self._loop) else self._loop.call_soon_threadsafe
        try:
            call_soon(self._round, 0)
        except RuntimeError:
            # The loop is closed: there are no rounds any more.
            self._batch.push()

    def _round(self, added: int) -> None:
        batch = self._batch
        if batch.added != added and batch.seconds < _GATHER_SECONDS_MAX:
            self._loop.call_soon(self._round, batch.added)
        elif not batch.push():
            self._loop.call_later(FULL_SECONDS, self._round, batch.added)


def push_overdue(batch: RecordBatch) -> None:
    """Push what an event loop has left, since a handler blocks it. From another thread."""
    if batch.seconds > FULL_SECONDS:
        batch.push()


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
