"""A second, naive reading of the rules: what Backbeat does, written from the behaviour document alone.

Plain dataclasses and lists of children. Every "schedule next" walks all children, every completion asks all nodes there
are, every deactivation goes through the whole tree at once. No ledger, cursor, slices or partitions: all workflows
lie in one `Naive`, and a link is closed in the moment in which its node is. It shares nothing with the core but the
structs of the commands, the settings, the ids, the original's delay and its jitter: those are inputs, not rules.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Backoff, FollowUp, Progress
from backbeat.streams.core import retry

# The tables of section 3, as they stand in the document.
CLIENT = {
    "pending": {"ready", "errored"},
    "ready": {"received", "errored"},
    "received": {"processing", "complete", "errored"},
    "processing": {"complete", "errored"},
    "errored": {"ready", "errored", "resolved", "shutdown"},
    "complete": {"complete"},
    "resolved": set(),
    "shutdown": set(),
}
SERVER = {
    "pending": {"ready", "deactivated", "errored"},
    "ready": {"started", "deactivated", "errored"},
    "started": {"sent_to_client", "paused", "deactivated", "errored"},
    "sent_to_client": {"processing_children", "retrying", "retries_exhausted", "deactivated", "errored"},
    "processing_children": {"complete", "deactivated", "errored"},
    "complete": {"deactivated"},
    "paused": {"started", "deactivated", "errored"},
    "errored": {"ready", "deactivated", "errored"},
    "retrying": {"ready", "deactivated", "errored"},
    "retries_exhausted": {"ready", "deactivated", "errored", "processing_children"},
    "deactivated": {"deactivated"},
}
TEN_YEARS_MS = 10 * 365 * 86_400_000
EXPIRED = "Client did not respond within the specified 'complete_by' time"

Row = tuple[int, bytes, bytes | None, bool, bool]
Entry = tuple[str, str, str, int, bytes | None]  #: which status, from, to, at, response


def goes_elsewhere(node: Child, command: c.ChangeNode) -> bool:
    """Whether a worker that has no activity of this name hands the node back, which another one then gets."""
    return not command.attempted and node.handed_back < 64


class Refused(Exception):  # noqa: N818 - a refusal is no error
    """The command is refused: nothing of it may stay."""

    def __init__(self, reason: str, found: str = "", wanted: str = "", message: str = "") -> None:
        super().__init__(reason)
        self.reason, self.found, self.wanted, self.message = reason, found, wanted, message


class Nothing(Exception):  # noqa: N818 - as above
    """The command changes nothing, and that is as it should be."""


def error_text(error: dict[str, Any]) -> bytes:
    """The response that a node keeps of an error."""
    return json.dumps({"error": error}, separators=(",", ":"), ensure_ascii=False).encode()


def is_result(command: c.AnyCommand) -> bool:
    """Whether a worker answers an attempt with it."""
    return isinstance(command, (c.AddChildren, c.ChangeNode)) and command.attempt is not None


@dataclass(eq=False)
class Parent:
    """A workflow or a node: what has children."""

    id: bytes
    children: list[Child] = field(default_factory=list)


@dataclass(eq=False)
class Tree(Parent):
    """A workflow."""

    user_id: bytes = b""
    complete: bool = False
    paused: bool | None = None
    nodes: list[Child] = field(default_factory=list)  #: by seq
    messages: list[tuple[str, bytes]] = field(default_factory=list)  #: name and payload, those that nobody has got
    line: list[Child] = field(default_factory=list)  #: nodes that have begun to wait for a message, over or not
    pauses: list[Child] = field(default_factory=list)  #: those that wait for a resume, in the order in which they came


@dataclass(eq=False)
class Child(Parent):
    """A node."""

    tree: Tree = None  # type: ignore[assignment]
    parent: Parent = None  # type: ignore[assignment]
    user_id: bytes = b""
    name: str = ""
    mode: str = "blocking"
    type: str = "activity"
    seq: int = 0
    depth: int = 1
    fires_at: int = 0
    link: bytes | None = None
    interval: float = 1200.0
    backoff: Backoff | None = None
    given: int = 0
    handed_back: int = 0
    retries: int = 6
    timeout: float | None = None
    server: str = "pending"
    client: str = "pending"
    complete_by: int | None = None
    attempt: int = 0
    timer: tuple[str, int] | None = None  #: kind and time
    coalesce_key: str | None = None
    awaits: bool = False
    progress: Progress | None = None
    default: bytes | None = None  #: where no message comes
    takes: list[Taken] = field(default_factory=list)
    returns: Child | None = None
    failures_allowed: int = 0
    allowed_failures: list[Child] = field(default_factory=list)
    counted_from: int = 0  #: children of attempts that failed
    follow_ups: tuple[FollowUp, ...] = ()
    reset_children: int = 0  #: children that a reset has deactivated
    handler: Child | None = None  #: of its newest failure
    gives_up: bool = False
    given_up: bool = False
    undo_due: bool = False
    undo_from: int | None = None  #: children that were reset before
    undo_walks: int = 0
    is_canceled: bool = False
    is_added: bool = False
    undo: Child | None = None
    history: list[Entry] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        return self.server in {"complete", "deactivated"}


@dataclass(eq=False)
class Taken:
    """A result that a node takes."""

    producer: Child
    of_children: bool
    default: bytes | None
    state: str = "waits"  #: there, default


@dataclass
class Outcome:
    """What a command led to."""

    answer: tuple[Any, ...] = ("nothing",)
    dispatches: list[tuple[bytes, int]] = field(default_factory=list)
    #: results that go along: by node, (slot, node, response, whether it is a default, whether it is a failure)
    results: dict[bytes, list[Row]] = field(default_factory=dict)
    notifications: list[tuple[bytes, str, str]] = field(default_factory=list)


class Naive:
    """All workflows there are."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.trees: dict[bytes, Tree] = {}
        self.nodes: dict[bytes, Child] = {}
        self.answers: dict[bytes, tuple[bytes, tuple[Any, ...]]] = {}
        self.dropped: dict[bytes, Child] = {}
        self.told: set[bytes] = set()  #: messages without a caller's key
        self.removed: set[bytes] = set()  #: top-level nodes of workflows that were removed
        self.policy: RetentionPolicy | None = None
        self.now = 0
        self.outcome = Outcome()

    # --- commands ----------------------------------------------------------------------------------------------------

    def apply(self, command: c.AnyCommand, now: int) -> Outcome:
        """What the command does. A refusal leaves no trace: refusals come before the first change."""
        self.now = now
        self.outcome = Outcome()
        kept = self.answers.get(command.id) if command.body_hash is not None else None
        if kept is not None:
            self.outcome.answer = kept[1] if kept[0] == command.body_hash else ("rejection", "key_reused")
            return self.outcome
        try:
            self.outcome.answer = getattr(self, f"on_{type(command).__name__}")(command)
        except Refused as refused:
            words = (refused.found, refused.wanted) if refused.wanted else ()
            self.outcome.answer = ("rejection", refused.reason, *words)
            self._keep(command)
            if refused.message and is_result(command):  # a worker hears of a refusal in no other way
                response = json.dumps(
                    {"error": {"message": refused.message}}, separators=(",", ":"), ensure_ascii=False
                ).encode()
                self._client_error(self.nodes[getattr(command, "attempt_of", None) or command.node_id], response)
        except Nothing:
            self.outcome.answer = ("ignored",)
        else:
            self._keep(command)
        return self.outcome

    def _keep(self, command: c.AnyCommand) -> None:
        """What a command with a caller's key was answered is what its repeats are answered."""
        if command.body_hash is not None:
            self.answers[command.id] = (command.body_hash, self.outcome.answer)

    def on_CreateWorkflow(self, command: c.CreateWorkflow) -> tuple[Any, ...]:  # noqa: N802 - named after the command
        tree = self._found_or_made(command.workflow)
        return ("workflow", tree.id, tree.complete, tree.paused)

    def on_Signal(self, command: c.Signal) -> tuple[Any, ...]:  # noqa: N802
        link = command.node.parent_link_id
        if link is not None and link not in self.nodes and link not in self.removed:
            raise Refused("invalid_parameters")  # the target is asked first
        target = None if link is None else self.nodes.get(link)
        is_new = ids.node_id(command.workflow_id, command.id, 0) not in self.nodes
        held = None if target is None or command.beside else self._first_held(target)
        is_own = target is not None and target.tree.id == command.workflow_id
        if is_new and is_own and held is not None and held.mode == "blocking":
            raise Refused("invalid_parameters")  # it would wait for a signal that comes after it
        if ids.node_id(command.workflow_id, command.id, 0) in self.removed:
            if command.reply_to is None:
                raise Nothing
            raise Refused("not_found", "a workflow that was removed", "a signal of another id")
        tree = self.trees.get(command.workflow_id)
        if tree is None and command.workflow is None:
            raise Refused("not_found")
        if tree is not None and command.user_id is not None and tree.user_id != command.user_id:
            raise Refused("not_found")
        node_id = ids.node_id(command.workflow_id, command.id, 0)
        there = self.nodes.get(node_id)
        if there is not None:  # the same signal again makes no second node
            return ("node", there.id, there.server, there.client)
        if command.coalesce_key is not None and command.id in self.dropped:
            standing = self.dropped[command.id]  # and the same for one that was dropped
            if standing.id in self.removed or standing.id not in self.nodes:
                if command.reply_to is None:
                    raise Nothing
                raise Refused("not_found", "a workflow that was removed", "a signal of another id")
            return ("node", standing.id, standing.server, standing.client)
        if tree is not None and tree.complete:
            raise Refused("workflow_complete")
        if tree is not None and target is not None and not target.closed and not command.beside:
            self._check_cycle(tree, target)
        if tree is None:
            assert command.workflow is not None
            tree = self._found_or_made(command.workflow)
        waiting = [] if command.coalesce_key is None else self._waiting(tree, command.coalesce_key)
        if waiting and command.coalesce is c.Coalesce.DROP:
            self.dropped[command.id] = waiting[0]
            return ("node", waiting[0].id, waiting[0].server, waiting[0].client)
        for node in waiting:
            self._deactivate([node, *self._below(node)])
        if any(row.kind == "undo" for row in command.node.follow_ups):
            raise Refused("invalid_parameters", "undo", "failure or cancel")
        node = self._new(tree, tree, command.node, node_id, "decision")
        node.coalesce_key = command.coalesce_key
        node.mode = "non_blocking" if command.beside else "blocking"
        node.server = node.client = "ready"
        answer = ("node", node.id, "ready", "ready")
        self._schedule_next(tree)
        return answer

    def _check_cycle(self, tree: Tree, target: Child) -> None:
        """Refuse a new signal of this tree where the tree waits, over however many others, for the target."""
        places: list[tuple[Tree, Child | None]] = [(tree, None)]
        for place, child in places:
            first = self._first_held(target)
            if child is not None and place is target.tree and _holds(first, child):
                raise Refused("invalid_parameters")
            for other in self.nodes.values():
                waits = None if other.link is None else self.nodes.get(other.link)
                if waits is None or other.parent is not other.tree or other.closed or waits.tree is not place:
                    continue
                first = self._first_held(waits)
                if other.tree is place or not _holds(first, child):
                    continue
                if child is None and other.tree is target.tree:
                    raise Refused("invalid_parameters")  # each would wait for the other
                if (other.tree, other) not in places and other.tree is not tree:
                    places.append((other.tree, other))

    def on_SendMessage(self, command: c.SendMessage) -> tuple[Any, ...]:  # noqa: N802
        tree = self.trees.get(command.workflow_id)
        if tree is None or (command.user_id is not None and tree.user_id != command.user_id):
            raise Refused("not_found")
        if command.body_hash is None and command.id in self.told:
            return ("done", False)
        if tree.complete:
            raise Refused("workflow_complete")
        if command.body_hash is None:
            self.told.add(command.id)
        tree.messages.append((command.name, command.payload))
        self._give_message(tree)
        return ("done", True)

    def _give_message(self, tree: Tree) -> None:
        """The first node in the line gets the first message of its name, if there is one."""
        for node in tree.line:
            for message in tree.messages:
                if node.server == "sent_to_client" and message[0] == node.name:
                    tree.messages.remove(message)
                    self._client_complete(node, "complete", message[1])
                    return

    def _waiting(self, tree: Tree, key: str) -> list[Child]:
        """The newest signal of this key, if it was never sent to its client and is not over."""
        of_key = [node for node in tree.children if node.coalesce_key == key]
        waits = {"ready", "started", "paused"}
        return [node for node in of_key[-1:] if node.server in waits and node.attempt == 0]

    def on_ChangeWorkflow(self, command: c.ChangeWorkflow) -> tuple[Any, ...]:  # noqa: N802
        tree = self.trees.get(command.workflow_id)
        if tree is None or (command.user_id is not None and tree.user_id != command.user_id):
            raise Refused("not_found")
        if command.change == "complete":
            tree.complete = True
        elif command.change == "pause":
            tree.paused = True
        else:
            tree.paused = False
            waiting, tree.pauses = tree.pauses, []
            for node in waiting:
                if node.server == "paused":
                    self._set_server(node, "started")
            for node in waiting:
                if node.server == "started" and node.timer is None:
                    self._start(node)
        return ("done", True)

    def on_ChangeNode(self, command: c.ChangeNode) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        word = command.status
        known = {"deciding", "processing", "deciding_complete", "completed", "errored", "resolved", "shutdown"}
        if word not in known | {"deactivated", "canceled"}:
            raise Refused("unknown_status")
        if command.attempt is not None and (command.attempt != node.attempt or node.server != "sent_to_client"):
            return ("done", False)
        if command.retry_after_seconds is not None and command.retry_after_seconds < 0:
            raise Refused(
                "invalid_parameters",
                message=f"retry_after_seconds is {command.retry_after_seconds:g}; it must be a number from 0 up",
            )
        if command.children and ids.node_id(node.tree.id, command.id, 0) in self.nodes:
            return ("done", False)  # the whole command is a repeat
        if node.server == "complete" and command.children:
            raise Refused("invalid_server_status", "complete")
        self._check_depth(node, command)
        if node.server != "deactivated":
            self._check_change(node, word, command)
            self._check_returns(node, word, command)
        late = self._add(node, command)
        self._give(self.nodes[made] for made in self._made(node, command))
        if node.server == "deactivated":
            return ("done", False)
        if word in ("completed", "deciding_complete"):
            node.returns = None if command.returns is None else self.nodes[command.returns]
            node.gives_up = command.gives_up
        self._change(node, word, command.response, command)
        if late:
            self._schedule_next(node)
        return ("done", True)

    def on_AddChildren(self, command: c.AddChildren) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        runner: Child | None = node
        if command.attempt_of is not None:
            runner = self.nodes.get(command.attempt_of)
            if runner is None or runner.tree is not node.tree or command.user_id not in (None, runner.user_id):
                raise Refused("not_found")
        if command.attempt is not None and (command.attempt != runner.attempt or runner.server != "sent_to_client"):
            return ("done", False)
        made = tuple(ids.node_id(node.tree.id, command.id, index) for index in range(len(command.children)))
        if made and made[0] in self.nodes:
            return ("made", made)
        if node.server == "complete":
            raise Refused("invalid_server_status", "complete")
        self._check_depth(node, command)
        late = self._add(node, command)
        self._give(self.nodes[made_id] for made_id in made)
        if late:
            self._schedule_next(node)
        return ("made", made)

    def _made(self, node: Child, command: Any) -> list[bytes]:
        return [ids.node_id(node.tree.id, command.id, index) for index in range(len(command.children))]

    def on_Heartbeat(self, command: c.Heartbeat) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        if node.server != "sent_to_client" or command.attempt != node.attempt:
            found = node.server if command.attempt == node.attempt else f"attempt {node.attempt}"
            raise Refused("invalid_server_status", found, "sent_to_client")
        progress = command.progress
        if progress is not None and progress.fraction is not None and not 0 <= progress.fraction <= 1:
            raise Refused("invalid_parameters", f"{progress.fraction:g}", "0 to 1")
        self._renew(node)
        node.progress = node.progress if progress is None else progress
        return ("done", True)

    def on_RestartNode(self, command: c.RestartNode) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        if node.server == "deactivated":
            return ("done", False)
        parent_runs = isinstance(node.parent, Child) and node.parent.server not in {"processing_children", "complete"}
        if node.client == "pending" and (node.server == "pending" or parent_runs):
            raise Refused("invalid_client_status", node.client, "ready")
        node_failed_unsent = node.server == "errored" and node.client == "ready"
        if not node_failed_unsent:
            self._check(node, client="ready", server="ready")
        node.fires_at = self.now
        if node_failed_unsent:  # "it changes the server status only"
            self._set_server(node, "ready")
            self._schedule_next(node.parent)
        else:
            node.handed_back = 0
            self._retry(node)
        return ("done", True)

    def on_ResetNode(self, command: c.ResetNode) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        if node.server == "deactivated":
            return ("done", False)
        self._drop_children(node)
        return ("done", True)

    def on_ScheduleNode(self, command: c.ScheduleNode) -> tuple[Any, ...]:  # noqa: N802
        node = self._node(command)
        if node.server == "deactivated":
            return ("done", False)
        self._schedule_next(node)
        return ("done", True)

    def on_ChangeSettings(self, command: c.ChangeSettings) -> tuple[Any, ...]:  # noqa: N802
        names = command.names or [name for name in command.settings.__struct_fields__ if name != "version"]
        changed = {name: getattr(command.settings, name) for name in names}
        self.settings = msgspec.structs.replace(self.settings, **changed)
        return ("done", True)

    def on_ChangeRetention(self, command: c.ChangeRetention) -> tuple[Any, ...]:  # noqa: N802
        self.policy = None if command.forget else command.policy
        return ("done", True)

    def remove(self, workflow_id: bytes) -> None:
        """The workflow was finished for long enough, and is archived where that is wanted."""
        tree = self.trees.pop(workflow_id)
        for node in tree.nodes:
            assert node.closed
            del self.nodes[node.id]
        self.removed |= {node.id for node in tree.children}
        gone = {node.id for node in tree.nodes}
        for node in self.nodes.values():
            # What is made again under the same id, once it is forgotten, waits for nobody.
            if node.link in gone:
                node.link = None

    def on_DeliveryFailed(self, command: c.DeliveryFailed) -> tuple[Any, ...]:  # noqa: N802
        node = self.nodes.get(command.node_id)
        if node is None or command.attempt != node.attempt:
            raise Nothing
        if node.server != "sent_to_client" or node.client not in ("received", "processing"):
            raise Nothing  # the client has answered meanwhile
        self._client_error(node, command.response)
        return ("nothing",)

    def on_FailNode(self, command: c.FailNode) -> tuple[Any, ...]:  # noqa: N802
        node = self.nodes.get(command.node_id)
        if node is None or node.closed:
            raise Nothing
        error = {"message": command.message}
        self._set_server(
            node, "errored", json.dumps({"error": error}, separators=(",", ":"), ensure_ascii=False).encode()
        )
        node.timer = None
        self._notify(node, "Server Error", error)
        return ("nothing",)

    def timer_fired(self, node_id: bytes, kind: str, now: int) -> Outcome:
        """A timer that stands is due: whoever calls has seen to it that it is the one that stands."""
        self.now = now
        self.outcome = Outcome(("nothing",))
        node = self.nodes[node_id]
        assert node.timer is not None and node.timer[0] == kind  # noqa: PT018
        node.timer = None
        if kind == "start":
            self._start(node)
        elif kind == "retry":
            self._retry(node)
        elif node.awaits and node.default is not None:
            self._client_complete(node, "complete", node.default)
        elif node.awaits:
            message = f"No message {node.name!r} was sent to its workflow in time"
            self._client_error(node, error_text({"message": message}))
        else:
            self._client_error(node, json.dumps({"error": EXPIRED}, separators=(",", ":"), ensure_ascii=False).encode())
        return self.outcome

    # --- events (section 4) ------------------------------------------------------------------------------------------

    def _schedule_next(self, parent: Parent) -> None:
        if isinstance(parent, Child) and parent.server == "deactivated":
            return
        due = []
        blocked = False
        for child in sorted(parent.children, key=lambda node: node.seq):
            if child.closed or (blocked and not _is_beside(child)):
                continue
            if child.server == "ready" and all(taken.state != "waits" for taken in child.takes):
                self._set_server(child, "started")
                due.append(child)
            blocked = blocked or child.mode == "blocking"
        for child in due:
            if child.fires_at > self.now:
                child.timer = ("start", child.fires_at)
            else:
                self._start(child)
        if isinstance(parent, Child) and parent.server == "retries_exhausted":
            self._handled(parent)
        if isinstance(parent, Child) and parent.server == "processing_children" and self._nothing_open(parent):
            if parent.undo_due and self._undo(parent):
                return
            if parent.is_canceled:
                self._deactivate([parent])
                self._schedule_next(parent.parent)
            elif all(other.closed for other in self.nodes.values() if other.link == parent.id):
                self._complete(parent)

    def _nothing_open(self, node: Child) -> bool:
        return all(child.closed or child.mode == "fire_and_forget" for child in node.children)

    # --- activities that follow (docs/explanation/failures.md) --------------------------------------------------------

    def _following(self, parent: Parent, node: Child, row: FollowUp, mark: bytes, mode: str) -> Child:
        identity = ids.node_id(node.tree.id, ids.command_id(node.id, row.kind.value.encode() + mark), 0)
        new = c.NewNode(
            name=row.name,
            user_id=row.user_id,
            client_data=row.client_data,
            retries=row.retries,
            retry_interval_seconds=row.retry_interval_seconds,
            backoff=row.backoff,
        )
        following = self._new(node.tree, parent, new, identity, "activity")
        following.mode = mode
        return following

    def _failed(self, node: Child, error: bytes) -> None:
        row = _follow_up(node, "failure")
        if row is not None:
            self._drop_children(node)
            node.handler = self._following(node, node, row, node.attempt.to_bytes(8, "big"), "blocking")
            node.handler.takes = [Taken(node, False, error, "default")]
            node.handler.is_added = True
            self._make_ready(node.handler)
            self._schedule_next(node)

    def _handled(self, node: Child) -> None:
        handler = node.handler
        if handler is None or handler.server != "complete" or handler.client == "shutdown":
            return
        response = _result(handler) if _has_result(handler) else None
        if not handler.gives_up:
            self._client_complete(node, "resolved", response)
            return
        groups, above = [], node
        while above.mode != "fire_and_forget" and isinstance(above.parent, Child) and above.parent.type == "flag":
            above = above.parent
            groups.append(above)
        for group in groups:
            if group.server == "processing_children":
                self._shut_siblings(group)
        self._client_complete(node, "shutdown", response)

    def _gave_up(self, node: Child) -> None:
        node.given_up = True
        above, steps = node, []
        while isinstance(above.parent, Child) and above.mode != "fire_and_forget" and not above.is_added:
            above = above.parent
            above.given_up = True
            steps.append(above)
        step_of = next((step for step in steps if step.type != "flag"), None)
        if step_of is not None and step_of.server == "processing_children":
            step_of.undo_due = True

    def _undo(self, holder: Child) -> bool:
        """Undo what was done below a node, the last first. False: there is nothing."""
        if not any(_follow_up(node, "undo") for node in self._below(holder)):
            holder.undo_due = False
            return False
        begin = holder.reset_children if holder.undo_from is None else holder.undo_from
        holder.undo_due, holder.undo_from = False, None
        holder.undo_walks += 1
        mark = b"undos" + holder.undo_walks.to_bytes(4, "big")
        done = [node for child in holder.children[begin:] for node in self._to_undo(child)]
        if not done:
            return False
        new = c.NewNode(name="Undo", user_id=holder.user_id)
        identity = ids.node_id(holder.tree.id, ids.command_id(holder.id, mark), 0)
        group = self._new(holder.tree, holder, new, identity, "flag")
        group.is_added = True
        before = None
        for node in done:
            row = _follow_up(node, "undo")
            undo = node.undo = self._following(group, node, row, group.id, "non_blocking")
            undo.takes = [Taken(node, False, None, "there")]
            if before is not None:
                before.takes.append(Taken(undo, False, b"null"))
            before = undo
        self._make_ready(group)
        self._schedule_next(holder)
        return True

    def _to_undo(self, node: Child) -> list[Child]:
        if node.mode == "fire_and_forget" or (node.is_added and node.type == "flag"):
            return []
        if _follow_up(node, "undo") is None or not _was_done(node):
            return [other for child in node.children[node.reset_children :] for other in self._to_undo(child)]
        undo = node.undo
        return [node] if undo is None or (undo.server == "deactivated" and not _was_done(undo)) else []

    def _start(self, node: Child) -> None:
        if node.tree.paused:
            self._set_server(node, "paused")
            node.tree.pauses.append(node)
            return
        self._check(node, client="received", server="sent_to_client")
        timeout = self.settings.default_timeout_seconds if node.timeout is None else node.timeout
        node.complete_by = None if timeout == float("inf") else self.now + int(timeout * 1000)
        node.attempt += 1
        node.progress = None
        self._set_server(node, "sent_to_client")
        self._set_client(node, "received")
        if node.type == "flag" and not node.awaits:
            self._change(node, "completed", None)
            return
        if node.awaits:
            if node.complete_by is not None:
                node.timer = ("expiry", node.complete_by)
            if node in node.tree.line:
                node.tree.line.remove(node)
            node.tree.line.append(node)
            self._give_message(node.tree)
            return
        self.outcome.dispatches.append((node.id, node.attempt))
        if node.takes:
            self.outcome.results[node.id] = [row for slot, taken in enumerate(node.takes) for row in _rows(slot, taken)]
        if node.complete_by is not None:
            node.timer = ("expiry", node.complete_by)

    def _check_change(self, node: Child, word: str, command: c.ChangeNode) -> None:
        match word:
            case "deciding" | "processing":
                self._check(node, client="processing")
            case "deciding_complete" | "completed":
                self._check(node, client="complete", server="processing_children")
            case "errored":
                again = (node.retries > 0 and command.retriable) or goes_elsewhere(node, command)
                server = "retrying" if again else "retries_exhausted"
                self._check(node, client="errored", server=server)
            case "resolved" | "shutdown":
                self._check(node, client=word, server="processing_children")
            case "canceled":
                if command.compensate and node.server == "complete":
                    raise Refused("invalid_server_status", "complete", "a node that is not complete")

    def _change(self, node: Child, word: str, response: bytes | None, command: c.ChangeNode | None = None) -> None:
        match word:
            case "deciding" | "processing":
                self._set_client(node, "processing")
                if node.awaits:
                    self._renew(node)  # it goes on waiting
                else:
                    node.timer = None  # a node at processing never expires
            case "resolved" | "shutdown" if node.handler is not None and not node.handler.closed:
                self._deactivate([node.handler, *self._below(node.handler)])
                self._client_complete(node, word, response)
            case "deciding_complete" | "completed" | "resolved":
                self._client_complete(node, "resolved" if word == "resolved" else "complete", response)
            case "shutdown":
                self._client_complete(node, word, response)
            case "errored":
                self._client_error(node, response, command)
            case "deactivated":
                self._renew(node)
                older = [other for other in self._below(node.tree) if other.seq < node.seq]
                self._deactivate(older, again=True)
            case "canceled" if command is not None and command.compensate and node.server == "processing_children":
                if node.is_canceled:
                    return
                node.is_canceled, node.undo_due = True, True
                node.undo_from = node.reset_children
                self._drop_children(node)
                self._schedule_next(node)
            case "canceled":
                node.reset_children = len(node.children)
                self._deactivate([node, *self._below(node)])
                self._schedule_next(node.parent)

    def _renew(self, node: Child) -> None:
        if node.timer is not None and node.timer[0] == "expiry":
            timeout = self.settings.default_timeout_seconds if node.timeout is None else node.timeout
            node.complete_by = self.now + int(timeout * 1000)
            node.timer = ("expiry", node.complete_by)

    def _client_complete(self, node: Child, status: str, response: bytes | None) -> None:
        self._set_client(node, status, response)
        self._set_server(node, "processing_children", response)
        node.complete_by = None
        node.timer = None
        if status == "shutdown":
            self._gave_up(node)
            self._shut_siblings(node)
        self._children_ready(node)

    def _shut_siblings(self, node: Child) -> None:
        if node.mode == "blocking":
            later = [other for other in node.parent.children if other.seq > node.seq]
            self._deactivate([other for other in later if not _is_beside(other)])

    def _children_ready(self, node: Child) -> None:
        for child in node.children:
            if child.server == "pending":
                self._make_ready(child)
        self._schedule_next(node)

    def _make_ready(self, child: Child) -> None:
        self._check(child, client="ready", server="ready")
        self._set_server(child, "ready")
        self._set_client(child, "ready")

    def _complete(self, node: Child) -> None:
        returned = None if node.returns is None or not _has_result(node.returns) else _result(node.returns)
        self._set_server(node, "complete", returned)
        self._give(self._takers(node))
        if node.mode != "fire_and_forget":
            self._schedule_next(node.parent)
        self._close_links([node])

    def _wait(self, node: Child, after: float | None) -> int:
        """Milliseconds until a node that has failed is tried again."""
        if after is not None:
            return int(min(after * 1000.0, TEN_YEARS_MS))
        if node.backoff is None:
            return retry.delay_ms(node.id, node.attempt, node.interval, node.retries)
        seconds = node.interval
        for _ in range(node.given - node.retries - 1):
            seconds *= node.backoff.factor
        seconds = min(seconds, node.backoff.longest_seconds)
        return int(seconds * 1000.0 * retry.jitter(node.id, node.attempt, node.backoff.jitter))

    def _client_error(self, node: Child, response: bytes | None, command: c.ChangeNode | None = None) -> None:
        self._set_client(node, "errored", response)
        node.timer = None
        wait = None
        if command is not None and goes_elsewhere(node, command):
            node.handed_back += 1
            seconds = min(2.0 ** (node.handed_back - 1), 60.0)
            wait = int(seconds * 1000.0 * retry.jitter(node.id, node.attempt, 0.2))
        elif node.retries > 0 and (command is None or command.retriable):
            node.retries -= 1
            wait = self._wait(node, None if command is None else command.retry_after_seconds)
        if wait is not None:
            self._set_server(node, "retrying")
            node.fires_at = self.now + wait
            node.timer = ("retry", node.fires_at)
            return
        self._set_server(node, "retries_exhausted")
        answer = json.loads(response) if response else None
        error = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(error, str):
            error = {"message": error}
        self._notify(node, "Client Error", error if isinstance(error, dict) else {})
        self._allow_failure(node)
        if node.server == "retries_exhausted":
            text = json.dumps(error, separators=(",", ":"), ensure_ascii=False) if isinstance(error, dict) else "{}"
            self._failed(node, text.encode())

    def _allow_failure(self, node: Child) -> None:
        """Up to so many children that have failed for good count as done."""
        parent = node.parent
        if not isinstance(parent, Child) or node.mode == "fire_and_forget" or parent.server != "processing_children":
            return
        if sum(map(_is_allowed_failure, parent.children[parent.reset_children :])) < parent.failures_allowed:
            parent.allowed_failures.append(node)
            self._deactivate([node, *self._below(node)])
            self._schedule_next(parent)

    def _notify(self, node: Child, name: str, error: dict[str, Any]) -> None:
        self.outcome.notifications.append((node.id, name, json.dumps(error, sort_keys=True)))

    def _retry(self, node: Child) -> None:
        self._set_client(node, "ready")
        self._set_server(node, "ready")
        node.timer = None
        self._drop_children(node)
        self._schedule_next(node.parent)

    def _drop_children(self, node: Child) -> None:
        node.reset_children = len(node.children)
        if node.server != "complete":
            node.counted_from = len(node.children)
        self._deactivate(self._below(node))

    def _deactivate(self, nodes: list[Child], *, again: bool = False) -> None:
        """All of them first, then whatever waited for one over a link. `again`: a deactivated one gets an entry too."""
        closing = [node for node in nodes if not node.closed]
        for node in nodes:
            if again or node.server != "deactivated":
                self._set_server(node, "deactivated")
                node.timer = None
        for node in closing:
            row = _follow_up(node, "cancel")
            if row is not None and node.attempt:
                following = self._following(node.tree, node, row, b"", "non_blocking")
                following.server = following.client = "ready"
                self._set_server(following, "started")
                self._start(following)
        self._give([taker for node in closing for taker in self._takers(node)])
        self._close_links(closing)

    def _takers(self, producer: Child) -> list[Child]:
        return [node for node in producer.tree.nodes if any(taken.producer is producer for taken in node.takes)]

    def _give(self, takers: Any) -> None:
        """Whatever these nodes wait for and is over, they get; or their defaults; or they are deactivated."""
        for taker in takers:
            for taken in taker.takes:
                producer = taken.producer
                if taken.state != "waits" or not producer.closed or taker.closed:
                    continue
                children = _counted(producer)
                is_there = _has_result(producer) and (
                    not taken.of_children or all(_is_allowed_failure(child) or _has_result(child) for child in children)
                )
                if is_there or taken.default is not None:
                    taken.state = "there" if is_there else "default"
                    if all(other.state != "waits" for other in taker.takes):
                        self._start_in_turn(taker)
                else:
                    self._deactivate([taker, *self._below(taker)])
                    self._schedule_next(taker.parent)

    def _start_in_turn(self, node: Child) -> None:
        """A ready node whose results are there starts, unless a blocking one before it is open."""
        if node.server == "ready":
            self._schedule_next(node.parent)

    def _close_links(self, closed: list[Child]) -> None:
        for node in closed:
            target = self.nodes.get(node.link) if node.link is not None else None
            if target is not None:
                self._schedule_next(target)

    def _below(self, node: Parent) -> list[Child]:
        return [other for child in node.children for other in (child, *self._below(child))]

    # --- nodes and their statuses ------------------------------------------------------------------------------------

    def _node(self, command: Any) -> Child:
        node = self.nodes.get(command.node_id)
        if node is None or (command.user_id is not None and node.user_id != command.user_id):
            raise Refused("not_found")
        return node

    def _found_or_made(self, new: c.NewWorkflow) -> Tree:
        identity = ids.workflow_id(new.user_id, new.name, new.subject)
        if identity not in self.trees:
            self.trees[identity] = Tree(identity, user_id=new.user_id)
        return self.trees[identity]

    def _check_takes(self, node: Child, command: c.AddChildren | c.ChangeNode) -> None:
        """Results are taken of nodes of the workflow whose branch is before that of the taker."""
        made = self._made(node, command)
        for index, child in enumerate(command.children):
            for take in child.takes:
                if take.node_id in made[:index]:
                    continue
                producer = self.nodes.get(take.node_id)
                if producer is None or producer.tree is not node.tree:
                    message = (
                        f"{child.name!r} takes the result of {take.node_id.hex()}, which is no node of its workflow"
                    )
                    raise Refused("invalid_parameters", "no such node", "a node of the workflow", message)
                above, way = _way(node), _way(producer)
                path = " > ".join(repr(other.name) for other in [*above, child])
                theirs = " > ".join(repr(other.name) for other in way)
                if producer in above:
                    problem = "which is above it, and is not complete before it"
                    raise self._misplaced(path, theirs, producer.id, problem)
                shared = len([1 for ours, other in zip(above, way, strict=False) if ours is other])
                if shared < len(above) and way[shared].seq > above[shared].seq:
                    raise self._misplaced(path, theirs, producer.id, "which comes after it")

    def _misplaced(self, path: str, theirs: str, producer_id: bytes, problem: str) -> Refused:
        message = (
            f"{path} takes the result of {theirs} ({producer_id.hex()}), {problem}: it would never start. A result is "
            "taken of a node that comes before the taker in the tree. Nothing is added"
        )
        return Refused("invalid_parameters", problem, "a node that comes before it", message)

    def _check_returns(self, node: Child, word: str, command: c.ChangeNode) -> None:
        self._check_returned(node, word, command)
        gives_up = word in ("completed", "deciding_complete") and command.gives_up
        if gives_up and (not isinstance(node.parent, Child) or node.parent.handler is not node):
            message = (
                f"{node.name!r} gives up, and no failure is handled by it: only the activity that follows a failure "
                "(on_failure) can give up"
            )
            raise Refused("invalid_parameters", "another activity", "the handler of a failure", message)

    def _check_returned(self, node: Child, word: str, command: c.ChangeNode) -> None:
        if word not in ("completed", "deciding_complete") or command.returns is None:
            return
        made = self._made(node, command)
        modes = {child_id: child.mode.name.lower() for child_id, child in zip(made, command.children, strict=True)}
        modes |= {child.id: child.mode for child in node.children}
        if modes.get(command.returns, "fire_and_forget") == "fire_and_forget":
            message = (
                f"{node.name!r} returns the result of {command.returns.hex()}, which is no child that it waits for"
            )
            raise Refused("invalid_parameters", "another node", "a child of the node", message)

    def _check_depth(self, node: Child, command: c.AddChildren | c.ChangeNode) -> None:
        limit = self.settings.depth_max
        if command.children and node.depth + 1 > limit:
            message = (
                f"The node would be {node.depth + 1} levels deep; depth_max is {limit}. Let the signal of another "
                "workflow, or siblings, go on with it; or have depth_max raised (backbeat settings set depth_max=…)"
            )
            raise Refused("limit_exceeded", str(node.depth + 1), f"depth_max {limit}", message)
        self._check_takes(node, command)

    def _first_held(self, node: Child) -> Child | None:
        """The signal that waits for this node, and whose workflow's later signals do, too; null: nothing does."""
        while node.mode != "fire_and_forget" and not node.closed:
            if not isinstance(node.parent, Child):
                return node
            node = node.parent
        return None

    def _add(self, node: Child, command: c.AddChildren | c.ChangeNode) -> bool:
        """Whether the children came late and are ready at once."""
        added = []
        for index, new in enumerate(command.children):
            child = self._new(node.tree, node, new, ids.node_id(node.tree.id, command.id, index), new.type)
            if node.server == "deactivated":
                child.server = "deactivated"
            added.append(child)
        if not added or node.server != "processing_children":
            return False
        for child in added:
            self._make_ready(child)
        return True

    def _new(self, tree: Tree, parent: Parent, new: c.NewNode, identity: bytes, node_type: str) -> Child:
        timeout: Any = json.loads(new.client_data).get("timeout", "default")
        node = Child(
            identity,
            tree=tree,
            parent=parent,
            user_id=new.user_id,
            name=new.name,
            mode=new.mode.name.lower(),
            type=node_type,
            seq=len(tree.nodes) + 1,
            depth=parent.depth + 1 if isinstance(parent, Child) else 1,
            fires_at=self.now if new.fires_at is None else new.fires_at,
            link=new.parent_link_id,
            failures_allowed=new.failures_allowed,
            interval=new.retry_interval_seconds,
            backoff=new.backoff,
            given=new.retries,
            retries=new.retries,
            timeout=None if timeout == "default" else float("inf") if timeout is None else float(timeout),
            follow_ups=new.follow_ups,
        )
        if new.awaits is not None:
            node.awaits, node.default, node.retries, node.given = True, new.awaits.default, 0, 0
        if getattr(parent, "server", "") != "deactivated":
            node.takes = [Taken(self.nodes[take.node_id], take.of_children, take.default) for take in new.takes]
        tree.nodes.append(node)
        parent.children.append(node)
        self.nodes[identity] = node
        return node

    def _check(self, node: Child, client: str | None = None, server: str | None = None) -> None:
        """Both first, then both or neither."""
        if client is not None and client not in CLIENT[node.client]:
            raise Refused("invalid_client_status", node.client, client)
        if server is not None and server not in SERVER[node.server]:
            raise Refused("invalid_server_status", node.server, server)

    def _set_client(self, node: Child, to: str, response: bytes | None = None) -> None:
        assert to in CLIENT[node.client], (node.name, node.client, to)
        node.history.append(("client", node.client, to, self.now, response))
        node.client = to

    def _set_server(self, node: Child, to: str, response: bytes | None = None) -> None:
        assert to in SERVER[node.server], (node.name, node.server, to)
        node.history.append(("server", node.server, to, self.now, response))
        node.server = to


