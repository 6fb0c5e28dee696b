"""Records of a partition beside its workflows: settings, limits, pools, policies, schedules, answers, tombstones."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import Any

from backbeat.compose.verify import stored
from backbeat.compose.verify.compare import Comparison, Difference
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.records import Job, Pool, Run, Schedule
from backbeat.compose.verify.stored import LIMIT_FIELDS, LIMIT_VALUES_FIELDS, POLICY_FIELDS, Row, named

_PAGE_ROWS = 2_000
_PLAN_TEXTS = ("cron", "zone", "interval_seconds", "offset_seconds", "catch_up_seconds", "name", "user_id")


def compare_beside(comparison: Comparison, partition: Partition, commands_id: str | None) -> Iterator[Difference]:
    """All differences outside of the workflows. `commands_id`: Kafka's id of the commands topic; null: any."""
    rows = _rows(partition)
    if rows.meta is not None:
        yield from _meta(comparison, partition, rows.meta, commands_id)
    elif partition.state.next_offset:
        yield comparison.difference("partition", b"", "meta record", "none", "stored")
    yield from _pools(comparison, partition, rows)
    yield from _schedules(comparison, partition, rows)
    yield from _jobs(comparison, partition, rows)
    yield from _remembered(comparison, partition)


class _Rows:
    """The stored records by kind, but for what there may be as many of as of signals: `_remembered` reads those."""

    def __init__(self) -> None:
        self.meta: Row | None = None
        self.of: dict[str, dict[bytes, Row]] = {name: {} for name in ("schedule", "pool", "job")}
        self.tickets: dict[bytes, dict[bytes, Row]] = {}
        self.queues: dict[bytes, dict[bytes, Row]] = {}


def _rows(partition: Partition) -> _Rows:
    rows = _Rows()
    page = partition.spill.db.execute(
        "SELECT key, value FROM stored WHERE partition = ? AND (key < X'77' OR key >= X'78' OR"
        " substr(key, 9, 1) IN (X'70', X'71', X'6f')) AND substr(key, 1, 1) NOT IN (X'69', X'61')",
        (partition.number,),
    )
    for key, value in page:
        kind, identity, rest = stored.split_key(key)
        if kind == "meta":
            rows.meta = stored.fields(kind, value)
        elif kind == "ticket":
            rows.tickets.setdefault(identity, {})[rest] = stored.fields(kind, value)
        elif kind == "queue":
            rows.queues.setdefault(identity, {})[rest] = stored.fields(kind, value)
        elif kind == "unknown":
            partition.unjudged["record of an unknown kind"] += 1
        elif kind in rows.of:
            rows.of[kind][identity] = stored.fields(kind, value)
    return rows


def _meta(comparison: Comparison, partition: Partition, meta: Row, commands_id: str | None) -> Iterator[Difference]:
    state = partition.state
    theirs: Row = {
        "now": meta["now"],
        "settings": named(stored.SETTINGS_FIELDS, meta["settings"]),
        "high_water": {int(number): tuple(place) for number, place in meta["high_water"].items()},
        "limits": _limits(meta["limits"]),
        "limits_ordered": _limits(meta["limits_ordered"]),
        "limit_revision": meta["limit_revision"],
        "refill_cursors": {bytes(key): pool for key, pool in meta["refill_cursors"].items()},
        "retention": {bytes(key): _policy(policy) for key, policy in meta["retention"].items()},
    }
    ours: Row = {
        "now": state.now,
        "settings": state.settings,
        "high_water": state.high_water,
        "limits": state.slots.limits,
        "limits_ordered": state.slots.ordered,
        "limit_revision": state.slots.revision,
        "refill_cursors": state.slots.cursors,
        "retention": state.policies,
    }
    if commands_id is not None:
        theirs["topic_id"], ours["topic_id"] = meta["topic_id"], commands_id
    theirs["removed"], ours["removed"] = meta["removed"], state.removed
    for field, value in ours.items():
        if theirs[field] != value:
            yield comparison.difference("partition", b"", field, theirs[field], value)


def _limits(limits: dict[bytes, list[Any]]) -> dict[bytes, Row]:
    rows = {bytes(key): named(LIMIT_FIELDS, limit) for key, limit in limits.items()}
    return {key: {**row, "values": named(LIMIT_VALUES_FIELDS, row["values"])} for key, row in rows.items()}


