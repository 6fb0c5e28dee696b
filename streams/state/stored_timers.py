"""Timers in RocksDB, ordered by time. Each follows from its subject's record: the changelog has none."""

from __future__ import annotations

import struct

import msgspec

from backbeat.streams.core.tables import TABLES, table_of

#: `t`, due time, subject id, kind.
TIMER = struct.Struct(">cQ16sB")
_DECODE = {table: msgspec.msgpack.Decoder(table.struct).decode for table in TABLES if table.timer is not None}


def timer_key(due: int, subject_id: bytes, kind: int) -> bytes:
    """The key of a timer."""
    return TIMER.pack(b"t", due, subject_id, kind)


def timer_of(key: bytes, value: bytes | None) -> tuple[bytes, bytes] | None:
    """Key and value of the timer that follows from a record of the changelog; null: it has none."""
    table = None if value is None else table_of(key)
    if value is None or table is None or table.timer is None:
        return None
    timer = table.timer.of(table.form.decode(key), _DECODE[table](value))
    if timer is None:
        return None
    due, subject_id, kind, number = timer
    return timer_key(due, subject_id, kind), number.to_bytes(8, "big")
