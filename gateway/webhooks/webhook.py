"""A webhook: its record, URL, body, headers, and its state until it is settled.

Bodies and rules: behaviour document, section 6.
"""

from __future__ import annotations

import enum
import errno
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from backbeat.delivery.records import Delivery, Key, Receipt
from backbeat.gateway.webhooks.networks import ForbiddenAddressError
from backbeat.observe import transaction_ids
from backbeat.payload.values import id_text
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView

NodeBody = Callable[[NodeView], dict[str, Any]]
#: Header by which a client recognizes a repeat: the same value is the same delivery.
DELIVERY_HEADER = "X-Backbeat-Delivery"
TID_HEADER = "X-backbeat-tid"

_TID = re.compile(r"[\x21-\x7e]{1,64}")
_TID_CHARACTERS_MAX = 64
_USER_INFO = re.compile(r"(?<=://)[^/?#]*@")
_encode = msgspec.json.Encoder().encode


class UndeliverableError(Exception):
    """A webhook without a URL; the text says why."""


class Webhook(Delivery):
    """An activity, decision or notification, from the read of its record until it is settled."""

    __slots__ = (
        "ask_first",
        "bytes_held",
        "elsewhere_until",
        "failure",
        "first_tried_at",
        "in_flight",
        "topic",
        "tries",
    )

    def __init__(self, record: ActivityRecord, key: Key, receipt: Receipt) -> None:
        super().__init__(record, key, receipt)
        #: Topic and size of its record, for the bound on memory.
        self.topic = ""
        self.bytes_held = 0
        #: Monotonic seconds of the first attempt; None: there was none.
        self.first_tried_at: float | None = None
        #: Requests that had a connection.
        self.tries = 0
        #: True while a request is in flight, or may have reached the client without an answer.
        self.in_flight = False
        #: True if it may have been posted already: the engine is asked about its node first.
        self.ask_first = False
        #: Monotonic seconds until which another gateway may have a request in flight.
        self.elsewhere_until: float | None = None
        #: Reason of a failed delivery: its node gets a client error.
        self.failure: str | None = None

    @property
    def is_under_way(self) -> bool:
        """True while a request is in flight, or the report of a failure."""
        return self.in_flight or self.failure is not None

    @property
    def is_notification(self) -> bool:
        """True for an error notification, whose failure has no consequence."""
        return self.record.kind is ActivityKind.NOTIFICATION

    @property
    def log_fields(self) -> dict[str, object]:
        """Subjects of log events about it."""
        node = self.record.node
        return {
            "tid": transaction_ids.plain(node.tid),
            "workflow": id_text(node.workflow_id),
            "node": id_text(node.id),
            "attempt": node.attempt,
        }

    def __str__(self) -> str:
        node = self.record.node
        return f"{self.record.kind} {node.name} of node {id_text(node.id)}, attempt {node.attempt} (tid {node.tid})"


class ClientProgress(enum.Enum):
    """The client's progress with an activity."""

    #: Not begun: the client has not reported.
    RECEIVED = enum.auto()
    PROCESSING = enum.auto()
    #: Answered, or the attempt is over.
    OVER = enum.auto()


def client_progress(record: ActivityRecord, node: NodeView | None) -> ClientProgress:
    """The client's progress with the record's attempt, from its node; None: the node was removed."""
    if node is None or node.attempt != record.node.attempt or node.server is not ServerStatus.SENT_TO_CLIENT:
        return ClientProgress.OVER
    return _PROGRESS.get(node.client, ClientProgress.OVER)


_PROGRESS = {ClientStatus.RECEIVED: ClientProgress.RECEIVED, ClientStatus.PROCESSING: ClientProgress.PROCESSING}


def _is_notification(record: ActivityRecord) -> bool:
    return record.kind is ActivityKind.NOTIFICATION


def endpoint_of(record: ActivityRecord, client: RegisteredClient) -> str:
    """URL of the record's webhook. UndeliverableError."""
    if _is_notification(record):
        url = client.notification_endpoint
    elif record.kind is ActivityKind.DECISION and client.decision_endpoint:
        url = client.decision_endpoint
    else:
        url = client.activity_endpoint
    if not url:
        kind = "notification" if _is_notification(record) else "activity"
        raise UndeliverableError(f"Client {client.name} has no {kind} endpoint")
    return url


def body_key(record: ActivityRecord, client: RegisteredClient) -> str:
    """Name of the webhook in its body and in errors."""
    return "decision" if record.kind is ActivityKind.DECISION and client.decision_endpoint else "activity"


def body_of(record: ActivityRecord, key: str, node_body: NodeBody) -> bytes:
    """Body of the request."""
    node = node_body(record.node)
    if not _is_notification(record):
        if not record.takes:
            return _encode({key: node})
        results = [
            {
                "slot": result.slot,
                "nodeId": id_text(result.node_id),
                "response": None if result.response is None else msgspec.Raw(result.response),
                "isDefault": result.is_default,
                "failureIndex": result.failure_index,
            }
            for result in record.results
        ]
        counts = [{"count": taken.count, "failures": taken.failures} for taken in record.counts]
        return _encode({key: node, "results": results, "hasMoreResults": record.has_more_results, "counts": counts})
    return _encode(
        {
            "activity": node,
            "notification": {"name": record.notification_name, "message": record.message},
            "error": msgspec.Raw(record.error or b"{}"),
        }
    )


def headers_of(record: ActivityRecord, tid: str) -> dict[str, str]:
    """Headers of the request; `tid`: the node's, or with a span of our own behind it."""
    node = record.node
    delivery = f"{id_text(node.id)}-{node.attempt}"
    headers = {DELIVERY_HEADER: f"{delivery}-notification" if _is_notification(record) else delivery}
    if node.tid:
        # A transaction id from a topic may be any text.
        plain = transaction_ids.plain(node.tid)
        headers[TID_HEADER] = plain if _TID.fullmatch(plain) else quote(plain)[:_TID_CHARACTERS_MAX]
    traceparent = transaction_ids.split(tid)[1]
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return headers


def shown_url(url: str) -> str:
    """A URL for logs and errors: without the user and password that it may have."""
    return _USER_INFO.sub("", url, count=1)


def reason_of(error: Exception) -> str:
    """Reason why a request got no answer, independent of the library's wording."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host's name is unknown"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ForbiddenAddressError):
        return str(error.os_error.strerror)
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number)
    return str(error) or type(error).__name__
