"""Those outside the engine: services that signal, workers that answer, an operator who interferes, and askers."""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING, Any

import msgspec

from backbeat.schemas import codec, routes
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, REPLIES, activities_topic
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, queries, views
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.jobs import WORKFLOW_ACTIONS, JobFilter
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.status import CLOSED, Mode, ServerStatus
from backbeat.schemas.messages.values import Awaits, FollowUp, FollowUpKind, Take
from backbeat.streams.core.store import every
from backbeat.streams.core.tables import ARCHIVE_QUEUE, NODES, SCHEDULES, WORKFLOWS

from . import poison
from .checks import QUERY_ASKER
from .plan import ALICE, BOB, LIMITED, name_of
from .planner import SCHEDULED, Planner
from .reference import POISON

if TYPE_CHECKING:
    from .simulation import Simulation

_CALLER = b"c" * 16
_QUERY_SECONDS = 5.0
_NEVER_MS = 10**15
#: In the names of activities that follow a node.
_FOLLOWS = "~"

#: What an operator says of a node, beside restart, reset, schedule and added children.
_WORDS = ("canceled", "resolved", "shutdown", "deactivated", "errored", "completed", "processing")


def answers(plan: Any, node: views.NodeView) -> list[c.AnyCommand]:
    """The commands by which a worker answers one attempt of a node, in order; none: it stays silent."""
    if _FOLLOWS in node.name:
        gives_up = node.name.endswith(FollowUpKind.FAILURE) and random.Random(node.name).random() < 0.7
        answer_id = ids.command_id(node.id, node.attempt.to_bytes(8, "big"))
        fields = {"user_id": node.user_id, "node_id": node.id, "attempt": node.attempt, "gives_up": gives_up}
        return [c.ChangeNode(id=answer_id, status="completed", response=b'{"result":1}', **fields)]
    behaviour = plan.behaviour(name_of(node))
    if node.attempt <= behaviour.silent:
        return []

    def identity(ordinal: int) -> bytes:
        return ids.command_id(node.id, node.attempt.to_bytes(8, "big"), bytes((ordinal,)))

    given: dict[str, Any] = {"user_id": node.user_id, "node_id": node.id, "attempt": node.attempt}
    commands: list[c.AnyCommand] = []
    if behaviour.beats:
        commands.append(c.Heartbeat(id=identity(4), **given))
    if behaviour.says_processing:
        commands.append(c.ChangeNode(id=identity(0), status="processing", **given))
    if node.attempt <= behaviour.silent + behaviour.failures:
        error = b'{"error":{"message":"it broke"}}'
        return [*commands, c.ChangeNode(id=identity(1), status="errored", response=error, **given)]
    before: tuple[c.NewNode, ...] = ()
    children, messages = with_messages(plan, node, behaviour.children)
    commands += [msgspec.structs.replace(message, id=identity(5 + place)) for place, message in enumerate(messages)]
    if behaviour.adds_before and len(children) > 1:
        children, before = children[1:], children[:1]
    made = [ids.node_id(node.workflow_id, identity(2), 0)] if before else []
    made += [ids.node_id(node.workflow_id, identity(3), index) for index in range(len(children))]
    before, children = with_takes(plan, before, made, 0), with_takes(plan, children, made, len(before))
    before, children = with_follow_ups(plan, before), with_follow_ups(plan, children)
    if before:
        commands.append(c.AddChildren(id=identity(2), children=before, **given))
    response = b'{"result":"%s"}' % name_of(node).encode() if has_takes(plan) else b"{}"
    return [*commands, c.ChangeNode(id=identity(3), status="completed", response=response, children=children, **given)]


def has_takes(plan: Any) -> bool:
    """Whether nodes take results: in a quarter of the runs, the others stay as they were before they could."""
    return bool(plan.seed % 4 == 1)


