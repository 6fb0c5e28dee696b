"""Transactions and changelogs: what is committed, what is fenced, and what of a dead process stands open."""

from __future__ import annotations

from typing import Any

import pytest

from backbeat.schemas.kafka.topics import STATE
from backbeat.streams.ports.deadline import Deadline
from backbeat.streams.ports.state import Snapshot
from backbeat.streams.ports.transaction_ids import transactional_id
from backbeat.streams.state.commit import CommitError, KafkaTransaction
from tests.waiting import until

pytestmark = pytest.mark.integration

Records = list[tuple[bytes, bytes | None]]


def transaction(world: Any, instance_id: str) -> KafkaTransaction:
    """The transaction of a process that has just begun."""
    identity = transactional_id(world.group, instance_id)
    made = KafkaTransaction("", identity, 60.0, make_producer=world.producer)
    made.init(120)
    return made


def snapshot(position: int, *records: tuple[bytes, bytes | None], partition: int = 0) -> Snapshot:
    return Snapshot(partition, position, [*records, (b"m", b"meta")], [], 0)


def read(world: Any, changelog: Any, begin: int, partition: int = 0) -> Records:
    """All committed records from an offset to the end that a read_uncommitted reader sees."""
    world.settle()
    records, position = [], begin

    def at_end() -> bool:
        nonlocal position
        more, position = changelog.read(partition, position)
        records.extend(more)
        return position >= changelog.state_ends(partition).end

    until(at_end, "the changelog is read")
    return records


def test_records_and_positions_are_committed_together(world):
    begins = [world.end(STATE, number) for number in range(2)]
    member, changelog = world.join("a"), world.changelog("a")
    snapshots = [
        snapshot(5, (b"n1", b"node"), (b"n2", None)),
        snapshot(9, (b"n3", b"node"), partition=1),
    ]
    written = transaction(world, "a").run(snapshots, member, Deadline(120.0))
    assert read(world, changelog, begins[0]) == [(b"n1", b"node"), (b"n2", None), (b"m", b"meta")]
    assert read(world, changelog, begins[1], 1) == [(b"n3", b"node"), (b"m", b"meta")]
    # Behind what was written come markers alone.
    assert [written[number].next_offset - begins[number] for number in range(2)] == [3, 2]
    assert read(world, changelog, written[0].next_offset) == []
    assert [changelog.committed_position(number) for number in range(3)] == [5, 9, None]
    changelog.close()


def test_a_process_whose_id_another_one_has_taken_commits_nothing(world):
    begin = world.end(STATE, 0)
    member, changelog = world.join("a"), world.changelog("a")
    earlier, later = transaction(world, "a"), transaction(world, "a")
    with pytest.raises(CommitError):
        earlier.run([snapshot(5, (b"n", b"earlier"))], member, Deadline(120.0))
    later.run([snapshot(6, (b"n", b"later"))], member, Deadline(120.0))
    assert read(world, changelog, begin) == [(b"n", b"later"), (b"m", b"meta")]
    assert changelog.committed_position(0) == 6
    changelog.close()


@pytest.mark.parametrize("stale", [{"generation": 7}, {"member_id": "another"}])
def test_a_membership_that_is_over_commits_nothing(world, stale):
    begin = world.end(STATE, 0)
    member, changelog = world.join("a"), world.changelog("a")
    with pytest.raises(CommitError):
        transaction(world, "a").run([snapshot(5, (b"n", b"stale"))], member._replace(**stale), Deadline(120.0))
    # The next process with this id aborts what stands open.
    transaction(world, "a")
    assert read(world, changelog, begin) == []
    assert changelog.committed_position(0) is None
    changelog.close()


def test_the_open_transaction_of_a_dead_process_is_waited_for_until_it_is_aborted(world):
    begin = world.end(STATE, 0)
    identity = transactional_id(world.group, "dead")
    producer = world.producer({"transactional.id": identity})
    producer.init_transactions(120)
    producer.begin_transaction()
    producer.produce(STATE, b"node", b"n", 0)
    assert producer.flush(120) == 0
    changelog = world.changelog("a")
    assert changelog.state_ends(0).end == begin + 1
    for _ in range(3):
        assert changelog.read(0, begin) == ([], begin)
    world.join("alive")
    assert not changelog.abort_open_transaction(transactional_id(world.group, "alive"))
    assert not changelog.abort_open_transaction(transactional_id(world.group, "a"))  # Its own.
    assert changelog.abort_open_transaction(identity)
    assert read(world, changelog, begin) == []
    changelog.close()
