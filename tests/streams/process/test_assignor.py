"""Faust's assignor as the engines use it: shared evenly, kept where it was, and small enough for Kafka's group."""

from types import SimpleNamespace

import pytest
from faust.assignor.partition_assignor import PartitionAssignor
from yarl import URL

from backbeat.schemas.kafka.topics import COMMANDS, QUERIES
from backbeat.streams.process.faust_app import BalancedAssignor

#: Kafka keeps what all members say, and what they got, in one record: of `message.max.bytes`, 1 MiB.
RECORD_BYTES_MAX = 1024 * 1024


class Group:
    """Members of one group, each with its assignor; the first leads."""

    def __init__(self, engines, partitions):
        self.partitions = partitions
        self.members = {f"engine-{number}-{'f' * 32}": BalancedAssignor(self.app(number)) for number in range(engines)}
        self.said, self.got = {}, {}

    def app(self, number):
        nothing = SimpleNamespace(data={}, changelog_topics=set())
        sensors = SimpleNamespace(on_assignment_start=lambda *_: None, on_assignment_completed=lambda *_: None)
        url = URL(f"http://engine-{number}:6066")
        return SimpleNamespace(tables=nothing, sensors=sensors, tracer=None, conf=SimpleNamespace(canonical_url=url))

    def partitions_for_topic(self, _):
        return set(range(self.partitions))

    def balance(self, members):
        """One rebalance of these members."""
        self.said = {name: self.members[name].metadata({COMMANDS, QUERIES}) for name in members}
        self.got = self.members[members[0]].assign(self, self.said)
        for name, assignment in self.got.items():
            self.members[name].on_assignment(assignment)

    def partitions_of(self, name):
        topics = dict(self.got[name].assignment)
        assert topics[COMMANDS] == topics[QUERIES]
        return set(topics[COMMANDS])

    @property
    def record_bytes(self):
        return sum(len(metadata.encode()) for metadata in (*self.said.values(), *self.got.values()))


@pytest.mark.parametrize(("engines", "partitions"), [(4, 64), (100, 1_000)])
def test_the_group_fits_into_one_record_of_kafka(engines, partitions):
    group = Group(engines, partitions)
    names = list(group.members)
    group.balance(names)
    group.balance(names)
    assert group.record_bytes < RECORD_BYTES_MAX / 10
    assert {len(group.partitions_of(name)) for name in names} == {partitions // engines}


def test_an_engine_that_comes_takes_its_share_and_no_more():
    group = Group(5, 60)
    names = list(group.members)
    group.balance(names[:4])
    before = {name: group.partitions_of(name) for name in names[:4]}
    group.balance(names)
    after = {name: group.partitions_of(name) for name in names}
    assert {len(own) for own in after.values()} == {12}
    assert set().union(*after.values()) == set(range(60))
    assert all(after[name] < before[name] for name in names[:4])


class AssignorBefore(PartitionAssignor):
    """As of engines that tell their group of each other's partitions."""

    def __init__(self, app):
        super().__init__(app, replicas=0)


@pytest.mark.parametrize("before", [0, 1])
def test_engines_that_tell_more_share_evenly_with_those_that_do_not(before):
    """A rolling upgrade: one of either version leads, and then one of the other."""
    group = Group(6, 60)
    names = list(group.members)
    for number, name in enumerate(names):
        if number % 2 == before:
            group.members[name] = AssignorBefore(group.app(number))
    group.balance(names)
    shares = {name: group.partitions_of(name) for name in names}
    assert {len(own) for own in shares.values()} == {10}
    for leader in (1, 0):
        group.balance(names[leader:] + names[:leader])
        assert {name: group.partitions_of(name) for name in names} == shares
