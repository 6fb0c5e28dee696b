"""End offsets of the owned partitions, read from the brokers independently of the engine's consumer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.ports.errors import EngineError

logger = logging.getLogger(__name__)

_ASK_SECONDS = 3.0


class LagProbe:
    """Thread that finds the owned partitions with commands behind the committed offset."""

    def __init__(
        self,
        bootstrap_servers: str,
        positions: Callable[[], Mapping[int, int]],
        first_data: Callable[[int, int], int],
        every_seconds: float,
    ) -> None:
        """`positions`: committed offset by partition; `first_data`: see `log_tail`."""
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 0})
        self._positions = positions
        self._first_data = first_data
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-ends", daemon=True)
        #: Committed offset by partition, of the partitions whose log has commands behind it.
        self.behind: dict[int, int] = {}
        #: (partition, position, end) between which there are known to be control records only.
        self._idle: set[tuple[int, int, int]] = set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; does not wait for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            try:
                self.behind = self._look()
            except KafkaException as error:
                # Ending this process would not bring an unreachable broker back.
                logger.info("where the log ends is not known at the moment: %s", error)
                self.behind = {}

    def _look(self) -> dict[int, int]:
        positions = dict(self._positions())
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        specs = {TopicPartition(COMMANDS, partition): latest for partition in positions}
        if not specs:
            return {}
        # The library asks the leader that it knows, and one that is gone again and again, which takes a processor.
        # It learns of the next leader here only.
        self._admin.list_topics(COMMANDS, timeout=_ASK_SECONDS)
        futures = self._admin.list_offsets(
            specs, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_ASK_SECONDS
        )
        ends = {}
        unknown: KafkaException | None = None
        for topic_partition, future in futures.items():
            try:
                ends[topic_partition.partition] = future.result().offset
            except KafkaException as error:
                # A partition without a leader says nothing of the others.
                unknown = error
        if unknown is not None:
            logger.info("where the log ends is not known of %d partitions: %s", len(specs) - len(ends), unknown)
        behind = {
            partition: position for partition, position in positions.items() if ends.get(partition, -1) > position
        }
        idle = {(partition, position, ends[partition]) for partition, position in behind.items()} & self._idle
        for partition, position in list(behind.items()):
            interval = (partition, position, ends[partition])
            # The log itself is read only where the position did not move since the last look.
            is_stuck = interval not in idle and self.behind.get(partition) == position
            if is_stuck and self._is_idle(partition, position, ends[partition]):
                idle.add(interval)
            if interval in idle:
                del behind[partition]
        self._idle = idle
        return behind

    def _is_idle(self, partition: int, position: int, end: int) -> bool:
        try:
            return self._first_data(partition, position) >= end
        except (KafkaException, EngineError) as error:
            logger.info("what the log of partition %d ends with is not known: %s", partition, error)
            return True  # Ending this process would not bring an unreachable broker back.
