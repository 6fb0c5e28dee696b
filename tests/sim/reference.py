"""What must be so: the log of commands applied once, in order, in memory, by the pure core alone.

It runs ahead of every engine: a record is applied when it is written. For each record it knows what had to be sent,
byte for byte, and for each position of a partition what had to be stored.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import msgspec

from backbeat.schemas import codec, routes
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES, activities_topic
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids
from backbeat.streams.core import apply
from backbeat.streams.core import effects as fx
from backbeat.streams.core.records import Meta
from backbeat.streams.core.step import Refused
from backbeat.streams.core.store import MemoryStore, changed
from backbeat.streams.core.tables import NODES, Table
from backbeat.streams.engine import defects
from backbeat.streams.input.validate import check_command

from .broker import Entry

#: A command with this transaction id makes the rules fail.
POISON = "poison"

_pack = msgspec.msgpack.Encoder().encode


class Poisoned(Exception):  # noqa: N818 - stands for any defect
    """The defect that a poisoned command finds in the rules."""


class Sent(NamedTuple):
    """One record that a command leads to."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None


def rules(command: c.AnyCommand, now: int, store: Any) -> list[fx.Effect]:
    """The core's rules, and a defect in them."""
    if command.tid == POISON and command.source is None and not isinstance(command, c.FailNode):
        raise Poisoned
    return apply(command, now, store)


class VersionedStore(MemoryStore):
    """Records in memory, and all that they ever were, by the offset of the command that changed them."""

    def __init__(self, meta: Meta) -> None:
        super().__init__(meta)
        self.versions: dict[bytes, list[tuple[int, bytes | None]]] = {}
        self.timer_versions: dict[tuple[int, bytes, int], list[tuple[int, int | None]]] = {}
        self.metas: list[tuple[int, Meta]] = []
        self.changed: dict[bytes, bytes | None] = {}
        self.timers_changed: dict[tuple[int, bytes, int], int | None] = {}

    def merge(self, rows: Any, meta: Any, rearmed: Any) -> None:
        super().merge(rows, meta, rearmed)
        for table, key, record in changed(rows):
            if isinstance(table, Table):
                value = record if record is None or table.struct is bytes else _pack(record)
                self.changed[table.form.encode(key)] = value

    def set_timer(self, due: int, subject_id: bytes, kind: int, number: int) -> None:
        super().set_timer(due, subject_id, kind, number)
        self.timers_changed[due, subject_id, int(kind)] = number

    def clear_timer(self, due: int, subject_id: bytes, kind: int) -> None:
        super().clear_timer(due, subject_id, kind)
        self.timers_changed[due, subject_id, int(kind)] = None

    def applied(self, offset: int) -> None:
        """The command at this offset is done: keep what it changed."""
        self.meta.next_offset = offset + 1
        self.metas.append((offset, deepcopy(self.meta)))
        for key, value in self.changed.items():
            self.versions.setdefault(key, []).append((offset, value))
        for timer, number in self.timers_changed.items():
            self.timer_versions.setdefault(timer, []).append((offset, number))
        self.changed, self.timers_changed = {}, {}

    def records_at(self, position: int) -> dict[bytes, bytes]:
        """Every record as of a position, meta apart."""
        return _at(self.versions, position)

    def timers_at(self, position: int) -> dict[tuple[int, bytes, int], int]:
        """Every timer that stands as of a position."""
        return _at(self.timer_versions, position)

    def meta_at(self, position: int) -> Meta | None:
        """The meta record as of a position; null before the first command."""
        index = bisect_left(self.metas, position, key=lambda pair: pair[0])
        return self.metas[index - 1][1] if index else None


def _at(versions: dict[Any, list[tuple[int, Any]]], position: int) -> dict[Any, Any]:
    contents = {}
    for key, changes in versions.items():
        index = bisect_left(changes, position, key=lambda change: change[0])
        if index and changes[index - 1][1] is not None:
            contents[key] = changes[index - 1][1]
    return contents


