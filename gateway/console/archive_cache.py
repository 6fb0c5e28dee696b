"""Archives that were read a moment ago: a page of one is a click away from the next."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict

from backbeat.gateway.archiving import Archive, ArchiveStore, read_archive
from backbeat.schemas.messages.views import NodeView

#: Archives that are kept, of so many nodes at most.
_KEPT_MAX = 2
_KEPT_NODES_MAX = 20_000


class ReadArchive:
    """An archive with what pages look up in it."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.nodes: dict[bytes, NodeView] = {node.id: node for node in archive.nodes}
        #: Children by parent, in their order; those at the top by the workflow.
        self.below: dict[bytes, list[NodeView]] = {}
        for node in archive.nodes:
            self.below.setdefault(node.parent_id or archive.workflow.id, []).append(node)
        #: Nodes by server status.
        self.counts = Counter(int(node.server) for node in archive.nodes)


class ArchiveCache:
    """The newest archives that were read, by name. Used from one event loop."""

    def __init__(self) -> None:
        self._by_name: OrderedDict[str, ReadArchive] = OrderedDict()
        #: Readings under way: whoever asks for the same archive meanwhile waits for the same.
        self._readings: dict[str, asyncio.Task[ReadArchive]] = {}

    async def read(self, store: ArchiveStore, name: str, turns: asyncio.Semaphore) -> ReadArchive:
        """The archive of this name. NotFound, Unavailable, ArchiveError."""
        known = self._by_name.get(name)
        if known is not None:
            return known
        reading = self._readings.get(name)
        if reading is None:
            reading = self._readings[name] = asyncio.create_task(self._read(store, name, turns))
            reading.add_done_callback(lambda task: self._end(name, task))
        # A visitor who leaves takes it from nobody else.
        return await asyncio.shield(reading)

    async def _read(self, store: ArchiveStore, name: str, turns: asyncio.Semaphore) -> ReadArchive:
        async with turns:
            read = await asyncio.to_thread(_read, store, name)
        if len(read.nodes) <= _KEPT_NODES_MAX:
            self._by_name[name] = read
            if len(self._by_name) > _KEPT_MAX:
                self._by_name.popitem(last=False)
        return read

    def _end(self, name: str, reading: asyncio.Task[ReadArchive]) -> None:
        del self._readings[name]
        if not reading.cancelled():
            # Fetched, so that it is no surprise where everybody has left.
            reading.exception()


def _read(store: ArchiveStore, name: str) -> ReadArchive:
    with store.open(name) as file:
        return ReadArchive(read_archive(file, name))
