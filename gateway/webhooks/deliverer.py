"""Delivery of webhooks: activities, decisions and notifications posted to the endpoints of clients.

    activities.<client> ─▶ WebhookConsumer (thread) ─▶ Endpoint (queue, requests) ─▶ the client
                              ▲                             │
                              └────────── settled ──────────┘──▶ offsets, or DeliveryFailed on the commands topic

Delivery is at least once. A recognized repeat is not posted; a webhook that another gateway may have posted is posted
only while its node is `received`. docs/reference/webhooks.md has the guarantees for clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from backbeat.delivery.kafka import make_member
from backbeat.delivery.records import Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.errors import BackbeatError
from backbeat.gateway.webhooks.consumer import WebhookConsumer
from backbeat.gateway.webhooks.counters import WebhookMetrics
from backbeat.gateway.webhooks.endpoint import Endpoint
from backbeat.gateway.webhooks.networks import EVERYWHERE, EndpointNetworks
from backbeat.gateway.webhooks.webhook import (
    ClientProgress,
    NodeBody,
    UndeliverableError,
    Webhook,
    body_key,
    body_of,
    client_progress,
    endpoint_of,
    headers_of,
    reason_of,
    shown_url,
)
from backbeat.payload.values import id_text
from backbeat.schemas.kafka.client_registry import ClientRegistry
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.views import NodeView
from backbeat.streams.observe import tracing

logger = logging.getLogger(__name__)

#: A node as the engine has it now, of any client; None: it does not exist. BackbeatError: the engine does not answer.
FindNode = Callable[[bytes], Awaitable[NodeView | None]]

#: The payload of a reference, or the text itself. CodecError: it is lost. Unavailable.
LoadPayload = Callable[[bytes], Awaitable[bytes]]

CONNECTION_ERROR_WAIT_SECONDS = 30.0
ENDPOINT_TIMEOUT_SECONDS = 60.0
CONCURRENCY_PER_ENDPOINT = 32

_CONNECT_SECONDS_MAX = 5.0
_KEEP_ALIVE_SECONDS = 15.0
_SESSION_TIMEOUT_SECONDS = 10.0
#: Bytes read of an answer, to keep the connection; only its status matters.
_ANSWER_BYTES_MAX = 64 * 1024
#: Interval of the question whether a client has begun with what another gateway may be posting.
_LOOK_SECONDS = 2.0


class WebhookCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Webhooks since the start and now, for metrics and health."""

    #: Posted and accepted.
    delivered: int
    #: Refused or undeliverable: their nodes got a client error.
    failed: int
    #: Waiting for their turn, or for their endpoint.
    waiting: int
    #: Reason by URL, of endpoints that cannot be reached.
    unreachable: dict[str, str]
    #: True if connected to Kafka.
    connected: bool


