"""Records of one partition by their keys, in three layers a table (`layers`).

The kinds and their keys are in `core.tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rocksdict import Rdict

from backbeat.streams.compiled import mypyc_attr
from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import PartitionRecords
from backbeat.streams.core.tables import TABLES, Table
from backbeat.streams.ports.errors import NewerRecordError, StoreError
from backbeat.streams.state.layers import Layers
from backbeat.streams.state.rocksdb import store_error, with_store_errors
from backbeat.streams.state.scans import keys_of_kind, keys_with, pairs_with
from backbeat.streams.state.versions import why_unknown

#: Made before there are threads: several restore at once, and each opens a store (`schemas.requests.decoding`).
_DECODE = {table: msgspec.msgpack.Decoder(table.struct).decode for table in TABLES if table.struct is not bytes}
#: Decoded records of a kind of which few are needed.
_FEW_RECORDS = 16

_K = TypeVar("_K")
_R = TypeVar("_R")


@mypyc_attr(allow_interpreted_subclasses=True)
class StoredRecords(PartitionRecords):
    """The records of a partition, as `apply` reads and changes them."""

    def __init__(self, path: Path, partition: int, database: Rdict, cache_records: int) -> None:
        """`cache_records`: decoded records in memory, at most, over all tables but the uncommitted ones."""
        self.path = path
        self.partition = partition
        self._db = database
        self._encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode
        super().__init__(Meta())
        self._records: dict[Any, Layers[Any, Any]] = {
            table: Layers(
                self._read,
                table.form.encode,
                *self._codec(table),
                _cache_size(table, cache_records),
                comes_and_goes=table.comes_and_goes,
            )
            for table in TABLES
        }
        for table, layers in self._records.items():
            self._writers[table] = (layers.keep, table.timer)
        self._entries.update(self._records)

    def _codec(self, table: Table[Any, Any]) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
        """Encoder and decoder of a table's records; decoding a newer one raises NewerRecordError."""
        if table.struct is bytes:
            return bytes, bytes
        decode = _DECODE[table]

        def decoded(value: bytes) -> Any:
            why = why_unknown(table.struct, value)
            if why is not None:
                raise NewerRecordError(why)
            return decode(value)

        return self._encode, decoded

    def _read(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._error("read", error) from error
        return value

    def _error(self, work: str, error: Exception) -> StoreError:
        return store_error(self.partition, self.path, work, error)

    def _scan(self, begin: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """RocksDB's keys with a prefix, from `begin` on, and their values."""
        return with_store_errors(pairs_with(self._db, prefix, begin), self.partition, self.path)

    def scan(self, table: Table[_K, _R], after: _K | None, count: int) -> list[tuple[_K, _R]]:
        """The first `count` records behind a key, in the order of keys; null: from the first on."""
        form = table.form

        def stored(behind: _K | None) -> Iterator[tuple[_K, bytes]]:
            begin = form.prefix if behind is None else form.encode(behind)
            pairs = keys_of_kind(self._db, form.kind, begin) if form.kind else keys_with(self._db, form.prefix, begin)
            pairs = with_store_errors(pairs, self.partition, self.path)
            # Not an expression: mypyc would make a list of it.
            for key, value in pairs:
                yield form.decode(key), value

        return self._records[table].scan(after, count, stored)


def _cache_size(table: Table[Any, Any], cache_records: int) -> int:
    return _FEW_RECORDS if table.cache_part is None else max(cache_records, 16) // table.cache_part
