"""JSON of a gateway (searches, users, refusals, archives) as the core's own values and as exceptions."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from backbeat.errors import (
    BackbeatError,
    InvalidParameters,
    InvalidStatus,
    KeyReused,
    LimitExceeded,
    NotFound,
    Rejected,
    Timeout,
    Unauthorized,
    Unavailable,
    WorkflowComplete,
    rejected,
)
from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import CLIENT_WORDS, MODE_WORDS, SERVER_WORDS
from backbeat.schemas.messages.views import NodeView, WorkflowView

_TEXT_CHARACTERS_MAX = 300


class _Workflow(msgspec.Struct, rename="camel", gc=False):
    id: str
    user_id: str
    name: str
    subject: msgspec.Raw
    decider: str
    created_at: datetime
    updated_at: datetime
    complete: bool
    paused: bool


class _Node(msgspec.Struct, rename="camel", gc=False):
    id: str
    workflow_id: str
    parent_id: str | None
    user_id: str
    name: str
    mode: str
    type: str
    client_data: msgspec.Raw
    metadata: msgspec.Raw
    subject: msgspec.Raw
    decider: str
    workflow_name: str
    current_server_status: str
    current_client_status: str
    created_at: datetime
    fires_at: datetime
    attempt: int
    complete_by: datetime | None
    retries_remaining: int
    retry_interval: float
    parent_link_id: str | None
    depth: int
    seq: int
    tid: str
    priority: int
    fairness_key: str
    waits_for_slot: bool
    granted_at: datetime | None


class _Change(msgspec.Struct, rename="camel", gc=False):
    from_status: str
    to_status: str
    status_type: str
    response: msgspec.Raw
    created_at: datetime


class _User(msgspec.Struct, gc=False):
    id: str
    name: str


class _Rejection(msgspec.Struct, gc=False):
    reason: str
    message: str
    found: str
    wanted: str


class _Error(msgspec.Struct, rename="camel", gc=False):
    error_class: str = ""
    message: str = ""
    rejection: _Rejection | None = None


_errors = msgspec.json.Decoder(_Error)


def read_workflow(text: bytes) -> WorkflowView:
    """A workflow."""
    return _workflow(_decode(text, _Workflow))


def read_workflows(text: bytes) -> list[WorkflowView]:
    """A list of workflows."""
    return [_workflow(document) for document in _decode(text, list[_Workflow])]


def read_node(text: bytes) -> NodeView:
    """A node with all fields."""
    return _node(_decode(text, _Node))


def read_nodes(text: bytes) -> tuple[NodeView, ...]:
    """Nodes with all fields."""
    return tuple(_node(document) for document in _decode(text, list[_Node]))


def read_history(text: bytes) -> tuple[StatusChange, ...]:
    """The status changes of a node."""
    return tuple(_change(document) for document in _decode(text, list[_Change]))


def read_users(text: bytes) -> dict[str, bytes]:
    """The ids of users by their names."""
    return {user.name: uuid.UUID(user.id).bytes for user in _decode(text, list[_User])}


def read_value(text: bytes) -> Any:
    """Any JSON value."""
    return _decode(text, Any)


def _decode(text: bytes, kind: Any) -> Any:
    """A gateway's JSON as a value of this kind. Unavailable: it does not fit."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise Unavailable(
            f"What answers there is no gateway of Backbeat, or one of another version: {error}"
        ) from error


def _workflow(document: _Workflow) -> WorkflowView:
    return WorkflowView(
        id=_bytes(document.id),
        user_id=_bytes(document.user_id),
        name=document.name,
        subject=bytes(document.subject),
        decider=document.decider,
        created_at=_milliseconds(document.created_at),
        updated_at=_milliseconds(document.updated_at),
        complete=document.complete,
        paused=document.paused,
    )


