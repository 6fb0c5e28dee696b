"""The registry of clients on a real Kafka."""

import queue
import uuid

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from backbeat.compose.cli.program import backbeat
from backbeat.schemas.kafka import topics
from backbeat.schemas.kafka.client_registry import ClientRegistry, ClientRegistryError, RegisteredClient
from backbeat.schemas.kafka.clients import ClientError, decode_client
from backbeat.schemas.kafka.topics import check_topics, ensure_topics, topic_id
from backbeat.streams.kafka.registration import add_client

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers(kafka):
    ensure_topics(kafka, 2, 1, development=True)
    return kafka


def add(servers: str, name: str, **words: object) -> RegisteredClient:
    return add_client(servers, name, partitions=2, **words)


def test_added_client_is_found_by_id_and_by_name(servers, unique):
    client = add(servers, unique, token_hash="ab", notification_endpoint="http://there/notices")

    with ClientRegistry(servers) as registry:
        assert registry.by_name(unique) == client
        assert registry.by_id(uuid.UUID(client.id).bytes) == client
        assert client in registry.all()
        assert registry.by_name("nobody") is None
        assert registry.by_id(bytes(16)) is None
    assert client.delivery == "topic"
    assert topic_id(servers, topics.signals_topic(unique))
    assert topic_id(servers, topics.activities_topic(unique))


def test_client_added_later_becomes_known(servers, unique):
    changed = queue.Queue()
    with ClientRegistry(servers, on_change=changed.put) as registry:
        client = add(servers, unique)

        assert changed.get(timeout=120) == client
        assert registry.by_name(unique) == client


def test_client_added_a_moment_ago_is_found(servers, unique):
    with ClientRegistry(servers) as registry:
        for number in range(20):
            client = add(servers, f"{unique}-{number}")
            assert registry.catch_up(120.0)
            assert registry.by_id(client.id_bytes) == client


def test_adding_again_gives_the_same_client(servers, unique):
    first = add(servers, unique)

    assert add(servers, unique) == first
    changed = add(servers, unique, activity_endpoint="http://there/activities")
    assert (changed.id, changed.delivery) == (first.id, "webhook")
    with pytest.raises(ClientRegistryError, match=r"there is a client .* already: it has the id"):
        add(servers, unique, client_id=str(uuid.uuid4()))


def test_given_id_is_kept(servers, unique):
    given = str(uuid.uuid4())

    assert add(servers, unique, client_id=given.upper()).id == given


def test_name_without_topics_is_served_by_webhook_only(servers, unique):
    name = f"{unique} & sons"
    with pytest.raises(ClientRegistryError, match="cannot be served on a topic"):
        add(servers, name)

    assert add(servers, name, activity_endpoint="http://there").delivery == "webhook"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
def test_impossible_name(servers, name):
    with pytest.raises(ClientRegistryError, match="cannot be a client's name"):
        add(servers, name)


def test_removed_client_and_spoilt_records_are_passed_over(servers, unique):
    removed = add(servers, f"{unique}-removed")
    producer = Producer({"bootstrap.servers": servers})
    for key, value in [
        (removed.id, None),
        ("no uuid", b"{}"),
        (str(uuid.uuid4()), b"not json"),
        (str(uuid.uuid4()), b'{"name": 1}'),
    ]:
        producer.produce(topics.CLIENTS, key=key, value=value, partition=0)
    producer.flush(120)
    client = add(servers, unique)

    with ClientRegistry(servers) as registry:
        assert registry.by_name(f"{unique}-removed") is None
        assert registry.by_id(removed.id_bytes) is None
        assert registry.by_name(unique) == client


def test_renamed_client_is_not_found_by_its_old_name(servers, unique):
    client = add(servers, unique)
    changed = queue.Queue()
    with ClientRegistry(servers, on_change=changed.put) as registry:
        renamed = msgspec.structs.replace(client, name=f"{unique}-new")
        producer = Producer({"bootstrap.servers": servers})
        producer.produce(topics.CLIENTS, key=client.id, value=msgspec.json.encode(renamed), partition=0)
        producer.flush(120)

        assert changed.get(timeout=120) == renamed
        assert registry.by_name(unique) is None
        assert registry.by_name(f"{unique}-new") == renamed


