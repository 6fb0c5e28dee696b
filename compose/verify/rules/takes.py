"""Results as arguments (docs/explanation/results.md): a node waits for results of nodes before it."""

from __future__ import annotations

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules import progress
from backbeat.compose.verify.rules.checks import INVALID, LIMIT, Refused, check_json, check_size
from backbeat.compose.verify.rules.tree import (
    CLOSED,
    DEACTIVATED,
    FIRE_AND_FORGET,
    TASK_GIVE_RESULTS,
    Node,
    Taken,
    Task,
    Tree,
    digest,
)
from backbeat.compose.verify.rules.work import Work
from backbeat.schemas.messages import ids

_LEVELS_MAX = 1_000


def check(work: Work, tree: Tree | None, parent: Node | None, children: list[Command]) -> None:
    """Refuse new nodes that take results which they may not take. `tree` null: the workflow is new, too."""
    if sum(len(child["takes"]) for child in children) > work.settings["children_max"]:
        raise Refused(LIMIT)
    for index, child in enumerate(children):
        for take in child["takes"]:
            if take["default"] is not None:
                check_size(len(take["default"]), work.settings["payload_bytes_max"])
                check_json(take["default"], work.settings["json_depth_max"])
            if tree is None:
                raise Refused(INVALID)
            if take["node_id"] in [ids.node_id(tree.id, work.command["id"], place) for place in range(index)]:
                continue
            pair = work.find(take["node_id"])
            if pair is None or pair[0] is not tree or not _is_before(tree, parent, pair[1]):
                raise Refused(INVALID)


def _is_before(tree: Tree, parent: Node | None, producer: Node) -> bool:
    """True when the branch of a producer is older than the one on which a new child of `parent` is."""
    branches: dict[int, float] = {0 if parent is None else parent.seq: float("inf")}
    node = parent
    while node is not None:
        branches[node.parent] = node.seq
        node = tree.node(node.parent) if node.parent else None
    if producer.seq in branches:
        return False
    for _ in range(_LEVELS_MAX):
        if producer.parent in branches:
            return producer.seq < branches[producer.parent]
        producer = tree.node(producer.parent)
    return False


def check_returns(work: Work, node: Node, command: Command) -> None:
    """Refuse to return the result of another node than a child that is waited for."""
    tree_id = work.partition.spill.family(work.partition.number, node.id).nodes[node.id][0].id
    for place, child in enumerate(command["children"]):
        if ids.node_id(tree_id, command["id"], place) == command["returns"]:
            if child["mode"] == "fire_and_forget":
                raise Refused(INVALID)
            return
    pair = work.find(command["returns"])
    if pair is None or pair[0].id != tree_id or pair[1].parent != node.seq or pair[1].mode == FIRE_AND_FORGET:
        raise Refused(INVALID)


def add(work: Work, taker: Node, takes: list[Command]) -> None:
    """A new node waits for results."""
    if taker.server in CLOSED:
        return
    for slot, take in enumerate(takes):
        pair = work.find(take["node_id"])
        assert pair is not None, "a producer that was looked for"
        producer = work.touch(pair[1])
        default = None if take["default"] is None else digest(take["default"])
        taker.takes.append(Taken(producer.seq, take["of_children"], default))
        producer.takers.append((taker.seq, slot))
        producer.children_are_taken |= take["of_children"]
        if len(producer.takers) == 1 and producer.server in CLOSED:
            work.give_later(producer)


def count(work: Work, task: Task) -> None:
    """Children of a producer that have no result."""
    kind, seq, cursor, failed = task
    producer = work.node(seq)
    if cursor == producer.counted_from:
        producer.counted = 0
    for child_seq in producer.children[work.own.node(cursor).place :] if cursor else []:
        if work.budget <= 0:
            work.tasks.appendleft((kind, seq, child_seq, failed))
            return
        work.budget -= 1
        child = work.own.node(child_seq)
        is_child = child.mode != FIRE_AND_FORGET and not child.is_added
        is_taken = child.is_allowed_failure or child.has_result
        producer.counted += is_child and is_taken
        failed += is_child and not is_taken
    producer.failed = failed
    work.tasks.appendleft((TASK_GIVE_RESULTS, seq, 0, 0))


def give(work: Work, task: Task) -> None:
    """Tell the takers of a closed node."""
    producer = work.node(task[1])
    while producer.takers:
        if work.budget <= 0:
            work.tasks.appendleft(task)
            return
        work.budget -= 1
        taker_seq, slot = producer.takers[0]
        taken = work.own.node(taker_seq).takes[slot]
        is_there = producer.has_result
        if is_there and taken.of_children and producer.failed is None:
            work.count_later(producer)
            return
        producer.takers.pop(0)
        taker = work.node(taker_seq)
        if taker.server not in CLOSED:
            _settle(work, taker, taken, is_there=is_there and not (taken.of_children and producer.failed))


def _settle(work: Work, taker: Node, taken: Taken, *, is_there: bool) -> None:
    if not is_there and taken.default is None:
        work.set_server(taker, DEACTIVATED)
        progress.schedule_later(work, work.own.parent_of(taker))
        progress.reset(work, taker)
        return
    taken.state = 1 if is_there else 2
    if not taker.missing:
        progress.start_again(work, taker)
