"""Limits: how many nodes of an activity type may be out at once. `client.limits` (docs/limits.md)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from backbeat.client.limits.rates import read_rate
from backbeat.client.limits.views import ActivityLimit
from backbeat.payload.values import seconds, to_count, to_text
from backbeat.streams.core.records import LimitValues

if TYPE_CHECKING:
    from backbeat.client.limits.calls import LimitCalls


class Limits:
    """The limits of one client application's activity types.

    A change has come to every partition when it is answered; it counts for what waits already.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def limit() -> None:
    ...     limits = Backbeat().client().limits
    ...     await limits.set("Send to Bank", concurrency=3, rate="100/min")
    ...     for one in await limits.list():
    ...         print(one.activity, one.concurrency, one.rate, one.paused)
    >>> asyncio.run(limit())
    Send to Bank 3 100/min False
    """

    def __init__(self, client: LimitCalls) -> None:
        self._client = client

    async def set(
        self,
        activity: str,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int = 1,
        key: str = "",
        aging: float | timedelta = 300.0,
    ) -> None:
        """Let at most `concurrency` nodes of the activity be out at once, and start at most `rate` (`100/min`).

        `burst` is how many may start at once after a quiet time. `key`, a path into the node (`subject`,
        `metadata.bank`, `client_data.params[0]`), gives each value there slots of its own. A node that has waited for
        `aging` (seconds) counts as one priority higher. What is not given is no bound. A pause stays as it is.
        """
        count, period = (None, 1.0) if rate is None else read_rate(rate)
        values = LimitValues(
            concurrency=None if concurrency is None else to_count("concurrency", concurrency, 1),
            rate_count=count,
            rate_period_seconds=period,
            rate_burst=to_count("burst", burst, 1),
            key=to_text("key", key, may_be_empty=True),
            aging_seconds=seconds(aging, "aging"),
        )
        await self._client.change_limit(activity, values, paused=None)

    async def remove(self, activity: str) -> None:
        """Let nodes of the activity start as they come; a pause of it ends, too."""
        await self._client.change_limit(activity, LimitValues(), paused=False)

    async def pause(self, activity: str) -> None:
        """Start no node of the activity until it is resumed; what runs goes on."""
        await self._client.change_limit(activity, None, paused=True)

    async def resume(self, activity: str) -> None:
        """Start those that wait, in their order, as far as the limit allows."""
        await self._client.change_limit(activity, None, paused=False)

    async def list(self) -> list[ActivityLimit]:
        """The limits, by activity, and how they stand."""
        return await self._client.all_limits()

    async def get(self, activity: str) -> ActivityLimit | None:
        """The limit of one activity, and how it stands; None: it has none."""
        return next((found for found in await self.list() if found.activity == activity), None)
