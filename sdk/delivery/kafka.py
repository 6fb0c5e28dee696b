"""Settings of this package's producers and consumers of Kafka, and why they are what they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from backbeat.errors import Unavailable
from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.ends import read_ends
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import DEAD_LETTER_BYTES_MAX

logger = logging.getLogger("backbeat")

#: The environment variable of the bootstrap servers, and their default: where `backbeat dev` starts a broker.
_VARIABLE, _DEFAULT = "BACKBEAT_BOOTSTRAP_SERVERS", "127.0.0.1:9092"
#: Bound of a first connection.
CONNECT_SECONDS_MAX = 20.0

_COMMON: dict[str, Any] = {
    # A broker that restarts is back within seconds: look for it often.
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    # Small requests must not wait for the acknowledgement of the ones before.
    "socket.nagle.disable": True,
    # Kafka closes idle connections; that is no news.
    "log.connection.close": False,
}


def servers_of(bootstrap_servers: str | None) -> str:
    """The bootstrap servers: the caller's, else those of the environment, else this machine's."""
    return bootstrap_servers or os.environ.get(_VARIABLE) or _DEFAULT


def make_producer(bootstrap_servers: str, settings: Mapping[str, Any]) -> Producer:
    """A producer that keeps the order of its records, and sends them at once."""
    return Producer(
        {
            **_COMMON,
            **connection(bootstrap_servers),
            # Nothing is written twice or out of order when a send is repeated.
            "enable.idempotence": True,
            "acks": "all",
            # What comes while a request is under way goes with the next: waiting would only add to the latency.
            "linger.ms": 0,
            "queue.buffering.max.messages": 500_000,
            "message.max.bytes": DEAD_LETTER_BYTES_MAX,
            "compression.type": "none",
            "logger": BrokerLog(logger),
            **settings,
        }
    )


def close_producer(producer: Producer) -> None:
    """Disconnect a producer now, and give up what it has not sent; else its threads run until Python collects it."""
    # Closing waits for what is not sent, without a bound.
    producer.purge()
    producer.close()


def make_consumer(bootstrap_servers: str, group: str, settings: Mapping[str, Any]) -> Consumer:
    """A consumer that gets a record as soon as it is there, without a subscription."""
    return Consumer(
        {
            **_COMMON,
            **connection(bootstrap_servers),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "fetch.min.bytes": 1,
            # A fetch that waits holds up a partition that was just resumed.
            "fetch.wait.max.ms": 100,
            # Records that are fetched ahead, and how soon is looked again when that was reached (default: 1 s).
            "queued.min.messages": 2_000,
            "queued.max.messages.kbytes": 16_384,
            "fetch.queue.backoff.ms": 2,
            "logger": BrokerLog(logger),
            **settings,
        }
    )


def make_member(
    bootstrap_servers: str, session_timeout_seconds: float, group: str, settings: Mapping[str, Any]
) -> Consumer:
    """A consumer that shares the partitions of topics with the others of its group."""
    session_timeout_ms = int(session_timeout_seconds * 1000)
    membership = {
        "session.timeout.ms": session_timeout_ms,
        # A member learns of a rebalance by a heartbeat: the interval is how long the others wait for it.
        "heartbeat.interval.ms": min(500, session_timeout_ms // 5),
        # A member that joins or leaves stops only the partitions that move.
        "partition.assignment.strategy": "cooperative-sticky",
        # A topic that was unknown, or gets more partitions: what lies there is read this soon, not after five minutes.
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    return make_consumer(bootstrap_servers, group, {**membership, **settings})


def partition_counts(client: Producer | Consumer, bootstrap_servers: str, *topics: str) -> list[int]:
    """Numbers of partitions, in the order of the topics. Unavailable: a topic is missing, or Kafka does not answer."""
    try:
        metadata = client.list_topics(timeout=CONNECT_SECONDS_MAX).topics
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    for topic in topics:
        if topic not in metadata:
            raise Unavailable(
                f"Kafka at {bootstrap_servers} has no topic {topic}. What to do: `backbeat topics create` makes "
                "the system's topics, `backbeat user add` those of a client."
            )
    return [len(metadata[topic].partitions) for topic in topics]


def end_of(consumer: Consumer, topic: str, partition: int, bootstrap_servers: str) -> TopicPartition:
    """The partition, at its end as it is now."""
    try:
        _, high = read_ends(consumer, topic, partition, CONNECT_SECONDS_MAX)
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    return TopicPartition(topic, partition, high)


def unreachable(bootstrap_servers: str, error: KafkaException) -> Unavailable:
    """The error for a Kafka that does not answer."""
    return Unavailable(f"Kafka at {bootstrap_servers} does not answer: {error.args[0].str()}")
