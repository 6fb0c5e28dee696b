"""A partition as far as its log was folded: its state, what it remembers, and what it must have sent."""

from __future__ import annotations

from collections import Counter
from typing import Any

from backbeat.compose.verify.avro import Command
from backbeat.compose.verify.rules.records import Schedule, Slots, State
from backbeat.compose.verify.rules.tree import ANSWER, EXPIRY, JOB, REFUSAL, RETENTION, RETRY, SLOT, START
from backbeat.compose.verify.sends import essence
from backbeat.compose.verify.spill import Spill


class Partition:
    """A partition. The rules read and change it."""

    def __init__(self, number: int, partitions_count: int, spill: Spill, state: State) -> None:
        self.number = number
        self.partitions_count = partitions_count
        self.spill = spill
        self.state = state
        self.offset = state.next_offset
        self.counts: Counter[str] = Counter()
        #: what was left out, by kind
        self.unjudged: Counter[str] = Counter()
        self._sends: list[tuple[int, str, bytes]] = []

    # --- state, as the rules read and change it ----------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The time of the newest command, milliseconds since the epoch."""
        return self.state.now

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that commands are judged by."""
        return self.state.settings

    @property
    def slots(self) -> Slots:
        """Limits and pools."""
        return self.state.slots

    @property
    def schedules(self) -> dict[bytes, Schedule]:
        """Schedules by id."""
        return self.state.schedules

    def was_removed(self, node_id: bytes) -> bool:
        """True for a node of a removed workflow that is not gone yet, or of a signal as long as that is remembered."""
        if any(node_id in removal.steps for removal in self.state.removals.values()):
            return True
        if not self.state.removed:
            return False
        query = "SELECT 1 FROM tombstones WHERE partition = ? AND id = ?"
        return self.spill.one(query, self.number, node_id) is not None

    def keep(self, identity: bytes, text: bytes) -> bytes:
        """A payload as a node of this family keeps it."""
        return self.spill.keep(self.number, identity, text)

    def text(self, identity: bytes, kept: bytes) -> bytes:
        """The payload that was kept so."""
        return self.spill.text(self.number, identity, kept)

    def leftovers(self) -> set[bytes]:
        """Nodes of removed workflows that are not gone yet."""
        return {node_id for removal in self.state.removals.values() for node_id in removal.steps if node_id}

    # --- answers -----------------------------------------------------------------------------------------------------

    def answer_of(self, command_id: bytes) -> tuple[bytes, str, bytes | None] | None:
        """The remembered answer under a command's id: hash of the request, form, node; null: there is none."""
        query = "SELECT hash, form, node FROM answers WHERE partition = ? AND id = ?"
        row: tuple[bytes, str, bytes | None] | None = self.spill.one(query, self.number, command_id)
        return row

    def remember(self, command_id: bytes, body_hash: bytes, form: str, node_id: bytes | None = None) -> None:
        """Remember an answer for as long as the settings say."""
        forget_at = self.now + int(self.settings["answer_retention_seconds"] * 1000)
        row = (self.number, command_id, body_hash, form, node_id, forget_at)
        self.spill.db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)

    def forget_answer(self, command_id: bytes) -> None:
        """Forget an answer."""
        self.spill.db.execute("DELETE FROM answers WHERE partition = ? AND id = ?", (self.number, command_id))

    # --- sends -------------------------------------------------------------------------------------------------------

    def note_source(self, name: str, command: Command) -> None:
        """Note that an effect of a command is in the log."""
        source = command["source"]
        row = (source["partition"], source["offset"], self.number, name, essence(name, command), 0, source["index"])
        self.spill.db.execute("INSERT INTO sends VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def expect(self, target: int, name: str, fields: dict[str, Any]) -> None:
        """Note that a command must have been sent."""
        self._sends.append((target, name, essence(name, fields)))

    def write_sends(self) -> None:
        """Keep what the newest command must have sent."""
        rows = [(self.number, self.offset, target, name, fields, 1, -1) for target, name, fields in self._sends]
        self.spill.db.executemany("INSERT INTO sends VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        self._sends = []

    def drop_sends(self) -> None:
        """Forget what a refused command would have sent."""
        self._sends = []

    # --- timers ------------------------------------------------------------------------------------------------------

    def timer_of(self, kind: int, subject_id: bytes) -> tuple[int, int] | None:
        """Time and number of a timer of this kind; null: there is none. Number 0: the only one of its subject."""
        if kind in (START, RETRY, EXPIRY):
            pair = self.spill.family(self.number, subject_id).nodes.get(subject_id)
            if pair is None or pair[1].timer_at is None or pair[1].timer_kind != kind:
                return None
            return pair[1].timer_at, pair[1].timer_number
        if kind == SLOT:
            pool = self.slots.pools.get(subject_id)
            return None if pool is None or pool.timer_at is None else (pool.timer_at, pool.timer_number)
        if kind == RETENTION:
            tree = self.spill.family(self.number, subject_id).trees.get(subject_id)
            return None if tree is None or tree.removal_at is None else (tree.removal_at, tree.removal_number)
        if kind == JOB:
            job = self.state.jobs.get(subject_id)
            return None if job is None or job.forget_at is None else (job.forget_at, 0)
        table = {ANSWER: "answers", REFUSAL: "tombstones"}.get(kind)
        if table is None:
            return None
        query = f"SELECT forget_at FROM {table} WHERE partition = ? AND id = ?"  # noqa: S608 - a name of our own
        row = self.spill.one(query, self.number, subject_id)
        return None if row is None else (row[0], 0)
