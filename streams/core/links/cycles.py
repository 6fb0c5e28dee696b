"""Cycles of links: a signal that would close one is refused.

A link closes a cycle where the child cannot begin before its target is complete. A workflow takes its signals in turn,
so a signal waits for what holds up an earlier one. Each workflow remembers its newest links to other workflows. A
signal whose link is open goes along them from partition to partition before it is added; where it comes to its target
it goes back and is refused. Nearly every signal arrives at a workflow without waits, and is added at once.
"""

from __future__ import annotations

from collections.abc import Iterator

from backbeat.schemas.messages.commands import OpenLink, Signal
from backbeat.schemas.messages.ids import PREFIX_BYTES, node_id
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import CLOSED
from backbeat.schemas.messages.values import LinkWait
from backbeat.streams.core.effects import Send
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Refused, Step, refuse
from backbeat.streams.core.tables import LINKS
from backbeat.streams.core.tree import status

ID_BYTES = 16
#: Newest links stored of a workflow; links that one signal is followed along; levels from a target up.
_WAITS_MAX = 16
FOLLOWED_MAX = 32
_LEVELS_MAX = 100
#: Characters of each name in a path: every hop writes them.
_NAME_CHARACTERS = 60


def follow_waits(step: Step, command: Signal) -> bool:
    """Send a signal with a link along the waits of its workflow. False: there are none, or it comes from there.

    Refused at once: a signal for whose target's workflow this workflow waits already.
    """
    target_id = command.node.parent_link_id
    if target_id is None or command.beside or not step.workflow.waits or step.command is not command:
        return False
    for waiting, child_id, _ in _open_waits(step):
        if child_id[:PREFIX_BYTES] == target_id[:PREFIX_BYTES]:
            problem = (
                f"{command.node.name!r} begins after {waiting.name!r} of this workflow, which waits for the signal "
                f"{child_id.hex()} of the workflow of {target_id.hex()}"
            )
            raise _cycle(waiting.id, waiting.name, (command.node.name,), problem)
    waits = _further(step, command, (), -1, None)
    if waits:
        _send_on(step, command, waits, 0)
    return bool(waits)


def follow_wait(step: Step, command: OpenLink) -> None:
    """A hop of a signal along the waits of other workflows. A signal at its target is sent back and refused."""
    signal, wait, at = command.signal, command.waits[command.waits_at], command.waits_at
    assert signal is not None, "a signal on its way"
    assert signal.node.parent_link_id is not None, "a signal with a link"
    if wait.child_id == command.child_id:
        raise _cycle(signal.node.parent_link_id, wait.name, *_path(command))
    waits = command.waits
    child = step.get_node(wait.child_id)
    if step.enter(wait.workflow_id) is not None and (child is None or step.node(child.id).server not in CLOSED):
        target = step.get_node(signal.node.parent_link_id)
        if target is not None and target.workflow_id == wait.workflow_id and _holds_up(step, target.id, child):
            closing = LinkWait(command.child_id, signal.workflow_id, target.name[:_NAME_CHARACTERS], at)
            _send_on(step, signal, (*waits, closing), len(waits))
            return
        waits += _further(step, signal, waits, at, child)
    _send_on(step, signal, waits, at + 1)


def _further(
    step: Step, signal: Signal, waits: tuple[LinkWait, ...], before: int, child: Node | None
) -> tuple[LinkWait, ...]:
    """The waits of the entered workflow that are not on the way yet; `child`: the signal that they must hold up."""
    known_ids = {wait.child_id for wait in waits}
    return tuple(
        LinkWait(child_id, workflow_id, waiting.name[:_NAME_CHARACTERS], before)
        for waiting, child_id, workflow_id in _open_waits(step, child)
        if workflow_id not in {b"", signal.workflow_id} and child_id not in known_ids
    )[: FOLLOWED_MAX - len(waits)]


