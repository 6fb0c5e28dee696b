"""Effects of a command: the sends that follow from it, as data, in order.

Their ids follow from the command: a replay sends the same ones, and receivers drop repeats by (node, attempt, kind).
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord, TakenCount, TakenResult
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.history import NodeChange, NodeProgress, StatusChangesRecord
from backbeat.schemas.messages.replies import Answer, Rejection
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.tree import status

#: Bytes of responses in a record of the history topic, of which Kafka takes twice as much; a larger one is alone.
_RESPONSES_BYTES_MAX = 1024 * 1024

# As `tree.status`.
_ACTIVITY, _DECISION = ActivityKind.ACTIVITY, ActivityKind.DECISION


class Reply(msgspec.Struct, gc=False, frozen=True):
    """The answer to a command with a return address."""

    to: ReplyTo
    answer: Answer
    tid: str


class DeadLetter(msgspec.Struct, gc=False, frozen=True):
    """A dead letter with the reason: the refused command has no return address."""

    rejection: Rejection


class Ignored(msgspec.Struct, gc=False, frozen=True):
    """No change: a repeat, or a result that came too late."""

    why: str


class FiredEarly(msgspec.Struct, gc=False, frozen=True):
    """A timer's command came too early: the broker's time was estimated wrongly. The timer is set again."""

    due: int  #: milliseconds since the epoch


class Dispatch(msgspec.Struct, gc=False, frozen=True):
    """An activity for the workers of the node's client."""

    node: NodeView
    elsewhere: bool = False  #: a worker has handed it back: each attempt goes to a partition of its own
    takes: int = 0
    results: tuple[TakenResult, ...] = ()
    counts: tuple[TakenCount, ...] = ()  #: of all results, where there are more; else empty

    @property
    def key(self) -> bytes:
        """Key of the record: it gives the partition, and so the worker."""
        return self.node.id + self.node.attempt.to_bytes(8, "big") if self.elsewhere else self.node.id

    def record(self) -> ActivityRecord:
        """The record for the activities topic."""
        kind = _DECISION if self.node.type == "decision" else _ACTIVITY
        if not self.takes:
            return ActivityRecord(self.node, kind)
        return ActivityRecord(
            self.node,
            kind,
            takes=self.takes,
            results=self.results,
            has_more_results=bool(self.counts),
            counts=self.counts,
        )


class Notify(msgspec.Struct, gc=False, frozen=True):
    """An error told to a node's client. `name`: the node's; `message`: "Client Error" or "Server Error"."""

    node: NodeView
    name: str
    message: str
    error: bytes  #: JSON object

    @property
    def key(self) -> bytes:
        """Key of the record."""
        return self.node.id

    def record(self) -> ActivityRecord:
        """The record for the activities topic."""
        return ActivityRecord(self.node, ActivityKind.NOTIFICATION, self.name, self.message, self.error)


class Send(msgspec.Struct, gc=False, frozen=True):
    """A command to the partition of its route, marked with this record as its source and this effect's index."""

    command: AnyCommand


class Broadcast(msgspec.Struct, gc=False, frozen=True):
    """A command to every partition, marked as by `Send`."""

    command: AnyCommand


class StatusChanged(msgspec.Struct, gc=False, frozen=True):
    """All status changes of the command, oldest first, and progress that it tells of, for the history topic."""

    workflow_id: bytes
    changes: tuple[NodeChange, ...]
    progress: tuple[NodeProgress, ...] = ()

    def records(self, tid: str) -> list[StatusChangesRecord]:
        """Records for the history topic, oldest first; `tid`: the command's transaction id.

        More than one where many nodes have the same large response, as those have that return a child's: Kafka would
        take no record of all of it, and an engine whose record is refused ends.
        """
        records: list[StatusChangesRecord] = []
        begin = size = 0
        for number, node_change in enumerate(self.changes):
            response = node_change.change.response
            if response is None:
                continue
            size += len(response)
            if size > _RESPONSES_BYTES_MAX and number > begin:
                records.append(StatusChangesRecord(self.workflow_id, tid, self.changes[begin:number]))
                begin, size = number, len(response)
        records.append(StatusChangesRecord(self.workflow_id, tid, self.changes[begin:], self.progress))
        return records


Effect = Reply | DeadLetter | Ignored | FiredEarly | Dispatch | Notify | Send | Broadcast | StatusChanged


def workflow_view(workflow: Workflow) -> WorkflowView:
    """The public view of a workflow."""
    return WorkflowView(
        id=workflow.id,
        user_id=workflow.user_id,
        name=workflow.name,
        subject=workflow.subject,
        decider=workflow.decider,
        created_at=workflow.created_at,
        updated_at=workflow.updated_at,
        complete=workflow.complete,
        paused=workflow.paused,
    )


def node_view(node: Node, workflow: Workflow) -> NodeView:
    """The public view of a node."""
    # By position, in the order of the fields: a struct looks for each keyword among all of them.
    return NodeView(
        node.id,
        node.workflow_id,
        node.parent_id,
        node.user_id,
        node.name,
        node.mode,
        node.type,
        node.client_data,
        node.metadata,
        workflow.subject,
        workflow.decider,
        workflow.name,
        node.server,
        node.client,
        node.created_at,
        node.fires_at,
        node.attempt,
        node.complete_by,
        node.retries_remaining,
        node.retry_interval_seconds,
        node.parent_link_id,
        node.depth,
        node.seq,
        node.tid,
        node.priority,
        node.fairness_key,
        node.slot is not None and node.server is status.STARTED,
        node.granted_at,
        (),
        node.progress if node.server is status.SENT_TO_CLIENT else None,
        node.follow_ups is not None and node.follow_ups.given_up,
    )
