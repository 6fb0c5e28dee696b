"""A broker in memory: partitions with offsets and LogAppendTime, and transactions as Kafka has them.

What matters is kept: a transaction's markers come after its commit was answered, they take offsets, an open
transaction holds up read_committed readers, an epoch fences whoever had the id before, compaction leaves holes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from backbeat.schemas import errors
from backbeat.schemas.codec import decode_command
from backbeat.schemas.kafka.topics import COMMANDS, STATE
from backbeat.schemas.messages.commands import DeliveryFailed

from .virtual import VirtualTime

Headers = list[tuple[str, bytes | None]] | None
#: As long as the changelog keeps a tombstone (`topics.STATE_DELETE_RETENTION_MS`).
TOMBSTONE_MS = 24 * 60 * 60 * 1000


class FencedError(Exception):
    """The producer's epoch is old: somebody else has its id."""


@dataclass(slots=True, eq=False)
class Transaction:
    """One transaction of one producer."""

    owner: str
    began_ms: int
    state: str = "open"  #: open, committed, aborted
    logs: list[PartitionLog] = field(default_factory=list)  #: those with a record of it and no marker yet
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)  #: positions for the group


@dataclass(slots=True)
class Entry:
    """A record, or a marker (`control`)."""

    offset: int
    timestamp: int
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = None
    transaction: Transaction | None = None
    control: bool = False


class PartitionLog:
    """One partition of one topic. Compacted entries are null."""

    def __init__(self, topic: str, number: int, virtual: VirtualTime) -> None:
        self.topic = topic
        self.number = number
        self._virtual = virtual
        self.entries: list[Entry | None] = []
        self.unmarked: dict[Transaction, int] = {}  #: transactions without a marker here -> their first offset

    @property
    def end(self) -> int:
        return len(self.entries)

    @property
    def stable_end(self) -> int:
        """Where a read_committed reader has to stop."""
        return min(self.unmarked.values(), default=self.end)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = None,
        transaction: Transaction | None = None,
        *,
        control: bool = False,
    ) -> Entry:
        entry = Entry(self.end, self._virtual.broker_now(self.number), key, value, headers, transaction, control)
        self.entries.append(entry)
        return entry

    def committed(self, begin: int) -> tuple[list[Entry], int]:
        """What a read_committed reader gets from an offset on, and where it comes to."""
        end = self.stable_end
        values = [
            entry
            for entry in self.entries[begin:end]
            if entry is not None
            and not entry.control
            and (entry.transaction is None or entry.transaction.state == "committed")
        ]
        return values, max(begin, end)

    def compact(self) -> None:
        """Keep the newest record of each key; old tombstones, markers and aborted records go as well."""
        stable = self.stable_end
        newest: dict[bytes | None, int] = {entry.key: entry.offset for entry in self.committed(0)[0]}
        now = self._virtual.broker_now(self.number)
        for offset, entry in enumerate(self.entries[:stable]):
            if entry is None:
                continue
            stays = newest.get(entry.key) == offset and not entry.control
            if not stays or (entry.value is None and now - entry.timestamp > TOMBSTONE_MS):
                self.entries[offset] = None


class Broker:
    """Topics, transactions, and the group's offsets."""

    def __init__(self, virtual: VirtualTime, partitions_count: int, transaction_timeout_ms: int) -> None:
        self._virtual = virtual
        self._timeout_ms = transaction_timeout_ms
        self.partitions_count = partitions_count
        self._logs: dict[tuple[str, int], PartitionLog] = {}
        self.contents: dict[str, Counter[tuple[bytes | None, bytes | None]]] = {}  #: what was ever written, by topic
        self.failed_deliveries: set[bytes] = set()  #: ids of the commands that say so
        self.epochs: dict[str, int] = {}
        self.open: dict[str, Transaction] = {}
        self.ended: list[Transaction] = []  #: whose markers are not all written
        self.group_offsets: dict[tuple[str, int], int] = {}
        #: called with each record of the commands topic, and each transaction whose commit was accepted
        self.on_command: Callable[[PartitionLog, Entry], None] = lambda *_: None
        self.on_commit: Callable[[Transaction], None] = lambda _: None

    def log(self, topic: str, number: int) -> PartitionLog:
        log = self._logs.get((topic, number))
        if log is None:
            log = self._logs[topic, number] = PartitionLog(topic, number, self._virtual)
        return log

    def append(self, topic: str, number: int, key: bytes | None, value: bytes | None, headers: Headers = None) -> Entry:
        """A record outside transactions."""
        log = self.log(topic, number)
        entry = log.append(key, value, headers)
        self.contents.setdefault(topic, Counter())[key, value] += 1
        if topic == COMMANDS:
            self._note_failed(value)
            self.on_command(log, entry)
        return entry

    def _note_failed(self, value: bytes | None) -> None:
        with suppress(errors.DecodeError):
            command = decode_command(value)
            if isinstance(command, DeliveryFailed):
                self.failed_deliveries.add(command.id)

    # --- transactions -----------------------------------------------------------------------------------------------

    def init(self, owner: str) -> int:
        """A new epoch of a transactional id: what an earlier one left open is aborted."""
        if owner in self.open:
            self._end(self.open[owner], "aborted")
        for transaction in [earlier for earlier in self.ended if earlier.owner == owner]:
            while transaction.logs:
                self.mark(transaction)
        self.epochs[owner] = self.epochs.get(owner, -1) + 1
        return self.epochs[owner]

    def _check(self, owner: str, epoch: int) -> None:
        if self.epochs.get(owner) != epoch:
            raise FencedError(f"{owner} has epoch {self.epochs.get(owner)}, not {epoch}")

    def transaction(self, owner: str, epoch: int) -> Transaction:
        """The one that is open; else a new one."""
        self._check(owner, epoch)
        transaction = self.open.get(owner)
        if transaction is None:
            for before in [earlier for earlier in self.ended if earlier.owner == owner]:
                while before.logs:  # The coordinator takes no new one before the last has its markers.
                    self.mark(before)
            transaction = self.open[owner] = Transaction(owner, self._virtual.passed_ms)
        return transaction

    def append_in(self, transaction: Transaction, epoch: int, number: int, key: bytes, value: bytes | None) -> Entry:
        """A record of the changelog."""
        self._check(transaction.owner, epoch)
        log = self.log(STATE, number)
        entry = log.append(key, value, None, transaction)
        if log not in transaction.logs:
            transaction.logs.append(log)
            log.unmarked[transaction] = entry.offset
        return entry

    def end(self, owner: str, epoch: int) -> None:
        """Commit. From here on it is done; readers see it as the markers come."""
        self._check(owner, epoch)
        transaction = self.open.get(owner)
        if transaction is not None:
            self._end(transaction, "committed")

    def _end(self, transaction: Transaction, state: str) -> None:
        transaction.state = state
        del self.open[transaction.owner]
        self.ended.append(transaction)
        if state == "committed":
            self.on_commit(transaction)

    def mark(self, transaction: Transaction) -> None:
        """Write one of the markers of a transaction that has ended."""
        if transaction.logs:
            log = transaction.logs.pop(0)
            log.append(None, None, None, transaction, control=True)
            del log.unmarked[transaction]
        if not transaction.logs:
            self.ended.remove(transaction)
            if transaction.state == "committed":
                self.group_offsets.update(transaction.offsets)

    def sweep(self) -> None:
        """Abort what is open for too long, and fence its producer."""
        for owner, transaction in list(self.open.items()):
            if self._virtual.passed_ms - transaction.began_ms > self._timeout_ms:
                self._end(transaction, "aborted")
                self.epochs[owner] += 1
