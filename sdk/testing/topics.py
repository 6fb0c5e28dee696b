"""Kafka's topics in memory: commands and effects until they are read.

Everything is encoded and decoded as it is on Kafka, so what cannot be written there cannot be written here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from backbeat.errors import Unavailable
from backbeat.schemas.codec import decode_activity, decode_reply, decode_status_changes
from backbeat.schemas.kafka.dead_letters import REASON
from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX, COMMANDS, DEAD_LETTERS, HISTORY, RECORD_BYTES_MAX, REPLIES
from backbeat.schemas.messages.activities import ActivityRecord
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.replies import ReplyRecord
from backbeat.streams.ports.log import Record


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that the engine refused."""

    reason: str
    value: bytes


class Topics:
    """The topics of one Backbeat in memory. It is the engine's outbox."""

    def __init__(self, partitions: int, now: Callable[[], int], tell: Callable[[], None]) -> None:
        self._now = now
        self._tell = tell
        self._ends = [0] * partitions
        #: Commands that have not been applied, by partition.
        self.commands: list[deque[Record]] = [deque() for _ in range(partitions)]
        #: Called with each activity and the topic that it is on.
        self.on_activity: Callable[[str, ActivityRecord], None] = lambda _topic, _record: None
        #: Called with each part of an answer.
        self.on_reply: Callable[[ReplyRecord], None] = lambda _reply: None
        #: Number of times that the engine's next command is sent: an engine that was restarted sends some again.
        self.times: Callable[[], int] = lambda: 1
        self.dead_letters: list[DeadLetter] = []
        self._history: list[bytes] = []

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = -1,
        headers: list[tuple[str, bytes | None]] | None = None,
    ) -> None:
        """Take one of the engine's effects."""
        if topic == DEAD_LETTERS:
            reason = dict(headers or ()).get(REASON) or b""
            self.dead_letters.append(DeadLetter(reason.decode(), value or b""))
            return
        assert value is not None, "only a dead letter may have no value"
        if topic == COMMANDS:
            for _ in range(self.times()):
                self.append(value, partition, key)
        elif topic == REPLIES:
            self.on_reply(decode_reply(value))
        elif topic == HISTORY:
            assert len(value) <= RECORD_BYTES_MAX, "a record that Kafka refuses ends an engine"
            self._history.append(value)
        else:
            assert topic.startswith(ACTIVITIES_PREFIX), topic
            self.on_activity(topic, decode_activity(value))

    def append(self, value: bytes, partition: int, key: bytes | None) -> None:
        """Append a command to its partition. Unavailable for one that no broker would take."""
        if len(value) > RECORD_BYTES_MAX:
            raise Unavailable(
                f"Kafka does not take it: a record of {len(value)} bytes; the topic's max.message.bytes is "
                f"{RECORD_BYTES_MAX}"
            )
        offset = self._ends[partition]
        self._ends[partition] += 1
        self.commands[partition].append(Record(partition, offset, self._now(), key, value))
        self._tell()

    @property
    def history(self) -> list[StatusChangesRecord]:
        """Every status change so far, oldest first: what is on the history topic."""
        return [decode_status_changes(value) for value in self._history]

    @property
    def history_count(self) -> int:
        """Records on the history topic."""
        return len(self._history)

    def history_at(self, offset: int) -> StatusChangesRecord:
        """A record of the history topic."""
        return decode_status_changes(self._history[offset])
