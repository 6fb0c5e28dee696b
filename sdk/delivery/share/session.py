"""The records that one broker leads, for a member of a share group: requests one after the other.

First the acknowledgements and renewals, then a fetch of as many records as there is room for. A lock goes on
for as long as the record is with us: it is renewed when half of its time has passed. Whatever breaks a session gives
its records back; they come again, here or elsewhere, and their worker recognises repeats.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from aiokafka.errors import KafkaError as RecordTrouble
from aiokafka.record.memory_records import MemoryRecords
from confluent_kafka import KafkaError

from backbeat.delivery.kafka import logger
from backbeat.delivery.share.cluster import REFUSED_FOR_GOOD, TROUBLE, Cluster, RefusedError
from backbeat.delivery.share.protocol import EPOCH_LEAVE, AckType, MemberIdentity, acknowledge, batches_of, fetch
from backbeat.errors import BackbeatError, Unavailable

BACKOFF_SECONDS_MIN, BACKOFF_SECONDS_MAX = 0.05, 1.0

#: Bound of a fetch's wait for records. Acknowledgements go after it, so this is no longer than a commit waits.
_WAIT_MS = 200
#: A record that is not ours any more; one of them makes the broker refuse all of its partition's.
_INVALID_RECORD_STATE = 121

#: (partition, offset)
Place = tuple[int, int]


class Lock:
    """A record that is ours until it is acknowledged, or is lost: then it goes to somebody else (a `Receipt`)."""

    __slots__ = ("place", "renew_at", "revoked", "session")

    def __init__(self, session: Session, place: Place, renew_at: float) -> None:
        self.session = session
        self.place = place
        #: on the monotonic clock
        self.renew_at = renew_at
        self.revoked = False

    def accept(self) -> None:
        """Acknowledge it as done. One that was lost is somebody else's."""
        if not self.revoked:
            self.session.settle(self, AckType.ACCEPT)

    def release(self) -> None:
        """Give it back, where it is not lost: it comes again, to anybody."""
        if not self.revoked:
            self.session.settle(self, AckType.RELEASE)


class AcquiredRecord(NamedTuple):
    """A record that was taken, with its lock."""

    lock: Lock
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    #: number of times that it was taken by anybody, this time included
    delivery_count: int


class Group(Protocol):
    """Interface of the member that a session belongs to (`member.Member`)."""

    cluster: Cluster
    identity: MemberIdentity
    leaving: bool
    lock_seconds: float
    accept: Callable[[list[AcquiredRecord]], None]

    def partitions_of(self, node_id: int) -> set[int]:
        """The partitions that a broker leads."""

    def claim(self, session: Session) -> int:
        """Number of records that a session may take now; they are reserved for it."""

    def unclaim(self, count: int) -> None:
        """Let others take what a session has not."""

    def look_again(self) -> None:
        """Find out who leads which partition now."""


