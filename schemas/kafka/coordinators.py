"""Coordinators of consumer groups, asked by aiokafka.

librdkafka's admin client is asked nothing of them, and brokers at most for the list of their groups. Where a
coordinator has just moved, or does not answer in time, a handler of it reads a null pointer or fails an assertion, and
the process is gone: no error reaches Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.errors import BrokerResponseError, RequestTimedOutError
from aiokafka.errors import KafkaError as Trouble
from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.brokers import ASK_SECONDS_MAX, COORDINATOR_MOVES
from backbeat.schemas.kafka.security import security_of

_ASKED_MAX = 50  #: groups, at the same time
_AGAIN_SECONDS = 0.1
#: Requests that fit into the time, one after the other: a broker that stands takes one of them, and another is asked.
_TRIES = 3

T = TypeVar("T")
#: A question about a group to its coordinator, a node's number.
Question = Callable[[AIOKafkaClient, int, str], Awaitable[T]]


def ask_coordinators(
    bootstrap_servers: str, groups: Iterable[str], question: Question[T], seconds: float = ASK_SECONDS_MAX
) -> dict[str, T]:
    """The answers by group. KafkaException: the brokers do not answer, or refuse.

    Waits for the answers, so a thread with an event loop of its own calls it in another one.
    """
    return asyncio.run(_ask_all(bootstrap_servers, sorted(set(groups)), question, seconds))


async def _ask_all(bootstrap_servers: str, groups: list[str], question: Question[T], seconds: float) -> dict[str, T]:
    client = AIOKafkaClient(
        bootstrap_servers=bootstrap_servers.split(","),
        client_id="backbeat",
        request_timeout_ms=int(seconds * 1000 / _TRIES),
        **security_of(bootstrap_servers).aiokafka(),
    )
    places = asyncio.Semaphore(_ASKED_MAX)

    async def ask(group: str) -> T:
        async with places:
            return await _until_answered(client, group, question, seconds)

    try:
        async with asyncio.timeout(seconds):
            await client.bootstrap()
        return dict(zip(groups, await asyncio.gather(*map(ask, groups)), strict=True))
    except Trouble as error:
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN, str(error))) from error  # noqa: SLF001 - its name
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None  # noqa: SLF001 - its name
    finally:
        await client.close()


async def _until_answered(client: AIOKafkaClient, group: str, question: Question[T], seconds: float) -> T:
    """Ask until the group has a coordinator that answers. KafkaException, TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await question(client, await client.coordinator_lookup(CoordinationType.GROUP, group), group)
            except Trouble as error:
                code = error.errno if isinstance(error, BrokerResponseError) else None
                if code is not None and code not in COORDINATOR_MOVES and not isinstance(error, RequestTimedOutError):
                    raise KafkaException(KafkaError(code)) from error
            await asyncio.sleep(_AGAIN_SECONDS)
