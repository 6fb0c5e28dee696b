"""Records that are no commands, commands that are refused, and what would be too large: the partition goes on."""

import json
import os
import random
import subprocess
import sys
import uuid

import msgspec
import pytest
from confluent_kafka import Producer

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS, QUERIES, RECORD_BYTES_MAX, signals_topic
from backbeat.schemas.messages import ids, queries
from backbeat.schemas.messages.activities import ActivityKind
from backbeat.schemas.messages.commands import ChangeNode, Continue
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import ServerStatus
from backbeat.schemas.messages.values import Source, Task, TaskKind
from tests.integration.caller import node_of
from tests.integration.rig import PARTITIONS, rig
from tests.integration.topic import Reader
from tests.waiting import until


@pytest.fixture(scope="module")
def system(kafka, tmp_path_factory):
    with rig(kafka, tmp_path_factory.mktemp("engine")) as started:
        yield started


@pytest.fixture
def subject(unique):
    return json.dumps(f"Camera {unique}").encode()


@pytest.fixture
def caller(system):
    return system.caller


def fresh():
    return uuid.uuid4().bytes


@pytest.fixture
def dead_letters(system):
    """The dead letters since now, as (value, headers)."""
    reader = Reader(system.kafka, DEAD_LETTERS)
    list(reader.read())

    def next_ones(count):
        letters = []

        def enough():
            letters.extend((message.value(), dict(message.headers())) for message in reader.read())
            return len(letters) >= count

        until(enough, f"{count} dead letters")
        return letters

    yield next_ones
    reader.close()


def test_records_that_are_no_commands_become_dead_letters_and_the_partition_goes_on(
    system, caller, subject, dead_letters
):
    signal = caller.signal(subject)
    good = codec.encode_command(signal)
    partition = ids.partition_of(signal.workflow_id, PARTITIONS)
    bad = [
        b"garbage",
        b"",
        good[:40],
        good + b"more",
        good[:2] + b"abcdefgh" + good[10:],
        b"\x00\x00\x00\x00\x07" + good[10:],
        codec.encode_query(queries.Flush(reply_to=caller._next(), deadline=0, partition=0)),
    ]
    for value in bad:
        caller.send_raw(value, partition)
    caller.send(signal, partition=(partition + 1) % PARTITIONS)
    caller.send_raw(None, partition)
    node = system.signal(subject)
    system.say(node)
    assert caller.wait_node(node.id).server is ServerStatus.COMPLETE
    letters = dead_letters(len(bad) + 2)
    assert len(letters) == len(bad) + 2
    by_value = dict(letters)
    assert set(by_value) == {*bad, good}
    for headers in by_value.values():
        assert headers["backbeat-source-topic"] == b"backbeat.commands"
        assert headers["backbeat-source-offset"].isdigit()
    strayed = by_value[good]
    assert strayed["backbeat-source-partition"] == str((partition + 1) % PARTITIONS).encode()
    assert b"was sent to partition" in strayed["backbeat-error"]
    assert b"fingerprint" in by_value[bad[4]]["backbeat-error"]
    assert not [row for row in caller.tree(signal.workflow_id) if row.id == node_of(signal)]


def test_a_refused_command_that_nobody_waits_for_is_kept(system, caller, subject, dead_letters):
    node = system.signal(subject)
    command = ChangeNode(id=fresh(), user_id=system.user, node_id=node.id, status="resolved")
    caller.send(command)
    ((value, headers),) = dead_letters(1)
    assert codec.decode_command(value) == command
    assert headers["backbeat-error"].startswith(b"invalid_client_status: ")


def test_a_defect_in_the_rules_costs_one_command(system, caller, subject, dead_letters):
    node = system.signal(subject)
    # The core asserts that the rest of some work is on a workflow that is stored: no client can send this.
    unknown = ids.node_id(node.workflow_id, b"never made", 0)
    another = (ids.partition_of(node.id, PARTITIONS) + 1) % PARTITIONS
    broken = Continue(
        id=fresh(),
        workflow_id=unknown,
        tasks=(Task(TaskKind.SCHEDULE, node.id),),
        source=Source(another, 0, 1_000),
    )
    caller.send(broken)
    ((value, headers),) = dead_letters(1)
    assert codec.decode_command(value) == broken
    assert headers["backbeat-error"].startswith(b"defect: AssertionError")
    (notice,) = system.hand.wait_for(
        lambda record: record.node.id == node.id and record.kind is ActivityKind.NOTIFICATION
    )
    assert notice.message == "Server Error"
    assert caller.node(node.id).server is ServerStatus.ERRORED
    other = system.signal(subject[:-1] + b' 2"')
    assert system.say(other) == Done()


