"""Queue sizes, logged every five minutes (behaviour document, 7): the state before a failure."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.gateway.projection import Counts, Projection, ProjectionError
from backbeat.schemas.kafka.security import connection
from backbeat.streams.kafka.queues import Queues, read_queues

logger = logging.getLogger(__name__)

#: Number of queues named, the longest first; an installation may have hundreds of clients.
_NAMED_MAX = 20


class QueueLog:
    """Periodic log of queue sizes, from `start()` to `stop()`.

    Of gateways that share a database, only the one that follows the changelog logs.
    """

    def __init__(
        self, bootstrap_servers: str, application_id: str, projection: Projection, interval_seconds: float
    ) -> None:
        """`interval_seconds`: 0 for never."""
        self._bootstrap_servers = bootstrap_servers
        self._application_id = application_id
        self._projection = projection
        self._interval_seconds = interval_seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start; the first line comes after one interval."""
        if self._interval_seconds:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop the task."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        admin = AdminClient({**connection(self._bootstrap_servers), "log_level": 0})
        while True:
            await asyncio.sleep(self._interval_seconds)
            if not self._projection.follows:
                continue
            try:
                queues = await asyncio.to_thread(read_queues, admin, self._bootstrap_servers, self._application_id)
                counts = await self._projection.counts()
            except (KafkaException, ProjectionError, TimeoutError) as error:
                logger.warning("queue sizes are not known at the moment: %s", error)
            else:
                logger.info("queue sizes: %s", sizes(queues, counts))


def sizes(queues: Queues, counts: Counts) -> str:
    """Line of the log: waiting commands and signals, nodes by state, and the longest activity queues."""
    parts = [
        f"commands {queues.commands.waiting}",
        f"signals {sum(queue.waiting for queue in queues.signals)}",
        f"nodes with clients {counts.enqueued}",
        f"scheduled {counts.scheduled}",
        f"retrying {counts.retrying}",
    ]
    waiting = sorted((queue for queue in queues.activities if queue.waiting), key=lambda queue: -queue.waiting)
    parts += [f"{queue.topic} for {queue.group or 'nobody'} {queue.waiting}" for queue in waiting[:_NAMED_MAX]]
    if len(waiting) > _NAMED_MAX:
        parts.append(f"{len(waiting) - _NAMED_MAX} topics more")
    return ", ".join(parts)
