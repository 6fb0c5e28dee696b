"""What begins with an assignment, and what of an earlier one must not reach into it."""

from __future__ import annotations

import asyncio
from typing import Any

from backbeat.streams.core.records import Meta
from backbeat.streams.engine.loop import Engine
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.local_stores import LocalStores


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

    process._say_ready = lambda: None
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
