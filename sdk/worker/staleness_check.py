"""Staleness of activities of a limited type that begin late: their attempt may be over, their slot another's.

An activity may come again: an engine was ended between sending and committing, a worker between running and committing.
Run again, it would be one more at once than its limit allows. One that has just been given its slot is no repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable

from backbeat.delivery.kafka import logger
from backbeat.errors import Rejected
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.commands import Heartbeat
from backbeat.transport.base import Transport

#: One that was given its slot longer ago may be a repeat.
_SLOT_SECONDS = 1.0
_ASK_SECONDS = 10.0
_AGAIN_SECONDS = 0.5


def is_late(record: ActivityRecord, now: float) -> bool:
    """True: the engine has to be asked. `now` is in seconds since the epoch; a wrong clock costs a question more."""
    granted_at = record.node.granted_at
    if granted_at is None or record.kind is ActivityKind.NOTIFICATION:
        return False
    return abs(now - granted_at / 1000) > _SLOT_SECONDS


async def still_runs(
    record: ActivityRecord, connected: Callable[[], Awaitable[Transport]], stopping: asyncio.Event
) -> bool | None:
    """True: current attempt. False: superseded. None: the worker stopped before an answer. Renews its deadline."""
    node = record.node
    beat = Heartbeat(id=os.urandom(16), user_id=node.user_id, node_id=node.id, attempt=node.attempt)
    while not stopping.is_set():
        try:
            transport = await connected()
            await transport.command(beat, _ASK_SECONDS, f"attempt {node.attempt} of {node.name!r}")
        except Rejected:
            return False
        except Exception as error:  # noqa: BLE001 - what runs twice is worse than what waits
            logger.warning("%s; it is asked again", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), _AGAIN_SECONDS)
        else:
            return True
    return None
