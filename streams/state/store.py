"""Store of one partition: its records in RocksDB as of the last commit, and the changes since in memory."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from rocksdict import WriteBatch

from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.streams.compiled import mypyc_attr
from backbeat.streams.core.records import Meta
from backbeat.streams.core.tables import META_KEY, META_VERSION
from backbeat.streams.ports.errors import NewerRecordError
from backbeat.streams.ports.host_clock import HostClock
from backbeat.streams.ports.state import ChangelogPosition, Snapshot
from backbeat.streams.state.rocksdb import open_database
from backbeat.streams.state.store_folder import StoreFolder
from backbeat.streams.state.stored_records import StoredRecords
from backbeat.streams.state.stored_timers import TIMER, timer_key, timer_of
from backbeat.streams.state.timers import Timers
from backbeat.streams.state.versions import why_unknown, why_unknown_record, why_unknown_rules

logger = logging.getLogger(__name__)

_ORIGIN_KEY = b"o"
#: Longest time between two flushes of RocksDB's memory, whose records a kill loses: by itself RocksDB flushes only when
#: its memory is full.
_FLUSH_MS = 10 * 60 * 1000


@mypyc_attr(allow_interpreted_subclasses=True)
class PartitionStore(StoredRecords):
    """The records of one partition of the commands topic (methods: see `core.store.Store`)."""

    def __init__(self, path: Path, partition: int, cache_records: int = 4_000, host_clock: HostClock = time) -> None:
        super().__init__(path, partition, open_database(StoreFolder(path), partition), cache_records)
        self._host_clock = host_clock
        self._flushed_at = host_now(host_clock)
        try:
            self.origin = self._read_origin()
            self.replace_meta(self._newest_meta())
        except BaseException:
            self.close()
            raise
        self._meta_written = self._encode(self.meta)
        self.timers = Timers(self._scan_timers)

    def _read_origin(self) -> ChangelogPosition | None:
        value = self._read(_ORIGIN_KEY)
        return None if value is None else from_msgpack(value, ChangelogPosition)

    def stored_meta(self) -> Meta | None:
        """The meta record in RocksDB; null: the store is empty. NewerRecordError."""
        value = self._read(META_KEY)
        if value is None:
            return None
        self._refuse(why_unknown(Meta, value))
        meta = from_msgpack(value, Meta)
        self._refuse(why_unknown_rules(meta))
        return meta

    def _newest_meta(self) -> Meta:
        meta = self.stored_meta() or Meta()
        # Records written from here on are this version's: an older one must refuse the store.
        meta.version = META_VERSION
        return meta

    def _refuse(self, why: str | None) -> None:
        if why is not None:
            raise NewerRecordError(f"partition {self.partition}: {why}")

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        """Set a timer. `due`: milliseconds since the epoch."""
        self.timers.set(due, subject_id, kind, number)

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        """Clear a timer."""
        self.timers.clear(due, subject_id, kind)

    # --- commit ----------------------------------------------------------------------------------------------------

    @property
    def changed_count(self) -> int:
        """Count of records that wait for the next commit."""
        count = 0
        for layers in self._records.values():
            count += layers.changed_count
        return count

    def is_dirty(self) -> bool:
        """True when a commit would write anything."""
        return self._encode(self.meta) != self._meta_written

    def snapshot(self) -> Snapshot:
        """All changes since the last snapshot, and their position. Must not be interrupted."""
        records = [record for layers in self._records.values() for record in layers.snapshot()]
        meta = self._encode(self.meta)
        self._meta_written = meta
        records.append((META_KEY, meta))
        timers = [
            (timer_key(*key), None if number is None else number.to_bytes(8, "big"))
            for key, number in self.timers.snapshot()
        ]
        return Snapshot(self.partition, self.meta.next_offset, records, timers, self.timers.low_water())

    def write(self, snapshot: Snapshot, origin: ChangelogPosition) -> None:
        """Step 3 of a commit: the records of a committed transaction, in one batch with the changelog's offset."""
        batch = WriteBatch(raw_mode=True)
        for key, value in (*snapshot.records, *snapshot.timers):
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        origin.timers_from = snapshot.timers_from
        batch.put(_ORIGIN_KEY, msgspec.msgpack.encode(origin))
        self._write(batch)
        self.origin = origin
        if origin.written_at - self._flushed_at > _FLUSH_MS:
            self._flush(wait=False)

    def mark_durable(self) -> None:
        """Release the written snapshot from memory. Must not be interrupted."""
        for layers in self._records.values():
            layers.mark_durable()
        self.timers.mark_durable()

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:
            raise self._error("write", error) from error

    def _flush(self, *, wait: bool) -> None:
        """Flush RocksDB's memory."""
        self._flushed_at = host_now(self._host_clock)
        try:
            self._db.flush(wait)
        except Exception as error:
            raise self._error("write", error) from error

    # --- restore ---------------------------------------------------------------------------------------------------

    def restore(self, records: Iterable[tuple[bytes, bytes | None]], origin: ChangelogPosition) -> None:
        """Write records of the changelog, oldest first, and the timers that follow from them. NewerRecordError."""
        batch = WriteBatch(raw_mode=True)
        timers: dict[bytes, bytes | None] = {}  # by key; null: deleted
        newest: dict[bytes, bytes | None] = dict(records)
        for key, value in newest.items():
            if value is None:
                batch.delete(key)
            else:
                self._refuse(why_unknown_record(key, value))
                batch.put(key, value)
            old_timer = timer_of(key, self._read(key))
            new_timer = timer_of(key, value)
            if old_timer is not None and old_timer != new_timer:
                timers[old_timer[0]] = None
            if new_timer is not None:
                timers[new_timer[0]] = new_timer[1]
        for key, number in timers.items():
            if number is None:
                batch.delete(key)
            else:
                batch.put(key, number)
        batch.put(_ORIGIN_KEY, msgspec.msgpack.encode(origin))
        self._write(batch)
        self.origin = origin

    def restored(self) -> None:
        """End the restore: read the meta record as of the changelog's end."""
        self.replace_meta(self._newest_meta())
        self._meta_written = self._encode(self.meta)

    def _scan_timers(self, begin: int, until: int) -> Iterator[tuple[tuple[int, bytes, int], int]]:
        start = max(begin, self.origin.timers_from if self.origin else 0)
        for key, value in self._scan(timer_key(start, bytes(16), 0), b"t"):
            _, due, subject_id, kind = TIMER.unpack(key)
            if due >= until:
                break
            yield (due, subject_id, kind), int.from_bytes(value, "big")

    # --- figures ---------------------------------------------------------------------------------------------------

    @property
    def cached_count(self) -> int:
        """Decoded records in memory."""
        return sum(layers.cached_count for layers in self._records.values())

    def stored_estimate(self) -> tuple[int, int]:
        """RocksDB's estimate of its records, and their bytes on disk and in write buffers."""
        read = self._db.property_int_value
        size = read("rocksdb.total-sst-files-size") + read("rocksdb.size-all-mem-tables")
        return read("rocksdb.estimate-num-keys"), size

    def close(self) -> None:
        """Close the database; uncommitted changes are dropped."""
        try:
            self._db.close()
        except Exception as error:  # noqa: BLE001 - RocksDB has no types of its own
            # Unflushed records are in the changelog; damaged files are found when it is opened.
            logger.warning("%s", self._error("close", error))


def host_now(host_clock: HostClock = time) -> int:
    """The host's time in milliseconds since the epoch: for the age of local files only."""
    return int(host_clock.time() * 1000)
