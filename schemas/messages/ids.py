"""Ids that carry their route (UUID version 8, RFC 9562 section 5.8).

An id is 16 bytes. The first 4 are murmur2 of the subject's JSON text: they give the partition. Up to the 7th byte it
is the workflow's prefix (20 bits of its hash around the version nibble): a workflow's records lie together. The
remaining 70 bits, around the variant, tell the nodes of a workflow apart. No id is ever random: the same command
gives the same id.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import blake2b

PREFIX_BYTES = 7
#: Longest key of a limit whose pool's id is kept: a longer one would take memory.
_KEPT_KEY_CHARACTERS = 64

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Murmur2 as Kafka's Java client computes it for keys: 32 bits, unsigned."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    whole = length & ~3
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = (word * _M) & _MASK
        mixed = ((mixed ^ (mixed >> 24)) * _M) & _MASK
        value = ((value * _M) & _MASK) ^ mixed
    rest = data[whole:]
    if rest:
        value = ((value ^ int.from_bytes(rest, "little")) * _M) & _MASK
    value = ((value ^ (value >> 13)) * _M) & _MASK
    return value ^ (value >> 15)


def _hash(*parts: bytes) -> bytes:
    """16 bytes that differ when any part differs: each part is preceded by its length."""
    return blake2b(b"".join([len(part).to_bytes(4, "big") + part for part in parts]), digest_size=16).digest()


def partition_of(identity: bytes, partitions: int) -> int:
    """The partition that holds a workflow or node: murmur2 of its subject, as Kafka's default partitioner has it."""
    return (int.from_bytes(identity[:4], "big") & 0x7FFFFFFF) % partitions


def workflow_id(user_id: bytes, name: str, subject: bytes) -> bytes:
    """The id of the one workflow of this user, name and subject (`subject`: compact JSON text in UTF-8)."""
    digest = _hash(b"workflow", user_id, name.encode(), subject)
    prefix = (
        murmur2(subject).to_bytes(4, "big")
        + digest[:2]
        # The version nibble (8) stands in front of the last 4 of the 20 bits.
        + bytes((0x80 | (digest[2] & 0x0F),))
    )
    return _with_rest(prefix, digest[3:])


def node_id(workflow: bytes, command: bytes, index: int) -> bytes:
    """The id of the node that a command makes as its `index`-th: it shares its first 56 bits with its workflow."""
    return _with_rest(
        workflow[:PREFIX_BYTES], blake2b(workflow + command + index.to_bytes(4, "big"), digest_size=9).digest()
    )


def schedule_id(user_id: bytes, name: str) -> bytes:
    """The id of the one schedule of this user and name. It has the form of the others, and a partition by chance."""
    return _routed(_hash(b"schedule", user_id, name.encode()))


def _with_rest(prefix: bytes, rest: bytes) -> bytes:
    """Prefix and 70 bits; the variant bits (10) stand at the head of the ninth byte."""
    return prefix + rest[:1] + bytes((0x80 | (rest[1] & 0x3F),)) + rest[2:9]


def limit_id(client_id: bytes, activity: str) -> bytes:
    """The id of the limit of an activity type: it says which partition orders its changes."""
    return _routed(_hash(b"limit", client_id, activity.encode()))


def pool_id(client_id: bytes, activity: str, key: str) -> bytes:
    """The id of the pool of slots that nodes of an activity type with this key share."""
    # Each node under a limit asks twice: who sends its AskSlot, and who takes it.
    make = _kept_pool_id if len(key) <= _KEPT_KEY_CHARACTERS else _kept_pool_id.__wrapped__
    return make(client_id, activity, key)


@lru_cache(maxsize=1_000)
def _kept_pool_id(client_id: bytes, activity: str, key: str) -> bytes:
    return _routed(_hash(b"pool", client_id, activity.encode(), key.encode()))


def _routed(digest: bytes) -> bytes:
    """An id of which every bit is a hash's."""
    return _with_rest(digest[:6] + bytes((0x80 | (digest[6] & 0x0F),)), digest[7:])


def command_id(*parts: bytes) -> bytes:
    """A command's id from what it is known by: client and key, place in a topic, or (node, attempt, ordinal)."""
    return _hash(b"command", *parts)


def is_ours(identity: bytes) -> bool:
    """True for an id of the form of those made here; any other is unknown without looking."""
    return len(identity) == 16 and identity[6] >> 4 == 8 and identity[8] >> 6 == 2  # noqa: PLR2004 - the layout above