def test_what_follows_may_fail_without_ending_the_registry(servers, unique):
    seen = queue.Queue()

    def fails(client: RegisteredClient) -> None:
        seen.put(client.name)
        raise ValueError(client.name)

    with ClientRegistry(servers, on_change=fails):
        add(servers, f"{unique}-1")
        add(servers, f"{unique}-2")

        assert [seen.get(timeout=120), seen.get(timeout=120)] == [f"{unique}-1", f"{unique}-2"]


DEEP = b"[" * 3_000 + b"]" * 3_000
NOBODY = "5fd1e0cf-2f13-4be2-9d57-3f6a8a6ee3f1"


def put(servers: str, key: bytes, value: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": servers})
    producer.produce(topics.CLIENTS, key=key, value=value, partition=0)
    assert producer.flush(120) == 0


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        (NOBODY, b'{"id":"x","name":"n","later":' + DEEP + b"}", "nested more than 16 levels"),
        (NOBODY, DEEP, "nested more than 16 levels"),
        (NOBODY, b'{"id":"not one","name":"n"}', "badly formed"),
        (NOBODY, b'{"id":"00000000-0000-0000-0000-000000000000","name":"n"}', "not the one of its key"),
        (NOBODY, b'{"id":"' + NOBODY.encode() + b'","name":"two\\nlines"}', "cannot be a client's name"),
        (NOBODY, b'{"id":"' + NOBODY.encode() + b'","name":"' + b"n" * 300 + b'"}', "cannot be a client's name"),
        (NOBODY, b"\xff\xfe", "malformed"),
        ("no id", b"{}", "badly formed"),
        (b"\xff", b"{}", "can't decode"),
    ],
)
def test_a_record_that_is_no_client(key, value, reason):
    with pytest.raises(ClientError, match=reason):
        decode_client(key if isinstance(key, bytes) else key.encode(), value)


def test_a_record_that_is_no_client_stops_nothing_is_named_and_can_be_deleted(servers, unique):
    """Whoever reads on goes on, whoever starts starts, and the command line mends it."""
    known = add(servers, f"{unique}-known")
    with ClientRegistry(servers) as registry:
        put(servers, unique.encode(), DEEP)
        put(servers, known.id.encode(), DEEP)
        later = add(servers, f"{unique}-later")
        assert registry.catch_up(120.0)
        assert registry.by_id(later.id_bytes) == later
        assert registry.followed
        assert {bad.key for bad in registry.bad_records()} >= {unique.encode(), known.id.encode()}

    surveyed = CliRunner().invoke(backbeat, ["topics", "check", "--development", "--bootstrap-servers", servers])
    assert surveyed.exit_code == 1
    assert f"under the key {unique} a record that is no client" in surveyed.output
    assert "backbeat user repair" in surveyed.output

    repaired = CliRunner().invoke(backbeat, ["user", "repair", "--yes", "--bootstrap-servers", servers])
    assert repaired.exit_code == 0, repaired.output
    with ClientRegistry(servers) as registry:
        assert registry.bad_records() == []
        assert registry.by_name(later.name) == later
    again = CliRunner().invoke(backbeat, ["user", "repair", "--bootstrap-servers", servers])
    assert "Every record of the registry is a client." in again.output
    assert add(servers, known.name, client_id=known.id) == known


def test_a_registry_that_cannot_go_on_says_so(servers, unique, monkeypatch):
    failed = queue.Queue()
    with ClientRegistry(servers, failed=failed.put) as registry:

        def broken(_):
            raise SystemError("broken")

        monkeypatch.setattr(registry, "_follow_one", broken)
        put(servers, unique.encode(), b"{}")
        assert str(failed.get(timeout=120)) == "broken"
        assert isinstance(registry.failure, SystemError)
        registry.stop()
        assert not registry.followed
    put(servers, unique.encode(), None)


def test_without_its_topic(empty_kafka):
    with pytest.raises(ClientRegistryError, match=r"there is no topic backbeat.clients\. What to do: .*topics create"):
        ClientRegistry(empty_kafka).start()
    with pytest.raises(topics.TopicError):
        check_topics(empty_kafka)
