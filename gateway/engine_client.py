"""Client of the engine: commands and queries with replies, and the reachability of Kafka.

The gateway may start before Kafka, and Kafka may fail: until it answers every request is refused at once, so that
callers do not wait in vain.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.errors import NotFound, Timeout, Unavailable
from backbeat.gateway.http import errors
from backbeat.gateway.settings import GatewaySettings
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError
from backbeat.schemas.kafka.client_registry import ClientRegistry, ClientRegistryError, RegisteredClient
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import CLIENTS, RECORD_BYTES_MAX
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.process.termination import end
from backbeat.transport.requests import RequestClient

logger = logging.getLogger(__name__)

#: Interval and timeout of the check whether Kafka answers.
_LOOK_SECONDS = 1.0
_LOOK_TIMEOUT_SECONDS = 2.0
#: Failed checks in a row until requests are refused: a single one may meet a restarting broker.
_MISSED_MAX = 2
_AGAIN_SECONDS = 1.0
#: Timeout for reading the registry up to its end.
_CATCH_UP_SECONDS_MAX = 2.0
#: Largest value of a command: its batch has a header and a key beside it.
_RECORD_BYTES_MAX = RECORD_BYTES_MAX - 1024


class Engine:
    """Client of the engine. Used from one event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._request_client: RequestClient | None = None
        self._registry: ClientRegistry | None = None
        self._reachability_check: asyncio.Task[None] | None = None
        self._catching_up = asyncio.Lock()
        self._next_catch_up: asyncio.Task[None] | None = None
        #: Reason why requests are refused; None: they are sent.
        self.missing: str | None = "The gateway has not reached Kafka yet"

    # --- connecting --------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Connect; retried until Kafka, its topics and the registry are reachable. RefusedError, SecurityError."""
        last_reason = ""
        while True:
            try:
                await self._connect()
            except RefusedError:
                # The broker answers and refuses: waiting does not help.
                raise
            except (Unavailable, ClientRegistryError, UnreachableError, KafkaException) as error:
                self.missing = str(error)
                if self.missing != last_reason:
                    last_reason = self.missing
                    logger.warning("not connected yet: %s", last_reason)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        self.missing = None
        self._reachability_check = asyncio.create_task(self._check_reachability())

    async def _connect(self) -> None:
        if self._registry is None:
            registry = ClientRegistry(
                self._settings.bootstrap_servers,
                failed=lambda error: end(f"the registry of clients: {error}", part="gateway"),
            )
            self._registry = await asyncio.to_thread(registry.start)
        if self._request_client is None:
            request_client = RequestClient(self._settings.bootstrap_servers, self._settings.answer_seconds)
            await request_client.start()
            self._request_client = request_client

    async def stop(self) -> None:
        """Disconnect; pending requests are refused."""
        if self._reachability_check is not None:
            self._reachability_check.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reachability_check
        if self._request_client is not None:
            await self._request_client.stop()
        if self._registry is not None:
            await asyncio.to_thread(self._registry.stop)

    async def _check_reachability(self) -> None:
        """Detect within seconds that Kafka is gone, and that it is back."""
        admin = AdminClient({**connection(self._settings.bootstrap_servers), "log_level": 0})
        missed = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(admin.list_topics, CLIENTS, _LOOK_TIMEOUT_SECONDS)
            except KafkaException as error:
                missed += 1
                if missed == _MISSED_MAX:
                    self.missing = f"Kafka at {self._settings.bootstrap_servers} does not answer: {error.args[0].str()}"
                    logger.warning("%s", self.missing)
                continue
            if missed >= _MISSED_MAX:
                logger.info("Kafka answers again")
            missed, self.missing = 0, None

    # --- requests ---------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> ClientRegistry:
        """Registry of clients. 503 before it is read."""
        if self._registry is None:
            raise errors.unavailable(self.missing or "not connected", "Backbeat::Unavailable")
        return self._registry

    def client(self, client_id: bytes) -> RegisteredClient | None:
        """Client with this id."""
        return self.registry.by_id(client_id)

    async def catch_up(self) -> None:
        """Read the registry up to its present end, if Kafka answers within 2 s.

        One read serves all callers before it begins: unknown callers cannot cause more than one at a time.
        """
        if self._next_catch_up is None:
            self._next_catch_up = asyncio.create_task(self._catch_up())
        await asyncio.shield(self._next_catch_up)

    async def _catch_up(self) -> None:
        async with self._catching_up:
            self._next_catch_up = None
            await asyncio.to_thread(self.registry.catch_up, _CATCH_UP_SECONDS_MAX)

    @property
    def answer_seconds(self) -> float:
        """Timeout of a reply, seconds."""
        return self._settings.answer_seconds

    def now(self) -> float:
        """Seconds since the epoch, as engines count deadlines."""
        return time.time() if self._request_client is None else self._request_client.now()

    @property
    def partitions(self) -> int:
        """Number of command partitions; 0: not known yet."""
        return 0 if self._request_client is None else self._request_client.partitions

    def every_partition(self) -> range:
        """Partitions, for requests to each. 503 before they are known: no answer is not an empty one."""
        return range(self._connected().partitions)

    async def command(self, make: Callable[[ReplyTo], AnyCommand], routed: bytes, key: bytes, target: str) -> Any:
        """Send a command and await its reply. 503 on timeout: it may still be applied. `target`: named in errors."""

        def encode(reply_to: ReplyTo) -> bytes:
            text = encode_command(make(reply_to))
            if len(text) > _RECORD_BYTES_MAX:
                raise errors.too_large(
                    f"The request makes a record of {len(text)} bytes; {_RECORD_BYTES_MAX} is the most"
                )
            return text

        request_client = self._connected()
        try:
            return await request_client.command(encode, routed, key, self._settings.answer_seconds, target)
        except Timeout as error:
            raise errors.unavailable(
                _timeout_text(target, self._settings.answer_seconds), "Backbeat::Timeout"
            ) from error
        except Unavailable as error:
            raise errors.unavailable(
                f"{error}. The command may still be applied; a repeat with the same Idempotency-Key is safe",
                "Backbeat::Unavailable",
            ) from error

    async def query(
        self, make: Callable[[ReplyTo, int], queries.AnyQuery], target: str, seconds: float | None = None
    ) -> list[Any]:
        """Send a query and await all parts of its reply. 503 on timeout."""
        try:
            return await self._connected().query(make, seconds or self._settings.answer_seconds, target)
        except Timeout as error:
            raise errors.unavailable(str(error), "Backbeat::Timeout") from error
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    async def find_node(self, node_id: bytes) -> NodeView | None:
        """A node as it is now, of any client; None: it does not exist (any more). Unavailable, Timeout."""
        if self.missing is not None or self._request_client is None:
            raise Unavailable(self.missing or "not connected")
        try:
            (node,) = await self._request_client.query(
                lambda reply_to, deadline: queries.GetNode(reply_to=reply_to, deadline=deadline, node_id=node_id),
                self._settings.answer_seconds,
                f"node {node_id.hex()}",
            )
        except NotFound:
            return None
        assert isinstance(node, NodeView)
        return node

    async def flush(self, partition: int) -> tuple[int, int]:
        """Request a commit of a partition's owner; (partition, changelog offset that contains it)."""
        seconds = self._settings.freshen_seconds
        try:
            (position,) = await self._connected().query(
                lambda reply_to, deadline: queries.Flush(reply_to=reply_to, deadline=deadline, partition=partition),
                seconds,
                f"flush of partition {partition}",
            )
        except errors.Refusal as refusal:
            raise Unavailable(str(refusal)) from refusal
        return position.partition, position.offset

    async def missing_partitions(self, seconds: float) -> list[int]:
        """Partitions whose owner does not answer."""

        async def answers_in_time(partition: int) -> bool:
            try:
                await self.query(
                    lambda reply_to, deadline: queries.GetSettings(
                        reply_to=reply_to, deadline=deadline, partition=partition
                    ),
                    f"partition {partition}",
                    seconds,
                )
            except errors.Refusal:
                return False
            return True

        reachable = await asyncio.gather(*(answers_in_time(partition) for partition in range(self.partitions)))
        return [partition for partition, is_reachable in enumerate(reachable) if not is_reachable]

    def _connected(self) -> RequestClient:
        if self.missing is not None or self._request_client is None:
            raise errors.unavailable(self.missing or "not connected", "Backbeat::Unavailable")
        return self._request_client


def _timeout_text(target: str, seconds: float) -> str:
    return (
        f"{target}: no answer within {seconds:g} s. The command may still be applied; "
        "a repeat with the same Idempotency-Key is safe"
    )
