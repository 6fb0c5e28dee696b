"""Stored records of links."""

from __future__ import annotations

import msgspec


class Link(msgspec.Struct, gc=False, array_like=True):
    """A link: a node that a target waits for. Stored, closed, until the target is closed: a repeat changes nothing."""

    child: bytes
    open: bool
    next: bytes | None  #: the next link of the same target
    version: int = 1
