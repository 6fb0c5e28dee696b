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
        if parsed.kind == "w":
            self.workflows[parsed.id] = value
        elif parsed.kind == "n":
            if not waited or parsed.id not in self.nodes:
                self.nodes[parsed.id] = (key, value)
        elif value is not None and not (waited and parsed.number in self.chunks[parsed.id]):
            self.chunks[parsed.id][parsed.number] = (key, value)

    def subjects(self) -> set[bytes]:
        """Ids that waiting records may depend on."""
        return {*self.workflows, *self.nodes, *self.chunks}
