"""The ingest on a real Kafka: what becomes a command, what a dead letter, and that nothing is done twice."""

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from backbeat.schemas import codec
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.client_registry import ClientRegistry, RegisteredClient
from backbeat.schemas.messages import ids
from backbeat.schemas.messages.commands import OpenLink, Signal
from backbeat.schemas.messages.json_text import as_response
from backbeat.schemas.messages.replies import Done
from backbeat.schemas.messages.status import Mode
from backbeat.schemas.messages.values import ReplyTo
from backbeat.schemas.requests.messages import MessageRequest
from backbeat.schemas.requests.signals import SignalRequest
from backbeat.streams.input import held_signals
from backbeat.streams.input.ingest import Ingest
from backbeat.streams.kafka.registration import add_client
from tests.waiting import until

PARTITIONS = 8
SECONDS_MAX = 180.0


class Reader:
    """Reads a topic from where it ended when the reader was made."""

    def __init__(self, kafka: str, topic: str):
        self._consumer = Consumer({"bootstrap.servers": kafka, "group.id": "reader", "enable.auto.commit": False})
        metadata = self._consumer.list_topics(topic, timeout=120).topics[topic]
        places = [TopicPartition(topic, number) for number in metadata.partitions]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=120)[1]
        self._consumer.assign(places)

    def wait_for(self, condition: Callable[[Message], bool], count: int = 1) -> list[Message]:
        """The next records that are wanted."""
        matches: list[Message] = []
        deadline = time.monotonic() + SECONDS_MAX
        while len(matches) < count:
            assert time.monotonic() < deadline, f"{len(matches)} of {count} records came"
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None and condition(message):
                matches.append(message)
        return matches

    def close(self) -> None:
        self._consumer.close()


class Service:
    """A client, its topic, an ingest that follows, and readers of what comes out."""

    def __init__(self, kafka: str, name: str):
        topics.ensure_topics(kafka, PARTITIONS, 1, development=True)
        self.kafka, self.name, self.group = kafka, name, name
        self.client = self.add(name)
        self.registry = ClientRegistry(kafka).start()
        self.producer = Producer({"bootstrap.servers": kafka, "linger.ms": 5})
        self.commands = Reader(kafka, topics.COMMANDS)
        self.dead_letters = Reader(kafka, topics.DEAD_LETTERS)
        self.failures: list[Exception] = []
        self.failed = threading.Event()
        self.ingest = self.start()

    def add(self, name: str) -> RegisteredClient:
        return add_client(self.kafka, name, partitions=PARTITIONS)

    def start(self, registry: Any = None, **given: Any) -> Ingest:
        """An ingest; those of one service are one group, so each goes on where the one before ended."""

        def failed(error: Exception) -> None:
            self.failures.append(error)
            self.failed.set()

        ingest = Ingest(
            self.kafka,
            registry or self.registry,
            failed=failed,
            application_id=self.group,
            instance_id=self.name,
            **given,
        )
        ingest.start()
        return ingest

    def publish(self, value: Any, *, client: str | None = None, **more: Any) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.producer.produce(topics.signals_topic(client or self.name), content, **more)
        assert self.producer.flush(120) == 0

    def next_commands(self, count: int = 1, client: RegisteredClient | None = None) -> list[tuple[Message, Any]]:
        client_id = (client or self.client).id_bytes

        def ours(message: Message) -> bool:
            return codec.decode_command(message.value()).user_id == client_id

        messages = self.commands.wait_for(ours, count)
        return [(message, codec.decode_command(message.value())) for message in messages]

    def next_dead_letters(self, count: int = 1, client: str | None = None) -> list[tuple[Message, dict[str, str]]]:
        topic = topics.signals_topic(client or self.name).encode()

        def ours(message: Message) -> bool:
            return ("backbeat-source-topic", topic) in (message.headers() or [])

        return [
            (message, {name: content.decode() for name, content in message.headers()})
            for message in self.dead_letters.wait_for(ours, count)
        ]

    def close(self) -> None:
        self.ingest.stop()
        self.registry.stop()
        self.commands.close()
        self.dead_letters.close()
        assert self.failures == []


