"""A consistent cut through the partitions of the commands (the package's docstring says why there must be one)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from backbeat.schemas import codec
from backbeat.schemas.errors import DecodeError
from backbeat.schemas.messages.values import Source


class Send(NamedTuple):
    """A command that is the effect of another one: where both are."""

    partition: int
    offset: int
    source_partition: int
    source_offset: int


def source_of(value: bytes | None) -> Source | None:
    """The record whose effect a command is; null: it is nobody's, or cannot be read."""
    try:
        source: Source | None = getattr(codec.decode_command(value), "source", None)
    except DecodeError:
        return None
    return source


def consistent_ends(ends: Mapping[int, int], sends: Iterable[Send]) -> dict[int, int]:
    """The ends of partitions, lowered until no command below them is the effect of one that is not.

    `sends`: those whose source is not below the committed position of its partition; that of others is below each end.
    """
    lowered = dict(ends)
    sends = list(sends)
    is_changed = True
    while is_changed:
        is_changed = False
        for send in sends:
            is_left_out = send.source_offset >= lowered.get(send.source_partition, 0)
            if is_left_out and send.offset < lowered[send.partition]:
                lowered[send.partition] = send.offset
                is_changed = True
    return lowered