def _policy(policy: list[Any]) -> Row:
    row = named(POLICY_FIELDS, policy)
    row.pop("version")
    return row


# --- pools -----------------------------------------------------------------------------------------------------------


def _pools(comparison: Comparison, partition: Partition, rows: _Rows) -> Iterator[Difference]:
    pools, their_pools = partition.slots.pools, rows.of["pool"]
    yield from _presence(comparison, "pool", their_pools.keys(), pools.keys())
    for identity, pool in pools.items():
        comparison.counts["pools"] += 1
        row = their_pools.get(identity)
        if row is None:
            continue
        tickets, queues = rows.tickets.pop(identity, {}), rows.queues.pop(identity, {})
        theirs = {name: row[name] for name in ("client_id", "activity", "key", "in_use", "due_us", "timer_at")}
        ours = {name: getattr(pool, name) for name in theirs}
        theirs["timer_number"], ours["timer_number"] = row["timer_number"], pool.timer_number
        theirs["waiting"] = [_by_age(band, tickets) for band in row["bands"]]
        ours["waiting"] = [list(band.ages) for band in pool.bands]
        theirs["turns"] = [_turns(band, queues) for band in row["bands"]]
        ours["turns"] = [[_queue_key(at + 1, name) for name in band.turns] for at, band in enumerate(pool.bands)]
        theirs["tickets"] = {
            node: (ticket["number"], ticket["has_slot"], ticket["asked_at"], ticket["priority"])
            for node, ticket in tickets.items()
        }
        ours["tickets"] = _our_tickets(pool)
        for field, value in ours.items():
            if theirs[field] != value:
                yield comparison.difference("pool", identity, field, theirs[field], value, None, pool.activity)
    for identity in rows.tickets.keys() | rows.queues.keys():
        yield comparison.difference("pool", identity, "tickets and queues", "stored", "none")


def _by_age(band: list[Any], tickets: dict[bytes, Row]) -> list[bytes]:
    """The nodes of a priority from the oldest on, as their tickets name each other."""
    order: list[bytes] = []
    node: bytes | None = band[1]
    while node is not None and node in tickets and len(order) <= len(tickets):
        order.append(node)
        node = tickets[node]["younger"]
    return order


def _turns(band: list[Any], queues: dict[bytes, Row]) -> list[bytes]:
    """The queues of a priority from the one whose turn is next on, as they name each other."""
    order: list[bytes] = []
    key: bytes | None = band[0]
    while key is not None and key in queues and key not in order:
        order.append(key)
        key = queues[key]["next"]
    return order


def _queue_key(priority: int, fairness_key: str) -> bytes:
    return bytes((priority,)) + blake2b(fairness_key.encode(), digest_size=8).digest()


def _our_tickets(pool: Pool) -> dict[bytes, tuple[int, bool, int, int]]:
    return {
        node: (ticket.number, ticket.has_slot, ticket.asked_at, ticket.priority)
        for node, ticket in pool.tickets.items()
    }


def _presence(comparison: Comparison, kind: str, theirs: Any, ours: Any) -> Iterator[Difference]:
    for identity in theirs - ours:
        yield comparison.difference(kind, identity, "record", "stored", "none")
    for identity in ours - theirs:
        yield comparison.difference(kind, identity, "record", "none", "stored")


# --- schedules, answers, tombstones ----------------------------------------------------------------------------------


def _schedules(comparison: Comparison, partition: Partition, rows: _Rows) -> Iterator[Difference]:
    schedules, their_schedules = partition.schedules, rows.of["schedule"]
    yield from _presence(comparison, "schedule", their_schedules.keys(), schedules.keys())
    for identity, schedule in schedules.items():
        comparison.counts["schedules"] += 1
        row = their_schedules.get(identity)
        if row is None:
            continue
        names = [name for name in Schedule.__struct_fields__ if name not in ("id", "plan")]
        ours: Row = {name: getattr(schedule, name) for name in names}
        theirs: Row = {name: row[name] for name in names}
        for name in ("running", "queued", "recent"):
            theirs[name] = [Run(*run) for run in row[name]]
        theirs |= {f"plan.{name}": row["plan"][name] for name in _PLAN_TEXTS if name in row["plan"]}
        ours |= {f"plan.{name}": schedule.plan[name] for name in _PLAN_TEXTS if name in row["plan"]}
        for field, value in ours.items():
            if theirs[field] != value:
                name = schedule.plan["name"]
                yield comparison.difference("schedule", identity, field, theirs[field], value, None, name)


