"""Activities in, offsets out: the worker's consumer, on a thread of its own.

The thread owns the consumer, the table of activities in work, the offsets, and the reports of what was sent; the event
loop owns the handlers. Between them: lists of jobs one way, a deque of settled jobs the other way.

An offset is committed once every record up to it is answered and Kafka has acknowledged the answer. So a worker that is
killed loses nothing; what it had begun is begun again by another.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from backbeat.delivery.kafka import logger, make_consumer
from backbeat.delivery.offsets import Offsets
from backbeat.delivery.positions import Place, Positions
from backbeat.delivery.records import ConsumerState, Job, Key, RecentKeys, key_of
from backbeat.delivery.result_producer import FULL_SECONDS, ResultProducer
from backbeat.errors import Unavailable
from backbeat.schemas.codec import decode_activity
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.membership import leave
from backbeat.schemas.kafka.topics import activities_topic
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.transport.connecting import Pinned, connect_in_thread

_POLL_SECONDS = 0.1
#: Time for which a full worker waits before it pauses its partitions: a pause throws away what was fetched ahead.
_FULL_SECONDS_MAX = 1.0
_COMMIT_SECONDS = 0.2
_METADATA_REFRESH_MS = 5_000
_LAG_SECONDS_MAX = 1.0
_RECORDS_MAX = 500
#: Time that the handlers of a partition that is taken away have before its new owner may start them again.
_REVOKE_SECONDS_MAX = 5.0
#: The same where some of it is of a limited type: run twice at once it would be one more than the limit allows.
_REVOKE_LIMITED_SECONDS_MAX = 60.0


class _GroupJob(Job):
    """A job, and the records that it was read from."""

    __slots__ = ("places",)

    def __init__(self, record: ActivityRecord, key: Key, offsets: Offsets, offset: int) -> None:
        super().__init__(record, key)
        #: The record that it was read from; repeats of it add theirs.
        self.places = [(offsets, offset)]

    @property
    def revoked(self) -> bool:
        """True once all its partitions were taken away."""
        return all(offsets.revoked for offsets, _ in self.places)


class GroupConsumer:
    """Reads activities and hands them to the loop; takes answers and commits."""

    def __init__(
        self,
        bootstrap_servers: str,
        client: str,
        *,
        jobs_max: int,
        session_timeout_seconds: float,
        accept: Callable[[Sequence[Job]], None],
        fail: Callable[[BaseException], None],
        joined: Callable[[], None],
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = activities_topic(client)
        self._group = f"backbeat-worker-{client}"
        self._session_timeout_seconds = session_timeout_seconds
        #: Jobs that may be in the worker at once, whether they wait or run.
        self._jobs_max = jobs_max
        self._accept = accept
        self._fail = fail
        self._joined = joined
        self._loop: asyncio.AbstractEventLoop
        self._consumer: Consumer
        self._pinned: Pinned
        self._thread: threading.Thread | None = None
        self._draining = False
        self._ending = False
        #: True: some partitions are paused, and some are not: new ones are not.
        self._paused = False
        self._unpaused = True
        self._full_since: float | None = None
        self._committed_at = 0.0
        self._positions = Positions()
        self._jobs: dict[Key, _GroupJob] = {}
        self._recent = RecentKeys()
        self._repeats = self._dead_letter_count = 0
        self._rebalanced_at = 0.0
        self._lag: dict[int, int | None] = {}
        #: Cleared by who reads the lag: the library is asked by the thread that polls it, any other it would block.
        self._lag_known = threading.Event()
        self._lag_known.set()
        self._settled: deque[Job] = deque()
        self._results = ResultProducer(bootstrap_servers, self._settled.append)

    # --- the loop's side -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, join the group, begin to read."""
        self._loop = asyncio.get_running_loop()
        self._consumer = await connect_in_thread(self._connect, leave)
        self._pinned = Pinned(self._consumer)
        self._thread = threading.Thread(target=self._run, name="backbeat-consumer", daemon=True)
        self._thread.start()

    def send(self, answers: Sequence[tuple[bytes, bytes]], job: Job) -> None:
        """Send the commands that answer a job, each with its route, in order: it is settled once Kafka has them."""
        self._results.send(answers, job)

    def settle(self, job: Job, *, answered: bool) -> None:
        """Settle a job that needs no answer, or that is given up: then another worker gets it."""
        job.answered = answered
        self._settled.append(job)

    def has_room(self, count: int) -> None:
        """Nothing: fetching ahead has seen to it already."""

    def state(self) -> ConsumerState:
        """Counts and times for reports, from any thread."""
        jobs = list(self._jobs.values())
        return ConsumerState(
            held=len(jobs),
            unacknowledged=sum(1 for job in jobs if job.unsent),
            repeats=self._repeats,
            dead_letters=self._dead_letter_count,
            requeued=0,
            rebalanced_at=self._rebalanced_at,
            alive=self._thread is not None and self._thread.is_alive(),
        )

    def lag(self) -> Mapping[int, int | None]:
        """Partition -> records that are not done; None: not known. Blocks for a moment: not from the worker's loop."""
        self._lag_known.clear()
        self._lag_known.wait(_LAG_SECONDS_MAX)
        return self._lag

    def drain(self) -> None:
        """Take nothing more."""
        self._draining = True

    async def stop(self) -> None:
        """Commit what is answered and leave the group."""
        self._draining = self._ending = True
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    # --- the thread's side -----------------------------------------------------------------------------------------

    def _connect(self) -> Consumer:
        self._results.connect(self._topic)
        consumer = make_consumer(
            self._bootstrap_servers,
            self._group,
            {
                "session.timeout.ms": int(self._session_timeout_seconds * 1000),
                # A member learns of a rebalance by a heartbeat: the interval is how long the others wait for it.
                "heartbeat.interval.ms": min(500, int(self._session_timeout_seconds * 200)),
                # A member that joins or leaves stops only the partitions that move.
                "partition.assignment.strategy": "cooperative-sticky",
                # A topic that gets more partitions: what lies in them is read this soon, not after five minutes.
                "topic.metadata.refresh.interval.ms": _METADATA_REFRESH_MS,
                "on_commit": self._positions.on_commit,
            },
        )
        consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
        return consumer

    def _run(self) -> None:
        try:
            while not self._ending:
                self._serve()
                if self._draining or len(self._jobs) >= self._jobs_max:
                    self._hold()
                else:
                    self._read()
        except RuntimeError:
            # The loop was closed without stopping the worker: nobody is there any more.
            logger.error("the worker's event loop is closed: its consumer ends")
        except BaseException as error:  # noqa: BLE001 - it is raised again where run() is awaited
            self._fail_worker(error)
        finally:
            self._leave()

    def _fail_worker(self, error: BaseException) -> None:
        try:
            self._loop.call_soon_threadsafe(self._fail, error)
        except RuntimeError:
            logger.error("the worker's consumer failed: %s", error)

    def _read(self) -> None:
        if self._paused and len(self._jobs) <= self._jobs_max // 2:
            self._consumer.resume(self._consumer.assignment())
            self._paused, self._unpaused = False, True
        self._full_since = None
        message = self._consumer.poll(0.0 if self._paused else _POLL_SECONDS)
        if message is None:
            if self._paused:
                self._results.serve(FULL_SECONDS)
            return
        messages = [message]
        room = min(self._jobs_max - len(self._jobs), _RECORDS_MAX) - 1
        if room > 0:
            messages += self._consumer.consume(room, 0)
        self._take(messages)

    def _hold(self) -> None:
        """Wait for room. Reports of answers end the wait at once."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if self._unpaused and (self._paused or self._draining or now - self._full_since > _FULL_SECONDS_MAX):
            assignment = self._consumer.assignment()
            if assignment:
                self._consumer.pause(assignment)
            self._paused, self._unpaused = True, False
        self._results.serve(FULL_SECONDS)
        if self._paused:
            # A paused consumer must still be polled: rebalances happen in it, and Kafka sees that it is alive.
            message = self._consumer.poll(0)
            if message is not None:
                self._take([message])

    def _take(self, messages: list[Message]) -> None:
        jobs = []
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None:
                if error.fatal():
                    raise Unavailable(f"reading {self._topic}: {error.str()}")
                logger.warning("reading %s: %s", self._topic, error.str())
                continue
            assert partition is not None
            assert offset is not None
            offsets = self._positions.get(self._topic, partition)
            if offsets is None:
                # Its partition was taken away while it lay in the queue.
                continue
            offsets.taken(offset)
            job = self._job(message, offsets, offset)
            if job is not None:
                self._jobs[job.key] = job
                jobs.append(job)
        if jobs:
            self._loop.call_soon_threadsafe(self._accept, jobs)

    def _job(self, message: Message, offsets: Offsets, offset: int) -> _GroupJob | None:
        try:
            record = decode_activity(message.value())
        except (DecodeError, RecursionError) as reason:
            logger.error("%s/%s at %s is no activity: %s", self._topic, offsets.partition, offset, reason)
            self._dead_letter(message, str(reason), offsets, offset)
            return None
        key = key_of(record)
        if key in self._recent:
            self._repeats += 1
            offsets.answered(offset)
            return None
        known_job = self._jobs.get(key)
        if known_job is not None:
            self._repeats += 1
            known_job.places.append((offsets, offset))
            return None
        return _GroupJob(record, key, offsets, offset)

    def _dead_letter(self, message: Message, reason: str, offsets: Offsets, offset: int) -> None:
        """A record that is no activity goes to the dead letters, and the partition goes on."""
        while True:
            try:
                self._results.dead_letter(message, reason, partial(offsets.answered, offset))
            except BufferError:
                self._results.serve(FULL_SECONDS)
            else:
                return

    def _serve(self) -> None:
        """Reports, settled jobs, commits."""
        self._settle()
        if not self._lag_known.is_set():
            self._lag = self._positions.lag(self._consumer)
            self._lag_known.set()
        now = time.monotonic()
        if now - self._committed_at >= _COMMIT_SECONDS:
            self._committed_at = now
            self._positions.commit(self._consumer, wait=False)

    def _settle(self) -> None:
        self._results.serve(0)
        given_up = []
        while self._settled:
            job = self._settled.popleft()
            assert isinstance(job, _GroupJob)
            if job.answered:
                self._jobs.pop(job.key, None)
                self._recent.add(job.key)
                for offsets, offset in job.places:
                    offsets.answered(offset)
            elif job.revoked or self._draining:
                self._jobs.pop(job.key, None)
            else:
                # It was given up when its partition went away, and has come back with it.
                given_up.append(job)
        if given_up:
            self._loop.call_soon_threadsafe(self._accept, given_up)

    # --- partitions come and go ------------------------------------------------------------------------------------

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        if not self._rebalanced_at:
            self._loop.call_soon_threadsafe(self._joined)
        self._rebalanced_at = time.time()
        self._positions.assign(partitions)
        # New ones are not paused, whatever the others are.
        self._unpaused = True

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        revoked = self._forget(partitions)
        began_at = time.monotonic()
        while not self._ending and (begun := self._begun(revoked)):
            limited = any(job.record.node.granted_at is not None for job in begun)
            if time.monotonic() - began_at > (_REVOKE_LIMITED_SECONDS_MAX if limited else _REVOKE_SECONDS_MAX):
                break
            self._results.serve(FULL_SECONDS)
            self._settle()
        self._positions.commit(self._consumer, revoked, wait=True)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Others have them already: there is nothing to commit any more.
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> dict[Place, Offsets]:
        self._rebalanced_at = time.time()
        # The library keeps a pause for when the partition comes back, and nobody would end it then.
        self._consumer.resume(partitions)
        return self._positions.forget(partitions)

    def _begun(self, revoked: dict[Place, Offsets]) -> list[Job]:
        """Jobs of these partitions that were begun and are not answered."""
        offsets_ids = {id(offsets) for offsets in revoked.values()}
        return [
            job
            for job in self._jobs.values()
            if job.begun and any(id(offsets) in offsets_ids for offsets, _ in job.places)
        ]

    def _leave(self) -> None:
        try:
            self._results.flush()
            self._settle()
            self._positions.commit(self._consumer, wait=True)
        except (Unavailable, RuntimeError, KafkaException) as error:
            logger.error("leaving %s: %s", self._group, error)
        finally:
            self._ending = True
            leave(self._consumer)
