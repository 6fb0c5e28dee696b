"""Offsets that consumer groups have committed, asked of their coordinators.

By aiokafka: where a coordinator has just moved, the same request of librdkafka's admin client ends the process with a
segmentation fault, since its handler looks for the consumer group that such a client does not have.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import BrokerResponseError, GroupIdNotFound, for_code
from aiokafka.errors import KafkaError as Trouble
from aiokafka.protocol.commit import OffsetFetchRequest
from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, COORDINATOR_MOVES
from backbeat.schemas.kafka.security import security_of

#: Topic and partition -> the next offset that a group will consume.
Offsets = dict[tuple[str, int], int]

_ASKED_MAX = 50  #: groups, at the same time
_AGAIN_SECONDS = 0.1


def committed_offsets(bootstrap_servers: str, groups: Iterable[str]) -> dict[str, Offsets]:
    """Offsets by consumer group; empty for one that has committed none. KafkaException: the brokers do not answer.

    Waits for the answers, so a thread with an event loop of its own calls it in another one.
    """
    return asyncio.run(_all_committed(bootstrap_servers, sorted(set(groups))))


async def _all_committed(bootstrap_servers: str, groups: list[str]) -> dict[str, Offsets]:
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap_servers.split(","),
        client_id="backbeat",
        request_timeout_ms=int(ASK_SECONDS_MAX * 1000),
        **security_of(bootstrap_servers).aiokafka(),
    )
    places = asyncio.Semaphore(_ASKED_MAX)

    async def ask(group: str) -> Offsets:
        async with places:
            return await _until_answered(client, group)

    try:
        async with asyncio.timeout(ASK_SECONDS_MAX):
            await client.bootstrap()
        return dict(zip(groups, await asyncio.gather(*map(ask, groups)), strict=True))
    except Trouble as error:
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN, str(error))) from error  # noqa: SLF001 - its name
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - its name
    finally:
        await client.close()


async def _until_answered(client: AIOKafkaClient, group: str) -> Offsets:
    """Ask until the group has a coordinator that answers. KafkaException, TimeoutError."""
    async with asyncio.timeout(ASK_SECONDS_MAX):
        while True:
            try:
                return await _committed(client, group)
            except GroupIdNotFound:
                # Removed in between, or of another kind: it has none.
                return {}
            except Trouble as error:
                code = error.errno if isinstance(error, BrokerResponseError) else None
                if code is not None and code not in COORDINATOR_MOVES:
                    raise KafkaException(KafkaError(code)) from error
            await asyncio.sleep(_AGAIN_SECONDS)


async def _committed(client: AIOKafkaClient, group: str) -> Offsets:
    coordinator = await client.coordinator_lookup(CoordinationType.GROUP, group)
    response = await client.send(coordinator, OffsetFetchRequest(group, None), group=ConnectionGroup.COORDINATION)
    if response.error_code:
        raise for_code(response.error_code)(group)
    return {
        (topic, partition): offset
        for topic, partitions in response.topics
        for partition, offset, _, error_code in partitions
        if not error_code and offset >= 0
    }
