"""The registry of clients on a real Kafka."""

import queue
import uuid

import msgspec
import pytest
from confluent_kafka import Producer

from backbeat.streams import topics
from backbeat.streams.registry import RegisteredClient, Registry, RegistryError, add_client
from backbeat.streams.topics import check_topics, ensure_topics, topic_id

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers(own_kafka):
    ensure_topics(own_kafka, 2, 1, development=True)
    return own_kafka


def add(servers: str, name: str, **words: object) -> RegisteredClient:
    return add_client(servers, name, partitions=2, **words)


def test_added_client_is_found_by_id_and_by_name(servers, unique):
    client = add(servers, unique, token_hash="ab", notification_endpoint="http://there/notices")

    with Registry(servers) as registry:
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
    with Registry(servers, on_change=changed.put) as registry:
        client = add(servers, unique)

        assert changed.get(timeout=120) == client
        assert registry.by_name(unique) == client


def test_client_added_a_moment_ago_is_found(servers, unique):
    with Registry(servers) as registry:
        for number in range(20):
            client = add(servers, f"{unique}-{number}")
            assert registry.find(client.id_bytes, 20.0) == client
        assert registry.find(bytes(16), 20.0) is None


def test_adding_again_gives_the_same_client(servers, unique):
    first = add(servers, unique)

    assert add(servers, unique) == first
    changed = add(servers, unique, activity_endpoint="http://there/activities")
    assert (changed.id, changed.delivery) == (first.id, "webhook")
    with pytest.raises(RegistryError, match=r"there is a client .* already: it has the id"):
        add(servers, unique, client_id=str(uuid.uuid4()))


def test_given_id_is_kept(servers, unique):
    given = str(uuid.uuid4())

    assert add(servers, unique, client_id=given.upper()).id == given


def test_name_without_topics_is_served_by_webhook_only(servers, unique):
    name = f"{unique} & sons"
    with pytest.raises(RegistryError, match="cannot be served on a topic"):
        add(servers, name)

    assert add(servers, name, activity_endpoint="http://there").delivery == "webhook"


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
def test_impossible_name(servers, name):
    with pytest.raises(RegistryError, match="cannot be a client's name"):
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

    with Registry(servers) as registry:
        assert registry.by_name(f"{unique}-removed") is None
        assert registry.by_id(removed.id_bytes) is None
        assert registry.by_name(unique) == client


def test_renamed_client_is_not_found_by_its_old_name(servers, unique):
    client = add(servers, unique)
    changed = queue.Queue()
    with Registry(servers, on_change=changed.put) as registry:
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

    with Registry(servers, on_change=fails):
        add(servers, f"{unique}-1")
        add(servers, f"{unique}-2")

        assert [seen.get(timeout=120), seen.get(timeout=120)] == [f"{unique}-1", f"{unique}-2"]


def test_without_its_topic(empty_kafka):
    with pytest.raises(RegistryError, match=r"there is no topic backbeat.clients\. What to do: .*topics create"):
        Registry(empty_kafka).start()
    with pytest.raises(topics.TopicError):
        check_topics(empty_kafka)
