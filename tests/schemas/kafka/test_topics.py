"""The topics on a real Kafka: made with their settings, refused when wrong."""

import json
import re
import uuid

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from backbeat.compose.cli.program import backbeat
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.brokers import TopicDescription, UnreachableError
from backbeat.schemas.kafka.topics import (
    TopicError,
    check_topics,
    client_topics,
    ensure_client_topics,
    ensure_topics,
    topic_id,
)
from backbeat.streams.kafka.topic_survey import usual_partitions
from tests.waiting import until

pytestmark = pytest.mark.integration


def create(servers: str, name: str, partitions: int, **config: str) -> None:
    new = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
    # By a name: an admin client that nobody holds any more drops what it was asked.
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([new], operation_timeout=120)[name].result()
    until(lambda: name in admin.list_topics(timeout=120).topics, f"the topic {name}")


def partitions_of(admin: AdminClient, name: str) -> int:
    return len(admin.list_topics(timeout=120).topics[name].partitions)


def alter(servers: str, name: str, key: str, value: str) -> None:
    entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": servers})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    # A broker acknowledges it before it acts on it.
    asked = ConfigResource(ResourceType.TOPIC, name)
    while admin.describe_configs([asked])[asked].result()[key].value != value:
        pass


def test_all_are_made_with_what_the_design_says(empty_kafka):
    described = ensure_topics(empty_kafka, 6, 1, development=True)

    shared = {topics.COMMANDS, topics.QUERIES, topics.STATE, topics.HISTORY}
    assert {described[name].partitions for name in shared} == {6}
    assert described[topics.CLIENTS].partitions == 1
    alone = {topics.CLIENTS, topics.REPLIES, topics.DEAD_LETTERS, topics.PAYLOADS, topics.PEOPLE, topics.AUDIT}
    assert set(described) == shared | alone
    assert {topic.config["message.timestamp.type"] for topic in described.values()} == {"LogAppendTime"}
    compacted = {name for name, topic in described.items() if topic.config["cleanup.policy"] == "compact"}
    assert compacted == {topics.STATE, topics.CLIENTS, topics.PEOPLE}
    commands = described[topics.COMMANDS].config
    assert (commands["retention.ms"], commands["unclean.leader.election.enable"]) == ("-1", "false")
    assert int(described[topics.STATE].config["delete.retention.ms"]) == topics.STATE_DELETE_RETENTION_MS


def test_made_once_and_the_same_afterwards(empty_kafka):
    first = ensure_topics(empty_kafka, None, 1, development=True)

    assert first[topics.COMMANDS].partitions == topics.PARTITIONS_DEFAULT
    assert ensure_topics(empty_kafka, None, 1, development=True) == first
    # The engines' check leaves out what only the console needs.
    console = {spec.name for spec in topics.console_topics()}
    checked = check_topics(empty_kafka, development=True)
    assert checked == {name: topic for name, topic in first.items() if name not in console}
    assert set(first) == set(checked) | console


def test_without_a_number_the_commands_topic_gives_the_partitions(empty_kafka):
    create(empty_kafka, topics.COMMANDS, 3, **{"message.timestamp.type": "LogAppendTime"}, retention_ms="-1")
    alter(empty_kafka, topics.COMMANDS, "unclean.leader.election.enable", "false")
    alter(empty_kafka, topics.COMMANDS, "max.message.bytes", str(topics.RECORD_BYTES_MAX))

    described = ensure_topics(empty_kafka, None, 1, development=True)

    assert described[topics.STATE].partitions == 3


def test_wrong_number_of_partitions(empty_kafka):
    ensure_topics(empty_kafka, 4, 1, development=True)

    with pytest.raises(
        TopicError,
        match=r"topic backbeat.commands: found 4 partitions, wanted 8\. What to do: start with .*--partitions 4",
    ) as caught:
        ensure_topics(empty_kafka, 8, 1, development=True)

    assert (caught.value.topic, caught.value.found, caught.value.wanted) == (topics.COMMANDS, "4 partitions", "8")


def test_a_topic_with_more_partitions_than_the_others_is_refused(empty_kafka):
    ensure_topics(empty_kafka, 4, 1, development=True)
    admin = AdminClient({"bootstrap.servers": empty_kafka})
    admin.create_partitions([NewPartitions(topics.STATE, 5)])[topics.STATE].result()
    until(lambda: partitions_of(admin, topics.STATE) == 5, "the topic has grown")

    with pytest.raises(TopicError, match=r"topic backbeat.state: found 5 partitions, wanted 4"):
        check_topics(empty_kafka, development=True)


