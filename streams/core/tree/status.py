"""The two state machines of a node: the allowed transitions.

Rule 1: every allowed change stands in one of the two tables below, and nowhere else.
Rule 2: a change of both statuses is checked for both before either moves (behaviour document, section 3).

The client status is the client application's; the server status is the engine's.
"""

from __future__ import annotations

from backbeat.schemas.messages.status import ClientStatus, ServerStatus

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
