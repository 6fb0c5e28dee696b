"""Which topics the deliverer reads, and how much of each is in memory."""

from __future__ import annotations

from backbeat.schemas.kafka.client_registry import Registry

#: How much of one client may be in the gateway at once. Above it Kafka keeps the rest.
_COUNT_MAX = 2_000
_BYTES_MAX = 16 * 1024 * 1024
#: Clients that are added together make one change.
_SETTLE_SECONDS = 0.3


class Flow:
    """What is in memory of one client's topic. It is full at its bound, and until half of that is done."""

    __slots__ = ("_bytes_held", "_count", "_full", "has_new", "paused", "topic")

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._count = 0
        self._bytes_held = 0
        self._full = False
        self.paused = False
        #: Whether partitions came that do not know that they are paused.
        self.has_new = False

    def add(self, bytes_held: int) -> None:
        """One more."""
        self._count += 1
        self._bytes_held += bytes_held

    def remove(self, bytes_held: int) -> None:
        """One is done."""
        self._count -= 1
        self._bytes_held -= bytes_held

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        bound = 2 if self._full else 1
        self._full = self._count * bound >= _COUNT_MAX or self._bytes_held * bound >= _BYTES_MAX
        return self._full


class Subscription:
    """The topics of all clients that are served by webhook, as the registry has them.

    That of a client which is removed stays: what the engine still sends there has to become a client error.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._version = -1
        self._looked_at = float("-inf")
        #: Topics, and whose they are (16 bytes).
        self.topics: dict[str, bytes] = {}

    def changed(self, now: float) -> list[str] | None:
        """The topics, where they are others than before. `now` is monotonic seconds."""
        version = self._registry.version
        if version == self._version or now - self._looked_at < _SETTLE_SECONDS:
            return None
        self._version, self._looked_at = version, now
        clients = self._registry.all()
        topics = {client.topic: client.id_bytes for client in clients if client.delivery == "webhook"}
        known = {client.topic for client in clients}
        removed = {
            topic: client_id
            for topic, client_id in self.topics.items()
            if topic not in known and self._registry.by_id(client_id) is None
        }
        topics |= removed
        if topics.keys() == self.topics.keys():
            self.topics = topics
            return None
        self.topics = topics
        return sorted(topics)
