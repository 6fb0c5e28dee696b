"""Positions of the assigned partitions, and the commits that report them to Kafka."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from backbeat.delivery.kafka import logger
from backbeat.delivery.offsets import Offsets

#: A topic and a partition of it.
Place = tuple[str, int]

#: Refusals of a commit while a group agrees on its partitions; its sender still belongs to it.
_AGREEING = (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS)
_REBALANCING = (*_AGREEING, KafkaError.UNKNOWN_MEMBER_ID)

_COMMITTED_SECONDS_MAX = 5.0
#: Time for which a commit that is waited for is repeated while members come and leave, and the pause between two tries.
_REFUSED_SECONDS_MAX = 5.0
_REFUSED_PAUSE_SECONDS = 0.02


class Positions:
    """The assigned partitions of all topics that a consumer reads. Used from the consumer's thread."""

    def __init__(self, note: Callable[[Offsets], str] | None = None) -> None:
        """`note`: text of at most 4,096 bytes for the next owner, kept with the committed offset."""
        self._offsets: dict[Place, Offsets] = {}
        self._note = note

    def get(self, topic: str, partition: int) -> Offsets | None:
        """A partition's offsets; None: it is not ours (any more)."""
        return self._offsets.get((topic, partition))

    def partitions_of(self, topic: str) -> list[TopicPartition]:
        """The assigned partitions of a topic."""
        return [TopicPartition(*place) for place in self._offsets if place[0] == topic]

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Add partitions that were assigned."""
        for partition in partitions:
            self._offsets[partition.topic, partition.partition] = Offsets(partition.topic, partition.partition)

    def begin(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Read newly assigned partitions, each from the group's committed offset; these offsets are returned.

        The library would ask for the beginning of each partition without a commit on its own, one question behind
        one fetch that waits: seconds for a hundred. A topic of ours begins at 0 until its oldest records are deleted,
        and the library finds the beginning then.
        """
        try:
            committed = consumer.committed(partitions, timeout=_COMMITTED_SECONDS_MAX)
        except KafkaException as error:
            logger.warning("what was committed is not known yet: %s", error.args[0].str())
            committed = partitions
        else:
            for place in committed:
                if place.error is None and place.offset < 0:
                    place.offset = 0
        consumer.incremental_assign(committed)
        return committed

    def forget(self, partitions: Iterable[TopicPartition]) -> dict[Place, Offsets]:
        """Drop partitions that were taken away; their offsets are returned."""
        places = [(partition.topic, partition.partition) for partition in partitions]
        revoked = {place: self._offsets.pop(place) for place in places if place in self._offsets}
        for offsets in revoked.values():
            offsets.revoked = True
        return revoked

    def lag(self, consumer: Consumer) -> dict[int, int | None]:
        """Partition -> records that are not done, as far as the newest fetch knows; None: not known."""
        lag: dict[int, int | None] = {}
        for (topic, partition), offsets in self._offsets.items():
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag[partition] = None if end < 0 or offsets.mark is None else max(0, end - offsets.mark)
        return lag

    def commit(self, consumer: Consumer, revoked: dict[Place, Offsets] | None = None, *, wait: bool) -> None:
        """Commit what is done since the last time: of all partitions, or of those that were just forgotten.

        With `wait` also what was sent before: a commit that is under way while partitions move may be refused, and
        nobody would send it again.
        """
        marks = []
        for (topic, number), offsets in (self._offsets if revoked is None else revoked).items():
            if offsets.mark is None:
                continue
            note = "" if self._note is None else self._note(offsets)
            if wait or offsets.mark != offsets.committed or note != offsets.note:
                marks.append(TopicPartition(topic, number, offsets.mark, note))
                offsets.committed, offsets.note = offsets.mark, note
        if not marks:
            return
        if wait:
            self._commit_now(consumer, marks)
            return
        try:
            consumer.commit(offsets=marks, asynchronous=True)
        except KafkaException as error:
            self.on_commit(error.args[0], marks)

    def _commit_now(self, consumer: Consumer, marks: list[TopicPartition]) -> None:
        """Commit, and wait for the answer.

        Between a group's agreement on its members and on their partitions the broker refuses each commit. Whoever
        leaves then would lose his last one, and all that it stands for would be begun again.
        """
        ends_at = time.monotonic() + _REFUSED_SECONDS_MAX
        while True:
            try:
                committed = consumer.commit(offsets=marks, asynchronous=False)
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() not in _AGREEING or time.monotonic() >= ends_at:
                    self.on_commit(reason, marks)
                    return
            else:
                self.on_commit(None, committed)
                return
            time.sleep(_REFUSED_PAUSE_SECONDS)

    def on_commit(self, error: KafkaError | None, marks: list[TopicPartition]) -> None:
        """Log a commit that failed, and have it repeated."""
        for mark in marks:
            reason = error or mark.error
            if reason is None:
                continue
            # While partitions move, a commit may be of the group's generation before: that is no news.
            level = logging.DEBUG if reason.code() in _REBALANCING else logging.WARNING
            logger.log(level, "%s/%s is not committed: %s", mark.topic, mark.partition, reason.str())
            offsets = self._offsets.get((mark.topic, mark.partition))
            if offsets is not None:
                # Once more, also when nothing new is answered.
                offsets.committed = None
