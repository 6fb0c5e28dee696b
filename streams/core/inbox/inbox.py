"""Messages to a workflow: kept by name until a node waits for one, each given to one node.

A node that waits stands in the line of its workflow and name, from its start until its status changes. A message is
kept first, and given by a task: nodes of the line that a cancel has marked are passed, slice by slice. So a line and a
message of the same name are both there only between the slices of such a task.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from backbeat.schemas.messages.commands import SendMessage
from backbeat.schemas.messages.replies import Done, Reason
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.checks import check_json, check_size, check_text
from backbeat.streams.core.idempotency import store_reply
from backbeat.streams.core.inbox.records import Inbox, Line, Message
from backbeat.streams.core.records import Awaiting, Node
from backbeat.streams.core.step import Step, refuse, require_own_workflow
from backbeat.streams.core.tables import INBOXES, LINES, MESSAGES, STORED_REPLIES
from backbeat.streams.core.tree import progress
from backbeat.streams.core.tree.failures import client_error

#: Messages that a workflow keeps, at most, and bytes of their names and payloads together.
MESSAGES_MAX = 1_000
BYTES_MAX = 1_048_576


def send_message(step: Step, command: SendMessage) -> None:
    """Keep a message, and give it to the oldest node that waits for one of its name."""
    identity = command.workflow_id
    workflow = require_own_workflow(step.enter(identity), identity, command.user_id)
    # One without a caller's key is known by its id alone: it makes no node that would tell.
    if command.body_hash is None and step.transaction.get(STORED_REPLIES, command.id) is not None:
        step.ignore("a repeat: the message was taken")
        step.reply(Done(changed=False))
        return
    if workflow.complete:
        message = "The workflow is complete and takes no more messages"
        raise refuse(Reason.WORKFLOW_COMPLETE, message, found="complete", wanted="a workflow that is not complete")
    check_text("message's name", command.name, step.settings.name_bytes_max)
    check_size("message", command.payload, step.settings.payload_bytes_max)
    check_json(step, "message", command.payload)
    number = _keep(step, command)
    step.tasks.append(Task(TaskKind.DELIVER_MESSAGE, identity, None, number))
    if command.body_hash is None:
        store_reply(step.transaction, command.id, b"", Done(), step.now)
    step.reply(Done())


def _keep(step: Step, command: SendMessage) -> int:
    """Keep a message at the end of its workflow's. Its number. Refused: there are too many."""
    transaction, workflow_id = step.transaction, command.workflow_id
    inbox = transaction.get(INBOXES, workflow_id) or Inbox()
    count, size = len(inbox.kept), inbox.size_bytes + _size(command.name, command.payload)
    if count >= MESSAGES_MAX or size > BYTES_MAX:
        number_text = f"{count:,} messages ({inbox.size_bytes:,} bytes)"
        message = (
            f"The workflow keeps {number_text} that no node has waited for yet; {MESSAGES_MAX:,} messages and "
            f"{BYTES_MAX:,} bytes are the most. Send it again once nodes have taken some, or signal the workflow"
        )
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=number_text, wanted=f"at most {MESSAGES_MAX:,} messages")
    number = inbox.kept[-1][0] + 1 if inbox.kept else 1
    transaction.put(INBOXES, workflow_id, Inbox((*inbox.kept, (number, command.name)), size))
    transaction.put(MESSAGES, (workflow_id, number), Message(command.name, command.payload))
    return number


def deliver(step: Step, task: Task) -> None:
    """Give kept messages of one name to the nodes that wait for them, both from the oldest on."""
    transaction, workflow_id = step.transaction, step.workflow.id
    message = transaction.get(MESSAGES, (workflow_id, task.mark))
    if message is None:
        return
    name = message.name
    while (line := transaction.get(LINES, (workflow_id, name))) is not None:
        number = _oldest(step, name)
        if number is None or not step.may_go_on(task):
            return
        node = step.node(line.first)
        if node.awaits is not None and node.awaits.in_line:
            progress.complete(step, node, _take(step, number))


def await_message(step: Step, node: Node) -> None:
    """Give a node that starts to wait the oldest message of its name, or put it at the end of their line."""
    awaits = node.awaits
    assert awaits is not None, "a node that waits for no message"
    transaction, key = step.transaction, (node.workflow_id, node.name)
    line = transaction.edit(LINES, key)
    if line is not None:
        _chain(step, line.last, after=node.id)
        node.awaits = Awaiting(awaits.default, in_line=True, before=line.last)
        line.last = node.id
        return
    number = _oldest(step, node.name)
    if number is not None:
        progress.complete(step, node, _take(step, number))
        return
    node.awaits = Awaiting(awaits.default, in_line=True)
    transaction.put(LINES, key, Line(node.id, node.id))


def no_message(step: Step, node: Node) -> None:
    """Complete a node with its default, or fail it: no message has come in time. Such a node has no retries."""
    awaits = node.awaits
    assert awaits is not None, "a node that waits for no message"
    if awaits.default is not None:
        progress.complete(step, node, awaits.default)
        return
    message = f"No message {node.name!r} was sent to its workflow in time"
    client_error(step, node, msgspec.json.encode({"error": {"message": message}}))


def leave(step: Step, node: Node, _: ServerStatus) -> None:
    """Take a node that waits no longer out of its line."""
    awaits = node.awaits
    if awaits is None or not awaits.in_line:
        return
    key = (node.workflow_id, node.name)
    line = step.transaction.edit(LINES, key)
    assert line is not None, "a node in a line that is not there"
    if awaits.before is not None:
        _chain(step, awaits.before, after=awaits.after)
    elif awaits.after is not None:
        line.first = awaits.after
    else:
        step.transaction.delete(LINES, key)
    if awaits.after is not None:
        _chain(step, awaits.after, before=awaits.before)
    elif awaits.before is not None:
        line.last = awaits.before
    node.awaits = Awaiting(awaits.default)


def _chain(step: Step, node_id: bytes, **ends: bytes | None) -> None:
    """Change what is before or after a node of a line."""
    node = step.get_node(node_id)
    assert node is not None, "a line with a hole"
    assert node.awaits is not None, "a line with a node that does not wait"
    node.awaits = replace(node.awaits, **ends)


def _oldest(step: Step, name: str) -> int | None:
    """The number of the oldest kept message of a name; null: there is none."""
    inbox = step.transaction.get(INBOXES, step.workflow.id)
    if inbox is not None:
        for number, kept_name in inbox.kept:
            if kept_name == name:
                return number
    return None


def _take(step: Step, number: int) -> bytes:
    """Take a kept message out. Its payload."""
    transaction, workflow_id = step.transaction, step.workflow.id
    inbox, message = transaction.get(INBOXES, workflow_id), transaction.get(MESSAGES, (workflow_id, number))
    assert inbox is not None, "a message without its inbox"
    assert message is not None, "a message that is not stored"
    transaction.delete(MESSAGES, (workflow_id, number))
    kept = [entry for entry in inbox.kept if entry[0] != number]
    if kept:
        size = inbox.size_bytes - _size(message.name, message.payload)
        transaction.put(INBOXES, workflow_id, Inbox(tuple(kept), size))
    else:
        transaction.delete(INBOXES, workflow_id)
    return message.payload


def _size(name: str, payload: bytes) -> int:
    return len(name.encode()) + len(payload)
