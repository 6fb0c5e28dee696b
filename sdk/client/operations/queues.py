"""Queues: what waits in the topics, and who takes it. `await client.queues()`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from backbeat.client.session import Session
from backbeat.payload.values import to_datetime
from backbeat.schemas.requests.decoding import prepare


class CommandQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A partition of the commands."""

    partition: int
    engine: str | None  #: instance that has it; None: none has
    waiting: int  #: commands behind the newest commit
    end: int  #: offset after its last record


class TopicQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A topic for one consumer group."""

    topic: str
    client: str  #: client application whose topic it is
    group: str  #: consumer group; empty: none has ever read it
    state: str  #: of the group: `STABLE` with members, `EMPTY` without
    waiting: int  #: records that the group has not taken yet

    @property
    def has_readers(self) -> bool:
        """True where somebody takes its records; False: nobody does now."""
        return bool(self.group) and self.state not in ("EMPTY", "DEAD")


class Queues(msgspec.Struct, frozen=True, kw_only=True):
    """Queues of all topics: records that nobody has taken yet."""

    at: datetime
    commands: list[CommandQueue]
    signals: list[TopicQueue]  #: by topic
    activities: list[TopicQueue]  #: by topic and group


# Clients may be in several threads.
prepare(Queues)


async def get_queues(session: Session) -> Queues:
    """The queues of all client applications. Unavailable: the client knows no gateway."""
    answer: dict[str, Any] = await session.search("queues", {})
    return msgspec.convert({**answer, "at": to_datetime(answer["at"])}, Queues)
