"""The statuses of a node, how it stands in its siblings' way, and the words for them at every edge."""

from __future__ import annotations

import enum


class Mode(enum.IntEnum):
    """Bearing of a node on its siblings and its parent."""

    BLOCKING = 0  #: later siblings wait for it, and so does the parent
    NON_BLOCKING = 1  #: later siblings don't wait, the parent does
    FIRE_AND_FORGET = 2  #: nobody waits


class ClientStatus(enum.IntEnum):
    """Status of a node by its client application."""

    PENDING = 0
    READY = 1
    RECEIVED = 2
    PROCESSING = 3
    COMPLETE = 4
    ERRORED = 5
    RESOLVED = 6
    SHUTDOWN = 7


class ServerStatus(enum.IntEnum):
    """Status of a node by the engine."""

    PENDING = 0
    READY = 1
    STARTED = 2
    SENT_TO_CLIENT = 3
    PROCESSING_CHILDREN = 4
    COMPLETE = 5
    PAUSED = 6
    ERRORED = 7
    RETRYING = 8
    RETRIES_EXHAUSTED = 9
    DEACTIVATED = 10


#: Closed: in nobody's way any more. A closed node never opens again.
CLOSED: frozenset[ServerStatus] = frozenset({ServerStatus.COMPLETE, ServerStatus.DEACTIVATED})


class Bucket(enum.StrEnum):
    """Bearing of a node, in the order in which people look for it."""

    FAILING = "failing"  #: it waits for a person
    RETRYING = "retrying"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    OPEN = "open"
    DONE = "done"
    CANCELED = "canceled"


#: Bucket of a node by its server status. The words that are statuses, too, say the same there.
BUCKETS: dict[ServerStatus, Bucket] = {
    ServerStatus.PENDING: Bucket.OPEN,
    ServerStatus.READY: Bucket.OPEN,
    ServerStatus.STARTED: Bucket.WAITING,
    ServerStatus.SENT_TO_CLIENT: Bucket.RUNNING,
    ServerStatus.PROCESSING_CHILDREN: Bucket.OPEN,
    ServerStatus.COMPLETE: Bucket.DONE,
    ServerStatus.PAUSED: Bucket.PAUSED,
    ServerStatus.ERRORED: Bucket.FAILING,
    ServerStatus.RETRYING: Bucket.RETRYING,
    ServerStatus.RETRIES_EXHAUSTED: Bucket.FAILING,
    ServerStatus.DEACTIVATED: Bucket.CANCELED,
}


def word(status: enum.IntEnum) -> str:
    """The status or mode as it is spelt at every edge: `sent_to_client`."""
    return status.name.lower()


CLIENT_WORDS: dict[str, ClientStatus] = {word(status): status for status in ClientStatus}

SERVER_WORDS: dict[str, ServerStatus] = {word(status): status for status in ServerStatus}

MODE_WORDS: dict[str, Mode] = {word(mode): mode for mode in Mode}
