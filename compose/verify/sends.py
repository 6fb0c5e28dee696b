"""Commands that partitions send each other: what the rules call for, against what is in the log."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

from backbeat.compose.verify.spill import Spill

_FIELDS: dict[str, tuple[str, ...]] = {
    "Continue": ("workflow_id",),
    "CloseLink": ("target_id", "child_id"),
    "OpenLink": ("target_id", "child_id", "waits_at"),
    "Signal": ("workflow_id", "id", "link_open"),
    "AskSlot": ("pool_id", "node_id", "number", "key", "priority", "fairness_key"),
    "GrantSlot": ("pool_id", "node_id", "number"),
    "ReleaseSlot": ("pool_id", "node_id", "number"),
    "FillPool": ("pool_id", "chain"),
    "WorkJob": ("job_id",),
    "ChangeNode": ("node_id", "status"),
}


def essence(name: str, command: dict[str, Any]) -> bytes:
    """A digest of what a command is about: equal for what must be sent and what was."""
    parts: list[Any] = [name, *(command[field] for field in _FIELDS.get(name, ()))]
    if name == "OpenLink":
        parts += [command["signal"] is not None, [wait["child_id"] for wait in command["waits"]]]
    elif name == "Signal":
        node = command["node"]
        parts += [node[field] for field in ("name", "parent_link_id", "fires_at", "client_data", "metadata")]
    elif name == "SpreadLimit":
        limit = command["limit"]
        parts += [limit["client_id"], limit["activity"], limit["paused"], limit["revision"]]
        parts += sorted(limit["values"].items())
    return blake2b(repr(parts).encode(), digest_size=12).digest()


class Mismatch(NamedTuple):
    """A command that is in the log less, or more, often than the rules call for."""

    partition: int  #: partition and offset of the command whose effect it is
    offset: int
    target: int  #: the partition that it is for
    name: str
    is_missing: bool


def mismatches(spill: Spill, positions: dict[int, int], starts: dict[int, int]) -> list[Mismatch]:
    """All of them, of the commands from `starts` to `positions`, in order.

    A partition without a position was not judged: what was sent to it may be among the commands that were removed.
    """
    spill.db.execute("CREATE INDEX IF NOT EXISTS sends_by_place ON sends (partition, number, target, what)")
    rows = spill.db.execute(
        "SELECT partition, number, target, word, SUM(wanted) AS due,"
        " COUNT(DISTINCT CASE WHEN wanted = 0 THEN place END) AS seen"
        " FROM sends GROUP BY partition, number, target, word, what HAVING due != seen ORDER BY partition, number"
    )
    return [
        Mismatch(partition, offset, target, name, due > seen)
        for partition, offset, target, name, due, seen in rows
        if starts.get(partition, 0) <= offset < positions.get(partition, 0) and (due <= seen or target in positions)
    ]
