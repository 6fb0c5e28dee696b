"""Workflows and nodes as the outside sees them."""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.status import ClientStatus, Mode, ServerStatus
from backbeat.schemas.messages.values import PRIORITY_DEFAULT


class WorkflowView(
    msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="workflow"
):
    """A workflow as the outside sees it."""

    id: bytes
    user_id: bytes
    name: str
    subject: bytes
    decider: str
    created_at: int
    updated_at: int
    complete: bool
    paused: bool | None


class NodeView(msgspec.Struct, gc=False, frozen=True, kw_only=True, array_like=True, tag_field="kind", tag="node"):
    """A node as the outside sees it, with what it needs of its workflow."""

    id: bytes
    workflow_id: bytes
    parent_id: bytes | None
    user_id: bytes
    name: str
    mode: Mode
    type: str
    client_data: bytes
    metadata: bytes
    subject: bytes
    decider: str
    workflow_name: str
    server: ServerStatus
    client: ClientStatus
    created_at: int
    fires_at: int
    attempt: int
    complete_by: int | None
    retries_remaining: int
    retry_interval_seconds: float
    parent_link_id: bytes | None
    depth: int
    seq: int
    tid: str
    priority: int = PRIORITY_DEFAULT
    fairness_key: str = ""
    waits_for_slot: bool = False  #: started, and its activity type's limit leaves no room yet
    granted_at: int | None = None  #: when this attempt was given its slot; null: it has none
