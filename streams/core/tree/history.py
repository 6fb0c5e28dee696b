"""A node's status changes, packed.

One change is 15 bytes and its response. The newest are in the node's own record, so most nodes are one record; beyond a
bound they move, as they are, to a chunk record that is written once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from backbeat.schemas.messages.history import StatusChange
from backbeat.schemas.messages.status import ClientStatus, ServerStatus

#: Bytes of history in a node's own record, at most, without the newest change.
INLINE_BYTES_MAX = 1_024

_HEAD = struct.Struct(">BBBqI")
_SAME_RESPONSE = 0xFFFFFFFF
CLIENT = 0
SERVER = 1


def pack(
    machine: int, from_status: int, to_status: int, at: int, response: bytes | None, *, same: bool = False
) -> bytes:
    """A packed change. `same`: it has the response of the change before, which is not stored twice."""
    if same:
        return _HEAD.pack(machine, from_status, to_status, at, _SAME_RESPONSE)
    if response is None:
        return _HEAD.pack(machine, from_status, to_status, at, 0)
    return _HEAD.pack(machine, from_status, to_status, at, len(response)) + response


def unpack(chunk: bytes) -> Iterator[StatusChange]:
    """The changes in a chunk, oldest first."""
    position = 0
    response: bytes | None = None
    while position < len(chunk):
        machine, from_status, to_status, at, length = _HEAD.unpack_from(chunk, position)
        position += _HEAD.size
        if length != _SAME_RESPONSE:
            response = chunk[position : position + length] if length else None
            position += length
        if machine == SERVER:
            yield StatusChange(True, ServerStatus(from_status), ServerStatus(to_status), at, response)
        else:
            yield StatusChange(False, ClientStatus(from_status), ClientStatus(to_status), at, response)


def newest_at(chunk: bytes) -> int | None:
    """The time of the newest change in a chunk; null: it is empty."""
    position, newest = 0, None
    while position < len(chunk):
        _, _, _, newest, length = _HEAD.unpack_from(chunk, position)
        position += _HEAD.size + (0 if length == _SAME_RESPONSE else length)
    return newest