@pytest.mark.parametrize(
    ("topic", "key", "wrong"),
    [
        (topics.COMMANDS, "cleanup.policy", "compact"),
        (topics.COMMANDS, "message.timestamp.type", "CreateTime"),
        (topics.COMMANDS, "unclean.leader.election.enable", "true"),
        (topics.COMMANDS, "max.message.bytes", "1000000"),
        (topics.STATE, "cleanup.policy", "delete"),
        (topics.STATE, "delete.retention.ms", "1000"),
        (topics.CLIENTS, "cleanup.policy", "delete"),
    ],
)
def test_wrong_setting_is_named_with_what_is_wanted(empty_kafka, topic, key, wrong):
    ensure_topics(empty_kafka, 1, 1, development=True)
    alter(empty_kafka, topic, key, wrong)

    with pytest.raises(TopicError, match=rf"topic {topic}: found {key}={wrong}, wanted .*\. What to do: "):
        check_topics(empty_kafka, development=True)


def test_setting_that_is_an_operators_to_change(empty_kafka):
    ensure_topics(empty_kafka, 1, 1, development=True)
    alter(empty_kafka, topics.HISTORY, "retention.ms", "60000")

    assert check_topics(empty_kafka, development=True)[topics.HISTORY].config["retention.ms"] == "60000"


def test_one_replica_outside_development_is_refused(empty_kafka):
    ensure_topics(empty_kafka, 1, 1, development=True)

    with pytest.raises(TopicError, match=r"found 1 replica, wanted 2 or more .*--development"):
        check_topics(empty_kafka)


def test_more_replicas_than_brokers(empty_kafka):
    with pytest.raises(TopicError, match=r"cannot be made .*wanted 1 partition with 3 replicas.*smaller --repl"):
        ensure_topics(empty_kafka, 1, 3)


def test_missing(empty_kafka):
    with pytest.raises(TopicError, match=r"topic backbeat.commands: found no such topic.*backbeat topics create"):
        check_topics(empty_kafka, development=True)


def test_a_topic_made_again_has_another_id(kafka, unique):
    create(kafka, unique, 1)
    first = topic_id(kafka, unique)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([unique], operation_timeout=120)[unique].result()
    until(lambda: unique not in admin.list_topics(timeout=120).topics, "the topic is gone")
    create(kafka, unique, 1)

    second = topic_id(kafka, unique)

    assert uuid.UUID(first) != uuid.UUID(second)
    with pytest.raises(TopicError, match="no such topic"):
        topic_id(kafka, f"{unique}-not")


def test_topics_of_a_client(kafka, unique):
    ensure_topics(kafka, None, 1, development=True)
    described = ensure_client_topics(kafka, client_topics(unique, 2))

    assert {name: topic.partitions for name, topic in described.items()} == {
        f"backbeat.signals.{unique}": 2,
        f"backbeat.activities.{unique}": 2,
    }


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "a" * 101])
def test_names_that_can_have_no_topics(name):
    assert not topics.has_topics(name)
    with pytest.raises(ValueError, match="cannot have topics"):
        topics.signals_topic(name)


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr("backbeat.schemas.kafka.brokers.REACH_SECONDS_MAX", 0.5)

    with pytest.raises(UnreachableError, match=r"Kafka at 127\.0\.0\.1:1 does not answer .* What to do"):
        check_topics("127.0.0.1:1")


def test_the_largest_record_that_we_may_write_is_taken(empty_kafka):
    ensure_topics(empty_kafka, 1, 1, development=True)
    errors = []
    producer = Producer({"bootstrap.servers": empty_kafka, "message.max.bytes": 2 * topics.RECORD_BYTES_MAX})
    for size in (topics.RECORD_BYTES_MAX - 1024, topics.RECORD_BYTES_MAX + 1):
        producer.produce(topics.COMMANDS, b"x" * size, partition=0, on_delivery=lambda error, _: errors.append(error))
        producer.flush(120)

    assert errors[0] is None
    assert errors[1] is not None


