"""A limit on its way to every partition: the client waits for its arrival, and the gateway for its callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from backbeat.errors import Timeout
from backbeat.schemas.messages.limits import Limit, Limits

#: A change takes milliseconds to get from the partition that orders it to the others.
_LOOK_AGAIN_SECONDS = 0.01


async def wait_until_known(
    limit: Limit, ask: Callable[[int, float], Awaitable[Limits]], partitions: int, timeout: float
) -> None:
    """Wait until every partition goes by this limit or a later one. `ask` gives what a partition knows. Timeout."""
    ends_at = time.monotonic() + timeout
    for partition in range(partitions):
        while not _is_known(limit, await ask(partition, max(0.1, ends_at - time.monotonic()))):
            if time.monotonic() >= ends_at:
                raise Timeout(
                    f"limit of {limit.activity!r}: partition {partition} does not know it after {timeout:g} s; it is "
                    "in the log and will be taken. Is an engine running?"
                )
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _is_known(limit: Limit, known: Limits) -> bool:
    for view in known.limits:
        if (view.limit.client_id, view.limit.activity) == (limit.client_id, limit.activity):
            return view.limit.revision >= limit.revision
    return not limit.binds
