"""A commit: what it waits for, how long, and what of it ends the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.schemas.kafka.topics import COMMANDS, REPLIES
from backbeat.streams.input.reader import Read
from backbeat.streams.output.commands import CommandSender
from backbeat.streams.output.deliveries import Deliveries
from backbeat.streams.output.outbox import Outbox
from backbeat.streams.ports.deadline import Deadline
from backbeat.streams.ports.log import Record
from backbeat.streams.ports.state import Snapshot
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.commit import CommitError, KafkaTransaction, Member, Written
from tests.ports import Ended, Producer, Reader, engine_process, settled
from tests.waiting import until_async

MEMBER = Member("group", "engine", 1, "member")


def transaction(producer: Producer) -> KafkaTransaction:
    return KafkaTransaction("127.0.0.1:1", "t", 10.0, make_producer=lambda _: producer)


def snapshot() -> Snapshot:
    return Snapshot(0, 5, [(b"n", b"node"), (b"m", b"meta")], [], 0)


def test_what_the_loop_was_handed_meanwhile_is_waited_for():
    """The loop takes an undeliverable activity between the flush and the look: its command is not acknowledged yet."""
    history = Producer()
    producers = [history, Producer()]
    outbox = Outbox("127.0.0.1:1", "t", make_producer=lambda _: producers.pop())
    made = Deliveries(outbox, CommandSender(outbox, 1), hold_back=lambda _: None, was_away=lambda _: False)

    def meanwhile() -> None:
        history.on_flush = lambda: None
        outbox._failed(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), REPLIES, 0, b"k", b"v")
        assert made.take_undelivered()

    history.on_flush = meanwhile
    assert not made._flush_once(1.0)
    assert made._flush_once(1.0)


def test_a_full_queue_is_waited_for_by_every_record():
    for full in (1, 3):
        producer = Producer(full=full)
        written = transaction(producer).run([snapshot()], MEMBER, Deadline(5.0))
        assert producer.sent == ["begin", b"node", b"meta", "commit"]
        assert written[0].next_offset == 8


def test_a_queue_that_stays_full_ends_the_commit():
    with pytest.raises(CommitError, match="are not taken"):
        transaction(Producer(full=10**9)).run([snapshot()], MEMBER, Deadline(0.0))


def test_the_steps_of_a_commit_share_one_deadline():
    producer = Producer()
    deadline = Deadline(30.0)
    deadline.bring_forward(15.0)
    transaction(producer).run([snapshot()], MEMBER, deadline)
    assert len(producer.waits) == 3
    assert max(producer.waits) <= 15.0
    assert producer.waits == sorted(producer.waits, reverse=True)


def test_what_the_library_raises_within_a_report_is_said_as_what_it_was():
    producer = Producer()

    def fenced(*_: Any) -> None:
        error = KafkaException(KafkaError(KafkaError._FENCED, "fenced by a newer instance"))
        raise SystemError("<class 'str'> returned a result with an exception set") from error

    producer.commit_transaction = fenced
    with pytest.raises(CommitError, match="fenced by a newer instance"):
        transaction(producer).run([snapshot()], MEMBER, Deadline(5.0))


def refuses(producer: Producer, code: int, times: int) -> None:
    """The group's coordinator refuses the positions this often, and the library gives the transaction up."""
    left, taken = [KafkaError(code, txn_requires_abort=True)] * times, producer.send_offsets_to_transaction

    def send(*arguments: Any) -> None:
        if left:
            raise KafkaException(left.pop())
        taken(*arguments)

    producer.send_offsets_to_transaction = send


@pytest.mark.parametrize("code", [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS])
def test_a_transaction_that_a_starting_coordinator_refused_is_done_again(code):
    producer = Producer()
    refuses(producer, code, 2)
    assert transaction(producer).run([snapshot()], MEMBER, Deadline(60.0)) == {0: Written(8)}
    whole = ["begin", b"node", b"meta"]
    assert producer.sent == [*whole, "abort", *whole, "abort", *whole, "commit"]


