"""Standing of what carries the work: engines, topics and who takes them, the search; read for all pages together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backbeat.errors import Unavailable
from backbeat.gateway.http import errors

if TYPE_CHECKING:
    from backbeat.gateway.backlog import Backlog
    from backbeat.gateway.http.services import Services
    from backbeat.schemas.kafka.clients import RegisteredClient
    from backbeat.schemas.messages.views import EngineView

#: Age from which it is read anew: a reading asks Kafka for every topic and group.
_AGE_SECONDS_MAX = 10.0
#: What takes a second is read every ten: readings take one part in so many of the time.
_PAUSE = 10.0
#: Time that a count of figures waits for it; it then has the one before.
_WAIT_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Standing as of a moment."""

    #: Milliseconds since the epoch.
    at: int
    #: None: Kafka does not say.
    backlog: Backlog | None
    #: View of each partition that its engine gives; None: none has answered.
    views: list[EngineView | None]
    #: Records of the changelog that are not in the search yet; None: not known.
    search_records_behind: int | None
    #: Client applications by the topic of their activities.
    clients: Mapping[str, RegisteredClient]
    #: Why a part of it is missing; empty: none is.
    trouble: str = ""

    @property
    def positions(self) -> dict[int, int]:
        """Offset of the next command by partition: that which its engine tells, else that of the newest commit."""
        if self.backlog is None:
            return {}
        views = {view.partition: view for view in self.views if view is not None}
        positions = {}
        for queue in self.backlog.queues.commands.partitions:
            view = views.get(queue.partition)
            positions[queue.partition] = max(queue.first, queue.committed or 0, 0 if view is None else view.position)
        return positions

    @property
    def commands_waiting(self) -> dict[int, int]:
        """Commands that are not applied yet, by partition."""
        if self.backlog is None:
            return {}
        positions = self.positions
        return {
            queue.partition: max(0, queue.end - positions[queue.partition])
            for queue in self.backlog.queues.commands.partitions
        }


class StandingReader:
    """Reader of the standing, from one event loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._standing: Standing | None = None
        self._next_at = 0.0
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> Standing | None:
        """The standing, some seconds old at most unless reading it takes long; None: it is read for the first time."""
        if self._reading is None and time.monotonic() >= self._next_at:
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None:
            await asyncio.wait((self._reading,), timeout=_WAIT_SECONDS)
        return self._standing

    async def _read(self) -> None:
        began_at = time.monotonic()
        try:
            self._standing = await self._read_anew()
        except BaseException:
            # What is not known any more is not shown, and the loop's log has the error.
            self._standing = None
            raise
        finally:
            lasted = time.monotonic() - began_at
            self._next_at = began_at + max(_AGE_SECONDS_MAX, _PAUSE * lasted)
            self._reading = None

    async def _read_anew(self) -> Standing:
        at = time.time_ns() // 1_000_000
        backlog: Backlog | None = None
        views: list[EngineView | None] = []
        trouble = ""
        looking = asyncio.create_task(self._services.engine_views.read())
        try:
            backlog = await self._services.backlog.read()
        except Unavailable as error:
            trouble = str(error)
        try:
            views = await looking
            clients = {client.topic: client for client in self._services.engine.registry.all()}
        except errors.Refusal as error:
            # Kafka has just gone: the figures say so.
            trouble, clients = trouble or str(error), {}
        behind = None
        if backlog is not None:
            behind = self._services.projection.records_behind(backlog.queues.state_ends)
        return Standing(
            at=at,
            backlog=backlog,
            views=views,
            search_records_behind=behind,
            clients=clients,
            trouble=trouble,
        )
