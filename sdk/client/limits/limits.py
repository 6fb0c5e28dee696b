"""Limits: how many nodes of an activity type may be out at once. `client.limits` (docs/how-to/limits.md)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from backbeat.client.limits.rates import read_rate
from backbeat.client.limits.spread import wait_until_known
from backbeat.client.limits.views import ActivityLimit, read_limits
from backbeat.client.session import Session
from backbeat.payload.values import seconds, to_count, to_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.limits import Limits as LimitsReply
from backbeat.schemas.messages.limits import LimitValues


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


class LimitCalls(Session):
    """The calls about limits."""

    @property
    def limits(self) -> Limits:
        """How many of an activity type may be out at once: `await client.limits.set("Send to Bank", concurrency=3)`."""
        return Limits(self)

    # --- inside ------------------------------------------------------------------------------------------------------

    async def change_limit(self, activity: str, values: LimitValues | None, *, paused: bool | None) -> None:
        """Have a limit changed, and wait until every partition goes by it."""
        to_text("The activity's name", activity)
        command = commands.ChangeLimit(
            client_id=self._connected(), activity=activity, values=values, paused=paused, **self._common()
        )
        ends_at = time.monotonic() + self.timeout
        answer: LimitsReply = await self._transport.command(command, self.timeout, f"limit of {activity!r}")
        left = max(0.1, ends_at - time.monotonic())
        await wait_until_known(answer.limits[0].limit, self._limits_at, self._transport.partitions, left)

    async def all_limits(self) -> list[ActivityLimit]:
        """All of this client application."""
        self._connected()
        partitions = range(self._transport.partitions)
        return read_limits(await asyncio.gather(*(self._limits_at(one, self.timeout) for one in partitions)))

    async def _limits_at(self, partition: int, timeout: float) -> LimitsReply:
        query = queries.GetLimits(partition=partition, **self._asked())
        found: list[LimitsReply] = await self._ask(query, f"limits of partition {partition}", timeout)
        return LimitsReply(tuple(view for part in found for view in part.limits))
