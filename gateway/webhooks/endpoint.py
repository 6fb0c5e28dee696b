"""One endpoint of a client: its queue, and at most so many requests to it at a time.

An endpoint that cannot be connected to is asked by one request at a time, after pauses that grow, until it answers;
what waits for it fails when its time is over.

Once a connection was made the client may have the activity, and runs it whether we hear of it or not. After that it is
posted again only while its node is `received`, and never where the answer took too long: it may lie in a queue there.
Such an activity fails when the client has not answered through the API within the same time.
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

from backbeat.errors import BackbeatError, CodecError, Unavailable
from backbeat.gateway.webhooks.webhook import Standing, Webhook, reason_of

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1
_PAUSE_SECONDS_MAX = 1.0
#: How often it is looked whether a client has answered that gave no answer to the request.
_LOOK_SECONDS = 2.0
#: After which an engine that did not say how a node stands is asked again.
_ASK_AGAIN_SECONDS = 1.0
#: A notification that is refused is posted so many times in all, after pauses of 1, 2, 4 … seconds.
NOTIFICATION_TRIES_MAX = 5
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_STATUS_OK = range(200, 300)


class Post(Protocol):
    """What an endpoint needs of the deliverer."""

    #: Seconds that a webhook without a connection, or an activity without an answer, waits before it fails.
    wait_seconds: float

    def offer(self, webhook: Webhook) -> None:
        """Look at a webhook again: where it goes may have changed."""

    def settle(self, webhook: Webhook) -> None:
        """Take back a webhook of which nothing more is to be posted."""

    def place(self, webhook: Webhook) -> str | None:
        """The URL that a webhook goes to now; None: it was settled instead."""

    async def post(self, url: URL, webhook: Webhook) -> int:
        """Post it; the status of the answer. Raises aiohttp.ClientError, TimeoutError or OSError without one.

        Before there was a request: Unavailable, CodecError where its payload cannot be had now, or ever.
        """

    async def standing(self, webhook: Webhook) -> Standing:
        """How far the client is with it, as the engine knows it now. BackbeatError: the engine does not say."""

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
        self._closing = False

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

    def close(self) -> None:
        """Forget what has not begun, and begin nothing more."""
        self._closing = True
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
        expired = [webhook for webhook in self._queue if self._is_over(webhook)]
        if expired:
            several = set(map(id, expired))
            self._queue = deque(webhook for webhook in self._queue if id(webhook) not in several)
        for webhook in expired:
            reason = self.down or ""
            if webhook.ask_first:
                self._post.spawn(self._wait_for_client(webhook, reason, posts_again=False, seconds=0.0))
            else:
                self._give_up(webhook, reason)

    def _is_over(self, webhook: Webhook) -> bool:
        began_at = webhook.first_tried_at
        return began_at is not None and time.monotonic() - began_at >= self._post.wait_seconds

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
        try:
            if webhook.ask_first and not await self._is_to_be_posted(webhook):
                return False
            webhook.first_tried_at = webhook.first_tried_at or time.monotonic()
            status = await self._post.post(self._target, webhook)
        except asyncio.CancelledError:
            # Nobody waits for it any more: the next gateway asks.
            webhook.under_way = False
            raise
        except _UNREACHABLE as error:
            webhook.under_way = False
            self._unreachable(webhook, reason_of(error))
            return False
        except Unavailable as error:
            logger.info("%s is not posted yet: %s", webhook, error)
            self._again(webhook, _ASK_AGAIN_SECONDS)
            return False
        except CodecError as error:
            webhook.failure = f"Its arguments are lost: {error}"
            webhook.outcome = "undeliverable"
            self._settle(webhook)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A ValueError: what passed as a URL and is none, such as a host's name with an empty label.
            self._broken(webhook, reason_of(error), in_time=not isinstance(error, TimeoutError))
        else:
            self._answered(webhook, status)
        return True

    async def _is_to_be_posted(self, webhook: Webhook) -> bool:
        """Whether the client has not begun with what may have been posted already; if it has, that is dealt with."""
        standing = await self._standing(webhook)
        if standing is Standing.RECEIVED:
            webhook.ask_first = False
            return True
        if standing is None:
            self._again(webhook, _ASK_AGAIN_SECONDS)
        elif standing is Standing.PROCESSING and webhook.tries:
            self._post.spawn(self._wait_for_client(webhook, "", posts_again=False))
        else:
            self._deliver(webhook)
        return False

    async def _standing(self, webhook: Webhook) -> Standing | None:
        """How far its client is; null: that is not known now."""
        try:
            return await self._post.standing(webhook)
        except BackbeatError as error:
            logger.info("%s: how far its client is, is not known yet: %s", webhook, error)
            return None

    def _deliver(self, webhook: Webhook) -> None:
        webhook.answered = True
        webhook.outcome = "delivered"
        self._settle(webhook)

    def _settle(self, webhook: Webhook) -> None:
        webhook.under_way = False
        self._post.settle(webhook)

    def _answered(self, webhook: Webhook, status: int) -> None:
        webhook.tries += 1
        if status in _STATUS_OK:
            self._deliver(webhook)
            return
        logger.warning("%s: %s answers %d", webhook, self.url, status, extra=webhook.about)
        webhook.outcome = "refused"
        if not webhook.is_notification:
            webhook.failure = f"HTTP request for {self._post.word(webhook)} failed"
            self._settle(webhook)
        elif webhook.tries < NOTIFICATION_TRIES_MAX:
            self._again(webhook, 2.0 ** (webhook.tries - 1))
        else:
            self._lose(webhook, f"{self.url} answered {status} {webhook.tries} times")

    def _broken(self, webhook: Webhook, reason: str, *, in_time: bool) -> None:
        """There was a connection and no answer: the client may have it."""
        webhook.tries += 1
        if not webhook.is_notification:
            self._post.spawn(self._wait_for_client(webhook, reason, posts_again=in_time))
        elif in_time and not self._is_over(webhook):
            self._again(webhook, self._pause_seconds(webhook))
        else:
            self._give_up(webhook, reason)

    def _pause_seconds(self, webhook: Webhook) -> float:
        assert webhook.first_tried_at is not None
        left = webhook.first_tried_at + self._post.wait_seconds - time.monotonic()
        return max(0.0, min(_PAUSE_SECONDS * 2.0 ** (webhook.tries - 1), 2 * _PAUSE_SECONDS_MAX, left))

    async def _wait_for_client(
        self, webhook: Webhook, reason: str, *, posts_again: bool, seconds: float | None = None
    ) -> None:
        """Wait for what a client says through the API that may have an activity, and give up when its time is over."""
        ends_at = time.monotonic() + (self._post.wait_seconds if seconds is None else seconds)
        pause = self._pause_seconds(webhook) if posts_again else 0.0
        while True:
            await asyncio.sleep(pause)
            standing = await self._standing(webhook)
            if standing is Standing.OVER or (standing is Standing.PROCESSING and not webhook.tries):
                # It answered, or has begun with what another gateway posted.
                self._deliver(webhook)
                return
            if posts_again and standing is Standing.RECEIVED and not self._is_over(webhook):
                logger.info("%s: %s: %s; it is posted again", webhook, self.url, reason)
                webhook.ask_first = True
                self._again(webhook, 0.0)
                return
            left = ends_at - time.monotonic()
            if left <= 0 and standing is not None:
                self._give_up(webhook, reason)
                return
            if left <= 0 and self._closing:
                # Nobody says. It is not committed: the next gateway asks.
                return
            pause = _ASK_AGAIN_SECONDS if standing is None else min(_LOOK_SECONDS, left)

    def _unreachable(self, webhook: Webhook, reason: str) -> None:
        if self._closing:
            # It was not posted: the next gateway does it.
            return
        self._queue.appendleft(webhook)
        if self.down is None:
            logger.warning("%s cannot be reached: %s; %d webhooks wait", self.url, reason, len(self._queue))
            now = time.monotonic()
            for waiting in self._queue:
                waiting.first_tried_at = waiting.first_tried_at or now
            self._start(self._probe())
        self.down = reason

    def _again(self, webhook: Webhook, seconds: float) -> None:
        webhook.under_way = False
        asyncio.get_running_loop().call_later(max(seconds, 0.0), self._post.offer, webhook)

    def _give_up(self, webhook: Webhook, reason: str) -> None:
        text = f"Could not POST {self.url}, error: {reason}"
        webhook.outcome = "unreachable"
        if webhook.is_notification:
            self._lose(webhook, text)
        else:
            logger.warning("%s: %s", webhook, text, extra=webhook.about)
            webhook.failure = text
            self._settle(webhook)

    def _lose(self, webhook: Webhook, text: str) -> None:
        logger.error("%s is given up: %s", webhook, text, extra=webhook.about)
        webhook.answered = True
        self._settle(webhook)
