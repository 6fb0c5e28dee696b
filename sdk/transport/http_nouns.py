"""Nouns of the HTTP API in the words that old clients know (docs/reference/behaviour.md): JSON from records and back.

The gateway writes them, and describes them; a client reads them from searches, and an archive is made of them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, field

from backbeat.payload.nouns import (
    ClientWord,
    Conversion,
    Id,
    JsonObject,
    JsonText,
    ModeWord,
    ServerWord,
    Source,
    Subject,
    Time,
    one_of,
)
from backbeat.schemas.messages.history import NodeChange
from backbeat.schemas.messages.status import word

_Flag = Annotated[bool, Conversion(bool, bool, bool)]


class Workflow(msgspec.Struct, rename="camel", gc=False):
    """All that is done for one subject."""

    id: Id
    name: str
    subject: Subject
    decider: str
    user_id: Id
    created_at: Time
    updated_at: Time
    complete: Annotated[bool, Meta(description="whether it takes no more signals")]
    paused: Annotated[_Flag, Meta(description="whether nothing in it starts")]


class Node(msgspec.Struct, rename="camel", gc=False):
    """One unit of work in a workflow's tree: a signal, an activity or a decision."""

    id: Id
    mode: ModeWord
    name: str
    workflow_id: Id
    parent_id: Id | None
    user_id: Annotated[Id, Meta(description="the user that runs it")]
    client_data: Annotated[JsonObject, Meta(description="as it was given")]
    metadata: Annotated[JsonText, Meta(description="as it was given")]
    subject: Subject
    decider: str
    workflow_name: str
    server: ServerWord = field(name="currentServerStatus")
    client: ClientWord = field(name="currentClientStatus")
    created_at: Time


class WholeNode(Node, rename="camel", gc=False):
    """A node with all its fields: only for callers that ask for them."""

    type: str
    fires_at: Time
    attempt: int
    complete_by: Time | None
    retries_remaining: int
    retry_interval_seconds: float = field(name="retryInterval")
    parent_link_id: Id | None
    depth: int
    seq: int
    tid: str
    priority: int
    fairness_key: str
    waits_for_slot: bool
    granted_at: Time | None


#: Response of a status change without one.
NO_RESPONSE = msgspec.Raw(b"{}")


def _from_status(entry: NodeChange) -> str:
    return word(entry.change.from_status)


def _to_status(entry: NodeChange) -> str:
    return word(entry.change.to_status)


def _response(entry: NodeChange) -> msgspec.Raw:
    return NO_RESPONSE if entry.change.response is None else msgspec.Raw(entry.change.response)


class StatusChange(msgspec.Struct, rename="camel", gc=False):
    """One entry of a node's history."""

    node_id: Id
    from_status: Annotated[str, Source(_from_status)]
    to_status: Annotated[str, Source(_to_status)]
    status_type: Annotated[
        str, one_of(("current_server_status", "current_client_status")), Source("change.status_type")
    ]
    response: Annotated[msgspec.Raw, Meta(description="what the client said with it; {} without"), Source(_response)]
    created_at: Annotated[Time, Source("change.at")]


class Rejection(msgspec.Struct, gc=False):
    """The engine's own words; of records, and with `X-backbeat-whole: 1`."""

    reason: str
    message: str
    found: str
    wanted: str


class Error(msgspec.Struct, rename="camel", omit_defaults=True):
    """A call that was refused, or failed."""

    error_class: str = ""
    message: str = ""
    current_status: Annotated[
        str, Meta(description="the client status that the node has; of a refused change of it alone")
    ] = ""
    attempted_status: Annotated[str, Meta(description="the client status that it cannot change to")] = ""
    rejection: Rejection | None = None


class User(msgspec.Struct, gc=False):
    """A client application."""

    id: Id
    name: str
