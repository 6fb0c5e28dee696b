"""Activities in a worker, from when they are taken until they are answered, and how a repeat is known."""

from __future__ import annotations

from backbeat.schemas import ActivityKind, ActivityRecord

#: (node id, attempt, whether it is a notification): what a repeat is known by.
Key = tuple[bytes, int, bool]

#: Answered activities that are remembered: an engine that was restarted sends some twice.
_RECENT_MAX = 20_000


def key_of(record: ActivityRecord) -> Key:
    """What a repeat of it is known by."""
    return record.node.id, record.node.attempt, record.kind is ActivityKind.NOTIFICATION


class Job:
    """An activity from when it was taken until its answer is acknowledged."""

    __slots__ = ("answered", "begun", "key", "record", "unsent")

    def __init__(self, record: ActivityRecord, key: Key) -> None:
        self.record = record
        self.key = key
        self.begun = False
        self.answered = False
        #: How many of its answer's commands Kafka has not acknowledged.
        self.unsent = 0

    @property
    def revoked(self) -> bool:
        """Whether it is somebody else's by now."""
        raise NotImplementedError


class Recent:
    """The newest answered activities."""

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        """One more was answered; the oldest is forgotten."""
        self._keys[key] = None
        while len(self._keys) > _RECENT_MAX:
            del self._keys[next(iter(self._keys))]
