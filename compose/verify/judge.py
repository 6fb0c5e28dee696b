"""The judge: reads a cluster, folds its log, and compares (the package's docstring says why that is consistent)."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from backbeat.compose.verify.avro import Command, Commands, UnreadableError
from backbeat.compose.verify.beside import compare_beside
from backbeat.compose.verify.compare import Comparison, Difference
from backbeat.compose.verify.fold import Fold
from backbeat.compose.verify.log import Topics
from backbeat.compose.verify.partition import Partition
from backbeat.compose.verify.rules.records import State, first_state
from backbeat.compose.verify.sends import Mismatch, mismatches
from backbeat.compose.verify.spill import Spill
from backbeat.compose.verify.stored import fields
from backbeat.compose.verify.verdict import Step, Unjudged, Verdict
from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.schemas.messages.ids import PREFIX_BYTES

#: Reads of the changelog's newest end, at most: it grows meanwhile.
_READS_MAX = 3
_META_VERSION = 2
_KEPT_MAX = 1_000
_STEPS_MAX = 20
_SAY_RECORDS = 5_000
_BATCH_ROWS = 2_000
_PACK = msgspec.msgpack.Encoder().encode
_UNPACK = msgspec.msgpack.Decoder(State).decode


class SnapshotError(Exception):
    """The snapshot cannot be used: it is of another cluster, or of none."""


class Judge:
    """Run of the judge over all partitions."""

    def __init__(
        self, topics: Topics, say: Callable[[str], None], registry_url: str | None = None, snapshot: Path | None = None
    ) -> None:
        """`say`: called with what it does now. `snapshot`: the file to begin from, written anew where all agrees."""
        self._topics = topics
        self._say = say
        self._reader = Commands(registry_url)
        self._snapshot = snapshot
        self._positions: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._unjudged: list[Unjudged] = []
        self._counts: Counter[str] = Counter()
        self._differences: list[Difference] = []
        self._differences_count = 0

    def run(self) -> Verdict:
        """Read, fold, compare. SnapshotError, LogError."""
        with tempfile.TemporaryDirectory(prefix="backbeat-verify-") as folder:
            path = Path(folder) / "judge.sqlite"
            if self._snapshot is not None and self._snapshot.exists():
                shutil.copy(self._snapshot, path)
            spill = self._open(path)
            for partition in range(self._topics.partitions_count):
                self._positions[partition] = read_changelog(self._topics, spill, partition, self._say)
            # Only now: what a commit has sent is in the log before the commit.
            ends = [self._topics.ends(COMMANDS, number)[1] for number in range(self._topics.partitions_count)]
            for partition, end in enumerate(ends):
                self._judge_partition(spill, partition, end)
            self._say("comparing what partitions sent each other")
            unsent = mismatches(spill, self._positions, self._starts)
            verdict = self._verdict(unsent)
            if self._snapshot is not None and verdict.agrees and not self._unjudged:
                self._say("writing the snapshot")
                spill.end_run(self._positions)
                spill.close()
                self._replace(path, self._snapshot)
            else:
                spill.close()
            return verdict

    def _open(self, path: Path) -> Spill:
        try:
            spill = Spill(path)
            row = spill.one("SELECT value FROM about WHERE name = 'commands'")
        except Exception as error:  # the library raises whatever the file makes it meet
            raise SnapshotError(
                f"{self._snapshot} is no snapshot of backbeat verify ({error}). What to do: name another file; where "
                "there is none, one is written"
            ) from error
        if row is not None and row[0] != self._topics.commands_id:
            raise SnapshotError(
                f"{self._snapshot} is of another topic {COMMANDS} (id {row[0]}) than this cluster's (id "
                f"{self._topics.commands_id}). What to do: name a file of this cluster"
            )
        spill.db.execute("INSERT OR REPLACE INTO about VALUES ('commands', ?)", (self._topics.commands_id,))
        return spill

    @staticmethod
    def _replace(path: Path, snapshot: Path) -> None:
        """Put the new snapshot in the place of the old one, whole or not at all."""
        part = snapshot.with_name(snapshot.name + ".part")
        shutil.copy(path, part)
        part.replace(snapshot)

    # --- judging -----------------------------------------------------------------------------------------------------

    def _judge_partition(self, spill: Spill, number: int, end: int) -> None:
        row = spill.one("SELECT state FROM partitions WHERE partition = ?", number)
        state = first_state() if row is None else _UNPACK(row[0])
        partition = Partition(number, self._topics.partitions_count, spill, state)
        fold = Fold(partition, self._reader)
        start, position = state.next_offset, self._positions[number]
        first = self._topics.ends(COMMANDS, number)[0]
        meta = spill.one("SELECT value FROM stored WHERE partition = ? AND key = ?", number, b"m")
        reason = None
        if first > start:
            reason = f"the commands before offset {first} were removed, and no snapshot reaches as far"
        elif position < start:
            reason = f"the changelog is at offset {position}, before the snapshot's {start}: was it restored?"
        elif meta is not None and fields("meta", meta[0])["version"] > _META_VERSION:
            reason = "its changelog was written by a newer Backbeat"
        if reason is not None:
            self._unjudged.append(Unjudged(f"partition {number}", 1, reason))
            self._positions.pop(number)
            start = position = first
        else:
            self._starts[number] = start
        for record in self._topics.read(COMMANDS, number, start, end):
            if record.offset < position:
                fold.take(record.offset, record.timestamp, record.value)
            else:
                fold.look(record.value)
            if record.offset % _SAY_RECORDS == 0:
                self._say(f"partition {number}: commands, {record.offset} of {end}")
        if reason is not None:
            return
        state.next_offset = position
        self._say(f"partition {number}: comparing")
        comparison = Comparison(partition)
        for difference in (*comparison.run(), *compare_beside(comparison, partition, self._topics.commands_id)):
            self._keep(difference)
        self._counts.update(comparison.counts + partition.counts)
        for kind, count in partition.unjudged.items():
            self._unjudged.append(Unjudged(kind, count, f"partition {number}"))
        spill.db.execute("INSERT OR REPLACE INTO partitions VALUES (?, ?)", (number, _PACK(state)))

    # --- the verdict -------------------------------------------------------------------------------------------------

    def _keep(self, difference: Difference) -> None:
        self._differences_count += 1
        self._differences.append(difference)
        if len(self._differences) > 2 * _KEPT_MAX:
            self._differences = sorted(self._differences, key=_when)[:_KEPT_MAX]

    def _verdict(self, unsent: list[Mismatch]) -> Verdict:
        self._differences.sort(key=_when)
        first = self._differences[0] if self._differences else None
        steps: list[Step] = []
        if first is not None:
            steps = self._steps(first.partition, first.id[:PREFIX_BYTES], first.at)
        elif unsent:
            steps = self._step_at(unsent[0].partition, unsent[0].offset)
        return Verdict(
            positions=self._positions,
            starts=self._starts,
            counts=self._counts,
            differences=self._differences[:_KEPT_MAX],
            differences_count=self._differences_count,
            unsent=unsent,
            steps=steps,
            unjudged=self._unjudged,
        )

    def _steps(self, partition: int, prefix: bytes, at: int | None) -> list[Step]:
        """The newest commands about a family up to the time at which it parted from the rules, the run's or earlier."""
        steps: list[Step] = []
        first, position = self._topics.ends(COMMANDS, partition)[0], self._positions[partition]
        for record in self._topics.read(COMMANDS, partition, first, position):
            if at is not None and record.timestamp > at:
                break
            try:
                name, command = self._reader.read(record.value)
            except UnreadableError:
                continue
            if _is_about(command, prefix):
                steps.append(Step(partition, record.offset, record.timestamp, name, command))
                del steps[:-_STEPS_MAX]
        return steps

    def _step_at(self, partition: int, offset: int) -> list[Step]:
        for record in self._topics.read(COMMANDS, partition, offset, offset + 1):
            name, command = self._reader.read(record.value)
            return [Step(partition, record.offset, record.timestamp, name, command)]
        return []


