"""Activities in a consumer, from when their record was taken until they are settled, and the key that finds repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from backbeat.delivery.kafka import logger
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord

#: (node id, attempt, message of a notification; None: it is none): the same for all repeats.
Key = tuple[bytes, int, str | None]

#: Answered activities that are remembered: an engine that was restarted sends some twice.
_RECENT_MAX = 20_000


def key_of(record: ActivityRecord) -> Key:
    """Key that all repeats of an activity have."""
    message = record.message or "" if record.kind is ActivityKind.NOTIFICATION else None
    return record.node.id, record.node.attempt, message


class Receipt(Protocol):
    """A record that was taken from its topic, until it is accepted or released. Used from the consumer's thread."""

    @property
    def revoked(self) -> bool:
        """True: it is another consumer's by now."""

    def accept(self) -> None:
        """Accept the record: it does not come again."""

    def release(self) -> None:
        """Release the record: it comes again, here or to another consumer."""


class Delivery:
    """An activity from when its record was taken until its answer is acknowledged."""

    __slots__ = ("answered", "begun", "begun_at", "is_aside", "key", "outcome", "receipts", "record", "unsent")

    def __init__(self, record: ActivityRecord, key: Key, receipt: Receipt) -> None:
        self.record = record
        self.key = key
        #: Receipts of its record and of repeats.
        self.receipts = [receipt]
        self.begun = False
        #: Begin on the host's monotonic clock, and the outcome in a word; only where metrics are kept.
        self.begun_at = 0.0
        self.outcome = ""
        #: True once it is done; one that is settled without that is left to others.
        self.answered = False
        #: True where it waits for something else, and takes no room (`Intake.set_aside`).
        self.is_aside = False
        #: Number of its answer's commands that Kafka has not acknowledged.
        self.unsent = 0

    @property
    def revoked(self) -> bool:
        """True where another consumer has it by now."""
        for receipt in self.receipts:  # noqa: SIM110 - asked for each activity: a generator costs three times as much
            if not receipt.revoked:
                return False
        return True

    @property
    def is_under_way(self) -> bool:
        """True: where its partition is taken away, it is to be waited for."""
        return self.begun


D = TypeVar("D", bound=Delivery)


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


class Owner(NamedTuple, Generic[D]):
    """Owner of a consumer, as that knows it: what is called in its event loop."""

    #: gets activities that were taken, in order
    accept: Callable[[list[D]], None]
    #: gets the error that ends the consumer
    fail: Callable[[BaseException], None]
    #: called once, when it takes activities
    joined: Callable[[], None] = lambda: None

    def report(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
        """Have `fail` called in this loop. Where that is closed, nobody is there any more. From any thread."""
        try:
            loop.call_soon_threadsafe(self.fail, error)
        except RuntimeError:
            logger.error("a consumer ends, and its event loop is closed: %s", error)


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
