"""What the gateway asks the engine: commands and queries with replies, and whether Kafka is there at all.

The gateway may start before Kafka, and Kafka may go away: until it is there every question is refused at once, so that
a caller is not kept waiting for what cannot come.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.errors import NotFound, Timeout, Unavailable
from backbeat.gateway.http import errors
from backbeat.gateway.settings import GatewaySettings
from backbeat.schemas.codec import encode_command
from backbeat.schemas.kafka.brokers import RefusedError, UnreachableError
from backbeat.schemas.kafka.client_registry import RegisteredClient, Registry, RegistryError
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import CLIENTS, RECORD_BYTES_MAX
from backbeat.schemas.messages import queries
from backbeat.schemas.messages.commands import AnyCommand, ReplyTo, route
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.process.termination import end
from backbeat.transport.requests import RequestClient

logger = logging.getLogger(__name__)

#: How often it is looked whether Kafka is there, and how long that look may take.
_LOOK_SECONDS = 1.0
_LOOK_TIMEOUT_SECONDS = 2.0
#: Looks in a row without an answer until questions are refused at once: one may meet a broker that restarts.
_MISSED_MAX = 2
_AGAIN_SECONDS = 1.0
#: How long it may take to learn which clients there are by now.
_CATCH_UP_SECONDS_MAX = 2.0
#: What Kafka puts around a record.
_RECORD_BYTES_MAX = RECORD_BYTES_MAX - 1024


class Engine:
    """The way to the engine. Used from one event loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._asker: RequestClient | None = None
        self._registry: Registry | None = None
        self._watch: asyncio.Task[None] | None = None
        self._catching_up = asyncio.Lock()
        self._next_catch_up: asyncio.Task[None] | None = None
        #: Why questions are refused; None: they are asked.
        self.missing: str | None = "The gateway has not reached Kafka yet"

    # --- connecting --------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Come up: tried again until Kafka, its topics and the registry are there. RefusedError, SecurityError."""
        said = ""
        while True:
            try:
                await self._connect()
            except RefusedError:
                # It is there, and will not change its mind: somebody must hear of it.
                raise
            except (Unavailable, RegistryError, UnreachableError, KafkaException) as error:
                self.missing = str(error)
                if self.missing != said:
                    said = self.missing
                    logger.warning("not connected yet: %s", said)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        self.missing = None
        self._watch = asyncio.create_task(self._look_after())

    async def _connect(self) -> None:
        if self._registry is None:
            registry = Registry(
                self._settings.bootstrap_servers,
                failed=lambda error: end(f"the registry of clients: {error}", part="gateway"),
            )
            self._registry = await asyncio.to_thread(registry.start)
        if self._asker is None:
            asker = RequestClient(self._settings.bootstrap_servers, self._settings.answer_seconds)
            await asker.start()
            self._asker = asker

    async def stop(self) -> None:
        """Leave; whoever waits for an answer is refused."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        if self._asker is not None:
            await self._asker.stop()
        if self._registry is not None:
            await asyncio.to_thread(self._registry.stop)

    async def _look_after(self) -> None:
        """Know within moments when Kafka is gone, and when it is back."""
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

    # --- asking ------------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        """The clients. 503 while they are not known yet."""
        if self._registry is None:
            raise errors.unavailable(self.missing or "not connected", "Backbeat::Unavailable")
        return self._registry

    def client(self, client_id: bytes) -> RegisteredClient | None:
        """The client of this id."""
        return self.registry.by_id(client_id)

    async def catch_up(self) -> None:
        """Know every client that is there by now, if Kafka answers within moments.

        One look serves all who asked before it began: whoever is unknown cannot have more than one made at a time.
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
        """How long an answer is awaited."""
        return self._settings.answer_seconds

    @property
    def partitions(self) -> int:
        """How many partitions commands have; 0: not known yet."""
        return 0 if self._asker is None else self._asker.partitions

    def every_partition(self) -> range:
        """The partitions, for what is asked of each. 503 while they are not known: no answer is not an empty one."""
        return range(self._connected().partitions)

    async def command(self, make: Callable[[ReplyTo], AnyCommand], routed: bytes, key: bytes, what: str) -> Any:
        """Send a command and await its one answer. 503 where none came in time: it may still be applied."""

        def encoded(reply_to: ReplyTo) -> bytes:
            text = encode_command(make(reply_to))
            if len(text) > _RECORD_BYTES_MAX:
                raise errors.too_large(
                    f"The request makes a record of {len(text)} bytes; {_RECORD_BYTES_MAX} is the most"
                )
            return text

        asker = self._connected()
        try:
            return await asker.command(encoded, routed, key, self._settings.answer_seconds, what)
        except Timeout as error:
            raise errors.unavailable(_late(what, self._settings.answer_seconds), "Backbeat::Timeout") from error
        except Unavailable as error:
            raise errors.unavailable(
                f"{error}. The command may still be applied; a repeat with the same Idempotency-Key is safe",
                "Backbeat::Unavailable",
            ) from error

    async def query(
        self, make: Callable[[ReplyTo, int], queries.AnyQuery], what: str, seconds: float | None = None
    ) -> list[Any]:
        """Ask a query and await all parts of its answer. 503 where none came in time."""
        try:
            return await self._connected().query(make, seconds or self._settings.answer_seconds, what)
        except Timeout as error:
            raise errors.unavailable(str(error), "Backbeat::Timeout") from error
        except Unavailable as error:
            raise errors.unavailable(str(error), "Backbeat::Unavailable") from error

    async def find_node(self, node_id: bytes) -> NodeView | None:
        """A node as it is now, whoever runs it; null: there is none (any more). Unavailable, Timeout."""
        if self.missing is not None or self._asker is None:
            raise Unavailable(self.missing or "not connected")
        try:
            (node,) = await self._asker.query(
                lambda reply_to, deadline: queries.GetNode(reply_to=reply_to, deadline=deadline, node_id=node_id),
                self._settings.answer_seconds,
                f"node {node_id.hex()}",
            )
        except NotFound:
            return None
        assert isinstance(node, NodeView)
        return node

    async def flush(self, partition: int) -> tuple[int, int]:
        """Ask a partition's owner to commit now: how far the changelog has to be read to contain it."""
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
        """The partitions whose owner does not answer."""

        async def ask(partition: int) -> bool:
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

        answers = await asyncio.gather(*(ask(partition) for partition in range(self.partitions)))
        return [partition for partition, there in enumerate(answers) if not there]

    def _connected(self) -> RequestClient:
        if self.missing is not None or self._asker is None:
            raise errors.unavailable(self.missing or "not connected", "Backbeat::Unavailable")
        return self._asker


def _late(what: str, seconds: float) -> str:
    return (
        f"{what}: no answer within {seconds:g} s. The command may still be applied; "
        "a repeat with the same Idempotency-Key is safe"
    )


def routed(command: AnyCommand) -> bytes:
    """The id whose first bits say a command's partition."""
    found = route(command)
    assert found is not None, "a command that is sent to every partition"
    return found