def with_messages(
    plan: Any, node: views.NodeView, children: tuple[c.NewNode, ...]
) -> tuple[tuple[c.NewNode, ...], list[c.SendMessage]]:
    """The children, and some that wait for messages, in the runs with results; the messages that end their waits."""
    waits, messages = [], []
    chance = random.Random(f"messages {plan.seed} {name_of(node)}")
    for _ in range(chance.choice((0, 1, 2)) if children and has_takes(plan) else 0):
        ends_by_time = chance.random() < 0.3
        name = f"{name_of(node)}.{'late' if ends_by_time else 'wait'}"
        waits.append(
            c.NewNode(
                name=name,
                user_id=ALICE,
                mode=chance.choice((Mode.BLOCKING, Mode.NON_BLOCKING)),
                client_data=b'{"timeout":2}' if ends_by_time else b'{"timeout":null}',
                awaits=Awaits(b'{"result":0}' if ends_by_time else None),
            )
        )
        if not ends_by_time:
            messages.append(c.SendMessage(id=b"", workflow_id=node.workflow_id, name=name, payload=b'{"result":1}'))
    return (*waits, *children), messages


def with_takes(plan: Any, children: tuple[c.NewNode, ...], made: list[bytes], first: int) -> tuple[c.NewNode, ...]:
    """The children, some of which take results of siblings before them. `first`: the place of the first one."""
    if not has_takes(plan):
        return children
    taking = []
    for place, child in enumerate(children, start=first):
        chance = random.Random(f"takes {plan.seed} {name_of(child)}")
        count = chance.choice((0, 0, 1, 1, 3)) if place else 0
        takes = [
            Take(chance.choice(made[:place]), of_children=chance.random() < 0.3, default=chance.choice((None, b"0")))
            for _ in range(count)
        ]
        allowed = chance.choice((0, 0, 1, 3))
        taking.append(msgspec.structs.replace(child, takes=tuple(takes), failures_allowed=allowed))
    return tuple(taking)


def has_follow_ups(plan: Any) -> bool:
    """Whether activities follow loud nodes: in a quarter of the runs. Quiet ones never fail for good."""
    return bool(plan.seed % 4 == 3)


def with_follow_ups(plan: Any, children: tuple[c.NewNode, ...]) -> tuple[c.NewNode, ...]:
    """The children, with activities that follow most of the loud ones."""
    if not has_follow_ups(plan):
        return children
    followed = []
    for child in children:
        name = name_of(child)
        chance = random.Random(f"follow-ups {plan.seed} {name}")
        kinds = [kind for kind in FollowUpKind if name.startswith("loud") and chance.random() < 0.6]
        if child.mode is Mode.FIRE_AND_FORGET:
            kinds = [kind for kind in kinds if kind is not FollowUpKind.UNDO]
        rows = tuple(FollowUp(kind, f"{name}{_FOLLOWS}{kind}", child.user_id, b"{}", 0.2, 1_000) for kind in kinds)
        followed.append(msgspec.structs.replace(child, follow_ups=rows))
    return tuple(followed)


