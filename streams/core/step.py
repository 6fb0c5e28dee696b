"""A step: the work of one command on one workflow, with its changed nodes, its tasks and its effects.

Records are read and changed through the step's transaction, so a refused command leaves no trace. Every status
change goes through `set_client` and `set_server`, which update the history and the parent's ledger, and call the
listeners of the rooms.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from backbeat.schemas.messages.activities import TakenCount, TakenResult
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.commands import AnyCommand, CloseLink, Signal
from backbeat.schemas.messages.history import NodeChange, StatusChange
from backbeat.schemas.messages.replies import Answer as AnswerBody
from backbeat.schemas.messages.replies import Reason, Rejection
from backbeat.schemas.messages.status import CLOSED, ClientStatus, ServerStatus, word
from backbeat.schemas.messages.values import Command, FollowUp, Take, Task, TaskKind, TimerKind
from backbeat.streams.core.effects import Effect, Ignored, Send, StatusChanged
from backbeat.streams.core.idempotency import answered, save_reply
from backbeat.streams.core.records import Node, Workflow
from backbeat.streams.core.store import Store
from backbeat.streams.core.tables import CHUNKS, NODES, WORKFLOWS
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree import history, status
from backbeat.streams.core.tree.deactivation import Marks, belongs_to_removed_workflow, is_below_mark
from backbeat.streams.core.tree.status import CLIENT_TRANSITIONS, SERVER_TRANSITIONS

_NONE: Any = None


class Refused(Exception):  # noqa: N818 - it is no error: it ends a command that a client may well send
    """The command is refused; the step's changes are dropped."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


def refuse(reason: Reason, message: str, *, found: str = "", wanted: str = "") -> Refused:
    """The refusal to raise."""
    return Refused(Rejection(reason, message, found, wanted))


def not_allowed(reason: Reason, machine: str, actual: str, requested: str) -> Refused:
    """The refusal of a transition. `machine`: client or server."""
    message = f"Cannot transition current_{machine}_status from {actual} to {requested}"
    return refuse(reason, message, found=actual, wanted=requested)


class HasTimer(Protocol):
    """A record that has at most one timer at a time: it follows from these fields (`tables`). `timer_at` null: none."""

    timer_at: int | None
    timer_kind: int
    timer_number: int


