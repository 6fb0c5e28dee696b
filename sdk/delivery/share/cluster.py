"""Connections of a share group's member to the brokers: the leaders of partitions, and the group's coordinator."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError as ConnectionTrouble
from confluent_kafka import KafkaError

from backbeat.delivery.kafka import CONNECT_SECONDS_MAX
from backbeat.delivery.share.wire import find_coordinator, metadata
from backbeat.errors import Unavailable
from backbeat.schemas.kafka.security import KafkaSecurity, security_of

#: A broker that does not answer within this is connected to again.
_REQUEST_SECONDS_MAX = 10.0

_AGAIN_SECONDS = 0.05

COORDINATOR_MOVED = {14, 15, 16}  # COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
#: Asking again does not help.
REFUSED_FOR_GOOD = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.TOPIC_AUTHORIZATION_FAILED}

#: Errors of a broken connection, or of a broker that hangs.
TROUBLE = (ConnectionTrouble, OSError, TimeoutError)


T = TypeVar("T")


class RefusedError(Exception):
    """A broker answered with an error code."""

    def __init__(self, code: int, message: str | None = None) -> None:
        super().__init__(message or KafkaError(code).str())
        self.code = code


class Cluster:
    """The brokers, as one topic and one group see them. Used from one event loop."""

    def __init__(self, bootstrap_servers: str, group: str, topic: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._security = security_of(bootstrap_servers)
        self._group = group
        self._topic = topic
        #: By the broker and the purpose: a fetch that waits holds up what comes behind it on its connection.
        self._connections: dict[tuple[int, str], AIOKafkaConnection] = {}
        self._connecting: defaultdict[tuple[int, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._addresses: dict[int, tuple[str, int]] = {}
        self._coordinator: int | None = None
        self.topic_id = b""
        #: Partition -> the broker that leads it; False: some have no leader at the moment.
        self.leaders: dict[int, int] = {}
        self.is_whole = False

    async def refresh(self) -> None:
        """Ask where everything is. Unavailable: there is no such topic, or no broker answers."""
        response = await self._ask_any(metadata(self._topic))
        self._addresses = {node_id: (host, port) for node_id, host, port, *_ in response.brokers}
        ((code, _, topic_id, _, partitions, *_),) = response.topics
        if code:
            raise Unavailable(f"the topic {self._topic}: {KafkaError(code).str()}")
        self.topic_id = topic_id
        self.leaders = {number: leader for _, number, leader, *_ in partitions if leader >= 0}
        self.is_whole = len(self.leaders) == len(partitions)
        self._coordinator = None

    async def ask(self, node_id: int, purpose: str, request: Any) -> Any:
        """Send a request to a broker and await its response, over a connection of this purpose's own."""
        async with self._connecting[node_id, purpose]:
            connection = self._connections.get((node_id, purpose))
            if connection is None or not connection.connected():
                address = self._addresses.get(node_id)
                if address is None:
                    raise ConnectionError(f"broker {node_id} is not there")
                connection = self._connections[node_id, purpose] = await _connect(*address, self._security)
        try:
            return await connection.send(request)
        except TimeoutError:
            # Its response would be taken for the next one's.
            connection.close()
            raise

    async def ask_coordinator(self, request: Any) -> Any:
        """Send a request to the group's coordinator and await its response."""
        if self._coordinator is None:
            response = await self._ask_any(find_coordinator(self._group))
            ((_, node_id, host, port, code, message, _),) = response.coordinators
            if code:
                raise RefusedError(code, message)
            self._addresses[node_id] = (host, port)
            self._coordinator = node_id
        return await self.ask(self._coordinator, "group", request)

    async def patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Repeat a request to the coordinator for some seconds while there is none. TimeoutError, RefusedError."""
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while True:
                try:
                    return await request()
                except RefusedError as error:
                    if error.code not in COORDINATOR_MOVED:
                        raise
                    self._coordinator = None
                    await asyncio.sleep(_AGAIN_SECONDS)

    def forget_coordinator(self) -> None:
        """Look for the coordinator before the next request."""
        self._coordinator = None

    def disconnect(self, node_id: int, purpose: str) -> None:
        """Close a connection: the broker then gives up what it holds for it."""
        connection = self._connections.pop((node_id, purpose), None)
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        """Close all connections."""
        closings = [connection.close() for connection in self._connections.values()]
        self._connections.clear()
        for closing in closings:
            if closing is not None:
                await closing

    async def _ask_any(self, request: Any) -> Any:
        """Send a request to any broker that answers, the bootstrap servers among them."""
        trouble: Exception | None = None
        for node_id in list(self._addresses):
            try:
                return await self.ask(node_id, "group", request)
            except TROUBLE as error:
                trouble = error
        for host, port in _addresses(self._bootstrap_servers):
            try:
                connection = await _connect(host, port, self._security)
            except TROUBLE as error:
                trouble = error
                continue
            try:
                return await connection.send(request)
            except TROUBLE as error:
                trouble = error
            finally:
                connection.close()
        raise Unavailable(f"Kafka at {self._bootstrap_servers} does not answer: {trouble}") from trouble


async def _connect(host: str, port: int, security: KafkaSecurity) -> AIOKafkaConnection:
    return await create_conn(
        host,
        port,
        client_id="backbeat",
        request_timeout_ms=int(_REQUEST_SECONDS_MAX * 1000),
        **security.aiokafka(),
    )


def _addresses(bootstrap_servers: str) -> Iterable[tuple[str, int]]:
    for address in bootstrap_servers.split(","):
        host, _, port = address.strip().rpartition(":")
        yield host.strip("[]"), int(port)
