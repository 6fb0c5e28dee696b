"""Buckets of nodes, as `backbeat top` has them, and what a node's statuses say in a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from backbeat.gateway.projection.storage import states
from backbeat.schemas.messages.status import BUCKETS, Bucket, ClientStatus, ServerStatus, word

#: Statuses of nodes that wait for an operator.
FAILING = tuple(server for server, bucket in BUCKETS.items() if bucket is Bucket.FAILING)

#: Words of the filters, and how people say them.
STATUS_CHOICES = (
    ("retries_exhausted", "retries exhausted"),
    ("errored", "errored"),
    ("retrying", "retrying"),
    ("sent_to_client", "with its client"),
    ("started", "started, waits"),
    ("paused", "paused"),
    ("processing_children", "waits for what is below"),
    ("ready", "ready"),
    ("pending", "pending"),
    ("complete", "complete"),
    ("resolved", "resolved"),
    ("shutdown", "shut down"),
    ("deactivated", "canceled or deactivated"),
)


class Share(msgspec.Struct, frozen=True):
    """A bucket and how many nodes are in it."""

    bucket: Bucket
    nodes: int


def bucket_of(server: ServerStatus) -> Bucket:
    """Bucket of a node at this server status."""
    return BUCKETS[server]


def shares(nodes_by_state: Mapping[int, int]) -> list[Share]:
    """Nodes by bucket, from nodes by the projection's state; without empty buckets."""
    by_server: Counter[ServerStatus] = Counter()
    for state, nodes in nodes_by_state.items():
        by_server[states.server_of(state)] += nodes
    return shares_of(by_server)


def shares_of(nodes_by_server: Mapping[ServerStatus, int]) -> list[Share]:
    """Nodes by bucket, from nodes by server status, likewise."""
    counts: Counter[Bucket] = Counter()
    for server, nodes in nodes_by_server.items():
        counts[bucket_of(server)] += nodes
    return [Share(bucket, counts[bucket]) for bucket in Bucket if counts[bucket]]


def status_text(server: ServerStatus, client: ClientStatus) -> str:
    """Both statuses in a few words."""
    match server, client:
        case ServerStatus.RETRIES_EXHAUSTED, _:
            return "retries exhausted"
        case ServerStatus.ERRORED, _:
            return "server error"
        case ServerStatus.SENT_TO_CLIENT, ClientStatus.PROCESSING:
            return "running"
        case ServerStatus.SENT_TO_CLIENT, _:
            return "sent to its client"
        case ServerStatus.PROCESSING_CHILDREN, _:
            return "waits for what is below"
        case ServerStatus.COMPLETE, ClientStatus.RESOLVED | ClientStatus.SHUTDOWN:
            return f"complete, {word(client)}"
        case _:
            return word(server).replace("_", " ")
