"""Stored records of messages to a workflow, and of the nodes that wait for them."""

from __future__ import annotations

import msgspec


class Inbox(msgspec.Struct, gc=False, array_like=True):
    """The messages that a workflow keeps. Deleted with the last of them."""

    kept: tuple[tuple[int, str], ...] = ()  #: number and name of each, oldest first
    size_bytes: int = 0  #: of their names and payloads together
    version: int = 1


class Message(msgspec.Struct, gc=False, array_like=True):
    """A message that is kept. The key has the workflow and the message's number there."""

    name: str
    payload: bytes  #: JSON text
    version: int = 1


class Line(msgspec.Struct, gc=False, array_like=True):
    """The nodes of a workflow that wait for messages of one name, oldest first: the ends of their chain."""

    first: bytes
    last: bytes
    version: int = 1
