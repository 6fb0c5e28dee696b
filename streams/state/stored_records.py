# ruff: noqa: D102 - what `apply` asks for is documented in core.store.Store
"""The records of one partition by their keys, in three layers each (`table`): what `apply` reads and changes.

Keys. Everything of a workflow begins with `w` and the 7 bytes that its ids share, so it lies together; then the kind
and the rest of the id. `i` is an answer, `j` a job, `a` a workflow that waits to be archived, behind its time;
schedules (`c`) lie together, so that they can be listed; `m` is the meta record. The changelog has the same keys. `t`
(timers: `stored_timers`) and `o` (how far the changelog was read) are local.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rocksdict import Rdict

from backbeat.schemas.messages.ids import PREFIX_BYTES
from backbeat.schemas.messages.jobs import Job
from backbeat.streams.core.records import (
    Answer,
    CoalesceIndex,
    Due,
    Lane,
    Link,
    Node,
    Place,
    Pool,
    SignalTombstone,
    Workflow,
)
from backbeat.streams.core.schedules.schedule import Schedule
from backbeat.streams.engine.ports import NewerRecordError, StoreError
from backbeat.streams.state.rocksdb import checked, store_error
from backbeat.streams.state.scans import keys_of_kind, keys_with, pairs_with
from backbeat.streams.state.stored_timers import SCHEDULE
from backbeat.streams.state.table import Table
from backbeat.streams.state.versions import why_unknown

#: A partition keeps far fewer (`core.jobs`).
_JOBS_MAX = 10_000

_R = TypeVar("_R", bound=msgspec.Struct)


def _key(kind: bytes, identity: bytes, rest: bytes = b"") -> bytes:
    return b"w" + identity[:PREFIX_BYTES] + kind + identity[PREFIX_BYTES:] + rest


def _after(kind: bytes, identity: bytes) -> bytes:
    """The key behind which a scan begins."""
    return _key(kind, identity) if identity else b"w"


def _due_key(due_at: int, workflow_id: bytes) -> bytes:
    return b"a" + due_at.to_bytes(8, "big") + workflow_id


class StoredRecords:
    """The tables of a partition, and `apply`'s way to them (see `core.store.Store` for what each method is for)."""

    path: Path
    partition: int
    _db: Rdict

    def _make_tables(self, cache_records: int) -> Callable[[Any], bytes]:
        """Begin with what RocksDB holds. Gives what encodes a record."""
        share = max(cache_records, 16)
        encode = msgspec.msgpack.Encoder().encode
        self._nodes: Table[Node] = Table(self._read, encode, _decoder(Node), share)
        self._workflows: Table[Workflow] = Table(self._read, encode, _decoder(Workflow), share // 2)
        self._links: Table[Link] = Table(self._read, encode, _decoder(Link), share // 8)
        self._answers: Table[Answer] = Table(self._read, encode, _decoder(Answer), share // 8)
        self._chunks: Table[bytes] = Table(self._read, bytes, bytes, 16)
        self._pools: Table[Pool] = Table(self._read, encode, _decoder(Pool), share // 8)
        self._lanes: Table[Lane] = Table(self._read, encode, _decoder(Lane), share // 8)
        self._places: Table[Place] = Table(self._read, encode, _decoder(Place), share // 4)
        self._schedules: Table[Schedule] = Table(self._read, encode, _decoder(Schedule), share // 8)
        self._jobs: Table[Job] = Table(self._read, encode, _decoder(Job), 16)
        self._waiting: Table[CoalesceIndex] = Table(self._read, encode, _decoder(CoalesceIndex), share // 8)
        self._removed: Table[SignalTombstone] = Table(self._read, encode, _decoder(SignalTombstone), share // 8)
        self._due: Table[Due] = Table(self._read, encode, _decoder(Due), 16)
        self._tables = (
            self._workflows,
            self._nodes,
            self._chunks,
            self._links,
            self._answers,
            self._pools,
            self._lanes,
            self._places,
            self._schedules,
            self._jobs,
            self._waiting,
            self._removed,
            self._due,
        )
        return encode

    def _read(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            raise self._error("read", error) from error
        return value

    def _error(self, work: str, error: Exception) -> StoreError:
        return store_error(self.partition, self.path, work, error)

    def _scan(self, begin: bytes, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """What RocksDB holds from a key on, as long as the keys begin so."""
        return checked(pairs_with(self._db, prefix, begin), self.partition, self.path)

    def _with(self, first: bytes) -> Callable[[bytes], Iterator[tuple[bytes, bytes]]]:
        """What reads RocksDB behind a key, as long as the keys begin with this byte."""
        return lambda after: checked(keys_with(self._db, first, after), self.partition, self.path)

    def _of_kind(self, kind: bytes) -> Callable[[bytes], Iterator[tuple[bytes, bytes]]]:
        """What reads RocksDB behind a key: workflows' records of this kind."""
        return lambda after: checked(keys_of_kind(self._db, kind, after), self.partition, self.path)

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

    def get_job(self, job_id: bytes) -> Job | None:
        return self._jobs.get(b"j" + job_id)

    def jobs(self) -> list[Job]:
        return self._jobs.scan(b"j", _JOBS_MAX, self._with(b"j"))

    def workflows_after(self, workflow_id: bytes, count: int) -> list[Workflow]:
        return self._workflows.scan(_after(b"w", workflow_id), count, self._of_kind(b"w"))

    def nodes_after(self, node_id: bytes, count: int) -> list[Node]:
        return self._nodes.scan(_after(b"n", node_id), count, self._of_kind(b"n"))

    def get_waiting(self, workflow_id: bytes, coalesce_key: str) -> CoalesceIndex | None:
        return self._waiting.get(_key(b"c", workflow_id, coalesce_key.encode()))

    def get_removed(self, node_id: bytes) -> SignalTombstone | None:
        return self._removed.get(_key(b"d", node_id))

    def due_after(self, place: tuple[int, bytes] | None, limit: int) -> list[tuple[int, bytes]]:
        after = b"a" if place is None else _due_key(*place)
        keys = self._due.scan_keys(after, limit, self._with(b"a"))
        return [(int.from_bytes(key[1:9], "big"), key[9:]) for key in keys]

    def put_workflow(self, workflow: Workflow) -> None:
        self._workflows.put(_key(b"w", workflow.id), workflow)

    def put_node(self, node: Node) -> None:
        self._nodes.put(_key(b"n", node.id), node)

    def put_link(self, target_id: bytes, link: Link) -> None:
        _put(self._links, _key(b"l", target_id, link.child), link)

    def delete_link(self, target_id: bytes, child_id: bytes) -> None:
        self._links.delete(_key(b"l", target_id, child_id))

    def put_answer(self, command_id: bytes, answer: Answer) -> None:
        self._answers.put(b"i" + command_id, answer, fresh=True)

    def delete_answer(self, command_id: bytes) -> None:
        self._answers.delete(b"i" + command_id)

    def put_chunk(self, node_id: bytes, number: int, chunk: bytes) -> None:
        self._chunks.put(_key(b"h", node_id, number.to_bytes(4, "big")), chunk)

    def get_pool(self, pool_id: bytes) -> Pool | None:
        return self._pools.get(_key(b"p", pool_id))

    def put_pool(self, pool: Pool) -> None:
        _put(self._pools, _key(b"p", pool.id), pool)

    def delete_pool(self, pool_id: bytes) -> None:
        self._pools.delete(_key(b"p", pool_id))

    def get_lane(self, pool_id: bytes, key: bytes) -> Lane | None:
        return self._lanes.get(_key(b"q", pool_id, key))

    def put_lane(self, pool_id: bytes, key: bytes, lane: Lane) -> None:
        _put(self._lanes, _key(b"q", pool_id, key), lane)

    def delete_lane(self, pool_id: bytes, key: bytes) -> None:
        self._lanes.delete(_key(b"q", pool_id, key))

    def get_place(self, pool_id: bytes, node_id: bytes) -> Place | None:
        return self._places.get(_key(b"o", pool_id, node_id))

    def put_place(self, pool_id: bytes, node_id: bytes, place: Place) -> None:
        _put(self._places, _key(b"o", pool_id, node_id), place)

    def delete_place(self, pool_id: bytes, node_id: bytes) -> None:
        self._places.delete(_key(b"o", pool_id, node_id))

    def get_schedule(self, schedule_id: bytes) -> Schedule | None:
        return self._schedules.get(SCHEDULE + schedule_id)

    def put_schedule(self, schedule: Schedule) -> None:
        self._schedules.put(SCHEDULE + schedule.id, schedule)

    def delete_schedule(self, schedule_id: bytes) -> None:
        self._schedules.delete(SCHEDULE + schedule_id)

    def schedules(self) -> Iterator[Schedule]:
        keys = self._schedules.changed_keys | {key for key, _ in self._scan(SCHEDULE, SCHEDULE)}
        return (found for key in sorted(keys) if (found := self._schedules.get(key)) is not None)

    def put_job(self, job: Job) -> None:
        self._jobs.put(b"j" + job.id, job)

    def delete_job(self, job_id: bytes) -> None:
        self._jobs.delete(b"j" + job_id)

    def put_waiting(self, workflow_id: bytes, coalesce_key: str, waiting: CoalesceIndex) -> None:
        _put(self._waiting, _key(b"c", workflow_id, coalesce_key.encode()), waiting)

    def delete_waiting(self, workflow_id: bytes, coalesce_key: str) -> None:
        self._waiting.delete(_key(b"c", workflow_id, coalesce_key.encode()))

    def delete_workflow(self, workflow_id: bytes) -> None:
        self._workflows.delete(_key(b"w", workflow_id))

    def delete_node(self, node_id: bytes) -> None:
        self._nodes.delete(_key(b"n", node_id))

    def delete_chunk(self, node_id: bytes, number: int) -> None:
        self._chunks.delete(_key(b"h", node_id, number.to_bytes(4, "big")))

    def put_removed(self, node_id: bytes, removed: SignalTombstone) -> None:
        self._removed.put(_key(b"d", node_id), removed, fresh=True)

    def delete_removed(self, node_id: bytes) -> None:
        self._removed.delete(_key(b"d", node_id))

    def put_due(self, due_at: int, workflow_id: bytes) -> None:
        self._due.put(_due_key(due_at, workflow_id), Due(), fresh=True)

    def delete_due(self, due_at: int, workflow_id: bytes) -> None:
        self._due.delete(_due_key(due_at, workflow_id))


def _decoder(kind: type[_R]) -> Callable[[bytes], _R]:
    """From a stored value to a record of this kind; NewerRecordError where it is a newer one."""
    decode = msgspec.msgpack.Decoder(kind).decode

    def decoded(value: bytes) -> _R:
        why = why_unknown(kind, value)
        if why is not None:
            raise NewerRecordError(why)
        return decode(value)

    return decoded


def _put(table: Table[_R], key: bytes, record: _R) -> None:
    """Records that often come and go between two commits: one that does leaves nothing to write."""
    table.put(key, record, fresh=table.get(key) is None)
