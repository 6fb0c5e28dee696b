"""Limits of activity types: a node asks a pool for a slot before it is sent, and gives it back when its attempt ends.

A pool is of one client, activity and key. Who waits there is served by priority, then by turns of the fairness keys,
then by age; a node that has waited for `aging_seconds` counts as one priority higher, and so on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.checks import INVALID, LIMIT, PRIORITY_LAST, Refused, check_limit_values, path_parts
from backbeat.compose.verify.rules.records import Pool, Ticket
from backbeat.compose.verify.rules.tree import Node
from backbeat.compose.verify.rules.work import Rule, Work
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import JSON_DEPTH_MAX, NAMES_BYTES_MAX
from backbeat.schemas.messages.json_text import JsonTextError, parse

LIMITS_MAX = 500
NO_VALUES = {
    "concurrency": None,
    "rate_count": None,
    "rate_period_seconds": 1.0,
    "rate_burst": 1,
    "key": "",
    "aging_seconds": 300.0,
}


def limit_key(client_id: bytes, activity: str) -> bytes:
    """The key of a limit."""
    return client_id + activity.encode()


# --- the node's side -------------------------------------------------------------------------------------------------


def must_wait(work: Work, node: Node) -> bool:
    """True for a node of a limited activity type: it asks for a slot."""
    limit = work.partition.slots.limits.get(limit_key(node.user_id, node.name))
    if limit is None or node.type == "flag" or node.awaits:
        return False
    key = _key_of(work, node, limit["values"]["key"])
    node.slot = ids.pool_id(node.user_id, node.name, key)
    node.slot_number += 1
    work.send(
        "AskSlot",
        {
            "pool_id": node.slot,
            "node_id": node.id,
            "number": node.slot_number,
            "key": key,
            "priority": node.priority,
            "fairness_key": node.fairness_key,
        },
    )
    return True


def _key_of(work: Work, node: Node, path: str) -> str:
    """The JSON text of the value at a limit's path into the node."""
    parts = path_parts(path) if path else None
    if parts is None:
        return ""
    root, below = parts
    text = work.own.subject if root == "subject" else work.partition.text(node.id, getattr(node, root))
    if not below:
        return str(text, "utf-8", "replace")
    try:
        value = parse(text, JSON_DEPTH_MAX)
    except JsonTextError:
        return "null"
    for part in below:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return str(msgspec.json.encode(value), "utf-8")


# --- commands --------------------------------------------------------------------------------------------------------


def on_change_limit(work: Work, command: Command) -> None:
    """Order a change of a limit; every partition is told."""
    slots = work.partition.slots
    if command["user_id"] not in (None, command["client_id"]):
        raise Refused("not_found")
    activity = command["activity"]
    if not activity or len(activity.encode()) > work.settings["name_bytes_max"]:
        raise Refused(INVALID)
    key = limit_key(command["client_id"], activity)
    before = slots.ordered.get(key) or slots.limits.get(key)
    if before is None:
        keys = slots.ordered.keys() | slots.limits.keys()
        if len(keys) >= LIMITS_MAX or sum(map(len, keys)) + len(key) > NAMES_BYTES_MAX:
            raise Refused(LIMIT)
        before = {"values": NO_VALUES, "paused": False}
    values, paused = command["values"], command["paused"]
    if values is not None:
        check_limit_values(values)
    slots.revision += 1
    limit = {
        "client_id": command["client_id"],
        "activity": activity,
        "values": before["values"] if values is None else values,
        "paused": before["paused"] if paused is None else paused,
        "revision": slots.revision,
    }
    slots.ordered[key] = limit
    work.send("SpreadLimit", {"limit": limit}, everywhere=True)
    work.answer()


def on_spread_limit(work: Work, command: Command) -> None:
    """A limit as it is from now on; all its pools are looked at again."""
    slots, limit = work.partition.slots, command["limit"]
    key = limit_key(limit["client_id"], limit["activity"])
    if slots.ordered.get(key) == limit:
        del slots.ordered[key]
    values = limit["values"]
    if limit["paused"] or values["concurrency"] is not None or values["rate_count"] is not None:
        slots.limits[key] = limit
    else:
        slots.limits.pop(key, None)
    slots.cursors.pop(key, None)
    if slots.chains.get(key):
        slots.cursors[key] = slots.chains[key][0]
    _fill_all(work, key)


