"""Webhooks: activities, decisions and notifications are posted to the endpoints of clients that have some.

    activities.<client> ─▶ Intake (thread) ─▶ Endpoint (queue, requests) ─▶ the client
                              ▲                    │
                              └──── settled ───────┘──▶ offsets, or DeliveryFailed on the commands topic

Delivery is at least once. A repeat that is seen is not posted; what may have been posted by a gateway before us is
posted only while its node is `received`. docs/reference/webhooks.md says what a client may rely on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from backbeat.errors import BackbeatError
from backbeat.gateway.http.presentation import id_text
from backbeat.gateway.webhooks.consumer import Intake
from backbeat.gateway.webhooks.counters import WebhookFigures
from backbeat.gateway.webhooks.endpoint import Endpoint
from backbeat.gateway.webhooks.webhook import (
    NodeBody,
    Standing,
    UndeliverableError,
    Webhook,
    body_of,
    endpoint_of,
    headers_of,
    reason_of,
    standing_of,
    word_of,
)
from backbeat.schemas.kafka.client_registry import Registry
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.observe import tracing

logger = logging.getLogger(__name__)

#: A node as the engine has it now, whoever runs it; null: there is none. BackbeatError: the engine does not say.
FindNode = Callable[[bytes], Awaitable[NodeView | None]]

#: A payload that is kept elsewhere, or the text itself. CodecError: it is lost. Unavailable.
Whole = Callable[[bytes], Awaitable[bytes]]

CONNECTION_ERROR_WAIT_SECONDS = 30.0
ENDPOINT_TIMEOUT_SECONDS = 60.0
CONCURRENCY_PER_ENDPOINT = 32

_CONNECT_SECONDS_MAX = 5.0
_KEEP_ALIVE_SECONDS = 15.0
#: A client's answer to a webhook means nothing but its status; so much of it is read to keep the connection.
_ANSWER_BYTES_MAX = 64 * 1024
#: How often it is looked whether a client has begun with what the gateway before us may be posting.
_LOOK_SECONDS = 2.0


class WebhookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What was done since the start, and what is there now."""

    #: Posted and accepted.
    delivered: int
    #: Refused, or not deliverable: their nodes got a client error.
    failed: int
    #: Waiting for their turn, or for their endpoint.
    waiting: int
    #: Endpoints that cannot be reached, and why.
    unreachable: dict[str, str]
    #: Whether it has found Kafka.
    connected: bool


