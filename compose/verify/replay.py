"""The engine's own rules over the log, twice: every effect and every record must be the same, byte for byte.

The two runs have caches and commits of their own sizes, as two engines would. What they have made is compared with the
changelog, too: the same bytes, or, of records that an earlier version wrote, the same content.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from backbeat.compose.verify.compare import Difference
from backbeat.compose.verify.judge import read_changelog
from backbeat.compose.verify.log import Record, Topics
from backbeat.compose.verify.spill import Spill
from backbeat.compose.verify.stored import fields, split_key
from backbeat.compose.verify.verdict import Unjudged, Verdict
from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.requests.decoding import from_msgpack
from backbeat.streams.core import apply
from backbeat.streams.core.effects import Effect
from backbeat.streams.core.records import Meta
from backbeat.streams.core.step import Refused
from backbeat.streams.core.tables import META_KEY, table_of
from backbeat.streams.engine import defects
from backbeat.streams.input.validate import check_command
from backbeat.streams.ports.errors import NOT_OF_A_RECORD
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state.store import PartitionStore

#: Records in memory and commands between two commits, of each run.
_RUNS = {"first": (4_000, 1_000), "second": (64, 37)}
_SAY_RECORDS = 5_000
_KEPT_MAX = 1_000
_TABLES = "".join(
    f"CREATE TABLE {name} (partition INTEGER, key BLOB, value BLOB, PRIMARY KEY (partition, key)) WITHOUT ROWID;"
    for name in _RUNS
)
_PACK = msgspec.msgpack.Encoder().encode


class EngineRun:
    """Run of the rules over a partition."""

    def __init__(self, name: str, folder: Path, partition: int, partitions_count: int, spill: Spill) -> None:
        cache_records, self._commit_records = _RUNS[name]
        self._name = name
        self._partitions_count = partitions_count
        self._spill = spill
        self._store = PartitionStore(folder / f"{name}-{partition}", partition, cache_records)
        self.meta = self._store.meta
        self._records_count = 0

    def take(self, record: Record, partition: int) -> list[Effect]:
        """Apply a record as the engine does; its effects."""
        effects: list[Effect] = []
        try:
            command = codec.decode_command(record.value)
        except DecodeError:
            pass
        else:
            try:
                check_command(command, partition, record.offset, self._partitions_count)
                effects = apply(command, record.timestamp, self._store)
            except Refused as refused:
                effects = defects.refused(command, refused.rejection)
            except NOT_OF_A_RECORD:
                raise
            except Exception:  # noqa: BLE001 - a defect of the rules: the engine goes on like this
                failure = defects.failure_of(command)
                effects = [] if failure is None else apply(failure, record.timestamp, self._store)
        self._store.meta.next_offset = record.offset + 1
        self._records_count += 1
        if self._records_count % self._commit_records == 0:
            self.commit()
        return effects

    def commit(self) -> None:
        """Write what has changed."""
        snapshot = self._store.snapshot()
        rows = [(self._store.partition, key, value) for key, value in snapshot.records]
        kept = f"INSERT OR REPLACE INTO {self._name} VALUES (?, ?, ?)"  # noqa: S608 - a name of our own
        gone = f"DELETE FROM {self._name} WHERE partition = ? AND key = ?"  # noqa: S608 - as above
        self._spill.db.executemany(kept, [row for row in rows if row[2] is not None])
        self._spill.db.executemany(gone, [row[:2] for row in rows if row[2] is None])
        self._store.write(snapshot, ChangelogPosition("", self._records_count, 0))
        self._store.mark_durable()

    def close(self) -> None:
        """Close the store."""
        self._store.close()


class Replay:
    """Both runs over all partitions."""

    def __init__(self, topics: Topics, say: Callable[[str], None]) -> None:
        self._topics = topics
        self._say = say
        self._differences: list[Difference] = []
        self._differences_count = 0
        self._counts: Counter[str] = Counter()
        self._unjudged: list[Unjudged] = []
        self._positions: dict[int, int] = {}

    def run(self) -> Verdict:
        """Read, run, compare."""
        with tempfile.TemporaryDirectory(prefix="backbeat-replay-") as name:
            folder = Path(name)
            spill = Spill(folder / "replay.sqlite")
            make_tables(spill)
            for partition in range(self._topics.partitions_count):
                position = read_changelog(self._topics, spill, partition, self._say)
                self._partition(spill, folder, partition, position)
            spill.close()
        return Verdict(
            positions=self._positions,
            starts=dict.fromkeys(self._positions, 0),
            counts=self._counts,
            differences=self._differences,
            differences_count=self._differences_count,
            unsent=[],
            steps=[],
            unjudged=self._unjudged,
        )

    def _partition(self, spill: Spill, folder: Path, partition: int, position: int) -> None:
        first_offset = self._topics.ends(COMMANDS, partition)[0]
        if first_offset > 0:
            why = f"the commands before offset {first_offset} were removed"
            self._unjudged.append(Unjudged(f"partition {partition}", 1, why))
            return
        self._positions[partition] = position
        row = spill.one("SELECT value FROM stored WHERE partition = ? AND key = ?", partition, META_KEY)
        runs = [EngineRun(name, folder, partition, self._topics.partitions_count, spill) for name in _RUNS]
        if row is not None:
            theirs = fields("meta", row[0])
            for run in runs:
                # Of the cluster, not of the log.
                run.meta.topic_id, run.meta.transactional_id = theirs["topic_id"], theirs["transactional_id"]
        for record in self._topics.read(COMMANDS, partition, 0, position):
            effects = [_packed(run.take(record, partition)) for run in runs]
            self._counts["records"] += 1
            if effects[0] != effects[1]:
                self._note(partition, b"", f"effects of offset {record.offset}", effects[1], effects[0])
            if record.offset % _SAY_RECORDS == 0:
                self._say(f"partition {partition}: commands, {record.offset} of {position}")
        for run in runs:
            run.meta.next_offset = position
            run.commit()
            run.close()
        self._compare(spill, partition, "first", "second", "bytes of the second run")
        self._compare(spill, partition, "first", "stored", "bytes in the changelog")

    def _compare(self, spill: Spill, partition: int, ours: str, theirs: str, field: str) -> None:
        query = (
            f"SELECT key, a.value, b.value FROM (SELECT key FROM {ours} WHERE partition = ? UNION"  # noqa: S608 - own names
            f" SELECT key FROM {theirs} WHERE partition = ?) LEFT JOIN {ours} a USING (key) LEFT JOIN {theirs} b"
            " USING (key) WHERE coalesce(a.partition, ?) = ? AND coalesce(b.partition, ?) = ?"
        )
        for key, our, their in spill.db.execute(query, (partition,) * 6):
            self._counts["records compared"] += 1
            if our != their and not same_record(key, our, their):
                self._note(partition, key, field, their, our)

    def _note(self, partition: int, key: bytes, field: str, theirs: bytes | None, ours: bytes | None) -> None:
        self._differences_count += 1
        if len(self._differences) < _KEPT_MAX:
            kind, identity, _ = split_key(key)
            self._differences.append(Difference(partition, kind, identity, field, repr(theirs), repr(ours)))


def _packed(effects: list[Effect]) -> bytes:
    return _PACK([(type(effect).__name__, effect) for effect in effects])


def make_tables(spill: Spill) -> None:
    """Make the tables of both runs: the records that each has stored."""
    spill.db.executescript(_TABLES + "BEGIN;")


def same_record(key: bytes, ours: bytes | None, theirs: bytes | None) -> bool:
    """True for two forms of one record, of which one was written by an earlier version."""
    if ours is None or theirs is None:
        return False
    struct: Any = Meta if key == META_KEY else getattr(table_of(key), "struct", bytes)
    if struct is bytes:
        return False
    return bool(from_msgpack(ours, struct) == from_msgpack(theirs, struct))
