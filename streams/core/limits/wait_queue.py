"""The line before a pool: who waits for a slot, in which order they are served.

The first priority that has anybody goes first; in it the fairness keys take turns; those of one fairness key go by the
time of asking. A node that has waited for the limit's `aging_seconds` counts as one priority higher, and so on: it is
served as soon as it counts as higher than whoever's turn it is, and among equals when it is the older one.

A priority (`PriorityBand`) chains its nodes by age, and its lanes, one a fairness key, in a ring; a lane chains its
nodes by age. So standing in line, leaving it and being served follow a few pointers, however many wait.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from backbeat.streams.core.limits.pool_records import PoolRecords
from backbeat.streams.core.limits.records import Lane, Place, Pool, PriorityBand

_LANE_BYTES = 8


class Next(NamedTuple):
    """Who is served next."""

    node_id: bytes
    place: Place
    by_turn: bool  #: it is its lane's turn; else it is served for its age


def lane_key(priority: int, fairness_key: str) -> bytes:
    """What a lane is found by in its pool."""
    return bytes((priority,)) + blake2b(fairness_key.encode(), digest_size=_LANE_BYTES).digest()


def is_empty(pool: Pool) -> bool:
    """Whether nobody waits."""
    return not any(level.waiting for level in pool.levels)


def next_in_line(records: PoolRecords, pool: Pool, now: int, aging_seconds: float | None) -> Next:
    """Who is served next of a line that is not empty. Without `aging_seconds` nobody grows older."""
    levels = pool.levels
    at = next(at for at, level in enumerate(levels) if level.waiting)
    turn = levels[at].turn
    assert turn is not None, "somebody waits and nobody is next"
    node_id = records.lane(pool, turn).first
    assert node_id is not None, "a lane in which nobody waits"
    found = Next(node_id, records.place(pool, node_id), by_turn=True)
    if aging_seconds is None:
        return found
    best = (at, found.place.asked_at)
    for lower in range(at + 1, len(levels)):
        oldest = levels[lower].oldest
        if oldest is not None:
            place = records.place(pool, oldest)
            risen = int((now - place.asked_at) / (aging_seconds * 1000))
            aged = (max(0, lower - risen), place.asked_at)
            if aged < best:
                best, found = aged, Next(oldest, place, by_turn=False)
    return found


def serve(records: PoolRecords, pool: Pool, served: Next) -> None:
    """Out of the line, and if it was its lane's turn, the next lane has it."""
    if served.by_turn:
        _set_level(pool, served.place, turn=records.lane(pool, served.place.lane).next)
    leave(records, pool, served.place)


def stand(records: PoolRecords, pool: Pool, node_id: bytes, place: Place) -> None:
    """Behind all others of its lane and of its level."""
    level = _level(pool, place)
    lane = records.find_lane(pool, place.lane) or _add_lane(records, pool, place.lane, level.turn)
    place.before, place.older = lane.last, level.newest
    if lane.last is None:
        lane.first = node_id
    else:
        records.place(pool, lane.last).next = node_id
    lane.last = node_id
    if level.newest is not None:
        records.place(pool, level.newest).younger = node_id
    _set_level(
        pool,
        place,
        turn=level.turn or place.lane,
        oldest=level.oldest or node_id,
        newest=node_id,
        waiting=level.waiting + 1,
    )


def leave(records: PoolRecords, pool: Pool, place: Place) -> None:
    """Out of its lane and its level."""
    level = _level(pool, place)
    lane = records.lane(pool, place.lane)
    if place.before is None:
        lane.first = place.next
    else:
        records.place(pool, place.before).next = place.next
    if place.next is None:
        lane.last = place.before
    else:
        records.place(pool, place.next).before = place.before
    oldest, newest, turn = level.oldest, level.newest, level.turn
    if place.older is None:
        oldest = place.younger
    else:
        records.place(pool, place.older).younger = place.younger
    if place.younger is None:
        newest = place.older
    else:
        records.place(pool, place.younger).older = place.older
    if lane.first is None:
        turn = _drop_lane(records, pool, place.lane, turn)
    _set_level(pool, place, turn=turn, oldest=oldest, newest=newest, waiting=level.waiting - 1)
    place.before = place.next = place.older = place.younger = None


def _add_lane(records: PoolRecords, pool: Pool, key: bytes, turn: bytes | None) -> Lane:
    """At the end of the round: just before the lane whose turn it is."""
    if turn is None:
        lane = Lane(before=key, next=key)
    else:
        after = records.lane(pool, turn)
        lane = Lane(before=after.before, next=turn)
        records.lane(pool, after.before).next = key
        after.before = key
    records.add_lane(pool, key, lane)
    return lane


def _drop_lane(records: PoolRecords, pool: Pool, key: bytes, turn: bytes | None) -> bytes | None:
    """Take an empty lane out of the ring; whose turn it is then."""
    lane = records.lane(pool, key)
    records.drop_lane(pool, key)
    if lane.next == key:
        return None
    records.lane(pool, lane.before).next = lane.next
    records.lane(pool, lane.next).before = lane.before
    return lane.next if turn == key else turn


def _level(pool: Pool, place: Place) -> PriorityBand:
    return pool.levels[place.priority - 1]


def _set_level(pool: Pool, place: Place, **given: Any) -> None:
    at = place.priority - 1
    level = msgspec.structs.replace(pool.levels[at], **given)
    pool.levels = (*pool.levels[:at], level, *pool.levels[at + 1 :])
