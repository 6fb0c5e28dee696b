"""An endpoint of a client: its queue, and requests of bounded concurrency.

An endpoint that cannot be connected to is probed by one request at a time, with growing backoff, until it answers;
webhooks in its queue fail at their deadline.

Once a connection was made the client may have the activity, and runs it even if its answer is lost. It is posted again
only while its node is `received`, and never after a timeout: it may lie in a queue of the client. Such an activity
fails when the client has not answered through the API within the same time.
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
from backbeat.gateway.webhooks.webhook import ClientProgress, Webhook, reason_of, shown_url

logger = logging.getLogger(__name__)

_BACKOFF_SECONDS = 0.1
_BACKOFF_SECONDS_MAX = 1.0
#: Interval of the question whether a client without an answer to the request has answered through the API.
_LOOK_SECONDS = 2.0
#: Pause after an engine did not answer how a node is.
_ASK_AGAIN_SECONDS = 1.0
#: Attempts to post a notification that is refused, with backoff of 1, 2, 4 … seconds.
NOTIFICATION_TRIES_MAX = 5
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_STATUS_OK = range(200, 300)


class DelivererPort(Protocol):
    """Port of the deliverer for an endpoint."""

    #: Seconds that a webhook without a connection, or an activity without an answer, waits before it fails.
    wait_seconds: float

    @property
    def is_stopping(self) -> bool:
        """True: begin nothing more."""

    def offer(self, webhook: Webhook) -> None:
        """Queue a webhook again: its URL may have changed."""

    def settle(self, webhook: Webhook) -> None:
        """Take back a webhook that is not posted any more."""

    def url_of(self, webhook: Webhook) -> str | None:
        """Current URL of a webhook; None: it was settled instead."""

    async def post(self, url: URL, webhook: Webhook) -> int:
        """Post a webhook; the status of the answer. Without one: aiohttp.ClientError, TimeoutError, OSError.

        Before the request: Unavailable or CodecError, where its payload cannot be had now, or ever.
        """

    async def progress(self, webhook: Webhook) -> ClientProgress:
        """The client's progress with the activity, from the engine. BackbeatError: the engine does not answer."""

    def body_key(self, webhook: Webhook) -> str:
        """Name of the webhook in errors."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work in a task that is awaited on shutdown."""


