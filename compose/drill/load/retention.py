"""Retention of the load's payments: what is stored has no reason to grow."""

from __future__ import annotations

import asyncio

from backbeat import Client
from backbeat.compose.drill.load.payments import CLIENT, WEBHOOK_CLIENT, WORKFLOW

KEEP_SECONDS = 30.0
#: All partitions agree to it, of an installation that has just begun or has just been through a play.
_ASK_SECONDS_MAX = 60.0


def keep_briefly(servers: str) -> None:
    """Have payments removed half a minute after their end. BackbeatError: it could not be agreed."""
    asyncio.run(_keep_briefly(servers))


def keep_for_ever(servers: str) -> None:
    """Have payments kept as they were before. BackbeatError: it could not be agreed."""
    asyncio.run(_keep_for_ever(servers))


async def _keep_for_ever(servers: str) -> None:
    for name in (CLIENT, WEBHOOK_CLIENT):
        async with Client(servers, client=name, timeout=_ASK_SECONDS_MAX) as client:
            if await client.retention.get(WORKFLOW) is not None:
                await client.retention.remove(WORKFLOW)


async def _keep_briefly(servers: str) -> None:
    for name in (CLIENT, WEBHOOK_CLIENT):
        async with Client(servers, client=name, timeout=_ASK_SECONDS_MAX) as client:
            # Nobody archives here; what waits for it would be kept for ever.
            await client.retention.set(WORKFLOW, keep=KEEP_SECONDS, archive=False, refuse=KEEP_SECONDS)
