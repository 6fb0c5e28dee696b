"""Consumer groups as their coordinators describe them: state, members, and which partitions those have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupIdNotFound, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX
from backbeat.schemas.kafka.coordinators import ask_coordinators

_TEXT = String("utf-8")


class _Description(Response):
    API_KEY, API_VERSION = 15, 4
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        ("member_id", _TEXT),
                        ("group_instance_id", _TEXT),
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("metadata", Bytes),
                        ("assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _DescribeStruct(RequestStruct):
    API_KEY, API_VERSION = 15, 4
    RESPONSE_TYPE = _Description
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class _Describe(Request[_DescribeStruct]):
    """Asks for groups. aiokafka's own request is of versions without the ids of instances."""

    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: Callable[..., _DescribeStruct]) -> _DescribeStruct:
        return request_struct_class(self._groups, False)


@dataclass(frozen=True, kw_only=True)
class GroupMember:
    """Member of a group."""

    id: str
    #: Static members have one; empty: it has none.
    instance_id: str
    #: Address that it connects from.
    host: str
    #: Topics and partitions that it has.
    partitions: list[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Consumer group."""

    #: `Stable`, `Empty`, `PreparingRebalance` …; `Dead`: there is none
    state: str
    #: node of its coordinator
    coordinator: int
    members: list[GroupMember]


def describe_group(bootstrap_servers: str, group: str, seconds: float = ASK_SECONDS_MAX) -> Group:
    """A group; dead and without members where there is none. KafkaException: the brokers do not answer, or refuse.

    Waits for the answer, so a thread with an event loop of its own calls it in another one.
    """
    return ask_coordinators(bootstrap_servers, [group], _described, seconds)[group]


async def _described(client: AIOKafkaClient, coordinator: int, group: str) -> Group:
    response = await client.send(coordinator, _Describe([group]), group=ConnectionGroup.COORDINATION)
    ((error_code, _, state, _, _, members, _),) = response.groups
    error = for_code(error_code)
    if error is GroupIdNotFound:
        return Group(state="Dead", coordinator=coordinator, members=[])
    if error_code:
        raise error(group)
    return Group(
        state=state,
        coordinator=coordinator,
        members=[
            GroupMember(id=identity, instance_id=instance or "", host=host.lstrip("/"), partitions=_places(assignment))
            for identity, instance, _, host, _, assignment in members
        ],
    )


def _places(assignment: bytes) -> list[tuple[str, int]]:
    """Partitions of an assignment; it is empty while the group rebalances."""
    if not assignment:
        return []
    topics: list[Any] = ConsumerProtocolMemberAssignment.decode(assignment).assignment
    return [(topic, partition) for topic, partitions in topics for partition in partitions]
