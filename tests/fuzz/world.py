"""The engine's loop on real stores, fed with whatever comes, and what must hold after every record.

Nothing may raise. What is refused changes nothing, what is taken changes no record of a workflow that it does not
name, and no record costs more work than a bound. All that is sent can be read, and fits into a record of its topic.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.kafka.dead_letters import REASON
from backbeat.schemas.kafka.topics import (
    ACTIVITIES_PREFIX,
    COMMANDS,
    DEAD_LETTER_BYTES_MAX,
    DEAD_LETTERS,
    HISTORY,
    RECORD_BYTES_MAX,
    REPLIES,
)
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.values import TaskKind
from backbeat.streams.core.store import changed
from backbeat.streams.core.tables import CHUNKS, COALESCE_INDEX, LINKS, NODES, STORED_REPLIES, TOMBSTONES, WORKFLOWS
from backbeat.streams.engine.loop import Engine
from backbeat.streams.input.signal_command import admit_request
from backbeat.streams.ports.log import Record
from backbeat.streams.state.store import ChangelogPosition, PartitionStore

from .generator import USERS, Generator

#: Records that one command may read and write, and commands that may follow from one: a bound on work, not a measure.
_ACCESSES_MAX = 50_000
_FOLLOWING_MAX = 3_000
_COMMIT_EVERY = 150
#: After so many records the settings are usual ones again: under those that came at random little is taken.
_SETTLE_EVERY = 1_000
_SETTINGS = Settings(slice_nodes_max=20, default_timeout_seconds=5.0)
_BEGIN_MS = 1_700_000_000_000
#: What may touch workflows that it does not name, by what it is: all of a partition, or all that wait at pools.
_OF_MANY = (c.WorkJob, c.ChangeRetention, c.SpreadLimit)


#: What is stored of a workflow. Pools, schedules, jobs and answers are nobody's workflow.
_OF_WORKFLOWS = (WORKFLOWS, NODES, LINKS, CHUNKS, COALESCE_INDEX, TOMBSTONES)


class Found(Exception):  # noqa: N818 - what a fuzzer looks for
    """Something that must not be; the text says what, and which record did it."""


class Watched(PartitionStore):
    """A store that notes whose records are written, and how much is asked of it."""

    touched: set[bytes]
    written: bool
    accesses: int

    def forget(self) -> None:
        self.touched, self.written, self.accesses = set(), False, 0

    def get(self, table: Any, key: Any) -> Any:
        self.accesses += 1
        return super().get(table, key)

    def merge(self, rows: Any, meta: Any, rearmed: Any) -> None:
        super().merge(rows, meta, rearmed)
        for table, key, _ in changed(rows):
            self.accesses += 1
            self.written = self.written or table is not STORED_REPLIES
            if table in _OF_WORKFLOWS:
                self.touched.add(table.form.encode(key)[1:8])


class Fuzzed:
    """A few partitions, all owned by one engine."""

    def __init__(self, seed: int, folder: Path, partitions: int = 2) -> None:
        self.generator = Generator(seed, partitions)
        self.partitions = partitions
        self.now = _BEGIN_MS
        self.dead_letters: list[str] = []
        self.sent: dict[str, int] = {}
        self._following: deque[Record] = deque()
        self._ends = [0] * partitions
        self._uncommitted = self.steps = 0
        self.engine = Engine(
            partitions_count=partitions,
            transactional_id="fuzz",
            outbox=self,
            activities_topic=lambda client: ACTIVITIES_PREFIX + "shop" if client in USERS else None,
            sample=lambda _: None,
            seek=lambda *_: None,
            is_owner=lambda: True,
        )
        self.engine.assign(range(partitions))
        self.stores = [Watched(folder / f"partition-{number}", number, 64) for number in range(partitions)]
        for number, store in enumerate(self.stores):
            store.forget()
            store.meta.settings = _SETTINGS
            self.engine.ready(number, store, 0)

    def close(self) -> None:
        for store in self.stores:
            store.close()

    # --- the engine's outbox -----------------------------------------------------------------------------------------

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        size = len(value or b"") + len(key or b"")
        self.sent[topic] = self.sent.get(topic, 0) + 1
        if size > (DEAD_LETTER_BYTES_MAX if topic == DEAD_LETTERS else RECORD_BYTES_MAX) - 1024:
            raise Found(f"{topic}: {size} bytes")
        if topic == COMMANDS:
            assert 0 <= partition < self.partitions
            self._following.append(self._record(partition, value))
        elif topic == DEAD_LETTERS:
            self.dead_letters.append((dict(headers or ())[REASON] or b"").decode())
        elif topic == REPLIES:
            assert partition >= 0
            codec.decode_reply(value)
        elif topic == HISTORY:
            codec.decode_status_changes(value)
        else:
            activity = codec.decode_activity(value)
            self.generator.note(activity.node.id)
            self.generator.sent.append((activity.node.id, activity.node.attempt))
            del self.generator.sent[:-50]

    def _record(self, partition: int, value: bytes | None) -> Record:
        offset = self._ends[partition]
        self._ends[partition] += 1
        return Record(partition, offset, self.now, None, value)

    # --- what comes in -----------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One record of any kind, and what follows from it."""
        chance = self.generator.chance
        self.steps += 1
        if self.steps % _SETTLE_EVERY == 0:
            self._settle()
        self.now += chance.choice((0, 0, 1, 5, 500, 20_000))
        kind = chance.random()
        if kind < 0.08:
            value, partition = self.generator.query()
            self._query(value, partition)
        elif kind < 0.12:
            self.engine.fire_timers(self.now)
        elif kind < 0.16:
            self._signal(self.generator.document())
        else:
            value, partition = self.generator.command()
            self._command(self._record(partition, value))
        self._follow()
        self._uncommitted += 1
        if self._uncommitted >= _COMMIT_EVERY:
            self._commit()

    def _settle(self) -> None:
        for number in range(self.partitions):
            usual = c.ChangeSettings(id=self.steps.to_bytes(16, "big"), settings=_SETTINGS)
            self._command(self._record(number, codec.encode_command(usual)))
        if any(store.meta.settings != _SETTINGS for store in self.stores):
            raise Found("settings that nothing can change any more")

    def _signal(self, document: bytes) -> None:
        """A record of a signals topic: a command, or refused in words."""
        client = RegisteredClient(id=str(uuid.UUID(bytes=USERS[0])), name="shop")
        try:
            signal = admit_request(
                document,
                None,
                "shop",
                by_name=lambda _: client,
                by_id=lambda _: client,
                place=lambda: ("topic", 0, self.steps),
            )
        except DecodeError as error:
            if str(error).startswith("defect: "):
                raise Found(f"{error}: {document.hex()}") from error
            return
        partition = ids.partition_of(signal.route, self.partitions)
        self._command(self._record(partition, signal.value))

    def _query(self, value: bytes, partition: int) -> None:
        for store in self.stores:
            store.forget()
        for _ in self.engine.on_query(Record(partition, 0, self.now, None, value), self.now):
            pass
        if any(store.written for store in self.stores):
            raise Found(f"a query changes something: {value.hex()}")

    def _command(self, record: Record) -> None:
        store = self.stores[record.partition]
        store.forget()
        letters = len(self.dead_letters)
        try:
            self.engine.on_command(record)
        except Exception as error:
            raise Found(f"{type(error).__name__}: {error}: {(record.value or b'').hex()}") from error
        if store.accesses > _ACCESSES_MAX:
            raise Found(f"{store.accesses} accesses: {(record.value or b'').hex()}")
        new_letters = self.dead_letters[letters:]
        del self.dead_letters[:-100]
        self._check(record, store, new_letters)

    def _check(self, record: Record, store: Watched, letters: list[str]) -> None:
        """That the record has changed nothing that it does not name, and that no rule has failed on it."""
        try:
            command = codec.decode_command(record.value)
        except DecodeError:
            if store.written:
                raise Found(f"unreadable, and changes something: {(record.value or b'').hex()}") from None
            return
        for letter in letters:
            # A stranger who plays an engine may say what no engine says, and the real ones meet what has come of it.
            # Nobody else makes a rule fail.
            if letter.startswith("defect: ") and command.source is None:
                raise Found(f"{letter}: {command}")
        if isinstance(command, _OF_MANY) or _walks_all(command):
            return
        strangers = store.touched - {identity[:7] for identity in _ids(command)}
        if strangers:
            raise Found(f"changes records of {[identity.hex() for identity in strangers]}: {command}")

    def _follow(self) -> None:
        """All that comes of it, as the engine's own records."""
        count = 0
        while self._following:
            count += 1
            if count > _FOLLOWING_MAX:
                # A retry without a delay or a long schedule may go on and on; a record of its own each.
                self._following.clear()
                raise Found("commands without end")
            self._command(self._following.popleft())

    def _commit(self) -> None:
        self._uncommitted = 0
        snapshots, _ = self.engine.snapshot()
        for snapshot in snapshots:
            for key, value in snapshot.records:
                if len(key) + len(value or b"") > RECORD_BYTES_MAX - 1024:
                    raise Found(f"a record of {len(value or b'')} bytes under {key.hex()}")
            store = self.stores[snapshot.partition]
            store.write(snapshot, ChangelogPosition("state", 0, 0))
            store.mark_durable()


def _walks_all(command: c.AnyCommand) -> bool:
    if isinstance(command, c.Continue):
        return any(task.kind == TaskKind.RETAIN for task in command.tasks)
    return False


def _ids(value: Any) -> Iterable[bytes]:
    """Every id that a command names, or that follows from what it names."""
    match value:
        case bytes():
            if len(value) == 16:
                yield value
        case tuple():
            for item in value:
                yield from _ids(item)
        case msgspec.Struct():
            if isinstance(value, c.NewWorkflow):
                yield ids.workflow_id(value.user_id, value.name, value.subject)
            for name in value.__struct_fields__:
                yield from _ids(getattr(value, name))
        case _:
            return
