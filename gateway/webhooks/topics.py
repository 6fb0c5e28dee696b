"""Subscription of the deliverer, and its buffer of each topic."""

from __future__ import annotations

from backbeat.schemas.kafka.client_registry import ClientRegistry

#: Bounds of one client's webhooks in memory. Kafka keeps the rest.
_COUNT_MAX = 2_000
_BYTES_MAX = 16 * 1024 * 1024
#: Debounce: clients added within this time cause one resubscribe.
_DEBOUNCE_SECONDS = 0.3


class TopicBuffer:
    """Buffer of one client's topic. Full at its bound, and until half of that is done."""

    __slots__ = ("_bytes_held", "_count", "_full", "has_new", "paused", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._count = 0
        self._bytes_held = 0
        self._full = False
        self.paused = False
        #: True if partitions were assigned that are not paused yet.
        self.has_new = False

    def add(self, bytes_held: int) -> None:
        """Count one more webhook."""
        self._count += 1
        self._bytes_held += bytes_held

    def remove(self, bytes_held: int) -> None:
        """Count one webhook less."""
        self._count -= 1
        self._bytes_held -= bytes_held

    @property
    def is_full(self) -> bool:
        """True if no more should be read."""
        factor = 2 if self._full else 1
        self._full = self._count * factor >= _COUNT_MAX or self._bytes_held * factor >= _BYTES_MAX
        return self._full


class Subscription:
    """Topics of all clients that are served by webhook, from the registry.

    The topic of a removed client stays: activities that the engine still sends there have to become client errors.
    """

    def __init__(self, registry: ClientRegistry) -> None:
        self._registry = registry
        self._version = -1
        self._looked_at = float("-inf")
        #: Client id (16 bytes) by topic.
        self.topics: dict[str, bytes] = {}

    def changed(self, now: float) -> list[str] | None:
        """Topics, if they changed. `now`: monotonic seconds."""
        version = self._registry.version
        if version == self._version or now - self._looked_at < _DEBOUNCE_SECONDS:
            return None
        self._version, self._looked_at = version, now
        clients = self._registry.all()
        topics = {client.topic: client.id_bytes for client in clients if client.delivery == "webhook"}
        known_topics = {client.topic for client in clients}
        removed = {
            topic: client_id
            for topic, client_id in self.topics.items()
            if topic not in known_topics and self._registry.by_id(client_id) is None
        }
        topics |= removed
        if topics.keys() == self.topics.keys():
            self.topics = topics
            return None
        self.topics = topics
        return sorted(topics)
