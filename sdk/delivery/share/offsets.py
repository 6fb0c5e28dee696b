"""Positions of a share group, and of the consumer group of the same client application.

Each takes from its own position. So that a change of delivery neither runs again what is done nor leaves anything out,
a share group begins where the consumer group has committed if that is further, and while it runs it commits its own
position for the consumer group: `backbeat stats` counts from that, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.codec import has_lz4, has_snappy, has_zstd
from aiokafka.protocol.api import Response
from aiokafka.protocol.types import CompactArray, Int16, Int32, Int64, Schema
from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, OffsetSpec

from backbeat.delivery.kafka import CONNECT_SECONDS_MAX, logger, unreachable
from backbeat.delivery.share.cluster import Cluster, RefusedError
from backbeat.delivery.share.wire import NO_TAGS, STRING, TAGS, Request, Uuid, array
from backbeat.errors import BackbeatError, Unavailable
from backbeat.schemas.kafka.committed import commit_offsets, committed_offsets
from backbeat.schemas.kafka.groups import describe_group
from backbeat.schemas.kafka.security import connection

_EARLIEST = "earliest"
_RESET, _RENEW, _LIMIT = "share.auto.offset.reset", "share.renew.acknowledge.enable", "share.delivery.count.limit"
#: Kafka's default, where a broker does not tell.
_LIMIT_DEFAULT = 5
#: Compressions that need a package: True where it is installed.
_COMPRESSIONS: Mapping[str, Callable[[], bool]] = {"snappy": has_snappy, "lz4": has_lz4, "zstd": has_zstd}
#: Bound of a request of a worker that may be about to leave.
_ASK_SECONDS_MAX = 5.0
_GROUP_ID_NOT_FOUND = 69
_NON_EMPTY_GROUP = 68


class DescribeResponse(Response):
    """Position of a share group."""

    API_KEY, API_VERSION = 90, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            array(
                ("group_id", STRING),
                (
                    "topics",
                    array(
                        ("name", STRING),
                        ("topic_id", Uuid),
                        (
                            "partitions",
                            array(
                                ("partition", Int32),
                                ("start_offset", Int64),
                                ("leader_epoch", Int32),
                                ("lag", Int64),
                                ("error_code", Int16),
                                ("error_message", STRING),
                            ),
                        ),
                    ),
                ),
                ("error_code", Int16),
                ("error_message", STRING),
            ),
        ),
        TAGS,
    )


class Describe(Request):
    """Asks for the position of a share group."""

    API_KEY, API_VERSION = 90, 1
    RESPONSE_TYPE = DescribeResponse
    SCHEMA = Schema(
        (
            "groups",
            array(("group_id", STRING), ("topics", array(("name", STRING), ("partitions", CompactArray(Int32))))),
        ),
        TAGS,
    )


class AlterResponse(Response):
    """Result of moving a share group."""

    API_KEY, API_VERSION = 91, 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", STRING),
        (
            "topics",
            array(
                ("name", STRING),
                ("topic_id", Uuid),
                ("partitions", array(("partition", Int32), ("error_code", Int16), ("error_message", STRING))),
            ),
        ),
        TAGS,
    )


class Alter(Request):
    """Moves a share group that has no members."""

    API_KEY, API_VERSION = 91, 0
    RESPONSE_TYPE = AlterResponse
    SCHEMA = Schema(
        ("group_id", STRING),
        (
            "topics",
            array(("name", STRING), ("partitions", array(("partition", Int32), ("start_offset", Int64)))),
        ),
        TAGS,
    )


class Position(NamedTuple):
    """Position of a share group in a partition."""

    #: everything before it is done; None: it has taken nothing yet
    start: int | None
    #: records that are not done; None: the broker does not know
    lag: int | None


class GroupSetup(NamedTuple):
    """Setup of a share group, known before the first record is taken."""

    #: number of times that a record is taken by somebody before the broker takes it out
    deliveries_max: int
    #: partition -> the next record of the consumer group
    committed: Mapping[int, int]


def prepare(bootstrap_servers: str, group: str, topic: str, consumer_group: str) -> GroupSetup:
    """Check that a share group can be used, and set it up. BackbeatError: it cannot, and why."""
    admin = _admin(bootstrap_servers)
    try:
        admin.list_topics(timeout=CONNECT_SECONDS_MAX)
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    resource = ConfigResource(ConfigResource.Type.GROUP, group)
    try:
        config = {name: entry.value for name, entry in _result(admin.describe_configs([resource])).items()}
        if _RESET not in config:
            raise BackbeatError(
                f"this Kafka has no share groups (its groups have no {_RESET}). What to do: Kafka 4.2 or newer, or "
                'Worker(delivery="group")'
            )
        if config.get(_RENEW, "true") != "true":
            raise BackbeatError(
                f"the share group {group} may not renew its locks: set {_RENEW}=true for it, or use "
                'Worker(delivery="group")'
            )
        _check_compression(topic, _result(admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)])))
        state = describe_group(bootstrap_servers, consumer_group).state
        if state not in {"Empty", "Dead"}:
            raise BackbeatError(
                f'workers with delivery="group" run ({consumer_group} is {state.lower()}): both would run every '
                "activity. What to do: stop them all first; one that was killed is gone after its session timeout"
            )
        if config[_RESET] != _EARLIEST:
            # A new group would leave out what was there before it.
            entry = ConfigEntry(_RESET, _EARLIEST, incremental_operation=AlterConfigOpType.SET)
            change = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[entry])
            _result(admin.incremental_alter_configs([change]))
        offsets = committed_offsets(bootstrap_servers, [consumer_group])[consumer_group]
    except KafkaException as error:
        raise Unavailable(f"the share group {group} cannot be set up: {error.args[0].str()}") from error
    committed = {partition: offset for (name, partition), offset in offsets.items() if name == topic}
    return GroupSetup(int(config.get(_LIMIT) or _LIMIT_DEFAULT), committed)


def _check_compression(topic: str, config: Mapping[str, ConfigEntry]) -> None:
    """A record that cannot be read counts as delivered each time it is tried, until the broker takes it out."""
    kind = config["compression.type"].value
    if not _COMPRESSIONS.get(str(kind), lambda: True)():
        raise BackbeatError(
            f"{topic} is compressed with {kind}, which cannot be read here. What to do: pip install "
            f"'aiokafka[{kind}]', or set compression.type=producer for the topic"
        )


def commit(bootstrap_servers: str, consumer_group: str, topic: str, starts: Mapping[int, int]) -> None:
    """Commit a share group's position for the consumer group. KafkaException: it could not be."""
    commit_offsets(bootstrap_servers, consumer_group, topic, starts, _ASK_SECONDS_MAX)


