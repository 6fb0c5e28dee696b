"""Links: a node that can't complete before another one, in any workflow (behaviour document, section 1).

Both ends speak by commands through the log. The target counts link records, so a command that comes twice, or an
opening that comes after its closing, changes nothing.
"""

from __future__ import annotations

import msgspec

from backbeat.schemas.messages.commands import CloseLink, OpenLink, Signal
from backbeat.schemas.messages.ids import PREFIX_BYTES, node_id
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLOSED, Mode
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Link, Node
from backbeat.streams.core.retention.removal import was_removed
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tree.progress import schedule_later

ID_BYTES = 16
#: Links that are remembered of a workflow, and levels that are looked at from a target up.
_WAITS_MAX = 16
_LEVELS_MAX = 100


def open_link(step: Step, command: OpenLink) -> None:
    """The target waits for the child from now on; a signal that came with the link goes on to its workflow."""
    target = step.enter_node(command.target_id)
    if target is None or target.server in CLOSED:
        is_known = target is not None or was_removed(
            step.store, command.target_id, step.store.get_node(command.target_id)
        )
        found = "a node that is closed" if is_known else "no such node"
        if command.strict or (not is_known and command.signal is not None):
            message = f"parent_link_id {command.target_id.hex()} names {found}"
            raise refuse(Reason.INVALID_PARAMETERS, message, found=found, wanted="a node that is still running")
        step.ignore(f"a link to {found}: nothing waits")
    elif step.get_link(target.id, command.child_id) is None:
        if command.signal is not None:
            _note_wait(step, target, command.signal)
        _put(step, target, command.child_id, is_open=True)
    if command.signal is not None:
        signal = msgspec.structs.replace(command.signal, link_open=True)
        if target is None or target.server in CLOSED:
            # Nobody waits for it, so that it closes no circle.
            signal = msgspec.structs.replace(signal, node=msgspec.structs.replace(signal.node, parent_link_id=None))
        step.effects.append(Send(signal))


def close_link(step: Step, command: CloseLink) -> None:
    """The target need not wait for the child any more."""
    target = step.enter_node(command.target_id)
    if target is None or target.server in CLOSED:
        step.ignore("the closing of a link whose target is over")
        return
    link = step.get_link(target.id, command.child_id)
    if link is None:
        _put(step, target, command.child_id, is_open=False)
        return
    if not link.open:
        step.ignore("the closing of a link that is closed")
        return
    step.put_link(target.id, Link(link.child, False, link.next))
    target.links_open -= 1
    schedule_later(step, target)


def open_child_link(step: Step, child: Node, target_id: bytes) -> None:
    """A new child that another node waits for. In its own workflow the link is open at once, elsewhere by a command."""
    if target_id[:PREFIX_BYTES] == child.id[:PREFIX_BYTES]:
        target = step.get_node(target_id)
        if target is not None and target.workflow_id == child.workflow_id:
            if step.node(target_id).server not in CLOSED:
                _put(step, target, child.id, is_open=True)
            return
    command = step.command
    step.effects.append(Send(OpenLink(id=command.id, tid=command.tid, target_id=target_id, child_id=child.id)))


# --- circles ---------------------------------------------------------------------------------------------------------

# A link closes a circle where the child cannot begin before its target is complete. Looked at are what a command can
# know at a cost that no tree raises: the target's ancestors, so many of them, and the newest links of one workflow.


def check_circle(step: Step, command: Signal) -> None:
    """Refuse a signal that its target's workflow waits for, where this workflow waits for that one already."""
    target_id = command.node.parent_link_id
    assert target_id is not None, "a signal with a link"
    for wait in step.workflow.waits:
        waiting_id, child_id = wait[:ID_BYTES], wait[ID_BYTES:]
        if child_id[:PREFIX_BYTES] != target_id[:PREFIX_BYTES] or not _is_open(step, waiting_id, child_id):
            continue
        waiting = step.node(waiting_id)
        if not _holds_up(step, waiting):
            continue
        raise _circle(
            waiting,
            command.node.name,
            f"{command.node.name!r} begins after {waiting.name!r} of this workflow, which waits for the signal "
            f"{child_id.hex()} of the workflow of {target_id.hex()}",
        )


def _note_wait(step: Step, target: Node, signal: Signal) -> None:
    """A target that waits for a signal: refused where it is of the target's own workflow, whose turn comes later."""
    if not _holds_up(step, target):
        return
    if signal.workflow_id == target.workflow_id:
        why = f"{signal.node.name!r} is a later signal of its own workflow and begins after it"
        raise _circle(target, signal.node.name, why)
    waits = step.workflow.waits
    if len(waits) >= _WAITS_MAX:
        waits = tuple(one for one in waits if _is_open(step, one[:ID_BYTES], one[ID_BYTES:]))[1 - _WAITS_MAX :]
    step.workflow.waits = (*waits, target.id + node_id(signal.workflow_id, signal.id, 0))


def _is_open(step: Step, target_id: bytes, child_id: bytes) -> bool:
    link = step.get_link(target_id, child_id)
    return link is not None and link.open and step.node(target_id).server not in CLOSED


def _holds_up(step: Step, target: Node) -> bool:
    """Whether the workflow's later signals cannot begin before the target is complete."""
    node = target
    for _ in range(_LEVELS_MAX):
        if node.mode is Mode.FIRE_AND_FORGET or node.server in CLOSED:
            return False
        if node.parent_id is None:
            return True
        node = step.node(node.parent_id)
    return False


def _circle(target: Node, name: str, why: str) -> Refused:
    message = (
        f"The node {target.id.hex()} ({target.name!r}) would wait for itself: it would wait for {name!r} by this link, "
        f"and {why}: {target.name} → {name} → {target.name}. Nothing is added"
    )
    return refuse(Reason.INVALID_PARAMETERS, message, found="a circle", wanted="a link to what can end before it")


def _put(step: Step, target: Node, child_id: bytes, *, is_open: bool) -> None:
    step.put_link(target.id, Link(child_id, is_open, target.links_first))
    target.links_first = child_id
    target.links_open += is_open
