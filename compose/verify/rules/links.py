"""Links: a node that cannot complete before another one, in any workflow; and the search for cycles.

A signal with a link goes first to its target (OpenLink), then to its own workflow. Where that one waits for signals
itself, the signal goes along their links before it is added; where it comes to its target it would close a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.checks import INVALID, Refused
from backbeat.compose.verify.rules.progress import schedule_later
from backbeat.compose.verify.rules.schedules import run_ended
from backbeat.compose.verify.rules.tree import BLOCKING, CLOSED, FIRE_AND_FORGET, Node
from backbeat.compose.verify.rules.work import Work
from backbeat.schemas.messages import ids

_WAITS_MAX = 16
_FOLLOWED_MAX = 32
_LEVELS_MAX = 100


def child_of(signal: Command) -> bytes:
    """The node that a signal makes."""
    return ids.node_id(signal["workflow_id"], signal["id"], 0)


def on_open_link(work: Work, command: Command) -> None:
    """A target waits for a child from now on; a signal in the command goes on to its workflow."""
    signal, target_id = command["signal"], command["target_id"]
    pair = work.find(target_id)
    is_open = pair is not None and not pair[1].is_closed
    if not is_open:
        is_known = pair is not None or work.partition.was_removed(target_id)
        if command["strict"] or (not is_known and signal is not None):
            raise Refused(INVALID)
        if pair is not None:
            work.enter_node(target_id)
    else:
        target = work.enter_node(target_id)
        assert target is not None
        if command["child_id"] not in target.links:
            if signal is not None:
                _remember(work, target, signal)
            open_link(target, command["child_id"])
            work.changed = True
    if signal is not None:
        node = signal["node"] if is_open else {**signal["node"], "parent_link_id": None}
        work.send("Signal", {**signal, "link_open": True, "node": node})


def open_link(target: Node, child_id: bytes) -> None:
    """The target waits for the child."""
    target.links[child_id] = True
    target.links_open += 1


def on_close_link(work: Work, command: Command) -> None:
    """A target waits for a child no longer."""
    target_id, child_id = command["target_id"], command["child_id"]
    target = work.enter_node(target_id)
    if target is None and target_id in work.partition.schedules:
        run_ended(work, work.partition.schedules[target_id], child_id)
        return
    if target is None or target.server in CLOSED:
        return
    is_open = target.links.get(child_id)
    target.links[child_id] = False
    if is_open:
        target.links_open -= 1
        work.changed = True
        schedule_later(work, target)


def link_child(work: Work, child: Node, target_id: bytes) -> None:
    """A new child's link: at once within its workflow, else by a command to its target."""
    pair = work.find(target_id) if target_id[: ids.PREFIX_BYTES] == child.id[: ids.PREFIX_BYTES] else None
    if pair is not None and pair[0] is work.own:
        target = work.touch(pair[1])
        if target.server not in CLOSED:
            open_link(target, child.id)
        return
    work.send("OpenLink", {"target_id": target_id, "child_id": child.id, "signal": None, "waits": [], "waits_at": 0})


# --- cycles ----------------------------------------------------------------------------------------------------------


def holds_up(work: Work, target: Node, child: Node | None) -> bool:
    """True when a signal of the target's workflow cannot end before the target: a new one, or `child`."""
    held = first_held(work, target)
    if held is None or child is None:
        return held is not None and held.mode == BLOCKING
    if BLOCKING not in (held.mode, child.mode) or held.mode != child.mode:
        return held.seq == child.seq
    return held.seq <= child.seq


def first_held(work: Work, target: Node) -> Node | None:
    """The signal that cannot end before the target; null: there is none."""
    node = work.touch(target)
    for _ in range(_LEVELS_MAX):
        if node.mode == FIRE_AND_FORGET or node.server in CLOSED:
            return None
        if not node.parent:
            return node
        node = work.node(node.parent)
    return None


def _remember(work: Work, target: Node, signal: Command) -> None:
    held = first_held(work, target)
    if held is None:
        return
    tree = work.own
    if signal["workflow_id"] == tree.id:
        if signal["beside"] or held.mode != BLOCKING:
            return
        raise Refused(INVALID)  # A later signal of its own workflow begins after it.
    if len(tree.waits) >= _WAITS_MAX:
        tree.waits = [wait for wait in tree.waits if _is_open(work, wait)][1 - _WAITS_MAX :]
    tree.waits.append((target.id, child_of(signal), signal["workflow_id"]))


def _is_open(work: Work, wait: tuple[bytes, bytes, bytes]) -> bool:
    pair = work.find(wait[0])
    return pair is not None and bool(pair[1].links.get(wait[1])) and work.touch(pair[1]).server not in CLOSED


def _open_waits(work: Work, child: Node | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Child and its workflow, of each link that holds up the workflow, or one signal of it."""
    for wait in work.own.waits:
        pair = work.find(wait[0])
        if pair is not None and _is_open(work, wait) and holds_up(work, pair[1], child):
            yield wait[1], wait[2]


def follow(work: Work, signal: Command) -> bool:
    """Send a signal along the links that its workflow waits for. False: there are none, and it can be added."""
    prefix = signal["node"]["parent_link_id"][: ids.PREFIX_BYTES]
    if any(child_id[: ids.PREFIX_BYTES] == prefix for child_id, _ in _open_waits(work)):
        raise Refused(INVALID)
    waits = _further(work, signal, [], None)
    if waits:
        _send_on(work, signal, waits, 0)
    return bool(waits)


def follow_one(work: Work, command: Command) -> None:
    """A signal on its way along the links of other workflows."""
    signal, waits, at = command["signal"], [wait["child_id"] for wait in command["waits"]], command["waits_at"]
    wait = command["waits"][at]
    if wait["child_id"] == command["child_id"]:
        raise Refused(INVALID)
    pair = work.find(wait["child_id"])
    child = None if pair is None else pair[1]
    if work.enter(wait["workflow_id"]) is not None and (child is None or work.touch(child).server not in CLOSED):
        target = work.find(signal["node"]["parent_link_id"])
        if target is not None and target[0].id == wait["workflow_id"] and holds_up(work, target[1], child):
            _send_on(work, signal, [*waits, command["child_id"]], len(waits))
            return
        waits += _further(work, signal, waits, child)
    _send_on(work, signal, waits, at + 1)


def _further(work: Work, signal: Command, waits: list[bytes], child: Node | None) -> list[bytes]:
    links = [
        child_id
        for child_id, workflow_id in _open_waits(work, child)
        if workflow_id not in (b"", signal["workflow_id"]) and child_id not in waits
    ]
    return links[: _FOLLOWED_MAX - len(waits)]


def _send_on(work: Work, signal: Command, waits: list[bytes], at: int) -> None:
    child_id = child_of(signal)
    is_last = at == len(waits) or waits[at] == child_id
    fields: dict[str, Any] = {
        "target_id": child_id if is_last else waits[at],
        "child_id": child_id,
        "signal": signal,
        "waits": [{"child_id": wait} for wait in waits],
        "waits_at": at,
    }
    work.send("OpenLink", fields)
