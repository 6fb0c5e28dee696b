"""Counts of produce requests and their records, by topic, from librdkafka's statistics.

librdkafka sends one request a partition, with all records that wait for it. It alone knows how many: what is handed
over together can leave in several requests, and what is handed over apart in one.
"""

import threading
from collections import Counter

import msgspec

from backbeat.schemas.kafka.topics import ACTIVITIES_PREFIX

#: Interval of the statistics; the counts are as old at most.
STATISTICS_MS = 15_000


class _Batches(msgspec.Struct):
    """Records in each batch since the statistics before."""

    sum: int = 0
    cnt: int = 0


class _Topic(msgspec.Struct):
    batchcnt: _Batches = msgspec.field(default_factory=_Batches)


class _Statistics(msgspec.Struct):
    topics: dict[str, _Topic] = {}


_decode = msgspec.json.Decoder(_Statistics).decode


class ProduceCounts:
    """Counts since the start of all producers with these `settings`, as `activities`, `commands`, …: few of them.

    Such a producer must be polled, idle or not: its statistics wait for that.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self._lock = threading.Lock()
        #: for a producer's configuration
        self.settings = {"statistics.interval.ms": STATISTICS_MS, "stats_cb": self.note}

    def note(self, statistics: str) -> None:
        """Add a producer's statistics; called by whoever polls it."""
        topics = _decode(statistics).topics
        with self._lock:
            for topic, counts in topics.items():
                label = "activities" if topic.startswith(ACTIVITIES_PREFIX) else topic.removeprefix("backbeat.")
                self.requests[label] += counts.batchcnt.cnt
                self.records[label] += counts.batchcnt.sum
