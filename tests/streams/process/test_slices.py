"""Slices of the backlog: bounded in time, fair to partitions, pushed once, and never behind a snapshot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from backbeat.compose.bench.prepared_commands import Maker, subject_of
from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, REPLIES
from backbeat.schemas.messages import commands as c
from backbeat.schemas.messages import ids, queries
from backbeat.streams.core import apply
from backbeat.streams.core.tables import NODES
from backbeat.streams.input.reader import Read
from backbeat.streams.ports.log import Record
from backbeat.streams.process.backlog import Backlog
from backbeat.streams.process.lifecycle import EngineProcess
from tests.ports import Producer, Reader, engine_process, settled
from tests.waiting import until_async

PARTITIONS = 2
#: Time that a command takes here: a slice has room for two.
_COMMAND_SECONDS = 0.01


class Clock:
    """A clock that only commands move."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Pushes(Producer):
    """A producer that tells its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[str, int, list[int]]] = []  #: topic, partition, and numbers of the replies

    def produce_batch(self, topic: str, messages: list[dict[str, Any]], partition: int, report: Any = None) -> int:
        if topic == REPLIES:
            numbers = [codec.decode_reply(message["value"]).number for message in messages]
            self.batches.append((topic, partition, numbers))
        return super().produce_batch(topic, messages, partition, report)

    def produce(self, topic: str, value: bytes | None, *given: Any, **named: Any) -> None:
        if topic == REPLIES:
            self.batches.append((topic, 0, [codec.decode_reply(value).number]))
        super().produce(topic, value, *given, **named)


class Slices:
    """An engine's process with two partitions, whose commands take their time."""

    def __init__(self, process: EngineProcess, producer: Pushes, reader: Reader) -> None:
        self.process = process
        self.producer = producer
        self._reads = {number: read_number for number, _, read_number in reader.reads}
        self._offsets = dict.fromkeys(range(PARTITIONS), 0)

    def _identity(self, number: int) -> bytes:
        candidates = (ids.command_id(bytes((salt,))) for salt in range(200))
        return next(candidate for candidate in candidates if ids.partition_of(candidate, PARTITIONS) == number)

    def add(self, number: int, *asks: int) -> None:
        """Commands about a workflow that is not there: each is answered with the number that it asks with."""
        asked = []
        for ask in asks:
            command = c.ChangeWorkflow(
                id=ids.command_id(ask.to_bytes(4, "big")),
                workflow_id=self._identity(number),
                change="pause",
                reply_to=c.ReplyTo(0, b"asker" * 3 + b"!", ask),
            )
            asked.append(Record(number, self._offsets[number], 1, None, codec.encode_command(command)))
            self._offsets[number] += 1
        self.process.take({(COMMANDS, number): Read(self._reads[number], asked)})

    def ask(self, number: int, ask: int) -> None:
        """A query about a node that is not there."""
        query = queries.GetNode(
            reply_to=c.ReplyTo(0, b"asker" * 3 + b"!", ask), deadline=2**50, node_id=self._identity(number)
        )
        self.process.take({(QUERIES, number): Read(0, [Record(number, 0, 1, None, codec.encode_query(query))])})

    def grow(self, number: int, leaves: int) -> bytes:
        """A node with so many children, in this partition; its id."""
        maker = Maker(self._identity(number), PARTITIONS)
        subjects = map(subject_of, range(200))
        subject = next(each for each in subjects if ids.partition_of(maker.workflow_id(each), PARTITIONS) == number)
        fan = maker.fan(subject, leaves)
        store = self.process.engine.partitions[number].store
        for raw in fan.commands:
            apply(codec.decode_command(raw.value), 1, store)
        return store.get(NODES, fan.children[0]).parent_id

    def ask_children(self, number: int, ask: int, parent_id: bytes) -> None:
        query = queries.GetChildren(
            reply_to=c.ReplyTo(0, b"asker" * 3 + b"!", ask), deadline=2**50, parent_id=parent_id
        )
        self.process.take({(QUERIES, number): Read(0, [Record(number, 0, 1, None, codec.encode_query(query))])})

    @property
    def pushed(self) -> list[list[int]]:
        return [numbers for _, _, numbers in self.producer.batches]


@pytest.fixture
async def slices(tmp_path):
    clock, producer, reader = Clock(), Pushes(), Reader()

    def rules(command: Any, now: int, store: Any) -> Any:
        clock.now += _COMMAND_SECONDS
        return apply(command, now, store)

    process = engine_process(
        tmp_path,
        partitions=PARTITIONS,
        effects_producer=lambda _: producer,
        reader=reader,
        rules=rules,
        host_clock=clock,
    )
    await process.assigned(range(PARTITIONS))
    await settled(process)
    process.lease.heard(clock.monotonic() + 10**6)
    yield Slices(process, producer, reader)
    process.engine.drop()


