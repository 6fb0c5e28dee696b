"""What a client asks of limits: the commands and queries behind `limits`."""

from __future__ import annotations

import asyncio
import time

from backbeat.client.limits.limits import Limits
from backbeat.client.limits.spread import wait_until_known
from backbeat.client.limits.views import ActivityLimit, read_limits
from backbeat.client.session import Speaker
from backbeat.payload.values import to_text
from backbeat.streams.core import commands, queries
from backbeat.streams.core import effects as fx
from backbeat.streams.core.records import LimitValues


class LimitCalls(Speaker):
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
        answer: fx.Limits = await self._transport.command(command, self.timeout, f"limit of {activity!r}")
        left = max(0.1, ends_at - time.monotonic())
        await wait_until_known(answer.limits[0].limit, self._limits_at, self._transport.partitions, left)

    async def all_limits(self) -> list[ActivityLimit]:
        """All of this client application."""
        self._connected()
        partitions = range(self._transport.partitions)
        return read_limits(await asyncio.gather(*(self._limits_at(one, self.timeout) for one in partitions)))

    async def _limits_at(self, partition: int, timeout: float) -> fx.Limits:
        query = queries.GetLimits(partition=partition, **self._asked())
        found: list[fx.Limits] = await self._ask(query, f"limits of partition {partition}", timeout)
        return fx.Limits(tuple(view for part in found for view in part.limits))
