"""The records of one batch, sorted by what they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from backbeat.gateway.projection.storage import rows


class Records:
    """What there is to do: the records of a batch, and those that waited for them."""

    def __init__(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        self.workflows: dict[bytes, bytes | None] = {}
        self.nodes: dict[bytes, tuple[bytes, bytes | None]] = {}
        self.chunks: dict[bytes, dict[int, tuple[bytes, bytes]]] = defaultdict(dict)
        #: the keys of what was deleted
        self.gone: list[bytes] = []
        for key, value in dict(records).items():
            self.add(key, value)
            if value is None:
                self.gone.append(key)

    def add(self, key: bytes, value: bytes | None, *, waited: bool = False) -> None:
        """Take a record; one that waited only where none came since."""
        about = rows.parse_key(key)
        if about is None:
            return
        if about.kind == "w":
            self.workflows[about.id] = value
        elif about.kind == "n":
            if not waited or about.id not in self.nodes:
                self.nodes[about.id] = (key, value)
        elif value is not None and not (waited and about.number in self.chunks[about.id]):
            self.chunks[about.id][about.number] = (key, value)

    def subjects(self) -> set[bytes]:
        """Whatever something may wait for."""
        return {*self.workflows, *self.nodes, *self.chunks}
