"""Requests of a share group's member, and their responses, as Kafka 4.2 and later have them (KIP-932, 1206, 1222)."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.protocol.api import Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
)

from backbeat.delivery.share.wire import NO_TAGS, STRING, TAGS, Request, Uuid, array

#: Bound of the response to a fetch; a single record may be larger.
_FETCH_BYTES_MAX = 16 * 1024 * 1024
#: Size of the broker's batches of records: those that are acknowledged together should lie together.
_BATCH_RECORDS = 100
_RECORD_LIMIT = 1  #: never more records than were asked for


class AckType(enum.IntEnum):
    """Acknowledgement of a record that was taken."""

    #: there is no record at this offset
    GAP = 0
    ACCEPT = 1
    #: somebody else may take it
    RELEASE = 2
    #: it stays locked for as long again
    RENEW = 4


# --- membership -------------------------------------------------------------------------------------------------------

EPOCH_JOIN, EPOCH_LEAVE = 0, -1


class HeartbeatResponse(Response):
    """Membership; the partitions that the group assigns come behind and are not looked at (`member`)."""

    API_KEY, API_VERSION = 76, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", STRING),
        ("member_id", STRING),
        ("member_epoch", Int32),
        ("heartbeat_interval_ms", Int32),
    )


class Heartbeat(Request):
    """Joins a share group, stays in it, leaves it."""

    API_KEY, API_VERSION = 76, 1
    RESPONSE_TYPE = HeartbeatResponse
    SCHEMA = Schema(
        ("group_id", STRING),
        ("member_id", STRING),
        ("member_epoch", Int32),
        ("rack_id", STRING),
        ("topics", CompactArray(STRING)),
        TAGS,
    )


def heartbeat(group: str, member_id: str, epoch: int, topic: str) -> Heartbeat:
    """The heartbeat of a member; the topic is in the one that joins."""
    return Heartbeat(group, member_id, epoch, None, [topic] if epoch == EPOCH_JOIN else None, NO_TAGS)


# --- records ----------------------------------------------------------------------------------------------------------

#: (partition, first offset, one type for each offset from there on)
AckBatch = tuple[int, int, list[int]]

_ACK_BATCHES = (
    "batches",
    array(("first_offset", Int64), ("last_offset", Int64), ("types", CompactArray(Int8))),
)
_LEADER = ("leader", Schema(("leader_id", Int32), ("leader_epoch", Int32), TAGS))
_ENDPOINTS = (
    "endpoints",
    array(("node_id", Int32), ("host", STRING), ("port", Int32), ("rack", STRING)),
)


class FetchResponse(Response):
    """Records, and the offsets that are acquired."""

    API_KEY, API_VERSION = 78, 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", STRING),
        ("lock_ms", Int32),
        (
            "topics",
            array(
                ("topic_id", Uuid),
                (
                    "partitions",
                    array(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("error_message", STRING),
                        ("ack_error_code", Int16),
                        ("ack_error_message", STRING),
                        _LEADER,
                        ("records", CompactBytes),
                        (
                            "acquired",
                            array(("first_offset", Int64), ("last_offset", Int64), ("delivery_count", Int16)),
                        ),
                    ),
                ),
            ),
        ),
        _ENDPOINTS,
        TAGS,
    )


class Fetch(Request):
    """Takes records, and acknowledges earlier ones."""

    API_KEY, API_VERSION = 78, 2
    RESPONSE_TYPE = FetchResponse
    SCHEMA = Schema(
        ("group_id", STRING),
        ("member_id", STRING),
        ("session_epoch", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("max_records", Int32),
        ("batch_size", Int32),
        ("acquire_mode", Int8),
        ("is_renewal", Boolean),
        ("topics", array(("topic_id", Uuid), ("partitions", array(("partition", Int32), _ACK_BATCHES)))),
        ("forgotten", array(("topic_id", Uuid), ("partitions", CompactArray(Int32)))),
        TAGS,
    )


class AcknowledgeResponse(Response):
    """Results of acknowledgements, by partition."""

    API_KEY, API_VERSION = 79, 2
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("error_message", STRING),
        ("lock_ms", Int32),
        (
            "topics",
            array(
                ("topic_id", Uuid),
                (
                    "partitions",
                    array(("partition", Int32), ("error_code", Int16), ("error_message", STRING), _LEADER),
                ),
            ),
        ),
        _ENDPOINTS,
        TAGS,
    )


class Acknowledge(Request):
    """Acknowledges records."""

    API_KEY, API_VERSION = 79, 2
    RESPONSE_TYPE = AcknowledgeResponse
    SCHEMA = Schema(
        ("group_id", STRING),
        ("member_id", STRING),
        ("session_epoch", Int32),
        ("is_renewal", Boolean),
        ("topics", array(("topic_id", Uuid), ("partitions", array(("partition", Int32), _ACK_BATCHES)))),
        TAGS,
    )


class MemberIdentity(NamedTuple):
    """A member of a share group, and the one topic that it reads."""

    group: str
    member_id: str
    topic: str
    topic_id: bytes


def fetch(
    identity: MemberIdentity,
    epoch: int,
    *,
    records_max: int,
    wait_ms: int,
    added: Iterable[int],
    forgotten: Iterable[int],
) -> Fetch:
    """The request for at most so many records; partitions are in it when they join the session or leave it."""
    partitions: list[Any] = [(partition, [], NO_TAGS) for partition in sorted(added)]
    left = sorted(forgotten)
    return Fetch(
        identity.group,
        identity.member_id,
        epoch,
        wait_ms,
        1,
        _FETCH_BYTES_MAX,
        records_max,
        _BATCH_RECORDS,
        _RECORD_LIMIT,
        False,
        [(identity.topic_id, partitions, NO_TAGS)] if partitions else [],
        [(identity.topic_id, left, NO_TAGS)] if left else [],
        NO_TAGS,
    )


def acknowledge(identity: MemberIdentity, epoch: int, batches: Sequence[AckBatch]) -> Acknowledge:
    """The request that acknowledges records; with EPOCH_LEAVE as the epoch the session is over."""
    batches_by_partition: dict[int, list[Any]] = {}
    for partition, first, types in batches:
        batches_by_partition.setdefault(partition, []).append((first, first + len(types) - 1, types, NO_TAGS))
    partitions = [(partition, acks, NO_TAGS) for partition, acks in batches_by_partition.items()]
    topics = [(identity.topic_id, partitions, NO_TAGS)] if partitions else []
    renewal = any(AckType.RENEW in types for _, _, types in batches)
    return Acknowledge(identity.group, identity.member_id, epoch, renewal, topics, NO_TAGS)


def batches_of(acks: Mapping[tuple[int, int], AckType]) -> list[AckBatch]:
    """Acknowledgements of (partition, offset), those of neighbours together."""
    batches: list[AckBatch] = []
    for (partition, offset), kind in sorted(acks.items()):
        if batches and batches[-1][0] == partition and batches[-1][1] + len(batches[-1][2]) == offset:
            batches[-1][2].append(int(kind))
        else:
            batches.append((partition, offset, [int(kind)]))
    return batches
