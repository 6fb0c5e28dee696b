"""Status changes, as the history topic has them and as a node's history is answered."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.status import ClientStatus, ServerStatus


class StatusChange(msgspec.Struct, gc=False, frozen=True):
    """One entry of a node's history."""

    server: bool  #: whether it is of the server status, else of the client status
    from_status: ClientStatus | ServerStatus
    to_status: ClientStatus | ServerStatus
    at: int  #: milliseconds since the epoch
    response: bytes | None  #: JSON text as the client gave it; null: none was given

    @property
    def status_type(self) -> str:
        """The field's name at every edge."""
        return "current_server_status" if self.server else "current_client_status"


class NodeChange(msgspec.Struct, gc=False, frozen=True):
    """One status change of one node."""

    node_id: bytes
    change: StatusChange


class StatusChangesRecord(msgspec.Struct, frozen=True):
    """Every status change that one command made in one workflow."""

    workflow_id: bytes
    tid: str
    changes: tuple[NodeChange, ...]  #: oldest first
