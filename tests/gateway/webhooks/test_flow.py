"""How much is in memory, and which topics are read."""

from __future__ import annotations

import json

from backbeat.gateway.webhooks.handover import Handover
from backbeat.gateway.webhooks.topics import Subscription, TopicBuffer
from backbeat.schemas.kafka.clients import RegisteredClient


class Clients:
    """What a subscription asks of the registry."""

    def __init__(self) -> None:
        self.version = 0
        self.by = {}

    def put(self, number: int, client: RegisteredClient | None) -> None:
        self.version += 1
        if client is None:
            del self.by[number.to_bytes(16, "big")]
        else:
            self.by[client.id_bytes] = client

    def all(self) -> list[RegisteredClient]:
        return list(self.by.values())

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        return self.by.get(client_id)


def client(number: int, name: str, delivery: str = "webhook") -> RegisteredClient:
    identity = f"00000000-0000-0000-0000-{number:012x}"
    return RegisteredClient(id=identity, name=name, activity_endpoint="http://x", delivery=delivery)


def test_full_until_half_is_done():
    buffer = TopicBuffer("t")
    for _ in range(2_000):
        assert not buffer.is_full
        buffer.add(10)
    assert buffer.is_full
    for _ in range(1_000):
        assert buffer.is_full
        buffer.remove(10)
    buffer.remove(10)
    assert not buffer.is_full


def test_full_by_weight():
    buffer = TopicBuffer("t")
    buffer.add(16 * 1024 * 1024)
    assert buffer.is_full
    buffer.remove(16 * 1024 * 1024)
    assert not buffer.is_full


def test_topics_follow_the_clients():
    clients = Clients()
    clients.put(1, client(1, "shop"))
    clients.put(2, client(2, "worker", "topic"))
    subscription = Subscription(clients)

    assert subscription.changed(0.0) == ["backbeat.activities.shop"]
    assert subscription.changed(10.0) is None
    clients.put(3, client(3, "a & b"))
    assert subscription.changed(10.0) == [
        "backbeat.activities.00000000-0000-0000-0000-000000000003",
        "backbeat.activities.shop",
    ]
    clients.put(2, client(2, "worker"))
    assert subscription.changed(10.1) is None, "several changes make one"
    assert "backbeat.activities.worker" in subscription.changed(10.4)
    clients.put(2, client(2, "worker", "topic"))
    assert "backbeat.activities.worker" not in subscription.changed(11.0)


def test_the_topic_of_a_removed_client_is_read_on_until_another_has_its_name():
    clients = Clients()
    clients.put(1, client(1, "shop"))
    subscription = Subscription(clients)
    subscription.changed(0.0)
    clients.put(1, None)

    assert subscription.changed(1.0) is None
    assert list(subscription.topics) == ["backbeat.activities.shop"]
    clients.put(2, client(2, "shop", "topic"))
    assert subscription.changed(2.0) == []


def test_what_is_handed_over_with_an_offset_comes_back():
    answered, posted = {12, 13, 14, 17, 40_000}, {11, 16}
    text = Handover.of(11, answered, posted).text()
    assert json.loads(text) == {"answered": [[1, 3], [6, 1], [39_989, 1]], "posted": [[0, 1], [5, 1]]}
    back = Handover.read(text)
    assert (back.answered_from(11), back.posted_from(11)) == (answered, posted)


def test_nothing_to_hand_over_is_no_text_and_another_tools_text_is_nothing():
    assert Handover.of(5, ()).text() == ""
    for text in (None, "", "by hand", "[1]", '{"answered": "x"}'):
        assert Handover.read(text) == Handover()


def test_of_what_does_not_fit_with_an_offset_the_first_is_handed_over():
    every_other = range(1_000_001, 1_004_001, 2)
    text = Handover.of(0, every_other, [7]).text()
    assert len(text.encode()) <= 4_096
    assert sorted(Handover.read(text).answered_from(0)) == list(every_other)[:249]
