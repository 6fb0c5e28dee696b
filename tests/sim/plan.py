"""What is to be done in a run, and how each activity's worker behaves: all of it follows from the seed alone.

Quiet workflows end in the same way whatever goes wrong; loud ones are interfered with by an operator.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import msgspec

from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import Backoff

from .virtual import BEGIN_MS

ALICE, BOB = b"alice-alice-alic", b"bob-bob-bob-bob-"
#: Known to nobody; known, but without a topic.
NOBODY, GHOST = b"nobody-nobody-no", b"ghost-ghost-ghos"
CLIENT_NAMES = {ALICE: "alice", BOB: "bob", GHOST: "ghost"}

_DEPTH_MAX = 3
#: Many nodes have one name, and so one limit; what they are really called is in their metadata.
LIMITED = {"quiet": "quiet-limited", "loud": "loud-limited"}
#: Name of the workflows that are removed once they are finished.
PASSING = "passing"


class PlannedSignal(NamedTuple):
    """A signal that a service sends."""

    id: bytes
    workflow: c.NewWorkflow
    name: str
    link_to: int | None  #: the signal, by number, that must not complete before this one
    keyed: bool  #: with a caller's key

    @property
    def workflow_id(self) -> bytes:
        return ids.workflow_id(self.workflow.user_id, self.workflow.name, self.workflow.subject)

    @property
    def node_id(self) -> bytes:
        return ids.node_id(self.workflow_id, self.id, 0)


class Behaviour(NamedTuple):
    """What a worker does with one node."""

    failures: int  #: attempts that fail before one succeeds
    silent: int  #: attempts that are never answered
    says_processing: bool
    beats: bool  #: a heartbeat goes ahead of the answer
    adds_before: bool  #: some children come in a command of their own, before the completion
    children: tuple[c.NewNode, ...]


class Plan:
    """Workflows, signals, behaviour."""

    def __init__(self, seed: int, *, retains: bool = True) -> None:
        """`retains`: whether loud workflows may be removed in the end."""
        self.seed = seed
        chance = random.Random(f"plan {seed}")
        self.partitions_count = chance.choice((2, 2, 3, 4))
        self.settings = Settings(
            slice_nodes_max=chance.choice((2, 5, 250)),
            default_timeout_seconds=chance.choice((3.0, 600.0)),
            answer_retention_seconds=chance.choice((1.0, 4.0, 90.0)),
        )
        #: how many of an activity type may be out at once; the loud one's is changed by the operator
        self.limits = {LIMITED[kind]: 1 + (seed + at) % 3 for at, kind in enumerate(LIMITED)}
        #: Under it are the loud workflows; a draw that leaves the others as they were before there was this.
        self.retention = _retention(random.Random(f"retention {seed}")) if retains else None
        self.signals: list[PlannedSignal] = []
        self.loud: set[bytes] = set()
        for number in range(chance.randrange(2, 7)):
            self._workflow(chance, number)
        chance.shuffle(self.signals)
        # Links go from later workflows to earlier ones, so that they never form a ring.
        self._link(chance)

    def _workflow(self, chance: random.Random, number: int) -> None:
        loud = chance.random() < 0.5
        new = c.NewWorkflow(
            user_id=ALICE,
            name="order" if self.retention is None or not loud else PASSING,
            subject=f'"{number:02d} {self.seed}"'.encode(),
            decider="D",
        )
        for index in range(chance.choice((1, 1, 2, 3))):
            name = f"{'loud' if loud else 'quiet'}-{number:02d}-{index}"
            signal = PlannedSignal(ids.command_id(name.encode()), new, name, None, chance.random() < 0.5)
            self.signals.append(signal)
            if loud:
                self.loud.add(signal.workflow_id)

    def _link(self, chance: random.Random) -> None:
        for index, signal in enumerate(self.signals):
            targets = [at for at, other in enumerate(self.signals[:index]) if _may_hold_up(signal.name, other.name)]
            if self.retention is not None and signal.workflow_id not in self.loud:
                # A link to a node that was removed and forgotten is refused, and quiet signals must not be.
                targets = [at for at in targets if self.signals[at].workflow_id not in self.loud]
            if targets and chance.random() < 0.4:
                self.signals[index] = signal._replace(link_to=chance.choice(targets))

    def new_node(self, name: str, **given: object) -> c.NewNode:
        """The node of this name."""
        chance = random.Random(f"node {self.seed} {name}")
        loud = name.startswith("loud")
        behaviour = self._nature(name)
        # A loud node has few retries left, and with those the interval grows.
        interval = chance.choice((0.0, 0.2, 1.0) if loud else (0.0, 0.2, 1.0, 75.0))
        user = chance.choice((ALICE, ALICE, ALICE, BOB))
        if loud and chance.random() < 0.06:
            user = chance.choice((NOBODY, GHOST))
        kind = "flag" if not behaviour.failures and not behaviour.silent and chance.random() < 0.1 else "activity"
        fields: dict[str, object] = {
            "name": name,
            "user_id": user,
            "mode": chance.choice((Mode.BLOCKING, Mode.BLOCKING, Mode.NON_BLOCKING, Mode.FIRE_AND_FORGET)),
            "type": kind if self._depth(name) else "decision",
            "client_data": b'{"timeout":1.5}' if behaviour.silent else b'{"timeout":null}',
            "retries": chance.choice((0, 1, 3)) if loud else 1_000,
            "retry_interval_seconds": interval,
        }
        if self._depth(name) and chance.random() < 0.2:
            fields["fires_at"] = BEGIN_MS + chance.choice((-1_000, 2_000, 8_000, 100_000))
        fields["backoff"] = chance.choice((None, None, Backoff(1.5, 3.0), Backoff(1.0, 60.0, 0.0)))
        fields |= self._limited(name)
        return c.NewNode(**{**fields, **given})  # type: ignore[arg-type]  # spelled out above

    def _limited(self, name: str) -> dict[str, object]:
        """At times a node below the top is of a limited type."""
        chance = random.Random(f"limited {self.seed} {name}")
        if not self._depth(name) or chance.random() < 0.5:
            return {}
        return {
            "name": LIMITED[name.partition("-")[0]],
            "metadata": msgspec.json.encode({"name": name}),
            "priority": chance.choice((None, 1, 2, 5)),
            "fairness_key": chance.choice((None, "a", "b")),
        }

    def _depth(self, name: str) -> int:
        return name.count(".")

    def _nature(self, name: str) -> Behaviour:
        """Failures and silence, without the children."""
        chance = random.Random(f"nature {self.seed} {name}")
        leaf = self._depth(name) > 0 and chance.random() < 0.4
        silent = chance.choice((0, 0, 0, 1, 2)) if leaf else 0
        failures = chance.choice((0, 0, 0, 1, 2))
        return Behaviour(failures, silent, *(chance.random() < 0.2 for _ in range(3)), ())

    def behaviour(self, name: str) -> Behaviour:
        """What the worker does with the node of this name."""
        nature = self._nature(name)
        depth = self._depth(name)
        if nature.silent or depth >= _DEPTH_MAX:
            return nature
        chance = random.Random(f"children {self.seed} {name}")
        count = chance.choice(((1, 2, 4, 12), (0, 0, 1, 3), (0, 0, 0, 2))[depth])
        children = [self.new_node(f"{name}.{index}", **self._child_link(chance, name)) for index in range(count)]
        return nature._replace(children=tuple(children))

    def _child_link(self, chance: random.Random, name: str) -> dict[str, object]:
        """At times a child holds up a signal of an earlier workflow."""
        earlier = [signal for signal in self.signals if _may_hold_up(name, signal.name)]
        if not earlier or chance.random() >= 0.15:
            return {}
        return {"parent_link_id": chance.choice(earlier).node_id}


def name_of(node: Any) -> str:
    """What a node, or its view, is really called."""
    name: str = msgspec.json.decode(node.metadata)["name"] if node.name in LIMITED.values() else node.name
    return name


def _retention(chance: random.Random) -> RetentionPolicy | None:
    """In some runs: how long finished loud workflows are kept."""
    if chance.random() < 0.6:
        return None
    return RetentionPolicy(
        owner_id=ALICE,
        name=PASSING,
        keep_seconds=chance.choice((1.0, 5.0, 60.0)),
        archive=chance.random() < 0.5,
        refuse_seconds=chance.choice((1.0, 90.0)),
    )


def _may_hold_up(child: str, target: str) -> bool:
    """Whether a link may go from one to the other: to earlier workflows, and never from a loud one to a quiet one."""
    if child.startswith("loud") and target.startswith("quiet"):
        return False
    return target.split("-")[1] < child.split("-")[1]
