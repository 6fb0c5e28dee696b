"""Activities, for workers and webhook deliverers."""

from __future__ import annotations

import enum

import msgspec

from backbeat.schemas.marks import Id
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX
from backbeat.schemas.messages.json_text import JsonTextError, parse
from backbeat.schemas.messages.views import NodeView


class ActivityKind(enum.StrEnum):
    """Kind of an activity record."""

    ACTIVITY = "activity"  #: a node to run
    DECISION = "decision"  #: a node of the type `decision` to run
    NOTIFICATION = "notification"  #: an error to be told of; nothing is to be answered


class TakenResult(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A result that a node takes. Those of one place are in the order of the nodes that they are of."""

    slot: int  #: place in the node's `takes`, from 0
    node_id: Id  #: the node whose result it is
    #: JSON text in UTF-8: the response that it was completed with; null: it had none, or was resolved without
    response: bytes | None
    is_default: bool = False  #: whether `response` is the taker's own default: the value itself, of the whole place
    #: of a node that has failed, which its parent allows (`failures_allowed`): how many results of this place come
    #: before it, from where they are read; `response` has its error's message. Null: it has not failed
    failure_index: int | None = None


class TakenCount(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """Count of the results of one place in a node's `takes`."""

    count: int  #: the results, failures included
    failures: int = 0  #: of those, the ones that are failures


class ActivityRecord(msgspec.Struct, frozen=True):
    """A record of `backbeat.activities.<client>`, for a worker or webhook deliverer."""

    node: NodeView  #: the node, already as sent to the client. Repeats are known by its id, its attempt and the kind
    kind: ActivityKind  #: what is to be done with it
    notification_name: str | None = None  #: of a notification: the node's name; null otherwise
    message: str | None = None  #: of a notification: "Client Error" or "Server Error"; null otherwise
    error: bytes | None = None  #: of a notification: the error as a JSON object in UTF-8; null otherwise
    takes: int = 0  #: how many slots its `takes` has: its client data refers to them
    results: tuple[TakenResult, ...] = ()  #: results that it takes, by slots
    #: whether `results` are only the first ones: the others did not fit, and GetResults has them
    has_more_results: bool = False
    #: where there are more: how many there are in all, by slots; else empty
    counts: tuple[TakenCount, ...] = ()


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


def error_text(response: bytes | None) -> str:
    """The message of an error response; its JSON text where it has none; empty without a response."""
    if response is None:
        return ""
    try:
        error = parse(response, JSON_DEPTH_MAX)
    except JsonTextError:
        return response.decode(errors="replace")
    if isinstance(error, dict):
        error = error.get("error", error)
    if isinstance(error, dict):
        error = error.get("message", error)
    if error is None:
        return ""
    return error if isinstance(error, str) else msgspec.json.encode(error).decode()
