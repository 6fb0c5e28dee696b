"""Limits: nodes of an activity type out at once, and starts in a time. `client.limits` (docs/how-to/limits.md)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from backbeat.activities.limit import Limit
from backbeat.client.limits.spread import wait_until_known
from backbeat.client.limits.views import ActivityLimit, read_limits
from backbeat.client.session import Session
from backbeat.payload.values import to_text
from backbeat.schemas.messages import commands, queries
from backbeat.schemas.messages.limits import Limits as LimitsReply
from backbeat.schemas.messages.limits import LimitValues


class Limits:
    """The limits of one client application's activity types.

    A change has come to every partition when it is answered; it counts for what waits already.

    >>> import asyncio
    >>> from backbeat.testing import Backbeat
    >>> async def set_limit() -> None:
    ...     limits = Backbeat().client().limits
    ...     await limits.set("Send to Bank", concurrency=3, rate="100/min")
    ...     for limit in await limits.list():
    ...         print(limit.activity, limit.concurrency, limit.rate, limit.paused)
    >>> asyncio.run(set_limit())
    Send to Bank 3 100/min False
    """

    def __init__(self, session: Session) -> None:
        self._session = session

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
        values = Limit(concurrency=concurrency, rate=rate, burst=burst, key=key, aging=aging).values()
        await self._change(activity, values, paused=None)

    async def declare(self, activity: str, limit: Limit) -> None:
        """Set the limit that an activity is declared with, as its workers do when they start."""
        await self._change(activity, limit.values(), paused=None)

    async def remove(self, activity: str) -> None:
        """Let nodes of the activity start as they come; a pause of it ends, too."""
        await self._change(activity, LimitValues(), paused=False)

    async def pause(self, activity: str) -> None:
        """Start no node of the activity until it is resumed; what runs goes on."""
        await self._change(activity, None, paused=True)

    async def resume(self, activity: str) -> None:
        """Start those that wait, in their order, as far as the limit allows."""
        await self._change(activity, None, paused=False)

    async def list(self) -> list[ActivityLimit]:
        """The limits, by activity, and how they stand."""
        self._session.check_connected()
        await self._session.ready()
        partitions = range(self._session.transport.partitions)
        timeout = self._session.timeout
        return read_limits(await asyncio.gather(*(self._limits_at(number, timeout) for number in partitions)))

    async def get(self, activity: str) -> ActivityLimit | None:
        """The limit of one activity, and how it stands; None: it has none."""
        return next((limit for limit in await self.list() if limit.activity == activity), None)

    async def _change(self, activity: str, values: LimitValues | None, *, paused: bool | None) -> None:
        """Have a limit changed, and wait until every partition goes by it."""
        to_text("The activity's name", activity)
        session = self._session
        command = commands.ChangeLimit(
            client_id=session.user_id, activity=activity, values=values, paused=paused, **session.command_fields()
        )
        ends_at = time.monotonic() + session.timeout
        answer: LimitsReply = await session.transport.command(command, session.timeout, f"limit of {activity!r}")
        left = max(0.1, ends_at - time.monotonic())
        await wait_until_known(answer.limits[0].limit, self._limits_at, session.transport.partitions, left)

    async def _limits_at(self, partition: int, timeout: float) -> LimitsReply:
        query = queries.GetLimits(partition=partition, **self._session.query_fields())
        parts: list[LimitsReply] = await self._session.query(query, f"limits of partition {partition}", timeout)
        return LimitsReply(tuple(view for part in parts for view in part.limits))
