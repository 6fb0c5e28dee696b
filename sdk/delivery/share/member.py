"""A member of a share group: takes records one by one under locks, renews the locks, and settles the records.

It reads all partitions, whichever the group gives it. The group gives each partition to some members only, and what
lies in one would wait while those are busy; brokers hand out records to whoever is in the group.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from confluent_kafka import KafkaError

from backbeat.delivery.kafka import logger
from backbeat.delivery.share.cluster import REFUSED_FOR_GOOD, TROUBLE, Cluster, RefusedError
from backbeat.delivery.share.protocol import EPOCH_JOIN, EPOCH_LEAVE, MemberIdentity, heartbeat
from backbeat.delivery.share.session import BACKOFF_SECONDS_MAX, BACKOFF_SECONDS_MIN, AcquiredRecord, Session
from backbeat.errors import BackbeatError, Unavailable

_LEAVE_SECONDS_MAX = 5.0
#: Until the broker has told how long its locks last.
_LOCK_SECONDS_DEFAULT = 30.0
#: Interval of looking up the leaders: partitions may be added.
_LOOK_SECONDS = 60.0

_MEMBER_UNKNOWN = {KafkaError.UNKNOWN_MEMBER_ID, 110}  # FENCED_MEMBER_EPOCH


class Member:
    """A member of the group, from `join()` to `leave()`, in one event loop.

    `room` gives how many more records may be taken now, `accept` gets those that were, `fail` the error that ends it.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        group: str,
        topic: str,
        *,
        room: Callable[[], int],
        accept: Callable[[list[AcquiredRecord]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.cluster = Cluster(bootstrap_servers, group, topic)
        self.accept = accept
        self.leaving = False
        self.lock_seconds = _LOCK_SECONDS_DEFAULT
        self.identity = MemberIdentity(group, base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("="), topic, b"")
        self._room = room
        self._fail = fail
        #: Records that fetches under way may bring.
        self._claimed = 0
        self._epoch = EPOCH_JOIN
        self._interval_seconds = 1.0
        self._sessions: dict[int, Session] = {}
        self._beating: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Enter the group. RefusedError, or an error of TROUBLE: it cannot be."""
        if not self.cluster.topic_id:
            await self.cluster.refresh()
        self.identity = self.identity._replace(topic_id=self.cluster.topic_id)
        await self.cluster.patiently(self._beat)
        self._beating = asyncio.create_task(self._watched(self._keep_beating()))
        self._distribute()

    def wake(self) -> None:
        """Have the sessions look for room again."""
        for session in self._sessions.values():
            session.wakeup.set()

    async def leave(self) -> bool:
        """Settle what is due, give back the rest, and leave the group. False: the brokers have not heard of it."""
        self.leaving = True
        self.wake()
        tasks = [session.task for session in self._sessions.values() if session.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=_LEAVE_SECONDS_MAX)
        others = [task for task in (self._beating, self._looking, *tasks) if task is not None]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS_MAX):
                if self._epoch != EPOCH_JOIN:
                    await self._ask_group(EPOCH_LEAVE)
        except (*TROUBLE, BackbeatError, RefusedError) as error:
            # The broker notices by itself, after the session timeout; what was held is given back with the connection.
            logger.warning("leaving the share group %s: %s", self.identity.group, error)
            return False
        return True

    # --- for the sessions -------------------------------------------------------------------------------------------

    def partitions_of(self, node_id: int) -> set[int]:
        """The partitions that a broker leads."""
        return {partition for partition, leader in self.cluster.leaders.items() if leader == node_id}

    def claim(self, session: Session) -> int:
        """Number of records that a session may fetch now: its part of the room, given back with `unclaim`.

        Where there is not enough for all, a session that got none the last time comes first.
        """
        free = 0 if self.leaving else self._room() - self._claimed
        others = [other for other in self._sessions.values() if other is not session]
        if free <= 0 or (free <= len(others) and not session.starved and any(other.starved for other in others)):
            session.starved = True
            return 0
        session.starved = False
        part = -(-free // (1 + len(others)))
        self._claimed += part
        return part

    def unclaim(self, count: int) -> None:
        """End a fetch; the records that it brought are counted in `room` now."""
        self._claimed -= count
        if any(session.starved for session in self._sessions.values()):
            self.wake()

    def look_again(self) -> None:
        """Look up the leaders: a partition has another one now."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    async def _look(self) -> None:
        """Look up the leaders until those of all partitions are known."""
        backoff = BACKOFF_SECONDS_MIN
        while True:
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
            try:
                await self.cluster.refresh()
            except (*TROUBLE, Unavailable) as error:
                logger.info("where %s is, is not known yet: %s", self.identity.topic, error)
                continue
            if self.cluster.topic_id != self.identity.topic_id:
                self._fail(Unavailable(f"the topic {self.identity.topic} was deleted and made again"))
            for session in self._sessions.values():
                session.broken.clear()
            self._distribute()
            if self.cluster.is_whole:
                return

    # --- membership ---------------------------------------------------------------------------------------------------

    async def _watched(self, coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except Exception as error:  # noqa: BLE001 - it is raised again where the worker runs
            self._fail(error)

    async def _keep_beating(self) -> None:
        backoff = BACKOFF_SECONDS_MIN
        looked_at = time.monotonic()
        while not self.leaving:
            if time.monotonic() - looked_at > _LOOK_SECONDS:
                looked_at = time.monotonic()
                self.look_again()
            await asyncio.sleep(self._interval_seconds if backoff == BACKOFF_SECONDS_MIN else backoff)
            try:
                await self._beat()
            except (*TROUBLE, Unavailable) as error:
                logger.info("the coordinator of %s does not answer: %s", self.identity.group, error)
                self.cluster.forget_coordinator()
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
            except RefusedError as error:
                if error.code in REFUSED_FOR_GOOD:
                    raise Unavailable(f"the share group {self.identity.group}: {error}") from error
                logger.info("the coordinator of %s: %s", self.identity.group, error)
                if error.code in _MEMBER_UNKNOWN:
                    self._epoch = EPOCH_JOIN
                self.cluster.forget_coordinator()
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
            else:
                backoff = BACKOFF_SECONDS_MIN

    async def _beat(self) -> None:
        response = await self._ask_group(self._epoch)
        self._epoch = response.member_epoch
        self._interval_seconds = response.heartbeat_interval_ms / 1000

    async def _ask_group(self, epoch: int) -> Any:
        identity = self.identity
        response = await self.cluster.ask_coordinator(
            heartbeat(identity.group, identity.member_id, epoch, identity.topic)
        )
        if response.error_code:
            raise RefusedError(response.error_code, response.error_message)
        return response

    def _distribute(self) -> None:
        """Start a session with each broker that leads partitions."""
        for node_id in set(self.cluster.leaders.values()):
            if node_id not in self._sessions and not self.leaving:
                session = self._sessions[node_id] = Session(self, node_id)
                session.task = asyncio.create_task(self._watched(session.run()))
        self.wake()