async def test_what_is_there_is_one_slice_and_leaves_together(slices):
    slices.add(0, 1)
    slices.add(1, 2)
    assert len(slices.process.backlog) == 2
    slices.process._slice()
    assert slices.pushed == [[1, 2]]


async def test_an_idle_engine_waits_for_no_clock(slices):
    """One command is a slice: it leaves two turns of the loop after it was read."""
    applying = asyncio.create_task(slices.process.apply_commands())
    await asyncio.sleep(0)
    for ask in range(1, 4):
        slices.add(0, ask)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert slices.pushed == [[number] for number in range(1, ask + 1)]
    applying.cancel()


async def test_a_slice_ends_in_time_and_the_other_partitions_come_next(slices):
    slices.add(0, *range(10, 16))
    slices.add(1, 20, 21, 22)
    for _ in range(5):
        slices.process._slice()
    assert slices.pushed == [[10, 11], [20, 21], [12, 13], [22, 14], [15]]
    assert len(slices.process.backlog) == 0


async def test_queries_and_timers_get_their_turn_between_two_slices(slices):
    process = slices.process
    slices.add(0, *range(10, 20))
    applying = asyncio.create_task(process.apply_commands())
    slices.ask(0, 1)
    ticking = asyncio.create_task(process.tick())
    await until_async(lambda: [19] in slices.pushed or [18, 19] in slices.pushed)
    assert slices.pushed.index([1]) < slices.pushed.index([12, 13])
    for task in (applying, ticking):
        task.cancel()


async def test_a_command_waits_for_one_part_of_a_large_answer_at_most(slices):
    parent_id = slices.grow(0, 1_000)
    applying = asyncio.create_task(slices.process.apply_commands())
    slices.ask_children(0, 7, parent_id)
    await until_async(lambda: [7] in slices.pushed)
    before = len(slices.pushed)
    slices.add(0, 1)
    await until_async(lambda: [1] in slices.pushed)
    assert slices.pushed.index([1]) - before <= 1
    await until_async(lambda: slices.pushed.count([7]) == 20)
    applying.cancel()


async def test_no_turn_of_the_loop_sees_a_command_whose_effects_have_not_left(slices):
    """So no snapshot does."""
    slices.add(0, *range(10, 16))
    process, positions = slices.process, set()
    applying = asyncio.create_task(process.apply_commands())
    while len(process.backlog):
        position = process.engine.partitions[0].store.meta.next_offset
        assert sum(map(len, slices.pushed)) == position
        positions.add(position)
        await asyncio.sleep(0)
    assert positions == {0, 2, 4}
    applying.cancel()


async def test_commands_that_the_process_has_given_back_are_dropped(slices):
    slices.add(0, 1, 2)
    await slices.process.revoked()
    assert len(slices.process.backlog) == 0
    assert slices.pushed == []


def records(*sizes: int) -> list[Record]:
    return [Record(0, offset, 1, None, bytes(size)) for offset, size in enumerate(sizes)]


async def test_a_backlog_is_bounded_and_says_when_there_is_room():
    backlog = Backlog(records_max=3)
    await backlog.room()
    backlog.add(0, 1, records(1, 1))
    assert backlog.has_room
    backlog.add(1, 1, records(1))
    assert not backlog.has_room
    reading = asyncio.create_task(backlog.room())
    await asyncio.sleep(0)
    assert not reading.done()
    waiting = backlog.take()
    assert (waiting.partition, len(waiting.records)) == (0, 2)
    await reading
    waiting.records.popleft()
    backlog.put_back(waiting)
    assert (len(backlog), backlog.take().partition) == (2, 1)


async def test_of_several_reads_of_a_partition_the_newest_counts():
    """What is left of an earlier one comes again with it; in between nothing may be missing."""
    backlog = Backlog()
    for read_number, count in ((1, 3), (2, 2), (1, 3), (2, 2)):
        backlog.add(0, read_number, records(*[1] * count))
    waiting = backlog.take()
    assert (waiting.read_number, len(waiting.records)) == (2, 4)


async def test_few_large_commands_are_a_full_backlog_too():
    backlog = Backlog(bytes_max=100)
    backlog.add(0, 1, records(60, 20))
    assert backlog.has_room
    backlog.add(0, 1, records(30))
    assert not backlog.has_room
    waiting = backlog.take()
    waiting.records.popleft()
    backlog.put_back(waiting)
    assert backlog.has_room
    backlog.add(0, 1, records(60))
    assert not backlog.has_room


async def test_an_empty_read_is_no_backlog():
    backlog = Backlog()
    backlog.add(0, 1, [])
    filled = asyncio.create_task(backlog.filled())
    await asyncio.sleep(0)
    assert not backlog
    assert not filled.done()
    filled.cancel()
