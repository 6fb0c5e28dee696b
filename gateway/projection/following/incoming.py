"""Records of one batch, by workflow, node and history chunk."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from backbeat.gateway.projection.storage import rows


class Records:
    """Records of a batch, and those that waited for them."""

    def __init__(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.workflows: dict[bytes, bytes | None] = {}
        self.nodes: dict[bytes, tuple[bytes, bytes | None]] = {}
        self.chunks: dict[bytes, dict[int, tuple[bytes, bytes]]] = defaultdict(dict)
        #: Keys of deleted records.
        self.deleted_keys: list[bytes] = []
        for key, value in dict(records).items():
            self.add(key, value)
            if value is None:
                self.deleted_keys.append(key)

    def add(self, key: bytes, value: bytes | None, *, waited: bool = False) -> None:
        """Add a record; one that waited only if the batch has none of its key."""
        parsed = rows.parse_key(key)
        if parsed is None:
            return
        kind, identity, number = parsed
        if kind == b"n":
            if not waited or identity not in self.nodes:
                self.nodes[identity] = (key, value)
        elif kind == b"w":
            self.workflows[identity] = value
        elif value is not None and not (waited and number in self.chunks[identity]):
            self.chunks[identity][number] = (key, value)

    def subjects(self) -> set[bytes]:
        """Ids that waiting records may depend on."""
        return {*self.workflows, *self.nodes, *self.chunks}