class Reference:
    """All partitions of the commands topic, folded."""

    def __init__(self, partitions_count: int, topic_id: str, client_names: dict[bytes, str]) -> None:
        self.stores = [VersionedStore(Meta(topic_id=topic_id)) for _ in range(partitions_count)]
        self.sent: dict[tuple[int, int], list[Sent]] = {}
        self.offsets: list[list[int]] = [[] for _ in range(partitions_count)]  #: of the data records
        #: what is sent after that, by partition and offset
        self.later: dict[tuple[int, int], list[Sent]] = {}
        self._late: list[Sent] = []
        self._client_names = client_names

    def take(self, partition: int, entry: Entry) -> None:
        """A record was written to the commands topic."""
        store = self.stores[partition]
        sent: list[Sent] = []
        try:
            command = codec.decode_command(entry.value)
        except DecodeError:
            sent.append(Sent(DEAD_LETTERS, 0, entry.key, entry.value or b""))
        else:
            effects = self._effects(partition, entry, command, store, sent)
            sent.extend(self._outputs(partition, entry, command, effects))
        store.applied(entry.offset)
        self.offsets[partition].append(entry.offset)
        self.sent[partition, entry.offset] = sent
        self.later[partition, entry.offset], self._late = self._late, []

    def _partition(self, identity: bytes) -> int:
        return ids.partition_of(identity, len(self.stores))

    def _effects(
        self, partition: int, entry: Entry, command: c.AnyCommand, store: VersionedStore, sent: list[Sent]
    ) -> list[fx.Effect]:
        try:
            check_command(command, partition, entry.offset, len(self.stores))
            return rules(command, entry.timestamp, store)
        except Refused as refused:
            return defects.refused(command, refused.rejection)
        except Poisoned:
            sent.append(Sent(DEAD_LETTERS, 0, entry.key, entry.value or b""))
        failure = defects.failure_of(command)
        return [] if failure is None else rules(failure, entry.timestamp, store)

    def _outputs(self, partition: int, entry: Entry, command: c.AnyCommand, effects: list[fx.Effect]) -> Iterable[Sent]:
        sends = 0
        for effect in effects:
            match effect:
                case fx.Dispatch() | fx.Notify():
                    yield from self._activity(effect)
                case fx.StatusChanged():
                    (changes,) = effect.records(command.tid)
                    value = codec.encode_status_changes(changes)
                    yield Sent(HISTORY, partition, effect.workflow_id, value)
                case fx.Send():
                    yield self._command(effect.command, c.Source(partition, entry.offset, sends))
                    sends += 1
                case fx.Broadcast():
                    value = codec.encode_command(effect.command, c.Source(partition, entry.offset, sends))
                    yield from (Sent(COMMANDS, to, effect.command.id, value) for to in range(len(self.stores)))
                    sends += 1
                case fx.Reply():
                    value = codec.encode_reply(effect.to, effect.answer, effect.tid, 0, True)
                    yield Sent(REPLIES, effect.to.partition, effect.to.asker, value)
                case fx.DeadLetter():
                    yield Sent(DEAD_LETTERS, 0, entry.key, entry.value or b"")

    def _activity(self, effect: fx.Dispatch | fx.Notify) -> Iterable[Sent]:
        node = effect.node
        name = self._client_names.get(node.user_id)
        if name is not None:
            yield Sent(activities_topic(name), 0, node.id, codec.encode_activity(effect.record()))
        elif isinstance(effect, fx.Dispatch):
            # Sent later, once the registry was read: it is no part of what the command leads to at once.
            why = {"error": {"message": f"No client has the id {node.user_id.hex()}"}}
            identity = ids.command_id(b"undeliverable", node.id, node.attempt.to_bytes(8, "big"))
            failed = c.DeliveryFailed(
                id=identity, node_id=node.id, attempt=node.attempt, response=msgspec.json.encode(why)
            )
            self._late.append(self._command(failed, None))

    def _command(self, command: c.AnyCommand, source: c.Source | None) -> Sent:
        identity = routes.route(command)
        assert identity is not None
        value = codec.encode_command(command, source)
        return Sent(COMMANDS, self._partition(identity), identity, value)

    def nodes(self, condition: Callable[[Any], bool]) -> list[Any]:
        """The nodes as of the end of the log."""
        return [node for store in self.stores for node in store[NODES].values() if condition(node)]