@pytest.fixture
def service(kafka: str, unique: str) -> Iterator[Service]:
    opened = Service(kafka, unique)
    yield opened
    opened.close()


def document(subject: Any = "Camera 703", **more: Any) -> dict[str, Any]:
    return {"workflow": "Purchases", "subject": subject, "decider": "D", "signal": "Make Purchase", **more}


def test_json_becomes_a_signal_on_its_subjects_partition(service):
    for number in range(8):
        service.publish(document(f"Camera {number}", client_data={"a": 1}, retry=2, retry_interval=5))
    for message, command in service.next_commands(8):
        assert isinstance(command, Signal)
        subject = command.workflow.subject
        assert message.key() == subject
        assert message.partition() == ids.partition_of(ids.murmur2(subject).to_bytes(4, "big"), PARTITIONS)
        assert command.workflow_id == ids.workflow_id(service.client.id_bytes, "Purchases", subject)
        assert command.node.user_id == command.workflow.user_id == service.client.id_bytes
        assert (command.node.name, command.node.type, command.node.mode) == ("Make Purchase", "decision", Mode.BLOCKING)
        assert (command.node.client_data, command.node.retries) == (b'{"a": 1}', 2)
        assert command.node.retry_interval_seconds == 5.0
        assert command.tid == command.id.hex()


def test_avro_becomes_the_same_signal(service):
    request = SignalRequest(
        workflow="Purchases", subject=b'{"b": 1, "a": 2}', decider="D", signal="Make Purchase", id="one"
    )
    service.publish(codec.encode_signal(request), headers={"backbeat-tid": "tid-1"})
    service.publish(document({"b": 1, "a": 2}, id="one"), headers={"backbeat-tid": "tid-1"})
    (_, first), (_, second) = service.next_commands(2)
    assert first == second
    assert first.workflow.subject == b'{"b":1,"a":2}'
    assert first.tid == "tid-1"


def test_the_same_id_gives_the_same_command_and_none_gives_two(service):
    key = str(uuid.uuid4())
    service.publish(document(id=key))
    service.publish(document(), headers={"backbeat-id": key})
    service.publish(document())
    service.publish(document())
    identities = [command.id for _, command in service.next_commands(4)]
    expected = ids.command_id(service.client.id_bytes, key.encode())
    assert sorted(identities.count(identity) for identity in set(identities)) == [1, 1, 2]
    assert identities.count(expected) == 2


def test_a_message_goes_to_its_workflows_partition_and_has_an_id_of_its_own(service):
    content = {"workflow": "Purchases", "subject": "Camera 703", "message": "approval", "id": "one"}
    # With a key, so that all three are in one partition, and are taken in their order.
    service.publish(document(id="one"), key=b"703")
    service.publish({**content, "value": {"by": "Grace"}}, key=b"703")
    request = MessageRequest(
        workflow="Purchases", subject=b'"Camera 703"', message="approval", value=b'{"by":"Grace"}', id="one"
    )
    service.publish(codec.encode_message(request), key=b"703")
    (_, signal), (first, from_json), (second, from_avro) = service.next_commands(3)
    assert from_json.payload.replace(b" ", b"") == from_avro.payload == as_response(b'{"by":"Grace"}')
    assert from_json.id == from_avro.id != signal.id
    assert from_json.workflow_id == from_avro.workflow_id == signal.workflow_id
    assert (first.key(), first.partition()) == (second.key(), second.partition()) == (
        b'"Camera 703"', ids.partition_of(signal.workflow_id, PARTITIONS),
    )  # fmt: skip


