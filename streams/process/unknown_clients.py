"""Activities of clients that the registry does not know yet: sent once it is read to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.clients import Clients
from backbeat.streams.engine.loop import Engine
from backbeat.streams.state.local_stores import LocalStores

logger = logging.getLogger(__name__)

#: Time of one read of the registry to its end for an unknown client, which the ingest may have known sooner.
_READ_SECONDS_MAX = 3.0


def activities_topics(clients: Clients) -> Callable[[bytes], str | None]:
    """The activities topic of a client by its id; null: the client is not known yet. Does not block."""
    by_id = clients.by_id

    def topic(client_id: bytes) -> str | None:
        client = by_id(client_id)
        return None if client is None else client.topic

    return topic


class UnknownClients:
    """The search for clients whose activities wait in the engine. The loop never waits for the registry."""

    def __init__(self, engine: Engine, clients: Clients, stores: LocalStores, thread: Executor) -> None:
        self._engine = engine
        self._clients = clients
        self._stores = stores
        self._thread = thread
        self._lock = asyncio.Lock()

    @property
    def is_needed(self) -> bool:
        """True when activities wait and no search is under way."""
        return bool(self._engine.unknown) and not self._lock.locked()

    async def search(self) -> None:
        """Send the activities that wait, once the registry is read to its end."""
        async with self._lock:
            while waiting := len(self._engine.unknown):
                epoch, loop = self._stores.epoch, asyncio.get_running_loop()
                is_read = await loop.run_in_executor(self._thread, self._clients.catch_up, _READ_SECONDS_MAX)
                if epoch != self._stores.epoch and not self._stores.revoking:
                    return  # They were dropped with the assignment: the next owner sends them.
                if is_read:
                    self._engine.send_unknown(waiting)
                else:
                    OUTAGES.tell(logger, "activities of clients that nobody knows yet wait for the registry")
