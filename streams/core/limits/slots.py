"""The node's side of slots (`pool`): a node of a limited activity type acquires one before it is sent to its client.

The key of a limit is a path into the node: `subject`, `metadata.bank`, `client_data.params[0]`. The JSON text
of its value names the pool; nodes without a value share the pool of `null`.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from backbeat.schemas.messages import bounds, ids
from backbeat.schemas.messages.commands import AskSlot, ChangeLimit, ReleaseSlot, SpreadLimit
from backbeat.schemas.messages.json_text import JsonTextError, parse
from backbeat.schemas.messages.limits import Limit, Limits, LimitValues, LimitView, limit_key
from backbeat.schemas.messages.replies import Reason
from backbeat.schemas.messages.status import ServerStatus
from backbeat.streams.core.effects import Broadcast, Send
from backbeat.streams.core.records import Node
from backbeat.streams.core.step import Step, refuse
from backbeat.streams.core.tables import LIMITS, LIMITS_ORDERED
from backbeat.streams.core.transaction import Transaction
from backbeat.streams.core.tree.status import SERVER_TRANSITIONS

#: Limits of an installation, at most: every partition has all of them in the meta record, which each commit writes.
LIMITS_MAX = 500
KEY_CHARACTERS_MAX = 200
_PATH = re.compile(r"(subject|metadata|client_data)((?:\.[^.\[\]]+|\[\d{1,6}\])*)")
_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
LONGER_THAN_ANY_SECONDS = 366 * 86_400.0
#: One millisecond, the resolution of the log's times.
_SHORTEST_SECONDS = 0.001
_BURST_SECONDS_MAX = 100 * 365 * 86_400.0
_NULL = "null"
#: Statuses after started (it waits for a slot) and sent to its client (it has one) in which a node has no slot.
WITHOUT_SLOT = (SERVER_TRANSITIONS[ServerStatus.STARTED] | SERVER_TRANSITIONS[ServerStatus.SENT_TO_CLIENT]) - {
    ServerStatus.SENT_TO_CLIENT
}


def waits(step: Step, node: Node) -> bool:
    """True when a node has to wait for a slot before it is sent; the slot is then requested."""
    # A flag is never sent, and neither is what waits for a message.
    if node.type == "flag" or not step.transaction.meta.limits or node.awaits is not None:
        return False
    limit = step.transaction.get(LIMITS, limit_key(node.user_id, node.name))
    if limit is None:
        return False
    _acquire(step, node, limit)
    return True


def release(step: Step, node: Node, _: ServerStatus) -> None:
    """Release the slot that the node has or waits for: the attempt is over, or will not begin."""
    if node.slot is None:
        return
    command, pool_id = step.command, node.slot
    node.slot = node.granted_at = None
    back = ReleaseSlot(id=command.id, tid=command.tid, pool_id=pool_id, node_id=node.id, number=node.slot_number)
    step.effects.append(Send(back))


def _acquire(step: Step, node: Node, limit: Limit) -> None:
    """Send AskSlot to the pool; the node stays started until its slot is granted."""
    key = _key_of(step, node, limit.values.key)
    node.slot = ids.pool_id(node.user_id, node.name, key)
    node.slot_number += 1
    command = step.command
    step.effects.append(
        Send(
            AskSlot(
                id=command.id,
                tid=node.tid,
                pool_id=node.slot,
                client_id=node.user_id,
                activity=node.name,
                key=key,
                node_id=node.id,
                number=node.slot_number,
                priority=node.priority,
                fairness_key=node.fairness_key,
            )
        )
    )


def _key_of(step: Step, node: Node, path: str) -> str:
    if not path:
        return ""
    root, parts = _parsed(path)
    text = step.workflow.subject if root == "subject" else getattr(node, root)
    return _key_in(text, parts) if parts else str(text, "utf-8", "replace")


def _key_in(text: bytes, parts: tuple[str | int, ...]) -> str:
    try:
        value = parse(text, bounds.JSON_DEPTH_MAX)
        for part in parts:
            value = _below(value, part)
        return str(msgspec.json.encode(value), "utf-8")
    except JsonTextError:
        # Accepted before JSON texts were checked: as a path without a value.
        return _NULL


def _below(value: object, part: str | int) -> object:
    if isinstance(part, int):
        return value[part] if isinstance(value, list) and part < len(value) else None
    return value.get(part) if isinstance(value, dict) else None


@lru_cache(maxsize=LIMITS_MAX)
def _parsed(path: str) -> tuple[str, tuple[str | int, ...]]:
    """The root and the parts of a path. ValueError."""
    match = _PATH.fullmatch(path)
    if match is None or len(path) > KEY_CHARACTERS_MAX:
        raise ValueError(path)
    parts = tuple(name or int(index) for name, index in _PART.findall(match[2]))
    return match[1], parts


# --- limits ----------------------------------------------------------------------------------------------------------


def change_limit(step: Step, command: ChangeLimit) -> None:
    """Change a limit: broadcast it to all partitions."""
    if command.user_id not in (None, command.client_id):
        message = "A client limits activities of its own only"
        raise refuse(Reason.NOT_FOUND, message, found="another client's", wanted="an activity of the client's own")
    if not command.activity or len(command.activity.encode()) > step.settings.name_bytes_max:
        message = f"An activity's name has 1 to {step.settings.name_bytes_max} bytes"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=command.activity[:100], wanted="an activity's name")
    transaction = step.transaction
    key = limit_key(command.client_id, command.activity)
    current = transaction.get(LIMITS_ORDERED, key) or transaction.get(LIMITS, key)
    if current is None:
        _check_room(transaction, key)
    before = current or Limit(client_id=command.client_id, activity=command.activity)
    if command.values is not None:
        check_values(command.values)
    meta = transaction.edit_meta()
    meta.limit_revision += 1
    limit = msgspec.structs.replace(
        before,
        values=before.values if command.values is None else command.values,
        paused=before.paused if command.paused is None else command.paused,
        revision=meta.limit_revision,
    )
    transaction.put(LIMITS_ORDERED, key, limit)
    step.effects.append(Broadcast(SpreadLimit(id=command.id, tid=command.tid, limit=limit)))
    step.reply(Limits((LimitView(limit),)))


def _check_room(transaction: Transaction, key: bytes) -> None:
    """Refuse a new limit beyond LIMITS_MAX, or beyond the bytes of all names."""
    keys = transaction.keys(LIMITS) | transaction.keys(LIMITS_ORDERED)
    if len(keys) >= LIMITS_MAX:
        message = f"There are {LIMITS_MAX} limits already: remove one that is not needed"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found=str(LIMITS_MAX), wanted=f"fewer than {LIMITS_MAX} limits")
    if sum(map(len, keys)) + len(key) > bounds.NAMES_BYTES_MAX:
        message = f"The names of all limits together have more than {bounds.NAMES_BYTES_MAX} bytes: remove one"
        raise refuse(Reason.LIMIT_EXCEEDED, message, found="more", wanted=f"at most {bounds.NAMES_BYTES_MAX} bytes")


def check_values(values: LimitValues) -> None:
    """Refuse invalid values of a limit."""
    _check_at_least_one("concurrency", values.concurrency, "pause the activity to let none start")
    _check_at_least_one("rate_count", values.rate_count, "pause the activity to let none start")
    _check_at_least_one("rate_burst", values.rate_burst, "1 lets starts come evenly")
    _check_seconds("rate_period_seconds", values.rate_period_seconds)
    _check_seconds("aging_seconds", values.aging_seconds)
    if values.rate_count is not None and values.rate_burst * values.rate_period_seconds > _BURST_SECONDS_MAX:
        message = "rate_burst is more than a hundred years of rate_period_seconds"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(values.rate_burst), wanted="a smaller burst")
    if not values.key:
        return
    try:
        _parsed(values.key)
    except ValueError:
        message = (
            f"{values.key!r} is no path into a node: give subject, metadata or client_data, and what is below it, "
            "as in metadata.bank or client_data.params[0]"
        )
        raise refuse(Reason.INVALID_PARAMETERS, message, found=values.key, wanted="a path") from None


def _check_at_least_one(field: str, value: int | None, advice: str) -> None:
    if value is not None and value < 1:
        message = f"{field} is below 1: {advice}"
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(value), wanted="1 or more")


def _check_seconds(field: str, value: float) -> None:
    if not _SHORTEST_SECONDS <= value <= LONGER_THAN_ANY_SECONDS:
        message = (
            f"{field} is not above 0, by {_SHORTEST_SECONDS:g} at least, and at most {LONGER_THAN_ANY_SECONDS:.0f}"
        )
        raise refuse(Reason.INVALID_PARAMETERS, message, found=str(value), wanted="seconds")
