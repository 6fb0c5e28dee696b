"""Archives that the console reads: an archive that many ask for at once is read once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from backbeat.errors import NotFound
from backbeat.gateway.archiving.stores import FolderStore
from backbeat.gateway.console.archive_cache import ArchiveCache
from tests.gateway.archiving.test_archives import NODES, WORKFLOW, written


class SlowStore(FolderStore):
    """A folder whose files are opened when that is let."""

    def __init__(self, folder):
        super().__init__(folder)
        self.opened = 0
        self.let = threading.Event()

    def open(self, name):
        self.opened += 1
        assert self.let.wait(120)
        return super().open(name)


async def test_an_archive_that_many_ask_for_is_read_once(tmp_path):
    (tmp_path / "one").write_bytes(written())
    store, cache, turns = SlowStore(tmp_path), ArchiveCache(), asyncio.Semaphore(4)
    first, *others = [asyncio.create_task(cache.read(store, "one", turns)) for _ in range(5)]
    missing = asyncio.create_task(cache.read(store, "none", turns))
    await asyncio.sleep(0)
    # A visitor who leaves takes it from nobody else.
    first.cancel()
    store.let.set()
    reads = await asyncio.gather(*others)
    with pytest.raises(NotFound):
        await missing
    assert all(read is reads[0] for read in (*reads, await cache.read(store, "one", turns)))
    assert [*reads[0].nodes] == [node.id for node in NODES]
    assert sum(map(len, reads[0].below.values())) == reads[0].counts.total() == len(NODES)
    assert reads[0].archive.workflow.id == WORKFLOW.id
    assert store.opened == len(("one", "none"))
