"""Plays moves on the core and on the naive reading at once, and compares what both did.

A move is a word and a few numbers; what they mean depends on the nodes there are at the time, so that any list of moves
is a story, and a part of it too: Hypothesis can shorten what failed.
"""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import msgspec

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, status
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.replies import Answer, Done, Made, Rejection
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.values import Awaits, Backoff, FollowUp, FollowUpKind, Progress, Take
from backbeat.schemas.messages.views import NodeView, WorkflowView
from backbeat.streams.core import effects as e
from backbeat.streams.core import records
from backbeat.streams.core.tables import ARCHIVE_QUEUE, TOMBSTONES
from tests.streams.core.naive import Naive, Outcome, is_result
from tests.streams.core.world import OTHER, TIMER_NUMBERS, USER, Happened, World, reply_to

SUBJECTS = [b'"Camera 703"', b"7", b'{"id":7}']
WORKFLOWS = [c.NewWorkflow(user_id=USER, name="order", subject=subject, decider="Decider") for subject in SUBJECTS]
WORKFLOW_IDS = [ids.workflow_id(new.user_id, new.name, new.subject) for new in WORKFLOWS]

RESPONSES = [None, b'{"error":{"message":"it broke"}}', b'{"error":"text"}', b'{"error":7}', b"[1]", b'{"result":1}']


#: Nodes that a move usually means: those to which it can happen.
USUAL = {
    "completed": {"sent_to_client"},
    "deciding_complete": {"sent_to_client"},
    "processing": {"sent_to_client"},
    "errored": {"sent_to_client"},
    "heartbeat": {"sent_to_client"},
    "undelivered": {"sent_to_client"},
    "resolved": {"retries_exhausted"},
    "shutdown": {"retries_exhausted"},
    "restart": {"retries_exhausted", "retrying", "errored"},
    "add": {"sent_to_client", "processing_children", "ready", "pending"},
    "canceled": {"sent_to_client", "processing_children", "pending", "ready", "retrying", "paused"},
    "schedule": {"sent_to_client", "processing_children", "complete"},
}


#: Names of messages, and of the nodes that wait for them.
MESSAGES = ("approval", "payment")
NODE_TIMERS = {"start", "retry", "expiry"}


class Move(NamedTuple):
    """What to do, and numbers that say to which node and how."""

    word: str
    node: int = 0
    how: int = 0
    children: tuple[int, ...] = ()
    wait: int = 0


class Known(NamedTuple):
    """What a move needs to know of a node."""

    id: bytes
    name: str
    server: str
    attempt: int
    user_id: bytes


