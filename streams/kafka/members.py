"""Members of the engines' consumer group: which instance has which partitions, as Kafka's coordinator knows it."""

from __future__ import annotations

from dataclasses import dataclass

from backbeat.schemas.kafka.groups import describe_group
from backbeat.schemas.kafka.topics import COMMANDS


@dataclass(frozen=True, kw_only=True)
class Member:
    """An engine in its group."""

    #: Its instance id; of an engine without one, the id that the group gave it.
    instance: str
    #: The address that it connects from.
    host: str
    #: Its partitions of the commands. It has them before it has restored their state.
    partitions: list[int]


def read_members(bootstrap_servers: str, application_id: str) -> list[Member]:
    """The engines, by instance. KafkaException: the brokers do not answer.

    Waits for the answer, so a thread with an event loop of its own calls it in another one.
    """
    members = [
        Member(
            instance=member.instance_id or member.id,
            host=member.host,
            partitions=sorted(partition for topic, partition in member.partitions if topic == COMMANDS),
        )
        for member in describe_group(bootstrap_servers, application_id).members
    ]
    return sorted(members, key=lambda member: member.instance)
