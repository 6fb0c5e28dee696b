"""Stores that turn out to be damaged while an engine has them: real stores and restores, the log in memory."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.streams.core.tables import CHUNKS
from backbeat.streams.ports.errors import DamagedStoreError, FullDiskError
from backbeat.streams.ports.state import ChangelogPosition
from backbeat.streams.state import local_stores
from backbeat.streams.state.commit import Member
from backbeat.streams.state.store import PartitionStore
from backbeat.streams.state.store_folder import StoreFolder, set_aside_in
from tests.ports import Log, Reader, engine_process, settled
from tests.streams.core.storing import put
from tests.streams.state.damage import PARTITION, Kept
from tests.waiting import until_async

DAMAGE = DamagedStoreError(PARTITION, "cannot read the store: Corruption")


class Owner:
    """An engine with one partition, and what it reads again."""

    def __init__(self, kept: Kept) -> None:
        reader = Reader()
        self.reads = reader.reads
        self.process = engine_process(kept.path.parent, partitions=PARTITION + 1, log=kept.log, reader=reader)
        self.engine, self.stores, self.restorer = self.process.engine, self.process.stores, self.process.stores.restorer

    def damaged(self) -> None:
        """A record cannot be read."""
        self.process._repair(DAMAGE, self.engine.lose(PARTITION))

    async def settled(self) -> None:
        await settled(self.process)

    async def assigned(self) -> PartitionStore:
        await self.process.assigned([PARTITION])
        await self.settled()
        store = self.engine.partitions[PARTITION].store
        assert isinstance(store, PartitionStore)
        return store

    def close(self) -> None:
        self.engine.drop()


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
    expected = kept.rebuilt(kept.path.with_name("rebuilt"))

    async def story():
        owner = Owner(kept)
        store = await owner.assigned()
        put(store, CHUNKS, (bytes(16), 0), b"not committed")
        owner.reads.clear()
        owner.damaged()
        owner.damaged()  # Whoever reads next finds it, too.
        assert owner.engine.partitions[PARTITION].store is None
        await owner.settled()
        new = owner.engine.partitions[PARTITION].store
        assert new is not store
        assert content(new) == expected
        assert [where[:2] for where in owner.reads] == [(PARTITION, new.meta.next_offset)]
        assert new.meta.next_offset == kept.log.position
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
        owner.process.committer.member = Member("backbeat", "a", 1, "member")
        owner.process.committer.want()
        committing = asyncio.create_task(owner.process.commit_regularly())
        await until_async(lambda: owner.restorer.set_aside_count)
        committing.cancel()
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
        owner.damaged()
        owner.engine.drop()
        await owner.settled()
        assert owner.restorer.set_aside_count == 1
        assert len(owner.reads) == 1
        # Given the partition again, it makes a new one.
        store = await owner.assigned()
        assert content(store) == kept.rebuilt(kept.path.with_name("rebuilt"))
        owner.close()

    asyncio.run(story())


def test_a_store_is_not_closed_under_a_commit(kept):
    async def story():
        owner = Owner(kept)
        store = await owner.assigned()
        async with owner.stores.commit_lock:
            owner.damaged()
            await asyncio.sleep(0)
            # Whatever the repair has given to the thread is done once this is.
            await asyncio.get_running_loop().run_in_executor(owner.stores.threads, int)
            store.write(store.snapshot(), ChangelogPosition("state", kept.log.end, 0))
        await owner.settled()
        assert owner.engine.partitions[PARTITION].store is not store
        owner.close()

    asyncio.run(story())


def test_a_restore_waits_for_the_leader_of_its_changelog(kept, monkeypatch):
    monkeypatch.setattr(local_stores, "_AGAIN_SECONDS", 0)
    codes = [KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.NOT_COORDINATOR]
    state_ends = kept.log.state_ends

    def ends(number):
        if codes:
            raise KafkaException(KafkaError(codes.pop()))
        return state_ends(number)

    kept.log.state_ends = ends

    async def story():
        owner = Owner(kept)
        await owner.assigned()
        assert not codes
        owner.close()

    asyncio.run(story())


def test_a_restore_whose_assignment_is_over_is_given_up_and_the_next_one_goes_on_there(kept):
    StoreFolder(kept.path).remove()
    begun, revoked, offsets, read_log = threading.Event(), threading.Event(), [], kept.log.read

    def read(number, offset):
        offsets.append(offset)
        begun.set()
        assert revoked.wait(120)
        return read_log(number, offset)

    kept.log.read = read

    async def story():
        owner = Owner(kept)
        await owner.process.assigned([PARTITION])
        await until_async(begun.is_set)
        await owner.process.revoked()
        revoked.set()
        await owner.settled()
        assert offsets == [0]
        store = await owner.assigned()
        assert offsets[1] > 0
        assert len(offsets) > 2
        assert content(store) == kept.rebuilt(kept.path.with_name("rebuilt"))
        owner.close()

    asyncio.run(story())


def test_restores_that_wait_for_their_turn_do_not_begin_after_their_assignment(tmp_path):
    log, revoked, begun = Log(), threading.Event(), []

    def committed_position(number):
        begun.append(number)
        assert revoked.wait(120)
        return 0

    log.committed_position = committed_position

    async def story():
        process = engine_process(tmp_path, partitions=5, log=log)
        await process.assigned(range(5))
        await until_async(lambda: len(begun) == 2)
        await process.revoked()
        revoked.set()
        await settled(process)
        assert len(begun) == 2

    asyncio.run(story())


def test_a_restore_does_not_wait_for_room_on_the_disk_after_its_assignment(tmp_path):
    errors = [FullDiskError("no space left")]

    def open_store(*_):
        raise errors[-1]

    async def story():
        process = engine_process(tmp_path, open_store=open_store)
        await process.assigned([0])
        await until_async(lambda: process.stores.disk.is_full)
        await process.revoked()
        await until_async(lambda: not process.stores.disk.is_full)
        await settled(process)

    try:
        asyncio.run(story())
    finally:
        errors.append(RuntimeError("the test is over"))
