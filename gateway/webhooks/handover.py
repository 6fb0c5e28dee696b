"""What a gateway tells the next owner of a partition, beside the offset up to which everything is done.

Behind that offset some records are done already, since endpoints answer in any order, and requests for some may be
under way. Both go with the committed offset, as its metadata, so that they are not posted a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

#: A broker takes 4,096 bytes with an offset (`offset.metadata.max.bytes`), and a run has 15 at most.
_RUNS_MAX = 250

#: How far behind the mark a run of records begins, and how many they are.
Runs = list[tuple[int, int]]


class Handover(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records of a partition behind its committed offset, each as its distance from that."""

    answered: Runs = []
    #: requests for them may be under way
    posted: Runs = []

    @classmethod
    def of(cls, mark: int, answered: Iterable[int], posted: Iterable[int] = ()) -> Self:
        """The records of these offsets; of more than fit, the first ones."""
        left = _RUNS_MAX
        first = _runs(mark, posted)[:left]
        return cls(answered=_runs(mark, answered)[: left - len(first)], posted=first)

    def text(self) -> str:
        """As it stands with the offset; empty where there is nothing to say."""
        return msgspec.json.encode(self).decode() if self.answered or self.posted else ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """What the owner before has said; nothing where that is not known."""
        if not text:
            return cls()
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()

    def answered_from(self, mark: int) -> set[int]:
        """The offsets of the records that are done."""
        return _offsets(mark, self.answered)

    def posted_from(self, mark: int) -> set[int]:
        """The offsets of those that may be under way."""
        return _offsets(mark, self.posted)


def _runs(mark: int, offsets: Iterable[int]) -> Runs:
    runs: Runs = []
    for distance in sorted(offset - mark for offset in offsets):
        if runs and distance == runs[-1][0] + runs[-1][1]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((distance, 1))
    return runs


def _offsets(mark: int, runs: Runs) -> set[int]:
    return {mark + distance + index for distance, count in runs for index in range(count)}


class HandedOver:
    """What was known of a partition when it was assigned."""

    __slots__ = ("answered", "posted", "posted_below")

    def __init__(self, handover: Handover, mark: int) -> None:
        self.answered = handover.answered_from(mark)
        self.posted = handover.posted_from(mark)
        #: Records before this offset were there when the partition came; null: nothing was read yet.
        self.posted_below: int | None = None
