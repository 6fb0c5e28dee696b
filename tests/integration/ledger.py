"""What the log of commands says must be: a fold of the core over it, with the records and effects that come of it.

Nothing here is the engine's: `apply`, the codec, and a store of plain dictionaries. What engines that were killed,
stopped and started again have left on the topics is compared with it, byte by byte.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec
from confluent_kafka import Message

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.ids import PREFIX_BYTES
from backbeat.schemas.messages.status import CLOSED
from backbeat.schemas.messages.values import Source
from backbeat.schemas.routes import route
from backbeat.streams.core import apply
from backbeat.streams.core import effects as fx
from backbeat.streams.core.records import Meta
from backbeat.streams.core.store import MemoryStore
from backbeat.streams.core.tables import NODES
from tests.integration.topic import Reader, read_whole, state
from tests.streams.core.storing import encoded

_encode = msgspec.msgpack.Encoder().encode


class Ledger:
    """One memory store a partition, filled from the log."""

    def __init__(self, kafka: str, activities: dict[bytes, str]) -> None:
        """`activities`: the topic of each client's activities, by the client's id."""
        self.kafka = kafka
        self._activities = activities
        self._log = Reader(kafka, COMMANDS)
        self.count = len(self._log.positions)
        self.stores = [MemoryStore(Meta()) for _ in range(self.count)]
        #: (source partition, topic) -> what has to be sent there, in order
        self.sent: dict[tuple[int, str], list[bytes]] = defaultdict(list)
        self.commands: Counter[str] = Counter()
        self.ignored = 0

    def fold(self) -> int:
        """Take what the log has by now; how many records that were."""
        messages = list(self._log.read())
        for message in messages:
            self._take(message)
        return len(messages)

    def close(self) -> None:
        self._log.close()

    @property
    def open_nodes(self) -> list[Any]:
        """Nodes that something has still to happen to."""
        return [node for store in self.stores for node in store[NODES].values() if node.server not in CLOSED]

    def _take(self, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        store = self.stores[partition]
        store.meta.next_offset = offset + 1
        try:
            command = codec.decode_command(message.value())
        except DecodeError:
            self.commands["bad"] += 1
            self.sent[partition, DEAD_LETTERS].append(message.value())
            return
        identity = route(command)
        if identity is not None and ids.partition_of(identity, self.count) != partition:
            self.commands["strayed"] += 1
            self.sent[partition, DEAD_LETTERS].append(message.value())
            return
        self.commands[type(command).__name__] += 1
        self._note(message, command, apply(command, message.timestamp()[1], store))

    def _note(self, message: Message, command: AnyCommand, effects: list[fx.Effect]) -> None:
        partition, sends = message.partition(), 0
        for effect in effects:
            match effect:
                case fx.Dispatch() | fx.Notify():
                    topic = self._activities[effect.node.user_id]
                    self.sent[partition, topic].append(codec.encode_activity(effect.record()))
                case fx.StatusChanged():
                    self.sent[partition, HISTORY] += map(codec.encode_status_changes, effect.records(command.tid))
                case fx.Send():
                    source = Source(partition, message.offset(), sends)
                    self.sent[partition, COMMANDS].append(codec.encode_command(effect.command, source))
                    sends += 1
                case fx.Broadcast():
                    source = Source(partition, message.offset(), sends)
                    value = codec.encode_command(effect.command, source)
                    self.sent[partition, COMMANDS].extend([value] * self.count)
                    sends += 1
                case fx.Reply():
                    self.sent[partition, REPLIES].append(codec.encode_reply(effect.to, effect.answer, effect.tid))
                case fx.DeadLetter():
                    self.sent[partition, DEAD_LETTERS].append(message.value())
                case fx.Ignored():
                    self.ignored += 1

    # --- comparing -------------------------------------------------------------------------------------------------

    def records(self, partition: int) -> dict[bytes, bytes]:
        """The partition's records as they have to be stored, without meta."""
        return encoded(self.stores[partition])

    def differences(self, topic: str) -> list[str]:
        """How the changelog differs from what has to be stored."""
        differences = []
        for partition, records in enumerate(state(self.kafka, topic)):
            meta = records.pop(b"m", None)
            expected = self.records(partition)
            differences.extend(
                f"partition {partition}, {key!r}: {records.get(key)!r}, wanted {expected.get(key)!r}"
                for key in sorted(records.keys() | expected.keys())
                if records.get(key) != expected.get(key)
            )
            if meta is not None or expected:
                differences.extend(self._meta_differences(partition, meta))
        return differences

    def _meta_differences(self, partition: int, value: bytes | None) -> list[str]:
        expected = self.stores[partition].meta
        if value is None:
            return [f"partition {partition}: there is no meta record"]
        meta = msgspec.msgpack.decode(value, type=Meta)
        of_the_process = {"topic_id": "", "transactional_id": ""}
        if msgspec.structs.replace(meta, **of_the_process) != msgspec.structs.replace(expected, **of_the_process):
            return [f"partition {partition}: {meta}, wanted {expected}"]
        return []

    def check_effects(self, topic: str, mine: Iterable[bytes] | None = None) -> tuple[int, int]:
        """Everything was sent, in order, and nothing else; how many records had to be sent, and how many repeats came.

        `mine`: keys of the records to look at (replies to queries and to others are none of ours).
        """
        keys = None if mine is None else set(mine)
        sent = [message for message in read_whole(self.kafka, topic) if keys is None or message.key() in keys]
        if topic == COMMANDS:
            sent = [message for message in sent if _is_effect(message)]
        actual = Counter(message.value() for message in sent)
        expected = Counter(value for (_, to), values in self.sent.items() if to == topic for value in values)
        missing = expected - actual
        assert not missing, f"{topic}: {len(missing)} were not sent, e.g. {next(iter(missing))!r}"
        others = actual.keys() - expected.keys()
        assert not others, f"{topic}: {len(others)} had never to be sent, e.g. {next(iter(others))!r}"
        self._check_order(topic, sent)
        return expected.total(), actual.total() - expected.total()

    def _check_order(self, topic: str, sent: list[Message]) -> None:
        """What one partition's commands sent to one partition came in the order of the commands, repeats apart."""
        places: dict[bytes, tuple[int, int]] = {}
        for (source, to), values in self.sent.items():
            if to == topic:
                for index, value in enumerate(values):
                    places.setdefault(value, (source, index))
        newest: dict[tuple[int, int], int] = defaultdict(lambda: -1)
        seen: set[bytes] = set()
        for message in sent:
            value = message.value()
            if value in seen:
                continue
            seen.add(value)
            source, index = places[value]
            way = (source, message.partition())
            assert index > newest[way], f"{topic}: {value!r} came too late"
            newest[way] = index


def _key(kind: bytes, identity: bytes, rest: bytes = b"") -> bytes:
    return b"w" + identity[:PREFIX_BYTES] + kind + identity[PREFIX_BYTES:] + rest


def _is_effect(message: Message) -> bool:
    """Whether a command is what another one's engine sent."""
    try:
        return codec.decode_command(message.value()).source is not None
    except DecodeError:
        return False