def _node(document: _Node) -> NodeView:
    return NodeView(
        id=_bytes(document.id),
        workflow_id=_bytes(document.workflow_id),
        parent_id=None if document.parent_id is None else _bytes(document.parent_id),
        user_id=_bytes(document.user_id),
        name=document.name,
        mode=MODE_WORDS[document.mode],
        type=document.type,
        client_data=bytes(document.client_data),
        metadata=bytes(document.metadata),
        subject=bytes(document.subject),
        decider=document.decider,
        workflow_name=document.workflow_name,
        server=SERVER_WORDS[document.current_server_status],
        client=CLIENT_WORDS[document.current_client_status],
        created_at=_milliseconds(document.created_at),
        fires_at=_milliseconds(document.fires_at),
        attempt=document.attempt,
        complete_by=None if document.complete_by is None else _milliseconds(document.complete_by),
        retries_remaining=document.retries_remaining,
        retry_interval_seconds=document.retry_interval,
        parent_link_id=None if document.parent_link_id is None else _bytes(document.parent_link_id),
        depth=document.depth,
        seq=document.seq,
        tid=document.tid,
        priority=document.priority,
        fairness_key=document.fairness_key,
        waits_for_slot=document.waits_for_slot,
        granted_at=None if document.granted_at is None else _milliseconds(document.granted_at),
    )


def _change(document: _Change) -> StatusChange:
    server = document.status_type == "current_server_status"
    words = SERVER_WORDS if server else CLIENT_WORDS
    response = bytes(document.response)
    return StatusChange(
        server=server,
        from_status=words[document.from_status],
        to_status=words[document.to_status],
        at=_milliseconds(document.created_at),
        response=None if response == b"null" else response,
    )


def _bytes(text: str) -> bytes:
    """An id's 16 bytes."""
    return bytes.fromhex(text.replace("-", ""))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _milliseconds(at: datetime) -> int:
    """A time as whole milliseconds since the epoch, without a detour over floating point."""
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1000 + since.microseconds // 1000


# --- errors ----------------------------------------------------------------------------------------------------------

_BY_STATUS: dict[int, tuple[type[Rejected], Reason]] = {
    400: (InvalidParameters, Reason.INVALID_PARAMETERS),
    404: (NotFound, Reason.NOT_FOUND),
    405: (NotFound, Reason.NOT_FOUND),
    409: (InvalidStatus, Reason.INVALID_SERVER_STATUS),
    413: (LimitExceeded, Reason.LIMIT_EXCEEDED),
    422: (KeyReused, Reason.KEY_REUSED),
}
_NO_ROUTE = (404, 405)
_UNAUTHORIZED = 401
_UNAVAILABLE = 503


class IncompatibleGatewayError(Unavailable):
    """No gateway of Backbeat, or one of an incompatible version: a retry does not help."""


def refusal(status: int, text: bytes, operation: str, *, is_record: bool = False) -> BackbeatError:
    """An error response as the exception that a client of Kafka would get; `is_record`: it answers a record."""
    try:
        error = _errors.decode(text)
    except msgspec.DecodeError:
        error = _Error(message=text.decode(errors="replace")[:_TEXT_CHARACTERS_MAX])
    if error.rejection is not None:
        rejection = error.rejection
        try:
            reason = Reason(rejection.reason)
        except ValueError:
            return Rejected(rejection.reason, rejection.message, rejection.found, rejection.wanted)
        return rejected(Rejection(reason, rejection.message, rejection.found, rejection.wanted))
    if status == _UNAUTHORIZED:
        return Unauthorized(
            "unauthorized",
            f"{operation}: the gateway does not know this client, or wants its token: "
            "Client(…, client=<its id or name>, token=…)",
            "unauthorized",
            "a client that is known, with its token",
        )
    if is_record and status in _NO_ROUTE:
        return IncompatibleGatewayError(
            f"{operation}: the gateway takes no records ({status}): its version is older than this client's. What to "
            "do: upgrade engines and gateways before their clients"
        )
    if error.error_class == "Backbeat::WorkflowComplete":
        return WorkflowComplete(Reason.WORKFLOW_COMPLETE, error.message)
    if status in _BY_STATUS:
        kind, reason = _BY_STATUS[status]
        return kind(reason, error.message)
    if status == _UNAVAILABLE and error.error_class == "Backbeat::Timeout":
        return Timeout(error.message)
    return Unavailable(f"{operation}: the gateway answers {status}: {error.message}")
