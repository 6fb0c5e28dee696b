"""Connections of the ingest to Kafka: settings of its consumer and its producer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.broker_log import BrokerLog
from backbeat.schemas.kafka.security import connection

#: Time after which a new client's topic is seen, at most.
METADATA_REFRESH_MS = 5_000


def consumer_settings(
    bootstrap_servers: str, membership: Mapping[str, str | int], logger: logging.Logger
) -> dict[str, Any]:
    """Settings of a consumer with this membership; it commits where it is told to."""
    return {
        **connection(bootstrap_servers),
        **membership,
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        "topic.metadata.refresh.interval.ms": METADATA_REFRESH_MS,
        # A pause throws away what was fetched ahead; and how soon more is fetched once that was taken (default: 1 s).
        "queued.min.messages": 4_000,
        "queued.max.messages.kbytes": 8_192,
        "fetch.queue.backoff.ms": 2,
        "log.connection.close": False,
        "logger": BrokerLog(logger),
    }


def producer_settings(bootstrap_servers: str, logger: logging.Logger) -> dict[str, Any]:
    """Settings of the producer of commands and dead letters."""
    return {
        **connection(bootstrap_servers),
        "enable.idempotence": True,
        "acks": "all",
        # A full queue or a broker that is away is back-pressure; no record is given up.
        "message.timeout.ms": 0,
        "message.max.bytes": topics.DEAD_LETTER_BYTES_MAX,
        "linger.ms": 1,
        "compression.type": "lz4",
        "log.connection.close": False,
        "logger": BrokerLog(logger),
    }


def change_flow(
    action: Callable[[list[TopicPartition]], None], places: list[TopicPartition], logger: logging.Logger
) -> None:
    """Pause or resume partitions of a consumer."""
    try:
        if places:
            action(places)
    except KafkaException as error:
        # One was revoked meanwhile. What comes of the others is held all the same.
        logger.warning("pausing or resuming signals: %s", error.args[0].str())
