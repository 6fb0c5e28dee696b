"""Stores that turn out to be damaged while an engine has them: real stores and restores, the log in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backbeat.streams.core.tables import CHUNKS
from backbeat.streams.engine.loop import Engine
from backbeat.streams.engine.ports import ChangelogPosition, DamagedStoreError
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.state.disk_space import DiskSpace
from backbeat.streams.state.local_stores import LocalStores
from backbeat.streams.state.restorer import Restorer
from backbeat.streams.state.store import PartitionStore
from backbeat.streams.state.store_folder import set_aside_in
from tests.core.storing import put
from tests.watch.damage import PARTITION, Kept
from tests.watch.test_disk_full import SECONDS_MAX

DAMAGE = DamagedStoreError(PARTITION, "cannot read the store: Corruption")


class Owner:
    """An engine with one partition, as a process has it, and what it is asked to read again."""

    def __init__(self, kept: Kept) -> None:
        self.asked: list[tuple[int, int, int]] = []
        self.restored: list[int] = []
        self._work: set[asyncio.Task[None]] = set()
        self.engine = Engine(
            partitions_count=PARTITION + 1,
            transactional_id="",
            outbox=None,
            activities_topic=lambda _: None,
            seek=lambda *where: self.asked.append(where),
            is_owner=lambda: True,
            sample=lambda _: None,
        )
        self.threads = ThreadPoolExecutor(1)
        disk = DiskSpace(kept.path.parent)
        self.restorer = Restorer(
            EngineSettings(data_dir=kept.path.parent),
            lambda number: PartitionStore(kept.path, number),
            lambda: kept.log,
            disk,
        )
        self.stores = LocalStores(
            self.engine, self.restorer, disk, self.threads, spawn=self._spawn, restored=self.restored.append
        )

    def _spawn(self, work: Awaitable[None]) -> None:
        self._work.add(asyncio.ensure_future(work))

    async def settled(self) -> None:
        """All that was begun has ended; what failed fails here."""
        while self._work:
            async with asyncio.timeout(SECONDS_MAX):
                await self._work.pop()

    async def assigned(self) -> PartitionStore:
        self.stores.epoch += 1
        self.stores.revoking = False
        self.engine.assign([PARTITION])
        self._spawn(self.stores.restore(PARTITION, self.stores.epoch))
        await self.settled()
        store = self.engine.partitions[PARTITION].store
        assert isinstance(store, PartitionStore)
        return store

    def close(self) -> None:
        self.engine.drop()
        self.threads.shutdown()


@pytest.fixture
def kept(quick_path):
    kept = Kept(quick_path / f"partition-{PARTITION}", random.Random(1))
    for _ in range(30):
        kept.commit()
    kept.store.close()
    return kept


def content(store):
    return {key: value for key, value in store._scan(b"", b"") if key != b"o"}


def test_a_damaged_store_is_made_anew_and_what_came_since_the_last_commit_is_read_again(kept):
    wanted = kept.wanted(kept.path.with_name("wanted"))

    async def story():
        owner = Owner(kept)
        store = await owner.assigned()
        put(store, CHUNKS, (bytes(16), 0), b"not committed")
        owner.asked.clear()
        owner.stores.repair(DAMAGE)
        owner.stores.repair(DAMAGE)  # Whoever reads next finds it, too.
        assert owner.engine.partitions[PARTITION].store is None
        await owner.settled()
        new = owner.engine.partitions[PARTITION].store
        assert new is not store
        assert content(new) == wanted
        assert [where[:2] for where in owner.asked] == [(PARTITION, new.meta.next_offset)]
        assert owner.restored == [PARTITION, PARTITION]
        assert owner.restorer.set_aside_count == len(list(set_aside_in(kept.path.parent))) == 1
        owner.close()

    asyncio.run(story())


def test_damage_that_is_found_by_a_commit_concerns_that_partition_and_not_the_commit(kept):
    async def story():
        owner = Owner(kept)
        store = await owner.assigned()

        def fail(*_):
            raise DAMAGE

        store.write = fail
        owner.stores.write(store, store.snapshot(), ChangelogPosition("state", kept.log.end, 0))
        owner.stores.repair_written()
        await owner.settled()
        assert owner.restorer.set_aside_count == 1
        assert owner.engine.partitions[PARTITION].store is not None
        owner.close()

    asyncio.run(story())


def test_damage_that_is_found_while_the_partitions_are_given_back_only_sets_the_store_aside(kept):
    async def story():
        owner = Owner(kept)
        await owner.assigned()
        # As `revoked` does: a last commit, which finds it, then the assignment is dropped.
        owner.stores.epoch += 1
        owner.stores.revoking = True
        owner.stores.repair(DAMAGE)
        owner.engine.drop()
        await owner.settled()
        assert owner.restorer.set_aside_count == 1
        assert owner.restored == [PARTITION]
        # Given the partition again, it makes a new one.
        store = await owner.assigned()
        assert content(store) == kept.wanted(kept.path.with_name("wanted"))
        owner.close()

    asyncio.run(story())


def test_a_store_is_not_closed_under_a_commit(kept):
    async def story():
        owner = Owner(kept)
        store = await owner.assigned()
        async with owner.stores.commit_lock:
            owner.stores.repair(DAMAGE)
            await asyncio.sleep(0)
            # Whatever the repair has given to the thread is done once this is.
            await asyncio.get_running_loop().run_in_executor(owner.threads, int)
            store.write(store.snapshot(), ChangelogPosition("state", kept.log.end, 0))
        await owner.settled()
        assert owner.engine.partitions[PARTITION].store is not store
        owner.close()

    asyncio.run(story())
