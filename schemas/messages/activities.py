"""What a worker or deliverer receives."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.messages.views import NodeView


class ActivityKind(enum.StrEnum):
    """What is to be done with a node that was sent."""

    ACTIVITY = "activity"
    DECISION = "decision"  #: a node of the type `decision`
    NOTIFICATION = "notification"  #: an error to be told of; nothing is to be answered


class ActivityRecord(msgspec.Struct, frozen=True):
    """What a worker or deliverer receives. Repeats are known by (node id, attempt, kind)."""

    node: NodeView
    kind: ActivityKind
    notification_name: str | None = None  #: the name of the node
    message: str | None = None  #: "Client Error" or "Server Error"
    error: bytes | None = None  #: JSON object


_ERROR = msgspec.json.Decoder(dict[str, msgspec.Raw])


def error_of(response: bytes | None) -> bytes:
    """A response's error as a JSON object: an object as it is, a text as its message, anything else or none `{}`."""
    if response is None:
        return b"{}"
    try:
        error = bytes(_ERROR.decode(response).get("error", b"null"))
    except msgspec.MsgspecError:
        return b"{}"
    if error.startswith(b"{"):
        return error
    if error.startswith(b'"'):
        return b'{"message":' + error + b"}"
    return b"{}"
