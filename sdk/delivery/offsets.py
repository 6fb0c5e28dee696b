"""Offset up to which a partition may be committed: that of the first record that is not answered."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TypeGuard

from backbeat.delivery.records import Receipt


class Offsets:
    """Records of an assigned partition, from when they are taken until they are answered, in any order."""

    __slots__ = ("__weakref__", "_answered", "_taken", "committed", "mark", "note", "partition", "revoked", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        #: True: the partition was taken away, and somebody else reads it from the committed offset on.
        self.revoked = False
        #: The offset up to which everything is answered; None: nothing was taken yet.
        self.mark: int | None = None
        self.committed: int | None = None
        #: The committed offset's metadata, for the next owner.
        self.note = ""
        self._taken: deque[int] = deque()
        self._answered: set[int] = set()

    def taken(self, offset: int) -> None:
        """A record was read. Offsets come in order, with holes where there are no records."""
        if self.mark is None:
            self.mark = offset
            self.committed = offset
        self._taken.append(offset)

    def answered(self, offset: int) -> None:
        """A record is settled: nothing more is to be done about it."""
        self._answered.add(offset)
        while self._taken and self._taken[0] in self._answered:
            first = self._taken.popleft()
            self._answered.discard(first)
            self.mark = first + 1

    @property
    def answered_ahead(self) -> Collection[int]:
        """The records behind the mark that are answered all the same."""
        return self._answered


class OffsetReceipt:
    """A record of an assigned partition (`Receipt`): where it is not accepted, the partition's next owner reads it."""

    __slots__ = ("offset", "offsets")

    def __init__(self, offsets: Offsets, offset: int) -> None:
        self.offsets = offsets
        self.offset = offset

    @property
    def revoked(self) -> bool:
        """True: its partition was taken away."""
        return self.offsets.revoked

    def accept(self) -> None:
        """Let the partition's mark pass it."""
        self.offsets.answered(self.offset)

    def release(self) -> None:
        """Nothing: its offset is not passed."""


def is_of(receipt: Receipt, partitions: Collection[Offsets]) -> TypeGuard[OffsetReceipt]:
    """True: the record is of one of these partitions, as it was assigned then."""
    return isinstance(receipt, OffsetReceipt) and any(offsets is receipt.offsets for offsets in partitions)
