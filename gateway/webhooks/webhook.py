"""One webhook: what is posted, where to, and what is known of it until it is settled.

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

from backbeat.delivery.offsets import Offsets
from backbeat.gateway.http.presentation import id_text
from backbeat.observe import transaction_ids
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import NodeView

NodeBody = Callable[[NodeView], dict[str, Any]]
#: (node id, attempt, the notification's message, if it is one): what a repeat is known by.
Key = tuple[bytes, int, str]

#: The header by which a client knows a repeat: the same value is the same delivery.
DELIVERY_HEADER = "X-Backbeat-Delivery"
TID_HEADER = "X-backbeat-tid"

_TID = re.compile(r"[\x21-\x7e]{1,64}")
_TID_CHARACTERS_MAX = 64
_encode = msgspec.json.Encoder().encode


class UndeliverableError(Exception):
    """There is nowhere to post a webhook to; the text says why."""


class Webhook:
    """An activity, decision or notification from when its record was read until nothing more is to be done about it."""

    __slots__ = (
        "answered",
        "ask_first",
        "bytes_held",
        "elsewhere_until",
        "failure",
        "first_tried_at",
        "key",
        "outcome",
        "places",
        "record",
        "topic",
        "tries",
        "under_way",
    )

    def __init__(
        self, record: ActivityRecord, key: Key, *, topic: str, bytes_held: int, offsets: Offsets, offset: int
    ) -> None:
        self.record = record
        self.key = key
        self.topic = topic
        #: What its record weighs, for the bound on what is in memory.
        self.bytes_held = bytes_held
        #: Where it was read; repeats of it add theirs.
        self.places = [(offsets, offset)]
        #: When it was tried first (monotonic seconds); None: it was not.
        self.first_tried_at: float | None = None
        #: Requests that had a connection.
        self.tries = 0
        #: Whether a request for it is under way, or may have reached the client without an answer.
        self.under_way = False
        #: Whether it may have been posted already: its node is asked about before it is.
        self.ask_first = False
        #: Until when the gateway before us may have a request for it under way (monotonic seconds).
        self.elsewhere_until: float | None = None
        #: Whether nothing more is to be done about it; what is settled without that is somebody else's.
        self.answered = False
        #: Why it could not be delivered: its node gets a client error.
        self.failure: str | None = None
        #: What came of it, in a word (docs/reference/metrics.md); empty: nothing yet, or it is another gateway's.
        self.outcome = ""

    @property
    def revoked(self) -> bool:
        """Whether all its partitions were taken away: another gateway posts it."""
        return all(offsets.revoked for offsets, _ in self.places)

    @property
    def is_notification(self) -> bool:
        """Whether it tells of an error, so that nothing comes of it when it fails."""
        return self.record.kind is ActivityKind.NOTIFICATION

    @property
    def about(self) -> dict[str, object]:
        """What an event of the log about it is about."""
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


class Standing(enum.Enum):
    """How far the client is with an activity."""

    #: it has said nothing
    RECEIVED = enum.auto()
    PROCESSING = enum.auto()
    #: it has answered, or the attempt is over
    OVER = enum.auto()


def standing_of(record: ActivityRecord, node: NodeView | None) -> Standing:
    """How far the client is with the attempt of this record, by what its node is now; null: it was removed."""
    if node is None or node.attempt != record.node.attempt or node.server is not ServerStatus.SENT_TO_CLIENT:
        return Standing.OVER
    return _STANDINGS.get(node.client, Standing.OVER)


_STANDINGS = {ClientStatus.RECEIVED: Standing.RECEIVED, ClientStatus.PROCESSING: Standing.PROCESSING}


def key_of(record: ActivityRecord) -> Key:
    """What a repeat of it is known by."""
    return record.node.id, record.node.attempt, record.message or "" if _is_notification(record) else ""


def _is_notification(record: ActivityRecord) -> bool:
    return record.kind is ActivityKind.NOTIFICATION


def endpoint_of(record: ActivityRecord, client: RegisteredClient) -> str:
    """The URL that it is posted to."""
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


def word_of(record: ActivityRecord, client: RegisteredClient) -> str:
    """What it is called in its body and in the message when it is refused."""
    return "decision" if record.kind is ActivityKind.DECISION and client.decision_endpoint else "activity"


def body_of(record: ActivityRecord, word: str, node_body: NodeBody) -> bytes:
    """What is posted."""
    node = node_body(record.node)
    if not _is_notification(record):
        return _encode({word: node})
    return _encode(
        {
            "activity": node,
            "notification": {"name": record.notification_name, "message": record.message},
            "error": msgspec.Raw(record.error or b"{}"),
        }
    )


def headers_of(record: ActivityRecord, tid: str) -> dict[str, str]:
    """The headers that tell one webhook from another; `tid`: the node's, or with a span of our own behind it."""
    node = record.node
    delivery = f"{id_text(node.id)}-{node.attempt}"
    headers = {DELIVERY_HEADER: f"{delivery}-notification" if _is_notification(record) else delivery}
    if node.tid:
        # One that came over a topic may be any text.
        plain = transaction_ids.plain(node.tid)
        headers[TID_HEADER] = plain if _TID.fullmatch(plain) else quote(plain)[:_TID_CHARACTERS_MAX]
    traceparent = transaction_ids.split(tid)[1]
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return headers


def reason_of(error: Exception) -> str:
    """Why a request got no answer, in words that do not depend on the libraries."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host's name is unknown"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode:
        return os.strerror(number)
    return str(error) or type(error).__name__