# --- what would be too large -----------------------------------------------------------------------------------------


def noise():
    """What makes a command nearly as large as a record may be; no compression makes it small."""
    return random.Random(1).randbytes(RECORD_BYTES_MAX // 2 - 190).hex().encode()


@pytest.mark.parametrize("kind", ["client_data", "tid", "link", "name", "status"])
def test_what_would_not_fit_is_refused_and_the_partition_goes_on(system, caller, subject, dead_letters, kind):
    node = system.signal(subject)
    signal = caller.signal(subject)
    large = msgspec.structs.replace(signal.node, client_data=b'{"a":"' + noise() + b'"}')
    commands = {
        "client_data": msgspec.structs.replace(signal, node=large),
        "tid": msgspec.structs.replace(signal, tid=noise().decode()),
        "name": msgspec.structs.replace(signal, node=msgspec.structs.replace(signal.node, name=noise().decode())),
        "status": ChangeNode(id=fresh(), user_id=system.user, node_id=node.id, status=noise().decode()),
        # Its size and what stands around it on its way to its target are more than a record may have.
        "link": msgspec.structs.replace(signal, node=msgspec.structs.replace(large, parent_link_id=node.id)),
    }
    command = commands[kind]
    assert RECORD_BYTES_MAX - 500 < len(codec.encode_command(command)) < RECORD_BYTES_MAX - 70
    pid = system.stack.engine_pids[0]
    caller.send(command)
    ((_, headers),) = dead_letters(1)
    print(headers["backbeat-error"][:120])
    system.say(node)
    assert caller.wait_node(node.id).server is ServerStatus.COMPLETE
    for partition in range(PARTITIONS):
        caller.commit(partition)
    assert system.stack.engine_pids[0] == pid, "the engine ended on it"


def test_a_response_that_only_compression_lets_in(system, caller, subject, dead_letters):
    """A worker in another language compresses: what the broker takes is more than the dead letters' topic does."""
    node = system.signal(subject)
    response = b'{"result":"' + b"0" * 3_000_000 + b'"}'
    command = ChangeNode(id=fresh(), user_id=system.user, node_id=node.id, status="completed", response=response)
    pid = system.stack.engine_pids[0]
    producer = Producer({"bootstrap.servers": system.kafka, "compression.type": "gzip", "message.max.bytes": 8_000_000})
    producer.produce(COMMANDS, codec.encode_command(command), partition=ids.partition_of(node.id, PARTITIONS))
    assert producer.flush(60) == 0
    ((value, headers),) = dead_letters(1)
    assert value is None
    assert b"payload_bytes_max" in headers["backbeat-error"]
    assert b"left out: 3000" in headers["backbeat-error"]
    assert headers["backbeat-source-topic"] == COMMANDS.encode()
    assert system.say(node) == Done()
    for partition in range(PARTITIONS):
        caller.commit(partition)
    assert system.stack.engine_pids[0] == pid, "the engine ended on it"


#: Kafka takes any bytes for a header's name; a client has to be bent to write such.
_BENT_PRODUCER = """
import asyncio, sys
import aiokafka

class Name(str):
    def encode(self, *_):
        return bytes([255, 254])

async def main():
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=sys.argv[1])
    await producer.start()
    for where in sys.argv[2:]:
        topic, partition = where.split(":")
        await producer.send_and_wait(topic, b"no record", partition=int(partition), headers=[(Name("name"), b"v")])
    await producer.stop()

asyncio.run(main())
"""


def test_a_header_whose_name_is_no_utf8(system, caller, subject, dead_letters):
    pid = system.stack.engine_pids[0]
    user = "default"
    places = [f"{COMMANDS}:0", f"{QUERIES}:0", f"{signals_topic(user)}:0"]
    environment = {**os.environ, "AIOKAFKA_NO_EXTENSIONS": "1"}
    subprocess.run([sys.executable, "-c", _BENT_PRODUCER, system.kafka, *places], env=environment, check=True)
    letters = dead_letters(2)
    assert {headers["backbeat-source-topic"].decode() for _, headers in letters} == {COMMANDS, signals_topic(user)}
    assert b"a header's name is no UTF-8" in {headers["backbeat-error"] for _, headers in letters}
    assert system.say(system.signal(subject)) == Done()
    for partition in range(PARTITIONS):
        caller.commit(partition)
    assert system.stack.engine_pids[0] == pid, "the engine ended on it"