class Deliverer:
    """Deliverer of webhooks, from `start()` to `stop()`. Used from one event loop; several gateways share the work."""

    def __init__(
        self,
        bootstrap_servers: str,
        registry: ClientRegistry,
        *,
        node_body: NodeBody,
        find_node: FindNode,
        load_payload: LoadPayload,
        fail: Callable[[BaseException], None],
        connection_error_wait_seconds: float = CONNECTION_ERROR_WAIT_SECONDS,
        endpoint_timeout_seconds: float = ENDPOINT_TIMEOUT_SECONDS,
        concurrency_per_endpoint: int = CONCURRENCY_PER_ENDPOINT,
        networks: EndpointNetworks = EVERYWHERE,
    ) -> None:
        """`fail` is called once, on the loop, with a fatal error."""
        self._networks = networks
        self._registry = registry
        self._node_body = node_body
        self._fail = fail
        self.wait_seconds = connection_error_wait_seconds
        self._timeout_seconds = endpoint_timeout_seconds
        self._find_node = find_node
        self._load_payload = load_payload
        self._concurrency = concurrency_per_endpoint
        self._consumer = WebhookConsumer(
            registry,
            partial(make_member, bootstrap_servers, _SESSION_TIMEOUT_SECONDS),
            ResultProducer(bootstrap_servers),
            Owner(self._accept, lambda error: self.spawn(self._end(error))),
            request_seconds_max=endpoint_timeout_seconds + connection_error_wait_seconds,
        )
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stopping = asyncio.Event()
        self._delivered = 0
        self.metrics = WebhookMetrics()
        self._traces = tracing.is_set_up()

    async def start(self) -> None:
        """Start. A Kafka that is not reachable yet is waited for in the background."""
        self._sessions = {"close": self._open(force_close=True), "pooled": self._open(force_close=False)}
        self._consumer.start()

    def _open(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            # Concurrency is limited by each endpoint.
            connector=aiohttp.TCPConnector(
                limit=0,
                force_close=force_close,
                keepalive_timeout=None if force_close else _KEEP_ALIVE_SECONDS,
                ttl_dns_cache=30,
                # After the look-up of the name, and at each connection: names change what they stand for.
                socket_factory=self._networks.open_socket,
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds, sock_connect=_CONNECT_SECONDS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Content-Type": "application/json", "Accept": "*/*", "User-Agent": "backbeat"},
            skip_auto_headers=("Accept-Encoding",),
        )

    async def drain(self) -> None:
        """Begin nothing more, and wait for requests in flight; the next gateway posts the rest."""
        self._stopping.set()
        self._consumer.drain()
        for endpoint in self._endpoints.values():
            endpoint.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def give_up(self) -> None:
        """Abandon requests in flight: the next gateway asks the engine about them."""
        self._stopping.set()
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        """Finish requests in flight, and leave."""
        await self.drain()
        await self._consumer.stop()
        for session in self._sessions.values():
            await session.close()

    async def _end(self, error: BaseException) -> None:
        """End with the consumer, once it has left its group: the process may end at once."""
        await self._consumer.stop()
        self._fail(error)

    def counts(self) -> WebhookCounts:
        """Counts for metrics and health, from any thread."""
        # In one step: the loop's thread adds endpoints meanwhile.
        endpoints = list(self._endpoints.values())
        return WebhookCounts(
            delivered=self._delivered,
            failed=self._consumer.failed,
            waiting=sum(endpoint.waiting for endpoint in endpoints),
            unreachable={endpoint.shown: endpoint.down for endpoint in endpoints if endpoint.down is not None},
            connected=self._consumer.connected,
        )

    # --- incoming webhooks -------------------------------------------------------------------------------------------

    def _accept(self, webhooks: list[Webhook]) -> None:
        for webhook in webhooks:
            self.offer(webhook)

    def offer(self, webhook: Webhook) -> None:
        """Queue a webhook for the endpoint of its current URL."""
        if self._stopping.is_set():
            return
        if webhook.elsewhere_until is not None:
            self.spawn(self._wait_for_other_gateway(webhook, webhook.elsewhere_until))
            webhook.elsewhere_until = None
            return
        url = self.url_of(webhook)
        if url is None:
            return
        endpoint = self._endpoints.get(url)
        if endpoint is None:
            try:
                endpoint = Endpoint(url, self, self._concurrency, self._idle)
            except ValueError as error:
                self._undeliverable(webhook, f"Could not POST {shown_url(url)}, error: {reason_of(error)}")
                return
            self._endpoints[url] = endpoint
        endpoint.offer(webhook)

    async def _wait_for_other_gateway(self, webhook: Webhook, ends_at: float) -> None:
        """Wait while another gateway may have a request in flight: it reports the result."""
        while not (webhook.revoked or self._stopping.is_set()):
            try:
                progress = await self.progress(webhook)
            except BackbeatError as error:
                logger.info("%s: how far its client is, is not known yet: %s", webhook, error)
            else:
                remaining_seconds = ends_at - time.monotonic()
                if progress is not ClientProgress.RECEIVED or remaining_seconds <= 0:
                    # The engine is asked once more just before it is posted.
                    break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._stopping.wait()
        self.offer(webhook)

    def _idle(self, endpoint: Endpoint) -> None:
        # URLs change: idle endpoints are dropped.
        if self._endpoints.get(endpoint.url) is endpoint:
            del self._endpoints[endpoint.url]

    # --- port of the endpoints ---------------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """True: begin nothing more."""
        return self._stopping.is_set()

    def url_of(self, webhook: Webhook) -> str | None:
        """Current URL of a webhook; None: there is none, and it was settled."""
        # A notification that was begun is finished here: nobody could tell whether it was posted.
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

    def _undeliverable(self, webhook: Webhook, reason: str) -> None:
        logger.warning("%s: %s", webhook, reason, extra=webhook.log_fields)
        webhook.outcome = "undeliverable"
        if webhook.is_notification:
            webhook.answered = True
        else:
            webhook.failure = reason
        self.settle(webhook)

    def settle(self, webhook: Webhook) -> None:
        """Take a webhook that is not posted any more."""
        self.metrics.settle(webhook)
        self._delivered += webhook.outcome == "delivered"
        self._consumer.take_back(webhook)

    async def progress(self, webhook: Webhook) -> ClientProgress:
        """The client's progress with the activity. BackbeatError."""
        if webhook.is_notification:
            return ClientProgress.RECEIVED
        return client_progress(webhook.record, await self._find_node(webhook.record.node.id))

    def body_key(self, webhook: Webhook) -> str:
        """Name of the webhook in its body and in errors."""
        client = self._registry.by_id(webhook.record.node.user_id)
        return "activity" if client is None else body_key(webhook.record, client)

    async def post(self, url: URL, webhook: Webhook) -> int:
        """Post a webhook; the status of the answer."""
        node, kind = webhook.record.node, webhook.record.kind.value
        if not self._traces:
            return await self._post(url, webhook, node.tid)
        attributes = {
            "server.address": url.host or "",
            "backbeat.node.id": id_text(node.id),
            "backbeat.node.name": node.name,
        }
        with tracing.span(f"post {kind}", node.tid, "client", attributes) as span_tid:
            status = await self._post(url, webhook, span_tid)
            tracing.note({"http.response.status_code": status})
        return status

    async def _post(self, url: URL, webhook: Webhook, tid: str) -> int:
        record = await self._with_payload(webhook)
        client = self._registry.by_id(record.node.user_id)
        session = self._sessions["close" if client is None else client.connections]
        with self.metrics.timed(webhook) as timed:
            response = await session.post(
                url,
                data=body_of(record, self.body_key(webhook), self._node_body),
                headers=headers_of(record, tid),
                allow_redirects=False,
            )
            timed.status = response.status
        await _drain(response)
        return response.status

    async def _with_payload(self, webhook: Webhook) -> ActivityRecord:
        record = webhook.record
        client_data = await self._load_payload(record.node.client_data)
        if client_data is record.node.client_data:
            return record
        return msgspec.structs.replace(record, node=msgspec.structs.replace(record.node, client_data=client_data))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run an endpoint's work in a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read an answer to its end, so that its connection can be reused; an answer too long or broken off loses it."""
    read_bytes = 0
    try:
        while not response.content.at_eof():
            read_bytes += len(await response.content.readany())
            if read_bytes > _ANSWER_BYTES_MAX:
                break
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        # Its status was read, and only that matters.
        logger.debug("%s: the answer broke off: %s", shown_url(str(response.url)), reason_of(error))
    if response.content.at_eof():
        response.release()
    else:
        response.close()