def test_a_link_goes_through_its_targets_partition(service):
    target = ids.node_id(ids.workflow_id(service.client.id_bytes, "Other", b'"Other 5"'), b"c" * 16, 0)
    service.publish(document(id="linked", parent_link_id=str(uuid.UUID(bytes=target))))
    ((message, command),) = service.next_commands()
    assert isinstance(command, OpenLink)
    assert (command.target_id, command.strict) == (target, True)
    assert message.partition() == ids.partition_of(target, PARTITIONS)
    assert command.signal.link_open
    assert command.child_id == ids.node_id(command.signal.workflow_id, command.signal.id, 0)


def test_bad_records_become_dead_letters_as_they_came_and_the_rest_goes_on(service):
    bad = [
        (b"{", "no signal request in JSON"),
        (b"\xc3\x01abcdefgh", "unknown fingerprint"),
        (json.dumps(document(None)).encode(), "missing field `subject`"),
        (json.dumps(document(client_id=str(uuid.uuid4()))).encode(), "names no client"),
        (json.dumps(document(mode="non_blocking")).encode(), "`mode` is non_blocking"),
        (codec.encode_reply(ReplyTo(0, b"a" * 16, 1), Done()), "wrong type: a DoneReply"),
    ]
    for value, _ in bad:
        service.publish(value, key=b"key", headers={"own": "header"}, partition=1)
    service.publish(document("good"), partition=1)
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"good"'
    for (value, reason), (message, headers) in zip(bad, service.next_dead_letters(len(bad)), strict=True):
        assert (message.key(), message.value()) == (b"key", value)
        assert headers["own"] == "header"
        assert reason in headers["backbeat-error"]
        assert headers["backbeat-source-partition"] == "1"
        assert headers["backbeat-source-offset"].isdigit()
    service.ingest.stop()
    # A new group reads what other tests have published as well.
    assert service.ingest.forwarded >= 1
    assert service.ingest.refused >= len(bad)


def test_a_record_without_a_value_is_refused(service):
    service.producer.produce(topics.signals_topic(service.name), None, key=b"key")
    service.producer.flush(120)
    ((message, headers),) = service.next_dead_letters()
    assert message.value() is None
    assert headers["backbeat-error"] == "the record has no value"


def test_a_client_that_runs_anothers_signal(service, unique):
    other = service.add(f"{unique}-other")
    service.publish(document(client_id=other.id))
    ((_, command),) = service.next_commands()
    assert command.node.user_id == other.id_bytes
    assert command.workflow.user_id == service.client.id_bytes


def test_a_client_added_later_is_followed_without_a_restart(service, unique):
    service.publish(document("before"))
    service.next_commands()
    later = service.add(f"{unique}-later")
    service.publish(document("Camera 1"), client=later.name)
    ((_, command),) = service.next_commands(client=later)
    assert command.workflow.user_id == later.id_bytes


def test_a_topic_of_no_client(service, unique):
    name = f"{unique}-nobody"
    topics.ensure_client_topics(service.kafka, topics.client_topics(name, PARTITIONS))
    service.publish(document(), client=name)
    ((_, headers),) = service.next_dead_letters(client=name)
    assert headers["backbeat-error"] == f"unknown client {name}"


def test_a_registry_that_is_late_is_waited_for(service):
    class Late:
        """Knows nobody until it is told to read on."""

        late = True

        def by_name(self, name):
            return None if self.late else service.registry.by_name(name)

        def catch_up(self, seconds):
            service.registry.catch_up(seconds)
            self.late = False

        by_id = service.registry.by_id

    service.ingest.stop()
    service.ingest = service.start(Late())
    service.publish(document())
    ((_, command),) = service.next_commands()
    assert command.user_id == service.client.id_bytes


def test_what_was_published_while_nobody_followed_is_taken_once(service):
    service.publish(document("a"))
    service.next_commands()
    service.ingest.stop()
    for number in range(100):
        service.publish(document(f"b{number}"))
    service.ingest = service.start()
    subjects = [command.workflow.subject for _, command in service.next_commands(100)]
    assert sorted(subjects) == sorted(json.dumps(f"b{number}").encode() for number in range(100))
    service.ingest.stop()
    service.publish(document("c"))
    service.ingest = service.start()
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"c"'


