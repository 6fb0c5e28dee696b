"""Two worlds with one interface: Kafka, and the simulator's broker. The cases of this folder run on both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from backbeat.schemas.kafka.topics import COMMANDS, QUERIES, activities_topic, ensure_topics
from backbeat.streams.input.reader import Batch, Reader
from backbeat.streams.kafka.log_tail import first_data
from backbeat.streams.ports.log import Record
from backbeat.streams.ports.transaction_ids import transactional_id
from backbeat.streams.process.backlog import Backlog
from backbeat.streams.state.commit import Member
from backbeat.streams.state.restore import Changelog, KafkaChangelog
from tests.integration.topic import ends
from tests.sim import reader as sim_reader
from tests.sim.broker import Broker
from tests.sim.changelog import SimChangelog
from tests.sim.faults import Faults
from tests.sim.group import Group
from tests.sim.producer import SimProducer
from tests.sim.virtual import VirtualTime
from tests.waiting import until

PARTITIONS = 3
#: Of a client that nobody has added.
MISSING_TOPIC = activities_topic("ghost")


class SimWorld:
    """The simulator's broker, without faults."""

    def __init__(self) -> None:
        virtual, self._chance = VirtualTime(), random.Random(1)
        self._faults = Faults(self._chance)
        self._faults.stop()
        self._broker = Broker(virtual, PARTITIONS, transaction_timeout_ms=60_000)
        self._group = Group(virtual, session_ms=10_000, rebalance_ms=10_000, assign=lambda _: {})
        self._world = SimpleNamespace(
            virtual=virtual,
            broker=self._broker,
            chance=self._chance,
            faults=self._faults,
            group=self._group,
            topics_missing={MISSING_TOPIC},
            checks=SimpleNamespace(transacts=lambda _: None, left=lambda *_: None),
        )
        self.group = "group"
        self._reader = sim_reader.SimReader(self._broker, self._chance, self._faults)
        self.first_data: Callable[[int, int], int] = partial(sim_reader.first_data, self._broker)

    def write(self, topic: str, number: int, *values: bytes) -> None:
        for value in values:
            self._broker.append(topic, number, b"key", value)

    def end(self, topic: str, number: int) -> int:
        return self._broker.log(topic, number).end

    def write_in_transaction(self, number: int, value: bytes) -> None:
        """A record of the commands, and the marker of its transaction behind it."""
        log = self._broker.log(COMMANDS, number)
        log.append(b"key", value)
        log.append(None, None, control=True)

    def read_queries_to(self, number: int, offset: int) -> None:
        """The group's offset of the queries."""
        self._broker.group_offsets[QUERIES, number] = offset

    def reader(self) -> sim_reader.SimReader:
        return self._reader

    async def next(self) -> Batch:
        # One that has nothing has nothing later: no thread writes meanwhile.
        batch = self._reader.take()
        assert batch, "nothing more comes"
        return batch

    def _host(self, instance_id: str) -> Any:
        settings = SimpleNamespace(
            application_id=self.group, transactional_id=transactional_id(self.group, instance_id)
        )
        return SimpleNamespace(
            world=self._world, settings=settings, outboxes=[], point=lambda _: False, may_die=lambda _: None
        )

    def producer(self, config: dict[str, Any]) -> Any:
        return SimProducer(self._host(""), config)

    def changelog(self, instance_id: str) -> Changelog:
        return SimChangelog(self._broker, self._group, self._host(instance_id))

    def join(self, instance_id: str) -> Member:
        """The membership of the first generation of the group."""
        joined: list[Member] = []

        def on_assigned(generation: int, member_id: str, _numbers: list[int]) -> None:
            joined.append(Member(self.group, instance_id, generation, member_id))

        self._group.join(SimpleNamespace(instance_id=instance_id, on_assigned=on_assigned), "")
        self._group.step()
        return joined[0]

    def settle(self) -> None:
        """Let the markers of ended transactions be written."""
        while self._broker.ended:
            self._broker.mark(self._broker.ended[0])

    def close(self) -> None:
        pass


class KafkaWorld:
    """A real Kafka."""

    def __init__(self, kafka: str, name: str) -> None:
        ensure_topics(kafka, PARTITIONS, 1, development=True)
        self._kafka = kafka
        self.group = name
        self._producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
        self._members: list[Consumer] = []
        self._reader: Reader | None = None
        self.ended: list[str] = []
        self.first_data: Callable[[int, int], int] = partial(first_data, kafka, name)

    def write(self, topic: str, number: int, *values: bytes) -> None:
        for value in values:
            self._producer.produce(topic, value, b"key", number)
        assert self._producer.flush(120) == 0

    def end(self, topic: str, number: int) -> int:
        return ends(self._kafka, topic)[number]

    def write_in_transaction(self, number: int, value: bytes) -> None:
        begin = self.end(COMMANDS, number)
        producer = self.producer({"transactional.id": f"writer-{self.group}"})
        producer.init_transactions(120)
        producer.begin_transaction()
        producer.produce(COMMANDS, value, b"key", number)
        producer.commit_transaction(120)
        # It comes after the commit was answered.
        until(lambda: self.end(COMMANDS, number) == begin + 2, "the marker is written")

    def read_queries_to(self, number: int, offset: int) -> None:
        consumer = Consumer({"bootstrap.servers": self._kafka, "group.id": self.group, "log_level": 0})
        consumer.commit(offsets=[TopicPartition(QUERIES, number, offset)], asynchronous=False)
        consumer.close()

    def reader(self) -> Reader:
        self._reader = Reader(self._kafka, self.group, ended=self.ended.append, stall_seconds=120)
        self._reader.start()
        return self._reader

    async def next(self) -> Batch:
        assert self._reader is not None
        async with asyncio.timeout(120):
            return await self._reader.next(Backlog())

    def producer(self, config: dict[str, Any]) -> Any:
        return Producer({"log_level": 0, **config, "bootstrap.servers": self._kafka})

    def changelog(self, instance_id: str) -> Changelog:
        return KafkaChangelog(self._kafka, self.group, transactional_id(self.group, instance_id))

    def join(self, instance_id: str) -> Member:
        consumer = Consumer(
            {"bootstrap.servers": self._kafka, "group.id": self.group, "group.instance.id": instance_id, "log_level": 0}
        )
        self._members.append(consumer)
        consumer.subscribe([COMMANDS])

        def member_id() -> Any:
            consumer.poll(0.1)
            return consumer.assignment() and consumer.memberid()

        # The first of a new group: its generation is 1.
        return Member(self.group, instance_id, 1, until(member_id, "the member has joined"))

    def settle(self) -> None:
        pass

    def close(self) -> None:
        if self._reader is not None:
            self._reader.stop()
        for member in self._members:
            member.close()
        assert self.ended == []


async def take(world: Any, count: int) -> dict[tuple[str, int, int], list[Record]]:
    """The next records, by topic, partition and the number of their read; in the order in which each began to come."""
    taken: dict[tuple[str, int, int], list[Record]] = {}
    while sum(map(len, taken.values())) < count:
        for (topic, number), read in (await world.next()).items():
            taken.setdefault((topic, number, read.number), []).extend(read.records)
    return taken
