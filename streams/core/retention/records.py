"""Stored records of retention: the archive queue, and tombstones of removed signals."""

from __future__ import annotations

import msgspec


class ArchiveEntry(msgspec.Struct, gc=False, array_like=True):
    """A workflow in the archive queue. The key has the time of entering it, and the workflow's id."""

    version: int = 1


class SignalTombstone(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """A removed signal's node id: a repeat of the signal does not create it again."""

    version: int = 1
    forget_at: int  #: due time of its timer
