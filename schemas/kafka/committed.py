"""Offsets that consumer groups have committed, asked of their coordinators; and a position that is set for one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.errors import GroupIdNotFound, for_code
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest

from backbeat.schemas.kafka.coordinators import ask_coordinators

#: Topic and partition -> the next offset that a group will consume.
Offsets = dict[tuple[str, int], int]

#: Generation and member of whoever commits for a group without members; kept for as long as the brokers say.
_NO_GENERATION, _NO_MEMBER, _BROKERS_RETENTION = -1, "", -1


def committed_offsets(bootstrap_servers: str, groups: Iterable[str]) -> dict[str, Offsets]:
    """Offsets by consumer group; empty for one that has committed none. KafkaException: the brokers do not answer.

    Waits for the answers, so a thread with an event loop of its own calls it in another one.
    """
    return ask_coordinators(bootstrap_servers, groups, _committed)


def commit_offsets(bootstrap_servers: str, group: str, topic: str, offsets: Mapping[int, int], seconds: float) -> None:
    """Commit offsets by partition for a group that has no members. KafkaException: they could not be.

    Waits for the answer, as `committed_offsets`.
    """

    async def commit(client: AIOKafkaClient, coordinator: int, group: str) -> None:
        places = [(topic, [(partition, offset, "") for partition, offset in offsets.items()])]
        request = OffsetCommitRequest(group, _NO_GENERATION, _NO_MEMBER, _BROKERS_RETENTION, places)
        response = await client.send(coordinator, request, group=ConnectionGroup.COORDINATION)
        for _, partitions in response.topics:
            for _, error_code in partitions:
                if error_code:
                    raise for_code(error_code)(group)

    ask_coordinators(bootstrap_servers, [group], commit, seconds)


async def _committed(client: AIOKafkaClient, coordinator: int, group: str) -> Offsets:
    try:
        response = await client.send(coordinator, OffsetFetchRequest(group, None), group=ConnectionGroup.COORDINATION)
        if response.error_code:
            raise for_code(response.error_code)(group)
    except GroupIdNotFound:
        # Removed in between, or of another kind: it has none.
        return {}
    return {
        (topic, partition): offset
        for topic, partitions in response.topics
        for partition, offset, _, error_code in partitions
        if not error_code and offset >= 0
    }
