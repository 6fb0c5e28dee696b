"""Commands of people's calls: their keys are their own, and the audit names the command that was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from backbeat.schemas.codec import decode_command
from backbeat.schemas.kafka.topics import COMMANDS
from tests.gateway.api.conftest import PARTITIONS
from tests.gateway.api.test_people import PersonDoor, add_person, entries, exhausted

PEOPLE = ("first-operator", "second-operator")


@pytest.fixture(scope="module")
def tokens(stack) -> dict[str, str]:
    return {name: add_person(stack, name, "--role", "operator") for name in PEOPLE}


@pytest.fixture
def operator(stack, tokens, user) -> Callable[[str], PersonDoor]:
    return lambda name: PersonDoor(stack.http_urls[0], name, tokens[name], client_id=user.id, reason="a test")


def command_ids(stack) -> Iterator[str]:
    """Ids of all commands that there are."""
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": "ids", "log_level": 0})
    try:
        for number in range(PARTITIONS):
            _, end = consumer.get_watermark_offsets(TopicPartition(COMMANDS, number), timeout=60)
            consumer.assign([TopicPartition(COMMANDS, number, 0)])
            for _ in range(end):
                message = consumer.poll(60)
                assert message is not None
                assert message.error() is None
                yield decode_command(message.value()).id.hex()
    finally:
        consumer.close()


def test_a_key_is_the_persons_own_apart_from_those_of_the_client_application(user, operator):
    node, key = user.sent(), {"Idempotency-Key": "one"}
    path, decisions = f"/activities/{node['id']}/decisions", {"decisions": [{"name": "x"}]}
    calls = [user.door, operator(PEOPLE[0]), operator(PEOPLE[1]), user.door]
    ids = [call.post(path, decisions, **key) for call in calls]
    assert [answer.status for answer in ids] == [201] * 4, ids
    assert len(user.door.get(f"/activities/{node['id']}/children").json) == 3


def test_the_audit_names_the_command_that_was_sent(stack, user, operator):
    node = exhausted(user)
    assert operator(PEOPLE[0]).put(f"/activities/{node}/restart").status == 200
    (entry,) = (entry for entry in entries(stack) if entry.subject_id == node)
    assert entry.command_id in command_ids(stack)
