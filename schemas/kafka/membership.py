"""Leaving a consumer's group before the consumer is closed."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaException

_LEAVE_SECONDS_MAX = 10.0
_POLL_SECONDS = 0.02
_RECORDS_MAX = 1_000


def leave(consumer: Consumer) -> None:
    """Leave the group and close the consumer. A static member leaves, too: its partitions move at once.

    While close() takes back partitions it calls the application, with the interpreter's lock held; where the group has
    ended meanwhile, the library drops the question that this call asks its own thread, and both wait for ever
    (librdkafka, issue 4041). So the consumer has no partitions any more when it is closed.
    """
    try:
        consumer.unsubscribe()
        ends_at = time.monotonic() + _LEAVE_SECONDS_MAX
        while True:
            # What is read meanwhile is not committed: its next owner reads it.
            records = consumer.consume(_RECORDS_MAX, _POLL_SECONDS)
            if not (records or consumer.assignment()) or time.monotonic() > ends_at:
                break
    except KafkaException:
        # Another has this one's instance id: close() takes back nothing after an error that is fatal.
        pass
    finally:
        consumer.close()