def member(kafka: str, service: Service) -> Consumer:
    """A member of the service's group with its instance id, once it has partitions."""
    consumer = Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": f"{service.name}-ingest",
            "group.instance.id": service.name,
            # Longer than the test waits.
            "session.timeout.ms": 600_000,
            "max.poll.interval.ms": 600_000,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    consumer.subscribe([topics.signals_topic(service.name)])
    deadline = time.monotonic() + SECONDS_MAX
    while not consumer.assignment():
        consumer.poll(0.1)
        assert time.monotonic() < deadline
    return consumer


def test_one_that_was_killed_goes_on_at_once_when_it_is_started_again(service, kafka):
    """It left no word: its place in the group is kept for its instance id, and not for whoever has another."""
    service.publish(document("before"))
    service.next_commands()
    service.ingest.stop()
    killed = member(kafka, service)
    service.publish(document("after"))
    service.ingest = service.start()
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"after"'
    killed.close()


def test_one_that_was_taken_for_another_joins_its_group_again(service, kafka, caplog):
    """So brokers that were away may take an older request of its own: where another has the id, its engine ends."""
    service.publish(document("before"))
    ((_, before),) = service.next_commands()
    other = member(kafka, service)
    deadline = time.monotonic() + SECONDS_MAX
    while "joins its group again" not in caplog.text:
        other.poll(0.1)
        assert service.failures == []
        assert time.monotonic() < deadline
    service.publish(document("after"))
    # It was fenced at a commit: what that one was about is read again, and the engine knows it by its ids.
    while (command := service.next_commands()[0][1]).workflow.subject != b'"after"':
        assert (command.id, command.node.id) == (before.id, before.node.id)
    assert service.failures == []
    other.close()


def test_one_that_is_stopped_leaves_its_group(service, kafka):
    """Whoever is there goes on with its topics at once, and does not wait for the end of a session."""
    service.ingest.stop()
    service.ingest = service.start(session_timeout_seconds=600.0)
    service.publish(document("before"))
    service.next_commands()
    group = f"{service.name}-ingest"
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})

    def members() -> list[str]:
        description = admin.describe_consumer_groups([group], request_timeout=120)[group].result()
        return [member.group_instance_id for member in description.members]

    assert members() == [service.name]
    service.ingest.stop()
    assert members() == []


def test_a_topic_made_while_none_followed_is_followed_after_the_start(service, unique):
    """A member that comes back is given what it had: it has to ask for what is new."""
    service.publish(document("before"))
    service.next_commands()
    service.ingest.stop()
    later = service.add(f"{unique}-later")
    service.publish(document("Camera 1"), client=later.name)
    service.ingest = service.start()
    ((_, command),) = service.next_commands(client=later)
    assert command.workflow.user_id == later.id_bytes