def test_a_survey_says_all_that_is_wrong_at_once(empty_kafka):
    ensure_topics(empty_kafka, 4, 1, development=True)
    ensure_client_topics(empty_kafka, client_topics("left", 2))
    admin = AdminClient({"bootstrap.servers": empty_kafka})
    admin.create_partitions([NewPartitions(topics.COMMANDS, 5)])[topics.COMMANDS].result()
    admin.delete_topics([topics.REPLIES])[topics.REPLIES].result()
    alter(empty_kafka, topics.STATE, "cleanup.policy", "delete")
    alter(empty_kafka, topics.HISTORY, "retention.ms", "60000")
    alter(empty_kafka, topics.COMMANDS, "retention.ms", "60000")
    until(lambda: partitions_of(admin, topics.COMMANDS) == 5, "one topic has grown")
    until(lambda: topics.REPLIES not in admin.list_topics(timeout=120).topics, "another one is gone")

    def check(*more):
        return CliRunner().invoke(backbeat, ["topics", "check", "--bootstrap-servers", empty_kafka, *more])

    surveyed = {row["name"]: row for row in json.loads(check("--development", "--json").stdout)["topics"]}
    assert {name: row["state"] for name, row in surveyed.items() if row["state"] != "ok"} == {
        topics.COMMANDS: "wrong",
        topics.REPLIES: "missing",
        topics.STATE: "wrong",
    }
    # The other three say how many there must be, not the one that was changed.
    (problem,) = surveyed[topics.COMMANDS]["problems"]
    assert (problem["found"], problem["wanted"]) == ("5 partitions", "4")
    assert "drain into a new cluster" in problem["remedy"]
    assert surveyed[topics.HISTORY]["notes"] == ["retention.ms=60000, made with 2592000000"]
    assert surveyed[topics.COMMANDS]["notes"][0].startswith("retention.ms=60000: commands are deleted")
    assert surveyed["backbeat.signals.left"]["partitions"] == 2

    checked = check()
    assert checked.exit_code == 1
    assert re.search(r"^backbeat.commands +5 +1 +wrong ", checked.stdout, re.MULTILINE)
    assert "topic backbeat.replies: found no such topic" in checked.stderr
    assert checked.stderr.count("wanted 2 or more (3 are usual)") == 11
    refused = CliRunner().invoke(
        backbeat, ["topics", "create", "--development", "--partitions", "8", "--bootstrap-servers", empty_kafka]
    )
    assert refused.exit_code == 1
    assert "found 5 partitions, wanted 8" in refused.stderr


@pytest.mark.parametrize(
    ("partitions", "usual"),
    [
        ({}, topics.PARTITIONS_DEFAULT),
        ({topics.COMMANDS: 3}, 3),
        ({topics.COMMANDS: 5, topics.STATE: 4, topics.QUERIES: 4, topics.HISTORY: 4, topics.REPLIES: 8}, 4),
        ({topics.COMMANDS: 5, topics.STATE: 5, topics.QUERIES: 4, topics.HISTORY: 4}, 5),
        ({topics.COMMANDS: 6, topics.STATE: 5, topics.QUERIES: 5, topics.HISTORY: 4}, 5),
    ],
)
def test_most_topics_say_how_many_partitions_there_must_be(partitions, usual):
    assert usual_partitions(partitions) == usual


def test_a_topic_that_was_just_made_may_be_unknown_to_the_next_broker(monkeypatch):
    """Three brokers hear of it one after the other: the answers of two of them, in turn."""
    there = TopicDescription("new", "id", 1, 3)
    answers = [{}, {"new": there}, {}, {"new": there}]
    unknown = KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
    configs = [unknown, {"new": there}]

    def with_configs(admin, described):
        answer = configs.pop(0)
        if isinstance(answer, KafkaException):
            raise answer
        return answer

    monkeypatch.setattr(topics, "describe", lambda admin, names: answers.pop(0))
    monkeypatch.setattr(topics, "with_configs", with_configs)

    assert topics.look(None, ["new"], frozenset({"new"})) == {"new": there}
    assert (answers, configs) == ([], [])


def test_a_topic_that_nobody_made_is_missing_at_once(monkeypatch):
    monkeypatch.setattr(topics, "describe", lambda admin, names: {})

    with pytest.raises(TopicError, match="no such topic"):
        topics.look(None, ["gone"], frozenset({"new"}))
