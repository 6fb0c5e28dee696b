"""Wire format of a share group's requests: their types, and the requests for metadata and the coordinator.

Written with aiokafka's types and sent over its connections. librdkafka's own share consumer is not used: it takes whole
batches of a producer however few records are asked for, and cannot renew a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int8, Int16, Int32, Schema, TaggedFields

from backbeat.errors import BackbeatError

NO_TAGS: Mapping[int, bytes] = {}
STRING = CompactString("utf-8")
TAGS = ("tags", TaggedFields)


class Uuid:
    """A topic's id, 16 bytes."""

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """The bytes as they are."""
        return value

    @classmethod
    def decode(cls, data: Any) -> bytes:
        """The bytes as they are."""
        value: bytes = data.read(16)
        return value

    @classmethod
    def repr(cls, value: bytes) -> str:
        """For aiokafka's log."""
        return value.hex()


def array(*fields: tuple[str, Any]) -> CompactArray:
    """An array of structures; aiokafka's own constructor knows its own types only."""
    structures = CompactArray(Int32)
    structures.array_of = Schema(*fields, TAGS)
    return structures


class Request(RequestStruct):
    """A request, in the one version that is used here."""

    FLEXIBLE_VERSION = True
    API_KEY = API_VERSION = -1
    RESPONSE_TYPE = Response
    SCHEMA = Schema()

    def prepare(self, versions: Mapping[int, tuple[int, int]]) -> Request:
        """The request as the connection sends it. BackbeatError: the broker does not know it."""
        low, high = versions.get(self.API_KEY, (-1, -1))
        if not low <= self.API_VERSION <= high:
            raise BackbeatError(
                f'this Kafka has no share groups as delivery="share" needs them ({type(self).__name__} version '
                f"{self.API_VERSION}; it knows {low} to {high}). What to do: Kafka 4.2 or newer with "
                'share.version=1, or Worker(delivery="group")'
            )
        return self


# --- metadata and coordinator -----------------------------------------------------------------------------------------


class MetadataResponse(Response):
    """Brokers, topics and the leaders of their partitions."""

    API_KEY, API_VERSION = 3, 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", array(("node_id", Int32), ("host", STRING), ("port", Int32), ("rack", STRING))),
        ("cluster_id", STRING),
        ("controller_id", Int32),
        (
            "topics",
            array(
                ("error_code", Int16),
                ("name", STRING),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline", CompactArray(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        TAGS,
    )


class Metadata(Request):
    """Asks for one topic."""

    API_KEY, API_VERSION = 3, 12
    RESPONSE_TYPE = MetadataResponse
    SCHEMA = Schema(
        ("topics", array(("topic_id", Uuid), ("name", STRING))),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        TAGS,
    )


def metadata(topic: str) -> Metadata:
    """The request for a topic's metadata."""
    return Metadata([(bytes(16), topic, NO_TAGS)], False, False, NO_TAGS)


class CoordinatorResponse(Response):
    """Coordinator of a group."""

    API_KEY, API_VERSION = 10, 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "coordinators",
            array(
                ("key", STRING),
                ("node_id", Int32),
                ("host", STRING),
                ("port", Int32),
                ("error_code", Int16),
                ("error_message", STRING),
            ),
        ),
        TAGS,
    )


class FindCoordinator(Request):
    """Asks for a group's coordinator."""

    API_KEY, API_VERSION = 10, 4
    RESPONSE_TYPE = CoordinatorResponse
    SCHEMA = Schema(("key_type", Int8), ("keys", CompactArray(STRING)), TAGS)


def find_coordinator(group: str) -> FindCoordinator:
    """The request for a group's coordinator."""
    return FindCoordinator(0, [group], NO_TAGS)
