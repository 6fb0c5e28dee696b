# ruff: noqa: D102 - what `apply` asks for is documented in core.store.Store
"""One partition's records: what `apply` reads and changes, in RocksDB as of the last commit and in memory since.

Keys. Everything of a workflow begins with `w` and the 7 bytes that its ids share, so it lies together; then the kind
and the rest of the id. `i` begins the key of a kept answer, `a` that of a workflow that waits to be archived, behind
its time; `m` is the meta record. The changelog has the same keys. `t` (timers: `derived`) and `o` (how far the
changelog was read) are local.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, ReadOptions, WriteBatch

from backbeat.streams import derived, scan
from backbeat.streams.core.ids import PREFIX_BYTES
from backbeat.streams.core.records import (
    Answer,
    Due,
    Link,
    Meta,
    Node,
    Removed,
    Waiting,
    Workflow,
)
from backbeat.streams.derived import TIMER, timer_key
from backbeat.streams.keeper import NewerRecordError, Origin, Snapshot, StoreError
from backbeat.streams.table import Table
from backbeat.streams.timers import Timers
from backbeat.streams.versions import why_unknown, why_unknown_record, why_unknown_rules

META_KEY = b"m"
_ORIGIN_KEY = b"o"
_WRITE_BUFFER_BYTES = 2 * 1024 * 1024

_R = TypeVar("_R", bound=msgspec.Struct)

#: One block cache for all partitions of a process.
_BLOCKS = Cache(24 * 1024 * 1024)


def _key(kind: bytes, identity: bytes, rest: bytes = b"") -> bytes:
    return b"w" + identity[:PREFIX_BYTES] + kind + identity[PREFIX_BYTES:] + rest


def _due_key(due_at: int, workflow_id: bytes) -> bytes:
    return b"a" + due_at.to_bytes(8, "big") + workflow_id


def _options() -> Options:
    """Small budgets: every partition is a database of its own."""
    table = BlockBasedOptions()
    table.set_block_cache(_BLOCKS)
    table.set_cache_index_and_filter_blocks(True)
    table.set_bloom_filter(10, False)
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_block_based_table_factory(table)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    options.set_max_total_wal_size(4 * _WRITE_BUFFER_BYTES)
    return options


class PartitionStore:
    """The records of one partition of the commands topic (see `core.store.Store` for what each method is for)."""

    def __init__(self, path: Path, partition: int, cache_records: int = 4_000) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.partition = partition
        self._db: Rdict = _open(path)
        try:
            self._begin(cache_records)
        except BaseException:
            self._db.close()
            raise

    def _begin(self, cache_records: int) -> None:
        share = max(cache_records, 16)
        encode = msgspec.msgpack.Encoder().encode
        self._nodes: Table[Node] = Table(self._read, encode, _decoder(Node), share)
        self._workflows: Table[Workflow] = Table(self._read, encode, _decoder(Workflow), share // 2)
        self._links: Table[Link] = Table(self._read, encode, _decoder(Link), share // 8)
        self._answers: Table[Answer] = Table(self._read, encode, _decoder(Answer), share // 8)
        self._chunks: Table[bytes] = Table(self._read, bytes, bytes, 16)
        self._waiting: Table[Waiting] = Table(self._read, encode, _decoder(Waiting), share // 8)
        self._removed: Table[Removed] = Table(self._read, encode, _decoder(Removed), share // 8)
        self._due: Table[Due] = Table(self._read, encode, _decoder(Due), 16)
        self._tables: tuple[Table[Any], ...] = (
            self._workflows,
            self._nodes,
            self._chunks,
            self._links,
            self._answers,
            self._waiting,
            self._removed,
            self._due,
        )
        self.origin = self._read_origin()
        self._encode_meta = encode
        self.meta = self.stored_meta() or Meta()
        self._meta_written = encode(self.meta)
        self.timers = Timers(self._scan_timers)

    def _read(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise StoreError(f"cannot read partition {self.partition} in {self.path}: {error}") from error
        return value

    def _read_origin(self) -> Origin | None:
        value = self._read(_ORIGIN_KEY)
        return None if value is None else msgspec.msgpack.decode(value, type=Origin)

    def stored_meta(self) -> Meta | None:
        """The meta record as it is in RocksDB; null in an empty store. NewerRecordError."""
        value = self._read(META_KEY)
        if value is None:
            return None
        self._refuse(why_unknown(Meta, value))
        meta = msgspec.msgpack.decode(value, type=Meta)
        self._refuse(why_unknown_rules(meta))
        return meta

    def _refuse(self, why: str | None) -> None:
        if why is not None:
            raise NewerRecordError(f"partition {self.partition}: {why}")

    # --- what `apply` asks for --------------------------------------------------------------------------------------

    def get_workflow(self, workflow_id: bytes) -> Workflow | None:
        return self._workflows.get(_key(b"w", workflow_id))

    def get_node(self, node_id: bytes) -> Node | None:
        return self._nodes.get(_key(b"n", node_id))

    def get_link(self, target_id: bytes, child_id: bytes) -> Link | None:
        return self._links.get(_key(b"l", target_id, child_id))

    def get_answer(self, command_id: bytes) -> Answer | None:
        return self._answers.get(b"i" + command_id)

    def get_chunk(self, node_id: bytes, number: int) -> bytes | None:
        return self._chunks.get(_key(b"h", node_id, number.to_bytes(4, "big")))

    def get_waiting(self, workflow_id: bytes, coalesce_key: str) -> Waiting | None:
        return self._waiting.get(_key(b"c", workflow_id, coalesce_key.encode()))

    def get_removed(self, node_id: bytes) -> Removed | None:
        return self._removed.get(_key(b"d", node_id))

    def workflows_after(self, workflow_id: bytes | None, limit: int) -> list[Workflow]:
        after = b"" if workflow_id is None else _key(b"w", workflow_id)
        keys = scan.keys_after(self._workflows, scan.workflow_keys(self._db, after), after, limit)
        return [workflow for key in keys if (workflow := self._workflows.get(key)) is not None]

    def due_after(self, place: tuple[int, bytes] | None, limit: int) -> list[tuple[int, bytes]]:
        after = b"" if place is None else _due_key(*place)
        keys = scan.keys_after(self._due, scan.keys_from(self._db, after, b"a"), after, limit)
        return [(int.from_bytes(key[1:9], "big"), key[9:]) for key in keys]

    def put_workflow(self, workflow: Workflow) -> None:
        self._workflows.put(_key(b"w", workflow.id), workflow)

    def put_node(self, node: Node) -> None:
        self._nodes.put(_key(b"n", node.id), node)

    def put_link(self, target_id: bytes, link: Link) -> None:
        key = _key(b"l", target_id, link.child)
        self._links.put(key, link, fresh=self._links.get(key) is None)

    def delete_link(self, target_id: bytes, child_id: bytes) -> None:
        self._links.delete(_key(b"l", target_id, child_id))

    def put_answer(self, command_id: bytes, answer: Answer) -> None:
        self._answers.put(b"i" + command_id, answer, fresh=True)

    def delete_answer(self, command_id: bytes) -> None:
        self._answers.delete(b"i" + command_id)

    def put_chunk(self, node_id: bytes, number: int, chunk: bytes) -> None:
        self._chunks.put(_key(b"h", node_id, number.to_bytes(4, "big")), chunk)

    def put_waiting(self, workflow_id: bytes, coalesce_key: str, waiting: Waiting) -> None:
        key = _key(b"c", workflow_id, coalesce_key.encode())
        self._waiting.put(key, waiting, fresh=self._waiting.get(key) is None)

    def delete_waiting(self, workflow_id: bytes, coalesce_key: str) -> None:
        self._waiting.delete(_key(b"c", workflow_id, coalesce_key.encode()))

    def delete_workflow(self, workflow_id: bytes) -> None:
        self._workflows.delete(_key(b"w", workflow_id))

    def delete_node(self, node_id: bytes) -> None:
        self._nodes.delete(_key(b"n", node_id))

    def delete_chunk(self, node_id: bytes, number: int) -> None:
        self._chunks.delete(_key(b"h", node_id, number.to_bytes(4, "big")))

    def put_removed(self, node_id: bytes, removed: Removed) -> None:
        self._removed.put(_key(b"d", node_id), removed, fresh=True)

    def delete_removed(self, node_id: bytes) -> None:
        self._removed.delete(_key(b"d", node_id))

    def put_due(self, due_at: int, workflow_id: bytes) -> None:
        self._due.put(_due_key(due_at, workflow_id), Due(), fresh=True)

    def delete_due(self, due_at: int, workflow_id: bytes) -> None:
        self._due.delete(_due_key(due_at, workflow_id))

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        self.timers.set(due, subject_id, kind, number)

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        self.timers.clear(due, subject_id, kind)

    # --- commit ----------------------------------------------------------------------------------------------------

    @property
    def changed_count(self) -> int:
        """How many records wait for the next commit."""
        return sum(table.changed_count for table in self._tables)

    def is_dirty(self) -> bool:
        """Whether a commit would write anything."""
        return self._encode_meta(self.meta) != self._meta_written

    def snapshot(self) -> Snapshot:
        """Everything that changed since the last one, and the position that it belongs to. Must not be interrupted."""
        records = [record for table in self._tables for record in table.snapshot()]
        meta = self._encode_meta(self.meta)
        self._meta_written = meta
        records.append((META_KEY, meta))
        timers = [
            (timer_key(*key), None if number is None else number.to_bytes(8, "big"))
            for key, number in self.timers.snapshot()
        ]
        return Snapshot(self.partition, self.meta.next_offset, records, timers, self.timers.low_water())

    def write(self, snapshot: Snapshot, origin: Origin) -> None:
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

    def landed(self) -> None:
        """The written snapshot need not be held in memory any more. Must not be interrupted."""
        for table in self._tables:
            table.landed()
        self.timers.landed()

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._db.write(batch)
        except Exception as error:
            raise StoreError(f"cannot write partition {self.partition} in {self.path}: {error}") from error

    # --- restore ---------------------------------------------------------------------------------------------------

    def restore(self, records: Iterable[tuple[bytes, bytes | None]], origin: Origin) -> None:
        """Take over records of the changelog, oldest first, and derive the timers from them. NewerRecordError."""
        batch = WriteBatch(raw_mode=True)
        timers: dict[bytes, bytes | None] = {}  # what this batch says of each node's or answer's timer
        newest: dict[bytes, bytes | None] = dict(records)
        for key, value in newest.items():
            if value is None:
                batch.delete(key)
            else:
                self._refuse(why_unknown_record(key, value))
                batch.put(key, value)
            before = derived.timer_of(key, self._read(key))
            after = derived.timer_of(key, value)
            if before is not None and before != after:
                timers[before[0]] = None
            if after is not None:
                timers[after[0]] = after[1]
        for timer, number in timers.items():
            if number is None:
                batch.delete(timer)
            else:
                batch.put(timer, number)
        batch.put(_ORIGIN_KEY, msgspec.msgpack.encode(origin))
        self._write(batch)
        self.origin = origin

    def restored(self) -> None:
        """The store is as of the end of the changelog: begin from there."""
        self.meta = self.stored_meta() or Meta()
        self._meta_written = self._encode_meta(self.meta)

    def _scan_timers(self, begin: int, until: int) -> Iterator[tuple[tuple[int, bytes, int], int]]:
        start = max(begin, self.origin.timers_from if self.origin else 0)
        iterator = self._db.iter(ReadOptions())
        iterator.seek(timer_key(start, bytes(16), 0))
        while iterator.valid():
            key = iterator.key()
            if len(key) != TIMER.size or key[:1] != b"t":
                break
            _, due, subject_id, kind = TIMER.unpack(key)
            if due >= until:
                break
            yield (due, subject_id, kind), int.from_bytes(iterator.value(), "big")
            iterator.next()

    # --- figures ---------------------------------------------------------------------------------------------------

    @property
    def cached_count(self) -> int:
        """Decoded records in memory."""
        return sum(table.cached_count for table in self._tables)

    def stored_estimate(self) -> tuple[int, int]:
        """How many records RocksDB holds, as it estimates, and their bytes on disk and in write buffers."""
        read = self._db.property_int_value
        size = read("rocksdb.total-sst-files-size") + read("rocksdb.size-all-mem-tables")
        return read("rocksdb.estimate-num-keys"), size

    def close(self) -> None:
        """Release the files; nothing that was not committed is kept."""
        self._db.close()


def _decoder(kind: type[_R]) -> Callable[[bytes], _R]:
    """From a stored value to a record of this kind; NewerRecordError where it is a newer one."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def decoded(value: bytes) -> _R:
        why = why_unknown(kind, value)
        if why is not None:
            raise NewerRecordError(why)
        return decode(value)

    return decoded


def _open(path: Path) -> Rdict:
    try:
        return Rdict(str(path), _options())
    except Exception as error:
        raise StoreError(f"cannot open the store in {path}: {error}") from error


def wipe(path: Path) -> None:
    """Remove a store that must not be used any more."""
    shutil.rmtree(path, ignore_errors=False) if path.exists() else None


def host_now() -> int:
    """The host's time in milliseconds since the epoch: for the age of local files only."""
    return int(time.time() * 1000)
