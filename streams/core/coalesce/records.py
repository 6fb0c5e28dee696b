"""Stored records of coalescing."""

from __future__ import annotations

import msgspec


class CoalesceIndex(msgspec.Struct, gc=False, array_like=True, kw_only=True):
    """The waiting signal of a workflow and coalesce_key. Deleted once it is sent to its client, or closed."""

    version: int = 1
    node_id: bytes