class Step:
    """The work of one command on one workflow."""

    def __init__(self, transaction: Transaction, command: Command, now: int, hooks: Hooks) -> None:
        self.transaction = transaction
        self.hooks = hooks
        self.command = command
        self.now = now
        self.settings: Settings = transaction.meta.settings
        self.workflow: Workflow = _NONE  #: the one that the step works on; null before it is entered or made
        self.effects: list[Effect] = []
        self.tasks: deque[Task] = deque()  #: work still to be done, in order (`tree.progress`)
        self.budget = self.settings.slice_nodes_max
        self._nodes = transaction.own(NODES)
        self.marks: Marks = {}  #: known marks of nodes, until one is set
        self._changes: list[NodeChange] = []
        self.references_added = 0  #: results that new nodes take (`takes`)
        #: node -> where its way up meets that of the new nodes (`takes.position`)
        self.meetings: dict[bytes, tuple[bytes, int, int]] = {}
        self.branches: dict[bytes, int] = {}  #: way down to the new nodes (`takes.position`)

    # --- reading ---------------------------------------------------------------------------------------------------

    @property
    def has_changed(self) -> bool:
        """True when the workflow or a node of it has changed."""
        return bool(self._changes) or self.transaction.has_changed(WORKFLOWS, self.workflow.id)

    @property
    def has_reply(self) -> bool:
        """True when the reply goes anywhere: to a return address, or to the command's repeats."""
        return self.command.reply_to is not None or self.command.body_hash is not None

    def enter(self, workflow_id: bytes) -> Workflow | None:
        """Work on a stored workflow; null: there is none. A step works on one only."""
        workflow = self.transaction.edit(WORKFLOWS, workflow_id)
        if workflow is not None:
            self._work_on(workflow)
        return workflow

    def _work_on(self, workflow: Workflow) -> None:
        assert self.workflow in (None, workflow), "a step works on one workflow only"
        self.workflow = workflow

    def make(self, workflow: Workflow) -> None:
        """Add a workflow and work on it."""
        self._work_on(workflow)
        self.transaction.add(WORKFLOWS, workflow.id, workflow)

    def get_node(self, node_id: bytes) -> Node | None:
        """A node as its record says, to be read or changed."""
        return self._nodes.get(node_id) or self.transaction.edit(NODES, node_id)

    def enter_node(self, node_id: bytes) -> Node | None:
        """A node by its id, its workflow entered; null: there is none, or its workflow was removed."""
        node = self.get_node(node_id)
        workflow = None if node is None else self.transaction.edit(WORKFLOWS, node.workflow_id)
        if node is None or workflow is None or belongs_to_removed_workflow(node, workflow):
            return None
        self._work_on(workflow)
        self._settle(node)
        return node

    def node(self, node_id: bytes) -> Node:
        """A node of the workflow that must exist, as it is now (`tree.deactivation`)."""
        node = self._nodes.get(node_id) or self.transaction.edit(NODES, node_id)
        assert node is not None, "a pointer to a node that is not stored"
        if self.workflow.watermarks or self.workflow.sweeps:
            self._settle(node)
        return node

    def parent(self, node: Node) -> Node | Workflow:
        """The node or workflow whose ledger has the node."""
        if node.parent_id is None:
            return self.workflow
        parent = self.get_node(node.parent_id)
        assert parent is not None, "a child without its parent"
        return parent

    def _settle(self, node: Node) -> None:
        """Record the deactivation that a mark above the node, or the watermark, implies."""
        workflow = self.workflow
        if node.seq < workflow.watermark and node.swept < workflow.watermarks:
            node.swept = workflow.watermarks
            self.deactivate(node)
        elif (
            workflow.sweeps
            and node.server is not status.DEACTIVATED
            and is_below_mark(self.transaction, node, self.marks)
        ):
            self.deactivate(node)

    # --- changing --------------------------------------------------------------------------------------------------

    def add(self, node: Node) -> None:
        """A new node, at the end of its parent's children."""
        parent = self.parent(node)
        if parent.last_child is None:
            parent.first_child = node.id
        else:
            last = self.get_node(parent.last_child)
            assert last is not None, "the newest child is not stored"
            last.next_sibling = node.id
        parent.last_child = node.id
        if parent.first_active_child is None:
            parent.first_active_child = node.id
        if node.server not in CLOSED:
            if node.mode is status.FIRE_AND_FORGET:
                self.workflow.detached_open += 1
            else:
                parent.children_open += 1
        self._nodes[node.id] = node

    def check_client(self, node: Node, to: ClientStatus) -> None:
        """Refuse a transition that the client status does not allow."""
        if to not in CLIENT_TRANSITIONS[node.client]:
            raise not_allowed(Reason.INVALID_CLIENT_STATUS, "client", word(node.client), word(to))

    def check_server(self, node: Node, to: ServerStatus) -> None:
        """Refuse a transition that the server status does not allow."""
        if to not in SERVER_TRANSITIONS[node.server]:
            raise not_allowed(Reason.INVALID_SERVER_STATUS, "server", word(node.server), word(to))

    def check(self, node: Node, client: ClientStatus, server: ServerStatus) -> None:
        """Refuse a change of both statuses unless both transitions are allowed."""
        self.check_client(node, client)
        self.check_server(node, server)

    def set_client(self, node: Node, to: ClientStatus, response: bytes | None = None) -> None:
        """Set the client status; the transition has been checked."""
        before = node.client
        assert to in CLIENT_TRANSITIONS[before], (before, to)
        node.client = to
        node.history += history.pack(history.CLIENT, before, to, self.now, response)
        self._changes.append(NodeChange(node.id, StatusChange(False, before, to, self.now, response)))

    def set_server(
        self, node: Node, to: ServerStatus, response: bytes | None = None, *, same_response: bool = False
    ) -> None:
        """Set the server status, and update history, timer, the parent's ledger and the listeners."""
        before = node.server
        assert to in SERVER_TRANSITIONS[before], (before, to)
        node.server = to
        node.history += history.pack(history.SERVER, before, to, self.now, response, same=same_response)
        self._changes.append(NodeChange(node.id, StatusChange(True, before, to, self.now, response)))
        if to in CLOSED and before not in CLOSED:
            self._close(node)
        for listener in self.hooks.on_status[to]:
            listener(self, node, before)

    def _close(self, node: Node) -> None:
        """Take a closed node out of the ledgers. Once a node: a closed node never opens."""
        node.timer_at = None
        parent = self.parent(node)
        # What a reset has marked was taken out of the ledger when the mark was set.
        if node.mode is status.FIRE_AND_FORGET:
            self.workflow.detached_open -= 1
        elif node.seq >= parent.deactivate_below:
            parent.children_open -= 1
            assert parent.children_open >= 0, "more children closed than were open"
            if type(parent) is Node and parent.server in CLOSED:
                self.workflow.detached_open -= 1
        if node.children_open:
            self.workflow.detached_open += node.children_open

    def deactivate(self, node: Node) -> None:
        """Deactivate a node, for good. A node that already is deactivated gets one more history entry."""
        self.set_server(node, status.DEACTIVATED)

    def set_timer(self, subject: HasTimer, due: int, kind: TimerKind) -> None:
        """Set the one timer of a node or schedule in place of an earlier one. `due`: milliseconds since the epoch."""
        subject.timer_number += 1
        subject.timer_at = due
        subject.timer_kind = kind

    def may_go_on(self, task: Task, cursor: bytes | None = None) -> bool:
        """True when the budget has one more node for a task; else the rest of it, from the cursor on, is put back."""
        if self.budget > 0:
            self.budget -= 1
            return True
        self.tasks.appendleft(Task(task.kind, task.id, cursor, task.mark))
        return False

    # --- ending ----------------------------------------------------------------------------------------------------

    def close_link(self, target_id: bytes, child_id: bytes) -> None:
        """Send a CloseLink: the target need not wait for the child."""
        command = self.command
        self.effects.append(Send(CloseLink(id=command.id, tid=command.tid, target_id=target_id, child_id=child_id)))

    def reply(self, answer: AnswerBody) -> None:
        """Answer the command, and store the reply where the caller gave an idempotency key."""
        self.effects += answered(self.command, answer)
        if self.command.body_hash is not None:
            save_reply(self.transaction, self.command, answer, self.now)

    def ignore(self, why: str) -> None:
        """Note why the command changes nothing."""
        self.effects.append(Ignored(why))

    def finish(self) -> list[Effect]:
        """The effects. The changed records are in the transaction."""
        for node in self._nodes.values():
            if node is not None and len(node.history) > history.INLINE_BYTES_MAX:
                self.transaction.add(CHUNKS, (node.id, node.history_chunks), node.history)
                node.history_chunks += 1
                node.history = b""
        if self._changes:
            self.effects.append(StatusChanged(self.workflow.id, tuple(self._changes)))
        return self.effects


