"""Outage detection: whether the brokers answer, known within seconds and logged at most once in ten."""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.schemas.kafka.broker_log import OUTAGES
from backbeat.schemas.kafka.security import connection
from backbeat.schemas.kafka.topics import COMMANDS

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
_ANSWER_SECONDS_MAX = 3.0


class Reachability:
    """Thread that asks for the commands topic's leaders, from `start()` to `stop()`."""

    def __init__(self, bootstrap_servers: str, partitions_count: int) -> None:
        """`partitions_count`: partitions of the commands topic when the process began."""
        self._bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 0})
        self._partitions_count = partitions_count
        #: Partitions of the commands topic now, where the number has changed; None: it has not.
        self.other_count: int | None = None
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)
        self._away_since: float | None = None
        self._away_at = float("-inf")  #: monotonic seconds of the latest failed look

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; does not wait for it."""
        self._stopping.set()

    @property
    def away_seconds(self) -> float:
        """Seconds since which no broker has answered; 0: they do."""
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def is_away(self) -> bool:
        """True while no broker answers or the commands have no leader: records sent now wait."""
        return self._away_since is not None

    def was_away(self, since: float) -> bool:
        """True if there was an outage since then (monotonic seconds). Blocks for up to 3 s."""
        if not self.is_away() and self._away_at < since:
            self.look()  # They may have gone since the last look.
        return self.is_away() or self._away_at >= since

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Ask the brokers once."""
        with self._looking:
            self._look()

    def _look(self) -> None:
        try:
            topic = self._admin.list_topics(COMMANDS, _ANSWER_SECONDS_MAX).topics[COMMANDS]
            self._compare(len(topic.partitions))
            reason = (
                ""
                if any(partition.leader >= 0 for partition in topic.partitions.values())
                else "no partition has a leader"
            )
        except KafkaException as error:
            reason = error.args[0].str()
        if reason:
            self._away_at = time.monotonic()
            self._away_since = self._away_since or self._away_at
            OUTAGES.tell(logger, f"{self._bootstrap_servers} does not answer: {reason}")
        elif self._away_since is not None:
            logger.warning("Kafka answers again, after %.0f s", self.away_seconds)
            self._away_at, self._away_since = time.monotonic(), None

    def _compare(self, count: int) -> None:
        """Log a changed number of partitions as an error: every id carries its partition."""
        other_count = count if count not in {0, self._partitions_count} else None
        if other_count is not None and other_count != self.other_count:
            logger.error("%s", self.why_wrong(other_count))
        self.other_count = other_count

    def why_wrong(self, count: int) -> str:
        """Text of the error for a number of partitions that differs from the one at the start."""
        return (
            f"topic {COMMANDS} has {count} partitions now and had {self._partitions_count}: subjects are found by that "
            "number. What to do: nobody may write to the new ones; drain into a new cluster (docs/how-to/partitions.md)"
        )
