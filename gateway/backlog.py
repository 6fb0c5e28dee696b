"""Backlog of topics and the engines that have them, read from the brokers at most every few seconds a gateway."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.errors import Unavailable
from backbeat.schemas.kafka.security import connection
from backbeat.streams.kafka.members import Member, read_members
from backbeat.streams.kafka.queues import Queues, read_queues

#: Age from which it is read anew: a reading asks for every topic and group.
_AGE_SECONDS_MAX = 5.0


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Backlog of the topics, and who takes it, as of a moment."""

    #: Milliseconds since the epoch.
    at: int
    queues: Queues
    engines: list[Member]


class BacklogReader:
    """Reader that all callers of a gateway share. Used from one event loop."""

    def __init__(self, bootstrap_servers: str, application_id: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._application_id = application_id
        self._admin: AdminClient | None = None
        self._backlog: Backlog | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def read(self) -> Backlog:
        """The backlog, some seconds old at most. Unavailable: the brokers do not answer."""
        async with self._lock:
            if self._backlog is None or time.monotonic() - self._read_at > _AGE_SECONDS_MAX:
                try:
                    self._backlog = await asyncio.to_thread(self._read)
                except (KafkaException, TimeoutError) as error:
                    reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
                    raise Unavailable(f"Kafka does not say what waits in topics: {reason}") from error
                self._read_at = time.monotonic()
            return self._backlog

    def _read(self) -> Backlog:
        if self._admin is None:
            self._admin = AdminClient({**connection(self._bootstrap_servers), "log_level": 0})
        at = time.time_ns() // 1_000_000
        queues = read_queues(self._admin, self._bootstrap_servers, self._application_id)
        return Backlog(at=at, queues=queues, engines=read_members(self._bootstrap_servers, self._application_id))
