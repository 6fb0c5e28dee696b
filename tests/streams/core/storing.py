"""Records put into stores one by one, and all that a store in memory has, as the changelog would have it."""

from __future__ import annotations

from typing import Any

import msgspec

from backbeat.streams.core.store import MemoryStore, Store
from backbeat.streams.core.tables import TABLES, Table
from backbeat.streams.core.transaction import Transaction

_encode = msgspec.msgpack.Encoder().encode


def put(store: Store, table: Table[Any, Any], key: Any, record: Any) -> None:
    """Keep a record (null: forget it), and the timer that follows from it."""
    transaction = Transaction(store)
    transaction.put(table, key, record)
    transaction.commit()


def encoded(store: MemoryStore) -> dict[bytes, bytes]:
    """Every record by its key, meta apart."""
    return {
        table.form.encode(key): record if table.struct is bytes else _encode(record)
        for table in TABLES
        for key, record in store[table].items()
    }
