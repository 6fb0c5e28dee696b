"""Two to five engines share the partitions: they come, go, and are killed, while commands flow."""

import json
import uuid

import msgspec
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.compose.local.stack import CLIENT_DEFAULT
from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, STATE, activities_topic
from backbeat.schemas.messages import ids, views
from backbeat.streams.core.records import Meta
from backbeat.streams.ports.transaction_ids import instance_of
from backbeat.streams.state.commit import Member
from tests.empty_kafka import engine_of, group_of, stack_on
from tests.integration import chaos
from tests.integration.caller import Caller, node_of
from tests.integration.hand import Hand
from tests.integration.ledger import Ledger
from tests.integration.load import Load
from tests.integration.rig import START_SECONDS_MAX, running, user_of
from tests.integration.storm import ENGINE_ENV
from tests.integration.topic import state
from tests.waiting import until

PARTITIONS = 8


class Group:
    """Who has which partitions, by the group and by the records that were committed."""

    def __init__(self, stack):
        self.stack = stack
        self.kafka = kafka = stack.bootstrap_servers
        self.id = group_of(stack)
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})

    def owners(self):
        """The owner of each partition, once every member has commands and queries of the same ones; else None."""
        description = self._admin.describe_consumer_groups([self.id], request_timeout=120)[self.id].result()
        owners = {}
        for member in description.members:
            places = member.assignment.topic_partitions
            commands, queries = (
                {place.partition for place in places if place.topic == topic} for topic in (COMMANDS, QUERIES)
            )
            if commands != queries:
                return None
            owners |= dict.fromkeys(commands, member.group_instance_id)
        return owners if sorted(owners) == list(range(PARTITIONS)) else None

    def members(self):
        """The instance ids of those that are in the group, whatever it does."""
        description = self._admin.describe_consumer_groups([self.id], request_timeout=120)[self.id].result()
        return {member.group_instance_id for member in description.members}

    def wait_for(self, *engines):
        """The owners, once these engines and no others share the partitions."""

        names = {engine_of(self.stack, number) for number in engines}

        def shared():
            owners = self.owners()
            return owners if owners and set(owners.values()) == names else None

        return until(shared, f"engines {engines} share the partitions: {self.owners()}", 120)

    def committers(self):
        """Who committed each partition last."""
        metas = [msgspec.msgpack.decode(records[b"m"], type=Meta) for records in state(self.kafka, STATE)]
        return {number: instance_of(self.id, meta.transactional_id) for number, meta in enumerate(metas)}


def subject_of(partition):
    numbered = (json.dumps(f"Lens {number}").encode() for number in range(10_000))
    return next(
        name for name in numbered if ids.partition_of(ids.murmur2(name).to_bytes(4, "big"), PARTITIONS) == partition
    )


def test_queries_and_commands_of_a_partition_are_always_with_the_same_engine(kafka, tmp_path):
    with running(stack_on(kafka, data_dir=tmp_path, engines=2, partitions=PARTITIONS, env=ENGINE_ENV)) as stack:
        user = user_of(kafka)
        group = Group(stack)
        caller, asking = (Caller(kafka, user, PARTITIONS) for _ in range(2))
        load = Load(caller, asking, 1, subjects=20, count=10**9, per_second=25)
        hand = Hand(caller, CLIENT_DEFAULT, load.behave)
        ledger = Ledger(kafka, {user: activities_topic(CLIENT_DEFAULT)})

        def check(*engines):
            """Commands and queries of every partition are answered, and its owner by the group is who commits it."""

            def checked():
                owners = group.wait_for(*engines)
                for partition in range(PARTITIONS):
                    signal = caller.signal(subject_of(partition), retry_interval_seconds=0.3)
                    assert caller.ask(signal).id == node_of(signal)
                    assert isinstance(asking.node(node_of(signal)), views.NodeView)
                    asking.commit(partition)
                # One that was killed is in the group until it is back, and partitions may move once more then.
                return owners if group.owners() == owners == group.committers() else None

            owners = until(checked, f"engines {engines} commit what they own", START_SECONDS_MAX)
            print(f"{len(engines)} engines: {owners}", flush=True)

        try:
            check(0, 1)
            stack.wait_ready(stack.add_engine(), START_SECONDS_MAX)
            check(0, 1, 2)
            for added in [stack.add_engine(), stack.add_engine()]:
                stack.wait_ready(added, START_SECONDS_MAX)
            check(0, 1, 2, 3, 4)
            stack.stop_engine(3)
            # Its partitions do not wait for the end of its session.
            assert engine_of(stack, 3) not in group.members()
            stack.kill_engine(2)
            check(0, 1, 2, 4)
            stack.stop_engine(0)
            stack.stop_engine(1)
            check(2, 4)
            stack.start_engine(1)
            check(1, 2, 4)
            load.end()
            load.join()
            chaos.wait_until_done(stack, ledger)
            chaos.settle(asking, ledger, stack)
            chaos.compare(ledger, asking, caller, load)
        finally:
            load.end()
            load.join()
            hand.close()
            for part in (caller, asking, ledger):
                part.close()


def test_metadata_of_a_member_is_written_as_librdkafka_writes_it(kafka, unique):
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    admin.create_topics([NewTopic(unique, num_partitions=1, replication_factor=1)])[unique].result(120)
    group, instance = f"group-{unique}", f"instance-{uuid.uuid4().hex}"
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": group, "group.instance.id": instance, "log_level": 0})
    consumer.subscribe([unique])

    def member_of():
        consumer.poll(0.1)
        return consumer.assignment() and consumer.memberid()

    member_id = until(member_of, "the consumer has joined")
    # The first of a new group: its generation is 1.
    assert Member(group, instance, 1, member_id).metadata() == consumer.consumer_group_metadata()
    consumer.close()
