"""Groups as a real coordinator describes them; and whoever asks lives on where it does not answer."""

import json
import signal
import socket
import subprocess
import sys

import psutil
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import RequestTimedOutError
from confluent_kafka import Consumer

from backbeat.compose.local.kafka import KafkaBroker
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.committed import commit_offsets, committed_offsets
from backbeat.schemas.kafka.groups import describe_group
from tests.waiting import until

pytestmark = pytest.mark.integration

#: Asks again and again, each time for as long as is given, and says when it was answered or not in time.
ASKER = """
import sys
from confluent_kafka import KafkaException
from backbeat.schemas.kafka.groups import describe_group
while True:
    try:
        print(describe_group(sys.argv[1], "group", 1.0).state, flush=True)
    except KafkaException as error:
        print("no answer", flush=True)
"""


def test_a_group_is_described_with_its_members(kafka, unique):
    topics.ensure_topics(kafka, 2, 1, development=True)
    settings = {"bootstrap.servers": kafka, "group.id": unique, "group.instance.id": "first"}
    consumer = Consumer(settings)
    consumer.subscribe([topics.COMMANDS])
    until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "it has its partitions")
    group = describe_group(kafka, unique)
    (member,) = group.members
    assert (group.state, member.instance_id, member.host) == ("Stable", "first", "127.0.0.1")
    assert sorted(member.partitions) == [(place.topic, place.partition) for place in sorted(consumer.assignment())]
    consumer.close()


def test_a_group_that_nobody_is_in_has_no_members(kafka, unique):
    group = describe_group(kafka, unique)
    assert (group.state, group.members) == ("Dead", [])


def test_a_position_is_committed_for_a_group_without_members(kafka, unique):
    topics.ensure_topics(kafka, 2, 1, development=True)
    commit_offsets(kafka, unique, topics.COMMANDS, {0: 3, 1: 5}, 60.0)
    assert committed_offsets(kafka, [unique]) == {unique: {(topics.COMMANDS, 0): 3, (topics.COMMANDS, 1): 5}}


def test_a_broker_that_stands_does_not_take_the_time_of_the_others(kafka, unique):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        servers = f"127.0.0.1:{silent.getsockname()[1]},{kafka}"
        # Which of both is asked first is drawn each time.
        assert {describe_group(servers, unique, 9.0).state for _ in range(5)} == {"Dead"}


def test_a_request_that_is_not_answered_in_time_is_made_again(kafka, unique, monkeypatch):
    lookup, late = AIOKafkaClient.coordinator_lookup, [RequestTimedOutError]

    async def looked_up(client, kind, key):
        if late:
            raise late.pop()
        return await lookup(client, kind, key)

    monkeypatch.setattr(AIOKafkaClient, "coordinator_lookup", looked_up)
    assert describe_group(kafka, unique).state == "Dead"


def test_whoever_asks_lives_on_where_the_coordinator_does_not_answer_in_time(tmp_path):
    with (
        KafkaBroker(tmp_path / "kafka") as broker,
        (tmp_path / "asked").open("w") as output,
        subprocess.Popen([sys.executable, "-c", ASKER, broker.bootstrap_servers], stdout=output) as asker,
    ):
        java = psutil.Process(json.loads((broker.data_dir / "kafka.pid").read_text())["pid"])

        def comes(line):
            """Wait for a line more."""
            before = (tmp_path / "asked").read_text().count(line)

            def has_come():
                assert asker.poll() is None, f"it has ended: {asker.poll()}"
                return (tmp_path / "asked").read_text().count(line) > before

            until(has_come, f"{line} comes")

        try:
            for _ in range(8):
                comes("Dead")
                java.send_signal(signal.SIGSTOP)
                comes("no answer")
                java.send_signal(signal.SIGCONT)
        finally:
            java.send_signal(signal.SIGCONT)
            asker.kill()
