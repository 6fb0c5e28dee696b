"""Activities of clients that nobody knows yet: nothing waits for the registry but they, and the commit."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

from backbeat.schemas import codec
from backbeat.schemas.kafka.topics import COMMANDS
from backbeat.schemas.messages import commands as c
from backbeat.streams.core import effects as e
from backbeat.streams.engine.loop import Engine
from tests.ports import Producer, engine_process
from tests.streams.core.rig import Rig

TOPIC = "backbeat.activities.late"


class Sent(list):
    """What an engine sends."""

    def send(self, topic: str, value: bytes, **_: Any) -> None:
        self.append((topic, value))


def engine(known: list[str]) -> tuple[Engine, Sent]:
    sent = Sent()
    made = Engine(
        partitions_count=1,
        transactional_id="t",
        outbox=sent,
        activities_topic=lambda _: known[0] if known else None,
        seek=lambda *_: None,
        is_owner=lambda: True,
        sample=lambda _: None,
    )
    return made, sent


def dispatches(count: int) -> list[e.Dispatch]:
    rig = Rig()
    return [effect for number in range(count) for effect in rig.signal(f"s{number}").of(e.Dispatch)]


def test_they_wait_and_go_out_in_order_once_the_client_is_known():
    known: list[str] = []
    made, sent = engine(known)
    (effect,) = dispatches(1)
    made._send_activity(effect)
    assert sent == []
    known.append(TOPIC)
    made._send_activity(effect)
    assert sent == []  # It would overtake the first.
    made.send_unknown(len(made.unknown))
    assert [topic for topic, _ in sent] == [TOPIC, TOPIC]
    made._send_activity(effect)
    assert len(sent) == 3


def test_who_is_unknown_when_all_is_read_is_no_client():
    made, sent = engine([])
    (effect,) = dispatches(1)
    made._send_activity(effect)
    made.send_unknown(1)
    ((topic, value),) = sent
    command = codec.decode_command(value)
    assert topic == COMMANDS
    assert isinstance(command, c.DeliveryFailed)
    assert command.node_id == effect.node.id


async def test_the_loop_goes_on_while_the_registry_is_read(tmp_path):
    read, reading = threading.Event(), threading.Event()

    def catch_up(_seconds: float) -> bool:
        reading.set()
        return read.wait(60)

    producer = Producer()
    process = engine_process(
        tmp_path,
        clients=SimpleNamespace(by_id=lambda _: None, catch_up=catch_up),
        effects_producer=lambda _: producer,
    )
    (effect,) = dispatches(1)
    process.engine._send_activity(effect)
    looking = asyncio.create_task(process.unknown_clients.search())
    await asyncio.to_thread(reading.wait, 60)
    assert producer.sent == []
    assert not looking.done()
    read.set()
    await looking
    assert len(producer.sent) == 1