class Player:
    """A world and a naive reading that are told the same."""

    def __init__(self, partitions: int = 2, slice_nodes_max: int = 100_000, seed: int = 0) -> None:
        settings = Settings(slice_nodes_max=slice_nodes_max, default_timeout_seconds=60.0, depth_max=6)
        self.world = World(partitions, settings)
        self.naive = Naive(settings)
        self.chance = random.Random(seed)
        self.sent: list[c.AnyCommand] = []
        self.story: list[str] = []
        self.asked = 0

    # --- moves -------------------------------------------------------------------------------------------------------

    def play(self, move: Move) -> None:
        """Make the move on both, drain, and compare everything."""
        self.world.now += move.wait
        command = self._command(move)
        if command is not None:
            self.do(command)

    def do(self, command: c.AnyCommand) -> None:
        self.story.append(self.told(command))
        if isinstance(command, c.TimerFired):
            self._fire(command)
            return
        if isinstance(command, c.RemoveWorkflow):
            workflow = self.world.workflows().get(command.workflow_id)
            is_due = workflow is not None and workflow.due_at is not None
            if is_due and self.naive.policy is not None and workflow.removal_number == command.revision:
                self.naive.remove(command.workflow_id)
            self._compare(command, Outcome(("nothing",)), self.world.do(command, chance=self.chance))
            return
        self.sent.append(command)
        expected = self.naive.apply(command, self.world.now)
        before = self.world.snapshot()
        happened = self.world.do(command, chance=self.chance)
        # The link of a refused signal was opened, and is closed again: its record stays.
        linked = isinstance(command, c.Signal) and command.node.parent_link_id is not None
        is_traceless = command.body_hash is None and not linked and not is_result(command)
        if expected.answer[0] == "rejection" and is_traceless:
            assert self.world.snapshot() == before, "a refused command left a trace"
        self._compare(command, expected, happened)

    def told(self, command: c.AnyCommand) -> str:
        """The command in few words, with the nodes' numbers for their ids."""
        rows = self.world.nodes().values()
        numbers = {row.id: f"{row.name}#{row.workflow_id[0]:x}.{row.seq}" for row in rows}

        def say(value: Any) -> str:
            if isinstance(value, bytes):
                return numbers.get(value, repr(value) if value.isascii() else f"id{value[0]:x}")
            if isinstance(value, tuple):
                return "[" + ", ".join(map(say, value)) + "]"
            if isinstance(value, msgspec.Struct):
                given = [(f.name, getattr(value, f.name), f.default) for f in msgspec.structs.fields(value)]
                hidden = ("id", "tid", "reply_to", "source", "user_id", "workflow")
                fields = [f"{name}={say(it)}" for name, it, default in given if name not in hidden and it != default]
                return f"{type(value).__name__}({', '.join(fields)})"
            return repr(value) if not isinstance(value, status.Mode) else value.name

        return f"{self.world.now} {say(command)}"

    def _command(self, move: Move) -> c.AnyCommand | None:
        carried: dict[str, Any] = {"id": self.world.new_id(), "user_id": USER, "tid": "t"}
        self.asked += 1
        carried["reply_to"] = reply_to(self.asked)
        if move.how % 11 == 10:
            carried["body_hash"] = b"body"
        if move.word == "signal":
            which = move.node % len(WORKFLOWS)
            return c.Signal(
                **carried,
                workflow_id=WORKFLOW_IDS[which],
                workflow=WORKFLOWS[which],
                node=self._new(move.how, mode=status.Mode.BLOCKING, user=USER),
                coalesce_key=(None, None, "a", "b")[move.how % 4 if move.how % 3 else 0],
                coalesce=c.Coalesce(move.how % 5 == 1),
                beside=move.how % 7 == 3,
            )
        if move.word == "send":
            which = move.node % len(WORKFLOWS)
            payload = (b"null", b'{"by":"Grace"}', b'{"result":1}')[move.how % 3]
            return c.SendMessage(
                **carried, workflow_id=WORKFLOW_IDS[which], name=MESSAGES[move.how % 2], payload=payload
            )
        if move.word == "retain":
            policy = RetentionPolicy(
                owner_id=USER,
                name="order",
                keep_seconds=(1.0, 2.0, 60.0)[move.how % 3],
                archive=move.how % 2 == 0,
                refuse_seconds=30.0,
            )
            return c.ChangeRetention(id=carried["id"], policy=policy, forget=move.how % 5 == 4)
        if move.word == "archived":
            return self._archived(move)
        if move.word in ("pause", "resume", "complete"):
            return c.ChangeWorkflow(**carried, workflow_id=WORKFLOW_IDS[move.node % len(WORKFLOWS)], change=move.word)
        if move.word == "repeat":
            return self.sent[move.node % len(self.sent)] if self.sent else None
        if move.word == "fire":
            return self._timer(move)
        node = self._pick(move)
        if node is None:
            return None
        carried["user_id"] = node.user_id
        if move.how % 17 == 16:
            carried["user_id"] = OTHER if node.user_id == USER else USER
        match move.word:
            case "restart":
                return c.RestartNode(**carried, node_id=node.id)
            case "reset":
                return c.ResetNode(**carried, node_id=node.id)
            case "schedule":
                return c.ScheduleNode(**carried, node_id=node.id)
            case "heartbeat":
                progress = (None, Progress(0.25, "page 40"), Progress(None, "page 41"), Progress(1.5))[move.how % 4]
                return c.Heartbeat(
                    **carried, node_id=node.id, attempt=node.attempt + (move.how % 5 == 4), progress=progress
                )
            case "add":
                children = self._children(carried["id"], node, move.children or (move.how,))
                attempt = node.attempt + move.how % 2 if move.how % 5 == 4 else None
                runner_id = self.world.node(node.id).parent_id if move.how % 5 == 3 else None
                if runner_id is not None:
                    attempt = self.world.node(runner_id).attempt
                return c.AddChildren(
                    **carried, node_id=node.id, children=children, attempt=attempt, attempt_of=runner_id
                )
            case "fail":
                return c.FailNode(id=carried["id"], node_id=node.id, message="the engine broke")
            case "undelivered":
                attempt = node.attempt - (move.how % 4 == 3)
                response = b'{"error":{"message":"HTTP request for activity failed"}}'
                return c.DeliveryFailed(id=carried["id"], node_id=node.id, attempt=max(0, attempt), response=response)
            case word:
                children = self._children(carried["id"], node, move.children)
                child_id = ids.node_id(self.world.node(node.id).workflow_id, carried["id"], move.how % 7)
                return c.ChangeNode(
                    **carried,
                    node_id=node.id,
                    status=word,
                    response=RESPONSES[move.how % len(RESPONSES)],
                    children=children,
                    returns=child_id if move.how % 7 < len(children) else None,
                    attempt=(None, None, node.attempt, node.attempt, node.attempt + 1)[move.how % 5],
                    retriable=move.how % 8 != 7,
                    attempted=move.how % 9 != 8,
                    gives_up=move.how % 12 == 5 or (node.name == "failure" and move.how % 2 == 0),
                    compensate=move.how % 3 == 0,
                    retry_after_seconds={3: 0.0, 5: 1.25, 11: 1e12, 12: -1.0}.get(move.how % 13),
                )

    def _archived(self, move: Move) -> c.RemoveWorkflow | None:
        """A workflow that waits to be archived was; at times one that has moved on, or was removed already."""
        waits = sorted(identity for store in self.world.stores for _, identity in store[ARCHIVE_QUEUE])
        identity = waits[move.node % len(waits)] if waits else WORKFLOW_IDS[move.node % len(WORKFLOW_IDS)]
        workflow = self.world.workflows().get(identity)
        revision = 0 if workflow is None else workflow.removal_number - (move.how % 5 == 4)
        return c.RemoveWorkflow(id=self.world.new_id(), workflow_id=identity, revision=revision)

    def _known(self) -> list[Known]:
        if self.naive.nodes:
            return [
                Known(node.id, node.name, node.server, node.attempt, node.user_id) for node in self.naive.nodes.values()
            ]
        rows = sorted(self.world.nodes().values(), key=lambda row: (row.workflow_id, row.seq))
        return [Known(row.id, row.name, self.world.statuses(row.id)[0], row.attempt, row.user_id) for row in rows]

    def _pick(self, move: Move) -> Known | None:
        nodes = self._known()
        usual = USUAL.get(move.word)
        if usual is not None and move.how % 7 != 6:
            nodes = [node for node in nodes if node.server in usual] or nodes
        return nodes[move.node % len(nodes)] if nodes else None

    def _timer(self, move: Move) -> c.TimerFired | None:
        of_nodes = [item for item in self.world.timers().items() if item[0][1] != "job"]
        timers = sorted(of_nodes, key=lambda item: (item[1][0], item[0]))
        if not timers:
            return None
        (subject, kind), (due, number) = timers[0 if move.how % 3 else move.node % len(timers)]
        if move.how % 5 == 4:
            number -= 1 + move.how % 2  # one that was set before
        elif move.how % 13 == 12:
            kind = {"start": "retry", "retry": "expiry", "expiry": "start"}.get(kind, kind)
        if move.how % 4:  # else early: broker time can step back
            self.world.now = max(self.world.now, due)
        return self.world.timer_fired(subject, TIMER_NUMBERS[kind], number)

    def _children(self, command_id: bytes, parent: Known, hows: tuple[int, ...]) -> tuple[c.NewNode, ...]:
        """Nodes, some of which take results: of those before them in the command, or of any of the workflow."""
        workflow_id = self.world.node(parent.id).workflow_id
        known = [node.id for node in self._known() if node.id[:7] == parent.id[:7]]
        children: list[c.NewNode] = []
        for index, how in enumerate(hows):
            bits = random.Random(how)
            made = [ids.node_id(workflow_id, command_id, place) for place in range(index)]
            takes = []
            for _ in range(bits.choice([1, 1, 2, 4]) if how % 5 in (2, 3) else 0):
                node_id = bits.choice(made or known) if bits.randrange(5) < 3 else bits.choice(known)
                default = bits.choice([None, None, b"7"])
                takes.append(Take(node_id, of_children=bits.randrange(5) < 2, default=default))
            children.append(msgspec.structs.replace(self._new(how), takes=tuple(takes)))
        return tuple(children)

    def _new(self, how: int, mode: status.Mode | None = None, user: bytes | None = None) -> c.NewNode:
        bits = random.Random(how)
        link = None
        nodes = self._known()
        kind = "flag" if how % 6 == 1 else "decision" if how % 6 == 2 else "activity"
        mode = mode if mode is not None else status.Mode((0, 0, 1, 1, 2)[how % 5])
        if nodes and how % 4 == 3:
            link = bits.choice(nodes[-8:]).id
        fires_at = None
        if how % 9 == 5:
            fires_at = self.world.now + bits.choice([-10, 0, 1, 5_000])
        client_data = bits.choice(
            [b"{}", b"{}", b'{"timeout":5}', b'{"timeout":null}', b'{"timeout":"2.5"}', b'{"x":1}']
        )
        awaits = Awaits(bits.choice([None, b'{"result":0}'])) if how % 8 == 6 else None
        return c.NewNode(
            name=f"n{how}" if awaits is None else bits.choice(MESSAGES),
            user_id=user or bits.choice([USER, USER, USER, OTHER]),
            mode=mode,
            type="decision" if user else kind,
            client_data=client_data,
            fires_at=fires_at,
            parent_link_id=link,
            retry_interval_seconds=bits.choice([0.0, 0.5, 2.0]),
            retries=bits.choice([0, 0, 1, 1, 2, 3]),
            backoff=bits.choice([None, None, Backoff(), Backoff(1.7, 3.0, 0.5), Backoff(1.0, 0.7, 1.0)]),
            failures_allowed=bits.choice([0, 0, 0, 1, 2]),
            awaits=awaits,
            follow_ups=self._follow_ups(bits, mode, is_signal=user is not None),
        )

    def _follow_ups(self, bits: random.Random, mode: status.Mode, *, is_signal: bool) -> tuple[FollowUp, ...]:
        kinds = [kind for kind in FollowUpKind if bits.randrange(4) == 0]
        if is_signal or mode is status.Mode.FIRE_AND_FORGET:
            kinds = [kind for kind in kinds if kind is not FollowUpKind.UNDO]
        return tuple(FollowUp(kind, kind.value, USER, retries=bits.randrange(2)) for kind in kinds)

    def rush(self, move: Move) -> None:
        """Make the move on the core alone, deliver only some of what is under way, some of it twice."""
        self.world.now += move.wait
        command = self._command(move)
        if command is not None:
            self.story.append(self.told(command))
            if isinstance(command, c.TimerFired):
                self.world.send(command)
            else:
                self.sent.append(command)
                self.world.send(command)
        for _ in range(self.chance.choice([0, 0, 1, 3])):
            self.world.deliver(Happened(), self.chance)
        if self.world.delivered and self.chance.random() < 0.2:
            before = self.world.snapshot()
            happened = self.world.repeat(self.chance.choice(self.world.delivered))
            assert happened.of(e.Ignored), "a command of the engine was taken twice"
            assert self.world.snapshot() == before

    def settle(self) -> None:
        """Everything that is under way is delivered; then whatever could still wait to be scheduled is."""
        self.world.drain(chance=self.chance)
        self.world.check()
        for node_id, row in sorted(self.world.nodes().items(), key=lambda item: -item[1].depth):
            self.world.do(c.ScheduleNode(id=self.world.new_id(), node_id=node_id), chance=self.chance)
            assert row.id == node_id
        for new, identity in zip(WORKFLOWS, WORKFLOW_IDS, strict=True):
            if identity in self.world.workflows() and not self.world.workflows()[identity].complete:
                node = c.NewNode(name="last", user_id=USER)
                self.world.do(c.Signal(id=self.world.new_id(), workflow_id=identity, workflow=new, node=node))
        self.world.check()
        self._check_that_nothing_is_forgotten()

    def _check_that_nothing_is_forgotten(self) -> None:
        nodes = self.world.nodes()
        for parent in [*self.world.workflows().values(), *nodes.values()]:
            children = [row for row in nodes.values() if (row.parent_id or row.workflow_id) == parent.id]
            if isinstance(parent, records.Node):
                if parent.server is status.ServerStatus.DEACTIVATED:
                    continue
                waits = parent.links_open or any(
                    row.server not in status.CLOSED and row.mode is not status.Mode.FIRE_AND_FORGET for row in children
                )
                assert parent.server is not status.ServerStatus.PROCESSING_CHILDREN or waits, "a parent was forgotten"
            elif parent.complete:
                continue
            for row in sorted(children, key=lambda row: row.seq):
                if row.server in status.CLOSED:
                    continue
                if row.server is status.ServerStatus.READY:
                    assert row.flow is not None and row.flow.missing, "a ready node was forgotten"  # noqa: PT018
                if row.mode is status.Mode.BLOCKING:
                    break

    # --- both --------------------------------------------------------------------------------------------------------

    def _fire(self, command: c.TimerFired) -> None:
        kind = {number: name for name, number in TIMER_NUMBERS.items()}[command.kind]
        due, number = self.world.timers().get((command.subject_id, kind), (0, None))
        stands = number == command.number or kind in ("answer", "refusal")
        if stands and self.world.now < due:
            before = self.world.snapshot()
            happened = self.world.do(command, chance=self.chance)
            assert happened.of(e.FiredEarly) == [e.FiredEarly(due)]
            assert happened.commands > 1 or self.world.snapshot() == before
            return
        if kind == "answer":
            self.naive.answers.pop(command.subject_id, None)
            self.naive.dropped.pop(command.subject_id, None)
            self.naive.told.discard(command.subject_id)
            self._compare(command, Outcome(("nothing",)), self.world.do(command, chance=self.chance))
            return
        if kind in ("retention", "refusal"):
            self._rest_is_over(command, kind)
            self._compare(command, Outcome(("nothing",)), self.world.do(command, chance=self.chance))
            return
        node = self.naive.nodes[command.subject_id]
        expected = Outcome(("ignored",))
        if stands:
            expected = self.naive.timer_fired(node.id, kind, self.world.now)
        self._compare(command, expected, self.world.do(command, chance=self.chance))

    def _rest_is_over(self, command: c.TimerFired, kind: str) -> None:
        if kind == "refusal":
            self.naive.removed.discard(command.subject_id)
            return
        workflow = self.world.workflows()[command.subject_id]
        policy = self.naive.policy
        stands = workflow.removal_number == command.number and self.world.now > workflow.finished_at
        if stands and policy is not None and not policy.archive:
            self.naive.remove(workflow.id)

    def _compare(self, command: c.AnyCommand, expected: Outcome, happened: Happened) -> None:
        story = self.story[-1]
        assert set(self.world.nodes()) == set(self.naive.nodes), story
        for node_id, node in self.naive.nodes.items():
            theirs, ours = self.world.statuses(node_id), (node.server, node.client)
            assert theirs == ours, f"{node.name} is {theirs}, must be {ours}; {self.world.moves(node_id)}, {story}"
            assert self.world.history(node_id) == node.history, f"history of {node.name}; {story}"
        workflows = self.world.workflows()
        assert set(workflows) == set(self.naive.trees), story
        assert {workflow_id for store in self.world.stores for workflow_id in store[TOMBSTONES]} == self.naive.removed
        for identity, tree in self.naive.trees.items():
            workflow = workflows[identity]
            assert (workflow.complete, workflow.paused) == (tree.complete, tree.paused)
        assert happened.dispatches == sorted(expected.dispatches), story
        for effect in happened.of(e.Dispatch):
            theirs = [
                (row.slot, row.node_id, row.response, row.is_default, row.failure_index is not None)
                for row in effect.results
            ]
            assert theirs == expected.results.get(effect.node.id, []), story
        notified = sorted((x.node.id, x.message, _sorted(x.error)) for x in happened.of(e.Notify))
        assert notified == sorted(expected.notifications), story
        timers = {(node.id, *node.timer) for node in self.naive.nodes.values() if node.timer}
        theirs_ = {(s, kind, due) for (s, kind), (due, _) in self.world.timers().items() if kind in NODE_TIMERS}
        assert theirs_ == timers, story
        asked = command.reply_to is not None
        assert len(happened.replies) == asked, f"{len(happened.replies)} answers; {story}"
        if asked:
            assert _answer(happened.replies[0])[: len(expected.answer)] == expected.answer, story
        elif expected.answer == ("ignored",):
            assert happened.of(e.Ignored), story
        for node in self.naive.nodes.values():
            row = self.world.node(node.id)
            mine = (node.seq, node.depth, node.attempt, node.retries, node.fires_at, node.mode)
            assert row.progress == node.progress, story
            assert (row.seq, row.depth, row.attempt, row.retries_remaining, row.fires_at, status.word(row.mode)) == mine
        self._compare_changes(happened)
        self.world.check()

    def _compare_changes(self, happened: Happened) -> None:
        """What is told to the history topic is what the nodes' histories have."""
        changes_of: dict[bytes, list[Any]] = {}
        for effect in happened.of(e.StatusChanged):
            for change in effect.changes:
                changes_of.setdefault(change.node_id, []).append(change.change)
        for node_id, changes in changes_of.items():
            kept = self.world.history(node_id)[-len(changes) :]
            words = [
                (
                    "server" if x.server else "client",
                    status.word(x.from_status),
                    status.word(x.to_status),
                    x.at,
                    x.response,
                )
                for x in changes
            ]
            assert words == kept


def _sorted(error: bytes) -> str:
    return json.dumps(json.loads(error), sort_keys=True)


def _answer(answer: Answer) -> tuple[Any, ...]:
    match answer:
        case WorkflowView():
            return ("workflow", answer.id, answer.complete, answer.paused)
        case NodeView():
            return ("node", answer.id, status.word(answer.server), status.word(answer.client))
        case Done():
            return ("done", answer.changed)
        case Made():
            return ("made", answer.ids)
        case Rejection():
            return ("rejection", answer.reason.value, answer.found, answer.wanted)
