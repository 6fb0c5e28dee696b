"""Ingest of signals: records of `backbeat.signals.<client>` are checked and go on to the commands topic.

For each batch of records: produce the commands (or dead letters), wait for every delivery report, commit the offsets. A
crash anywhere repeats the batch; a command's id follows from the record, so a repeat creates nothing twice.

A bad record never stops a partition: it becomes a dead letter. A failure of Kafka does: then `failed` is called, the
process ends, and another goes on from the last commit.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka import dead_letters, topics
from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.clients import Clients, RegisteredClient
from backbeat.schemas.kafka.membership import leave
from backbeat.schemas.kafka.produce_counts import ProduceCounts
from backbeat.schemas.messages import ids
from backbeat.streams.input.held_signals import HeldSignals
from backbeat.streams.input.signal_command import admit_request
from backbeat.streams.input.signal_connections import change_flow, consumer_settings, producer_settings
from backbeat.streams.input.signal_errors import (
    FATAL,
    NOT_OURS_ANY_MORE,
    OF_THE_TOPIC,
    PERMANENT,
    IngestError,
    ReplacedError,
    StoppedError,
    is_of_no_topic,
    is_record,
)
from backbeat.streams.input.signal_topics import SignalTopics, place_of

logger = logging.getLogger(__name__)

BATCH_RECORDS_MAX = 2_000

_POLL_SECONDS = 0.2
_FLUSH_SECONDS = 0.5
#: Time for which a stop waits for the batch in work; then the batch is repeated at the next start.
_STOP_SECONDS_MAX = 10.0
#: Time for which a record of an unknown client waits for the registry to be read to its end, once a batch.
_CATCH_UP_SECONDS = 5.0
#: Interval of the checks that a topic is still the one that was followed.
_CHECK_SECONDS = 5.0
_ASK_SECONDS = 5.0
_RETRY_SECONDS = 0.5
_REPLACED_SECONDS = 2.0  #: for the engine's own group to say whether another process has the instance id
#: A batch that takes longer, since Kafka does not answer, is repeated by another assignment.
_POLL_INTERVAL_SECONDS_MAX = 300.0

_T = TypeVar("_T")


class Ingest:
    """Follows every signals topic, in a thread of its own, from `start()` to `stop()`."""

    def __init__(
        self,
        bootstrap_servers: str,
        clients: Clients,
        *,
        failed: Callable[[Exception], None],
        produced: ProduceCounts | None = None,
        application_id: str = "backbeat",
        instance_id: str | None = None,
        session_timeout_seconds: float = 10.0,
        heartbeat_interval_seconds: float = 1.0,
        catch_up_seconds: float = _CATCH_UP_SECONDS,
        applied: Callable[[int], int | None] = lambda _: None,
        turn_seconds: float = 0.0,
    ) -> None:
        """An ingest of the group `<application_id>-ingest`; with an `instance_id` a restart keeps its partitions.

        `applied`, `turn_seconds`: see `held_signals`.
        """
        self._bootstrap_servers = bootstrap_servers
        self._clients = clients
        self._produced = produced or ProduceCounts()
        self._failed = failed  #: called once, on the thread, with the error that ends it
        self._membership: dict[str, str | int] = {
            "group.id": f"{application_id}-ingest",
            "session.timeout.ms": int(session_timeout_seconds * 1000),
            # It must not be shorter than the session timeout.
            "max.poll.interval.ms": int(max(_POLL_INTERVAL_SECONDS_MAX, session_timeout_seconds) * 1000),
            "heartbeat.interval.ms": int(heartbeat_interval_seconds * 1000),
        }
        if instance_id is not None:
            self._membership["group.instance.id"] = instance_id
        self._catch_up_seconds = catch_up_seconds
        self._caught_up = False  #: true: the registry was read to its end for the batch in work
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._partitions = 0
        self._topics = SignalTopics(bootstrap_servers)
        self.joined = False  #: true: its group has given it partitions, or has none for it
        self._is_new = instance_id is None  #: true: the next assignment is of the topics as they are now
        self._assigned_before = False  #: true: there was an assignment of earlier topics
        self.assigned: set[tuple[str, int]] = set()  #: topic and partition
        self._busy_since: float | None = None  #: begin of a batch or request (monotonic seconds); null: it waits
        #: undelivered records of the batch in work, and their errors
        self._undelivered: list[tuple[Message, KafkaError]] = []
        self._lost: KafkaError | None = None  #: error of a dead letter that was not delivered
        self.held = HeldSignals(applied, turn_seconds)
        self._ends: dict[int, int] = {}  #: of the commands of the batch in work, by partition
        self.forwarded = 0  #: records that became commands
        self.refused = 0  #: records that became dead letters

    def start(self) -> None:
        """Check the topics, then follow the signals topics in a thread."""
        assert self._thread is None, "an ingest is started once"
        topic_descriptions = topics.check_topics(self._bootstrap_servers, development=True)
        self._partitions = topic_descriptions[topics.COMMANDS].partitions
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch in work, leave the group, end the thread."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def stands_seconds(self) -> float:
        """Seconds for which it has been at work on one batch or request; 0: it waits for records."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._consume()
                except ReplacedError as error:
                    # Possibly by ourselves: brokers that were away can take an older request of ours for another's.
                    logger.warning("the ingest joins its group again: %s", error)
                    self.joined = self._is_new = self._assigned_before = False
                    self.assigned.clear()
                    self.held.clear()
                    self._stopping.wait(_REPLACED_SECONDS)
        except StoppedError:
            logger.warning("the ingest was stopped while Kafka did not answer: its last batch is repeated")
        except Exception as error:  # any error must reach the caller of `start`
            logger.exception("the ingest ends")
            self._failed(error)

    def _consume(self) -> None:
        """Follow the topics as a member of the group. ReplacedError: another process has the instance id."""
        consumer = Consumer(consumer_settings(self._bootstrap_servers, self._membership, logger))
        try:
            self._subscribe(consumer)
            self._follow(consumer)
        finally:
            leave(consumer)

    def _subscribe(self, consumer: Consumer) -> None:
        consumer.subscribe(
            [f"^{re.escape(topics.SIGNALS_PREFIX)}.+"],
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def _join_again(self, consumer: Consumer) -> None:
        # A member that comes back under its instance id gets its old partitions; joining again starts a rebalance.
        self._is_new, self._assigned_before = True, False
        consumer.unsubscribe()
        self._subscribe(consumer)

    def _on_assign(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.joined = self._is_new
        self._assigned_before = not self._is_new
        self.assigned |= {(item.topic, item.partition) for item in partitions}
        self._topics.unsure |= {item.topic for item in partitions}

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        revoked = {(item.topic, item.partition) for item in partitions}
        self.assigned -= revoked
        self.held.drop_partitions(revoked)
        # librdkafka keeps a pause from one assignment to the next: what came back would be read by nobody.
        change_flow(consumer.resume, partitions, logger)

    def _follow(self, consumer: Consumer) -> None:
        producer = Producer({**producer_settings(self._bootstrap_servers, logger), **self._produced.settings})
        checked_at = time.monotonic()
        while not self._stopping.is_set():
            self._busy_since = None
            first = consumer.poll(self.held.poll_seconds(_POLL_SECONDS))
            self._busy_since = time.monotonic()
            # Its statistics, which pile up otherwise while no signals come.
            producer.poll(0)
            if self._assigned_before:
                self._join_again(consumer)
                continue
            batch: list[Message] = []
            if first is not None:
                # `consume` alone would wait for its whole timeout; this takes the records that are there already.
                batch = [first, *consumer.consume(BATCH_RECORDS_MAX - 1, timeout=0)]
                self.joined = self.joined or any(map(is_of_no_topic, batch))
                # A revocation may come between the two calls: to forward what is left would skip what was held.
                batch = [message for message in batch if is_record(message) and place_of(message)[:2] in self.assigned]
            topic_names = {place_of(message)[0] for message in batch} | self._topics.unsure
            if time.monotonic() - checked_at > _CHECK_SECONDS:
                checked_at = time.monotonic()
                topic_names |= {topic for topic, _ in self.assigned}
            if topic_names:
                changed = self._until_answered(partial(self._topics.look, consumer, topic_names, self.assigned))
                batch = [message for message in batch if place_of(message)[0] not in changed]
                self.held.drop_topics(changed)
                self._of_topics(consumer.resume, changed)
            self.held.add(batch)
            if batch := self.held.take():
                self._take(consumer, producer, batch)
                self.held.sent(batch, self._ends)
            self._of_topics(consumer.pause, self.held.pausable())
            self._of_topics(consumer.resume, self.held.resumable())

    def _of_topics(self, action: Callable[[list[TopicPartition]], None], names: Collection[str]) -> None:
        """Pause or resume the assigned partitions of topics."""
        places = [TopicPartition(*place) for place in self.assigned if place[0] in names]
        change_flow(action, places, logger)

    def _until_answered(self, ask: Callable[[], _T]) -> _T:
        """Call `ask` until a broker answers. StoppedError."""
        while True:
            try:
                return ask()
            except (KafkaException, TimeoutError) as error:
                OUTAGES.tell(logger, f"signals wait, {error.args[0] if error.args else 'no answer'}")
                if self._stopping.wait(_RETRY_SECONDS):
                    raise StoppedError from None

    def _take(self, consumer: Consumer, producer: Producer, batch: list[Message]) -> None:
        """Process one batch: forward, wait for the reports, commit."""
        refused_before = self.refused
        positions: dict[tuple[str, int], int] = {}
        commands: dict[int, list[dict[str, Any]]] = {}
        self._caught_up, self._ends = False, {}
        for message in batch:
            self._topics.note_deleted(consumer, *place_of(message))
            try:
                self._admit(message, commands)
            except DecodeError as error:
                self._put_aside(producer, message, str(error))
            topic, partition_number, offset = place_of(message)
            positions[topic, partition_number] = offset + 1
        self._push(producer, commands)
        self._deliver(producer)
        self._commit(consumer, positions)
        self.forwarded += len(batch) - (self.refused - refused_before)

    def _admit(self, message: Message, commands: dict[int, list[dict[str, Any]]]) -> None:
        """Add a record's command to those of its partition. DecodeError."""
        topic, partition_number, offset = place_of(message)
        name = topic.removeprefix(topics.SIGNALS_PREFIX)
        headers = dead_letters.headers_of(message)
        if headers is None:
            raise DecodeError("a header's name is no UTF-8")
        signal = admit_request(
            message.value(),
            headers,
            name,
            by_name=lambda name: self._known(lambda: self._clients.by_name(name)),
            by_id=lambda identity: self._known(lambda: self._clients.by_id(identity)),
            place=lambda: (self._topics.ids[topic], partition_number, offset),
        )
        command = {"key": signal.key, "value": signal.value, "callback": partial(self._reported, message)}
        commands.setdefault(ids.partition_of(signal.route, self._partitions), []).append(command)

    def _push(self, producer: Producer, commands: dict[int, list[dict[str, Any]]]) -> None:
        """Produce the commands of each partition together; wait while the producer's queue is full. StoppedError."""
        for partition, batch in commands.items():
            producer.produce_batch(topics.COMMANDS, batch, partition)
            for command in [command for command in batch if "_error" in command]:
                error: KafkaError = command["_error"]
                if error.code() != KafkaError._QUEUE_FULL:  # noqa: SLF001 - librdkafka's own codes have this name
                    command["callback"](error, None)
                    continue
                arguments = (topics.COMMANDS, command["value"], command["key"], partition, command["callback"])
                self._queue(producer, partial(producer.produce, *arguments))

    def _known(self, find: Callable[[], RegisteredClient | None]) -> RegisteredClient | None:
        """A client; null: unknown, also after the registry was read to its end.

        It is read so once a batch: all records of the batch are older. However many topics belong to unknown clients,
        the others wait for one read.
        """
        client = find()
        if client is None and not self._caught_up:
            self._clients.catch_up(self._catch_up_seconds)
            self._caught_up = True
            client = find()
        return client

    def _put_aside(self, producer: Producer, message: Message, reason: str) -> None:
        self.refused += 1
        topic, partition_number, offset = place_of(message)
        logger.warning("%s/%d at %d becomes a dead letter: %s", topic, partition_number, offset, reason)
        self._queue(producer, partial(dead_letters.send, producer, message, reason, self._put_aside_reported))

    def _queue(self, producer: Producer, produce: Callable[[], None]) -> None:
        """Produce a record; wait while the producer's queue is full."""
        while True:
            try:
                produce()
            except BufferError:
                producer.poll(_POLL_SECONDS)
                if self._stopping.is_set():
                    raise StoppedError from None
            else:
                return

    def _reported(self, source: Message, error: KafkaError | None, command: Message | None) -> None:
        if error is not None:
            self._undelivered.append((source, error))
        elif command is not None and (number := command.partition()) is not None:
            self._ends[number] = (command.offset() or 0) + 1

    def _put_aside_reported(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._lost = error

    def _deliver(self, producer: Producer) -> None:
        """Wait until every record of the batch, or its dead letter, is acknowledged."""
        self._flush(producer)
        undelivered, self._undelivered = self._undelivered, []
        for source, error in undelivered:
            if error.code() not in PERMANENT:
                raise IngestError(f"a command could not be written: {error.str()}")
            # The broker refuses whole batches: sent alone, the record at fault shows.
            commands: dict[int, list[dict[str, Any]]] = {}
            self._admit(source, commands)
            self._push(producer, commands)
            self._flush(producer)
            for _, retry_error in self._undelivered:
                self._put_aside(producer, source, f"{topics.COMMANDS} does not take it: {retry_error.str()}")
            self._undelivered.clear()
        if undelivered:
            self._flush(producer)
        if self._lost is not None:
            raise IngestError(f"a dead letter could not be written: {self._lost.str()}")

    def _commit(self, consumer: Consumer, positions: dict[tuple[str, int], int]) -> None:
        """Commit the positions with each topic's id: a topic that was created again is read from its start.

        Records whose position cannot be committed may be read again, which creates nothing twice.
        """
        offsets = [
            TopicPartition(topic, number, offset, self._topics.ids[topic])
            for (topic, number), offset in positions.items()
        ]

        def commit() -> list[TopicPartition]:
            try:
                return consumer.commit(offsets=offsets, asynchronous=False) or []
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                if reason.code() == KafkaError.FENCED_INSTANCE_ID:
                    raise ReplacedError(reason.str()) from error
                if reason.fatal() or reason.code() in FATAL:
                    raise IngestError(f"the consumer failed: {reason.str()}") from error
                if reason.code() in NOT_OURS_ANY_MORE:
                    logger.warning("the batch is repeated elsewhere: %s", reason.str())
                    return []
                if reason.code() in OF_THE_TOPIC:
                    logger.warning("what was taken cannot be noted, and may be read again: %s", reason.str())
                    return []
                raise

        for position in self._until_answered(commit):
            if position.error is not None:
                logger.warning(
                    "%s/%d: what was taken cannot be noted, and may be read again: %s",
                    position.topic,
                    position.partition,
                    position.error.str(),
                )

    def _flush(self, producer: Producer) -> None:
        deadline: float | None = None
        while producer.flush(_FLUSH_SECONDS):
            if self.stands_seconds > _ASK_SECONDS:
                OUTAGES.tell(logger, "signals wait, what they become is not acknowledged")
            if self._stopping.is_set():
                deadline = deadline or time.monotonic() + _STOP_SECONDS_MAX
                if time.monotonic() > deadline:
                    raise StoppedError
