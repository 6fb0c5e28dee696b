"""Parts that the console's pages use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from backbeat.gateway.console.archive_cache import ArchiveCache
from backbeat.gateway.console.figures import Counter, Freshness
from backbeat.gateway.console.health.standing import StandingReader
from backbeat.gateway.console.live.hub import Hub
from backbeat.gateway.console.page_error import PageError
from backbeat.gateway.console.pages.operations.drill_processes import Drills
from backbeat.gateway.console.people.entrance import Entrance
from backbeat.gateway.console.searches import Searches
from backbeat.gateway.console.shared import Shared
from backbeat.gateway.http.services import Services
from backbeat.gateway.settings import GatewaySettings

#: Readings and pages made at once: the API must not wait for them.
_TURNS_MAX = 4
_TURN_SECONDS_MAX = 2.0


class Parts:
    """Parts of one console."""

    def __init__(self, settings: GatewaySettings, services: Services, is_page: Callable[[str, str], bool]) -> None:
        self.settings = settings.console
        self.services = services
        #: True for the path of a page below `/ui/`, and the method by which it is asked for.
        self.is_page = is_page
        self.counter = Counter(services.engine, services.projection, StandingReader(services))
        self.freshness = Freshness(services.projection)
        #: Readings of the projection that pages share.
        self.shared = Shared()
        self.searches = Searches(services.projection)
        self.entrance = Entrance(settings, services)
        self.audit = services.audit
        self.hub = Hub(services, self.counter)
        self.archives = ArchiveCache()
        #: Drills that operators may begin; None: the gateway keeps none.
        self.drills = None if self.settings.drills is None else Drills(self.settings)
        self._turns = asyncio.Semaphore(_TURNS_MAX)

    async def start(self) -> None:
        """Begin to follow people and audit, once Kafka is there."""
        self.counter.start()
        self.audit.follower.start()
        await self.entrance.start()

    async def stop(self) -> None:
        """Stop counting, and the streams of live pages."""
        await self.counter.stop()
        await self.hub.stop()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of the few places for what costs time here: a reading of the projection, a page being made. 503."""
        try:
            async with asyncio.timeout(_TURN_SECONDS_MAX):
                await self._turns.acquire()
        except TimeoutError as error:
            text = "Too many pages are being made at once. Load it again in a moment."
            raise PageError(503, "The console is busy", text, {"Retry-After": "1"}) from error
        try:
            yield
        finally:
            self._turns.release()
