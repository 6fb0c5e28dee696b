"""Work of a command on a workflow: status changes, timers, and what is sent to other partitions.

A command works on so many nodes (`slice_nodes_max`); the rest it leaves to a Continue. What is left is remembered under
the command's offset, and done when its Continue comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.checks import Refused, route
from backbeat.compose.verify.rules.tree import (
    CLIENT,
    CLIENT_MAY_BECOME,
    CLOSED,
    COMPLETE,
    DEACTIVATED,
    ERRORED,
    FIRE_AND_FORGET,
    PAUSED,
    PROCESSING_CHILDREN,
    RETRIES_EXHAUSTED,
    RETRYING,
    SENT,
    SERVER,
    SERVER_MAY_BECOME,
    TASK_COUNT_RESULTS,
    TASK_FOLLOW_CANCEL,
    TASK_FORGET_LINKS,
    TASK_GIVE_RESULTS,
    Node,
    Parent,
    Task,
    Tree,
)
from backbeat.schemas.messages import ids

#: Statuses in which a node neither waits for a slot nor has one.
_WITHOUT_SLOT = (PAUSED, DEACTIVATED, ERRORED, PROCESSING_CHILDREN, RETRYING, RETRIES_EXHAUSTED)


#: Bytes of status changes in a node's own record, and of one of them without its response.
INLINE_BYTES_MAX = 1_024
_ENTRY_BYTES = 15


class RuleBrokenError(Exception):
    """A status change that the tables do not have: the judge itself has misread a rule."""


class Following(Protocol):
    """Rules of activities that follow nodes: they are beside those of progress, which need them."""

    def exhausted(self, work: Work, node: Node, response: bytes | None, *, is_refusal: bool) -> None:
        """Retries of a node are used up."""

    def handled(self, work: Work, node: Node) -> None:
        """Something below a failed node has changed."""

    def undoes(self, work: Work, node: Node) -> bool:
        """True for a node that is not complete though nothing below it is open."""


class Work:
    """The work of one command."""

    following: ClassVar[Following]

    def __init__(self, partition: Partition, name: str, command: Command, budget: int | None = None) -> None:
        self.partition = partition
        self.name = name
        self.command = command
        self.now = partition.now
        self.settings = partition.settings
        self.budget: int = self.settings["slice_nodes_max"] if budget is None else budget
        self.tasks: deque[Task] = deque()
        self.tree: Tree | None = None
        self.changed = False
        self._long: list[Node] = []  #: nodes whose histories are put away at the end
        #: the work is a job's change: what it leaves goes with the job's next slice
        self.is_of_job = False
        self.was_cut = False

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def own(self) -> Tree:
        """The workflow that is worked on."""
        assert self.tree is not None, "work on a workflow that was not entered"
        return self.tree

    def enter(self, workflow_id: bytes) -> Tree | None:
        """Work on a workflow; null: there is none."""
        family = self.partition.spill.family(self.partition.number, workflow_id)
        self.tree = family.trees.get(workflow_id)
        return self.tree

    def find(self, node_id: bytes) -> tuple[Tree, Node] | None:
        """A node and its workflow, neither entered nor touched; null: there is none."""
        return self.partition.spill.family(self.partition.number, node_id).nodes.get(node_id)

    def enter_node(self, node_id: bytes) -> Node | None:
        """A node, touched, its workflow entered; null: there is none."""
        pair = self.find(node_id)
        if pair is None:
            return None
        self.tree = pair[0]
        return self.touch(pair[1])

    def own_node(self, node_id: bytes) -> Node:
        """A node that the caller may change, not touched yet: the command may still be refused."""
        pair = self.find(node_id)
        caller = self.command["user_id"]
        if pair is None or caller not in (None, pair[1].user_id):
            raise Refused("not_found")
        return pair[1]

    def node(self, seq: int) -> Node:
        """A node of the workflow, touched."""
        return self.touch(self.own.node(seq))

    def touch(self, node: Node) -> Node:
        """Write down the deactivation of a node that counts as deactivated."""
        if node.doomed:
            node.doomed = False
            before = node.server
            self._enter(node, SERVER, before, DEACTIVATED, b"")
            node.server = DEACTIVATED
            self._moved(node, before)
        return node

    # --- statuses ----------------------------------------------------------------------------------------------------

    def check(self, node: Node, client: int | None = None, server: int | None = None) -> None:
        """Refuse a change that the tables do not have: both are checked before either is made."""
        if client is not None and client not in CLIENT_MAY_BECOME[node.client]:
            raise Refused("invalid_client_status")
        if server is not None and server not in SERVER_MAY_BECOME[node.server]:
            raise Refused("invalid_server_status")

    def set_client(self, node: Node, to: int, response: bytes = b"") -> None:
        """Change the client status."""
        if to not in CLIENT_MAY_BECOME[node.client]:
            raise RuleBrokenError(f"{node.name}: client status {node.client} to {to}")
        self._enter(node, CLIENT, node.client, to, response)
        node.client = to

    def set_server(self, node: Node, to: int, response: bytes = b"", *, is_stored: bool = True) -> None:
        """Change the server status. `is_stored`: false where the entry before has the same response."""
        before = node.server
        if to not in SERVER_MAY_BECOME[before]:
            raise RuleBrokenError(f"{node.name}: server status {before} to {to}")
        self._enter(node, SERVER, before, to, response, is_stored=is_stored)
        node.server = to
        if to in CLOSED and before not in CLOSED:
            self.count_closed(node)
        self._moved(node, before)

    def _enter(self, node: Node, status: int, before: int, to: int, response: bytes, *, is_stored: bool = True) -> None:
        node.history.append((status, before, to, self.now, response))
        node.history_bytes += _ENTRY_BYTES
        if is_stored and len(response) > 1:
            node.history_bytes += int.from_bytes(response[:4], "big")
        if node.history_bytes > INLINE_BYTES_MAX:
            self._long.append(node)
        self.changed = True

    def count_closed(self, node: Node) -> None:
        """A node that was open is none for which anybody waits any more."""
        self.own.open_count -= 1
        if node.mode != FIRE_AND_FORGET:
            self.own.parent_of(node).waiting -= 1

    def _moved(self, node: Node, before: int) -> None:
        """Do what follows from a change of the server status: timer, slot, links."""
        if node.server in _WITHOUT_SLOT and node.slot is not None:
            fields = {"pool_id": node.slot, "node_id": node.id, "number": node.slot_number}
            node.slot = node.granted_at = None
            self.send("ReleaseSlot", fields)
        line = self.own.lines.get(node.name, []) if node.awaits and before == SENT else []
        if node.seq in line:
            line.remove(node.seq)
            if not line:
                del self.own.lines[node.name]
        if node.server not in CLOSED or before in CLOSED:
            return
        node.timer_at = None
        if node.link is not None:
            self.send("CloseLink", {"target_id": node.link, "child_id": node.id})
        if node.links:
            self.tasks.append((TASK_FORGET_LINKS, node.seq, 0, len(node.links)))
            node.links = {}
        node.held = node.links_open = 0
        if node.takers:
            self.give_later(node)
        if node.server == DEACTIVATED and node.attempt and any(row.kind == "cancel" for row in node.follow_ups):
            self.tasks.append((TASK_FOLLOW_CANCEL, node.seq, 0, 0))

    def give_later(self, producer: Node) -> None:
        """Tell those that wait for a closed node's result, before anything else is done."""
        if producer.children_are_taken and producer.failed is None and producer.server == COMPLETE:
            self.count_later(producer)
        else:
            self.tasks.appendleft((TASK_GIVE_RESULTS, producer.seq, 0, 0))

    def count_later(self, producer: Node) -> None:
        """Count the children that have no result, without those of attempts that failed."""
        producer.counted_from = producer.counted_from or producer.active
        self.tasks.appendleft((TASK_COUNT_RESULTS, producer.seq, producer.counted_from, 0))

    def doom(self, node: Node) -> None:
        """A node counts as deactivated from now on."""
        if not node.doomed and node.server not in CLOSED:
            self.count_closed(node)
        node.doomed = True

    # --- timers, effects ---------------------------------------------------------------------------------------------

    def set_timer(self, node: Node, due: int, kind: int) -> None:
        """The node's one timer, in place of an earlier one."""
        node.timer_number += 1
        node.timer_at, node.timer_kind = due, kind

    def send(self, name: str, fields: dict[str, Any], *, everywhere: bool = False) -> None:
        """A command to the partition of its route must follow from this one."""
        counts = self.partition.partitions_count
        if everywhere:
            targets = list(range(counts))
        else:
            identity = route(name, fields)
            targets = [self.partition.number if identity is None else ids.partition_of(identity, counts)]
        for target in targets:
            self.partition.expect(target, name, fields)

    def finish(self) -> None:
        """Put long histories away, as the engine does: reading them later takes as many records."""
        for node in self._long:
            if node.history_bytes > INLINE_BYTES_MAX:
                node.history_bytes = 0
                node.chunk_ends.append(len(node.history))

    # --- the end -----------------------------------------------------------------------------------------------------

    def defer(self) -> None:
        """Leave the rest of the tasks to a Continue."""
        tree = self.own
        tree.pending[self.partition.offset] = list(self.tasks)
        self.tasks.clear()
        self.changed = self.was_cut = True
        if not self.is_of_job:
            self.send("Continue", {"workflow_id": tree.id})

    def answer(self, form: str = "other", node_id: bytes | None = None) -> None:
        """Remember the answer to a command with a caller's key."""
        body_hash = self.command["body_hash"]
        if body_hash is not None:
            self.partition.remember(self.command["id"], body_hash, form, node_id)

    def add(self, parent: Parent, node: Node) -> None:
        """A new node, at the end of its parent's children."""
        tree = self.own
        family = self.partition.spill.family(self.partition.number, tree.id)
        tree.nodes.append(node)
        family.nodes[node.id] = (tree, node)
        self.partition.spill.added()
        parent.children.append(node.seq)
        if not parent.active:
            parent.active = node.seq
        if node.server not in CLOSED:
            tree.open_count += 1
            if node.mode != FIRE_AND_FORGET:
                parent.waiting += 1
        self.changed = True


#: Does what a command asks for.
Rule = Callable[[Work, Command], None]