async def positions(cluster: Cluster, group: str, topic: str) -> dict[int, Position]:
    """Positions of a share group, by partition; empty: nobody has been in it yet. RefusedError."""
    partitions = sorted(cluster.leaders)
    response = await cluster.ask_coordinator(Describe([(group, [(topic, partitions, NO_TAGS)], NO_TAGS)], NO_TAGS))
    ((_, topics, code, message, _),) = response.groups
    if code == _GROUP_ID_NOT_FOUND:
        return {}
    if code:
        raise RefusedError(code, message)
    return {
        number: Position(start if start >= 0 else None, lag if lag >= 0 else None)
        for _, _, partitions_of_topic, _ in topics
        for number, start, _, lag, error, *_ in partitions_of_topic
        if not error
    }


async def begin_at(
    cluster: Cluster, group: str, topic: str, committed: Mapping[int, int], ends: Callable[[], Mapping[int, int]]
) -> None:
    """Move a share group to where the consumer group has got to, if that is further. BackbeatError: it cannot.

    Where all that the share group has not done may lie behind the committed offset it stays: being moved it would
    forget what else it has done there. `ends` gives the end of each partition, and may block.
    """
    if not committed:
        return
    group_positions = await positions(cluster, group, topic)
    end = await asyncio.to_thread(ends)

    def is_behind(partition: int, offset: int) -> bool:
        start, lag = group_positions.get(partition, Position(None, None))
        if start is None or lag is None:
            return start is None or start < offset
        return start < offset and lag > end.get(partition, offset) - offset

    starts = [
        (partition, offset, NO_TAGS) for partition, offset in sorted(committed.items()) if is_behind(partition, offset)
    ]
    if not starts:
        return
    response = await cluster.ask_coordinator(Alter(group, [(topic, starts, NO_TAGS)], NO_TAGS))
    if response.error_code == _NON_EMPTY_GROUP:
        # Another worker has just done it, and is in.
        return
    errors = [response.error_message or "refused"] if response.error_code else []
    errors += [text for _, _, results, _ in response.topics for _, code, text, _ in results if code]
    if errors:
        raise BackbeatError(f"the share group {group} cannot go on where {topic} was read before: {errors[0]}")
    logger.info("the share group %s goes on where the consumer group was", group)


def ends(bootstrap_servers: str, topic: str, partitions: Iterable[int]) -> dict[int, int]:
    """The end of each partition. KafkaException."""
    latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    admin = _admin(bootstrap_servers)
    futures = admin.list_offsets(
        dict.fromkeys([TopicPartition(topic, partition) for partition in partitions], latest),
        isolation_level=IsolationLevel.READ_UNCOMMITTED,
        request_timeout=_ASK_SECONDS_MAX,
    )
    return {place.partition: future.result(_ASK_SECONDS_MAX).offset for place, future in futures.items()}


def _admin(bootstrap_servers: str) -> AdminClient:
    """A client for some requests, to be held until they are answered.

    One that is kept for longer would ask as if a broker that was restarted led as before.
    """
    return AdminClient({**connection(bootstrap_servers), "log_level": 2})


def _result(futures: Mapping[Any, Any]) -> Any:
    """Result of a request for one thing alone."""
    (future,) = futures.values()
    return future.result(CONNECT_SECONDS_MAX)
