"""The backlog is read while the coordinator of its groups moves from broker to broker: whoever reads it lives on."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka import Consumer, ElectionType, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from backbeat.compose.local.kafka_cluster import REPLICATED, KafkaCluster
from backbeat.schemas.kafka.topics import COMMANDS
from tests.waiting import until

pytestmark = pytest.mark.prove

#: As a gateway does it: one client for all its life.
READER = """
import sys, time
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from backbeat.streams.kafka.queues import read_queues
admin = AdminClient({"bootstrap.servers": sys.argv[1], "log_level": 0})
while True:
    try:
        print(read_queues(admin, sys.argv[1]).commands.partitions[0].committed, flush=True)
    except (KafkaException, TimeoutError) as error:
        print("nothing:", error, flush=True)
    time.sleep(0.5)
"""
GROUP = "backbeat"


def test_whoever_reads_the_backlog_lives_on_when_the_coordinator_moves(tmp_path):
    settings = {**REPLICATED, "offsets.topic.num.partitions": "1", "auto.leader.rebalance.enable": "false"}
    with KafkaCluster(tmp_path / "kafka", 3, settings=settings) as cluster:
        servers = cluster.bootstrap_servers
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        admin.create_topics([NewTopic(COMMANDS, 1, 3)])[COMMANDS].result()
        consumer = Consumer({"bootstrap.servers": servers, "group.id": GROUP})
        until(lambda: COMMANDS in consumer.list_topics(timeout=60).topics, "the topic is there")
        consumer.commit(offsets=[TopicPartition(COMMANDS, 0, 7)], asynchronous=False)
        consumer.close()

        def coordinator():
            return admin.describe_consumer_groups([GROUP])[GROUP].result().coordinator.id

        first = coordinator()
        with (
            (tmp_path / "read").open("w") as output,
            subprocess.Popen([sys.executable, "-c", READER, servers], stdout=output, stderr=output) as reader,
        ):

            def read_again(count):
                before = len((tmp_path / "read").read_text().splitlines())

                def has_read():
                    assert reader.poll() is None, f"it has ended: {reader.poll()}"
                    lines = (tmp_path / "read").read_text().splitlines()[before:]
                    return lines.count("7") >= count

                until(has_read, "what was committed is read")

            try:
                read_again(2)
                cluster.brokers[first - 1].kill()
                read_again(2)
                cluster.brokers[first - 1].start()
                places = [TopicPartition("__consumer_offsets", 0)]

                def moved_back():
                    admin.elect_leaders(ElectionType.PREFERRED, places).result()
                    topics = admin.list_topics("__consumer_offsets", timeout=60).topics
                    return topics["__consumer_offsets"].partitions[0].leader == first

                until(moved_back, "the first broker coordinates again")
                read_again(3)
            finally:
                reader.kill()
