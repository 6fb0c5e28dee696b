"""The engine in memory: `backbeat.streams.engine.loop`, the loop that runs on Kafka, on records in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from backbeat.schemas.codec import encode_command, encode_query
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.bounds import Settings
from backbeat.schemas.messages.commands import AnyCommand
from backbeat.schemas.messages.history import StatusChangesRecord
from backbeat.schemas.messages.queries import AnyQuery, query_route
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.views import NodeView, WaitKind
from backbeat.schemas.routes import route
from backbeat.streams.core.queries import current_node, find_node
from backbeat.streams.core.waits.waits import waits_of
from backbeat.streams.engine.loop import Engine
from backbeat.streams.input.signal_command import Admitted
from backbeat.streams.ports.log import Record
from backbeat.testing.memory_store import MemoryPartition
from backbeat.transport.base import written

from .clock import Clock
from .topics import Topics

_QUERY = 0
#: A query's deadline where the clock stands still.
NEVER = 2**62


class MemoryEngine:
    """Applies commands, answers queries, fires timers; at once, in the caller's thread."""

    def __init__(
        self,
        partitions: int,
        clock: Clock,
        topics: Topics,
        activities_topic: Callable[[bytes], str | None],
        settings: Settings,
    ) -> None:
        self._partition_count = partitions
        self._clock = clock
        self._topics = topics
        #: Choice of the next of the partitions that have commands.
        self.choose: Callable[[Sequence[int]], int] = lambda numbers: numbers[0]
        self.partitions = [MemoryPartition() for _ in range(partitions)]
        self._engine = Engine(
            partitions_count=partitions,
            transactional_id="testing",
            outbox=topics,
            activities_topic=activities_topic,
            seek=lambda *_: None,
            is_owner=lambda: True,
            sample=lambda _now: None,
        )
        self._engine.assign(range(partitions))
        for number, partition in enumerate(self.partitions):
            partition.meta.settings = settings
            self._engine.ready(number, partition, 0)

    def send(self, command: AnyCommand, route_key: bytes | None = None) -> None:
        """Put a command into its partition, or that of `route_key`. InvalidParameters: it cannot be one."""
        route_key = route_key or route(command)
        assert route_key is not None, "a command that is sent to every partition"
        self._topics.append(
            written(encode_command, command), ids.partition_of(route_key, self._partition_count), route_key
        )

    def admit(self, signal: Admitted) -> None:
        """Apply a service's signal that has passed the checks."""
        self._topics.append(signal.value, ids.partition_of(signal.route, self._partition_count), signal.key)
        self.settle()

    def settle(self) -> None:
        """Apply every command that waits, and those that come of it."""
        while waiting := [number for number, records in enumerate(self._topics.commands) if records]:
            number = waiting[0] if len(waiting) == 1 else self.choose(waiting)
            self._engine.on_command(self._topics.commands[number].popleft())
            self._engine.send_unknown(len(self._engine.unknown))

    def ask(self, query: AnyQuery) -> None:
        """Answer a query; a wait is answered once the node is final, or its retries are exhausted."""
        self.settle()
        partition = ids.partition_of(query_route(query), self._partition_count)
        record = Record(partition, _QUERY, self._clock.milliseconds, None, encode_query(query))
        for _ in self._engine.on_query(record, self._clock.milliseconds):
            # Nothing comes between the parts of a large tree here.
            continue

    def is_exhausted(self, node_id: bytes) -> bool:
        """True where a node's retries are exhausted, and nobody but an operator brings it forward."""
        partition = self.partitions[ids.partition_of(node_id, self._partition_count)]
        stored = find_node(partition, node_id, None)
        if stored is None or stored[0].server is not ServerStatus.RETRIES_EXHAUSTED:
            return False
        return any(wait.kind == WaitKind.RETRIES_EXHAUSTED for wait in waits_of(partition, *stored))

    @property
    def history_count(self) -> int:
        """Records on the history topic."""
        return self._topics.history_count

    def has_history_behind(self, offset: int) -> bool:
        """True when there is a record at this offset of the history topic."""
        return self._topics.history_count > offset

    def history_at(self, offset: int) -> StatusChangesRecord:
        """A record of the history topic."""
        return self._topics.history_at(offset)

    def end_waits(self) -> None:
        """Answer every wait with its node as it is."""
        self._engine.end_waits(NEVER)

    def fire(self) -> bool:
        """Send the timers that are due, earliest first. False: none was."""
        fired = self._engine.fire_timers(self._clock.milliseconds)
        self.settle()
        return fired > 0

    def next_due(self) -> int | None:
        """Due time of the next timer of a node or schedule, in milliseconds since the epoch; None: there is none."""
        due_times = (partition.timers.next_due() for partition in self.partitions)
        return min((due for due in due_times if due is not None), default=None)

    def node_waits(self) -> bool:
        """True where a node waits for a time."""
        return any(partition.timers.has_one_of_a_node() for partition in self.partitions)

    def node(self, node_id: bytes) -> NodeView | None:
        """A node as it is now."""
        partition = self.partitions[ids.partition_of(node_id, self._partition_count)]
        stored = find_node(partition, node_id, None)
        return None if stored is None else current_node(partition, *stored)

    @property
    def counts(self) -> dict[str, Any]:
        """Counters of the engine: commands, dispatches, repeats, refused, ignored and more."""
        return dict(self._engine.counts)
