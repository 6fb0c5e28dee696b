"""What begins with an assignment, and what of an earlier one must not reach into it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from backbeat.streams.core.records import Meta
from backbeat.streams.engine.loop import Engine
from backbeat.streams.process.deadline import Deadline
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.settings import EngineSettings
from backbeat.streams.state.local_stores import LocalStores
from backbeat.streams.state.store import PartitionStore


class Reader:
    """Keeps librdkafka's rule: what is paused stays so from one assignment to the next."""

    def __init__(self) -> None:
        self.paused: set[int] = set()
        self.reads: list[tuple[int, int, int]] = []

    def read(self, number: int, offset: int, read_number: int) -> None:
        self.reads.append((number, offset, read_number))


class Store:
    def __init__(self, position: int) -> None:
        self.meta = Meta(next_offset=position)
        self.changed_count = 0

    def close(self) -> None:
        pass


def engine_process(reader: Reader, position: int = 7) -> EngineProcess:
    process = EngineProcess.__new__(EngineProcess)
    process.engine = Engine(
        partitions_count=1,
        transactional_id="t",
        outbox=None,
        activities_topic=lambda _: None,
        seek=reader.read,
        is_owner=lambda: True,
        sample=lambda _: None,
    )
    process.pause, process.resume = reader.paused.add, reader.paused.discard
    process._paused, process.committed = set(), {}
    process._commit_wanted, process._may_send = asyncio.Event(), asyncio.Event()
    process._may_send.set()

    class Restorer:
        def run(self, _number: int) -> tuple[Any, int]:
            return Store(position), position

    process._log_ready = lambda: None
    process.stores = LocalStores(
        process.engine, Restorer(), None, None, spawn=lambda _: None, restored=process._restored
    )
    process.stores.epoch = 1
    return process


async def test_a_partition_that_was_paused_is_fetched_in_the_next_assignment():
    reader = Reader()
    process = engine_process(reader)
    process.pause(0)
    process.engine.assign([0])
    await process.stores.restore(0, 1)
    assert reader.paused == set()


async def test_a_partition_is_read_from_its_position_whatever_is_in_hand():
    reader = Reader()
    process = engine_process(reader, position=7)
    process.engine.assign([0])
    # Of an earlier read, perhaps: it says nothing of what lies between.
    process.engine.on_command(SimpleNamespace(partition=0, offset=9))
    await process.stores.restore(0, 1)
    ((number, offset, read_number),) = reader.reads
    assert (number, offset) == (0, 7)
    process.engine.read_again(0)
    assert reader.reads[1] == (0, 7, read_number + 1)
    # Of the read before: it may have begun further on, and what lies between would be passed over.
    taken: list[Any] = []
    process._command = taken.append
    await process.commands(0, [object()], read_number)
    assert taken == []


async def test_who_gives_partitions_back_has_no_more_time_than_the_group_waits():
    process = engine_process(Reader())
    process.settings = EngineSettings(instance_id="a")
    process._deadline = Deadline(10_000.0)
    given: list[float] = []

    async def commit() -> None:
        given.append(process._deadline.left)

    process.commit = commit
    await process.revoked()
    assert given[0] <= process.settings.rebalance_timeout_seconds


def test_one_that_is_stopped_hands_over_what_others_have_within_seconds(tmp_path):
    process = engine_process(Reader())
    process._partitions_count = 2
    process.engine.partitions = {}

    def hands_over(records_max: int) -> bool:
        process.settings = EngineSettings(instance_id="a", leave_records_max=records_max)
        return process.hands_over

    store = PartitionStore(tmp_path / "store", 0)
    for number in range(100):
        store._db[b"w" + number.to_bytes(15, "big")] = b"record"
    process.engine.partitions[0] = SimpleNamespace(store=store)
    assert [hands_over(limit) for limit in (0, 50, 1_000)] == [False, False, True]
    # Nobody else is there: a group that is empty waits for others before it gives partitions to the next.
    process.engine.partitions[1] = SimpleNamespace(store=None)
    assert not hands_over(1_000)
    store.close()
