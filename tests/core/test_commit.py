"""A commit: what it waits for, how long, and what of it ends the process."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from backbeat.streams.engine.deliveries import Deliveries
from backbeat.streams.engine.ports import Snapshot
from backbeat.streams.observe.histograms import CommitHistograms
from backbeat.streams.output.outbox import Outbox
from backbeat.streams.process import lifecycle as processes
from backbeat.streams.process.deadline import Deadline
from backbeat.streams.process.lifecycle import EngineProcess
from backbeat.streams.state.commit import CommitError, KafkaTransaction, Member, Written

MEMBER = Member("group", "engine", 1, "member")


class Producer:
    """Stands where librdkafka's producer does; full for as often as it is told."""

    def __init__(self, *, full: int = 0) -> None:
        self.full, self.sent, self.waits = full, [], []
        self.on_flush = lambda: None

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, report: Any = None, **named: Any) -> None:
        if self.full:
            self.full -= 1
            raise BufferError
        self.sent.append(value)
        report = report or named.get("on_delivery")
        if report is not None and named.get("on_delivery"):
            report(None, SimpleNamespace(offset=lambda: 7, partition=lambda: partition, timestamp=lambda: (2, 1)))

    def poll(self, _seconds: float) -> int:
        return 0

    def flush(self, seconds: float) -> int:
        self.waits.append(seconds)
        self.on_flush()
        return 0

    def begin_transaction(self) -> None:
        self.sent.append("begin")

    def abort_transaction(self, _seconds: float) -> None:
        self.sent.append("abort")

    def send_offsets_to_transaction(self, _positions: Any, _metadata: bytes, seconds: float) -> None:
        self.waits.append(seconds)

    def commit_transaction(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.sent.append("commit")


def transaction(producer: Producer) -> KafkaTransaction:
    made = KafkaTransaction("127.0.0.1:1", "t", 10.0)
    made._producer = producer
    return made


def snapshot() -> Snapshot:
    return Snapshot(0, 5, [(b"n", b"node"), (b"m", b"meta")], [], 0)


def test_what_the_loop_was_handed_meanwhile_is_waited_for():
    """The loop takes an undeliverable activity between the flush and the look: its command is not acknowledged yet."""
    outbox = Outbox("127.0.0.1:1", "t")
    run_sync, history = Producer(), Producer()
    outbox._at_once, outbox._history = run_sync, history
    made = Deliveries(outbox, None, hold_back=lambda _: None, was_away=lambda _: False)

    def meanwhile() -> None:
        history.on_flush = lambda: None
        outbox._failed(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), processes.topics.REPLIES, 0, b"k", b"v")
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


class _Ended(Exception):  # noqa: N818 - stands for the process's end
    """The process has ended."""


@pytest.mark.parametrize("error", [KafkaException(KafkaError(KafkaError._STATE)), ValueError("odd"), BufferError()])
async def test_whatever_a_commit_raises_ends_the_process_with_a_line(error, monkeypatch):
    reasons: list[str] = []

    def end(reason: str, *_: Any) -> None:
        reasons.append(reason)
        raise _Ended

    monkeypatch.setattr(processes, "end", end)
    made = EngineProcess.__new__(EngineProcess)
    made.deliveries = SimpleNamespace(flush=None)
    made.member, made.commits = MEMBER, CommitHistograms()
    made.stores = SimpleNamespace(commit_lock=asyncio.Lock(), revoking=False, write=None)
    made.settings = SimpleNamespace(commit_timeout_seconds=30.0, rebalance_timeout_seconds=15.0)
    made.engine = SimpleNamespace(flushes=[], unknown=[], snapshot=lambda **_: ([snapshot()], {}))
    made._committing, made._state_topic_id, made._transaction = None, "state", None

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(processes, "commit", fail)
    with pytest.raises(_Ended):
        await made.commit()
    assert reasons == [f"the commit failed: {error!r}"]