def on_ask_slot(work: Work, command: Command) -> None:
    """A node waits in its line, or has its slot at once."""
    slots = work.partition.slots
    key = limit_key(command["client_id"], command["activity"])
    limit = slots.limits.get(key)
    pool = slots.pools.get(command["pool_id"])
    if pool is None:
        if limit is None:
            _grant(work, command["pool_id"], command["node_id"], command["number"])
            return
        pool = Pool(
            id=command["pool_id"], client_id=command["client_id"], activity=command["activity"], key=command["key"]
        )
        slots.pools[pool.id] = pool
        slots.chains.setdefault(key, []).insert(0, pool.id)
    ticket = Ticket(command["number"], False, work.now, command["priority"], command["fairness_key"])
    node_id = command["node_id"]
    pool.tickets[node_id] = ticket
    if not _somebody_waits(pool) and _has_room(work, pool, limit):
        _hand_out(work, pool, node_id, limit)
        _forget_if_idle(work, pool, limit)
        return
    band = pool.bands[ticket.priority - 1]
    if ticket.fairness_key not in band.lines:
        band.lines[ticket.fairness_key] = {}
        band.turns.append(ticket.fairness_key)
    band.lines[ticket.fairness_key][node_id] = band.ages[node_id] = work.now
    _fill(work, pool)


def on_release_slot(work: Work, command: Command) -> None:
    """A slot comes back, or a node leaves its line."""
    pool = work.partition.slots.pools.get(command["pool_id"])
    ticket = None if pool is None else pool.tickets.get(command["node_id"])
    if pool is None or ticket is None or ticket.number != command["number"]:
        return
    if ticket.has_slot:
        pool.in_use -= 1
    else:
        _leave(pool, command["node_id"], ticket)
    del pool.tickets[command["node_id"]]
    _fill(work, pool)


def on_fill_pool(work: Work, command: Command) -> None:
    """The rest of what a command's budget did not allow."""
    pool = work.partition.slots.pools.get(command["pool_id"])
    if command["chain"]:
        _fill_all(work, limit_key(command["client_id"], command["activity"]))
    elif pool is not None:
        _fill(work, pool)


def on_timer(work: Work, command: Command) -> None:
    """The rate of a pool allows the next start."""
    pool = work.partition.slots.pools.get(command["subject_id"])
    if pool is None or pool.timer_at is None or pool.timer_number != command["number"]:
        return
    pool.timer_at = None
    _fill(work, pool)


# --- slots are given -------------------------------------------------------------------------------------------------


def _fill_all(work: Work, key: bytes) -> None:
    slots = work.partition.slots
    while (pool_id := slots.cursors.get(key)) is not None:
        pool = slots.pools[pool_id]
        chain = slots.chains[key]
        at = chain.index(pool_id)
        behind = chain[at + 1] if at + 1 < len(chain) else None
        if work.budget > 0:
            _hasten(work, pool, slots.limits.get(key))
        if work.budget <= 0 or not _give(work, pool):
            work.send("FillPool", {"pool_id": pool.id, "chain": True})
            return
        work.budget -= 1
        slots.cursors.pop(key, None)
        if behind is not None:
            slots.cursors[key] = behind


def _hasten(work: Work, pool: Pool, limit: Command | None) -> None:
    """No next start is further away than a whole burst at the rate as it is now."""
    if limit is None or limit["values"]["rate_count"] is None:
        return
    values = limit["values"]
    pool.due_us = min(pool.due_us, work.now * 1000 + values["rate_burst"] * _interval_us(values))


def _fill(work: Work, pool: Pool) -> None:
    if not _give(work, pool):
        work.send("FillPool", {"pool_id": pool.id, "chain": False})