class Session:
    """The requests to one broker, one after the other."""

    def __init__(self, member: Group, node_id: int) -> None:
        self._member = member
        self._node_id = node_id
        self._purpose = "records"
        self._epoch = 0
        self._read: set[int] = set()
        self._locks: dict[Place, Lock] = {}
        self._acks: dict[Place, AckType] = {}
        self.wakeup = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        #: True: it wanted room and got none.
        self.starved = False
        #: Partitions that are not read until it is known who leads them.
        self.broken: set[int] = set()

    def settle(self, lock: Lock, kind: AckType) -> None:
        """Acknowledge a record, with the next request."""
        del self._locks[lock.place]
        lock.revoked = True
        self._acks[lock.place] = kind
        self.wakeup.set()

    async def run(self) -> None:
        """Read until the member leaves."""
        backoff = BACKOFF_SECONDS_MIN
        while not self._member.leaving:
            try:
                await self._turn()
                backoff = BACKOFF_SECONDS_MIN
            except (*TROUBLE, RefusedError) as error:
                if isinstance(error, RefusedError) and error.code in REFUSED_FOR_GOOD:
                    raise Unavailable(f"reading {self._member.identity.topic}: {error}") from error
                logger.warning("the share session with broker %s is made again: %s", self._node_id, error)
                self._reset()
                self._member.look_again()
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, BACKOFF_SECONDS_MAX)
        try:
            if self._epoch:
                # What is still held is given back with the session.
                await self._ask(acknowledge(self._member.identity, EPOCH_LEAVE, batches_of(self._acks)))
        except (*TROUBLE, RefusedError) as error:
            logger.info("the share session with broker %s is not ended in order: %s", self._node_id, error)

    async def _turn(self) -> None:
        self.wakeup.clear()
        now = time.monotonic()
        due = [place for place, lock in self._locks.items() if lock.renew_at <= now]
        if self._acks or due:
            acks, self._acks = self._acks, {}
            await self._acknowledge({**acks, **dict.fromkeys(due, AckType.RENEW)})
            return
        partitions_wanted = self._member.partitions_of(self._node_id) - self.broken
        self.starved = self.starved and bool(partitions_wanted)
        room = self._member.claim(self) if partitions_wanted else 0
        if not room:
            await self._wait_for_wakeup()
            return
        try:
            await self._fetch(partitions_wanted, room)
        finally:
            self._member.unclaim(room)

    async def _wait_for_wakeup(self) -> None:
        """Wait until there is room or an acknowledgement, or a lock is to be renewed."""
        renew_at = min((lock.renew_at for lock in self._locks.values()), default=None)
        try:
            async with asyncio.timeout(None if renew_at is None else max(0.0, renew_at - time.monotonic())):
                await self.wakeup.wait()
        except TimeoutError:
            return

    async def _ask(self, request: Any) -> Any:
        response = await self._member.cluster.ask(self._node_id, self._purpose, request)
        if response.error_code:
            raise RefusedError(response.error_code, response.error_message)
        self._epoch += 1
        if response.lock_ms > 0:
            self._member.lock_seconds = response.lock_ms / 1000
        return response

    def _reset(self) -> None:
        """The broker has given up what we held, or will: with the connection."""
        self._member.cluster.disconnect(self._node_id, self._purpose)
        self._epoch = 0
        self._read.clear()
        self._acks.clear()
        self._lose(self._locks.copy())

    def _lose(self, places: Iterable[Place]) -> None:
        for place in places:
            lock = self._locks.pop(place, None)
            if lock is not None:
                lock.revoked = True

    # --- taking --------------------------------------------------------------------------------------------------

    async def _fetch(self, partitions_wanted: set[int], room: int) -> None:
        request = fetch(
            self._member.identity,
            self._epoch,
            records_max=room,
            wait_ms=_WAIT_MS,
            added=partitions_wanted - self._read,
            forgotten=self._read - partitions_wanted,
        )
        sent_at = time.monotonic()
        response = await self._ask(request)
        self._read = set(partitions_wanted)
        taken: list[AcquiredRecord] = []
        for _, partitions, _ in response.topics:
            for number, code, message, _, _, _, records, acquired, _ in partitions:
                if code:
                    self._break(number, code, message)
                elif acquired:
                    taken += self._acquire(number, records or b"", acquired, sent_at + self._member.lock_seconds / 2)
        if taken:
            self._member.accept(taken)

    def _acquire(self, partition: int, raw: bytes, acquired: Iterable[Any], renew_at: float) -> list[AcquiredRecord]:
        records, holes = _records(raw)
        acquired_records = []
        for first, last, delivery_count, _ in acquired:
            for offset in range(first, last + 1):
                place = (partition, offset)
                record = records.get(offset)
                if record is None:
                    # A record that may exist and did not come is not to be called a gap: nobody would run it.
                    self._acks[place] = AckType.GAP if offset in holes else AckType.RELEASE
                    continue
                # A record that was ours all the same was lost without our knowledge.
                self._lose([place])
                lock = self._locks[place] = Lock(self, place, renew_at)
                acquired_records.append(
                    AcquiredRecord(lock, record.key, record.value, list(record.headers), delivery_count)
                )
        return acquired_records

    def _break(self, partition: int, code: int, message: str | None) -> None:
        """Leave out a partition until its leader is known; the records that we hold of it are given up."""
        logger.info("%s/%s: %s", self._member.identity.topic, partition, message or KafkaError(code).str())
        self.broken.add(partition)
        self._lose([place for place in self._locks if place[0] == partition])
        self._acks = {place: kind for place, kind in self._acks.items() if place[0] != partition}
        self._member.look_again()

    # --- acknowledging -------------------------------------------------------------------------------------------

    async def _acknowledge(self, acks: Mapping[Place, AckType]) -> None:
        sent_at = time.monotonic()
        response = await self._ask(acknowledge(self._member.identity, self._epoch, batches_of(acks)))
        failed = {
            number: (code, text) for _, results, _ in response.topics for number, code, text, *_ in results if code
        }
        for place, kind in acks.items():
            if kind is AckType.RENEW and place[0] not in failed and place in self._locks:
                self._locks[place].renew_at = sent_at + self._member.lock_seconds / 2
        for number, (code, message) in failed.items():
            refused = {place: kind for place, kind in acks.items() if place[0] == number}
            if code != _INVALID_RECORD_STATE:
                self._break(number, code, message)
            elif len(refused) > 1:
                # One of them is lost, and the broker has refused all.
                for place, kind in refused.items():
                    await self._acknowledge({place: kind})
            else:
                logger.debug("%s/%s at %s was lost", self._member.identity.topic, *next(iter(refused)))
                self._lose(refused)


def _records(raw: bytes) -> tuple[dict[int, Any], set[int]]:
    """The records by offset, and the offsets without one, as those of a transaction's end.

    BackbeatError: they cannot be read.
    """
    records_by_offset: dict[int, Any] = {}
    holes: set[int] = set()
    batches = MemoryRecords(raw)
    try:
        while batches.has_next():
            batch = batches.next_batch()
            records = {} if batch.is_control_batch else {record.offset: record for record in batch}
            holes.update(set(range(batch.base_offset, batch.next_offset)) - records.keys())
            records_by_offset.update(records)
    except RecordTrouble as error:
        # Not to be tried again: each time counts as a delivery.
        raise BackbeatError(f"records cannot be read: {error}") from error
    return records_by_offset, holes
