"""The followers of people and of the audit, on a Kafka with records that nobody could have meant."""

from __future__ import annotations

import msgspec
import pytest
from confluent_kafka import Producer

from backbeat.gateway.people.audit import Audit, Entry
from backbeat.gateway.people.person import People, Person
from backbeat.gateway.people.topic import TopicFollower
from backbeat.gateway.people.visitor import Role
from backbeat.schemas.kafka.security import PREFIX
from backbeat.schemas.kafka.topics import AUDIT, PEOPLE, ensure_topics
from tests.waiting import until

#: Deeper than a decoder follows.
_DEEP = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.fixture(scope="module")
def topics(kafka: str) -> str:
    ensure_topics(kafka, 1, 1, development=True)
    for topic in (PEOPLE, AUDIT):
        with TopicFollower(kafka, topic, lambda _: None) as follower:
            # A topic that was just made has no leader yet.
            until(lambda follower=follower: follower.catch_up(60), f"{topic} can be read")
    return kafka


def put(bootstrap_servers: str, topic: str, key: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, key=key, value=value, partition=0)
    assert producer.flush(60) == 0


def person(name: str) -> Person:
    return Person(name=name, role=Role.READER, token_hash="0" * 64)


def test_a_record_that_cannot_be_read_keeps_nobody_behind_it_from_being_known(topics):
    people = People(topics)
    with people.follower:
        people.put(person("kim"))
        people.put(person("lee"))
        put(topics, PEOPLE, "kim", _DEEP)
        people.put(person("max"))
        people.read()
        # Somebody else's record lets nobody in.
        assert [known.name for known in people.all()] == ["lee", "max"]


def test_a_record_that_cannot_be_read_ends_no_audit(topics, caplog):
    audit = Audit(topics)
    with audit.follower:
        put(topics, AUDIT, "x", _DEEP)
        words = {field.name: "x" for field in msgspec.structs.fields(Entry) if field.type is str}
        entry = Entry(**words, at=1)
        audit.put(entry)
        assert audit.follower.catch_up(60)
        assert audit.find(entry.id) == entry
    assert f"{AUDIT} at 0 is passed over" in caplog.text


def test_a_follower_that_fails_for_any_reason_says_so_and_tries_again(topics, monkeypatch, tmp_path):
    authorities = tmp_path / "ca.pem"
    monkeypatch.setenv(f"{PREFIX}SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv(f"{PREFIX}CA_FILE", str(authorities))
    # The address alone: its security is the environment's.
    follower = TopicFollower(str(topics), PEOPLE, lambda _: None)
    with follower:
        assert not follower.catch_up(60)
        assert f"SecurityError: {authorities} cannot be read" in follower.problem
        monkeypatch.setenv(f"{PREFIX}SECURITY_PROTOCOL", "PLAINTEXT")
        until(lambda: follower.catch_up(60), "it follows")
        assert follower.problem == ""
