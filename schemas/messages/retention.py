"""How long finished workflows are kept, and those that wait to be archived."""

from __future__ import annotations

import msgspec


class RetentionPolicy(msgspec.Struct, gc=False, array_like=True, frozen=True, kw_only=True):
    """How long the finished workflows of one client and name are kept."""

    version: int = 1
    owner_id: bytes  #: the client whose workflows they are
    name: str  #: theirs
    keep_seconds: float  #: from the last thing that happened in a finished workflow to its removal
    archive: bool = True  #: whether an archive of it must have been written before
    refuse_seconds: float = 604_800.0  #: how long the ids of its signals are refused afterwards


class RetentionPolicies(
    msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="retention_policies"
):
    """The policies of a partition."""

    policies: tuple[RetentionPolicy, ...]


class DueWorkflow(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A workflow that waits to be archived."""

    workflow_id: bytes
    owner_id: bytes
    name: str
    due_at: int  #: since when, in milliseconds since the epoch
    revision: int  #: what `RemoveWorkflow` names: another one as soon as something happens to the workflow


class DueWorkflows(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="due_workflows"):
    """Some of the workflows that wait to be archived."""

    workflows: tuple[DueWorkflow, ...]