class Clients:
    """Everybody who writes commands and queries."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._plan = world.plan
        self.signals_left = list(range(len(world.plan.signals)))
        self._reading = {activities_topic(name): 0 for name in ("alice", "bob")}
        self._replies_read = 0
        self._due: list[tuple[int, int, c.AnyCommand]] = []  #: answers under way: (when, number, command)
        self._count = 0
        #: Draws that leave the others as they were before there were these: the seeds that find defects stay the same.
        self._aside = random.Random(f"aside {world.plan.seed}")
        #: Makes schedules, in a quarter of the runs: the others stay as they were before there were any.
        self._planner = Planner(world.plan) if world.plan.seed % 4 == 3 else None
        #: Jobs are in every other run only: some defects are rare, and the seeds that find them stay the same.
        self._has_jobs = bool(world.plan.seed % 2)
        self._jobs: list[bytes] = []
        self._of_retention = random.Random(f"operator {world.plan.seed}")
        self._of_poison = random.Random(f"poison {world.plan.seed}")

    @property
    def busy(self) -> bool:
        """Whether somebody still has something to say."""
        unread = any(self._world.broker.log(topic, 0).end > at for topic, at in self._reading.items())
        return bool(self._due or self.signals_left or unread)

    def step(self) -> None:
        """One of them does one thing."""
        kinds = [self._read, self._read, self._answer, self._answer, self._signal, self._ask]
        kinds.append(self._operate)
        self._world.chance.choice(kinds)()

    def fair_round(self) -> None:
        """All of them do what they have to."""
        for work in (self._read, self._read, self._answer, self._signal, self._ask):
            work()

    # --- writing ----------------------------------------------------------------------------------------------------

    def new_id(self) -> bytes:
        self._count += 1
        return ids.command_id(b"client", self._count.to_bytes(8, "big"))

    def send(self, command: c.AnyCommand, number: int | None = None) -> None:
        """Write a command, at times twice, at times in a transaction of the sender's."""
        broker, faults = self._world.broker, self._world.faults
        identity = routes.route(command)
        if number is None:
            assert identity is not None
            number = ids.partition_of(identity, broker.partitions_count)
        value = codec.encode_command(command)
        for _ in range(1 + faults.happens("repeat")):
            broker.append(COMMANDS, number, identity, value)
        if faults.happens("gap"):
            broker.log(COMMANDS, number).append(None, None, control=True)
        if faults.happens("garbage"):
            broker.append(COMMANDS, number, b"?", b"no command")
            value_of_poison, where = poison.command(self._of_poison, broker.partitions_count)
            broker.append(COMMANDS, where, b"?", value_of_poison)
            asked, where = poison.query(self._of_poison, broker.partitions_count)
            broker.append(QUERIES, where, None, asked)
            wrong = (number + 1) % broker.partitions_count
            if identity is not None:
                broker.append(COMMANDS, wrong, identity, value)

    def _reply_to(self, asker: bytes) -> c.ReplyTo:
        self._count += 1
        return c.ReplyTo(0, asker, self._count)

    # --- services ---------------------------------------------------------------------------------------------------

    def _signal(self) -> None:
        if not self.signals_left or (self._world.safety and self._world.chance.random() < 0.6):
            return
        index = self._world.chance.choice(self.signals_left[:3])
        signal = self._plan.signals[index]
        link = None
        if signal.link_to is not None:
            link = self._plan.signals[signal.link_to].node_id
            if link not in self._world.nodes_known:
                return  # A service links to what it knows to be there.
        self.signals_left.remove(index)
        command = c.Signal(
            id=signal.id,
            user_id=ALICE,
            tid=signal.name,
            reply_to=self._reply_to(_CALLER),
            body_hash=b"body" if signal.keyed else None,
            workflow_id=signal.workflow_id,
            workflow=signal.workflow,
            node=self._plan.new_node(signal.name, parent_link_id=link, type="decision"),
        )
        self.send(command)

    # --- workers ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        chance = self._world.chance
        topic = chance.choice(sorted(self._reading))
        log, position = self._world.broker.log(topic, 0), self._reading[topic]
        if self._world.faults.happens("repeat"):
            position = chance.randrange(position + 1)  # A worker died before its offsets were committed.
        for entry in log.entries[position : position + 5]:
            assert entry is not None
            activity = codec.decode_activity(entry.value)
            if activity.kind is not ActivityKind.NOTIFICATION:
                self._work(activity.node)
            position += 1
        self._reading[topic] = max(position, self._reading[topic])

    def _work(self, node: views.NodeView) -> None:
        chance = self._world.chance
        when = self._world.virtual.passed_ms
        for command in answers(self._plan, node):
            if not isinstance(command, c.Heartbeat):
                when += chance.choice((0, 1, 20, 300, 2_500))
            self._count += 1
            heapq.heappush(self._due, (when, self._count, command))

    def _answer(self) -> None:
        while self._due and self._due[0][0] <= self._world.virtual.passed_ms:
            self.send(heapq.heappop(self._due)[2])

    @property
    def next_answer_ms(self) -> int:
        return self._due[0][0] if self._due else _NEVER_MS

    # --- the operator -----------------------------------------------------------------------------------------------

    def _operate(self) -> None:
        self._retain()
        chance = self._world.chance
        if self._planner is not None and (command := self._planner.next(self.new_id)) is not None:
            self.send(command)
            return
        if chance.random() < 0.8 or not self._plan.loud:
            return
        if self._has_jobs and self._aside.random() < 0.15:
            self._job()
        carried: dict[str, Any] = {"id": self.new_id(), "tid": "operator"}
        if chance.random() < 0.5:
            carried["reply_to"] = self._reply_to(_CALLER)
        if self._aside.random() < 0.1:
            self.limit(
                LIMITED["loud"], self._aside.choice((None, 1, 2, 5)), paused=self._aside.random() < 0.3, **carried
            )
            return
        workflow_id = chance.choice(sorted(self._plan.loud))
        if chance.random() < 0.3:
            self.send(c.ChangeWorkflow(**carried, workflow_id=workflow_id, change=chance.choice(("pause", "resume"))))
            return
        nodes = self._world.reference.nodes(lambda node: node.workflow_id == workflow_id)
        if not nodes:
            return
        node = chance.choice(nodes)
        if chance.random() < 0.1:
            carried["tid"] = POISON
        match chance.choice(("restart", "reset", "schedule", "add", "word", "word", "word")):
            case "restart":
                self.send(c.RestartNode(**carried, node_id=node.id))
            case "reset":
                self.send(c.ResetNode(**carried, node_id=node.id))
            case "schedule":
                self.send(c.ScheduleNode(**carried, node_id=node.id))
            case "add":
                child = self._plan.new_node(f"{name_of(node)}.x")
                self.send(c.AddChildren(**carried, node_id=node.id, children=(child,)))
            case _:
                fields = {"status": chance.choice(_WORDS), "response": b"{}", "retriable": self._aside.random() < 0.5}
                fields["compensate"] = has_follow_ups(self._plan)
                self.send(c.ChangeNode(**carried, node_id=node.id, **fields))

    def limit(self, activity: str, concurrency: int | None, *, paused: bool = False, **carried: Any) -> None:
        """Somebody limits, pauses or resumes an activity type, of both who run it."""
        rate = {} if concurrency != self._plan.limits[activity] else {"rate_count": 50, "rate_burst": 5}
        for client_id in (ALICE, BOB):
            values = LimitValues(concurrency=concurrency, aging_seconds=2.0, **rate)
            given = {**carried, "id": self.new_id()}
            self.send(c.ChangeLimit(**given, client_id=client_id, activity=activity, values=values, paused=paused))

    def _job(self) -> None:
        """A job over a loud workflow is started, started again, or stopped; at times in some partitions only."""
        aside, partitions = self._aside, range(self._world.partitions_count)
        if not self._jobs or aside.random() < 0.6:
            identity = ids.command_id(b"job", self._plan.seed.to_bytes(8, "big"), len(self._jobs).to_bytes(8, "big"))
            self._jobs.append(identity)
        else:
            identity = aside.choice(self._jobs)
        carried: dict[str, Any] = {"tid": "job", "reply_to": self._reply_to(_CALLER)}
        stops = aside.random() < 0.15
        # What a job is told follows from its id: it is the same job when it is started again.
        chance = random.Random(identity)
        action = chance.choice(("retry", "resolve", "shutdown", "cancel", "pause", "resume"))
        status = chance.choice(("sent_to_client", "processing_children", "retries_exhausted", "retrying", "errored"))
        targets = JobFilter(
            workflow_id=chance.choice(sorted(self._plan.loud)),
            current_status=None if action in WORKFLOW_ACTIONS else status,
        )
        for number in partitions:
            if aside.random() < 0.1:
                continue
            if stops:
                stop_id = ids.command_id(b"stop", identity, aside.randbytes(8))
                self.send(c.StopJob(id=stop_id, partition=number, job_id=identity, **carried))
            else:
                self.send(c.StartJob(id=identity, partition=number, action=action, filter=targets, **carried))

    def _retain(self) -> None:
        """At times the policy is set, again, or an archiver has found what waits for it."""
        if self._plan.retention is None:
            return
        if self._of_retention.random() < 0.05:
            self.set_retention()
        if self._of_retention.random() < 0.3:
            self.archive()

    def set_retention(self) -> None:
        """The policy, in every partition."""
        assert self._plan.retention is not None
        for number in range(self._world.partitions_count):
            self.send(c.ChangeRetention(id=self.new_id(), policy=self._plan.retention), number)

    def archive(self) -> None:
        """What waits to be archived is; at times something has happened to it since, or it is gone."""
        for store in self._world.reference.stores:
            for _, workflow_id in sorted(store[ARCHIVE_QUEUE]):
                revision = store[WORKFLOWS][workflow_id].removal_number - (self._of_retention.random() < 0.1)
                self.send(c.RemoveWorkflow(id=self.new_id(), workflow_id=workflow_id, revision=revision))

    def settle(self, *, at_last: bool) -> bool:
        """The operator gets loud workflows moving again; `at_last` by cancelling. Whether there was anything to do."""
        progressed = False
        if any(limit.paused for limit in self._world.reference.stores[0].meta.limits.values()):
            self.limit(LIMITED["loud"], 2)
            progressed = True
        self.archive()
        for store in self._world.reference.stores:
            for schedule in every(store, SCHEDULES):
                self.send(c.ChangeSchedule(id=self.new_id(), schedule_id=schedule.id, change="delete"))
                progressed = True
            for workflow in sorted(store[WORKFLOWS].values(), key=lambda row: row.id):
                if workflow.paused:
                    self.send(c.ChangeWorkflow(id=self.new_id(), workflow_id=workflow.id, change="resume"))
                    progressed = True
            for node in [row for row in store[NODES].values() if self._is_loud(row)]:
                if at_last and node.server not in CLOSED:
                    word = "canceled"
                elif node.server is ServerStatus.RETRIES_EXHAUSTED:
                    word = "resolved"
                elif node.server is ServerStatus.ERRORED:
                    word = "canceled"
                elif node.server is ServerStatus.PROCESSING_CHILDREN and not node.children_open:
                    self.send(c.ScheduleNode(id=self.new_id(), node_id=node.id))
                    progressed = True  # A reset below it leaves that to whoever asked for it.
                    continue
                else:
                    continue
                self.send(c.ChangeNode(id=self.new_id(), node_id=node.id, status=word))
                progressed = True
        return progressed

    def _is_loud(self, node: Any) -> bool:
        return node.workflow_id in self._plan.loud or node.name.startswith(SCHEDULED)

    # --- queries ----------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Learn from the replies which nodes there are, and ask for one at times."""
        world = self._world
        log = world.broker.log(REPLIES, 0)
        for entry in log.entries[self._replies_read :]:
            assert entry is not None
            reply = codec.decode_reply(entry.value)
            if reply.asker == _CALLER and isinstance(reply.answer, views.NodeView):
                world.nodes_known.setdefault(reply.answer.id, None)
        self._replies_read = log.end
        if world.nodes_known and world.chance.random() < 0.2:
            self.ask(world.chance.choice(list(world.nodes_known)))

    def ask(self, node_id: bytes) -> int:
        """One query about a node whose making was answered. Its number."""
        chance, world = self._world.chance, self._world
        self._count += 1
        partition = ids.partition_of(node_id, world.partitions_count)
        deadline = world.virtual.broker_now(partition) + int(_QUERY_SECONDS * 1000)
        carried: dict[str, Any] = {"reply_to": c.ReplyTo(0, QUERY_ASKER, self._count), "deadline": deadline}
        query: queries.AnyQuery = chance.choice(
            (
                queries.GetNode(**carried, node_id=node_id),
                queries.GetHistory(**carried, node_id=node_id),
                queries.WaitNode(**carried, node_id=node_id),
                queries.Flush(**carried, partition=partition),
            )
        )
        may_be_removed = self._plan.retention is not None and any(node_id[:7] == loud[:7] for loud in self._plan.loud)
        world.checks.queries[self._count] = (node_id, not may_be_removed)
        world.broker.append(QUERIES, partition, None, codec.encode_query(query))
        return self._count


__all__ = ["ALICE", "BOB", "Clients", "answers"]
