"""Records that somebody might write: structured by the schemas, with what breaks things in their fields, and mutated.

Everything follows from one random number generator. Half of the ids are ones that there are, so that what is generated
meets what is stored.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

from backbeat.compose.drill.poison.records import BAD_DOUBLES, DOUBLES, JSONS, LONGS, NAMES, SUBJECTS, Records
from backbeat.schemas import codec, routes
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.limits import LimitValues
from backbeat.schemas.messages.retention import RetentionPolicy
from backbeat.schemas.named_types import COMMANDS, QUERIES

USERS = (b"alice-alice-alic", b"bob-bob-bob-bob-")
KEYS = (None, "a", "b")
STATUSES = ("completed", "completed", "errored", "processing", "resolved", "shutdown", "canceled", "deactivated")


class Generator(Records):
    """Draws records. `known`: ids that there are, filled by whoever applies them."""

    def __init__(self, seed: int, partitions: int) -> None:
        super().__init__(random.Random(f"fuzz {seed}"), partitions, USERS)
        #: (node, attempt) that a worker could answer
        self.sent: list[tuple[bytes, int]] = []
        self._count = 0

    def note(self, identity: bytes) -> None:
        """There is something of this id."""
        if len(self.known) < 400:
            self.known.append(identity)
        else:
            self.known[self.chance.randrange(len(USERS), 400)] = identity

    # --- one record --------------------------------------------------------------------------------------------------

    def command(self) -> tuple[bytes, int]:
        """A record of the commands topic, and the partition that it is put into."""
        kind = self.chance.random()
        if kind < 0.4:
            command = self._sane()
            value, route = codec.encode_command(command), routes.route(command)
            if self.chance.random() < 0.2:
                value = self.mutated(value)
        else:
            value, route = self.structured(self.chance.choice(COMMANDS).__name__), None
            if kind > 0.9:
                value = self.mutated(value)
        return value, self._partition(value, route)

    def query(self) -> tuple[bytes, int]:
        """A record of the queries topic."""
        value = self.structured(self.chance.choice(QUERIES).__name__)
        if self.chance.random() < 0.15:
            value = self.mutated(value)
        return value, self.chance.randrange(self.partitions)

    def client(self) -> tuple[bytes, bytes]:
        """A record of the registry: its key and value."""
        chance = self.chance
        identity = str(uuid.UUID(bytes=chance.choice(USERS))).encode()
        value = b'{"id":"%s","name":"shop","delivery":"topic","token_hash":%s,"later":%s}' % (
            chance.choice((identity, identity, b"x", b"", identity.upper())),
            chance.choice((b'""', b"null", b"1")),
            chance.choice(JSONS),
        )
        key = chance.choice((identity, identity, b"", b"\xff", b"x" * 36))
        return key, self.mutated(value) if chance.random() < 0.5 else value

    def plan(self) -> c.NewSchedule:
        """A schedule whose times are to be worked out, as any door may be asked for them."""
        chance = self.chance
        fields = (
            *map(str, range(-1, 62)),
            "*",
            "*/7",
            "1-5",
            "5-1",
            "L",
            "W",
            "1#5",
            "7L",
            "1,2,3",
            "a",
            "¹",
            "",
            "*/0",
        )
        cron = " ".join(chance.choice(fields) for _ in range(chance.choice((5, 5, 5, 5, 4, 6))))
        zones = (
            "UTC",
            "Europe/Berlin",
            "Pacific/Apia",
            "America/New_York",
            "..",
            "/etc/passwd",
            "\x00",
            "Nowhere/City",
            "",
        )
        given: dict[str, Any] = {"cron": cron, "zone": chance.choice(zones)}
        if chance.random() < 0.3:
            given = {
                "interval_seconds": chance.choice(DOUBLES + BAD_DOUBLES),
                "offset_seconds": chance.choice(DOUBLES),
            }
        return c.NewSchedule(
            user_id=USERS[0],
            name="n",
            workflow=c.NewWorkflow(user_id=USERS[0], name="w", subject=b'"s"', decider="D"),
            node=c.NewNode(name="n", user_id=USERS[0]),
            **given,
        )

    def time(self) -> int:
        """A time, or what stands where one should."""
        return self.chance.choice(LONGS)

    def _partition(self, value: bytes, route: bytes | None) -> int:
        if route is None:
            try:
                route = routes.route(codec.decode_command(value))
            except (DecodeError, OverflowError):
                route = None
        if route is None or self.chance.random() < 0.03:
            return self.chance.randrange(self.partitions)
        return ids.partition_of(route, self.partitions)

    # --- as somebody means it ----------------------------------------------------------------------------------------

    def _sane(self) -> c.AnyCommand:
        chance = self.chance
        self._count += 1
        carried: dict[str, Any] = {
            "id": ids.command_id(b"fuzz", self._count.to_bytes(8, "big")),
            "user_id": chance.choice((None, *USERS)),
            "tid": "fuzz",
        }
        if chance.random() < 0.3:
            carried["reply_to"] = c.ReplyTo(0, USERS[0], self._count)
        kind = chance.random()
        if kind < 0.3:
            return self._signal(carried)
        if kind < 0.75 and self.sent:
            node_id, attempt = self.sent.pop(chance.randrange(len(self.sent)))
            children = tuple(self._node() for _ in range(chance.choice((0, 0, 1, 3))))
            status = chance.choice(STATUSES)
            carried["user_id"] = None
            return c.ChangeNode(**carried, node_id=node_id, status=status, attempt=attempt, children=children)
        if kind < 0.8:
            values = LimitValues(concurrency=chance.choice((None, 1, 3)), key=chance.choice(("", "metadata.x")))
            activity = chance.choice(NAMES)
            carried["user_id"] = None
            return c.ChangeLimit(**carried, client_id=chance.choice(USERS), activity=activity, values=values)
        if kind < 0.85:
            return self._schedule(carried)
        if kind < 0.9:
            action = chance.choice(("retry", "resolve", "shutdown", "pause", "resume"))
            return c.StartJob(**carried, partition=chance.randrange(self.partitions), action=action)
        if kind < 0.93:
            policy = RetentionPolicy(owner_id=USERS[0], name="order", keep_seconds=1.0, archive=chance.random() < 0.5)
            return c.ChangeRetention(**carried, policy=policy, forget=chance.random() < 0.3)
        node_id = chance.choice(self.known)
        how = chance.choice((c.RestartNode, c.ResetNode, c.ScheduleNode))
        made: c.AnyCommand = how(**carried, node_id=node_id)
        return made

    def _signal(self, carried: dict[str, Any]) -> c.Signal:
        chance = self.chance
        user, name, subject = chance.choice(USERS), chance.choice(NAMES), chance.choice(SUBJECTS)
        workflow = c.NewWorkflow(user_id=user, name=name, subject=subject, decider="D")
        node = c.NewNode(
            name=chance.choice(NAMES),
            user_id=user,
            type="decision",
            parent_link_id=chance.choice((None, None, None, chance.choice(self.known))),
        )
        carried["user_id"] = chance.choice((None, user))
        workflow_id = ids.workflow_id(user, name, subject)
        self.note(workflow_id)
        key = chance.choice(KEYS)
        return c.Signal(**carried, workflow_id=workflow_id, workflow=workflow, node=node, coalesce_key=key)

    def _node(self) -> c.NewNode:
        chance = self.chance
        return c.NewNode(
            name=chance.choice(NAMES),
            user_id=chance.choice(USERS),
            mode=chance.choice((0, 1, 2)),  # type: ignore[arg-type]  # an enum of numbers
            type=chance.choice(("activity", "activity", "flag")),
            metadata=chance.choice((b"{}", b'{"x":1}')),
            retries=chance.choice((0, 1, 6)),
            retry_interval_seconds=chance.choice((0.0, 1.0, 1e300)),
            fires_at=chance.choice((None, None, 0, 2_000_000_000_000)),
        )

    def _schedule(self, carried: dict[str, Any]) -> c.AnyCommand:
        user, name = self.chance.choice(USERS), self.chance.choice(NAMES)
        carried["user_id"] = user
        plan = c.NewSchedule(
            user_id=user,
            name=name,
            interval_seconds=self.chance.choice((1.0, 60.0, 86_400.0)),
            workflow=c.NewWorkflow(user_id=user, name=name, subject=b'"at {scheduled_at}"', decider="D"),
            node=c.NewNode(name=name, user_id=user, type="decision"),
            overlap=self.chance.choice((0, 1, 2, 3)),  # type: ignore[arg-type]  # an enum of numbers
        )
        schedule_id = ids.schedule_id(user, name)
        self.note(schedule_id)
        if self.chance.random() < 0.3:
            change = self.chance.choice(("pause", "resume", "delete"))
            return c.ChangeSchedule(**carried, schedule_id=schedule_id, change=change)
        return c.PutSchedule(**carried, schedule_id=schedule_id, schedule=plan)
