"""Retention of finished workflows, and those that wait to be archived."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from backbeat.schemas.marks import Id, Long, Mark, Time


class RetentionPolicy(msgspec.Struct, gc=False, array_like=True, frozen=True, kw_only=True):
    """Time that the finished workflows of one client and name are kept."""

    version: Annotated[int, Mark.STORED] = 1
    owner_id: Id  #: the client whose workflows they are
    name: str  #: their name
    keep_seconds: float  #: from the last thing that happened in a finished workflow to its removal; 1 or more
    archive: bool = True  #: whether it waits for an archive of it to be written
    #: how long the ids of its signals are refused afterwards, so that a late repeat makes nothing; 1 or more
    refuse_seconds: float = 604_800.0


class RetentionPolicies(
    msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="retention_policies"
):
    """The policies of a partition."""

    REPLY: ClassVar[str] = "RetentionReply"

    policies: tuple[RetentionPolicy, ...]  #: all of them; any other workflow is kept for ever


class DueWorkflow(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A workflow that waits to be archived."""

    workflow_id: Id  #: its id
    owner_id: Id  #: the client whose it is
    name: str  #: its name
    due_at: Time  #: since when it waits, in milliseconds since the epoch
    revision: Long  #: what RemoveWorkflow names: another one as soon as something happens to the workflow


class DueWorkflows(msgspec.Struct, gc=False, frozen=True, array_like=True, tag_field="kind", tag="due_workflows"):
    """Workflows that wait to be archived, the oldest first."""

    REPLY: ClassVar[str] = "DueReply"

    workflows: tuple[DueWorkflow, ...]  #: where more wait, the next ones come behind the last of these
