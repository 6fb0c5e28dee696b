"""Which topic of a name the ingest follows: one that was deleted and made again is another, and is read from its start.

Kafka's id of a topic is part of what a record is known by, and stands beside each committed offset. A topic may be back
before anybody notices that it was gone; its offsets begin anew, and the place of a record says nothing of the other's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.brokers import describe
from backbeat.schemas.kafka.security import connection

logger = logging.getLogger(__name__)

_ASK_SECONDS = 5.0

#: Topic and partition.
Where = tuple[str, int]


class SignalTopics:
    """The ids of the topics that are followed, looked at while they are. Used on the ingest's thread."""

    def __init__(self, bootstrap_servers: str) -> None:
        settings: dict[str, Any] = {**connection(bootstrap_servers), "logger": BrokerLog(logger)}
        self._admin = AdminClient(settings)
        #: Kafka's id of each topic that is, or was, followed.
        self.ids: dict[str, str] = {}
        #: topics that were assigned since they were looked at
        self.unsure: set[str] = set()
        #: the next record of each partition, as far as known
        self._next: dict[Where, int] = {}

    def look(self, consumer: Consumer, names: Iterable[str], assigned: set[Where]) -> set[str]:
        """Ask for the topics' ids. Those whose records in hand must not be taken; they are read from the beginning.

        To be asked after their records have come: a topic whose id is the same before and after is the one that the
        records are of. KafkaException, TimeoutError: nobody answers.
        """
        names = sorted(names)
        self._admin.poll(0)
        topics = describe(self._admin, names, _ASK_SECONDS)
        ours = {name: [where for where in assigned if where[0] == name] for name in names}
        unsure = [where for name in names if name in self.unsure for where in ours[name]]
        committed_ids = self._committed(consumer, unsure)
        others: set[str] = set()
        for name in names:
            topic = topics.get(name)
            if topic is None:
                if name not in self.ids:
                    others.add(name)
                    logger.warning("%s was deleted before its records were taken", name)
                continue
            before = committed_ids.get(name) or self.ids.get(name) or topic.topic_id
            if before != topic.topic_id:
                logger.warning("%s was deleted and made again: it is read from its beginning", name)
                self._from_the_beginning(consumer, ours[name])
                others.add(name)
            self.ids[name] = topic.topic_id
        self.unsure.difference_update(names)
        return others

    def _committed(self, consumer: Consumer, places: list[Where]) -> dict[str, str]:
        """Of which topic the group's offsets are, by its name; an offset from before ids were noted says nothing."""
        if not places:
            return {}
        committed = consumer.committed([TopicPartition(*where) for where in places], _ASK_SECONDS)
        for each in committed:
            # Others may have read on since it was ours.
            self._next.pop((each.topic, each.partition), None)
            if each.offset >= 0:
                self._next[each.topic, each.partition] = each.offset
        return {each.topic: each.metadata for each in committed if each.offset >= 0 and each.metadata}

    def _from_the_beginning(self, consumer: Consumer, places: list[Where]) -> None:
        for where in places:
            self._next.pop(where, None)
            place = TopicPartition(*where, OFFSET_BEGINNING)
            try:
                consumer.incremental_unassign([place])
                consumer.incremental_assign([place])
            except KafkaException as error:
                # The group has taken it away meanwhile: whoever has it next looks as well.
                logger.warning("%s/%d: %s", *where, error.args[0].str())

    def note_deleted(self, consumer: Consumer, topic: str, number: int, offset: int) -> None:
        """Say where records were deleted before they were taken, by the topic's retention: nobody else will."""
        wanted = self._next.get((topic, number), offset)
        self._next[topic, number] = offset + 1
        if offset <= wanted:
            return
        first, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
        if first > wanted:
            logger.error(
                "%s/%d: offsets %d to %d were deleted before they were taken (retention.ms, retention.bytes)",
                topic,
                number,
                wanted,
                min(first, offset) - 1,
            )
