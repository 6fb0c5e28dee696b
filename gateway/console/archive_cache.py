"""Archives that were read a moment ago: a page of one is a click away from the next."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from backbeat.gateway.archiving import Archive, ArchiveStore, read_archive

#: Archives that are kept, of so many nodes at most.
_KEPT_MAX = 2
_KEPT_NODES_MAX = 20_000


class ArchiveCache:
    """The newest archives that were read, by name."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, Archive] = OrderedDict()

    async def read(self, store: ArchiveStore, name: str, turns: asyncio.Semaphore) -> Archive:
        """The archive of this name. NotFound, Unavailable, ArchiveError."""
        known = self._by_name.get(name)
        if known is not None:
            return known
        async with turns:
            archive = await asyncio.to_thread(_read, store, name)
        if len(archive.nodes) <= _KEPT_NODES_MAX:
            self._by_name[name] = archive
            if len(self._by_name) > _KEPT_MAX:
                self._by_name.popitem(last=False)
        return archive


def _read(store: ArchiveStore, name: str) -> Archive:
    with store.open(name) as file:
        return read_archive(file, name)
