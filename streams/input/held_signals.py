"""Signals that were read and are not forwarded yet: a client that floods waits for the engine, and the others do not.

The commands of a client's signals lie in the same log as everybody's. So no more of one client are in flight at once,
forwarded and not applied, than the engine applies in a short time (`turn_seconds`); while other clients signal, too,
there is a pause before the next, so that most of the engine's time is left to them. The rest is held here, and the
partitions of a client that has much here are paused. A client that signals now and then never meets the bound.

Seen are positions of the partitions that this process has. Commands for partitions of other engines count as applied
after `turn_seconds`: signals of one client spread over all partitions, and its own engine stands for the others.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping

from confluent_kafka import Message

from backbeat.streams.input.signal_topics import Where, place_of

#: Records of a client in flight at once, at first, at least and at most.
_IN_FLIGHT = 100
_IN_FLIGHT_MIN = 25
_IN_FLIGHT_MAX = 2_000
#: What of one topic is held at most; then its partitions are paused, until half of it is forwarded.
_HELD_MAX = 2_000
_HELD_BYTES_MAX = 16 * 1024 * 1024
#: Time after which commands count as applied: an engine that stands still is not waited for.
_APPLIED_SECONDS_MAX = 1.0
#: Work of a client that is alone that may be in flight, as a multiple of that of one beside others.
_ALONE_TIMES = 5
#: Pause before the next records of a client beside others, as a multiple of the time in which the last were applied.
_REST_TIMES = 3
_REST_SECONDS_MAX = 0.5
#: Time for which a client that has signalled counts as one of the others.
_BESIDE_SECONDS = 10.0
#: Interval of the look whether they are.
_LOOK_SECONDS = 0.005


class _Flight:
    """Records that were forwarded together, and the ends of their commands by partition."""

    __slots__ = ("ahead", "count", "ends", "is_slow", "sent_at", "taken_at", "was_full")

    def __init__(
        self, count: int, ends: dict[int, int], taken_at: float, sent_at: float, ahead: int, *, was_full: bool
    ) -> None:
        self.count = count
        self.is_slow = False  #: true: a look has found it unapplied; else its time is that of the ingest's own round
        self.ahead = ahead  #: records of the same client that were in flight before
        self.ends = ends
        self.taken_at = taken_at
        self.sent_at = sent_at
        self.was_full = was_full  #: true: more was held, so its time says how many may be in flight


class _Topic:
    """Records of one client's signals."""

    def __init__(self, in_flight_max: int) -> None:
        self.messages: deque[Message] = deque()
        self.bytes = 0
        self.in_flight = 0
        self.in_flight_max = in_flight_max
        self.flights: deque[_Flight] = deque()
        self.is_paused = False
        self.is_read = False  #: true: records came since it was last asked whether it is to be paused
        self.rests_until = 0.0
        self.sent_at = -_BESIDE_SECONDS

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= _HELD_MAX or self.bytes >= _HELD_BYTES_MAX

    @property
    def is_half_full(self) -> bool:
        return len(self.messages) >= _HELD_MAX // 2 or self.bytes >= _HELD_BYTES_MAX // 2

    def take(self) -> list[Message]:
        """The oldest records, as many as may be in flight more; half of them, so that two flights overlap."""
        count = min(len(self.messages), (self.in_flight_max + 1) // 2, max(0, self.in_flight_max - self.in_flight))
        taken = [self.messages.popleft() for _ in range(count)]
        self.bytes -= sum(len(message.value() or b"") for message in taken)
        return taken


class HeldSignals:
    """Held signals of all topics. Used on the ingest's thread; its counts are read from others."""

    def __init__(
        self,
        applied: Callable[[int], int | None],
        turn_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`applied`: the next command of a partition; null: another process has it. `turn_seconds` 0: no bound."""
        self._applied = applied
        self._turn_seconds = turn_seconds
        self._clock = clock
        self._topics: dict[str, _Topic] = {}
        self._taken_at = clock()
        #: Pauses by topic so far.
        self.pauses: Counter[str] = Counter()

    def counts(self) -> dict[str, int]:
        """Number of held records by topic."""
        return {name: len(topic.messages) for name, topic in list(self._topics.items())}

    def poll_seconds(self, seconds: float) -> float:
        """Longest time to wait for records: short while some are held."""
        return _LOOK_SECONDS if any(topic.messages for topic in self._topics.values()) else seconds

    def add(self, messages: Iterable[Message]) -> None:
        """Add records in the order in which they were read."""
        for message in messages:
            name = place_of(message)[0]
            if (topic := self._topics.get(name)) is None:
                topic = self._topics[name] = _Topic(_IN_FLIGHT if self._turn_seconds else 4 * _HELD_MAX)
            topic.messages.append(message)
            topic.bytes += len(message.value() or b"")
            topic.is_read = True

    def pausable(self) -> list[str]:
        """Topics that are to be paused: of those that were read since the last call.

        Also one that is paused already: a partition that has just come is not. A pause throws away what was fetched
        ahead, so this is asked once what may be forwarded was taken.
        """
        read = [(name, topic) for name, topic in sorted(self._topics.items()) if topic.is_read]
        full = [(name, topic) for name, topic in read if topic.is_full]
        for _, topic in read:
            topic.is_read = False
        for name, topic in full:
            self.pauses[name] += not topic.is_paused
            topic.is_paused = True
        return [name for name, _ in full]

    def take(self) -> list[Message]:
        """Records that may be forwarded now; `sent` is told of them."""
        self._taken_at = now = self._clock()
        batch: list[Message] = []
        for topic in self._topics.values():
            self._land(topic, now)
            if now >= topic.rests_until:
                batch += topic.take()
        return batch

    def sent(self, messages: Collection[Message], ends: Mapping[int, int]) -> None:
        """Note records that were forwarded, and the ends of their commands by partition."""
        if not self._turn_seconds:
            return
        now = self._clock()
        own_ends = {number: end for number, end in ends.items() if self._applied(number) is not None}
        for name, count in Counter(place_of(message)[0] for message in messages).items():
            if (topic := self._topics.get(name)) is not None:
                topic.sent_at = now
                was_full = bool(topic.messages)
                topic.flights.append(_Flight(count, own_ends, self._taken_at, now, topic.in_flight, was_full=was_full))
                topic.in_flight += count

    def resumable(self) -> list[str]:
        """Topics that are to be paused no more."""
        names = [name for name, topic in self._topics.items() if topic.is_paused and not topic.is_half_full]
        for name in names:
            self._topics[name].is_paused = False
        return names

    def drop_topics(self, names: Iterable[str]) -> None:
        """Drop the records of topics that are others now."""
        for name in names:
            self._topics.pop(name, None)

    def drop_partitions(self, places: Collection[Where]) -> None:
        """Drop the records of partitions that were revoked: their next owner reads them."""
        for name in {name for name, _ in places} & self._topics.keys():
            topic = self._topics[name]
            topic.messages = deque(message for message in topic.messages if place_of(message)[:2] not in places)
            topic.bytes = sum(len(message.value() or b"") for message in topic.messages)

    def clear(self) -> None:
        """Drop all records."""
        self._topics.clear()

    def _land(self, topic: _Topic, now: float) -> None:
        """Take what was applied from what is in flight, and learn how many may be."""
        while topic.flights:
            flight = topic.flights[0]
            seconds = now - flight.sent_at
            positions = ((self._applied(number), end) for number, end in flight.ends.items())
            is_applied = all(position is None or position >= end for position, end in positions)
            least_seconds = 0.0 if flight.ends else self._turn_seconds
            if seconds < least_seconds or not (is_applied or seconds > _APPLIED_SECONDS_MAX):
                for behind in topic.flights:
                    behind.is_slow = True
                return
            topic.flights.popleft()
            topic.in_flight -= flight.count
            is_beside = any(
                other is not topic and now - other.sent_at < _BESIDE_SECONDS for other in self._topics.values()
            )
            if flight.was_full and is_beside:
                # From when it was taken: what its own round lasts, the others' records wait, too.
                turn_seconds = now - flight.taken_at
                if flight.ends:
                    fitting = self._fitting(flight, self._turn_seconds, turn_seconds)
                    # Down at once and up by half of the way: one slow turn costs little, a quick one too many much.
                    topic.in_flight_max = min(fitting, (topic.in_flight_max + fitting) // 2)
                topic.rests_until = now + min(_REST_SECONDS_MAX, _REST_TIMES * turn_seconds)
            elif flight.was_full and flight.ends and is_applied and not flight.is_slow:
                topic.in_flight_max = min(_IN_FLIGHT_MAX, 2 * topic.in_flight_max)
            elif flight.was_full and flight.ends:
                fitting = self._fitting(flight, _ALONE_TIMES * self._turn_seconds, seconds)
                # Half of the way: one slow turn says little.
                topic.in_flight_max = (topic.in_flight_max + fitting) // 2

    @staticmethod
    def _fitting(flight: _Flight, turn_seconds: float, seconds: float) -> int:
        """Records that are applied in `turn_seconds`, where those of a flight and ahead of it took `seconds`."""
        fitting = int((flight.ahead + flight.count) * turn_seconds / max(seconds, 0.001))
        return min(_IN_FLIGHT_MAX, max(_IN_FLIGHT_MIN, fitting))
