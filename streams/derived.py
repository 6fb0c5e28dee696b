"""Timers as the local store keeps them, in order of time. They follow from other records, so no changelog has them."""

from __future__ import annotations

import struct

import msgspec

from backbeat.streams.core.records import Answer, Node, Removed, TimerKind, Workflow

TIMER = struct.Struct(">cQ16sB")
#: Length of the key of a workflow, of a node, and of what is left of a node.
ID_KEY_BYTES = 1 + 16 + 1


def timer_key(due: int, subject_id: bytes, kind: int) -> bytes:
    """The key of a timer: due in milliseconds since the epoch, what it is about, its kind."""
    return TIMER.pack(b"t", due, subject_id, kind)


def timer_of(key: bytes, value: bytes | None) -> tuple[bytes, bytes] | None:
    """Key and number of the timer that follows from a record; null: it has none."""
    if value is None:
        return None
    if key[:1] == b"i":
        answer = msgspec.msgpack.decode(value, type=Answer)
        return timer_key(answer.forget_at, key[1:], TimerKind.ANSWER), bytes(8)
    if len(key) != ID_KEY_BYTES:
        return None
    match key[8:9]:
        case b"n":
            node = msgspec.msgpack.decode(value, type=Node)
            if node.timer_at is not None:
                return timer_key(node.timer_at, node.id, node.timer_kind), node.timer_number.to_bytes(8, "big")
        case b"w":
            workflow = msgspec.msgpack.decode(value, type=Workflow)
            if workflow.removal_at is not None:
                number = workflow.removal_number.to_bytes(8, "big")
                return timer_key(workflow.removal_at, workflow.id, TimerKind.RETENTION), number
        case b"d":
            removed = msgspec.msgpack.decode(value, type=Removed)
            return timer_key(removed.forget_at, key[1:8] + key[9:], TimerKind.REFUSAL), bytes(8)
        case _:
            pass
    return None