class Endpoint:
    """A URL and its queue of webhooks. Used from one event loop."""

    def __init__(
        self, url: str, deliverer: DelivererPort, concurrency: int, on_idle: Callable[[Endpoint], None]
    ) -> None:
        self.url = url
        #: for logs and errors
        self.shown = shown_url(url)
        self._target = URL(url)
        self._deliverer = deliverer
        self._concurrency = concurrency
        self._on_idle = on_idle
        self._queue: deque[Webhook] = deque()
        self._working = 0
        #: Reason why it cannot be reached; None: not known to be unreachable.
        self.down: str | None = None

    @property
    def waiting(self) -> int:
        """Webhooks that have not begun, or wait for the endpoint to come back."""
        return len(self._queue)

    def offer(self, webhook: Webhook) -> None:
        """Queue a webhook."""
        self._queue.append(webhook)
        if self.down is not None:
            # A post would be in vain: the webhook's deadline starts now.
            webhook.first_tried_at = webhook.first_tried_at or time.monotonic()
        elif self._working < self._concurrency:
            self._start(self._work())

    def close(self) -> None:
        """Drop webhooks that have not begun."""
        self._queue.clear()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._working += 1
        self._deliverer.spawn(work)

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
        """Probe an unreachable endpoint until it answers or its queue is empty."""
        backoff_seconds = _BACKOFF_SECONDS
        backoff_seconds_max = min(_BACKOFF_SECONDS_MAX, max(_BACKOFF_SECONDS, self._deliverer.wait_seconds / 4))
        try:
            while True:
                await asyncio.sleep(backoff_seconds)
                backoff_seconds = min(2 * backoff_seconds, backoff_seconds_max)
                self._expire()
                if not self._queue or await self._try(self._queue.popleft()):
                    break
        finally:
            self.down = None
            # A request more than the concurrency: this one ends now.
            for _ in range(min(len(self._queue), self._concurrency + 1 - self._working)):
                self._start(self._work())
            self._done()

    def _expire(self) -> None:
        expired = [webhook for webhook in self._queue if self._is_over(webhook)]
        if expired:
            expired_ids = set(map(id, expired))
            self._queue = deque(webhook for webhook in self._queue if id(webhook) not in expired_ids)
        for webhook in expired:
            reason = self.down or ""
            if webhook.ask_first:
                self._deliverer.spawn(self._wait_for_client(webhook, reason, posts_again=False, seconds=0.0))
            else:
                self._give_up(webhook, reason)

    def _is_over(self, webhook: Webhook) -> bool:
        began_at = webhook.first_tried_at
        return began_at is not None and time.monotonic() - began_at >= self._deliverer.wait_seconds

    async def _try(self, webhook: Webhook) -> bool:
        """Post a webhook once; True if the endpoint was reached."""
        # Set before the owner is checked: a revocation either waits for it, or is seen here.
        webhook.in_flight = True
        url = self._deliverer.url_of(webhook)
        if url != self.url:
            webhook.in_flight = False
            if url is not None:
                self._deliverer.offer(webhook)
            return False
        try:
            if webhook.ask_first and not await self._should_post(webhook):
                return False
            webhook.first_tried_at = webhook.first_tried_at or time.monotonic()
            status = await self._deliverer.post(self._target, webhook)
        except asyncio.CancelledError:
            # Nobody waits for it any more: the next gateway asks the engine.
            webhook.in_flight = False
            raise
        except _UNREACHABLE as error:
            webhook.in_flight = False
            self._unreachable(webhook, reason_of(error))
            return False
        except Unavailable as error:
            logger.info("%s is not posted yet: %s", webhook, error)
            self._retry_later(webhook, _ASK_AGAIN_SECONDS)
            return False
        except CodecError as error:
            webhook.failure = f"Its arguments are lost: {error}"
            webhook.outcome = "undeliverable"
            self._settle(webhook)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # A ValueError: a URL that passed the check and is invalid, such as a host's name with an empty label.
            self._broken(webhook, reason_of(error), in_time=not isinstance(error, TimeoutError))
        except Exception as error:
            # A defect, perhaps with this one alone: it holds up no other, here or at the next gateway.
            logger.exception("%s cannot be posted", webhook, extra=webhook.log_fields)
            self._give_up(webhook, reason_of(error))
        else:
            self._answered(webhook, status)
        return True

    async def _should_post(self, webhook: Webhook) -> bool:
        """True if the client has not begun with a webhook that may have been posted; otherwise it is dealt with."""
        progress = await self._progress(webhook)
        if progress is ClientProgress.RECEIVED:
            webhook.ask_first = False
            return True
        if progress is None:
            self._retry_later(webhook, _ASK_AGAIN_SECONDS)
        elif progress is ClientProgress.PROCESSING and webhook.tries:
            self._deliverer.spawn(self._wait_for_client(webhook, "", posts_again=False))
        else:
            self._deliver(webhook)
        return False

    async def _progress(self, webhook: Webhook) -> ClientProgress | None:
        """The client's progress with the activity; None: not known now."""
        try:
            return await self._deliverer.progress(webhook)
        except BackbeatError as error:
            logger.info("%s: how far its client is, is not known yet: %s", webhook, error)
            return None

    def _deliver(self, webhook: Webhook) -> None:
        webhook.answered = True
        webhook.outcome = "delivered"
        self._settle(webhook)

    def _settle(self, webhook: Webhook) -> None:
        webhook.in_flight = False
        self._deliverer.settle(webhook)

    def _answered(self, webhook: Webhook, status: int) -> None:
        webhook.tries += 1
        if status in _STATUS_OK:
            self._deliver(webhook)
            return
        logger.warning("%s: %s answers %d", webhook, self.shown, status, extra=webhook.log_fields)
        webhook.outcome = "refused"
        if not webhook.is_notification:
            webhook.failure = f"HTTP request for {self._deliverer.body_key(webhook)} failed"
            self._settle(webhook)
        elif webhook.tries < NOTIFICATION_TRIES_MAX:
            self._retry_later(webhook, 2.0 ** (webhook.tries - 1))
        else:
            self._give_up_notification(webhook, f"{self.shown} answered {status} {webhook.tries} times")

    def _broken(self, webhook: Webhook, reason: str, *, in_time: bool) -> None:
        """Handle a connection without an answer: the client may have the webhook."""
        webhook.tries += 1
        if not webhook.is_notification:
            self._deliverer.spawn(self._wait_for_client(webhook, reason, posts_again=in_time))
        elif in_time and not self._is_over(webhook):
            self._retry_later(webhook, self._backoff_seconds(webhook))
        else:
            self._give_up(webhook, reason)

    def _backoff_seconds(self, webhook: Webhook) -> float:
        assert webhook.first_tried_at is not None
        remaining_seconds = webhook.first_tried_at + self._deliverer.wait_seconds - time.monotonic()
        return max(0.0, min(_BACKOFF_SECONDS * 2.0 ** (webhook.tries - 1), 2 * _BACKOFF_SECONDS_MAX, remaining_seconds))

    async def _wait_for_client(
        self, webhook: Webhook, reason: str, *, posts_again: bool, seconds: float | None = None
    ) -> None:
        """Wait for the client's answer through the API to an activity that it may have, and give up at the deadline."""
        ends_at = time.monotonic() + (self._deliverer.wait_seconds if seconds is None else seconds)
        pause_seconds = self._backoff_seconds(webhook) if posts_again else 0.0
        while True:
            await asyncio.sleep(pause_seconds)
            progress = await self._progress(webhook)
            if progress is ClientProgress.OVER or (progress is ClientProgress.PROCESSING and not webhook.tries):
                # The client answered, or has begun with what another gateway posted.
                self._deliver(webhook)
                return
            if posts_again and progress is ClientProgress.RECEIVED and not self._is_over(webhook):
                logger.info("%s: %s: %s; it is posted again", webhook, self.shown, reason)
                webhook.ask_first = True
                self._retry_later(webhook, 0.0)
                return
            remaining_seconds = ends_at - time.monotonic()
            if remaining_seconds <= 0 and progress is not None:
                self._give_up(webhook, reason)
                return
            if remaining_seconds <= 0 and self._deliverer.is_stopping:
                # The engine does not answer. It is not committed: the next gateway asks.
                return
            pause_seconds = _ASK_AGAIN_SECONDS if progress is None else min(_LOOK_SECONDS, remaining_seconds)

    def _unreachable(self, webhook: Webhook, reason: str) -> None:
        if self._deliverer.is_stopping:
            # The webhook was not posted: the next gateway does it.
            return
        self._queue.appendleft(webhook)
        if self.down is None:
            logger.warning("%s cannot be reached: %s; %d webhooks wait", self.shown, reason, len(self._queue))
            now = time.monotonic()
            for waiting in self._queue:
                waiting.first_tried_at = waiting.first_tried_at or now
            self._start(self._probe())
        self.down = reason

    def _retry_later(self, webhook: Webhook, seconds: float) -> None:
        webhook.in_flight = False
        asyncio.get_running_loop().call_later(max(seconds, 0.0), self._deliverer.offer, webhook)

    def _give_up(self, webhook: Webhook, reason: str) -> None:
        text = f"Could not POST {self.shown}, error: {reason}"
        webhook.outcome = "unreachable"
        if webhook.is_notification:
            self._give_up_notification(webhook, text)
        else:
            logger.warning("%s: %s", webhook, text, extra=webhook.log_fields)
            webhook.failure = text
            self._settle(webhook)

    def _give_up_notification(self, webhook: Webhook, text: str) -> None:
        logger.error("%s is given up: %s", webhook, text, extra=webhook.log_fields)
        webhook.answered = True
        self._settle(webhook)