def _jobs(comparison: Comparison, partition: Partition, rows: _Rows) -> Iterator[Difference]:
    jobs, their_jobs = partition.state.jobs, rows.of["job"]
    yield from _presence(comparison, "job", their_jobs.keys(), jobs.keys())
    for identity in jobs.keys() & their_jobs.keys():
        comparison.counts["jobs"] += 1
        job, row = jobs[identity], their_jobs[identity]
        ours: Row = {name: getattr(job, name) for name in Job.__struct_fields__ if name != "filter"}
        theirs: Row = {name: row[name] for name in ours}
        theirs["matches"] = [tuple(match) for match in row["matches"]]
        theirs["refusals"] = [tuple(refusal[:2]) for refusal in row["refusals"]]
        for field, value in ours.items():
            if theirs[field] != value:
                yield comparison.difference("job", identity, field, theirs[field], value, None, job.action)


def _remembered(comparison: Comparison, partition: Partition) -> Iterator[Difference]:
    """Answers to commands with a caller's key, tombstones, workflows that wait to be archived.

    Of each there may be more than there is memory for: both sides are read in pages, in the order of their ids.
    """
    kept = _kept(partition, "SELECT id, hash, forget_at FROM answers WHERE partition = ? AND id > ?")
    answers = ((key, (row["body_hash"], row["forget_at"])) for key, row in _stored(partition, "reply", b"i"))
    for identity, theirs, ours in _side_by_side(answers, ((key, (value, end)) for key, value, end in kept)):
        comparison.counts["remembered answers"] += 1
        if theirs != ours:
            yield comparison.difference("remembered answer", identity, "hash and end", theirs, ours)
    kept = _kept(partition, "SELECT id, forget_at, 0 FROM tombstones WHERE partition = ? AND id > ?")
    tombstones = ((key, row["forget_at"]) for key, row in _stored(partition, "tombstone", b"w"))
    for identity, theirs, ours in _side_by_side(tombstones, ((key, end) for key, end, _ in kept)):
        if theirs != ours:
            yield comparison.difference("removed signal", identity, "end of its refusal", theirs, ours)
    for key, _ in _stored(partition, "archive", b"a"):
        due_at, identity = int.from_bytes(key[:8], "big"), key[8:]
        tree = partition.spill.family(partition.number, identity).trees.get(identity)
        if tree is None or tree.due_at != due_at:
            yield comparison.difference("workflow", identity, "place in the archive's queue", due_at, None)


def _side_by_side(
    theirs: Iterator[tuple[bytes, Any]], ours: Iterator[tuple[bytes, Any]]
) -> Iterator[tuple[bytes, Any, Any]]:
    """Each id of one side or both, with what either has of it; null: nothing. Both are in the order of ids."""
    merged = heapq.merge(
        ((identity, 0, value) for identity, value in theirs),
        ((identity, 1, value) for identity, value in ours),
        key=itemgetter(0),
    )
    for identity, group in groupby(merged, key=itemgetter(0)):
        values = {side: value for _, side, value in group}
        yield identity, values.get(0), values.get(1)


def _stored(partition: Partition, kind: str, letter: bytes) -> Iterator[tuple[bytes, Row]]:
    """The stored records of a kind, whose keys begin with a letter, in the order of their ids; read in pages."""
    # Of what lies beside a workflow only tombstones: the rest of it would be read for nothing.
    places = "AND substr(key, 9, 1) = X'64' " if letter == b"w" else ""
    query = f"SELECT key, value FROM stored WHERE partition = ? AND key > ? AND key < ? {places}ORDER BY key LIMIT ?"  # noqa: S608
    after, end = letter, bytes((letter[0] + 1,))
    while page := partition.spill.db.execute(query, (partition.number, after, end, _PAGE_ROWS)).fetchall():
        for key, value in page:
            _, identity, _ = stored.split_key(key)
            yield identity, stored.fields(kind, value)
        after = page[-1][0]


def _kept(partition: Partition, query: str) -> Iterator[Any]:
    """Rows of our own in the order of their ids, which are their first column; read in pages."""
    after = b""
    while page := partition.spill.db.execute(
        f"{query} ORDER BY id LIMIT {_PAGE_ROWS}", (partition.number, after)
    ).fetchall():
        yield from page
        after = page[-1][0]
