"""The reader of commands and queries: the simulator's does what the real one does."""

from __future__ import annotations

import pytest

from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.ports.log import Record
from tests.conformance.worlds import take
from tests.waiting import until_async

pytestmark = pytest.mark.integration


def values(records: list[Record]) -> list[bytes | None]:
    return [record.value for record in records]


async def test_a_partition_is_read_from_the_given_offset_with_the_number_of_the_read(world):
    begin = world.end(COMMANDS, 0)
    world.write(COMMANDS, 0, b"0", b"1", b"2")
    reader = world.reader()
    reader.read_commands(0, begin + 1, 7)
    ((where, records),) = (await take(world, 2)).items()
    assert where == (COMMANDS, 0, 7)
    assert [(record.partition, record.offset, record.key, record.value) for record in records] == [
        (0, begin + 1, b"key", b"1"),
        (0, begin + 2, b"key", b"2"),
    ]
    assert all(record.timestamp > 0 for record in records)
    world.write(COMMANDS, 0, b"3")
    assert values((await take(world, 1))[COMMANDS, 0, 7]) == [b"3"]


async def test_a_new_read_takes_the_place_of_the_one_before(world):
    begin = world.end(COMMANDS, 0)
    world.write(COMMANDS, 0, b"0", b"1")
    reader = world.reader()
    reader.read_commands(0, begin + 1, 1)
    assert values((await take(world, 1))[COMMANDS, 0, 1]) == [b"1"]
    reader.read_commands(0, begin, 2)
    world.write(COMMANDS, 0, b"2")
    taken: list[bytes | None] = []
    # What the earlier read has brought until then says so.
    while len(taken) < 3:
        taken += values((await take(world, 1)).get((COMMANDS, 0, 2), []))
    assert taken == [b"0", b"1", b"2"]


async def test_records_of_a_forgotten_partition_do_not_come(world):
    begins = [world.end(COMMANDS, number) for number in range(2)]
    for number in range(2):
        world.write(COMMANDS, number, b"0", b"1")
    reader = world.reader()
    for number in range(2):
        reader.read_commands(number, begins[number], 1)
    await take(world, 1)
    reader.forget()
    reader.read_commands(1, begins[1], 2)
    world.write(COMMANDS, 0, b"2")
    world.write(COMMANDS, 1, b"2")
    taken = await take(world, 3)
    assert {where: values(records) for where, records in taken.items()} == {(COMMANDS, 1, 2): [b"0", b"1", b"2"]}


async def test_a_paused_partition_comes_once_it_is_resumed(world):
    begins = [world.end(COMMANDS, number) for number in range(2)]
    reader = world.reader()
    for number in range(2):
        reader.read_commands(number, begins[number], number + 1)
    world.write(COMMANDS, 0, b"before")
    await take(world, 1)
    reader.pause(0)
    # Behind the pause, which the reader may carry out later.
    world.write(COMMANDS, 1, b"a")
    await take(world, 1)
    world.write(COMMANDS, 0, b"paused")
    world.write(COMMANDS, 1, b"b")
    assert list(await take(world, 1)) == [(COMMANDS, 1, 2)]
    reader.resume(0)
    assert values((await take(world, 1))[COMMANDS, 0, 1]) == [b"paused"]


async def test_a_paused_partition_stays_paused_in_the_next_assignment(world):
    """So the process resumes each partition that it restores."""
    begins = [world.end(COMMANDS, number) for number in range(2)]
    reader = world.reader()
    reader.read_commands(0, begins[0], 1)
    world.write(COMMANDS, 0, b"0")
    await take(world, 1)
    reader.pause(0)
    reader.forget()
    for number in range(2):
        reader.read_commands(number, begins[number], number + 2)
    for value in (b"1", b"2", b"3", b"4", b"5"):
        world.write(COMMANDS, 1, value)
        assert list(await take(world, 1)) == [(COMMANDS, 1, 3)]
    reader.resume(0)
    assert values((await take(world, 1))[COMMANDS, 0, 2]) == [b"0"]


async def test_queries_begin_where_the_group_has_come_to_or_at_the_beginning(world):
    first = world.end(QUERIES, 1)
    world.write(QUERIES, 0, b"0")
    world.write(QUERIES, 1, b"0", b"1")
    world.read_queries_to(1, first + 1)
    reader = world.reader()
    reader.read_queries([1])
    assert values((await take(world, 1))[QUERIES, 1, 0]) == [b"1"]
    reader.read_queries([0])
    assert (await take(world, 1))[QUERIES, 0, 0][0].offset == 0


async def test_markers_of_transactions_take_offsets_and_are_no_records(world):
    begin = world.end(COMMANDS, 2)
    world.write_in_transaction(2, b"0")
    world.write(COMMANDS, 2, b"1")
    reader = world.reader()
    reader.read_commands(2, begin, 1)
    records = (await take(world, 2))[COMMANDS, 2, 1]
    assert [(record.offset - begin, record.value) for record in records] == [(0, b"0"), (2, b"1")]
    world.write_in_transaction(2, b"2")
    await take(world, 1)
    assert await until_async(lambda: reader.end_of_commands(2) == begin + 5)


def test_the_first_record_from_an_offset_on_is_found_behind_markers(world):
    begin = world.end(COMMANDS, 2)
    world.write_in_transaction(2, b"0")
    assert world.first_data(2, begin) == begin
    assert world.first_data(2, begin + 1) == begin + 2  # The end of the log.
    world.write(COMMANDS, 2, b"1", b"2")
    assert world.first_data(2, begin + 1) == begin + 2
    assert world.first_data(2, begin + 3) == begin + 3
