"""The timers in RocksDB, ordered by time. Each follows from the record that it is of: the changelog has none."""

from __future__ import annotations

import struct

import msgspec

from backbeat.schemas.messages.jobs import Job
from backbeat.schemas.messages.values import TimerKind
from backbeat.streams.core.records import Answer, Node, Pool, SignalTombstone, Workflow
from backbeat.streams.core.schedules.schedule import Schedule

#: What the keys of schedules begin with.
SCHEDULE = b"c"
#: `t`, when it is due, what it is about, its kind.
TIMER = struct.Struct(">cQ16sB")
_TIMED_KEY_BYTES = 17 + 1  # of a node, a pool, a workflow, what is left of a node


def timer_key(due: int, subject_id: bytes, kind: int) -> bytes:
    """The key of a timer."""
    return TIMER.pack(b"t", due, subject_id, kind)


def timer_of(key: bytes, value: bytes | None) -> tuple[bytes, bytes] | None:
    """The local timer record that follows from the record of a node, a pool, an answer, a schedule or a job."""
    if value is None:
        return None
    if key[:1] == b"i":
        answer = msgspec.msgpack.decode(value, type=Answer)
        return timer_key(answer.forget_at, key[1:], TimerKind.ANSWER), bytes(8)
    if key[:1] == b"j":
        job = msgspec.msgpack.decode(value, type=Job)
        return None if job.forget_at is None else (timer_key(job.forget_at, job.id, TimerKind.JOB), bytes(8))
    if key[:1] == SCHEDULE:
        schedule = msgspec.msgpack.decode(value, type=Schedule)
        return _timer(schedule, schedule.timer_kind)
    if len(key) != _TIMED_KEY_BYTES:
        return None
    if key[8:9] == b"n":
        node = msgspec.msgpack.decode(value, type=Node)
        return _timer(node, node.timer_kind)
    if key[8:9] == b"w":
        workflow = msgspec.msgpack.decode(value, type=Workflow)
        if workflow.removal_at is None:
            return None
        number = workflow.removal_number.to_bytes(8, "big")
        return timer_key(workflow.removal_at, workflow.id, TimerKind.RETENTION), number
    if key[8:9] == b"d":
        removed = msgspec.msgpack.decode(value, type=SignalTombstone)
        return timer_key(removed.forget_at, key[1:8] + key[9:], TimerKind.REFUSAL), bytes(8)
    if key[8:9] == b"p":
        return _timer(msgspec.msgpack.decode(value, type=Pool), TimerKind.SLOT)
    return None


def _timer(record: Node | Pool | Schedule, kind: int) -> tuple[bytes, bytes] | None:
    if record.timer_at is None:
        return None
    return timer_key(record.timer_at, record.id, kind), record.timer_number.to_bytes(8, "big")
