"""Activities in a worker, from when they are taken until they are answered, and the key that finds repeats."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord

#: (node id, attempt, whether it is a notification): the same for all repeats of an activity.
Key = tuple[bytes, int, bool]

#: Answered activities that are remembered: an engine that was restarted sends some twice.
_RECENT_MAX = 20_000


def key_of(record: ActivityRecord) -> Key:
    """Key that all repeats of an activity have."""
    return record.node.id, record.node.attempt, record.kind is ActivityKind.NOTIFICATION


class Job(ABC):
    """An activity from when it was taken until its answer is acknowledged."""

    __slots__ = ("answered", "begun", "begun_at", "key", "outcome", "record", "unsent")

    def __init__(self, record: ActivityRecord, key: Key) -> None:
        self.record = record
        self.key = key
        self.begun = False
        #: Begin on the host's monotonic clock, and the outcome in a word; only where metrics are kept.
        self.begun_at = 0.0
        self.outcome = ""
        self.answered = False
        #: Number of its answer's commands that Kafka has not acknowledged.
        self.unsent = 0

    @property
    @abstractmethod
    def revoked(self) -> bool:
        """True where another worker has it by now."""


class RecentKeys:
    """Keys of the newest answered activities."""

    def __init__(self) -> None:
        self._keys: dict[Key, None] = {}

    def __contains__(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        """Add a key; the oldest is forgotten."""
        self._keys[key] = None
        while len(self._keys) > _RECENT_MAX:
            del self._keys[next(iter(self._keys))]


class ConsumerState(NamedTuple):
    """Counts and times of a consumer, readable from any thread."""

    #: activities in the worker, and answers of which Kafka has not acknowledged all
    held: int
    unacknowledged: int
    #: repeats that were not run, and records that went to the dead letters or back to the end of their topic
    repeats: int
    dead_letters: int
    requeued: int
    #: time of the last rebalance, or of joining the share group, in seconds since the epoch; 0: never
    rebalanced_at: float
    #: True while its thread works
    alive: bool
