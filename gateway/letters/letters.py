"""Dead letters for handlers in an event loop: read and settled in threads, few at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaException

from backbeat.errors import Unavailable
from backbeat.gateway.letters.resolve import Outcome, Resolver
from backbeat.gateway.letters.topic import DeadLetter, DeadLetterTopic, Filters, Position
from backbeat.schemas.kafka.brokers import UnreachableError
from backbeat.schemas.kafka.topics import TopicError

T = TypeVar("T")

#: Letters of one settling.
SETTLED_MAX = 200
#: Characters of a note: a mark that is too large would be found out when the letters have gone.
NOTE_CHARACTERS_MAX = 1_000
_TURNS_MAX = 2
#: How long it is looked back for letters that match.
_LOOK_SECONDS_MAX = 5.0


class Letters:
    """Dead letters of one Kafka."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._turns = asyncio.Semaphore(_TURNS_MAX)

    async def newest(
        self, count: int, filters: Filters, before: Position | None = None
    ) -> tuple[list[DeadLetter], Position | None]:
        """The newest matching letters without their contents, newest first; and the position to go on before.

        Unavailable.
        """
        letters, older_than = await self._read(
            lambda topic: topic.newest(count, filters.match, before, contents=False, seconds_max=_LOOK_SECONDS_MAX)
        )
        return sorted(letters, key=lambda letter: (letter.at, letter.position), reverse=True), older_than

    async def get(self, positions: list[Position]) -> list[DeadLetter]:
        """The letters at these positions, whole; a position where no letter stands is left out. Unavailable."""
        return await self._read(lambda topic: list(topic.get(positions)))

    async def redrive(self, letters: list[DeadLetter], note: str) -> list[Outcome]:
        """Send letters in again where they came from, in their order, and mark those that were taken. Unavailable."""
        return await self._run(lambda: list(self._resolver(note).redrive(letters)))

    async def drop(self, letters: list[DeadLetter], note: str) -> list[Outcome]:
        """Mark letters as nobody's concern any more. Unavailable."""
        return await self._run(lambda: list(self._resolver(note).drop(letters)))

    def _resolver(self, note: str) -> Resolver:
        return Resolver(self._bootstrap_servers, note)

    async def _read(self, reading: Callable[[DeadLetterTopic], T]) -> T:
        def read() -> T:
            with DeadLetterTopic(self._bootstrap_servers) as topic:
                return reading(topic)

        return await self._run(read)

    async def _run(self, work: Callable[[], T]) -> T:
        async with self._turns:
            try:
                return await asyncio.to_thread(work)
            except KafkaException as error:
                raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
            except (UnreachableError, TopicError) as error:
                raise Unavailable(str(error)) from error
