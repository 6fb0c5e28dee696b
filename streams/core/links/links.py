"""Links: a node that can't complete before another one, in any workflow (behaviour document, section 1).

Both ends send commands through the log. The target has a record for each link, so a repeated command, or an OpenLink
after its CloseLink, changes nothing. A signal's link is opened first, at its target, which then sends the signal on.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import CloseLink, OpenLink, Signal
from backbeat.schemas.messages.ids import PREFIX_BYTES, node_id
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import CLOSED, ServerStatus
from backbeat.schemas.messages.values import Task, TaskKind
from backbeat.streams.core.checks import check_node, check_workflow
from backbeat.streams.core.effects import Send
from backbeat.streams.core.gone import was_removed
from backbeat.streams.core.links import cycles
from backbeat.streams.core.links.records import Link
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import LINKS
from backbeat.streams.core.tree import status
from backbeat.streams.core.tree.create import add_signal
from backbeat.streams.core.tree.progress import schedule_later
from backbeat.streams.core.tree.results import fail_node


def open_first(step: Step, command: Signal, child_id: bytes, _: Node | None) -> bool:
    """Send a signal with a link to its target first, which opens the link and sends the signal on. True: it is sent."""
    target_id = command.node.parent_link_id
    if target_id is None or command.link_open:
        return False
    # One that is too large is refused here: wrapped in the other command it would be larger still.
    if command.workflow is not None:
        check_workflow(step, command.workflow)
    check_node(step, command.node)
    link = OpenLink(
        id=command.id,
        tid=command.tid,
        reply_to=command.reply_to,
        target_id=target_id,
        child_id=child_id,
        signal=command,
    )
    step.effects.append(Send(link))
    return True


def open_link(step: Step, command: OpenLink) -> None:
    """Open a link, or go on along the way of a signal whose link is open."""
    if not command.waits:
        _open(step, command)
    elif command.signal is not None and command.waits_at == len(command.waits):
        add_signal(step, command.signal)
    else:
        cycles.follow_wait(step, command)


def _open(step: Step, command: OpenLink) -> None:
    """Open a link: the target waits for the child. A signal in the command is sent on to its workflow."""
    target = step.enter_node(command.target_id)
    if target is None or target.server in CLOSED:
        is_known = target is not None or was_removed(step, command.target_id)
        target_text = "a node that is closed" if is_known else "no such node"
        if command.strict or (not is_known and command.signal is not None):
            message = f"parent_link_id {command.target_id.hex()} names {target_text}"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=target_text, wanted="a node that is still running")
        step.ignore(f"a link to {target_text}: nothing waits")
    elif _link(step, target.id, command.child_id) is None:
        if command.signal is not None:
            cycles.store_wait(step, target, command.signal)
        _put(step, target, command.child_id, is_open=True)
    if command.signal is not None:
        signal = msgspec.structs.replace(command.signal, link_open=True)
        if target is None or target.server in CLOSED:
            # No target waits for it: so it closes no cycle.
            signal = msgspec.structs.replace(signal, node=msgspec.structs.replace(signal.node, parent_link_id=None))
        step.effects.append(Send(signal))


def close_link(step: Step, command: CloseLink) -> None:
    """Close a link: the target waits for the child no longer."""
    target = step.enter_node(command.target_id)
    if target is None and any(takes_link(step, command) for takes_link in step.hooks.link_targets):
        return
    if target is None or target.server in CLOSED:
        step.ignore("the closing of a link whose target is over")
        return
    link = _link(step, target.id, command.child_id)
    if link is None:
        _put(step, target, command.child_id, is_open=False)
        return
    if not link.open:
        step.ignore("the closing of a link that is closed")
        return
    step.transaction.put(LINKS, (target.id, link.child), Link(link.child, False, link.next))
    target.links_open -= 1
    schedule_later(step, target)


def open_of_child(step: Step, child: Node) -> None:
    """Open a new child's link: at once to a target of its own workflow, by a command to another one."""
    target_id = child.parent_link_id
    if target_id is None or child.parent_id is None or child.server is status.DEACTIVATED:
        return
    if target_id[:PREFIX_BYTES] == child.id[:PREFIX_BYTES]:
        target = step.get_node(target_id)
        if target is not None and target.workflow_id == child.workflow_id:
            if step.node(target_id).server not in CLOSED:
                _put(step, target, child.id, is_open=True)
            return
    command = step.command
    step.effects.append(Send(OpenLink(id=command.id, tid=command.tid, target_id=target_id, child_id=child.id)))


def _put(step: Step, target: Node, child_id: bytes, *, is_open: bool) -> None:
    step.transaction.put(LINKS, (target.id, child_id), Link(child_id, is_open, target.links_first))
    target.links_first = child_id
    target.links_open += is_open


def _link(step: Step, target_id: bytes, child_id: bytes) -> Link | None:
    return step.transaction.get(LINKS, (target_id, child_id))


# --- the end of a node -----------------------------------------------------------------------------------------------


def close_links(step: Step, node: Node, before: ServerStatus) -> None:
    """Close the links of a closed node, in both directions. A closed node never opens."""
    if before in CLOSED:
        return
    if node.parent_link_id is not None:
        step.close_link(node.parent_link_id, node.id)
    if node.links_first is not None:
        step.tasks.append(Task(TaskKind.FORGET_LINKS, node.id, node.links_first))
        node.links_first = None
    node.links_open = 0


def forget(step: Step, task: Task) -> None:
    """Delete the link records of a closed target."""
    cursor = task.cursor
    while cursor is not None:
        if not step.may_go_on(task, cursor):
            return
        link = _link(step, task.id, cursor)
        assert link is not None, "a chain of links with a hole"
        step.transaction.delete(LINKS, (task.id, cursor))
        cursor = link.next


def on_refused(step: Step, rejection: Rejection) -> None:
    """A signal with a link is refused: its target waits for it no longer, or the worker's node is told."""
    command = step.command
    signal = command.signal if isinstance(command, OpenLink) and command.waits else command
    if isinstance(signal, Signal) and signal.link_open and signal.node.parent_link_id is not None:
        step.close_link(signal.node.parent_link_id, node_id(signal.workflow_id, signal.id, 0))
    if isinstance(command, OpenLink) and command.user_id is not None and command.signal is not None:
        # A worker's signal ahead of its result: the running node was to wait for it.
        fail_node(step, command.target_id, rejection)
