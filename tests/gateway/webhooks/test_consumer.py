"""The consumer of webhooks, on ports: what is committed, handed over to the next gateway, reported to the engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from backbeat.delivery import intake
from backbeat.delivery.records import Owner
from backbeat.delivery.result_producer import ResultProducer
from backbeat.errors import Unavailable
from backbeat.gateway.webhooks import topics
from backbeat.gateway.webhooks.consumer import WebhookConsumer
from backbeat.gateway.webhooks.deliverer import Deliverer
from backbeat.gateway.webhooks.handover import Handover
from backbeat.gateway.webhooks.webhook import Webhook
from backbeat.schemas.codec import decode_command, encode_activity
from backbeat.schemas.kafka.clients import RegisteredClient
from backbeat.schemas.kafka.topics import COMMANDS, DEAD_LETTERS
from backbeat.schemas.messages.activities import ActivityKind, ActivityRecord
from backbeat.schemas.messages.commands import DeliveryFailed
from tests.integration.at_work import activity
from tests.sdk.delivery.kafka_ports import Group, Producer, record_of
from tests.sdk.delivery.test_group_consumer import Time
from tests.waiting import until_async


class Registry:
    """A registry with one client that is served by webhook."""

    version = 1

    def __init__(self) -> None:
        self.client = RegisteredClient(
            id=f"00000000-0000-0000-0000-{1:012x}", name="shop", activity_endpoint="http://x", delivery="webhook"
        )

    def all(self) -> list[RegisteredClient]:
        return [self.client]

    def by_id(self, client_id: bytes) -> RegisteredClient | None:
        return self.client if client_id == self.client.id_bytes else None


class Rig:
    """A consumer, and what its deliverer was given."""

    def __init__(self) -> None:
        self.group, self.producer, self.time = Group(), Producer(holds=True), Time()
        self.webhooks: list[Webhook] = []
        self.failures: list[BaseException] = []
        self.consumer = WebhookConsumer(
            Registry(),  # type: ignore[arg-type]
            self.group.connect,
            ResultProducer("nowhere:1", self.producer.make),
            Owner(self._accept, self.failures.append),
            request_seconds_max=90.0,
            clock=self.time,
        )

    def _accept(self, webhooks: list[Webhook]) -> None:
        self.webhooks += webhooks

    async def start(self) -> None:
        self.consumer.start()
        await until_async(lambda: self.group.is_subscribed)
        self.group.assign(0)

    async def take(self, *numbers: int) -> list[Webhook]:
        count = len(self.webhooks)
        self.group.put(*map(record_of, numbers))
        await until_async(lambda: len(self.webhooks) == count + len(numbers))
        return self.webhooks[count:]

    def deliver(self, *webhooks: Webhook) -> None:
        for webhook in webhooks:
            webhook.answered = True
            self.consumer.take_back(webhook)

    async def is_committed(self, offset: int) -> None:
        def is_so() -> bool:
            self.time.seconds += 1
            return self.group.marks.get(0) == offset

        await until_async(is_so)

    async def turns(self) -> None:
        """Wait until the thread has gone round, so that what was not committed is not to be."""
        for _ in range(2):
            turned = threading.Event()
            self.time.seconds += 1
            self.group.do(turned.set)
            assert await asyncio.to_thread(turned.wait, 60)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.start()
    yield rig
    await rig.consumer.stop()


async def test_an_offset_waits_for_the_first_and_what_is_done_behind_it_is_handed_over(rig: Rig) -> None:
    first, *rest = await rig.take(1, 2, 3)
    rig.deliver(*rest)

    def note() -> str:
        rig.time.seconds += 1
        return rig.group.notes.get(0, "")

    await until_async(lambda: Handover.read(note()).answered_from(0) == {1, 2})
    assert rig.group.marks == {0: 0}
    rig.deliver(first)
    await rig.is_committed(3)
    assert rig.group.notes == {0: ""}


async def test_what_fails_is_reported_and_passed_when_kafka_has_the_report(rig: Rig) -> None:
    (webhook,) = await rig.take(1)
    webhook.failure = "HTTP request for activity failed"
    # The thread that waits for room is the one that makes it.
    rig.producer.full = 3
    rig.consumer.take_back(webhook)
    await until_async(lambda: rig.producer.values(COMMANDS))
    command = decode_command(rig.producer.values(COMMANDS)[0])
    assert isinstance(command, DeliveryFailed)
    node = webhook.record.node
    assert (command.node_id, command.attempt, command.response) == (
        node.id, node.attempt, b'{"error":{"message":"HTTP request for activity failed"}}',
    )  # fmt: skip
    await rig.turns()
    assert (rig.group.marks.get(0, 0), rig.consumer.failed) == (0, 1)
    rig.producer.acknowledge()
    await rig.is_committed(1)


async def test_what_is_no_activity_goes_to_the_dead_letters(rig: Rig) -> None:
    rig.group.put(b"nonsense")
    await until_async(lambda: rig.producer.values(DEAD_LETTERS) == [b"nonsense"])
    await rig.take(1)
    await rig.turns()
    assert rig.group.marks.get(0, 0) == 0
    rig.producer.acknowledge()
    await rig.is_committed(1)


async def test_a_record_that_nests_too_deep_is_no_activity_and_the_rest_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = intake.decode_activity

    def nested(value: bytes | None) -> Any:
        if value == b"nested":
            raise RecursionError("maximum recursion depth exceeded")
        return decode(value)

    monkeypatch.setattr(intake, "decode_activity", nested)
    rig.group.put(b"nested")
    await rig.take(1)
    assert (rig.producer.values(DEAD_LETTERS), rig.failures) == ([b"nested"], [])


async def test_a_partition_that_goes_takes_along_what_is_in_flight(rig: Rig) -> None:
    done, posted, waiting = await rig.take(1, 2, 3)
    posted.in_flight = True
    rig.group.revoke(0)
    await until_async(lambda: waiting.revoked)
    # It is waited for, and what ends meanwhile is passed.
    rig.deliver(done)
    await until_async(lambda: rig.consumer._intake.held.keys() == {posted.key, waiting.key})
    assert rig.group.marks.get(0, 0) == 0
    rig.time.seconds += 6
    await until_async(lambda: rig.group.marks == {0: 1})
    assert Handover.read(rig.group.notes[0]).posted_from(1) == {1}
    rig.consumer.take_back(waiting)
    await until_async(lambda: rig.consumer._intake.held.keys() == {posted.key})


@pytest.mark.parametrize(("stops", "answered"), [(False, {1}), (True, set())])
async def test_a_notification_that_was_begun_is_finished_here_also_between_two_tries(
    rig: Rig, *, stops: bool, answered: set[int]
) -> None:
    node = activity("Work", "A", 2, b"u" * 16)
    await rig.take(1)
    for kind in (ActivityKind.NOTIFICATION, ActivityKind.ACTIVITY):
        rig.group.put(encode_activity(ActivityRecord(node, kind)))
    await until_async(lambda: len(rig.webhooks) == 3)
    _, notification, refused = rig.webhooks
    notification.tries = refused.tries = 1
    if stops:
        rig.consumer.drain()
    rig.group.revoke(0)
    await until_async(lambda: notification.revoked)
    rig.time.seconds += 6
    await until_async(lambda: 0 in rig.group.notes)
    assert Handover.read(rig.group.notes[0]).answered_from(0) == answered


async def test_what_the_owner_before_has_posted_is_asked_about_and_what_it_has_done_is_passed(rig: Rig) -> None:
    rig.group.revoke(0)
    rig.group.commits = [(0, 1)]
    rig.group.notes = {0: Handover.of(1, {1}, {2}).text()}
    rig.group.put(*map(record_of, range(4)))
    rig.group.assign(0)
    await until_async(lambda: len(rig.webhooks) == 3)
    assert [(webhook.record.node.seq, webhook.ask_first) for webhook in rig.webhooks] == [
        (0, True),
        (2, True),
        (3, True),
    ]
    assert [webhook.elsewhere_until is not None for webhook in rig.webhooks] == [False, True, False]
    (new,) = await rig.take(4)
    assert not new.ask_first


async def test_a_topic_of_which_too_much_is_in_memory_is_paused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "_COUNT_MAX", 4)
    webhooks = await rig.take(1, 2, 3, 4)
    await until_async(lambda: rig.group.paused == {0})
    rig.group.put(record_of(5))
    rig.deliver(*webhooks[:3])
    await until_async(lambda: len(rig.webhooks) == 5)
    assert rig.group.paused == set()


async def test_a_stop_reports_what_failed_and_leaves(rig: Rig) -> None:
    first, second = await rig.take(1, 2)
    rig.deliver(first)
    second.failure = "no answer in time"
    rig.consumer.take_back(second)
    await until_async(lambda: rig.producer.values(COMMANDS))
    rig.producer.acknowledge()
    await rig.consumer.stop()
    assert (rig.group.marks, rig.group.closed_with, rig.consumer.connected) == ({0: 2}, [], False)


async def test_a_kafka_that_is_not_there_is_waited_for_until_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    rig, asked = Rig(), threading.Event()

    def none(timeout: float) -> Any:
        asked.set()
        return SimpleNamespace(topics={})

    rig.producer.list_topics = none  # type: ignore[method-assign]
    rig.consumer.start()
    assert await asyncio.to_thread(asked.wait, 60)
    await rig.consumer.stop()
    assert "webhooks wait for Kafka" in caplog.text
    assert (rig.consumer.connected, rig.failures) == (False, [])


async def test_a_consumer_that_fails_has_left_its_group_when_the_gateway_hears_of_it() -> None:
    log: list[str] = []
    deliverer = Deliverer(
        "127.0.0.1:1",
        Registry(),  # type: ignore[arg-type]
        node_body=pytest.fail,
        find_node=pytest.fail,
        load_payload=pytest.fail,
        fail=lambda error: log.append(str(error)),
    )

    async def stop() -> None:
        log.append("left")

    deliverer._consumer.stop = stop  # type: ignore[method-assign]
    deliverer._consumer._owner.fail(Unavailable("Kafka refuses a record"))
    await until_async(lambda: len(log) == 2)
    assert log == ["left", "Kafka refuses a record"]
