"""Where the log of each partition ends, as the broker says it: asked beside whatever else reads the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.engine.partition import EngineError

logger = logging.getLogger(__name__)

_ASK_SECONDS = 10.0


class LogEnds:
    """Asks, from a thread of its own, about the partitions that are ours, and knows which of them have work."""

    def __init__(
        self,
        bootstrap_servers: str,
        positions: Callable[[], Mapping[int, int]],
        first_data: Callable[[int, int], int],
        every_seconds: float,
    ) -> None:
        """`positions`: how far each partition of ours is committed; `first_data`: see `log_tail`."""
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 0})
        self._positions = positions
        self._first_data = first_data
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-ends", daemon=True)
        #: of the partitions whose log has commands behind what is committed: what is committed
        self.behind: dict[int, int] = {}
        #: (partition, position, end) of which it is known that nothing but control records lies between
        self._idle: set[tuple[int, int, int]] = set()

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            try:
                self.behind = self._look()
            except KafkaException as error:
                # A broker that is not there is nothing that this process could mend by ending.
                logger.info("where the log ends is not known at the moment: %s", error)
                self.behind = {}

    def _look(self) -> dict[int, int]:
        positions = dict(self._positions())
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(COMMANDS, number): latest for number in positions}
        if not asked:
            return {}
        found = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_ASK_SECONDS
        )
        ends = {}
        unknown: KafkaException | None = None
        for where, future in found.items():
            try:
                ends[where.partition] = future.result().offset
            except KafkaException as error:
                # One without a leader says nothing of the others.
                unknown = error
        if unknown is not None:
            logger.info("where the log ends is not known of %d partitions: %s", len(asked) - len(ends), unknown)
        behind = {number: position for number, position in positions.items() if ends.get(number, -1) > position}
        idle = {(number, position, ends[number]) for number, position in behind.items()} & self._idle
        for number, position in list(behind.items()):
            about = (number, position, ends[number])
            # Only of what did not move since the last look is it asked what lies there.
            stands = about not in idle and self.behind.get(number) == position
            if stands and self._is_idle(number, position, ends[number]):
                idle.add(about)
            if about in idle:
                del behind[number]
        self._idle = idle
        return behind

    def _is_idle(self, number: int, position: int, end: int) -> bool:
        try:
            return self._first_data(number, position) >= end
        except (KafkaException, EngineError) as error:
            logger.info("what the log of partition %d ends with is not known: %s", number, error)
            return True  # A broker that is not there is nothing that this process could mend by ending.