class Deliverer:
    """Delivers webhooks, from `start()` to `stop()`. Used from one event loop; several gateways share the work."""

    def __init__(
        self,
        bootstrap_servers: str,
        registry: Registry,
        *,
        node_body: NodeBody,
        find_node: FindNode,
        whole: Whole,
        fail: Callable[[BaseException], None],
        connection_error_wait_seconds: float = CONNECTION_ERROR_WAIT_SECONDS,
        endpoint_timeout_seconds: float = ENDPOINT_TIMEOUT_SECONDS,
        concurrency_per_endpoint: int = CONCURRENCY_PER_ENDPOINT,
    ) -> None:
        """Say how; `fail` is called once, in the loop, with what it cannot survive."""
        self._registry = registry
        self._node_body = node_body
        self._fail = fail
        self.wait_seconds = connection_error_wait_seconds
        self._timeout_seconds = endpoint_timeout_seconds
        self._find_node = find_node
        self._whole = whole
        self._concurrency = concurrency_per_endpoint
        self._intake = Intake(
            bootstrap_servers,
            registry,
            accept=self._accept,
            fail=fail,
            request_seconds_max=endpoint_timeout_seconds + connection_error_wait_seconds,
        )
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stopping = asyncio.Event()
        self._delivered = 0
        self.figures = WebhookFigures()
        self._traces = tracing.is_set_up()

    async def start(self) -> None:
        """Begin. A Kafka that is not there yet is waited for in the background."""
        self._sessions = {"close": self._open(force_close=True), "pooled": self._open(force_close=False)}
        self._intake.start()

    def _open(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # How many at a time is the endpoints' own affair.
            connector=aiohttp.TCPConnector(
                limit=0,
                force_close=force_close,
                keepalive_timeout=None if force_close else _KEEP_ALIVE_SECONDS,
                ttl_dns_cache=30,
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=_CONNECT_SECONDS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "backbeat"},
            skip_auto_headers=("Accept-Encoding",),
        )

    async def drain(self) -> None:
        """Begin nothing more, and wait for what is under way; what has not begun is posted by the next gateway."""
        self._stopping.set()
        self._intake.drain()
        for endpoint in self._endpoints.values():
            endpoint.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def give_up(self) -> None:
        """Wait for nothing that is under way: the next gateway asks what became of it."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Finish what is under way, and leave."""
        await self.drain()
        await self._intake.stop()
        for session in self._sessions.values():
            await session.close()

    def counts(self) -> WebhookCounts:
        """For metrics and health."""
        return WebhookCounts(
            delivered=self._delivered,
            failed=self._intake.failed,
            waiting=sum(endpoint.waiting for endpoint in self._endpoints.values()),
            unreachable={one.url: one.down for one in self._endpoints.values() if one.down is not None},
            connected=self._intake.connected,
        )

    # --- what came -------------------------------------------------------------------------------------------------

    def _accept(self, webhooks: list[Webhook]) -> None:
        for webhook in webhooks:
            self.offer(webhook)

    def offer(self, webhook: Webhook) -> None:
        """Put it into the queue of the endpoint that it goes to now."""
        if self._stopping.is_set():
            return
        if webhook.elsewhere_until is not None:
            self.spawn(self._wait_for_the_other(webhook, webhook.elsewhere_until))
            webhook.elsewhere_until = None
            return
        url = self.place(webhook)
        if url is None:
            return
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            try:
                endpoint = Endpoint(url, self, self._concurrency, self._idle)
            except ValueError as error:
                self._undeliverable(webhook, f"Could not POST {url}, error: {reason_of(error)}")
                return
            self._endpoints[url] = endpoint
        endpoint.offer(webhook)

    async def _wait_for_the_other(self, webhook: Webhook, ends_at: float) -> None:
        """Wait while the gateway before us may have a request for it under way: it says what comes of it."""
        while not (webhook.revoked or self._stopping.is_set()):
            try:
                standing = await self.standing(webhook)
            except BackbeatError as error:
                logger.info("%s: how far its client is, is not known yet: %s", webhook, error)
            else:
                left = ends_at - time.monotonic()
                if standing is not Standing.RECEIVED or left <= 0:
                    # It is asked about once more just before it is posted.
                    break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stopping.wait()
        self.offer(webhook)

    def _idle(self, endpoint: Endpoint) -> None:
        # URLs change: what is not used is not kept.
        if self._endpoints.get(endpoint.url) is endpoint:
            del self._endpoints[endpoint.url]

    # --- what endpoints need -----------------------------------------------------------------------------------------

    def place(self, webhook: Webhook) -> str | None:
        """The URL that a webhook goes to now; None: there is none, and it was settled."""
        # A notification that was begun is brought to its end here: nobody could ask whether it was posted.
        if webhook.revoked and not (webhook.is_notification and webhook.tries):
            self.settle(webhook)
            return None
        try:
            return endpoint_of(webhook.record, self._client(webhook))
        except UndeliverableError as error:
            self._undeliverable(webhook, str(error))
            return None

    def _client(self, webhook: Webhook) -> RegisteredClient:
        user_id = webhook.record.node.user_id
        client = self._registry.by_id(user_id)
        if client is None:
            raise UndeliverableError(f"No client has the id {user_id.hex()}")
        return client

    def _undeliverable(self, webhook: Webhook, why: str) -> None:
        logger.warning("%s: %s", webhook, why, extra=webhook.about)
        webhook.outcome = "undeliverable"
        if webhook.is_notification:
            webhook.answered = True
        else:
            webhook.failure = why
        self.settle(webhook)

    def settle(self, webhook: Webhook) -> None:
        """Nothing more is to be posted of it."""
        self.figures.settle(webhook)
        self._delivered += webhook.outcome == "delivered"
        self._intake.settle(webhook)

    async def standing(self, webhook: Webhook) -> Standing:
        """How far the client is with it. BackbeatError."""
        if webhook.is_notification:
            return Standing.RECEIVED
        return standing_of(webhook.record, await self._find_node(webhook.record.node.id))

    def word(self, webhook: Webhook) -> str:
        """What it is called in its body and where it is refused."""
        client = self._registry.by_id(webhook.record.node.user_id)
        return "activity" if client is None else word_of(webhook.record, client)

    async def post(self, url: URL, webhook: Webhook) -> int:
        """Post it; the status of the answer."""
        node, kind = webhook.record.node, webhook.record.kind.value
        if not self._traces:
            return await self._post(url, webhook, node.tid)
        attributes = {
            "server.address": url.host or "",
            "backbeat.node.id": id_text(node.id),
            "backbeat.node.name": node.name,
        }
        with tracing.span(f"post {kind}", node.tid, "client", attributes) as sent:
            status = await self._post(url, webhook, sent)
            tracing.note({"http.response.status_code": status})
        return status

    async def _post(self, url: URL, webhook: Webhook, tid: str) -> int:
        record = await self._whole_record(webhook)
        client = self._registry.by_id(record.node.user_id)
        session = self._sessions["close" if client is None else client.connections]
        with self.figures.timed(webhook) as timed:
            response = await session.post(
                url,
                data=body_of(record, self.word(webhook), self._node_body),
                headers=headers_of(record, tid),
                allow_redirects=False,
            )
            timed.status = response.status
        await _drain(response)
        return response.status

    async def _whole_record(self, webhook: Webhook) -> ActivityRecord:
        record = webhook.record
        client_data = await self._whole(record.node.client_data)
        if client_data is record.node.client_data:
            return record
        return msgspec.structs.replace(record, node=msgspec.structs.replace(record.node, client_data=client_data))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run an endpoint's work."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read an answer to its end, so that its connection serves again; one that is long or breaks off loses it."""
    read = 0
    try:
        while not response.content.at_eof():
            read += len(await response.content.readany())
            if read > _ANSWER_BYTES_MAX:
                break
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Its status was there, and that is all there is to know.
        logger.debug("%s: the answer broke off: %s", response.url, reason_of(error))
    if response.content.at_eof():
        response.release()
    else:
        response.close()
