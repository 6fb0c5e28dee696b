"""Closing of payments: by the engines' word, too, each that was paid is complete, with everything below it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack

from backbeat import BackbeatError, Client, NotFound
from backbeat.compose.drill.load.payments import CLIENT, WEBHOOK_CLIENT, way_of

_AT_ONCE = 20
_PAUSE_SECONDS = 0.5
_COMPLETE = "complete"


def unclosed(servers: str, roots: Mapping[str, str], seconds: float, *, is_removed: bool = False) -> dict[str, str]:
    """Payments (name -> id of the topmost node) that are not complete in time, with their statuses.

    `is_removed`: what is complete is removed by a retention, and nothing else is; what is not there was complete.
    """
    return asyncio.run(_unclosed(servers, roots, seconds, is_removed=is_removed))


async def _unclosed(servers: str, roots: Mapping[str, str], seconds: float, *, is_removed: bool) -> dict[str, str]:
    deadline = time.monotonic() + seconds
    slots = asyncio.Semaphore(_AT_ONCE)
    async with AsyncExitStack() as stack:
        workers, webhooks = [
            await stack.enter_async_context(Client(servers, client=name)) for name in (CLIENT, WEBHOOK_CLIENT)
        ]

        async def ask(payment: str) -> str:
            async with slots:
                try:
                    client = webhooks if way_of(payment) == "http" else workers
                    return (await client.node(roots[payment])).status
                except NotFound as error:
                    return _COMPLETE if is_removed else f"not known: {error}"
                except BackbeatError as error:
                    return f"not known: {error}"

        left = dict.fromkeys(roots, "")
        while left:
            statuses = await asyncio.gather(*map(ask, left))
            left = {payment: status for payment, status in zip(left, statuses, strict=True) if status != _COMPLETE}
            if time.monotonic() > deadline:
                break
            if left:
                await asyncio.sleep(_PAUSE_SECONDS)
        return left
