"""Attacks on topics: a client application's users read and write what is another's, or the engine's."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.drill.load.payments import CLIENT
from backbeat.compose.drill.security.attack import Attack, BrokenError, expect
from backbeat.compose.drill.security.installation import (
    RIVAL,
    RIVAL_SERVICE,
    RIVAL_SHARE_WORKER,
    RIVAL_WORKER,
    SecuredInstallation,
)
from backbeat.compose.drill.waiting import until
from backbeat.schemas.kafka.security import Brokers, connection
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY, STATE, activities_topic, signals_topic

_KAFKA_SECONDS_MAX = 60.0
_SIGNAL = msgspec.json.encode({"workflow": "Purchases", "subject": "of the drill", "decider": "D", "signal": "Buy"})

Deed = Callable[[SecuredInstallation], None]


def publish(brokers: Brokers, topic: str, *contents: bytes) -> None:
    """Publish records. KafkaException: one is refused; SetupError: there is no answer."""
    producer = Producer({**connection(brokers), "log_level": 0})
    errors: list[KafkaError | None] = []
    for content in contents:
        producer.produce(topic, content, on_delivery=lambda error, _: errors.append(error))
    if producer.flush(_KAFKA_SECONDS_MAX):
        raise SetupError(f"Kafka has not answered whether it takes records on {topic}")
    for error in errors:
        if error is not None:
            raise KafkaException(error)


def read(brokers: Brokers, topic: str, client: str) -> None:
    """Read a partition in the group of a client's workers. KafkaException: it is refused; SetupError: no answer."""
    group = {"group.id": f"backbeat-worker-{client}", "enable.auto.commit": False, "enable.partition.eof": True}
    consumer = Consumer({**connection(brokers), **group, "log_level": 0})
    try:
        if (error := consumer.list_topics(topic, _KAFKA_SECONDS_MAX).topics[topic].error) is not None:
            raise KafkaException(error)
        consumer.assign([TopicPartition(topic, 0, 0)])

        def is_read() -> bool:
            message = consumer.poll(0.2)
            if message is None:
                return False
            error = message.error()
            # At its end everything has been read.
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - named so there
                raise KafkaException(error)
            return True

        if not until(is_read, _KAFKA_SECONDS_MAX):
            raise SetupError(f"Kafka has not answered whether {topic} may be read")
    finally:
        consumer.close()


def _write(user: str, topic: str) -> Deed:
    return lambda installation: publish(installation.broker.brokers(user), topic, _SIGNAL)


def _read(user: str, topic: str) -> Deed:
    return lambda installation: read(installation.broker.brokers(user), topic, RIVAL)


def _refused(deed: Deed, allowed: Deed) -> Callable[[SecuredInstallation], str]:
    """The check that a deed is refused for want of a right, where another of the same user is not."""

    def make(installation: SecuredInstallation) -> str:
        allowed(installation)
        try:
            deed(installation)
        except KafkaException as error:
            reason: KafkaError = error.args[0]
            expect(reason.name().endswith("AUTHORIZATION_FAILED"), f"it is refused for another reason: {reason.str()}")
            return f"{reason.name()}: {reason.str()}"
        raise BrokenError("it was done")

    return make


_SIGNALS = "a client's service signals for that client alone"
_ACTIVITIES = "a client's worker reads that client's activities alone"
_NO_MORE = "each part has the rights that backbeat acls gives it, and no more"
_SERVES = _write(RIVAL_SERVICE, signals_topic(RIVAL))
_WORKS = _read(RIVAL_WORKER, activities_topic(RIVAL))
_SHARES = _read(RIVAL_SHARE_WORKER, activities_topic(RIVAL))
#: Name, promise, what is refused, and what the same user may.
_ROWS: tuple[tuple[str, str, Deed, Deed], ...] = (
    ("signal as another", _SIGNALS, _write(RIVAL_SERVICE, signals_topic(CLIENT)), _SERVES),
    ("signal as another, by a worker", _SIGNALS, _write(RIVAL_WORKER, signals_topic(CLIENT)), _WORKS),
    ("activities of another", _ACTIVITIES, _read(RIVAL_WORKER, activities_topic(CLIENT)), _WORKS),
    ("activities of another, shared", _ACTIVITIES, _read(RIVAL_SHARE_WORKER, activities_topic(CLIENT)), _SHARES),
    ("activities, by a service", _NO_MORE, _read(RIVAL_SERVICE, activities_topic(RIVAL)), _SERVES),
    ("command by a service", _NO_MORE, _write(RIVAL_SERVICE, COMMANDS), _SERVES),
    ("commands, by a worker", _NO_MORE, _read(RIVAL_WORKER, COMMANDS), _WORKS),
    ("state, by a worker", _NO_MORE, _read(RIVAL_WORKER, STATE), _WORKS),
    ("history, by a worker", _NO_MORE, _read(RIVAL_WORKER, HISTORY), _WORKS),
)
ATTACKS = tuple(Attack("brokers", name, promise, _refused(deed, allowed)) for name, promise, deed, allowed in _ROWS)
