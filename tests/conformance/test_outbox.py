"""The outbox: records in order, and what can never be delivered handed back."""

from __future__ import annotations

import pytest

from backbeat.schemas.kafka.produce_counts import ProduceCounts
from backbeat.schemas.kafka.topics import COMMANDS, HISTORY
from backbeat.streams.output.outbox import Outbox
from backbeat.streams.output.slice_outbox import SliceOutbox
from tests.waiting import until

from .worlds import MISSING_TOPIC, take

pytestmark = pytest.mark.integration


async def test_records_are_delivered_in_order_and_those_without_a_topic_handed_back(world):
    begin = world.end(COMMANDS, 0)
    outbox = Outbox("", f"outbox-{world.group}", make_producer=world.producer)
    values = [b"%d" % number for number in range(20)]
    for value in values[:10]:
        outbox.send(COMMANDS, value, key=b"key", partition=0, headers=[("name", value)])
    outbox.send(MISSING_TOPIC, b"activity", key=b"node")
    for value in values[10:]:
        outbox.send(COMMANDS, value, key=b"key", partition=0)
    assert outbox.flush(120)
    (undelivered,) = outbox.poll()
    assert (undelivered.topic, undelivered.key, undelivered.value) == (MISSING_TOPIC, b"node", b"activity")
    assert (outbox.under_way, outbox.poll()) == (0, [])
    reader = world.reader()
    reader.read_commands(0, begin, 1)
    records = (await take(world, 20))[COMMANDS, 0, 1]
    assert [record.value for record in records] == values
    assert records[3].headers == [("name", b"3")]


async def test_a_slice_is_delivered_in_order_also_where_the_queue_has_room_for_a_part_of_it(world):
    begins = [world.end(COMMANDS, number) for number in range(2)]

    def producer(config):
        return world.producer({**config, "queue.buffering.max.messages": 5})

    outbox = Outbox("", f"outbox-{world.group}", make_producer=producer)
    effects = SliceOutbox(outbox)
    values = [b"%d" % number for number in range(12)]
    with effects:
        for value in values:
            effects.send(COMMANDS, value, key=b"key", partition=0)
        effects.send(COMMANDS, b"another", partition=1)
        effects.send(MISSING_TOPIC, b"activity", key=b"node")
        assert outbox.under_way == 0
    assert outbox.is_congested
    effects.send(COMMANDS, b"last", key=b"key", partition=0)
    until(lambda: outbox.flush(120), "all are acknowledged")
    (undelivered,) = outbox.poll()
    assert (undelivered.topic, undelivered.key, undelivered.value) == (MISSING_TOPIC, b"node", b"activity")
    reader = world.reader()
    for number, begin in enumerate(begins):
        reader.read_commands(number, begin, number + 1)
    records = await take(world, 14)
    assert [record.value for record in records[COMMANDS, 0, 1]] == [*values, b"last"]
    assert [(record.key, record.value) for record in records[COMMANDS, 1, 2]] == [(None, b"another")]


@pytest.mark.parametrize("world", ["kafka"], indirect=True)
async def test_records_are_counted_by_request(world):
    produced = ProduceCounts()

    def producer(config):
        return world.producer({**config, **produced.settings, "statistics.interval.ms": 100})

    outbox = Outbox("", f"outbox-{world.group}", make_producer=producer)
    effects = SliceOutbox(outbox)
    with effects:
        for number in range(40):
            effects.send(COMMANDS, b"%d" % number, partition=number % 2)
            effects.send(HISTORY, b"%d" % number, partition=0)
    until(lambda: outbox.flush(120), "all are acknowledged")

    def counted():
        outbox.poll()
        return produced.records == {"commands": 40, "history": 40}

    until(counted, "the statistics come")
    assert 2 <= produced.requests["commands"] <= 20
    assert 1 <= produced.requests["history"] <= 20
