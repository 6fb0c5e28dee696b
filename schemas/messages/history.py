"""Status changes, as the history topic has them and as a node's history is answered."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec

from backbeat.schemas.marks import Id, Merged, Time, Words
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.values import Progress

AnyStatus: TypeAlias = Annotated[
    ClientStatus | ServerStatus,
    Merged("Status", "server", "Any status, of the client or of the server: StatusType beside it says which."),
]


class StatusChange(msgspec.Struct, gc=False, frozen=True):
    """An entry of a node's history."""

    #: which of the two statuses changed
    server: Annotated[
        bool,
        Words(
            "StatusType",
            ("current_client_status", "current_server_status"),
            "status_type",
            "Which of a node's two statuses changed.",
        ),
    ]
    from_status: AnyStatus  #: the status before
    to_status: AnyStatus  #: the status after
    at: Time  #: when, in milliseconds since the epoch
    response: bytes | None  #: JSON text in UTF-8 that the client gave with it; null: none was given

    @property
    def status_type(self) -> str:
        """The field's name at every edge."""
        return "current_server_status" if self.server else "current_client_status"


class NodeChange(msgspec.Struct, gc=False, frozen=True):
    """A status change of a node."""

    node_id: Id  #: the node
    change: StatusChange  #: what changed


class NodeProgress(msgspec.Struct, gc=False, frozen=True):
    """Progress of a node's running attempt."""

    node_id: Id  #: the node
    at: Time  #: when it was said, in milliseconds since the epoch
    progress: Progress  #: how far it is


class StatusChangesRecord(msgspec.Struct, frozen=True):
    """Every status change that one command made in one workflow, on `backbeat.history`."""

    workflow_id: Id  #: the workflow
    tid: str  #: transaction id of the command; empty: none
    changes: tuple[NodeChange, ...]  #: the changes, oldest first
    progress: tuple[NodeProgress, ...] = ()  #: what workers said of how far they are
