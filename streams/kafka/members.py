"""Members of the engines' consumer group: which instance has which partitions, as Kafka's coordinator knows it."""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, result
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


def read_members(admin: AdminClient, application_id: str) -> list[Member]:
    """The engines, by instance. KafkaException: the brokers do not answer."""
    described = admin.describe_consumer_groups([application_id], request_timeout=ASK_SECONDS_MAX)
    try:
        group = result(described[application_id])
    except KafkaException as error:
        if error.args[0].name() == "GROUP_ID_NOT_FOUND":
            return []
        raise
    members = [
        Member(
            instance=member.group_instance_id or member.member_id,
            host=str(member.host).lstrip("/"),
            partitions=sorted(
                place.partition
                for place in (member.assignment.topic_partitions if member.assignment is not None else ())
                if place.topic == COMMANDS
            ),
        )
        for member in group.members
    ]
    return sorted(members, key=lambda member: member.instance)
