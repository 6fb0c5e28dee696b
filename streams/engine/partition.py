"""A partition of the engine."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from backbeat.schemas.messages import queries
from backbeat.streams.ports.log import Record
from backbeat.streams.ports.state import PartitionState


@dataclass(slots=True)
class Partition:
    """A partition of the current assignment."""

    number: int
    store: PartitionState | None = None  #: null while it is restored
    #: records that came during its restore, in order
    pending: deque[Record] = field(default_factory=deque)
    #: queries are answered once the store has passed the end of commands seen at the assignment
    caught_up_at: int = 0
    waiting_queries: deque[queries.AnyQuery] = field(default_factory=deque)
    query_position: int = -1  #: the next query; -1: none was read
    query_position_taken: int = -1  #: as of the newest snapshot
    read_number: int = 0  #: of the read whose records are taken; 0: none

    def lose_store(self) -> PartitionState | None:
        """Detach the store, and drop pending records; null: there is none."""
        store, self.store = self.store, None
        self.pending.clear()
        self.read_number = 0
        return store

    def drop_late(self, now: int) -> int:
        """Drop the oldest waiting queries whose askers wait no longer. Returns their count."""
        count = 0
        while self.waiting_queries and self.waiting_queries[0].deadline < now:
            self.waiting_queries.popleft()
            count += 1
        return count

    @property
    def caught_up(self) -> bool:
        """True when all commands that the log had at the assignment are applied."""
        return self.store is not None and self.store.meta.next_offset >= self.caught_up_at
