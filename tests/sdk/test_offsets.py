from confluent_kafka import TopicPartition
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
    """What a consumer was told to commit."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int]] = []

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> None:
        del asynchronous
        self.said += [(offset.partition, offset.offset) for offset in offsets]


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
