"""Stalls: when a partition that stands is read again, when it ends the process, and when it is only slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from backbeat.schemas.messages.queries import GetLimits
from backbeat.schemas.messages.values import ReplyTo
from backbeat.streams.ports.log import Record
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.process.watch import stalls as module
from backbeat.streams.process.watch.stalls import Stalls
from tests.ports import Ended, Reader, end, engine_process, settled
from tests.streams.core.world import USER
from tests.waiting import until_async

TIMEOUT_SECONDS = 60.0
#: Of the commands of the partition that stands, and of the one beside it.
LOG_END = 1_000_000
STANDS, BUSY = 0, 1
QUERY = GetLimits(user_id=USER, tid="", deadline=0, partition=STANDS, reply_to=ReplyTo(0, USER, 1))


class Watched:
    """An engine's process with two partitions, and the watch over them."""

    def __init__(self, process: EngineProcess, reader: Reader) -> None:
        self.process = process
        self.reader = reader
        self.now = 1_000.0
        self.log_end = LOG_END
        #: first record behind the position; null: there
        self.first: int | None = None
        self.looks_at_log = 0
        self.stalls = Stalls(
            process.engine,
            process.stores.threads,
            end_of_log=lambda number: self.log_end if number == STANDS else None,
            first_data=self.first_data,
            is_held_back=lambda: process.gate.is_held,
            timeout_seconds=TIMEOUT_SECONDS,
            host_clock=self,
            end=end,
        )

    def first_data(self, _number: int, begin: int) -> int:
        self.looks_at_log += 1
        return begin if self.first is None else self.first

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def take(self, count: int) -> None:
        """Commands of the other partition are taken: no record can be read, each is put aside."""
        store = self.process.engine.partitions[BUSY].store
        assert store is not None
        for _ in range(count):
            self.process.engine.on_command(Record(BUSY, store.meta.next_offset, 1, None, b"?"))

    async def look(self, seconds: float, beside: Callable[[], object] = lambda: None) -> None:
        """So many looks, a second apart, before each of which something happens beside."""
        for _ in range(round(seconds)):
            beside()
            await self.stalls.look(1.0)

    @property
    def reads(self) -> int:
        """Reads of the partition that stands, after its first."""
        return sum(number == STANDS for number, _, _ in self.reader.reads) - 1


@pytest.fixture
async def watched(tmp_path) -> AsyncIterator[Watched]:
    reader = Reader()
    process = engine_process(tmp_path, partitions=2, reader=reader)
    await process.assigned([STANDS, BUSY])
    await settled(process)
    process.lease.heard(process.host_clock.monotonic() + 10**6)
    yield Watched(process, reader)
    process.engine.drop()


async def test_a_partition_that_stands_is_read_again_ever_later_and_ends_the_process(watched):
    await watched.look(1)
    reads = []
    for _ in range(int(TIMEOUT_SECONDS)):
        await watched.look(1)
        reads.append(watched.reads)
    # A new read throws away what a slow broker is about to send: not every second.
    assert [reads.index(count) + 1 for count in (1, 2, 3, 4)] == [4, 8, 16, 32]
    assert reads[-1] == 4
    with pytest.raises(Ended, match="partition 0 stays at 0 for 61 s; its log ends at 1000000"):
        await watched.look(1)


async def test_behind_another_partitions_backlog_it_is_neither_read_again_nor_ended(watched):
    await watched.look(5 * TIMEOUT_SECONDS, lambda: watched.take(1))
    assert watched.reads == 0
    # Nothing is taken any more: now it has no reason to stand.
    with pytest.raises(Ended):
        await watched.look(TIMEOUT_SECONDS + 2)
    assert watched.reads == 4


async def test_more_commands_than_can_lie_before_its_own_are_no_reason_any_more(watched, monkeypatch):
    monkeypatch.setattr(module, "_AHEAD_RECORDS_MAX", 20)
    await watched.look(20, lambda: watched.take(1))
    assert watched.reads == 0
    with pytest.raises(Ended):
        await watched.look(20 * TIMEOUT_SECONDS, lambda: watched.take(1))
    assert watched.reads == 4


async def test_time_in_which_commands_are_held_back_does_not_count(watched):
    with watched.process.gate.closed():
        await watched.look(5 * TIMEOUT_SECONDS)
    assert watched.reads == 0
    await watched.look(5)
    assert watched.reads == 1


async def test_time_in_which_the_process_did_not_run_does_not_count(watched, monkeypatch):
    looks = []

    async def look(seconds: float) -> None:
        looks.append(seconds)
        watched.now += 1.0 if len(looks) % 2 else 3_600.0

    monkeypatch.setattr(watched.stalls, "look", look)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.0)
    watching = asyncio.create_task(watched.stalls.watch())
    await until_async(lambda: len(looks) > 3)
    watching.cancel()
    assert looks[1:4] == [1.0, module._LOOK_SECONDS_MAX, 1.0]


async def test_a_partition_that_comes_back_begins_anew(watched):
    await watched.look(TIMEOUT_SECONDS)
    process = watched.process
    await process.revoked()
    await process.assigned([STANDS, BUSY])
    await settled(process)
    reads = watched.reads
    await watched.look(4)
    assert watched.reads == reads
    await watched.look(1)
    assert watched.reads == reads + 1


async def test_one_that_is_given_back_during_a_look_is_left_alone(watched):
    await watched.look(4)

    def give_back(_number: int, begin: int) -> int:
        watched.process.engine.drop()
        return begin

    watched.stalls._first_data = give_back
    await watched.look(1)
    assert watched.reads == 0


async def test_a_log_that_ends_in_control_records_is_looked_at_once(watched):
    partition = watched.process.engine.partitions[STANDS]
    watched.first = partition.caught_up_at = LOG_END
    await watched.look(5 * TIMEOUT_SECONDS)
    assert watched.looks_at_log == 1
    assert partition.caught_up

    watched.first = watched.log_end = LOG_END + 1
    await watched.look(10)
    assert watched.looks_at_log == 2
    assert watched.reads == 0

    # Restored anew, it has its queries wait again.
    partition.caught_up_at = LOG_END
    await watched.look(10)
    assert watched.looks_at_log == 3
    assert partition.caught_up

    watched.log_end, watched.first = LOG_END + 2, None
    await watched.look(6)
    assert watched.reads == 1


async def test_the_log_of_commands_that_are_held_back_is_not_looked_at(watched):
    partition = watched.process.engine.partitions[STANDS]
    partition.caught_up_at = LOG_END
    with watched.process.gate.closed():
        await watched.look(10)
        assert watched.looks_at_log == 0
        # Whether they may be answered is worth a look; that there are commands before them is then known.
        partition.waiting_queries.append(QUERY)
        await watched.look(10)
        assert watched.looks_at_log == 1
        assert not partition.caught_up


async def test_queries_behind_control_records_may_be_answered_while_commands_are_held_back(watched):
    partition = watched.process.engine.partitions[STANDS]
    watched.first = partition.caught_up_at = LOG_END
    partition.waiting_queries.append(QUERY)
    with watched.process.gate.closed():
        await watched.look(10)
    assert partition.caught_up
    assert watched.looks_at_log == 1
