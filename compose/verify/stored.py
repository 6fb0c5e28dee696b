"""The changelog's records as they are: msgpack arrays, by the place of each field, and packed status changes.

Keys: `w`, the 7 bytes that a workflow's ids share, a letter for the kind, the rest of the id; other kinds begin with
a letter of their own. A record of an earlier version is shorter: what is missing has its default.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from backbeat.compose.verify.rules.tree import Entry, digest
from backbeat.schemas.messages.ids import PREFIX_BYTES

Row = dict[str, Any]

_PARENT = [
    "version",
    "first_child",
    "last_child",
    "first_active_child",
    "children_open",
    "cursor",
    "cursor_seq",
    "blocked",
    "deactivate_below",
]
#: Kind of record -> its fields, in order. `family` kinds lie under `w`.
FIELDS: dict[str, list[str]] = {
    "workflow": [
        *_PARENT,
        *[
            "id",
            "user_id",
            "name",
            "subject",
            "decider",
            "created_at",
            "updated_at",
            "complete",
            "paused",
            "next_seq",
            "paused_first",
            "paused_last",
            "watermark",
            "watermarks",
            "sweeps",
            "detached_open",
            "continuations_pending",
            "finished_at",
            "removal_at",
            "removal_number",
            "due_at",
            "waits",
        ],
    ],
    "node": [
        *_PARENT,
        *[
            "id",
            "workflow_id",
            "parent_id",
            "user_id",
            "name",
            "mode",
            "type",
            "seq",
            "depth",
            "created_at",
            "fires_at",
            "client_data",
            "metadata",
            "parent_link_id",
            "retry_interval_seconds",
            "retries_remaining",
            "timeout_seconds",
            "server",
            "client",
            "complete_by",
            "attempt",
            "next_sibling",
            "timer_at",
            "timer_kind",
            "timer_number",
            "history",
            "history_chunks",
            "links_first",
            "links_open",
            "next_paused",
            "in_paused",
            "swept",
            "tid",
            "priority",
            "fairness_key",
            "slot",
            "slot_number",
            "granted_at",
            "coalesce_key",
            "backoff",
            "handed_back",
            "retries",
            "flow",
            "awaits",
            "progress",
            "follow_ups",
        ],
    ],
    "link": ["child", "open", "next", "version"],
    "reference": ["producer", "of_children", "default", "state", "next_taker", "next_slot", "version"],
    "inbox": ["kept", "size_bytes", "version"],
    "message": ["name", "payload", "version"],
    "line": ["first", "last", "version"],
    "coalesce": ["version", "node_id"],
    "reply": ["body_hash", "effect", "forget_at", "version"],
    "pool": [
        "version",
        "id",
        "client_id",
        "activity",
        "key",
        "in_use",
        "bands",
        "due_us",
        "timer_at",
        "timer_number",
        "before",
        "next",
    ],
    "queue": ["version", "first", "last", "before", "next"],
    "ticket": ["version", "number", "has_slot", "asked_at", "priority", "queue", "before", "next", "older", "younger"],
    "schedule": [
        "version",
        "id",
        "plan",
        "made_by",
        "created_at",
        "updated_at",
        "after",
        "paused",
        "note",
        "next_at",
        "problem",
        "timer_at",
        "timer_kind",
        "timer_number",
        "started",
        "skipped",
        "missed",
        "running",
        "queued",
        "recent",
    ],
    "tombstone": ["version", "forget_at"],
    "archive": ["version"],
    "job": [
        "version",
        "id",
        "partition",
        "user_id",
        "action",
        "filter",
        "response",
        "dry_run",
        "tid",
        "started_at",
        "state",
        "ended_at",
        "examined",
        "matched",
        "done",
        "refused",
        "matches",
        "refusals",
        "cursor",
        "forget_at",
        "note",
        "actor",
    ],
    "meta": [
        "version",
        "next_offset",
        "now",
        "topic_id",
        "rules_version",
        "settings",
        "high_water",
        "transactional_id",
        "limits",
        "pools",
        "refill_cursors",
        "limits_ordered",
        "limit_revision",
        "retention",
        "removed",
    ],
}
#: `flow` of a node, in order; null: all are empty.
FLOW_FIELDS = [
    "taken",
    "missing",
    "first_taker",
    "first_slot",
    "last_taker",
    "last_slot",
    "of_children",
    "failed",
    "returns",
    "counted_from",
    "lacks_result",
    "failures_allowed",
    "failures",
    "is_allowed_failure",
    "counted",
]
#: `follow_ups` of a node, in order; null: all are empty.
FOLLOW_UPS_FIELDS = [
    "wanted",
    "handler",
    "gives_up",
    "given_up",
    "has_undos",
    "undo_due",
    "undo_from",
    "undo_walks",
    "is_undoing",
    "is_canceled",
    "is_added",
    "undo",
]
_DEFAULTS: Row = {
    "retries": 0,
    "handed_back": 0,
    "priority": 3,
    "fairness_key": "",
    "slot_number": 0,
    "coalesce_key": "",
    "tid": "",
    "in_paused": False,
    "swept": 0,
    "waits": [],
    "removal_number": 0,
    "detached_open": 0,
    "continuations_pending": 0,
    "limits": {},
    "note": "",
    "actor": "",
    "pools": {},
    "refill_cursors": {},
    "limits_ordered": {},
    "limit_revision": 0,
    "retention": {},
    "removed": 0,
    "high_water": {},
}
_OF_WORKFLOW = {
    b"w": "workflow",
    b"n": "node",
    b"h": "chunk",
    b"l": "link",
    b"r": "reference",
    b"b": "inbox",
    b"m": "message",
    b"a": "line",
    b"c": "coalesce",
    b"p": "pool",
    b"q": "queue",
    b"o": "ticket",
    b"d": "tombstone",
}
_BY_ITSELF = {b"i": "reply", b"c": "schedule", b"j": "job", b"a": "archive", b"m": "meta"}
_KIND_AT = 1 + PREFIX_BYTES

SETTINGS_FIELDS = [
    "version",
    "default_timeout_seconds",
    "payload_bytes_max",
    "record_bytes_max",
    "name_bytes_max",
    "subject_bytes_max",
    "depth_max",
    "children_max",
    "slice_nodes_max",
    "answer_retention_seconds",
    "json_depth_max",
]
LIMIT_FIELDS = ["client_id", "activity", "values", "paused", "revision"]
LIMIT_VALUES_FIELDS = ["concurrency", "rate_count", "rate_period_seconds", "rate_burst", "key", "aging_seconds"]
POLICY_FIELDS = ["version", "owner_id", "name", "keep_seconds", "archive", "refuse_seconds"]

_HEAD = struct.Struct(">BBBqI")
_SAME_RESPONSE = 0xFFFFFFFF
_DECODE = msgspec.msgpack.Decoder().decode


def split_key(key: bytes) -> tuple[str, bytes, bytes]:
    """Kind of a record, its id, and what follows the id in its key. Of an unknown kind: `unknown` and the key."""
    if key[:1] == b"w":
        kind = _OF_WORKFLOW.get(key[_KIND_AT : _KIND_AT + 1], "unknown")
        rest = key[1:_KIND_AT] + key[_KIND_AT + 1 :]
        return kind, rest[:16], rest[16:]
    kind = _BY_ITSELF.get(key[:1], "unknown")
    return kind, key[1:], b""


def fields(kind: str, value: bytes) -> Row:
    """A record's fields by their names."""
    values = _DECODE(value)
    names = FIELDS[kind]
    row = dict(zip(names, values, strict=False))
    for name in names[len(values) :]:
        row[name] = _DEFAULTS.get(name)
    return row


def named(names: list[str], values: list[Any]) -> Row:
    """A part of a record, by the names of its fields."""
    return dict(zip(names, values, strict=False))


def status_changes(packed: bytes) -> list[Entry]:
    """The status changes in a history, oldest first."""
    changes: list[Entry] = []
    at_byte = 0
    response = b""
    while at_byte < len(packed):
        status, before, to, at, length = _HEAD.unpack_from(packed, at_byte)
        at_byte += _HEAD.size
        if length != _SAME_RESPONSE:
            response = digest(packed[at_byte : at_byte + length]) if length else b""
            at_byte += length
        changes.append((status, before, to, at, response))
    return changes
