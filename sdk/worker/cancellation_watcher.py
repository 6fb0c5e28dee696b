"""Activities that run for long: their deadlines are renewed, and they are told when their attempt is over.

A handler that ends within a second costs nothing of this: what runs is looked at once a second, and only what is met
twice is followed. The engine answers a wait on the node at once when the node is canceled; what else ends an attempt
(its deadline, somebody else's answer) is seen when a wait ends.
"""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from backbeat.activities.context import Activity
from backbeat.delivery.kafka import logger
from backbeat.errors import Cancelled, Rejected, Timeout
from backbeat.schemas.messages.queries import WaitNode
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView
from backbeat.transport.base import NOBODY, Transport
from backbeat.worker.handlers import Handler

_LOOK_SECONDS = 1.0
#: Lateness of a look that is said: whoever blocks the event loop holds up all activities of its worker.
_BLOCKED_SECONDS = 1.0
_NAMES_CHARACTERS_MAX = 200
#: A wait is asked in slices, since a partition's new owner does not know of it; shorter than the time after which a
#: query without an answer is asked again.
_SLICE_SECONDS = 2.5
_GRACE_SECONDS = 2.0


class _Run:
    """A handler that runs, and the tasks beside it."""

    __slots__ = ("activity", "followed", "in_loop", "seen", "tasks")

    def __init__(self, activity: Activity, *, in_loop: bool) -> None:
        self.activity = activity
        self.in_loop = in_loop
        self.seen = False
        self.followed = False
        self.tasks: list[asyncio.Task[None]] = []


class CancellationWatcher:
    """Watches the running handlers of one worker, in its event loop. `connect` gives a connected transport."""

    def __init__(self, connect: Callable[[], Awaitable[Transport]]) -> None:
        self._connect = connect
        self._runs: dict[int, _Run] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: Names of the handlers in the event loop that have ended since it was looked.
        self._ended: set[str] = set()
        #: Time, on the monotonic clock, at which the event loop came round last; 0: not yet.
        self.came_round_at = 0.0

    def start(self) -> None:
        """Look at the handlers once a second from now on."""
        self.came_round_at = time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    async def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [task for run in self._runs.values() for task in run.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def began(self, activity: Activity, handler: Handler) -> None:
        """Note a handler that begins."""
        run = self._runs[id(activity)] = _Run(activity, in_loop=handler.is_async)
        if handler.heartbeat_seconds is not None:
            self._beside(run, self._beat(activity, handler.heartbeat_seconds))

    def ended(self, activity: Activity) -> None:
        """Forget a handler that has ended."""
        activity.is_over = True
        run = self._runs.pop(id(activity), None)
        if run is not None:
            if run.in_loop:
                self._ended.add(activity.name)
            for task in run.tasks:
                task.cancel()

    def _look(self) -> None:
        late = time.monotonic() - self.came_round_at - _LOOK_SECONDS
        if late > _BLOCKED_SECONDS:
            names = {run.activity.name for run in self._runs.values() if run.in_loop} | self._ended
            logger.warning(
                "the event loop was blocked for %.1f s, and nothing else went on: by one of %s. What to do: await what "
                "takes long, or make the handler a plain function, which runs in a thread",
                late,
                textwrap.shorten(", ".join(sorted(names)) or "no handler", _NAMES_CHARACTERS_MAX, placeholder=" …"),
            )
        self._ended.clear()
        for run in self._runs.values():
            if run.seen and not run.followed:
                run.followed = True
                self._beside(run, self._follow(run.activity))
            run.seen = True
        self.start()

    def _beside(self, run: _Run, work: Coroutine[Any, Any, None]) -> None:
        run.tasks.append(asyncio.get_running_loop().create_task(work))

    async def _follow(self, activity: Activity) -> None:
        """Tell the activity when its attempt is over."""
        view = activity.record.node
        while not activity.cancelled:
            try:
                transport = await self._connect()
                deadline = int((transport.now() + _SLICE_SECONDS) * 1000)
                query = WaitNode(
                    node_id=view.id, user_id=view.user_id, tid=view.tid, reply_to=NOBODY, deadline=deadline
                )
                newest, *_ = await transport.query(query, _SLICE_SECONDS + _GRACE_SECONDS, f"wait for {activity.id}")
            except Timeout:
                # Nobody answers: an engine starts, or the partition changes its owner.
                continue
            except Rejected as refused:
                logger.warning("%s %s is not followed: %s", activity.name, activity.id, refused)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the handler goes on and is to be told
                logger.warning("%s %s is not followed for now: %s", activity.name, activity.id, error)
                await asyncio.sleep(_SLICE_SECONDS)
                continue
            if not still_runs(newest, view.attempt):
                logger.info("%s %s: attempt %d is over", activity.name, activity.id, view.attempt)
                activity.tell_cancelled()

    async def _beat(self, activity: Activity, seconds: float) -> None:
        """Renew the activity's deadline, again and again."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await activity.heartbeat()
            except Cancelled:
                return
            except Exception as error:  # noqa: BLE001 - the next may come through
                logger.warning("no heartbeat of %s %s: %s", activity.name, activity.id, error)


def still_runs(view: NodeView, attempt: int) -> bool:
    """True: this attempt of the node is not over."""
    return (
        view.attempt == attempt
        and view.server is ServerStatus.SENT_TO_CLIENT
        and view.client in (ClientStatus.RECEIVED, ClientStatus.PROCESSING)
    )