def make_again(kafka: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([topic])[topic].result(30)
    while True:
        try:
            admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        except KafkaException:
            time.sleep(0.02)  # It goes away in the broker's own time.
        else:
            return


@pytest.mark.parametrize("more", [-1, 0, 2])
def test_a_topic_that_was_deleted_and_made_again_is_read_from_its_beginning(service, more):
    """With fewer, as many, and more records than the old one had: at the same places, and not taken for repeats."""
    for number in range(4):
        service.publish(document(f"old {number}"), partition=1)
    old = {command.id for _, command in service.next_commands(4)}
    make_again(service.kafka, topics.signals_topic(service.name))
    for number in range(4 + more):
        service.publish(document(f"new {number}"), partition=1)
    commands = [command for _, command in service.next_commands(4 + more)]
    assert {command.workflow.subject for command in commands} == {
        json.dumps(f"new {number}").encode() for number in range(4 + more)
    }
    assert not old & {command.id for command in commands}


def test_offsets_of_a_topic_that_was_deleted_and_made_again_meanwhile_count_for_nothing(service):
    """A slow process may say after the deletion how far it had come in the old topic."""
    service.ingest.stop()
    topic = topics.signals_topic(service.name)
    for number in range(3):
        service.publish(document(f"new {number}"), partition=1)
    service.group = f"{service.name}-other"
    other = Consumer({"bootstrap.servers": service.kafka, "group.id": f"{service.group}-ingest"})
    other.commit(offsets=[TopicPartition(topic, 1, 2, str(uuid.uuid4()))], asynchronous=False)
    other.close()
    service.ingest = service.start()
    assert {command.workflow.subject for _, command in service.next_commands(3)} == {b'"new 0"', b'"new 1"', b'"new 2"'}


def test_a_topic_that_is_deleted_while_it_is_read_ends_nothing(service, unique):
    """The deletion falls between the reading of a batch and its commit."""
    gate, reached = threading.Event(), threading.Event()

    class Gated:
        by_id = service.registry.by_id
        catch_up = service.registry.catch_up

        def by_name(self, name):
            if name == gone.name:
                reached.set()
                gate.wait(SECONDS_MAX)
            return service.registry.by_name(name)

    gone = service.add(f"{unique}-gone")
    service.ingest.stop()
    service.publish(document("last"), client=gone.name)
    service.ingest = service.start(Gated())
    assert reached.wait(SECONDS_MAX)
    admin = AdminClient({"bootstrap.servers": service.kafka})
    topic = topics.signals_topic(gone.name)
    admin.delete_topics([topic])[topic].result(30)
    until(lambda: topic not in admin.list_topics(timeout=30).topics, "the topic is gone")
    gate.set()
    service.next_commands(client=gone)
    service.publish(document("others go on"))
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"others go on"'


def test_what_was_deleted_before_it_was_taken_is_said(service, caplog):
    topic = topics.signals_topic(service.name)
    service.publish(document("taken"), partition=2)
    service.next_commands()
    service.ingest.stop()
    for number in range(3):
        service.publish(document(f"gone {number}"), partition=2)
    admin = AdminClient({"bootstrap.servers": service.kafka})
    admin.delete_records([TopicPartition(topic, 2, 4)])[TopicPartition(topic, 2)].result(30)
    service.publish(document("there"), partition=2)
    service.ingest = service.start()
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"there"'
    assert f"{topic}/2: offsets 1 to 3 were deleted before they were taken" in caplog.text


def test_a_record_that_the_broker_refuses_is_put_aside_alone(service):
    admin = AdminClient({"bootstrap.servers": service.kafka})
    gate = threading.Event()

    class Gated:
        """Holds the ingest before its first record."""

        by_id = service.registry.by_id
        catch_up = service.registry.catch_up

        def by_name(self, name):
            gate.wait(SECONDS_MAX)
            return service.registry.by_name(name)

    service.publish(document("first"))
    service.next_commands()
    service.ingest.stop()
    noise = "".join(chr(ord("a") + byte % 26) for byte in random.Random(1).randbytes(9_000))
    # One batch of ours: the broker refuses all of it, and only the delivery reports say so.
    service.publish(document("small", metadata={"number": 1}), partition=0)
    service.publish(document("small", client_data={"a": noise}), partition=0)
    service.publish(document("small", metadata={"number": 2}), partition=0)
    service.ingest = service.start(Gated())
    set_size(admin, topics.COMMANDS, 5_000)
    try:
        gate.set()
        assert {command.node.metadata for _, command in service.next_commands(2)} == {
            b'{"number": 1}',
            b'{"number": 2}',
        }
        ((message, headers),) = service.next_dead_letters()
        assert noise.encode() in message.value()
        assert "backbeat.commands does not take it" in headers["backbeat-error"]
    finally:
        set_size(admin, topics.COMMANDS, topics.RECORD_BYTES_MAX)


def set_size(admin: AdminClient, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(120)


def test_a_failure_is_told_and_nothing_is_committed(service):
    class Broken:
        def by_name(self, name):
            raise RuntimeError("the registry is gone")

        by_id = catch_up = by_name

    service.ingest.stop()
    broken = service.start(Broken())
    service.publish(document("kept"))
    assert service.failed.wait(SECONDS_MAX)
    broken.stop()
    assert [str(error) for error in service.failures] == ["the registry is gone"]
    service.failures.clear()
    service.ingest = service.start()
    ((_, command),) = service.next_commands()
    assert command.workflow.subject == b'"kept"'


def test_many_signals_are_taken_in_batches(service):
    count = 20_000
    value = json.dumps(document("many", id=None)).encode()
    service.ingest.stop()
    for _ in range(count):
        service.producer.produce(topics.signals_topic(service.name), value)
        service.producer.poll(0)
    assert service.producer.flush(120) == 0
    service.ingest = service.start()
    service.next_commands()
    began, before = time.monotonic(), service.ingest.forwarded
    service.next_commands(count - 1)
    seconds = time.monotonic() - began
    print(f"{(count - before) / seconds:.0f} signals/s, with this test reading along")


def test_a_client_that_floods_is_paused_and_nobody_else_waits(service, unique, monkeypatch):
    """Beside an engine that applies nothing: what is in flight of the flood stays there."""
    service.ingest.stop()
    monkeypatch.setattr(held_signals, "_HELD_MAX", 200)
    other = service.add(f"{unique}-other")
    topic = topics.signals_topic(service.name)
    for number in range(2 * held_signals._HELD_MAX):
        service.producer.produce(topic, json.dumps(document(f"Camera {number}")).encode())
    assert service.producer.flush(120) == 0
    service.ingest = service.start(applied=lambda _: 0, turn_seconds=0.02)
    until(lambda: service.ingest.held.pauses[topic], "the flood is paused")
    service.publish(document(), client=other.name)
    ((_, command),) = service.next_commands(1, client=other)
    assert isinstance(command, Signal)
    assert service.ingest.held.counts()[topic] > 0
    # An engine has come: all of it is taken.
    service.ingest.stop()
    service.ingest = service.start(turn_seconds=0.02)
    until(lambda: not left(service, topic), "the flood is taken", SECONDS_MAX)
    assert service.ingest.held.counts()[topic] == 0


def left(service: Service, topic: str) -> int:
    """Signals of a topic that the service's group has not taken."""
    consumer = Consumer({"bootstrap.servers": service.kafka, "group.id": f"{service.group}-ingest", "log_level": 0})
    try:
        places = consumer.committed([TopicPartition(topic, number) for number in range(PARTITIONS)], 120)
        return sum(consumer.get_watermark_offsets(place, 120)[1] - max(0, place.offset) for place in places)
    finally:
        consumer.close()


def test_partitions_that_go_while_they_are_paused_are_read_when_they_come_back(service, monkeypatch):
    monkeypatch.setattr(held_signals, "_HELD_MAX", 200)
    topic = topics.signals_topic(service.name)
    service.ingest.stop()
    for number in range(2 * held_signals._HELD_MAX):
        service.producer.produce(topic, json.dumps(document(f"Camera {number}")).encode())
    assert service.producer.flush(120) == 0
    # An engine that applies nothing, and then all.
    applied: list[int | None] = [0]
    service.ingest = service.start(applied=lambda _: applied[0], turn_seconds=0.02)
    until(lambda: service.ingest.held.pauses[topic], "the flood is paused", SECONDS_MAX)
    # As after an assignment of earlier topics: it gives its partitions back, and gets them again.
    service.ingest._assigned_before = True
    until(lambda: not service.ingest._assigned_before, "it joins again", SECONDS_MAX)
    applied[0] = None
    until(lambda: not left(service, topic), "the flood is taken", SECONDS_MAX)
