"""Links: a node that can't complete before another one, in any workflow (behaviour document, section 1).

Both ends speak by commands through the log. The target counts link records, so a command that comes twice, or an
opening that comes after its closing, changes nothing.
"""

from __future__ import annotations

import msgspec

from .commands import CloseLink, OpenLink
from .effects import Reason, Send
from .ids import PREFIX_BYTES
from .records import Link, Node
from .removal import was_removed
from .scheduling import schedule_later
from .status import CLOSED
from .step import Step, refuse


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
        _put(step, target, command.child_id, is_open=True)
    if command.signal is not None:
        step.effects.append(Send(msgspec.structs.replace(command.signal, link_open=True)))


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


def _put(step: Step, target: Node, child_id: bytes, *, is_open: bool) -> None:
    step.put_link(target.id, Link(child_id, is_open, target.links_first))
    target.links_first = child_id
    target.links_open += is_open
