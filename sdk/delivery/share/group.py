"""A client application's share group: a member in it, and its position for the consumer group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from confluent_kafka import KafkaException

from backbeat.delivery.consumer import group_of
from backbeat.delivery.kafka import logger
from backbeat.delivery.share.cluster import TROUBLE, RefusedError
from backbeat.delivery.share.member import Member
from backbeat.delivery.share.offsets import begin_at, commit, ends, positions, prepare
from backbeat.delivery.share.session import AcquiredRecord
from backbeat.errors import BackbeatError, Unavailable
from backbeat.schemas.kafka.topics import activities_topic

#: Interval at which the consumer group's position follows.
_FOLLOW_SECONDS = 15.0


class ShareGroup:
    """Membership in the share group of a client application's workers, from `join` to `leave`, in one event loop."""

    def __init__(self, bootstrap_servers: str, client: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = activities_topic(client)
        self._consumer_group = group_of(client)
        self._group = f"{self._consumer_group}-share"
        self._member: Member
        self._following: asyncio.Task[None]
        #: Number of deliveries at which a record is to be put back: the broker takes it out soon.
        self.last_delivery = 0
        #: Partition -> records that the group has not done; None: not known.
        self.lag: dict[int, int | None] = {}

    async def join(
        self,
        *,
        room: Callable[[], int],
        accept: Callable[[list[AcquiredRecord]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Enter the group, and take records where there is `room`. BackbeatError: it cannot be."""
        self._member = Member(self._bootstrap_servers, self._group, self._topic, room=room, accept=accept, fail=fail)
        cluster = self._member.cluster
        try:
            await cluster.refresh()
            # The first request that an old broker does not know.
            await cluster.patiently(lambda: positions(cluster, self._group, self._topic))
            setup = await asyncio.to_thread(
                prepare, self._bootstrap_servers, self._group, self._topic, self._consumer_group
            )
            # The last but one: who dies while it puts a record back leaves one more delivery to do it.
            self.last_delivery = max(2, setup.deliveries_max - 1)
            await cluster.patiently(lambda: begin_at(cluster, self._group, self._topic, setup.committed, self._ends))
            await self._member.join()
        except BaseException as error:
            await cluster.close()
            if not isinstance(error, (*TROUBLE, RefusedError, KafkaException)):
                raise
            raise Unavailable(f"the share group {self._group} cannot be joined: {error}") from error
        self.lag = dict.fromkeys(cluster.leaders)
        self._following = asyncio.create_task(self._follow())

    def wake(self) -> None:
        """Look for room, and for records that are settled."""
        self._member.wake()

    async def leave(self) -> None:
        """Settle what is due, give back the rest, leave the group, and disconnect."""
        self._following.cancel()
        try:
            if await self._member.leave():
                await self._commit()
        finally:
            await self._member.cluster.close()

    # --- the consumer group's position ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while True:
            await self._commit()
            await asyncio.sleep(_FOLLOW_SECONDS)

    async def _commit(self) -> None:
        """Commit, for the consumer group, up to where everything is done."""
        try:
            # The ends first: where nothing is behind after that, everything up to them is done.
            end = await asyncio.to_thread(self._ends)
            group_positions = await positions(self._member.cluster, self._group, self._topic)
            self.lag = {partition: position.lag for partition, position in group_positions.items()}
            starts = {
                partition: max(position.start, end[partition]) if position.lag == 0 else position.start
                for partition, position in group_positions.items()
                if position.start is not None and partition in end
            }
            if starts:
                await asyncio.to_thread(commit, self._bootstrap_servers, self._consumer_group, self._topic, starts)
        except (*TROUBLE, RefusedError, BackbeatError, KafkaException) as error:
            logger.info("the position of %s does not follow for now: %s", self._consumer_group, error)

    def _ends(self) -> dict[int, int]:
        return ends(self._bootstrap_servers, self._topic, self._member.cluster.leaders)
