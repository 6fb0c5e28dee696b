"""One endpoint of a client: its queue, and at most so many requests to it at a time.

An endpoint that cannot be connected to is asked by one request at a time, after pauses that grow, until it answers;
what waits for it fails when its time is over. A request that breaks after the connection was made is tried again by
itself: others to the same endpoint may well succeed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import aiohttp
from yarl import URL

from backbeat.gateway.webhook import Webhook, reason_of

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1
_PAUSE_SECONDS_MAX = 1.0
#: A notification that is refused is posted so many times in all, after pauses of 1, 2, 4 … seconds.
NOTIFICATION_TRIES_MAX = 5
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_STATUS_OK = range(200, 300)


class Post(Protocol):
    """What an endpoint needs of the deliverer."""

    #: Seconds from a webhook's first try on in which one without a connection or an answer is tried again.
    wait_seconds: float

    def offer(self, webhook: Webhook) -> None:
        """Look at a webhook again: where it goes may have changed."""

    def settle(self, webhook: Webhook) -> None:
        """Take back a webhook of which nothing more is to be posted."""

    def place(self, webhook: Webhook) -> str | None:
        """The URL that a webhook goes to now; None: it was settled instead."""

    async def post(self, url: URL, webhook: Webhook) -> int:
        """Post it; the status of the answer. Raises aiohttp.ClientError, TimeoutError or OSError without one."""

    def word(self, webhook: Webhook) -> str:
        """What it is called when it is refused."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it in a task that is awaited when all ends."""


class Endpoint:
    """A URL and what is to be posted to it. Used from one event loop."""

    def __init__(self, url: str, post: Post, concurrency: int, on_idle: Callable[[Endpoint], None]) -> None:
        self.url = url
        self._target = URL(url)
        self._post = post
        self._concurrency = concurrency
        self._on_idle = on_idle
        self._queue: deque[Webhook] = deque()
        self._working = 0
        #: Why it cannot be reached; None: as far as is known, it can.
        self.down: str | None = None

    @property
    def waiting(self) -> int:
        """Webhooks that have not begun, or wait for it to come back."""
        return len(self._queue)

    def offer(self, webhook: Webhook) -> None:
        """Post it when it is its turn."""
        self._queue.append(webhook)
        if self.down is not None:
            # It would be tried in vain: its time begins.
            webhook.first_tried_at = webhook.first_tried_at or time.monotonic()
        elif self._working < self._concurrency:
            self._start(self._work())

    def clear(self) -> None:
        """Forget what has not begun."""
        self._queue.clear()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._working += 1
        self._post.spawn(work)

    def _done(self) -> None:
        self._working -= 1
        if not self._working and not self._queue:
            self._on_idle(self)

    async def _work(self) -> None:
        try:
            while self._queue and self.down is None:
                await self._try(self._queue.popleft())
        finally:
            self._done()

    async def _probe(self) -> None:
        """Look for an endpoint that cannot be reached, until it can or nothing waits for it any more."""
        pause = _PAUSE_SECONDS
        pause_max = min(_PAUSE_SECONDS_MAX, max(_PAUSE_SECONDS, self._post.wait_seconds / 4))
        try:
            while True:
                await asyncio.sleep(pause)
                pause = min(2 * pause, pause_max)
                self._expire()
                if not self._queue or await self._try(self._queue.popleft()):
                    break
        finally:
            self.down = None
            # One more than may work: this one ends now.
            for _ in range(min(len(self._queue), self._concurrency + 1 - self._working)):
                self._start(self._work())
            self._done()

    def _expire(self) -> None:
        now = time.monotonic()
        expired = [webhook for webhook in self._queue if self._is_over(webhook, now)]
        if expired:
            self._queue = deque(webhook for webhook in self._queue if not self._is_over(webhook, now))
        for webhook in expired:
            self._give_up(webhook, self.down or "")

    def _is_over(self, webhook: Webhook, now: float) -> bool:
        return webhook.first_tried_at is not None and now - webhook.first_tried_at >= self._post.wait_seconds

    async def _try(self, webhook: Webhook) -> bool:
        """Post a webhook once; whether the endpoint was reached."""
        # Before it is looked whose it is: whoever takes its partition away waits for it, or is seen here.
        webhook.under_way = True
        place = self._post.place(webhook)
        if place != self.url:
            webhook.under_way = False
            if place is not None:
                self._post.offer(webhook)
            return False
        webhook.first_tried_at = webhook.first_tried_at or time.monotonic()
        try:
            status = await self._post.post(self._target, webhook)
        except _UNREACHABLE as error:
            self._unreachable(webhook, reason_of(error))
            return False
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            # A ValueError: what passed as a URL and is none, such as a host's name with an empty label.
            self._broken(webhook, reason_of(error))
        else:
            self._answered(webhook, status)
        finally:
            webhook.under_way = False
        return True

    def _answered(self, webhook: Webhook, status: int) -> None:
        webhook.tries += 1
        if status in _STATUS_OK:
            webhook.answered = True
            webhook.outcome = "delivered"
            self._post.settle(webhook)
            return
        logger.warning("%s: %s answers %d", webhook, self.url, status, extra=webhook.about)
        webhook.outcome = "refused"
        if not webhook.is_notification:
            webhook.failure = f"HTTP request for {self._post.word(webhook)} failed"
            self._post.settle(webhook)
        elif webhook.tries < NOTIFICATION_TRIES_MAX:
            self._again(webhook, 2.0 ** (webhook.tries - 1))
        else:
            self._lose(webhook, f"{self.url} answered {status} {webhook.tries} times")

    def _broken(self, webhook: Webhook, reason: str) -> None:
        webhook.tries += 1
        now = time.monotonic()
        if self._is_over(webhook, now):
            self._give_up(webhook, reason)
            return
        logger.info("%s: %s: %s; it is tried again", webhook, self.url, reason)
        assert webhook.first_tried_at is not None
        left = webhook.first_tried_at + self._post.wait_seconds - now
        self._again(webhook, min(_PAUSE_SECONDS * 2.0 ** (webhook.tries - 1), 2 * _PAUSE_SECONDS_MAX, left))

    def _unreachable(self, webhook: Webhook, reason: str) -> None:
        self._queue.appendleft(webhook)
        if self.down is None:
            logger.warning("%s cannot be reached: %s; %d webhooks wait", self.url, reason, len(self._queue))
            now = time.monotonic()
            for waiting in self._queue:
                waiting.first_tried_at = waiting.first_tried_at or now
            self._start(self._probe())
        self.down = reason

    def _again(self, webhook: Webhook, seconds: float) -> None:
        asyncio.get_running_loop().call_later(max(seconds, 0.0), self._post.offer, webhook)

    def _give_up(self, webhook: Webhook, reason: str) -> None:
        text = f"Could not POST {self.url}, error: {reason}"
        webhook.outcome = "unreachable"
        if webhook.is_notification:
            self._lose(webhook, text)
        else:
            logger.warning("%s: %s", webhook, text, extra=webhook.about)
            webhook.failure = text
            self._post.settle(webhook)

    def _lose(self, webhook: Webhook, text: str) -> None:
        logger.error("%s is given up: %s", webhook, text, extra=webhook.about)
        webhook.answered = True
        self._post.settle(webhook)
