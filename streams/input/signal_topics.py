"""Ids of the signals topics: a topic that was deleted and created again is another one, read from its start.

Kafka's id of a topic is part of a record's identity, and is committed with each offset. A topic may be created again
before its deletion is noticed; its offsets begin anew, so an offset alone does not identify a record.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.brokers import describe
from backbeat.schemas.kafka.security import connection

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0

#: Topic and partition.
Where = tuple[str, int]


class SignalTopics:
    """The ids of the followed topics. Used on the ingest's thread."""

    def __init__(self, bootstrap_servers: str) -> None:
        settings: dict[str, Any] = {**connection(bootstrap_servers), "logger": BrokerLog(logger)}
        self._admin = AdminClient(settings)
        #: Kafka's id of each topic that is, or was, followed
        self.ids: dict[str, str] = {}
        #: topics assigned since their ids were last read
        self.unsure: set[str] = set()
        #: the next record of each partition, as far as known
        self._next: dict[Where, int] = {}

    def look(self, consumer: Consumer, names: Iterable[str], assigned: set[Where]) -> set[str]:
        """Read the topics' ids. Returns those whose polled records must be dropped, to be read from the beginning.

        To be called after the poll: a topic with the same id before and after is the one that the records are of.
        KafkaException, TimeoutError: no broker answers.
        """
        names = sorted(names)
        self._admin.poll(0)
        topics = describe(self._admin, names, _ASK_SECONDS)
        own_partitions = {name: [where for where in assigned if where[0] == name] for name in names}
        unsure = [where for name in names if name in self.unsure for where in own_partitions[name]]
        committed_ids = self._committed(consumer, unsure)
        changed_topics: set[str] = set()
        for name in names:
            topic = topics.get(name)
            if topic is None:
                if name not in self.ids:
                    changed_topics.add(name)
                    logger.warning("%s was deleted before its records were taken", name)
                continue
            known_id = committed_ids.get(name) or self.ids.get(name) or topic.topic_id
            if known_id != topic.topic_id:
                logger.warning("%s was deleted and made again: it is read from its beginning", name)
                self._from_the_beginning(consumer, own_partitions[name])
                changed_topics.add(name)
            self.ids[name] = topic.topic_id
        self.unsure.difference_update(names)
        return changed_topics

    def _committed(self, consumer: Consumer, places: list[Where]) -> dict[str, str]:
        """Topic ids committed with the group's offsets, by topic name; offsets of older releases have none."""
        if not places:
            return {}
        committed = consumer.committed([TopicPartition(*where) for where in places], _ASK_SECONDS)
        for position in committed:
            # Another member may have read on since.
            self._next.pop((position.topic, position.partition), None)
            if position.offset >= 0:
                self._next[position.topic, position.partition] = position.offset
        return {item.topic: item.metadata for item in committed if item.offset >= 0 and item.metadata}

    def _from_the_beginning(self, consumer: Consumer, places: list[Where]) -> None:
        for where in places:
            self._next.pop(where, None)
            place = TopicPartition(*where, OFFSET_BEGINNING)
            try:
                consumer.incremental_unassign([place])
                consumer.incremental_assign([place])
            except KafkaException as error:
                # The group has revoked it meanwhile: its next owner checks as well.
                logger.warning("%s/%d: %s", *where, error.args[0].str())

    def note_deleted(self, consumer: Consumer, topic: str, number: int, offset: int) -> None:
        """Log records that the topic's retention deleted before they were taken."""
        expected = self._next.get((topic, number), offset)
        self._next[topic, number] = offset + 1
        if offset <= expected:
            return
        first, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
        if first > expected:
            logger.error(
                "%s/%d: offsets %d to %d were deleted before they were taken (retention.ms, retention.bytes)",
                topic,
                number,
                expected,
                min(first, offset) - 1,
            )


def place_of(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a record."""
    topic, partition_number, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition_number is not None
    assert offset is not None
    return topic, partition_number, offset
