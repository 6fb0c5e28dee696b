"""First offset and end of a partition, waited for while its leader moves."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from backbeat.schemas.kafka.brokers import LEADER_MOVES

#: A topic just created is known before it can be read.
_PASSING = {*LEADER_MOVES, KafkaError.UNKNOWN_TOPIC_OR_PART}
_PAUSE_SECONDS = 0.02


def read_ends(consumer: Consumer, topic: str, partition: int, seconds_max: float) -> tuple[int, int]:
    """Offset of the first record, and of the next one to come. KafkaException: not told within `seconds_max`."""
    deadline = time.monotonic() + seconds_max
    while True:
        seconds_left = max(_PAUSE_SECONDS, deadline - time.monotonic())
        try:
            first, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=seconds_left)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline - _PAUSE_SECONDS:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return first, end
