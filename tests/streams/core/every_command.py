"""A story on one partition in which every command comes, and after which there is a record of every kind."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.jobs import JobFilter
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import Awaits, Take, TimerKind
from backbeat.streams.core import apply
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES, SCHEDULES
from backbeat.streams.state.store import PartitionStore

USER = b"u" * 16
PARTITION = 0
SETTINGS = Settings(slice_nodes_max=6, default_timeout_seconds=60.0)
BEGIN_MS = 1_700_000_000_000
#: Names of effects in stories that were stored before they were renamed (tests/streams/state/golden).
EARLIER_NAMES = {"DeadLetter": "Refuse"}


class Story:
    """Commands on one partition, one after the other, and everything that they send on."""

    def __init__(self, store: MemoryStore | PartitionStore, now: int = BEGIN_MS, count: int = 0) -> None:
        self.store = store
        self.now = now
        self.count = count
        self.effects: list[bytes] = []
        self.commands: list[tuple[c.AnyCommand, int]] = []
        self._offset = 1_000 * count

    def new_id(self) -> bytes:
        self.count += 1
        return ids.command_id(b"golden", self.count.to_bytes(8, "big"))

    def do(self, command: c.AnyCommand) -> None:
        """Apply it, and what it sends on; remember the effects."""
        waiting = [command]
        while waiting:
            self.now += 10
            self._offset += 1
            queued = waiting.pop(0)
            self.commands.append((queued, self.now))
            effects = apply(queued, self.now, self.store)
            self.store.meta.next_offset = self._offset
            names = [type(effect).__name__ for effect in effects]
            names = [EARLIER_NAMES.get(name, name) for name in names]
            self.effects.append(msgspec.msgpack.encode(names + list(effects)))
            for index, effect in enumerate(effects):
                following = getattr(effect, "command", None)
                if following is not None:
                    source = c.Source(PARTITION, self._offset, index)
                    waiting.append(msgspec.structs.replace(following, source=source))

    def ask(self, kind: type, **given: Any) -> bytes:
        command = kind(**{"id": self.new_id(), "user_id": USER, "tid": "golden", **given})
        self.do(command)
        return command.id

    def signal(self, name: str, subject: bytes, **given: Any) -> bytes:
        """The id of the signal's node."""
        workflow = c.NewWorkflow(user_id=USER, name="purchase", subject=subject, decider="D")
        workflow_id = ids.workflow_id(USER, workflow.name, subject)
        node = c.NewNode(name=name, user_id=USER, type="decision", **given.pop("node", {}))
        identity = self.ask(c.Signal, workflow_id=workflow_id, workflow=workflow, node=node, **given)
        return ids.node_id(workflow_id, identity, 0)

    def complete(self, node_id: bytes, *children: c.NewNode) -> list[bytes]:
        """The ids of the children."""
        workflow = node_id[: ids.PREFIX_BYTES]
        matches = [key for key in self.workflow_ids if key.startswith(workflow)]
        identity = self.ask(c.ChangeNode, node_id=node_id, status="completed", children=children, response=b'{"r":1}')
        return [ids.node_id(matches[0], identity, index) for index in range(len(children))]

    @property
    def workflow_ids(self) -> list[bytes]:
        return [ids.workflow_id(USER, "purchase", b'"%c"' % letter) for letter in b"abcdefgh"]


def child(name: str, **given: Any) -> c.NewNode:
    return c.NewNode(**{"name": name, "user_id": USER, "mode": Mode.NON_BLOCKING, **given})


def policy(*, archive: bool) -> RetentionPolicy:
    return RetentionPolicy(owner_id=USER, name="purchase", keep_seconds=5.0, archive=archive, refuse_seconds=1e6)


