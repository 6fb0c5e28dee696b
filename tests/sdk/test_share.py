"""What a worker of a share group says where it cannot be, and how it writes down what became of records."""

import sys

import pytest

from backbeat import BackbeatError, Worker
from backbeat.share_protocol import AckType, Who, acknowledge, batches_of, heartbeat


def test_a_broker_without_share_groups_is_refused_with_words() -> None:
    request = heartbeat("group", "member", 0, "topic")
    # As Kafka 4.0 has it: version 0 alone, of the early access; and one that has none.
    for versions in ({76: (0, 0)}, {}):
        with pytest.raises(BackbeatError, match=r'this Kafka has no share groups .* Worker\(delivery="group"\)'):
            request.prepare(versions)
    assert request.prepare({76: (1, 2)}) is request


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("backbeat.share_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiokafka.conn", None)
    with pytest.raises(BackbeatError, match=r"needs the package aiokafka\.conn.*pip install 'backbeat\[share\]'"):
        Worker(delivery="share")


def test_another_word_for_the_delivery_is_refused() -> None:
    with pytest.raises(BackbeatError, match='delivery is \'queue\'; it must be "group" or "share"'):
        Worker(delivery="queue")


def test_what_became_of_neighbours_is_said_together() -> None:
    accept, release = AckType.ACCEPT, AckType.RELEASE
    acks = {(1, 7): accept, (0, 5): accept, (0, 4): release, (0, 9): accept, (1, 6): accept}
    assert batches_of(acks) == [(0, 4, [2, 1]), (0, 9, [1]), (1, 6, [1, 1])]


def test_a_request_that_renews_says_so() -> None:
    who = Who("group", "member", "topic", bytes(16))
    assert not acknowledge(who, 3, [(0, 4, [1, 2])]).is_renewal
    assert acknowledge(who, 3, [(0, 4, [1]), (1, 4, [1, 4])]).is_renewal
