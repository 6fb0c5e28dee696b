"""What a worker of a share group says where it cannot be, and how it writes down what became of records."""

import sys

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from backbeat import BackbeatError, Worker
from backbeat.delivery.share.protocol import AckType, MemberIdentity, acknowledge, batches_of, heartbeat
from backbeat.delivery.share.session import Session


def test_a_broker_without_share_groups_is_refused_with_words() -> None:
    request = heartbeat("group", "member", 0, "topic")
    # As Kafka 4.0 has it: version 0 alone, of the early access; and one that has none.
    for versions in ({76: (0, 0)}, {}):
        with pytest.raises(BackbeatError, match=r'this Kafka has no share groups .* Worker\(delivery="group"\)'):
            request.prepare(versions)
    assert request.prepare({76: (1, 2)}) is request


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("backbeat.delivery.share.")]:
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
    who = MemberIdentity("group", "member", "topic", bytes(16))
    assert not acknowledge(who, 3, [(0, 4, [1, 2])]).is_renewal
    assert acknowledge(who, 3, [(0, 4, [1]), (1, 4, [1, 4])]).is_renewal


def batch_of(*offsets: int) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 10_000)
    for offset in offsets:
        builder.append(offset, 1, b"key", b"%d" % offset, [])
    return bytes(builder.build())


def test_an_offset_without_a_record_is_a_gap_and_one_that_did_not_come_is_given_back() -> None:
    session = Session(None, 1)
    taken = session._acquire(0, batch_of(0, 1, 3), [(0, 2, 1, {}), (3, 4, 2, {})], 0.0)
    assert [(record.lock.place, record.value, record.delivery_count) for record in taken] == [
        ((0, 0), b"0", 1),
        ((0, 1), b"1", 1),
        ((0, 3), b"3", 2),
    ]
    assert session._acks == {(0, 2): AckType.GAP, (0, 4): AckType.RELEASE}


def test_records_that_cannot_be_read_end_the_worker_before_they_count_as_delivered_too_often() -> None:
    raw = bytearray(batch_of(0))
    raw[22] |= 3  # as if they were compressed
    with pytest.raises(BackbeatError, match="records cannot be read"):
        Session(None, 1)._acquire(0, bytes(raw), [(0, 0, 1, {})], 0.0)