def test_a_coordinator_that_refuses_for_good_ends_the_commit():
    producer = Producer()
    refuses(producer, KafkaError.NOT_COORDINATOR, 100)
    with pytest.raises(CommitError):
        transaction(producer).run([snapshot()], MEMBER, Deadline(0.0))
    refuses(producer, KafkaError.ILLEGAL_GENERATION, 1)
    with pytest.raises(CommitError):
        transaction(producer).run([snapshot()], MEMBER, Deadline(60.0))
    assert "abort" not in producer.sent


def test_while_the_brokers_are_away_no_deadline_counts():
    producer, away = Producer(), [True] * 7
    made = transaction(producer)
    made._was_away = lambda _: bool(away and away.pop())
    left = [1] * 4

    def unacknowledged(seconds: float) -> int:
        producer.waits.append(seconds)
        return left.pop() if left else 0

    producer.flush = unacknowledged
    made.run([snapshot()], MEMBER, Deadline(0.0))
    assert away == [True]
    away.clear()
    left.append(1)
    with pytest.raises(CommitError, match="not acknowledged"):
        made.run([snapshot()], MEMBER, Deadline(0.0))


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError._STATE)), ValueError("odd"), BufferError()])
async def test_whatever_a_commit_raises_ends_the_process_with_a_line(error, tmp_path):
    producer = Producer()

    def fail() -> None:
        raise error

    producer.on_flush = fail
    process = engine_process(tmp_path, effects_producer=lambda _: producer)
    process.committer.member = MEMBER
    await process.assigned([0])
    await settled(process)
    with pytest.raises(Ended) as ended:
        await process.committer.commit(touch=True)
    assert str(ended.value) == f"the commit failed: {error!r}"
    process.engine.drop()


def test_a_full_queue_is_waited_for_by_the_flush_and_not_by_who_sends():
    """Whoever sends is the event loop."""
    producer = Producer(full=10**9)
    outbox = Outbox("127.0.0.1:1", "t", make_producer=lambda _: producer)
    for value in (b"1", b"2"):
        outbox.send(REPLIES, value)
    producer.full = 0
    outbox.send(REPLIES, b"3")  # It does not overtake them.
    assert (producer.sent, outbox.under_way, outbox.is_congested) == ([], 3, True)
    producer.full = 1
    assert not outbox.flush(0.0)
    assert outbox.flush(60.0)
    assert (producer.sent, outbox.under_way, outbox.is_congested) == ([b"1", b"2", b"3"], 0, False)


async def test_a_full_queue_holds_commands_back_and_the_loop_goes_on(tmp_path):
    producer, reader = Producer(full=10**9), Reader()
    process = engine_process(tmp_path, effects_producer=lambda _: producer, reader=reader)
    await process.assigned([0])
    await settled(process)
    process.lease.heard(process.host_clock.monotonic())
    tasks = [asyncio.create_task(process.tick()), asyncio.create_task(process.apply_commands())]
    ((_, _, read_number),) = reader.reads
    unreadable = [Record(0, offset, 1, None, b"no command") for offset in range(2)]
    # Its dead letter finds no room.
    process.take({(COMMANDS, 0): Read(read_number, unreadable[:1])})
    await _rounds(process)
    process.take({(COMMANDS, 0): Read(read_number, unreadable[1:])})
    await _rounds(process)
    assert (process.engine.counts["commands"], producer.sent) == (1, [])
    producer.full = 0
    await until_async(lambda: len(producer.sent) == 2)
    assert process.engine.counts["commands"] == 2
    for task in tasks:
        task.cancel()
    process.engine.drop()


async def test_commands_wait_until_nobody_holds_them_back(tmp_path):
    """A disk that is full, and a flush meanwhile that comes to its end."""
    gate = engine_process(tmp_path).gate
    for waits in (True, True, False):
        gate.hold_back(waits)
    await asyncio.sleep(0)
    passing = asyncio.create_task(gate.wait())
    await asyncio.sleep(0)
    assert not passing.done()
    gate.hold_back(False)
    await passing


async def _rounds(process: EngineProcess) -> None:
    """A round of the loop that begins after now has ended."""
    rounds = process.rounds
    await until_async(lambda: process.rounds > rounds + 1)
