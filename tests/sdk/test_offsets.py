import logging

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from backbeat.delivery.offsets import Offsets
from backbeat.delivery.positions import Positions


def test_nothing_taken_is_nothing_to_commit() -> None:
    offsets = Offsets("t", 0)
    assert offsets.mark is offsets.committed is None


def test_the_mark_stops_at_the_first_that_is_not_answered() -> None:
    offsets = Offsets("t", 0)
    for offset in (5, 6, 9):
        offsets.taken(offset)
    assert offsets.mark == offsets.committed == 5
    offsets.answered(6)
    assert offsets.mark == 5
    offsets.answered(5)
    assert offsets.mark == 7
    offsets.answered(9)
    assert offsets.mark == 10


@given(st.sets(st.integers(0, 10_000), min_size=1), st.randoms(use_true_random=False))
def test_in_any_order_the_mark_is_the_first_open_one(taken: set[int], random: object) -> None:
    offsets = Offsets("t", 0)
    for offset in sorted(taken):
        offsets.taken(offset)
    left = sorted(taken)
    order = list(left)
    random.shuffle(order)
    for offset in order:
        offsets.answered(offset)
        left.remove(offset)
        # Where there is no record between two, either mark says the same.
        assert not any(offsets.mark <= open_offset < (left[0] if left else offsets.mark) for open_offset in taken)
        assert offsets.mark <= (left[0] if left else max(taken) + 1)
    assert offsets.mark == max(taken) + 1


class Commits:
    """Consumer that notes its commits, and refuses the first ones: one for each of these reasons."""

    def __init__(self, *refusals: int) -> None:
        self.said: list[tuple[int, int]] = []
        self.refusals = list(refusals)

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        del asynchronous
        if self.refusals:
            raise KafkaException(KafkaError(self.refusals.pop(0)))
        self.said += [(offset.partition, offset.offset) for offset in offsets]
        return offsets


def test_a_commit_that_may_have_been_refused_is_said_again_when_the_partition_goes() -> None:
    positions, consumer = Positions(), Commits()
    positions.assign([TopicPartition("t", 0), TopicPartition("t", 1)])
    taken = positions.get("t", 0)
    taken.taken(4)
    taken.answered(4)
    for _ in range(2):
        positions.commit(consumer, wait=False)
    assert consumer.said == [(0, 5)]

    gone = positions.forget([TopicPartition("t", 0), TopicPartition("t", 1)])
    positions.commit(consumer, gone, wait=True)
    assert consumer.said == [(0, 5), (0, 5)]
    assert taken.revoked


def answered() -> Positions:
    positions = Positions()
    positions.assign([TopicPartition("t", 0)])
    offsets = positions.get("t", 0)
    offsets.taken(4)
    offsets.answered(4)
    return positions


def test_the_last_commit_is_repeated_while_other_members_come_and_leave() -> None:
    consumer = Commits(KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION)
    answered().commit(consumer, wait=True)
    assert consumer.said == [(0, 5)]


@pytest.mark.parametrize("reason", [KafkaError.UNKNOWN_MEMBER_ID, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_a_commit_that_is_refused_for_good_is_not_repeated(reason: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    consumer = Commits(reason)
    answered().commit(consumer, wait=True)
    assert consumer.said == []
    assert "t/0 is not committed" in caplog.text


def test_a_group_that_never_agrees_ends_the_repetition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backbeat.delivery.positions._REFUSED_SECONDS_MAX", 0.05)
    consumer = Commits(*[KafkaError.REBALANCE_IN_PROGRESS] * 10_000)
    answered().commit(consumer, wait=True)
    assert consumer.said == []
    assert consumer.refusals
