"""Batch of records: gathered from any thread, and given to Kafka's library together.

A request to a broker costs as much for one record as for many, and the library sends what it has, at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

Report = Callable[[KafkaError | None, Message | None], None]


class RecordBatch:
    """Records of each topic and partition, in order, until they are pushed."""

    def __init__(self, producer: Producer, *, waits: bool) -> None:
        """`waits`: records stay while Kafka's library has no room for them; else they are refused."""
        self._producer = producer
        self._waits = waits
        self._lock = threading.Lock()
        #: The library takes one partition for a whole call, and ignores that of a record in it.
        self._records: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._begun_at = 0.0
        #: Number of records that were ever added.
        self.added = 0

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._records.values()))

    @property
    def seconds(self) -> float:
        """Age of the oldest record; 0: there is none."""
        return time.monotonic() - self._begun_at if self._records else 0.0

    def add(self, topic: str, partition: int, value: bytes, key: bytes, report: Report) -> bool:
        """Add a record; `report` is called when Kafka has it or refuses it. True: it is the first, to be pushed."""
        record = {"value": value, "key": key, "callback": report}
        with self._lock:
            is_first = not self._records
            if is_first:
                self._begun_at = time.monotonic()
            self._records.setdefault((topic, partition), []).append(record)
            self.added += 1
        return is_first

    def push(self) -> bool:
        """Push all records. False: there is no room, and those that are left stay, before what is added later."""
        refused: list[tuple[Report, KafkaError]] = []
        with self._lock:
            for place, records in list(self._records.items()):
                try:
                    count = self._producer.produce_batch(place[0], records, place[1])
                except Exception as defect:  # noqa: BLE001 - whatever it was: nobody waits for what nothing sends
                    reason = f"{type(defect).__name__}: {defect}"
                    failure = KafkaError(KafkaError._FAIL, reason)  # noqa: SLF001 - as below
                    refused += [(record["callback"], failure) for record in records]
                    del self._records[place]
                    continue
                if count < len(records):
                    left = self._left(records, refused)
                    if left:
                        self._records[place] = left
                        continue
                del self._records[place]
            is_empty = not self._records
        for report, error in refused:
            report(error, None)
        return is_empty

    def _left(self, records: list[dict[str, Any]], refused: list[tuple[Report, KafkaError]]) -> list[dict[str, Any]]:
        """Records that stay. Once one of a call finds no room, the library takes none behind it: order is kept."""
        left = []
        for record in records:
            error: KafkaError | None = record.pop("_error", None)
            if error is None:
                continue
            if self._waits and error.code() == KafkaError._QUEUE_FULL:  # noqa: SLF001 - the library's public name
                left.append(record)
            else:
                refused.append((record["callback"], error))
        return left
