"""Handover of a partition to its next owner, as metadata of the committed offset.

Some records behind that offset are done already, since endpoints answer in any order, and requests of some may be in
flight. Both are passed on, so that they are not posted a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

from backbeat.schemas.requests.decoding import from_json

#: A broker takes 4,096 bytes with an offset (`offset.metadata.max.bytes`), and a run has 15 at most.
_RUNS_MAX = 250

#: Runs of records: distance of the first from the committed offset, and number.
Runs = list[tuple[int, int]]


class Handover(msgspec.Struct, frozen=True, omit_defaults=True):
    """Records of a partition behind its committed offset, as distances from it."""

    answered: Runs = []
    #: Requests of them may be in flight.
    posted: Runs = []

    @classmethod
    def of(cls, committed: int, answered: Iterable[int], posted: Iterable[int] = ()) -> Self:
        """Handover of records at these offsets; the first ones, if not all fit."""
        runs_left = _RUNS_MAX
        posted_runs = _runs(committed, posted)[:runs_left]
        return cls(answered=_runs(committed, answered)[: runs_left - len(posted_runs)], posted=posted_runs)

    def text(self) -> str:
        """Metadata of the offset; empty if there are no records."""
        return msgspec.json.encode(self).decode() if self.answered or self.posted else ""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Handover of the previous owner; empty if there is none or it is unreadable."""
        if not text:
            return cls()
        try:
            return from_json(text, cls)
        except msgspec.MsgspecError:
            return cls()

    def answered_from(self, committed: int) -> set[int]:
        """Offsets of records that are done."""
        return _offsets(committed, self.answered)

    def posted_from(self, committed: int) -> set[int]:
        """Offsets of records whose requests may be in flight."""
        return _offsets(committed, self.posted)


def _runs(committed: int, offsets: Iterable[int]) -> Runs:
    runs: Runs = []
    for distance in sorted(offset - committed for offset in offsets):
        if runs and distance == runs[-1][0] + runs[-1][1]:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((distance, 1))
    return runs


def _offsets(committed: int, runs: Runs) -> set[int]:
    return {committed + distance + index for distance, count in runs for index in range(count)}


class HandedOver:
    """Handover of a partition as of its assignment."""

    __slots__ = ("answered", "posted", "posted_below")

    def __init__(self, handover: Handover, committed: int) -> None:
        self.answered = handover.answered_from(committed)
        self.posted = handover.posted_from(committed)
        #: End of the partition when it was assigned; None: nothing was read yet.
        self.posted_below: int | None = None
