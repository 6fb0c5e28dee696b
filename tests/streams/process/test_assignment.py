"""What begins with an assignment, and what of an earlier one must not reach into it."""

from __future__ import annotations

from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.streams.input.reader import Read
from backbeat.streams.ports.deadline import Deadline
from backbeat.streams.ports.log import Record
from backbeat.streams.process.settings import EngineSettings
from tests.ports import Log, Reader, engine_process, settled


async def test_a_partition_that_was_paused_is_fetched_in_the_next_assignment(tmp_path):
    reader = Reader()
    process = engine_process(tmp_path, reader=reader)
    reader.pause(0)
    await process.assigned([0])
    await settled(process)
    assert reader.paused == set()
    process.engine.drop()


async def test_a_partition_is_read_from_its_position_whatever_is_in_hand(tmp_path):
    reader = Reader()
    process = engine_process(tmp_path, reader=reader, log=Log(position=7))
    await process.assigned([0])
    # Of an earlier read, perhaps: it says nothing of what lies between.
    process.engine.on_command(Record(0, 9, 0, None, None))
    await settled(process)
    ((number, offset, read_number),) = reader.reads
    assert (number, offset) == (0, 7)
    process.engine.read_again(0)
    assert reader.reads[1] == (0, 7, read_number + 1)
    # Of the read before: it may have begun further on, and what lies between would be passed over.
    pending = process.engine.partitions[0].pending
    pending.clear()
    for number, count in ((read_number, 0), (read_number + 1, 1)):
        process.take({(COMMANDS, 0): Read(number, [Record(0, 7, 0, None, None)])})
        process._slice()
        assert (len(process.backlog), len(pending)) == (0, count)
    process.engine.drop()


async def test_who_gives_partitions_back_has_no_more_time_than_the_group_waits(tmp_path):
    process = engine_process(tmp_path)
    process.committer._deadline = Deadline(10_000.0)
    await process.revoked()
    assert process.committer._deadline.left <= process.settings.rebalance_timeout_seconds


async def test_one_that_is_stopped_hands_over_what_others_have_within_seconds(tmp_path):
    process = engine_process(tmp_path, partitions=2)

    def hands_over(records_max: int) -> bool:
        process.settings = EngineSettings(instance_id="a", leave_records_max=records_max)
        return process.hands_over

    await process.assigned([0])
    await settled(process)
    store = process.engine.partitions[0].store
    for number in range(100):
        store._db[b"w" + number.to_bytes(15, "big")] = b"record"
    assert [hands_over(limit) for limit in (0, 50, 1_000)] == [False, False, True]
    # Nobody else is there: a group that is empty waits for others before it gives partitions to the next.
    process.partitions_count = 1
    assert not hands_over(1_000)
    process.engine.drop()
