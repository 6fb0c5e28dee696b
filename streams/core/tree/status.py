"""The two state machines of a node: which status may follow which.

Rule 1: every allowed change stands in one of the two tables below, and nowhere else.
Rule 2: a change of both statuses is checked for both before either moves (behaviour document, section 3).

The client status is what the client application says of its work; the server status is where the engine is with the
node.
"""

from __future__ import annotations

import enum


class Mode(enum.IntEnum):
    """How a node stands in its siblings' way (behaviour document, section 1)."""

    BLOCKING = 0  #: later siblings wait for it, and so does the parent
    NON_BLOCKING = 1  #: later siblings don't wait, the parent does
    FIRE_AND_FORGET = 2  #: nobody waits


class ClientStatus(enum.IntEnum):
    """What the client application says of a node."""

    PENDING = 0
    READY = 1
    RECEIVED = 2
    PROCESSING = 3
    COMPLETE = 4
    ERRORED = 5
    RESOLVED = 6
    SHUTDOWN = 7


class ServerStatus(enum.IntEnum):
    """Where the engine is with a node."""

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


_C = ClientStatus
_S = ServerStatus

CLIENT_TRANSITIONS: dict[ClientStatus, frozenset[ClientStatus]] = {
    _C.PENDING: frozenset({_C.READY, _C.ERRORED}),
    _C.READY: frozenset({_C.RECEIVED, _C.ERRORED}),
    _C.RECEIVED: frozenset({_C.PROCESSING, _C.COMPLETE, _C.ERRORED}),
    _C.PROCESSING: frozenset({_C.COMPLETE, _C.ERRORED}),
    _C.COMPLETE: frozenset({_C.COMPLETE}),
    _C.ERRORED: frozenset({_C.READY, _C.ERRORED, _C.RESOLVED, _C.SHUTDOWN}),
    _C.RESOLVED: frozenset(),
    _C.SHUTDOWN: frozenset(),
}

SERVER_TRANSITIONS: dict[ServerStatus, frozenset[ServerStatus]] = {
    _S.PENDING: frozenset({_S.READY, _S.DEACTIVATED, _S.ERRORED}),
    _S.READY: frozenset({_S.STARTED, _S.DEACTIVATED, _S.ERRORED}),
    _S.STARTED: frozenset({_S.SENT_TO_CLIENT, _S.PAUSED, _S.DEACTIVATED, _S.ERRORED}),
    _S.SENT_TO_CLIENT: frozenset(
        {_S.PROCESSING_CHILDREN, _S.RETRYING, _S.RETRIES_EXHAUSTED, _S.DEACTIVATED, _S.ERRORED}
    ),
    _S.PROCESSING_CHILDREN: frozenset({_S.COMPLETE, _S.DEACTIVATED, _S.ERRORED}),
    _S.COMPLETE: frozenset({_S.DEACTIVATED}),
    _S.PAUSED: frozenset({_S.STARTED, _S.DEACTIVATED, _S.ERRORED}),
    _S.ERRORED: frozenset({_S.READY, _S.DEACTIVATED, _S.ERRORED}),
    _S.RETRYING: frozenset({_S.READY, _S.DEACTIVATED, _S.ERRORED}),
    _S.RETRIES_EXHAUSTED: frozenset({_S.READY, _S.DEACTIVATED, _S.ERRORED, _S.PROCESSING_CHILDREN}),
    _S.DEACTIVATED: frozenset({_S.DEACTIVATED}),
}

#: Closed: in nobody's way any more. A closed node never opens again.
CLOSED: frozenset[ServerStatus] = frozenset({_S.COMPLETE, _S.DEACTIVATED})


def word(status: enum.IntEnum) -> str:
    """The status or mode as it is spelt at every edge: `sent_to_client`."""
    return status.name.lower()


CLIENT_WORDS: dict[str, ClientStatus] = {word(status): status for status in ClientStatus}
SERVER_WORDS: dict[str, ServerStatus] = {word(status): status for status in ServerStatus}
MODE_WORDS: dict[str, Mode] = {word(mode): mode for mode in Mode}
