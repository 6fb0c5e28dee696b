"""Activities in through a share group (KIP-932): a worker takes as many as it can begin, from all partitions.

A thread with an event loop of its own speaks to Kafka (`member`), so that a handler that blocks the worker's
loop cannot lose its locks; another serves the reports of what was sent. A record is accepted once Kafka has
acknowledged its answer, and released when it is given up: then it comes to somebody else.

A broker takes a record out once it was taken so many times without an answer, and nobody would hear of it. So one that
comes for the last time but one is put back to the end of its topic first, and accepted when Kafka has it there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial

from confluent_kafka import KafkaException, Message

from backbeat.delivery.kafka import logger
from backbeat.delivery.records import ConsumerState, Job, Key, RecentKeys, key_of
from backbeat.delivery.result_producer import FULL_SECONDS, ResultProducer
from backbeat.delivery.share.cluster import TROUBLE, RefusedError
from backbeat.delivery.share.member import Member
from backbeat.delivery.share.offsets import begin_at, commit, ends, positions, prepare
from backbeat.delivery.share.protocol import AckType
from backbeat.delivery.share.session import AcquiredRecord, Lock
from backbeat.errors import BackbeatError, Unavailable
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.schemas.messages.activities import ActivityRecord

_REPORT_SECONDS = 0.1
#: Interval at which the consumer group's position follows.
_FOLLOW_SECONDS = 15.0


class _ShareJob(Job):
    """A job, and the locks on its record and on repeats of it."""

    __slots__ = ("locks",)

    def __init__(self, record: ActivityRecord, key: Key, lock: Lock) -> None:
        super().__init__(record, key)
        self.locks = [lock]

    @property
    def revoked(self) -> bool:
        """True once all its locks are lost: others may take it."""
        return all(lock.revoked for lock in self.locks)


class ShareConsumer:
    """Takes activities and hands them to the worker's loop; takes answers and settles the records."""

    def __init__(
        self,
        bootstrap_servers: str,
        client: str,
        *,
        jobs_max: int,
        accept: Callable[[Sequence[Job]], None],
        fail: Callable[[BaseException], None],
        joined: Callable[[], None],
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = activities_topic(client)
        self._consumer_group = f"backbeat-worker-{client}"
        self._group = f"{self._consumer_group}-share"
        self._jobs_max = jobs_max
        self._accept = accept
        self._fail = fail
        self._joined = joined
        self._results = ResultProducer(bootstrap_servers, self._settle_later)
        self._outer: asyncio.AbstractEventLoop
        self._loop: asyncio.AbstractEventLoop
        self._member: Member
        self._threads: list[threading.Thread] = []
        self._draining = False
        self._ending: asyncio.Event
        #: The same from the worker's side, which may stop before the thread has begun.
        self._stopped = threading.Event()
        self._reporting = True
        self._last_delivery = 0
        self._jobs: dict[Key, _ShareJob] = {}
        self._recent = RecentKeys()
        self._repeats = self._dead_letter_count = self._requeued_count = 0
        self._lag: dict[int, int | None] = {}
        self._joined_at = 0.0
        #: Jobs handed to the worker's loop, and those that have arrived there, ever.
        self._handed_over = 0
        self._arrived = 0
        #: Room that the worker reported last: how many more may begin, and `_arrived` at that time.
        self._room = (0, 0)
        #: From other threads: settled jobs, and whether this loop is about to look at them.
        self._settled: deque[Job] = deque()
        self._woken = False

    # --- the worker's side -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, join the group, begin to take."""
        self._outer = asyncio.get_running_loop()
        started: Future[None] = Future()
        self._spawn("backbeat-consumer", lambda: asyncio.run(self._main(started)))
        # Not cancelled with its caller: the thread reports there how it went.
        await asyncio.shield(asyncio.wrap_future(started))

    def send(self, answers: Sequence[tuple[bytes, bytes]], job: Job) -> None:
        """Send the commands that answer a job, each with its route, in order: it is settled once Kafka has them."""
        self._results.send(answers, job)

    def settle(self, job: Job, *, answered: bool) -> None:
        """Settle a job that needs no answer, or that is given up: then another worker gets it."""
        job.answered = answered
        self._settle_later(job)

    def has_room(self, count: int) -> None:
        """Allow so many more to begin at once."""
        self._room = (count, self._arrived)
        if count > 0:
            self._wake()

    def state(self) -> ConsumerState:
        """Counts and times for reports, from any thread."""
        jobs = list(self._jobs.values())
        return ConsumerState(
            held=len(jobs),
            unacknowledged=sum(1 for job in jobs if job.unsent),
            repeats=self._repeats,
            dead_letters=self._dead_letter_count,
            requeued=self._requeued_count,
            rebalanced_at=self._joined_at,
            alive=bool(self._threads) and self._threads[0].is_alive(),
        )

    def lag(self) -> Mapping[int, int | None]:
        """Partition -> records that the group has not done; None: not known."""
        return self._lag

    def drain(self) -> None:
        """Take nothing more."""
        self._draining = True

    async def stop(self) -> None:
        """Settle what is answered, give back the rest, leave the group."""
        self._draining = True
        self._stopped.set()
        if self._threads and self._threads[0].is_alive():
            # It may end by itself at this very moment, or not have begun.
            with contextlib.suppress(RuntimeError, AttributeError):
                self._loop.call_soon_threadsafe(self._ending.set)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _settle_later(self, job: Job) -> None:
        self._settled.append(job)
        self._wake()

    def _wake(self) -> None:
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._settle_jobs)
        except RuntimeError:
            logger.debug("the consumer has ended before a handler did")

    def _hand_over(self, jobs: list[Job]) -> None:
        """Runs in the worker's loop."""
        self._arrived += len(jobs)
        self._accept(jobs)

    # --- the thread's side -----------------------------------------------------------------------------------------

    async def _main(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        if self._stopped.is_set():
            self._ending.set()
        self._member = Member(
            self._bootstrap_servers,
            self._group,
            self._topic,
            room=self._free,
            accept=self._take,
            fail=self._fail_worker,
        )
        try:
            await self._begin()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the worker starts
            started.set_exception(error)
        else:
            self._spawn("backbeat-reports", self._report)
            started.set_result(None)
            following = asyncio.create_task(self._follow())
            await self._ending.wait()
            following.cancel()
            await self._end()
        finally:
            await self._member.cluster.close()

    async def _begin(self) -> None:
        await asyncio.to_thread(self._results.connect, self._topic)
        cluster = self._member.cluster
        try:
            await cluster.refresh()
            # The first request that an old broker does not know.
            await cluster.patiently(lambda: positions(cluster, self._group, self._topic))
            setup = await asyncio.to_thread(
                prepare, self._bootstrap_servers, self._group, self._topic, self._consumer_group
            )
            # The last but one: who dies while it puts a record back leaves one more delivery to do it.
            self._last_delivery = max(2, setup.deliveries_max - 1)
            await cluster.patiently(lambda: begin_at(cluster, self._group, self._topic, setup.committed, self._ends))
            await self._member.join()
            self._joined_at = time.time()
            self._outer.call_soon_threadsafe(self._joined)
            self._lag = dict.fromkeys(cluster.leaders)
        except (*TROUBLE, RefusedError, KafkaException) as error:
            raise Unavailable(f"the share group {self._group} cannot be joined: {error}") from error

    async def _end(self) -> None:
        self._reporting = False
        # Two threads that serve reports at once would miscount what is unsent.
        await asyncio.to_thread(self._threads[-1].join)
        await asyncio.to_thread(self._results.flush)
        self._settle_jobs()
        if await self._member.leave():
            await self._commit()

    def _report(self) -> None:
        """In a thread of its own: reports make room where answers wait for it."""
        try:
            while self._reporting:
                self._results.serve(_REPORT_SECONDS)
        except BaseException as error:  # noqa: BLE001 - it is raised again where run() is awaited
            self._fail_worker(error)

    def _fail_worker(self, error: BaseException) -> None:
        try:
            self._outer.call_soon_threadsafe(self._fail, error)
        except RuntimeError:
            logger.error("the worker's consumer failed: %s", error)

    def _free(self) -> int:
        count, arrived = self._room
        if self._draining:
            return 0
        return min(count - (self._handed_over - arrived), self._jobs_max - len(self._jobs))

    def _settle_jobs(self) -> None:
        """Settle the jobs that other threads have left here."""
        self._woken = False
        while self._settled:
            job = self._settled.popleft()
            assert isinstance(job, _ShareJob)
            self._jobs.pop(job.key, None)
            if job.answered:
                self._recent.add(job.key)
            for lock in job.locks:
                self._member.settle(lock, AckType.ACCEPT if job.answered else AckType.RELEASE)
        self._member.wake()

    def _take(self, records: list[AcquiredRecord]) -> None:
        jobs: list[Job] = []
        for record in records:
            job = self._job(record)
            if job is not None:
                self._jobs[job.key] = job
                jobs.append(job)
        if jobs:
            self._handed_over += len(jobs)
            try:
                self._outer.call_soon_threadsafe(self._hand_over, jobs)
            except RuntimeError:
                # The loop was closed without stopping the worker: nobody is there any more.
                logger.error("the worker's event loop is closed: its consumer ends")
                self._ending.set()

    def _job(self, acquired: AcquiredRecord) -> _ShareJob | None:
        lock = acquired.lock
        try:
            record = decode_activity(acquired.value)
        except (DecodeError, RecursionError) as reason:
            logger.error("%s/%s at %s is no activity: %s", self._topic, *lock.place, reason)
            self._dead_letter_count += 1
            self._move(acquired, partial(self._results.dead_letter, reason=str(reason)))
            return None
        key = key_of(record)
        if key in self._recent:
            self._repeats += 1
            self._member.settle(lock, AckType.ACCEPT)
            return None
        if acquired.deliveries >= self._last_delivery:
            logger.warning(
                "%s %s was taken %d times and not answered: it is put back to the end of its topic",
                record.node.name,
                record.node.id.hex(),
                acquired.deliveries,
            )
            self._requeued_count += 1
            self._move(acquired, self._results.requeue)
            return None
        known_job = self._jobs.get(key)
        if known_job is not None:
            self._repeats += 1
            known_job.locks.append(lock)
            return None
        return _ShareJob(record, key, lock)

    def _move(self, acquired: AcquiredRecord, put: Callable[..., None]) -> None:
        """Send a record to another topic, or to the end of its own; then it is done here."""
        partition, offset = acquired.lock.place
        message = Message(
            topic=self._topic,
            partition=partition,
            offset=offset,
            key=acquired.key,
            value=acquired.value,
            headers=list(acquired.headers),
        )

        def on_acknowledged() -> None:
            self._loop.call_soon_threadsafe(self._member.settle, acquired.lock, AckType.ACCEPT)

        try:
            put(message, on_acknowledged=on_acknowledged)
        except BufferError:
            # Kafka does not keep up, or is away. The lock goes on meanwhile.
            self._loop.call_later(FULL_SECONDS, self._move, acquired, put)

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
            self._lag = {partition: position.lag for partition, position in group_positions.items()}
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
