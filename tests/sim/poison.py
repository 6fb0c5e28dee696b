"""Records that nobody may send and anybody can: whatever comes in, no process ends by it."""

from __future__ import annotations

import random
from typing import Any

from backbeat.schemas import codec, routes
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.limits import LimitValues

from .checks import QUERY_ASKER

_STRANGER = b"stranger-strange"
_TO = c.ReplyTo(0, _STRANGER, 1)
_DEEP = b'{"a":' + b"[" * 3_000 + b"]" * 3_000 + b"}"


def command(chance: random.Random, partitions: int) -> tuple[bytes, int]:
    """A record that is refused, and the partition that it is put into."""
    number = chance.randrange(partitions)
    poison = chance.choice(_commands(number, ids.partition_of(_STRANGER, partitions)))
    if isinstance(poison, bytes):
        return poison, number
    route = routes.route(poison) if not isinstance(poison, (c.StartJob, c.StopJob)) else None
    return codec.encode_command(poison), number if route is None else ids.partition_of(route, partitions)


def query(chance: random.Random, partitions: int) -> tuple[bytes, int]:
    """A query that is refused, or that nothing can answer."""
    number = chance.randrange(partitions)
    asked: dict[str, Any] = {"reply_to": c.ReplyTo(0, QUERY_ASKER, 0), "deadline": 2**62}
    kinds: tuple[queries.AnyQuery, ...] = (
        queries.GetDue(**asked, partition=number, after_due_at=-1, after_id=_STRANGER),
        queries.GetJobs(**asked, partition=-1),
        queries.GetTree(**asked, workflow_id=bytes(16), limit=-1),
        queries.Flush(**{**asked, "reply_to": c.ReplyTo(-1, QUERY_ASKER, 0)}, partition=number),
    )
    value = codec.encode_query(chance.choice(kinds))
    return value[: chance.choice((len(value), len(value), 11, 3))], number


def _commands(number: int, at: int) -> tuple[c.AnyCommand | bytes, ...]:
    given: dict[str, Any] = {"id": _STRANGER, "user_id": _STRANGER, "reply_to": _TO}
    workflow = c.NewWorkflow(user_id=_STRANGER, name="n", subject=b'"s"', decider="D")
    workflow_id = ids.workflow_id(_STRANGER, "n", b'"s"')
    signal: dict[str, Any] = {**given, "workflow_id": workflow_id, "workflow": workflow}
    whole = codec.encode_command(c.CreateWorkflow(**given, workflow=workflow))
    return (
        whole[:40],
        whole[:10] + b"\xff" * 40,
        c.StartJob(**given, partition=-1, action="retry"),
        c.StopJob(**given, partition=2**31 - 1, job_id=_STRANGER),
        c.ChangeSettings(**given, settings=Settings(slice_nodes_max=0)),
        c.ChangeSettings(**given, settings=Settings(payload_bytes_max=5_000_000)),
        c.ChangeLimit(**given, client_id=_STRANGER, activity="a", values=LimitValues(aging_seconds=5e-324)),
        c.TimerFired(id=_STRANGER, subject_id=_STRANGER, kind=77, number=1),  # type: ignore[arg-type]  # what it is about
        c.Continue(id=_STRANGER, workflow_id=_STRANGER, tasks=(), source=c.Source(at, 0, 0)),
        c.CloseLink(id=_STRANGER, target_id=_STRANGER, child_id=_STRANGER, source=c.Source(at, 2**62, 0)),
        c.ScheduleDue(id=_STRANGER, schedule_id=_STRANGER, number=1, next_at=2**63 - 1),
        c.Signal(**signal, node=c.NewNode(name="n", user_id=_STRANGER, fires_at=2**63 - 1)),
        c.Signal(**signal, node=c.NewNode(name="n", user_id=_STRANGER, client_data=_DEEP)),
        c.Signal(**signal, node=c.NewNode(name="n", user_id=_STRANGER, client_data=b'{"x":1e400}')),
        c.Signal(**{**signal, "workflow_id": _STRANGER}, node=c.NewNode(name="n", user_id=_STRANGER)),
    )
