"""Background work of an engine on its event loop, whose failure ends the process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from backbeat.streams.ports.errors import NewerRecordError, RestoreError
from backbeat.streams.process.termination import EXIT_INCONSISTENT_STATE, End

logger = logging.getLogger(__name__)


class Background:
    """Tasks of the event loop."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Awaitable[None]) -> None:
        """Run work in the background; its failure ends the process."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (RestoreError, NewerRecordError) as error:
            self._end(str(error), EXIT_INCONSISTENT_STATE)
        except Exception as error:
            logger.exception("a background task failed")
            self._end(f"{type(error).__name__}: {error}")