def _is_beside(node: Child) -> bool:
    """Whether it is a signal that takes no turn with the others."""
    return node.parent is node.tree and node.mode == "non_blocking"


def _holds(first: Child | None, child: Child | None) -> bool:
    """Whether a signal, or a new one, cannot end before this one."""
    if first is None or child is None:
        return first is not None and first.mode == "blocking"
    return first is child or (first.mode == child.mode == "blocking" and first.seq <= child.seq)


def _way(node: Child) -> list[Child]:
    """A node and what is above it, from the top down."""
    return [*(_way(node.parent) if isinstance(node.parent, Child) else []), node]


def _has_result(node: Child) -> bool:
    was_complete = any(which == "server" and to == "complete" for which, _, to, _, _ in node.history)
    has_returned = node.returns is None or _has_result(node.returns)
    return was_complete and node.client in ("complete", "resolved") and has_returned


def _is_allowed_failure(node: Child) -> bool:
    return isinstance(node.parent, Child) and node in node.parent.allowed_failures


def _failure(node: Child) -> bytes:
    """The message of the error with which a node has failed for good."""
    response = next(entry[4] for entry in reversed(node.history) if entry[:1] + entry[2:3] == ("client", "errored"))
    answer = {} if response is None else json.loads(response)
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    message = error.get("message", error) if isinstance(error, dict) else error
    text = (
        "" if message is None else message if isinstance(message, str) else json.dumps(message, separators=(",", ":"))
    )
    return error_text({"message": "" if response is None else text[:300]})


def _result(node: Child) -> bytes | None:
    for which, _, to, _, response in reversed(node.history):
        if which == "server" and to == "complete" and response is not None:
            return response
        if which == "client" and to in ("complete", "resolved"):
            return response
    return None


def _counted(producer: Child) -> list[Child]:
    children = producer.children[producer.counted_from :]
    return [child for child in children if child.mode != "fire_and_forget" and not child.is_added]


def _follow_up(node: Child, kind: str) -> FollowUp | None:
    return next((row for row in node.follow_ups if row.kind == kind), None)


def _was_done(node: Child) -> bool:
    was_complete = any(which == "server" and to == "complete" for which, _, to, _, _ in node.history)
    return was_complete and node.client in ("complete", "resolved")


def _rows(slot: int, taken: Taken) -> list[Row]:
    producer = taken.producer
    if taken.state == "default":
        return [(slot, producer.id, taken.default, True, False)]
    if not taken.of_children:
        return [(slot, producer.id, _result(producer), False, False)]
    return [
        (slot, child.id, _failure(child), False, True)
        if _is_allowed_failure(child)
        else (slot, child.id, _result(child), False, False)
        for child in _counted(producer)
        if _is_allowed_failure(child) or _has_result(child)
    ]
