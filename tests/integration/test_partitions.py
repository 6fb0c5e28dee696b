"""The same key is in the same partition, whoever sends it: both client libraries, and ids that carry their route."""

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.schemas.messages import ids


@pytest.mark.parametrize("count", [1, 7, 8])
def test_the_same_key_is_in_the_same_partition(kafka, unique, count):
    topic = f"{unique}-{count}"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(topic, num_partitions=count, replication_factor=1)])[topic].result(120)
    source = random.Random(count)
    keys = [source.randbytes(source.randrange(1, 60)) for _ in range(500)]
    keys += ['"Kamera Grün 703"'.encode(), b'{"a":1}', b"null", b"\x00", b"\xff" * 4]
    partitions = {}

    def delivered(error, message):
        assert error is None
        partitions[message.key()] = message.partition()

    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", "log_level": 0})
    for key in keys:
        producer.produce(topic, b"", key, on_delivery=delivered)
    assert producer.flush(120) == 0
    numbers = list(range(count))
    for key in keys:
        identity = ids.murmur2(key).to_bytes(4, "big")
        assert partitions[key] == ids.partition_of(identity, count) == DefaultPartitioner()(key, numbers, numbers)


def test_a_workflow_and_its_nodes_are_where_their_subject_is():
    subject = b'"Camera 703"'
    workflow = ids.workflow_id(b"u" * 16, "Purchases", subject)
    node = ids.node_id(workflow, b"c" * 16, 3)
    for count in range(1, 100):
        numbers = list(range(count))
        place = DefaultPartitioner()(subject, numbers, numbers)
        assert {ids.partition_of(workflow, count), ids.partition_of(node, count)} == {place}
