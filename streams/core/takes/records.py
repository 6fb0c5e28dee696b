"""Stored records of results that are taken."""

from __future__ import annotations

import enum

import msgspec


class ReferenceState(enum.IntEnum):
    """State of a reference. Only a waiting one changes."""

    WAITS = 0  #: the producer is open, or its takers have not been told yet
    THERE = 1  #: the producer has its result, for good
    DEFAULT = 2  #: the producer ended without one: the taker gets its default


class Reference(msgspec.Struct, gc=False, array_like=True):
    """A result that a node, the taker, takes of another one, the producer. The key has the taker and the slot."""

    producer: bytes
    of_children: bool  #: the results of the producer's children, in place of its own
    default: bytes | None  #: JSON text; null: the taker is deactivated where there is no result
    state: ReferenceState = ReferenceState.WAITS
    #: the next waiting reference of the same producer: its taker and slot
    next_taker: bytes | None = None
    next_slot: int = 0
    version: int = 1