def _give(work: Work, pool: Pool) -> bool:
    """Give the free slots of a pool. False: the budget is used up."""
    limit = work.partition.slots.limits.get(limit_key(pool.client_id, pool.activity))
    while _somebody_waits(pool) and _has_room(work, pool, limit):
        if work.budget <= 0:
            return False
        work.budget -= 1
        node_id, by_turn = _next(pool, work.now, None if limit is None else limit["values"]["aging_seconds"])
        ticket = pool.tickets[node_id]
        if by_turn:
            turns = pool.bands[ticket.priority - 1].turns
            turns.append(turns.pop(0))
        _leave(pool, node_id, ticket)
        _hand_out(work, pool, node_id, limit)
    _forget_if_idle(work, pool, limit)
    return True


def _next(pool: Pool, now: int, aging_seconds: float | None) -> tuple[bytes, bool]:
    """The node to be served, and whether it is by its line's turn."""
    highest = next(at for at, band in enumerate(pool.bands) if band.ages)
    band = pool.bands[highest]
    served, by_turn = next(iter(band.lines[band.turns[0]])), True
    rank = highest, pool.tickets[served].asked_at
    if aging_seconds is not None:
        for lower in range(highest + 1, PRIORITY_LAST):
            oldest = next(iter(pool.bands[lower].ages), None)
            if oldest is not None:
                asked_at = pool.tickets[oldest].asked_at
                aged = max(0, lower - int((now - asked_at) / (aging_seconds * 1000))), asked_at
                if aged < rank:
                    rank, served, by_turn = aged, oldest, False
    return served, by_turn


def _somebody_waits(pool: Pool) -> bool:
    return any(band.ages for band in pool.bands)


def _leave(pool: Pool, node_id: bytes, ticket: Ticket) -> None:
    band = pool.bands[ticket.priority - 1]
    line = band.lines[ticket.fairness_key]
    del line[node_id], band.ages[node_id]
    if not line:
        del band.lines[ticket.fairness_key]
        band.turns.remove(ticket.fairness_key)


def _has_room(work: Work, pool: Pool, limit: Command | None) -> bool:
    if limit is None:
        return True
    values = limit["values"]
    if limit["paused"] or (values["concurrency"] is not None and pool.in_use >= values["concurrency"]):
        return False
    if values["rate_count"] is None:
        return True
    earliest_us = pool.due_us - _interval_us(values) * (values["rate_burst"] - 1)
    if work.now * 1000 >= earliest_us:
        return True
    _set_timer(pool, -(-earliest_us // 1000))
    return False


def _hand_out(work: Work, pool: Pool, node_id: bytes, limit: Command | None) -> None:
    ticket = pool.tickets[node_id]
    _grant(work, pool.id, node_id, ticket.number)
    if limit is None:
        del pool.tickets[node_id]
        return
    ticket.has_slot = True
    pool.in_use += 1
    if limit["values"]["rate_count"] is not None:
        pool.due_us = max(work.now * 1000, pool.due_us) + _interval_us(limit["values"])


def _grant(work: Work, pool_id: bytes, node_id: bytes, number: int) -> None:
    work.send("GrantSlot", {"pool_id": pool_id, "node_id": node_id, "number": number})


def _forget_if_idle(work: Work, pool: Pool, limit: Command | None) -> None:
    """An idle pool is forgotten once its rate no longer matters."""
    if pool.in_use or _somebody_waits(pool):
        return
    if limit is not None and limit["values"]["rate_count"] is not None and pool.due_us > work.now * 1000:
        _set_timer(pool, -(-pool.due_us // 1000))
        return
    slots, key = work.partition.slots, limit_key(pool.client_id, pool.activity)
    chain = slots.chains[key]
    at = chain.index(pool.id)
    if slots.cursors.get(key) == pool.id:
        slots.cursors.pop(key)
        if at + 1 < len(chain):
            slots.cursors[key] = chain[at + 1]
    del chain[at], slots.pools[pool.id]


def _set_timer(pool: Pool, due: int) -> None:
    if pool.timer_at != due:
        pool.timer_at = due
        pool.timer_number += 1


def _interval_us(values: dict[str, Any]) -> int:
    return int(values["rate_period_seconds"] * 1_000_000 / values["rate_count"])


SLOT_RULES: dict[str, Rule] = {
    "ChangeLimit": on_change_limit,
    "SpreadLimit": on_spread_limit,
    "AskSlot": on_ask_slot,
    "ReleaseSlot": on_release_slot,
    "FillPool": on_fill_pool,
}