def _send_on(step: Step, signal: Signal, waits: tuple[LinkWait, ...], at: int) -> None:
    child_id = node_id(signal.workflow_id, signal.id, 0)
    is_last = at == len(waits) or waits[at].child_id == child_id
    step.effects.append(
        Send(
            OpenLink(
                id=signal.id,
                tid=signal.tid,
                reply_to=signal.reply_to,
                # The answer to a caller's key is kept where the signal is added or refused.
                body_hash=signal.body_hash if is_last else None,
                target_id=child_id if is_last else waits[at].child_id,
                child_id=child_id,
                signal=signal,
                waits=waits,
                waits_at=at,
            )
        )
    )


def _path(command: OpenLink) -> tuple[tuple[str, ...], str]:
    """The names on a signal's way from its own to its target, and the reason why it is a cycle."""
    assert command.signal is not None, "a signal on its way"
    names: list[str] = []
    at = command.waits[command.waits_at].before
    while at >= 0:
        names.insert(0, command.waits[at].name)
        at = command.waits[at].before
    name = command.signal.node.name
    return (name, *names), f"{name!r} begins after {names[0]!r} of its workflow, which waits for it in the end"


def store_wait(step: Step, target: Node, signal: Signal) -> None:
    """Store that a target waits for a signal. Refused: a later signal of the target's own workflow."""
    held = _first_held(step, target.id)
    if held is None:
        return
    if signal.workflow_id == target.workflow_id:
        if signal.beside or held.mode is not status.BLOCKING:
            return
        problem = f"{signal.node.name!r} is a later signal of its own workflow and begins after it"
        raise _cycle(target.id, target.name, (signal.node.name,), problem)
    waits = step.workflow.waits
    if len(waits) >= _WAITS_MAX:
        waits = tuple(wait for wait in waits if _is_open(step, wait[:ID_BYTES], wait[ID_BYTES : 2 * ID_BYTES]))
        waits = waits[1 - _WAITS_MAX :]
    step.workflow.waits = (*waits, target.id + node_id(signal.workflow_id, signal.id, 0) + signal.workflow_id)


def _open_waits(step: Step, child: Node | None = None) -> Iterator[tuple[Node, bytes, bytes]]:
    """The open waits that hold up the entered workflow, or one signal of it: node, signal's node id, workflow id."""
    for wait in step.workflow.waits:
        waiting_id, child_id, workflow_id = wait[:ID_BYTES], wait[ID_BYTES : 2 * ID_BYTES], wait[2 * ID_BYTES :]
        # An earlier release wrote no workflow: such a wait is seen from its own two workflows only.
        if _is_open(step, waiting_id, child_id) and _holds_up(step, waiting_id, child):
            yield step.node(waiting_id), child_id, workflow_id


def _is_open(step: Step, target_id: bytes, child_id: bytes) -> bool:
    link = step.transaction.get(LINKS, (target_id, child_id))
    return link is not None and link.open and step.node(target_id).server not in CLOSED


def _holds_up(step: Step, target_id: bytes, child: Node | None) -> bool:
    """True when a signal of the target's workflow cannot end before the target does. `child` null: a new signal."""
    held = _first_held(step, target_id)
    if held is None:
        return False
    if child is None:
        return held.mode is status.BLOCKING
    if held.mode is not status.BLOCKING or child.mode is not status.BLOCKING:
        return held.id == child.id  # Signals beside the others wait for none of them, and none for them.
    return held.seq <= child.seq


def _first_held(step: Step, target_id: bytes) -> Node | None:
    """The signal that cannot end before the target does; null: none has to."""
    node = step.node(target_id)
    for _ in range(_LEVELS_MAX):
        if node.mode is status.FIRE_AND_FORGET or node.server in CLOSED:
            return None
        if node.parent_id is None:
            return node
        node = step.node(node.parent_id)
    return None


def _cycle(target_id: bytes, target: str, names: tuple[str, ...], problem: str) -> Refused:
    path = " → ".join((target, *names, target))
    message = (
        f"The node {target_id.hex()} ({target!r}) would wait for itself: it would wait for {names[0]!r} by this link, "
        f"and {problem}: {path}. Nothing is added"
    )
    return refuse(Reason.INVALID_PARAMETERS, message, found="a cycle", wanted="a link to what can end before it")