def read_changelog(topics: Topics, spill: Spill, partition: int, say: Callable[[str], None]) -> int:
    """Read the newest value of each key, as of the end of a decided transaction; the position in its meta record."""
    reached, end = topics.ends(STATE, partition, committed=True)
    rows: list[tuple[int, bytes, bytes | None]] = []
    for _ in range(_READS_MAX):
        for record in topics.read(STATE, partition, reached, end, committed=True):
            rows.append((partition, record.key or b"", record.value))
            if len(rows) >= _BATCH_ROWS:
                _write(spill, rows)
            if record.offset % _SAY_RECORDS == 0:
                say(f"partition {partition}: changelog, {record.offset} of {end}")
        reached, end = end, topics.ends(STATE, partition, committed=True)[1]
        if end == reached:
            break
    _write(spill, rows)
    meta = spill.one("SELECT value FROM stored WHERE partition = ? AND key = ?", partition, b"m")
    return 0 if meta is None else int(fields("meta", meta[0])["next_offset"])


def _when(difference: Difference) -> tuple[bool, int, int]:
    return difference.at is None, difference.at or 0, difference.partition


def _is_about(command: Command, prefix: bytes) -> bool:
    ids = (value for name, value in command.items() if name != "id" and isinstance(value, bytes))
    signal = command.get("signal")
    return any(value[:PREFIX_BYTES] == prefix for value in ids) or (signal is not None and _is_about(signal, prefix))


def _write(spill: Spill, rows: list[tuple[int, bytes, bytes | None]]) -> None:
    for partition, key, value in rows:
        if value is None:
            spill.db.execute("DELETE FROM stored WHERE partition = ? AND key = ?", (partition, key))
        else:
            spill.db.execute("INSERT OR REPLACE INTO stored VALUES (?, ?, ?)", (partition, key, value))
    rows.clear()
