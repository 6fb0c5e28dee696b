"""Parts that the gateway's handlers use; their order at start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable

from backbeat.delivery.change_feed import ChangeFeed
from backbeat.errors import BackbeatError
from backbeat.gateway.archiving import Archiver, ArchiveStore, BackgroundArchiver, open_archive_store
from backbeat.gateway.backlog import BacklogReader
from backbeat.gateway.engine_client import Engine
from backbeat.gateway.engine_views import EngineViews
from backbeat.gateway.http.presentation import node_json
from backbeat.gateway.letters.letters import Letters
from backbeat.gateway.payloads import Payloads
from backbeat.gateway.people.audit import Audit
from backbeat.gateway.people.person import People
from backbeat.gateway.people.wrong_tries import WrongTries
from backbeat.gateway.projection import Projection
from backbeat.gateway.queue_log import QueueLog
from backbeat.gateway.settings import OUT_OF_ROTATION, GatewaySettings
from backbeat.gateway.webhooks.deliverer import Deliverer

logger = logging.getLogger(__name__)

#: Each may hold hundreds of megabytes until it is written.
_LARGE_ANSWERS_MAX = 3


class Services:
    """Engine client, payloads, projection, archiver and deliverer of one gateway."""

    def __init__(self, settings: GatewaySettings, fail: Callable[[BaseException], None]) -> None:
        self.settings = settings
        self.engine = Engine(settings)
        self.engine_views = EngineViews(self.engine)
        self.payloads = Payloads(settings.bootstrap_servers)
        self.projection = Projection(
            settings.bootstrap_servers,
            settings.projection_url,
            flush=self.engine.flush,
            partitions=lambda: self.engine.partitions,
            refuse=fail,
        )
        self.letters = Letters(settings.bootstrap_servers)
        #: People and what they do, followed once a console or a person's call needs them.
        self.people, self.audit = People(settings.bootstrap_servers), Audit(settings.bootstrap_servers)
        self.wrong_tries = WrongTries()
        self.backlog = BacklogReader(settings.bootstrap_servers, settings.application_id)
        self._queue_log = QueueLog(
            settings.bootstrap_servers, settings.application_id, self.projection, settings.queue_log_seconds
        )
        self._archiver: BackgroundArchiver | None = None
        #: Where this gateway writes archives; None: it writes none.
        self.archive_store: ArchiveStore | None = None
        if settings.archive_to is not None:
            archive_store = self.archive_store = open_archive_store(settings.archive_to)
            self._archiver = BackgroundArchiver(
                lambda: Archiver(settings.bootstrap_servers, archive_store), settings.archive_poll_seconds
            )
        #: Followers of workflows: pages, and callers of `GET /workflows/:id/changes`.
        self.changes = ChangeFeed(settings.bootstrap_servers)
        #: Callers that follow a workflow now, by client.
        self.followers: Counter[bytes] = Counter()
        #: Semaphore of large answers.
        self.large_answers = asyncio.Semaphore(_LARGE_ANSWERS_MAX)
        self._fail = fail
        #: None until the brokers are reached.
        self.deliverer: Deliverer | None = None
        self.stopping = False

    async def start(self) -> None:
        """Connect; returns when every part can be used."""
        await self.engine.connect()
        await self.projection.start()
        self.deliverer = Deliverer(
            self.settings.bootstrap_servers,
            self.engine.registry,
            node_body=node_json,
            find_node=self.engine.find_node,
            load_payload=self.payloads.load,
            connection_error_wait_seconds=self.settings.connection_error_wait_seconds,
            endpoint_timeout_seconds=self.settings.endpoint_timeout_seconds,
            networks=self.settings.endpoint_networks,
            fail=self._fail,
        )
        await self.deliverer.start()
        self._queue_log.start()
        if self._archiver is not None:
            self._archiver.start()

    async def drain(self) -> None:
        """Take no more work and wait for requests to endpoints; calls are answered meanwhile, for those endpoints."""
        self.stopping = True
        if self.deliverer is not None:
            await self.deliverer.drain()

    def give_up(self) -> None:
        """Abandon requests to endpoints."""
        if self.deliverer is not None:
            self.deliverer.give_up()

    async def stop(self) -> None:
        """Stop in reverse order."""
        for follower in (self.people.follower, self.audit.follower):
            await asyncio.to_thread(follower.stop)
        for part in (
            self.changes,
            self._archiver,
            self._queue_log,
            self.deliverer,
            self.payloads,
            self.projection,
            self.engine,
        ):
            if part is None:
                continue
            try:
                await part.stop()
            except (BackbeatError, OSError, asyncio.CancelledError):
                logger.exception("stopping %s", type(part).__name__)

    @property
    def in_rotation(self) -> bool:
        """True if load balancers should send callers here."""
        return not self.stopping and not (self.settings.data_dir / OUT_OF_ROTATION).exists()