#: Applies a command.
Handler = Callable[[Step, Any], None]
#: Continues a task.
TaskHandler = Callable[[Step, Task], None]
#: True: the command needs no handler, since its subject is gone.
Guard = Callable[[Step, Any], bool]
#: Called with a node whose server status has changed, and the status before.
StatusListener = Callable[[Step, Node, ServerStatus], None]


class FollowUpHooks(NamedTuple):
    """Functions of the activities that follow nodes. Called for nodes that have `follow_ups`, or begin to have them."""

    follow: Callable[[Step, Node, tuple[FollowUp, ...]], None]  #: a node was added that activities follow
    exhausted: Callable[[Step, Node, bytes | None], None]  #: its retries are exhausted, by this response
    gives_up: Callable[[Step, Node], None]  #: a node is complete that gives up
    handled: Callable[[Step, Node], None]  #: something below a node has changed whose retries are exhausted
    decided: Callable[[Step, Node], None]  #: a client resolves or shuts down a node
    gave_up: Callable[[Step, Node], None]  #: a node was shut down
    undoes: Callable[[Step, Node], bool]  #: nothing below a node is open; true: it does not complete
    compensate: Callable[[Step, Node], None]  #: a node is canceled, and what was done below it is to be undone


class Hooks(NamedTuple):
    """Functions of the rooms that the tree calls, in order (`dispatch` has them all)."""

    work: Callable[[Step, AnyCommand], None]  #: applies a command and its tasks
    tasks: Mapping[TaskKind, TaskHandler]
    #: a signal has come: with the id of its node, and the node of an earlier one; true: it is dealt with
    on_signal: tuple[Callable[[Step, Signal, bytes, Node | None], bool], ...]
    #: a signal is about to be added to the step's workflow; true: it is dealt with
    before_signal: tuple[Callable[[Step, Signal], bool], ...]
    on_node: tuple[Callable[[Step, Node], None], ...]  #: a node was added
    on_status: tuple[tuple[StatusListener, ...], ...]  #: by the new status
    take: Callable[[Step, Node, tuple[Take, ...]], None]  #: a node was added that takes results
    #: what a node that starts takes first, and the counts of all where there are more
    results: Callable[[Store, Node], tuple[tuple[TakenResult, ...], tuple[TakenCount, ...]]]
    returned: Callable[[Step, Node], bytes | None]  #: the result of a node that is complete and returns that of a child
    await_message: Callable[[Step, Node], None]  #: a node starts that waits for a message
    no_message: Callable[[Step, Node], None]  #: none has come in time
    follow_ups: FollowUpHooks
    before_send: tuple[Callable[[Step, Node], bool], ...]  #: true: the node waits before it is sent to its client
    link_targets: tuple[Callable[[Step, CloseLink], bool], ...]  #: true: the link's target is theirs, and no node
    on_refused: tuple[Callable[[Step, Rejection], None], ...]  #: the command was refused and rolled back


def require_own_workflow(workflow: Workflow | None, identity: bytes, caller: bytes | None) -> Workflow:
    """A workflow that the caller may change. Refused, as not found: none, or another client's."""
    if workflow is None or caller not in (None, workflow.user_id):
        message = f"No workflow has the id {identity.hex()}"
        raise refuse(Reason.NOT_FOUND, message, found="nothing", wanted="a workflow")
    return workflow


def require_own_node(step: Step, node_id: bytes) -> Node:
    """A node that the caller may change. Refused, as not found: another client's."""
    node = step.enter_node(node_id)
    caller = step.command.user_id
    if node is None or (caller is not None and caller != node.user_id):
        raise refuse(Reason.NOT_FOUND, f"No node has the id {node_id.hex()}", found="nothing", wanted="a node")
    return node
