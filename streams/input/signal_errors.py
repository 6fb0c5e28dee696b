"""Classes of Kafka's errors for the ingest: of a record, of a topic, of the membership, fatal."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, Message

from backbeat.schemas.kafka.broker_log import OUTAGES

logger = logging.getLogger(__name__)

#: Errors of the record itself: it would fail again.
PERMANENT = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_MSG_SIZE, KafkaError.INVALID_RECORD}
)
#: The group moved on while we worked: another has the partition and repeats the batch.
NOT_OURS_ANY_MORE = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,  # noqa: SLF001 - librdkafka's own codes have this name
    }
)
#: Errors of one topic, deleted or not authorized: the others go on.
OF_THE_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - as above
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - as above
    }
)
#: The library's code of all errors that end this consumer.
FATAL = frozenset({KafkaError._FATAL})  # noqa: SLF001 - as above
AWAY = frozenset({KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE})  # noqa: SLF001 - as above


class IngestError(Exception):
    """The ingest cannot go on; the text says why."""


class ReplacedError(IngestError):
    """Another process has this one's instance id."""


def is_of_no_topic(message: Message) -> bool:
    """True for the library's report that no topic matches the subscription: it joins no group until there is one."""
    error = message.error()
    return error is not None and error.code() in OF_THE_TOPIC and (message.topic() or "").startswith("^")


def is_record(message: Message) -> bool:
    """True for a record; an error is logged. IngestError, ReplacedError: the consumer cannot go on."""
    error = message.error()
    if error is None:
        return True
    if "group.instance.id" in error.str():
        # The library has one code for all fatal errors.
        raise ReplacedError(error.str())
    if error.fatal() or error.code() in FATAL:
        raise IngestError(f"the consumer failed: {error.str()}")
    # A topic that was deleted, one we may not read, a broker that is away: the others go on.
    if is_of_no_topic(message):
        logger.info("no client application has a topic of signals yet")
    elif error.code() in AWAY:
        OUTAGES.tell(logger, f"signals wait, {error.str()}")
    else:
        logger.warning("%s: %s", message.topic() or "signals", error.str())
    return False


class StoppedError(Exception):
    """A stop during a wait for Kafka or the registry: uncommitted records are repeated at the next start."""