def fill(story: Story) -> None:
    """Until there is a record of every kind, and half of everything is under way."""
    story.store.meta.settings = SETTINGS
    story.ask(c.ChangeLimit, client_id=USER, activity="charge", values=LimitValues(concurrency=1, key="subject"))
    story.ask(c.ChangeLimit, client_id=USER, activity="mail", values=LimitValues(rate_count=1, rate_period_seconds=900))
    first = story.signal("buy", b'"a"', body_hash=b"hash")
    steps = [child("charge", priority=1 + index % 3, fairness_key=str(index % 2)) for index in range(4)]
    made = story.complete(first, *steps, child("mail"), child("mail"), child("late", fires_at=BEGIN_MS + 10**7))
    story.ask(c.ChangeNode, node_id=made[0], status="errored", response=b'{"error":{"message":"it broke"}}', attempt=1)
    failing = story.signal("failing", b'"f"')
    for _ in range(12):  # Its history goes to a chunk of its own.
        story.ask(c.FailNode, node_id=failing, message="x" * 100)
    long = story.signal("deploy", b'"b"')
    story.ask(c.ChangeWorkflow, workflow_id=story.workflow_ids[1], change="pause")
    story.signal("index", b'"b"', coalesce_key="index")
    story.signal("index", b'"b"', coalesce_key="index", coalesce=c.Coalesce.DROP)
    story.signal("linked", b'"c"', node={"parent_link_id": long})
    plan = c.NewSchedule(
        user_id=USER,
        name="nightly",
        interval_seconds=3600.0,
        workflow=c.NewWorkflow(user_id=USER, name="purchase", subject=b'"d"', decider="D"),
        node=c.NewNode(name="run", user_id=USER),
    )
    schedule_id = ids.schedule_id(USER, "nightly")
    story.ask(c.PutSchedule, schedule_id=schedule_id, schedule=plan)
    story.ask(c.RunSchedule, schedule_id=schedule_id)
    story.ask(c.StartJob, partition=PARTITION, action="retry", filter=JobFilter())
    story.ask(c.ChangeRetention, policy=policy(archive=False))
    gone = story.signal("short", b'"e"')
    story.complete(gone)
    fire(story, story.workflow_ids[4], TimerKind.RETENTION)  # It leaves what refuses its repeats.
    story.ask(c.ChangeRetention, policy=policy(archive=True))
    again = story.signal("short", b'"e"')
    story.complete(again)
    fire(story, story.workflow_ids[4], TimerKind.RETENTION)  # It waits to be archived.


def fire(story: Story, subject_id: bytes, kind: TimerKind) -> None:
    """The timer of this subject and kind comes."""
    for (due, subject, its_kind), number in sorted(standing(story.store).items()):
        if (subject, its_kind) == (subject_id, kind):
            story.now = max(story.now, due)
            story.do(c.TimerFired(id=story.new_id(), subject_id=subject_id, kind=kind, number=number))
            return
    raise AssertionError(f"no timer of the kind {kind!r} stands")


def standing(store: MemoryStore | PartitionStore) -> dict[tuple[int, bytes, int], int]:
    """The timers that stand: in RocksDB, and in memory what has changed since."""
    if isinstance(store, MemoryStore):
        return dict(store.timers)
    changed = {key: None if change is None else change[0] for key, change in store.timers._changed.items()}
    timers = {**dict(store._scan_timers(0, 10**16)), **changed}
    return {key: number for key, number in timers.items() if number is not None}


def go_on(story: Story) -> None:
    """Every kind of record is read, changed and, where it can be, deleted."""
    for (due, subject_id, kind), number in sorted(standing(story.store).items()):
        if kind != TimerKind.SCHEDULE:
            story.now = max(story.now, due)
            story.do(c.TimerFired(id=story.new_id(), subject_id=subject_id, kind=TimerKind(kind), number=number))
    schedule_id = ids.schedule_id(USER, "nightly")
    story.ask(c.RunSchedule, schedule_id=schedule_id, times=(BEGIN_MS, BEGIN_MS + 1))
    story.ask(c.ChangeWorkflow, workflow_id=story.workflow_ids[1], change="resume")
    failing = next(key for key, node in story.store.scan(NODES, None, 100) if node.name == "failing")
    story.ask(c.RestartNode, node_id=failing)
    story.complete(failing)
    for name in ("charge", "mail"):
        story.ask(c.ChangeLimit, client_id=USER, activity=name, values=LimitValues())
    story.ask(c.StartJob, partition=PARTITION, action="cancel", filter=JobFilter(current_status="sent_to_client"))
    story.ask(c.ChangeRetention, policy=policy(archive=False))
    for _ in range(3):
        for key, number in sorted(standing(story.store).items()):
            if key[2] == TimerKind.RETENTION:
                story.now = max(story.now, key[0])
                story.do(c.TimerFired(id=story.new_id(), subject_id=key[1], kind=TimerKind(key[2]), number=number))
    story.ask(c.ChangeSchedule, schedule_id=schedule_id, change="delete")


