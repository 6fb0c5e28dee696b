"""JSON of a gateway (searches, users, refusals, archives) as the core's own values and as exceptions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

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
from backbeat.payload.nouns import milliseconds_of, record_fields
from backbeat.schemas.messages import history
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import CLIENT_WORDS, SERVER_WORDS
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.schemas.requests.decoding import from_json
from backbeat.transport.busy import BusyError
from backbeat.transport.http_nouns import Error, StatusChange, User, WholeNode, Workflow

T = TypeVar("T")

_TEXT_CHARACTERS_MAX = 300

_errors = msgspec.json.Decoder(Error)


def read_workflow(text: bytes) -> WorkflowView:
    """A workflow."""
    return _decode(text, Workflow, _workflow)


def read_workflows(text: bytes) -> list[WorkflowView]:
    """A list of workflows."""
    return _decode(text, list[Workflow], lambda nouns: [_workflow(noun) for noun in nouns])


def read_node(text: bytes) -> NodeView:
    """A node with all fields."""
    return _decode(text, WholeNode, _node)


def read_nodes(text: bytes) -> list[NodeView]:
    """Nodes with all fields."""
    return _decode(text, list[WholeNode], lambda nouns: [_node(noun) for noun in nouns])


def read_history(text: bytes) -> tuple[history.StatusChange, ...]:
    """The status changes of a node."""
    return _decode(text, list[StatusChange], lambda nouns: tuple(map(_change, nouns)))


def read_users(text: bytes) -> dict[str, bytes]:
    """The ids of users by their names."""
    return _decode(text, list[User], lambda nouns: {user.name: uuid.UUID(user.id).bytes for user in nouns})


def read_value(text: bytes) -> Any:
    """Any JSON value."""
    return _decode(text, Any, lambda value: value)


def _decode(text: bytes, kind: Any, convert: Callable[[Any], T]) -> T:
    """A gateway's JSON of this kind, converted. Unavailable: it does not fit, or has words that are not known here."""
    try:
        return convert(from_json(text, kind))
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise Unavailable(
            f"It is no JSON of a gateway of Backbeat, or one of another version wrote it: {error}"
        ) from error


def _workflow(noun: Workflow) -> WorkflowView:
    return WorkflowView(**record_fields(noun))


def _node(noun: WholeNode) -> NodeView:
    return NodeView(**record_fields(noun))


def _change(noun: StatusChange) -> history.StatusChange:
    server = noun.status_type == "current_server_status"
    words = SERVER_WORDS if server else CLIENT_WORDS
    response = bytes(noun.response)
    return history.StatusChange(
        server=server,
        from_status=words[noun.from_status],
        to_status=words[noun.to_status],
        at=milliseconds_of(noun.created_at),
        response=None if response == b"null" else response,
    )


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
_FORBIDDEN = 403
_UNAVAILABLE = 503
_TOO_MANY = 429


class IncompatibleGatewayError(Unavailable):
    """No gateway of Backbeat, or one of an incompatible version: a retry does not help."""


def refusal(
    status: int, text: bytes, operation: str, *, is_record: bool = False, retry_after: str = ""
) -> BackbeatError:
    """An error response as the exception that a client of Kafka would get; `is_record`: it answers a record.

    `retry_after`: its header of this name; a date in it counts as none.
    """
    try:
        error = _errors.decode(text)
    except msgspec.DecodeError:
        error = Error(message=text.decode(errors="replace")[:_TEXT_CHARACTERS_MAX])
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
            f"{operation}: the gateway does not know this client or person, or wants another token: "
            "Client(…, client=<its id or name>, token=…), of a person Client(…, person=<name>, token=…)",
            "unauthorized",
            "a client or person that is known, with the token of it",
        )
    if status == _FORBIDDEN:
        return Unauthorized("forbidden", f"{operation}: {error.message}", "a person without the right", "one with it")
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
    message = f"{operation}: the gateway answers {status}: {error.message}"
    if status == _TOO_MANY:
        return BusyError(message, float(retry_after) if retry_after.isdecimal() else 0.0)
    return Unavailable(message)


def as_uuid(text: str) -> bytes | None:
    """The bytes of a UUID; None for another text."""
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None
