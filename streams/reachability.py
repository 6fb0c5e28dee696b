"""Whether the brokers answer: known within seconds, and told once in ten. What must not end meanwhile asks it."""

from __future__ import annotations

import logging
import threading
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from backbeat.streams.broker_log import OUTAGES
from backbeat.streams.security import connection
from backbeat.streams.topics import COMMANDS

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 1.0
_ANSWER_SECONDS_MAX = 3.0


class Reachability:
    """Asks for the commands topic's leaders from a thread of its own, from `start()` to `stop()`."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({**connection(bootstrap_servers), "log_level": 0})
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reachability", daemon=True)
        self._away_since: float | None = None
        self._away_at = float("-inf")  #: when they were last known to be

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()

    @property
    def away_seconds(self) -> float:
        """For how long no broker has answered; 0: they do."""
        since = self._away_since
        return 0.0 if since is None else time.monotonic() - since

    def is_away(self) -> bool:
        """Whether no broker answers, or the commands have no leader anywhere: what is sent now waits."""
        return self._away_since is not None

    def was_away(self, since: float) -> bool:
        """Whether that was so at any time since then (monotonic, seconds)."""
        return self.is_away() or self._away_at >= since

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY_SECONDS):
            self.look()

    def look(self) -> None:
        """Ask once."""
        try:
            topic = self._admin.list_topics(COMMANDS, _ANSWER_SECONDS_MAX).topics[COMMANDS]
            reason = "" if any(each.leader >= 0 for each in topic.partitions.values()) else "no partition has a leader"
        except KafkaException as error:
            reason = error.args[0].str()
        if reason:
            self._away_at = time.monotonic()
            self._away_since = self._away_since or self._away_at
            OUTAGES.tell(logger, f"{self._bootstrap_servers} does not answer: {reason}")
        elif self._away_since is not None:
            logger.warning("Kafka answers again, after %.0f s", self.away_seconds)
            self._away_at, self._away_since = time.monotonic(), None