def try_the_rest(story: Story) -> None:
    """The commands that the story has not had yet."""
    node_id = story.signal("rest", b'"g"')
    (workflow_id,) = {node.workflow_id for _, node in story.store.scan(NODES, None, 100) if node.name == "rest"}
    workflow = c.NewWorkflow(user_id=USER, name="purchase", subject=b'"g"', decider="D")
    story.ask(c.CreateWorkflow, workflow=workflow)
    story.ask(c.Heartbeat, node_id=node_id, attempt=1)
    made = story.ask(c.AddChildren, node_id=node_id, children=(child("below"), child("beside")), attempt=1)
    below = ids.node_id(workflow_id, made, 0)
    taking = (child("taker", takes=(Take(below), Take(below, of_children=True, default=b"0"))),)
    story.ask(c.AddChildren, node_id=node_id, children=taking, attempt=1)
    for name in ("approval", "approval", "unasked"):
        story.ask(c.SendMessage, workflow_id=workflow_id, name=name)
    waiting = tuple(child("approval", awaits=Awaits(b"0")) for _ in range(4))
    story.ask(c.AddChildren, node_id=node_id, children=waiting, attempt=1)
    story.ask(c.DeliveryFailed, node_id=node_id, attempt=1, response=b'{"error":"gone"}')
    story.ask(c.RestartNode, node_id=node_id)
    story.ask(c.ChangeNode, node_id=node_id, status="completed")
    story.ask(c.ScheduleNode, node_id=node_id)
    story.ask(c.OpenLink, target_id=node_id, child_id=bytes(16))
    story.ask(c.CloseLink, target_id=node_id, child_id=bytes(16))
    story.ask(c.ResetNode, node_id=node_id)
    story.ask(c.ChangeNode, node_id=ids.node_id(workflow_id, made, 0), status="canceled")
    story.ask(c.ChangeSettings, settings=SETTINGS)
    plan = c.NewSchedule(
        user_id=USER,
        name="hourly",
        interval_seconds=3600.0,
        workflow=workflow,
        node=c.NewNode(name="run", user_id=USER),
    )
    schedule_id = ids.schedule_id(USER, plan.name)
    story.ask(c.PutSchedule, schedule_id=schedule_id, schedule=plan)
    schedule = story.store.get(SCHEDULES, schedule_id)
    assert schedule is not None
    story.ask(c.ScheduleDue, schedule_id=schedule_id, number=schedule.timer_number, times=(story.now,), next_at=10**14)
    job_id = story.ask(c.StartJob, partition=PARTITION, action="pause", filter=JobFilter())
    story.ask(c.StopJob, partition=PARTITION, job_id=job_id)
    story.ask(c.ChangeLimit, client_id=USER, activity="below", values=LimitValues(concurrency=1))
    story.ask(c.AddChildren, node_id=story.signal("limited", b'"h"'), children=tuple(child("below") for _ in range(20)))
    limited = next(key for key, node in story.store.scan(NODES, None, 1_000) if node.name == "limited")
    story.ask(c.ChangeNode, node_id=limited, status="completed")
    # More starts than one command may make.
    story.ask(c.ChangeLimit, client_id=USER, activity="below", values=LimitValues())
    story.ask(c.RemoveWorkflow, workflow_id=story.workflow_ids[1], revision=0)
    for _, waiting in story.store.scan(NODES, None, 1_000):
        if waiting.name == "index":
            story.ask(c.ChangeWorkflow, workflow_id=waiting.workflow_id, change="complete")
    story.signal("answer", b'"h"', beside=True, node={"awaits": Awaits(None)})
